//! The two ways to end a transfer: by the server's confirmation after the last byte, or by an abort
//! before that.

use std::borrow::BorrowMut;
use std::time::{Duration, SystemTime};

use ftp_proto::{Confirmation, DataEnd, Pathname, Progress, Reply, Severity, TransferEvidence};
use ftp_proto::{TransferFault, TransferLength, Verb};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::coding::Coding;
use super::upload::name_in;
use super::{Ended, Report, Transfer};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::error::{Error, Phase};
use crate::net::wait::Deadline;

/// The longest time to wait for the server to end the data connection. Some servers keep it open;
/// the final reply alone then decides whether the transfer succeeded.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

impl<C: BorrowMut<Client>> Transfer<C> {
    /// Ends the transfer after its last byte: marks the end of written data, and waits for the
    /// confirmation.
    pub(crate) fn conclude(&mut self, length: TransferLength) -> Result<Report, Error> {
        self.check()?;
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
        let limit = self.client.config.timeouts.final_reply;
        let deadline = self.client.control.deadline(limit, Phase::FinalReply);
        let mut cut = None;
        let sent_at = SystemTime::now();
        if is_in_blocks {
            // The last block ends the file, and the server decides whether to close the connection.
        } else if is_upload {
            // The connection stays open until the reply, because a server that sees a reset may
            // discard the data.
            cut = self.end_sending(has_sent)?;
        } else if let Some(mut data) = self.data.take() {
            data.say_end();
        }
        evidence.data = self.coding.as_deref().map_or(DataEnd::Clean, Coding::end);
        let control = &mut self.client.control;
        let reply = match self.ended.take() {
            Some(reply) => reply,
            None => control.final_reply(deadline)?,
        };
        confirm(control, evidence, &reply)?;
        if has_sent && !is_in_blocks && cut.is_none() {
            cut = self.failure_after_the_end();
        }
        let evidence = evidence.with_reply(reply.code());
        self.end_data(&evidence);
        if let Some(error) = cut {
            // The server confirms the transfer, but the end of the data cannot have reached it.
            return Err(error);
        }
        evidence.verdict().map_err(|fault| error_of(fault, self.verb, &reply))?;
        let is_unique = self.verb == Verb::Stou;
        let last = Some(&reply).filter(|_| is_unique).and_then(name_in);
        let unique_name = self.unique_name().or(last);
        Ok(Report {
            bytes: length.moved,
            duration: self.started.elapsed(),
            sent_at,
            ended: Ended::Confirmed,
            unique_name,
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
        accepted(self.verb, &reply)?;
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

    /// Returns the file name in the first reply to `STOU`; `None` for other commands.
    pub(crate) fn unique_name(&self) -> Option<Pathname> {
        Some(&self.first).filter(|_| self.verb == Verb::Stou).and_then(name_in)
    }

    /// Aborts a transfer of which only the first `bytes` bytes were requested, and returns its
    /// report.
    pub(crate) fn stop(&mut self, bytes: u64) -> Result<Report, Error> {
        let reply = self.first.clone();
        let duration = self.started.elapsed();
        self.abort()?;
        let sent_at = SystemTime::now();
        Ok(Report { bytes, reply, duration, sent_at, ended: Ended::Stopped, unique_name: None })
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

/// Returns [`Error::Refused`] unless the reply is 2xx.
pub(crate) fn accepted(verb: Verb, reply: &Reply) -> Result<(), Error> {
    match reply.code().severity() {
        Severity::Completion => Ok(()),
        _ => Err(Error::Refused(verb, reply.clone())),
    }
}

/// Fails unless the final reply confirms a transfer. Closes the control connection if the replies
/// are out of step. Fails if the reply may belong to another command and more bytes follow it.
pub(crate) fn confirm(
    control: &mut ControlConnection,
    evidence: TransferEvidence,
    reply: &Reply,
) -> Result<(), Error> {
    match evidence.with_reply(reply.code()).confirmation() {
        Ok(Confirmation::Certain) => Ok(()),
        Ok(Confirmation::Doubtful) => control.expect_silence(),
        Err(fault) => {
            if fault == TransferFault::OutOfStep {
                control.close();
            }
            Err(error_of(fault, evidence.verb, reply))
        }
    }
}

/// Returns the error for a fault; `reply` is the final reply.
pub(super) fn error_of(fault: TransferFault, verb: Verb, reply: &Reply) -> Error {
    match fault {
        TransferFault::Refused => Error::Refused(verb, reply.clone()),
        TransferFault::Incomplete { bytes, announced } => Error::Incomplete { bytes, announced },
        _ => Error::Unexpected(verb, reply.clone()),
    }
}
