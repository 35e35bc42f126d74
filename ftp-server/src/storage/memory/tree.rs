//! Named objects in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::room::{Charge, Content};
use crate::limits;
use crate::storage::{EntryKind, Metadata, StorageError, StorageErrorKind as Kind, VirtualPath};

/// Time for which a partial upload is kept for its user.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of a user, and a path.
pub(super) type UserPath = (Vec<u8>, Vec<u8>);

pub(super) type Directory = BTreeMap<Vec<u8>, Object>;

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Object,
    /// The number of the next object.
    pub(super) next: u64,
    /// Partial uploads, keyed by user and path, with the time of their interruption.
    pub(super) kept: BTreeMap<UserPath, (Content, Instant)>,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) node: Node,
    pub(super) modified: i64,
    pub(super) mode: u32,
    pub(super) number: u64,
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

    /// Moves the partial uploads below `from` to the directory `to`; removes them if `to` is
    /// `None`.
    pub(super) fn move_kept(&mut self, from: &VirtualPath, to: Option<&VirtualPath>) {
        let below = [from.as_bytes(), b"/"].concat();
        let is_below = |key: &&UserPath| key.1.starts_with(&below);
        let moved: Vec<UserPath> = self.kept.keys().filter(is_below).cloned().collect();
        for key in moved {
            let kept = self.kept.remove(&key);
            let (user, path) = key;
            if let (Some(kept), Some(to)) = (kept, to) {
                let rest = path.strip_prefix(from.as_bytes()).unwrap_or_default();
                self.kept.insert((user, [to.as_bytes(), rest].concat()), kept);
            }
        }
    }

    /// Drops the oldest partial upload of `user`, or the oldest one of all users if `user` is
    /// `None`. Returns `false` if there is no partial upload.
    pub(super) fn drop_oldest(&mut self, user: Option<&[u8]>) -> bool {
        let of_user = |key: &UserPath| user.is_none_or(|user| user == key.0);
        let kept = self.kept.iter().filter(|(key, _)| of_user(key));
        let oldest = kept.min_by_key(|(_, (_, since))| *since).map(|(key, _)| key.clone());
        oldest.is_some_and(|key| self.kept.remove(&key).is_some())
    }

    /// Keeps a partial upload. If its user then has too many, drops the user's oldest one.
    pub(super) fn keep(&mut self, key: UserPath, content: Content) {
        let user = key.0.clone();
        self.kept.insert(key, (content, Instant::now()));
        if self.kept.keys().filter(|key| key.0 == user).count() > limits::PARTIAL_FILES {
            self.drop_oldest(Some(&user));
        }
    }

    /// Returns the length of a user's partial upload to a path; `None` if there is none. Drops the
    /// partial uploads of all users that are older than [`KEPT`].
    pub(super) fn kept_size(&mut self, key: &UserPath) -> Option<u64> {
        self.kept.retain(|_, (_, since)| since.elapsed() < KEPT);
        self.kept.get(key).map(|(content, _)| content.bytes.len() as u64)
    }
}

impl Object {
    pub(super) fn metadata(&self) -> Metadata {
        let (kind, size, links) = match &self.node {
            Node::File(content) => (EntryKind::File, content.bytes.len() as u64, 1),
            Node::Directory(_) => (EntryKind::Directory, 0, 2),
        };
        let Self { modified, mode, number, .. } = *self;
        Metadata { kind, size, modified, mode, links, identity: (0, number), ids: None }
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
