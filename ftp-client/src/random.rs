//! Random numbers of the standard library: for names that nobody else has, not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Returns a number at random.
pub(crate) fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}
