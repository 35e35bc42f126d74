//! Sends states and the load of the server to a service manager (sd_notify(3)).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::command::file_direction;
use crate::daemon::config::Environment;
use crate::daemon::logging::LOG;
use crate::daemon::values::{counted, rounded_size};
use crate::{Activity, Event, EventKind, Observer, SessionInfo};

/// Longest wait for a service manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket of `NOTIFY_SOCKET`.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: UnixDatagram,
    to: SocketAddr,
    /// Whether a failure was logged already.
    has_failed: bool,
}

impl Notifier {
    /// Returns the socket that the environment names, if there is one.
    pub(super) fn from_environment(environment: Environment) -> Option<Self> {
        let name = environment.get("NOTIFY_SOCKET")?;
        let notifier = Self::new(name.as_bytes());
        let failed = |error| log::warn!(target: LOG, "NOTIFY_SOCKET: {error}");
        notifier.map_err(failed).ok()
    }

    /// Opens a socket to a path, or to the abstract name after an `@`.
    fn new(name: &[u8]) -> io::Result<Self> {
        let to = match name {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
            _ => return Err(io::Error::other("expected an absolute path or @NAME")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, to, has_failed: false })
    }

    /// Sends assignments, one per line. Logs only the first of several failures in a row.
    pub(super) fn send(&mut self, text: &str) {
        match self.socket.send_to_addr(text.as_bytes(), &self.to) {
            Ok(_) => self.has_failed = false,
            Err(_) if self.has_failed => {}
            Err(error) => {
                self.has_failed = true;
                log::warn!(target: LOG, "cannot notify the service manager: {error}");
            }
        }
    }
}

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
        Activity::Transfer { verb, bytes, .. } if file_direction(*verb).is_some() => Some(*bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 100];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn notify_sockets_by_path_and_abstract_name_are_reached() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        Notifier::new(path.as_os_str().as_bytes()).unwrap().send("READY=1");
        assert_eq!(received(&at_path), "READY=1");

        let name = path.as_os_str().as_bytes();
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::new(&[b"@", name].concat()).unwrap().send("STOPPING=1");
        assert_eq!(received(&at_name), "STOPPING=1");

        for wrong in [&b"relative"[..], b"vsock:2:1"] {
            assert!(Notifier::new(wrong).is_err());
        }
    }

    #[test]
    fn a_missing_service_manager_does_no_harm() {
        let mut notifier = Notifier::new(b"/proc/none/notify").unwrap();
        notifier.send("READY=1");
        assert!(notifier.has_failed);
    }

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
