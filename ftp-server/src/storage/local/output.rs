//! A file that is being written: the steps of its upload, and the copy of the beginning of an old
//! file, for an upload that keeps this beginning.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{copy_file_range, ftruncate};
use rustix::io::{Errno, Result, pread, retry_on_intr, write};

use super::backlog::Backlog;
use super::directory::system;
use super::policy::SyncPolicy;
use super::root;
use super::usage::{Cost, UploadCharge};
use crate::deadline::{Pace, for_a_tick};
use crate::storage::{StorageError, StorageErrorKind, StorageResult};

/// A write that blocks this long shows that the kernel throttles writeback; from then on the server
/// syncs the upload itself.
const BLOCKED: Duration = Duration::from_secs(1);

/// A sync slower than this is followed by a poll of the client.
pub(super) const SLOW: Duration = Duration::from_millis(100);

/// An open file, written from `position` on.
#[derive(Debug)]
pub(super) struct Output {
    file: OwnedFd,
    sync: SyncPolicy,
    position: u64,
    /// The bytes that are not on disk; `None` if the system decides when to write them.
    backlog: Option<Backlog>,
    /// The duration of a write from which bytes are synced even if the policy does not require it.
    blocked: Duration,
    /// Whether all data written so far is on disk, as far as the policy requires that.
    is_synced: bool,
    /// The length of the file, once all bytes so far are stored.
    settled: Option<u64>,
    charge: UploadCharge,
}

impl Output {
    /// Wraps a file to be written from `position`, which must already be the file's offset.
    pub(super) fn new(
        file: OwnedFd,
        position: u64,
        sync: SyncPolicy,
        charge: UploadCharge,
    ) -> Self {
        let backlog = (sync != SyncPolicy::None).then(Backlog::new);
        let blocked = BLOCKED;
        Self { file, sync, position, backlog, blocked, is_synced: false, settled: None, charge }
    }

    /// Writes some of `bytes`. If [`ready`](Self::ready) would return `false`, syncs first.
    pub(super) fn write(&mut self, bytes: &[u8]) -> StorageResult<usize> {
        #[cfg(test)]
        Phase::Data.comes_next();
        self.ready().map_err(system)?;
        let most = self.room(to_u64(bytes.len()));
        let bytes = bytes.get(..usize::try_from(most).unwrap_or(usize::MAX)).unwrap_or(bytes);
        let written = self.spend(most, |file| retry_on_intr(|| write(file, bytes)).map(to_u64))?;
        Ok(usize::try_from(written).unwrap_or(usize::MAX))
    }

    /// Writes bytes that are charged already.
    pub(super) fn write_charged(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        Phase::Data.comes_next();
        let written = retry_on_intr(|| write(&self.file, bytes))?;
        self.advance(to_u64(written));
        Ok(written)
    }

    /// Returns whether no more bytes may wait for the disk.
    fn is_full(&self) -> bool {
        self.backlog.as_ref().is_some_and(Backlog::is_full)
    }

    /// Returns how many of `wanted` bytes may be added at once.
    fn room(&mut self, wanted: u64) -> u64 {
        self.backlog.as_mut().map_or(wanted, |backlog| backlog.room(&self.file, wanted))
    }

    /// Syncs the bytes so far if no more may wait. Returns `false` if that took long.
    pub(super) fn ready(&mut self) -> Result<bool> {
        if !self.is_full() {
            return Ok(true);
        }
        let Some(backlog) = &mut self.backlog else { return Ok(true) };
        let took = backlog.sync(&self.file)?;
        self.is_synced = true;
        Ok(took < SLOW)
    }

    /// Lets `add` write at most `most` bytes, and charges the quota for the number that `add`
    /// returns.
    pub(super) fn spend(
        &mut self,
        most: u64,
        add: impl FnOnce(&OwnedFd) -> Result<u64>,
    ) -> std::result::Result<u64, StorageError> {
        self.charge.grow(Cost::bytes(most))?;
        let start = self.backlog.is_none().then(Instant::now);
        let added = add(&self.file);
        if start.is_some_and(|start| start.elapsed() >= self.blocked) {
            self.backlog = Some(Backlog::new());
        }
        let count = added.as_ref().map_or(0, |added| *added);
        self.charge.shrink(most.saturating_sub(count));
        self.advance(count);
        added.map_err(system)
    }

    pub(super) const fn charge(&mut self) -> &mut UploadCharge {
        &mut self.charge
    }

    /// Returns the current length of the file.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Begins at `position`, which must already be the file's offset.
    pub(super) const fn begin_at(&mut self, position: u64) {
        self.position = position;
    }

    /// Truncates the file to `length` bytes if it is longer.
    pub(super) fn cut_to(&mut self, length: u64) -> Result<()> {
        let gone = self.position.saturating_sub(length);
        if gone > 0 {
            retry_on_intr(|| ftruncate(&self.file, length))?;
            self.charge.shrink(gone);
            self.position = length;
            (self.is_synced, self.settled) = (false, None);
        }
        Ok(())
    }

    fn advance(&mut self, added: u64) {
        self.position = self.position.saturating_add(added);
        (self.is_synced, self.settled) = (false, None);
        if let Some(backlog) = &mut self.backlog {
            backlog.add(&self.file, added, self.position);
        }
    }

    /// Syncs the content to disk if the policy requires that. A failure is final, because the
    /// system may have dropped data that it could not write.
    pub(super) fn sync(&mut self) -> Result<()> {
        if self.sync != SyncPolicy::None
            && !self.is_synced
            && let Some(backlog) = &mut self.backlog
        {
            #[cfg(test)]
            Phase::Sync.comes_next();
            backlog.sync(&self.file)?;
        }
        self.is_synced = true;
        Ok(())
    }

    /// Syncs the content as [`sync`](Self::sync) does, and returns the file's length. Some file systems
    /// (FUSE, NFS, CIFS, and disk quotas) report only to close(2) that they could not store bytes, so
    /// a duplicate of the descriptor is closed. That can take long, so it is done once.
    ///
    /// # Errors
    ///
    /// Returns EIO if the file is shorter than the bytes written.
    pub(super) fn settle(&mut self) -> Result<u64> {
        if let Some(length) = self.settled {
            return Ok(length);
        }
        self.sync()?;
        // Without a free descriptor, only the length can be compared.
        if let Ok(duplicate) = self.file.try_clone() {
            nix::unistd::close(duplicate)
                .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        }
        let length = root::metadata_of(&self.file)?.size;
        if length < self.position {
            return Err(Errno::IO);
        }
        self.settled = Some(length);
        Ok(length)
    }

    pub(super) const fn policy(&self) -> SyncPolicy {
        self.sync
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A step of an upload, for a test that kills a server at each step.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Data,
    Sync,
    Name,
    /// The sync of the directory, if the policy requires it, and the reply.
    Published,
}

#[cfg(test)]
impl Phase {
    /// Reports that this step comes next.
    pub(super) fn comes_next(self) {
        if let Some(listener) = LISTENER.get() {
            listener(self);
        }
    }
}

/// Receiver of the steps, in a process that does nothing else.
#[cfg(test)]
pub(super) static LISTENER: std::sync::OnceLock<fn(Phase)> = std::sync::OnceLock::new();

/// Bytes to copy in the first step.
const COPY: u64 = 1024 * 1024;

/// Maximum bytes to copy in one step. File systems that share blocks copy any number of bytes at
/// once.
const COPY_MAX: u64 = 1024 * 1024 * 1024;

/// Size of the copy buffer for file systems that cannot copy by themselves, in bytes.
const COPY_BUFFER: usize = 32 * 1024;

/// The part of the old file that is being copied to the new one.
#[derive(Debug)]
pub(super) struct CopyingPart {
    old: OwnedFd,
    at: u64,
    length: u64,
    pace: Pace,
    /// Whether the kernel has refused to copy between these files, or has no such call.
    is_by_hand: bool,
}

impl CopyingPart {
    pub(super) fn new(old: OwnedFd, length: u64) -> Self {
        Self { old, at: 0, length, pace: Pace::new(COPY, COPY_MAX), is_by_hand: false }
    }

    /// Copies to `output` for a tick, or until no more may wait for the disk. Returns whether
    /// nothing is left to copy.
    pub(super) fn step(&mut self, output: &mut Output) -> StorageResult<bool> {
        if output.ready().map_err(system)? {
            for_a_tick(|| Ok::<_, StorageError>(self.piece(output)? || output.is_full()))?;
        }
        Ok(self.at == self.length)
    }

    /// Copies the next bytes to `output`. Returns whether nothing is left to copy.
    fn piece(&mut self, output: &mut Output) -> StorageResult<bool> {
        let Self { old, at, length, pace, is_by_hand } = self;
        let left = *length - *at;
        let copied = pace.step(|most| {
            let most = output.room(left.min(most));
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
) -> Result<u64> {
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
fn copy_by_hand(from: impl AsFd, to: impl AsFd, at: u64, length: u64) -> Result<u64> {
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
    use crate::storage::local::backlog::SPEED;
    use crate::storage::local::usage::Usage;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn the_session_looks_at_its_client_after_each_slow_sync_fs_12() {
        let charge = Usage::of((0, 0)).charge(None, None);
        let file = tempfile::tempfile().unwrap();
        let mut output = Output::new(file.into(), 0, SyncPolicy::File, charge);
        let (content, mut syncs) = (vec![7; MIB], 0);
        SPEED.set(Some(MIB as u64));
        let mut rest = 12 * MIB;
        while rest > 0 {
            if output.ready().unwrap() {
                rest -= output.write(&content[..MIB.min(rest)]).unwrap();
            } else {
                syncs += 1;
                assert!(output.ready().unwrap(), "nothing waits");
            }
        }
        SPEED.set(None);
        // Other uploads of this process may write to the same file system.
        assert!(syncs >= 4, "{syncs}");
    }

    #[test]
    fn without_syncs_only_a_write_that_blocks_begins_them_fs_12() {
        let charge = Usage::of((0, 0)).charge(None, None);
        let file = tempfile::tempfile().unwrap();
        let mut output = Output::new(file.into(), 0, SyncPolicy::None, charge);
        let content = vec![7; 16 * MIB];
        assert_eq!(output.write(&content).unwrap(), content.len());
        assert!(output.ready().unwrap() && output.backlog.is_none());
        output.blocked = Duration::ZERO;
        assert_eq!(output.write(&content).unwrap(), content.len());
        assert!(output.write(&content).unwrap() < content.len() && output.is_full());
        SPEED.set(Some(MIB as u64));
        assert!(output.write(&content).unwrap() <= MIB);
        SPEED.set(None);
    }

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
        let mut copying = CopyingPart::new(old.into(), 3 * COPY_BUFFER as u64);
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
