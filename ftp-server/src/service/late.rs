//! Changes that a session gave up. The call to the storage goes on, and its result comes when the
//! session waits no longer or has ended.

use ftp_proto::HostName;

use crate::lock::Lock;
use crate::log::{Event, EventKind, Line, Observers};
use crate::net::complaints::Complaints;
use crate::session::Session;
use crate::storage::{StorageError, StorageResult, is_made};
use crate::tls::TlsInfo;

/// The function that gets the event of a change.
pub(crate) type LateObserver<'a> = &'a mut dyn FnMut(EventKind<'_>);

/// A function that passes the event of a change on, if there is one.
pub(crate) type LateEvent = Box<dyn FnOnce(LateObserver<'_>) + Send>;

/// What a login needs to tell of changes that it gave up.
pub(crate) struct LateTeller {
    observers: Observers,
    /// The login, as in each [`Event`].
    session: u64,
    peer: std::net::SocketAddr,
    user: Vec<u8>,
    tls: Option<TlsInfo>,
    host: Option<HostName>,
    said: Lock<Complaints>,
}

impl LateTeller {
    /// Returns a teller for a login of `user`.
    pub(crate) fn new(session: &Session, user: &[u8]) -> Self {
        Self {
            observers: session.context.observers.clone(),
            session: session.peer.number,
            peer: session.peer.address,
            user: user.to_vec(),
            tls: session.tls(),
            host: session.shown_host().cloned(),
            said: Lock::default(),
        }
    }

    /// Tells how a change has ended: the observers if it is made, and the log, because the client was
    /// told that it may be made. The log gets at most one line a second.
    pub(super) fn conclude(&self, late: LateEvent, ended: &StorageResult<()>) {
        late(&mut |kind| {
            let (user, tls, host) = (Some(&*self.user), self.tls, self.host.as_ref());
            let session = Some(self.session);
            let event = Event { session, user, tls, host, ..Event::of_peer(self.peer, kind) };
            let line = Line::of(&event, 0);
            if is_made(ended) {
                self.observers.tell_unharmed(&event);
            }
            let end = ended.as_ref().map_or_else(StorageError::in_full, |()| "done".to_owned());
            self.said.lock().log("given up by its session", &format!("{line}: {end}"));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::messages;
    use crate::storage::StorageErrorKind;

    #[test]
    fn the_end_of_a_change_that_was_given_up_is_logged_dc_45() {
        let ends = [
            (Ok(()), "done"),
            (Err(StorageErrorKind::Unsynced.into()), "done, but not safely on the disk"),
            (Err(StorageErrorKind::Denied.into()), "permission denied"),
        ];
        for (end, said) in ends {
            let teller = LateTeller {
                observers: Observers::default(),
                session: 7,
                peer: ([192, 0, 2, 1], 50_212).into(),
                user: b"u".to_vec(),
                tls: None,
                host: None,
                said: Lock::default(),
            };
            let late: LateEvent = Box::new(|tell| tell(EventKind::Deleted { path: &"/a".into() }));
            let line = r#"delete session=7 peer=192.0.2.1 port=50212 user="u" path="/a""#;
            assert_eq!(
                messages::of(log::Level::Warn, || teller.conclude(late, &end)),
                [format!("given up by its session: {line}: {said}")]
            );
        }
    }
}
