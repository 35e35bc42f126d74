//! Pieces of a local file that several connections download at once.
//!
//! Each piece is a file that only grows, so its length shows which bytes have arrived. `NAME.part`
//! begins at byte 0, and `NAME.part.segment-START` at byte START. The origin stored with each piece
//! shows to which version of the server's file the piece belongs.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::growing::{Growing, named};
use super::local::{LocalFile, parent, part_of, take_over};
use super::origin::Origin;
use super::partial::Salvage;
use crate::error::Error;

/// In the names of later pieces, the text between `NAME.part` and the position of the first byte.
const SEGMENT: &str = ".segment-";

/// One piece of a file that is being downloaded. When dropped, it keeps its bytes.
#[derive(Debug)]
pub struct Piece {
    growing: Growing,
    start: u64,
}

impl Piece {
    /// Opens the piece of the file at `target` that begins at byte `start`, to extend it. `origin`
    /// is the server's file. The bytes of an existing piece of another version are not kept.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the piece cannot be created or opened. Also fails if the piece
    /// is not a regular file, has several hard links, or is being written by another program.
    pub fn open(target: &Path, start: u64, origin: Origin) -> io::Result<Self> {
        let path = path_of(target, start);
        let (length, kept) = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                (metadata.len(), kept_length(&path, start, metadata.len(), origin))
            }
            Ok(_) => return Err(named(&path, &io::Error::other("not a regular file"))),
            Err(error) if error.kind() == ErrorKind::NotFound => (0, 0),
            Err(error) => return Err(named(&path, &error)),
        };
        let growing = Growing::open(path, length, kept, Some(origin))?;
        // Writing to a file with several hard links would change it under its other names too.
        if growing.partial.file().metadata().is_ok_and(|metadata| metadata.nlink() != 1) {
            return Err(named(
                &growing.path,
                &io::Error::other("the file has several hard links, which would all change"),
            ));
        }
        if let Ok(old) = fs::metadata(target) {
            take_over(growing.partial.file(), &old)
                .map_err(|error| named(&growing.path, &error))?;
        }
        Ok(Self { growing, start })
    }

    /// Returns the position of the piece's first byte in the whole file.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Returns the position after the bytes that were kept when the piece was opened.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.growing.partial.offset()
    }

    /// Removes bytes that may be wrong after the download of the last `rest` bytes failed with
    /// `error`.
    pub fn salvage(&self, error: &Error, rest: u64) -> Salvage {
        self.growing.partial.salvage(error, Some(rest))
    }
}

impl Write for Piece {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.growing.partial.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns how many bytes of a piece belong to the version `origin`: all or none. Equal sizes alone
/// prove too little here, because pieces of two versions could be mixed.
fn kept_length(path: &Path, start: u64, length: u64, origin: Origin) -> u64 {
    let known = File::open(path).ok().and_then(|file| Origin::read_from(&file));
    let is_still = known.and_then(|known| known.is_still(origin)) == Some(true);
    let is_inside = origin.size.is_some_and(|size| start + length <= size);
    if is_still && is_inside { length } else { 0 }
}

/// Returns the ranges of the version `origin` that pieces of the file at `target` hold, in
/// ascending order. A range is the position of its first byte and the position after its last byte.
///
/// # Errors
///
/// Returns the system's error if the directory or the metadata of a piece cannot be read.
pub fn kept_ranges(target: &Path, origin: Origin) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    for start in starts(target)? {
        let path = path_of(target, start);
        let metadata = fs::symlink_metadata(&path)?;
        let kept = match metadata.is_file() {
            true => kept_length(&path, start, metadata.len(), origin),
            false => 0,
        };
        if kept > 0 {
            ranges.push((start, start + kept));
        }
    }
    ranges.sort_unstable();
    Ok(ranges)
}

/// Joins the pieces of the file at `target`, which together have `size` bytes, into `NAME.part`.
/// `ranges` are the ranges of the pieces, in order: those from [`kept_ranges`], extended by the
/// bytes that have arrived since. A piece is removed once its bytes are in `NAME.part`, so after an
/// interruption, a later call continues.
///
/// # Errors
///
/// Returns the system's error, and `UnexpectedEof` if bytes are missing.
pub fn join_pieces(
    target: &Path,
    ranges: &[(u64, u64)],
    size: u64,
    origin: Origin,
) -> io::Result<LocalFile> {
    let missing = || io::Error::from(ErrorKind::UnexpectedEof);
    let Some(((0, first), rest)) = ranges.split_first() else { return Err(missing()) };
    let mut end = *first;
    let mut whole = LocalFile::part(target, end, end, Some(origin))?;
    for (start, last) in rest {
        if *start > end {
            return Err(missing());
        }
        let path = path_of(target, *start);
        if *last > end {
            append(&path, (end - start, *last - end), &mut whole)?;
            end = *last;
        }
        fs::remove_file(&path).map_err(|error| named(&path, &error))?;
    }
    if end == size { Ok(whole) } else { Err(missing()) }
}

/// Removes all pieces of the file at `target` except `NAME.part`.
///
/// # Errors
///
/// Returns the system's error, and an error if another program is writing to a piece.
pub fn remove_pieces(target: &Path) -> io::Result<()> {
    for start in starts(target)?.into_iter().filter(|start| *start > 0) {
        let path = path_of(target, start);
        // The file is opened for writing, because some file systems lock only writable files.
        let locked = OpenOptions::new().append(true).open(&path).map(|file| {
            flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        });
        if locked.map_err(|error| named(&path, &error))? {
            return Err(named(&path, &io::Error::other("another program is writing to it")));
        }
        fs::remove_file(&path).map_err(|error| named(&path, &error))?;
    }
    Ok(())
}

/// Appends `length` bytes of a piece, starting at `offset`, to `whole`.
fn append(path: &Path, (offset, length): (u64, u64), whole: &mut LocalFile) -> io::Result<()> {
    let mut piece = File::open(path).map_err(|error| named(path, &error))?;
    piece.seek(SeekFrom::Start(offset))?;
    let copied = io::copy(&mut piece.take(length), whole)?;
    if copied == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Returns the path of the piece of `target` that begins at byte `start`.
fn path_of(target: &Path, start: u64) -> PathBuf {
    let mut path = part_of(target).into_os_string();
    if start > 0 {
        path.push(format!("{SEGMENT}{start}"));
    }
    path.into()
}

/// Returns the positions at which the existing pieces of `target` begin, in any order.
fn starts(target: &Path) -> io::Result<Vec<u64>> {
    let part = part_of(target);
    let first = part.file_name().unwrap_or_default().as_bytes();
    let mut starts = Vec::new();
    for entry in fs::read_dir(parent(target))? {
        let entry = entry?;
        let name = entry.file_name().into_vec();
        let Some(rest) = name.strip_prefix(first) else { continue };
        if rest.is_empty() {
            starts.push(0);
        } else if let Some(start) = rest.strip_prefix(SEGMENT.as_bytes()).and_then(number)
            && entry.file_type()?.is_file()
        {
            starts.push(start);
        }
    }
    Ok(starts)
}

/// Parses the number in the name of a piece, as [`path_of`] writes it.
fn number(digits: &[u8]) -> Option<u64> {
    let text = OsStr::from_bytes(digits).to_str()?;
    let number: u64 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use ftp_proto::TimeVal;

    use super::*;

    fn origin(seconds: i64) -> Origin {
        Origin::new(Some(10), TimeVal::from_unix_seconds(seconds))
    }

    fn has_attributes(directory: &Path) -> bool {
        let probe = File::create(directory.join("probe")).unwrap();
        origin(1).write_to(&probe);
        Origin::read_from(&probe).is_some()
    }

    #[test]
    fn pieces_report_their_ranges_and_are_joined() {
        let root = tempfile::tempdir().unwrap();
        if !has_attributes(root.path()) {
            return;
        }
        let target = root.path().join("f");
        let put = |start, bytes: &[u8]| {
            let mut piece = Piece::open(&target, start, origin(1)).unwrap();
            piece.write_all(bytes).unwrap();
        };
        put(0, b"012");
        put(6, b"67");
        put(9, b"9");
        assert_eq!(kept_ranges(&target, origin(1)).unwrap(), [(0, 3), (6, 8), (9, 10)]);
        assert!(kept_ranges(&target, origin(2)).unwrap().is_empty());
        // If a byte is missing, joining fails and no piece is lost.
        let join =
            || join_pieces(&target, &kept_ranges(&target, origin(1)).unwrap(), 10, origin(1));
        assert_eq!(join().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(kept_ranges(&target, origin(1)).unwrap(), [(0, 3), (6, 8), (9, 10)]);
        put(0, b"345");
        put(6, b"8");
        // The state after a kill while pieces are joined.
        put(0, b"67");
        join().unwrap().commit(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"0123456789");
        let mut names: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["f", "probe"]);
    }

    #[test]
    fn a_directory_named_like_a_piece_holds_no_bytes() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        for start in [0, 5] {
            fs::create_dir(path_of(&target, start)).unwrap();
        }
        assert_eq!(kept_ranges(&target, origin(1)).unwrap(), []);
    }

    #[test]
    fn a_piece_of_another_version_starts_empty() {
        let root = tempfile::tempdir().unwrap();
        if !has_attributes(root.path()) {
            return;
        }
        let target = root.path().join("f");
        let mut piece = Piece::open(&target, 5, origin(1)).unwrap();
        piece.write_all(b"old").unwrap();
        drop(piece);
        assert_eq!(Piece::open(&target, 5, origin(1)).unwrap().end(), 8);
        assert_eq!(Piece::open(&target, 5, origin(2)).unwrap().end(), 5);
        // A file with another hard link stays unchanged.
        let kept = root.path().join("kept");
        fs::write(&kept, b"mine").unwrap();
        fs::hard_link(&kept, path_of(&target, 7)).unwrap();
        assert!(Piece::open(&target, 7, origin(1)).is_err());
        assert_eq!(fs::read(&kept).unwrap(), b"mine");
        for (digits, want) in
            [("5", Some(5)), ("05", None), ("0", None), ("+5", None), ("", None), ("5x", None)]
        {
            assert_eq!(number(digits.as_bytes()), want, "{digits}");
        }
    }
}
