//! What a request costs without sockets: parsing its head, rendering its response, and all of it
//! with the cache.
//!
//! `cargo bench -p measure --bench http`; each iteration is a batch of 64 requests, and the throughput is that
//! of single requests.

use std::hint::black_box;
use std::time::Duration;

use corekv::http::{FieldRules, HeadParser};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use measure::{GETS, Heads, MIXED, Mix, PUTS, requests, to_cache, to_fixed};

const BATCH: usize = 64;

/// Memory of the cache, in bytes: all that is stored fits.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Heads alone. Those that are remembered are compared, and the others parsed in full.
fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, heads) in [("memo hit", Heads::Same), ("memo miss", Heads::Differing)] {
        let input = requests(BATCH, Mix { heads, ..GETS });
        let mut parser = HeadParser::new(16 << 10, FieldRules::default());
        let mut parsed = Vec::with_capacity(BATCH);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                parsed.clear();
                let (mut at, mut scanned) = (0, 0);
                while let Ok(Some(end)) =
                    parser.parse(black_box(&input), at, &mut scanned, &mut parsed)
                {
                    at = end;
                }
                assert_eq!((at, parsed.len()), (input.len(), BATCH));
            });
        });
    }
    group.finish();
}

/// The protocol with a handler that has its answer at hand: parsing, and rendering of responses.
fn render(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, value_bytes, mix) in
        [("200 of 5 bytes", 5, GETS), ("200 of 1000 bytes", 1_000, GETS), ("204", 0, PUTS)]
    {
        let (input, mut connection) = (requests(BATCH, mix), to_fixed(value_bytes));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(connection.exchange(black_box(&input))));
        });
    }
    group.finish();
}

/// The protocol with the cache.
fn cache(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, value_bytes, mix) in [
        ("get", 5, GETS),
        ("put", 5, PUTS),
        ("80/20", 5, MIXED),
        ("80/20, differing heads", 5, Mix { heads: Heads::Differing, ..MIXED }),
        ("80/20 of 1000 bytes", 1_000, Mix { value_bytes: 1_000, ..MIXED }),
        ("get of 64 KiB", 64 << 10, GETS),
    ] {
        let (input, mut connection) =
            (requests(BATCH, mix), to_cache(MEMORY_BYTES_MAX, value_bytes));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(connection.exchange(black_box(&input))));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(20);
    targets = parse, render, cache
}
criterion_main!(benches);
