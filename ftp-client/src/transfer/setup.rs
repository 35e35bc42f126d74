//! The dialogue before a transfer: ftp-proto's `TransferSetup` decides, and the client sends,
//! reads, listens and connects.

use ftp_proto::{Command, NetworkProtocols, Reply, ReplyCode, SetupEvent, SetupFault, SetupStep};
use ftp_proto::{PassiveAddress, TransferSetup, Verb};

use super::abort;
use crate::client::Client;
use crate::data::active::{self, Listening};
use crate::data::{Agreed, Opening, Prepared, passive};
use crate::error::{DataAttempt, Error};
use crate::net::wait::Deadline;
use crate::trace;

/// Goes through the dialogue that precedes the verb of the transfer. Failed attempts at a data
/// connection are added to `attempts`; `deadline` is for the replies to pipelined commands. Returns
/// `None` if the transfer uses the data connection of the previous one.
pub(super) fn prepare(
    client: &mut Client,
    dialogue: &mut TransferSetup,
    attempts: &mut Vec<DataAttempt>,
    deadline: Deadline,
) -> Result<Option<Prepared>, Error> {
    let preparation =
        Preparation { client, dialogue, attempts, agreed: None, opening: None, listening: None };
    preparation.run(deadline)
}

/// Makes the client send one command at a time from now on.
pub(super) fn one_by_one(client: &mut Client) {
    trace::note(format_args!("pipelining does not work: sending one command at a time"));
    client.config.rules.pipeline = false;
}

struct Preparation<'a> {
    client: &'a mut Client,
    dialogue: &'a mut TransferSetup,
    attempts: &'a mut Vec<DataAttempt>,
    agreed: Option<Agreed>,
    opening: Option<Opening>,
    listening: Option<Listening>,
}

impl Preparation<'_> {
    fn run(mut self, deadline: Deadline) -> Result<Option<Prepared>, Error> {
        let mut is_reusing = false;
        loop {
            let step = self.dialogue.step(&self.client.state);
            if ends_data(&step) {
                self.client.close_kept();
            }
            match step {
                SetupStep::Reuse => {
                    is_reusing = self.client.can_reuse();
                    if is_reusing {
                        self.dialogue.reusing();
                    }
                }
                SetupStep::Send(command) => {
                    let reply = self.client.control.request(&command)?;
                    self.hear(&command, reply)?;
                }
                SetupStep::SendTogether(commands) => {
                    self.client.control.send_together(&commands, deadline)?;
                    self.dialogue.sent_together(&self.client.state);
                }
                SetupStep::Await(command) => {
                    // After an error, the command is outstanding or the connection is closed.
                    let reply = self.client.control.final_reply(deadline)?;
                    self.hear(&command, reply)?;
                }
                SetupStep::Abort => {
                    one_by_one(self.client);
                    abort::resync(&mut self.client.control, None)?;
                    self.dialogue.again();
                }
                SetupStep::Listen(way) => self.listen(way)?,
                SetupStep::Connect(place) => {
                    if let Err(error) = self.connect(&place) {
                        return Ok(Some(self.end(Err(error))));
                    }
                }
                SetupStep::NoWay(way) => {
                    let what = match way {
                        Verb::Port => "PORT carries IPv4 addresses only",
                        _ => "PASV carries IPv4 addresses only",
                    };
                    return Err(self.fail_early(way, Error::Unsupported(what)));
                }
                _ => break,
            }
        }
        if is_reusing {
            return Ok(None);
        }
        let listener = self.listening.take().map(|listening| listening.listener);
        let opening = self.opening.take().or(listener.map(Opening::Listening));
        let opening = opening.expect("the dialogue has led to an opening");
        Ok(Some(self.end(Ok(opening))))
    }

    fn listen(&mut self, way: Verb) -> Result<(), Error> {
        match active::begin(&self.client.control, &self.client.config) {
            Ok(listening) => {
                self.dialogue.listening(listening.told);
                self.listening = Some(listening);
                Ok(())
            }
            Err(error @ Error::Io(_)) => Err(self.fail_early(way, error)),
            Err(error) => Err(error),
        }
    }

    fn connect(&mut self, place: &PassiveAddress) -> Result<(), Error> {
        let Client { control, config, state, .. } = &mut *self.client;
        if let Some(agreed) = &mut self.agreed {
            agreed.address = place.address;
            agreed.announced = passive::announced(place, config.rules.peer);
        }
        match passive::begin(control, config, place) {
            Ok(opening) => {
                if self.dialogue.verb().is_upload() {
                    opening.reset_when_closed();
                }
                self.opening = Some(opening);
                self.dialogue.connecting();
                Ok(())
            }
            // The next attempt sends one command at a time.
            Err(_) if self.dialogue.is_ahead() && self.dialogue.data_failed(state) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn hear(&mut self, command: &Command, reply: Reply) -> Result<(), Error> {
        let verb = command.verb();
        if !matches!(verb, Verb::Epsv | Verb::Pasv | Verb::Eprt | Verb::Port) {
            let heard = self.dialogue.reply(&reply, &mut self.client.state);
            return heard.map(drop).map_err(|_| Error::Refused(verb, reply));
        }
        let mut agreed = Agreed::by(command);
        if let Some(listening) = &self.listening {
            active::explain(verb, listening);
            agreed.address = Some(listening.told);
        }
        explain_522(&reply);
        match self.dialogue.reply(&reply, &mut self.client.state) {
            Ok(SetupEvent::NamesProtocol(protocol, fault)) => {
                self.attempts.push(agreed.failed(error_of(fault, verb, reply)));
                trace::note(format_args!("using EPSV {} from now on", protocol.number()));
            }
            Ok(SetupEvent::FallsBack(other, fault)) => {
                self.attempts.push(agreed.failed(error_of(fault, verb, reply)));
                trace::note(format_args!("{verb} does not work here: using {other} from now on"));
            }
            Ok(event) => {
                if let SetupEvent::Found(place) = event {
                    passive::explain(&place, self.client.config.rules.peer);
                }
                self.agreed = Some(agreed);
            }
            Err(SetupFault::Unreadable(error)) if verb == Verb::Pasv => {
                return Err(self.client.control.protocol_error(error));
            }
            Err(fault) => {
                self.attempts.push(agreed.failed(error_of(fault, verb, reply)));
                return Err(self.give_up());
            }
        }
        Ok(())
    }

    /// Records an attempt that failed before an address was agreed on, and returns the error of
    /// [`give_up`](Self::give_up).
    fn fail_early(&mut self, way: Verb, error: Error) -> Error {
        self.attempts.push(DataAttempt::early(way, error));
        self.give_up()
    }

    /// Returns the error that ends the search for a data connection. If the client is not logged
    /// in, this is the error of the last attempt; otherwise, it lists the errors of all attempts.
    fn give_up(&mut self) -> Error {
        match self.attempts.pop() {
            Some(last) if last.error.is_not_logged_in() => last.error,
            last => {
                self.attempts.extend(last);
                Error::DataConnection(std::mem::take(self.attempts))
            }
        }
    }

    fn end(self, opening: Result<Opening, Error>) -> Prepared {
        let agreed = self.agreed.expect("the dialogue has agreed on a way");
        Prepared { agreed, opening }
    }
}

/// Returns whether a step makes the server close the data connection of the previous transfer.
fn ends_data(step: &SetupStep) -> bool {
    match step {
        SetupStep::Send(command) => {
            matches!(command.verb(), Verb::Mode | Verb::Epsv | Verb::Pasv | Verb::Eprt | Verb::Port)
        }
        SetupStep::SendTogether(_) | SetupStep::Listen(_) => true,
        _ => false,
    }
}

/// Returns the error for a fault in `reply`, which answers `verb`.
fn error_of(fault: SetupFault, verb: Verb, reply: Reply) -> Error {
    match fault {
        SetupFault::Refused => Error::Refused(verb, reply),
        SetupFault::Unreadable(error) => Error::Protocol(error),
        SetupFault::OtherProtocol => {
            Error::Unsupported("a 229 that names a protocol other than the control connection's")
        }
        _ => Error::Unexpected(verb, reply),
    }
}

/// Traces the list in a 522 reply.
fn explain_522(reply: &Reply) {
    if reply.code() != ReplyCode::PROTOCOL_NOT_SUPPORTED {
        return;
    }
    let Some(list) = NetworkProtocols::find(reply.text()) else { return };
    trace::note(format_args!(
        "522: the server supports {}",
        match (list.ipv4, list.ipv6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "no protocol that this client knows",
        }
    ));
}
