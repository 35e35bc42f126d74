//! Named objects in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::room::{Charge, Content};
use crate::limits;
use crate::storage::unfinished::{REMEMBERED, RunningUploads, below};
use crate::storage::{
    EntryKind, Metadata, StorageError, StorageErrorKind as Kind, Unfinished, VirtualPath,
};

/// The name of a user (empty for shared logins), and a path.
pub(super) type UserPath = (Vec<u8>, Vec<u8>);

pub(super) type Directory = BTreeMap<Vec<u8>, Object>;

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Object,
    /// The number of the next object.
    pub(super) next: u64,
    /// The records of uploads that were interrupted.
    pub(super) kept: BTreeMap<UserPath, KeptUpload>,
    /// The running uploads, by their paths.
    pub(super) running: RunningUploads<Vec<u8>>,
}

/// The record of an interrupted upload.
#[derive(Debug)]
pub(super) struct KeptUpload {
    pub(super) content: Content,
    /// The version of the file that the upload was going to replace; `None` if there was none.
    pub(super) old: Option<u64>,
    /// Number of this record.
    pub(super) number: u64,
    ended: Instant,
    when: i64,
}

#[derive(Debug)]
pub(super) struct Object {
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
    Directory(Directory),
}

impl Tree {
    pub(super) fn object(&self, path: &VirtualPath) -> Result<&Object, StorageError> {
        let mut object = &self.root;
        for name in components(path) {
            let Node::Directory(entries) = &object.node else { return Err(Kind::NotFound.into()) };
            object = entries.get(name).ok_or(Kind::NotFound)?;
        }
        Ok(object)
    }

    pub(super) fn object_mut(&mut self, path: &VirtualPath) -> Result<&mut Object, StorageError> {
        let mut object = &mut self.root;
        for name in components(path) {
            let Node::Directory(entries) = &mut object.node else {
                return Err(Kind::NotFound.into());
            };
            object = entries.get_mut(name).ok_or(Kind::NotFound)?;
        }
        Ok(object)
    }

    /// Returns the paths of all files.
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

    pub(super) fn directory(&self, path: &VirtualPath) -> Result<&Directory, StorageError> {
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
    ) -> Result<(&mut Directory, &'a [u8]), StorageError> {
        let name = path.name().ok_or(Kind::Denied)?;
        let parent = self.object_mut(&path.parent().unwrap_or_default())?;
        parent.modified = now();
        match &mut parent.node {
            Node::Directory(entries) => Ok((entries, name)),
            Node::File(_) => Err(Kind::NotFound.into()),
        }
    }

    pub(super) fn take(&mut self, path: &VirtualPath) -> Result<Object, StorageError> {
        let (entries, name) = self.parent(path)?;
        entries.remove(name).ok_or_else(|| Kind::NotFound.into())
    }

    pub(super) fn put(&mut self, path: &VirtualPath, object: Object) -> Result<(), StorageError> {
        let (entries, name) = self.parent(path)?;
        entries.insert(name.to_vec(), object);
        Ok(())
    }

    /// Returns a number that no object, version or record has yet.
    pub(super) fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Returns the version of the file at `path`; `None` if there is no object.
    pub(super) fn version(&self, path: &VirtualPath) -> Option<u64> {
        self.object(path).ok().map(|object| object.version)
    }

    /// Records that the object at `path` was stored, renamed or removed: no unfinished upload to it
    /// can be resumed.
    pub(super) fn changed(&mut self, path: &VirtualPath) {
        let path = path.as_bytes().to_vec();
        self.running.changed(&path);
        self.kept.retain(|key, _| key.1 != path);
    }

    /// Moves the unfinished uploads below `from` to the directory `to`; removes them if `to` is
    /// `None`.
    pub(super) fn move_kept(&mut self, from: &VirtualPath, to: Option<&VirtualPath>) {
        let from = from.as_bytes();
        let is_below = |key: &&UserPath| below(&key.1, from).is_some();
        let moved: Vec<UserPath> = self.kept.keys().filter(is_below).cloned().collect();
        for key in moved {
            let kept = self.kept.remove(&key);
            let (user, path) = key;
            if let (Some(kept), Some(to)) = (kept, to) {
                let rest = below(&path, from).unwrap_or_default();
                self.kept.insert((user, [to.as_bytes(), rest].concat()), kept);
            }
        }
        if let Some(to) = to {
            self.running.moved(from, to.as_bytes());
        }
    }

    /// Drops the oldest record of `user`, or the oldest one of all users if `user` is `None`.
    /// Returns `false` if there is none.
    pub(super) fn drop_oldest(&mut self, user: Option<&[u8]>) -> bool {
        let of_user = |key: &UserPath| user.is_none_or(|user| user == key.0);
        let kept = self.kept.iter().filter(|(key, _)| of_user(key));
        let oldest = kept.min_by_key(|(_, kept)| kept.ended).map(|(key, _)| key.clone());
        oldest.is_some_and(|key| self.kept.remove(&key).is_some())
    }

    /// Keeps the record of an interrupted upload. If its user then has too many, drops the user's
    /// oldest one.
    pub(super) fn keep(&mut self, key: UserPath, content: Content, old: Option<u64>) {
        let user = key.0.clone();
        let number = self.number();
        let (ended, when) = (Instant::now(), now());
        self.kept.insert(key, KeptUpload { content, old, number, ended, when });
        if self.kept.keys().filter(|key| key.0 == user).count() > limits::PARTIAL_FILES {
            self.drop_oldest(Some(&user));
        }
    }

    /// Returns a user's unfinished upload to a path; `None` if there is none. Drops the records of
    /// all users that are too old.
    pub(super) fn unfinished(
        &mut self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> Option<Unfinished> {
        if self.running.has(user, &path.as_bytes().to_vec()) {
            return Some(Unfinished { is_running: true, ..Unfinished::default() });
        }
        self.kept.retain(|_, kept| kept.ended.elapsed() < REMEMBERED);
        let version = self.version(path);
        let kept = self.kept.get(&user_path(user, path)).filter(|kept| kept.old == version)?;
        let (number, when) = (kept.number, kept.when);
        Some(Unfinished { kept: kept.content.bytes.len() as u64, number, when, is_running: false })
    }
}

pub(super) fn user_path(user: Option<&[u8]>, path: &VirtualPath) -> UserPath {
    (user.unwrap_or_default().to_vec(), path.as_bytes().to_vec())
}

impl Object {
    pub(super) fn metadata(&self) -> Metadata {
        let (kind, size, links) = match &self.node {
            Node::File(content) => (EntryKind::File, content.bytes.len() as u64, 1),
            Node::Directory(_) => (EntryKind::Directory, 0, 2),
        };
        let found = Metadata::new(kind).size(size).links(links).mode(self.mode);
        found.modified(self.modified).identity(0, self.number)
    }
}

fn components(path: &VirtualPath) -> impl Iterator<Item = &[u8]> {
    path.relative().split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}

/// Returns the current time in seconds since 1970-01-01T00:00:00Z.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
