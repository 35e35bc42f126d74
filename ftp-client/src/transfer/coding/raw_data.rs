//! The part of a running transfer that modes other than S need.

use crate::error::Error;

/// The data connection of a running transfer, with its bytes unchanged.
pub(crate) trait RawData {
    /// Reads some bytes. Returns 0 at the end of the data.
    fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;

    /// Writes some of `bytes`, and returns how many.
    fn write_data(&mut self, bytes: &[u8]) -> Result<usize, Error>;

    /// Ends the transfer and returns the reason: a reply of the server has priority over `error`.
    fn fail(&mut self, error: Error) -> Error;
}
