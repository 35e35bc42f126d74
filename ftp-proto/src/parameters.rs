//! Transfer parameters: representation type, file structure and transmission mode
//! (RFC 959 §3.1 and §3.4; RFC 1123 §4.1.2).

use std::fmt;

use crate::error::{ParseError, ParseErrorKind};

/// How a file's bytes are represented on the data connection, `TYPE` (RFC 959 §3.1.1).
///
/// Only these two exist in practice. `TYPE L 8` is read as [`Image`](Self::Image), since both
/// mean eight-bit bytes sent as they are (RFC 1123 §4.1.2.1); `A T` is read as
/// [`Ascii`](Self::Ascii), since vertical format control changes nothing on a byte stream.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RepresentationType {
    /// Text with CR LF line ends on the wire, `TYPE A`. The type a session starts with.
    #[default]
    Ascii,
    /// Bytes as they are, `TYPE I`.
    Image,
}

impl RepresentationType {
    /// Reads a type-code with its second parameter: `A`, `A N`, `A T`, `I`, `I N`, `L 8` or
    /// `L8`, in any case.
    ///
    /// # Errors
    ///
    /// `UnexpectedEnd` for nothing, `Unsupported` for EBCDIC, carriage control and byte sizes
    /// other than 8, `UnknownWord` for the rest.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| Err(ParseError::new("type-code", 0, kind));
        match input.to_ascii_uppercase().as_slice() {
            [] => error(ParseErrorKind::UnexpectedEnd),
            b"A" | b"A N" | b"A T" => Ok(Self::Ascii),
            b"I" | b"I N" | b"L 8" | b"L8" => Ok(Self::Image),
            b"A C" | b"E" | [b'E', b' ', _] => error(ParseErrorKind::Unsupported),
            [b'L', b' ', digits @ ..] | [b'L', digits @ ..]
                if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) =>
            {
                error(ParseErrorKind::Unsupported)
            }
            _ => error(ParseErrorKind::UnknownWord),
        }
    }

    /// The type-code as it is sent: `A` or `I`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ascii => "A",
            Self::Image => "I",
        }
    }
}

impl fmt::Display for RepresentationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ascii => "ASCII",
            Self::Image => "image",
        })
    }
}

/// The structure of a file, `STRU` (RFC 959 §3.1.2). Record and page structure have no meaning
/// on files that are streams of bytes and are refused as not supported.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Structure {
    /// A sequence of bytes, `STRU F`.
    #[default]
    File,
}

impl Structure {
    /// Reads a structure-code, in either case.
    ///
    /// # Errors
    ///
    /// `UnexpectedEnd` for nothing, `Unsupported` for `R` and `P`, `UnknownWord` for the rest.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| Err(ParseError::new("structure-code", 0, kind));
        match input {
            [] => error(ParseErrorKind::UnexpectedEnd),
            b"F" | b"f" => Ok(Self::File),
            b"R" | b"r" | b"P" | b"p" => error(ParseErrorKind::Unsupported),
            _ => error(ParseErrorKind::UnknownWord),
        }
    }

    /// The structure-code as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "F",
        }
    }
}

/// The transmission mode, `MODE` (RFC 959 §3.4). Block, compressed and deflate mode are refused
/// as not supported.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum TransferMode {
    /// Bytes until the data connection closes, `MODE S`.
    #[default]
    Stream,
}

impl TransferMode {
    /// Reads a mode-code, in either case.
    ///
    /// # Errors
    ///
    /// `UnexpectedEnd` for nothing, `Unsupported` for `B`, `C` and `Z`, `UnknownWord` for the
    /// rest.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| Err(ParseError::new("mode-code", 0, kind));
        match input {
            [] => error(ParseErrorKind::UnexpectedEnd),
            b"S" | b"s" => Ok(Self::Stream),
            b"B" | b"b" | b"C" | b"c" | b"Z" | b"z" => error(ParseErrorKind::Unsupported),
            _ => error(ParseErrorKind::UnknownWord),
        }
    }

    /// The mode-code as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "S",
        }
    }
}

/// The parameters in force in a session. `Default` gives those of RFC 959 §5.1: ASCII non-print,
/// file structure, stream mode.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TransferParameters {
    /// What `TYPE` set.
    pub representation: RepresentationType,
    /// What `STRU` set.
    pub structure: Structure,
    /// What `MODE` set.
    pub mode: TransferMode,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{UnexpectedEnd, UnknownWord, Unsupported};

    #[test]
    fn type_reads_cm_30_cm_31() {
        use RepresentationType::{Ascii, Image};
        for (text, want) in [
            ("A", Ok(Ascii)),
            ("a n", Ok(Ascii)),
            ("A T", Ok(Ascii)),
            ("i", Ok(Image)),
            ("I N", Ok(Image)),
            ("L 8", Ok(Image)),
            ("l8", Ok(Image)),
            ("A C", Err(Unsupported)),
            ("E", Err(Unsupported)),
            ("E N", Err(Unsupported)),
            ("e x", Err(Unsupported)),
            ("L 7", Err(Unsupported)),
            ("L36", Err(Unsupported)),
            ("L 99999999999999999999999", Err(Unsupported)),
            ("", Err(UnexpectedEnd)),
            ("AN", Err(UnknownWord)),
            ("X", Err(UnknownWord)),
            ("A X", Err(UnknownWord)),
            ("L", Err(UnknownWord)),
            ("L ", Err(UnknownWord)),
            ("L -8", Err(UnknownWord)),
        ] {
            let got = RepresentationType::parse(text.as_bytes()).map_err(|error| error.kind);
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn structure_and_mode_read_cm_33_cm_34() {
        for (text, structure, mode) in [
            ("F", Ok(Structure::File), Err(UnknownWord)),
            ("s", Err(UnknownWord), Ok(TransferMode::Stream)),
            ("P", Err(Unsupported), Err(UnknownWord)),
            ("r", Err(Unsupported), Err(UnknownWord)),
            ("Z", Err(UnknownWord), Err(Unsupported)),
            ("b", Err(UnknownWord), Err(Unsupported)),
            ("C", Err(UnknownWord), Err(Unsupported)),
            ("", Err(UnexpectedEnd), Err(UnexpectedEnd)),
            ("FF", Err(UnknownWord), Err(UnknownWord)),
        ] {
            let text = text.as_bytes();
            assert_eq!(Structure::parse(text).map_err(|error| error.kind), structure);
            assert_eq!(TransferMode::parse(text).map_err(|error| error.kind), mode);
        }
    }

    #[test]
    fn what_is_sent_reads_back() {
        for representation in [RepresentationType::Ascii, RepresentationType::Image] {
            let sent = representation.as_str().as_bytes();
            assert_eq!(RepresentationType::parse(sent), Ok(representation));
        }
        assert_eq!(Structure::parse(Structure::File.as_str().as_bytes()), Ok(Structure::File));
        let mode = TransferMode::Stream;
        assert_eq!(TransferMode::parse(mode.as_str().as_bytes()), Ok(mode));
    }

    #[test]
    fn types_have_names() {
        assert_eq!(RepresentationType::Ascii.to_string(), "ASCII");
        assert_eq!(RepresentationType::Image.to_string(), "image");
    }
}
