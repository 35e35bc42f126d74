//! `--timeout`: ends the run at its time limit, even if the main thread waits for something local:
//! a FIFO, a full pipe, standard input, a password command.
//!
//! Waits for the network end by themselves at the same limit, with a better message, so this thread
//! acts a little later.

use std::thread;
use std::time::{Duration, Instant};

use super::signals::{Cause, EarlyEnd};
use super::stdio::Stdio;
use super::threads;
use crate::exit::{Exit, Failure};
use crate::options::{Command, Options};

/// Additional time for the main thread to end by itself.
const GRACE: Duration = Duration::from_millis(500);

/// Additional time for `doctor`, which reports its findings and removes its files after the limit.
/// It ends sooner if it has not begun yet, or if nothing reads its report.
const GRACE_OF_DOCTOR: Duration = Duration::from_secs(10);

/// Starts the thread, if this run owns the process and its time is limited.
///
/// # Errors
///
/// Returns `Usage` for an invalid limit, and `Internal` if the system refuses the thread.
pub(crate) fn start(
    command: Option<Command>,
    options: &Options,
    stdio: &Stdio,
) -> Result<(), Failure> {
    let Some(end) = options.end()?.filter(|_| stdio.is_process) else { return Ok(()) };
    let reports_late = command == Some(Command::Doctor);
    let early = EarlyEnd::of(stdio);
    let output = stdio.shared_output.clone();
    let started = threads::start("time limit", move || {
        sleep_until(end + GRACE);
        // A report that nothing reads is not worth the time.
        while reports_late && end.elapsed() < GRACE_OF_DOCTOR {
            if !early.has_begun() || output.is_blocked_for(GRACE) {
                break;
            }
            thread::sleep(GRACE);
        }
        early.end(Cause::Timeout);
    });
    let refused = |error| Failure::new(Exit::Internal, format!("--timeout: {error}"));
    started.map(drop).map_err(refused)
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}
