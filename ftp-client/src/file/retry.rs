//! `Retry`: several transfers over one control connection, which is opened again when it breaks.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftp_proto::Password;

use crate::client::Client;
use crate::config::ClientBuilder;
use crate::error::Error;
#[cfg(doc)]
use crate::event::Event;
use crate::event::Observer;
use crate::file::Done;
use crate::file::get::Get;
use crate::file::options::FileOptions;
use crate::file::put::Put;
use crate::lock;
use crate::pool::patience::{Attempt, Patience};
use crate::pool::{self, Lent, Pool};
use crate::url_path::Place;

/// A queue of transfers that run one after the other, with retries after transient errors.
///
/// Before each further attempt, it waits and, if necessary, reconnects and logs in. The attempt
/// then resumes the file.
///
/// ```
/// use ftp_client::{Client, Event, FileOptions, Retry};
/// # use ftp_server::{MemoryStorage, Rights, Server, VirtualPath};
/// # let files = MemoryStorage::new();
/// # files.put(&VirtualPath::root().join(b"a.bin"), "1")?;
/// # let server = Server::builder().storage(files).user("me", "secret", Rights::FULL);
/// # let server = server.bind("127.0.0.1:0")?;
/// # let host = server.local_addr().to_string();
/// # let here = tempfile::tempdir()?;
/// # let local = here.path().join("a.bin");
///
/// let show = |event: Event<'_>| eprintln!("{event:?}"); // transfers and further attempts
/// let mut queue = Retry::new(Client::builder(), host).login("me", "secret").observer(show);
/// let options = FileOptions::new();
/// let done = queue.download_to("a.bin", &local, &options)?;
/// assert_eq!((done.size, done.attempts), (1, 1));
/// queue.upload_from(&local, ".in.b.bin", &options)?;
/// queue.run(|client| client.rename(".in.b.bin", "b.bin"))?;
/// queue.quit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Error::recovery`] decides what is retried: network trouble, timeouts, 421 and other 4xx
/// replies; a transfer that fails a check of its content starts at byte 0 once. These are never
/// retried: a 5xx reply, a 452 (out of space), errors of the caller's own reader or writer, and
/// [`Error::Cancelled`]. The pauses are those of [`Patience`].
///
/// A queue is a [`Pool`] of one connection.
///
/// The builder's [`overall`](ClientBuilder::overall) limits all calls together, pauses included,
/// starting with the first call. If the next pause would exceed the limit, the last error is
/// returned. A [`Canceller`](crate::Canceller) also ends pauses.
#[must_use = "nothing happens until a transfer method is called"]
pub struct Retry {
    account: Arc<Mutex<Account>>,
    pool: Pool<'static>,
    observer: Arc<dyn Observer + Send + Sync>,
    /// The connection that [`client`](Self::client) returned.
    lent: Option<Lent<'static>>,
}

struct Account {
    builder: ClientBuilder,
    server: String,
    user: Vec<u8>,
    password: Password,
    directory: Option<Vec<u8>>,
}

impl Account {
    fn dial(&self, overall: Option<Duration>) -> Result<Client, Error> {
        let mut client = self.builder.clone().overall(overall).connect(&self.server)?;
        let Password(password) = &self.password;
        client.login(&self.user, password)?;
        if let Some(directory) = &self.directory {
            client.cwd(directory)?;
        }
        Ok(client)
    }
}

impl Retry {
    /// Returns a queue for one server, named as in [`ClientBuilder::connect`]; nothing is sent yet.
    ///
    /// It logs in as `anonymous`, unless [`login`](Self::login) sets a user.
    pub fn new(builder: ClientBuilder, server: impl Into<String>) -> Self {
        let config = &builder.config;
        let patience = Patience::new().overall(config.overall).canceller(config.canceller.clone());
        let limits = Arc::clone(patience.limits());
        let account = Arc::new(Mutex::new(Account {
            builder,
            server: server.into(),
            user: b"anonymous".to_vec(),
            password: Password(b"anonymous@".to_vec()),
            directory: None,
        }));
        let dialled = Arc::clone(&account);
        let dial = move || lock(&dialled).dial(limits.waiter().remaining()?);
        // The queue is the only user of its connection.
        let pool = Pool::new(dial).any_directory(true).patience(patience);
        Self { account, pool, observer: Arc::new(()), lent: None }
    }

    /// Sets the user and password for each connection.
    pub fn login(self, user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Self {
        let mut account = lock(&self.account);
        account.user = user.into();
        account.password = Password(password.into());
        drop(account);
        self
    }

    /// Sets the directory to enter after each login (`CWD`). Relative paths start there.
    pub fn directory(self, path: impl Into<Vec<u8>>) -> Self {
        lock(&self.account).directory = Some(path.into());
        self
    }

    /// Sets how many times a transfer is tried in total (default: 5; 0 counts as 1).
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.pool.patience = self.pool.patience.attempts(attempts);
        self
    }

    /// Sets the pause before the second attempt and the longest pause, as [`Patience::pauses`] does.
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pool.patience = self.pool.patience.pauses(first, longest);
        self
    }

    /// Sets the receiver of events (default: none): those of the transfers, and an [`Event::Retry`]
    /// before each further attempt.
    pub fn observer(mut self, observer: impl Observer + Send + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Returns the connected and logged-in client, for other commands between transfers.
    ///
    /// Settings that you change on it are lost if the next transfer reconnects.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ClientBuilder::connect`], [`Client::login`] and [`Client::cwd`]; the
    /// last error if all attempts failed.
    pub fn client(&mut self) -> Result<&mut Client, Error> {
        let ((), lent) = self.persist(|_, _| Ok(()))?;
        Ok(&mut *self.lent.insert(lent))
    }

    /// Downloads the file at `path` to the local file `target`, as [`Client::download_to`] does.
    ///
    /// Each attempt resumes the bytes of the earlier ones, also over another connection. Bytes of
    /// an earlier run of the program are resumed only with [`Resume::Proven`](crate::Resume) or
    /// [`Resume::Trusted`](crate::Resume).
    ///
    /// # Errors
    ///
    /// Returns the last error if all attempts failed, otherwise the first error that another
    /// attempt would not fix. The errors are those of [`client`](Self::client) and
    /// [`Client::download_to`].
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<Path>,
        options: &FileOptions,
    ) -> Result<Done, Error> {
        let mut job = Get::to_path(Place::at(path), &target, options).resumable(true);
        self.transfer(|client, on| job.attempt(client, on))
    }

    /// Uploads the local file `source`, which must be a regular file, to `path`, as
    /// [`Client::upload_from`] does.
    ///
    /// Without [`resume`](FileOptions::resume), another attempt resumes the server's file only if
    /// the file seems to come from the earlier attempts. It must not have more bytes than those
    /// attempts sent, must not be as long as the file to be replaced, and must not be older than
    /// `source`. Otherwise the attempt starts at byte 0. An attempt also starts at byte 0 after
    /// [`Error::Incomplete`], or if the server cannot resume uploads.
    ///
    /// # Errors
    ///
    /// Returns the last error if all attempts failed, otherwise the first error that another
    /// attempt would not fix. The errors are those of [`client`](Self::client) and
    /// [`Client::upload_from`]. After a 452 or 552, other uploads will probably fail too.
    pub fn upload_from(
        &mut self,
        source: impl AsRef<Path>,
        path: impl AsRef<[u8]>,
        options: &FileOptions,
    ) -> Result<Done, Error> {
        let mut job = Put::from_path(&source, Place::at(path), options).resumable(true);
        self.transfer(|client, on| job.attempt(client, on))
    }

    fn transfer(
        &mut self,
        mut job: impl FnMut(&mut Client, &dyn Observer) -> Result<Done, Error>,
    ) -> Result<Done, Error> {
        let on = Arc::clone(&self.observer);
        let done = self.persist(|client, attempt| {
            Ok(Done { attempts: attempt.number(), ..job(client, &*on)? })
        });
        done.map(|(done, _)| done)
    }

    /// Calls `attempt` with the connected and logged-in client, and repeats the call after
    /// transient errors.
    ///
    /// Each call of `attempt` may get a new client, without the settings that an earlier call made.
    ///
    /// ```no_run
    /// # let mut queue = ftp_client::Retry::new(ftp_client::Client::builder(), "ftp.example.org");
    /// // Each attempt starts at byte 0: bytes in memory are not resumed.
    /// let bytes = queue.run(|client| {
    ///     let mut bytes = Vec::new();
    ///     client.retrieve("pub/a.bin")?.copy_to(&mut bytes)?;
    ///     Ok(bytes)
    /// })?;
    /// # drop(bytes);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the last error if all attempts failed, otherwise the first error that another
    /// attempt would not fix. The errors are those of `attempt`, [`ClientBuilder::connect`],
    /// [`Client::login`] and [`Client::cwd`].
    pub fn run<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.persist(|client, _| attempt(client)).map(|(done, _)| done)
    }

    /// Ends the session, if the client is connected.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::quit`].
    pub fn quit(mut self) -> Result<(), Error> {
        drop(self.lent.take());
        self.pool.quit()
    }

    fn persist<T>(
        &mut self,
        attempt: impl FnMut(&mut Client, &mut Attempt) -> Result<T, Error>,
    ) -> Result<(T, Lent<'static>), Error> {
        drop(self.lent.take());
        // The caller asks for another connection, even after a refused login.
        self.pool.reopen();
        let on = &self.observer;
        let mut announce = |number, why: &_, pause| on.event(pool::retry(number, why, pause));
        self.pool.persist(&mut announce, attempt)
    }
}

ftp_proto::debug_fields!(Retry { pool, lent }..);
