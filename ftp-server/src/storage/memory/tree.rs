//! Named objects in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::deadline::unix_now;
use crate::storage::records::MemoryRecords;
use crate::storage::space::{Charge, Content};
use crate::storage::{EntryKind, Metadata, StorageErrorKind as Kind, StorageResult, VirtualPath};

pub(super) type MemoryDirectory = BTreeMap<Vec<u8>, MemoryObject>;

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: MemoryObject,
    pub(super) next: u64,
    /// The unfinished uploads, which know the files to be replaced by their versions.
    pub(super) records: MemoryRecords<u64>,
}

#[derive(Debug)]
pub(super) struct MemoryObject {
    pub(super) node: Node,
    pub(super) modified: i64,
    pub(super) mode: u32,
    pub(super) number: u64,
    /// A number that changes with the content.
    pub(super) version: u64,
    pub(super) _charge: Option<Charge>,
}

#[derive(Debug)]
pub(super) enum Node {
    File(Arc<Content>),
    Directory(MemoryDirectory),
}

impl Tree {
    pub(super) fn object(&self, path: &VirtualPath) -> StorageResult<&MemoryObject> {
        let mut object = &self.root;
        for name in components(path) {
            let Node::Directory(entries) = &object.node else { return Err(Kind::NotFound.into()) };
            object = entries.get(name).ok_or(Kind::NotFound)?;
        }
        Ok(object)
    }

    pub(super) fn object_mut(&mut self, path: &VirtualPath) -> StorageResult<&mut MemoryObject> {
        let mut object = &mut self.root;
        for name in components(path) {
            let Node::Directory(entries) = &mut object.node else {
                return Err(Kind::NotFound.into());
            };
            object = entries.get_mut(name).ok_or(Kind::NotFound)?;
        }
        Ok(object)
    }

    pub(super) fn files(&self) -> Vec<VirtualPath> {
        let mut files = Vec::new();
        let mut left = vec![(VirtualPath::root(), &self.root)];
        while let Some((path, object)) = left.pop() {
            match &object.node {
                Node::File(_) => files.push(path),
                Node::Directory(entries) => {
                    left.extend(entries.iter().map(|(name, entry)| (path.join(name), entry)));
                }
            }
        }
        files
    }

    pub(super) fn directory(&self, path: &VirtualPath) -> StorageResult<&MemoryDirectory> {
        match &self.object(path)?.node {
            Node::Directory(entries) => Ok(entries),
            Node::File(_) => Err(Kind::NotDirectory.into()),
        }
    }

    /// Returns the parent directory of `path`, and the name of the object in that directory. Sets
    /// the directory's modification time, because the caller changes the directory.
    fn parent<'a>(
        &mut self,
        path: &'a VirtualPath,
    ) -> StorageResult<(&mut MemoryDirectory, &'a [u8])> {
        let name = path.name().ok_or(Kind::Denied)?;
        let parent = self.object_mut(&path.parent().unwrap_or_default())?;
        parent.modified = unix_now();
        match &mut parent.node {
            Node::Directory(entries) => Ok((entries, name)),
            Node::File(_) => Err(Kind::NotFound.into()),
        }
    }

    pub(super) fn take(&mut self, path: &VirtualPath) -> StorageResult<MemoryObject> {
        let (entries, name) = self.parent(path)?;
        entries.remove(name).ok_or_else(|| Kind::NotFound.into())
    }

    pub(super) fn put(&mut self, path: &VirtualPath, object: MemoryObject) -> StorageResult<()> {
        let (entries, name) = self.parent(path)?;
        entries.insert(name.to_vec(), object);
        Ok(())
    }

    /// Returns a number that no object or version has yet.
    pub(super) fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Returns the version of the file at `path`; `None` if there is no object.
    pub(super) fn version(&self, path: &VirtualPath) -> Option<u64> {
        self.object(path).ok().map(|object| object.version)
    }
}

impl MemoryObject {
    pub(super) fn metadata(&self) -> Metadata {
        let (kind, size, links) = match &self.node {
            Node::File(content) => (EntryKind::File, content.bytes.len() as u64, 1),
            // As on a disk: `..` of each subdirectory is a link to the directory.
            Node::Directory(entries) => {
                let is_directory = |entry: &&Self| matches!(entry.node, Node::Directory(_));
                let below = entries.values().filter(is_directory).count() as u64;
                (EntryKind::Directory, 0, 2 + below)
            }
        };
        let found = Metadata::new(kind).size(size).links(links).mode(self.mode);
        found.modified(self.modified).identity(0, self.number)
    }
}

fn components(path: &VirtualPath) -> impl Iterator<Item = &[u8]> {
    path.relative().split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}
