//! Data to send: a file, or the lines of a listing.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use ftp_proto::AsciiEncoder;

use crate::deadline::{before_asking_again, for_a_tick};
use crate::limits;
use crate::storage::{Entries, Entry, Source, StorageError, StorageErrorKind, StorageResult};

/// Maximum bytes of a file to convert at a time; the result has at most twice as many.
const CONVERT: usize = 16 * 1024;

/// Maximum time to gather data before sending it: few entries of a large directory may match, and a
/// lot of data can compress to a few bytes.
pub(super) const GATHER: Duration = Duration::from_millis(50);

/// Bytes for the client, generated on demand.
pub(crate) trait Outgoing {
    /// Does a short part of the work that comes before the first byte. Returns `true` when all of
    /// that work is done.
    fn prepare(&mut self) -> StorageResult<bool> {
        Ok(true)
    }

    /// Appends about `room` bytes to `out`, or fewer or none if the source is slow. Returns `false`
    /// at the end.
    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool>;

    /// Returns the part of a file that the kernel may send directly. Returns `None` if the data
    /// must come from [`fill`](Self::fill), or the rest of the data from now on.
    fn file_range(&self) -> Option<FileRange<'_>> {
        None
    }

    /// Returns how many data bytes the first `sent` encoded bytes contain.
    fn bytes(&self, sent: u64) -> u64 {
        sent
    }

    /// Checks at the end of the data that the source was complete. `sent` is the number of bytes
    /// sent.
    fn check_end(&self, _sent: u64) -> StorageResult<()> {
        Ok(())
    }
}

/// The part of a file from its current offset on.
pub(crate) struct FileRange<'a> {
    pub(crate) file: BorrowedFd<'a>,
    /// The length in bytes, according to the size of the file when it was opened.
    pub(crate) length: u64,
}

/// A file whose bytes are sent unchanged (`TYPE I`).
pub(crate) struct ImageOutgoing {
    source: Box<dyn Source>,
    /// Bytes to send, according to the size of the file when it was opened.
    expected: u64,
    /// Most bytes of the next read, twice as many after a full one. Its space is cleared first, which
    /// costs more than the read itself if the storage has few bytes at a time.
    step: usize,
}

impl ImageOutgoing {
    /// Returns the data of the file from `offset` on.
    ///
    /// # Errors
    ///
    /// Returns `BadRestart` if the file is shorter than `offset`.
    pub(crate) fn new(mut source: Box<dyn Source>, offset: u64) -> StorageResult<Self> {
        let expected = source.size().checked_sub(offset).ok_or(StorageErrorKind::BadRestart)?;
        if offset > 0 {
            source.seek_to(offset)?;
        }
        Ok(Self { source, expected, step: limits::BUFFER })
    }

    pub(crate) const fn expected(&self) -> u64 {
        self.expected
    }
}

impl Outgoing for ImageOutgoing {
    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        // If there are no bytes yet, the pump checks the control connection and calls again.
        if !self.source.ready()? {
            return Ok(true);
        }
        let wanted = room.min(self.step);
        let count = read_some(&mut *self.source, wanted, out)?;
        self.step = if count < wanted { limits::BUFFER.max(count) } else { 2 * wanted };
        Ok(count > 0)
    }

    fn file_range(&self) -> Option<FileRange<'_>> {
        let file = self.source.descriptor()?;
        Some(FileRange { file, length: self.expected })
    }

    fn check_end(&self, sent: u64) -> StorageResult<()> {
        // A file that has shrunk must not look complete.
        if sent < self.expected { Err(StorageErrorKind::Io.into()) } else { Ok(()) }
    }
}

/// A file that is sent with CR LF line endings (`TYPE A`).
pub(crate) struct AsciiOutgoing {
    source: Box<dyn Source>,
    /// The size of the file in bytes when it was opened.
    size: u64,
    /// Bytes read so far.
    read: u64,
    encoder: AsciiEncoder,
    raw: Vec<u8>,
    /// Converted bytes still to be skipped.
    skip: u64,
    /// Converted bytes that are left over from skipping.
    ready: Vec<u8>,
}

impl AsciiOutgoing {
    /// Returns the data of the file without its first `offset` converted bytes.
    /// [`prepare`](Outgoing::prepare) reads the file up to that point, because only the conversion
    /// shows where that point is (RFC 3659 §5.3).
    ///
    /// # Errors
    ///
    /// Returns `BadRestart` if `offset` is larger than the converted file can be.
    pub(crate) fn new(source: Box<dyn Source>, offset: u64) -> StorageResult<Self> {
        let size = source.size();
        // Conversion at most doubles the size, so this check does not read the file.
        if offset > size.saturating_mul(2) {
            return Err(StorageErrorKind::BadRestart.into());
        }
        let encoder = AsciiEncoder::new();
        let raw = Vec::new();
        let ready = Vec::new();
        Ok(Self { source, size, read: 0, encoder, raw, skip: offset, ready })
    }

    /// Returns the size of the converted file in bytes. Returns `None` if the file has more than
    /// `most` bytes before conversion, or grows beyond that while it is read.
    pub(crate) fn count(source: Box<dyn Source>, most: u64) -> StorageResult<Option<u64>> {
        let mut outgoing = Self::new(source, 0)?;
        let mut count = 0;
        let mut converted = Vec::new();
        while outgoing.size <= most && outgoing.read <= most {
            if !outgoing.convert(CONVERT, &mut converted)? {
                return Ok(Some(count));
            }
            count += converted.len() as u64;
            converted.clear();
        }
        Ok(None)
    }

    fn convert(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        self.raw.clear();
        let count = read_some(&mut *self.source, room, &mut self.raw)?;
        self.read += count as u64;
        self.encoder.encode(&self.raw, out);
        Ok(count > 0)
    }
}

impl Outgoing for AsciiOutgoing {
    fn prepare(&mut self) -> StorageResult<bool> {
        let mut converted = std::mem::take(&mut self.ready);
        let done = for_a_tick(|| {
            if self.skip > 0 {
                if !self.source.ready()? {
                    before_asking_again();
                    return Ok(false);
                }
                converted.clear();
                if !self.convert(CONVERT, &mut converted)? {
                    return Err(StorageError::from(StorageErrorKind::BadRestart));
                }
                let skipped = converted.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= skipped as u64;
                converted.drain(..skipped);
            }
            Ok(self.skip == 0)
        });
        self.ready = converted;
        done
    }

    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let before = out.len();
        out.append(&mut self.ready);
        while out.len() - before + 2 * CONVERT <= room || out.len() == before {
            if !self.source.ready()? {
                break;
            }
            if !self.convert(CONVERT.min(room / 2), out)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_end(&self, _sent: u64) -> StorageResult<()> {
        if self.read < self.size { Err(StorageErrorKind::Io.into()) } else { Ok(()) }
    }
}

/// Appends up to `room` bytes from one read. Repeats a read that a signal interrupted.
fn read_some(source: &mut dyn Source, room: usize, out: &mut Vec<u8>) -> StorageResult<usize> {
    let before = out.len();
    out.resize(before + room, 0);
    loop {
        match source.read(out.get_mut(before..).unwrap_or_default()) {
            Ok(count) => {
                out.truncate(before + count);
                return Ok(count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A function that appends the line of an entry, if it has a line.
pub(crate) type WriteLine = Box<dyn Fn(&Entry, &mut Vec<u8>)>;

/// The lines of a listing, one for each entry that has a line.
pub(crate) struct ListingOutgoing {
    head: Vec<u8>,
    items: Entries,
    line: WriteLine,
    /// Whether a listing without lines is an error.
    needs_line: bool,
}

impl ListingOutgoing {
    pub(crate) fn new(items: Entries, line: WriteLine) -> Self {
        Self { head: Vec::new(), items, line, needs_line: false }
    }

    /// Lets other lines come before those of the items.
    pub(crate) fn after(self, head: Vec<u8>) -> Self {
        Self { head, ..self }
    }

    /// Makes an empty listing fail with `NotFound`. [`prepare`](Outgoing::prepare) searches for the
    /// first line, so that a listing without a line gets 550 instead of 150. In a large directory,
    /// the search can take a long time.
    pub(crate) fn not_empty(self) -> Self {
        Self { needs_line: true, ..self }
    }
}

impl Outgoing for ListingOutgoing {
    fn prepare(&mut self) -> StorageResult<bool> {
        for_a_tick(|| {
            if !self.needs_line || !self.head.is_empty() {
                return Ok(true);
            }
            if !self.items.is_ready(limits::TICK) {
                return Ok(false);
            }
            let Some(item) = self.items.next() else {
                return Err(StorageErrorKind::NotFound.into());
            };
            (self.line)(&item?, &mut self.head);
            Ok(false)
        })
    }

    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let start = Instant::now();
        let before = out.len();
        out.append(&mut self.head);
        while out.len() - before < room && start.elapsed() < GATHER {
            // If there are no lines yet, the pump checks the control connection and calls again.
            if !self.items.is_ready(GATHER) {
                break;
            }
            let Some(item) = self.items.next() else { return Ok(false) };
            (self.line)(&item?, out);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of line ends that may be read only once.
    struct Lines {
        size: u64,
        reads: u32,
    }

    impl std::io::Read for Lines {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.reads += 1;
            assert_eq!(self.reads, 1, "read on and on");
            buffer[..5].fill(b'\n');
            Ok(5)
        }
    }

    impl Source for Lines {
        fn size(&self) -> u64 {
            self.size
        }

        fn seek_to(&mut self, _offset: u64) -> StorageResult<()> {
            panic!("only reading tells where a converted byte is")
        }
    }

    #[test]
    fn an_impossible_ascii_restart_fails_without_reading_cm_101() {
        let open = |offset| {
            let mut outgoing = AsciiOutgoing::new(Box::new(Lines { size: 5, reads: 0 }), offset)?;
            outgoing.prepare()
        };
        assert!(open(10).is_ok_and(|ready| ready));
        for offset in [11, 1 << 62] {
            assert_eq!(open(offset).map_err(|error| error.kind), Err(StorageErrorKind::BadRestart));
        }
        let unread = Lines { size: 1 << 40, reads: 1 };
        assert!(AsciiOutgoing::new(Box::new(unread), 1 << 42).is_err());
    }

    /// A file whose end is never reached.
    struct Endless;

    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }

    impl Source for Endless {
        fn size(&self) -> u64 {
            1 << 60
        }

        fn seek_to(&mut self, _offset: u64) -> StorageResult<()> {
            panic!("only reading tells where a converted byte is")
        }
    }

    #[test]
    fn skipping_to_a_large_offset_yields_regularly_as_03() {
        let mut outgoing = AsciiOutgoing::new(Box::new(Endless), 1 << 59).unwrap();
        assert!(!outgoing.prepare().unwrap());
        let left = outgoing.skip;
        assert!(!outgoing.prepare().unwrap());
        assert!(outgoing.skip < left && left < 1 << 59);
    }
}
