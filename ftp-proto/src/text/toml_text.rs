//! Writes values and keys in TOML, and finds lines and columns in a text.

use std::fmt::Write;

/// Returns a TOML string.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a value without the quotes around it.
#[must_use]
pub fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// Returns a key, in quotes if it needs them.
#[must_use]
pub fn shown(key: &str) -> String {
    if is_bare(key) { key.to_owned() } else { quoted(key) }
}

/// Returns whether a key needs no quotes: it consists of letters, digits, - and _.
#[must_use]
pub fn is_bare(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !key.is_empty() && key.bytes().all(is_plain)
}

/// Start offsets of lines, to find the line of a byte offset.
#[derive(Debug)]
pub struct Lines<'a> {
    /// The text.
    pub text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines of a text.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    /// Returns the line of a byte, counted from 1.
    #[must_use]
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Returns the number of lines.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Returns the byte offset at which a line starts.
    #[must_use]
    pub fn start(&self, line: usize) -> usize {
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Returns the line and the column, each counted from 1. Columns count characters.
    #[must_use]
    pub fn position(&self, at: usize) -> (usize, usize) {
        (self.line(at), self.column(at))
    }

    /// Returns the column of a byte in its line, in characters, counted from 1.
    #[must_use]
    pub fn column(&self, at: usize) -> usize {
        let start = self.start(self.line(at));
        self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1
    }
}
