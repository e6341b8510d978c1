//! What a server begins with: a store, and the contents of a snapshot.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::StoredFields;
use crate::config::Config;
use crate::snapshot::{self, Contents, Limits, LoadError, Loaded};
use crate::store::{Clock, Store};

/// How a snapshot is loaded.
pub(crate) struct Loading<'a> {
    pub(crate) config: &'a Config,
    pub(crate) end: &'a (dyn Fn() -> bool + Sync),
    pub(crate) threads: usize,
    pub(crate) required: bool,
}

/// What became of a snapshot.
pub(crate) enum Outcome {
    /// There is none.
    Empty,
    /// So many keys are in the store.
    Loaded(u64),
    /// It can't be loaded, and some of it may be in the store.
    Failed,
    /// The server was told to end meanwhile.
    Stopped,
}

impl Loading<'_> {
    /// A store, with what a snapshot holds if `path` says that there is one.
    ///
    /// # Errors
    /// When there can't be a store, `path` fails, or a snapshot that is required is not loaded.
    pub(crate) fn contents(
        &self,
        fields: StoredFields,
        path: impl FnOnce() -> io::Result<Option<PathBuf>>,
    ) -> io::Result<(Contents, Outcome)> {
        let prefixes = self.config.cache().namespaces.prefixes();
        let settings = self.config.store(self.threads);
        let store = || Store::with_namespaces(settings, prefixes.clone());
        let clock = Clock::start();
        let mut contents = Contents { store: store()?, clock, fields: Arc::new(fields) };
        let outcome = path()?.map_or(Ok(Outcome::Empty), |path| self.load(&path, &contents))?;
        if let Outcome::Failed = outcome {
            // What was loaded before the fault was found goes with the store, before there is another.
            drop(contents.store);
            contents.store = store()?;
        }
        Ok((contents, outcome))
    }

    fn load(&self, path: &Path, contents: &Contents) -> io::Result<Outcome> {
        let limits = Limits {
            memory_bytes_max: self.config.memory_bytes_max,
            key_bytes_max: self.config.key_bytes_max,
            age_max: self.config.snapshot_age_max,
        };
        let began = Instant::now();
        let error = match snapshot::load(path, contents, limits, self.threads, self.end) {
            Ok(loaded) => {
                tell(loaded, began.elapsed());
                return Ok(Outcome::Loaded(loaded.keys));
            }
            Err(LoadError::Stopped) => return Ok(Outcome::Stopped),
            Err(error) => error,
        };
        let text = format!("can't load the snapshot {}: {error}", path.display());
        match error {
            _ if self.required => return Err(io::Error::new(io::ErrorKind::InvalidData, text)),
            LoadError::Missing => {
                log::info!("there is no snapshot {} yet", path.display());
                return Ok(Outcome::Empty);
            }
            _ => log::error!("{text}; the server starts empty"),
        }
        Ok(Outcome::Failed)
    }
}

/// Says what was loaded.
fn tell(loaded: Loaded, time: Duration) {
    let Loaded { keys, expired, left_out, bytes, age } = loaded;
    let (seconds, mebibytes) = (time.as_secs_f64(), bytes as f64 / f64::from(1 << 20));
    let age = age.map_or("an unknown time".to_owned(), |age| format!("{} s", age.as_secs()));
    log::info!(
        "loaded {keys} keys from a snapshot of {mebibytes:.1} MiB in {seconds:.3} s; it is {age} \
         old, {expired} keys had expired, {left_out} were left out"
    );
}
