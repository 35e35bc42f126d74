//! Buffers of transfers: a small one for each transfer, and a bounded number of large ones.

use crate::limits;
use crate::lock::Lock;

/// Size of the first buffer of a transfer, in bytes. A small file needs no larger one. The transfer
/// keeps this buffer if no large one is left.
pub(super) const SMALL: usize = limits::BUFFER;

/// Size of the buffer that a transfer gets after it has filled a small one, in bytes. With it, a
/// large file needs few system calls.
pub(super) const LARGE: usize = 512 * 1024;

/// Spare bytes in each buffer, for the end of a line that exceeds the wanted size.
const MARGIN: usize = 4 * 1024;

/// Maximum number of unused large buffers to keep for later transfers. A new one costs a page fault
/// for each 4 KiB.
const IDLE: usize = 4;

#[derive(Debug)]
pub(crate) struct Buffers {
    most: usize,
    state: Lock<BufferState>,
}

#[derive(Debug, Default)]
struct BufferState {
    lent: usize,
    idle: Vec<Vec<u8>>,
}

pub(super) struct Buffer<'a> {
    pool: &'a Buffers,
    bytes: Vec<u8>,
    size: usize,
    is_large: bool,
}

impl Buffers {
    /// Returns a pool of as many large buffers as fit into `bytes`.
    pub(crate) fn new(bytes: u64) -> Self {
        let most = usize::try_from(bytes / LARGE as u64).unwrap_or(usize::MAX);
        Self { most, state: Lock::default() }
    }

    pub(super) fn small(&self) -> Buffer<'_> {
        self.of_size(SMALL)
    }

    /// Returns a small buffer of `size` bytes, for data that must fit as a whole.
    pub(super) fn of_size(&self, size: usize) -> Buffer<'_> {
        Buffer { pool: self, bytes: vec![0; size], size, is_large: false }
    }

    fn lend(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        if state.lent >= self.most {
            return None;
        }
        if let Some(idle) = state.idle.pop() {
            state.lent += 1;
            return Some(idle);
        }
        // If the system lacks memory, the transfer gets no large buffer and is only slower.
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(LARGE).ok()?;
        state.lent += 1;
        drop(state);
        bytes.resize(LARGE, 0);
        Some(bytes)
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        state.lent -= 1;
        if state.idle.len() < IDLE {
            state.idle.push(bytes);
        }
    }
}

impl Buffer<'_> {
    /// Returns the whole buffer, to read into.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.bytes.resize(self.size, 0);
        &mut self.bytes
    }

    /// Returns the bytes in the buffer, so that the caller can append to them. The buffer should
    /// hold at most [`room`](Self::room) bytes.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the maximum number of bytes that should be in the buffer.
    pub(super) const fn room(&self) -> usize {
        self.size - MARGIN
    }

    /// Replaces a small buffer with a large one if the pool has one left. In that case, the content
    /// is lost.
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
    fn the_number_of_large_buffers_is_limited() {
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
            // Another transfer can have the returned buffer.
            if most > 0 {
                buffers.remove(0);
                buffers[3].grow();
                assert_eq!(large(&mut buffers), most);
            }
            drop(buffers);
            let state = pool.state.lock();
            assert_eq!((state.lent, state.idle.len()), (0, most));
        }
        let pool = Buffers::new(u64::MAX);
        let mut buffers: Vec<_> = (0..20).map(|_| pool.small()).collect();
        buffers.iter_mut().for_each(Buffer::grow);
        drop(buffers);
        assert_eq!(pool.state.lock().idle.len(), IDLE);
    }
}
