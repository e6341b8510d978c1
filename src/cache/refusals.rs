//! The errors that the cache answers with.

use crate::http::{Refusal, Status};

pub(super) static UNAUTHORIZED: Refusal = Refusal {
    status: Status::Unauthorized,
    reason: "a token is needed: Authorization: Bearer TOKEN, or Basic with it as password",
    field: Some(("WWW-Authenticate", "Bearer, Basic realm=\"corekv\"")),
};
pub(super) static READ_ONLY: Refusal = Refusal::new(Status::Forbidden, "this token may not write");
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

/// The methods that keys and reserved names have, for an Allow field.
pub(super) const ALLOW_KEY: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
pub(super) const ALLOW_PAGE: &str = "GET, HEAD, OPTIONS";

pub(super) static KEY_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "keys have the methods GET, HEAD, PUT, POST, DELETE and OPTIONS",
    field: Some(("Allow", ALLOW_KEY)),
};
pub(super) static PAGE_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "reserved names have the methods GET, HEAD and OPTIONS",
    field: Some(("Allow", ALLOW_PAGE)),
};

pub(super) static BROKEN_ESCAPE: Refusal =
    Refusal::new(Status::BadRequest, "a % in the path is not followed by two hexadecimal digits");
pub(super) static KEY_TOO_LONG: Refusal =
    Refusal::new(Status::UriTooLong, "the key is longer than key-bytes-max");
pub(super) static KEY_EMPTY: Refusal =
    Refusal::new(Status::BadRequest, "a key has at least one byte");
pub(super) static NO_SUCH_PAGE: Refusal = Refusal::new(
    Status::NotFound,
    "the admin address has /, /dashboard, /healthz, /metrics and /size",
);
