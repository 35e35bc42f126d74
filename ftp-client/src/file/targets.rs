//! The local targets of one run: none is another one's partial file, and none replaces another one
//! that the file system takes for the same file.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ftp_proto::Escaped;

use super::growing::named;
use crate::tree::local::Directory;
use crate::tree::{Relation, fold};

/// The local targets of one run, shared by its jobs.
///
/// A file system without case, or one that normalizes names, takes two names for one file. The
/// second download then fails, so that it does not replace the first one.
#[derive(Debug, Default)]
pub struct Targets {
    paths: HashSet<PathBuf>,
    written: Mutex<Written>,
}

/// The files that a run has written.
#[derive(Debug, Default)]
struct Written {
    /// Their paths, by device and inode.
    inodes: HashMap<(u64, u64), PathBuf>,
    /// The last path of each fold.
    folds: HashMap<Vec<u8>, PathBuf>,
}

impl Written {
    /// Returns the path under which the run has written the file at `target`.
    fn other(&self, target: &Path) -> io::Result<Option<&PathBuf>> {
        // A file with several hard links is several files.
        let before = fs::symlink_metadata(target).ok().filter(|metadata| metadata.nlink() == 1);
        let Some(before) = before else { return Ok(None) };
        let inode = self.inodes.get(&inode(&before)).filter(|other| *other != target);
        if inode.is_some() {
            return Ok(inode);
        }
        // On exFAT through FUSE, each spelling has its own inode.
        let Some(other) = self.folds.get(&folded(target)).filter(|other| *other != target) else {
            return Ok(None);
        };
        let (Some(directory), Some(listed), Some(name)) =
            (target.parent(), other.file_name(), target.file_name())
        else {
            return Ok(None);
        };
        let here = Path::new(".");
        let directory = if directory == Path::new("") { here } else { directory };
        let relation = Directory::open(directory)?.relation(listed.as_bytes(), name.as_bytes())?;
        Ok((relation == Relation::One).then_some(other))
    }
}

fn inode(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn folded(path: &Path) -> Vec<u8> {
    fold(path.as_os_str().as_bytes())
}

impl Targets {
    /// Returns the targets with these paths.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { paths: paths.into_iter().collect(), written: Mutex::default() }
    }

    /// Returns whether the path is a target.
    #[must_use]
    pub fn contains(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Calls `publish`, which gives a file the name `target`, unless that would replace another
    /// target. Only one file is published at a time.
    ///
    /// # Errors
    ///
    /// Returns the errors of `publish`, and `AlreadyExists` if the file at `target` is another
    /// target that this run has written.
    pub fn publish<T>(
        &self,
        target: &Path,
        publish: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut written = self.written();
        if let Some(other) = written.other(target).map_err(|error| named(target, &error))? {
            let other = Escaped(other.as_os_str().as_bytes());
            let why = format!(
                "the file system takes this name for {other}, which this run has written; \
                 choose another directory"
            );
            return Err(named(target, &io::Error::new(io::ErrorKind::AlreadyExists, why)));
        }
        let published = publish()?;
        if let Ok(metadata) = fs::symlink_metadata(target) {
            written.inodes.insert(inode(&metadata), target.to_owned());
            written.folds.insert(folded(target), target.to_owned());
        }
        Ok(published)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_never_replaces_another_one_of_the_run() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (root.path().join("one"), root.path().join("other"));
        fs::create_dir(&one).unwrap();
        // As on a file system that takes two names for one.
        std::os::unix::fs::symlink("one", &other).unwrap();
        let targets = Targets::new([one.join("f"), other.join("f")]);
        let put = |path: &Path, text: &str| targets.publish(path, || fs::write(path, text));
        put(&one.join("f"), "first").unwrap();
        put(&one.join("f"), "first again").unwrap();
        let error = put(&other.join("f"), "second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(one.join("f")).unwrap(), b"first again");
        // What is not one file is replaced, and so is a name that differs only in case, if the
        // directory shows both.
        fs::write(one.join("F"), "old").unwrap();
        put(&one.join("F"), "new").unwrap();
        put(&one.join("g"), "third").unwrap();
        fs::hard_link(one.join("f"), one.join("h")).unwrap();
        put(&one.join("h"), "fourth").unwrap();
    }
}
