//! Downloads from and uploads to another server, in steps between which the session looks at its
//! client. An upload gets a temporary name there, and its own after the server has confirmed it and
//! its size.

use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
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

/// The buffer of a download: the session's own one and this are no more than any session may hold.
const BUFFER: usize = 64 * 1024;

/// Maximum number of bytes of an `APPE`. They are sent in one go, so that a client that is cut off or slow
/// changes nothing there.
const APPEND: usize = 1024 * 1024;

/// A file of another server that is being read.
pub(super) struct OtherFile {
    upstream: Arc<Upstream>,
    path: Vec<u8>,
    size: u64,
    reading: Reading,
    piece: Cursor<Vec<u8>>,
}

enum Reading {
    /// Nothing has been sent. The first byte to read has this offset.
    New(Box<Connection>, u64),
    /// A thread waits for the server: the session must not.
    Waiting(Receiver<StorageResult<Self>>),
    /// The bytes up to this offset are left out.
    Running(Box<Download<Connection>>, u64),
    /// The server has confirmed the end.
    Over,
    Failed,
}

impl Reading {
    fn wait(work: impl FnOnce() -> StorageResult<Self> + Send + 'static) -> StorageResult<Self> {
        let (done, result) = mpsc::channel();
        thread::Builder::new().spawn(move || drop(done.send(work())))?;
        Ok(Self::Waiting(result))
    }

    fn begin(
        upstream: &Upstream,
        mut client: Connection,
        path: &[u8],
        size: u64,
        offset: u64,
    ) -> StorageResult<Self> {
        let mut start = offset;
        if offset > 0 {
            if !upstream.restarts(client, path, size)? {
                start = 0;
            }
            client = upstream.lend()?;
        }
        let download = Download::begin(client, path, start).known()?;
        Ok(Self::Running(Box::new(download), offset))
    }
}

impl OtherFile {
    pub(super) fn new(
        upstream: &Arc<Upstream>,
        client: Connection,
        path: Vec<u8>,
        size: u64,
    ) -> Self {
        let reading = Reading::New(Box::new(client), 0);
        Self { upstream: Arc::clone(upstream), path, size, reading, piece: Cursor::default() }
    }

    fn has_piece(&self) -> bool {
        self.piece.position() < self.piece.get_ref().len() as u64
    }

    /// Reads what has arrived. Returns what follows, and whether that is another state.
    fn take(
        &mut self,
        mut download: Box<Download<Connection>>,
        from: u64,
    ) -> StorageResult<(Reading, bool)> {
        let at = download.offset() + download.transferred();
        let mut buffer = std::mem::take(&mut self.piece).into_inner();
        buffer.resize(BUFFER, 0);
        let end = match download.read(&mut buffer) {
            Ok(0) => Reading::wait(move || download.release().0.map(|_| Reading::Over).known()),
            Ok(count) => {
                buffer.truncate(count);
                self.piece = Cursor::new(buffer);
                self.piece.set_position(from.saturating_sub(at));
                return Ok((Reading::Running(download, from), false));
            }
            Err(error) => Reading::wait(move || Err(download.fail(error)).known()),
        };
        Ok((end?, true))
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
        match &mut self.reading {
            _ if offset > self.size => return Err(Kind::BadRestart.into()),
            // Then there is nothing to ask for.
            reading if offset > 0 && offset == self.size => *reading = Reading::Over,
            Reading::New(_, at) => *at = offset,
            _ => return Err(Kind::Io.into()),
        }
        Ok(())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        let mut is_next = !self.has_piece();
        while is_next {
            (self.reading, is_next) = match std::mem::replace(&mut self.reading, Reading::Failed) {
                Reading::New(client, offset) => {
                    let (upstream, size) = (Arc::clone(&self.upstream), self.size);
                    let path = upstream.path(&self.path);
                    let begin = move || Reading::begin(&upstream, *client, &path, size, offset);
                    (Reading::wait(begin)?, true)
                }
                Reading::Waiting(result) => match result.recv_timeout(STEP) {
                    Err(RecvTimeoutError::Timeout) => (Reading::Waiting(result), false),
                    next => (next.map_err(|_| Kind::Io)??, true),
                },
                Reading::Running(mut download, from) => match download.is_ready(STEP).known()? {
                    true => self.take(download, from)?,
                    false => (Reading::Running(download, from), false),
                },
                Reading::Over => (Reading::Over, false),
                Reading::Failed => return Err(Kind::Io.into()),
            };
        }
        Ok(self.has_piece() || matches!(self.reading, Reading::Over))
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
    Running(Box<RunningUpload>),
    Proved(Box<Proved>),
    Over,
}

/// An upload that the other server has.
struct Proved {
    client: Connection,
    /// What has the final name, as far as it was looked at.
    found: Option<Metadata>,
    /// The command that gives the file its name; `None` if it has that.
    rename: Option<Command>,
    turn: Turn,
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
    let (mut checksum, mut temporary) = (None, None);
    if upstream.target.hashes {
        checksum = Checksum::for_server(&mut client).known()?;
    }
    if turn.is_some() {
        StorageError::check_wanted()?;
    } else {
        let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (directory, _) = path.split_at(end);
        let name = format!("{PREFIX}{}.part", random_name());
        temporary = Some([directory, name.as_bytes()].concat());
    }
    let (upstream, sending) = (Arc::clone(upstream), Sending::Over);
    let mut upload =
        OtherUpload { upstream, path, mode, old, temporary, sending, sent: 0, checksum, turn };
    let running = RunningUpload::begin(client, upload.place(), UploadMode::Replace);
    let running = upload.settle(running).map_err(|error| match error {
        // Some servers do not accept the name.
        StorageError { kind: Kind::Refused, source: Some(why), .. } if upload.turn.is_none() => {
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

    /// Ends the upload there, and proves it. `looks` is whether to look at what has the final name.
    fn prove(&mut self, looks: bool) -> StorageResult<Proved> {
        let running = match std::mem::replace(&mut self.sending, Sending::Over) {
            Sending::Running(running) => *running,
            Sending::Proved(proved) => return Ok(*proved),
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
        let own = self.turn.take();
        let in_place = own.is_some();
        let turn = own.map_or_else(|| Turn::wait(&self.upstream, &[(&self.path, false)]), Ok)?;
        let asked = self.upstream.ask_by(client, |client, _| {
            if in_place {
                return Ok((stored_size(client, &place)?, self.old, None));
            }
            client.ask_before_rename(&place, looks.then_some(&*to))?;
            let told = stored_size(client, &place)?;
            let found = if looks { find(client, &to)? } else { self.old };
            Ok((told, found, Some(client.rename_from(&place, &to)?)))
        });
        let asked = asked.map_err(|error| if in_place { in_doubt(error) } else { error });
        let ((told, found, rename), client) = asked?;
        check_size(told, self.sent, false)?;
        Ok(Proved { client, found, rename, turn })
    }

    /// Gives the file its name.
    fn publish(&mut self, proved: Proved) -> StorageResult<()> {
        let Proved { mut client, found, rename, turn } = proved;
        let Some(rename) = rename else { return Ok(()) };
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
        let Sending::Running(running) = &mut self.sending else {
            return Err(StorageError::new(Kind::Io).into());
        };
        let count = match running.write(bytes).map_err(Error::downcast) {
            Err(Ok(error)) => self.settle(Err(error))?,
            Err(Err(error)) => return Err(error),
            Ok(count) => count,
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
        Some(self.sent)
    }

    fn target(&mut self) -> Option<StorageResult<Metadata>> {
        // Of an upload in place, it is this upload that has the final name now.
        let found = match self.temporary {
            Some(_) => self.prove(true).map(|proved| {
                let found = proved.found;
                self.sending = Sending::Proved(Box::new(proved));
                found
            }),
            None => Ok(self.old),
        };
        Some(found.and_then(|found| found.ok_or_else(|| Kind::NotFound.into())))
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let proved = self.prove(self.mode == WriteMode::Create)?;
        self.publish(proved)
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}

/// An upload that did not get its name leaves nothing.
impl Drop for OtherUpload {
    /// Removes what the other server has of it, in a thread: it may not answer.
    fn drop(&mut self) {
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
