//! `Upload`: data into `STOR` and `APPE`.

use std::io::{self, Write};
use std::time::Duration;

use ftp_proto::{AsciiEncoder, Pathname, RepresentationType, TransferLength};

use super::verdict::error_of;
use super::{Report, Transfer};
use crate::error::Error;

/// How much is converted at a time, in bytes.
const PIECE: usize = 16_384;

/// A file that is being uploaded: write it, then call [`finish`](Self::finish).
///
/// Each write goes to the socket at once; wrap it in a [`BufWriter`](std::io::BufWriter) if the
/// pieces are small, and give a local file to [`copy_from`](Self::copy_from). It borrows the
/// client, so that no other command can be sent meanwhile:
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
/// The same with the last line two lines higher, a command while the transfer runs, is refused:
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
/// An upload that nobody keeps and an end that nobody looks at are warnings of the compiler's, and
/// errors where a program says so:
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
/// Dropped before its end, it does no I/O, and the data connection will be reset, not ended, so
/// that no server takes the part for the whole. The next call on the client aborts the transfer
/// first, which closes the connection if the server does not answer.
///
/// Errors of [`Write`] are [`Error`]s; [`Error::recover`] takes them out.
#[derive(Debug)]
#[must_use = "an upload that is not finished is aborted: call finish()"]
pub struct Upload<'a> {
    pub(super) transfer: Transfer<'a>,
    /// Bytes taken from the caller.
    pub(super) bytes: u64,
    /// Where in the file the transfer began.
    offset: u64,
    /// The file whose length is to be asked for afterwards.
    check: Option<Pathname>,
    pub(super) text: Option<AsciiOut>,
}

/// The conversion of line ends, and its result, kept for its allocation.
#[derive(Debug, Default)]
pub(super) struct AsciiOut {
    encoder: AsciiEncoder,
    converted: Vec<u8>,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(
        transfer: Transfer<'a>,
        representation: RepresentationType,
        offset: u64,
        check: Option<Pathname>,
    ) -> Self {
        let text = match representation {
            RepresentationType::Image => None,
            RepresentationType::Ascii => Some(AsciiOut::default()),
        };
        Self { transfer, bytes: 0, offset, check, text }
    }

    /// Where in the file the upload began, in bytes: what is written goes after that.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The name that the server chose for the file, if this is an upload by
    /// [`Client::store_unique`](crate::Client::store_unique) and the server told it at the
    /// beginning, as RFC 1123 §4.1.2.9 demands (`150 FILE: name`). Others tell it at the end, in
    /// the [`Report`].
    #[must_use]
    pub fn unique_name(&self) -> Option<Pathname> {
        self.transfer.unique_name()
    }

    /// How many bytes were written so far: in an ASCII transfer those that went into the
    /// conversion, with LF alone at the end of a line.
    #[must_use]
    pub const fn transferred(&self) -> u64 {
        self.bytes
    }

    /// Ends the upload: marks the end of the data, and waits for the server to say that it has
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the server's reason, such as 426, 452 or 552;
    /// [`Error::Unexpected`] or [`Error::Io`] if it confirmed what it cannot have seen the end of;
    /// [`Error::Timeout`] if the server says nothing; [`Error::Incomplete`] if the length is
    /// [checked](crate::Client::set_length_check) and the server's is another. The error of a
    /// failed write is given again.
    pub fn finish(mut self) -> Result<Report, Error> {
        let mut length = TransferLength::of(self.bytes);
        length.offset = self.offset;
        let report = self.transfer.conclude(length)?;
        if let Some(path) = self.check.take() {
            length.stored = self.transfer.client().length(path.as_bytes())?;
            let verb = self.transfer.verb;
            length.check().map_err(|fault| error_of(fault, verb, &report.reply))?;
        }
        Ok(report)
    }

    /// Ends an upload that cannot go on, and gives the error that says why. `error` is what a write
    /// to it failed with, or else the caller's own, such as that of a local file.
    ///
    /// What the server says of a transfer is worth more than a broken connection, so that its reply
    /// is read first. The caller's own error has the transfer aborted, so that no server takes the
    /// part for the whole, and becomes [`Error::Local`].
    #[must_use]
    pub fn fail(self, error: io::Error) -> Error {
        match Error::recover(error) {
            Ok(error) => self.finish().err().unwrap_or(error),
            Err(error) => self.leave(error),
        }
    }

    /// Ends an upload whose bytes cannot be read.
    pub(super) fn leave(self, error: io::Error) -> Error {
        // What it fails with is not what the caller has to know.
        let _ = self.abort();
        Error::Local(error)
    }

    /// Lets time go by before the next write.
    pub(super) fn pause(&mut self, length: Duration) {
        self.transfer.pause(length);
    }

    /// Stops the upload, and makes the client ready for its next command. What becomes of the
    /// part that was sent is up to the server.
    ///
    /// # Errors
    ///
    /// Any of the control connection, which is then closed.
    pub fn abort(self) -> Result<(), Error> {
        self.transfer.abort()
    }
}

impl Write for Upload<'_> {
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

    /// Does nothing: nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
