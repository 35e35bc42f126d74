//! The number of each user's sessions, and the rate that these sessions share.

use std::collections::HashMap;
use std::sync::Arc;

use crate::lock::Lock;
use crate::rate::Rate;

/// The sessions of each user. All are counted, since a limit may be set while they last.
#[derive(Debug, Default)]
pub(crate) struct UserSessions {
    users: Lock<HashMap<Vec<u8>, Common>>,
}

#[derive(Debug, Default)]
struct Common {
    sessions: usize,
    rate: Option<Arc<Rate>>,
}

/// One counted session of a user; dropping it removes the session from the count.
#[derive(Debug)]
pub(crate) struct UserSession {
    registry: Arc<UserSessions>,
    user: Vec<u8>,
    rate: Option<Arc<Rate>>,
}

impl UserSessions {
    /// Counts one more session, or returns `None` if the user already has `limit` sessions (0:
    /// unlimited). `bytes_per_second` (0: unlimited) is the rate of all sessions of the user
    /// together. If the user's limit has changed since the last login, sessions from now on share
    /// the new limit, and earlier ones keep theirs. Names are compared byte for byte: the
    /// authenticator decides which names mean the same user.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &[u8],
        limit: usize,
        bytes_per_second: u64,
    ) -> Option<UserSession> {
        let user = user.to_vec();
        let mut users = self.users.lock();
        let common = users.entry(user.clone()).or_default();
        if limit > 0 && common.sessions >= limit {
            return None;
        }
        common.sessions += 1;
        if common.rate.as_ref().map_or(0, |rate| rate.per_second()) != bytes_per_second {
            common.rate = Rate::new(bytes_per_second);
        }
        let rate = common.rate.clone();
        drop(users);
        Some(UserSession { registry: Arc::clone(self), user, rate })
    }
}

impl UserSession {
    /// Returns the rate that this session shares with the other sessions of its user.
    pub(crate) fn rate(&self) -> Option<Arc<Rate>> {
        self.rate.clone()
    }
}

impl Drop for UserSession {
    fn drop(&mut self) {
        let mut users = self.registry.users.lock();
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
    fn sessions_are_counted_per_user_cm_15() {
        let registry = Arc::new(UserSessions::default());
        let first = registry.enter(b"a", 2, 0).unwrap();
        let second = registry.enter(b"a", 2, 0).unwrap();
        assert!(registry.enter(b"a", 2, 0).is_none());
        let other = registry.enter(b"A", 2, 0).unwrap();
        drop(first);
        assert!(registry.enter(b"a", 2, 0).is_some());
        drop((second, other));
        assert!(registry.users.lock().is_empty(), "users that are gone cost nothing");
    }

    #[test]
    fn changed_limits_of_a_user_apply_to_new_sessions_cm_15() {
        let registry = Arc::new(UserSessions::default());
        let old = [0, 500].map(|rate| registry.enter(b"a", 0, rate).unwrap());
        assert!(registry.enter(b"a", 2, 0).is_none(), "sessions without a limit count");
        let new = [200, 200, 0].map(|rate| registry.enter(b"a", 0, rate).unwrap());
        let rate = |session: &UserSession| session.rate().map_or(0, |rate| rate.per_second());
        assert_eq!(old.each_ref().map(rate), [0, 500]);
        assert_eq!(new.each_ref().map(rate), [200, 200, 0]);
        assert!(Arc::ptr_eq(&new[0].rate().unwrap(), &new[1].rate().unwrap()));
    }

    #[test]
    fn the_sessions_of_a_user_share_one_rate_limit() {
        let registry = Arc::new(UserSessions::default());
        let enter = |user: &[u8]| registry.enter(user, 0, 1_000).unwrap();
        let users = [enter(b"a"), enter(b"a"), enter(b"b")];
        let [first, second, other] = users.each_ref().map(|present| present.rate().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(registry.enter(b"c", 1, 0).unwrap().rate().is_none());
    }
}
