//! An upload of somebody with a limit, before it is known what is left of it.

use std::io;
use std::time::{Duration, Instant};

use crate::storage::{StorageError, StorageErrorKind, StreamEnd, Upload};

/// How long an upload waits for a count without which nobody knows whether it may begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one step of it waits, in which nobody looks after the client.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// The upload, if it could begin by now.
type Begun = Result<Option<Box<dyn Upload>>, StorageError>;

/// An upload that begins once the bytes beneath the root are counted. Until then nothing of it is
/// anywhere.
pub(super) struct Waiting {
    /// Waits for [`STEP`] at most, and begins if that was enough.
    begin: Box<dyn Fn() -> Begun + Send>,
    since: Instant,
    begun: Option<Box<dyn Upload>>,
}

impl Waiting {
    pub(super) fn new(begin: impl Fn() -> Begun + Send + 'static) -> Self {
        Self { begin: Box::new(begin), since: Instant::now(), begun: None }
    }

    fn wait(&mut self) -> Result<(), StorageError> {
        self.begun = (self.begin)()?;
        if self.begun.is_none() && self.since.elapsed() >= PATIENCE {
            return Err(StorageErrorKind::Busy.into());
        }
        Ok(())
    }

    /// The upload, waited for.
    fn begun(&mut self) -> Result<&mut Box<dyn Upload>, StorageError> {
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
    fn prepare(&mut self) -> Result<bool, StorageError> {
        if let Some(upload) = &mut self.begun {
            return upload.prepare();
        }
        self.wait()?;
        Ok(false)
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.begun()?;
        self.begun.ok_or(StorageErrorKind::Busy)?.commit()
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        if let Some(upload) = self.begun {
            upload.abort(end);
        }
    }
}
