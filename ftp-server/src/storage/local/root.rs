//! The root directory, and lookups below it: on systems without `openat2`, one component at a time, with
//! the same result.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Statx, StatxAttributes,
    StatxFlags, copy_file_range, fstat, makedev, open, openat, openat2, readlinkat, renameat_with,
    statat, statx,
};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::geteuid;

use super::turn;
use super::usage::Usage;
use crate::limits;
use crate::storage::{EntryKind, Metadata};

/// Maximum number of attempts at a lookup that the kernel gives up because of a simultaneous
/// rename. Each takes a few microseconds.
const ATTEMPTS: u32 = 64;

/// The directory that clients see as `/`.
#[derive(Debug)]
pub(super) struct Root {
    descriptor: OwnedFd,
    /// Device and inode.
    identity: (u64, u64),
    /// Whether this process can use `openat2`.
    kernel_confined: bool,
    /// Whether `/proc` shows the open files of this process.
    proc: bool,
    /// Whether a log line has named something that a new file could not take over from the file
    /// that it replaced.
    has_reported_loss: AtomicBool,
    /// The sweeper ends when this is dropped.
    sweeper: OnceLock<Sender<()>>,
    /// The usage below the root, shared by all storages of this directory.
    usage: Arc<Usage>,
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = |flags| retry_on_intr(|| open(path, flags | OFlags::CLOEXEC, Mode::empty()));
        let descriptor = readable_or_not(open)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let identity = metadata_of(&descriptor)?.identity;
        let proc = retry_on_intr(|| openat(CWD, "/proc/self/fd", flags, Mode::empty())).is_ok();
        let mut root = Self {
            descriptor,
            identity,
            kernel_confined: true,
            proc,
            has_reported_loss: AtomicBool::new(false),
            sweeper: OnceLock::new(),
            usage: Usage::of(identity),
        };
        match root.open_beneath(b"", OFlags::PATH) {
            Err(Errno::NOSYS | Errno::PERM) => root.kernel_confined = false,
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        Ok(root)
    }

    /// Returns the root without `openat2`, which old kernels lack.
    #[cfg(test)]
    pub(super) const fn deprived(mut self) -> Self {
        self.kernel_confined = false;
        self
    }

    /// Returns the root as on a system where `/proc` is not mounted.
    #[cfg(test)]
    pub(super) const fn without_proc(mut self) -> Self {
        self.proc = false;
        self
    }

    pub(super) const fn is_kernel_confined(&self) -> bool {
        self.kernel_confined
    }

    pub(super) const fn has_proc(&self) -> bool {
        self.proc
    }

    /// Returns what else the system lacks, with the cost. Kernels lack calls with ENOSYS, and filters
    /// of system calls, as in containers, answer EPERM.
    pub(super) fn lacks(&self) -> [Option<&'static str>; 4] {
        let lacks = |errno| matches!(errno, Some(Errno::NOSYS | Errno::PERM));
        // None of these calls succeeds or changes anything.
        let flags = RenameFlags::NOREPLACE;
        let looked = statx(self, "", AtFlags::EMPTY_PATH, FIELDS).err();
        let renamed = renameat_with(self, "", self, "", flags).err();
        let copied = copy_file_range(self, None, self, None, 0).err();
        [
            (lacks(looked), "statx (Linux 4.11), so protected files are refused late"),
            (
                lacks(renamed),
                "renameat2 (Linux 3.15), so two uploads of one new name can both succeed",
            ),
            (lacks(copied), "copy_file_range (Linux 4.5), so REST before STOR copies slowly"),
            (
                !self.proc,
                "/proc, so MFMT and SITE CHMOD need files that the server can read, and a \
                replaced file loses its ACL and attributes",
            ),
        ]
        .map(|(is_lacking, what)| is_lacking.then_some(what))
    }

    /// Returns `true` in the first call only.
    pub(super) fn reports_loss(&self) -> bool {
        !self.has_reported_loss.swap(true, Ordering::Relaxed)
    }

    pub(super) const fn identity(&self) -> (u64, u64) {
        self.identity
    }

    pub(super) const fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// Returns the life of the sweeper; empty until one is started.
    pub(super) const fn sweeper(&self) -> &OnceLock<Sender<()>> {
        &self.sweeper
    }

    /// Opens the object at `path`, which is relative to the root. An empty path is the root itself.
    /// Never creates a file. The descriptor is closed on exec.
    ///
    /// EXDEV means that the path leads out of the root, ELOOP that it has too many symbolic links.
    pub(super) fn open_beneath(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = flags | OFlags::CLOEXEC;
        if !self.kernel_confined {
            return open_beneath(self.descriptor.as_fd(), path, flags);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            let opened =
                retry_on_intr(|| openat2(&self.descriptor, path, flags, Mode::empty(), resolve));
            if !matches!(opened, Err(Errno::AGAIN)) {
                return opened;
            }
        }
        Err(Errno::AGAIN)
    }

    /// Returns the metadata of the object at `path`. Follows a symbolic link if its target can be
    /// opened; otherwise returns the metadata of the link itself.
    pub(super) fn stat(&self, path: &[u8]) -> Result<Metadata> {
        let error = match self.open_beneath(path, OFlags::PATH) {
            Ok(object) => return metadata_of(&object).map(turn::settled),
            Err(error) => error,
        };
        let link = self.open_beneath(path, OFlags::PATH | OFlags::NOFOLLOW);
        link.and_then(|link| metadata_of(&link)).map_err(|_no_link| error)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Opens a directory for reading, because only such a descriptor can be synced. If the server may
/// search the directory but not read it, opens it with `O_PATH`.
pub(super) fn readable_or_not(open: impl Fn(OFlags) -> Result<OwnedFd>) -> Result<OwnedFd> {
    match open(OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK) {
        Err(Errno::ACCESS) => open(OFlags::PATH | OFlags::DIRECTORY),
        opened => opened,
    }
}

/// Splits a relative path at the last `/` into a directory and a name. The directory is empty if
/// there is no `/`.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let parts = slash.and_then(|at| Some((path.get(..at)?, path.get(at + 1..)?)));
    parts.unwrap_or((b"", path))
}

/// Returns the metadata of an open object. Without `statx`, uses the older call: kernels before 4.11
/// lack it, and old filters of system calls, as in containers, answer EPERM to it.
pub(super) fn metadata_of(object: impl AsFd) -> Result<Metadata> {
    let object = object.as_fd();
    match retry_on_intr(|| statx(object, "", AtFlags::EMPTY_PATH, FIELDS)) {
        Err(Errno::NOSYS | Errno::PERM) => retry_on_intr(|| fstat(object)).map(metadata_of_stat),
        found => found.map(metadata),
    }
}

/// Returns the metadata of a name in a directory. Does not follow a symbolic link.
pub(super) fn metadata_at(
    directory: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    flags: AtFlags,
) -> Result<Metadata> {
    look_at(directory, name, flags).map(|(metadata, _)| metadata)
}

/// Returns the metadata of a name in a directory, as [`metadata_at`] does, and its attributes.
pub(super) fn look_at(
    directory: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    flags: AtFlags,
) -> Result<(Metadata, StatxAttributes)> {
    let directory = directory.as_fd();
    let flags = flags | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match retry_on_intr(|| statx(directory, name, flags, FIELDS)) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let found = retry_on_intr(|| statat(directory, name, flags))?;
            Ok((metadata_of_stat(found), StatxAttributes::empty()))
        }
        found => found.map(|found| (metadata(found), found.stx_attributes)),
    }
}

const FIELDS: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::MODE)
    .union(StatxFlags::NLINK)
    .union(StatxFlags::UID)
    .union(StatxFlags::GID)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE);

const fn kind_of(mode: u32) -> EntryKind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Special,
    }
}

fn metadata_of_stat(stat: Stat) -> Metadata {
    #[allow(clippy::useless_conversion, reason = "its type differs between architectures")]
    let links = stat.st_nlink.into();
    Metadata::new(kind_of(stat.st_mode))
        .size(u64::try_from(stat.st_size).unwrap_or_default())
        .modified(stat.st_mtime)
        .mode(stat.st_mode & 0o7777)
        .links(links)
        .owner(stat.st_uid, stat.st_gid)
        .identity(stat.st_dev, stat.st_ino)
}

fn metadata(statx: Statx) -> Metadata {
    let mode = u32::from(statx.stx_mode);
    Metadata::new(kind_of(mode))
        .size(statx.stx_size)
        .modified(statx.stx_mtime.tv_sec)
        .mode(mode & 0o7777)
        .links(statx.stx_nlink.into())
        .owner(statx.stx_uid, statx.stx_gid)
        .identity(makedev(statx.stx_dev_major, statx.stx_dev_minor), statx.stx_ino)
}

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
fn open_beneath(root: BorrowedFd<'_>, path: &[u8], mut flags: OFlags) -> Result<OwnedFd> {
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
            open_name(at, b".", OFlags::PATH)?;
            above.pop().ok_or(Errno::XDEV)?;
            if is_last {
                rest.push(b".".to_vec());
            }
            continue;
        }
        let wanted = if is_last { flags } else { OFlags::PATH | OFlags::DIRECTORY };
        let opened = open_name(at, &name, wanted);
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
                let object = open_name(at, &name, OFlags::PATH)?;
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
fn open_name(at: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(at, name, flags, Mode::empty()))
}

/// Returns the text of a symbolic link in a directory.
pub(super) fn read_link(at: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
    let link = open_name(at, name, OFlags::PATH)?;
    check_owner(at, &link)?;
    Ok(retry_on_intr(|| readlinkat(&link, "", Vec::new()))?.into_bytes())
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
