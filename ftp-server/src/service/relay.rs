//! Fresh threads for sessions that cannot go on in theirs.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::log::{Refusal, SessionEnd};
use crate::net::socket;
use crate::session::Runner;
use crate::{limits, threads};

/// Takes sessions over from their threads. A thread that was confined to a user's files stays so
/// for good, as does every thread it starts: what comes after that user runs in a thread started
/// from here, by one that never was.
#[derive(Default)]
pub(crate) struct Relay {
    queue: Mutex<Option<Sender<Box<Runner>>>>,
}

impl Relay {
    /// Starts the thread, which ends upon [`stop`](Self::stop) or with the relay.
    pub(crate) fn start(&self) -> io::Result<JoinHandle<()>> {
        let (queue, sessions) = mpsc::channel();
        let work = move || sessions.into_iter().for_each(go_on);
        let relay = threads::start(Some("ftp-relay"), limits::SESSION_STACK, work)?;
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue);
        Ok(relay)
    }

    /// Takes no more sessions.
    pub(crate) fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Lets a session go on in another thread, or gives it back when no more are taken.
    pub(crate) fn pass(&self, runner: Box<Runner>) -> Result<(), Box<Runner>> {
        match &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(queue) => queue.send(runner).map_err(|unsent| unsent.0),
            None => Err(runner),
        }
    }
}

fn go_on(runner: Box<Runner>) {
    let (line, ending) = (Arc::clone(runner.line()), runner.ending());
    let session = move || runner.go_on();
    if let Err(error) = threads::start(None, limits::SESSION_STACK, session) {
        log::warn!("no thread for a session: {error}");
        if !line.is_protected() {
            socket::refuse(&line.stream, &Refusal::Resources.reply());
        }
        ending.tell(SessionEnd::Failed(&error));
    }
}
