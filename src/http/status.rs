//! Status codes (RFC 9110 §15).

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal),+ $(,)?) => {
        /// The status codes that a handler can answer with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        #[expect(missing_docs, reason = "the names are the reason phrases")]
        pub enum Status {
            $($name = $code),+
        }

        impl Status {
            /// The three digits, a space and the reason phrase.
            #[must_use]
            pub fn line(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($code, " ", $reason)),+
                }
            }
        }
    };
}

statuses! {
    Ok = 200 "OK",
    Created = 201 "Created",
    Accepted = 202 "Accepted",
    NoContent = 204 "No Content",
    PartialContent = 206 "Partial Content",
    NotModified = 304 "Not Modified",
    BadRequest = 400 "Bad Request",
    Unauthorized = 401 "Unauthorized",
    Forbidden = 403 "Forbidden",
    NotFound = 404 "Not Found",
    MethodNotAllowed = 405 "Method Not Allowed",
    RequestTimeout = 408 "Request Timeout",
    Conflict = 409 "Conflict",
    PreconditionFailed = 412 "Precondition Failed",
    ContentTooLarge = 413 "Content Too Large",
    UriTooLong = 414 "URI Too Long",
    RangeNotSatisfiable = 416 "Range Not Satisfiable",
    ExpectationFailed = 417 "Expectation Failed",
    MisdirectedRequest = 421 "Misdirected Request",
    HeaderFieldsTooLarge = 431 "Request Header Fields Too Large",
    InternalServerError = 500 "Internal Server Error",
    NotImplemented = 501 "Not Implemented",
    ServiceUnavailable = 503 "Service Unavailable",
    VersionNotSupported = 505 "HTTP Version Not Supported",
    InsufficientStorage = 507 "Insufficient Storage",
}

impl Status {
    /// The code's first digit.
    #[must_use]
    #[inline]
    pub fn class(self) -> usize {
        self as usize / 100
    }

    /// Whether a response with this status never has a body, nor here a Content-Length (RFC 9110
    /// §8.6, §15.4.5).
    #[must_use]
    pub fn is_bodiless(self) -> bool {
        matches!(self, Self::NoContent | Self::NotModified)
    }
}
