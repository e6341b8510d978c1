//! What is kept beside a value, in a form that means the same to every process.

use std::fmt::Debug;

/// Translates what a store keeps beside a value.
pub trait Fields: Debug + Send + Sync {
    /// What the store's bytes stand for.
    fn lines<'a>(&'a self, meta: &'a [u8]) -> &'a [u8];

    /// The store's bytes for that; empty for none.
    fn meta(&self, lines: &[u8]) -> Vec<u8>;
}
