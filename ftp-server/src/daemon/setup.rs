//! What a program decides about the start of a daemon.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::logging::DaemonLog;
use crate::ServerBuilder;

type OnceBound = Box<dyn FnOnce() -> io::Result<()> + Send>;

pub(super) type OnceListening = Box<dyn FnOnce(Vec<SocketAddr>, Vec<SocketAddr>)>;

/// What a program decides about the start of a [`Daemon`](super::Daemon).
#[derive(Default)]
pub struct Setup {
    pub(super) sockets: Sockets,
    pub(super) once_bound: Option<OnceBound>,
    pub(super) once_listening: Option<OnceListening>,
    pub(super) log: Option<Arc<DaemonLog>>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sockets, log, .. } = self;
        f.debug_struct("Setup").field("sockets", sockets).field("log", log).finish_non_exhaustive()
    }
}

impl Setup {
    /// Returns a setup that decides nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts connections on these listening sockets too, such as those of a service manager: the
    /// second ones have implicit TLS. [`Config::sockets`](super::Config::sockets) must announce
    /// them.
    #[must_use]
    pub fn sockets(self, plaintext: Vec<TcpListener>, implicit: Vec<TcpListener>) -> Self {
        Self { sockets: Sockets { plaintext, implicit }, ..self }
    }

    /// Calls `act` when all addresses are bound and no user's directory has been opened yet. This is
    /// the place to switch to the user of [`Config::run_as`](super::Config::run_as). If `act`
    /// fails, the daemon does not start.
    #[must_use]
    pub fn once_bound(self, act: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        Self { once_bound: Some(Box::new(act)), ..self }
    }

    /// Calls `act` when the server listens and has announced that, with its plaintext addresses and
    /// those with implicit TLS.
    #[must_use]
    pub fn once_listening(
        self,
        act: impl FnOnce(Vec<SocketAddr>, Vec<SocketAddr>) + 'static,
    ) -> Self {
        Self { once_listening: Some(Box::new(act)), ..self }
    }

    /// Uses this log. By default, the daemon opens the target of `log.target` itself, and prints
    /// nothing if that is `stderr`.
    #[must_use]
    pub fn log(self, log: impl Into<Arc<DaemonLog>>) -> Self {
        Self { log: Some(log.into()), ..self }
    }
}

/// Listening sockets that the program has passed.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    plaintext: Vec<TcpListener>,
    implicit: Vec<TcpListener>,
}

impl Sockets {
    /// Returns `all` addresses without those of the plaintext sockets.
    pub(super) fn plaintext_besides(&self, all: Vec<SocketAddr>) -> Vec<SocketAddr> {
        besides(&self.plaintext, all)
    }

    /// Returns `all` addresses without those of the sockets with implicit TLS.
    pub(super) fn implicit_besides(&self, all: Vec<SocketAddr>) -> Vec<SocketAddr> {
        besides(&self.implicit, all)
    }

    /// Makes the server accept connections on all sockets.
    pub(super) fn serve(self, mut builder: ServerBuilder) -> ServerBuilder {
        for socket in self.plaintext {
            builder = builder.listener(socket);
        }
        for socket in self.implicit {
            builder = builder.implicit_tls_listener(socket);
        }
        builder
    }
}

fn besides(sockets: &[TcpListener], mut all: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_passed = |address: &SocketAddr| {
        sockets.iter().any(|socket| socket.local_addr().is_ok_and(|at| at == *address))
    };
    all.retain(|address| !is_passed(address));
    all
}
