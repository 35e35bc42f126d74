//! Limits the rate of a transfer, and shows its progress.

use std::fs::File;

use ftp_client::{Client, Download, Error, RateLimit, Upload};

use super::super::local_tree::Draft;
use crate::console::progress::Meter;

/// Rate limit of a file, and its progress display.
pub(crate) struct Watch<'a> {
    pub(crate) meter: Meter<'a>,
    pub(crate) rate_limit: Option<&'a RateLimit>,
}

impl Watch<'_> {
    /// Receives a download until the server confirms that it is complete.
    pub(super) fn receive(
        &mut self,
        download: Download<&mut Client>,
        draft: &mut Draft<'_>,
    ) -> Result<u64, Error> {
        let mut meter = |piece: &[u8]| self.meter.add(piece.len() as u64);
        let mut along =
            ftp_client::Watch::new().rate_limit(self.rate_limit.cloned()).meter(&mut meter);
        Ok(download.copy_to_watched(draft, &mut along)?.bytes)
    }

    /// Sends a file piece by piece.
    pub(super) fn send(&mut self, upload: Upload<'_>, file: &File) -> Result<u64, Error> {
        let mut meter = |piece: &[u8]| self.meter.add(piece.len() as u64);
        let mut along =
            ftp_client::Watch::new().rate_limit(self.rate_limit.cloned()).meter(&mut meter);
        Ok(upload.copy_from_watched(file, &mut along)?.bytes)
    }
}
