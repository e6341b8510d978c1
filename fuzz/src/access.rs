//! Who may do what by RFC 6750, RFC 7617 and the contract, with one token for each.

/// The file that gives the server its tokens.
pub const FILE: &str = "secret\n# a comment\nviewer read-only\nci read-write /a/ /%62%2f/\n\
                        guest read-only /a/\n";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub writes: bool,
    /// What keys have to begin with, one of these; `None` if that does not matter.
    pub prefixes: Option<&'static [&'static [u8]]>,
}

impl Access {
    /// What everybody may do where no tokens are needed.
    pub const ALL: Self = Self { writes: true, prefixes: None };

    /// Whether it is for a key.
    pub fn covers(&self, key: &[u8]) -> bool {
        self.prefixes.is_none_or(|all| all.iter().any(|prefix| key.starts_with(prefix)))
    }
}

/// What the value of an Authorization field allows; `None` if nothing.
pub fn access(value: Option<&[u8]>) -> Option<Access> {
    let value = value?;
    let mut parts = value.splitn(2, |&byte| byte == b' ');
    let scheme = parts.next().unwrap_or_default().to_ascii_lowercase();
    let credentials = parts.next()?;
    let blank = |byte: &u8| b" \t".contains(byte);
    let start = credentials.iter().position(|byte| !blank(byte)).unwrap_or(credentials.len());
    let end = credentials.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    let credentials = &credentials[start..end];
    let token = match &scheme[..] {
        b"bearer" => credentials.to_vec(),
        b"basic" => {
            let pair = decode(credentials)?;
            // A user name has no colon, a password may.
            let colon = pair.iter().position(|&b| b == b':')?;
            pair[colon + 1..].to_vec()
        }
        _ => return None,
    };
    match &token[..] {
        b"secret" => Some(Access::ALL),
        b"viewer" => Some(Access { writes: false, prefixes: None }),
        b"ci" => Some(Access { writes: true, prefixes: Some(&[b"a/", b"b//"]) }),
        b"guest" => Some(Access { writes: false, prefixes: Some(&[b"a/"]) }),
        _ => None,
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
