//! Names, lines and entries of directories, as iterators that hold one line at a time
//! (RFC 959 §4.1.3 `LIST`, `NLST`; RFC 3659 §7 `MLSD`).

use ftp_proto::{Facts, ParseError, ParseErrorKind};

use crate::error::Error;
use crate::transfer::Transfer;

/// The longest line of a listing, in bytes without its line end: many times the longest name.
const LINE: usize = 65_536;

/// How much is read at a time, in bytes.
const PIECE: usize = 16_384;

/// The lines of a listing: bytes, without their line ends.
///
/// The last item is an error if the server does not say that the listing is whole, so a loop that
/// takes all items without one has seen all of it. Dropped before that, it does no I/O; the next
/// call on the client aborts the transfer first.
///
/// ```no_run
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org", 21)?;
/// for name in client.names(None)? {
///     println!("{}", String::from_utf8_lossy(&name?));
/// }
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a listing that is dropped is aborted"]
pub struct Listing<'a> {
    /// `None` behind the last item.
    transfer: Option<Transfer<'a>>,
    /// What was read and not given out: whole lines, then the beginning of one.
    buffer: Vec<u8>,
    /// Where in `buffer` the next line begins.
    start: usize,
    /// Up to where in `buffer` there is no line end behind `start`.
    searched: usize,
    /// The end of the data was seen.
    ended: bool,
    /// Bytes of lines given out.
    bytes: u64,
    keep_empty: bool,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(transfer: Transfer<'a>, keep_empty: bool) -> Self {
        let (buffer, start, searched) = (Vec::new(), 0, 0);
        let transfer = Some(transfer);
        Self { transfer, buffer, start, searched, ended: false, bytes: 0, keep_empty }
    }

    fn step(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            while let Some(line) = self.take_line()? {
                if self.keep_empty || !line.is_empty() {
                    return Ok(Some(line));
                }
            }
            if self.ended {
                if let Some(transfer) = self.transfer.take() {
                    transfer.conclude(self.bytes)?;
                }
                return Ok(None);
            }
            let Some(transfer) = &mut self.transfer else { return Ok(None) };
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
            let mut piece = [0; PIECE];
            let count = transfer.read(&mut piece)?;
            self.buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
            self.ended = count == 0;
        }
    }

    /// The next line that is in the buffer; the last may lack its end.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        let end = unseen.iter().position(|&byte| byte == b'\n').map(|at| self.searched + at);
        let waiting = self.buffer.len() - self.start;
        let (end, next) = match end {
            Some(end) => (end, end + 1),
            None if self.ended && waiting > 0 => (self.buffer.len(), self.buffer.len()),
            None => {
                self.searched = self.buffer.len();
                return if waiting > LINE { Err(too_long()) } else { Ok(None) };
            }
        };
        let line = self.buffer.get(self.start..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.bytes += (next - self.start) as u64;
        (self.start, self.searched) = (next, next);
        if line.len() > LINE { Err(too_long()) } else { Ok(Some(line)) }
    }
}

const fn too_long() -> Error {
    Error::Protocol(ParseError::new("line of a listing", LINE, ParseErrorKind::TooLong))
}

impl Iterator for Listing<'_> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if !matches!(item, Some(Ok(_))) {
            // Behind an error there is nothing more to read; the client aborts what is left.
            (self.transfer, self.ended, self.start) = (None, true, self.buffer.len());
            self.searched = self.start;
        }
        item
    }
}

/// The entries of a directory with their facts.
///
/// The last item is an error if the server does not say that the listing is whole. A line that is
/// no entry is an [`Error::Protocol`] too; the connection is not closed over it, and the next item
/// is the line behind it. The names are what the server sent: one may hold `/` or be `..`.
///
/// ```no_run
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org", 21)?;
/// for entry in client.entries(Some(b"pub"))? {
///     let entry = entry?;
///     println!("{:?} {}", entry.size(), String::from_utf8_lossy(entry.name()));
/// }
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a listing that is dropped is aborted"]
pub struct Entries<'a>(pub(crate) Listing<'a>);

impl Iterator for Entries<'_> {
    type Item = Result<Facts, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.0.next()?;
        Some(line.and_then(|line| Facts::parse(&line).map_err(Error::Protocol)))
    }
}
