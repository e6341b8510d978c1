//! `/snapshot` of the admin address: POST has one written, GET tells what is known.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::refusals::{NO_SUCH_PAGE, SNAPSHOT_BUSY};
use crate::http::{Method, Request, Responses, Status};
use crate::snapshot::{self, Saver};

/// Answers a request, of a server that writes snapshots if there is a saver.
pub(super) fn show(saver: Option<&Saver>, request: &Request<'_>, responses: &mut Responses<'_>) {
    let persistence = request.fields.persistence;
    let Some(saver) = saver else {
        return responses.refuse(request.method, persistence, NO_SUCH_PAGE);
    };
    if request.method != Method::Post {
        return responses.body(request, super::pages::JSON, describe(saver.status()).as_bytes());
    }
    match saver.request() {
        Ok(()) => responses.empty(request.method, persistence, Status::Accepted),
        Err(snapshot::Busy) => responses.refuse(request.method, persistence, SNAPSHOT_BUSY),
    }
}

/// What is known, as JSON.
fn describe(status: &snapshot::Status) -> String {
    let mut text = format!("{{\"running\":{},\"saved\":", status.is_running());
    // Writing to a string can't fail.
    let _ = match status.saved() {
        None => write!(text, "null"),
        Some(saved) => write!(
            text,
            "{{\"time\":{:.3},\"seconds\":{:.3},\"bytes\":{},\"keys\":{}}}",
            saved.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            saved.duration.as_secs_f64(),
            saved.bytes,
            saved.keys,
        ),
    };
    let error = status.error().map_or("null".to_owned(), |error| quoted(&error));
    let (failures, loaded) = (status.failures(), status.loaded_keys());
    let _ = writeln!(text, ",\"error\":{error},\"failures\":{failures},\"loaded_keys\":{loaded}}}");
    text
}

/// A string of JSON (RFC 8259 §7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_no_snapshot_is_json() {
        assert_eq!(
            describe(&snapshot::Status::default()),
            "{\"running\":false,\"saved\":null,\"error\":null,\"failures\":0,\"loaded_keys\":0}\n"
        );
        assert_eq!(quoted("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
