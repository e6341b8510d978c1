//! The constant rate: when each request is meant to be sent, whatever the server does.
//!
//! A closed loop sends nothing while the server stalls, and so a stall of a second delays a
//! handful of requests instead of a second's worth. Here the schedule goes on, and latency counts
//! from the time in the schedule.

/// One connection's schedule, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    origin: f64,
    interval: f64,
    next: u64,
}

impl Schedule {
    /// The schedule of connection `index` of `connections` that share `rate` requests per second
    /// from `begin` on. The connections take turns.
    pub fn new(begin: u64, rate: f64, connections: usize, index: usize) -> Self {
        let turn = 1e9 / rate;
        Self {
            origin: begin as f64 + turn * index as f64,
            interval: turn * connections as f64,
            next: 0,
        }
    }

    /// When the next request is meant to be sent. A double counts nanoseconds exactly for a
    /// hundred days.
    pub fn due(&self) -> u64 {
        (self.origin + self.interval * self.next as f64) as u64
    }

    /// The next request is taken care of.
    pub fn advance(&mut self) {
        self.next += 1;
    }

    /// How many requests of the schedule before `end` have not been sent.
    pub fn behind(&self, end: u64) -> u64 {
        let planned = ((end as f64 - self.origin) / self.interval).ceil().max(0.0) as u64;
        planned.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns() {
        let mut schedules: Vec<_> =
            (0..4).map(|index| Schedule::new(1000, 1e6, 4, index)).collect();
        let mut due = Vec::new();
        for _ in 0..3 {
            for schedule in &mut schedules {
                due.push(schedule.due());
                schedule.advance();
            }
        }
        assert_eq!(due, (0..12).map(|turn| 1000 + turn * 1000).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_not_sent_is_counted() {
        let mut schedule = Schedule::new(0, 10.0, 1, 0);
        assert_eq!(schedule.behind(1_000_000_000), 10);
        schedule.advance();
        assert_eq!(schedule.behind(1_000_000_000), 9);
        assert_eq!(schedule.behind(0), 0);
    }
}
