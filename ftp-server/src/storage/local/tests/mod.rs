//! Local files as users see them through [`Storage`], compared with the files that `std::fs` shows.

mod appends;
mod confinement;
mod directories;
mod kept_attributes;
mod killed;
mod lies;
mod links;
mod objects;
mod owners;
mod partial;
mod private;
mod publish;
mod quota;
mod shelf;
mod swept;
mod together;
mod unseen;
mod upload;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ftp_tests::wait::wait_until;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::*;
use crate::storage::{DirectoryUse, StreamEnd};

/// A temporary directory for one test: `root` is served, `outside` is not.
struct Tree {
    top: PathBuf,
    root: PathBuf,
    outside: PathBuf,
}

impl LocalStorage {
    /// Returns the storage with other settings; the confinement stays.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut LocalConfig)) -> Self {
        change(&mut self.files.config);
        self
    }

    /// Returns the bytes that the quota leaves.
    fn left(&self) -> StorageResult<Option<u64>> {
        Ok(self.quota()?.bytes_left())
    }
}

/// Gives up all kept bytes, as for a disk that stays too full.
fn give_up_all(storage: &LocalStorage) {
    let device = storage.stat(&VirtualPath::root(), Ask::Facts).unwrap().identity.0;
    sweep::give_up(&storage.files.root, device, 0, || false);
}

fn is_record(name: &str) -> bool {
    name::hidden(name.as_bytes()) == Some(name::Hidden::Record)
}

/// Returns whether a file with this name has the bytes of an upload.
fn has_bytes(name: &str) -> bool {
    name::hidden(name.as_bytes()) == Some(name::Hidden::Bytes)
}

/// Lets a record look as if it were this much older.
fn set_record_age(record: &Path, hours: u64) {
    let text = fs::read_to_string(record).unwrap();
    if text.is_empty() {
        let record = fs::File::options().write(true).open(record).unwrap();
        let was = record.metadata().unwrap().modified().unwrap();
        record.set_modified(was - std::time::Duration::from_secs(hours * 3_600)).unwrap();
        return;
    }
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let (key, values) = line.split_once(' ').unwrap_or((line, ""));
        let older = |at: usize, value: &str| match (key, at) {
            ("begun", 0) | ("left", 1 | 2) => {
                (value.parse::<u64>().unwrap() - hours * 3_600).to_string()
            }
            _ => value.to_owned(),
        };
        let values = values.split(' ').enumerate().map(|(at, value)| older(at, value));
        lines.push([vec![key.to_owned()], values.collect()].concat().join(" "));
    }
    let text = lines.iter().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
    fs::write(record, text).unwrap();
}

impl Tree {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let top = std::env::temp_dir().join(format!("ftp-local-{}-{number}", std::process::id()));
        let root = top.join("root");
        let outside = top.join("outside");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("secret"), b"secret").unwrap();
        Self { top, root, outside }
    }

    fn storage(&self) -> LocalStorage {
        LocalStorage::open(&self.root).unwrap().with(|config| config.sync = SyncPolicy::None)
    }

    /// Opens the storage as on a system that lacks `openat2`.
    fn deprived(&self) -> LocalStorage {
        deprived(&self.root)
    }

    /// Opens the storage with `openat2`, if the system has it, and without.
    fn storages(&self) -> [LocalStorage; 2] {
        [self.storage(), self.deprived()]
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.root.join(name), content).unwrap();
    }

    /// Like `put`, but waits until the space of removed files is free. A child process that another
    /// test starts inherits open files, and keeps them until it executes its program.
    fn put_when_it_fits(&self, name: &str, content: &[u8]) {
        wait_until("there is room", || fs::write(self.root.join(name), content).is_ok());
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.root.join(name)).unwrap()
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(target, self.root.join(name)).unwrap();
    }

    fn fifo(&self, name: &str) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, self.root.join(name), mode).unwrap();
    }

    /// Returns all names in the root or a directory below it, in order. Includes hidden names,
    /// except those of records.
    fn names(&self, directory: &str) -> Vec<String> {
        let mut names = self.names_with_records(directory);
        names.retain(|name| !is_record(name));
        names
    }

    /// Returns the path of the only hidden file in the root of which this is true.
    fn hidden(&self, is_it: fn(&str) -> bool) -> PathBuf {
        let mut names = self.names_with_records("").into_iter().filter(|name| is_it(name));
        let found = self.root.join(names.next().expect("a hidden file"));
        assert_eq!(names.next(), None);
        found
    }

    fn names_with_records(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(directory)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Opens a directory as on a system that lacks `openat2`.
fn deprived(root: &Path) -> LocalStorage {
    let root = Root::open(root).unwrap().deprived();
    let config = LocalConfig::new().sync(SyncPolicy::None);
    LocalStorage { files: Files { root: Arc::new(root), config }, landlock: None }
}

/// A separate file system, if the tests may mount one.
struct Mount(PathBuf);

impl Mount {
    /// Mounts an empty file system in memory.
    fn new(directory: PathBuf, options: &str) -> Option<Self> {
        Self::of(&["-t", "tmpfs", "-o", options, "tmpfs"], directory)
    }

    fn of(arguments: &[&str], directory: PathBuf) -> Option<Self> {
        let output = Command::new("mount").args(arguments).arg(&directory).output().ok()?;
        output.status.success().then(|| Self(directory))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs `act` in a thread of another user.
fn as_user<T: Send>(user: u32, groups: &[u32], act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
            set_thread_groups(&groups).unwrap();
            let (group, user) = (Gid::from_raw(user), Uid::from_raw(user));
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

fn path(text: impl AsRef<[u8]>) -> VirtualPath {
    let text = text.as_ref();
    if text == b"/" { VirtualPath::root() } else { VirtualPath::root().join(text) }
}

fn kind<T>(result: StorageResult<T>) -> Option<StorageErrorKind> {
    result.err().map(|error| error.kind)
}

fn upload(storage: &LocalStorage, name: &str, mode: WriteMode, content: &[u8]) {
    let mut upload = storage.write(&path(name), mode, Keep::Shared).unwrap();
    upload.write_all(content).unwrap();
    upload.commit().unwrap();
}

fn read(storage: &LocalStorage, name: impl AsRef<[u8]>) -> StorageResult<Vec<u8>> {
    let mut content = Vec::new();
    storage.read(&path(name))?.read_to_end(&mut content)?;
    Ok(content)
}

fn list(storage: &LocalStorage, name: &str) -> Vec<(Vec<u8>, Metadata)> {
    let entries = storage.list(&path(name), Ask::Facts).unwrap().map(Result::unwrap);
    let mut entries: Vec<_> = entries.map(|entry| (entry.name, entry.metadata)).collect();
    entries.sort_by(|first, second| first.0.cmp(&second.0));
    let named = storage.list(&path(name), Ask::Names).unwrap();
    let mut names: Vec<_> = named.map(|entry| entry.unwrap().name).collect();
    names.sort();
    assert!(names.iter().eq(entries.iter().map(|(name, _)| name)), "{names:?}");
    entries
}

/// Returns whether the tests run as root, to whom mode bits do not apply.
fn is_privileged() -> bool {
    rustix::process::geteuid().is_root()
}
