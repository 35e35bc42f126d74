//! Tests whether full-size packets pass. Small packets do; otherwise the login would have failed.
//! If a tunnel carries only smaller packets and its ICMP messages are dropped, large transfers
//! stall (RFC 2923 §2.1). Sends and receives data that needs full-size packets.

use std::io::Read;

use ftp_client::error::Phase;
use ftp_client::{Client, Error, RawCommand};
use ftp_proto::Escaped;

use super::diagnosis::Diagnosis;
use super::dial::{DataMethod, Dial};
use super::finding::{Check, Finding, Grade};
use crate::exit::Failure;

/// Lengths of the test commands in bytes: one fits into a single packet on any network, the other
/// needs more than one packet on Ethernet. Servers reply to lines of up to 2,048 bytes, even if
/// only with a refusal.
const SHORT: usize = 900;
const LONG: usize = 1_900;

/// Largest number of bytes to read from a file, and size of the smallest file worth reading.
const MOST: u64 = 64 << 10;
pub(super) const LEAST: u64 = 4 << 10;

/// Sends a long command, which needs no data connection.
///
/// # Errors
///
/// Returns `Interrupted` after a signal.
pub(super) fn run(dial: &Dial<'_>) -> Result<(), Failure> {
    let finding = dial.client(DataMethod::Epsv).and_then(|mut inside| {
        let finding = long_command(&mut inside.it)?;
        if finding.grade == Grade::Ok {
            inside.quit();
        }
        Ok(finding)
    });
    let finding = match finding {
        Ok(finding) => finding,
        Err(error @ Error::Cancelled) => return Err(error.into()),
        // If the login failed, the next login reports what this error means.
        Err(error) => Check::Packets.skip(error),
    };
    dial.seen.packets.get_or_init(|| finding);
    Ok(())
}

/// Judges the long command.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    Ok(dial.seen.packets.get().cloned().into_iter().collect())
}

/// Sends a long NOOP. Any reply proves that the command arrived. Otherwise, the finding is a
/// failure.
///
/// # Errors
///
/// Returns errors of the control connection, except for a missing reply to the long command.
pub(super) fn long_command(client: &mut Client) -> Result<Finding, Error> {
    let mut say = |length: usize| {
        let command = RawCommand::new(format!("NOOP {}", "x".repeat(length - 5)));
        client.quote(&command.map_err(Error::Argument)?).map(drop)
    };
    say(SHORT)?;
    match say(LONG) {
        Ok(()) => {
            Ok(Check::Packets.ok(format_args!("the server answers a command of {LONG} bytes")))
        }
        Err(Error::Timeout(Phase::Reply(_))) => Ok(Check::Packets.fail(
            Diagnosis::BigPacketsLost,
            format_args!(
                "the server answers a command of {SHORT} bytes, but not one of {LONG} bytes"
            ),
        )),
        Err(error) => Err(error),
    }
}

/// Reads the first bytes of a file. If the transfer stalls, the finding is a failure; if it could
/// not be tried, the check is skipped.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] after a signal.
pub(super) fn down(client: &mut Client, path: &[u8]) -> Result<Finding, Error> {
    let mut bytes = Vec::new();
    let read = client.retrieve(path).and_then(|mut file| {
        let read = (&mut file).take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| Error::recover(error).unwrap_or_else(Error::Io))
    });
    let received = format!("received {} bytes of {}", bytes.len(), Escaped(path));
    match read {
        Ok(_) => Ok(Check::Packets.ok(received)),
        Err(Error::Timeout(Phase::Stall)) => {
            let seen = format_args!("{received}, then nothing");
            Ok(Check::Packets.fail(Diagnosis::BigPacketsLost, seen))
        }
        Err(error @ Error::Cancelled) => Err(error),
        Err(error) => Ok(Check::Packets.skip(format_args!("{}: {error}", Escaped(path)))),
    }
}
