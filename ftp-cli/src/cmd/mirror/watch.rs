//! `mirror --watch`: runs again after each change of SRC, and after a time without one.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use ftp_client::Canceller;
use ftp_client::pool::Patience;

use crate::connect::sessions::pause_until;
use crate::console::output::{Messages, shown_path};
use crate::exit::{Exit, Result};
use crate::options::{Options, values};
use crate::system::Changes;

/// The time after which the run is repeated without a change.
const INTERVAL: Duration = Duration::from_secs(60);

/// The time without a change after which a run begins, so that a file is complete that is being written.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

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
    let pause = |time| pause_until(Instant::now() + time, canceller);
    let what = here.map_or_else(|| "SRC".to_owned(), shown_path);
    messages.say_if(!quiet, format_args!("watching {what}; Ctrl-C ends it"));
    let back_off = Patience::new().scattered(false);
    let (mut failures, mut has_succeeded) = (0, false);
    let until_old = youngest.map_or(interval, |age| interval.min(age + SETTLE));
    let (mut has_changed, mut last) = (true, None);
    loop {
        // What changes during the run is a change after it.
        let changes = here.and_then(|here| {
            let (changes, is_seen) = watch_again(last.take(), || Changes::of(here, sees_removals));
            has_changed |= is_seen;
            let report = |error| {
                let message =
                    format!("cannot watch all of SRC ({error}): looking every {interval:?}");
                messages.say_once(!quiet, message);
            };
            changes.map_err(report).ok()
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
            Some(mut changes) => {
                let limit = if has_changed { until_old } else { interval };
                has_changed = await_change(&mut changes, limit, canceller, &pause)?;
                last = Some(changes);
            }
            None => pause(interval)?,
        }
    }
}

/// Begins another watch before the last one ends, and returns whether the last one has seen a change since it
/// was read: the run after it may find that file too young. The system may not watch a large tree twice;
/// then a change may have been missed.
fn watch_again(
    last: Option<Changes>,
    watch: impl Fn() -> io::Result<Changes>,
) -> (io::Result<Changes>, bool) {
    let changes = watch();
    match (last, changes) {
        (Some(mut last), Ok(changes)) => (Ok(changes), last.take()),
        (Some(last), Err(_)) => {
            drop(last);
            (watch(), true)
        }
        (None, changes) => (changes, false),
    }
}

/// Waits until SRC has changed and then stays unchanged for [`SETTLE`], or until `interval` has passed
/// without a change. Returns whether there was a change.
fn await_change(
    changes: &mut Changes,
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;

    #[test]
    fn a_change_between_two_watches_is_seen_by_one_of_them() {
        let root = tempfile::tempdir().unwrap();
        let watch = || Changes::of(root.path(), false);
        let (first, is_seen) = watch_again(None, watch);
        assert!(!is_seen);
        let (second, is_seen) = watch_again(first.ok(), watch);
        assert!(!is_seen);
        let (third, is_seen) = watch_again(second.ok(), || {
            fs::write(root.path().join("a"), "")?;
            watch()
        });
        let mut third = third.unwrap();
        assert!(is_seen && !third.take());
        // The system refuses to watch the tree twice.
        let is_refused = Cell::new(false);
        let (fourth, is_seen) = watch_again(Some(third), || match is_refused.replace(true) {
            true => watch(),
            false => Err(io::ErrorKind::StorageFull.into()),
        });
        assert!(is_seen && fourth.is_ok());
    }
}
