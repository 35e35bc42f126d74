//! Arguments of commands that have a type of their own:
//!
//! - transfer parameters: representation type, file structure and transmission mode (RFC 959 §3.1
//!   and §3.4; RFC 1123 §4.1.2)
//! - the restart marker of stream mode (RFC 3659 §5)
//! - the mechanisms and levels of the security extensions (RFC 2228 §3, RFC 4217)
//! - language tags (RFC 2640 §4.2)

use std::fmt;

use crate::{ParseError, ParseErrorKind, bytes, limits};

/// The format of text, the form-code of `TYPE A` and `TYPE E` (RFC 959 §3.1.1.5).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum FormCode {
    /// `N`: non-print, the default.
    #[default]
    NonPrint,
    /// `T`: Telnet format effectors; files are transferred as with `N`.
    Telnet,
    /// `C`: carriage control (ASA).
    CarriageControl,
}

impl FormCode {
    const fn of_letter(letter: u8) -> Option<Self> {
        match letter {
            b'N' => Some(Self::NonPrint),
            b'T' => Some(Self::Telnet),
            b'C' => Some(Self::CarriageControl),
            _ => None,
        }
    }

    /// Returns the text after `A` or `E`; empty for the default.
    const fn suffix(self) -> &'static str {
        match self {
            Self::NonPrint => "",
            Self::Telnet => " T",
            Self::CarriageControl => " C",
        }
    }
}

/// The argument of `TYPE`, a type-code with its second parameter (RFC 959 §3.1.1 and §5.3.2).
///
/// ```
/// use ftp_proto::{RepresentationType, TypeCode};
///
/// let code = TypeCode::parse(b"L 8")?;
/// assert_eq!(code, TypeCode::Local(8));
/// assert_eq!(code.representation(), Some(RepresentationType::Image));
/// assert_eq!(TypeCode::parse(b"E")?.representation(), None);
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TypeCode {
    /// `A`: text in ASCII.
    Ascii(FormCode),
    /// `E`: text in EBCDIC.
    Ebcdic(FormCode),
    /// `I`: image, unchanged bytes.
    Image,
    /// `L` with the size of a logical byte in bits, 1 to 255.
    Local(u8),
}

impl TypeCode {
    /// Parses a type-code, ignoring case. Also accepts `I N`, and an `L` without SP before its
    /// number, since clients send them.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` for empty input.
    /// - `Unsupported` for a byte size outside 1 to 255, or an EBCDIC format that RFC 959 does not
    ///   define.
    /// - `UnknownWord` for anything else.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| ParseError::new("type-code", 0, kind);
        let unknown = error(ParseErrorKind::UnknownWord);
        let unsupported = error(ParseErrorKind::Unsupported);
        match input.to_ascii_uppercase().as_slice() {
            [] => Err(error(ParseErrorKind::UnexpectedEnd)),
            b"A" => Ok(Self::Ascii(FormCode::NonPrint)),
            b"E" => Ok(Self::Ebcdic(FormCode::NonPrint)),
            b"I" | b"I N" => Ok(Self::Image),
            [b'A', b' ', form] => FormCode::of_letter(*form).map(Self::Ascii).ok_or(unknown),
            [b'E', b' ', form] => FormCode::of_letter(*form).map(Self::Ebcdic).ok_or(unsupported),
            [b'L', b' ', digits @ ..] | [b'L', digits @ ..]
                if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) =>
            {
                let bits = bytes::octet(digits).filter(|bits| *bits != 0);
                bits.map(Self::Local).ok_or(unsupported)
            }
            _ => Err(unknown),
        }
    }

    /// Returns how this project transfers files of this type; `None` if it does not. `A` and `A T`
    /// mean text; `I` and `L 8` mean unchanged bytes.
    ///
    /// `I` and `L 8` mean the same on systems with 8-bit bytes (RFC 1123 §4.1.2.1).
    #[must_use]
    pub const fn representation(self) -> Option<RepresentationType> {
        match self {
            Self::Ascii(FormCode::NonPrint | FormCode::Telnet) => Some(RepresentationType::Ascii),
            Self::Image | Self::Local(8) => Some(RepresentationType::Image),
            Self::Ascii(FormCode::CarriageControl) | Self::Ebcdic(_) | Self::Local(_) => None,
        }
    }
}

impl From<RepresentationType> for TypeCode {
    fn from(representation: RepresentationType) -> Self {
        match representation {
            RepresentationType::Ascii => Self::Ascii(FormCode::NonPrint),
            RepresentationType::Image => Self::Image,
        }
    }
}

impl fmt::Display for TypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ascii(form) => write!(f, "A{}", form.suffix()),
            Self::Ebcdic(form) => write!(f, "E{}", form.suffix()),
            Self::Image => f.write_str("I"),
            Self::Local(bits) => write!(f, "L {bits}"),
        }
    }
}

/// The two representation types used in practice. [`TypeCode`] has every type of RFC 959.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RepresentationType {
    /// Text with CR LF on the wire, `TYPE A`. The type at the start of a session.
    #[default]
    Ascii,
    /// Unchanged bytes, `TYPE I`.
    Image,
}

impl RepresentationType {
    /// Returns the type-code as sent: `A` or `I`.
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

/// The structure of a file, `STRU` (RFC 959 §3.1.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Structure {
    /// A sequence of bytes, `STRU F`.
    #[default]
    File,
    /// A sequence of records, `STRU R`.
    Record,
    /// Indexed pages, `STRU P`.
    Page,
}

impl Structure {
    /// Parses a structure-code in either case.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, and `UnknownWord` for an unknown code.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| Err(ParseError::new("structure-code", 0, kind));
        match input {
            [] => error(ParseErrorKind::UnexpectedEnd),
            b"F" | b"f" => Ok(Self::File),
            b"R" | b"r" => Ok(Self::Record),
            b"P" | b"p" => Ok(Self::Page),
            _ => error(ParseErrorKind::UnknownWord),
        }
    }

    /// Returns the structure-code as sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "F",
            Self::Record => "R",
            Self::Page => "P",
        }
    }
}

/// The transmission mode, `MODE` (RFC 959 §3.4).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TransferMode {
    /// Bytes until the data connection closes, `MODE S`.
    #[default]
    Stream,
    /// Blocks with headers, `MODE B`.
    Block,
    /// Bytes with runs of equal bytes shortened, `MODE C`.
    Compressed,
    /// A stream compressed by zlib, `MODE Z` (draft-preston-ftpext-deflate).
    Deflate,
}

impl TransferMode {
    /// Parses a mode-code in either case.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, and `UnknownWord` for an unknown code.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| Err(ParseError::new("mode-code", 0, kind));
        match input {
            [] => error(ParseErrorKind::UnexpectedEnd),
            b"S" | b"s" => Ok(Self::Stream),
            b"B" | b"b" => Ok(Self::Block),
            b"C" | b"c" => Ok(Self::Compressed),
            b"Z" | b"z" => Ok(Self::Deflate),
            _ => error(ParseErrorKind::UnknownWord),
        }
    }

    /// Returns the mode-code as sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "S",
            Self::Block => "B",
            Self::Compressed => "C",
            Self::Deflate => "Z",
        }
    }
}

/// Compression level of mode Z, 0 to 9: 0 does not compress, 9 compresses most and is slowest
/// (default: 6, as in zlib).
///
/// ```
/// use ftp_proto::DeflateLevel;
///
/// assert_eq!(DeflateLevel::new(9).map(DeflateLevel::value), Some(9));
/// assert_eq!(DeflateLevel::new(10), None);
/// assert_eq!(DeflateLevel::default().value(), 6);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeflateLevel(u8);

impl DeflateLevel {
    /// Returns the level with this number; `None` above 9.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        if level <= 9 { Some(Self(level)) } else { None }
    }

    /// Returns the number of the level, 0 to 9.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Default for DeflateLevel {
    fn default() -> Self {
        Self(6)
    }
}

/// The start of the next transfer: a byte offset in the file, 0 to 2^63 - 1.
///
/// The offset is counted in the representation type of that transfer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RestartMarker(u64);

impl RestartMarker {
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
        let offset = short.and_then(bytes::decimal).and_then(Self::new);
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

/// A security mechanism, the argument of `AUTH` (RFC 2228 §3; RFC 4217 §4.2 and §17).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthMechanism {
    /// `TLS`, or `TLS-C`: TLS on the control connection; data is unencrypted until `PROT P`.
    Tls,
    /// `SSL`, or `TLS-P`, from drafts before RFC 4217: TLS on the control connection and, without
    /// `PROT`, on data connections.
    TlsWithData,
    /// Any other mechanism, in upper case.
    Other(String),
}

impl AuthMechanism {
    /// Parses a mechanism name, ignoring case: 1 to 20 printable ASCII characters other than SP
    /// (RFC 2228 §8.2).
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, `UnexpectedByte` for SP or a character that is not
    /// printable ASCII, and `TooLong` beyond 20 characters.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("mechanism-name", at, kind);
        if input.is_empty() {
            return Err(error(0, ParseErrorKind::UnexpectedEnd));
        }
        if let Some(at) = input.iter().position(|byte| !byte.is_ascii_graphic()) {
            return Err(error(at, ParseErrorKind::UnexpectedByte));
        }
        if input.len() > 20 {
            return Err(error(20, ParseErrorKind::TooLong));
        }
        Ok(match input.to_ascii_uppercase().as_slice() {
            b"TLS" | b"TLS-C" => Self::Tls,
            b"SSL" | b"TLS-P" => Self::TlsWithData,
            other => Self::Other(String::from_utf8_lossy(other).into_owned()),
        })
    }
}

impl fmt::Display for AuthMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::TlsWithData => "SSL",
            Self::Other(name) => name,
        })
    }
}

/// The protection of the data connection, the prot-code of `PROT` (RFC 2228 §3).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ProtectionLevel {
    /// `C`: none.
    #[default]
    Clear,
    /// `S`: integrity; no TLS equivalent (RFC 4217 §9).
    Safe,
    /// `E`: confidentiality; no TLS equivalent.
    Confidential,
    /// `P`: integrity and confidentiality, with TLS.
    Private,
}

impl ProtectionLevel {
    /// Parses a prot-code in either case.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, `Unsupported` for another letter (a server answers
    /// 504), and `UnknownWord` for anything else.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |kind| Err(ParseError::new("prot-code", 0, kind));
        match input {
            [] => error(ParseErrorKind::UnexpectedEnd),
            b"C" | b"c" => Ok(Self::Clear),
            b"S" | b"s" => Ok(Self::Safe),
            b"E" | b"e" => Ok(Self::Confidential),
            b"P" | b"p" => Ok(Self::Private),
            [letter] if letter.is_ascii_alphabetic() => error(ParseErrorKind::Unsupported),
            _ => error(ParseErrorKind::UnknownWord),
        }
    }

    /// Returns the prot-code as sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "C",
            Self::Safe => "S",
            Self::Confidential => "E",
            Self::Private => "P",
        }
    }
}

/// Parses the argument of `PBSZ`: decimal, 0 to 2^32 - 1 (RFC 2228 §3; RFC 4217 §9 asks for 0).
pub(crate) fn parse_buffer_size(input: &[u8]) -> Result<u32, ParseError> {
    let error = |kind| ParseError::new("protection buffer size", 0, kind);
    if input.is_empty() {
        return Err(error(ParseErrorKind::UnexpectedEnd));
    }
    let size = bytes::decimal(input).and_then(|size| size.try_into().ok());
    size.ok_or(error(ParseErrorKind::BadNumber))
}

/// A language tag in lower case, such as `en-us`.
///
/// ```
/// use ftp_proto::LanguageTag;
///
/// assert_eq!(LanguageTag::parse(b"en-GB")?.primary(), "en");
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LanguageTag(String);

impl LanguageTag {
    /// Parses a tag: parts of 1 to 8 letters, in upper or lower case, separated by hyphens.
    ///
    /// All parts but the first may contain digits (RFC 5646; RFC 2640 cites its predecessor RFC
    /// 1766). The maximum is [`limits::LANGUAGE_TAG`](limits::LANGUAGE_TAG) bytes.
    ///
    /// # Errors
    ///
    /// - `UnexpectedEnd` for an empty part.
    /// - `UnexpectedByte` for a character that the part may not contain.
    /// - `TooLong` for a part over 8 bytes or a tag over the limit.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("lang-tag", at, kind);
        let mut at = 0;
        for part in input.split(|&byte| byte == b'-') {
            if part.is_empty() {
                return Err(error(at, ParseErrorKind::UnexpectedEnd));
            }
            let allowed =
                |byte: u8| byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
            if let Some(wrong) = part.iter().position(|&byte| !allowed(byte)) {
                return Err(error(at + wrong, ParseErrorKind::UnexpectedByte));
            }
            if part.len() > 8 {
                return Err(error(at, ParseErrorKind::TooLong));
            }
            at += part.len() + 1;
        }
        if input.len() > limits::LANGUAGE_TAG {
            return Err(error(limits::LANGUAGE_TAG, ParseErrorKind::TooLong));
        }
        Ok(Self(String::from_utf8_lossy(input).to_ascii_lowercase()))
    }

    /// Returns the whole tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first part: the language itself.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(primary, _)| primary)
    }
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
