//! The beginning of a file that is here, and what a download adds to it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::origin::Origin;
use crate::error::Error;

/// How much is compared at a time, in bytes.
const BLOCK: usize = 256 * 1_024;

/// A file that a download makes longer, or replaces the content of once its first byte comes. What
/// stands before the offset stays.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    /// Where the first byte goes. What stands after it now stays until that comes.
    start: Option<u64>,
    /// The same, also once that byte came.
    offset: u64,
    /// What it is the beginning of, to be written down with the first byte.
    origin: Option<Origin>,
}

/// What is left of a partial file whose download failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Salvage {
    /// The beginning of the file, which a later download resumes.
    Kept,
    /// The beginning that was there before. The server took `REST` and sent the file from byte 0:
    /// that is where to download it from.
    SentFromStart,
    /// Bytes of which some are wrong: the server confirmed a file of another length.
    Wrong,
}

impl PartialFile {
    /// The first `offset` bytes of `file`, which the caller opened for appending. Bytes that were
    /// sent twice are found if it is open for reading, too.
    #[must_use]
    pub const fn new(file: File, offset: u64) -> Self {
        Self { file, start: Some(offset), offset, origin: None }
    }

    /// Has it written down at the file, with the first byte, what that is the beginning of.
    pub(super) fn of(self, origin: Option<Origin>) -> Self {
        Self { origin, ..self }
    }

    /// How many bytes were there before the download.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Has the next byte become the first, before any was written.
    pub const fn start_over(&mut self) {
        self.start = Some(0);
        self.offset = 0;
    }

    /// The file, whatever is in it.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// The file, with nothing after the place of the first byte.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn begun(&mut self) -> io::Result<&mut File> {
        if let Some(start) = self.start {
            self.file.set_len(start)?;
            if let Some(origin) = self.origin.take() {
                origin.write_to(&self.file);
            }
            self.start = None;
        }
        Ok(&mut self.file)
    }

    /// Takes away what came, and leaves what was there before.
    pub(super) fn restore(&self) {
        if self.start.is_none() && self.offset > 0 {
            // What cannot be cut off now is cut off, or found to be too long, by the next try.
            let _ = self.file.set_len(self.offset);
        }
    }

    /// The same, if what came may be the beginning of the file once more: some servers take `REST`
    /// and send all from the start.
    pub(super) fn restore_repeated(&self) {
        if self.is_repeated().unwrap_or(true) {
            self.restore();
        }
    }

    /// Takes away what may not be the file's, after a download of the `rest` of it failed with
    /// `error`. `rest` is the number of bytes that were missing, if the server told the size
    /// beforehand.
    pub fn salvage(&self, error: &Error, rest: Option<u64>) -> Salvage {
        match (error, rest) {
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

    /// Whether all that came is what the file begins with: then the server may have sent it from
    /// its start, although it agreed to another offset.
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
        self.begun()?.write(bytes)
    }

    /// Does nothing: nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    /// `hello`, and `came` after it.
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
    fn what_is_left_of_a_download_that_failed_is_the_beginning_of_its_file() {
        let incomplete = |bytes| Error::Incomplete { bytes, announced: Some(7) };
        for (came, error, salvage, left) in [
            (", wo", Error::Closed, Salvage::Kept, "hello, wo"),
            // What came may be the beginning once more.
            ("he", Error::Closed, Salvage::Kept, "hello"),
            ("hello, w", incomplete(12), Salvage::SentFromStart, "hello"),
            (", wo", incomplete(4), Salvage::Wrong, "hello, wo"),
        ] {
            let partial = partial(came.as_bytes());
            assert_eq!(partial.salvage(&error, Some(7)), salvage, "{came}");
            assert_eq!(content(partial), left, "{came}");
        }
        // What was announced by others than the caller is no proof of another length.
        let partial = partial(b", wo");
        assert_eq!(partial.salvage(&incomplete(4), None), Salvage::Kept);
        assert_eq!(content(partial), "hello, wo");
    }

    #[test]
    fn what_was_there_stays_until_the_first_byte_comes() {
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
