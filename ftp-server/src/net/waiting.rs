//! Connections from balancers whose PROXY header, which names the client, has not arrived yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::limits;
use crate::lock::unpoisoned;
use crate::service::session_handle::SessionHandle;

/// The connections that wait for their header, and their limit. They do not count as sessions yet:
/// otherwise, a client that the server later refuses could take another client's place.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    most: usize,
    held: Mutex<Occupancy>,
}

#[derive(Debug, Default)]
struct Occupancy {
    /// Connections that wait, the oldest first; `None` for a connection that cannot be closed yet.
    waiting: BTreeMap<u64, Option<Arc<SessionHandle>>>,
    next: u64,
    /// Connections that were closed to make room, but still have a thread.
    leaving: usize,
}

/// A connection in the room. Dropping this value takes the connection out of the room.
#[derive(Debug)]
pub(crate) struct Waiting {
    room: Arc<WaitingRoom>,
    number: u64,
}

impl WaitingRoom {
    /// Creates a room for `most` or [`limits::WAITING`] connections, whichever is less.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.min(limits::WAITING), held: Mutex::default() })
    }

    /// Lets a connection wait. If the room is full, closes the oldest connection in it. Returns
    /// `None` if no connection can be closed now.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Waiting> {
        let mut held = self.held();
        let mut closed = None;
        if held.waiting.len() >= self.most {
            closed = Some(held.close_oldest()?);
        }
        let number = held.next;
        held.next += 1;
        held.waiting.insert(number, None);
        drop(held);
        if let Some(line) = closed {
            line.give_way();
        }
        Some(Waiting { room: Arc::clone(self), number })
    }

    fn held(&self) -> MutexGuard<'_, Occupancy> {
        unpoisoned(self.held.lock())
    }
}

impl Occupancy {
    /// Takes the oldest connection out of the room; `None` if no connection can be closed now.
    fn close_oldest(&mut self) -> Option<Arc<SessionHandle>> {
        if self.leaving >= limits::LEAVING {
            return None;
        }
        let mut known = self.waiting.iter().filter(|(_, line)| line.is_some());
        let number = known.next().map(|(number, _)| *number)?;
        let line = self.waiting.remove(&number).flatten()?;
        self.leaving += 1;
        Some(line)
    }
}

impl Waiting {
    /// Sets the connection. From now on, the server may close it to make room for others.
    pub(crate) fn is_for(&self, line: &Arc<SessionHandle>) {
        if let Some(place) = self.room.held().waiting.get_mut(&self.number) {
            *place = Some(Arc::clone(line));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut held = self.room.held();
        if held.waiting.remove(&self.number).is_none() {
            held.leaving -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Enters the room with a new connection, whose client disconnects at once.
    fn enter(room: &Arc<WaitingRoom>) -> Option<(Waiting, Arc<SessionHandle>)> {
        let waiting = room.enter()?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let line = Arc::new(SessionHandle::new(stream, peer));
        waiting.is_for(&line);
        Some((waiting, line))
    }

    #[test]
    fn the_oldest_connection_without_a_proxy_header_is_evicted() {
        let room = WaitingRoom::new(2);
        let mut all: Vec<_> = (0..3).map(|_| enter(&room).unwrap()).collect();
        let closed: Vec<_> = all.iter().map(|(_, line)| line.has_given_way()).collect();
        assert_eq!(closed, [true, false, false]);
        // A connection that has received its header leaves room for another one.
        all.remove(1);
        all.push(enter(&room).unwrap());
        let closed: Vec<_> = all.iter().map(|(_, line)| line.has_given_way()).collect();
        assert_eq!(closed, [true, false, false]);
        drop(all);
        assert!(room.held().waiting.is_empty());
        assert_eq!(room.held().leaving, 0);
    }

    #[test]
    fn threads_of_connections_that_wait_are_bounded() {
        let room = WaitingRoom::new(usize::MAX);
        let all: Vec<_> = std::iter::from_fn(|| enter(&room)).collect();
        assert_eq!(all.len(), limits::WAITING + limits::LEAVING);
        drop(all);
        assert!(enter(&room).is_some());
    }
}
