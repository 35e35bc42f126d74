//! Tidies away what unfinished uploads have left in a tree: what a server was writing when it was
//! killed, and what was kept for users who have not come back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, fstatvfs, openat, seek, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::hidden::{self, is_old, seconds_left};
use super::name::{self, Hidden};
use super::policy::KEPT;
use super::root::{self, Root};
use crate::storage::{EntryKind, Metadata};
use crate::{limits, threads};

/// How many bytes of entries are asked for in one call. There is one such buffer for each level of
/// the tree that is open, [`limits::PATH_DEPTH`] at most.
const BUFFER: usize = 8 * 1024;

/// How soon a tree is walked again at the earliest: a million files are some seconds of reading.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// Walks the tree below `root` now, and again whenever something that is kept has become too old,
/// in a thread that ends with the root. Where nothing is kept, the disk is left alone.
pub(super) fn start(root: &Arc<Root>) -> io::Result<Sender<()>> {
    let (kept, news) = mpsc::channel();
    let weak = Arc::downgrade(root);
    threads::start(Some("sweep"), limits::SESSION_STACK, move || {
        while let Some(root) = weak.upgrade() {
            let due = Walk::of(&root);
            drop(root);
            if !wait(&news, due) {
                return;
            }
        }
    })?;
    Ok(kept)
}

/// Walks the tree below `root` now. Returns how many files were removed.
pub(super) fn once(root: &Arc<Root>) -> u64 {
    Walk::through(root).removed
}

/// Waits until the next walk is due; for ever, if nothing is kept. False when the root is gone.
pub(super) fn wait(news: &Receiver<()>, due: Option<Duration>) -> bool {
    let mut due = due;
    loop {
        let wait = match due {
            Some(due) => news.recv_timeout(due.max(AGAIN)),
            None => news.recv().map_err(RecvTimeoutError::from),
        };
        match wait {
            // What was kept just now is due later than what was kept before.
            Ok(()) => due = due.or(Some(KEPT)),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Walks the tree below `root` now. Returns how many bytes its files have, each counted by each of
/// its names, and those that are kept for users among them. `None` if nobody else has the root any
/// more: then not all of it was met.
pub(super) fn count(root: &Arc<Root>) -> Option<u64> {
    let mut walk = Walk { root, bytes: Some(0), removed: 0, due: None, is_over: false };
    walk.all();
    walk.bytes.filter(|_| !walk.is_over)
}

/// One walk through a tree.
pub(super) struct Walk<'a> {
    root: &'a Arc<Root>,
    /// What the files have that were met, if they are only to be counted.
    bytes: Option<u64>,
    removed: u64,
    /// When the next of what is kept is too old, in seconds from now.
    due: Option<i64>,
    /// It ended before its time, since nobody but this walk has the root any more.
    is_over: bool,
}

impl<'a> Walk<'a> {
    /// Walks through all of it. Returns when something more is to be removed.
    pub(super) fn of(root: &'a Arc<Root>) -> Option<Duration> {
        let seconds = Self::through(root).due.map(|due| u64::try_from(due).unwrap_or_default());
        seconds.map(Duration::from_secs)
    }

    fn through(root: &'a Arc<Root>) -> Self {
        let mut walk = Self { root, bytes: None, removed: 0, due: None, is_over: false };
        walk.all();
        match walk.removed {
            0 => {}
            1 => log::info!("1 file of an unfinished upload removed"),
            removed => log::info!("{removed} files of unfinished uploads removed"),
        }
        walk
    }

    fn all(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        if let Ok(top) = self.root.open_beneath(b"", flags) {
            self.directory(&top, self.root.identity().0, 0);
        }
    }

    /// Whether nobody but this walk is interested in the tree any more.
    fn is_over(&mut self) -> bool {
        self.is_over = self.is_over || Arc::strong_count(self.root) <= 1;
        self.is_over
    }

    /// What cannot be read is passed over: nothing here is worth an error.
    fn directory(&mut self, directory: &OwnedFd, device: u64, depth: usize) {
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while !self.is_over() {
            let entry = match entries.next() {
                Some(Ok(entry)) => entry,
                Some(Err(Errno::INTR)) => continue,
                Some(Err(_)) | None => return,
            };
            let name = entry.file_name().to_bytes();
            match entry.file_type() {
                FileType::RegularFile | FileType::Unknown
                    if self.bytes.is_some() || name::is_temporary(name) =>
                {
                    let found = root::metadata_at(directory, name, AtFlags::empty());
                    match found {
                        Ok(found) if found.kind == EntryKind::File => {
                            self.file(directory, name, &found);
                        }
                        Ok(Metadata { kind: EntryKind::Directory, .. }) => {
                            self.below(directory, name, device, depth);
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
                // Some file systems do not say here what is what.
                FileType::Directory | FileType::Unknown => {
                    self.below(directory, name, device, depth);
                }
                _ => {}
            }
        }
    }

    fn below(&mut self, directory: &OwnedFd, name: &[u8], device: u64, depth: usize) {
        if depth < limits::PATH_DEPTH
            && !matches!(name, b"." | b"..")
            && let Some((below, device)) = open(directory, name, device)
        {
            self.directory(&below, device, depth + 1);
        }
    }

    fn file(&mut self, directory: &OwnedFd, name: &[u8], found: &Metadata) {
        let hidden = name::hidden(name);
        if let Some(bytes) = &mut self.bytes {
            // What an upload writes that goes on is counted by whoever writes it.
            if hidden != Some(Hidden::Running) {
                *bytes = bytes.saturating_add(found.size);
            }
            return;
        }
        let Some(what) = hidden else { return };
        // Nothing of the kind is made here: it is somebody else's, and stays.
        if found.links > 1 {
            return;
        }
        if what == Hidden::Kept && !is_old(found) {
            let left = seconds_left(found);
            self.due = Some(self.due.map_or(left, |due| due.min(left)));
            return;
        }
        let removed = match hidden::remove(self.root.usage(), directory.as_fd(), name) {
            Ok(removed) => removed,
            // Without locks nobody can say that it is theirs, but a day is long.
            Err(_) if is_old(found) => {
                retry_on_intr(|| unlinkat(directory, name, AtFlags::empty())).is_ok()
            }
            Err(_) => false,
        };
        self.removed += u64::from(removed);
    }
}

/// Removes what is hidden in a directory, if there is nothing else in it and nobody writes to it.
/// False if something is left.
pub(super) fn empty(parent: &Directory, name: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = retry_on_intr(|| openat(parent, name, flags, Mode::empty())) else {
        return false;
    };
    let usage = parent.root().usage();
    // Nothing goes if it is seen that something would stay.
    let all = |wanted: &dyn Fn(&[u8]) -> bool| {
        let mut buffer = Vec::with_capacity(BUFFER);
        let is_read_from_the_start = seek(&directory, SeekFrom::Start(0)).is_ok();
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else { return false };
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && !wanted(name) {
                return false;
            }
        }
        is_read_from_the_start
    };
    all(&|name| name::hidden(name).is_some() && hidden::is_left(directory.as_fd(), name))
        && all(&|name| hidden::remove(usage, directory.as_fd(), name).unwrap_or(false))
}

/// Opens a directory in another, with the device it is on. Not a link to one, and not the top of
/// a file system that is none, such as `/proc`.
fn open(directory: impl AsFd, name: &[u8], device: u64) -> Option<(OwnedFd, u64)> {
    let flags =
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let below = retry_on_intr(|| openat(&directory, name, flags, Mode::empty())).ok()?;
    let found = root::metadata_of(&below).ok()?.identity.0;
    let is_made_up = || fstatvfs(&below).is_ok_and(|system| system.f_blocks == 0);
    if found != device && is_made_up() { None } else { Some((below, found)) }
}
