//! Disk space for uploads: ALLO (RFC 959 §4.1.3), AVBL, and the space to keep free.

use std::io;
use std::sync::Arc;

use ftp_proto::{Pathname, Reply, ReplyCode};

use super::size_limit;
use crate::auth::Rights;
use crate::reply::{self, Purpose};
use crate::session::{Outcome, Session};
use crate::storage::{
    Quota, RoomFor, Storage, StorageError, StorageErrorKind as Kind, StreamEnd, Upload, VirtualPath,
};

/// Minimum bytes that an upload may store before the free space is checked again. An upload may
/// store the remaining space divided by [`SHARE`], at least this minimum and at most [`STEP_MAX`].
/// If less space is left, it may store only that. The division leaves room for parallel uploads,
/// which check the same space.
const STEP: u64 = 8 * 1024 * 1024;
const STEP_MAX: u64 = 256 * 1024 * 1024;
const SHARE: u64 = 256;

/// `ALLO <size> [R <size>]`: 200, without a reservation. 552 if the size exceeds the user's size
/// limit or what the quota is known to leave. 452 if it exceeds the known free space above
/// [`min_free`](crate::Limits::min_free).
pub(super) fn allo(session: &Session, size: u64) -> Outcome {
    // A file of 0 bytes needs no space, so there is nothing to check.
    if size > 0
        && let Some(storage) = session.storage()
    {
        let is_too_large = !size_limit::allows(session, size);
        let left = storage.quota(&session.directory).ok().flatten().and_then(Quota::bytes_left);
        if is_too_large || left.is_some_and(|left| left < size) {
            return reply::storage_failure(&Kind::OverQuota.into(), Purpose::MakeFile).into();
        }
        let free = free_near(storage, &session.directory);
        if room(session, &free).is_some_and(|room| room < size) {
            return no_space().into();
        }
    }
    Reply::new(ReplyCode::OKAY, "No reservation is needed").into()
}

/// Returns the free space in bytes at a directory, or at its nearest existing parent.
fn free_near(storage: &dyn Storage, directory: &VirtualPath) -> Result<u64, StorageError> {
    let mut nearest = directory.clone();
    loop {
        match (storage.space(&nearest), nearest.parent()) {
            (Err(error), Some(parent))
                if matches!(error.kind, Kind::NotFound | Kind::NotDirectory) =>
            {
                nearest = parent;
            }
            (found, _) => return found,
        }
    }
}

/// `AVBL [<directory>]`: 213 with the number of bytes that can be stored there.
///
/// This is the smaller of the remaining quota and the free space above
/// [`min_free`](crate::Limits::min_free).
pub(super) fn avbl(session: &Session, path: Option<&Pathname>) -> Outcome {
    let path = session.resolve_or_here(path);
    let Some(storage) = session.storage_at(&path, Rights::LIST) else {
        return reply::no_right().into();
    };
    let free = storage.space(&path).and_then(|free| {
        let free = free.saturating_sub(session.context.config.limits.min_free);
        let left = storage.quota(&path)?.and_then(Quota::bytes_left);
        Ok(left.map_or(free, |left| left.min(free)))
    });
    match free {
        Ok(free) => Reply::new(ReplyCode::FILE_STATUS, free.to_string()).into(),
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

/// Space that an upload may fill.
pub(super) struct SpareRoom {
    /// The directory whose file system is checked.
    directory: VirtualPath,
    /// Bytes left above the space to keep free, at the time of the check.
    left: u64,
}

/// Checks the space in a directory for an upload or a new directory.
///
/// Removes kept partial uploads if that is necessary. Returns `None` if no space must be kept free,
/// or if the storage does not know its free space. In these cases, no check is made during an
/// upload either.
///
/// # Errors
///
/// Returns a 452 if less than the configured minimum is free.
pub(super) fn check(
    session: &Session,
    storage: &dyn Storage,
    directory: VirtualPath,
) -> Result<Option<SpareRoom>, Reply> {
    let min_free = session.context.config.limits.min_free;
    if min_free == 0 {
        return Ok(None);
    }
    match storage.make_room(&directory, min_free, RoomFor::New) {
        Ok(free) if free < min_free => Err(no_space()),
        Ok(free) => Ok(Some(SpareRoom { directory, left: free - min_free })),
        Err(_) => Ok(None),
    }
}

/// Wraps an upload so that it fails with `NoSpace` when only the space to keep free is left.
/// Returns the upload itself if `room` is `None`.
pub(super) fn within(
    session: &Session,
    storage: Arc<dyn Storage>,
    room: Option<SpareRoom>,
    upload: Box<dyn Upload>,
) -> Box<dyn Upload> {
    let Some(SpareRoom { directory, left }) = room else { return upload };
    let min_free = session.context.config.limits.min_free;
    Box::new(Within { upload, storage, directory, min_free, left: step_of(left) })
}

struct Within {
    upload: Box<dyn Upload>,
    storage: Arc<dyn Storage>,
    directory: VirtualPath,
    min_free: u64,
    /// Bytes that may be stored before the next check.
    left: u64,
}

impl Within {
    /// Checks the free space again, and sets the bytes that may be stored before the next check.
    fn look(&mut self) -> Result<(), StorageError> {
        let wanted = self.min_free.saturating_add(1);
        self.left = match self.storage.make_room(&self.directory, wanted, RoomFor::More) {
            Ok(free) if free <= self.min_free => return Err(Kind::NoSpace.into()),
            Ok(free) => step_of(free - self.min_free),
            // The free space is unknown, for example because the directory was removed or moved.
            // The upload continues.
            Err(_) => STEP,
        };
        Ok(())
    }
}

impl io::Write for Within {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 && !bytes.is_empty() {
            self.look()?;
        }
        size_limit::write_up_to(&mut self.left, &mut *self.upload, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for Within {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        let is_done = self.upload.prepare()?;
        if !is_done {
            // The number of bytes that this step has copied is unknown, so the space is checked
            // after each step.
            self.look()?;
        }
        Ok(is_done)
    }

    fn ready(&mut self) -> Result<bool, StorageError> {
        self.upload.ready()
    }

    fn prepare_commit(&mut self) -> Result<bool, StorageError> {
        self.upload.prepare_commit()
    }

    fn published_size(&self) -> Option<u64> {
        self.upload.published_size()
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
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

/// Returns the free bytes above the space to keep free, or `None` if the free space is unknown.
fn room(session: &Session, free: &Result<u64, StorageError>) -> Option<u64> {
    let free = free.as_ref().ok()?;
    Some(free.saturating_sub(session.context.config.limits.min_free))
}

fn no_space() -> Reply {
    reply::storage_failure(&Kind::NoSpace.into(), Purpose::MakeFile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, MountedStorage};

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
        fn prepare(&mut self) -> Result<bool, StorageError> {
            self.0 = self.0.saturating_sub(1);
            Ok(self.0 == 0)
        }

        fn commit(self: Box<Self>) -> Result<(), StorageError> {
            Ok(())
        }

        fn abort(self: Box<Self>, _end: StreamEnd) {}
    }

    #[test]
    fn a_missing_directory_has_the_space_of_its_mount_cm_54() {
        let tree = MountedStorage::new(MemoryStorage::new())
            .mount("/pub", MemoryStorage::limited(1_000))
            .and_then(|tree| tree.unavailable("/gone"))
            .unwrap();
        let free = |path: &str| free_near(&tree, &path.into()).map_err(|error| error.kind);
        assert_eq!(free("/pub/no/longer"), Ok(tree.space(&"/pub".into()).unwrap()));
        assert_eq!(free("/no/longer"), Ok(tree.space(&"/".into()).unwrap()));
        assert_ne!(free("/pub"), free("/"));
        assert_eq!(free("/gone/no/longer"), Err(Kind::Unavailable));
    }

    #[test]
    fn copying_before_an_upload_respects_min_free_cm_106() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let free = storage.space(&VirtualPath::root()).unwrap();
        for (min_free, steps, want) in [
            (free - 1, 2, Ok(false)),
            (free, 2, Err(Kind::NoSpace)),
            // Everything is copied; later bytes are checked as they arrive.
            (free, 1, Ok(true)),
        ] {
            let upload = Box::new(Copying(steps));
            let storage = Arc::clone(&storage);
            let directory = VirtualPath::root();
            let mut within = Within { upload, storage, directory, min_free, left: 5 };
            assert_eq!(within.prepare().map_err(|error| error.kind), want, "{min_free} {steps}");
        }
    }
}
