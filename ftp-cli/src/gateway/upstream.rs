//! The connections to another server, the turns of changes there, and its errors.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::error::{Phase, Unsupported};
use ftp_client::pool::{Lent, Patience};
use ftp_client::{Client, ClientBuilder, Error, FtpUrl, Pool, Severity};
use ftp_proto::Escaped;
use ftp_server::{StorageError, StorageErrorKind as Kind};

use crate::lock;

/// Time after which a login that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Time after which one more connection that was refused is tried again.
const MORE: Duration = Duration::from_secs(5 * 60);

/// The pause before what was busy is asked for again, and before another connection is made that was not
/// refused by the server.
const PAUSE: Duration = Duration::from_millis(20);
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Time after which a firewall may have forgotten an idle connection.
const IDLE: Duration = Duration::from_secs(60);

/// Maximum memory of all listings and appends of a store at once, in bytes: 250,000 names.
pub(super) const ROOM: usize = 80 * 1024 * 1024;

pub(super) type StorageResult<T> = Result<T, StorageError>;

/// A connection of a pool.
pub(super) type Connection = Lent<'static>;

/// Name and password.
pub(super) type UserLogin = (Vec<u8>, Vec<u8>);

/// The other server, as the settings describe it.
pub(super) struct OtherTarget {
    pub(super) url: FtpUrl,
    pub(super) builder: ClientBuilder,
    pub(super) connections: usize,
    pub(super) timeout: Duration,
    /// Those of all stores; tests have their own.
    pub(super) turns: &'static Turns,
    /// The longest wait for the end of another change at a path.
    pub(super) turn: Duration,
    /// Time for which a change whose answer is lost may still be made.
    pub(super) late: Duration,
    pub(super) in_place: bool,
    pub(super) hashes: bool,
    pub(super) dialler: ConnectingThread,
    /// Whether each user's own login is passed on.
    pub(super) personal: bool,
    /// The address to which the first connection led.
    pub(super) peer: OnceLock<IpAddr>,
    /// The memory of listings that clients are reading, and of appends, in bytes.
    pub(super) held: AtomicUsize,
    /// Whether the server can set times, once known.
    pub(super) sets_times: OnceLock<bool>,
}

/// A part of the memory that all sessions of a store share.
pub(super) struct Held(Arc<OtherTarget>, usize);

impl Held {
    pub(super) fn none(upstream: &Upstream) -> Self {
        Self(Arc::clone(&upstream.target), 0)
    }

    /// Takes more bytes. Returns whether all then hold at most `most`: what waits for its client gets
    /// less, and leaves room for listings.
    pub(super) fn add(&mut self, bytes: usize, most: usize) -> bool {
        self.1 += bytes;
        self.0.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= most
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// A transfer that counts until it is dropped.
pub(super) struct RunningTransfer(Arc<Upstream>);

impl Drop for RunningTransfer {
    fn drop(&mut self) {
        self.0.transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one login.
pub(super) struct Upstream {
    pool: Pool<'static>,
    login: UserLogin,
    pub(super) target: Arc<OtherTarget>,
    /// The number of transfers.
    transfers: AtomicUsize,
    /// The directory of the URL as an absolute path without a final slash, once a connection has told it.
    base: Arc<OnceLock<Vec<u8>>>,
}

impl Upstream {
    pub(super) fn new(target: Arc<OtherTarget>, login: UserLogin) -> Self {
        let base = Arc::default();
        let (to, of_pool, found) = (Arc::clone(&target), login.clone(), Arc::clone(&base));
        let pool = Pool::new(move || dial(&to, &of_pool, &found)).size(target.connections);
        let pool = pool.any_directory(true).max_idle(IDLE);
        let pool = pool.flights(true).patience(Patience::new().attempts(1));
        Self { pool, login, target, transfers: AtomicUsize::new(0), base }
    }

    /// Logs in over a new connection: those of the pool prove only that the login was valid once.
    pub(super) fn prove_login(&self) -> StorageResult<()> {
        // The server may accept no more connections of this user.
        let _ = self.pool.quit();
        dial(&self.target, &self.login, &self.base).and_then(Client::quit).known()
    }

    /// Returns the absolute path of `path`, which begins with a slash or is empty, on the other server.
    /// There must have been a connection.
    pub(super) fn path(&self, path: &[u8]) -> Vec<u8> {
        let whole = [self.base.get().map_or(&b""[..], Vec::as_slice), path].concat();
        if whole.is_empty() { b"/".to_vec() } else { whole }
    }

    /// Returns a connection. Nothing has been sent over it.
    pub(super) fn lend(&self) -> StorageResult<Connection> {
        self.pool.probe(MORE);
        let pause = |error: &Error| {
            let connects = self.pool.reopen_after(AGAIN);
            match error {
                Error::Fewer(why) if connects => match **why {
                    // Silence was waited for already.
                    Error::Timeout(_) => None,
                    // A connection can come back at any time.
                    Error::Unsupported(Unsupported::PoolIsFull) => Some(PAUSE),
                    _ if self.pool.allowed().is_some() => Some(PAUSE),
                    // Each try connects.
                    _ => Some(LONG_PAUSE),
                },
                _ => None,
            }
        };
        let lent = wait_while(self.target.timeout, pause, || self.pool.try_take());
        lent.map_err(|error| {
            log::warn!("{}: {error}", self.target.url.host());
            failed(Kind::Unavailable, error.to_string())
        })
    }

    /// Returns a connection for a transfer, which takes as long as its client likes: `spare` ones stay for
    /// others, if there are more.
    pub(super) fn lend_for_transfer(
        self: &Arc<Self>,
        spare: usize,
    ) -> StorageResult<(Connection, RunningTransfer)> {
        wait_while(
            self.target.timeout,
            |_| Some(PAUSE),
            || {
                let all = self.pool.allowed().unwrap_or(usize::MAX).min(self.target.connections);
                let most = all.saturating_sub(spare).max(1);
                let more = |count: usize| (count < most).then_some(count + 1);
                let counted =
                    self.transfers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
                counted.map_err(|_| "too many transfers of others are running")
            },
        )
        .map_err(|why| failed(Kind::Unavailable, why))?;
        let transfer = RunningTransfer(Arc::clone(self));
        Ok((self.lend()?, transfer))
    }

    /// Asks something that changes nothing. Returns the connection too.
    pub(super) fn ask<T>(
        &self,
        call: impl FnMut(&mut Client, &Self) -> Result<T, Error>,
    ) -> StorageResult<(T, Connection)> {
        self.ask_by(self.lend()?, call)
    }

    /// Asks something over a connection. If that is lost meanwhile, it is replaced once.
    pub(super) fn ask_by<T>(
        &self,
        mut client: Connection,
        mut call: impl FnMut(&mut Client, &Self) -> Result<T, Error>,
    ) -> StorageResult<(T, Connection)> {
        let mut asked = call(&mut client, self);
        // A server that has not answered in time would be waited for once more.
        let is_lost = |error: &Error| {
            error.reply().is_none() && error.is_transient() && !matches!(error, Error::Timeout(_))
        };
        if asked.as_ref().is_err_and(is_lost) {
            client.discard();
            client = self.lend()?;
            asked = call(&mut client, self);
        }
        asked.map(|told| (told, client)).known()
    }

    /// Makes a change at a path below the directory of the URL, once; with `is_tree`, also of what is below
    /// that. It is not begun for a client that waits no longer.
    pub(super) fn change<T>(
        &self,
        path: &[u8],
        is_tree: bool,
        call: impl FnOnce(&mut Client, &[u8]) -> Result<T, Error>,
    ) -> StorageResult<T> {
        let mut client = self.lend()?;
        let turn = Turn::wait(self, &[(path, is_tree)])?;
        if client.make_ready().is_err() {
            // Nothing has been sent over it, so nothing is uncertain.
            client.discard();
            client = self.lend()?;
        }
        StorageError::check_wanted()?;
        turn.settle(call(&mut client, &self.path(path)))
    }
}

/// Tries again for this long what fails only because something is busy: then `pause` tells when.
pub(super) fn wait_while<T, E>(
    longest: Duration,
    pause: impl Fn(&E) -> Option<Duration>,
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        let done = work();
        match done.as_ref().err().and_then(&pause) {
            Some(pause) if begun.elapsed() < longest => thread::sleep(pause),
            _ => return done,
        }
    }
}

/// The turns of this moment. All stores have the same: a reload makes others, and one server can have several
/// names, ports and users.
pub(super) static TURNS: Turns = Turns(Mutex::new(Vec::new()));

#[derive(Default)]
pub(super) struct Turns(Mutex<Vec<Arc<Reserved>>>);

/// The turn of the only change at some paths: a change whose answer is late must not follow a newer one, and
/// of two appends at once, a server can write the second over the first.
pub(super) struct Turn {
    own: Arc<Reserved>,
    all: &'static Turns,
    late: Duration,
}

struct Reserved {
    /// The name of the server in small letters, and its address once a connection has shown it.
    server: (String, Option<IpAddr>),
    /// The user where each logs in there: a lost answer keeps a path from this one only.
    user: Option<Vec<u8>>,
    /// Each with whether what is below the path is changed too.
    places: Vec<(Vec<u8>, bool)>,
    /// The end of the turn of a change whose answer is lost.
    late: OnceLock<Instant>,
}

impl Reserved {
    fn excludes(&self, other: &Self) -> bool {
        let has = |(tree, is_tree): &(Vec<u8>, bool), path: &[u8]| {
            path.strip_prefix(&**tree)
                .is_some_and(|rest| rest.is_empty() || (*is_tree && rest.starts_with(b"/")))
        };
        let (own, others) = (&self.server, &other.server);
        let addresses = own.1.zip(others.1);
        (own.0 == others.0 || addresses.is_none_or(|(own, other)| own == other))
            && (self.late.get().is_none() || self.user == other.user)
            && self.places.iter().any(|one| {
                other.places.iter().any(|other| has(one, &other.0) || has(other, &one.0))
            })
    }
}

/// Returns one form of all paths that a server may take for one file.
pub(super) fn folded(path: &[u8]) -> Vec<u8> {
    let fold = |name: &[u8]| {
        let mut key = Client::name_key(name);
        if std::str::from_utf8(name).is_err() {
            // In its character set, two bytes can be one letter in two cases.
            key.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = u8::MAX);
        }
        key
    };
    path.split(|byte| *byte == b'/').map(fold).collect::<Vec<_>>().join(&b'/')
}

impl Turn {
    /// Begins the turn of a change at some paths below the directory of the URL, each with whether it also
    /// changes what is below the path.
    pub(super) fn begin(upstream: &Upstream, places: &[(&[u8], bool)]) -> StorageResult<Self> {
        let OtherTarget { turns: all, late, personal, .. } = *upstream.target;
        let host = upstream.target.url.host().to_ascii_lowercase();
        let server = (host, upstream.target.peer.get().copied());
        let user = personal.then(|| upstream.login.0.clone());
        let places = places.iter();
        let places = places.map(|(path, tree)| (folded(&upstream.path(path)), *tree)).collect();
        let own = Arc::new(Reserved { server, user, places, late: OnceLock::new() });
        let mut turns = lock(&all.0);
        turns.retain(|turn| turn.late.get().is_none_or(|end| Instant::now() < *end));
        if turns.iter().any(|turn| turn.excludes(&own)) {
            return Err(Kind::Busy.into());
        }
        turns.push(Arc::clone(&own));
        Ok(Self { own, all, late })
    }

    /// Waits for the turn for a moment.
    pub(super) fn wait(upstream: &Upstream, places: &[(&[u8], bool)]) -> StorageResult<Self> {
        wait_while(upstream.target.turn, |_| Some(PAUSE), || Self::begin(upstream, places))
    }

    /// Returns whether the answer to a change is lost.
    #[cfg(test)]
    pub(super) fn is_late(all: &Turns) -> bool {
        lock(&all.0).iter().any(|turn| turn.late.get().is_some())
    }

    /// Returns the result of the change. If its answer is lost, the server may make it later, and nothing
    /// newer must come before.
    pub(super) fn settle<T>(&self, done: Result<T, Error>) -> StorageResult<T> {
        done.map_err(|error| fault(&error, true)).inspect_err(|error| {
            if error.kind == Kind::Unknown {
                let _ = self.own.late.set(Instant::now() + self.late);
            }
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.own.late.get().is_none() {
            lock(&self.all.0).retain(|turn| !Arc::ptr_eq(turn, &self.own));
        }
    }
}

/// Connects as [`connect`] does, in a thread that is not confined.
fn dial(
    to: &Arc<OtherTarget>,
    login: &UserLogin,
    base: &Arc<OnceLock<Vec<u8>>>,
) -> Result<Client, Error> {
    let (target, login, base) = (Arc::clone(to), login.clone(), Arc::clone(base));
    to.dialler.run(move || connect(&target, &login, &base))
}

/// Connects and logs in, and finds the directory of the URL.
///
/// # Errors
///
/// Refuses a connection whose login directory is not that of the first one: all paths would lead elsewhere.
fn connect(to: &OtherTarget, login: &UserLogin, base: &OnceLock<Vec<u8>>) -> Result<Client, Error> {
    let mut client = to.builder.clone().connect_to(&to.url)?;
    client.login(&login.0, &login.1)?;
    if let Some(address) = client.peer_addr() {
        let _ = to.peer.set(address.ip().to_canonical());
    }
    if base.get().is_none() {
        let features = client.features()?;
        let _ = to.sets_times.set(features.has("MFMT") || features.has_with("SITE", "UTIME"));
    }
    let mut path = to.url.path().to_vec();
    if path.first() != Some(&b'/') {
        let mut here = client.pwd()?.into_bytes();
        // Two slashes at the beginning are a host's name on some systems.
        if here.last() != Some(&b'/') {
            here.push(b'/');
        }
        here.append(&mut path);
        path = here;
    }
    while path.pop_if(|last| *last == b'/').is_some() {}
    let known = base.get_or_init(|| path.clone());
    if *known != path {
        let [known, path] = [known, &path].map(|path| Escaped(path));
        let why = format!("the login directory has changed: {path}/ in place of {known}/; restart");
        return Err(Error::local(io::Error::other(why)));
    }
    Ok(client)
}

/// The result of a question, or of a command that changes nothing but a temporary file.
pub(super) trait Known<T> {
    fn known(self) -> StorageResult<T>;
}

impl<T> Known<T> for Result<T, Error> {
    fn known(self) -> StorageResult<T> {
        self.map_err(|error| fault(&error, false))
    }
}

/// Returns an error with its reason.
pub(super) fn failed(kind: Kind, why: impl Into<String>) -> StorageError {
    StorageError::caused_by(kind, io::Error::other(why.into()))
}

/// Returns the error of a question about what may have the final name already.
pub(super) fn in_doubt(mut error: StorageError) -> StorageError {
    error.kind = Kind::Unknown;
    error
}

/// Returns the error of a storage for one of the client. `changes` is whether the call may have changed
/// something: then a lost reply proves nothing.
fn fault(error: &Error, changes: bool) -> StorageError {
    let code = error.reply().map(|reply| (reply.code().value(), reply.code().severity()));
    let kind = match (code, error) {
        (_, Error::Uncertain { .. } | Error::Unexpected { .. }) if changes => Kind::Unknown,
        // A 421 ends the connection; it does not say that the command is not being carried out.
        (_, Error::ServiceClosing(_)) if changes => Kind::Unknown,
        (_, Error::Argument(_)) => return Kind::NameNotAllowed.into(),
        (Some((452, _)), _) => Kind::NoSpace,
        (Some((552, _)), _) => Kind::OverQuota,
        (Some((_, Severity::Transient)), _) => Kind::Busy,
        // A 202 is no success.
        (Some((202, _) | (_, Severity::Permanent)), _) => Kind::Refused,
        (_, Error::Unsupported(_)) => Kind::Refused,
        (_, Error::Mismatch { .. }) => Kind::Io,
        _ if changes => Kind::Unknown,
        (_, Error::Local(_)) => Kind::Io,
        _ => Kind::Unavailable,
    };
    log::debug!("the other server: {error}");
    let reason = match error.reply() {
        Some(reply) => format!("the other server says {reply}"),
        None => error.to_string(),
    };
    failed(kind, reason)
}

/// Makes connections in threads of its own: a session's thread may be confined to files, and then
/// cannot look up a name.
#[derive(Clone)]
pub(super) struct ConnectingThread(Sender<Box<dyn FnOnce() + Send>>);

impl ConnectingThread {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        thread::Builder::new().name("gateway".to_owned()).spawn(move || {
            for job in waiting {
                // Without a thread, the job is dropped, and its caller hears that.
                let _ = thread::Builder::new().spawn(job);
            }
        })?;
        Ok(Self(jobs))
    }

    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = mpsc::channel();
        let _ = self.0.send(Box::new(move || drop(done.send(work()))));
        result.recv().unwrap_or(Err(Error::Timeout(Phase::Overall)))
    }
}
