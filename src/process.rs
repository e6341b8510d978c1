//! What the operating system says of this process (proc(5)), for the metrics.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Memory, time and descriptors of the process. What can't be read is absent.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) start_time_seconds: Option<f64>,
    pub(crate) threads: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) open_fds: Option<u64>,
    /// `None` also if there is no limit.
    pub(crate) max_fds: Option<u64>,
}

/// When the process started, by the clock as it was when that was first asked for.
static START: OnceLock<Option<f64>> = OnceLock::new();

impl Process {
    /// This process as it is now.
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may have anything in it, from the third field on.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| seconds(user + system)),
            start_time_seconds: *START
                .get_or_init(|| field(22).and_then(|ticks| since_epoch(seconds(ticks)))),
            threads: field(20),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * page_size() as u64),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The time of day for one that counts from the start of the system.
fn since_epoch(since_start: f64) -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs_f64() - uptime + since_start)
}

/// The size of the directory is their number, from Linux 6.2 on. Before, it is absent: counting them
/// takes too long where there are many.
fn open_fds() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|fds| fds.len()).filter(|&count| count > 0)
}
