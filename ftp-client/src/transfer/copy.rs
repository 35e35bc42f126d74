//! Between a transfer and the caller's reader or writer, to the end of both.

use std::io::{ErrorKind, Read, Write};

use crate::error::Error;
use crate::transfer::{Download, Report, Upload};

/// How much is moved at a time, in bytes.
const BLOCK: usize = 64 * 1_024;

/// Writes all that comes to `writer`, and finishes the download.
pub(crate) fn receive(
    mut file: Download<'_>,
    writer: &mut (impl Write + ?Sized),
) -> Result<Report, Error> {
    let mut block = vec![0; BLOCK];
    loop {
        let length = match file.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) => return Err(Error::recover(error).unwrap_or_else(Error::Io)),
        };
        if let Err(error) = writer
            .write_all(block.get(..length).expect("a read gives no more than it has room for"))
        {
            // What it fails with is not what the caller has to know.
            let _ = file.abort();
            return Err(Error::Local(error));
        }
    }
    match writer.flush() {
        Ok(()) => file.finish(),
        Err(error) => {
            let _ = file.abort();
            Err(Error::Local(error))
        }
    }
}

/// Sends all that `reader` has, and finishes the upload. `sent` tells in any case how many bytes
/// may have reached the server.
pub(crate) fn send(
    mut file: Upload<'_>,
    reader: &mut (impl Read + ?Sized),
    sent: &mut u64,
) -> Result<Report, Error> {
    let mut block = vec![0; BLOCK];
    loop {
        let length = match reader.read(&mut block) {
            Ok(0) => return file.finish(),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                // Not a short file that the server takes for a whole one.
                let _ = file.abort();
                return Err(Error::Local(error));
            }
        };
        let written =
            file.write_all(block.get(..length).expect("a read gives no more than it has room for"));
        *sent = file.transferred();
        written.map_err(|error| Error::recover(error).unwrap_or_else(Error::Io))?;
    }
}
