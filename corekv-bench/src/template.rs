//! Bytes with places for what changes from request to request.

use std::fmt;

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
}

impl Template {
    /// Bytes without a place.
    pub fn fixed(bytes: impl Into<Vec<u8>>) -> Self {
        Self { start: bytes.into(), parts: Vec::new() }
    }

    /// `/{key}`, the paths of a key-value server.
    pub fn key_path() -> Self {
        Self { start: b"/".to_vec(), parts: vec![(Place::Key, Vec::new())] }
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
        let end = self.parts.last_mut().map_or(&mut self.start, |(_, text)| text);
        end.extend_from_slice(bytes.as_ref());
    }

    /// The same with bytes before it.
    #[must_use]
    pub fn after(&self, bytes: &[u8]) -> Self {
        Self { start: [bytes, &self.start].concat(), parts: self.parts.clone() }
    }

    /// Whether requests with different keys differ.
    pub fn has_key(&self) -> bool {
        self.parts.iter().any(|&(place, _)| place == Place::Key)
    }

    /// Appends the bytes with everything filled in.
    #[inline]
    pub fn render(&self, out: &mut Vec<u8>, key: u64, number: u64) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(&self.start);
        for (place, text) in &self.parts {
            let value = match place {
                Place::Key => key,
                Place::Number => number,
            };
            out.extend_from_slice(digits.format(value).as_bytes());
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
    fn a_wrong_path_is_refused() {
        for text in ["", "x", "/{", "/}", "/{keys}", "/{}", "/a b", "/ü", "/#x", "/{{key}}"] {
            assert!(Template::parse_path(text).is_err(), "{text}");
        }
    }
}
