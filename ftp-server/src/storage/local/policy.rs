//! What can be chosen about uploads.

use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::Mode;

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
    /// content or to the whole new one.
    #[default]
    File,
    /// The content and then the name: after a power cut the name leads to the new content. Needs
    /// the right to read the directory. If the disk fails at the name, the upload is reported as
    /// failed although the new content is there.
    FileAndDirectory,
}

/// What becomes of a new file of which only the beginning came, since the connection was lost.
///
/// Where a file stood before, it stays, and the cut upload goes. So does one that the user gave
/// up by `ABOR`, one that the storage could not store, and one of an identity that many share.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PartialPolicy {
    /// It stays for a day, hidden from everybody: the same user is told its length by `SIZE`, and
    /// goes on with it by `REST` and `STOR` or by `APPE`. It gets its name when it is whole.
    #[default]
    Resume,
    /// It goes.
    Discard,
    /// It gets its name as it is, as other servers do: whoever reads it cannot tell that it is
    /// not whole.
    Publish,
}

/// All that is chosen for one storage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy {
    pub(super) sync: SyncPolicy,
    pub(super) partial: PartialPolicy,
    pub(super) umask: Umask,
    /// How many bytes there may be beneath the root; 0 for any number.
    pub(super) quota: u64,
    /// Whether a file with several names is left alone.
    pub(super) deny_hardlinks: bool,
}

impl Policy {
    pub(super) const fn limit(self) -> Option<u64> {
        if self.quota == 0 { None } else { Some(self.quota) }
    }

    /// Refuses an object whose content is not to be sent, nor added to.
    pub(super) fn check_readable(self, object: &Metadata) -> Result<(), StorageError> {
        super::needs_file(object.kind)?;
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
