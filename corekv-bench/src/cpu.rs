//! CPU time: what each thread of a process has used.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in one tick of `/proc/PID/task/TID/stat` if the system has the usual 100 per
/// second.
const TICK_NS: u64 = 10_000_000;

/// CPU time of the calling thread, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a thread has used since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a core, in nanoseconds.
    pub cpu_ns: u64,
    /// Time that it was ready to run and did not get a core, in nanoseconds.
    pub waited_ns: u64,
}

impl Usage {
    /// What was used since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }

    /// The share of `elapsed_ns` in which the thread had something to do.
    pub fn busy(self, elapsed_ns: u64) -> f64 {
        (self.cpu_ns + self.waited_ns) as f64 / elapsed_ns.max(1) as f64
    }
}

/// What the calling thread has used.
pub fn own_usage() -> Usage {
    let read = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited_ns = parse_schedstat(&read).map_or(0, |usage| usage.waited_ns);
    Usage { cpu_ns: thread_cpu_ns(), waited_ns }
}

/// A thread that looks around and finds this much of the time gone did not sleep that long.
const ABSENCE_NS_MIN: u64 = 100_000_000;

/// Notices when the calling thread had no core and no run queue counts it: a virtual machine that
/// stood still, or a process that was stopped.
#[derive(Debug, Default)]
pub(super) struct Absence {
    looked: u64,
    cpu_ns: u64,
    total_ns: u64,
}

impl Absence {
    /// Nothing was missed until now.
    pub(super) fn begin(now: u64) -> Self {
        Self { looked: now, cpu_ns: thread_cpu_ns(), total_ns: 0 }
    }

    /// To be called by a thread that never sleeps for longer than `sleep_ns_max`.
    pub(super) fn look(&mut self, now: u64, sleep_ns_max: u64) {
        let cpu_ns = thread_cpu_ns();
        let gone =
            now.saturating_sub(self.looked).saturating_sub(cpu_ns.saturating_sub(self.cpu_ns));
        if gone >= ABSENCE_NS_MIN {
            self.total_ns += gone - sleep_ns_max;
        }
        (self.looked, self.cpu_ns) = (now, cpu_ns);
    }

    /// What was missed, in nanoseconds.
    pub(super) fn total_ns(&self) -> u64 {
        self.total_ns
    }
}

/// One thread of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadUsage {
    /// Its number in the system.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it has used.
    pub usage: Usage,
}

/// Every thread of a process, or nothing if there is no such process.
pub fn threads_of(pid: u32) -> Option<Vec<ThreadUsage>> {
    let mut threads: Vec<_> = fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let id = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
            let usage = fs::read_to_string(path.join("schedstat"))
                .ok()
                .and_then(|text| parse_schedstat(&text))
                .or_else(|| parse_stat(&fs::read_to_string(path.join("stat")).ok()?))?;
            Some(ThreadUsage { id, name, usage })
        })
        .collect();
    threads.sort_by_key(|thread| thread.id);
    Some(threads)
}

/// What each thread has used between two looks at a process. Threads that have not run are left
/// out.
pub fn difference(before: &[ThreadUsage], after: &[ThreadUsage]) -> Vec<ThreadUsage> {
    after
        .iter()
        .map(|thread| {
            let earlier = before.iter().find(|other| other.id == thread.id);
            let earlier = earlier.map_or_else(Usage::default, |other| other.usage);
            ThreadUsage { usage: thread.usage.since(earlier), ..thread.clone() }
        })
        .filter(|thread| thread.usage.cpu_ns > 0)
        .collect()
}

/// `cpu_ns waited_ns slices`.
fn parse_schedstat(text: &str) -> Option<Usage> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    Some(Usage { cpu_ns: numbers.next()??, waited_ns: numbers.next()?? })
}

/// Fields 14 and 15, counted from behind the name, which may contain anything.
fn parse_stat(text: &str) -> Option<Usage> {
    let after_name = &text[text.rfind(')')? + 1..];
    let mut ticks = after_name.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(Usage { cpu_ns: (user + system) * TICK_NS, waited_ns: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_understood() {
        assert_eq!(parse_schedstat("12 34 5\n"), Some(Usage { cpu_ns: 12, waited_ns: 34 }));
        assert_eq!(parse_schedstat(""), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20";
        assert_eq!(parse_stat(stat), Some(Usage { cpu_ns: 420_000_000, waited_ns: 0 }));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn this_process_has_threads_and_uses_cpu() {
        let before = threads_of(std::process::id()).unwrap();
        assert!(!before.is_empty());
        assert!(thread_cpu_ns() > 0);
        assert_eq!(threads_of(u32::MAX), None);
    }
}
