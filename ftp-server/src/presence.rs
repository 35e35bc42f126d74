//! What the sessions of a user have in common: how many they may be, and how fast.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rate::Rate;

/// Counts the sessions of each user.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    users: Mutex<HashMap<Vec<u8>, Common>>,
}

#[derive(Debug)]
struct Common {
    sessions: usize,
    rate: Option<Arc<Rate>>,
}

/// One session of a user; dropping it counts it no more.
#[derive(Debug)]
pub(crate) struct Present {
    presence: Arc<Presence>,
    user: Vec<u8>,
    rate: Option<Arc<Rate>>,
}

impl Presence {
    /// Counts one session more; `None` if the user has `limit` already, of which 0 is none. All of
    /// them may move `bytes_per_second` together, of which 0 is no limit either. Names are compared
    /// byte for byte: which of them are one user's, the authenticator knows.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &[u8],
        limit: usize,
        bytes_per_second: u64,
    ) -> Option<Present> {
        let user = user.to_vec();
        let mut users = self.users();
        let new = || Common { sessions: 0, rate: Rate::new(bytes_per_second) };
        let common = users.entry(user.clone()).or_insert_with(new);
        if limit > 0 && common.sessions >= limit {
            return None;
        }
        common.sessions += 1;
        let rate = common.rate.clone();
        drop(users);
        Some(Present { presence: Arc::clone(self), user, rate })
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Common>> {
        // Nothing panics while it is held; a poisoned map is as good as any.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    /// How fast this session and the others of its user may be together.
    pub(crate) fn rate(&self) -> Option<Arc<Rate>> {
        self.rate.clone()
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut users = self.presence.users();
        if let Some(common) = users.get_mut(&self.user) {
            common.sessions -= 1;
            if common.sessions == 0 {
                users.remove(&self.user);
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
        let first = presence.enter(b"a", 2, 0).unwrap();
        let second = presence.enter(b"a", 2, 0).unwrap();
        assert!(presence.enter(b"a", 2, 0).is_none());
        let other = presence.enter(b"A", 2, 0).unwrap();
        drop(first);
        assert!(presence.enter(b"a", 2, 0).is_some());
        drop((second, other));
        assert!(presence.users().is_empty(), "users that are gone cost nothing");
    }

    #[test]
    fn the_sessions_of_a_user_have_one_rate() {
        let presence = Arc::new(Presence::default());
        let enter = |user: &[u8]| presence.enter(user, 0, 1_000).unwrap();
        let users = [enter(b"a"), enter(b"a"), enter(b"b")];
        let [first, second, other] = users.each_ref().map(|present| present.rate().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(presence.enter(b"c", 1, 0).unwrap().rate().is_none());
    }
}
