//! Disk space for uploads: ALLO (RFC 959 §4.1.3), AVBL, and the space to keep free.

use ftp_proto::{Pathname, Reply, ReplyCode};

use super::guarded::allows_size;
use crate::auth::Rights;
use crate::reply::{self, Purpose};
use crate::session::Session;
use crate::storage::{
    RoomFor, Space, Storage, StorageErrorKind as Kind, StorageResult, VirtualPath,
};

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
    match free_at(storage, &directory, RoomFor::New(min_free)) {
        Ok(free) if free < min_free => Err(no_space()),
        Ok(free) => Ok(Some(SpareRoom { directory, left: free - min_free })),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, MountedStorage};

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
}
