//! The limits within which an upload may store: the size limit of the user's files, and the space
//! to keep free.

use std::io;
use std::sync::Arc;

use super::space::{SpareRoom, free_at};
use crate::limits;
use crate::session::Session;
use crate::storage::{
    Ask, RoomFor, Storage, StorageError, StorageErrorKind as Kind, StorageResult, StreamEnd,
    Upload, VirtualPath,
};
use crate::threads::Polled;

/// Minimum bytes that an upload may store before the free space is checked again. An upload may
/// store the remaining space divided by [`SHARE`], at least this minimum and at most [`STEP_MAX`].
/// If less space is left, it may store only that. The division leaves room for parallel uploads,
/// which check the same space.
const STEP: u64 = 8 * 1024 * 1024;
const STEP_MAX: u64 = 256 * 1024 * 1024;
const SHARE: u64 = 256;

/// Returns whether the user may store a file of this size.
pub(super) fn allows_size(session: &Session, size: u64) -> bool {
    session.file_size().is_none_or(|most| size <= most)
}

/// Wraps an upload so that it fails with `OverQuota` at the user's size limit, and with `NoSpace`
/// when only the space to keep free is left. The file already has `present` bytes. If the upload
/// appends, `grows` is the file to append to; its size is checked again once the upload has begun.
pub(super) fn guarded(
    session: &Session,
    storage: Arc<dyn Storage>,
    room: Option<SpareRoom>,
    present: u64,
    grows: Option<VirtualPath>,
    upload: Box<dyn Upload>,
) -> Box<dyn Upload> {
    let most = session.file_size().unwrap_or(u64::MAX);
    if most == u64::MAX && room.is_none() {
        return upload;
    }
    let min_free = session.context.config.limits.min_free;
    let step = room.as_ref().map_or(u64::MAX, |room| step_of(room.left));
    let directory = room.map(|room| room.directory);
    let left = most.saturating_sub(present);
    Box::new(GuardedUpload {
        upload,
        storage,
        remote: session.user().and_then(|user| user.remote.clone()),
        most,
        left,
        grows,
        directory,
        min_free,
        step,
        asked: Polled::default(),
        is_whole: false,
    })
}

struct GuardedUpload {
    upload: Box<dyn Upload>,
    storage: Arc<dyn Storage>,
    /// The same storage for another thread; `None` if calls never wait for long.
    remote: Option<Arc<dyn Storage>>,
    most: u64,
    /// Bytes that the user may still store in this file.
    left: u64,
    /// The file to append to, until its size is checked.
    grows: Option<VirtualPath>,
    /// The directory whose file system is checked; `None` if no space must be kept free.
    directory: Option<VirtualPath>,
    min_free: u64,
    /// Bytes that may be stored before the space is checked again.
    step: u64,
    /// The question for the free space.
    asked: Polled<StorageResult<u64>>,
    /// Whether all bytes are written.
    is_whole: bool,
}

impl GuardedUpload {
    /// Checks the free space again, and sets the bytes that may be stored before the next check.
    /// Returns `false` if the storage has not answered yet.
    fn look(&mut self) -> StorageResult<bool> {
        let Some(directory) = self.directory.clone() else { return Ok(true) };
        let storage = Arc::clone(self.remote.as_ref().unwrap_or(&self.storage));
        let wanted = RoomFor::More(self.min_free.saturating_add(1));
        let asked = self.asked.poll(self.remote.is_some(), limits::TICK, move || {
            free_at(&*storage, &directory, wanted)
        });
        let Some(free) = asked? else { return Ok(false) };
        self.step = match free {
            Ok(free) if free <= self.min_free => return Err(Kind::NoSpace.into()),
            Ok(free) => step_of(free - self.min_free),
            // The free space is unknown, for example because the directory was removed or moved.
            // The upload continues.
            Err(_) => STEP,
        };
        Ok(true)
    }
}

impl io::Write for GuardedUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return Err(StorageError::from(Kind::OverQuota).into());
        }
        while self.step == 0 && !self.look()? {}
        let most = usize::try_from(self.left.min(self.step)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..most.min(bytes.len())).unwrap_or_default();
        let written = self.upload.write(bytes)?;
        let count = u64::try_from(written).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(count);
        self.step = self.step.saturating_sub(count);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_whole = true;
        self.upload.flush()
    }
}

impl Upload for GuardedUpload {
    fn prepare(&mut self) -> StorageResult<bool> {
        // Nothing is copied before the answer.
        let is_done = !self.asked.is_running() && self.upload.prepare()?;
        if !is_done {
            // The number of bytes that this step has copied is unknown, so the space is checked
            // after each step.
            self.look()?;
        } else if let Some(path) = self.grows.take()
            && let Ok(file) = self.storage.stat(&path, Ask::Facts)
        {
            // Other sessions may have appended before this upload locked the file.
            self.left = self.most.saturating_sub(file.size);
        }
        Ok(is_done)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        let has_room = self.is_whole || self.left == 0 || self.step > 0 || self.look()?;
        Ok(has_room && self.upload.ready()?)
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        self.upload.prepare_commit()
    }

    fn published_size(&self) -> Option<u64> {
        self.upload.published_size()
    }

    fn inode(&self) -> Option<u64> {
        self.upload.inode()
    }

    fn commit(self: Box<Self>) -> StorageResult<()> {
        self.upload.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        self.upload.abort(end);
    }
}

/// Returns how many of the `left` bytes an upload may store before the next check.
fn step_of(left: u64) -> u64 {
    (left / SHARE).clamp(STEP, STEP_MAX).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    /// An upload that first copies something in N steps.
    struct Copying(u32);

    impl io::Write for Copying {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Upload for Copying {
        fn prepare(&mut self) -> StorageResult<bool> {
            self.0 = self.0.saturating_sub(1);
            Ok(self.0 == 0)
        }

        fn commit(self: Box<Self>) -> StorageResult<()> {
            Ok(())
        }

        fn abort(self: Box<Self>, _end: StreamEnd) {}
    }

    #[test]
    fn copying_before_an_upload_respects_min_free_cm_106() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let free = free_at(&storage, &VirtualPath::root(), RoomFor::More(0)).unwrap();
        for (min_free, steps, want) in [
            (free - 1, 2, Ok(false)),
            (free, 2, Err(Kind::NoSpace)),
            // Everything is copied; later bytes are checked as they arrive.
            (free, 1, Ok(true)),
        ] {
            let mut guarded = GuardedUpload {
                upload: Box::new(Copying(steps)),
                storage: Arc::clone(&storage),
                remote: None,
                most: u64::MAX,
                left: u64::MAX,
                grows: None,
                directory: Some(VirtualPath::root()),
                min_free,
                step: 5,
                asked: Polled::default(),
                is_whole: false,
            };
            assert_eq!(guarded.prepare().map_err(|error| error.kind), want, "{min_free} {steps}");
        }
    }
}
