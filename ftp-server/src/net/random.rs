//! Numbers that nobody can guess, from the system's source for cryptography.

use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

/// Any number, each as likely as the other.
pub(crate) fn number() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    if retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))? < bytes.len() {
        return Err(Errno::IO);
    }
    Ok(u64::from_ne_bytes(bytes))
}
