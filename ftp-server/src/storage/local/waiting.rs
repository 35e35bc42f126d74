//! An upload of somebody with a limit, before it is known what is left of it.

use std::io;
use std::time::{Duration, Instant};

use super::LocalStorage;
use super::target::Target;
use crate::storage::{StorageError, StorageErrorKind, StreamEnd, Upload, VirtualPath, WriteMode};

/// How long an upload waits for a count without which nobody knows whether it may begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one step of it waits, in which nobody looks after the client.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// An upload that begins once the bytes beneath the root are counted. Until then nothing of it is
/// anywhere.
pub(super) struct Waiting {
    storage: LocalStorage,
    path: VirtualPath,
    mode: WriteMode,
    user: Option<Vec<u8>>,
    since: Instant,
    begun: Option<Box<dyn Upload>>,
}

impl Waiting {
    pub(super) fn new(
        storage: &LocalStorage,
        path: &VirtualPath,
        mode: WriteMode,
        user: Option<&[u8]>,
    ) -> Self {
        let (storage, path, user) = (storage.clone(), path.clone(), user.map(<[u8]>::to_vec));
        Self { storage, path, mode, user, since: Instant::now(), begun: None }
    }

    /// Waits a moment, and begins if that was enough. What the path leads to is looked up anew.
    fn wait(&mut self) -> Result<(), StorageError> {
        if self.storage.knows_what_is_left()? {
            let target = Target::find(&self.storage.root, &self.path, self.mode)?;
            let begun = self.storage.begin_at(target, self.mode, self.user.as_deref())?;
            self.begun = Some(begun);
        } else if self.since.elapsed() >= PATIENCE {
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
