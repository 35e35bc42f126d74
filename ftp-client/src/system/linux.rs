//! Linux: what other systems lack.

/// Lets the kernel send bytes of a file to a socket. Without an offset, they begin at the file's
/// position. Fails with `NOSYS` if the system has no such call.
pub(crate) use rustix::fs::sendfile;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, StatxAttributes, StatxFlags, XattrFlags,
};
use rustix::fs::{fgetxattr, fremovexattr, fsetxattr, linkat, openat, renameat_with};
use rustix::io::Errno;

use super::unix::is_at;

/// Sets an extended attribute of a file.
///
/// # Errors
///
/// Returns the system's error, also if the file system has no attributes.
pub(crate) fn set_attribute(file: &File, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(fsetxattr(file, name, value, XattrFlags::empty())?)
}

/// Reads an extended attribute of a file into `value`; returns its length.
///
/// # Errors
///
/// Returns the system's error, also if the file lacks the attribute.
pub(crate) fn attribute(file: &File, name: &str, value: &mut [u8]) -> io::Result<usize> {
    Ok(fgetxattr(file, name, value)?)
}

pub(crate) fn remove_attribute(file: &File, name: &str) {
    let _ = fremovexattr(file, name);
}

/// Renames a file, unless another object has the name `to`. Returns `None` if the system or the
/// file system has no such call.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Option<io::Result<()>> {
    rename_new_at((CWD, from.as_os_str()), (CWD, to.as_os_str()))
}

/// As [`rename_new`], for names in open directories.
pub(crate) fn rename_new_at(
    (from_in, from): (impl AsFd, &OsStr),
    (to_in, to): (impl AsFd, &OsStr),
) -> Option<io::Result<()>> {
    match renameat_with(from_in, from, to_in, to, RenameFlags::NOREPLACE) {
        // Some container profiles answer EPERM to calls that they do not know.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => None,
        renamed => Some(renamed.map_err(Into::into)),
    }
}

/// Returns whether an existing file is a mount point, which no other file can replace.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    let found = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Makes `to` share the content of `from`. Returns whether the file system can do that.
pub(crate) fn share_content(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Creates a file without a name, if the file system has such files and if `/proc` can give it
/// one later.
pub(crate) fn nameless(directory: &Path, mode: u32) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, directory, flags, Mode::from_raw_mode(mode)).ok()?);
    is_at(&file, &path_of(&file)).then_some(file)
}

/// Gives a file without a name a name.
///
/// # Errors
///
/// Returns the system's error; `AlreadyExists` if another object has the name.
pub(crate) fn name_file(file: &File, name: &Path) -> io::Result<()> {
    Ok(linkat(CWD, path_of(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Returns a path that leads to an open directory, even if it is moved and its old name is reused.
/// Returns `None` without `/proc`. The path by which the directory was opened is not used.
pub(crate) fn path_of_directory(directory: &OwnedFd, _: &Path) -> Option<PathBuf> {
    let path = path_of(directory);
    is_at(directory, &path).then_some(path)
}

/// Syncs everything written to the file system of an open directory to the disk.
///
/// # Errors
///
/// Returns the system's error.
pub(crate) fn sync_file_system(directory: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(directory)?)
}

/// Returns whether [`sync_file_system`] is known to report failed writes of any file: Linux does since
/// 5.8. Older ones, and overlayfs, return success although bytes are lost; FUSE syncs single files only.
pub(crate) fn reports_failed_writes(directory: &OwnedFd) -> bool {
    let is_known = rustix::fs::fstatfs(directory).is_ok_and(|found| {
        matches!(
            i128::from(found.f_type),
            0xef53 // ext2, ext3, ext4
                | 0x5846_5342 // XFS
                | 0x9123_683e // Btrfs
        )
    });
    is_known && is_since_5_8(rustix::system::uname().release().to_bytes())
}

fn is_since_5_8(release: &[u8]) -> bool {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok())
    });
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    version.is_some_and(|version| version >= (5, 8))
}

/// Returns whether the directory at `path` is on a file system that is known to open each file only by
/// names that it lists, in any case. FAT, NTFS, FUSE and network file systems can have short names (8.3).
pub(crate) fn has_no_short_names(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| {
        matches!(
            i128::from(found.f_type),
            0xef53 // ext2, ext3, ext4
                | 0x5846_5342 // XFS
                | 0x9123_683e // Btrfs
                | 0x0102_1994 // tmpfs
                | 0x2fc1_2fc1 // ZFS
                | 0x794c_7630 // overlay
        )
    })
}

/// Returns the path that leads to an open file, whatever its name.
fn path_of(file: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sync_of_a_file_system_is_trusted_since_linux_5_8() {
        for (release, is_trusted) in [
            ("5.8.0", true),
            ("5.10.0-28-amd64", true),
            ("6.1", true),
            ("10.0.1", true),
            ("5.7.19", false),
            ("4.19.0-26-amd64", false),
            ("4.4.0", false),
            ("6", false),
            ("", false),
            ("x.9", false),
        ] {
            assert_eq!(is_since_5_8(release.as_bytes()), is_trusted, "{release}");
        }
    }
}
