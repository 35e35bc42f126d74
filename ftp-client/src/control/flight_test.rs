//! Whether a server takes several commands in one write: the clients of a builder learn it together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::net::connect::Server;

/// Whether the server answers flights, or questions before the confirmation of a download, as far as
/// the clients of a builder and its clones know. A client that does not know yet tests it, one client at
/// a time: only that one may then lose its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlightTest {
    state: Arc<AtomicU8>,
    /// The states of all servers to which the clones of a builder connect.
    states: Arc<Mutex<HashMap<Server, Arc<AtomicU8>>>>,
}

const OPEN: u8 = 0;
const RUNNING: u8 = 1;
const FAILED: u8 = 2;
const PROVED: u8 = 3;

impl FlightTest {
    /// Uses the test of this server from now on.
    pub(crate) fn go_to(&mut self, server: &Server) {
        let mut states = lock(&self.states);
        self.state = Arc::clone(states.entry(server.clone()).or_default());
    }

    pub(crate) fn begin(&self) -> bool {
        self.change(OPEN, RUNNING)
    }

    /// Ends a test that has not failed, so that the next client can begin its own.
    pub(crate) fn end(&self) {
        self.change(RUNNING, OPEN);
    }

    /// Makes all clients send one command at a time.
    pub(crate) fn fail(&self) {
        self.state.store(FAILED, Ordering::Relaxed);
    }

    /// Ends a test that all clients may rely on.
    pub(crate) fn prove(&self) {
        self.change(RUNNING, PROVED);
    }

    pub(crate) fn is_proved(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PROVED
    }

    /// Returns whether a flight has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.load(Ordering::Relaxed) == FAILED
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
