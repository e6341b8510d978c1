//! The results as one page for a browser: tables and plots, drawn as SVG. Nothing is loaded from
//! anywhere, and the colours follow the reader's choice of light or dark.

use std::fmt::{Display, Write};

use hdrhistogram::Histogram;

use super::plot::{Line, Plot, Scale};
use super::report;
use super::series::{Point, Tail};
use super::summary::Summary;
use super::table::{self, bytes, time};

/// Lines per halving of the distance to 100 % in the percentile curve.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Colours are variables, so that one rule exchanges them all.
const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1a1a1a;--faint:#666;--rule:#d9d9d9;\
--a:#0b62c4;--b:#c2410c;--c:#15803d;--d:#9d174d}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e6e6;--faint:#a0a0a0;\
--rule:#33383d;--a:#6cb2ff;--b:#ff9a62;--c:#6ddc8b;--d:#ff8ec0}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;\
max-width:1100px;margin:2em auto;padding:0 1em}
h1{font-size:1.4em;margin-bottom:0}h2{font-size:1.05em;margin:1.8em 0 .3em}
p{margin:.3em 0}.faint{color:var(--faint)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.15em .9em;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{text-align:left;padding-left:0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:0 2em}
svg{width:100%;max-width:760px;height:auto;display:block}
svg text{fill:var(--faint);font:11px system-ui,sans-serif}
.grid{stroke:var(--rule);stroke-width:1}.line{fill:none;stroke-width:1.6}
.a{stroke:var(--a)}.b{stroke:var(--b)}.c{stroke:var(--c)}.d{stroke:var(--d)}
svg .ka{fill:var(--a)}svg .kb{fill:var(--b)}svg .kc{fill:var(--c)}svg .kd{fill:var(--d)}
details{margin-top:2em}pre{white-space:pre-wrap;font-size:13px}
";

/// The page.
pub fn render(summary: &Summary) -> String {
    let mut out = String::new();
    head(&mut out, summary);
    tails(&mut out, summary);
    out.push_str("<div class=\"plots\">\n");
    for (title, plot) in plots(summary) {
        let _ = write!(out, "<section><h2>{title}</h2>\n{}</section>\n", plot.svg());
    }
    out.push_str("</div>\n");
    let text = escaped(&report::render(summary, false));
    let _ = write!(out, "<details><summary>The whole report</summary><pre>{text}</pre></details>");
    frame(&summary.target, &out)
}

/// A page about a server.
pub(super) fn frame(target: &str, body: &str) -> String {
    let target = escaped(target);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>corekv-bench: {target}\
         </title>\n<style>\n{STYLE}</style></head><body>\n<h1>{target}</h1>\n{body}\n</body></html>\n"
    )
}

fn head(out: &mut String, summary: &Summary) {
    let workload = &summary.workload;
    let _ = write!(
        out,
        "<p class=\"faint\">{} with {} connections of {} requests in flight; keys below {}, {}, \
         seed {}; corekv-bench {}</p>\n<p><b>{:.0} requests/s</b>, {} errors, {} lost, {} other \
         than 2xx</p>\n",
        escaped(&summary.planned),
        summary.connections,
        summary.pipelining,
        workload.keys,
        workload.distribution,
        workload.seed,
        env!("CARGO_PKG_VERSION"),
        summary.requests_per_second(),
        summary.recorder.errors(),
        summary.recorder.lost,
        summary.non_2xx(),
    );
    let warnings = [
        summary.stopped_early.map(|reason| format!("Stopped early: {reason}.")),
        summary.disturbed().map(|share| {
            format!("Disturbed: a load thread waited for its core for {:.1} %.", share * 100.0)
        }),
    ];
    for warning in warnings.into_iter().flatten() {
        let _ = writeln!(out, "<p><b>{warning}</b></p>");
    }
}

fn tails(out: &mut String, summary: &Summary) {
    out.push_str("<h2>Latency</h2>\n<table><tr><th></th>");
    for title in ["50%", "90%", "95%", "99%", "99.9%", "99.99%", "max", "requests"] {
        let _ = write!(out, "<th>{title}</th>");
    }
    out.push_str("</tr>\n");
    let mut row = |name: &str, latency: &Histogram<u64>| {
        let _ = write!(out, "<tr><td>{name}</td>");
        for percentile in [50.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0] {
            let _ = write!(out, "<td>{}</td>", table::percentile(latency, percentile));
        }
        let _ = writeln!(out, "<td>{}</td></tr>", latency.len());
    };
    for (method, record, _) in summary.methods() {
        row(method.name(), &record.latency);
    }
    row("all", &summary.latencies());
    if let Some(probe) = &summary.probe {
        row("probe", &probe.latency);
    }
    out.push_str("</table>\n");
}

fn plots(summary: &Summary) -> Vec<(&'static str, Plot)> {
    let points = summary.series.as_slice();
    let line = |name, of: fn(&Point) -> Option<f64>| Line::new(name, &over_time(points, of));
    let errors = |point: &Point| Some(point.counts.errors as f64 / point.length.as_secs_f64());
    let received = |point: &Point| {
        let sum: u64 = point.counts.bytes.iter().sum();
        Some(sum as f64 / point.length.as_secs_f64())
    };
    let cores = vec![
        line("load generator", |point| Some(point.load_cores())),
        line("server", Point::server_cores),
    ];
    let rate = vec![line("requests/s", |point| Some(point.rate()))];
    vec![
        ("Latency over time", time_plot(Scale::Logarithmic, time, latencies(points))),
        ("Latency by percentile", percentile_curve(summary)),
        ("Requests per second", time_plot(Scale::Linear, short, rate)),
        ("Errors per second", time_plot(Scale::Linear, short, vec![line("errors/s", errors)])),
        ("Cores in use", time_plot(Scale::Linear, |cores| format!("{cores:.2}"), cores)),
        (
            "Bytes received per second",
            time_plot(Scale::Linear, bytes, vec![line("bytes/s", received)]),
        ),
    ]
}

fn over_time(points: &[Point], of: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
    points.iter().filter_map(|point| Some((point.at.as_secs_f64(), of(point)?))).collect()
}

fn time_plot(y: Scale, label: fn(f64) -> String, lines: Vec<Line>) -> Plot {
    let label_x = Box::new(|seconds| format!("{seconds} s"));
    Plot { x: Scale::Linear, y, label_x, label_y: Box::new(label), lines }
}

/// A line per percentile.
fn latencies(points: &[Point]) -> Vec<Line> {
    let line = |name, of: fn(&Tail) -> u64| {
        let latency = |point: &Point| point.latency.as_ref().map(|tail| of(tail) as f64);
        Line::new(name, &over_time(points, latency))
    };
    vec![
        line("50%", |tail| tail.p50),
        line("99%", |tail| tail.p99),
        line("99.9%", |tail| tail.p999),
        line("max", |tail| tail.max),
    ]
}

/// Latency against the distance to 100 %, in which every nine is as far from the last.
fn percentile_curve(summary: &Summary) -> Plot {
    let curve = |latency: &Histogram<u64>| {
        latency
            .iter_quantiles(TICKS_PER_HALF_DISTANCE)
            .filter(|step| step.quantile_iterated_to() < 1.0)
            .map(|step| {
                let distance = 1.0 / (1.0 - step.quantile_iterated_to());
                (distance, step.value_iterated_to() as f64)
            })
            .collect::<Vec<_>>()
    };
    let lines = summary
        .methods()
        .map(|(method, record, _)| Line::new(method.name(), &curve(&record.latency)))
        .collect();
    Plot {
        x: Scale::Logarithmic,
        y: Scale::Logarithmic,
        label_x: Box::new(percent),
        label_y: Box::new(time),
        lines,
    }
}

/// `90 %`, `99.9 %`: what lies as far from 100 % as one in so many.
fn percent(one_in: f64) -> String {
    let nines = one_in.log10().round().max(0.0) as usize;
    let share = 100.0 - 100.0 / 10_f64.powi(nines as i32);
    format!("{share:.*} %", nines.saturating_sub(2))
}

/// `1.5M`, `20k`, `7`.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{unit}", (scaled * 100.0).round() / 100.0)
}

/// Text that means itself in HTML.
pub(super) fn escaped(text: &(impl Display + ?Sized)) -> String {
    text.to_string()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short() {
        assert_eq!([percent(1.0), percent(10.0), percent(100.0)], ["0 %", "90 %", "99 %"]);
        assert_eq!([percent(1e3), percent(1e4)], ["99.9 %", "99.99 %"]);
        let labels = [short(0.0), short(999.0), short(1500.0), short(1_324_044.0), short(2e9)];
        assert_eq!(labels, ["0", "999", "1.5k", "1.32M", "2G"]);
    }

    #[test]
    fn what_the_user_wrote_is_text() {
        assert_eq!(escaped(&"<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
