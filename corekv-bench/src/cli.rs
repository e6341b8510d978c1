//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::error::ErrorKind;
use clap::{ArgAction, Parser};
use corekv::net::Cores;

use super::against::Against;
use super::error::Error;
use super::preset::Preset;
use super::request_list::{Order, RequestFile};
use super::settings::{CONNECTIONS_MAX, Length, Outputs, PIPELINING_MAX, Ramp, Settings};
use super::start;
use super::sweep::Range;
use super::target::Target;
use super::template::Template;
use super::threshold::Threshold;
use super::tls::Trust;
use super::trace::{self, Trace};
use super::units;
use super::values::VALUE_BYTES_MAX;
use super::workload::{Distribution, Mix, Values, Workload};

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
struct Arguments {
    /// The server, as --uri names it
    #[arg(value_name = "URI", conflicts_with_all = ["uri", "unix"])]
    url: Option<String>,
    /// The server, as http://HOST[:PORT][/PREFIX] or https://; keys are appended
    #[arg(long, value_name = "URI", conflicts_with = "unix")]
    uri: Option<String>,
    /// The server's Unix-domain socket
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Number of connections
    #[arg(long, short, value_name = "N", default_value = "20", value_parser = connections)]
    connections: usize,
    /// Requests in flight per connection
    #[arg(long, short, value_name = "N", default_value = "10", value_parser = pipelining)]
    pipelining: usize,
    /// How long to measure, in seconds or with a unit (500ms, 2m)
    /// [default: 10]
    #[arg(long, short, value_name = "TIME", value_parser = some_time)]
    duration: Option<Duration>,
    /// Send this many requests instead of measuring for a time
    #[arg(long, short = 'n', value_name = "N", value_parser = units::count, conflicts_with = "duration")]
    requests: Option<u64>,
    /// Load for this long before the measurement
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::time)]
    warmup: Duration,
    /// Close a connection after this many requests and open another
    #[arg(long, value_name = "N", value_parser = units::count)]
    connection_requests: Option<u64>,
    /// Number of load threads [default: half of the cores]
    #[arg(long, short, value_name = "N", value_parser = positive)]
    threads: Option<usize>,
    /// Cores for the load threads, such as 1 or 2-3,7 [default: the upper half]
    #[arg(long, value_name = "LIST")]
    cores: Option<Cores>,
    /// The path and query of requests, after the URI's prefix: {key} is the key, {n} the number of
    /// the request. Without {key} any server will do, nothing is stored before, and GET is all that
    /// is sent unless --write-ratio or --method-mix says otherwise [default: /{key}]
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::parse_path)]
    path: Option<Template>,
    /// Send the requests of this file instead: a JSON object per line, with path, method, headers,
    /// body or body_file, weight
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "write_ratio", "method_mix",
          "value_bytes", "body_file", "preload", "verify", "workload", "read_through", "probe"])]
    request_file: Option<PathBuf>,
    /// Whether the requests of the file come in sequence or at random, by weight
    #[arg(long, value_name = "ORDER", default_value = "sequence", requires = "request_file")]
    request_order: Order,
    /// The body of every POST and PUT
    #[arg(long, value_name = "FILE", conflicts_with_all = ["value_bytes", "verify"])]
    body_file: Option<PathBuf>,
    /// Keys are the numbers below this one [default: 1000000]
    #[arg(long, value_name = "N", value_parser = units::count)]
    keys: Option<u64>,
    /// The share of POSTs, from 0 to 1; the rest are GETs [default: 0.2]
    #[arg(long, value_name = "R", value_parser = ratio)]
    write_ratio: Option<f64>,
    /// Weights of the methods instead, such as get=70,head=5,post=20,put=3,delete=2, and of insert,
    /// scan and rmw (read, then write)
    #[arg(long, value_name = "LIST", value_parser = Mix::parse, conflicts_with = "write_ratio")]
    method_mix: Option<Mix>,
    /// Length of the values, N or MIN-MAX [default: decimal numbers, the last one read plus one]
    #[arg(long, value_name = "N", value_parser = Values::parse)]
    value_bytes: Option<Values>,
    /// How keys are drawn: uniform, zipf:THETA, latest:THETA or hotspot:KEYS%:DRAWS%
    /// [default: uniform]
    #[arg(long, value_name = "NAME", value_parser = Distribution::parse)]
    distribution: Option<Distribution>,
    /// A published workload: ycsb-a to ycsb-f, twitter-N, hotspot, cachebench-ram, cachebench:FILE
    #[arg(long, value_name = "NAME", value_parser = Preset::parse)]
    workload: Option<Preset>,
    /// Follow each GET that misses by a PUT of its key
    #[arg(long)]
    read_through: bool,
    /// What the random numbers derive from
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Store every key before the measurement, so that every read must hit [default]
    #[arg(long, overrides_with = "no_preload")]
    preload: bool,
    /// Measure the server with the keys that it has
    #[arg(long, overrides_with = "preload")]
    no_preload: bool,
    /// Send this many requests per second, and count latency from when each was due
    #[arg(long, value_name = "N", value_parser = units::rate)]
    rate: Option<f64>,
    /// Let the rate rise or fall evenly over the run, from the first number to the second
    #[arg(long, value_name = "FROM..TO", value_parser = Ramp::parse, conflicts_with = "rate")]
    ramp: Option<Ramp>,
    /// Check every value that is read: its key, its version, its length, its bytes
    #[arg(long)]
    verify: bool,
    /// Add a header field to every request; may be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE", action = ArgAction::Append)]
    header: Vec<String>,
    /// Trust the authorities in this PEM file, for https:// [default: those of the system]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Trust any certificate, for https://
    #[arg(long)]
    insecure: bool,
    /// How long a request may stay without answer
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = some_time)]
    timeout: Duration,
    /// The server's process, to report its CPU time
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Write the results as JSON (- is standard output; the report then goes to standard error)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the results as CSV (without FILE to standard output)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    csv: Option<PathBuf>,
    /// Write a line per second as CSV: rate, percentiles, errors, cores in use
    #[arg(long, value_name = "FILE")]
    series: Option<PathBuf>,
    /// Write all latencies in HdrHistogram's percentile format
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write all latencies as HdrHistogram's log, for `corekv-bench merge`
    #[arg(long, value_name = "FILE")]
    hdr_log: Option<PathBuf>,
    /// Write a page with plots, over time and by percentile, for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Load at one rate after the other: FROM..TO% of saturation, rates FROM..TO, each also with
    /// :STEP, or without a range search the highest rate that keeps --slo
    #[arg(long, value_name = "RANGE", num_args = 0..=1, default_missing_value = "",
          value_parser = Range::parse)]
    sweep: Option<Range>,
    /// What a rate of a sweep must keep, such as p99<1ms; may be repeated
    #[arg(long, value_name = "RESULT<LIMIT", action = ArgAction::Append, requires = "sweep",
          value_parser = Threshold::parse)]
    slo: Vec<Threshold>,
    /// Replay a trace: lines of timestamp,key,key size,value size,client id,operation,TTL
    #[arg(long, value_name = "FILE", conflicts_with_all = TRACE_CONFLICTS)]
    trace: Option<PathBuf>,
    /// How much faster than recorded, or max: as fast as the answers come
    #[arg(long, value_name = "X", default_value = "1", requires = "trace",
          value_parser = speed)]
    trace_speed: Speed,
    /// Measure latency with so many GETs per second over a connection of its own as well
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true,
          default_missing_value = "1000", value_parser = units::rate)]
    probe: Option<f64>,
    /// Begin to measure at this time, in seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = start::parse)]
    start_at: Option<SystemTime>,
    /// Take turns between the server and this one, and compare them (unix:PATH is a socket)
    #[arg(long, value_name = "URI", value_parser = other_target)]
    against: Option<Target>,
    /// The process of the server that --against names
    #[arg(long, value_name = "PID", requires = "against")]
    against_pid: Option<u32>,
    /// How often both servers have two turns each
    #[arg(long, value_name = "N", default_value = "12", requires = "against")]
    rounds: usize,
    /// Serve what goes on at this address, for Prometheus
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<String>,
    /// Fail if the load threads had to wait for a core for more than 3 % of the time
    #[arg(long)]
    strict: bool,
    /// Fail if a result is beyond a limit, such as p99>1ms, rate<10k, errors>0; may be repeated
    #[arg(long, value_name = "RESULT>LIMIT", action = ArgAction::Append,
          value_parser = Threshold::parse)]
    fail_if: Vec<Threshold>,
    /// No report and no progress, only complaints
    #[arg(long, short)]
    quiet: bool,
    /// No colours, as with NO_COLOR in the environment
    #[arg(long)]
    no_color: bool,
    /// Arguments of the server inside the process
    #[arg(last = true, value_name = "SERVER ARGUMENTS")]
    server_arguments: Vec<OsString>,
}

/// Parses a command line, the program's name first. Returns nothing if it asked for help or the
/// version, which are printed.
pub fn parse<I, T>(arguments: I) -> Result<Option<Settings>, Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.settings().map(Some),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            // Help that nobody reads needs no complaint.
            let _ = error.print();
            Ok(None)
        }
        Err(error) => Err(Error::usage(first_line(&error.to_string()))),
    }
}

/// Clap explains at length; the first line says what is wrong, and a tip what was meant. A list that
/// the first line announces belongs to it.
pub(super) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or(message);
    let mut line = line.strip_prefix("error: ").unwrap_or(line).to_owned();
    if line.ends_with(':') {
        let list = message.lines().skip(1).map(str::trim).take_while(|item| !item.is_empty());
        line += &format!(" {}", list.collect::<Vec<_>>().join(", "));
    }
    let tips = message.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    tips.fold(line, |line, tip| format!("{line}; {tip}"))
}

impl Arguments {
    fn settings(self) -> Result<Settings, Error> {
        let target = match (self.uri.as_ref().or(self.url.as_ref()), &self.unix) {
            (Some(uri), _) => Some(Target::parse(uri)?),
            (None, Some(path)) => Some(Target::unix(path)),
            (None, None) => None,
        };
        let trace = match &self.trace {
            None => None,
            Some(path) => {
                let trace = Trace::read(path, self.connections, self.trace_speed.0);
                Some(Arc::new(trace.map_err(|why| Error::usage(format!("--trace {why}")))?))
            }
        };
        let is_traced = trace.is_some();
        let length = match (self.requests, self.duration, &trace) {
            (Some(count), ..) => Length::Requests(count),
            (None, Some(time), _) => Length::Time(time),
            (None, None, Some(trace)) => Length::Requests(trace.requests()),
            (None, None, None) => Length::Time(DURATION),
        };
        let traced_keys = trace.as_ref().map(|trace| trace.keys());
        let preset = self.workload.unwrap_or(Preset::NEUTRAL);
        let mix = self.method_mix.or(self.write_ratio.map(Mix::write_ratio)).or(preset.mix);
        let rounds = self.rounds;
        let server_pid = self.against_pid;
        let against = self.against.map(|target| Against { target, server_pid, rounds });
        let path = self.path.unwrap_or_else(Template::key_path);
        let has_keys = path.has_key() && self.request_file.is_none();
        let request_file = self.request_file.as_ref();
        let request_file =
            request_file.map(|file| RequestFile::read(file, self.request_order)).transpose()?;
        let default_ratio = if has_keys { WRITE_RATIO } else { 0.0 };
        let mix = request_file.as_ref().map(RequestFile::mix).or(mix);
        let body = self.body_file.as_deref().map(read_body).transpose()?;
        let values = body.as_ref().map(|body| Values::of_length(body.len()));
        let settings = Settings {
            target,
            against,
            connections: self.connections,
            pipelining: self.pipelining,
            length,
            trace,
            probe: self.probe,
            start_at: self.start_at,
            metrics: self.metrics,
            page: None,
            warmup: self.warmup,
            threads: self.threads,
            cores: match self.cores {
                None | Some(Cores::Auto) => None,
                Some(Cores::List(cores)) => Some(cores),
            },
            workload: Workload {
                keys: traced_keys.or(self.keys).or(preset.keys).unwrap_or(KEYS),
                distribution: self.distribution.unwrap_or(preset.distribution),
                mix: mix.unwrap_or_else(|| Mix::write_ratio(default_ratio)),
                values: values.or(self.value_bytes).or(preset.values).unwrap_or(Values::Counter),
                seed: self.seed,
                read_through: self.read_through || preset.read_through,
            },
            sweep: self.sweep,
            slo: self.slo,
            preload: self.preload || (has_keys && !self.no_preload && !is_traced),
            path,
            body,
            request_file,
            rate: self.rate,
            ramp: self.ramp,
            verify: self.verify,
            headers: self.header,
            trust: match (self.cacert, self.insecure) {
                (Some(path), _) => Trust::File(path),
                (None, true) => Trust::Anyone,
                (None, false) => Trust::System,
            },
            timeout: self.timeout,
            server_pid: self.server_pid,
            outputs: Outputs {
                json: self.json,
                csv: self.csv,
                hgrm: self.hgrm,
                hdr_log: self.hdr_log,
                html: self.html,
                series: self.series,
            },
            strict: self.strict,
            fail_if: self.fail_if,
            connection_requests: self.connection_requests,
            server_arguments: self.server_arguments,
            quiet: self.quiet,
            color: !self.no_color,
        };
        settings.check()?;
        Ok(settings)
    }
}

/// What is sent unless something else is asked for.
const KEYS: u64 = 1_000_000;
const WRITE_RATIO: f64 = 0.2;
const DURATION: Duration = Duration::from_secs(10);

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
struct Speed(Option<f64>);

fn speed(text: &str) -> Result<Speed, String> {
    trace::parse_speed(text).map(Speed)
}

fn other_target(text: &str) -> Result<Target, String> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(Target::unix(Path::new(path))),
        None => Target::parse(text).map_err(|error| error.to_string()),
    }
}

/// The body that every write has.
fn read_body(path: &Path) -> Result<Vec<u8>, Error> {
    let bad = |why: String| Error::usage(format!("--body-file {}: {why}", path.display()));
    let body = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    if body.len() > VALUE_BYTES_MAX as usize {
        return Err(bad(format!("more than {VALUE_BYTES_MAX} bytes")));
    }
    Ok(body)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Settings, Error> {
        parse(line.split_ascii_whitespace()).map(|settings| settings.expect("no help asked for"))
    }

    #[test]
    fn the_originals_command_line_works() {
        let line = "corekv-bench --connections=20 --pipelining=10 --duration=30 \
                    --uri=http://localhost:8080";
        let settings = parsed(line).unwrap();
        assert_eq!((settings.connections, settings.pipelining), (20, 10));
        assert_eq!(settings.length, Length::Time(Duration::from_secs(30)));
        assert_eq!(settings.target, Some(Target::parse("http://localhost:8080").unwrap()));
        assert!(settings.preload);
    }

    #[test]
    fn switches_have_their_opposites_and_the_last_one_counts() {
        assert!(!parsed("b --no-preload").unwrap().preload);
        assert!(parsed("b --no-preload --preload").unwrap().preload);
        assert!(!parsed("b --preload --no-preload").unwrap().preload);
    }

    #[test]
    fn core_lists_have_ranges() {
        assert_eq!(parsed("b --cores 0-2,5").unwrap().cores, Some(vec![0, 1, 2, 5]));
        assert_eq!(parsed("b --cores auto").unwrap().cores, None);
        assert!(parsed("b --cores 2-1").is_err());
    }

    #[test]
    fn what_cannot_be_done_is_refused_in_one_line() {
        for line in [
            "b --connections=0",
            "b --pipelining=0",
            "b --duration=0",
            "b --duration=x",
            "b --keys=0",
            "b --requests=0",
            "b --requests=1 --duration=1",
            "b --write-ratio=1.1",
            "b --write-ratio=0.1 --method-mix=get=1",
            "b --method-mix=get",
            "b --value-bytes=9-1",
            "b --distribution=zipf",
            "b --rate=0",
            "b --threads=21",
            "b --uri=localhost",
            "b --uri=http://a --unix=/x",
            "b --verify --method-mix=get=1,delete=1",
            "b --nonsense",
            "b stray",
            "b http://a --uri=http://b",
            "b http://a -- --memory 1GiB",
            "b http://a --against http://b --rounds 9",
            "b http://a --against http://b --ramp 1..2",
            "b http://a --against http://b --hgrm x",
            "b http://a --against b",
            "b http://a --rounds 12",
            "b --ramp 1..2 --rate 3",
            "b --ramp 0..0",
            "b --sweep 10",
            "b --sweep 10..20% --rate 3",
            "b --sweep 10..20% --csv",
            "b --sweep 10..20% --against http://b",
            "b --sweep 10..20% --requests 7",
            "b --slo p99<1ms",
            "b --workload nonsense",
            "b --probe=0",
            "b --start-at tomorrow",
            "b --trace-speed 2",
            "b --trace /nonexistent",
            "b --distribution hotspot:1:2",
            "b --verify --read-through",
            "b --verify --method-mix insert=1",
            "b --ramp 1..2 --requests 7",
        ] {
            let error = parsed(line).expect_err(line);
            assert_eq!(error.exit_code(), 2);
            assert_eq!(error.to_string().lines().count(), 1, "{line}: {error}");
        }
    }

    #[test]
    fn the_server_may_come_without_a_flag_and_numbers_with_units() {
        let settings = parsed("b http://a:1/x -n 10k --keys 1M --rate 2k --timeout 1m30s").unwrap();
        assert_eq!(settings.target, Some(Target::parse("http://a:1/x").unwrap()));
        assert_eq!(settings.length, Length::Requests(10_000));
        assert_eq!((settings.workload.keys, settings.rate), (1_000_000, Some(2000.0)));
        assert_eq!(settings.timeout, Duration::from_secs(90));
        let settings = parsed("b --value-bytes 1KiB-4KiB -- --memory 64MiB").unwrap();
        assert_eq!(settings.workload.values, Values::Bytes { min: 1024, max: 4096 });
        assert_eq!(settings.server_arguments, ["--memory", "64MiB"]);
    }

    #[test]
    fn what_was_meant_is_suggested() {
        let error = parsed("b --conections=1").unwrap_err().to_string();
        assert!(error.contains("'--connections'") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn csv_needs_no_file() {
        let settings = parsed("b --csv --quiet").unwrap();
        assert!(settings.outputs.csv == Some("-".into()) && settings.quiet);
    }
}
