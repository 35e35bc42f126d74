//! Files in memory that are being written or read.

use std::io;
use std::sync::Arc;

use super::MemoryStorage;
use super::room::Content;
use super::tree::{Node, Object, UserPath, now};
use crate::storage::unfinished::Overtaken;
use crate::storage::{
    StorageError, StorageErrorKind as Kind, StreamEnd, Upload, VirtualPath, WriteMode,
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
    pub(super) unfinished: Option<UnfinishedUpload>,
    /// The received content; `None` once the upload has ended.
    pub(super) content: Option<Content>,
}

/// The record that an upload leaves if it is interrupted.
pub(super) struct UnfinishedUpload {
    pub(super) key: UserPath,
    /// Whether the received bytes are kept.
    pub(super) keeps: bool,
    /// The number of bytes of earlier uploads with which this one goes on.
    pub(super) former: usize,
    /// The version of the file to be replaced; `None` if there was none.
    pub(super) old: Option<u64>,
    pub(super) overtaken: Overtaken,
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
    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        let published = self.publish();
        if published.is_err() {
            self.drop_new_bytes();
        }
        published
    }

    fn abort(mut self: Box<Self>, end: StreamEnd) {
        match &self.unfinished {
            Some(unfinished) if unfinished.overtaken.leaves_nothing(end) => self.content = None,
            _ if end == StreamEnd::Cut => {}
            _ => self.drop_new_bytes(),
        }
    }
}

impl MemoryUpload {
    fn publish(&mut self) -> Result<(), StorageError> {
        let storage = self.storage.clone();
        let mut tree = storage.tree();
        let appends = self.mode == WriteMode::Append;
        let is_changed = match &self.unfinished {
            Some(UnfinishedUpload { old, .. }) => tree.version(&self.path) != *old,
            None => false,
        };
        match tree.object(&self.path) {
            Err(_) if appends && self.existed => return Err(Kind::NotFound.into()),
            Err(_) => {}
            Ok(Object { node: Node::Directory(_), .. }) => return Err(Kind::IsDirectory.into()),
            Ok(_) if self.mode == WriteMode::Create => return Err(Kind::Exists.into()),
            Ok(_) if appends && !self.existed => return Err(Kind::Busy.into()),
            // A file that was stored since must not be lost to an upload that began before it.
            Ok(_) if matches!(self.mode, WriteMode::Resume(_)) && is_changed => {
                return Err(Kind::Exists.into());
            }
            Ok(_) => {}
        }
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
                (*modified, *former) = (now(), version);
            }
            _ => {
                let file = Node::File(Arc::new(content));
                storage.make(&mut tree, &self.path, file, 0o644)?;
            }
        }
        self.content = None;
        tree.changed(&self.path);
        Ok(())
    }

    /// Drops all bytes but those of earlier uploads.
    fn drop_new_bytes(&mut self) {
        let former = self.unfinished.as_ref().map_or(0, |unfinished| unfinished.former);
        if let Some(content) = &mut self.content {
            content.truncate(former);
        }
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        let Some(unfinished) = self.unfinished.take() else { return };
        let UnfinishedUpload { key, keeps, old, overtaken, .. } = unfinished;
        let mut tree = self.storage.tree();
        tree.running.end(&overtaken);
        if let Some(mut content) = self.content.take()
            && !overtaken.get()
            && tree.version(&self.path) == old
        {
            if !keeps {
                content.truncate(0);
            }
            tree.keep(key, content, old);
        }
    }
}

/// Appends to a file. If the file is being read, replaces it with an extended copy.
fn add(storage: &MemoryStorage, old: &mut Arc<Content>, more: Content) -> Result<(), StorageError> {
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
