//! Lets the kernel send a local file, if it can.

use std::fs::File;
use std::io;

use super::Upload;
use super::copy::{self, Broken, Source, Watch};
use crate::error::Error;

impl Upload<'_> {
    /// Sends a local file from its position to its end, as [`copy_from`](Self::copy_from) does, and
    /// returns the number of bytes.
    ///
    /// More data can be written afterwards.
    ///
    /// # Errors
    ///
    /// Returns errors like those of [`Write`](io::Write): a wrapped [`Error`], which
    /// [`Error::recover`] unpacks, or the file's own error. If the file shrinks during the upload,
    /// the error is [`UnexpectedEof`](io::ErrorKind::UnexpectedEof). After an error of the file,
    /// call [`fail`](Self::fail), so that the server does not take the partial file for a complete
    /// one.
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

    /// Makes the kernel send a file from its position to its end. Returns `false` if the kernel
    /// cannot send the whole file; reading and writing the rest then show which side failed.
    pub(super) fn send_by_kernel(&mut self, file: &File) -> Result<bool, Error> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.text.is_none() && self.transfer.coding.is_none() {
            return super::kernel::send(&mut self.transfer, file, &mut self.bytes);
        }
        let _ = file;
        Ok(false)
    }
}
