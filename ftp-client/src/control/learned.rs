//! What the clients of a builder and its clones have learned of each server: whether it takes what no
//! other client sends, and which of its commands must not be sent again. It holds for the whole run, over
//! all connections.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use ftp_proto::{Reply, Severity};

use crate::error::is_missing;
use crate::lock;
use crate::net::Server;

/// What is known of one server, and of all others to which the clones of a builder connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learned {
    here: Arc<Knowledge>,
    servers: Arc<Mutex<HashMap<Server, Arc<Knowledge>>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    /// Whether the server answers several commands in one write.
    pub(crate) flights: Test,
    /// Whether the server answers questions after the confirmation of a download, even if it got them
    /// before.
    pub(crate) early: Test,
    /// Whether mode B works, where the caller has not asked for it.
    pub(crate) blocks: Test,
    /// Whether `EPSV` has ended or blocked a session.
    pub(crate) epsv_fails: Flag,
    /// Whether the server has taken the path of an object in another directory.
    pub(crate) takes_paths: Flag,
    /// Whether it takes only names in the current directory.
    pub(crate) only_names: Flag,
}

impl Learned {
    /// Uses what is known of this server from now on.
    pub(crate) fn go_to(&mut self, server: &Server) {
        let mut servers = lock(&self.servers);
        self.here = Arc::clone(servers.entry(server.clone()).or_default());
    }
}

impl Deref for Learned {
    type Target = Knowledge;

    fn deref(&self) -> &Knowledge {
        &self.here
    }
}

/// Something that can only become true.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A test that one client at a time makes: only that one may lose its connection by it.
#[derive(Debug, Default)]
pub(crate) struct Test(AtomicU8);

const OPEN: u8 = 0;
const RUNNING: u8 = 1;
const FAILED: u8 = 2;
const PROVED: u8 = 3;
/// The test has failed, and no connection has replaced yet the one that it has cost.
const CUT: u8 = 4;

impl Test {
    pub(crate) fn begin(&self) -> bool {
        self.change(OPEN, RUNNING)
    }

    /// Ends a test that has not failed, so that the next client can begin its own.
    pub(crate) fn end(&self) {
        self.change(RUNNING, OPEN);
    }

    /// Ends the test for all clients, also after it was proved.
    pub(crate) fn fail(&self) {
        self.0.store(FAILED, Ordering::Relaxed);
    }

    /// Ends the test as [`fail`](Self::fail) does, with the connection.
    pub(crate) fn cut(&self) {
        self.0.store(CUT, Ordering::Relaxed);
    }

    /// Ends a test that all clients may rely on.
    pub(crate) fn prove(&self) {
        if !self.has_failed() {
            self.0.store(PROVED, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_proved(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PROVED
    }

    pub(crate) fn has_failed(&self) -> bool {
        [FAILED, CUT].contains(&self.0.load(Ordering::Relaxed))
    }

    /// Returns whether the next connection replaces the one that the test has cost.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CUT
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The number of different objects whose refusals in a row show that a feature is missing.
const OBJECTS: u32 = 3;

/// A listed feature, as far as the replies of one run show it. The jobs of a run share it.
#[derive(Debug, Default)]
pub(crate) struct Promise {
    is_broken: AtomicBool,
    /// Objects in a row for which the feature was refused.
    refused: AtomicU32,
}

impl Promise {
    pub(crate) fn of(is_listed: bool) -> Self {
        Self { is_broken: AtomicBool::new(!is_listed), refused: AtomicU32::new(0) }
    }

    pub(crate) fn holds(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed)
    }

    /// Notes that the server has carried out a command of the feature.
    pub(crate) fn kept(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Counts a refusal: an unknown command shows at once that the feature is missing, the refusal
    /// for one object only if this run has stored that object a moment before (`is_own`), or after
    /// several objects without a success. A transient reply shows nothing. Returns whether this
    /// refusal has shown it, so that one caller reports it.
    pub(crate) fn refused(&self, reply: &Reply, is_own: bool) -> bool {
        let code = reply.code();
        let is_missing = match code.value() {
            _ if is_missing(reply) => true,
            _ if code.severity() != Severity::Permanent => false,
            550..=553 => is_own || self.refused.fetch_add(1, Ordering::Relaxed) + 1 >= OBJECTS,
            _ => false,
        };
        is_missing && !self.is_broken.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16) -> Reply {
        Reply::new(ftp_proto::ReplyCode::new(code).unwrap(), "no")
    }

    #[test]
    fn a_feature_is_missing_once_refusals_show_it_and_that_is_told_once() {
        for code in [202, 500, 501, 502, 503, 504, 522] {
            let promise = Promise::of(true);
            assert!(promise.refused(&reply(code), false) && !promise.holds(), "{code}");
            assert!(!promise.refused(&reply(code), false), "{code}");
        }
        let promise = Promise::of(true);
        for _ in 0..9 {
            assert!(!promise.refused(&reply(450), true) && promise.holds());
        }
        assert!(!promise.refused(&reply(550), false) && !promise.refused(&reply(550), false));
        promise.kept();
        assert!(!promise.refused(&reply(550), false) && !promise.refused(&reply(553), false));
        assert!(promise.refused(&reply(551), false) && !promise.holds());
        let promise = Promise::of(true);
        assert!(promise.refused(&reply(550), true) && !promise.holds());
        assert!(!Promise::of(false).holds());
    }
}
