//! Bytes of any encoding: pathnames (RFC 2640 §3.1) and their quoted form in 257 replies (RFC 959
//! Appendix II), text from a peer that is safe to print, the digits and separators that every
//! parser reads, and the bounded input of the decoders.

use std::fmt;

use crate::{ParseError, ParseErrorKind, limits};

/// A pathname on the wire: one or more bytes except NUL, CR and LF.
///
/// Nothing is normalised, case-folded or checked for UTF-8: two names are equal if their bytes are.
/// `Display` escapes control characters and bytes that are not UTF-8.
///
/// ```
/// use ftp_proto::Pathname;
///
/// let path = Pathname::new("pub/caf\u{e9}")?;
/// assert_eq!(path.as_bytes(), b"pub/caf\xc3\xa9");
/// assert!(Pathname::new("a\r\nDELE b").is_err());
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pathname(Box<[u8]>);

impl Pathname {
    /// Creates a pathname from `bytes`.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` for empty input, and `LineBreak` at the first CR, LF or NUL.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(ParseError::new("pathname", 0, ParseErrorKind::UnexpectedEnd));
        }
        match bytes.iter().position(|&byte| is_line_break(byte)) {
            Some(at) => Err(ParseError::new("pathname", at, ParseErrorKind::LineBreak)),
            None => Ok(Self(bytes.into())),
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Converts the pathname into its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// Splits the bytes of a path into the path of the parent directory and the name, which is empty
    /// for the root and for an empty path. Slashes at the end do not count.
    ///
    /// ```
    /// use ftp_proto::Pathname;
    ///
    /// assert_eq!(Pathname::split(b"pub/a.bin"), (&b"pub"[..], &b"a.bin"[..]));
    /// ```
    #[must_use]
    pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        let path = path.get(..end).unwrap_or_default();
        match path.iter().rposition(|byte| *byte == b'/') {
            None => (b"", path),
            Some(at) => {
                let (directory, name) = path.split_at_checked(at + 1).unwrap_or((path, b""));
                let above = directory.strip_suffix(b"/").filter(|above| !above.is_empty());
                (above.unwrap_or(directory), name)
            }
        }
    }

    /// Removes slashes at the end of the bytes of a path; the root stays `/`. Some servers treat a
    /// path with `/` at its end as another name.
    #[must_use]
    pub fn without_slash(path: &[u8]) -> &[u8] {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(1, |at| at + 1);
        path.get(..end.min(path.len())).unwrap_or_default()
    }

    /// Returns the bytes of the path of `name` in a directory, or of the directory itself if `name`
    /// is empty.
    #[must_use]
    pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
        match (directory, name) {
            (directory, []) => directory.to_vec(),
            ([] | [.., b'/'], name) => [directory, name].concat(),
            _ => [directory, b"/", name].concat(),
        }
    }

    /// Parses the pathname in the text of a 257 reply: the text in double quotes, with `""` for a
    /// quote (RFC 959 Appendix II).
    ///
    /// ```
    /// use ftp_proto::Pathname;
    ///
    /// let path = Pathname::parse_quoted(br#""/a ""b""" is the current directory"#)?;
    /// assert_eq!(path.as_bytes(), br#"/a "b""#);
    /// # Ok::<(), ftp_proto::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` if a quote is missing or nothing is between the quotes. Returns
    /// `UnexpectedByte` for a control byte, which could harm a terminal or split a later command.
    pub fn parse_quoted(text: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("quoted pathname", at, kind);
        let end = || error(text.len(), ParseErrorKind::UnexpectedEnd);
        let first = text.iter().position(|&byte| byte == b'"').ok_or_else(end)?;
        let mut path = Vec::new();
        let mut bytes = text.iter().enumerate().skip(first + 1).peekable();
        loop {
            let (at, &byte) = bytes.next().ok_or_else(end)?;
            if byte == b'"' {
                if bytes.next_if(|(_, next)| **next == b'"').is_none() {
                    break;
                }
            } else if byte.is_ascii_control() {
                return Err(error(at, ParseErrorKind::UnexpectedByte));
            }
            path.push(byte);
        }
        if path.is_empty() {
            return Err(error(first + 1, ParseErrorKind::UnexpectedEnd));
        }
        Ok(Self(path.into()))
    }

    /// Returns the pathname in quotes for a 257 reply, with each `"` in it doubled.
    #[must_use]
    pub fn quoted(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.as_bytes().len() + 2);
        out.push(b'"');
        for &byte in self.as_bytes() {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
        out
    }
}

pub(crate) const fn is_line_break(byte: u8) -> bool {
    matches!(byte, 0 | b'\r' | b'\n')
}

impl TryFrom<&str> for Pathname {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        Self::new(text)
    }
}

impl AsRef<[u8]> for Pathname {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Pathname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Escaped(self.as_bytes()), f)
    }
}

impl fmt::Debug for Pathname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(self.as_bytes()), f)
    }
}

/// Bytes from a peer, displayed safely: as one line of valid text without control characters.
///
/// Control characters, line separators, bidirectional controls and bytes that are not UTF-8 become
/// `\xNN` or `\u{NNNN}`. A backslash becomes `\\`, so received text cannot imitate an escape.
///
/// ```
/// use ftp_proto::Escaped;
///
/// assert_eq!(Escaped(b"a\x1b[2J\xff\xc3\xa9").to_string(), "a\\x1b[2J\\xff\u{e9}");
/// ```
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

/// Adds quotation marks.
impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for plain in chunk.valid().split_inclusive(is_escaped) {
                let mut chars = plain.chars();
                match chars.next_back().filter(|last| is_escaped(*last)) {
                    Some(last) => {
                        f.write_str(chars.as_str())?;
                        escape(last, f)?;
                    }
                    None => f.write_str(plain)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn escape(char: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match char {
        '\\' => f.write_str("\\\\"),
        '\0'..='\x7f' => write!(f, "\\x{:02x}", u32::from(char)),
        _ => write!(f, "\\u{{{:x}}}", u32::from(char)),
    }
}

/// Returns whether a character must be escaped: one that could control a terminal, or a backslash.
const fn is_escaped(char: char) -> bool {
    matches!(char,
        '\\'
        | '\0'..='\x1f'
        | '\x7f'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

/// Parses one or more ASCII digits that fill all of `digits`; `None` for anything else or a value
/// over `u64::MAX`.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let digit = |byte: &u8| Some(u64::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit <= 9);
    digits.iter().try_fold(0_u64, |value, next| value.checked_mul(10)?.checked_add(digit(next)?))
}

/// Parses one to seven octal digits that fill all of `digits`, enough for a file mode with its
/// type; `None` for anything else.
pub(crate) fn octal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 7 {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, &digit| {
        matches!(digit, b'0'..=b'7').then(|| value * 8 + u32::from(digit - b'0'))
    })
}

/// Parses one to three digits with a value of 0 to 255, as in a host-port.
pub(crate) fn octet(digits: &[u8]) -> Option<u8> {
    if digits.len() > 3 { None } else { decimal(digits)?.try_into().ok() }
}

pub(crate) fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut halves = bytes.splitn(2, |&byte| byte == separator);
    Some((halves.next()?, halves.next()?))
}

/// Returns the bytes before and after the first `separator`, or all of `bytes` and nothing if there
/// is none.
pub(crate) fn split_or_all(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    split_once(bytes, separator).unwrap_or((bytes, &[]))
}

/// The most memory that an idle decoder keeps for its input, in bytes.
const KEPT: usize = 1_024;

/// At most [`limits::READ_AHEAD`] bytes, appended at the end and processed from the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadAhead {
    bytes: Vec<u8>,
    /// Bytes before this index are processed.
    start: usize,
}

impl ReadAhead {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0 }
    }

    /// Takes as many of `bytes` as there is [`room`](Self::room) for, and returns how many it took.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.is_empty() {
            self.release();
        } else if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let taken = bytes.get(..self.room()).unwrap_or(bytes);
        self.bytes.extend_from_slice(taken);
        taken.len()
    }

    pub(crate) const fn room(&self) -> usize {
        limits::READ_AHEAD.saturating_sub(self.bytes.len() - self.start)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Returns the unprocessed bytes.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).expect("`start` is never beyond the end")
    }

    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let end = (self.start + count).min(self.bytes.len());
        let start = std::mem::replace(&mut self.start, end);
        self.bytes.get(start..end).expect("`start` is never beyond the end")
    }

    /// Discards everything and frees memory.
    pub(crate) fn release(&mut self) {
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(0);
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Checks that a decoder returns the same result however its input is split.
///
/// Runs `decode` on `input` as a whole, byte by byte, and split in two at each point, and expects
/// `want` each time. `decode` takes the pieces in order and returns the whole result.
#[cfg(test)]
pub(crate) fn any_chunking<T: fmt::Debug + PartialEq>(
    input: &[u8],
    decode: impl Fn(&[&[u8]]) -> T,
    want: &T,
) {
    assert_eq!(&decode(&[input]), want, "whole: {:?}", Escaped(input));
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(&decode(&bytes), want, "byte by byte: {:?}", Escaped(input));
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        let got = decode(&[head, tail]);
        assert_eq!(&got, want, "cut at {at}: {:?}", Escaped(input));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseErrorKind::{LineBreak, UnexpectedByte, UnexpectedEnd};

    #[test]
    fn new_keeps_every_byte_except_line_breaks_fr_17() {
        let bytes: Vec<u8> = (1..=255).filter(|&byte| !is_line_break(byte)).collect();
        assert_eq!(Pathname::new(bytes.clone()).unwrap().as_bytes(), bytes);
        assert_eq!(Pathname::new(" a ").unwrap().as_bytes(), b" a ");
    }

    #[test]
    fn new_refuses_line_breaks_cl_40() {
        for (text, at) in [("a\rb", 1), ("a\nb", 1), ("\0", 0), ("ab\r\nDELE x", 2)] {
            let want = ParseError::new("pathname", at, LineBreak);
            assert_eq!(Pathname::new(text), Err(want), "{text:?}");
        }
        assert_eq!(Pathname::new(""), Err(ParseError::new("pathname", 0, UnexpectedEnd)));
    }

    #[test]
    fn quoted_round_trips_hp_12() {
        for text in ["/", "/a\"b\"\"c", "\"", "\"\"", " a ", "/caf\u{e9}"] {
            let path = Pathname::new(text).unwrap();
            let mut reply = path.quoted();
            reply.extend_from_slice(b" created");
            assert_eq!(Pathname::parse_quoted(&reply), Ok(path), "{text}");
        }
    }

    #[test]
    fn parse_quoted_rejects_invalid_pathnames_cl_43() {
        for (text, at, kind) in [
            ("no quote", 8, UnexpectedEnd),
            ("\"/open", 6, UnexpectedEnd),
            ("\"/open\"\"", 8, UnexpectedEnd),
            ("\"\" empty", 1, UnexpectedEnd),
            ("\"/x\rSTOR evil\"", 3, UnexpectedByte),
            ("\"/x\u{7f}\"", 3, UnexpectedByte),
        ] {
            let want = ParseError::new("quoted pathname", at, kind);
            assert_eq!(Pathname::parse_quoted(text.as_bytes()), Err(want), "{text:?}");
        }
    }

    #[test]
    fn escaped_displays_no_control_characters() {
        for (bytes, want) in [
            (&b"plain"[..], "plain"),
            (b"\x1b]0;x\x07", "\\x1b]0;x\\x07"),
            (b"a\nb", "a\\x0ab"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{202e}\u{9b}".as_bytes(), "\\u{202e}\\u{9b}"),
            (b"\\x41", "\\\\x41"),
        ] {
            assert_eq!(Escaped(bytes).to_string(), want);
        }
    }

    #[test]
    fn pathnames_are_displayed_escaped_and_returned_as_bytes() {
        for text in ["a\u{1b}b", "a name that is too long to be kept in place\u{1b}"] {
            let path = Pathname::new(text).unwrap();
            let shown = text.replace('\u{1b}', "\\x1b");
            assert_eq!(path.to_string(), shown);
            assert_eq!(format!("{path:?}"), format!("\"{shown}\""));
            assert_eq!(path.into_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn paths_are_split_at_their_last_name() {
        for (path, directory, name) in [
            ("a", "", "a"),
            ("a/b", "a", "b"),
            ("a/b/c/", "a/b", "c"),
            ("/a", "/", "a"),
            ("/a/b", "/a", "b"),
            ("//a", "/", "a"),
            ("/", "", ""),
            ("", "", ""),
            ("a//b", "a/", "b"),
        ] {
            let want = (directory.as_bytes(), name.as_bytes());
            assert_eq!(Pathname::split(path.as_bytes()), want, "{path}");
        }
        for (directory, name, want) in [
            ("", "a", "a"),
            ("a", "b", "a/b"),
            ("/", "a", "/a"),
            ("a/", "b", "a/b"),
            ("a", "", "a"),
        ] {
            assert_eq!(Pathname::join(directory.as_bytes(), name.as_bytes()), want.as_bytes());
        }
    }

    #[test]
    fn decimal_accepts_only_digits_hs_22() {
        for (text, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("4294967296", Some(1 << 32)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("0x10", None),
            ("1e3", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), want, "{text:?}");
        }
        assert_eq!(decimal(&[b'9'; 400]), None);
    }

    #[test]
    fn octet_ends_at_255() {
        for (text, want) in [("255", Some(255)), ("256", None), ("0255", None), ("00", Some(0))] {
            assert_eq!(octet(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn split_once_finds_the_first_separator() {
        for length in 0..40 {
            for at in 0..=length {
                let mut bytes = vec![b':'; length];
                bytes[at..].fill(b';');
                let want = (at < length).then(|| (&bytes[..at], &bytes[at + 1..]));
                assert_eq!(split_once(&bytes, b';'), want, "{length} {at}");
                let all = want.unwrap_or((&bytes, &[]));
                assert_eq!(split_or_all(&bytes, b';'), all, "{length} {at}");
            }
        }
        assert_eq!(split_once(b"a=b=c", b'='), Some((&b"a"[..], &b"b=c"[..])));
    }
}
