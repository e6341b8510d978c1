//! What the tests of the store share: values that can be told apart, and short calls.

#![allow(dead_code)] // Each test uses some of it.

pub(crate) mod streams;

use std::sync::Arc;

use corekv::store::{
    Expiry, Fingerprint, Full, Key, Settings, Statistics, Store, Tick, Upload, Value, Written,
};
use testkit::Numbers;

/// A store without anything in it.
pub(crate) fn store(partitions: usize, memory_bytes_max: u64) -> Arc<Store> {
    Store::new(Settings { partitions, memory_bytes_max }).expect("address space")
}

/// A value that only this key has with this version and length.
pub(crate) fn value(key: u64, version: u64, len: usize) -> Vec<u8> {
    let seed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version << 32 ^ len as u64;
    Numbers::new(seed).bytes(len)
}

pub(crate) fn get(store: &Store, key: &[u8], now: Tick) -> Option<Vec<u8>> {
    get_key(store, store.key(key), now)
}

/// The same for a key that was looked for a moment before, as the server does it.
#[allow(dead_code)] // Not every test that shares this file needs it.
pub(crate) fn get_hinted(store: &Store, key: &[u8], now: Tick) -> Option<Vec<u8>> {
    let hash = store.hash(key);
    let hint = store.prefetch_entry(hash, store.prefetch_index(hash));
    get_key(store, Key::new(key, hash).with_hint(&hint), now)
}

/// Reads where the key was seen, and otherwise wherever it is.
pub(crate) fn get_key(store: &Store, key: Key<'_>, now: Tick) -> Option<Vec<u8>> {
    if let Some(read) = store.optimistic_read(key, now) {
        let mut out = Vec::new();
        read.value().append_to(&mut out);
        assert_eq!(out.len(), read.value().len());
        if read.validate() {
            return Some(out);
        }
    }
    store.get(key, now, |value| match value {
        Value::Small(value) | Value::SmallWithMeta(_, value) => {
            let mut out = Vec::new();
            value.append_to(&mut out);
            assert_eq!(out.len(), value.len());
            out
        }
        Value::Large(value) => {
            let mut out = Vec::new();
            value.pieces(0, |piece| {
                out.extend_from_slice(piece);
                true
            });
            assert_eq!(out.len(), value.len());
            out
        }
    })
}

pub(crate) fn put(
    store: &Store,
    key: &[u8],
    value: &[u8],
    expiry: Expiry,
    now: Tick,
) -> Result<Written, Full> {
    store.put(store.key(key), value, expiry, now)
}

/// What is kept beside a key's value.
pub(crate) fn get_meta(store: &Store, key: Key<'_>, now: Tick) -> Option<Vec<u8>> {
    store.get(key, now, |value| match value {
        Value::Small(_) => Vec::new(),
        Value::SmallWithMeta(meta, _) => {
            let mut out = Vec::new();
            meta.append_to(&mut out);
            out
        }
        Value::Large(value) => value.meta().to_vec(),
    })
}

/// Receives a value in pieces.
pub(crate) fn upload_in_pieces(
    store: &Arc<Store>,
    key: &[u8],
    meta: &[u8],
    value: &[u8],
    piece: usize,
) -> Result<Upload, Full> {
    let mut upload = store.upload(store.key(key));
    upload.set_meta(meta)?;
    if piece.is_multiple_of(2) {
        upload.fingerprint_as_it_arrives();
    }
    for piece in value.chunks(piece.max(1)) {
        upload.append(piece)?;
    }
    assert_eq!(upload.len(), value.len());
    if let Some(fingerprint) = upload.fingerprint() {
        assert_eq!(fingerprint, Fingerprint::of(value));
    }
    Ok(upload)
}

/// Stores a value in pieces.
pub(crate) fn put_in_pieces(
    store: &Arc<Store>,
    key: &[u8],
    value: &[u8],
    piece: usize,
    expiry: Expiry,
    now: Tick,
) -> Result<Written, Full> {
    let upload = upload_in_pieces(store, key, &[], value, piece)?;
    store.put_upload(store.key(key), upload, expiry, now)
}

/// Counts of all partitions together.
pub(crate) fn statistics(store: &Store) -> Statistics {
    let mut sum = Statistics::default();
    for partition in 0..store.partitions() {
        let one = store.statistics(partition);
        sum.keys += one.keys;
        sum.bytes += one.bytes;
        sum.evicted += one.evicted;
        sum.expired += one.expired;
        sum.replaced += one.replaced;
        sum.deleted += one.deleted;
        sum.purged += one.purged;
    }
    sum
}

/// Maintains all partitions until nothing is due.
pub(crate) fn maintain(store: &Store, now: Tick) {
    for partition in 0..store.partitions() {
        while store.maintain(partition, now) {}
    }
}
