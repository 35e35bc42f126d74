//! The decoder of replies, with its limits against a hostile server.

use super::{Reply, ReplyCode};
use crate::bytes::{ReadAhead, split_once};
use crate::line::IAC;
use crate::{ParseError, ParseErrorKind, limits};

/// A decoder that parses the bytes of the control connection into replies.
///
/// Lines end at CR LF or bare LF. `NNN-` begins a reply of several lines. Such a reply ends at a
/// line that begins with the same `NNN` and SP, or is `NNN` alone; everything between is text. Pass
/// received bytes to [`push`](Self::push) and take replies with [`next`](Self::next), until all
/// bytes are pushed.
///
/// ```
/// use ftp_proto::ReplyDecoder;
///
/// let mut decoder = ReplyDecoder::new();
/// let mut replies = Vec::new();
/// let mut rest: &[u8] = b"220-Welcome\r\n220 really\r\n331 ";
/// while !rest.is_empty() {
///     let taken = decoder.push(rest);
///     rest = &rest[taken..];
///     while let Some(reply) = decoder.next()? {
///         replies.push(reply.to_string());
///     }
/// }
/// assert_eq!(replies, ["220 Welcome / really"]);
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReplyDecoder {
    input: ReadAhead,
    line: Vec<u8>,
    /// The code of a reply of several lines whose last line has not arrived yet.
    code: Option<ReplyCode>,
    /// The other code of the last line of such a reply, if that line looks like the end of a reply.
    other: Option<ReplyCode>,
    /// The kept lines of the reply, separated by LF.
    pub(super) text: Vec<u8>,
    /// Whether a line did not fit; further lines except the last are then dropped.
    full: bool,
    /// The longest text to keep from a reply, in bytes.
    text_limit: usize,
    /// The number of bytes of the reply so far.
    total: usize,
    failed: Option<ParseError>,
}

impl Default for ReplyDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyDecoder {
    /// Returns a decoder at the start of a session.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            input: ReadAhead::new(),
            line: Vec::new(),
            code: None,
            other: None,
            text: Vec::new(),
            full: false,
            text_limit: limits::REPLY_TEXT,
            total: 0,
            failed: None,
        }
    }

    /// Sets the longest text to keep from each later reply, in bytes (default:
    /// [`limits::REPLY_TEXT`]).
    ///
    /// A longer reply [is cut](Reply::is_cut): it keeps its first and last lines, and as many of
    /// the lines after the first as fit. With [`limits::REPLY_TOTAL`] nothing is cut.
    pub const fn set_text_limit(&mut self, bytes: usize) {
        self.text_limit = bytes;
    }

    /// Replaces each doubled byte 0xFF (`IAC IAC`, RFC 854) with one, as in every line of a reply. A
    /// single one is kept: a server that does not double it sends it as part of a name, never as a
    /// Telnet command.
    #[must_use]
    pub fn undoubled(line: Vec<u8>) -> Vec<u8> {
        if !line.contains(&IAC) {
            return line;
        }
        let mut bytes = line.into_iter().peekable();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == IAC {
                bytes.next_if_eq(&IAC);
            }
            out.push(byte);
        }
        out
    }

    /// Takes at most [`room`](Self::room) received bytes, and returns how many it took.
    ///
    /// Push the rest after [`next`](Self::next) has returned `None`.
    #[must_use = "it may take fewer bytes than it was given"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.input.push(bytes)
    }

    /// Returns how many bytes [`push`](Self::push) would take now, up to [`limits::READ_AHEAD`].
    #[must_use]
    pub fn room(&self) -> usize {
        self.input.room()
    }

    /// Returns whether all pushed bytes were returned in replies.
    ///
    /// If it returns false, as after an error, do not send a command: its reply could not be
    /// distinguished from the remaining bytes.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        let idle = self.line.is_empty() && self.code.is_none() && self.failed.is_none();
        idle && self.input.is_empty()
    }

    /// Returns whether a reply of several lines has come to a line that would end it, but for its code.
    #[must_use]
    pub const fn may_have_ended(&self) -> bool {
        self.other.is_some() && self.line.is_empty() && self.input.is_empty()
    }

    /// Makes such a line the end of its reply, which then has the code of that line. Call this if nothing
    /// follows for some time: some servers end a reply with another code than they begin it with.
    pub fn end(&mut self) -> Option<Reply> {
        let code = self.other.take().filter(|_| self.line.is_empty() && self.input.is_empty())?;
        self.code = None;
        self.total = 0;
        Some(Reply::received(code, std::mem::take(&mut self.text), std::mem::take(&mut self.full)))
    }

    /// Returns the next reply, or `None` until more bytes are pushed.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedByte` if a reply does not begin with a code followed by SP, `-` or the
    /// line ending. Returns `TooLong` for a line over [`limits::REPLY_LINE`] or a reply over
    /// [`limits::REPLY_TOTAL`]. After an error the rest cannot be parsed: every later call returns
    /// the same error.
    #[expect(clippy::should_implement_trait, reason = "the end is not final: more may be pushed")]
    pub fn next(&mut self) -> Result<Option<Reply>, ParseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let reply = self.read_lines();
        if let Err(error) = &reply {
            self.failed = Some(*error);
            *self = Self { failed: self.failed, text_limit: self.text_limit, ..Self::new() };
        }
        reply
    }

    fn read_lines(&mut self) -> Result<Option<Reply>, ParseError> {
        loop {
            let waiting = self.input.waiting();
            if waiting.is_empty() {
                return Ok(None);
            }
            let (piece, is_ended) = match split_once(waiting, b'\n') {
                Some((piece, _)) => (piece, true),
                None => (waiting, false),
            };
            self.line.extend_from_slice(piece);
            let looked_at = piece.len() + usize::from(is_ended);
            self.input.take(looked_at);
            let length = self.line.strip_suffix(b"\r").unwrap_or(&self.line).len();
            if length > limits::REPLY_LINE {
                return Err(error(limits::REPLY_LINE, ParseErrorKind::TooLong));
            }
            if !is_ended {
                return Ok(None);
            }
            self.line.truncate(length);
            // Each line counts one byte more than its text, so that the number of empty lines is
            // limited too.
            self.total += length + 1;
            if self.total > limits::REPLY_TOTAL {
                return Err(error(limits::REPLY_TOTAL, ParseErrorKind::TooLong));
            }
            let mut line = Self::undoubled(std::mem::take(&mut self.line));
            let reply = self.take_line(&line)?;
            // The buffer is reused for the next line.
            line.clear();
            self.line = line;
            if reply.is_some() {
                self.total = 0;
                return Ok(reply);
            }
        }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Reply>, ParseError> {
        let code = ReplyCode::parse(line);
        let separator = line.get(3).copied();
        let text = line.get(4..).unwrap_or_default();
        match (self.code, code) {
            (None, None) => Err(error(0, ParseErrorKind::UnexpectedByte)),
            (None, Some(code)) => match separator {
                Some(b'-') => {
                    self.code = Some(code);
                    self.text.extend_from_slice(text);
                    Ok(None)
                }
                Some(b' ') | None => Ok(Some(Reply::received(code, text.to_vec(), false))),
                Some(_) => Err(error(3, ParseErrorKind::UnexpectedByte)),
            },
            (Some(open), Some(code)) if open == code && matches!(separator, Some(b' ') | None) => {
                // The last line is always kept: it holds the value of a 227 or 257.
                self.text.push(b'\n');
                self.text.extend_from_slice(text);
                (self.code, self.other) = (None, None);
                let is_cut = std::mem::take(&mut self.full);
                Ok(Some(Reply::received(code, std::mem::take(&mut self.text), is_cut)))
            }
            (Some(_), code) => {
                self.other = code.filter(|_| separator == Some(b' '));
                self.keep(line);
                Ok(None)
            }
        }
    }

    /// Appends a line to the text, unless this line or an earlier one did not fit.
    fn keep(&mut self, line: &[u8]) {
        self.full |= self.text.len() + 1 + line.len() > self.text_limit;
        if !self.full {
            self.text.push(b'\n');
            self.text.extend_from_slice(line);
        }
    }
}

pub(super) const fn error(at: usize, kind: ParseErrorKind) -> ParseError {
    ParseError::new("reply", at, kind)
}
