//! The query of a target (RFC 3986 §3.4), which is ignored but for the parameters that settings name.

/// Names of parameters that are a part of the key; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyParameters(&'static [&'static str]);

impl KeyParameters {
    /// These.
    #[must_use]
    pub const fn new(names: &'static [&'static str]) -> Self {
        Self(names)
    }

    /// Appends those that a query has to a path, as `?name=value&name=value`: in the order of the
    /// names, whatever their order in the query, and of each the first, with its value as it was
    /// sent. So clients that mean the same name the same key, and no value can pass for two.
    pub(super) fn append(self, query: &[u8], path: &mut Vec<u8>) {
        let query = query.strip_prefix(b"?").unwrap_or_default();
        let mut separator = b'?';
        for name in self.0 {
            let value = query
                .split(|&byte| byte == b'&')
                .find_map(|parameter| parameter.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
            if let Some(value) = value {
                path.push(separator);
                path.extend_from_slice(name.as_bytes());
                path.push(b'=');
                path.extend_from_slice(value);
                separator = b'&';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_any_order() {
        let complete = |query: &str| {
            let mut path = b"k".to_vec();
            KeyParameters::new(&["teamId", "slug"]).append(query.as_bytes(), &mut path);
            String::from_utf8(path).unwrap()
        };
        for (query, expected) in [
            ("", "k"),
            ("?", "k"),
            ("?other=1", "k"),
            ("?slug", "k"),
            ("?slug=", "k?slug="),
            ("?slug=a", "k?slug=a"),
            ("?x=1&slug=a&y=2", "k?slug=a"),
            ("?slug=a&teamId=b", "k?teamId=b&slug=a"),
            ("?teamId=b&slug=a", "k?teamId=b&slug=a"),
            ("?slug=a%26teamId%3Db", "k?slug=a%26teamId%3Db"),
            ("?slug=a&slug=b", "k?slug=a"),
            ("?SLUG=a&slugs=b", "k"),
            ("??slug=a", "k"),
        ] {
            assert_eq!(complete(query), expected, "{query}");
        }
        let mut path = b"k".to_vec();
        KeyParameters::default().append(b"?slug=a", &mut path);
        assert_eq!(path, b"k");
    }
}
