//! A request whose body comes in pieces.

use sha2::{Digest, Sha256};

use super::terms::Terms;
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
        /// What the write depends on, if it does.
        terms: Option<Box<PendingTerms>>,
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
    lines: Box<[u8]>,
}

/// The terms of a write whose body is arriving.
#[derive(Debug)]
pub struct PendingTerms {
    pub(super) terms: Terms,
    digester: Option<Sha256>,
}

impl PendingTerms {
    pub(super) fn new(terms: Terms) -> Self {
        let digester = terms.digester();
        Self { terms, digester }
    }

    /// Whether the body, which has arrived, is the one that was announced.
    pub(super) fn are_met(&self) -> bool {
        self.terms.is_met_by(|| self.digester.clone().unwrap_or_default().finalize().into())
    }
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
            lines: &self.lines,
            through_target: &[],
        }
    }
}

impl Pending {
    pub(super) fn write(
        request: &Request<'_>,
        key: Key<'_>,
        bytes: store::Upload,
        terms: Option<Terms>,
    ) -> Self {
        Self::Write {
            key: key.bytes.into(),
            bytes,
            max_age: request.fields.max_age,
            method: request.method,
            terms: terms.map(|terms| Box::new(PendingTerms::new(terms))),
        }
    }

    pub(super) fn bodiless(request: &Request<'_>) -> Self {
        Self::Bodiless(BodilessRequest {
            method: request.method,
            target: request.target,
            fields: *request.fields,
            class: request.class,
            path: request.path.into(),
            // They matter only if something is to be read from them.
            lines: if request.fields.extras.is_empty() { &[] } else { request.lines }.into(),
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
            Self::Write { key, bytes, terms, .. } => {
                let terms = terms.as_ref().map_or(0, |terms| terms.terms.heap_bytes());
                key.len() + bytes.heap_bytes() + terms
            }
            Self::Bodiless(request) => request.path.len() + request.lines.len(),
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
            Self::Write { bytes, terms, .. } => {
                if let Some(digester) = terms.as_mut().and_then(|terms| terms.digester.as_mut()) {
                    digester.update(more);
                }
                bytes.append(more)
            }
            Self::Bodiless(_) => Ok(()),
        }
    }
}
