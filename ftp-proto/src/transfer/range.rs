//! The part of a file that a transfer covers: `REST` (RFC 3659 §5) and `RANG`
//! (draft-bryan-ftp-range-08).

use super::rules::ServerState;
use super::verdict::TransferFault;
use crate::command::Command;
use crate::error::{ParseError, ParseErrorKind};
use crate::limits;
use crate::reply::{Reply, Severity};
use crate::restart::RestartMarker;
use crate::verb::Verb;

/// The part of a file that a transfer covers (default: all of it).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FileRange {
    /// Everything from this offset to the end of the file; offset 0 is the whole file.
    From(RestartMarker),
    /// The bytes from `first` to `last`, both included and counted from 0.
    Between {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
}

impl Default for FileRange {
    fn default() -> Self {
        Self::From(RestartMarker::default())
    }
}

impl FileRange {
    /// Returns the part from `offset` to the end of the file.
    ///
    /// # Errors
    ///
    /// Returns `BadNumber` if `offset` exceeds 2^63 - 1.
    pub fn from_offset(offset: u64) -> Result<Self, ParseError> {
        let error = ParseError::new("restart marker", 0, ParseErrorKind::BadNumber);
        RestartMarker::new(offset).map(Self::From).ok_or(error)
    }

    /// Returns the part of `length` bytes that begins at `offset`.
    ///
    /// # Errors
    ///
    /// Returns `BadNumber` if `length` is 0 or the last byte is beyond offset 2^63 - 1.
    pub fn between(offset: u64, length: u64) -> Result<Self, ParseError> {
        let last = length.checked_sub(1).and_then(|beyond_first| offset.checked_add(beyond_first));
        match last {
            Some(last) if last <= limits::RESTART_MARKER => {
                Ok(Self::Between { first: offset, last })
            }
            _ => Err(ParseError::new("range", 0, ParseErrorKind::BadNumber)),
        }
    }
}

/// The dialogue that selects a part of a file with `REST` or `RANG`. It first resets a part that
/// was set with the other command.
///
/// ```
/// use ftp_proto::{FileRange, RangeSetup, Reply, ReplyCode, ServerState};
///
/// let mut server = ServerState::default();
/// let mut setup = RangeSetup::new(FileRange::from_offset(512)?);
/// let command = setup.command(&server).expect("the range was not sent yet");
/// assert_eq!(command.encode()?, b"REST 512\r\n");
/// setup.reply(&Reply::new(ReplyCode::PENDING, "ok"), &mut server)?;
/// assert_eq!(setup.command(&server), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RangeSetup {
    wanted: FileRange,
    is_sent: bool,
}

impl RangeSetup {
    /// Returns the dialogue that selects `wanted`.
    pub const fn new(wanted: FileRange) -> Self {
        Self { wanted, is_sent: false }
    }

    /// Returns the next command; `None` once the part is in force.
    ///
    /// A server may forget the part after any command (RFC 3659 §5.3). The dialogue therefore
    /// selects the part again even if it is in force, unless the part is the whole file.
    #[must_use]
    pub fn command(&self, server: &ServerState) -> Option<Command> {
        self.next(server).map(|range| match (range, server.range) {
            (FileRange::Between { first, last }, _) => rang(first, last),
            // A range that ends before it begins resets RANG.
            (_, FileRange::Between { .. }) => rang(1, 0),
            (FileRange::From(marker), _) => Command::Rest(marker),
        })
    }

    /// Reads the final reply to the last command.
    ///
    /// # Errors
    ///
    /// Returns `Refused` for any reply but 3xx.
    pub fn reply(&mut self, reply: &Reply, server: &mut ServerState) -> Result<(), TransferFault> {
        if reply.code().severity() != Severity::Intermediate {
            return Err(TransferFault::Refused);
        }
        if let Some(range) = self.next(server) {
            server.range = range;
            self.is_sent = range == self.wanted;
        }
        Ok(())
    }

    /// Returns the part that the next command selects.
    fn next(&self, server: &ServerState) -> Option<FileRange> {
        let whole = FileRange::default();
        match (server.range, self.wanted) {
            _ if self.is_sent => None,
            (now, wanted) if now == whole && wanted == whole => None,
            // `RANG` does not reset `REST`, and `REST` does not reset `RANG`.
            (FileRange::Between { .. }, FileRange::From(_)) => Some(whole),
            (FileRange::From(_), FileRange::Between { .. }) if server.range != whole => Some(whole),
            (_, wanted) => Some(wanted),
        }
    }
}

fn rang(first: u64, last: u64) -> Command {
    Command::Known(Verb::Rang, format!("{first} {last}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ReplyCode;

    fn reply(code: u16) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), "text")
    }

    #[test]
    fn ranges_are_set_and_reset_with_rest_and_rang() {
        let whole = FileRange::default();
        let from = |offset| FileRange::from_offset(offset).unwrap();
        let part = FileRange::between(10, 5).unwrap();
        for (now, wanted, want) in [
            (whole, whole, &[][..]),
            (whole, from(5), &["REST 5"][..]),
            (from(5), from(5), &["REST 5"]),
            (from(5), from(7), &["REST 7"]),
            (from(5), whole, &["REST 0"]),
            (whole, part, &["RANG 10 14"]),
            (part, part, &["RANG 10 14"]),
            (from(5), part, &["REST 0", "RANG 10 14"]),
            (part, whole, &["RANG 1 0"]),
            (part, from(5), &["RANG 1 0", "REST 5"]),
        ] {
            let mut server = ServerState { range: now, ..ServerState::default() };
            let mut setup = RangeSetup::new(wanted);
            let mut sent = Vec::new();
            while let Some(command) = setup.command(&server) {
                let line = String::from_utf8(command.encode().unwrap()).unwrap();
                sent.push(line.trim_end().to_owned());
                setup.reply(&reply(350), &mut server).unwrap();
            }
            assert_eq!(sent, want, "{now:?} {wanted:?}");
            assert_eq!(server.range, wanted);
        }
    }

    #[test]
    fn a_refusal_leaves_the_range_unchanged() {
        for code in [200, 421, 450, 500, 501, 502, 554] {
            let mut server = ServerState::default();
            let mut setup = RangeSetup::new(FileRange::from_offset(5).unwrap());
            assert_eq!(setup.reply(&reply(code), &mut server), Err(TransferFault::Refused));
            assert_eq!(server, ServerState::default(), "{code}");
        }
    }

    #[test]
    fn empty_and_too_large_ranges_are_rejected() {
        let last = limits::RESTART_MARKER;
        assert!(FileRange::from_offset(last).is_ok() && FileRange::from_offset(last + 1).is_err());
        assert_eq!(FileRange::between(last, 1), Ok(FileRange::Between { first: last, last }));
        for (offset, length) in [(0, 0), (last, 2), (u64::MAX, 2), (0, u64::MAX)] {
            assert!(FileRange::between(offset, length).is_err(), "{offset} {length}");
        }
    }
}
