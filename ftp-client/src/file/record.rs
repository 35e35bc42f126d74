//! The record of a download: where the bytes of a local file came from. It stands in an extended
//! attribute of the file or, where the file system has none, in a hidden file beside it.
//!
//! A partial file belongs to this program because of its record, never because of its name. The
//! record of a complete file shows a later run that nothing has to be fetched again.
//!
//! The server, user and path are recorded as a digest, so that a file that is passed on does not
//! tell them.
//!
//! Also what records and journals share: which file of which server a job is about ([`ServerFile`]), and
//! small files beside a local file. Other users may be able to put anything under their names, such as a
//! symbolic link to a file of this user, or a FIFO.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ftp_proto::{HiddenFile, TimeVal};
use sha2::{Digest as _, Sha256};

use super::evidence::{Fit, OVERLAP, Origin};
use crate::client::Client;
use crate::control::login::Login;
use crate::digest::{hex, unhex};
use crate::error::Error;
use crate::system::{
    ALONE, FileExt, MetadataExt, OpenOptionsExt, OsStrExt, attribute, close_copy, remove_attribute,
    set_attribute,
};
use crate::url_path::Place;

const ATTRIBUTE: &str = "user.ftp-cli.record";

/// The first word of a record, with the version of its form.
const MAGIC: &str = "ftp-record-1";

/// The longest record in bytes; a longer one comes from another program.
const LONGEST: usize = 512;

/// The coarsest grain of a file system's times, in nanoseconds: FAT has even seconds only.
const GRAIN: i128 = 2_000_000_000;

type Sha256Sum = [u8; 32];

/// The source of a download: the server as dialled, port, user and path, as a digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SourceId(Sha256Sum);

impl SourceId {
    /// Returns the source at `place`, or `None` if nothing identifies it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ServerFile::ask`].
    pub(crate) fn ask(client: &mut Client, place: &Place) -> Result<Option<Self>, Error> {
        Ok(ServerFile::ask(client, place)?.map(|file| Self(file.sum(&[]))))
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    source: SourceId,
    origin: Origin,
    state: FileState,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum FileState {
    /// The file grows. Its first `flushed` bytes are on disk, or are so few that `tail`, the digest
    /// of the last [`OVERLAP`] of them, covers all. Only these bytes count: once the program is killed,
    /// nobody sees whether the system could write the others. Without `tail`, none count. If the
    /// program ended in order, `end` is the time of its last write.
    Part { flushed: u64, tail: Option<Sha256Sum>, end: Option<i128> },
    /// The file was complete when it had this length and this time of the last write, in
    /// nanoseconds.
    Whole { length: u64, modified: i128 },
}

impl Record {
    /// Returns the record for a file that begins to grow; `None` if the source is unknown. Without a
    /// time of the server, the record shows only that this program wrote the file, and proves
    /// nothing about its bytes.
    pub(crate) fn new(source: Option<SourceId>, origin: Origin) -> Option<Self> {
        let state = FileState::Part { flushed: 0, tail: None, end: None };
        source.map(|source| Self { source, origin, state })
    }

    #[cfg(test)]
    pub(super) fn of_test(origin: Origin) -> Self {
        Self::new(Some(SourceId([1; 32])), origin).unwrap()
    }

    /// Writes the record as on a disk without attributes.
    #[cfg(test)]
    pub(super) fn beside_for_tests(&self, file: &File, path: &Path, flushed: u64) {
        let text = self.flushed(file, flushed, false).encode();
        replace_small(&sidecar(path), &text, false).unwrap();
    }

    /// Returns the size of the server's file.
    pub(super) const fn size(&self) -> Option<u64> {
        self.origin.size
    }

    /// Returns whether the record belongs to a file that is not complete.
    pub(crate) const fn is_part(&self) -> bool {
        matches!(self.state, FileState::Part { .. })
    }

    /// Returns whether the record is that of a growing file, and the bytes of `file` do not refute it:
    /// another program may have written to the file, which keeps its attributes.
    pub(super) fn is_part_of(&self, file: &File) -> bool {
        match self.state {
            FileState::Part { tail: None, .. } => true,
            FileState::Part { .. } => self.is_of(file),
            FileState::Whole { .. } => false,
        }
    }

    /// Compares the record of a file with the facts of now, `self`. `file` is open for reading.
    pub(crate) fn fit(&self, found: &Self, file: &File) -> Fit {
        if found.source != self.source {
            return Fit::Other;
        }
        let Ok(metadata) = file.metadata() else { return Fit::Changed };
        let is_same = self.origin.size == found.origin.size
            && self.origin.modified.is_some()
            && self.origin.modified == found.origin.modified;
        if !is_same {
            return Fit::Changed;
        }
        match &found.state {
            FileState::Part { flushed, tail, end } => {
                let is_later = |end: i128| written(&metadata) > end + GRAIN;
                match tail {
                    None => Fit::Fits { kept: 0 },
                    // Another program has written since.
                    Some(_) if end.is_some_and(is_later) || !found.is_of(file) => Fit::Other,
                    Some(_) => Fit::Fits { kept: *flushed },
                }
            }
            FileState::Whole { length, modified } => {
                let is_unchanged = *length == metadata.len() && *modified == written(&metadata);
                if is_unchanged { Fit::Fits { kept: *length } } else { Fit::Other }
            }
        }
    }

    /// Returns whether the record of a growing file is that of `file`, by the bytes in it.
    fn is_of(&self, file: &File) -> bool {
        match &self.state {
            // A program that was killed may have emptied the file before it stored the record.
            FileState::Part { .. } if file.metadata().is_ok_and(|file| file.len() == 0) => true,
            FileState::Part { flushed, tail: Some(tail), .. } => {
                tail_of(file, *flushed).is_ok_and(|found| found == *tail)
            }
            FileState::Part { tail: None, .. } | FileState::Whole { .. } => false,
        }
    }

    /// Returns the record with the first `flushed` bytes of the file on disk. With `is_ended`, no more
    /// are written.
    fn flushed(&self, file: &File, flushed: u64, is_ended: bool) -> Self {
        let tail = if flushed > 0 { tail_of(file, flushed).ok() } else { None };
        // Without the digest, nothing shows whether the bytes are still the same.
        let flushed = if tail.is_some() { flushed } else { 0 };
        let metadata = file.metadata().ok().filter(|_| is_ended);
        let end = metadata.map(|metadata| written(&metadata));
        Self { state: FileState::Part { flushed, tail, end }, ..self.clone() }
    }

    /// Writes the record of a growing file at `path`, whose first `flushed` bytes are on disk. With
    /// `is_ended`, no more are written.
    pub(super) fn keep(&self, file: &File, path: &Path, flushed: u64, is_ended: bool) {
        self.flushed(file, flushed, is_ended).write(file, path);
    }

    /// Writes the record of a complete file. A file system without attributes keeps none.
    pub(super) fn complete(&self, file: &File) {
        let Ok(metadata) = file.metadata() else { return };
        let state = FileState::Whole { length: metadata.len(), modified: written(&metadata) };
        let text = Self { state, ..self.clone() }.encode();
        let _ = set_attribute(file, ATTRIBUTE, text.as_bytes());
    }

    fn write(&self, file: &File, path: &Path) {
        let text = self.encode();
        if set_attribute(file, ATTRIBUTE, text.as_bytes()).is_err() {
            let _ = replace_small(&sidecar(path), &text, false);
        }
    }

    pub(crate) fn read(file: &File, path: &Path) -> Option<Self> {
        let mut value = [0; LONGEST];
        let text = match attribute(file, ATTRIBUTE, &mut value) {
            Ok(length) => std::str::from_utf8(value.get(..length)?).ok()?.to_owned(),
            Err(_) => {
                // Another program may have put another file in the place of this program's.
                let text = read_small(&sidecar(path), LONGEST).ok()??;
                return Self::parse(&text).filter(|record| record.is_of(file));
            }
        };
        Self::parse(&text)
    }

    pub(super) fn remove(file: &File, path: &Path) {
        remove_attribute(file, ATTRIBUTE);
        remove_sidecar(path);
    }

    fn encode(&self) -> String {
        let Self { source: SourceId(source), origin, state } = self;
        let size = origin.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        let time = origin.modified.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let state = match state {
            FileState::Part { flushed, tail, end } => {
                let tail = tail.map_or_else(|| "-".to_owned(), |tail| hex(&tail));
                let end = end.map_or_else(|| "-".to_owned(), |end| end.to_string());
                format!("part {flushed} {tail} {end}")
            }
            FileState::Whole { length, modified } => format!("whole {length} {modified}"),
        };
        format!("{MAGIC} {} {size} {time} {state}\n", hex(source))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let mut next = || words.next();
        next().filter(|magic| *magic == MAGIC)?;
        let source = SourceId(sum(next()?)?);
        let size = known(next()?, |size| size.parse().ok())?;
        let modified = known(next()?, |time| TimeVal::parse(time.as_bytes()).ok())?;
        let state = match next()? {
            "part" => FileState::Part {
                flushed: next()?.parse().ok()?,
                tail: known(next()?, sum)?,
                end: known(next()?, |end| end.parse().ok())?,
            },
            "whole" => {
                FileState::Whole { length: next()?.parse().ok()?, modified: next()?.parse().ok()? }
            }
            _ => return None,
        };
        next().is_none().then_some(Self { source, origin: Origin::new(size, modified), state })
    }
}

/// Reads a value, for which `-` stands if it is not known.
fn known<T>(word: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if word == "-" { Some(None) } else { read(word).map(Some) }
}

fn sum(digits: &str) -> Option<Sha256Sum> {
    unhex(digits.as_bytes())?.try_into().ok()
}

/// Returns the digest of the last bytes, at most [`OVERLAP`], of the first `end` bytes.
fn tail_of(file: &File, end: u64) -> io::Result<Sha256Sum> {
    let length = end.min(OVERLAP);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, end - length)?;
    Ok(Sha256::digest(&bytes).into())
}

/// Returns the time of the last write in nanoseconds since 1970.
fn written(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// Returns the path of the hidden file with the record of the file at `path`.
fn sidecar(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let sum: Sha256Sum = Sha256::digest(name.as_bytes()).into();
    let short = hex(sum.get(..8).unwrap_or_default());
    parent(path).join(format!("{}record-{short}", HiddenFile::CLIENT))
}

pub(super) fn remove_sidecar(path: &Path) {
    let name = sidecar(path);
    // Only a file that this program wrote.
    let text = read_small(&name, LONGEST).ok().flatten();
    if text.is_some_and(|text| text.starts_with(MAGIC)) {
        let _ = fs::remove_file(name);
    }
}

/// The longest journal in bytes.
pub(super) const LONGEST_JOURNAL: usize = 64 << 10;

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Opens the regular file at `path`.
///
/// # Errors
///
/// Returns the system's error. Anything but a regular file is an error.
pub(super) fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let is_file = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    };
    // Opening a device can have effects, so look first.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => found.and_then(is_file)?,
    }
    let file = options.custom_flags(ALONE).open(path)?;
    file.metadata().and_then(is_file)?;
    Ok(file)
}

/// Returns the text of the regular file at `path`; `None` if there is no file.
///
/// # Errors
///
/// Returns the errors of [`open_regular`], and an error for a text of more than `most` bytes.
pub(super) fn read_small(path: &Path, most: usize) -> io::Result<Option<String>> {
    let file = match open_regular(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(most as u64 + 1).read_to_string(&mut text)?;
    if text.len() > most { Err(ErrorKind::FileTooLarge.into()) } else { Ok(Some(text)) }
}

/// Replaces the file at `path`, so that a reader sees the old or the new text. With `syncs`, the
/// text is on disk before it gets its name.
///
/// # Errors
///
/// Returns the system's error.
pub(super) fn replace_small(path: &Path, text: &str, syncs: bool) -> io::Result<()> {
    let new = path.with_extension("ftp-cli-new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Only a new file is certain to be no link to another one. Only the owner may learn about the
    // server and the user.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(text.as_bytes());
    let synced = written.and_then(|()| if syncs { file.sync_all() } else { Ok(()) });
    synced.and_then(|()| close_copy(&file)).and_then(|()| fs::rename(&new, path)).inspect_err(
        |_| {
            let _ = fs::remove_file(&new);
        },
    )
}

/// A file of a server, for one user: the same path can lead another user to another file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ServerFile {
    /// The server as dialled, in lower case, and the user.
    pub(super) login: Login,
    /// The path, from the login directory or from the root.
    pub(super) path: Vec<u8>,
}

impl ServerFile {
    /// Returns the file at `place`; `None` if the session has no login. A relative path after `CWD`
    /// leads to another file than after the login, so the current directory is asked for (`PWD`): if
    /// the server refuses to tell it, the file is unknown, too.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::pwd`], except refusals.
    pub(super) fn ask(client: &mut Client, place: &Place) -> Result<Option<Self>, Error> {
        let Some(mut login) = client.identity().cloned() else { return Ok(None) };
        login.host.make_ascii_lowercase();
        let whole = place.whole();
        let is_known = whole.starts_with(b"/") || !client.has_moved() || place.is_entered();
        if is_known {
            return Ok(Some(Self { login, path: whole }));
        }
        match client.pwd() {
            Ok(directory) => {
                let path = [directory.as_bytes(), b"/", &whole].concat();
                Ok(Some(Self { login, path }))
            }
            Err(Error::Refused { .. } | Error::Protocol(_)) if client.is_settled() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a digest of the file's identity, after that of `before`.
    pub(super) fn sum(&self, before: &[&[u8]]) -> [u8; 32] {
        let Login { host, port, user, .. } = &self.login;
        let own: [&[u8]; 4] = [host.as_bytes(), &port.to_be_bytes(), user, &self.path];
        let mut sum = Sha256::new();
        for part in before.iter().copied().chain(own) {
            sum.update((part.len() as u64).to_be_bytes());
            sum.update(part);
        }
        sum.finalize().into()
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    fn record(source: u8, year: u16) -> Record {
        let time = TimeVal::new(year, 2, 28, 13, 45, 59);
        Record::new(Some(SourceId([source; 32])), Origin::new(Some(200_000), time)).unwrap()
    }

    #[test]
    fn a_record_is_read_as_written_with_and_without_attributes() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f.part");
        let file = File::options().read(true).append(true).create(true).open(&path).unwrap();
        (&file).write_all(&[7; 100_000]).unwrap();
        let now = record(1, 2024);
        now.keep(&file, &path, 100_000, false);
        let found = Record::read(&file, &path).unwrap();
        assert_eq!(now.fit(&found, &file), Fit::Fits { kept: 100_000 });
        // As on a file system without attributes.
        let text = found.encode();
        Record::remove(&file, &path);
        assert_eq!(Record::read(&file, &path), None);
        replace_small(&sidecar(&path), &text, false).unwrap();
        assert_eq!(Record::read(&file, &path), Some(found));
        Record::remove(&file, &path);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_beside_a_file_is_not_that_of_another_file_of_its_name_as_09() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f.part");
        fs::write(&path, [7; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        let now = record(1, 2024);
        for (flushed, length, is_of) in [
            (70_000, 100_000, true),
            (70_000, 70_000, true),
            (70_000, 69_999, false),
            (0, 100_000, false),
            (0, 1, false),
            (0, 0, true),
        ] {
            let text = now.flushed(&file, flushed, false).encode();
            replace_small(&sidecar(&path), &text, false).unwrap();
            for (byte, is_same) in [(7, true), (8, length == 0)] {
                // As after `rm`: the file is a new one.
                let other = tempfile::tempfile().unwrap();
                (&other).write_all(&vec![byte; length]).unwrap();
                let is_read = Record::read(&other, &path).is_some();
                assert_eq!(is_read, is_of && is_same, "{flushed} {length} {byte}");
            }
        }
    }

    #[test]
    fn each_file_has_a_record_of_its_own_beside_it() {
        let short = sidecar(Path::new("in/f.part"));
        assert_eq!(short.parent(), Some(Path::new("in")));
        assert_eq!(sidecar(Path::new("f.part")).file_name(), short.file_name());
        assert_ne!(sidecar(Path::new("in/g.part")), short);
        // A file system can take the name although it takes no longer one than the file's.
        let long = sidecar(&Path::new("in").join("f".repeat(255)));
        assert_eq!(long.as_os_str().len(), short.as_os_str().len());
        assert!(long.file_name().unwrap().as_bytes().starts_with(b"."));
    }

    #[test]
    fn a_planted_fifo_or_link_is_no_record() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f.part");
        let made = std::process::Command::new("mkfifo").arg(sidecar(&path)).status();
        assert!(made.unwrap().success());
        remove_sidecar(&path);
        fs::remove_file(sidecar(&path)).unwrap();
        symlink("/dev/zero", sidecar(&path)).unwrap();
        remove_sidecar(&path);
        assert!(fs::symlink_metadata(sidecar(&path)).is_ok());
    }

    #[test]
    fn only_the_same_source_version_and_bytes_fit() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f.part");
        let file = File::options().read(true).append(true).create(true).open(&path).unwrap();
        (&file).write_all(&[7; 100_000]).unwrap();
        let now = record(1, 2024);
        let found = now.flushed(&file, 70_000, false);
        // Bytes that were not flushed before the program was killed may be lost.
        assert_eq!(now.fit(&found, &file), Fit::Fits { kept: 70_000 });
        assert_eq!(record(2, 2024).fit(&found, &file), Fit::Other);
        assert_eq!(record(1, 2025).fit(&found, &file), Fit::Changed);
        // Without a time of the server, it proves nothing to a later process.
        let untimed = Record { origin: Origin::new(Some(200_000), None), ..now.clone() };
        assert_eq!(untimed.fit(&untimed, &file), Fit::Changed);
        // Another program has written since this one ended, and the end looks the same.
        let ended = now.flushed(&file, 100_000, true);
        assert_eq!(now.fit(&ended, &file), Fit::Fits { kept: 100_000 });
        let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(3);
        file.set_modified(later).unwrap();
        assert_eq!(now.fit(&ended, &file), Fit::Other);
        assert_eq!(now.fit(&found, &file), Fit::Fits { kept: 70_000 });
        // Another program has written other bytes.
        fs::write(&path, [8; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(now.fit(&found, &file), Fit::Other);
    }

    #[test]
    fn a_complete_file_fits_until_it_is_edited() {
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(b"whole").unwrap();
        let now = record(1, 2024);
        now.complete(&file);
        let Some(found) = Record::read(&file, Path::new("none")) else { return };
        assert!(!found.is_part());
        assert_eq!(now.fit(&found, &file), Fit::Fits { kept: 5 });
        let time = file.metadata().unwrap().modified().unwrap();
        file.set_modified(time - Duration::from_secs(9)).unwrap();
        assert_eq!(now.fit(&found, &file), Fit::Other);
    }

    #[test]
    fn parse_reverses_encode_and_refuses_other_texts() {
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(b"12345").unwrap();
        let ended = record(4, 1969).flushed(&file, 5, true);
        for record in [record(3, 2024), record(4, 1969).flushed(&file, 5, false), ended] {
            assert_eq!(Record::parse(&record.encode()), Some(record.clone()));
            assert!(record.encode().len() < LONGEST);
        }
        let good = record(3, 2024).encode();
        for wrong in ["", "x", &good[1..], &good.replace("part", "half"), &format!("{good}x")] {
            assert_eq!(Record::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_planted_link_is_neither_read_nor_written_through() {
        let root = tempfile::tempdir().unwrap();
        let (victim, path) = (root.path().join("victim"), root.path().join(".0.ftp-cli-journal"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, root.path().join(".0.ftp-cli-new")).unwrap();
        for syncs in [false, true] {
            replace_small(&path, "one", syncs).unwrap();
            assert_eq!(read_small(&path, 3).unwrap().as_deref(), Some("one"));
            fs::remove_file(&path).unwrap();
            assert_eq!(read_small(&path, 3).unwrap(), None);
            symlink(&victim, &path).unwrap();
            assert!(read_small(&path, LONGEST_JOURNAL).is_err());
        }
        replace_small(&path, "two", false).unwrap();
        assert_eq!(read_small(&path, 3).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_a_short_regular_file_is_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        symlink("/dev/zero", &path).unwrap();
        assert!(read_small(&path, 3).is_err());
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(read_small(&path, 3).is_err());
        fs::remove_file(&path).unwrap();
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_small(&path, 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
