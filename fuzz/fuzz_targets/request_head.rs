//! The head parser against the reference: the same verdict for every prefix, whatever the parser
//! remembers from earlier heads.
//!
//! Input: two bytes that say how the rest is cut and which bytes of it are changed, one that chooses the
//! limit, then heads, one behind the other.

#![no_main]

use corekv::http::{
    FieldRules, Fields, Framing, HeadParser, Method, Origin, ParsedRequest, Persistence, Target,
    Unstorable,
};
use corekv_fuzz::head::{self, Head, Outcome};
use corekv_fuzz::{origin, pieces};
use libfuzzer_sys::fuzz_target;

/// How often a byte of the input is changed.
const ROUNDS: usize = 6;

/// What it is changed to: what ends values and lines, what no value has, digits and letters.
const BYTES: &[u8] = b"\r\n\t\0\x1f\x7f\x80 :,/019=axXz";

fuzz_target!(|data: &[u8]| {
    let [seed_low, seed_high, limit, input @ ..] = data else { return };
    let header_bytes_max = [64, 256, 1024, 16 << 10][usize::from(limit % 4)];
    let sizes = pieces(u16::from_le_bytes([*seed_low, *seed_high]), input.len());
    // Cold: it has seen nothing. Warm: it has seen every head of this input.
    let mut warm = HeadParser::new(header_bytes_max, FieldRules::default());
    walk(input, &[input.len()], &mut warm, header_bytes_max);
    walk(input, &sizes, &mut warm, header_bytes_max);
    // Heads that nearly are those that it has seen. What is accepted of them teaches it which values
    // differ, so that the next ones meet templates.
    let seed = usize::from(u16::from_le_bytes([*seed_low, *seed_high]));
    for round in 1..=ROUNDS {
        let mut near = input.to_vec();
        let at = seed.wrapping_mul(round).wrapping_add(round * round) % near.len().max(1);
        if let Some(byte) = near.get_mut(at) {
            *byte = BYTES[(seed / 7 + round) % BYTES.len()];
        }
        walk(&near, &[near.len()], &mut warm, header_bytes_max);
        walk(input, &[input.len()], &mut warm, header_bytes_max);
    }
    walk(
        input,
        &sizes,
        &mut HeadParser::new(header_bytes_max, FieldRules::default()),
        header_bytes_max,
    );
});

/// Parses heads until one is refused or the input is used up.
fn walk(input: &[u8], sizes: &[usize], parser: &mut HeadParser, header_bytes_max: usize) {
    let (mut at, mut end, mut scanned) = (0, 0, 0);
    for size in sizes {
        end += size;
        let received = &input[..end];
        loop {
            // The caller's part: empty lines before a head are skipped.
            while received[at..].starts_with(b"\r\n") {
                at += 2;
                scanned = 0;
            }
            let expected = head::read(&received[at..], header_bytes_max);
            let context = || format!("{} after {}", received[at..].escape_ascii(), at);
            let mut parsed = Vec::new();
            match (parser.parse(received, at, &mut scanned, &mut parsed), expected) {
                (Ok(Some(head_end)), Outcome::Head(head)) => {
                    assert_eq!(head_end, at + head.bytes, "{}", context());
                    compare(&parsed[0], &head);
                    at = head_end;
                    assert_eq!(scanned, 0);
                }
                (Ok(None), Outcome::Incomplete(_)) => {
                    assert!(scanned <= received.len() - at);
                    assert!(received.len() - at <= header_bytes_max);
                    break;
                }
                (Err(error), Outcome::Refused(statuses) | Outcome::Incomplete(statuses)) => {
                    let status = error.status() as u16;
                    assert!(
                        statuses.contains(&status),
                        "{error:?} not in {statuses:?}: {}",
                        context()
                    );
                    return;
                }
                (got, expected) => panic!("{got:?}, but {expected:?}: {}", context()),
            }
        }
    }
}

fn compare(parsed: &ParsedRequest, head: &Head) {
    assert_eq!(parsed.method, Method::from_token(&head.method));
    let target = match &head.target {
        // A query may follow, which the reference doesn't keep.
        head::Target::Path(path) => Target::Path {
            escaped: path.contains(&b'%') || parsed.target == Target::Path { escaped: true },
        },
        head::Target::Server => Target::Server,
        head::Target::Authority => Target::Authority,
    };
    assert_eq!(parsed.target, target);
    let Fields {
        framing, persistence, expects_continue, max_age, unstorable, sender, extras, ..
    } = parsed.fields;
    let has_condition = !head.if_match.is_empty() || !head.if_none_match.is_empty();
    let has_extras = match &head.method[..] {
        b"GET" => has_condition || !head.ranges.is_empty(),
        b"HEAD" | b"DELETE" => has_condition,
        b"PUT" | b"POST" => has_condition || head.digest,
        _ => false,
    };
    assert_eq!(!extras.is_empty(), has_extras);
    let expected = match head.framing {
        head::Framing::Length(n) => Framing::Length(n),
        head::Framing::Chunked => Framing::Chunked,
    };
    assert_eq!(framing, expected);
    let expected = match (head.minor, head.close, head.keep_alive) {
        (0, false, true) => Persistence::KeepAlive,
        (0, ..) => Persistence::Http10Close,
        (_, true, _) => Persistence::Close,
        (_, false, _) => Persistence::Default,
    };
    assert_eq!(persistence, expected);
    assert_eq!(expects_continue, head.expects_continue);
    let expected = match (head.browser_fields.is_empty(), origin::is_foreign(head)) {
        (true, _) => Origin::Program,
        (false, false) => Origin::Browser,
        (false, true) => Origin::Foreign,
    };
    assert_eq!(sender.origin(), expected);
    let host = head.host.as_deref().unwrap_or_default();
    assert_eq!(sender.host_is_foreign(), origin::is_another_host(host));
    let malformed = match head.max_age {
        head::MaxAge::Absent | head::MaxAge::Seconds(0) => {
            assert_eq!(max_age, None);
            false
        }
        head::MaxAge::Seconds(n) => {
            assert_eq!(max_age, Some(n as u32));
            false
        }
        head::MaxAge::Malformed => true,
    };
    match unstorable {
        None => assert!(!malformed && !head.part),
        Some(Unstorable::MaxAge) => assert!(malformed),
        Some(Unstorable::Part) => assert!(head.part),
    }
}
