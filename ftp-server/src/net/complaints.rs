//! Rate limit of log messages, so that a failure that repeats a thousand times per second does not
//! fill the disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The kinds of messages so far. Each kind is limited to a few lines per second, and the suppressed
/// messages are counted.
#[derive(Debug, Default)]
pub(crate) struct Complaints(BTreeMap<&'static str, Ration>);

/// A limit on messages of one kind, which counts the suppressed ones.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    /// Beginning of the current period.
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Ration {
    /// Returns the number of messages that were suppressed since the last logged one. Returns `None`
    /// if this message must be suppressed too, because there were `most` messages in this period.
    pub(crate) fn due(&mut self, most: u32, period: Duration, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= period) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said >= most {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Complaints {
    /// Logs a warning with `detail`, at most once per second for each kind.
    pub(crate) fn log(&mut self, kind: &'static str, detail: &dyn Display) {
        warn(self.due(kind, 1, Instant::now()), &format_args!("{kind}: {detail}"));
    }

    /// Calls [`Ration::due`] with the ration of this kind for a second.
    pub(crate) fn due(&mut self, kind: &'static str, most: u32, now: Instant) -> Option<u64> {
        self.0.entry(kind).or_default().due(most, Duration::from_secs(1), now)
    }

    /// Returns the number of suppressed messages of a kind, and resets it.
    pub(crate) fn take_unsaid(&mut self, kind: &'static str) -> u64 {
        self.0.get_mut(kind).map_or(0, |known| std::mem::take(&mut known.unsaid))
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

    pub(crate) fn take_unsaid(&self, kind: &'static str) -> u64 {
        self.said.borrow_mut().take_unsaid(kind)
    }

    /// Logs a warning with `detail`, at most once per second for each kind.
    pub(crate) fn warn(&self, kind: &'static str, detail: &dyn Display) {
        warn(self.due(kind, 1), &format_args!("{}: {kind}: {detail}", self.peer));
    }
}

/// Logs a warning, if it is due, with the number of those that were suppressed before it.
fn warn(unsaid: Option<u64>, message: &dyn Display) {
    match unsaid {
        Some(0) => log::warn!("{message}"),
        Some(unsaid) => log::warn!("{message} (earlier messages suppressed: {unsaid})"),
        None => {}
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
        let begun = complaints.0["cannot accept"].since.unwrap();
        let begin = |complaints: &mut Complaints, at| {
            complaints.0.get_mut("cannot accept").unwrap().since = Some(at);
        };
        begin(&mut complaints, begun + Duration::from_secs(60));
        assert_eq!(warn(&mut complaints), Vec::<String>::new());
        begin(&mut complaints, begun - Duration::from_secs(1));
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
