//! An upload whose file gets its name when it is complete.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::Escaped;
use rustix::fs::{AtFlags, Mode, OFlags, Uid, fchown, fstat, openat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{Directory, as_kind, creation, existing, rename_new, system, unsynced};
use super::inherit::Heir;
use super::name::Owner;
use super::output::{CopyingPart, Output, SLOW};
use super::policy::{LocalConfig, PartialPolicy};
use super::record::{self, CutFile, LocalRecord};
use super::root::Root;
use super::target::Target;
use super::usage::{COST_OF_OBJECT, Cost, Leaving, UploadCharge, naming};
use super::{files, hidden, inherit, name, root, sweep, turn};
use crate::limits;
use crate::storage::{
    EntryKind, Metadata, StorageError, StorageErrorKind, StorageResult, StreamEnd, Unfinished,
    Upload, WriteMode,
};

/// Maximum number of random names to try.
const ATTEMPTS: u32 = 16;

/// A new file in the directory of its target, or a resumed partial upload. Dropping the value
/// removes the file, unless the upload was committed, or was interrupted and leaves a partial or
/// empty file.
#[derive(Debug)]
pub(super) struct Replacement {
    directory: Directory,
    name: Vec<u8>,
    output: Output,
    /// The part of the old content still to be copied.
    copying: Option<CopyingPart>,
    /// Number of bytes of the old file with which this one begins, if that was asked for.
    begins_with_old: Option<u64>,
    /// The hidden name of the locked file; `None` once the file has another name.
    hidden: Option<Vec<u8>>,
    /// The metadata of the file when it was created or opened.
    made: Metadata,
    /// Whether the file is locked, so that no other process takes it for an abandoned one.
    is_locked: bool,
    /// The owner that the complete file is to get.
    heir: Option<Heir>,
    /// The record if the upload does not end with success; `None` if it leaves nothing.
    record: Option<LocalRecord>,
    /// The file that had the final name when the upload began.
    old: Option<Metadata>,
    /// That file, if it must not be lost.
    held: Option<HeldFile>,
    /// The error to return if a file has the final name when the upload ends; `None` if that file
    /// may be replaced.
    refusal: Option<StorageErrorKind>,
    config: LocalConfig,
    /// The user, in the names of records.
    owner: Owner,
    /// Number of bytes of earlier uploads with which this one goes on; `None` if it began at byte 0.
    former: Option<u64>,
    /// The reason for the end, if the upload is not committed.
    end: StreamEnd,
}

impl Replacement {
    /// Creates the temporary file. With [`WriteMode::From`], [`prepare`](Upload::prepare) copies
    /// the beginning of the old file to the temporary file.
    pub(super) fn begin(
        target: &Target,
        mode: WriteMode,
        config: LocalConfig,
        user: Option<&[u8]>,
        charge: UploadCharge,
    ) -> StorageResult<Self> {
        let Target { directory, name, existing: old, .. } = target;
        if let Some(old) = old {
            config.for_files().check_writable(directory, name, old).map_err(existing)?;
        }
        let keep = if let WriteMode::From(keep) = mode { keep } else { 0 };
        let held = hold(directory, name, old.as_ref().filter(|_| keep > 0))?;
        let made = make(directory, name).map_err(|errno| creation(directory, errno))?;
        let mut new = Self::new(target.clone(), made, 0, config, user, charge);
        (new.held, new.refusal) = (held, refusal(mode));
        new.begins_with_old = matches!(mode, WriteMode::From(_)).then_some(keep);
        if keep > 0 {
            let old = new.open_old()?;
            new.copying = Some(CopyingPart::new(old, keep));
        }
        if matches!(mode, WriteMode::Create | WriteMode::Replace) {
            new.record = Some(LocalRecord::begin(target, config, user, false)?);
        }
        Ok(new)
    }

    /// Resumes `user`'s unfinished upload to `target` after the first `length` kept bytes.
    pub(super) fn resume(
        target: Target,
        length: u64,
        config: LocalConfig,
        user: Option<&[u8]>,
    ) -> StorageResult<Self> {
        let nothing = || StorageError::from(StorageErrorKind::BadRestart);
        let hidden = match record::find_at(&target, config, user)? {
            Some((Unfinished { is_running: true, .. }, _)) => {
                return Err(StorageErrorKind::Busy.into());
            }
            Some((found, Some(facts))) if found.kept > 0 => facts.bytes,
            _ => return Err(nothing()),
        };
        let usage = Arc::clone(target.directory.root().usage());
        let old = target.existing.as_ref();
        let held = hold(&target.directory, &target.name, old)?;
        // It can begin even if no quota is left, because the kept bytes are counted already.
        if let Some(limit) = config.limit() {
            files::used(target.directory.root(), limit, Cost::BYTE)?;
        }
        let mut charge = usage.charge(config.limit(), old).in_place();
        let open = || hidden::open_locked(target.directory.as_fd(), &hidden);
        let (file, metadata) = match hidden::patiently(open) {
            Ok(opened) => opened,
            Err(Errno::WOULDBLOCK) => return Err(system(Errno::WOULDBLOCK)),
            // The file has been removed, or is on a file system without locks, where nothing is
            // kept.
            Err(_) => return Err(nothing()),
        };
        // From now on, not all bytes are on disk, and the record must say so first.
        let record = match length > metadata.size {
            true => Err(nothing()),
            false => LocalRecord::begin(&target, config, user, true),
        };
        let record = record.inspect_err(|_| turn::unlock(&file))?;
        let change = usage.change();
        charge.take_over(metadata.size);
        drop(change);
        let kept = metadata.size;
        let made = Made { file, is_locked: true, metadata, hidden };
        let mut new = Self::new(target, made, kept, config, user, charge);
        (new.held, new.record, new.former) = (held, Some(record), Some(length));
        // If the name had no file when the upload began, a file that has taken the name since must not
        // be lost.
        new.refusal = new.old.is_none().then_some(StorageErrorKind::Exists);
        // If this fails, the upload is cut here, and leaves all its bytes again.
        if let Some(record) = &mut new.record {
            record.wait(&new.directory).map_err(system)?;
        }
        new.output.cut_to(length).map_err(system)?;
        Ok(new)
    }

    /// Returns an upload that writes to `made` from `position` on.
    fn new(
        target: Target,
        made: Made,
        position: u64,
        config: LocalConfig,
        user: Option<&[u8]>,
        charge: UploadCharge,
    ) -> Self {
        let Target { directory, name, existing: old, .. } = target;
        let Made { file, is_locked, metadata: made, hidden } = made;
        Self {
            directory,
            name,
            output: Output::new(file, position, config.sync, charge),
            copying: None,
            begins_with_old: None,
            hidden: Some(hidden),
            made,
            is_locked,
            heir: None,
            record: None,
            old,
            held: None,
            refusal: None,
            config,
            owner: name::owner_of(user),
            former: None,
            end: StreamEnd::Cut,
        }
    }

    /// Returns the metadata of the file that has the name now, without a running append.
    fn target_now(&self) -> Result<Option<Metadata>, Errno> {
        match self.directory.metadata(&self.name) {
            Ok(found) => Ok(Some(turn::settled(found))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn open_old(&self) -> StorageResult<OwnedFd> {
        let flags =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let old = retry_on_intr(|| openat(&self.directory, &*self.name, flags, Mode::empty()));
        let old = old.map_err(existing)?;
        self.config.check_readable(&root::metadata_of(&old).map_err(system)?)?;
        Ok(old)
    }

    fn finish_copying(&mut self) -> StorageResult<()> {
        while !self.prepare()? {}
        Ok(())
    }

    /// Returns the error for an upload that resumes older bytes, if another file has taken the
    /// place of the one that was there when the upload began: that file must not be lost.
    fn loss(&self) -> Result<Option<StorageErrorKind>, Errno> {
        let is_resumed = self.former.is_some() && self.old.is_some();
        if !is_resumed && self.begins_with_old.is_none() {
            return Ok(None);
        }
        let now = self.target_now()?;
        let has_changed = match self.held.as_ref().map(HeldFile::difference).transpose()? {
            None | Some((Difference::Nothing, _)) => false,
            // Kept bytes are whole without the old file.
            Some((Difference::LastChange, _)) => self.begins_with_old.is_some(),
            Some((Difference::Content, _)) => true,
        };
        let is_other = has_changed || !record::is_same(self.old.as_ref(), now.as_ref());
        Ok(match self.begins_with_old {
            Some(_) => is_other.then_some(StorageErrorKind::Busy),
            // Bytes of an unfinished upload are whole without the old file too.
            None => (is_other && now.is_some()).then_some(StorageErrorKind::Exists),
        })
    }

    /// If the old file has only another time of its last change, such as after a new link to it, compares
    /// the bytes with which the upload begins: its time may have been set back. That can take long, and
    /// comes before the guards.
    fn compare_touched(&mut self) -> Result<(), Errno> {
        let (Some(held), Some(length)) = (&self.held, self.begins_with_old) else { return Ok(()) };
        let (difference, now) = held.difference()?;
        if matches!(difference, Difference::LastChange)
            && self.begins_file(length)
            && let Some(held) = &mut self.held
        {
            held.then = now;
        }
        Ok(())
    }

    /// Gives the file its name in one step. The only descriptor for writing is still open: programs
    /// that watch the directory see the new name, and then the end of writing under that name.
    fn publish(&mut self) -> Result<(), Errno> {
        let root = Arc::clone(self.directory.root());
        self.compare_touched()?;
        let alone = self.begins_with_old.is_some() || self.former.is_some();
        let _naming = naming(self.directory.identity()?, alone);
        let change = root.usage().change();
        if let Some(refusal) = self.loss()? {
            self.refusal = Some(refusal);
            return Err(Errno::EXIST);
        }
        let replaced = change.cost_of(|| self.directory.metadata(&self.name).ok());
        self.output.charge().take_place(replaced).map_err(|_over_quota| Errno::DQUOT)?;
        self.give_name()?;
        self.output.charge().keep_as_file(replaced);
        Ok(())
    }

    /// Brings all bytes to disk, and checks that the file has no others.
    fn settle(&mut self) -> Result<(), Errno> {
        let is_whole = self.output.settle()? == self.output.position();
        if is_whole { Ok(()) } else { Err(Errno::IO) }
    }

    /// Gives the complete file what it is to have, except its owner: by the settings, and from the
    /// file `old` that it replaces.
    fn furnish(&mut self, old: Option<Metadata>) -> Result<(), Errno> {
        let Self { config, output, made, directory, name, .. } = self;
        let given = config.for_files();
        self.heir = match old {
            Some(old) => inherit::take_over(given, output, made, directory, name, &old)?,
            None => {
                let mode = given.mode_of_complete(directory);
                given.furnish(output, made, mode, (directory, name))?
            }
        };
        Ok(())
    }

    /// Gives the file to its owner, and renames it.
    fn name_with(&self, rename: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        if let Some(heir) = self.heir {
            inherit::give_to(heir, &self.output, &self.directory, &self.name)?;
        }
        let named = rename();
        if named.is_err()
            && self.heir.is_some()
            && let Some((user, _)) = self.made.ids
        {
            // Only a file of the server can be kept. If this fails, its record remains useless.
            let _ = retry_on_intr(|| fchown(&self.output, Some(Uid::from_raw(user)), None));
        }
        named
    }

    fn give_name(&mut self) -> Result<(), Errno> {
        self.directory.check_beneath()?;
        #[cfg(test)]
        super::output::Phase::Name.comes_next();
        // Last: until the rename, others can open the file under its hidden name. The mode cannot come
        // after the name: readers would be refused meanwhile, and for ever after a crash.
        self.furnish(self.old)?;
        let hidden = self.hidden.clone().ok_or(Errno::NOENT)?;
        if self.directory.metadata(&hidden)?.identity != self.made.identity {
            // A program, such as one of `hooks.check`, has renamed its own file over the hidden name.
            // That file is nobody's upload, so it is not kept either.
            self.is_locked = false;
            return Err(Errno::IO);
        }
        let mut given = Err(Errno::EXIST);
        if self.old.is_none() {
            given = self.name_with(|| {
                rename_new((&self.directory, &*hidden), (&self.directory, &*self.name))
            });
        }
        if given == Err(Errno::EXIST) && self.refusal.is_none() {
            if self.old.is_none() {
                // Another upload or program has taken the name since this upload began.
                let found = self.directory.metadata(&self.name)?;
                if found.kind == EntryKind::File {
                    self.furnish(Some(found))?;
                }
            }
            given = self.name_with(|| {
                retry_on_intr(|| renameat(&self.directory, &*hidden, &self.directory, &*self.name))
            });
        }
        given?;
        self.hidden = None;
        turn::unlock(&self.output);
        Ok(())
    }

    /// Returns whether the file that has the name now begins with the first `length` bytes of this one.
    fn begins_file(&self, length: u64) -> bool {
        const COMPARED: usize = 64 * 1024;
        let open = |name: &[u8]| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            retry_on_intr(|| openat(&self.directory, name, flags, Mode::empty())).map(File::from)
        };
        let Some(Ok(own)) = self.hidden.as_ref().map(|hidden| open(hidden)) else { return false };
        let Ok(stored) = open(&self.name) else { return false };
        let mut at = 0;
        while at < length {
            let count = usize::try_from(length - at).map_or(COMPARED, |left| left.min(COMPARED));
            let part = |file: &File| {
                let mut bytes = vec![0; count];
                file.read_exact_at(&mut bytes, at).map(|()| bytes)
            };
            let (Ok(one), Ok(other)) = (part(&own), part(&stored)) else { return false };
            if one != other {
                return false;
            }
            at += count as u64;
        }
        true
    }

    /// Leaves the record of an upload that did not end with success, with the bytes that can be
    /// resumed. Returns whether there are any; otherwise the caller removes the file. If this fails,
    /// the record of an upload over an existing file stays as that of a killed server.
    fn leave_record(&mut self) -> Result<bool, Errno> {
        let Some(record) = &self.record else { return Ok(false) };
        let mut now = self.target_now()?;
        if now.is_some() && record.must_forbid(&self.directory) {
            let root = Arc::clone(self.directory.root());
            let put = |part, _: &mut Output| root.usage().shelf().put(part);
            let nothing = (0, self.config.partial_age);
            let name = self.hidden.as_deref().unwrap_or_default();
            let own = &mut CutFile { name, identity: self.made.identity, output: &mut self.output };
            if let Some(left) = record.leave(&self.directory, now.as_ref(), own, nothing, put)? {
                // If the file begins with what was received, it is what a later attempt of the same client
                // has stored. To compare large files takes long, so the record comes first.
                if self.begins_file(self.output.position()) {
                    record.retract(&self.directory, &left);
                }
            }
            return Ok(false);
        }
        if record.leaves_nothing(self.end, now.as_ref()) {
            record.withdraw(&self.directory);
            return Ok(false);
        }
        let is_unchanged = record.is_unchanged(now.as_ref());
        let when_cut = record.when_cut;
        if when_cut == PartialPolicy::Publish
            && is_unchanged
            && self.end == StreamEnd::Cut
            && self.output.position() > 0
        {
            self.refusal = Some(StorageErrorKind::Exists);
            match self.settle().and_then(|()| self.publish()) {
                Ok(()) => return Ok(true),
                Err(errno) => self.log_lost(errno),
            }
            now = self.target_now()?;
        }
        let most = match (when_cut, self.end) {
            _ if !self.is_locked || !is_unchanged => 0,
            (PartialPolicy::Resume, StreamEnd::Cut) => u64::MAX,
            (PartialPolicy::Resume, _) => self.former.unwrap_or(0),
            _ => 0,
        };
        let root = Arc::clone(self.directory.root());
        // Where there is no file, there is nothing to mix with.
        if now.is_none() && root.usage().shelf().records_of(self.owner, false) >= limits::RECORDS {
            return Ok(false);
        }
        let stored = self.settle_kept(&root, most).inspect_err(|errno| self.log_lost(*errno));
        let Self { directory, output, record, hidden, made, config, .. } = self;
        let (Some(record), Some(name)) = (record, hidden.clone()) else { return Ok(false) };
        let own = &mut CutFile { name: &name, identity: made.identity, output };
        let left = (stored.unwrap_or(0), config.partial_age);
        record.leave(directory, now.as_ref(), own, left, |part, output| {
            let _change = root.usage().change();
            if part.size > 0 {
                output.charge().keep();
                *hidden = None;
            }
            root.usage().shelf().put(part);
            turn::unlock(output);
        })?;
        Ok(self.hidden.is_none())
    }

    /// Brings to disk what is kept of the received bytes, at most `most`, and returns their number. If
    /// this fails, they cannot be resumed, but the record must say so.
    fn settle_kept(&mut self, root: &Arc<Root>, most: u64) -> Result<u64, Errno> {
        // If the upload exceeds the limit for partial uploads, its beginning is still useful.
        self.output.cut_to(most.min(self.config.most_kept()))?;
        // An upload that replaces a file has not counted besides that file until now.
        if self.output.position() > 0
            && (self.output.charge().take_place(Leaving::default()).is_err()
                || !sweep::make_way(root, self.owner, self.output.position(), self.config))
        {
            self.output.cut_to(0)?;
        }
        // The client will send only the bytes after the length that `SIZE` reports, so the bytes
        // before it must be on disk.
        self.settle()?;
        // An upload that could not get its name has its final mode.
        inherit::set_mode(&self.output, &mut self.made, inherit::PRIVATE)?;
        Ok(self.output.position())
    }

    fn log_lost(&self, errno: Errno) {
        log::warn!("{}: cannot keep the partial upload: {errno}", Escaped(&self.name));
    }
}

impl io::Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.finish_copying()?;
        let Self { directory, output, owner, .. } = self;
        let root = Arc::clone(directory.root());
        Ok(sweep::give_way(&root, *owner, || output.write(bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish_copying()?;
        Ok(self.output.sync()?)
    }
}

impl Upload for Replacement {
    fn prepare(&mut self) -> StorageResult<bool> {
        let Some(copying) = &mut self.copying else { return Ok(true) };
        if copying.step(&mut self.output)? {
            self.copying = None;
        }
        Ok(self.copying.is_none())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        self.output.ready().map_err(system)
    }

    /// Brings all bytes to disk, which some disks do only at the close of a file. After a wait, the
    /// session must look at its client first: a client that has gone may have stored a newer file.
    fn prepare_commit(&mut self) -> StorageResult<bool> {
        let start = Instant::now();
        self.finish_copying()?;
        self.settle().map_err(system)?;
        if let Some(record) = &mut self.record {
            // The file is complete, and its record is about to go: that it could not be synced harms
            // nobody any more.
            let _ = record.wait(&self.directory);
        }
        Ok(start.elapsed() < SLOW)
    }

    fn hidden_file(&self) -> Option<(u64, u64)> {
        self.hidden.as_ref().map(|_| (self.made.identity.1, self.output.position()))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.hidden.as_ref().map(|_| self.output.as_fd())
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        self.end = StreamEnd::Failed;
        while !self.prepare_commit()? {}
        if self.output.position() == 0 {
            let Self { directory, output, owner, .. } = &mut *self;
            let charge = || output.charge().grow(Cost::bytes(COST_OF_OBJECT));
            sweep::give_way(directory.root(), *owner, charge)?;
        }
        let published = self.publish();
        published.map_err(|errno| match (errno, self.refusal) {
            (Errno::EXIST, Some(kind)) => as_kind(kind, errno),
            (Errno::NOENT, _) => system(errno),
            _ => creation(&self.directory, errno),
        })?;
        #[cfg(test)]
        super::output::Phase::Published.comes_next();
        // One sync is for the name and the end of the record. A record that outlasted it would refuse a
        // complete file after a power cut, and disks with a journal keep the order.
        match self.record.take() {
            Some(record) => record.stored(&self.directory),
            None => record::extended(&self.directory, &self.name),
        }
        let directory = self.directory.clone();
        let policy = self.output.policy();
        // Closes the file. Programs that watch the directory need not wait for the disk.
        drop(self);
        directory.sync(policy).map_err(unsynced)
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        self.end = end;
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        match self.leave_record() {
            Ok(true) => return,
            Ok(false) => {}
            Err(errno) => self.log_lost(errno),
        }
        if let Some(hidden) = &self.hidden {
            // The hidden name is unique. If the removal fails, the file stays hidden.
            let _ = retry_on_intr(|| unlinkat(&self.directory, &**hidden, AtFlags::empty()));
            turn::unlock(&self.output);
        }
    }
}

/// The file that had the final name when an upload began. While it is open, no other file has its inode
/// number.
#[derive(Debug)]
struct HeldFile {
    file: OwnedFd,
    then: FileStamps,
}

/// The size, and in nanoseconds the times of the last change of the content and of any kind. No program can
/// set the last one.
#[derive(Debug)]
struct FileStamps {
    size: i128,
    modified: i128,
    changed: i128,
}

impl HeldFile {
    fn stamps(file: &OwnedFd) -> Result<FileStamps, Errno> {
        let found = fstat(file)?;
        let nanos = |seconds, nanos| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let modified = nanos(found.st_mtime, found.st_mtime_nsec);
        let changed = nanos(found.st_ctime, found.st_ctime_nsec);
        Ok(FileStamps { size: found.st_size.into(), modified, changed })
    }

    /// Returns what has changed, and the stamps of now.
    fn difference(&self) -> Result<(Difference, FileStamps), Errno> {
        let (now, then) = (Self::stamps(&self.file)?, &self.then);
        let difference = match () {
            () if (now.size, now.modified) != (then.size, then.modified) => Difference::Content,
            () if now.changed != then.changed => Difference::LastChange,
            () => Difference::Nothing,
        };
        Ok((difference, now))
    }
}

/// What has changed of a file, as its metadata shows.
enum Difference {
    Nothing,
    /// Only the time of the last change of any kind.
    LastChange,
    Content,
}

/// Opens the file `old` under its name, whatever the server may do with it.
fn hold(
    directory: &Directory,
    name: &[u8],
    old: Option<&Metadata>,
) -> StorageResult<Option<HeldFile>> {
    let Some(old) = old else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = retry_on_intr(|| openat(directory, name, flags, Mode::empty())).map_err(system)?;
    let then = HeldFile::stamps(&file).map_err(system)?;
    match root::metadata_of(&file).map_err(system)?.identity == old.identity {
        true => Ok(Some(HeldFile { file, then })),
        false => Err(StorageErrorKind::Busy.into()),
    }
}

/// Returns the error if a file took the name during the upload; `None` if that file may be
/// replaced.
const fn refusal(mode: WriteMode) -> Option<StorageErrorKind> {
    match mode {
        WriteMode::Create => Some(StorageErrorKind::Exists),
        // There was no file to append to when the upload began. A file that has taken the name
        // since must not be lost.
        WriteMode::Append => Some(StorageErrorKind::Busy),
        WriteMode::Replace | WriteMode::From(_) | WriteMode::Resume(_) => None,
    }
}

/// A new file with a hidden name.
pub(super) struct Made {
    file: OwnedFd,
    is_locked: bool,
    metadata: Metadata,
    hidden: Vec<u8>,
}

/// Creates and locks an empty private file with a hidden name, for the target `name`.
fn make(directory: &Directory, name: &[u8]) -> Result<Made, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    for _ in 0..ATTEMPTS {
        let hidden = name::temporary(name)?;
        let made = retry_on_intr(|| openat(directory, &*hidden, flags, inherit::PRIVATE))
            .and_then(|file| claim(directory, hidden, file));
        match made {
            Err(Errno::EXIST) => {}
            made => return made,
        }
    }
    Err(Errno::EXIST)
}

/// Locks a hidden file that was just created. Returns EEXIST if the name does not belong to the file
/// any more: another process or session found the file before it was locked, and has removed it. Then
/// another name is needed.
pub(super) fn claim(directory: &Directory, hidden: Vec<u8>, file: OwnedFd) -> Result<Made, Errno> {
    let locked = turn::lock(&file);
    if locked == Err(Errno::WOULDBLOCK) {
        // Another process looks at the file, or is removing it. If it stays, the sweeper removes it.
        return Err(Errno::EXIST);
    }
    let metadata = root::metadata_of(&file)?;
    match directory.metadata(&hidden) {
        Ok(found) if found.identity == metadata.identity => {
            Ok(Made { file, is_locked: locked.is_ok(), metadata, hidden })
        }
        Ok(_) | Err(Errno::NOENT) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}
