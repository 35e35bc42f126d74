//! Who gets what is scarce.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::shares::table::Patience;

static PLAIN: Scarce = Scarce::for_tests(false);
static RESERVED: Scarce = Scarce::for_tests(true);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A moment that has passed: the claim does not wait.
fn now() -> Instant {
    Instant::now()
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn networks_take_turns_from_the_widest_to_the_address_hs_32() {
    let shares = Shares::new(&PLAIN, 1);
    let first = shares.claim(address("127.0.0.1"), 1);
    let claims: Vec<_> = [
        "2001:db8::1",
        "2001:db8::1",
        "2001:db8:0:1::1",
        "2001:db8:0:100::1",
        "2001:db8::2",
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.1",
        "198.51.100.1",
        "127.0.0.1",
    ]
    .map(|peer| (peer, shares.claim(address(peer), 1)))
    .into();
    let order = order(claims, first);
    let want = [
        "2001:db8::1",
        "192.0.2.1",
        "198.51.100.1",
        "127.0.0.1",
        "2001:db8:0:100::1",
        "192.0.2.2",
        "2001:db8:0:1::1",
        "192.0.2.1",
        "2001:db8::2",
        "2001:db8::1",
    ];
    assert_eq!(order, want);
    assert!(shares.ledger.lock().networks.is_empty() && shares.held() == 0);
}

/// Returns the order in which the claims are granted, after `first` is dropped.
fn order(claims: Vec<(&'static str, Share)>, first: Share) -> Vec<&'static str> {
    let mut claims: VecDeque<_> = claims.into();
    drop(first);
    let mut order = Vec::new();
    while let Some(at) = claims.iter_mut().position(|(_, share)| share.wait(now())) {
        order.push(claims[at].0);
        claims.remove(at);
    }
    assert!(claims.is_empty());
    order
}

#[test]
fn many_networks_of_one_site_delay_others_by_one_turn_hs_32() {
    let shares = Shares::new(&PLAIN, 2);
    let mut guesses: Vec<_> =
        (0..150).map(|net| shares.claim(address(&format!("2001:db8:0:{net:x}::1")), 1)).collect();
    let mut newcomer = shares.claim(address("2001:db8:1::1"), 1);
    assert!(!newcomer.wait(now()));
    guesses.remove(0);
    assert!(newcomer.wait(now()));
}

#[test]
fn a_claim_that_is_withdrawn_makes_room_for_the_next() {
    let shares = Shares::new(&PLAIN, 2);
    let held = shares.claim(address("192.0.2.1"), 2);
    let mut large = shares.claim(address("192.0.2.2"), u64::MAX);
    let mut small = shares.claim(address("192.0.2.2"), 1);
    assert!(!large.wait(now()) && !small.wait(Instant::now() + Duration::from_millis(20)));
    thread::scope(|scope| {
        let waits = scope.spawn(|| small.wait(later()));
        drop(large);
        drop(held);
        assert!(waits.join().unwrap());
    });
    drop(small);
    assert!(shares.ledger.lock().networks.is_empty() && shares.ledger.lock().waiting.is_empty());
}

#[test]
fn the_last_eighth_is_for_networks_that_hold_none() {
    for (total, one) in [(1, 1), (2, 1), (3, 2), (8, 7), (16, 14), (40, 35)] {
        for hosts in [["127.0.0.1"; 2], ["192.0.2.1"; 2], ["2001:db8::1", "2001:db8:0:ff00::1"]] {
            let shares = Shares::new(&RESERVED, total);
            let mut greedy: Vec<_> = (0..total)
                .map(|at| shares.claim(address(hosts[usize::from(at % 2 > 0)]), 1))
                .collect();
            let granted = greedy.iter_mut().filter_map(|share| share.wait(now()).then_some(()));
            assert_eq!(granted.count() as u64, one, "{total}");
            let mut others =
                (0..total).map(|at| shares.claim(address(&format!("192.0.3.{at}")), 1));
            let rest = others.by_ref().map(|mut share| (share.wait(now()), share));
            let rest: Vec<_> = rest.collect();
            assert_eq!(rest.iter().filter(|(is, _)| *is).count() as u64, total - one, "{total}");
        }
    }
}

/// All sequences of claims by three clients and returns of the oldest share, compared with the
/// rule itself.
#[test]
fn every_sequence_of_claims_keeps_the_rule() {
    // Two hosts of one /48, and one elsewhere.
    const CLIENTS: [&str; 3] = ["2001:db8::1", "2001:db8:0:1::1", "192.0.2.1"];
    const DEPTH: u32 = 5;
    for (scarce, total) in [(&PLAIN, 1), (&PLAIN, 2), (&RESERVED, 2), (&RESERVED, 3)] {
        for mut code in 0..6_u32.pow(DEPTH) {
            let shares = Shares::new(scarce, total);
            let mut claims: [VecDeque<Share>; 3] = Default::default();
            for _ in 0..DEPTH {
                let (client, is_claim) = ((code % 3) as usize, code / 3 % 2 == 0);
                code /= 6;
                if is_claim {
                    claims[client].push_back(shares.claim(address(CLIENTS[client]), 1));
                } else {
                    claims[client].pop_front();
                }
                let counts = claims.each_mut().map(|all| {
                    let held = all.iter_mut().filter_map(|one| one.wait(now()).then_some(()));
                    let held = held.count() as u64;
                    (held, all.len() as u64 - held)
                });
                check(scarce, total, counts);
            }
            drop(claims);
            assert!(shares.ledger.lock().networks.is_empty());
        }
    }
}

/// Checks what the clients hold and how many of their claims wait.
fn check(scarce: &Scarce, total: u64, [one, two, other]: [(u64, u64); 3]) {
    let state = format!("{total} {:?}", [one, two, other]);
    let free = total - one.0 - two.0 - other.0;
    let site = (one.0 + two.0, one.1 + two.1);
    for (held, waiting) in [site, other] {
        // Nothing lies idle, except the reserve for others.
        let is_free = free > 0 && (held == 0 || !scarce.has_reserve || free > 1);
        assert!(waiting == 0 || !is_free, "{state}");
        // Whoever waits and holds none is the next, and no network keeps the reserve.
        assert!(!scarce.has_reserve || total < 2 || held < total, "{state}");
    }
}

#[test]
fn long_work_gives_way_to_networks_that_hold_less_cm_126_hs_37() {
    let shares = Shares::new(&RESERVED, 2);
    let mut long = ["2001:db8::1", "192.0.2.1"].map(|peer| shares.claim(address(peer), 1));
    // Claims of the same address wait for the end of the work.
    let mut same = shares.claim(address("192.0.2.1"), 1);
    assert!(long.iter_mut().all(Share::give_way) && !same.wait(now()));
    drop(same);
    // Whoever comes waits for one step; those who gave way get the places back in turn.
    for round in 0..3 {
        let mut newcomer = shares.claim(address("198.51.100.1"), 1);
        assert!(!newcomer.wait(now()));
        for share in &mut long {
            share.give_way();
        }
        assert!(newcomer.wait(now()), "{round}");
        assert_eq!(long.each_mut().map(|share| share.wait(now())), [true, false], "{round}");
        drop(newcomer);
        assert!(long.iter_mut().all(|share| share.wait(now())), "{round}");
    }
    // A neighbour in the same site does so too, but only once it holds less.
    let mut neighbour = shares.claim(address("2001:db8:0:1::1"), 1);
    assert!(!long[0].give_way() && neighbour.wait(now()));
}

#[test]
fn the_fast_path_needs_one_short_lock() {
    let shares = Shares::new(&RESERVED, 1_000);
    let held: Vec<_> =
        (0..500).map(|at| shares.claim(address(&format!("192.0.2.{}", at % 250)), 1)).collect();
    let begun = Instant::now();
    for _ in 0..10_000 {
        assert!(shares.claim(address("198.51.100.1"), 1).wait(now()));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop(held);
    assert_eq!(Patience::Login.duration(), Duration::ZERO);
}
