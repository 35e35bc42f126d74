//! The growth of this process, as counted by the kernel.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test of this process uses much memory.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running measurement.
pub(crate) struct Growth {
    before: Option<u64>,
}

impl Growth {
    /// Starts from the present resident memory.
    pub(crate) fn begin() -> Self {
        // Resets the peak to the present resident memory.
        let is_reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { before: is_reset.then(|| resident("VmRSS:")).flatten() }
    }

    /// Returns the largest growth in bytes; `None` if the kernel does not report it.
    pub(crate) fn end(self) -> Option<u64> {
        Some(resident("VmHWM:")?.saturating_sub(self.before?))
    }
}

fn resident(what: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}

#[test]
fn memory_growth_is_measured() {
    let _alone = alone();
    let growth = Growth::begin();
    let Some(_) = growth.before else { return };
    let block = std::hint::black_box(vec![1_u8; 64 << 20]);
    // Memory that other threads return, or the kernel reclaims, reduces the growth.
    let grown = growth.end();
    assert!(grown.is_some_and(|grown| grown >= 32 << 20), "{} bytes: {grown:?}", block.len());
}
