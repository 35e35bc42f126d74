//! What this machine can carry: sessions, and memory for one process.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Returns the maximum number of sessions on this system, at least 1, and the name of the limit
/// that sets it. Without a known limit, the maximum is 256. Raises the soft limit of descriptors to
/// the hard limit.
///
/// Each session needs a thread, its mappings, a control connection, and at times a listener, a data
/// connection and a file. Most of the computed maximums leave a reserve: a failed mapping at the
/// start of a thread would abort the whole process.
pub(crate) fn system_cap() -> (usize, &'static str) {
    let limits = [
        (descriptors(), "RLIMIT_NOFILE"),
        (mappings(), "vm.max_map_count"),
        (number_in("/proc/sys/kernel/threads-max").map(|threads| threads / 2), "threads-max"),
        (processes(), "RLIMIT_NPROC"),
        (cgroup_pids(), "pids.max"),
        (memory(), "memory"),
    ];
    let known = limits.iter().filter_map(|(limit, name)| limit.map(|limit| (limit, *name)));
    let (cap, name) = known.min_by_key(|(limit, _)| *limit).unwrap_or((256, "default"));
    (usize::try_from(cap).unwrap_or(usize::MAX).max(1), name)
}

/// Returns the number of sessions that the descriptors allow: four per session, and 64 in reserve.
/// Raises the soft limit to the hard limit.
fn descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.map(|descriptors| descriptors.saturating_sub(64) / 4)
}

/// Returns the number of sessions that the unused mappings allow: four per session, and a reserve
/// for 256 sessions.
fn mappings() -> Option<u64> {
    let count = number_in("/proc/sys/vm/max_map_count")?;
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let used = maps.iter().filter(|&&byte| byte == b'\n').count();
    Some((count.saturating_sub(u64::try_from(used).ok()?) / 4).saturating_sub(256))
}

fn processes() -> Option<u64> {
    getrlimit(Resource::Nproc).current.map(|processes| processes.saturating_sub(64))
}

fn cgroup_pids() -> Option<u64> {
    number_in_cgroup("pids.max").map(|pids| pids.saturating_sub(64))
}

fn number_in_cgroup(file: &str) -> Option<u64> {
    let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    number_in(Path::new("/sys/fs/cgroup").join(group).join(file))
}

/// Returns the number of sessions that the available memory allows: 20 KiB per session.
fn memory() -> Option<u64> {
    memory_info("MemAvailable:").map(|bytes| bytes / 1024 / 20)
}

/// Returns the maximum memory of this process in bytes: the machine's memory, or the limit of the
/// process's control group if that is less.
pub(crate) fn memory_in_all() -> Option<u64> {
    let machine = memory_info("MemTotal:");
    let group = number_in_cgroup("memory.max");
    machine.into_iter().chain(group).min()
}

fn memory_info(key: &str) -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn number_in(path: impl AsRef<Path>) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_limits_cap_the_connections_ho_01() {
        let (cap, limit) = system_cap();
        assert!(cap > 1 && !limit.is_empty());
        if let Some(maps) = number_in("/proc/sys/vm/max_map_count") {
            assert!(u64::try_from(cap).unwrap() < maps / 4);
        }
    }
}
