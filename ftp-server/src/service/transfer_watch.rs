//! A running transfer: preparation, data connection and data, while the control connection is
//! watched.

use std::io;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use ftp_proto::{AsciiDecoder, Reply, ReplyCode};

use super::control::{Control, Look, Notice};
use crate::data::{
    self, DataChannel, Interruption, Monitor, OpenError, Outgoing, PumpEnd, PumpLimits,
};
use crate::places::Place;
use crate::rate::Throttle;
use crate::reply::Purpose;
use crate::session::{Payload, PreparedTransfer, Session, User};
use crate::storage::{StorageError, StreamEnd, Upload};
use crate::tls::{Connection, TlsInfo};
use crate::{command, limits};

/// Result of a transfer.
pub(super) enum TransferResult {
    /// The storage refused it before the 150.
    Refused(StorageError, Purpose),
    /// The search for its beginning took too long.
    TooLong,
    /// The data connection could not be opened.
    NoData(io::Error),
    /// The data connection could not be protected.
    NoTls(io::Error),
    /// The data connection was open, whether or not bytes moved.
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

/// Watches the control connection during a transfer, and answers `STAT`.
pub(super) struct TransferWatch<'a> {
    control: &'a mut Control,
    session: &'a Session,
    /// The 150 was sent, so a transfer runs. Before it, an answer to `STAT` would look like the
    /// reply to the command.
    running: bool,
    /// Bytes moved, after the transfer.
    pub(super) moved: u64,
    /// TLS of the data connection, if any.
    pub(super) tls: Option<TlsInfo>,
    /// The sender has confirmed the end of its data under TLS.
    pub(super) is_end_confirmed: bool,
    /// Error of writing an answer.
    pub(super) failed: Option<io::Error>,
}

impl<'a> TransferWatch<'a> {
    pub(super) fn new(control: &'a mut Control, session: &'a Session) -> Self {
        Self {
            control,
            session,
            running: false,
            moved: 0,
            tls: None,
            is_end_confirmed: false,
            failed: None,
        }
    }

    /// Carries out a transfer without its final reply. The data connection and the file are closed
    /// when it returns.
    pub(super) fn carry_out(
        &mut self,
        transfer: PreparedTransfer,
        channel: DataChannel,
    ) -> TransferResult {
        let PreparedTransfer { announcement, mut payload, .. } = transfer;
        if let Err(result) = self.prepare(&mut payload) {
            payload.abort(&result);
            return result;
        }
        let announcement = Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, announcement);
        if let Err(error) = self.control.send(&announcement) {
            self.failed = Some(error);
            return Interruption::ControlLost.into();
        }
        self.running = true;
        self.control.set_moving(true);
        let is_upload = matches!(payload, Payload::Receive(..));
        let (stream, protection) = match self.open(channel, is_upload) {
            Ok(opened) => opened,
            Err(error) => {
                let result = error.into();
                payload.abort(&result);
                return result;
            }
        };
        self.tls = protection.as_ref().and_then(Connection::info);
        let end = match payload {
            Payload::Send(outgoing) => self.send(&stream, protection, outgoing),
            Payload::Receive(upload, ascii) => self.receive(&stream, protection, upload, ascii),
        };
        TransferResult::Pumped(end)
    }

    /// Opens the data connection, with TLS if required.
    fn open(
        &mut self,
        channel: DataChannel,
        is_upload: bool,
    ) -> Result<(TcpStream, Option<Connection>), OpenError> {
        let peer = self.session.data_peer();
        let stream = channel.open(&peer, self)?;
        let protection = data::protect(&stream, &peer, is_upload, self)?;
        Ok((stream, protection))
    }

    fn send(
        &mut self,
        stream: &TcpStream,
        mut protection: Option<Connection>,
        mut outgoing: Box<dyn Outgoing>,
    ) -> PumpEnd {
        self.is_end_confirmed = protection.is_some();
        let limits = limits_of(self.session, |user| &user.down);
        let (moved, end) = data::send(stream, protection.as_mut(), &mut *outgoing, limits, self);
        self.moved = moved;
        end
    }

    fn receive(
        &mut self,
        stream: &TcpStream,
        mut protection: Option<Connection>,
        mut upload: Box<dyn Upload>,
        ascii: Option<AsciiDecoder>,
    ) -> PumpEnd {
        let start = Instant::now();
        let limits = limits_of(self.session, |user| &user.up);
        let connection = protection.as_mut();
        let (moved, end) = data::receive(stream, connection, &mut *upload, ascii, limits, self);
        self.moved = moved;
        self.control.set_moving(false);
        self.is_end_confirmed = protection.as_ref().is_some_and(Connection::is_closed);
        match self.finish(&mut *upload, end, start.elapsed()) {
            PumpEnd::Complete => {
                upload.commit().map_or_else(PumpEnd::Storage, |()| PumpEnd::Complete)
            }
            end => {
                upload.abort(stream_end(&end));
                end
            }
        }
    }

    /// Lets the storage finish an upload, and checks that the client still wants it: a killed
    /// client ends its data too, and its control connection perhaps a moment later. `took` is the
    /// duration of the data.
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

    /// Does the slow work that decides whether there is a 150: finding a converted byte in a file,
    /// copying the beginning of a file, finding a name for a pattern.
    fn prepare(&mut self, payload: &mut Payload) -> Result<(), TransferResult> {
        let start = Instant::now();
        let mut place = None;
        loop {
            let is_prepared = match payload {
                Payload::Send(outgoing) => outgoing
                    .prepare()
                    .map_err(|error| TransferResult::Refused(error, Purpose::Existing))?,
                Payload::Receive(upload, _) => upload
                    .prepare()
                    .map_err(|error| TransferResult::Refused(error, Purpose::MakeFile))?,
            };
            if is_prepared {
                return Ok(());
            }
            if let Some(interruption) = self.look(0) {
                return Err(interruption.into());
            }
            if !matches!(payload, Payload::Send(_)) {
                continue;
            }
            if place.is_none() {
                place = self.place(start)?;
            }
            if place.is_none() || start.elapsed() >= limits::PREPARE {
                return Err(TransferResult::TooLong);
            }
        }
    }

    /// Waits for a place among the long searches, so that the sessions of one host cannot keep all
    /// processors busy. Returns `None` if there was none until [`limits::PREPARE`] had passed since
    /// `start`.
    pub(super) fn place(&mut self, start: Instant) -> Result<Option<Place>, Interruption> {
        let searches = &self.session.context.searches;
        let peer = self.session.peer.ip();
        loop {
            let place = Place::get(searches, peer);
            if place.is_some() || start.elapsed() >= limits::PREPARE {
                return Ok(place);
            }
            data::pause(Instant::now() + limits::TICK, 0, self)?;
        }
    }
}

impl Payload {
    /// Aborts before the first byte.
    fn abort(self, result: &TransferResult) {
        if let Self::Receive(upload, _) = self {
            upload.abort(match result {
                TransferResult::Pumped(end) => stream_end(end),
                TransferResult::Refused(..) | TransferResult::TooLong => StreamEnd::Failed,
                TransferResult::NoData(_) | TransferResult::NoTls(_) => StreamEnd::Cut,
            });
        }
    }
}

/// Returns the limits of a session's data: stall timeout, rate, buffers, and how it must end.
/// `rate` is that of the direction.
fn limits_of(session: &Session, rate: fn(&User) -> &Throttle) -> PumpLimits<'_> {
    static WITHOUT: Throttle = Throttle::none();
    PumpLimits {
        stall: session.context.config.timeouts.stall,
        throttle: session.user().map_or(&WITHOUT, rate),
        buffers: &session.context.buffers,
        may_be_cut: session
            .secured
            .as_ref()
            .is_some_and(|secured| secured.acceptor.allows_missing_close_notify()),
    }
}

fn stream_end(end: &PumpEnd) -> StreamEnd {
    match end {
        PumpEnd::Interrupted(Interruption::Abort) => StreamEnd::Abort,
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
        let mut look = Look::new(self.running);
        loop {
            match self.control.look(&mut look)? {
                Notice::Abort => {
                    self.session.record(b"ABOR");
                    return Some(Interruption::Abort);
                }
                Notice::Ended => return Some(Interruption::ControlLost),
                Notice::Status => {
                    let status = command::status(self.session, Some(moved));
                    if let Err(error) = self.control.send(&status) {
                        self.failed = Some(error);
                        return Some(Interruption::ControlLost);
                    }
                }
            }
        }
    }
}
