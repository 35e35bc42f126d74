//! The settings of an examination, and its connections to the server within the time limits.

use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

use ftp_client::error::Phase;
use ftp_client::{Client, ClientBuilder, Error, FirstLook, RawCommand, Timeouts, Tls};
use ftp_proto::{Escaped, ExtendedAddress, FtpUrl, HostPort, Reply, Scheme, Severity};

use super::finding::{Check, Finding, not_again};
use super::places::{Inside, Places};
use super::seen::{DataMethod, LoginSeen, Seen};
use crate::connect::{Chosen, Credentials, Dialler, TlsOptions, dialler};
use crate::console::Messages;
use crate::exit::{Failure, Result};
use crate::options::Options;
use crate::system::OsStrExt;

/// The server to examine, and the settings for each examination.
pub(super) struct Asked<'a> {
    pub(super) options: &'a Options,
    pub(super) url: &'a FtpUrl,
    /// URL of the same server with TLS, if `url` does not ask for TLS.
    pub(super) secure_url: Option<FtpUrl>,
    pub(super) dialler: Dialler,
    /// TLS settings of connections, if the URL or the options ask for TLS.
    pub(super) tls: Option<Tls>,
    /// Whether plaintext is acceptable if the server refuses TLS.
    pub(super) is_tried: bool,
    pub(super) is_implicit: bool,
    /// TLS settings to probe with, if the URL does not ask for TLS.
    pub(super) offered: Option<Tls>,
    pub(super) timeouts: Timeouts,
    pub(super) bind: Option<IpAddr>,
    pub(super) proxy: Option<Chosen>,
    /// The directory for test uploads.
    pub(super) upload: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    /// Reads the options about one server.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or if the URL contradicts an option.
    pub(super) fn new(options: &'a Options, url: &'a FtpUrl) -> Result<Self> {
        let dialler = Dialler::in_both_modes(options)?;
        let protection = TlsOptions::from_options(options)?;
        // If the URL does not ask for TLS, the server's offer of TLS is examined anyway.
        let secure_url = secured(url);
        let offered = secure_url.as_ref().and_then(|url| protection.of(url).ok().flatten());
        // A URL that asks for TLS overrides `tls` in a configuration file.
        let is_open = url.scheme() == Scheme::Ftp;
        Ok(Self {
            options,
            url,
            tls: protection.of(url)?,
            is_tried: is_open && options.value("tls").is_some_and(|tls| tls == "try"),
            is_implicit: protection.is_implicit(url),
            offered,
            secure_url,
            timeouts: dialler::timeouts(options)?,
            bind: dialler::bind(options)?,
            proxy: dialler.way_to(url)?,
            upload: options.value("upload-dir").map(OsStrExt::as_bytes),
            dialler,
        })
    }
}

/// Returns the URL of the same server with TLS, or `None` if `url` asks for TLS already.
fn secured(url: &FtpUrl) -> Option<FtpUrl> {
    let (host, port) = (url.host(), url.port());
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let secured = format!("ftpes://{host}:{port}/");
    (url.scheme() == Scheme::Ftp).then(|| FtpUrl::parse(secured.as_bytes()).ok()).flatten()
}

/// Time limit for the whole examination without `--timeout`.
pub(super) const WHOLE: Duration = Duration::from_secs(30);

/// Divisor of the remaining time: each wait may take a quarter of it. A wait of `SHORTEST` is
/// always allowed, because even a good network may need that long.
const SHARE: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(2_500);

/// One examination: how to connect to the server, and what was seen.
pub(super) struct Dial<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) credentials: &'a Credentials,
    pub(super) dialler: Dialler,
    /// Dialler that signals do not cancel: for cleaning up after a signal.
    pub(super) calm: Dialler,
    pub(super) messages: Messages,
    pub(super) places: &'a Places,
    pub(super) seen: Seen<'a>,
}

impl<'a> Dial<'a> {
    pub(super) const fn proxy(&self) -> Option<&Chosen> {
        self.asked.proxy.as_ref()
    }

    /// Returns a builder of clients whose overall timeout is the time left for the examination.
    fn builder(&self) -> ClientBuilder {
        self.complete(self.dialler.builder()).timeouts(self.timeouts())
    }

    fn complete(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(account) = &self.credentials.account {
            builder = builder.account(account.as_bytes());
        }
        if let Some(chosen) = self.proxy() {
            builder = builder.proxy(chosen.proxy.clone());
        }
        self.asked.tls.iter().cloned().fold(builder, ClientBuilder::tls)
    }

    /// Checks that there is time left for the examination.
    ///
    /// # Errors
    ///
    /// Returns `Timeout` if the time for the whole examination is over. Failures after that time
    /// say nothing about the server.
    pub(super) fn in_time(&self) -> Result {
        match self.left() {
            Duration::ZERO => Err(Error::Timeout(Phase::Overall).into()),
            _ => Ok(()),
        }
    }

    /// Returns a value that was to be had again, after an earlier connection succeeded. An error
    /// becomes a finding, and `None`.
    ///
    /// # Errors
    ///
    /// Returns the failure itself if it says nothing about the server.
    pub(super) fn again<T>(
        &self,
        check: Check,
        outcome: Result<T, Error>,
        found: &mut Vec<Finding>,
    ) -> Result<Option<T>> {
        let Err(error) = outcome else { return Ok(outcome.ok()) };
        self.in_time()?;
        found.push(not_again(check, &error)?);
        Ok(None)
    }

    pub(super) fn left(&self) -> Duration {
        self.dialler.left().unwrap_or(WHOLE)
    }

    /// Returns the longest time that one step may wait.
    pub(super) fn patience(&self) -> Duration {
        (self.left() / SHARE).max(SHORTEST)
    }

    pub(super) fn slowest_greeting(&self) -> Duration {
        let times =
            self.seen.answers.get().into_iter().flatten().filter_map(|(_, answer)| match answer {
                FirstLook::Talks { after, .. } => Some(*after),
                _ => None,
            });
        times.max().unwrap_or_default()
    }

    /// Returns the timeouts of the options, limited to [`patience`](Self::patience). Those for a
    /// greeting and for a reply can be longer, after a slow first greeting or login.
    pub(super) fn timeouts(&self) -> Timeouts {
        let most = self.patience();
        let logged_in = self.login_seen().map_or(Duration::ZERO, |login| login.took);
        let asked = self.asked.timeouts;
        asked
            .resolve(asked.resolve.min(most))
            .connect(asked.connect.min(most))
            // A server that looks up client names greets slowly on each connection.
            .greeting(asked.greeting.min(most.max(self.slowest_greeting() * 2)))
            .handshake(asked.handshake.min(most))
            // Several connections log in at once, and a slow password hash takes turns.
            .reply(asked.reply.min(most.max(logged_in * 6)))
            .data_connect(asked.data_connect.min(most))
            .stall(asked.stall.min(most))
            .final_reply(asked.final_reply.min(most))
    }

    /// Returns the timeouts for the first greeting and login, which may take longer: while they
    /// last, there is nothing else to examine.
    pub(super) fn first_timeouts(&self) -> Timeouts {
        let most = (self.left() / 2).max(SHORTEST);
        let asked = self.asked.timeouts;
        self.timeouts().greeting(asked.greeting.min(most)).reply(asked.reply.min(most))
    }

    /// Connects without logging in, before any login.
    ///
    /// # Errors
    ///
    /// Returns the client's error.
    pub(super) fn connect(&self) -> Result<Inside<'a, Client>, Error> {
        self.enter(|| self.builder().timeouts(self.first_timeouts()).connect_to(self.asked.url))
    }

    /// Connects with TLS, regardless of the URL, without logging in.
    ///
    /// # Errors
    ///
    /// Returns the client's error.
    pub(super) fn connect_by(&self, tls: &Tls) -> Result<Inside<'a, Client>, Error> {
        self.enter(|| self.connect_once(self.builder(), Some(tls)))
    }

    /// Connects with a builder, or with other TLS settings regardless of the URL.
    fn connect_once(&self, builder: ClientBuilder, tls: Option<&Tls>) -> Result<Client, Error> {
        let Some(tls) = tls else { return builder.connect_to(self.asked.url) };
        let secure_url = self.asked.secure_url.as_ref().filter(|_| self.asked.tls.is_none());
        builder.tls(tls.clone()).connect_to(secure_url.unwrap_or(self.asked.url))
    }

    /// Connects and logs in again, with one method of data connections.
    ///
    /// # Errors
    ///
    /// Returns the client's error.
    pub(super) fn client(&self, way: DataMethod) -> Result<Inside<'a, Client>, Error> {
        self.client_by(way, None, None)
    }

    /// Connects and logs in again, with one method of data connections. With `tls`, uses these TLS
    /// settings regardless of the URL; with `limit`, lasts at most for this time.
    ///
    /// # Errors
    ///
    /// Returns the client's error.
    pub(super) fn client_by(
        &self,
        way: DataMethod,
        tls: Option<&Tls>,
        limit: Option<Duration>,
    ) -> Result<Inside<'a, Client>, Error> {
        self.enter(|| {
            let limit = limit.or(self.dialler.left());
            let builder = way.alone(self.builder()).overall(limit);
            let mut client = self.connect_once(builder, tls)?;
            self.login(&mut client)?;
            self.places.open_up();
            Ok(client)
        })
    }

    /// Returns whether the first login used IPv6.
    pub(super) fn is_ipv6(&self) -> bool {
        let addresses = self.login_seen().and_then(|login| login.addresses);
        addresses.is_some_and(|(_, peer)| peer.ip().to_canonical().is_ipv6())
    }

    fn enter<T>(&self, connect: impl Fn() -> Result<T, Error>) -> Result<Inside<'a, T>, Error> {
        let left = self.dialler.left();
        let end = left.map(|left| Instant::now() + left);
        self.places.enter(end, || match left {
            Some(_) if self.left().is_zero() => Err(Error::Timeout(Phase::Overall)),
            _ => connect(),
        })
    }

    pub(super) fn login(&self, client: &mut Client) -> Result<(), Error> {
        client.login(&self.credentials.user, self.credentials.password.as_bytes())
    }

    /// Returns a logged-in client with the settings of the options, and `limit` as its overall
    /// timeout. The client ignores signals and the limit on simultaneous connections.
    ///
    /// # Errors
    ///
    /// Returns the client's error.
    pub(super) fn undisturbed(&self, limit: Duration) -> Result<Client, Error> {
        let builder = self.complete(self.calm.builder()).overall(Some(limit));
        let mut client = builder.connect_to(self.asked.url)?;
        self.login(&mut client)?;
        Ok(client)
    }

    pub(super) fn login_seen(&self) -> Option<&LoginSeen<'a>> {
        self.seen.login.get()
    }

    /// Returns whether TLS protects the login.
    pub(super) fn is_protected(&self) -> bool {
        self.login_seen().is_some_and(|login| !login.is_plaintext)
    }

    /// Returns the best method of data connections. The last stage begins only if there is one.
    pub(super) fn way(&self) -> DataMethod {
        self.seen.way.get().copied().unwrap_or(DataMethod::Epsv)
    }

    pub(super) fn user(&self) -> Escaped<'_> {
        Escaped(&self.credentials.user)
    }
}

/// Sends a command unchanged, and returns the reply, even if that is a refusal.
///
/// # Errors
///
/// Returns errors of the connection.
pub(super) fn ask(client: &mut Client, command: &str) -> Result<Reply, Error> {
    client.quote(&RawCommand::new(command).map_err(Error::Argument)?)
}

/// Asks for a port with PASV or EPSV. Returns the host that the reply to PASV names, and the address to
/// connect to: the port that the reply names, of the control connection's host.
pub(super) fn passive_port(
    client: &mut Client,
    way: DataMethod,
    peer: SocketAddr,
) -> Option<(Option<IpAddr>, SocketAddr)> {
    let reply = ask(client, &way.command()).ok()?;
    if reply.code().severity() != Severity::Completion {
        return None;
    }
    let (host, port) = match way {
        DataMethod::Epsv => (None, ExtendedAddress::find_port(reply.text()).ok()?),
        _ => {
            let found = HostPort::find(reply.text()).ok()?;
            (Some(IpAddr::from(found.host)), found.port)
        }
    };
    let mut at = peer;
    at.set_port(port);
    Some((host, at))
}

/// Does the same work for each item, in threads with these names, and returns the results in order.
///
/// # Errors
///
/// Returns `Local` if a thread cannot be started.
pub(super) fn side_by_side<T: Send, R: Send>(
    items: impl IntoIterator<Item = (&'static str, T)>,
    work: impl Fn(T) -> R + Sync,
) -> Result<Vec<R>> {
    let work = &work;
    scope(|scope| {
        let start = |(name, item): (&str, T)| {
            Builder::new().name(name.to_owned()).spawn_scoped(scope, move || work(item))
        };
        let started: Vec<_> = items.into_iter().map(start).collect();
        let result = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, R>>| {
            let thread = thread.map_err(|error| Failure::local("cannot start a thread", &error))?;
            Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
        };
        started.into_iter().map(result).collect()
    })
}
