//! Where the results go. Files are opened before the run, so that a path that can't be written
//! costs no measurement; what can't be written in the end is an error like any other.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::error::Error;
use super::settings::Settings;
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

    /// A page.
    fn html(&self) -> String {
        String::new()
    }

    /// The runs that are written one by one, second by second or as histograms.
    fn runs(&self) -> Vec<&Summary> {
        Vec::new()
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

    fn html(&self) -> String {
        html::render(self)
    }

    fn runs(&self) -> Vec<&Summary> {
        vec![self]
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

/// Writes a run in one form.
type Render = fn(&Summary) -> String;

/// The opened outputs.
#[derive(Debug)]
pub(super) struct Sinks {
    json: Option<Sink>,
    csv: Option<Sink>,
    html: Option<Sink>,
    /// One for each run.
    hgrm: Vec<Sink>,
    hdr_log: Vec<Sink>,
    series: Vec<Sink>,
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
    pub(super) fn open(settings: &Settings) -> Result<Self, Error> {
        let outputs = &settings.outputs;
        let one = |path: &Option<PathBuf>| path.as_ref().map(Sink::open).transpose();
        let each = |path: &Option<PathBuf>| -> Result<Vec<_>, Error> {
            let paths = path.iter().flat_map(|path| settings.paths_of_runs(path));
            paths.map(|path| Sink::open(&path)).collect()
        };
        let sinks = Self {
            json: one(&outputs.json)?,
            csv: one(&outputs.csv)?,
            html: one(&outputs.html)?,
            hgrm: each(&outputs.hgrm)?,
            hdr_log: each(&outputs.hdr_log)?,
            series: each(&outputs.series)?,
        };
        sinks.check()?;
        Ok(sinks)
    }

    /// Refuses two outputs to one file, whatever they call it: one would replace the other.
    fn check(&self) -> Result<(), Error> {
        let single = [&self.json, &self.csv, &self.html].into_iter().flatten();
        let each = [&self.hgrm, &self.hdr_log, &self.series].into_iter().flatten();
        let mut known = Vec::new();
        for sink in single.chain(each) {
            let Sink::File(Opened { file, path, .. }) = sink else { continue };
            // A device takes several, and what cannot be looked at fails when it is written.
            let Some(found) = file.metadata().ok().filter(Metadata::is_file) else { continue };
            let identity = (found.dev(), found.ino());
            if known.contains(&identity) {
                let path = path.display();
                return Err(Error::usage(format!("two outputs write to one file, {path}")));
            }
            known.push(identity);
        }
        Ok(())
    }

    /// Writes the report and the files. All are tried, and the first failure is returned.
    pub(super) fn write(self, settings: &Settings, results: &dyn Results) -> Result<(), Error> {
        let mut result = Ok(());
        if !settings.quiet {
            result = print_report(settings, results);
        }
        let mut write = |sink: Sink, text: &str| {
            let written = sink.write(text);
            result = std::mem::replace(&mut result, Ok(())).and(written);
        };
        let documents: [(_, &dyn Fn() -> String); 3] = [
            (self.json, &|| results.json()),
            (self.csv, &|| results.csv()),
            (self.html, &|| results.html()),
        ];
        for (sink, render) in documents {
            if let Some(sink) = sink {
                write(sink, &render());
            }
        }
        let of_runs: [(_, Render); 3] = [
            (self.hgrm, |run| hgrm::render(&run.latencies())),
            (self.hdr_log, hdrlog::render),
            (self.series, |run| csv::render_series(&run.series)),
        ];
        for (sinks, render) in of_runs {
            for (sink, run) in sinks.into_iter().zip(results.runs()) {
                write(sink, &render(run));
            }
        }
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
