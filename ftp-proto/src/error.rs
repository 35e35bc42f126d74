//! The crate's only error: what was being read, where it went wrong, and how.

/// Why bytes are not what they should be.
///
/// `Display` gives one line for people, such as `host-port: number out of range at byte 6`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what}: {kind} at byte {at}")]
pub struct ParseError {
    /// What was being read or written, in the RFC's words: `host-port`, `pathname`, `reply`.
    pub what: &'static str,
    /// The offset in bytes from the start of the input at which it stops being right. For a
    /// field that is wrong as a whole, where that field starts.
    pub at: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

impl ParseError {
    /// An error of `kind` at byte `at` of a `what`.
    #[must_use]
    pub const fn new(what: &'static str, at: usize, kind: ParseErrorKind) -> Self {
        Self { what, at, kind }
    }
}

/// What is wrong at the place a [`ParseError`] names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The input ends before the value is whole.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// A byte that the grammar does not allow here, or anything behind a whole value.
    #[error("unexpected byte")]
    UnexpectedByte,
    /// A number that is not made of digits alone or lies outside its range.
    #[error("number out of range")]
    BadNumber,
    /// A word that is none of those the grammar lists.
    #[error("unknown word")]
    UnknownWord,
    /// Longer than the limit that [`limits`](crate::limits) sets.
    #[error("too long")]
    TooLong,
    /// CR, LF or NUL in something that goes into a command line. It would end the line early and
    /// make what follows a second command, so it is never written (RFC 2640 §3.1).
    #[error("CR, LF or NUL")]
    LineBreak,
    /// Well formed and defined by an RFC, but nothing this crate's users implement, such as
    /// `TYPE E`. A server answers 504.
    #[error("not supported")]
    Unsupported,
    /// An address family number other than 1 and 2 (RFC 2428 §2). A server answers 522.
    #[error("network protocol not supported")]
    UnsupportedProtocol,
}
