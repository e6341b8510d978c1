//! HdrHistogram's log (version 2, compressed): all latencies of a run, a line per method, for
//! `corekv-bench merge` and for every other tool that reads such logs. Percentiles of several runs
//! cannot be had from their percentiles, but from their histograms.
//!
//! A comment line, which other tools skip, holds what else is to be added up.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::recorder::latency_histogram;
use super::summary::Summary;

/// The longest log that is read, in bytes.
const LOG_BYTES_MAX: u64 = 256 << 20;

/// Begins the comment with the counts.
const COUNTS: &str = "corekv-bench ";

/// Nanoseconds per unit of the maximum in a line: as other tools write it, milliseconds.
const MAX_DIVISOR: f64 = 1e6;

/// What is added up besides the latencies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// The server.
    pub target: String,
    /// Requests without answer, and connections that could not be opened.
    pub errors: u64,
    /// Answers with another status than 2xx.
    pub non_2xx: u64,
    /// Stored values that were not found.
    pub lost: u64,
    /// Wrong values.
    pub wrong_values: u64,
    /// Requests of the constant rate that were not sent.
    pub never_sent: u64,
    /// Whether the load threads had to wait for their cores.
    pub disturbed: bool,
}

/// Latencies of one kind of request.
#[derive(Debug)]
pub struct Interval {
    /// The method, or whatever another tool has written.
    pub tag: String,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
}

/// A log that was read.
#[derive(Debug)]
pub struct Log {
    /// When the first interval began, since 1970.
    pub begin: Duration,
    /// When the last interval ended, since 1970.
    pub end: Duration,
    /// The intervals; those with the same tag are one.
    pub intervals: Vec<Interval>,
    /// What the comment says, or nothing.
    pub counts: Counts,
}

/// The log of a run.
pub fn render(summary: &Summary) -> String {
    let counts = Counts {
        target: summary.target.clone(),
        errors: summary.recorder.errors(),
        non_2xx: summary.non_2xx(),
        lost: summary.recorder.lost,
        wrong_values: summary.recorder.violations.count,
        never_sent: summary.behind,
        disturbed: summary.disturbed().is_some(),
    };
    let begin = summary.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let latencies = summary.methods().map(|(method, record, _)| (method.key(), &record.latency));
    write(&counts, begin, summary.elapsed, latencies)
}

/// A log with these intervals, all of which take the same time.
pub fn write<'a>(
    counts: &Counts,
    begin: Duration,
    length: Duration,
    latencies: impl Iterator<Item = (&'a str, &'a Histogram<u64>)>,
) -> String {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    // A vector takes whatever is written, and these histograms can all be written.
    let counts = serde_json::to_string(counts).expect("plain data");
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment(&format!("{COUNTS}{counts}"))
        .with_start_time(UNIX_EPOCH + begin)
        .with_max_value_divisor(MAX_DIVISOR)
        .begin_log_with(&mut out, &mut serializer)
        .expect("a vector takes everything");
    for (tag, latency) in latencies {
        writer
            .write_histogram(latency, begin, length, Tag::new(tag))
            .expect("a vector takes everything");
    }
    drop(writer);
    String::from_utf8(out).expect("logs are text")
}

impl Log {
    /// Reads a log, of this load generator or of another tool that measures nanoseconds.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::usage(format!("{}: {why}", path.display()));
        let length = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if length > LOG_BYTES_MAX {
            return Err(wrong(format!("longer than {LOG_BYTES_MAX} bytes")));
        }
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&bytes).map_err(wrong)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut log = Self {
            begin: Duration::MAX,
            end: Duration::ZERO,
            intervals: Vec::new(),
            counts: Counts::default(),
        };
        let mut base = Duration::ZERO;
        for entry in IntervalLogIterator::new(bytes) {
            match entry.map_err(|_| "not a log of histograms".to_owned())? {
                LogEntry::BaseTime(time) => base = time,
                LogEntry::StartTime(_) => {}
                LogEntry::Interval(line) => {
                    let begin = base.saturating_add(line.start_timestamp());
                    log.begin = log.begin.min(begin);
                    log.end = log.end.max(begin.saturating_add(line.duration()));
                    let tag = line.tag().map_or("all", |tag| tag.as_str());
                    log.add(tag, &decode(line.encoded_histogram())?)?;
                }
            }
        }
        if log.intervals.is_empty() {
            return Err("no histogram in it".to_owned());
        }
        let text = String::from_utf8_lossy(bytes);
        let comment = text.lines().find_map(|line| line.strip_prefix('#')?.strip_prefix(COUNTS));
        if let Some(comment) = comment {
            log.counts = serde_json::from_str(comment).map_err(|error| error.to_string())?;
        }
        Ok(log)
    }

    fn add(&mut self, tag: &str, latency: &Histogram<u64>) -> Result<(), String> {
        add(&mut self.intervals, tag, latency)
    }
}

/// Adds latencies to those with the same tag.
pub fn add(all: &mut Vec<Interval>, tag: &str, latency: &Histogram<u64>) -> Result<(), String> {
    let index = all.iter().position(|known| known.tag == tag).unwrap_or_else(|| {
        all.push(Interval { tag: tag.to_owned(), latency: latency_histogram() });
        all.len() - 1
    });
    let added = all[index].latency.add(latency);
    added.map_err(|_| "a latency of more than an hour; is it in nanoseconds?".to_owned())
}

fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let wrong = || "a histogram that cannot be read".to_owned();
    let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|_| wrong())
}
