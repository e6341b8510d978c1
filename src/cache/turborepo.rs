//! What Turborepo's remote cache has beside keys and values: a status, events, fields that come
//! with an artifact, and teams.
//!
//! An artifact is a key as all others, `…/v8/artifacts/HASH?slug=TEAM`. The rest of the interface is
//! in the OpenAPI specification of Turborepo's documentation.

use super::route::{Page, Route};
use crate::http::KeyParameters;
use crate::net::Class;

/// Fields that come with an artifact: its signature, how long it took to make, and from what.
pub(crate) const KEPT_FIELDS: [&str; 4] =
    ["x-artifact-tag", "x-artifact-duration", "x-artifact-sha", "x-artifact-dirty-hash"];

/// Which team's an artifact is.
pub(crate) const TEAM: KeyParameters = KeyParameters::new(&["teamId", "slug"]);

/// What a client finds next to the artifacts, wherever they are: `TURBO_API` may have a path.
#[cold]
pub(super) fn find(class: Class, path: &[u8]) -> Option<Route> {
    if !matches!(class, Class::Data(_)) {
        return None;
    }
    // The team stands behind a `?`.
    let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
    let (rest, route) = if let Some(rest) = path.strip_suffix(b"v8/artifacts/status") {
        (rest, Route::Page(Page::TurborepoStatus))
    } else {
        (path.strip_suffix(b"v8/artifacts/events")?, Route::TurborepoEvents)
    };
    (rest.is_empty() || rest.ends_with(b"/")).then_some(route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::KeptName;

    #[test]
    fn the_fields_can_be_kept() {
        assert!(KEPT_FIELDS.iter().all(|name| name.parse::<KeptName>().is_ok()));
    }
}
