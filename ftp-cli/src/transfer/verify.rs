//! Compares the sizes and digests of the local and the remote file to verify a transfer.

use ftp_client::{Checksum, Client};

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

pub(crate) fn wrong_size(bytes: u64, size: u64) -> Failure {
    let message = format!("size mismatch: {bytes} bytes here, {size} on the server");
    Failure::item(Exit::Integrity, message)
}
