//! Data connections: opening one in passive or active mode (RFC 959 §3.2). ftp-proto's
//! `TransferSetup` decides which commands are sent for it.
//!
//! In passive mode, the connection goes to the host of the control connection, or to the host in a 227
//! if the caller's rule allows that.
//!
//! In mode B, a transfer leaves an open connection to the next one ([`KeptConnection`]).
//! [`DownloadPlan`] has the transfers that a caller has named for it, and the commands that were sent
//! ahead.

pub(crate) mod active;
pub(crate) mod coding;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use ftp_proto::{Command, EpsvArgument, HostReason, PassiveAddress, Pathname, Verb};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use socket2::Socket;

use self::coding::Coding;
use crate::config::Config;
use crate::control::{ControlConnection, mdtm};
use crate::error::{AnnouncedHost, DataAttempt, Error, Phase, Unsupported};
use crate::facts::ServerFacts;
use crate::net::wait::is_ready;
use crate::net::{Server, Stream, dial};
use crate::trace;

/// A data connection that was agreed on and is not open yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) agreed: Agreed,
    /// The opening, or the error if the opening could not even begin.
    pub(crate) opening: Result<Opening, Error>,
    /// Whether the server has begun to listen before the client needed it. Its port may be closed
    /// by now.
    pub(crate) is_early: bool,
}

#[derive(Debug)]
pub(crate) struct Agreed {
    way: Verb,
    epsv: EpsvArgument,
    /// The address of the data connection; `None` if a proxy or a connector opens the connection.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) announced: Option<AnnouncedHost>,
}

impl Agreed {
    /// Returns the agreement that `command` made: `PASV`, `EPSV`, `PORT` or `EPRT`.
    pub(crate) fn by(command: &Command) -> Self {
        let epsv = match command {
            Command::Epsv(epsv) => *epsv,
            _ => EpsvArgument::Default,
        };
        Self { way: command.verb(), epsv, address: None, announced: None }
    }

    /// Returns the attempt to report if the connection fails.
    pub(crate) fn failed(self, error: Error) -> DataAttempt {
        let Self { way, epsv, address, announced } = self;
        DataAttempt { way, epsv, address, announced, error }
    }
}

#[derive(Debug)]
pub(crate) enum Opening {
    /// By the client: a connect in progress.
    Connecting(Socket),
    /// By a proxy or the caller's connector, which has finished.
    Connected(Stream),
    /// By the server: a listening socket.
    Listening(TcpListener),
}

impl Opening {
    /// Returns what to wait for before [`advance`](Self::advance).
    pub(crate) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::Connecting(socket) => (socket.as_fd(), PollFlags::OUT),
            Self::Connected(stream) => (stream.as_fd(), PollFlags::OUT),
            Self::Listening(listener) => (listener.as_fd(), PollFlags::IN),
        }
    }

    pub(crate) fn is_ready(&self) -> Result<bool, Error> {
        let (fd, interest) = self.interest();
        is_ready(fd, interest)
    }

    pub(crate) const fn is_passive(&self) -> bool {
        matches!(self, Self::Connecting(_) | Self::Connected(_))
    }

    /// Makes closing the socket look like a failure to the server, as [`Stream::reset_when_closed`]
    /// does. An upload that ends before the server's first reply, or when the process is killed,
    /// must not be taken for a whole file.
    pub(crate) fn reset_when_closed(&self) {
        match self {
            Self::Connecting(socket) => {
                // Fails only on a socket that can no longer send.
                let _ = socket.set_linger(Some(Duration::ZERO));
            }
            Self::Connected(stream) => stream.reset_when_closed(),
            // Connections that were not accepted are reset when the listener closes.
            Self::Listening(_) => {}
        }
    }

    /// Takes the connection once the socket is ready. `server` is the only host that may connect.
    pub(crate) fn advance(self, server: Option<IpAddr>) -> io::Result<Advance> {
        match self {
            Self::Connecting(socket) => Stream::connected(socket).map(Advance::Open),
            Self::Connected(stream) => Ok(Advance::Open(stream)),
            Self::Listening(listener) => Ok(match accept(&listener, server)? {
                Ok(stream) => Advance::Open(stream),
                Err(stranger) => Advance::Still(Self::Listening(listener), stranger),
            }),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Advance {
    Open(Stream),
    /// The opening needs another wait. Another host may have connected.
    Still(Opening, Option<IpAddr>),
}

/// Accepts a connection from the server. Closes any other connection, and returns its address.
fn accept(
    listener: &TcpListener,
    server: Option<IpAddr>,
) -> io::Result<Result<Stream, Option<IpAddr>>> {
    let server = server.map(|server| server.to_canonical());
    match listener.accept() {
        Ok((socket, from)) if Some(from.ip().to_canonical()) == server => {
            socket.set_nonblocking(true)?;
            Ok(Ok(Stream::new(socket)))
        }
        Ok((_closed, from)) => {
            trace::note(format_args!(
                "closed a data connection from {from}, which is not the server"
            ));
            Ok(Err(Some(from.ip().to_canonical())))
        }
        // The connection was closed before it was accepted.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
            ) =>
        {
            Ok(Err(None))
        }
        Err(error) => Err(error),
    }
}

/// The lowest port that a server may announce by default. Lower ports belong to other services, to
/// which a hostile server could direct the client.
pub(crate) const FIRST_FREE_PORT: u16 = 1_024;

/// Traces the address in a 227 or 229. `peer` is the server's address on the control connection.
pub(crate) fn explain(place: &PassiveAddress, peer: Option<SocketAddr>) {
    let port = place.port;
    let Some(announced) = place.announced else {
        match peer.map(|peer| peer.ip().to_canonical()) {
            Some(host) => trace::note(format_args!(
                "229: port {port} of {host}, the host of the control connection"
            )),
            None => {
                trace::note(format_args!("229: port {port} of the host of the control connection"));
            }
        }
        return;
    };
    let [high, low] = port.to_be_bytes();
    let tuple = format!("227: {announced} port {port} = {high}*256+{low}");
    match place.chosen {
        None => trace::note(format_args!(
            "{tuple}; the data connection goes to the host of the control connection"
        )),
        Some(chosen) if chosen.reason == HostReason::Same => trace::note(format_args!("{tuple}")),
        Some(chosen) => {
            trace::note(format_args!("{tuple}; {}: using {}", chosen.reason, chosen.host));
        }
    }
}

/// Returns the host that a 227 announces if it differs from `peer`.
pub(crate) fn announced(place: &PassiveAddress, peer: Option<SocketAddr>) -> Option<AnnouncedHost> {
    let reason = place.chosen?.reason;
    let announced = place.announced?.into();
    let peer = peer?.ip().to_canonical();
    (reason != HostReason::Same).then_some(AnnouncedHost { announced, peer, reason })
}

/// Begins to connect. Waits only if a proxy or a connector opens the connection.
pub(crate) fn begin(
    control: &ControlConnection,
    config: &Config,
    place: &PassiveAddress,
) -> Result<Opening, Error> {
    let port = place.port;
    config.counts.add_round_trip();
    if port < FIRST_FREE_PORT && !config.allow_low_ports {
        return Err(Error::Unsupported(Unsupported::LowPort));
    }
    if let Some(route) = config.route.as_ref().filter(|route| !route.proxy.is_ftp()) {
        let target = Server { port, ..control.server().clone() };
        let deadline = control.deadline(config.timeouts.data_connect, Phase::DataConnect);
        return route.data(&target, config, control.waiter(), deadline).map(Opening::Connected);
    }
    match (&config.connector, place.address) {
        (Some(connector), _) => {
            let target = Server { port, ..control.server().clone() };
            let deadline = control.deadline(config.timeouts.data_connect, Phase::DataConnect);
            dial::through(connector, &target, true, control.waiter(), deadline)
                .map(Opening::Connected)
        }
        (None, Some(address)) => {
            dial::begin(address, config.bind).map(Opening::Connecting).map_err(Error::io)
        }
        (None, None) => Err(Error::Unsupported(Unsupported::UnknownAddress)),
    }
}

/// An open data connection that no transfer uses.
#[derive(Debug)]
pub(crate) struct KeptConnection {
    pub(crate) data: Stream,
    pub(crate) coding: Box<Coding>,
}

impl KeptConnection {
    /// Returns whether the server has neither closed the connection nor sent anything unrequested.
    pub(crate) fn is_idle(&mut self) -> bool {
        !self.coding.has_unread() && matches!(self.data.read(&mut [0]), Ok(None))
    }

    /// Closes the connection properly, since no transfer is interrupted.
    pub(crate) fn close(mut self) {
        self.data.say_end();
        // This can fail only if the server has already closed the connection.
        let _ = self.data.end_writing();
    }
}

/// The maximum number of requested downloads that have not begun, and the number below which more
/// are requested.
const MOST: usize = 64;
const FEW: usize = 32;

/// The maximum length of the commands in one write, in bytes. A server that sends data does not
/// read all commands at once, so they must fit into the buffers of a connection.
const FLIGHT: usize = 4_096;

/// The number of times that commands sent ahead are dropped before the client stops sending ahead.
/// After that, each command waits for the reply to the one before.
const VAIN: u8 = 3;

/// The files that a connection moves next, and what it has seen of them.
#[derive(Debug, Default)]
pub(crate) struct MovesAhead {
    pub(crate) next: VecDeque<Vec<u8>>,
    pub(crate) seen: BTreeMap<Vec<u8>, SeenSource>,
}

/// The facts that the server reported of a file that is moved, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SeenSource {
    pub(crate) at: Instant,
    pub(crate) facts: ServerFacts,
}

#[derive(Debug, Default)]
pub(crate) struct DownloadPlan {
    /// The downloads that are not requested yet.
    planned: VecDeque<PlannedDownload>,
    /// The commands that were sent ahead, in the order of the replies.
    requested: VecDeque<Command>,
    /// The number of times that commands sent ahead had to be dropped.
    vain: u8,
}

#[derive(Debug, Eq, PartialEq)]
struct PlannedDownload {
    path: Pathname,
    with_time: bool,
}

impl PlannedDownload {
    fn commands(&self) -> impl Iterator<Item = Command> + use<> {
        let time = self.with_time.then(|| mdtm(self.path.clone()));
        time.into_iter().chain([Command::Retr(self.path.clone())])
    }

    fn is(&self, command: &Command, with_time: bool) -> bool {
        self.with_time == with_time && matches!(command, Command::Retr(path) if *path == self.path)
    }
}

impl DownloadPlan {
    /// The number of named downloads from which each flight is as long as it can be.
    pub(crate) const DOWNLOADS: usize = 2 * MOST;

    pub(crate) fn add(&mut self, path: Pathname, with_time: bool) {
        self.planned.push_back(PlannedDownload { path, with_time });
    }

    /// Returns the number of downloads that have not begun.
    pub(crate) fn len(&self) -> usize {
        self.planned.len() + self.downloads()
    }

    /// Returns the number of requested downloads that have not begun.
    fn downloads(&self) -> usize {
        self.requested.iter().filter(|command| command.verb() == Verb::Retr).count()
    }

    /// Returns whether any command that was sent ahead still awaits its reply.
    pub(crate) fn is_requested(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Returns whether a requested upload has not begun yet.
    pub(crate) fn is_upload_requested(&self) -> bool {
        self.requested.iter().any(|command| command.verb() == Verb::Stor)
    }

    /// Returns whether commands can be sent ahead now.
    pub(crate) fn is_open(&self) -> bool {
        self.vain < VAIN && self.planned.is_empty() && self.requested.is_empty()
    }

    pub(crate) fn request(&mut self, commands: impl IntoIterator<Item = Command>) {
        self.requested.extend(commands);
    }

    /// Returns whether `command` was sent ahead and its reply is the next one. If so, the caller
    /// reads that reply.
    pub(crate) fn take_requested(&mut self, command: &Command) -> bool {
        let is_next = self.requested.front() == Some(command);
        if is_next {
            self.requested.pop_front();
        }
        is_next
    }

    /// Returns whether this transfer was requested and is the next one that the server begins.
    pub(crate) fn has_requested(&self, command: &Command, with_time: bool) -> bool {
        let mut next = self.requested.iter();
        let has_time = !with_time || next.next().is_some_and(|next| next.verb() == Verb::Mdtm);
        has_time && next.next() == Some(command)
    }

    /// Records that the server begins the transfer that was requested first, and returns whether
    /// more downloads should be requested now.
    pub(crate) fn begin_requested(&mut self) -> bool {
        while self.requested.pop_front().is_some_and(|command| !command.verb().uses_data()) {}
        self.downloads() < FEW
    }

    /// Records the beginning of a transfer that was not requested ahead. If this is not the next
    /// planned download, drops all planned ones.
    pub(crate) fn begin(&mut self, command: &Command, with_time: bool) {
        match self.planned.front() {
            Some(next) if next.is(command, with_time) => drop(self.planned.pop_front()),
            _ => self.forget(),
        }
    }

    /// Drops the downloads that are not requested yet.
    pub(crate) fn forget(&mut self) {
        self.planned.clear();
    }

    /// Drops all planned and requested transfers after the server failed to perform the requested
    /// ones.
    pub(crate) fn give_up(&mut self) {
        self.requested.clear();
        self.planned.clear();
        self.vain = self.vain.saturating_add(1);
    }

    /// Returns the commands of the next downloads, and counts these downloads as requested. Stops
    /// before the first path for which `needs_more` returns true.
    pub(crate) fn next_flight(&mut self, needs_more: impl Fn(&[u8]) -> bool) -> Vec<Command> {
        let mut flight = Vec::new();
        let mut bytes = 0;
        while self.vain < VAIN
            && self.downloads() < MOST
            && let Some(next) = self.planned.front()
        {
            bytes += 2 * (next.path.as_bytes().len() + 8);
            if bytes > FLIGHT || needs_more(next.path.as_bytes()) {
                break;
            }
            flight.extend(next.commands());
            self.requested.extend(next.commands());
            self.planned.pop_front();
        }
        flight
    }
}
