//! Everything that a run is made of, validated.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::against;
use super::error::Error;
use super::method::Method;
use super::metrics::Page;
use super::rate::Pace;
use super::request;
use super::request_list::RequestFile;
use super::statistics::PAIRS_MIN;
use super::steps::Range;
use super::target::Target;
use super::template::Template;
use super::threshold::Threshold;
use super::tls::Trust;
use super::trace::Trace;
use super::units;
use super::verify::Ledger;
use super::workload::Workload;

/// When the measurement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After this many requests over all connections.
    Requests(u64),
}

/// A rate that changes over the run, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// At the beginning; may be 0.
    pub from: f64,
    /// At the end; may be 0.
    pub to: f64,
}

impl Ramp {
    /// Parses `FROM..TO`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").ok_or("write FROM..TO, such as 1k..100k")?;
        let (from, to) = (units::rate(from)?, units::rate(to)?);
        let is_right = from >= 0.0 && to >= 0.0 && from + to > 0.0;
        if is_right { Ok(Self { from, to }) } else { Err("rates are from 0 up".to_owned()) }
    }
}

/// The other server, and how often both take turns.
#[derive(Debug, Clone)]
pub struct Against {
    /// The second server.
    pub target: Target,
    /// Its process, to report its CPU time.
    pub server_pid: Option<u32>,
    /// The number of rounds.
    pub rounds: usize,
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server to measure; without one, a corekv server is started inside the process.
    pub target: Option<Target>,
    /// Number of connections.
    pub connections: usize,
    /// Requests in flight per connection.
    pub pipelining: usize,
    /// When the measurement ends.
    pub length: Length,
    /// Load for this long before the measurement.
    pub warmup: Duration,
    /// Number of load threads; without it half of the cores.
    pub threads: Option<usize>,
    /// The cores that the load threads are pinned to, in turn.
    pub cores: Option<Vec<usize>>,
    /// What is sent.
    pub workload: Workload,
    /// The paths of requests, after the prefix of the server.
    pub path: Template,
    /// The body of every request that has one, instead of a value.
    pub body: Option<Vec<u8>>,
    /// Requests to send instead of the workload's.
    pub request_file: Option<RequestFile>,
    /// Whether every key is stored before the measurement.
    pub preload: bool,
    /// Requests per second over all connections; without it, as fast as the answers come.
    pub rate: Option<f64>,
    /// Requests per second at the beginning and at the end instead.
    pub ramp: Option<Ramp>,
    /// Whether the values that are read are checked.
    pub verify: bool,
    /// More header fields, each `Name: value`.
    pub headers: Vec<String>,
    /// Whose certificates are trusted, if the server is to be spoken to by TLS.
    pub trust: Trust,
    /// How long a request may stay without answer, and a connection attempt without success.
    pub timeout: Duration,
    /// The process whose CPU time is the server's.
    pub server_pid: Option<u32>,
    /// The server that takes turns with the first one.
    pub against: Option<Against>,
    /// The rates of a sweep.
    pub sweep: Option<Range>,
    /// What the steps of a sweep must keep.
    pub slo: Vec<Threshold>,
    /// When the measurement begins.
    pub start_at: Option<SystemTime>,
    /// Requests per second over a connection beside those that load the server.
    pub probe: Option<f64>,
    /// What is sent instead of the workload.
    pub trace: Option<Arc<Trace>>,
    /// Where the run can be watched.
    pub metrics: Option<String>,
    /// The page there, once it is served.
    pub(super) page: Option<Page>,
    /// Whether a run that was disturbed is a failure.
    pub strict: bool,
    /// Limits whose violation is a failure.
    pub fail_if: Vec<Threshold>,
    /// After so many requests a connection is closed and opened again.
    pub connection_requests: Option<u64>,
    /// The arguments of the server that is started inside the process.
    pub server_arguments: Vec<OsString>,
    /// Where results go, besides the report.
    pub outputs: Outputs,
    /// No report and no progress.
    pub quiet: bool,
    /// Whether the report may use colours.
    pub color: bool,
}

/// Files to write; `-` is standard output.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// The results as JSON.
    pub json: Option<PathBuf>,
    /// The results as CSV.
    pub csv: Option<PathBuf>,
    /// All latencies in HdrHistogram's percentile format.
    pub hgrm: Option<PathBuf>,
    /// All latencies as HdrHistogram's log.
    pub hdr_log: Option<PathBuf>,
    /// A page with plots.
    pub html: Option<PathBuf>,
    /// A line per second as CSV.
    pub series: Option<PathBuf>,
}

impl Outputs {
    /// Whether one of the outputs goes where the report would go.
    pub fn use_stdout(&self) -> bool {
        self.paths().any(|(_, path)| path.as_os_str() == "-")
    }

    /// The flag and the path of each output.
    pub fn paths(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let named = [
            ("--json", &self.json),
            ("--csv", &self.csv),
            ("--hgrm", &self.hgrm),
            ("--hdr-log", &self.hdr_log),
            ("--html", &self.html),
            ("--series", &self.series),
        ];
        named.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
    }

    /// Refuses outputs that a kind of run does not have.
    fn only(&self, kind: &str, flags: &[&str]) -> Result<(), Error> {
        match self.paths().find(|(flag, _)| !flags.contains(flag)) {
            Some((flag, _)) => Err(Error::usage(format!(
                "{kind} has no {flag}; it can be written with {}",
                flags.join(" and ")
            ))),
            None => Ok(()),
        }
    }

    /// Refuses two outputs to one place, where they would run together.
    fn check(&self) -> Result<(), Error> {
        let paths: Vec<_> = self.paths().collect();
        for (index, (flag, path)) in paths.iter().enumerate() {
            if let Some((earlier, _)) = paths[..index].iter().find(|(_, other)| other == path) {
                let place = match path.to_str() {
                    Some("-") => "standard output".to_owned(),
                    _ => path.display().to_string(),
                };
                return Err(Error::usage(format!("{earlier} and {flag} both write to {place}")));
            }
        }
        Ok(())
    }
}

/// Rounds that can be asked for, at least as many as can show a difference.
pub const ROUNDS_MIN: usize = PAIRS_MIN;

/// Rounds that can be asked for at most.
pub const ROUNDS_MAX: usize = 1000;

/// Connections beyond this number would find no free port.
pub const CONNECTIONS_MAX: usize = 60_000;

/// Requests in flight per connection beyond this number measure nothing but buffers.
pub const PIPELINING_MAX: usize = 65_536;

/// A probe that sends more than this per second would load the server itself.
const PROBE_RATE_MAX: f64 = 100_000.0;

impl Settings {
    /// How fast requests are sent; without it, as fast as the answers come.
    pub fn pace(&self) -> Option<Pace> {
        if let Some(trace) = &self.trace {
            return trace.pace();
        }
        match (self.ramp, self.length) {
            (Some(Ramp { from, to }), Length::Time(time)) => Some(Pace::ramp(from, to, time)),
            _ => self.rate.map(Pace::Constant),
        }
    }

    /// Whether the server is taken for one of keys and values.
    pub fn is_key_value(&self) -> bool {
        self.request_file.is_none() && self.path.has_key()
    }

    /// The files that an output of one run goes to: with two servers each has its own, `x.a.csv` and
    /// `x.b.csv` for `x.csv`.
    pub(super) fn paths_of_runs(&self, path: &Path) -> Vec<PathBuf> {
        if self.against.is_none() {
            return vec![path.to_owned()];
        }
        let of_side = |side: &str| match path.extension() {
            Some(extension) => path.with_extension(format!("{side}.{}", extension.display())),
            None => path.with_extension(side),
        };
        against::SIDES.map(of_side).into()
    }

    /// Checks what only the whole can tell.
    pub fn check(&self) -> Result<(), Error> {
        self.workload.check()?;
        self.outputs.check()?;
        if self.target.is_some() && !self.server_arguments.is_empty() {
            return Err(Error::usage(
                "arguments after -- are for a server inside the process, but another one is named",
            ));
        }
        let other = self.against.as_ref().map(|against| &against.target);
        let is_secure = self.target.iter().chain(other).any(Target::is_secure);
        if self.trust != Trust::System && !is_secure {
            return Err(Error::usage("--cacert and --insecure are for a server at https://"));
        }
        for field in &self.headers {
            request::check_field(field).map_err(|why| Error::usage(format!("--{why}")))?;
        }
        if !self.is_key_value() && (self.preload || self.verify) {
            return Err(Error::usage("--preload and --verify need paths that the key is part of"));
        }
        if self.trace.is_some() && !self.path.has_key() {
            return Err(Error::usage("--trace needs a path that the key is part of"));
        }
        if self.verify && self.body.is_some() {
            return Err(Error::usage("--verify writes values of its own, and no --body-file"));
        }
        if self.verify {
            Ledger::check_settings(&self.workload, self.connections)?;
        }
        if self.verify && self.workload.mix.sends(Method::Delete) {
            return Err(Error::usage("--verify cannot tell a deleted value from a lost one"));
        }
        if self.threads.is_some_and(|threads| threads > self.connections) {
            return Err(Error::usage("more --threads than --connections"));
        }
        if self.connection_requests == Some(0) {
            return Err(Error::usage("--connection-requests 0 sends nothing"));
        }
        if let Length::Requests(0) = self.length {
            return Err(Error::usage("--requests 0 measures nothing"));
        }
        if let Some(rate) = self.rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return Err(Error::usage(format!("--rate {rate}: not a number above 0")));
        }
        if let Some(rate) = self.probe
            && !(rate > 0.0 && rate <= PROBE_RATE_MAX)
        {
            return Err(Error::usage(format!(
                "--probe {rate}: not a number above 0 and up to {PROBE_RATE_MAX}"
            )));
        }
        self.check_against()?;
        self.check_sweep()?;
        if self.ramp.is_some() && matches!(self.length, Length::Requests(_)) {
            return Err(Error::usage("--ramp rises over --duration, not over --requests"));
        }
        Ok(())
    }

    fn check_against(&self) -> Result<(), Error> {
        let Some(against) = &self.against else { return Ok(()) };
        if self.ramp.is_some() {
            return Err(Error::usage("--against compares equal turns, and a --ramp has none"));
        }
        if !(ROUNDS_MIN..=ROUNDS_MAX).contains(&against.rounds) {
            return Err(Error::usage(format!(
                "--rounds {}: not a number from {ROUNDS_MIN} to {ROUNDS_MAX}",
                against.rounds
            )));
        }
        let Outputs { hgrm, hdr_log, series, .. } = &self.outputs;
        let of_runs = [("--hgrm", hgrm), ("--hdr-log", hdr_log), ("--series", series)];
        let is_stdout = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path == "-");
        match of_runs.into_iter().find(|(_, path)| is_stdout(path)) {
            Some((flag, _)) => Err(Error::usage(format!(
                "with --against {flag} is a file for each server, and not standard output"
            ))),
            None => Ok(()),
        }
    }

    fn check_sweep(&self) -> Result<(), Error> {
        if self.sweep.is_none() {
            return Ok(());
        }
        let others = [
            (self.against.is_some(), "--against"),
            (self.rate.is_some(), "--rate"),
            (self.ramp.is_some(), "--ramp"),
            (!self.fail_if.is_empty(), "--fail-if; its limits are --slo's"),
            (matches!(self.length, Length::Requests(_)), "--requests; a step takes --duration"),
        ];
        if let Some((_, other)) = others.iter().find(|(is_there, _)| *is_there) {
            return Err(Error::usage(format!("--sweep goes without {other}")));
        }
        self.outputs.only("--sweep", &["--json", "--html"])
    }
}
