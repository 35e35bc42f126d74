//! Transfers: the code that both directions share. [`Watch`] limits the rate of a copy and reports its progress.

mod begin;
mod download;
mod end;
mod meet;
mod secure;
mod upload;

pub(crate) use begin::{begin, begin_with_time};
pub use download::Download;
pub(crate) use end::{confirm, resync};
pub(crate) use upload::{Source, Watch};
pub use upload::{Upload, UploadMode};

use end::error_of;

use std::borrow::{Borrow, BorrowMut};
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_proto::{
    Command, DataEnd, Pathname, Progress, Reply, TimeVal, TransferEvidence, TransferFault,
    TransferLength, Verb,
};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use crate::client::Client;
use crate::config::Timeouts;
use crate::data::coding::{Coding, RawData};
use crate::error::{Error, Phase, TlsError, accepted};
use crate::lock;
use crate::net::Stream;
use crate::net::wait::Deadline;

/// A successful transfer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The number of bytes that the caller read or wrote. In an ASCII transfer, these are bytes of
    /// local data, with LF alone at the end of a line.
    pub bytes: u64,
    /// The final reply, 2xx. If the client stopped the transfer, the first reply, 1xx.
    pub reply: Reply,
    /// The time from sending the command to the end of the transfer.
    pub duration: Duration,
    /// Whether the client stopped the transfer after the last byte of the requested part
    /// ([`Client::retrieve_range`]), because the server would have sent more. Otherwise the server
    /// confirmed the whole transfer.
    pub is_stopped: bool,
    /// The name that the server chose for the file ([`Client::store_unique`]), if it reported the
    /// name.
    pub unique_name: Option<Pathname>,
    /// The failure of the data connection of an upload that the server confirmed all the same.
    pub(crate) cut: Option<Cut>,
}

impl Report {
    /// Fails if the data connection failed, unless the size `stored` that the server reports now
    /// proves the upload. `is_new` tells whether it cannot be the size of the replaced file.
    pub(crate) fn proved(mut self, stored: Option<u64>, is_new: bool) -> Result<Self, Error> {
        let Some(Cut { mut evidence, error }) = self.cut.take() else { return Ok(self) };
        (evidence.length.stored, evidence.length.is_new) = (stored, is_new);
        evidence.verdict().map(|_| self).map_err(|_| error)
    }
}

/// The failure of the data connection of a confirmed transfer.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    evidence: TransferEvidence,
    error: Error,
}

/// The part of a running transfer that both directions share. Dropping it early does no I/O: the
/// data connection goes back to the client, whose next call aborts the transfer.
#[derive(Debug)]
pub(crate) struct Transfer<C: BorrowMut<Client>> {
    client: HeldClient<C>,
    verb: Verb,
    /// The data connection; `None` if the server ended the transfer without one, or once it is
    /// closed.
    data: Option<Stream>,
    /// The form of the data; `None` in mode S.
    coding: Option<Box<Coding>>,
    /// The first reply: 1xx, or the final reply if there was no 1xx.
    first: Reply,
    /// The final reply, if it came early.
    ended: Option<Reply>,
    moved: bool,
    /// Whether the last read took all available data, so that the next one begins with a wait.
    drained: bool,
    /// The end of the stall timeout, while [`is_ready`](Self::is_ready) has returned only `false`.
    patience: Option<Deadline>,
    failed: Option<Error>,
    /// The failure of the data connection of a download that the server confirmed all the same.
    cut: Option<Error>,
    started: Instant,
    /// The commands to send together with the end of an upload.
    next: Vec<Command>,
}

/// A transfer that has begun, without the borrow of the client, so that the caller can resume it or
/// try another command.
#[derive(Debug)]
pub(crate) struct Begun {
    verb: Verb,
    data: Option<Stream>,
    coding: Option<Box<Coding>>,
    first: Reply,
    ended: Option<Reply>,
    started: Instant,
    /// The modification time of the file, if it was requested.
    pub(crate) modified: Option<TimeVal>,
}

impl<C: BorrowMut<Client>> Transfer<C> {
    pub(crate) fn new(client: C, begun: Begun) -> Self {
        let Begun { verb, data, coding, first, ended, started, .. } = begun;
        Self {
            client: HeldClient::new(client),
            verb,
            data,
            coding,
            first,
            ended,
            moved: false,
            drained: false,
            patience: None,
            failed: None,
            cut: None,
            started,
            next: Vec::new(),
        }
    }

    /// Returns the transfer without the borrow of the client, to resume it later. The client must
    /// not send another command in between.
    pub(crate) fn suspend(mut self) -> Begun {
        Begun {
            verb: self.verb,
            data: self.data.take(),
            coding: self.coding.take(),
            first: self.first.clone(),
            ended: self.ended.take(),
            started: self.started,
            modified: None,
        }
    }

    /// Returns the client. Call this only when no reply is outstanding.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Ends the transfer as dropping it does, and returns the client.
    pub(crate) fn release(mut self) -> C {
        self.abandon();
        self.client.take().expect("the client is taken only here")
    }

    /// Leaves a running transfer to the client's next call.
    fn abandon(&mut self) {
        let data = self.data.take();
        if self.client.control.is_outstanding() {
            self.client.abandoned = data;
        }
    }

    /// Reads data. Returns 0 at the end of the data; the end does not prove that the transfer
    /// succeeded. Also returns 0 if the data connection of a download failed, but the server confirms
    /// the transfer: the size of the file then decides at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        let Some(mut coding) = self.coding.take() else {
            let read = self.read_data(buffer);
            let is_cut = matches!(read, Err(Error::Io(_) | Error::Tls(TlsError::TruncatedTls)));
            if is_cut && self.verb == Verb::Retr && self.ended.is_some() {
                (self.data, self.cut) = (None, self.failed.take());
                return Ok(0);
            }
            return read;
        };
        let read = coding.read(self, buffer);
        self.coding = Some(coding);
        read
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.check()?;
        let Some(mut coding) = self.coding.take() else { return self.write_data(bytes) };
        let written = coding.write(self, bytes);
        self.coding = Some(coding);
        written
    }

    /// Makes the next read skip the initial wait, because the end of the data has usually arrived
    /// already.
    pub(super) const fn expect_end(&mut self) {
        self.drained = false;
    }

    /// Sleeps. If the sleep ends early, the next read or write reports why.
    pub(super) fn pause(&self, length: Duration) {
        let _ = self.client.control.waiter().sleep(length);
    }

    /// Returns the stall deadline. It may be shorter if the server has confirmed the transfer,
    /// because the remaining data is already in transit.
    fn deadline(&self) -> Deadline {
        let Timeouts { stall, data_connect, .. } = self.client.config.timeouts;
        let limit = if self.ended.is_some() { data_connect.min(stall) } else { stall };
        self.client.control.deadline(limit, Phase::Stall)
    }

    /// Waits until data may move. Also watches the control connection: a server that gives up sends
    /// a reply there, and may leave the data connection open. A confirmation is kept for the end.
    fn wait(&mut self, interest: PollFlags, deadline: &mut Deadline) -> Result<(), Error> {
        let Some(data) = &self.data else { return Ok(()) };
        let control = &mut self.client.control;
        // After the final reply, replies to commands that were sent ahead can follow.
        if self.ended.is_some() || !control.is_outstanding() {
            return control.waiter().wait_for(data.as_fd(), interest, *deadline);
        }
        // A reply that arrived together with the previous one is in the buffer already.
        let mut reply = control.buffered_reply()?;
        if reply.is_none() {
            if control.wait_with(data.as_fd(), interest, *deadline)? {
                return Ok(());
            }
            reply = control.poll_reply()?;
        }
        if self.hear(reply)? {
            *deadline = self.deadline();
        }
        Ok(())
    }

    /// Waits at most `limit` until data can move, or until the next read or write fails.
    pub(crate) fn is_ready(&mut self, interest: PollFlags, limit: Duration) -> Result<bool, Error> {
        self.check()?;
        if self.coding.is_some() || self.has_room(interest).map_err(|error| self.fail(error))? {
            self.patience = None;
            return Ok(true);
        }
        let stall = *self.patience.get_or_insert(self.deadline());
        stall.remaining().map_err(|error| self.fail(error))?;
        let mut deadline = self.client.control.deadline(limit, Phase::Stall).or(Some(stall));
        match self.wait(interest, &mut deadline) {
            Ok(()) | Err(Error::Timeout(Phase::Stall)) => {}
            Err(error) => return Err(self.fail(error)),
        }
        let is_ready = self.has_room(interest).map_err(|error| self.fail(error))?;
        self.patience = self.patience.filter(|_| !is_ready);
        Ok(is_ready)
    }

    /// Returns whether data can move now. Without a data connection, nothing has to be waited for.
    fn has_room(&mut self, interest: PollFlags) -> Result<bool, Error> {
        let Some(data) = self.data.as_mut().filter(|_| self.ended.is_none()) else {
            return Ok(true);
        };
        if interest == PollFlags::IN && data.session().is_some() {
            // The socket can be readable although no whole TLS record has arrived.
            return data.look();
        }
        if interest == PollFlags::IN && data.has_unread() {
            return Ok(true);
        }
        let waiter = self.client.control.waiter();
        match waiter.wait_for(data.as_fd(), interest, Deadline::after(Duration::ZERO, Phase::Stall))
        {
            Ok(()) => Ok(true),
            Err(Error::Timeout(Phase::Stall)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps a reply that confirms the transfer early, and returns whether there was one.
    fn hear(&mut self, reply: Option<(Progress, Reply)>) -> Result<bool, Error> {
        let Some((Progress::Final, reply)) = reply else { return Ok(false) };
        self.ended = Some(accepted(self.verb, reply)?);
        Ok(true)
    }

    /// Returns whether the server ended the transfer with its first reply, a 2xx without a 1xx.
    fn is_over_at_once(&self) -> bool {
        self.ended.as_ref() == Some(&self.first)
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl<C: BorrowMut<Client>> RawData for Transfer<C> {
    fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.data.is_none() && self.is_over_at_once() && !self.moved {
            // The first reply was final, and there was no data connection. No data was sent, but
            // the file may not be empty.
            return Err(self.fail(Error::Incomplete { bytes: 0, announced: None }));
        }
        let mut deadline = self.deadline();
        self.client.control.go_on(deadline).map_err(|error| self.fail(error))?;
        loop {
            let Some(data) = &mut self.data else { return Ok(0) };
            // Waits first if the last read took all available data, unless a reply has arrived:
            // more data may have arrived before the reply.
            let control = &self.client.control;
            let waits = std::mem::take(&mut self.drained) && !data.has_unread();
            let read = match waits && control.is_clear() {
                true => Ok(None),
                false => control.check().and_then(|()| data.read(buffer)),
            };
            let waited = match read {
                Ok(Some(count)) => {
                    self.moved = true;
                    self.drained = (1..buffer.len()).contains(&count);
                    return Ok(count);
                }
                Ok(None) => self.wait(PollFlags::IN, &mut deadline),
                Err(error) => Err(error),
            };
            match waited {
                Ok(()) => {}
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    fn write_data(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut deadline = self.deadline();
        self.client.control.go_on(deadline).map_err(|error| self.fail(error))?;
        loop {
            let Some(data) = self.data.as_mut().filter(|_| self.ended.is_none()) else {
                // The server no longer takes the data.
                let reply = self.ended.as_ref().unwrap_or(&self.first).clone();
                self.failed = Some(Error::Unexpected { verb: self.verb, reply: reply.clone() });
                return Err(Error::Unexpected { verb: self.verb, reply });
            };
            let written = self.client.control.check().and_then(|()| data.write(bytes));
            match written {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {
                    self.wait(PollFlags::OUT, &mut deadline).map_err(|error| self.fail(error))?;
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Finds the reason for a failure on the data connection: the server's reply has priority over
    /// the socket's error.
    fn fail(&mut self, error: Error) -> Error {
        let control = &mut self.client.control;
        let reply = match &error {
            _ if self.ended.is_some() || !control.is_outstanding() => None,
            Error::Cancelled => None,
            Error::Io(_) | Error::Tls(_) | Error::Compressed(_) | Error::Blocks(_) => {
                // The final reply is read in any case; closing the data connection now makes the
                // server send it.
                self.data = None;
                Some(control.final_reply(control.reply_deadline()))
            }
            _ => match control.poll_reply() {
                Ok(Some((Progress::Final, reply))) => Some(Ok(reply)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            },
        };
        let reason = match reply {
            // Both connections are lost, so the missing close_notify is not the server's habit.
            Some(Err(Error::Closed)) if matches!(error, Error::Tls(TlsError::TruncatedTls)) => {
                Error::Closed
            }
            None | Some(Err(Error::Closed | Error::Timeout(_))) => error,
            Some(Err(error)) => error,
            Some(Ok(reply)) => match accepted(self.verb, reply) {
                Ok(reply) => {
                    self.ended = Some(reply);
                    error
                }
                Err(refused) => refused,
            },
        };
        let reason = self.client.blame_blocks(reason);
        self.failed = Some(reason.clone());
        reason
    }
}

impl<C: BorrowMut<Client>> Drop for Transfer<C> {
    fn drop(&mut self) {
        if self.client.is_there() {
            self.abandon();
        }
    }
}

/// A client that a transfer holds until its end: borrowed, owned, or lent by a pool.
#[derive(Debug)]
struct HeldClient<C>(Option<C>);

impl<C> HeldClient<C> {
    const fn new(client: C) -> Self {
        Self(Some(client))
    }

    /// Gives the client back. The transfer must not use it any more.
    const fn take(&mut self) -> Option<C> {
        self.0.take()
    }

    const fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

const THERE: &str = "the client is given back only at the end";

impl<C: Borrow<Client>> Deref for HeldClient<C> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.as_ref().expect(THERE).borrow()
    }
}

impl<C: BorrowMut<Client>> DerefMut for HeldClient<C> {
    fn deref_mut(&mut self) -> &mut Client {
        self.0.as_mut().expect(THERE).borrow_mut()
    }
}

/// The longest time to wait for the server to end the data connection. Some servers keep it open;
/// the final reply alone then decides whether the transfer succeeded.
const CLOSING: Duration = Duration::from_secs(2);

/// The longest wait for the confirmation of an upload while mode B is tried.
const TRIAL: Duration = Duration::from_secs(10);

impl<C: BorrowMut<Client>> Transfer<C> {
    /// Ends the transfer after its last byte: marks the end of written data, and waits for the
    /// confirmation. If the result of a download depends on the size of the file at `path`, asks for
    /// that size. The caller must prove an upload if its report has a [`Cut`].
    pub(crate) fn conclude(
        &mut self,
        length: TransferLength,
        path: Option<&Pathname>,
    ) -> Result<Report, Error> {
        self.check()?;
        let is_in_blocks = self.coding.as_deref().is_some_and(Coding::is_in_blocks);
        let concluded = self.conclude_by(length, path);
        if concluded.is_ok() && is_in_blocks && self.client.tries_blocks() {
            self.client.config.learned.blocks.prove();
        }
        concluded.map_err(|error| self.client.blame_blocks(error))
    }

    fn conclude_by(
        &mut self,
        length: TransferLength,
        path: Option<&Pathname>,
    ) -> Result<Report, Error> {
        let mut evidence = TransferEvidence::new(self.verb);
        evidence.has_begun = !self.is_over_at_once();
        evidence.length = length;
        let is_upload = self.verb.is_upload();
        let is_in_blocks = self.coding.as_deref().is_some_and(Coding::is_in_blocks);
        // If data was sent, the server must not confirm the upload before it has seen the end of
        // the data.
        let has_sent = is_upload && (length.moved > 0 || self.coding.is_some());
        if has_sent && is_in_blocks {
            // The server may confirm the upload as soon as it has the last block.
            self.reject_early_reply()?;
        }
        if is_upload {
            self.finish_coding()?;
            self.flush(has_sent)?;
            let next = std::mem::take(&mut self.next);
            self.client.send_ahead(next)?;
        }
        if has_sent && !is_in_blocks {
            self.reject_early_reply()?;
        }
        let mut limit = self.client.config.timeouts.final_reply;
        if is_in_blocks && self.client.tries_blocks() {
            // A server that has stayed in mode S waits for the end of the connection.
            limit = limit.min(TRIAL);
        }
        let deadline = self.client.control.deadline(limit, Phase::FinalReply);
        let (mut cut, mut questions) = (self.cut.take(), Vec::new());
        if is_in_blocks {
            // The last block ends the file, and the server decides whether to close the connection.
        } else if is_upload {
            // The connection stays open until the reply, because a server that sees a reset may
            // discard the data.
            cut = self.end_sending(has_sent)?;
        } else if let Some(mut data) = self.data.take() {
            data.say_end();
            questions = std::mem::take(&mut self.next);
            questions = self.client.ask_at_end(questions)?;
        }
        evidence.data = self.coding.as_deref().map_or(DataEnd::Clean, Coding::end);
        let control = &mut self.client.control;
        let reply = match self.ended.take() {
            Some(reply) => Ok(reply),
            None => control.final_reply(deadline),
        };
        let reply = self.client.answers_at_end(&questions, reply)?;
        confirm(&mut self.client.control, evidence, &reply)?;
        if has_sent && !is_in_blocks && cut.is_none() {
            cut = self.failure_after_the_end();
        }
        match cut {
            Some(Error::Tls(_)) => evidence.data = DataEnd::TruncatedTls,
            Some(_) => evidence.data = DataEnd::Reset,
            None => {}
        }
        let mut evidence = evidence.with_reply(reply.code());
        self.end_data(&evidence);
        if let Some(path) = path.filter(|_| evidence.needs_size()) {
            evidence.length.stored = self.client.size_afterwards(path.as_bytes())?;
        }
        let cut = match (evidence.verdict(), cut) {
            (Err(TransferFault::Broken), Some(error)) if is_upload => {
                self.client.breaks_uploads = true;
                Some(Cut { evidence, error })
            }
            (Err(TransferFault::Broken), Some(error)) => return Err(error),
            (verdict, _) => {
                verdict.map_err(|fault| error_of(fault, self.verb, &reply))?;
                None
            }
        };
        Ok(Report {
            bytes: length.moved,
            duration: self.started.elapsed(),
            is_stopped: false,
            unique_name: None,
            cut,
            reply,
        })
    }

    /// Writes the end of an upload in a mode other than S, where it is a part of the data.
    fn finish_coding(&mut self) -> Result<(), Error> {
        let Some(mut coding) = self.coding.take() else { return Ok(()) };
        let finished = coding.finish(self);
        self.coding = Some(coding);
        finished
    }

    /// Fails if the server has confirmed an upload before the end of the data.
    fn reject_early_reply(&mut self) -> Result<(), Error> {
        let limit = self.client.config.timeouts.final_reply;
        let deadline = self.client.control.deadline(limit, Phase::FinalReply);
        let Some(reply) = self.early_reply(deadline)? else { return Ok(()) };
        let reply = accepted(self.verb, reply)?;
        Err(error_of(TransferFault::Early, self.verb, &reply))
    }

    /// Returns the final reply if the server has sent it already, before the end of the data.
    fn early_reply(&mut self, deadline: Deadline) -> Result<Option<Reply>, Error> {
        let control = &mut self.client.control;
        let mut early = self.ended.take();
        // Any number of 1xx replies may come first.
        while early.is_none()
            && let Some((progress, reply)) = control.poll_reply()?
        {
            match progress {
                Progress::Final => early = Some(reply),
                _ => control.go_on_or_close(deadline)?,
            }
        }
        Ok(early)
    }

    /// After the confirmation of an upload, waits until the server closes the data connection; most
    /// servers have already closed it. If a server closes the connection before it has read all
    /// data, it resets the connection, and the reset may arrive after the reply. Returns the error
    /// of such a reset.
    fn failure_after_the_end(&mut self) -> Option<Error> {
        // Under TLS, the client has already waited for the close, before it read the reply.
        let waits = !self.is_secure();
        let data = self.data.as_mut()?;
        let control = &self.client.control;
        let deadline = control.deadline(CLOSING, Phase::FinalReply);
        // If there is nothing to read, the server's confirmation counts.
        if waits {
            let _ = control.waiter().wait_for(data.as_fd(), PollFlags::IN, deadline);
        }
        match data.read(&mut [0]) {
            Err(error @ Error::Io(_)) => Some(error),
            _ => None,
        }
    }

    /// Aborts a transfer of which only the first `bytes` bytes were requested, and returns its
    /// report.
    pub(crate) fn stop(&mut self, bytes: u64) -> Result<Report, Error> {
        let reply = self.first.clone();
        let duration = self.started.elapsed();
        self.abort()?;
        let (is_stopped, unique_name, cut) = (true, None, None);
        Ok(Report { bytes, reply, duration, is_stopped, unique_name, cut })
    }

    /// Returns why a transfer has failed, by the error of a read or write of this transfer, of another
    /// transfer or of the caller's own, and stops it.
    pub(crate) fn explain(&mut self, error: io::Error) -> Error {
        match (Error::downcast(error), self.check()) {
            (Ok(_), Err(failed)) => failed,
            (Ok(error), Ok(())) => self.leave(error),
            (Err(error), _) => self.leave(Error::local(error)),
        }
    }

    /// Stops a transfer whose other side has failed by this error.
    pub(crate) fn leave(&mut self, error: Error) -> Error {
        let is_closed = |error: &Error| matches!(error, Error::Local(error) if error.kind() == io::ErrorKind::BrokenPipe);
        // If the output of a download was closed, nobody waits until the server reacts.
        if self.verb.is_upload() || !is_closed(&error) {
            // The caller needs to know only the first error.
            let _ = self.abort();
        }
        error
    }

    /// Stops the transfer, so that the next command can be sent.
    pub(crate) fn abort(&mut self) -> Result<(), Error> {
        let data = self.data.take();
        let control = &mut self.client.control;
        if control.is_outstanding() {
            control.leave(true);
            let stopped = self.client.stop_transfer(data);
            self.client.control.leave(false);
            return stopped;
        }
        match self.failed.take() {
            Some(error) if !self.client.control.is_open() => Err(error),
            _ => Ok(()),
        }
    }
}

/// The number of bytes to copy at first: a small file should not cost a large buffer.
const FIRST: usize = 16 * 1_024;

/// The number of bytes to copy at a time once the first buffer was full: a large file should not
/// cost many calls.
const BLOCK: usize = 512 * 1_024;

/// A buffer that starts small and grows to `most` bytes after a read has filled it.
struct Block {
    bytes: Vec<u8>,
    most: usize,
}

impl Block {
    fn new(rate: Option<&RateLimit>) -> Self {
        let most = rate.map_or(BLOCK, |rate| rate.piece(BLOCK));
        Self { bytes: vec![0; most.min(FIRST)], most }
    }

    /// Returns the whole buffer, to read into.
    fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn piece(&self, length: usize) -> &[u8] {
        self.bytes.get(..length).expect("a read fills at most the buffer")
    }

    /// Grows the buffer if the last read, of `length` bytes, has filled it.
    fn grow(&mut self, length: usize) {
        if length == self.bytes.len() && length < self.most {
            self.bytes = vec![0; self.most];
        }
    }
}

/// The side on which a copy failed.
enum Broken {
    Here(io::Error),
    There(io::Error),
}

/// The number of pieces per second, high enough that no piece is noticeable as a burst.
const PIECES: u64 = 10;

/// A limit in bytes per second, shared by all transfers that have a clone of it (see
/// [`FileOptions::rate_limit`](crate::FileOptions::rate_limit)).
///
/// A [`Canceller`](crate::Canceller) of the client also ends the pauses for the limit.
#[derive(Clone, Debug)]
pub struct RateLimit {
    rate: u64,
    /// The earliest time at which the next byte may move.
    until: Arc<Mutex<Instant>>,
}

impl RateLimit {
    /// Returns a limit of `rate` bytes per second; 0 counts as 1.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), until: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Returns how many bytes may move at once: at least 1, at most `most`.
    fn piece(&self, most: usize) -> usize {
        usize::try_from((self.rate / PIECES).max(1)).unwrap_or(most).min(most)
    }

    /// Counts moved bytes, and returns how long to wait before the next ones.
    fn count(&self, bytes: usize) -> Duration {
        let time = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        let time = Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut until = lock(&self.until);
        // Idle time is not credited.
        *until = (*until).max(now) + time;
        until.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_shared_rate_limit_is_not_exceeded() {
        let limit = RateLimit::new(100_000);
        assert_eq!((limit.piece(1 << 18), limit.piece(10)), (10_000, 10));
        assert_eq!((RateLimit::new(3).piece(100), RateLimit::new(0).piece(100)), (1, 1));
        let start = Instant::now();
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..5).for_each(|_| thread::sleep(limit.count(2_000))));
            }
        });
        // A shorter time would exceed the limit; a longer one can happen on a busy machine.
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }
}
