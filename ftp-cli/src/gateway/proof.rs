//! What another server shows, and what that proves of a change that it has confirmed.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ftp_client::file::{Checksum, Digest, HashAlgorithm};
use ftp_client::{Client, Download, Entry, EntryKind as FoundKind, Error, Precision, Zone};
use ftp_proto::Command;
use ftp_server::{EntryKind, Metadata, StorageError, StorageErrorKind as Kind};

use super::upstream::{Connection, Known as _, StorageResult, Turn, failed, in_doubt};

/// The buffer of a download, of which a store has as many as connections. Smaller ones halve the rate: each
/// read is preceded by a look at what has arrived.
pub(super) const BUFFER: usize = 128 * 1024;

/// A file that has grown by so much since its size was told is read from its beginning.
const GROWTH: u64 = 64 * 1024;

/// The longest time for which a file is read whose size and time prove nothing.
const READ_BACK: Duration = Duration::from_secs(60);

/// The time of what tells none, which no fact and no reply can show.
pub(super) const UNTOLD: i64 = i64::MAX;

/// Returns what is at a path, or `None` if nothing is.
pub(super) fn find(client: &mut Client, path: &[u8]) -> Result<Option<Metadata>, Error> {
    let found = client.find(path)?;
    whole(client, path, found)
}

/// Returns what was found at a path, with the size and the time of a file.
pub(super) fn whole(
    client: &mut Client,
    path: &[u8],
    found: Option<Entry>,
) -> Result<Option<Metadata>, Error> {
    let Some(mut found) = found else { return Ok(None) };
    if found.kind == Some(FoundKind::File) && found.size.is_none() {
        found.size = client.size(path)?;
    }
    let mut told = metadata(&found).unwrap_or(OTHER);
    if told.kind == EntryKind::File && told.modified == UNTOLD && client.features()?.has("MDTM") {
        told.modified = client.modified(path)?.map_or(UNTOLD, |time| time.unix_seconds());
    }
    Ok(Some(told))
}

/// What is neither a file nor a directory.
const OTHER: Metadata = Metadata::new(EntryKind::Special).modified(UNTOLD);

/// Returns what an entry tells; `None` for a link, a file without a size, and if the kind is unknown.
pub(super) fn metadata(found: &Entry) -> Option<Metadata> {
    let made = match found.kind? {
        // Without a size, the end of a download proves nothing, and clients take 0 for an empty file.
        FoundKind::File => Metadata::file(found.size?),
        FoundKind::Directory => Metadata::directory().size(found.size.unwrap_or(0)),
        FoundKind::Link => return None,
        FoundKind::Other => OTHER,
    };
    // Clients compare times as exact; those of `LIST` have minutes or days, in the zone of its server.
    let exact = (Precision::Second, Zone::Utc);
    let time = found.modified.filter(|it| (it.precision, it.zone) == exact);
    let mode = found.permissions.map_or(made.mode, |it| it.mode().into());
    Some(made.modified(time.map_or(UNTOLD, |it| it.time.unix_seconds())).mode(mode))
}

/// Returns whether two looks can have shown one object that has not changed.
pub(super) fn is_same(one: Metadata, other: Metadata) -> bool {
    match (one.kind, other.kind) {
        (EntryKind::File, EntryKind::File) => one.size == other.size,
        // A server that tells no sizes does not show files as such.
        (EntryKind::Special, _) | (_, EntryKind::Special) => true,
        (one, other) => one == other,
    }
}

/// Returns whether two looks must have shown two objects: of equal size, those with different times.
pub(super) fn is_other(old: Metadata, now: Metadata) -> bool {
    let times = [old.modified, now.modified];
    !is_same(old, now) || (old.modified != now.modified && !times.contains(&UNTOLD))
}

/// Checks the size that `SIZE` has told of a file or, without one, another question or a listing. Others
/// may append too.
pub(super) fn check_size(
    client: &mut Client,
    place: &[u8],
    by_size: Option<u64>,
    want: u64,
    is_append: bool,
) -> Result<(), Error> {
    let features = client.features()?;
    let tells = features.has("SIZE") || features.has("MLST");
    let size = match by_size {
        None if tells => client.find(place)?.and_then(|found| found.size),
        // A drop box may have no listings.
        None => client.find(place).ok().flatten().and_then(|found| found.size),
        size => size,
    };
    // A listing can be old.
    let may_be_more = is_append || !tells;
    let is_right = size.map_or(!tells, |size| size == want || (size > want && may_be_more));
    let told = size.map_or("an unknown number of".to_owned(), |size| size.to_string());
    let why = format!("the other server has {told} bytes of {want}");
    if is_right { Ok(()) } else { Err(Error::local(io::Error::other(why))) }
}

/// Returns the connection if, over it, the server begins this file where it is told to: then what follows
/// the first `size - 1` bytes, of at least 2, is its end. Some confirm `REST` and send the whole file, perhaps
/// only some of the hosts or disks at an address. What follows is sent to a client that can be cut off before
/// the number of its bytes tells.
pub(super) fn restarts(
    client: Connection,
    path: &[u8],
    size: u64,
) -> StorageResult<Option<Connection>> {
    let from = size - 1;
    let mut download = match Download::begin(client, path, from).known() {
        Err(error) if error.kind == Kind::Refused => return Ok(None),
        begun => begun?,
    };
    let count = io::copy(&mut Read::by_ref(&mut download).take(GROWTH), &mut io::sink());
    let count = match count {
        Ok(count) if (1..GROWTH).contains(&count) => count,
        Ok(_) => return Ok(None),
        Err(error) => return Err(download.fail(error)).known(),
    };
    let (report, mut client) = download.release();
    report.known()?;
    // The file may have grown. One that was sent whole has more bytes than its size tells from there on.
    let is_end = count == 1 || client.size(path).known()? == Some(from + count);
    Ok(is_end.then_some(client))
}

/// Looks whether what a removal has confirmed is gone: the `old` object, if its facts are known.
pub(super) fn check_gone(
    client: &mut Client,
    place: &[u8],
    old: Option<Metadata>,
) -> StorageResult<()> {
    match find(client, place).known().map_err(in_doubt)? {
        Some(now) if old.is_none_or(|old| !is_other(old, now)) => {
            Err(failed(Kind::Io, "the other server confirms a removal, and the name is there"))
        }
        _ => Ok(()),
    }
}

/// A rename that is about to be made.
pub(super) struct Renaming<'a> {
    pub(super) named: &'a Command,
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
    /// What has the new name.
    pub(super) there: Option<Metadata>,
    /// What must have it afterwards; `None` for any object.
    pub(super) want: Option<Metadata>,
    /// Whether the server has shown the object under its old name, by `SIZE` or as [`find`] does.
    pub(super) is_shown: bool,
    /// The bytes of the file, if they are known.
    pub(super) bytes: Option<&'a Digest>,
}

impl Renaming<'_> {
    /// Gives an object its new name, and looks whether it has it: some servers confirm a rename and give
    /// another name or do nothing, perhaps only over an older file, between two disks, or on one of the hosts
    /// at an address.
    pub(super) fn make(&self, client: &mut Client, turn: &Turn) -> StorageResult<()> {
        StorageError::check_wanted()?;
        turn.settle(client.rename_to(self.named))?;
        let why = match self.is_made(client).known().map_err(in_doubt)? {
            Some(true) => return Ok(()),
            Some(false) => (Kind::Io, "the other server does not rename; use in_place"),
            None => {
                (Kind::Unknown, "the rename is confirmed, but the name can have another object")
            }
        };
        Err(failed(why.0, why.1))
    }

    /// Returns whether a rename that was confirmed was made; `None` if neither is proved.
    fn is_made(&self, client: &mut Client) -> Result<Option<bool>, Error> {
        let Some(now) = find(client, self.to)? else {
            // A program that waits for the name has taken it: then what has shown the old one shows it no more.
            let is_there = !self.is_shown
                || client.size(self.from)?.is_some()
                || find(client, self.from)?.is_some();
            return Ok(Some(!is_there));
        };
        let is_kept = self.there.is_some_and(|old| !is_other(old, now));
        if !self.want.is_none_or(|want| is_same(want, now)) {
            return Ok(is_kept.then_some(false));
        }
        let is_alike = self.there.is_some_and(|old| is_same(old, now));
        // Others can have changed the time of the old file.
        let is_proved = (!is_alike || find(client, self.from)?.is_none())
            && (!is_kept || has_bytes(client, self.to, self.bytes)?);
        Ok(is_proved.then_some(true))
    }
}

/// Looks whether a confirmed upload of these bytes has replaced the file `old`: some servers store beside
/// it.
pub(super) fn check_replaced(
    client: &mut Client,
    place: &[u8],
    old: Option<Metadata>,
    size: u64,
    sent: Option<&Digest>,
) -> Result<(), Error> {
    let Some(old) = old else { return Ok(()) };
    // Two empty files are equal.
    if (old.size, size) == (0, 0)
        || find(client, place)?.is_some_and(|now| is_other(old, now))
        || has_bytes(client, place, sent)?
    {
        return Ok(());
    }
    let why = "the upload is confirmed, but the old file can be there still";
    Err(Error::local(io::Error::other(why)))
}

/// Reads a file whose size and time prove nothing.
fn has_bytes(client: &mut Client, place: &[u8], want: Option<&Digest>) -> Result<bool, Error> {
    let Some(want) = want else { return Ok(false) };
    Ok(bytes_of(client, place, want.algorithm)?.is_some_and(|bytes| bytes == *want))
}

/// Returns the digest of the bytes that a file has, if it is told in time and still wanted: meanwhile, the
/// name has no other turn.
pub(super) fn bytes_of(
    client: &mut Client,
    place: &[u8],
    algorithm: HashAlgorithm,
) -> Result<Option<Digest>, Error> {
    let Some(mut sum) = Checksum::new(algorithm) else { return Ok(None) };
    let mut file = client.retrieve(place)?;
    let (begun, mut piece) = (Instant::now(), vec![0; BUFFER]);
    loop {
        if begun.elapsed() > READ_BACK || StorageError::check_wanted().is_err() {
            return Err(file.fail(io::ErrorKind::TimedOut.into()));
        }
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => sum.update(piece.split_at(count).0),
            Err(error) => return Err(file.fail(error)),
        }
    }
    file.finish()?;
    Ok(Some(sum.finish()))
}
