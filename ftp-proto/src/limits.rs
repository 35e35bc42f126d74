//! Every bound of this crate, each with its unit and its reason.

/// The longest command line that is accepted, in bytes without its line end, Telnet commands not
/// counted. Twice the longest pathname leaves room for any verb and for names of escaped bytes.
pub const COMMAND_LINE: usize = 8_192;

/// How many bytes may come without a line end before a peer is taken for something that does not
/// speak FTP, in bytes, Telnet commands not counted.
pub const UNTERMINATED: usize = 65_536;

/// How many bytes a [`LineDecoder`](crate::LineDecoder) or [`ReplyDecoder`](crate::ReplyDecoder)
/// holds that it has not yet looked at. More are left in the kernel, whose window then stops the
/// peer.
pub const READ_AHEAD: usize = 16_384;

/// The longest verb, in bytes: `XSHA512` and its like fit, a sentence does not.
pub const VERB: usize = 12;

/// The longest user name, in bytes.
pub const USER_NAME: usize = 512;

/// How many Telnet option requests are answered in a session. Two peers that answer each other's
/// answers would never end.
pub const TELNET_ANSWERS: u32 = 16;

/// The longest line of a reply, in bytes without its line end.
pub const REPLY_LINE: usize = 16_384;

/// How much text of one reply is kept, in bytes over all its lines.
pub const REPLY_TEXT: usize = 65_536;

/// How long one reply may be before its sender is taken for hostile, in bytes over all its lines.
/// Between [`REPLY_TEXT`] and this, text is dropped but the end of the reply is still found.
pub const REPLY_TOTAL: usize = 1_048_576;

/// The longest line of a directory listing, in bytes without its line end. Names end at 255 bytes
/// on nearly every system and paths at 4,096, so this is for lines of a server gone wrong.
pub const LISTING_LINE: usize = 65_536;

/// The highest restart marker, in bytes: what fits a signed file offset (RFC 3659 §5.3).
pub const RESTART_MARKER: u64 = i64::MAX.unsigned_abs();

/// How many items a list of ports may have.
pub const PORT_RANGES: usize = 1_024;

/// The longest tag of a language, in bytes. Registered ones have fewer than 40.
pub const LANGUAGE_TAG: usize = 64;
