//! What a demo is made of: its directory, its data, its password and its dialogue.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use super::internal;
use crate::exit::Failure;
use crate::lock::lock;

/// A directory that is removed on drop if it is empty. Unlike the removal of a tree, this needs no
/// file descriptor.
pub(super) struct Empty(pub(super) PathBuf);

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Reproducible pseudo-random bytes from any offset. Their period is a prime number, so that data
/// shifted by whole blocks differs.
pub(super) struct Generated {
    period: Arc<[u8]>,
    at: usize,
}

impl Generated {
    const PERIOD: usize = 1_048_573;

    pub(super) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let bytes = std::iter::repeat_with(|| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self { period: bytes.flatten().take(Self::PERIOD).collect(), at: 0 }
    }

    pub(super) fn from(&self, offset: u64) -> Self {
        let at = usize::try_from(offset % Self::PERIOD as u64).unwrap_or_default();
        Self { period: Arc::clone(&self.period), at }
    }
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.period.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at = (self.at + length) % Self::PERIOD;
        Ok(length)
    }
}

/// Dialogue that has not been printed yet.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(super) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *lock(&self.0));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a password that no other user of this computer can guess: every local user can connect
/// to the servers.
pub(super) fn password() -> Result<Vec<u8>, Failure> {
    let random = random().map(u128::from_ne_bytes);
    let random = random.map_err(|error| internal("cannot get random bytes", &error))?;
    Ok(format!("{random:032x}").into_bytes())
}

/// Returns random bytes from the kernel. `N` is at most 256.
///
/// # Errors
///
/// Returns the system's error, such as `ENOSYS`, or `EIO` if the kernel returned fewer bytes.
fn random<const N: usize>() -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    match retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))? {
        length if length == N => Ok(bytes),
        _ => Err(Errno::IO),
    }
}
