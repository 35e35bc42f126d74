//! What can be chosen about uploads.

use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::Mode;

use super::failure::needs_file;
use crate::limits;
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind};

/// How long what came of a cut upload is kept for its user.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What of an upload is on the disk, and not only in memory, when it is reported as done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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

/// All that is chosen for one storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) sync: SyncPolicy,
    pub(super) partial: PartialPolicy,
    /// How much is kept of the cut uploads of each user.
    pub(super) bounds: Bounds,
    pub(super) umask: Umask,
    /// How many bytes there may be beneath the root; 0 for any number.
    pub(super) quota: u64,
    /// Whether a file with several names is left alone.
    pub(super) deny_hardlinks: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let bounds = Bounds { files: limits::PARTIAL_FILES, bytes: limits::PARTIAL_BYTES };
        let (sync, partial, umask) = Default::default();
        Self { sync, partial, bounds, umask, quota: 0, deny_hardlinks: false }
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

impl Policy {
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

impl Default for Umask {
    fn default() -> Self {
        Self(0o022)
    }
}

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
        assert_eq!(Umask::default().apply(0o666), Mode::from_raw_mode(0o644));
        assert_eq!(Umask::new(0o7077).apply(0o777), Mode::from_raw_mode(0o700));
        assert!(!Umask::new(0o777).is_looser_than_process());
        assert_eq!(Umask::new(0).is_looser_than_process(), mask_of_process() != Some(0));
    }
}
