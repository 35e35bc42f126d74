//! Defines the exit codes. Each cause has one code, which never changes: scripts depend on it.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) use ftp_client::error::Recovery;
use ftp_client::error::{CertificateFault, JobFault, Phase, TlsError, Unsupported};
use ftp_client::tree::{Setting, TreeFault};
use ftp_client::{Error, ErrorKind};
use ftp_proto::{Severity, Verb};
#[cfg(feature = "server")]
use ftp_server::daemon::{DaemonError, DaemonErrorKind};

/// Defines the enum and its columns together: the number, the library's kind of failure with this
/// code, if it has one, and the meaning for users. The first code of a kind stands for it: a signal
/// ended the run, and the signal thread knows which signal.
macro_rules! exits {
    ($($(#[$doc:meta])* $variant:ident = $code:literal [$($kind:ident)?] $meaning:literal;)*) => {
        /// Exit code of a run. The numbers are a stable interface.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Exit { $($(#[$doc])* $variant = $code),* }

        const ROWS: &[(Exit, &[ErrorKind], &str)] =
            &[$((Exit::$variant, &[$(ErrorKind::$kind)?], $meaning)),*];
    };
}

exits! {
    Success = 0 [] "success";
    /// Any failure without its own code.
    Internal = 1 [] "internal error: please report it";
    /// Invalid option, URL or setting; a file name that FTP does not allow.
    Usage = 2 [Usage] "usage: invalid option, URL, setting or file name";
    Local = 3 [Local] "local file or disk error";
    Network = 4 [Network] "network error: failed name lookup, failed or lost connection";
    Tls = 5 [Tls] "TLS: required or refused, failed handshake, bad certificate, truncated data";
    Login = 6 [Login] "login refused, or no password";
    /// A reply that is not FTP, or not allowed at this point.
    Protocol = 7 [Protocol] "protocol error: the server's reply is not valid FTP";
    /// 5xx reply to a command other than a login.
    Refused = 8 [Refused] "refused by the server: 5xx reply";
    /// 4xx reply to a command, including 421, but not 425.
    Temporary = 9 [Temporary] "temporary failure: 4xx reply";
    Timeout = 10 [Timeout] "timeout";
    /// Wrong size or digest, a file that changed, or an incomplete listing.
    Integrity = 11 [Integrity]
        "integrity: wrong size or hash, incomplete listing, file changed during transfer";
    Partial = 12 [] "partial: some of several items failed, or a limit left out a named file";
    Data = 13 [Data] "no data connection possible (including reply 425)";
    Unsupported = 14 [Unsupported] "unsupported by the server or by this build";
    /// Nothing was done: an option's limit would be exceeded, the source for `--delete` is empty,
    /// or another run has the lock or is moving the file.
    Limit = 15 [Limit]
        "nothing done: --max-delete exceeded, empty source, or locked by another run";
    Interrupted = 130 [Cancelled] "interrupted (SIGINT)";
    /// SIGHUP. The signal itself ends the process.
    HungUp = 129 [Cancelled] "";
    /// SIGPIPE: standard output no longer has a reader. The signal itself ends the process.
    BrokenPipe = 141 [Cancelled] "";
    Terminated = 143 [Cancelled] "terminated (SIGTERM)";
}

/// Returns the exit codes that `help` explains, with their meanings. A signal ends the process without
/// the other codes.
pub(crate) fn table() -> impl Iterator<Item = (Exit, &'static str)> {
    let explained = ROWS.iter().filter(|(.., meaning)| !meaning.is_empty());
    explained.map(|(exit, _, meaning)| (*exit, *meaning))
}

/// Advice about a directory that may be a link.
const NO_LINKS: &str = "; use --no-links if this server has no links to directories";

/// The hint after a failure because of a missing directory.
pub(crate) const CREATE_DIRECTORIES: &str = "; if a directory is missing, use --create-dirs";

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the word for the code in `--json`, which is as stable as the number. Success is
    /// `ok`, which is not a kind of failure.
    pub(crate) fn kind(self) -> &'static str {
        match (self.of_library(), self) {
            (Some(kind), _) => kind.as_str(),
            (None, Self::Success) => "ok",
            (None, Self::Partial) => "partial",
            (None, _) => "internal",
        }
    }

    /// Returns the first row with this kind of failure.
    pub(crate) fn of_kind(kind: &str) -> Option<Self> {
        ROWS.iter().map(|(exit, ..)| *exit).find(|exit| exit.kind() == kind)
    }

    /// Returns the library's kind of failure with this code, if it has one.
    fn of_library(self) -> Option<ErrorKind> {
        ROWS.iter()
            .find(|(exit, ..)| *exit == self)
            .and_then(|(_, kinds, _)| kinds.first().copied())
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        let found = ROWS.iter().find(|(_, kinds, _)| kinds.contains(&kind));
        found.map_or(Self::Internal, |(exit, ..)| *exit)
    }
}

#[cfg(feature = "server")]
impl From<DaemonErrorKind> for Exit {
    fn from(kind: DaemonErrorKind) -> Self {
        match kind {
            DaemonErrorKind::Configuration => Self::Usage,
            DaemonErrorKind::Local => Self::Local,
            DaemonErrorKind::Network => Self::Network,
            DaemonErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Internal,
        }
    }
}

#[cfg(feature = "server")]
impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        Self::new(error.kind().into(), error.to_string())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Whether transfers of other files over the same control connection would also fail.
    pub(crate) fatal: bool,
    pub(crate) code: Option<u16>,
    pub(crate) phase: Option<Phase>,
    pub(crate) recovery: Recovery,
    /// Whether events of `--json` have already reported the failure, or the failures that it sums
    /// up.
    pub(crate) reported: bool,
    /// Whether the message names its server, or a local object that it is about.
    pub(crate) is_named: bool,
    /// Whether the message says what to do about the cause.
    pub(crate) is_explained: bool,
}

impl Failure {
    /// Returns a failure after which nothing more is done over the same control connection.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            fatal: true,
            code: None,
            phase: None,
            recovery: match exit {
                Exit::Integrity => Recovery::StartOver,
                _ => Recovery::Impossible,
            },
            reported: false,
            is_named: false,
            is_explained: false,
        }
    }

    /// Returns a failure of one file or line, which does not affect the next one.
    pub(crate) fn item(exit: Exit, message: impl Into<String>) -> Self {
        Self { fatal: false, ..Self::new(exit, message) }
    }

    /// Adds what to do about the cause; nothing if `hint` is empty.
    pub(crate) fn hinted(self, hint: &str) -> Self {
        let is_explained = self.is_explained || !hint.is_empty();
        Self { message: format!("{}{hint}", self.message), is_explained, ..self }
    }

    pub(crate) fn never_retried(self) -> Self {
        Self { recovery: Recovery::Impossible, ..self }
    }

    /// Returns the failure of a connection without TLS to a server that demands it. It is permanent,
    /// whatever the code of the reply, and its message names the option.
    pub(crate) fn demanding_tls(self) -> Self {
        let message = self.message + "; the server requires TLS: use ftpes:// or --tls explicit";
        Self { exit: Exit::Tls, message, fatal: true, ..self }.never_retried()
    }

    /// Returns whether nothing more is done over the control connection, because it is unusable or
    /// other files would fail too. False after a signal, which leaves the connection usable.
    pub(crate) fn is_end_of_connection(&self) -> bool {
        self.fatal && self.exit != Exit::Interrupted
    }

    /// Prefixes the message with its object.
    pub(crate) fn context(self, what: impl std::fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Prefixes the message with its object, unless the message already names it.
    pub(crate) fn context_unless_named(self, what: impl std::fmt::Display) -> Self {
        if self.is_named { self } else { self.context(what) }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn local(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::new(Exit::Local, format!("{what}: {error}"))
    }

    /// Returns the failure of standard output. If standard output has no reader, the run ends
    /// without a message, like other programs.
    pub(crate) fn output(error: &io::Error) -> Self {
        let failure = Self::local("standard output", error);
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { exit: Exit::BrokenPipe, ..failure },
            _ => failure,
        }
    }

    /// Adds the last refusal of an earlier attempt to a failure without a reply: some servers report
    /// a full disk and disconnect. Keeps the exit code, which says why the last attempt failed.
    pub(crate) fn after_refusal(self, refusal: Option<String>) -> Self {
        let repeats = self.code.is_none() && !self.is_signal();
        let Some(refusal) = refusal.filter(|_| repeats) else { return self };
        let message = format!("{}; an earlier attempt failed: {refusal}", self.message);
        Self { message, ..self }
    }

    /// Returns the failure of a run whose last failure this is. `message` has the counts; items of
    /// which some were `done` failed partially, unless a signal ended the run, or the run is refused as
    /// a whole: that SRC lies in DST can show late.
    pub(crate) fn of_run(self, done: usize, message: String) -> Self {
        let is_refused = self.fatal && self.exit == Exit::Usage;
        let is_partial = done > 0 && !self.is_signal() && !is_refused;
        Self { exit: if is_partial { Exit::Partial } else { self.exit }, message, ..self }
    }

    /// Returns whether a signal ends the run, so that no other failure matters.
    pub(crate) fn is_signal(&self) -> bool {
        matches!(self.exit, Exit::HungUp | Exit::Interrupted | Exit::BrokenPipe | Exit::Terminated)
    }

    /// Returns whether the server refused the login for good. Other users of this server may still
    /// be able to log in.
    pub(crate) fn is_refused_login(&self) -> bool {
        self.exit == Exit::Login && self.fatal && self.code.is_some()
    }

    /// Returns the failure of a login. A 530, 331 or 332 counts as a refused login after any
    /// command, and a 534 as missing TLS. A permanent refusal is fatal: each further attempt would
    /// fail too, and many servers ban a client after a few.
    pub(crate) fn login(error: &Error) -> Self {
        let mut failure = Self::from(error);
        let Error::Refused { reply, .. } = error else { return failure };
        if error.is_busy() {
            return failure;
        }
        failure.fatal |= reply.code().severity() != Severity::Transient;
        match reply.code().value() {
            534 => failure = failure.demanding_tls(),
            530 | 331 | 332 => failure.exit = Exit::Login,
            _ => {}
        }
        failure
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// Carries a failure through the library, from a closure of a pool to its caller.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = failure.exit.of_library().unwrap_or(ErrorKind::Unsupported);
        let recovery = failure.recovery;
        Self::dial(Arc::new(failure), kind, recovery)
    }
}

/// Lets a closure of a pool fail with the command line's own failure.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        if let Error::Dial { cause, .. } = error
            && let Some(failure) = cause.downcast_ref::<Self>()
        {
            return failure.clone();
        }
        if let Error::Tree(fault) = error {
            return Self::from(&**fault);
        }
        if let Error::Fewer(met) = error {
            return Self::from(&**met);
        }
        let exit = Exit::from(error.kind());
        let code = error.reply().map(|reply| reply.code().value());
        let phase = match error {
            Error::Timeout(phase) => Some(*phase),
            Error::Fxp(attempts) => match attempts.last().map(|last| &last.error) {
                Some(Error::Timeout(phase)) => Some(*phase),
                _ => None,
            },
            _ => None,
        };
        let fatal = error.affects_others();
        let recovery = error.recovery();
        Self { fatal, code, phase, recovery, ..Self::new(exit, message_of(error)) }
    }
}

/// Converts the failure of a step of a tree, whose settings are options here.
impl From<&TreeFault> for Failure {
    fn from(fault: &TreeFault) -> Self {
        let reply = fault.cause().and_then(Error::reply);
        let code = reply.map(|reply| reply.code().value());
        let mut failure = Self { code, ..Self::new(Exit::from(fault.kind()), "") };
        let told = fault.told(|cause| {
            let exit = failure.exit;
            failure = match cause {
                Error::Local(error) => Self::new(Exit::Local, error.to_string()),
                error => Self::from(error),
            };
            if cause.kind() != fault.kind() {
                failure.exit = exit;
            }
            std::mem::take(&mut failure.message)
        });
        let (before, hint) = match fault.setting() {
            Some(Setting::Backup) => ("--backup-dir: ", ""),
            Some(Setting::Changed) => ("", "; use --force to take the state of SRC"),
            Some(Setting::Compare) => ("--compare hash: ", ""),
            Some(Setting::Deletions) => ("", "; see --ignore-errors"),
            Some(Setting::Deployed) => {
                ("", "; add --manifest, or exclude this file to delete all that SRC lacks")
            }
            Some(Setting::Links) if fault.kind() != ErrorKind::Usage => {
                ("", "; use --exclude to leave it out, or mirror to what the link leads to")
            }
            Some(Setting::Manifest) if fault.kind() == ErrorKind::Usage => {
                ("--manifest: ", "; choose another name with --manifest=NAME")
            }
            Some(Setting::Manifest) => ("--manifest: ", ""),
            Some(Setting::Moves) => ("--remove-source: ", ""),
            Some(Setting::NoLinks) => ("", NO_LINKS),
            Some(Setting::Parents) if failure.exit != Exit::Temporary => ("", CREATE_DIRECTORIES),
            Some(Setting::Permissions) => ("--perms: ", ""),
            Some(Setting::Replaced) => ("", "; use --delete to replace it"),
            Some(Setting::Source) => ("", "; use ftp-cli get, or fxp without -r"),
            Some(Setting::Temporary) => ("--temp: ", ""),
            _ => ("", ""),
        };
        let message = format!("{before}{told}{hint}");
        let (fatal, recovery) = (fault.ends_run(), fault.recovery());
        let is_named = failure.is_named || failure.exit == Exit::Local;
        Self { message, fatal, recovery, is_named, ..failure }
    }
}

/// Returns the error with a hint for the user.
fn message_of(error: &Error) -> String {
    let mut message = error.to_string();
    if let Error::Fxp(_) = error {
        // It has the replies of both servers, and hints.
        return message;
    }
    if let Error::Tls(TlsError::Certificate { fault: CertificateFault::WrongName, names, .. }) =
        error
        && let Some(name) = names.first()
    {
        // Whoever intercepts the connection has a certificate of another name, too.
        let like = if name.starts_with('*') { "a name like " } else { "" };
        let hint =
            format!("; if {like}{name} is the operator's name for this server, use it in the URL");
        message.push_str(&hint);
        message.push_str(&advice(error).replacen("; ask", "; otherwise, ask", 1));
        return message;
    }
    message.push_str(advice(error));
    if Exit::from(error.kind()) == Exit::Data {
        message.push_str("; the control connection works: ");
        message.push_str(match error {
            Error::DataConnection(attempts)
                if attempts.iter().any(|attempt| matches!(attempt.error, Error::Proxy { .. })) =>
            {
                "the proxy must also allow connections to the server's passive ports"
            }
            // Another host could be tried.
            Error::DataConnection(attempts)
                if attempts.iter().any(|attempt| attempt.announced().is_some()) =>
            {
                "see --passive-address"
            }
            Error::DataConnection(attempts)
                if attempts.iter().any(|it| matches!(it.error, Error::Unsupported(_))) =>
            {
                "set the server's passive ports to 1024 or above"
            }
            _ => "try --active, --passive or --epsv never",
        });
        message.push_str(", or use ftp-cli doctor to find the cause");
    }
    message
}

/// Returns a hint with an option that helps, or an empty text.
fn advice(error: &Error) -> &'static str {
    match error {
        Error::Tls(TlsError::Certificate { fault: CertificateFault::NotOfControl, .. }) => "",
        Error::Tls(TlsError::Certificate { fault: CertificateFault::NotPinned, .. }) => {
            "; the server has a new key, or the connection is intercepted: ask the server's operator \
             to confirm the new pin, then use it with --pin"
        }
        Error::Tls(TlsError::Certificate { pin: Some(_), .. }) => {
            "; ask the server's operator to confirm this pin, then use it with --pin"
        }
        Error::Tls(TlsError::DataProtectionRefused { .. }) => {
            "; use --tls-data clear to continue without data encryption"
        }
        // The server refuses the new name for good.
        Error::Job(JobFault::NotRenamed { cause, .. })
            if matches!(&**cause, Error::Refused { verb: Verb::Rnto, reply, .. }
                if reply.code().severity() == Severity::Permanent) =>
        {
            "; if the server never replaces a file by a rename, remove the old file first, or omit --temp"
        }
        Error::DataConnection(_) if error.demands_tls() => {
            "; use ftpes:// without --tls-data clear: the server requires encrypted data connections"
        }
        Error::Job(JobFault::IsDirectory) => "; use ftp-cli rm -r",
        Error::Job(JobFault::NotEmpty) => "; to remove it with its content, use ftp-cli rm -r",
        Error::Job(JobFault::MayBeLink) => {
            "; use --no-links if this server has no links to directories, or add / to the name"
        }
        Error::Job(JobFault::ShownAsDirectory) => NO_LINKS,
        Error::Job(JobFault::TooMany) => "; run rm again to remove the rest",
        Error::Unsupported(Unsupported::UnknownIac) => {
            "; mirror and put -r find that out with a test directory, and mirror --delete removes such names"
        }
        // Neither a free name nor a random one needs such a proof.
        Error::Job(JobFault::NotReplaced) => {
            "; look at the server's file, and use --temp without a PATTERN; if that was used, remove the old \
             file first, or omit --temp"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_client::error::TlsCause;
    use ftp_proto::{ParseError, Pathname, Reply, ReplyCode};

    fn reply(code: u16) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), "because")
    }

    fn busy() -> Reply {
        let text = "Sorry, the maximum number of clients (1) from your host are already connected.";
        Reply::new(ReplyCode::NOT_LOGGED_IN, text)
    }

    fn parse_error() -> ParseError {
        Pathname::new("a\nb").unwrap_err()
    }

    #[test]
    fn the_exit_code_table_is_complete_and_sorted() {
        let codes: Vec<u8> = table().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 130, 143]);
    }

    #[test]
    fn the_advice_about_a_file_that_is_not_replaced_also_helps_with_temp() {
        let advice = advice(&Error::Job(JobFault::NotReplaced));
        for what in ["use --temp without a PATTERN", "remove the old file first", "omit --temp"] {
            assert!(advice.contains(what), "{advice}");
        }
    }

    #[test]
    fn each_error_has_one_exit_code_li_06() {
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        for (error, want) in [
            (Error::refused(Verb::Retr, reply(550)), Exit::Refused),
            (Error::refused(Verb::Retr, reply(500)), Exit::Refused),
            (Error::refused(Verb::Retr, reply(450)), Exit::Temporary),
            (Error::refused(Verb::Retr, reply(426)), Exit::Temporary),
            (Error::refused(Verb::Retr, reply(425)), Exit::Data),
            (Error::refused(Verb::Retr, reply(530)), Exit::Refused),
            (Error::refused(Verb::Retr, reply(522)), Exit::Tls),
            (Error::refused(Verb::Eprt, reply(522)), Exit::Refused),
            (Error::ServiceClosing(reply(421)), Exit::Temporary),
            (Error::Greeting(reply(554)), Exit::Refused),
            (Error::Greeting(busy()), Exit::Temporary),
            (Error::refused(Verb::Pass, busy()), Exit::Temporary),
            (Error::unexpected(Verb::Quit, reply(250)), Exit::Integrity),
            (Error::Greeting(reply(420)), Exit::Temporary),
            (Error::unexpected(Verb::Retr, reply(227)), Exit::Protocol),
            (Error::Protocol(parse_error()), Exit::Protocol),
            (Error::Desynchronised, Exit::Protocol),
            (Error::Argument(parse_error()), Exit::Usage),
            (Error::Timeout(Phase::Stall), Exit::Timeout),
            (Error::Timeout(Phase::Overall), Exit::Timeout),
            (Error::io(broken()), Exit::Network),
            (Error::Closed, Exit::Network),
            (Error::DataConnection(Vec::new()), Exit::Data),
            (Error::Job(JobFault::LocalChanged), Exit::Integrity),
            (Error::Changed, Exit::Integrity),
            (Error::Tls(TlsError::Absent), Exit::Unsupported),
            (Error::Tls(TlsError::Settings(TlsCause::NoRoots)), Exit::Usage),
            (Error::Tls(TlsError::Refused(reply(500))), Exit::Tls),
            (Error::Tls(TlsError::TruncatedTls), Exit::Tls),
            (Error::Tls(TlsError::InjectedPlaintext), Exit::Tls),
            (Error::Tls(TlsError::Failed(TlsCause::Closed)), Exit::Tls),
            (Error::Tls(TlsError::Broken(TlsCause::NotTls(None))), Exit::Network),
            (Error::local(broken()), Exit::Local),
            (Error::Unsupported(Unsupported::NoSize), Exit::Unsupported),
        ] {
            assert_eq!(Failure::from(&error).exit, want, "{error}");
        }
    }

    #[test]
    fn a_refused_login_exits_as_a_login_failure() {
        for (error, want) in [
            (Error::refused(Verb::Pass, reply(530)), Exit::Login),
            (Error::refused(Verb::User, reply(530)), Exit::Login),
            (Error::refused(Verb::Pass, reply(332)), Exit::Login),
            (Error::refused(Verb::User, reply(331)), Exit::Login),
            (Error::refused(Verb::User, reply(534)), Exit::Tls),
            (Error::refused(Verb::User, reply(500)), Exit::Login),
            (Error::refused(Verb::User, reply(450)), Exit::Temporary),
            (Error::refused(Verb::Pass, busy()), Exit::Temporary),
            (Error::ServiceClosing(reply(421)), Exit::Temporary),
            (Error::Closed, Exit::Network),
        ] {
            let failure = Failure::login(&error);
            assert_eq!(failure.exit, want, "{error}");
            assert_eq!(failure.is_refused_login(), want == Exit::Login, "{error}");
        }
        // After the login, such a reply concerns one file.
        assert!(!Failure::from(&Error::refused(Verb::Retr, reply(530))).is_refused_login());
        let tls = Failure::login(&Error::refused(Verb::User, reply(534)));
        assert!(tls.message.contains("ftpes://"), "{}", tls.message);
    }

    #[test]
    fn only_transient_errors_are_retried() {
        for (error, want) in [
            (Error::refused(Verb::Retr, reply(450)), true),
            (Error::refused(Verb::Retr, reply(426)), true),
            (Error::refused(Verb::Retr, reply(425)), true),
            (Error::refused(Verb::Stor, reply(452)), false),
            (Error::refused(Verb::Stor, reply(552)), false),
            (Error::refused(Verb::Retr, reply(550)), false),
            (Error::ServiceClosing(reply(421)), true),
            (Error::Greeting(reply(420)), true),
            (Error::Greeting(reply(554)), false),
            (Error::Greeting(busy()), true),
            (Error::refused(Verb::Pass, busy()), true),
            (Error::unexpected(Verb::Retr, reply(227)), false),
            (Error::Timeout(Phase::Stall), true),
            (Error::Timeout(Phase::Overall), false),
            (Error::Closed, true),
            (Error::Tls(TlsError::Broken(TlsCause::NotTls(None))), true),
            (Error::Tls(TlsError::Failed(TlsCause::Closed)), false),
            (Error::Tls(TlsError::TruncatedTls), false),
            (Error::io(io::ErrorKind::ConnectionRefused.into()), true),
            (Error::Job(JobFault::LocalChanged), false),
            (Error::Cancelled, false),
            (Error::local(io::ErrorKind::StorageFull.into()), false),
        ] {
            let failure = Failure::from(&error);
            assert_eq!(failure.recovery == Recovery::TryAgain, want, "{error}");
            assert_eq!(failure.code, error.reply().map(|reply| reply.code().value()));
            assert_eq!(failure.phase.is_some(), failure.exit == Exit::Timeout);
        }
        let failure = Failure::login(&Error::refused(Verb::Pass, reply(530)));
        assert_eq!(failure.recovery, Recovery::Impossible);
    }

    #[test]
    fn kinds_are_frozen() {
        let kinds: Vec<&str> = table().map(|(exit, _)| exit.kind()).collect();
        let want = "ok internal usage local network tls login protocol refused temporary timeout \
                    integrity partial data unsupported limit cancelled cancelled";
        assert_eq!(kinds.join(" "), want);
    }

    #[test]
    fn error_messages_include_the_reply() {
        let failure = Failure::from(&Error::refused(Verb::Stor, reply(553)));
        assert!(failure.message.contains("553 because"), "{}", failure.message);
        assert!(!failure.fatal);
        assert!(Failure::from(&Error::refused(Verb::Stor, reply(452))).fatal);
    }

    #[test]
    fn a_local_failure_ends_the_run_only_if_the_next_file_would_fail_too() {
        use std::io::ErrorKind::*;
        for (kind, is_fatal) in [
            (PermissionDenied, false),
            (NotFound, false),
            (Other, false),
            (StorageFull, true),
            (QuotaExceeded, true),
            (ReadOnlyFilesystem, true),
            (BrokenPipe, true),
        ] {
            assert_eq!(Failure::from(&Error::local(kind.into())).fatal, is_fatal, "{kind}");
        }
    }
}
