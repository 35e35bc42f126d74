//! Temporary directories whose files can have any bytes in their names.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use tempfile::TempDir;

use crate::scale::is_full;

/// The bytes of memory that tests may take for files.
const ROOM: u64 = 4 << 30;

/// A directory that is removed with its content on drop.
#[derive(Debug)]
pub struct TempRoot {
    directory: TempDir,
}

impl TempRoot {
    /// Makes an empty directory that any user may enter and read: in memory, because a disk takes
    /// a tenth of the time of all tests to create files; with `FTP_SCALE=1` on the disk.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        if is_full() { Self::on_disk() } else { Self::in_memory() }
    }

    /// Makes a directory like [`new`](Self::new) below the directory for temporary files.
    #[track_caller]
    #[must_use]
    pub fn on_disk() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Makes a directory like [`new`](Self::new) in memory, if the system has the room.
    #[track_caller]
    #[must_use]
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let free = statvfs(memory).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize));
        if free >= ROOM { Self::below(memory) } else { Self::on_disk() }
    }

    #[track_caller]
    fn below(parent: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("ftp-tests-").tempdir_in(parent);
        let directory = directory.expect("a temporary directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))
            .expect("the mode of an own directory");
        Self { directory }
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the path of `name` in the directory. The name can contain `/`.
    #[must_use]
    pub fn join(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.path().join(OsStr::from_bytes(name.as_ref()))
    }

    /// Gives the directory to this user and group. Files that [`write`](Self::write) makes later
    /// get the same user. Requires root.
    #[track_caller]
    pub fn give_to(&self, id: u32) {
        chown(self.path(), Some(id), Some(id)).expect("root may give a directory away");
    }

    /// Writes a file and its missing parent directories. The file gets the owner of the root.
    #[track_caller]
    pub fn write(&self, name: impl AsRef<[u8]>, content: &[u8]) -> PathBuf {
        let path = self.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{parent:?}: {error}"));
        }
        fs::write(&path, content).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let owner = fs::metadata(self.path()).expect("an own directory").uid();
        chown(&path, Some(owner), None).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        path
    }

    /// Reads a file.
    #[track_caller]
    #[must_use]
    pub fn read(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        let path = self.join(name);
        fs::read(&path).unwrap_or_else(|error| {
            panic!("{path:?}: {error}; the directory holds {}", self.show())
        })
    }

    /// Opens a file for reading.
    #[track_caller]
    #[must_use]
    pub fn open(&self, name: impl AsRef<[u8]>) -> File {
        let path = self.join(name);
        File::open(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    /// Makes a directory and its missing parents.
    #[track_caller]
    pub fn mkdir(&self, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        path
    }

    /// Returns the names in the directory, sorted by their bytes.
    #[track_caller]
    #[must_use]
    pub fn names(&self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.path()).expect("an own directory can be read");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("an own directory can be read").file_name().into_vec()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Returns the same as [`names`](Self::names), without the records of our server of unfinished
    /// uploads.
    #[must_use]
    pub fn names_without_records(&self) -> Vec<Vec<u8>> {
        let mut names = self.names();
        names.retain(|name| !name.starts_with(b".ftp-upload-record-"));
        names
    }

    /// Returns the names in the directory that clients of our server can see: neither bytes nor
    /// records of unfinished uploads.
    #[track_caller]
    #[must_use]
    pub fn published(&self) -> Vec<Vec<u8>> {
        let mut names = self.names();
        names.retain(|name| !name.starts_with(b".ftp-upload-"));
        names
    }

    /// Returns every file below the directory with its content, and every directory with `None`:
    /// relative paths, sorted.
    #[track_caller]
    #[must_use]
    pub fn tree(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut tree = Vec::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            let entries = fs::read_dir(self.path().join(&directory)).expect("it can be read");
            for entry in entries {
                let entry = entry.expect("it can be read");
                let path = directory.join(entry.file_name());
                if entry.file_type().expect("a type").is_dir() {
                    directories.push(path.clone());
                    tree.push((path, None));
                } else {
                    tree.push((path, Some(fs::read(entry.path()).expect("a file"))));
                }
            }
        }
        tree.sort();
        tree
    }

    fn show(&self) -> String {
        let names: Vec<_> =
            self.names().iter().map(|name| name.escape_ascii().to_string()).collect();
        format!("{names:?}")
    }
}

impl Default for TempRoot {
    fn default() -> Self {
        Self::new()
    }
}
