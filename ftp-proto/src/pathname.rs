//! Pathnames: octet strings without NUL, CR and LF (RFC 2640 §3.1), and their quoted form in
//! 257 replies (RFC 959 Appendix II).

use std::fmt;

use crate::{ParseError, ParseErrorKind};

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

/// Returns whether a byte would end or break a command line.
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
            let (is_directory, is_name) = Pathname::split(path.as_bytes());
            assert_eq!((is_directory, is_name), (directory.as_bytes(), name.as_bytes()), "{path}");
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
}
