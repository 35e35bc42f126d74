//! An accepted connection that becomes a session, in its own thread.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::ProxyHeader;

use super::admission::Permit;
use super::balancer::{self, Ends};
use super::socket;
use crate::context::{Context, Current};
use crate::log::{Event, EventKind, Refusal};
use crate::service::register::{Registration, SessionHandle};
use crate::service::{self, Greeting};
use crate::{deadline, limits};

pub(crate) enum AdmittedStep {
    /// Begin a session: the client has a place.
    Client(Permit),
    /// Wait for the header that names the client.
    Balancer(Permit),
}

impl AdmittedStep {
    /// Sets the connection. From now on, the server may close it to make room for others.
    pub(super) fn is_for(&self, line: &Arc<SessionHandle>) {
        let (Self::Client(permit) | Self::Balancer(permit)) = self;
        permit.is_for(line);
    }
}

/// A connection with its entry in the register.
pub(crate) struct Arrival {
    pub(super) registration: Registration,
    pub(super) entry: AdmittedStep,
    /// The address of the client, or of its balancer.
    pub(super) from: SocketAddr,
    pub(super) greeting: Greeting,
}

impl Arrival {
    /// Serves the client until the session ends or leaves this thread.
    pub(super) fn serve(mut self, current: &Arc<Current>) {
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
        balancer::receive_header(stream, || balancer::wait_for_input(stream, deadline))
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
pub(super) fn turn_away(
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
