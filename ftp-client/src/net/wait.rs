//! Waiting. The sockets of this crate do not block. If there is nothing to read or no room to
//! write, the code waits here for a descriptor, at most until a deadline. Only `transfer/upload`
//! lets a socket block, for short steps.
//!
//! Also has the `Canceller`, which ends a wait from another thread, `Transport`, the interface of a
//! connection that can be waited for, and waiting for a mutex.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use socket2::SockRef;

use crate::error::{Error, Phase};
use crate::lock;
use crate::system::{Waker, Woken, bell};

/// The longest single `poll`; the deadline is checked after each one.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// The limit for very long durations such as `Duration::MAX`, so that they can be added to
/// instants.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The time for the closing dialogue (`ABOR`, `QUIT`) after a cancel.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// The maximum number of abandoned threads that still look up names or run a caller's connector.
/// Threads that are not abandoned need no limit: each has a caller that waits for it.
const MOST_LEFT: usize = 64;

static LEFT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Cancels the connection that this thread is making.
    static ATTEMPT: RefCell<Option<Canceller>> = const { RefCell::new(None) };
}

/// Makes connections that `canceller` cancels too, until their clients are [kept](Waiter::keep).
///
/// A pool's `dial` is the caller's and takes no arguments, so the canceller belongs to the thread.
pub(crate) fn attempt<T>(canceller: &Canceller, dial: impl FnOnce() -> T) -> T {
    struct Ended;
    impl Drop for Ended {
        fn drop(&mut self) {
            ATTEMPT.set(None);
        }
    }
    ATTEMPT.set(Some(canceller.clone()));
    // Also after a panic of `dial`, which a caller may catch.
    let _ended = Ended;
    dial()
}

pub(crate) fn is_given_up() -> bool {
    ATTEMPT.with_borrow(|attempt| attempt.as_ref().is_some_and(Canceller::is_cancelled))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    phase: Phase,
}

impl Deadline {
    pub(crate) fn after(limit: Duration, phase: Phase) -> Self {
        Self { at: Instant::now() + limit.min(FOREVER), phase }
    }

    /// Returns the earlier of the two deadlines.
    pub(crate) fn or(self, other: Option<Self>) -> Self {
        other.filter(|other| other.at < self.at).unwrap_or(self)
    }

    /// Returns the time left, which is never zero. Fails after the deadline.
    pub(crate) fn remaining(self) -> Result<Duration, Error> {
        match self.at.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(Error::Timeout(self.phase)),
            remaining => Ok(remaining),
        }
    }
}

/// The limits of every wait of a client: the overall limit and the caller's canceller.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    overall: Option<Deadline>,
    canceller: Option<Canceller>,
    /// Cancels the connection attempt of a worker that is no longer needed.
    attempt: Option<Canceller>,
    /// The start of the closing dialogue, which may take a little time even after a cancel.
    leaving: Option<Instant>,
    /// The last deadline after which the descriptors were polled once more.
    late: Mutex<Option<Instant>>,
}

impl Waiter {
    /// Creates the limits. The overall limit begins now.
    pub(crate) fn new(overall: Option<Duration>, canceller: Option<Canceller>) -> Self {
        let overall = overall.map(|limit| Deadline::after(limit, Phase::Overall));
        let attempt = ATTEMPT.with_borrow(Clone::clone);
        Self { overall, canceller, attempt, leaving: None, late: Mutex::new(None) }
    }

    /// Keeps a connection that was made in an [`attempt`].
    pub(crate) fn keep(&mut self) {
        self.attempt = None;
    }

    fn is_given_up(&self) -> bool {
        self.attempt.as_ref().is_some_and(Canceller::is_cancelled)
    }

    /// Returns the deadline `limit` from now, or the end of the overall limit if that comes first.
    pub(crate) fn deadline(&self, limit: Duration, phase: Phase) -> Deadline {
        Deadline::after(limit, phase).or(self.overall)
    }

    /// Begins or ends the closing dialogue, which a cancel does not stop at once.
    pub(crate) fn leave(&mut self, leaving: bool) {
        self.leaving = leaving.then(Instant::now);
    }

    pub(crate) const fn canceller(&self) -> Option<&Canceller> {
        self.canceller.as_ref()
    }

    /// Fails after a cancel, except during the closing dialogue.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.canceller {
            Some(canceller) if canceller.is_cancelled() && self.leaving.is_none() => {
                Err(Error::Cancelled)
            }
            _ if self.is_given_up() => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Returns how long to wait until a deadline. After it, returns zero once: a process that was
    /// stopped may find that data arrived in time. Then fails, because a peer could keep
    /// descriptors ready forever.
    fn time_until(&self, deadline: Deadline) -> Result<Duration, Error> {
        deadline.remaining().or_else(|error| match lock(&self.late).replace(deadline.at) {
            Some(at) if at == deadline.at => Err(error),
            _ => Ok(Duration::ZERO),
        })
    }

    /// Waits until one of `fds` is ready, and records the result in them. After the deadline, looks
    /// at them once.
    pub(crate) fn wait<'a>(
        &'a self,
        fds: &mut Vec<PollFd<'a>>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        loop {
            let mut deadline = deadline;
            let mut watched = 0;
            if self.is_given_up() {
                return Err(Error::Cancelled);
            }
            if let Some(attempt) = &self.attempt {
                fds.push(PollFd::new(attempt, PollFlags::IN));
                watched += 1;
            }
            if let Some(canceller) = &self.canceller {
                match (canceller.cancelled_at(), self.leaving) {
                    (Some(_), None) => return Err(Error::Cancelled),
                    (Some(cancelled), Some(leaving)) => {
                        let at = cancelled.max(leaving) + GOOD_BYE;
                        deadline = deadline.or(Some(Deadline { at, phase: Phase::Reply(None) }));
                    }
                    (None, _) => {
                        fds.push(PollFd::new(canceller, PollFlags::IN));
                        watched += 1;
                    }
                }
            }
            let result = poll_for(fds, self.time_until(deadline)?);
            let rest = fds.len().saturating_sub(watched);
            if fds.drain(rest..).any(|canceller| !canceller.revents().is_empty()) {
                continue;
            }
            if result? {
                return Ok(());
            }
        }
    }

    pub(crate) fn wait_for(
        &self,
        fd: BorrowedFd<'_>,
        interest: PollFlags,
        deadline: Deadline,
    ) -> Result<(), Error> {
        // Leaves room for the canceller.
        let mut fds = Vec::with_capacity(2);
        fds.push(PollFd::from_borrowed_fd(fd, interest));
        self.wait(&mut fds, deadline)
    }

    /// Returns whether a pause of this length ends before the overall limit. Fails after a cancel.
    pub(crate) fn has_room(&self, length: Duration) -> Result<bool, Error> {
        self.check()?;
        let end = Deadline::after(length, Phase::Overall);
        Ok(self.overall.is_none_or(|overall| overall.at > end.at))
    }

    /// Sleeps and returns `true`, or returns `false` at once if the overall limit would end first.
    pub(crate) fn pause(&self, length: Duration) -> Result<bool, Error> {
        Ok(self.has_room(length)? && self.sleep(length).map(|()| true)?)
    }

    /// Sleeps, at most until the overall limit.
    pub(crate) fn sleep(&self, length: Duration) -> Result<(), Error> {
        let end = self.deadline(length, Phase::Overall);
        if self.canceller.is_none() {
            // Some systems cannot poll an empty list.
            thread::sleep(end.remaining().unwrap_or_default());
            return Ok(());
        }
        match self.wait(&mut Vec::new(), end) {
            Ok(()) | Err(Error::Timeout(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the remaining time of the overall limit; `None` if there is no such limit.
    pub(crate) fn remaining(&self) -> Result<Option<Duration>, Error> {
        self.overall.map(Deadline::remaining).transpose()
    }

    /// Runs blocking work in a thread. After a timeout or a cancel, the thread is abandoned. The
    /// inner error is the error of `work`, or another error if the thread panics or cannot be
    /// started.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<io::Result<T>, Error> {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let work = Box::new(move || {
            let done = work();
            *lock(&slot) = Some(done);
        });
        Ok(self.run_aside(deadline, work)?.and_then(|()| {
            lock(&result)
                .take()
                .unwrap_or_else(|| Err(io::Error::other("the lookup or connector panicked")))
        }))
    }

    /// Runs work that stores its result itself.
    fn run_aside(
        &self,
        deadline: Deadline,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<io::Result<()>, Error> {
        self.check()?;
        let aside = match SharedResult::begin(work) {
            Ok(aside) => aside,
            Err(error) => return Ok(Err(error)),
        };
        self.wait_for(aside.wakeup.as_fd(), PollFlags::IN, deadline)
            .inspect_err(|_| aside.leave())?;
        Ok(Ok(()))
    }
}

struct SharedResult {
    wakeup: Wakeup,
    /// Whether the thread has finished, or its caller no longer waits for it.
    is_over: AtomicBool,
}

impl SharedResult {
    /// Starts the thread, unless too many are abandoned.
    fn begin(work: Box<dyn FnOnce() + Send>) -> io::Result<Arc<Self>> {
        if LEFT.load(Ordering::Relaxed) >= MOST_LEFT {
            return Err(io::Error::other("too many name lookups or connectors are still running"));
        }
        let aside = Arc::new(Self { wakeup: Wakeup::new()?, is_over: AtomicBool::new(false) });
        let helper = WakeOnDrop(Arc::clone(&aside));
        thread::Builder::new().name("ftp helper".to_owned()).spawn(move || {
            work();
            drop(helper);
        })?;
        Ok(aside)
    }

    /// Ends the wait before the thread has finished, and counts the thread as abandoned.
    fn leave(&self) {
        LEFT.fetch_add(1, Ordering::Relaxed);
        self.end();
    }

    /// Marks one side as finished. The second call removes the thread from the count of abandoned
    /// threads.
    fn end(&self) {
        if self.is_over.swap(true, Ordering::AcqRel) {
            LEFT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A guard that wakes the caller when the thread ends, even if it panics.
struct WakeOnDrop(Arc<SharedResult>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        let Self(aside) = self;
        aside.end();
        aside.wakeup.wake();
    }
}

pub(crate) fn is_ready(fd: BorrowedFd<'_>, interest: PollFlags) -> Result<bool, Error> {
    poll_for(&mut [PollFd::from_borrowed_fd(fd, interest)], Duration::ZERO)
}

fn poll_for(fds: &mut [PollFd<'_>], limit: Duration) -> Result<bool, Error> {
    let limit = Timespec::try_from(limit.min(LONGEST_WAIT)).unwrap_or_default();
    match poll(fds, Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => {
            // Results of an earlier wait must not count.
            fds.iter_mut().for_each(PollFd::clear_revents);
            Ok(false)
        }
        Err(error) => Err(Error::io(error.into())),
    }
}

/// A descriptor that becomes readable when woken, and stays so because nothing reads from it.
#[derive(Debug)]
pub(crate) struct Wakeup((Woken, Waker));

impl Wakeup {
    pub(crate) fn new() -> io::Result<Self> {
        bell().map(Self)
    }

    pub(crate) fn wake(&self) {
        let Self((_, end)) = self;
        // This cannot fail: one byte always fits, and the other end lives as long as this one.
        let _ = (&*end).write(&[0]);
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let Self((end, _)) = self;
        end.as_fd()
    }
}

/// A handle that stops clients from another thread, such as one that handles signals.
///
/// Pass it to [`ClientBuilder::canceller`](crate::ClientBuilder::canceller) of one or more clients.
/// After [`cancel`](Self::cancel), every wait of these clients ends at once with
/// [`Error::Cancelled`](crate::Error::Cancelled), and so does every later call. Only
/// [`Download::abort`](crate::Download::abort), [`Upload::abort`](crate::Upload::abort) and
/// [`Client::quit`](crate::Client::quit) may still talk to the server, for at most 1 s.
///
/// ```no_run
/// use ftp_client::{Canceller, Client, Error};
///
/// let canceller = Canceller::new()?;
/// let button = canceller.clone();
/// std::thread::spawn(move || {
///     // The user presses the button.
///     button.cancel();
/// });
/// let mut client = Client::builder().canceller(canceller).connect("ftp.example.org")?;
/// client.login("anonymous", "guest@")?;
/// let mut file = client.retrieve("pub/large.bin")?;
/// match std::io::copy(&mut file, &mut std::io::sink()).map_err(Error::downcast) {
///     Ok(_) => println!("{} bytes", file.finish()?.bytes),
///     Err(Ok(Error::Cancelled)) => file.abort()?,
///     Err(error) => return Err(error?.into()),
/// }
/// client.quit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Canceller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    at: OnceLock<Instant>,
    wakeup: Wakeup,
}

impl Canceller {
    /// Creates a canceller, which holds two file descriptors.
    ///
    /// # Errors
    ///
    /// Returns the system's error, for example if no file descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { at: OnceLock::new(), wakeup: Wakeup::new()? })))
    }

    /// Cancels all clients of this canceller permanently. Further calls have no effect.
    pub fn cancel(&self) {
        let Self(inner) = self;
        if inner.at.set(Instant::now()).is_ok() {
            inner.wakeup.wake();
        }
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled_at().is_some()
    }

    pub(crate) fn cancelled_at(&self) -> Option<Instant> {
        self.0.at.get().copied()
    }
}

/// The descriptor becomes readable after the cancel. Callers can poll it together with other
/// descriptors, but must not read from it.
impl AsFd for Canceller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wakeup.as_fd()
    }
}

/// A connection that a [connector](crate::ClientBuilder::connector) opens: a byte stream with a file
/// descriptor to wait on.
///
/// It is implemented for TCP and Unix sockets. To add a tunnel protocol or your own TLS, wrap one
/// of these sockets.
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::net::TcpStream;
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// use ftp_client::Transport;
///
/// /// Counts received bytes.
/// #[derive(Debug)]
/// struct Counted(TcpStream, u64);
///
/// impl Read for Counted {
///     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
///         let count = self.0.read(buffer)?;
///         self.1 += count as u64;
///         Ok(count)
///     }
/// }
///
/// impl Write for Counted {
///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
///         self.0.write(bytes)
///     }
///
///     fn flush(&mut self) -> io::Result<()> {
///         self.0.flush()
///     }
/// }
///
/// impl AsFd for Counted {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// impl Transport for Counted {
///     fn set_nonblocking(&self) -> io::Result<()> {
///         Transport::set_nonblocking(&self.0)
///     }
///
///     fn end_writing(&mut self) -> io::Result<()> {
///         self.0.end_writing()
///     }
/// }
/// ```
pub trait Transport: Read + Write + AsFd + fmt::Debug + Send + Sync {
    /// Makes the connection non-blocking.
    ///
    /// From then on, a read or write that would wait fails with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and the client polls the descriptor.
    ///
    /// # Errors
    ///
    /// Returns the transport's own error.
    fn set_nonblocking(&self) -> io::Result<()>;

    /// Ends the outgoing data properly; the other direction stays open.
    ///
    /// # Errors
    ///
    /// Returns the transport's own error.
    fn end_writing(&mut self) -> io::Result<()>;

    /// Returns whether a read would return at once although the descriptor is not readable
    /// (default: false).
    ///
    /// Return `true` if the transport has already taken bytes from the descriptor.
    fn has_unread(&self) -> bool {
        false
    }

    /// Makes the peer see a failure if the connection is dropped before
    /// [`end_writing`](Self::end_writing) (default: does nothing).
    ///
    /// With the default, a server that does not check the control connection takes an interrupted
    /// upload for a complete file.
    fn reset_when_dropped(&self) {}

    /// Returns the TCP socket, if bytes go through it unchanged (default: `None`).
    ///
    /// The client uses the socket to set TCP options, and to send files and urgent data.
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Transport for TcpStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        SockRef::from(&*self).set_linger(None)?;
        self.shutdown(Shutdown::Write)
    }

    fn reset_when_dropped(&self) {
        // Fails only on a socket that can no longer send.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

#[cfg(unix)]
impl Transport for UnixStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn an_attempt_that_panics_leaves_nothing_to_later_connections() {
        let canceller = Canceller::new().unwrap();
        canceller.cancel();
        let dial = || attempt(&canceller, || panic!("a dial of the caller"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(dial)).is_err());
        assert!(!is_given_up());
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let soon = Deadline::after(Duration::ZERO, Phase::Overall);
        let late = Deadline::after(Duration::MAX, Phase::Reply(None));
        assert!(late.remaining().is_ok());
        for deadline in [late.or(Some(soon)), soon.or(Some(late)), soon.or(None)] {
            assert!(matches!(deadline.remaining(), Err(Error::Timeout(Phase::Overall))));
        }
    }

    #[test]
    fn what_has_arrived_counts_once_after_the_deadline_cl_12() {
        let (one, other) = UnixStream::pair().unwrap();
        let waiter = Waiter::default();
        let is_ready = |deadline| waiter.wait_for(one.as_fd(), PollFlags::IN, deadline).is_ok();
        let past = || Deadline::after(Duration::ZERO, Phase::Stall);
        assert!(!is_ready(past()));
        Write::write_all(&mut &other, b"x").unwrap();
        for _ in 0..2 {
            let deadline = past();
            assert!(is_ready(deadline));
            assert!(!is_ready(deadline));
        }
    }

    #[test]
    fn a_pause_beyond_the_deadline_or_after_a_cancel_ends_at_once() {
        let short = Duration::from_millis(20);
        let long = Duration::from_secs(60);
        let canceller = Canceller::new().unwrap();
        for canceller in [None, Some(canceller.clone())] {
            let waiter = Waiter::new(Some(long), canceller);
            let begin = Instant::now();
            assert!(waiter.has_room(short).unwrap());
            waiter.sleep(short).unwrap();
            assert!(begin.elapsed() >= short);
            assert!(!waiter.has_room(long).unwrap());
            assert!(waiter.remaining().unwrap().is_some_and(|left| left < long));
            assert!(begin.elapsed() < long / 2);
        }
        let waiter = Waiter::new(None, Some(canceller.clone()));
        let begin = Instant::now();
        let button = thread::spawn(move || canceller.cancel());
        assert!(matches!(waiter.sleep(long), Err(Error::Cancelled)));
        assert!(matches!(waiter.has_room(long), Err(Error::Cancelled)));
        button.join().unwrap();
        assert!(begin.elapsed() < long / 2);
        assert!(waiter.remaining().unwrap().is_none());
    }

    #[test]
    fn all_awaited_background_tasks_run_concurrently() {
        let all = MOST_LEFT + 8;
        let together = Arc::new(std::sync::Barrier::new(all));
        let late = Deadline::after(Duration::from_secs(60), Phase::Resolve);
        thread::scope(|threads| {
            for _ in 0..all {
                let together = Arc::clone(&together);
                threads.spawn(move || {
                    let work = move || Ok(together.wait().is_leader());
                    Waiter::default().run(late, work).unwrap().unwrap();
                });
            }
        });
    }

    #[test]
    fn background_tasks_end_by_result_panic_timeout_or_cancel() {
        let canceller = Canceller::new().unwrap();
        let waiter = Waiter::new(None, Some(canceller.clone()));
        let late = Deadline::after(Duration::from_secs(60), Phase::Resolve);
        assert_eq!(waiter.run(late, || Ok(7)).unwrap().unwrap(), 7);
        let error = waiter.run(late, || -> io::Result<()> { panic!("on purpose") });
        assert_eq!(error.unwrap().unwrap_err().to_string(), "the lookup or connector panicked");

        let (hold, held) = mpsc::channel::<()>();
        let hang = move || Ok(held.recv().is_err());
        let soon = Deadline::after(Duration::from_millis(20), Phase::Resolve);
        assert!(matches!(waiter.run(soon, hang), Err(Error::Timeout(Phase::Resolve))));
        drop(hold);

        let (hold, held) = mpsc::channel::<()>();
        let hang = move || Ok(held.recv().is_err());
        let button = thread::spawn(move || canceller.cancel());
        assert!(matches!(waiter.run(late, hang), Err(Error::Cancelled)));
        button.join().unwrap();
        drop(hold);
    }
}
