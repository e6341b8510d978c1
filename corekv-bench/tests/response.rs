//! The response parser against arbitrary bytes: never a panic, and never a different result for a
//! different cut.

use corekv_bench::response::{Garbage, Parser, Step};
use proptest::collection::vec;
use proptest::prelude::*;

/// Statuses, connection, and bodies of all responses, with the bytes cut into pieces.
fn parse(bytes: &[u8], cuts: &[usize]) -> Result<Vec<(u16, bool, Vec<u8>)>, Garbage> {
    let mut parser = Parser::new(1 << 20);
    let mut found = Vec::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        while start < end {
            let piece = &bytes[start..end];
            match parser.next(piece, true)? {
                Step::Partial => start = end,
                Step::Complete(taken, response) => {
                    let body = parser.body(&response, piece).to_vec();
                    found.push((response.status, response.keep_alive, body));
                    start += taken;
                }
            }
        }
    }
    if let Some(response) = parser.finish()? {
        found.push((response.status, response.keep_alive, parser.body(&response, b"").to_vec()));
    }
    Ok(found)
}

/// Pieces of HTTP, right and wrong, so that random sequences get somewhere.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fixed: Vec<&[u8]> = vec![
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 404 Not Found\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Date: today\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\nA: b\r\n\r\n",
        b"f;x\r\n",
    ];
    prop_oneof![
        8 => proptest::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_cut_changes_nothing(
        fragments in vec(fragment(), 0..20),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let bytes = fragments.concat();
        let whole = parse(&bytes, &[]);
        let pieces = parse(&bytes, &cuts);
        // An error may be noticed for another reason first; that there is one must not change.
        prop_assert_eq!(whole.is_ok(), pieces.is_ok());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!(whole, pieces);
        }
    }

    #[test]
    fn a_feed_of_anything_ends(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Parser::new(16).feed(&bytes);
    }
}

#[test]
fn a_line_that_ends_without_cr_is_refused_before_the_head_is_whole() {
    let mut parser = Parser::new(1 << 20);
    assert!(parser.next(b"HTTP/1.1 200 OK\r\nServer: x\nDate", true).is_err());
}
