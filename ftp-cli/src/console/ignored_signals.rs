//! Which signals this process was started with ignored: those stay ignored.

use std::fs::File;
use std::io::Read;

/// Room for what the system tells of this process, in bytes: there is more where it has many cores.
const STATUS: usize = 2_048;

/// Whether this process was started with a signal ignored; not, where the system does not tell.
pub(crate) fn is_ignored(signal: i32) -> bool {
    ignored().is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The signals that are ignored, a bit for each, the lowest for 1.
fn ignored() -> Option<u64> {
    // As bytes: the name of the process, which is in it, need not be UTF-8.
    let mut status = Vec::with_capacity(STATUS);
    File::open("/proc/self/status").ok()?.read_to_end(&mut status).ok()?;
    // From the end, which it is nearer to.
    let mut lines = status.rsplit(|byte| *byte == b'\n');
    let mask = lines.find_map(|line| line.strip_prefix(b"SigIgn:\t"))?;
    u64::from_str_radix(std::str::from_utf8(mask).ok()?, 16).ok()
}
