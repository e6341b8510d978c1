//! The report: the original's blocks first, so that old results can be laid beside new ones, and
//! then what the original lacked.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::embedded::Removed;
use super::error::Failure;
use super::method::Method;
use super::recorder::MethodRecord;
use super::series::Rates;
use super::summary::{Limit, Opening, Probed, Summary};
use super::table::{self, Table, big, bytes, paint, time};
use super::template::Template;
use super::workload::Workload;

/// Columns of the longest bar in the histogram.
const BAR_COLUMNS: usize = 40;

const RED: &str = "\x1b[1;31m";

/// The whole report.
pub fn render(summary: &Summary, color: bool) -> String {
    let mut out = String::new();
    header(&mut out, summary);
    for (method, record, rates) in summary.methods() {
        method_block(&mut out, summary, method, record, rates, color);
    }
    out.push_str("Done!\n");
    tails(&mut out, summary, color);
    histogram(&mut out, summary);
    outcome(&mut out, summary, color);
    threads(&mut out, summary);
    limit(&mut out, summary);
    opening(&mut out, summary);
    probe(&mut out, summary);
    checks(&mut out, summary, color);
    ramp(&mut out, summary);
    out
}

fn header(out: &mut String, summary: &Summary) {
    let Summary { planned, target, connections, pipelining, workload, .. } = summary;
    let Workload { keys, distribution, seed, .. } = workload;
    let _ = writeln!(out, "running {planned} test @ {target}");
    let _ = writeln!(out, "{connections} connections with {pipelining} pipelining factor.");
    if let Some(trace) = &summary.trace {
        let _ = writeln!(out, "Replayed {trace}.");
    } else if summary.request_file.is_none() {
        let _ = writeln!(
            out,
            "Generated random int as needed, with range [0, {keys}), {distribution}, seed {seed}."
        );
    }
    if let Some(file) = &summary.request_file {
        let (path, count, order) = (file.path.display(), file.count(), file.order.key());
        let _ = writeln!(out, "Requests of {path}: {count}, order {order}.");
    } else if summary.path != Template::key_path().to_string() {
        let _ = writeln!(out, "Path {}.", summary.path);
    }
    if let Some((stored, elapsed)) = summary.preload {
        let _ = writeln!(out, "Stored {stored} keys first, in {:.2} s.", elapsed.as_secs_f64());
    }
    if let Some(reason) = summary.stopped_early {
        let _ = writeln!(out, "Stopped early: {reason}.");
    }
}

/// What the original prints for GET and for POST.
fn method_block(
    out: &mut String,
    summary: &Summary,
    method: Method,
    record: &MethodRecord,
    rates: &Rates,
    color: bool,
) {
    let kind = if method.is_read() { "Read" } else { "Write" };
    let _ = writeln!(out, "\n---------- {kind}/{} ----------\n", method.name());
    latency_table(&record.latency).render(out, color);
    out.push('\n');
    rate_table(rates).render(out, color);
    out.push_str("\nReq/Bytes counts sampled once per second.\n\n");
    let non_2xx = record.non_2xx();
    let _ = writeln!(out, "{} 2xx responses, {non_2xx} non 2xx responses.", record.ok());
    let _ = writeln!(
        out,
        "{} total requests in {} seconds, {} read for {}.",
        big(record.answered),
        seconds(summary.elapsed.as_secs_f64()),
        bytes(record.bytes as f64),
        method.name()
    );
    if record.unanswered > 0 {
        let _ = writeln!(
            out,
            "{} total errors ({} timeouts).",
            big(record.unanswered),
            big(record.timeouts)
        );
    }
    out.push('\n');
}

fn latency_table(latency: &Histogram<u64>) -> Table {
    let mut table = Table::new(&["Stat", "2.5%", "50%", "97.5%", "99%", "Avg", "Stdev", "Max"]);
    let mut row = vec!["Latency".to_owned()];
    row.extend([2.5, 50.0, 97.5, 99.0].map(|percent| table::percentile(latency, percent)));
    let others = [latency.mean(), latency.stdev(), latency.max() as f64];
    row.extend(others.map(|ns| table::latency(latency, ns)));
    table.row(row);
    table
}

fn rate_table(rates: &Rates) -> Table {
    let mut table = Table::new(&["Stat", "1%", "2.5%", "50%", "97.5%", "Avg", "Stdev", "Min"]);
    let percentiles = [1.0, 2.5, 50.0, 97.5];
    let mut row = vec!["Req/Sec".to_owned()];
    row.extend(percentiles.map(|p| rates.requests.percentile(p).to_string()));
    row.extend([rates.requests.mean(), rates.requests.stdev()].map(|value| format!("{value:.2}")));
    row.push(rates.requests.min().to_string());
    table.row(row);
    let mut row = vec!["Bytes/Sec".to_owned()];
    row.extend(percentiles.map(|p| bytes(rates.bytes.percentile(p) as f64)));
    row.extend([rates.bytes.mean(), rates.bytes.stdev(), rates.bytes.min() as f64].map(bytes));
    table.row(row);
    table
}

fn tails(out: &mut String, summary: &Summary, color: bool) {
    out.push_str("\n---------- Tail ----------\n\n");
    let mut table =
        Table::new(&["Stat", "50%", "90%", "99%", "99.9%", "99.99%", "Max", "Requests"]);
    let mut add = |name: &str, latency: &Histogram<u64>| {
        let mut row = vec![name.to_owned()];
        let percents = [50.0, 90.0, 99.0, 99.9, 99.99, 100.0];
        row.extend(percents.map(|percent| table::percentile(latency, percent)));
        row.push(latency.len().to_string());
        table.row(row);
    };
    for (method, record, _) in summary.methods() {
        add(method.name(), &record.latency);
    }
    add("all", &summary.latencies());
    table.render(out, color);
}

/// Bars for the latencies of all methods, in steps of 1, 2, 5.
fn histogram(out: &mut String, summary: &Summary) {
    let all = summary.latencies();
    if all.is_empty() {
        return;
    }
    out.push_str("\nLatency of all requests\n");
    let mut rows: Vec<(u64, u64)> = Vec::new();
    let mut limits = steps();
    for recorded in all.iter_recorded() {
        // What the histogram cannot tell apart counts as the least of it, so that a latency of
        // exactly a limit is within the limit.
        let value = all.lowest_equivalent(recorded.value_iterated_to());
        while rows.last().is_none_or(|row| row.0 < value) {
            let Some(limit) = limits.next() else { break };
            rows.push((limit, 0));
        }
        if let Some(row) = rows.last_mut() {
            row.1 += recorded.count_since_last_iteration();
        }
    }
    let first = rows.iter().position(|row| row.1 > 0).unwrap_or(0);
    let most = rows.iter().map(|row| row.1).max().unwrap_or(1);
    for &(high, count) in &rows[first..] {
        let share = 100.0 * count as f64 / all.len() as f64;
        let limit = format!("<= {}", time(high as f64));
        let _ = writeln!(out, "{limit:>11} {:<BAR_COLUMNS$} {share:6.2} %", bar(count, most));
    }
}

/// 1, 2, 5, 10, … µs in nanoseconds, up to hours.
fn steps() -> impl Iterator<Item = u64> {
    (3..14).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
}

/// A bar in eighths of a column; whatever is there at all is seen.
fn bar(count: u64, most: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let exact = count as f64 / most as f64 * (BAR_COLUMNS * 8) as f64;
    let eighths = (exact.round() as usize).max(usize::from(count > 0));
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

/// Hits and misses, and what went wrong.
fn outcome(out: &mut String, summary: &Summary, color: bool) {
    let recorder = &summary.recorder;
    let reads: Vec<_> = summary.methods().filter(|(method, ..)| method.is_read()).collect();
    let hits: u64 = reads.iter().map(|(_, record, _)| record.hits).sum();
    let misses: u64 = reads.iter().map(|(_, record, _)| record.misses).sum();
    let _ = write!(out, "\n{:.0} requests/s. ", summary.requests_per_second());
    if !summary.is_key_value {
        let _ = write!(out, "{} refused", recorder.refused);
    } else if summary.loss_checked {
        let _ = write!(out, "{hits} hits, {misses} misses, ");
        let lost = format!("{} lost", recorder.lost);
        out.push_str(&paint(&lost, RED, color && recorder.lost > 0));
    } else {
        let _ = write!(out, "{hits} hits, {misses} misses, loss not checked");
    }
    out.push_str(".\n");
    if let Some(pace) = summary.pace {
        let _ = writeln!(
            out,
            "Rate asked for: {pace}. {} requests of the schedule were not sent in time.",
            summary.behind
        );
    }
    if !recorder.statuses.is_empty() {
        let mut statuses = recorder.statuses.clone();
        statuses.sort_unstable();
        let list: Vec<_> =
            statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let _ = writeln!(out, "Statuses other than 2xx: {}.", list.join(", "));
    }
    connection_errors(out, summary, color);
    if summary.verified {
        let violations = &recorder.violations;
        let line = format!("{} wrong values.\n", violations.count);
        out.push_str(&paint(&line, RED, color && violations.count > 0));
        for example in &violations.examples {
            let _ = writeln!(out, "  {example}");
        }
    }
}

fn connection_errors(out: &mut String, summary: &Summary, color: bool) {
    let recorder = &summary.recorder;
    let kinds: Vec<_> = Failure::ALL
        .iter()
        .zip(recorder.failures)
        .filter(|&(_, count)| count > 0)
        .map(|(kind, count)| match (kind, recorder.garbage) {
            (Failure::Garbage, Some(why)) => format!("{count} {} ({why})", kind.label()),
            _ => format!("{count} {}", kind.label()),
        })
        .collect();
    if !kinds.is_empty() {
        let line = format!("Connection errors: {}.\n", kinds.join(", "));
        out.push_str(&paint(&line, RED, color));
    }
    if recorder.reopened > 0 {
        let _ = writeln!(out, "{} connections were opened again.", recorder.reopened);
    }
}

/// Requests and CPU time per load thread and per server thread.
fn threads(out: &mut String, summary: &Summary) {
    let elapsed = summary.elapsed.as_secs_f64().max(1e-9);
    out.push('\n');
    for (index, thread) in summary.load.iter().enumerate() {
        let core = thread.core.map_or_else(String::new, |core| format!(" on core {core}"));
        let _ = write!(out, "load thread {index}{core}: ");
        let _ = write!(out, "{} requests, ", thread.answered);
        let _ = write!(out, "{:.0}/s, ", thread.answered as f64 / elapsed);
        usage(out, thread.cpu_ns, thread.busy, elapsed);
    }
    for thread in summary.server.iter().flat_map(|server| &server.threads) {
        let requests = summary.server.as_ref().and_then(|server| server.requests_of(thread));
        let _ = write!(out, "server thread {}: ", thread.name);
        if let Some(requests) = requests {
            let _ = write!(out, "{requests} requests, {:.0}/s, ", requests as f64 / elapsed);
        }
        let busy = thread.usage.busy(summary.elapsed.as_nanos() as u64);
        usage(out, thread.usage.cpu_ns, busy, elapsed);
    }
    let Some(cost) = summary.load_cpu_per_request() else { return };
    let _ = write!(out, "CPU per request: load generator {}", time(cost));
    if let Some(cost) = summary.server_cpu_per_request() {
        let _ = write!(out, ", server {}", time(cost));
    }
    out.push('\n');
}

fn usage(out: &mut String, cpu_ns: u64, busy: f64, elapsed: f64) {
    let cpu = cpu_ns as f64 / elapsed / 1e7;
    let _ = writeln!(out, "CPU {cpu:.0} %, busy {:.0} %", (busy * 100.0).min(100.0));
}

fn limit(out: &mut String, summary: &Summary) {
    out.push_str(match summary.limit() {
        Limit::LoadGenerator => "The load generator, not the server, was the limit.\n",
        Limit::Server => "The server, not the load generator, was the limit.\n",
        Limit::Both => "Both the server and the load generator were saturated.\n",
        Limit::Neither => {
            "Neither side was saturated: latency and the number of requests in flight were the \
             limit.\n"
        }
        Limit::Rate => {
            "The rate that was asked for was kept (load threads spin between requests).\n"
        }
        Limit::NotLoadGenerator => "The load generator was not the limit.\n",
    });
}

/// What connecting took, which no latency contains.
fn opening(out: &mut String, summary: &Summary) {
    let Opening { opened, elapsed } = summary.opening;
    let _ = write!(out, "Opened {opened} connections in {}", time(elapsed.as_nanos() as f64));
    let connects = &summary.recorder.connects.0;
    if !connects.is_empty() {
        let at = |percentile| time(connects.value_at_percentile(percentile) as f64);
        let _ = write!(out, "; connecting took {} (50%), {} (99%)", at(50.0), at(99.0));
        let _ = write!(out, ", {} (max)", time(connects.max() as f64));
    }
    out.push_str(".\n");
    let handshakes = &summary.recorder.handshakes.0;
    if let Some(tls) = &summary.tls {
        let at = |percentile| time(handshakes.value_at_percentile(percentile) as f64);
        let _ = writeln!(
            out,
            "{tls}: the handshake took {} (50%), {} (99%), {} (max) after that.",
            at(50.0),
            at(99.0),
            time(handshakes.max() as f64)
        );
    }
}

/// What a client saw that did not load the server.
fn probe(out: &mut String, summary: &Summary) {
    let Some(Probed { rate, latency, errors, behind, waited_ns }) = &summary.probe else { return };
    let at = |percent| table::percentile(latency, percent);
    let _ = write!(out, "Probe: {rate}/s over a connection of its own: ");
    let _ = write!(out, "{} (50%), {} (99%), {} (99.9%)", at(50.0), at(99.0), at(99.9));
    let _ = write!(out, ", {} (max); {} requests, {errors} errors", at(100.0), latency.len());
    let _ = writeln!(
        out,
        ", {behind} never sent; its thread waited for a core for {} in all.",
        time(*waited_ns as f64)
    );
}

/// What says whether the numbers are to be believed.
fn checks(out: &mut String, summary: &Summary, color: bool) {
    if let Some(expected) = summary.mean_by_littles_law() {
        let in_flight = summary.in_flight_max();
        let _ = writeln!(
            out,
            "Little's law: {in_flight} requests in flight at {:.0}/s make a mean of {}; measured {}.",
            summary.requests_per_second(),
            time(expected),
            time(summary.latencies().mean())
        );
    }
    if summary.recorder.lost > 0 {
        lost(out, summary);
    }
    if let Some(share) = summary.server_waited() {
        let percent = share * 100.0;
        let _ = writeln!(
            out,
            "A thread of the server waited for its core for {percent:.1} % of the time."
        );
    }
    if let Some(share) = summary.disturbed() {
        let line = format!(
            "Disturbed: a load thread waited for its core for {:.1} % of the time, and that is in \
             the latencies.\n",
            share * 100.0
        );
        out.push_str(&paint(&line, RED, color));
    }
}

/// How far up a ramp the answers followed.
fn ramp(out: &mut String, summary: &Summary) {
    if summary.ramp_ends().is_none() {
        return;
    }
    match summary.fell_behind() {
        Some((asked, answered)) => {
            let _ = writeln!(
                out,
                "Ramp: the answers fell behind when {asked:.0}/s were asked for and {answered:.0}/s \
                 came."
            );
        }
        None => out.push_str("Ramp: the answers kept up with the rate to its end.\n"),
    }
}

/// What else than a fault makes a server lose values.
fn lost(out: &mut String, summary: &Summary) {
    out.push_str(
        "Lost: a key that had been stored was not found. A server that is full evicts keys, and \
         one with a time to live expires them: both look like this.\n",
    );
    let removed = summary.server.as_ref().and_then(|server| server.removed);
    if let Some(Removed { evicted, expired }) = removed {
        let _ =
            writeln!(out, "The server says that it evicted {evicted} and expired {expired} keys.");
    }
}

/// `30` or `0.50`.
fn seconds(value: f64) -> String {
    if (value - value.round()).abs() < 0.05 && value >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
