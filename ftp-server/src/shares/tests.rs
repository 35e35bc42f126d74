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

/// Work of one client: what it holds, and its claim to more.
#[derive(Default)]
struct Work {
    held: Option<Share>,
    wanted: Option<Share>,
}

impl Work {
    /// Makes a step: begins, gets what was claimed, claims one more, or ends. Returns whether it has
    /// ended.
    fn go_on(&mut self, shares: &Arc<Shares>, peer: &str, enough: u64) -> bool {
        if let Some(more) = self.wanted.take_if(|wanted| wanted.wait(now())) {
            match &mut self.held {
                Some(held) => held.join(more),
                held => *held = Some(more),
            }
        }
        match &self.held {
            _ if self.wanted.is_some() => {}
            None => self.wanted = Some(shares.begin(address(peer), 1, enough)),
            Some(held) if held.units() < enough => self.wanted = Some(held.more(1)),
            Some(_) => *self = Self::default(),
        }
        self.held.is_none() && self.wanted.is_none()
    }
}

/// All sequences of steps by three clients that may stand still or leave, compared with the promise:
/// the oldest work never waits, and all of it ends.
#[test]
fn work_that_grows_never_waits_for_each_other() {
    const CLIENTS: [&str; 3] = ["192.0.2.1", "192.0.2.1", "2001:db8::1"];
    const DEPTH: u32 = 4;
    // The third client needs another number of units.
    for (scarce, total, enough, other) in
        [(&PLAIN, 3, 3, 3), (&PLAIN, 4, 3, 2), (&RESERVED, 5, 3, 4), (&RESERVED, 8, 4, 3)]
    {
        for mut code in 0..9_u32.pow(DEPTH) {
            let shares = Shares::new(scarce, total);
            let mut all: [Work; 3] = Default::default();
            let enough = |client: usize| if client == 2 { other } else { enough };
            for _ in 0..DEPTH {
                let (client, act) = ((code % 3) as usize, code / 3 % 3);
                code /= 9;
                match act {
                    0 => drop(all[client].go_on(&shares, CLIENTS[client], enough(client))),
                    1 => all[client] = Work::default(),
                    _ => {
                        let number = all[client].held.as_ref().map(Share::number);
                        let mut ledger = shares.ledger.lock();
                        let it = ledger.growing.iter_mut().find(|it| Some(it.number) == number);
                        if let Some(it) = it {
                            it.grown -= 2 * SLOW;
                        }
                    }
                }
                let ledger = shares.ledger.lock();
                assert!(ledger.held <= total);
                let oldest = ledger.growing.first().map(|it| it.number);
                let waits = |claim: &Claim| oldest.is_some() && claim.work.unwrap().0 == oldest;
                assert!(!ledger.waiting.values().any(waits), "{ledger:?}");
            }
            let mut going: Vec<_> = all.iter_mut().enumerate().collect();
            for round in 0.. {
                shares.ledger.lock().grant(scarce);
                going.retain_mut(|(at, it)| !it.go_on(&shares, CLIENTS[*at], enough(*at)));
                if going.is_empty() {
                    break;
                }
                assert!(round < 100, "{:?}", shares.ledger.lock());
            }
            let ledger = shares.ledger.lock();
            assert!(ledger.networks.is_empty() && ledger.growing.is_empty() && ledger.held == 0);
        }
    }
}

#[test]
fn work_that_grows_is_charged_for_what_it_holds() {
    let shares = Shares::new(&PLAIN, 20);
    let begin = |peer: &str| shares.begin(address(peer), 1, 5);
    let mut first: Vec<_> = (0..4).map(|_| begin("192.0.2.1")).collect();
    assert!(first.iter_mut().all(|share| share.wait(now())));
    // As long as they grow, the room of four is kept.
    let mut next = begin("192.0.2.2");
    assert!(!next.wait(now()) && !next.waits_in_vain(SLOW) && next.waits_in_vain(Duration::ZERO));
    assert!(!first[0].holds_up(SLOW) && !first[0].grow(1));
    shares.ledger.lock().growing.iter_mut().for_each(|it| it.grown -= SLOW);
    shares.ledger.lock().grant(&PLAIN);
    // Then only that of the oldest.
    assert!(next.wait(now()) && !first[0].holds_up(SLOW), "nobody waits");
    let mut rest: Vec<_> = (0..11).map(|_| next.more(1)).collect();
    assert_eq!(rest.iter_mut().filter(|more| more.is_granted()).count(), 11);
    let mut newcomer = begin("192.0.2.3");
    assert!(!newcomer.wait(now()) && first[0].holds_up(SLOW) && !first[1].holds_up(SLOW));
    let mut more = first[0].more(4);
    assert!(more.wait(now()), "its room was kept");
    first[0].join(more);
    assert_eq!((first[0].units(), shares.held()), (5, 20));
    first.remove(0);
    assert!(newcomer.wait(now()));
    drop(rest);
    drop((first, next, newcomer));
    assert_eq!(shares.held(), 0);
    // More than is enough is taken only from what nobody needs.
    let mut alone = begin("192.0.2.1");
    assert_eq!((0..20).filter(|_| alone.grow(1)).count(), 14);
}

/// Compares a time that gets shorter while a busy machine does something else.
fn about(got: Duration, want: u64) {
    let (got, want) = (got.as_secs_f64(), want as f64);
    assert!((want - 0.9..want + 0.2).contains(&got), "{got} s, wanted {want}");
}

#[test]
fn debts_beyond_the_credit_are_waited_for() {
    let debts = Debts::new(&table::PROCESSOR, SECOND, SECOND);
    let [one, other] = ["192.0.2.1", "192.0.2.2"].map(address);
    debts.pay(one, SECOND);
    about(debts.wait(one), 0);
    debts.pay(one, 4 * SECOND);
    about(debts.wait(one), 4);
    assert_eq!(debts.wait(other), Duration::ZERO, "it owes nothing");
    // Debtors share what comes back.
    debts.pay(other, 3 * SECOND);
    about(debts.wait(one), 8);
    about(debts.wait(other), 4);
    debts.pay(one, 1_000 * SECOND);
    about(debts.wait(one), 10);
    debts.books.lock().debts.retain(|_, debt| {
        *debt = (*debt).min(5 * SECOND);
        true
    });
    // Time pays for all of them.
    debts.books.lock().settled -= Duration::from_secs(4);
    about(debts.wait(other), 0);
    about(debts.wait(one), 4);
    debts.books.lock().settled -= Duration::from_secs(40);
    about(debts.wait(one), 0);
    assert!(debts.books.lock().debts.is_empty());
}

#[test]
fn costs_must_be_exact_beyond_half_of_the_credit() {
    let debts = Debts::new(&table::PROCESSOR, 1, SECOND);
    let [one, other] = ["192.0.2.1", "192.0.2.2"].map(address);
    for (peer, want) in [(one, false), (one, true), (other, false), (one, true)] {
        assert_eq!(debts.pay_time(peer, Duration::from_millis(400)), want, "{peer}");
    }
}

#[test]
fn all_addresses_of_a_site_have_one_debt() {
    let debts = Debts::new(&table::PROCESSOR, SECOND, 0);
    for net in 0..1_000 {
        debts.pay(address(&format!("2001:db8:0:{net:x}::1")), SECOND / 100);
    }
    about(debts.wait(address("2001:db8:0:ffff::1")), 10);
    assert_eq!(debts.wait(address("2001:db8:1::1")), Duration::ZERO);
}

#[test]
fn the_number_of_debtors_is_bounded() {
    let debts = Debts::new(&table::PROCESSOR, 1, 10);
    let count = u32::try_from(limits::DEBTORS).unwrap();
    for number in 0..3 * count {
        let payer = std::net::Ipv4Addr::from_bits(0x0A00_0000 + number);
        debts.pay(payer.into(), 5);
    }
    assert!(debts.books.lock().debts.len() <= limits::DEBTORS);
}
