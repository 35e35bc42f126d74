//! The names of partial files: `NAME.part`, or another name if that one belongs to another program.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::growing::named;
use super::local::parent;
use super::record::Record;
use super::small;
use super::targets::Targets;
use crate::digest::hex;
use crate::system::{MetadataExt, OsStrExt, OsStringExt};

/// The number of names to try.
const NAMES: u32 = 16;

/// The longest file name in bytes.
const LONGEST: usize = 255;

/// The longest text that the name of a piece adds: `.segment-` and a position.
const PIECE: usize = 29;

/// The reason if there is no name.
const NONE: &str = "no free name for a partial file";

/// A local file that may be the beginning of the server's file.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) record: Option<Record>,
}

impl FoundFile {
    /// Opens the regular file at `path` for reading; `None` if there is no file.
    ///
    /// # Errors
    ///
    /// Returns the system's error, with the path. Anything but a regular file is an error.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        let file = match small::open(path, File::options().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| named(path, &error))?,
        };
        let metadata = file.metadata().map_err(|error| named(path, &error))?;
        let record = Record::read(&file, path);
        Ok(Some(Self { path: path.to_owned(), file, length: metadata.len(), record }))
    }

    /// Returns whether this program wrote the file, as a part of a download.
    pub(super) fn is_ours(&self) -> bool {
        let has_one_name = self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 1);
        has_one_name && self.record.as_ref().is_some_and(Record::is_part)
    }
}

/// Returns the path for the partial file of `target`, and the file if it exists: the first name
/// that this program's partial file has, else the first free one. None is one of `targets`.
///
/// # Errors
///
/// Returns the system's errors, and `AlreadyExists` if all names belong to other files.
pub(super) fn find(
    target: &Path,
    targets: Option<&Targets>,
) -> io::Result<(PathBuf, Option<FoundFile>)> {
    let mut free = None;
    for number in 1..=NAMES {
        let path = path_of(target, number);
        if targets.is_some_and(|targets| targets.contains(&path)) {
            continue;
        }
        match FoundFile::at(&path) {
            Ok(Some(found)) if found.is_ours() => return Ok((path, Some(found))),
            // Another program's file, or one that cannot be read.
            Ok(Some(_)) => {}
            Ok(None) if free.is_none() => free = Some(path),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) if fs::symlink_metadata(&path).is_ok() => {}
            Err(error) => return Err(error),
        }
    }
    let none = || named(target, &io::Error::new(io::ErrorKind::AlreadyExists, NONE));
    free.map(|path| (path, None)).ok_or_else(none)
}

/// Returns the first path for the pieces of `target` for which `is_ours` finds no file of another
/// program.
///
/// # Errors
///
/// Returns the errors of `is_ours`, and `AlreadyExists` if all names belong to other files.
pub(super) fn find_first(
    target: &Path,
    mut is_ours: impl FnMut(&Path) -> io::Result<bool>,
) -> io::Result<PathBuf> {
    for number in 1..=NAMES {
        let path = path_within(target, number, LONGEST - PIECE);
        if is_ours(&path)? {
            return Ok(path);
        }
    }
    Err(named(target, &io::Error::new(io::ErrorKind::AlreadyExists, NONE)))
}

/// Returns the path of the partial file with this number. The name of the first one is
/// `NAME.part`. A name that would be too long is cut, and ends in a digest instead.
pub(super) fn path_of(target: &Path, number: u32) -> PathBuf {
    path_within(target, number, LONGEST)
}

fn path_within(target: &Path, number: u32, most: usize) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    let end = if number == 1 { ".part".to_owned() } else { format!(".part-{number}") };
    parent_of(target).join(shortened(name, &end, most))
}

/// Returns `name` with `end`; a name that would exceed `most` bytes is cut.
fn shortened(name: &OsStr, end: &str, most: usize) -> OsString {
    let mut bytes = name.as_bytes().to_vec();
    if bytes.len() + end.len() > most {
        let sum = Sha256::digest(&bytes);
        let sum = hex(sum.get(..8).unwrap_or_default());
        let room = most.saturating_sub(end.len() + sum.len() + 1);
        bytes.truncate(room);
        // Whole characters only: some file systems refuse other names.
        if name.to_str().is_some() {
            while !bytes.is_empty() && std::str::from_utf8(&bytes).is_err() {
                bytes.pop();
            }
        }
        bytes.push(b'~');
        bytes.extend_from_slice(sum.as_bytes());
    }
    bytes.extend_from_slice(end.as_bytes());
    OsString::from_vec(bytes)
}

/// Returns the directory of `target` as the caller wrote it; empty for the current one.
fn parent_of(target: &Path) -> &Path {
    target.parent().unwrap_or_else(|| parent(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_file_of_another_program_is_left_alone_and_another_name_taken() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("f");
        let (path, found) = find(&target, None).unwrap();
        assert!(path.ends_with("f.part") && found.is_none());
        fs::write(&path, "another's").unwrap();
        fs::create_dir(root.path().join("f.part-2")).unwrap();
        assert!(find(&target, None).unwrap().0.ends_with("f.part-3"));
        let targets = Targets::new([root.path().join("f.part-3")]);
        assert!(find(&target, Some(&targets)).unwrap().0.ends_with("f.part-4"));
        assert_eq!(fs::read(&path).unwrap(), b"another's");
    }

    #[test]
    fn names_of_partial_files_fit_into_255_bytes() {
        for length in [1, 200, 249, 250, 251, 255] {
            for name in ["a".repeat(length), "é".repeat(length / 2)] {
                let path = path_of(Path::new(&name), 1);
                let got = path.file_name().unwrap();
                assert!(got.as_bytes().len() <= LONGEST, "{length}");
                assert!(got.to_str().is_some_and(|got| got.ends_with(".part")), "{length}");
                assert_eq!(name.len() <= 250, got.to_str() == Some(&format!("{name}.part")));
            }
        }
        let one = path_of(Path::new(&"b".repeat(255)), 1);
        assert_ne!(one, path_of(Path::new(&["b".repeat(254), "c".into()].concat()), 1));
    }
}
