//! What the process's control groups allow it (cgroups(7)).
//!
//! A group's limit holds for all groups below it, so the least of those from the process's own
//! group up to the root counts, of version 2 and of version 1, whichever the system has.

use std::fs;
use std::path::{Path, PathBuf};

/// The groups of a process, as directories with their files.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The path in each hierarchy with that hierarchy's controllers, which are none in version 2.
    hierarchies: Vec<(Vec<String>, PathBuf)>,
    root: PathBuf,
}

impl Groups {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::new(&text, "/sys/fs/cgroup".into())
    }

    /// Those that a text like /proc/self/cgroup names, in hierarchies that are mounted below `root`.
    fn new(text: &str, root: PathBuf) -> Self {
        let hierarchies = text.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let controllers = controllers.split(',').filter(|name| !name.is_empty());
            let path = path.trim_start_matches('/').into();
            Some((controllers.map(ToOwned::to_owned).collect(), path))
        });
        Self { hierarchies: hierarchies.collect(), root }
    }

    /// Memory in bytes.
    pub(crate) fn memory_bytes_max(&self) -> Option<u64> {
        let number = |directory: &Path, file| read(directory, file)?.trim().parse().ok();
        let unified = self.unified(|directory| number(directory, "memory.max"));
        let legacy = self.legacy("memory", |directory| number(directory, "memory.limit_in_bytes"));
        unified.into_iter().chain(legacy).min()
    }

    /// Time on processors per time on the clock.
    pub(crate) fn cpus_max(&self) -> Option<f64> {
        let unified = self.unified(|directory| {
            let text = read(directory, "cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            ratio(quota, period)
        });
        let legacy = self.legacy("cpu", |directory| {
            let quota = read(directory, "cpu.cfs_quota_us")?;
            ratio(quota.trim(), read(directory, "cpu.cfs_period_us")?.trim())
        });
        unified.into_iter().chain(legacy).min_by(f64::total_cmp)
    }

    /// What version 2 says, which is mounted at the root, or beside version 1 at `unified`.
    fn unified<T>(&self, limit: impl Fn(&Path) -> Option<T> + Copy) -> Vec<T> {
        let group = self.hierarchies.iter().find(|(controllers, _)| controllers.is_empty());
        let mounts = [self.root.clone(), self.root.join("unified")];
        group.into_iter().flat_map(|(_, path)| limits(&mounts, path, limit)).collect()
    }

    /// What version 1 says of a controller, which may share its hierarchy with others.
    fn legacy<T>(&self, controller: &str, limit: impl Fn(&Path) -> Option<T> + Copy) -> Vec<T> {
        let has = |(controllers, _): &&(Vec<String>, PathBuf)| {
            controllers.iter().any(|name| name == controller)
        };
        let group = self.hierarchies.iter().find(has);
        let limits = |(controllers, path): &(Vec<String>, PathBuf)| {
            let mounts = [self.root.join(controller), self.root.join(controllers.join(","))];
            limits(&mounts, path, limit)
        };
        group.map(limits).unwrap_or_default()
    }
}

/// The limits of a group and of those above it, wherever the hierarchy is mounted. In a container,
/// the path may be the host's, and what is mounted the container's own group and no more.
fn limits<T>(mounts: &[PathBuf], path: &Path, limit: impl Fn(&Path) -> Option<T>) -> Vec<T> {
    let directories = mounts.iter().flat_map(|mount| {
        let upward = path.ancestors().map(|group| mount.join(group));
        upward.collect::<Vec<_>>()
    });
    directories.filter_map(|directory| limit(&directory)).collect()
}

fn read(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}

/// A quota per period; `None` for `max`, and -1, which mean none.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups in a directory with these files.
    fn groups(text: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Groups) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let groups = Groups::new(text, root.path().into());
        (root, groups)
    }

    #[test]
    fn the_least_limit_up_to_the_root_counts() {
        let files = [
            ("a/cpu.max", "150000 100000\n"),
            ("a/b/cpu.max", "max 100000\n"),
            ("a/b/c/cpu.max", "800000 100000\n"),
            ("a/b/memory.max", "1000\n"),
            ("a/b/c/memory.max", "max\n"),
            // Of a group that is not the process's.
            ("a/d/cpu.max", "1000 100000\n"),
            ("a/d/memory.max", "1\n"),
        ];
        let (_root, groups) = groups("0::/a/b/c\n", &files);
        assert_eq!(groups.cpus_max(), Some(1.5));
        assert_eq!(groups.memory_bytes_max(), Some(1000));
    }

    #[test]
    fn version_1_is_read_under_either_name_of_its_mount() {
        let text = "4:memory:/x\n3:cpuset:/\n2:cpu,cpuacct:/x/y\n0::/\n";
        let files = [
            ("cpu,cpuacct/x/y/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/x/y/cpu.cfs_period_us", "100000\n"),
            ("cpu,cpuacct/x/cpu.cfs_quota_us", "50000\n"),
            ("cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"),
            ("memory/x/memory.limit_in_bytes", "4096\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let (_root, limited) = groups(text, &files);
        assert_eq!((limited.cpus_max(), limited.memory_bytes_max()), (Some(0.5), Some(4096)));
        let files = [("cpu/x/cpu.cfs_quota_us", "250000"), ("cpu/x/cpu.cfs_period_us", "100000")];
        let (_root, limited) = groups("1:cpu:/x\n", &files);
        assert_eq!(limited.cpus_max(), Some(2.5));
    }

    #[test]
    fn a_containers_own_group_is_found_although_the_path_is_the_hosts() {
        let (_root, groups) = groups("0::/kubepods/pod7\n", &[("cpu.max", "100000 100000\n")]);
        assert_eq!(groups.cpus_max(), Some(1.0));
    }

    #[test]
    fn what_is_missing_or_malformed_limits_nothing() {
        for content in ["", "max", "max 100000", "1", "100000 0", "-1 100000", "x y", "\u{0}"] {
            let (_root, groups) = groups("0::/a\n:\nx\n", &[("a/cpu.max", content)]);
            assert_eq!(groups.cpus_max(), None, "{content:?}");
        }
        let (_root, groups) = groups("", &[]);
        assert_eq!((groups.cpus_max(), groups.memory_bytes_max()), (None, None));
    }
}
