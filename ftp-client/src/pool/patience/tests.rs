use ftp_proto::{Reply, ReplyCode, Verb};

use super::*;
use crate::error::{Error, Phase};

fn refused(code: u16) -> Error {
    Error::Refused { verb: Verb::Retr, reply: Reply::new(ReplyCode::new(code).unwrap(), "because") }
}

#[test]
fn only_what_another_attempt_can_change_is_attempted_again() {
    let short = Error::Incomplete { bytes: 1, announced: Some(2) };
    for (error, want) in [
        (refused(450), Recovery::TryAgain),
        (refused(425), Recovery::TryAgain),
        (refused(452), Recovery::Impossible),
        (refused(552), Recovery::Impossible),
        (refused(550), Recovery::Impossible),
        (Error::Closed, Recovery::TryAgain),
        (Error::Desynchronised, Recovery::Reconnect),
        (Error::Timeout(Phase::Stall), Recovery::TryAgain),
        (Error::Timeout(Phase::Overall), Recovery::Impossible),
        (short, Recovery::StartOver),
        (Error::Changed, Recovery::StartOver),
        (Error::ListingCut(ListingCut::LineEnd), Recovery::StartOver),
        (Error::ListingCut(ListingCut::TooLong), Recovery::Impossible),
        (Error::Cancelled, Recovery::Impossible),
        (Error::local(std::io::ErrorKind::StorageFull.into()), Recovery::Impossible),
    ] {
        assert_eq!(error.recovery(), want, "{error}");
    }
}

/// Every row of up to four failures, with every number of attempts, against the rule in words.
#[test]
fn all_rows_of_failures_end_where_the_rule_says() {
    use Recovery::{Impossible, StartOver, TryAgain};
    let kinds = [Impossible, TryAgain, StartOver];
    let mut cases = 0;
    for most in 0..5 {
        for spent_at in 0..5 {
            for row in 0..81 {
                let kind = |at: u32| kinds[row / 3_usize.pow(at) % 3];
                let mut attempt = Attempt::FIRST;
                for at in 0..4 {
                    cases += 1;
                    if attempt.number == spent_at {
                        attempt.make_last();
                    }
                    let earlier = (0..at).any(|at| kind(at) == StartOver);
                    let want = at + 1 < most
                        && at + 1 != spent_at
                        && kind(at) != Impossible
                        && !(kind(at) == StartOver && earlier);
                    let next = attempt.next(most, kind(at));
                    assert_eq!(next.is_some(), want, "{most} {spent_at} {row} {at}");
                    let Some(next) = next else { break };
                    assert_eq!(next.number(), at + 2);
                    assert_eq!(next.from_start(), earlier || kind(at) == StartOver);
                    attempt = next;
                }
            }
        }
    }
    assert!(cases > 2_000, "{cases}");
}

#[test]
fn each_pause_is_announced_and_a_cancel_ends_it() {
    let canceller = Canceller::new().unwrap();
    let long = Duration::from_secs(3_600);
    let patience = Patience::new().pauses(long, long).scattered(false);
    let patience = patience.canceller(Some(canceller.clone()));
    let mut said = Vec::new();
    let say = &mut |attempt: u32, why: &Error, pause: Duration| {
        said.push((attempt, why.to_string(), pause));
        canceller.cancel();
    };
    let done = patience.next(&mut patience.first(), Error::Closed, &mut |_| false, say);
    assert!(matches!(done, Err(Error::Cancelled)), "{done:?}");
    assert_eq!(said, [(2, Error::Closed.to_string(), long)]);
    // A pause beyond the overall limit is neither made nor announced.
    let patience = Patience::new().pauses(long, long).overall(Some(long / 4));
    let none = &mut |attempt: u32, _: &Error, _: Duration| panic!("{attempt}");
    let done = patience.next(&mut patience.first(), Error::Closed, &mut |_| false, none);
    assert!(matches!(done, Err(Error::Closed)), "{done:?}");
    // A new connection is not an attempt, but there is only one.
    let (patience, mut attempt) = (Patience::new().attempts(1), patience.first());
    for want in [true, false] {
        let none = &mut |attempt: u32, _: &Error, _: Duration| panic!("{attempt}");
        let done = patience.next(&mut attempt, Error::Closed, &mut |_| true, none);
        assert_eq!((done.is_ok(), attempt.number()), (want, 1));
    }
}

#[test]
fn a_cancelled_connection_says_nothing_about_the_server() {
    let mut doors = Admission::new();
    doors.resize(2);
    assert_eq!(doors.turn(), Turn::Dial);
    doors.accepted();
    assert_eq!(doors.turn(), Turn::Dial);
    assert!(!doors.refused(&Error::Cancelled, true));
    assert!(doors.fewer().is_none() && doors.allowed().is_none() && doors.refusal().is_none());
}

#[test]
fn a_refusal_beside_an_accepted_connection_means_fewer_connections() {
    let mut doors = Admission::new();
    doors.resize(4);
    // The others wait for the result of the first connection.
    assert_eq!([doors.turn(), doors.turn()], [Turn::Dial, Turn::Wait]);
    // A failure before any success is the failure of its caller.
    assert!(!doors.refused(&Error::Closed, true));
    assert_eq!(doors.turn(), Turn::Dial);
    doors.accepted();
    assert_eq!([doors.turn(), doors.turn()], [Turn::Dial, Turn::Dial]);
    assert!(doors.refused(&Error::Closed, true));
    assert!(doors.refusal().is_none());
    assert!(matches!(doors.fewer(), Some(Error::Closed)));
    assert_eq!(doors.turn(), Turn::Full);
    // One of the connections that were being made is accepted after all.
    doors.accepted();
    assert_eq!(doors.turn(), Turn::Full);
    doors.probe(Duration::from_secs(60));
    assert_eq!(doors.turn(), Turn::Full);
    doors.probe(Duration::ZERO);
    assert_eq!([doors.turn(), doors.turn()], [Turn::Dial, Turn::Full]);
    assert!(doors.refused(&Error::Closed, true));
    // A lost connection can be replaced, but the limit stays.
    doors.lost();
    assert_eq!([doors.turn(), doors.turn()], [Turn::Dial, Turn::Full]);
    doors.accepted();
    // Without any connection, nothing is known.
    doors.lost();
    doors.lost();
    assert_eq!(doors.turn(), Turn::Dial);
    doors.accepted();
    assert_eq!([doors.turn(), doors.turn(), doors.turn()], [Turn::Dial; 3]);
    assert_eq!(doors.turn(), Turn::Full);
    assert!(doors.fewer().is_none());
}

#[test]
fn the_silence_of_a_server_limits_no_pool_of_callers_that_do_not_wait() {
    // Too many open files.
    let local = Error::io(std::io::Error::from_raw_os_error(24));
    let silent = Error::Timeout(Phase::Greeting);
    let failures = [&silent, &local].into_iter().flat_map(|it| [(it, false), (it, true)]);
    for (failure, waits) in failures {
        let mut doors = Admission::new();
        doors.resize(2);
        assert_eq!(doors.turn(), Turn::Dial);
        doors.accepted();
        assert_eq!(doors.turn(), Turn::Dial);
        assert!(doors.refused(failure, waits));
        assert_eq!(doors.fewer().is_some(), waits);
        assert_eq!(doors.turn(), if waits { Turn::Full } else { Turn::Dial });
    }
}

#[test]
fn a_wrong_password_is_tried_once_and_not_by_every_caller() {
    let mut doors = Admission::new();
    assert_eq!(doors.turn(), Turn::Dial);
    assert!(!doors.refused(&Error::Cancelled, true));
    assert!(matches!(doors.refusal(), Some(Error::Cancelled)));
}

/// All rows of eight events, for servers and pools of up to three connections: the pool never
/// has more connections than wanted, a caller never waits for nothing, and a server that
/// accepts n connections is asked for more only once while one is open.
#[test]
fn all_rows_of_events_keep_the_limits() {
    for size in 1..4 {
        for accepts in 0..4 {
            for row in 0..3_u32.pow(8) {
                let mut doors = Admission::new();
                doors.resize(size);
                let (mut open, mut dialling, mut refusals) = (0, 0, 0);
                for at in 0..8 {
                    match row / 3_u32.pow(at) % 3 {
                        0 => match doors.turn() {
                            Turn::Dial => dialling += 1,
                            Turn::Wait => assert!(dialling > 0, "waits for nothing"),
                            Turn::Full => assert!(open > 0, "waits for nothing"),
                        },
                        1 if dialling > 0 => {
                            dialling -= 1;
                            if open < accepts {
                                doors.accepted();
                                open += 1;
                            } else {
                                assert_eq!(doors.refused(&Error::Closed, true), open > 0);
                                refusals += usize::from(open > 0);
                            }
                        }
                        2 if open > 0 => {
                            doors.lost();
                            open -= 1;
                            refusals = if open == 0 { 0 } else { refusals };
                        }
                        _ => {}
                    }
                    assert!(open + dialling <= size, "{size} {accepts} {row}");
                    assert!(refusals < size, "{size} {accepts} {row}");
                }
            }
        }
    }
}

#[test]
fn retry_delays_double_with_jitter() {
    let second = Duration::from_secs(1);
    let doubled = Patience::new().pauses(second, Duration::MAX).scattered(false);
    assert_eq!(doubled.pause(1), second);
    assert_eq!(doubled.pause(6), 32 * second);
    assert_eq!(doubled.pause(41), Duration::from_secs(u64::from(u32::MAX)));
    assert_eq!(Patience::new().scattered(false).pause(41), 60 * second);
    let endless = Patience::new().pauses(Duration::MAX, Duration::MAX);
    assert_eq!(endless.clone().scattered(false).pause(3), Duration::MAX);
    let all: Vec<_> = (0..100).map(|_| doubled.clone().scattered(true).pause(1)).collect();
    assert!(all.iter().all(|pause| (second / 2..=second).contains(pause)));
    assert!(all.iter().any(|pause| pause != &all[0]));
    assert!(endless.pause(1) >= Duration::MAX / 2);
    assert_eq!(Patience::new().pauses(Duration::ZERO, second).pause(1), Duration::ZERO);
}
