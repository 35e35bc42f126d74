//! Symbolic links and permission bits of a local tree.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;

use super::unix::{bits, os};
use super::{Directory, MADE};
use crate::tree::entry::{ObjectKind, TEMPORARY, TreeEntry};

/// Mode bits other than the nine permission bits.
const SPECIAL: RawMode = 0o7000;

impl Directory {
    /// Returns the entry of the object `name`, whose status is `stat`. If the object is a link,
    /// reads its target.
    pub(crate) fn entry(&self, name: &CStr, stat: &Stat) -> TreeEntry {
        let mut entry = TreeEntry::local(name.to_bytes(), stat);
        match entry.kind {
            ObjectKind::Link => {
                let target = rustix::fs::readlinkat(&self.descriptor, name, Vec::new());
                entry.target = target.ok().map(CString::into_bytes);
            }
            // Links can make a tree endless.
            ObjectKind::Directory if self.follows => entry.unique = Some(identifier(stat)),
            _ => {}
        }
        entry
    }

    /// Returns the identifier of this directory if links are followed, because a link can lead to
    /// it. Otherwise returns `None`.
    pub(crate) fn identity(&self) -> Option<Vec<u8>> {
        let stat = self.follows.then(|| rustix::fs::fstat(&self.descriptor).ok()).flatten();
        stat.as_ref().map(identifier)
    }

    /// Creates a symbolic link to `target`; with `replaces`, in place of an existing link.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and `AlreadyExists` if an object other than a replaceable link
    /// has the name.
    pub(crate) fn link(&self, name: &[u8], target: &[u8], replaces: bool) -> io::Result<()> {
        if !replaces {
            return Ok(rustix::fs::symlinkat(target, &self.descriptor, os(name)?)?);
        }
        let is_link = self
            .found(name)?
            .is_none_or(|stat| TreeEntry::local(name, &stat).kind == ObjectKind::Link);
        if !is_link {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let process = std::process::id();
            let temporary = [TEMPORARY, format!("{process:x}-{number:x}.tmp").as_bytes()].concat();
            match rustix::fs::symlinkat(target, &self.descriptor, os(&temporary)?) {
                // An earlier process with the same id left this link.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    let (from, to) = (os(&temporary)?, os(name)?);
                    let at = &self.descriptor;
                    return rustix::fs::renameat(at, from, at, to).map_err(|error| {
                        let _ = rustix::fs::unlinkat(at, from, AtFlags::empty());
                        error.into()
                    });
                }
            }
        }
    }

    /// Sets the permission bits of a file or directory, but never through a link. A directory keeps
    /// its other bits, such as set-group-ID.
    ///
    /// # Errors
    ///
    /// Returns the system's errors.
    pub(crate) fn set_mode(&self, name: &[u8], mode: u16) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let object = rustix::fs::openat(&self.descriptor, os(name)?, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&object)?;
        let kept = match TreeEntry::local(name, &stat).kind {
            ObjectKind::Directory => Mode::from_raw_mode(stat.st_mode & SPECIAL),
            _ => Mode::empty(),
        };
        Ok(rustix::fs::fchmod(object, bits(mode) | kept)?)
    }
}

/// Returns the identifier of a directory.
fn identifier(stat: &Stat) -> Vec<u8> {
    format!("{:x}.{:x}", stat.st_dev, stat.st_ino).into_bytes()
}
