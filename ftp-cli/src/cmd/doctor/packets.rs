//! Tests whether full-size packets pass. Small packets do; otherwise the login would have failed.
//! If a tunnel carries only smaller packets and its ICMP messages are dropped, large transfers
//! stall (RFC 2923 §2.1). Sends and receives data that needs full-size packets.

use std::io::Read;

use ftp_client::{Client, Error, Phase, RawCommand};
use ftp_proto::Escaped;

use super::diagnosis::Diagnosis;
use super::dial::{DataMethod, Dial};
use super::finding::{Check, Finding};
use crate::exit::Failure;

/// Lengths of the test commands in bytes: one fits into a single packet on any network, the other
/// needs more than one packet on Ethernet. Servers reply to lines of up to 2,048 bytes, even if
/// only with a refusal.
const SHORT: usize = 900;
const LONG: usize = 1_900;

/// Largest number of bytes to read from a file, and size of the smallest file worth reading.
const MOST: u64 = 64 << 10;
pub(super) const LEAST: u64 = 4 << 10;

/// Outcome of a large transfer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum LargeTransfer {
    /// The transfer passed; holds the observation.
    Passed(String),
    /// The transfer stalled although small transfers pass; holds the observation.
    Stalled(String),
    /// The transfer could not be tried, for this reason.
    Unknown(String),
}

/// Sends a long command, which needs no data connection.
///
/// # Errors
///
/// Returns `Interrupted` after a signal.
pub(super) fn run(dial: &Dial<'_>) -> Result<(), Failure> {
    let passage = dial.client(DataMethod::Epsv).and_then(|mut inside| {
        let passage = long_command(&mut inside.it);
        if let Ok(LargeTransfer::Passed(_)) = passage {
            inside.quit();
        }
        passage
    });
    let passage = match passage {
        Ok(passage) => passage,
        Err(error @ Error::Cancelled) => return Err(error.into()),
        // If the login failed, the next login reports what this error means.
        Err(error) => LargeTransfer::Unknown(error.to_string()),
    };
    dial.seen.packets.get_or_init(|| passage);
    Ok(())
}

/// Judges the long command.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    Ok(dial.seen.packets.get().map(passed).into_iter().collect())
}

/// Sends a long NOOP. Any reply proves that the command arrived.
///
/// # Errors
///
/// Returns errors of the control connection, except for a missing reply to the long command.
pub(super) fn long_command(client: &mut Client) -> Result<LargeTransfer, Error> {
    let mut say = |length: usize| {
        let command = RawCommand::new(format!("NOOP {}", "x".repeat(length - 5)));
        client.quote(&command.map_err(Error::Argument)?).map(drop)
    };
    say(SHORT)?;
    match say(LONG) {
        Ok(()) => {
            Ok(LargeTransfer::Passed(format!("the server answers a command of {LONG} bytes")))
        }
        Err(Error::Timeout(Phase::Reply(_))) => Ok(LargeTransfer::Stalled(format!(
            "the server answers a command of {SHORT} bytes, but not one of {LONG} bytes"
        ))),
        Err(error) => Err(error),
    }
}

/// Reads the first bytes of a file.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] after a signal.
pub(super) fn down(client: &mut Client, path: &[u8]) -> Result<LargeTransfer, Error> {
    let mut bytes = Vec::new();
    let read = client.retrieve(path).and_then(|mut file| {
        let read = (&mut file).take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| Error::recover(error).unwrap_or_else(Error::Io))
    });
    let count = bytes.len();
    let path = Escaped(path);
    match read {
        Ok(_) => Ok(LargeTransfer::Passed(format!("received {count} bytes of {path}"))),
        Err(Error::Timeout(Phase::Stall)) => {
            Ok(LargeTransfer::Stalled(format!("received {count} bytes of {path}, then nothing")))
        }
        Err(error @ Error::Cancelled) => Err(error),
        Err(error) => Ok(LargeTransfer::Unknown(format!("{path}: {error}"))),
    }
}

/// Returns the finding about one direction.
pub(super) fn passed(passage: &LargeTransfer) -> Finding {
    match passage {
        LargeTransfer::Passed(seen) => Check::Packets.ok(seen),
        LargeTransfer::Stalled(seen) => {
            let diagnosis = Diagnosis::BigPacketsLost;
            Check::Packets.fail(diagnosis, seen)
        }
        LargeTransfer::Unknown(why) => Check::Packets.skip(why),
    }
}
