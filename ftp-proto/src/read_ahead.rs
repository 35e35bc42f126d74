//! Bytes that were pushed but not yet processed: the bounded input of the decoders of lines,
//! replies and listings.

use crate::limits;

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

    /// Returns how many more bytes [`push`](Self::push) would take now.
    pub(crate) const fn room(&self) -> usize {
        limits::READ_AHEAD.saturating_sub(self.bytes.len() - self.start)
    }

    /// Returns whether everything is processed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Returns the unprocessed bytes.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).expect("`start` is never beyond the end")
    }

    /// Returns and consumes the first `count` bytes of [`waiting`](Self::waiting).
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
