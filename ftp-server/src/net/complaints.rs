//! How often the log says the same: it must not fill the disk when something fails a thousand times
//! a second.

use std::cell::RefCell;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A few lines per second of each kind, and a count of those that were left out.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Vec<Kind>);

#[derive(Debug)]
struct Kind {
    name: &'static str,
    /// When the second began that is counted in.
    since: Instant,
    said: u32,
    unsaid: u64,
}

impl Complaints {
    /// Warns of `detail`, at most once per second for each kind.
    pub(crate) fn log(&mut self, kind: &'static str, detail: &dyn Display) {
        match self.due(kind, 1, Instant::now()) {
            Some(0) => log::warn!("{kind}: {detail}"),
            Some(unsaid) => log::warn!("{kind}: {detail} (and {unsaid} times before)"),
            None => {}
        }
    }

    /// How many were left unsaid before one that is said now; `None` if it is not, because `most`
    /// of its kind were within a second.
    pub(crate) fn due(&mut self, kind: &'static str, most: u32, now: Instant) -> Option<u64> {
        let Some(known) = self.0.iter_mut().find(|known| known.name == kind) else {
            self.0.push(Kind { name: kind, since: now, said: 1, unsaid: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(known.since) >= Duration::from_secs(1) {
            (known.since, known.said) = (now, 0);
        }
        if known.said >= most {
            known.unsaid += 1;
            return None;
        }
        known.said += 1;
        Some(std::mem::take(&mut known.unsaid))
    }

    /// How many of a kind were left unsaid, and are not from now on.
    pub(crate) fn take_unsaid(&mut self, kind: &'static str) -> u64 {
        let known = self.0.iter_mut().find(|known| known.name == kind);
        known.map_or(0, |known| std::mem::take(&mut known.unsaid))
    }
}

/// The complaints about one client, who can bring them about as often as it likes.
#[derive(Debug)]
pub(crate) struct SessionComplaints {
    peer: SocketAddr,
    said: RefCell<Complaints>,
}

impl SessionComplaints {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self { peer, said: RefCell::default() }
    }

    /// As [`Complaints::due`], now.
    pub(crate) fn due(&self, kind: &'static str, most: u32) -> Option<u64> {
        self.said.borrow_mut().due(kind, most, Instant::now())
    }

    /// As [`Complaints::take_unsaid`].
    pub(crate) fn take_unsaid(&self, kind: &'static str) -> u64 {
        self.said.borrow_mut().take_unsaid(kind)
    }

    /// Warns of `detail`, at most once per second for each kind.
    pub(crate) fn warn(&self, kind: &'static str, detail: &dyn Display) {
        match self.due(kind, 1) {
            Some(0) => log::warn!("{}: {kind}: {detail}", self.peer),
            Some(unsaid) => {
                log::warn!("{}: {kind}: {detail} (and {unsaid} times before)", self.peer);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_complaints_a_second_are_one_line_of_each_kind_ho_06() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        for number in 0..3_000 {
            let now = start + Duration::from_millis(number);
            for kind in ["a", "b"] {
                lines.extend(complaints.due(kind, 1, now).map(|unsaid| (kind, unsaid)));
            }
        }
        let want = [("a", 0), ("b", 0), ("a", 999), ("b", 999), ("a", 999), ("b", 999)];
        assert_eq!(lines, want);
        assert_eq!(complaints.take_unsaid("a"), 999);
        assert_eq!(complaints.take_unsaid("a"), 0);
        assert_eq!(complaints.take_unsaid("c"), 0);
    }

    #[test]
    fn some_a_second_may_be_more_than_one_ho_06() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut due = |millis| complaints.due("a", 3, start + Duration::from_millis(millis));
        let said = [0, 1, 2, 3, 4, 1_000, 1_001].map(&mut due);
        assert_eq!(said, [Some(0), Some(0), Some(0), None, None, Some(2), Some(0)]);
    }
}
