//! What a process uses, read from `/proc`.

use std::time::Duration;

use ftp_tests::wait::wait_until;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The resident memory of a process in KiB.
pub(crate) fn resident(process: u32) -> u64 {
    memory(process, "VmRSS:")
}

/// The memory of a process in KiB, by one figure of `/proc/PID/smaps_rollup`: `Rss:` for all that is
/// resident, `Pss:` with its part of what it shares with others, `Anonymous:` for what is of no file.
/// They are counted one by one then, while those of `status` may be late by some hundred pages for
/// each processor.
pub(crate) fn mapped(process: u32, figure: &str) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = maps.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// One figure of `/proc/PID/status` in KiB.
pub(crate) fn memory(process: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until a server has looked through its directories, for which it has some of them open.
pub(crate) fn wait_for_sweep(process: u32) {
    let sleeps = || {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
        let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok();
        tasks.filter_map(stat).any(|stat| stat.contains("(sweep) S "))
    };
    // It sleeps for a day in the end, and for moments before.
    let pause = || std::thread::sleep(Duration::from_millis(5));
    wait_until("the end of the sweep", || {
        (0..5).all(|_| {
            pause();
            sleeps()
        })
    });
}

/// How many descriptors a process has open.
pub(crate) fn open_descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// How many threads a process has.
pub(crate) fn threads(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/task")).unwrap().count()
}

/// How many threads a server has without a session: main, signals, log, listener, relay,
/// watchdog and sweeper.
pub(crate) const THREADS_AT_REST: usize = 7;

/// Lets this process, and those that it starts, have as many descriptors as the system allows;
/// returns how many.
pub(crate) fn allow_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}
