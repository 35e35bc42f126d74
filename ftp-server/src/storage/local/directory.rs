//! A directory below the root: held open while names in it change, its entries, the storage errors for
//! the errors of system calls in it, and what the system permits to the server's user, its groups and its
//! capabilities. Each thread has its own; all threads of a server have the same.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::fs::{
    Access, AtFlags, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, SeekFrom, StatxAttributes,
    accessat, fsync, openat, readlinkat, renameat, renameat_with, seek, syncfs,
};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::path::Arg;
use rustix::process::{getegid, geteuid, getgroups, getuid};
use rustix::thread::{CapabilitySet, capabilities};

use super::names::DirectoryNames;
use super::policy::SyncPolicy;
use super::root::{self, Root};
use super::turn;
use crate::limits;
use crate::lock::LockStripes;
use crate::storage::{
    Ask, DirectoryUse, Entry, EntryKind, Metadata, StorageError, StorageErrorKind, VirtualPath,
};

/// The root or a directory below the root, held open. Names are changed through the descriptor, so
/// replacing a directory on the path has no effect.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: Arc<Root>,
    /// `None` for the root itself.
    below: Option<Arc<OwnedFd>>,
    /// The path by which the directory was opened, relative to the root.
    path: Arc<[u8]>,
    /// Device and inode, once they were asked for. Those of an open directory never change.
    identity: OnceLock<(u64, u64)>,
}

impl Directory {
    /// Opens the directory at `path`, which is relative to the root. An empty path is the root
    /// itself.
    pub(super) fn open(root: &Arc<Root>, path: &[u8]) -> Result<Self> {
        let below = match depth(path) {
            0 => None,
            _ => Some(Arc::new(root::readable_or_not(|flags| root.open_beneath(path, flags))?)),
        };
        Ok(Self { root: Arc::clone(root), below, path: path.into(), identity: OnceLock::new() })
    }

    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Returns the metadata and the attributes of the directory itself.
    pub(super) fn look(&self) -> Result<(Metadata, StatxAttributes)> {
        let found = root::look_at(self, ".", AtFlags::empty())?;
        self.identity.get_or_init(|| found.0.identity);
        Ok(found)
    }

    /// Returns the device and inode of the directory. Only the first call asks the system, unless
    /// [`look`](Self::look) has done so.
    pub(super) fn identity(&self) -> Result<(u64, u64)> {
        match (&self.below, self.identity.get()) {
            (None, _) => Ok(self.root.identity()),
            (_, Some(identity)) => Ok(*identity),
            _ => self.look().map(|(found, _)| found.identity),
        }
    }

    /// Returns whether both directories were opened by the same path.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Returns the metadata of a name. Does not follow a symbolic link.
    pub(super) fn metadata(&self, name: &[u8]) -> Result<Metadata> {
        root::metadata_at(self, name, AtFlags::empty())
    }

    /// Returns a path of `name`, or of the directory itself if `name` is empty, for calls that take
    /// no descriptor. The path is valid while this value exists, if `/proc` shows the open files of
    /// this process.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let directory = format!("/proc/self/fd/{}/", self.as_fd().as_raw_fd());
        [directory.as_bytes(), name].concat()
    }

    /// Syncs the names in this directory to disk, as the policy requires.
    pub(super) fn sync(&self, policy: SyncPolicy) -> Result<()> {
        if policy != SyncPolicy::FileAndDirectory {
            return Ok(());
        }
        let synced = match retry_on_intr(|| fsync(self)) {
            // The server may write to the directory but not read it, for example in a drop box.
            Err(Errno::BADF) => self.sync_file_system(),
            synced => synced,
        };
        match synced {
            // This file system cannot sync directories, or has no files without a name.
            Err(Errno::ISDIR | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
            synced => synced,
        }
    }

    /// Syncs the file system of this directory, which cannot be read, through a file without a name.
    fn sync_file_system(&self) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let unnamed = retry_on_intr(|| openat(self, ".", flags, Mode::RUSR | Mode::WUSR))?;
        retry_on_intr(|| syncfs(&unnamed))
    }

    /// Returns ENOENT if another program has moved this directory out of the root.
    ///
    /// One call confirms the usual case, in which the root is as many levels up as before.
    /// Otherwise this method walks upwards.
    pub(super) fn check_beneath(&self) -> Result<()> {
        let root = self.root.identity();
        match self.below.is_none() || self.above(depth(&self.path))? == root || self.is_within(root)
        {
            true => Ok(()),
            false => Err(Errno::NOENT),
        }
    }

    /// Returns whether this directory is the one with this identity, or is below it.
    fn is_within(&self, outer: (u64, u64)) -> bool {
        let mut below = None;
        for levels in 0..=2 * limits::PATH_DEPTH {
            let identity = self.above(levels).ok();
            // At the top of all file systems, `..` is the same directory.
            if identity == Some(outer) || identity == below {
                return identity == Some(outer);
            }
            below = identity;
        }
        false
    }

    fn above(&self, levels: usize) -> Result<(u64, u64)> {
        let path = format!("./{}", "../".repeat(levels));
        root::metadata_at(self, path.as_str(), AtFlags::empty()).map(|above| above.identity)
    }
}

/// Returns the changes that the system permits the server in a directory: none if its mode or its
/// file system forbids the server to write there.
pub(super) fn use_of(directory: impl AsFd) -> DirectoryUse {
    let to = Access::WRITE_OK | Access::EXEC_OK;
    match retry_on_intr(|| accessat(&directory, ".", to, AtFlags::empty())) {
        Err(Errno::ACCESS) if exceeds_access() => DirectoryUse::Full,
        Err(Errno::ACCESS | Errno::ROFS) => DirectoryUse::Browse,
        _ => DirectoryUse::Full,
    }
}

/// Renames an object, or returns EEXIST if the new name is taken. The rename is atomic, except on
/// file systems without `RENAME_NOREPLACE`, such as some FUSE file systems, and under a filter that
/// forbids the call. There, this function looks up the new name first, under a lock against other
/// sessions; only another program or server can take the name in between.
pub(crate) fn rename_new(
    (from_in, from): (impl AsFd, impl Arg + Copy),
    (to_in, to): (impl AsFd, impl Arg + Copy),
) -> Result<()> {
    match retry_on_intr(|| renameat_with(&from_in, from, &to_in, to, RenameFlags::NOREPLACE)) {
        // A filter of system calls answers EPERM to calls that it does not know.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
            static NAMES: LockStripes = LockStripes::new();
            let _alone = NAMES.lock(to.as_cow_c_str()?);
            match root::metadata_at(&to_in, to, AtFlags::empty()) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => retry_on_intr(|| renameat(&from_in, from, &to_in, to)),
                Err(errno) => Err(errno),
            }
        }
        done => done,
    }
}

/// Returns `failure` unless all names in a directory are as `wanted`.
pub(super) fn all_names(
    directory: &OwnedFd,
    failure: Errno,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> Result<()> {
    let mut buffer = Vec::with_capacity(limits::NAMES);
    seek(directory, SeekFrom::Start(0))?;
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") && !wanted(name) {
            return Err(failure);
        }
    }
    Ok(())
}

fn depth(path: &[u8]) -> usize {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).count()
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.below.as_ref().map_or_else(|| self.root.as_fd(), |below| below.as_fd())
    }
}

/// The entries of an open directory. They are never opened, so nothing blocks.
#[derive(Debug)]
pub(super) struct DirectoryEntries {
    root: Arc<Root>,
    path: VirtualPath,
    names: DirectoryNames,
    /// Whether only the names are asked for. Then an object is examined only if it is a symbolic
    /// link or the directory does not report its kind.
    only_names: bool,
    /// The changes that the system permits in the directory, if they were asked for.
    directory_use: DirectoryUse,
}

impl DirectoryEntries {
    pub(super) fn new(root: &Arc<Root>, path: &VirtualPath, directory: OwnedFd, ask: Ask) -> Self {
        let directory_use = match ask {
            Ask::Permissions => use_of(&directory),
            _ => DirectoryUse::Full,
        };
        let names = DirectoryNames::new(directory, ask == Ask::Start);
        let root = Arc::clone(root);
        Self { root, path: path.clone(), names, only_names: ask == Ask::Names, directory_use }
    }

    /// Returns the entry of the object `name`; `None` if the object no longer exists. Of an object
    /// that cannot be examined, such as another user's FUSE mount, only the kind is known: a client
    /// that does not see the name would remove its copy.
    fn entry(&self, name: &CStr, kind: FileType) -> Result<Option<Entry>> {
        let entry = |metadata| Some(Entry::new(name.to_bytes(), metadata));
        match root::metadata_at(&self.names, name, AtFlags::empty()) {
            Ok(link) if link.kind == EntryKind::Symlink => {
                // The link may lead through a parent directory, which only a lookup from the root
                // can follow. If this directory was moved meanwhile, the link is still there.
                let target = self.root.stat(self.path.join(name.to_bytes()).relative());
                let target = target.ok().filter(|target| target.kind != EntryKind::Symlink);
                let text = target.map(|_| self.text_of_link(name));
                Ok(entry(target.unwrap_or(link)).map(|entry| entry.through(text)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTCONN | Errno::STALE | Errno::ACCESS | Errno::PERM) => {
                let kind = match kind {
                    FileType::Directory => EntryKind::Directory,
                    _ if self.only_names => EntryKind::File,
                    _ => EntryKind::Special,
                };
                // A time that no fact can have.
                Ok(entry(Metadata::new(kind).modified(i64::MAX)))
            }
            metadata => metadata.map(|found| {
                let mut found = turn::settled(found);
                if found.kind == EntryKind::File {
                    found.directory_use = self.directory_use;
                }
                entry(found)
            }),
        }
    }

    /// Returns the text of a link. Returns an empty text if the text itself does not lead to an object
    /// below the root: another program may have exchanged the link since it was followed.
    fn text_of_link(&self, name: &CStr) -> Vec<u8> {
        let text = retry_on_intr(|| readlinkat(&self.names, name, Vec::new()));
        let text = text.map(CString::into_bytes).unwrap_or_default();
        let path = [self.path.relative(), b"/", &text].concat();
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        match !text.starts_with(b"/") && self.root.open_beneath(path, OFlags::PATH).is_ok() {
            true => text,
            false => Vec::new(),
        }
    }
}

impl Iterator for DirectoryEntries {
    type Item = std::result::Result<Entry, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = self.names.next()?;
            let listed = found.and_then(|(place, kind)| {
                let name = self.names.at(place);
                // Links are looked up as in a listing with metadata, so that both list the same
                // names. Some file systems report no kinds.
                let needs_look = matches!(kind, FileType::Symlink | FileType::Unknown);
                match self.only_names && !needs_look {
                    true => Ok(Some(Entry::new(name.to_bytes(), Metadata::file(0)))),
                    false => self.entry(name, kind),
                }
            });
            match listed {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(errno) => {
                    self.names.end();
                    return Some(Err(system(errno)));
                }
            }
        }
    }
}

/// Converts an error from any system call.
pub(super) fn system(errno: Errno) -> StorageError {
    std::io::Error::from(errno).into()
}

pub(super) fn as_kind(kind: StorageErrorKind, errno: Errno) -> StorageError {
    StorageError { kind, source: Some(errno.into()) }
}

/// Converts an error from syncing a change that is made.
pub(super) fn unsynced(errno: Errno) -> StorageError {
    as_kind(StorageErrorKind::Unsynced, errno)
}

/// Converts an error from a path lookup. A name that is too long, or is below a file, counts as
/// missing.
pub(super) fn lookup(errno: Errno) -> StorageError {
    match errno {
        Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => {
            as_kind(StorageErrorKind::NotFound, errno)
        }
        _ => system(errno),
    }
}

/// Converts an error from a call that needs an existing name in an open directory.
pub(super) fn existing(errno: Errno) -> StorageError {
    match errno {
        Errno::NAMETOOLONG | Errno::INVAL => as_kind(StorageErrorKind::NotFound, errno),
        _ => system(errno),
    }
}

/// Converts an error from creating a name in a directory. File systems with special rules (FAT, case
/// folding) refuse names with EINVAL or EILSEQ; exfat-fuse refuses them with ENOENT, although the
/// directory exists.
pub(super) fn creation(at: &Directory, errno: Errno) -> StorageError {
    let is_name = match errno {
        Errno::INVAL | Errno::ILSEQ => true,
        Errno::NOENT => at.look().is_ok_and(|(found, _)| found.links > 0),
        _ => false,
    };
    if is_name { as_kind(StorageErrorKind::NameNotAllowed, errno) } else { system(errno) }
}

/// Converts an error from renaming an existing object to a name in the directory `to`. EINVAL also
/// means that a directory would move below itself.
pub(super) fn rename_error(errno: Errno, object: &Metadata, to: &Directory) -> StorageError {
    match errno {
        Errno::INVAL if to.is_within(object.identity) => as_kind(StorageErrorKind::Denied, errno),
        Errno::EXIST => as_kind(StorageErrorKind::NotEmpty, errno),
        Errno::XDEV => as_kind(StorageErrorKind::CrossesMounts, errno),
        _ => creation(to, errno),
    }
}

fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|mine| mine.effective.contains(capability))
}

/// Returns whether the server has the rights of the owner of every file.
pub(crate) fn owns_all_files() -> bool {
    has(CapabilitySet::FOWNER)
}

/// Returns whether the server may read and write every file, whatever its mode.
fn ignores_modes() -> bool {
    has(CapabilitySet::DAC_OVERRIDE)
}

/// Returns whether the server may do more than access(2) says: the call does not consider capabilities
/// of users other than root.
pub(crate) fn exceeds_access() -> bool {
    !getuid().is_root() && ignores_modes()
}

pub(crate) fn may_give_to_user(user: u32) -> bool {
    geteuid().as_raw() == user || has(CapabilitySet::CHOWN)
}

pub(crate) fn may_give_to_group(group: u32) -> bool {
    is_member_of(group) || has(CapabilitySet::CHOWN)
}

fn is_member_of(group: u32) -> bool {
    let group = Gid::from_raw_unchecked(group);
    getegid() == group || getgroups().is_ok_and(|groups| groups.contains(&group))
}

/// Returns whether the server has all the rights `wanted` (octal: 4 to read, 2 to write, 1 to search)
/// for an object with this owner, group and mode. Without an owner or a group, the object has that of
/// the server.
#[cfg(feature = "daemon")]
pub(crate) fn may_access(owner: Option<u32>, group: Option<u32>, mode: u32, wanted: u32) -> bool {
    let rights = match (owner, group) {
        (None, _) => mode >> 6,
        (Some(owner), _) if owner == geteuid().as_raw() => mode >> 6,
        (_, None) => mode >> 3,
        (_, Some(group)) if is_member_of(group) => mode >> 3,
        _ => mode,
    };
    wanted & !rights == 0 || ignores_modes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_of_an_unreadable_directory_can_be_synced() {
        let top = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(top.path()).unwrap());
        Directory::open(&root, b"").unwrap().sync_file_system().unwrap();
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
    }
}
