//! Unpredictable numbers from the system's cryptographic source.

use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

/// Returns a random number.
pub(crate) fn number() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    if retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))? < bytes.len() {
        return Err(Errno::IO);
    }
    Ok(u64::from_ne_bytes(bytes))
}
