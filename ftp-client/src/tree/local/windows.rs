//! A tree on Windows. Without `unsafe` code, nothing can be opened by its name in an open
//! directory, so each step looks at the path first: a user who can change the tree meanwhile can
//! replace a directory by a link between the two. A server cannot.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::fs::{FileTypeExt as _, symlink_file};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Backup, IN_USE, names, other_file_system};
use crate::listing::Budget;
use crate::system::{
    ALONE, FileId, MetadataExt as _, OpenOptionsExt as _, OsStrExt as _, OsStringExt as _, file_id,
    has_reparse_point, is_in_use, local_name, lockable, open_last,
};
use crate::tree::entry::{MODE, ObjectKind, Stamp, TreeEntry};

#[derive(Clone, Debug)]
pub(crate) struct Directory {
    place: PathBuf,
    pub(super) follows: bool,
    pub(super) own: Arc<[FileId]>,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fs::metadata(path)?.is_dir() {
            true => {
                Ok(Self { place: std::path::absolute(path)?, follows: false, own: Arc::default() })
            }
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        let place = self.at(name)?;
        match self.stat(&place)?.is_dir() {
            true => Ok(Self { place, ..self.clone() }),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "other systems open the directory")]
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    pub(super) fn look(&self, limits: Budget) -> io::Result<(Vec<TreeEntry>, bool)> {
        let (mut items, mut held, mut is_steady) = (Vec::new(), 0, true);
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            let name = name_of(&entry);
            held += size_of::<TreeEntry>() + Budget::weight_of_name(&name);
            if items.len() >= limits.entries || held > limits.bytes {
                return Err(ErrorKind::QuotaExceeded.into());
            }
            match self.stat(&entry.path()) {
                Ok(found) => items.push(self.entry(&name, &entry.path(), &found)?),
                Err(error) if error.kind() == ErrorKind::NotFound => is_steady = false,
                Err(error) => return Err(error),
            }
        }
        Ok((items, is_steady))
    }

    fn entry(&self, name: &[u8], path: &Path, found: &Metadata) -> io::Result<TreeEntry> {
        let mut entry = TreeEntry::local(name, found);
        match entry.kind {
            ObjectKind::File if !self.own.is_empty() && self.own.contains(&file_id(path)?) => {
                entry.kind = ObjectKind::Own;
            }
            ObjectKind::Link => {
                let target = fs::read_link(path).ok();
                entry.target = target.map(|target| target.into_os_string().into_vec());
            }
            ObjectKind::Directory if self.follows => entry.unique = identifier(path),
            _ => {}
        }
        Ok(entry)
    }

    pub(crate) fn identity(&self) -> Option<Vec<u8>> {
        self.follows.then(|| identifier(&self.place)).flatten()
    }

    pub(crate) fn names(&self, wants: impl Fn(&[u8]) -> bool) -> io::Result<HashSet<Vec<u8>>> {
        let mut names = HashSet::new();
        for entry in fs::read_dir(&self.place)? {
            let name = name_of(&entry?);
            if wants(&name) {
                names.insert(name);
            }
        }
        Ok(names)
    }

    fn stat(&self, path: &Path) -> io::Result<Metadata> {
        if self.follows
            && let Ok(found) = fs::metadata(path)
        {
            return Ok(found);
        }
        fs::symlink_metadata(path)
    }

    fn at(&self, name: &[u8]) -> io::Result<PathBuf> {
        local_name(name).map(|name| self.place.join(name))
    }

    pub(crate) fn found(&self, name: &[u8]) -> io::Result<Option<Metadata>> {
        match fs::symlink_metadata(self.at(name)?) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn make_new(&self, name: &[u8]) -> io::Result<()> {
        fs::create_dir(self.at(name)?)
    }

    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        lockable(&mut OpenOptions::new()).write(true).create_new(true).open(self.at(name)?)
    }

    pub(crate) fn read(&self, name: &[u8]) -> io::Result<File> {
        let path = self.at(name)?;
        // The content of a regular file can be elsewhere (deduplication, OneDrive): with this flag, it
        // would not be read from there.
        let is_elsewhere = has_reparse_point(&fs::symlink_metadata(&path)?);
        let flags = if self.follows || is_elsewhere { 0 } else { ALONE };
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("is no longer a regular file")),
        }
    }

    pub(crate) fn read_last(&self, name: &[u8]) -> io::Result<File> {
        self.read(name)?;
        open_last(&self.at(name)?)
    }

    pub(crate) fn remove(&self, name: &[u8], is_directory: bool) -> io::Result<()> {
        let path = self.at(name)?;
        let kind = fs::symlink_metadata(&path)?.file_type();
        match is_directory || kind.is_symlink_dir() {
            true => fs::remove_dir(path),
            false => fs::remove_file(path),
        }
    }

    pub(crate) fn hold(&self, name: &[u8]) -> io::Result<Option<File>> {
        if !self.found(name)?.is_some_and(|found| found.is_file()) {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        let opened = lockable(&mut options).append(true).custom_flags(ALONE).open(self.at(name)?);
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if is_in_use(&error) => Err(io::Error::new(ErrorKind::WouldBlock, IN_USE)),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn path(&self) -> Option<PathBuf> {
        Some(self.place.clone())
    }

    pub(crate) fn prepare(&self, _: &File, name: &[u8], _: Option<u16>) -> io::Result<()> {
        match self.found(name)? {
            Some(old) if !old.is_file() => Err(ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        }
    }

    /// Links are to files: Windows has another kind for directories, and no server tells which.
    pub(crate) fn link(&self, name: &[u8], target: &[u8], replaces: bool) -> io::Result<()> {
        match self.found(name)? {
            Some(found) if replaces && found.is_symlink() => self.remove(name, false)?,
            Some(_) => return Err(ErrorKind::AlreadyExists.into()),
            None => {}
        }
        symlink_file(std::ffi::OsStr::from_bytes(target), self.at(name)?)
    }

    /// Windows has only a bit that forbids writing, which would keep the next run from replacing
    /// the file.
    pub(crate) fn set_mode(&self, name: &[u8], _: u16) -> io::Result<()> {
        self.at(name).map(drop)
    }

    /// Does nothing: each file is synced by itself.
    #[expect(clippy::unused_self, reason = "other systems sync the file system of a directory")]
    pub(crate) const fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "other systems compare the file systems")]
    pub(crate) const fn is_synced_apart(&self, _: &Self) -> bool {
        true
    }
}

impl Backup {
    /// Moves the object: an upload of its successor then finds the name free.
    pub(crate) fn keep(&self, directory: &Directory, path: &[u8], name: &[u8]) -> io::Result<()> {
        match directory.found(name)? {
            Some(_) => self.take(directory, path, name),
            None => Ok(()),
        }
    }

    pub(crate) fn take(&self, directory: &Directory, path: &[u8], name: &[u8]) -> io::Result<()> {
        let place = self.place(path)?;
        for kept in names(name) {
            if place.found(&kept)?.is_none() {
                let moved = fs::rename(directory.at(name)?, place.at(&kept)?);
                return moved.map_err(other_file_system);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

impl TreeEntry {
    pub(crate) fn local(name: &[u8], found: &Metadata) -> Self {
        let kind = match found.file_type() {
            kind if kind.is_file() => ObjectKind::File,
            kind if kind.is_dir() => ObjectKind::Directory,
            kind if kind.is_symlink() => ObjectKind::Link,
            _ => ObjectKind::Special,
        };
        Self {
            name: name.to_vec(),
            kind,
            size: Some(found.len()),
            stamp: Some(Stamp::at(found.mtime())),
            changed: Some(found.ctime()),
            unique: None,
            mode: u16::try_from(found.mode() & u32::from(MODE)).ok(),
            target: None,
        }
    }
}

/// Returns the name of an entry. A name that is not valid UTF-16 has no form on a server.
fn name_of(entry: &DirEntry) -> Vec<u8> {
    entry.file_name().into_vec()
}

/// Returns the identifier of a directory: its path without links.
fn identifier(path: &Path) -> Option<Vec<u8>> {
    fs::canonicalize(path).ok().map(|path| path.into_os_string().into_vec())
}
