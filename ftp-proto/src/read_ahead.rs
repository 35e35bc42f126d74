//! Bytes that were pushed and not yet looked at: the bounded front of every decoder.

use crate::limits;

/// What a decoder keeps when it has nothing to do, at most, in bytes. An idle session holds next
/// to none.
const KEPT: usize = 1_024;

/// At most [`limits::READ_AHEAD`] bytes, taken at the end and looked at from the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadAhead {
    bytes: Vec<u8>,
    /// Those before were looked at.
    start: usize,
}

impl ReadAhead {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0 }
    }

    /// Takes as many of `bytes` as there is [`room`](Self::room) for, and returns how many.
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

    /// How many more bytes it would take now.
    pub(crate) const fn room(&self) -> usize {
        limits::READ_AHEAD.saturating_sub(self.bytes.len() - self.start)
    }

    /// Whether all was looked at.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// What was not looked at yet.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).expect("`start` is never beyond the end")
    }

    /// Passes over the first `count` bytes of [`waiting`](Self::waiting) and gives them.
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let end = (self.start + count).min(self.bytes.len());
        let start = std::mem::replace(&mut self.start, end);
        self.bytes.get(start..end).expect("`start` is never beyond the end")
    }

    /// Forgets all, and gives memory back.
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
