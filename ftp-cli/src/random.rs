//! Random bytes for secrets.

use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

/// Returns random bytes from the kernel. `N` is at most 256.
///
/// # Errors
///
/// Returns the system's error, such as `ENOSYS`, or `EIO` if the kernel returned fewer bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    match retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))? {
        length if length == N => Ok(bytes),
        _ => Err(Errno::IO),
    }
}
