//! Who may do what by RFC 6750, RFC 7617 and the contract, with one token for each.

/// May read and write.
pub const WRITER: &[u8] = b"secret";
/// May read.
pub const READER: &[u8] = b"viewer";

/// The file that gives the server these tokens.
pub const FILE: &str = "secret\n# a comment\nviewer read-only\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Denied,
    Read,
    Write,
}

/// What the value of an Authorization field allows.
pub fn access(value: Option<&[u8]>) -> Access {
    let Some(value) = value else { return Access::Denied };
    let mut parts = value.splitn(2, |&byte| byte == b' ');
    let scheme = parts.next().unwrap_or_default().to_ascii_lowercase();
    let Some(credentials) = parts.next() else { return Access::Denied };
    let blank = |byte: &u8| b" \t".contains(byte);
    let start = credentials.iter().position(|byte| !blank(byte)).unwrap_or(credentials.len());
    let end = credentials.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    let credentials = &credentials[start..end];
    let token = match &scheme[..] {
        b"bearer" => credentials.to_vec(),
        b"basic" => {
            let Some(pair) = decode(credentials) else { return Access::Denied };
            // A user name has no colon, a password may.
            let Some(colon) = pair.iter().position(|&b| b == b':') else { return Access::Denied };
            pair[colon + 1..].to_vec()
        }
        _ => return Access::Denied,
    };
    match &token[..] {
        WRITER => Access::Write,
        READER => Access::Read,
        _ => Access::Denied,
    }
}

/// Base64 (RFC 4648 §4), padded, with unused bits of zero (§3.5).
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if text.len() % 4 != 0 || padding > 2 {
        return None;
    }
    let mut bits = Vec::new();
    for byte in &text[..text.len() - padding] {
        let value = alphabet.iter().position(|letter| letter == byte)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    let bytes = bits.chunks(8).filter(|chunk| chunk.len() == 8);
    let decoded = bytes.map(|bits| bits.iter().fold(0, |byte, &bit| byte << 1 | bit as u8));
    let decoded: Vec<u8> = decoded.collect();
    let unused = &bits[decoded.len() * 8..];
    (unused.len() == padding * 2 && unused.iter().all(|&bit| bit == 0)).then_some(decoded)
}
