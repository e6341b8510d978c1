//! Which cores threads run on.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::cgroup::Groups;
use crate::explain::explain;
use crate::invalid::Invalid;

/// Core numbers that a list may have, those that the system's call for pinning has; whether there is
/// such a core shows when it is pinned to.
const CORES_MAX: usize = CpuSet::MAX_CPU;

/// The cores that get an event loop each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cores {
    /// Every core that the process may run on, so that taskset, cpusets and systemd's
    /// `CPUAffinity=` decide; but no more of them than the quota of its control groups is worth,
    /// rounded up.
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
            cores.extend(first..=last);
        }
        Ok(Self::List(cores))
    }
}

impl Cores {
    /// Checks a list.
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        let Self::List(cores) = self else { return Ok(()) };
        if cores.is_empty() {
            return Err(Invalid::new("cores", "must name at least one core"));
        }
        let mut named = [false; CORES_MAX];
        for &core in cores {
            match named.get_mut(core) {
                Some(named) if !*named => *named = true,
                Some(_) => return Err(Invalid::new("cores", format!("names core {core} twice"))),
                None => return Err(Invalid::new("cores", format!("must be below {CORES_MAX}"))),
            }
        }
        Ok(())
    }

    /// The cores' numbers, for `Auto` those of the process's allowed set, and the quota that they were
    /// cut to if there is one.
    pub(crate) fn resolve(&self) -> io::Result<(Vec<usize>, Option<f64>)> {
        match self {
            Self::List(cores) => Ok((cores.clone(), None)),
            Self::Auto => {
                let allowed = allowed_cores().map_err(explain_allowed())?;
                let quota = Groups::own().cpus_max();
                Ok((within_quota(allowed, quota, sched_getcpu()), quota))
            }
        }
    }
}

/// As many of the cores as the quota, in cores, is worth. They begin with the one that the start runs
/// on: others with a quota, which can't see each other, must not all crowd onto the first.
fn within_quota(mut cores: Vec<usize>, quota: Option<f64>, current: usize) -> Vec<usize> {
    let Some(quota) = quota else { return cores };
    // A quota too large for the type is not less than the number of cores either.
    let count = (quota.ceil() as usize).max(1);
    if count >= cores.len() {
        return cores;
    }
    let first = cores.iter().position(|&core| core == current).unwrap_or(0);
    cores.rotate_left(first);
    cores.truncate(count);
    cores.sort_unstable();
    cores
}

/// Pins the calling thread to a core.
///
/// # Errors
/// When the core does not exist or is outside of what the process's cgroup allows.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(Errno::INVAL.into());
    }
    let mut only = CpuSet::new();
    only.set(core);
    Ok(sched_setaffinity(None, &only)?)
}

/// The cores that the calling thread may run on, in ascending order.
///
/// # Errors
/// When the system has more cores than the call's set has room for, or forbids the call.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
}

/// Pins the calling event loop to its core. The error names the flag that goes without.
pub(super) fn pin_loop(core: usize) -> io::Result<()> {
    pin(core).map_err(explain(format!("can't run on core {core} (sched_setaffinity; --no-pin)")))
}

/// Checks on the calling thread that every core can be pinned to, and leaves its set as it was.
pub(super) fn check(cores: &[usize]) -> io::Result<()> {
    let before = sched_getaffinity(None).map_err(explain_allowed())?;
    let result = cores.iter().try_for_each(|&core| pin_loop(core));
    let back = sched_setaffinity(None, &before)
        .map_err(explain("can't go back to all cores (sched_setaffinity; --no-pin)"));
    result.and(back)
}

fn explain_allowed<E: Into<io::Error>>() -> impl FnOnce(E) -> io::Error {
    explain(
        "can't tell the cores that there are (sched_getaffinity; --cores LIST with --no-pin goes \
         without)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_takes_as_many_cores_as_it_is_worth() {
        let cores = |quota, current| within_quota((0..64).collect(), quota, current);
        assert_eq!(cores(None, 7).len(), 64);
        assert_eq!(cores(Some(1.0), 7), [7]);
        assert_eq!(cores(Some(0.1), 7), [7]);
        assert_eq!(cores(Some(1.01), 7), [7, 8]);
        assert_eq!(cores(Some(3.0), 63), [0, 1, 63]);
        assert_eq!(cores(Some(2.0), 99), [0, 1]);
        for much in [64.0, 100.0, f64::MAX] {
            assert_eq!(cores(Some(much), 7).len(), 64);
        }
    }

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!("auto".parse(), Ok(Cores::Auto));
        assert_eq!("0,2,4-7".parse(), Ok(Cores::List(vec![0, 2, 4, 5, 6, 7])));
        for wrong in ["", "a", "1,,2", "3-1", "-1", "99999999"] {
            assert!(wrong.parse::<Cores>().is_err(), "{wrong}");
        }
    }
}
