//! The connections to another server, and what is at a path there.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::file::{Checksum, Digest, HashAlgorithm};
use ftp_client::pool::{Lent, Patience};
use ftp_client::{
    Client, ClientBuilder, Entry, EntryKind as FoundKind, Error, FtpUrl, Pool, Severity,
};
use ftp_proto::{Command, Escaped};
use ftp_server::{EntryKind, Metadata, StorageError, StorageErrorKind as Kind};

use crate::lock;

/// Time after which a login that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Time after which one more connection that was refused is tried again.
const MORE: Duration = Duration::from_secs(5 * 60);

/// The pause before what was busy is asked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// Time after which a firewall may have forgotten an idle connection.
const IDLE: Duration = Duration::from_secs(60);

/// The buffer of a download, of which a store has as many as connections. Smaller ones halve the rate: each
/// read is preceded by a look at what has arrived.
pub(super) const BUFFER: usize = 128 * 1024;

/// The longest time for which a file is read whose size and time prove nothing.
const READ_BACK: Duration = Duration::from_secs(60);

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
    /// The addresses of the host when the first connection was made, and the one to which that led.
    pub(super) addresses: OnceLock<BTreeSet<IpAddr>>,
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
        let is_full = |error: &Error| {
            // Silence was waited for already.
            let is_silent = |why: &Error| matches!(why, Error::Timeout(_));
            self.pool.reopen_after(AGAIN) && matches!(error, Error::Fewer(why) if !is_silent(why))
        };
        let lent = wait_while(self.target.timeout, is_full, || self.pool.try_take());
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
        let transfer = wait_while(
            self.target.timeout,
            |_| true,
            || {
                let all = self.pool.allowed().unwrap_or(usize::MAX).min(self.target.connections);
                let most = all.saturating_sub(spare).max(1);
                let more = |count: usize| (count < most).then_some(count + 1);
                match self.transfers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
                    Ok(_) => Ok(RunningTransfer(Arc::clone(self))),
                    Err(_) => {
                        Err(failed(Kind::Unavailable, "too many transfers of others are running"))
                    }
                }
            },
        )?;
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

/// Tries again for this long what fails only because something is busy.
pub(super) fn wait_while<T, E>(
    longest: Duration,
    is_busy: impl Fn(&E) -> bool,
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match work() {
            Err(error) if is_busy(&error) && begun.elapsed() < longest => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

/// A rename that is about to be made.
pub(super) struct Renaming<'a> {
    pub(super) named: &'a Command,
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
    /// What has the new name.
    pub(super) there: Option<Metadata>,
    /// What must have it afterwards; `None` for any object.
    pub(super) want: Option<Metadata>,
    /// Whether the server has shown the object under its old name, by `SIZE` or as [`find`] does.
    pub(super) is_shown: bool,
    /// The bytes of the file, if they are known.
    pub(super) bytes: Option<&'a Digest>,
}

impl Renaming<'_> {
    /// Gives an object its new name, and looks whether it has it: some servers confirm a rename and give
    /// another name or do nothing, perhaps only over an older file, between two disks, or on one of the hosts
    /// at an address.
    pub(super) fn make(&self, client: &mut Client, turn: &Turn) -> StorageResult<()> {
        StorageError::check_wanted()?;
        turn.settle(client.rename_to(self.named))?;
        let why = match self.is_made(client).known().map_err(in_doubt)? {
            Some(true) => return Ok(()),
            Some(false) => (Kind::Io, "the other server does not rename; use in_place"),
            None => {
                (Kind::Unknown, "the rename is confirmed, but the name can have another object")
            }
        };
        Err(failed(why.0, why.1))
    }

    /// Returns whether a rename that was confirmed was made; `None` if neither is proved.
    fn is_made(&self, client: &mut Client) -> Result<Option<bool>, Error> {
        let Some(now) = find(client, self.to)? else {
            // A program that waits for the name has taken it: then what has shown the old one shows it no more.
            let is_there = !self.is_shown
                || client.size(self.from)?.is_some()
                || find(client, self.from)?.is_some();
            return Ok(Some(!is_there));
        };
        let is_kept = self.there.is_some_and(|old| !is_other(old, now));
        if !self.want.is_none_or(|want| is_same(want, now)) {
            return Ok(is_kept.then_some(false));
        }
        let is_alike = self.there.is_some_and(|old| is_same(old, now));
        // Others can have changed the time of the old file.
        let is_proved = (!is_alike || find(client, self.from)?.is_none())
            && (!is_kept || has_bytes(client, self.to, self.bytes)?);
        Ok(is_proved.then_some(true))
    }
}

/// Looks whether a confirmed upload of these bytes has replaced the file `old`: some servers store beside
/// it.
pub(super) fn check_replaced(
    client: &mut Client,
    place: &[u8],
    old: Metadata,
    sent: Option<&Digest>,
) -> Result<(), Error> {
    if find(client, place)?.is_some_and(|now| is_other(old, now)) || has_bytes(client, place, sent)?
    {
        return Ok(());
    }
    let why = "the upload is confirmed, but the old file can be there still";
    Err(Error::local(io::Error::other(why)))
}

/// Reads a file whose size and time prove nothing.
fn has_bytes(client: &mut Client, place: &[u8], want: Option<&Digest>) -> Result<bool, Error> {
    let Some(want) = want else { return Ok(false) };
    Ok(bytes_of(client, place, want.algorithm)?.is_some_and(|bytes| bytes == *want))
}

/// Returns the digest of the bytes that a file has, if it is told in time and still wanted: meanwhile, the
/// name has no other turn.
pub(super) fn bytes_of(
    client: &mut Client,
    place: &[u8],
    algorithm: HashAlgorithm,
) -> Result<Option<Digest>, Error> {
    let Some(mut sum) = Checksum::new(algorithm) else { return Ok(None) };
    let mut file = client.retrieve(place)?;
    let (begun, mut piece) = (Instant::now(), vec![0; BUFFER]);
    loop {
        if begun.elapsed() > READ_BACK || StorageError::check_wanted().is_err() {
            return Err(file.fail(io::ErrorKind::TimedOut.into()));
        }
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => sum.update(piece.split_at(count).0),
            Err(error) => return Err(file.fail(error)),
        }
    }
    file.finish()?;
    Ok(Some(sum.finish()))
}

/// Returns whether two looks can have shown one object that has not changed.
pub(super) fn is_same(one: Metadata, other: Metadata) -> bool {
    match (one.kind, other.kind) {
        (EntryKind::File, EntryKind::File) => one.size == other.size,
        // A server that tells no sizes does not show files as such.
        (EntryKind::Special, _) | (_, EntryKind::Special) => true,
        (one, other) => one == other,
    }
}

/// Returns whether two looks must have shown two objects: of equal size, those with different times.
pub(super) fn is_other(old: Metadata, now: Metadata) -> bool {
    let times = [old.modified, now.modified];
    !is_same(old, now) || (old.modified != now.modified && !times.contains(&0))
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
    /// The addresses of the server; empty before the first connection.
    server: BTreeSet<IpAddr>,
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
        let are_known = !self.server.is_empty() && !other.server.is_empty();
        !(are_known && self.server.is_disjoint(&other.server))
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
        let server = upstream.target.addresses.get().cloned().unwrap_or_default();
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
        wait_while(upstream.target.turn, |_| true, || Self::begin(upstream, places))
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
    to.addresses.get_or_init(|| {
        let all = (to.url.host(), to.url.port()).to_socket_addrs().into_iter().flatten();
        all.chain(client.peer_addr()).map(|address| address.ip().to_canonical()).collect()
    });
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

/// Returns what is at a path, or `None` if nothing is.
pub(super) fn find(client: &mut Client, path: &[u8]) -> Result<Option<Metadata>, Error> {
    let found = client.find(path)?;
    whole(client, path, found)
}

/// Returns what was found at a path, with the size of a file.
pub(super) fn whole(
    client: &mut Client,
    path: &[u8],
    found: Option<Entry>,
) -> Result<Option<Metadata>, Error> {
    let Some(mut found) = found else { return Ok(None) };
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

/// Returns what an entry tells; `None` for a link, and if the kind is unknown.
pub(super) fn metadata(found: &Entry) -> Option<Metadata> {
    let kind = match found.kind? {
        FoundKind::File => EntryKind::File,
        FoundKind::Directory => EntryKind::Directory,
        FoundKind::Link => return None,
        FoundKind::Other => EntryKind::Special,
    };
    let time = found.modified.map_or(0, |modified| modified.time.unix_seconds());
    let made = Metadata::new(kind).size(found.size.unwrap_or(0)).modified(time);
    Some(match found.permissions {
        Some(permissions) => made.mode(u32::from(permissions.mode())),
        None => made,
    })
}
