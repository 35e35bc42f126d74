//! `Client`: one method per FTP service. Transfers, listings, directories and attributes have their
//! own modules.

pub(crate) mod absence;
mod by_name;
mod digest;
pub(crate) mod directories;
pub(crate) mod flight;
mod known;
mod listing;
pub(crate) mod login;
pub(crate) mod objects;
pub(crate) mod repeat;
mod transfers;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ftp_proto::{
    Command, Features, FileRange, OptsArgument, ParseError, ParseErrorKind, Pathname, RangeSetup,
    RawCommand, Reply, ReplyCode, RepresentationType, ServerState, Severity, TransferMode, Verb,
};

use self::known::{KnownServer, unkept_in};
use crate::charset::sent_in;
use crate::config::Config;
use crate::control::ControlConnection;
use crate::control::login::{Login, Secured, TlsAnswer};
use crate::data::{DownloadPlan, KeptConnection, MovesAhead};
use crate::error::{Error, Phase, Unsupported, accepted, is_unknown};
use crate::net::wait::Waiter;
use crate::net::{Server, Stream, dial};
use crate::security::{TlsInfo, TlsStart};
use crate::tree::entry::Clock;
use crate::{tls, trace};

/// The pause before the client connects again to a server that lost a connection by a test.
const AGAIN: Duration = Duration::from_millis(250);

/// A session with a server: the user-FTP process of RFC 959 §2.3.
///
/// Paths are bytes, since servers use any encoding. Before the first listing, and before the first path
/// with non-ASCII characters in UTF-8, the client reads the server's features (`FEAT`), and sends
/// `OPTS UTF8 ON` if they include `UTF8`. With a [`charset`](crate::ClientBuilder::charset), paths are UTF-8
/// instead, and the client translates them.
///
/// A client can move between threads, but only one thread can use it at a time. To share it, use a
/// mutex, which keeps the commands of each dialogue together.
///
/// ```no_run
/// # fn main() -> Result<(), ftp_client::Error> {
/// let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let shared = std::sync::Mutex::new(&mut client);
/// std::thread::scope(|threads| {
///     threads.spawn(|| shared.lock().unwrap().noop());
///     threads.spawn(|| shared.lock().unwrap().noop());
/// });
/// # Ok(())
/// # }
/// ```
///
/// Without the lock, the second thread does not compile:
///
/// ```compile_fail,E0499
/// # fn main() -> Result<(), ftp_client::Error> {
/// let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let shared = std::sync::Mutex::new(&mut client);
/// std::thread::scope(|threads| {
///     threads.spawn(|| shared.lock().unwrap().noop());
///     threads.spawn(|| client.noop());
/// });
/// # Ok(())
/// # }
/// ```
///
/// Every method that sends a command can return the errors of the control connection:
/// [`Error::Closed`], [`Error::ServiceClosing`], [`Error::Timeout`], [`Error::Io`], [`Error::Tls`],
/// [`Error::Protocol`], [`Error::Unexpected`] and [`Error::Desynchronised`]. The documentation of a
/// method does not repeat these errors and [`Error::Cancelled`]. Dropping a client closes its
/// connections without `QUIT`; use [`quit`](Self::quit) to end the session properly.
#[derive(Debug)]
pub struct Client {
    pub(crate) control: ControlConnection,
    pub(crate) config: Config,
    pub(crate) state: ServerState,
    /// The data connection of a transfer that was dropped early.
    pub(crate) abandoned: Option<Stream>,
    /// The data connection that the next transfer in mode B uses.
    pub(crate) kept: Option<KeptConnection>,
    pub(crate) plan: DownloadPlan,
    pub(crate) moves: MovesAhead,
    welcome: Reply,
    /// Whether transfers use one data connection if the server offers mode B.
    pub(crate) reuses: bool,
    pub(crate) secured: Option<Secured>,
    tls_refusal: Option<Reply>,
    /// The type for later transfers.
    wanted: RepresentationType,
    features: Option<Features>,
    utf8_asked: bool,
    /// Whether paths contain names from a listing, perhaps of another connection.
    pub(crate) names_are_listed: bool,
    /// Whether the facts of `MLST` and `MLSD` were chosen, if that is necessary.
    facts_chosen: bool,
    /// Whether the client knows how the server reads 0xFF.
    knows_iac: bool,
    /// Whether it only expects that the server follows the RFC.
    guesses_iac: bool,
    /// The server, once it was asked for; `None` in it if it is not one of those that are known.
    known: Option<Option<KnownServer>>,
    /// The algorithm set by `OPTS HASH`.
    hash: Option<String>,
    /// Whether the server lists `MLST`, but refused `MLSD` as unknown.
    no_mlsd: bool,
    mlsd_argument: directories::MlsdArgument,
    /// Whether the server refused `NLST`, but accepted `LIST`.
    no_nlst: bool,
    /// Whether the server refused `LIST -a`, but accepted `LIST`.
    no_flags: bool,
    pub(crate) no_range: bool,
    pub(crate) clock: Option<Clock>,
    /// Whether this server, as the target of a copy, got a small file that had ended before its 150,
    /// and did not see it.
    pub(crate) misses_early_end: bool,
    /// Whether the server has confirmed an upload whose data connection failed. The size before then
    /// shows whether the next upload is stored.
    pub(crate) breaks_uploads: bool,
    /// Whether the caller reconnects if the test of flights costs the connection.
    pub(crate) tests_flights: bool,
    /// Whether `RNFR` was sent, and not yet `RNTO`: some servers accept only that now.
    pub(crate) is_renaming: bool,
    /// Verbs that the server did not know, and whether it knows the X form of each, such as `XPWD`.
    x_forms: Vec<(Verb, bool)>,
    /// Whether the current directory may have changed since the login.
    pub(crate) moved: bool,
    /// Whether a raw command may have ended the session of the login, or begun that of another user.
    pub(crate) is_other_session: bool,
    /// The directory that the last `CWD` led back to, if its reply proves nothing.
    returned_to: Option<Pathname>,
    position: directories::Position,
    /// The server and the user, once logged in.
    identity: Option<Login>,
    /// The time it took to connect, and to log in.
    connecting: Duration,
    login_time: Duration,
}

impl Client {
    /// Connects. A server that has just lost a connection by a test may still count it, and refuse
    /// another one for a moment.
    pub(crate) fn connect(config: &Config, server: &Server) -> Result<Self, Error> {
        let until = Instant::now() + config.timeouts.connect;
        let mut learned = config.learned.clone();
        learned.go_to(server);
        loop {
            let connected = Self::connect_once(config.clone(), server.clone());
            let is_cut = learned.flights.is_cut();
            match connected {
                Err(Error::ServiceClosing(_)) if is_cut && Instant::now() < until => {
                    Waiter::new(config.overall, config.canceller.clone()).sleep(AGAIN)?;
                }
                Ok(_) if is_cut => {
                    learned.flights.fail();
                    return connected;
                }
                connected => return connected,
            }
        }
    }

    fn connect_once(mut config: Config, server: Server) -> Result<Self, Error> {
        let host = config.host_command.then(|| server.host_name()).transpose();
        let host = host?.map(Command::Host);
        // Errors in the settings are reported before anything is sent.
        let context = config.tls.as_ref().map(|tls| tls::Context::new(tls, &server.host));
        let mut context = context.transpose().map_err(Error::Tls)?;
        let waiter = Waiter::new(config.overall, config.canceller.clone());
        let stream = dial::connect(&server, &mut config, &waiter)?;
        let connecting = stream.connecting;
        config.counts.add_connection(connecting);
        // On a relayed connection, the peer's address is not the server's, or the transport has no
        // address.
        let is_direct = !config.is_relayed();
        let addresses = is_direct.then(|| addresses_of(&stream)).transpose()?;
        config.rules.peer = addresses.map(|(_, peer)| peer);
        config.learned.go_to(&server);
        config.rules.pipeline &= !config.learned.flights.has_failed();
        let no_epsv = config.learned.epsv_fails.is_set() && config.rules.may_fall_back();
        let reply_limit = config.timeouts.reply;
        let (counts, learned) = (config.counts.clone(), config.learned.clone());
        let mut control =
            ControlConnection::new(stream, server, addresses, reply_limit, waiter, counts, learned);
        control.charset = config.charset;
        let limit = config.timeouts.handshake;
        let mut secured = None;
        let deadline = |control: &ControlConnection| control.deadline(limit, Phase::Handshake);
        if let Some(settings) = config.tls.as_ref().filter(|tls| tls.start == TlsStart::Implicit)
            && let Some(context) = context.take()
        {
            let deadline = deadline(&control);
            secured = Some(Secured::begin(context, settings, &mut control, deadline)?);
        }
        let welcome = control.greeting(config.timeouts.greeting)?;
        if let Some(command) = host {
            name_host(&mut control, &command)?;
        }
        let mut tls_refusal = None;
        if let Some((settings, context)) = config.tls.as_ref().zip(context) {
            match Secured::ask(context, settings, &mut control, deadline)? {
                TlsAnswer::Secured(now) => secured = Some(*now),
                TlsAnswer::Plaintext(reply) => tls_refusal = Some(reply),
            }
        }
        let reuses = config.reuse_data;
        let mut state = ServerState::default();
        state.no_epsv = no_epsv;
        Ok(Self {
            control,
            config,
            reuses,
            state,
            abandoned: None,
            kept: None,
            plan: DownloadPlan::default(),
            moves: MovesAhead::default(),
            welcome,
            secured,
            tls_refusal,
            wanted: RepresentationType::Image,
            features: None,
            utf8_asked: false,
            names_are_listed: false,
            facts_chosen: false,
            knows_iac: false,
            guesses_iac: false,
            known: None,
            hash: None,
            no_mlsd: false,
            mlsd_argument: directories::MlsdArgument::default(),
            no_nlst: false,
            no_flags: false,
            no_range: false,
            clock: None,
            misses_early_end: false,
            breaks_uploads: false,
            tests_flights: false,
            is_renaming: false,
            x_forms: Vec::new(),
            moved: false,
            is_other_session: false,
            returned_to: None,
            position: directories::Position::default(),
            identity: None,
            connecting,
            login_time: Duration::ZERO,
        })
    }

    /// Returns the TLS parameters of the connection; `None` if it is unencrypted.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.secured.as_ref().map(|secured| &secured.info)
    }

    /// Returns the server's refusal of `AUTH TLS`, if
    /// [`Tls::opportunistic`](crate::Tls::opportunistic) let the client continue in plaintext.
    #[must_use]
    pub const fn tls_refusal(&self) -> Option<&Reply> {
        self.tls_refusal.as_ref()
    }

    /// Sends the protection level of data connections, if TLS is on.
    pub(crate) fn protect(&mut self) -> Result<(), Error> {
        match &mut self.secured {
            Some(secured) => secured.protect(&mut self.control),
            None => Ok(()),
        }
    }

    /// Returns the server's greeting.
    ///
    /// Unless the client uses [`Tls::implicit`](crate::Tls::implicit), the greeting arrives in
    /// plaintext, so an attacker may have written it.
    #[must_use]
    pub const fn welcome(&self) -> &Reply {
        &self.welcome
    }

    /// Returns the local address of the control connection; `None` if a
    /// [connector](crate::ClientBuilder::connector) or a SOCKS5 or HTTP [`Proxy`](crate::Proxy) opened the
    /// connection.
    ///
    /// Behind a NAT, the server sees a different address.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.control.addresses().map(|(local, _)| local)
    }

    /// Returns the server's address; `None` if a [connector](crate::ClientBuilder::connector) or a SOCKS5 or
    /// HTTP [`Proxy`](crate::Proxy) opened the connection.
    ///
    /// If the server's name has several addresses, returns the one that answered. With an FTP
    /// proxy, returns the proxy's address.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.control.addresses().map(|(_, peer)| peer)
    }

    /// Returns whether the control connection leads to this computer.
    pub(crate) fn is_near(&self) -> bool {
        self.peer_addr().is_some_and(|peer| {
            let own = self.local_addr().map(|own| own.ip().to_canonical());
            let peer = peer.ip().to_canonical();
            peer.is_loopback() || own == Some(peer)
        })
    }

    /// Returns whether the next command can be sent at once, without sending or reading anything.
    ///
    /// Returns `true` if the connection is open, no reply is outstanding, and the server has
    /// neither closed the connection nor sent anything unrequested. The server can still close the
    /// connection before the next command. Returns `false` after a transfer that was dropped early;
    /// [`make_ready`](Self::make_ready) aborts such a transfer first.
    ///
    /// ```no_run
    /// # let mut idle: Vec<ftp_client::Client> = Vec::new();
    /// let client = match idle.pop() {
    ///     Some(client) if client.is_ready() => client,
    ///     _ => ftp_client::Client::builder().connect("ftp.example.org")?,
    /// };
    /// # drop(client);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.control.is_quiet()
    }

    /// Makes the client ready for its next command: aborts a transfer that was dropped early, and
    /// checks that the server has neither closed the connection nor sent anything unrequested.
    ///
    /// Otherwise sends nothing. Outstanding replies to planned commands
    /// ([`plan_downloads`](Self::plan_downloads), [`Upload::plan_next`](crate::Upload::plan_next))
    /// do not count.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub fn make_ready(&mut self) -> Result<(), Error> {
        if self.plan.is_requested() && self.kept.is_some() {
            // The replies to planned commands arrive now.
            return if self.control.is_open() { Ok(()) } else { Err(Error::Closed) };
        }
        self.stop_abandoned()?;
        self.control.check_clear()
    }

    /// Returns whether the connection is open and no reply is outstanding, without sending or
    /// reading anything.
    ///
    /// After an aborted transfer, the result is `true` if the server has answered the abort.
    /// Outstanding replies to planned commands do not count.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let is_outstanding = self.control.is_outstanding() && !self.plan.is_requested();
        self.control.is_open() && !is_outstanding
    }

    /// Returns whether the current directory may differ from the login directory, because the
    /// client has sent `CWD`, `CDUP` or a raw command with the same effect, such as `USER`.
    #[must_use]
    pub const fn has_moved(&self) -> bool {
        self.moved
    }

    /// Sets the type of later transfers (default: [`Image`](RepresentationType::Image)).
    ///
    /// The client sends `TYPE` with the next transfer that needs it. `LIST` and `NLST` use type
    /// ASCII (RFC 959 §4.1.3), and `MLSD` the type in force.
    pub const fn set_representation(&mut self, representation: RepresentationType) {
        self.wanted = representation;
    }

    pub(crate) const fn representation(&self) -> RepresentationType {
        self.wanted
    }

    /// Returns the features that the server lists (`FEAT`). The answer is cached.
    ///
    /// The list is empty if the server does not list its features, with a 211 reply. Commands of
    /// extensions may still work.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub fn features(&mut self) -> Result<Features, Error> {
        if let Some(features) = &self.features {
            return Ok(features.clone());
        }
        self.settle()?;
        let reply = self.request_with_proof(&Command::Feat)?;
        let features = match reply.code() {
            ReplyCode::SYSTEM_STATUS => Features::read(&reply),
            _ => Features::default(),
        };
        Ok(self.features.insert(features).clone())
    }

    /// Removes a file (`DELE`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Argument`] if
    /// `path` cannot be sent.
    pub fn delete(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Dele(self.pathname_to_change(path.as_ref())?);
        self.order(&command).map(drop)
    }

    /// Renames a file or directory (`RNFR`, `RNTO`). Most servers replace an existing file.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`], whose verb shows which of the two names was refused, and
    /// [`Error::Argument`] if a path cannot be sent.
    pub fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        let to = self.rename_from(from.as_ref(), to.as_ref())?;
        self.rename_to(&to)
    }

    /// Sends `RNFR`, which changes nothing, and returns the command for [`rename_to`](Self::rename_to): for a
    /// caller who decides only then, because the server may have been slow. Without that call, a
    /// [`Pool`](crate::Pool) closes the connection.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rename`](Self::rename).
    pub fn rename_from(&mut self, from: &[u8], to: &[u8]) -> Result<Command, Error> {
        let impossible = || Error::Unsupported(Unsupported::NoPaths);
        let is_possible = |client: &Self| client.can_rename(from, to);
        if !is_possible(self) {
            return Err(impossible());
        }
        let from_name = Command::Rnfr(self.pathname_to_change(from)?);
        let new = Command::Rnto(self.pathname_to_change(to)?);
        new.encode()?;
        let reply = self.request(&from_name)?;
        match reply.code().severity() {
            // Some servers answer 250. A 202 says that nothing was done.
            Severity::Intermediate | Severity::Completion
                if reply.code() != ReplyCode::SUPERFLUOUS =>
            {
                self.is_renaming = true;
            }
            _ => return Err(Error::Refused { verb: Verb::Rnfr, reply }),
        }
        // The reply to this very command can have shown that the server takes only names.
        if is_possible(self) { Ok(new) } else { Err(impossible()) }
    }

    /// Sends `RNTO`, directly after [`rename_from`](Self::rename_from).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rename`](Self::rename).
    pub fn rename_to(&mut self, to: &Command) -> Result<(), Error> {
        self.is_renaming = false;
        let Some(named) = self.second_name(to)? else { return self.order(to).map(drop) };
        let reply = self.stay_inside(|client| client.control.request(&named))?;
        accepted(Verb::Rnto, reply).map(drop)
    }

    /// Checks that the server answers (`NOOP`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command.
    pub fn noop(&mut self) -> Result<(), Error> {
        self.order(&Command::Noop).map(drop)
    }

    /// Returns the server's system type (`SYST`), such as `UNIX Type: L8`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command.
    pub fn system(&mut self) -> Result<Vec<u8>, Error> {
        Ok(self.order(&Command::Syst)?.text().to_vec())
    }

    /// Sends a raw command and returns the final reply, whatever the reply code.
    ///
    /// The reply is kept whole, up to [`REPLY_TOTAL`](ftp_proto::limits::REPLY_TOTAL) bytes.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let command = ftp_client::RawCommand::new("SITE CHMOD 644 a.txt")?;
    /// let reply = client.quote(&command)?;
    /// assert_eq!(reply.code().value(), 200);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Argument`] for a verb that uses a data connection; nothing is sent.
    /// - [`Error::Argument`] for `AUTH`, `ADAT`, `CCC`, `MODE` and `STRU`, and under TLS also for
    ///   `PROT` and `REIN`: these change how the connections work. Nothing is sent.
    /// - [`Error::Protocol`] for a reply longer than
    ///   [`REPLY_TOTAL`](ftp_proto::limits::REPLY_TOTAL) bytes.
    pub fn quote(&mut self, command: &RawCommand) -> Result<Reply, Error> {
        let verb = command.verb();
        let refuse = |what| {
            let error = ParseError::new(what, 0, ParseErrorKind::Unsupported);
            Err(Error::Argument(error))
        };
        match verb {
            _ if verb.uses_data() => {
                return refuse("raw command that uses a data connection");
            }
            Verb::Auth | Verb::Adat | Verb::Ccc | Verb::Mode | Verb::Stru => {
                return refuse("raw command that changes the protection, mode or structure");
            }
            Verb::Prot | Verb::Rein if self.secured.is_some() => {
                return refuse("raw command that changes what TLS protects");
            }
            _ => {}
        }
        let line = command.encode()?;
        self.settle()?;
        self.learn_iac(&line)?;
        self.make_ready_for(verb)?;
        self.control.quoted();
        self.position.forget();
        self.control.forget_answers();
        let begins_again = matches!(verb, Verb::User | Verb::Rein);
        self.is_other_session |= begins_again;
        self.moved |= begins_again || matches!(verb, Verb::Cwd | Verb::Cdup | Verb::Smnt);
        match verb {
            Verb::Type => self.state.representation = None,
            Verb::User => self.identity = None,
            Verb::Rein => {
                self.identity = None;
                (self.state.representation, self.features) = (None, None);
                (self.utf8_asked, self.facts_chosen) = (false, false);
                self.state.epsv_all = false;
                self.state.mode = TransferMode::Stream;
                (self.state.no_deflate, self.state.no_blocks) = (false, false);
                self.close_kept();
                self.hash = None;
            }
            _ => {}
        }
        self.control.keep_whole_replies(true);
        let reply = self.control.request_line(verb, &line);
        self.control.keep_whole_replies(false);
        let reply = reply?;
        if reply.code().severity() == Severity::Intermediate {
            // The command may have changed the state that the next transfer relies on.
            self.state.forget_range(verb);
        }
        if verb == Verb::Opts {
            (self.features, self.hash, self.facts_chosen) = (None, None, true);
        }
        Ok(reply)
    }

    /// Ends the session (`QUIT`), after aborting a transfer that was dropped early.
    ///
    /// The client waits at most 2 s for the reply, or at most 1 s if it was cancelled. Over a slow
    /// network, it does not wait if the last reply can only have answered its own command. If the
    /// server closes the connection without a 221, that also counts as the end of the session.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Unexpected`] or [`Error::Desynchronised`] if the server sent another reply
    /// than 221 and none of its earlier replies rules out that replies were out of step: a command
    /// before may have failed. Also returns the errors of the control connection except
    /// [`Error::Closed`] and [`Error::ServiceClosing`].
    pub fn quit(mut self) -> Result<(), Error> {
        self.control.leave(true);
        self.position.at = None;
        let waits = !self.is_far();
        let answer = self.settle().and_then(|()| {
            self.close_kept();
            self.control.say_good_bye(waits)
        });
        self.control.say_end();
        match answer {
            Ok(_) | Err(Error::Closed | Error::ServiceClosing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Checks a path. Before the first path with non-ASCII characters, also sends `OPTS UTF8 ON` if the
    /// server lists `UTF8`. What it is for the server, [`sendable`](Self::sendable) says.
    pub(crate) fn pathname(&mut self, path: &[u8]) -> Result<Pathname, Error> {
        Pathname::new(path)?;
        let sent = sent_in(self.config.charset, path)?;
        self.learn_iac(&sent)?;
        self.learn_server(&sent)?;
        let pathname = self.sendable(path)?;
        if self.must_ask_for_utf8(path) {
            self.ask_for_utf8()?;
        }
        Ok(pathname)
    }

    /// Checks a path, and sends nothing. Servers take a leading `~` for the directory of a user, so `./`
    /// precedes it.
    pub(crate) fn sendable(&self, path: &[u8]) -> Result<Pathname, Error> {
        let sent = sent_in(self.config.charset, path)?;
        if let Some(at) = unkept_in(&sent, self.known.flatten()) {
            return Err(ParseError::new("pathname", at, ParseErrorKind::Unkept).into());
        }
        Ok(match path {
            [b'~', ..] => Pathname::new([b"./", path].concat())?,
            _ => Pathname::new(path)?,
        })
    }

    /// Returns whether the server must be asked for UTF-8 before it reads this path. A name that is not
    /// UTF-8 is in the server's own encoding, unless a listing showed it after that question.
    fn must_ask_for_utf8(&self, path: &[u8]) -> bool {
        let may_be_utf8 = || self.names_are_listed || std::str::from_utf8(path).is_ok();
        let is_asked = self.utf8_asked || self.config.charset.is_some();
        !is_asked && !path.is_ascii() && may_be_utf8()
    }

    /// Sends `OPTS UTF8 ON` once, if the server lists `UTF8` and the caller has named no character set.
    fn ask_for_utf8(&mut self) -> Result<(), Error> {
        if !self.utf8_asked && self.config.charset.is_none() && self.features()?.has("UTF8") {
            // Many servers always use UTF-8 and refuse this option, which is harmless (RFC 2640).
            let reply = self.request(&Command::Opts(OptsArgument::Utf8))?;
            if reply.code().severity() != Severity::Completion {
                trace::note(format_args!("OPTS UTF8 refused: names are sent as UTF-8 anyway"));
            }
        }
        self.utf8_asked = true;
        Ok(())
    }

    /// Returns the path, or `None` if it is empty, so that the command has no argument.
    fn pathname_or_none(&mut self, path: &[u8]) -> Result<Option<Pathname>, Error> {
        if path.is_empty() { Ok(None) } else { self.pathname(path).map(Some) }
    }

    /// Sends `TYPE` if another type is in force.
    pub(crate) fn put_in_force(&mut self, wanted: RepresentationType) -> Result<(), Error> {
        if self.state.representation != Some(wanted) {
            accepted(Verb::Type, self.request_with_proof(&Command::Type(wanted.into()))?)?;
            self.state.representation = Some(wanted);
        }
        Ok(())
    }

    /// Sends `REST` or `RANG` if the next transfer covers only a part of the file. Also resets a
    /// range that was selected earlier, but that no transfer has used.
    pub(crate) fn put_range_in_force(&mut self, range: FileRange) -> Result<(), Error> {
        let mut setup = RangeSetup::new(range);
        while let Some(command) = setup.command(&self.state) {
            let reply = self.control.request(&command)?;
            let taken = setup.reply(&reply, &mut self.state);
            taken.map_err(|_| Error::Refused { verb: command.verb(), reply })?;
        }
        Ok(())
    }
}

/// Returns the local address and the server's address.
fn addresses_of(stream: &Stream) -> Result<(SocketAddr, SocketAddr), Error> {
    stream.addresses().map_err(|error| match error.kind() {
        // The server has already closed the connection.
        ErrorKind::NotConnected => Error::Closed,
        _ => Error::io(error),
    })
}

/// Sends the name that the caller used for the server (`HOST`). A server that does not know the
/// command is assumed to have only one name.
fn name_host(control: &mut ControlConnection, command: &Command) -> Result<(), Error> {
    let reply = control.request(command)?;
    if is_unknown(&reply) || reply.code().severity() == Severity::Completion {
        return Ok(());
    }
    Err(Error::Refused { verb: Verb::Host, reply })
}

// What keeps replies in step with their commands: a transfer that was dropped early ends first, and a code
// that proves nothing is believed only once another reply has shown that they are in step.
impl Client {
    /// Aborts a transfer that was dropped early, and returns to the caller's current directory.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.stop_abandoned()?;
        self.come_back()
    }

    fn stop_abandoned(&mut self) -> Result<(), Error> {
        self.control.check()?;
        let data = self.abandoned.take();
        match self.control.outstanding() {
            Some(verb) if verb.uses_data() || self.plan.is_requested() => self.stop_transfer(data),
            // The command was cancelled before its reply arrived. `ABOR` stops only transfers, so
            // the connection must be closed.
            Some(_) => {
                self.control.close();
                Err(Error::Closed)
            }
            None => Ok(()),
        }
    }

    /// Aborts a transfer that was dropped early. If the success of `verb` proves nothing by its
    /// code, also makes sure that the next reply answers the next command.
    fn make_ready_for(&mut self, verb: Verb) -> Result<(), Error> {
        self.settle()?;
        if self.control.needs_proof(verb) { self.get_in_step() } else { Ok(()) }
    }

    /// Makes sure, after a transfer or an extra reply, that the next reply answers the next
    /// command: asks for the current directory (`PWD`), or for the system (`SYST`) if the server
    /// keeps that to itself. A 257 or 215 cannot be the late answer to another command. Fails if
    /// the server sends neither; the connection is then closed.
    pub(crate) fn get_in_step(&mut self) -> Result<(), Error> {
        let reply = match self.in_a_form(&Command::Pwd) {
            // The server knows neither PWD nor XPWD. No transfer ends with such a reply.
            Err(Error::Refused { reply, .. }) if is_unknown(&reply) => {
                self.control.trust_replies();
                return Ok(());
            }
            Err(Error::Refused { .. }) => self.control.request(&Command::Syst)?,
            answer => answer?,
        };
        if self.control.is_in_doubt() {
            return Err(self.control.out_of_step(Some(Verb::Pwd), reply));
        }
        self.check_directory(&reply)
    }

    /// Fails if the reply to `PWD` shows another directory than the one that the last `CWD` led back
    /// to.
    fn check_directory(&mut self, reply: &Reply) -> Result<(), Error> {
        let here = self.returned_to.take();
        match here.zip(Pathname::parse_quoted(reply.text()).ok()) {
            Some((here, shown)) if here != shown => {
                Err(self.control.out_of_step(Some(Verb::Cwd), reply.clone()))
            }
            _ => Ok(()),
        }
    }

    fn request(&mut self, command: &Command) -> Result<Reply, Error> {
        if let Some(reply) = self.reply_ahead(command)? {
            return Ok(reply);
        }
        self.settle()?;
        self.exchange(command, |client, command| client.control.request(command))
    }

    fn order(&mut self, command: &Command) -> Result<Reply, Error> {
        self.make_ready_for(command.verb())?;
        let reply = self.exchange(command, |client, command| client.control.request(command))?;
        accepted(command.verb(), reply)
    }
}
