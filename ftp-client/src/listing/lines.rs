//! The lines of a listing, as an iterator that holds one line at a time, and whether the final reply
//! says that entries are missing.

use std::hash::{DefaultHasher, Hash, Hasher};

use ftp_proto::{ListEvent, ListReader, ParseError, ParseErrorKind, Reply, TransferLength, limits};

use super::ListingForm;
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
    bytes: u64,
    form: ListingForm,
    directory: Vec<u8>,
    /// A fingerprint of the lines, for the comparison with the listing of another directory.
    fingerprint: Option<DefaultHasher>,
}

/// The rest of a listing; it does not borrow the client.
#[derive(Debug)]
pub(super) struct ListingRest {
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
    pub(super) fn suspend(self) -> Option<ListingRest> {
        let Self { transfer, reader, bytes, form, directory, fingerprint } = self;
        transfer.map(|transfer| {
            let begun = transfer.suspend();
            ListingRest { begun, reader, bytes, form, directory, fingerprint }
        })
    }

    pub(super) fn resume(client: &'a mut Client, rest: ListingRest) -> Self {
        let ListingRest { begun, reader, bytes, form, directory, fingerprint } = rest;
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
                    let charset = transfer.client().config.charset;
                    return Ok(Some(match charset {
                        Some(charset) => charset.decode(&line),
                        None => line,
                    }));
                }
                ListEvent::TooLong => return Err(too_long()),
            }
        }
    }

    fn conclude(&mut self, is_cut: bool) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut transfer) = self.transfer.take() else { return Ok(None) };
        let reply = transfer.conclude(TransferLength::of(self.bytes), None)?.reply;
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

/// Phrases, in lower case, with which servers report a truncated listing in a final 226.
const CUT: [&[u8]; 28] = [
    // Pure-FTPd: "Output truncated to 10000 matches".
    b"truncated",
    b"incomplete",
    b"not complete",
    b"partial list",
    b"partial director",
    b"limit reached",
    b"limit exceeded",
    b"limit was reached",
    b"exceeds the limit",
    b"too many",
    b"only the first",
    // vsftpd: "Transfer done (but failed to open directory)."
    b"failed",
    // Pure-FTPd: "Sorry, we were unable to read [d]".
    b"unable to",
    b"could not",
    b"couldn't",
    b"cannot",
    b"can't",
    b"can not",
    b"not able to",
    b"permission denied",
    b"access denied",
    b"access is denied",
    b"not permitted",
    b"no such",
    b"not found",
    b"aborted",
    b"interrupted",
    b"with error",
];

/// Returns whether the final reply of a directory listing says that entries are missing. Quoted
/// text and the requested path are ignored. A directory name without a slash is not ignored, since
/// it may be one of the server's own words.
fn says_cut(reply: &Reply, directory: &[u8]) -> bool {
    reply.lines().any(|line| {
        let text = without_names(line, directory).to_ascii_lowercase();
        CUT.iter().any(|words| text.windows(words.len()).any(|part| part == *words))
    })
}

/// Returns a line without quoted text, and without the directory's path if that contains a slash.
fn without_names(line: &[u8], directory: &[u8]) -> Vec<u8> {
    let quotes = line.iter().filter(|byte| **byte == b'"').count();
    // If a quote is unpaired, it may belong to a name, so the whole line counts.
    let parts = line.split(|byte| *byte == b'"').enumerate();
    let shown = parts.filter(|(at, _)| at % 2 == 0 || quotes % 2 == 1).map(|(_, part)| part);
    let mut text = shown.collect::<Vec<_>>().join(&b' ');
    if !directory.contains(&b'/') {
        return text;
    }
    let is_in_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let named = text.windows(directory.len().max(1)).enumerate().position(|(at, part)| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        part == directory && !is_in_word(before) && !is_in_word(text.get(at + part.len()))
    });
    if let Some(at) = named {
        text.drain(at..at + directory.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyDecoder;

    use super::*;

    #[test]
    fn replies_to_truncated_listings_are_recognised() {
        for (text, directory, want) in [
            // vsftpd.
            ("226 Transfer done (but failed to open directory).", "d", true),
            ("226 Directory send OK.", "d", false),
            // Pure-FTPd.
            ("226 Output truncated to 10000 matches", "", true),
            ("226-Options: -a -l \r\n226 Output truncated to 10000 matches", "", true),
            ("226-Sorry, we were unable to read [t/sub]\r\n226 0 matches total", "t/sub", true),
            ("226-Options: -a -l \r\n226 6 matches total", "", false),
            // ProFTPD, pyftpdlib, IIS, wu-ftpd, Serv-U, FileZilla Server, Gene6, CrushFTP.
            ("226 Transfer complete", "", false),
            ("226 Transfer complete.", "", false),
            ("226 Transfer complete. 1,234 bytes transferred. 12.34 KB/sec.", "", false),
            ("226 Successfully transferred \"/pub\"", "pub", false),
            ("226 Operation successful", "", false),
            ("226 Directory sent OK. (12 ms)", "", false),
            ("250 Requested file action okay, completed.", "", false),
            ("226-free space: 12 GB\r\n226 Closing data connection.", "", false),
            ("226 Listing aborted: permission denied", "", true),
            ("226 Transfer complete. Speed limited to 100 KB/s", "", false),
            ("226 Too many entries, only the first 2000 were sent", "", true),
            ("226 Output truncated to 10000 matches", "d", true),
            // Names do not count.
            ("226 Successfully transferred \"/truncated\"", "truncated", false),
            ("226 Listed /backup/incomplete", "/backup/incomplete", false),
            ("226 Listed \"failed", "", true),
        ] {
            let mut decoder = ReplyDecoder::new();
            let _ = decoder.push(format!("{text}\r\n").as_bytes());
            let reply = decoder.next().unwrap().unwrap();
            assert_eq!(says_cut(&reply, directory.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_directory_name_does_not_hide_a_truncated_listing() {
        for (text, directory) in [
            ("226 Output truncated to 10000 matches", "truncated"),
            ("226 Transfer done (but failed to open directory).", "failed"),
            ("226-Sorry, we were unable to read [unable to]\r\n226 0 matches total", "unable to"),
            ("226 Too many entries", "Too many"),
        ] {
            let mut decoder = ReplyDecoder::new();
            let _ = decoder.push(format!("{text}\r\n").as_bytes());
            let reply = decoder.next().unwrap().unwrap();
            assert!(says_cut(&reply, directory.as_bytes()), "{text}");
        }
    }
}
