//! Replies from bytes (RFC 959 §4.2), with limits against a hostile server.

use super::{Reply, ReplyCode};
use crate::error::{ParseError, ParseErrorKind};
use crate::limits;
use crate::line::IAC;
use crate::read_ahead::ReadAhead;
use crate::split::split_once;

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
    /// The kept lines of the reply, separated by LF.
    text: Vec<u8>,
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
            let mut line = undouble_iac(std::mem::take(&mut self.line));
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
                self.code = None;
                let is_cut = std::mem::take(&mut self.full);
                Ok(Some(Reply::received(code, std::mem::take(&mut self.text), is_cut)))
            }
            (Some(_), _) => {
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

const fn error(at: usize, kind: ParseErrorKind) -> ParseError {
    ParseError::new("reply", at, kind)
}

/// Replaces each `IAC IAC` with one byte. A single IAC is kept: a server that does not double it
/// sends it as part of a name, never as a Telnet command.
fn undouble_iac(line: Vec<u8>) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::any_chunking;
    use ParseErrorKind::{TooLong, UnexpectedByte};

    /// Returns all replies as code and joined lines, and the error that ended them.
    fn decode(pieces: &[&[u8]]) -> (Vec<(u16, Vec<u8>)>, Option<ParseError>) {
        let mut decoder = ReplyDecoder::new();
        let mut replies = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let taken = decoder.push(rest);
                assert!(taken > 0, "push made no progress");
                rest = &rest[taken..];
                loop {
                    match decoder.next() {
                        Ok(Some(reply)) => {
                            let lines: Vec<&[u8]> = reply.lines().collect();
                            replies.push((reply.code().value(), lines.join(&b'|')));
                        }
                        Ok(None) => break,
                        Err(error) => return (replies, Some(error)),
                    }
                }
            }
        }
        (replies, None)
    }

    fn gives(input: &[u8], want: &[(u16, &[u8])]) {
        let want = want.iter().map(|(code, text)| (*code, text.to_vec())).collect();
        any_chunking(input, decode, &(want, None));
    }

    #[test]
    fn single_lines_rp_01_rp_17_rp_19() {
        gives(
            b"220 hello\r\n331\r\n200 \n500 a\rb\n226-\r\n226\r\n",
            &[(220, b"hello"), (331, b""), (200, b""), (500, b"a\rb"), (226, b"|")],
        );
    }

    #[test]
    fn multi_line_rp_02_rp_18() {
        gives(
            b"211-Features:\r\n SIZE\r\n\r\n213 no\r\n211-no\r\n2110\r\n211 End\r\n200 x\r\n",
            &[(211, b"Features:| SIZE||213 no|211-no|2110|End"), (200, b"x")],
        );
        gives(b"250-a\n b\n250\n", &[(250, b"a| b|")]);
    }

    #[test]
    fn any_bytes_are_text_rp_22_fr_24() {
        gives(b"257 \"\xe9\xff\xffx\xff\"\r\n", &[(257, b"\"\xe9\xffx\xff\"")]);
    }

    #[test]
    fn invalid_replies_are_rejected_rp_21_hc_29() {
        for (input, at) in [
            (&b"hello\r\n"[..], 0),
            (b"\r\n", 0),
            (b"22\r\n", 0),
            (b"099 x\r\n", 0),
            (b"600 x\r\n", 0),
            (b"220x\r\n", 3),
            (b"2200\r\n", 3),
            (b" 220 x\r\n", 0),
            (b"SSH-2.0-x\r\n", 0),
            (b"HTTP/1.1 400\r\n", 0),
        ] {
            any_chunking(input, decode, &(vec![], Some(error(at, UnexpectedByte))));
        }
    }

    #[test]
    fn the_longest_line_rp_20_hc_13() {
        let mut input = b"220 ".to_vec();
        input.resize(limits::REPLY_LINE, b'x');
        let fits = input.clone();
        input.extend_from_slice(b"\r\n");
        for size in [1, 100, 16_000] {
            let pieces: Vec<&[u8]> = input.chunks(size).collect();
            assert_eq!(decode(&pieces), (vec![(220, fits[4..].to_vec())], None));
        }
        let endless = vec![b'2'; limits::REPLY_LINE + 2];
        for size in [1, 100, endless.len()] {
            let pieces: Vec<&[u8]> = endless.chunks(size).collect();
            let want = Some(error(limits::REPLY_LINE, TooLong));
            assert_eq!(decode(&pieces), (vec![], want), "no line end is needed to refuse");
        }
    }

    #[test]
    fn long_replies_are_truncated_but_keep_their_end_rp_20() {
        let mut input = b"211-\r\n".to_vec();
        for _ in 0..1_000 {
            input.extend_from_slice(&[b'x'; 500]);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"211 end\r\n200 next\r\n");
        let pieces: Vec<&[u8]> = input.chunks(4_096).collect();
        let (replies, error) = decode(&pieces);
        assert_eq!(error, None);
        assert_eq!(replies.len(), 2);
        assert!(replies[0].1.len() <= limits::REPLY_TEXT + limits::REPLY_LINE);
        assert!(replies[0].1.ends_with(b"x|end"));
        assert_eq!(replies[1], (200, b"next".to_vec()));
    }

    #[test]
    fn a_truncated_reply_is_marked_rp_20() {
        let line = [&[b'x'; 500][..], b"\r\n"].concat();
        for (lines, limit, want) in [
            (130, limits::REPLY_TEXT, false),
            (131, limits::REPLY_TEXT, true),
            (1_000, limits::REPLY_TOTAL, false),
        ] {
            let mut decoder = ReplyDecoder::new();
            decoder.set_text_limit(limit);
            let input = [b"211-\r\n", &line.repeat(lines)[..], b"211 end\r\n200 next\r\n"].concat();
            let mut replies = Vec::new();
            let mut rest = input.as_slice();
            while !rest.is_empty() {
                let taken = decoder.push(rest);
                rest = &rest[taken..];
                replies.extend(std::iter::from_fn(|| decoder.next().unwrap()));
            }
            let [reply, next] = replies.as_slice() else { panic!("{} replies", replies.len()) };
            assert_eq!(reply.is_cut(), want, "{lines} lines");
            assert_eq!(reply.lines().count() == lines + 2, !want, "{lines} lines");
            assert!(!next.is_cut());
        }
    }

    #[test]
    fn endless_replies_are_rejected_rp_20_hc_12() {
        for line in [&b"220-more\r\n"[..], b"\n"] {
            let mut decoder = ReplyDecoder::new();
            let _ = decoder.push(b"220-\r\n");
            let mut pushed = 0;
            let error = loop {
                pushed += decoder.push(line);
                match decoder.next() {
                    Ok(reply) => assert_eq!(reply, None),
                    Err(error) => break error,
                }
                assert!(pushed < 4 * limits::REPLY_TOTAL);
                assert!(decoder.text.capacity() <= 2 * (limits::REPLY_TEXT + limits::REPLY_LINE));
            };
            assert_eq!(error.kind, TooLong);
            assert!(!decoder.is_clear());
            let _ = decoder.push(b"220 end\r\n");
            assert!(decoder.next().is_err(), "the error stays");
        }
    }

    #[test]
    fn a_million_features_are_rejected_rp_20_hc_22() {
        let mut decoder = ReplyDecoder::new();
        let _ = decoder.push(b"211-Features:\r\n");
        let (mut lines, mut held) = (0, 0);
        let error = loop {
            lines += 1;
            assert!(lines < 1_000_000, "all of it was read");
            let _ = decoder.push(format!(" F{lines}\r\n").as_bytes());
            match decoder.next() {
                Ok(reply) => assert_eq!(reply, None),
                Err(error) => break error,
            }
            held = held.max(decoder.text.len());
        };
        assert_eq!(error, ParseError::new("reply", limits::REPLY_TOTAL, TooLong));
        assert!(held > limits::REPLY_TEXT / 2 && held <= limits::REPLY_TEXT, "{held} bytes");
        assert_eq!(decoder.text.capacity(), 0, "what was kept of it is given back");
    }

    #[test]
    fn is_clear_between_replies_cl_13() {
        let mut decoder = ReplyDecoder::new();
        assert!(decoder.is_clear());
        for (bytes, clear) in [(&b"220-"[..], false), (b"a\r\n", false), (b"220 b\r\n", true)] {
            let _ = decoder.push(bytes);
            while decoder.next().unwrap().is_some() {}
            assert_eq!(decoder.is_clear(), clear, "{bytes:?}");
        }
        let _ = decoder.push(b"200 a\r\n200 b\r\n");
        assert!(decoder.next().unwrap().is_some());
        assert!(!decoder.is_clear());
    }

    #[test]
    fn encoded_values_round_trip() {
        for reply in [
            Reply::new(ReplyCode::OKAY, ""),
            Reply::new(ReplyCode::PATHNAME, &b"\"/\xff\xff\""[..]),
            Reply::multi_line(ReplyCode::SYSTEM_STATUS, "a", ["211 x", "", " y"], "End"),
        ] {
            let mut decoder = ReplyDecoder::new();
            let _ = decoder.push(&reply.encode());
            assert_eq!(decoder.next(), Ok(Some(reply)));
            assert!(decoder.is_clear());
        }
    }

    #[test]
    fn reading_ahead_is_bounded() {
        let mut decoder = ReplyDecoder::new();
        assert_eq!(decoder.room(), limits::READ_AHEAD);
        assert_eq!(decoder.push(b"200 a\r\n"), 7);
        assert_eq!(decoder.room(), limits::READ_AHEAD - 7);
    }
}
