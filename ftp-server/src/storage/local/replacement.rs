//! An upload that takes its name when it is whole.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    Access, AtFlags, CWD, Mode, OFlags, accessat, copy_file_range, fchmod, fsync, linkat, openat,
    renameat, unlinkat,
};
use rustix::io::{Errno, pread, retry_on_intr, write};

use super::directory::Directory;
use super::output::Output;
use super::target::Target;
use super::{SyncPolicy, as_kind, creation, existing, name, needs_file, root, system};
use crate::pace::Pace;
use crate::storage::{Metadata, StorageError, StorageErrorKind, StreamEnd, Upload, WriteMode};

/// How often another random name is tried when one is taken.
const ATTEMPTS: u32 = 16;

/// How many bytes are copied at a time, at first and at most: file systems that share blocks
/// copy any number at once.
const COPY: u64 = 1024 * 1024;
const COPY_MAX: u64 = 1024 * 1024 * 1024;

/// A buffer for file systems that cannot copy by themselves, in bytes.
const COPY_BUFFER: usize = 256 * 1024;

/// A new file in the directory of its target. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Replacement {
    directory: Directory,
    name: Vec<u8>,
    output: Output,
    /// What of the old content has yet to be copied.
    copying: Option<Copying>,
    /// Its temporary name, while it has one.
    temporary: Option<Vec<u8>>,
    /// Whether its own name is known to be taken, by the file that it replaces.
    taken: bool,
    /// What to say if the name is taken and must not be.
    refusal: Option<StorageErrorKind>,
}

/// The beginning of the old file, on its way to the new one.
#[derive(Debug)]
struct Copying {
    old: OwnedFd,
    at: u64,
    length: u64,
    pace: Pace,
}

impl Replacement {
    /// Makes the temporary file. With [`WriteMode::From`] it is to begin with a part of the old
    /// one, which [`prepare`](Upload::prepare) copies.
    pub(super) fn begin(
        target: Target,
        mode: WriteMode,
        sync: SyncPolicy,
    ) -> Result<Self, StorageError> {
        let Target { directory, name, existing: old } = target;
        if old.is_some() {
            check_writable(&directory, &name)?;
        }
        let (file, temporary) = make(&directory).map_err(creation)?;
        let refusal = match mode {
            WriteMode::Create => Some(StorageErrorKind::Exists),
            // There was nothing to append to. If there is now, it is not to be lost.
            WriteMode::Append => Some(StorageErrorKind::Busy),
            WriteMode::Replace | WriteMode::From(_) => None,
        };
        let keep = if let WriteMode::From(keep) = mode { keep } else { 0 };
        let output = Output::new(file, 0, sync);
        let taken = old.is_some();
        let mut new = Self { directory, name, output, copying: None, temporary, taken, refusal };
        if let Some(Metadata { mode, .. }) = old {
            let mode = Mode::from_raw_mode(mode & 0o777);
            retry_on_intr(|| fchmod(&new.output, mode)).map_err(system)?;
        }
        if keep > 0 {
            let old = new.open_old()?;
            let pace = Pace::new(COPY, COPY_MAX);
            new.copying = Some(Copying { old, at: 0, length: keep, pace });
        }
        Ok(new)
    }

    /// Opens the file that has the name now.
    fn open_old(&self) -> Result<OwnedFd, StorageError> {
        let flags =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let old = retry_on_intr(|| openat(&self.directory, &*self.name, flags, Mode::empty()));
        let old = old.map_err(existing)?;
        needs_file(root::metadata_of(&old).map_err(system)?.kind)?;
        Ok(old)
    }

    /// Copies all that has yet to be copied.
    fn finish_copying(&mut self) -> Result<(), StorageError> {
        while !self.prepare()? {}
        Ok(())
    }

    /// Gives the file its name, in one step.
    fn publish(&mut self) -> Result<(), StorageError> {
        let refuse = |errno, refusal: Option<StorageErrorKind>| match (errno, refusal) {
            (Errno::EXIST, Some(kind)) => as_kind(kind, errno),
            _ => creation(errno),
        };
        self.directory.check_beneath().map_err(system)?;
        let temporary = match &self.temporary {
            Some(temporary) => temporary.clone(),
            None => {
                if !self.taken {
                    match link(&self.output, &self.directory, &self.name) {
                        Err(Errno::EXIST) if self.refusal.is_none() => {}
                        done => return done.map_err(|errno| refuse(errno, self.refusal)),
                    }
                }
                // A link cannot replace; only a rename can.
                let link = |name: &[u8]| link(&self.output, &self.directory, name);
                let ((), temporary) = with_temporary_name(link).map_err(creation)?;
                self.temporary.insert(temporary).clone()
            }
        };
        let directory = &self.directory;
        match self.refusal {
            Some(_) => directory.rename_new(&temporary, directory, &self.name),
            None => retry_on_intr(|| renameat(directory, &*temporary, directory, &*self.name)),
        }
        .map_err(|errno| refuse(errno, self.refusal))?;
        self.temporary = None;
        Ok(())
    }
}

impl io::Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.finish_copying().map_err(|error| match error {
            StorageError { source: Some(source), .. } => source,
            StorageError { kind, .. } => io::Error::other(kind),
        })?;
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Replacement {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        let Some(Copying { old, at, length, pace }) = &mut self.copying else { return Ok(true) };
        let left = *length - *at;
        let copied = pace.step(|most| copy(&*old, &self.output, *at, left.min(most)));
        match copied.map_err(system)? {
            // It has become shorter.
            0 if left > 0 => return Err(StorageErrorKind::BadRestart.into()),
            copied => {
                *at += copied;
                self.output.advance(copied);
            }
        }
        if at == length {
            self.copying = None;
        }
        Ok(self.copying.is_none())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.finish_copying()?;
        self.output.sync().map_err(system)?;
        let directory = match self.output.syncs_directory() {
            true => Some(self.directory.readable().map_err(system)?),
            false => None,
        };
        self.publish()?;
        if let Some(directory) = directory {
            retry_on_intr(|| fsync(&directory)).map_err(system)?;
        }
        Ok(())
    }

    fn abort(self: Box<Self>, _end: StreamEnd) {}
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Only ever this name, which nobody else has. If it stays, it stays hidden.
            let _ = retry_on_intr(|| unlinkat(&self.directory, &**temporary, AtFlags::empty()));
        }
    }
}

/// Refuses to replace a file that may not be written, though its directory may.
fn check_writable(directory: &Directory, name: &[u8]) -> Result<(), StorageError> {
    match retry_on_intr(|| accessat(directory, name, Access::WRITE_OK, AtFlags::empty())) {
        Err(errno) if errno != Errno::NOENT => Err(existing(errno)),
        _ => Ok(()),
    }
}

/// Makes an empty file, without a name where the file system can, else with a temporary one.
fn make(directory: &Directory) -> Result<(OwnedFd, Option<Vec<u8>>), Errno> {
    let mode = Mode::from_raw_mode(0o666);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if directory.root().has_unnamed_files() {
        let flags = flags | OFlags::TMPFILE;
        match retry_on_intr(|| openat(directory, ".", flags, mode)) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
            made => return made.map(|file| (file, None)),
        }
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let make = |name: &[u8]| retry_on_intr(|| openat(directory, name, flags, mode));
    with_temporary_name(make).map(|(file, name)| (file, Some(name)))
}

/// Does something with a temporary name that nobody has; EEXIST tells that somebody has it.
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

/// Gives a file without a name this one, if nothing has it.
///
/// By its descriptor where the kernel lets whoever opened a file do so (Linux 6.10, and always
/// root); else by the link that `/proc` has for it.
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

/// Copies at most `length` bytes at `at` of one file to the offset of the other. Returns how
/// many; none if the first ends there.
fn copy(from: impl AsFd, to: impl AsFd, at: u64, length: u64) -> Result<u64, Errno> {
    let step = usize::try_from(length).unwrap_or(usize::MAX);
    let mut offset = at;
    match retry_on_intr(|| copy_file_range(&from, Some(&mut offset), &to, None, step)) {
        Ok(0) => copy_by_hand(from, to, at, length),
        Ok(_) => Ok(offset - at),
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => Err(errno),
        // Not between these files, or not on this kernel.
        Err(_) => copy_by_hand(from, to, at, length),
    }
}

/// As [`copy`], with a buffer and so no more than that holds.
fn copy_by_hand(from: impl AsFd, to: impl AsFd, at: u64, length: u64) -> Result<u64, Errno> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(COPY_BUFFER)];
    let got = retry_on_intr(|| pread(&from, &mut *buffer, at))?;
    let mut rest = buffer.get(..got).unwrap_or_default();
    while !rest.is_empty() {
        let written = retry_on_intr(|| write(&to, rest))?;
        if written == 0 {
            return Err(Errno::IO);
        }
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(u64::try_from(got).unwrap_or(u64::MAX))
}
