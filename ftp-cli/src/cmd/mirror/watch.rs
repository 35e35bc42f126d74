//! `mirror --watch`: runs again after each change of SRC, and after a time without one.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::connect::sessions::pause_until;
use crate::console::Cleanup;
use crate::console::output::Messages;
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, values};

/// The time after which the run is repeated without a change.
const INTERVAL: Duration = Duration::from_secs(60);

/// The time without a change after which a run begins, so that a file is complete that is being written.
const SETTLE: Duration = Duration::from_secs(1);

/// The time after which a run begins although changes go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest pause after a failure.
const LONGEST: Duration = Duration::from_secs(60);

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
/// `here`, if SRC is one; `sees_removals` says whether a removal there is a change.
///
/// # Errors
///
/// Returns the failure that ends the runs, and `Cancelled` after a signal.
pub(super) fn repeat(
    interval: Duration,
    (here, sees_removals): (Option<&Path>, bool),
    (cleanup, messages, quiet): (&Cleanup, &Messages, bool),
    mut run: impl FnMut() -> Result,
) -> Result {
    let pause = |time| {
        pause_until(Instant::now() + time, cleanup.canceller());
        match cleanup.canceller() {
            Some(canceller) if canceller.is_cancelled() => {
                Err(Failure::from(ftp_client::Error::Cancelled))
            }
            _ => Ok(()),
        }
    };
    let (mut failures, mut has_succeeded, mut is_told) = (0, false, false);
    loop {
        // What changes during the run is a change after it.
        let changes = here.and_then(|here| match Changes::of(here, sees_removals) {
            Ok(changes) => Some(changes),
            Err(error) => {
                let message =
                    format!("cannot watch all of SRC ({error}): looking every {interval:?}");
                let is_new = !std::mem::replace(&mut is_told, true);
                messages.say_if(is_new && !quiet, message);
                None
            }
        });
        match run() {
            Ok(()) => (failures, has_succeeded) = (0, true),
            Err(failure) => {
                let is_final = match failure.exit {
                    Exit::Usage => failure.fatal,
                    Exit::Login => !has_succeeded,
                    _ => false,
                };
                if is_final {
                    return Err(failure);
                }
                pause(Duration::ZERO)?;
                if !failure.reported {
                    messages.say(&failure.message);
                }
                let delay = LONGEST.min(interval).min(Duration::from_secs(1 << failures.min(6)));
                messages.say_if(!quiet, format_args!("trying again in {delay:?}"));
                failures += 1;
                pause(delay)?;
                continue;
            }
        }
        let Some(mut changes) = changes else {
            pause(interval)?;
            continue;
        };
        let end = Instant::now() + interval;
        while !changes.take() {
            let left = end.saturating_duration_since(Instant::now());
            pause(Duration::ZERO)?;
            if left.is_zero() {
                break;
            }
            changes.wait(left, cleanup);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            pause(SETTLE.min(interval))?;
            if !changes.take() || Instant::now() >= end {
                break;
            }
        }
    }
}

#[cfg(target_os = "linux")]
use self::linux::Changes;

/// Other systems report no changes here, so only the time begins a run.
#[cfg(not(target_os = "linux"))]
enum Changes {}

#[cfg(not(target_os = "linux"))]
impl Changes {
    fn of(_: &Path, _: bool) -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn wait(&mut self, _: Duration, _: &Cleanup) {
        match *self {}
    }

    fn take(&mut self) -> bool {
        match *self {}
    }
}

/// The changes in a tree, as the kernel reports them.
#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::time::Duration;

    use ftp_proto::HiddenFile;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
    use rustix::io::Errno;

    use crate::console::Cleanup;

    pub(super) struct Changes {
        events: OwnedFd,
    }

    impl Changes {
        /// Watches all directories of a tree.
        ///
        /// # Errors
        ///
        /// Returns the system's error if one of them cannot be watched: there may be too many.
        pub(super) fn of(top: &Path, sees_removals: bool) -> io::Result<Self> {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let mut flags = WatchFlags::CREATE
                | WatchFlags::MOVED_TO
                | WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::ATTRIB
                | WatchFlags::ONLYDIR;
            flags.set(WatchFlags::DELETE | WatchFlags::MOVED_FROM, sees_removals);
            let mut left = vec![top.to_owned()];
            while let Some(directory) = left.pop() {
                // A directory that is made after it was read shows as a change of the one above.
                match inotify::add_watch(&events, &directory, flags) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) if directory != top => {
                        continue;
                    }
                    watched => drop(watched?),
                }
                // What cannot be read fails in the run.
                for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        left.push(entry.path());
                    }
                }
            }
            Ok(Self { events })
        }

        /// Waits for a change, for `limit`, or until a signal.
        pub(super) fn wait(&mut self, limit: Duration, cleanup: &Cleanup) {
            let limit = Timespec::try_from(limit).ok();
            let mut watched = vec![PollFd::new(&self.events, PollFlags::IN)];
            watched.extend(cleanup.canceller().map(|it| PollFd::new(it, PollFlags::IN)));
            // After an interrupted wait, a run too many does no harm.
            let _ = poll(&mut watched, limit.as_ref());
        }

        /// Takes what has been reported. Returns whether something has changed, other than hidden files of
        /// this program. Lost reports count as a change.
        pub(super) fn take(&mut self) -> bool {
            let mut buffer = [MaybeUninit::uninit(); 4_096];
            let mut reader = Reader::new(&self.events, &mut buffer);
            let mut has_changed = false;
            while let Ok(event) = reader.next() {
                let is_own =
                    event.file_name().is_some_and(|name| HiddenFile::of(name.to_bytes()).is_some());
                has_changed |= !is_own;
            }
            has_changed
        }
    }
}
