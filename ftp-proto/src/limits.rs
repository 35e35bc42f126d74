//! Limits of this crate, each with its unit.

/// The longest accepted command line, in bytes without its line ending and without Telnet commands.
///
/// This is twice the longest pathname of most systems (4,096 bytes), which leaves room for the verb
/// and further arguments.
pub const COMMAND_LINE: usize = 8_192;

/// The number of bytes without a line ending after which a peer is assumed not to speak FTP. Of
/// Telnet commands, only subnegotiations count.
pub const UNTERMINATED: usize = 65_536;

/// The maximum number of unread bytes in a [`LineDecoder`](crate::LineDecoder),
/// [`ReplyDecoder`](crate::ReplyDecoder) or [`ListReader`](crate::ListReader).
///
/// Further bytes stay in the socket, so TCP flow control pauses the peer.
pub const READ_AHEAD: usize = 16_384;

/// The longest verb, in bytes. The longest known verbs, such as `XSHA512`, have 7.
pub const VERB: usize = 12;

/// The longest user name, in bytes.
pub const USER_NAME: usize = 512;

/// The maximum number of Telnet option requests to answer in a session. Without a limit, two peers
/// that answer each other's answers would never stop.
pub const TELNET_ANSWERS: u32 = 16;

/// The longest line of a reply, in bytes without its line ending.
pub const REPLY_LINE: usize = 16_384;

/// The longest text to keep from one reply by default, in bytes over all lines except the last.
pub const REPLY_TEXT: usize = 65_536;

/// The longest accepted reply, in bytes over all its lines; the sender of a longer one counts as
/// hostile.
///
/// Text beyond [`REPLY_TEXT`] is dropped, but up to this limit the end of the reply is found.
pub const REPLY_TOTAL: usize = 1_048_576;

/// The longest [`ProxyHeader`](crate::ProxyHeader) of version 1 that the specification allows, in
/// bytes with its CR LF.
pub const PROXY_LINE: usize = 107;

/// The longest [`ProxyHeader`](crate::ProxyHeader) of version 2, in bytes with its extensions. The
/// specification recommends this limit, because every host must accept TCP segments of this size.
pub const PROXY_HEADER: usize = 536;

/// The longest line of a listing, in bytes without its line ending.
///
/// On nearly every system, names have at most 255 bytes and paths at most 4,096, so only a faulty
/// server sends longer lines.
pub const LISTING_LINE: usize = 65_536;

/// The highest restart marker, in bytes: the highest signed 64-bit file offset (RFC 3659 §5.3).
pub const RESTART_MARKER: u64 = i64::MAX.unsigned_abs();

/// The longest restart marker of block mode, in bytes. RFC 959 sets no limit; in practice a marker
/// is one number, or a few.
pub const BLOCK_MARKER: usize = 64;

/// The maximum number of consecutive blocks without data, including blocks with a restart marker
/// and empty records. RFC 959 sets no limit, but without one a sender could keep a receiver busy
/// without data. Ordinary senders need only a few such blocks.
pub const EMPTY_BLOCKS: u32 = 1_024;

/// The maximum number of items in a list of ports.
pub const PORT_RANGES: usize = 1_024;

/// The longest language tag, in bytes. Registered tags have fewer than 40.
pub const LANGUAGE_TAG: usize = 64;
