//! Replies: a code and lines of text, and their encoding (RFC 959 §4.2).

mod code;
mod decoder;

pub use code::{ReplyCode, Severity};
pub use decoder::ReplyDecoder;

use std::fmt;

use crate::line::IAC;
use crate::pathname::{Escaped, is_line_break};

/// A reply: its code, and its lines without the code.
///
/// The text consists of bytes, since names in it may be in any encoding. `Display` writes the reply
/// on one line with control characters escaped.
///
/// ```
/// use ftp_proto::{Reply, ReplyCode};
///
/// let features = [" MLST type*;size*;", " SIZE"];
/// let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", features, "End");
/// assert_eq!(reply.encode(), b"211-Features:\r\n MLST type*;size*;\r\n SIZE\r\n211 End\r\n");
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Reply {
    code: ReplyCode,
    /// The lines separated by LF: one buffer, so that one limit applies to all.
    text: Vec<u8>,
    /// Whether lines are missing.
    is_cut: bool,
}

impl Reply {
    /// Returns a reply of one line.
    ///
    /// CR, LF and NUL in `text` become `?`, so that a name cannot forge a reply.
    #[must_use]
    pub fn new(code: ReplyCode, text: impl Into<Vec<u8>>) -> Self {
        Self { code, text: clean(text.into()), is_cut: false }
    }

    /// Returns a reply of several lines: the text of the first line, the lines between, and the
    /// text of the last line.
    ///
    /// A line between them that begins with a digit gets a leading SP, so that it cannot be taken
    /// for the last line (RFC 959 §4.2). CR, LF and NUL become `?`.
    #[must_use]
    pub fn multi_line<T: Into<Vec<u8>>>(
        code: ReplyCode,
        first: impl Into<Vec<u8>>,
        between: impl IntoIterator<Item = T>,
        last: impl Into<Vec<u8>>,
    ) -> Self {
        let mut text = clean(first.into());
        for line in between {
            add_between(&mut text, line.into());
        }
        text.push(b'\n');
        text.extend_from_slice(&clean(last.into()));
        Self { code, text, is_cut: false }
    }

    /// Returns a decoded reply.
    const fn received(code: ReplyCode, text: Vec<u8>, is_cut: bool) -> Self {
        Self { code, text, is_cut }
    }

    /// Replaces each occurrence of `secret` in the text with `****`: servers may quote a command
    /// that they refuse, and replies are shown to users.
    ///
    /// A secret of fewer than four bytes is replaced only as a whole word: inside a longer word,
    /// the bytes around `****` would reveal it.
    pub fn conceal(&mut self, secret: &[u8]) {
        const WHOLE: usize = 4;
        let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        if secret.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let mut rest = text.as_slice();
        let mut last = None;
        while let Some((byte, after)) = rest.split_first() {
            match rest.strip_prefix(secret) {
                Some(after)
                    if secret.len() >= WHOLE || !is_word(last) && !is_word(after.first()) =>
                {
                    self.text.extend_from_slice(b"****");
                    rest = after;
                    last = None;
                }
                _ => {
                    self.text.push(*byte);
                    rest = after;
                    last = Some(byte);
                }
            }
        }
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// Returns the lines, at least one. The first and the last lack the code and separator; lines
    /// between them are as received.
    #[must_use]
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.text.split(|&byte| byte == b'\n')
    }

    /// Returns whether lines before the last one are missing because a decoder had no room for
    /// them: see [`ReplyDecoder::set_text_limit`].
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the text of the last line, which carries the value of 227, 229 and 257.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        match self.text.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => self.text.split_at(last + 1).1,
            None => &self.text,
        }
    }

    /// Encodes the reply: CR LF after each line, 0xFF doubled (RFC 854). A CR or NUL in a received
    /// reply becomes `?`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 16);
        let mut lines = self.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            if lines.peek().is_none() {
                out.extend_from_slice(format!("{} ", self.code).as_bytes());
            } else if index == 0 {
                out.extend_from_slice(format!("{}-", self.code).as_bytes());
            }
            for &byte in line {
                if byte == IAC {
                    out.push(IAC);
                }
                out.push(if is_line_break(byte) { b'?' } else { byte });
            }
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

fn add_between(text: &mut Vec<u8>, line: Vec<u8>) {
    let line = clean(line);
    text.push(b'\n');
    if line.first().is_some_and(u8::is_ascii_digit) {
        text.push(b' ');
    }
    text.extend_from_slice(&line);
}

fn clean(mut text: Vec<u8>) -> Vec<u8> {
    text.iter_mut().filter(|byte| is_line_break(**byte)).for_each(|byte| *byte = b'?');
    text
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for (index, line) in self.lines().enumerate() {
            let separator = if index == 0 { " " } else { " / " };
            write!(f, "{separator}{}", Escaped(line.trim_ascii()))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encode_writes_single_and_multi_line_replies_rp_01_rp_02_fr_24() {
        let code = ReplyCode::FILE_STATUS;
        for (reply, want) in [
            (Reply::new(code, "5"), &b"213 5\r\n"[..]),
            (Reply::new(code, ""), b"213 \r\n"),
            (Reply::new(code, &b"a\xff"[..]), b"213 a\xff\xff\r\n"),
            (
                Reply::multi_line(code, "a", ["213 b", " c", "1"], "d"),
                b"213-a\r\n 213 b\r\n c\r\n 1\r\n213 d\r\n",
            ),
            (Reply::multi_line(code, "a", [""; 0], "d"), b"213-a\r\n213 d\r\n"),
        ] {
            assert_eq!(reply.encode(), want);
        }
    }

    #[test]
    fn a_name_cannot_forge_a_reply_rp_06() {
        let name = "x\r\n226 done\0";
        let reply = Reply::multi_line(ReplyCode::FILE_STATUS, name, [name], name);
        assert_eq!(reply.encode(), b"213-x??226 done?\r\nx??226 done?\r\n213 x??226 done?\r\n");
    }

    #[test]
    fn conceal_removes_secrets_from_replies() {
        for (text, secret, want) in [
            ("'PASS S3cret': no", "S3cret", "'PASS ****': no"),
            ("S3cretS3cret, S3cre", "S3cret", "********, S3cre"),
            ("xS3cret1", "S3cret", "x****1"),
            ("no such password: p", "p", "no such password: ****"),
            ("p", "p", "****"),
            ("nothing", "", "nothing"),
            ("a\u{e9}b", "\u{e9}", "a\u{e9}b"),
        ] {
            let mut reply = Reply::new(ReplyCode::NOT_LOGGED_IN, text);
            reply.conceal(secret.as_bytes());
            assert_eq!(String::from_utf8_lossy(reply.text()), want, "{text}");
        }
        let mut reply =
            Reply::multi_line(ReplyCode::NOT_LOGGED_IN, "S3cret", ["- S3cret"], "S3cret");
        reply.conceal(b"S3cret");
        assert_eq!(reply.to_string(), "530 **** / - **** / ****");
    }

    #[test]
    fn display_is_one_line_hc_28() {
        let reply = Reply::multi_line(ReplyCode::HELP, "a", [" b\x1b[2J"], "c");
        assert_eq!(reply.to_string(), "214 a / b\\x1b[2J / c");
    }

    #[test]
    fn text_is_the_last_line() {
        let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "first", [" a"], "last");
        assert_eq!(reply.text(), b"last");
        assert_eq!(Reply::new(ReplyCode::SYSTEM_STATUS, "only").text(), b"only");
        assert_eq!(format!("{reply:?}"), "Reply(211 first / a / last)");
    }
}
