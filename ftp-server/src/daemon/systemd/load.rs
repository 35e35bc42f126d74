//! Measures the load of the server for its status line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::daemon::values::{counted, rounded_size};
use crate::{Activity, Event, EventKind, Observer, SessionInfo, Verb};

/// Bytes of all transfers that have ended, including listings.
#[derive(Debug, Default)]
pub(crate) struct Moved(AtomicU64);

impl Observer for Moved {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = &event.kind {
            self.0.fetch_add(transfer.bytes, Ordering::Relaxed);
        }
    }
}

/// Rate of transfers between two measurements.
#[derive(Debug)]
pub(super) struct Load {
    moved: Arc<Moved>,
    at: Instant,
    /// Bytes of all transfers at the last measurement.
    total: u64,
}

impl Load {
    pub(super) fn new() -> Self {
        Self { moved: Arc::default(), at: Instant::now(), total: 0 }
    }

    /// Returns the counter of ended transfers.
    pub(super) fn moved(&self) -> Arc<Moved> {
        Arc::clone(&self.moved)
    }

    /// Describes the load since the last call: `2 sessions, 1 transfer, 10.3 MiB/s`.
    pub(super) fn status(&mut self, sessions: &[SessionInfo], now: Instant) -> String {
        let running: Vec<u64> =
            sessions.iter().filter_map(|session| bytes(&session.activity)).collect();
        let total = self.moved.0.load(Ordering::Relaxed) + running.iter().sum::<u64>();
        let moved = total.saturating_sub(self.total);
        let millis = now.duration_since(self.at).as_millis().max(1);
        let rate = u128::from(moved) * 1_000 / millis;
        self.total = total;
        self.at = now;
        let sessions = counted(sessions.len(), "session");
        let running = counted(running.len(), "transfer");
        let rate = rounded_size(u64::try_from(rate).unwrap_or(u64::MAX));
        format!("{sessions}, {running}, {rate}/s")
    }
}

/// Returns the bytes that a running transfer of a file has moved.
fn bytes(activity: &Activity) -> Option<u64> {
    match activity {
        Activity::Transfer {
            verb: Verb::Retr | Verb::Stor | Verb::Stou | Verb::Appe,
            bytes,
            ..
        } => Some(*bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_status_shows_the_rate_since_the_last_update() {
        let mut load = Load::new();
        let mut now = load.at;
        let mut status = |moved: u64| {
            load.moved.0.fetch_add(moved, Ordering::Relaxed);
            now += Duration::from_secs(2);
            load.status(&[], now)
        };
        assert_eq!(status(0), "0 sessions, 0 transfers, 0 B/s");
        assert_eq!(status(4 << 20), "0 sessions, 0 transfers, 2.0 MiB/s");
        assert_eq!(status(0), "0 sessions, 0 transfers, 0 B/s");
    }
}
