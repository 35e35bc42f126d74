//! A file without its final name: without any name where the file system has such files, else with
//! a temporary one.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::local::{LocalFile, mode_beside, parent, rename};
use crate::lock::unpoisoned;
use crate::system::{
    ALONE, MetadataExt, OpenOptionsExt, OsStrExt, lock, lockable, name_file, nameless, take_over,
    unlock,
};

/// The number of temporary names to try.
const NAMES: usize = 16;

/// A file without its final name.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    /// The temporary name; `None` for a file without any name, of which a killed process leaves
    /// nothing.
    pub(super) path: Option<PathBuf>,
    pub(super) target: PathBuf,
}

impl Temporary {
    /// Creates a file next to `target`. Only its owner can read it until it has the permissions of
    /// `like`, the file that it will replace.
    pub(super) fn make(target: &Path, like: &Path) -> io::Result<Self> {
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

    /// Gives the file the name `target`.
    pub(super) fn publish(&mut self, replaces: bool) -> io::Result<()> {
        if self.path.is_none() {
            // `linkat` never replaces a file.
            match name_file(&self.file, &self.target) {
                Err(error) if replaces && error.kind() == io::ErrorKind::AlreadyExists => {}
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
    let number = RandomState::new().build_hasher().finish();
    directory.join(format!("{}{number:016x}", LocalFile::TEMPORARY))
}

/// Removes the temporary files that killed processes left in a directory: those that no process
/// has locked. Looks once in each directory.
fn clear(directory: &Path) {
    static LAST: Mutex<Option<(u64, u64)>> = Mutex::new(None);
    let Ok(metadata) = fs::metadata(directory) else { return };
    let id = Some((metadata.dev(), metadata.ino()));
    let mut last = unpoisoned(LAST.lock());
    if std::mem::replace(&mut *last, id) == id {
        return;
    }
    drop(last);
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let digits = name.strip_prefix(LocalFile::TEMPORARY.as_bytes()).unwrap_or_default();
        if digits.len() != 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
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
    use std::io::Write;

    use super::super::local::tests::names_in;
    use super::*;

    #[test]
    fn a_killed_download_leaves_no_temporary_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let left = root.path().join(".ftp-client-00000000000000ff");
        let other = root.path().join(".ftp-client-of-another-program");
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
        assert_eq!(names_in(root.path()), [".ftp-client-of-another-program"]);
        fs::write(&path, "old").unwrap();
        assert_eq!(unnamed.publish(false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        unnamed.publish(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names_in(root.path()), [".ftp-client-of-another-program", "f"]);
    }
}
