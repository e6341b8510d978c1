//! Bytes with places for what changes from request to request.

use std::fmt;

use super::digits::push_digits;

/// What is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The key, a decimal number: `{key}`.
    Key,
    /// The number of the request, from 0: `{n}`.
    Number,
}

impl Place {
    const ALL: [Self; 2] = [Self::Key, Self::Number];

    fn name(self) -> &'static str {
        match self {
            Self::Key => "{key}",
            Self::Number => "{n}",
        }
    }
}

/// Bytes with places in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Up to the first place.
    start: Vec<u8>,
    /// Each place, with what follows it.
    parts: Vec<(Place, Vec<u8>)>,
    /// The same, if it is short and has the key as its one place, as most have.
    short: Option<Short>,
}

/// Room for what is before the key, in bytes.
const START_BYTES: usize = 32;

/// Room for what is behind the key, in bytes.
const END_BYTES: usize = 128;

/// A text before the key and one behind it. Both are copied with their rooms, since a copy of a length
/// that the compiler knows is a few instructions and no call.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Short {
    start: [u8; START_BYTES],
    start_bytes: usize,
    end: [u8; END_BYTES],
    end_bytes: usize,
}

impl Short {
    fn new(start: &[u8], end: &[u8]) -> Option<Self> {
        let mut short = Self {
            start: [0; START_BYTES],
            start_bytes: start.len(),
            end: [0; END_BYTES],
            end_bytes: end.len(),
        };
        short.start.get_mut(..start.len())?.copy_from_slice(start);
        short.end.get_mut(..end.len())?.copy_from_slice(end);
        Some(short)
    }

    #[inline]
    fn render(&self, out: &mut Vec<u8>, key: u64) {
        let end = out.len() + self.start_bytes;
        out.extend_from_slice(&self.start);
        out.truncate(end);
        push_digits(out, key);
        let end = out.len() + self.end_bytes;
        out.extend_from_slice(&self.end);
        out.truncate(end);
    }
}

impl Template {
    fn new(start: Vec<u8>, parts: Vec<(Place, Vec<u8>)>) -> Self {
        let short = match parts.as_slice() {
            [(Place::Key, end)] => Short::new(&start, end),
            _ => None,
        };
        Self { start, parts, short }
    }

    /// Bytes without a place.
    pub fn fixed(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(bytes.into(), Vec::new())
    }

    /// `/{key}`, the paths of a key-value server.
    pub fn key_path() -> Self {
        Self::new(b"/".to_vec(), vec![(Place::Key, Vec::new())])
    }

    /// Parses a path, and a query if there is one, with `{key}` and `{n}` in it.
    pub fn parse_path(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("a path begins with a slash".to_owned());
        }
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(
                "spaces, control and non-ASCII characters must be percent-encoded".to_owned()
            );
        }
        if text.contains('#') {
            return Err("a fragment is not sent to a server".to_owned());
        }
        let mut template = Self::fixed("");
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let place = Place::ALL.into_iter().find(|place| from.starts_with(place.name()));
            let place = place.ok_or("the only places are {key} and {n}")?;
            template.push(before);
            template.parts.push((place, Vec::new()));
            rest = &from[place.name().len()..];
        }
        template.push(rest);
        Ok(template)
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) {
        let Self { mut start, mut parts, .. } = std::mem::replace(self, Self::fixed(""));
        let end = parts.last_mut().map_or(&mut start, |(_, text)| text);
        end.extend_from_slice(bytes.as_ref());
        *self = Self::new(start, parts);
    }

    /// The same with bytes before it.
    #[must_use]
    pub fn after(&self, bytes: &[u8]) -> Self {
        Self::new([bytes, &self.start].concat(), self.parts.clone())
    }

    /// Whether requests with different keys differ.
    pub fn has_key(&self) -> bool {
        self.parts.iter().any(|&(place, _)| place == Place::Key)
    }

    /// Appends the bytes with everything filled in.
    #[inline]
    pub fn render(&self, out: &mut Vec<u8>, key: u64, number: u64) {
        match &self.short {
            Some(short) => short.render(out, key),
            None => self.render_parts(out, key, number),
        }
    }

    #[inline(never)]
    fn render_parts(&self, out: &mut Vec<u8>, key: u64, number: u64) {
        out.extend_from_slice(&self.start);
        for (place, text) in &self.parts {
            let value = match place {
                Place::Key => key,
                Place::Number => number,
            };
            push_digits(out, value);
            out.extend_from_slice(text);
        }
    }

    /// Appends the bytes with a key that has zeros in front up to a width, and the number 0.
    pub fn render_padded(&self, out: &mut Vec<u8>, key: u64, width: usize) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(&self.start);
        for (place, text) in &self.parts {
            match place {
                Place::Key => {
                    let key = digits.format(key);
                    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(key.len())));
                    out.extend_from_slice(key.as_bytes());
                }
                Place::Number => out.push(b'0'),
            }
            out.extend_from_slice(text);
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.start))?;
        self.parts.iter().try_for_each(|(place, text)| {
            write!(f, "{}{}", place.name(), String::from_utf8_lossy(text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in() {
        for (text, expected) in [
            ("/", "/"),
            ("/{key}", "/7"),
            ("/item/{key}?v={n}", "/item/7?v=12"),
            ("/{n}{n}/{key}/x", "/1212/7/x"),
        ] {
            let template = Template::parse_path(text).unwrap();
            let mut out = Vec::new();
            template.render(&mut out, 7, 12);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(template.to_string(), text);
            assert_eq!(template.has_key(), text.contains("key"));
        }
        assert_eq!(Template::parse_path("/{key}"), Ok(Template::key_path()));
    }

    #[test]
    fn texts_of_any_length_are_whole() {
        for length in [0, 1, START_BYTES - 1, START_BYTES, START_BYTES + 1, END_BYTES, 1000] {
            let text: Vec<u8> = (0..length).map(|index| index as u8).collect();
            for (start, end) in [(&text[..], &b"x"[..]), (b"x", &text), (&text, &text)] {
                let mut template = Template::key_path().after(start);
                template.push(end);
                let mut out = b"before".to_vec();
                template.render(&mut out, 42, 7);
                assert_eq!(out, [b"before", start, b"/42", end].concat(), "{length}");
            }
        }
    }

    #[test]
    fn a_wrong_path_is_refused() {
        for text in ["", "x", "/{", "/}", "/{keys}", "/{}", "/a b", "/ü", "/#x", "/{{key}}"] {
            assert!(Template::parse_path(text).is_err(), "{text}");
        }
    }
}
