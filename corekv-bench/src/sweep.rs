//! `--sweep`: the same load at one rate after the other, to see latency against load, and the
//! highest rate that keeps a limit on latency.
//!
//! ```text
//!   shares  10..95%      closed loop -> saturation -> 10 %, 20 %, ... of it
//!   rates   10k..100k    10k, 20k, ...
//!   search  (no range)   closed loop -> saturation -> bisection between 0 and saturation
//! ```
//!
//! A step passes if it keeps its rate, answers everything, and no `--slo` is violated. The steps of a
//! search come in the order of the search; results show them in the order of their rates.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::error::Error;
use super::rate::Pace;
use super::session::Session;
use super::settings::{Length, Settings};
use super::start;
use super::steps::Range;
use super::summary::Summary;
use super::threshold::Threshold;

/// Of what was due in a step, so much may not have been sent, besides a request per connection that
/// was due when the step ended.
const UNSENT_MAX: f64 = 0.01;

/// What is in flight at the end of a step may take this share of the step, or this time if that is
/// longer: what takes longer was waiting.
const DRAIN_MAX: f64 = 0.05;
const DRAIN_TIME_MAX: Duration = Duration::from_millis(100);

/// A search ends when the rates that pass and fail are this near: a measurement is no more exact.
const NEAR: f64 = 0.02;

/// A search goes down to this share of saturation: what fails there fails.
const LEAST: f64 = 0.01;

/// A search is given up after so many steps.
const SEARCH_STEPS_MAX: usize = 16;

/// One rate and what it came to.
#[derive(Debug)]
pub struct Step {
    /// The rate that was asked for.
    pub rate: f64,
    /// What was measured.
    pub summary: Summary,
    /// Why it does not pass. Nothing means that it does.
    pub faults: Vec<String>,
}

impl Step {
    /// Whether it kept its rate and all limits.
    pub fn has_passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// What a sweep showed.
#[derive(Debug)]
pub struct Outcome {
    /// The closed loop before the steps, if there was one.
    pub saturation: Option<Summary>,
    /// In the order of their rates.
    pub steps: Vec<Step>,
    /// What a step had to keep.
    pub slo: Vec<String>,
}

impl Outcome {
    /// The highest rate of which neither it nor any lower one failed.
    pub fn knee(&self) -> Option<&Step> {
        self.steps.iter().take_while(|step| step.has_passed()).last()
    }
}

/// Does the sweep. It ends early, with the steps that there are, when `stop` becomes true.
pub(super) fn run(
    settings: &Settings,
    range: Range,
    stop: &Arc<AtomicBool>,
) -> Result<Outcome, Error> {
    let mut session = Session::open(settings, stop)?;
    session.prepare()?;
    start::wait(settings.start_at, stop)?;
    let mut sweep = Sweep { settings, session, steps: Vec::new() };
    let mut saturation = None;
    match range {
        Range::Rates(steps) => sweep.steps(steps.iter())?,
        Range::Shares(steps) => {
            let most = sweep.saturate()?;
            sweep.steps(steps.iter().map(|share| share * most.requests_per_second()))?;
            saturation = Some(most);
        }
        Range::Search => {
            let most = sweep.saturate()?;
            sweep.search(most.requests_per_second())?;
            saturation = Some(most);
        }
    }
    let mut steps = sweep.steps;
    if steps.is_empty() {
        return Err(Error::failed("interrupted before the first step"));
    }
    steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    Ok(Outcome { saturation, steps, slo: settings.slo.iter().map(Threshold::to_string).collect() })
}

/// Whether what was due was sent, and answered when the step ended.
fn has_kept(summary: &Summary, length: Length) -> bool {
    let (sent, unsent) = (summary.recorder.answered_total() as f64, summary.behind as f64);
    let may_be_unsent = UNSENT_MAX * (sent + unsent) + summary.connections as f64;
    let Length::Time(time) = length else { return false };
    let drain = summary.elapsed.saturating_sub(time);
    unsent <= may_be_unsent && drain <= DRAIN_TIME_MAX.max(time.mul_f64(DRAIN_MAX))
}

struct Sweep<'a> {
    settings: &'a Settings,
    session: Session,
    steps: Vec<Step>,
}

impl Sweep<'_> {
    /// Finds the rate at which the server, or the load generator, has no time left.
    fn saturate(&mut self) -> Result<Summary, Error> {
        let summary = self.session.measure(self.settings.length, None, "saturating")?;
        if summary.recorder.answered_total() == 0 {
            return Err(Error::failed("the server answered nothing in a closed loop"));
        }
        Ok(summary)
    }

    fn steps(&mut self, rates: impl Iterator<Item = f64>) -> Result<(), Error> {
        for rate in rates {
            if self.session.is_stopped() {
                break;
            }
            self.step(rate)?;
        }
        Ok(())
    }

    /// Measures at a rate, and returns whether that passes.
    fn step(&mut self, rate: f64) -> Result<bool, Error> {
        let name = format!("step {}: {rate:.0}/s", self.steps.len() + 1);
        let pace = Some(Pace::Constant(rate));
        let summary = self.session.measure(self.settings.length, pace, &name)?;
        let mut faults = summary.own_faults();
        if !has_kept(&summary, self.settings.length) {
            faults.push("the rate was not kept".to_owned());
        }
        faults.extend(self.settings.slo.iter().filter_map(|slo| slo.violation(&summary)));
        let has_passed = faults.is_empty();
        self.steps.push(Step { rate, summary, faults });
        Ok(has_passed)
    }

    /// Halves the interval between a rate that passes and one that fails.
    fn search(&mut self, saturation: f64) -> Result<(), Error> {
        let (mut low, mut high) = (0.0, saturation);
        while self.steps.len() < SEARCH_STEPS_MAX
            && high - low > NEAR * high
            && high > saturation * LEAST
            && !self.session.is_stopped()
        {
            let rate = f64::midpoint(low, high);
            if self.step(rate)? {
                low = rate;
            } else {
                high = rate;
            }
        }
        Ok(())
    }
}
