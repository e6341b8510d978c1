//! Memory as the kernel charges a process for it, in a cgroup of its own.

use std::fs;
use std::path::{Path, PathBuf};

/// A memory cgroup of its own for a child.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one. `None` if this process may not.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let place = |line: &str| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (root, path) = match (parts.next()?, parts.next()?) {
                ("memory", path) => ("/sys/fs/cgroup/memory", path.to_owned()),
                ("", path) => ("/sys/fs/cgroup", path.to_owned()),
                _ => return None,
            };
            let name = format!("corekv-{name}-{}", std::process::id());
            let own = Path::new(root).join(path.trim_start_matches('/')).join(name);
            fs::create_dir(&own).ok()?;
            let cgroup = Self(own);
            cgroup.peak().is_some().then_some(cgroup)
        };
        own.lines().find_map(place)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The most that was ever charged: of version 1, or of version 2.
    #[must_use]
    pub fn peak(&self) -> Option<u64> {
        let files = ["memory.max_usage_in_bytes", "memory.peak"];
        files
            .iter()
            .find_map(|file| fs::read_to_string(self.0.join(file)).ok()?.trim().parse().ok())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
