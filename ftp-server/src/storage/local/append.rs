//! An upload that appends to an existing file.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::Escaped;
use rustix::fs::{AtFlags, Mode, OFlags, ftruncate, openat, unlinkat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::directory::{Directory, existing, system};
use super::inherit::PRIVATE;
use super::name::Owner;
use super::output::Output;
use super::policy::LocalConfig;
use super::target::Target;
use super::turn::AppendTurn;
use super::usage::{self, COST_OF_OBJECT, Cost, UploadCharge};
use super::{name, record, root, sweep};
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
    /// The user, in the names of records.
    owner: Owner,
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
        owner: Owner,
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
            owner,
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
            let Self { directory, output, owner, .. } = self;
            sweep::give_way(directory.root(), *owner, || output.charge().grow(cost))?;
            if self.staged.add(bytes, &self.directory, &self.name) {
                return Ok(room);
            }
            self.output.charge().shrink(cost.bytes);
            // The next call of `ready` waits for the turn.
            return Err(io::ErrorKind::Interrupted.into());
        }
        while !self.land()? {}
        // Only the quota is tried again, not the write: a sync that failed once can succeed then, without
        // the bytes.
        let cost = Cost::bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let Self { directory, output, owner, .. } = self;
        sweep::give_way(directory.root(), *owner, || output.charge().grow(cost))?;
        output.charge().shrink(cost.bytes);
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
        let naming = usage::naming(self.directory.identity().map_err(system)?, false);
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
        drop((change, naming));
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

/// Maximum number of bytes in memory.
const STAGED_MEMORY: usize = 16 * 1024;

/// Maximum number of bytes before the append goes on in its file.
const MOST_STAGED: usize = 1024 * 1024;

/// Size of the buffer that empties the file without a name, in bytes.
const PIECE: usize = 64 * 1024;

/// The first bytes of an append, before they go to its file: in memory, or in a file without a name.
#[derive(Debug, Default)]
struct Staged {
    /// All bytes, while there is no file.
    memory: Vec<u8>,
    file: Option<OwnedFd>,
    length: usize,
    /// Whether the directory takes no file, or the file no more bytes.
    is_refused: bool,
}

impl Staged {
    /// Returns no bytes yet; in tests, there may be no room either.
    fn new() -> Self {
        let staged = Self::default();
        #[cfg(test)]
        let staged = Self { is_refused: IN_PLACE.get(), ..staged };
        staged
    }

    fn room(&self) -> usize {
        if self.is_refused { 0 } else { MOST_STAGED.saturating_sub(self.length) }
    }

    /// Adds all of `bytes`, or returns `false`. The append is for the file `name` in `directory`.
    fn add(&mut self, bytes: &[u8], directory: &Directory, name: &[u8]) -> bool {
        let added = match self.length.saturating_add(bytes.len()) {
            ..=STAGED_MEMORY => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
            _ => self.add_to_file(bytes, directory, name),
        };
        self.is_refused = added.is_err();
        if added.is_ok() {
            self.length = self.length.saturating_add(bytes.len());
        }
        added.is_ok()
    }

    fn add_to_file(
        &mut self,
        bytes: &[u8],
        directory: &Directory,
        name: &[u8],
    ) -> Result<(), Errno> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = nameless(directory, name)?;
                write_at(&file, &self.memory, 0)?;
                self.memory = Vec::new();
                self.file.insert(file)
            }
        };
        write_at(file, bytes, self.length)
    }

    /// Gives all bytes to `put`, in pieces.
    fn empty(self, mut put: impl FnMut(&[u8]) -> StorageResult<()>) -> StorageResult<()> {
        let Some(file) = &self.file else { return put(&self.memory) };
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < self.length {
            let most = (self.length - at).min(PIECE);
            let room = buffer.get_mut(..most).unwrap_or_default();
            let count = retry_on_intr(|| pread(file, &mut *room, to_u64(at))).map_err(system)?;
            if count == 0 {
                return Err(StorageErrorKind::Io.into());
            }
            put(room.get(..count).unwrap_or_default())?;
            at += count;
        }
        Ok(())
    }
}

/// Creates a file without a name in `directory`; `name` is the file that its bytes are for.
fn nameless(directory: &Directory, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let made = retry_on_intr(|| openat(directory, ".", flags | OFlags::TMPFILE, PRIVATE));
    made.or_else(|_| {
        // NFS and some FUSE file systems have only files with names.
        let hidden = name::temporary(name)?;
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = retry_on_intr(|| openat(directory, &*hidden, flags, PRIVATE))?;
        retry_on_intr(|| unlinkat(directory, &*hidden, AtFlags::empty()))?;
        Ok(file)
    })
}

fn write_at(file: &OwnedFd, mut bytes: &[u8], mut at: usize) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| pwrite(file, bytes, to_u64(at)))?;
        if count == 0 {
            return Err(Errno::IO);
        }
        bytes = bytes.get(count..).unwrap_or_default();
        at += count;
    }
    Ok(())
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
thread_local! {
    static IN_PLACE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Lets the append that `begin` begins write its first byte in place already.
#[cfg(test)]
pub(super) fn in_place<T>(begin: impl FnOnce() -> T) -> T {
    IN_PLACE.set(true);
    let begun = begin();
    IN_PLACE.set(false);
    begun
}

#[cfg(test)]
impl Appending {
    /// Pretends that the first byte came long ago.
    pub(super) fn seem_slow(&mut self) {
        self.since = self.since.map(|since| since.checked_sub(SHORT).unwrap());
    }
}
