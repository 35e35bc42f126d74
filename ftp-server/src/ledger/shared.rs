//! Optimistic updates of ledger records (read, change, compare and swap, retry), the renewal of
//! this server's leases, and the failed logins and bans that all servers count together.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};
use std::{fmt, io};

use sha2::{Digest as _, Sha256};

use super::record::{Later, Lease, Time, UsageRecord};
use super::{Ledger, LedgerError};
use crate::lock::{Lock, LockStripes, unpoisoned};
use crate::net::random;
use crate::storage::space::Cost;
use crate::{percent, threads};

/// Maximum time to retry a change while other servers change the record.
const PATIENCE: Duration = Duration::from_secs(10);

/// Back-off after a failure: calls fail fast meanwhile, so that sessions do not queue up for a
/// dead ledger.
const PAUSE: Duration = Duration::from_secs(2);

/// Maximum time that a server waits at shutdown for its delayed changes to be made.
const FAREWELL: Duration = Duration::from_secs(3);

/// The shortest lease: records have times in milliseconds, and the thread must pause between two
/// renewals.
const LEAST_LEASE: Duration = Duration::from_millis(1);

/// Maximum length of an escaped user or account in the name of a record, in bytes. A digest
/// replaces a longer one.
const LONGEST_NAME: usize = 120;

/// Maximum number of records that this server renews at a time: a thousand users with a session each
/// have a thousand records, and each takes a request or two.
const AT_ONCE: usize = 8;

/// The behaviour of a server while it cannot use the ledger, for example because the ledger does
/// not answer. With either value, the server logs a warning, and failed logins count only on this
/// server. In a storage with a quota, `AVBL` and `SITE QUOTA` fail with 452.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum WithoutLedger {
    /// The default: logins of users with limited sessions fail with 421. In a storage with a quota,
    /// uploads, `MKD`, `RMD`, `DELE` and `RNTO` fail with 452.
    #[default]
    Refuse,
    /// The server continues without the shared limits. Once the ledger answers again, the server
    /// records the running sessions, and counts the files of the quotas again.
    Allow,
}

/// A server's handle to the state that several servers share through a [`Ledger`]. Clones belong to
/// the same server.
///
/// [`ServerBuilder::shared_state`](crate::ServerBuilder::shared_state) counts the sessions of each
/// user and the failed logins of each host on all servers together. [`quota`](Self::quota) limits
/// the files of a storage. A thread renews the leases of this server until the last clone is
/// dropped.
///
/// ```
/// use std::time::Duration;
///
/// use ftp_server::{
///     MemoryLedger, MemoryStorage, Rights, Server, SharedState, WithoutLedger,
/// };
///
/// let ledger = MemoryLedger::new();
/// let state = SharedState::start(ledger, Duration::from_secs(60), WithoutLedger::Refuse)?;
/// let storage = state.quota(MemoryStorage::new(), "users").max_bytes(1_000_000);
/// let server = Server::builder()
///     .storage(storage)
///     .user("u", "p", Rights::FULL)
///     .shared_state(state)
///     .bind("127.0.0.1:0")?;
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedState {
    pub(super) inner: Arc<SharedInner>,
    /// The guard that ends the thread that renews the leases.
    _end: Arc<End>,
}

/// The part of a [`SharedState`] that all clones share.
pub(super) struct SharedInner {
    pub(super) ledger: Box<dyn Ledger>,
    lease: Duration,
    without: WithoutLedger,
    /// Sessions of this server serialise on a record, instead of losing the compare-and-swap to each
    /// other.
    turns: LockStripes,
    books: Lock<LedgerAccount>,
    /// The signal that the thread has work, or that the work is done.
    signal: Condvar,
    /// Last seen change count of each counted record. A lower one means that the ledger was rolled
    /// back, as by a Redis restart from a snapshot.
    seen: Lock<HashMap<String, u64>>,
    /// The last failure, and the time until which all calls fail with it.
    failure: Lock<Option<(LedgerError, Instant)>>,
}

/// The leases of this server in each record, and its delayed changes to each record.
#[derive(Debug, Default)]
struct LedgerAccount {
    held: BTreeMap<String, HashMap<String, Held>>,
    later: BTreeMap<String, Vec<Later>>,
    /// Number of calls that are making changes taken from `later`.
    making: usize,
    is_over: bool,
}

/// A lease of this server.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// Its cost must stay within `limit`.
    Lease {
        cost: Cost,
        names: Vec<String>,
        limit: Cost,
    },
    Count,
}

/// A guard that ends the thread for the leases when the last clone of a [`SharedState`] is dropped.
struct End(Arc<SharedInner>);

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SharedInner { ledger, lease, without, .. } = &*self.inner;
        let mut shown = f.debug_struct("SharedState");
        shown.field("ledger", ledger).field("lease", lease).field("without", without);
        shown.finish_non_exhaustive()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.books.lock().is_over = true;
        self.0.signal.notify_all();
    }
}

impl SharedState {
    /// Begins to share state. If a server dies, its sessions stop counting once `lease` has passed.
    /// Its reservations count until the files are counted again after that time. All servers that
    /// share a ledger must use the same lease. With an object store, the lease should be at least
    /// 10 s.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if `lease` is shorter than 1 ms, or the system's error if a thread
    /// cannot be started.
    pub fn start(
        ledger: impl Ledger + 'static,
        lease: Duration,
        without: WithoutLedger,
    ) -> io::Result<Self> {
        if lease < LEAST_LEASE {
            let message = "invalid lease: expected at least 1 ms";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let inner = Arc::new(SharedInner {
            ledger: Box::new(ledger),
            lease,
            without,
            turns: LockStripes::new(),
            books: Lock::default(),
            signal: Condvar::new(),
            seen: Lock::default(),
            failure: Lock::default(),
        });
        let end = End(Arc::clone(&inner));
        let kept = Arc::clone(&inner);
        threads::start(Some("ledger"), threads::JOB_STACK, move || keep(&kept))?;
        Ok(Self { inner, _end: Arc::new(end) })
    }

    /// Stops renewing leases, like a server that has died.
    #[cfg(test)]
    pub(crate) fn die(&self) {
        self.inner.books.lock().is_over = true;
        self.inner.signal.notify_all();
    }

    /// Waits at most 3 s until the ledger has recorded the ended sessions and transfers of this
    /// server. Without this call, other servers may count them until the lease expires.
    pub fn flush(&self) {
        let until = Instant::now() + FAREWELL;
        let mut books = self.inner.books.lock();
        while books.making > 0 || !books.later.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            books = unpoisoned(self.inner.signal.wait_timeout(books, left)).0;
        }
    }

    /// Verifies that the ledger can be used: see [`Ledger::prove`].
    #[cfg(all(feature = "daemon", feature = "s3", feature = "redis"))]
    pub(crate) fn prove(&self) -> Result<(), LedgerError> {
        self.inner.ledger.prove()
    }

    /// Returns whether calls can wait for long.
    pub(crate) fn is_remote(&self) -> bool {
        self.inner.ledger.is_remote()
    }

    /// Counts one more session, or returns `None` if the user already has `limit` sessions on all
    /// servers together.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger if the ledger fails and [`WithoutLedger::Refuse`] is set.
    pub(crate) fn enter(&self, user: &[u8], limit: usize) -> Result<Option<Presence>, LedgerError> {
        let shared = &self.inner;
        let (record, id) = (record_name("sessions", user), unique()?);
        match shared.change(&record, |record, times| record.enter(&id, limit, times)) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(error) => {
                shared.later(&record, Later::Release { id: id.clone() });
                if shared.without == WithoutLedger::Refuse {
                    return Err(error);
                }
            }
        }
        let cost = Cost::default();
        shared.hold(&record, &id, Held::Lease { cost, names: Vec::new(), limit: cost });
        Ok(Some(Presence { state: self.clone(), record, id }))
    }
}

/// A session that all servers count.
pub(crate) struct Presence {
    state: SharedState,
    record: String,
    id: String,
}

ftp_proto::debug_fields!(Presence { record }..);

impl Drop for Presence {
    fn drop(&mut self) {
        self.state.inner.give_up(&self.record, &self.id);
        self.state.inner.later(&self.record, Later::Release { id: self.id.clone() });
    }
}

impl SharedInner {
    pub(super) fn without(&self) -> WithoutLedger {
        self.without
    }

    /// Renews a lease until it is [given up](Self::give_up).
    pub(super) fn hold(&self, record: &str, id: &str, held: Held) {
        self.books.lock().held.entry(record.to_owned()).or_default().insert(id.to_owned(), held);
    }

    pub(super) fn give_up(&self, record: &str, id: &str) {
        let mut books = self.books.lock();
        if let Some(held) = books.held.get_mut(record) {
            held.remove(id);
            if held.is_empty() {
                books.held.remove(record);
            }
        }
    }

    /// Queues a write-behind change, which the lease thread or the next update of the record
    /// applies.
    pub(super) fn later(&self, record: &str, later: Later) {
        self.books.lock().later.entry(record.to_owned()).or_default().push(later);
        self.signal.notify_all();
    }

    /// Changes a record with `act`, and returns the result of `act`. If another server changes the
    /// record meanwhile, calls `act` again with the new version.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger. In that case, it is unknown whether the record has changed.
    pub(super) fn change<T>(
        &self,
        name: &str,
        act: impl FnMut(&mut UsageRecord, (Time, Time)) -> T,
    ) -> Result<T, LedgerError> {
        let _turn = self.turns.lock(name);
        if let Some((error, until)) = &*self.failure.lock()
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let waiting = {
            let mut books = self.books.lock();
            let waiting = books.later.remove(name);
            books.making += usize::from(waiting.is_some());
            waiting
        };
        let has_waiting = waiting.is_some();
        let changed = self.try_change(name, waiting.as_deref().unwrap_or_default(), act);
        let mut books = self.books.lock();
        books.making -= usize::from(has_waiting);
        // A damaged record drops its queued changes: once it is replaced, the files are counted
        // anyway.
        if changed.is_err() && !matches!(changed, Err(LedgerError::Damaged { .. })) {
            let newer = books.later.remove(name).unwrap_or_default();
            let all = waiting.into_iter().flatten().chain(newer).collect();
            books.later.insert(name.to_owned(), all);
        }
        drop(books);
        if has_waiting {
            self.signal.notify_all();
        }
        let changed = changed.map(|(done, is_written)| {
            self.remember(None, is_written);
            done
        });
        changed.inspect_err(|error| self.remember(Some(error), false))
    }

    fn try_change<T>(
        &self,
        name: &str,
        waiting: &[Later],
        mut act: impl FnMut(&mut UsageRecord, (Time, Time)) -> T,
    ) -> Result<(T, bool), LedgerError> {
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            let found = self.ledger.read(name)?;
            let version = found.version.as_deref();
            let former = match version {
                Some(_) => parse(name, &found.content)?,
                None => UsageRecord::default(),
            };
            let mut record = former.clone();
            let seen = self.seen.lock().get(name).copied();
            if let Some(seen) = seen.filter(|seen| former.changes < *seen) {
                log::warn!("ledger record {name:?}: its last changes are lost");
                record.lose(seen);
            }
            let now = Time::try_from(found.time.as_millis()).unwrap_or(Time::MAX);
            let lease = Time::try_from(self.lease.as_millis()).unwrap_or(Time::MAX);
            waiting.iter().for_each(|later| record.apply(later, now));
            let done = act(&mut record, (now, now.saturating_add(lease)));
            if record == former {
                self.see(name, &record);
                return Ok((done, false));
            }
            record.changes += 1;
            if self.ledger.replace(name, version, record.encode().as_bytes())? {
                self.see(name, &record);
                return Ok((done, true));
            }
            if begun.elapsed() >= PATIENCE {
                return Err(LedgerError::Contended { record: name.to_owned() });
            }
            // Exponential back-off with jitter.
            tries = u32::min(tries + 1, 6);
            let spread = random::number().unwrap_or_default() % (2 << tries);
            thread::sleep(Duration::from_millis(spread));
        }
    }

    /// Remembers the number of changes of a record, so that this server notices if the ledger loses
    /// some.
    fn see(&self, name: &str, record: &UsageRecord) {
        if record.is_counted() {
            self.seen.lock().insert(name.to_owned(), record.changes);
        }
    }

    /// Remembers whether the ledger answers, and logs when that changes. Also logs errors of a
    /// ledger that answers. A ledger that can only be read, such as a replica, does not answer again.
    fn remember(&self, error: Option<&LedgerError>, is_written: bool) {
        let mut failure = self.failure.lock();
        match error {
            Some(error @ (LedgerError::Away { .. } | LedgerError::Unfit { .. })) => {
                if failure.is_none() {
                    let effect = match self.without {
                        WithoutLedger::Refuse => {
                            "logins and uploads that count towards a limit are refused"
                        }
                        WithoutLedger::Allow => "limits across servers are not enforced",
                    };
                    log::warn!("{error}; {effect}");
                }
                *failure = Some((error.clone(), Instant::now() + PAUSE));
            }
            Some(error) => log::warn!("{error}"),
            None => {
                if is_written && failure.take().is_some() {
                    log::info!("the ledger answers again");
                }
            }
        }
    }

    pub(super) fn renew(&self, name: &str) -> Result<(), LedgerError> {
        self.change(name, |record, (_, until)| {
            let books = self.books.lock();
            for (id, held) in books.held.get(name).into_iter().flatten() {
                match held.clone() {
                    Held::Count => record.renew_count(id, until),
                    Held::Lease { cost, names, limit } => {
                        let lease = Lease { until, cost, names, ..Lease::default() };
                        record.renew(id, lease, limit);
                    }
                }
            }
        })
    }

    /// Makes the delayed changes. Returns `false` if a change failed.
    fn settle(&self) -> bool {
        let names: Vec<String> = self.books.lock().later.keys().cloned().collect();
        self.each(names, |name| self.change(name, |_, _| ()))
    }

    /// Calls `act` for each record, several at a time. Returns `false` if a call failed.
    fn each(
        &self,
        names: Vec<String>,
        act: impl Fn(&str) -> Result<(), LedgerError> + Sync,
    ) -> bool {
        let (more, names) = (names.len().min(AT_ONCE), Lock::new(names.into_iter()));
        let have_failed = AtomicBool::new(false);
        let next = || names.lock().next();
        let work = || {
            while let Some(name) = next() {
                // `change` has logged the error.
                have_failed.fetch_or(act(&name).is_err(), Ordering::SeqCst);
            }
        };
        thread::scope(|scope| {
            for _ in 1..more {
                let builder = Builder::new().name("ledger".to_owned());
                // Without more threads, this one does all of it.
                drop(builder.stack_size(threads::JOB_STACK).spawn_scoped(scope, work));
            }
            work();
        });
        !have_failed.into_inner()
    }
}

fn parse(name: &str, content: &[u8]) -> Result<UsageRecord, LedgerError> {
    let text = str::from_utf8(content).ok();
    text.and_then(UsageRecord::parse)
        .ok_or_else(|| LedgerError::Damaged { record: name.to_owned() })
}

/// Makes the delayed changes and renews the leases of a server, until its last [`SharedState`] is
/// dropped.
fn keep(shared: &SharedInner) {
    let mut renewed = Instant::now();
    let mut is_away = false;
    loop {
        let due = renewed + shared.lease / 3;
        let now = Instant::now();
        {
            let books = shared.books.lock();
            if books.is_over {
                return;
            }
            let is_idle = books.later.is_empty() || is_away;
            if is_idle && now < due {
                let most = if is_away { PAUSE } else { due - now };
                drop(unpoisoned(shared.signal.wait_timeout(books, most.min(due - now))));
            }
        }
        if Instant::now() >= due {
            renewed = Instant::now();
            let names: Vec<String> = shared.books.lock().held.keys().cloned().collect();
            // The next attempt comes before the leases expire.
            shared.each(names, |name| shared.renew(name));
        }
        is_away = !shared.settle();
    }
}

pub(super) fn record_name(kind: &str, name: &[u8]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let escaped = percent::encoded(name, is_plain);
    match escaped.len() <= LONGEST_NAME {
        true => format!("{kind}/{escaped}"),
        false => format!("{kind}/%{}", digest(name)),
    }
}

/// Returns the first 16 bytes of a SHA-256 digest in hexadecimal, for use as a name.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns an unpredictable id.
pub(super) fn unique() -> Result<String, LedgerError> {
    let number = || {
        random::number()
            .map_err(|error| LedgerError::Away { why: io::Error::from(error).to_string() })
    };
    Ok(format!("{:016x}{:016x}", number()?, number()?))
}

/// Returns the name of the record of a host, one of 256. With a record for each host, a host that
/// failed once would leave a record forever. With one for all, each login would read the failures
/// of all hosts.
fn record_of(host: IpAddr) -> String {
    let digest = digest(host.to_string().as_bytes());
    format!("hosts/{}", digest.get(..2).unwrap_or_default())
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BanPolicy {
    /// Number of failed logins that lead to a ban.
    pub(crate) after: usize,
    /// Time for which a failed login counts.
    pub(crate) window: Duration,
    pub(crate) lasting: Duration,
}

impl SharedState {
    /// Counts a failed login of a host. Returns the remaining time of the host's ban; `None` if the
    /// host is not banned.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger if the record cannot be read or replaced.
    pub(crate) fn fail(
        &self,
        host: IpAddr,
        policy: BanPolicy,
    ) -> Result<Option<Duration>, LedgerError> {
        let id = unique()?;
        let ends = (millis(policy.window), millis(policy.lasting));
        self.inner.change(&record_of(host), |record, (now, _)| {
            let until = record.fail(&host.to_string(), &id, policy.after, (now, ends))?;
            Some(Duration::from_millis(until.saturating_sub(now)))
        })
    }

    /// Returns the remaining time of a host's ban; `None` if the host is not banned.
    ///
    /// # Errors
    ///
    /// Returns the error of the ledger if the record cannot be read or replaced.
    pub(crate) fn ban_of(&self, host: IpAddr) -> Result<Option<Duration>, LedgerError> {
        self.inner.change(&record_of(host), |record, (now, _)| {
            let until = record.ban_of(&host.to_string(), now)?;
            Some(Duration::from_millis(until.saturating_sub(now)))
        })
    }

    /// Removes the failed logins and the ban of a host from the ledger, without waiting for the
    /// ledger.
    pub(crate) fn forgive(&self, host: IpAddr) {
        self.inner.later(&record_of(host), Later::Forgive { host: host.to_string() });
    }
}

fn millis(time: Duration) -> Time {
    Time::try_from(time.as_millis()).unwrap_or(Time::MAX)
}
