//! The records of unfinished uploads in memory, by user and path.

use std::collections::BTreeMap;
use std::time::Instant;

use super::space::Content;
use super::unfinished::{Overtaken, RECORDED, REMEMBERED, RunningUploads, below};
use super::{
    Keep, StorageErrorKind as Kind, StorageResult, StreamEnd, Unfinished, VirtualPath, WriteMode,
};
use crate::limits;

/// The name of a user (empty for shared logins), and a path.
type UserPath = (Vec<u8>, Vec<u8>);
type UploadsByPath<V> = BTreeMap<UserPath, KeptUpload<V>>;

/// The unfinished uploads of a storage, and the kept bytes. Two different contents of a file have
/// two different versions `V`.
#[derive(Debug)]
pub(crate) struct MemoryRecords<V> {
    kept: UploadsByPath<V>,
    running: RunningUploads<Vec<u8>>,
    /// The number of the latest record or beginning of an upload.
    latest: u64,
    /// The old and the new names of directories whose renames have not been answered.
    moving: Vec<(VirtualPath, VirtualPath)>,
}

/// The record of an interrupted upload.
#[derive(Debug)]
struct KeptUpload<V> {
    content: Content,
    /// The version of the file that the upload was going to replace; `None` if there was none.
    old: Option<V>,
    /// Whether a file was stored at the path while the upload ran. Then no bytes are kept.
    is_void: bool,
    /// The number of the beginning of the first upload whose bytes are kept.
    begun: u64,
    number: u64,
    ended: Instant,
}

impl<V> KeptUpload<V> {
    /// Returns whether the record forbids to resume at the length of a file.
    const fn has_old(&self) -> bool {
        self.old.is_some() || self.is_void
    }
}

/// A running upload that leaves a record if it does not end with success.
#[derive(Debug)]
pub(crate) struct RecordedUpload<V> {
    user: Vec<u8>,
    /// Whether the received bytes are kept.
    pub(crate) keeps: bool,
    /// The number of bytes of earlier uploads with which this one goes on; `None` if it begins at
    /// byte 0.
    former: Option<usize>,
    /// The version of the file to be replaced; `None` if there was none.
    old: Option<V>,
    /// The number of its beginning, or of that of the earliest upload with which it goes on.
    begun: u64,
    overtaken: Overtaken,
}

impl<V> Default for MemoryRecords<V> {
    fn default() -> Self {
        Self {
            kept: BTreeMap::new(),
            running: RunningUploads::new(),
            latest: 0,
            moving: Vec::new(),
        }
    }
}

impl<V: PartialEq> MemoryRecords<V> {
    /// Begins an upload. `old` is the version of the file at `path`. Returns what the upload leaves
    /// if it is interrupted; `None` if that is nothing. If it resumes an earlier upload, `content`
    /// gets the bytes of that one.
    pub(crate) fn begin(
        &mut self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
        old: Option<V>,
        content: &mut Content,
    ) -> StorageResult<Option<RecordedUpload<V>>> {
        let user = keep.user();
        let key = user_path(user, path);
        let next = self.latest + 1;
        let (former, is_first, begun) = match mode {
            // To forget a record would let a client resume at the end of the old file.
            WriteMode::Create | WriteMode::Replace
                if old.is_some()
                    && !self.kept.contains_key(&key)
                    && self.count(&key.0, |_| true) >= limits::RECORDS =>
            {
                return Err(Kind::NoSpace.into());
            }
            // The bytes of an earlier upload cannot be resumed after this one.
            WriteMode::Create | WriteMode::Replace => {
                let is_over = |kept: KeptUpload<V>| kept.has_old() != old.is_some();
                (None, self.kept.remove(&key).is_none_or(is_over), next)
            }
            WriteMode::Resume(from) => {
                let found = self.unfinished(path, user, old.as_ref());
                if found.is_some_and(|found| found.is_running) {
                    return Err(Kind::Busy.into());
                }
                let kept = found.filter(|found| found.kept >= from);
                let kept = kept.and_then(|_| self.kept.remove(&key)).ok_or(Kind::BadRestart)?;
                *content = kept.content;
                content.truncate(usize::try_from(from).unwrap_or(usize::MAX));
                (Some(content.bytes.len()), false, kept.begun)
            }
            WriteMode::From(_) | WriteMode::Append => return Ok(None),
        };
        self.latest = next;
        let place = path.as_bytes().to_vec();
        let overtaken = self.running.begin(user, place, is_first, begun);
        let (user, _) = key;
        Ok(Some(RecordedUpload { user, keeps: keep.has_bytes(), former, old, begun, overtaken }))
    }

    /// Ends an upload. Leaves its record, unless it was overtaken or `content` is `None`.
    pub(crate) fn end(&mut self, upload: RecordedUpload<V>, content: Option<Content>) {
        let RecordedUpload { user, keeps, old, begun, overtaken, .. } = upload;
        let path = self.running.end(&overtaken);
        let content = content.filter(|_| !overtaken.leaves_nothing(StreamEnd::Cut));
        let (Some(path), Some(mut content)) = (path, content) else { return };
        let is_void = overtaken.changes() > 0;
        if !keeps || is_void {
            content.truncate(0);
        }
        self.latest += 1;
        let (number, ended) = (self.latest, Instant::now());
        let kept = KeptUpload { content, old, is_void, begun, number, ended };
        self.insert((user.clone(), path), kept);
        let has_bytes = |kept: &KeptUpload<V>| !kept.content.bytes.is_empty();
        if self.count(&user, has_bytes) > limits::PARTIAL_FILES {
            let oldest = self.oldest(|key, kept| key.0 == user && has_bytes(kept));
            self.drop_bytes(oldest);
        }
        // Where there is no file, there is nothing to mix with.
        if self.count(&user, |_| true) > limits::RECORDS
            && let Some(key) = self.oldest(|key, kept| key.0 == user && !kept.has_old())
        {
            self.kept.remove(&key);
        }
    }

    /// Returns the number of records of a user that are like this.
    fn count(&self, user: &[u8], is_one: impl Fn(&KeptUpload<V>) -> bool) -> usize {
        self.kept.iter().filter(|(key, kept)| key.0 == user && is_one(kept)).count()
    }

    fn drop_bytes(&mut self, key: Option<UserPath>) -> bool {
        let kept = key.and_then(|key| self.kept.get_mut(&key));
        kept.map(|kept| kept.content.truncate(0)).is_some()
    }

    /// Adds a record, unless there is one of an upload that began later: a rename is recorded only
    /// after it is visible, so that the user may have begun an upload to the new path before.
    fn insert(&mut self, key: UserPath, kept: KeptUpload<V>) {
        if self.kept.get(&key).is_none_or(|other| other.begun <= kept.begun) {
            self.kept.insert(key, kept);
        }
    }

    /// Returns a number for [`stored`](Self::stored) and the like: uploads that begin from now on have higher
    /// ones.
    pub(crate) const fn latest(&self) -> u64 {
        self.latest
    }

    /// Records that the object at `path` was removed or renamed: no unfinished upload to it that began
    /// with the number `latest` or earlier can be resumed. Later uploads may have begun when the
    /// change was visible, so that only the version of the file tells whether it concerns them.
    pub(crate) fn removed(&mut self, path: &VirtualPath, latest: u64) {
        self.end_at(path, latest);
        self.running.removed(&path.as_bytes().to_vec(), latest);
    }

    /// Records that a whole file was stored at `path`, or renamed to it, as [`removed`](Self::removed)
    /// does.
    pub(crate) fn stored(&mut self, path: &VirtualPath, latest: u64) {
        self.end_at(path, latest);
        self.extended(path, latest);
    }

    /// Records that the file at `path` was extended, or changed in part. Its records stay, because a
    /// client that resumes would still take its length for that of its own upload.
    pub(crate) fn extended(&self, path: &VirtualPath, latest: u64) {
        self.running.stored(&path.as_bytes().to_vec(), latest);
    }

    fn end_at(&mut self, path: &VirtualPath, latest: u64) {
        self.kept.retain(|key, kept| key.1 != path.as_bytes() || kept.begun > latest);
    }

    /// Begins a rename, and returns the number for [`renamed`](Self::renamed).
    pub(crate) fn begin_rename(&mut self, from: &VirtualPath, to: &VirtualPath) -> u64 {
        self.moving.push((from.clone(), to.clone()));
        self.latest
    }

    /// Ends a rename, whether it was made or not. Returns `false` if the records have moved already,
    /// because the old name was taken again.
    pub(crate) fn end_rename(&mut self, from: &VirtualPath, to: &VirtualPath) -> bool {
        let is_it = |it: &mut (VirtualPath, VirtualPath)| (&it.0, &it.1) == (from, to);
        self.moving.extract_if(.., is_it).next().is_some()
    }

    /// Records that a directory was made, or got this name, so that the uploads below it that began
    /// with the number `latest` or earlier went to another directory, which had its name before.
    /// They move if that one is being renamed, which its answer will tell.
    pub(crate) fn made_directory(&mut self, path: &VirtualPath, latest: u64) {
        let moving = self.moving.extract_if(.., |(from, _)| from == path).next();
        match moving {
            Some((from, to)) => self.renamed(&from, &to, latest),
            None => {
                self.removed_directory(path, latest);
                self.running.supersede_below(path.as_bytes(), latest);
            }
        }
    }

    /// Records that an object was renamed. The unfinished uploads below a directory move with it.
    /// `latest` is as for [`removed`](Self::removed).
    pub(crate) fn renamed(&mut self, from: &VirtualPath, to: &VirtualPath, latest: u64) {
        for ((user, path), kept) in self.take_below(from, latest) {
            let rest = below(&path, from.as_bytes()).unwrap_or_default();
            self.insert((user, [to.as_bytes(), rest].concat()), kept);
        }
        self.running.moved(from.as_bytes(), to.as_bytes(), latest);
        self.removed(from, latest);
        self.stored(to, latest);
    }

    /// Records that a directory was removed. `latest` is as for [`removed`](Self::removed).
    pub(crate) fn removed_directory(&mut self, path: &VirtualPath, latest: u64) {
        self.take_below(path, latest);
    }

    /// Takes the records below a directory. Those of later uploads than `latest` stay: they may be
    /// in a new directory with its name.
    fn take_below(&mut self, directory: &VirtualPath, latest: u64) -> UploadsByPath<V> {
        let is_below = |(_, path): &UserPath| below(path, directory.as_bytes()).is_some();
        let is_taken = |(key, kept): &(_, KeptUpload<V>)| kept.begun <= latest && is_below(key);
        let (taken, left) = std::mem::take(&mut self.kept).into_iter().partition(is_taken);
        self.kept = left;
        taken
    }

    /// Returns whether there may be a record of an upload to a path below this directory.
    pub(crate) fn may_have_below(&self, directory: &VirtualPath) -> bool {
        let is_below = |(_, path): &UserPath| below(path, directory.as_bytes()).is_some();
        self.is_running_below(directory) || self.kept.keys().any(is_below)
    }

    pub(crate) fn is_running_below(&self, directory: &VirtualPath) -> bool {
        self.running.has_below(directory.as_bytes())
    }

    /// Returns whether there may be a record of a user's upload to a path.
    pub(crate) fn may_have(&self, path: &VirtualPath, user: Option<&[u8]>) -> bool {
        let key = user_path(user, path);
        self.kept.contains_key(&key) || self.running.has(user, &key.1)
    }

    /// Returns a user's unfinished upload to a path; `None` if there is none. `now` is the version
    /// of the file at `path`. Drops the records of all users that have ended by their age.
    pub(crate) fn unfinished(
        &mut self,
        path: &VirtualPath,
        user: Option<&[u8]>,
        now: Option<&V>,
    ) -> Option<Unfinished> {
        let key = user_path(user, path);
        if self.running.has(user, &key.1) {
            return Some(Unfinished { is_running: true, ..Unfinished::default() });
        }
        self.kept.retain(|_, kept| kept.has_old() || kept.ended.elapsed() < RECORDED);
        for kept in self.kept.values_mut().filter(|kept| kept.ended.elapsed() >= REMEMBERED) {
            kept.content.truncate(0);
        }
        let kept = self.kept.get(&key)?;
        // The old file is gone, or a file has appeared where there was none.
        if kept.has_old() != now.is_some() {
            self.kept.remove(&key);
            return None;
        }
        let is_unchanged = kept.old.as_ref() == now;
        let length = if is_unchanged { kept.content.bytes.len() as u64 } else { 0 };
        Some(Unfinished { kept: length, number: kept.number, ..Unfinished::default() })
    }

    /// As [`unfinished`](Self::unfinished), and discards the record. The user's running uploads to
    /// `path` leave none any more, unless there is a file: to resume at its length is forbidden.
    pub(crate) fn forget(
        &mut self,
        path: &VirtualPath,
        user: Option<&[u8]>,
        now: Option<&V>,
    ) -> Option<Unfinished> {
        let found = self.unfinished(path, user, now);
        let key = user_path(user, path);
        if now.is_none() {
            self.running.forget(user, &key.1);
        }
        self.kept.remove(&key);
        found
    }

    fn oldest(&self, is_one: impl Fn(&UserPath, &KeptUpload<V>) -> bool) -> Option<UserPath> {
        let kept = self.kept.iter().filter(|(key, kept)| is_one(key, kept));
        kept.min_by_key(|(_, kept)| kept.ended).map(|(key, _)| key.clone())
    }

    /// Drops the oldest kept bytes. Their record stays, so that the client is told to send the file
    /// from the start. Returns `false` if fewer than `lacking` bytes are kept, or none.
    pub(crate) fn drop_oldest(&mut self, lacking: u64) -> bool {
        let kept: u64 = self.kept.values().map(|kept| kept.content.bytes.len() as u64).sum();
        if kept < lacking {
            return false;
        }
        let oldest = self.oldest(|_, kept| !kept.content.bytes.is_empty());
        self.drop_bytes(oldest)
    }
}

impl<V: PartialEq> RecordedUpload<V> {
    /// Returns the number of bytes of earlier uploads with which this one goes on.
    pub(crate) fn former(&self) -> usize {
        self.former.unwrap_or(0)
    }

    /// Returns whether [`check_loss`](Self::check_loss) has anything to check.
    pub(crate) const fn must_check_loss(&self) -> bool {
        self.former.is_some()
    }

    /// Returns `Exists` if an upload that resumes an earlier one would replace a file that was
    /// stored since. `now` returns the version of the file.
    pub(crate) fn check_loss(
        &self,
        now: impl FnOnce() -> StorageResult<Option<V>>,
    ) -> StorageResult<()> {
        if !self.must_check_loss() {
            return Ok(());
        }
        let before = self.overtaken.changes();
        let now = now()?;
        // What happened during the question may be later than the answer.
        let changes = self.overtaken.changes();
        match changes != before || now.is_some() && (changes > 0 || now != self.old) {
            true => Err(Kind::Exists.into()),
            false => Ok(()),
        }
    }

    /// Drops the bytes that an upload that ended like this does not leave.
    pub(crate) fn cut(&self, content: &mut Option<Content>, end: StreamEnd) {
        match content {
            _ if self.overtaken.leaves_nothing(end) => *content = None,
            Some(content) if end != StreamEnd::Cut => content.truncate(self.former()),
            _ => {}
        }
    }
}

fn user_path(user: Option<&[u8]>, path: &VirtualPath) -> UserPath {
    (user.unwrap_or_default().to_vec(), path.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::space::Room;

    const ANN: Keep<'static> = Keep::Bytes(b"ann");

    /// Records an interrupted upload to `path`.
    fn cut(records: &mut MemoryRecords<u8>, path: &VirtualPath) {
        let mut content = Content::empty(Room::new(9));
        content.add(b"half").unwrap();
        let upload = records.begin(path, WriteMode::Create, ANN, None, &mut content).unwrap();
        records.end(upload.unwrap(), Some(content));
    }

    #[test]
    fn a_directory_that_is_gone_takes_the_uploads_that_began_before() {
        let (directory, file) = (VirtualPath::from("/d"), VirtualPath::from("/d/f"));
        for (later, stays) in [(0, true), (1, false), (2, false)] {
            let mut records = MemoryRecords::default();
            let before = records.latest();
            cut(&mut records, &file);
            records.removed_directory(&directory, before + later);
            assert_eq!(records.may_have_below(&directory), stays, "{later}");
            assert_eq!(records.unfinished(&file, ANN.user(), None).is_some(), stays, "{later}");
        }
    }

    #[test]
    fn of_two_records_of_a_path_the_one_of_the_later_upload_stays() {
        let (old, new) = (VirtualPath::from("/d/f"), VirtualPath::from("/e/f"));
        for is_old_first in [true, false] {
            let mut records = MemoryRecords::default();
            if is_old_first {
                cut(&mut records, &old);
            }
            cut(&mut records, &new);
            let number = records.unfinished(&new, ANN.user(), None).unwrap().number;
            if !is_old_first {
                cut(&mut records, &old);
            }
            let latest = records.latest();
            records.renamed(&VirtualPath::from("/d"), &VirtualPath::from("/e"), latest);
            assert!(records.unfinished(&old, ANN.user(), None).is_none());
            let found = records.unfinished(&new, ANN.user(), None).unwrap().number;
            assert_eq!(found == number, is_old_first);
        }
    }
}
