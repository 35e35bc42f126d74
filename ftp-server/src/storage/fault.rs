//! A storage that fails on demand, for tests.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{
    Ask, Capabilities, Entries, Entry, Keep, Source, Storage, StorageError, StorageErrorKind,
    StorageResult, StreamEnd, Upload, VirtualPath, WriteMode,
};
use crate::forward_storage;

/// A method of a storage, or of an object that a storage returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StorageCall {
    /// [`Storage::stat`].
    Stat,
    /// [`Storage::list`].
    List,
    /// The next entry of a listing, or its end.
    NextEntry,
    /// [`Storage::read`].
    Read,
    /// Reading from a [`Source`]. If this call has a fault, [`Source::descriptor`] returns `None`,
    /// so that sessions cannot bypass the source.
    SourceRead,
    /// [`Source::ready`]. If this call has a fault, [`Source::descriptor`] returns `None`, so that
    /// sessions cannot bypass the source.
    SourceReady,
    /// [`Source::seek_to`].
    SourceSeek,
    /// [`Storage::write`].
    Write,
    /// [`Storage::unfinished`].
    Unfinished,
    /// [`Storage::forget`].
    Forget,
    /// [`Upload::prepare`].
    UploadPrepare,
    /// [`Upload::ready`].
    UploadReady,
    /// Writing to an [`Upload`].
    UploadWrite,
    /// Flushing an [`Upload`].
    UploadFlush,
    /// [`Upload::prepare_commit`].
    UploadPrepareCommit,
    /// [`Upload::commit`]. A fault acts before the call; if the fault makes the call fail, the
    /// wrapped upload is aborted.
    UploadCommit,
    /// [`Upload::abort`].
    UploadAbort,
    /// [`Storage::remove`].
    Remove,
    /// [`Storage::rmdir`].
    Rmdir,
    /// [`Storage::mkdir`].
    Mkdir,
    /// [`Storage::rename`].
    Rename,
    /// [`Storage::set`].
    Set,
    /// [`Storage::space`].
    Space,
}

const CALLS: usize = StorageCall::Space as usize + 1;

/// Effect of a fault on a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Makes the call fail with an error of this kind before the call does anything. An
    /// `UploadAbort` cannot fail, so it takes place.
    Fail(StorageErrorKind),
    /// Makes the call fail with EINTR before the call does anything. Sessions retry `SourceRead`,
    /// `UploadWrite` and `UploadFlush`. Other calls fail with `Io`, except `UploadAbort`, which
    /// takes place.
    Interrupt,
    /// Delays the call. A storage with such a fault counts as [remote](Capabilities::REMOTE).
    Delay(Duration),
    /// Limits a `SourceRead` or `UploadWrite` to N bytes. Has no effect on other calls.
    Short(usize),
    /// Makes `SourceReady`, `UploadPrepare`, `UploadReady` and `UploadPrepareCommit` return `false`
    /// without waiting. Has no effect on other calls. To wait like a real storage, add a
    /// [`Delay`](Fault::Delay) before this fault. A storage with such a fault does not claim
    /// [bounded waits](Capabilities::BOUNDED_WAITS).
    NotYet,
    /// Panics.
    Panic,
}

/// A storage that wraps another storage and adds faults to chosen calls. Without faults, it behaves
/// like the wrapped storage.
///
/// Each kind of call is counted from 1, over all sessions and clones together. Several faults of
/// one call act in the order in which they were added, until one makes the call fail.
///
/// ```
/// use std::io::Write;
///
/// use ftp_server::testing::{Fault, FaultStorage, StorageCall};
/// use ftp_server::{Keep, MemoryStorage, Storage, StorageErrorKind, VirtualPath, WriteMode};
///
/// // A disk that is full from the third write on.
/// let storage = FaultStorage::new(MemoryStorage::new()).from(
///     StorageCall::UploadWrite,
///     3,
///     Fault::Fail(StorageErrorKind::NoSpace),
/// );
/// let file = VirtualPath::root().join(b"file");
/// let mut upload = storage.write(&file, WriteMode::Create, Keep::Shared)?;
/// upload.write_all(b"one")?;
/// upload.write_all(b"two")?;
/// let full = upload.write_all(b"three").unwrap_err();
/// assert_eq!(ftp_server::StorageError::from(full).kind, StorageErrorKind::NoSpace);
/// assert_eq!(storage.count(StorageCall::UploadWrite), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FaultStorage {
    inner: Arc<dyn Storage>,
    plan: Plan,
}

#[derive(Clone, Debug, Default)]
struct Plan {
    rules: Vec<FaultRule>,
    counts: Arc<[AtomicU64; CALLS]>,
}

#[derive(Clone, Copy, Debug)]
struct FaultRule {
    call: StorageCall,
    /// Number of the first affected call.
    first: u64,
    /// Interval of the later affected calls (0: none).
    step: u64,
    fault: Fault,
}

ftp_proto::debug_fields!(FaultStorage { plan }..);

impl FaultStorage {
    /// Wraps `storage`, without faults.
    #[must_use]
    pub fn new(storage: impl Storage + 'static) -> Self {
        Self { inner: Arc::new(storage), plan: Plan::default() }
    }

    /// Adds a fault at the `nth` call of this kind, counted from 1.
    #[must_use]
    pub fn at(self, call: StorageCall, nth: u64, fault: Fault) -> Self {
        self.with(FaultRule { call, first: nth, step: 0, fault })
    }

    /// Adds a fault at the `nth` call of this kind and all later ones.
    #[must_use]
    pub fn from(self, call: StorageCall, nth: u64, fault: Fault) -> Self {
        self.with(FaultRule { call, first: nth, step: 1, fault })
    }

    /// Adds a fault at every `nth` call of this kind: with 2, at the second, the fourth and so on.
    #[must_use]
    pub fn every(self, call: StorageCall, nth: u64, fault: Fault) -> Self {
        self.with(FaultRule { call, first: nth, step: nth, fault })
    }

    fn with(mut self, rule: FaultRule) -> Self {
        self.plan.rules.push(rule);
        self
    }

    /// Returns the number of calls of this kind so far, to this storage and all its clones.
    #[must_use]
    pub fn count(&self, call: StorageCall) -> u64 {
        self.plan.count(call).map_or(0, |count| count.load(Ordering::SeqCst))
    }

    /// Counts a call that moves no bytes, and applies its faults. Returns the wrapped storage.
    fn called(&self, call: StorageCall) -> StorageResult<&dyn Storage> {
        self.plan.call(call, 0)?;
        Ok(&*self.inner)
    }
}

impl Plan {
    fn count(&self, call: StorageCall) -> Option<&AtomicU64> {
        self.counts.get(call as usize)
    }

    /// Counts a call and applies its faults. Returns how many of `wanted` bytes may move.
    fn call(&self, call: StorageCall, wanted: usize) -> io::Result<usize> {
        self.apply(call, wanted).map(|(most, _)| most)
    }

    /// Counts a call that can return `false`, and applies its faults. Returns whether the call is
    /// ready.
    fn is_ready(&self, call: StorageCall) -> io::Result<bool> {
        self.apply(call, 0).map(|(_, is_ready)| is_ready)
    }

    /// Counts a call and applies its faults. Returns how many of `wanted` bytes may move, and
    /// whether the call is ready.
    #[expect(clippy::panic, reason = "`Fault::Panic` requests a panic")]
    fn apply(&self, call: StorageCall, wanted: usize) -> io::Result<(usize, bool)> {
        let number = self.count(call).map_or(0, |count| count.fetch_add(1, Ordering::SeqCst) + 1);
        let mut most = wanted;
        let mut is_ready = true;
        for rule in self.rules.iter().filter(|rule| rule.call == call && rule.is_for(number)) {
            match rule.fault {
                Fault::Fail(kind) => return Err(StorageError::new(kind).into()),
                Fault::Interrupt => return Err(io::ErrorKind::Interrupted.into()),
                Fault::Delay(delay) => std::thread::sleep(delay),
                Fault::Short(bytes) => most = most.min(bytes),
                Fault::NotYet => is_ready = false,
                Fault::Panic => panic!("scripted panic at call {number} of {call:?}"),
            }
        }
        Ok((most, is_ready))
    }
}

impl FaultRule {
    const fn is_for(&self, number: u64) -> bool {
        match number.checked_sub(self.first) {
            Some(0) => true,
            Some(behind) => self.step > 0 && behind.is_multiple_of(self.step),
            None => false,
        }
    }
}

impl Storage for FaultStorage {
    fn capabilities(&self) -> Capabilities {
        let has = |is_it: fn(&Fault) -> bool| self.plan.rules.iter().any(|it| is_it(&it.fault));
        let is_remote = has(|fault| matches!(fault, Fault::Delay(_)));
        let is_unready = has(|fault| matches!(fault, Fault::NotYet));
        let lost = Capabilities::BOUNDED_WAITS.only_if(is_unready);
        self.inner.capabilities().without(lost) | Capabilities::REMOTE.only_if(is_remote)
    }

    forward_storage!(self, self.inner; confine, kept);
    forward_storage!(self, self.called(StorageCall::Stat)?; stat);
    forward_storage!(self, self.called(StorageCall::Unfinished)?; unfinished);
    forward_storage!(self, self.called(StorageCall::Forget)?; forget);
    forward_storage!(self, self.called(StorageCall::Remove)?; remove);
    forward_storage!(self, self.called(StorageCall::Rmdir)?; rmdir);
    forward_storage!(self, self.called(StorageCall::Mkdir)?; mkdir);
    forward_storage!(self, self.called(StorageCall::Rename)?; rename);
    forward_storage!(self, self.called(StorageCall::Set)?; set);
    forward_storage!(self, self.called(StorageCall::Space)?; space);

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        let inner = self.called(StorageCall::List)?.list(path, ask)?;
        Ok(Entries::new(Faulty { inner, plan: self.plan.clone() }))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        let inner = self.called(StorageCall::Read)?.read(path)?;
        Ok(Box::new(Faulty { inner, plan: self.plan.clone() }))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let inner = self.called(StorageCall::Write)?.write(path, mode, keep)?;
        Ok(Box::new(Faulty { inner, plan: self.plan.clone() }))
    }
}

struct Faulty<T> {
    inner: T,
    plan: Plan,
}

impl Iterator for Faulty<Entries> {
    type Item = StorageResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.plan.call(StorageCall::NextEntry, 0) {
            Ok(_) => self.inner.next(),
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl io::Read for Faulty<Box<dyn Source>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.plan.call(StorageCall::SourceRead, buffer.len())?;
        self.inner.read(buffer.get_mut(..most).unwrap_or_default())
    }
}

impl Source for Faulty<Box<dyn Source>> {
    forward_storage!(self, self.inner; size);

    fn seek_to(&mut self, offset: u64) -> StorageResult<()> {
        self.plan.call(StorageCall::SourceSeek, 0)?;
        self.inner.seek_to(offset)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        Ok(self.plan.is_ready(StorageCall::SourceReady)? && self.inner.ready()?)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let reads = [StorageCall::SourceRead, StorageCall::SourceReady];
        let is_read = |rule: &FaultRule| reads.contains(&rule.call);
        if self.plan.rules.iter().any(is_read) { None } else { self.inner.descriptor() }
    }
}

impl io::Write for Faulty<Box<dyn Upload>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.plan.call(StorageCall::UploadWrite, bytes.len())?;
        self.inner.write(bytes.get(..most).unwrap_or_default())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.plan.call(StorageCall::UploadFlush, 0)?;
        self.inner.flush()
    }
}

impl Upload for Faulty<Box<dyn Upload>> {
    fn prepare(&mut self) -> StorageResult<bool> {
        Ok(self.plan.is_ready(StorageCall::UploadPrepare)? && self.inner.prepare()?)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        Ok(self.plan.is_ready(StorageCall::UploadReady)? && self.inner.ready()?)
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        Ok(self.plan.is_ready(StorageCall::UploadPrepareCommit)? && self.inner.prepare_commit()?)
    }

    forward_storage!(self, self.inner; progress, published_size, hidden_file, target, descriptor);

    fn commit(self: Box<Self>) -> StorageResult<()> {
        if let Err(error) = self.plan.call(StorageCall::UploadCommit, 0) {
            self.inner.abort(StreamEnd::Failed);
            return Err(error.into());
        }
        self.inner.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        // An abort cannot report an error.
        let _ = self.plan.call(StorageCall::UploadAbort, 0);
        self.inner.abort(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_occur_at_the_configured_calls() {
        let rule = |first, step| FaultRule {
            call: StorageCall::Stat,
            first,
            step,
            fault: Fault::Interrupt,
        };
        for (first, step, want) in [
            (1, 0, &[1][..]),
            (3, 0, &[3]),
            (3, 1, &[3, 4, 5, 6, 7, 8]),
            (2, 2, &[2, 4, 6, 8]),
            (3, 3, &[3, 6]),
        ] {
            let due: Vec<u64> =
                (1..=8).filter(|number| rule(first, step).is_for(*number)).collect();
            assert_eq!(due, want, "{first} {step}");
        }
    }
}
