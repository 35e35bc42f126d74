//! The protocols of a service manager such as systemd, which passes sockets and is notified of the
//! server's state and load (sd_notify(3)). Without the service manager's environment variables,
//! this module has no effect.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};
use std::{io, process};

use rustix::time::{ClockId, clock_gettime};

use super::config::Environment;
use super::control::load;
use super::logging::LOG;
use crate::Server;

/// Environment variables that are not passed on to the programs that the server starts.
pub(super) const VARIABLES: &[&str] = &[
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Shortest time between two status lines.
const STATUS: Duration = Duration::from_secs(5);

/// The service manager that started the server.
#[derive(Debug)]
pub(super) struct Service(Option<Notified>);

/// A service manager that wants to be notified.
#[derive(Debug)]
struct Notified {
    notifier: Notifier,
    status: String,
    status_due: Instant,
    watchdog: Option<ServiceWatchdog>,
}

#[derive(Debug)]
struct ServiceWatchdog {
    /// Time between two notifications: half of the watchdog's timeout.
    interval: Duration,
    due: Instant,
}

impl Service {
    /// Finds out whether and where to send notifications.
    pub(super) fn connect(environment: Environment) -> Self {
        let now = Instant::now();
        let variable = |name: &str| environment.get(name)?.into_string().ok();
        Self(Notifier::from_environment(environment).map(|notifier| Notified {
            notifier,
            status: String::new(),
            status_due: now,
            watchdog: interval(variable).map(|interval| ServiceWatchdog { interval, due: now }),
        }))
    }

    /// Reports that clients can connect, at startup and after each reload.
    pub(super) fn ready(&mut self, server: &Server) {
        let Some(notified) = &mut self.0 else { return };
        notified.notifier.send("READY=1");
        notified.beat(server);
    }

    pub(super) fn reloading(&mut self) {
        let Some(notified) = &mut self.0 else { return };
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        notified.notifier.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
        // A reload can take a long time: it opens directories and looks up names.
        if let Some(watchdog) = &mut notified.watchdog {
            watchdog.due = Instant::now() + watchdog.interval;
            notified.notifier.send("WATCHDOG=1");
        }
    }

    /// Reports that the server is stopping. From now on, the stop timeout of the service manager
    /// applies instead of the watchdog.
    pub(super) fn stopping(&mut self) {
        let Some(notified) = &mut self.0 else { return };
        notified.notifier.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Returns the time until [`beat`](Self::beat) is due, or `None` if it never is.
    pub(super) fn pause(&self) -> Option<Duration> {
        let notified = self.0.as_ref()?;
        let dog = notified.watchdog.as_ref().map(|watchdog| watchdog.due);
        let due = dog.map_or(notified.status_due, |due| due.min(notified.status_due));
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Sends the notifications that are due: a changed status line, and one for the watchdog.
    pub(super) fn beat(&mut self, server: &Server) {
        if let Some(notified) = &mut self.0 {
            notified.beat(server);
        }
    }
}

impl Notified {
    /// Sends the notifications that are due. Notifies the watchdog only if the server works:
    /// - The caller's thread, which also reloads and stops the server, reaches this method.
    /// - The lock of each session, which the list of sessions needs, is free.
    /// - Each accept loop has accepted the waiting connections.
    fn beat(&mut self, server: &Server) {
        let now = Instant::now();
        if now >= self.status_due {
            self.status_due = now + STATUS;
            let status = load(&server.sessions());
            if status != self.status {
                self.notifier.send(&format!("STATUS={status}"));
                self.status = status;
            }
        }
        let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| now >= watchdog.due) else {
            return;
        };
        watchdog.due = now + watchdog.interval;
        drop(server.sessions());
        if server.is_accepting() {
            self.notifier.send("WATCHDOG=1");
        } else {
            log::error!(
                target: LOG,
                "the server does not accept connections, so it does not notify the watchdog"
            );
        }
    }
}

/// Returns half of `WATCHDOG_USEC`, if that is set for this process.
fn interval(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let is_other = |id: String| id.parse() != Ok(process::id());
    if variable("WATCHDOG_PID").is_some_and(is_other) {
        return None;
    }
    let micros: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2))
}

/// Longest wait for a service manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket of `NOTIFY_SOCKET`.
#[derive(Debug)]
struct Notifier {
    socket: UnixDatagram,
    to: SocketAddr,
    /// Whether a failure was logged already.
    has_failed: bool,
}

impl Notifier {
    fn from_environment(environment: Environment) -> Option<Self> {
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
    fn send(&mut self, text: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_of_another_process_is_ignored() {
        let own = process::id().to_string();
        for (time, id, want) in [
            (Some("30000000"), None, Some(Duration::from_secs(15))),
            (Some("30000000"), Some(&*own), Some(Duration::from_secs(15))),
            (Some("30000000"), Some("1"), None),
            (Some("30000000"), Some(""), None),
            (Some("0"), None, None),
            (Some("x"), None, None),
            (None, None, None),
        ] {
            let variable = |name: &str| {
                let value = if name == "WATCHDOG_PID" { id } else { time };
                value.map(str::to_owned)
            };
            assert_eq!(interval(variable), want, "{time:?} {id:?}");
        }
    }

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
}
