//! A transfer as its session carries it out: what precedes the 150, the data connection, the data
//! and the final reply, with an eye on the control connection all the time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use ftp_proto::{Pathname, Reply, ReplyCode, Severity, Verb};

use super::control::{Control, Look, Notice};
use super::run::{Next, Runner};
use crate::command;
use crate::context::Context;
use crate::data::{self, Ended, Interruption, Limits, Monitor, OpenError};
use crate::limits;
use crate::log::{EventKind, TransferEnd};
use crate::places::Place;
use crate::rate::Throttle;
use crate::reply::{self, Purpose};
use crate::session::{Direction, Session, Transfer, Working};
use crate::storage::{StorageError, StreamEnd, Upload, VirtualPath};
use crate::tls::{Connection, TlsInfo};

/// What became of a transfer.
enum End {
    /// The storage refused it before the 150.
    Refused(StorageError, Purpose),
    /// To find where it begins took too long.
    TooLong,
    /// There was no data connection.
    NoData(io::Error),
    /// There was none that is protected.
    NoTls(io::Error),
    /// Bytes moved, or might have.
    Ended(Ended),
}

/// What there is to tell of a transfer that is over.
struct Told<'a> {
    bytes: u64,
    start: Instant,
    end: TransferEnd,
    replies: &'a [Reply],
    tls: Option<TlsInfo>,
}

impl Runner {
    /// 150, the data connection, the data, and the final reply when the data connection is
    /// closed.
    pub(super) fn transfer(&mut self, verb: Verb, transfer: Transfer) -> io::Result<Next> {
        let path = transfer.path.clone();
        let start = Instant::now();
        self.line().shown.set_transfer(Some((verb, path.clone())));
        let mut watch = Watch::new(&mut self.control, &self.session);
        let (moved, end) = watch.carry_out(transfer);
        let (failed, tls, is_told) = (watch.failed, watch.tls, watch.is_told);
        let (mut end, replies, next) = self.conclude(&end);
        if end == TransferEnd::Fin && is_told {
            end = TransferEnd::CloseNotify;
        }
        self.line().shown.set_transfer(None);
        let replies = if failed.is_none() { replies } else { Vec::new() };
        let told = Told { bytes: moved, start, end, replies: &replies, tls };
        self.session.tell_of_transfer(verb, &path, &told);
        failed.map_or_else(|| self.finish(&replies, next), Err)
    }

    /// What takes long: until it is done the control connection is looked at, for `ABOR` and for
    /// its end.
    pub(super) fn work(&mut self, verb: Verb, working: Working) -> io::Result<Next> {
        let Working { path, mut work } = working;
        let start = Instant::now();
        self.line().shown.set_transfer(Some((verb, path.clone())));
        let mut watch = Watch::new(&mut self.control, &self.session);
        let mut place = None;
        let ended = loop {
            if let Some(reply) = work.step() {
                break Ok(reply);
            }
            if let Some(interruption) = watch.look(work.done()) {
                break Err(interruption);
            }
            if place.is_none() && !work.is_placed() {
                place = match watch.place(start) {
                    Ok(Some(place)) => Some(place),
                    Ok(None) => break Ok(reply::too_much_to_prepare()),
                    Err(interruption) => break Err(interruption),
                };
            }
        };
        let done = work.done();
        // It is over for those who wait for their turn before the client can know.
        drop((work, place));
        let failed = watch.failed;
        let (end, replies, next) = match ended {
            Ok(reply) if reply.code().severity() == Severity::Completion => {
                (TransferEnd::Fin, vec![reply], Next::Continue)
            }
            Ok(reply) => (TransferEnd::Refused, vec![reply], Next::Continue),
            Err(why) => {
                // ABOR drops what is prepared where no transfer runs.
                self.session.channel = None;
                self.conclude(&End::Ended(Ended::Interrupted(why)))
            }
        };
        self.line().shown.set_transfer(None);
        let replies = if failed.is_none() { replies } else { Vec::new() };
        let told = Told { bytes: done, start, end, replies: &replies, tls: None };
        self.session.tell_of_transfer(verb, &path, &told);
        failed.map_or_else(|| self.finish(&replies, next), Err)
    }

    /// Sends the last replies of what took long.
    fn finish(&mut self, replies: &[Reply], next: Next) -> io::Result<Next> {
        if !replies.is_empty() {
            let bytes: Vec<u8> = replies.iter().flat_map(Reply::encode).collect();
            self.control.send_bytes(&bytes)?;
        }
        if next == Next::Continue && self.control.is_flooded() {
            self.close("Too many commands during a transfer")?;
            return Ok(Next::End);
        }
        Ok(next)
    }

    /// What is said in the end.
    fn conclude(&self, end: &End) -> (TransferEnd, Vec<Reply>, Next) {
        let aborted = |text| Reply::new(ReplyCode::TRANSFER_ABORTED, text);
        let (end, replies) = match end {
            End::Ended(Ended::Complete) => {
                let complete = Reply::new(ReplyCode::TRANSFER_COMPLETE, "Transfer complete");
                (TransferEnd::Fin, vec![complete])
            }
            End::Ended(Ended::Interrupted(Interruption::Abort)) => {
                let done = Reply::new(ReplyCode::TRANSFER_COMPLETE, "Abort successful");
                (TransferEnd::Abor, vec![aborted("Transfer aborted"), done])
            }
            End::Ended(Ended::Interrupted(Interruption::ControlLost)) => {
                let (end, replies) = if self.is_closing() {
                    let closing = Reply::new(ReplyCode::SERVICE_CLOSING, "Service closing");
                    (TransferEnd::Cut, vec![aborted("Transfer aborted"), closing])
                } else {
                    (TransferEnd::ControlLost, vec![])
                };
                return (end, replies, Next::End);
            }
            End::Ended(Ended::Broken(error)) => {
                log::debug!("{}: data connection: {error}", self.session.peer);
                (TransferEnd::Reset, vec![aborted("Data connection lost")])
            }
            End::Ended(Ended::Truncated) => {
                let text = "Data ended without a TLS close_notify";
                (TransferEnd::Truncated, vec![aborted(text)])
            }
            End::Ended(Ended::Stalled) => {
                (TransferEnd::Stall, vec![aborted("Data connection stalled")])
            }
            End::Ended(Ended::Storage(error)) => {
                let why = error.source.as_ref().map_or(String::new(), |why| format!(": {why}"));
                self.session.warn("storage", &format_args!("{error}{why}"));
                (TransferEnd::Storage, vec![reply::transfer_failure(error)])
            }
            End::Refused(error, purpose) => {
                (TransferEnd::Refused, vec![self.session.refusal(error, *purpose)])
            }
            End::TooLong => (TransferEnd::Refused, vec![reply::too_much_to_prepare()]),
            End::NoData(error) => {
                log::debug!("{}: no data connection: {error}", self.session.peer);
                let text = "Cannot open data connection";
                (TransferEnd::NoData, vec![Reply::new(ReplyCode::NO_DATA_CONNECTION, text)])
            }
            End::NoTls(error) => {
                self.session.warn("no TLS on a data connection", error);
                let text = "Cannot protect the data connection";
                (TransferEnd::NoTls, vec![Reply::new(ReplyCode::PROTOCOL_NOT_SUPPORTED, text)])
            }
        };
        (end, replies, Next::Continue)
    }
}

impl Session {
    fn tell_of_transfer(&self, verb: Verb, path: &VirtualPath, told: &Told<'_>) {
        let Told { bytes, start, end, replies, tls } = *told;
        let direction = match verb {
            Verb::Stor | Verb::Stou | Verb::Appe => crate::log::Direction::Received,
            Verb::Hash | Verb::Stat => crate::log::Direction::Read,
            _ => crate::log::Direction::Sent,
        };
        let (representation, duration) = (self.parameters.representation, start.elapsed());
        let reply = replies.first().map(Reply::code);
        self.tell(EventKind::Transferred(crate::log::Transfer {
            verb,
            path,
            direction,
            representation,
            bytes,
            duration,
            end,
            reply,
            tls,
        }));
    }

    /// Tells of a file that was not even opened, if that is what this command was to do for a user.
    pub(super) fn tell_of_refusal(
        &self,
        verb: Verb,
        argument: &[u8],
        reply: &Reply,
        start: Instant,
    ) {
        let is_transfer = matches!(verb, Verb::Retr | Verb::Stor | Verb::Stou | Verb::Appe);
        if !is_transfer || self.user().is_none() {
            return;
        }
        let path = match Pathname::new(argument) {
            Ok(path) => self.resolve(&path),
            Err(_) if argument.is_empty() => self.directory.clone(),
            // Of what is no path there is nothing to say.
            Err(_) => return,
        };
        let (replies, end) = (std::slice::from_ref(reply), TransferEnd::Refused);
        self.tell_of_transfer(verb, &path, &Told { bytes: 0, start, end, replies, tls: None });
    }
}

/// Watches the control connection while a transfer goes on, and answers `STAT`.
struct Watch<'a> {
    control: &'a mut Control,
    session: &'a Session,
    /// The 150 was sent, so a transfer runs. Before it, and without one, an answer to `STAT` would
    /// be taken for that to the command.
    running: bool,
    /// How the data connection is protected, if it is.
    tls: Option<TlsInfo>,
    /// Whoever sent has said under TLS that it was all.
    is_told: bool,
    /// Why an answer could not be written.
    failed: Option<io::Error>,
}

impl<'a> Watch<'a> {
    fn new(control: &'a mut Control, session: &'a Session) -> Self {
        Self { control, session, running: false, tls: None, is_told: false, failed: None }
    }

    /// Does all of a transfer but to say how it ended. When this returns, the data connection and
    /// the file are closed. Returns how many bytes moved as well.
    fn carry_out(&mut self, transfer: Transfer) -> (u64, End) {
        let Transfer { announcement, channel, mut direction, .. } = transfer;
        if let Err(end) = self.prepare(&mut direction) {
            direction.abort(&end);
            return (0, end);
        }
        let announcement = Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, announcement);
        if let Err(error) = self.control.send(&announcement) {
            self.failed = Some(error);
            return (0, End::Ended(Ended::Interrupted(Interruption::ControlLost)));
        }
        self.running = true;
        let session = self.session;
        self.control.set_moving(true);
        let opened = match channel {
            Some(channel) => channel.open(&session.data_peer(), self),
            None => Err(OpenError::Failed(io::ErrorKind::NotConnected.into())),
        };
        let is_upload = matches!(direction, Direction::Receive(..));
        let opened = opened.and_then(|stream| {
            let protection = data::protect(&stream, &session.data_peer(), is_upload, self)?;
            Ok((stream, protection))
        });
        let (stream, mut protection) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let end = match error {
                    OpenError::Interrupted(why) => End::Ended(Ended::Interrupted(why)),
                    OpenError::Failed(error) => End::NoData(error),
                    OpenError::Unprotected(error) => End::NoTls(error),
                };
                direction.abort(&end);
                return (0, end);
            }
        };
        let without = Throttle::default();
        let throttle = session.user().map_or(&without, |user| &user.throttle);
        let Context { config, buffers, .. } = &*session.context;
        let may_be_cut = session
            .secured
            .as_ref()
            .is_some_and(|secured| secured.acceptor.allows_missing_close_notify());
        let limits = Limits { stall: config.stall, throttle, buffers, may_be_cut };
        self.tls = protection.as_ref().and_then(Connection::info);
        match direction {
            Direction::Send(mut outgoing) => {
                let protection = protection.as_mut();
                self.is_told = protection.is_some();
                let (moved, ended) = data::send(&stream, protection, &mut *outgoing, limits, self);
                (moved, End::Ended(ended))
            }
            Direction::Receive(mut upload, ascii) => {
                let start = Instant::now();
                let connection = protection.as_mut();
                let (moved, ended) =
                    data::receive(&stream, connection, &mut *upload, ascii, limits, self);
                self.control.set_moving(false);
                self.is_told = protection.as_ref().is_some_and(Connection::is_closed);
                let ended = match self.finish(&mut *upload, moved, ended, start.elapsed()) {
                    Ended::Complete => {
                        upload.commit().map_or_else(Ended::Storage, |()| Ended::Complete)
                    }
                    ended => {
                        upload.abort(stream_end(&ended));
                        ended
                    }
                };
                (moved, End::Ended(ended))
            }
        }
    }

    /// Lets the storage do what takes its time before an upload can be published, and looks
    /// whether it is still wanted then: a client that was killed ends its data too, and its
    /// control connection perhaps a moment later. `took` is how long the data came.
    fn finish(
        &mut self,
        upload: &mut dyn Upload,
        moved: u64,
        ended: Ended,
        took: Duration,
    ) -> Ended {
        if !matches!(ended, Ended::Complete) {
            return ended;
        }
        let start = Instant::now();
        while let Err(error) = upload.flush() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Ended::Storage(error.into());
            }
        }
        let patience = (took / limits::END_OF_BOTH_PART).min(limits::END_OF_BOTH);
        loop {
            if let Some(interruption) = self.look(moved) {
                return Ended::Interrupted(interruption);
            }
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() || !self.control.wait(left) {
                return Ended::Complete;
            }
        }
    }

    /// What takes its time before the 150, since it decides whether there is one: to find a
    /// converted byte in a file, to copy the beginning of one, to find a name for a pattern.
    fn prepare(&mut self, direction: &mut Direction) -> Result<(), End> {
        let start = Instant::now();
        let mut place = None;
        loop {
            let (prepared, purpose) = match direction {
                Direction::Send(outgoing) => (outgoing.prepare(), Purpose::Existing),
                Direction::Receive(upload, _) => (upload.prepare(), Purpose::MakeFile),
            };
            if prepared.map_err(|error| End::Refused(error, purpose))? {
                return Ok(());
            }
            if let Some(interruption) = self.look(0) {
                return Err(End::Ended(Ended::Interrupted(interruption)));
            }
            if !matches!(direction, Direction::Send(_)) {
                continue;
            }
            if place.is_none() {
                let waited = self.place(start);
                place = waited.map_err(|why| End::Ended(Ended::Interrupted(why)))?;
            }
            if place.is_none() || start.elapsed() >= limits::PREPARE {
                return Err(End::TooLong);
            }
        }
    }

    /// A place among the searches that take long, which is waited for: without one, every session
    /// of a host could keep a processor busy. `None` if there was none until [`limits::PREPARE`]
    /// had passed since `start`.
    fn place(&mut self, start: Instant) -> Result<Option<Place>, Interruption> {
        let (searches, peer) = (&self.session.context.searches, self.session.peer.ip());
        loop {
            let place = Place::get(searches, peer);
            if place.is_some() || start.elapsed() >= limits::PREPARE {
                return Ok(place);
            }
            data::pause(Instant::now() + limits::TICK, 0, self)?;
        }
    }
}

impl Direction {
    /// Gives up before the first byte.
    fn abort(self, end: &End) {
        if let Self::Receive(upload, _) = self {
            upload.abort(match end {
                End::Ended(ended) => stream_end(ended),
                End::Refused(..) | End::TooLong => StreamEnd::Failed,
                End::NoData(_) | End::NoTls(_) => StreamEnd::Cut,
            });
        }
    }
}

fn stream_end(ended: &Ended) -> StreamEnd {
    match ended {
        Ended::Interrupted(Interruption::Abort) => StreamEnd::Abort,
        Ended::Storage(_) => StreamEnd::Failed,
        _ => StreamEnd::Cut,
    }
}

impl Monitor for Watch<'_> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.control.descriptor()
    }

    fn look(&mut self, moved: u64) -> Option<Interruption> {
        self.control.show_moved(moved);
        let mut look = Look::new(self.running);
        loop {
            match self.control.look(&mut look)? {
                Notice::Abort => return Some(Interruption::Abort),
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
