//! A local file that receives a download: it gets its name when it is complete. Until then, it has no
//! name where the file system has such files, else a temporary one.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use ftp_proto::HiddenFile;

use super::journal::LocalFacts;
use super::options::Left;
use super::partial::{Growing, PartialFile, is_at, named, remove_empty};
use super::record::{Record, parent, remove_sidecar};
use crate::system::{
    ALONE, FileId, OpenOptionsExt, OsStrExt, check_directory, check_path, close_copy, file_id,
    is_mount_point, is_same, lock, lockable, name_file, nameless, rename_new, take_over, unlock,
};
use crate::{random, unpoisoned};

/// A local file that receives a download.
///
/// [`commit`](Self::commit) gives the complete file its name. Until then, an existing file is
/// unchanged, except in place. If the `LocalFile` is dropped before that,
/// the received bytes are removed or kept, depending on the constructor.
///
/// A file that replaces another takes over its permissions and, if allowed, its owner.
#[derive(Debug)]
pub(crate) struct LocalFile(Kind);

#[derive(Debug)]
enum Kind {
    /// A temporary file that is renamed, or removed when dropped.
    Replacing(Temporary),
    /// A partial file, which is renamed, or kept when dropped.
    Part(Part),
    InPlace(Growing),
}

/// Returns the mode of a new file that will replace `old`.
pub(super) fn mode_beside(old: Option<&Metadata>) -> u32 {
    if old.is_some() { 0o600 } else { 0o666 }
}

/// Returns the error if no complete file can get this name, before a byte is received in vain.
fn check_replaceable(target: &Path) -> io::Result<()> {
    check_directory(parent(target))?;
    match is_mount_point(target) {
        true => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "a mount point can only be written in place",
        )),
        false => Ok(()),
    }
}

#[derive(Debug)]
struct Part {
    growing: Growing,
    target: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // An empty file is useless for resuming. After a rename, the path no longer leads to the
        // file, so nothing is removed.
        remove_empty(self.growing.partial.file(), &self.growing.path);
    }
}

/// What may be replaced at the target of a download.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Replaceable {
    Nothing,
    Any,
    /// Only what had the name when the server's file was found to be newer or another one.
    Seen(Option<LocalFacts>),
}

impl From<bool> for Replaceable {
    fn from(replaces: bool) -> Self {
        if replaces { Self::Any } else { Self::Nothing }
    }
}

impl Replaceable {
    /// Looks at what has the name `target` now, before it is compared with the server's file.
    pub(super) fn seen(target: &Path) -> Self {
        Self::Seen(fs::symlink_metadata(target).ok().map(|found| LocalFacts::of(&found)))
    }

    /// Returns whether what has the name `target` now is replaced.
    fn replaces(self, target: &Path) -> io::Result<bool> {
        let Self::Seen(seen) = self else { return Ok(matches!(self, Self::Any)) };
        match fs::symlink_metadata(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Ok(now) if !seen.is_some_and(|seen| seen.has_content_of(&LocalFacts::of(&now))) => {
                let message = "another program changed it during the download, so it stays";
                let error = io::Error::new(io::ErrorKind::AlreadyExists, message);
                Err(named(target, &error))
            }
            now => now.map(|_| true),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Committed {
    Done,
    /// Another file has the name and must not be replaced.
    Exists,
}

impl LocalFile {
    /// Creates a temporary file, to which [`commit`](Self::commit) gives the name `target`; it has
    /// the permissions of the file at `like`.
    ///
    /// If it is dropped before [`commit`](Self::commit), nothing is left.
    ///
    /// # Errors
    ///
    /// Returns the system's error if no file can be created next to `target`.
    pub(super) fn replacing_like(target: &Path, like: &Path) -> io::Result<Self> {
        check_replaceable(target)?;
        Temporary::make(target, like).map(Kind::Replacing).map(Self)
    }

    /// Opens the partial file at `path` for the file at `target`. It must have `length` bytes, or
    /// be missing if `length` is 0; its first `offset` bytes are kept.
    ///
    /// Received bytes stay when the `LocalFile` is dropped. `record` describes the server's file
    /// and is stored with the local one.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the file cannot be created or opened, or if another program is
    /// writing to it.
    pub(super) fn part(
        path: PathBuf,
        target: &Path,
        lengths: (u64, u64),
        record: Option<Record>,
    ) -> io::Result<Self> {
        Self::part_like(path, (target, target), lengths, record)
    }

    /// Opens a partial file as [`part`](Self::part) does; it has the permissions of the file at
    /// `like`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`part`](Self::part).
    pub(super) fn part_like(
        path: PathBuf,
        (target, like): (&Path, &Path),
        (length, offset): (u64, u64),
        record: Option<Record>,
    ) -> io::Result<Self> {
        check_path(target)?;
        check_replaceable(target).map_err(|error| named(target, &error))?;
        let old = fs::metadata(like).ok();
        let mode = mode_beside(old.as_ref());
        let growing = Growing::open(path, length, offset, mode, record)?;
        if let Some(old) = old {
            take_over(growing.partial.file(), &old)
                .map_err(|error| named(&growing.path, &error))?;
        }
        Ok(Self(Kind::Part(Part { growing, target: target.to_owned() })))
    }

    /// Opens the file at `path` itself. The file must have `length` bytes, or be missing if
    /// `length` is 0; its first `offset` bytes are kept.
    ///
    /// Received bytes stay when the `LocalFile` is dropped.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the file cannot be opened, or if another program is writing to
    /// it.
    pub(super) fn in_place(
        path: &Path,
        (length, offset): (u64, u64),
        record: Option<Record>,
    ) -> io::Result<Self> {
        let growing = Growing::open(path.to_owned(), length, offset, 0o666, record);
        growing.map(Kind::InPlace).map(Self)
    }

    /// Returns the path of the file that holds the received bytes until [`commit`](Self::commit);
    /// `None` if it has no name yet.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Replacing(temporary) => temporary.path.as_deref(),
            Kind::Part(part) => Some(&part.growing.path),
            Kind::InPlace(growing) => Some(&growing.path),
        }
    }

    /// Returns the file, which is open for reading too, unless its permissions forbid that.
    pub(crate) fn file(&self) -> &File {
        match &self.0 {
            Kind::Replacing(temporary) => &temporary.file,
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => growing.partial.file(),
        }
    }

    pub(crate) fn target(&self) -> &Path {
        match &self.0 {
            Kind::Replacing(temporary) => &temporary.target,
            Kind::Part(part) => &part.target,
            Kind::InPlace(growing) => &growing.path,
        }
    }

    /// Returns whether received bytes stay when the `LocalFile` is dropped. A later download can
    /// then resume.
    pub(crate) const fn is_kept(&self) -> bool {
        !matches!(self.0, Kind::Replacing(_))
    }

    /// Sets the modification time. Call this method after writing the last byte.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the time cannot be set.
    pub(crate) fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        set_modified(self.file(), time)
    }

    const fn partial(&self) -> Option<&PartialFile> {
        match &self.0 {
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => Some(&growing.partial),
            Kind::Replacing(_) => None,
        }
    }

    const fn partial_mut(&mut self) -> Option<&mut PartialFile> {
        match &mut self.0 {
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => Some(&mut growing.partial),
            Kind::Replacing(_) => None,
        }
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file().metadata()?.len())
    }

    /// Prepares the file for another download, which keeps the first `offset` bytes.
    ///
    /// # Errors
    ///
    /// Returns the system's error if a temporary file cannot be truncated.
    pub(super) fn again(&mut self, offset: u64) -> io::Result<()> {
        match self.partial_mut() {
            Some(partial) => partial.again(offset),
            None => self.cut(offset)?,
        }
        Ok(())
    }

    /// Keeps only the first `length` bytes, all of them received by this download.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        match &mut self.0 {
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => {
                growing.partial.cut(length)
            }
            Kind::Replacing(Temporary { file, .. }) => {
                file.set_len(length)?;
                file.seek(SeekFrom::Start(length)).map(drop)
            }
        }
    }

    /// Truncates a partial file as its first byte would, and stores its record.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.partial_mut().map_or(Ok(()), |partial| partial.begun().map(drop))
    }

    /// Returns what is left if the file is dropped.
    pub(super) fn left(&self) -> Left {
        match &self.0 {
            Kind::Part(part) if self.length().is_ok_and(|length| length > 0) => {
                Left::Part(part.growing.path.clone())
            }
            Kind::InPlace(_) if self.length().is_ok_and(|length| length > 0) => Left::InPlace,
            _ => Left::Nothing,
        }
    }

    /// Returns the path that shows the file to the user.
    pub(super) fn path_or_target(&self) -> &Path {
        self.path().unwrap_or_else(|| self.target())
    }

    /// Writes the received bytes to disk and records them, so that a later run can resume them.
    ///
    /// # Errors
    ///
    /// Returns the system's error. A later run then resumes fewer bytes.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.partial_mut().map_or(Ok(()), PartialFile::settle)
    }

    /// As [`settle`](Self::settle), at the end of an attempt: see [`PartialFile::end`].
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.partial_mut().map_or(Ok(()), PartialFile::end)
    }

    /// Syncs the complete file to disk.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.begin()?;
        match self.partial_mut() {
            Some(partial) => partial.sync(File::sync_all),
            None => self.file().sync_all(),
        }
    }

    /// Returns whether the system has failed to write received bytes to disk.
    pub(super) fn has_failed(&self) -> bool {
        self.partial().is_some_and(PartialFile::has_failed)
    }

    /// Removes the bytes that arrived after the offset at which the download resumed: see
    /// [`PartialFile::restore`].
    pub(super) fn restore(&mut self) -> bool {
        self.partial_mut().is_none_or(PartialFile::restore)
    }

    /// Removes received bytes that are known to be wrong. Removes the partial or temporary file as a
    /// whole. After a download in place, removes the bytes after the offset at which it resumed, and
    /// the record, which would prove the wrong bytes to a later run. Returns false if they stay.
    pub(crate) fn discard(&mut self) -> bool {
        match &mut self.0 {
            Kind::InPlace(Growing { partial, path, .. }) => {
                let is_restored = partial.restore();
                Record::remove(partial.file(), path);
                return is_restored;
            }
            Kind::Part(Part { growing: Growing { partial, path, .. }, .. })
                if is_at(partial.file(), path) =>
            {
                let _ = fs::remove_file(&*path);
                remove_sidecar(path);
            }
            Kind::Part(_) | Kind::Replacing(_) => {}
        }
        true
    }

    /// Gives the file its name.
    ///
    /// If another file has the name, it is replaced if `replaces` allows that. With
    /// [`Replaceable::Nothing`], the result is [`Committed::Exists`], and the received bytes are removed.
    /// A file opened by [`in_place`](Self::in_place) already has its name.
    ///
    /// # Errors
    ///
    /// Returns the system's error. After an error, an existing file is unchanged, except with
    /// [`in_place`](Self::in_place).
    pub(crate) fn commit(&mut self, replaces: impl Into<Replaceable>) -> io::Result<Committed> {
        let replaces = replaces.into();
        if let Kind::InPlace(growing) = &mut self.0 {
            growing.keep();
        }
        self.begin()?;
        close_copy(self.file())?;
        let done = match &mut self.0 {
            Kind::InPlace(growing) => {
                growing.partial.complete();
                Ok(())
            }
            Kind::Part(Part { growing, target }) => {
                if growing.path.exists() && !is_at(growing.partial.file(), &growing.path) {
                    let message = "another program replaced it during the download";
                    return Err(named(&growing.path, &io::Error::other(message)));
                }
                growing.partial.complete();
                rename(&growing.path, target, replaces)
                    .inspect_err(|_| growing.partial.incomplete())
            }
            Kind::Replacing(temporary) => temporary.publish(replaces),
        };
        match done {
            // The owner and the name have changed since.
            Ok(()) => close_copy(self.file()).map(|()| Committed::Done),
            Err(error)
                if matches!(replaces, Replaceable::Nothing)
                    && error.kind() == io::ErrorKind::AlreadyExists =>
            {
                self.discard();
                Ok(Committed::Exists)
            }
            Err(error) => Err(error),
        }
    }
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Replacing(temporary) => temporary.file.write(bytes),
            Kind::Part(Part { growing, .. }) | Kind::InPlace(growing) => {
                growing.partial.write(bytes)
            }
        }
    }

    /// Does nothing: [`commit`](Self::commit) syncs the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sets the modification time of a file. The access time is set too: with libfuse 2, many file
/// systems ignore a change of only one time, and report success.
pub(crate) fn set_modified(file: &File, time: SystemTime) -> io::Result<()> {
    file.set_times(FileTimes::new().set_accessed(SystemTime::now()).set_modified(time))
}

pub(super) fn rename(from: &Path, to: &Path, replaces: Replaceable) -> io::Result<()> {
    if replaces.replaces(to)? {
        return fs::rename(from, to);
    }
    // A hard link has the same effect.
    rename_new(from, to).unwrap_or_else(|| match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => rename_onto_own(from, to),
    })
}

/// Gives the file that has the name `from` the free name `to`, in one step. Another program can give
/// its own file that name at any moment: of a link and a removal, the second would remove that file.
pub(super) fn take_aside(from: &Path, to: &Path) -> io::Result<()> {
    rename_new(from, to).unwrap_or_else(|| rename_onto_own(from, to))
}

/// Renames a file onto an empty one that this call creates, so that no file of another program is
/// replaced, on a file system with neither `RENAME_NOREPLACE` nor hard links.
fn rename_onto_own(from: &Path, to: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = lockable(&mut options).write(true).create_new(true).mode(0o600).open(to)?;
    let own = file.metadata()?;
    // Windows renames no file onto one that is open, where it lacks both (exFAT, FAT).
    let _held = cfg!(unix).then_some(file);
    let is_free =
        || fs::symlink_metadata(to).is_ok_and(|now| now.len() == 0 && is_same(&own, &now));
    if !is_free() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to).inspect_err(|_| {
        if is_free() {
            let _ = fs::remove_file(to);
        }
    })
}

/// The number of temporary names to try.
const NAMES: usize = 16;

#[derive(Debug)]
struct Temporary {
    file: File,
    /// The temporary name; `None` for a file without any name, of which a killed process leaves
    /// nothing.
    path: Option<PathBuf>,
    target: PathBuf,
}

impl Temporary {
    /// Creates a file next to `target`. Only its owner can read it until it has the permissions of
    /// `like`, the file that it will replace.
    fn make(target: &Path, like: &Path) -> io::Result<Self> {
        let old = fs::metadata(like).ok();
        let mode = mode_beside(old.as_ref());
        let made = match nameless(parent(target), mode) {
            Some(file) => Self::of(file, None, target),
            None => Self::named(target, mode)?,
        };
        if let Some(old) = &old {
            take_over(&made.file, old)?;
        }
        Ok(made)
    }

    fn of(file: File, path: Option<PathBuf>, target: &Path) -> Self {
        Self { file, path, target: target.to_owned() }
    }

    fn named(target: &Path, mode: u32) -> io::Result<Self> {
        let directory = parent(target);
        clear(directory);
        let mut last = None;
        for _ in 0..NAMES {
            let path = temporary_name(directory);
            // The umask restricts the mode.
            let mut options = OpenOptions::new();
            lockable(&mut options).read(true).write(true).create_new(true).mode(mode);
            match options.open(&path) {
                Ok(file) => {
                    hold(&file);
                    return Ok(Self::of(file, Some(path), target));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
    }

    fn publish(&mut self, replaces: Replaceable) -> io::Result<()> {
        if self.path.is_none() {
            // `linkat` never replaces a file.
            match name_file(&self.file, &self.target) {
                Err(error)
                    if !matches!(replaces, Replaceable::Nothing)
                        && error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => return linked,
            }
            hold(&self.file);
            let mut name = temporary_name(parent(&self.target));
            for _ in 0..NAMES {
                match name_file(&self.file, &name) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        name = temporary_name(parent(&self.target));
                    }
                    linked => {
                        linked?;
                        break;
                    }
                }
            }
            self.path = Some(name);
        }
        let Some(path) = &self.path else { return Ok(()) };
        rename(path, &self.target, replaces)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
        unlock(&self.file);
    }
}

/// Locks a temporary file, which shows other programs that it is in use. Locking fails only on file
/// systems without locks.
fn hold(file: &File) {
    let _ = lock(file);
}

fn temporary_name(directory: &Path) -> PathBuf {
    let number = random::number();
    directory.join(format!("{}{number:016x}", HiddenFile::CLIENT))
}

/// Removes the temporary files that killed processes left in a directory: those that no process
/// has locked. Looks once in each directory.
fn clear(directory: &Path) {
    static LAST: Mutex<Option<FileId>> = Mutex::new(None);
    let Ok(id) = file_id(directory).map(Some) else { return };
    let mut last = unpoisoned(LAST.lock());
    if *last == id {
        return;
    }
    *last = id;
    drop(last);
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().as_bytes();
        // Records have the prefix, too, and a longer name.
        let digits = name.strip_prefix(HiddenFile::CLIENT.as_bytes()).unwrap_or_default();
        if digits.len() != 16 || HiddenFile::of(name).is_none() {
            continue;
        }
        let mut options = OpenOptions::new();
        let opened = lockable(&mut options).write(true).custom_flags(ALONE).open(&path);
        let Ok(file) = opened else { continue };
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file && lock(&file).is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use ftp_proto::TimeVal;

    use super::super::evidence::{Fit, Origin};
    use super::*;

    fn names_in(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_local_file_replaces_the_old_one_or_leaves_no_trace_li_07_cl_53() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4640)).unwrap();

        let mut file = LocalFile::replacing_like(&path, &path).unwrap();
        file.write_all(b"half").unwrap();
        // Only the owner can read it, from the first byte on.
        let mode = file.file().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        drop(file);
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut file = LocalFile::replacing_like(&path, &path).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn no_file_is_replaced_where_the_file_system_lacks_both_ways_to_avoid_it() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("new"), root.path().join("f"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        let refused = rename_onto_own(&from, &to).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"old");
        fs::remove_file(&to).unwrap();
        rename_onto_own(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert_eq!(names_in(root.path()), ["f"]);
    }

    #[test]
    fn a_part_stays_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut file = LocalFile::part(root.path().join("f.part"), &path, (0, 0), None).unwrap();
        file.write_all(b"abcdef").unwrap();
        drop(file);
        assert_eq!(names_in(root.path()), ["f.part"]);
        let mut file = LocalFile::part(root.path().join("f.part"), &path, (6, 4), None).unwrap();
        file.write_all(b"EF").unwrap();
        file.commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"abcdEF");
    }

    #[test]
    fn a_part_is_not_truncated_before_the_first_byte_nor_left_empty() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let part = root.path().join("f.part");
        drop(LocalFile::part(root.path().join("f.part"), &path, (0, 0), None).unwrap());
        assert!(names_in(root.path()).is_empty());
        fs::write(&part, "abcdef").unwrap();
        drop(LocalFile::part(root.path().join("f.part"), &path, (6, 0), None).unwrap());
        assert_eq!(fs::read(&part).unwrap(), b"abcdef");
        // An empty file can be committed too.
        LocalFile::part(root.path().join("f.part"), &path, (6, 0), None)
            .unwrap()
            .commit(true)
            .unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_part_takes_over_the_permissions_of_the_file_it_replaces() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old and private").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut file = LocalFile::part(root.path().join("f.part"), &path, (0, 0), None).unwrap();
        file.write_all(b"new").unwrap();
        file.commit(true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_file_that_could_not_be_synced_gets_no_name_and_proves_nothing_as_09() {
        let root = tempfile::tempdir().unwrap();
        let (path, part) = (root.path().join("f"), root.path().join("f.part"));
        let record = Record::of_test(Origin::new(Some(3), TimeVal::from_unix_seconds(1)));
        let new = LocalFile::part(part.clone(), &path, (0, 0), Some(record.clone())).unwrap();
        let in_place = LocalFile::in_place(&path, (0, 0), Some(record.clone())).unwrap();
        for (mut file, at) in [(new, &part), (in_place, &path)] {
            file.write_all(b"new").unwrap();
            let failed = file.partial_mut().unwrap().sync(|_| Err(io::Error::other("EIO")));
            assert!(failed.is_err() && file.has_failed());
            assert_eq!(file.sync().unwrap_err().to_string(), "EIO");
            let file = File::open(at).unwrap();
            let stored = Record::read(&file, at).unwrap();
            assert!(stored.is_part());
            assert_eq!(record.fit(&stored, &file), Fit::Fits { kept: 0 });
        }
        assert_eq!(names_in(root.path()).iter().filter(|name| name.starts_with('f')).count(), 2);
    }

    #[test]
    fn two_writers_cannot_resume_the_same_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut first = LocalFile::part(root.path().join("f.part"), &path, (0, 0), None).unwrap();
        first.write_all(b"abc").unwrap();
        for length in [0, 3] {
            let error = LocalFile::part(root.path().join("f.part"), &path, (length, length), None)
                .unwrap_err();
            assert!(error.to_string().contains("f.part: another program"), "{error}");
        }
        first.commit(true).unwrap();
        drop(first);
        let mut first = LocalFile::in_place(&path, (3, 3), None).unwrap();
        first.write_all(b"def").unwrap();
        assert!(LocalFile::in_place(&path, (6, 6), None).is_err());
        first.commit(true).unwrap();
        drop(first);
        assert!(
            LocalFile::in_place(&path, (3, 3), None).is_err(),
            "it grew since it was looked at"
        );
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
    }

    #[test]
    fn a_commit_without_overwrite_keeps_a_file_created_meanwhile() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut file = LocalFile::replacing_like(&path, &path).unwrap();
        file.write_all(b"new").unwrap();
        fs::write(&path, "another's").unwrap();
        assert_eq!(file.commit(false).unwrap(), Committed::Exists);
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        fs::remove_file(&path).unwrap();
        let mut file = LocalFile::replacing_like(&path, &path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(file.commit(false).unwrap(), Committed::Done);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_failed_commit_is_not_reported_as_an_existing_file() {
        for replaces in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let directory = root.path().join("d");
            fs::create_dir(&directory).unwrap();
            let mut file =
                LocalFile::part(directory.join("f.part"), &directory.join("f"), (0, 0), None)
                    .unwrap();
            file.write_all(b"new").unwrap();
            fs::remove_dir_all(&directory).unwrap();
            assert_eq!(file.commit(replaces).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_file_written_in_place_is_not_truncated_before_the_first_byte() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old").unwrap();
        let mut file = LocalFile::in_place(&path, (3, 0), None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.write_all(b"ne").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ne");
        file.commit(true).unwrap();
        drop(file);
        LocalFile::in_place(&path, (2, 0), None).unwrap().commit(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_killed_download_leaves_no_temporary_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let left = root.path().join(".ftp-client-00000000000000ff");
        let other = root.path().join(".ftp-client-00000000000000FE");
        fs::write(&left, "left by a killed process").unwrap();
        fs::write(&other, "not ours").unwrap();
        // With a name: the next download removes what a killed one left, but nothing in use.
        let used = Temporary::named(&path, 0o600).unwrap();
        assert!(!left.exists() && other.exists());
        assert!(used.path.as_ref().is_some_and(|path| path.exists()));
        drop(used);
        // Without a name: there is nothing to leave.
        let Some(file) = nameless(root.path(), 0o600) else { return };
        let mut unnamed = Temporary::of(file, None, &path);
        unnamed.file.write_all(b"new").unwrap();
        assert_eq!(names_in(root.path()), [".ftp-client-00000000000000FE"]);
        fs::write(&path, "old").unwrap();
        assert_eq!(unnamed.publish(false.into()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        unnamed.publish(true.into()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names_in(root.path()), [".ftp-client-00000000000000FE", "f"]);
    }
}
