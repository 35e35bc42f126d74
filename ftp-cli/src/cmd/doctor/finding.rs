//! Defines the checks and their findings: one line for users, one event for programs.

use std::fmt::Arguments;

use ftp_client::{Error, Phase};

use super::diagnosis::Diagnosis;
use super::dial::refused_again;
use crate::exit::Failure;

/// A property that doctor examines.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Check {
    Proxy,
    Resolve,
    Connect,
    Protocol,
    Greeting,
    Features,
    System,
    Tls,
    Certificate,
    Protection,
    Reuse,
    CloseNotify,
    Login,
    Epsv,
    Pasv,
    Ports,
    Eprt,
    Port,
    Families,
    Packets,
    Parallel,
    Path,
    Mlsd,
    List,
    Utf8,
    Rest,
    Size,
    Mfmt,
    Hash,
    Put,
    Append,
    Resume,
    Rename,
    Delete,
    Clock,
}

impl Check {
    /// Returns the lower-case name for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Protocol => "protocol",
            Self::Greeting => "greeting",
            Self::Features => "feat",
            Self::System => "syst",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Protection => "protection",
            Self::Reuse => "reuse",
            Self::CloseNotify => "close-notify",
            Self::Login => "login",
            Self::Epsv => "epsv",
            Self::Pasv => "pasv",
            Self::Ports => "ports",
            Self::Eprt => "eprt",
            Self::Port => "port",
            Self::Families => "families",
            Self::Packets => "packets",
            Self::Parallel => "parallel",
            Self::Path => "path",
            Self::Mlsd => "mlsd",
            Self::List => "list",
            Self::Utf8 => "utf8",
            Self::Rest => "rest",
            Self::Size => "size",
            Self::Mfmt => "mfmt",
            Self::Hash => "hash",
            Self::Put => "put",
            Self::Append => "append",
            Self::Resume => "resume",
            Self::Rename => "rename",
            Self::Delete => "delete",
            Self::Clock => "clock",
        }
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
    /// Returns a finding without a problem.
    pub(super) fn ok(check: Check, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Ok, seen: seen.to_string(), diagnosis: None }
    }

    /// Returns a finding for a check that could not run, with the reason.
    pub(super) fn skip(check: Check, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Skip, seen: seen.to_string(), diagnosis: None }
    }

    /// Returns a finding for a problem that this client copes with.
    pub(super) fn warn(check: Check, diagnosis: Diagnosis, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Warn, seen: seen.to_string(), diagnosis: Some(diagnosis) }
    }

    /// Returns a finding for a problem that stops this client.
    pub(super) fn fail(check: Check, diagnosis: Diagnosis, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Fail, seen: seen.to_string(), diagnosis: Some(diagnosis) }
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
        error => Ok(Finding::fail(check, Diagnosis::ConnectionLost, format_args!("{error}"))),
    }
}

/// Returns the finding for a login that fails after an earlier one succeeded.
///
/// # Errors
///
/// Returns the failure itself if it says nothing about the server.
pub(super) fn not_again(check: Check, error: &Error) -> Result<Finding, Failure> {
    let (diagnosis, why) = refused_again(error)?;
    Ok(Finding::fail(check, diagnosis, format_args!("{why}")))
}
