//! What the command line may say, as clap parses it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{ArgAction, Parser};
use corekv::net::Cores;

use super::catalog;
use super::distribution::Distribution;
use super::mix::Mix;
use super::preset::Preset;
use super::request_list::Order;
use super::settings::{CONNECTIONS_MAX, PIPELINING_MAX, Ramp};
use super::start;
use super::steps::Range;
use super::target::Target;
use super::template::Template;
use super::threshold::Threshold;
use super::trace;
use super::units;
use super::values::Values;

/// Measures an HTTP key-value server under pipelined load.
///
/// Without --uri or --unix a corekv server is started inside the process and measured; what
/// follows -- are its own arguments, such as -- --memory 64MiB.
/// Exit code: 0 if all is well, 1 if values were lost or wrong or requests failed or a result
/// could not be written, 2 if the command line was wrong, 130 after Ctrl-C, 143 after SIGTERM.
/// Numbers may have units: 10k, 1M, 4KiB, 500ms, 1m30s.
#[derive(Debug, Parser)]
#[command(name = "corekv-bench", version, args_override_self = true)]
#[command(
    after_help = "`corekv-bench compare A.json B.json` says whether results differ by more than chance.\n`corekv-bench merge A.log B.log` adds up what several processes measured at the same time."
)]
pub(super) struct Arguments {
    /// The server, as --uri names it
    #[arg(value_name = "URI", conflicts_with_all = ["uri", "unix"])]
    pub(super) url: Option<String>,
    /// The server, as http://HOST[:PORT][/PREFIX] or https://; keys are appended
    #[arg(long, value_name = "URI", conflicts_with = "unix")]
    pub(super) uri: Option<String>,
    /// The server's Unix-domain socket
    #[arg(long, value_name = "PATH")]
    pub(super) unix: Option<PathBuf>,
    /// Number of connections
    #[arg(long, short, value_name = "N", default_value = "20", value_parser = connections)]
    pub(super) connections: usize,
    /// Requests in flight per connection
    #[arg(long, short, value_name = "N", default_value = "10", value_parser = pipelining)]
    pub(super) pipelining: usize,
    /// How long to measure, in seconds or with a unit (500ms, 2m)
    /// [default: 10]
    #[arg(long, short, value_name = "TIME", value_parser = some_time)]
    pub(super) duration: Option<Duration>,
    /// Send this many requests instead of measuring for a time
    #[arg(long, short = 'n', value_name = "N", value_parser = units::count, conflicts_with = "duration")]
    pub(super) requests: Option<u64>,
    /// Load for this long before the measurement
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::time)]
    pub(super) warmup: Duration,
    /// Close a connection after this many requests and open another
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub(super) connection_requests: Option<u64>,
    /// Number of load threads [default: half of the cores]
    #[arg(long, short, value_name = "N", value_parser = positive)]
    pub(super) threads: Option<usize>,
    /// Cores for the load threads, such as 1 or 2-3,7 [default: the upper half]
    #[arg(long, value_name = "LIST")]
    pub(super) cores: Option<Cores>,
    /// The path and query of requests, after the URI's prefix: {key} is the key, and n in braces the
    /// number of the request. Without {key} any server will do, nothing is stored before, and GET is
    /// all that is sent unless --write-ratio or --method-mix says otherwise [default: /{key}]
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::parse_path)]
    pub(super) path: Option<Template>,
    /// Send the requests of this file instead: a JSON object per line, with path, method, headers,
    /// body or body_file, weight
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "write_ratio", "method_mix",
          "value_bytes", "body_file", "preload", "verify", "workload", "read_through", "probe"])]
    pub(super) request_file: Option<PathBuf>,
    /// Whether the requests of the file come in sequence or at random, by weight
    #[arg(long, value_name = "ORDER", default_value = "sequence", requires = "request_file")]
    pub(super) request_order: Order,
    /// The body of every POST and PUT
    #[arg(long, value_name = "FILE", conflicts_with_all = ["value_bytes", "verify"])]
    pub(super) body_file: Option<PathBuf>,
    /// Keys are the numbers below this one [default: 1000000]
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub(super) keys: Option<u64>,
    /// The share of POSTs, from 0 to 1; the rest are GETs [default: 0.2]
    #[arg(long, value_name = "R", value_parser = ratio)]
    pub(super) write_ratio: Option<f64>,
    /// Weights of the methods instead, such as get=70,head=5,post=20,put=3,delete=2, and of insert,
    /// scan and rmw (read, then write)
    #[arg(long, value_name = "LIST", value_parser = Mix::parse, conflicts_with = "write_ratio")]
    pub(super) method_mix: Option<Mix>,
    /// Length of the values, N or MIN-MAX [default: decimal numbers, the last one read plus one]
    #[arg(long, value_name = "N", value_parser = Values::parse)]
    pub(super) value_bytes: Option<Values>,
    /// How keys are drawn: uniform, zipf:THETA, latest:THETA or hotspot:KEYS%:DRAWS%
    /// [default: uniform]
    #[arg(long, value_name = "NAME", value_parser = Distribution::parse)]
    pub(super) distribution: Option<Distribution>,
    /// A published workload: ycsb-a to ycsb-f, facebook-etc, facebook-usr, facebook-zippydb,
    /// twitter-N, hotspot, cachebench-ram, cachebench:FILE
    #[arg(long, value_name = "NAME", value_parser = catalog::parse)]
    pub(super) workload: Option<Preset>,
    /// Follow each GET that misses by a PUT of its key
    #[arg(long)]
    pub(super) read_through: bool,
    /// What the random numbers derive from
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) seed: u64,
    /// Store every key before the measurement, so that every read must hit [default]
    #[arg(long, overrides_with = "no_preload")]
    pub(super) preload: bool,
    /// Measure the server with the keys that it has
    #[arg(long, overrides_with = "preload")]
    pub(super) no_preload: bool,
    /// Send this many requests per second, and count latency from when each was due
    #[arg(long, value_name = "N", value_parser = units::rate)]
    pub(super) rate: Option<f64>,
    /// Let the rate rise or fall evenly over the run, from the first number to the second
    #[arg(long, value_name = "FROM..TO", value_parser = Ramp::parse, conflicts_with = "rate")]
    pub(super) ramp: Option<Ramp>,
    /// Check every value that is read: its key, its version, its length, its bytes
    #[arg(long)]
    pub(super) verify: bool,
    /// Add a header field to every request; may be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE", action = ArgAction::Append)]
    pub(super) header: Vec<String>,
    /// Trust the authorities in this PEM file, for https:// [default: those of the system]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(super) cacert: Option<PathBuf>,
    /// Trust any certificate, for https://
    #[arg(long)]
    pub(super) insecure: bool,
    /// How long a request may stay without answer
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = some_time)]
    pub(super) timeout: Duration,
    /// The server's process, to report its CPU time
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// Write the results as JSON (- is standard output; the report then goes to standard error)
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the results as CSV (without FILE to standard output)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(super) csv: Option<PathBuf>,
    /// Write a line per second as CSV: rate, percentiles, errors, cores in use
    #[arg(long, value_name = "FILE")]
    pub(super) series: Option<PathBuf>,
    /// Write all latencies in HdrHistogram's percentile format
    #[arg(long, value_name = "FILE")]
    pub(super) hgrm: Option<PathBuf>,
    /// Write all latencies as HdrHistogram's log, for `corekv-bench merge`
    #[arg(long, value_name = "FILE")]
    pub(super) hdr_log: Option<PathBuf>,
    /// Write a page with plots, over time and by percentile, for a browser
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Load at one rate after the other: FROM..TO% of saturation, rates FROM..TO, each also with
    /// :STEP, or without a range search the highest rate that keeps --slo
    #[arg(long, value_name = "RANGE", num_args = 0..=1, default_missing_value = "",
          value_parser = Range::parse)]
    pub(super) sweep: Option<Range>,
    /// What a rate of a sweep must keep, such as p99<1ms; may be repeated
    #[arg(long, value_name = "RESULT<LIMIT", action = ArgAction::Append, requires = "sweep",
          value_parser = Threshold::parse)]
    pub(super) slo: Vec<Threshold>,
    /// Replay a trace: lines of timestamp,key,key size,value size,client id,operation,TTL
    #[arg(long, value_name = "FILE", conflicts_with_all = TRACE_CONFLICTS)]
    pub(super) trace: Option<PathBuf>,
    /// How much faster than recorded, or max: as fast as the answers come
    #[arg(long, value_name = "X", default_value = "1", requires = "trace",
          value_parser = speed)]
    pub(super) trace_speed: Speed,
    /// Measure latency with so many GETs per second over a connection of its own as well
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true,
          default_missing_value = "1000", value_parser = units::rate)]
    pub(super) probe: Option<f64>,
    /// Begin to measure at this time, in seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = start::parse)]
    pub(super) start_at: Option<SystemTime>,
    /// Take turns between the server and this one, and compare them (unix:PATH is a socket)
    #[arg(long, value_name = "URI", value_parser = other_target)]
    pub(super) against: Option<Target>,
    /// The process of the server that --against names
    #[arg(long, value_name = "PID", requires = "against")]
    pub(super) against_pid: Option<u32>,
    /// How often both servers have two turns each
    #[arg(long, value_name = "N", default_value = "12", requires = "against")]
    pub(super) rounds: usize,
    /// Serve what goes on at this address, for Prometheus
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) metrics: Option<String>,
    /// Fail if the load threads had to wait for a core for more than 3 % of the time
    #[arg(long)]
    pub(super) strict: bool,
    /// Fail if a result is beyond a limit, such as p99>1ms, rate<10k, errors>0; may be repeated
    #[arg(long, value_name = "RESULT>LIMIT", action = ArgAction::Append,
          value_parser = Threshold::parse)]
    pub(super) fail_if: Vec<Threshold>,
    /// No report and no progress, only complaints
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// No colours, as with NO_COLOR in the environment
    #[arg(long)]
    pub(super) no_color: bool,
    /// Arguments of the server inside the process
    #[arg(last = true, value_name = "SERVER ARGUMENTS")]
    pub(super) server_arguments: Vec<OsString>,
}

/// What a trace says itself.
const TRACE_CONFLICTS: [&str; 18] = [
    "request_file",
    "body_file",
    "probe",
    "against",
    "requests",
    "warmup",
    "keys",
    "write_ratio",
    "method_mix",
    "value_bytes",
    "distribution",
    "workload",
    "read_through",
    "preload",
    "rate",
    "ramp",
    "verify",
    "sweep",
];

/// How much faster than recorded; a type of its own, because to clap an option would mean a flag
/// that may be absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed(pub(super) Option<f64>);

fn speed(text: &str) -> Result<Speed, String> {
    trace::parse_speed(text).map(Speed)
}

fn other_target(text: &str) -> Result<Target, String> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(Target::unix(Path::new(path))),
        None => Target::parse(text).map_err(|error| error.to_string()),
    }
}

fn number_to(text: &str, max: usize) -> Result<usize, String> {
    match units::count(text).map(usize::try_from) {
        Ok(Ok(number)) if (1..=max).contains(&number) => Ok(number),
        _ => Err(format!("not a number from 1 to {max}")),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    number_to(text, CONNECTIONS_MAX)
}

fn pipelining(text: &str) -> Result<usize, String> {
    number_to(text, PIPELINING_MAX)
}

fn positive(text: &str) -> Result<usize, String> {
    number_to(text, 1024)
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

fn some_time(text: &str) -> Result<Duration, String> {
    match units::time(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        time => Ok(time),
    }
}
