//! Sending a local file as it is: by the kernel alone where it can, by way of a buffer elsewhere.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};

use super::{Transfer, Upload};
use crate::error::Error;

/// How much is read at a time where the kernel cannot do it alone, in bytes.
const BLOCK: usize = 256 * 1_024;

/// How much the kernel is asked to send at a time, in bytes. It stops before, when the socket has
/// no more room.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PIECE: usize = 16 * 1_024 * 1_024;

impl Upload<'_> {
    /// Sends a local file from its position to its end, and gives the number of bytes. In a
    /// transfer of type image the kernel does so without a copy (`sendfile`, on Linux) where the
    /// file system lets it and TLS has nothing to encrypt.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let file = std::fs::File::open("a.bin")?;
    /// let mut upload = client.store("a.bin")?;
    /// upload.send_file(&file)?;
    /// upload.finish()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`Write`]: an [`Error`] that [`Error::recover`] takes out, or else the file's own. A
    /// file that cannot be read to the end, or that becomes shorter meanwhile
    /// ([`UnexpectedEof`](ErrorKind::UnexpectedEof)), cannot be finished any more either: the
    /// server is not to take the part for the whole, so [`abort`](Self::abort) is what is left.
    pub fn send_file(&mut self, file: &File) -> io::Result<u64> {
        let sent = send(self, file);
        if let Err(error) = &sent
            && self.transfer.failed.is_none()
        {
            let again = io::Error::new(error.kind(), error.to_string());
            self.transfer.failed = Some(Error::Io(again));
        }
        sent
    }
}

fn send(upload: &mut Upload<'_>, mut file: &File) -> io::Result<u64> {
    let before = upload.bytes;
    let metadata = file.metadata()?;
    let length = match metadata.is_file() {
        true => metadata.len().saturating_sub(file.stream_position()?),
        false => 0,
    };
    let mut is_whole = false;
    if upload.text.is_none() {
        while let Some(count) = upload.transfer.send_file(file)? {
            upload.bytes += count as u64;
            if count == 0 {
                is_whole = true;
                break;
            }
        }
    }
    if !is_whole {
        let mut block = vec![0; BLOCK];
        loop {
            match file.read(&mut block) {
                Ok(0) => break,
                Ok(count) => upload.write_all(
                    block.get(..count).expect("a read gives no more than it has room for"),
                )?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    let sent = upload.bytes - before;
    if sent < length {
        let what = format!("the file became shorter while it was sent: {sent} of {length} bytes");
        return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
    }
    Ok(sent)
}

impl Transfer<'_> {
    /// Has the kernel send a piece of a file, from its position on; 0 is its end. `None` if the
    /// kernel cannot, or cannot go on: reading and writing then tell on which side that is.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_file(&mut self, file: &File) -> Result<Option<usize>, Error> {
        use rustix::event::PollFlags;
        use rustix::io::Errno;

        self.check()?;
        let mut deadline = self.deadline();
        loop {
            let is_open = |data: &&crate::net::stream::Stream| {
                self.ended.is_none() && !data.is_broken() && data.session().is_none()
            };
            let Some(data) = self.data.as_ref().filter(is_open) else { return Ok(None) };
            let waited = match self.client.control.go_on(deadline) {
                Ok(()) => match rustix::fs::sendfile(data, file, None, PIECE) {
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
