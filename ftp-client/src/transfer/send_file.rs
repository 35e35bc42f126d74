//! Sending a local file by the kernel, if it can.

use std::fs::File;
use std::io;

use super::copy::{self, Broken, Source, Watch};
use super::{Transfer, Upload};
use crate::error::Error;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::net::stream::Stream;

/// The number of bytes that the kernel is asked to send at a time. It stops earlier if the socket
/// has no more room.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PIECE: usize = 16 * 1_024 * 1_024;

impl Upload<'_> {
    /// Sends a local file from its position to its end, as [`copy_from`](Self::copy_from) does, and
    /// returns the number of bytes.
    ///
    /// More can be written after it.
    ///
    /// # Errors
    ///
    /// Returns errors like those of [`Write`](io::Write): a wrapped [`Error`], which
    /// [`Error::recover`] unpacks, or the file's own error. If the file cannot be read to its end,
    /// or shrinks during the upload ([`UnexpectedEof`](io::ErrorKind::UnexpectedEof)), the upload
    /// cannot be finished; call [`fail`](Self::fail), so that the server does not take the partial
    /// file for a complete one.
    pub fn send_file(&mut self, file: &File) -> io::Result<u64> {
        let before = self.bytes;
        match copy::send(self, Source::File(file), &mut Watch::new()) {
            Ok(()) => Ok(self.bytes - before),
            Err(Broken::There(error)) => Err(error),
            Err(Broken::Here(error)) => {
                let again = io::Error::new(error.kind(), error.to_string());
                self.transfer.failed = Some(Error::Io(again));
                Err(error)
            }
        }
    }

    /// Makes the kernel send a piece of a file from its position on; 0 is its end. `None` if the
    /// kernel cannot do it; reading and writing then show which side failed.
    pub(super) fn send_piece(&mut self, file: &File) -> Result<Option<usize>, Error> {
        if self.text.is_some() {
            return Ok(None);
        }
        let count = self.transfer.send_file(file)?;
        self.bytes += count.unwrap_or(0) as u64;
        Ok(count)
    }
}

impl Transfer<'_> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_file(&mut self, file: &File) -> Result<Option<usize>, Error> {
        use rustix::event::PollFlags;
        use rustix::io::Errno;

        self.check()?;
        let mut deadline = self.deadline();
        loop {
            let tcp = self.data.as_ref().filter(|_| self.ended.is_none());
            let Some(tcp) = tcp.and_then(Stream::plain_tcp) else { return Ok(None) };
            let waited = match self.client.control.go_on(deadline) {
                Ok(()) => match rustix::fs::sendfile(tcp, file, None, PIECE) {
                    Ok(count) => return Ok(Some(count)),
                    Err(Errno::INTR) => Ok(()),
                    Err(Errno::AGAIN) => self.wait(PollFlags::OUT, &mut deadline),
                    Err(_) => return Ok(None),
                },
                Err(error) => Err(error),
            };
            waited.map_err(|error| self.fail(error))?;
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send_file(&mut self, _: &File) -> Result<Option<usize>, Error> {
        Ok(None)
    }
}
