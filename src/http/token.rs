//! The smallest parts of HTTP's grammar.

/// Characters of a token, as methods and field names are (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Characters of a field value (RFC 9110 §5.5) and, escaped, of a quoted string (§5.6.4).
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
