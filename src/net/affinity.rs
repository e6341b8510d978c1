//! Which cores the event loops run on.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::explain::explain;

/// Core numbers that a list may have; whether there is such a core shows when it is pinned to.
const CORES_MAX: usize = 1 << 16;

/// The cores that get an event loop each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cores {
    /// Every core that the process may run on, so that taskset, cgroups and systemd's
    /// `CPUAffinity=` decide.
    #[default]
    Auto,
    /// These cores, by the operating system's numbers, each once.
    List(Vec<usize>),
}

/// The text is no list of cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoresError(String);

impl fmt::Display for CoresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; expected 'auto' or a list such as 0,2,4-7", self.0)
    }
}

impl std::error::Error for CoresError {}

impl FromStr for Cores {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Self, CoresError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| {
                digits
                    .parse()
                    .ok()
                    .filter(|&core: &usize| core < CORES_MAX)
                    .ok_or_else(|| CoresError(format!("'{digits}' is no core number")))
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(CoresError(format!("'{part}' runs backwards")));
            }
            for core in first..=last {
                if cores.contains(&core) {
                    return Err(CoresError(format!("core {core} is named twice")));
                }
                cores.push(core);
            }
        }
        Ok(Self::List(cores))
    }
}

impl Cores {
    /// The cores' numbers; for `Auto` those of the process's allowed set.
    pub(super) fn resolve(&self) -> io::Result<Vec<usize>> {
        match self {
            Self::List(cores) => Ok(cores.clone()),
            Self::Auto => {
                let allowed = allowed()?;
                Ok((0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
            }
        }
    }
}

/// Pins the calling thread to a core.
///
/// # Errors
/// When the core does not exist or is outside of what the process's cgroup allows.
pub(super) fn pin(core: usize) -> io::Result<()> {
    let explain = explain(format!("can't run on core {core} (sched_setaffinity; --no-pin)"));
    if core >= CpuSet::MAX_CPU {
        return Err(explain(Errno::INVAL));
    }
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).map_err(explain)
}

/// Checks on the calling thread that every core can be pinned to, and leaves its set as it was.
pub(super) fn check(cores: &[usize]) -> io::Result<()> {
    let before = allowed()?;
    let result = cores.iter().try_for_each(|&core| pin(core));
    let back = sched_setaffinity(None, &before)
        .map_err(explain("can't go back to all cores (sched_setaffinity; --no-pin)"));
    result.and(back)
}

/// The cores that the calling thread may run on.
fn allowed() -> io::Result<CpuSet> {
    let hint = "--cores LIST with --no-pin goes without";
    sched_getaffinity(None).map_err(explain(format!(
        "can't tell the cores that there are (sched_getaffinity; {hint})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!("auto".parse(), Ok(Cores::Auto));
        assert_eq!("0,2,4-7".parse(), Ok(Cores::List(vec![0, 2, 4, 5, 6, 7])));
        for wrong in ["", "a", "1,,2", "3-1", "1,0-2", "-1", "99999999"] {
            assert!(wrong.parse::<Cores>().is_err(), "{wrong}");
        }
    }
}
