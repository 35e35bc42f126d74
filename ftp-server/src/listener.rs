//! The accept loop: no error ends it, only the server's own shutdown does.

use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ftp_proto::{Reply, ReplyCode};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::context::Context;
use crate::{limits, session};

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
    socket.set_write_timeout(Some(limits::REPLY_WRITE))?;
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
    context: Arc<Context>,
) -> io::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("ftp-accept".to_owned());
    thread.stack_size(limits::SESSION_STACK).spawn(move || accept_all(&listener, &context))
}

fn accept_all(listener: &TcpListener, context: &Arc<Context>) {
    let mut spare = open_spare();
    let mut complaints = Complaints::default();
    while !context.is_draining() {
        let error = match listener.accept() {
            Ok((stream, peer)) => {
                receive(stream, peer, context, &mut complaints);
                continue;
            }
            Err(error) => error,
        };
        if context.is_draining() {
            break;
        }
        match Errno::from_io_error(&error) {
            Some(Errno::INTR | Errno::CONNABORTED | Errno::AGAIN) => {}
            Some(Errno::MFILE | Errno::NFILE) => {
                complaints.log("out of descriptors", &error);
                // With the spare given up, one client can be told, rather than left to wait.
                if spare.take().is_some() {
                    if let Ok((stream, peer)) = listener.accept() {
                        // The kernel says so before anybody comes: by now there may be enough.
                        spare = open_spare();
                        match spare {
                            Some(_) => receive(stream, peer, context, &mut complaints),
                            None => refuse(&stream),
                        }
                    }
                } else {
                    thread::sleep(REST);
                }
                if spare.is_none() {
                    spare = open_spare();
                }
            }
            Some(Errno::NOBUFS | Errno::NOMEM) => {
                complaints.log("out of memory", &error);
                thread::sleep(REST);
            }
            // What is left is a network that comes and goes, a firewall's EPERM, or nothing
            // that accept(2) documents; the next connection may well be good.
            _ => {
                complaints.log("cannot accept", &error);
                thread::sleep(REST);
            }
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
    context: &Arc<Context>,
    complaints: &mut Complaints,
) {
    let Some(permit) = context.admission.admit(peer.ip()) else {
        complaints.log("too many connections", &peer);
        return refuse(&stream);
    };
    let registration = context.register(stream);
    let line = Arc::clone(&registration.line);
    let thread = thread::Builder::new().stack_size(limits::SESSION_STACK);
    let session_context = Arc::clone(context);
    let spawned = thread.spawn(move || {
        let (_permit, registration) = (permit, registration);
        session::run(&registration.line, peer, &session_context);
    });
    if let Err(error) = spawned {
        complaints.log("no thread for a session", &error);
        refuse(&line.stream);
    }
}

/// Says 421 on a connection that is then dropped.
fn refuse(mut stream: &TcpStream) {
    let reply = Reply::new(ReplyCode::SERVICE_CLOSING, "Too many connections").encode();
    // A new socket has room for one line; a peer that is gone already needs no answer. Only the
    // sending side is closed here, and the rest by dropping it.
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(&reply);
    let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
}

/// At most one line a second of each kind, with a count: logs must not fill the disk when
/// something fails a thousand times a second.
#[derive(Default)]
struct Complaints {
    kinds: Vec<(&'static str, Instant, u64)>,
}

impl Complaints {
    fn log(&mut self, kind: &'static str, detail: &dyn std::fmt::Display) {
        let now = Instant::now();
        match self.kinds.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, last, unsaid)) if now - *last < Duration::from_secs(1) => *unsaid += 1,
            Some((_, last, unsaid)) => {
                log::warn!("{kind}: {detail} (and {unsaid} times before)");
                (*last, *unsaid) = (now, 0);
            }
            None => {
                log::warn!("{kind}: {detail}");
                self.kinds.push((kind, now, 0));
            }
        }
    }
}
