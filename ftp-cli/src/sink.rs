//! What the bytes of a download are written to, and how they become a file at the end.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::PathBuf;

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
    /// `NAME.part`, renamed to the second; stays where it is when dropped.
    Part(File, PathBuf, PathBuf),
    /// A shorter file that is continued in place.
    InPlace(File, PathBuf),
}

/// A file without its final name yet.
pub(crate) struct Temporary {
    file: NamedTempFile,
    target: PathBuf,
    cleanup: Cleanup,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.file.path());
        self.cleanup.release();
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

    /// `NAME.part` for the file at `path`, empty or with `offset` bytes in it.
    ///
    /// # Errors
    ///
    /// `Local` if it cannot be made or opened.
    pub(crate) fn part(path: PathBuf, offset: u64) -> Result<Self, Failure> {
        let part = part_of(&path);
        let file = OpenOptions::new().append(true).create(true).open(&part);
        let file = file.and_then(|file| file.set_len(offset).map(|()| file));
        let file = file.map_err(|error| Failure::local(shown_path(&part), &error))?;
        Ok(Self::Part(file, part, path))
    }

    /// The file at `path` itself, to be made longer.
    ///
    /// # Errors
    ///
    /// `Local` if it cannot be opened.
    pub(crate) fn in_place(path: PathBuf) -> Result<Self, Failure> {
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|error| Failure::local(shown_path(&path), &error))?;
        Ok(Self::InPlace(file, path))
    }

    /// What the bytes are written to, for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Output(_) => "standard output".to_owned(),
            Self::Direct(_, path) | Self::Part(_, _, path) | Self::InPlace(_, path) => {
                shown_path(path)
            }
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
            // What cannot be synced needs no sync: FIFOs say EINVAL.
            Self::Direct(file, _) => file.sync_all().or(Ok(())),
            Self::InPlace(file, _) => file.sync_all(),
            Self::Part(file, part, path) => file.sync_all().and_then(|()| fs::rename(part, path)),
            Self::Replacing(Temporary { file, target, .. }) => {
                let synced = file.as_file().sync_all();
                synced.and_then(|()| fs::rename(file.path(), &target))
            }
        };
        done.map_err(|error| Failure::local(what, &error))
    }
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
            Self::Direct(file, _) | Self::InPlace(file, _) | Self::Part(file, ..) => {
                file.write(bytes)
            }
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
        let mut sink = Sink::part(path.clone(), 0).unwrap();
        sink.write_all(b"abcdef").unwrap();
        drop(sink);
        assert_eq!(names_in(root.path()), ["f.part"]);
        let mut sink = Sink::part(path.clone(), 4).unwrap();
        sink.write_all(b"EF").unwrap();
        sink.commit().unwrap();
        assert_eq!(names_in(root.path()), ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"abcdEF");
    }
}
