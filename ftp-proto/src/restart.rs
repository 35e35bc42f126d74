//! Restart markers of stream mode: an offset in bytes (RFC 3659 §5).

use std::fmt;

use crate::error::{ParseError, ParseErrorKind};
use crate::{limits, number};

/// The start of the next transfer: a byte offset in the file, 0 to 2^63 - 1.
///
/// The offset is counted in the representation type of that transfer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RestartMarker(u64);

impl RestartMarker {
    /// The highest marker.
    pub(crate) const HIGHEST: Self = Self(limits::RESTART_MARKER);

    /// Returns a marker at `offset` bytes; `None` beyond 2^63 - 1.
    #[must_use]
    pub const fn new(offset: u64) -> Option<Self> {
        if offset <= limits::RESTART_MARKER { Some(Self(offset)) } else { None }
    }

    /// Parses the argument of `REST`: 1 to 19 digits.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input. Returns `BadNumber` for a byte that is not a digit,
    /// more than 19 digits or a value over 2^63 - 1.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| ParseError::new("restart marker", 0, kind);
        if input.is_empty() {
            return Err(error(ParseErrorKind::UnexpectedEnd));
        }
        let short = Some(input).filter(|digits| digits.len() <= 19);
        let offset = short.and_then(number::decimal).and_then(Self::new);
        offset.ok_or(error(ParseErrorKind::BadNumber))
    }

    /// Returns the offset in bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RestartMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{BadNumber, UnexpectedEnd};

    #[test]
    fn restart_markers_are_parsed_cm_52_as_05() {
        for (text, want) in [
            ("0", Ok(0)),
            ("0000000000000000001", Ok(1)),
            ("4294967296", Ok(1 << 32)),
            ("9223372036854775807", Ok(u64::MAX / 2)),
            ("9223372036854775808", Err(BadNumber)),
            ("00000000000000000001", Err(BadNumber)),
            ("", Err(UnexpectedEnd)),
            ("-1", Err(BadNumber)),
            ("+1", Err(BadNumber)),
            ("1 ", Err(BadNumber)),
            ("0x10", Err(BadNumber)),
        ] {
            let got = RestartMarker::parse(text.as_bytes());
            assert_eq!(got.map(RestartMarker::offset).map_err(|error| error.kind), want, "{text}");
        }
        assert_eq!(RestartMarker::new(1 << 63), None);
    }
}
