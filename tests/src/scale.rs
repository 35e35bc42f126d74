//! The numbers of sessions, commands and files in tests at scale.

/// Returns `full` with `FTP_SCALE=1`, as in CI: the promised number, which can take minutes.
/// Returns `plain` without it: a number that takes seconds and runs the same code.
#[must_use]
pub fn count(plain: usize, full: usize) -> usize {
    if is_full() { full } else { plain }
}

/// Returns whether to use the full numbers: `FTP_SCALE=1`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("FTP_SCALE").is_some_and(|value| value == "1")
}
