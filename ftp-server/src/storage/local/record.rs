//! The record of an unfinished upload: a short hidden file in the directory of its target.
//!
//! Its name depends on the user and the name of the target only, so it is found whatever happens to
//! the old file. It forbids to resume at the length of that file. An upload over an existing file
//! has its record before its 150: an empty file, which is locked while the upload runs, and which a
//! killed server leaves. An upload that is cut writes a record of what it leaves. The received bytes
//! are another file, which only this record names. They count for a while, and as long as the old
//! file is the one that the upload was going to replace. A record that cannot be read, or that
//! another program can have written, has no bytes, but forbids all the same.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use ftp_proto::Escaped;

use rustix::fs::{AtFlags, OFlags, fdatasync, ftruncate, openat, renameat, statat, unlinkat};
use rustix::io::{Errno, pwrite, retry_on_intr};

use super::directory::{Directory, creation, system};
use super::facts::{Facts, RecordFile, facts_of, read};
use super::files::LocalSource;
use super::kept_uploads::KeptPart;
use super::output::Output;
use super::policy::{LocalConfig, PartialPolicy, SyncPolicy};
use super::root::{self, Root};
use super::target::Target;
use super::usage::Usage;
use super::{hidden, inherit, name, turn};
use crate::deadline::unix_now;
use crate::lock::LockStripes;
use crate::net::random;
use crate::storage::unfinished::{Overtaken, RunningUploads};
use crate::storage::{
    Metadata, Source, StorageErrorKind, StorageResult, StreamEnd, Unfinished, VirtualPath,
    WriteMode,
};
use crate::{limits, threads};

/// The running uploads of this process, under all roots.
static RUNNING: RunningUploads<NamedPlace> = RunningUploads::new();

/// Device and inode of a directory that is open, and a name in it.
type NamedPlace = ((u64, u64), Vec<u8>);

fn place(directory: &Directory, name: &[u8]) -> Result<NamedPlace, Errno> {
    Ok((directory.identity()?, name.to_vec()))
}

/// Creates and locks the empty record of a running upload. It is not open for writing: programs that
/// watch the directory would take the end of that for a finished file. Without locks, it is a record
/// all the same.
fn create(directory: &Directory, record: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |to| retry_on_intr(|| openat(directory, record, flags | to, inherit::PRIVATE));
    let file = open(OFlags::RDONLY).or_else(|error| match error {
        Errno::EXIST | Errno::NOSPC | Errno::DQUOT | Errno::ACCESS | Errno::ROFS => Err(error),
        // Some FUSE disks, such as a mount of rclone, create a file only for a writer. A watcher sees
        // the end of an empty hidden file there.
        _ => open(OFlags::WRONLY).map_err(|_| error),
    })?;
    let _ = hidden::patiently(|| turn::lock(&file));
    Ok(file)
}

/// Puts a new file in the place of a record in one step, so that there is one at any moment. `make`
/// makes the file under the name that it gets.
fn replace(
    directory: &Directory,
    record: &[u8],
    make: impl FnOnce(&[u8]) -> Result<OwnedFd, Errno>,
) -> Result<OwnedFd, Errno> {
    let hidden = name::temporary(b"")?;
    let made = make(&hidden).and_then(|file| {
        directory.check_beneath()?;
        retry_on_intr(|| renameat(directory, &*hidden, directory, record))?;
        Ok(file)
    });
    if made.is_err() {
        // If this fails, the sweeper removes it.
        let _ = retry_on_intr(|| unlinkat(directory, &*hidden, AtFlags::empty()));
    }
    made
}

/// The hidden file of an upload.
pub(super) struct CutFile<'a> {
    pub(super) name: &'a [u8],
    pub(super) identity: (u64, u64),
    pub(super) output: &'a mut Output,
}

impl CutFile<'_> {
    /// Makes this file the record, without its bytes. That needs no inode and no descriptor.
    fn become_record(
        &self,
        directory: &Directory,
        record: &[u8],
        facts: &Facts,
        policy: SyncPolicy,
    ) -> Result<(), Errno> {
        let mut found = directory.metadata(self.name)?;
        if found.identity != self.identity || found.links > 1 {
            // Another program has put its own file there, or has linked this one.
            return Err(Errno::IO);
        }
        inherit::set_mode(&*self.output, &mut found, inherit::PRIVATE)?;
        retry_on_intr(|| ftruncate(&*self.output, 0))?;
        let text = facts.encode();
        let (mut left, mut at) = (text.as_bytes(), 0);
        while !left.is_empty() {
            let written = retry_on_intr(|| pwrite(&*self.output, left, at))?;
            left = left.get(written..).filter(|_| written > 0).ok_or(Errno::IO)?;
            at += written as u64;
        }
        directory.check_beneath()?;
        retry_on_intr(|| renameat(directory, self.name, directory, record))?;
        if policy != SyncPolicy::None {
            // Nobody waits for the sync of what a cut upload leaves.
            let _ = sync(&*self.output, directory);
        }
        Ok(())
    }
}

fn write(directory: &Directory, record: &[u8], facts: &Facts) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = replace(directory, record, |hidden| {
        let file = retry_on_intr(|| openat(directory, hidden, flags, inherit::PRIVATE))?;
        // As long as it has this name, the lock keeps the sweepers away.
        let _ = turn::lock(&file);
        let mut file = File::from(file);
        let written = file.write_all(facts.encode().as_bytes());
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(file.into())
    })?;
    turn::unlock(&written);
    Ok(written)
}

#[derive(Debug)]
enum RecordSync {
    Done,
    /// A thread of its own does it.
    Begun(Receiver<Result<(), Errno>>),
    /// The session must do it.
    Due(Arc<OwnedFd>),
}

/// Orders what happens to the names of records: between a look at one and its removal, no upload may
/// put another one there. A disk that does not answer holds up only a part of the places.
static ORDER: LockStripes = LockStripes::new();

fn in_order(above: (u64, u64), record: &[u8]) -> MutexGuard<'static, ()> {
    ORDER.lock((above, record))
}

/// Number of syncs of records in progress, each of which has a thread.
static SYNCS: AtomicUsize = AtomicUsize::new(0);

impl RecordSync {
    /// Begins the sync. To wait for it before the 150 would more than double the time of a small
    /// upload.
    fn begin(file: &Arc<OwnedFd>, directory: &Directory, policy: SyncPolicy) -> Self {
        if policy == SyncPolicy::None {
            return Self::Done;
        }
        let (done, syncing) = mpsc::channel();
        let job = {
            let (file, directory) = (Arc::clone(file), directory.clone());
            move || {
                // Nobody may wait for it.
                let _ = done.send(sync(&file, &directory));
                SYNCS.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let is_free = SYNCS.fetch_add(1, Ordering::SeqCst) < limits::RECORD_SYNCS;
        if is_free && threads::start(Some("record"), limits::SESSION_STACK, job).is_ok() {
            return Self::Begun(syncing);
        }
        SYNCS.fetch_sub(1, Ordering::SeqCst);
        Self::Due(Arc::clone(file))
    }

    fn wait(&mut self, directory: &Directory) -> Result<(), Errno> {
        match std::mem::replace(self, Self::Done) {
            Self::Done => Ok(()),
            Self::Begun(syncing) => syncing.recv().unwrap_or(Err(Errno::IO)),
            Self::Due(file) => sync(&file, directory),
        }
    }
}

fn sync(record: impl AsFd, directory: &Directory) -> Result<(), Errno> {
    retry_on_intr(|| fdatasync(&record))?;
    directory.sync(SyncPolicy::FileAndDirectory)
}

/// The record that a running upload has, or leaves if it does not end with success.
#[derive(Debug)]
pub(super) struct LocalRecord {
    /// The hidden name of the record.
    record: Vec<u8>,
    user: Vec<u8>,
    pub(super) when_cut: PartialPolicy,
    /// The file that the upload is to replace.
    old: Option<Metadata>,
    place: NamedPlace,
    overtaken: Overtaken,
    policy: SyncPolicy,
    /// The record on the disk, locked; `None` if the upload is to a new name.
    file: Option<Arc<OwnedFd>>,
    sync: RecordSync,
}

impl LocalRecord {
    /// Begins the record of an upload by `user`; `None` is a shared login, for which no bytes are
    /// kept. `is_resumed` is whether the upload continues the bytes of an earlier one; otherwise,
    /// these are discarded.
    ///
    /// # Errors
    ///
    /// Returns `NoSpace` if the user has too many records of replaced files, and an error of the
    /// system if the record of a replaced file cannot be written.
    pub(super) fn begin(
        target: &Target,
        config: LocalConfig,
        user: Option<&[u8]>,
        is_resumed: bool,
    ) -> StorageResult<Self> {
        let Target { directory, name, existing: old, .. } = target;
        let when_cut = match config.partial {
            PartialPolicy::Publish if old.is_some() => PartialPolicy::Discard,
            policy if user.is_some() => policy,
            _ => PartialPolicy::Discard,
        };
        let record = name::of_record(user, name);
        let place = place(directory, name).map_err(system)?;
        let shelf = directory.root().usage().shelf();
        let refuse = |errno| creation(directory, errno);
        let needs_record = old.is_some() || is_resumed;
        let order = in_order(place.0, &record);
        let made = match needs_record {
            true => create(directory, &record).map(Some),
            false => Ok(None),
        };
        let (former, file) = match made {
            Err(Errno::EXIST) | Ok(None) => (read(directory, &record).map_err(system)?, None),
            made => (RecordFile::Missing, made.map_err(refuse)?),
        };
        let is_first = matches!(former, RecordFile::Missing);
        if file.is_some() && shelf.records_of(name::owner(&record), true) >= limits::RECORDS {
            remove(directory, &record);
            return Err(StorageErrorKind::NoSpace.into());
        }
        let overtaken = RUNNING.begin(user, place.clone(), is_first, 0);
        let discard = || if is_resumed { Ok(()) } else { discard_bytes(directory, &former) };
        let begun = match file {
            // The bytes go once there is room for the record, and before it has its name.
            None if needs_record => replace(directory, &record, |hidden| {
                let made = create(directory, hidden)?;
                discard().map(|()| made)
            })
            .map(Some),
            file => discard().map(|()| file),
        };
        let file = begun.map_err(|errno| {
            RUNNING.end(&overtaken);
            refuse(errno)
        })?;
        if !needs_record && !is_first {
            remove(directory, &record);
        }
        drop(order);
        shelf.take(place.0, &record);
        let file = file.map(Arc::new);
        let sync = match &file {
            Some(file) => RecordSync::begin(file, directory, config.sync),
            None => RecordSync::Done,
        };
        let (user, policy) = (user.unwrap_or_default().to_vec(), config.sync);
        Ok(Self { record, user, when_cut, old: *old, place, overtaken, policy, file, sync })
    }

    /// Waits until the record is on the disk. A power cut before that leaves the old file without a
    /// record.
    pub(super) fn wait(&mut self, directory: &Directory) -> Result<(), Errno> {
        self.sync.wait(directory)
    }

    /// Ends the records of all users, because the upload was stored. If the same user has begun
    /// another upload since, which still runs, the record is that one's.
    pub(super) fn stored(self, directory: &Directory) {
        RUNNING.stored(&self.place, u64::MAX);
        match self.overtaken.is_superseded() {
            true if RUNNING.has(Some(&self.user), &self.place) => {}
            true => end(directory, self.place.0, &self.record, || false),
            false => self.withdraw(directory),
        }
        Ending { place: Some(self.place.clone()), at: Instant::now() }.end(directory);
    }

    /// Removes the record, unless it belongs to a newer upload of the same user.
    pub(super) fn withdraw(&self, directory: &Directory) {
        let _order = in_order(self.place.0, &self.record);
        if !self.overtaken.is_superseded() && self.is_there(directory) {
            remove(directory, &self.record);
            // A walk may have found it before it was locked.
            directory.root().usage().shelf().take(self.place.0, &self.record);
        }
    }

    /// Returns whether the record on the disk is the one of this upload.
    fn is_there(&self, directory: &Directory) -> bool {
        self.file.as_ref().is_some_and(|file| is_at(directory, &self.record, file))
    }

    /// Returns whether an upload that was superseded must leave a record without bytes: another
    /// upload has stored the file since, and nothing else forbids to resume at its length.
    pub(super) fn must_forbid(&self, directory: &Directory) -> bool {
        self.overtaken.is_superseded()
            && self.overtaken.changes() > 0
            && !RUNNING.has(Some(&self.user), &self.place)
            && matches!(read(directory, &self.record), Ok(RecordFile::Missing))
    }

    /// Returns whether an upload that ended like this leaves neither a record nor bytes. `now` is the
    /// file that has the name: without one, there may be nothing to mix with.
    pub(super) fn leaves_nothing(&self, end: StreamEnd, now: Option<&Metadata>) -> bool {
        self.overtaken.leaves_nothing(end)
            || now.is_none() && (self.old.is_some() || self.overtaken.is_gone())
    }

    /// Returns whether the file that has the name now is the one that the upload was to replace.
    pub(super) fn is_unchanged(&self, now: Option<&Metadata>) -> bool {
        self.overtaken.changes() == 0 && self.old.as_ref().map(facts_of) == now.map(facts_of)
    }

    /// Leaves the record of an upload that was cut, with the first `length` bytes of the hidden file
    /// `own`, which are on the disk, for `age`. Without room for another file, such as an inode, that one
    /// loses its bytes and becomes the record. `now` is the file that has the name. Calls `let_go` with
    /// what the shelf is to know, before another upload can find the record: it could not discard bytes
    /// that are locked. Returns the record if it is a new file; `None` also if the user has begun another
    /// upload since the caller looked. The record is that one's, and would not name these bytes for long. If
    /// that one has stored the file, this leaves a record without bytes.
    pub(super) fn leave(
        &self,
        directory: &Directory,
        now: Option<&Metadata>,
        own: &mut CutFile<'_>,
        (length, age): (u64, Duration),
        let_go: impl FnOnce(KeptPart, &mut Output),
    ) -> Result<Option<Arc<OwnedFd>>, Errno> {
        let _order = in_order(self.place.0, &self.record);
        let (bytes, length) = match self.overtaken.is_superseded() {
            false => (own.name, length),
            true if self.must_forbid(directory) => (&b""[..], 0),
            true => return Ok(None),
        };
        let when = unix_now();
        let mut facts = Facts {
            user: self.user.clone(),
            name: self.place.1.clone(),
            number: random::number()?,
            old: now.map(facts_of),
            bytes: bytes.to_vec(),
            length,
            when,
            until: when.saturating_add_unsigned(age.as_secs()),
        };
        let left = match write(directory, &self.record, &facts) {
            Ok(file) => {
                let file = Arc::new(file);
                drop(RecordSync::begin(&file, directory, self.policy));
                Some(file)
            }
            Err(errno) => {
                facts.length = 0;
                own.become_record(directory, &self.record, &facts, self.policy)?;
                let name = Escaped(&self.place.1);
                log::warn!("{name}: the partial upload gave way to its record: {errno}");
                None
            }
        };
        let part = facts.part(directory.path().to_vec(), self.place.0, &self.record, facts.length);
        let_go(part, own.output);
        Ok(left)
    }

    /// Removes the record `left`, unless there is a later one. No other file has its inode while it is
    /// open.
    pub(super) fn retract(&self, directory: &Directory, left: &OwnedFd) {
        let _order = in_order(self.place.0, &self.record);
        if is_at(directory, &self.record, left) {
            remove(directory, &self.record);
            directory.root().usage().shelf().take(self.place.0, &self.record);
        }
    }
}

/// The end of the records of a place, once what ends them is on the disk.
pub(super) struct Ending {
    place: Option<NamedPlace>,
    /// The time at which the file was stored, renamed or removed. Later records stay.
    at: Instant,
}

impl Ending {
    /// Ends the records that are known, except those of running uploads, which are locked. The
    /// session also forgets the one of its user, which it finds by its name.
    pub(super) fn end(self, directory: &Directory) {
        let Some((above, name)) = self.place else { return };
        for record in Usage::kept_in_all_roots(above, &name, self.at) {
            // What is locked, or cannot be examined, may be that of a running upload.
            let stays = || {
                !matches!(
                    hidden::check_left(directory.as_fd(), &record),
                    Ok(()) | Err(Errno::NOENT)
                )
            };
            end(directory, above, &record, stays);
        }
    }
}

impl Drop for LocalRecord {
    fn drop(&mut self) {
        RUNNING.end(&self.overtaken);
        // The thread that syncs it may have it open for longer.
        if let Some(file) = &self.file {
            turn::unlock(&**file);
        }
    }
}

pub(super) fn keeps_bytes(config: LocalConfig, user: Option<&[u8]>) -> bool {
    user.is_some() && config.partial == PartialPolicy::Resume
}

/// Returns whether both are the same file with the same content.
pub(super) fn is_same(one: Option<&Metadata>, other: Option<&Metadata>) -> bool {
    one.map(Metadata::version) == other.map(Metadata::version)
}

/// Returns the record of `user`'s upload to `path`.
pub(super) fn find(
    (root, config): (&Arc<Root>, LocalConfig),
    path: &VirtualPath,
    user: Option<&[u8]>,
) -> StorageResult<Option<Unfinished>> {
    match target(root, path)? {
        Some(target) => Ok(find_at(&target, config, user)?.map(|(found, _)| found)),
        None => Ok(None),
    }
}

/// As [`find`], for a known target. Returns also what the record says, if it can be read.
pub(super) fn find_at(
    target: &Target,
    config: LocalConfig,
    user: Option<&[u8]>,
) -> StorageResult<Option<(Unfinished, Option<Box<Facts>>)>> {
    let Target { directory, name, existing, .. } = target;
    let running = Unfinished { is_running: true, ..Unfinished::default() };
    if RUNNING.has(user, &place(directory, name).map_err(system)?) {
        return Ok(Some((running, None)));
    }
    let record = name::of_record(user, name);
    let found = read(directory, &record).map_err(system)?;
    // An upload of another process is running.
    if !matches!(found, RecordFile::Missing)
        && hidden::check_left(directory.as_fd(), &record) == Err(Errno::WOULDBLOCK)
    {
        return Ok(Some((running, None)));
    }
    let facts = match found {
        RecordFile::Missing => return Ok(None),
        // Where there is no file, there is nothing to mix with.
        RecordFile::Doubtful if existing.is_none() => return Ok(None),
        RecordFile::Doubtful => {
            let number = number_of_file(directory, &record).map_err(system)?;
            return Ok(Some((Unfinished { number, ..Unfinished::default() }, None)));
        }
        RecordFile::Whole(facts) => facts,
    };
    if facts.has_ended(existing.as_ref()) {
        return Ok(None);
    }
    let is_own = facts.user == user.unwrap_or_default() && facts.name == *name;
    let may_resume = is_own && keeps_bytes(config, user);
    let is_unchanged = facts.old == existing.as_ref().map(facts_of);
    let kept = facts.kept_bytes(directory).filter(|_| may_resume && is_unchanged);
    let found = Unfinished {
        kept: kept.map_or(0, |kept| kept.size),
        number: facts.number,
        ..Unfinished::default()
    };
    Ok(Some((found, Some(facts))))
}

/// Returns a number for a record that tells none: another file has another one.
fn number_of_file(directory: &Directory, record: &[u8]) -> Result<u64, Errno> {
    let Ok(found) = retry_on_intr(|| statat(directory, record, AtFlags::SYMLINK_NOFOLLOW)) else {
        return random::number();
    };
    let mut hasher = DefaultHasher::new();
    (found.st_ino, found.st_ctime, found.st_ctime_nsec).hash(&mut hasher);
    Ok(hasher.finish())
}

pub(super) fn open_kept(
    (root, config): (&Arc<Root>, LocalConfig),
    path: &VirtualPath,
    user: Option<&[u8]>,
) -> StorageResult<Box<dyn Source>> {
    let target = target(root, path)?.ok_or(StorageErrorKind::NotFound)?;
    let found = find_at(&target, config, user)?.filter(|(found, _)| found.kept > 0);
    let facts = found.and_then(|(_, facts)| facts).ok_or(StorageErrorKind::NotFound)?;
    let directory = target.directory.as_fd();
    let (file, found) = hidden::open(OFlags::RDONLY, directory, &facts.bytes).map_err(system)?;
    match hidden::is_of_server(directory, &found) {
        true => Ok(Box::new(LocalSource::new(file, &found))),
        false => Err(StorageErrorKind::NotFound.into()),
    }
}

/// Discards the record of `user`'s upload to `path`, and returns it. The user's running uploads to
/// `path` leave none any more, unless there is a file: to resume at its length is forbidden.
pub(super) fn forget(
    (root, config): (&Arc<Root>, LocalConfig),
    path: &VirtualPath,
    user: Option<&[u8]>,
) -> StorageResult<Option<Unfinished>> {
    let Some(target) = target(root, path)? else { return Ok(None) };
    let found = find_at(&target, config, user)?;
    let place = place(&target.directory, &target.name).map_err(system)?;
    if target.existing.is_none() {
        RUNNING.forget(user, &place);
    }
    if !RUNNING.has(user, &place) {
        end(&target.directory, place.0, &name::of_record(user, &target.name), || false);
    }
    Ok(found.map(|(found, _)| found))
}

/// Returns the target of uploads to `path`; `None` if there can be no upload.
fn target(root: &Arc<Root>, path: &VirtualPath) -> StorageResult<Option<Target>> {
    let found =
        name::check_existing(path).and_then(|()| Target::find(root, path, WriteMode::Replace));
    use StorageErrorKind::{
        CrossesMounts, Denied, IsDirectory, NameNotAllowed, NotDirectory, NotFound,
    };
    match found {
        Ok(target) => Ok(Some(target)),
        // No upload can have begun there. Each other error proves nothing.
        Err(error)
            if matches!(
                error.kind,
                CrossesMounts | Denied | IsDirectory | NameNotAllowed | NotDirectory | NotFound
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_at(directory: &Directory, record: &[u8], file: &OwnedFd) -> bool {
    let (own, found) = (root::metadata_of(file), directory.metadata(record));
    own.is_ok_and(|own| found.is_ok_and(|found| found.identity == own.identity))
}

/// Removes a record. If something else has its name that cannot be removed, it stays.
fn remove(directory: &Directory, record: &[u8]) {
    match retry_on_intr(|| unlinkat(directory, record, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => {
            let name = Escaped(record);
            log::warn!("{name}: cannot remove the record of an interrupted upload: {errno}");
        }
    }
}

/// Discards the bytes of a record, unless an upload is writing to them. Fails only for a shortage. They go
/// before the record: no walk would come soon for bytes that nothing names.
fn discard_bytes(directory: &Directory, record: &RecordFile) -> Result<(), Errno> {
    let RecordFile::Whole(facts) = record else { return Ok(()) };
    match hidden::remove(directory.root().usage(), directory, &facts.bytes, || false) {
        Err(shortage) if hidden::is_shortage(shortage) => Err(shortage),
        // What else is wrong does not pass. A walk removes them, where it can.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Calls `remove` with a record that a walk has read, unless another upload has left one since, which
/// must stay with its bytes.
pub(super) fn if_unchanged(
    (directory, above): (impl AsFd, (u64, u64)),
    record: &[u8],
    facts: &Facts,
    remove: impl FnOnce(),
) {
    let _order = in_order(above, record);
    if matches!(read(directory, record), Ok(RecordFile::Whole(now)) if *now == *facts) {
        remove();
    }
}

/// Removes a record with its bytes, unless `stays`.
fn end(directory: &Directory, above: (u64, u64), record: &[u8], stays: impl FnOnce() -> bool) {
    let _order = in_order(above, record);
    if stays() {
        return;
    }
    let found = read(directory, record).unwrap_or(RecordFile::Doubtful);
    // For a lack of descriptors, bytes may stay until a walk. The record must not: it would refuse to its
    // user to go on in a file that is complete.
    let _ = discard_bytes(directory, &found);
    if !matches!(found, RecordFile::Missing) {
        remove(directory, record);
    }
    directory.root().usage().shelf().take(above, record);
}

/// Records that the file with this name was removed or renamed: the records of all users end.
pub(super) fn removed(directory: &Directory, name: &[u8]) -> Ending {
    changed(directory, name, RunningUploads::removed)
}

/// Records that a file was renamed to this name: the records of all users end.
pub(super) fn replaced(directory: &Directory, name: &[u8]) -> Ending {
    changed(directory, name, RunningUploads::stored)
}

fn changed(
    directory: &Directory,
    name: &[u8],
    change: fn(&RunningUploads<NamedPlace>, &NamedPlace, u64),
) -> Ending {
    let place = place(directory, name).ok();
    if let Some(place) = &place {
        change(&RUNNING, place, u64::MAX);
    }
    Ending { place, at: Instant::now() }
}

/// Records that a file was extended, or changed in part. Its records stay, because a client that
/// resumes would still take its length for that of its own upload. Their bytes are void.
pub(super) fn extended(directory: &Directory, name: &[u8]) {
    if let Ok(place) = place(directory, name) {
        RUNNING.stored(&place, u64::MAX);
    }
}
