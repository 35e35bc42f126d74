//! The accept loop. It ends when the server closes its listening sockets; an error does not end it.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;

use super::arrival::{Arrival, Entry, turn_away};
use super::complaints::Complaints;
use super::listening_socket::ListeningSocket;
use super::socket;
use crate::context::Current;
use crate::log::Refusal;
use crate::service::Greeting;
use crate::{limits, threads};

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

/// Opens a spare descriptor.
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
        context.before_headers.admit_balancer(from.ip()).map(Entry::Balancer)
    } else if let Some(refusal) = context.objection(from.ip()) {
        return turn_away(&stream, from, greeting, &context, refusal);
    } else {
        context.admission.admit(from.ip()).map(Entry::Client)
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

#[cfg(test)]
mod tests {
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
}
