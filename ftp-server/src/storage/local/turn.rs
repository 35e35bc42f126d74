//! The turns of uploads that append in place: one at a time for each file, whose metadata clients see
//! without the bytes of a running append.

use crate::lock::Lock;
use crate::storage::{EntryKind, Metadata};

/// The only append of this process to a file.
#[derive(Debug)]
pub(super) struct AppendTurn(AppendedFile);

/// Device and inode.
type AppendedFile = (u64, u64);

/// A file to which an upload appends.
struct Appended {
    file: AppendedFile,
    /// The length and the time that a rollback restores, once the file is locked.
    former: Option<(u64, i64)>,
}

/// The files to which uploads append. Roots that contain the same file share this list.
static APPENDED: Lock<Vec<Appended>> = Lock::new(Vec::new());

impl AppendTurn {
    /// Returns `None` if an upload appends to the file.
    pub(super) fn take(file: AppendedFile) -> Option<Self> {
        let mut appended = APPENDED.lock();
        let is_free = appended.iter().all(|other| other.file != file);
        is_free.then(|| {
            appended.push(Appended { file, former: None });
            Self(file)
        })
    }

    /// Records what clients see until the upload ends.
    pub(super) fn begin(&self, length: u64, modified: i64) {
        for appended in APPENDED.lock().iter_mut().filter(|appended| appended.file == self.0) {
            appended.former = Some((length, modified));
        }
    }
}

impl Drop for AppendTurn {
    fn drop(&mut self) {
        APPENDED.lock().retain(|appended| appended.file != self.0);
    }
}

/// Returns metadata as clients see it: without the bytes of a running append, which may be removed
/// again.
pub(super) fn settled(mut found: Metadata) -> Metadata {
    if found.kind == EntryKind::File
        && let Some((length, modified)) = former(found.identity)
    {
        (found.size, found.modified) = (found.size.min(length), modified);
    }
    found
}

/// Returns the length and the time of a file before a running append; `None` if no append is running.
pub(super) fn former(file: AppendedFile) -> Option<(u64, i64)> {
    APPENDED.lock().iter().find(|appended| appended.file == file)?.former
}

/// Notes that the time of a file was set. A running append does not restore the one before.
pub(super) fn has_time(found: &Metadata) {
    let mut appended = APPENDED.lock();
    let known = appended.iter_mut().find(|appended| appended.file == found.identity);
    if let Some((_, modified)) = known.and_then(|appended| appended.former.as_mut()) {
        *modified = found.modified;
    }
}
