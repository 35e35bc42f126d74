//! The mode of transfers: B, Z or S, as the caller requests and the server offers (RFC 959 §3.4).

use ftp_proto::{Command, TransferMode};

use super::Client;
use crate::error::Error;
use crate::trace;

impl Client {
    /// Returns whether the data of transfers is compressed, as requested with
    /// [`ClientBuilder::compress`](crate::ClientBuilder::compress). A server that lists the feature
    /// may still refuse it at the first transfer.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub fn compresses(&mut self) -> Result<bool, Error> {
        Ok(self.mode()? == TransferMode::Deflate)
    }

    /// Returns whether several transfers use one data connection, as requested with
    /// [`ClientBuilder::reuse_data`](crate::ClientBuilder::reuse_data). A server that lists the
    /// feature may still refuse it at the first transfer.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub fn reuses_data(&mut self) -> Result<bool, Error> {
        Ok(self.mode()? == TransferMode::Block)
    }

    /// Returns the mode that transfers use.
    pub(crate) fn mode(&mut self) -> Result<TransferMode, Error> {
        if self.config.compress && !self.state.no_deflate {
            if self.features()?.has_with("MODE", "Z") {
                return Ok(TransferMode::Deflate);
            }
            trace::note(format_args!("the server does not list MODE Z: data is not compressed"));
            self.state.no_deflate = true;
        }
        if self.config.reuse_data && !self.state.no_blocks {
            if self.features()?.has_with("MODE", "B") {
                return Ok(TransferMode::Block);
            }
            trace::note(format_args!(
                "the server does not list MODE B: each transfer opens its own data connection"
            ));
            self.state.no_blocks = true;
        }
        Ok(TransferMode::Stream)
    }

    /// Sends `MODE` if another mode is in force.
    pub(crate) fn put_mode_in_force(&mut self, wanted: TransferMode) -> Result<(), Error> {
        if self.state.mode != wanted {
            self.close_kept();
            self.control.order(&Command::Mode(wanted))?;
            self.state.mode = wanted;
        }
        Ok(())
    }
}
