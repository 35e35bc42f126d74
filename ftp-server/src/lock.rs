//! Locks without poisoning.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
#[cfg(feature = "daemon")]
use std::sync::TryLockError;
use std::sync::{LockResult, Mutex, MutexGuard, PoisonError};

/// A mutex without poisoning: [`lock`](Self::lock) returns the guard even if another holder has
/// panicked. Code that changes the data cannot panic while the data is inconsistent, so the data is
/// intact.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(data: T) -> Self {
        Self(Mutex::new(data))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        unpoisoned(self.0.lock())
    }

    #[cfg(feature = "daemon")]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Returns the guard of another kind of lock, or of a wait, even if another holder has panicked, as
/// [`Lock::lock`] does.
pub(crate) fn unpoisoned<Guard>(locked: LockResult<Guard>) -> Guard {
    locked.unwrap_or_else(PoisonError::into_inner)
}

/// A lock for each of many names. Two names can share one of the locks, so nobody locks two at a time.
pub(crate) struct LockStripes(Stripes<Lock<()>, 64>);

impl LockStripes {
    pub(crate) const fn new() -> Self {
        Self(Stripes([const { Lock::new(()) }; 64]))
    }

    pub(crate) fn lock(&self, name: impl Hash) -> MutexGuard<'_, ()> {
        self.0.of(name).lock()
    }
}

/// A lock of some kind for each of many names.
pub(crate) struct Stripes<L, const N: usize>(pub(crate) [L; N]);

impl<L, const N: usize> Stripes<L, N> {
    #[expect(clippy::indexing_slicing, reason = "the remainder is less than the length")]
    pub(crate) fn of(&self, name: impl Hash) -> &L {
        const { assert!(N > 0) };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
        &self.0[usize::try_from(hash % N as u64).unwrap_or_default()]
    }
}
