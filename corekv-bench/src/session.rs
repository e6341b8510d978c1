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
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use corekv::net::{allowed_cores, pin};

use super::context::Common;
use super::cpu;
use super::embedded::{Embedded, loop_number};
use super::error::{Error, Failure};
use super::limits;
use super::progress::{PROGRESS_INTERVAL, Progress};
use super::recorder::{Latencies, MethodRecord, Recorder, no_latencies};
use super::series::{Counts, Point, Rates, Series};
use super::settings::{Length, Settings};
use super::summary::{LoadThread, Opening, ServerUsage, Summary};
use super::target::Target;
use super::worker::{Done, Live, Share, Task, Worker};
use super::workload::Method;

/// What the names of the load threads begin with; the number of the thread follows.
const THREAD_NAME: &str = "load-";

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
    // Where the system does not tell, one core is taken to be there.
    let available = allowed_cores().unwrap_or_else(|_| vec![0]);
    if let Some(core) = settings.cores.iter().flatten().find(|core| !available.contains(core)) {
        return Err(Error::usage(format!("--cores: this process may not run on core {core}")));
    }
    limits::make_room_for(settings.connections, settings.target.is_none())?;
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
    recorder: Recorder,
    series: Vec<Point>,
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
                .name(format!("{THREAD_NAME}{thread}"))
                .spawn(move || worker.run())
                .map_err(|error| Error::failed(format!("cannot start a thread: {error}")))?;
            session.live.push(live);
            session.tasks.push(task_sender);
            session.handles.push(handle);
        }
        Ok(session)
    }

    fn measure(mut self, target: &Target, embedded: Option<&Embedded>) -> Result<Summary, Error> {
        let opening = self.connect()?;
        let preload = if self.settings.preload { Some(self.preload()?) } else { None };
        if !self.settings.warmup.is_zero() && !self.stop.load(Ordering::Relaxed) {
            self.connect()?;
            self.phase(self.load_task(Length::Time(self.settings.warmup)), "warming up")?;
        }
        self.connect()?;
        let before = self.look_at_server(embedded);
        let started = SystemTime::now();
        let task = self.load_task(self.settings.length);
        let phase = self.phase(task, "measuring")?;
        let after = self.look_at_server(embedded);
        let Task::Load { begin, until, .. } = task else { unreachable!("a load task was made") };
        let mut summary = self.summary(target, phase, begin, until);
        (summary.opening, summary.preload, summary.started) = (opening, preload, started);
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
        let told = embedded.map(Embedded::tell).unwrap_or_default();
        Some(ServerUsage { threads, requests: told.requests, removed: told.removed })
    }

    /// Opens every connection that is not open. Fails if none can be.
    fn connect(&mut self) -> Result<Opening, Error> {
        let begin = Instant::now();
        let phase = self.phase(Task::Connect, "opening connections")?;
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
        let phase = self.phase(Task::Preload, "storing keys")?;
        let recorder = &phase.recorder;
        let stored = recorder.methods.iter().map(MethodRecord::ok).sum();
        let keys = self.settings.workload.keys;
        if stored == keys {
            return Ok((stored, begin.elapsed()));
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::failed("interrupted while storing keys; nothing was measured"));
        }
        Err(Error::failed(format!(
            "only {stored} of {keys} keys could be stored: {}",
            reasons(recorder).join(", ")
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
        let mut progress = self.progress(task, name);
        let begin = Instant::now();
        let mut series = Series::new(begin, self.counts());
        let mut latencies = no_latencies();
        let mut done = Vec::new();
        let mut next_show = begin + PROGRESS_INTERVAL;
        while done.len() < self.tasks.len() {
            let wait = next_show.saturating_duration_since(Instant::now());
            match self.done.recv_timeout(wait) {
                Ok(Ok(one)) => done.push(one),
                Ok(Err(message)) => return Err(Error::failed(message)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::failed("a load thread ended unexpectedly"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    next_show += PROGRESS_INTERVAL;
                    self.take_latencies(&mut latencies, &mut series);
                    series.sample_if_due(|| self.counts());
                    self.show(&mut progress, task, begin.elapsed(), &series);
                }
            }
        }
        progress.finish();
        self.take_latencies(&mut latencies, &mut series);
        let mut recorder = Recorder::default();
        for one in &done {
            recorder.merge(&one.recorder);
            one.recorder.methods.iter().for_each(|record| series.add(&record.latency));
        }
        recorder.add_latencies(&latencies);
        Ok(Phase { done, recorder, series: series.finish(self.counts()) })
    }

    /// Takes what the load threads have handed over.
    fn take_latencies(&self, all: &mut Latencies, series: &mut Series) {
        for live in &self.live {
            live.take(|latencies| {
                let pairs = all.iter_mut().zip(latencies);
                for (sum, latency) in pairs.filter(|(_, latency)| !latency.is_empty()) {
                    // All have the same bounds, so the counts always fit.
                    sum.add(latency).expect("equal bounds");
                    series.add(latency);
                }
            });
        }
    }

    fn show(&self, progress: &mut Progress, task: Task, elapsed: Duration, series: &Series) {
        let answered = self.answered();
        let position = match task {
            Task::Connect => self.live.iter().map(|live| live.open()).sum(),
            Task::Load { requests: None, .. } => elapsed.as_millis() as u64,
            _ => answered,
        };
        let errors = self.live.iter().map(|live| live.errors()).sum();
        let p99 = series.latest().and_then(|point| point.latency).map(|tail| tail.p99);
        progress.show(position, answered, p99, errors);
    }

    fn progress(&self, task: Task, name: &str) -> Progress {
        let quiet = self.settings.quiet;
        match task {
            Task::Connect => Progress::connect(self.settings.connections as u64, quiet),
            Task::Preload => Progress::preload(self.settings.workload.keys, quiet),
            Task::Load { requests: Some(requests), .. } => Progress::load(name, requests, quiet),
            Task::Load { begin, until, .. } => {
                Progress::load(name, (until - begin) / 1_000_000, quiet)
            }
        }
    }

    fn answered(&self) -> u64 {
        let of = |live: &Arc<Live>| Method::ALL.map(|method| live.read(method).0);
        self.live.iter().flat_map(of).sum()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for live in &self.live {
            for method in Method::ALL {
                let (requests, bytes) = live.read(method);
                counts.requests[method as usize] += requests;
                counts.bytes[method as usize] += bytes;
            }
            counts.errors += live.errors();
        }
        let cpu_ns = |threads: &[cpu::ThreadUsage], is_one: &dyn Fn(&str) -> bool| {
            threads.iter().filter(|thread| is_one(&thread.name)).map(|one| one.usage.cpu_ns).sum()
        };
        let own = cpu::threads_of(std::process::id()).unwrap_or_default();
        counts.load_cpu_ns = cpu_ns(&own, &|name| name.starts_with(THREAD_NAME));
        counts.server_cpu_ns = match self.settings.server_pid {
            Some(pid) => cpu::threads_of(pid).map(|threads| cpu_ns(&threads, &|_| true)),
            None if self.settings.target.is_none() => {
                Some(cpu_ns(&own, &|name| loop_number(name).is_some()))
            }
            None => None,
        };
        counts
    }

    fn summary(&self, target: &Target, phase: Phase, begin: u64, until: u64) -> Summary {
        let settings = self.settings;
        let workload = settings.workload;
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
        let elapsed_ns = elapsed.as_nanos() as u64;
        let load = load.into_iter().map(|done| LoadThread {
            core: cores.get(done.thread % cores.len().max(1)).copied(),
            answered: done.recorder.answered_total(),
            cpu_ns: done.usage.cpu_ns,
            busy: done.usage.busy(elapsed_ns),
            waited: done.usage.waited_ns as f64 / elapsed_ns as f64,
        });
        Summary {
            target: target.to_string(),
            connections: settings.connections,
            pipelining: settings.pipelining,
            workload,
            planned: planned(settings.length),
            warmup: settings.warmup,
            started: SystemTime::now(),
            opening: Opening::default(),
            elapsed,
            rates: Method::ALL.map(|method| Rates::of(&phase.series, method)),
            series: phase.series,
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
            // Where that is not allowed the thread runs where it may.
            let _ = pin(core);
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
