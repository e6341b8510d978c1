//! How a request is written, and where a reply ends, in each protocol.

use std::io::Write;

/// A protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wire {
    /// HTTP/1.1: GET and POST.
    Http {
        /// What stands before the key in the target of a GET.
        read: String,
        /// What stands before the key in the target of a POST.
        write: String,
    },
    /// Redis' RESP2: GET and SET.
    Resp,
    /// memcached's meta commands: mg and ms.
    Meta,
}

impl Wire {
    /// HTTP/1.1 with targets of `/KEY`.
    #[must_use]
    pub fn http() -> Self {
        Self::Http { read: "/".to_owned(), write: "/".to_owned() }
    }

    /// Whether requests have header fields, which may differ.
    #[must_use]
    pub fn has_heads(&self) -> bool {
        matches!(self, Self::Http { .. })
    }

    /// Appends a read; with an `id`, HTTP has it in an `X-Request-Id`.
    pub fn read(&self, out: &mut Vec<u8>, key: u64, id: Option<u64>) {
        match self {
            Self::Http { read, .. } => {
                append(out, format_args!("GET {read}{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
                append_id(out, id);
                append(out, format_args!("\r\n"));
            }
            Self::Resp => {
                let digits = digits(key);
                append(out, format_args!("*2\r\n$3\r\nGET\r\n${digits}\r\n{key}\r\n"));
            }
            Self::Meta => append(out, format_args!("mg {key} v\r\n")),
        }
    }

    /// Appends a write; with an `id`, HTTP has it in an `X-Request-Id`.
    pub fn write(&self, out: &mut Vec<u8>, key: u64, value: &[u8], id: Option<u64>) {
        let length = value.len();
        match self {
            Self::Http { write, .. } => {
                append(out, format_args!("POST {write}{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
                append_id(out, id);
                append(out, format_args!("Content-Length: {length}\r\n\r\n"));
                out.extend_from_slice(value);
            }
            Self::Resp => {
                let digits = digits(key);
                append(out, format_args!("*3\r\n$3\r\nSET\r\n${digits}\r\n{key}\r\n${length}\r\n"));
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            Self::Meta => {
                append(out, format_args!("ms {key} {length}\r\n"));
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Where the payload of the reply at the start of the bytes begins and ends, and the reply's
    /// length; nothing as long as it is not whole.
    ///
    /// # Errors
    /// If it is a failure, or no reply of the protocol.
    pub fn parse_reply(
        &self,
        bytes: &[u8],
    ) -> Result<Option<(std::ops::Range<usize>, usize)>, String> {
        let head_end = match self {
            Self::Http { .. } => find(bytes, b"\r\n\r\n").map(|at| at + 4),
            Self::Resp | Self::Meta => find(bytes, b"\r\n").map(|at| at + 2),
        };
        let Some(head_end) = head_end else { return Ok(None) };
        let head = String::from_utf8_lossy(&bytes[..head_end]);
        let failure = || Err(format!("the reply is {:?}", head.lines().next().unwrap_or_default()));
        let (payload, tail) = match self {
            Self::Http { .. } => {
                let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
                if !matches!(status, Some("200" | "201" | "204")) {
                    return failure();
                }
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse().ok())?
                });
                match (status, length) {
                    (Some("204"), _) => (0, 0),
                    (_, Some(length)) => (length, 0),
                    _ => return Err("the reply has no Content-Length".to_owned()),
                }
            }
            Self::Resp if head == "+OK\r\n" => (0, 0),
            Self::Resp => {
                match head.strip_prefix('$').and_then(|rest| rest.trim_end().parse().ok()) {
                    Some(length) => (length, 2),
                    None => return failure(),
                }
            }
            Self::Meta if head == "HD\r\n" => (0, 0),
            Self::Meta => {
                match head.strip_prefix("VA ").and_then(|rest| rest.trim_end().parse().ok()) {
                    Some(length) => (length, 2),
                    None => return failure(),
                }
            }
        };
        let whole = head_end + payload + tail;
        Ok((bytes.len() >= whole).then_some((head_end..head_end + payload, whole)))
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes all that is written to it");
}

fn append_id(out: &mut Vec<u8>, id: Option<u64>) {
    if let Some(id) = id {
        append(out, format_args!("X-Request-Id: {id:016x}\r\n"));
    }
}

fn digits(key: u64) -> u32 {
    key.checked_ilog10().unwrap_or(0) + 1
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, needle)
}
