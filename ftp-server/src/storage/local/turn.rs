//! The turns of uploads that append in place: one at a time for each file, whose metadata clients see
//! without the bytes of a running append. Also the locks of files, which other processes see.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Condvar;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::lock::{Lock, unpoisoned};
use crate::storage::{EntryKind, Metadata};

/// Locks a file; returns EWOULDBLOCK if the file is already locked.
pub(crate) fn lock(file: impl AsFd) -> Result<(), Errno> {
    retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive))
}

/// Releases the lock of a file. Closing the file does not always unlock it: a child process that is
/// being started shares the open file and its lock until it executes its program.
pub(crate) fn unlock(file: impl AsFd) {
    // This fails only on file systems without locks.
    let _ = retry_on_intr(|| flock(&file, FlockOperation::Unlock));
}

/// How long an append may add fewer than [`LEAST`] bytes to its file while another one waits.
const SILENCE: Duration = Duration::from_secs(5);

/// Number of bytes that end a silence. An append of one byte per second is silent too.
const LEAST: usize = 4 * 1024;

/// Pause after an attempt to lock a file that another process has locked.
const PAUSE: Duration = Duration::from_millis(20);

/// The only append of this process to a file, unless the turn is lost.
#[derive(Debug)]
pub(super) struct AppendTurn {
    number: u64,
}

/// Device and inode.
type AppendedFile = (u64, u64);

struct Appended {
    file: AppendedFile,
    /// The number of the turn.
    number: u64,
    /// The length that a rollback restores, once the file is locked.
    former: Option<u64>,
    /// A descriptor that keeps the file locked against other processes, also for the append that
    /// gets the turn next.
    lock: Option<OwnedFd>,
    /// Whether the upload is writing, or has all its bytes. The turn cannot be lost meanwhile.
    is_busy: bool,
    /// The beginning of the silence.
    since: Instant,
    /// Number of bytes added in the silence.
    added: usize,
}

/// The files to which uploads append. Roots that contain the same file share this list.
static APPENDED: Lock<Vec<Appended>> = Lock::new(Vec::new());

/// Signal for the end of a turn.
static FREE: Condvar = Condvar::new();

impl Appended {
    fn is_silent(&self) -> bool {
        !self.is_busy && self.since.elapsed() >= SILENCE
    }
}

impl AppendTurn {
    /// Waits for the turn, for `wait` at most, and locks the file, if the file system supports locks.
    /// Takes the turn from a silent append, whose bytes then stay. Returns `None` if an upload of
    /// this or another process still appends to the file.
    pub(super) fn take(
        file: AppendedFile,
        descriptor: impl AsFd + Copy,
        wait: Duration,
    ) -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut appended = APPENDED.lock();
        if appended.iter().any(|it| it.file == file && !it.is_silent()) {
            appended = unpoisoned(FREE.wait_timeout(appended, wait)).0;
        }
        let former = appended.iter().position(|it| it.file == file);
        if former.and_then(|at| appended.get(at)).is_some_and(|it| !it.is_silent()) {
            return None;
        }
        // The lock stays with the file.
        let lock = former.and_then(|at| appended.swap_remove(at).lock);
        let is_locked = lock.is_some();
        let (number, since) = (NUMBER.fetch_add(1, Ordering::Relaxed), Instant::now());
        appended.push(Appended {
            file,
            number,
            former: None,
            lock,
            is_busy: true,
            since,
            added: 0,
        });
        drop(appended);
        let turn = Self { number };
        if !is_locked && !turn.lock(descriptor) {
            drop(turn);
            thread::sleep(PAUSE);
            return None;
        }
        Some(turn)
    }

    /// Locks the file. Returns `false` if another process appends to it.
    fn lock(&self, descriptor: impl AsFd + Copy) -> bool {
        match lock_unless_read(descriptor) {
            Ok(()) => {
                let kept = descriptor.as_fd().try_clone_to_owned().ok();
                self.with(|it| it.lock = kept);
                true
            }
            Err(errno) => errno != Errno::WOULDBLOCK,
        }
    }

    /// Records what clients see until the upload ends.
    pub(super) fn begin(&self, length: u64) {
        self.with(|it| it.former = Some(length));
    }

    /// Keeps the turn, however long the next call takes, until [`added`](Self::added) is called.
    /// Returns `false` if the turn is lost.
    pub(super) fn keep(&self) -> bool {
        self.with(|it| it.is_busy = true).is_some()
    }

    pub(super) fn added(&self, count: usize) {
        self.with(|it| {
            it.is_busy = false;
            it.added = it.added.saturating_add(count);
            if it.added >= LEAST {
                (it.since, it.added) = (Instant::now(), 0);
            }
        });
    }

    /// Changes the entry of this turn; returns `None` if the turn is lost.
    fn with<T>(&self, change: impl FnOnce(&mut Appended) -> T) -> Option<T> {
        APPENDED.lock().iter_mut().find(|it| it.number == self.number).map(change)
    }
}

impl Drop for AppendTurn {
    fn drop(&mut self) {
        // The list is not locked during this call, which can wait for a network.
        if let Some(lock) = self.with(|it| it.lock.take()).flatten() {
            unlock(lock);
        }
        APPENDED.lock().retain(|it| it.number != self.number);
        FREE.notify_all();
    }
}

/// Locks a file against appends of other processes, if the file system supports locks. Returns
/// EWOULDBLOCK if another process appends to it.
///
/// A program that may only read the file, such as a log reader, can hold a shared `flock` for as
/// long as it likes. Then the append shares that lock, and takes a lock of `fcntl` for writing, which
/// needs a descriptor for writing. That lock alone would not do: it ends as soon as this process
/// closes any descriptor of the file.
fn lock_unless_read(file: impl AsFd + Copy) -> Result<(), Errno> {
    let shared = FlockOperation::NonBlockingLockShared;
    match lock(file) {
        Err(Errno::WOULDBLOCK) => retry_on_intr(|| flock(file, shared)).and_then(|()| {
            let locked = fcntl_lock(file, FlockOperation::NonBlockingLockExclusive);
            locked.map_err(|_| Errno::WOULDBLOCK).inspect_err(|_| unlock(file))
        }),
        locked => locked,
    }
}

/// Returns metadata as clients see it: without the bytes of a running append, which may be removed
/// again.
pub(super) fn settled(mut found: Metadata) -> Metadata {
    if found.kind == EntryKind::File
        && let Some(length) = former(found.identity)
    {
        found.size = found.size.min(length);
    }
    found
}

/// Returns the length of a file before a running append; `None` if no append is running.
pub(super) fn former(file: AppendedFile) -> Option<u64> {
    APPENDED.lock().iter().find(|appended| appended.file == file)?.former
}

/// Pretends that the append to a file has been silent for long.
#[cfg(test)]
pub(super) fn seem_silent(file: AppendedFile) {
    for it in APPENDED.lock().iter_mut().filter(|it| it.file == file) {
        it.since = it.since.checked_sub(SILENCE).unwrap();
    }
}
