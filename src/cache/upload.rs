//! A request whose body comes in pieces.

use crate::http::{Fields, Method, Persistence, Request, Target};
use crate::net::Class;
use crate::store::{self, Full, Key};

/// What is kept of a request while its body arrives.
#[derive(Debug)]
pub enum Upload {
    /// A value on its way into the store.
    Value {
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
    Ignored(Head),
}

/// A request's head, without the bytes that it was read from.
#[derive(Debug)]
pub struct Head {
    method: Method,
    target: Target,
    fields: Fields,
    class: Class,
    path: Box<[u8]>,
}

impl Head {
    /// The request, with an empty body.
    pub(super) fn view(&mut self, persistence: Persistence) -> Request<'_> {
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

impl Upload {
    pub(super) fn value(request: &Request<'_>, key: Key<'_>, bytes: store::Upload) -> Self {
        Self::Value {
            key: key.bytes.into(),
            bytes,
            max_age: request.fields.max_age,
            method: request.method,
        }
    }

    pub(super) fn ignored(request: &Request<'_>) -> Self {
        Self::Ignored(Head {
            method: request.method,
            target: request.target,
            fields: *request.fields,
            class: request.class,
            path: request.path.into(),
        })
    }

    pub(super) fn admit(&mut self, more: usize) -> bool {
        match self {
            Self::Value { bytes, .. } => bytes.admit(more),
            Self::Ignored(_) => true,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Value { key, bytes, .. } => key.len() + bytes.heap_bytes(),
            Self::Ignored(head) => head.path.len(),
        }
    }

    pub(super) fn append(&mut self, more: &[u8]) -> Result<(), Full> {
        match self {
            Self::Value { bytes, .. } => bytes.append(more),
            Self::Ignored(_) => Ok(()),
        }
    }
}
