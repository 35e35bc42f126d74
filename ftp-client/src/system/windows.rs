//! Windows. Names are UTF-8 here, although Windows also has names that are not valid UTF-16.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::fs as native;
use std::os::windows::fs::FileExt as _;
use std::path::{Component, Path, PathBuf, Prefix};
use std::time::UNIX_EPOCH;

use super::{local_name, not_a_name, unmoved};

/// What a file system returns for a name that is not valid text. No object can have this name.
const NO_NAME: &str = "\0";

/// Names as bytes, like the trait of this name in `std::os::unix::ffi`. The bytes are UTF-8: other bytes
/// become a name that no object can have.
pub trait OsStrExt {
    /// Returns the name with these bytes.
    fn from_bytes(bytes: &[u8]) -> &Self;
    /// Returns the bytes of the name.
    fn as_bytes(&self) -> &[u8];
}

impl OsStrExt for OsStr {
    fn from_bytes(bytes: &[u8]) -> &Self {
        Self::new(std::str::from_utf8(bytes).unwrap_or(NO_NAME))
    }

    fn as_bytes(&self) -> &[u8] {
        self.as_encoded_bytes()
    }
}

/// Owned names as bytes, like the trait of this name in `std::os::unix::ffi`.
pub trait OsStringExt {
    /// Returns the name with these bytes, as [`OsStrExt::from_bytes`] does.
    fn from_vec(bytes: Vec<u8>) -> Self;
    /// Returns the bytes of the name.
    fn into_vec(self) -> Vec<u8>;
}

impl OsStringExt for OsString {
    fn from_vec(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).unwrap_or_else(|_| NO_NAME.to_owned()).into()
    }

    fn into_vec(self) -> Vec<u8> {
        self.into_encoded_bytes()
    }
}

/// Reading at a position.
pub(crate) trait FileExt {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl FileExt for File {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        unmoved(self, move || {
            while !buffer.is_empty() {
                match self.seek_read(buffer, offset) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(count) => {
                        buffer = buffer.get_mut(count..).unwrap_or_default();
                        offset += count as u64;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }
}

/// The status of a file. Windows tells no number of a file without `unsafe` code, so the time at
/// which a file was created stands for it.
pub(crate) trait MetadataExt {
    fn ino(&self) -> u64;
    fn nlink(&self) -> u64;
    fn mode(&self) -> u32;
    fn mtime(&self) -> i64;
    fn mtime_nsec(&self) -> i64;
    fn ctime(&self) -> i64;
    fn ctime_nsec(&self) -> i64;
}

impl MetadataExt for Metadata {
    fn ino(&self) -> u64 {
        native::MetadataExt::creation_time(self)
    }

    fn nlink(&self) -> u64 {
        1
    }

    fn mode(&self) -> u32 {
        let execute = if self.is_dir() { 0o111 } else { 0 };
        let write = if self.permissions().readonly() { 0 } else { 0o200 };
        0o444 | execute | write
    }

    fn mtime(&self) -> i64 {
        written(self).0
    }

    fn mtime_nsec(&self) -> i64 {
        written(self).1
    }

    fn ctime(&self) -> i64 {
        written(self).0
    }

    fn ctime_nsec(&self) -> i64 {
        written(self).1
    }
}

/// Returns the time of the last write, in seconds since 1970 and nanoseconds.
fn written(metadata: &Metadata) -> (i64, i64) {
    let time = metadata.modified().unwrap_or(UNIX_EPOCH);
    let whole = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => (whole(since.as_secs()), since.subsec_nanos().into()),
        Err(before) => {
            let before = before.duration();
            match i64::from(before.subsec_nanos()) {
                0 => (-whole(before.as_secs()), 0),
                nanos => (-whole(before.as_secs()) - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

pub(crate) trait OpenOptionsExt {
    fn mode(&mut self, mode: u32) -> &mut Self;
    fn custom_flags(&mut self, flags: i32) -> &mut Self;
}

impl OpenOptionsExt for OpenOptions {
    /// New files have the permissions that their directory passes on.
    fn mode(&mut self, _: u32) -> &mut Self {
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut Self {
        native::OpenOptionsExt::custom_flags(self, flags.cast_unsigned())
    }
}

pub(crate) trait DirBuilderExt {
    fn mode(&mut self, mode: u32) -> &mut Self;
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, _: u32) -> &mut Self {
        self
    }
}

/// `FILE_FLAG_OPEN_REPARSE_POINT`: a symbolic link is not followed.
pub(crate) const ALONE: i32 = 0x0020_0000;

/// `FILE_SHARE_READ` and `FILE_SHARE_DELETE`.
const OTHERS_READ: u32 = 1 | 4;

/// `GENERIC_READ` and `DELETE`.
const READ_AND_DELETE: u32 = 0x8000_0000 | 0x0001_0000;

/// Reads the socket that [`Waker`] wakes.
pub(crate) type Woken = TcpStream;

pub(crate) type Waker = TcpStream;

/// Returns a socket that becomes readable when a byte is written to the other end. Windows waits
/// only for sockets.
pub(crate) fn bell() -> io::Result<(Woken, Waker)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let waker = TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (woken, from) = listener.accept()?;
        if from == waker.local_addr()? {
            return Ok((woken, waker));
        }
    }
}

/// The path of a file, without links and short names: several files can have one creation time.
pub(crate) type FileId = PathBuf;

pub(crate) fn file_id(path: &Path) -> io::Result<FileId> {
    std::fs::canonicalize(path)
}

/// Compares what both handles tell: the time of the last write can come late.
pub(crate) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.ino() == other.ino() && one.len() == other.len()
}

pub(crate) const fn inode(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Returns whether a file is regular, but its content can be elsewhere.
pub(crate) fn has_reparse_point(file: &Metadata) -> bool {
    /// `FILE_ATTRIBUTE_REPARSE_POINT`.
    const REPARSE_POINT: u32 = 0x400;
    file.is_file() && native::MetadataExt::file_attributes(file) & REPARSE_POINT != 0
}

/// Does nothing: opening a [`lockable`] file locks it.
pub(crate) const fn lock(_: &File) -> io::Result<()> {
    Ok(())
}

pub(crate) const fn locked(file: File) -> io::Result<File> {
    Ok(file)
}

/// Opens a file that is removed next. Fails if another program has it open for writing, or forbids its
/// removal; until the result is dropped, no program can begin to do either.
pub(crate) fn open_last(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let access = native::OpenOptionsExt::access_mode(&mut options, READ_AND_DELETE);
    lockable(access).open(path)
}

/// Returns whether this is the error of opening or locking a file that another program has.
pub(crate) fn is_in_use(error: &io::Error) -> bool {
    /// `ERROR_SHARING_VIOLATION`.
    const SHARED: i32 = 32;
    error.raw_os_error() == Some(SHARED)
}

pub(crate) const fn unlock(_: &File) {}

pub(crate) fn lockable(options: &mut OpenOptions) -> &mut OpenOptions {
    native::OpenOptionsExt::share_mode(options, OTHERS_READ)
}

/// Windows truncates no file that is open only for appending.
pub(crate) fn appending(options: &mut OpenOptions) -> &mut OpenOptions {
    options.write(true)
}

pub(crate) fn set_length(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    (&*file).seek(SeekFrom::Start(length)).map(drop)
}

/// A new file keeps the permissions that its directory passes on.
pub(crate) const fn take_over(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Refuses names that Windows changes (`a.`), or with which it opens something else: a device
/// (`CON`), another stream of a file (`a:b`), or a file in the current directory of a drive (`C:a`).
pub(crate) fn check_path(path: &Path) -> io::Result<()> {
    let is_of_drive = matches!(
        path.components().next(),
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::Disk(_))
    );
    match path.file_name() {
        Some(name) if !is_of_drive || path.has_root() => local_name(name.as_bytes()).map(drop),
        _ => Err(not_a_name()),
    }
}

/// Does nothing: the journal of the file system keeps the order of renames.
pub(crate) const fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Writes a file to disk, which shows what closing it would not.
pub(crate) fn close_copy(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Permissions do not tell what a program may do.
#[expect(clippy::unnecessary_wraps, reason = "other systems tell it")]
pub(crate) const fn check_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
