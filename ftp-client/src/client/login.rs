//! Connecting, logging in, and how far away the server is.

use std::time::{Duration, Instant};

use ftp_proto::{
    Command, EpsvArgument, Extended, Features, FtpUrl, Mode, Password, Reply, ReplyCode, Severity,
};

use super::objects::Position;
use super::{Client, features_in};
use crate::config::{ClientBuilder, Config, for_scheme};
use crate::control::Answers;
use crate::control::login::{self, CommandsWithPass, Login, Secured};
use crate::error::Error;
use crate::net::Server;
use crate::security::TlsStart;

/// The time to connect from which a round trip is worth saving.
const FAR: Duration = Duration::from_millis(20);

/// What a connection has shown of the way to its server, and of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The shortest time from a command to its reply.
    pub(crate) reply: Duration,
    /// The time to connect and to log in.
    pub(crate) login: Duration,
}

impl ClientBuilder {
    /// Connects to a server and waits for its greeting.
    ///
    /// `server` is `host` or `host:port`. The host is a name or an address; an IPv6 address before
    /// a port must be in brackets. The default port is 21, and 990 with
    /// [`Tls::implicit`](crate::Tls::implicit).
    ///
    /// A name may have several addresses of both families. The client tries them in turn: each
    /// attempt starts as soon as the previous one fails, or at most 250 ms after that one started.
    /// It uses the first address that answers (RFC 8305).
    ///
    /// # Errors
    ///
    /// - [`Error::Argument`] if `server` is not a valid host.
    /// - [`Error::Unsupported`] for settings that exclude each other; nothing is sent.
    /// - [`Error::Io`] if the name has no address or none can be reached, with the reason for each
    ///   address.
    /// - [`Error::Proxy`] if the proxy cannot be reached, or does not connect to the server.
    /// - [`Error::Timeout`] if a phase takes too long.
    /// - [`Error::Tls`] if TLS fails, if the server refuses it although it is demanded, or if the
    ///   TLS settings cannot be met.
    /// - [`Error::ServiceClosing`] or [`Error::Greeting`] if the greeting is not 220.
    /// - [`Error::Refused`] if the server refuses the name in [`HOST`](Self::host_command).
    /// - [`Error::Protocol`] if the peer is not an FTP server.
    /// - [`Error::Cancelled`] if the [`canceller`](Self::canceller) stops the client.
    /// - The other errors of the control connection that [`Client`] lists.
    pub fn connect(self, server: &str) -> Result<Client, Error> {
        self.connect_at(server, None)
    }

    /// Connects to a server. `port`, if given, replaces the port in `server`.
    fn connect_at(mut self, server: &str, port: Option<u16>) -> Result<Client, Error> {
        self.config.check()?;
        let is_implicit =
            self.config.tls.as_ref().is_some_and(|tls| tls.start == TlsStart::Implicit);
        let mut server = Server::parse(server, is_implicit)?;
        server.port = port.unwrap_or(server.port);
        Client::connect(self.config, server)
    }

    /// Connects to the server of a URL without logging in.
    ///
    /// The schemes `ftpes` and `ftps` demand TLS, `ftps` from the first byte. All other TLS
    /// settings come from [`tls`](Self::tls).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    pub fn connect_to(mut self, url: &FtpUrl) -> Result<Client, Error> {
        self.config.tls = for_scheme(url.scheme(), self.config.tls.take());
        match url.host() {
            host if host.contains(':') => self.connect_at(&format!("[{host}]"), url.named_port()),
            host => self.connect_at(host, url.named_port()),
        }
    }
}

impl Client {
    /// Returns a builder for a new client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Logs in with `USER` and, if the server asks for them, `PASS` and `ACCT`.
    ///
    /// [`ClientBuilder::first_transfer`](crate::ClientBuilder::first_transfer) saves round trips.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] with the server's reply, such as 530 for a wrong name or password, or
    ///   332 if the server wants an account and the builder has none.
    /// - [`Error::Argument`] for an empty name or account, an argument that is too long, or CR, LF
    ///   or NUL in any argument.
    /// - [`Error::Tls`] if the server refuses to protect data connections as requested.
    /// - [`Error::Proxy`] if an FTP proxy refuses the user and password for the proxy itself.
    pub fn login(
        &mut self,
        user: impl AsRef<[u8]>,
        password: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let (own, password) = (user.as_ref(), password.as_ref());
        self.settle()?;
        self.close_kept();
        if self.secured.as_ref().is_some_and(|secured| secured.before_login) {
            self.protect()?;
        }
        let user = match &self.config.route {
            Some(route) if route.proxy.is_ftp() => {
                &login::by_proxy(&mut self.control, &route.proxy, own)?
            }
            _ => own,
        };
        let account = self.config.account.as_ref();
        self.identity = None;
        self.control.forget_answers();
        let ahead = self.commands_ahead();
        let logged_in = login::login(&mut self.control, user, password, account, &ahead);
        if let Err(Error::Desynchronised) = logged_in
            && !ahead.commands.is_empty()
        {
            self.reconnect()?;
            return self.login(own, password);
        }
        // Some servers list more features after the login.
        self.features = None;
        match logged_in? {
            Some(replies) => self.take_ahead(&ahead.commands, replies)?,
            None => {
                self.config.counts.note_out_of_order();
                self.go_one_by_one();
            }
        }
        self.control.logged_in();
        self.identity = Some(Login::new(self.control.server(), own));
        self.protect()?;
        self.position = Position::default();
        self.login_time = began.elapsed();
        self.config.counts.note_login(self.login_time);
        Ok(())
    }

    /// Returns the user as passed to [`login`](Self::login), or `None` before a successful login and
    /// after a raw `USER` or `REIN`.
    #[must_use]
    pub fn user(&self) -> Option<&[u8]> {
        self.identity.as_ref().map(|login| &*login.user)
    }

    /// Returns the server and the user while [`user`](Self::user) returns one.
    pub(crate) const fn identity(&self) -> Option<&Login> {
        self.identity.as_ref()
    }

    /// Sends an account (`ACCT`), which some servers demand with 532 after the login.
    ///
    /// For a server that asks for the account at login, use
    /// [`ClientBuilder::account`](crate::ClientBuilder::account).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the account, and [`Error::Argument`] if the
    /// account is empty, is too long, or contains CR, LF or NUL.
    pub fn account(&mut self, account: impl AsRef<[u8]>) -> Result<(), Error> {
        self.order(&Command::Acct(Password(account.as_ref().to_vec()))).map(drop)
    }

    /// Returns the commands that can be sent together with `PASS`.
    fn commands_ahead(&self) -> CommandsWithPass {
        let Config { rules, route, compress, reuse_data, .. } = &self.config;
        let begins_with_epsv = rules.mode == Mode::Passive
            && rules.epsv != Extended::Never
            && !(rules.epsv_all || *compress || *reuse_data)
            && !self.state.no_epsv
            && !route.as_ref().is_some_and(|route| route.proxy.is_ftp());
        let may_fly = begins_with_epsv && self.may_save_trips() && !self.waits_at_ports();
        let first = self.config.first_transfer.filter(|_| may_fly);
        let Some(representation) = first else { return CommandsWithPass::default() };
        let mut commands = self.secured.as_ref().map(Secured::protection).unwrap_or_default();
        commands.push(Command::Type(representation.into()));
        if self.config.lists_first {
            commands.push(Command::Feat);
        }
        commands.push(Command::Epsv(EpsvArgument::Default));
        CommandsWithPass { commands, patience: self.patience(Duration::ZERO) }
    }

    /// Returns whether the server names itself Twisted. It answers no command between `EPSV` and the use
    /// of the port for 10 s.
    fn waits_at_ports(&self) -> bool {
        self.welcome.lines().any(|line| line.windows(7).any(|part| part == b"Twisted"))
    }

    /// Takes the replies to the commands that were sent together with `PASS`.
    fn take_ahead(&mut self, commands: &[Command], replies: Vec<Reply>) -> Result<(), Error> {
        self.is_orderly |= !replies.is_empty();
        let is_final = |reply: &Reply| {
            reply.code().severity() != Severity::Transient
                && reply.code() != ReplyCode::NOT_LOGGED_IN
        };
        for (command, reply) in commands.iter().zip(replies) {
            match (command, &mut self.secured) {
                (Command::Type(_), _) => {
                    let is_done = reply.code().severity() == Severity::Completion;
                    self.state.representation = self.config.first_transfer.filter(|_| is_done);
                }
                (Command::Epsv(_), _) if is_final(&reply) => {
                    let mut answers = Answers::default();
                    answers.add(command.clone(), reply);
                    self.control.keep_answers(answers);
                }
                (Command::Epsv(_), _) => {}
                (Command::Feat, _) if is_final(&reply) => self.features = Some(features_in(&reply)),
                (Command::Feat, _) => {}
                (_, Some(secured)) => secured.agree(&mut self.control, command.verb(), reply)?,
                (_, None) => {}
            }
        }
        Ok(())
    }

    /// Takes over the features that another connection of the same login has listed.
    pub(crate) fn know_features(&mut self, features: &Features) {
        self.features.get_or_insert_with(|| features.clone());
    }

    /// Connects again, to send one command at a time.
    fn reconnect(&mut self) -> Result<(), Error> {
        self.go_one_by_one();
        let overall = self.control.waiter().remaining()?;
        let config = Config { overall, ..self.config.clone() };
        let again = Self::connect(config, self.control.server().clone())?;
        *self = Self { wanted: self.wanted, length_check: self.length_check, ..again };
        Ok(())
    }

    /// Returns whether the server is so far away that a round trip is worth saving.
    pub(crate) fn is_far(&self) -> bool {
        self.round_trip() >= FAR && !self.is_near()
    }

    /// Returns whether the client does not wait for a reply that it does not need yet: it saves much,
    /// and has not failed at this server.
    fn may_save_trips(&self) -> bool {
        self.is_far() && !self.config.flights.has_failed()
    }

    /// Returns whether the content of an upload may be sent before the first reply, as far as it depends
    /// on the server and not on the port.
    pub(crate) fn may_send_early(&self) -> bool {
        let Config { rules, compress, .. } = &self.config;
        let is_plain = self.secured.is_none() && !compress && !self.goes_ahead();
        is_plain && rules.mode == Mode::Passive && self.tells_sizes && self.may_save_trips()
    }

    /// Returns the time of a round trip to the server, measured when the client connected.
    pub(crate) const fn round_trip(&self) -> Duration {
        self.connecting
    }

    /// Returns what the connection has shown of the server; `None` before the login.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let reply = self.control.quickest_reply().filter(|_| self.identity.is_some())?;
        Some(Pace { reply, login: self.connecting + self.login_time })
    }
}
