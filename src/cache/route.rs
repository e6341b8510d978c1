//! What a request is about: a key, or one of the reserved names.

use super::refusals::{
    ALLOW_EVENTS, ALLOW_KEY, ALLOW_PAGE, ALLOW_SNAPSHOT, BROKEN_ESCAPE, EVENTS_METHODS, KEY_EMPTY,
    KEY_METHODS, NO_SUCH_PAGE, PAGE_METHODS, SNAPSHOT_METHODS,
};
use crate::http::{Method, Refusal, Request, Target};
use crate::net::Class;
use crate::store::Hash;

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
#[repr(u32)] // A route with one is copied as a whole, which takes fewer moves so.
pub(super) enum Page {
    About,
    Dashboard,
    History,
    Now,
    Health,
    Metrics,
    Size,
    /// Turborepo's question whether the cache may be used.
    TurborepoStatus,
    /// Of the admin address alone.
    Snapshot,
}

impl Page {
    /// Whether a page has this method beside those that read.
    pub(super) fn takes(self, method: Method) -> bool {
        self == Self::Snapshot && method == Method::Post
    }
}

/// The name of [`Page::Snapshot`].
const SNAPSHOT: &[u8] = b"snapshot";

/// The reserved names, without their first `/`.
const PAGES: [(&[u8], Page); 7] = [
    (b"", Page::About),
    (b"dashboard", Page::Dashboard),
    (b"dashboard/history", Page::History),
    (b"dashboard/now", Page::Now),
    (b"healthz", Page::Health),
    (b"metrics", Page::Metrics),
    (b"size", Page::Size),
];

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route {
    Key(Hash),
    Page(Page),
    /// Where Turborepo tells its hits and misses, which nobody here wants to know.
    TurborepoEvents,
    /// The server as a whole: `OPTIONS *`.
    Server,
    /// Nothing that there could be.
    Refused(&'static Refusal),
}

impl Route {
    /// The methods, for an Allow field.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Page(Page::Snapshot) => ALLOW_SNAPSHOT,
            Self::Page(_) => ALLOW_PAGE,
            Self::TurborepoEvents => ALLOW_EVENTS,
            _ => ALLOW_KEY,
        }
    }

    pub(super) fn method_not_allowed(self) -> &'static Refusal {
        match self {
            Self::Page(Page::Snapshot) => &SNAPSHOT_METHODS,
            Self::Page(_) => &PAGE_METHODS,
            Self::TurborepoEvents => &EVENTS_METHODS,
            _ => &KEY_METHODS,
        }
    }
}

impl Routes {
    /// What a request on an address of that class is about, if it is not a key.
    pub(super) fn find(self, class: Class, target: Target, path: &[u8]) -> Option<Route> {
        if !matches!(target, Target::Path { .. }) {
            return Some(without_path(target));
        }
        // The length tells most keys from the pages.
        if has_length_of_page(path.len()) || matches!(class, Class::Admin(_)) {
            self.find_page(class, path)
        } else {
            None
        }
    }

    /// Whether PURGE of a path drops all keys that begin with it: on the addresses that have the pages,
    /// if it ends with a `/`.
    pub(super) fn can_purge(self, request: &Request<'_>) -> bool {
        let is_admin = matches!(request.class, Class::Admin(_));
        matches!(request.target, Target::Path { .. })
            && is_admin == (self == Self::AdminOnly)
            && matches!(request.path, [] | [.., b'/'])
    }

    fn find_page(self, class: Class, path: &[u8]) -> Option<Route> {
        let page = PAGES.iter().find(|(name, _)| *name == path).map(|&(_, page)| Route::Page(page));
        match (class, self) {
            (Class::Admin(_), _) if path == SNAPSHOT => Some(Route::Page(Page::Snapshot)),
            (Class::Admin(_), _) => Some(page.unwrap_or(Route::Refused(&NO_SUCH_PAGE))),
            (_, Self::Everywhere) => page,
            (_, Self::AdminOnly) => path.is_empty().then_some(Route::Refused(&KEY_EMPTY)),
        }
    }
}

#[cold]
fn without_path(target: Target) -> Route {
    match target {
        Target::Server => Route::Server,
        Target::Authority => Route::Refused(&KEY_METHODS),
        Target::Undecodable | Target::Path { .. } => Route::Refused(&BROKEN_ESCAPE),
    }
}

/// Whether a page that there may be on any address has a name of this length.
#[inline]
pub(super) fn has_length_of_page(length: usize) -> bool {
    const LENGTHS: u64 = {
        let (mut lengths, mut i) = (0, 0);
        while i < PAGES.len() {
            lengths |= 1 << PAGES[i].0.len();
            i += 1;
        }
        lengths
    };
    length < 64 && LENGTHS >> length & 1 == 1
}
