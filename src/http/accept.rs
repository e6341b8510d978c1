//! How much a client likes a media type (RFC 9110 §12.5.1).

use httparse::{EMPTY_HEADER, Header, parse_headers};

use super::error::HEADERS_MAX;

/// What the media range says that fits a media type best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// The weight, from 0 for what is not acceptable to 1000.
    pub thousandths: u16,
    /// Whether the range names the type, rather than any.
    pub is_exact: bool,
}

/// The weight of a media type by the Accept fields among the lines of a head. Of ranges that are
/// equally near, which differ in parameters, the one of the largest weight counts. `None`: no range
/// fits, or there are no such fields.
pub(super) fn quality(lines: &[u8], media_type: &str) -> Option<Quality> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let Ok(httparse::Status::Complete((_, headers))) = parse_headers(lines, &mut headers) else {
        return None;
    };
    let is_accept = |header: &&Header<'_>| header.name.eq_ignore_ascii_case("accept");
    let values = headers.iter().filter(is_accept).filter_map(|h| str::from_utf8(h.value).ok());
    let ranges = values.flat_map(|value| value.split(','));
    let fitting = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let nearness = nearness(parts.next().unwrap_or_default(), media_type)?;
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.eq_ignore_ascii_case("q").then(|| weight(value))
        });
        Some((nearness, weight.unwrap_or(1000)))
    });
    let (nearness, thousandths) = fitting.max()?;
    Some(Quality { thousandths, is_exact: nearness == NEARNESS_MAX })
}

const NEARNESS_MAX: u8 = 2;

/// How near a media range is to a type; `None` if it does not have it.
fn nearness(range: &str, media_type: &str) -> Option<u8> {
    if range.eq_ignore_ascii_case(media_type) {
        return Some(NEARNESS_MAX);
    }
    let (kind, subtype) = range.split_once('/')?;
    let of = media_type.split_once('/').map_or(media_type, |(kind, _)| kind);
    match (kind, subtype) {
        ("*", "*") => Some(0),
        (kind, "*") if kind.eq_ignore_ascii_case(of) => Some(1),
        _ => None,
    }
}

/// A weight in thousandths; 0 for what is none, so that it decides nothing.
fn weight(value: &str) -> u16 {
    let weight = value.trim().parse::<f32>().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_range_counts_and_of_equally_near_ones_the_heaviest() {
        for (accept, expected) in [
            ("text/html", None),
            ("text/plain", Some((1000, true))),
            (
                "TEXT/Plain;version=0.0.4;q=0.3, text/plain; version=1.0.0; Q=0.45",
                Some((450, true)),
            ),
            ("*/*, text/plain;q=0", Some((0, true))),
            ("*/*;q=0.1, text/*;q=0.7", Some((700, false))),
            ("text/plain;q=2", Some((1000, true))),
            ("text/plain;q=x", Some((0, true))),
            ("*/plain, */, /, ;q=1", None),
        ] {
            let lines = format!("Host: x\r\nAccept: {accept}\r\n\r\n");
            let found = quality(lines.as_bytes(), "text/plain");
            assert_eq!(found.map(|q| (q.thousandths, q.is_exact)), expected, "{accept}");
        }
        let twice = b"Accept: */*;q=0.5\r\naccept: text/plain;q=0.2\r\n\r\n";
        assert_eq!(quality(twice, "text/plain").map(|q| q.thousandths), Some(200));
        assert_eq!(quality(b"\r\n", "text/plain"), None);
        assert_eq!(quality(b"", "text/plain"), None);
    }
}
