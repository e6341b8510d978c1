//! The namespaces that `/metrics` shows by themselves.

use std::sync::Arc;

/// Namespaces that can be named: each key that is read or written is compared with all of them.
const NAMESPACES_MAX: usize = 32;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Namespaces by their names, the first segments of paths.
#[derive(Debug, Clone, Default)]
pub struct Namespaces(Arc<[Namespace]>);

#[derive(Debug)]
struct Namespace {
    name: String,
    /// What its keys begin with.
    prefix: Box<[u8]>,
}

impl Namespaces {
    /// Those of some names.
    ///
    /// # Errors
    /// What is wrong with them, if they are too many or one is no name.
    pub fn new(names: &[String]) -> Result<Self, &'static str> {
        if names.len() > NAMESPACES_MAX {
            return Err("must be 32 names at most");
        }
        let is_name = |name: &String| {
            let is_long = name.len() > NAME_BYTES_MAX;
            !name.is_empty() && !is_long && !name.contains(|c: char| c == '/' || c.is_control())
        };
        if !names.iter().all(is_name) {
            return Err("must be a segment of a path, decoded, without / and up to 255 bytes long");
        }
        if (1..names.len()).any(|at| names[..at].contains(&names[at])) {
            return Err("has a name twice");
        }
        let namespace = |name: &String| Namespace {
            name: name.clone(),
            prefix: format!("{name}/").into_bytes().into(),
        };
        Ok(Self(names.iter().map(namespace).collect()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the keys of each begin with.
    #[must_use]
    pub fn prefixes(&self) -> Vec<Box<[u8]>> {
        self.0.iter().map(|namespace| namespace.prefix.clone()).collect()
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|namespace| &*namespace.name)
    }

    /// The number of the one that a key belongs to.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        self.0.iter().position(|namespace| key.starts_with(&namespace.prefix))
    }
}
