//! Names, lines and entries of directories, as iterators that hold one line at a time
//! (RFC 959 §4.1.3 `LIST`, `NLST`; RFC 3659 §7 `MLSD`).

use ftp_proto::{Facts, ListEvent, ListReader, ParseError, ParseErrorKind, limits};

use crate::error::Error;
use crate::transfer::Transfer;

/// The lines of a listing: bytes, without their line ends.
///
/// The last item is an error if the server does not say that the listing is whole, so a loop that
/// takes all items without one has seen all of it. Dropped before that, it does no I/O; the next
/// call on the client aborts the transfer first.
///
/// ```no_run
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
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
    reader: ListReader,
    /// Bytes read so far.
    bytes: u64,
    keep_empty: bool,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(transfer: Transfer<'a>, keep_empty: bool) -> Self {
        Self { transfer: Some(transfer), reader: ListReader::new(), bytes: 0, keep_empty }
    }

    fn step(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let Some(transfer) = &mut self.transfer else { return Ok(None) };
            let event = match self.reader.next() {
                Some(event) => event,
                None => {
                    let mut piece = [0; limits::READ_AHEAD];
                    let count = transfer.read(&mut piece)?;
                    self.bytes += count as u64;
                    if count > 0 {
                        self.reader.push(piece.get(..count).unwrap_or_default());
                        continue;
                    }
                    // The last line may lack its end.
                    match self.reader.finish() {
                        Some(event) => event,
                        None => return self.conclude(),
                    }
                }
            };
            match event {
                ListEvent::Line(line) if line.is_empty() && !self.keep_empty => {}
                ListEvent::Line(line) => return Ok(Some(line)),
                ListEvent::TooLong => return Err(too_long()),
            }
        }
    }

    fn conclude(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(transfer) = self.transfer.take() {
            transfer.conclude(self.bytes)?;
        }
        Ok(None)
    }
}

const fn too_long() -> Error {
    let kind = ParseErrorKind::TooLong;
    Error::Protocol(ParseError::new("line of a listing", limits::LISTING_LINE, kind))
}

impl Iterator for Listing<'_> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if !matches!(item, Some(Ok(_))) {
            // Behind an error there is nothing more to read; the client aborts what is left.
            self.transfer = None;
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
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
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
