//! Beginning a transfer: the dialogue up to the verb, and the wait for the data connection and the
//! first reply. ftp-proto's `TransferSetup` decides, and the client sends, reads, listens and connects.

use std::time::Instant;

use ftp_proto::{
    Command, EpsvArgument, FileRange, Mode, NetworkProtocols, PassiveAddress, Reply, ReplyCode,
    RepresentationType, SetupEvent, SetupFault, SetupStep, TransferSetup, Verb,
};

use super::meet::{self, BeginOutcome, meet};
use super::{Begun, resync, secure};
use crate::client::Client;
use crate::data::active::{self, Listening};
use crate::data::coding::Coding;
use crate::data::{self, Agreed, Opening, Prepared};
use crate::error::{DataAttempt, Error, Phase, Unsupported};
use crate::net::Stream;
use crate::net::wait::Deadline;
use crate::trace;

/// Sends the commands of a transfer, and waits until the transfer has begun. `range` is the part of
/// the file; `representation` is the type to use, or `None` for the current type.
pub(crate) fn begin(
    client: &mut Client,
    command: &Command,
    range: FileRange,
    representation: Option<RepresentationType>,
) -> Result<Begun, Error> {
    if range != FileRange::default() {
        client.plan.forget();
    } else if let Some(begun) = meet::begin(client, command, representation, false)? {
        return Ok(begun);
    }
    begin_by(client, command, |dialogue| {
        let dialogue = dialogue.with_range(range);
        match representation {
            Some(representation) => dialogue.with_representation(representation),
            None => dialogue,
        }
    })
}

pub(crate) fn begin_with_time(
    client: &mut Client,
    command: &Command,
    representation: RepresentationType,
) -> Result<Begun, Error> {
    if let Some(begun) = meet::begin(client, command, Some(representation), true)? {
        return Ok(begun);
    }
    begin_by(client, command, |dialogue| {
        let whole = dialogue.with_range(FileRange::default());
        whole.with_representation(representation).with_time()
    })
}

/// Begins a transfer with the default dialogue, as changed by `shape`.
fn begin_by(
    client: &mut Client,
    command: &Command,
    shape: impl Fn(TransferSetup) -> TransferSetup,
) -> Result<Begun, Error> {
    let begun = begin_placed(client, command, shape);
    begun.map_err(|error| client.blame_blocks(error))
}

/// Begins a transfer of the path, or of the name where the server takes no paths.
fn begin_placed(
    client: &mut Client,
    command: &Command,
    shape: impl Fn(TransferSetup) -> TransferSetup,
) -> Result<Begun, Error> {
    client.settle()?;
    if let Some(named) = client.by_name(command)? {
        return client.stay_inside(|client| begin_shaped(client, &named, shape));
    }
    let begun = begin_shaped(client, command, &shape);
    let code = match &begun {
        Ok(_) => ReplyCode::ABOUT_TO_OPEN_DATA,
        Err(Error::Refused { verb, reply }) if *verb == command.verb() => reply.code(),
        Err(_) => return begun,
    };
    let Some(named) = client.again_by_name(command, code)? else { return begun };
    let again = client.stay_inside(|client| begin_shaped(client, &named, shape));
    client.note_name(again.is_err());
    again.or(begun)
}

fn begin_shaped(
    client: &mut Client,
    command: &Command,
    shape: impl FnOnce(TransferSetup) -> TransferSetup,
) -> Result<Begun, Error> {
    let line = command.encode()?;
    client.settle()?;
    if command.verb().is_upload()
        && client.config.rules.mode == Mode::Active
        && client.control.is_in_doubt()
    {
        // No reply to PORT or EPRT can prove that replies are in step.
        client.get_in_step()?;
    }
    client.protect()?;
    let mode = client.mode()?;
    client.begin_handshakes(false)?;
    let started = Instant::now();
    let deadline = client.control.reply_deadline();
    client.state.is_data_open = client.kept.is_some();
    if !client.state.is_data_open {
        secure::refill(client)?;
    }
    let dialogue = TransferSetup::new(command.clone(), client.config.rules).with_mode(mode);
    let mut dialogue = shape(dialogue);
    if client.control.has_answer(&Command::Epsv(EpsvArgument::Default)) {
        // No other command is left to send together with the verb.
        dialogue.again();
    }
    let verb = command.verb();
    let mut setup = Setup {
        client,
        dialogue,
        verb,
        line,
        started,
        deadline,
        // STOU must not be sent twice: the server would choose a second name.
        may_refill: verb != Verb::Stou,
        attempts: Vec::new(),
    };
    loop {
        match setup.attempt()? {
            TriedBegin::Begun(begun) => return Ok(begun),
            TriedBegin::Again => setup.dialogue.again(),
            TriedBegin::NoData(attempt) => setup.fall_back(attempt)?,
        }
    }
}

struct Setup<'a> {
    client: &'a mut Client,
    /// The commands up to the verb.
    dialogue: TransferSetup,
    verb: Verb,
    line: Vec<u8>,
    /// The time when the verb was sent, and the deadline for its reply.
    started: Instant,
    deadline: Deadline,
    may_refill: bool,
    attempts: Vec<DataAttempt>,
}

enum TriedBegin {
    Begun(Begun),
    /// Another attempt is needed. The failed one is not added to the attempts to open a data
    /// connection.
    Again,
    NoData(Unreached),
}

/// A data connection that was agreed on but could not be opened.
struct Unreached {
    agreed: Agreed,
    error: Error,
    /// Whether the control connection can be used for another attempt.
    is_usable: bool,
}

impl Setup<'_> {
    fn attempt(&mut self) -> Result<TriedBegin, Error> {
        let Self { client, dialogue, attempts, deadline, .. } = self;
        let Some(prepared) = prepare(client, dialogue, attempts, *deadline)? else {
            return self.reuse();
        };
        let Prepared { agreed, opening, is_early } = prepared;
        let opening = match opening {
            Ok(opening) => opening,
            Err(_) if self.may_ask_again(is_early) => return Ok(TriedBegin::Again),
            Err(error) => {
                return Ok(TriedBegin::NoData(Unreached { agreed, error, is_usable: true }));
            }
        };
        if !self.dialogue.is_ahead() {
            self.send()?;
        }
        let met = meet(self.client, self.verb, opening, self.deadline);
        if let Err(Error::Refused { reply, .. }) = &met
            && self.dialogue.refused(reply)
        {
            self.client.go_one_by_one();
            return Ok(TriedBegin::Again);
        }
        if let Err(Error::Refused { reply, .. }) = &met
            && matches!(reply.code().value(), 425 | 426 | 503)
            && self.may_ask_again(is_early)
        {
            return Ok(TriedBegin::Again);
        }
        match met? {
            BeginOutcome::Begun { data, first, ended } => {
                self.dialogue.begun(&mut self.client.state);
                let verb = self.verb;
                let started = self.started;
                let modified = self.dialogue.modified();
                let coding = Coding::new(self.client.state.mode, verb.is_upload());
                let begun = Begun { verb, data, coding, first, ended, started, modified };
                self.protect(begun)
            }
            BeginOutcome::NoData(error) => {
                let is_usable = resync(&mut self.client.control, None).is_ok();
                if is_usable && self.may_ask_again(is_early) {
                    return Ok(TriedBegin::Again);
                }
                Ok(TriedBegin::NoData(Unreached { agreed, error, is_usable }))
            }
        }
    }

    /// Returns whether a data connection may have failed because the server closed a port that it
    /// had opened early. From now on, none is.
    fn may_ask_again(&mut self, is_early: bool) -> bool {
        let may_ask = is_early && self.verb != Verb::Stou;
        if may_ask {
            self.client.go_one_by_one();
        }
        may_ask
    }

    fn send(&mut self) -> Result<(), Error> {
        self.started = Instant::now();
        self.deadline = self.client.control.reply_deadline();
        self.client.control.send(self.verb, &self.line, self.deadline)?;
        self.dialogue.sent();
        Ok(())
    }

    /// Begins the transfer over the data connection of the previous one.
    fn reuse(&mut self) -> Result<TriedBegin, Error> {
        self.send()?;
        let Self { client, verb, started, deadline, .. } = self;
        if *verb == Verb::Retr {
            let commands = client.next_flight();
            client.control.send_more(&commands, *deadline)?;
        }
        let modified = self.dialogue.modified();
        match client.begin_over_kept(*verb, *started, *deadline, modified) {
            Err(Error::Refused { reply, .. })
                if self.dialogue.reuse_refused(&reply, &mut self.client.state) =>
            {
                trace::note(format_args!("the data connection cannot be reused: opening another"));
                self.client.settle()?;
                self.client.close_kept();
                Ok(TriedBegin::Again)
            }
            met => {
                met.inspect(|_| self.dialogue.begun(&mut self.client.state)).map(TriedBegin::Begun)
            }
        }
    }

    /// Puts the data connection under TLS, if required.
    fn protect(&mut self, mut begun: Begun) -> Result<TriedBegin, Error> {
        let Some(mut data) = begun.data.take() else { return Ok(TriedBegin::Begun(begun)) };
        if self.client.config.connector.is_none() {
            // Errors can be ignored: a connection that has already failed reports the failure when
            // it is used.
            let _ = data.keep_alive(self.client.config.keepalive);
        }
        let error = match shake_hands(self.client, self.verb, &mut data, &mut begun.ended) {
            Ok(()) => {
                begun.data = Some(data);
                return Ok(TriedBegin::Begun(begun));
            }
            Err(error) => error,
        };
        let error = secure::give_up(&mut self.client.control, self.verb, data, error);
        if !self.may_refill || !secure::may_help(self.client, &error) {
            return Err(error);
        }
        self.may_refill = false;
        match secure::refill(self.client) {
            Ok(true) => Ok(TriedBegin::Again),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            // The server's refusal explains more than the failure to get tickets.
            Ok(false) | Err(_) => Err(error),
        }
    }

    /// Switches from `EPSV` to `PASV` for the next attempt, or fails with the errors of all
    /// attempts.
    fn fall_back(&mut self, unreached: Unreached) -> Result<(), Error> {
        let Unreached { agreed, error, is_usable } = unreached;
        self.attempts.push(agreed.failed(error));
        if !is_usable || !self.dialogue.data_failed(&self.client.state) {
            return Err(Error::DataConnection(std::mem::take(&mut self.attempts)));
        }
        trace::note(format_args!("the EPSV port cannot be used: trying PASV"));
        Ok(())
    }
}

/// Puts the data connection under TLS, if required, and watches for a refusal of the transfer.
fn shake_hands(
    client: &mut Client,
    verb: Verb,
    data: &mut Stream,
    ended: &mut Option<Reply>,
) -> Result<(), Error> {
    let began = Instant::now();
    secure::secure(client, verb, data, ended)?;
    if data.session().is_some() {
        client.config.counts.add_round_trip();
    }
    match data.session() {
        Some(session) if !session.is_resumed() => secure::look(client, verb, data, ended, began),
        _ => Ok(()),
    }
}

/// Goes through the dialogue that precedes the verb of the transfer. Failed attempts at a data
/// connection are added to `attempts`; `deadline` is for the replies to pipelined commands. Returns
/// `None` if the transfer uses the data connection of the previous one.
pub(super) fn prepare(
    client: &mut Client,
    dialogue: &mut TransferSetup,
    attempts: &mut Vec<DataAttempt>,
    deadline: Deadline,
) -> Result<Option<Prepared>, Error> {
    let preparation = Preparation {
        client,
        dialogue,
        attempts,
        agreed: None,
        opening: None,
        listening: None,
        is_early: false,
    };
    preparation.run(deadline)
}

struct Preparation<'a> {
    client: &'a mut Client,
    dialogue: &'a mut TransferSetup,
    attempts: &'a mut Vec<DataAttempt>,
    agreed: Option<Agreed>,
    opening: Option<Opening>,
    listening: Option<Listening>,
    /// As in [`Prepared`].
    is_early: bool,
}

impl Preparation<'_> {
    fn run(mut self, deadline: Deadline) -> Result<Option<Prepared>, Error> {
        let mut is_reusing = false;
        loop {
            let step = self.dialogue.step(&self.client.state);
            let ends_data = ends_data(&step);
            if ends_data {
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
                    if matches!(command.verb(), Verb::Epsv | Verb::Pasv) {
                        self.is_early = self.client.control.has_answer(&command);
                    }
                    let reply = match command.verb() {
                        Verb::Type => self.client.request_with_proof(&command)?,
                        Verb::Epsv => self.request_epsv(&command)?,
                        _ => self.client.control.request(&command)?,
                    };
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
                    self.client.go_one_by_one();
                    resync(&mut self.client.control, None)?;
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
                        Verb::Port => Unsupported::PortIpv6,
                        _ => Unsupported::PasvIpv6,
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

    /// Sends `EPSV`. If that ends or blocks the session, the next connections use `PASV`.
    fn request_epsv(&mut self, command: &Command) -> Result<Reply, Error> {
        match self.client.control.request(command) {
            Err(error @ (Error::Closed | Error::Timeout(Phase::Reply(_)))) => {
                trace::note(format_args!("EPSV has ended the session: the next one uses PASV"));
                self.client.config.learned.epsv_fails.set();
                Err(error)
            }
            asked => asked,
        }
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
            agreed.announced = data::announced(place, config.rules.peer);
        }
        match data::begin(control, config, place) {
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
            return heard.map(drop).map_err(|_| Error::Refused { verb, reply });
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
                    data::explain(&place, self.client.config.rules.peer);
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
        Prepared { agreed, opening, is_early: self.is_early }
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

fn error_of(fault: SetupFault, verb: Verb, reply: Reply) -> Error {
    match fault {
        SetupFault::Refused => Error::Refused { verb, reply },
        SetupFault::Unreadable(error) => Error::Protocol(error),
        SetupFault::OtherProtocol => Error::Unsupported(Unsupported::OtherProtocol),
        _ => Error::Unexpected { verb, reply },
    }
}

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
