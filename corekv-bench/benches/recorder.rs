//! What recording costs the load generator: the clock, and the histograms, per batch of requests.

use std::hint::black_box;

use corekv_bench::context::Clock;
use corekv_bench::method::Method;
use corekv_bench::recorder::Recorder;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn record(criterion: &mut Criterion) {
    let clock = Clock::new();
    criterion.bench_function("clock", |bencher| bencher.iter(|| black_box(clock.now())));
    let mut group = criterion.benchmark_group("record");
    for depth in [1, 10, 64] {
        group.throughput(Throughput::Elements(depth));
        group.bench_function(format!("batch of {depth}"), |bencher| {
            let mut recorder = Recorder::default();
            let mut now = 1_000_000;
            bencher.iter_batched(
                || {
                    now += 12_345;
                    now
                },
                |now| {
                    // Sent together some 100 µs ago, one in five a POST, answered together.
                    let start = now - 100_000 - now % 50_000;
                    for index in 0..depth {
                        let method = if index % 5 == 4 { Method::Post } else { Method::Get };
                        recorder.answered(black_box(method), black_box(start), 80, 200, now);
                    }
                    recorder.flush(now);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, record);
criterion_main!(benches);
