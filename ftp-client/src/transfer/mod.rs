//! Transfers: what both directions share, and how each ends (RFC 959 §5.4 and §6).

pub(crate) mod abort;
mod begin;
mod copy;
mod download;
mod meet;
mod pipeline;
mod range;
mod rate_limit;
mod secure;
mod send_file;
mod tls_end;
mod tls_tickets;
mod unique;
mod upload;
pub(crate) mod verdict;

pub(crate) use begin::{Begun, begin};
pub use copy::{Source, Watch};
pub use download::Download;
pub(crate) use range::Range;
pub use rate_limit::RateLimit;
pub(crate) use tls_tickets::is_demand as is_demand_for_session;
pub use upload::Upload;
pub(crate) use verdict::{accepted, confirm};

use std::time::{Duration, Instant};

use ftp_proto::{
    DataEnd, Pathname, Progress, Reply, TransferEvidence, TransferFault, TransferLength, Verb,
};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use crate::client::Client;
use crate::config::Timeouts;
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::net::wait::Deadline;
use verdict::{CLOSING, error_of};

/// How a transfer ended that was a success.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Ended {
    /// The server confirmed all of it.
    Confirmed,
    /// This client stopped it after the last byte of the part that it wanted
    /// ([`Client::retrieve_range`]), where the server would have sent more.
    Stopped,
}

/// A transfer that was a success.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// How many bytes the caller read or wrote: of local data, so with LF alone in an ASCII
    /// transfer.
    pub bytes: u64,
    /// The reply that ended it, 2yz; of one that was stopped, the reply that it began with, 1yz.
    pub reply: Reply,
    /// From sending the verb to the end.
    pub duration: Duration,
    /// How it ended.
    pub ended: Ended,
    /// The name that the server chose for the file ([`Client::store_unique`]), if it told.
    pub unique_name: Option<Pathname>,
}

/// A transfer that has begun, the part that both directions share. Dropped before its end it does
/// no I/O: what is left of it goes back to the client, whose next call aborts it.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    client: &'a mut Client,
    verb: Verb,
    /// `None` if the server ended the transfer without one, or once it is closed.
    data: Option<Stream>,
    /// The first reply: 1yz, or the last one at once.
    first: Reply,
    /// The last reply, if it came before its time.
    ended: Option<Reply>,
    /// Something was read.
    moved: bool,
    /// The last read left nothing, so that the next begins with waiting.
    drained: bool,
    /// Why it can go no further.
    failed: Option<Error>,
    started: Instant,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(client: &'a mut Client, begun: Begun) -> Self {
        let Begun { verb, data, first, ended, started } = begun;
        Self {
            client,
            verb,
            data,
            first,
            ended,
            moved: false,
            drained: false,
            failed: None,
            started,
        }
    }

    /// The same apart from the client, to go on later. No other command may come between.
    pub(crate) fn suspend(mut self) -> Begun {
        Begun {
            verb: self.verb,
            data: self.data.take(),
            first: self.first.clone(),
            ended: self.ended.take(),
            started: self.started,
        }
    }

    /// The client, once nothing is owed to it.
    pub(crate) const fn client(&mut self) -> &mut Client {
        self.client
    }

    /// The first reply: 1yz, or the last one if there was no other.
    pub(crate) const fn first_reply(&self) -> &Reply {
        &self.first
    }

    /// Reads data; 0 is the end of the data, which is not yet success.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        if self.data.is_none() && self.is_over_at_once() && !self.moved {
            // Without a 1yz all was over before it began, here without a data connection:
            // nothing was sent, which is not to say that there is nothing.
            return Err(self.fail(Error::Incomplete { bytes: 0, announced: None }));
        }
        let mut deadline = self.deadline();
        loop {
            let Some(data) = &mut self.data else { return Ok(0) };
            // The last read took all there was. But data counts before a reply that is here.
            let control = &self.client.control;
            let waits = std::mem::take(&mut self.drained) && !data.has_unread();
            let read = match waits && control.is_clear() {
                true => Ok(None),
                false => control.go_on(deadline).and_then(|()| data.read(buffer)),
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

    /// Writes some of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.check()?;
        let mut deadline = self.deadline();
        loop {
            let Some(data) = self.data.as_mut().filter(|_| self.ended.is_none()) else {
                // There is nobody to take the data any more.
                let reply = self.ended.as_ref().unwrap_or(&self.first).clone();
                self.failed = Some(Error::Unexpected(self.verb, reply.clone()));
                return Err(Error::Unexpected(self.verb, reply));
            };
            let written = self.client.control.go_on(deadline).and_then(|()| data.write(bytes));
            match written {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {
                    self.wait(PollFlags::OUT, &mut deadline).map_err(|error| self.fail(error))?;
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Lets time go by. What ends it early, the next read or write tells.
    pub(super) fn pause(&self, length: Duration) {
        let _ = self.client.control.waiter().sleep(length);
    }

    /// How long data may stand still: not for long where the server has confirmed the transfer,
    /// since what is on its way then is there soon.
    fn deadline(&self) -> Deadline {
        let Timeouts { stall, data_connect, .. } = self.client.config.timeouts;
        let limit = if self.ended.is_some() { data_connect.min(stall) } else { stall };
        self.client.control.deadline(limit, Phase::Stall)
    }

    /// Waits until data may move. Meanwhile the control connection is heard: a server that gives
    /// up says so there, and may leave the data connection as it is. If it confirms the transfer,
    /// that is kept for its end.
    fn wait(&mut self, interest: PollFlags, deadline: &mut Deadline) -> Result<(), Error> {
        let Some(data) = &self.data else { return Ok(()) };
        let control = &mut self.client.control;
        if !control.is_outstanding() {
            return control.waiter().wait_for(data.as_fd(), interest, *deadline);
        }
        // One that came together with the reply before it is here already.
        let mut reply = control.buffered_reply()?;
        if reply.is_none() {
            if control.wait_with(data.as_fd(), interest, *deadline)? {
                return Ok(());
            }
            reply = control.poll_reply()?;
        }
        if let Some((Progress::Final, reply)) = reply {
            accepted(self.verb, &reply)?;
            self.ended = Some(reply);
            *deadline = self.deadline();
        }
        Ok(())
    }

    /// Whether the server ended it with its first reply, a 2yz without a 1yz.
    fn is_over_at_once(&self) -> bool {
        self.ended.as_ref() == Some(&self.first)
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.again()))
    }

    /// Finds the reason of a failure on the data connection: what the server says about it counts
    /// for more than what the socket says.
    fn fail(&mut self, error: Error) -> Error {
        let control = &mut self.client.control;
        let reply = match &error {
            _ if !control.is_outstanding() => None,
            Error::Cancelled => None,
            Error::Io(_) | Error::Tls(_) => {
                // The last reply is read in any case, and the server knows by now.
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
            None | Some(Err(Error::Closed | Error::Timeout(_))) => error,
            Some(Err(error)) => error,
            Some(Ok(reply)) => accepted(self.verb, &reply).err().unwrap_or(error),
        };
        self.failed = Some(reason.again());
        reason
    }

    /// Ends the transfer after its last byte: marks the end of what was written, and waits for
    /// the reply that confirms it.
    pub(crate) fn conclude(&mut self, length: TransferLength) -> Result<Report, Error> {
        self.check()?;
        let mut evidence = TransferEvidence::new(self.verb);
        evidence.has_begun = !self.is_over_at_once();
        evidence.length = length;
        let is_upload = self.verb.is_upload();
        // A server knows what it was sent only once it has seen the end of it.
        let has_sent = is_upload && length.moved > 0;
        if is_upload {
            self.flush(has_sent)?;
        }
        let limit = self.client.config.timeouts.final_reply;
        let control = &mut self.client.control;
        let deadline = control.deadline(limit, Phase::FinalReply);
        // Behind however many of 1yz.
        while has_sent && let Some((progress, reply)) = control.poll_reply()? {
            if progress == Progress::Final {
                accepted(self.verb, &reply)?;
                return Err(error_of(TransferFault::Early, self.verb, &reply));
            }
            control.go_on_or_close(deadline)?;
        }
        let mut cut = None;
        if is_upload {
            // Kept open until the reply: a server that sees a reset may drop what it was sent.
            cut = self.end_sending(has_sent)?;
        } else if let Some(mut data) = self.data.take() {
            data.say_end();
        }
        evidence.data = DataEnd::Clean;
        let control = &mut self.client.control;
        let reply = match self.ended.take() {
            Some(reply) => reply,
            None => control.final_reply(deadline)?,
        };
        confirm(control, evidence, &reply)?;
        if has_sent && cut.is_none() {
            cut = self.failure_behind_the_end();
        }
        self.data = None;
        if let Some(error) = cut {
            // It says that all is well, but the end of the data cannot have reached it.
            return Err(error);
        }
        let verdict = evidence.with_reply(reply.code()).verdict();
        verdict.map_err(|fault| error_of(fault, self.verb, &reply))?;
        let unique_name = self.unique_name().or_else(|| unique::name(&reply));
        Ok(Report {
            bytes: length.moved,
            duration: self.started.elapsed(),
            ended: Ended::Confirmed,
            unique_name: unique_name.filter(|_| self.verb == Verb::Stou),
            reply,
        })
    }

    /// Waits for a server that has confirmed an upload to close the data connection, which most
    /// have done by then. One that closes it with data unread, and so before its end, resets it,
    /// and that may come after the reply.
    fn failure_behind_the_end(&mut self) -> Option<Error> {
        // Under TLS that was waited for before the reply.
        let waits = !self.is_secure();
        let data = self.data.as_mut()?;
        let control = &self.client.control;
        let deadline = control.deadline(CLOSING, Phase::FinalReply);
        // Whatever ends the wait, the server's word stands if nothing is there to read.
        if waits {
            let _ = control.waiter().wait_for(data.as_fd(), PollFlags::IN, deadline);
        }
        match data.read(&mut [0]) {
            Err(error @ Error::Io(_)) => Some(error),
            _ => None,
        }
    }

    /// The name that the first reply gives to the file.
    pub(crate) fn unique_name(&self) -> Option<Pathname> {
        Some(&self.first).filter(|_| self.verb == Verb::Stou).and_then(unique::name)
    }

    /// Ends a transfer of which no more is wanted, `bytes` having come.
    pub(crate) fn stop(self, bytes: u64) -> Result<Report, Error> {
        let reply = self.first.clone();
        let duration = self.started.elapsed();
        self.abort()?;
        Ok(Report { bytes, reply, duration, ended: Ended::Stopped, unique_name: None })
    }

    /// Stops the transfer, so that the next command can be sent.
    pub(crate) fn abort(mut self) -> Result<(), Error> {
        let data = self.data.take();
        let control = &mut self.client.control;
        if control.is_outstanding() {
            control.leave(true);
            let stopped = abort::resync(control, data);
            control.leave(false);
            return stopped;
        }
        match self.failed.take() {
            Some(error) if !self.client.control.is_open() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        let data = self.data.take();
        if self.client.control.is_outstanding() {
            self.client.abandoned = data;
        }
    }
}
