//! TLS sessions of a control connection that only its own data connections can resume.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::{ProducesTickets, StoresServerSessions};

use super::settings::ring;
use crate::lock::Lock;

/// Maximum number of TLS 1.2 sessions that a control connection remembers for a client without
/// tickets.
const REMEMBERED: usize = 4;

/// Lifetime of a ticket in seconds: the maximum (RFC 8446 §4.6.1), because a session that only
/// uploads gets no new tickets after the handshake of its control connection.
const LIFETIME: u32 = 7 * 24 * 60 * 60;

const KEY_LEN: usize = 32;

/// The resumable TLS sessions of one control connection. Their tickets are sealed with a key that
/// exists only as long as the connection. Tickets of other control connections are useless here
/// (RFC 4217 §15.2.6).
pub(super) struct Resumption {
    key: [u8; KEY_LEN],
    /// TLS 1.2 sessions of clients without tickets, the oldest first.
    remembered: Lock<VecDeque<(Vec<u8>, Vec<u8>)>>,
}

impl Resumption {
    pub(super) fn new() -> io::Result<Self> {
        let mut key = [0; KEY_LEN];
        ring()
            .secure_random
            .fill(&mut key)
            .map_err(|_| io::Error::other("the system returns no random bytes"))?;
        Ok(Self { key, remembered: Lock::default() })
    }

    /// Returns a new cipher. It is created on demand, because a cipher is larger than its key, and
    /// there are many sessions.
    fn seal(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, &self.key).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption").finish_non_exhaustive()
    }
}

impl ProducesTickets for Resumption {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    /// Returns the nonce, followed by the sealed text.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        ring().secure_random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let nonce_once = Nonce::assume_unique_for_key(nonce);
        self.seal()?.seal_in_place_append_tag(nonce_once, Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let plain = self.seal()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl StoresServerSessions for Resumption {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut sessions = self.remembered.lock();
        sessions.retain(|(known, _)| *known != key);
        if sessions.len() == REMEMBERED {
            sessions.pop_front();
        }
        sessions.push_back((key, value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let sessions = self.remembered.lock();
        sessions.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut sessions = self.remembered.lock();
        let at = sessions.iter().position(|(known, _)| known == key)?;
        sessions.remove(at).map(|(_, value)| value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ticket_is_valid_only_for_its_control_connection_tl_11() {
        let ours = Resumption::new().unwrap();
        let others = Resumption::new().unwrap();
        let ticket = ours.encrypt(b"a session").unwrap();
        assert_eq!(ours.decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(others.decrypt(&ticket), None);
        assert_ne!(ours.encrypt(b"a session").unwrap(), ticket);
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(ours.decrypt(&other), None);
            assert_eq!(ours.decrypt(&ticket[..at]), None);
        }
    }
}
