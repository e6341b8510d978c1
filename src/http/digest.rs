//! Digests of what is stored (RFC 9530): `Content-Digest` and `Repr-Digest`, of which SHA-256 is
//! checked. For a value that is stored whole the two are the same.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::conditions::Malformed;
use super::list;

/// A SHA-256 digest.
pub type Sha256Digest = [u8; 32];

/// The SHA-256 digest that a line of one of the fields names, if it names one. The field is a
/// dictionary of byte sequences (RFC 8941 §3.2, §3.3.5); other algorithms are ignored (RFC 9530 §5).
///
/// # Errors
/// When its member `sha-256` is not the digest of that algorithm.
pub(super) fn sha256(value: &[u8]) -> Result<Option<Sha256Digest>, Malformed> {
    let mut found = None;
    for member in list::elements(value) {
        let Some((name, bytes)) = split_once(member, b'=') else { continue };
        if name != b"sha-256" {
            continue;
        }
        let quoted = bytes.strip_prefix(b":").ok_or(Malformed)?;
        let (encoded, parameters) = split_once(quoted, b':').ok_or(Malformed)?;
        if !parameters.is_empty() && !parameters.starts_with(b";") {
            return Err(Malformed);
        }
        let digest = STANDARD.decode(encoded).map_err(|_| Malformed)?;
        // Of a key that is repeated the last one counts (RFC 8941 §3.2).
        found = Some(digest.try_into().map_err(|_| Malformed)?);
    }
    Ok(found)
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(at, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of no bytes, and as text.
    const NOTHING: Sha256Digest = [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ];
    const TEXT: &str = ":47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

    #[test]
    fn digests_are_found() {
        for text in [
            format!("sha-256={TEXT}"),
            format!(" sha-512=:YWJj:, sha-256={TEXT}"),
            format!("sha-256={TEXT};a=1, md5=:YWJj:"),
            format!("sha-256=:{}=:, sha-256={TEXT}", "A".repeat(43)),
        ] {
            assert_eq!(sha256(text.as_bytes()), Ok(Some(NOTHING)), "{text}");
        }
        let within = format!("x=\"a, sha-256={TEXT}\"");
        for text in ["", "sha-512=:YWJj:", "unixsum=30637", "sha-256", "SHA-256=:YWJj:", &within] {
            assert_eq!(sha256(text.as_bytes()), Ok(None), "{text}");
        }
    }

    #[test]
    fn malformed_digests_are_told() {
        for text in ["sha-256=", "sha-256=abc", "sha-256=:YWJj:", "sha-256=:!:", "sha-256=:YWJj"] {
            assert_eq!(sha256(text.as_bytes()), Err(Malformed), "{text}");
        }
        assert_eq!(sha256(format!("sha-256={TEXT}x").as_bytes()), Err(Malformed));
    }
}
