//! Downloads from and uploads to another server, in steps between which the session looks at its
//! client. An upload gets a temporary name there, and its own after the server has confirmed it and
//! its size.

use std::io::{self, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::file::Checksum;
use ftp_client::pool::Lent;
use ftp_client::{Client, Download, Error, UploadMode};
use ftp_proto::Escaped;
use ftp_server::{
    EntryKind, Metadata, Source, StorageError, StorageErrorKind as Kind, StreamEnd, Upload,
    WriteMode,
};

use super::upstream::{self, Slot, StorageResult, Turn, Upstream, fault, find};
use crate::{lock, random_name};

/// Prefix of the temporary names.
pub(super) const PREFIX: &str = ".ftp-gateway-";

/// The longest step.
const STEP: Duration = Duration::from_millis(100);

/// Pauses between the tries to remove what the other server has of a failed upload, in seconds: it may be
/// about to restart.
const PAUSES: [u64; 5] = [0, 1, 10, 60, 600];

/// The buffer of a download.
const BUFFER: usize = 256 * 1024;

/// Bytes of an appending upload that are received before the other server gets any: a cut upload of no
/// more changes nothing.
const HELD: usize = 16 * 1024;

/// Work in another thread.
struct Job<T>(Receiver<StorageResult<T>>);

impl<T: Send + 'static> Job<T> {
    fn begin(work: impl FnOnce() -> StorageResult<T> + Send + 'static) -> StorageResult<Self> {
        let (done, result) = mpsc::channel();
        thread::Builder::new().spawn(move || drop(done.send(work())))?;
        Ok(Self(result))
    }

    /// Returns the result, or `None` if the work needs more time.
    fn wait(&self) -> StorageResult<Option<T>> {
        match self.0.recv_timeout(STEP) {
            Ok(result) => result.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Kind::Io.into()),
        }
    }
}

/// A file of another server that is being read.
pub(super) struct OtherFile {
    upstream: Arc<Upstream>,
    path: Vec<u8>,
    size: u64,
    offset: u64,
    reading: Reading,
    /// What was read, and how much of it was taken.
    buffer: Vec<u8>,
    taken: usize,
    /// Number of bytes that come and were not asked for.
    skip: u64,
}

enum Reading {
    /// An error was returned.
    Failed,
    Before,
    /// The download, and how many of its first bytes were not asked for.
    Beginning(Job<(OtherDownload, u64)>),
    Running(Box<OtherDownload>),
    /// The server has sent all, but not yet said so.
    Ending(Job<()>),
    Over,
}

type OtherDownload = Download<Lent<'static>>;

impl OtherFile {
    pub(super) fn new(upstream: Arc<Upstream>, path: Vec<u8>, size: u64) -> Self {
        let (reading, buffer) = (Reading::Before, Vec::new());
        Self { upstream, path, size, offset: 0, reading, buffer, taken: 0, skip: 0 }
    }

    /// Takes a step. Returns whether there are bytes, or the proved end.
    fn step(&mut self) -> StorageResult<bool> {
        let failed = |error: &Error| fault(error, false);
        self.reading = match std::mem::replace(&mut self.reading, Reading::Failed) {
            Reading::Failed => return Err(Kind::Io.into()),
            Reading::Over => Reading::Over,
            Reading::Before if self.offset > 0 && self.offset == self.size => Reading::Over,
            Reading::Before => {
                let (upstream, path) = (Arc::clone(&self.upstream), self.path.clone());
                let (size, offset) = (self.size, self.offset);
                Reading::Beginning(Job::begin(move || {
                    let path = upstream.path(&path);
                    let from = match offset {
                        0 => 0,
                        _ if upstream.restarts(&path, size)? => offset,
                        _ => 0,
                    };
                    let begun = Download::begin(upstream.lend()?, path, from);
                    Ok((begun.map_err(|error| fault(&error, false))?, offset - from))
                })?)
            }
            Reading::Beginning(job) => match job.wait()? {
                Some((download, skip)) => {
                    self.skip = skip;
                    Reading::Running(Box::new(download))
                }
                None => Reading::Beginning(job),
            },
            Reading::Running(mut download) => {
                if !download.is_ready(STEP).map_err(|error| failed(&error))? {
                    self.reading = Reading::Running(download);
                    return Ok(false);
                }
                self.buffer.resize(BUFFER, 0);
                let read = download.read(&mut self.buffer);
                let count = match read {
                    Ok(count) => count,
                    Err(error) => return Err(failed(&download.fail(error))),
                };
                self.buffer.truncate(count);
                self.taken = usize::try_from(self.skip).unwrap_or(usize::MAX).min(count);
                self.skip -= self.taken as u64;
                match count {
                    0 => Reading::Ending(Job::begin(move || {
                        let (report, _client) = download.release();
                        report.map(drop).map_err(|error| fault(&error, false))
                    })?),
                    _ => Reading::Running(download),
                }
            }
            Reading::Ending(job) => match job.wait()? {
                Some(()) => Reading::Over,
                None => Reading::Ending(job),
            },
        };
        Ok(self.has_bytes() || matches!(self.reading, Reading::Over))
    }

    fn has_bytes(&self) -> bool {
        self.taken < self.buffer.len()
    }
}

impl Read for OtherFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ready()? {}
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let count = (&*rest).read(into)?;
        self.taken += count;
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
        Ok(())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        if self.has_bytes() { Ok(true) } else { self.step() }
    }
}

type RunningUpload = ftp_client::Upload<Lent<'static>>;

/// An upload to another server.
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
    /// The turn of an appending upload, and the size of the file when it began there.
    turn: Option<(Turn, Option<u64>)>,
    /// Held as long as the session wants the upload.
    wanted: Arc<()>,
}

enum Sending {
    /// Bytes of an appending upload that has not begun there.
    Held(Vec<u8>),
    Beginning(Job<Appending>),
    Running(Slot),
    /// The other server has all bytes, under the temporary name.
    Proved(Box<Lent<'static>>),
    Over,
}

/// The turn of an upload that appends, and the size that the file had.
type Appending = (Turn, Option<u64>);

/// Begins an upload; `old` is the file at `path`.
///
/// # Errors
///
/// Returns why the other server does not accept it.
pub(super) fn begin(
    upstream: &Arc<Upstream>,
    path: Vec<u8>,
    mode: WriteMode,
    old: Option<Metadata>,
) -> StorageResult<Box<dyn Upload>> {
    let mut upload = OtherUpload {
        upstream: Arc::clone(upstream),
        path,
        mode,
        old,
        temporary: None,
        sending: Sending::Held(Vec::new()),
        sent: 0,
        checksum: None,
        turn: None,
        wanted: Arc::new(()),
    };
    match mode {
        WriteMode::Append => return Ok(Box::new(upload)),
        WriteMode::Create | WriteMode::Replace => {}
        _ => return Err(Kind::BadRestart.into()),
    }
    if upstream.target.in_place {
        // Two at once would write into one file.
        upload.turn = Some((Turn::begin(upstream, &upload.path, false)?, None));
    } else {
        let end = upload.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (directory, _) = upload.path.split_at(end);
        let name = format!("{PREFIX}{}.part", random_name());
        upload.temporary = Some([directory, name.as_bytes()].concat());
    }
    let mut client = upstream.lend()?;
    if upstream.target.hashes {
        let algorithms = client.hash_algorithms().map_err(|error| fault(&error, false))?;
        upload.checksum = algorithms.first().and_then(|algorithm| Checksum::new(*algorithm));
    }
    if upload.turn.is_some() {
        // What was found before the turn may have been replaced since.
        let found = find(&mut client, &upload.place()).map_err(|error| fault(&error, false))?;
        StorageError::check_wanted()?;
        if mode == WriteMode::Create && found.is_some() {
            return Err(Kind::Exists.into());
        }
        upload.old = found;
    }
    let running = RunningUpload::begin(client, upload.place(), UploadMode::Replace);
    let running = running.map_err(|error| upload.refused(&error));
    let running = match &upload.turn {
        Some((turn, _)) => turn.ended(running),
        None => running,
    }?;
    let slot = upload.turn.as_ref().map_or_else(Slot::default, |(turn, _)| turn.upload().clone());
    *lock(&slot) = Some((Box::new(running), Instant::now()));
    upload.sending = Sending::Running(slot);
    Ok(Box::new(upload))
}

impl OtherUpload {
    /// Returns the path there to which the bytes go.
    fn place(&self) -> Vec<u8> {
        self.upstream.path(self.temporary.as_ref().unwrap_or(&self.path))
    }

    /// Returns the error of a command that has changed nothing but a temporary file, if there is one.
    fn fault(&self, error: &Error) -> StorageError {
        fault(error, self.temporary.is_none())
    }

    /// Returns the error of a refused upload, with its name, which some servers do not accept.
    fn refused(&self, error: &Error) -> StorageError {
        match self.fault(error) {
            StorageError { kind: Kind::Refused, source: Some(why), .. }
                if self.temporary.is_some() =>
            {
                let name = format!("{why} (as {PREFIX}*.part; in_place needs no such name)");
                StorageError::caused_by(Kind::Refused, io::Error::other(name))
            }
            error => error,
        }
    }

    fn explained(&self, error: io::Error) -> io::Error {
        Error::downcast(error).map_or_else(|error| error, |error| self.fault(&error).into())
    }

    /// Begins to append, with the bytes that are held.
    fn append(&self, held: Vec<u8>) -> StorageResult<Job<Appending>> {
        let (upstream, path) = (Arc::clone(&self.upstream), self.path.clone());
        let wanted = Arc::downgrade(&self.wanted);
        Job::begin(move || append(&upstream, &path, &held, &wanted))
    }

    /// Keeps the turn of an upload that appends, until its end is proved.
    fn appends(&mut self, (turn, base): Appending) -> Slot {
        let slot = turn.upload().clone();
        self.turn = Some((turn, base));
        slot
    }

    /// Ends the upload there, and proves it. Returns its connection.
    fn finish(&mut self) -> StorageResult<Lent<'static>> {
        let slot = match std::mem::replace(&mut self.sending, Sending::Over) {
            Sending::Running(slot) => slot,
            Sending::Proved(client) => return Ok(*client),
            Sending::Held(held) => {
                let begun =
                    append(&self.upstream, &self.path, &held, &Arc::downgrade(&self.wanted))?;
                self.appends(begun)
            }
            Sending::Beginning(job) => loop {
                if let Some(begun) = job.wait()? {
                    break self.appends(begun);
                }
            },
            Sending::Over => return Err(Kind::Io.into()),
        };
        let running = lock(&slot).take();
        let (report, mut client) = running.ok_or(Kind::Busy)?.0.release();
        let checksum = self.checksum.take();
        let uncertain = |error: Error| self.fault(&error);
        report.map_err(uncertain)?;
        let is_append = self.mode == WriteMode::Append;
        let place = self.place();
        // Others may append too.
        let base = self.turn.as_ref().and_then(|(_, base)| *base);
        let before = match is_append {
            true => base.or(self.old.map(|old| old.size)).unwrap_or(0),
            false => 0,
        };
        let least = self.sent.saturating_add(before);
        let features = client.features().map_err(uncertain)?;
        let tells = features.has("SIZE") || features.has("MLST");
        let size = match client.size(&place).map_err(uncertain)? {
            None if tells => client.find(&place).map_err(uncertain)?.and_then(|found| found.size),
            size => size,
        };
        match size {
            None if tells => {
                let why = "the other server does not tell the size of what it has stored";
                return Err(StorageError::caused_by(Kind::Unknown, io::Error::other(why)));
            }
            Some(size) if size < least || (size > least && !is_append) => {
                let why = format!("the other server has {size} bytes of {least}");
                return Err(StorageError::caused_by(Kind::Io, io::Error::other(why)));
            }
            _ => {}
        }
        if let Some(checksum) = checksum {
            client.compare_hash(&place, &checksum.finish()).map_err(uncertain)?;
        }
        Ok(client)
    }

    /// Looks at what has the final name, over the connection of this upload.
    fn look(&mut self) -> StorageResult<Metadata> {
        let mut client = self.finish()?;
        let found = find(&mut client, &self.upstream.path(&self.path));
        self.sending = Sending::Proved(Box::new(client));
        found.map_err(|error| fault(&error, false))?.ok_or_else(|| Kind::NotFound.into())
    }

    /// Gives the file its name.
    fn publish(&mut self, mut client: Lent<'static>) -> StorageResult<()> {
        let (from, to) = (self.place(), self.upstream.path(&self.path));
        // FTP has no exclusive rename: a file that another client of that server stores from here on is
        // replaced. Uploads through this program exclude each other.
        let turn = Turn::wait(&self.upstream, &self.path, false)?;
        let looked = |client: &mut Client| find(client, &to).map_err(|error| fault(&error, false));
        if self.mode == WriteMode::Create && looked(&mut client)?.is_some() {
            return Err(Kind::Exists.into());
        }
        // The client may have left while this server was slow, and may have stored a newer file.
        let renamed = turn.ended(upstream::rename(client, &from, &to));
        // What may have been renamed must not be removed.
        if renamed.is_ok() || renamed.as_ref().is_err_and(|error| error.kind == Kind::Unknown) {
            self.temporary = None;
        }
        let mut client = renamed?;
        // Some servers confirm a rename, and give another name, some only if there is an older file.
        let [new, replaced] = &self.upstream.target.renames;
        let renames = if self.old.is_some() { replaced } else { new };
        let is_old = |found: Metadata| found.kind == EntryKind::File && found.size != self.sent;
        if self.old.is_none_or(|old| old.size != self.sent) && renames.get().is_none() {
            match looked(&mut client) {
                Ok(found) if found.is_none_or(is_old) => {
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
        let sending = std::mem::replace(&mut self.sending, Sending::Over);
        let place = self.place();
        let turn = self.turn.take();
        // A part under the final name would be taken for another file when the client resumes.
        let is_part = matches!(sending, Sending::Running(_))
            && self.old.is_none()
            && self.mode != WriteMode::Append;
        if self.temporary.take().is_none() && !is_part {
            // The end of its turn ends the upload.
            return;
        }
        let upstream = Arc::clone(&self.upstream);
        let _ = thread::Builder::new().spawn(move || {
            let running = match &sending {
                Sending::Running(slot) => lock(slot).take(),
                _ => None,
            };
            if turn.is_some() && running.is_none() {
                // Another change has ended it, and the file is that of the other one.
                return;
            }
            let mut client = match (running, sending) {
                // The next command ends the transfer.
                (Some((running, _)), _) => Ok(running.detach()),
                (_, Sending::Proved(client)) => Ok(*client),
                _ => upstream.lend(),
            };
            // Others wait for the turn.
            let mut pauses = PAUSES.into_iter().take(if turn.is_some() { 3 } else { PAUSES.len() });
            let kept = loop {
                let removed = client.and_then(|mut client| {
                    client.delete(&place).map_err(|error| fault(&error, false))
                });
                match (removed, pauses.next()) {
                    (Ok(()), _) => return,
                    (Err(error), pause) if error.kind == Kind::Refused || pause.is_none() => {
                        break error;
                    }
                    (Err(_), pause) => thread::sleep(Duration::from_secs(pause.unwrap_or(0))),
                }
                client = upstream.lend();
            };
            log::warn!("the other server keeps {}: {kept}", Escaped(&place));
        });
    }
}

/// Returns the upload that is running, of a client that has bytes for it. It fails if a change that has
/// waited for it while it had stopped has ended it.
fn running(slot: &mut Option<(Box<RunningUpload>, Instant)>) -> StorageResult<&mut RunningUpload> {
    let (running, moved) = slot.as_mut().ok_or(Kind::Busy)?;
    *moved = Instant::now();
    Ok(running)
}

/// Begins to append in turn.
fn append(
    upstream: &Upstream,
    path: &[u8],
    held: &[u8],
    wanted: &Weak<()>,
) -> StorageResult<Appending> {
    let mut client = upstream.lend()?;
    let turn = Turn::wait(upstream, path, false)?;
    let place = upstream.path(path);
    let base = client.size(&place).map_err(|error| fault(&error, false))?;
    // The session may have given the upload up meanwhile.
    if wanted.strong_count() == 0 {
        return Err(Kind::Busy.into());
    }
    let begun = RunningUpload::begin(client, &place, UploadMode::Append);
    let mut running = turn.ended(begun.map_err(|error| fault(&error, true)))?;
    match running.write_all(held) {
        Ok(()) => {
            *lock(turn.upload()) = Some((Box::new(running), Instant::now()));
            Ok((turn, base))
        }
        Err(error) => turn.ended(Err(fault(&running.fail(error), true))),
    }
}

impl Write for OtherUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = loop {
            match &mut self.sending {
                Sending::Held(held) if held.len() < HELD => {
                    held.extend_from_slice(bytes);
                    break bytes.len();
                }
                Sending::Running(slot) => {
                    let written = running(&mut lock(slot))?.write(bytes);
                    break written.map_err(|error| self.explained(error))?;
                }
                Sending::Proved(_) | Sending::Over => {
                    return Err(StorageError::new(Kind::Io).into());
                }
                Sending::Held(_) | Sending::Beginning(_) => while !self.ready()? {},
            }
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
        self.sending = match std::mem::replace(&mut self.sending, Sending::Over) {
            Sending::Held(held) if held.len() >= HELD => Sending::Beginning(self.append(held)?),
            Sending::Beginning(job) => match job.wait()? {
                Some(begun) => Sending::Running(self.appends(begun)),
                None => Sending::Beginning(job),
            },
            other => other,
        };
        match &mut self.sending {
            Sending::Held(_) => Ok(true),
            Sending::Running(slot) => {
                let ready = running(&mut lock(slot))?.is_ready(STEP);
                ready.map_err(|error| self.fault(&error))
            }
            Sending::Beginning(_) => Ok(false),
            Sending::Proved(_) | Sending::Over => Err(Kind::Io.into()),
        }
    }

    fn target(&mut self) -> Option<StorageResult<Metadata>> {
        Some(match self.temporary {
            Some(_) => self.look(),
            // It is this upload that has the final name now.
            None => self.old.ok_or_else(|| Kind::NotFound.into()),
        })
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let finished = self.finish();
        let client = match &self.turn {
            Some((turn, _)) => turn.ended(finished)?,
            None => finished?,
        };
        if self.temporary.is_some() {
            return self.publish(client);
        }
        self.turn = None;
        Ok(())
    }

    fn abort(self: Box<Self>, _: StreamEnd) {}
}

/// An upload that did not get its name leaves nothing.
impl Drop for OtherUpload {
    fn drop(&mut self) {
        self.clean();
    }
}
