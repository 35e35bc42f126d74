//! Counters of the server, in the text format of Prometheus (version 0.0.4), and their endpoint:
//! `GET /metrics` over HTTP, on TCP or a Unix socket.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ftp_proto::Escaped;
use socket2::Socket;

use super::config::{MetricsAddress, Settings};
use super::local_socket::{LocalSocket, Serving, SocketClient, start_serving};
use super::{DaemonError, DaemonErrorKind};
use crate::deadline::unix_now;
use crate::lock::Lock;
use crate::net::socket;
use crate::{Direction, Event, EventKind, Observer, Transfer};
use ftp_proto::text::values::shown_path;

/// Upper bounds of the histogram of durations, in seconds.
const BOUNDS: [f64; 8] = [0.01, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0, 3600.0];

/// Values of the metrics, most of them counted from events.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Lock<Counts>);

#[derive(Debug, Default)]
struct Counts {
    sessions: u64,
    bans: u64,
    logins: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    transfers: BTreeMap<TransferLabels, u64>,
    bytes: BTreeMap<&'static str, u64>,
    /// For each bound, the number of transfers that took at most that long, but longer than the
    /// previous bound.
    durations: [u64; BOUNDS.len()],
    all_durations: Duration,
    /// The virtual host of each certificate, with the expiry of the certificate.
    certificates: Vec<CertificateEnd>,
    has_failed_to_reload: bool,
    /// The user of each session that has logged in.
    logged_in: BTreeMap<u64, Vec<u8>>,
    users: BTreeMap<Vec<u8>, UserCounts>,
}

#[derive(Debug)]
struct UserCounts {
    last_login: SystemTime,
    /// Bytes of transfers and listings.
    bytes: u64,
}

/// Largest number of users with counts of their own: those who have logged in last.
const MOST: usize = 1_000;

/// A virtual host (`None`: the server itself), and the expiry of its certificate in seconds since
/// 1970.
pub(super) type CertificateEnd = (Option<String>, i64);

/// Direction, outcome and reply code of a transfer; no code if the transfer had no reply.
type TransferLabels = (&'static str, &'static str, Option<u16>);

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        let mut counts = self.0.lock();
        match &event.kind {
            EventKind::Connected { .. } => counts.sessions += 1,
            EventKind::Ended { .. } => {
                counts.sessions = counts.sessions.saturating_sub(1);
                event.session.map(|session| counts.logged_in.remove(&session));
            }
            EventKind::Refused(reason) => *counts.refused.entry(reason.as_str()).or_default() += 1,
            EventKind::LoggedIn => {
                *counts.logins.entry("accepted").or_default() += 1;
                counts.logged_in(event);
            }
            EventKind::LoginRefused { reason, .. } => {
                *counts.logins.entry(reason.as_str()).or_default() += 1;
            }
            EventKind::Banned { .. } => counts.bans += 1,
            EventKind::BanEnded { .. } => counts.bans = counts.bans.saturating_sub(1),
            EventKind::Transferred(transfer) => {
                counts.transferred(transfer);
                if let Some(user) = event.user.and_then(|name| counts.users.get_mut(name)) {
                    user.bytes += transfer.bytes;
                }
            }
            _ => {}
        }
    }
}

impl Counts {
    fn logged_in(&mut self, event: &Event<'_>) {
        let (Some(session), Some(name)) = (event.session, event.user) else { return };
        self.logged_in.insert(session, name.to_vec());
        let last_login = SystemTime::now();
        let user = self.users.entry(name.to_vec()).or_insert(UserCounts { last_login, bytes: 0 });
        user.last_login = last_login;
        if self.users.len() > MOST {
            let first = self.users.iter().min_by_key(|(_, user)| user.last_login);
            let first = first.map(|(name, _)| name.clone()).unwrap_or_default();
            self.users.remove(&first);
        }
    }

    fn transferred(&mut self, transfer: &Transfer<'_>) {
        let direction = match transfer.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
            _ => "read",
        };
        let code = transfer.reply.map(|code| code.value());
        *self.transfers.entry((direction, transfer.end.as_str(), code)).or_default() += 1;
        *self.bytes.entry(direction).or_default() += transfer.bytes;
        self.all_durations += transfer.duration;
        let seconds = transfer.duration.as_secs_f64();
        if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound)
            && let Some(count) = self.durations.get_mut(at)
        {
            *count += 1;
        }
    }
}

impl Metrics {
    pub(super) fn set_certificates(&self, certificates: Vec<CertificateEnd>) {
        self.0.lock().certificates = certificates;
    }

    pub(super) fn set_reloaded(&self, has_succeeded: bool) {
        self.0.lock().has_failed_to_reload = !has_succeeded;
    }

    /// Returns the time of the last login of each user since the start, of the last users.
    pub(super) fn last_logins(&self) -> BTreeMap<Vec<u8>, SystemTime> {
        let counts = self.0.lock();
        counts.users.iter().map(|(name, user)| (name.clone(), user.last_login)).collect()
    }

    fn text(&self) -> String {
        let counts = self.0.lock();
        let mut page = MetricsPage::default();
        page.metric("ftp_sessions", "gauge", "Connected sessions.");
        page.sample("ftp_sessions", &[], counts.sessions);
        page.metric(
            "ftp_logins_total",
            "counter",
            "Logins by result: accepted, or the reason for the refusal.",
        );
        for (result, count) in &counts.logins {
            page.sample("ftp_logins_total", &[("result", result)], count);
        }
        page.metric("ftp_transfers_total", "counter", "Ended transfers and listings.");
        for ((direction, end, code), count) in &counts.transfers {
            let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
            let labels = [("direction", *direction), ("end", *end), ("code", code.as_str())];
            page.sample("ftp_transfers_total", &labels, count);
        }
        page.metric(
            "ftp_transfer_bytes_total",
            "counter",
            "Bytes sent and received in transfers and listings.",
        );
        for (direction, bytes) in &counts.bytes {
            page.sample("ftp_transfer_bytes_total", &[("direction", direction)], bytes);
        }
        page.users(&counts);
        page.durations(&counts);
        let help = "Connections refused with a 421 reply, or without a reply under implicit TLS.";
        page.metric("ftp_refused_connections_total", "counter", help);
        for (reason, count) in &counts.refused {
            page.sample("ftp_refused_connections_total", &[("reason", reason)], count);
        }
        page.metric("ftp_bans", "gauge", "Banned hosts.");
        page.sample("ftp_bans", &[], counts.bans);
        page.certificates(&counts.certificates);
        let help = "0 if the last reload failed, otherwise 1.";
        page.metric("ftp_config_last_reload_success", "gauge", help);
        let success = u8::from(!counts.has_failed_to_reload);
        page.sample("ftp_config_last_reload_success", &[], success);
        page.metric("ftp_build_info", "gauge", "The version of the server.");
        page.sample("ftp_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.0
    }
}

/// The text of the metrics that were added so far. The labels are words of this program, host names,
/// which need no escapes, or a [`label`].
#[derive(Default)]
struct MetricsPage(String);

impl MetricsPage {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn users(&mut self, counts: &Counts) {
        self.metric("ftp_user_bytes", "counter", "Bytes of the transfers and listings of a user.");
        for (name, user) in &counts.users {
            self.sample("ftp_user_bytes", &[("user", &label(name))], user.bytes);
        }
        self.metric("ftp_user_sessions", "gauge", "Sessions of a user.");
        let mut sessions: BTreeMap<&[u8], usize> = BTreeMap::new();
        counts.logged_in.values().for_each(|user| *sessions.entry(user).or_default() += 1);
        for name in counts.users.keys() {
            let sessions = sessions.get(&**name).copied().unwrap_or_default();
            self.sample("ftp_user_sessions", &[("user", &label(name))], sessions);
        }
    }

    fn certificates(&mut self, certificates: &[CertificateEnd]) {
        if certificates.is_empty() {
            return;
        }
        let name = "ftp_certificate_expiry_seconds";
        self.metric(name, "gauge", "Seconds until the certificate expires; negative after that.");
        for (host, end) in certificates {
            // The name of a host needs no escapes.
            let label = host.as_deref().map(|host| ("host", host));
            self.sample(name, label.as_slice(), end - unix_now());
        }
    }

    fn durations(&mut self, counts: &Counts) {
        let name = "ftp_transfer_seconds";
        self.metric(name, "histogram", "Durations of transfers and listings.");
        let bucket = format!("{name}_bucket");
        let mut so_far = 0;
        for (bound, count) in BOUNDS.iter().zip(counts.durations) {
            so_far += count;
            self.sample(&bucket, &[("le", &bound.to_string())], so_far);
        }
        let all: u64 = counts.transfers.values().sum();
        self.sample(&bucket, &[("le", "+Inf")], all);
        self.sample(&format!("{name}_sum"), &[], counts.all_durations.as_secs_f64());
        self.sample(&format!("{name}_count"), &[], all);
    }
}

fn label(name: &[u8]) -> String {
    Escaped(name).to_string().replace('\\', "\\\\").replace('"', "\\\"")
}

/// Maximum length of a request head, in bytes.
const LONGEST: usize = 8 * 1024;

/// Maximum number of header fields in a request.
const FIELDS: usize = 64;

#[derive(Debug)]
pub(crate) enum MetricsEndpoint {
    Tcp(TcpListener),
    Unix(LocalSocket),
}

impl MetricsEndpoint {
    /// Binds the address in the settings, if they name one.
    ///
    /// # Errors
    ///
    /// Returns `Network` if the TCP address cannot be bound, or `Local` if the Unix socket cannot.
    pub(crate) fn bind(settings: &Settings) -> Result<Option<Self>, DaemonError> {
        match &settings.metrics {
            None => Ok(None),
            Some(MetricsAddress::Tcp(address)) => match socket::bind(*address, settings.freebind) {
                Ok(listener) => Ok(Some(Self::Tcp(listener))),
                Err(error) => {
                    let message = format!("metrics.listen: {address}: {error}");
                    Err(DaemonError::new(DaemonErrorKind::Network, message))
                }
            },
            Some(MetricsAddress::Unix(path)) => match LocalSocket::bind(path, 0o666) {
                Ok(listener) => Ok(Some(Self::Unix(listener))),
                Err(error) => {
                    let message = format!("metrics.listen: {}: {error}", shown_path(path));
                    Err(DaemonError::new(DaemonErrorKind::Local, message))
                }
            },
        }
    }

    /// Starts the threads that answer clients until the returned values are dropped.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if a thread cannot be started.
    pub(super) fn start(self, metrics: Arc<Metrics>) -> Result<(Self, Serving), DaemonError> {
        let failed = |error: io::Error| DaemonError::no_thread("metrics", &error);
        let listener: Socket = match &self {
            Self::Tcp(listener) => listener.try_clone().map_err(failed)?.into(),
            Self::Unix(socket) => socket.listener.try_clone().map_err(failed)?.into(),
        };
        let serving = start_serving("metrics", listener, move |client| answer(client, &metrics))?;
        Ok((self, serving))
    }
}

fn answer(client: &SocketClient<'_>, metrics: &Metrics) -> io::Result<()> {
    let (status, body) = match path(&mut client.timed())?.as_deref() {
        Some("/metrics") => ("200 OK", metrics.text()),
        Some(_) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        None => ("405 Method Not Allowed", "only GET is allowed\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.timed().write_all((head + &body).as_bytes())
}

/// Reads a request head. Returns the path of a GET, or `None` for another method.
fn path(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&head).map_err(io::Error::other)?;
        if parsed.is_complete() {
            let is_get = request.method == Some("GET");
            return Ok(request.path.filter(|_| is_get).map(str::to_owned));
        }
        if count == 0 || head.len() > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, "incomplete request"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use ftp_proto::{ReplyCode, RepresentationType, Verb};

    use super::*;
    use crate::{SessionEnd, TransferEnd, VirtualPath};

    fn observe(metrics: &Metrics, session: u64, user: &[u8], kind: EventKind<'_>) {
        let (session, user) = (Some(session), Some(user));
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        metrics.observe(&Event { session, user, ..Event::of_peer(peer, kind) });
    }

    fn transfer(metrics: &Metrics, session: u64, user: &[u8], bytes: u64) {
        let transfer = Transfer {
            verb: Verb::Retr,
            path: &VirtualPath::root(),
            direction: Direction::Sent,
            representation: RepresentationType::Image,
            bytes,
            duration: Duration::from_secs(1),
            end: TransferEnd::Fin,
            reply: Some(ReplyCode::TRANSFER_COMPLETE),
            tls: None,
        };
        observe(metrics, session, user, EventKind::Transferred(transfer));
    }

    /// Returns the samples of users.
    fn of_users(metrics: &Metrics) -> Vec<String> {
        let text = metrics.text();
        text.lines().filter(|line| line.starts_with("ftp_user_")).map(str::to_owned).collect()
    }

    #[test]
    fn each_user_has_bytes_and_sessions_since_the_first_login() {
        let (metrics, odd) = (Metrics::default(), &b"a\xFF"[..]);
        // A session whose user has not logged in, as one that is refused.
        transfer(&metrics, 9, b"nobody", 9);
        for (session, user) in [(1, &b"ann"[..]), (2, b"ann"), (3, odd)] {
            observe(&metrics, session, user, EventKind::LoggedIn);
        }
        transfer(&metrics, 1, b"ann", 5);
        transfer(&metrics, 2, b"ann", 6);
        let ended = EventKind::Ended { duration: Duration::ZERO, end: SessionEnd::Closed };
        observe(&metrics, 1, b"ann", ended);
        // The session logs in as another user.
        observe(&metrics, 3, b"bob", EventKind::LoggedIn);
        transfer(&metrics, 3, b"bob", 7);
        let want = [
            r#"ftp_user_bytes{user="ann"} 11"#,
            r#"ftp_user_bytes{user="a\\xff"} 0"#,
            r#"ftp_user_bytes{user="bob"} 7"#,
            r#"ftp_user_sessions{user="ann"} 1"#,
            r#"ftp_user_sessions{user="a\\xff"} 0"#,
            r#"ftp_user_sessions{user="bob"} 1"#,
        ];
        assert_eq!(of_users(&metrics), want);
    }

    #[test]
    fn users_who_have_not_logged_in_for_longest_lose_their_counts() {
        let metrics = Metrics::default();
        let name = |number: usize| format!("user{number:05}").into_bytes();
        for number in 0..MOST + 10 {
            let session = u64::try_from(number).unwrap();
            observe(&metrics, session, &name(number), EventKind::LoggedIn);
        }
        let left = metrics.last_logins();
        assert_eq!(left.len(), MOST);
        assert!(left.contains_key(&name(MOST + 9)) && !left.contains_key(&name(0)));
        assert_eq!(of_users(&metrics).len(), 2 * MOST);
    }
}
