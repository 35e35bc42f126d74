//! The lines of a listing, as an iterator that holds one line at a time.

use std::hash::{DefaultHasher, Hash, Hasher};

use ftp_proto::{ListEvent, ListReader, ParseError, ParseErrorKind, TransferLength, limits};

use super::ListingForm;
use super::cut::says_cut;
use crate::client::Client;
use crate::error::{Error, ListingCut};
use crate::transfer::{Begun, Transfer};

/// The lines of a listing: bytes without line endings. Empty lines are left out, except in `LIST`.
///
/// The last item is an error if the listing may be incomplete. It is [`Error::ListingCut`] if
/// the last line has no line ending, or if the final reply says that entries are missing. It is
/// another error if a line is too long or the server does not confirm the listing. A loop that ends
/// without an error has seen all that the server lists. Dropping the iterator early does no I/O;
/// the next call on the client aborts the transfer first.
///
/// ```no_run
/// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
/// use ftp_client::listing::{ListOptions, ListingForm};
///
/// for line in client.list_lines("pub", ListOptions::by(ListingForm::List))? {
///     println!("{}", String::from_utf8_lossy(&line?));
/// }
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a listing that is dropped is aborted"]
pub struct Lines<'a> {
    /// `None` after the last item.
    transfer: Option<Transfer<&'a mut Client>>,
    reader: ListReader,
    /// Bytes read so far.
    bytes: u64,
    form: ListingForm,
    /// The directory as sent to the server.
    directory: Vec<u8>,
    /// A fingerprint of the lines, for the comparison with the listing of another directory.
    fingerprint: Option<DefaultHasher>,
}

/// The rest of a listing; it does not borrow the client.
#[derive(Debug)]
pub(super) struct Rest {
    begun: Begun,
    reader: ListReader,
    bytes: u64,
    form: ListingForm,
    directory: Vec<u8>,
    fingerprint: Option<DefaultHasher>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(
        transfer: Transfer<&'a mut Client>,
        form: ListingForm,
        directory: Vec<u8>,
    ) -> Self {
        let reader = ListReader::new();
        Self { transfer: Some(transfer), reader, bytes: 0, form, directory, fingerprint: None }
    }

    /// Compares the lines with those of the previous listing; see [`Client::check_place`].
    pub(crate) fn compared(mut self) -> Self {
        self.fingerprint = Some(DefaultHasher::new());
        self
    }

    /// Returns the rest of the listing; `None` after the last item.
    pub(super) fn suspend(self) -> Option<Rest> {
        let Self { transfer, reader, bytes, form, directory, fingerprint } = self;
        transfer.map(|transfer| {
            let begun = transfer.suspend();
            Rest { begun, reader, bytes, form, directory, fingerprint }
        })
    }

    /// Resumes a listing.
    pub(super) fn resume(client: &'a mut Client, rest: Rest) -> Self {
        let Rest { begun, reader, bytes, form, directory, fingerprint } = rest;
        let transfer = Some(Transfer::new(client, begun));
        Self { transfer, reader, bytes, form, directory, fingerprint }
    }

    /// Returns the command that lists the directory; never [`Auto`](ListingForm::Auto).
    #[must_use]
    pub const fn form(&self) -> ListingForm {
        self.form
    }

    fn step(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let Some(transfer) = &mut self.transfer else { return Ok(None) };
            let Some(event) = self.reader.next() else {
                let mut piece = [0; limits::READ_AHEAD];
                let count = transfer.read(&mut piece)?;
                self.bytes += count as u64;
                if count > 0 {
                    // The reader takes all bytes, because it was emptied before.
                    let taken = self
                        .reader
                        .push(piece.get(..count).expect("a read fills at most the buffer"));
                    debug_assert_eq!(taken, count);
                    continue;
                }
                let is_cut = self.reader.finish().is_some();
                return self.conclude(is_cut);
            };
            match event {
                ListEvent::Line(line) if line.is_empty() && self.form != ListingForm::List => {}
                ListEvent::Line(line) => {
                    if let Some(fingerprint) = &mut self.fingerprint {
                        line.hash(fingerprint);
                    }
                    return Ok(Some(line));
                }
                ListEvent::TooLong => return Err(too_long()),
            }
        }
    }

    fn conclude(&mut self, is_cut: bool) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut transfer) = self.transfer.take() else { return Ok(None) };
        let reply = transfer.conclude(TransferLength::of(self.bytes))?.reply;
        if says_cut(&reply, &self.directory) {
            return Err(Error::ListingCut(ListingCut::Reply(reply)));
        }
        if is_cut {
            return Err(Error::ListingCut(ListingCut::LineEnd));
        }
        // All empty listings are equal.
        if let Some(lines) = self.fingerprint.take().filter(|_| self.bytes > 0) {
            transfer.client().check_place(&self.directory, lines.finish())?;
        }
        Ok(None)
    }
}

const fn too_long() -> Error {
    let kind = ParseErrorKind::TooLong;
    Error::Protocol(ParseError::new("listing line", limits::LISTING_LINE, kind))
}

impl Iterator for Lines<'_> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if !matches!(item, Some(Ok(_))) {
            // Nothing follows an error; the client aborts the rest.
            self.transfer = None;
        }
        item
    }
}
