//! A ledger that does not answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use ftp_tests::raw::RawSession;
use ftp_tests::wait::patiently;

use super::*;
use crate::auth::Rights;
use crate::config::{Limits, ServerConfig};
use crate::lock::Lock;
use crate::log::messages;
use crate::server::Server;

/// A ledger that can stop answering, at once or after some calls.
#[derive(Debug, Default)]
struct Distant {
    ledger: MemoryLedger,
    is_away: AtomicBool,
    /// Whether records can be read but not replaced.
    is_replica: AtomicBool,
    /// If not 0, the number of the call from which on the ledger is away.
    leaves_at: usize,
    calls: AtomicUsize,
    /// While this is locked, no call returns.
    stall: Lock<()>,
}

impl Distant {
    fn check(&self) -> Result<(), LedgerError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        drop(self.stall.lock());
        let has_left = self.leaves_at > 0 && call >= self.leaves_at;
        match has_left || self.is_away.load(Ordering::SeqCst) {
            true => Err(LedgerError::Away { why: "a test".to_owned() }),
            false => Ok(()),
        }
    }
}

impl Ledger for Distant {
    fn read(&self, name: &str) -> Result<LedgerAnswer, LedgerError> {
        self.check()?;
        self.ledger.read(name)
    }

    fn replace(
        &self,
        name: &str,
        version: Option<&[u8]>,
        content: &[u8],
    ) -> Result<bool, LedgerError> {
        self.check()?;
        if self.is_replica.load(Ordering::SeqCst) {
            return Err(LedgerError::Away { why: "a replica".to_owned() });
        }
        self.ledger.replace(name, version, content)
    }
}

/// A server with a limit of two sessions per user, and with a quota.
struct Served {
    ledger: Arc<Distant>,
    files: Arc<MemoryStorage>,
    state: SharedState,
    server: Server,
}

fn serve(without: WithoutLedger) -> Served {
    let ledger = Arc::new(Distant::default());
    let files = Arc::new(MemoryStorage::new());
    let state = SharedState::start(Arc::clone(&ledger), LONG, without).unwrap();
    let storage = state.quota(Arc::clone(&files), "files").max_bytes(LIMIT);
    let config = ServerConfig::new().limits(Limits::new().per_user(2).min_free(0));
    let builder = Server::builder().config(config).storage(storage).shared_state(state.clone());
    let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").unwrap();
    Served { ledger, files, state, server }
}

impl Served {
    fn login(&self) -> RawSession {
        let mut session = RawSession::login(self.server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        session
    }
}

fn store(session: &mut RawSession, name: &str, length: usize) -> u16 {
    let data = session.passive();
    let reply = session.ask(format!("STOR {name}"));
    if reply.code != 150 {
        return reply.code;
    }
    // The server may refuse the rest.
    let _ = data.stream().write_all(&vec![b'x'; length]);
    data.close();
    session.reply().code
}

#[test]
fn an_unreachable_ledger_blocks_logins_and_uploads_with_refuse() {
    let served = serve(WithoutLedger::Refuse);
    let mut session = served.login();
    assert_eq!(store(&mut session, "f", 5), 226);
    served.ledger.is_away.store(true, Ordering::SeqCst);
    let mut other = RawSession::greeted(served.server.local_addr());
    other.expect("USER u", 331);
    let reply = other.expect("PASS p", 421).text();
    assert!(reply.contains("Cannot count the connections"), "{reply}");
    let _ = session.passive();
    let reply = session.expect("STOR g", 452).text();
    assert!(reply.contains("Cannot check the quota now"), "{reply}");
    session.expect("MKD d", 452);
    // Reading still works.
    session.expect("SIZE f", 213);
    served.ledger.is_away.store(false, Ordering::SeqCst);
    at_last("uploads work again", || (store(&mut session, "g", 5) == 226).then_some(()));
    let _other = served.login();
    let mut third = RawSession::greeted(served.server.local_addr());
    third.expect("USER u", 331);
    third.expect("PASS p", 421);
}

#[test]
fn an_unreachable_ledger_permits_logins_and_uploads_with_allow() {
    let served = serve(WithoutLedger::Allow);
    let mut session = served.login();
    assert_eq!(store(&mut session, "f", 5), 226);
    served.ledger.is_away.store(true, Ordering::SeqCst);
    let mut other = served.login();
    assert_eq!(store(&mut other, "g", 700_000), 226);
    other.expect("DELE f", 250);
    served.ledger.is_away.store(false, Ordering::SeqCst);
    let quota = served.state.quota(Arc::clone(&served.files), "files");
    wait_until("the ledger answers", || quota.space(&VirtualPath::root(), RoomFor::User).is_ok());
    // The files are counted again.
    // A session that comes during the count gets 451.
    let counted = || Some(store(&mut session, "h", 700_000)).filter(|code| *code != 451);
    assert_eq!(at_last("the count ends", counted), 552);
    assert_eq!(stored(&served.files), 700_000);
    wait_until("the record is right", || recorded(&[&served.state], &quota) == 700_000);
}

#[test]
fn a_ledger_that_can_only_be_read_does_not_answer_again() {
    let ledger = Arc::new(Distant::default());
    ledger.is_replica.store(true, Ordering::SeqCst);
    let state = SharedState::start(Arc::clone(&ledger), LONG, WithoutLedger::Refuse).unwrap();
    let enter = || state.inner.change("r", |record, times| record.enter("id", 9, times)).ok();
    let said = messages::of(log::Level::Info, || {
        for _ in 0..2 {
            assert_eq!(enter(), None);
            at_last("the record is read", || state.inner.change("r", |_, _| ()).ok());
        }
        ledger.is_replica.store(false, Ordering::SeqCst);
        at_last("the record is replaced", enter);
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("a replica") && said[1].contains("answers again"), "{said:?}");
}

#[test]
fn a_ledger_lost_during_a_count_fails_uploads_only_with_refuse() {
    // The first call shows that a count is necessary; the next two begin it, and the fourth ends it.
    for leaves_at in 2..=4 {
        for (without, want) in
            [(WithoutLedger::Allow, None), (WithoutLedger::Refuse, Some(Kind::Uncounted))]
        {
            let ledger = Distant { leaves_at, ..Distant::default() };
            let state = SharedState::start(ledger, LONG, without).unwrap();
            let storage = state.quota(MemoryStorage::new(), "files").max_bytes(LIMIT);
            let stored = put(&storage, "f", WriteMode::Create, 5);
            assert_eq!(kind(stored), want, "{leaves_at}");
        }
    }
}

#[test]
fn an_upload_that_is_given_up_while_the_ledger_stalls_reserves_nothing_dc_45() {
    for is_whole in [false, true] {
        let served = serve(WithoutLedger::Refuse);
        let storage = served.state.quota(Arc::clone(&served.files), "files").max_bytes(LIMIT);
        put(&storage, "f", WriteMode::Create, 5).unwrap();
        let mut upload = storage.write(&path("f"), WriteMode::Replace, Keep::Shared).unwrap();
        upload.write_all(&[b'x'; 64 * 1024 + 1]).unwrap();
        assert_eq!(recorded(&[&served.state], &storage), 5 + 64 * 1024 + 1);
        let stall = served.ledger.stall.lock();
        for _ in 0..2 {
            let is_ready = match is_whole {
                true => upload
                    .flush()
                    .map(|()| upload.ready().unwrap() && upload.prepare_commit().unwrap()),
                false => Ok(upload.ready().unwrap()),
            };
            assert!(!is_ready.unwrap(), "{is_whole}");
        }
        upload.abort(StreamEnd::Cut);
        drop(stall);
        let is_released = || recorded(&[&served.state], &storage) == 5;
        wait_until("the reservation is released", is_released);
        assert_eq!(stored(&served.files), 5);
        // Nothing holds the name.
        put(&storage, "f", WriteMode::Replace, 900_000).unwrap();
    }
}

#[test]
fn a_login_that_waits_for_the_ledger_ends_with_its_client_and_the_server_hf_13_st_13() {
    for vanishes in [false, true] {
        patiently(Duration::from_secs(1), |limit| {
            let Served { ledger, server, .. } = serve(WithoutLedger::Refuse);
            let mut session = RawSession::greeted(server.local_addr());
            session.expect("USER u", 331);
            let _stall = ledger.stall.lock();
            session.line("PASS p");
            wait_until("the ledger is asked", || ledger.calls.load(Ordering::SeqCst) > 0);
            let start = Instant::now();
            match vanishes {
                true => {
                    drop(session);
                    wait_until("the session ends", || server.sessions().is_empty());
                }
                false => {
                    assert_eq!(server.shutdown(Duration::ZERO).stuck, 0);
                    session.expect_reply(421);
                }
            }
            assert!(start.elapsed() < limit, "{vanishes} {:?}", start.elapsed());
        });
    }
}
