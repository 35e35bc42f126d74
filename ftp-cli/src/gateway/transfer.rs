//! Downloads from and uploads to another server, in steps between which the session looks at its
//! client. An upload gets a temporary name there, and its own after the server has confirmed it and
//! its size.

use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use ftp_client::file::Checksum;
use ftp_client::{Client, Download, Error, UploadMode};
use ftp_proto::{Command, Escaped};
use ftp_server::{
    EntryKind, Metadata, Source, StorageError, StorageErrorKind as Kind, StreamEnd, Upload,
    WriteMode,
};

use super::upstream::{Connection, Held, Known as _, ROOM, StorageResult, Turn, Upstream, find};
use crate::random_name;

pub(super) const PREFIX: &str = ".ftp-gateway-";

/// The longest step.
const STEP: Duration = Duration::from_millis(100);

/// Pauses between the tries to remove what the other server has of a failed upload, in seconds: it may be
/// about to restart.
const PAUSES: [u64; 5] = [0, 1, 10, 60, 600];

/// The buffer of a download. Two of them and the session's own one are no more than any session may hold.
const BUFFER: usize = 32 * 1024;

/// Maximum number of bytes of an `APPE`. They are sent in one go, so that a client that is cut off or slow
/// changes nothing there.
const APPEND: usize = 1024 * 1024;

/// A part of a file, or `None` at its end, which the server has confirmed.
type Piece = StorageResult<Option<Vec<u8>>>;

/// A file of another server that is being read, by a thread: the session must not wait for the server.
pub(super) struct OtherFile {
    pub(super) upstream: Arc<Upstream>,
    /// `None` once the download has begun.
    pub(super) client: Option<Connection>,
    /// The path of the file, below the directory of the URL.
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
    pub(super) offset: u64,
    /// `None` before the download begins, and after its end.
    pub(super) pieces: Option<Receiver<Piece>>,
    pub(super) piece: Cursor<Vec<u8>>,
}

/// Downloads a file of `size` bytes from `offset` on, one piece at a time.
fn download(
    upstream: &Upstream,
    mut client: Connection,
    path: &[u8],
    size: u64,
    offset: u64,
    pieces: &SyncSender<Piece>,
) -> StorageResult<()> {
    let mut left_out = 0;
    if offset > 0 {
        if !upstream.restarts(client, path, size)? {
            left_out = offset;
        }
        client = upstream.lend()?;
    }
    let mut download = Download::begin(client, path, offset - left_out).known()?;
    loop {
        while !download.is_ready(STEP).known()? {
            // The session may have ended the transfer, and others wait for the connection.
            if let Err(TrySendError::Disconnected(_)) = pieces.try_send(Ok(Some(Vec::new()))) {
                return Ok(());
            }
        }
        let mut piece = vec![0; BUFFER];
        match download.read(&mut piece) {
            Ok(0) => return download.release().0.map(drop).known(),
            Ok(count) => piece.truncate(count),
            Err(error) => return Err(download.fail(error)).known(),
        }
        let count = usize::try_from(left_out).unwrap_or(usize::MAX).min(piece.len());
        left_out -= count as u64;
        if pieces.send(Ok(Some(piece.split_off(count)))).is_err() {
            // The session has ended the transfer.
            return Ok(());
        }
    }
}

impl OtherFile {
    fn has_piece(&self) -> bool {
        self.piece.position() < self.piece.get_ref().len() as u64
    }
}

impl Read for OtherFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ready()? {}
        self.piece.read(into)
    }
}

impl Source for OtherFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn seek_to(&mut self, offset: u64) -> StorageResult<()> {
        if offset > self.size {
            return Err(Kind::BadRestart.into());
        }
        self.offset = offset;
        if offset > 0 && offset == self.size {
            // There is nothing to ask for.
            self.client = None;
        }
        Ok(())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        if self.has_piece() {
            return Ok(true);
        }
        if let Some(client) = self.client.take() {
            let (pieces, next) = mpsc::sync_channel(0);
            let (upstream, path) = (Arc::clone(&self.upstream), self.upstream.path(&self.path));
            let (size, offset) = (self.size, self.offset);
            self.pieces = Some(next);
            thread::Builder::new().spawn(move || {
                let end = download(&upstream, client, &path, size, offset, &pieces);
                let _ = pieces.send(end.map(|()| None));
            })?;
        }
        let Some(pieces) = &self.pieces else { return Ok(true) };
        match pieces.recv_timeout(STEP) {
            Ok(next) => match next? {
                Some(piece) => self.piece = Cursor::new(piece),
                None => self.pieces = None,
            },
            Err(RecvTimeoutError::Timeout) => {}
            // It has failed before.
            Err(RecvTimeoutError::Disconnected) => return Err(Kind::Io.into()),
        }
        Ok(self.pieces.is_none() || self.has_piece())
    }
}

type RunningUpload = ftp_client::Upload<Connection>;

struct OtherUpload {
    upstream: Arc<Upstream>,
    /// The path of the file, below the directory of the URL.
    path: Vec<u8>,
    mode: WriteMode,
    /// The file that was there.
    old: Option<Metadata>,
    /// The path there to which the bytes go.
    place: Vec<u8>,
    /// Whether what is there is removed unless it is confirmed: clients would take a part under the final
    /// name for another file when they resume.
    is_removed: bool,
    running: Option<Box<RunningUpload>>,
    proved: Option<Proved>,
    sent: u64,
    checksum: Option<Checksum>,
    /// The turn of an upload to the file itself, or of the rename.
    turn: Option<Turn>,
}

/// An upload that the other server has.
struct Proved {
    client: Connection,
    /// What has the final name, as far as it was looked at.
    found: Option<Metadata>,
    /// The command that gives the file its name; `None` if it has that.
    rename: Option<Command>,
}

/// Begins an upload; `old` is the file at `path`, as `client` has found it. With a turn, it goes to the
/// file itself.
///
/// # Errors
///
/// Returns why the other server does not accept it.
pub(super) fn begin(
    upstream: &Arc<Upstream>,
    mut client: Connection,
    path: Vec<u8>,
    mode: WriteMode,
    old: Option<Metadata>,
    turn: Option<Turn>,
) -> StorageResult<Box<dyn Upload>> {
    let (mut checksum, mut place) = (None, upstream.path(&path));
    if upstream.target.hashes {
        checksum = Checksum::for_server(&mut client).known()?;
    }
    let is_temporary = turn.is_none();
    if is_temporary {
        place.truncate(place.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1));
        place.extend_from_slice(format!("{PREFIX}{}.part", random_name()).as_bytes());
    } else {
        StorageError::check_wanted()?;
    }
    let (upstream, running, proved) = (Arc::clone(upstream), None, None);
    let mut upload = OtherUpload {
        upstream,
        path,
        mode,
        old,
        place,
        is_removed: is_temporary,
        running,
        proved,
        sent: 0,
        checksum,
        turn,
    };
    let running = RunningUpload::begin(client, &upload.place, UploadMode::Replace);
    let running = settle(upload.turn.as_ref(), running).map_err(|error| match error {
        // Some servers do not accept the name.
        StorageError { kind: Kind::Refused, source: Some(why), .. } if is_temporary => {
            let why = format!("{why} (as {PREFIX}*.part; in_place needs no such name)");
            StorageError::caused_by(Kind::Refused, io::Error::other(why))
        }
        error => error,
    })?;
    upload.running = Some(Box::new(running));
    upload.is_removed |= upload.old.is_none();
    Ok(Box::new(upload))
}

/// Returns the result of a command. Without a turn, it can have changed nothing but a temporary file.
fn settle<T>(turn: Option<&Turn>, done: Result<T, Error>) -> StorageResult<T> {
    match turn {
        Some(turn) => turn.settle(done),
        None => done.known(),
    }
}

impl OtherUpload {
    /// Ends the upload there, and proves it. `looks` is whether to look at what has the final name.
    fn prove(&mut self, looks: bool) -> StorageResult<Proved> {
        if let Some(proved) = self.proved.take() {
            return Ok(proved);
        }
        let (report, mut client) = self.running.take().ok_or(Kind::Io)?.release();
        settle(self.turn.as_ref(), report)?;
        let in_place = self.upstream.target.in_place;
        if let Some(checksum) = self.checksum.take() {
            let compared = client.compare_hash(&self.place, &checksum.finish());
            settle(self.turn.as_ref(), compared)?;
        }
        // FTP has no exclusive rename: a file that another client of that server stores from here on is
        // replaced. Changes through this program exclude each other.
        if self.turn.is_none() {
            self.turn = Some(Turn::wait(&self.upstream, &[(&self.path, false)])?);
        }
        let (place, to) = (&*self.place, self.upstream.path(&self.path));
        let asked = self.upstream.ask_by(client, |client, _| {
            if in_place {
                return Ok((stored_size(client, place)?, self.old, None));
            }
            client.ask_before_rename(place, looks.then_some(&*to))?;
            let told = stored_size(client, place)?;
            let found = if looks { find(client, &to)? } else { self.old };
            Ok((told, found, Some(client.rename_from(place, &to)?)))
        });
        let asked = asked.map_err(|error| if in_place { in_doubt(error) } else { error });
        let ((told, found, rename), client) = asked?;
        check_size(told, self.sent, false)?;
        Ok(Proved { client, found, rename })
    }

    /// Gives the file its name.
    fn publish(&self, proved: Proved) -> StorageResult<()> {
        let Proved { mut client, found, rename: Some(rename) } = proved else { return Ok(()) };
        if found.is_some() && self.mode == WriteMode::Create {
            return Err(Kind::Exists.into());
        }
        // The client may have left while this server was slow, and may have stored a newer file.
        let moved = Metadata::new(EntryKind::File).size(self.sent);
        let turn = self.turn.as_ref().ok_or(Kind::Io)?;
        self.upstream.rename(&mut client, &rename, &self.path, moved, found, turn)
    }
}

/// Returns the error of a question about what has the final name already.
fn in_doubt(mut error: StorageError) -> StorageError {
    error.kind = Kind::Unknown;
    error
}

/// Returns the size that the server tells of a file, if only in a listing, and whether it should tell one.
fn stored_size(client: &mut Client, place: &[u8]) -> Result<(Option<u64>, bool), Error> {
    let features = client.features()?;
    let tells = features.has("SIZE") || features.has("MLST");
    let size = match client.size(place)? {
        None if tells => client.find(place)?.and_then(|found| found.size),
        // A drop box may have no listings.
        None => client.find(place).ok().flatten().and_then(|found| found.size),
        size => size,
    };
    Ok((size, tells))
}

/// Checks a size that the server tells. Others may append too.
fn check_size((size, tells): (Option<u64>, bool), want: u64, is_append: bool) -> StorageResult<()> {
    let (kind, why) = match size {
        None if tells => {
            (Kind::Unknown, "the other server does not tell the size of what it has stored".into())
        }
        Some(size) if tells && (size < want || (size > want && !is_append)) => {
            (Kind::Io, format!("the other server has {size} bytes of {want}"))
        }
        // A listing can be old, and its numbers can have 32 bits.
        Some(size) if !tells && size < want && want <= i32::MAX.unsigned_abs().into() => {
            (Kind::Unknown, format!("the other server lists {size} bytes of {want}"))
        }
        _ => return Ok(()),
    };
    Err(StorageError::caused_by(kind, io::Error::other(why)))
}

impl Write for OtherUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let running = self.running.as_mut().ok_or_else(|| StorageError::new(Kind::Io))?;
        let written = running.write(bytes);
        let written = written.map_err(|error| Error::downcast(error).unwrap_or_else(Error::local));
        let count = settle(self.turn.as_ref(), written)?;
        if let (Some(checksum), Some(bytes)) = (&mut self.checksum, bytes.get(..count)) {
            checksum.update(bytes);
        }
        self.sent += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for OtherUpload {
    fn ready(&mut self) -> StorageResult<bool> {
        let Some(running) = &mut self.running else { return Ok(true) };
        settle(self.turn.as_ref(), running.is_ready(STEP))
    }

    fn published_size(&self) -> Option<u64> {
        Some(self.sent)
    }

    fn target(&mut self) -> Option<StorageResult<Metadata>> {
        // Of an upload in place, it is this upload that has the final name now.
        let found = match self.upstream.target.in_place {
            true => Ok(self.old),
            false => self.prove(true).map(|proved| self.proved.insert(proved).found),
        };
        Some(found.and_then(|found| found.ok_or_else(|| Kind::NotFound.into())))
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let proved = self.prove(self.mode == WriteMode::Create);
        let done = proved.and_then(|proved| self.publish(proved));
        // What may have got its name must not be removed.
        self.is_removed &= done.as_ref().is_err_and(|error| error.kind != Kind::Unknown);
        done
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}

/// An upload that did not get its name leaves nothing.
impl Drop for OtherUpload {
    /// Removes what the other server has of it, in a thread: it may not answer.
    fn drop(&mut self) {
        let (running, is_removed) = (self.running.take(), self.is_removed);
        if !is_removed && running.is_none() {
            return;
        }
        let (upstream, place) = (Arc::clone(&self.upstream), std::mem::take(&mut self.place));
        let turn = self.turn.take().filter(|_| upstream.target.in_place);
        let sent = self.sent;
        let _ = thread::Builder::new().spawn(move || {
            // Until the server has answered, it writes what it has received.
            let _ = running.map(|running| settle(turn.as_ref(), running.abort()));
            // Others wait for the turn.
            let most = if turn.is_some() { 3 } else { PAUSES.len() };
            let mut kept = None;
            for pause in PAUSES.into_iter().take(most).filter(|_| is_removed) {
                thread::sleep(Duration::from_secs(pause));
                let removed = |mut client: Connection| {
                    // A part of this upload is not larger than what was sent; another client's file can be.
                    if turn.is_some() && client.size(&place).known()?.is_none_or(|size| size > sent)
                    {
                        return Err(Kind::Refused.into());
                    }
                    settle(turn.as_ref(), client.delete(&place))
                };
                kept = upstream.lend().and_then(removed).err();
                if kept.as_ref().is_none_or(|error| error.kind == Kind::Refused) {
                    break;
                }
            }
            if let Some(kept) = kept {
                log::warn!("the other server keeps {}: {kept}", Escaped(&place));
            }
        });
    }
}

/// An append, of which the other server hears only at the end.
pub(super) struct OtherAppend {
    pub(super) upstream: Arc<Upstream>,
    /// The path of the file, below the directory of the URL.
    pub(super) path: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    /// The memory of the bytes.
    pub(super) held: Held,
}

impl Write for OtherAppend {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > APPEND {
            let why = io::Error::other("a gateway appends at most 1 MiB at a time");
            return Err(StorageError::caused_by(Kind::OverQuota, why).into());
        }
        if !self.held.add(bytes.len(), ROOM / 2) {
            let why = io::Error::other("other appends and listings hold all memory");
            return Err(StorageError::caused_by(Kind::Busy, why).into());
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for OtherAppend {
    fn commit(self: Box<Self>) -> StorageResult<()> {
        let Self { upstream, path, bytes, held: _held } = *self;
        let mut client = upstream.lend()?;
        let turn = Turn::wait(&upstream, &[(&path, false)])?;
        // Others may have appended meanwhile.
        let place = upstream.path(&path);
        let before = find(&mut client, &place).known()?.map_or(0, |old| old.size);
        StorageError::check_wanted()?;
        let mut running = turn.settle(RunningUpload::begin(client, &place, UploadMode::Append))?;
        if let Err(error) = running.write_all(&bytes) {
            return turn.settle(Err(running.fail(error)));
        }
        let (report, client) = running.release();
        turn.settle(report)?;
        let asked = upstream.ask_by(client, |client, _| stored_size(client, &place));
        let (told, _) = asked.map_err(in_doubt)?;
        check_size(told, before.saturating_add(bytes.len() as u64), true)
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}
