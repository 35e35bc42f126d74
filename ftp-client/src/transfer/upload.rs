//! `Upload`: the data of `STOR`, `APPE` and `STOU`, and how a local file or a stream is sent.

use std::borrow::BorrowMut;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::TcpStream;
use std::time::Duration;

use ftp_proto::{
    AsciiEncoder, Command, Pathname, Reply, RepresentationType, TimeVal, TransferLength, Verb,
};
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::{Block, Broken, RateLimit, Report, Transfer};
use crate::client::Client;
use crate::data::coding::RawData;
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::net::Stream;
use crate::net::wait::Deadline;
use crate::system::sendfile;

/// The largest number of bytes to convert at a time.
const PIECE: usize = 16_384;

/// A running upload: write the data, then call [`finish`](Self::finish).
///
/// In mode S, each write goes to the socket at once; for small pieces wrap the upload in a
/// [`BufWriter`](std::io::BufWriter). For a local file use [`copy_from`](Self::copy_from).
///
/// Most uploads are an `Upload<&mut Client>`: it borrows the client, so no other command can be sent
/// during the transfer. [`begin`](Self::begin) makes one that owns its client.
///
/// ```no_run
/// use std::io::Write;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let mut file = client.store("a.txt")?;
/// file.write_all(b"hello\n")?;
/// file.finish()?;
/// client.rename("a.txt", "b.txt")?;
/// # Ok(())
/// # }
/// ```
///
/// A command during the transfer does not compile:
///
/// ```compile_fail,E0499
/// use std::io::Write;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let mut file = client.store("a.txt")?;
/// client.rename("a.txt", "b.txt")?;
/// file.write_all(b"hello\n")?;
/// file.finish()?;
/// # Ok(())
/// # }
/// ```
///
/// The compiler warns about an unused upload or an unused result of `finish`. With
/// `deny(unused_must_use)` these are errors:
///
/// ```no_run
/// #![deny(unused_must_use)]
/// # fn main() -> Result<(), ftp_client::Error> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let file = client.store("a.txt")?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # fn main() -> Result<(), ftp_client::Error> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// client.store("a.txt")?;
/// # Ok(())
/// # }
/// ```
///
/// ```no_run
/// #![deny(unused_must_use)]
/// # fn main() -> Result<(), ftp_client::Error> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let file = client.store("a.txt")?;
/// file.finish()?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # fn main() -> Result<(), ftp_client::Error> {
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// let file = client.store("a.txt")?;
/// file.finish();
/// # Ok(())
/// # }
/// ```
///
/// Dropping an upload early does no I/O. The next call on the client aborts the transfer first, and
/// closes the connection if the server does not answer. The data connection is reset, not closed,
/// so that the server does not take the partial file for a complete one.
///
/// [`Write`] returns wrapped [`Error`]s; [`Error::downcast`] unpacks them.
#[derive(Debug)]
#[must_use = "an upload that is not finished is aborted: call finish()"]
pub struct Upload<C: BorrowMut<Client>> {
    transfer: Transfer<C>,
    /// The number of bytes taken from the caller.
    bytes: u64,
    offset: u64,
    /// The path of the file; `None` if the server chooses the name or appends to the file.
    path: Option<Pathname>,
    text: Option<AsciiOut>,
}

/// The conversion of line endings, and a buffer that is reused for its result.
#[derive(Debug, Default)]
struct AsciiOut {
    encoder: AsciiEncoder,
    converted: Vec<u8>,
}

/// The command of an [`Upload`], and what it does to an existing file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UploadMode {
    /// Replaces the file (`STOR`).
    Replace,
    /// Continues the file at this byte (`REST`, `STOR`); write only the rest. If the offset is beyond
    /// the end of the server's file, most servers leave a hole.
    From(u64),
    /// Appends to the file, or creates it (`APPE`).
    Append,
    /// Leaves the file alone, and lets the server choose a new name (`STOU`). The path is only a wish;
    /// an empty one is not sent.
    Unique,
}

impl<C: BorrowMut<Client>> Upload<C> {
    /// Begins to upload to `path`, and keeps the client: an owned one, one that a pool lent, or a
    /// `&mut Client`. [`release`](Self::release) gives it back.
    ///
    /// ```no_run
    /// use std::io::Write;
    /// use ftp_client::{Client, Upload, UploadMode};
    ///
    /// struct Log {
    ///     lines: usize,
    ///     stream: Upload<Client>,
    /// }
    ///
    /// let mut client = Client::builder().connect("ftp.example.org")?;
    /// client.login("me", "secret")?;
    /// let stream = Upload::begin(client, "logs/today", UploadMode::Append)?;
    /// let mut log = Log { lines: 0, stream };
    /// writeln!(log.stream, "started")?;
    /// log.lines += 1;
    /// let (report, client) = log.stream.release();
    /// println!("{} lines, {} bytes", log.lines, report?.bytes);
    /// client.quit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] with the server's reply, such as 553 for a name that is not allowed, 452
    ///   or 552 if space runs out, or 425 if the server could not open the data connection.
    /// - [`Error::DataConnection`] if the client could not open the data connection.
    /// - [`Error::Tls`] if TLS fails on the data connection.
    /// - [`Error::Unsupported`] for active mode with a
    ///   [connector](crate::ClientBuilder::connector).
    /// - [`Error::Argument`] for a path that is empty, too long, or contains CR, LF or NUL, and for an
    ///   offset beyond 2^63 - 1.
    ///
    /// `client` is then dropped.
    pub fn begin(mut client: C, path: impl AsRef<[u8]>, mode: UploadMode) -> Result<Self, Error> {
        let there = client.borrow_mut();
        let (begun, path) = there.begin_upload(path.as_ref(), mode)?;
        let representation = there.representation();
        let offset = if let UploadMode::From(offset) = mode { offset } else { 0 };
        Ok(Self::new(Transfer::new(client, begun), representation, offset, path))
    }

    /// Ends the upload as [`finish`](Self::finish) does, and returns the client too, also after an
    /// error. [`Client::is_settled`] tells whether it can be used again.
    pub fn release(mut self) -> (Result<Report, Error>, C) {
        let report = self.end().and_then(|report| report.proved(None, false));
        (report, self.transfer.release())
    }

    /// Returns the client without ending the upload, as if the upload were dropped: the next call on
    /// the client aborts the transfer.
    pub fn detach(self) -> C {
        self.transfer.release()
    }

    /// Waits at most `limit` until the server takes more data. After `true`, the next
    /// [`write`](Write::write) takes some bytes without a wait, or returns why it cannot. With
    /// compression or a [reused](crate::ClientBuilder::reuse_data) data connection, always returns
    /// `true`.
    ///
    /// # Errors
    ///
    /// Returns the error of the next write, also [`Error::Timeout`] if the server has taken nothing
    /// for the stall timeout.
    pub fn is_ready(&mut self, limit: Duration) -> Result<bool, Error> {
        self.transfer.is_ready(PollFlags::OUT, limit)
    }

    pub(crate) fn new(
        transfer: Transfer<C>,
        representation: RepresentationType,
        offset: u64,
        path: Option<Pathname>,
    ) -> Self {
        let text = match representation {
            RepresentationType::Image => None,
            RepresentationType::Ascii => Some(AsciiOut::default()),
        };
        Self { transfer, bytes: 0, offset, path, text }
    }

    /// Returns the name that the server chose for an upload by
    /// [`Client::store_unique`](crate::Client::store_unique).
    ///
    /// Returns `None` unless the server's first reply contains the name, as RFC 1123 §4.1.2.9
    /// requires (`150 FILE: name`). Other servers send the name in the final reply: see
    /// [`Report::unique_name`].
    #[must_use]
    pub fn unique_name(&self) -> Option<Pathname> {
        self.name_in(&self.transfer.first)
    }

    fn name_in(&self, reply: &Reply) -> Option<Pathname> {
        Some(reply).filter(|_| self.transfer.verb == Verb::Stou).and_then(name_in)
    }

    /// Returns the number of bytes written so far.
    ///
    /// In an ASCII transfer these are the bytes before the conversion, with LF alone at the end of
    /// a line.
    #[must_use]
    pub const fn transferred(&self) -> u64 {
        self.bytes
    }

    /// Announces the file that you upload next.
    ///
    /// After this upload, you must call [`size`](crate::Client::size) for this file, and then
    /// [`store`](crate::Client::store) for the next one.
    ///
    /// If transfers [reuse](crate::ClientBuilder::reuse_data) the data connection, the client sends
    /// both commands together with the end of this file. The server can then begin the next upload
    /// at once; most servers then empty an existing file of that name. The client sends the data of
    /// the next file only after the server has accepted its upload. Any other command discards the
    /// planned upload, and closes the data connection. If the next upload cannot use the same data
    /// connection, `plan_next` has no effect.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let names = ["a.txt", "b.txt", "c.txt"];
    /// for (number, name) in names.iter().enumerate() {
    ///     let file = std::fs::File::open(name)?;
    ///     let mut upload = client.store(name)?;
    ///     if let Some(next) = names.get(number + 1) {
    ///         upload.plan_next(next);
    ///     }
    ///     let report = upload.copy_from_file(&file)?;
    ///     assert_eq!(client.size(name)?, Some(report.bytes));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plan_next(&mut self, next: impl AsRef<[u8]>) {
        let Some(path) = self.path.clone().filter(|_| self.text.is_none()) else { return };
        // If the path cannot be sent, the next upload itself reports that.
        let next = Pathname::new(next.as_ref()).ok();
        if let Some(next) = next.filter(|next| self.transfer.may_go_ahead(next)) {
            self.transfer.next = vec![Command::Size(path), Command::Stor(next)];
        }
    }

    /// Announces the modification time of an earlier upload, which you set after this one.
    ///
    /// If the next upload was [announced](Self::plan_next) and is requested together with the end of this
    /// one, so is the time. After [`size`](crate::Client::size) for this file, you must then call
    /// [`set_modified`](crate::Client::set_modified) with this path and time. Otherwise, `plan_time` has
    /// no effect.
    pub fn plan_time(&mut self, path: impl AsRef<[u8]>, time: TimeVal) {
        let Ok(path) = Pathname::new(path.as_ref()) else { return };
        if !self.transfer.next.is_empty() && self.transfer.may_go_ahead(&path) {
            self.transfer.next.insert(1, Command::Mfmt(time, path));
        }
    }

    /// Ends the upload: marks the end of the data, and waits for the server's confirmation.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] with the server's reason, such as 426, 452 or 552.
    /// - [`Error::Unexpected`] if the server confirmed data whose end it cannot have seen.
    /// - [`Error::Io`] if the data connection was reset. If the server has confirmed a file all the
    ///   same, its size can prove the upload: compare that with the size before the upload.
    /// - [`Error::Timeout`] if the server does not answer.
    /// - The error of an earlier write that failed.
    pub fn finish(mut self) -> Result<Report, Error> {
        self.end()?.proved(None, false)
    }

    /// Ends the upload as [`finish`](Self::finish) does, but the caller must prove it if its report
    /// has a [`Cut`](super::Cut).
    fn end(&mut self) -> Result<Report, Error> {
        let mut length = TransferLength::of(self.bytes);
        length.offset = self.offset;
        let mut report = self.transfer.conclude(length, None)?;
        report.unique_name = self.unique_name().or_else(|| self.name_in(&report.reply));
        Ok(report)
    }

    /// Ends a failed upload and returns the error that explains the failure. `error` is the error
    /// of a write or of the source: another transfer, or your own, such as a local file.
    ///
    /// After a failed write, the server's reply has priority, since it explains more than a broken
    /// connection. After an error of the source, the transfer is aborted, so that the server does
    /// not take the partial file for a complete one. Your own error becomes [`Error::Local`].
    #[must_use]
    pub fn fail(mut self, error: io::Error) -> Error {
        self.transfer.explain(error)
    }

    /// Stops the upload, and makes the client ready for its next command.
    ///
    /// The server decides whether to keep the part that was sent.
    ///
    /// # Errors
    ///
    /// Returns errors of the control connection, which is then closed.
    pub fn abort(mut self) -> Result<(), Error> {
        self.transfer.abort()
    }
}

impl<C: BorrowMut<Client>> Write for Upload<C> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.text {
            None => self.transfer.write(data)?,
            Some(AsciiOut { encoder, converted }) => {
                let piece = data.get(..PIECE).unwrap_or(data);
                converted.clear();
                encoder.encode(piece, converted);
                let mut rest = converted.as_slice();
                while !rest.is_empty() {
                    let written = self.transfer.write(rest)?;
                    rest = rest.get(written..).expect("a write takes no more than it is given");
                }
                piece.len()
            }
        };
        self.bytes += count as u64;
        Ok(count)
    }

    /// Does nothing: [`finish`](Self::finish) sends any bytes that are held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Finds the name that a server chose for `STOU` in a reply. RFC 1123 §4.1.2.9 defines `150 FILE: name`. Some servers put words
/// before `FILE:`; BSD servers put the name at the end, `226 Transfer complete (unique file
/// name:name).`; others quote it. The name may be on any line.
fn name_in(reply: &Reply) -> Option<Pathname> {
    reply.lines().find_map(name_in_line)
}

fn name_in_line(text: &[u8]) -> Option<Pathname> {
    let name = if let Some(rest) = text_after(text, b"unique file name:") {
        let end = rest.iter().rposition(|&byte| byte == b')').unwrap_or(rest.len());
        rest.get(..end).expect("`end` is within the text")
    } else if let Some(rest) = text_after(text, b"FILE:") {
        rest
    } else {
        return Pathname::parse_quoted(text).ok();
    };
    let name = name.strip_prefix(b" ").unwrap_or(name);
    Pathname::new(name).ok()
}

/// Returns the text after the first `word` that is at the beginning or follows a space or an
/// opening parenthesis.
fn text_after<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let mut windows = text.windows(word.len()).enumerate();
    let (at, _) = windows.find(|(at, window)| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        window.eq_ignore_ascii_case(word) && before.is_none_or(|byte| matches!(byte, b' ' | b'('))
    })?;
    text.get(at + word.len()..)
}

/// How a copy is limited, and what sees its bytes. Without both, the kernel sends a file directly if
/// it can.
#[derive(Default)]
pub(crate) struct Watch<'a> {
    rate: Option<&'a RateLimit>,
    /// Receives [`Event::Moved`].
    on: Option<&'a dyn Observer>,
    /// The number of bytes that the copy has moved, whether it succeeded or failed.
    pub(crate) moved: u64,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(rate: Option<&'a RateLimit>, on: &'a dyn Observer) -> Self {
        Self { rate, on: Some(on).filter(|on| on.wants_bytes()), moved: 0 }
    }

    const fn is_idle(&self) -> bool {
        self.rate.is_none() && self.on.is_none()
    }

    /// Reports a piece, and returns how long to wait before the next piece.
    fn pass(&self, piece: &[u8]) -> Option<Duration> {
        if let Some(on) = self.on {
            on.event(Event::Moved { bytes: piece.len() as u64 });
        }
        self.rate.map(|rate| rate.count(piece.len()))
    }
}

pub(crate) enum Source<'a> {
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

impl<C: BorrowMut<Client>> Upload<C> {
    /// Sends a whole stream, and finishes the upload.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// client.store("a.bin")?.copy_from_file(&std::fs::File::open("a.bin")?)?;
    /// client.store("b.txt")?.copy_from(&mut "hello\n".as_bytes())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`finish`](Self::finish), and [`Error::Local`] if the source fails.
    /// After a local error, the transfer is aborted, so that the server does not take the partial
    /// file for a complete one.
    pub fn copy_from(self, mut from: &mut (impl Read + ?Sized)) -> Result<Report, Error> {
        let report = self.copy_from_watched(Source::Stream(&mut from), &mut Watch::default())?;
        report.proved(None, false)
    }

    /// Sends a local file from its position to its end, and finishes the upload.
    ///
    /// In type image and mode S, without TLS, the kernel sends the file directly if the file system
    /// allows it (`sendfile` on Linux).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`copy_from`](Self::copy_from), and [`Error::Local`] of
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the file shrinks during the upload.
    pub fn copy_from_file(self, file: &File) -> Result<Report, Error> {
        self.copy_from_watched(Source::File(file), &mut Watch::default())?.proved(None, false)
    }

    /// Copies like [`copy_from`](Self::copy_from), limited and watched. The caller must prove an
    /// upload whose report has a [`Cut`](super::Cut).
    pub(crate) fn copy_from_watched(
        mut self,
        from: Source<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Report, Error> {
        let sent = send(&mut self, from, watch);
        watch.moved = self.transferred();
        match sent {
            Ok(()) => self.end(),
            Err(Broken::Here(error)) => Err(self.transfer.leave(Error::local(error))),
            Err(Broken::There(error)) => Err(self.fail(error)),
        }
    }
}

fn send<C: BorrowMut<Client>>(
    upload: &mut Upload<C>,
    mut source: Source<'_>,
    watch: &Watch<'_>,
) -> Result<(), Broken> {
    let before = upload.transferred();
    let left = source.left().map_err(Broken::Here)?;
    let mut is_sent = false;
    if let Source::File(file) = &source
        && watch.is_idle()
        && upload.text.is_none()
        && upload.transfer.coding.is_none()
    {
        let transfer = &mut upload.transfer;
        let mut steps = Steps::default();
        // What the kernel cannot send is read and written, which shows which side fails.
        let done = loop {
            let tcp = match steps.begin(transfer) {
                Ok(Some(tcp)) => tcp,
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            };
            match sendfile(tcp, file, None, STEP) {
                Ok(0) => break Ok(true),
                Ok(count) => {
                    upload.bytes += count as u64;
                    steps.deadline = None;
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

/// The number of bytes that the kernel is asked to send in a step (`sendfile`). A cancel has an effect
/// only between two steps, and larger ones are no faster.
const STEP: usize = 1 << 20;

/// The maximum time that the kernel waits for room within a step. A fast peer makes room in this
/// time. With a slow peer, the step ends, and the client polls the socket as in other transfers.
const PATIENCE: Duration = Duration::from_millis(10);

/// The steps of a file.
#[derive(Default)]
struct Steps {
    /// Whether the kernel waits for room: a file that fits into its buffer needs no wait.
    is_patient: bool,
    /// The end of the current step, which has begun.
    deadline: Option<Deadline>,
}

impl Steps {
    /// Checks that the transfer goes on, and returns the socket; `None` if the kernel cannot send
    /// to it.
    fn begin<'t, C: BorrowMut<Client>>(
        &mut self,
        transfer: &'t mut Transfer<C>,
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
    fn wait<C: BorrowMut<Client>>(&mut self, transfer: &mut Transfer<C>) -> Result<(), Error> {
        let waited = match transfer.data.as_ref().and_then(Stream::plain_tcp) {
            Some(tcp) if !self.is_patient => {
                self.is_patient = true;
                let set = tcp.set_write_timeout(Some(PATIENCE));
                set.and_then(|()| tcp.set_nonblocking(false)).map_err(Error::io)
            }
            _ => match &mut self.deadline {
                Some(deadline) => transfer.wait(PollFlags::OUT, deadline),
                None => Ok(()),
            },
        };
        waited.map_err(|error| transfer.fail(error))
    }

    /// Ends all steps: the socket does not block any more.
    fn calm<C: BorrowMut<Client>>(&self, transfer: &Transfer<C>) -> Result<(), Error> {
        match transfer.data.as_ref().and_then(Stream::plain_tcp).filter(|_| self.is_patient) {
            Some(tcp) => tcp.set_nonblocking(true).map_err(Error::io),
            None => Ok(()),
        }
    }
}

fn send_blocks<C: BorrowMut<Client>>(
    upload: &mut Upload<C>,
    source: &mut Source<'_>,
    watch: &Watch<'_>,
) -> Result<(), Broken> {
    let mut block = Block::new(watch.rate);
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
            upload.transfer.pause(pause);
        }
        block.grow(length);
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyCode;

    use super::*;

    #[test]
    fn names_in_stou_replies_are_found() {
        for (text, want) in [
            ("FILE: a.1", Some("a.1")),
            ("File: a b ", Some("a b ")),
            ("FILE:a", Some("a")),
            ("Opening data connection. FILE: /home/u/x", Some("/home/u/x")),
            ("Transfer complete (unique file name:a.1).", Some("a.1")),
            ("Transfer complete (unique file name: a(1)).", Some("a(1)")),
            ("Stored as \"a\"\"b\"", Some("a\"b")),
            ("PROFILE: a", None),
            ("FILE: ", None),
            ("Opening BINARY mode data connection.", None),
            ("", None),
        ] {
            let found = name_in(&Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, text));
            let found = found.map(Pathname::into_bytes);
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{text}");
        }
        // A reply of Pure-FTPd.
        let lines = ["FILE: pureftpd.1"];
        let code = ReplyCode::FILE_ACTION_OKAY;
        let reply = Reply::multi_line(code, "FILE: pureftpd.0", lines, "Accepted data connection");
        assert_eq!(name_in(&reply).map(Pathname::into_bytes), Some(b"pureftpd.0".to_vec()));
    }
}
