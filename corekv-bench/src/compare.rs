//! `corekv-bench compare`: whether the results of two servers differ by more than chance.
//!
//! ```text
//!   A.json ..  -> Side -\
//!                        samples -> statistics -> Comparison -> text, JSON
//!   B.json ..  -> Side -/
//! ```
//!
//! With [`SAMPLES_MIN`] or more runs a side, a run is a sample. With fewer, a stretch of a run is:
//! each run's seconds are cut into up to ten stretches of equal length, since neighbouring seconds
//! are too alike to count as independent. If there is more than one run a side, the runs of one
//! side must then lie wholly beyond those of the other as well.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::error::Error;
use super::statistics::{Contrast, PAIRS_MIN, SAMPLES_MIN, SIGNIFICANCE, Verdict, median};
use super::table::{Table, time};

/// A run is cut into at most so many stretches.
const STRETCHES_MAX: usize = 10;

/// Runs per side that are read at most.
const RUNS_MAX: usize = 200;

/// The longest file that is read, in bytes: a run of a day and more.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What a run is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// Answers per second.
    Rate,
    /// The median latency.
    P50,
    /// The 99th percentile of the latency.
    P99,
}

impl Measured {
    /// All, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Rate, Self::P50, Self::P99];

    /// The name in JSON, of a point of the series as of what is compared.
    pub fn key(self) -> &'static str {
        match self {
            Self::Rate => "requests_per_second",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
        }
    }

    /// The name in the table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rate => "requests/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    fn of_run(self, run: &Value) -> Option<f64> {
        match self {
            Self::Rate => run["requests_per_second"].as_f64(),
            _ => run["all"][self.key()].as_f64(),
        }
    }

    /// The value with its unit, from what JSON has.
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{value:.0}"),
            _ => time(value * 1000.0),
        }
    }

    fn is_better(self, verdict: Verdict) -> bool {
        (self == Self::Rate) == (verdict == Verdict::Higher)
    }
}

/// The runs of one server.
#[derive(Debug, Clone)]
pub struct Side {
    name: String,
    runs: Vec<Value>,
}

impl Side {
    /// Results as they are in the files that `--json` wrote.
    pub fn new(name: impl Into<String>, runs: Vec<Value>) -> Self {
        Self { name: name.into(), runs }
    }

    /// Reads the files.
    pub fn read(paths: &[impl AsRef<Path>]) -> Result<Self, Error> {
        if paths.len() > RUNS_MAX {
            return Err(Error::usage(format!("more than {RUNS_MAX} runs of one server")));
        }
        let runs = paths.iter().map(|path| read_run(path.as_ref())).collect::<Result<_, _>>()?;
        let first = paths.first().map_or(String::new(), |path| path.as_ref().display().to_string());
        let name = match paths.len() {
            0 | 1 => first,
            more => format!("{first} and {} more", more - 1),
        };
        Ok(Self { name, runs })
    }

    fn values(&self, measured: Measured) -> Vec<f64> {
        self.runs.iter().filter_map(|run| measured.of_run(run)).collect()
    }

    fn stretches(&self, measured: Measured) -> Vec<f64> {
        let of_run = |run: &Value| {
            let series = run["series"].as_array().map_or(&[][..], Vec::as_slice);
            stretches(series, measured)
        };
        self.runs.iter().flat_map(of_run).collect()
    }

    /// What the load was, setting by setting.
    fn settings(&self, name: &str) -> BTreeSet<String> {
        self.runs.iter().map(|run| run[name].to_string()).collect()
    }

    fn complaints(&self) -> impl Iterator<Item = String> {
        let counts = ["errors", "lost", "wrong_values", "never_sent"].into_iter().map(|name| {
            let sum: u64 = self.runs.iter().filter_map(|run| run[name].as_u64()).sum();
            (name, sum)
        });
        let disturbed = self.runs.iter().filter(|run| run["disturbed"] == true).count() as u64;
        counts
            .chain([("disturbed runs", disturbed)])
            .filter(|&(_, count)| count > 0)
            .map(|(name, count)| format!("{}: {count} {}.", self.name, name.replace('_', " ")))
    }
}

fn read_run(path: &Path) -> Result<Value, Error> {
    let wrong = |why: String| Error::usage(format!("{}: {why}", path.display()));
    let length = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(wrong(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let run: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if !run["requests_per_second"].is_number() || !run["series"].is_array() {
        return Err(wrong("not the results that --json writes".to_owned()));
    }
    Ok(run)
}

/// The value of each stretch: the mean rate, or the median of the seconds' percentiles.
fn stretches(series: &[Value], measured: Measured) -> Vec<f64> {
    let count = series.len().min(STRETCHES_MAX);
    let ends =
        (0..count).map(|index| (index * series.len() / count, (index + 1) * series.len() / count));
    let value = |(from, to): (usize, usize)| {
        let stretch = &series[from..to];
        let values: Vec<f64> =
            stretch.iter().filter_map(|point| point[measured.key()].as_f64()).collect();
        if measured != Measured::Rate {
            return (!values.is_empty()).then(|| median(&values));
        }
        let seconds: Vec<f64> =
            stretch.iter().filter_map(|point| point["seconds"].as_f64()).collect();
        let answers: f64 = values.iter().zip(&seconds).map(|(rate, seconds)| rate * seconds).sum();
        Some(answers / seconds.iter().sum::<f64>().max(1e-9))
    };
    ends.filter_map(value).collect()
}

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Run,
    Stretch,
    Round,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "runs",
            Self::Stretch => "stretches of runs",
            Self::Round => "rounds",
        }
    }

    fn test(self) -> &'static str {
        match self {
            Self::Run | Self::Stretch => "the rank sum",
            Self::Round => "the signed ranks of rounds",
        }
    }

    /// Fewer show nothing.
    fn least(self) -> usize {
        match self {
            Self::Run | Self::Stretch => SAMPLES_MIN,
            Self::Round => PAIRS_MIN,
        }
    }
}

/// Two sides, compared.
#[derive(Debug)]
pub struct Comparison {
    names: [String; 2],
    unit: Unit,
    samples: [usize; 2],
    rows: Vec<(Measured, Option<Contrast>, Verdict)>,
    notes: Vec<String>,
}

impl Comparison {
    /// Compares the second side to the first.
    pub fn new(a: &Side, b: &Side) -> Self {
        let runs = a.runs.len().min(b.runs.len());
        let unit = if runs >= SAMPLES_MIN { Unit::Run } else { Unit::Stretch };
        let samples = |side: &Side, measured| match unit {
            Unit::Run => side.values(measured),
            Unit::Stretch | Unit::Round => side.stretches(measured),
        };
        let rows = Measured::ALL.map(|measured| {
            let contrast = Contrast::independent(&samples(a, measured), &samples(b, measured));
            let must_lie_apart = unit == Unit::Stretch && runs > 1;
            let verdict = match contrast.map_or(Verdict::Equal, |contrast| contrast.verdict()) {
                _ if must_lie_apart && overlap(&a.values(measured), &b.values(measured)) => {
                    Verdict::Equal
                }
                verdict => verdict,
            };
            (measured, contrast, verdict)
        });
        let differing = SETTINGS.into_iter().filter_map(|name| {
            let (one, other) = (a.settings(name), b.settings(name));
            let list = |values: BTreeSet<String>| values.into_iter().collect::<Vec<_>>().join(", ");
            (one != other || one.len() > 1)
                .then(|| format!("Not like for like: {name} is {} and {}.", list(one), list(other)))
        });
        let names = [a.name.clone(), b.name.clone()];
        let samples = [a, b].map(|side| samples(side, Measured::Rate).len());
        let notes = differing.chain(a.complaints()).chain(b.complaints()).collect();
        Self { names, unit, samples, rows: rows.into(), notes }
    }

    /// Compares two servers that took turns; `of` gives what each round measured of both.
    pub fn of_rounds(
        names: [String; 2],
        rounds: usize,
        of: impl Fn(Measured) -> (Vec<f64>, Vec<f64>),
    ) -> Self {
        let rows = Measured::ALL.map(|measured| {
            let (a, b) = of(measured);
            let contrast = Contrast::paired(&a, &b);
            let verdict = contrast.map_or(Verdict::Equal, |contrast| contrast.verdict());
            (measured, contrast, verdict)
        });
        let samples = [rounds; 2];
        Self { names, unit: Unit::Round, samples, rows: rows.into(), notes: Vec::new() }
    }

    /// What was found of one of the results.
    pub fn verdict(&self, measured: Measured) -> Verdict {
        self.rows
            .iter()
            .find(|(one, ..)| *one == measured)
            .map_or(Verdict::Equal, |(_, _, verdict)| *verdict)
    }

    /// The results in which the second side is worse.
    pub fn worse(&self) -> impl Iterator<Item = &'static str> {
        self.rows
            .iter()
            .filter(|(measured, _, verdict)| {
                *verdict != Verdict::Equal && !measured.is_better(*verdict)
            })
            .map(|(measured, ..)| measured.label())
    }

    /// For people.
    pub fn text(&self) -> String {
        let [a, b] = &self.names;
        let mut out = format!("A: {a}\nB: {b}\n\n");
        let rows =
            self.rows.iter().map(|(measured, contrast, verdict)| (*measured, contrast, *verdict));
        table(rows).render(&mut out, false);
        let (unit, test, least) = (self.unit.name(), self.unit.test(), self.unit.least());
        let [of_a, of_b] = self.samples;
        let _ = writeln!(
            out,
            "\nMedians of {of_a} and {of_b} {unit}; ratio B/A with an interval that holds in \
             99 % of cases; permutation test of {test}, p < {SIGNIFICANCE:.4} is a difference."
        );
        if of_a.min(of_b) < least {
            let _ = writeln!(out, "Too few samples: a side needs {least} to show anything.");
        }
        for note in &self.notes {
            let _ = writeln!(out, "{note}");
        }
        let verdicts: Vec<_> = self.rows.iter().map(|&(one, _, verdict)| (one, verdict)).collect();
        let _ = writeln!(out, "Verdict: {}.", sentence(&verdicts));
        out
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(measured, contrast, verdict)| {
            (measured.key().to_owned(), contrast_json(contrast.as_ref(), *verdict))
        });
        serde_json::json!({
            "a": self.names[0], "b": self.names[1],
            "unit": self.unit, "samples_a": self.samples[0], "samples_b": self.samples[1],
            "results": rows.collect::<serde_json::Map<_, _>>(),
            "notes": self.notes,
        })
    }
}

/// The members of the JSON file that say what the load was.
const SETTINGS: [&str; 17] = [
    "connections",
    "pipelining",
    "connection_requests",
    "keys",
    "distribution",
    "mix",
    "read_through",
    "value_bytes",
    "path",
    "request_file",
    "request_order",
    "trace",
    "rate",
    "ramp",
    "verified",
    "threads",
    "planned",
];

/// Whether neither side lies wholly beyond the other.
fn overlap(a: &[f64], b: &[f64]) -> bool {
    let lowest = |side: &[f64]| side.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = |side: &[f64]| side.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    lowest(a) <= highest(b) && lowest(b) <= highest(a)
}

/// A line per result.
fn table<'a>(rows: impl Iterator<Item = (Measured, &'a Option<Contrast>, Verdict)>) -> Table {
    let mut table = Table::new(&["Stat", "A", "B", "B/A", "from", "to", "p", "B is"]);
    for (measured, contrast, verdict) in rows {
        let mut row = vec![measured.label().to_owned()];
        if let Some(Contrast { a, b, ratio, interval: (from, to), p }) = contrast {
            row.extend([*a, *b].map(|value| measured.shown(value)));
            row.extend([*ratio, *from, *to, *p].map(|number| format!("{number:.4}")));
            row.push(verdict.name().to_owned());
        } else {
            row.extend(["-"; 6].map(str::to_owned));
            row.push("unknown".to_owned());
        }
        table.row(row);
    }
    table
}

/// Which side is better in what.
fn sentence(rows: &[(Measured, Verdict)]) -> String {
    let names = |is_better: bool| {
        let labels: Vec<_> = rows
            .iter()
            .filter(|&&(one, verdict)| {
                verdict != Verdict::Equal && one.is_better(verdict) == is_better
            })
            .map(|&(one, _)| one.label())
            .collect();
        (!labels.is_empty()).then(|| labels.join(", "))
    };
    match (names(true), names(false)) {
        (None, None) => "no difference is shown".to_owned(),
        (Some(better), None) => format!("B is better in {better}"),
        (None, Some(worse)) => format!("B is worse in {worse}"),
        (Some(better), Some(worse)) => format!("B is better in {better} and worse in {worse}"),
    }
}

/// A result as a member of a JSON document; what is unknown or infinite is null.
fn contrast_json(contrast: Option<&Contrast>, verdict: Verdict) -> Value {
    let Some(Contrast { a, b, ratio, interval: (from, to), p }) = contrast else {
        return Value::Null;
    };
    serde_json::json!({
        "a": a, "b": b, "ratio": ratio, "ratio_low": from, "ratio_high": to, "p": p,
        "verdict": verdict.name(),
    })
}
