//! `Client`: one method a service, each a few lines over the control connection. The services of
//! files and directories are in modules of their own.

mod attribute;
pub(crate) mod builder;
mod bytes;
mod digest;
mod directory;
pub(crate) mod get_put;
mod listing;
mod transfers;

use std::net::SocketAddr;

use ftp_proto::{Command, Features, OptsArgument, ParseError, ParseErrorKind, Password};
use ftp_proto::{Pathname, RawCommand, Reply, ReplyCode, RepresentationType};
use ftp_proto::{Severity, Verb, limits};

use crate::config::Config;
use crate::control::ControlConnection;
use crate::control::login;
use crate::control::secure::{Asked, Secured};
use crate::data::DataModes;
use crate::error::{Error, Phase};
use crate::net::connect;
use crate::net::connect::Server;
use crate::net::stream::Stream;
use crate::net::wait::Waiter;
use crate::security::{Start, TlsInfo};
use crate::tls;
use crate::trace;
use crate::transfer::{self, Range};

/// A session with a server: the user-FTP process of RFC 959 §2.3.
///
/// Paths are bytes, since servers give them in any encoding. Where one holds other than ASCII and
/// is valid UTF-8, the server is asked once for `FEAT`, and told `OPTS UTF8 ON` if it lists that.
///
/// It may go from thread to thread, but is used by one at a time: whoever has several puts it
/// behind a lock, which keeps each dialogue together.
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
/// The same without the lock in the last of these lines is refused:
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
/// Every call may end with the errors of the control connection: [`Error::Closed`],
/// [`Error::ServiceClosing`], [`Error::Timeout`], [`Error::Io`], [`Error::Protocol`],
/// [`Error::Unexpected`] and [`Error::Desynchronised`]. The methods name only what comes on top of
/// these, and of [`Error::Cancelled`]. Dropping a client closes its connections without a word;
/// [`quit`](Self::quit) says good-bye.
#[derive(Debug)]
pub struct Client {
    pub(crate) control: ControlConnection,
    pub(crate) config: Config,
    pub(crate) modes: DataModes,
    /// The data connection of a transfer that was dropped before its end.
    pub(crate) abandoned: Option<Stream>,
    /// The part of a file that is in force at the server, for the next transfer.
    pub(crate) range: Range,
    welcome: Reply,
    pub(crate) secured: Option<Secured>,
    tls_refusal: Option<Reply>,
    /// The type of the transfers to come, and the type in force; `None` if that is not known.
    wanted: RepresentationType,
    pub(crate) in_force: Option<RepresentationType>,
    features: Option<Features>,
    utf8_asked: bool,
    /// Whether it is known how the server reads 0xFF.
    knows_iac: bool,
    /// The algorithm that `HASH` was told to use.
    hash: Option<String>,
    /// Listed by the server, and refused as unknown.
    no_mlsd: bool,
    /// `LIST -a` was refused where `LIST` was not.
    no_flags: bool,
    pub(crate) no_range: bool,
    /// Verbs that the server did not know, and whether it knows the X form.
    x_forms: Vec<(Verb, bool)>,
    length_check: bool,
    /// The working directory was changed since the login.
    moved: bool,
}

impl Client {
    pub(crate) fn connect(config: Config, server: Server) -> Result<Self, Error> {
        let host = config.host_command.then(|| server.host_name()).transpose();
        let host = host?.map(Command::Host);
        // Before anything is sent: what is wrong with it is the caller's.
        let context = config.tls.as_ref().map(|tls| tls::Context::new(tls, &server.host));
        let mut context = context.transpose().map_err(Error::Tls)?;
        let waiter = Waiter::new(config.overall, config.canceller.clone());
        let stream = connect::connect(&server, &config, &waiter)?;
        let addresses = match config.connector {
            // What it connected to is its own matter: a proxy, or nothing with an address.
            Some(_) => None,
            None => Some(stream.addresses().map_err(Error::Io)?),
        };
        let reply_limit = config.timeouts.reply;
        let mut control = ControlConnection::new(stream, server, addresses, reply_limit, waiter);
        let limit = config.timeouts.handshake;
        let mut secured = None;
        let deadline = |control: &ControlConnection| control.deadline(limit, Phase::Handshake);
        if let Some(settings) = config.tls.as_ref().filter(|tls| tls.start == Start::Implicit)
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
                Asked::Secured(now) => secured = Some(*now),
                Asked::InClear(reply) => tls_refusal = Some(reply),
            }
        }
        Ok(Self {
            control,
            config,
            modes: DataModes::default(),
            abandoned: None,
            range: Range::default(),
            welcome,
            secured,
            tls_refusal,
            wanted: RepresentationType::Image,
            in_force: None,
            features: None,
            utf8_asked: false,
            knows_iac: false,
            hash: None,
            no_mlsd: false,
            no_flags: false,
            no_range: false,
            x_forms: Vec::new(),
            length_check: false,
            moved: false,
        })
    }

    /// Logs in with `USER` and, if the server asks for them, `PASS` and `ACCT`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's reason: 530 for a wrong name or password, 332 if it
    /// wants an account and none was given to the builder. [`Error::Argument`] for an empty name,
    /// and for CR, LF or NUL in any of them. [`Error::Tls`] under TLS, if the server will not have
    /// data connections as they are to be: it is not logged in to any more then.
    pub fn login(
        &mut self,
        user: impl AsRef<[u8]>,
        password: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.settle()?;
        if self.secured.as_ref().is_some_and(|secured| secured.before_login) {
            self.protect()?;
        }
        let account = self.config.account.as_ref();
        login::login(&mut self.control, user.as_ref(), password.as_ref(), account)?;
        self.protect()?;
        // Servers may list more once they know who asks.
        self.features = None;
        Ok(())
    }

    /// Names an account (`ACCT`), as a server may want after the login for some commands: it
    /// refuses them with 532. One that wants it at login is told by
    /// [`ClientBuilder::account`](crate::ClientBuilder::account).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Argument`] for CR, LF or NUL.
    pub fn account(&mut self, account: impl AsRef<[u8]>) -> Result<(), Error> {
        self.order(&Command::Acct(Password(account.as_ref().to_vec()))).map(drop)
    }

    /// What was agreed on by TLS; `None` if the connection is in clear.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.secured.as_ref().map(|secured| &secured.info)
    }

    /// What the server said to `AUTH TLS`, if it refused that and
    /// [`Tls::opportunistic`](crate::Tls::opportunistic) lets the client go on in clear.
    #[must_use]
    pub const fn tls_refusal(&self) -> Option<&Reply> {
        self.tls_refusal.as_ref()
    }

    /// Tells the server under TLS what data connections are to be like.
    pub(crate) fn protect(&mut self) -> Result<(), Error> {
        match &mut self.secured {
            Some(secured) => secured.protect(&mut self.control),
            None => Ok(()),
        }
    }

    /// The server's greeting. With [`Tls::explicit`](crate::Tls::explicit) it came in clear, so
    /// that anybody may have written it.
    #[must_use]
    pub const fn welcome(&self) -> &Reply {
        &self.welcome
    }

    /// The address of this end of the control connection; `None` if a
    /// [`Connector`](crate::Connector) made it. Behind a NAT the server sees another.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.control.addresses().map(|(local, _)| local)
    }

    /// The server's address, the one of those of its name that answered; `None` if a
    /// [`Connector`](crate::Connector) made the connection.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.control.addresses().map(|(_, peer)| peer)
    }

    /// Whether commands can be sent: the connection is open, nothing is owed on it, and the server
    /// has not hung up or said anything unasked since the last command. A transfer that was
    /// dropped before its end is aborted first. It costs no command, and a server may still hang up
    /// at the next.
    #[must_use]
    pub fn is_ready(&mut self) -> bool {
        self.settle().and_then(|()| self.control.check_clear()).is_ok()
    }

    /// Whether the connection is open and no reply is owed on it, as far as is known here: nothing
    /// is sent or read for it. After a transfer that failed it is so if the server took the abort.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.control.is_open() && !self.control.is_outstanding()
    }

    /// Whether the working directory may be another than that in which the login ended: `CWD` or
    /// `CDUP` was sent, or a raw command that does the same.
    #[must_use]
    pub const fn has_moved(&self) -> bool {
        self.moved
    }

    /// Sets the type of the transfers that follow; [`Image`](RepresentationType::Image) at first.
    /// `TYPE` is sent with the next transfer that needs it. Listings need none.
    pub const fn set_representation(&mut self, representation: RepresentationType) {
        self.wanted = representation;
    }

    /// What the server says that it can do (`FEAT`), asked once. Empty if it does not tell: then
    /// a command is simply to be tried.
    ///
    /// # Errors
    ///
    /// Only those of the control connection.
    pub fn features(&mut self) -> Result<Features, Error> {
        if let Some(features) = &self.features {
            return Ok(features.clone());
        }
        let reply = self.request(&Command::Feat)?;
        let features = match reply.code().severity() {
            Severity::Completion => Features::read(&reply),
            _ => Features::default(),
        };
        Ok(self.features.insert(features).clone())
    }

    /// Removes a file (`DELE`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Argument`].
    pub fn delete(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Dele(self.pathname(path.as_ref())?);
        self.order(&command).map(drop)
    }

    /// Renames a file or directory (`RNFR`, `RNTO`). Most servers replace a file that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], whose verb tells which name it was about; [`Error::Argument`].
    pub fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        let to = Pathname::new(to.as_ref())?;
        let from = Command::Rnfr(self.pathname(from.as_ref())?);
        let to = Command::Rnto(self.pathname(to.as_bytes())?);
        to.encode()?;
        let reply = self.request(&from)?;
        if reply.code().severity() != Severity::Intermediate {
            return Err(Error::Refused(Verb::Rnfr, reply));
        }
        self.order(&to).map(drop)
    }

    /// Does nothing but find out whether the server is there (`NOOP`).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn noop(&mut self) -> Result<(), Error> {
        self.order(&Command::Noop).map(drop)
    }

    /// The kind of system that the server says it is (`SYST`), such as `UNIX Type: L8`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn system(&mut self) -> Result<Vec<u8>, Error> {
        Ok(self.order(&Command::Syst)?.text().to_vec())
    }

    /// Sends a command as somebody typed it, and gives its last reply, whatever it says: all of
    /// it, up to [`limits::REPLY_TOTAL`] bytes.
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
    /// [`Error::Argument`] for a verb that uses a data connection, or that changes the meaning of
    /// what follows on either connection: `AUTH`, `CCC`, `MODE`, `STRU`, and under TLS `PROT` and
    /// `REIN`. Nothing is sent then. [`Error::Protocol`] for a longer reply.
    pub fn quote(&mut self, command: &RawCommand) -> Result<Reply, Error> {
        let verb = command.verb();
        let refuse = |what| {
            let error = ParseError::new(what, 0, ParseErrorKind::Unsupported);
            Err(Error::Argument(error))
        };
        match verb {
            _ if verb.uses_data() => {
                return refuse("a raw command that uses a data connection");
            }
            Verb::Auth | Verb::Adat | Verb::Ccc | Verb::Mode | Verb::Stru => {
                return refuse("a raw command that changes how the connections are read");
            }
            Verb::Prot | Verb::Rein if self.secured.is_some() => {
                return refuse("a raw command that changes what TLS protects");
            }
            _ => {}
        }
        let line = command.encode()?;
        self.settle()?;
        self.learn_iac(&line)?;
        match verb {
            Verb::Cwd | Verb::Cdup | Verb::Smnt => self.moved = true,
            Verb::Type => self.in_force = None,
            Verb::Rein => {
                (self.in_force, self.features, self.utf8_asked) = (None, None, false);
                self.modes.all_said = false;
                self.hash = None;
            }
            _ => {}
        }
        self.control.keep_whole_replies(true);
        let reply = self.control.request_line(verb, &line);
        self.control.keep_whole_replies(false);
        let reply = reply?;
        if reply.code().severity() == Severity::Intermediate {
            // Whatever it was, it is not what the next transfer wants.
            match verb {
                Verb::Rest => self.range = Range::from_highest(),
                Verb::Rang => self.range = Range::Between(limits::RESTART_MARKER, 0),
                _ => {}
            }
        }
        if verb == Verb::Opts {
            (self.features, self.hash) = (None, None);
        }
        Ok(reply)
    }

    /// Ends the session (`QUIT`), after aborting a transfer that was left before its end. A server
    /// that does not answer `QUIT` is left after 2 s, and after a cancel within a second. One that
    /// closes the connection without a 221 has ended the session as well.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], and those of the control connection but [`Error::Closed`].
    pub fn quit(mut self) -> Result<(), Error> {
        self.control.leave(true);
        let answer = self.settle().and_then(|()| self.control.say_good_bye());
        self.control.say_end();
        match answer {
            Ok(_) | Err(Error::Closed | Error::ServiceClosing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends a transfer that was dropped before its end.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.control.check()?;
        let data = self.abandoned.take();
        match self.control.outstanding() {
            Some(verb) if verb.uses_data() => transfer::abort::resync(&mut self.control, data),
            // It was cancelled while it waited for its reply, and what can be told to stop is not
            // that.
            Some(_) => {
                self.control.close();
                Err(Error::Closed)
            }
            None => Ok(()),
        }
    }

    fn request(&mut self, command: &Command) -> Result<Reply, Error> {
        self.settle()?;
        self.control.request(command)
    }

    fn order(&mut self, command: &Command) -> Result<Reply, Error> {
        self.settle()?;
        self.control.order(command)
    }

    /// Checks a path, and sees to it that the server reads it as UTF-8 where that matters.
    pub(crate) fn pathname(&mut self, path: &[u8]) -> Result<Pathname, Error> {
        let pathname = Pathname::new(path)?;
        self.learn_iac(path)?;
        if !path.is_ascii() && !self.utf8_asked && std::str::from_utf8(path).is_ok() {
            if self.features()?.has("UTF8") {
                // Many servers do UTF-8 without it and refuse the option: no harm (RFC 2640).
                let reply = self.request(&Command::Opts(OptsArgument::Utf8))?;
                if reply.code().severity() != Severity::Completion {
                    trace::note(format_args!("names are sent as UTF-8 all the same"));
                }
            }
            self.utf8_asked = true;
        }
        Ok(pathname)
    }

    /// A path that is left out of the command if it is empty.
    fn pathname_or_none(&mut self, path: &[u8]) -> Result<Option<Pathname>, Error> {
        if path.is_empty() { Ok(None) } else { self.pathname(path).map(Some) }
    }

    /// Sends `TYPE` if another type is in force.
    pub(crate) fn put_in_force(&mut self, wanted: RepresentationType) -> Result<(), Error> {
        if self.in_force != Some(wanted) {
            self.control.order(&Command::Type(wanted.into()))?;
            self.in_force = Some(wanted);
        }
        Ok(())
    }

    /// Sends `REST` or `RANG` if the next transfer is about a part of its file, and takes back what
    /// was sent for one that did not follow. The same part is told again: a server may
    /// forget it with the next command (RFC 3659 §5.3).
    pub(crate) fn put_range_in_force(&mut self, range: Range) -> Result<(), Error> {
        let whole = Range::default();
        if self.range == whole && range == whole {
            return Ok(());
        }
        match (self.range, range) {
            (Range::Between(..), Range::From(_)) => {
                self.prepare(&Command::Known(Verb::Rang, b"1 0".to_vec()))?;
                self.range = whole;
            }
            (Range::From(_), Range::Between(..)) if self.range != whole => {
                self.put_range_in_force(whole)?;
            }
            _ => {}
        }
        match range {
            _ if range == whole && self.range == whole => {}
            Range::From(marker) => self.prepare(&Command::Rest(marker))?,
            Range::Between(first, last) => {
                let argument = format!("{first} {last}").into_bytes();
                self.prepare(&Command::Known(Verb::Rang, argument))?;
            }
        }
        self.range = range;
        Ok(())
    }

    /// Sends a command that must end with 3yz.
    fn prepare(&mut self, command: &Command) -> Result<(), Error> {
        let reply = self.control.request(command)?;
        match reply.code().severity() {
            Severity::Intermediate => Ok(()),
            _ => Err(Error::Refused(command.verb(), reply)),
        }
    }
}

/// Tells the server by which name it was called (`HOST`). One that does not know the command is
/// taken to serve one host.
fn name_host(control: &mut ControlConnection, command: &Command) -> Result<(), Error> {
    let reply = control.request(command)?;
    if is_unknown(&reply) || reply.code().severity() == Severity::Completion {
        return Ok(());
    }
    Err(Error::Refused(Verb::Host, reply))
}

/// Whether a reply says that the server does not know the command.
fn is_unknown(reply: &Reply) -> bool {
    [ReplyCode::UNKNOWN_COMMAND, ReplyCode::NOT_IMPLEMENTED].contains(&reply.code())
}
