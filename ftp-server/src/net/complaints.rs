//! Rate limit of log messages, so that a failure that repeats a thousand times per second does not
//! fill the disk.

use std::cell::RefCell;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The kinds of messages so far. Each kind is limited to a few lines per second, and the suppressed
/// messages are counted.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Vec<Kind>);

#[derive(Debug)]
struct Kind {
    name: &'static str,
    /// Beginning of the current second.
    since: Instant,
    said: u32,
    unsaid: u64,
}

impl Complaints {
    /// Logs a warning with `detail`, at most once per second for each kind.
    pub(crate) fn log(&mut self, kind: &'static str, detail: &dyn Display) {
        match self.due(kind, 1, Instant::now()) {
            Some(0) => log::warn!("{kind}: {detail}"),
            Some(unsaid) => log::warn!("{kind}: {detail} (earlier messages suppressed: {unsaid})"),
            None => {}
        }
    }

    /// Returns the number of messages of this kind that were suppressed since the last logged one.
    /// Returns `None` if this message must be suppressed too, because its kind already had `most`
    /// messages in this second.
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

    /// Returns the number of suppressed messages of a kind, and resets it.
    pub(crate) fn take_unsaid(&mut self, kind: &'static str) -> u64 {
        let known = self.0.iter_mut().find(|known| known.name == kind);
        known.map_or(0, |known| std::mem::take(&mut known.unsaid))
    }
}

/// The messages about one client, which are limited because a client can cause any number of them.
#[derive(Debug)]
pub(crate) struct SessionComplaints {
    peer: SocketAddr,
    said: RefCell<Complaints>,
}

impl SessionComplaints {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self { peer, said: RefCell::default() }
    }

    /// Calls [`Complaints::due`] with the current time.
    pub(crate) fn due(&self, kind: &'static str, most: u32) -> Option<u64> {
        self.said.borrow_mut().due(kind, most, Instant::now())
    }

    /// Calls [`Complaints::take_unsaid`].
    pub(crate) fn take_unsaid(&self, kind: &'static str) -> u64 {
        self.said.borrow_mut().take_unsaid(kind)
    }

    /// Logs a warning with `detail`, at most once per second for each kind.
    pub(crate) fn warn(&self, kind: &'static str, detail: &dyn Display) {
        match self.due(kind, 1) {
            Some(0) => log::warn!("{}: {kind}: {detail}", self.peer),
            Some(unsaid) => {
                let peer = self.peer;
                log::warn!("{peer}: {kind}: {detail} (earlier messages suppressed: {unsaid})");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::messages;

    #[test]
    fn repeated_warnings_are_limited_to_one_per_kind_and_second_ho_06() {
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
    fn a_warning_counts_the_suppressed_earlier_ones_ho_06() {
        let mut complaints = Complaints::default();
        let warn = |complaints: &mut Complaints| {
            messages::of(log::Level::Warn, || complaints.log("cannot accept", &"no descriptors"))
        };
        assert_eq!(warn(&mut complaints), ["cannot accept: no descriptors"]);
        // The second of the first message is not over, however busy the computer is.
        complaints.0[0].since += Duration::from_secs(60);
        assert_eq!(warn(&mut complaints), Vec::<String>::new());
        complaints.0[0].since -= Duration::from_secs(61);
        assert_eq!(
            warn(&mut complaints),
            ["cannot accept: no descriptors (earlier messages suppressed: 1)"]
        );
    }

    #[test]
    fn the_warning_rate_limit_can_exceed_one_per_second_ho_06() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut due = |millis| complaints.due("a", 3, start + Duration::from_millis(millis));
        let said = [0, 1, 2, 3, 4, 1_000, 1_001].map(&mut due);
        assert_eq!(said, [Some(0), Some(0), Some(0), None, None, Some(2), Some(0)]);
    }
}
