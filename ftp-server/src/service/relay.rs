//! Fresh threads for sessions that cannot go on in theirs.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use crate::lock::unpoisoned;
use crate::{limits, threads};

/// A session that is handed from its thread to another.
pub(crate) trait Handover: Send {
    /// Starts a thread in which the session goes on.
    fn go_on(self: Box<Self>);

    /// Ends the session, since the server ends.
    fn give_up(self: Box<Self>);
}

/// Takes sessions over from their threads. A thread that was confined to a user's files stays so
/// for good, as does every thread it starts: what comes after that user runs in a thread started
/// from here, by one that never was.
#[derive(Default)]
pub(crate) struct Relay {
    queue: Mutex<Option<Sender<Box<dyn Handover>>>>,
}

impl Relay {
    /// Starts the thread, which ends upon [`stop`](Self::stop) or with the relay.
    pub(crate) fn start(&self) -> io::Result<JoinHandle<()>> {
        let (queue, sessions) = mpsc::channel();
        let work =
            move || sessions.into_iter().for_each(|session: Box<dyn Handover>| session.go_on());
        let relay = threads::start(Some("ftp-relay"), limits::SESSION_STACK, work)?;
        *unpoisoned(self.queue.lock()) = Some(queue);
        Ok(relay)
    }

    /// Takes no more sessions.
    pub(crate) fn stop(&self) {
        unpoisoned(self.queue.lock()).take();
    }

    /// Lets a session go on in another thread, or has it give up when no more are taken.
    pub(crate) fn pass(&self, session: Box<dyn Handover>) {
        let queue = unpoisoned(self.queue.lock());
        let unsent = match &*queue {
            Some(queue) => queue.send(session).map_err(|unsent| unsent.0).err(),
            None => Some(session),
        };
        drop(queue);
        if let Some(session) = unsent {
            session.give_up();
        }
    }
}
