//! The words of a line and their positions.

/// The words of a line: runs of bytes other than SP and TAB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

/// One word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Word<'a> {
    pub(super) bytes: &'a [u8],
    /// The offset of the word's first byte in the line.
    pub(super) start: usize,
}

impl Word<'_> {
    /// Returns the offset after the word's last byte.
    pub(super) fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    pub(super) fn is_digits(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_digit)
    }
}

impl<'a> Words<'a> {
    pub(super) const fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    /// Returns the words of the same line, starting at offset `at`.
    pub(super) const fn from(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Returns the next word without taking it.
    pub(super) fn peek(mut self) -> Option<Word<'a>> {
        self.next()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let rest = self.line.get(self.at..)?;
        let start = self.at + rest.iter().position(|byte| !is_blank(byte))?;
        let rest = self.line.get(start..)?;
        let length = rest.iter().position(is_blank).unwrap_or(rest.len());
        self.at = start + length;
        Some(Word { bytes: rest.get(..length)?, start })
    }
}

/// Returns the leading ASCII digits and the rest.
pub(super) fn split_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.split_at(length)
}

/// Parses a number of at most `most` digits that fill all of `digits`.
pub(super) fn short(digits: &[u8], most: usize) -> Option<u16> {
    if digits.len() > most { None } else { crate::bytes::decimal(digits)?.try_into().ok() }
}
