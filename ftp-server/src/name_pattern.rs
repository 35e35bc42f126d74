//! Patterns of forbidden names: [`NamePattern`].

use std::fmt;

use ftp_proto::{ParseError, ParseErrorKind, Pattern};

/// A pattern for names of files and directories.
///
/// The syntax is that of [`Pattern`]: `*`, `?`, `[a-z]`, `[!a-z]` and `{a,b}`; a `\` before such a
/// character makes it match itself. The case of ASCII letters does not matter, because other programs that use the files, such as
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
    pattern: Pattern,
}

impl NamePattern {
    /// Reads a pattern for one name, without a directory part.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEnd` if the pattern is empty, and `UnexpectedByte` if it contains `/`.
    /// Returns `LineBreak` if it contains CR, LF or NUL, which a name in a command cannot contain.
    /// Returns the errors of [`Pattern::parse_name`].
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        let error = |at, kind| ParseError::new("pattern", at, kind);
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
        let pattern = Pattern::parse_name(input)?.ignoring_case();
        Ok(Self { text: input.to_vec(), pattern })
    }

    /// Returns whether the pattern matches `name`, which has no directory part.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.matches(name)
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
    patterns.iter().any(|denied| denied.matches(name))
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
            ("*.{exe,C[ou]m}", &["a.EXE", "a.com", "a.cUM"], &["a.bat"]),
            ("\\[[[:upper:]]", &["[a", "[A"], &["a", "[1"]),
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
    fn name_patterns_reject_slashes_line_breaks_and_invalid_text() {
        use ParseErrorKind::{LineBreak, UnexpectedByte, UnexpectedEnd};
        for (text, at, kind) in [
            ("", 0, UnexpectedEnd),
            ("a/b", 1, UnexpectedByte),
            ("a\n", 1, LineBreak),
            ("\0", 0, LineBreak),
            ("a[b", 1, UnexpectedEnd),
            ("{b}", 0, ParseErrorKind::Unsupported),
        ] {
            let want = ParseError::new("pattern", at, kind);
            assert_eq!(NamePattern::parse(text.as_bytes()), Err(want), "{text:?}");
        }
    }
}
