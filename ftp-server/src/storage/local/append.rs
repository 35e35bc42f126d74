//! An upload that appends to an existing file.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::Escaped;
use rustix::fs::{Mode, OFlags, ftruncate, openat};
use rustix::io::{Errno, pread, retry_on_intr};

use super::directory::{Directory, existing, system};
use super::output::Output;
use super::policy::LocalConfig;
use super::staged::Staged;
use super::target::Target;
use super::turn::AppendTurn;
use super::usage::{COST_OF_OBJECT, Cost, UploadCharge};
use super::{record, root};
use crate::limits::TICK;
use crate::storage::{StorageError, StorageErrorKind, StorageResult, StreamEnd, Upload};

/// How long an append that has not ended stays out of its file.
const SHORT: Duration = Duration::from_secs(5);

/// Maximum time that an append waits for its turn.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });

/// Number of own bytes at the end of the file that a rollback compares.
const TAIL: usize = 4 * 1024;

/// An append. A short one leaves its file alone until it has ended, and is then written in one go.
/// A long one goes on in the file, which returns to its old length unless the upload is committed.
#[derive(Debug)]
pub(super) struct Appending {
    /// The directory in which the file was found.
    directory: Directory,
    name: Vec<u8>,
    output: Output,
    /// Device and inode.
    identity: (u64, u64),
    /// The length that the file must have, if given.
    expected: Option<u64>,
    /// The first bytes, until they are in the file.
    staged: Staged,
    /// When the first byte came.
    since: Option<Instant>,
    /// When the wait for the turn began.
    waits_since: Option<Instant>,
    /// Whether all bytes were received.
    is_whole: bool,
    place: Option<InPlace>,
    /// Whether the file has its final length.
    is_done: bool,
}

/// The file of an append that has its turn.
#[derive(Debug)]
struct InPlace {
    turn: AppendTurn,
    /// The old length.
    length: u64,
    /// The last own bytes.
    tail: Vec<u8>,
}

impl Appending {
    /// Opens the file at `target`; its length must be `expected`, if given.
    pub(super) fn begin(
        target: Target,
        expected: Option<u64>,
        config: LocalConfig,
        charge: UploadCharge,
    ) -> StorageResult<Self> {
        let flags =
            OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Target { directory, name, .. } = target;
        let open =
            |access| retry_on_intr(|| openat(&directory, &*name, access | flags, Mode::empty()));
        let file = match open(OFlags::RDWR) {
            // A file that cannot be read is never rolled back.
            Err(Errno::ACCESS) => open(OFlags::WRONLY),
            opened => opened,
        };
        let file = file.map_err(existing)?;
        let opened = root::metadata_of(&file).map_err(system)?;
        config.check_readable(&opened)?;
        // Another session has appended to the file in the meantime.
        if expected.is_some_and(|length| opened.size != length) {
            return Err(StorageErrorKind::Busy.into());
        }
        Ok(Self {
            directory,
            name,
            output: Output::new(file, opened.size, config.sync, charge.in_place()),
            identity: opened.identity,
            expected,
            staged: Staged::new(),
            since: None,
            waits_since: None,
            is_whole: false,
            place: None,
            is_done: false,
        })
    }

    /// Returns whether the file still has the name under which it was found.
    fn has_its_name(&self) -> bool {
        let found = self.directory.metadata(&self.name);
        found.is_ok_and(|found| found.identity == self.identity)
    }

    /// Takes the turn and writes the bytes received so far to the file. Returns `false` if another
    /// upload still appends to it.
    fn land(&mut self) -> StorageResult<bool> {
        if self.place.is_some() {
            return Ok(true);
        }
        let Some(turn) = AppendTurn::take(self.identity, &self.output, TICK) else {
            let since = *self.waits_since.get_or_insert_with(Instant::now);
            return match since.elapsed() < PATIENCE {
                true => Ok(false),
                false => Err(StorageErrorKind::Busy.into()),
            };
        };
        if !self.has_its_name() {
            return Err(StorageErrorKind::NotFound.into());
        }
        let length = root::metadata_of(&self.output).map_err(system)?.size;
        if self.expected.is_some_and(|expected| expected != length) {
            return Err(StorageErrorKind::Busy.into());
        }
        turn.begin(length);
        self.output.begin_at(length);
        self.place = Some(InPlace { turn, length, tail: Vec::new() });
        std::mem::take(&mut self.staged).empty(|mut bytes| {
            while !bytes.is_empty() {
                let count = self.add(bytes, Output::write_charged)?;
                if count == 0 {
                    return Err(system(Errno::IO));
                }
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Ok(())
        })?;
        Ok(true)
    }

    fn add(
        &mut self,
        bytes: &[u8],
        write: fn(&mut Output, &[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(place) = self.place.as_mut().filter(|place| place.turn.keep()) else {
            let source = io::Error::other(LOST);
            return Err(StorageError::caused_by(StorageErrorKind::Busy, source).into());
        };
        let written = write(&mut self.output, bytes);
        let count = written.as_ref().map_or(0, |count| *count);
        let new = bytes.get(count.saturating_sub(TAIL)..count).unwrap_or_default();
        place.tail.extend_from_slice(new);
        place.tail.drain(..place.tail.len().saturating_sub(TAIL));
        place.turn.added(count);
        written
    }
}

/// Why an append cannot go on, and is not rolled back.
const LOST: &str = "another append has taken the turn of this one, which sent nothing for long";

impl io::Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.staged.room().min(bytes.len());
        if self.place.is_none() && room > 0 {
            let bytes = bytes.get(..room).unwrap_or_default();
            let cost = Cost::bytes(u64::try_from(room).unwrap_or(u64::MAX));
            self.output.charge().grow(cost)?;
            if self.staged.add(bytes, &self.directory, &self.name) {
                return Ok(room);
            }
            self.output.charge().shrink(cost.bytes);
            // The next call of `ready` waits for the turn.
            return Err(io::ErrorKind::Interrupted.into());
        }
        while !self.land()? {}
        self.add(bytes, |output, bytes| Ok(output.write(bytes)?))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_whole = true;
        match &self.place {
            Some(place) => {
                place.turn.keep();
                Ok(self.output.sync()?)
            }
            None => Ok(()),
        }
    }
}

impl Upload for Appending {
    fn ready(&mut self) -> StorageResult<bool> {
        let since = *self.since.get_or_insert_with(Instant::now);
        match self.is_whole || self.staged.room() > 0 && since.elapsed() < SHORT {
            true => Ok(true),
            false => Ok(self.land()? && self.output.ready().map_err(system)?),
        }
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        self.land()
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        while !self.land()? {}
        let length = self.place.as_ref().map_or(0, |place| {
            // If the turn is lost, all bytes are in the file all the same.
            place.turn.keep();
            place.length
        });
        self.output.settle().map_err(system)?;
        self.directory.sync(self.output.policy()).map_err(system)?;
        let root = Arc::clone(self.directory.root());
        let change = root.usage().change();
        // If the file was removed, renamed or replaced, a client that downloads this name would not
        // get the appended data.
        if !self.has_its_name() {
            return Err(StorageErrorKind::NotFound.into());
        }
        if length == 0 && self.output.position() > 0 {
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
            self.cut_back();
        }
    }
}

impl Appending {
    /// Restores the old length. If the usage is counted for a quota, no other command can remove or
    /// replace the file during this call, so the file's size is counted correctly.
    fn cut_back(&mut self) {
        let Some(place) = &self.place else { return };
        let root = Arc::clone(self.directory.root());
        let _change = root.usage().change();
        let undone = place.undo(&self.output);
        if let Err(why) = &undone {
            let name = Escaped(&self.name);
            log::warn!("{name}: the bytes of an interrupted append stay: {why}");
        }
        if undone.is_err() || !self.has_its_name() {
            // The usage is uncertain: a command that removed the file may have subtracted a
            // temporary length, or the old length could not be restored. Network file systems and
            // FUSE keep a removed file under a hidden name, so the file's link count would not show
            // the removal.
            self.output.charge().lost();
        }
    }
}

impl InPlace {
    /// Removes the own bytes if they are the last ones of the file. A program that appends between
    /// the comparison and the truncation loses its bytes.
    fn undo(&self, output: &Output) -> io::Result<()> {
        let end = output.position();
        if end == self.length {
            return Ok(());
        }
        if !self.turn.keep() {
            return Err(io::Error::other(LOST));
        }
        let mut last = vec![0; self.tail.len()];
        let at = end.saturating_sub(u64::try_from(last.len()).unwrap_or(u64::MAX));
        let count = retry_on_intr(|| pread(output, &mut *last, at))?;
        let is_own = count == last.len() && last == self.tail;
        if !is_own || root::metadata_of(output)?.size != end {
            return Err(io::Error::other("another program has changed the file"));
        }
        // Some file systems, such as a read-only one or btrfs above its quota, cannot release space.
        Ok(retry_on_intr(|| ftruncate(output, self.length))?)
    }
}

#[cfg(test)]
impl Appending {
    /// Pretends that the first byte came long ago.
    pub(super) fn seem_slow(&mut self) {
        self.since = self.since.map(|since| since.checked_sub(SHORT).unwrap());
    }
}
