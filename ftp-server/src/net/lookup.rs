//! The addresses of a host, which can change while the server runs. A thread looks them up, because
//! a session that is confined to its root cannot read the files that this needs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Duration;

use crate::lock::Lock;
use crate::{limits, threads};

/// Maximum time to wait for a lookup. After that, the known addresses are used.
const LOOKUP_WAIT: Duration = Duration::from_secs(1);

/// The addresses of a host, and the thread that looks them up until this value is dropped.
#[derive(Debug)]
pub(crate) struct Lookup {
    known: Arc<Lock<Vec<SocketAddr>>>,
    asks: Lock<Sender<SyncSender<()>>>,
}

impl Lookup {
    /// Looks up a host with `find`.
    ///
    /// # Errors
    ///
    /// Returns the error of the lookup, `NotFound` if it finds no address, or an error of the system
    /// if the thread cannot be started.
    pub(crate) fn start(
        find: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Self> {
        let found = find()?;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has none"));
        }
        let known = Arc::new(Lock::new(found));
        let (asks, asked) = mpsc::channel();
        let own = Arc::clone(&known);
        threads::start(Some("lookup"), limits::LOOKUP_STACK, move || {
            answer(&asked, &own, find);
        })?;
        Ok(Self { known, asks: Lock::new(asks) })
    }

    /// Looks up the host again, and returns its addresses.
    pub(crate) fn again(&self) -> Vec<SocketAddr> {
        let _ = self.ask().recv_timeout(LOOKUP_WAIT);
        self.known()
    }

    /// Looks up the host again. The receiver gets a message after that.
    pub(crate) fn ask(&self) -> Receiver<()> {
        let (done, is_done) = mpsc::sync_channel(1);
        // The thread runs as long as this value.
        let _ = self.asks.lock().send(done);
        is_done
    }

    pub(crate) fn known(&self) -> Vec<SocketAddr> {
        self.known.lock().clone()
    }
}

fn answer(
    asked: &Receiver<SyncSender<()>>,
    known: &Lock<Vec<SocketAddr>>,
    find: impl Fn() -> io::Result<Vec<SocketAddr>>,
) {
    while let Ok(first) = asked.recv() {
        // Only requests queued by now: a later one must not be answered with a result that may
        // predate it.
        let waiting: Vec<_> = std::iter::once(first).chain(asked.try_iter()).collect();
        // On failure, the known addresses stay.
        if let Ok(found) = find()
            && !found.is_empty()
        {
            *known.lock() = found;
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    #[test]
    fn each_question_is_answered_by_a_lookup_that_began_after_it() {
        let count = Arc::new(AtomicU16::new(0));
        let number = Arc::clone(&count);
        let host = Lookup::start(move || {
            Ok(vec![([127, 0, 0, 1], number.fetch_add(1, Ordering::SeqCst)).into()])
        });
        let host = host.unwrap();
        for _ in 0..5_000 {
            let before = count.load(Ordering::SeqCst);
            assert!(host.again()[0].port() >= before);
        }
    }
}
