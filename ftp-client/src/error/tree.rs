//! `TreeFault`: why an object of a directory tree was not copied or removed.

use std::borrow::Cow;
use std::fmt;
use std::io;

use ftp_proto::Escaped;

use super::{Error, ErrorKind};
use crate::pool::patience::{Attempted, Recovery};

/// Why an object of a directory tree was not copied or removed. `Display` explains it.
#[derive(Debug)]
pub struct TreeFault {
    /// The object as the message names it; empty if the message names none.
    about: Vec<u8>,
    cause: Cause,
    /// What follows the reason in the message, each part after `; `.
    note: String,
    ends: bool,
    is_final: bool,
}

#[derive(Debug)]
enum Cause {
    Error(Box<Error>),
    /// A rule of the tree.
    Rule(ErrorKind, Cow<'static, str>),
}

impl TreeFault {
    /// Returns a fault that ends the run: no other object can be copied.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        let (about, note) = (Vec::new(), String::new());
        Self { about, cause: Cause::Rule(kind, text.into()), note, ends: true, is_final: false }
    }

    /// Returns a fault of one object, which does not affect the next one.
    pub(crate) fn item(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { ends: false, ..Self::new(kind, text) }
    }

    /// Returns the fault of a local object. With a full or read-only disk, the next one would fail
    /// too.
    pub(crate) fn local(about: impl Into<Vec<u8>>, error: io::Error) -> Self {
        let ends = matches!(
            error.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
        );
        Self { ends, ..Self::from(Error::Local(error)).of(about) }
    }

    /// Names the object in the message, unless it has a name already.
    pub(crate) fn of(mut self, about: impl Into<Vec<u8>>) -> Self {
        if self.about.is_empty() {
            self.about = about.into();
        }
        self
    }

    /// Adds a text to the message.
    pub(crate) fn and(mut self, note: &str) -> Self {
        self.note.push_str("; ");
        self.note.push_str(note);
        self
    }

    /// Sets whether the fault ends the run.
    pub(crate) const fn ending(mut self, ends: bool) -> Self {
        self.ends = ends;
        self
    }

    /// Marks the fault as not to be tried again.
    pub(crate) const fn never_retried(mut self) -> Self {
        self.is_final = true;
        self
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.cause {
            Cause::Error(error) => error.kind(),
            Cause::Rule(kind, _) => *kind,
        }
    }

    /// Returns what another attempt can do about the failure.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match &self.cause {
            _ if self.is_final => Recovery::Impossible,
            Cause::Error(error) => error.recovery(),
            Cause::Rule(ErrorKind::Integrity, _) => Recovery::StartOver,
            Cause::Rule(..) => Recovery::Impossible,
        }
    }

    /// Returns the object as the message names it; empty if the message names none.
    #[must_use]
    pub fn about(&self) -> &[u8] {
        &self.about
    }

    /// Returns the error that caused the failure, if a command or a local file failed.
    #[must_use]
    pub const fn cause(&self) -> Option<&Error> {
        match &self.cause {
            Cause::Error(error) => Some(error),
            Cause::Rule(..) => None,
        }
    }

    /// Returns the reason, without the object and the note.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.cause {
            Cause::Error(error) => match &**error {
                // The object is named already.
                Error::Local(error) => error.to_string(),
                error => error.to_string(),
            },
            Cause::Rule(_, text) => text.clone().into_owned(),
        }
    }

    /// Returns what follows the reason in the message; empty, or it begins with `; `.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Returns whether the failure ends the run, because the connection is unusable or other objects
    /// would fail too.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.ends
    }

    pub(super) fn is_transient(&self) -> bool {
        self.cause().is_some_and(Error::is_transient)
    }
}

impl Clone for TreeFault {
    fn clone(&self) -> Self {
        let cause = match &self.cause {
            Cause::Error(error) => Cause::Error(Box::new(error.again())),
            Cause::Rule(kind, text) => Cause::Rule(*kind, text.clone()),
        };
        let (about, note) = (self.about.clone(), self.note.clone());
        Self { about, cause, note, ends: self.ends, is_final: self.is_final }
    }
}

impl From<Error> for TreeFault {
    fn from(error: Error) -> Self {
        if let Error::Tree(fault) = error {
            return *fault;
        }
        let (about, note) = (Vec::new(), String::new());
        let ends = error.affects_others();
        Self { about, cause: Cause::Error(Box::new(error)), note, ends, is_final: false }
    }
}

impl From<TreeFault> for Error {
    fn from(fault: TreeFault) -> Self {
        Self::Tree(Box::new(fault))
    }
}

impl Attempted for TreeFault {
    fn recovery(&self) -> Recovery {
        Self::recovery(self)
    }

    fn again(&self) -> Self {
        self.clone()
    }
}

impl fmt::Display for TreeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.about.is_empty() {
            write!(f, "{}: ", Escaped(&self.about))?;
        }
        write!(f, "{}{}", self.reason(), self.note)
    }
}

impl std::error::Error for TreeFault {}
