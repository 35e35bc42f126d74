//! `DialError`: an error of the caller's own closure that makes connections.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::ErrorKind;
use crate::pool::patience::Recovery;

/// An error of the closure that makes the connections of a [`Pool`](crate::Pool), in a type of the
/// caller: for example, a password that could not be read.
///
/// ```
/// use ftp_client::error::{DialError, Recovery};
/// use ftp_client::{Error, ErrorKind};
///
/// let cause = std::io::Error::other("the keyring is locked");
/// let error = Error::Dial(DialError::new(cause, ErrorKind::Local, Recovery::Impossible));
/// assert_eq!(error.to_string(), "the keyring is locked");
/// ```
#[derive(Clone, Debug)]
pub struct DialError {
    cause: Arc<dyn StdError + Send + Sync>,
    kind: ErrorKind,
    recovery: Recovery,
}

impl DialError {
    /// Returns the error for `cause`. `recovery` says whether another attempt may help.
    pub fn new(
        cause: impl StdError + Send + Sync + 'static,
        kind: ErrorKind,
        recovery: Recovery,
    ) -> Self {
        Self { cause: Arc::new(cause), kind, recovery }
    }

    /// Returns the cause, if it has this type.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.cause.downcast_ref()
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns what another attempt may do.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        self.recovery
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl StdError for DialError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}
