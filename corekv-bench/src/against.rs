//! `--against URL`: two servers take turns in one run, so that what changes on the machine meanwhile
//! meets both.
//!
//! A round is four turns, A B B A, and a sample of each server is the mean of its two: what drifts in
//! a straight line cancels within the round. Each turn begins with a lead-in that is not counted, in
//! which caches and connections become those of the server whose turn it is. Both servers are
//! prepared before the first turn, and the connections of both stay open.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};

use super::compare::{Comparison, Measured};
use super::error::Error;
use super::html::{escaped, frame, short};
use super::json;
use super::output::Results;
use super::plot::{Line, Plot, Scale};
use super::session::Session;
use super::settings::{Against, Length, Settings};
use super::start;
use super::summary::Summary;
use super::table::time;

/// What the servers are called in JSON, CSV and the names of files.
pub(super) const SIDES: [&str; 2] = ["a", "b"];

/// The order of a round.
const ROUND: [Side; 4] = [Side::A, Side::B, Side::B, Side::A];

/// Turns of each server in a round.
const TURNS_PER_ROUND: usize = 2;

/// The share of a turn that its lead-in takes in addition.
const LEAD_IN: u32 = 10;

/// The shortest turn: shorter ones would measure beginnings and ends.
const TURN_MIN: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}

impl Side {
    fn key(self) -> &'static str {
        SIDES[self as usize]
    }
}

/// What one turn measured.
#[derive(Debug, Clone, Copy)]
struct Turn {
    side: Side,
    round: usize,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
}

/// What the run showed.
#[derive(Debug)]
pub struct Outcome {
    sides: [Summary; 2],
    turns: Vec<Turn>,
    comparison: Comparison,
}

/// Measures both servers in turns. The run ends early, with the rounds that are complete, when
/// `stop` becomes true.
pub(super) fn run(
    settings: &Settings,
    against: &Against,
    stop: &Arc<AtomicBool>,
) -> Result<Outcome, Error> {
    let other = Settings {
        target: Some(against.target.clone()),
        server_pid: against.server_pid,
        server_arguments: Vec::new(),
        ..settings.clone()
    };
    let (turn, lead_in) = turn_length(settings.length, against.rounds)?;
    let mut sessions = [Session::open(settings, stop)?, Session::open(&other, stop)?];
    sessions.iter_mut().try_for_each(Session::prepare)?;
    start::wait(settings.start_at, stop)?;
    let mut sides: [Option<Summary>; 2] = [None, None];
    let mut turns = Vec::new();
    for round in 0..against.rounds {
        for side in ROUND {
            let session = &mut sessions[side as usize];
            let name = format!("round {} of {}, {side:?}", round + 1, against.rounds);
            session.load(lead_in, settings.pace(), &name)?;
            let summary = session.measure(turn, settings.pace(), &name)?;
            turns.push(Turn::new(side, round, &summary));
            match &mut sides[side as usize] {
                Some(all) => all.append(summary),
                none => *none = Some(summary),
            }
            if session.is_stopped() {
                break;
            }
        }
    }
    let [Some(a), Some(b)] = sides else {
        return Err(Error::failed("interrupted before both servers had their turn"));
    };
    Ok(Outcome::new([a, b], turns))
}

/// How long a turn and its lead-in are.
fn turn_length(length: Length, rounds: usize) -> Result<(Length, Length), Error> {
    let turns = (rounds * TURNS_PER_ROUND) as u32;
    match length {
        Length::Requests(count) => {
            let turn = (count / u64::from(turns)).max(1);
            let lead_in = (turn / u64::from(LEAD_IN)).max(1);
            Ok((Length::Requests(turn), Length::Requests(lead_in)))
        }
        Length::Time(time) if time / turns < TURN_MIN => Err(Error::usage(format!(
            "--duration of {} s in {turns} turns makes turns of less than {} ms",
            time.as_secs_f64(),
            TURN_MIN.as_millis()
        ))),
        Length::Time(time) => {
            let turn = time / turns;
            Ok((Length::Time(turn), Length::Time(turn / LEAD_IN)))
        }
    }
}

impl Turn {
    fn new(side: Side, round: usize, summary: &Summary) -> Self {
        let latency = summary.latencies();
        let at = |percentile| latency.value_at_percentile(percentile) as f64 / 1000.0;
        let (p50_us, p99_us) = (at(50.0), at(99.0));
        Self { side, round, rate: summary.requests_per_second(), p50_us, p99_us }
    }

    fn value(&self, measured: Measured) -> f64 {
        match measured {
            Measured::Rate => self.rate,
            Measured::P50 => self.p50_us,
            Measured::P99 => self.p99_us,
        }
    }

    fn json(&self) -> Value {
        let Self { side, round, rate, p50_us, p99_us } = self;
        json!({
            "side": side.key(), "round": round,
            "requests_per_second": rate, "p50_us": p50_us, "p99_us": p99_us,
        })
    }
}

impl Outcome {
    fn new(sides: [Summary; 2], turns: Vec<Turn>) -> Self {
        let rounds = turns.len() / ROUND.len();
        let of_side = |measured, side| {
            let mean = |round: &[Turn]| {
                let turns = round.iter().filter(|turn| turn.side == side);
                turns.map(|turn| turn.value(measured)).sum::<f64>() / TURNS_PER_ROUND as f64
            };
            turns.chunks_exact(ROUND.len()).map(mean).collect()
        };
        let names = [sides[0].target.clone(), sides[1].target.clone()];
        let comparison = Comparison::of_rounds(names, rounds, |measured| {
            (of_side(measured, Side::A), of_side(measured, Side::B))
        });
        Self { sides, turns, comparison }
    }

    /// What was measured, round by round.
    fn plot(&self, measured: Measured) -> Plot {
        let line = |name, side| {
            let turns = self.turns.iter().filter(|turn| turn.side == side).enumerate();
            let points = turns.map(|(index, turn)| {
                let place = (index % TURNS_PER_ROUND) as f64 / TURNS_PER_ROUND as f64;
                (turn.round as f64 + 1.0 + place, turn.value(measured))
            });
            Line::new(name, &points.collect::<Vec<_>>())
        };
        Plot {
            x: Scale::Linear,
            y: Scale::Linear,
            label_x: Box::new(|round| format!("{round:.0}")),
            label_y: match measured {
                Measured::Rate => Box::new(|rate| format!("{}/s", short(rate))),
                Measured::P50 | Measured::P99 => Box::new(|us| time(us * 1000.0)),
            },
            lines: vec![line("A", Side::A), line("B", Side::B)],
        }
    }

    fn named_sides(&self) -> impl Iterator<Item = (&'static str, &Summary)> {
        ["A", "B"].into_iter().zip(&self.sides)
    }
}

/// What a server did in all of its turns.
fn line(out: &mut String, name: &str, side: &Summary) {
    let recorder = &side.recorder;
    let _ = write!(
        out,
        "{name}: {} requests in {:.2} s, {} errors, {} lost, {} other than 2xx; CPU per request: \
         load generator {}",
        recorder.answered_total(),
        side.elapsed.as_secs_f64(),
        recorder.errors(),
        recorder.lost,
        side.non_2xx(),
        side.load_cpu_per_request().map_or_else(|| "unknown".to_owned(), time),
    );
    if let Some(cost) = side.server_cpu_per_request() {
        let _ = write!(out, ", server {}", time(cost));
    }
    out.push_str(".\n");
    if let Some(reason) = side.stopped_early {
        let _ = writeln!(out, "{name}: stopped early: {reason}.");
    }
    if let Some(share) = side.disturbed() {
        let percent = share * 100.0;
        let _ = writeln!(
            out,
            "{name}: disturbed: a load thread waited for its core for {percent:.1} % of the time."
        );
    }
}

impl Results for Outcome {
    fn text(&self, _color: bool) -> String {
        let mut out = self.comparison.text();
        out.push('\n');
        for (name, side) in self.named_sides() {
            line(&mut out, name, side);
        }
        out
    }

    fn json(&self) -> String {
        let [a, b] = &self.sides;
        let document = json!({
            "schema": json::SCHEMA,
            "comparison": self.comparison.json(),
            "turns": self.turns.iter().map(Turn::json).collect::<Vec<_>>(),
            "a": json::value(a),
            "b": json::value(b),
        });
        format!("{document:#}\n")
    }

    fn csv(&self) -> String {
        let mut out = "side,round,requests_per_second,p50_us,p99_us\n".to_owned();
        for Turn { side, round, rate, p50_us, p99_us } in &self.turns {
            let _ = writeln!(out, "{},{round},{rate:.1},{p50_us:.3},{p99_us:.3}", side.key());
        }
        out
    }

    fn html(&self) -> String {
        let mut body = String::new();
        let text = escaped(&self.text(false));
        let _ = writeln!(body, "<pre>{text}</pre>\n<div class=\"plots\">");
        for measured in Measured::ALL {
            let (name, plot) = (measured.label(), self.plot(measured).svg());
            let _ = write!(body, "<section><h2>{name} by round</h2>\n{plot}</section>\n");
        }
        body.push_str("</div>\n");
        let [a, b] = &self.sides;
        frame(&format!("{} and {}", a.target, b.target), &body)
    }

    fn runs(&self) -> Vec<&Summary> {
        self.sides.iter().collect()
    }

    fn faults(&self, settings: &Settings) -> Vec<String> {
        let mut faults: Vec<_> = self
            .named_sides()
            .flat_map(|(name, side)| {
                side.faults(settings).into_iter().map(move |fault| format!("{name}: {fault}"))
            })
            .collect();
        let worse: Vec<_> = self.comparison.worse().collect();
        if settings.strict && !worse.is_empty() {
            faults.push(format!("B is worse in {}", worse.join(", ")));
        }
        faults
    }
}
