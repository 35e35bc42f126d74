//! Path lookup below the root on systems without `openat2`: one component at a time, with the same
//! result.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::geteuid;

use super::root::metadata_of;
use crate::limits;
use crate::storage::EntryKind;

/// Maximum number of symbolic links to follow, as in the kernel.
pub(super) const LINKS: usize = 40;

/// Maximum number of directories that a lookup holds open.
const OPEN: usize = 2 * limits::PATH_DEPTH;

/// The bits of a directory in which every user may create names, but only remove their own.
const STICKY: u32 = 0o1002;

/// Opens the object at `path` below `root`, as `openat2` does with `RESOLVE_BENEATH` and
/// `RESOLVE_NO_MAGICLINKS`. Symbolic links are read, and never followed by the kernel.
///
/// All directories on the way stay open, and `..` returns to the one from which the lookup came. So
/// every directory of the lookup was found below the root, even if other programs exchange names or
/// move directories meanwhile.
pub(super) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &[u8],
    mut flags: OFlags,
) -> Result<OwnedFd> {
    let mut above: Vec<OwnedFd> = Vec::new();
    // The components that are left, in reverse order.
    let mut rest = Vec::new();
    add(&mut rest, &mut flags, path)?;
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let at = above.last().map_or(root, OwnedFd::as_fd);
        let is_last = rest.is_empty();
        if name == b"." && !is_last {
            continue;
        }
        if name == b".." {
            // Fails if the directory cannot be searched.
            open(at, b".", OFlags::PATH)?;
            above.pop().ok_or(Errno::XDEV)?;
            if is_last {
                rest.push(b".".to_vec());
            }
            continue;
        }
        let wanted = if is_last { flags } else { OFlags::PATH | OFlags::DIRECTORY };
        let opened = open(at, &name, wanted);
        let link = match opened {
            // This combination also opens a symbolic link itself.
            Ok(object)
                if wanted.contains(OFlags::PATH)
                    && !wanted.intersects(OFlags::DIRECTORY | OFlags::NOFOLLOW)
                    && metadata_of(&object)?.kind == EntryKind::Symlink =>
            {
                object
            }
            Ok(object) if is_last => return Ok(object),
            Ok(_) if above.len() >= OPEN => return Err(Errno::LOOP),
            Ok(directory) => {
                above.push(directory);
                continue;
            }
            Err(errno @ (Errno::LOOP | Errno::NOTDIR)) if !wanted.contains(OFlags::NOFOLLOW) => {
                let object = open(at, &name, OFlags::PATH)?;
                if metadata_of(&object)?.kind != EntryKind::Symlink {
                    return Err(errno);
                }
                object
            }
            Err(errno) => return Err(errno),
        };
        links += 1;
        if links > LINKS {
            return Err(Errno::LOOP);
        }
        if is_last {
            check_owner(at, &link)?;
        }
        let target = retry_on_intr(|| readlinkat(&link, "", Vec::new()))?;
        add(&mut rest, &mut flags, target.as_bytes())?;
    }
    Err(Errno::NOENT)
}

/// Opens a name in a directory, without following a symbolic link.
fn open(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(at, name, flags, Mode::empty()))
}

/// Puts the components of `path` before the remaining ones. A `/` at the end of the whole path means
/// that the object must be a directory.
fn add(rest: &mut Vec<Vec<u8>>, flags: &mut OFlags, path: &[u8]) -> Result<()> {
    if path.starts_with(b"/") {
        return Err(Errno::XDEV);
    }
    if rest.is_empty() && path.ends_with(b"/") {
        flags.insert(OFlags::DIRECTORY);
        flags.remove(OFlags::NOFOLLOW);
    }
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    rest.extend(names.rev().map(<[u8]>::to_vec));
    Ok(())
}

/// Returns EACCES if a link in a directory such as `/tmp` belongs to neither the server nor the owner
/// of the directory, as the kernel does (`fs.protected_symlinks`).
fn check_owner(directory: BorrowedFd<'_>, link: &OwnedFd) -> Result<()> {
    let (above, link) = (metadata_of(directory)?, metadata_of(link)?);
    let owner = link.user_id();
    let is_trusted = above.mode & STICKY != STICKY
        || owner == Some(geteuid().as_raw())
        || owner == above.user_id();
    if is_trusted { Ok(()) } else { Err(Errno::ACCESS) }
}
