//! `Retry`: several transfers over one control connection, which is opened again when it breaks.

#[cfg(unix)]
use std::path::Path;

use ftp_proto::{Password, ReplyCode};

use crate::client::Client;
use crate::client::builder::ClientBuilder;
use crate::error::Error;
#[cfg(unix)]
use crate::file::Done;
use crate::file::backoff::Backoff;
#[cfg(unix)]
use crate::file::begin::Sink;
#[cfg(unix)]
use crate::file::get::Get;
#[cfg(unix)]
use crate::file::options::FileOptions;
#[cfg(unix)]
use crate::file::upload::FileUpload;
use crate::net::wait::Waiter;
use crate::trace;
#[cfg(unix)]
use crate::transfer::Watch;
#[cfg(unix)]
use crate::url_path::Place;

/// A queue of transfers that run one after the other, with retries after transient errors.
///
/// Before each further attempt, it waits and, if necessary, reconnects and logs in. The attempt
/// then resumes the file.
///
/// ```no_run
/// use std::time::Duration;
/// use ftp_client::{Client, FileOptions, Retry, Watch};
///
/// let builder = Client::builder().overall(Some(Duration::from_secs(3_600)));
/// let mut queue = Retry::new(builder, "ftp.example.org").login("me", "secret").attempts(10);
/// let options = FileOptions::new();
/// let done = queue.download_to("pub/a.bin", "a.bin", &options, &mut Watch::new())?;
/// println!("{} bytes in {} attempts, {} resumed", done.size, done.attempts, done.resumed);
/// queue.upload_from("b.bin", "incoming/b.bin", &options, &mut Watch::new())?;
/// queue.quit()?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
///
/// [`Error::is_transient`] decides what is retried: network trouble, incomplete transfers,
/// timeouts, 421 and other 4xx replies. These are never retried: a 5xx reply, a 452 (out of space),
/// errors of the caller's own reader or writer, and [`Error::Cancelled`]. [`Backoff::scattered`]
/// sets the pauses.
///
/// The builder's [`overall`](ClientBuilder::overall) limits all calls together, pauses included,
/// starting with the first call. If the next pause would exceed the limit, the last error is
/// returned. A [`Canceller`](crate::Canceller) also ends pauses.
#[derive(Debug)]
#[must_use = "nothing happens until a transfer method is called"]
pub struct Retry {
    builder: ClientBuilder,
    server: String,
    user: Vec<u8>,
    password: Password,
    directory: Option<Vec<u8>>,
    attempts: u32,
    backoff: Backoff,
    client: Option<Client>,
    /// The overall limit, which starts with the first call.
    waiter: Option<Waiter>,
}

impl Retry {
    /// Returns a queue for one server, named as in [`ClientBuilder::connect`]; nothing is sent yet.
    ///
    /// It logs in as `anonymous`, unless [`login`](Self::login) sets a user.
    pub fn new(builder: ClientBuilder, server: impl Into<String>) -> Self {
        Self {
            builder,
            server: server.into(),
            user: b"anonymous".to_vec(),
            password: Password(b"anonymous@".to_vec()),
            directory: None,
            attempts: 5,
            backoff: Backoff::default(),
            client: None,
            waiter: None,
        }
    }

    /// Sets the user and password for each connection.
    pub fn login(mut self, user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Self {
        self.user = user.into();
        self.password = Password(password.into());
        self
    }

    /// Sets the directory to enter after each login (`CWD`). Relative paths start there.
    pub fn directory(mut self, path: impl Into<Vec<u8>>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Sets how many times a transfer is tried in total (default: 5; 0 counts as 1).
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the pauses before further attempts (default: [`Backoff::default`]).
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
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
        self.run(|_| Ok(()))?;
        self.client.as_mut().ok_or(Error::Closed)
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
    #[cfg(unix)]
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<Path>,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        let target = Sink::Path(target.as_ref());
        let mut job = Get::new(Place::at(path), target, options).repeated();
        self.persist(|client, attempts| {
            let done = job.run(client, &(), watch)?;
            Ok(Done { attempts, ..done })
        })
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
    #[cfg(unix)]
    pub fn upload_from(
        &mut self,
        source: impl AsRef<Path>,
        path: impl AsRef<[u8]>,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        let mut upload = FileUpload::new(source.as_ref(), path.as_ref(), options).repeated();
        self.persist(|client, attempts| {
            let done = upload.attempt(client, watch)?;
            Ok(Done { attempts, ..done })
        })
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
        self.persist(|client, _| attempt(client))
    }

    /// Ends the session, if the client is connected.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::quit`].
    pub fn quit(self) -> Result<(), Error> {
        self.client.map_or(Ok(()), Client::quit)
    }

    /// Calls `attempt` with the client and the number of the attempt.
    fn persist<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Client, u32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.ready().and_then(|client| attempt(client, attempts)) {
                Ok(done) => return Ok(done),
                Err(error) => self.await_next(attempts, error)?,
            }
        }
    }

    /// Waits until the next attempt is due, or returns `error` if no attempt may follow.
    fn await_next(&mut self, attempts: u32, error: Error) -> Result<(), Error> {
        // With a reply outstanding, reconnecting is faster than recovering the connection.
        self.client = self.client.take().filter(Client::is_settled);
        let is_full = error.reply().is_some_and(|reply| reply.code() == ReplyCode::NO_SPACE);
        if !error.is_transient() || is_full || attempts >= self.attempts {
            return Err(error);
        }
        let pause = self.backoff.scattered(attempts);
        let seconds = pause.as_secs_f32();
        trace::note(format_args!("attempt {attempts} failed: {error}; retrying in {seconds:.1} s"));
        match self.waiter.as_ref().map_or(Ok(false), |waiter| waiter.pause(pause))? {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// Returns the client, connected and logged in.
    fn ready(&mut self) -> Result<&mut Client, Error> {
        let config = &self.builder.config;
        let start = || Waiter::new(config.overall, config.canceller.clone());
        let waiter = self.waiter.get_or_insert_with(start);
        // A server that closed an idle connection has not failed: this does not count as an
        // attempt.
        if let Some(mut client) = self.client.take()
            && client.make_ready().is_ok()
        {
            return Ok(self.client.insert(client));
        }
        let mut builder = self.builder.clone();
        builder.config.overall = waiter.remaining()?;
        let mut client = builder.connect(&self.server)?;
        let Password(password) = &self.password;
        client.login(&self.user, password)?;
        if let Some(directory) = &self.directory {
            client.cwd(directory)?;
        }
        Ok(self.client.insert(client))
    }
}
