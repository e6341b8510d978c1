//! CPU time of a server and of the calling thread.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// What a process and its children have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessCpu {
    /// Time on a core, in nanoseconds, from the scheduler's exact account.
    pub cpu_ns: u64,
    /// Ticks in user mode and in the kernel. The kernel samples them; they are good for the ratio.
    pub user_ticks: u64,
    /// See `user_ticks`.
    pub kernel_ticks: u64,
}

impl ProcessCpu {
    /// Of the process with that number and of all that it has started, such as workers.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let mut sum = Self::default();
        let mut left = vec![pid];
        while let Some(pid) = left.pop() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
                sum.cpu_ns += number(read("schedstat").split(' ').next());
                // The name may have spaces; it ends with the last parenthesis. utime and stime are the
                // 12th and 13th field behind it.
                let stat = read("stat");
                let mut fields = stat.rsplit(')').next().unwrap_or_default().split(' ').skip(12);
                sum.user_ticks += number(fields.next());
                sum.kernel_ticks += number(fields.next());
                left.extend(
                    read("children").split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
                );
            }
        }
        sum
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            kernel_ticks: self.kernel_ticks.saturating_sub(earlier.kernel_ticks),
        }
    }

    /// Time in user mode, in nanoseconds.
    #[must_use]
    pub fn user_ns(self) -> f64 {
        let ticks = self.user_ticks + self.kernel_ticks;
        self.cpu_ns as f64 * self.user_ticks as f64 / ticks.max(1) as f64
    }
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// CPU time of the calling thread, in nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
