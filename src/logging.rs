//! Log lines on standard error, one write each.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Dependencies keep to themselves.
        metadata.target().starts_with("corekv")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line =
                format!("corekv: {}: {}\n", record.level().as_str().to_lowercase(), record.args());
            // There is nowhere to say that standard error is gone.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Starts logging up to `level`. Later calls change the level only.
pub fn start(level: LevelFilter) {
    // Fails only if a logger is set already: in tests, or by a program that embeds the server.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(level);
}
