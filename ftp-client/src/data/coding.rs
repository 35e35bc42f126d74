//! The form of the data on its connection: unchanged in mode S, in blocks in mode B, compressed in
//! mode Z.

use std::time::{Duration, Instant};

use ftp_proto::{
    BlockDecoder, BlockEvent, BlockFault, BlockHeader, DataEnd, DeflateDecoder, DeflateEncoder,
    DeflateFault, DeflateLevel, TransferMode,
};

use crate::error::Error;
use crate::trace;

/// The form of the data of a running transfer in a mode other than S.
#[derive(Debug)]
pub(crate) enum Coding {
    /// Mode Z, for an upload.
    Deflating(Deflating),
    /// Mode Z, for a download or a listing.
    Inflating(Inflating),
    /// Mode B.
    Blocks(Blocks),
}

impl Coding {
    /// Returns the form for a new data connection; `None` in mode S.
    pub(crate) fn new(mode: TransferMode, is_upload: bool) -> Option<Box<Self>> {
        let coding = match (mode, is_upload) {
            (TransferMode::Deflate, true) => Self::Deflating(Deflating::default()),
            (TransferMode::Deflate, false) => Self::Inflating(Inflating::default()),
            (TransferMode::Block, _) => Self::Blocks(Blocks::default()),
            _ => return None,
        };
        Some(Box::new(coding))
    }

    /// Returns whether the data connection can serve several transfers.
    pub(crate) const fn is_in_blocks(&self) -> bool {
        matches!(self, Self::Blocks(_))
    }

    /// Prepares for the next file on the same data connection.
    pub(crate) const fn begin_file(&mut self) {
        if let Self::Blocks(blocks) = self {
            blocks.begin_file();
        }
    }

    /// Returns whether bytes after the end of the last file have arrived.
    pub(crate) const fn has_unread(&self) -> bool {
        match self {
            Self::Blocks(blocks) => blocks.has_unread(),
            _ => false,
        }
    }

    /// Returns how the data ended. Meaningful only if no read has failed.
    pub(crate) const fn end(&self) -> DataEnd {
        match self {
            Self::Blocks(blocks) => blocks.end(),
            _ => DataEnd::Clean,
        }
    }

    /// Reads some bytes of the file. Returns 0 at the end of the data; the end does not prove that
    /// the transfer succeeded.
    pub(crate) fn read(
        &mut self,
        data: &mut impl RawData,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        match self {
            Self::Inflating(inflating) => inflating.read(data, buffer),
            Self::Blocks(blocks) => blocks.read(data, buffer),
            Self::Deflating(_) => data.read_data(buffer),
        }
    }

    pub(crate) fn write(&mut self, data: &mut impl RawData, bytes: &[u8]) -> Result<usize, Error> {
        match self {
            Self::Deflating(deflating) => deflating.write(data, bytes),
            Self::Blocks(blocks) => blocks.write(data, bytes),
            Self::Inflating(_) => data.write_data(bytes),
        }
    }

    /// Writes the end of an upload: the end of the compressed stream, or the block that ends the
    /// file.
    pub(crate) fn finish(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        match self {
            Self::Deflating(deflating) => deflating.finish(data),
            Self::Blocks(blocks) => blocks.finish(data),
            Self::Inflating(_) => Ok(()),
        }
    }
}

/// The data connection of a running transfer, with its bytes unchanged.
pub(crate) trait RawData {
    fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;

    fn write_data(&mut self, bytes: &[u8]) -> Result<usize, Error>;

    fn write_all_data(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let written = self.write_data(bytes)?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the transfer and returns the reason: a reply of the server has priority over `error`.
    fn fail(&mut self, error: Error) -> Error;
}

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
    has_ended: bool,
}

impl Blocks {
    const fn begin_file(&mut self) {
        self.has_ended = false;
    }

    const fn end(&self) -> DataEnd {
        match self.has_ended {
            true => DataEnd::Marked,
            false => DataEnd::Open,
        }
    }

    const fn has_unread(&self) -> bool {
        self.start < self.end
    }

    fn read(&mut self, data: &mut impl RawData, buffer: &mut [u8]) -> Result<usize, Error> {
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
    fn write(&mut self, data: &mut impl RawData, bytes: &[u8]) -> Result<usize, Error> {
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
    fn finish(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        self.held.extend_from_slice(&BlockHeader::END_OF_FILE.encode());
        self.send(data)?;
        self.has_ended = true;
        Ok(())
    }

    fn send(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        data.write_all_data(&self.held)?;
        self.held.clear();
        Ok(())
    }
}

/// The number of bytes to compress, or to receive, at a time.
const PACKED: usize = 32 * 1_024;

/// The maximum time for which the compressor may hold back all data. After that, the next write is
/// flushed, because servers abort a transfer in which no bytes arrive.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Deflating {
    /// `None` once the end of the stream was written.
    encoder: Option<DeflateEncoder>,
    /// Compressed bytes of one write.
    out: Vec<u8>,
    sent_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Inflating {
    decoder: DeflateDecoder,
    /// Received bytes; those from `start` to `end` are not decoded yet.
    piece: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Deflating {
    fn default() -> Self {
        Self {
            encoder: Some(DeflateEncoder::new(DeflateLevel::default())),
            out: Vec::new(),
            sent_at: Instant::now(),
        }
    }
}

impl Default for Inflating {
    fn default() -> Self {
        Self { decoder: DeflateDecoder::new(), piece: vec![0; PACKED], start: 0, end: 0 }
    }
}

impl Inflating {
    fn read(&mut self, data: &mut impl RawData, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.piece.get(self.start..self.end).unwrap_or_default();
            let step = match self.decoder.decode(input, buffer) {
                Ok(step) => step,
                Err(fault) => return Err(data.fail(Error::Compressed(fault))),
            };
            self.start += step.taken;
            if step.written > 0 {
                return Ok(step.written);
            }
            if self.start < self.end {
                if step.taken == 0 {
                    return Err(data.fail(Error::Compressed(DeflateFault::Corrupt)));
                }
                continue;
            }
            (self.start, self.end) = (0, data.read_data(&mut self.piece)?);
            if self.end == 0 {
                let finished = self.decoder.finish();
                finished.map_err(|fault| data.fail(Error::Compressed(fault)))?;
                return Ok(0);
            }
        }
    }
}

impl Deflating {
    fn write(&mut self, data: &mut impl RawData, bytes: &[u8]) -> Result<usize, Error> {
        let piece = bytes.get(..PACKED).unwrap_or(bytes);
        self.out.clear();
        if let Some(encoder) = &mut self.encoder {
            encoder.encode(piece, &mut self.out);
            if self.out.is_empty() && self.sent_at.elapsed() > SILENCE {
                encoder.flush(&mut self.out);
            }
        }
        self.send(data)?;
        Ok(piece.len())
    }

    fn finish(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        self.out.clear();
        encoder.finish(&mut self.out);
        self.send(data)
    }

    fn send(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        if !self.out.is_empty() {
            data.write_all_data(&self.out)?;
            self.sent_at = Instant::now();
        }
        Ok(())
    }
}
