//! The part of a file that a transfer covers: `REST` (RFC 3659 §5) and `RANG`
//! (draft-bryan-ftp-range-08).

use ftp_proto::{ParseError, ParseErrorKind, RestartMarker, limits};

use crate::error::Error;

/// The part of a file that a transfer covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Range {
    /// Everything from here on; from 0 it is the whole file.
    From(RestartMarker),
    /// From the first to the last byte, both counted from 0 and both included.
    Between(u64, u64),
}

impl Default for Range {
    fn default() -> Self {
        Self::From(RestartMarker::default())
    }
}

impl Range {
    /// Returns everything from `offset` on.
    pub(crate) fn from_offset(offset: u64) -> Result<Self, Error> {
        // The parser returns the error for impossible values.
        let marker = RestartMarker::parse(offset.to_string().as_bytes());
        marker.map(Self::From).map_err(Error::Argument)
    }

    /// Returns the highest possible offset, which no transfer uses.
    pub(crate) fn from_highest() -> Self {
        let highest = RestartMarker::new(limits::RESTART_MARKER);
        Self::From(highest.expect("it is within its own limit"))
    }

    /// Returns `length` bytes from `offset` on.
    pub(crate) fn between(offset: u64, length: u64) -> Result<Self, Error> {
        let last = length.checked_sub(1).and_then(|beyond_first| offset.checked_add(beyond_first));
        match last {
            Some(last) if last <= limits::RESTART_MARKER => Ok(Self::Between(offset, last)),
            _ => Err(Error::Argument(ParseError::new("range", 0, ParseErrorKind::BadNumber))),
        }
    }
}
