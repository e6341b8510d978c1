//! The chunked decoder against the reference, for every prefix of the input.
//!
//! Input: two bytes that say how the rest is cut, one that chooses the limits, then the body.

#![no_main]

use corekv::http::Chunked;
use corekv_fuzz::chunked::{self, Outcome};
use corekv_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [seed_low, seed_high, limits, input @ ..] = data else { return };
    let body_bytes_max = [16, 300, 1 << 20, u64::MAX][usize::from(limits % 4)];
    let trailer_bytes_max = [32, 200, 16 << 10][usize::from(limits / 4 % 3)];
    let sizes = pieces(u16::from_le_bytes([*seed_low, *seed_high]), input.len());
    let mut decoder = Chunked::new(body_bytes_max, trailer_bytes_max);
    let (mut at, mut data) = (0, Vec::new());
    for size in sizes {
        let piece = &input[at..at + size];
        let result = decoder.decode(piece, |bytes| data.extend_from_slice(bytes));
        let received = &input[..at + size];
        match (result, chunked::read(received, body_bytes_max, trailer_bytes_max)) {
            (_, Outcome::Unsure) => return,
            (Ok(decoded), Outcome::Incomplete(expected)) => {
                assert_eq!((decoded.consumed, decoded.complete), (size, false));
                assert!(data == expected);
            }
            (Ok(decoded), Outcome::Complete { consumed, data: expected }) => {
                assert!(decoded.complete);
                assert_eq!(at + decoded.consumed, consumed);
                assert!(data == expected);
                return;
            }
            (Err(error), Outcome::Refused(statuses)) => {
                assert!(statuses.contains(&(error.status() as u16)), "{error:?}, not {statuses:?}");
                return;
            }
            // The decoder may see within a line that nothing good can come of it.
            (Err(error), Outcome::Incomplete(_)) => {
                for rest in COMPLETIONS {
                    let whole = [received, rest].concat();
                    let outcome = chunked::read(&whole, body_bytes_max, trailer_bytes_max);
                    assert!(
                        !matches!(outcome, Outcome::Complete { .. }),
                        "{error:?}, but {} can be completed",
                        received.escape_ascii()
                    );
                }
                return;
            }
            (got, expected) => {
                panic!("{got:?}, but {expected:?}: {}", received.escape_ascii());
            }
        }
        at += size;
    }
});

/// Ways for a body to go on to its end from wherever it stopped.
const COMPLETIONS: [&[u8]; 24] = [
    b"\r\n\r\n",
    b"\n\r\n",
    b"\n",
    b"0\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b"\n0\r\n\r\n",
    b";\r\n\r\n",
    b";\r\nx\r\n0\r\n\r\n",
    b"\r\nx\r\n0\r\n\r\n",
    b"\nx\r\n0\r\n\r\n",
    b":\r\n\r\n",
    b"x:\r\n\r\n",
    b"x\r\n\r\n",
    b"x\r\nx\r\n0\r\n\r\n",
    b"\"\r\n\r\n",
    b"\"\r\nx\r\n0\r\n\r\n",
    b"x\"\r\n\r\n",
    b"x\"\r\nx\r\n0\r\n\r\n",
    b"=x\r\n\r\n",
    b"=x\r\nx\r\n0\r\n\r\n",
    b";x\r\n\r\n",
    b";x\r\nx\r\n0\r\n\r\n",
    b"=\"x\"\r\n\r\n",
    b"=\"x\"\r\nx\r\n0\r\n\r\n",
];
