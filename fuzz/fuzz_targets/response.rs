//! The load generator's response parser against the reference, in any split.
//!
//! Input: two bytes that say how the rest is cut, one that says whether these are answers to
//! HEAD, then the stream.

#![no_main]

use corekv_bench::response::{Parser, Step};
use corekv_fuzz::pieces;
use corekv_fuzz::response::{self, End};
use libfuzzer_sys::fuzz_target;
use testkit::Response;

fuzz_target!(|data: &[u8]| {
    let [seed_low, seed_high, head, input @ ..] = data else { return };
    let has_body = head & 1 == 0;
    let sizes = pieces(u16::from_le_bytes([*seed_low, *seed_high]), input.len());
    let expected = response::read(input, has_body);
    // The second time the parser remembers the heads.
    let mut parser = Parser::new(1 << 20);
    for sizes in [&[input.len()], &sizes[..], &sizes] {
        parser.reset();
        walk(input, sizes, has_body, &mut parser, &expected);
    }
});

fn walk(
    input: &[u8],
    sizes: &[usize],
    has_body: bool,
    parser: &mut Parser,
    (expected, end): &(Vec<Response>, End),
) {
    let mut found = 0;
    let mut start = 0;
    for size in sizes {
        let mut bytes = &input[start..start + size];
        start += size;
        while !bytes.is_empty() {
            let Ok(step) = parser.next(bytes, has_body) else {
                // It may see early that a response can't come of the bytes.
                assert!(matches!(end, End::Garbage | End::Within), "refused, but {end:?}");
                assert_eq!(found, expected.len());
                return;
            };
            let Step::Complete(taken, response) = step else { break };
            assert!(taken <= bytes.len());
            let wanted = &expected[found];
            assert_eq!(response.status, wanted.status);
            assert_eq!(response.keep_alive, wanted.keep_alive);
            assert!(parser.body(&response, bytes) == wanted.body, "body");
            found += 1;
            bytes = &bytes[taken..];
        }
    }
    assert_eq!(found, expected.len());
    match (parser.finish(), end) {
        // Of an unfinished head nobody has to see that it is garbage.
        (Ok(None), End::Between) | (Err(_), End::Within | End::Garbage) => {}
        (Ok(Some(response)), End::UntilClose(wanted)) => {
            assert_eq!((response.status, response.keep_alive), (wanted.status, false));
            assert!(parser.body(&response, b"") == wanted.body, "body until close");
        }
        (got, end) => panic!("{got:?}, but {end:?}"),
    }
}
