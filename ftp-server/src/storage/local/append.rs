//! An upload that appends to a file in place.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use ftp_proto::Escaped;
use rustix::fs::{Mode, OFlags, ftruncate, openat};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::failure::{existing, system};
use super::hidden::{lock, unlock};
use super::output::Output;
use super::policy::LocalConfig;
use super::root;
use super::target::Target;
use super::usage::{COST_OF_OBJECT, Charge, Cost, Usage};
use crate::storage::{StorageError, StorageErrorKind, StreamEnd, Upload};

/// A file that grows at its end, and returns to its old length unless the upload is committed.
///
/// A rollback would remove data that a second upload has appended, so only one append to a file may
/// run at a time. An append locks the file with `flock`, if the file system supports that.
#[derive(Debug)]
pub(super) struct Appending {
    /// The directory in which the file was found.
    directory: Directory,
    name: Vec<u8>,
    output: Output,
    /// Device and inode.
    identity: (u64, u64),
    /// The old length.
    length: u64,
    /// Whether the file has its final length.
    is_done: bool,
}

impl Appending {
    /// Opens the file at `target`; its length must be `expected`, if given.
    pub(super) fn begin(
        target: Target,
        expected: Option<u64>,
        config: LocalConfig,
        charge: Charge,
    ) -> Result<Self, StorageError> {
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
        if lock(&file) == Err(Errno::WOULDBLOCK) {
            return Err(StorageErrorKind::Busy.into());
        }
        let length = match root::metadata_of(&file).map(|metadata| metadata.size) {
            // Another session has appended to the file in the meantime.
            Ok(length) if expected.is_some_and(|expected| expected != length) => {
                Err(StorageErrorKind::Busy.into())
            }
            Ok(length) => Ok(length),
            Err(errno) => Err(system(errno)),
        };
        let length = length.inspect_err(|_| unlock(&file))?;
        let output = Output::new(file, length, config.sync, charge.in_place());
        let identity = opened.identity;
        directory.root().usage().grows(identity, length);
        Ok(Self { directory, name, output, identity, length, is_done: false })
    }

    /// Returns whether the file still has the name under which it was found.
    fn has_its_name(&self) -> bool {
        let found = self.directory.metadata(&self.name);
        found.is_ok_and(|found| found.identity == self.identity)
    }
}

impl io::Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.output.sync()?)
    }
}

impl Upload for Appending {
    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.output.sync().map_err(system)?;
        let names = self.directory.names(self.output.policy(), Some(self.output.as_fd()));
        names.and_then(|names| names.sync()).map_err(system)?;
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
        Ok(())
    }

    fn abort(self: Box<Self>, _end: StreamEnd) {}
}

impl Drop for Appending {
    fn drop(&mut self) {
        let root = Arc::clone(self.directory.root());
        if !self.is_done {
            self.cut_back(root.usage());
        }
        root.usage().has_grown(self.identity);
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
            Ok(_) => retry_on_intr(|| ftruncate(&self.output, self.length)),
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
