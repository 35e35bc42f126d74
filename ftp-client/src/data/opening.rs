//! A data connection that is being opened, by the client or the server.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use ftp_proto::{Command, EpsvArgument, Verb};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use socket2::Socket;

use crate::error::{AnnouncedHost, DataAttempt, Error};
use crate::net::stream::Stream;
use crate::net::wait::is_ready;
use crate::trace;

/// A data connection that was agreed on and is not open yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) agreed: Agreed,
    /// The opening, or the error if the opening could not even begin.
    pub(crate) opening: Result<Opening, Error>,
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
pub(super) fn accept(listener: &TcpListener, server: Option<IpAddr>) -> io::Result<Option<Stream>> {
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
