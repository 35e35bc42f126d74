//! `ErrorKind` and `Recovery`: coarse classes of errors, for decisions. [`Error`] has the details.
//!
//! Also whether a server refuses a session only because it is busy. Many servers answer a client
//! beyond a limit with 530, like a wrong password, and only the text tells the difference.
//! [`Unsupported`] says what a server, a connection or settings exclude.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use ftp_proto::{BlockFault, DeflateFault, ParseErrorKind, Reply, ReplyCode, Severity, Verb};

use super::{DataAttempt, Error, fxp, is_about_syntax};
use crate::error::TlsError;

/// The kind of an [`Error`]. `Display` writes [its name](Self::as_str).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument that FTP cannot carry, or TLS settings that cannot be met. Nothing was sent.
    Usage,
    /// A local file or disk, or the caller's own reader or writer.
    Local,
    /// A name without an address, an unreachable address, a lost connection, or a proxy that does
    /// not connect. Also data in mode B or Z that ended early.
    Network,
    /// The server demands or refuses TLS, a handshake or certificate check failed, or protected
    /// data was truncated.
    Tls,
    /// The user, password or account was refused.
    Login,
    /// A reply that is not FTP or not allowed at that point, or an overlong line of a listing.
    Protocol,
    /// A 5xx reply to a command other than a login, or a greeting other than 220 and 4xx.
    Refused,
    /// A 4xx reply to a command, or a 4xx greeting; includes 421, but not 425. Also a refused
    /// connection or login whose text says that the server has too many clients.
    Temporary,
    /// A phase or the whole session took too long.
    Timeout,
    /// Too few, too many or corrupt bytes, a listing that is not proved complete, or a file that
    /// changed. Also a reply to `QUIT` that shows that replies were out of step.
    Integrity,
    /// The control connection works, but a data connection cannot be opened (also 425).
    Data,
    /// The server or this library lacks the requested feature, or other settings exclude it.
    Unsupported,
    /// Nothing was done, because another job is moving the same local file.
    Limit,
    /// A [`Canceller`](crate::Canceller) was used.
    Cancelled,
}

impl ErrorKind {
    /// Returns the name of the kind: one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Local => "local",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Temporary => "temporary",
            Self::Timeout => "timeout",
            Self::Integrity => "integrity",
            Self::Data => "data",
            Self::Unsupported => "unsupported",
            Self::Limit => "limit",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What another attempt can do about a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Recovery {
    /// Nothing.
    Impossible,
    /// The failure may be transient.
    TryAgain,
    /// The bytes at the target may be wrong, so one more attempt starts at byte 0.
    StartOver,
    /// Replies were out of step before the command had an effect: it is repeated once over a new
    /// connection, which is not an attempt.
    Reconnect,
}

/// The number of times that one run replaces a connection whose replies were out of step.
const MOST_RECONNECTS: u32 = 3;

impl Recovery {
    /// Returns whether one more connection may replace one whose replies were out of step, and counts it
    /// in `reconnects`, which the connections of one run share: at most three are replaced.
    #[must_use]
    pub fn may_reconnect(self, reconnects: &AtomicU32) -> bool {
        self == Self::Reconnect && reconnects.fetch_add(1, Ordering::Relaxed) < MOST_RECONNECTS
    }
}

impl Error {
    /// Returns whether this error of [`Client::make_ready`](crate::Client::make_ready) leaves in doubt
    /// what was done over the connection, so that the run must not go on over another one. Counts
    /// another one in `reconnects`, as [`Recovery::may_reconnect`] does.
    #[must_use]
    pub fn leaves_in_doubt(&self, reconnects: &AtomicU32) -> bool {
        match self {
            // Something was confirmed that may have failed.
            Self::Unexpected { .. } => true,
            Self::Desynchronised => !self.recovery().may_reconnect(reconnects),
            _ => false,
        }
    }

    /// Returns the kind of failure.
    ///
    /// ```
    /// use ftp_client::error::Phase;
    /// use ftp_client::{Error, ErrorKind};
    ///
    /// assert_eq!(Error::Timeout(Phase::Reply(None)).kind(), ErrorKind::Timeout);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { .. } | Self::Greeting(_) if self.is_busy() => ErrorKind::Temporary,
            Self::Refused { verb, reply } => refused(*verb, reply.code()),
            Self::Uncertain { verb: Verb::Dele | Verb::Mkd | Verb::Rmd, .. } => ErrorKind::Refused,
            Self::Uncertain { .. } => ErrorKind::Integrity,
            Self::Greeting(reply) => answered(reply.code()),
            Self::ServiceClosing(_) => ErrorKind::Temporary,
            // A command before may have failed.
            Self::Unexpected { verb: Verb::Quit, .. } => ErrorKind::Integrity,
            Self::Unexpected { .. }
            | Self::Protocol(_)
            | Self::UnknownListing { .. }
            | Self::Desynchronised => ErrorKind::Protocol,
            Self::Argument(error) if error.kind == ParseErrorKind::Unkept => ErrorKind::Unsupported,
            Self::Argument(_) => ErrorKind::Usage,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Io(_)
            | Self::Closed
            | Self::Proxy { .. }
            | Self::Tls(TlsError::Broken(_))
            | Self::Compressed(DeflateFault::Truncated)
            | Self::Blocks(BlockFault::Truncated) => ErrorKind::Network,
            Self::DataConnection(attempts) if attempts.iter().any(DataAttempt::breaks_promise) => {
                ErrorKind::Unsupported
            }
            Self::DataConnection(_) if self.demands_tls() => ErrorKind::Tls,
            Self::DataConnection(_) => ErrorKind::Data,
            Self::Incomplete { .. }
            | Self::ListingCut(_)
            | Self::Compressed(_)
            | Self::Blocks(_)
            | Self::Changed
            | Self::Mismatch { .. } => ErrorKind::Integrity,
            Self::Tls(TlsError::Absent) => ErrorKind::Unsupported,
            Self::Tls(TlsError::File { .. }) => ErrorKind::Local,
            Self::Tls(TlsError::Settings(_)) => ErrorKind::Usage,
            Self::Tls(_) => ErrorKind::Tls,
            Self::Local(_) => ErrorKind::Local,
            Self::Job(fault) => fault.kind(),
            Self::Fxp(attempts) if fxp::are_about_the_way(attempts) => ErrorKind::Data,
            Self::Fxp(attempts) => {
                attempts.last().map_or(ErrorKind::Unsupported, |last| last.error.kind())
            }
            Self::Dial { kind, .. } => *kind,
            Self::Tree(fault) => fault.kind(),
            Self::Fewer(met) => met.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Unsupported(_) | Self::UnreadableTime(_) => ErrorKind::Unsupported,
        }
    }

    /// Returns whether the server refused the connection or the login only because it has too many
    /// clients at the moment, by the text of its reply.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Greeting(reply)
            | Self::Refused { verb: Verb::User | Verb::Pass | Verb::Acct, reply } => is_busy(reply),
            Self::Fewer(met) => met.is_busy(),
            _ => false,
        }
    }

    /// Returns whether the server refuses to continue without TLS: a greeting, a refused login or
    /// a 421 whose text says so, or 521 or 522 to each command for a data connection.
    ///
    /// Servers use many codes for this, so the text of the reply decides, except for 534. Ask only
    /// for connections without TLS, and not for refusals of transfers: their texts contain names of
    /// files.
    #[must_use]
    pub fn demands_tls(&self) -> bool {
        match self {
            Self::Fewer(met) => met.demands_tls(),
            Self::Refused { reply, .. } => {
                reply.code().value() == 534
                    || (reply.code().severity() == Severity::Permanent && speaks_of_tls(reply))
            }
            Self::Greeting(reply) | Self::ServiceClosing(reply) => speaks_of_tls(reply),
            Self::DataConnection(attempts) => {
                let is_demand = |attempt: &DataAttempt| {
                    matches!(&attempt.error, Self::Refused { reply, .. }
                        if matches!(reply.code().value(), 521 | 522) && speaks_of_tls(reply))
                };
                !attempts.is_empty() && attempts.iter().all(is_demand)
            }
            _ => false,
        }
    }
}

/// Returns whether the text of a reply names TLS, its command or its absence: `Non-anonymous
/// sessions must use encryption` (vsftpd), `SSL/TLS required on the control channel` (ProFTPD),
/// `cleartext sessions … are not accepted` (Pure-FTPd), `Use AUTH first` (FileZilla Server).
fn speaks_of_tls(reply: &Reply) -> bool {
    reply.lines().any(|line| {
        let line = String::from_utf8_lossy(line);
        if line.to_ascii_lowercase().contains("clear text") {
            return true;
        }
        let mut words = line.split(|char: char| !char.is_ascii_alphanumeric());
        words.any(|word| {
            // In lower case, it would be a part of "auth failed".
            let lower = word.to_ascii_lowercase();
            word == "AUTH"
                || ["tls", "ssl", "ftps", "cleartext", "plaintext", "secure"].contains(&&*lower)
                || lower.contains("encrypt")
        })
    })
}

fn refused(verb: Verb, code: ReplyCode) -> ErrorKind {
    match verb {
        // After a command with data, a 522 concerns TLS; after others, the network protocol.
        _ if code == ReplyCode::PROTOCOL_NOT_SUPPORTED && verb.uses_data() => ErrorKind::Tls,
        Verb::User | Verb::Pass | Verb::Acct if code.severity() != Severity::Transient => {
            ErrorKind::Login
        }
        _ => answered(code),
    }
}

fn answered(code: ReplyCode) -> ErrorKind {
    match code.severity() {
        _ if code == ReplyCode::NO_DATA_CONNECTION => ErrorKind::Data,
        Severity::Transient => ErrorKind::Temporary,
        _ => ErrorKind::Refused,
    }
}

/// Phrases, in lower case, of servers that have too many clients.
const BUSY: [&[u8]; 11] = [
    // ProFTPD, MaxClients and its relatives: "Sorry, the maximum number of clients (2) from your
    // host are already connected."
    b"already connected",
    // vsftpd: "There are too many connected users, please try later." FileZilla Server: "Too many
    // users are connected, please try again later." IIS: "Too many users."
    b"too many",
    b"try later",
    b"try again later",
    b"try back later",
    // Pure-FTPd: "50 users (the maximum) are already logged in, sorry", "I can't accept more than
    // 2 connections as the same user".
    b"the maximum) are",
    b"accept more than",
    // IIS: "Maximum session limit reached", "Connection limit exceeded"; others: "User limit
    // reached".
    b"limit reached",
    b"limit exceeded",
    b"simultaneous",
    b"overloaded",
];

/// What servers count, in lower case. With "maximum", or with "max" as a word, one of these says
/// that there are too many: "maximum clients reached", "Max connections per user exceeded". Some of
/// these texts come from administrators, who can set their own.
const COUNTED: [&[u8]; 6] = [b"client", b"connection", b"user", b"session", b"login", b"host"];

/// Phrases of refusals that further attempts make worse: too many wrong passwords.
const WRONG: [&[u8]; 6] = [b"fail", b"attempt", b"incorrect", b"invalid", b"wrong", b"banned"];

/// Returns whether a permanent reply to the connection or to a login says that the server has too
/// many clients at the moment.
fn is_busy(reply: &Reply) -> bool {
    let code = reply.code();
    let is_refusal = code.severity() == Severity::Permanent && !is_about_syntax(reply);
    if !is_refusal {
        return false;
    }
    let lines: Vec<_> = reply.lines().map(<[u8]>::to_ascii_lowercase).collect();
    let says = |phrases: &[&[u8]]| lines.iter().any(|line| has(line, phrases));
    let counts = || lines.iter().any(|line| names_maximum(line) && has(line, &COUNTED));
    (says(&BUSY) || counts()) && !says(&WRONG)
}

/// Returns whether a line in lower case has one of the phrases.
fn has(line: &[u8], phrases: &[&[u8]]) -> bool {
    phrases.iter().any(|words| line.windows(words.len()).any(|part| part == *words))
}

/// Returns whether a line in lower case speaks of a maximum.
fn names_maximum(line: &[u8]) -> bool {
    line.split(|byte| !byte.is_ascii_alphanumeric())
        .any(|word| matches!(word, b"maximum" | b"max" | b"maximal"))
}

/// Declares the reasons with their texts, which are also their documentation.
macro_rules! reasons {
    ($($name:ident: $text:literal,)+) => {
        /// Why a request is not possible with this server, over this connection or with these
        /// settings. `Display` explains it.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Unsupported {
            $(#[doc = concat!("`", $text, "`")] $name,)+
        }

        impl fmt::Display for Unsupported {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

reasons! {
    // The server.
    NoModificationTime: "the server does not report the modification time",
    UnknownClock: "the server's clock cannot be measured, and it may report local times, so it is \
        unknown which file is newer",
    UnknownAge: "the server's clock cannot be measured, and it may report local times, so the age of \
        the file is unknown",
    NoExistence: "the server does not report whether the file exists",
    NoSize: "the server does not report the size of the file",
    NoSizeOfCopy: "a server does not report the size of its file",
    NoDigest: "the server offers no suitable digest",
    NoCommonDigest: "the servers offer no digest in common",
    NoIdentity: "nothing identifies the server's file for a move",
    NoType: "the removal of what a listing shows without a type",
    UnknownIac: "a name with the byte 0xFF: it is not known how the server reads that",
    NoPaths: "a move to another directory: the server takes no paths",
    OtherProtocol: "a 229 that names a protocol other than the control connection's",
    LowPort: "a data port below 1024",
    UnknownAddress: "a data connection to a server whose address is unknown",
    UnknownAddressOfCopy: "a copy to or from a server whose address is unknown",
    PasvIpv6: "PASV carries IPv4 addresses only",
    PortIpv6: "PORT carries IPv4 addresses only",
    HalfProtectedCopy: "a copy between a server with protected data connections and one without; \
        use unencrypted data (PROT C) on both",
    ProtectedCopy: "a protected copy if the connecting server lacks SSCN and the listening one lacks \
        CPSV; use unencrypted data (PROT C)",
    CopyAfterEpsvAll: "a copy between two servers after EPSV ALL",
    // The settings.
    EpsvAllActive: "EPSV ALL in active mode",
    EpsvAllWithoutEpsv: "EPSV ALL without EPSV",
    PipelineWithoutEpsv: "pipelining without EPSV",
    CompressedReuse: "compression together with a reused data connection",
    ConnectorAndAddress: "a local address or an address family together with a connector",
    ConnectorAndRule: "a rule for the passive address together with a connector",
    ConnectorAndProxy: "a proxy together with a connector",
    ActiveRelayed: "active mode through a proxy or connector",
    ProxyAndRule: "a rule for the passive address together with a proxy",
    FtpProxyAndTls: "TLS through an FTP proxy, which reads what the client sends",
    FtpProxyAndHost: "HOST through an FTP proxy",
    NameThroughProxy: "a host with an IPv6 zone or a non-ASCII name through a proxy",
    LongNameThroughSocks: "host, user or password over 255 bytes for a SOCKS5 proxy",
    // The call.
    SecondStream: "another download to a stream with bytes of the first",
    TwoLocalSides: "two local directories",
    PoolIsFull: "more connections than the pool has",
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use ftp_proto::Pathname;
    use ftp_proto::text::values::in_full;

    use super::*;
    use crate::error::{JobFault, Phase, ProxyFault, TlsCause, TreeFault};

    fn no_key() -> Error {
        Error::Tls(TlsError::File { path: "x".into(), cause: TlsCause::NoKey })
    }

    #[test]
    fn an_upload_that_could_not_be_compared_has_the_reply_but_not_the_kind_of_its_cause() {
        let full = Reply::new(ReplyCode::OVER_QUOTA, "full");
        for (cause, code) in
            [(Error::refused(Verb::Stor, full), Some(ReplyCode::OVER_QUOTA)), (Error::Closed, None)]
        {
            let error = Error::Job(JobFault::NotCompared(Box::new(cause)));
            assert_eq!(error.reply().map(Reply::code), code);
            // Neither a full disk nor a lost connection takes the next file.
            assert!(error.affects_others(), "{error}");
            // Who repeats it may send the file a second time.
            assert_eq!(error.kind(), ErrorKind::Integrity);
            assert_eq!((error.is_transient(), error.recovery()), (false, Recovery::Impossible));
        }
    }

    #[test]
    fn a_printed_chain_of_causes_says_nothing_twice() {
        let reset = || Arc::new(io::Error::from(io::ErrorKind::ConnectionReset));
        let proxy = |fault| Error::Proxy { proxy: "socks5://p".into(), fault };
        for error in [
            Error::Io(reset()),
            Error::Local(reset()),
            Error::Protocol(Pathname::new("a\nb").unwrap_err()),
            Error::Argument(Pathname::new("a\nb").unwrap_err()),
            Error::Compressed(DeflateFault::Truncated),
            Error::Blocks(BlockFault::Truncated),
            Error::Job(JobFault::NotRemoved(Box::new(Error::Closed))),
            Error::Tree(Box::new(TreeFault::from(Error::Io(reset())))),
            Error::Fewer(Box::new(Error::Io(reset()))),
            Error::dial(reset(), ErrorKind::Local, Recovery::Impossible),
            proxy(ProxyFault::Unreachable(reset())),
            proxy(ProxyFault::Lost(Some(reset()))),
            no_key(),
            Error::Tls(TlsError::Settings(TlsCause::Unreadable(reset()))),
            Error::Tls(TlsError::Failed(TlsCause::Closed)),
            Error::Tls(TlsError::Broken(TlsCause::Closed)),
        ] {
            assert_eq!(in_full(&error), error.to_string());
        }
    }

    #[test]
    fn each_failure_has_its_kind() {
        let reply = |code| Reply::new(ReplyCode::new(code).unwrap(), "because");
        let busy = || Reply::new(ReplyCode::NOT_LOGGED_IN, "Sorry, the maximum number of clients");
        let refused = |verb, code| Error::Refused { verb, reply: reply(code) };
        let unprotected = || {
            let (verb, reply) = (Verb::Prot, reply(431));
            Error::Tls(TlsError::DataProtectionRefused { verb, reply })
        };
        for (error, want) in [
            (refused(Verb::Retr, 550), ErrorKind::Refused),
            (refused(Verb::Retr, 450), ErrorKind::Temporary),
            (refused(Verb::Retr, 425), ErrorKind::Data),
            (refused(Verb::Retr, 522), ErrorKind::Tls),
            (refused(Verb::Eprt, 522), ErrorKind::Refused),
            (refused(Verb::Retr, 530), ErrorKind::Refused),
            (refused(Verb::Pass, 530), ErrorKind::Login),
            (refused(Verb::User, 332), ErrorKind::Login),
            (refused(Verb::Pass, 421), ErrorKind::Temporary),
            (Error::Greeting(reply(554)), ErrorKind::Refused),
            (Error::Greeting(busy()), ErrorKind::Temporary),
            (Error::Refused { verb: Verb::Pass, reply: busy() }, ErrorKind::Temporary),
            (Error::Refused { verb: Verb::Dele, reply: busy() }, ErrorKind::Refused),
            (Error::Unexpected { verb: Verb::Quit, reply: reply(250) }, ErrorKind::Integrity),
            (Error::ServiceClosing(reply(421)), ErrorKind::Temporary),
            (Error::Argument(Pathname::new("a\nb").unwrap_err()), ErrorKind::Usage),
            (Error::Timeout(Phase::Stall), ErrorKind::Timeout),
            (Error::Closed, ErrorKind::Network),
            (Error::DataConnection(Vec::new()), ErrorKind::Data),
            (Error::Incomplete { bytes: 1, announced: Some(2) }, ErrorKind::Integrity),
            (Error::Tls(TlsError::Settings(TlsCause::VersionRange)), ErrorKind::Usage),
            (Error::Tls(TlsError::TruncatedTls), ErrorKind::Tls),
            (no_key(), ErrorKind::Local),
            (unprotected(), ErrorKind::Tls),
            (Error::Tls(TlsError::Failed(TlsCause::Closed)), ErrorKind::Tls),
            (Error::Tls(TlsError::Broken(TlsCause::NotTls(None))), ErrorKind::Network),
            (Error::local(io::Error::other("full")), ErrorKind::Local),
            (Error::Cancelled, ErrorKind::Cancelled),
        ] {
            assert_eq!(error.kind(), want, "{error}");
        }
    }

    #[test]
    fn each_servers_demand_for_tls_is_understood_li_06() {
        let reply = |code, text: &str| Reply::new(ReplyCode::new(code).unwrap(), text);
        let refused = |verb, code, text: &str| Error::Refused { verb, reply: reply(code, text) };
        let of_data = |attempts: Vec<Error>| {
            let attempts = attempts.into_iter().map(|error| DataAttempt::early(Verb::Pasv, error));
            Error::DataConnection(attempts.collect())
        };
        let data = |code, text: &str| refused(Verb::Pasv, code, text);
        for (error, want) in [
            (refused(Verb::User, 530, "Non-anonymous sessions must use encryption."), true),
            (refused(Verb::User, 550, "SSL/TLS required on the control channel"), true),
            (refused(Verb::User, 503, "Use AUTH first."), true),
            (refused(Verb::User, 534, "Policy requires it"), true),
            (refused(Verb::Pass, 530, "Rejected--secure connection required"), true),
            (refused(Verb::User, 530, "Clear text sessions are not accepted."), true),
            (refused(Verb::User, 430, "TLS is busy"), false),
            (
                Error::ServiceClosing(reply(
                    421,
                    "Sorry, cleartext sessions and weak ciphers are not accepted on this server.",
                )),
                true,
            ),
            (Error::Greeting(reply(554, "plaintext is not allowed")), true),
            (Error::ServiceClosing(reply(421, "Too many connections")), false),
            (refused(Verb::Pass, 530, "Login authentication failed"), false),
            (refused(Verb::Pass, 530, "Auth failed"), false),
            (Error::Closed, false),
            (of_data(vec![data(522, "SSL/TLS required on the data channel")]), true),
            (of_data(vec![data(521, "PROT P needs TLS"), data(522, "encrypt it")]), true),
            (of_data(vec![data(522, "Use (1,2)"), data(522, "encrypt it")]), false),
            (of_data(vec![data(500, "TLS?")]), false),
            (of_data(Vec::new()), false),
        ] {
            assert_eq!(error.demands_tls(), want, "{error}");
        }
    }

    #[test]
    fn conversions_from_other_errors_keep_the_cause() {
        let packed = io::Error::from(Error::Timeout(Phase::Stall));
        assert_eq!(Error::from(packed).kind(), ErrorKind::Timeout);
        assert_eq!(Error::from(io::Error::other("full")).kind(), ErrorKind::Local);
        let error = Pathname::new("a\nb").unwrap_err();
        assert!(matches!(Error::from(error), Error::Argument(same) if same == error));
    }

    #[test]
    fn an_uncertain_command_says_what_it_may_have_done() {
        let made = "it exists now, perhaps made by an earlier attempt";
        let renamed = "the server may have renamed it, or still do so: look at both names before you try again";
        let stored = "the server may still carry it out: look at the file before you try again";
        let removed = "it may be a new one, after the old one was removed";
        for (verb, want) in
            [(Verb::Mkd, made), (Verb::Dele, removed), (Verb::Rnto, renamed), (Verb::Stor, stored)]
        {
            let error = Error::Uncertain { verb, reply: None };
            assert_eq!(error.to_string(), format!("{verb} got no reply; {want}"));
        }
    }

    #[test]
    fn a_refusal_has_the_kind_of_a_system_error() {
        for (code, want) in [
            (450, io::ErrorKind::ResourceBusy),
            (452, io::ErrorKind::StorageFull),
            (552, io::ErrorKind::QuotaExceeded),
            (550, io::ErrorKind::PermissionDenied),
            (553, io::ErrorKind::InvalidFilename),
            (500, io::ErrorKind::Other),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), "no");
            let packed = io::Error::from(Error::refused(Verb::Stor, reply));
            assert_eq!(packed.kind(), want, "{code}");
            assert!(matches!(Error::downcast(packed), Ok(Error::Refused { .. })), "{code}");
        }
    }

    #[test]
    fn texts_of_servers_with_too_many_clients_are_known() {
        for (code, text, want) in [
            // vsftpd 3.0.5 sends 421; a wrapper may turn it into 530.
            (530, "There are too many connected users, please try later.", true),
            (530, "There are too many connections from your internet address.", true),
            // ProFTPD 1.3.8: MaxClients, MaxClientsPerHost, MaxClientsPerUser, MaxHostsPerUser,
            // MaxConnectionsPerHost.
            (530, "Sorry, the maximum number of allowed clients (2) are already connected.", true),
            (
                530,
                "Sorry, the maximum number of clients (2) from your host are already connected.",
                true,
            ),
            (
                530,
                "Sorry, the maximum number of clients (2) for this user are already connected.",
                true,
            ),
            (
                530,
                "Sorry, the maximum number of hosts (1) for this user are already connected.",
                true,
            ),
            (
                530,
                "Sorry, the maximum number of connections (3) for your host are already connected.",
                true,
            ),
            // Pure-FTPd 1.0.50.
            (530, "50 users (the maximum) are already logged in, sorry", true),
            (530, "Too many connections (8) from this IP", true),
            (530, "I can't accept more than 2 connections as the same user", true),
            // FileZilla Server 0.9 and 1.x.
            (530, "Too many users are connected, please try again later.", true),
            (530, "Too many users logged in for this account. Try again later.", true),
            (500, "Too many users are connected", false),
            // IIS 10.
            (530, "Connection limit exceeded.", true),
            (534, "Maximum session limit reached.", true),
            // Serv-U.
            (530, "Sorry, maximum number of sessions per IP exceeded.", true),
            (530, "Too many users logged in for this account. Try again later.", true),
            // zFTPServer, appliances, and texts that administrators set.
            (530, "maximum clients reached", true),
            (530, "Maximum connections per user exceeded", true),
            (530, "Max. sessions reached", true),
            (530, "Too many connections", true),
            (530, "Sorry, there are already 5 clients, which is the maximum.", true),
            (530, "The maximum number of hosts for this user is reached.", true),
            (530, "Maximum login attempts exceeded", false),
            (530, "Maximum password age exceeded", false),
            (530, "User maxine cannot log in.", false),
            (530, "User cannot log in.", false),
            (530, "Login incorrect.", false),
            (530, "Login authentication failed", false),
            (530, "Too many failed logins, try again later", false),
            (530, "Too many login attempts.", false),
            (530, "You are banned for too many connections", false),
            (430, "Too many users", false),
            (550, "No such file", false),
        ] {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), text);
            assert_eq!(is_busy(&reply), want, "{code} {text}");
        }
    }
}
