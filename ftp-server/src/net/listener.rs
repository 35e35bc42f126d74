//! Listening sockets, the accept loop, and accepted connections until they are sessions, each in its
//! own thread. The loop ends when the server closes its sockets; an error does not end it.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ftp_proto::ProxyHeader;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use socket2::SockRef;

use super::admission::Permit;
use super::socket::{self, Ends, is_ready};
use crate::context::{Context, Current};
use crate::log::{Complaints, Event, EventKind, Refusal};
use crate::service::register::{Registration, SessionHandle};
use crate::service::{self, Greeting};
use crate::{deadline, limits, threads};

/// Pause of the loop after an error that may repeat.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts a thread that accepts connections until the socket is closed.
pub(crate) fn start(
    socket: Arc<ListeningSocket>,
    greeting: Greeting,
    current: Arc<Current>,
) -> io::Result<JoinHandle<()>> {
    let accept = move || accept_all(&socket, greeting, &current);
    threads::start(Some("ftp-accept"), limits::SESSION_STACK, accept)
}

fn accept_all(socket: &ListeningSocket, greeting: Greeting, current: &Arc<Current>) {
    let mut spare = open_spare();
    let mut complaints = Complaints::default();
    while !current.get().register.is_closed() {
        let error = match socket.accept() {
            Ok((stream, peer)) => {
                receive(stream, peer, greeting, current, &mut complaints);
                spare = spare.or_else(open_spare);
                continue;
            }
            Err(error) => error,
        };
        if current.get().register.is_closed() {
            break;
        }
        match Trouble::of(&error) {
            Trouble::Passing => {}
            Trouble::Descriptors => {
                complaints.log("out of descriptors", &error);
                // Closing the spare descriptor lets the server accept one client and send it a 421.
                if spare.take().is_some() {
                    if let Ok((stream, peer)) = socket.accept() {
                        // accept(2) may have failed before this client connected. By now, there may
                        // be enough descriptors.
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
                    thread::sleep(PAUSE);
                }
                if spare.is_none() {
                    spare = open_spare();
                }
            }
            Trouble::Lasting(what) => {
                complaints.log(what, &error);
                thread::sleep(PAUSE);
            }
        }
    }
}

/// The effect of a failed accept(2) on the next calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    /// No effect: a signal interrupted the call, or the connection no longer exists.
    Passing,
    /// The process or the system has no descriptor left.
    Descriptors,
    /// The next calls may fail too. The text names the error in the log.
    Lasting(&'static str),
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::INTR | Errno::CONNABORTED | Errno::AGAIN) => Self::Passing,
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            Some(Errno::NOBUFS | Errno::NOMEM) => Self::Lasting("out of memory"),
            // Other errors come from a changing network or a firewall (EPERM), or are undocumented.
            // The next call may succeed.
            _ => Self::Lasting("cannot accept connections"),
        }
    }
}

/// Opens the reserve descriptor, which is closed to accept and refuse one client on EMFILE.
fn open_spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Starts the thread of a connection, or refuses the connection.
fn receive(
    stream: TcpStream,
    from: SocketAddr,
    greeting: Greeting,
    current: &Arc<Current>,
    complaints: &mut Complaints,
) {
    let context = current.get();
    let entry = if socket::is_in(&context.config.proxy_protocol, from.ip()) {
        // The connection's thread admits or refuses the client after it has read the header.
        context.before_headers.admit_balancer(from.ip()).map(AdmittedStep::Balancer)
    } else if let Some(refusal) = context.objection(from.ip()) {
        return turn_away(&stream, from, greeting, &context, refusal);
    } else {
        context.admission.admit(from.ip()).map(AdmittedStep::Client)
    };
    let Some(entry) = entry else {
        return turn_away(&stream, from, greeting, &context, Refusal::Full);
    };
    let registration = context.register.enter(stream, from);
    entry.is_for(&registration.line);
    let line = Arc::clone(&registration.line);
    let arrival = Arrival { registration, entry, from, greeting };
    let session_current = Arc::clone(current);
    let session = move || arrival.serve(&session_current);
    if let Err(error) = threads::start(None, limits::SESSION_STACK, session) {
        complaints.log("cannot start a thread for a session", &error);
        turn_away(&line.stream, from, greeting, &context, Refusal::Resources);
    }
}

enum AdmittedStep {
    /// Begin a session: the client has a place.
    Client(Permit),
    /// Wait for the header that names the client.
    Balancer(Permit),
}

impl AdmittedStep {
    /// Sets the connection. From now on, the server may close it to make room for others.
    fn is_for(&self, line: &Arc<SessionHandle>) {
        let (Self::Client(permit) | Self::Balancer(permit)) = self;
        permit.is_for(line);
    }
}

/// A connection with its entry in the register.
struct Arrival {
    registration: Registration,
    entry: AdmittedStep,
    /// The address of the client, or of its balancer.
    from: SocketAddr,
    greeting: Greeting,
}

impl Arrival {
    /// Serves the client until the session ends or leaves this thread.
    fn serve(mut self, current: &Arc<Current>) {
        if let Some(ends) = self.ends(current)
            && let AdmittedStep::Client(permit) = self.entry
        {
            service::run(self.registration, ends, self.greeting, current, permit);
        }
    }

    /// Returns the addresses of the connection, or `None` if the connection was refused or closed.
    /// This is a separate function because a session keeps each page of stack that its thread has
    /// used.
    #[inline(never)]
    fn ends(&mut self, current: &Arc<Current>) -> Option<Ends> {
        let line = Arc::clone(&self.registration.line);
        let local = line.stream.local_addr().ok()?;
        if let AdmittedStep::Client(_) = self.entry {
            return Some(Ends::direct(self.from, local));
        }
        let header = self.header();
        let named = header.and_then(|header| Ok((header, Ends::of(header, self.from, local)?)));
        // The settings, the bans and the limits may have changed in the meantime.
        let context = current.get();
        if line.is_cut() || line.is_dismissed() || context.is_draining() {
            return None;
        }
        match named {
            Ok((header, ends)) => match self.objection(header, ends.peer, &context) {
                None => Some(ends),
                Some(refusal) => {
                    turn_away(&line.stream, ends.peer, self.greeting, &context, refusal);
                    None
                }
            },
            // The balancer only checked that the port is open.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => None,
            Err(error) => {
                log::debug!("{}: no PROXY header: {error}", self.from);
                turn_away(&line.stream, self.from, self.greeting, &context, Refusal::Header);
                None
            }
        }
    }

    fn header(&self) -> io::Result<ProxyHeader> {
        let stream = &self.registration.line.stream;
        let deadline = deadline::after(Instant::now(), limits::PROXY_WAIT);
        socket::receive_header(stream, || socket::wait_for_input(stream, deadline))
    }

    /// Takes a place for the client. Returns the reason to refuse the client, or `None` if the
    /// client has a place.
    fn objection(
        &mut self,
        header: ProxyHeader,
        peer: SocketAddr,
        context: &Context,
    ) -> Option<Refusal> {
        let permit = if header == ProxyHeader::Local {
            context.admission.admit_balancer(peer.ip())
        } else if let Some(refusal) = context.objection(peer.ip()) {
            return Some(refusal);
        } else {
            context.admission.admit(peer.ip())
        };
        let Some(permit) = permit else { return Some(Refusal::Full) };
        self.registration.line.shown.set_peer(peer);
        permit.is_for(&self.registration.line);
        self.entry = AdmittedStep::Client(permit);
        None
    }
}

/// Refuses a connection and reports it. With implicit TLS, sends no reply, because the client
/// expects a handshake.
fn turn_away(
    stream: &TcpStream,
    peer: SocketAddr,
    greeting: Greeting,
    context: &Context,
    refusal: Refusal,
) {
    if greeting == Greeting::Clear {
        socket::refuse(stream, &refusal.reply());
    }
    let peer = socket::canonical(peer);
    let kind = EventKind::Refused(refusal);
    context.observers.tell_unharmed(&Event::of_peer(peer, kind));
}

/// Value of [`ListeningSocket::waited`] if no connection waited.
const NONE: u64 = u64::MAX;

/// A listening socket, and a count that shows whether its accept loop still runs.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    socket: TcpListener,
    /// An event descriptor that wakes the accept loop of a shared socket; `None` for the server's
    /// own sockets. Another process, such as a service manager, may hold a shared socket, and
    /// shutdown(2) would end the socket for all processes.
    bell: Option<OwnedFd>,
    /// Number of calls of [`accept`](Self::accept).
    turns: AtomicU64,
    /// The number of turns at the last call of [`responds`](Self::responds) if a connection waited
    /// then, otherwise [`NONE`].
    waited: AtomicU64,
}

impl ListeningSocket {
    /// Takes over a socket that only this server uses.
    pub(crate) fn own(socket: TcpListener) -> Self {
        Self { socket, bell: None, turns: AtomicU64::new(0), waited: AtomicU64::new(NONE) }
    }

    /// Takes over a socket that stays open elsewhere when the server stops.
    ///
    /// # Errors
    ///
    /// Returns the system's error, such as `EMFILE`, if a system call fails.
    pub(crate) fn shared(socket: TcpListener) -> io::Result<Self> {
        // accept(2) must not block if another process takes the connection after poll(2).
        socket.set_nonblocking(true)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { bell: Some(bell), ..Self::own(socket) })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// Returns the error of poll(2) or accept(2). After [`close`](Self::close), a shared socket
    /// returns `EAGAIN`.
    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        if let Some(bell) = &self.bell {
            let socket = PollFd::new(&self.socket, PollFlags::IN);
            let mut both = [PollFd::new(bell, PollFlags::IN), socket];
            poll(&mut both, None)?;
            let [bell, _] = both;
            if !bell.revents().is_empty() {
                return Err(Errno::AGAIN.into());
            }
        }
        self.socket.accept()
    }

    /// Makes [`accept`](Self::accept) fail at once, in the current call and in later ones.
    pub(crate) fn close(&self) {
        // Neither call can fail: the socket listens, and the counter of the event descriptor is 0.
        match &self.bell {
            Some(bell) => drop(rustix::io::write(bell, &1_u64.to_ne_bytes())),
            None => drop(SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both)),
        }
    }

    /// Returns `false` if a connection waits now and one waited at the previous call, but the
    /// accept loop has made no turn in between.
    pub(crate) fn responds(&self) -> bool {
        let turns = self.turns.load(Ordering::Relaxed);
        let waits = is_ready(&self.socket, PollFlags::IN, Duration::ZERO).unwrap_or(false);
        let now = if waits { turns } else { NONE };
        let former = self.waited.swap(now, Ordering::Relaxed);
        !waits || former != turns
    }
}

#[cfg(test)]
mod tests {
    use ftp_tests::wait::wait_until;

    use super::*;

    #[test]
    fn accept_errors_are_classified_ho_04_ho_05() {
        for (errno, want) in [
            (Errno::CONNABORTED, Trouble::Passing),
            (Errno::INTR, Trouble::Passing),
            (Errno::AGAIN, Trouble::Passing),
            (Errno::MFILE, Trouble::Descriptors),
            (Errno::NFILE, Trouble::Descriptors),
            (Errno::NOBUFS, Trouble::Lasting("out of memory")),
            (Errno::NOMEM, Trouble::Lasting("out of memory")),
            (Errno::PROTO, Trouble::Lasting("cannot accept connections")),
            (Errno::NETDOWN, Trouble::Lasting("cannot accept connections")),
            (Errno::PERM, Trouble::Lasting("cannot accept connections")),
            (Errno::BADF, Trouble::Lasting("cannot accept connections")),
        ] {
            assert_eq!(Trouble::of(&errno.into()), want, "{errno}");
        }
    }

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn a_listener_is_unresponsive_while_a_connection_waits_too_long() {
        let socket = listener();
        let address = socket.local_addr().unwrap();
        let socket = ListeningSocket::own(socket);
        assert!(socket.responds() && socket.responds());
        let _first = TcpStream::connect(address).unwrap();
        let _second = TcpStream::connect(address).unwrap();
        assert!(socket.responds(), "the connection may have arrived just now");
        wait_until("the connection waits for a long time", || !socket.responds());
        socket.accept().unwrap();
        assert!(socket.responds(), "the loop made a turn");
        socket.accept().unwrap();
        assert!(socket.responds() && socket.responds());
    }

    #[test]
    fn closing_a_shared_listening_socket_keeps_its_duplicate_open() {
        let elsewhere = listener();
        let address = elsewhere.local_addr().unwrap();
        let socket = ListeningSocket::shared(elsewhere.try_clone().unwrap()).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        socket.accept().unwrap();
        socket.close();
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(socket);
        let _client = TcpStream::connect(address).unwrap();
        elsewhere.set_nonblocking(false).unwrap();
        elsewhere.accept().unwrap();
    }
}
