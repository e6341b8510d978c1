//! What a path names: a key, or one of the reserved names.

use crate::http::{Refusal, Status};
use crate::net::Class;
use crate::store::Hash;

/// Where the reserved names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// On every address, in the place of the keys of these names.
    Everywhere,
    /// On the admin address only.
    AdminOnly,
}

/// A page behind a reserved name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// `/`
    About,
    /// `/healthz`
    Health,
    /// `/metrics`
    Metrics,
    /// `/size`
    Size,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name {
    Key(Hash),
    Page(Page),
    /// The server as a whole: `OPTIONS *`.
    Server,
    /// Nothing that there could be.
    Refused(&'static Refusal),
}

const ALLOW_KEY: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
const ALLOW_PAGE: &str = "GET, HEAD, OPTIONS";

/// The refusal of a method that keys don't have.
pub(super) static KEY_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "keys have the methods GET, HEAD, PUT, POST, DELETE and OPTIONS",
    field: Some(("Allow", ALLOW_KEY)),
};

static PAGE_METHODS: Refusal = Refusal {
    status: Status::MethodNotAllowed,
    reason: "reserved names have the methods GET, HEAD and OPTIONS",
    field: Some(("Allow", ALLOW_PAGE)),
};

impl Name {
    pub(super) const BROKEN_ESCAPE: Self = Self::Refused(&Refusal::new(
        Status::BadRequest,
        "a % in the path is not followed by two hexadecimal digits",
    ));
    pub(super) const KEY_TOO_LONG: Self =
        Self::Refused(&Refusal::new(Status::UriTooLong, "the key is longer than key-bytes-max"));
    const KEY_EMPTY: Self =
        Self::Refused(&Refusal::new(Status::BadRequest, "a key has at least one byte"));
    const NO_SUCH_PAGE: Self = Self::Refused(&Refusal::new(
        Status::NotFound,
        "the admin address has /, /healthz, /metrics and /size",
    ));

    /// The methods, for an Allow field.
    pub(super) fn allow(self) -> &'static str {
        if matches!(self, Self::Page(_)) { ALLOW_PAGE } else { ALLOW_KEY }
    }

    pub(super) fn method_not_allowed(self) -> &'static Refusal {
        if matches!(self, Self::Page(_)) { &PAGE_METHODS } else { &KEY_METHODS }
    }
}

impl Names {
    /// What a decoded path names on an address of that class, if it is not a key.
    #[inline]
    pub(super) fn find(self, class: Class, path: &[u8]) -> Option<Name> {
        if matches!(class, Class::Admin(_)) {
            return Some(reserved(path).map_or(Name::NO_SUCH_PAGE, Name::Page));
        }
        match self {
            Self::Everywhere => reserved(path).map(Name::Page),
            Self::AdminOnly => path.is_empty().then_some(Name::KEY_EMPTY),
        }
    }
}

#[inline]
fn reserved(path: &[u8]) -> Option<Page> {
    match path {
        b"" => Some(Page::About),
        b"size" => Some(Page::Size),
        b"healthz" => Some(Page::Health),
        b"metrics" => Some(Page::Metrics),
        _ => None,
    }
}
