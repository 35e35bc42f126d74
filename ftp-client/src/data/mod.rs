//! Data connections: who asks whom to listen, and the wait for the connection while the control
//! connection may say that none will come (RFC 959 §3.2, RFC 2428).

mod active;
mod passive;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ftp_proto::{EpsvArgument, NetworkProtocol, NetworkProtocols, Reply, ReplyCode, Verb};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};

use crate::config::{Config, Extended, Mode};
use crate::control::ControlConnection;
use crate::error::{AnnouncedHost, DataAttempt, Error};
use crate::net::stream::Stream;
use crate::net::wait::is_ready;
use crate::trace;

/// Ports below this belong to services of other kinds; a server that names one wants somebody to
/// talk to something else (CL-35).
pub(crate) const FIRST_FREE_PORT: u16 = 1_024;

/// What is known about the server's ways to data connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ways {
    /// `EPSV` does not work here: refused, unreadable, or its port could not be reached where
    /// that of `PASV` could.
    pub(crate) no_epsv: bool,
    /// `EPRT` was refused.
    pub(crate) no_eprt: bool,
    /// The server wants to hear which protocol `EPSV` is about.
    pub(crate) epsv_protocol: Option<NetworkProtocol>,
    /// The server took `EPSV ALL`.
    pub(crate) all_said: bool,
}

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
    epsv: EpsvArgument,
    /// Unknown if a connector opens it.
    address: Option<SocketAddr>,
    announced: Option<AnnouncedHost>,
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
    Connecting(socket2::Socket),
    /// By the caller's connector, which has done so.
    Connected(Stream),
    /// By the server: a socket that listens.
    Listening(std::net::TcpListener),
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
            Self::Connecting(socket) => passive::connected(socket).map(Advance::Open),
            Self::Connected(stream) => Ok(Advance::Open(stream)),
            Self::Listening(listener) => Ok(match active::accept(&listener, server)? {
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

/// Agrees with the server on a data connection. Ways that fail are added to `attempts`;
/// `epsv_failed` leaves `EPSV` out this time.
pub(crate) fn prepare(
    control: &mut ControlConnection,
    config: &Config,
    ways: &mut Ways,
    epsv_failed: bool,
    attempts: &mut Vec<DataAttempt>,
) -> Result<Prepared, Error> {
    match config.mode {
        Mode::Passive => passive::prepare(control, config, ways, epsv_failed, attempts),
        Mode::Active => active::prepare(control, config, ways, attempts),
    }
}

pub(crate) use passive::{ahead, prepare_ahead};

/// Of the command of RFC 2428 and that of RFC 959, the one to use now.
fn choose(extended: Extended, known_not_to_work: bool, pair: (Verb, Verb)) -> Verb {
    match extended {
        Extended::Always => pair.0,
        Extended::Never => pair.1,
        Extended::Auto if known_not_to_work => pair.1,
        Extended::Auto => pair.0,
    }
}

/// Whether the command of RFC 959 may be used where that of RFC 2428 failed.
pub(crate) fn may_fall_back(extended: Extended, control: &ControlConnection) -> bool {
    extended == Extended::Auto && is_ipv4(control)
}

/// Whether `PASV` and `PORT` can be used: they carry IPv4 addresses only. What a connector made of
/// them is its own matter.
fn is_ipv4(control: &ControlConnection) -> bool {
    control.addresses().is_none_or(|(_, peer)| peer.ip().to_canonical().is_ipv4())
}

/// Whether a reply says that the server does not know a command of RFC 2428 (CL-21, CL-22).
fn is_unknown(reply: &Reply) -> bool {
    [
        ReplyCode::UNKNOWN_COMMAND,
        ReplyCode::BAD_ARGUMENT,
        ReplyCode::NOT_IMPLEMENTED,
        ReplyCode::PROTOCOL_NOT_SUPPORTED,
    ]
    .contains(&reply.code())
}

/// The list in a 522 reply (CL-30). `None` for another reply, and for one without a list.
fn usable_protocols(reply: &Reply) -> Option<NetworkProtocols> {
    let is_522 = reply.code() == ReplyCode::PROTOCOL_NOT_SUPPORTED;
    let list = NetworkProtocols::find(reply.text()).filter(|_| is_522)?;
    trace::note(format_args!(
        "522: the server says that it can use {}",
        match (list.ipv4, list.ipv6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "nothing that is known here",
        }
    ));
    Some(list)
}

/// Ends the search for a way: with the one refusal that is not about the way, or with all.
fn give_up(attempts: &mut Vec<DataAttempt>) -> Error {
    match attempts.pop() {
        Some(last) if last.error.is_not_logged_in() => last.error,
        last => {
            attempts.extend(last);
            Error::DataConnection(std::mem::take(attempts))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_chosen_cl_20() {
        let pair = (Verb::Epsv, Verb::Pasv);
        for (extended, failed, want) in [
            (Extended::Auto, false, Verb::Epsv),
            (Extended::Auto, true, Verb::Pasv),
            (Extended::Always, true, Verb::Epsv),
            (Extended::Never, false, Verb::Pasv),
        ] {
            assert_eq!(choose(extended, failed, pair), want, "{extended:?} {failed}");
        }
    }

    #[test]
    fn what_means_unknown_cl_21() {
        for (code, want) in
            [(500, true), (501, true), (502, true), (522, true), (503, false), (421, false)]
        {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), "");
            assert_eq!(is_unknown(&reply), want, "{code}");
        }
    }
}
