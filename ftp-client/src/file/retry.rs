//! `Retry`: several transfers over one control connection, which is made anew when it breaks.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use ftp_proto::{Password, ReplyCode, RepresentationType};

use crate::client::Client;
use crate::client::builder::ClientBuilder;
use crate::error::Error;
#[cfg(unix)]
use crate::file::FileOptions;
use crate::file::backoff::Backoff;
use crate::file::sink::Sink;
use crate::net::wait::Waiter;
use crate::trace;
use crate::transfer::{Report, Watch};

/// Moves files one after the other, and does not give up when something goes wrong that may pass:
/// it waits, connects and logs in again if it has to, and goes on where the file was cut.
///
/// ```no_run
/// use std::fs::File;
/// use std::time::Duration;
/// use ftp_client::{Client, Retry};
///
/// let builder = Client::builder().overall(Some(Duration::from_secs(3_600)));
/// let mut queue = Retry::new(builder, "ftp.example.org").login("me", "secret").tries(10);
/// let mut file = File::options().write(true).create(true).truncate(false).open("a.bin")?;
/// let done = queue.download("pub/a.bin", &mut file)?;
/// println!("{} bytes, {} of them from before, {} tries", done.size, done.resumed, done.tries);
/// queue.upload(&mut File::open("b.bin")?, "incoming/b.bin")?;
/// queue.quit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What may pass is what [`Error::is_transient`] says: trouble with the network, limits of time,
/// 421 and 4yz. A 5yz reply is never followed by a second try, and neither is the 452 of a server
/// that has no space, a failure of the caller's own reader or writer, or
/// [`Error::Cancelled`]. Before each further try there is a pause, at first of about a second and
/// twice as long each time, up to a minute; a random part of up to a half is taken off, so that
/// many clients that lost the same server do not come back at once.
///
/// Of the builder, [`overall`](ClientBuilder::overall) is about everything from the first call on,
/// pauses included; when no pause has room any more, the last error is returned. A
/// [`Canceller`](crate::Canceller) ends pauses as well.
///
/// Files are moved as they are, in type image.
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
    if_changed: IfChanged,
    client: Option<Client>,
    /// The limit for everything, from the first call on.
    waiter: Option<Waiter>,
}

/// What becomes of a download that cannot go on where it was cut: the file on the server is not
/// known to be the same.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum IfChanged {
    /// It begins anew, and what was there is lost.
    #[default]
    StartAnew,
    /// It ends with [`Error::Changed`], and what was there stays.
    Fail,
}

/// A transfer by [`Retry`] that was done in the end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retried {
    /// How many tries it took: 1 if nothing went wrong.
    pub tries: u32,
    /// How many bytes of the file were there already when the last try began.
    pub resumed: u64,
    /// How many bytes the file has.
    pub size: u64,
    /// The last try: the bytes that it moved, the server's word, the time it took. `None` if a
    /// download found that all was here, so that nothing had to be moved.
    pub report: Option<Report>,
}

/// Where in the file a try began, and how it ended.
type Done = (u64, Option<Report>);

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
            if_changed: IfChanged::default(),
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

    /// The pause before the second try, from which the others double, and the longest: 1 s and
    /// 60 s by default.
    pub const fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Backoff { first, longest };
        self
    }

    /// What to do if a download cannot be resumed.
    pub const fn if_changed(mut self, choice: IfChanged) -> Self {
        self.if_changed = choice;
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
        self.persist(&mut |_| Ok((0, None)))?;
        self.client.as_mut().ok_or(Error::Closed)
    }

    /// Downloads the file at `path`. What `sink` holds already is its beginning, from an earlier
    /// try in this call or from long ago; an empty one has the whole come.
    ///
    /// It goes on after that (`REST`) only if `SIZE` says that there is that much, and neither
    /// `SIZE` nor `MDTM` has changed since the first try (RFC 3659 §3, §5.3). What was there before
    /// that try is compared by `SIZE` alone. If it does not fit, [`IfChanged`] decides. It begins
    /// anew as well if the server cannot restart, and after a try that was
    /// [`Error::Incomplete`].
    ///
    /// # Errors
    ///
    /// The last one if all tries failed, else the first that no further try would fix: those of
    /// [`client`](Self::client) and [`Client::retrieve`]; [`Error::Changed`]; [`Error::Local`] for
    /// what `sink` fails with. `sink` then holds what came, and what it held before the try if that
    /// was [`Error::Incomplete`].
    pub fn download(
        &mut self,
        path: impl AsRef<[u8]>,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<Retried, Error> {
        let path = path.as_ref();
        let if_changed = self.if_changed;
        // What the bytes that are here belong to, and whether they may be wrong all the same.
        let mut known = None;
        let mut is_doubtful = false;
        self.persist(&mut |client| {
            client.set_representation(RepresentationType::Image);
            let now = (client.size(path)?, client.modified(path)?);
            let (size, _) = now;
            let here = sink.length().map_err(Error::Local)?;
            let is_same = known.is_none_or(|known| known == now);
            let mut offset = match if_changed {
                _ if here == 0 || is_doubtful => 0,
                _ if is_same && size.is_some_and(|size| here <= size) => here,
                IfChanged::StartAnew => 0,
                IfChanged::Fail => return Err(Error::Changed),
            };
            if offset > 0 && size == Some(offset) {
                return Ok((offset, None));
            }
            let report = loop {
                match client.retrieve_from(path, offset) {
                    Ok(file) => {
                        sink.cut(offset).map_err(Error::Local)?;
                        (known, is_doubtful) = (Some(now), false);
                        break file.copy_to(sink);
                    }
                    Err(error) if offset > 0 && error.refuses_restart() => offset = 0,
                    Err(error) => return Err(error),
                }
            };
            let report = report.and_then(|report| {
                let bytes = offset + report.bytes;
                match size {
                    Some(size) if size != bytes => {
                        Err(Error::Incomplete { bytes, announced: Some(size) })
                    }
                    _ => Ok(report),
                }
            });
            is_doubtful = matches!(report, Err(Error::Incomplete { .. }));
            if is_doubtful && offset > 0 {
                // Not a mixture, where a server took REST and sent the file from its start.
                sink.cut(offset).map_err(Error::Local)?;
            }
            Ok((offset, Some(report?)))
        })
    }

    /// Downloads the file at `path` to the local file at `target`, as
    /// [`Client::download_to`] does, and goes on in `NAME.part` where a try was cut.
    ///
    /// # Errors
    ///
    /// The last one if all tries failed, else the first that no further try would fix: those of
    /// [`client`](Self::client) and [`Client::download_to`].
    #[cfg(unix)]
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<std::path::Path>,
        options: FileOptions,
    ) -> Result<Retried, Error> {
        let path = path.as_ref();
        let target = target.as_ref();
        self.persist(&mut |client| {
            let options = options.resume(true);
            let done = client.download_to(path, target, options, &mut Watch::new())?;
            Ok((done.resumed, done.report))
        })
    }

    /// Uploads all of `source`, from its start to its end, to `path`, in place of a file that is
    /// there.
    ///
    /// Behind a try that was cut it goes on where the server's file ends (`SIZE`, `REST`), if that
    /// file is what this call has sent: it is not longer than that, and not as long as what was
    /// there before. Otherwise it begins anew, as it does if the server cannot restart, and if the
    /// server has another length in the end than it was sent.
    ///
    /// # Errors
    ///
    /// The last one if all tries failed, else the first that no further try would fix: those of
    /// [`client`](Self::client) and [`Client::store`], of which 452 and 552 mean that other uploads
    /// will fail, too; [`Error::Local`] for what `source` fails with.
    pub fn upload(
        &mut self,
        mut source: &mut (impl Read + Seek + ?Sized),
        path: impl AsRef<[u8]>,
    ) -> Result<Retried, Error> {
        let path = path.as_ref();
        // The length of what was there when the whole began to be sent, and how much was.
        let mut before = None;
        let mut sent = 0;
        let mut is_doubtful = false;
        self.persist(&mut |client| {
            client.set_representation(RepresentationType::Image);
            let there = client.size(path)?;
            let length = source.seek(SeekFrom::End(0)).map_err(Error::Local)?;
            let is_ours = !is_doubtful && there != before;
            let mut offset = there.filter(|there| is_ours && *there <= length.min(sent));
            let report = loop {
                let start = offset.unwrap_or(0);
                source.seek(SeekFrom::Start(start)).map_err(Error::Local)?;
                match client.store_from(path, start) {
                    Ok(file) => {
                        if start == 0 {
                            (before, sent, is_doubtful) = (there, 0, false);
                        }
                        let mut watch = Watch::new();
                        let report = file.copy_from_watched(&mut source, &mut watch);
                        sent = sent.max(start + watch.moved());
                        break report?;
                    }
                    Err(error) if start > 0 && error.refuses_restart() => offset = None,
                    Err(error) => return Err(error),
                }
            };
            let start = offset.unwrap_or(0);
            let size = start + report.bytes;
            match client.size(path) {
                Ok(Some(bytes)) if bytes != size => {
                    is_doubtful = true;
                    Err(Error::Incomplete { bytes, announced: Some(size) })
                }
                // What was resumed is not known to be whole.
                Err(error) if start > 0 => Err(error),
                // The server has confirmed it, and may have moved it away since.
                _ => Ok((start, Some(report))),
            }
        })
    }

    /// Says good-bye to the server, if it is connected.
    ///
    /// # Errors
    ///
    /// Those of [`Client::quit`].
    pub fn quit(self) -> Result<(), Error> {
        self.client.map_or(Ok(()), Client::quit)
    }

    /// Tries, and tries again while that makes sense.
    fn persist(
        &mut self,
        attempt: &mut dyn FnMut(&mut Client) -> Result<Done, Error>,
    ) -> Result<Retried, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.ready().and_then(&mut *attempt) {
                Ok((resumed, report)) => {
                    let size = resumed + report.as_ref().map_or(0, |report| report.bytes);
                    return Ok(Retried { tries, resumed, size, report });
                }
                Err(error) => error,
            };
            // One that still owes a reply takes longer to be cleared than to be made anew.
            self.client = self.client.take().filter(Client::is_settled);
            let is_full = error.reply().is_some_and(|reply| reply.code() == ReplyCode::NO_SPACE);
            if !error.is_transient() || is_full || tries >= self.tries {
                return Err(error);
            }
            let pause = self.backoff.scattered(tries);
            let seconds = pause.as_secs_f32();
            trace::note(format_args!("try {tries} failed, the next in {seconds:.1} s: {error}"));
            if !self.waiter.as_ref().map_or(Ok(false), |waiter| waiter.pause(pause))? {
                return Err(error);
            }
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
