//! Downloads from and uploads to another server, in steps between which the session looks at its
//! client. An upload gets a temporary name there, and its own after the server has confirmed it and
//! its size.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::file::{Checksum, Digest, HashAlgorithm};
use ftp_client::{Client, Download, Error, UploadMode};
use ftp_proto::Escaped;
use ftp_server::{
    Metadata, Source, StorageError, StorageErrorKind as Kind, StreamEnd, Upload, WriteMode,
};

use super::proof::{BUFFER, Renaming, check_replaced, check_size, find, restarts, whole};
use super::upstream::{
    Connection, Held, Known as _, ROOM, RunningTransfer, StorageResult, Turn, Upstream, failed,
    in_doubt,
};
use crate::random_name;

pub(super) const PREFIX: &str = ".ftp-gateway-";

/// The longest step.
const STEP: Duration = Duration::from_millis(100);

/// Pauses between the tries to remove what the other server has of a failed upload, in seconds: it may be
/// about to restart.
const PAUSES: [u64; 5] = [0, 1, 10, 60, 600];

/// Maximum number of bytes of an `APPE`. They are sent in one go, so that a client that is cut off or slow
/// changes nothing there.
const APPEND: usize = 1024 * 1024;

/// A file of another server that is being read.
pub(super) struct OtherFile {
    pub(super) upstream: Arc<Upstream>,
    /// The path of the file, below the directory of the URL.
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) state: Reading,
    /// Cleared once, before the first read.
    pub(super) piece: Vec<u8>,
    /// What of `piece` is still to be read.
    pub(super) unread: Range<usize>,
    pub(super) _transfer: RunningTransfer,
}

/// How far a download is.
pub(super) enum Reading {
    /// Nothing has been asked for.
    Found(Box<Connection>),
    /// A thread begins or ends the download: the session must not wait for the server.
    Away(Receiver<StorageResult<Self>>),
    Running(Box<Download<Connection>>),
    /// The server has confirmed the end.
    Ended,
    Failed,
}

impl Reading {
    fn away(work: impl FnOnce() -> StorageResult<Self> + Send + 'static) -> StorageResult<Self> {
        let (done, next) = mpsc::channel();
        // A session that has left gives the connection back.
        thread::Builder::new().spawn(move || drop(done.send(work())))?;
        Ok(Self::Away(next))
    }
}

impl OtherFile {
    /// Begins the download at the offset, or at the beginning if the server restarts nowhere else.
    fn begin(&self, mut client: Connection) -> StorageResult<Reading> {
        let (upstream, path) = (Arc::clone(&self.upstream), self.upstream.path(&self.path));
        let (size, mut offset) = (self.size, self.offset);
        Reading::away(move || {
            if offset > 0 {
                client = match restarts(client, &path, size)? {
                    Some(proved) => proved,
                    None => {
                        offset = 0;
                        upstream.lend()?
                    }
                };
            }
            Ok(Reading::Running(Box::new(Download::begin(client, path, offset).known()?)))
        })
    }

    /// Waits for the confirmation.
    fn confirm_end(download: Box<Download<Connection>>) -> StorageResult<Reading> {
        Reading::away(move || download.release().0.known().map(|_| Reading::Ended))
    }

    /// Reads the next piece, without what was not asked for.
    fn read_piece(&mut self, mut download: Box<Download<Connection>>) -> StorageResult<Reading> {
        if !download.is_ready(STEP).known()? {
            return Ok(Reading::Running(download));
        }
        let left_out = self.offset.saturating_sub(download.offset() + download.transferred());
        self.piece.resize(BUFFER, 0);
        let count = match download.read(&mut self.piece) {
            Ok(0) => return Self::confirm_end(download),
            Ok(count) => count,
            Err(error) => return Err(download.fail(error)).known(),
        };
        let left_out = usize::try_from(left_out).map_or(count, |left_out| left_out.min(count));
        self.unread = left_out..count;
        Ok(Reading::Running(download))
    }
}

impl Read for OtherFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ready()? {}
        let mut left = self.piece.get(self.unread.clone()).unwrap_or_default();
        let count = left.read(into)?;
        self.unread.start += count;
        Ok(count)
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
            self.state = Reading::Ended;
        }
        Ok(())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        let begun = Instant::now();
        loop {
            if !self.unread.is_empty() || matches!(self.state, Reading::Ended) {
                return Ok(true);
            }
            if begun.elapsed() >= STEP {
                return Ok(false);
            }
            self.state = match std::mem::replace(&mut self.state, Reading::Failed) {
                Reading::Found(client) => self.begin(*client)?,
                Reading::Running(download) => self.read_piece(download)?,
                Reading::Away(next) => match next.recv_timeout(STEP) {
                    Err(RecvTimeoutError::Timeout) => Reading::Away(next),
                    next => next.unwrap_or(Err(Kind::Io.into()))?,
                },
                Reading::Ended | Reading::Failed => return Err(Kind::Io.into()),
            };
        }
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
    /// If `place` is a temporary name, the time after which it goes.
    removed_after: Option<Duration>,
    running: Option<Box<RunningUpload>>,
    /// The connection, once the other server has confirmed the upload.
    confirmed: Option<Connection>,
    sent: u64,
    /// The digest that the server is asked for, or one of a file that replaces another: where size and time do
    /// not prove that, its bytes are read again.
    checksum: Option<Checksum>,
    asks_digest: bool,
    digest: Option<Digest>,
    /// The turn of an upload to the file itself, or of the rename.
    turn: Option<Turn>,
    transfer: Option<RunningTransfer>,
}

/// Begins an upload; `old` is the file at `path`, as `client` has found it. With a turn, it goes to the
/// file itself.
///
/// # Errors
///
/// Returns why the other server does not accept it.
pub(super) fn begin(
    upstream: &Arc<Upstream>,
    (mut client, transfer): (Connection, RunningTransfer),
    path: Vec<u8>,
    mode: WriteMode,
    old: Option<Metadata>,
    turn: Option<Turn>,
) -> StorageResult<Box<dyn Upload>> {
    let (mut checksum, mut place) = (None, upstream.path(&path));
    if upstream.target.hashes {
        checksum = Checksum::for_server(&mut client).known()?;
    }
    let asks_digest = checksum.is_some();
    if !asks_digest && old.is_some() {
        checksum = Checksum::new(HashAlgorithm::Sha256);
    }
    let removed_after = turn.is_none().then_some(Duration::ZERO);
    if removed_after.is_some() {
        place.truncate(place.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1));
        place.extend_from_slice(format!("{PREFIX}{}.part", random_name()).as_bytes());
    } else {
        StorageError::check_wanted()?;
    }
    let (upstream, running, confirmed, sent) = (Arc::clone(upstream), None, None, 0);
    let mut upload = OtherUpload {
        upstream,
        path,
        mode,
        old,
        place,
        removed_after,
        running,
        confirmed,
        sent,
        checksum,
        asks_digest,
        digest: None,
        turn,
        transfer: Some(transfer),
    };
    let running = RunningUpload::begin(client, &upload.place, UploadMode::Replace);
    let running = settle(upload.turn.as_ref(), running).map_err(|error| match error {
        // Some servers do not accept the name.
        StorageError { kind: Kind::Refused, source: Some(why), .. } if removed_after.is_some() => {
            failed(Kind::Refused, format!("{why} (as {PREFIX}*.part; in_place needs no such name)"))
        }
        error => error,
    })?;
    upload.running = Some(Box::new(running));
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
    /// Ends the upload there, compares its digest, and takes the turn.
    fn confirm(&mut self) -> StorageResult<Connection> {
        if let Some(client) = self.confirmed.take() {
            return Ok(client);
        }
        let (report, mut client) = self.running.take().ok_or(Kind::Io)?.release();
        settle(self.turn.as_ref(), report)?;
        self.digest = self.checksum.take().map(Checksum::finish);
        if let Some(digest) = self.digest.as_ref().filter(|_| self.asks_digest) {
            let compare = |client: &mut Client, _: &_| client.compare_hash(&self.place, digest);
            let compared = self.upstream.ask_by(client, compare);
            ((), client) = if self.turn.is_some() { compared.map_err(in_doubt) } else { compared }?;
            // In place, it is the digest of what is there.
            self.old = self.old.filter(|_| self.turn.is_none());
        }
        // FTP has no exclusive rename: a file that another client of that server stores from here on is
        // replaced. Changes through this program exclude each other.
        if self.turn.is_none() {
            self.turn = Some(Turn::wait(&self.upstream, &[(&self.path, false)])?);
        }
        Ok(client)
    }

    /// Proves the upload, and gives the file its name.
    fn publish(&self, client: Connection) -> StorageResult<()> {
        let (upstream, place) = (&self.upstream, &*self.place);
        if upstream.target.in_place {
            let asked = upstream.ask_by(client, |client, _| {
                let size = client.size(place)?;
                check_size(client, place, size, self.sent, false)?;
                check_replaced(client, place, self.old, self.sent, self.digest.as_ref())
            });
            return asked.map(drop).map_err(in_doubt);
        }
        let (to, turn) = (upstream.path(&self.path), self.turn.as_ref().ok_or(Kind::Io)?);
        let ((there, is_shown, named), mut client) = upstream.ask_by(client, |client, _| {
            // Who may ask nothing learns of no file.
            if self.mode == WriteMode::Create && find(client, place)?.is_none() {
                let why = "the other server does not tell whether a file has the name";
                return Err(Error::local(io::Error::other(why)));
            }
            let (size, there) = client.look_before_rename(place, &to)?;
            check_size(client, place, size, self.sent, false)?;
            let there = whole(client, &to, there)?;
            Ok((there, size.is_some(), client.rename_from(place, &to)?))
        })?;
        check_free(there, self.mode)?;
        let (want, bytes) = (Some(Metadata::file(self.sent)), self.digest.as_ref());
        let renaming =
            Renaming { named: &named, from: place, to: &to, there, want, is_shown, bytes };
        renaming.make(&mut client, turn)
    }
}

/// Checks that an upload may get the name that this object has.
pub(super) fn check_free(there: Option<Metadata>, mode: WriteMode) -> StorageResult<()> {
    let Some(there) = there else { return Ok(()) };
    there.kind.check_file()?;
    if mode == WriteMode::Create { Err(Kind::Exists.into()) } else { Ok(()) }
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
        let mut look = || {
            // Of an upload in place, it is this upload that has the final name now.
            if self.upstream.target.in_place {
                return Ok(self.old);
            }
            let (client, to) = (self.confirm()?, self.upstream.path(&self.path));
            let (found, client) = self.upstream.ask_by(client, |client, _| find(client, &to))?;
            self.confirmed = Some(client);
            Ok(found)
        };
        Some(look().and_then(|found| found.ok_or_else(|| Kind::NotFound.into())))
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let client = self.confirm()?;
        let done = self.publish(client);
        self.removed_after = match &done {
            Ok(()) => None,
            Err(error) if error.kind != Kind::Unknown => self.removed_after,
            // It may still get its name.
            Err(_) => self.removed_after.map(|_| self.upstream.target.late),
        };
        done
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}

/// A temporary name goes. What has the final name stays: nothing proves that it is still this upload.
impl Drop for OtherUpload {
    /// Ends the upload in a thread: the other server may not answer.
    fn drop(&mut self) {
        let (running, removed_after) = (self.running.take(), self.removed_after);
        if removed_after.is_none() && running.is_none() {
            return;
        }
        let (upstream, place) = (Arc::clone(&self.upstream), std::mem::take(&mut self.place));
        let turn = self.turn.take().filter(|_| upstream.target.in_place);
        let transfer = self.transfer.take();
        let _ = thread::Builder::new().spawn(move || {
            // Until the server has answered, it writes what it has received.
            let _ = running.map(|running| settle(turn.as_ref(), running.abort()));
            drop(transfer);
            let Some(after) = removed_after else { return };
            thread::sleep(after);
            let mut kept = None;
            for pause in PAUSES {
                thread::sleep(Duration::from_secs(pause));
                kept = upstream.lend().and_then(|mut client| client.delete(&place).known()).err();
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
            return Err(failed(Kind::OverQuota, "a gateway appends at most 1 MiB at a time").into());
        }
        if !self.held.add(bytes.len(), ROOM / 2) {
            return Err(failed(Kind::Busy, "other appends and listings hold all memory").into());
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
        let want = before.saturating_add(bytes.len() as u64);
        let asked = upstream.ask_by(client, |client, _| {
            let size = client.size(&place)?;
            check_size(client, &place, size, want, true)
        });
        asked.map(drop).map_err(in_doubt)
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}
