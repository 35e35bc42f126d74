//! Pieces of a local file that several connections download at once.
//!
//! Each piece is a file that only grows, so its length shows which bytes have arrived. `NAME.part`
//! begins at byte 0, and `NAME.part.segment-START` at byte START. The record of each piece shows
//! that this program wrote it, and to which version of the server's file it belongs.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::evidence::{Asked, Fit, Known, Resume, Step, decide};
use super::local::LocalFile;
use super::partial::{self, FoundFile, named};
use super::record::{Record, parent, remove_sidecar};
use super::targets::Targets;
use crate::event::Why;
use crate::system::{OsStrExt, OsStringExt, is_in_use, lockable, locked};

/// In the names of later pieces, the text between `NAME.part` and the position of the first byte.
const SEGMENT: &str = ".segment-";

#[derive(Clone, Debug)]
pub(super) struct Pieces {
    target: PathBuf,
    /// The path of the piece at byte 0; those of the others begin with it.
    first: PathBuf,
    record: Record,
}

/// A piece that a download extends. When dropped, it keeps its bytes.
#[derive(Debug)]
pub(super) struct OpenPiece {
    pub(super) file: LocalFile,
    /// The number of bytes that the piece has.
    pub(super) kept: u64,
    /// How many of them, the last ones, are received again and compared.
    pub(super) compare: u64,
}

impl Pieces {
    /// Returns the pieces of the file at `target`, whose names are derived from that of `named`;
    /// `record` describes the server's file. If
    /// `NAME.part` or a file named like a piece belongs to another program, or if `NAME.part` is
    /// one of `targets`, other names are used.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the directory cannot be read.
    pub(super) fn of(
        target: &Path,
        named: &Path,
        targets: Option<&Targets>,
        record: Record,
    ) -> io::Result<Self> {
        let first = find_first(named, targets)?;
        Ok(Self { target: target.to_owned(), first, record })
    }

    pub(super) fn first(&self) -> &Path {
        &self.first
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Opens the piece that begins at byte `start`, to extend it. The bytes of an existing piece of
    /// another version are not kept.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the piece cannot be created or opened. Also fails if the piece
    /// is another program's, or is being written by another program.
    pub(super) fn open(&self, start: u64) -> io::Result<OpenPiece> {
        let path = self.path_of(start);
        let (length, step) = match FoundFile::at(&path)? {
            Some(found) if !found.is_ours() => {
                let message = "the file is not a piece of this download";
                return Err(named(&found.path, &io::Error::other(message)));
            }
            Some(found) => (found.length, self.judge(&found, start)),
            None => (0, Step::FromZero(Why::NothingThere)),
        };
        let (kept, compare) = match step {
            Step::Continue { kept, compare } => (kept, compare),
            _ => (0, 0),
        };
        let record = Some(self.record.clone());
        let file = LocalFile::part(path, &self.target, (length, kept), record)?;
        Ok(OpenPiece { file, kept, compare })
    }

    /// Decides about the bytes of a piece. Only its record proves them, since it is never the whole
    /// file.
    fn judge(&self, found: &FoundFile, start: u64) -> Step {
        let fit = found.record.as_ref().map(|stored| self.record.fit(stored, &found.file));
        let size = self.record.size().unwrap_or_default();
        decide(&Known {
            have: found.length,
            size: None,
            resume: Resume::Proven,
            is_own: false,
            record: fit,
            is_refuted: fit == Some(Fit::Changed) || start.saturating_add(found.length) > size,
            restarts: true,
            digest: Asked::NoAnswer,
        })
    }

    /// Returns the piece that begins at byte `start`, unless another program has replaced it.
    fn own(&self, start: u64) -> io::Result<Option<FoundFile>> {
        let found = FoundFile::at(&self.path_of(start))?.filter(FoundFile::is_ours);
        Ok(found.filter(|found| matches!(self.judge(found, start), Step::Continue { .. })))
    }

    /// Returns the pieces that exist, with the decision about each, in ascending order.
    fn judged(&self) -> io::Result<Vec<(u64, Step)>> {
        let mut pieces = Vec::new();
        for start in starts(&self.first)? {
            let found = FoundFile::at(&self.path_of(start))?.filter(FoundFile::is_ours);
            pieces.extend(found.map(|found| (start, self.judge(&found, start))));
        }
        pieces.sort_unstable_by_key(|(start, _)| *start);
        Ok(pieces)
    }

    /// Returns the ranges of this version that the pieces hold, in ascending order. A range is the
    /// position of its first byte and the position after its last byte.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the directory or a piece cannot be read.
    pub(super) fn kept(&self) -> io::Result<Vec<(u64, u64)>> {
        let kept = |(start, step)| match step {
            Step::Continue { kept, .. } => Some((start, start + kept)),
            _ => None,
        };
        Ok(self.judged()?.into_iter().filter_map(kept).collect())
    }

    /// Returns why the bytes of some piece are not kept; `None` if all are.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`kept`](Self::kept).
    pub(super) fn stale(&self) -> io::Result<Option<Why>> {
        let why = |(_, step)| match step {
            Step::FromZero(why) if why != Why::NothingThere => Some(why),
            _ => None,
        };
        Ok(self.judged()?.into_iter().find_map(why))
    }

    /// Joins the pieces, which together have `size` bytes, into the first one. `ranges` are the
    /// ranges of the pieces, in order: those from [`kept`](Self::kept), extended by the bytes that
    /// have arrived since. A piece is removed once its bytes are in the first one and synced, so after
    /// an interruption, a later call continues.
    ///
    /// # Errors
    ///
    /// Returns the system's error, and `UnexpectedEof` if bytes are missing.
    pub(super) fn join(&self, ranges: &[(u64, u64)], size: u64) -> io::Result<LocalFile> {
        let missing = || io::Error::from(ErrorKind::UnexpectedEof);
        let Some(((0, first), rest)) = ranges.split_first() else { return Err(missing()) };
        let mut end = *first;
        let record = Some(self.record.clone());
        // It is longer if its last bytes are not proved, after a kill while pieces were joined.
        let length = self.own(0)?.map_or(0, |found| found.length);
        if length < end {
            return Err(missing());
        }
        let mut whole = LocalFile::part(self.first.clone(), &self.target, (length, end), record)?;
        whole.begin()?;
        for (start, last) in rest {
            if *start > end {
                return Err(missing());
            }
            let path = self.path_of(*start);
            self.own(*start)?.ok_or_else(missing)?;
            if *last > end {
                append(&path, (end - start, *last - end), &mut whole)?;
                end = *last;
            }
            whole.settle()?;
            fs::remove_file(&path).map_err(|error| named(&path, &error))?;
            remove_sidecar(&path);
        }
        if end == size { Ok(whole) } else { Err(missing()) }
    }

    /// Removes all pieces except the first one.
    ///
    /// # Errors
    ///
    /// Returns the system's error, and an error if another program is writing to a piece.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_from(&self.first, 1)
    }

    /// Removes all pieces.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`remove`](Self::remove).
    pub(super) fn discard(&self) -> io::Result<()> {
        discard(&self.first)
    }

    fn path_of(&self, start: u64) -> PathBuf {
        path_of(&self.first, start)
    }
}

/// Removes all pieces, of which `first` is the first one.
///
/// # Errors
///
/// Returns the errors of [`Pieces::remove`].
pub(super) fn discard(first: &Path) -> io::Result<()> {
    remove_from(first, 0)
}

/// Removes all pieces of the file at `target` except the first one.
///
/// # Errors
///
/// Returns the system's error, and an error if another program is writing to a piece.
pub(crate) fn remove_pieces(target: &Path) -> io::Result<()> {
    remove_from(&find_first(target, None)?, 1)
}

/// Returns the path of the first piece of `target`: the first one that belongs to no other program,
/// like all files that are named like its other pieces, and that is none of `targets`.
fn find_first(target: &Path, targets: Option<&Targets>) -> io::Result<PathBuf> {
    let is_target = |path: &Path| targets.is_some_and(|targets| targets.contains(path));
    partial::find_first(target, |path| {
        Ok(!is_target(path) && all(path)?.iter().all(|it| is_ours(it)))
    })
}

fn remove_from(first: &Path, least: u64) -> io::Result<()> {
    for start in starts(first)?.into_iter().filter(|start| *start >= least) {
        let path = path_of(first, start);
        if !is_ours(&path) {
            continue;
        }
        // The file is opened for writing, because some file systems lock only writable files.
        let opened = lockable(&mut OpenOptions::new()).append(true).open(&path);
        opened.and_then(locked).map_err(|error| match is_in_use(&error) {
            true => named(&path, &io::Error::other("another program is writing to it")),
            false => named(&path, &error),
        })?;
        fs::remove_file(&path).map_err(|error| named(&path, &error))?;
        remove_sidecar(&path);
    }
    Ok(())
}

fn append(path: &Path, (offset, length): (u64, u64), whole: &mut LocalFile) -> io::Result<()> {
    let mut piece = File::open(path).map_err(|error| named(path, &error))?;
    piece.seek(SeekFrom::Start(offset))?;
    let copied = io::copy(&mut piece.take(length), whole)?;
    if copied == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Returns whether the file at `path` is a part of a download of this program.
fn is_ours(path: &Path) -> bool {
    FoundFile::at(path).is_ok_and(|found| found.is_some_and(|found| found.is_ours()))
}

/// Returns the paths of all files that are named like pieces.
fn all(first: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(starts(first)?.into_iter().map(|start| path_of(first, start)).collect())
}

fn path_of(first: &Path, start: u64) -> PathBuf {
    let mut path = first.as_os_str().to_owned();
    if start > 0 {
        path.push(format!("{SEGMENT}{start}"));
    }
    path.into()
}

/// Returns the positions at which the existing pieces begin, in any order.
fn starts(first: &Path) -> io::Result<Vec<u64>> {
    let name = first.file_name().unwrap_or_default().as_bytes();
    let mut starts = Vec::new();
    for entry in fs::read_dir(parent(first))? {
        let found = entry?.file_name().into_vec();
        let Some(rest) = found.strip_prefix(name) else { continue };
        if rest.is_empty() {
            starts.push(0);
        } else if let Some(start) = rest.strip_prefix(SEGMENT.as_bytes()).and_then(number) {
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
    use std::io::Write;

    use ftp_proto::TimeVal;

    use super::super::evidence::Origin;
    use super::*;

    fn pieces(target: &Path, seconds: i64) -> Pieces {
        let origin = Origin::new(Some(10), TimeVal::from_unix_seconds(seconds));
        Pieces::of(target, target, None, Record::of_test(origin)).unwrap()
    }

    fn put(pieces: &Pieces, start: u64, bytes: &[u8]) {
        let mut file = pieces.open(start).unwrap().file;
        file.write_all(bytes).unwrap();
        file.settle().unwrap();
    }

    #[test]
    fn pieces_report_their_ranges_and_are_joined() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        let now = pieces(&target, 1);
        put(&now, 0, b"012");
        put(&now, 6, b"67");
        put(&now, 9, b"9");
        assert_eq!(now.kept().unwrap(), [(0, 3), (6, 8), (9, 10)]);
        assert!(pieces(&target, 2).kept().unwrap().is_empty());
        // If a byte is missing, joining fails and no piece is lost.
        let join = || now.join(&now.kept().unwrap(), 10);
        assert_eq!(join().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(now.kept().unwrap(), [(0, 3), (6, 8), (9, 10)]);
        put(&now, 0, b"345");
        put(&now, 6, b"8");
        // The state after a kill while pieces are joined.
        put(&now, 0, b"67");
        join().unwrap().commit(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"0123456789");
        let names = fs::read_dir(root.path()).unwrap().count();
        assert_eq!(names, 1);
    }

    #[test]
    fn a_piece_is_removed_only_once_the_first_one_proves_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        let now = pieces(&target, 1);
        put(&now, 0, b"012");
        put(&now, 3, b"3");
        put(&now, 5, b"56789");
        // The process ends after it has removed the second piece.
        let joined = now.join(&now.kept().unwrap(), 10);
        assert_eq!(joined.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(now.kept().unwrap(), [(0, 4), (5, 10)]);
    }

    #[test]
    fn pieces_are_joined_although_the_first_ends_in_bytes_that_nothing_proves() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        let now = pieces(&target, 1);
        put(&now, 0, b"012345");
        put(&now, 6, b"6789");
        // As if a process was killed while it joined them.
        now.open(0).unwrap().file.write_all(b"6").unwrap();
        assert_eq!(fs::read(now.first()).unwrap(), b"0123456");
        assert_eq!(now.kept().unwrap(), [(0, 6), (6, 10)]);
        now.join(&now.kept().unwrap(), 10).unwrap().commit(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"0123456789");
    }

    #[test]
    fn a_file_that_takes_the_name_of_a_piece_is_neither_joined_nor_lost() {
        for replaced in ["f.part", "f.part.segment-5"] {
            let root = tempfile::tempdir().unwrap();
            let target = root.path().join("f");
            let now = pieces(&target, 1);
            put(&now, 0, b"01234");
            put(&now, 5, b"56789");
            let ranges = now.kept().unwrap();
            let other = root.path().join("other");
            fs::write(&other, "others").unwrap();
            fs::rename(&other, root.path().join(replaced)).unwrap();
            now.join(&ranges, 10).unwrap_err();
            assert_eq!(fs::read(root.path().join(replaced)).unwrap(), b"others");
            assert!(!target.exists());
        }
    }

    #[test]
    fn files_of_other_programs_that_are_named_like_pieces_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        let foreign = root.path().join("f.part.segment-5");
        fs::write(&foreign, "mine").unwrap();
        fs::create_dir(root.path().join("f.part-2")).unwrap();
        let now = pieces(&target, 1);
        assert!(now.first().ends_with("f.part-3"));
        put(&now, 5, b"56789");
        assert_eq!(now.kept().unwrap(), [(5, 10)]);
        now.remove().unwrap();
        remove_pieces(&target).unwrap();
        assert_eq!(fs::read(&foreign).unwrap(), b"mine");
    }

    #[test]
    fn a_piece_of_another_version_starts_empty() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        put(&pieces(&target, 1), 5, b"old");
        assert_eq!(pieces(&target, 1).open(5).unwrap().kept, 3);
        assert_eq!(pieces(&target, 2).stale().unwrap(), Some(Why::AnotherVersion));
        assert_eq!(pieces(&target, 2).open(5).unwrap().kept, 0);
        for (digits, want) in
            [("5", Some(5)), ("05", None), ("0", None), ("+5", None), ("", None), ("5x", None)]
        {
            assert_eq!(number(digits.as_bytes()), want, "{digits}");
        }
    }
}
