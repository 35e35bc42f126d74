//! Unix other than Linux, such as FreeBSD and macOS: what directories need.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::unix::is_at;

/// The caller looks for the name first.
pub(crate) const fn rename_new_at(
    _: (&OwnedFd, &OsStr),
    _: (&OwnedFd, &OsStr),
) -> Option<io::Result<()>> {
    None
}

/// Without the paths of `/proc`, the directory must still be at its place.
pub(crate) fn path_of_directory(directory: &OwnedFd, place: &Path) -> Option<PathBuf> {
    is_at(directory, place).then(|| place.to_owned())
}

/// Each file is synced by itself: sync(2) may return before the disk has everything, and reports no
/// error.
pub(crate) const fn reports_failed_writes(_: &OwnedFd) -> bool {
    false
}

#[expect(clippy::unnecessary_wraps, reason = "Linux syncs a file system, which can fail")]
pub(crate) const fn sync_file_system(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}
