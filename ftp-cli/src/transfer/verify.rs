//! The verification of a result, and the failures of moves.

use ftp_client::{Client, Error, MoveFault};

use super::options::Verify;
use crate::display::shown;
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

/// Compares the size of the file at `path` with `bytes`, as `verify` requests.
///
/// # Errors
///
/// Returns `Integrity` if the size differs. If `verify` is `Size`, also returns `Unsupported` if
/// the server does not report the size, and the client's errors.
pub(crate) fn check_size(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    verify: Verify,
) -> Result<Verified, Failure> {
    if verify == Verify::None {
        return Ok(Verified::None);
    }
    let size = match (verify, client.size(path)) {
        (_, Ok(Some(size))) => Some(size),
        // Another reply has come, so the confirmation counts no more.
        (_, Err(error)) if error.is_out_of_step() => return Err(error.into()),
        // The server confirmed the transfer; a failure of SIZE does not change that.
        (Verify::BestEffort | Verify::Hash | Verify::None, _) => None,
        (Verify::Size, Ok(None)) => client.stat(path)?.and_then(|entry| entry.size),
        (Verify::Size, Err(error)) => return Err(error.into()),
    };
    match size {
        Some(size) if size != bytes => Err(wrong_size(bytes, size)),
        Some(_) => Ok(Verified::Size),
        None if verify == Verify::Size => {
            let path = shown(path);
            let message = format!("--verify size: the server does not report the size of {path}");
            Err(Failure::item(Exit::Unsupported, message))
        }
        None => Ok(Verified::None),
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
