//! Eviction of partial uploads: for newer ones of their user, and for other files on a full disk.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::directory::Directory;
use super::hidden;
use super::policy::Bounds;
use super::root::Root;
use super::shelf::Part;

/// Makes room for the partial upload `new` among those of its user, and removes the oldest first.
/// Returns `false` if that is impossible, because the others are being resumed.
pub(super) fn make_way(root: &Arc<Root>, new: &Part, bounds: Bounds) -> bool {
    let size = new.file.size;
    let mut parts = root.usage().shelf().by_age(Some(new.owner()));
    parts.retain(|part| part.file.identity != new.file.identity);
    let mut bytes: u64 = parts.iter().map(|part| part.file.size).sum();
    let mut files = parts.len();
    let mut oldest = parts.iter();
    while !bounds.allow(files + 1, size.saturating_add(bytes)) {
        let Some(part) = oldest.next() else { return false };
        if remove(part, root) {
            files -= 1;
            bytes = bytes.saturating_sub(part.file.size);
        }
    }
    true
}

/// Removes partial uploads of any user, the oldest first, until `is_enough` or none is left.
/// Returns the number of removed ones.
pub(super) fn give_up(root: &Arc<Root>, is_enough: impl Fn() -> bool) -> usize {
    let mut gone = 0;
    for part in root.usage().shelf().by_age(None) {
        if gone > 0 && is_enough() {
            break;
        }
        gone += usize::from(remove(&part, root));
    }
    if gone > 0 {
        log::info!("{gone} partial uploads removed to free space");
    }
    gone
}

/// Removes a partial upload. Returns `false` if a session is resuming it, or if the system fails. A
/// partial upload that another program has removed or moved is forgotten.
fn remove(part: &Part, root: &Arc<Root>) -> bool {
    let is_gone = match Directory::open(root, &part.directory) {
        Ok(directory) => hidden::remove(root.usage(), directory.as_fd(), &part.name),
        Err(errno) => Ok(matches!(errno, Errno::NOENT | Errno::NOTDIR)),
    };
    let is_gone = is_gone.unwrap_or(false);
    if is_gone {
        // The inode number may differ now, because some file systems change it.
        root.usage().shelf().take(part.file.identity);
    }
    is_gone
}
