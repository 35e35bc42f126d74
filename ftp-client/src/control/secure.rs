//! TLS on the connections (RFC 4217 §4, §9, §12). On the control connection, TLS starts with the
//! first byte or after `AUTH TLS`. `PBSZ` and `PROT` turn it on for data connections.
//!
//! Also aborts, which break the usual order of commands and replies (RFC 959 §4.1.3). The replies are
//! counted in `transfer::abort`.

use ftp_proto::{AuthMechanism, Command, ProtectionLevel, Reply, Severity, Verb};
use rustix::fd::AsFd;

use crate::control::ControlConnection;
use crate::error::Error;
use crate::net::wait::Deadline;
use crate::security::{Start, Tls, TlsError, TlsInfo};
use crate::tls::{Context, Session};
use crate::trace;

/// The TLS state of a client.
#[derive(Debug)]
pub(crate) struct Secured {
    context: Context,
    pub(crate) info: TlsInfo,
    /// The protection level requested for data connections.
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

/// The result of asking for TLS.
pub(crate) enum Asked {
    /// TLS is on.
    Secured(Box<Secured>),
    /// The server refused TLS, and the caller accepts plaintext.
    Plaintext(Reply),
}

impl Secured {
    /// Starts TLS on the control connection.
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
    ) -> Result<Asked, Error> {
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
            let is_unknown = matches!(reply.code().value(), 500 | 502 | 504 | 534);
            if is_unknown && settings.start == Start::Opportunistic {
                trace::note(format_args!("no TLS: continuing in plaintext, passwords included"));
                return Ok(Asked::Plaintext(reply));
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
        Ok(Asked::Secured(Box::new(secured)))
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
    /// the server refuses.
    pub(crate) fn agree(
        &mut self,
        control: &mut ControlConnection,
        verb: Verb,
        reply: Reply,
    ) -> Result<(), Error> {
        if reply.code().severity() != Severity::Completion {
            control.close();
            return Err(Error::Tls(TlsError::DataProtectionRefused(verb, reply)));
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

    /// Returns whether data connections are protected.
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

    /// Returns whether the connection is under TLS.
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

impl ControlConnection {
    /// Sends `ABOR` during a transfer: Telnet's "interrupt process" and "synch" as urgent data,
    /// then the command (RFC 959 §4.1.3). Afterwards, the reply to `ABOR` is outstanding too.
    pub(crate) fn send_abort(&mut self, deadline: Deadline) -> Result<(), Error> {
        const IAC_IP_IAC_DM: [u8; 4] = [255, 244, 255, 242];
        trace::sent(Verb::Abor, b"ABOR");
        if self.is_secure() {
            // TLS has no urgent data, and servers do not need it (RFC 4217 §4).
            return self.write(b"ABOR\r\n", deadline);
        }
        if self.addresses.is_none() {
            // Not every kind of socket supports urgent data or delivers it in place.
            return self.write(b"\xff\xf4\xff\xf2ABOR\r\n", deadline);
        }
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        let sent = stream.write_urgent(&IAC_IP_IAC_DM);
        sent.map_err(|error| self.lost(error))?;
        self.write(b"ABOR\r\n", deadline)
    }

    /// Returns a reply to the aborted transfer or to `ABOR`.
    pub(crate) fn any_reply(&mut self, deadline: Deadline) -> Result<Reply, Error> {
        self.read_reply(deadline)
    }

    /// Returns a reply to the aborted transfer or to `ABOR`. Returns `None` if none arrives in
    /// time; the connection then stays open.
    pub(crate) fn any_reply_in(&mut self, patience: Deadline) -> Result<Option<Reply>, Error> {
        loop {
            if let Some(reply) = self.decode()? {
                return Ok(Some(reply));
            }
            match self.wait(patience) {
                Ok(()) => {}
                Err(Error::Timeout(_)) if patience.remaining().is_err() => return Ok(None),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => return Err(self.lost(error)),
            }
            if self.fill()? == Some(false) {
                self.close();
                return Err(Error::Closed);
            }
        }
    }

    /// Sends `NOOP` after an abort; its reply is then outstanding too.
    pub(crate) fn send_noop(&mut self, deadline: Deadline) -> Result<(), Error> {
        if let Err(error) = deadline.remaining() {
            return Err(self.lost(error));
        }
        trace::sent(Verb::Noop, b"NOOP");
        self.write(b"NOOP\r\n", deadline)
    }

    /// Records that the final reply to the outstanding command has arrived.
    pub(crate) fn settled(&mut self) {
        self.outstanding = None;
        self.following.clear();
        self.has_begun = false;
        self.step.abort_transfer();
    }
}
