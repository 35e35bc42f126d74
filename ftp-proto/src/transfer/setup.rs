//! The dialogue before a transfer: `TYPE`, the command for the data connection, `REST`, and the
//! command of the transfer itself (RFC 959 §5.3, RFC 2428, RFC 3659 §5).

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::{
    DataRules, FileRange, Mode, PassiveAddress, RangeSetup, Refusal, ServerState, SetupEvent,
    SetupFault, SetupStep, is_denied, read_passive,
};
use crate::address::{EpsvArgument, ExtendedAddress, HostPort};
use crate::command::Command;
use crate::parameters::{RepresentationType, TransferMode};
use crate::reply::{Reply, ReplyCode, Severity};
use crate::time_val::TimeVal;
use crate::verb::Verb;

/// The dialogue before a transfer.
///
/// Ask for the next [`step`](Self::step), carry it out, and report the result. The dialogue ends
/// with [`SetupStep::Start`]; [`TransferStart`](crate::TransferStart) takes over there. The
/// dialogue records facts about the server in your [`ServerState`]; keep that state for the next
/// transfer.
///
/// ```
/// use ftp_proto::{Command, DataRules, FileRange, Pathname, RepresentationType, ServerState};
/// use ftp_proto::{Reply, ReplyCode, SetupStep, TransferSetup};
///
/// let mut rules = DataRules::default();
/// rules.peer = Some("192.0.2.1:21".parse()?);
/// let mut server = ServerState::default();
/// let mut setup = TransferSetup::new(Command::Retr(Pathname::new("a.txt")?), rules)
///     .with_representation(RepresentationType::Image)
///     .with_range(FileRange::from_offset(512)?);
///
/// let mut sent = Vec::new();
/// // The server does not know EPSV.
/// let replies = [(200, "ok"), (500, "what?"), (227, "at (192,0,2,1,195,84)"), (350, "ok")];
/// let mut replies = replies.into_iter();
/// loop {
///     match setup.step(&server) {
///         SetupStep::Send(command) => {
///             sent.push(String::from_utf8(command.encode()?)?);
///             let (code, text) = replies.next().expect("a reply to each");
///             let reply = Reply::new(ReplyCode::new(code).expect("a code"), text);
///             setup.reply(&reply, &mut server)?;
///         }
///         SetupStep::Connect(place) => {
///             assert_eq!(place.address, Some("192.0.2.1:50004".parse()?));
///             setup.connecting();
///         }
///         SetupStep::Transfer(command) => {
///             sent.push(String::from_utf8(command.encode()?)?);
///             setup.sent();
///         }
///         _ => break,
///     }
/// }
/// assert_eq!(sent, ["TYPE I\r\n", "EPSV\r\n", "PASV\r\n", "REST 512\r\n", "RETR a.txt\r\n"]);
/// assert_eq!(setup.step(&server), SetupStep::Start);
/// // The next transfer begins with PASV.
/// assert!(server.no_epsv);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TransferSetup {
    command: Command,
    rules: DataRules,
    representation: Option<RepresentationType>,
    mode: Option<TransferMode>,
    range: Option<FileRange>,
    time: FileTime,
    /// Whether `PRET` was sent in this attempt.
    is_announced: bool,
    stage: Stage,
    listening: Option<SocketAddr>,
    /// Whether the port of `EPSV` is unreachable; if so, this attempt uses `PASV`.
    epsv_failed: bool,
    may_go_ahead: bool,
    /// Whether the transfer's command was sent together with the commands before it.
    is_ahead: bool,
    /// Whether this attempt uses the data connection of an earlier transfer.
    is_reusing: bool,
}

#[derive(Clone, Copy, Debug)]
enum FileTime {
    /// The time was not requested, or `MDTM` was answered.
    Known(Option<TimeVal>),
    /// `MDTM` is sent first.
    Wanted,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The commands up to the one for the data connection are sent one by one.
    Agreeing,
    /// The server listens on a port of the other IP version; `ABOR` closes it (RFC 2428 §3).
    ClosingPort,
    /// All commands were sent together. Replies to `commands` are expected, in order, and then the
    /// reply to the transfer's command.
    Ahead {
        commands: VecDeque<Command>,
        is_refused: bool,
    },
    /// A command that was sent together with the transfer's command failed, or the data connection
    /// did.
    Stopping,
    /// The server listens.
    Found(PassiveAddress),
    Opening(RangeSetup),
    Sent,
}

impl TransferSetup {
    /// Returns the dialogue for `command`, which must use a data connection.
    pub const fn new(command: Command, rules: DataRules) -> Self {
        let may_go_ahead = rules.pipeline;
        Self {
            command,
            rules,
            representation: None,
            mode: None,
            range: None,
            time: FileTime::Known(None),
            is_announced: false,
            stage: Stage::Agreeing,
            listening: None,
            epsv_failed: false,
            may_go_ahead,
            is_ahead: false,
            is_reusing: false,
        }
    }

    /// Sets the type of the transfer (default: the type in force).
    pub const fn with_representation(mut self, representation: RepresentationType) -> Self {
        self.representation = Some(representation);
        self
    }

    /// Sets the mode of the transfer (default: the mode in force). If the server refuses mode B or
    /// Z, the transfer uses mode S. When the transfer starts, [`ServerState::mode`] is its mode.
    pub const fn with_mode(mut self, mode: TransferMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets the part of the file (default: no command is sent, and the part in force applies).
    pub const fn with_range(mut self, range: FileRange) -> Self {
        self.range = Some(range);
        self
    }

    /// Requests the file's modification time before `RETR` (`MDTM`). Other transfers ignore this.
    pub const fn with_time(mut self) -> Self {
        self.time = FileTime::Wanted;
        self
    }

    /// Returns the modification time; `None` if it was not requested or the server has not reported
    /// it.
    #[must_use]
    pub const fn modified(&self) -> Option<TimeVal> {
        match self.time {
            FileTime::Known(time) => time,
            FileTime::Wanted => None,
        }
    }

    /// Returns the verb of the transfer.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        self.command.verb()
    }

    /// Returns what to do next.
    #[must_use]
    pub fn step(&self, server: &ServerState) -> SetupStep {
        match &self.stage {
            Stage::Agreeing => {
                if let Some(commands) = self.together(server) {
                    return SetupStep::SendTogether(commands);
                }
                let first = self.time_command().or_else(|| self.type_command(server));
                let first = first.or_else(|| self.mode_command(server));
                if first.is_none() && self.may_reuse(server) {
                    return SetupStep::Reuse;
                }
                let first = first.or_else(|| self.announcement(server));
                first.map_or_else(|| self.agree(server), SetupStep::Send)
            }
            Stage::ClosingPort => SetupStep::Send(Command::Abor),
            Stage::Ahead { commands, .. } => match commands.front() {
                Some(command) => SetupStep::Await(command.clone()),
                None => SetupStep::Abort,
            },
            Stage::Stopping => SetupStep::Abort,
            Stage::Found(place) => SetupStep::Connect(*place),
            Stage::Opening(range) => match range.command(server) {
                Some(command) if self.range.is_some() => SetupStep::Send(command),
                _ => SetupStep::Transfer(self.command.clone()),
            },
            Stage::Sent => SetupStep::Start,
        }
    }

    /// Reads the final reply to the command that [`step`](Self::step) returned. A 1xx is ignored.
    ///
    /// # Errors
    ///
    /// Returns the [`SetupFault`] if nothing is left to try, or if no command waits for a reply.
    pub fn reply(
        &mut self,
        reply: &Reply,
        server: &mut ServerState,
    ) -> Result<SetupEvent, SetupFault> {
        let severity = reply.code().severity();
        let is_done = severity == Severity::Completion;
        match self.step(server) {
            _ if severity == Severity::Preliminary => Ok(SetupEvent::Continued),
            _ if reply.code() == ReplyCode::SERVICE_CLOSING => Err(SetupFault::Refused),
            SetupStep::Await(_) => Ok(self.reply_ahead(reply, server)),
            SetupStep::Send(command) => match &command {
                Command::Abor => {
                    self.stage = Stage::Agreeing;
                    Ok(SetupEvent::Continued)
                }
                Command::Mdtm(_) => {
                    self.learn_time(reply);
                    Ok(SetupEvent::Continued)
                }
                Command::Type(_) if is_done => {
                    server.representation = self.representation;
                    Ok(SetupEvent::Continued)
                }
                Command::Mode(mode) => match learn_mode(*mode, is_done, server) {
                    true => Ok(SetupEvent::Continued),
                    false => Err(SetupFault::Refused),
                },
                Command::Known(Verb::Pret, _) => self.learn_pret(reply, server),
                Command::Epsv(EpsvArgument::All) if is_done => {
                    server.epsv_all = true;
                    Ok(SetupEvent::Continued)
                }
                Command::Type(_) | Command::Epsv(EpsvArgument::All) => Err(SetupFault::Refused),
                Command::Epsv(_) | Command::Pasv => self.reply_passive(&command, reply, server),
                Command::Eprt(_) | Command::Port(_) if is_done => {
                    self.open();
                    Ok(SetupEvent::Continued)
                }
                Command::Eprt(_) if is_denied(reply) => self.fall_back(SetupFault::Refused, server),
                Command::Eprt(_) | Command::Port(_) => Err(SetupFault::Refused),
                _ => self.reply_range(reply, server),
            },
            _ => Err(SetupFault::OutOfStep),
        }
    }

    /// Records that the client listens, and that `EPRT` or `PORT` must announce `address`.
    pub const fn listening(&mut self, address: SocketAddr) {
        self.listening = Some(address);
    }

    /// Records that the client has begun to connect to the server.
    pub fn connecting(&mut self) {
        self.open();
    }

    /// Records that this attempt uses the open data connection, as [`SetupStep::Reuse`] says.
    pub fn reusing(&mut self) {
        self.is_reusing = true;
        self.open();
    }

    /// Returns whether the server may have refused the transfer because the reused data connection
    /// was closed. If so, the dialogue begins again with a new data connection.
    pub fn reuse_refused(&mut self, reply: &Reply, server: &mut ServerState) -> bool {
        // STOU must not be sent twice: the server may have chosen a name already.
        let is_lost = self.is_reusing
            && self.verb() != Verb::Stou
            && matches!(reply.code().value(), 425 | 426 | 503);
        if is_lost {
            server.is_data_open = false;
            self.again();
        }
        is_lost
    }

    /// Records that the commands of [`SetupStep::SendTogether`] were sent.
    pub fn sent_together(&mut self, server: &ServerState) {
        let commands = self.before(server).collect();
        self.stage = Stage::Ahead { commands, is_refused: false };
        self.may_go_ahead = false;
        self.is_ahead = true;
    }

    /// Records that the command of the transfer was sent.
    pub fn sent(&mut self) {
        self.stage = Stage::Sent;
    }

    /// Returns whether the command of the transfer was sent together with the commands before it.
    #[must_use]
    pub const fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Returns whether another attempt is left after the data connection could not be opened: with
    /// `PASV` after `EPSV`, or one command at a time. If so, the dialogue begins again.
    ///
    /// After [`SetupStep::Start`], abort the transfer first.
    pub fn data_failed(&mut self, server: &ServerState) -> bool {
        if self.is_ahead && matches!(self.stage, Stage::Found(_)) {
            self.stage = Stage::Stopping;
            return true;
        }
        let may_fall_back = self.way(server) == Verb::Epsv && self.rules.may_fall_back();
        if may_fall_back {
            self.epsv_failed = true;
            self.again();
        }
        may_fall_back
    }

    /// Returns whether the server may have refused the transfer because its command was sent
    /// together with others. If so, the dialogue begins again, one command at a time.
    pub fn refused(&mut self, reply: &Reply) -> bool {
        let is_odd = self.is_ahead && matches!(reply.code().value(), 425 | 500..=504);
        if is_odd {
            self.again();
        }
        is_odd
    }

    /// Records that the transfer has begun, with the part of the file that was in force. If only the
    /// port of `PASV` could be reached, later transfers skip `EPSV`.
    ///
    /// After a refusal, the part may still be in force: pyftpdlib keeps it if it denies the right.
    pub fn begun(&self, server: &mut ServerState) {
        server.no_epsv |= self.epsv_failed;
        if self.range.is_some() {
            server.range = FileRange::default();
        }
    }

    /// Begins again, one command at a time. No reply may be outstanding.
    pub fn again(&mut self) {
        self.stage = Stage::Agreeing;
        self.listening = None;
        self.is_announced = false;
        self.may_go_ahead = false;
        self.is_ahead = false;
        self.is_reusing = false;
    }

    /// Returns whether the transfer can use the data connection of the last transfer. Both
    /// transfers must be in mode B (RFC 959 §3.4.2), the only mode in which the connection can stay
    /// open.
    fn may_reuse(&self, server: &ServerState) -> bool {
        let is_block = self.mode == Some(TransferMode::Block);
        is_block && server.mode == TransferMode::Block && server.is_data_open
    }

    /// Returns `MDTM` if the modification time was requested.
    fn time_command(&self) -> Option<Command> {
        match (&self.time, &self.command) {
            (FileTime::Wanted, Command::Retr(path)) => Some(Command::Mdtm(path.clone())),
            _ => None,
        }
    }

    /// Reads the reply to `MDTM`. A refusal says nothing about the file.
    fn learn_time(&mut self, reply: &Reply) {
        let is_told = reply.code().severity() == Severity::Completion;
        let time = TimeVal::parse(reply.text().trim_ascii()).ok();
        self.time = FileTime::Known(time.filter(|_| is_told));
    }

    /// Returns `TYPE` if another type is in force.
    fn type_command(&self, server: &ServerState) -> Option<Command> {
        let wanted = self.representation.filter(|wanted| server.representation != Some(*wanted));
        wanted.map(|wanted| Command::Type(wanted.into()))
    }

    /// Returns `MODE` if another mode is in force.
    fn mode_command(&self, server: &ServerState) -> Option<Command> {
        let wanted = match self.mode? {
            TransferMode::Deflate if server.no_deflate => TransferMode::Stream,
            TransferMode::Block if server.no_blocks => TransferMode::Stream,
            mode => mode,
        };
        (wanted != server.mode).then_some(Command::Mode(wanted))
    }

    /// Returns `PRET` with the command of the transfer, if the server requires `PRET` and none was
    /// sent yet.
    fn announcement(&self, server: &ServerState) -> Option<Command> {
        let is_wanted = server.pret && !self.is_announced && self.rules.mode == Mode::Passive;
        let line = is_wanted.then(|| self.command.encode().ok())??;
        let text = line.strip_suffix(b"\r\n").unwrap_or(&line);
        Some(Command::Known(Verb::Pret, text.to_vec()))
    }

    /// Reads the reply to `PRET`. If the server does not know `PRET`, the dialogue continues
    /// without it. Any other refusal means that the server refuses the transfer.
    fn learn_pret(
        &mut self,
        reply: &Reply,
        server: &mut ServerState,
    ) -> Result<SetupEvent, SetupFault> {
        if matches!(reply.code().value(), 500..=502) {
            server.pret = false;
        } else if reply.code().severity() != Severity::Completion {
            return Err(SetupFault::Refused);
        }
        self.is_announced = true;
        Ok(SetupEvent::Continued)
    }

    /// Returns the command that sets up the data connection: `EPSV`, `PASV`, `EPRT` or `PORT`.
    fn way(&self, server: &ServerState) -> Verb {
        let no_epsv = server.no_epsv || self.epsv_failed;
        self.rules.way(&ServerState { no_epsv, ..*server })
    }

    /// Returns the next step towards a data connection.
    fn agree(&self, server: &ServerState) -> SetupStep {
        match (self.way(server), self.listening) {
            _ if self.must_promise(server) => SetupStep::Send(Command::Epsv(EpsvArgument::All)),
            (Verb::Epsv, _) => SetupStep::Send(Command::Epsv(server.epsv_argument())),
            (Verb::Pasv, _) if self.rules.is_ipv4() => SetupStep::Send(Command::Pasv),
            (way @ (Verb::Eprt | Verb::Port), None) => SetupStep::Listen(way),
            (Verb::Port, Some(SocketAddr::V4(address))) => {
                SetupStep::Send(Command::Port(HostPort::from(address)))
            }
            (Verb::Eprt, Some(address)) => {
                SetupStep::Send(Command::Eprt(ExtendedAddress::from(address)))
            }
            (way, _) => SetupStep::NoWay(way),
        }
    }

    /// Returns whether `EPSV ALL` must be sent first.
    fn must_promise(&self, server: &ServerState) -> bool {
        self.rules.mode == Mode::Passive && self.rules.epsv_all && !server.epsv_all
    }

    /// Returns the commands that can be sent in one write; `None` if they must be sent one by one.
    /// They must not change files on the server, since they are sent again after a failure.
    fn together(&self, server: &ServerState) -> Option<Vec<Command>> {
        let whole = FileRange::default();
        let is_whole = self.range == Some(whole) && server.range == whole;
        let is_download =
            matches!(self.command.verb(), Verb::Retr | Verb::List | Verb::Nlst | Verb::Mlsd);
        let is_epsv = self.way(server) == Verb::Epsv && !self.must_promise(server);
        let may_go_ahead = self.may_go_ahead && !server.pret && !self.may_reuse(server);
        let goes_ahead = may_go_ahead && is_whole && is_download && is_epsv;
        goes_ahead.then(|| self.before(server).chain([self.command.clone()]).collect())
    }

    /// Returns the commands that are sent before the transfer's command, in the same write.
    fn before(&self, server: &ServerState) -> impl Iterator<Item = Command> + use<> {
        let epsv = Command::Epsv(server.epsv_argument());
        let before = self.time_command().into_iter().chain(self.type_command(server));
        before.chain(self.mode_command(server)).chain([epsv])
    }

    /// Reads the reply to a command that was sent together with the transfer's command.
    fn reply_ahead(&mut self, reply: &Reply, server: &mut ServerState) -> SetupEvent {
        let Stage::Ahead { commands, is_refused } = &mut self.stage else {
            return SetupEvent::Continued;
        };
        let Some(command) = commands.pop_front() else { return SetupEvent::Continued };
        match command {
            Command::Mdtm(_) => {
                self.learn_time(reply);
                return SetupEvent::Continued;
            }
            Command::Type(_) => {
                *is_refused = reply.code().severity() != Severity::Completion;
                server.representation = self.representation.filter(|_| !*is_refused);
                return SetupEvent::Continued;
            }
            Command::Mode(mode) => {
                let is_done = reply.code().severity() == Severity::Completion;
                *is_refused |= !learn_mode(mode, is_done, server);
                return SetupEvent::Continued;
            }
            _ => {}
        }
        let is_usable = !*is_refused;
        match read_passive(&self.rules, &command, reply) {
            Ok(place) if is_usable => {
                self.stage = Stage::Found(place);
                SetupEvent::Found(place)
            }
            _ => {
                self.stage = Stage::Stopping;
                SetupEvent::Continued
            }
        }
    }

    fn reply_passive(
        &mut self,
        command: &Command,
        reply: &Reply,
        server: &mut ServerState,
    ) -> Result<SetupEvent, SetupFault> {
        let refusal = match read_passive(&self.rules, command, reply) {
            Ok(place) => {
                self.stage = Stage::Found(place);
                return Ok(SetupEvent::Found(place));
            }
            Err(refusal) => refusal,
        };
        if !server.pret && wants_announcement(reply) {
            server.pret = true;
            return Ok(SetupEvent::Continued);
        }
        let Refusal { fault, is_denied, wants_protocol } = refusal;
        if fault == SetupFault::OtherProtocol {
            self.stage = Stage::ClosingPort;
        }
        if let Some(protocol) = wants_protocol {
            server.epsv_protocol = Some(protocol);
            return Ok(SetupEvent::NamesProtocol(protocol, fault));
        }
        match command {
            Command::Epsv(_) if is_denied => self.fall_back(fault, server),
            _ => Err(fault),
        }
    }

    fn reply_range(
        &mut self,
        reply: &Reply,
        server: &mut ServerState,
    ) -> Result<SetupEvent, SetupFault> {
        let Stage::Opening(range) = &mut self.stage else { return Err(SetupFault::OutOfStep) };
        range.reply(reply, server).map_err(|_| SetupFault::Refused)?;
        Ok(SetupEvent::Continued)
    }

    /// Falls back from `EPSV` to `PASV`, or from `EPRT` to `PORT`, if the rules allow it.
    fn fall_back(
        &self,
        fault: SetupFault,
        server: &mut ServerState,
    ) -> Result<SetupEvent, SetupFault> {
        if !self.rules.may_fall_back() {
            return Err(fault);
        }
        match self.rules.mode {
            Mode::Passive => server.no_epsv = true,
            Mode::Active => server.no_eprt = true,
        }
        Ok(SetupEvent::FallsBack(self.way(server), fault))
    }

    /// Continues with `REST` or `RANG` and the transfer's command, while the data connection is
    /// being opened. If these commands were already sent, continues with the replies.
    fn open(&mut self) {
        self.stage = match self.is_ahead {
            true => Stage::Sent,
            false => Stage::Opening(RangeSetup::new(self.range.unwrap_or_default())),
        };
    }
}

/// Reads the reply to `MODE`, and returns whether the transfer can continue. It can also continue
/// if the server refuses mode B or Z: the mode in force stays.
fn learn_mode(mode: TransferMode, is_done: bool, server: &mut ServerState) -> bool {
    match mode {
        _ if is_done => {
            server.mode = mode;
            server.is_data_open = false;
        }
        TransferMode::Block => server.no_blocks = true,
        TransferMode::Deflate => server.no_deflate = true,
        TransferMode::Stream | TransferMode::Compressed => return false,
    }
    true
}

/// Returns whether a server refuses to listen because it got no `PRET`. The reply names `PRET`:
/// `You need to use a client supporting PRET (PRE Transfer) to use PASV`.
#[must_use]
pub fn wants_announcement(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Permanent
        && reply.lines().any(|line| line.split(|byte| *byte == b' ').any(|word| word == b"PRET"))
}
