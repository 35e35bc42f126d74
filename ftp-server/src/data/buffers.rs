//! The buffers of transfers: a small one of each transfer's own, and large ones of which there are
//! only so many.

use std::sync::{Mutex, MutexGuard};

use crate::lock::unpoisoned;

/// What a transfer begins with, and makes do with where no large buffer is left, in bytes. A small
/// file should not cost a large buffer.
pub(super) const SMALL: usize = 16 * 1024;

/// What a transfer that fills a small buffer goes on with: a large file should not cost many calls.
pub(super) const LARGE: usize = 256 * 1024;

/// How much of a buffer is left for what goes beyond what was wanted, as a line of a listing does.
const MARGIN: usize = 4 * 1024;

/// How many large buffers are kept for the next transfers: a fresh one costs a page fault for each
/// 4 KiB of it.
const IDLE: usize = 8;

/// The large buffers of a server.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// How many there may be.
    most: usize,
    state: Mutex<BufferState>,
}

#[derive(Debug, Default)]
struct BufferState {
    lent: usize,
    idle: Vec<Vec<u8>>,
}

/// A buffer of one transfer.
pub(super) struct Buffer<'a> {
    pool: &'a Buffers,
    bytes: Vec<u8>,
    /// How large it is.
    size: usize,
    is_large: bool,
}

impl Buffers {
    /// As many as fit into so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let most = usize::try_from(bytes / LARGE as u64).unwrap_or(usize::MAX);
        Self { most, state: Mutex::default() }
    }

    /// A small buffer.
    pub(super) fn small(&self) -> Buffer<'_> {
        self.of_size(SMALL)
    }

    /// A small buffer of so many bytes, where what comes has to fit as a whole.
    pub(super) fn of_size(&self, size: usize) -> Buffer<'_> {
        Buffer { pool: self, bytes: vec![0; size], size, is_large: false }
    }

    fn lend(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        if state.lent >= self.most {
            return None;
        }
        if let Some(idle) = state.idle.pop() {
            state.lent += 1;
            return Some(idle);
        }
        // A system without memory is one on which transfers are slow, and nothing worse.
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(LARGE).ok()?;
        state.lent += 1;
        drop(state);
        bytes.resize(LARGE, 0);
        Some(bytes)
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.lent -= 1;
        if state.idle.len() < IDLE {
            state.idle.push(bytes);
        }
    }

    fn state(&self) -> MutexGuard<'_, BufferState> {
        unpoisoned(self.state.lock())
    }
}

impl Buffer<'_> {
    /// All of it, to be read into.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.bytes.resize(self.size, 0);
        &mut self.bytes
    }

    /// The bytes in it, to be added to by about [`room`](Self::room).
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes should be in it at most.
    pub(super) const fn room(&self) -> usize {
        self.size - MARGIN
    }

    /// Exchanges a small buffer, and what is in it, for a large one, if there is one.
    pub(super) fn grow(&mut self) {
        if !self.is_large
            && let Some(bytes) = self.pool.lend()
        {
            (self.bytes, self.size, self.is_large) = (bytes, LARGE, true);
        }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        if self.is_large {
            self.pool.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many_large_buffers() {
        for (bytes, most) in [(0, 0), (LARGE as u64 - 1, 0), (LARGE as u64 * 3, 3)] {
            let pool = Buffers::new(bytes);
            let mut buffers: Vec<_> = (0..5).map(|_| pool.small()).collect();
            for buffer in &mut buffers {
                buffer.grow();
                buffer.grow();
            }
            let large = |buffers: &mut Vec<Buffer<'_>>| {
                let sizes = buffers.iter_mut().map(|buffer| buffer.space().len());
                sizes.filter(|size| *size == LARGE).count()
            };
            assert_eq!(large(&mut buffers), most);
            // What was given back another can have.
            if most > 0 {
                buffers.remove(0);
                buffers[3].grow();
                assert_eq!(large(&mut buffers), most);
            }
            drop(buffers);
            let state = pool.state();
            assert_eq!((state.lent, state.idle.len()), (0, most));
        }
        let pool = Buffers::new(u64::MAX);
        let mut buffers: Vec<_> = (0..20).map(|_| pool.small()).collect();
        buffers.iter_mut().for_each(Buffer::grow);
        drop(buffers);
        assert_eq!(pool.state().idle.len(), IDLE);
    }
}
