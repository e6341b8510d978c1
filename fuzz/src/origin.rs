//! Which requests web pages may send, and which hosts are the server's own, by the contract.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::head::Head;

/// Whether a page of another origin sends the request and may not.
pub fn is_foreign(head: &Head) -> bool {
    let values =
        |name: &'static str| head.browser_fields.iter().filter(move |(n, _)| n == name.as_bytes());
    let all = |name: &'static str, wanted: &[&[u8]]| {
        values(name).count() > 0 && values(name).all(|(_, value)| wanted.contains(&&value[..]))
    };
    let told = values("sec-fetch-site").count() > 0;
    let own = all("sec-fetch-site", &[b"same-origin", b"none"]);
    match &head.method[..] {
        b"PUT" | b"POST" | b"DELETE" | b"PURGE" if told => !own,
        b"PUT" | b"POST" | b"DELETE" | b"PURGE" => {
            let origins: Vec<_> = values("origin").map(|(_, value)| &value[..]).collect();
            match origins[..] {
                [] => false,
                [origin] => !is_same(origin, head.host.as_deref().unwrap_or_default()),
                _ => true,
            }
        }
        b"GET" | b"HEAD" => {
            let opened =
                all("sec-fetch-mode", &[b"navigate"]) && all("sec-fetch-dest", &[b"document"]);
            told && !own && !opened
        }
        _ => false,
    }
}

/// Whether an origin (RFC 6454 §7) has the host and port of an authority.
fn is_same(origin: &[u8], authority: &[u8]) -> bool {
    let origin = String::from_utf8_lossy(origin).to_ascii_lowercase();
    let authority = String::from_utf8_lossy(authority).to_ascii_lowercase();
    let (rest, default) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(rest), _) => (rest, 80),
        (_, Some(rest)) => (rest, 443),
        _ => return false,
    };
    let parts = |text: &str| -> Option<(String, u16)> {
        let name = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[name..].find(':') {
            Some(colon) => (&text[..name + colon], &text[name + colon + 1..]),
            None => (text, ""),
        };
        let port = if port.is_empty() { default } else { port.parse().ok()? };
        Some((host.to_owned(), port))
    };
    let theirs = parts(rest);
    theirs.is_some() && theirs == parts(&authority) && !authority.is_empty()
}

/// Whether an authority is none of a server's that has no names of its own.
pub fn is_another_host(authority: &[u8]) -> bool {
    let text = String::from_utf8_lossy(authority).to_ascii_lowercase();
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.split(']').next().unwrap_or_default();
        let address = inner.parse::<Ipv6Addr>();
        return !address.is_ok_and(|a| a.to_ipv4_mapped().is_none() && !a.is_unspecified());
    }
    let host = text.split(':').next().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_address = host.parse::<Ipv4Addr>().is_ok_and(|address| !address.is_unspecified());
    host.contains('.') && !host.ends_with(".localhost") && !is_address
}
