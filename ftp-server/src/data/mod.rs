//! The data connection: how it comes about, and what moves over it.

mod active;
mod announce;
mod buffers;
mod outgoing;
mod passive;
mod ports;
mod transfer;

pub(crate) use announce::Announcer;
pub(crate) use buffers::Buffers;
pub(crate) use outgoing::{AsciiOutgoing, ImageOutgoing, ListingOutgoing, Outgoing};
pub(crate) use passive::PassiveListener;
pub(crate) use ports::PassivePorts;
pub(crate) use transfer::{Ended, Limits, receive, send};

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use ftp_proto::ProtectionLevel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::limits;
use crate::session::Session;
use crate::tls::Connection;
use crate::tls::{Resumptions, SessionReuse};

/// How the next data connection comes about.
pub(crate) enum DataChannel {
    /// The client connects here (`PASV`, `EPSV`).
    Passive(PassiveListener),
    /// The server connects there (`PORT`, `EPRT`).
    Active(SocketAddr),
}

/// What a transfer has to look at besides its data.
pub(crate) trait Monitor {
    /// What becomes readable when there is something to look at; `None` if it has to be looked
    /// at from time to time instead.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Looks, without waiting. `moved` is how many bytes the transfer has moved so far.
    fn look(&mut self, moved: u64) -> Option<Interruption>;
}

/// Why a transfer has to end before its data does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interruption {
    /// The user asked for it.
    Abort,
    /// The control connection ended, or the server does.
    ControlLost,
}

/// Why there is no data connection.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It was not wanted any more.
    Interrupted(Interruption),
    /// It did not come about: 425.
    Failed(io::Error),
    /// It could not be protected: 522.
    Unprotected(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl DataChannel {
    /// Makes the data connection of a session, in non-blocking mode. Connections of strangers
    /// are turned away (RFC 2577 §3).
    pub(crate) fn open(
        self,
        session: &Session,
        monitor: &mut dyn Monitor,
    ) -> Result<TcpStream, OpenError> {
        let config = &session.context.config;
        let deadline = deadline(Instant::now(), config.data_connect);
        match self {
            Self::Passive(listener) => listener.accept(session, deadline, monitor),
            Self::Active(address) => {
                let from_port_below = config.active_source_port;
                active::connect(session.local, address, from_port_below, deadline, monitor)
            }
        }
    }
}

/// Has TLS on a data connection, as the session wants it (RFC 4217 §7: this side is the TLS server,
/// whoever has connected).
pub(crate) fn protect(
    stream: &TcpStream,
    session: &Session,
    is_upload: bool,
    monitor: &mut dyn Monitor,
) -> Result<Option<Connection>, OpenError> {
    let Some(secured) = &session.secured else { return Ok(None) };
    if session.protection != ProtectionLevel::Private {
        return Ok(None);
    }
    let unprotected = |error| match error {
        OpenError::Failed(error) => OpenError::Unprotected(error),
        other => other,
    };
    let deadline = deadline(Instant::now(), session.context.config.tls_handshake);
    let handshake = secured.protect_data(is_upload).map_err(OpenError::Unprotected)?;
    let mut until_ready = |flags| wait(fd(stream), flags, deadline, 0, monitor);
    let connection =
        handshake.carry_out(stream, deadline, &mut until_ready).map_err(unprotected)?;
    let is_resumed = connection.info().is_some_and(|info| info.resumed);
    let counts = session.context.register.resumed.count(is_resumed);
    if is_resumed {
        return Ok(Some(connection));
    }
    match secured.acceptor.reuse() {
        SessionReuse::Off | SessionReuse::Observe => {}
        SessionReuse::Prefer => {
            let Resumptions { resumed, missed } = counts;
            let so_far = format!("{missed} have so far, {resumed} have not");
            session.warn("a data connection has a TLS session of its own", &so_far);
        }
        SessionReuse::Require => {
            let why = "the TLS session is none of the control connection";
            return Err(OpenError::Unprotected(io::Error::other(why)));
        }
    }
    Ok(Some(connection))
}

/// When `limit` has passed since `start`. One that no clock can show is as good as none, which is
/// what it is asked for.
pub(crate) fn deadline(start: Instant, limit: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
    start + limit.min(YEARS)
}

/// Waits until `descriptor` is ready for `flags`, `deadline` passes (`TimedOut`), or `monitor`
/// finds that it is over.
fn wait(
    descriptor: BorrowedFd<'_>,
    flags: PollFlags,
    deadline: Instant,
    moved: u64,
    monitor: &mut dyn Monitor,
) -> Result<(), OpenError> {
    loop {
        if let Some(interruption) = monitor.look(moved) {
            return Err(OpenError::Interrupted(interruption));
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(OpenError::Failed(io::ErrorKind::TimedOut.into()));
        }
        let data = PollFd::new(&descriptor, flags);
        let polled = if let Some(control) = monitor.descriptor() {
            let mut both = [data, PollFd::new(&control, PollFlags::IN)];
            let polled = poll(&mut both, timespec(rest).as_ref());
            polled.map(|_| both.first().is_some_and(|data| !data.revents().is_empty()))
        } else {
            let mut one = [data];
            let polled = poll(&mut one, timespec(rest.min(limits::TICK)).as_ref());
            polled.map(|count| count > 0)
        };
        match polled {
            Ok(true) => return Ok(()),
            Ok(false) | Err(Errno::INTR) => {}
            Err(error) => return Err(OpenError::Failed(error.into())),
        }
    }
}

/// Waits until `until`, or until `monitor` finds that it is over.
pub(crate) fn pause(
    until: Instant,
    moved: u64,
    monitor: &mut dyn Monitor,
) -> Result<(), Interruption> {
    loop {
        if let Some(interruption) = monitor.look(moved) {
            return Err(interruption);
        }
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(());
        }
        let polled = match monitor.descriptor() {
            Some(control) => {
                poll(&mut [PollFd::new(&control, PollFlags::IN)], timespec(rest).as_ref())
            }
            None => poll(&mut [], timespec(rest.min(limits::TICK)).as_ref()),
        };
        match polled {
            Ok(_) | Err(Errno::INTR) => {}
            // Without the means to wait, there is no use in asking again.
            Err(_) => return Ok(()),
        }
    }
}

/// A duration as poll(2) takes it; `None`, for ever, for one that does not fit.
fn timespec(duration: Duration) -> Option<Timespec> {
    Timespec::try_from(duration).ok()
}

/// Prepares a connected data socket: the pump never blocks on it.
fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// The descriptor of a socket, for [`wait`].
fn fd(socket: &impl AsFd) -> BorrowedFd<'_> {
    socket.as_fd()
}
