//! How the cache answers.

use super::namespaces::Namespaces;
use super::route::Routes;
use crate::http::{KeptFields, Status};
use crate::invalid::{Invalid, check_number};
use crate::store::{KEY_BYTES_MAX, TTL_SECONDS_MAX};

/// What GET and HEAD answer when the key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissStatus {
    /// What every HTTP cache client takes for a miss.
    #[default]
    NotFound,
    /// For clients that expect a 2xx.
    NoContent,
    /// Likewise, with an empty body.
    Ok,
}

/// What writes that were carried out are answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreStatus {
    /// 201 if the key was absent, 204 if a value was replaced.
    #[default]
    Distinct,
    /// 200 either way, for clients that expect it.
    Ok,
}

impl StoreStatus {
    /// The status for a key that was absent, and for one whose value was replaced.
    pub(super) fn statuses(self) -> [Status; 2] {
        match self {
            Self::Distinct => [Status::Created, Status::NoContent],
            Self::Ok => [Status::Ok; 2],
        }
    }
}

/// What answers to GET say in a Cache-Control field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheHeaders {
    /// There is none.
    #[default]
    None,
    /// `no-cache`: whoever keeps the answer is to ask again before using it.
    NoCache,
    /// `max-age` with what is left of the key's life; `no-cache` if it has no end, or is absent.
    MaxAge,
}

/// How the cache answers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest key, in bytes after percent-decoding.
    pub key_bytes_max: usize,
    /// Life of a key that does not come with its own, in seconds.
    pub ttl_seconds: Option<u32>,
    /// The answer to a miss.
    pub miss_status: MissStatus,
    /// Where the reserved names are.
    pub routes: Routes,
    /// The answer to a write.
    pub store_status: StoreStatus,
    /// What answers to GET say of how long they may be kept.
    pub cache_headers: CacheHeaders,
    /// Whether answers to GET and to all writes tell the entity tag.
    pub etag: bool,
    /// The fields that are stored with a value.
    pub kept: KeptFields,
    /// Starts of keys under which the last segment is the SHA-256 of the value.
    pub cas_prefixes: Vec<Box<[u8]>>,
    /// The namespaces that are counted by themselves.
    pub namespaces: Namespaces,
    /// Whether Turborepo's status and events are there.
    pub turborepo: bool,
}

impl Settings {
    /// Checks them against what the store can hold.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_number("key_bytes_max", self.key_bytes_max, 1..=KEY_BYTES_MAX)?;
        let ttl = self.ttl_seconds.map(|ttl| check_number("ttl_seconds", ttl, 1..=TTL_SECONDS_MAX));
        ttl.unwrap_or(Ok(()))
    }
}
