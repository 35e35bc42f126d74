//! A handshake. The session's thread reads and writes, and the threads of a [`Pool`] compute.

use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustls::server::ServerConfig;

use super::connection::{Connection, UNKEPT};
use crate::lock::{Lock, unpoisoned};
use crate::{budget, limits, threads};

pub(crate) struct Handshake {
    connection: Connection,
    pool: Arc<Pool>,
}

impl Handshake {
    pub(super) fn new(config: Arc<ServerConfig>, pool: Arc<Pool>) -> io::Result<Self> {
        Ok(Self::of(Connection::new(config)?, pool))
    }

    pub(super) const fn of(connection: Connection, pool: Arc<Pool>) -> Self {
        Self { connection, pool }
    }

    /// Carries out the handshake over `stream`. `wait` waits until the socket is ready, and fails
    /// if the handshake must be aborted, for example at `deadline`.
    ///
    /// A failed handshake sends an alert if the socket has room for it.
    pub(crate) fn carry_out<E: From<io::Error>>(
        self,
        stream: &TcpStream,
        deadline: Instant,
        wait: &mut dyn FnMut(PollFlags) -> Result<(), E>,
    ) -> Result<Connection, E> {
        let Self { mut connection, pool } = self;
        if connection.is_client() {
            let (answer, greeted) = pool.run(deadline, move || {
                let mut answer = Vec::with_capacity(UNKEPT);
                connection.greet(&mut answer).map(|()| (answer, connection))
            })??;
            connection = greeted;
            send(stream, &answer, wait)?;
        }
        let mut bytes = [0; 1_024];
        loop {
            match rustix::net::recv(stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok((count, _)) => {
                    connection.keep(bytes.get(..count).unwrap_or_default());
                    connection.check_hello()?;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    wait(PollFlags::IN)?;
                    continue;
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if !connection.has_record() {
                continue;
            }
            let (went_on, answer, shaken) = pool.run(deadline, move || {
                let mut answer = Vec::with_capacity(UNKEPT);
                let went_on = connection.shake(&mut answer);
                (went_on, answer, connection)
            })?;
            connection = shaken;
            if let Err(error) = went_on {
                let _ =
                    rustix::net::send(stream, &answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                return Err(error.into());
            }
            send(stream, &answer, wait)?;
            if !connection.is_handshaking() {
                return Ok(connection);
            }
        }
    }
}

fn send<E: From<io::Error>>(
    stream: &TcpStream,
    mut bytes: &[u8],
    wait: &mut dyn FnMut(PollFlags) -> Result<(), E>,
) -> Result<(), E> {
    while !bytes.is_empty() {
        match rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(PollFlags::OUT)?,
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(())
}

/// Stack of a pool thread, in bytes. It is more than four times the stack of a session, so that the
/// C library does not reuse the stack of an ended pool thread, with all touched pages, for a
/// session.
const STACK: usize = 5 * limits::SESSION_STACK;

/// Maximum number of pool threads. There are never more threads than processors.
const THREADS: usize = 8;

/// The threads that compute handshakes; they end when this value is dropped.
///
/// A handshake needs far more stack than any other part of a session. A thread keeps the pages of
/// its stack that it has touched. Without the pool, all idle sessions would therefore keep the
/// pages that their handshakes touched. In addition, the pool limits how many handshakes are
/// computed at a time.
pub(super) struct Pool {
    queue: Sender<Task>,
}

type Task = Box<dyn FnOnce() + Send>;

/// The result of a piece of work, and the notification of the thread that waits for the result.
struct Completion<T> {
    result: Lock<Result<Option<T>, Gone>>,
    changed: Condvar,
}

/// The error if the work ended without a result.
struct Gone;

/// The worker's side of a [`Completion`]. Dropping it without a result, usually in a panic, reports
/// [`Gone`].
struct Worker<T>(Arc<Completion<T>>);

impl<T> Completion<T> {
    fn put(&self, result: Result<Option<T>, Gone>) {
        let mut place = self.result.lock();
        if matches!(&*place, Ok(None)) {
            *place = result;
        }
        self.changed.notify_one();
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.0.put(Err(Gone));
    }
}

impl Pool {
    pub(super) fn start() -> io::Result<Self> {
        let (queue, work) = channel::<Task>();
        let work = Arc::new(Lock::new(work));
        for _ in 0..budget::processors().min(THREADS) {
            let work = Arc::clone(&work);
            threads::start(Some("ftp-tls"), STACK, move || serve(&work))?;
        }
        Ok(Self { queue })
    }

    /// Runs `work` in a pool thread, and waits for its result. Fails with `TimedOut` at `deadline`.
    ///
    /// A channel is not used for the result, because the C library would keep its freed memory for
    /// the session's thread.
    pub(super) fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let desk = Arc::new(Completion { result: Lock::new(Ok(None)), changed: Condvar::new() });
        let gone = || io::Error::other("the thread of the handshake panicked");
        let worker = Worker(Arc::clone(&desk));
        let work = move || worker.0.put(Ok(Some(work())));
        self.queue.send(Box::new(work)).map_err(|_| gone())?;
        let mut place = desk.result.lock();
        loop {
            match std::mem::replace(&mut *place, Ok(None)) {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => {}
                Err(Gone) => return Err(gone()),
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let woken = desk.changed.wait_timeout(place, rest);
            place = unpoisoned(woken).0;
        }
    }
}

fn serve(queue: &Lock<Receiver<Task>>) {
    loop {
        let next = queue.lock().recv();
        let Ok(work) = next else { return };
        // A panic concerns one handshake, whose session sees that the result is missing.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn handshake_work_runs_on_pool_threads_and_survives_panics_ht_12() {
        let pool = Pool::start().unwrap();
        let far = Instant::now() + Duration::from_secs(60);
        let here = thread::current().id();
        for _ in 0..20 {
            assert!(pool.run(far, move || thread::current().id() != here).unwrap());
            let failed = pool.run(far, || -> u32 { panic!("as a defect would") });
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
        }
        let (hold, held) = channel::<()>();
        let soon = Instant::now() + Duration::from_millis(50);
        let late = pool.run(soon, move || held.recv().is_err());
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(hold);
    }
}
