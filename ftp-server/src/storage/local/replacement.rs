//! An upload whose file gets its name when it is complete.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use ftp_proto::Escaped;
use rustix::fs::{
    Access, AtFlags, CWD, Mode, OFlags, accessat, fchmod, ftruncate, linkat, openat, renameat,
    unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::copying::Copying;
use super::directory::Directory;
use super::failure::{as_kind, creation, existing, system};
use super::kept_uploads::Part;
use super::output::Output;
use super::phase::{self, Phase};
use super::policy::{Bounds, LocalConfig, PartialPolicy, Umask};
use super::quota;
use super::target::Target;
use super::usage::{COST_OF_OBJECT, Charge, Cost};
use super::{eviction, hidden, name, root};
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
    /// The hidden name, if there is one; the file is then locked.
    hidden: Option<Vec<u8>>,
    /// Whether the hidden name identifies the file to be replaced. If the upload is interrupted, an
    /// empty file with this name stays.
    is_sign: bool,
    /// Whether a file had the final name when the upload began.
    taken: bool,
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
        let Target { directory, name, existing: old } = target;
        if old.is_some() {
            check_writable(&directory, &name)?;
        }
        let (file, hidden) = make(&directory, config.mask()).map_err(creation)?;
        let keep = if let WriteMode::From(keep) = mode { keep } else { 0 };
        let mut new = Self {
            directory,
            name,
            output: Output::new(file, 0, config.sync, charge),
            copying: None,
            hidden,
            is_sign: false,
            taken: old.is_some(),
            refusal: refusal(mode),
            when_cut,
            bounds: config.bounds(),
            resumed: None,
            is_over_quota: false,
            end: StreamEnd::Cut,
        };
        let bits = match old {
            Some(Metadata { mode, .. }) => Some(Mode::from_raw_mode(mode & 0o777)),
            None => config.mask().is_looser_than_process().then(|| config.mask().apply(0o666)),
        };
        if let Some(bits) = bits {
            set_mode(&new.output, bits).map_err(system)?;
        }
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
            is_sign: false,
            taken: false,
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
        let give = |directory: &Directory| match &self.hidden {
            Some(hidden) => directory.rename_new(hidden, directory, &sign),
            None => link(&self.output, directory, &sign),
        };
        if hidden::lock(&self.output).is_err() {
            return;
        }
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
        match given {
            Ok(()) => {
                self.is_sign = true;
                self.hidden = Some(sign);
            }
            Err(_) if self.hidden.is_none() => hidden::unlock(&self.output),
            Err(_) => {}
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

    /// Gives the file its name in one step. Until then, the file to be replaced counts towards the
    /// quota, because it stays if the upload fails.
    fn publish(&mut self) -> Result<(), Errno> {
        let root = Arc::clone(self.directory.root());
        let change = root.usage().change();
        let replaced = change.cost_of(|| self.directory.metadata(&self.name).ok());
        self.output.charge().need_name(replaced).map_err(|_over_quota| Errno::DQUOT)?;
        self.give_name()?;
        self.output.charge().keep_as_file(replaced);
        self.leave_shelf();
        Ok(())
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
        if self.hidden.is_none() && !self.taken {
            match link(&self.output, &self.directory, &self.name) {
                Err(Errno::EXIST) if self.refusal.is_none() => {}
                done => return done,
            }
        }
        let hidden = match &self.hidden {
            Some(hidden) => hidden.clone(),
            None => {
                // `linkat` cannot replace a file, so a hidden name and a rename are needed. The
                // file is locked first, because the sweeper removes unlocked hidden files.
                let _ = hidden::lock(&self.output);
                let link = |name: &[u8]| link(&self.output, &self.directory, name);
                let ((), hidden) = with_temporary_name(link)?;
                self.hidden.insert(hidden).clone()
            }
        };
        let directory = &self.directory;
        match self.refusal {
            Some(_) => directory.rename_new(&hidden, directory, &self.name),
            None => retry_on_intr(|| renameat(directory, &*hidden, directory, &*self.name)),
        }?;
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
            match &self.hidden {
                Some(hidden) => self.directory.rename_new(hidden, &self.directory, &kept),
                None => link(&self.output, &self.directory, &kept),
            }?;
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
        self.taken
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.end = StreamEnd::Failed;
        self.finish_copying()?;
        self.output.sync().map_err(system)?;
        let file = Some(self.output.as_fd());
        let names = self.directory.names(self.output.policy(), file).map_err(system)?;
        if self.output.position() == 0 {
            self.output.charge().grow(Cost::bytes(COST_OF_OBJECT))?;
        }
        if let Err(errno) = self.publish() {
            let error = self.refuse(errno);
            return Err(self.note(error));
        }
        phase::next(Phase::Published);
        self.forget_kept();
        names.sync().map_err(system)
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

/// Creates an empty file, without a name if the file system supports that, otherwise with a
/// temporary name.
fn make(directory: &Directory, umask: Umask) -> Result<(OwnedFd, Option<Vec<u8>>), Errno> {
    let mode = umask.apply(0o666);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if directory.root().has_unnamed_files() {
        let flags = flags | OFlags::TMPFILE;
        match retry_on_intr(|| openat(directory, ".", flags, mode)) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
            made => return made.map(|file| (file, None)),
        }
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let make = |name: &[u8]| {
        let file = retry_on_intr(|| openat(directory, name, flags, mode))?;
        claim(directory, name, &file).map(|()| file)
    };
    with_temporary_name(make).map(|(file, name)| (file, Some(name)))
}

/// Locks a hidden file that was just created. Returns EEXIST if a sweeper found the file unlocked
/// and is removing it. Then another name is needed.
pub(super) fn claim(directory: &Directory, name: &[u8], file: &OwnedFd) -> Result<(), Errno> {
    match (hidden::lock(file), directory.metadata(name)) {
        (_, Err(Errno::NOENT)) => Err(Errno::EXIST),
        (Err(Errno::WOULDBLOCK), _) => {
            // The process that has the lock may only be checking the file. Then it would not remove
            // the file, so this function does.
            let _ = retry_on_intr(|| unlinkat(directory, name, AtFlags::empty()));
            Err(Errno::EXIST)
        }
        _ => Ok(()),
    }
}

/// Sets the permission bits of an open file or directory, if they differ. File systems without
/// permission bits, or with one owner for all files, may refuse. The object then keeps its bits.
pub(super) fn set_mode(object: impl AsFd, bits: Mode) -> Result<(), Errno> {
    let now = root::metadata_of(&object)?.mode;
    if now == bits.as_raw_mode() {
        return Ok(());
    }
    match retry_on_intr(|| fchmod(&object, bits)) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(()),
        changed => changed,
    }
}

/// Calls `act` with random temporary names until it returns anything but EEXIST, at most
/// [`ATTEMPTS`] times.
fn with_temporary_name<T>(act: impl Fn(&[u8]) -> Result<T, Errno>) -> Result<(T, Vec<u8>), Errno> {
    for _ in 0..ATTEMPTS {
        let name = name::temporary()?;
        match act(&name) {
            Err(Errno::EXIST) => {}
            done => return done.map(|value| (value, name)),
        }
    }
    Err(Errno::EXIST)
}

/// Gives a nameless file the name `name`, or returns EEXIST if the name is taken.
///
/// Identifies the file by its descriptor if the kernel allows that (since Linux 6.10, and always
/// for the user root), otherwise by the descriptor's link in `/proc`.
fn link(file: impl AsFd, directory: &Directory, name: &[u8]) -> Result<(), Errno> {
    let file = file.as_fd();
    match retry_on_intr(|| linkat(file, "", directory, name, AtFlags::EMPTY_PATH)) {
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            retry_on_intr(|| linkat(CWD, &*link, directory, name, AtFlags::SYMLINK_FOLLOW))
        }
        done => done,
    }
}
