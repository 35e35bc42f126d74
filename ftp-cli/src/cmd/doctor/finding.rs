//! What is looked at, and what a look gave: one line for people, one event for programs.

use std::fmt::Arguments;

use ftp_client::{Error, Phase};

use super::diagnosis::Diagnosis;
use super::dial::refused_again;
use crate::exit::Failure;

/// What is looked at.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Check {
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
    /// One lower-case word, for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
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

/// How it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Grade {
    /// Nothing is known of it: it could not be looked at.
    Skip,
    Ok,
    /// Something is wrong that does not stop this client here.
    Warn,
    /// What was asked for cannot be had.
    Fail,
}

impl Grade {
    /// One lower-case word, for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a look at one thing gave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) grade: Grade,
    /// What was seen, in a sentence. Words of a server in it are escaped already.
    pub(super) seen: String,
    /// What is wrong, if anything is.
    pub(super) diagnosis: Option<Diagnosis>,
}

impl Finding {
    /// Nothing is wrong with it.
    pub(super) fn ok(check: Check, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Ok, seen: seen.to_string(), diagnosis: None }
    }

    /// It could not be looked at, and why.
    pub(super) fn skip(check: Check, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Skip, seen: seen.to_string(), diagnosis: None }
    }

    /// Something is wrong, in a way that this client copes with.
    pub(super) fn warn(check: Check, diagnosis: Diagnosis, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Warn, seen: seen.to_string(), diagnosis: Some(diagnosis) }
    }

    /// What was asked for cannot be had.
    pub(super) fn fail(check: Check, diagnosis: Diagnosis, seen: Arguments<'_>) -> Self {
        Self { check, grade: Grade::Fail, seen: seen.to_string(), diagnosis: Some(diagnosis) }
    }
}

/// The connection broke, or was never made, where it worked before.
pub(super) fn lost(check: Check, error: &Error) -> Result<Finding, Failure> {
    match error {
        Error::Cancelled | Error::Timeout(Phase::Overall) => Err(error.into()),
        error => Ok(Finding::fail(check, Diagnosis::ConnectionLost, format_args!("{error}"))),
    }
}

/// A login failed that worked before.
///
/// # Errors
///
/// The failure itself, where it tells nothing of the server.
pub(super) fn not_again(check: Check, error: &Error) -> Result<Finding, Failure> {
    let (diagnosis, why) = refused_again(error)?;
    Ok(Finding::fail(check, diagnosis, format_args!("{why}")))
}
