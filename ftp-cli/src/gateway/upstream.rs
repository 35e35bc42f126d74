//! The connections to another server, and what is at a path there.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::pool::{Lent, Patience};
use ftp_client::{
    Client, ClientBuilder, Download, Entry, EntryKind as FoundKind, Error, FtpUrl, Pool, Severity,
    TimeVal, Upload,
};
use ftp_server::{EntryKind, Metadata, StorageError, StorageErrorKind as Kind};

use crate::lock;

/// Time after which a login that the other server refused is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// The pause before a connection of the pool is asked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// Time after which a firewall may have forgotten an idle connection.
const IDLE: Duration = Duration::from_secs(60);

/// Maximum number of names in all listings at once: about 75 MiB.
pub(super) const MOST_NAMES: usize = 250_000;

/// The result of a call of a storage.
pub(super) type StorageResult<T> = Result<T, StorageError>;

/// Name and password.
pub(super) type UserLogin = (Vec<u8>, Vec<u8>);

/// The other server, as the settings describe it.
pub(super) struct OtherTarget {
    pub(super) url: FtpUrl,
    pub(super) builder: ClientBuilder,
    pub(super) connections: usize,
    pub(super) timeout: Duration,
    /// The longest wait for the end of another change at a path, and the time without a byte after which
    /// an upload has stopped.
    pub(super) turn: Duration,
    pub(super) in_place: bool,
    pub(super) hashes: bool,
    pub(super) dialler: ConnectingThread,
    /// Whether each user's own login is passed on.
    pub(super) personal: bool,
    /// Number of names in the listings that clients are reading.
    pub(super) listed: AtomicUsize,
    /// Set once a file had its name after a rename: a new name, or that of an older file.
    pub(super) renames: [OnceLock<()>; 2],
    /// Set once the server has begun a download in the middle of a file.
    pub(super) restarts: OnceLock<()>,
}

/// The names of a listing, as a part of those that may be in memory at once.
pub(super) struct Listed(Arc<OtherTarget>, usize);

impl Listed {
    pub(super) const fn none(target: Arc<OtherTarget>) -> Self {
        Self(target, 0)
    }

    /// Adds a name. Returns whether there is room for it.
    pub(super) fn add(&mut self) -> bool {
        self.1 += 1;
        self.0.listed.fetch_add(1, Ordering::Relaxed) < MOST_NAMES
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.listed.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// The connections of one login.
pub(super) struct Upstream {
    pool: Pool<'static>,
    login: UserLogin,
    pub(super) target: Arc<OtherTarget>,
    /// The directory of the URL as an absolute path without a final slash, once a connection has told it.
    base: Arc<OnceLock<Vec<u8>>>,
    /// When the server refused a connection for good.
    refused: Mutex<Option<Instant>>,
}

impl Upstream {
    pub(super) fn new(target: Arc<OtherTarget>, login: UserLogin) -> Self {
        let base = Arc::<OnceLock<Vec<u8>>>::default();
        let (to, found) = (Arc::clone(&target), Arc::clone(&base));
        let of_pool = login.clone();
        let dial = move || {
            let (to, login, found) = (Arc::clone(&to), of_pool.clone(), Arc::clone(&found));
            let dialler = to.dialler.clone();
            dialler.run(move || connect(&to, &login, &found))
        };
        let pool = Pool::new(dial).size(target.connections).any_directory(true).max_idle(IDLE);
        let pool = pool.patience(Patience::new().attempts(1));
        Self { pool, login, target, base, refused: Mutex::default() }
    }

    /// Logs in over a new connection: those of the pool prove only that the login was valid once.
    pub(super) fn prove_login(&self) -> StorageResult<()> {
        // The server may accept no more connections of this user.
        let _ = self.pool.quit();
        let (to, base) = (Arc::clone(&self.target), Arc::clone(&self.base));
        let login = self.login.clone();
        let proved = self.target.dialler.run(move || connect(&to, &login, &base)?.quit());
        proved.map_err(|error| fault(&error, false))
    }

    /// Returns the absolute path of `path`, which begins with a slash or is empty, on the other server.
    /// There must have been a connection.
    pub(super) fn path(&self, path: &[u8]) -> Vec<u8> {
        let whole = [self.base.get().map_or(&b""[..], Vec::as_slice), path].concat();
        if whole.is_empty() { b"/".to_vec() } else { whole }
    }

    /// Returns a connection. Nothing has been sent over it.
    pub(super) fn lend(&self) -> StorageResult<Lent<'static>> {
        let begun = Instant::now();
        if lock(&self.refused).take_if(|at| at.elapsed() >= AGAIN).is_some() {
            self.pool.reopen();
        }
        loop {
            match self.pool.try_take() {
                Err(Error::Fewer(_)) if begun.elapsed() < self.target.timeout => {
                    thread::sleep(PAUSE);
                }
                Err(error) => {
                    if !error.is_transient() {
                        lock(&self.refused).get_or_insert_with(Instant::now);
                    }
                    log::warn!("{}: {error}", self.target.url.host());
                    return Err(StorageError::caused_by(
                        Kind::Unavailable,
                        io::Error::other(error),
                    ));
                }
                Ok(lent) => return Ok(lent),
            }
        }
    }

    /// Returns whether the server begins a download where it is told to: then one byte of a file of `size`
    /// bytes, at least 2, is its last. Some confirm `REST`, and send the whole file.
    pub(super) fn restarts(&self, path: &[u8], size: u64) -> StorageResult<bool> {
        if self.target.restarts.get().is_some() {
            return Ok(true);
        }
        let begun = Download::begin(self.lend()?, path, size - 1);
        let mut download = match begun.map_err(|error| fault(&error, false)) {
            Err(error) if error.kind == Kind::Unsupported => return Ok(false),
            begun => begun?,
        };
        let mut count = 0;
        while count < 2 {
            match download.read(&mut [0; 2]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) => return Err(fault(&download.fail(error), false)),
            }
        }
        if count != 1 {
            return Ok(false);
        }
        download.release().0.map_err(|error| fault(&error, false))?;
        let _ = self.target.restarts.set(());
        Ok(true)
    }

    /// Asks something that changes nothing. A connection that is lost meanwhile is replaced once.
    pub(super) fn ask<T>(
        &self,
        mut call: impl FnMut(&mut Client, &Self) -> Result<T, Error>,
    ) -> StorageResult<T> {
        let first = call(&mut *self.lend()?, self);
        match first {
            Err(error) if error.reply().is_none() && error.is_transient() => {
                call(&mut *self.lend()?, self).map_err(|error| fault(&error, false))
            }
            first => first.map_err(|error| fault(&error, false)),
        }
    }

    /// Makes a change at a path below the directory of the URL, once. It is not begun for a client that
    /// waits no longer.
    pub(super) fn change<T>(
        &self,
        path: &[u8],
        call: impl FnOnce(&mut Client, &[u8]) -> Result<T, Error>,
    ) -> StorageResult<T> {
        self.change_tree(path, false, call)
    }

    /// Makes a change like [`change`](Self::change), with `is_tree` also of what is below the path.
    pub(super) fn change_tree<T>(
        &self,
        path: &[u8],
        is_tree: bool,
        call: impl FnOnce(&mut Client, &[u8]) -> Result<T, Error>,
    ) -> StorageResult<T> {
        let mut client = self.lend()?;
        let turn = Turn::wait(self, path, is_tree)?;
        StorageError::check_wanted()?;
        let done = call(&mut client, &self.path(path)).map_err(|error| fault(&error, true));
        turn.ended(done)
    }
}

/// A running upload, and when it took bytes last; none once it has ended.
pub(super) type Slot = Arc<Mutex<Option<(Box<Upload<Lent<'static>>>, Instant)>>>;

/// The turns of this moment. A reload makes other stores, and several can lead to one server.
static TURNS: Mutex<Vec<Arc<Reserved>>> = Mutex::new(Vec::new());

/// Time for which a change whose answer is lost may still be made.
const LATE: Duration = Duration::from_secs(5 * 60);

/// The turn of the only change at a path: a change whose answer is late must not follow a newer one, and
/// of two appends at once, a server can write the second over the first. It lasts until the server has
/// answered the end of its upload: until then, it writes what it has received.
pub(super) struct Turn(Arc<Reserved>);

struct Reserved {
    /// Host and port, and the user where each user has files of their own.
    server: (String, u16, Option<Vec<u8>>),
    path: Vec<u8>,
    /// Whether what is below the path is changed too.
    is_tree: bool,
    upload: Slot,
    /// The end of the turn of a change whose answer is lost.
    late: OnceLock<Instant>,
}

impl Reserved {
    fn excludes(&self, other: &Self) -> bool {
        let has = |tree: &Self, path: &[u8]| {
            let below = path.strip_prefix(&*tree.path).filter(|_| tree.is_tree);
            below.is_some_and(|rest| rest.starts_with(b"/"))
        };
        self.server == other.server
            && (self.path == other.path || has(self, &other.path) || has(other, &self.path))
    }

    fn release(self: &Arc<Self>) {
        lock(&TURNS).retain(|turn| !Arc::ptr_eq(turn, self));
    }
}

impl Turn {
    /// Begins the turn of a change at `path`, below the directory of the URL; with `is_tree`, also at
    /// every path below it.
    pub(super) fn begin(upstream: &Upstream, path: &[u8], is_tree: bool) -> StorageResult<Self> {
        let OtherTarget { url, personal, turn, .. } = &*upstream.target;
        let user = personal.then(|| upstream.login.0.clone());
        let server = (url.host().to_ascii_lowercase(), url.port(), user);
        let (path, upload) = (upstream.path(path), Slot::default());
        let own = Arc::new(Reserved { server, path, is_tree, upload, late: OnceLock::new() });
        loop {
            let mut turns = lock(&TURNS);
            turns.retain(|turn| turn.late.get().is_none_or(|end| Instant::now() < *end));
            let Some(taken) = turns.iter().find(|turn| turn.excludes(&own)).cloned() else {
                turns.push(Arc::clone(&own));
                return Ok(Self(own));
            };
            drop(turns);
            // A dead line must not keep the file from others. A session holds the lock while it moves
            // bytes.
            let stopped = taken.upload.try_lock().ok();
            let stopped = stopped
                .and_then(|mut upload| upload.take_if(|(_, moved)| moved.elapsed() >= *turn));
            let _ = stopped.ok_or(Kind::Busy)?.0.abort();
            taken.release();
        }
    }

    /// Waits for the turn for a moment.
    pub(super) fn wait(upstream: &Upstream, path: &[u8], is_tree: bool) -> StorageResult<Self> {
        let begun = Instant::now();
        loop {
            match Self::begin(upstream, path, is_tree) {
                Err(_) if begun.elapsed() < upstream.target.turn => thread::sleep(PAUSE),
                turn => return turn,
            }
        }
    }

    /// Returns where the upload to the file itself is, if this turn is for one.
    pub(super) fn upload(&self) -> &Slot {
        &self.0.upload
    }

    /// Notes how the change has ended: if that is unknown, the server may make it later, and nothing
    /// newer must come before.
    pub(super) fn ended<T>(&self, done: StorageResult<T>) -> StorageResult<T> {
        if done.as_ref().is_err_and(|error| error.kind == Kind::Unknown) {
            let _ = self.0.late.set(Instant::now() + LATE);
        }
        done
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let reserved = Arc::clone(&self.0);
        if reserved.late.get().is_some() {
            return;
        }
        let Some((upload, _)) = lock(&reserved.upload).take() else { return reserved.release() };
        // In a thread, because the server may not answer.
        let ending = thread::Builder::new().spawn(move || {
            let _ = upload.abort();
            reserved.release();
        });
        if ending.is_err() {
            self.0.release();
        }
    }
}

/// Renames, unless the session has given it up while the server was slow. Returns the connection.
pub(super) fn rename(
    mut client: Lent<'static>,
    from: &[u8],
    to: &[u8],
) -> StorageResult<Lent<'static>> {
    let to = client.rename_from(from, to).map_err(|error| fault(&error, false))?;
    if let Err(given_up) = StorageError::check_wanted() {
        // Some servers refuse all commands but RNTO now.
        client.discard();
        return Err(given_up);
    }
    let renamed = client.rename_to(&to).map_err(|error| fault(&error, true));
    renamed.map(|()| client)
}

/// Connects and logs in, and finds the directory of the URL.
fn connect(to: &OtherTarget, login: &UserLogin, base: &OnceLock<Vec<u8>>) -> Result<Client, Error> {
    let mut client = to.builder.clone().connect_to(&to.url)?;
    client.login(&login.0, &login.1)?;
    if base.get().is_none() {
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
        let _ = base.set(path);
    }
    Ok(client)
}

/// Returns the error of a storage for one of the client. `changes` is whether the call may have changed
/// something: then a lost reply proves nothing.
pub(super) fn fault(error: &Error, changes: bool) -> StorageError {
    let code = error.reply().map(|reply| (reply.code().value(), reply.code().severity()));
    let kind = match (code, error) {
        (_, Error::Uncertain { .. }) if changes => Kind::Unknown,
        (_, Error::Argument(_)) => return Kind::NameNotAllowed.into(),
        (Some((452, _)), _) => Kind::NoSpace,
        (Some((552, _)), _) => Kind::OverQuota,
        (Some((500 | 502 | 504, _)), _) => Kind::Unsupported,
        (Some((_, Severity::Transient)), _) => Kind::Busy,
        (Some((_, Severity::Permanent)), _) => Kind::Refused,
        _ if matches!(error, Error::Unsupported(_)) => Kind::Unsupported,
        _ if changes => Kind::Unknown,
        _ => Kind::Unavailable,
    };
    log::debug!("the other server: {error}");
    let reason = match error.reply() {
        Some(reply) => format!("the other server says {reply}"),
        None => error.to_string(),
    };
    StorageError::caused_by(kind, io::Error::other(reason))
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

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = mpsc::channel();
        let _ = self.0.send(Box::new(move || drop(done.send(work()))));
        result.recv().unwrap_or(Err(Error::Timeout(Phase::Overall)))
    }
}

/// Returns what is at a path, or `None` if nothing is.
pub(super) fn find(client: &mut Client, path: &[u8]) -> Result<Option<Metadata>, Error> {
    let Some(mut found) = client.find(path)? else { return Ok(None) };
    if found.kind == Some(FoundKind::File) && found.size.is_none() {
        found.size = client.size(path)?;
        if found.size.is_none() {
            // Without a size, the end of a download proves nothing, and clients take 0 for an empty file.
            return Ok(Some(OTHER));
        }
    }
    Ok(Some(metadata(&found).unwrap_or(OTHER)))
}

/// What is neither a file nor a directory.
const OTHER: Metadata = Metadata::new(EntryKind::Special);

fn seconds(time: Option<TimeVal>) -> i64 {
    time.map_or(0, |time| time.unix_seconds())
}

/// Returns what an entry tells; `None` for a link, and if the kind is unknown.
pub(super) fn metadata(found: &Entry) -> Option<Metadata> {
    let kind = match found.kind? {
        FoundKind::File => EntryKind::File,
        FoundKind::Directory => EntryKind::Directory,
        FoundKind::Link => return None,
        FoundKind::Other => EntryKind::Special,
    };
    let time = seconds(found.modified.map(|modified| modified.time));
    let made = Metadata::new(kind).size(found.size.unwrap_or(0)).modified(time);
    Some(match found.permissions {
        Some(permissions) => made.mode(u32::from(permissions.mode())),
        None => made,
    })
}
