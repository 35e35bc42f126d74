//! Starts the threads of the server, and moves sessions to new ones (the relay).

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::lock::Lock;
use crate::{budget, limits};

/// Starts a thread with a stack of `stack` bytes. Without a name, the thread inherits the name of
/// its parent thread.
///
/// # Errors
///
/// Returns the system's error, or `OutOfMemory` if the thread and the other threads might use up the
/// address space: an allocation that fails would abort the process.
pub(crate) fn start(
    name: Option<&str>,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    budget::check_room_for_thread(stack)?;
    let mut builder = Builder::new().stack_size(stack);
    if let Some(name) = name {
        builder = builder.name(name.to_owned());
    }
    // One type for all threads: the standard library's code for each type takes 2 KB.
    let work: Box<dyn FnOnce() + Send> = Box::new(work);
    builder.spawn(work)
}

/// Stack size of a thread that calls a store, in bytes. It is enough for TLS in a debug build.
pub(crate) const JOB_STACK: usize = 512 * 1024;

/// Work in a thread of its own, and its result.
pub(crate) struct ThreadJob<T> {
    result: Slot<T>,
    end: JobEnd,
}

/// A one-shot result of work in another thread. An instance of `mpsc` per result type would add 25
/// KB of code each.
pub(crate) struct Slot<T>(Arc<Lock<SlotState<T>>>);

/// The result, and the callback that consumes it once its waiter has given up.
type SlotState<T> = (Option<T>, Option<Late<T>>);

/// A callback that consumes a late result, in the thread that produced it.
pub(crate) type Late<T> = Box<dyn FnOnce(T) + Send>;

/// Returns the work as one that needs no result, and the slot for its result.
pub(crate) fn slot<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (Box<dyn FnOnce() + Send>, Slot<T>) {
    let result = Arc::new(Lock::new((None, None)));
    let slot = Slot(Arc::clone(&result));
    let fill = move || {
        let done = work();
        let mut state: MutexGuard<'_, SlotState<T>> = result.lock();
        let Some(late) = state.1.take() else {
            state.0 = Some(done);
            return;
        };
        drop(state);
        late(done);
    };
    (Box::new(fill), slot)
}

impl<T> Slot<T> {
    /// Returns the result once the work has ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the work panicked.
    pub(crate) fn take(&self) -> io::Result<T> {
        self.0.lock().0.take().ok_or_else(panicked)
    }

    /// Stops waiting: `late` consumes the result, now if it is there, otherwise in the worker
    /// thread when it is.
    pub(crate) fn leave(&self, late: Late<T>) {
        let mut state = self.0.lock();
        let Some(result) = state.0.take() else {
            state.1 = Some(late);
            return;
        };
        drop(state);
        late(result);
    }
}

thread_local! {
    static WANTED: RefCell<Arc<WantedJob>> = RefCell::default();

    static CLIENT: Cell<IpAddr> = const { Cell::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) };
}

/// Sets the client for which this thread and the jobs that it begins work.
pub(crate) fn serve(client: IpAddr) {
    CLIENT.set(client);
}

/// Returns the client for which this thread works. Without a session, all work is that of one client.
#[cfg(feature = "s3")]
pub(crate) fn client() -> IpAddr {
    CLIENT.get()
}

pub(crate) fn is_cancelled() -> bool {
    WANTED.with_borrow(|wanted| wanted.is_cancelled.load(Ordering::SeqCst))
}

/// Whether the result of a job is still wanted.
#[derive(Default)]
struct WantedJob {
    is_cancelled: AtomicBool,
    /// When the session that waits last looked and its client was there; `None` if no session waits.
    seen: Lock<Option<Instant>>,
}

/// Maximum age of the look at the client before a change.
pub(crate) const RECENT: Duration = limits::TICK.saturating_add(limits::LAST_CALL);

/// Maximum time that a job waits for that look.
const LOOKED: Duration = Duration::from_secs(10);

/// Returns whether the job of this thread is not cancelled, and its session has seen the client no
/// longer than `age` before now. Waits for the session to look again: a process that was stopped for
/// minutes goes on in this thread before its session sees that the client has gone.
pub(crate) fn is_wanted(age: Duration) -> bool {
    let (wanted, begun) = (WANTED.with_borrow(Arc::clone), Instant::now());
    let is_old = || wanted.seen.lock().is_some_and(|it| begun.duration_since(it) > age);
    while is_old() && !is_cancelled() && begun.elapsed() < LOOKED {
        thread::sleep(Duration::from_millis(10));
    }
    !is_old() && !is_cancelled()
}

/// The end of a thread.
pub(crate) struct JobEnd {
    end: Receiver<Infallible>,
    wanted: Arc<WantedJob>,
}

impl JobEnd {
    /// Starts work in a thread. The work must end by itself, as requests do because of their
    /// timeouts.
    ///
    /// # Errors
    ///
    /// Returns an error of [`start`].
    pub(crate) fn begin(work: Box<dyn FnOnce() + Send>) -> io::Result<Self> {
        let (ending, end) = mpsc::channel();
        let wanted = Arc::<WantedJob>::default();
        let (own, client) = (Arc::clone(&wanted), CLIENT.get());
        let work = move || {
            // Dropped last, also by a panic.
            let _ending = ending;
            WANTED.set(own);
            serve(client);
            work();
        };
        start(Some("storage"), JOB_STACK, work)?;
        Ok(Self { end, wanted })
    }

    /// Tells the job that its session saw its client at this time: see [`is_wanted`].
    pub(crate) fn seen(&self, when: Instant) {
        *self.wanted.seen.lock() = Some(when);
    }

    /// Cancels cooperatively: work that checks [`is_cancelled`] starts no further change. A change
    /// that is already in flight is not interrupted.
    pub(crate) fn cancel(&self) {
        self.wanted.is_cancelled.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_come(&self, limit: Duration) -> bool {
        matches!(self.end.recv_timeout(limit), Err(RecvTimeoutError::Disconnected))
    }
}

impl<T> ThreadJob<T> {
    /// Gives up the result, which is dropped as soon as the work has ended.
    pub(crate) fn give_up(self) -> JobEnd {
        self.end
    }

    /// Passes the result to `late`: see [`Slot::leave`].
    pub(crate) fn leave(self, late: Late<T>) -> JobEnd {
        self.result.leave(late);
        self.end
    }

    /// Returns the result if it is available within `limit`, otherwise `None`. The result is an
    /// error if the work panicked.
    pub(crate) fn wait(&self, limit: Duration) -> Option<io::Result<T>> {
        self.end.has_come(limit).then(|| self.result.take())
    }

    /// The end of the job.
    pub(crate) const fn end(&self) -> &JobEnd {
        &self.end
    }

    /// Waits for the result, which is an error if the work panicked.
    #[cfg(feature = "s3")]
    pub(crate) fn finish(self) -> io::Result<T> {
        // The channel never has a message, so this waits for its end.
        let _ = self.end.end.recv();
        self.result.take()
    }
}

impl<T: Send + 'static> ThreadJob<T> {
    /// Starts work in a thread: see [`JobEnd::begin`]. Dropping the job does not end the work.
    ///
    /// # Errors
    ///
    /// Returns an error of [`start`].
    pub(crate) fn begin(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (fill, result) = slot(work);
        Ok(Self { result, end: JobEnd::begin(fill)? })
    }
}

/// A call that may block, polled by its owner: a helper thread blocks instead.
pub(crate) struct Polled<T>(Option<ThreadJob<T>>);

impl<T> Default for Polled<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Polled<T> {
    pub(crate) const fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the result of `work` if it is available within `limit`, otherwise `None`. A thread
    /// does the work if it `is_slow`; while that runs, another `work` is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error of [`ThreadJob::begin`], or an error if the work panicked.
    pub(crate) fn poll(
        &mut self,
        is_slow: bool,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Option<T>> {
        let job = match self.0.take() {
            Some(job) => job,
            None if is_slow => ThreadJob::begin(work)?,
            None => return Ok(Some(work())),
        };
        let done = job.wait(limit);
        if done.is_none() {
            self.0 = Some(job);
        }
        done.transpose()
    }
}

fn panicked() -> io::Error {
    io::Error::other("the thread of a call to the storage panicked")
}

/// Maximum time that work without a measurement counts for: the work may have waited for a disk.
const LIGHT: Duration = Duration::from_millis(10);

/// The processor time of a thread since some point.
pub(crate) struct ProcessorClock {
    since: Instant,
    /// The processor time at the start; `None` if it is not measured.
    start: Option<Duration>,
}

impl ProcessorClock {
    /// Starts the clock of the current thread. To measure takes two calls. Otherwise, the clock
    /// returns the time that has passed, which is not less, but at most [`LIGHT`].
    pub(crate) fn start(is_measured: bool) -> Self {
        Self { since: Instant::now(), start: is_measured.then(processor_time) }
    }

    /// Returns the processor time of the current thread since the start, in the same thread.
    pub(crate) fn elapsed(&self) -> Duration {
        match self.start {
            Some(start) => processor_time().saturating_sub(start),
            None => self.since.elapsed().min(LIGHT),
        }
    }

    /// Returns whether the work took longer than an unmeasured time can tell.
    pub(crate) fn is_heavy(&self) -> bool {
        self.since.elapsed() >= LIGHT
    }
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

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
        let relay = start(Some("ftp-relay"), limits::SESSION_STACK, work)?;
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
