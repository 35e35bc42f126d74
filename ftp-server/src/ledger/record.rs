//! The content of a record: the usage, a running count of the files, and the leases.
//!
//! Reservations and sessions are leases. The server that holds a lease renews it. If a lease has
//! expired, its server may have died before or after it stored the reserved bytes. So these bytes
//! count until the files are counted again. Failed logins and bans are leases that no server
//! renews.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::storage::space::Cost;

/// A time or duration in milliseconds, by the clock of the ledger.
pub(super) type Time = u64;

const TITLE: &str = "ftp-server ledger 1";

/// Age at which a count is out of date, so that the files are counted again.
const OLD: Time = 24 * 60 * 60 * 1_000;

/// Age from which an exact count no longer justifies a refusal.
const OLD_FOR_REFUSAL: Time = 10 * 60 * 1_000;

/// Maximum number of failed logins and bans in a record, which then has about 20 kB.
const MOST_HOSTS: usize = 256;

const BAN: &str = "#ban";

/// Number of bytes that can be reserved ahead even if they are more than half of those left.
const LEAST_AHEAD: u64 = 4 * 1024;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct UsageRecord {
    /// The cost of all files and directories.
    pub(super) used: Cost,
    /// When the last count of the files ended.
    counted: Option<Time>,
    /// When the last count ended, if nothing was stored during it. Files that are stored during a
    /// count may count twice.
    exact: Option<Time>,
    /// The time since which `used` may be wrong.
    doubted: Option<Time>,
    count: Option<RunningCount>,
    leases: BTreeMap<String, Lease>,
    pub(super) changes: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct RunningCount {
    id: String,
    began: Time,
    until: Time,
    /// The cost of files that were stored or moved during the count, which may have missed them.
    meanwhile: Cost,
    /// Whether nothing was stored, moved or removed during the count.
    is_exact: bool,
}

/// A reservation, a session, a failed login or a ban.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Lease {
    pub(super) until: Time,
    pub(super) cost: Cost,
    /// Digests of the paths that no other session may change during the lease.
    pub(super) names: Vec<String>,
    /// Whether a count finished while the claim was held. It is then unknown whether the count saw
    /// the state before or after the change.
    pub(super) is_crossed: bool,
}

/// The result of an attempt to reserve something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The request was reserved, and this number of bytes ahead.
    Granted(u64),
    /// Over the limit. `is_old`: whether the count is old or may be too high.
    Over {
        is_old: bool,
    },
    Uncounted,
}

/// A change that can be made later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Later {
    /// The reserved bytes are stored: `added` now counts as used, and `freed` no longer does. `moved`
    /// has another name; `None` is a tree of unknown cost.
    Settle { id: String, added: Cost, freed: Cost, moved: Option<Cost> },
    /// The reserved bytes will not be stored, or the session has ended.
    Release { id: String },
    /// A change may not have been recorded.
    Doubt,
    /// The failed logins and the ban of this host no longer count.
    Forgive { host: String },
}

impl UsageRecord {
    /// Returns the cost of everything stored and reserved; `None` if the files were never counted.
    pub(super) fn total(&self) -> Option<Cost> {
        self.counted?;
        Some(self.leases.values().fold(self.used, |total, lease| total.plus(lease.cost)))
    }

    /// Reserves `wanted` and up to `more` bytes ahead, in addition to the present cost of the
    /// lease.
    pub(super) fn reserve(
        &mut self,
        id: &str,
        (wanted, more): (Cost, u64),
        limit: Cost,
        (now, until): (Time, Time),
    ) -> Verdict {
        let Some(total) = self.total() else { return Verdict::Uncounted };
        if !limit.permits(wanted, total) {
            let is_old = self.exact.is_none_or(|at| now.saturating_sub(at) >= OLD_FOR_REFUSAL);
            return Verdict::Over { is_old };
        }
        let left = limit.bytes.saturating_sub(total.plus(wanted).bytes);
        // Near the limit, some bytes are left for other servers.
        let more = more.min((left / 2).max(LEAST_AHEAD)).min(left);
        let lease = self.leases.entry(id.to_owned()).or_default();
        lease.cost = lease.cost.plus(wanted).plus(Cost::bytes(more));
        lease.until = until;
        Verdict::Granted(more)
    }

    /// Returns whether the files should be counted, and no server is counting them now.
    pub(super) fn needs_count(&self, now: Time) -> bool {
        let is_old = self.counted.is_none_or(|at| now.saturating_sub(at) >= OLD);
        let has_ended = || self.leases.values().any(|lease| lease.until < now);
        !self.is_counting(now) && (is_old || self.doubted.is_some() || has_ended())
    }

    fn is_counting(&self, now: Time) -> bool {
        self.count.as_ref().is_some_and(|count| count.until >= now)
    }

    /// Begins a count. Returns `false` if another count is running.
    pub(super) fn begin_count(&mut self, id: &str, (now, until): (Time, Time)) -> bool {
        if self.is_counting(now) {
            return false;
        }
        let (id, meanwhile) = (id.to_owned(), Cost::default());
        self.count = Some(RunningCount { id, began: now, until, meanwhile, is_exact: true });
        true
    }

    /// Records the result of a count; `found` is `None` if the count failed. Returns whether the
    /// result was recorded. If this server did not renew its count in time, another server may have
    /// begun one, and the result is not recorded.
    pub(super) fn end_count(&mut self, id: &str, found: Option<Cost>, now: Time) -> bool {
        let Some(count) = self.count.take_if(|count| count.id == id) else { return false };
        let Some(found) = found else { return false };
        self.used = found.plus(count.meanwhile);
        self.counted = Some(now);
        self.doubted.take_if(|doubted| *doubted < count.began);
        // If a lease ended before the count began, its bytes were counted or will never be stored.
        self.leases.retain(|_, lease| lease.until >= count.began);
        self.leases.values_mut().for_each(|lease| lease.is_crossed |= !lease.names.is_empty());
        let is_exact = count.is_exact && !self.leases.values().any(|lease| lease.is_crossed);
        self.exact = is_exact.then_some(now);
        true
    }

    pub(super) const fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// Makes the record one whose files must be counted, because the ledger has lost its last changes.
    /// `changes` is the number of those that were seen.
    pub(super) fn lose(&mut self, changes: u64) {
        (self.counted, self.exact, self.changes) = (None, None, changes);
    }

    /// Renews a lease of this server. Restores the lease if it was removed in the meantime, unless
    /// `limit` no longer permits it, because other servers have used its bytes.
    pub(super) fn renew(&mut self, id: &str, mut lease: Lease, limit: Cost) {
        let kept = self.leases.get(id);
        lease.is_crossed = kept.map_or(!lease.names.is_empty(), |kept| kept.is_crossed);
        if kept.is_some() || self.total().is_none_or(|total| limit.permits(lease.cost, total)) {
            self.leases.insert(id.to_owned(), lease);
        }
    }

    /// Returns whether the lease still has this cost. If it does not, removes the rest of it.
    pub(super) fn has_reserved(&mut self, id: &str, cost: Cost) -> bool {
        let found = self.leases.get(id).map(|lease| lease.cost).unwrap_or_default();
        let is_kept = found.at_least(cost) == found;
        if !is_kept {
            self.leases.remove(id);
        }
        is_kept
    }

    pub(super) fn renew_count(&mut self, id: &str, until: Time) {
        if let Some(count) = self.count.as_mut().filter(|count| count.id == id) {
            count.until = until;
        }
    }

    /// Claims these paths for this lease. Returns `false` if a lease of another session has claimed
    /// one of them.
    pub(super) fn claim(&mut self, id: &str, names: &[String], (now, until): (Time, Time)) -> bool {
        let is_taken = |(other, lease): (&String, &Lease)| {
            other != id && lease.until >= now && lease.names.iter().any(|name| names.contains(name))
        };
        if self.leases.iter().any(is_taken) {
            return false;
        }
        let lease = self.leases.entry(id.to_owned()).or_default();
        (lease.until, lease.names, lease.is_crossed) = (until, names.to_vec(), false);
        true
    }

    /// Counts one more session, unless `limit` sessions are running. Returns whether the session is
    /// counted.
    pub(super) fn enter(&mut self, id: &str, limit: usize, (now, until): (Time, Time)) -> bool {
        self.leases.retain(|_, lease| lease.until >= now);
        let is_free = self.leases.len() < limit || self.leases.contains_key(id);
        if is_free {
            self.leases.insert(id.to_owned(), Lease { until, ..Lease::default() });
        }
        is_free
    }

    /// Counts a failed login of a host for the time `window`. At `after` failed logins, bans the
    /// host for the time `lasting`. Returns the end of the host's ban; `None` if the host is not
    /// banned.
    pub(super) fn fail(
        &mut self,
        host: &str,
        id: &str,
        after: usize,
        (now, (window, lasting)): (Time, (Time, Time)),
    ) -> Option<Time> {
        self.leases.retain(|_, lease| lease.until >= now);
        if let Some(until) = self.ban_of(host, now) {
            return Some(until);
        }
        let ends = |time| Lease { until: now.saturating_add(time), ..Lease::default() };
        self.leases.insert(format!("{host}#{id}"), ends(window));
        let failures = self.leases.keys().filter(|key| is_of(key, host)).count();
        let is_banned = failures >= after;
        if is_banned {
            // The count starts again after the ban.
            self.forgive(host);
            self.leases.insert(format!("{host}{BAN}"), ends(lasting));
        }
        while self.leases.len() > MOST_HOSTS {
            let first = self.leases.iter().min_by_key(|(key, lease)| (is_ban(key), lease.until));
            let Some(key) = first.map(|(key, _)| key.clone()) else { break };
            self.leases.remove(&key);
        }
        is_banned.then(|| now.saturating_add(lasting))
    }

    /// Returns the end of the ban of a host; `None` if the host is not banned.
    pub(super) fn ban_of(&self, host: &str, now: Time) -> Option<Time> {
        let ban = self.leases.get(&format!("{host}{BAN}"))?;
        (ban.until > now).then_some(ban.until)
    }

    fn forgive(&mut self, host: &str) {
        self.leases.retain(|key, _| !is_of(key, host));
    }

    /// Applies a queued change. Idempotent: after a lost response, it may have been applied
    /// already.
    pub(super) fn apply(&mut self, later: &Later, now: Time) {
        match later {
            Later::Settle { id, added, freed, moved } => {
                match (&mut self.count, moved) {
                    (Some(count), Some(moved)) => {
                        count.meanwhile = count.meanwhile.plus(*added).plus(*moved);
                        count.is_exact = false;
                    }
                    // The count may have missed any part of the tree.
                    (count @ Some(_), None) => (*count, self.doubted) = (None, Some(now)),
                    (None, _) => {}
                }
                self.used = self.used.plus(*added);
                if self.leases.remove(id).is_some_and(|lease| !lease.is_crossed) {
                    self.used = self.used.minus(*freed);
                    return;
                }
                // The lease had expired, the change was made before, or the last count may have missed
                // what moved and left out what was freed. Until the files are counted again, too high
                // a count is safe.
                self.doubted = Some(now);
                match moved {
                    Some(moved) => self.used = self.used.plus(*moved),
                    None => self.counted = None,
                }
            }
            Later::Release { id } => drop(self.leases.remove(id)),
            Later::Doubt => self.doubted = Some(now),
            Later::Forgive { host } => self.forgive(host),
        }
    }

    pub(super) fn encode(&self) -> String {
        let Cost { bytes, files } = self.used;
        let mut text = format!("{TITLE}\nchanges {}\nused {bytes} {files}\n", self.changes);
        // Writing to a string does not fail.
        if let Some(at) = self.counted {
            let _ = writeln!(text, "counted {at}");
        }
        if let Some(at) = self.exact {
            let _ = writeln!(text, "exact {at}");
        }
        if let Some(at) = self.doubted {
            let _ = writeln!(text, "doubted {at}");
        }
        if let Some(RunningCount { id, began, until, meanwhile, is_exact }) = &self.count {
            let Cost { bytes, files } = meanwhile;
            let is_exact = u8::from(*is_exact);
            let _ = writeln!(text, "count {id} {began} {until} {bytes} {files} {is_exact}");
        }
        for (id, Lease { until, cost, names, is_crossed }) in &self.leases {
            let kind = if *is_crossed { "crossed" } else { "lease" };
            let _ = write!(text, "{kind} {id} {until} {} {}", cost.bytes, cost.files);
            names.iter().for_each(|name| {
                let _ = write!(text, " {name}");
            });
            text.push('\n');
        }
        text.push_str("end\n");
        text
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix("end\n")?.lines();
        if lines.next() != Some(TITLE) {
            return None;
        }
        let mut record = Self::default();
        for line in lines {
            let mut words = line.split(' ');
            match words.next()? {
                "changes" => record.changes = number(&mut words)?,
                "used" => record.used = cost(&mut words)?,
                "counted" => record.counted = Some(number(&mut words)?),
                "exact" => record.exact = Some(number(&mut words)?),
                "doubted" => record.doubted = Some(number(&mut words)?),
                "count" => {
                    let id = words.next()?.to_owned();
                    let (began, until) = (number(&mut words)?, number(&mut words)?);
                    let meanwhile = cost(&mut words)?;
                    let is_exact = number(&mut words)? == 1;
                    record.count = Some(RunningCount { id, began, until, meanwhile, is_exact });
                }
                kind @ ("lease" | "crossed") => {
                    let id = words.next()?.to_owned();
                    let (until, cost) = (number(&mut words)?, cost(&mut words)?);
                    let names = words.by_ref().map(str::to_owned).collect();
                    let is_crossed = kind == "crossed";
                    record.leases.insert(id, Lease { until, cost, names, is_crossed });
                }
                _ => return None,
            }
            if words.next().is_some() {
                return None;
            }
        }
        Some(record)
    }
}

/// Returns whether this key of a failed login or a ban belongs to this host.
fn is_of(key: &str, host: &str) -> bool {
    key.strip_prefix(host).is_some_and(|rest| rest.starts_with('#'))
}

fn is_ban(key: &str) -> bool {
    key.ends_with(BAN)
}

fn number<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<u64> {
    words.next()?.parse().ok()
}

fn cost<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Cost> {
    Some(Cost { bytes: number(words)?, files: number(words)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Cost = Cost { bytes: 100, files: 3 };

    const NONE: Option<Cost> = Some(Cost { bytes: 0, files: 0 });

    fn counted(used: Cost) -> UsageRecord {
        UsageRecord { used, counted: Some(0), exact: Some(0), ..UsageRecord::default() }
    }

    #[test]
    fn encoded_records_round_trip_and_truncated_ones_are_invalid() {
        let mut record = counted(Cost { bytes: 7, files: 2 });
        for version in 0..5 {
            let text = record.encode();
            assert_eq!(UsageRecord::parse(&text).as_ref(), Some(&record), "{text}");
            // A truncated record is not a record.
            for end in 0..text.len() {
                assert_eq!(UsageRecord::parse(&text[..end]), None, "{end}");
            }
            match version {
                0 => drop(record.begin_count("c0", (3, 9))),
                1 => record.apply(&Later::Doubt, 5),
                2 => assert!(record.claim("a", &["n1".to_owned(), "n2".to_owned()], (5, 9))),
                _ => drop(record.reserve("b", (Cost::bytes(5), 4), LIMIT, (5, 9))),
            }
        }
        assert_eq!(UsageRecord::parse("ftp-server ledger 2\nused 0 0\nend\n"), None);
    }

    #[test]
    fn reservations_stay_within_the_limit() {
        let mut record = counted(Cost::bytes(40));
        let mut reserve =
            |id, bytes, more| record.reserve(id, (Cost::bytes(bytes), more), LIMIT, (1, 9));
        assert_eq!(reserve("a", 1, 20), Verdict::Granted(20));
        assert_eq!(reserve("b", 1, 64), Verdict::Granted(38));
        assert_eq!(reserve("a", 1, 0), Verdict::Over { is_old: false });
        assert_eq!(record.total().unwrap().bytes, 100);
        record.apply(&Later::Release { id: "b".to_owned() }, 1);
        let (id, added) = ("a".to_owned(), Cost::bytes(10));
        record.apply(&Later::Settle { id, moved: NONE, added, freed: Cost::bytes(5) }, 1);
        assert_eq!(record.total().unwrap().bytes, 45);
        let late = 1 + OLD_FOR_REFUSAL;
        let verdict = record.reserve("c", (Cost::bytes(56), 0), LIMIT, (late, late));
        assert_eq!(verdict, Verdict::Over { is_old: true });
        let verdict = UsageRecord::default().reserve("a", (Cost::BYTE, 0), LIMIT, (1, 9));
        assert_eq!(verdict, Verdict::Uncounted);
    }

    #[test]
    fn an_expired_reservation_counts_until_the_next_file_count() {
        let mut record = counted(Cost::default());
        assert_eq!(
            record.reserve("dead", (Cost::bytes(60), 0), LIMIT, (1, 9)),
            Verdict::Granted(0)
        );
        assert!(!record.needs_count(9));
        assert!(record.needs_count(10));
        let over = Verdict::Over { is_old: false };
        assert_eq!(record.reserve("b", (Cost::bytes(60), 0), LIMIT, (10, 19)), over);
        assert!(record.begin_count("c", (10, 20)));
        assert!(!record.needs_count(11) && !record.begin_count("d", (11, 30)));
        // Files that are stored meanwhile may be counted or not.
        assert_eq!(record.reserve("b", (Cost::bytes(5), 0), LIMIT, (12, 19)), Verdict::Granted(0));
        let (id, added) = ("b".to_owned(), Cost::bytes(5));
        record.apply(&Later::Settle { id, moved: NONE, added, freed: Cost::bytes(3) }, 13);
        assert!(record.end_count("c", Some(Cost::bytes(50)), 14));
        assert_eq!(record.total().unwrap().bytes, 55);
        assert!(!record.needs_count(15));
        // A count that may be too high does not justify a refusal.
        let mut more = record.clone();
        let refused = more.reserve("e", (Cost::bytes(60), 0), LIMIT, (15, 19));
        assert_eq!(refused, Verdict::Over { is_old: true });
        assert!(more.begin_count("f", (15, 19)) && more.end_count("f", Some(Cost::bytes(50)), 16));
        let refused = more.reserve("e", (Cost::bytes(60), 0), LIMIT, (16, 19));
        assert_eq!(refused, Verdict::Over { is_old: false });
        // The server was not dead, and its file came after the count; what the file replaced may
        // have been counted or not.
        let (id, added) = ("dead".to_owned(), Cost::bytes(60));
        record.apply(&Later::Settle { id, moved: NONE, added, freed: Cost::bytes(9) }, 16);
        assert_eq!(record.total().unwrap().bytes, 115);
        assert!(record.needs_count(17));
    }

    #[test]
    fn a_count_does_not_clear_a_doubt_raised_during_it() {
        let mut record = counted(Cost::default());
        assert!(record.begin_count("c", (10, 20)));
        record.apply(&Later::Doubt, 11);
        assert!(!record.end_count("other", Some(Cost::bytes(9)), 12));
        assert!(record.end_count("c", Some(Cost::bytes(7)), 12));
        assert!(record.needs_count(13));
        assert!(record.begin_count("d", (13, 20)));
        // The server of this count died.
        assert!(record.begin_count("e", (21, 30)));
        assert!(!record.end_count("d", Some(Cost::bytes(1)), 22));
        assert!(!record.end_count("e", None, 22) && record.needs_count(23));
        assert_eq!(record.used.bytes, 7);
    }

    /// What happens to one change during a count.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Act {
        Begin,
        Claim,
        /// The walk passes the old and the new place.
        Walk,
        Change,
        End,
        Settle,
    }

    /// All orders of a count and a change: afterwards the record has at least what is stored, or the
    /// files must be counted before anything is stored.
    #[test]
    fn a_change_during_a_count_never_makes_the_record_too_low() {
        use Act::{Begin, Change, Claim, End, Settle, Walk};
        let file = Cost::of_file(30);
        // What the change adds, frees and moves, and what is stored after it.
        let cases = [
            ("upload", file, Cost::default(), NONE, 70),
            ("replacement", file, Cost::of_file(40), NONE, 30),
            ("removal", Cost::default(), Cost::of_file(40), NONE, 0),
            ("rename", Cost::default(), Cost::default(), Some(Cost::of_file(40)), 40),
            ("tree", Cost::default(), Cost::default(), None, 40),
        ];
        let mut orders = vec![vec![]];
        for _ in 0..6 {
            let next = |order: Vec<Act>| {
                let all = [Begin, Claim, Walk, Change, End, Settle];
                let may = move |act: &Act, order: &[Act]| {
                    let has = |other| order.contains(&other);
                    !has(*act)
                        && match act {
                            Begin | Claim => true,
                            Walk => has(Begin),
                            Change => has(Claim),
                            End => has(Walk),
                            Settle => has(Change),
                        }
                };
                let more = all.into_iter().filter(|act| may(act, &order));
                more.map(|act| [&order[..], &[act]].concat()).collect::<Vec<_>>()
            };
            orders = orders.into_iter().flat_map(next).collect();
        }
        assert_eq!(orders.len(), 20);
        for ((what, added, freed, moved, stored), order) in
            cases.into_iter().flat_map(|case| orders.iter().map(move |order| (case, order)))
        {
            let mut record = counted(Cost::of_file(40));
            let mut found = Cost::default();
            let mut is_changed = false;
            let at = |act| order.iter().position(|other| *other == act);
            for (now, act) in (1..).zip(order) {
                match act {
                    Begin => assert!(record.begin_count("count", (now, 99))),
                    Claim => assert!(record.claim("a", &["n".to_owned()], (now, 99))),
                    // What moves meanwhile is missed by the walk in the worst case.
                    Walk if moved != NONE && at(Begin) < at(Change) && at(Change) < at(End) => {}
                    Walk if is_changed => found = Cost::bytes(stored),
                    Walk => found = Cost::of_file(40),
                    Change => is_changed = true,
                    End => drop(record.end_count("count", Some(found), now)),
                    Settle => {
                        let id = "a".to_owned();
                        record.apply(&Later::Settle { id, added, freed, moved }, now);
                    }
                }
            }
            let used = record.total().map(|total| total.bytes);
            assert!(used.is_none_or(|used| used >= stored), "{what} {order:?}: {used:?}");
            // It is not too high for long.
            let is_right = used == Some(stored) || record.needs_count(50) || record.exact.is_none();
            assert!(is_right, "{what} {order:?}: {used:?}");
        }
    }

    #[test]
    fn a_path_is_changed_by_one_server_at_a_time() {
        let mut record = counted(Cost::default());
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(record.claim("a", &names(&["x", "y"]), (1, 9)));
        assert!(!record.claim("b", &names(&["y"]), (1, 9)));
        assert!(record.claim("b", &names(&["z"]), (1, 9)));
        assert!(record.claim("a", &names(&["x"]), (1, 9)));
        assert!(record.claim("c", &names(&["x"]), (10, 19)), "the lease has run out");
    }

    #[test]
    fn sessions_end_with_their_lease() {
        let mut record = UsageRecord::default();
        assert!(record.enter("a", 2, (1, 9)) && record.enter("b", 2, (5, 15)));
        assert!(!record.enter("c", 2, (9, 19)));
        assert!(record.enter("b", 2, (9, 19)), "a change can be made twice");
        assert!(record.enter("c", 2, (10, 20)));
        record.apply(&Later::Release { id: "b".to_owned() }, 11);
        assert!(record.enter("d", 2, (11, 20)));
    }

    #[test]
    fn failed_logins_of_a_host_lead_to_a_ban_hs_28() {
        let mut record = UsageRecord::default();
        let mut fail = |host: &str, id: &str, now| record.fail(host, id, 3, (now, (10, 50)));
        assert_eq!(fail("192.0.2.1", "a", 1), None);
        assert_eq!(fail("192.0.2.1", "a", 1), None, "a change can be made twice");
        assert_eq!(fail("192.0.2.1", "b", 2), None);
        assert_eq!(fail("192.0.2.11", "c", 2), None);
        assert_eq!(fail("192.0.2.1", "d", 12), None, "the first one has expired");
        assert_eq!(fail("192.0.2.1", "e", 12), Some(62));
        assert_eq!(fail("192.0.2.1", "f", 13), Some(62));
        assert_eq!(record.ban_of("192.0.2.1", 61), Some(62));
        assert_eq!((record.ban_of("192.0.2.1", 62), record.ban_of("192.0.2.11", 13)), (None, None));
        record.apply(&Later::Forgive { host: "192.0.2.1".to_owned() }, 20);
        assert_eq!(record.ban_of("192.0.2.1", 21), None);
        // Bans stay when there is no room for all.
        let ban = |record: &mut UsageRecord, host: &str| record.fail(host, "a", 1, (30, (10, 50)));
        assert_eq!(ban(&mut record, "2001:db8::"), Some(80));
        for number in 0..MOST_HOSTS {
            let lease = Lease { until: 40, ..Lease::default() };
            record.leases.insert(format!("{number}#a"), lease);
        }
        for host in ["x", "y", "z"] {
            assert_eq!(record.fail(host, "a", 3, (31, (10, 50))), None);
        }
        assert_eq!(record.leases.len(), MOST_HOSTS);
        assert_eq!(record.ban_of("2001:db8::", 31), Some(80));
        assert_eq!(UsageRecord::parse(&record.encode()), Some(record));
    }
}
