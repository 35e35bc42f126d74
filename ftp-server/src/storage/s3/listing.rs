//! Listings of directories, page by page.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::error::S3Error;
use super::inner::Inner;
use super::keys::Keys;
use super::pages::{Page, Pages};
use super::{directory_metadata, file_metadata, http};
use crate::storage::{Entry, StorageResult};

const PAGE: u32 = 1_000;

/// Number of objects whose metadata are requested at the same time.
const AT_ONCE: usize = 8;

/// The entries of a directory, with one page at a time in memory.
pub(super) struct Listing {
    store: Arc<Inner>,
    keys: Keys,
    pages: Pages,
    page: VecDeque<Entry>,
    /// The entries whose times are known.
    asked: VecDeque<Entry>,
    /// The objects whose names a directory on this page or a later one may have.
    names: HashSet<String>,
    /// Whether to request the metadata of each object, because the store's listing does not contain
    /// the times that clients have set.
    asks_times: bool,
}

impl Listing {
    /// Begins to list the objects below a prefix. Returns `None` if there are none.
    pub(super) fn begin(
        store: Arc<Inner>,
        keys: Keys,
        prefix: &str,
        asks_times: bool,
    ) -> Result<Option<Self>, S3Error> {
        let (pages, page) = (Pages::of_directory(prefix, PAGE), VecDeque::new());
        let (asked, names) = (VecDeque::new(), HashSet::new());
        let mut listing = Self { store, keys, pages, page, asked, names, asks_times };
        let is_there = listing.turn()?;
        Ok(is_there.then_some(listing))
    }

    /// Reads the next page with a key or a directory. Returns whether there is one.
    fn turn(&mut self) -> Result<bool, S3Error> {
        let Some(page) = self.pages.next(&self.store.client)? else { return Ok(false) };
        self.page = self.entries(&page);
        Ok(true)
    }

    fn entries(&mut self, page: &Page) -> VecDeque<Entry> {
        let directory = &*self.pages.prefix;
        let name_of = |key: &'_ str| -> Option<String> {
            if !self.keys.has_path(key) {
                self.store.tell_pathless(directory, key);
                return None;
            }
            key.strip_prefix(directory).map(str::to_owned)
        };
        let mut entries = VecDeque::new();
        // The object of the directory itself has no name.
        for object in page.keys.iter().filter(|object| object.key != directory) {
            let Some(name) = name_of(&object.key) else { continue };
            let metadata = file_metadata(&self.store, &object.key, object.size, object.modified);
            entries.push_back(Entry::new(&*name, metadata));
            self.names.insert(name);
        }
        for directory in &page.directories {
            let key = directory.strip_suffix('/').unwrap_or(directory);
            // If a directory has the same name as an object, the listing shows only the object.
            if let Some(name) = name_of(key)
                && !self.names.contains(&name)
            {
                entries.push_back(Entry::new(name, directory_metadata(&self.store, directory)));
            }
        }
        // Keys are in order: only names that begin with the name of the object come between it and
        // a directory of that name.
        let keys = page.keys.iter().map(|object| &object.key).chain(&page.directories);
        let last = keys.filter_map(|key| key.strip_prefix(directory)).max().unwrap_or_default();
        self.names.retain(|name| last.starts_with(&**name));
        entries
    }

    /// Returns these entries with their times, which it requests at the same time.
    fn ask(&self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, S3Error> {
        if !self.asks_times || entries.len() < 2 {
            let asked = entries.into_iter().map(|entry| self.asked(entry));
            return asked.filter_map(Result::transpose).collect();
        }
        let second = entries.split_off(entries.len() / 2);
        let (first, second) = http::both(|| self.ask(entries), || self.ask(second))?;
        Ok([first?, second?].concat())
    }

    /// Returns the entry of a file with the time from the object's metadata, if this listing
    /// requests metadata; otherwise returns the entry unchanged. Returns `None` if the object has
    /// been removed in the meantime.
    fn asked(&self, entry: Entry) -> Result<Option<Entry>, S3Error> {
        if !self.asks_times || entry.metadata.kind != crate::storage::EntryKind::File {
            return Ok(Some(entry));
        }
        let key = format!("{}{}", self.pages.prefix, String::from_utf8_lossy(&entry.name));
        let object = self.store.client.head(&key)?;
        let metadata = |object: super::objects::StoredObject| {
            file_metadata(&self.store, &key, object.size, object.time())
        };
        Ok(object.map(|object| Entry::new(&*entry.name, metadata(object))))
    }
}

impl Iterator for Listing {
    type Item = StorageResult<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.asked.pop_front() {
                return Some(Ok(entry));
            }
            if !self.page.is_empty() {
                let few = self.page.drain(..self.page.len().min(AT_ONCE)).collect();
                match self.ask(few) {
                    Ok(asked) => self.asked.extend(asked),
                    Err(error) => return Some(Err(error.into())),
                }
                continue;
            }
            match self.turn() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
