//! The one way of sharing what is scarce: connections, passive ports, memory, turns and places.
//!
//! A client claims units of a scarce thing. The claim is granted at once if the units are free, or
//! waits for its turn. Turns go to networks of growing size: first to the widest network that holds
//! least and was served longest ago, then to the network in it, down to the address. So a client
//! with many addresses or many connections gets what a client with one gets. [`table`] has one row
//! for each scarce thing. [`Debts`] are for what is spent and comes back with time.

pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ftp_proto::{Network, NetworkProtocol};
pub(crate) use table::Scarce;

use crate::lock::Lock;
use crate::{budget, deadline, limits};

/// The units of one scarce thing, and the networks that hold them or wait for them.
#[derive(Debug)]
pub(crate) struct Shares {
    scarce: &'static Scarce,
    ledger: Lock<Holdings>,
}

#[derive(Debug)]
struct Holdings {
    total: u64,
    held: u64,
    /// All networks that hold units or wait.
    networks: HashMap<Prefix, Holding>,
    /// The claims that wait, by number.
    waiting: BTreeMap<u64, Claim>,
    /// Work whose units grow, in the order in which it began.
    growing: Vec<Growing>,
    /// The time of the last grant, and of the last look at slow work.
    granted: Instant,
    looked: Instant,
    /// The number of the next claim.
    next: u64,
    grants: u64,
}

#[derive(Debug, Default)]
struct Holding {
    held: u64,
    waiting: u64,
    /// The number of the last grant, or of the last grant to any network before this one came.
    served: u64,
}

/// A claim that waits.
#[derive(Debug)]
struct Claim {
    networks: Networks,
    units: u64,
    /// The work that asks for more, if it has begun, and the units that are enough for it.
    work: Option<(Option<u64>, u64)>,
    since: Instant,
    /// The thread that waits, once it waits.
    thread: Option<Thread>,
}

impl Claim {
    fn new(networks: Networks, units: u64) -> Self {
        Self { networks, units, work: None, since: Instant::now(), thread: None }
    }
}

/// Work whose units grow until they are enough. Then it ends, and returns all of them.
#[derive(Debug)]
struct Growing {
    /// The number of its first claim.
    number: u64,
    units: u64,
    enough: u64,
    /// The time of its last grant.
    grown: Instant,
}

impl Growing {
    /// Returns the units that it still needs.
    const fn room(&self) -> u64 {
        self.enough.saturating_sub(self.units)
    }
}

/// Time without a grant after which work that grows counts as slow: room is kept for it only if it is
/// the oldest.
const SLOW: Duration = Duration::from_secs(30);

/// Interval at which claims that wait look for slow work.
const LOOK: Duration = Duration::from_secs(1);

/// A client's claim to some units, granted or not yet granted. Dropping it returns the units, or
/// withdraws the claim.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    networks: Networks,
    units: u64,
    number: u64,
    /// For more units: the number of the work that gets them.
    work: Option<u64>,
}

impl Shares {
    pub(crate) fn new(scarce: &'static Scarce, total: u64) -> Arc<Self> {
        let ledger = Lock::new(Holdings {
            total,
            held: 0,
            networks: HashMap::new(),
            waiting: BTreeMap::new(),
            growing: Vec::new(),
            granted: Instant::now(),
            looked: Instant::now(),
            next: 0,
            grants: 0,
        });
        Arc::new(Self { scarce, ledger })
    }

    /// Claims `units` for a client; a claim to more than all units is a claim to all. The share may
    /// have to [wait](Share::wait).
    pub(crate) fn claim(self: &Arc<Self>, peer: IpAddr, units: u64) -> Share {
        self.enter(Claim::new(Networks::around(peer), units))
    }

    /// Claims the first `units` of work that [asks for more](Share::more) until it has `enough`.
    /// Once the work has begun, room is kept for it, so that it can end whatever others do.
    #[cfg_attr(not(feature = "s3"), allow(dead_code, reason = "only parts for stores grow"))]
    pub(crate) fn begin(self: &Arc<Self>, peer: IpAddr, units: u64, enough: u64) -> Share {
        let claim = Claim::new(Networks::around(peer), units);
        self.enter(Claim { work: Some((None, enough.max(units))), ..claim })
    }

    fn enter(self: &Arc<Self>, mut claim: Claim) -> Share {
        let mut ledger = self.ledger.lock();
        claim.units = claim.units.min(ledger.total);
        claim.work = claim.work.map(|(work, enough)| (work, enough.min(ledger.total)));
        let (networks, units, work) =
            (claim.networks, claim.units, claim.work.and_then(|work| work.0));
        let number = ledger.enlist(claim);
        ledger.grant(self.scarce);
        drop(ledger);
        Share { shares: Arc::clone(self), networks, units, number, work }
    }

    pub(crate) fn total(&self) -> u64 {
        self.ledger.lock().total
    }

    /// Returns how many units the host of `peer` holds: its IPv4 address, or its IPv6 /64.
    pub(crate) fn held_by_host(&self, peer: IpAddr) -> u64 {
        self.ledger.lock().held_by(Networks::around(peer).host())
    }

    /// Returns how many units the network of `peer` holds: its IPv4 address, or its IPv6 /48.
    pub(crate) fn held_by_network(&self, peer: IpAddr) -> u64 {
        self.ledger.lock().held_by(Networks::around(peer).holder())
    }

    /// Of these shares, returns the item of the oldest of the network that holds the most.
    pub(crate) fn richest<'a, T>(&self, shares: impl Iterator<Item = (&'a Share, T)>) -> Option<T> {
        self.ledger.lock().richest(shares)
    }

    /// Returns the time until which a new claim waits.
    pub(crate) fn deadline(&self) -> Instant {
        deadline::after(Instant::now(), self.scarce.patience.duration())
    }

    /// Changes the number of units. Claims that are granted keep theirs.
    pub(crate) fn set_total(&self, total: u64) {
        let mut ledger = self.ledger.lock();
        if ledger.total != total {
            ledger.total = total;
            ledger.grant(self.scarce);
        }
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> u64 {
        self.ledger.lock().held
    }
}

impl Share {
    /// Returns the number of the claim. Later claims to the same thing have higher numbers.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Of these shares, returns the item of the oldest of the network that holds the most, if it
    /// holds more than the network of this claim.
    pub(crate) fn richest<'a, T>(&self, shares: impl Iterator<Item = (&'a Self, T)>) -> Option<T> {
        let ledger = self.shares.ledger.lock();
        let richer = |(other, _): &(&Self, T)| ledger.holds_less(self.networks, other.networks);
        ledger.richest(shares.filter(richer))
    }

    pub(crate) fn is_granted(&self) -> bool {
        !self.shares.ledger.lock().waiting.contains_key(&self.number)
    }

    /// Returns whether the claim is granted, or would be if others returned this many units.
    pub(crate) fn fits_without(&self, units: u64) -> bool {
        let ledger = self.shares.ledger.lock();
        let Some(claim) = ledger.waiting.get(&self.number) else { return true };
        let held = ledger.held.saturating_sub(units);
        held + claim.units <= ledger.total && ledger.leaves_reserve(self.shares.scarce, claim, held)
    }

    /// Takes as many units of another thing for the same client, even if too few are free.
    pub(crate) fn also(&self, shares: &Arc<Shares>) -> Self {
        let mut ledger = shares.ledger.lock();
        let number = ledger.enlist(Claim::new(self.networks, self.units));
        ledger.give(number);
        drop(ledger);
        Self { shares: Arc::clone(shares), number, ..*self }
    }

    /// Returns the units if a network with less than this client's waits for them, and claims them
    /// again. Returns whether the claim is granted at the end of this call. Long work calls this
    /// between its steps, so that nobody waits longer than for one step.
    pub(crate) fn give_way(&mut self) -> bool {
        let mut ledger = self.shares.ledger.lock();
        let mut others = ledger.waiting.values();
        if others.any(|claim| ledger.holds_less(claim.networks, self.networks)) {
            ledger.leave(self);
            self.number = ledger.enlist(Claim::new(self.networks, self.units));
            ledger.served(self.networks);
            ledger.grant(self.shares.scarce);
        }
        !ledger.waiting.contains_key(&self.number)
    }

    /// Waits until the claim is granted. Returns `false` at `deadline`; the claim then keeps its
    /// place in the queue until it is dropped.
    pub(crate) fn wait(&mut self, deadline: Instant) -> bool {
        loop {
            let mut ledger = self.shares.ledger.lock();
            if !ledger.growing.is_empty() && ledger.looked.elapsed() >= LOOK {
                // Time alone can make work slow, whose room is free then.
                ledger.looked = Instant::now();
                ledger.grant(self.shares.scarce);
            }
            let Some(claim) = ledger.waiting.get_mut(&self.number) else { return true };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            claim.thread = Some(thread::current());
            drop(ledger);
            thread::park_timeout(left);
        }
    }
}

/// Work that grows: see [`Shares::begin`].
#[cfg_attr(not(feature = "s3"), allow(dead_code, reason = "only parts for stores grow"))]
impl Share {
    pub(crate) const fn units(&self) -> u64 {
        self.units
    }

    /// Claims more units for this work. Once they are granted, they [join](Self::join) it.
    pub(crate) fn more(&self, units: u64) -> Self {
        let enough = self.shares.ledger.lock().enough(self.number);
        let claim = Claim::new(self.networks, units);
        self.shares.enter(Claim { work: Some((Some(self.number), enough)), ..claim })
    }

    /// Adds units that were granted to [more](Self::more).
    pub(crate) fn join(&mut self, mut more: Self) {
        self.units += std::mem::take(&mut more.units);
    }

    /// Takes more units than are enough, if nobody waits and a quarter of all stays free. Returns
    /// whether it got them.
    pub(crate) fn grow(&mut self, units: u64) -> bool {
        let mut ledger = self.shares.ledger.lock();
        let work = Some((Some(self.number), ledger.enough(self.number)));
        let claim = Claim { work, ..Claim::new(self.networks, units) };
        let is_free = ledger.waiting.is_empty()
            && ledger.held + units <= ledger.total - ledger.total / 4
            && ledger.leaves_room(self.shares.scarce, &claim);
        if is_free {
            let number = ledger.enlist(claim);
            ledger.give(number);
            self.units += units;
        }
        is_free
    }

    /// Returns whether others wait, and this work, the oldest, has got no units for the time
    /// `limit`: what it holds helps nobody.
    pub(crate) fn holds_up(&self, limit: Duration) -> bool {
        let ledger = self.shares.ledger.lock();
        let oldest = ledger.growing.first();
        !ledger.waiting.is_empty()
            && oldest.is_some_and(|it| it.number == self.number && it.grown.elapsed() >= limit)
    }

    /// Returns whether this claim waits, and nobody has got units for the time `limit`.
    pub(crate) fn waits_in_vain(&self, limit: Duration) -> bool {
        let ledger = self.shares.ledger.lock();
        let since = ledger.waiting.get(&self.number).map(|claim| claim.since.max(ledger.granted));
        since.is_some_and(|since| since.elapsed() >= limit)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut ledger = self.shares.ledger.lock();
        ledger.leave(self);
        ledger.grant(self.shares.scarce);
    }
}

impl Holdings {
    fn enlist(&mut self, claim: Claim) -> u64 {
        let number = self.next;
        self.next += 1;
        for prefix in claim.networks.all() {
            let new = || Holding { served: self.grants, ..Holding::default() };
            self.networks.entry(*prefix).or_insert_with(new).waiting += 1;
        }
        self.waiting.insert(number, claim);
        number
    }

    /// Grants all claims that can be granted, in the order of turns.
    fn grant(&mut self, scarce: &Scarce) {
        while let Some(number) = self.turn(scarce) {
            self.give(number);
        }
    }

    /// Grants a claim that waits.
    fn give(&mut self, number: u64) {
        let Some(claim) = self.waiting.remove(&number) else { return };
        let Claim { networks, units, work, since: _, thread } = claim;
        self.granted = Instant::now();
        match work {
            Some((Some(work), _)) => self.grows(work, |it| {
                (it.units, it.grown) = (it.units + units, Instant::now());
            }),
            Some((None, enough)) => {
                self.growing.push(Growing { number, units, enough, grown: self.granted });
            }
            None => {}
        }
        self.held += units;
        self.grants += 1;
        for prefix in networks.all() {
            if let Some(holding) = self.networks.get_mut(prefix) {
                holding.held += units;
                holding.waiting -= 1;
            }
        }
        self.served(networks);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// Returns the claim whose turn it is, if its units are free.
    fn turn(&self, scarce: &Scarce) -> Option<u64> {
        let free = self.total.saturating_sub(self.held);
        let may = self.waiting.iter().filter(|(_, claim)| {
            // A claim that must leave the reserve alone does not hold up the others, nor does one of
            // work that grows.
            match claim.work {
                Some(_) => self.leaves_room(scarce, claim),
                None => claim.units > free || self.leaves_reserve(scarce, claim, self.held),
            }
        });
        let order = |(number, claim): &(&u64, &Claim)| {
            let of = |prefix: &Prefix| {
                self.networks.get(prefix).map(|holding| (holding.held, holding.served))
            };
            (claim.networks.all().each_ref().map(of), **number)
        };
        let (number, claim) = may.min_by_key(order)?;
        (claim.units <= free).then_some(*number)
    }

    /// Returns whether the reserve stays free when this claim is granted in addition to `held`
    /// units, or is for this claim.
    fn leaves_reserve(&self, scarce: &Scarce, claim: &Claim, held: u64) -> bool {
        let reserve = match self.total {
            total if scarce.has_reserve && total > 1 => (total / 8).max(1),
            _ => 0,
        };
        let own = self.held_by(claim.networks.holder());
        let is_least =
            own == 0 || claim.work.is_some_and(|(_, enough)| own + claim.units <= enough);
        is_least || held + claim.units <= self.total - reserve
    }

    /// Returns whether all work that began before that of this claim can end if the claim is granted,
    /// one after the other and even if other work stands still. So never does all work wait for each
    /// other. Room for what grows steadily is kept in addition, so that it does not end one by one.
    fn leaves_room(&self, scarce: &Scarce, claim: &Claim) -> bool {
        let free = self.total.saturating_sub(self.held);
        let Some(free) = free.checked_sub(claim.units) else { return false };
        let own = claim.work.and_then(|(work, _)| work);
        if own.is_some() && own == self.growing.first().map(|it| it.number) {
            return true;
        }
        let (mut later, mut kept) = (free, 0);
        for it in self.growing.iter().take_while(|it| Some(it.number) != own) {
            if it.room() > later {
                return false;
            }
            later += it.units;
            kept += if it.grown.elapsed() < SLOW { it.room() } else { 0 };
        }
        kept <= free && self.leaves_reserve(scarce, claim, self.held)
    }

    /// Changes the entry of work that grows.
    fn grows(&mut self, number: u64, change: impl FnOnce(&mut Growing)) {
        if let Some(it) = self.growing.iter_mut().find(|it| it.number == number) {
            change(it);
        }
    }

    fn enough(&self, number: u64) -> u64 {
        self.growing.iter().find(|it| it.number == number).map_or(0, |it| it.enough)
    }

    fn richest<'a, T>(&self, shares: impl Iterator<Item = (&'a Share, T)>) -> Option<T> {
        let order = |(share, _): &(&Share, T)| {
            let held = share.networks.all().each_ref().map(|prefix| self.held_by(*prefix));
            (held, Reverse(share.number))
        };
        shares.max_by_key(order).map(|(_, item)| item)
    }

    /// Gives turns to these networks after all others that hold as much.
    fn served(&mut self, networks: Networks) {
        for prefix in networks.all() {
            if let Some(holding) = self.networks.get_mut(prefix) {
                holding.served = self.grants;
            }
        }
    }

    /// Returns whether, of the widest two networks that differ, that of `one` holds less.
    fn holds_less(&self, one: Networks, other: Networks) -> bool {
        let mut pairs = one.all().iter().zip(other.all());
        let differing = pairs.find(|(one, other)| one != other);
        differing.is_some_and(|(one, other)| self.held_by(*one) < self.held_by(*other))
    }

    fn held_by(&self, prefix: Prefix) -> u64 {
        self.networks.get(&prefix).map_or(0, |holding| holding.held)
    }

    /// Withdraws a claim, or returns its units.
    fn leave(&mut self, share: &Share) {
        let (networks, units) = (share.networks, share.units);
        let has_waited = self.waiting.remove(&share.number).is_some();
        if !has_waited {
            self.held -= units;
            self.growing.retain(|it| it.number != share.number);
            if let Some(work) = share.work {
                self.grows(work, |it| it.units -= units);
            }
        }
        for prefix in networks.all() {
            let Entry::Occupied(mut entry) = self.networks.entry(*prefix) else { continue };
            let holding = entry.get_mut();
            match has_waited {
                true => holding.waiting -= 1,
                false => holding.held -= units,
            }
            if holding.held == 0 && holding.waiting == 0 {
                entry.remove();
            }
        }
    }
}

/// Number of networks around each address.
const LEVELS: usize = 4;

/// The level of an IPv4 address, or of an IPv6 /64: one host for the limits per host.
const HOST: usize = 2;

/// Prefix lengths of IPv6 networks in bits, the widest first: a site, a home, a network in it, and
/// one address. One client may have all addresses of a site.
const V6: [u8; LEVELS] = [48, 56, 64, 128];

/// Prefix lengths of IPv4 networks in bits. Two lengths suffice, because IPv4 addresses are few.
const V4: [u8; LEVELS] = [24, 24, 32, 32];

/// One of the networks around an address. The level distinguishes equal networks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Prefix {
    level: usize,
    network: Network,
}

/// The networks around a client's address, the widest first. Loopback is a network as well: it may
/// be a proxy or a tunnel for any client, but also one greedy client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Networks([Prefix; LEVELS]);

impl Networks {
    /// Returns the networks around an address. An IPv4-mapped address counts as IPv4.
    pub(crate) fn around(peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let bits = if peer.is_ipv4() { V4 } else { V6 };
        let mut level = 0;
        Self(bits.map(|bits| {
            let prefix = Prefix { level, network: Network::around(peer, bits) };
            level += 1;
            prefix
        }))
    }

    const fn all(&self) -> &[Prefix; LEVELS] {
        &self.0
    }

    /// Returns the host of the client: its IPv4 address, or its IPv6 /64.
    const fn host(&self) -> Prefix {
        self.0[HOST]
    }

    /// Returns the network that counts as one holder for the reserve and for debts: an IPv4
    /// address, or an IPv6 /48, which a single client can easily get.
    fn holder(&self) -> Prefix {
        match self.0[0].network.protocol() {
            NetworkProtocol::Ipv4 => self.0[HOST],
            NetworkProtocol::Ipv6 => self.0[0],
        }
    }
}

/// Returns the address that identifies a host: the IPv4 address itself, or the /64 network of an
/// IPv6 address.
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// Returns all addresses that count as one host with `peer`.
pub(crate) fn host_of(peer: IpAddr) -> Network {
    // For an IPv4 address, the prefix length is reduced to 32.
    Network::around(peer, 64)
}

/// A leaky bucket for each network, for what comes back with time, such as processor time. Commands
/// are charged afterwards, since their cost is not known before.
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
