//! The resources of a process, read from `/proc`.

use std::time::Duration;

use ftp_tests::wait::wait_until;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Returns the resident memory of a process in KiB.
pub(crate) fn resident(process: u32) -> u64 {
    memory(process, "VmRSS:")
}

/// Returns the memory of a process in KiB, by one field of `/proc/PID/smaps_rollup`: `Rss:` for all
/// resident memory, `Pss:` with a share of memory that other processes use too, `Anonymous:` for
/// memory without a file. These are exact, while those of `status` may lag by some hundred pages
/// for each processor.
pub(crate) fn mapped(process: u32, figure: &str) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = maps.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Returns a field of `/proc/PID/status` in KiB.
pub(crate) fn memory(process: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until a server has walked its directories, during which it has some of them open. Its thread
/// `disks` walks, or another one named `sweep`, while the thread `sweep` waits for it.
pub(crate) fn wait_for_sweep(process: u32) {
    let sleeps = || {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
        let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok();
        let stats: Vec<String> = tasks.filter_map(stat).collect();
        let count = |thread| stats.iter().filter(|stat| stat.contains(thread)).count();
        [count("(sweep) "), count("(sweep) S "), count("(disks)")] == [1, 1, 0]
    };
    // After the walk it sleeps for a day, during the walk only for moments.
    let pause = || std::thread::sleep(Duration::from_millis(5));
    wait_until("the end of the sweep", || {
        (0..5).all(|_| {
            pause();
            sleeps()
        })
    });
}

/// Waits until a server without TLS has begun, and has walked its directories: until then, some of its
/// threads end by themselves.
pub(crate) fn wait_for_rest(process: u32) {
    wait_for_sweep(process);
    wait_until("a server at rest", || threads(process) == THREADS_AT_REST);
}

/// Returns the most memory of its own that a process has, in KiB, until it needs no more for a second.
pub(crate) fn most_of_its_own(process: u32) -> u64 {
    let (mut most, mut since) = (0, std::time::Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        let now = mapped(process, "Anonymous:");
        if now > most {
            (most, since) = (now, std::time::Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    most
}

/// Returns the number of open descriptors of a process.
pub(crate) fn open_descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// Returns the names of the threads of a process, sorted.
pub(crate) fn thread_names(process: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let mut names: Vec<_> = tasks.filter_map(name).collect();
    names.sort_unstable();
    names
}

/// Returns the number of threads of a process.
pub(crate) fn threads(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/task")).unwrap().count()
}

/// The number of threads of a server without a session: main, daemon, signals, log, listener, relay,
/// watchdog and sweeper.
pub(crate) const THREADS_AT_REST: usize = 8;

/// Raises the descriptor limit of this process, and of those that it starts, to the system's
/// maximum, and returns it.
pub(crate) fn allow_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}
