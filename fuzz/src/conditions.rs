//! Preconditions and ranges by RFC 9110 §13 and §14.2, over bytes that nobody has read before.

use crate::head::Head;

/// A list of entity tags, as it is compared: strong ones, and weak ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    Any,
    List(Vec<(bool, Vec<u8>)>),
}

/// The list of all lines of a field; `None` if it is malformed.
pub fn tags(lines: &[Vec<u8>]) -> Option<Tags> {
    if lines.len() == 1 && lines[0] == b"*" {
        return Some(Tags::Any);
    }
    let mut list = Vec::new();
    for line in lines {
        let before = list.len();
        let mut rest = &line[..];
        let mut may_begin = true;
        while let Some(&byte) = rest.first() {
            match byte {
                b' ' | b'\t' => rest = &rest[1..],
                b',' => {
                    may_begin = true;
                    rest = &rest[1..];
                }
                _ if !may_begin => return None,
                _ => {
                    let is_weak = rest.starts_with(b"W/");
                    let quoted = rest[if is_weak { 2 } else { 0 }..].strip_prefix(b"\"")?;
                    let end = quoted.iter().position(|&byte| byte == b'"')?;
                    let opaque = &quoted[..end];
                    if opaque.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
                        return None;
                    }
                    list.push((is_weak, opaque.to_vec()));
                    rest = &quoted[end + 1..];
                    may_begin = false;
                }
            }
        }
        if list.len() == before {
            return None;
        }
    }
    Some(Tags::List(list))
}

/// What preconditions make of a request for a key that has this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    Malformed,
    MatchFailed,
    NoneMatchFailed,
}

/// The verdict on a request; `tag` is the tag of what is stored, without its quotes.
pub fn verdict(head: &Head, tag: Option<&str>) -> Verdict {
    let list = |lines: &[Vec<u8>]| (!lines.is_empty()).then(|| tags(lines));
    let (Some(if_match), Some(if_none_match)) = (
        list(&head.if_match).map_or(Some(None), |list| list.map(Some)),
        list(&head.if_none_match).map_or(Some(None), |list| list.map(Some)),
    ) else {
        return Verdict::Malformed;
    };
    let has = |tags: &Tags, weakly: bool| match (tags, tag) {
        (_, None) => false,
        (Tags::Any, Some(_)) => true,
        (Tags::List(list), Some(tag)) => {
            list.iter().any(|(is_weak, opaque)| (weakly || !is_weak) && opaque == tag.as_bytes())
        }
    };
    if if_match.is_some_and(|tags| !has(&tags, false)) {
        return Verdict::MatchFailed;
    }
    if if_none_match.is_some_and(|tags| has(&tags, true)) {
        return Verdict::NoneMatchFailed;
    }
    Verdict::Proceed
}

/// The part of a value that a GET asks for: `None` for the whole, `Some(None)` for what it has not.
pub fn part(head: &Head, len: usize, tag: &str) -> Option<Option<std::ops::Range<usize>>> {
    let [range] = &head.ranges[..] else { return None };
    match head.if_range.last() {
        None => {}
        Some(value) if *value == format!("\"{tag}\"").as_bytes() => {}
        Some(_) => return None,
    }
    let text = std::str::from_utf8(range).ok()?;
    let (unit, set) = text.split_once('=')?;
    let (first, last) = set.trim_matches([' ', '\t', '\x0c']).split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        (Some(first), Some(last)) if first <= last => (first, last),
        (None, Some(count)) if first.is_empty() => {
            let first = (len as u64).saturating_sub(count);
            (if count == 0 { u64::MAX } else { first }, u64::MAX)
        }
        _ => return None,
    };
    let end = last.saturating_add(1).min(len as u64);
    Some((first < end).then(|| first as usize..end as usize))
}
