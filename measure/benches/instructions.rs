//! Budgets of instructions, for what a request costs without sockets. More than a budget is an error that
//! names both figures.
//!
//! `cargo bench -p measure --bench instructions`, with valgrind and `gungraun-runner` installed
//! (`.ci/install`). Each figure is that of 64 requests, one behind the other; of a cache it is the sum over
//! sixteen caches. The budgets are what was counted and 3 %. What the event loop costs beside that,
//! `benches/instructions` counts.

#![allow(missing_docs, unused_qualifications)] // Of what gungraun's macros expand to.

use std::hint::black_box;

use corekv::cache::Cache;
use corekv::http::{FieldRules, Handler, HeadParser, ParsedRequest};
use gungraun::{Callgrind, EventKind};
use gungraun::{LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use measure::{Connection, Fixed, GETS, Heads, MIXED, Mix, PUTS, requests, to_cache, to_fixed};

const BATCH: usize = 64;

/// Caches that are counted together. Each places its keys by a seed of its own, and what 64 requests cost in
/// one of them depends on that seed by up to 6 %.
const CACHES: usize = 16;

/// Memory of each cache, in bytes: all that is stored fits.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// What everything has seen before it is counted: so often that frequencies are at their height and heads
/// are remembered, if that is possible.
const ROUNDS: usize = 8;

/// So many instructions, and no more.
fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

type Parsing = Box<(Vec<u8>, HeadParser, Vec<ParsedRequest>)>;

fn parse_all(parsing: &mut Parsing) {
    let (input, parser, parsed) = &mut **parsing;
    parsed.clear();
    let (mut at, mut scanned) = (0, 0);
    while let Ok(Some(end)) = parser.parse(input, at, &mut scanned, parsed) {
        at = end;
    }
    assert_eq!((at, parsed.len()), (input.len(), BATCH));
}

fn parsing(heads: Heads, rounds: usize) -> Parsing {
    let input = requests(BATCH, Mix { heads, ..GETS });
    let parser = HeadParser::new(16 << 10, FieldRules::default());
    let mut parsing = Box::new((input, parser, Vec::with_capacity(BATCH)));
    (0..rounds).for_each(|_| parse_all(&mut parsing));
    parsing
}

/// Heads of which each has fields of its own.
fn strange() -> Parsing {
    let mut parsing = parsing(Heads::Same, 0);
    let heads =
        (0..BATCH).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: {n:016x}\r\nX-{n}: 1\r\n\r\n"));
    parsing.0 = heads.collect::<String>().into_bytes();
    parsing
}

#[library_benchmark]
#[bench::memo_hit(args = (Heads::Same, ROUNDS), setup = parsing, config = budget(17_150))]
#[bench::template(args = (Heads::Differing, ROUNDS), setup = parsing, config = budget(27_440))]
#[bench::browser(args = (Heads::Browser, ROUNDS), setup = parsing, config = budget(46_890))]
#[bench::same_browser(args = (Heads::SameBrowser, ROUNDS), setup = parsing, config = budget(35_800))]
#[bench::miss(args = (), setup = strange, config = budget(208_190))]
fn parse(mut parsing: Parsing) -> Parsing {
    parse_all(black_box(&mut parsing));
    parsing
}

/// A connection, and what is sent on it. In a box, since to hand it over would count as well.
type Exchange<H> = (Vec<u8>, Box<Connection<H>>);

fn exchange<H: Handler>((input, connection): &mut Exchange<H>) {
    black_box(connection.exchange(black_box(input)));
}

fn warmed_up<H: Handler>(mix: Mix, connection: Connection<H>) -> Exchange<H> {
    let mut warm = (requests(BATCH, mix), Box::new(connection));
    (0..ROUNDS).for_each(|_| exchange(&mut warm));
    warm
}

type Exchanges = Vec<Exchange<Cache>>;

fn rendering(mix: Mix, value_bytes: usize) -> Exchange<Fixed> {
    warmed_up(mix, to_fixed(value_bytes))
}

#[library_benchmark]
#[bench::ok_of_5_bytes(args = (GETS, 5), setup = rendering, config = budget(13_800))]
#[bench::no_content(args = (PUTS, 0), setup = rendering, config = budget(13_210))]
fn render(mut warm: Exchange<Fixed>) -> Exchange<Fixed> {
    exchange(&mut warm);
    warm
}

fn caching(mix: Mix) -> Exchanges {
    (0..CACHES).map(|_| warmed_up(mix, to_cache(MEMORY_BYTES_MAX, 5))).collect()
}

/// So many instructions for 64 requests, on average over the caches.
fn budget_of_each(instructions: u64) -> LibraryBenchmarkConfig {
    budget(CACHES as u64 * instructions)
}

const DIFFERING: Mix = Mix { heads: Heads::Differing, ..MIXED };
const BROWSER: Mix = Mix { heads: Heads::Browser, ..MIXED };
const SAME_BROWSER: Mix = Mix { heads: Heads::SameBrowser, ..MIXED };
const LONG: Mix = Mix { value_bytes: 1_000, ..MIXED };
const LENGTHS: Mix = Mix { heads: Heads::Lengths, ..LONG };

#[library_benchmark]
#[bench::get(args = (GETS), setup = caching, config = budget_of_each(40_060))]
#[bench::put(args = (PUTS), setup = caching, config = budget_of_each(50_110))]
#[bench::mixed(args = (MIXED), setup = caching, config = budget_of_each(41_950))]
#[bench::mixed_with_differing_heads(args = (DIFFERING), setup = caching, config = budget_of_each(52_340))]
#[bench::mixed_of_a_browser(args = (BROWSER), setup = caching, config = budget_of_each(81_220))]
#[bench::mixed_of_a_browser_with_the_same_heads(args = (SAME_BROWSER), setup = caching, config = budget_of_each(69_550))]
#[bench::mixed_of_1000_bytes(args = (LONG), setup = caching, config = budget_of_each(48_070))]
#[bench::mixed_of_differing_lengths(args = (LENGTHS), setup = caching, config = budget_of_each(48_850))]
fn cache(mut warm: Exchanges) -> Exchanges {
    warm.iter_mut().for_each(exchange);
    warm
}

library_benchmark_group!(name = groups, benchmarks = [parse, render, cache]);
main!(library_benchmark_groups = groups);
