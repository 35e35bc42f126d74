//! Data that ends after a number of bytes.

use std::io::{self, Write};

use crate::data::Outgoing;
use crate::storage::{StorageErrorKind, StorageResult, StreamEnd, Upload};

/// Outgoing data that is cut after its first bytes. It offers no file descriptor, so that all bytes
/// pass through `fill` and are counted.
pub(crate) struct CutOutgoing {
    pub(crate) inner: Box<dyn Outgoing>,
    pub(crate) left: u64,
}

impl Outgoing for CutOutgoing {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.inner.prepare()
    }

    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let start = out.len();
        let has_more = self.inner.fill(room, out)?;
        let filled = out.len() - start;
        let taken = filled.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out.truncate(start + taken);
        self.left -= taken as u64;
        Ok(has_more && self.left > 0)
    }
}

/// An upload that fails after `left` bytes, or at its end if it is shorter.
pub(crate) struct CutUpload {
    pub(crate) inner: Box<dyn Upload>,
    pub(crate) left: u64,
}

impl Write for CutUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 && !bytes.is_empty() {
            return Err(io::Error::other("cut off by a test script"));
        }
        let written = self.inner.write(bytes.get(..most).unwrap_or(bytes))?;
        self.left = self.left.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for CutUpload {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.inner.prepare()
    }

    fn ready(&mut self) -> StorageResult<bool> {
        self.inner.ready()
    }

    /// Fails without publishing the upload, even if its data ended before the cut.
    fn commit(self: Box<Self>) -> StorageResult<()> {
        self.inner.abort(StreamEnd::Cut);
        Err(StorageErrorKind::Io.into())
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        // The cut is the cause of the failure, not the storage.
        self.inner.abort(if end == StreamEnd::Failed { StreamEnd::Cut } else { end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data without end, in pieces of a few bytes.
    struct Endless(usize);

    impl Outgoing for Endless {
        fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
            out.resize(out.len() + self.0.min(room), b'x');
            Ok(true)
        }
    }

    #[test]
    fn data_is_cut_at_the_exact_byte_however_it_comes() {
        for piece in 1..=4 {
            for left in 0..=9 {
                let mut cut = CutOutgoing { inner: Box::new(Endless(piece)), left };
                let mut out = Vec::new();
                while cut.fill(4, &mut out).unwrap() {}
                assert_eq!(out.len() as u64, left, "pieces of {piece}");
            }
        }
    }
}
