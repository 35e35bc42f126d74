//! The wait for a data connection and for the first reply to its transfer, in either order.

use std::net::IpAddr;
use std::time::Duration;

use ftp_proto::{Progress, Reply, TransferEvidence, Verb};

use super::verdict::{accepted, confirm};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::data::{Advance, Opening};
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::net::wait::Deadline;

/// How long strangers that came first are closed where nobody else is waited for.
const STRANGERS: Duration = Duration::from_secs(1);

/// How the wait for a transfer's beginning ended.
pub(super) enum Met {
    Begun { data: Option<Stream>, first: Reply, ended: Option<Reply> },
    NoData(Error),
}

/// Waits for the data connection and for the first reply, in either order. A negative reply ends
/// the wait, and so does a last one: then all is over already.
pub(super) fn meet(
    client: &mut Client,
    verb: Verb,
    opening: Opening,
    reply_deadline: Deadline,
) -> Result<Met, Error> {
    let control = &mut client.control;
    let data_limit = client.config.timeouts.data_connect;
    let is_passive = opening.is_passive();
    // A server that connects to us does so when it is ready, which its 1yz tells.
    let data_deadline = match is_passive {
        true => control.deadline(data_limit, Phase::DataConnect),
        false => reply_deadline,
    };
    let mut meeting = Meeting {
        verb,
        server: control.addresses().map(|(_, peer)| peer.ip()),
        control,
        is_passive,
        data_limit,
        data_deadline,
        reply_deadline,
        opening: Some(opening),
        data: None,
        first: None,
    };
    loop {
        if let Some(met) = meeting.step()? {
            return Ok(met);
        }
    }
}

/// What has come of the two so far.
struct Meeting<'a> {
    control: &'a mut ControlConnection,
    verb: Verb,
    /// Who may connect to us.
    server: Option<IpAddr>,
    is_passive: bool,
    data_limit: Duration,
    data_deadline: Deadline,
    reply_deadline: Deadline,
    /// `None` once the data connection is there.
    opening: Option<Opening>,
    data: Option<Stream>,
    first: Option<Reply>,
}

impl Meeting<'_> {
    /// Takes the next reply, or else waits for it and for the data connection.
    fn step(&mut self) -> Result<Option<Met>, Error> {
        let reply = match &self.opening {
            Some(_) => self.control.poll_reply()?,
            None => Some(self.control.next_reply(self.reply_deadline)?),
        };
        let has_come = reply.is_some();
        match reply {
            Some((Progress::Final, reply)) => return self.end(reply).map(Some),
            Some((Progress::Preliminary, reply)) if self.first.is_none() => {
                self.first = Some(reply);
                if !self.is_passive {
                    self.data_deadline = self.control.deadline(self.data_limit, Phase::DataConnect);
                }
            }
            _ => {}
        }
        let Some(opening) = self.opening.take() else { return Ok(self.begun()) };
        match self.wait(&opening, has_come) {
            Ok(true) => self.advance(opening),
            Ok(false) => {
                self.opening = Some(opening);
                Ok(None)
            }
            Err(error) => self.give_up(error).map(Some),
        }
    }

    /// Waits, and says whether it is the data connection that is ready.
    fn wait(&self, opening: &Opening, has_come: bool) -> Result<bool, Error> {
        if self.first.is_some() && opening.is_ready()? {
            return Ok(true);
        }
        if has_come {
            // More may have come with it, and of 1yz there may be no end.
            return self.control.go_on(self.data_deadline).map(|()| false);
        }
        let (other, interest) = opening.interest();
        self.control.wait_with(other, interest, self.data_deadline)
    }

    fn advance(&mut self, opening: Opening) -> Result<Option<Met>, Error> {
        match opening.advance(self.server) {
            Ok(Advance::Still(opening)) => {
                self.opening = Some(opening);
                // However many strangers come.
                match self.control.go_on(self.data_deadline) {
                    Ok(()) => Ok(None),
                    Err(error) => self.give_up(error).map(Some),
                }
            }
            Ok(Advance::Open(stream)) => {
                if self.verb.is_upload() {
                    stream.reset_when_closed();
                }
                self.data = Some(stream);
                Ok(self.begun())
            }
            Err(error) => {
                // The server may have closed the port because it refuses the transfer.
                if let Some((Progress::Final, reply)) = self.control.poll_reply()? {
                    accepted(self.verb, &reply)?;
                }
                Ok(Some(Met::NoData(Error::Io(error))))
            }
        }
    }

    /// The beginning, if both are there.
    fn begun(&mut self) -> Option<Met> {
        let first = self.first.take()?;
        Some(Met::Begun { data: self.data.take(), first, ended: None })
    }

    /// What a last reply makes of it.
    fn end(&mut self, reply: Reply) -> Result<Met, Error> {
        accepted(self.verb, &reply)?;
        if self.first.is_none() {
            // A 200 or 227 here answers something else; nothing was transferred.
            confirm(self.control, TransferEvidence::new(self.verb), &reply)?;
        }
        if let Some(opening) = self.opening.take() {
            let patience = self.first.is_some().then_some(self.data_deadline);
            match overtaken(self.control, opening, self.server, patience) {
                Ok(stream) => self.data = stream,
                Err(error @ Error::Cancelled) => return Err(error),
                // What it sent, if anything, did not come here.
                Err(error) => return Ok(Met::NoData(error)),
            }
            if let Some(data) = self.data.as_ref().filter(|_| self.verb.is_upload()) {
                data.reset_when_closed();
            }
        }
        let first = self.first.take().unwrap_or_else(|| reply.clone());
        Ok(Met::Begun { data: self.data.take(), first, ended: Some(reply) })
    }

    /// What comes of a wait that ended in vain.
    fn give_up(&mut self, error: Error) -> Result<Met, Error> {
        match error {
            Error::Timeout(Phase::DataConnect) => Ok(Met::NoData(error)),
            // The replies are still owed, and can be taken when good-bye is said.
            Error::Cancelled => Err(error),
            error => {
                self.control.close();
                Err(error)
            }
        }
    }
}

/// The data connection of a transfer that is over at the server. It may be there after that of a
/// stranger, or be on its way still: the two connections do not wait for each other. A server that
/// began has to have had one, and so `patience` is given to it; one that did not may have needed
/// none.
fn overtaken(
    control: &ControlConnection,
    mut opening: Opening,
    server: Option<IpAddr>,
    patience: Option<Deadline>,
) -> Result<Option<Stream>, Error> {
    let limit = patience.unwrap_or(control.deadline(STRANGERS, Phase::DataConnect));
    loop {
        if !opening.is_ready()? {
            if patience.is_none() {
                return Ok(None);
            }
            let (fd, interest) = opening.interest();
            control.waiter().wait_for(fd, interest, limit)?;
        }
        match opening.advance(server) {
            Ok(Advance::Open(stream)) => return Ok(Some(stream)),
            Ok(Advance::Still(waiting)) => opening = waiting,
            Err(_) if patience.is_none() => return Ok(None),
            Err(error) => return Err(Error::Io(error)),
        }
        // However many strangers come.
        control.go_on(limit)?;
    }
}
