//! Begins uploads, depending on existing files, kept partial uploads and the quota. Under a quota,
//! an upload waits until the files below the root are counted.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::append::Appending;
use super::directory::Directory;
use super::files::Files;
use super::record::LocalRecord;
use super::replacement::Replacement;
use super::target::Target;
use super::usage::{self, Cost};
use super::{name, sweep};
use crate::storage::{StorageErrorKind, StorageResult, StreamEnd, Upload, VirtualPath, WriteMode};

/// Begins an upload once the remaining quota is known. An interrupted upload may be kept for `user`
/// to resume; with `None`, no partial upload is kept.
pub(super) fn begin(
    files: &Files,
    path: &VirtualPath,
    mode: WriteMode,
    user: Option<&[u8]>,
) -> StorageResult<Box<dyn Upload>> {
    if path.is_root() {
        return Err(StorageErrorKind::IsDirectory.into());
    }
    name::check_new(path)?;
    let target = Target::find(&files.root, path, mode)?;
    let old = if is_in_place(files, &target, mode) { None } else { target.existing };
    let wanted = usage::wanted(name_of(&target), old.as_ref());
    match files.knows_usage(wanted, STEP)? {
        true => begin_at(files, target, mode, user),
        false => {
            // The 150 comes before the count is complete, so the record cannot wait for it.
            let is_recorded = matches!(mode, WriteMode::Create | WriteMode::Replace);
            let record = match is_recorded && target.existing.is_some() {
                true => Some(LocalRecord::begin(&target, files.config, user, false)?),
                false => None,
            };
            let directory = target.directory.clone();
            let later = begin_later(files, path, mode, user, wanted);
            Ok(Box::new(Waiting { record: record.map(|record| (record, directory)), ..later }))
        }
    }
}

/// Returns the cost of the target's name, which is zero if the name already exists.
fn name_of(target: &Target) -> Cost {
    if target.existing.is_some() { Cost::default() } else { Cost::NAME }
}

/// Returns whether the upload adds to the end of the existing file.
fn is_in_place(files: &Files, target: &Target, mode: WriteMode) -> bool {
    if files.config.whole {
        return false;
    }
    let size = target.existing.map(|old| old.size);
    match mode {
        WriteMode::Append => size.is_some(),
        WriteMode::From(from) => from > 0 && Some(from) == size,
        WriteMode::Create | WriteMode::Replace | WriteMode::Resume(_) => false,
    }
}

/// Returns an upload that begins once it is known whether the quota permits `wanted`. When the
/// upload begins, it looks up the path again.
fn begin_later(
    files: &Files,
    path: &VirtualPath,
    mode: WriteMode,
    user: Option<&[u8]>,
    wanted: Cost,
) -> Waiting {
    let files = files.clone();
    let path = path.clone();
    let user = user.map(<[u8]>::to_vec);
    Waiting::new(move || {
        if !files.knows_usage(wanted, STEP)? {
            return Ok(None);
        }
        let target = Target::find(&files.root, &path, mode)?;
        begin_at(&files, target, mode, user.as_deref()).map(Some)
    })
}

fn begin_at(
    files: &Files,
    target: Target,
    mode: WriteMode,
    user: Option<&[u8]>,
) -> StorageResult<Box<dyn Upload>> {
    if let Some(old) = target.existing {
        old.kind.check_file()?;
    }
    let given = files.config.for_files();
    if let WriteMode::Resume(from) = mode {
        target.check_replaceable(given)?;
        let refused = target.clone();
        let resumed = Replacement::resume(target, from, files.config, user);
        return Ok(Box::new(resumed.map_err(|error| refused.explained(given, error))?));
    }
    let size = target.existing.map_or(0, |old| old.size);
    if matches!(mode, WriteMode::From(from) if from > size) {
        return Err(StorageErrorKind::BadRestart.into());
    }
    let is_in_place = is_in_place(files, &target, mode);
    let mode = match mode {
        WriteMode::Append if !is_in_place && target.existing.is_some() => WriteMode::From(size),
        mode => mode,
    };
    if !is_in_place {
        target.check_replaceable(given)?;
    }
    let old = target.existing.filter(|_| !is_in_place);
    let owner = name::owner_of(user);
    let charge =
        sweep::give_way(&files.root, owner, || files.charge(name_of(&target), old.as_ref()))?;
    if is_in_place {
        let expected = if let WriteMode::From(from) = mode { Some(from) } else { None };
        return Ok(Box::new(Appending::begin(target, expected, files.config, charge)?));
    }
    let begun = Replacement::begin(&target, mode, files.config, user, charge);
    Ok(Box::new(begun.map_err(|error| target.explained(given, error))?))
}

/// Maximum time that an upload waits for the count.
const PATIENCE: Duration = Duration::from_secs(20);

/// Duration of one step of the wait. During a step, the session does not check whether its client
/// is still connected.
const STEP: Duration = Duration::from_millis(100);

/// The upload, or `None` if it cannot begin yet.
type LocalBegun = StorageResult<Option<Box<dyn Upload>>>;

/// An upload that begins once the bytes below the root are counted. Until then it has no file.
struct Waiting {
    /// A function that waits for [`STEP`] at most, and begins the upload if the count is then
    /// complete.
    begin: Box<dyn Fn() -> LocalBegun + Send>,
    since: Instant,
    begun: Option<Box<dyn Upload>>,
    /// The record until the upload has begun, and its directory.
    record: Option<(LocalRecord, Directory)>,
}

impl Waiting {
    fn new(begin: impl Fn() -> LocalBegun + Send + 'static) -> Self {
        Self { begin: Box::new(begin), since: Instant::now(), begun: None, record: None }
    }

    fn wait(&mut self) -> StorageResult<()> {
        self.begun = (self.begin)()?;
        if self.begun.is_some() {
            // The upload has taken the record over.
            self.record = None;
        }
        if self.begun.is_none() && self.since.elapsed() >= PATIENCE {
            return Err(StorageErrorKind::Busy.into());
        }
        Ok(())
    }

    /// Waits until the upload has begun, and returns it.
    fn begun(&mut self) -> StorageResult<&mut Box<dyn Upload>> {
        while self.begun.is_none() {
            self.wait()?;
        }
        self.begun.as_mut().ok_or_else(|| StorageErrorKind::Busy.into())
    }
}

impl io::Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.begun()?.flush()
    }
}

impl Upload for Waiting {
    fn prepare(&mut self) -> StorageResult<bool> {
        if let Some(upload) = &mut self.begun {
            return upload.prepare();
        }
        self.wait()?;
        Ok(false)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        match &mut self.begun {
            Some(upload) => upload.ready(),
            None => self.prepare(),
        }
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        match &mut self.begun {
            Some(upload) => upload.prepare_commit(),
            None => self.prepare(),
        }
    }

    fn inode(&self) -> Option<u64> {
        self.begun.as_ref().and_then(|upload| upload.inode())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.begun.as_ref().and_then(|upload| upload.descriptor())
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        self.begun()?;
        self.begun.ok_or(StorageErrorKind::Busy)?.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        if let Some(upload) = self.begun {
            upload.abort(end);
        } else if let Some((record, directory)) = &self.record
            && record.leaves_nothing(end)
        {
            record.withdraw(directory);
        }
    }
}
