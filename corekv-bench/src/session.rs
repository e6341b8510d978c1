//! One run from beginning to end: find the server, start the threads, preload, warm up, measure.
//!
//! ```text
//!   main thread            load thread 0 .. n-1
//!   find the server
//!   spawn ---------------> pin
//!   Task::Connect -------> open connections      \
//!   <----------- Done                             |
//!   Task::Preload -------> store keys             |
//!   <----------- Done                             |  the main thread meanwhile reads the
//!   Task::Load (warm-up)-> ...                    |  threads' live counters: progress every
//!   <----------- Done                             |  tenth of a second, samples every second
//!   Task::Load ----------> ...                   /
//!   <----------- Done      (recorder, CPU time)
//!   merge, Summary
//!
//! Before each load every connection that is not open is opened, so that the clock starts when
//! all are.
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use corekv::net::allowed_cores;

use super::context::Common;
use super::cpu;
use super::embedded::{Embedded, loop_number};
use super::error::{Error, Failure};
use super::limits;
use super::method::Method;
use super::pool::{Phase, Pool};
use super::probe::Probe;
use super::rate::Pace;
use super::recorder::{MethodRecord, Recorder};
use super::series::Rates;
use super::settings::{Length, Settings};
use super::start;
use super::summary::{LoadThread, Opening, ServerUsage, Summary};
use super::target::Target;
use super::task::{Done, Task};

/// Where load threads and an embedded server run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placement {
    load_cores: Vec<usize>,
    server_cores: Vec<usize>,
    threads: usize,
}

/// Runs a measurement. It ends early, with what there is so far, when `stop` becomes true.
pub fn run(settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Summary, Error> {
    let mut session = Session::open(settings, stop)?;
    session.prepare()?;
    start::wait(settings.start_at, stop)?;
    session.measure(settings.length, settings.pace(), "measuring")
}

/// Keeps load and server apart where there are two or more cores: the server gets the lower half.
fn place(settings: &Settings, available: &[usize]) -> Placement {
    let half = available.len().div_ceil(2).min(available.len().saturating_sub(1));
    let load_cores = settings.cores.clone().unwrap_or_else(|| available[half..].to_vec());
    let rest: Vec<_> =
        available.iter().copied().filter(|core| !load_cores.contains(core)).collect();
    let threads = settings.threads.unwrap_or(load_cores.len()).clamp(1, settings.connections);
    let server_cores = if rest.is_empty() { available.to_vec() } else { rest };
    Placement { load_cores, server_cores, threads }
}

impl Placement {
    /// A core that neither load threads nor a server inside the process run on.
    fn spare(&self, available: &[usize]) -> Option<usize> {
        let is_used =
            |core: &usize| self.load_cores.contains(core) || self.server_cores.contains(core);
        available.iter().copied().rfind(|core| !is_used(core))
    }
}

/// A server, and load threads that have connections to it.
pub(super) struct Session {
    settings: Settings,
    target: Target,
    placement: Placement,
    common: Arc<Common>,
    stop: Arc<AtomicBool>,
    pool: Pool,
    probe: Option<Probe>,
    opening: Opening,
    preload: Option<(u64, Duration)>,
    /// Whether what the load threads have recorded so far is in a summary.
    is_reported: bool,
    embedded: Option<Embedded>,
}

impl Session {
    /// Finds the server, or starts it, and starts the load threads.
    pub(super) fn open(settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Self, Error> {
        settings.check()?;
        // Where the system does not tell, one core is taken to be there.
        let available = allowed_cores().unwrap_or_else(|_| vec![0]);
        if let Some(core) = settings.cores.iter().flatten().find(|core| !available.contains(core)) {
            return Err(Error::usage(format!("--cores: this process may not run on core {core}")));
        }
        limits::make_room_for(
            settings.connections + usize::from(settings.probe.is_some()),
            settings.target.is_none(),
        )?;
        let placement = place(settings, &available);
        let embedded = match &settings.target {
            Some(_) => None,
            None => Some(Embedded::start(&placement.server_cores, &settings.server_arguments)?),
        };
        let target = match (&settings.target, &embedded) {
            (Some(target), _) => target.clone(),
            (None, Some(server)) => server.target().clone(),
            (None, None) => return Err(Error::usage("no server to measure")),
        };
        if let Some(pid) = settings.server_pid
            && cpu::threads_of(pid).is_none()
        {
            return Err(Error::usage(format!("--server-pid {pid}: there is no such process")));
        }
        let found = target.find(settings.timeout, &settings.trust)?;
        let common = Arc::new(Common::new(settings, &target, found));
        let Placement { load_cores, threads, .. } = &placement;
        let pool = Pool::start(settings, &common, *threads, load_cores, stop)?;
        let probe = match settings.probe {
            Some(rate) => Some(Probe::start(settings, rate, &common, placement.spare(&available))?),
            None => None,
        };
        Ok(Self {
            settings: settings.clone(),
            target,
            placement,
            common,
            stop: Arc::clone(stop),
            pool,
            probe,
            opening: Opening::default(),
            preload: None,
            is_reported: false,
            embedded,
        })
    }

    /// Opens the connections, stores the keys and warms up, as far as that was asked for.
    pub(super) fn prepare(&mut self) -> Result<(), Error> {
        self.opening = self.connect()?;
        self.preload = if self.settings.preload { Some(self.preload()?) } else { None };
        if !self.settings.warmup.is_zero() {
            let warmup = Length::Time(self.settings.warmup);
            let pace = self.settings.pace().map(|pace| match pace {
                Pace::Ramp { from, .. } => Pace::Constant(from.max(1.0)),
                Pace::Constant(_) | Pace::Trace { .. } => pace,
            });
            self.load(warmup, pace, "warming up")?;
        }
        Ok(())
    }

    /// Loads the server for so long without a result, unless the run is to end.
    pub(super) fn load(
        &mut self,
        length: Length,
        pace: Option<Pace>,
        name: &str,
    ) -> Result<(), Error> {
        if !self.stop.load(Ordering::Relaxed) {
            self.connect()?;
            self.pool.phase(self.load_task(length, pace), name)?;
            self.is_reported = false;
        }
        Ok(())
    }

    /// Measures, once or more.
    pub(super) fn measure(
        &mut self,
        length: Length,
        pace: Option<Pace>,
        name: &str,
    ) -> Result<Summary, Error> {
        self.connect()?;
        let before = self.look_at_server();
        let started = SystemTime::now();
        if let Some(probe) = &self.probe {
            probe.connect()?;
        }
        let task = self.load_task(length, pace);
        if let Some(probe) = &self.probe {
            probe.begin(task);
        }
        let phase = self.pool.phase(task, name)?;
        let probed = self.probe.as_ref().map(Probe::end).transpose()?;
        let after = self.look_at_server();
        self.is_reported = true;
        let Task::Load { begin, until, .. } = task else { unreachable!("a load task was made") };
        let mut summary = self.summary(phase, length, begin, until);
        (summary.pace, summary.started) = (pace, started);
        summary.probe = probed;
        summary.server = before.zip(after).map(|(before, after)| after.since(&before));
        Ok(summary)
    }

    /// Whether the run is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What the server's threads have used so far, if its process is known.
    fn look_at_server(&self) -> Option<ServerUsage> {
        let own = self.embedded.as_ref().map(|_| std::process::id());
        let mut threads = cpu::threads_of(self.settings.server_pid.or(own)?)?;
        threads.retain(|thread| own.is_none() || loop_number(&thread.name).is_some());
        let told = self.embedded.as_ref().map(Embedded::tell).unwrap_or_default();
        Some(ServerUsage { threads, requests: told.requests, removed: told.removed })
    }

    /// Opens every connection that is not open. Fails if none can be.
    fn connect(&mut self) -> Result<Opening, Error> {
        let begin = Instant::now();
        let phase = self.pool.phase(Task::Connect, "opening connections")?;
        let opened = phase.done.iter().map(|done| done.open).sum();
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::failed("interrupted while connecting; nothing was measured"));
        }
        if opened == 0 {
            let reasons = reasons(&phase.recorder).join(", ");
            return Err(Error::failed(format!("no connection could be opened: {reasons}")));
        }
        Ok(Opening { opened, elapsed: begin.elapsed() })
    }

    /// Stores every key, and fails if one could not be stored.
    fn preload(&mut self) -> Result<(u64, Duration), Error> {
        let begin = Instant::now();
        let phase = self.pool.phase(Task::Preload, "storing keys")?;
        let recorder = &phase.recorder;
        let stored = recorder.methods.iter().map(MethodRecord::ok).sum();
        let keys = self.settings.workload.keys;
        if stored == keys {
            return Ok((stored, begin.elapsed()));
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::failed("interrupted while storing keys; nothing was measured"));
        }
        let hint = if stored == 0 && !recorder.statuses.is_empty() {
            "; of a server that stores nothing, measure a page: --path /PAGE"
        } else {
            ""
        };
        let why = reasons(recorder).join(", ");
        Err(Error::failed(format!("only {stored} of {keys} keys could be stored: {why}{hint}")))
    }

    fn load_task(&self, length: Length, pace: Option<Pace>) -> Task {
        let begin = self.common.clock.now();
        let (until, requests) = match length {
            Length::Time(time) => (begin.saturating_add(time.as_nanos() as u64), None),
            Length::Requests(count) => (u64::MAX, Some(count)),
        };
        let depth = self.settings.pipelining;
        Task::Load { begin, until, requests, pace, depth, is_reported: self.is_reported }
    }

    /// What each load thread did, in their order.
    fn load_threads(&self, done: &[Done], elapsed_ns: u64) -> Vec<LoadThread> {
        let mut load: Vec<_> = done.iter().collect();
        load.sort_by_key(|done| done.thread);
        let cores = &self.placement.load_cores;
        let load = load.into_iter().map(|done| LoadThread {
            core: cores.get(done.thread % cores.len().max(1)).copied(),
            answered: done.recorder.answered_total(),
            cpu_ns: done.usage.cpu_ns,
            busy: done.usage.busy(elapsed_ns),
            waited: done.usage.waited_ns as f64 / elapsed_ns as f64,
        });
        load.collect()
    }

    fn summary(&self, phase: Phase, length: Length, begin: u64, until: u64) -> Summary {
        let settings = &self.settings;
        let workload = settings.workload;
        let was_stopped = self.stop.load(Ordering::Relaxed);
        let gave_up = phase.done.iter().any(|done| done.gave_up);
        let last_answer = phase.done.iter().map(|done| done.last_answer).max().unwrap_or(begin);
        let ended = phase.done.iter().map(|done| done.ended).max().unwrap_or(begin);
        // A run that was meant to take a time took at least that, unless it was cut short.
        let end = match length {
            _ if was_stopped || gave_up => ended,
            Length::Time(_) => last_answer.max(until),
            Length::Requests(_) => last_answer,
        };
        let elapsed = Duration::from_nanos(end.saturating_sub(begin).max(1));
        let load = self.load_threads(&phase.done, elapsed.as_nanos() as u64);
        Summary {
            target: self.target.to_string(),
            connections: settings.connections,
            pipelining: settings.pipelining,
            connection_requests: settings.connection_requests,
            workload,
            path: settings.path.to_string(),
            request_file: settings.request_file.clone(),
            is_key_value: settings.is_key_value(),
            tls: self.common.tls_text.clone(),
            planned: planned(length),
            warmup: settings.warmup,
            started: SystemTime::now(),
            opening: self.opening,
            elapsed,
            rates: Method::ALL.map(|method| Rates::of(&phase.series, method)),
            series: phase.series,
            used: Method::ALL.map(|method| match &self.common.trace {
                Some(trace) => trace.sends(method),
                None => workload.sends(method),
            }),
            load,
            server: None,
            preload: self.preload,
            loss_checked: self.common.keys_that_must_hit > 0 || settings.verify,
            verified: settings.verify,
            pace: None,
            probe: None,
            trace: self.settings.trace.as_ref().map(ToString::to_string),
            behind: phase.done.iter().map(|done| done.behind).sum(),
            stopped_early: match (was_stopped, gave_up) {
                (true, _) => Some("interrupted"),
                (false, true) => Some("the server did not answer any more"),
                (false, false) => None,
            },
            recorder: phase.recorder,
        }
    }
}

/// What went wrong, by kind.
fn reasons(recorder: &Recorder) -> Vec<String> {
    let mut reasons: Vec<_> = Failure::ALL
        .iter()
        .zip(recorder.failures)
        .filter(|&(_, count)| count > 0)
        .map(|(kind, count)| format!("{count} {}", kind.label()))
        .collect();
    reasons
        .extend(recorder.statuses.iter().map(|(status, count)| format!("{count} status {status}")));
    reasons.extend(recorder.garbage.map(str::to_owned));
    reasons
}

/// `30s` or `1000 requests`.
fn planned(length: Length) -> String {
    match length {
        Length::Time(time) => format!("{}s", time.as_secs_f64()),
        Length::Requests(count) => format!("{count} requests"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_server_are_kept_apart() {
        let mut settings = crate::cli::parse(["corekv-bench"]).unwrap().unwrap();
        let placed = |settings: &Settings, available: &[usize]| {
            let placement = place(settings, available);
            (placement.load_cores, placement.server_cores, placement.threads)
        };
        assert_eq!(placed(&settings, &[4]), (vec![4], vec![4], 1));
        assert_eq!(placed(&settings, &[0, 1]), (vec![1], vec![0], 1));
        assert_eq!(placed(&settings, &[0, 1, 2, 3]), (vec![2, 3], vec![0, 1], 2));
        assert_eq!(placed(&settings, &[0, 1, 2]), (vec![2], vec![0, 1], 1));
        settings.cores = Some(vec![0]);
        settings.threads = Some(3);
        assert_eq!(placed(&settings, &[0, 1]), (vec![0], vec![1], 3));
        settings.threads = None;
        settings.connections = 1;
        settings.cores = Some(vec![0, 1]);
        assert_eq!(placed(&settings, &[0, 1]), (vec![0, 1], vec![0, 1], 1));
    }
}
