//! The errors that the cache answers with.

use crate::http::{Refusal, Status};

pub(super) static UNAUTHORIZED: Refusal = Refusal {
    status: Status::Unauthorized,
    reason: "a token is needed: Authorization: Bearer TOKEN, or Basic with it as password",
    field: Some(("WWW-Authenticate", "Bearer, Basic realm=\"corekv\"")),
};
pub(super) static READ_ONLY: Refusal = Refusal::new(Status::Forbidden, "this token may not write");
pub(super) static ELSEWHERE: Refusal =
    Refusal::new(Status::Forbidden, "this token is limited to paths with other prefixes");
pub(super) static NOT_UNLIMITED: Refusal =
    Refusal::new(Status::Forbidden, "reserved names need a token that is not limited to prefixes");
pub(super) static NOT_ADMINISTRATOR: Refusal =
    Refusal::new(Status::Forbidden, "PURGE needs a token that may read and write everything");
pub(super) static NOT_IMPLEMENTED: Refusal =
    Refusal::new(Status::NotImplemented, "the method is not known to this server");
pub(super) static MALFORMED_MAX_AGE: Refusal =
    Refusal::new(Status::BadRequest, "max-age is not a whole number of seconds");
pub(super) static PARTIAL_VALUE: Refusal =
    Refusal::new(Status::BadRequest, "a value is stored whole, not by parts (Content-Range)");
pub(super) const FULL: Refusal = Refusal::new(
    Status::InsufficientStorage,
    "the value does not fit into the memory that --memory allows",
);

pub(super) const CAS_KEY: Refusal = Refusal::new(
    Status::BadRequest,
    "under a --cas-prefix a key ends with the SHA-256 of its value in hexadecimal digits",
);
pub(super) const DIGEST_WRONG: Refusal =
    Refusal::new(Status::BadRequest, "the body does not have the SHA-256 that was announced");
pub(super) const DIGESTS_DIFFER: Refusal =
    Refusal::new(Status::BadRequest, "the key and a digest field name different digests");
pub(super) const KEY_AND_FIELDS_TOO_LONG: Refusal = Refusal::new(
    Status::HeaderFieldsTooLarge,
    "the key and the header fields to be kept are too long together",
);

/// The text of a 412.
pub(super) const PRECONDITION_FAILED: &str =
    "If-Match or If-None-Match does not hold for what is stored";

/// The text of a 416.
pub(super) const RANGE: &str = "no byte of the value is in the range";

/// The methods that keys and reserved names have, for an Allow field.
pub(super) const ALLOW_KEY: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
pub(super) const ALLOW_PAGE: &str = "GET, HEAD, OPTIONS";
pub(super) const ALLOW_EVENTS: &str = "POST, OPTIONS";
pub(super) const ALLOW_SNAPSHOT: &str = "GET, HEAD, POST, OPTIONS";

pub(super) static KEY_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "keys have the methods GET, HEAD, PUT, POST, DELETE and OPTIONS; \
             PURGE drops all keys under a path that ends with /",
    field: Some(("Allow", ALLOW_KEY)),
};
pub(super) static PAGE_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "reserved names have the methods GET, HEAD and OPTIONS",
    field: Some(("Allow", ALLOW_PAGE)),
};
pub(super) static EVENTS_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "events have the methods POST and OPTIONS",
    field: Some(("Allow", ALLOW_EVENTS)),
};

pub(super) static SNAPSHOT_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "/snapshot has the methods GET, HEAD, POST and OPTIONS",
    field: Some(("Allow", ALLOW_SNAPSHOT)),
};

pub(super) static BROKEN_ESCAPE: Refusal =
    Refusal::new(Status::BadRequest, "a % in the path is not followed by two hexadecimal digits");
pub(super) static KEY_TOO_LONG: Refusal =
    Refusal::new(Status::UriTooLong, "the key is longer than key-bytes-max");
pub(super) static KEY_EMPTY: Refusal =
    Refusal::new(Status::BadRequest, "a key has at least one byte");
pub(super) const NO_SUCH_PAGE: Refusal = Refusal::new(
    Status::NotFound,
    "the admin address has /, /dashboard, /healthz, /metrics, /size and, with --snapshot, /snapshot",
);
pub(super) const SNAPSHOT_BUSY: Refusal =
    Refusal::new(Status::Conflict, "a snapshot is being written already");
