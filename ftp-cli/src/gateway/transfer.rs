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

use super::upstream::{Connection, Known as _, StorageResult, Turn, Upstream, find};
use crate::random_name;

pub(super) const PREFIX: &str = ".ftp-gateway-";

/// The longest step.
const STEP: Duration = Duration::from_millis(100);

/// Pauses between the tries to remove what the other server has of a failed upload, in seconds: it may be
/// about to restart.
const PAUSES: [u64; 5] = [0, 1, 10, 60, 600];

/// The buffer of a download, and the number of its pieces that wait for the client.
const BUFFER: usize = 256 * 1024;
const PIECES: usize = 2;

/// Maximum number of bytes of an `APPE`. They are sent in one go, so that a client that is cut off or slow
/// changes nothing there.
const APPEND: usize = 1024 * 1024;

/// A file of another server that is being read, in a thread: the session must not wait for the server.
pub(super) struct OtherFile {
    upstream: Arc<Upstream>,
    path: Vec<u8>,
    size: u64,
    offset: u64,
    /// The connection, until the download begins.
    client: Option<Connection>,
    pieces: Option<Pieces>,
    piece: Cursor<Vec<u8>>,
    is_over: bool,
}

/// What a thread has received: no bytes at all if the server has confirmed the end, and `None` for a wait.
type Pieces = Receiver<StorageResult<Option<Vec<u8>>>>;

impl OtherFile {
    pub(super) fn new(
        upstream: &Arc<Upstream>,
        client: Connection,
        path: Vec<u8>,
        size: u64,
    ) -> Self {
        let (upstream, client) = (Arc::clone(upstream), Some(client));
        let (pieces, piece, is_over) = (None, Cursor::default(), false);
        Self { upstream, path, size, offset: 0, client, pieces, piece, is_over }
    }

    fn begin(&mut self) -> StorageResult<Pieces> {
        let (to, pieces) = mpsc::sync_channel(PIECES);
        let (upstream, path) = (Arc::clone(&self.upstream), self.upstream.path(&self.path));
        let (size, offset) = (self.size, self.offset);
        let client = self.client.take().ok_or(Kind::Io)?;
        thread::Builder::new().spawn(move || {
            let done = download(&upstream, client, &path, size, offset, &to);
            let _ = to.send(done.map(|()| Some(Vec::new())));
        })?;
        Ok(pieces)
    }
}

/// Sends a file of `size` bytes from `offset` on to a session, while that wants it.
fn download(
    upstream: &Upstream,
    mut client: Connection,
    path: &[u8],
    size: u64,
    offset: u64,
    to: &SyncSender<StorageResult<Option<Vec<u8>>>>,
) -> StorageResult<()> {
    let mut skip = 0;
    if offset > 0 {
        if !upstream.restarts(client, path, size)? {
            skip = offset;
        }
        client = upstream.lend()?;
    }
    let mut download = Download::begin(client, path, offset - skip).known()?;
    let mut buffer = vec![0; BUFFER];
    loop {
        if !download.is_ready(STEP).known()? {
            if let Err(TrySendError::Disconnected(_)) = to.try_send(Ok(None)) {
                return Ok(());
            }
            continue;
        }
        let count = match download.read(&mut buffer) {
            Ok(0) => return download.release().0.map(drop).known(),
            Ok(count) => count,
            Err(error) => return Err(download.fail(error)).known(),
        };
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
        skip -= skipped as u64;
        let piece = buffer.get(skipped..count).unwrap_or_default();
        if !piece.is_empty() && to.send(Ok(Some(piece.to_vec()))).is_err() {
            return Ok(());
        }
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
        // Then there is nothing to ask for.
        self.is_over = offset > 0 && offset == self.size;
        Ok(())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        if self.is_over || self.piece.position() < self.piece.get_ref().len() as u64 {
            return Ok(true);
        }
        let pieces = match self.pieces.take() {
            Some(pieces) => pieces,
            None => self.begin()?,
        };
        let piece = match pieces.recv_timeout(STEP) {
            Ok(piece) => piece?,
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(Kind::Io.into()),
        };
        self.pieces = Some(pieces);
        let Some(piece) = piece else { return Ok(false) };
        self.is_over = piece.is_empty();
        self.piece = Cursor::new(piece);
        Ok(true)
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
    /// The temporary path; `None` if the upload goes to the file itself.
    temporary: Option<Vec<u8>>,
    sending: Sending,
    sent: u64,
    checksum: Option<Checksum>,
    /// The turn of an upload to the file itself.
    turn: Option<Turn>,
}

enum Sending {
    /// The bytes of an append, of which the other server has none.
    Held(Vec<u8>),
    Running(Box<RunningUpload>),
    Proved(Box<Proved>),
    Over,
}

/// An upload that the other server has, under its temporary name.
struct Proved {
    client: Connection,
    /// What has the final name, as far as it was looked at.
    found: Option<Metadata>,
    /// The command that gives the file its name.
    rename: Command,
    turn: Turn,
}

impl OtherUpload {
    fn new(
        upstream: &Arc<Upstream>,
        path: Vec<u8>,
        mode: WriteMode,
        old: Option<Metadata>,
    ) -> Self {
        let (upstream, sending) = (Arc::clone(upstream), Sending::Held(Vec::new()));
        let (temporary, checksum, turn) = (None, None, None);
        Self { upstream, path, mode, old, temporary, sending, sent: 0, checksum, turn }
    }
}

/// Begins to append to the file at `path`. The other server hears of it only at the end.
pub(super) fn append(upstream: &Arc<Upstream>, path: Vec<u8>) -> Box<dyn Upload> {
    Box::new(OtherUpload::new(upstream, path, WriteMode::Append, None))
}

/// Begins an upload; `old` is the file at `path`, as `client` has found it.
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
) -> StorageResult<Box<dyn Upload>> {
    let mut upload = OtherUpload::new(upstream, path, mode, old);
    let target = &upstream.target;
    if target.hashes {
        let algorithms = client.hash_algorithms().known()?;
        upload.checksum = algorithms.first().and_then(|algorithm| Checksum::new(*algorithm));
    }
    if target.in_place {
        // Two at once would write into one file.
        upload.turn = Some(Turn::begin(upstream, &[(&upload.path, false)])?);
        // What was found before the turn may have been replaced since.
        upload.old = find(&mut client, &upload.place()).known()?;
        StorageError::check_wanted()?;
        if mode == WriteMode::Create && upload.old.is_some() {
            return Err(Kind::Exists.into());
        }
    } else {
        let end = upload.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (directory, _) = upload.path.split_at(end);
        let name = format!("{PREFIX}{}.part", random_name());
        upload.temporary = Some([directory, name.as_bytes()].concat());
    }
    let running = RunningUpload::begin(client, upload.place(), UploadMode::Replace);
    let running = upload.settle(running).map_err(|error| match error {
        // Some servers do not accept the name.
        StorageError { kind: Kind::Refused, source: Some(why), .. } if !target.in_place => {
            let why = format!("{why} (as {PREFIX}*.part; in_place needs no such name)");
            StorageError::caused_by(Kind::Refused, io::Error::other(why))
        }
        error => error,
    })?;
    upload.sending = Sending::Running(Box::new(running));
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
    /// Returns the path there to which the bytes go.
    fn place(&self) -> Vec<u8> {
        self.upstream.path(self.temporary.as_ref().unwrap_or(&self.path))
    }

    fn settle<T>(&self, done: Result<T, Error>) -> StorageResult<T> {
        settle(self.turn.as_ref(), done)
    }

    /// Appends bytes in turn, up to the confirmation, and notes the size before.
    fn append(&mut self, bytes: &[u8]) -> StorageResult<RunningUpload> {
        let mut client = self.upstream.lend()?;
        let turn = Turn::wait(&self.upstream, &[(&self.path, false)])?;
        // Others may have appended meanwhile.
        let place = self.place();
        self.old = find(&mut client, &place).known()?;
        StorageError::check_wanted()?;
        let turn = self.turn.insert(turn);
        let mut running = turn.settle(RunningUpload::begin(client, &place, UploadMode::Append))?;
        match running.write_all(bytes) {
            Ok(()) => Ok(running),
            Err(error) => turn.settle(Err(running.fail(error))),
        }
    }

    /// Ends the upload there, and proves it. Returns what is left to do for one with a temporary name.
    /// `looks` is whether to look at what has the final name.
    fn prove(&mut self, looks: bool) -> StorageResult<Option<Proved>> {
        let running = match std::mem::replace(&mut self.sending, Sending::Over) {
            Sending::Running(running) => *running,
            Sending::Proved(proved) => return Ok(Some(*proved)),
            Sending::Held(bytes) => self.append(&bytes)?,
            Sending::Over => return Err(Kind::Io.into()),
        };
        let (report, mut client) = running.release();
        self.settle(report)?;
        let (place, to) = (self.place(), self.upstream.path(&self.path));
        if let Some(checksum) = self.checksum.take() {
            self.settle(client.compare_hash(&place, &checksum.finish()))?;
        }
        // FTP has no exclusive rename: a file that another client of that server stores from here on is
        // replaced. Changes through this program exclude each other.
        let places = [(&*self.path, false)];
        let turn = self.temporary.as_ref().map(|_| Turn::wait(&self.upstream, &places));
        let turn = turn.transpose()?;
        let asked = self.upstream.ask_by(client, |client, _| {
            if turn.is_some() {
                client.ask_before_rename(&place, looks.then_some(&*to))?;
            }
            let told = stored_size(client, &place)?;
            let named = match turn {
                Some(_) => {
                    let found = if looks { find(client, &to)? } else { self.old };
                    Some((found, client.rename_from(&place, &to)?))
                }
                None => None,
            };
            Ok((told, named))
        });
        let ((told, named), client) = asked.map_err(|mut error| {
            if self.turn.is_some() {
                // What is stored has the final name already.
                error.kind = Kind::Unknown;
            }
            error
        })?;
        let is_append = self.mode == WriteMode::Append;
        let before = self.old.filter(|_| is_append).map_or(0, |old| old.size);
        check_size(told, before.saturating_add(self.sent), is_append)?;
        let proved = |((found, rename), turn)| Proved { client, found, rename, turn };
        Ok(named.zip(turn).map(proved))
    }

    /// Gives the file its name.
    fn publish(&mut self, proved: Proved) -> StorageResult<()> {
        let Proved { mut client, found, rename, turn } = proved;
        if found.is_some() && self.mode == WriteMode::Create {
            return Err(Kind::Exists.into());
        }
        // The client may have left while this server was slow, and may have stored a newer file.
        StorageError::check_wanted()?;
        let renamed = turn.settle(client.rename_to(&rename));
        // What may have been renamed must not be removed.
        if renamed.as_ref().err().is_none_or(|error| error.kind == Kind::Unknown) {
            self.temporary = None;
        }
        renamed?;
        // Some servers confirm a rename, and give another name, some only if there is an older file.
        let [new, replaced] = &self.upstream.target.renames;
        let renames = if found.is_some() { replaced } else { new };
        let is_other = |it: Metadata| it.kind == EntryKind::File && it.size != self.sent;
        if found.is_none_or(is_other) && renames.get().is_none() {
            match find(&mut client, &self.upstream.path(&self.path)) {
                Ok(named) if named.is_none_or(is_other) => {
                    let why = "the other server does not rename files; use in_place";
                    return Err(StorageError::caused_by(Kind::Unknown, io::Error::other(why)));
                }
                Ok(_) => drop(renames.set(())),
                // The next upload is looked at.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Removes what the other server has of an upload that failed, in a thread: it may not answer.
    fn clean(&mut self) {
        let (place, turn) = (self.place(), self.turn.take());
        let running = match std::mem::replace(&mut self.sending, Sending::Over) {
            Sending::Running(running) => Some(running),
            _ => None,
        };
        // A part under the final name would be taken for another file when the client resumes.
        let is_part = running.is_some() && self.old.is_none();
        let leaves = self.temporary.take().is_some() || is_part;
        let upstream = Arc::clone(&self.upstream);
        if !leaves && running.is_none() {
            return;
        }
        let _ = thread::Builder::new().spawn(move || {
            // Until the server has answered, it writes what it has received.
            let _ = running.map(|running| settle(turn.as_ref(), running.abort()));
            // Others wait for the turn.
            let most = if turn.is_some() { 3 } else { PAUSES.len() };
            let mut kept = None;
            for pause in PAUSES.into_iter().take(most).filter(|_| leaves) {
                thread::sleep(Duration::from_secs(pause));
                let removed = |mut client: Connection| settle(turn.as_ref(), client.delete(&place));
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

/// Returns the size that the server tells of a file, and whether it should tell one.
fn stored_size(client: &mut Client, place: &[u8]) -> Result<(Option<u64>, bool), Error> {
    let features = client.features()?;
    let tells = features.has("SIZE") || features.has("MLST");
    Ok(match client.size(place)? {
        None if tells => (client.find(place)?.and_then(|found| found.size), true),
        size => (size, tells),
    })
}

/// Checks a size that the server tells. Others may append too.
fn check_size((size, tells): (Option<u64>, bool), want: u64, is_append: bool) -> StorageResult<()> {
    let (kind, why) = match size {
        None if tells => {
            (Kind::Unknown, "the other server does not tell the size of what it has stored".into())
        }
        Some(size) if size < want || (size > want && !is_append) => {
            (Kind::Io, format!("the other server has {size} bytes of {want}"))
        }
        _ => return Ok(()),
    };
    Err(StorageError::caused_by(kind, io::Error::other(why)))
}

impl Write for OtherUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.sending {
            Sending::Held(held) if held.len().saturating_add(bytes.len()) > APPEND => {
                let why = io::Error::other("a gateway appends at most 1 MiB at a time");
                return Err(StorageError::caused_by(Kind::OverQuota, why).into());
            }
            Sending::Held(held) => {
                held.extend_from_slice(bytes);
                bytes.len()
            }
            Sending::Running(running) => match running.write(bytes).map_err(Error::downcast) {
                Err(Ok(error)) => self.settle(Err(error))?,
                Err(Err(error)) => return Err(error),
                Ok(count) => count,
            },
            Sending::Proved(_) | Sending::Over => return Err(StorageError::new(Kind::Io).into()),
        };
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
        match &mut self.sending {
            Sending::Running(running) => {
                let ready = running.is_ready(STEP);
                self.settle(ready)
            }
            _ => Ok(true),
        }
    }

    fn published_size(&self) -> Option<u64> {
        Some(self.sent).filter(|_| self.mode != WriteMode::Append)
    }

    fn target(&mut self) -> Option<StorageResult<Metadata>> {
        let found = match self.temporary {
            Some(_) => self.prove(true).map(|proved| {
                let proved = proved?;
                let found = proved.found;
                self.sending = Sending::Proved(Box::new(proved));
                found
            }),
            // It is this upload that has the final name now.
            None => Ok(self.old),
        };
        Some(found.and_then(|found| found.ok_or_else(|| Kind::NotFound.into())))
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        match self.prove(self.mode == WriteMode::Create)? {
            Some(proved) => self.publish(proved),
            None => Ok(()),
        }
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}

/// An upload that did not get its name leaves nothing.
impl Drop for OtherUpload {
    fn drop(&mut self) {
        self.clean();
    }
}
