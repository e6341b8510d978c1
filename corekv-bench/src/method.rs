//! The request methods that the load generator sends.

/// The request methods that the load generator sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads a value.
    Get,
    /// Writes a value.
    Post,
    /// Reads a value's header fields.
    Head,
    /// Writes a value.
    Put,
    /// Removes a value.
    Delete,
    /// Any other, from a file of requests.
    Other,
}

impl Method {
    /// Every method, in the order of the report; `self as usize` is the index.
    pub const ALL: [Self; 6] =
        [Self::Get, Self::Post, Self::Head, Self::Put, Self::Delete, Self::Other];

    /// The number of methods.
    pub const COUNT: usize = Self::ALL.len();

    /// The method of this name on the wire.
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|method| method.name() == name).unwrap_or(Self::Other)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Other => "other",
        }
    }

    /// The name in the JSON and CSV files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Head => "head",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }

    /// Whether the request carries a value that is stored.
    pub fn is_store(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }

    /// Whether the request asks for a value that is there or isn't.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}
