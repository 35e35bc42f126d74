//! The client's side of a transfer, without its sockets, in the order of a transfer:
//!
//! - the client's rules and what it remembers about the server
//! - the part of the file that the transfer covers (RFC 3659 §5, draft-bryan-ftp-range-08)
//! - the steps of the dialogue before it, and the meaning of the replies to `EPSV` and `PASV`
//! - its beginning: its first replies and its data connection, in either order
//! - its end: the verdict, and the replies to `ABOR`
//!
//! Each type takes the client's observations and returns the next step or a verdict.

mod end;
mod setup;

pub use end::{
    AbortStep, Confirmation, DataEnd, TransferAbort, TransferEvidence, TransferFault,
    TransferLength,
};
pub use setup::{TransferSetup, wants_announcement};

use std::net::{Ipv4Addr, SocketAddr};

use crate::address::{
    AddressRule, ChosenHost, EpsvArgument, ExtendedAddress, HostPort, HostReason, NetworkProtocol,
    NetworkProtocols,
};
use crate::command::Command;
use crate::parameters::{RepresentationType, RestartMarker, TransferMode};
use crate::reply::{Reply, ReplyCode, Severity};
use crate::verb::Verb;
use crate::{ParseError, ParseErrorKind, limits};

/// Which side opens data connections (RFC 959 §3.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Mode {
    /// The client connects to a port of the server: `EPSV`, else `PASV`. Works through firewalls
    /// and NAT on the client's side.
    #[default]
    Passive,
    /// The server connects to a port of the client: `EPRT`, else `PORT`.
    Active,
}

/// The choice between the data connection commands of RFC 2428 and those of RFC 959.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Extended {
    /// `EPSV` or `EPRT`, falling back to `PASV` or `PORT` over IPv4 if the server does not know
    /// or denies them. The client also falls back if the reply to `EPSV` is unreadable, or if the port in
    /// that reply cannot be reached.
    #[default]
    Auto,
    /// Only `EPSV` or `EPRT`.
    Always,
    /// Only `PASV` or `PORT`.
    Never,
}

/// The client's rules for data connections.
///
/// ```
/// use ftp_proto::{DataRules, Extended, Mode};
///
/// let rules = DataRules::new().mode(Mode::Active).eprt(Extended::Never);
/// assert!(!rules.pipeline);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DataRules {
    /// Which side opens data connections (default: passive).
    pub mode: Mode,
    /// The choice between `EPSV` and `PASV`.
    pub epsv: Extended,
    /// The choice between `EPRT` and `PORT`.
    pub eprt: Extended,
    /// Whether `EPSV ALL` is sent before the first `EPSV` (RFC 2428 §4).
    pub epsv_all: bool,
    /// How the host in a 227 reply is used.
    pub passive_address: AddressRule,
    /// Whether the commands of a download or listing, such as `TYPE`, `EPSV` and `RETR`, are sent
    /// in one write. If a reply is not as expected, they are sent again one by one.
    pub pipeline: bool,
    /// The server's address on the control connection. If it is `None`, an IPv4 address is assumed,
    /// and only the ports in replies are used.
    pub peer: Option<SocketAddr>,
}

crate::settings! {
    DataRules {
        mode: Mode = Mode::Passive,
        epsv: Extended = Extended::Auto,
        eprt: Extended = Extended::Auto,
        epsv_all: bool = false,
        passive_address: AddressRule = AddressRule::Peer,
        pipeline: bool = false,
        peer: impl Into<Option<SocketAddr>> = None,
    }
}

impl DataRules {
    /// Returns whether `PASV` and `PORT` can be used: they carry IPv4 addresses only.
    fn is_ipv4(&self) -> bool {
        self.peer.is_none_or(|peer| peer.ip().to_canonical().is_ipv4())
    }

    /// Returns whether `PASV` may replace `EPSV`, or `PORT` may replace `EPRT`.
    #[must_use]
    pub fn may_fall_back(&self) -> bool {
        let extended = match self.mode {
            Mode::Passive => self.epsv,
            Mode::Active => self.eprt,
        };
        extended == Extended::Auto && self.is_ipv4()
    }

    /// Returns the command that sets up the next data connection: `EPSV`, `PASV`, `EPRT` or `PORT`.
    fn way(&self, server: &ServerState) -> Verb {
        match self.mode {
            Mode::Passive => choose(self.epsv, server.no_epsv, Verb::Epsv, Verb::Pasv),
            Mode::Active => choose(self.eprt, server.no_eprt, Verb::Eprt, Verb::Port),
        }
    }
}

fn choose(extended: Extended, is_known_to_fail: bool, of_2428: Verb, of_959: Verb) -> Verb {
    match extended {
        Extended::Always => of_2428,
        Extended::Never => of_959,
        Extended::Auto if is_known_to_fail => of_959,
        Extended::Auto => of_2428,
    }
}

/// Facts about the server that a client keeps between transfers: the state of the session, and
/// which commands work or fail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerState {
    /// The type in force; `None` if unknown.
    pub representation: Option<RepresentationType>,
    /// The mode in force.
    pub mode: TransferMode,
    /// Whether the server refused mode Z or does not offer it; if so, mode S is used instead.
    pub no_deflate: bool,
    /// Whether the server refused mode B or does not offer it; if so, mode S is used instead.
    pub no_blocks: bool,
    /// Whether the data connection of the last transfer in mode B is still open. If so, the next
    /// transfer in that mode uses it.
    pub is_data_open: bool,
    /// Whether the server requires `PRET` before `EPSV` or `PASV`.
    pub pret: bool,
    /// The part of a file that is in force for the next transfer.
    pub range: FileRange,
    /// Whether `EPSV` does not work here: it was refused, its reply was unreadable, or only the
    /// port of `PASV` could be reached.
    pub no_epsv: bool,
    /// Whether the server refused `EPRT`.
    pub no_eprt: bool,
    /// The protocol that the server wants as the argument of `EPSV`; `None` for no argument.
    pub epsv_protocol: Option<NetworkProtocol>,
    /// Whether the server accepted `EPSV ALL`.
    pub epsv_all: bool,
}

impl ServerState {
    /// Records that the server accepted a `REST` or `RANG` that did not come from
    /// [`RangeSetup`](crate::RangeSetup). The next transfer then selects its part again. Other
    /// verbs change nothing.
    pub const fn forget_range(&mut self, by: Verb) {
        self.range = match by {
            Verb::Rest => FileRange::From(RestartMarker::HIGHEST),
            Verb::Rang => FileRange::Between { first: limits::RESTART_MARKER, last: 0 },
            _ => self.range,
        };
    }

    fn epsv_argument(&self) -> EpsvArgument {
        self.epsv_protocol.map_or(EpsvArgument::Default, EpsvArgument::Protocol)
    }
}

/// The part of a file that a transfer covers (default: all of it).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FileRange {
    /// Everything from this offset to the end of the file; offset 0 is the whole file.
    From(RestartMarker),
    /// The bytes from `first` to `last`, both included and counted from 0.
    Between {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
}

impl Default for FileRange {
    fn default() -> Self {
        Self::From(RestartMarker::default())
    }
}

impl FileRange {
    /// Returns the part from `offset` to the end of the file.
    ///
    /// # Errors
    ///
    /// Returns `BadNumber` if `offset` exceeds 2^63 - 1.
    pub fn from_offset(offset: u64) -> Result<Self, ParseError> {
        let error = ParseError::new("restart marker", 0, ParseErrorKind::BadNumber);
        RestartMarker::new(offset).map(Self::From).ok_or(error)
    }

    /// Returns the part of `length` bytes that begins at `offset`.
    ///
    /// # Errors
    ///
    /// Returns `BadNumber` if `length` is 0 or the last byte is beyond offset 2^63 - 1.
    pub fn between(offset: u64, length: u64) -> Result<Self, ParseError> {
        let last = length.checked_sub(1).and_then(|beyond_first| offset.checked_add(beyond_first));
        match last {
            Some(last) if last <= limits::RESTART_MARKER => {
                Ok(Self::Between { first: offset, last })
            }
            _ => Err(ParseError::new("range", 0, ParseErrorKind::BadNumber)),
        }
    }
}

/// The dialogue that selects a part of a file with `REST` or `RANG`. It first resets a part that
/// was set with the other command.
///
/// ```
/// use ftp_proto::{FileRange, RangeSetup, Reply, ReplyCode, ServerState};
///
/// let mut server = ServerState::default();
/// let mut setup = RangeSetup::new(FileRange::from_offset(512)?);
/// let command = setup.command(&server).expect("the range was not sent yet");
/// assert_eq!(command.encode()?, b"REST 512\r\n");
/// setup.reply(&Reply::new(ReplyCode::PENDING, "ok"), &mut server)?;
/// assert_eq!(setup.command(&server), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RangeSetup {
    wanted: FileRange,
    is_sent: bool,
}

impl RangeSetup {
    /// Returns the dialogue that selects `wanted`.
    pub const fn new(wanted: FileRange) -> Self {
        Self { wanted, is_sent: false }
    }

    /// Returns the next command; `None` once the part is in force.
    ///
    /// A server may forget the part after any command (RFC 3659 §5.3). The dialogue therefore
    /// selects the part again even if it is in force, unless the part is the whole file.
    #[must_use]
    pub fn command(&self, server: &ServerState) -> Option<Command> {
        self.next(server).map(|range| match (range, server.range) {
            (FileRange::Between { first, last }, _) => rang(first, last),
            // A range that ends before it begins resets RANG.
            (_, FileRange::Between { .. }) => rang(1, 0),
            (FileRange::From(marker), _) => Command::Rest(marker),
        })
    }

    /// Reads the final reply to the last command.
    ///
    /// # Errors
    ///
    /// Returns `Refused` for any reply but 3xx.
    pub fn reply(&mut self, reply: &Reply, server: &mut ServerState) -> Result<(), TransferFault> {
        if reply.code().severity() != Severity::Intermediate {
            return Err(TransferFault::Refused);
        }
        if let Some(range) = self.next(server) {
            server.range = range;
            self.is_sent = range == self.wanted;
        }
        Ok(())
    }

    /// Returns the part that the next command selects.
    fn next(&self, server: &ServerState) -> Option<FileRange> {
        let whole = FileRange::default();
        match (server.range, self.wanted) {
            _ if self.is_sent => None,
            (now, wanted) if now == whole && wanted == whole => None,
            // `RANG` does not reset `REST`, and `REST` does not reset `RANG`.
            (FileRange::Between { .. }, FileRange::From(_)) => Some(whole),
            (FileRange::From(_), FileRange::Between { .. }) if server.range != whole => Some(whole),
            (_, wanted) => Some(wanted),
        }
    }
}

fn rang(first: u64, last: u64) -> Command {
    Command::Known(Verb::Rang, format!("{first} {last}").into_bytes())
}

/// The address at which a server listens, from a 227 or 229 reply.
///
/// ```
/// use ftp_proto::{AddressRule, PassiveAddress, Reply, ReplyCode};
///
/// let peer = "203.0.113.7:21".parse()?;
/// let reply = Reply::new(ReplyCode::PASSIVE, "Entering Passive Mode (10,0,0,5,195,84).");
/// let found = PassiveAddress::find(&reply, Some(peer), AddressRule::Peer)?;
/// assert_eq!(found.address, Some("203.0.113.7:50004".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct PassiveAddress {
    /// The port.
    pub port: u16,
    /// The address to connect to: `port` at the host of the control connection, or at the announced
    /// host if the rule chooses it. `None` if the server's address on the control connection is
    /// unknown.
    pub address: Option<SocketAddr>,
    /// The host that a 227 announces; `None` for a 229.
    pub announced: Option<Ipv4Addr>,
    /// The choice between the announced host and the host of the control connection; `None` if
    /// either is unknown.
    pub chosen: Option<ChosenHost>,
}

impl PassiveAddress {
    /// Finds the address in the reply to `EPSV` or `PASV`; a 227 or 229 is accepted for either
    /// command. `peer` is the server's address on the control connection.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ExtendedAddress::find_port`] for a 229, and those of
    /// [`HostPort::find`] for any other reply.
    pub fn find(
        reply: &Reply,
        peer: Option<SocketAddr>,
        rule: AddressRule,
    ) -> Result<Self, ParseError> {
        // Keeps the scope of a link-local address, which only this host knows.
        let at_peer = |port| {
            peer.map(|mut peer| {
                peer.set_port(port);
                peer
            })
        };
        if reply.code() == ReplyCode::EXTENDED_PASSIVE {
            let port = ExtendedAddress::find_port(reply.text())?;
            return Ok(Self { port, address: at_peer(port), announced: None, chosen: None });
        }
        let HostPort { host: announced, port } = HostPort::find(reply.text())?;
        let host = peer.map(|peer| peer.ip().to_canonical());
        let chosen = host.map(|host| rule.choose(announced.into(), host));
        let address = match chosen {
            Some(chosen) if chosen.reason != HostReason::Same && Some(chosen.host) != host => {
                Some(SocketAddr::new(chosen.host, port))
            }
            _ => at_peer(port),
        };
        Ok(Self { port, address, announced: Some(announced), chosen })
    }
}

/// The client's next step in the dialogue before a transfer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SetupStep {
    /// Send this command, and pass its final reply to [`reply`](crate::TransferSetup::reply).
    Send(Command),
    /// Send these commands in one write, and call
    /// [`sent_together`](crate::TransferSetup::sent_together).
    SendTogether(Vec<Command>),
    /// Wait for the final reply to this command, which was sent together with others, and pass it
    /// to [`reply`](crate::TransferSetup::reply).
    Await(Command),
    /// Listen for the server, and call [`listening`](crate::TransferSetup::listening). This
    /// command, `EPRT` or `PORT`, announces the address.
    Listen(Verb),
    /// Begin to connect to the server, and call [`connecting`](crate::TransferSetup::connecting).
    /// If you cannot begin, call [`data_failed`](crate::TransferSetup::data_failed) instead.
    Connect(PassiveAddress),
    /// Use the data connection of the last transfer, and call
    /// [`reusing`](crate::TransferSetup::reusing). If the connection has been closed, set
    /// [`ServerState::is_data_open`](crate::ServerState::is_data_open) to false instead.
    Reuse,
    /// Send the command of the transfer, and call [`sent`](crate::TransferSetup::sent).
    Transfer(Command),
    /// Wait for the replies to the command and for the data connection: see
    /// [`TransferStart`](crate::TransferStart).
    Start,
    /// Abort the transfer, and call [`again`](crate::TransferSetup::again): a command that was sent
    /// together with the transfer's command failed, or the data connection did. See
    /// [`TransferAbort`](crate::TransferAbort).
    Abort,
    /// Give up: the rules leave only this command, `PASV` or `PORT`, but the address is IPv6.
    NoWay(Verb),
}

/// The meaning of a reply in the dialogue before a transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SetupEvent {
    /// The dialogue continues.
    Continued,
    /// The server listens at this address.
    Found(PassiveAddress),
    /// `EPSV` failed. From now on, it is sent with this protocol as its argument.
    NamesProtocol(NetworkProtocol, SetupFault),
    /// `EPSV` or `EPRT` failed. From now on, this command, `PASV` or `PORT`, is sent instead.
    FallsBack(Verb, SetupFault),
}

/// Why the dialogue before a transfer failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupFault {
    /// The server refused the command.
    #[error("the server refused the command")]
    Refused,
    /// A 2xx reply to `EPSV` or `PASV` contains no valid port.
    #[error(transparent)]
    Unreadable(ParseError),
    /// A 229 names a protocol other than that of the control connection.
    #[error("the 229 reply names a protocol other than the control connection's")]
    OtherProtocol,
    /// No command waits for a reply now.
    #[error("a reply that no command waits for")]
    OutOfStep,
}

/// Why `EPSV` or `PASV` failed.
struct Refusal {
    fault: SetupFault,
    /// Whether the server denies the command, or its reply is unusable; after `EPSV`, `PASV` may then
    /// work.
    is_denied: bool,
    /// The argument with which `EPSV` may work; `None` if the server named none that fits.
    wants_protocol: Option<NetworkProtocol>,
}

fn read_passive(
    rules: &DataRules,
    command: &Command,
    reply: &Reply,
) -> Result<PassiveAddress, Refusal> {
    let may_name_it = *command == Command::Epsv(EpsvArgument::Default);
    let nameable = rules.peer.map(|peer| NetworkProtocol::of(peer.ip())).filter(|_| may_name_it);
    if reply.code().severity() != Severity::Completion {
        let usable = usable_protocols(reply).unwrap_or_default();
        return Err(Refusal {
            fault: SetupFault::Refused,
            is_denied: is_denied(reply),
            wants_protocol: nameable.filter(|protocol| usable.contains(*protocol)),
        });
    }
    let is_229 = reply.code() == ReplyCode::EXTENDED_PASSIVE;
    let named = ExtendedAddress::find_protocol(reply.text()).filter(|_| is_229);
    if nameable.is_some() && named.is_some() && named != nameable {
        let fault = SetupFault::OtherProtocol;
        return Err(Refusal { fault, is_denied: true, wants_protocol: nameable });
    }
    PassiveAddress::find(reply, rules.peer, rules.passive_address).map_err(|error| Refusal {
        fault: SetupFault::Unreadable(error),
        is_denied: true,
        wants_protocol: None,
    })
}

/// Returns whether the server refuses `EPSV` or `EPRT` for good: it does not know the command, or its
/// configuration denies it (vsftpd answers 550). 503 and 530 are about the session, 504 about the
/// address.
fn is_denied(reply: &Reply) -> bool {
    let others =
        [ReplyCode::BAD_SEQUENCE, ReplyCode::PARAMETER_NOT_IMPLEMENTED, ReplyCode::NOT_LOGGED_IN];
    reply.code().severity() == Severity::Permanent && !others.contains(&reply.code())
}

/// Returns the protocols that a 522 reply lists; `None` without a list or for any other reply.
fn usable_protocols(reply: &Reply) -> Option<NetworkProtocols> {
    let is_522 = reply.code() == ReplyCode::PROTOCOL_NOT_SUPPORTED;
    NetworkProtocols::find(reply.text()).filter(|_| is_522)
}

/// The beginning of a transfer: takes the replies and the state of the data connection, and returns
/// the client's next step.
///
/// ```
/// use ftp_proto::{Reply, ReplyCode, StartStep, TransferFault, TransferStart, Verb};
///
/// let mut start = TransferStart::new(Verb::Retr);
/// assert_eq!(start.step(), StartStep::AwaitReplyOrData);
/// start.data_opened();
/// assert_eq!(start.step(), StartStep::AwaitReply);
/// start.reply(&Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, "Here it comes."))?;
/// assert_eq!(start.step(), StartStep::MoveData);
/// # Ok::<(), TransferFault>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TransferStart {
    verb: Verb,
    first: Option<Reply>,
    last: Option<Reply>,
    data: DataStart,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DataStart {
    Pending,
    Open,
    Missing,
    Failed,
}

/// The client's next step between the command of a transfer and its first byte.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StartStep {
    /// Wait for a reply or the data connection, whichever comes first.
    AwaitReplyOrData,
    /// Wait for a reply: the data connection is open.
    AwaitReply,
    /// Wait for the data connection: the server has begun and ended the transfer, so the connection
    /// must still arrive.
    AwaitData,
    /// Take the data connection if it is open by now. The server has ended the transfer without a
    /// 1xx reply, and may not have needed a data connection.
    TakeData,
    /// Move data, or find its end.
    MoveData,
    /// Stop the transfer (`ABOR`): it has no data connection. Another way to open a connection may
    /// work.
    Stop,
}

impl TransferStart {
    /// Returns the state after the command was sent and a data connection was agreed on.
    pub const fn new(verb: Verb) -> Self {
        Self { verb, first: None, last: None, data: DataStart::Pending }
    }

    /// Takes a reply to the command.
    ///
    /// # Errors
    ///
    /// Returns `Refused` for a 3xx, 4xx or 5xx. Returns `OutOfStep` for any 2xx except 226 and 250
    /// if no 1xx came before it: such a reply answers another command.
    pub fn reply(&mut self, reply: &Reply) -> Result<(), TransferFault> {
        match reply.code().severity() {
            Severity::Preliminary => {
                self.first.get_or_insert_with(|| reply.clone());
            }
            Severity::Completion => {
                if self.first.is_none() {
                    TransferEvidence::new(self.verb).with_reply(reply.code()).confirmation()?;
                }
                self.last = Some(reply.clone());
            }
            _ => return Err(TransferFault::Refused),
        }
        Ok(())
    }

    /// Records that the data connection is open.
    pub const fn data_opened(&mut self) {
        self.data = DataStart::Open;
    }

    /// Records that the server ended the transfer without a data connection.
    pub const fn data_missing(&mut self) {
        self.data = DataStart::Missing;
    }

    /// Records that the data connection cannot be opened, or could not be opened in time.
    pub const fn data_failed(&mut self) {
        self.data = DataStart::Failed;
    }

    /// Returns the next step.
    #[must_use]
    pub const fn step(&self) -> StartStep {
        match (self.data, self.has_begun(), self.last.is_some()) {
            (DataStart::Failed, ..) => StartStep::Stop,
            (DataStart::Pending, _, false) => StartStep::AwaitReplyOrData,
            (DataStart::Pending, true, true) => StartStep::AwaitData,
            (DataStart::Pending, false, true) => StartStep::TakeData,
            (DataStart::Open | DataStart::Missing, false, false) => StartStep::AwaitReply,
            (DataStart::Open | DataStart::Missing, ..) => StartStep::MoveData,
        }
    }

    /// Returns whether a 1xx arrived.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.first.is_some()
    }

    /// Returns the first reply, and the final one if it has arrived; `None` without a reply. If
    /// there was no 1xx, both are the same.
    #[must_use]
    pub fn into_replies(self) -> Option<(Reply, Option<Reply>)> {
        let Self { first, last, .. } = self;
        first.or_else(|| last.clone()).map(|first| (first, last))
    }
}

#[cfg(test)]
mod tests;
