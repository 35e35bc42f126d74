//! Files below one directory of this machine.
//!
//! The root is held as a descriptor, and every name is looked up beneath it by `openat2` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS`: symbolic links that stay in the tree are
//! followed, one that leads out of it, or is absolute, is refused by the kernel, whatever is
//! swapped for whatever meanwhile. The thread of a session is confined to the root besides. A new
//! content is written to a file without a name, or with a hidden one, and takes the name of the old
//! in one step.

mod append;
mod begin;
mod changeable;
mod directory;
mod entries;
mod eviction;
mod failure;
mod files;
mod hidden;
mod name;
mod names;
mod output;
mod phase;
mod policy;
mod quota;
mod replacement;
mod root;
mod shelf;
mod source;
mod sweep;
mod target;
#[cfg(test)]
mod tests;
mod usage;
mod waiting;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

pub use self::policy::{PartialPolicy, SyncPolicy};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, chmodat, fstatvfs, utimensat,
};
use rustix::io::retry_on_intr;

use self::changeable::Changeable;
use self::entries::DirectoryEntries;
use self::failure::{lookup, system};
use self::files::Files;
use self::policy::{Bounds, Policy, Umask};
use self::replacement::WhenCut;
use self::root::Root;
use self::source::LocalSource;
use self::target::Target;
use self::usage::{COST_OF_OBJECT as OBJECT, Usage};
use super::{
    Capabilities, Confinement, ConfinementPolicy, Entries, EntryKind, Metadata, RoomFor, Source,
    Storage, StorageError, StorageErrorKind, Upload, VirtualPath, Walls, WriteMode,
};
use crate::config::ServerConfig;

/// Files below one directory of this machine.
///
/// - A symbolic link is followed while it stays beneath the root. An absolute one counts as
///   leading out, even if it names something in the tree.
/// - Uploads go to a temporary file in the directory of their target and get its name in one
///   step. Where the target is a symbolic link, they replace what it leads to, or make it, in
///   the directory where that is. The new file has the permission bits of the one it replaces,
///   without the set-id bits, or `0o666` less the [umask](Self::with_umask); owner, group and
///   attributes are those of any new file. A file that may not be written is not replaced either.
/// - Of a new file whose upload was cut what came is kept by its [`PartialPolicy`], hidden beside
///   where it would have been. One session at a time goes on with it; a second gets `Busy`.
/// - [`WriteMode::Append`], and [`WriteMode::From`] the very end, write in place. One at a time:
///   a second gets `Busy`. A process that is killed meanwhile leaves what came, and so does a disk
///   that became read-only meanwhile, or a file system that shortens no file while a quota of its
///   own is full (btrfs).
/// - Names that begin with `.ftp-upload-` belong to unfinished uploads. They are not listed,
///   never found and not made. What of them nobody needs any more a thread removes, once
///   [`with_sweeper`](Self::with_sweeper) has started it, as a server does for its root.
/// - Only regular files are read or written. FIFOs, sockets and devices are shown.
/// - The thread of a session is confined to the root by Landlock, where the kernel has it (see
///   [`ConfinementPolicy`]): even a mistake in what is said above would not lead out.
///
/// ```
/// use std::io::Read;
///
/// use ftp_server::{LocalStorage, Storage, SyncPolicy, VirtualPath, WriteMode};
///
/// # let directory = std::env::temp_dir().join(format!("ftp-local-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let storage = LocalStorage::open(&directory)?.with_sync(SyncPolicy::None);
/// let path = VirtualPath::root().join(b"greeting");
/// let mut upload = storage.write(&path, WriteMode::Replace)?;
/// upload.write_all(b"hello")?;
/// assert!(storage.stat(&path).is_err());
/// upload.commit()?;
///
/// let mut text = String::new();
/// storage.read(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LocalStorage {
    files: Files,
    confinement: Option<Arc<Confinement>>,
}

/// The count of the bytes beneath a root, by [`LocalStorage::tally`]. While one of these is kept so
/// is the count, for the next storage that is opened of the same directory: it takes some hundred
/// bytes of memory, and no descriptor as a storage does. What others do meanwhile it does not see.
/// It holds the root by its device and inode: whoever finds that another directory has the path by
/// now had better drop it, since a directory that is removed leaves its inode to one that is made.
#[derive(Clone, Debug)]
pub struct Tally {
    _usage: Arc<Usage>,
}

impl LocalStorage {
    /// Takes the directory `root` as the root of the tree. It is opened once: what is renamed or
    /// mounted over its path later does not matter.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotDirectory`, `Denied`, `Io`.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StorageError> {
        let root = Root::open(root.as_ref()).map_err(system)?;
        // For later: what reads it then may be confined.
        policy::mask_of_process();
        let confinement = confinement_if_any(&root)?.map(Arc::new);
        let files = Files { root: Arc::new(root), policy: Policy::default() };
        Ok(Self { files, confinement })
    }

    /// The same with another policy; [`SyncPolicy::FileAndDirectory`] is the default.
    #[must_use]
    pub fn with_sync(mut self, sync: SyncPolicy) -> Self {
        self.files.policy.sync = sync;
        self
    }

    /// The same with another policy for cut uploads; [`PartialPolicy::Resume`] is the default.
    #[must_use]
    pub fn with_partial(mut self, partial: PartialPolicy) -> Self {
        self.files.policy.partial = partial;
        self
    }

    /// The same with other bounds on what is kept of cut uploads for each user: how many files, and
    /// how many bytes of all of them; 0 for any number. The oldest go first; of what is larger by
    /// itself the beginning is kept. [`limits::PARTIAL_FILES`](crate::limits::PARTIAL_FILES) and
    /// [`limits::PARTIAL_BYTES`](crate::limits::PARTIAL_BYTES) are the defaults.
    #[must_use]
    pub fn with_partial_bounds(mut self, files: usize, bytes: u64) -> Self {
        self.files.policy.bounds = Bounds { files, bytes };
        self
    }

    /// The same with other permission bits taken from what is new, of the `0o666` of a file and
    /// the `0o777` of a directory; `0o022` is the default. The mask of the process does not
    /// count, but a default ACL of a directory does, instead of either.
    #[must_use]
    pub fn with_umask(mut self, umask: u32) -> Self {
        self.files.policy.umask = Umask::new(umask);
        self
    }

    /// The same with a thread that walks the tree now and removes what uploads have left that no
    /// process goes on with: those of a server that was killed, and what was kept of cut uploads
    /// for a day. It walks again when something else that was kept is a day old, not more than
    /// once an hour, and ends when the last clone of this storage is dropped.
    ///
    /// The walk reads every directory of the tree, follows no symbolic link, and takes memory and
    /// descriptors only by how deep the tree is. Running uploads, of other servers too, are told
    /// by the locks (`flock`) on their files; on a file system without locks a file is left alone
    /// for a day.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn with_sweeper(self) -> std::io::Result<Self> {
        if self.files.root.sweeper().get().is_none() {
            // Of two at the same time the second ends at once, its sender being dropped.
            let _ = self.files.root.sweeper().set(sweep::start(&self.files.root)?);
        }
        Ok(self)
    }

    /// The same with another policy; [`ConfinementPolicy::BestEffort`] is the default.
    ///
    /// # Errors
    ///
    /// `Unsupported` with [`ConfinementPolicy::Require`] where the system lacks what that needs.
    pub fn with_confinement(self, policy: ConfinementPolicy) -> Result<Self, StorageError> {
        let confinement = match policy {
            ConfinementPolicy::Off => None,
            ConfinementPolicy::BestEffort => confinement_if_any(&self.files.root)?,
            ConfinementPolicy::Require if !self.files.root.is_kernel_confined() => {
                let source = std::io::Error::other("this system has no openat2");
                return Err(StorageError {
                    kind: StorageErrorKind::Unsupported,
                    source: Some(source),
                });
            }
            ConfinementPolicy::Require => Some(Confinement::beneath(&*self.files.root)?),
        };
        Ok(Self { confinement: confinement.map(Arc::new), ..self })
    }

    /// The same for somebody who may have `bytes` in all beneath the root; 0, the default, for any
    /// number. What would be more is `OverQuota`: 552.
    ///
    /// What counts is the length of each regular file, once for each of its names, what is kept of
    /// cut uploads, and what running uploads have written. An empty file and a directory count as
    /// 4 KiB. A file that is replaced counts until the new one has its name: until then both are
    /// there, and the old one stays if the new one does not come. Symbolic links and other objects
    /// are free.
    ///
    /// All storages of one root in a process share the count, with limits of their own or none. It
    /// begins with a walk through the tree when a limit is first asked for; a million files are some
    /// seconds. An upload is [prepared](Upload::prepare) meanwhile, for 20 seconds at most, and is
    /// `Busy` then, as [`quota`](Storage::quota) is after 5 seconds, while the walk goes on; nobody
    /// else waits. What comes, goes or is moved meanwhile may count twice until the
    /// next walk, and is never missed. The count goes on by what is done through these storages. A
    /// rename stays below its root, so that it brings nothing in. What others do it does not see:
    /// other processes, and storages of a directory above or below. So it is made anew, while no
    /// upload runs, when an upload is begun by a count a day old, or would be refused by one ten
    /// minutes old, which waits; and after the last storage of the root is gone, and the last
    /// [`Tally`] of it. A count never falls for what could not be read: while a directory below the
    /// root cannot be, a new count is at least the old one. So [`chmod`](Storage::chmod) is
    /// `Denied` here if it would keep the server from reading a directory.
    ///
    /// ```
    /// use ftp_server::{LocalStorage, Storage, StorageError, StorageErrorKind, VirtualPath, WriteMode};
    ///
    /// # let root = tempfile::tempdir()?;
    /// let storage = LocalStorage::open(root.path())?.with_quota(8);
    /// let path = VirtualPath::root().join(b"file");
    /// let mut upload = storage.write(&path, WriteMode::Replace)?;
    /// upload.write_all(b"12345")?;
    /// assert_eq!(storage.quota()?, Some(3));
    /// let error = StorageError::from(upload.write_all(b"6789").unwrap_err());
    /// assert_eq!(error.kind, StorageErrorKind::OverQuota);
    /// drop(upload);
    /// # storage.remove(&path).unwrap_err();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_quota(mut self, bytes: u64) -> Self {
        self.files.policy.quota = bytes;
        self
    }

    /// What keeps the count of [`with_quota`](Self::with_quota) where no storage of the root is kept.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally { _usage: Arc::clone(self.files.root.usage()) }
    }

    /// The same where a file with more than one name is `Denied` to whoever would read it, add to
    /// it, keep a part of it, or set its time or permission bits, if `deny` says so; `false` is the
    /// default. For a tree in which
    /// others on this machine make names for files that are not theirs. To list, remove, rename
    /// and replace such a name does nothing to what else has the file.
    #[must_use]
    pub fn with_deny_hardlinks(mut self, deny: bool) -> Self {
        self.files.policy.deny_hardlinks = deny;
        self
    }

    /// The same with what settings say of files: [`sync`](ServerConfig::sync),
    /// [`partial`](ServerConfig::partial), its bounds, [`umask`](ServerConfig::umask),
    /// [`deny_hardlinks`](ServerConfig::deny_hardlinks) and [`confine`](ServerConfig::confine).
    ///
    /// # Errors
    ///
    /// Those of [`with_confinement`](Self::with_confinement).
    pub fn configured(self, config: &ServerConfig) -> Result<Self, StorageError> {
        let storage = self.with_sync(config.sync).with_partial(config.partial);
        let storage = storage.with_partial_bounds(config.partial_files, config.partial_bytes);
        let storage = storage.with_umask(config.umask).with_deny_hardlinks(config.deny_hardlinks);
        storage.with_confinement(config.confine)
    }

    /// Walks the tree once and removes what uploads have left that nobody goes on with, as
    /// [`with_sweeper`](Self::with_sweeper) does again and again in a thread. For those who have
    /// many trees and one thread for them. It is to be one that is not confined elsewhere.
    pub fn tidy_up(&self) {
        let root = Arc::clone(&self.files.root);
        sweep::once(&root);
    }

    /// What keeps sessions beneath the root.
    #[must_use]
    pub fn walls(&self) -> Walls {
        let landlock = self.confinement.as_ref().map(|confinement| confinement.abi());
        Walls { openat2: self.files.root.is_kernel_confined(), landlock }
    }
}

impl Storage for LocalStorage {
    fn enter(&self) -> Result<(), StorageError> {
        self.confinement.as_ref().map_or(Ok(()), |confinement| confinement.enter())
    }

    fn capabilities(&self) -> Capabilities {
        let always = Capabilities::SPACE | Capabilities::DIGEST;
        match self.files.root.has_proc() {
            true => always | Capabilities::SET_TIMES | Capabilities::CHMOD,
            false => always,
        }
    }

    fn stat(&self, path: &VirtualPath) -> Result<Metadata, StorageError> {
        name::check_existing(path)?;
        self.files.root.stat(path.relative()).map_err(lookup)
    }

    fn check_directory(&self, path: &VirtualPath) -> Result<(), StorageError> {
        name::check_existing(path)?;
        self.files.open_directory(path, OFlags::PATH).map(drop)
    }

    fn list(&self, path: &VirtualPath) -> Result<Entries, StorageError> {
        name::check_existing(path)?;
        let directory = self.files.open_directory(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        Ok(Box::new(DirectoryEntries::new(&self.files.root, path, directory)))
    }

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        name::check_existing(path)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.files.root.open_beneath(path.relative(), flags).map_err(lookup)?;
        let metadata = root::metadata_of(&file).map_err(system)?;
        self.files.policy.check_readable(&metadata)?;
        let former = self.files.root.usage().former(&metadata);
        Ok(Box::new(LocalSource::new(file, metadata.size, former)))
    }

    fn write(&self, path: &VirtualPath, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        begin::begin(&self.files, path, mode, None)
    }

    fn write_as(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        user: &[u8],
    ) -> Result<Box<dyn Upload>, StorageError> {
        begin::begin(&self.files, path, mode, Some(user))
    }

    fn partial_size(&self, path: &VirtualPath, user: &[u8]) -> Result<u64, StorageError> {
        name::check_existing(path)?;
        let target = Target::find(&self.files.root, path, WriteMode::Replace)
            .map_err(|error| StorageError { kind: StorageErrorKind::NotFound, ..error })?;
        let found = match WhenCut::of(&target, self.files.policy, Some(user)) {
            WhenCut::Keep(kept) => hidden::kept(&target.directory, &kept),
            WhenCut::Discard | WhenCut::Publish => None,
        };
        // A client that sent all of it and never heard so must find that a byte is missing: if it is
        // told its own length, it takes the file for stored.
        let told = found.map(|found| found.size.saturating_sub(1)).filter(|&told| told > 0);
        told.ok_or_else(|| StorageErrorKind::NotFound.into())
    }

    fn forget_partial(&self, path: &VirtualPath, user: &[u8]) -> Result<(), StorageError> {
        name::check_existing(path)?;
        let nothing = || StorageError::from(StorageErrorKind::NotFound);
        let target =
            Target::find(&self.files.root, path, WriteMode::Replace).map_err(|_| nothing())?;
        let kept = name::kept(user, &target.name);
        if self.files.policy.partial != PartialPolicy::Resume
            || hidden::kept(&target.directory, &kept).is_none()
        {
            return Err(nothing());
        }
        match hidden::remove(self.files.root.usage(), target.directory.as_fd(), &kept)
            .map_err(system)?
        {
            true => Ok(()),
            false => Err(StorageErrorKind::Busy.into()),
        }
    }

    fn remove(&self, path: &VirtualPath) -> Result<(), StorageError> {
        names::remove(&self.files, path)
    }

    fn rmdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        names::rmdir(&self.files, path)
    }

    fn mkdir(&self, path: &VirtualPath) -> Result<(), StorageError> {
        names::mkdir(&self.files, path)
    }

    fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: bool,
    ) -> Result<(), StorageError> {
        names::rename(&self.files, from, to, replace)
    }

    fn set_times(&self, path: &VirtualPath, modified: i64) -> Result<Metadata, StorageError> {
        let object = Changeable::find(&self.files.root, path)?;
        self.files.policy.check_links(&object.metadata)?;
        let modified = Timespec { tv_sec: modified, tv_nsec: 0 };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: unchanged, last_modification: modified };
        retry_on_intr(|| utimensat(CWD, &*object.link, &times, AtFlags::empty()))
            .map_err(system)?;
        object.metadata_now()
    }

    fn chmod(&self, path: &VirtualPath, mode: u32) -> Result<Metadata, StorageError> {
        let object = Changeable::find(&self.files.root, path)?;
        self.files.policy.check_links(&object.metadata)?;
        // By whatever name: a link can lead to the root.
        if object.metadata.identity == self.files.root.identity() {
            return Err(StorageErrorKind::Denied.into());
        }
        // What is in a directory that the server cannot read would not count.
        if self.files.policy.limit().is_some()
            && object.metadata.kind == EntryKind::Directory
            && mode & 0o500 != 0o500
        {
            return Err(StorageErrorKind::Denied.into());
        }
        // What a directory hands on to what is made in it is not for users to change.
        let kept = match object.metadata.kind {
            EntryKind::Directory => object.metadata.mode & 0o7000,
            _ => 0,
        };
        let mode = Mode::from_raw_mode(mode & 0o777 | kept);
        retry_on_intr(|| chmodat(CWD, &*object.link, mode, AtFlags::empty())).map_err(system)?;
        object.metadata_now()
    }

    fn space(&self, path: &VirtualPath) -> Result<u64, StorageError> {
        name::check_existing(path)?;
        let directory = self.files.open_directory(path, OFlags::PATH)?;
        let system = retry_on_intr(|| fstatvfs(&directory)).map_err(system)?;
        // Some that are kept elsewhere say nothing, which is not that they are full.
        if system.f_blocks == 0 {
            return Err(StorageErrorKind::Unsupported.into());
        }
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn make_room(
        &self,
        path: &VirtualPath,
        wanted: u64,
        purpose: RoomFor,
    ) -> Result<u64, StorageError> {
        let free = || {
            let bytes = self.space(path)?;
            // Where there is a fixed number of inodes, each new object takes one.
            let inodes = match purpose {
                RoomFor::New => self.files.lack_of_inodes(path, wanted)?,
                RoomFor::More => None,
            };
            Ok(inodes.map_or(bytes, |inodes| inodes.saturating_mul(OBJECT).min(bytes)))
        };
        let before = free()?;
        if before >= wanted {
            return Ok(before);
        }
        let given_up =
            eviction::give_up(&self.files.root, || free().is_ok_and(|free| free >= wanted));
        if given_up > 0 { free() } else { Ok(before) }
    }

    fn quota(&self) -> Result<Option<u64>, StorageError> {
        let limit = self.files.policy.limit();
        limit.map(|limit| quota::left(&self.files.root, limit)).transpose()
    }
}

/// What confines threads to the root, where the system has that.
fn confinement_if_any(root: &Root) -> Result<Option<Confinement>, StorageError> {
    match Confinement::beneath(root) {
        Err(StorageError { kind: StorageErrorKind::Unsupported, .. }) => Ok(None),
        made => made.map(Some),
    }
}
