//! Unpredictable numbers from the system's cryptographic source.

use std::fs::File;
use std::io::Read;
use std::sync::LazyLock;

use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::lock::Lock;

/// Count of numbers that one system call fetches. Each passive port needs a number, and Linux
/// returns up to 256 bytes without interruption.
const BLOCK: usize = 32;

/// Random numbers that are not used yet.
static READY: Lock<Vec<u64>> = Lock::new(Vec::new());

/// The source on systems without getrandom(2), and under filters that forbid the call. It stays open,
/// because a confined session could not open it.
static DEVICE: LazyLock<Option<File>> = LazyLock::new(|| File::open("/dev/urandom").ok());

/// Returns a random number. A server needs one before it confines its first session.
pub(crate) fn number() -> Result<u64, Errno> {
    let mut ready = READY.lock();
    if ready.is_empty() {
        let mut bytes = [0; BLOCK * size_of::<u64>()];
        match retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty())) {
            Err(Errno::NOSYS | Errno::PERM) => {
                let mut device = DEVICE.as_ref().ok_or(Errno::NOSYS)?;
                device.read_exact(&mut bytes).map_err(|_unread| Errno::IO)?;
            }
            Ok(count) if count < bytes.len() => return Err(Errno::IO),
            other => drop(other?),
        }
        ready.extend(bytes.as_chunks().0.iter().copied().map(u64::from_ne_bytes));
    }
    ready.pop().ok_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let numbers: HashSet<u64> = (0..3 * BLOCK).map(|_| number().unwrap()).collect();
        assert_eq!(numbers.len(), 3 * BLOCK);
    }
}
