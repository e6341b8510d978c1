//! One run from beginning to end: find the server, start the threads, preload, warm up, measure.
//!
//! ```text
//!   main thread            load thread 0 .. n-1
//!   find the server
//!   spawn ---------------> pin, open connections
//!   Task::Preload -------> store keys            \
//!   <----------- Done                             |  the main thread meanwhile reads the
//!   Task::Load (warm-up)-> ...                    |  threads' live counters: progress every
//!   <----------- Done                             |  tenth of a second, samples every second
//!   Task::Load ----------> ...                   /
//!   <----------- Done      (recorder, CPU time)
//!   merge, Summary
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::context::Common;
use super::cpu;
use super::embedded::{Embedded, loop_number};
use super::error::{Error, Failure};
use super::progress::{PROGRESS_INTERVAL, Progress};
use super::recorder::Recorder;
use super::sampler::Sampler;
use super::settings::{Length, Settings};
use super::summary::{LoadThread, Rates, ServerUsage, Summary};
use super::target::Target;
use super::worker::{Done, Live, Share, Task, Worker};
use super::workload::Method;

/// Where load threads and an embedded server run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placement {
    load_cores: Vec<usize>,
    server_cores: Vec<usize>,
    threads: usize,
}

/// Runs a measurement. It ends early, with what there is so far, when `stop` becomes true.
pub fn run(settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Summary, Error> {
    settings.check()?;
    let available = cpu::available_cores();
    if let Some(core) = settings.cores.iter().flatten().find(|core| !available.contains(core)) {
        return Err(Error::usage(format!("--cores: this process may not run on core {core}")));
    }
    let placement = place(settings, &available);
    let embedded = match &settings.target {
        Some(_) => None,
        None => Some(Embedded::start(&placement.server_cores)?),
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
    let endpoint = target.find(settings.timeout)?;
    let common = Arc::new(Common::new(settings, &target, endpoint));
    let session = Session::start(settings, &common, &placement, stop)?;
    session.measure(&target, embedded.as_ref())
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

/// The load threads, and what is needed to talk to them.
struct Session<'a> {
    settings: &'a Settings,
    common: &'a Arc<Common>,
    placement: &'a Placement,
    stop: &'a Arc<AtomicBool>,
    live: Vec<Arc<Live>>,
    tasks: Vec<Sender<Task>>,
    done: Receiver<Result<Done, String>>,
    handles: Vec<JoinHandle<()>>,
}

/// What all threads together did in one task.
struct Phase {
    done: Vec<Done>,
    rates: [Rates; Method::COUNT],
}

impl<'a> Session<'a> {
    fn start(
        settings: &'a Settings,
        common: &'a Arc<Common>,
        placement: &'a Placement,
        stop: &'a Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let (sender, done) = channel();
        let mut session = Self {
            settings,
            common,
            placement,
            stop,
            live: Vec::new(),
            tasks: Vec::new(),
            done,
            handles: Vec::new(),
        };
        for thread in 0..placement.threads {
            let (task_sender, tasks) = channel();
            let live = Arc::new(Live::default());
            let share =
                Share { thread, threads: placement.threads, connections: settings.connections };
            let core = placement.load_cores.get(thread % placement.load_cores.len().max(1));
            let worker = LoadThreadBody {
                core: core.copied(),
                share,
                settings: settings.clone(),
                common: Arc::clone(common),
                live: Arc::clone(&live),
                stop: Arc::clone(stop),
                tasks,
                done: sender.clone(),
            };
            let handle = std::thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn(move || worker.run())
                .map_err(|error| Error::failed(format!("cannot start a thread: {error}")))?;
            session.live.push(live);
            session.tasks.push(task_sender);
            session.handles.push(handle);
        }
        Ok(session)
    }

    fn measure(mut self, target: &Target, embedded: Option<&Embedded>) -> Result<Summary, Error> {
        let preload = if self.settings.preload { Some(self.preload()?) } else { None };
        if !self.settings.warmup.is_zero() && !self.stop.load(Ordering::Relaxed) {
            self.phase(self.load_task(Length::Time(self.settings.warmup)), "warming up")?;
        }
        let before = self.look_at_server(embedded);
        let task = self.load_task(self.settings.length);
        let phase = self.phase(task, "measuring")?;
        let after = self.look_at_server(embedded);
        let Task::Load { begin, until, .. } = task else { unreachable!("a load task was made") };
        let mut summary = self.summary(target, &phase, begin, until);
        summary.preload = preload;
        summary.server = before.zip(after).map(|(before, after)| after.since(&before));
        self.tasks.clear();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
        Ok(summary)
    }

    /// What the server's threads have used so far, if its process is known.
    fn look_at_server(&self, embedded: Option<&Embedded>) -> Option<ServerUsage> {
        let own = embedded.map(|_| std::process::id());
        let mut threads = cpu::threads_of(self.settings.server_pid.or(own)?)?;
        threads.retain(|thread| own.is_none() || loop_number(&thread.name).is_some());
        let requests = embedded.map(Embedded::requests_per_core).unwrap_or_default();
        Some(ServerUsage { threads, requests })
    }

    /// Stores every key, and fails if one could not be stored.
    fn preload(&mut self) -> Result<(u64, Duration), Error> {
        let begin = Instant::now();
        let phase = self.phase(Task::Preload, "storing keys")?;
        let mut recorder = Recorder::default();
        phase.done.iter().for_each(|done| recorder.merge(&done.recorder));
        let stored = recorder.methods.iter().map(|record| record.ok).sum();
        let keys = self.settings.workload.keys;
        if stored == keys {
            return Ok((stored, begin.elapsed()));
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::failed("interrupted while storing keys; nothing was measured"));
        }
        let mut reasons: Vec<_> = Failure::ALL
            .iter()
            .zip(recorder.failures)
            .filter(|&(_, count)| count > 0)
            .map(|(kind, count)| format!("{count} {}", kind.label()))
            .collect();
        reasons.extend(
            recorder.statuses.iter().map(|(status, count)| format!("{count} status {status}")),
        );
        reasons.extend(recorder.garbage.map(str::to_owned));
        Err(Error::failed(format!(
            "only {stored} of {keys} keys could be stored: {}",
            reasons.join(", ")
        )))
    }

    fn load_task(&self, length: Length) -> Task {
        let begin = self.common.clock.now();
        let (until, requests) = match length {
            Length::Time(time) => (begin.saturating_add(time.as_nanos() as u64), None),
            Length::Requests(count) => (u64::MAX, Some(count)),
        };
        let depth = self.settings.pipelining;
        Task::Load { begin, until, requests, rate: self.settings.rate, depth }
    }

    /// Has all threads do a task and waits for them, while showing progress and taking samples.
    fn phase(&mut self, task: Task, name: &str) -> Result<Phase, Error> {
        for sender in &self.tasks {
            // A thread that has ended says so through the other channel.
            let _ = sender.send(task);
        }
        let progress = self.progress(task, name);
        let begin = Instant::now();
        let mut sampler = Sampler::new(begin);
        let mut phase = Phase { done: Vec::new(), rates: Default::default() };
        let mut next_show = begin + PROGRESS_INTERVAL;
        while phase.done.len() < self.tasks.len() {
            let wait = next_show.saturating_duration_since(Instant::now());
            match self.done.recv_timeout(wait) {
                Ok(Ok(done)) => phase.done.push(done),
                Ok(Err(message)) => return Err(Error::failed(message)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::failed("a load thread ended unexpectedly"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_show += PROGRESS_INTERVAL;
                    let answered = self.answered();
                    let total: u64 = answered.iter().map(|(requests, _)| requests).sum();
                    let elapsed = begin.elapsed();
                    sampler.sample_if_due(&answered, &mut phase.rates);
                    let position = match task {
                        Task::Load { requests: None, .. } => elapsed.as_millis() as u64,
                        _ => total,
                    };
                    progress.show(position, total as f64 / elapsed.as_secs_f64());
                }
            }
        }
        progress.finish();
        sampler.sample_rest(&self.answered(), &mut phase.rates);
        Ok(phase)
    }

    fn progress(&self, task: Task, name: &str) -> Progress {
        let quiet = self.settings.quiet;
        match task {
            Task::Preload => Progress::preload(self.settings.workload.keys, quiet),
            Task::Load { requests: Some(requests), .. } => Progress::load(name, requests, quiet),
            Task::Load { begin, until, .. } => {
                Progress::load(name, (until - begin) / 1_000_000, quiet)
            }
        }
    }

    fn answered(&self) -> [(u64, u64); Method::COUNT] {
        Method::ALL.map(|method| {
            self.live
                .iter()
                .map(|live| live.read(method))
                .fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
        })
    }

    fn summary(&self, target: &Target, phase: &Phase, begin: u64, until: u64) -> Summary {
        let settings = self.settings;
        let workload = &settings.workload;
        let mut recorder = Recorder::default();
        phase.done.iter().for_each(|done| recorder.merge(&done.recorder));
        let was_stopped = self.stop.load(Ordering::Relaxed);
        let gave_up = phase.done.iter().any(|done| done.gave_up);
        let last_answer = phase.done.iter().map(|done| done.last_answer).max().unwrap_or(begin);
        let ended = phase.done.iter().map(|done| done.ended).max().unwrap_or(begin);
        // A run that was meant to take a time took at least that, unless it was cut short.
        let end = match settings.length {
            _ if was_stopped || gave_up => ended,
            Length::Time(_) => last_answer.max(until),
            Length::Requests(_) => last_answer,
        };
        let elapsed = Duration::from_nanos(end.saturating_sub(begin).max(1));
        let mut load: Vec<_> = phase.done.iter().collect();
        load.sort_by_key(|done| done.thread);
        let cores = &self.placement.load_cores;
        let load = load.into_iter().map(|done| LoadThread {
            core: cores.get(done.thread % cores.len().max(1)).copied(),
            answered: done.recorder.answered_total(),
            cpu_ns: done.usage.cpu_ns,
            busy: done.usage.busy(elapsed.as_nanos() as u64),
        });
        Summary {
            target: target.to_string(),
            connections: settings.connections,
            pipelining: settings.pipelining,
            keys: workload.keys,
            distribution: workload.distribution.to_string(),
            seed: workload.seed,
            planned: planned(settings.length),
            elapsed,
            rates: phase.rates.clone(),
            used: Method::ALL.map(|method| workload.mix.share(method) > 0.0),
            load: load.collect(),
            server: None,
            preload: None,
            loss_checked: self.common.every_read_must_hit || settings.verify,
            verified: settings.verify,
            rate: settings.rate,
            behind: phase.done.iter().map(|done| done.behind).sum(),
            stopped_early: match (was_stopped, gave_up) {
                (true, _) => Some("interrupted"),
                (false, true) => Some("the server did not answer any more"),
                (false, false) => None,
            },
            recorder,
        }
    }
}

/// `30s` or `1000 requests`.
fn planned(length: Length) -> String {
    match length {
        Length::Time(time) => format!("{}s", time.as_secs_f64()),
        Length::Requests(count) => format!("{count} requests"),
    }
}

/// What a load thread takes with it.
struct LoadThreadBody {
    core: Option<usize>,
    share: Share,
    settings: Settings,
    common: Arc<Common>,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    tasks: Receiver<Task>,
    done: Sender<Result<Done, String>>,
}

impl LoadThreadBody {
    fn run(self) {
        if let Some(core) = self.core {
            cpu::pin(core);
        }
        let made =
            Worker::new(self.share, self.settings.workload, self.common, self.live, self.stop);
        match made {
            Ok(mut worker) => {
                for task in &self.tasks {
                    if self.done.send(Ok(worker.run(task))).is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                let _ = self.done.send(Err(format!("cannot start a load thread: {error}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_server_are_kept_apart() {
        let mut settings = crate::bench::cli::parse(["corekv-bench"]).unwrap().unwrap();
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
