//! `Retry`: several transfers over one control connection, which is made again when it breaks.

#[cfg(unix)]
use std::path::Path;

use ftp_proto::{Password, ReplyCode};

use crate::client::Client;
use crate::client::builder::ClientBuilder;
use crate::error::Error;
use crate::file::backoff::Backoff;
#[cfg(unix)]
use crate::file::upload::FileUpload;
#[cfg(unix)]
use crate::file::{FileOptions, FileReport};
use crate::net::wait::Waiter;
use crate::trace;
#[cfg(unix)]
use crate::transfer::Watch;

/// Moves files one after the other, and does not give up when something goes wrong that may pass:
/// it waits, connects and logs in again if it has to, and resumes where the file was cut.
///
/// ```no_run
/// use std::time::Duration;
/// use ftp_client::{Client, FileOptions, Retry, Watch};
///
/// let builder = Client::builder().overall(Some(Duration::from_secs(3_600)));
/// let mut queue = Retry::new(builder, "ftp.example.org").login("me", "secret").tries(10);
/// let options = FileOptions::new();
/// let done = queue.download_to("pub/a.bin", "a.bin", options, &mut Watch::new())?;
/// println!("{} bytes, {} of them from before, {} tries", done.size, done.resumed, done.tries);
/// queue.upload_from("b.bin", "incoming/b.bin", options, &mut Watch::new())?;
/// queue.quit()?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
///
/// What may pass is what [`Error::is_transient`] says: trouble with the network, timeouts, 421 and
/// 4yz. A 5yz reply is never followed by a second try, and neither is the 452 of a server that has
/// no space, a failure of the caller's own reader or writer, or [`Error::Cancelled`]. Before each
/// further try there is a pause, as [`Backoff::scattered`] says.
///
/// Of the builder, [`overall`](ClientBuilder::overall) is about everything from the first call on,
/// pauses included; when no pause has room any more, the last error is returned. A
/// [`Canceller`](crate::Canceller) ends pauses as well.
#[derive(Debug)]
#[must_use = "nothing happens before a transfer"]
pub struct Retry {
    builder: ClientBuilder,
    server: String,
    user: Vec<u8>,
    password: Password,
    directory: Option<Vec<u8>>,
    tries: u32,
    backoff: Backoff,
    client: Option<Client>,
    /// The limit for everything, from the first call on.
    waiter: Option<Waiter>,
}

impl Retry {
    /// A queue for one server, named as in [`ClientBuilder::connect`]; nothing is sent yet. It
    /// logs in as `anonymous`, unless [`login`](Self::login) says who.
    pub fn new(builder: ClientBuilder, server: impl Into<String>) -> Self {
        Self {
            builder,
            server: server.into(),
            user: b"anonymous".to_vec(),
            password: Password(b"anonymous@".to_vec()),
            directory: None,
            tries: 5,
            backoff: Backoff::default(),
            client: None,
            waiter: None,
        }
    }

    /// Who logs in, each time it connects.
    pub fn login(mut self, user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Self {
        self.user = user.into();
        self.password = Password(password.into());
        self
    }

    /// The directory to be in after each login (`CWD`), from which relative paths count.
    pub fn directory(mut self, path: impl Into<Vec<u8>>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// How often a transfer is tried in all, however far each try came: 5 by default, 1 at least.
    pub const fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// The pauses before further tries (default: [`Backoff::default`]).
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The client that the transfers use, connected and logged in, for what comes between them: a
    /// listing, a new directory. What it is told to be in force may be gone at the next transfer,
    /// together with the connection.
    ///
    /// # Errors
    ///
    /// Those of [`ClientBuilder::connect`], [`Client::login`] and [`Client::cwd`], the last one if
    /// all tries failed.
    pub fn client(&mut self) -> Result<&mut Client, Error> {
        self.run(|_| Ok(()))?;
        self.client.as_mut().ok_or(Error::Closed)
    }

    /// Downloads the file at `path` to the local file at `target`, as [`Client::download_to`] does
    /// with [`resume`](FileOptions::resume): each try resumes `NAME.part` where the one before it,
    /// or an earlier program, was cut.
    ///
    /// # Errors
    ///
    /// The last one if all tries failed, else the first that no further try would fix: those of
    /// [`client`](Self::client) and [`Client::download_to`].
    #[cfg(unix)]
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<Path>,
        options: FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<FileReport, Error> {
        let path = path.as_ref();
        let target = target.as_ref();
        let options = options.resume(true);
        self.persist(|client, tries| {
            let done = client.download_to(path, target, options, watch)?;
            Ok(FileReport { tries, ..done })
        })
    }

    /// Uploads the local file `source`, which must be a regular file, to `path`, as
    /// [`Client::upload_from`] does.
    ///
    /// A further try resumes the server's file if the tries before it sent that: it is not longer
    /// than what they sent, not as long as what was there before, and not older than `source`.
    /// Otherwise it starts at byte 0, as it does if the server cannot restart, and after a try that
    /// failed with [`Error::Incomplete`].
    ///
    /// # Errors
    ///
    /// The last one if all tries failed, else the first that no further try would fix: those of
    /// [`client`](Self::client) and [`Client::upload_from`]. After a 452 or 552, other uploads fail
    /// as well.
    #[cfg(unix)]
    pub fn upload_from(
        &mut self,
        source: impl AsRef<Path>,
        path: impl AsRef<[u8]>,
        options: FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<FileReport, Error> {
        let mut upload = FileUpload::new(source.as_ref(), path.as_ref(), options).repeated();
        self.persist(|client, tries| {
            let done = upload.attempt(client, watch)?;
            Ok(FileReport { tries, ..done })
        })
    }

    /// Calls `attempt` with the client, connected and logged in, until it succeeds. It may get a
    /// new client each time, with none of the settings that it made of the last one.
    ///
    /// ```no_run
    /// # let mut queue = ftp_client::Retry::new(ftp_client::Client::builder(), "ftp.example.org");
    /// // Each try starts at byte 0: what has come into memory is not resumed.
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
    /// The last one if all tries failed, else the first that no further try would fix: those of
    /// `attempt`, [`ClientBuilder::connect`], [`Client::login`] and [`Client::cwd`].
    pub fn run<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.persist(|client, _| attempt(client))
    }

    /// Says good-bye to the server, if it is connected.
    ///
    /// # Errors
    ///
    /// Those of [`Client::quit`].
    pub fn quit(self) -> Result<(), Error> {
        self.client.map_or(Ok(()), Client::quit)
    }

    /// Calls `attempt` with the client and the number of the try.
    fn persist<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Client, u32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.ready().and_then(|client| attempt(client, tries)) {
                Ok(done) => return Ok(done),
                Err(error) => self.await_next(tries, error)?,
            }
        }
    }

    /// Waits until it is time for the next try, or fails with the `error` of the last one.
    fn await_next(&mut self, tries: u32, error: Error) -> Result<(), Error> {
        // One that still owes a reply takes longer to be cleared than to be made again.
        self.client = self.client.take().filter(Client::is_settled);
        let is_full = error.reply().is_some_and(|reply| reply.code() == ReplyCode::NO_SPACE);
        if !error.is_transient() || is_full || tries >= self.tries {
            return Err(error);
        }
        let pause = self.backoff.scattered(tries);
        let seconds = pause.as_secs_f32();
        trace::note(format_args!("try {tries} failed, the next in {seconds:.1} s: {error}"));
        match self.waiter.as_ref().map_or(Ok(false), |waiter| waiter.pause(pause))? {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// The client, connected and logged in.
    fn ready(&mut self) -> Result<&mut Client, Error> {
        let config = &self.builder.config;
        let start = || Waiter::new(config.overall, config.canceller.clone());
        let waiter = self.waiter.get_or_insert_with(start);
        // A server that hung up on an idle client has not failed: that is no try.
        if let Some(client) = self.client.take_if(Client::is_ready) {
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
