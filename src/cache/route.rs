//! What a request is about: a key, or one of the reserved names.

use super::refusals::{
    ALLOW_KEY, ALLOW_PAGE, BROKEN_ESCAPE, KEY_EMPTY, KEY_METHODS, KEY_TOO_LONG, NO_SUCH_PAGE,
    PAGE_METHODS,
};
use crate::http::{Refusal, Request, Target};
use crate::net::Class;
use crate::store::{Hash, Store};

/// Where the reserved names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
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
    /// `/dashboard`
    Dashboard,
    /// `/dashboard/history`
    History,
    /// `/dashboard/now`
    Now,
    /// `/healthz`
    Health,
    /// `/metrics`
    Metrics,
    /// `/size`
    Size,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route {
    Key(Hash),
    Page(Page),
    /// The server as a whole: `OPTIONS *`.
    Server,
    /// Nothing that there could be.
    Refused(&'static Refusal),
}

impl Route {
    /// The methods, for an Allow field.
    pub(super) fn allow(self) -> &'static str {
        if matches!(self, Self::Page(_)) { ALLOW_PAGE } else { ALLOW_KEY }
    }

    pub(super) fn method_not_allowed(self) -> &'static Refusal {
        if matches!(self, Self::Page(_)) { &PAGE_METHODS } else { &KEY_METHODS }
    }
}

impl Routes {
    /// What a request is about, where keys have at most so many bytes.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn find(self, request: &Request<'_>, key_bytes_max: usize, store: &Store) -> Route {
        match request.target {
            Target::Path { .. } => {}
            Target::Undecodable => return Route::Refused(&BROKEN_ESCAPE),
            Target::Server => return Route::Server,
            Target::Authority => return Route::Refused(&KEY_METHODS),
        }
        if let Some(route) = self.find_reserved(request.class, request.path) {
            return route;
        }
        if request.path.len() > key_bytes_max {
            return Route::Refused(&KEY_TOO_LONG);
        }
        Route::Key(store.hash(request.path))
    }

    /// What a path names on an address of that class, if it is not a key.
    #[inline]
    fn find_reserved(self, class: Class, path: &[u8]) -> Option<Route> {
        if matches!(class, Class::Admin(_)) {
            return Some(page(path).map_or(Route::Refused(&NO_SUCH_PAGE), Route::Page));
        }
        match self {
            Self::Everywhere => page(path).map(Route::Page),
            Self::AdminOnly => path.is_empty().then_some(Route::Refused(&KEY_EMPTY)),
        }
    }
}

#[inline]
fn page(path: &[u8]) -> Option<Page> {
    match path {
        b"" => Some(Page::About),
        b"size" => Some(Page::Size),
        b"healthz" => Some(Page::Health),
        b"metrics" => Some(Page::Metrics),
        b"dashboard" => Some(Page::Dashboard),
        b"dashboard/history" => Some(Page::History),
        b"dashboard/now" => Some(Page::Now),
        _ => None,
    }
}
