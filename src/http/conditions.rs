//! Preconditions (RFC 9110 §13): a request that is to be carried out only if the stored
//! representation is, or is not, one that the client names.
//!
//! | order | field | holds if | otherwise |
//! |---|---|---|---|
//! | 1 | `If-Match` | a value is stored and the list is `*` or has its tag | 412 |
//! | 2 | `If-Unmodified-Since` | ignored: there are no modification dates (§13.1.4) | |
//! | 3 | `If-None-Match` | no value is stored, or the list is not `*` and has not its tag | GET and HEAD 304, others 412 |
//! | 4 | `If-Modified-Since` | ignored, likewise (§13.1.3) | |
//! | 5 | `If-Range` | it is the stored representation's tag | the `Range` is ignored |
//!
//! `If-Match` and `If-Range` compare strongly, `If-None-Match` weakly (§8.8.3.2). All tags here are
//! strong, so that the two differ only for a tag that the client has marked as weak.

use super::etag::{EntityTag, NamedTag};

/// A field's value is not of its form. Ignoring it could carry out what was to be prevented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What a list of tags names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever is stored.
    Any,
    /// These, of which only those are kept that a representation here could have.
    List(Vec<NamedTag>),
}

/// The preconditions of a request; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// Whether a request is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is.
    Holds,
    /// It is not, since `If-Match` does not hold.
    MatchFailed,
    /// It is not, since `If-None-Match` does not hold.
    NoneMatchFailed,
}

impl Conditions {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether they name entity tags, so that whether they hold depends on the stored one.
    #[must_use]
    pub fn name_tags(&self) -> bool {
        let lists = [&self.if_match, &self.if_none_match];
        lists.into_iter().any(|tags| matches!(tags, Some(Tags::List(_))))
    }

    /// Takes a line of `If-Match`.
    ///
    /// # Errors
    /// When it is not `*` alone or a list of entity tags.
    pub(super) fn take_if_match(&mut self, value: &[u8]) -> Result<(), Malformed> {
        add(&mut self.if_match, value)
    }

    /// Takes a line of `If-None-Match`.
    ///
    /// # Errors
    /// When it is not `*` alone or a list of entity tags.
    pub(super) fn take_if_none_match(&mut self, value: &[u8]) -> Result<(), Malformed> {
        add(&mut self.if_none_match, value)
    }

    /// Whether they hold for what is stored. `tag` is called only if its result matters, and
    /// only if `is_stored`.
    #[must_use]
    pub fn judge(&self, is_stored: bool, tag: impl FnOnce() -> EntityTag) -> Outcome {
        let current = (is_stored && self.name_tags()).then(tag);
        let has = |tags: &Tags, may_be_weak: bool| match tags {
            Tags::Any => is_stored,
            Tags::List(tags) => tags.iter().any(|named| {
                current.is_some() && named.tag == current && (may_be_weak || !named.is_weak)
            }),
        };
        if self.if_match.as_ref().is_some_and(|tags| !has(tags, false)) {
            return Outcome::MatchFailed;
        }
        if self.if_none_match.as_ref().is_some_and(|tags| has(tags, true)) {
            return Outcome::NoneMatchFailed;
        }
        Outcome::Holds
    }
}

/// Adds a line to a list. Several lines are one list (RFC 9110 §5.3), of which `*` can't be a part.
fn add(tags: &mut Option<Tags>, value: &[u8]) -> Result<(), Malformed> {
    match (tags, read(value)?) {
        (tags @ None, line) => *tags = Some(line),
        (Some(Tags::List(all)), Tags::List(more)) => all.extend(more),
        _ => return Err(Malformed),
    }
    Ok(())
}

fn read(value: &[u8]) -> Result<Tags, Malformed> {
    if value == b"*" {
        return Ok(Tags::Any);
    }
    let mut tags = Vec::new();
    let mut is_empty = true;
    let mut rest = value.trim_ascii_start();
    while !rest.is_empty() {
        // Empty elements don't count (RFC 9110 §5.6.1).
        if let Some(next) = rest.strip_prefix(b",") {
            rest = next.trim_ascii_start();
            continue;
        }
        let (named, next) = NamedTag::read(rest).ok_or(Malformed)?;
        is_empty = false;
        if named.tag.is_some() {
            tags.push(named);
        }
        rest = next.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return Err(Malformed);
        }
    }
    if is_empty { Err(Malformed) } else { Ok(Tags::List(tags)) }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Holds, MatchFailed, NoneMatchFailed};
    use super::*;

    const STORED: u128 = 0xabc;

    fn judge(if_match: &[&str], if_none_match: &[&str], is_stored: bool) -> Outcome {
        let mut conditions = Conditions::default();
        let stored = String::from_utf8(EntityTag::new(STORED, b"").render().to_vec()).unwrap();
        let fill = |value: &str| value.replace("OURS", &stored).into_bytes();
        for value in if_match {
            conditions.take_if_match(&fill(value)).unwrap();
        }
        for value in if_none_match {
            conditions.take_if_none_match(&fill(value)).unwrap();
        }
        conditions.judge(is_stored, || EntityTag::new(STORED, b""))
    }

    #[test]
    fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
        // RFC 9110 §13.2.2, for what is stored with the tag, and for what is absent.
        for (if_match, if_none_match, stored, absent) in [
            (&[][..], &[][..], Holds, Holds),
            (&["*"], &[], Holds, MatchFailed),
            (&["OURS"], &[], Holds, MatchFailed),
            (&["\"x\""], &[], MatchFailed, MatchFailed),
            (&["\"x\", OURS"], &[], Holds, MatchFailed),
            (&["\"x,y\" , OURS"], &[], Holds, MatchFailed),
            (&["\"x\"", "OURS"], &[], Holds, MatchFailed),
            (&["W/OURS"], &[], MatchFailed, MatchFailed),
            (&[], &["*"], NoneMatchFailed, Holds),
            (&[], &["OURS"], NoneMatchFailed, Holds),
            (&[], &["W/OURS"], NoneMatchFailed, Holds),
            (&[], &["\"x\""], Holds, Holds),
            (&[], &["\"x\",OURS ,"], NoneMatchFailed, Holds),
            (&["OURS"], &["OURS"], NoneMatchFailed, MatchFailed),
            (&["\"x\""], &["OURS"], MatchFailed, MatchFailed),
            (&["*"], &["\"x\""], Holds, MatchFailed),
            (&["*"], &["*"], NoneMatchFailed, MatchFailed),
        ] {
            let row = format!("{if_match:?} {if_none_match:?}");
            assert_eq!(judge(if_match, if_none_match, true), stored, "{row}, stored");
            assert_eq!(judge(if_match, if_none_match, false), absent, "{row}, absent");
        }
    }

    #[test]
    fn a_tag_is_worked_out_only_where_it_matters() {
        let never = || -> EntityTag { panic!("nobody asked") };
        let mut conditions = Conditions::default();
        assert_eq!(conditions.judge(true, never), Holds);
        conditions.take_if_none_match(b"*").unwrap();
        assert_eq!(conditions.judge(true, never), NoneMatchFailed);
        conditions.take_if_match(b"\"x\"").unwrap();
        assert_eq!(conditions.judge(false, never), MatchFailed);
    }

    #[test]
    fn malformed_lists_are_told() {
        for value in ["", ",", "x", "\"a\" \"b\"", "*, \"a\"", "\"a\", *", "**", "\"a\"x", "W/"] {
            let taken = Conditions::default().take_if_match(value.as_bytes());
            assert_eq!(taken, Err(Malformed), "{value}");
        }
        let mut conditions = Conditions::default();
        conditions.take_if_match(b"\"a\"").unwrap();
        assert_eq!(conditions.take_if_match(b"*"), Err(Malformed));
    }
}
