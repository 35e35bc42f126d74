//! The bytes of an append before they go to its file: in memory, or in a file without a name.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, OFlags, openat, unlinkat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::directory::{Directory, system};
use super::inherit::PRIVATE;
use super::name;
use crate::storage::{StorageErrorKind, StorageResult};

/// Maximum number of bytes in memory.
const MEMORY: usize = 16 * 1024;

/// Maximum number of bytes before the append goes on in its file.
const MOST: usize = 1024 * 1024;

/// Size of the buffer that empties the file without a name, in bytes.
const PIECE: usize = 64 * 1024;

/// The first bytes of an append.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// All bytes, while there is no file.
    memory: Vec<u8>,
    file: Option<OwnedFd>,
    length: usize,
    /// Whether the directory takes no file, or the file no more bytes.
    is_refused: bool,
}

impl Staged {
    /// Returns no bytes yet; in tests, there may be no room either.
    pub(super) fn new() -> Self {
        let staged = Self::default();
        #[cfg(test)]
        let staged = Self { is_refused: IN_PLACE.get(), ..staged };
        staged
    }

    pub(super) fn room(&self) -> usize {
        if self.is_refused { 0 } else { MOST.saturating_sub(self.length) }
    }

    /// Adds all of `bytes`, or returns `false`. The append is for the file `name` in `directory`.
    pub(super) fn add(&mut self, bytes: &[u8], directory: &Directory, name: &[u8]) -> bool {
        let added = match self.length.saturating_add(bytes.len()) {
            ..=MEMORY => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
            _ => self.add_to_file(bytes, directory, name),
        };
        self.is_refused = added.is_err();
        if added.is_ok() {
            self.length = self.length.saturating_add(bytes.len());
        }
        added.is_ok()
    }

    fn add_to_file(
        &mut self,
        bytes: &[u8],
        directory: &Directory,
        name: &[u8],
    ) -> Result<(), Errno> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = nameless(directory, name)?;
                write_at(&file, &self.memory, 0)?;
                self.memory = Vec::new();
                self.file.insert(file)
            }
        };
        write_at(file, bytes, self.length)
    }

    /// Gives all bytes to `put`, in pieces.
    pub(super) fn empty(
        self,
        mut put: impl FnMut(&[u8]) -> StorageResult<()>,
    ) -> StorageResult<()> {
        let Some(file) = &self.file else { return put(&self.memory) };
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < self.length {
            let most = (self.length - at).min(PIECE);
            let room = buffer.get_mut(..most).unwrap_or_default();
            let count = retry_on_intr(|| pread(file, &mut *room, to_u64(at))).map_err(system)?;
            if count == 0 {
                return Err(StorageErrorKind::Io.into());
            }
            put(room.get(..count).unwrap_or_default())?;
            at += count;
        }
        Ok(())
    }
}

/// Creates a file without a name in `directory`; `name` is the file that its bytes are for.
fn nameless(directory: &Directory, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let made = retry_on_intr(|| openat(directory, ".", flags | OFlags::TMPFILE, PRIVATE));
    made.or_else(|_| {
        // NFS and some FUSE file systems have only files with names.
        let hidden = name::temporary(name)?;
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = retry_on_intr(|| openat(directory, &*hidden, flags, PRIVATE))?;
        retry_on_intr(|| unlinkat(directory, &*hidden, AtFlags::empty()))?;
        Ok(file)
    })
}

fn write_at(file: &OwnedFd, mut bytes: &[u8], mut at: usize) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| pwrite(file, bytes, to_u64(at)))?;
        if count == 0 {
            return Err(Errno::IO);
        }
        bytes = bytes.get(count..).unwrap_or_default();
        at += count;
    }
    Ok(())
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
thread_local! {
    static IN_PLACE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Lets the append that `begin` begins write its first byte in place already.
#[cfg(test)]
pub(super) fn in_place<T>(begin: impl FnOnce() -> T) -> T {
    IN_PLACE.set(true);
    let begun = begin();
    IN_PLACE.set(false);
    begun
}
