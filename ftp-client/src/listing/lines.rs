//! The lines of a listing, as an iterator that holds one at a time.

use ftp_proto::{ListEvent, ListReader, ParseError, ParseErrorKind, limits};

use super::ListingForm;
use crate::error::Error;
use crate::transfer::Transfer;

/// The lines of a listing: bytes, without their line ends. Empty lines are left out, but for those
/// of `LIST`.
///
/// The last item is an error if the server does not say that the listing is whole, so a loop that
/// takes all items without one has seen all of it. Dropped before that, it does no I/O; the next
/// call on the client aborts the transfer first.
///
/// ```no_run
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// use ftp_client::{ListingForm, ListOptions};
///
/// for line in client.list_lines("pub", ListOptions::by(ListingForm::List))? {
///     println!("{}", String::from_utf8_lossy(&line?));
/// }
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a listing that is dropped is aborted"]
pub struct Lines<'a> {
    /// `None` behind the last item.
    transfer: Option<Transfer<'a>>,
    reader: ListReader,
    /// Bytes read so far.
    bytes: u64,
    form: ListingForm,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(transfer: Transfer<'a>, form: ListingForm) -> Self {
        Self { transfer: Some(transfer), reader: ListReader::new(), bytes: 0, form }
    }

    /// How the directory is listed: never [`Auto`](ListingForm::Auto).
    #[must_use]
    pub const fn form(&self) -> ListingForm {
        self.form
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
                ListEvent::Line(line) if line.is_empty() && self.form != ListingForm::List => {}
                ListEvent::Line(line) => return Ok(Some(line)),
                ListEvent::TooLong => return Err(too_long()),
            }
        }
    }

    fn conclude(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(mut transfer) = self.transfer.take() {
            transfer.conclude(self.bytes)?;
        }
        Ok(None)
    }
}

const fn too_long() -> Error {
    let kind = ParseErrorKind::TooLong;
    Error::Protocol(ParseError::new("line of a listing", limits::LISTING_LINE, kind))
}

impl Iterator for Lines<'_> {
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
