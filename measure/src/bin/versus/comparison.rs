//! The rounds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corekv::net::allowed_cores;
use measure::load::{Client, Pace, Requests, Wire, value};

use crate::grid::{Group, Setup};
use crate::options::Options;
use crate::results::{Cell, Sample, Step, spread};
use crate::running::{Running, Start};
use crate::server::Server;

/// Time before it is measured, for connections, caches and branch predictors.
const WARM_UP: Duration = Duration::from_millis(100);

/// Depth at which the saturation rate is taken.
const SATURATION_DEPTH: usize = 10;

pub(crate) struct Comparison<'a> {
    options: &'a Options,
    programs: &'a Path,
    servers: Vec<Server>,
    groups: Vec<Group>,
    server_cores: Vec<usize>,
    load_cores: Vec<usize>,
    interrupted: Arc<AtomicBool>,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) servers: Vec<Server>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) steps: Vec<Step>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) connections: u32,
    pub(crate) keys: u64,
    pub(crate) server_cores: usize,
    pub(crate) load_cores: usize,
    /// The command line, to repeat it with.
    pub(crate) command: String,
    pub(crate) took: Duration,
}

/// Prepared requests of one group, shared by the servers of a protocol.
struct Prepared {
    group: Group,
    by_wire: Vec<(Wire, Requests)>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(options: &'a Options, programs: &'a Path) -> Result<Self, String> {
        let mut servers = Vec::new();
        for name in &options.servers {
            match Server::find(name, programs) {
                Ok(server) => servers.push(server),
                Err(error) => eprintln!("left out: {error}"),
            }
        }
        for build in &options.build {
            servers.push(Server::build(build)?);
        }
        let allowed = allowed_cores().map_err(|error| error.to_string())?;
        let half = allowed.len() / 2;
        let lower = options.server_cores.clone().unwrap_or_else(|| allowed[..half.max(1)].to_vec());
        let upper = options.load_cores.clone().unwrap_or_else(|| allowed[half..].to_vec());
        if lower.iter().any(|core| upper.contains(core)) {
            eprintln!("server and load share a core: the figures say little");
        }
        // What runs has to be ended, workers included.
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(|error| error.to_string())?;
        }
        Ok(Self {
            options,
            programs,
            servers,
            groups: options.groups(),
            server_cores: lower,
            load_cores: upper,
            interrupted,
        })
    }

    pub(crate) fn run(&self) -> Result<Results, String> {
        let options = self.options;
        let begun = Instant::now();
        let nothing = || vec![Vec::new(); self.servers.len()];
        let mut cells: Vec<Cell> = Vec::new();
        for &group in &self.groups {
            for &depth in &options.depths {
                cells.push(Cell { group, depth, samples: nothing() });
            }
        }
        let step = |share| Step { share, samples: nothing() };
        let mut steps: Vec<Step> = options.loads().map(step).collect();
        for round in 1..=options.rounds {
            let mut setups: Vec<Setup> = Vec::new();
            for group in &self.groups {
                if !setups.contains(&group.setup) {
                    setups.push(group.setup);
                }
            }
            for (number, &setup) in setups.iter().enumerate() {
                let elapsed = begun.elapsed().as_secs();
                eprintln!(
                    "round {round} of {}, {} after {elapsed} s",
                    options.rounds,
                    format_args!("set-up {} of {}", number + 1, setups.len())
                );
                let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
                let running = self.start(setup, folder.path());
                self.measure_setup(setup, &running, &mut cells)?;
                if number == 0 {
                    self.measure_latency(&running, &cells, &mut steps)?;
                }
            }
        }
        Ok(Results {
            servers: self.servers.clone(),
            cells,
            steps,
            rounds: options.rounds,
            seconds: options.seconds,
            connections: options.connections,
            keys: options.keys,
            server_cores: self.server_cores.len(),
            load_cores: self.load_cores.len(),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            took: begun.elapsed(),
        })
    }

    /// All servers, with all keys stored.
    fn start(&self, setup: Setup, folder: &Path) -> Vec<Option<Running>> {
        let start = Start { setup, cores: &self.server_cores, folder, programs: self.programs };
        let started = self.servers.iter().map(|server| {
            let running = Running::start(server, &start)?;
            if server.stores() {
                let (keys, value) = (setup.keys(self.options.keys), value(setup.value_bytes));
                self.client(&running, 0.0)
                    .preload(&server.wire(setup), 0..keys, &value, &running.replies)
                    .map_err(|error| format!("keys can't be stored: {error}"))?;
            }
            Ok::<_, String>(running)
        });
        let started = started.zip(&self.servers).map(|(running, server)| {
            running.inspect_err(|error| eprintln!("{}: {error}", server.name)).ok()
        });
        started.collect()
    }

    fn client(&self, running: &Running, seconds: f64) -> Client {
        Client {
            address: running.address.clone(),
            cores: self.load_cores.clone(),
            connections: self.options.connections as usize,
            warm_up: WARM_UP,
            duration: Duration::from_secs_f64(seconds),
        }
    }

    /// All cells of a set-up, in which the servers take turns.
    fn measure_setup(
        &self,
        setup: Setup,
        running: &[Option<Running>],
        cells: &mut [Cell],
    ) -> Result<(), String> {
        let mut prepared = None;
        for cell in cells.iter_mut().filter(|cell| cell.group.setup == setup) {
            for (number, running) in running.iter().enumerate() {
                let pace = Pace::Closed { depth: cell.depth };
                let sample =
                    self.sample(number, running.as_ref(), cell.group, pace, &mut prepared)?;
                cell.samples[number].push(sample);
            }
        }
        Ok(())
    }

    /// Latency at shares of the rate that each server has reached in this round.
    fn measure_latency(
        &self,
        running: &[Option<Running>],
        cells: &[Cell],
        steps: &mut [Step],
    ) -> Result<(), String> {
        let base = self.groups[0];
        let saturated = cells
            .iter()
            .filter(|cell| cell.group == base)
            .min_by_key(|cell| cell.depth.abs_diff(SATURATION_DEPTH));
        let Some(saturated) = saturated else { return Ok(()) };
        let mut prepared = None;
        for step in steps {
            for (number, running) in running.iter().enumerate() {
                let last = saturated.samples[number].last().cloned().flatten();
                let running = running.as_ref().filter(|_| last.is_some());
                let rate = step.share * last.as_ref().map_or(0.0, Sample::rate);
                let sample =
                    self.sample(number, running, base, Pace::Open { rate }, &mut prepared)?;
                step.samples[number].push(sample);
            }
        }
        Ok(())
    }

    /// One server at work, or nothing where the workload has no meaning to it, or it fails.
    fn sample(
        &self,
        number: usize,
        running: Option<&Running>,
        group: Group,
        pace: Pace,
        prepared: &mut Option<Prepared>,
    ) -> Result<Option<Sample>, String> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        let server = &self.servers[number];
        let (Some(running), true) = (running, server.takes_part(group)) else { return Ok(None) };
        let (wire, workload) = (server.wire(group.setup), group.workload(self.options.keys));
        if prepared.as_ref().is_none_or(|prepared: &Prepared| prepared.group != group) {
            *prepared = Some(Prepared { group, by_wire: Vec::new() });
        }
        let by_wire = &mut prepared.as_mut().expect("it was just set").by_wire;
        let at = by_wire.iter().position(|(prepared, _)| *prepared == wire).unwrap_or_else(|| {
            by_wire.push((wire.clone(), Requests::draw(&wire, &workload, 1)));
            by_wire.len() - 1
        });
        let client = self.client(running, self.options.seconds);
        match client.run(&by_wire[at].1, &running.replies, pace, running.pid()) {
            Ok(measured) if measured.requests > 0 => {
                Ok(Some(Sample::new(&measured, self.server_cores.len())))
            }
            Ok(_) => {
                eprintln!("{}: no reply in {group}", server.name);
                Ok(None)
            }
            Err(error) => {
                eprintln!("{}: {error} in {group}", server.name);
                Ok(None)
            }
        }
    }
}

impl Results {
    /// The cells of a group, by depth.
    pub(crate) fn of(&self, group: Group) -> Vec<&Cell> {
        self.cells.iter().filter(|cell| cell.group == group).collect()
    }

    /// All groups, in order.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for cell in &self.cells {
            if groups.last() != Some(&cell.group) {
                groups.push(cell.group);
            }
        }
        groups
    }

    /// Number of the server with that name.
    pub(crate) fn server(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// Servers that brought at least one figure in the cells.
    pub(crate) fn present(&self, cells: &[&Cell]) -> Vec<usize> {
        let present = |server: &usize| {
            cells.iter().any(|cell| spread(&cell.samples[*server], Sample::rate).is_some())
        };
        (0..self.servers.len()).filter(present).collect()
    }
}
