//! The numbers of sessions, commands, files, servers and cases in plain and full runs of a test.

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

/// Returns all cases with `FTP_SCALE=1`. Returns `plain` of them without it: others for each test,
/// by its name, so that a plain run of many tests still meets every case.
#[must_use]
pub fn some<T>(mut cases: Vec<T>, plain: usize) -> Vec<T> {
    if !is_full() && !cases.is_empty() {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let turn = name.bytes().map(usize::from).sum::<usize>() % cases.len();
        cases.rotate_left(turn);
        cases.truncate(plain);
    }
    cases
}
