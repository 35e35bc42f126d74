//! Files below one directory of this machine.
//!
//! The root is held open. `openat2` resolves every path below the root, with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_MAGICLINKS`. The kernel follows symbolic links that stay in the tree. It refuses
//! links that are absolute or lead out, even if other programs swap names during the lookup. On
//! kernels without `openat2`, [`open_beneath`](root::open_beneath) does the same, one component at a time. In addition, Landlock
//! confines the thread of a session to the root, if the kernel supports it.
//!
//! A long append, and a long upload that restarts at the end of the file, write in place. Short ones
//! are written in one go when they are complete. Other uploads write to a file with a hidden name. The complete file takes its final name in one step.

mod append;
mod backlog;
mod changes;
mod directory;
mod facts;
mod files;
mod hidden;
mod inherit;
mod kept_uploads;
mod name;
mod names;
mod output;
mod policy;
mod record;
mod replacement;
mod root;
mod sweep;
mod target;
#[cfg(test)]
mod tests;
mod turn;
mod usage;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

pub use self::policy::{LocalConfig, PartialPolicy, SyncPolicy};
#[cfg(feature = "daemon")]
pub(crate) use self::{
    directory::{
        exceeds_access, may_access, may_give_to_group, may_give_to_user, owns_all_files, rename_new,
    },
    name::is_temporary as is_hidden_name,
    turn::{lock, unlock},
};

use rustix::fs::OFlags;

use self::append::Appending;
use self::changes::Changeable;
use self::directory::{DirectoryEntries, lookup, system};
pub(crate) use self::files::free_bytes;
use self::files::{Files, LocalSource, lack_of_inodes};
use self::replacement::Replacement;
use self::root::Root;
use self::target::Target;
use self::usage::{COST_OF_OBJECT as OBJECT, Cost};
use super::confinement::Confinement;
use super::{
    Ask, Capabilities, Change, Confine, ConfinementPolicy, ConfinementStatus, Entries, EntryKind,
    Keep, Metadata, RoomFor, Source, Space, Storage, StorageError, StorageErrorKind, StorageResult,
    Unfinished, Upload, VirtualPath, WriteMode,
};

/// Files below one directory of this machine.
///
/// - The storage follows symbolic links that stay below the root. An absolute link counts as leading
///   out of the root, even if its target is in the tree.
/// - An upload that does not write in place goes to a temporary file in the directory of its
///   target. When complete, the file takes the target's name in one step. If the target is a
///   symbolic link, the upload replaces or creates the file that the link leads to, in that file's
///   directory. The new file takes over from the replaced file, as far as the server may set it:
///   the owner, the group, the permission bits without set-id bits, the ACL and the extended
///   attributes `user.*`. If no file is replaced, the permission bits are `0o666` less the
///   [umask](LocalConfig::umask), or those of the directory's default ACL. A file that the server
///   has no right to write is not replaced.
/// - The [`PartialPolicy`] determines the handling of a partial upload of a new file. A kept upload
///   is hidden in the directory of the file. One session at a time can resume it; a second session
///   gets `Busy`.
/// - [`WriteMode::Append`] to an existing file, and [`WriteMode::From`] with the size of the file,
///   collect up to 1 MiB for up to 5 s, and write it when the upload is complete. A longer upload
///   goes on in place. Meanwhile others wait for up to 15 s, and then get `Busy`. If another one
///   waits, an upload that adds less than 4 KiB in 5 s fails with `Busy`, and its bytes stay.
///   Bytes in place also stay if the process is killed, if another program changes the file, or if
///   the file system cannot shorten it: a read-only one, or btrfs above its own quota.
/// - Names that begin with `.ftp-upload-` belong to unfinished uploads. Clients cannot list, access
///   or create such names. After [`start_sweeper`](Self::start_sweeper), a thread removes abandoned
///   files. A server calls `start_sweeper` for its root if any user may upload.
/// - Only regular files can be read or written. FIFOs, sockets and devices only appear in listings.
/// - If the kernel supports it, Landlock confines the thread of a session to the root (see
///   [`ConfinementPolicy`]). Then even a defect in the server gives no access to files outside the
///   root.
///
/// ```
/// use std::io::Read;
///
/// use ftp_server::{Ask, Keep, LocalStorage, Storage, VirtualPath, WriteMode};
///
/// # let directory = std::env::temp_dir().join(format!("ftp-local-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let storage = LocalStorage::open(&directory)?;
/// let path = VirtualPath::root().join(b"greeting");
/// let mut upload = storage.write(&path, WriteMode::Replace, Keep::Shared)?;
/// upload.write_all(b"hello")?;
/// assert!(storage.stat(&path, Ask::Facts).is_err());
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
    /// The version of the Landlock ABI to which sessions are confined; `None` if they are not.
    landlock: Option<u8>,
}

/// The quota count of a root, from [`LocalStorage::tally`].
///
/// While a tally exists, the count is kept for the next storage opened on the same directory. A
/// tally takes a few hundred bytes of memory and, unlike a storage, no file descriptor. Changes by
/// other processes are not counted. A tally identifies the root by device and inode number. Drop
/// the tally if its directory is replaced: a new directory can reuse the inode number of a removed
/// one.
#[cfg(feature = "daemon")]
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    usage: Arc<usage::Usage>,
}

#[cfg(feature = "daemon")]
impl Tally {
    /// Returns the used bytes and files, if they were counted. Does not wait.
    pub(crate) fn used(&self) -> Option<(u64, u64)> {
        self.usage.known().map(|cost| (cost.bytes, cost.files))
    }
}

impl LocalStorage {
    /// Opens the directory `root` as the root of the tree. The directory stays open, so renaming it
    /// or mounting over it later has no effect.
    ///
    /// # Errors
    ///
    /// Returns:
    ///
    /// - `NotFound` if `root` does not exist;
    /// - `NotDirectory` if `root` is not a directory;
    /// - `Denied` if the server may not search `root` or a parent of it;
    /// - `Io` if anything else fails.
    pub fn open(root: impl AsRef<Path>) -> StorageResult<Self> {
        let root = Root::open(root.as_ref()).map_err(system)?;
        let landlock = Confinement::check(ConfinementPolicy::BestEffort, &[root.as_fd()])?;
        let files = Files { root: Arc::new(root), config: LocalConfig::default() };
        Ok(Self { files, landlock })
    }

    /// Returns this storage with other settings.
    ///
    /// ```
    /// use ftp_server::{
    ///     Keep, LocalConfig, LocalStorage, RoomFor, Storage, StorageError, StorageErrorKind,
    ///     VirtualPath, WriteMode,
    /// };
    ///
    /// # let root = tempfile::tempdir()?;
    /// let config = LocalConfig::new().quota(8);
    /// let storage = LocalStorage::open(root.path())?.configured(config)?;
    /// let path = VirtualPath::root().join(b"file");
    /// let mut upload = storage.write(&path, WriteMode::Replace, Keep::Shared)?;
    /// upload.write_all(b"12345")?;
    /// assert_eq!(storage.space(&path, RoomFor::User)?.bytes_left(), Some(3));
    /// let error = StorageError::from(upload.write_all(b"6789").unwrap_err());
    /// assert_eq!(error.kind, StorageErrorKind::OverQuota);
    /// drop(upload);
    /// # storage.remove(&path).unwrap_err();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if [`ConfinementPolicy::Require`] is set and the system lacks
    /// `openat2` or Landlock, or `Io` if the kernel refuses the confinement.
    pub fn configured(self, config: LocalConfig) -> StorageResult<Self> {
        let root = &self.files.root;
        if config.confine == ConfinementPolicy::Require && !root.is_kernel_confined() {
            let source = std::io::Error::other(
                "openat2 does not work: Linux is older than 5.6, or a filter of system calls turns \
                 it off, as RestrictSUIDSGID in a unit of systemd does",
            );
            return Err(StorageError::caused_by(StorageErrorKind::Unsupported, source));
        }
        let landlock = Confinement::check(config.confine, &[root.as_fd()])?;
        let files = Files { config, ..self.files };
        Ok(Self { files, landlock })
    }

    /// Returns the settings.
    #[must_use]
    pub const fn config(&self) -> LocalConfig {
        self.files.config
    }

    /// Starts a thread that removes abandoned files of uploads: files of a server that was killed,
    /// and interrupted uploads older than 12 hours. The thread walks the tree now, and again when the
    /// next upload is that old: after 1 to 12 hours. The thread ends when the last clone of this
    /// storage is dropped. A second call does nothing.
    ///
    /// A walk reads every directory of the tree and follows no symbolic link. Its memory grows with
    /// the depth of the tree, and it keeps at most about 64 directories open. A walk recognises
    /// running uploads, including those of other servers, by the locks (`flock`) on their files. On
    /// a file system without locks, it leaves each file alone for 12 hours.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the thread cannot be started.
    pub fn start_sweeper(&self) -> std::io::Result<()> {
        if self.files.root.sweeper().get().is_none() {
            // Two parallel calls may start two threads. The surplus thread ends after its first
            // walk, because its sender is dropped.
            let _ = self.files.root.sweeper().set(sweep::start(&self.files.root)?);
        }
        Ok(())
    }

    /// Returns a handle that keeps the count of [`LocalConfig::quota`] and
    /// [`LocalConfig::max_files`] while no storage of the root is open.
    #[cfg(feature = "daemon")]
    pub(crate) fn tally(&self) -> Tally {
        Tally { usage: Arc::clone(self.files.root.usage()) }
    }

    /// Walks the tree once and removes abandoned files of uploads, as
    /// [`start_sweeper`](Self::start_sweeper) does repeatedly. Use this method to tidy up many
    /// trees from one thread, which must not be confined to another directory. Returns whether the
    /// whole tree could be read. If not, abandoned files may remain.
    #[expect(clippy::must_use_candidate, reason = "many callers need only the removal")]
    pub fn tidy_up(&self) -> bool {
        let root = Arc::clone(&self.files.root);
        sweep::once(&root).0
    }

    /// As [`tidy_up`](Self::tidy_up), below this directory. Returns the time after which the tree must be
    /// tidied up again, so that no file is kept much longer than 12 hours.
    #[cfg(feature = "daemon")]
    pub(crate) fn sweep_below(root: &Path) -> std::time::Duration {
        match Root::open(root) {
            Ok(root) => {
                let root = Arc::new(root);
                // A walk ends early if nothing else uses the root.
                let _in_use = Arc::clone(&root);
                sweep::once(&root).1
            }
            Err(errno) if hidden::is_shortage(errno) => sweep::SOON,
            Err(_) => sweep::AGAIN,
        }
    }

    pub(crate) fn confinement_status(&self) -> ConfinementStatus {
        let openat2 = self.files.root.is_kernel_confined();
        ConfinementStatus { openat2, landlock: self.landlock, lacks: self.files.root.lacks() }
    }
}

impl Storage for LocalStorage {
    fn confine(&self) -> Confine<'_> {
        self.landlock.map_or(Confine::No, |_| Confine::Beneath(vec![self.files.root.as_fd()]))
    }

    fn capabilities(&self) -> Capabilities {
        let changes = Capabilities::SET_TIMES | Capabilities::CHMOD;
        let others = Capabilities::SPACE | Capabilities::DIGEST | Capabilities::QUOTA;
        changes | others | Capabilities::BOUNDED_WAITS | Capabilities::LINKS
    }

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        name::check_existing(path)?;
        match ask {
            // Opened, because a directory that may not be searched has metadata too.
            Ask::Directory => {
                self.files.open_directory(path, OFlags::PATH).map(|_| Metadata::directory())
            }
            _ => {
                let mut found = self.files.root.stat(path.relative()).map_err(lookup)?;
                if ask == Ask::Permissions
                    && found.kind == EntryKind::File
                    && let Ok((directory, _)) = self.files.parent(path)
                {
                    found.directory_use = directory::use_of(&directory);
                }
                Ok(found)
            }
        }
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        name::check_existing(path)?;
        let directory = self.files.open_directory(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let entries = DirectoryEntries::new(&self.files.root, path, directory, ask);
        Ok(Entries::new(entries))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        name::check_existing(path)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.files.root.open_beneath(path.relative(), flags).map_err(lookup)?;
        let metadata = root::metadata_of(&file).map_err(system)?;
        self.files.config.check_readable(&metadata)?;
        Ok(Box::new(LocalSource::new(file, &metadata)))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let mut files = self.files.clone();
        if !keep.has_bytes() && files.config.partial == PartialPolicy::Resume {
            files.config.partial = PartialPolicy::Discard;
        }
        begin(&files, path, mode, keep.user())
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        record::find((&self.files.root, self.files.config), path, user)
    }

    fn kept(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        record::open_kept((&self.files.root, self.files.config), path, user)
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        record::forget((&self.files.root, self.files.config), path, user)
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        changes::remove(&self.files, path)
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        changes::rmdir(&self.files, path)
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        changes::mkdir(&self.files, path)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        changes::rename(&self.files, from, to, replace)
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let object = Changeable::find(&self.files.root, path)?;
        self.files.config.check_links(&object.metadata)?;
        match change {
            Change::Modified(time) => object.set_modified(time),
            Change::Mode(mode) => {
                let is_limited = self.files.config.limit().is_some();
                object.set_mode(mode, &self.files.root, is_limited)
            }
        }
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space> {
        let (RoomFor::New(wanted) | RoomFor::More(wanted)) = room else {
            return self.quota();
        };
        name::check_existing(path)?;
        let found = self.files.file_system(path)?;
        // On a file system with a fixed number of inodes, each new object takes one. Kept uploads
        // that lose their bytes give none back.
        if matches!(room, RoomFor::New(_))
            && let Some(inodes) = lack_of_inodes(&found, wanted)
        {
            return Ok(Space::free(inodes.saturating_mul(OBJECT).min(free_bytes(&found))));
        }
        let before = free_bytes(&found);
        let Some(lacking) = wanted.checked_sub(before).filter(|lacking| *lacking > 0) else {
            return Ok(Space::free(before));
        };
        let device = self.stat(path, Ask::Facts)?.identity.0;
        let free = || self.files.file_system(path).map(|found| free_bytes(&found));
        let is_enough = || free().is_ok_and(|free| free >= wanted);
        let given_up = sweep::give_up(&self.files.root, device, lacking, is_enough);
        let after = if given_up > 0 { free()? } else { before };
        Ok(Space::free(after))
    }
}

impl LocalStorage {
    fn quota(&self) -> StorageResult<Space> {
        let Some(limit) = self.files.config.limit() else { return Ok(Space::default()) };
        let used = files::used(&self.files.root, limit, Cost::BYTE)?;
        let [max_bytes, max_files] =
            [limit.bytes, limit.files].map(|most| (most < u64::MAX).then_some(most));
        Ok(Space { max_bytes, max_files, ..Space::used(used.bytes, used.files) })
    }
}

/// Begins an upload. An interrupted upload may be kept for `user` to resume; with `None`, no partial
/// upload is kept.
fn begin(
    files: &Files,
    path: &VirtualPath,
    mode: WriteMode,
    user: Option<&[u8]>,
) -> StorageResult<Box<dyn Upload>> {
    if path.is_root() {
        return Err(StorageErrorKind::IsDirectory.into());
    }
    name::check_new(path)?;
    let target = Target::find(&files.root, path, mode)?;
    if let Some(old) = target.existing {
        old.kind.check_file()?;
    }
    let given = files.config.for_files();
    if let WriteMode::Resume(from) = mode {
        target.check_replaceable(given)?;
        let refused = target.clone();
        let resumed = Replacement::resume(target, from, files.config, user);
        return Ok(Box::new(resumed.map_err(|error| refused.explained(given, error))?));
    }
    let size = target.existing.map_or(0, |old| old.size);
    if matches!(mode, WriteMode::From(from) if from > size) {
        return Err(StorageErrorKind::BadRestart.into());
    }
    let is_in_place = !files.config.whole && is_in_place(&target, mode);
    let mode = match mode {
        WriteMode::Append if !is_in_place && target.existing.is_some() => WriteMode::From(size),
        mode => mode,
    };
    if !is_in_place {
        target.check_replaceable(given)?;
    }
    let old = target.existing.filter(|_| !is_in_place);
    let owner = name::owner_of(user);
    let cost = if target.existing.is_some() { Cost::default() } else { Cost::NAME };
    let charge = sweep::give_way(&files.root, owner, || files.charge(cost, old.as_ref()))?;
    if is_in_place {
        let expected = if let WriteMode::From(from) = mode { Some(from) } else { None };
        return Ok(Box::new(Appending::begin(target, expected, files.config, owner, charge)?));
    }
    let begun = Replacement::begin(&target, mode, files.config, user, charge);
    Ok(Box::new(begun.map_err(|error| target.explained(given, error))?))
}

/// Returns whether the upload adds to the end of the existing file.
fn is_in_place(target: &Target, mode: WriteMode) -> bool {
    let size = target.existing.map(|old| old.size);
    match mode {
        WriteMode::Append => size.is_some(),
        WriteMode::From(from) => from > 0 && Some(from) == size,
        WriteMode::Create | WriteMode::Replace | WriteMode::Resume(_) => false,
    }
}
