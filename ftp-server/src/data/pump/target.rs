//! The target of an upload, which turns received bytes into the content of the file and stores
//! them.

use std::io::{Error, ErrorKind};

use ftp_proto::{AsciiDecoder, BlockEvent, BlockFault, BlockMarker};

use super::PumpEnd;
use crate::data::block::{Blocks, DataFault};
use crate::data::buffers::SMALL;
use crate::data::{Encoding, Inflating};
use crate::storage::Upload;

/// Waits a moment while the storage takes no bytes.
type PumpWait<'a> = &'a mut dyn FnMut() -> Result<(), PumpEnd>;

/// Target of received bytes, which decodes and converts them.
pub(super) struct UploadTarget<'a> {
    blocks: Option<Blocks>,
    deflate: Option<Box<Inflating>>,
    file: FileTarget<'a>,
}

/// Target of decoded bytes: without blocks and compression.
struct FileTarget<'a> {
    upload: &'a mut dyn Upload,
    ascii: Option<AsciiDecoder>,
    converted: Vec<u8>,
    /// Bytes taken so far, before conversion of line endings.
    taken: u64,
    /// Bytes stored so far, after conversion of line endings.
    stored: u64,
}

impl<'a> UploadTarget<'a> {
    pub(super) fn new(upload: &'a mut dyn Upload, encoding: Encoding) -> Self {
        let Encoding { blocks, deflate, ascii } = encoding;
        let file = FileTarget { upload, ascii, converted: Vec::new(), taken: 0, stored: 0 };
        Self { blocks, deflate, file }
    }

    /// Returns whether received bytes are converted or decompressed. Compressed bytes must arrive
    /// in small pieces. Each byte can expand to a thousand bytes, and all of these are stored
    /// before the next check of the control connection.
    pub(super) const fn converts(&self) -> bool {
        self.file.ascii.is_some() || self.deflate.is_some()
    }

    /// Returns the number of data bytes so far, after decompression.
    pub(super) const fn taken(&self) -> u64 {
        self.file.taken
    }

    /// Returns whether the end-of-file mark of mode B was received. In other modes, returns
    /// `false`.
    pub(super) fn is_complete(&self) -> bool {
        self.blocks.as_ref().is_some_and(|blocks| blocks.is_complete)
    }

    /// Returns the maximum number of bytes to read into a buffer of `size` bytes. The limit ensures
    /// that bytes of later files fit into a small buffer.
    pub(super) fn room(&self, size: usize) -> usize {
        let blocks = self.blocks.as_ref();
        blocks.map_or(size, |blocks| size.min(blocks.decoder.block_left().max(SMALL)))
    }

    /// Takes all of `rest`, or its bytes up to the end of the file. If a restart marker comes
    /// first, stops after it, and returns the marker with its offset in the file.
    pub(super) fn take(
        &mut self,
        rest: &mut &[u8],
        wait: PumpWait<'_>,
    ) -> Result<Option<(BlockMarker, u64)>, PumpEnd> {
        if self.blocks.is_some() {
            return self.take_blocks(rest, wait);
        }
        let Some(deflate) = &mut self.deflate else {
            self.file.take(std::mem::take(rest), wait)?;
            return Ok(None);
        };
        loop {
            let plain = deflate.next(rest).map_err(malformed)?;
            if plain.is_empty() && rest.is_empty() {
                return Ok(None);
            }
            self.file.take(plain, wait)?;
        }
    }

    fn take_blocks(
        &mut self,
        rest: &mut &[u8],
        wait: PumpWait<'_>,
    ) -> Result<Option<(BlockMarker, u64)>, PumpEnd> {
        let Some(blocks) = &mut self.blocks else { return Ok(None) };
        while !blocks.is_complete {
            let step = blocks.decoder.decode(rest).map_err(malformed)?;
            *rest = rest.get(step.taken..).unwrap_or_default();
            match step.event {
                Some(BlockEvent::Data(data)) => self.file.take(data, wait)?,
                Some(BlockEvent::Marker(marker)) => {
                    let at = blocks.offset.saturating_add(self.file.stored);
                    return Ok(Some((marker, at)));
                }
                Some(BlockEvent::EndOfFile) => blocks.is_complete = true,
                Some(BlockEvent::Suspect) => return Err(malformed(DataFault::Suspect)),
                Some(_) => return Err(malformed(DataFault::Record)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Checks that the data is complete, and stores the last bytes, whose conversion depends on the
    /// end of the data.
    pub(super) fn finish(&mut self, wait: PumpWait<'_>) -> Result<(), PumpEnd> {
        if let Some(deflate) = &self.deflate {
            deflate.finish().map_err(malformed)?;
        }
        if self.blocks.as_ref().is_some_and(|blocks| !blocks.is_complete) {
            return Err(malformed(BlockFault::Truncated));
        }
        self.file.finish(wait)
    }
}

fn malformed(fault: impl Into<DataFault>) -> PumpEnd {
    PumpEnd::Malformed(fault.into())
}

impl FileTarget<'_> {
    fn take(&mut self, bytes: &[u8], wait: PumpWait<'_>) -> Result<(), PumpEnd> {
        let content = match &mut self.ascii {
            None => bytes,
            Some(decoder) => {
                self.converted.clear();
                decoder.decode(bytes, &mut self.converted);
                &self.converted
            }
        };
        store(self.upload, content, wait)?;
        self.taken += bytes.len() as u64;
        self.stored += content.len() as u64;
        Ok(())
    }

    fn finish(&mut self, wait: PumpWait<'_>) -> Result<(), PumpEnd> {
        let Some(mut decoder) = self.ascii.take() else { return Ok(()) };
        self.converted.clear();
        decoder.finish(&mut self.converted);
        store(self.upload, &self.converted, wait)
    }
}

/// Stores all bytes. Before each write, calls `wait` until the storage is ready.
fn store(upload: &mut dyn Upload, mut bytes: &[u8], wait: PumpWait<'_>) -> Result<(), PumpEnd> {
    while !bytes.is_empty() {
        while !upload.ready().map_err(PumpEnd::Storage)? {
            wait()?;
        }
        match upload.write(bytes) {
            Ok(0) => return Err(PumpEnd::Storage(Error::from(ErrorKind::WriteZero).into())),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(PumpEnd::Storage(error.into())),
        }
    }
    Ok(())
}
