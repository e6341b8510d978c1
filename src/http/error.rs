//! What can be wrong with a request's framing, and the one place that maps it to a status.

use std::fmt;

use super::status::Status;

/// Header fields in one request: more are [`Error::HeadersTooMany`].
pub(super) const HEADERS_MAX: usize = 100;

/// A request that ends its connection, because where the next one starts is not certain, or
/// because the rest of it is not worth reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts of `reason` say what each stands for")]
pub enum Error {
    BareLineFeed,
    BodyTooLarge,
    BodyTimeout,
    ChunkSize,
    ChunkEnd,
    ChunkExtension,
    ChunkLineTooLong,
    ContentLength,
    CodingEmpty,
    CodingNotChunkedLast,
    CodingRepeated,
    CodingUnsupported,
    CodingWithLength,
    CodingInHttp10,
    Expectation,
    HeadTimeout,
    HeaderField,
    HeadersTooLarge,
    HeadersTooLargeNow,
    HeadersTooMany,
    Host,
    MemoryLimit,
    RequestLine,
    RequestLineTooLong,
    Target,
    TooManyConnections,
    Trailer,
    TrailersTooLarge,
    MemoryTimeout,
    Version,
}

impl Error {
    /// The status that tells the client.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::BodyTooLarge => Status::ContentTooLarge,
            Self::BodyTimeout | Self::HeadTimeout => Status::RequestTimeout,
            Self::CodingUnsupported => Status::NotImplemented,
            Self::Expectation => Status::ExpectationFailed,
            Self::HeadersTooLarge
            | Self::HeadersTooLargeNow
            | Self::HeadersTooMany
            | Self::TrailersTooLarge => Status::HeaderFieldsTooLarge,
            Self::RequestLineTooLong => Status::UriTooLong,
            Self::MemoryLimit | Self::TooManyConnections | Self::MemoryTimeout => {
                Status::ServiceUnavailable
            }
            Self::Version => Status::VersionNotSupported,
            _ => Status::BadRequest,
        }
    }

    /// One line for the client: what was wrong, and the rule or limit that it broke.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line ends with LF alone; lines end with CRLF",
            Self::BodyTooLarge => "the body is longer than value-bytes-max",
            Self::BodyTimeout => "the body did not arrive within body-timeout",
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkEnd => "chunk data is not followed by CRLF",
            Self::ChunkExtension => "malformed chunk extension",
            Self::ChunkLineTooLong => "a chunk-size line is longer than 1024 bytes",
            Self::ContentLength => "malformed or repeated Content-Length",
            Self::CodingEmpty => "an empty transfer coding",
            Self::CodingNotChunkedLast => "the last transfer coding is not chunked",
            Self::CodingRepeated => "the chunked coding is applied twice",
            Self::CodingUnsupported => "chunked is the only transfer coding supported",
            Self::CodingWithLength => "Transfer-Encoding together with Content-Length",
            Self::CodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 request",
            Self::Expectation => "100-continue is the only expectation supported",
            Self::HeadTimeout => "the request's head did not arrive within header-timeout",
            Self::HeaderField => "malformed header field",
            Self::HeadersTooLarge => "the request's head is longer than header-bytes-max",
            Self::HeadersTooLargeNow => {
                "the request's head is longer than the 4 KiB allowed while memory for heads is short"
            }
            Self::HeadersTooMany => "more than 100 header fields",
            Self::Host => "an HTTP/1.1 request has exactly one valid Host field",
            Self::MemoryLimit => "the memory for unfinished requests is used up; try again later",
            Self::RequestLine => "malformed request line",
            Self::RequestLineTooLong => "the request line is longer than header-bytes-max",
            Self::Target => "malformed request target",
            Self::TooManyConnections => "connections-max connections are open; try again later",
            Self::Trailer => "malformed trailer field",
            Self::TrailersTooLarge => "the trailers are longer than header-bytes-max",
            Self::MemoryTimeout => {
                "slow readers or uploads hold the memory that the value needs, or other purges are \
                 under way; try again later"
            }
            Self::Version => "HTTP/1 is the only major version supported",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Error {}
