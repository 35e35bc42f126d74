//! The loops that copy between a transfer and the caller's file or stream, and their rate limits.

use std::borrow::BorrowMut;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::coding::RawData;
use super::{Download, Report, Transfer, Upload};
use crate::client::Client;
use crate::error::Error;
use crate::lock::lock;
use crate::net::stream::Stream;
use crate::net::wait::Deadline;
use crate::system::send_file;

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

    /// Returns whether copies are limited to a rate.
    pub(crate) const fn is_limited(&self) -> bool {
        self.rate.is_some()
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

ftp_proto::debug_fields!(Watch<'_> {
    rate,
    meter: meter.is_some(),
    progress: progress.is_some(),
    moved,
    total,
} ..);

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

    /// Sends what is left of a whole `content` ([`Client::store_whole`]), and finishes the upload.
    pub(crate) fn finish_whole(
        mut self,
        content: &[u8],
        watch: &mut Watch<'_>,
    ) -> Result<Report, Error> {
        watch.begin(Some(content.len() as u64));
        let sent = usize::try_from(self.transferred()).unwrap_or(content.len());
        if let Err(error) = self.write_all(content.get(sent..).unwrap_or_default()) {
            watch.moved = self.transferred();
            return Err(self.fail(error));
        }
        watch.pass(content);
        self.finish()
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
    let mut is_sent = false;
    if let Source::File(file) = &source
        && watch.is_idle()
        && upload.text.is_none()
        && upload.transfer.coding.is_none()
    {
        let transfer = &mut upload.transfer;
        let mut steps = Steps::new();
        // What the kernel cannot send is read and written, which shows which side fails.
        let done = loop {
            let tcp = match steps.begin(transfer) {
                Ok(Some(tcp)) => tcp,
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            };
            let begun = Instant::now();
            match send_file(tcp, file, steps.size) {
                Ok(0) => break Ok(true),
                Ok(count) => {
                    upload.bytes += count as u64;
                    steps.end(begun.elapsed());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if let Err(error) = steps.wait(transfer) {
                        break Err(error);
                    }
                }
                Err(_) => break Ok(false),
            }
        };
        let calmed = steps.calm(transfer);
        is_sent = calmed.and(done).map_err(|error| Broken::There(error.into()))?;
    }
    if !is_sent {
        send_blocks(upload, &mut source, watch)?;
    }
    let (sent, expected) = (upload.transferred() - before, left.unwrap_or(0));
    if sent < expected {
        let what = format!("the file shrank during the upload: {sent} of {expected} bytes sent");
        return Err(Broken::Here(io::Error::new(ErrorKind::UnexpectedEof, what)));
    }
    Ok(())
}

/// The first and the maximum number of bytes that the kernel is asked to send in a step
/// (`sendfile`). The first number is also the minimum.
const FIRST_STEP: usize = 1 << 20;
const LONGEST_STEP: usize = 16 << 20;

/// After a step that takes less time than this, the next step is twice as large; after a slower
/// step, it is half as large. A cancel has an effect only between two steps.
const QUICK: Duration = Duration::from_millis(100);

/// The maximum time that the kernel waits for room within a step. A fast peer makes room in this
/// time. With a slow peer, the step ends, and the client polls the socket as in other transfers.
const PATIENCE: Duration = Duration::from_millis(10);

/// The size of the next step, and whether the kernel waits for room: a file that fits into the
/// kernel's buffer needs no wait.
struct Steps {
    size: usize,
    is_patient: bool,
    /// The end of the current step, which has begun.
    deadline: Option<Deadline>,
}

impl Steps {
    const fn new() -> Self {
        Self { size: FIRST_STEP, is_patient: false, deadline: None }
    }

    /// Checks that the transfer goes on, and returns the socket; `None` if the kernel cannot send
    /// to it.
    fn begin<'t>(
        &mut self,
        transfer: &'t mut Transfer<&mut Client>,
    ) -> Result<Option<&'t TcpStream>, Error> {
        if self.deadline.is_none() {
            transfer.check()?;
            let deadline = transfer.deadline();
            transfer.client.control.go_on(deadline).map_err(|error| transfer.fail(error))?;
            self.deadline = Some(deadline);
        }
        // The control connection is not watched while the kernel waits for room.
        let looked = match self.is_patient && transfer.client.control.is_outstanding() {
            true => match transfer.client.control.poll_reply() {
                Ok(reply) => transfer.hear(reply).map(drop),
                Err(error) => Err(error),
            },
            false => Ok(()),
        };
        let looked = looked.and_then(|()| transfer.client.control.check());
        looked.map_err(|error| transfer.fail(error))?;
        let data = transfer.data.as_ref().filter(|_| transfer.ended.is_none());
        Ok(data.and_then(Stream::plain_tcp))
    }

    /// Waits for room. First makes the kernel do so within each later step, which is the only time
    /// that a socket blocks.
    fn wait(&mut self, transfer: &mut Transfer<&mut Client>) -> Result<(), Error> {
        let waited = match transfer.data.as_ref().and_then(Stream::plain_tcp) {
            Some(tcp) if !self.is_patient => {
                self.is_patient = true;
                let set = tcp.set_write_timeout(Some(PATIENCE));
                set.and_then(|()| tcp.set_nonblocking(false)).map_err(Error::Io)
            }
            _ => match &mut self.deadline {
                Some(deadline) => transfer.wait(PollFlags::OUT, deadline),
                None => Ok(()),
            },
        };
        waited.map_err(|error| transfer.fail(error))
    }

    /// Ends a step that took this time.
    fn end(&mut self, took: Duration) {
        self.deadline = None;
        self.size = match took < QUICK {
            true => (self.size * 2).min(LONGEST_STEP),
            false => (self.size / 2).max(FIRST_STEP),
        };
    }

    /// Ends all steps: the socket does not block any more.
    fn calm(&self, transfer: &Transfer<&mut Client>) -> Result<(), Error> {
        match transfer.data.as_ref().and_then(Stream::plain_tcp).filter(|_| self.is_patient) {
            Some(tcp) => tcp.set_nonblocking(true).map_err(Error::Io),
            None => Ok(()),
        }
    }
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

/// The number of pieces per second, high enough that no piece is noticeable as a burst.
const PIECES: u64 = 10;

/// A limit in bytes per second, shared by all transfers that have a clone of it.
#[derive(Clone, Debug)]
pub struct RateLimit {
    rate: u64,
    /// The earliest time at which the next byte may move.
    until: Arc<Mutex<Instant>>,
}

impl RateLimit {
    /// Returns a limit of `rate` bytes per second; 0 counts as 1.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), until: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Returns how many bytes may move at once: at least 1, at most `most`.
    fn piece(&self, most: usize) -> usize {
        usize::try_from((self.rate / PIECES).max(1)).unwrap_or(most).min(most)
    }

    /// Counts moved bytes, and returns how long to wait before the next ones.
    fn count(&self, bytes: usize) -> Duration {
        let time = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        let time = Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut until = lock(&self.until);
        // Idle time is not credited.
        *until = (*until).max(now) + time;
        until.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_quick_and_shrink_when_slow() {
        let mut steps = Steps::new();
        for (took, want) in [(0, 2), (99, 4), (5, 8), (0, 16), (0, 16), (100, 8), (900, 4)] {
            steps.end(Duration::from_millis(took));
            assert_eq!(steps.size, want << 20);
        }
        for _ in 0..9 {
            steps.end(QUICK);
        }
        assert_eq!(steps.size, FIRST_STEP);
    }

    #[test]
    fn a_shared_rate_limit_is_not_exceeded() {
        let limit = RateLimit::new(100_000);
        assert_eq!((limit.piece(1 << 18), limit.piece(10)), (10_000, 10));
        assert_eq!((RateLimit::new(3).piece(100), RateLimit::new(0).piece(100)), (1, 1));
        let start = Instant::now();
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..5).for_each(|_| std::thread::sleep(limit.count(2_000))));
            }
        });
        // A shorter time would exceed the limit; a longer one can happen on a busy machine.
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }
}
