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

/// The local targets of one run, shared by its jobs.
///
/// A file system without case, or one that normalizes names, takes two names for one file. The
/// second download then fails, so that it does not replace the first one.
#[derive(Debug, Default)]
pub struct Targets {
    paths: HashSet<PathBuf>,
    /// The files that the run has written: device and inode, and the path.
    written: Mutex<HashMap<(u64, u64), PathBuf>>,
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
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        // A file with several hard links is several files.
        let before = fs::symlink_metadata(target).ok().filter(|metadata| metadata.nlink() == 1);
        if let Some(other) = before.and_then(|before| written.get(&id(before)))
            && other != target
        {
            let other = Escaped(other.as_os_str().as_bytes());
            let why = format!(
                "the file system takes this name for {other}, which this run has written; \
                 choose another directory"
            );
            return Err(named(target, &io::Error::new(io::ErrorKind::AlreadyExists, why)));
        }
        let published = publish()?;
        if let Ok(metadata) = fs::symlink_metadata(target) {
            written.insert(id(metadata), target.to_owned());
        }
        Ok(published)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<(u64, u64), PathBuf>> {
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
        // What is not one file is replaced.
        put(&one.join("g"), "third").unwrap();
        fs::hard_link(one.join("f"), one.join("h")).unwrap();
        put(&one.join("h"), "fourth").unwrap();
    }
}
