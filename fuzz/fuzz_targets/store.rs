//! Streams of operations on the store and on the naive model that the property tests use.
//!
//! Input: a byte that chooses how much memory there is, then six bytes per operation.

#![no_main]

#[path = "../../tests/store_util/mod.rs"]
mod store_util;

use libfuzzer_sys::fuzz_target;
use store_util::streams::{Operation, compare};

/// Lengths around which the store changes what it does, beside those that come from the input.
const LENGTHS: [usize; 8] = [0, 7, 8, 3_000, 8_168, 8_176, 8_193, 65_536];

fuzz_target!(|data: &[u8]| {
    let [room, operations @ ..] = data else { return };
    // In the last of them, some four of the longest values fit.
    let (partitions, bytes_max, may_evict, scale) = match room % 4 {
        0 => (2, 256 << 20, false, 1),
        1 => (1, 320 << 10, true, 1),
        2 => (3, 640 << 10, true, 1),
        _ => (4, 4 << 20, true, 16),
    };
    let operations: Vec<Operation> =
        operations.as_chunks::<6>().0.iter().map(|bytes| operation(*bytes, scale)).collect();
    compare(&operations, partitions, bytes_max, may_evict);
});

fn operation([kind, key, high, low, seconds, piece]: [u8; 6], scale: usize) -> Operation {
    let key = u64::from(key);
    let number = u16::from_be_bytes([high, low]);
    let len = match LENGTHS.get(usize::from(high)) {
        Some(len) => len + usize::from(low % 4),
        None => usize::from(number) * scale,
    };
    let choice = seconds;
    let seconds = match seconds {
        0..=127 => 0,
        128..=223 => u32::from(seconds) % 4 + 1,
        _ => u32::from(seconds) * 40,
    };
    match kind % 20 {
        0..=4 => Operation::Get(key),
        5..=9 => Operation::Put { key, len, seconds },
        10..=11 => {
            Operation::Upload { key, len, piece: 1 + 120 * scale * usize::from(piece), seconds }
        }
        12 => Operation::Abort { key, len },
        13 if choice < 64 => Operation::Crowd(u64::from(number) % 4096),
        13 if choice < 128 => Operation::Thin(u64::from(number) % 1024),
        13 if choice < 160 => Operation::Purge(usize::from(low)),
        13 => Operation::Remove(key),
        14 => Operation::Pass(u32::from(number) % 4096),
        16 => Operation::Hold(key),
        17 => Operation::LetGo,
        18 => Operation::Begin { key, len },
        19 => Operation::Finish,
        15 if choice < 128 => Operation::MaintainOnce(usize::from(low)),
        _ => Operation::Maintain,
    }
}
