//! `corekv-bench merge`: the result of several load generators that ran at the same time.
//!
//! Latencies are added up as histograms, so that the percentiles are those of all requests. Rates are
//! added up as well, which is right as far as the runs overlap.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::error::Error;
use super::hdrlog::{self, Counts, Interval, Log};
use super::json;
use super::recorder::latency_histogram;
use super::table::{self, Table, time};

/// Logs that are merged at most.
const LOGS_MAX: usize = 1000;

/// Runs whose beginnings or ends are further apart than this share of the longest did not run at the
/// same time.
const APART: f64 = 0.05;

/// Several logs as one.
#[derive(Debug)]
pub struct Merged {
    runs: Vec<Run>,
    intervals: Vec<Interval>,
    counts: Counts,
    disturbed: usize,
    begin: Duration,
    end: Duration,
    /// The largest distance of two beginnings or of two ends.
    apart: Duration,
}

#[derive(Debug)]
struct Run {
    name: String,
    target: String,
    begin: Duration,
    length: Duration,
    requests: u64,
    errors: u64,
}

impl Run {
    fn rate(&self) -> f64 {
        self.requests as f64 / self.length.as_secs_f64().max(1e-9)
    }
}

impl Merged {
    /// Reads the logs and adds them up.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        if paths.len() > LOGS_MAX {
            return Err(Error::usage(format!("more than {LOGS_MAX} logs")));
        }
        let mut merged = Self {
            runs: Vec::new(),
            intervals: Vec::new(),
            counts: Counts::default(),
            disturbed: 0,
            begin: Duration::MAX,
            end: Duration::ZERO,
            apart: Duration::ZERO,
        };
        let (mut latest_begin, mut earliest_end) = (Duration::ZERO, Duration::MAX);
        for path in paths {
            let log = Log::read(path)?;
            (merged.begin, merged.end) = (merged.begin.min(log.begin), merged.end.max(log.end));
            latest_begin = latest_begin.max(log.begin);
            earliest_end = earliest_end.min(log.end);
            merged.add(path, &log)?;
        }
        let of_ends = merged.end.saturating_sub(earliest_end);
        merged.apart = latest_begin.saturating_sub(merged.begin).max(of_ends);
        Ok(merged)
    }

    fn add(&mut self, path: &Path, log: &Log) -> Result<(), Error> {
        for Interval { tag, latency } in &log.intervals {
            hdrlog::add(&mut self.intervals, tag, latency)
                .map_err(|why| Error::usage(format!("{}: {why}", path.display())))?;
        }
        let Counts { target, errors, non_2xx, lost, wrong_values, never_sent, disturbed } =
            &log.counts;
        self.counts.errors += errors;
        self.counts.non_2xx += non_2xx;
        self.counts.lost += lost;
        self.counts.wrong_values += wrong_values;
        self.counts.never_sent += never_sent;
        self.counts.disturbed |= disturbed;
        self.disturbed += usize::from(*disturbed);
        self.runs.push(Run {
            name: path.display().to_string(),
            target: target.clone(),
            begin: log.begin,
            length: log.end.saturating_sub(log.begin),
            requests: log.intervals.iter().map(|interval| interval.latency.len()).sum(),
            errors: *errors,
        });
        Ok(())
    }

    /// The latencies of all requests.
    pub fn latency(&self) -> Histogram<u64> {
        let mut all = latency_histogram();
        for interval in &self.intervals {
            // All have the same bounds, so the counts always fit.
            all.add(&interval.latency).expect("equal bounds");
        }
        all
    }

    fn rate(&self) -> f64 {
        self.runs.iter().map(Run::rate).sum()
    }

    fn are_apart(&self) -> bool {
        let longest = self.runs.iter().map(|run| run.length).max().unwrap_or_default();
        self.apart > longest.mul_f64(APART)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut table =
            Table::new(&["Run", "Server", "Begin", "Length", "Requests", "Req/Sec", "Errors"]);
        for run in &self.runs {
            let late = run.begin.saturating_sub(self.begin).as_nanos() as f64;
            table.row(vec![
                run.name.clone(),
                run.target.clone(),
                format!("+{}", time(late)),
                time(run.length.as_nanos() as f64),
                run.requests.to_string(),
                format!("{:.0}", run.rate()),
                run.errors.to_string(),
            ]);
        }
        table.render(&mut out, false);
        out.push('\n');
        let titles = ["Stat", "50%", "90%", "99%", "99.9%", "99.99%", "Max", "Requests"];
        let mut table = Table::new(&titles);
        let all = self.latency();
        let named = self.intervals.iter().map(|one| (one.tag.to_uppercase(), &one.latency));
        for (name, latency) in named.chain([("all".to_owned(), &all)]) {
            let percentiles = [50.0, 90.0, 99.0, 99.9, 99.99, 100.0];
            let mut row = vec![name];
            row.extend(percentiles.map(|percent| table::percentile(latency, percent)));
            row.push(latency.len().to_string());
            table.row(row);
        }
        table.render(&mut out, false);
        let Counts { errors, non_2xx, lost, wrong_values, never_sent, .. } = &self.counts;
        let _ =
            writeln!(out, "\n{:.0} requests/s of {} runs together.", self.rate(), self.runs.len());
        let _ = writeln!(
            out,
            "{errors} errors, {non_2xx} other than 2xx, {lost} lost, {wrong_values} wrong values, \
             {never_sent} never sent."
        );
        if self.are_apart() {
            let _ = writeln!(
                out,
                "Not at the same time: beginnings or ends are {} apart, and the sum of the rates was \
                 never there.",
                time(self.apart.as_nanos() as f64)
            );
        }
        if self.disturbed > 0 {
            let _ = writeln!(out, "{} of the runs were disturbed.", self.disturbed);
        }
        out
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            json!({
                "name": run.name, "target": run.target, "begin_unix_s": run.begin.as_secs_f64(),
                "seconds": run.length.as_secs_f64(), "requests": run.requests,
                "requests_per_second": run.rate(), "errors": run.errors,
            })
        });
        let all = self.latency();
        let Counts { errors, non_2xx, lost, wrong_values, never_sent, .. } = &self.counts;
        let mut document = json!({
            "schema": json::SCHEMA,
            "runs": runs.collect::<Vec<_>>(),
            "requests": all.len(),
            "requests_per_second": self.rate(),
            "apart_s": self.apart.as_secs_f64(),
            "at_the_same_time": !self.are_apart(),
            "errors": errors, "non_2xx": non_2xx, "lost": lost, "wrong_values": wrong_values,
            "never_sent": never_sent, "disturbed_runs": self.disturbed,
            "all": json::latency_value(&all),
        });
        for Interval { tag, latency } in &self.intervals {
            if document[tag].is_null() {
                document[tag] = json::latency_value(latency);
            }
        }
        document
    }

    /// As a log, to be merged again.
    pub fn log(&self) -> String {
        let latencies = self.intervals.iter().map(|one| (one.tag.as_str(), &one.latency));
        hdrlog::write(&self.counts, self.begin, self.end.saturating_sub(self.begin), latencies)
    }

    /// Why the runs were no good, in words.
    pub fn faults(&self) -> Vec<String> {
        let Counts { errors, lost, wrong_values, .. } = &self.counts;
        [(errors, "errors"), (lost, "lost values"), (wrong_values, "wrong values")]
            .into_iter()
            .filter(|(count, _)| **count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .chain(self.are_apart().then(|| "the runs were not at the same time".to_owned()))
            .chain((self.disturbed > 0).then(|| format!("{} disturbed runs", self.disturbed)))
            .collect()
    }
}
