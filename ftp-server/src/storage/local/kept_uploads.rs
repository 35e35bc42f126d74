//! The shelf: all kept partial uploads below a root, with owner, place and age.
//!
//! The first walk of the sweeper adds the partial uploads that an earlier process left. Sessions
//! add the uploads that they keep after an interruption. Each upload is identified by device and
//! inode. An upload that another program has moved or removed stays on the shelf until its
//! eviction. An upload that is too old counts towards the bounds until the sweeper removes
//! it. Records without bytes are on the shelf too. Evictions make room: for newer uploads of the
//! same user, or on a full disk.

use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard};

use rustix::io::Errno;

use super::directory::Directory;
use super::hidden;
use super::name::{self, Owner};
use super::policy::Bounds;
use super::root::Root;
use crate::lock::Lock;
use crate::storage::Metadata;

/// All kept partial uploads below one root.
#[derive(Debug, Default)]
pub(super) struct KeptUploads(Lock<Vec<Part>>);

/// A kept partial upload.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The directory of the upload, relative to the root.
    pub(super) directory: Vec<u8>,
    /// Device and inode of that directory.
    pub(super) above: (u64, u64),
    /// The hidden name of the upload.
    pub(super) name: Vec<u8>,
    pub(super) file: Metadata,
}

impl Part {
    pub(super) fn new(directory: Vec<u8>, above: (u64, u64), name: &[u8], file: Metadata) -> Self {
        Self { directory, above, name: name.to_vec(), file }
    }

    pub(super) fn owner(&self) -> Owner {
        name::owner(&self.name)
    }
}

impl KeptUploads {
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock()
    }

    /// Adds a partial upload, or updates its length.
    pub(super) fn put(&self, part: Part) {
        let mut parts = self.parts();
        let identity = part.file.identity;
        parts.retain(|old| old.file.identity != identity);
        parts.push(part);
    }

    /// Records that a partial upload has lost its bytes.
    pub(super) fn emptied(&self, identity: (u64, u64)) {
        for part in self.parts().iter_mut().filter(|part| part.file.identity == identity) {
            part.file.size = 0;
        }
    }

    /// Forgets a partial upload that was removed or published.
    pub(super) fn take(&self, identity: (u64, u64)) {
        self.parts().retain(|part| part.file.identity != identity);
    }

    /// Updates the paths of partial uploads in and below a directory that was moved. `paths` returns
    /// its old and new path, without symbolic links.
    pub(super) fn moved(&self, paths: impl FnOnce() -> (Vec<u8>, Vec<u8>)) {
        let mut parts = self.parts();
        if parts.is_empty() {
            return;
        }
        let (from, to) = paths();
        for part in parts.iter_mut() {
            if let Some(rest) = part.directory.strip_prefix(&*from)
                && (rest.is_empty() || rest.starts_with(b"/"))
            {
                part.directory = [&to, rest].concat();
            }
        }
    }

    /// Returns the partial uploads of all users to the file `name` in a directory.
    pub(super) fn of_target(&self, directory: (u64, u64), name: &[u8]) -> Vec<Part> {
        let parts = self.parts();
        let is_there =
            |part: &&Part| part.above == directory && name::is_of_target(&part.name, name);
        parts.iter().filter(is_there).cloned().collect()
    }

    /// Returns the partial uploads of `owner`, or of all users if `None`, the oldest first.
    pub(super) fn by_age(&self, owner: Option<Owner>) -> Vec<Part> {
        let mut parts = self.parts().clone();
        parts.retain(|part| owner.is_none_or(|owner| owner == part.owner()));
        parts.sort_unstable_by_key(|part| part.file.modified);
        parts
    }
}

/// Removes partial uploads of the same user, the oldest first, until `new` fits within `bounds`.
/// Returns `false` if `new` cannot fit, because it is too large or the other uploads cannot be
/// removed.
pub(super) fn make_way(root: &Arc<Root>, new: &Part, bounds: Bounds) -> bool {
    let size = new.file.size;
    let mut parts = root.usage().shelf().by_age(Some(new.owner()));
    parts.retain(|part| part.file.identity != new.file.identity);
    let mut bytes: u64 = parts.iter().map(|part| part.file.size).sum();
    let mut files = parts.len();
    let mut oldest = parts.iter();
    while !bounds.allow(files + 1, size.saturating_add(bytes)) {
        let Some(part) = oldest.next() else { return false };
        // Without its record, a client could resume an upload at the length of the old file. So the
        // record goes only if there are too many.
        let keeps_record = bounds.allow(files + 1, 0);
        if (part.file.size > 0 || !keeps_record) && free(part, root, keeps_record) {
            files -= usize::from(!keeps_record);
            bytes = bytes.saturating_sub(part.file.size);
        }
    }
    true
}

/// Drops the bytes of partial uploads of all users on a device, the oldest first, until `is_enough`
/// returns `true`. Always drops some before it calls `is_enough`; but none if all together have less
/// than `lacking` bytes, and would be lost for nothing. Returns the number of uploads that lost their
/// bytes; their records stay.
pub(super) fn give_up(
    root: &Arc<Root>,
    device: u64,
    lacking: u64,
    is_enough: impl Fn() -> bool,
) -> usize {
    let mut parts = root.usage().shelf().by_age(None);
    parts.retain(|part| part.above.0 == device);
    if parts.iter().map(|part| part.file.size).sum::<u64>() < lacking {
        return 0;
    }
    let mut gone = 0;
    for part in parts {
        if gone > 0 && is_enough() {
            break;
        }
        gone += usize::from(part.file.size > 0 && free(&part, root, true));
    }
    if gone > 0 {
        let uploads = if gone == 1 { "upload" } else { "uploads" };
        log::info!("{gone} partial {uploads} removed to free space");
    }
    gone
}

/// Drops the bytes of a partial upload, and its record unless `keeps_record`. Returns `false` if a
/// session is resuming it or this fails. If another program has removed or moved the upload, forgets
/// it and returns `true`.
fn free(part: &Part, root: &Arc<Root>, keeps_record: bool) -> bool {
    let opened = Directory::open(root, &part.directory);
    let is_gone = match opened.and_then(|it| it.metadata(&part.name).map(|_| it)) {
        Ok(directory) if keeps_record => return hidden::drop_bytes(&directory, &part.name),
        Ok(directory) => hidden::remove(root.usage(), directory.as_fd(), &part.name) == Ok(true),
        Err(errno) => matches!(errno, Errno::NOENT | Errno::NOTDIR),
    };
    if is_gone {
        // Some file systems change inode numbers, so the removal may have left this entry on the
        // shelf.
        root.usage().shelf().take(part.file.identity);
    }
    is_gone
}
