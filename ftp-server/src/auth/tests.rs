use super::*;

#[test]
fn passwords_are_not_shown() {
    let peer = ([127, 0, 0, 1], 1).into();
    let attempt = LoginAttempt {
        user: b"me",
        password: b"secret",
        account: None,
        host: None,
        peer,
        tls: None,
        deadline: Instant::now(),
        is_client_gone: None,
    };
    assert!(!format!("{attempt:?}").contains("secret"));
}

#[test]
fn debug_shows_each_login_setting() {
    let plain = || Login::new(Arc::new(crate::MemoryStorage::new()), Rights::READ);
    for changed in [
        plain().directory("/d", Rights::FULL),
        plain().mkdir_existing_ok(true),
        plain().mkdir_parents(true),
        plain().shared(true),
        plain().name("ann"),
        plain().limits(UserLimits::default().sessions(1)),
        plain().enabled(false),
        plain().expires(SystemTime::UNIX_EPOCH),
        plain().idle(Duration::from_secs(7)),
        plain().overwrite(false),
        plain().representation(RepresentationType::Image),
    ] {
        assert_ne!(format!("{changed:?}"), format!("{:?}", plain()));
    }
}

#[test]
fn an_expired_user_can_log_in_again_once_the_clock_is_set_back() {
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let user = Login::new(Arc::new(crate::MemoryStorage::new()), Rights::READ).expires(now);
    let objection = |time| user.objection([127, 0, 0, 1].into(), time);
    assert_eq!(objection(now + day), Some(AuthError::Expired));
    assert_eq!(objection(now - day), None);
}

mod slots {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::super::*;

    fn attempt() -> LoginAttempt<'static> {
        LoginAttempt {
            user: b"u",
            password: b"p",
            account: None,
            host: None,
            peer: ([127, 0, 0, 1], 1).into(),
            tls: None,
            deadline: Instant::now() + Duration::from_secs(60),
            is_client_gone: None,
        }
    }

    /// Returns how many of 24 jobs ran at a time, with this memory each; the first ones wait until
    /// `want` of them run.
    fn peak_concurrency(slots: &Slots, memory: u64, want: usize) -> usize {
        let now = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let deadline = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            for _ in 0..24 {
                scope.spawn(|| {
                    let work = || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        while most.load(Ordering::SeqCst) < want && Instant::now() < deadline {
                            thread::park_timeout(Duration::from_millis(1));
                        }
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    };
                    assert!(slots.run(&attempt(), memory, work).is_some());
                });
            }
        });
        assert_eq!(slots.shares.held(), 0);
        most.into_inner()
    }

    #[test]
    fn concurrent_password_hashing_is_limited_hs_32() {
        for (most, memory, want) in [(4, 0, 4), (4, 30, 3), (4, 101, 1), (1, 1, 1)] {
            assert_eq!(peak_concurrency(&Slots::new(most, 100), memory, want), want);
        }
        assert_eq!(peak_concurrency(&Slots::new(4, 0), 0, 4), 4, "the memory is not known");
    }

    #[test]
    fn a_panic_releases_its_slot() {
        let slots = Slots::new(1, 0);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            slots.run(&attempt(), 0, || panic!("as the test wants"))
        }));
        assert!(panicked.is_err());
        assert_eq!(slots.run(&attempt(), 0, || 1), Some(1));
    }

    #[test]
    fn a_login_whose_client_has_gone_is_not_hashed_hs_32() {
        let slots = Slots::new(1, 0);
        let gone = LoginAttempt { is_client_gone: Some(&|| true), ..attempt() };
        let waited = slots.run(&attempt(), 0, || slots.run(&gone, 0, || 1));
        assert_eq!(waited, Some(None));
    }
}

mod user_sessions {
    use super::super::*;

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
