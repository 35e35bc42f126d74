//! An upload whose file gets its name when it is complete.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ftp_proto::Escaped;
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, ftruncate, openat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::copying::Copying;
use super::directory::Directory;
use super::failure::{as_kind, creation, existing, system};
use super::kept_uploads::Part;
use super::output::Output;
use super::phase::{self, Phase};
use super::policy::{Bounds, LocalConfig, PartialPolicy};
use super::quota;
use super::target::Target;
use super::usage::{COST_OF_OBJECT, Charge, Cost};
use super::{eviction, hidden, inherit, name, root};
use crate::storage::{Metadata, StorageError, StorageErrorKind, StreamEnd, Upload, WriteMode};

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
    copying: Option<Copying>,
    /// The hidden name of the locked file; `None` once the file has another name.
    hidden: Option<Vec<u8>>,
    /// The metadata of the file when it was created or opened.
    made: Metadata,
    /// Whether the hidden name identifies the file to be replaced. If the upload is interrupted, an
    /// empty file with this name stays.
    is_sign: bool,
    /// The file that had the final name when the upload began.
    old: Option<Metadata>,
    /// The error to return if a file has the final name when the upload ends; `None` if that file
    /// may be replaced.
    refusal: Option<StorageErrorKind>,
    /// Handling of an interruption.
    when_cut: WhenCut,
    /// Limits of the user's kept partial uploads.
    bounds: Bounds,
    /// The resumed partial upload.
    resumed: Option<Resumed>,
    /// Whether the upload failed only because it exceeded the quota.
    is_over_quota: bool,
    /// The reason for the end, if the upload is not committed.
    end: StreamEnd,
}

/// A partial upload that is being resumed.
#[derive(Clone, Copy, Debug)]
struct Resumed {
    /// Device and inode.
    identity: (u64, u64),
    /// The length before this upload.
    size: u64,
}

/// Handling of an interrupted upload.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum WhenCut {
    Discard,
    /// Keep it under this hidden name.
    Keep(Vec<u8>),
    Publish,
}

impl Replacement {
    /// Creates the temporary file. With [`WriteMode::From`], [`prepare`](Upload::prepare) copies
    /// the beginning of the old file to the temporary file.
    pub(super) fn begin(
        target: Target,
        mode: WriteMode,
        config: LocalConfig,
        user: Option<&[u8]>,
        charge: Charge,
    ) -> Result<Self, StorageError> {
        let when_cut = WhenCut::of(&target, config, user);
        let Target { directory, name, existing: old, .. } = target;
        if old.is_some() {
            check_writable(&directory, &name)?;
        }
        let (file, made, hidden) =
            make(&directory, &name, old.is_some(), config).map_err(creation)?;
        let keep = if let WriteMode::From(keep) = mode { keep } else { 0 };
        let mut new = Self {
            directory,
            name,
            output: Output::new(file, 0, config.sync, charge),
            copying: None,
            hidden: Some(hidden),
            made,
            is_sign: false,
            old,
            refusal: refusal(mode),
            when_cut,
            bounds: config.bounds(),
            resumed: None,
            is_over_quota: false,
            end: StreamEnd::Cut,
        };
        if keep > 0 {
            let old = new.open_old(config)?;
            new.copying = Some(Copying::new(old, keep));
        }
        if let (Some(old), WriteMode::Replace) = (old, mode) {
            new.sign(name::replacing(user, &new.name, &old));
        }
        Ok(new)
    }

    /// Resumes `user`'s partial upload to `target` after the first `length` uploaded bytes. No file
    /// exists at `target`. Returns `None` if no partial upload was kept.
    pub(super) fn resume(
        target: &Target,
        length: u64,
        config: LocalConfig,
        user: &[u8],
    ) -> Result<Option<Self>, StorageError> {
        let WhenCut::Keep(kept) = WhenCut::of(target, config, Some(user)) else {
            return Ok(None);
        };
        if hidden::kept(&target.directory, &kept).is_none() {
            return Ok(None);
        }
        let usage = Arc::clone(target.directory.root().usage());
        let mut charge = quota::go_on(target.directory.root(), config.limit())?.in_place();
        let change = usage.change();
        let (file, metadata) = match hidden::open_locked(target.directory.as_fd(), &kept) {
            Ok(opened) => opened,
            Err(Errno::WOULDBLOCK) => return Err(system(Errno::WOULDBLOCK)),
            // The file has been removed, or is on a file system without locks, where nothing is
            // kept.
            Err(_) => return Ok(None),
        };
        let cut = match length <= metadata.size {
            true => retry_on_intr(|| ftruncate(&file, length)).map_err(system),
            false => Err(StorageErrorKind::BadRestart.into()),
        };
        cut.inspect_err(|_| hidden::unlock(&file))?;
        charge.take_over(metadata.size, length);
        drop(change);
        Ok(Some(Self {
            directory: target.directory.clone(),
            name: target.name.clone(),
            output: Output::new(file, length, config.sync, charge),
            copying: None,
            hidden: Some(kept.clone()),
            made: metadata,
            is_sign: false,
            old: None,
            // The name had no file when the upload began. A file that has taken the name since must
            // not be lost.
            refusal: Some(StorageErrorKind::Exists),
            when_cut: WhenCut::Keep(kept),
            bounds: config.bounds(),
            resumed: Some(Resumed { identity: metadata.identity, size: metadata.size }),
            is_over_quota: false,
            end: StreamEnd::Cut,
        }))
    }

    /// Gives the new file the hidden name that identifies the file to be replaced. Without that
    /// name, a restarted server would not know about an interruption.
    fn sign(&mut self, sign: Vec<u8>) {
        let Some(hidden) = &self.hidden else { return };
        let give = |directory: &Directory| directory.rename_new(hidden, directory, &sign);
        let given = match give(&self.directory) {
            // The name belongs to an earlier upload, which was interrupted or is still running.
            Err(Errno::EXIST) => {
                let usage = self.directory.root().usage();
                match hidden::remove(usage, self.directory.as_fd(), &sign) {
                    Ok(true) => give(&self.directory),
                    Ok(false) => Err(Errno::EXIST),
                    Err(errno) => Err(errno),
                }
            }
            given => given,
        };
        if given.is_ok() {
            self.is_sign = true;
            self.hidden = Some(sign);
        }
    }

    /// Opens the file that currently has the name.
    fn open_old(&self, config: LocalConfig) -> Result<OwnedFd, StorageError> {
        let flags =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let old = retry_on_intr(|| openat(&self.directory, &*self.name, flags, Mode::empty()));
        let old = old.map_err(existing)?;
        config.check_readable(&root::metadata_of(&old).map_err(system)?)?;
        Ok(old)
    }

    /// Copies the rest of the old content that the new file keeps.
    fn finish_copying(&mut self) -> Result<(), StorageError> {
        while !self.prepare()? {}
        Ok(())
    }

    /// Gives the file its name in one step. The only descriptor for writing is still open: programs
    /// that watch the directory see the new name, and then the end of writing under that name.
    fn publish(&mut self) -> Result<(), Errno> {
        let root = Arc::clone(self.directory.root());
        let change = root.usage().change();
        let replaced = change.cost_of(|| self.directory.metadata(&self.name).ok());
        self.output.charge().take_place(replaced).map_err(|_over_quota| Errno::DQUOT)?;
        self.give_name()?;
        self.output.charge().keep_as_file(replaced);
        self.leave_shelf();
        Ok(())
    }

    /// Gives the new file what the replaced file has.
    fn take_over(&self, old: &Metadata) -> Result<(), Errno> {
        inherit::take_over(&self.output, &self.made, &self.directory, &self.name, old)
    }

    /// Removes the resumed partial upload from the shelf.
    fn leave_shelf(&self) {
        if let Some(Resumed { identity, .. }) = self.resumed {
            self.directory.root().usage().shelf().take(identity);
        }
    }

    fn give_name(&mut self) -> Result<(), Errno> {
        self.directory.check_beneath()?;
        phase::next(Phase::Name);
        let Some(hidden) = &self.hidden else { return Err(Errno::NOENT) };
        let directory = &self.directory;
        let mut given = Err(Errno::EXIST);
        if self.old.is_none() {
            given = directory.rename_new(hidden, directory, &self.name);
        }
        if given == Err(Errno::EXIST) && self.refusal.is_none() {
            if self.old.is_none() {
                // Another upload or program has taken the name since this upload began.
                self.take_over(&directory.metadata(&self.name)?)?;
            }
            given = retry_on_intr(|| renameat(directory, &**hidden, directory, &*self.name));
        }
        given?;
        self.hidden = None;
        hidden::unlock(&self.output);
        Ok(())
    }

    /// Converts an error of [`publish`](Self::publish).
    fn refuse(&self, errno: Errno) -> StorageError {
        match (errno, self.refusal) {
            (Errno::EXIST, Some(kind)) => as_kind(kind, errno),
            _ => creation(errno),
        }
    }

    /// Keeps or publishes an interrupted upload of a new file. If this method returns an error or
    /// `false`, the caller discards the upload.
    fn keep(&mut self) -> Result<bool, Errno> {
        if matches!(self.when_cut, WhenCut::Keep(_)) && self.bounds.bytes > 0 {
            // If the file exceeds the limit for partial uploads, its beginning is still useful.
            self.output.cut_to(self.bounds.bytes)?;
        }
        let kept = match &self.when_cut {
            WhenCut::Discard => return Ok(false),
            _ if self.output.position() == 0 || self.directory.metadata(&self.name).is_ok() => {
                return Ok(false);
            }
            WhenCut::Publish => None,
            // `SIZE` reports one byte less than was received, so a single byte is not worth
            // keeping.
            WhenCut::Keep(_) if self.output.position() == 1 => return Ok(false),
            WhenCut::Keep(kept) => Some(kept.clone()),
        };
        // The client will send only the bytes after the length that `SIZE` reports, so the bytes
        // before it must be on disk.
        self.output.sync()?;
        let Some(kept) = kept else {
            self.refusal = Some(StorageErrorKind::Exists);
            return self.publish().map(|()| true);
        };
        self.directory.check_beneath()?;
        if self.hidden.as_ref() != Some(&kept) {
            hidden::lock(&self.output)?;
            // The newer partial upload is kept, unless a session is resuming the older one.
            if !hidden::remove(self.directory.root().usage(), self.directory.as_fd(), &kept)? {
                return Ok(false);
            }
        }
        let root = Arc::clone(self.directory.root());
        let part = Part::new(self.directory.path(), &kept, root::metadata_of(&self.output)?);
        if !eviction::make_way(&root, &part, self.bounds) {
            return Ok(false);
        }
        let _change = root.usage().change();
        if self.hidden.as_ref() != Some(&kept) {
            let hidden = self.hidden.as_ref().ok_or(Errno::NOENT)?;
            self.directory.rename_new(hidden, &self.directory, &kept)?;
        }
        self.output.charge().keep();
        root.usage().shelf().put(part);
        self.hidden = None;
        hidden::unlock(&self.output);
        root.has_kept();
        Ok(true)
    }

    /// Keeps the bytes of earlier sessions if the rest of a resumed upload exceeds the quota. The
    /// user can then remove other files and resume the upload again.
    fn keep_former(&mut self) -> Result<bool, Errno> {
        match self.resumed {
            Some(Resumed { size, .. }) if self.is_over_quota => {
                self.output.cut_to(size)?;
                self.keep()
            }
            _ => Ok(false),
        }
    }

    /// Records whether the error is an exceeded quota, and returns the error.
    fn note(&mut self, error: StorageError) -> StorageError {
        self.is_over_quota = error.kind == StorageErrorKind::OverQuota;
        error
    }

    /// Leaves an empty file with the hidden name if the connection was lost during an upload that
    /// was to replace a file. After any other end, no file is needed, because the client got a
    /// reply.
    fn leave_sign(&mut self) -> Result<bool, Errno> {
        let is_left = self.is_sign && self.end == StreamEnd::Cut;
        let Some(sign) = self.hidden.clone().filter(|_| is_left) else { return Ok(false) };
        self.output.cut_to(0)?;
        let root = Arc::clone(self.directory.root());
        let part = Part::new(self.directory.path(), &sign, root::metadata_of(&self.output)?);
        if !eviction::make_way(&root, &part, self.bounds) {
            return Ok(false);
        }
        root.usage().shelf().put(part);
        hidden::unlock(&self.output);
        root.has_kept();
        Ok(true)
    }

    /// Removes a kept partial upload that this upload makes useless.
    fn forget_kept(&self) {
        if let WhenCut::Keep(kept) = &self.when_cut {
            // If this fails, the sweeper removes the file after a day.
            let _ = hidden::remove(self.directory.root().usage(), self.directory.as_fd(), kept);
        }
    }
}

impl io::Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.finish_copying()?;
        self.output.write(bytes).map_err(|error| self.note(error.into()).into())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish_copying()?;
        Ok(self.output.sync()?)
    }
}

impl Upload for Replacement {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        let Some(copying) = &mut self.copying else { return Ok(true) };
        if copying.step(&mut self.output)? {
            self.copying = None;
        }
        Ok(self.copying.is_none())
    }

    fn replaces(&self) -> bool {
        self.old.is_some()
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.end = StreamEnd::Failed;
        self.finish_copying()?;
        if let Some(old) = self.old {
            self.take_over(&old).map_err(system)?;
        }
        self.output.sync().map_err(system)?;
        if self.output.position() == 0 {
            self.output.charge().grow(Cost::bytes(COST_OF_OBJECT))?;
        }
        if let Err(errno) = self.publish() {
            let error = self.refuse(errno);
            return Err(self.note(error));
        }
        phase::next(Phase::Published);
        self.forget_kept();
        let directory = self.directory.clone();
        let policy = self.output.policy();
        // Closes the file. Programs that watch the directory need not wait for the disk.
        drop(self);
        directory.sync(policy).map_err(system)
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        self.end = end;
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        let kept = match self.end {
            StreamEnd::Cut => self.keep(),
            StreamEnd::Failed => self.keep_former(),
            StreamEnd::Abort => {
                self.forget_kept();
                Ok(false)
            }
        };
        match kept {
            Ok(true) => return,
            Ok(false) => {}
            Err(errno) => {
                log::warn!("{}: cannot keep the partial upload: {errno}", Escaped(&self.name));
            }
        }
        if self.leave_sign().unwrap_or(false) {
            return;
        }
        if let Some(hidden) = &self.hidden {
            // The hidden name is unique. If the removal fails, the file stays hidden.
            let _ = retry_on_intr(|| unlinkat(&self.directory, &**hidden, AtFlags::empty()));
            self.leave_shelf();
            hidden::unlock(&self.output);
        }
    }
}

impl WhenCut {
    /// Returns the handling of an interrupted upload. Only uploads of new files by a user who does
    /// not share the login are kept or published.
    pub(super) fn of(target: &Target, config: LocalConfig, user: Option<&[u8]>) -> Self {
        match (user, target.existing, config.partial) {
            (None, ..) | (_, Some(_), _) | (.., PartialPolicy::Discard) => Self::Discard,
            (Some(user), None, PartialPolicy::Resume) => Self::Keep(name::kept(user, &target.name)),
            (.., PartialPolicy::Publish) => Self::Publish,
        }
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
        WriteMode::Replace | WriteMode::From(_) => None,
    }
}

/// Returns an error if the server may not write to an existing file, even if it may write to the
/// directory.
fn check_writable(directory: &Directory, name: &[u8]) -> Result<(), StorageError> {
    match retry_on_intr(|| accessat(directory, name, Access::WRITE_OK, AtFlags::empty())) {
        Err(errno) if errno != Errno::NOENT => Err(existing(errno)),
        _ => Ok(()),
    }
}

/// Creates and locks an empty file with a hidden name, for the target `name`. Returns its metadata
/// and its hidden name too.
fn make(
    directory: &Directory,
    name: &[u8],
    replaces: bool,
    config: LocalConfig,
) -> Result<(OwnedFd, Metadata, Vec<u8>), Errno> {
    let (mode, later) = match replaces {
        true => (inherit::PRIVATE, None),
        false => inherit::mode_of_new(config.mask(), directory, 0o666),
    };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    for _ in 0..ATTEMPTS {
        let hidden = name::temporary(name)?;
        let made = retry_on_intr(|| openat(directory, &*hidden, flags, mode))
            .and_then(|file| claim(directory, &hidden, &file).map(|made| (file, made)));
        match made {
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
            Ok((file, made)) => {
                if let Some(bits) = later {
                    inherit::set_mode(&file, made.mode, bits)?;
                }
                return Ok((file, made, hidden));
            }
        }
    }
    Err(Errno::EXIST)
}

/// Locks a hidden file that was just created, and returns its metadata. Returns EEXIST if a sweeper
/// found the file unlocked and is removing it. Then another name is needed.
pub(super) fn claim(directory: &Directory, name: &[u8], file: &OwnedFd) -> Result<Metadata, Errno> {
    match (hidden::lock(file), directory.metadata(name)) {
        (_, Err(Errno::NOENT)) => Err(Errno::EXIST),
        (Err(Errno::WOULDBLOCK), _) => {
            // The process that has the lock may only be checking the file. Then it would not remove
            // the file, so this function does.
            let _ = retry_on_intr(|| unlinkat(directory, name, AtFlags::empty()));
            Err(Errno::EXIST)
        }
        (_, found) => found,
    }
}
