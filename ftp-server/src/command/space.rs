//! The space that uploads may take: ALLO (RFC 959 §4.1.3), AVBL, the size limit of the user's
//! files, and the space to keep free.

use std::io;
use std::sync::Arc;

use ftp_proto::{Pathname, Reply, ReplyCode};

use crate::auth::Rights;
use crate::reply::{self, Purpose};
use crate::session::Session;
use crate::storage::{
    Ask, Capabilities, RoomFor, Space, Storage, StorageError, StorageErrorKind as Kind,
    StorageResult, Upload, VirtualPath,
};
use crate::threads::Polled;
use crate::{forward_storage, limits};

/// `ALLO <size> [R <size>]`: 200, without a reservation. 552 if the size exceeds the user's size
/// limit or what the quota is known to leave. 452 if it exceeds the known free space above
/// [`min_free`](crate::Limits::min_free).
pub(super) fn allo(session: &Session, size: u64) -> Result<Reply, Reply> {
    // A file of 0 bytes needs no space, so there is nothing to check.
    if size > 0
        && let Some(storage) = session.storage()
    {
        let directory = &session.login.directory;
        let left = quota_left(storage, directory).ok().flatten();
        if !allows_size(session, size) || left.is_some_and(|left| left < size) {
            return Err(reply::storage_failure(&Kind::OverQuota.into(), Purpose::MakeFile));
        }
        if free_near(storage, directory).is_ok_and(|free| spare(session, free) < size) {
            return Err(no_space());
        }
    }
    Ok(Reply::new(ReplyCode::OKAY, "No reservation is needed"))
}

/// Returns the free space in bytes at a directory.
///
/// # Errors
///
/// Returns `Unsupported` if it is unknown, or an error of [`Storage::space`].
pub(super) fn free_at(
    storage: &dyn Storage,
    directory: &VirtualPath,
    room: RoomFor,
) -> StorageResult<u64> {
    storage.space(directory, room)?.free.ok_or(Kind::Unsupported.into())
}

/// Returns the number of bytes that the user's quota leaves; `None` without a quota.
fn quota_left(storage: &dyn Storage, path: &VirtualPath) -> StorageResult<Option<u64>> {
    match storage.space(path, RoomFor::User) {
        Err(error) if error.kind == Kind::Unsupported => Ok(None),
        told => told.map(Space::bytes_left),
    }
}

/// Returns the free space in bytes at a directory, or at its nearest existing parent.
fn free_near(storage: &dyn Storage, directory: &VirtualPath) -> StorageResult<u64> {
    let mut nearest = directory.clone();
    loop {
        match (free_at(storage, &nearest, RoomFor::More(0)), nearest.parent()) {
            (Err(error), Some(parent)) if error.is_missing() => nearest = parent,
            (found, _) => return found,
        }
    }
}

/// `AVBL [<directory>]`: 213 with the number of bytes that can be stored there.
///
/// This is the smaller of the remaining quota and the free space above
/// [`min_free`](crate::Limits::min_free).
pub(super) fn avbl(session: &Session, path: Option<&Pathname>) -> Result<Reply, Reply> {
    let path = session.resolve_or_here(path);
    let storage = session.storage_at(&path, Rights::LIST)?;
    let free = free_at(storage, &path, RoomFor::More(0)).and_then(|free| {
        let free = spare(session, free);
        let left = quota_left(storage, &path)?;
        Ok(left.map_or(free, |left| left.min(free)))
    });
    let free = free.map_err(reply::failure_of(Purpose::Existing))?;
    Ok(Reply::new(ReplyCode::FILE_STATUS, free.to_string()))
}

/// Space that an upload may fill.
pub(super) struct SpareRoom {
    /// The directory whose file system is checked.
    pub(super) directory: VirtualPath,
    /// Bytes left above the space to keep free, at the time of the check.
    pub(super) left: u64,
}

/// Checks the space in a directory for an upload or a new directory.
///
/// Removes kept partial uploads if that is necessary. Returns `None` if no space must be kept free,
/// or if the storage does not know its free space. In these cases, no check is made during an
/// upload either.
///
/// # Errors
///
/// Returns a 452 if less than the configured minimum is free, and the reply to an error of the disk.
pub(super) fn check(
    session: &Session,
    storage: &dyn Storage,
    directory: VirtualPath,
) -> Result<Option<SpareRoom>, Reply> {
    let min_free = session.context.config.limits.min_free;
    // A remote storage would answer in a thread.
    if min_free == 0 || !storage.capabilities().contains(Capabilities::SPACE) {
        return Ok(None);
    }
    match free_at(storage, &directory, RoomFor::New(min_free)) {
        Ok(free) if free < min_free => Err(no_space()),
        Ok(free) => Ok(Some(SpareRoom { directory, left: free - min_free })),
        // A disk that does not answer may be full.
        Err(error) if error.kind == Kind::Io => {
            Err(reply::storage_failure(&error, Purpose::MakeFile))
        }
        Err(_) => Ok(None),
    }
}

/// Returns how many of the free bytes are above the space to keep free.
fn spare(session: &Session, free: u64) -> u64 {
    free.saturating_sub(session.context.config.limits.min_free)
}

fn no_space() -> Reply {
    reply::storage_failure(&Kind::NoSpace.into(), Purpose::MakeFile)
}

/// Minimum bytes that an upload may store before the free space is checked again. An upload may
/// store the remaining space divided by [`SHARE`], at least this minimum and at most [`STEP_MAX`].
/// If less space is left, it may store only that. The division leaves room for parallel uploads,
/// which check the same space.
const STEP: u64 = 8 * 1024 * 1024;
const STEP_MAX: u64 = 256 * 1024 * 1024;
const SHARE: u64 = 256;

pub(super) fn allows_size(session: &Session, size: u64) -> bool {
    session.file_size().is_none_or(|most| size <= most)
}

/// Wraps an upload so that it fails with `OverQuota` at the user's size limit, and with `NoSpace`
/// when only the space to keep free is left. The file already has `present` bytes. If the upload
/// appends, `grows` is the file to append to; its size is checked again once the upload has begun,
/// and when it has its turn.
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
        stored: 0,
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
    stored: u64,
    /// The file to append to.
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

    /// Returns the size of the file to append to, without the bytes of this upload.
    fn size_of_grown(&self) -> Option<u64> {
        let found = self.storage.stat(self.grows.as_ref()?, Ask::Facts);
        found.ok().map(|file| file.size)
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
        self.stored = self.stored.saturating_add(count);
        self.step = self.step.saturating_sub(count);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_whole = true;
        self.upload.flush()
    }
}

impl Upload for GuardedUpload {
    forward_storage!(self, self.upload; progress, published_size, hidden_file, target, descriptor);
    forward_storage!(self, self.upload; commit, abort);

    fn prepare(&mut self) -> StorageResult<bool> {
        // Nothing is copied before the answer.
        let is_done = !self.asked.is_running() && self.upload.prepare()?;
        if !is_done {
            // The number of bytes that this step has copied is unknown, so the space is checked
            // after each step.
            self.look()?;
        } else if let Some(size) = self.size_of_grown() {
            // Other sessions may have appended before this upload began.
            self.left = self.most.saturating_sub(size);
        }
        Ok(is_done)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        let has_room = self.is_whole || self.left == 0 || self.step > 0 || self.look()?;
        Ok(has_room && self.upload.ready()?)
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        let is_done = self.upload.prepare_commit()?;
        // Other sessions may have appended before this upload had its turn. A remote storage may have
        // published the file by now.
        if is_done && self.remote.is_none() {
            let size = self.size_of_grown().unwrap_or_default();
            if size.saturating_add(self.stored) > self.most {
                return Err(Kind::OverQuota.into());
            }
        }
        Ok(is_done)
    }
}

/// Returns how many of the `left` bytes an upload may store before the next check.
fn step_of(left: u64) -> u64 {
    (left / SHARE).clamp(STEP, STEP_MAX).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, MountedStorage, StreamEnd};

    #[test]
    fn a_missing_directory_has_the_space_of_its_mount_cm_54() {
        let tree = MountedStorage::new(MemoryStorage::new())
            .mount("/pub", MemoryStorage::limited(1_000))
            .and_then(|tree| tree.unavailable("/gone"))
            .unwrap();
        let free = |path: &str| free_near(&tree, &path.into()).map_err(|error| error.kind);
        let told = |path: &str| free_at(&tree, &path.into(), RoomFor::More(0)).unwrap();
        assert_eq!(free("/pub/no/longer"), Ok(told("/pub")));
        assert_eq!(free("/no/longer"), Ok(told("/")));
        assert_ne!(free("/pub"), free("/"));
        assert_eq!(free("/gone/no/longer"), Err(Kind::Unavailable));
    }

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
                stored: 0,
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
