//! `Download`: the data of `RETR`, and how it is written to a local file or a stream.

use std::borrow::BorrowMut;
use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::event::PollFlags;

use ftp_proto::{
    AsciiDecoder, Command, FileRange, Pathname, RepresentationType, TimeVal, TransferLength,
};

use super::{Block, Broken, RateLimit, Report, Transfer};
use crate::client::Client;
use crate::error::Error;

/// The number of bytes to read at a time while line endings are converted.
const PIECE: usize = 16_384;

/// A running download: read it to its end, then call [`finish`](Self::finish).
///
/// Most downloads are a `Download<&mut Client>`: it borrows the client, so no other command can be
/// sent during the transfer. [`begin`](Self::begin) makes one that owns its client.
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
/// A command during the transfer does not compile:
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
/// Dropping a download early does no I/O. The next call on the client aborts the transfer first,
/// and closes the connection if the server does not answer.
///
/// [`Read`] returns wrapped [`Error`]s; [`Error::downcast`] unpacks them.
#[derive(Debug)]
#[must_use = "only finish() tells whether the download is complete"]
pub struct Download<C: BorrowMut<Client>> {
    transfer: Transfer<C>,
    /// The number of bytes that the caller has read.
    bytes: u64,
    ended: bool,
    pub(crate) announced: Option<u64>,
    modified: Option<TimeVal>,
    /// The expected number of bytes, set by the caller or by the client from a reply other than the
    /// 150.
    pub(crate) expected: Option<u64>,
    /// The largest number of bytes that the caller takes.
    pub(crate) most: Option<u64>,
    /// The number of bytes to download; `None` if there is no limit.
    range: Option<u64>,
    /// Whether the server accepted the range, and so must stop at its end.
    is_bounded: bool,
    offset: u64,
    /// The path of the file; `None` if its size does not tell how many bytes must come.
    path: Option<Pathname>,
    text: Option<AsciiIn>,
}

/// The converter of line endings, and the converted data.
#[derive(Debug, Default)]
struct AsciiIn {
    decoder: AsciiDecoder,
    converted: Vec<u8>,
    /// The number of bytes of `converted` that the caller has read.
    given: usize,
}

impl<C: BorrowMut<Client>> Download<C> {
    /// Begins to download the file at `path` from byte `offset`, as
    /// [`Client::retrieve_from`] does, and keeps the client: an owned one, one that a pool lent, or
    /// a `&mut Client`. [`release`](Self::release) gives it back.
    ///
    /// ```no_run
    /// use std::io::Read;
    /// use ftp_client::{Client, Download};
    ///
    /// struct Song {
    ///     title: String,
    ///     stream: Download<Client>,
    /// }
    ///
    /// let mut client = Client::builder().connect("ftp.example.org")?;
    /// client.login("anonymous", "guest@")?;
    /// let stream = Download::begin(client, "pub/a.ogg", 0)?;
    /// let mut song = Song { title: "A".to_owned(), stream };
    /// let mut bytes = Vec::new();
    /// song.stream.read_to_end(&mut bytes)?;
    /// let (report, client) = song.stream.release();
    /// println!("{}: {} bytes", song.title, report?.bytes);
    /// client.quit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::retrieve_from`]; `client` is then dropped.
    pub fn begin(mut client: C, path: impl AsRef<[u8]>, offset: u64) -> Result<Self, Error> {
        let there = client.borrow_mut();
        let path = there.pathname(path.as_ref())?;
        let begun = there.begin(&Command::Retr(path.clone()), FileRange::from_offset(offset)?)?;
        let representation = there.representation();
        Ok(Self::new(Transfer::new(client, begun), representation, offset, path))
    }

    /// Ends the download as [`finish`](Self::finish) does, and returns the client too, also after
    /// an error. [`Client::is_settled`] tells whether it can be used again.
    pub fn release(mut self) -> (Result<Report, Error>, C) {
        let report = self.end();
        (report, self.transfer.release())
    }

    /// Returns the client without ending the download, as if the download were dropped: the next
    /// call on the client aborts the transfer.
    pub fn detach(self) -> C {
        self.transfer.release()
    }

    /// Waits at most `limit` for data. After `true`, the next [`read`](Read::read) returns data or the
    /// end of the data without a wait, or returns why it cannot; in an ASCII transfer, it can wait for
    /// the second byte of a line ending. With compression or a
    /// [reused](crate::ClientBuilder::reuse_data) data connection, always returns `true`.
    ///
    /// # Errors
    ///
    /// Returns the error of the next read, also [`Error::Timeout`] if nothing has arrived for the
    /// stall timeout.
    pub fn is_ready(&mut self, limit: Duration) -> Result<bool, Error> {
        self.transfer.is_ready(PollFlags::IN, limit)
    }

    pub(crate) fn new(
        transfer: Transfer<C>,
        representation: RepresentationType,
        offset: u64,
        path: Pathname,
    ) -> Self {
        let (announced, path, text) = match representation {
            RepresentationType::Image => (transfer.first.announced_length(), Some(path), None),
            RepresentationType::Ascii => (None, None, Some(AsciiIn::default())),
        };
        Self {
            transfer,
            bytes: 0,
            ended: false,
            announced,
            modified: None,
            expected: None,
            most: None,
            range: None,
            is_bounded: false,
            offset,
            path,
            text,
        }
    }

    /// Limits the download to `length` bytes. `is_bounded` tells whether the server promised to
    /// send only these bytes (`RANG`).
    pub(crate) const fn with_range(mut self, length: u64, is_bounded: bool) -> Self {
        self.range = Some(length);
        self.is_bounded = is_bounded;
        self
    }

    pub(crate) const fn with_time(mut self, modified: Option<TimeVal>) -> Self {
        self.modified = modified;
        self
    }

    /// Returns the modification time of the file, if
    /// [`Client::retrieve_with_time`](crate::Client::retrieve_with_time) requested it and the
    /// server reports it.
    #[must_use]
    pub const fn modified(&self) -> Option<TimeVal> {
        self.modified
    }

    /// Sets the expected number of bytes, as [`transferred`](Self::transferred) counts them.
    ///
    /// [`finish`](Self::finish) fails if more or fewer bytes have arrived. The server's own
    /// announcement is checked too, except for a [part](crate::Client::retrieve_range) of a file.
    pub const fn expect_length(&mut self, length: u64) {
        self.expected = Some(length);
    }

    /// Returns the number of bytes after which one more is an error. The announced number is none:
    /// some servers count with 16 or 32 bits.
    fn limit(&self) -> Option<u64> {
        match (self.expected, self.most) {
            (Some(end), Some(most)) => Some(end.min(most)),
            (end, most) => end.or(most),
        }
    }

    /// Returns the offset in the file at which the download began, in bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes read so far.
    ///
    /// In an ASCII transfer, these are the converted bytes, with LF alone at the end of a line.
    #[must_use]
    pub const fn transferred(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of bytes that the server announced: the `(n bytes)` in its 150 reply.
    ///
    /// Returns `None` if there is no such text, and in an ASCII transfer, where the number may not
    /// match. After [`retrieve_from`](crate::Client::retrieve_from), some servers announce the
    /// bytes from the offset on, and others the bytes of the whole file.
    #[must_use]
    pub const fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Returns the number of bytes that are expected, if known: the length that you set, that of
    /// the requested part, or the one that the server announced.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.expected.or(self.range).or(self.announced)
    }

    /// Ends the download: waits for the server to confirm that all data was sent.
    ///
    /// Without the confirmation, the end of the data may be due to a read error on the server or a
    /// broken connection. This method fails if you have not read the whole file or requested part.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] with the server's reason for ending early, such as 426 or 451.
    /// - [`Error::Incomplete`] if fewer or more bytes arrived than were announced or expected, or
    ///   if there is more data to read. If data is left, the next call on the client aborts the
    ///   transfer.
    /// - [`Error::Timeout`] if the server does not answer.
    /// - The error of an earlier read that failed.
    pub fn finish(mut self) -> Result<Report, Error> {
        self.end()
    }

    /// Sends these commands once all data has arrived, before the confirmation.
    pub(crate) fn ask_at_end(&mut self, questions: Vec<Command>) {
        self.transfer.next = questions;
    }

    fn end(&mut self) -> Result<Report, Error> {
        let &mut Self { bytes, announced, expected, range, offset, .. } = self;
        if range == Some(bytes) && !self.ended {
            // The next byte shows whether the server stops here by itself.
            if self.transfer.read(&mut [0])? > 0 {
                if !self.is_bounded {
                    return self.transfer.stop(bytes);
                }
                // The server accepted the range but sends more, so it is unknown where the data
                // began.
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
        if range == Some(bytes) {
            // Nothing of the part can be missing.
            self.transfer.cut = None;
        }
        self.transfer.conclude(length, self.path.as_ref().filter(|_| range.is_none()))
    }

    /// Ends a failed download and returns the error that explains the failure. `error` is the error
    /// of a read or of the target: another transfer, or your own, such as a local file.
    ///
    /// After a failed read, the server's reply has priority, since it explains more than a broken
    /// connection. After an error of the target, the transfer is aborted. Your own error becomes
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
    pub fn fail(mut self, error: io::Error) -> Error {
        self.transfer.explain(error)
    }

    fn excess(&self) -> u64 {
        self.limit().map_or(0, |end| self.bytes.saturating_sub(end))
    }

    /// Stops the download, and makes the client ready for its next command.
    ///
    /// # Errors
    ///
    /// Returns errors of the control connection, which is then closed.
    pub fn abort(mut self) -> Result<(), Error> {
        self.transfer.abort()
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut buffer = buffer;
        if let Some(range) = self.range {
            // The caller must not get bytes after the requested part.
            let left = usize::try_from(range - self.bytes).unwrap_or(usize::MAX);
            let length = buffer.len().min(left);
            buffer = buffer.get_mut(..length).expect("the length is at most that of the buffer");
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let Self { transfer, text, ended, .. } = self;
        let Some(text) = text else {
            let count = transfer.read(buffer)?;
            *ended = count == 0;
            return Ok(count);
        };
        loop {
            let ready = text.converted.get(text.given..).expect("`given` is within the text");
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
                let piece = piece.get(..count).expect("a read fills at most the buffer");
                text.decoder.decode(piece, &mut text.converted);
            }
        }
    }
}

impl<C: BorrowMut<Client>> Read for Download<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.announced == Some(self.bytes) {
            self.transfer.expect_end();
        }
        let count = self.fill(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<C: BorrowMut<Client>> Download<C> {
    /// Writes all data to `to`, flushes it, and finishes the download.
    ///
    /// # Errors
    ///
    /// - The errors of [`finish`](Self::finish).
    /// - [`Error::Local`] if `to` fails; the transfer is aborted.
    /// - [`Error::Incomplete`] if more data arrives than is [expected](Self::expect_length) or
    ///   announced; the first such byte ends the transfer, and `to` does not get it.
    pub fn copy_to(self, to: &mut (impl Write + ?Sized)) -> Result<Report, Error> {
        self.copy_to_limited(to, None)
    }

    pub(crate) fn copy_to_limited(
        mut self,
        to: &mut (impl Write + ?Sized),
        rate: Option<&RateLimit>,
    ) -> Result<Report, Error> {
        match receive(&mut self, to, rate) {
            Ok(()) if self.excess() > 0 => {
                let error = Error::Incomplete { bytes: self.bytes, announced: self.limit() };
                Err(self.transfer.leave(error))
            }
            Ok(()) => self.finish(),
            Err(Broken::There(error)) => Err(self.fail(error)),
            Err(Broken::Here(error)) => Err(self.transfer.leave(Error::local(error))),
        }
    }
}

/// Copies a download to `to` until its data ends or a byte more than expected has arrived.
fn receive<C: BorrowMut<Client>>(
    download: &mut Download<C>,
    to: &mut (impl Write + ?Sized),
    rate: Option<&RateLimit>,
) -> Result<(), Broken> {
    let mut block = Block::new(rate);
    loop {
        let length = match download.read(block.space()).map_err(Broken::There)? {
            0 => return to.flush().map_err(Broken::Here),
            length => length,
        };
        // Surplus bytes are discarded. One piece may contain the last expected bytes and the first
        // surplus ones.
        let excess = download.excess();
        let surplus = usize::try_from(excess).unwrap_or(length).min(length);
        let piece = block.piece(length - surplus);
        if !piece.is_empty() {
            to.write_all(piece).map_err(Broken::Here)?;
            if let Some(rate) = rate {
                download.transfer.pause(rate.count(piece.len()));
            }
            block.grow(length);
        }
        if excess > 0 {
            return Ok(());
        }
    }
}
