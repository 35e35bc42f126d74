//! The error of all parsers and encoders: the value, the position and the kind.

/// Why bytes cannot be parsed or encoded.
///
/// `Display` writes one line, such as `invalid host-port: malformed or out of range`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid {what}: {kind}")]
#[non_exhaustive]
pub struct ParseError {
    /// The value that was parsed or encoded, such as `host-port`, `pathname` or `reply`.
    pub what: &'static str,
    /// The byte offset at which the input becomes invalid; for a field that is invalid as a whole,
    /// the start of the field.
    pub at: usize,
    /// What is wrong at that offset.
    pub kind: ParseErrorKind,
}

impl ParseError {
    /// Returns an error of this `kind` at byte `at` of a value called `what`.
    #[must_use]
    pub const fn new(what: &'static str, at: usize, kind: ParseErrorKind) -> Self {
        Self { what, at, kind }
    }
}

/// What is wrong at the position of a [`ParseError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The input ends before the value is complete.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// A byte that the grammar does not allow here, or any byte after a complete value.
    #[error("unexpected character")]
    UnexpectedByte,
    /// A number that contains characters other than digits or is outside its range, or an invalid
    /// address, date or digest.
    #[error("malformed or out of range")]
    BadNumber,
    /// A word that the grammar does not list.
    #[error("unknown word")]
    UnknownWord,
    /// A value longer than its limit, such as one of [`limits`](crate::limits).
    #[error("too long")]
    TooLong,
    /// CR, LF or NUL in a value that may become part of a command line. Such a byte could end the
    /// line early and turn the rest into a second command, so it is never written (RFC 2640 §3.1).
    #[error("contains CR, LF or NUL")]
    LineBreak,
    /// A well-formed value that is not supported, such as `PROT X`. A server answers 504.
    #[error("not supported")]
    Unsupported,
    /// An address family number other than 1 and 2 (RFC 2428 §2). A server answers 522.
    #[error("network protocol not supported")]
    UnsupportedProtocol,
}
