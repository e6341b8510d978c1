//! The results as CSV: a line per method and one for all of them, or a line per second.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::series::{Point, Tail};
use super::summary::Summary;

/// The names of the columns. What there is no sample of is empty.
pub const HEADER: &str = "method,requests,requests_per_second,2xx,non_2xx,hits,misses,errors,\
                          timeouts,bytes,mean_us,stdev_us,p50_us,p90_us,p99_us,p999_us,p9999_us,\
                          max_us";

/// The names of the columns of the series. What there is no sample of is empty.
pub const SERIES_HEADER: &str = "end_s,seconds,requests_per_second,bytes_per_second,errors,p50_us,\
                                 p90_us,p99_us,p999_us,max_us,load_cores,server_cores";

/// The header and a line per point.
pub fn render_series(points: &[Point]) -> String {
    let mut out = format!("{SERIES_HEADER}\n");
    for point in points {
        let Point { at, length, counts, latency } = point;
        let seconds = length.as_secs_f64();
        let bytes = counts.bytes.iter().sum::<u64>() as f64 / seconds;
        let (at, rate, errors) = (at.as_secs_f64(), point.rate(), counts.errors);
        let _ = write!(out, "{at:.3},{seconds:.3},{rate:.1},{bytes:.1},{errors}");
        match latency {
            Some(Tail { p50, p90, p99, p999, max }) => {
                for ns in [p50, p90, p99, p999, max] {
                    let _ = write!(out, ",{:.3}", *ns as f64 / 1000.0);
                }
            }
            None => out.push_str(",,,,,"),
        }
        let server = point.server_cores().map_or_else(String::new, |cores| format!("{cores:.3}"));
        let _ = writeln!(out, ",{:.3},{server}", point.load_cores());
    }
    out
}

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
    line(&mut out, "all", totals, seconds, &summary.latencies());
    out
}

fn line(out: &mut String, name: &str, counts: [u64; 8], seconds: f64, latency: &Histogram<u64>) {
    let _ = write!(out, "{name},{},{:.1}", counts[0], counts[0] as f64 / seconds);
    for count in &counts[1..] {
        let _ = write!(out, ",{count}");
    }
    let percents = [50.0, 90.0, 99.0, 99.9, 99.99, 100.0];
    let at = percents.map(|percent| latency.value_at_percentile(percent) as f64);
    for ns in [latency.mean(), latency.stdev()].into_iter().chain(at) {
        out.push(',');
        if !latency.is_empty() {
            let _ = write!(out, "{:.3}", ns / 1000.0);
        }
    }
    out.push('\n');
}
