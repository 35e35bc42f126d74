//! Whether packets of full size pass: small things do, or there would be no login. Where a tunnel
//! takes smaller packets and the message that says so is dropped, large things stall (RFC 2923
//! §2.1). Something large is asked for each way.

use std::io::Read;

use ftp_client::{Client, Error, Phase, RawCommand};
use ftp_proto::Escaped;

use super::diagnosis::Diagnosis;
use super::dial::Dial;
use super::finding::{Check, Finding};
use super::way::Way;
use crate::exit::Failure;

/// Lengths of a command in bytes: one that fits into one packet of any network, and one that takes
/// more than one of Ethernet's. Servers take, or refuse, lines of up to 2,048.
const SHORT: usize = 900;
const LONG: usize = 1_900;

/// What is read of a file, and the smallest file that is worth it, in bytes.
const MOST: u64 = 64 << 10;
pub(super) const LEAST: u64 = 4 << 10;

/// How something large fared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Passage {
    /// It passed, in these words.
    Passed(String),
    /// It stalled where something small passes, in these words.
    Stalled(String),
    /// It could not be tried, for this reason.
    Unknown(String),
}

/// Sends a long command, which needs no data connection.
///
/// # Errors
///
/// `Interrupted`.
pub(super) fn up(dial: &Dial<'_>) -> Result<Passage, Failure> {
    let mut inside = match dial.client(Way::Epsv) {
        Ok(inside) => inside,
        Err(error @ Error::Cancelled) => return Err(error.into()),
        // Whoever comes to be let in says what that means.
        Err(error) => return Ok(Passage::Unknown(error.to_string())),
    };
    let passage = long_command(&mut inside.it);
    if let Ok(Passage::Passed(_)) = passage {
        inside.quit();
    }
    match passage {
        Err(error @ Error::Cancelled) => Err(error.into()),
        Err(error) => Ok(Passage::Unknown(error.to_string())),
        Ok(passage) => Ok(passage),
    }
}

/// Says nothing at length. Whatever is answered, it arrived.
///
/// # Errors
///
/// Those of the control connection, but that the long command is not answered.
pub(super) fn long_command(client: &mut Client) -> Result<Passage, Error> {
    let mut say = |length: usize| {
        let command = RawCommand::new(format!("NOOP {}", "x".repeat(length - 5)));
        client.quote(&command.map_err(Error::Argument)?).map(drop)
    };
    say(SHORT)?;
    match say(LONG) {
        Ok(()) => Ok(Passage::Passed(format!("a command of {LONG} bytes is answered"))),
        Err(Error::Timeout(Phase::Reply)) => Ok(Passage::Stalled(format!(
            "a command of {SHORT} bytes is answered, and one of {LONG} bytes is not"
        ))),
        Err(error) => Err(error),
    }
}

/// Reads the beginning of a file.
///
/// # Errors
///
/// `Cancelled`.
pub(super) fn down(client: &mut Client, path: &[u8]) -> Result<Passage, Error> {
    let mut bytes = Vec::new();
    let read = client.retrieve(path).and_then(|mut file| {
        let read = (&mut file).take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| Error::recover(error).unwrap_or_else(Error::Io))
    });
    let count = bytes.len();
    let path = Escaped(path);
    match read {
        Ok(_) => Ok(Passage::Passed(format!("{count} bytes of {path} came"))),
        Err(Error::Timeout(Phase::Stall)) => {
            Ok(Passage::Stalled(format!("of {path} {count} bytes came, and then nothing more")))
        }
        Err(error @ Error::Cancelled) => Err(error),
        Err(error) => Ok(Passage::Unknown(format!("{path}: {error}"))),
    }
}

/// Judges one direction.
pub(super) fn judge(passage: &Passage) -> Finding {
    match passage {
        Passage::Passed(seen) => Finding::ok(Check::Packets, format_args!("{seen}")),
        Passage::Stalled(seen) => {
            let diagnosis = Diagnosis::BigPacketsLost;
            Finding::fail(Check::Packets, diagnosis, format_args!("{seen}"))
        }
        Passage::Unknown(why) => Finding::skip(Check::Packets, format_args!("{why}")),
    }
}
