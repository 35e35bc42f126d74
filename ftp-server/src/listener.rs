//! The accept loop: no error ends it, only the server's own shutdown does.

use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::complaints::Complaints;
use crate::context::{Context, Current};
use crate::observer::{Event, EventKind, Refusal};
use crate::{limits, session, threads};

/// How long the loop rests when the system is out of something.
const REST: Duration = Duration::from_millis(50);

/// How many connections wait in the kernel to be accepted.
const BACKLOG: i32 = 1_024;

/// Makes the listening socket. What is set on it here, accepted sockets inherit, so that a
/// session costs no call for it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 clients as well, as their mapped addresses.
        socket.set_only_v6(false)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    set_keepalive(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Keepalive after 60 s, each 10 s, six times; no unacknowledged byte for more than 120 s.
pub(crate) fn set_keepalive(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(120)))
}

/// Starts accepting in a thread of its own, which ends when the listening socket is shut down.
pub(crate) fn start(
    listener: Arc<TcpListener>,
    greeting: Greeting,
    current: Arc<Current>,
) -> io::Result<JoinHandle<()>> {
    let accept = move || accept_all(&listener, greeting, &current);
    threads::start(Some("ftp-accept"), limits::SESSION_STACK, accept)
}

/// What comes first on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Greeting {
    /// The 220, in clear.
    Clear,
    /// A TLS handshake.
    Tls,
}

fn accept_all(listener: &TcpListener, greeting: Greeting, current: &Arc<Current>) {
    let mut spare = open_spare();
    let mut complaints = Complaints::default();
    while !current.get().is_draining() {
        let error = match listener.accept() {
            Ok((stream, peer)) => {
                receive(stream, peer, greeting, current, &mut complaints);
                continue;
            }
            Err(error) => error,
        };
        if current.get().is_draining() {
            break;
        }
        match Trouble::of(&error) {
            Trouble::Passing => {}
            Trouble::Descriptors => {
                complaints.log("out of descriptors", &error);
                // With the spare given up, one client can be told, rather than left to wait.
                if spare.take().is_some() {
                    if let Ok((stream, peer)) = listener.accept() {
                        // The kernel says so before anybody comes: by now there may be enough.
                        spare = open_spare();
                        match spare {
                            Some(_) => receive(stream, peer, greeting, current, &mut complaints),
                            None => {
                                let context = current.get();
                                turn_away(&stream, peer, greeting, &context, Refusal::Resources);
                            }
                        }
                    }
                } else {
                    thread::sleep(REST);
                }
                if spare.is_none() {
                    spare = open_spare();
                }
            }
            Trouble::Lasting(what) => {
                complaints.log(what, &error);
                thread::sleep(REST);
            }
        }
    }
}

/// What a failed accept(2) says about the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    /// Nothing: it was about one connection that has gone.
    Passing,
    /// This process, or the system, has no descriptor left.
    Descriptors,
    /// It may fail as well, and for a while. What to call it in the log.
    Lasting(&'static str),
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::INTR | Errno::CONNABORTED | Errno::AGAIN) => Self::Passing,
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            Some(Errno::NOBUFS | Errno::NOMEM) => Self::Lasting("out of memory"),
            // What is left is a network that comes and goes, a firewall's EPERM, or nothing
            // that accept(2) documents; the next connection may well be good.
            _ => Self::Lasting("cannot accept"),
        }
    }
}

/// A descriptor in reserve for the day when there is none left.
fn open_spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Gives a connection its thread, or a 421.
fn receive(
    stream: TcpStream,
    peer: SocketAddr,
    greeting: Greeting,
    current: &Arc<Current>,
    complaints: &mut Complaints,
) {
    let context = current.get();
    if let Some(refusal) = context.objection(peer.ip()) {
        return turn_away(&stream, peer, greeting, &context, refusal);
    }
    let Some(permit) = context.admission.admit(peer.ip()) else {
        return turn_away(&stream, peer, greeting, &context, Refusal::Full);
    };
    let registration = context.register.enter(stream, peer);
    permit.is_for(&registration.line);
    let line = Arc::clone(&registration.line);
    let session_current = Arc::clone(current);
    let session = move || session::run(registration, peer, greeting, &session_current, permit);
    if let Err(error) = threads::start(None, limits::SESSION_STACK, session) {
        complaints.log("no thread for a session", &error);
        turn_away(&line.stream, peer, greeting, &context, Refusal::Resources);
    }
}

/// Refuses a connection, and tells of it. Where TLS comes first there is nobody yet who would
/// understand a reply.
fn turn_away(
    stream: &TcpStream,
    peer: SocketAddr,
    greeting: Greeting,
    context: &Context,
    refusal: Refusal,
) {
    if greeting == Greeting::Clear {
        refuse(stream, refusal);
    }
    let (peer, kind) = (session::canonical(peer), EventKind::Refused(refusal));
    context.observers.tell_unharmed(&Event::of_peer(peer, kind));
}

/// Says 421 on a connection that is then dropped.
pub(crate) fn refuse(mut stream: &TcpStream, refusal: Refusal) {
    let reply = refusal.reply().encode();
    // A new socket has room for one line; a peer that is gone already needs no answer. Only the
    // sending side is closed here, and the rest by dropping it.
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(&reply);
    let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
}

/// Insists that a socket has what [`set_keepalive`] sets.
#[cfg(test)]
pub(crate) fn expect_keepalive(socket: &impl std::os::fd::AsFd) {
    let socket = SockRef::from(socket);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 6);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_accept_ends_the_loop_ho_04_ho_05() {
        for (errno, want) in [
            (Errno::CONNABORTED, Trouble::Passing),
            (Errno::INTR, Trouble::Passing),
            (Errno::AGAIN, Trouble::Passing),
            (Errno::MFILE, Trouble::Descriptors),
            (Errno::NFILE, Trouble::Descriptors),
            (Errno::NOBUFS, Trouble::Lasting("out of memory")),
            (Errno::NOMEM, Trouble::Lasting("out of memory")),
            (Errno::PROTO, Trouble::Lasting("cannot accept")),
            (Errno::NETDOWN, Trouble::Lasting("cannot accept")),
            (Errno::PERM, Trouble::Lasting("cannot accept")),
            (Errno::BADF, Trouble::Lasting("cannot accept")),
        ] {
            assert_eq!(Trouble::of(&errno.into()), want, "{errno}");
        }
    }

    #[test]
    fn sockets_notice_a_dead_peer_st_14_fr_23_fr_31_hf_11() {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        expect_keepalive(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).out_of_band_inline().unwrap());
    }
}
