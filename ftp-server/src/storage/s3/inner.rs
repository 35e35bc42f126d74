//! The state that the clones of a store share: connections, memory, leases and known directories.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::S3Error;
use super::http::{self, Client, IF_NEW};
use super::keys;
use super::pages::{Listed, Pages};
use super::record::Memory;
use super::remembered::{Look, NAMES, SeenDirectories, split};
use crate::lock::Lock;
use crate::net::random;
use crate::shares::Shares;
use crate::storage::{StorageError, StorageErrorKind as Kind, StorageResult};

/// Maximum number of log lines about directories with objects without a path.
const MOST_TOLD: usize = 64;

pub(super) struct Inner {
    pub(super) client: Client,
    /// The memory for parts.
    pub(super) pool: Arc<Shares>,
    pub(super) part_size: u64,
    /// Maximum size of a part, limited by the memory for uploads.
    pub(super) largest_part: u64,
    pub(super) lease: Duration,
    /// Maximum time that a session waits while its interrupted upload is saved or discarded.
    pub(super) patience: Duration,
    pub(super) checksums: bool,
    /// What this process knows of its changes of the bucket.
    pub(super) memory: Arc<Memory>,
    pub(super) seen: SeenDirectories,
    /// Directories with objects without a path, which were logged.
    pub(super) told: Lock<HashSet<String>>,
}

impl Inner {
    /// Returns an unpredictable name: 32 hexadecimal digits.
    pub(super) fn unique() -> Result<String, S3Error> {
        let number = || random::number().map_err(|errno| S3Error::Local(errno.into()));
        Ok(format!("{:016x}{:016x}", number()?, number()?))
    }

    /// Returns a number for `running.changed_until`. Call this before the request that changes an
    /// object. Uploads that begin later may see the change before the response comes: whether it
    /// concerns them, only the version of the object tells.
    pub(super) fn latest(&self) -> u64 {
        self.memory.latest.load(Ordering::SeqCst)
    }

    pub(super) fn each_key(
        &self,
        prefix: &str,
        mut each: impl FnMut(Listed) -> Result<(), S3Error>,
    ) -> Result<(), S3Error> {
        let mut pages = Pages::of_keys(prefix, 1_000);
        while let Some(page) = pages.next(&self.client)? {
            page.keys.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    }

    /// Returns whether a directory with this prefix exists, that is, whether any key begins with
    /// the prefix.
    pub(super) fn has_directory(&self, prefix: &str) -> Result<bool, S3Error> {
        if self.seen.has(prefix) {
            return Ok(true);
        }
        let found = self.has_keys(prefix)?;
        if found {
            self.seen.add(prefix);
        }
        Ok(found)
    }

    pub(super) fn has_keys(&self, prefix: &str) -> Result<bool, S3Error> {
        Ok(Pages::of_keys(prefix, 1).next(&self.client)?.is_some())
    }

    /// Takes a key for an upload. Returns whether a listing that began a moment ago has neither a file
    /// nor a directory of its name, nor the note of an unfinished upload. Another server may have
    /// stored a file since, so the caller must store the file on condition that it is new.
    ///
    /// The second upload to a directory lists it, if the store checks that condition.
    pub(super) fn takes_free_name(&self, key: &str, note_key: &str) -> Result<bool, S3Error> {
        let (prefix, name) = split(key);
        if !self.seen.has(prefix) {
            // The caller has looked for the directory, unless it is the root, which always exists.
            self.seen.add(prefix);
        }
        let when = match self.seen.take((prefix, name), note_key) {
            Look::List(when) if self.checks("PutObject", IF_NEW) => when,
            look => return Ok(look == Look::Free),
        };
        let mut names = Pages::of_directory(prefix, NAMES);
        let mut notes = Pages::of_keys(split(note_key).0, NAMES);
        let (listed, noted) = http::both(|| names.next(&self.client), || notes.next(&self.client))?;
        let (listed, noted) = (listed?.unwrap_or_default(), noted?.unwrap_or_default());
        if !names.is_over() || !notes.is_over() {
            return Ok(false);
        }
        let of_name = |key: &str| key.strip_prefix(prefix)?.split('/').next().map(str::to_owned);
        let all = listed.keys.iter().map(|file| &file.key).chain(&listed.directories);
        let mut all: HashSet<_> = all.filter_map(|key| of_name(key)).collect();
        all.extend(noted.keys.into_iter().map(|note| note.key));
        let is_free = !all.contains(name) && !all.contains(note_key);
        self.seen.learn(prefix, when, all);
        Ok(is_free)
    }

    /// Logs once that a directory holds an object without a path, unless it is one of the server's.
    pub(super) fn tell_pathless(&self, directory: &str, key: &str) {
        let mut told = self.told.lock();
        if !keys::is_hidden(key) && told.len() < MOST_TOLD && told.insert(directory.to_owned()) {
            log::warn!(
                "bucket {}: {directory:?} holds objects without a path, such as {key:?}; clients can \
                 neither see nor remove them",
                self.client.bucket
            );
        }
    }

    /// Returns `Busy` if an earlier change of this object may still replace or remove what another
    /// one stores now.
    pub(super) fn check_late(&self, key: &str) -> StorageResult<()> {
        if !self.client.late.has_pending(key, |operation, header| self.checks(operation, header)) {
            return Ok(());
        }
        let why = "the store may still make an earlier change of this object";
        Err(StorageError::caused_by(Kind::Busy, io::Error::other(why)))
    }
}
