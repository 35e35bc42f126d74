//! New threads for sessions that must leave their own thread.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use crate::lock::Lock;
use crate::{limits, threads};

/// A session that moves from its thread to another.
pub(crate) trait Handover: Send {
    /// Starts a thread that continues the session.
    fn go_on(self: Box<Self>);

    /// Ends the session, because the server shuts down.
    fn give_up(self: Box<Self>);
}

/// The queue of sessions that must move to new threads. A thread that is confined to a user's files
/// stays confined forever, and so do the threads that it starts. So after its user has logged out,
/// a session continues in a new thread. The relay's thread, which starts that new thread, is never
/// confined.
#[derive(Default)]
pub(crate) struct Relay {
    queue: Lock<Option<Sender<Box<dyn Handover>>>>,
}

impl Relay {
    /// Starts the relay's thread, which ends after [`stop`](Self::stop), or when the relay is
    /// dropped.
    pub(crate) fn start(&self) -> io::Result<JoinHandle<()>> {
        let (queue, sessions) = mpsc::channel();
        let work =
            move || sessions.into_iter().for_each(|session: Box<dyn Handover>| session.go_on());
        let relay = threads::start(Some("ftp-relay"), limits::SESSION_STACK, work)?;
        *self.queue.lock() = Some(queue);
        Ok(relay)
    }

    /// Stops taking sessions.
    pub(crate) fn stop(&self) {
        self.queue.lock().take();
    }

    /// Moves a session to another thread. After a [`stop`](Self::stop), ends the session instead.
    pub(crate) fn pass(&self, session: Box<dyn Handover>) {
        let queue = self.queue.lock();
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
