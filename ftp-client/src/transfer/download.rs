//! `Download`: data out of `RETR`.

use std::io::{self, Read};
use std::time::Duration;

use ftp_proto::{AsciiDecoder, RepresentationType, TransferLength};

use super::{Report, Transfer};
use crate::error::Error;

/// How much is read from the data connection at a time when line ends are converted, in bytes.
const PIECE: usize = 16_384;

/// A file that is being downloaded: read it to its end, then call [`finish`](Self::finish).
///
/// It borrows the client, so that no other command can be sent meanwhile:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let mut file = client.retrieve("a.txt")?;
/// std::io::copy(&mut file, &mut std::io::sink())?;
/// file.finish()?;
/// client.noop()?;
/// # Ok(())
/// # }
/// ```
///
/// The same with the last line two lines higher, a command while the transfer runs, is refused:
///
/// ```compile_fail,E0499
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let mut file = client.retrieve("a.txt")?;
/// client.noop()?;
/// std::io::copy(&mut file, &mut std::io::sink())?;
/// file.finish()?;
/// # Ok(())
/// # }
/// ```
///
/// Dropped before its end, it does no I/O. The next call on the client aborts the transfer first,
/// which closes the connection if the server does not answer.
///
/// Errors of [`Read`] are [`Error`]s; [`Error::recover`] takes them out.
#[derive(Debug)]
#[must_use = "the end of the data is not success: call finish()"]
pub struct Download<'a> {
    transfer: Transfer<'a>,
    /// Bytes given to the caller.
    bytes: u64,
    /// The end of the data was seen.
    ended: bool,
    announced: Option<u64>,
    /// How many bytes the caller, or another reply of the server, said that there would be.
    expected: Option<u64>,
    /// How many bytes are wanted, if not all.
    range: Option<u64>,
    /// The server took the range, and is to end there by itself.
    is_bounded: bool,
    /// Where in the file the transfer began.
    offset: u64,
    text: Option<AsciiIn>,
}

/// Data with its line ends converted, and not yet given to the caller.
#[derive(Debug, Default)]
struct AsciiIn {
    decoder: AsciiDecoder,
    converted: Vec<u8>,
    /// How much of `converted` was given.
    given: usize,
}

impl<'a> Download<'a> {
    pub(crate) fn new(
        transfer: Transfer<'a>,
        representation: RepresentationType,
        offset: u64,
    ) -> Self {
        let (announced, text) = match representation {
            RepresentationType::Image => (transfer.first_reply().announced_length(), None),
            RepresentationType::Ascii => (None, Some(AsciiIn::default())),
        };
        Self {
            transfer,
            bytes: 0,
            ended: false,
            announced,
            expected: None,
            range: None,
            is_bounded: false,
            offset,
            text,
        }
    }

    /// Only the next `length` bytes are wanted. `is_bounded` says that the server promised to send
    /// no others (`RANG`).
    pub(crate) const fn with_range(mut self, length: u64, is_bounded: bool) -> Self {
        self.range = Some(length);
        self.is_bounded = is_bounded;
        self
    }

    /// Says how many bytes are to come, as [`transferred`](Self::transferred) counts them:
    /// [`finish`](Self::finish) fails if it were others. What the server said is checked all the
    /// same.
    pub const fn expect_length(&mut self, length: u64) {
        self.expected = Some(length);
    }

    /// Where in the file the download began, in bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes were read so far: in an ASCII transfer those that came out of the
    /// conversion, with LF alone at the end of a line.
    #[must_use]
    pub const fn transferred(&self) -> u64 {
        self.bytes
    }

    /// How many bytes the server said that it would send: the `(n bytes)` at the end of its 150
    /// reply. `None` if it said nothing of the kind, and in an ASCII transfer, where the number
    /// does not fit what comes. After [`retrieve_from`](crate::Client::retrieve_from) some servers
    /// count from the offset and some the whole file.
    #[must_use]
    pub const fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Ends the download: waits for the server to say that all data was sent. Without its word
    /// the end of the data can be anything, a full disk or a cut line included.
    ///
    /// If the end of the data was not read yet, as when the caller knew the length, it must come
    /// now.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's reason for ending early, 426 or 451;
    /// [`Error::Incomplete`] if fewer or more bytes came than were announced or expected, or if
    /// there is more data to read, which the client's next call then aborts; [`Error::Timeout`] if
    /// the server says nothing. The error of a failed read is given again.
    pub fn finish(mut self) -> Result<Report, Error> {
        let Self { bytes, announced, expected, range, offset, .. } = self;
        if range == Some(bytes) && !self.ended {
            // Whether the server ends here by itself, the next byte tells.
            if self.transfer.read(&mut [0])? > 0 {
                if !self.is_bounded {
                    return self.transfer.stop(bytes);
                }
                // It took the range and sends more: nobody knows where what came began.
                self.transfer.client().no_range = true;
                return Err(Error::Incomplete { bytes: bytes + 1, announced: range });
            }
        } else if !self.ended && self.fill(&mut [0])? > 0 {
            return Err(Error::Incomplete { bytes, announced: expected.or(range).or(announced) });
        }
        let mut length = TransferLength::of(bytes);
        length.offset = offset;
        length.wanted = expected.or(range);
        length.announced = announced.filter(|_| range.is_none());
        self.transfer.conclude(length)
    }

    /// Ends a download that cannot go on, and gives the error that says why. `error` is what a read
    /// of it failed with, or else the caller's own, such as that of a local file.
    ///
    /// What the server says of a transfer is worth more than a broken connection, so that its reply
    /// is read first. The caller's own error has the transfer aborted, and becomes
    /// [`Error::Local`].
    ///
    /// ```no_run
    /// use std::io::Read;
    ///
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let mut file = client.retrieve("a.bin")?;
    /// let mut text = String::new();
    /// let report = match file.read_to_string(&mut text) {
    ///     Ok(_) => file.finish()?,
    ///     Err(error) => return Err(file.fail(error)),
    /// };
    /// # drop(report);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    #[must_use]
    pub fn fail(self, error: io::Error) -> Error {
        match Error::recover(error) {
            Ok(error) => self.finish().err().unwrap_or(error),
            Err(error) => self.leave(error),
        }
    }

    /// Ends a download whose bytes cannot be kept.
    pub(super) fn leave(self, error: io::Error) -> Error {
        // Where nobody waits for more, nobody waits for the server to have understood it.
        if error.kind() != io::ErrorKind::BrokenPipe {
            // What it fails with is not what the caller has to know.
            let _ = self.abort();
        }
        Error::Local(error)
    }

    /// How many bytes came beyond those that were expected.
    pub(super) fn excess(&self) -> u64 {
        self.expected.map_or(0, |expected| self.bytes.saturating_sub(expected))
    }

    /// Ends a download of which too much came.
    pub(super) fn stop_excess(self) -> Error {
        let incomplete = Error::Incomplete { bytes: self.bytes, announced: self.expected };
        self.abort().err().unwrap_or(incomplete)
    }

    /// Lets time go by before the next read.
    pub(super) fn pause(&mut self, length: Duration) {
        self.transfer.pause(length);
    }

    /// Stops the download, and makes the client ready for its next command.
    ///
    /// # Errors
    ///
    /// Any of the control connection, which is then closed.
    pub fn abort(self) -> Result<(), Error> {
        self.transfer.abort()
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut buffer = buffer;
        if let Some(range) = self.range {
            // Not a byte beyond: what is after the part is not the caller's.
            let left = usize::try_from(range - self.bytes).unwrap_or(usize::MAX);
            let length = buffer.len().min(left);
            buffer = buffer.get_mut(..length).expect("it is no longer");
            if buffer.is_empty() {
                return Ok(0);
            }
        }
        let Self { transfer, text, ended, .. } = self;
        let Some(text) = text else {
            let count = transfer.read(buffer)?;
            *ended = count == 0;
            return Ok(count);
        };
        loop {
            let ready = text.converted.get(text.given..).expect("no more is given than there is");
            let count = ready.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count))
                && count > 0
            {
                to.copy_from_slice(from);
                text.given += count;
                return Ok(count);
            }
            if *ended {
                return Ok(0);
            }
            (text.given, _) = (0, text.converted.clear());
            let mut piece = [0; PIECE];
            let count = transfer.read(&mut piece)?;
            if count == 0 {
                *ended = true;
                text.decoder.finish(&mut text.converted);
            } else {
                let piece = piece.get(..count).expect("a read gives no more than it has room for");
                text.decoder.decode(piece, &mut text.converted);
            }
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}
