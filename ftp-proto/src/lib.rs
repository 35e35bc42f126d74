//! The File Transfer Protocol without I/O: typed commands, replies, pathnames and listings, with
//! their encoders and decoders.
//!
//! Use it to write an FTP client, server, proxy or test tool. The crate opens no sockets, reads no
//! clock and writes no log: you pass bytes in and get values out, or the other way round. Clients
//! and servers share the same types, so each parses what the other encodes.
//!
//! Input is not trusted: decoders hold a bounded amount of it (see [`limits`]), and no input causes
//! a panic.
//! The names of items follow RFC 959, so the RFC serves as the manual.
//!
//! # What is in it
//!
//! - [`Command`], [`Verb`] and [`LineDecoder`]: command lines and their typed arguments
//! - [`Reply`], [`ReplyCode`] and [`ReplyDecoder`]: replies of one or more lines
//! - [`Exchange`]: which replies are valid for a command, and which of them is final
//! - [`HostPort`], [`ExtendedAddress`] and [`AddressRule`]: data connections
//! - [`ProxyHeader`]: the address of a client, as a load balancer sends it
//! - [`ListParser`], [`ListReader`] and [`Facts`]: listings by `LIST`, `NLST` and `MLSD`
//! - [`TransferStart`] and [`TransferEvidence`]: how a transfer begins, and whether it succeeded
//! - [`FtpUrl`]: URLs, and the short form `user@host:path`
//! - [`HiddenFile`]: the hidden files of this project's server and client
//! - [`Escaped`]: text from a peer, safe to print
//!
//! # Example: one exchange, both sides
//!
//! ```
//! use ftp_proto::{Command, HostPort, LineDecoder, LineEvent, Reply, ReplyCode, ReplyDecoder};
//!
//! // The client asks for a passive data connection ...
//! let line = Command::Pasv.encode()?;
//! assert_eq!(line, b"PASV\r\n");
//!
//! // ... the server reads the line, in pieces of any size ...
//! let mut lines = LineDecoder::new();
//! let mut commands = Vec::new();
//! for piece in [&line[..3], &line[3..]] {
//!     let mut rest = piece;
//!     while !rest.is_empty() {
//!         // The decoder takes what it has room for; push the rest later.
//!         let taken = lines.push(rest);
//!         rest = &rest[taken..];
//!         while let Some(event) = lines.next() {
//!             let LineEvent::Line(line) = event else { panic!("no Telnet was sent") };
//!             commands.push(Command::parse_line(&line)?);
//!         }
//!     }
//! }
//! assert_eq!(commands, [Command::Pasv]);
//!
//! // ... and replies with the host-port at which it listens: 195 * 256 + 84 is 50004.
//! let tuple = HostPort { host: [192, 0, 2, 1].into(), port: 50_004 };
//! let text = format!("Entering Passive Mode ({tuple}).");
//! let reply = Reply::new(ReplyCode::PASSIVE, text).encode();
//! assert_eq!(reply, b"227 Entering Passive Mode (192,0,2,1,195,84).\r\n");
//!
//! // The client reads the reply and finds the tuple in its text.
//! let mut replies = ReplyDecoder::new();
//! let taken = replies.push(&reply);
//! assert_eq!(taken, reply.len(), "there is room for a short reply");
//! let reply = replies.next()?.expect("a whole reply was pushed");
//! assert_eq!(HostPort::find(reply.text())?, tuple);
//! # Ok::<(), ftp_proto::ParseError>(())
//! ```

mod address;
mod ascii;
mod block;
mod bytes;
mod command;
#[cfg(feature = "deflate")]
mod deflate;
mod fact;
mod hidden;
pub mod limits;
mod line;
mod listing;
mod parameters;
mod pattern;
mod reply;
#[cfg(feature = "text")]
pub mod text;
mod time_val;
mod transfer;
mod url;
mod verb;

pub use address::{
    AddressClass, AddressRule, ChosenHost, EpsvArgument, ExtendedAddress, HostName, HostPort,
    HostReason, Network, NetworkProtocol, NetworkProtocols, PortRanges, ProxyHeader, ProxyProgress,
};
pub use ascii::{AsciiDecoder, AsciiEncoder};
pub use block::{BlockDecoder, BlockEvent, BlockFault, BlockHeader, BlockMarker, BlockStep};
pub use bytes::{Escaped, Pathname};
pub use command::{Command, OptsArgument, Password, RawCommand, SiteArgument};
#[cfg(feature = "deflate")]
pub use deflate::{DeflateDecoder, DeflateEncoder, DeflateFault, DeflateStep};
pub use fact::{Fact, FactType, Facts, FileDigest};
pub use hidden::HiddenFile;
pub use line::{LineDecoder, LineEvent};
pub use listing::{
    Entry, EntryKind, ListEvent, ListForm, ListLine, ListParser, ListReader, Modified, Permissions,
    Precision, Role, Zone,
};
pub use parameters::{
    AuthMechanism, DeflateLevel, FormCode, LanguageTag, ProtectionLevel, RepresentationType,
    RestartMarker, Structure, TransferMode, TypeCode,
};
pub use pattern::Pattern;
pub use reply::{
    Exchange, Features, Progress, Reply, ReplyCode, ReplyDecoder, Severity, UnexpectedReply,
    is_listed,
};
pub use time_val::TimeVal;
pub use transfer::{
    AbortStep, Confirmation, DataEnd, DataRules, Extended, FileRange, Mode, PassiveAddress,
    RangeSetup, ServerState, SetupEvent, SetupFault, SetupStep, StartStep, TransferAbort,
    TransferEvidence, TransferFault, TransferLength, TransferSetup, TransferStart,
    wants_announcement,
};
pub use url::{FtpUrl, Scheme};
pub use verb::{OtherVerb, Verb};

use std::str::FromStr;

/// Why bytes cannot be parsed or encoded: the error of all parsers and encoders.
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
    /// A value longer than its limit, such as one of [`limits`].
    #[error("too long")]
    TooLong,
    /// CR, LF or NUL in a value that may become part of a command line. Such a byte could end the
    /// line early and turn the rest into a second command, so it is never written (RFC 2640 §3.1).
    #[error("contains CR, LF or NUL")]
    LineBreak,
    /// A character that the character set of the peer lacks, so that the value cannot be sent.
    #[error("not in the server's character set")]
    Unencodable,
    /// A control character, or a blank at the end, of a name that the server is not known to keep.
    #[error("the server may replace its control characters or final blank")]
    Unkept,
    /// A well-formed value that is not supported, such as `PROT X`. A server answers 504.
    #[error("not supported")]
    Unsupported,
    /// An address family number other than 1 and 2 (RFC 2428 §2). A server answers 522.
    #[error("network protocol not supported")]
    UnsupportedProtocol,
}

/// Implements `Default`, `new` and a method for each field that sets it, from a list of all fields
/// with their defaults.
#[doc(hidden)]
#[macro_export]
macro_rules! settings {
    ($($type:ident { $($field:ident: $value:ty = $default:expr,)* })*) => {$(
        impl Default for $type {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $type {
            /// Returns the defaults.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $value) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    )*};
}

/// Implements `Debug` for a struct, or for an enum with named fields. `field: value` shows another
/// value, such as the text of bytes; `..` after a struct leaves out its other fields.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_fields {
    (= $field:ident) => { $field };
    (= $field:ident, $value:expr) => { &$value };
    (@ $type:ty, $($end:ident [$($rest:tt)*] $name:ident $path:path {
        $($field:ident $(: $value:expr)?),* $(,)?
    })*) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {$(
                    $path { $($field,)* $($rest)* } => f.debug_struct(stringify!($name))
                        $(.field(stringify!($field), $crate::debug_fields!(= $field $(, $value)?)))*
                        .$end(),
                )*}
            }
        }
    };
    ($type:ident $(<$life:lifetime>)? { $($fields:tt)* }) => {
        $crate::debug_fields!(@ $type $(<$life>)?, finish [] $type Self { $($fields)* });
    };
    ($type:ident $(<$life:lifetime>)? { $($fields:tt)* } ..) => {
        $crate::debug_fields!(@ $type $(<$life>)?, finish_non_exhaustive [..] $type Self { $($fields)* });
    };
    ($type:ident $(<$life:lifetime>)?: $($variant:ident $fields:tt)*) => {
        $crate::debug_fields!(@ $type $(<$life>)?, $(finish [] $variant Self::$variant $fields)*);
    };
}

/// Implements `FromStr` and `TryFrom<&[u8]>` with the function that parses bytes.
macro_rules! read_by {
    ($($type:ident::$parse:ident,)*) => {$(
        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                Self::$parse(text.as_bytes())
            }
        }

        impl TryFrom<&[u8]> for $type {
            type Error = ParseError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
                Self::$parse(bytes)
            }
        }
    )*};
}

read_by! {
    AuthMechanism::parse,
    Command::parse_line,
    EpsvArgument::parse,
    ExtendedAddress::parse,
    Facts::parse,
    FileDigest::parse,
    FtpUrl::parse,
    HostName::parse,
    HostPort::parse,
    LanguageTag::parse,
    Network::parse,
    Pathname::new,
    PortRanges::parse,
    ProtectionLevel::parse,
    RawCommand::new,
    RestartMarker::parse,
    Structure::parse,
    TimeVal::parse,
    TransferMode::parse,
    TypeCode::parse,
    Verb::parse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_str_and_try_from_agree_with_parse() {
        let ports: PortRanges = "21,300-400".parse().unwrap();
        assert_eq!(PortRanges::try_from(&b"21,300-400"[..]), Ok(ports));
        assert_eq!("PWD".parse(), Ok(Command::Pwd));
        assert_eq!("".parse::<Pathname>(), Pathname::new(""));
        assert_eq!("x".parse::<TimeVal>(), TimeVal::parse(b"x"));
    }
}
