//! How much of everything a test of many sessions, commands or files works with.

/// `full` with `FTP_SCALE=1`, as in CI: the figure that is promised, which takes up to minutes.
/// `plain` without it: the same along the same code, in seconds.
#[must_use]
pub fn count(plain: usize, full: usize) -> usize {
    if is_full() { full } else { plain }
}

/// Whether the full figures are wanted: `FTP_SCALE=1`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("FTP_SCALE").is_some_and(|value| value == "1")
}
