//! A leaky bucket for each network, for what comes back with time, such as processor time. Commands
//! are charged afterwards, since their cost is not known before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::table::{self, Scarce};
use super::{Networks, Prefix};
use crate::lock::Lock;
use crate::{budget, limits};

/// The debts of all networks for one scarce thing.
#[derive(Debug)]
pub(crate) struct Debts {
    scarce: &'static Scarce,
    /// What comes back in each second for all networks together.
    per_second: u64,
    /// The debt that a network may have without waiting.
    credit: u64,
    books: Lock<Books>,
}

#[derive(Debug)]
struct Books {
    debts: HashMap<Prefix, u64>,
    /// The time up to which debts are settled.
    settled: Instant,
}

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

const SETTLE: Duration = Duration::from_millis(10);

impl Debts {
    pub(crate) fn new(scarce: &'static Scarce, per_second: u64, credit: u64) -> Arc<Self> {
        let books = Lock::new(Books { debts: HashMap::new(), settled: Instant::now() });
        Arc::new(Self { scarce, per_second: per_second.max(1), credit, books })
    }

    /// Returns the books for processor time in nanoseconds.
    pub(crate) fn of_processors() -> Arc<Self> {
        let processors = budget::processors() as u64;
        Self::new(&table::PROCESSOR, processors * SECOND / 2, SECOND)
    }

    /// Charges the network of `peer` for processor time. Returns whether it owes more than half of
    /// its credit then, so that estimates are not good enough any more.
    pub(crate) fn pay_time(&self, peer: IpAddr, time: Duration) -> bool {
        self.pay(peer, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)) > self.credit / 2
    }

    /// Charges the network of `peer`, which may owe more than its credit afterwards. Returns its
    /// debt.
    fn pay(&self, peer: IpAddr, cost: u64) -> u64 {
        let mut books = self.settled(Instant::now());
        let payer = Networks::around(peer).holder();
        if !books.debts.contains_key(&payer) && books.debts.len() >= limits::DEBTORS {
            // Small debts do not matter then.
            books.debts.retain(|_, debt| *debt > self.credit);
        }
        let debt = books.debts.entry(payer).or_default();
        *debt = debt.saturating_add(cost);
        *debt
    }

    /// Returns how long the network of `peer` must wait until its debt is within its credit, at
    /// most as long as the table says.
    pub(crate) fn wait(&self, peer: IpAddr) -> Duration {
        let books = self.settled(Instant::now());
        let debt = books.debts.get(&Networks::around(peer).holder()).copied().unwrap_or_default();
        let share = u128::from(self.per_second) / (books.debts.len() as u128).max(1);
        let nanos =
            u128::from(debt.saturating_sub(self.credit)) * u128::from(SECOND) / share.max(1);
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        wait.min(self.scarce.patience.duration())
    }

    /// Returns the books after all debtors have shared what came back.
    fn settled(&self, now: Instant) -> MutexGuard<'_, Books> {
        let mut books = self.books.lock();
        let elapsed = now.saturating_duration_since(books.settled);
        if elapsed >= SETTLE {
            books.settled = now;
            let back = u128::from(self.per_second) * elapsed.as_nanos() / u128::from(SECOND);
            let each = back / (books.debts.len() as u128).max(1);
            let each = u64::try_from(each).unwrap_or(u64::MAX);
            books.debts.retain(|_, debt| {
                *debt = debt.saturating_sub(each);
                *debt > 0
            });
        }
        books
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn about(got: Duration, want: u64) {
        let got = got.as_secs_f64();
        assert!((got - want as f64).abs() < 0.2, "{got} s, wanted {want}");
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
}
