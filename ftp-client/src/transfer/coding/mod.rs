//! The form of the data on its connection: unchanged in mode S, in blocks in mode B, compressed in
//! mode Z.

mod blocks;
mod deflate;
mod raw_data;

pub(crate) use raw_data::RawData;

use ftp_proto::{DataEnd, TransferMode};

use crate::error::Error;
use blocks::Blocks;
use deflate::{Deflating, Inflating};

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
    pub(super) fn new(mode: TransferMode, is_upload: bool) -> Option<Box<Self>> {
        let coding = match (mode, is_upload) {
            (TransferMode::Deflate, true) => Self::Deflating(Deflating::default()),
            (TransferMode::Deflate, false) => Self::Inflating(Inflating::default()),
            (TransferMode::Block, _) => Self::Blocks(Blocks::default()),
            _ => return None,
        };
        Some(Box::new(coding))
    }

    /// Returns whether the data connection can serve several transfers.
    pub(super) const fn is_in_blocks(&self) -> bool {
        matches!(self, Self::Blocks(_))
    }

    /// Prepares for the next file on the same data connection.
    pub(super) const fn begin_file(&mut self) {
        if let Self::Blocks(blocks) = self {
            blocks.begin_file();
        }
    }

    /// Returns whether bytes after the end of the last file have arrived.
    pub(super) const fn has_unread(&self) -> bool {
        match self {
            Self::Blocks(blocks) => blocks.has_unread(),
            _ => false,
        }
    }

    /// Returns how the data ended. Meaningful only if no read has failed.
    pub(super) const fn end(&self) -> DataEnd {
        match self {
            Self::Blocks(blocks) => blocks.end(),
            _ => DataEnd::Clean,
        }
    }

    /// Reads some bytes of the file. Returns 0 at the end of the data; the end does not prove that
    /// the transfer succeeded.
    pub(super) fn read(
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

    /// Writes some of `bytes`, and returns how many.
    pub(super) fn write(&mut self, data: &mut impl RawData, bytes: &[u8]) -> Result<usize, Error> {
        match self {
            Self::Deflating(deflating) => deflating.write(data, bytes),
            Self::Blocks(blocks) => blocks.write(data, bytes),
            Self::Inflating(_) => data.write_data(bytes),
        }
    }

    /// Writes the end of an upload: the end of the compressed stream, or the block that ends the
    /// file.
    pub(super) fn finish(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        match self {
            Self::Deflating(deflating) => deflating.finish(data),
            Self::Blocks(blocks) => blocks.finish(data),
            Self::Inflating(_) => Ok(()),
        }
    }
}
