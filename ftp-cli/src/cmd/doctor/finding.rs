//! Defines the checks and their findings: one line for users, one event for programs. Lists all
//! diagnoses as data: the meaning of each, the cure, and the side that can apply it.

use std::fmt::{self, Display};

use ftp_client::Error;
use ftp_client::error::{Phase, TlsError};

use crate::exit::{Exit, Failure, Result};
use crate::texts::{DIAGNOSES, terms};

/// Defines the enum and its names together.
macro_rules! checks {
    ($($variant:ident $name:literal)*) => {
        /// A property that doctor examines.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(super) enum Check { $($variant),* }

        impl Check {
            /// Returns the lower-case name for programs.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

checks! {
    Proxy "proxy"
    Resolve "resolve"
    Connect "connect"
    Protocol "protocol"
    Greeting "greeting"
    Features "feat"
    System "syst"
    Tls "tls"
    Certificate "certificate"
    Protection "protection"
    Reuse "reuse"
    CloseNotify "close-notify"
    Login "login"
    Epsv "epsv"
    Pasv "pasv"
    Ports "ports"
    Eprt "eprt"
    Port "port"
    Families "families"
    Packets "packets"
    Parallel "parallel"
    Path "path"
    Mlsd "mlsd"
    List "list"
    Utf8 "utf8"
    Rest "rest"
    Size "size"
    Mfmt "mfmt"
    Hash "hash"
    Put "put"
    Append "append"
    Resume "resume"
    Rename "rename"
    Delete "delete"
    Clock "clock"
}

impl Check {
    /// Returns a finding without a problem.
    pub(super) fn ok(self, seen: impl Display) -> Finding {
        Finding { check: self, grade: Grade::Ok, seen: seen.to_string(), diagnosis: None }
    }

    /// Returns a finding for a check that could not run, with the reason.
    pub(super) fn skip(self, seen: impl Display) -> Finding {
        Finding { check: self, grade: Grade::Skip, seen: seen.to_string(), diagnosis: None }
    }

    /// Returns a finding for a problem that this client copes with.
    pub(super) fn warn(self, diagnosis: Diagnosis, seen: impl Display) -> Finding {
        self.wrong(Grade::Warn, diagnosis, seen)
    }

    /// Returns a finding for a problem that stops this client.
    pub(super) fn fail(self, diagnosis: Diagnosis, seen: impl Display) -> Finding {
        self.wrong(Grade::Fail, diagnosis, seen)
    }

    /// Returns a finding for a problem.
    pub(super) fn wrong(self, grade: Grade, diagnosis: Diagnosis, seen: impl Display) -> Finding {
        Finding { check: self, grade, seen: seen.to_string(), diagnosis: Some(diagnosis) }
    }
}

/// Result of a check.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Grade {
    /// The property could not be examined.
    Skip,
    Ok,
    /// A problem that does not stop this client.
    Warn,
    /// A problem that stops this client with its current options.
    Fail,
}

impl Grade {
    /// Returns one lower-case word for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// Result of one check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) grade: Grade,
    /// Observation in words; text from the server is already escaped.
    pub(super) seen: String,
    /// The problem, if there is one.
    pub(super) diagnosis: Option<Diagnosis>,
}

impl Finding {
    /// Returns whether there is a problem, whether or not it stops this client.
    pub(super) fn is_problem(&self) -> bool {
        self.grade > Grade::Ok
    }
}

/// Returns the diagnosis and the message for an error of a connection or of its login. With `again`,
/// the same has succeeded before.
///
/// # Errors
///
/// Returns the failure itself if it says nothing about the server.
pub(super) fn of_connection(error: &Error, again: bool) -> Result<(Diagnosis, String)> {
    let failure = Failure::login(error);
    let diagnosis = match (error, failure.exit) {
        (Error::Timeout(Phase::Overall), _)
        | (_, Exit::Interrupted | Exit::Local | Exit::Usage) => return Err(failure),
        (Error::Timeout(Phase::Greeting), _) => Diagnosis::GreetingNever,
        (Error::Timeout(Phase::Handshake), _) => Diagnosis::TlsStalls,
        (Error::Timeout(Phase::Reply(_)), _) => Diagnosis::ReplyNever,
        (Error::Tls(TlsError::DataProtectionRefused { .. }), _) => Diagnosis::ProtectionRefused,
        (Error::Tls(_), Exit::Tls) => Diagnosis::TlsHandshake,
        (_, Exit::Protocol) => Diagnosis::ReplyInvalid,
        (Error::Refused { .. } | Error::ServiceClosing(_) | Error::Greeting(_), exit) => match exit
        {
            _ if again => Diagnosis::LoginAgain,
            Exit::Temporary => Diagnosis::LoginFailed,
            _ => Diagnosis::LoginRefused,
        },
        _ => Diagnosis::ConnectionLost,
    };
    Ok((diagnosis, failure.message))
}

/// Returns the finding for a connection that breaks, or cannot be opened again, after an earlier one
/// succeeded.
///
/// # Errors
///
/// Returns the failure itself if it says nothing about the server.
pub(super) fn not_again(check: Check, error: &Error) -> Result<Finding> {
    let (diagnosis, why) = of_connection(error, true)?;
    Ok(check.fail(diagnosis, why))
}

/// Side that can apply the cure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Party {
    /// The user of this client.
    Here,
    /// The operator of a firewall or NAT between client and server.
    Between,
    /// The operator of the server.
    Server,
}

impl Party {
    /// Returns one lower-case word for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Here => "client",
            Self::Between => "network",
            Self::Server => "server",
        }
    }
}

impl Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "here",
            Self::Between => "in the network",
            Self::Server => "at the server",
        })
    }
}

/// Defines the enum and its columns together, so that no problem lacks one. `help/diagnoses.txt` says
/// what each problem means.
macro_rules! diagnoses {
    ($($variant:ident $name:literal $exit:ident $side:ident;)*) => {
        /// A problem that doctor can find.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub(super) enum Diagnosis { $($variant),* }

        impl Diagnosis {
            /// All diagnoses, in the order of the checks that find them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns lower-case words joined by `-`, for programs. Part of the stable interface.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Returns the exit code of `doctor` if this diagnosis is the first failure.
            pub(super) const fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit),* }
            }

            /// Returns the side that can apply the cure.
            pub(super) const fn side(self) -> Party {
                match self { $(Self::$variant => Party::$side),* }
            }
        }
    };
}

impl Diagnosis {
    /// Returns the meaning, in full sentences, and the cure: an imperative without a final full
    /// stop.
    pub(super) fn explanation(self) -> (String, String) {
        let found = terms(DIAGNOSES).find(|(name, _)| *name == self.name());
        let (_, text) = found.expect("a test finds each diagnosis in the list");
        let (means, cure) = text.split_once(" Do: ").expect("and its cure");
        (means.to_owned(), cure.to_owned())
    }
}

diagnoses! {
    NameUnknown "name-unknown" Network Here;
    NameUnanswered "name-unanswered" Timeout Here;
    ResolverFailed "resolver-failed" Network Here;
    NoAddressOfFamily "no-address-of-family" Network Here;
    LocalAddressMissing "local-address-missing" Network Here;
    ProxyUnreachable "proxy-unreachable" Network Here;
    ProxySilent "proxy-silent" Timeout Between;
    NotAProxy "not-a-proxy" Network Here;
    ProxyLogin "proxy-login" Network Here;
    ProxyRefuses "proxy-refuses" Network Between;
    ProxyBlocksData "proxy-blocks-data" Data Between;
    PortClosed "port-closed" Network Server;
    HostSilent "host-silent" Timeout Between;
    HostUnreachable "host-unreachable" Network Between;
    AddressDead "address-dead" Network Server;
    SshOnPort "ssh-on-port" Protocol Here;
    HttpOnPort "http-on-port" Protocol Here;
    TlsOnPlainPort "tls-on-plain-port" Tls Here;
    PlainOnTlsPort "plain-on-tls-port" Tls Here;
    OtherProtocol "other-protocol" Protocol Here;
    GreetingNever "greeting-never" Timeout Server;
    GreetingLate "greeting-late" Timeout Server;
    ClosedUnspoken "closed-unspoken" Network Server;
    GreetingRefused "greeting-refused" Temporary Server;
    GreetingDenied "greeting-denied" Refused Server;
    TlsNotOffered "tls-not-offered" Tls Server;
    TlsHandshake "tls-handshake" Tls Server;
    CertificateExpired "certificate-expired" Tls Server;
    CertificateNotYetValid "certificate-not-yet-valid" Tls Server;
    CertificateSelfSigned "certificate-self-signed" Tls Here;
    CertificateUnknownIssuer "certificate-unknown-issuer" Tls Server;
    CertificateWrongName "certificate-wrong-name" Tls Here;
    CertificateNotPinned "certificate-not-pinned" Tls Server;
    CertificateEndsSoon "certificate-ends-soon" Tls Server;
    CertificateUnusable "certificate-unusable" Tls Server;
    TlsBroken "tls-broken" Tls Server;
    TlsStalls "tls-stalls" Timeout Between;
    ProtectionRefused "protection-refused" Tls Server;
    ReuseDemanded "reuse-demanded" Tls Server;
    DataTls "data-tls" Tls Server;
    NoCloseNotify "no-close-notify" Tls Server;
    ClearPassword "clear-password" Tls Here;
    LoginRefused "login-refused" Login Here;
    LoginNeedsTls "login-needs-tls" Tls Here;
    LoginTlsMissing "login-tls-missing" Tls Server;
    LoginFailed "login-failed" Temporary Server;
    LoginAgain "login-again" Temporary Server;
    ClockSkew "clock-skew" Integrity Server;
    EpsvUnsupported "epsv-unsupported" Data Server;
    EpsvBlocked "epsv-blocked" Data Between;
    PasvBlocked "pasv-blocked" Data Between;
    PasvPrivateAddress "pasv-private-address" Data Server;
    PasvOtherAddress "pasv-other-address" Data Server;
    PassiveBlocked "passive-blocked" Data Server;
    PassiveClosed "passive-closed" Data Server;
    PassiveOff "passive-off" Data Server;
    PassiveFailed "passive-failed" Temporary Server;
    PassivePartly "passive-ports-partly" Data Server;
    FewPorts "few-ports" Data Server;
    ActiveBehindNat "active-behind-nat" Data Here;
    EprtBlocked "eprt-blocked" Data Between;
    PortBlocked "port-blocked" Data Between;
    ActiveBlocked "active-blocked" Data Here;
    MiddleboxRewrites "middlebox-rewrites" Data Between;
    ActiveOff "active-off" Data Here;
    ReplyNever "reply-never" Timeout Server;
    ReplyInvalid "reply-invalid" Protocol Server;
    FinalReplyNever "final-reply-never" Timeout Server;
    BigPacketsLost "big-packets-lost" Network Between;
    FewConnections "few-connections" Temporary Server;
    PathMissing "path-missing" Refused Here;
    PathFailed "path-failed" Temporary Server;
    MlsdBroken "mlsd-broken" Protocol Server;
    ListingUnreadable "listing-unreadable" Protocol Server;
    NoRestart "no-restart" Unsupported Server;
    UploadRefused "upload-refused" Refused Server;
    UploadDirMissing "upload-dir-missing" Refused Here;
    UploadFailed "upload-failed" Temporary Server;
    UploadChanged "upload-changed" Integrity Server;
    AppendRefused "append-refused" Refused Server;
    ResumeRefused "resume-refused" Refused Server;
    RenameRefused "rename-refused" Refused Server;
    DeleteRefused "delete-refused" Refused Server;
    ConnectionLost "connection-lost" Network Server;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_diagnosis_has_a_unique_name_a_meaning_and_a_cure() {
        let mut names: Vec<&str> = Vec::new();
        for diagnosis in Diagnosis::ALL {
            let name = diagnosis.name();
            let (means, cure) = diagnosis.explanation();
            assert!(!names.contains(&name), "{name} twice");
            names.push(name);
            let is_word = |char: char| char.is_ascii_lowercase() || char == '-' || char == '8';
            assert!(name.chars().all(is_word), "{name}");
            assert!(
                means.ends_with('.') && means.starts_with(char::is_uppercase),
                "{name}: {means}"
            );
            assert!(
                !cure.ends_with('.') && !cure.starts_with(char::is_uppercase),
                "{name}: {cure}"
            );
            assert_ne!(diagnosis.exit(), Exit::Success, "{name}");
        }
        assert!(terms(DIAGNOSES).map(|(name, _)| name).eq(names));
    }
}
