//! Settings of a [`LocalStorage`](super::LocalStorage).

use std::time::Duration;

use super::usage::Cost;
use crate::limits;
use crate::storage::unfinished::REMEMBERED;
use crate::storage::{ConfinementPolicy, EntryKind, Metadata, StorageErrorKind, StorageResult};

/// Data that is on disk, and not only in memory, when the server confirms an upload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Nothing: the system decides when to write, until it makes a write wait for a second. A power
    /// failure may leave an empty or truncated file under the new name.
    None,
    /// The content, before the file gets its name. After a power failure, the name has either the
    /// complete new content or the complete old content; a new file may be missing.
    File,
    /// The content and then the name. After a power failure, the name has the new content. Renames,
    /// removals and new directories are on disk too when the server confirms them. If the sync of
    /// the name fails, the command fails although it took effect.
    #[default]
    FileAndDirectory,
}

/// Handling of interrupted uploads.
///
/// Whatever the policy is, an old file stays, and for 12 hours a hidden file records the
/// interruption (see [`Unfinished`](crate::Unfinished)). The bytes of an upload that failed, or
/// whose login is shared, are always discarded. If a resumed upload fails, the bytes of earlier
/// sessions stay.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PartialPolicy {
    /// Keep the received bytes for 12 hours, hidden. The same user can go on with them, with `REST`
    /// and `STOR`, or with `APPE` after `SIZE`. The file gets its name when it is complete. `SIZE`
    /// reports one byte less than was received, so that a client that has sent everything still has
    /// something to send.
    #[default]
    Resume,
    /// Discard the received bytes.
    Discard,
    /// Publish the received bytes of a new file under its name, as other servers do. Readers cannot
    /// see that the file is incomplete. Of an upload that was to replace a file, discard them. As
    /// with `Resume`, nothing is kept of an upload to a drop box, by `STOU`, or of a
    /// [shared](crate::Login::is_shared) login, and `APPE` leaves the old file.
    Publish,
}

/// Settings of a [`LocalStorage`](crate::LocalStorage). The description of each field gives its
/// default. Later versions may add fields.
///
/// ```
/// use ftp_server::{LocalConfig, SyncPolicy};
///
/// let config = LocalConfig::new().sync(SyncPolicy::File);
/// assert_eq!(config.umask, 0o022);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LocalConfig {
    /// Data that is on disk when the server confirms an upload, a rename, a removal or a new
    /// directory (default: [`SyncPolicy::FileAndDirectory`]).
    pub sync: SyncPolicy,
    /// Confinement of sessions by the kernel (default: [`ConfinementPolicy::BestEffort`]).
    pub confine: ConfinementPolicy,
    /// Whether to deny access to files with more than one name (default: `false`). Reading such a
    /// file, appending to it, replacing part of it and changing its attributes fail with `Denied`.
    /// Use this for a tree in which local users can create hard links to files of other users. A
    /// name of such a file can still be listed, removed, renamed and replaced, without effect on
    /// the file's other names.
    pub deny_hardlinks: bool,
    /// Handling of interrupted uploads of new files (default: [`PartialPolicy::Resume`]).
    pub partial: PartialPolicy,
    /// Maximum number of partial uploads kept for one user (default: 100; 0: unlimited). The newest
    /// are kept.
    pub partial_files: usize,
    /// Maximum bytes of all partial uploads kept for one user (default: 10 GiB; 0: unlimited). The
    /// newest are kept; of an upload that alone exceeds the maximum, only the beginning is kept.
    pub partial_bytes: u64,
    /// Time for which the bytes of an interrupted upload are kept (default: 12 h). The record of the
    /// upload, which tells its user that the file must be sent again, lasts longer.
    pub partial_age: Duration,
    /// Umask of new files and directories, applied to `0o666` and `0o777` (default: `0o022`).
    /// The process's umask has no effect. A default ACL of the parent directory replaces this umask.
    pub umask: u32,
    /// Owner of new files and directories, as a number of a user (default: `None`, the server's
    /// user). The server needs the capability `CAP_CHOWN`, unless this is its own user. Without it,
    /// uploads fail with `Fixed`, and [`mkdir`](crate::Storage::mkdir) fails with `Denied`.
    ///
    /// With this field and the next three, a new file is private to the server's user until it is
    /// complete, and gets its owner directly before its name. They also apply to a file that replaces
    /// another one, and then prevail over what the replaced file had. An append to an existing file
    /// does not change these attributes.
    pub owner: Option<u32>,
    /// Group of new files and directories, as a number (default: `None`, the server's group or that
    /// of the parent directory). The server must be a member of the group, or have the capability
    /// `CAP_CHOWN`; otherwise, the calls fail as with [`owner`](Self::owner).
    pub group: Option<u32>,
    /// Exact permission bits of new files (default: `None`, those that the umask leaves). If the
    /// directory has a default ACL, the bits of the group are the mask of the file's ACL.
    pub file_mode: Option<u32>,
    /// Exact permission bits of new directories (default: `None`, those that the umask leaves). A
    /// directory also takes over the set-group-ID bit of its parent.
    pub directory_mode: Option<u32>,
    /// Maximum bytes of all files below the root (default: 0, unlimited). Exceeding it fails with
    /// `OverQuota` (552).
    ///
    /// A regular file counts by its length, once for each of its names. Partial uploads and the
    /// bytes of running uploads count too. An empty file or a directory counts as 4 KiB. An upload
    /// that replaces a file may use the file's bytes again, although both exist until the new file
    /// takes the name; if several uploads replace a file at the same time, only one of them may.
    /// Symbolic links and other objects are free.
    ///
    /// All storages of one root in a process share the count, whatever their limits. The count
    /// begins with a walk through the tree when a limit is first checked; a million files take a
    /// few seconds. During the walk, an upload, the quota and [`mkdir`](crate::Storage::mkdir) wait
    /// for up to 5 s, and then fail with `Busy`. The walk continues, and nothing else waits. Objects that are created, removed or moved during the
    /// walk may count too often until the next walk, but are never missed.
    ///
    /// From the first walk on, the count includes changes made through these storages. It does not
    /// include changes by other processes, or through storages of a directory above or below the
    /// root. So the tree is counted again, unless an upload is running:
    ///
    /// - when an upload begins and the count is a day old;
    /// - when an upload needs bytes or a name, but a count that is at least ten minutes old leaves
    ///   none (the upload then waits);
    /// - when a limit is first checked after the last storage of the root was dropped.
    ///
    /// While a directory cannot be read, a new count is never lower than the old one. So a change of
    /// the mode fails with `Denied` if it would make a directory unreadable for the server.
    pub quota: u64,
    /// Maximum number of files and directories below the root (default: 0, unlimited). Exceeding it
    /// fails with `OverQuota` (552).
    ///
    /// Files and directories are counted as for [`quota`](Self::quota). A file counts once for each
    /// of its names; partial uploads and running uploads of new files count too. Replacing a file
    /// or appending to it does not increase the number.
    pub max_files: u64,
    /// Whether an append, too, makes a complete new file that takes the place of the old one (default:
    /// `false`), so that [`Upload::descriptor`](crate::Upload::descriptor) has the whole content before
    /// anything of it is visible. Each append then copies the old content. If the file changes
    /// meanwhile, the upload fails with `Busy`.
    pub whole: bool,
}

ftp_proto::settings! {
    LocalConfig {
        sync: SyncPolicy = SyncPolicy::default(),
        confine: ConfinementPolicy = ConfinementPolicy::default(),
        deny_hardlinks: bool = false,
        partial: PartialPolicy = PartialPolicy::default(),
        partial_files: usize = limits::PARTIAL_FILES,
        partial_bytes: u64 = limits::PARTIAL_BYTES,
        partial_age: Duration = REMEMBERED,
        umask: u32 = 0o022,
        owner: Option<u32> = None,
        group: Option<u32> = None,
        file_mode: Option<u32> = None,
        directory_mode: Option<u32> = None,
        quota: u64 = 0,
        max_files: u64 = 0,
        whole: bool = false,
    }
}

impl LocalConfig {
    /// Returns the maximum bytes of a user's kept partial uploads.
    pub(super) const fn most_kept(self) -> u64 {
        if self.partial_bytes == 0 { u64::MAX } else { self.partial_bytes }
    }

    pub(super) const fn allows_kept(self, files: usize, bytes: u64) -> bool {
        (self.partial_files == 0 || files <= self.partial_files) && bytes <= self.most_kept()
    }

    /// Returns the limits on bytes and files, the largest number for none; `None` if neither is limited.
    pub(super) fn limit(self) -> Option<Cost> {
        let most = |limit| if limit == 0 { u64::MAX } else { limit };
        let limit = Cost { bytes: most(self.quota), files: most(self.max_files) };
        (self.quota > 0 || self.max_files > 0).then_some(limit)
    }

    /// Returns an error if the content of the object may not be read or extended.
    pub(super) fn check_readable(self, object: &Metadata) -> StorageResult<()> {
        object.kind.check_file()?;
        self.check_links(object)
    }

    /// Returns `Denied` if the file has more than one name and `deny_hardlinks` is set.
    pub(super) fn check_links(self, object: &Metadata) -> StorageResult<()> {
        match self.deny_hardlinks && object.kind == EntryKind::File && object.links > 1 {
            true => Err(StorageErrorKind::Denied.into()),
            false => Ok(()),
        }
    }
}
