//! A partial local file and the bytes that a download adds to it.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::record::Record;
use crate::system::set_length;

/// The number of received bytes after which they are written to disk and recorded.
const FLUSH: u64 = 64 << 20;

/// A local file that a download extends, or overwrites once the first byte arrives. The bytes
/// before the offset stay.
#[derive(Debug)]
pub(super) struct PartialFile {
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

impl PartialFile {
    /// Wraps `file`, which must be open for appending. Its first `offset` bytes are kept.
    pub(super) const fn new(file: File, offset: u64) -> Self {
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
        set_length(&self.file, length)?;
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

    /// Returns the file in its current state.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Returns the file for writing. The first call truncates it to the position of the download's
    /// first byte.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the file cannot be truncated.
    pub(super) fn begun(&mut self) -> io::Result<&mut File> {
        if let Some(start) = self.start {
            set_length(&self.file, start)?;
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
            let _ = set_length(&self.file, self.offset);
        }
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

    fn content(partial: PartialFile) -> String {
        let mut file = partial.file;
        let mut content = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut content).unwrap();
        content
    }

    #[test]
    fn existing_content_stays_until_the_first_byte_arrives() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        file.rewind().unwrap();
        let mut partial = PartialFile::new(file, 5);
        partial.again(0);
        assert_eq!(partial.file().metadata().unwrap().len(), 5);
        partial.write_all(b"a").unwrap();
        assert_eq!(content(partial), "a");
    }
}
