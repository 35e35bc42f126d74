//! The changes in a tree, as Linux reports them.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use ftp_client::Canceller;
use ftp_proto::HiddenFile;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

pub(crate) struct Changes {
    events: OwnedFd,
}

impl Changes {
    /// Watches all directories of a tree.
    ///
    /// # Errors
    ///
    /// Returns the system's error if one of them cannot be watched: there may be too many.
    pub(crate) fn of(top: &Path, sees_removals: bool) -> io::Result<Self> {
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
    pub(crate) fn wait(&mut self, limit: Duration, canceller: Option<&Canceller>) {
        let limit = Timespec::try_from(limit).ok();
        let mut watched = vec![PollFd::new(&self.events, PollFlags::IN)];
        watched.extend(canceller.map(|it| PollFd::new(it, PollFlags::IN)));
        // After an interrupted wait, a run too many does no harm.
        let _ = poll(&mut watched, limit.as_ref());
    }

    /// Takes what has been reported. Returns whether something has changed, other than hidden files of
    /// this program. Lost reports count as a change.
    pub(crate) fn take(&mut self) -> bool {
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
