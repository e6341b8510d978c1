//! `--metrics ADDR`: what goes on in the run, for Prometheus.
//!
//! The main thread renders the page about once per second from what it collects anyway; a thread of
//! its own serves that page, one client at a time. The load threads know nothing of it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::error::Error;
use super::method::Method;
use super::series::{Counts, Point, Tail};

/// The longest request head, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// How long a client may take for its request, and for taking the answer. The next client waits for
/// this long at most.
const CLIENT_TIME_MAX: Duration = Duration::from_secs(1);

/// The upper ends of the buckets of the histogram, in nanoseconds: 1, 2, 5 per decade from 10 µs to
/// 10 s.
fn buckets() -> impl Iterator<Item = u64> {
    let steps = (4..10).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    steps.chain([10_000_000_000])
}

/// The page, which is rendered by one thread and served by another.
#[derive(Debug, Clone, Default)]
pub(super) struct Page(Arc<Mutex<String>>);

impl Page {
    /// Serves a page at this address until the process ends. Returns where that is.
    pub(super) fn serve(address: &str) -> Result<(Self, SocketAddr), Error> {
        let failed = |error: io::Error| Error::failed(format!("--metrics {address}: {error}"));
        let listener = TcpListener::bind(address).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let page = Self::default();
        let served = page.clone();
        std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    // A client that goes away or is too slow gets nothing, and the next one is served.
                    let _ = served.answer(stream);
                }
            })
            .map_err(failed)?;
        Ok((page, local))
    }

    /// Replaces the page.
    pub(super) fn publish(&self, text: String) {
        if let Ok(mut page) = self.0.lock() {
            *page = text;
        }
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let is_metrics = read_head(&mut stream)?;
        stream.set_write_timeout(Some(CLIENT_TIME_MAX))?;
        let (status, body) = match is_metrics {
            true => ("200 OK", self.0.lock().map(|page| page.clone()).unwrap_or_default()),
            false => ("404 Not Found", "the page is /metrics\n".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())
    }
}

/// Reads a request, and returns whether it asks for the page.
fn read_head(stream: &mut TcpStream) -> io::Result<bool> {
    let deadline = Instant::now() + CLIENT_TIME_MAX;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => head.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(head.starts_with(b"GET /metrics ") || head.starts_with(b"GET /metrics?"))
}

/// What a page is made from: counts since the phase began, its latencies, and the last second.
pub(super) struct Look<'a> {
    /// What the phase is called.
    pub(super) phase: &'a str,
    /// What was counted.
    pub(super) counts: &'a Counts,
    /// The latencies of all methods.
    pub(super) latency: &'a Histogram<u64>,
    /// The last second whose latencies are known.
    pub(super) last: Option<&'a Point>,
}

impl Look<'_> {
    /// The page in Prometheus' text format.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        family(&mut out, "phase_info", "gauge", "What the load generator is doing.");
        let _ = writeln!(out, "corekv_bench_phase_info{{phase=\"{}\"}} 1", escaped(self.phase));
        family(&mut out, "requests_total", "counter", "Answers in this phase.");
        for (method, count) in Method::ALL.iter().zip(self.counts.requests) {
            let name = method.key();
            let _ = writeln!(out, "corekv_bench_requests_total{{method=\"{name}\"}} {count}");
        }
        family(&mut out, "received_bytes_total", "counter", "Bytes of the answers in this phase.");
        for (method, count) in Method::ALL.iter().zip(self.counts.bytes) {
            let name = method.key();
            let _ = writeln!(out, "corekv_bench_received_bytes_total{{method=\"{name}\"}} {count}");
        }
        let help = "Requests without answer and connections that could not be opened.";
        family(&mut out, "errors_total", "counter", help);
        let _ = writeln!(out, "corekv_bench_errors_total {}", self.counts.errors);
        let help = "CPU time of the load threads.";
        family(&mut out, "load_cpu_seconds_total", "counter", help);
        let seconds = self.counts.load_cpu_ns as f64 / 1e9;
        let _ = writeln!(out, "corekv_bench_load_cpu_seconds_total {seconds}");
        self.second(&mut out);
        self.histogram(&mut out);
        out
    }

    fn second(&self, out: &mut String) {
        let Some(point) = self.last else { return };
        family(out, "requests_per_second", "gauge", "Answers in the last second.");
        let _ = writeln!(out, "corekv_bench_requests_per_second {:.1}", point.rate());
        let Some(Tail { p50, p90, p99, p999, max }) = point.latency else { return };
        family(out, "second_latency_seconds", "gauge", "Latencies of the last second.");
        for (quantile, ns) in
            [("0.5", p50), ("0.9", p90), ("0.99", p99), ("0.999", p999), ("1", max)]
        {
            let seconds = ns as f64 / 1e9;
            let _ = writeln!(
                out,
                "corekv_bench_second_latency_seconds{{quantile=\"{quantile}\"}} {seconds}"
            );
        }
    }

    fn histogram(&self, out: &mut String) {
        family(out, "latency_seconds", "histogram", "Latencies in this phase.");
        for end in buckets() {
            let count = self.latency.count_between(0, end);
            let end = end as f64 / 1e9;
            let _ = writeln!(out, "corekv_bench_latency_seconds_bucket{{le=\"{end}\"}} {count}");
        }
        let count = self.latency.len();
        let sum = self.latency.mean() * count as f64 / 1e9;
        let _ = writeln!(out, "corekv_bench_latency_seconds_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "corekv_bench_latency_seconds_sum {sum}");
        let _ = writeln!(out, "corekv_bench_latency_seconds_count {count}");
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP corekv_bench_{name} {help}\n# TYPE corekv_bench_{name} {kind}");
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::latency_histogram;

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let mut latency = latency_histogram();
        for ns in [9_000, 15_000, 15_000, 30_000_000_000] {
            latency.record(ns).unwrap();
        }
        let look =
            Look { phase: "a \"b\"", counts: &Counts::default(), latency: &latency, last: None };
        let text = look.render();
        for line in [
            "corekv_bench_phase_info{phase=\"a \\\"b\\\"\"} 1",
            "corekv_bench_latency_seconds_bucket{le=\"0.00001\"} 1",
            "corekv_bench_latency_seconds_bucket{le=\"0.00002\"} 3",
            "corekv_bench_latency_seconds_bucket{le=\"10\"} 3",
            "corekv_bench_latency_seconds_bucket{le=\"+Inf\"} 4",
            "corekv_bench_latency_seconds_count 4",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
    }
}
