//! Where the results go. Files are opened before the run, so that a path that can't be written
//! costs no measurement; what can't be written in the end is an error like any other.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use super::error::Error;
use super::settings::{Outputs, Settings};
use super::summary::Summary;
use super::{csv, hdrlog, hgrm, html, json, report};

/// What a run comes to, in the forms that it can be written in. Forms that it does not have are
/// refused before the run.
pub(super) trait Results {
    /// For people.
    fn text(&self, color: bool) -> String;

    /// For machines.
    fn json(&self) -> String;

    /// A line per method.
    fn csv(&self) -> String {
        String::new()
    }

    /// A line per second.
    fn series(&self) -> String {
        String::new()
    }

    /// The latencies in HdrHistogram's percentile format.
    fn hgrm(&self) -> String {
        String::new()
    }

    /// The latencies as HdrHistogram's log.
    fn hdr_log(&self) -> String {
        String::new()
    }

    /// A page.
    fn html(&self) -> String {
        String::new()
    }

    /// Why the run failed, in words. Nothing means exit code 0.
    fn faults(&self, settings: &Settings) -> Vec<String>;
}

impl Results for Summary {
    fn text(&self, color: bool) -> String {
        report::render(self, color)
    }

    fn json(&self) -> String {
        json::render(self)
    }

    fn csv(&self) -> String {
        csv::render(self)
    }

    fn series(&self) -> String {
        csv::render_series(&self.series)
    }

    fn hgrm(&self) -> String {
        hgrm::render(&self.latencies())
    }

    fn hdr_log(&self) -> String {
        hdrlog::render(self)
    }

    fn html(&self) -> String {
        html::render(self)
    }

    fn faults(&self, settings: &Settings) -> Vec<String> {
        let mut faults = self.own_faults();
        if let Some(share) = self.disturbed()
            && settings.strict
        {
            let percent = share * 100.0;
            faults
                .push(format!("a load thread waited for its core for {percent:.1} % of the time"));
        }
        faults.extend(settings.fail_if.iter().filter_map(|threshold| threshold.fault(self)));
        faults
    }
}

/// The opened outputs.
#[derive(Debug)]
pub(super) struct Sinks {
    json: Option<Sink>,
    csv: Option<Sink>,
    hgrm: Option<Sink>,
    hdr_log: Option<Sink>,
    html: Option<Sink>,
    series: Option<Sink>,
}

/// One place for results.
#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    File(Opened),
}

/// A file that is open for writing. If this process made it and writes nothing, it goes again.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    path: PathBuf,
    is_mine: bool,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.is_mine {
            // An empty file that stays is untidy and nothing more.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Sinks {
    /// Opens every file for writing. What is in them stays until there are results.
    pub(super) fn open(outputs: &Outputs) -> Result<Self, Error> {
        let open = |path: &Option<PathBuf>| path.as_ref().map(Sink::open).transpose();
        Ok(Self {
            json: open(&outputs.json)?,
            csv: open(&outputs.csv)?,
            hgrm: open(&outputs.hgrm)?,
            hdr_log: open(&outputs.hdr_log)?,
            html: open(&outputs.html)?,
            series: open(&outputs.series)?,
        })
    }

    /// Writes the report and the files. All are tried, and the first failure is returned.
    pub(super) fn write(self, settings: &Settings, results: &dyn Results) -> Result<(), Error> {
        let mut result = Ok(());
        if !settings.quiet {
            result = result.and(print_report(settings, results));
        }
        let mut write = |sink: Option<Sink>, render: &dyn Fn() -> String| {
            if let Some(sink) = sink {
                let written = sink.write(&render());
                result = std::mem::replace(&mut result, Ok(())).and(written);
            }
        };
        write(self.json, &|| results.json());
        write(self.csv, &|| results.csv());
        write(self.hgrm, &|| results.hgrm());
        write(self.hdr_log, &|| results.hdr_log());
        write(self.html, &|| results.html());
        write(self.series, &|| results.series());
        result
    }
}

impl Sink {
    pub(super) fn open(path: &PathBuf) -> Result<Self, Error> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let is_mine = made.is_ok();
        let opened = made
            .or_else(|_| OpenOptions::new().write(true).create(true).truncate(false).open(path));
        opened
            .map(|file| Self::File(Opened { file, path: path.clone(), is_mine }))
            .map_err(|error| cannot_write(path, &error))
    }

    pub(super) fn write(self, text: &str) -> Result<(), Error> {
        match self {
            Self::Stdout => print(&mut io::stdout(), text),
            Self::File(mut opened) => {
                opened.is_mine = false;
                // A pipe or a device has no length to set, and nothing in it to replace.
                let _ = opened.file.set_len(0);
                let written = opened.file.write_all(text.as_bytes());
                written.map_err(|error| cannot_write(&opened.path, &error))
            }
        }
    }
}

fn cannot_write(path: &std::path::Path, error: &io::Error) -> Error {
    Error::failed(format!("cannot write {}: {error}", path.display()))
}

fn print_report(settings: &Settings, results: &dyn Results) -> Result<(), Error> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = settings.color && !no_color;
    if settings.outputs.use_stdout() {
        let color = color && io::stderr().is_terminal();
        print(&mut io::stderr(), &results.text(color))
    } else {
        let color = color && io::stdout().is_terminal();
        print(&mut io::stdout(), &results.text(color))
    }
}

fn print(out: &mut impl Write, text: &str) -> Result<(), Error> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who pipes the report into a pager that quits early wants no complaint.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::failed(format!("cannot write the results: {error}"))),
        Ok(()) => Ok(()),
    }
}
