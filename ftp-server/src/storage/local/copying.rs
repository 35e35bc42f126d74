//! Copies the beginning of an old file to the new file, for an upload that keeps this beginning.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::copy_file_range;
use rustix::io::{Errno, pread, retry_on_intr, write};

use super::output::Output;
use crate::pace::{Pace, for_a_tick};
use crate::storage::{StorageErrorKind, StorageResult};

/// Bytes to copy in the first step.
const COPY: u64 = 1024 * 1024;

/// Maximum bytes to copy in one step. File systems that share blocks copy any number of bytes at
/// once.
const COPY_MAX: u64 = 1024 * 1024 * 1024;

/// Size of the copy buffer for file systems that cannot copy by themselves, in bytes.
const COPY_BUFFER: usize = 32 * 1024;

/// The part of the old file that is being copied to the new one.
#[derive(Debug)]
pub(super) struct Copying {
    old: OwnedFd,
    at: u64,
    length: u64,
    pace: Pace,
    /// Whether the kernel has refused to copy between these files, or has no such call.
    is_by_hand: bool,
}

impl Copying {
    /// Prepares to copy the first `length` bytes of `old`.
    pub(super) fn new(old: OwnedFd, length: u64) -> Self {
        Self { old, at: 0, length, pace: Pace::new(COPY, COPY_MAX), is_by_hand: false }
    }

    /// Copies to `output` for a tick. Returns whether nothing is left to copy.
    pub(super) fn step(&mut self, output: &mut Output) -> StorageResult<bool> {
        for_a_tick(|| self.piece(output))
    }

    /// Copies the next bytes to `output`. Returns whether nothing is left to copy.
    fn piece(&mut self, output: &mut Output) -> StorageResult<bool> {
        let Self { old, at, length, pace, is_by_hand } = self;
        let left = *length - *at;
        let copied = pace.step(|most| {
            let most = left.min(most);
            output.spend(most, |new| copy(&*old, new, *at, most, is_by_hand))
        });
        match copied? {
            // The old file has become shorter.
            0 if left > 0 => return Err(StorageErrorKind::BadRestart.into()),
            copied => *at += copied,
        }
        Ok(at == length)
    }
}

/// Copies at most `length` bytes at offset `at` of `from` to the current offset of `to`. Returns
/// the number of bytes copied, which is 0 at the end of `from`. Sets `is_by_hand` if the kernel cannot
/// copy.
fn copy(
    from: impl AsFd,
    to: impl AsFd,
    at: u64,
    length: u64,
    is_by_hand: &mut bool,
) -> Result<u64, Errno> {
    if !*is_by_hand {
        let step = usize::try_from(length).unwrap_or(usize::MAX);
        let mut offset = at;
        match retry_on_intr(|| copy_file_range(&from, Some(&mut offset), &to, None, step)) {
            Ok(0) => {}
            Ok(_) => return Ok(offset - at),
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => {
                return Err(errno);
            }
            // The kernel cannot copy between these files, or cannot copy files at all.
            Err(_) => *is_by_hand = true,
        }
    }
    copy_by_hand(from, to, at, length)
}

/// Copies as [`copy`] does, but through a buffer, and at most [`COPY_BUFFER`] bytes.
fn copy_by_hand(from: impl AsFd, to: impl AsFd, at: u64, length: u64) -> Result<u64, Errno> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(COPY_BUFFER)];
    let got = retry_on_intr(|| pread(&from, &mut *buffer, at))?;
    let mut rest = buffer.get(..got).unwrap_or_default();
    while !rest.is_empty() {
        let written = retry_on_intr(|| write(&to, rest))?;
        if written == 0 {
            return Err(Errno::IO);
        }
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(u64::try_from(got).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;
    use crate::SyncPolicy;
    use crate::storage::local::usage::Usage;

    #[test]
    fn a_copy_by_hand_goes_on_for_a_tick_and_asks_the_kernel_once() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        std::fs::write(&old, vec![7; 3 * COPY_BUFFER]).unwrap();
        // The kernel refuses to copy to a file that was opened to append.
        let new = std::fs::OpenOptions::new().create(true).append(true).open(new).unwrap();
        let charge = Usage::of((0, 0)).charge(None, None);
        let mut output = Output::new(new.into(), 0, SyncPolicy::None, charge);
        let old = std::fs::File::open(old).unwrap();
        let mut copying = Copying::new(old.into(), 3 * COPY_BUFFER as u64);
        assert!(!copying.piece(&mut output).unwrap());
        assert!(copying.is_by_hand, "the next pieces would ask the kernel again");
        assert!(copying.step(&mut output).unwrap(), "the session would wait after each piece");
    }

    #[test]
    fn a_buffered_copy_copies_the_requested_range() {
        let content: Vec<u8> =
            (0..3 * COPY_BUFFER + 5).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut old = tempfile::tempfile().unwrap();
        old.write_all(&content).unwrap();
        for (start, length) in [(0, content.len()), (7, COPY_BUFFER + 1), (content.len(), 9)] {
            let mut new = tempfile::tempfile().unwrap();
            new.write_all(b"first").unwrap();
            let (mut at, end) = (start as u64, (start + length) as u64);
            loop {
                match copy_by_hand(&old, &new, at, end - at).unwrap() {
                    0 => break,
                    copied => at += copied,
                }
            }
            let mut copied = Vec::new();
            new.rewind().unwrap();
            new.read_to_end(&mut copied).unwrap();
            let wanted = &content[start..(start + length).min(content.len())];
            assert!(copied == [b"first", wanted].concat(), "from {start}, {length} bytes");
        }
    }
}
