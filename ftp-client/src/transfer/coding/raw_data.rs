//! What another mode than S needs of a running transfer.

use crate::error::Error;

/// The data connection of a running transfer, whose bytes are taken as they are.
pub(crate) trait RawData {
    /// Reads some bytes; 0 is the end of the data.
    fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;

    /// Writes some of `bytes`.
    fn write_data(&mut self, bytes: &[u8]) -> Result<usize, Error>;

    /// Ends the transfer and returns the reason: a reply of the server has priority over `error`.
    fn fail(&mut self, error: Error) -> Error;
}
