//! What this machine can carry: sessions, threads, and memory.
//!
//! The maximum number of sessions is computed once, at startup, from everything that limits the
//! process. Other processes and the C library can use up address space later, so the server looks
//! again before it starts a thread.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;

use ftp_proto::limits::READ_AHEAD;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;
use crate::tls::size_of_records;

/// Memory of an idle session under TLS in bytes, including the kernel's.
const IDLE: usize = 32 * 1024;

/// Command lines that wait while a session answers an earlier one, in bytes: as received, as decrypted,
/// and each with its allocation.
const QUEUE: usize = 2 * READ_AHEAD + 64 * limits::WAITING_LINES;

/// What a session also holds at most while its client reads nothing, in bytes. Large buffers, encoders
/// and many names at once are not here: each of them has a bound for the whole server.
const UNREAD: [(&str, usize); 4] = [
    ("a reply: text and encoding", 2 * limits::REPLY),
    ("a reply under TLS: encoding and records", limits::REPLY + size_of_records(limits::REPLY)),
    ("a listing under TLS: names, lines and records", limits::NAMES + 2 * limits::BUFFER),
    ("a file under TLS: content and records", 2 * limits::BUFFER),
];

/// Memory of one session in bytes, including the kernel's. The largest handshake of a client without
/// a login needs less.
const SESSION_MEMORY: u64 = (IDLE + QUEUE + largest(&UNREAD)) as u64;

/// Address space of one session in bytes: its stack, and memory that it maps. Without an arena of
/// its own, the C library maps each allocation separately.
const SESSION_SPACE: u64 = limits::SESSION_STACK as u64 + SPACE_IN_USE;

/// Descriptors of a session: two connections, a directory and a file. An upload over an existing file
/// has two more for its time; the reserve and idle sessions pay for them, and a shortage is a refusal.
const DESCRIPTORS: u64 = 4;

/// Address space in bytes that a running session may still map.
const SPACE_IN_USE: u64 = 128 * 1024;

/// Address space in bytes that is left to the server itself.
const SPACE_RESERVE: u64 = 12 * 1024 * 1024;

/// Memory in bytes that a password hash leaves to the sessions that run meanwhile.
const MEMORY_RESERVE: u64 = 1024 * 1024;

/// The limits of the address space that this process was started with. Most processes have none,
/// and then no thread needs to ask again.
static SPACE_LIMITS: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let all = [Resource::As, Resource::Data].into_iter();
    all.filter(|limit| getrlimit(*limit).current.is_some()).collect()
});

/// Whether the kernel promises no more memory than it has, and counts the promises of all
/// processes.
static IS_COMMIT_LIMITED: LazyLock<bool> = LazyLock::new(|| SYSTEM.is_commit_limited());

const SYSTEM: System<'_> = System("/");

/// Maximum number of sessions if the kernel does not tell how much memory or how many mappings are
/// left.
const UNKNOWN: u64 = 256;

/// Returns the maximum number of sessions on this system, at least 1, and the name of the limit
/// that sets it. Raises the soft limit of descriptors to the hard limit.
///
/// Each session needs a thread, its mappings, a control connection, and at times a listener, a data
/// connection and a file. Most of the computed maximums leave a reserve: a failed mapping at the
/// start of a thread would abort the whole process.
pub(crate) fn system_cap() -> (usize, &'static str) {
    cap_of(SYSTEM)
}

fn cap_of(system: System<'_>) -> (usize, &'static str) {
    let mappings = system.mappings();
    let memory = system.info("proc/meminfo", "MemAvailable:").map(sessions_in);
    let group_memory = system.group_room("memory").map(sessions_in);
    let is_known = mappings.is_some() && (memory.is_some() || group_memory.is_some());
    // The space of 48 sessions, 18 MiB, is for the server itself and its threads, which start later.
    let space = |room: Option<u64>| Some((room? / SESSION_SPACE).saturating_sub(48));
    let limits = [
        (descriptors(), "RLIMIT_NOFILE"),
        (mappings, "vm.max_map_count"),
        (system.number("proc/sys/kernel/threads-max").map(|threads| threads / 2), "threads-max"),
        (getrlimit(Resource::Nproc).current.map(|all| all.saturating_sub(64)), "RLIMIT_NPROC"),
        (system.group_room("pids").map(|pids| pids.saturating_sub(64)), "pids.max"),
        (memory, "memory"),
        (group_memory, "memory of the control group"),
        (space(system.limited_space(Resource::As)), "RLIMIT_AS"),
        (space(system.limited_space(Resource::Data)), "RLIMIT_DATA"),
        (space(system.commit_room()), "CommitLimit"),
        ((!is_known).then_some(UNKNOWN), "missing /proc"),
    ];
    let known = limits.iter().filter_map(|(limit, name)| limit.map(|limit| (limit, *name)));
    let (cap, name) = known.min_by_key(|(limit, _)| *limit).unwrap_or((UNKNOWN, "default"));
    (usize::try_from(cap).unwrap_or(usize::MAX).max(1), name)
}

/// Returns the maximum memory of this process in bytes: the machine's memory, or the limit of a
/// control group if that is less; `None` if it is unknown.
pub(crate) fn memory_in_all() -> Option<u64> {
    static MEMORY: LazyLock<Option<u64>> = LazyLock::new(|| {
        let limits = SYSTEM.group_limits("memory").map(|(_, limit)| limit);
        SYSTEM.info("proc/meminfo", "MemTotal:").into_iter().chain(limits).min()
    });
    *MEMORY
}

/// Returns the number of processors that this process may use, at least 1. It is asked for once,
/// because the answer takes some twenty files of control groups.
pub(crate) fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
    *PROCESSORS
}

/// Checks that the address space has room for one more thread with a stack of `stack` bytes, and
/// for everything that the running threads may still map: most failed allocations abort the process.
///
/// # Errors
///
/// Returns `OutOfMemory` if there is no such room.
pub(crate) fn check_room_for_thread(stack: usize) -> io::Result<()> {
    let limits = SPACE_LIMITS.iter().filter_map(|limit| SYSTEM.limited_space(*limit));
    let commit = if *IS_COMMIT_LIMITED { SYSTEM.commit_room() } else { None };
    let Some(room) = limits.chain(commit).min() else { return Ok(()) };
    let threads = SYSTEM.field("proc/self/status", "Threads:").unwrap_or_default();
    let needed = stack as u64 + SPACE_RESERVE + threads * SPACE_IN_USE / 2;
    if room >= needed { Ok(()) } else { Err(ErrorKind::OutOfMemory.into()) }
}

/// Checks that `bytes` of memory can be charged now: past the limit of a control group or of the
/// machine, the OOM killer would end the process.
///
/// # Errors
///
/// Returns an error with both numbers if there is less.
pub(crate) fn check_memory(bytes: u64) -> io::Result<()> {
    SYSTEM.check_memory(bytes)
}

const fn largest(table: &[(&str, usize)]) -> usize {
    match table {
        [] => 0,
        [(_, bytes), rest @ ..] => {
            let others = largest(rest);
            if *bytes > others { *bytes } else { others }
        }
    }
}

/// Returns the number of sessions that `bytes` of unused memory allow. A quarter is in reserve, for
/// large buffers, password hashes, and sockets.
const fn sessions_in(bytes: u64) -> u64 {
    (bytes - bytes / 4) / SESSION_MEMORY
}

/// Returns the number of sessions that the descriptors allow: [`DESCRIPTORS`] per session, and 64 in
/// reserve. Raises the soft limit to the hard limit.
fn descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.map(|descriptors| descriptors.saturating_sub(64) / DESCRIPTORS)
}

/// The files in which the kernel describes the system and its limits, below this directory.
#[derive(Clone, Copy)]
struct System<'a>(&'a str);

impl System<'_> {
    fn text(self, path: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(Path::new(self.0).join(path)).ok()
    }

    fn number(self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// Returns the number after `key` in a file with one field per line.
    fn field(self, path: impl AsRef<Path>, key: &str) -> Option<u64> {
        let text = self.text(path)?;
        text.lines()
            .find_map(|line| line.strip_prefix(key))?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    }

    /// Returns a field in bytes that the file gives in KiB.
    fn info(self, path: &str, key: &str) -> Option<u64> {
        self.field(path, key).map(|kib| kib * 1024)
    }

    /// Returns the number of sessions that the unused mappings allow: four per session, and a
    /// reserve for 256 sessions.
    fn mappings(self) -> Option<u64> {
        let count = self.number("proc/sys/vm/max_map_count")?;
        let used = u64::try_from(self.text("proc/self/maps")?.lines().count()).ok()?;
        Some((count.saturating_sub(used) / 4).saturating_sub(256))
    }

    /// Returns the bytes that this process may still map, if `limit` limits them.
    fn limited_space(self, limit: Resource) -> Option<u64> {
        let most = getrlimit(limit).current?;
        let key = if limit == Resource::As { "VmSize:" } else { "VmData:" };
        Some(most.saturating_sub(self.info("proc/self/status", key)?))
    }

    fn is_commit_limited(self) -> bool {
        self.number("proc/sys/vm/overcommit_memory") == Some(2)
    }

    /// Returns the bytes that the kernel may still promise to all processes, if it counts them.
    fn commit_room(self) -> Option<u64> {
        let info = |key| self.info("proc/meminfo", key).filter(|_| self.is_commit_limited());
        Some(info("CommitLimit:")?.saturating_sub(info("Committed_AS:")?))
    }

    fn check_memory(self, bytes: u64) -> io::Result<()> {
        let info = |key| self.info("proc/meminfo", key);
        let machine = info("MemAvailable:").map(|free| free + info("SwapFree:").unwrap_or(0));
        let Some(free) = machine.into_iter().chain(self.group_room("memory")).min() else {
            return Ok(());
        };
        if bytes + MEMORY_RESERVE <= free {
            return Ok(());
        }
        let (needed, free) = (bytes.div_ceil(1 << 20), free >> 20);
        Err(io::Error::other(format!("it needs {needed} MiB of memory, and {free} MiB are free")))
    }

    /// Returns the directories of this process's control group on a controller, and of all groups
    /// that contain it. In a container, the path of the group may begin outside of the mounted file
    /// system: its directory is missing then, and the mounted root has the limits.
    fn groups(self, controller: &str) -> Vec<PathBuf> {
        let mut groups = Vec::new();
        for line in self.text("proc/self/cgroup").unwrap_or_default().lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(named), Some(path)) = (parts.next(), parts.next()) else { continue };
            let mut mount = PathBuf::from("sys/fs/cgroup");
            // An empty list of controllers is cgroup v2, which has one tree for all.
            if named.split(',').any(|name| name == controller) {
                mount.push(controller);
            } else if !named.is_empty() {
                continue;
            }
            let path = Path::new(path.trim_start_matches('/'));
            groups.extend(path.ancestors().map(|group| mount.join(group)));
        }
        groups
    }

    /// Returns the limits of the control groups on a controller, each with the group's directory.
    fn group_limits(self, controller: &str) -> impl Iterator<Item = (PathBuf, u64)> {
        let names = match controller {
            "memory" => &["memory.max", "memory.high", "memory.limit_in_bytes"][..],
            _ => &["pids.max"],
        };
        self.groups(controller).into_iter().filter_map(move |group| {
            let limits = names.iter().filter_map(|name| self.number(group.join(name)));
            limits.min().map(|limit| (group, limit))
        })
    }

    /// Returns what the control groups of this process still allow it to use of a controller. Memory
    /// that only caches files counts as free, because the kernel takes it back.
    fn group_room(self, controller: &str) -> Option<u64> {
        let room = |(group, limit): (PathBuf, u64)| {
            let used = ["memory.current", "memory.usage_in_bytes", "pids.current"];
            let used = used.iter().filter(|name| name.starts_with(controller));
            let used = used.filter_map(|name| self.number(group.join(name))).next();
            let cached = |keys: [&str; 2]| {
                let sizes = keys.map(|key| self.field(group.join("memory.stat"), key));
                sizes.into_iter().flatten().reduce(|sum, size| sum + size)
            };
            let cached = cached(["total_inactive_file ", "total_active_file "])
                .or_else(|| cached(["inactive_file ", "active_file "]));
            let used = used.unwrap_or_default().saturating_sub(cached.unwrap_or_default());
            limit.saturating_sub(used)
        };
        self.group_limits(controller).map(room).min()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Returns the root of a system with these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_system_limits_cap_the_connections_ho_01() {
        let (cap, limit) = system_cap();
        assert!(cap > 1 && !limit.is_empty());
        if let Some(maps) = SYSTEM.number("proc/sys/vm/max_map_count") {
            assert!(u64::try_from(cap).unwrap() < maps / 4);
        }
        assert!(memory_in_all() > Some(0));
    }

    #[test]
    fn a_system_that_does_not_tell_its_limits_has_few_sessions_ho_01() {
        let memory = ("proc/meminfo", "MemAvailable:   64000000 kB\n");
        let group = ("sys/fs/cgroup/memory.max", "68719476736\n");
        let of_group = ("proc/self/cgroup", "0::/\n");
        let maps = [("proc/sys/vm/max_map_count", "65530\n"), ("proc/self/maps", "one\ntwo\n")];
        for (files, is_known) in [
            (&[][..], false),
            (&[memory], false),
            (&maps, false),
            (&maps[..1], false),
            (&[maps[0], maps[1], memory], true),
            (&[maps[0], maps[1], of_group, group], true),
        ] {
            let root = system(files);
            let (cap, limit) = cap_of(System(root.path().to_str().unwrap()));
            // Descriptors and threads of this process have limits, too.
            assert!(is_known || cap <= 256, "{files:?}: {cap}");
            assert_eq!(limit == "missing /proc", !is_known && cap == 256, "{files:?}: {limit}");
        }
    }

    #[test]
    fn a_session_may_hold_all_that_a_client_can_leave_unread_ho_01() {
        assert_eq!(SESSION_MEMORY, 128 * 1024, "as HO-01 says");
        for (what, bytes) in UNREAD {
            assert!((IDLE + QUEUE + bytes) as u64 <= SESSION_MEMORY, "{what}");
        }
    }

    #[test]
    fn the_control_group_and_its_parents_limit_memory_and_threads_ho_01() {
        let v2 = "0::/system.slice/ftp.service\n";
        let v1 = "4:memory:/docker/abc\n3:cpu,pids:/docker/abc\n0::/\n";
        type Files<'a> = &'a [(&'a str, &'a str)];
        #[rustfmt::skip]
        let cases: [(&str, Files<'_>, Option<u64>, Option<u64>); 8] = [
            ("v2", &[
                ("proc/self/cgroup", v2),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.max", "67108864\n"),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.current", "20971520\n"),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.stat",
                 "anon 4194304\nfile 1\ninactive_file 10485760\nactive_file 2097152\n"),
                ("sys/fs/cgroup/system.slice/ftp.service/pids.max", "max\n"),
            ], Some(56 * MIB), None),
            ("high is less than max", &[
                ("proc/self/cgroup", v2),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.max", "67108864\n"),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.high", "33554432\n"),
            ], Some(32 * MIB), None),
            ("a parent is smaller, or has less left", &[
                ("proc/self/cgroup", v2),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.max", "67108864\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "134217728\n"),
                ("sys/fs/cgroup/system.slice/memory.current", "104857600\n"),
                ("sys/fs/cgroup/system.slice/ftp.service/pids.max", "500\n"),
                ("sys/fs/cgroup/system.slice/pids.max", "400\n"),
                ("sys/fs/cgroup/system.slice/pids.current", "100\n"),
            ], Some(28 * MIB), Some(300)),
            ("a container with its own namespace", &[
                ("proc/self/cgroup", "0::/\n"),
                ("sys/fs/cgroup/memory.max", "67108864\n"),
                ("sys/fs/cgroup/pids.max", "100\n"),
            ], Some(64 * MIB), Some(100)),
            ("v1, whose unlimited value is a number", &[
                ("proc/self/cgroup", v1),
                ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "67108864\n"),
                ("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "16777216\n"),
                ("sys/fs/cgroup/memory/docker/abc/memory.stat",
                 "inactive_file 1\ntotal_inactive_file 8388608\ntotal_active_file 0\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/pids/docker/abc/pids.max", "100\n"),
                ("sys/fs/cgroup/pids/docker/abc/pids.current", "10\n"),
            ], Some(56 * MIB), Some(90)),
            ("v1 in a container: the group is mounted as the root", &[
                ("proc/self/cgroup", v1),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
            ], Some(64 * MIB), None),
            ("used up", &[
                ("proc/self/cgroup", v2),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.max", "1048576\n"),
                ("sys/fs/cgroup/system.slice/ftp.service/memory.current", "2097152\n"),
            ], Some(0), None),
            ("none", &[], None, None),
        ];
        for (name, files, memory, pids) in cases {
            let root = system(files);
            let system = System(root.path().to_str().unwrap());
            assert_eq!(system.group_room("memory"), memory, "{name}");
            assert_eq!(system.group_room("pids"), pids, "{name}");
        }
        // Half of these sessions can be handshakes without a login.
        assert_eq!(sessions_in(56 * MIB), 336);
    }

    #[test]
    fn a_hash_that_exceeds_the_free_memory_is_refused_ho_01() {
        let group = "sys/fs/cgroup/memory.max";
        type Files<'a> = &'a [(&'a str, &'a str)];
        #[rustfmt::skip]
        let cases: [(Files<'_>, u64, bool); 6] = [
            (&[("proc/self/cgroup", "0::/\n"), (group, "16777216\n")], 15, true),
            (&[("proc/self/cgroup", "0::/\n"), (group, "16777216\n")], 16, false),
            (&[("proc/meminfo", "MemAvailable: 8192 kB\n")], 7, true),
            (&[("proc/meminfo", "MemAvailable: 8192 kB\n")], 8, false),
            (&[("proc/meminfo", "MemAvailable: 8192 kB\nSwapFree: 4096 kB\n")], 11, true),
            (&[], 1_000_000, true),
        ];
        for (files, mib, fits) in cases {
            let root = system(files);
            let checked = System(root.path().to_str().unwrap()).check_memory(mib * MIB);
            assert_eq!(checked.is_ok(), fits, "{mib} {files:?} {checked:?}");
        }
    }

    #[test]
    fn the_promises_of_the_kernel_count_only_if_it_limits_them_ho_01() {
        let info = "MemTotal: 1 kB\nCommitLimit:     4096 kB\nCommitted_AS:  1024 kB\n";
        for (mode, want) in [("0\n", None), ("1\n", None), ("2\n", Some(3 * MIB))] {
            let root = system(&[("proc/meminfo", info), ("proc/sys/vm/overcommit_memory", mode)]);
            assert_eq!(System(root.path().to_str().unwrap()).commit_room(), want, "{mode}");
        }
    }
}
