//! Patterns of forbidden names: [`NamePattern`].

use std::fmt;

use ftp_proto::{ParseError, ParseErrorKind, Pattern};

/// A pattern for names of files and directories.
///
/// - `*` matches any number of bytes, and `?` any one byte.
/// - `[abc]` and `[a-z]` match one of these bytes; `[!abc]` and `[^abc]` match one byte that is not
///   in the list.
/// - Everything else matches itself.
///
/// The case of ASCII letters does not matter, because other programs that use the files, such as
/// web servers, often ignore case.
///
/// ```
/// use ftp_server::NamePattern;
///
/// let pattern = NamePattern::parse(b"*.php")?;
/// assert!(pattern.matches(b"index.PHP"));
/// assert!(!pattern.matches(b"index.php.txt"));
/// # Ok::<(), ftp_proto::ParseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamePattern {
    text: Vec<u8>,
    /// The text in lower case.
    pattern: Pattern,
}

impl NamePattern {
    /// Reads a pattern for one name, without a directory part.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` if the pattern is empty, and `UnexpectedByte` if it contains `/`.
    /// Returns `LineBreak` if it contains CR, LF or NUL, which a name in a command cannot contain.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("pattern of names", at, kind);
        if input.is_empty() {
            return Err(error(0, ParseErrorKind::UnexpectedEnd));
        }
        if let Some((at, byte)) =
            input.iter().enumerate().find(|(_, byte)| b"/\r\n\0".contains(byte))
        {
            let slash = *byte == b'/';
            let kind =
                if slash { ParseErrorKind::UnexpectedByte } else { ParseErrorKind::LineBreak };
            return Err(error(at, kind));
        }
        let pattern = Pattern::of(&input.to_ascii_lowercase());
        Ok(Self { text: input.to_vec(), pattern })
    }

    /// Returns whether the pattern matches `name`, which has no directory part.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.matches(&name.to_ascii_lowercase())
    }
}

/// Writes the original text, with U+FFFD in place of bytes that are not UTF-8.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

/// Returns whether any of `patterns` matches `name`.
pub(crate) fn is_denied(patterns: &[NamePattern], name: &[u8]) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let folded = name.to_ascii_lowercase();
    patterns.iter().any(|denied| denied.pattern.matches(&folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_patterns_ignore_ascii_case_fs_06() {
        for (pattern, yes, no) in [
            ("*.exe", &["a.exe", "A.EXE", ".exe", "a b.Exe"][..], &["a.exe.txt", "aexe"][..]),
            (".ht*", &[".htaccess", ".HTpasswd"], &["a.htaccess", "ht"]),
            ("Thumbs.db", &["Thumbs.db", "THUMBS.DB"], &["Thumbs.db1", "Thumbs_db", ""]),
            ("[A-C]?", &["ax", "CX"], &["d1", "a", "abc"]),
            ("core", &["core", "CORE"], &["core.1"]),
            ("\u{e9}*", &["\u{e9}a"], &["\u{c9}a"]),
            ("[", &["["], &["a"]),
        ] {
            let pattern = NamePattern::parse(pattern.as_bytes()).unwrap();
            for name in yes {
                assert!(pattern.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name.as_bytes()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn name_patterns_reject_slashes_line_breaks_and_empty_text() {
        use ParseErrorKind::{LineBreak, UnexpectedByte, UnexpectedEnd};
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("a/b", 1, UnexpectedByte),
            ("a\n", 1, LineBreak),
            ("\0", 0, LineBreak),
        ] {
            let want = ParseError::new("pattern of names", at, kind);
            assert_eq!(NamePattern::parse(text.as_bytes()), Err(want), "{text:?}");
        }
    }
}
