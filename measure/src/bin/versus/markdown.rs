//! The report.

use std::fmt::Write;

use measure::machine::Machine;

use crate::comparison::Results;
use crate::grid::Group;
use crate::results::{Cell, Sample, ratio, spread};

/// A server whose cores were busy for less than this share was not the limit.
const SATURATED: f64 = 0.95;

/// The whole report.
pub(crate) fn report(results: &Results, machine: &Machine) -> String {
    let mut out = String::from("# Comparison\n\n");
    out.push_str(&circumstances(results, machine));
    out.push_str("\n## Servers\n\n| server | version | |\n|---|---|---|\n");
    for server in &results.servers {
        line(
            &mut out,
            format_args!("| {} | {} | {} |", server.name, server.version, server.about()),
        );
    }
    out.push_str(READING);
    out.push_str(
        "\nThe bars add up the medians of kernel and user mode, so that their sums differ a little from \
         the medians in the tables.\n",
    );
    for (name, title) in [("cpu.svg", "CPU per request"), ("throughput.svg", "Throughput")] {
        line(&mut out, format_args!("\n![{title}]({name})"));
    }
    if !results.steps.is_empty() {
        out.push_str("\n![Latency against load](latency.svg)\n");
    }
    for group in results.groups() {
        line(&mut out, format_args!("\n## {}", capital(&group.to_string())));
        line(&mut out, format_args!("\nCPU per request, ns\n\n{}", cpu_table(results, group)));
        line(&mut out, format_args!("Requests per second\n\n{}", rate_table(results, group)));
    }
    if !results.steps.is_empty() {
        out.push_str(&latency_tables(results));
    }
    out
}

const READING: &str = "
The floor is corekv's event loop, which counts heads and answers with canned responses of the same length.
nginx, HAProxy and haterm store nothing: they give the same answer to every GET, and an empty one to every
POST.

Figures are medians over the rounds, with the range from the lowest to the highest. CPU is that of the server's
processes, in brackets the part in user mode. The ratio is the median of the ratios to the floor within a round.
The total is exact to about a percent of the time; the kernel samples how it divides into user mode and
kernel at each of its ticks. A rate with `*` is not the server's limit: its cores were busy for less than
95 % of the time, and the load generator or the depth was the limit.
";

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("text takes all that is written to it");
    out.push('\n');
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// When, on what, and how it was measured.
pub(crate) fn circumstances(results: &Results, machine: &Machine) -> String {
    let cores = |count: usize| if count == 1 { "1 core".into() } else { format!("{count} cores") };
    let hypervisor =
        machine.hypervisor.as_deref().map_or_else(String::new, |it| format!(" ({it})"));
    format!(
        "{}, commit {}, {} with {}{hypervisor}, Linux {}. {} for the server and {} for the load, {} connections, \
         {} keys, {} rounds of {} s each, {:.0} minutes in all.\n\n```sh\ncargo run --release -p measure --bin versus{}\n```\n",
        machine.date,
        machine.commit,
        machine.cpu,
        cores(machine.cores),
        machine.kernel,
        cores(results.server_cores),
        cores(results.load_cores),
        results.connections,
        grouped(results.keys as f64),
        results.rounds,
        results.seconds,
        (results.took.as_secs_f64() / 60.0).ceil(),
        if results.command.is_empty() { String::new() } else { format!(" -- {}", results.command) },
    )
}

/// CPU per request: servers against depths.
pub(crate) fn cpu_table(results: &Results, group: Group) -> String {
    let floor = results.server("floor");
    table(results, group, |cell, server| {
        let rounds = &cell.samples[server];
        let total = spread(rounds, |sample| sample.cpu_ns)?;
        let user = spread(rounds, |sample| sample.user_ns)?;
        let against = floor
            .filter(|&floor| floor != server)
            .and_then(|floor| ratio(rounds, &cell.samples[floor], |sample| sample.cpu_ns))
            .map_or_else(String::new, |ratio| format!(", {:.2} ×", ratio.median));
        Some(format!(
            "**{}** ({}){against}, {} to {}",
            grouped(total.median),
            grouped(user.median),
            grouped(total.min),
            grouped(total.max)
        ))
    })
}

fn rate_table(results: &Results, group: Group) -> String {
    table(results, group, |cell, server| {
        let rate = spread(&cell.samples[server], Sample::rate)?;
        let busy = spread(&cell.samples[server], |sample| sample.server_busy)?;
        let mark = if busy.median < SATURATED { "*" } else { "" };
        Some(format!(
            "**{}**{mark}, {} to {}",
            grouped(rate.median),
            grouped(rate.min),
            grouped(rate.max)
        ))
    })
}

fn table(
    results: &Results,
    group: Group,
    figure: impl Fn(&Cell, usize) -> Option<String>,
) -> String {
    let cells = results.of(group);
    let mut out = String::from("| server |");
    for cell in &cells {
        out.push_str(&format!(" depth {} |", cell.depth));
    }
    out.push_str(&format!("\n|---|{}\n", "---|".repeat(cells.len())));
    for server in results.present(&cells) {
        out.push_str(&format!("| {} |", results.servers[server].name));
        for cell in &cells {
            let text = figure(cell, server).unwrap_or_else(|| "–".to_owned());
            out.push_str(&format!(" {text} |"));
        }
        out.push('\n');
    }
    out
}

fn latency_tables(results: &Results) -> String {
    let mut out = String::from(
        "
## Latency against load

Requests come at random times (a Poisson process) whatever the server does, and latency counts from when a request
was due. Rates are shares of what each server reached with ten requests in flight per connection. Up to 64 are in
flight per connection here. Microseconds at 50 / 99 / 99.9 % and the longest, medians over the rounds; `–` where
more than 1 % of what was due could not be sent.

| server | rate at 100 % |",
    );
    for step in &results.steps {
        out.push_str(&format!(" {:.0} % |", step.share * 100.0));
    }
    out.push_str(&format!("\n|---|---|{}\n", "---|".repeat(results.steps.len())));
    for (server, about) in results.servers.iter().enumerate() {
        let first = &results.steps[0];
        let Some(rate) = spread(&first.samples[server], Sample::rate) else { continue };
        out.push_str(&format!("| {} | {} |", about.name, grouped(rate.median / first.share)));
        for step in &results.steps {
            let rounds = &step.samples[server];
            let behind = rounds.iter().flatten().any(Sample::fell_behind);
            let at = |which: usize| spread(rounds, |sample| sample.latency_us[which]);
            let text = match (behind, at(0), at(1), at(2), at(3)) {
                (false, Some(p50), Some(p99), Some(p999), Some(max)) => {
                    [p50, p99, p999, max].map(|it| grouped(it.median)).join(" / ")
                }
                _ => "–".to_owned(),
            };
            out.push_str(&format!(" {text} |"));
        }
        out.push('\n');
    }
    out
}

/// A whole number with commas.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
