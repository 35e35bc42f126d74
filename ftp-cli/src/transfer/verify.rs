//! The verification of a result, and the failures of moves.

use ftp_client::{Client, Error, MoveFault};

use crate::exit::{Exit, Failure};

/// Verification of a transfer, beyond the server's confirmation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verified {
    None,
    Size,
    Hash,
}

impl Verified {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Size => "size",
            Self::Hash => "hash",
        }
    }
}

/// Returns the failure of a move.
pub(crate) fn not_moved(error: &Error) -> Failure {
    let failure = Failure::from(error);
    let message = match error {
        Error::Move(MoveFault::Unreported(_)) => format!("--remove-source: {}", failure.message),
        Error::Move(MoveFault::Unsettled) => format!("{}, or use --min-age 5min", failure.message),
        Error::Move(MoveFault::NotRemoved(cause)) => {
            format!("downloaded, but not removed: {}", Failure::from(&**cause).message)
        }
        _ => return failure,
    };
    Failure { message, ..failure }
}

pub(crate) fn wrong_size(bytes: u64, size: u64) -> Failure {
    let message = format!("size mismatch: {bytes} bytes here, {size} on the server");
    Failure::item(Exit::Integrity, message)
}
