//! A data connection that is being opened, by us or by the server, until it is there.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use ftp_proto::{EpsvArgument, Verb};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use socket2::Socket;

use crate::error::{AnnouncedHost, DataAttempt, Error};
use crate::net::stream::Stream;
use crate::net::wait::is_ready;
use crate::trace;

/// A data connection that was agreed on and is not there yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) agreed: Agreed,
    /// An error if it could not even be begun.
    pub(crate) opening: Result<Opening, Error>,
}

/// What was agreed on with the server.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) way: Verb,
    pub(super) epsv: EpsvArgument,
    /// Unknown if a connector opens it.
    pub(super) address: Option<SocketAddr>,
    pub(super) announced: Option<AnnouncedHost>,
}

impl Agreed {
    /// What is told when nothing came of it.
    pub(crate) fn failed(self, error: Error) -> DataAttempt {
        let Self { way, epsv, address, announced } = self;
        DataAttempt { way, epsv, address, announced, error }
    }
}

/// A data connection that is being opened.
#[derive(Debug)]
pub(crate) enum Opening {
    /// By us: a connect that has not ended.
    Connecting(Socket),
    /// By the caller's connector, which has done so.
    Connected(Stream),
    /// By the server: a socket that listens.
    Listening(TcpListener),
}

impl Opening {
    /// What to wait for before [`advance`](Self::advance).
    pub(crate) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::Connecting(socket) => (socket.as_fd(), PollFlags::OUT),
            Self::Connected(stream) => (stream.as_fd(), PollFlags::OUT),
            Self::Listening(listener) => (listener.as_fd(), PollFlags::IN),
        }
    }

    /// Whether there is something for [`advance`](Self::advance) now.
    pub(crate) fn is_ready(&self) -> Result<bool, Error> {
        let (fd, interest) = self.interest();
        is_ready(fd, interest)
    }

    /// Whether the client opens it.
    pub(crate) const fn is_passive(&self) -> bool {
        matches!(self, Self::Connecting(_) | Self::Connected(_))
    }

    /// Makes closing what we open look like a failure to the server, as
    /// [`Stream::reset_when_closed`]. An upload that ends before the server's first reply, by a
    /// signal or for its silence, has sent nothing, and the server must not take that for the whole
    /// file; nor the part that it has when the process is killed.
    pub(crate) fn reset_when_closed(&self) {
        match self {
            Self::Connecting(socket) => {
                // Fails only on a socket that is beyond sending anything.
                let _ = socket.set_linger(Some(Duration::ZERO));
            }
            Self::Connected(stream) => stream.reset_when_closed(),
            // What is not accepted is reset when the listener is closed.
            Self::Listening(_) => {}
        }
    }

    /// Takes the connection once the wait says that there is something.
    /// `server` is who may connect.
    pub(crate) fn advance(self, server: Option<IpAddr>) -> io::Result<Advance> {
        match self {
            Self::Connecting(socket) => connected(socket).map(Advance::Open),
            Self::Connected(stream) => Ok(Advance::Open(stream)),
            Self::Listening(listener) => Ok(match accept(&listener, server)? {
                Some(stream) => Advance::Open(stream),
                None => Advance::Still(Self::Listening(listener)),
            }),
        }
    }
}

/// What became of an [`Opening`].
#[derive(Debug)]
pub(crate) enum Advance {
    /// It is there.
    Open(Stream),
    /// It is to be waited for again.
    Still(Opening),
}

/// Takes a connection, if it is from the server.
pub(super) fn accept(listener: &TcpListener, server: Option<IpAddr>) -> io::Result<Option<Stream>> {
    let server = server.map(|server| server.to_canonical());
    match listener.accept() {
        Ok((socket, from)) if Some(from.ip().to_canonical()) == server => {
            Stream::new(socket).map(Some)
        }
        Ok((_closed, from)) => {
            trace::note(format_args!("closed a data connection from {from}: not the server"));
            Ok(None)
        }
        // It was there and is gone again.
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

/// Takes the socket once it can be written to: connected, or failed.
fn connected(socket: Socket) -> io::Result<Stream> {
    match socket.take_error()? {
        // Refused is another word: this was connected, and what came then is the transfer's.
        Some(error) if error.kind() == ErrorKind::ConnectionReset => {
            return Ok(Stream::broken(socket.into(), error));
        }
        Some(error) => return Err(error),
        None => {}
    }
    Stream::new(socket.into())
}
