//! A partial local file and the bytes that a download adds to it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use ftp_proto::{BlockFault, DeflateFault};

use super::record::Record;
use crate::error::Error;

/// The number of bytes to compare at a time.
const BLOCK: usize = 256 * 1_024;

/// The number of received bytes after which they are written to disk and recorded.
const FLUSH: u64 = 64 << 20;

/// A local file that a download extends, or overwrites once the first byte arrives. The bytes
/// before the offset stay.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    /// The position of the download's first byte; `None` once that byte has arrived. Until then,
    /// the old bytes from this position on stay.
    start: Option<u64>,
    /// The same position, kept after the first byte has arrived.
    offset: u64,
    /// The path and the record of a file that a later run may resume.
    record: Option<(PathBuf, Option<Record>)>,
    /// The number of bytes since the last flush.
    unflushed: u64,
}

/// The state of a partial file after its download failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Salvage {
    /// It holds the beginning of the file, which a later download can resume.
    Kept,
    /// It holds only the bytes from before this download. The server accepted `REST` but sent the
    /// file from byte 0, so download the file from byte 0.
    SentFromStart,
    /// Some of its bytes may be wrong, because the server confirmed a file of a different length.
    /// Or the server sent corrupt data, and the received bytes were removed.
    Wrong,
}

impl PartialFile {
    /// Wraps `file`, which must be open for appending. Its first `offset` bytes are kept.
    ///
    /// If the file is not also open for reading, [`salvage`](Self::salvage) cannot compare bytes,
    /// and removes those that arrived after the offset.
    #[must_use]
    pub const fn new(file: File, offset: u64) -> Self {
        Self { file, start: Some(offset), offset, record: None, unflushed: 0 }
    }

    /// Sets the record of the file at `path`. It is stored when the first byte arrives, and after
    /// each [`FLUSH`] bytes. Without a record, a stored one is removed.
    pub(super) fn recorded(self, path: PathBuf, record: Option<Record>) -> Self {
        Self { record: Some((path, record)), ..self }
    }

    /// Returns the record of the file.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref().and_then(|(_, record)| record.as_ref())
    }

    /// Prepares the file for another download, which keeps the first `offset` bytes.
    pub(super) fn again(&mut self, offset: u64) {
        self.start = Some(offset);
        self.offset = offset;
    }

    /// Writes the received bytes to disk and records them, so that a later run can resume them.
    /// Errors only mean that it resumes fewer bytes.
    pub(super) fn settle(&mut self) {
        if self.start.is_some() {
            return;
        }
        self.unflushed = 0;
        if let Some((path, Some(record))) = &self.record
            && self.file.sync_data().is_ok()
            && let Ok(metadata) = self.file.metadata()
        {
            record.keep(&self.file, path, metadata.len());
        }
    }

    /// Keeps only the first `length` bytes, which the download has received itself.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.again(0);
        self.start = None;
        self.store_record(0);
        Ok(())
    }

    /// Stores the record; the first `flushed` bytes of the file are on disk.
    pub(super) fn store_record(&self, flushed: u64) {
        match &self.record {
            Some((path, Some(record))) => record.keep(&self.file, path, flushed),
            Some((path, None)) => Record::remove(&self.file, path),
            None => {}
        }
    }

    /// Returns the number of earlier bytes that the download keeps.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Treats the next byte as the first byte of the file. Call this method before any byte is
    /// written.
    pub const fn start_over(&mut self) {
        self.start = Some(0);
        self.offset = 0;
    }

    /// Returns the file in its current state.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Returns the file for writing. The first call truncates it to the position of the download's
    /// first byte.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the file cannot be truncated.
    pub fn begun(&mut self) -> io::Result<&mut File> {
        if let Some(start) = self.start {
            self.file.set_len(start)?;
            let is_flushed = start > 0 && self.record.is_some() && self.file.sync_data().is_ok();
            self.store_record(if is_flushed { start } else { 0 });
            self.start = None;
        }
        Ok(&mut self.file)
    }

    /// Removes the received bytes if there are earlier ones to keep; otherwise does nothing.
    pub(super) fn restore(&self) {
        if self.start.is_none() && self.offset > 0 {
            // If truncating fails, the next attempt truncates the file or finds it too long.
            let _ = self.file.set_len(self.offset);
        }
    }

    /// Removes the received bytes if they may repeat the beginning of the file: some servers accept
    /// `REST` and send the whole file.
    fn restore_repeated(&self) {
        if self.is_repeated().unwrap_or(true) {
            self.restore();
        }
    }

    /// Removes all received bytes.
    fn reject(&self) -> Salvage {
        if self.start.is_none() {
            let _ = self.file.set_len(self.offset);
        }
        Salvage::Wrong
    }

    /// Removes bytes that may be wrong, after a download of `rest` bytes failed with `error`.
    ///
    /// `rest` is the number of missing bytes, if the server reported the size before the transfer.
    pub fn salvage(&self, error: &Error, rest: Option<u64>) -> Salvage {
        match (error, rest) {
            // The compressed data was corrupt, at an unknown position.
            (Error::Compressed(fault), _) if *fault != DeflateFault::Truncated => self.reject(),
            // The data was not in valid blocks, or the server suspects errors in it.
            (Error::Blocks(fault), _) if *fault != BlockFault::Truncated => self.reject(),
            (Error::Incomplete { bytes, announced: Some(announced) }, Some(rest))
                if *announced == rest && self.offset > 0 =>
            {
                if *bytes > rest {
                    self.restore();
                    Salvage::SentFromStart
                } else {
                    Salvage::Wrong
                }
            }
            _ => {
                self.restore_repeated();
                Salvage::Kept
            }
        }
    }

    /// Returns whether all received bytes equal the beginning of the file. The server may then have
    /// sent the file from byte 0 although it accepted another offset.
    fn is_repeated(&self) -> io::Result<bool> {
        if self.start.is_some() || self.offset == 0 {
            return Ok(false);
        }
        let length = self.file.metadata()?.len().saturating_sub(self.offset).min(self.offset);
        let mut first = vec![0; BLOCK];
        let mut came = vec![0; BLOCK];
        let mut at = 0;
        while at < length {
            let piece = usize::try_from(length - at).unwrap_or(BLOCK).min(BLOCK);
            let (first, _) = first.split_at_mut(piece);
            let (came, _) = came.split_at_mut(piece);
            self.file.read_exact_at(first, at)?;
            self.file.read_exact_at(came, self.offset + at)?;
            if first != came {
                return Ok(false);
            }
            at += piece as u64;
        }
        Ok(length > 0)
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.begun()?.write(bytes)?;
        self.unflushed += count as u64;
        if self.unflushed >= FLUSH {
            self.settle();
        }
        Ok(count)
    }

    /// Does nothing: nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    /// Returns a file with `hello`, followed by `came`.
    fn partial(came: &[u8]) -> PartialFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        let mut partial = PartialFile::new(file, 5);
        partial.write_all(came).unwrap();
        partial
    }

    fn content(partial: PartialFile) -> String {
        let mut file = partial.file;
        let mut content = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut content).unwrap();
        content
    }

    #[test]
    fn a_failed_download_leaves_the_beginning_of_its_file() {
        let incomplete = |bytes| Error::Incomplete { bytes, announced: Some(7) };
        for (came, error, salvage, left) in [
            (", wo", Error::Closed, Salvage::Kept, "hello, wo"),
            // The received bytes may repeat the beginning.
            ("he", Error::Closed, Salvage::Kept, "hello"),
            ("hello, w", incomplete(12), Salvage::SentFromStart, "hello"),
            (", wo", incomplete(4), Salvage::Wrong, "hello, wo"),
        ] {
            let partial = partial(came.as_bytes());
            assert_eq!(partial.salvage(&error, Some(7)), salvage, "{came}");
            assert_eq!(content(partial), left, "{came}");
        }
        // An announcement by the server does not prove a different length.
        let partial = partial(b", wo");
        assert_eq!(partial.salvage(&incomplete(4), None), Salvage::Kept);
        assert_eq!(content(partial), "hello, wo");
    }

    #[test]
    fn corrupt_data_is_removed_from_a_partial_file() {
        for (error, salvage, left) in [
            (Error::Compressed(DeflateFault::Corrupt), Salvage::Wrong, "hello"),
            (Error::Compressed(DeflateFault::Trailing), Salvage::Wrong, "hello"),
            (Error::Compressed(DeflateFault::Truncated), Salvage::Kept, "hello, wo"),
            (Error::Blocks(BlockFault::Suspect), Salvage::Wrong, "hello"),
            (Error::Blocks(BlockFault::Descriptor(1)), Salvage::Wrong, "hello"),
            (Error::Blocks(BlockFault::Truncated), Salvage::Kept, "hello, wo"),
        ] {
            let partial = partial(b", wo");
            assert_eq!(partial.salvage(&error, Some(7)), salvage, "{error}");
            assert_eq!(content(partial), left, "{error}");
        }
    }

    #[test]
    fn existing_content_stays_until_the_first_byte_arrives() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        file.rewind().unwrap();
        let mut partial = PartialFile::new(file, 5);
        partial.start_over();
        assert_eq!(partial.file().metadata().unwrap().len(), 5);
        partial.write_all(b"a").unwrap();
        assert_eq!(content(partial), "a");
    }
}
