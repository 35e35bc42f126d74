//! The settings of a [`LocalStorage`](super::LocalStorage).

use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::Mode;

use super::failure::needs_file;
use crate::limits;
use crate::storage::{ConfinementPolicy, EntryKind, Metadata, StorageError, StorageErrorKind};

/// How long what came of a cut upload is kept for its user.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What of an upload is on the disk, and not only in memory, when it is reported as done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Nothing: the system writes when it likes. A power cut may leave an empty or short file
    /// under the new name.
    None,
    /// The content, before it gets its name: after a power cut the name leads to the whole old
    /// content or to the whole new one, or a new file is missing.
    File,
    /// The content and then the name: after a power cut the name leads to the new content. What is
    /// renamed, removed or made is on the disk too when it is reported as done. If the disk fails
    /// at the name, the command is reported as failed although it took effect.
    #[default]
    FileAndDirectory,
}

/// What becomes of a new file of which only the beginning came, since the connection was lost.
///
/// Where a file stood before, it stays, and the cut upload goes. So does one that the user gave
/// up by `ABOR`, one that the storage could not store, and one of an identity that many share.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PartialPolicy {
    /// It stays for a day, hidden from everybody. `SIZE` tells the same user one byte less than
    /// came, so that a client that sent all of it still has something to send. The user resumes it
    /// by `REST` and `STOR`, or by `APPE` after that `SIZE`. It gets its name when it is whole.
    #[default]
    Resume,
    /// It goes.
    Discard,
    /// It gets its name as it is, as other servers do: whoever reads it cannot tell that it is
    /// not whole.
    Publish,
}

/// The settings of a [`LocalStorage`](crate::LocalStorage). [`Default`] gives the values named at
/// each field; fields are added in later versions.
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
    /// What is on disk when an upload, a rename, a removal or a new directory is reported as done.
    /// [`SyncPolicy::FileAndDirectory`].
    pub sync: SyncPolicy,
    /// How far the kernel has to keep sessions below the root.
    /// [`ConfinementPolicy::BestEffort`].
    pub confine: ConfinementPolicy,
    /// Whether a file with more than one name is `Denied` to be read, added to, kept in part, or
    /// given another time or other permission bits. For a tree in which others on this machine
    /// make names for files that are not theirs. Such a name can still be listed, removed, renamed
    /// and replaced: that does nothing to the file's other names. `false`.
    pub deny_hardlinks: bool,
    /// What becomes of a new file whose upload was cut. [`PartialPolicy::Resume`].
    pub partial: PartialPolicy,
    /// How many cut uploads of one user are kept, the youngest; 0: any number. 100.
    pub partial_files: usize,
    /// How many bytes of all cut uploads of one user are kept, the youngest; of a larger upload
    /// the beginning is kept. 0: any number. 10 GiB.
    pub partial_bytes: u64,
    /// The permission bits that new objects do not get, of the `0o666` of a file and the `0o777`
    /// of a directory. The umask of the process does not count, but a default ACL of a directory
    /// does, instead of either. `0o022`.
    pub umask: u32,
    /// How many bytes there may be in all below the root; 0: any number. More is `OverQuota`: 552.
    /// 0.
    ///
    /// Each regular file counts with its length, once for each of its names, and so do kept parts
    /// of cut uploads and the bytes that running uploads have written. An empty file and a
    /// directory count as 4 KiB. A file that is replaced counts until the new one has its name:
    /// until then both exist, and the old one stays if the new one does not arrive. Symbolic links
    /// and other objects are free.
    ///
    /// All storages of one root in a process share the count, with limits of their own or none. The
    /// count begins with a walk through the tree when a limit is first asked for; a million files
    /// take some seconds. An upload is [prepared](crate::Upload::prepare) meanwhile, for 20 seconds
    /// at most, and is `Busy` then, as [`quota`](crate::Storage::quota) is after 5 seconds, while
    /// the walk continues; nothing else waits. Objects that are made, removed or moved meanwhile
    /// may count twice until the next walk, and are never missed.
    ///
    /// From then on the count follows what is done through these storages; a rename stays below
    /// its root, so it brings nothing in. Other processes, and storages of a directory above or
    /// below, are not seen. So the count is made again, while no upload runs, when an upload begins
    /// with a count a day old, or would be refused by one ten minutes old, which waits; and after
    /// the last storage of the root and the last [`Tally`](crate::Tally) of it are dropped. A count
    /// never falls for a directory that cannot be read: until it can, a new count is at least the
    /// old one. So [`chmod`](crate::Storage::chmod) is `Denied` if it would keep the server from
    /// reading a directory.
    pub quota: u64,
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
        }
    }
}

/// How many cut uploads of one user are kept, and how many bytes of them; 0 for any number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Bounds {
    /// Whether this number of files with this number of bytes may be kept.
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

    /// How much is kept of the cut uploads of each user.
    pub(super) const fn bounds(self) -> Bounds {
        Bounds { files: self.partial_files, bytes: self.partial_bytes }
    }

    /// The permission bits that are taken from new objects.
    pub(super) const fn mask(self) -> Umask {
        Umask::new(self.umask)
    }

    pub(super) const fn limit(self) -> Option<u64> {
        if self.quota == 0 { None } else { Some(self.quota) }
    }

    /// Refuses an object whose content is not to be sent, nor added to.
    pub(super) fn check_readable(self, object: &Metadata) -> Result<(), StorageError> {
        needs_file(object.kind)?;
        self.check_links(object)
    }

    /// Refuses a file that may be somebody else's as well.
    pub(super) fn check_links(self, object: &Metadata) -> Result<(), StorageError> {
        match self.deny_hardlinks && object.kind == EntryKind::File && object.links > 1 {
            true => Err(StorageErrorKind::Denied.into()),
            false => Ok(()),
        }
    }
}

/// The permission bits that what is new does not get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Umask(u32);

impl Umask {
    pub(super) const fn new(bits: u32) -> Self {
        Self(bits & 0o777)
    }

    /// The bits of a new file that would have `all`.
    pub(super) const fn apply(self, all: u32) -> Mode {
        Mode::from_raw_mode(all & !self.0)
    }

    /// Whether the bits have to be set again behind the call that makes the file, since the
    /// process's own mask takes more away. Elsewhere they are left as the system made them: a
    /// directory may have a default ACL, which stands in place of a mask.
    pub(super) fn is_looser_than_process(self) -> bool {
        mask_of_process().is_none_or(|bits| bits & !self.0 != 0)
    }
}

/// The mask that this process had when this was asked first, which only `/proc` tells without
/// changing it: a thread that is confined to a root cannot look there any more.
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
