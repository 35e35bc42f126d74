//! The target of an upload: received bytes go into it in the form to store.

use ftp_proto::AsciiDecoder;

use super::PumpEnd;
use crate::storage::Upload;

/// Target of received bytes, in the form to store.
pub(super) struct UploadTarget<'a> {
    upload: &'a mut dyn Upload,
    ascii: Option<AsciiDecoder>,
    converted: Vec<u8>,
}

impl<'a> UploadTarget<'a> {
    pub(super) fn new(upload: &'a mut dyn Upload, ascii: Option<AsciiDecoder>) -> Self {
        Self { upload, ascii, converted: Vec::new() }
    }

    pub(super) const fn converts(&self) -> bool {
        self.ascii.is_some()
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), PumpEnd> {
        let stored = match &mut self.ascii {
            None => self.upload.write_all(bytes),
            Some(decoder) => {
                self.converted.clear();
                decoder.decode(bytes, &mut self.converted);
                self.upload.write_all(&self.converted)
            }
        };
        stored.map_err(|error| PumpEnd::Storage(error.into()))
    }

    /// Stores bytes whose form depends on the end of the data.
    pub(super) fn finish(&mut self) -> Result<(), PumpEnd> {
        let Some(mut decoder) = self.ascii.take() else { return Ok(()) };
        self.converted.clear();
        decoder.finish(&mut self.converted);
        let stored = self.upload.write_all(&self.converted);
        stored.map_err(|error| PumpEnd::Storage(error.into()))
    }
}
