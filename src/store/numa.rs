//! Which cores share a memory of their own.

use std::fs;

use rustix::thread::{CpuSet, sched_setaffinity};

/// The cores of each NUMA node of the system.
#[derive(Debug)]
pub(super) struct Nodes(Vec<CpuSet>);

impl Nodes {
    /// As the kernel tells; none if it does not.
    pub(super) fn of_system() -> Self {
        let directories = fs::read_dir("/sys/devices/system/node").into_iter().flatten().flatten();
        let lists =
            directories.filter_map(|node| fs::read_to_string(node.path().join("cpulist")).ok());
        Self(lists.map(|list| cores_of(&list)).collect())
    }

    /// Has the calling thread run on a core's node, which is where the kernel then takes its memory
    /// from. Stays where it is if there is nothing to choose, or the process may not go there.
    pub(super) fn move_near(&self, core: usize) {
        if let Some(node) = self.node_of(core) {
            let _ = sched_setaffinity(None, node);
        }
    }

    fn node_of(&self, core: usize) -> Option<&CpuSet> {
        let has = |node: &&CpuSet| core < CpuSet::MAX_CPU && node.is_set(core);
        self.0.iter().find(has).filter(|_| self.0.len() > 1)
    }
}

/// Reads a list such as `0-3,8`.
fn cores_of(list: &str) -> CpuSet {
    let mut cores = CpuSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse(), last.parse::<usize>()) {
            (first..=last.min(CpuSet::MAX_CPU - 1)).for_each(|core| cores.set(core));
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_found_on_its_node() {
        let nodes = Nodes(["0-3,8\n", "4-7,9-10\n", "\n"].map(cores_of).into());
        let cores = |core| {
            let node = nodes.node_of(core)?;
            Some((0..16).filter(|&core| node.is_set(core)).collect::<Vec<_>>())
        };
        assert_eq!(cores(8), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(cores(5), Some(vec![4, 5, 6, 7, 9, 10]));
        assert_eq!((cores(11), cores(usize::MAX)), (None, None));
        assert!(Nodes(vec![cores_of("0-3")]).node_of(0).is_none(), "nothing to choose");
    }
}
