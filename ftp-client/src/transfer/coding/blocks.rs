//! Mode B: the data of a transfer in blocks, the last of which marks the end of the file (RFC 959
//! §3.4.2).

use ftp_proto::{BlockDecoder, BlockEvent, BlockFault, BlockHeader, DataEnd};

use super::RawData;
use crate::error::Error;
use crate::trace;

/// The number of bytes to receive at a time: enough for many small files.
const PIECE: usize = 64 * 1_024;

/// The maximum number of encoded bytes to hold back until the next write or the end of the file. If
/// there are more, all are sent at once.
const HELD: usize = 32 * 1_024;

/// The state of mode B on a data connection. It stays with the connection, since the first bytes of
/// the next file can arrive together with the last bytes of this file.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    decoder: BlockDecoder,
    /// Received bytes; those from `start` to `end` are not decoded yet. Empty until the first read.
    piece: Vec<u8>,
    start: usize,
    end: usize,
    /// Encoded blocks that have not been sent yet.
    held: Vec<u8>,
    /// Whether the end of the file was read or written.
    has_ended: bool,
}

impl Blocks {
    /// Prepares for the next file.
    pub(super) const fn begin_file(&mut self) {
        self.has_ended = false;
    }

    /// Returns how the data ended. The result is meaningful only if no read has failed.
    pub(super) const fn end(&self) -> DataEnd {
        match self.has_ended {
            true => DataEnd::Marked,
            false => DataEnd::Open,
        }
    }

    /// Returns whether bytes after the end of the last file have arrived.
    pub(super) const fn has_unread(&self) -> bool {
        self.start < self.end
    }

    /// Reads data. Returns 0 at the end of the file.
    pub(super) fn read(
        &mut self,
        data: &mut impl RawData,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        if self.has_ended || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.take(buffer) {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(fault) => return Err(data.fail(Error::Blocks(fault))),
            }
            if self.piece.is_empty() {
                self.piece = vec![0; PIECE];
            }
            (self.start, self.end) = (0, data.read_data(&mut self.piece)?);
            if self.end == 0 {
                return Err(data.fail(Error::Blocks(BlockFault::Truncated)));
            }
        }
    }

    /// Decodes received bytes. Returns 0 at the end of the file, and `None` if more bytes are
    /// needed.
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, BlockFault> {
        loop {
            let rest = self.piece.get(self.start..self.end).unwrap_or_default();
            // Decodes no more data than the buffer has room for.
            let step = self.decoder.decode(rest.get(..buffer.len()).unwrap_or(rest))?;
            self.start += step.taken;
            match step.event {
                Some(BlockEvent::Data(data)) => {
                    let room = buffer
                        .get_mut(..data.len())
                        .expect("the data is at most as long as the input");
                    room.copy_from_slice(data);
                    return Ok(Some(data.len()));
                }
                Some(BlockEvent::EndOfFile) => {
                    self.has_ended = true;
                    return Ok(Some(0));
                }
                Some(BlockEvent::Suspect) => return Err(BlockFault::Suspect),
                Some(BlockEvent::Marker(marker)) => {
                    trace::note(format_args!("restart marker {marker}"));
                }
                // Files have no records in structure F.
                Some(_) => {}
                None if self.start == self.end => return Ok(None),
                None => {}
            }
        }
    }

    /// Takes some of `bytes`. A short block waits for the next one or the end of the file, so that
    /// a small file is sent in one write.
    pub(super) fn write(&mut self, data: &mut impl RawData, bytes: &[u8]) -> Result<usize, Error> {
        let piece = bytes.get(..BlockHeader::MOST).unwrap_or(bytes);
        if self.held.len() + piece.len() > HELD {
            self.send(data)?;
        }
        BlockHeader::encode_data(piece, &mut self.held);
        if self.held.len() > HELD {
            self.send(data)?;
        }
        Ok(piece.len())
    }

    /// Writes the end of the file.
    pub(super) fn finish(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        self.held.extend_from_slice(&BlockHeader::END_OF_FILE.encode());
        self.send(data)?;
        self.has_ended = true;
        Ok(())
    }

    fn send(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        let mut rest = self.held.as_slice();
        while !rest.is_empty() {
            let written = data.write_data(rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        self.held.clear();
        Ok(())
    }
}
