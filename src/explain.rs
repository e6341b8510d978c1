//! Errors of the operating system, with what was tried.

use std::fmt::Display;
use std::io;

/// Puts what was tried before an error, for `map_err`: "Operation not permitted" alone helps nobody.
pub(crate) fn explain<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{what}: {error}"))
    }
}
