//! Systems other than Linux: what they lack, or what this library does not use there.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::path::Path;

use rustix::io::Errno;

/// As without attributes: records are in hidden files.
pub(crate) fn set_attribute(_: &File, _: &str, _: &[u8]) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

pub(crate) fn attribute(_: &File, _: &str, _: &mut [u8]) -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

pub(crate) const fn remove_attribute(_: &File, _: &str) {}

/// Hard links have the same effect.
pub(crate) const fn rename_new(_: &Path, _: &Path) -> Option<io::Result<()>> {
    None
}

pub(crate) const fn is_mount_point(_: &Path) -> bool {
    false
}

pub(crate) const fn has_no_short_names(_: &Path) -> bool {
    false
}

pub(crate) const fn share_content(_: &File, _: &File) -> bool {
    false
}

pub(crate) const fn sendfile(
    _: &TcpStream,
    _: &File,
    _: Option<&mut u64>,
    _: usize,
) -> Result<usize, Errno> {
    Err(Errno::OPNOTSUPP)
}

pub(crate) const fn nameless(_: &Path, _: u32) -> Option<File> {
    None
}

pub(crate) fn name_file(_: &File, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
