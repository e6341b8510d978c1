//! Latency against load: what a sweep measured, as text, as JSON and as a page.

use std::fmt::Write;

use serde_json::{Value, json};

use super::html::{escaped, frame, short};
use super::json;
use super::output::Results;
use super::plot::{Line, Plot, Scale};
use super::settings::Settings;
use super::summary::{Limit, Summary};
use super::sweep::{Outcome, Step};
use super::table::{Table, time};

/// The percentiles of a step.
const PERCENTILES: [(&str, f64); 4] =
    [("50%", 50.0), ("99%", 99.0), ("99.9%", 99.9), ("max", 100.0)];

impl Outcome {
    fn first(&self) -> &Summary {
        // A sweep without a step is an error and has no outcome.
        &self.steps[0].summary
    }

    /// The load of a step as a share of saturation, where that is known.
    fn share(&self, step: &Step) -> Option<f64> {
        Some(step.rate / self.saturation.as_ref()?.requests_per_second())
    }

    /// What the sweep is about: the highest rate that passes.
    fn verdict(&self) -> String {
        let kept = match self.slo.is_empty() {
            true => "can be kept".to_owned(),
            false => format!("keeps {}", self.slo.join(", ")),
        };
        let Some(knee) = self.knee() else { return format!("None of the rates {kept}.") };
        let share = self
            .share(knee)
            .map_or_else(String::new, |share| format!(", {:.0} % of saturation", share * 100.0));
        format!("Highest rate that {kept}: {:.0}/s{share}.", knee.rate)
    }

    fn saturation_line(&self) -> Option<String> {
        let summary = self.saturation.as_ref()?;
        let who = match summary.limit() {
            Limit::LoadGenerator => "the load generator was",
            Limit::Server => "the server was",
            Limit::Both => "both sides were",
            _ => "neither side is known to have been",
        };
        Some(format!(
            "Saturation: {:.0} requests/s in a closed loop; {who} the limit.",
            summary.requests_per_second()
        ))
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "Load", "Asked", "Req/Sec", "50%", "99%", "99.9%", "Max", "CPU/Req", "Result",
        ]);
        for step in &self.steps {
            let latency = step.summary.latencies();
            let share = self.share(step);
            let mut row = vec![
                share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
                format!("{:.0}", step.rate),
                format!("{:.0}", step.summary.requests_per_second()),
            ];
            row.extend(
                PERCENTILES.map(|(_, percent)| time(latency.value_at_percentile(percent) as f64)),
            );
            row.push(step.summary.server_cpu_per_request().map_or_else(|| "-".to_owned(), time));
            row.push(match step.has_passed() {
                true => "kept".to_owned(),
                false => step.faults.join(", "),
            });
            table.row(row);
        }
        table
    }

    fn plot(&self) -> Plot {
        let line = |(name, percent): (&'static str, f64)| {
            let points: Vec<_> = self
                .steps
                .iter()
                .map(|step| (step, step.summary.latencies()))
                .filter(|(_, latency)| !latency.is_empty())
                .map(|(step, latency)| (step.rate, latency.value_at_percentile(percent) as f64))
                .collect();
            Line::new(name, &points)
        };
        Plot {
            x: Scale::Linear,
            y: Scale::Logarithmic,
            label_x: Box::new(|rate| format!("{}/s", short(rate))),
            label_y: Box::new(time),
            lines: PERCENTILES.map(line).into(),
        }
    }
}

impl Results for Outcome {
    fn text(&self, color: bool) -> String {
        let first = self.first();
        let mut out = format!("sweep in steps of {} @ {}\n", first.planned, first.target);
        let _ = writeln!(
            out,
            "{} connections with up to {} requests in flight each.\n",
            first.connections, first.pipelining
        );
        if let Some(line) = self.saturation_line() {
            let _ = writeln!(out, "{line}\n");
        }
        self.table().render(&mut out, color);
        out.push_str("\nLatency counts from when a request was due.\n");
        let _ = writeln!(out, "{}", self.verdict());
        for step in self.steps.iter().filter(|step| step.summary.disturbed().is_some()) {
            let share = step.summary.disturbed().unwrap_or_default() * 100.0;
            let _ = writeln!(
                out,
                "Disturbed: at {:.0}/s a load thread waited for its core for {share:.1} % of the time.",
                step.rate
            );
        }
        out
    }

    fn json(&self) -> String {
        let steps = self.steps.iter().map(|step| {
            json!({
                "rate": step.rate, "share": self.share(step), "passed": step.has_passed(),
                "faults": step.faults, "result": json::value(&step.summary),
            })
        });
        let document = json!({
            "schema": json::SCHEMA,
            "saturation": self.saturation.as_ref().map_or(Value::Null, json::value),
            "slo": self.slo,
            "highest_rate": self.knee().map(|step| step.rate),
            "steps": steps.collect::<Vec<_>>(),
        });
        format!("{document:#}\n")
    }

    fn html(&self) -> String {
        let mut body = String::new();
        let verdict = escaped(&self.verdict());
        let _ = writeln!(body, "<p><b>{verdict}</b></p>");
        if let Some(line) = self.saturation_line() {
            let _ = writeln!(body, "<p class=\"faint\">{line}</p>");
        }
        let _ = write!(body, "<h2>Latency against load</h2>\n{}", self.plot().svg());
        let text = escaped(&self.text(false));
        let _ =
            write!(body, "<details open><summary>All steps</summary><pre>{text}</pre></details>");
        frame(&self.first().target, &body)
    }

    fn faults(&self, settings: &Settings) -> Vec<String> {
        let mut faults = Vec::new();
        let of_steps = |of: fn(&Summary) -> u64| {
            let summaries = self.steps.iter().map(|step| &step.summary);
            summaries.chain(&self.saturation).map(of).sum::<u64>()
        };
        for (count, what) in [
            (of_steps(|summary| summary.recorder.lost), "lost values"),
            (of_steps(|summary| summary.recorder.violations.count), "wrong values"),
        ] {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        }
        if !self.slo.is_empty() && self.knee().is_none() {
            faults.push(format!("no rate keeps {}", self.slo.join(", ")));
        }
        if settings.strict && self.steps.iter().any(|step| step.summary.disturbed().is_some()) {
            faults.push("a load thread waited for its core in one of the steps".to_owned());
        }
        faults
    }
}
