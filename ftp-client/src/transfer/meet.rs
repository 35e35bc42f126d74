//! The wait for a data connection and for the first reply to its transfer, in either order.

use std::net::IpAddr;
use std::time::Duration;

use ftp_proto::{Progress, Reply, StartStep, TransferFault, TransferStart, Verb};

use super::end::{accepted, error_of};
use crate::client::Client;
use crate::control::ControlConnection;
use crate::data::{Advance, Opening};
use crate::error::{Error, Phase};
use crate::net::stream::Stream;
use crate::net::wait::Deadline;

/// The maximum time to reject connections from other hosts if it is unknown whether the server has
/// opened a data connection.
const STRANGERS: Duration = Duration::from_secs(1);

/// The result of waiting for a transfer to begin.
pub(super) enum BeginOutcome {
    Begun { data: Option<Stream>, first: Reply, ended: Option<Reply> },
    NoData(Error),
}

/// Waits for the data connection and for the first reply, in either order. A negative reply ends
/// the wait. After a positive final reply, the transfer is already over, and only its data
/// connection may still arrive.
pub(super) fn meet(
    client: &mut Client,
    verb: Verb,
    opening: Opening,
    reply_deadline: Deadline,
) -> Result<BeginOutcome, Error> {
    let control = &mut client.control;
    let data_limit = client.config.timeouts.data_connect;
    let is_passive = opening.is_passive();
    // In active mode, the server connects when it is ready, as its 1xx shows. Until the 1xx, only
    // the reply timeout applies.
    let data_deadline = match is_passive {
        true => control.deadline(data_limit, Phase::DataConnect),
        false => reply_deadline,
    };
    let server = control.addresses().map(|(_, peer)| peer.ip());
    let start = TransferStart::new(verb);
    let meeting = BeginWait {
        control,
        verb,
        server,
        is_passive,
        data_limit,
        data_deadline,
        reply_deadline,
        start,
        opening: Some(opening),
        data: None,
        failure: None,
    };
    meeting.run()
}

/// The sockets, the limits and the results so far; `start` decides what is next.
struct BeginWait<'a> {
    control: &'a mut ControlConnection,
    verb: Verb,
    /// The host that may connect to the client.
    server: Option<IpAddr>,
    is_passive: bool,
    data_limit: Duration,
    data_deadline: Deadline,
    reply_deadline: Deadline,
    start: TransferStart,
    /// `None` once the data connection is open.
    opening: Option<Opening>,
    data: Option<Stream>,
    /// Why there is no data connection.
    failure: Option<Error>,
}

impl BeginWait<'_> {
    fn run(mut self) -> Result<BeginOutcome, Error> {
        loop {
            match self.start.step() {
                StartStep::AwaitReply => {
                    let (_, reply) = self.control.next_reply(self.reply_deadline)?;
                    self.hear(&reply)?;
                }
                StartStep::AwaitReplyOrData => self.await_either()?,
                StartStep::AwaitData => self.take_overtaken(Some(self.data_deadline))?,
                StartStep::TakeData => self.take_overtaken(None)?,
                _ => break,
            }
        }
        if let Some(error) = self.failure {
            return Ok(BeginOutcome::NoData(error));
        }
        let (first, ended) = self.start.into_replies().expect("data moves only after a reply");
        Ok(BeginOutcome::Begun { data: self.data, first, ended })
    }

    fn hear(&mut self, reply: &Reply) -> Result<(), Error> {
        let had_begun = self.start.has_begun();
        self.start.reply(reply).map_err(|fault| {
            if fault == TransferFault::OutOfStep {
                self.control.close();
            }
            error_of(fault, self.verb, reply)
        })?;
        if !had_begun && self.start.has_begun() && !self.is_passive {
            self.data_deadline = self.control.deadline(self.data_limit, Phase::DataConnect);
        }
        Ok(())
    }

    fn open(&mut self, stream: Stream) {
        if self.verb.is_upload() {
            stream.reset_when_closed();
            // Fails only on a socket that can no longer send.
            let _ = stream.send_at_once();
        }
        self.data = Some(stream);
        self.start.data_opened();
    }

    fn lose(&mut self, error: Error) {
        self.failure = Some(error);
        self.start.data_failed();
    }

    /// Takes the next reply if it has arrived, otherwise waits for it and for the data connection.
    fn await_either(&mut self) -> Result<(), Error> {
        let reply = self.control.poll_reply()?;
        if let Some((_, reply)) = &reply {
            self.hear(reply)?;
            if self.start.step() != StartStep::AwaitReplyOrData {
                return Ok(());
            }
        }
        let opening =
            self.opening.take().expect("the opening is kept until the data connection is there");
        match self.wait(&opening, reply.is_some()) {
            Ok(true) => self.advance(opening),
            Ok(false) => {
                self.opening = Some(opening);
                Ok(())
            }
            Err(error) => self.give_up(error),
        }
    }

    /// Waits, and returns whether the data connection is ready.
    fn wait(&self, opening: &Opening, has_come: bool) -> Result<bool, Error> {
        if self.start.has_begun() && opening.is_ready()? {
            return Ok(true);
        }
        if has_come {
            // More replies may have arrived together with this one, so they are taken first. The
            // deadline still applies, because a server may send 1xx without end.
            return self.control.go_on(self.data_deadline).map(|()| false);
        }
        let (other, interest) = opening.interest();
        self.control.wait_with(other, interest, self.data_deadline)
    }

    fn advance(&mut self, opening: Opening) -> Result<(), Error> {
        match opening.advance(self.server) {
            Ok(Advance::Still(opening)) => {
                self.opening = Some(opening);
                // Checks the limits even if many other hosts connect.
                let went_on = self.control.go_on(self.data_deadline);
                went_on.or_else(|error| self.give_up(error))
            }
            Ok(Advance::Open(stream)) => {
                self.open(stream);
                Ok(())
            }
            Err(error) => {
                // The server may have closed the port because it refuses the transfer.
                if let Some((Progress::Final, reply)) = self.control.poll_reply()? {
                    accepted(self.verb, &reply)?;
                }
                self.lose(Error::Io(error));
                Ok(())
            }
        }
    }

    /// Accepts the data connection of a transfer that the server has already ended, if there is
    /// one.
    fn take_overtaken(&mut self, patience: Option<Deadline>) -> Result<(), Error> {
        let opening =
            self.opening.take().expect("the opening is kept until the data connection is there");
        match overtaken(self.control, opening, self.server, patience) {
            Ok(Some(stream)) => self.open(stream),
            Ok(None) => self.start.data_missing(),
            Err(error @ Error::Cancelled) => return Err(error),
            // The server may have sent data, which is now lost.
            Err(error) => self.lose(error),
        }
        Ok(())
    }

    /// Decides the result of a wait that failed.
    fn give_up(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Timeout(Phase::DataConnect) => {
                self.lose(error);
                Ok(())
            }
            // The replies are still outstanding, and can be taken when the session ends.
            Error::Cancelled => Err(error),
            error => {
                self.control.close();
                Err(error)
            }
        }
    }
}

/// Returns the data connection of a transfer that the server has already ended; `None` if there is
/// none. The connection may be queued after one from another host, or still be on its way, since
/// control and data connection are independent. A server that sent 1xx must have had a data
/// connection, so the client waits for the connection until the deadline `patience`. Without a 1xx,
/// the server may not have needed a connection.
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
        // Checks the limits even if many other hosts connect.
        control.go_on(limit)?;
    }
}
