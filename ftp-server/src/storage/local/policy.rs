//! Settings of a [`LocalStorage`](super::LocalStorage).

use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::Mode;

use super::failure::needs_file;
use super::usage::Cost;
use crate::limits;
use crate::storage::{ConfinementPolicy, EntryKind, Metadata, StorageError, StorageErrorKind};

/// Time for which a partial upload is kept for its user.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Data that is on disk, and not only in memory, when the server confirms an upload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Nothing: the system decides when to write. A power failure may leave an empty or truncated
    /// file under the new name.
    None,
    /// The content, before it gets its name. After a power failure the name leads to the whole old
    /// or the whole new content, or a new file is missing.
    File,
    /// The content and then the name. After a power failure the name leads to the new content.
    /// Renames, removals and new directories are on disk too when they are confirmed. If the disk
    /// fails at the name, the command fails although it took effect.
    #[default]
    FileAndDirectory,
}

/// Handling of interrupted uploads of new files.
///
/// If the file existed before, the old one stays and the partial upload is discarded. For a day, an
/// empty hidden file records that the upload was interrupted. Also discarded is an upload that the
/// user aborted with `ABOR`, that the storage could not store, or that belongs to a shared login.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PartialPolicy {
    /// Keep it hidden for a day. The same user can resume it by `REST` and `STOR`, or by `APPE`
    /// after `SIZE`; it gets its name when it is complete. `SIZE` reports one byte less than was
    /// received, so that a client that has sent everything still has something to send.
    #[default]
    Resume,
    /// Discard it.
    Discard,
    /// Publish it under its name, as other servers do: readers cannot see that it is incomplete.
    Publish,
}

/// Settings of a [`LocalStorage`](crate::LocalStorage). Each field names its default, which
/// [`Default`] sets. Later versions add fields.
///
/// ```
/// use ftp_server::{LocalConfig, SyncPolicy};
///
/// let config = LocalConfig::default().with(|config| config.sync = SyncPolicy::File);
/// assert_eq!(config.umask, 0o022);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LocalConfig {
    /// Data that is on disk when an upload, a rename, a removal or a new directory is confirmed
    /// (default: [`SyncPolicy::FileAndDirectory`]).
    pub sync: SyncPolicy,
    /// Confinement of sessions by the kernel (default: [`ConfinementPolicy::BestEffort`]).
    pub confine: ConfinementPolicy,
    /// Whether to refuse with `Denied` reading, appending to, partly replacing, or changing
    /// attributes of a file with more than one name (default: `false`). Use it for a tree in which
    /// other local users can create hard links to files of others. Such a name can still be listed,
    /// removed, renamed and replaced, which does not affect the file's other names.
    pub deny_hardlinks: bool,
    /// Handling of interrupted uploads of new files (default: [`PartialPolicy::Resume`]).
    pub partial: PartialPolicy,
    /// Maximum partial uploads to keep of one user, the newest ones (default: 100; 0: unlimited).
    pub partial_files: usize,
    /// Maximum bytes to keep of all partial uploads of one user (default: 10 GiB; 0: unlimited).
    /// The newest ones are kept, and of a larger upload the beginning.
    pub partial_bytes: u64,
    /// Umask of new files and directories, which are `0o666` and `0o777` without it (default:
    /// `0o022`). The umask of the process has no effect. A default ACL of the directory replaces
    /// both.
    pub umask: u32,
    /// Maximum bytes of all files below the root (default: 0, unlimited). More fails with
    /// `OverQuota`: 552.
    ///
    /// A regular file counts by its length, once for each of its names. Partial uploads and the
    /// bytes of running uploads count too. An empty file and a directory count as 4 KiB. A file
    /// that is being replaced counts until the new one has its name. Until then both exist, and the
    /// old one stays if the new one does not arrive. Symbolic links and other objects are free.
    ///
    /// All storages of one root in a process share the count, whatever their limits. It begins with
    /// a walk through the tree when a limit is first checked; a million files take some seconds.
    /// During the walk an upload is [prepared](crate::Upload::prepare) for up to 20 seconds and
    /// fails with `Busy` after that. [`quota`](crate::Storage::quota) fails with `Busy` after 5
    /// seconds. The walk continues, and nothing else waits. Objects that are created, removed or
    /// moved during the walk may count twice until the next walk, but are never missed.
    ///
    /// From then on the count includes the changes made through these storages, but not those of
    /// other processes, or of storages of a directory above or below. So, unless an upload is
    /// running, the tree is counted again:
    ///
    /// - when an upload begins and the count is a day old;
    /// - when an upload needs bytes or a name, and the last count leaves none and is ten minutes
    ///   old; the upload then waits;
    /// - after the last storage and the last [`Tally`](crate::Tally) of the root were dropped.
    ///
    /// While a directory cannot be read, a new count is never lower than the old one. So
    /// [`chmod`](crate::Storage::chmod) is `Denied` if the server could not read the directory any
    /// more.
    pub quota: u64,
    /// Maximum number of files and directories below the root (default: 0, unlimited). More fails
    /// with `OverQuota`: 552.
    ///
    /// They are counted as for [`quota`](Self::quota). A file counts once for each of its names;
    /// partial uploads and running uploads of new files count too. Replacing a file and appending
    /// to one do not increase the number.
    pub max_files: u64,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::default(),
            confine: ConfinementPolicy::default(),
            deny_hardlinks: false,
            partial: PartialPolicy::default(),
            partial_files: limits::PARTIAL_FILES,
            partial_bytes: limits::PARTIAL_BYTES,
            umask: 0o022,
            quota: 0,
            max_files: 0,
        }
    }
}

/// Limits of a user's kept partial uploads, in files and bytes; 0: unlimited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Bounds {
    /// Returns whether this number of files with this number of bytes may be kept.
    pub(super) const fn allow(self, files: usize, bytes: u64) -> bool {
        (self.files == 0 || files <= self.files) && (self.bytes == 0 || bytes <= self.bytes)
    }
}

impl LocalConfig {
    /// Returns these settings with `change` applied.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns the limits of a user's kept partial uploads.
    pub(super) const fn bounds(self) -> Bounds {
        Bounds { files: self.partial_files, bytes: self.partial_bytes }
    }

    /// Returns the umask of new objects.
    pub(super) const fn mask(self) -> Umask {
        Umask::new(self.umask)
    }

    /// Returns the limits of the quota; `None` without a quota.
    pub(super) fn limit(self) -> Option<Cost> {
        let limit = Cost {
            bytes: self.most_bytes().unwrap_or(u64::MAX),
            files: self.most_files().unwrap_or(u64::MAX),
        };
        (self.quota > 0 || self.max_files > 0).then_some(limit)
    }

    pub(super) const fn most_bytes(self) -> Option<u64> {
        if self.quota == 0 { None } else { Some(self.quota) }
    }

    pub(super) const fn most_files(self) -> Option<u64> {
        if self.max_files == 0 { None } else { Some(self.max_files) }
    }

    /// Refuses an object whose content may not be sent or extended.
    pub(super) fn check_readable(self, object: &Metadata) -> Result<(), StorageError> {
        needs_file(object.kind)?;
        self.check_links(object)
    }

    /// Refuses a file that may belong to another user too.
    pub(super) fn check_links(self, object: &Metadata) -> Result<(), StorageError> {
        match self.deny_hardlinks && object.kind == EntryKind::File && object.links > 1 {
            true => Err(StorageErrorKind::Denied.into()),
            false => Ok(()),
        }
    }
}

/// The umask of new objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Umask(u32);

impl Umask {
    pub(super) const fn new(bits: u32) -> Self {
        Self(bits & 0o777)
    }

    /// Returns the bits of a new object that has `all` without the umask.
    pub(super) const fn apply(self, all: u32) -> Mode {
        Mode::from_raw_mode(all & !self.0)
    }

    /// Returns whether the bits must be set after the file is created, because the process's umask
    /// removes more. Otherwise they stay as the system set them: a directory may have a default
    /// ACL, which replaces a umask.
    pub(super) fn is_looser_than_process(self) -> bool {
        mask_of_process().is_none_or(|bits| bits & !self.0 != 0)
    }
}

/// Returns the umask of the process at the first call. Only `/proc` shows it without changing it,
/// and a thread confined to a root can no longer read that.
pub(super) fn mask_of_process() -> Option<u32> {
    static MASK: OnceLock<Option<u32>> = OnceLock::new();
    *MASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_takes_bits_away_fs_17() {
        assert_eq!(Umask::new(0o022).apply(0o666), Mode::from_raw_mode(0o644));
        assert_eq!(Umask::new(0o7077).apply(0o777), Mode::from_raw_mode(0o700));
        assert!(!Umask::new(0o777).is_looser_than_process());
        assert_eq!(Umask::new(0).is_looser_than_process(), mask_of_process() != Some(0));
    }
}
