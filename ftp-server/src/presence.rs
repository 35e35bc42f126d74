//! How often each user is logged in, where that has a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the sessions of each user.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    counts: Mutex<HashMap<Vec<u8>, usize>>,
}

/// One session of a user; dropping it counts it no more.
#[derive(Debug)]
pub(crate) struct Present {
    presence: Arc<Presence>,
    user: Vec<u8>,
}

impl Presence {
    /// Counts one session more; `None` if the user has `limit` already. Names are compared byte
    /// for byte: which of them are one user's, the authenticator knows.
    pub(crate) fn enter(self: &Arc<Self>, user: &[u8], limit: usize) -> Option<Present> {
        let user = user.to_vec();
        let mut counts = self.counts();
        let count = counts.entry(user.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Present { presence: Arc::clone(self), user })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Vec<u8>, usize>> {
        // Nothing panics while it is held; a poisoned map is as good as any.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut counts = self.presence.counts();
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_is_counted_apart_cm_15() {
        let presence = Arc::new(Presence::default());
        let first = presence.enter(b"a", 2).unwrap();
        let second = presence.enter(b"a", 2).unwrap();
        assert!(presence.enter(b"a", 2).is_none());
        let other = presence.enter(b"A", 2).unwrap();
        drop(first);
        assert!(presence.enter(b"a", 2).is_some());
        drop((second, other));
        assert!(presence.counts().is_empty(), "users that are gone cost nothing");
    }
}
