//! Defines the checks and their findings: one line for users, one event for programs.

use std::fmt::Display;

use ftp_client::Error;
use ftp_client::error::Phase;

use super::diagnosis::Diagnosis;
use super::dial::refused_again;
use crate::exit::Failure;

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

/// Returns the finding for a connection that broke, or could not be opened again.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and `Timeout` if the time for the whole examination is
/// over.
pub(super) fn lost(check: Check, error: &Error) -> Result<Finding, Failure> {
    match error {
        Error::Cancelled | Error::Timeout(Phase::Overall) => Err(error.into()),
        error => Ok(check.fail(Diagnosis::ConnectionLost, error)),
    }
}

/// Returns the finding for a login that fails after an earlier one succeeded.
///
/// # Errors
///
/// Returns the failure itself if it says nothing about the server.
pub(super) fn not_again(check: Check, error: &Error) -> Result<Finding, Failure> {
    let (diagnosis, why) = refused_again(error)?;
    Ok(check.fail(diagnosis, why))
}
