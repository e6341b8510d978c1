//! The command line.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use corekv::net::Cores;

use super::arguments::Arguments;
use super::error::{Error, first_line};
use super::mix::Mix;
use super::preset::Preset;
use super::request_list::RequestFile;
use super::settings::{Against, Length, Outputs, Settings};
use super::target::Target;
use super::template::Template;
use super::tls::Trust;
use super::trace::Trace;
use super::values::{VALUE_BYTES_MAX, Values};
use super::workload::Workload;

/// What is sent unless something else is asked for.
const KEYS: u64 = 1_000_000;
const WRITE_RATIO: f64 = 0.2;
const DURATION: Duration = Duration::from_secs(10);

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

impl Arguments {
    fn settings(self) -> Result<Settings, Error> {
        let trace = self.trace()?;
        let preset = self.workload.unwrap_or(Preset::NEUTRAL);
        let request_file = self.request_file.as_ref();
        let request_file =
            request_file.map(|file| RequestFile::read(file, self.request_order)).transpose()?;
        let body = self.body_file.as_deref().map(read_body).transpose()?;
        let path = self.path.clone().unwrap_or_else(Template::key_path);
        let has_keys = path.has_key() && request_file.is_none();
        let mut workload = self.workload(&preset, has_keys);
        if let Some(trace) = &trace {
            workload.keys = trace.keys();
        }
        if let Some(file) = &request_file {
            workload.mix = file.mix();
        }
        if let Some(body) = &body {
            workload.values = Values::of_length(body.len());
        }
        let (rounds, server_pid) = (self.rounds, self.against_pid);
        let settings = Settings {
            target: self.target()?,
            length: self.length(trace.as_deref()),
            preload: self.preload || (has_keys && !self.no_preload && trace.is_none()),
            cores: self.cores(),
            trust: self.trust(),
            outputs: self.outputs(),
            against: self.against.map(|target| Against { target, server_pid, rounds }),
            connections: self.connections,
            pipelining: self.pipelining,
            trace,
            probe: self.probe,
            start_at: self.start_at,
            metrics: self.metrics,
            page: None,
            warmup: self.warmup,
            threads: self.threads,
            workload,
            sweep: self.sweep,
            slo: self.slo,
            path,
            body,
            request_file,
            rate: self.rate,
            ramp: self.ramp,
            verify: self.verify,
            headers: self.header,
            timeout: self.timeout,
            server_pid: self.server_pid,
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

    fn target(&self) -> Result<Option<Target>, Error> {
        match (self.uri.as_ref().or(self.url.as_ref()), &self.unix) {
            (Some(uri), _) => Target::parse(uri).map(Some),
            (None, Some(path)) => Ok(Some(Target::unix(path))),
            (None, None) => Ok(None),
        }
    }

    fn trace(&self) -> Result<Option<Arc<Trace>>, Error> {
        let Some(path) = &self.trace else { return Ok(None) };
        let trace = Trace::read(path, self.connections, self.trace_speed.0);
        trace
            .map(|trace| Some(Arc::new(trace)))
            .map_err(|why| Error::usage(format!("--trace {why}")))
    }

    fn length(&self, trace: Option<&Trace>) -> Length {
        match (self.requests, self.duration, trace) {
            (Some(count), ..) => Length::Requests(count),
            (None, Some(time), _) => Length::Time(time),
            (None, None, Some(trace)) => Length::Requests(trace.requests()),
            (None, None, None) => Length::Time(DURATION),
        }
    }

    /// What is sent unless a trace, a file of requests or a body says otherwise.
    fn workload(&self, preset: &Preset, has_keys: bool) -> Workload {
        let default_ratio = if has_keys { WRITE_RATIO } else { 0.0 };
        let mix = self.method_mix.or(self.write_ratio.map(Mix::write_ratio)).or(preset.mix);
        Workload {
            keys: self.keys.or(preset.keys).unwrap_or(KEYS),
            distribution: self.distribution.unwrap_or(preset.distribution),
            mix: mix.unwrap_or_else(|| Mix::write_ratio(default_ratio)),
            values: self.value_bytes.or(preset.values).unwrap_or(Values::Counter),
            seed: self.seed,
            read_through: self.read_through || preset.read_through,
        }
    }

    fn cores(&self) -> Option<Vec<usize>> {
        match &self.cores {
            None | Some(Cores::Auto) => None,
            Some(Cores::List(cores)) => Some(cores.clone()),
        }
    }

    fn trust(&self) -> Trust {
        match (&self.cacert, self.insecure) {
            (Some(path), _) => Trust::File(path.clone()),
            (None, true) => Trust::Anyone,
            (None, false) => Trust::System,
        }
    }

    fn outputs(&self) -> Outputs {
        Outputs {
            json: self.json.clone(),
            csv: self.csv.clone(),
            hgrm: self.hgrm.clone(),
            hdr_log: self.hdr_log.clone(),
            html: self.html.clone(),
            series: self.series.clone(),
        }
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
            "b http://a --against http://b --hgrm -",
            "b http://a --against http://b --series -",
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
