//! Snapshots as files: whatever is wrong with one is found, and what is in it does not come back for longer
//! than it had.

mod store_util;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use corekv::snapshot::{Contents, Fields, Limits, LoadError, Loaded, load, save};
use corekv::store::{Clock, Expiry, Scan, Store, Tick};
use proptest::prelude::*;
use store_util::*;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is kept beside a value is written as it is.
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

fn contents(partitions: usize, memory_bytes_max: u64) -> Contents {
    let store = store(partitions, memory_bytes_max);
    Contents { store, clock: Clock::start(), fields: Arc::new(AsItIs) }
}

const MEMORY: u64 = 32 << 20;

fn now(contents: &Contents) -> Tick {
    contents.clock.tick(Instant::now())
}

fn limits() -> Limits {
    Limits { memory_bytes_max: MEMORY, key_bytes_max: 1024, age_max: None }
}

fn written(contents: &Contents, threads: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    let saved = save(&path, contents, threads, false, &AtomicBool::new(false)).expect("written");
    assert_eq!(saved.bytes, fs::metadata(&path).expect("it is there").len());
    assert_eq!(saved.keys, contents.store.keys());
    (folder, path)
}

fn read_with(path: &Path, limits: Limits) -> (Contents, Result<Loaded, LoadError>) {
    let contents = contents(2, MEMORY / 8);
    let loaded = load(path, &contents, limits, 2, &|| false);
    (contents, loaded)
}

fn read(path: &Path) -> (Contents, Result<Loaded, LoadError>) {
    read_with(path, limits())
}

/// More than fits into a page of the log.
const LARGE_BYTES: usize = 9_000;

/// The places of a small file's bytes; of the large value each 64th, since the file holds its bytes as they are.
fn places(file: &[u8]) -> impl Iterator<Item = usize> {
    let large = value(7, 1, LARGE_BYTES);
    let start = file.windows(large.len()).position(|bytes| bytes == large).expect("it is there");
    let inside = start..start + large.len();
    (0..file.len()).filter(move |at| !inside.contains(at) || (at - inside.start).is_multiple_of(64))
}

/// A file with a few small values, a large one, meta and lives.
fn small_file() -> (TempDir, PathBuf, usize) {
    small_file_by(2)
}

/// The same, written by so many threads. One makes as many blocks each time.
fn small_file_by(threads: usize) -> (TempDir, PathBuf, usize) {
    let contents = contents(2, MEMORY);
    let (store, now) = (&contents.store, now(&contents));
    for key in 0..12_u64 {
        let bytes = value(key, 1, if key == 7 { LARGE_BYTES } else { key as usize * 9 });
        let expiry = if key % 3 == 0 { Expiry::after(now, 1000) } else { Expiry::NEVER };
        let meta = &b"meta"[..key as usize % 5];
        store.put_if(store.key(&key.to_le_bytes()), meta, &bytes, expiry, now, |_| true).unwrap();
    }
    let (folder, path) = written(&contents, threads);
    (folder, path, 12)
}

#[test]
fn every_flipped_bit_of_a_file_is_found() {
    let (_folder, path, _) = small_file();
    let bytes = fs::read(&path).expect("it is there");
    let mut faults = HashSet::new();
    for at in places(&bytes) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << ((at / 64 + at) % 8);
        fs::write(&path, &damaged).expect("written");
        let (_, loaded) = read(&path);
        let error = loaded.expect_err(&format!("byte {at}"));
        // The address is another story each time.
        faults.insert(error.to_string().split(", at byte").next().map(ToOwned::to_owned));
    }
    assert!(faults.len() >= 3, "foreign, newer, damaged: {faults:?}");
    fs::write(&path, &bytes).expect("written");
    assert!(read(&path).1.is_ok());
}

#[test]
fn every_truncation_and_every_addition_is_found() {
    let (_folder, path, keys) = small_file();
    let bytes = fs::read(&path).expect("it is there");
    for length in places(&bytes) {
        fs::write(&path, &bytes[..length]).expect("written");
        assert!(read(&path).1.is_err(), "the first {length} bytes");
    }
    for more in [1, 8, 103, 104, 1000] {
        fs::write(&path, [&bytes[..], &vec![0; more]].concat()).expect("written");
        assert!(read(&path).1.is_err(), "{more} bytes more");
    }
    // The blocks twice, and the end of the file twice.
    let end = bytes.len() - 104;
    fs::write(&path, [&bytes[..end], &bytes[64..]].concat()).expect("written");
    assert!(read(&path).1.is_err());
    fs::write(&path, [&bytes[..], &bytes[end..]].concat()).expect("written");
    assert!(read(&path).1.is_err());
    fs::write(&path, &bytes).expect("written");
    assert_eq!(read(&path).1.expect("as it was").keys, keys as u64);
}

#[test]
fn a_block_of_another_snapshot_is_none() {
    let (_folder, path, _) = small_file_by(1);
    let (_other_folder, other, _) = small_file_by(1);
    let (ours, theirs) = (fs::read(&path).expect("read"), fs::read(&other).expect("read"));
    assert_eq!(ours.len(), theirs.len());
    let end = ours.len() - 104;
    fs::write(&path, [&ours[..64], &theirs[64..end], &ours[end..]].concat()).expect("written");
    // The blocks are read side by side, and each of them is wrong.
    let loaded = read(&path).1;
    assert!(matches!(loaded, Err(LoadError::Corrupt(_))), "{loaded:?}");
}

#[test]
fn what_is_no_snapshot_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    assert!(matches!(read(&path).1, Err(LoadError::Missing)));
    assert!(matches!(read(folder.path()).1, Err(LoadError::Foreign)), "a folder");
    fs::write(&path, vec![b'x'; 1000]).expect("written");
    assert!(matches!(read(&path).1, Err(LoadError::Foreign)));
    fs::write(&path, b"").expect("written");
    assert!(matches!(read(&path).1, Err(LoadError::Truncated)));
    let (_folder, path, _) = small_file();
    let mut bytes = fs::read(&path).expect("read");
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    fs::write(&path, bytes).expect("written");
    let error = read(&path).1.expect_err("a newer one");
    assert_eq!(error.to_string(), "it has version 2 of the format, this program reads 1",);
}

/// Has a file written so many milliseconds earlier, by the clock that nobody sets and by the wall clock;
/// in another boot of the system if there is no time on the former.
fn age(path: &Path, uptime: Option<i64>, wall: i64) {
    let mut bytes = fs::read(path).expect("read");
    let mut shift = |at: usize, by: i64| {
        let number = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&number.wrapping_add_signed(-by).to_le_bytes());
    };
    match uptime {
        Some(uptime) => shift(40, uptime),
        None => shift(24, 1),
    }
    shift(48, wall);
    let sum = xxh3_64_with_seed(&bytes[..56], 0);
    bytes[56..64].copy_from_slice(&sum.to_le_bytes());
    fs::write(path, bytes).expect("written");
}

#[test]
fn lives_go_on_while_nobody_serves_and_never_grow() {
    const HOUR: i64 = 3_600_000;
    // Milliseconds by either clock, and seconds of a life that counts.
    for (uptime, wall, passed) in [
        (Some(0), 0, 0),
        (Some(50_000), 50_000, 50),
        (Some(50_000), -HOUR, 50),
        (Some(50_000), HOUR, 50),
        (None, 50_000, 50),
        (None, -HOUR, 0),
        // The clock of another machine, or of a container, of which this one is a part.
        (Some(-HOUR), 50_000, 50),
    ] {
        let contents = contents(1, MEMORY);
        let (store, begin) = (&contents.store, now(&contents));
        for seconds in [10, 100] {
            let expiry = Expiry::after(begin, seconds);
            store.put(store.key(&[seconds as u8]), b"v", expiry, begin).expect("room");
        }
        let (_folder, path) = written(&contents, 1);
        age(&path, uptime, wall);
        let (contents, loaded) = read(&path);
        let loaded = loaded.expect("loaded");
        assert_eq!((loaded.keys, loaded.expired), if passed < 10 { (2, 0) } else { (1, 1) });
        let (store, later) = (&contents.store, now(&contents));
        let left = store.get(store.key(&[100]), later, |value| match value {
            corekv::store::Value::Small(value) => value.expiry().seconds_left(later),
            _ => None,
        });
        let left = left.flatten().expect("a life");
        // A busy machine may have taken its time.
        assert!(left <= 100 - passed && left + 20 > 100 - passed, "{left} after {passed}");
        let is_known = wall >= 0 || uptime.is_some_and(|uptime| uptime >= 0);
        let (_, refused) =
            read_with(&path, Limits { age_max: Some(Duration::from_secs(20)), ..limits() });
        match refused {
            Ok(_) => assert!(is_known && passed < 20),
            Err(LoadError::TooOld(_)) => assert_eq!(passed, 50),
            Err(LoadError::AgeUnknown) => assert!(!is_known),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn with_less_memory_the_least_popular_go() {
    let contents = contents(2, MEMORY);
    let (store, at) = (&contents.store, now(&contents));
    let keys = 20_000_u64;
    for key in 0..keys {
        store.put(store.key(&key.to_le_bytes()), &value(key, 1, 800), Expiry::NEVER, at).unwrap();
    }
    // A tenth is popular.
    for _ in 0..4 {
        for key in (0..keys).step_by(10) {
            assert!(get(store, &key.to_le_bytes(), at).is_some());
        }
    }
    let (_folder, path) = written(&contents, 2);
    let small = Contents { store: self::store(3, MEMORY / 4), ..contents.clone() };
    let limits = Limits { memory_bytes_max: MEMORY / 4, ..limits() };
    let loaded = load(&path, &small, limits, 3, &|| false).expect("loaded");
    small.store.check_invariants();
    let (mut popular, mut others) = (0, 0);
    for key in 0..keys {
        let found = get(&small.store, &key.to_le_bytes(), at);
        assert!(found.as_ref().is_none_or(|found| *found == value(key, 1, 800)));
        let count = if key % 10 == 0 { &mut popular } else { &mut others };
        *count += u64::from(found.is_some());
    }
    assert_eq!(popular, keys / 10, "all of them fit");
    // 8 MiB are enough for some 10,000 such entries.
    assert!((6_000..9_000).contains(&others), "{others}");
    assert!(loaded.left_out > 0 && loaded.keys + loaded.left_out == keys, "{loaded:?}");
    // What can't be asked for is left out as well.
    let (_, loaded) = read_with(&path, Limits { key_bytes_max: 7, ..limits });
    assert_eq!(loaded.expect("loaded").keys, 0);
}

#[test]
fn one_that_stops_leaves_the_old_one_and_nothing_else() {
    let (folder, path, _) = small_file();
    let before = fs::read(&path).expect("read");
    let contents = contents(1, MEMORY);
    contents.store.put(contents.store.key(b"k"), b"v", Expiry::NEVER, Tick(0)).expect("room");
    let stopped = save(&path, &contents, 1, true, &AtomicBool::new(true));
    assert_eq!(stopped.expect_err("stopped").kind(), std::io::ErrorKind::Interrupted);
    assert_eq!(fs::read(&path).expect("read"), before);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    // What an earlier process has left behind is used again, and what is longer cut.
    fs::write(folder.path().join("snapshot.tmp"), vec![1; 1 << 20]).expect("written");
    save(&path, &contents, 1, true, &AtomicBool::new(false)).expect("written");
    assert_eq!(read(&path).1.expect("loaded").keys, 1);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn two_processes_do_not_write_the_same_file() {
    let (folder, path, _) = small_file();
    let theirs = fs::File::create(folder.path().join("snapshot.tmp")).expect("created");
    rustix::fs::flock(&theirs, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let contents = contents(1, MEMORY);
    let error = save(&path, &contents, 1, true, &AtomicBool::new(false)).expect_err("refused");
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(read(&path).1.is_ok());
}

/// A key, its value's length and seed, what is kept beside it, seconds to live, hits.
type Row = (Vec<u8>, (usize, u64), Vec<u8>, Option<u32>, usize);

fn row() -> impl Strategy<Value = Row> {
    let length = prop_oneof![
        4 => 0usize..200,
        2 => 0usize..9_000,
        1 => 4_000usize..100_000,
        1 => Just(3 << 20),
    ];
    let key = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..20),
        1 => prop::collection::vec(any::<u8>(), 900..1024),
    ];
    let meta = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 0..1000)];
    let life = prop::option::of((1u32..1000).prop_map(|thousands| thousands * 1000));
    (key, (length, any::<u64>()), meta, life, 0usize..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_was_stored_is_loaded(
        rows in prop::collection::vec(row(), 0..60),
        from in 1usize..5,
        to in 1usize..5,
        threads in 1usize..4,
    ) {
        let model: std::collections::HashMap<_, _> =
            rows.into_iter().map(|(key, value, meta, life, hits)| (key, (value, meta, life, hits))).collect();
        let old = contents(from, 512 << 20);
        let at = now(&old);
        for (key, ((length, seed), meta, life, hits)) in &model {
            let bytes = value(*seed, 0, *length);
            let expiry = life.map_or(Expiry::NEVER, |seconds| Expiry::after(at, seconds));
            let key = old.store.key(key);
            old.store.put_if(key, meta, &bytes, expiry, at, |_| true).expect("room");
            (0..*hits).for_each(|_| drop(get_key(&old.store, key, at)));
        }
        let (_folder, path) = written(&old, threads);
        let new = contents(to, 512 << 20);
        let limits = Limits { memory_bytes_max: 512 << 20, ..limits() };
        let loaded = load(&path, &new, limits, threads, &|| false).expect("loaded");
        prop_assert_eq!((loaded.keys, loaded.left_out, loaded.expired), (model.len() as u64, 0, 0));
        new.store.check_invariants();
        let at = now(&new);
        prop_assert_eq!(lives(&new, at), lives(&old, now(&old)));
        for (key, ((length, seed), meta, ..)) in &model {
            let key = new.store.key(key);
            prop_assert!(get_key(&new.store, key, at) == Some(value(*seed, 0, *length)));
            prop_assert!(get_meta(&new.store, key, at).as_ref() == Some(meta));
        }
    }
}

/// What is known of each key beside its value; lives in thousands of seconds, since a busy machine takes its time.
fn lives(contents: &Contents, at: Tick) -> HashSet<(Vec<u8>, usize, Option<u32>)> {
    let mut all = HashSet::new();
    for partition in 0..contents.store.partitions() {
        let mut scan = Scan::new(&contents.store, partition);
        let mut each =
            |shown: &corekv::store::Scanned<'_>| -> Result<(), std::convert::Infallible> {
                let left = shown.expiry.seconds_left(at).map(|left| (left + 500) / 1000);
                all.insert((shown.key.to_vec(), shown.popularity.rank(), left));
                Ok(())
            };
        while scan.step(at, &mut each).expect("it can't fail") {}
    }
    all
}

#[test]
fn an_empty_store_is_a_snapshot_too() {
    let empty: Arc<Store> = store(1, MEMORY);
    let contents = Contents { store: empty, ..contents(1, MEMORY) };
    let (_folder, path) = written(&contents, 4);
    assert_eq!(read(&path).1.expect("loaded").keys, 0);
}
