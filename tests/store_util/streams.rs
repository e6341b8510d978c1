//! A naive model of the store, and streams of operations that are run on both. The property tests
//! and the fuzzer draw the streams, each in its own way.

use std::collections::{HashMap, VecDeque};

use corekv::store::{
    Expiry, Fingerprint, Key, LargeValue, SlotHint, Stored, Tick, Upload, Written,
};

use super::*;

/// The first key of a crowd.
const CROWD: u64 = 1 << 32;

/// Bytes of index and bookkeeping that a small partition keeps when it has become empty.
const EMPTY_BYTES_MAX: u64 = 24 << 10;

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Get(u64),
    Put {
        key: u64,
        len: usize,
        seconds: u32,
    },
    Upload {
        key: u64,
        len: usize,
        piece: usize,
        seconds: u32,
    },
    Abort {
        key: u64,
        len: usize,
    },
    /// A reader takes the key's value, if it is large, and holds it.
    Hold(u64),
    /// The reader that has held one for longest lets go of it.
    LetGo,
    /// An upload begins, and remains unfinished for a while.
    Begin {
        key: u64,
        len: usize,
    },
    /// The upload that began first is stored.
    Finish,
    Remove(u64),
    /// Purges what begins with one of [`PREFIXES`].
    Purge(usize),
    /// Stores so many keys of their own, so that the index grows.
    Crowd(u64),
    /// Removes those from a number on, so that it shrinks.
    Thin(u64),
    Pass(u32),
    Maintain,
    /// A single step of one partition.
    MaintainOnce(usize),
}

/// Those of some, none, many and all names.
const PREFIXES: [&[u8]; 7] =
    [b"1", b"a longer key with the number 2", b"a ", b"2222", b"no name", b"AAAAA", b""];

/// Readers, and uploads, that are under way at a time.
const UNDER_WAY_MAX: usize = 2;

/// What is under way across operations.
#[derive(Default)]
struct UnderWay {
    readers: VecDeque<(LargeValue, Vec<u8>)>,
    uploads: VecDeque<(u64, Upload, Kept)>,
}

impl UnderWay {
    fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.uploads.is_empty()
    }

    fn let_go(&mut self) {
        let Some((value, expected)) = self.readers.pop_front() else { return };
        let mut out = Vec::new();
        value.pieces(0, |piece| {
            out.extend_from_slice(piece);
            true
        });
        assert!(out == expected, "a reader keeps what it holds");
    }
}

struct Kept {
    version: u64,
    len: usize,
    expiry: Expiry,
    meta: Vec<u8>,
}

impl Kept {
    fn new(version: u64, len: usize, expiry: Expiry) -> Self {
        Self { version, len, expiry, meta: Vec::new() }
    }

    /// Whether this is what is stored under a key.
    fn is(&self, key: u64, stored: &Stored<'_>) -> bool {
        let fingerprint = Fingerprint::of(&value(key, self.version, self.len));
        stored.fingerprint() == fingerprint && stored.meta() == self.meta
    }
}

/// What some values have kept beside them.
fn meta(key: u64, version: u64) -> Vec<u8> {
    if version.is_multiple_of(4) {
        value(!key, version, version as usize * 7 % 60)
    } else {
        Vec::new()
    }
}

/// Keys of different lengths, so that entries begin at all kinds of places.
fn name(key: u64) -> Vec<u8> {
    match key % 3 {
        0 => format!("{key}").into_bytes(),
        1 => format!("a longer key with the number {key}").into_bytes(),
        _ if key >= CROWD => key.to_be_bytes().to_vec(),
        // Longer than half of a page.
        _ if key % 30 == 29 => vec![key as u8; 4000 + key as usize * 97 % 3900],
        _ => [key as u8].repeat(1 + key as usize * 5 % 300),
    }
}

/// Hints at the keys' slots, some made a moment ago and some before any number of operations: whatever
/// a hint says, it must not change what is found.
#[derive(Default)]
struct SlotHints(HashMap<u64, SlotHint>);

impl SlotHints {
    fn key<'a>(&'a mut self, store: &Store, number: u64, name: &'a [u8], anew: bool) -> Key<'a> {
        let hash = store.hash(name);
        let hint = self.0.entry(number).or_insert(SlotHint::NONE);
        if anew {
            *hint = store.prefetch_entry(hash, store.prefetch_index(hash));
        }
        Key::new(name, hash).with_hint(hint)
    }
}

fn expiry(now: Tick, seconds: u32) -> Expiry {
    if seconds == 0 { Expiry::NEVER } else { Expiry::after(now, seconds) }
}

/// Takes a write over into the model; whether it has created a key. It may have found no room if
/// `may_be_full`: the old value is then still there.
fn note(
    model: &mut HashMap<u64, Kept>,
    now: Tick,
    key: u64,
    kept: Kept,
    written: Result<Written, Full>,
    may_evict: bool,
    may_be_full: bool,
) -> u64 {
    let was_live = model.get(&key).is_some_and(|kept| !kept.expiry.is_due(now));
    let Ok(written) = written else {
        assert!(may_be_full, "the store is large enough for each value");
        return 0;
    };
    model.insert(key, kept);
    if written == Written::Replaced {
        assert!(was_live);
        return 0;
    }
    assert!(may_evict || !was_live);
    1
}

/// Runs the operations on both and compares all that can be seen, and checks the store's invariants
/// after each. With `may_evict`, a key may be absent from the store that the model has, but then it stays absent.
pub(crate) fn compare(
    operations: &[Operation],
    partitions: usize,
    bytes_max: u64,
    may_evict: bool,
) {
    // The invariants check what is counted of them.
    let counted = [&b"a longer key with the number 1"[..], b"a ", b"1", b"no name"];
    let counted = counted.map(Box::<[u8]>::from).to_vec();
    let settings = Settings { partitions, memory_bytes_max: bytes_max };
    let store = Store::with_namespaces(settings, counted).expect("address space");
    let mut model: HashMap<u64, Kept> = HashMap::new();
    let (mut now, mut created) = (Tick(0), 0u64);
    let mut hints = SlotHints::default();
    let mut under_way = UnderWay::default();
    for (version, operation) in (1..).zip(operations) {
        let is_new = |number: u64| (version + number).is_multiple_of(3);
        match *operation {
            Operation::Get(key) => {
                let name = name(key);
                let hinted = hints.key(&store, key, &name, is_new(key));
                let found = get_key(&store, hinted, now);
                let kept = model.get(&key).filter(|kept| !kept.expiry.is_due(now));
                let expected = kept.map(|kept| value(key, kept.version, kept.len));
                if found.is_none() && may_evict {
                    model.remove(&key);
                } else {
                    assert_eq!(found, expected);
                    let beside = get_meta(&store, hinted, now);
                    assert_eq!(beside, kept.map(|kept| kept.meta.clone()));
                }
            }
            Operation::Put { key, len, seconds } | Operation::Upload { key, len, seconds, .. } => {
                let expiry = expiry(now, seconds);
                let (bytes, name) = (value(key, version, len), name(key));
                let kept = Kept { version, len, expiry, meta: meta(key, version) };
                // Some are stored only in the place of what the model has.
                let before = model.get(&key).filter(|before| !before.expiry.is_due(now));
                let is_known = |stored: Option<&Stored<'_>>| match (stored, before) {
                    (Some(stored), Some(before)) => before.is(key, stored),
                    (stored, before) => stored.is_none() && before.is_none(),
                };
                let judge =
                    |stored: Option<&Stored<'_>>| !version.is_multiple_of(3) || is_known(stored);
                let written = match *operation {
                    Operation::Upload { piece, .. } => {
                        let upload = upload_in_pieces(&store, &name, &kept.meta, &bytes, piece);
                        let key = hints.key(&store, key, &name, is_new(key));
                        upload
                            .and_then(|upload| store.put_upload_if(key, upload, expiry, now, judge))
                    }
                    _ if kept.meta.is_empty() && !version.is_multiple_of(3) => store
                        .put(hints.key(&store, key, &name, is_new(key)), &bytes, expiry, now)
                        .map(Some),
                    _ => {
                        let key = hints.key(&store, key, &name, is_new(key));
                        store.put_if(key, &kept.meta, &bytes, expiry, now, judge)
                    }
                };
                let full = may_evict && !under_way.is_empty();
                created += match written {
                    Ok(None) => {
                        assert!(may_evict && before.is_some(), "the model knows what is stored");
                        model.remove(&key);
                        0
                    }
                    Ok(Some(written)) => {
                        note(&mut model, now, key, kept, Ok(written), may_evict, full)
                    }
                    Err(Full) => note(&mut model, now, key, kept, Err(Full), may_evict, full),
                };
            }
            Operation::Abort { key, len } => {
                let mut upload = store.upload(store.key(&name(key)));
                let appended = upload.append(&value(key, version, len));
                assert!(appended.is_ok() || (may_evict && !under_way.is_empty()), "room");
            }
            Operation::Hold(key) => {
                if under_way.readers.len() == UNDER_WAY_MAX {
                    under_way.let_go();
                }
                let held =
                    store.get(hints.key(&store, key, &name(key), is_new(key)), now, |value| {
                        match value {
                            Value::Large(value) => Some(value),
                            _ => None,
                        }
                    });
                if let Some(held) = held.flatten() {
                    let kept = &model[&key];
                    under_way.readers.push_back((held, value(key, kept.version, kept.len)));
                }
            }
            Operation::LetGo => under_way.let_go(),
            Operation::Begin { key, len } => {
                let mut upload = store.upload(store.key(&name(key)));
                let room = under_way.uploads.len() < UNDER_WAY_MAX && upload.admit(len);
                if room && upload.append(&value(key, version, len)).is_ok() {
                    let kept = Kept::new(version, len, Expiry::NEVER);
                    under_way.uploads.push_back((key, upload, kept));
                }
            }
            Operation::Finish => {
                if let Some((key, upload, kept)) = under_way.uploads.pop_front() {
                    let name = name(key);
                    let written = store.put_upload(store.key(&name), upload, kept.expiry, now);
                    created += note(&mut model, now, key, kept, written, may_evict, may_evict);
                }
            }
            Operation::Remove(key) => {
                let kept = model.remove(&key).is_some_and(|kept| !kept.expiry.is_due(now));
                let removed = store.remove(hints.key(&store, key, &name(key), is_new(key)), now);
                assert!(removed == kept || (may_evict && !removed));
            }
            Operation::Purge(prefix) => {
                let prefix = PREFIXES[prefix % PREFIXES.len()];
                if store.purge(prefix).is_ok() {
                    model.retain(|&key, _| !name(key).starts_with(prefix));
                } else {
                    assert_eq!(store.purges_under_way(), 7);
                }
            }
            Operation::Crowd(keys) => {
                for key in CROWD..CROWD + keys {
                    let was_live = model.contains_key(&key);
                    let (name, anew) = (name(key), key % 5 == version % 5);
                    let hinted = hints.key(&store, key, &name, anew);
                    let written = store.put(hinted, &value(key, version, 3), Expiry::NEVER, now);
                    let written = written.expect("the store is large enough for each value");
                    assert!(may_evict || was_live == (written == Written::Replaced));
                    created += u64::from(written == Written::Created);
                    model.insert(key, Kept::new(version, 3, Expiry::NEVER));
                }
            }
            Operation::Thin(keys) => {
                let crowd: Vec<u64> =
                    model.keys().copied().filter(|&key| key >= CROWD + keys).collect();
                for key in crowd {
                    model.remove(&key);
                    let name = name(key);
                    let removed = store.remove(hints.key(&store, key, &name, false), now);
                    assert!(removed || may_evict);
                }
            }
            Operation::Pass(ticks) => now = Tick(now.0 + ticks),
            Operation::Maintain => maintain(&store, now),
            Operation::MaintainOnce(partition) => {
                store.maintain(partition % partitions, now);
            }
        }
        store.check_invariants();
        let counts = statistics(&store);
        assert!(counts.bytes <= bytes_max);
        assert!(may_evict || counts.evicted == 0);
        let gone = counts.evicted + counts.expired + counts.deleted + counts.purged;
        assert_eq!(counts.keys, created - gone);
    }
    while !under_way.readers.is_empty() {
        under_way.let_go();
    }
    drop(under_way);
    assert_eq!((store.pinned_bytes(), store.upload_bytes()), (0, 0));
    now = Tick(now.0 + 16);
    maintain(&store, now);
    assert_eq!(store.purges_under_way(), 0);
    let all: Vec<u64> = model.keys().copied().collect();
    let (mut found, mut just_ended) = (0, 0);
    for &key in &all {
        let kept = &model[&key];
        let ended = |by: u32| kept.expiry.is_due(Tick(by));
        just_ended += u64::from(ended(now.0) && !ended(now.0 - 8));
        let expected =
            Some(value(key, kept.version, kept.len)).filter(|_| !kept.expiry.is_due(now));
        let seen = get(&store, &name(key), now);
        assert!(seen == expected || (may_evict && seen.is_none()));
        found += u64::from(seen.is_some());
    }
    let keys = statistics(&store).keys;
    assert!(found <= keys && keys <= found + just_ended, "{keys} counted, {found} found");
    for &key in &all {
        store.remove(store.key(&name(key)), now);
    }
    store.check_invariants();
    let counts = statistics(&store);
    assert_eq!(counts.keys, 0);
    for namespace in 0..4 {
        let counts = store.namespace_statistics(namespace);
        assert_eq!((counts.keys, counts.bytes), (0, 0));
    }
    assert!(counts.bytes <= EMPTY_BYTES_MAX * partitions as u64, "{} bytes kept", counts.bytes);
}
