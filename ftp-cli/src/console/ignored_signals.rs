//! Finds signals that were ignored when the process started: they stay ignored.

use std::fs::File;
use std::io::Read;

/// Initial buffer size for the process status, in bytes. The status is longer on systems with many
/// cores.
const STATUS: usize = 2_048;

/// Returns whether a signal was ignored when the process started; false if the system does not
/// report it.
pub(crate) fn is_ignored(signal: i32) -> bool {
    ignored().is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Returns the ignored signals as bits, the lowest for signal 1.
fn ignored() -> Option<u64> {
    // Read as bytes, because the status contains the process name, which need not be UTF-8.
    let mut status = Vec::with_capacity(STATUS);
    File::open("/proc/self/status").ok()?.read_to_end(&mut status).ok()?;
    // `SigIgn` is closer to the end of the status, so the search begins there.
    let mut lines = status.rsplit(|byte| *byte == b'\n');
    let mask = lines.find_map(|line| line.strip_prefix(b"SigIgn:\t"))?;
    u64::from_str_radix(std::str::from_utf8(mask).ok()?, 16).ok()
}
