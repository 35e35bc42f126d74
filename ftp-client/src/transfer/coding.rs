//! The form of the data on its connection: as it is in mode S, in blocks or compressed in the others.

use ftp_proto::TransferMode;

use super::Transfer;
use super::blocks::Blocks;
use super::deflate::{Deflating, Inflating};
use crate::error::Error;

/// The form of the data of a running transfer in another mode than S.
#[derive(Debug)]
pub(super) enum Coding {
    /// Mode Z, of an upload.
    Deflating(Deflating),
    /// Mode Z, of a download or a listing.
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
}

impl Transfer<'_> {
    /// Returns whether the data has another form than the file.
    pub(super) const fn is_coded(&self) -> bool {
        self.coding.is_some()
    }

    /// Returns the blocks in mode B.
    pub(super) fn blocks(&self) -> Option<&Blocks> {
        match self.coding.as_deref() {
            Some(Coding::Blocks(blocks)) => Some(blocks),
            _ => None,
        }
    }

    /// Reads data; 0 is the end of the data, which does not prove success.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        let Some(mut coding) = self.coding.take() else { return self.read_data(buffer) };
        let read = match &mut *coding {
            Coding::Inflating(inflating) => inflating.read(self, buffer),
            Coding::Blocks(blocks) => blocks.read(self, buffer),
            Coding::Deflating(_) => self.read_data(buffer),
        };
        self.coding = Some(coding);
        read
    }

    /// Writes some of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.check()?;
        let Some(mut coding) = self.coding.take() else { return self.write_data(bytes) };
        let written = match &mut *coding {
            Coding::Deflating(deflating) => deflating.write(self, bytes),
            Coding::Blocks(blocks) => blocks.write(self, bytes),
            Coding::Inflating(_) => self.write_data(bytes),
        };
        self.coding = Some(coding);
        written
    }

    /// Writes the end of an upload that is part of the data: of the compressed stream, or of the
    /// file in blocks.
    pub(super) fn end_coding(&mut self) -> Result<(), Error> {
        let is_upload = self.verb.is_upload();
        let Some(mut coding) = self.coding.take() else { return Ok(()) };
        let ended = match &mut *coding {
            Coding::Deflating(deflating) => deflating.finish(self),
            Coding::Blocks(blocks) if is_upload => blocks.finish(self),
            Coding::Blocks(_) | Coding::Inflating(_) => Ok(()),
        };
        self.coding = Some(coding);
        ended
    }
}
