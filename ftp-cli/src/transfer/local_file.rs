//! What the bytes of a download are written to, and how they become a file at the end.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation, Mode, RenameFlags, fchmod, flock, renameat_with};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::part_origin::Origin;
use super::target::{Target, parent, part_of};
use crate::console::output::Output;
use crate::console::signals::Cleanup;
use crate::display::shown_path;
use crate::exit::Failure;

/// How much is compared at a time, in bytes.
const BLOCK: usize = 256 * 1_024;

/// Something that takes the bytes of a download and makes them a file at the end.
pub(crate) enum Sink {
    Output(Output),
    Direct(File, PathBuf),
    /// A temporary file that is renamed; dropping it removes it.
    Replacing(Temporary),
    /// `NAME.part`, which is renamed; what is in it stays when it is dropped.
    Part(Part),
    /// A file that is written as it is, from its start or from where it ends.
    InPlace(Growing),
}

/// A file without its final name yet.
pub(crate) struct Temporary {
    file: NamedTempFile,
    target: PathBuf,
    cleanup: Cleanup,
}

/// A file that is made longer, locked.
pub(crate) struct Growing {
    file: File,
    pub(crate) path: PathBuf,
    /// Where the first byte goes. What stands behind it now stays until that comes.
    start: Option<u64>,
    /// The same, also once that byte came.
    offset: u64,
    /// What it is the beginning of, to be written down with the first byte.
    origin: Option<Origin>,
    /// Whether it was made for this, and goes again if nothing comes.
    is_new: bool,
}

impl Growing {
    /// The file, with nothing behind the place of the first byte.
    fn begun(&mut self) -> io::Result<&mut File> {
        if let Some(start) = self.start {
            self.file.set_len(start)?;
            if let Some(origin) = self.origin.take() {
                origin.write_to(&self.file);
            }
            self.start = None;
        }
        Ok(&mut self.file)
    }

    /// Takes away what came, and leaves what was there before.
    fn restore(&self) {
        if self.start.is_none() && self.offset > 0 {
            // What cannot be cut off now is cut off, or found to be too long, by the next try.
            let _ = self.file.set_len(self.offset);
        }
    }

    /// Whether all that came is what the file begins with: then the server may have sent it from
    /// its start, although it agreed to another offset.
    fn is_repeated(&self) -> io::Result<bool> {
        if self.start.is_some() || self.offset == 0 {
            return Ok(false);
        }
        let file = File::open(&self.path)?;
        let length = file.metadata()?.len().saturating_sub(self.offset).min(self.offset);
        let (mut first, mut came) = (vec![0; BLOCK], vec![0; BLOCK]);
        let mut at = 0;
        while at < length {
            let piece = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
            let first = first.get_mut(..piece).unwrap_or_default();
            let came = came.get_mut(..piece).unwrap_or_default();
            file.read_exact_at(first, at)?;
            file.read_exact_at(came, self.offset + at)?;
            if first != came {
                return Ok(false);
            }
            at += piece as u64;
        }
        Ok(length > 0)
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.is_new {
            remove_empty(&self.file, &self.path);
        }
    }
}

/// `NAME.part`.
pub(crate) struct Part {
    pub(crate) growing: Growing,
    target: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // There is nothing in it to go on with. Once it was renamed this is not its path any more.
        remove_empty(&self.growing.file, &self.growing.path);
    }
}

fn remove_empty(file: &File, path: &Path) {
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) && is_at(file, path) {
        let _ = fs::remove_file(path);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.file.path());
        self.cleanup.release(self.file.path());
    }
}

/// What became of a file that was to get its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Committed {
    Done,
    /// Another has the name, and was not to be replaced.
    Exists,
}

impl Sink {
    /// What a download that starts at 0 is written to.
    ///
    /// # Errors
    ///
    /// `Local` if the file cannot be made or opened.
    pub(crate) fn open(
        target: Target,
        output: &Output,
        cleanup: &Cleanup,
    ) -> Result<Self, Failure> {
        match target {
            Target::Output => Ok(Self::Output(output.clone())),
            Target::Direct(path) => {
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.map_err(|error| Failure::local(shown_path(&path), &error))?;
                Ok(Self::Direct(file, path))
            }
            Target::File(path) => {
                // The umask takes its share.
                let new = Permissions::from_mode(0o666);
                let old = fs::metadata(&path).ok();
                let made = cleanup.guard(|| {
                    let mut builder = tempfile::Builder::new();
                    builder.prefix(".ftp-cli-").permissions(new);
                    let file = builder.tempfile_in(parent(&path))?;
                    if let Some(old) = &old {
                        take_over(file.as_file(), old)?;
                    }
                    Ok(file)
                });
                let made = made.map_err(|error| {
                    let parent = shown_path(parent(&path));
                    Failure::local(format_args!("cannot make a file in {parent}"), &error)
                })?;
                let cleanup = cleanup.clone();
                Ok(Self::Replacing(Temporary { file: made, target: path, cleanup }))
            }
        }
    }

    /// `NAME.part` for the file at `target`, in which there are `length` bytes now and `offset` of
    /// them are to stay. `origin` is what it is the beginning of.
    ///
    /// # Errors
    ///
    /// `Local` if it cannot be made or opened, or if somebody else writes to it.
    pub(crate) fn part(
        target: PathBuf,
        length: u64,
        offset: u64,
        origin: Option<Origin>,
    ) -> Result<Self, Failure> {
        let path = part_of(&target);
        let (file, is_new) = open_alone(&path, length)?;
        if let Ok(old) = fs::metadata(&target) {
            take_over(&file, &old).map_err(|error| Failure::local(shown_path(&path), &error))?;
        }
        let growing = Growing { file, path, start: Some(offset), offset, origin, is_new };
        Ok(Self::Part(Part { growing, target }))
    }

    /// The file at `path` itself, in which there are `length` bytes and `offset` of them are to
    /// stay.
    ///
    /// # Errors
    ///
    /// `Local` if it cannot be opened, or if somebody else writes to it.
    pub(crate) fn in_place(path: PathBuf, length: u64, offset: u64) -> Result<Self, Failure> {
        let (file, is_new) = open_alone(&path, length)?;
        let (start, origin) = (Some(offset), None);
        Ok(Self::InPlace(Growing { file, path, start, offset, origin, is_new }))
    }

    /// What a write to it failed with.
    pub(crate) fn failed(&self, error: &io::Error) -> Failure {
        match self {
            Self::Output(_) => Failure::output(error),
            _ => Failure::local(self.shown(), error),
        }
    }

    /// What the bytes are written to, for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Output(_) => "standard output".to_owned(),
            Self::Direct(_, path) => shown_path(path),
            Self::InPlace(growing) => shown_path(&growing.path),
            Self::Part(part) => shown_path(&part.target),
            Self::Replacing(temporary) => shown_path(&temporary.target),
        }
    }

    /// Whether bytes that were written are gone: nobody can take them back.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self, Self::Output(_) | Self::Direct(..))
    }

    /// Where its bytes can be read back, if it is a file of ours.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Output(_) | Self::Direct(..) => None,
            Self::InPlace(growing) => Some(&growing.path),
            Self::Part(part) => Some(&part.growing.path),
            Self::Replacing(temporary) => Some(temporary.file.path()),
        }
    }

    /// Sets when it was modified, to be called behind the last byte.
    ///
    /// # Errors
    ///
    /// `Local`.
    pub(crate) fn set_modified(&self, time: SystemTime) -> Result<(), Failure> {
        let file = match self {
            Self::Output(_) | Self::Direct(..) => return Ok(()),
            Self::InPlace(growing) => &growing.file,
            Self::Part(part) => &part.growing.file,
            Self::Replacing(temporary) => temporary.file.as_file(),
        };
        file.set_modified(time).map_err(|error| Failure::local(self.shown(), &error))
    }

    const fn growing(&self) -> Option<&Growing> {
        match self {
            Self::InPlace(growing) | Self::Part(Part { growing, .. }) => Some(growing),
            Self::Output(_) | Self::Direct(..) | Self::Replacing(_) => None,
        }
    }

    /// Takes away what came after the offset at which the download resumed.
    pub(crate) fn restore(&self) {
        if let Some(growing) = self.growing() {
            growing.restore();
        }
    }

    /// The same, if what came may be the beginning of the file once more.
    pub(crate) fn restore_repeated(&self) {
        if let Some(growing) = self.growing()
            && growing.is_repeated().unwrap_or(true)
        {
            growing.restore();
        }
    }

    /// Takes away what came, since it is known to be wrong, and `NAME.part` as a whole.
    pub(crate) fn discard(self) {
        self.restore();
        if let Self::Part(part) = &self
            && is_at(&part.growing.file, &part.growing.path)
        {
            let _ = fs::remove_file(&part.growing.path);
        }
    }

    /// Gives the file to the disk, and then its name: the download is whole. What has the name
    /// already is replaced if `replaces` says so.
    ///
    /// # Errors
    ///
    /// `Local`; the old file is then still there.
    pub(crate) fn commit(mut self, replaces: bool) -> Result<Committed, Failure> {
        let done = match &mut self {
            Self::Output(output) => output.flush(),
            // What cannot be synced needs no sync: FIFOs and devices say EINVAL.
            Self::Direct(file, _) => match file.sync_all() {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                synced => synced,
            },
            Self::InPlace(growing) => {
                growing.is_new = false;
                growing.begun().and_then(|file| file.sync_all())
            }
            Self::Part(Part { growing, target }) => growing
                .begun()
                .and_then(|file| {
                    Origin::remove_from(file);
                    file.sync_all()
                })
                .and_then(|()| rename(&growing.path, target, replaces)),
            Self::Replacing(Temporary { file, target, .. }) => {
                let synced = file.as_file().sync_all();
                synced.and_then(|()| rename(file.path(), target, replaces))
            }
        };
        match done {
            Ok(()) => Ok(Committed::Done),
            Err(error) if !replaces && error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Committed::Exists)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// Gives a file its name, which another may have only if it is to be replaced.
fn rename(from: &Path, to: &Path, replaces: bool) -> io::Result<()> {
    if replaces {
        return fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system has it. A second name for the file does the same.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Opens a file for appending that nobody else appends to: two that go on with the same file would
/// each take what the other wrote for its own. `length` is how long it was found to be; with the
/// file comes whether it had to be made.
fn open_alone(path: &Path, length: u64) -> Result<(File, bool), Failure> {
    let failed = |error: &io::Error| Failure::local(shown_path(path), error);
    let made = OpenOptions::new().append(true).create_new(true).open(path);
    let is_new = made.is_ok();
    let file = made.or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => OpenOptions::new().append(true).open(path),
        _ => Err(error),
    });
    let file = file.map_err(|error| failed(&error))?;
    // Where there are no locks, it is as it was found or it is not.
    let is_locked = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .is_err_and(|error| error == Errno::WOULDBLOCK);
    let is_same = file.metadata().is_ok_and(|metadata| metadata.len() == length);
    if is_locked || !is_same || !is_at(&file, path) {
        return Err(failed(&io::Error::other("another program is writing to it")));
    }
    Ok((file, is_new))
}

/// Whether `path` leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let (here, there) = (file.metadata().map(id), fs::symlink_metadata(path).map(id));
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// Gives a file the owner, where that is allowed, and the permissions of the one that it is to
/// replace; not the bits that would make a program of other content run as somebody else.
fn take_over(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    Ok(fchmod(file, Mode::from_raw_mode(old.mode() & 0o777))?)
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Output(output) => output.write(bytes),
            Self::Direct(file, _) => file.write(bytes),
            Self::InPlace(growing) => growing.begun()?.write(bytes),
            Self::Part(part) => part.growing.begun()?.write(bytes),
            Self::Replacing(temporary) => temporary.file.as_file_mut().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_sink_replaces_or_leaves_no_trace_li_07_cl_53() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4640)).unwrap();
        let cleanup = Cleanup::default();

        let output = Output::new(io::sink());
        let mut sink = Sink::open(Target::File(path.clone()), &output, &cleanup).unwrap();
        sink.write_all(b"half").unwrap();
        assert_eq!(names_in(root.path()).len(), 2);
        drop(sink);
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut sink = Sink::open(Target::File(path.clone()), &output, &cleanup).unwrap();
        sink.write_all(b"whole").unwrap();
        sink.commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_part_stays_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut sink = Sink::part(path.clone(), 0, 0, None).unwrap();
        sink.write_all(b"abcdef").unwrap();
        drop(sink);
        assert_eq!(names_in(root.path()), ["f.part"]);
        let mut sink = Sink::part(path.clone(), 6, 4, None).unwrap();
        sink.write_all(b"EF").unwrap();
        sink.commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"abcdEF");
    }

    #[test]
    fn a_part_is_not_emptied_before_a_byte_comes_nor_left_empty() {
        let root = tempfile::tempdir().unwrap();
        let (path, part) = (root.path().join("f"), root.path().join("f.part"));
        drop(Sink::part(path.clone(), 0, 0, None).unwrap());
        assert!(names_in(root.path()).is_empty());
        fs::write(&part, "abcdef").unwrap();
        drop(Sink::part(path.clone(), 6, 0, None).unwrap());
        assert_eq!(fs::read(&part).unwrap(), b"abcdef");
        // A file of no bytes is a file all the same.
        Sink::part(path.clone(), 6, 0, None).unwrap().commit(true).unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_part_takes_over_the_permissions_of_the_file_it_replaces() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old and private").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut sink = Sink::part(path.clone(), 0, 0, None).unwrap();
        sink.write_all(b"new").unwrap();
        sink.commit(true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn two_do_not_go_on_with_the_same_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut first = Sink::part(path.clone(), 0, 0, None).unwrap();
        first.write_all(b"abc").unwrap();
        for length in [0, 3] {
            let failure = Sink::part(path.clone(), length, length, None).err().unwrap();
            assert_eq!(failure.exit, crate::exit::Exit::Local);
        }
        first.commit(true).unwrap();
        let mut first = Sink::in_place(path.clone(), 3, 3).unwrap();
        first.write_all(b"def").unwrap();
        assert!(Sink::in_place(path.clone(), 6, 6).is_err());
        first.commit(true).unwrap();
        assert!(Sink::in_place(path.clone(), 3, 3).is_err(), "it grew since it was looked at");
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
    }

    #[test]
    fn what_has_the_name_meanwhile_stays_where_it_is_not_to_be_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let cleanup = Cleanup::default();
        let output = Output::new(io::sink());
        let mut sink = Sink::open(Target::File(path.clone()), &output, &cleanup).unwrap();
        sink.write_all(b"new").unwrap();
        fs::write(&path, "another's").unwrap();
        assert_eq!(sink.commit(false).unwrap(), Committed::Exists);
        assert_eq!(
            (names_in(root.path()), fs::read(&path).unwrap()),
            (vec!["f".to_owned()], b"another's".to_vec())
        );
        fs::remove_file(&path).unwrap();
        let mut sink = Sink::open(Target::File(path.clone()), &output, &cleanup).unwrap();
        sink.write_all(b"new").unwrap();
        assert_eq!(sink.commit(false).unwrap(), Committed::Done);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_in_place_is_not_emptied_before_a_byte_comes() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old").unwrap();
        let mut sink = Sink::in_place(path.clone(), 3, 0).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        sink.write_all(b"ne").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ne");
        sink.commit(true).unwrap();
        Sink::in_place(path.clone(), 2, 0).unwrap().commit(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
