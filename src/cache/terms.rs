//! On what terms a value is stored: preconditions, digests, and the fields that are kept with it.

use sha2::{Digest, Sha256};

use super::kept_sets::KeptSets;
use super::refusals::{CAS_KEY, DIGESTS_DIFFER, KEY_AND_FIELDS_TOO_LONG};
use super::settings::Settings;
use crate::http::{Conditions, EntityTag, Outcome, Refusal, Request, Sha256Digest};
use crate::store::{Fingerprint, Store, Stored};

/// The terms of a PUT or POST.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) conditions: Conditions,
    /// The lines of the fields that are kept with the value.
    lines: Vec<u8>,
    /// The same as the store has them.
    pub(super) meta: Vec<u8>,
    /// What the SHA-256 of the body has to be.
    digest: Option<Sha256Digest>,
    /// Whether the answer tells the tag of what was stored.
    pub(super) tells_tag: bool,
}

impl Terms {
    /// Those of a request for a key.
    ///
    /// # Errors
    /// The answer, if they can't be met whatever the body is.
    pub(super) fn of(
        request: &Request<'_>,
        settings: &Settings,
        sets: &KeptSets,
    ) -> Result<Self, Refusal> {
        let details = request.details(&settings.kept)?;
        let digest = match (details.digest, cas_digest(request.path, settings)?) {
            (Some(one), Some(other)) if one != other => return Err(DIGESTS_DIFFER),
            (one, other) => one.or(other),
        };
        let meta = sets.meta_of(&details.kept);
        if !Store::fits(request.path.len(), meta.len()) {
            return Err(KEY_AND_FIELDS_TOO_LONG);
        }
        let tells_tag = settings.etag || !details.conditions.is_empty();
        let (conditions, lines) = (details.conditions, details.kept);
        Ok(Self { conditions, lines, meta, digest, tells_tag })
    }

    /// Whether a body whose digest was worked out so is the one that was announced.
    pub(super) fn is_met_by(&self, digest: impl FnOnce() -> Sha256Digest) -> bool {
        self.digest.is_none_or(|expected| digest() == expected)
    }

    /// What works out the body's digest, if it matters.
    pub(super) fn digester(&self) -> Option<Sha256> {
        self.digest.map(|_| Sha256::new())
    }

    /// Whether the value is to be stored, given what is stored now.
    pub(super) fn hold_for(&self, stored: Option<&Stored<'_>>, sets: &KeptSets) -> bool {
        holds(&self.conditions, stored, sets)
    }

    /// The tag of what was stored on these terms.
    pub(super) fn tag(&self, fingerprint: Fingerprint) -> EntityTag {
        EntityTag::new(fingerprint.bits(), &self.lines)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.lines.capacity() + self.meta.capacity()
    }
}

/// Whether preconditions hold for what is stored now.
pub(super) fn holds(conditions: &Conditions, stored: Option<&Stored<'_>>, sets: &KeptSets) -> bool {
    let tag = || {
        let stored = stored.expect("asked for what is stored only");
        EntityTag::new(stored.fingerprint().bits(), sets.lines_of(&stored.meta()))
    };
    conditions.judge(stored.is_some(), tag) == Outcome::Holds
}

/// What the digest of a value has to be by its key: under a prefix of `--cas-prefix` the key's last
/// segment is the SHA-256 of the value, in hexadecimal digits.
fn cas_digest(path: &[u8], settings: &Settings) -> Result<Option<Sha256Digest>, Refusal> {
    if !settings.cas_prefixes.iter().any(|prefix| path.starts_with(prefix)) {
        return Ok(None);
    }
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let mut digest = Sha256Digest::default();
    let is_whole = last.len() == 2 * digest.len()
        && last.as_chunks::<2>().0.iter().zip(&mut digest).all(|(digits, byte)| {
            let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
            let parsed = text.and_then(|text| u8::from_str_radix(text, 16).ok());
            parsed.map(|parsed| *byte = parsed).is_some()
        });
    if is_whole { Ok(Some(digest)) } else { Err(CAS_KEY) }
}

/// The SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256::digest(bytes).into()
}
