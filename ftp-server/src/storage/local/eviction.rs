//! Removes partial uploads to make room: for newer ones of the same user, or on a full disk.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::directory::Directory;
use super::hidden;
use super::kept_uploads::Part;
use super::policy::Bounds;
use super::root::Root;

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

/// Drops the bytes of partial uploads of all users, the oldest first, until `is_enough` returns
/// `true` or none are left. Always drops some before it calls `is_enough`. Returns the number of
/// uploads that lost their bytes; their records stay.
pub(super) fn give_up(root: &Arc<Root>, is_enough: impl Fn() -> bool) -> usize {
    let mut gone = 0;
    for part in root.usage().shelf().by_age(None) {
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
