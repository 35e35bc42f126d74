//! A storage whose calls can wait for long, as a session uses it: each call is made in a thread of
//! its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Ask, Change, Entries, Entry, Keep, Metadata, RoomFor, Source, Space, Storage, StorageResult,
    Unfinished, Upload, VirtualPath, WriteMode,
};
use crate::log::EventKind;
use crate::service::{Away, LateObserver};
use crate::threads::ThreadJob;
use crate::{forward_storage, limits};

/// Maximum number of entries that a listing gets in one call.
const BATCH: usize = 1_000;

/// A storage of a session, with the calls that this session makes away from its own thread.
pub(crate) struct RemoteStorage {
    inner: Arc<dyn Storage>,
    away: Arc<Away>,
}

impl RemoteStorage {
    pub(crate) fn new(inner: Arc<dyn Storage>, away: Arc<Away>) -> Self {
        Self { inner, away }
    }

    /// Makes a call that changes nothing.
    fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Storage) -> StorageResult<T> + Send + 'static,
    ) -> StorageResult<T> {
        let inner = Arc::clone(&self.inner);
        self.away.ask(move || call(&*inner))
    }

    /// Makes a call that may change something. `late` has the event of the change.
    fn change<T: Send + 'static>(
        &self,
        late: impl FnOnce(LateObserver<'_>) + Send + 'static,
        call: impl FnOnce(&dyn Storage) -> StorageResult<T> + Send + 'static,
    ) -> StorageResult<T> {
        let inner = Arc::clone(&self.inner);
        self.away.change(Box::new(late), move || call(&*inner))
    }

    fn entries(&self, entries: Entries) -> Entries {
        Entries::remote(RemoteEntries {
            batch: VecDeque::new(),
            rest: Rest::Here(entries),
            away: Arc::clone(&self.away),
        })
    }
}

impl Storage for RemoteStorage {
    forward_storage!(self, self.inner; capabilities, confine);

    fn stat(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Metadata> {
        let path = path.clone();
        self.ask(move |inner| inner.stat(&path, ask))
    }

    fn list(&self, path: &VirtualPath, ask: Ask) -> StorageResult<Entries> {
        let path = path.clone();
        Ok(self.entries(self.ask(move |inner| inner.list(&path, ask))?))
    }

    fn read(&self, path: &VirtualPath) -> StorageResult<Box<dyn Source>> {
        let path = path.clone();
        self.ask(move |inner| inner.read(&path))
    }

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        let (path, user) = (path.clone(), keep.user().map(<[u8]>::to_vec));
        let has_bytes = keep.has_bytes();
        self.ask(move |inner| inner.write(&path, mode, Keep::new(user.as_deref(), has_bytes)))
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        let (path, user) = (path.clone(), user.map(<[u8]>::to_vec));
        self.ask(move |inner| inner.unfinished(&path, user.as_deref()))
    }

    fn kept(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Box<dyn Source>> {
        let (path, user) = (path.clone(), user.map(<[u8]>::to_vec));
        self.ask(move |inner| inner.kept(&path, user.as_deref()))
    }

    fn forget(&self, path: &VirtualPath, user: Option<&[u8]>) -> StorageResult<Option<Unfinished>> {
        let (path, user) = (path.clone(), user.map(<[u8]>::to_vec));
        self.change(|_| {}, move |inner| inner.forget(&path, user.as_deref()))
    }

    fn remove(&self, path: &VirtualPath) -> StorageResult<()> {
        let [path, at] = [path.clone(), path.clone()];
        let late = move |tell: LateObserver<'_>| tell(EventKind::Deleted { path: &at });
        self.change(late, move |inner| inner.remove(&path))
    }

    fn rmdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let [path, at] = [path.clone(), path.clone()];
        let late = move |tell: LateObserver<'_>| tell(EventKind::DirectoryRemoved { path: &at });
        self.change(late, move |inner| inner.rmdir(&path))
    }

    fn mkdir(&self, path: &VirtualPath) -> StorageResult<()> {
        let [path, at] = [path.clone(), path.clone()];
        let late = move |tell: LateObserver<'_>| tell(EventKind::DirectoryMade { path: &at });
        self.change(late, move |inner| inner.mkdir(&path))
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> StorageResult<()> {
        let [(from, to), (old, new)] = [(); 2].map(|()| (from.clone(), to.clone()));
        let late = move |tell: LateObserver<'_>| tell(EventKind::Renamed { from: &old, to: &new });
        self.change(late, move |inner| inner.rename(&from, &to, replace))
    }

    fn set(&self, path: &VirtualPath, change: Change) -> StorageResult<Metadata> {
        let [path, at] = [path.clone(), path.clone()];
        let (modified, mode) = match change {
            Change::Modified(time) => (Some(time), None),
            Change::Mode(mode) => (None, Some(mode)),
        };
        let late =
            move |tell: LateObserver<'_>| tell(EventKind::Changed { path: &at, modified, mode });
        self.change(late, move |inner| inner.set(&path, change))
    }

    fn space(&self, path: &VirtualPath, room: RoomFor) -> StorageResult<Space> {
        let path = path.clone();
        self.ask(move |inner| inner.space(&path, room))
    }
}

/// Entries that a thread gets from the storage, many at a time.
pub(super) struct RemoteEntries {
    batch: VecDeque<StorageResult<Entry>>,
    rest: Rest,
    away: Arc<Away>,
}

type Batch = (VecDeque<StorageResult<Entry>>, Option<Entries>);

enum Rest {
    Here(Entries),
    /// A thread is getting the next batch.
    Away(ThreadJob<Batch>),
    End,
}

impl RemoteEntries {
    pub(super) fn is_ready(&mut self, limit: Duration) -> bool {
        loop {
            if !self.batch.is_empty() {
                return true;
            }
            self.rest = match std::mem::replace(&mut self.rest, Rest::End) {
                Rest::End => return true,
                Rest::Here(entries) => match ThreadJob::begin(move || next_batch(entries)) {
                    Ok(job) => Rest::Away(job),
                    Err(error) => {
                        self.batch.push_back(Err(error.into()));
                        Rest::End
                    }
                },
                Rest::Away(job) => match job.wait(limit) {
                    None => {
                        self.rest = Rest::Away(job);
                        return false;
                    }
                    Some(Ok((batch, rest))) => {
                        self.batch = batch;
                        rest.map_or(Rest::End, Rest::Here)
                    }
                    Some(Err(error)) => {
                        self.batch.push_back(Err(error.into()));
                        Rest::End
                    }
                },
            };
        }
    }
}

impl Drop for RemoteEntries {
    fn drop(&mut self) {
        if let Rest::Away(job) = std::mem::replace(&mut self.rest, Rest::End) {
            self.away.give_up(job.give_up());
        }
    }
}

fn next_batch(mut entries: Entries) -> Batch {
    let start = Instant::now();
    let mut batch = VecDeque::new();
    // Slow entries are passed on as they come.
    while batch.is_empty() || batch.len() < BATCH && start.elapsed() < limits::TICK {
        let Some(item) = entries.next() else { return (batch, None) };
        let is_last = item.is_err();
        batch.push_back(item);
        if is_last {
            return (batch, None);
        }
    }
    (batch, Some(entries))
}

impl Iterator for RemoteEntries {
    type Item = StorageResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let away = Arc::clone(&self.away);
        if let Err(error) = away.wait_for(false, &mut |limit| self.is_ready(limit)) {
            return Some(Err(error));
        }
        self.batch.pop_front()
    }
}
