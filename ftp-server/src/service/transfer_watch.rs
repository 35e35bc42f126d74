//! A running transfer: preparation, data connection and data, while the control connection is
//! watched.

use std::io;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use ftp_proto::{BlockMarker, Reply, ReplyCode, Verb};

use super::away::Publication;
use super::control::{Control, ControlNotice, ReadBudget};
use super::transfer::{Subject, TransferSummary, code_of_success};
use crate::context::Context;
use crate::data::{
    self, DataChannel, DataConnection, Encoding, IdleConnection, Interruption, Monitor, OpenError,
    Outgoing, PumpEnd, PumpLimits,
};
use crate::deadline::{Throttle, before_asking_again};
use crate::log::{Announcement, TransferEnd};
use crate::reply::Purpose;
use crate::session::{Payload, PreparedTransfer, Session, User};
use crate::shares::Share;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult, StreamEnd, Upload};
use crate::threads::{ProcessorClock, ThreadJob};
use crate::tls::{Connection, TlsInfo};
use crate::{command, limits};

pub(super) enum TransferResult {
    /// The storage refused the transfer before the 150.
    Refused(StorageError, Purpose),
    /// The beginning of a download was not found within [`limits::PREPARE`].
    TooLong,
    /// The data connection could not be opened.
    NoData(io::Error),
    /// The data connection could not be protected.
    NoTls(io::Error),
    /// The data connection was open, or the transfer was interrupted before that.
    Pumped(PumpEnd),
}

impl From<Interruption> for TransferResult {
    fn from(interruption: Interruption) -> Self {
        Self::Pumped(PumpEnd::Interrupted(interruption))
    }
}

impl From<OpenError> for TransferResult {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Interrupted(interruption) => interruption.into(),
            OpenError::Failed(error) => Self::NoData(error),
            OpenError::Unprotected(error) => Self::NoTls(error),
        }
    }
}

/// A running transfer, which watches the control connection and answers `STAT`.
pub(super) struct TransferWatch<'a> {
    control: &'a mut Control,
    session: &'a Session,
    /// Whether the 150 was sent, so that a transfer is running. Before the 150, an answer to a `STAT`
    /// without a Telnet Interrupt Process would look like the reply to the command.
    running: bool,
    /// When the client was last seen to be there.
    seen: Instant,
    /// Bytes that the transfer has moved, set when its data ends.
    pub(super) moved: u64,
    pub(super) tls: Option<TlsInfo>,
    /// The size of the stored file, if the storage has proved it.
    pub(super) proved_size: Option<u64>,
    /// Whether the slow work before the first byte of an upload is done.
    is_prepared: bool,
    /// Whether the sender has confirmed the end of its data under TLS.
    is_end_confirmed: bool,
    /// The data connection of a transfer that ended before the 150, or of an upload that failed in
    /// the storage.
    pub(super) refused: Option<(TcpStream, Duration)>,
    /// The data connection, if it stays open.
    pub(super) open: Option<DataChannel>,
    /// The publication of an upload that was interrupted.
    pub(super) publishing: Option<Publication>,
    /// The error of a reply that could not be written.
    pub(super) failed: Option<io::Error>,
}

impl<'a> TransferWatch<'a> {
    pub(super) fn new(control: &'a mut Control, session: &'a Session) -> Self {
        Self {
            control,
            session,
            running: false,
            seen: Instant::now(),
            moved: 0,
            tls: None,
            proved_size: None,
            is_prepared: false,
            is_end_confirmed: false,
            refused: None,
            open: None,
            publishing: None,
            failed: None,
        }
    }

    /// Carries out a transfer without its final reply. When this function returns, the file is
    /// closed. The data connection is closed too, unless [`refused`](Self::refused) or
    /// [`open`](Self::open) holds it.
    pub(super) fn carry_out(
        &mut self,
        subject: &Subject,
        transfer: PreparedTransfer,
        channel: DataChannel,
    ) -> TransferResult {
        let PreparedTransfer { announcement, mut payload, stays_open, .. } = transfer;
        let is_upload = matches!(payload, Payload::Receive(..));
        if let Err(result) = self.prepare(subject.verb, &mut payload) {
            payload.abort(&result, false);
            // The data of a refused upload may still arrive, and must not go into the next upload.
            let is_refused = !matches!(result, TransferResult::Pumped(_));
            match channel.is_open() {
                true => self.open = Some(channel).filter(|_| is_refused && !is_upload),
                false => self.refused = channel.refuse(),
            }
            return result;
        }
        let is_active = matches!(channel, DataChannel::Active(_));
        let mut connection = match self.begin(&announcement, channel, is_upload) {
            Ok(connection) => connection,
            Err(result) => {
                payload.abort(&result, is_active);
                return result;
            }
        };
        if stays_open && !connection.stays_open {
            connection.stay_open();
        }
        self.tls = connection.protection.as_ref().and_then(Connection::info);
        let end = match payload {
            Payload::Send(outgoing) => self.send(&mut connection, outgoing),
            Payload::Receive(upload, encoding) => {
                self.receive(subject, &mut connection, upload, encoding)
            }
        };
        if stays_open && matches!(end, PumpEnd::Complete) && !connection.is_finished() {
            self.open = Some(DataChannel::Open(IdleConnection::new(connection)));
        } else if is_upload && matches!(end, PumpEnd::Storage(_)) {
            self.refused = Some((connection.stream, limits::LAST_WAIT));
        }
        TransferResult::Pumped(end)
    }

    /// Sends 150 and opens the data connection, with TLS if required. If the connection is already
    /// open, sends 125.
    fn begin(
        &mut self,
        announcement: &[u8],
        channel: DataChannel,
        is_upload: bool,
    ) -> Result<DataConnection, TransferResult> {
        let peer = self.session.data_peer();
        let opened = match channel.is_open() {
            // This call fails before the 125 if the client has closed the connection.
            true => Ok(channel.open(&peer, is_upload, self)?),
            false => Err(channel),
        };
        let announcement = match &opened {
            Ok(_) => announced_open(announcement),
            Err(_) => Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, announcement),
        };
        if let Err(error) = self.control.send(&announcement) {
            self.failed = Some(error);
            return Err(Interruption::ControlLost.into());
        }
        self.running = true;
        self.control.set_moving(true);
        match opened {
            Ok(connection) => Ok(connection),
            Err(channel) => Ok(channel.open(&peer, is_upload, self)?),
        }
    }

    fn send(
        &mut self,
        connection: &mut DataConnection,
        mut outgoing: Box<dyn Outgoing>,
    ) -> PumpEnd {
        self.is_end_confirmed = connection.protection.is_some() && !connection.stays_open;
        let limits = limits_of(self.session, |user| &user.down);
        let (moved, end) = data::send(connection, &mut *outgoing, limits, self);
        self.moved = moved;
        end
    }

    fn receive(
        &mut self,
        subject: &Subject,
        connection: &mut DataConnection,
        mut upload: Box<dyn Upload>,
        encoding: Encoding,
    ) -> PumpEnd {
        let (spent, prepared) = self.finish_preparing(subject.verb, &mut *upload);
        let start = Instant::now();
        let limits = limits_of(self.session, |user| &user.up);
        let (moved, end) = match prepared {
            Ok(()) => data::receive(connection, &mut *upload, encoding, limits, self),
            Err(end) => (0, end),
        };
        self.moved = moved;
        self.control.set_moving(false);
        self.is_end_confirmed = connection.protection.as_ref().is_some_and(Connection::is_closed);
        let end = match self.finish(&mut *upload, end, start.elapsed()) {
            PumpEnd::Complete => self.until(&mut *upload, |upload| upload.prepare_commit()),
            end => end,
        };
        let end = match end {
            PumpEnd::Complete => {
                self.proved_size = upload.published_size();
                let is_open = connection.stays_open && !connection.is_finished();
                let announcement = self.announce(subject, is_open, upload.hidden_file());
                self.commit(upload, announcement)
            }
            end => {
                upload.abort(stream_end(&end));
                end
            }
        };
        if spent >= limits::PROCESSOR_STEP && !matches!(end, PumpEnd::Complete) {
            // A client that has old content copied again and again, for nothing, waits later.
            self.session.context.processor.pay_time(self.session.peer.ip(), spent);
        }
        end
    }

    /// Does the slow work of an upload that [`prepare`](Self::prepare) has begun. Returns its
    /// processor time, too.
    fn finish_preparing(
        &mut self,
        verb: Verb,
        upload: &mut dyn Upload,
    ) -> (Duration, Result<(), PumpEnd>) {
        let mut spent = Duration::ZERO;
        while !self.is_prepared {
            if let Some(interruption) = self.look(0) {
                return (spent, Err(PumpEnd::Interrupted(interruption)));
            }
            before_asking_again();
            let clock = ProcessorClock::start(true);
            let step = self.attend(verb, || upload.prepare());
            spent += clock.elapsed();
            match step {
                Ok(is_prepared) => self.is_prepared = is_prepared,
                Err(end) => return (spent, Err(end)),
            }
        }
        (spent, Ok(()))
    }

    /// Does a step of the work that precedes the first byte.
    fn attend(
        &mut self,
        verb: Verb,
        step: impl FnOnce() -> StorageResult<bool>,
    ) -> Result<bool, PumpEnd> {
        let (done, interrupted) = match &self.session.peer.away {
            Some(away) => away.attend(self.control, verb, step),
            None => (step(), None),
        };
        match interrupted {
            Some(interrupted) => Err(PumpEnd::Interrupted(interrupted.why)),
            None => done.map_err(PumpEnd::Storage),
        }
    }

    /// Lets the storage finish an upload, and checks that the client is still connected. If a
    /// client is killed, its data ends as if the upload were complete, and its control connection
    /// may end a moment later. `took` is the duration of the data transfer.
    fn finish(&mut self, upload: &mut dyn Upload, end: PumpEnd, took: Duration) -> PumpEnd {
        if !matches!(end, PumpEnd::Complete) {
            return end;
        }
        let start = Instant::now();
        while let Err(error) = upload.flush() {
            if error.kind() != io::ErrorKind::Interrupted {
                return PumpEnd::Storage(error.into());
            }
        }
        let end = self.until(upload, |upload| upload.ready());
        if !matches!(end, PumpEnd::Complete) {
            return end;
        }
        let patience = (took / limits::END_OF_BOTH_PART).min(limits::END_OF_BOTH);
        loop {
            if let Some(interruption) = self.look(self.moved) {
                return PumpEnd::Interrupted(interruption);
            }
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() || !self.control.wait(left) {
                return PumpEnd::Complete;
            }
        }
    }

    /// Returns how a complete transfer ended.
    pub(super) const fn whole(&self) -> TransferEnd {
        if self.is_end_confirmed { TransferEnd::CloseNotify } else { TransferEnd::Fin }
    }

    /// Announces to the observers that the upload is complete and about to be published. `is_open` is
    /// whether its data connection stays open.
    fn announce(
        &self,
        subject: &Subject,
        is_open: bool,
        hidden_file: Option<(u64, u64)>,
    ) -> Announcement {
        let reply = Some(code_of_success(is_open));
        let (bytes, end, tls) = (self.moved, self.whole(), self.tls);
        let summary = TransferSummary { bytes, end, reply, tls };
        let representation = self.session.transfer.representation;
        let event = self.session.event(subject.event(representation, &summary));
        self.session.context.observers.before_publication(&event, hidden_file)
    }

    /// Does work of an upload that may be slow, until `is_done` returns `true`.
    fn until(
        &mut self,
        upload: &mut dyn Upload,
        is_done: fn(&mut dyn Upload) -> StorageResult<bool>,
    ) -> PumpEnd {
        loop {
            match is_done(upload) {
                Ok(true) => return PumpEnd::Complete,
                Ok(false) => before_asking_again(),
                Err(error) => return PumpEnd::Storage(error),
            }
            if let Some(interruption) = self.look(self.moved) {
                return PumpEnd::Interrupted(interruption);
            }
        }
    }

    /// Publishes an upload, in a thread if its storage can wait for long.
    fn commit(&mut self, upload: Box<dyn Upload>, announcement: Announcement) -> PumpEnd {
        let published = match self.session.peer.away.as_ref() {
            None => upload.commit(),
            Some(_) => match ThreadJob::begin(move || upload.commit()) {
                Err(error) => Err(error.into()),
                Ok(job) => loop {
                    job.end().seen(self.seen);
                    if let Some(done) = job.wait(limits::TICK) {
                        let panicked = |error| StorageError::caused_by(Kind::Unknown, error);
                        break done.unwrap_or_else(|error| Err(panicked(error)));
                    }
                    if let Some(interruption) = self.look(self.moved) {
                        // Before the reply, after which the client may store a newer file.
                        job.end().cancel();
                        self.publishing = Some((job, announcement));
                        return PumpEnd::Undecided(interruption);
                    }
                },
            },
        };
        announcement.settle(&published);
        published.map_or_else(PumpEnd::Storage, |()| PumpEnd::Complete)
    }

    /// Does the slow work before the 150: for a download all of it, such as finding a restart offset
    /// in converted data or names that match a pattern; for an upload one step. So a client that
    /// resumes an upload is answered at once, however much old content is to be copied.
    fn prepare(&mut self, verb: Verb, payload: &mut Payload) -> Result<(), TransferResult> {
        let outgoing = match payload {
            Payload::Send(outgoing) => outgoing,
            Payload::Receive(upload, _) => {
                let step = self.attend(verb, || upload.prepare());
                self.is_prepared = step.map_err(|end| refused(end, Purpose::MakeFile))?;
                return Ok(());
            }
        };
        let purpose = match command::file_direction(verb) {
            Some(_) => Purpose::Existing,
            None => Purpose::List,
        };
        let start = Instant::now();
        let mut share = None;
        let peer = self.session.peer.ip();
        let Context { searches, processor, .. } = &*self.session.context;
        let mut is_first = true;
        loop {
            // Most transfers are prepared in one step, which is not worth the calls.
            let clock = (!std::mem::take(&mut is_first)).then(|| ProcessorClock::start(true));
            let is_prepared =
                self.attend(verb, || outgoing.prepare()).map_err(|end| refused(end, purpose))?;
            let cost = clock.map_or(Duration::ZERO, |clock| clock.elapsed());
            if cost >= limits::PROCESSOR_STEP && share.is_none() {
                processor.pay_time(peer, cost);
            }
            if is_prepared {
                return Ok(());
            }
            if let Some(interruption) = self.look(0) {
                return Err(interruption.into());
            }
            let share = share.get_or_insert_with(|| searches.claim(peer, 1));
            let is_granted = self.wait_for(share, start + limits::PREPARE)?;
            if !is_granted || start.elapsed() >= limits::PREPARE {
                return Err(TransferResult::TooLong);
            }
        }
    }

    /// Waits for the turn of a claim; if it is granted, gives way to networks that hold less first.
    /// Returns `false` if the claim gets no turn by `deadline`.
    pub(super) fn wait_for(
        &mut self,
        share: &mut Share,
        deadline: Instant,
    ) -> Result<bool, Interruption> {
        if share.give_way() {
            return Ok(true);
        }
        while !share.wait(deadline.min(Instant::now() + limits::TICK)) {
            if let Some(interruption) = self.look(0) {
                return Err(interruption);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the result of a transfer whose work before the 150 ended so.
fn refused(end: PumpEnd, purpose: Purpose) -> TransferResult {
    match end {
        PumpEnd::Storage(error) => TransferResult::Refused(error, purpose),
        end => TransferResult::Pumped(end),
    }
}

/// Returns the 125 in place of a 150.
fn announced_open(announcement: &[u8]) -> Reply {
    let text = match announcement.strip_prefix(b"Opening data connection") {
        Some(rest) => [b"Data connection already open", rest].concat(),
        None => announcement.to_vec(),
    };
    Reply::new(ReplyCode::DATA_CONNECTION_OPEN, text)
}

impl Payload {
    /// Aborts before the first byte. After `PASV`, a client can take a connection to a proxy in front
    /// of this server for a data connection. Such a client has sent bytes that no server has got, and
    /// lftp would go on after the length of the old file.
    fn abort(self, result: &TransferResult, is_active: bool) {
        if let Self::Receive(upload, _) = self {
            upload.abort(match result {
                TransferResult::Pumped(end) => stream_end(end),
                TransferResult::Refused(..) | TransferResult::TooLong => StreamEnd::Refused,
                TransferResult::NoData(_) if is_active => StreamEnd::Refused,
                TransferResult::NoData(_) | TransferResult::NoTls(_) => StreamEnd::Cut,
            });
        }
    }
}

/// Returns the limits of a session's data: stall timeout, rate, buffers, and whether data may end
/// without a close_notify. `rate` is the rate limit of the direction.
fn limits_of(session: &Session, rate: fn(&User) -> &Throttle) -> PumpLimits<'_> {
    static WITHOUT: Throttle = Throttle::none();
    PumpLimits {
        stall: session.context.config.timeouts.stall,
        throttle: session.user().map_or(&WITHOUT, rate),
        buffers: &session.context.buffers,
        may_be_cut: session
            .secured
            .as_ref()
            .is_some_and(|secured| secured.acceptor.rules().allow_missing_close_notify),
    }
}

fn stream_end(end: &PumpEnd) -> StreamEnd {
    match end {
        // The bytes before a fault may be wrong too, so nothing may resume after them.
        PumpEnd::Malformed(fault) if !fault.is_truncation() => StreamEnd::Failed,
        PumpEnd::Storage(_) => StreamEnd::Failed,
        _ => StreamEnd::Cut,
    }
}

impl Monitor for TransferWatch<'_> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.control.descriptor()
    }

    fn look(&mut self, moved: u64) -> Option<Interruption> {
        self.control.show_moved(moved);
        let (mut look, now) = (ReadBudget::new(self.running), Instant::now());
        loop {
            let Some(notice) = self.control.look(&mut look) else {
                self.seen = now;
                return None;
            };
            match notice {
                ControlNotice::Abort => {
                    self.session.record(b"ABOR");
                    return Some(Interruption::Abort);
                }
                ControlNotice::Ended => return Some(Interruption::ControlLost),
                ControlNotice::Status => {
                    self.session.record(b"STAT");
                    let status = command::status(self.session, Some(moved));
                    if let Err(error) = self.control.send(&status) {
                        self.failed = Some(error);
                        return Some(Interruption::ControlLost);
                    }
                }
            }
        }
    }

    fn mark(&mut self, marker: &BlockMarker, at: u64) -> Option<Interruption> {
        // RFC 959 §4.2 prescribes the text.
        let text = format!("MARK {marker} = {at}");
        let sent = self.control.send(&Reply::new(ReplyCode::RESTART_MARKER, text));
        self.failed = sent.err();
        self.failed.is_some().then_some(Interruption::ControlLost)
    }
}
