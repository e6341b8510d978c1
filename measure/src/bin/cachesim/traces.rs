//! Traces: which key is asked for, and how long its value is.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::{self, BufRead, BufReader};

use testkit::{Numbers, Zipf};

/// Which of the keys are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Popularity {
    Zipf(f64),
    /// One request in five belongs to a scan over keys that nobody asks for again.
    Scans,
    /// What is popular moves on by a tenth of the keys again and again.
    Shifting,
}

impl Popularity {
    pub(crate) const ALL: [Self; 5] =
        [Self::Zipf(0.8), Self::Zipf(0.99), Self::Zipf(1.2), Self::Scans, Self::Shifting];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Zipf(exponent) => format!("Zipf {exponent}"),
            Self::Scans => "with scans".to_owned(),
            Self::Shifting => "shifting".to_owned(),
        }
    }

    pub(crate) fn requests(self, keys: usize, requests: usize) -> Vec<u32> {
        match self {
            Self::Zipf(exponent) => {
                let (zipf, mut random) = (Zipf::new(keys as u64, exponent), Numbers::new(42));
                (0..requests).map(|_| zipf.rank(&mut random) as u32).collect()
            }
            Self::Scans => scans(keys, requests),
            Self::Shifting => {
                let (zipf, mut random) = (Zipf::new(keys as u64, 0.99), Numbers::new(44));
                let shift = |at: usize| at * 10 / (6 * keys) * (keys / 10);
                let key = |at: usize| (zipf.rank(&mut random) as usize + shift(at)) % keys;
                (0..requests).map(key).map(|key| key as u32).collect()
            }
        }
    }
}

fn scans(keys: usize, requests: usize) -> Vec<u32> {
    let (zipf, mut random) = (Zipf::new(keys as u64, 0.99), Numbers::new(43));
    let (period, scan) = ((keys / 10).max(5), (keys / 50).max(1));
    let mut scanned = keys as u32;
    let request = |at: usize| {
        if at % period < scan {
            scanned += 1;
            scanned
        } else {
            zipf.rank(&mut random) as u32
        }
    };
    (0..requests).map(request).collect()
}

/// Bytes of values, whoever asks for them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sizes {
    Equal(u64),
    /// Log-normal, as a build cache has them, divided by four: 468,997 files of a Bazel cache had
    /// 1.7 TB, 3.6 MB on the average (github.com/glukasiknuro/bazel-cache-chunking), half of which
    /// are taken to be below 64 KiB.
    Build,
    /// As many of each order of magnitude.
    Uniform,
}

const SIZE_MIN: f64 = 8.0;
const SIZE_MAX: f64 = (8 << 20) as f64;

impl Sizes {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Equal(_) => "equal",
            Self::Build => "build cache",
            Self::Uniform => "log-uniform",
        }
    }

    /// Sizes of so many keys.
    pub(crate) fn draw(self, keys: usize) -> Vec<u64> {
        let mut random = Numbers::new(4711);
        let clamp = |size: f64| size.clamp(SIZE_MIN, SIZE_MAX) as u64;
        let size = |_| match self {
            Self::Equal(bytes) => bytes,
            Self::Build => clamp(16_384.0 * (2.83 * random.normal()).exp()),
            Self::Uniform => clamp(SIZE_MIN * (SIZE_MAX / SIZE_MIN).powf(random.fraction())),
        };
        (0..keys).map(size).collect()
    }
}

/// Bytes of a block in the traces of disks.
const BLOCK_BYTES: u64 = 512;

/// Blocks that one line of such a trace can ask for: as long as the longest value.
const BLOCKS_MAX: u64 = SIZE_MAX as u64 / BLOCK_BYTES;

/// Requests and the keys' sizes.
pub(crate) struct Trace {
    pub(crate) requests: Vec<u32>,
    pub(crate) sizes: Vec<u64>,
}

impl Trace {
    pub(crate) fn draw(popularity: Popularity, sizes: Sizes, keys: usize, requests: usize) -> Self {
        let requests = popularity.requests(keys, requests);
        let all = *requests.iter().max().expect("a trace has requests") as usize + 1;
        Self { sizes: sizes.draw(all), requests }
    }

    /// Reads a file with a key per line, all of whose values have one size.
    pub(crate) fn read_keys(path: &str, size: u64) -> io::Result<Self> {
        let mut keys = Keys::default();
        for (_, line) in lines(path)? {
            keys.request(line?, size);
        }
        Ok(keys.trace)
    }

    /// Reads the format of LIRS' authors: the number of a block per line, and an asterisk at the end. All
    /// blocks have one size.
    pub(crate) fn read_lirs(path: &str, size: u64) -> io::Result<Self> {
        let mut keys = Keys::default();
        for (number, line) in lines(path)? {
            match line?.trim() {
                "" => {}
                "*" => break,
                block => {
                    let block: u64 = block.parse().map_err(|_| wrong(path, number))?;
                    keys.request(block, size);
                }
            }
        }
        Ok(keys.trace)
    }

    /// Reads the format of ARC's authors: lines of the first block, how many blocks, a number that says
    /// nothing here, and the number of the request. Each block is a value of this size.
    pub(crate) fn read_arc(path: &str, size: u64) -> io::Result<Self> {
        let mut keys = Keys::default();
        for (number, line) in lines(path)? {
            let (first, blocks) = extent(&line?).ok_or_else(|| wrong(path, number))?;
            (first..first + blocks).for_each(|block| keys.request(block, size));
        }
        Ok(keys.trace)
    }

    /// Reads the same, but each request is for one value, which is as long as its blocks.
    pub(crate) fn read_extents(path: &str) -> io::Result<Self> {
        let mut keys = Keys::default();
        for (number, line) in lines(path)? {
            let (first, blocks) = extent(&line?).ok_or_else(|| wrong(path, number))?;
            keys.request((first, blocks), blocks * BLOCK_BYTES);
        }
        Ok(keys.trace)
    }

    /// Reads a CSV file, whose columns of key and size are counted from 1. A key whose size
    /// changes counts as another key.
    pub(crate) fn read(path: &str, key: usize, size: usize) -> io::Result<Self> {
        let mut keys = Keys::default();
        for (_, line) in lines(path)? {
            let line = line?;
            let column = |at: usize| line.split(',').nth(at - 1).map(str::trim);
            let (Some(key), Some(Ok(size))) = (column(key), column(size).map(str::parse::<u64>))
            else {
                continue;
            };
            let size = size.clamp(1, SIZE_MAX as u64);
            keys.request((key.to_owned(), size), size);
        }
        Ok(keys.trace)
    }
}

/// Numbers keys in the order in which they come.
struct Keys<K> {
    numbers: HashMap<K, u32>,
    trace: Trace,
}

impl<K> Default for Keys<K> {
    fn default() -> Self {
        let (requests, sizes) = Default::default();
        Self { numbers: HashMap::new(), trace: Trace { requests, sizes } }
    }
}

impl<K: Eq + Hash> Keys<K> {
    fn request(&mut self, key: K, size: u64) {
        let next = self.trace.sizes.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.trace.sizes.push(size);
        }
        self.trace.requests.push(number);
    }
}

/// The lines of a file, counted from 1.
fn lines(path: &str) -> io::Result<impl Iterator<Item = (usize, io::Result<String>)>> {
    let file = File::open(path).map_err(|error| io::Error::other(format!("{path}: {error}")))?;
    Ok((1..).zip(BufReader::new(file).lines()))
}

/// The first block and the number of blocks that a line of ARC's format asks for.
fn extent(line: &str) -> Option<(u64, u64)> {
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
    let [first, blocks] = [numbers.next()?.ok()?, numbers.next()?.ok()?];
    let is_right = (1..=BLOCKS_MAX).contains(&blocks) && first.checked_add(blocks).is_some();
    is_right.then_some((first, blocks))
}

fn wrong(path: &str, number: usize) -> io::Error {
    io::Error::other(format!("{path}: line {number} is not of that format"))
}
