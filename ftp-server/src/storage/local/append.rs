//! An upload that appends to a file in place.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ftp_proto::Escaped;
use rustix::fs::{
    FlockOperation, Mode, Nsecs, OFlags, Stat, Timespec, Timestamps, fcntl_lock, flock, fstat,
    ftruncate, futimens, openat,
};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{Directory, existing, system};
use super::hidden::{lock, unlock};
use super::output::Output;
use super::policy::LocalConfig;
use super::target::Target;
use super::turn::{AppendTurn, former};
use super::usage::{COST_OF_OBJECT, Cost, UploadCharge, Usage};
use super::{record, root};
use crate::storage::{StorageErrorKind, StorageResult, StreamEnd, Upload};

/// A file that grows at its end, and returns to its old length unless the upload is committed.
///
/// A rollback would remove data that a second upload has appended, so only one append to a file may
/// run at a time. [`AppendTurn`] and a lock of the file see to that.
#[derive(Debug)]
pub(super) struct Appending {
    /// The directory in which the file was found.
    directory: Directory,
    name: Vec<u8>,
    output: Output,
    /// Device and inode.
    identity: (u64, u64),
    _turn: AppendTurn,
    /// The old length.
    length: u64,
    /// The old times.
    times: Timestamps,
    /// Whether the file has its final length.
    is_done: bool,
}

/// Locks a file against appends of other processes, if the file system supports locks. Returns
/// EWOULDBLOCK if another process appends to it.
///
/// A program that may only read the file, such as a log reader, can hold a shared `flock` for as
/// long as it likes. Then the append shares that lock, and takes a lock of `fcntl` for writing, which
/// needs a descriptor for writing. That lock alone would not do: it ends as soon as this process
/// closes any descriptor of the file.
fn lock_unless_read(file: &OwnedFd) -> Result<(), Errno> {
    let shared = FlockOperation::NonBlockingLockShared;
    match lock(file) {
        Err(Errno::WOULDBLOCK) => retry_on_intr(|| flock(file, shared)).and_then(|()| {
            let locked = fcntl_lock(file, FlockOperation::NonBlockingLockExclusive);
            locked.map_err(|_| Errno::WOULDBLOCK).inspect_err(|_| unlock(file))
        }),
        locked => locked,
    }
}

impl Appending {
    /// Opens the file at `target`; its length must be `expected`, if given.
    pub(super) fn begin(
        target: Target,
        expected: Option<u64>,
        config: LocalConfig,
        charge: UploadCharge,
    ) -> StorageResult<Self> {
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::NONBLOCK
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let Target { directory, name, .. } = target;
        let file = retry_on_intr(|| openat(&directory, &*name, flags, Mode::empty()));
        let file = file.map_err(existing)?;
        let opened = root::metadata_of(&file).map_err(system)?;
        config.check_readable(&opened)?;
        let identity = opened.identity;
        let turn = AppendTurn::take(identity).ok_or(StorageErrorKind::Busy)?;
        if lock_unless_read(&file) == Err(Errno::WOULDBLOCK) {
            return Err(StorageErrorKind::Busy.into());
        }
        let found = match fstat(&file).map_err(system) {
            // Another session has appended to the file in the meantime.
            Ok(found) if expected.is_some_and(|length| size_of(&found) != length) => {
                Err(StorageErrorKind::Busy.into())
            }
            found => found,
        };
        let found = found.inspect_err(|_| unlock(&file))?;
        let length = size_of(&found);
        let output = Output::new(file, length, config.sync, charge.in_place());
        turn.begin(length, found.st_mtime);
        Ok(Self {
            directory,
            name,
            output,
            identity,
            _turn: turn,
            length,
            times: times_of(&found),
            is_done: false,
        })
    }

    /// Returns whether the file still has the name under which it was found.
    fn has_its_name(&self) -> bool {
        let found = self.directory.metadata(&self.name);
        found.is_ok_and(|found| found.identity == self.identity)
    }
}

fn size_of(found: &Stat) -> u64 {
    u64::try_from(found.st_size).unwrap_or_default()
}

fn times_of(found: &Stat) -> Timestamps {
    // The types of these fields differ between processors.
    fn time(seconds: i64, nanoseconds: impl TryInto<Nsecs>) -> Timespec {
        Timespec { tv_sec: seconds, tv_nsec: nanoseconds.try_into().unwrap_or_default() }
    }
    Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec),
        last_modification: time(found.st_mtime, found.st_mtime_nsec),
    }
}

impl io::Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.output.write(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.output.sync()?)
    }
}

impl Upload for Appending {
    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        self.output.sync().map_err(system)?;
        self.directory.sync(self.output.policy()).map_err(system)?;
        let root = Arc::clone(self.directory.root());
        let change = root.usage().change();
        // If the file was removed, renamed or replaced, a client that downloads this name would not
        // get the appended data.
        if !self.has_its_name() {
            return Err(StorageErrorKind::NotFound.into());
        }
        if self.length == 0 && self.output.position() > 0 {
            // The file was empty and cost the minimum. From now on it costs its length.
            change.freed(Cost::bytes(COST_OF_OBJECT));
        }
        self.output.charge().keep();
        self.is_done = true;
        drop(change);
        record::extended(&self.directory, &self.name);
        Ok(())
    }

    fn abort(self: Box<Self>, _end: StreamEnd) {}
}

impl Drop for Appending {
    fn drop(&mut self) {
        if !self.is_done {
            let root = Arc::clone(self.directory.root());
            self.cut_back(root.usage());
        }
        unlock(&self.output);
    }
}

impl Appending {
    /// Restores the old length. If the usage is counted for a quota, no other command can remove or
    /// replace the file during this call, so the file's size is counted correctly.
    fn cut_back(&mut self, usage: &Usage) {
        let _change = usage.change();
        let now = root::metadata_of(&self.output);
        // The rollback never extends the file, even if another program has shortened it.
        let cut = match now {
            Ok(now) if now.size <= self.length => Ok(()),
            Ok(_) => retry_on_intr(|| ftruncate(&self.output, self.length)).inspect(|()| {
                // The file is the old one again, for uploads that are to replace it too.
                let modified = &mut self.times.last_modification;
                match former(self.identity) {
                    Some((_, set)) if set != modified.tv_sec => {
                        *modified = Timespec { tv_sec: set, tv_nsec: 0 };
                    }
                    _ => {}
                }
                let _ = futimens(&self.output, &self.times);
            }),
            Err(errno) => Err(errno),
        };
        if let Err(errno) = cut {
            // Some file systems, such as a read-only one or btrfs above its quota, cannot release
            // space. The appended bytes then stay.
            let name = Escaped(&self.name);
            log::warn!("{name}: cannot roll back an interrupted append: {errno}");
        }
        if !self.has_its_name() || cut.is_err() {
            // The usage is uncertain: a command that removed the file may have subtracted a
            // temporary length, or the old length could not be restored. Network file systems and
            // FUSE keep a removed file under a hidden name, so the file's link count would not show
            // the removal.
            self.output.charge().lost();
        }
    }
}
