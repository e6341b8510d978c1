//! A request whose body comes in pieces.

use crate::http::{Fields, Method, Persistence, Request, Target};
use crate::net::Class;
use crate::store::{self, Full, Key};

/// What is kept of a request while its body arrives.
#[derive(Debug)]
pub enum Pending {
    /// A value on its way into the store.
    Write {
        /// The key that it will be stored under.
        key: Box<[u8]>,
        /// What has come of it.
        bytes: store::Upload,
        /// Its own time to live, in seconds.
        max_age: Option<u32>,
        /// PUT or POST.
        method: Method,
    },
    /// A request that is answered after its body has been read and dropped.
    Bodiless(BodilessRequest),
}

/// A request of which the body is ignored, without the bytes that it was read from.
#[derive(Debug)]
pub struct BodilessRequest {
    method: Method,
    target: Target,
    fields: Fields,
    class: Class,
    path: Box<[u8]>,
}

impl BodilessRequest {
    /// The request, with an empty body.
    pub(super) fn request(&mut self, persistence: Persistence) -> Request<'_> {
        self.fields.persistence = persistence;
        Request {
            method: self.method,
            target: self.target,
            path: &self.path,
            fields: &self.fields,
            body: &[],
            class: self.class,
        }
    }
}

impl Pending {
    pub(super) fn write(request: &Request<'_>, key: Key<'_>, bytes: store::Upload) -> Self {
        Self::Write {
            key: key.bytes.into(),
            bytes,
            max_age: request.fields.max_age,
            method: request.method,
        }
    }

    pub(super) fn bodiless(request: &Request<'_>) -> Self {
        Self::Bodiless(BodilessRequest {
            method: request.method,
            target: request.target,
            fields: *request.fields,
            class: request.class,
            path: request.path.into(),
        })
    }

    pub(super) fn admit(&mut self, more: usize) -> bool {
        match self {
            Self::Write { bytes, .. } => bytes.admit(more),
            Self::Bodiless(_) => true,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Write { key, bytes, .. } => key.len() + bytes.heap_bytes(),
            Self::Bodiless(request) => request.path.len(),
        }
    }

    pub(super) fn claimed_bytes(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } => bytes.claimed_bytes(),
            Self::Bodiless(_) => 0,
        }
    }

    pub(super) fn append(&mut self, more: &[u8]) -> Result<(), Full> {
        match self {
            Self::Write { bytes, .. } => bytes.append(more),
            Self::Bodiless(_) => Ok(()),
        }
    }
}
