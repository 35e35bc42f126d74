//! Remembers accepted logins for a short time, so that the server does not start the program again
//! for each connection of a client.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::question::Asked;
use crate::daemon::config::User;
use crate::lock::Lock;
use crate::net::random;

/// Largest number of logins.
const MOST: usize = 1_000;

/// A cache of accepted logins. It holds no passwords: the key of a login is a digest of a random
/// secret and of all facts that `auth.program` gets. Refused logins are never in it.
pub(super) struct Cache {
    lifetime: Duration,
    /// `None` if there are no random numbers; then nothing is remembered.
    secret: Option<[u8; 32]>,
    /// The oldest first; `None` once a reload has replaced the program.
    entries: Lock<Option<VecDeque<AcceptedLogin>>>,
}

/// The key of a login.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct LoginKey([u8; 32]);

struct AcceptedLogin {
    key: LoginKey,
    until: Instant,
    user: User,
}

/// Returns four random numbers as bytes, or `None` if there are none.
fn secret() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for chunk in bytes.as_chunks_mut().0 {
        *chunk = random::number().ok()?.to_ne_bytes();
    }
    Some(bytes)
}

impl Cache {
    pub(super) fn new(lifetime: Duration) -> Self {
        let secret = secret();
        Self { lifetime, secret, entries: Lock::new(Some(VecDeque::new())) }
    }

    /// Returns the key of a login, or `None` if the cache is off.
    pub(super) fn key(&self, asked: &Asked<'_>) -> Option<LoginKey> {
        if self.lifetime.is_zero() {
            return None;
        }
        let mut digest = Sha256::new().chain_update(self.secret?);
        let peer = asked.peer.to_string();
        for field in [
            Some(asked.user),
            Some(asked.password),
            Some(peer.as_bytes()),
            asked.host.as_deref().map(str::as_bytes),
            asked.tls.map(str::as_bytes),
        ] {
            // Includes the lengths, so that two different logins never have the same bytes.
            let length = field.map_or(u64::MAX, |field| field.len() as u64);
            digest.update(length.to_be_bytes());
            digest.update(field.unwrap_or_default());
        }
        Some(LoginKey(digest.finalize().into()))
    }

    /// Returns the user of a login that was accepted recently.
    pub(super) fn get(&self, key: &LoginKey, now: Instant) -> Option<User> {
        let entries = self.entries.lock();
        let mut entries = entries.as_ref()?.iter();
        entries.find(|entry| entry.key == *key && now < entry.until).map(|entry| entry.user.clone())
    }

    /// Remembers a login. Its lifetime starts at `asked`, so that a password that has been changed
    /// since is not accepted longer than the settings allow.
    pub(super) fn put(&self, key: LoginKey, asked: Instant, user: &User) {
        let Some(until) = asked.checked_add(self.lifetime) else { return };
        let mut entries = self.entries.lock();
        let Some(entries) = entries.as_mut() else { return };
        let now = Instant::now();
        entries.retain(|entry| entry.key != key && now < entry.until);
        if entries.len() == MOST {
            entries.pop_front();
        }
        entries.push_back(AcceptedLogin { key, until, user: user.clone() });
    }

    /// Forgets all logins, and remembers none from now on.
    pub(super) fn end(&self) {
        *self.entries.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn asked<'a>(user: &'a str, password: &'a str) -> Asked<'a> {
        let (user, password) = (user.as_bytes(), password.as_bytes());
        Asked { user, password, peer: [192, 0, 2, 1].into(), tls: None, host: None }
    }

    #[test]
    fn only_an_identical_login_is_found_in_the_cache() {
        let cache = Cache::new(LONG);
        let now = Instant::now();
        let known = cache.key(&asked("anna", "secret")).unwrap();
        assert!(cache.get(&known, now).is_none());
        cache.put(known, now, &User::default());
        assert!(cache.get(&known, now).is_some());
        for other in [
            asked("anna", "Secret"),
            asked("annas", "ecret"),
            Asked { peer: [192, 0, 2, 2].into(), ..asked("anna", "secret") },
            Asked { tls: Some("1.3"), ..asked("anna", "secret") },
            Asked { host: Some("1.3".to_owned()), ..asked("anna", "secret") },
        ] {
            assert!(cache.get(&cache.key(&other).unwrap(), now).is_none());
        }
        assert!(Cache::new(LONG).key(&asked("anna", "secret")) != Some(known));
        cache.end();
        cache.put(known, now, &User::default());
        assert!(cache.get(&known, now).is_none());
    }

    #[test]
    fn a_cached_login_expires() {
        let cache = Cache::new(Duration::from_secs(60));
        let now = Instant::now();
        let known = cache.key(&asked("anna", "secret")).unwrap();
        cache.put(known, now, &User::default());
        assert!(cache.get(&known, now + Duration::from_secs(59)).is_some());
        assert!(cache.get(&known, now + Duration::from_secs(60)).is_none());
        let none = Cache::new(Duration::ZERO);
        assert!(none.key(&asked("anna", "secret")).is_none());
    }

    #[test]
    fn at_most_one_thousand_logins_are_cached() {
        let cache = Cache::new(LONG);
        let now = Instant::now();
        let keys: Vec<LoginKey> =
            (0..=MOST).map(|number| cache.key(&asked(&number.to_string(), "p")).unwrap()).collect();
        keys.iter().for_each(|key| cache.put(*key, now, &User::default()));
        // The same login again does not take a second place.
        cache.put(keys[MOST], now, &User::default());
        let known = keys.iter().filter(|key| cache.get(key, now).is_some()).count();
        assert_eq!((known, cache.get(&keys[0], now).is_none()), (MOST, true));
    }
}
