//! The loader of snapshots. Whatever stands in a file whose checksums are right, it is loaded or refused, and the
//! store is in order; a file in which one bit is another is refused.
//!
//! Input: two bytes that say which bit is flipped if any, 32 for the header's moment, one that says whether the
//! trailer's counts are right, then blocks: kind, entries, two bytes of length, payload.

#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

use corekv::snapshot::{Contents, Fields, Limits, load};
use corekv::store::{Clock, Settings, Store};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MEMORY: u64 = 1 << 20;
const ID: u64 = 7;

#[derive(Debug)]
struct AsItIs;

impl Fields for AsItIs {
    fn lines<'a>(&'a self, meta: &'a [u8]) -> &'a [u8] {
        meta
    }

    fn meta(&self, lines: &[u8]) -> Vec<u8> {
        lines.to_vec()
    }
}

/// One file for all inputs.
static FILE: LazyLock<(PathBuf, Mutex<File>)> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("corekv-fuzz-{}", std::process::id()));
    let file = File::create(&path).expect("a file");
    (path, Mutex::new(file))
});

fn add_checksum(part: &mut Vec<u8>, seed: u64) {
    let sum = xxh3_64_with_seed(part, seed);
    part.extend(sum.to_le_bytes());
}

/// A file with right checksums.
fn file(moment: &[u8; 32], counts_are_right: bool, mut input: &[u8]) -> Vec<u8> {
    let mut bytes = [&b"corekv\r\n"[..], &[1, 0, 0, 0, 0, 0, 0, 0], &ID.to_le_bytes(), moment].concat();
    add_checksum(&mut bytes, 0);
    let (mut blocks, mut all) = (0_u64, 0_u64);
    while let [kind, entries, low, high, rest @ ..] = input {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        let mut block = (length as u64).to_le_bytes().to_vec();
        block.extend(u32::from(*kind).to_le_bytes());
        block.extend(u32::from(*entries).to_le_bytes());
        block.extend(payload);
        add_checksum(&mut block, ID + bytes.len() as u64);
        bytes.extend(block);
        (blocks, all) = (blocks + 1, all + u64::from(*entries));
        input = rest;
    }
    let mut trailer = Vec::new();
    let counts = if counts_are_right { [blocks, all] } else { [blocks + 1, all] };
    counts.iter().chain(&[5; 9]).for_each(|number| trailer.extend(number.to_le_bytes()));
    add_checksum(&mut trailer, ID + bytes.len() as u64);
    bytes.extend(trailer);
    bytes.extend(b"\r\nvkeroc");
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((&[low, high], data)) = data.split_first_chunk() else { return };
    let Some((moment, data)) = data.split_first_chunk() else { return };
    let Some((&counts, data)) = data.split_first() else { return };
    let counts_are_right = counts % 4 != 0;
    let mut bytes = file(moment, counts_are_right, data);
    let flipped = usize::from(u16::from_le_bytes([low, high]));
    let is_flipped = flipped % 4 == 1;
    if is_flipped {
        let bit = flipped / 4 * 7919 % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    let (path, output) = &*FILE;
    let mut output = output.lock().expect("no panics");
    output.rewind().expect("it seeks");
    output.write_all(&bytes).expect("room");
    output.set_len(bytes.len() as u64).expect("it is cut");
    let store = Store::new(Settings { partitions: 2, memory_bytes_max: MEMORY }).expect("a store");
    let contents =
        Contents { store: Arc::clone(&store), clock: Clock::start(), fields: Arc::new(AsItIs) };
    let limits = Limits { memory_bytes_max: MEMORY, key_bytes_max: 1024, age_max: None };
    let loaded = load(path, &contents, limits, 1, &|| false);
    store.check_invariants();
    if is_flipped || !counts_are_right {
        assert!(loaded.is_err(), "{loaded:?}");
    }
    if let Ok(loaded) = loaded {
        assert!(store.keys() <= loaded.keys);
    }
});
