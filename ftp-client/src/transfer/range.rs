//! Which part of a file a transfer is about: `REST` (RFC 3659 §5) and `RANG`
//! (draft-bryan-ftp-range-08).

use ftp_proto::{ParseError, ParseErrorKind, RestartMarker, limits};

use crate::error::Error;

/// What of a file a transfer is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Range {
    /// All from here on; from 0 it is the whole.
    From(RestartMarker),
    /// From the first to the last byte, both counted from 0 and both in it.
    Between(u64, u64),
}

impl Default for Range {
    fn default() -> Self {
        Self::From(RestartMarker::default())
    }
}

impl Range {
    /// All from `offset` on.
    pub(crate) fn from_offset(offset: u64) -> Result<Self, Error> {
        // The parser of what is sent has the error for what cannot be.
        let marker = RestartMarker::parse(offset.to_string().as_bytes());
        marker.map(Self::From).map_err(Error::Argument)
    }

    /// From the highest offset on that there can be, which no transfer wants.
    pub(crate) fn from_highest() -> Self {
        let highest = RestartMarker::new(limits::RESTART_MARKER);
        Self::From(highest.expect("it is within its own limit"))
    }

    /// `length` bytes from `offset` on.
    pub(crate) fn between(offset: u64, length: u64) -> Result<Self, Error> {
        let last = length.checked_sub(1).and_then(|beyond_first| offset.checked_add(beyond_first));
        match last {
            Some(last) if last <= limits::RESTART_MARKER => Ok(Self::Between(offset, last)),
            _ => Err(Error::Argument(ParseError::new("range", 0, ParseErrorKind::BadNumber))),
        }
    }
}
