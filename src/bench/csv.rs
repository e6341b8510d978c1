//! The results as CSV: a line per method and one for all of them.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::report::all_latencies;
use super::summary::Summary;

/// The names of the columns.
pub const HEADER: &str = "method,requests,requests_per_second,2xx,non_2xx,hits,misses,errors,\
                          timeouts,bytes,mean_us,stdev_us,p50_us,p90_us,p99_us,p999_us,p9999_us,\
                          max_us";

/// The header and the lines.
pub fn render(summary: &Summary) -> String {
    let mut out = format!("{HEADER}\n");
    let seconds = summary.elapsed.as_secs_f64().max(1e-9);
    let mut totals = [0; 8];
    for (method, record, _) in summary.methods() {
        let counts = [
            record.answered,
            record.ok(),
            record.non_2xx(),
            record.hits,
            record.misses,
            record.unanswered,
            record.timeouts,
            record.bytes,
        ];
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
        line(&mut out, method.key(), counts, seconds, &record.latency);
    }
    line(&mut out, "all", totals, seconds, &all_latencies(summary));
    out
}

fn line(out: &mut String, name: &str, counts: [u64; 8], seconds: f64, latency: &Histogram<u64>) {
    let _ = write!(out, "{name},{},{:.1}", counts[0], counts[0] as f64 / seconds);
    for count in &counts[1..] {
        let _ = write!(out, ",{count}");
    }
    let us = |ns: f64| ns / 1000.0;
    let _ = write!(out, ",{:.3},{:.3}", us(latency.mean()), us(latency.stdev()));
    for percentile in [50.0, 90.0, 99.0, 99.9, 99.99] {
        let _ = write!(out, ",{:.3}", us(latency.value_at_percentile(percentile) as f64));
    }
    let _ = writeln!(out, ",{:.3}", us(latency.max() as f64));
}
