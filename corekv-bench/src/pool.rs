//! The load threads: has all of them do a task, waits, and merges what they recorded.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use corekv::net::pin;
use rustix::process::nice;

use super::context::Common;
use super::cpu;
use super::embedded::loop_number;
use super::error::Error;
use super::live::Live;
use super::method::Method;
use super::metrics::Look;
use super::progress::{PROGRESS_INTERVAL, Progress};
use super::recorder::{Latencies, Recorder, latency_histogram, no_latencies};
use super::series::{Counts, Point, Series};
use super::settings::Settings;
use super::task::{Done, Share, Task};
use super::worker::Worker;

/// What the names of the load threads begin with; the number of the thread follows.
const THREAD_NAME: &str = "load-";

/// What is added to the priority of the probe's thread; less is more urgent.
const PROBE_NICE: i32 = -10;

/// How often the page of metrics is rendered.
const PAGE_INTERVAL: Duration = Duration::from_secs(1);

/// The load threads, and what is needed to talk to them.
pub(super) struct Pool {
    settings: Settings,
    live: Vec<Arc<Live>>,
    tasks: Vec<Sender<Task>>,
    done: Receiver<Result<Done, String>>,
    handles: Vec<JoinHandle<()>>,
}

/// What all threads together did in one task.
pub(super) struct Phase {
    pub(super) done: Vec<Done>,
    pub(super) recorder: Recorder,
    pub(super) series: Vec<Point>,
}

impl Pool {
    /// Starts so many threads, which are pinned to these cores in turn.
    pub(super) fn start(
        settings: &Settings,
        common: &Arc<Common>,
        threads: usize,
        cores: &[usize],
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let (sender, done) = channel();
        let settings = settings.clone();
        let mut pool =
            Self { settings, live: Vec::new(), tasks: Vec::new(), done, handles: Vec::new() };
        for thread in 0..threads {
            let (task_sender, tasks) = channel();
            let live = Arc::new(Live::default());
            let connections = pool.settings.connections;
            let share = Share { thread, threads, connections, is_probe: false };
            let body = Body {
                core: cores.get(thread % cores.len().max(1)).copied(),
                share,
                settings: pool.settings.clone(),
                common: Arc::clone(common),
                live: Arc::clone(&live),
                stop: Arc::clone(stop),
                tasks,
                done: sender.clone(),
            };
            pool.handles.push(body.spawn(format!("{THREAD_NAME}{thread}"))?);
            pool.live.push(live);
            pool.tasks.push(task_sender);
        }
        Ok(pool)
    }

    /// Has all threads do a task and waits for them, while showing progress and taking samples.
    pub(super) fn phase(&mut self, task: Task, name: &str) -> Result<Phase, Error> {
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
        let mut next_page = begin;
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
                    if next_show >= next_page {
                        next_page += PAGE_INTERVAL;
                        self.publish(name, &latencies, &series);
                    }
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

    /// Renders what is served to those who watch.
    fn publish(&self, phase: &str, latencies: &Latencies, series: &Series) {
        let Some(page) = &self.settings.page else { return };
        let mut all = latency_histogram();
        for latency in latencies.iter().filter(|latency| !latency.is_empty()) {
            // All have the same bounds, so the counts always fit.
            all.add(latency).expect("equal bounds");
        }
        let (counts, last) = (self.counts(), series.latest());
        page.publish(Look { phase, counts: &counts, latency: &all, last }.render());
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
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tasks.clear();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

/// A load thread that is not one of the pool.
pub(super) struct LoadThread {
    live: Arc<Live>,
    tasks: Option<Sender<Task>>,
    done: Receiver<Result<Done, String>>,
    handle: Option<JoinHandle<()>>,
}

impl LoadThread {
    pub(super) fn start(
        name: String,
        core: Option<usize>,
        share: Share,
        settings: &Settings,
        common: &Arc<Common>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let (done_sender, done) = channel();
        let (task_sender, tasks) = channel();
        let live = Arc::new(Live::default());
        let body = Body {
            core,
            share,
            settings: settings.clone(),
            common: Arc::clone(common),
            live: Arc::clone(&live),
            stop: Arc::clone(stop),
            tasks,
            done: done_sender,
        };
        let handle = Some(body.spawn(name)?);
        Ok(Self { live, tasks: Some(task_sender), done, handle })
    }

    /// Has it do a task.
    pub(super) fn send(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // A thread that has ended says so when it is waited for.
            let _ = tasks.send(task);
        }
    }

    /// Waits for what it did.
    pub(super) fn wait(&self) -> Result<Done, Error> {
        let Ok(done) = self.done.recv() else {
            return Err(Error::failed("a load thread ended unexpectedly"));
        };
        let mut done = done.map_err(Error::failed)?;
        // What it handed over meanwhile nobody else has taken.
        self.live.take(|latencies| done.recorder.add_latencies(latencies));
        Ok(done)
    }
}

impl Drop for LoadThread {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

/// What a load thread takes with it.
struct Body {
    core: Option<usize>,
    share: Share,
    settings: Settings,
    common: Arc<Common>,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    tasks: Receiver<Task>,
    done: Sender<Result<Done, String>>,
}

impl Body {
    fn spawn(self, name: String) -> Result<JoinHandle<()>, Error> {
        std::thread::Builder::new()
            .name(name)
            .spawn(move || self.run())
            .map_err(|error| Error::failed(format!("cannot start a thread: {error}")))
    }

    fn run(self) {
        if self.share.is_probe {
            // Its wait for a core would be in its latencies. Where that is not allowed it waits.
            let _ = nice(PROBE_NICE);
        }
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
