//! `mirror --watch`: runs again after each change of SRC, and after a time without one.

use std::path::Path;
use std::time::{Duration, Instant};

use ftp_client::pool::Patience;
use ftp_client::{Canceller, Error};

use crate::connect::sessions::pause_until;
use crate::console::output::{Messages, shown_path};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, values};
use crate::system::Changes;

/// The time after which the run is repeated without a change.
const INTERVAL: Duration = Duration::from_secs(60);

/// The time without a change after which a run begins, so that a file is complete that is being written.
const SETTLE: Duration = Duration::from_secs(1);

/// The time after which a run begins although changes go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the time after which a run is repeated without a change, if runs are repeated.
///
/// # Errors
///
/// Returns `Usage` for an invalid time.
pub(super) fn interval(options: &Options) -> Result<Option<Duration>> {
    let named = options.parsed("watch", values::waiting_time)?;
    Ok(options.has("watch").then(|| named.unwrap_or(INTERVAL)))
}

/// Repeats `run` until a signal, or a failure that no other run can cure. Watches the local directory
/// `here`, if SRC is one; `sees_removals` says whether a removal there is a change. A file that has changed
/// takes part from the age `youngest`, which is when the next run begins at the latest.
///
/// # Errors
///
/// Returns the failure that ends the runs, and `Cancelled` after a signal.
pub(super) fn repeat(
    (interval, youngest): (Duration, Option<Duration>),
    (here, sees_removals): (Option<&Path>, bool),
    (canceller, messages, quiet): (Option<&Canceller>, &Messages, bool),
    mut run: impl FnMut() -> Result,
) -> Result {
    let pause = |time| {
        pause_until(Instant::now() + time, canceller);
        match canceller.is_some_and(Canceller::is_cancelled) {
            true => Err(Failure::from(Error::Cancelled)),
            false => Ok(()),
        }
    };
    let what = here.map_or_else(|| "SRC".to_owned(), shown_path);
    messages.say_if(!quiet, format_args!("watching {what}; Ctrl-C ends it"));
    let back_off = Patience::new().scattered(false);
    let (mut failures, mut has_succeeded) = (0, false);
    let until_old = youngest.map_or(interval, |age| interval.min(age + SETTLE));
    let mut has_changed = true;
    loop {
        // What changes during the run is a change after it.
        let changes = here.and_then(|here| match Changes::of(here, sees_removals) {
            Ok(changes) => Some(changes),
            Err(error) => {
                let message =
                    format!("cannot watch all of SRC ({error}): looking every {interval:?}");
                messages.say_once(!quiet, message);
                None
            }
        });
        match run() {
            Ok(()) => (failures, has_succeeded) = (0, true),
            Err(failure) => {
                match failure.exit {
                    Exit::Usage if failure.fatal => return Err(failure),
                    Exit::Login if !has_succeeded => return Err(failure),
                    _ => pause(Duration::ZERO)?,
                }
                if !failure.reported {
                    messages.say(&failure.message);
                }
                failures += 1;
                let delay = back_off.pause(failures).min(interval);
                messages
                    .say_if(!quiet, format_args!("trying again in {} s", delay.as_secs().max(1)));
                pause(delay)?;
                // The changes that this run has seen or missed are the next one's.
                has_changed = true;
                continue;
            }
        }
        match changes {
            Some(changes) => {
                let limit = if has_changed { until_old } else { interval };
                has_changed = await_change(changes, limit, canceller, &pause)?;
            }
            None => pause(interval)?,
        }
    }
}

/// Waits until SRC has changed and then stays unchanged for [`SETTLE`], or until `interval` has passed
/// without a change. Returns whether there was a change.
fn await_change(
    mut changes: Changes,
    interval: Duration,
    canceller: Option<&Canceller>,
    pause: &dyn Fn(Duration) -> Result,
) -> Result<bool> {
    let end = Instant::now() + interval;
    while !changes.take() {
        let left = end.saturating_duration_since(Instant::now());
        pause(Duration::ZERO)?;
        if left.is_zero() {
            return Ok(false);
        }
        changes.wait(left, canceller);
    }
    let end = Instant::now() + PATIENCE;
    loop {
        pause(SETTLE.min(interval))?;
        if !changes.take() || Instant::now() >= end {
            return Ok(true);
        }
    }
}
