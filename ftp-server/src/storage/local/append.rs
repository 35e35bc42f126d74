//! An upload that continues a file in place.

use std::io;

use rustix::fs::{Mode, OFlags, ftruncate, openat};
use rustix::io::{Errno, retry_on_intr};

use super::hidden::{lock, unlock};
use super::output::Output;
use super::policy::Policy;
use super::root;
use super::target::Target;
use super::usage::Charge;
use super::{existing, system};
use crate::storage::{StorageError, StorageErrorKind, StreamEnd, Upload};

/// A file that grows at its end, and is cut back to its old length unless the upload is committed.
///
/// Cutting back would take away what a second upload has added meanwhile, so there is only one
/// at a time: the file is locked, by `flock`, where the file system can.
#[derive(Debug)]
pub(super) struct Appending {
    output: Output,
    /// The length before, while it may have to be restored.
    restore: Option<u64>,
}

impl Appending {
    /// Opens the file at `target`, whose length must be `expected` if that is given.
    pub(super) fn begin(
        target: Target,
        expected: Option<u64>,
        policy: Policy,
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
        policy.check_readable(&root::metadata_of(&file).map_err(system)?)?;
        if lock(&file) == Err(Errno::WOULDBLOCK) {
            return Err(StorageErrorKind::Busy.into());
        }
        let length = match root::metadata_of(&file).map(|metadata| metadata.size) {
            // Somebody was faster.
            Ok(length) if expected.is_some_and(|expected| expected != length) => {
                Err(StorageErrorKind::Busy.into())
            }
            Ok(length) => Ok(length),
            Err(errno) => Err(system(errno)),
        };
        let length = length.inspect_err(|_| unlock(&file))?;
        let output = Output::new(file, length, policy.sync, charge.in_place());
        Ok(Self { output, restore: Some(length) })
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
        // Removed, or replaced by another upload: what was added here nobody will ever read.
        if root::metadata_of(&self.output).map_err(system)?.links == 0 {
            return Err(StorageErrorKind::NotFound.into());
        }
        self.output.charge().keep();
        self.restore = None;
        Ok(())
    }

    fn abort(self: Box<Self>, _end: StreamEnd) {}
}

impl Drop for Appending {
    fn drop(&mut self) {
        if let Some(length) = self.restore
            && let Ok(now) = root::metadata_of(&self.output)
        {
            // Never makes it longer, if somebody has cut it further meanwhile.
            let cut = match now.size > length {
                true => retry_on_intr(|| ftruncate(&self.output, length)),
                false => Ok(()),
            };
            if let Err(errno) = cut {
                // A disk that cannot even be given space back is beyond help from here: one that
                // is read-only, or btrfs above its quota.
                log::warn!("what was added to a file could not be cut off again: {errno}");
            }
            if now.links == 0 || cut.is_err() {
                // Whoever removed it saw a length that was not to last; or it does last.
                self.output.charge().lost();
            }
        }
        unlock(&self.output);
    }
}
