//! The two loops that copy between a transfer and the caller's file or stream.

use std::borrow::BorrowMut;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::time::Duration;

use super::{Download, RateLimit, Report, Upload};
use crate::client::Client;
use crate::error::Error;

/// The number of bytes to copy at first: a small file should not cost a large buffer.
const FIRST: usize = 16 * 1_024;

/// The number of bytes to copy at a time once the first buffer was full: a large file should not
/// cost many calls.
const BLOCK: usize = 512 * 1_024;

/// A function that is called with each copied piece.
type Meter<'a> = &'a mut dyn FnMut(&[u8]);

/// A function that is called with the number of bytes copied so far, and with the number of bytes
/// to copy, if known.
type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// Options of a copy: a rate limit and a progress meter.
///
/// A [`Canceller`](crate::Canceller) of the client ends the copy at once, even during a pause for
/// the rate limit.
///
/// ```no_run
/// use ftp_client::{Client, RateLimit, Watch};
///
/// let mut client = Client::builder().connect("ftp.example.org")?;
/// client.login("anonymous", "guest@")?;
/// let mut out = std::fs::File::create("a.bin")?;
/// let mut bytes = 0;
/// let mut meter = |piece: &[u8]| {
///     bytes += piece.len();
///     print!("\r{bytes}");
/// };
/// let mut watch = Watch::new().rate_limit(Some(RateLimit::new(100_000))).meter(&mut meter);
/// client.retrieve("pub/a.bin")?.copy_to_watched(&mut out, &mut watch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Watch<'a> {
    rate: Option<RateLimit>,
    meter: Option<Meter<'a>>,
    progress: Option<Progress<'a>>,
    moved: u64,
    total: Option<u64>,
}

impl<'a> Watch<'a> {
    /// Returns options without a rate limit or a meter.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the rate limit (default: none).
    #[must_use]
    pub fn rate_limit(mut self, limit: Option<RateLimit>) -> Self {
        self.rate = limit;
        self
    }

    /// Sets a function that gets each copied piece.
    ///
    /// With a meter or a limit, an uploaded file passes through this process; without them, the
    /// kernel sends the file directly if it can.
    #[must_use]
    pub fn meter(mut self, meter: &'a mut dyn FnMut(&[u8])) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Sets a function that gets, after each copied piece, the number of bytes that this copy has
    /// moved, and the total number if it is known: for a download the length that the server or
    /// you have named, for an upload the length of the local file from its position on.
    ///
    /// ```no_run
    /// use ftp_client::{Client, Watch};
    ///
    /// let mut client = Client::builder().connect("ftp.example.org")?;
    /// client.login("anonymous", "guest@")?;
    /// let mut show = |moved: u64, total: Option<u64>| match total {
    ///     Some(total) if total > 0 => print!("\r{} %", moved * 100 / total),
    ///     _ => print!("\r{moved} bytes"),
    /// };
    /// let mut watch = Watch::new().progress(&mut show);
    /// client.retrieve("a.bin")?.copy_to_watched(&mut std::io::sink(), &mut watch)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn progress(mut self, progress: &'a mut dyn FnMut(u64, Option<u64>)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Returns the number of bytes that the last copy had to move, if it was known.
    #[must_use]
    pub const fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns the number of bytes that the last copy moved, whether it succeeded or failed.
    ///
    /// They are counted as in [`Download::transferred`] and [`Upload::transferred`].
    #[must_use]
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    const fn is_idle(&self) -> bool {
        self.rate.is_none() && self.meter.is_none() && self.progress.is_none()
    }

    const fn begin(&mut self, total: Option<u64>) {
        (self.moved, self.total) = (0, total);
    }

    fn block(&self) -> Block {
        let most = self.rate.as_ref().map_or(BLOCK, |rate| rate.piece(BLOCK));
        Block { bytes: vec![0; most.min(FIRST)], most }
    }

    /// Reports a piece to the meter, and returns how long to wait before the next piece.
    fn pass(&mut self, piece: &[u8]) -> Option<Duration> {
        if let Some(meter) = &mut self.meter {
            meter(piece);
        }
        self.moved += piece.len() as u64;
        if let Some(progress) = &mut self.progress {
            progress(self.moved, self.total);
        }
        self.rate.as_ref().map(|rate| rate.count(piece.len()))
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("rate", &self.rate)
            .field("has_meter", &self.meter.is_some())
            .field("has_progress", &self.progress.is_some())
            .field("moved", &self.moved)
            .field("total", &self.total)
            .finish()
    }
}

/// A buffer that starts small and grows to `most` bytes after a read has filled it.
struct Block {
    bytes: Vec<u8>,
    most: usize,
}

impl Block {
    /// Returns the whole buffer, to read into.
    fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Returns the bytes that were read.
    fn piece(&self, length: usize) -> &[u8] {
        self.bytes.get(..length).expect("a read fills at most the buffer")
    }

    /// Grows the buffer if the last read, of `length` bytes, has filled it.
    fn grow(&mut self, length: usize) {
        if length == self.bytes.len() && length < self.most {
            self.bytes = vec![0; self.most];
        }
    }
}

/// The source of an upload.
pub enum Source<'a> {
    /// A local file, from its position to its end. The kernel sends the file directly if it can.
    File(&'a File),
    /// A stream, which can be read only once.
    Stream(&'a mut dyn Read),
}

impl Source<'_> {
    /// Returns the number of remaining bytes of a regular file; `None` for any other source.
    fn left(&self) -> io::Result<Option<u64>> {
        let Self::File(file) = self else { return Ok(None) };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut file: &File = file;
        Ok(Some(metadata.len().saturating_sub(file.stream_position()?)))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Stream(_) => "Stream",
        })
    }
}

impl<'a> From<&'a File> for Source<'a> {
    fn from(file: &'a File) -> Self {
        Self::File(file)
    }
}

impl<'a, R: Read> From<&'a mut R> for Source<'a> {
    fn from(stream: &'a mut R) -> Self {
        Self::Stream(stream)
    }
}

/// The side on which a copy failed.
enum Broken {
    Here(io::Error),
    There(io::Error),
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
        self.copy_to_watched(to, &mut Watch::new())
    }

    /// Copies like [`copy_to`](Self::copy_to), with a rate limit or a meter.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`copy_to`](Self::copy_to).
    pub fn copy_to_watched(
        mut self,
        to: &mut (impl Write + ?Sized),
        watch: &mut Watch<'_>,
    ) -> Result<Report, Error> {
        let received = receive(&mut self, to, watch);
        watch.moved = self.transferred();
        match received {
            Ok(()) if self.excess() > 0 => Err(self.stop_excess()),
            Ok(()) => self.finish(),
            Err(Broken::There(error)) => Err(self.fail(error)),
            Err(Broken::Here(error)) => Err(self.leave(error)),
        }
    }
}

/// Copies a download to `to` until its data ends or a byte more than expected has arrived.
fn receive<C: BorrowMut<Client>>(
    download: &mut Download<C>,
    to: &mut (impl Write + ?Sized),
    watch: &mut Watch<'_>,
) -> Result<(), Broken> {
    watch.begin(download.total());
    let mut block = watch.block();
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
            if let Some(pause) = watch.pass(piece) {
                download.pause(pause);
            }
            block.grow(length);
        }
        if excess > 0 {
            return Ok(());
        }
    }
}

impl Upload<'_> {
    /// Sends a local file from its position to its end, or a whole stream, and finishes the upload.
    ///
    /// In type image and mode S, without TLS, the kernel sends a file directly if the file system
    /// allows it (`sendfile` on Linux).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// client.store("a.bin")?.copy_from(&std::fs::File::open("a.bin")?)?;
    /// client.store("b.txt")?.copy_from(&mut "hello\n".as_bytes())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`finish`](Self::finish), and [`Error::Local`] if the source fails or
    /// a file shrinks during the upload ([`UnexpectedEof`](ErrorKind::UnexpectedEof)). After a
    /// local error, the transfer is aborted, so that the server does not take the partial file for
    /// a complete one.
    pub fn copy_from<'s>(self, from: impl Into<Source<'s>>) -> Result<Report, Error> {
        self.copy_from_watched(from, &mut Watch::new())
    }

    /// Copies like [`copy_from`](Self::copy_from), with a rate limit or a meter.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`copy_from`](Self::copy_from).
    pub fn copy_from_watched<'s>(
        mut self,
        from: impl Into<Source<'s>>,
        watch: &mut Watch<'_>,
    ) -> Result<Report, Error> {
        let sent = send(&mut self, from.into(), watch);
        watch.moved = self.transferred();
        match sent {
            Ok(()) => self.finish(),
            Err(Broken::Here(error)) => Err(self.leave(error)),
            Err(Broken::There(error)) => Err(self.fail(error)),
        }
    }

    /// Sends a local file from its position to its end, as [`copy_from`](Self::copy_from) does, and
    /// returns the number of bytes.
    ///
    /// More data can be written afterwards.
    ///
    /// # Errors
    ///
    /// Returns errors like those of [`Write`]: a wrapped [`Error`], which
    /// [`Error::recover`] unpacks, or the file's own error. If the file shrinks during the upload,
    /// the error is [`UnexpectedEof`](ErrorKind::UnexpectedEof). After an error of the file,
    /// call [`fail`](Self::fail), so that the server does not take the partial file for a complete
    /// one.
    pub fn send_file(&mut self, file: &File) -> io::Result<u64> {
        let before = self.bytes;
        match send(self, Source::File(file), &mut Watch::new()) {
            Ok(()) => Ok(self.bytes - before),
            Err(Broken::There(error)) => Err(error),
            Err(Broken::Here(error)) => {
                let again = io::Error::new(error.kind(), error.to_string());
                self.transfer.failed = Some(Error::Io(again));
                Err(error)
            }
        }
    }
}

/// Sends the whole source.
fn send(
    upload: &mut Upload<'_>,
    mut source: Source<'_>,
    watch: &mut Watch<'_>,
) -> Result<(), Broken> {
    let before = upload.transferred();
    let left = source.left().map_err(Broken::Here)?;
    watch.begin(left);
    let expected = left.unwrap_or(0);
    let is_sent = match &source {
        // What the kernel cannot send is read and written, which shows which side fails.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Source::File(file)
            if watch.is_idle() && upload.text.is_none() && upload.transfer.coding.is_none() =>
        {
            let sent = super::kernel::send(&mut upload.transfer, file, &mut upload.bytes);
            sent.map_err(|error| Broken::There(error.into()))?
        }
        _ => false,
    };
    if !is_sent {
        send_blocks(upload, &mut source, watch)?;
    }
    let sent = upload.transferred() - before;
    if sent < expected {
        let what = format!("the file shrank during the upload: {sent} of {expected} bytes sent");
        return Err(Broken::Here(io::Error::new(ErrorKind::UnexpectedEof, what)));
    }
    Ok(())
}

/// Sends the rest of the source, block by block.
fn send_blocks(
    upload: &mut Upload<'_>,
    source: &mut Source<'_>,
    watch: &mut Watch<'_>,
) -> Result<(), Broken> {
    let mut block = watch.block();
    loop {
        let length = match source.read(block.space()) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Broken::Here(error)),
        };
        let piece = block.piece(length);
        upload.write_all(piece).map_err(Broken::There)?;
        if let Some(pause) = watch.pass(piece) {
            upload.pause(pause);
        }
        block.grow(length);
    }
}
