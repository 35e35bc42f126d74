//! What the bytes of a download are written to, and how they become a file at the end.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use crate::exit::Failure;
use crate::signals::Cleanup;
use crate::target::{Target, parent, part_of, shown_path};

/// Something that takes the bytes of a download and makes them a file at the end.
pub(crate) enum Sink<'a> {
    Output(&'a mut dyn Write),
    Direct(File, PathBuf),
    /// A temporary file that is renamed; dropping it removes it.
    Replacing(Temporary),
    /// `NAME.part`, which is renamed; what is in it stays when it is dropped.
    Part(Part),
    /// A shorter file that is continued in place.
    InPlace(File, PathBuf),
}

/// A file without its final name yet.
pub(crate) struct Temporary {
    file: NamedTempFile,
    target: PathBuf,
    cleanup: Cleanup,
}

/// `NAME.part`, locked.
pub(crate) struct Part {
    file: File,
    pub(crate) path: PathBuf,
    target: PathBuf,
    /// Where the first byte goes. What stands behind it now stays until that comes.
    start: Option<u64>,
}

impl Part {
    /// The file, with nothing behind the place of the first byte.
    fn begun(&mut self) -> io::Result<&mut File> {
        if let Some(start) = self.start {
            self.file.set_len(start)?;
            self.start = None;
        }
        Ok(&mut self.file)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // There is nothing in it to go on with. Once it was renamed this is not its path any more.
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == 0)
            && is_at(&self.file, &self.path)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.file.path());
        self.cleanup.release(self.file.path());
    }
}

impl<'a> Sink<'a> {
    /// What a download that starts at 0 is written to.
    ///
    /// # Errors
    ///
    /// `Local` if the file cannot be made or opened.
    pub(crate) fn open(
        target: Target,
        output: &'a mut dyn Write,
        cleanup: &Cleanup,
    ) -> Result<Self, Failure> {
        match target {
            Target::Output => Ok(Self::Output(output)),
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
    /// them are to stay.
    ///
    /// # Errors
    ///
    /// `Local` if it cannot be made or opened, or if somebody else writes to it.
    pub(crate) fn part(target: PathBuf, length: u64, offset: u64) -> Result<Self, Failure> {
        let path = part_of(&target);
        let file = open_alone(&path, true, length)?;
        if let Ok(old) = fs::metadata(&target) {
            take_over(&file, &old).map_err(|error| Failure::local(shown_path(&path), &error))?;
        }
        Ok(Self::Part(Part { file, path, target, start: Some(offset) }))
    }

    /// The file at `path` itself, in which there are `length` bytes, to be made longer.
    ///
    /// # Errors
    ///
    /// `Local` if it cannot be opened, or if somebody else writes to it.
    pub(crate) fn in_place(path: PathBuf, length: u64) -> Result<Self, Failure> {
        let file = open_alone(&path, false, length)?;
        Ok(Self::InPlace(file, path))
    }

    /// What the bytes are written to, for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Output(_) => "standard output".to_owned(),
            Self::Direct(_, path) | Self::InPlace(_, path) => shown_path(path),
            Self::Part(part) => shown_path(&part.target),
            Self::Replacing(temporary) => shown_path(&temporary.target),
        }
    }

    /// Gives the file to the disk, and then its name: the download is whole.
    ///
    /// # Errors
    ///
    /// `Local`; the old file is then still there.
    pub(crate) fn commit(mut self) -> Result<(), Failure> {
        let what = self.shown();
        let done = match &mut self {
            Self::Output(output) => output.flush(),
            // What cannot be synced needs no sync: FIFOs and devices say EINVAL.
            Self::Direct(file, _) => match file.sync_all() {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                synced => synced,
            },
            Self::InPlace(file, _) => file.sync_all(),
            Self::Part(part) => part
                .begun()
                .and_then(|file| file.sync_all())
                .and_then(|()| fs::rename(&part.path, &part.target)),
            Self::Replacing(Temporary { file, target, .. }) => {
                let synced = file.as_file().sync_all();
                synced.and_then(|()| fs::rename(file.path(), &target))
            }
        };
        done.map_err(|error| Failure::local(what, &error))
    }
}

/// Opens a file for appending that nobody else appends to: two that go on with the same file would
/// each take what the other wrote for its own. `length` is how long it was found to be.
fn open_alone(path: &Path, create: bool, length: u64) -> Result<File, Failure> {
    let failed = |error: &io::Error| Failure::local(shown_path(path), error);
    let file = OpenOptions::new().append(true).create(create).open(path);
    let file = file.map_err(|error| failed(&error))?;
    // Where there are no locks, it is as it was found or it is not.
    let is_locked = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .is_err_and(|error| error == rustix::io::Errno::WOULDBLOCK);
    let is_same = file.metadata().is_ok_and(|metadata| metadata.len() == length);
    if is_locked || !is_same || !is_at(&file, path) {
        return Err(failed(&io::Error::other("another program is writing to it")));
    }
    Ok(file)
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
    file.set_permissions(Permissions::from_mode(old.mode() & 0o777))
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Output(output) => output.write(bytes),
            Self::Direct(file, _) | Self::InPlace(file, _) => file.write(bytes),
            Self::Part(part) => part.begun()?.write(bytes),
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
    use std::path::Path;

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

        let (mut first, mut second) = (io::sink(), io::sink());
        let mut sink = Sink::open(Target::File(path.clone()), &mut first, &cleanup).unwrap();
        sink.write_all(b"half").unwrap();
        assert_eq!(names_in(root.path()).len(), 2);
        drop(sink);
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut sink = Sink::open(Target::File(path.clone()), &mut second, &cleanup).unwrap();
        sink.write_all(b"whole").unwrap();
        sink.commit().unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_part_stays_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut sink = Sink::part(path.clone(), 0, 0).unwrap();
        sink.write_all(b"abcdef").unwrap();
        drop(sink);
        assert_eq!(names_in(root.path()), ["f.part"]);
        let mut sink = Sink::part(path.clone(), 6, 4).unwrap();
        sink.write_all(b"EF").unwrap();
        sink.commit().unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"abcdEF");
    }

    #[test]
    fn a_part_is_not_emptied_before_a_byte_comes_nor_left_empty() {
        let root = tempfile::tempdir().unwrap();
        let (path, part) = (root.path().join("f"), root.path().join("f.part"));
        drop(Sink::part(path.clone(), 0, 0).unwrap());
        assert!(names_in(root.path()).is_empty());
        fs::write(&part, "abcdef").unwrap();
        drop(Sink::part(path.clone(), 6, 0).unwrap());
        assert_eq!(fs::read(&part).unwrap(), b"abcdef");
        // A file of no bytes is a file all the same.
        Sink::part(path.clone(), 6, 0).unwrap().commit().unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_part_takes_over_the_permissions_of_the_file_it_replaces() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        fs::write(&path, "old and private").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let mut sink = Sink::part(path.clone(), 0, 0).unwrap();
        sink.write_all(b"new").unwrap();
        sink.commit().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn two_do_not_go_on_with_the_same_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let mut first = Sink::part(path.clone(), 0, 0).unwrap();
        first.write_all(b"abc").unwrap();
        for length in [0, 3] {
            let failure = Sink::part(path.clone(), length, length).err().unwrap();
            assert_eq!(failure.exit, crate::exit::Exit::Local);
        }
        first.commit().unwrap();
        let mut first = Sink::in_place(path.clone(), 3).unwrap();
        first.write_all(b"def").unwrap();
        assert!(Sink::in_place(path.clone(), 6).is_err());
        first.commit().unwrap();
        assert!(Sink::in_place(path.clone(), 3).is_err(), "it grew since it was looked at");
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
    }
}
