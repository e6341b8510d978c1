//! What is stored under a key, for a writer that writes only if it is something certain.

use super::chain::SharedChain;
use super::clock::Expiry;
use super::entry::Entry;
use super::fingerprint::{Fingerprint, Fingerprinter};
use super::pages::Pages;

/// What is stored under a key, as its one writer sees it: nobody changes it meanwhile.
#[derive(Debug)]
pub struct Stored<'a> {
    entry: Entry<'a>,
    pages: &'a Pages,
}

impl<'a> Stored<'a> {
    pub(super) fn new(entry: Entry<'a>, pages: &'a Pages) -> Self {
        Self { entry, pages }
    }

    /// The value's fingerprint, in time linear in the value's length; at once if the value is large and
    /// somebody has asked for it before.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        if !self.entry.header.is_large() {
            let mut value = Vec::new();
            self.entry.value().append_to(&mut value);
            return Fingerprint::of(&value);
        }
        self.entry.large_fingerprint().unwrap_or_else(|| {
            let mut fingerprinter = Fingerprinter::default();
            let (first, len) = self.entry.large();
            let chain = SharedChain::new(self.pages, first);
            let mut tail = Vec::new();
            self.entry.tail().append_to(&mut tail);
            chain.each_page(len as usize - tail.len(), |page| fingerprinter.push(page));
            fingerprinter.push(&tail);
            fingerprinter.fingerprint()
        })
    }

    /// What is kept beside the value; empty if nothing is.
    #[must_use]
    pub fn meta(&self) -> Vec<u8> {
        let mut meta = Vec::new();
        self.entry.meta().append_to(&mut meta);
        meta
    }

    /// When the key ends.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.entry.header.expiry()
    }
}

/// Decides of what is stored under a key whether it is to be written.
pub(super) trait Judge {
    /// Whether the write is to be carried out; `stored` looks what there is.
    fn allows<'a>(&mut self, stored: impl FnOnce() -> Option<Stored<'a>>) -> bool;
}

/// Writes whatever is stored, without a look.
#[derive(Debug)]
pub(super) struct Always;

impl Judge for Always {
    #[inline]
    fn allows<'a>(&mut self, _stored: impl FnOnce() -> Option<Stored<'a>>) -> bool {
        true
    }
}

impl<F: FnMut(Option<&Stored<'_>>) -> bool> Judge for F {
    fn allows<'a>(&mut self, stored: impl FnOnce() -> Option<Stored<'a>>) -> bool {
        self(stored().as_ref())
    }
}
