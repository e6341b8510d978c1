//! Request methods.

/// A request method, as far as a handler tells methods apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the methods")]
pub enum Method {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Options,
    Propfind,
    Purge,
    Connect,
    /// A registered method that is none of the others.
    Known,
    /// A well-formed token that is no registered method.
    Unknown,
}

/// Number of [`Method`]s, for tables indexed by one.
pub const METHODS: usize = Method::Unknown as usize + 1;

impl Method {
    /// Methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub fn from_token(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"POST" => Self::Post,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PROPFIND" => Self::Propfind,
            b"PURGE" => Self::Purge,
            b"CONNECT" => Self::Connect,
            b"TRACE" | b"PATCH" | b"COPY" | b"LOCK" | b"MKCOL" | b"MOVE" | b"PROPPATCH"
            | b"UNLOCK" => Self::Known,
            _ => Self::Unknown,
        }
    }

    /// Whether it is one that reads, stores or removes a key.
    #[must_use]
    #[inline]
    pub fn is_of_keys(self) -> bool {
        self as u8 <= Self::Delete as u8
    }

    /// Whether a request's body is of use. That of any other method is read and dropped.
    #[must_use]
    pub fn takes_body(self) -> bool {
        matches!(self, Self::Put | Self::Post)
    }

    /// Whether it changes what is stored: it needs a token that may write, and is not for pages of other
    /// origins.
    #[inline]
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Post | Self::Delete | Self::Purge)
    }

    /// The name that metrics show.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Propfind => "PROPFIND",
            Self::Purge => "PURGE",
            Self::Connect => "CONNECT",
            Self::Known => "other",
            Self::Unknown => "unknown",
        }
    }

    /// All methods, in the order of their numbers.
    pub(crate) const ALL: [Self; METHODS] = [
        Self::Get,
        Self::Head,
        Self::Put,
        Self::Post,
        Self::Delete,
        Self::Options,
        Self::Propfind,
        Self::Purge,
        Self::Connect,
        Self::Known,
        Self::Unknown,
    ];
}
