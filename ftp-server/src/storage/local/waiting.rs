//! An upload under a quota that waits until the files below the root are counted.

use std::io;
use std::time::{Duration, Instant};

use crate::storage::{StorageErrorKind, StorageResult, StreamEnd, Upload};

/// Maximum time that an upload waits for the count.
const PATIENCE: Duration = Duration::from_secs(20);

/// Duration of one step of the wait. During a step, the session does not check whether its client
/// is still connected.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// The upload, or `None` if it cannot begin yet.
type Begun = StorageResult<Option<Box<dyn Upload>>>;

/// An upload that begins once the bytes below the root are counted. Until then it has no file.
pub(super) struct Waiting {
    /// A function that waits for [`STEP`] at most, and begins the upload if the count is then
    /// complete.
    begin: Box<dyn Fn() -> Begun + Send>,
    since: Instant,
    begun: Option<Box<dyn Upload>>,
}

impl Waiting {
    pub(super) fn new(begin: impl Fn() -> Begun + Send + 'static) -> Self {
        Self { begin: Box::new(begin), since: Instant::now(), begun: None }
    }

    fn wait(&mut self) -> StorageResult<()> {
        self.begun = (self.begin)()?;
        if self.begun.is_none() && self.since.elapsed() >= PATIENCE {
            return Err(StorageErrorKind::Busy.into());
        }
        Ok(())
    }

    /// Waits until the upload has begun, and returns it.
    fn begun(&mut self) -> StorageResult<&mut Box<dyn Upload>> {
        while self.begun.is_none() {
            self.wait()?;
        }
        self.begun.as_mut().ok_or_else(|| StorageErrorKind::Busy.into())
    }
}

impl io::Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.begun()?.flush()
    }
}

impl Upload for Waiting {
    fn prepare(&mut self) -> StorageResult<bool> {
        if let Some(upload) = &mut self.begun {
            return upload.prepare();
        }
        self.wait()?;
        Ok(false)
    }

    fn ready(&mut self) -> StorageResult<bool> {
        match &mut self.begun {
            Some(upload) => upload.ready(),
            None => self.prepare(),
        }
    }

    fn prepare_commit(&mut self) -> StorageResult<bool> {
        match &mut self.begun {
            Some(upload) => upload.prepare_commit(),
            None => self.prepare(),
        }
    }

    fn inode(&self) -> Option<u64> {
        self.begun.as_ref().and_then(|upload| upload.inode())
    }

    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        self.begun()?;
        self.begun.ok_or(StorageErrorKind::Busy)?.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        if let Some(upload) = self.begun {
            upload.abort(end);
        }
    }
}
