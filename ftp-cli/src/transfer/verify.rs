//! Compares the sizes and digests of the local and the remote file to verify a transfer.

use ftp_client::{Checksum, Client};

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

/// Returns a new checksum for `--verify hash`, with the first algorithm that the server lists and
/// this program supports.
///
/// # Errors
///
/// Returns `Unsupported` if there is no such algorithm, and the errors of the client.
pub(crate) fn checksum(client: &mut Client) -> Result<Checksum, Failure> {
    Checksum::for_server(client)?.ok_or_else(|| {
        let message = "--verify hash: the server offers no digest that this program supports";
        Failure::item(Exit::Unsupported, message)
    })
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

pub(crate) fn wrong_size(bytes: u64, size: u64) -> Failure {
    let message = format!("size mismatch: {bytes} bytes here, {size} on the server");
    Failure::item(Exit::Integrity, message)
}
