//! Files in memory that are being written or read.

use std::io;
use std::sync::Arc;

use super::MemoryStorage;
use super::room::Content;
use super::tree::{Node, Object, UserPath, now};
use crate::storage::{
    Source, StorageError, StorageErrorKind as Kind, StreamEnd, Upload, VirtualPath, WriteMode,
};

/// A file as it was when it was opened.
pub(super) struct MemorySource {
    pub(super) content: Arc<Content>,
    pub(super) position: usize,
}

impl io::Read for MemorySource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.content.bytes.get(self.position..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.position += count;
        Ok(count)
    }
}

impl Source for MemorySource {
    fn size(&self) -> u64 {
        self.content.bytes.len() as u64
    }

    fn seek_to(&mut self, offset: u64) -> Result<(), StorageError> {
        if offset > self.size() {
            return Err(Kind::BadRestart.into());
        }
        self.position = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(())
    }
}

/// A file that is being received.
pub(super) struct MemoryUpload {
    pub(super) storage: MemoryStorage,
    pub(super) path: VirtualPath,
    pub(super) mode: WriteMode,
    /// Whether the file existed when the upload began.
    pub(super) existed: bool,
    /// The key under which the upload is kept if it is interrupted; `None` if it is not kept.
    pub(super) keep_as: Option<UserPath>,
    /// The received content; `None` once the upload has ended.
    pub(super) content: Option<Content>,
}

impl io::Write for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(content) = &mut self.content {
            content.add(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for MemoryUpload {
    fn replaces(&self) -> bool {
        self.existed
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        let Some(content) = self.content.take() else { return Ok(()) };
        let storage = self.storage.clone();
        let mut tree = storage.tree();
        let appends = self.mode == WriteMode::Append;
        match tree.object_mut(&self.path) {
            Err(_) if appends && self.existed => return Err(Kind::NotFound.into()),
            Err(_) => {
                let file = Node::File(Arc::new(content));
                storage.make(&mut tree, &self.path, file, 0o644)?;
            }
            Ok(Object { node: Node::Directory(_), .. }) => return Err(Kind::IsDirectory.into()),
            Ok(_) if self.mode == WriteMode::Create => return Err(Kind::Exists.into()),
            Ok(_) if appends && !self.existed => return Err(Kind::Busy.into()),
            // The upload resumed a file that did not exist at its beginning, so it must not replace
            // a file that was created since.
            Ok(_) if matches!(self.mode, WriteMode::From(1..)) && !self.existed => {
                return Err(Kind::Exists.into());
            }
            Ok(Object { node: Node::File(old), modified, .. }) => {
                if appends {
                    add(&storage, old, content)?;
                } else {
                    *old = Arc::new(content);
                }
                *modified = now();
            }
        }
        // The file is complete now, so a partial upload kept earlier is useless.
        if let Some(key) = &self.keep_as {
            tree.kept.remove(key);
        }
        Ok(())
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        if end != StreamEnd::Cut {
            self.content = None;
        }
        if let (StreamEnd::Abort, Some(key)) = (end, &self.keep_as) {
            self.storage.tree().kept.remove(key);
        }
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        // `SIZE` reports one byte less than was received, so a single byte is not worth keeping.
        let content = self.content.take().filter(|content| content.bytes.len() > 1);
        if let (Some(content), Some(key)) = (content, self.keep_as.take()) {
            let mut tree = self.storage.tree();
            if tree.object(&self.path).is_err() {
                tree.keep(key, content);
            }
        }
    }
}

/// Appends to a file. If the file is being read, replaces it with an extended copy.
fn add(storage: &MemoryStorage, old: &mut Arc<Content>, more: Content) -> Result<(), StorageError> {
    if Arc::get_mut(old).is_none() {
        let mut copy = Content { bytes: Vec::new(), charge: storage.charge(0)? };
        copy.add(&old.bytes)?;
        *old = Arc::new(copy);
    }
    if let Some(old) = Arc::get_mut(old) {
        old.bytes.extend_from_slice(&more.bytes);
        let mut charge = more.charge;
        old.charge.bytes += std::mem::take(&mut charge.bytes);
    }
    Ok(())
}
