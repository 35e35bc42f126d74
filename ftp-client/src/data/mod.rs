//! Data connections: opening one in passive or active mode (RFC 959 §3.2). ftp-proto's
//! `TransferSetup` decides which commands are sent for it.
//!
//! In passive mode, the connection goes to the host of the control connection, or to the host in a 227
//! if the caller's rule allows that.

pub(crate) mod active;
pub(crate) mod coding;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use ftp_proto::{Command, EpsvArgument, HostReason, PassiveAddress, Verb};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use socket2::Socket;

use crate::config::Config;
use crate::control::ControlConnection;
use crate::error::{AnnouncedHost, DataAttempt, Error, Phase};
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
    /// Whether the server listens at another port than for the transfer before, if there was one.
    pub(crate) is_other_port: bool,
}

/// The agreement with the server.
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

/// A data connection that is being opened.
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

    /// Returns whether [`advance`](Self::advance) would make progress now.
    pub(crate) fn is_ready(&self) -> Result<bool, Error> {
        let (fd, interest) = self.interest();
        is_ready(fd, interest)
    }

    /// Returns whether the client opens the connection.
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
                Some(stream) => Advance::Open(stream),
                None => Advance::Still(Self::Listening(listener)),
            }),
        }
    }
}

/// The result of advancing an [`Opening`].
#[derive(Debug)]
pub(crate) enum Advance {
    /// The connection is open.
    Open(Stream),
    /// The opening needs another wait.
    Still(Opening),
}

/// Accepts a connection from the server. Closes any other connection, and returns `None`.
fn accept(listener: &TcpListener, server: Option<IpAddr>) -> io::Result<Option<Stream>> {
    let server = server.map(|server| server.to_canonical());
    match listener.accept() {
        Ok((socket, from)) if Some(from.ip().to_canonical()) == server => {
            socket.set_nonblocking(true)?;
            Ok(Some(Stream::new(socket)))
        }
        Ok((_closed, from)) => {
            trace::note(format_args!(
                "closed a data connection from {from}, which is not the server"
            ));
            Ok(None)
        }
        // The connection was closed before it was accepted.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
            ) =>
        {
            Ok(None)
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
        return Err(Error::Unsupported("a data port below 1024"));
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
            dial::begin(address, config.bind).map(Opening::Connecting).map_err(Error::Io)
        }
        (None, None) => {
            Err(Error::Unsupported("a data connection to a server whose address is unknown"))
        }
    }
}
