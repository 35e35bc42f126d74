//! Files in memory that are being written or read.

use std::io;
use std::sync::Arc;

use super::MemoryStorage;
use super::tree::{Node, Object};
use crate::deadline::unix_now;
use crate::storage::records::RecordedUpload;
use crate::storage::room::Content;
use crate::storage::{
    StorageErrorKind as Kind, StorageResult, StreamEnd, Upload, VirtualPath, WriteMode,
};

/// The content of a file as it was when it was opened.
pub(super) struct Opened(pub(super) Arc<Content>);

impl AsRef<[u8]> for Opened {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

/// A file that is being received.
pub(super) struct MemoryUpload {
    pub(super) storage: MemoryStorage,
    pub(super) path: VirtualPath,
    pub(super) mode: WriteMode,
    /// Whether the file existed when the upload began.
    pub(super) existed: bool,
    /// What the upload leaves if it is interrupted; `None` if that is nothing.
    pub(super) unfinished: Option<RecordedUpload<u64>>,
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
    fn commit(mut self: Box<Self>) -> StorageResult<()> {
        let published = self.publish();
        if published.is_err() {
            self.cut(StreamEnd::Failed);
        }
        published
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        self.cut(end);
    }
}

impl MemoryUpload {
    fn publish(&mut self) -> StorageResult<()> {
        let storage = self.storage.clone();
        let mut tree = storage.tree();
        let appends = self.mode == WriteMode::Append;
        match tree.object(&self.path) {
            Err(_) if appends && self.existed => return Err(Kind::NotFound.into()),
            Err(_) => {}
            Ok(Object { node: Node::Directory(_), .. }) => return Err(Kind::IsDirectory.into()),
            Ok(_) if self.mode == WriteMode::Create => return Err(Kind::Exists.into()),
            Ok(_) if appends && !self.existed => return Err(Kind::Busy.into()),
            Ok(_) => {}
        }
        if let Some(unfinished) = &self.unfinished {
            unfinished.check_loss(|| Ok(tree.version(&self.path)))?;
        }
        // After this, only an append can fail, which leaves no record.
        let charge = match tree.object(&self.path) {
            Ok(_) => None,
            Err(_) => Some(storage.room_for_object(&tree, &self.path)?),
        };
        let content = match &mut self.content {
            Some(content) => std::mem::replace(content, storage.no_content()),
            None => return Ok(()),
        };
        let version = tree.number();
        match tree.object_mut(&self.path) {
            Ok(Object { node: Node::File(old), modified, version: former, .. }) => {
                if appends {
                    add(&storage, old, content)?;
                } else {
                    *old = Arc::new(content);
                }
                (*modified, *former) = (unix_now(), version);
            }
            _ => {
                let file = Node::File(Arc::new(content));
                let charge = charge.ok_or(Kind::Io)?;
                MemoryStorage::make(&mut tree, &self.path, file, 0o644, charge)?;
            }
        }
        self.content = None;
        tree.records.changed(&self.path, u64::MAX);
        Ok(())
    }

    fn cut(&mut self, end: StreamEnd) {
        if let Some(unfinished) = &self.unfinished {
            unfinished.cut(&mut self.content, end);
        }
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        if let Some(unfinished) = self.unfinished.take() {
            self.storage.tree().records.end(unfinished, self.content.take());
        }
    }
}

/// Appends to a file. If the file is being read, replaces it with an extended copy.
fn add(storage: &MemoryStorage, old: &mut Arc<Content>, more: Content) -> StorageResult<()> {
    if Arc::get_mut(old).is_none() {
        let mut copy = storage.no_content();
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
