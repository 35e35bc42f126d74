//! Finds lines and columns in a text.

/// Start offsets of lines, to find the line of a byte offset.
pub(crate) struct Lines<'a> {
    pub(super) text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    /// Returns the line of a byte, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    pub(super) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Returns the byte offset at which a line starts.
    pub(super) fn start(&self, line: usize) -> usize {
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Returns the line and the column, each counted from 1. Columns count characters.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        (self.line(at), self.column(at))
    }

    pub(super) fn column(&self, at: usize) -> usize {
        let start = self.start(self.line(at));
        self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1
    }
}
