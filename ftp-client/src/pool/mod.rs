//! Several connections to one server, made on demand ([`Pool`]), and further attempts after failures
//! ([`Patience`]).
//!
//! [`Worker::work`] handles many items with several workers, and hires more while that saves time.
//! [`Repeat`] lets a command be sent again whose reply was lost.

pub(crate) mod crew;
pub(crate) mod patience;

pub use crate::client::repeat::Repeat;
pub use crew::Worker;
pub use patience::{Attempt, Patience};

use std::borrow::{Borrow, BorrowMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ftp_proto::RepresentationType;

use self::patience::{Admission, Turn};
use crate::client::Client;
use crate::error::{Error, Recovery, Unsupported};
use crate::event::{Event, Observer};
use crate::net::wait::is_given_up;
use crate::trace;
use crate::{lock, unpoisoned};

/// The longest wait for a connection before the pool looks for a cancel again.
const TICK: Duration = Duration::from_millis(100);

/// Several connections to one server, for several threads.
///
/// The caller's closure makes a connection: it connects, logs in and, if needed, enters a
/// directory. The pool calls it when a connection is needed, at most [`size`](Self::size) times at
/// once. If the server refuses a connection while it accepts others, the pool works with those, and
/// the other callers wait for their turn. A connection that the server closed while it was idle is
/// replaced, which is not an attempt.
///
/// ```
/// use ftp_client::{Client, Event, Pool};
/// # use ftp_server::{MemoryStorage, Rights, Server, VirtualPath};
/// # let files = MemoryStorage::new();
/// # files.put(&VirtualPath::root().join(b"a.bin"), "1")?;
/// # files.put(&VirtualPath::root().join(b"b.bin"), "22")?;
/// # let server = Server::builder().storage(files).user("u", "p", Rights::FULL);
/// # let server = server.bind("127.0.0.1:0")?;
/// # let host = server.local_addr().to_string();
///
/// let pool = &Pool::new(|| {
///     let mut client = Client::builder().connect(&host)?;
///     client.login("u", "p").map(|()| client)
/// })
/// .size(4);
/// std::thread::scope(|threads| {
///     let size = |name| pool.run(&|event: Event<'_>| eprintln!("{event:?}"), |c| c.size(name));
///     let all = ["a.bin", "b.bin"].map(|name| threads.spawn(move || size(name)));
///     let sizes = all.map(|thread| thread.join().expect("no panic").ok().flatten());
///     assert_eq!(sizes, [Some(1), Some(2)]);
/// });
/// pool.quit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A failure of the closure in a type of the caller is an [`Error::Dial`].
#[must_use = "nothing happens until a connection is taken"]
pub struct Pool<'a> {
    shared: Arc<Shared<'a>>,
    pub(crate) patience: Patience,
}

struct Shared<'a> {
    dial: Box<dyn Fn() -> Result<Client, Error> + Send + Sync + 'a>,
    state: Mutex<PoolState>,
    /// Number of connections that replaced one whose replies were out of step.
    reconnects: AtomicU32,
    /// Notified when a connection is idle, accepted, refused or lost.
    changed: Condvar,
}

struct PoolState {
    admission: Admission,
    /// Each with the moment when it came back.
    idle: Vec<(Instant, Client)>,
    max_idle: Duration,
    waiting: usize,
    /// Whether connections are kept whose current directory has changed.
    any_directory: bool,
    /// Whether connections send several commands in one write.
    flights: bool,
    /// The error of a `QUIT` that showed a reply that was never read.
    unread: Option<Error>,
}

impl<'a> Pool<'a> {
    /// Returns a pool of one connection, which `dial` makes; nothing is sent yet.
    pub fn new(dial: impl Fn() -> Result<Client, Error> + Send + Sync + 'a) -> Self {
        let state = PoolState {
            admission: Admission::new(),
            idle: Vec::new(),
            max_idle: Duration::MAX,
            waiting: 0,
            any_directory: false,
            flights: false,
            unread: None,
        };
        let shared = Shared {
            dial: Box::new(dial),
            state: Mutex::new(state),
            reconnects: AtomicU32::new(0),
            changed: Condvar::new(),
        };
        Self { shared: Arc::new(shared), patience: Patience::new() }
    }

    /// Sets the maximum number of connections (default: 1; 0 counts as 1).
    ///
    /// In active mode with given ports
    /// ([`ClientBuilder::active_ports`](crate::ClientBuilder::active_ports)), more connections than
    /// ports are useless.
    pub fn size(self, most: usize) -> Self {
        self.shared.lock().admission.resize(most);
        self
    }

    /// Sets the attempts of [`run`](Pool::run) and the pauses between them, and what ends the pauses
    /// and waits for a connection (default: [`Patience::new`]).
    ///
    /// `dial` gives the same canceller to its clients, and limits them with
    /// [`ClientBuilder::overall`](crate::ClientBuilder::overall).
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sets whether connections are reused after their current directory has changed (default: no;
    /// such a connection is closed when it comes back). Then no caller may rely on the directory.
    pub fn any_directory(self, on: bool) -> Self {
        self.shared.lock().any_directory = on;
        self
    }

    /// Sets whether connections may send several commands in one write to a server that answers them in
    /// order (default: no). A caller must repeat its questions over another connection after
    /// [`Error::Desynchronised`].
    pub fn flights(self, on: bool) -> Self {
        self.shared.lock().flights = on;
        self
    }

    /// Closes connections that were idle for longer, in place of lending them (default: never). A
    /// firewall or a device that sleeps can have forgotten them without a sign.
    pub fn max_idle(self, time: Duration) -> Self {
        self.shared.lock().max_idle = time;
        self
    }

    /// Returns a connection that is ready for the next command: an idle one, or a new one. Waits
    /// while all connections are lent.
    ///
    /// A caller that holds a connection should not take a second one: if the server accepts no
    /// more, it would wait for itself.
    ///
    /// # Errors
    ///
    /// Returns the error of `dial` if the server accepts no connection, and [`Error::Cancelled`] or
    /// [`Error::Timeout`] if the wait was cancelled or took too long. After an error of the first
    /// connection that another attempt would not change, such as a wrong password, later calls
    /// return a copy of the error without connecting, until [`reopen`](Self::reopen) is called.
    pub fn take(&self) -> Result<Lent<'a>, Error> {
        self.lend(true).map_err(Error::met)
    }

    /// Returns a connection as [`take`](Self::take) does, but does not wait for one that is lent.
    ///
    /// # Errors
    ///
    /// Returns the error of `dial` if the server accepts no connection, and [`Error::Fewer`] if other
    /// callers have all connections.
    pub fn try_take(&self) -> Result<Lent<'a>, Error> {
        self.lend(false)
    }

    fn lend(&self, waits: bool) -> Result<Lent<'a>, Error> {
        loop {
            let Some((mut client, is_new)) = self.next_client(waits)? else { continue };
            // The check reads from the connection, so no lock is held.
            match if is_new { Ok(()) } else { client.make_ready() } {
                Ok(()) => {
                    let (back, wanted) = (Arc::clone(&self.shared), client.representation());
                    return Ok(Lent { back, client: Some(client), wanted });
                }
                Err(error) => {
                    self.shared.lost();
                    // Something was confirmed that may have failed.
                    if let Error::Unexpected { .. } = error {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Returns a client, and whether it is new; `None` if the caller has to look again.
    fn next_client(&self, waits: bool) -> Result<Option<(Client, bool)>, Error> {
        let waiter = self.patience.limits().waiter();
        waiter.check()?;
        let mut state = self.shared.lock();
        if let Some(failure) = state.admission.refusal() {
            return Err(Error::Fewer(failure.into()));
        }
        while let Some((since, client)) = state.idle.pop() {
            if since.elapsed() <= state.max_idle {
                return Ok(Some((client, false)));
            }
            state.admission.lost();
        }
        match state.admission.turn() {
            Turn::Dial => drop(state),
            Turn::Full if !waits => {
                let all = Error::Unsupported(Unsupported::PoolIsFull);
                return Err(Error::Fewer(state.admission.fewer().unwrap_or(all).into()));
            }
            Turn::Full | Turn::Wait => {
                // A cancel cannot notify, so the wait ends from time to time.
                let longest = waiter.remaining()?.map_or(TICK, |left| left.min(TICK));
                state.waiting += 1;
                let waited = self.shared.changed.wait_timeout(state, longest);
                let (mut state, _) = unpoisoned(waited);
                state.waiting -= 1;
                return Ok(None);
            }
        }
        let panicked = Dialling(&self.shared);
        let dialled = (self.shared.dial)();
        std::mem::forget(panicked);
        let mut state = self.shared.lock();
        let result = match dialled {
            Ok(mut client) => {
                client.control.keep();
                client.is_other_session = false;
                client.moved &= state.any_directory;
                client.tests_flights = state.flights;
                state.admission.accepted();
                Ok(Some((client, true)))
            }
            Err(failure) if is_given_up() => {
                state.admission.given_up();
                Err(failure)
            }
            Err(failure) => match state.admission.refused(&failure, waits) {
                true if waits => {
                    trace::note(format_args!("the server refuses one more connection"));
                    Ok(None)
                }
                true => Err(Error::Fewer(failure.into())),
                false => Err(failure),
            },
        };
        drop(state);
        self.shared.changed.notify_all();
        result
    }

    /// Ends all waits: later calls return copies of `why`, and connections that come back are
    /// closed.
    pub fn shut(&self, why: &Error) {
        self.shared.lock().admission.shut(why.clone());
        self.shared.changed.notify_all();
    }

    /// Connects again after an error that was final.
    pub fn reopen(&self) {
        let _ = self.reopen_after(Duration::ZERO);
    }

    /// Connects again after an error that was final, if it came this long ago. Returns whether the pool
    /// makes connections; otherwise each call returns that error.
    #[must_use]
    pub fn reopen_after(&self, after: Duration) -> bool {
        self.shared.lock().admission.reopen(after)
    }

    /// Lets one caller try one more connection if the server refused one this long ago while others were
    /// open: that can have been a failure of the network, which would limit a busy pool for good.
    pub fn probe(&self, after: Duration) {
        self.shared.lock().admission.probe(after);
    }

    /// Returns the number of connections that replaced one whose replies were out of step.
    pub(crate) fn reconnects(&self) -> &AtomicU32 {
        &self.shared.reconnects
    }

    pub(crate) fn replaces(&self, recovery: Recovery) -> bool {
        recovery.may_reconnect(self.reconnects())
    }

    /// Notes the end of a session, for [`quit`](Self::quit).
    pub(crate) fn note_end(&self, ended: &Result<(), Error>) {
        if let Err(error) = ended
            && error.is_out_of_step()
        {
            self.shared.lock().unread.get_or_insert_with(|| error.clone());
        }
    }

    /// Returns the number of connections that the server allows at once, or `None` if it has refused
    /// none since the pool last had no connection.
    #[must_use]
    pub fn allowed(&self) -> Option<usize> {
        self.shared.lock().admission.allowed()
    }

    /// Ends the sessions of all idle connections with `QUIT`.
    ///
    /// # Errors
    ///
    /// Returns the first error of [`Client::quit`], also of a session that ended earlier with a
    /// reply that was never read.
    pub fn quit(&self) -> Result<(), Error> {
        let idle = std::mem::take(&mut self.shared.lock().idle);
        let unread = self.shared.lock().unread.take().map_or(Ok(()), Err);
        let max_idle = self.shared.lock().max_idle;
        let quit = |(since, client): (Instant, Client)| {
            let ended = if since.elapsed() > max_idle { Ok(()) } else { client.quit() };
            self.shared.lost();
            ended
        };
        idle.into_iter().map(quit).fold(unread, Result::and)
    }

    /// Calls `work` with a connection until it succeeds or no attempt may follow. Also returns the
    /// connection of the success.
    pub(crate) fn persist<T>(
        &self,
        on: &mut dyn FnMut(u32, &Error, Duration),
        mut work: impl FnMut(&mut Client, &mut Attempt) -> Result<T, Error>,
    ) -> Result<(T, Lent<'a>), Error> {
        let mut attempt = self.patience.first();
        let mut replaces = |failure: &Error| self.replaces(failure.recovery());
        loop {
            let done = match self.take() {
                Ok(mut lent) => work(&mut lent, &mut attempt).map(|done| (done, lent)),
                Err(failure) => Err(failure),
            };
            match done {
                Err(failure) => self.patience.next(&mut attempt, failure, &mut replaces, on)?,
                done => return done,
            }
        }
    }

    /// Calls `work` with a connection until it succeeds, until another attempt would not help, or
    /// until no attempt is left.
    ///
    /// Each further attempt is an [`Event::Retry`]. It can get another connection, also a new one
    /// without the settings that an earlier attempt made.
    ///
    /// # Errors
    ///
    /// Returns the last error of `work` or [`take`](Self::take).
    pub fn run<T>(
        &self,
        on: &dyn Observer,
        mut work: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.run_attempts(on, |client, _| work(client))
    }

    /// Calls `work` as [`run`](Self::run) does, and tells it which attempt this is.
    ///
    /// # Errors
    ///
    /// Returns the last error of `work` or [`take`](Self::take).
    pub fn run_attempts<T>(
        &self,
        on: &dyn Observer,
        work: impl FnMut(&mut Client, &mut Attempt) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut announce = |attempt, why: &_, pause| on.event(retry(attempt, why, pause));
        self.persist(&mut announce, work).map(|(done, _)| done)
    }
}

pub(crate) fn retry(attempt: u32, why: &Error, pause: Duration) -> Event<'_> {
    let (failed, seconds) = (attempt - 1, pause.as_secs_f32());
    trace::note(format_args!("attempt {failed} failed: {why}; retrying in {seconds:.1} s"));
    Event::Retry { attempt, why, pause }
}

impl fmt::Debug for Pool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }

    fn lost(&self) {
        self.lock().admission.lost();
        self.changed.notify_all();
    }
}

/// Counts a connection as failed if `dial` panics, so that other callers do not wait for it.
struct Dialling<'s, 'a>(&'s Shared<'a>);

impl Drop for Dialling<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().admission.refused(&Error::Closed, true);
        self.0.changed.notify_all();
    }
}

/// What a lent connection knows of its pool.
trait GiveBack: Send + Sync {
    fn give_back(&self, client: Client);
    fn lose(&self);
    fn is_wanted(&self) -> bool;
}

impl GiveBack for Shared<'_> {
    fn give_back(&self, mut client: Client) {
        let mut state = self.lock();
        (client.reuses, client.tests_flights) = (client.config.reuse_data, state.flights);
        // The port of a transfer that has not begun can be closed when the next one begins.
        client.control.forget_answers();
        let is_kept = client.is_settled()
            && !client.is_other_session
            && !client.is_renaming
            && (state.any_directory || !client.has_moved())
            && state.admission.refusal().is_none();
        match is_kept {
            true => state.idle.push((Instant::now(), client)),
            false => state.admission.lost(),
        }
        drop(state);
        self.changed.notify_all();
    }

    fn lose(&self) {
        self.lost();
    }

    fn is_wanted(&self) -> bool {
        self.lock().waiting > 0
    }
}

/// A connection of a [`Pool`]. It goes back when it is dropped, unless a reply or `RNTO` is outstanding or
/// its current directory has changed, or you have sent a raw `USER` or `REIN`; then it is closed. The
/// type and the length check that you set are not those of the next caller.
#[must_use = "the connection goes back when this value is dropped"]
pub struct Lent<'a> {
    back: Arc<dyn GiveBack + 'a>,
    /// `None` only after the end.
    client: Option<Client>,
    /// As `dial` has made it.
    wanted: RepresentationType,
}

impl Lent<'_> {
    /// Closes the connection without `QUIT`, for example because it is useless.
    pub fn discard(mut self) {
        if self.client.take().is_some() {
            self.back.lose();
        }
    }

    /// Ends the session with `QUIT`, unless another caller waits for the connection and gets it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::quit`].
    pub fn end(mut self) -> Result<(), Error> {
        if self.back.is_wanted() {
            return Ok(());
        }
        let ended = self.client.take().map_or(Ok(()), Client::quit);
        self.back.lose();
        ended
    }
}

const TAKEN: &str = "only the methods that consume the value take the client";

impl Deref for Lent<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect(TAKEN)
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect(TAKEN)
    }
}

impl Borrow<Client> for Lent<'_> {
    fn borrow(&self) -> &Client {
        self
    }
}

impl BorrowMut<Client> for Lent<'_> {
    fn borrow_mut(&mut self) -> &mut Client {
        self
    }
}

impl fmt::Debug for Lent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").field(&self.client).finish()
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(mut client) = self.client.take() {
            client.set_representation(self.wanted);
            self.back.give_back(client);
        }
    }
}
