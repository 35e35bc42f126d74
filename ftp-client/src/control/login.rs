//! Login with `USER`, `PASS` and `ACCT` (RFC 959 §5.4), `Login`, the server and the user of a session,
//! and TLS on the connections (RFC 4217 §4, §9, §12).
//!
//! On the control connection, TLS starts with the first byte or after `AUTH TLS`. `PBSZ` and `PROT`
//! turn it on for data connections.
//!
//! Nothing is sent together with `USER` or `PASS`: the reply to `USER` can forbid the password in
//! plaintext (534), and some servers take what follows `PASS` in a packet for a part of the password.

use ftp_proto::{
    AuthMechanism, Command, Password, ProtectionLevel, Reply, ReplyCode, Severity, Verb,
};
use rustix::fd::AsFd;

use super::ControlConnection;
use crate::error::{
    Error, ProxyAnswer, ProxyFault, TlsError, accepted, is_about_syntax, is_unknown,
};
use crate::net::Server;
use crate::net::proxy::Proxy;
use crate::net::wait::Deadline;
use crate::security::{Tls, TlsInfo, TlsStart};
use crate::tls::{Context, Session};
use crate::trace;

/// The server and the user of a session, as the caller named them.
///
/// Two sessions with equal values see the same files under the same names. Another name of the same
/// host is another value, because it can lead to another host later.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(crate) struct Login {
    /// The host as passed to [`ClientBuilder::connect`](crate::ClientBuilder::connect): a name, or
    /// an address without brackets. With a [`Proxy`](crate::Proxy), the host that the proxy
    /// connects to.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The user name as passed to [`Client::login`](crate::Client::login).
    pub(crate) user: Vec<u8>,
}

ftp_proto::debug_fields!(Login { host, port, user: ftp_proto::Escaped(user) });

impl Login {
    pub(crate) fn new(server: &Server, user: &[u8]) -> Self {
        Self { host: server.host.clone(), port: server.port, user: user.to_vec() }
    }

    /// Returns the login of an anonymous user.
    #[cfg(test)]
    pub(crate) fn for_tests(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, user: b"anonymous".to_vec() }
    }
}

/// The TLS state of a client.
#[derive(Debug)]
pub(crate) struct Secured {
    context: Context,
    pub(crate) info: TlsInfo,
    data: ProtectionLevel,
    /// Whether the server has accepted that level.
    is_agreed: bool,
    pub(crate) before_login: bool,
    /// Whether the server begins the handshakes of data connections, for a server-to-server copy.
    pub(crate) server_begins: bool,
    pub(crate) demand: Demand,
    /// What was last said of a data connection.
    told: String,
}

/// Whether the server refuses data connections that do not resume a TLS session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Demand {
    Unknown,
    Made,
    NotMade,
}

pub(crate) enum TlsAnswer {
    Secured(Box<Secured>),
    /// The server refused TLS, and the caller accepts plaintext.
    Plaintext(Reply),
}

impl Secured {
    pub(crate) fn begin(
        context: Context,
        settings: &Tls,
        control: &mut ControlConnection,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let session = control.secure(context.control().map_err(Error::Tls)?, deadline)?;
        let info = context.settle(session);
        let pin = info.pin.as_deref().unwrap_or("not shown: unknown kind of key");
        let what = format!("{}, {}; the server's key is {pin}", info.version, info.cipher);
        trace::note(format_args!("{what}"));
        log::info!("{what}");
        Ok(Self {
            context,
            info,
            data: settings.data,
            is_agreed: false,
            before_login: settings.before_login,
            server_begins: false,
            demand: Demand::Unknown,
            told: String::new(),
        })
    }

    /// Requests TLS with `AUTH TLS` (RFC 4217 §4) and, after a 5yz, with `AUTH SSL`: some servers
    /// know only the name from older drafts. Only 234 counts as consent. If both are refused, the
    /// first reply counts. After 500, 502, 504 or 534, the client continues in plaintext if the
    /// caller allows that. Otherwise, it closes the connection.
    pub(crate) fn ask(
        context: Context,
        settings: &Tls,
        control: &mut ControlConnection,
        deadline: impl FnOnce(&ControlConnection) -> Deadline,
    ) -> Result<TlsAnswer, Error> {
        let is_consent = |reply: &Reply| reply.code().value() == 234;
        let mut reply = control.request(&Command::Auth(AuthMechanism::Tls))?;
        if reply.code().severity() == Severity::Permanent {
            match control.request(&Command::Auth(AuthMechanism::TlsWithData)) {
                Ok(other) if is_consent(&other) => reply = other,
                Ok(_) => {}
                Err(error @ (Error::Cancelled | Error::Timeout(_))) => return Err(error),
                // The server ended the session because of the second command.
                Err(_) => return Err(Error::Tls(TlsError::Refused(reply))),
            }
        }
        if !is_consent(&reply) {
            // RFC 2228 §3: 504 for an unknown mechanism, 534 by policy. Another refusal, such as 503 or a
            // 4yz, does not show that the server has no TLS.
            let lacks_tls = is_unknown(&reply) || matches!(reply.code().value(), 504 | 534);
            if lacks_tls && settings.start == TlsStart::Opportunistic {
                trace::note(format_args!("no TLS: continuing in plaintext, passwords included"));
                return Ok(TlsAnswer::Plaintext(reply));
            }
            control.close();
            return Err(Error::Tls(TlsError::Refused(reply)));
        }
        match control.check_clear() {
            Ok(()) => {}
            Err(Error::Closed) => return Err(Error::Closed),
            Err(_) => {
                control.close();
                return Err(Error::Tls(TlsError::InjectedPlaintext));
            }
        }
        let deadline = deadline(control);
        let secured = Self::begin(context, settings, control, deadline)?;
        Ok(TlsAnswer::Secured(Box::new(secured)))
    }

    /// Sends the protection level of data connections once. If the server refuses it, the session
    /// ends.
    pub(crate) fn protect(&mut self, control: &mut ControlConnection) -> Result<(), Error> {
        for command in self.protection() {
            let reply = control.request(&command)?;
            self.agree(control, command.verb(), reply)?;
        }
        Ok(())
    }

    /// Returns the commands that set the protection level of data connections, unless the server
    /// has accepted it.
    pub(crate) fn protection(&self) -> Vec<Command> {
        match self.is_agreed {
            true => Vec::new(),
            false => vec![Command::Pbsz(0), Command::Prot(self.data)],
        }
    }

    /// Takes the reply to a command of [`protection`](Self::protection). Closes the connection if
    /// the server refuses the protection level. A refusal of `PBSZ` changes nothing, because its 0 is
    /// the only value. A server that does not know `PROT`, because something else put TLS on the control
    /// connection, sends data in plaintext.
    pub(crate) fn agree(
        &mut self,
        control: &mut ControlConnection,
        verb: Verb,
        reply: Reply,
    ) -> Result<(), Error> {
        // A 522 or 534 can demand the protection that was not asked for.
        let is_needless = verb == Verb::Pbsz || is_about_syntax(&reply) && !self.is_data_private();
        if reply.code().severity() != Severity::Completion && !is_needless {
            control.close();
            return Err(Error::Tls(TlsError::DataProtectionRefused { verb, reply }));
        }
        self.is_agreed |= verb == Verb::Prot;
        Ok(())
    }

    /// Returns a TLS session for the next data connection, if data is protected.
    pub(crate) fn data(&self) -> Option<Result<Session, Error>> {
        let is_private = self.data == ProtectionLevel::Private;
        is_private.then(|| self.context.data().map_err(Error::Tls))
    }

    /// Returns whether the server would refuse the next data connection, because there is no TLS
    /// session to resume.
    pub(crate) fn lacks_session(&self) -> bool {
        self.is_data_private() && self.demand == Demand::Made && !self.context.has_session()
    }

    pub(crate) fn is_data_private(&self) -> bool {
        self.data == ProtectionLevel::Private
    }

    /// Counts a data connection after its handshake.
    pub(crate) fn count(&mut self, session: &Session) {
        self.info.data_connections += 1;
        let is_resumed = session.is_resumed();
        self.info.resumed += u64::from(is_resumed);
        let how = if is_resumed { "session resumed" } else { "new session" };
        let what = format!("data connection: {}, {how}", session.version());
        trace::note(format_args!("{what}"));
        // All are alike, unless something is wrong: then each change is told.
        if self.told != what {
            log::info!("{what}");
            self.told = what;
        }
    }
}

impl ControlConnection {
    /// Starts TLS on the connection. Any error closes the connection.
    pub(crate) fn secure(
        &mut self,
        session: Session,
        deadline: Deadline,
    ) -> Result<&Session, Error> {
        self.counts.add_round_trip();
        if let Err(error) = self.shake_hands(session, deadline) {
            self.close();
            return Err(error);
        }
        self.stream.as_ref().and_then(|stream| stream.session()).ok_or(Error::Closed)
    }

    fn shake_hands(&mut self, session: Session, deadline: Deadline) -> Result<(), Error> {
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        stream.encrypt(session);
        while let Some(interest) = stream.handshake()? {
            self.waiter.wait_for(stream.as_fd(), interest, deadline)?;
        }
        Ok(())
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.session().is_some())
    }

    /// Marks the end of the commands with a TLS close_notify, if TLS is on.
    pub(crate) fn say_end(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.say_end();
        }
    }
}

/// Logs in. Every argument is checked before any is sent.
pub(crate) fn login(
    control: &mut ControlConnection,
    user: &[u8],
    password: &[u8],
    account: Option<&Password>,
) -> Result<(), Error> {
    let user = Command::User(user.to_vec());
    let password = Command::Pass(Password(password.to_vec()));
    let account = account.cloned().map(Command::Acct);
    for command in [Some(&user), Some(&password), account.as_ref()].into_iter().flatten() {
        command.encode()?;
    }
    let mut last = &user;
    let mut reply = control.request(last)?;
    let is_asked = reply.code().severity() == Severity::Intermediate;
    if is_asked && reply.code() != ReplyCode::NEED_ACCOUNT {
        last = &password;
        reply = control.request(last)?;
    }
    if reply.code() == ReplyCode::NEED_ACCOUNT
        && let Some(account) = &account
    {
        last = account;
        reply = control.request(last)?;
    }
    accepted(last.verb(), reply).map(drop)
}

/// Logs in to an FTP proxy itself, if the proxy settings name a user. Returns the user name by
/// which the proxy finds the server: `user@host`, with the port if it is not 21 (RFC 1919 §4.3).
pub(crate) fn by_proxy(
    control: &mut ControlConnection,
    proxy: &Proxy,
    user: &[u8],
) -> Result<Vec<u8>, Error> {
    if let Some(own) = proxy.login() {
        let done = login(control, &own.user, &own.password.0, None);
        done.map_err(|error| match error {
            Error::Refused { reply, .. } => {
                proxy.error(ProxyFault::LoginRefused(Some(ProxyAnswer::Ftp(reply))))
            }
            error => error,
        })?;
    }
    let place = control.server().to_string();
    let place = place.strip_suffix(":21").unwrap_or(&place);
    Ok([user, b"@", place.as_bytes()].concat())
}
