//! The output of `who` and `status`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use ftp_proto::Escaped;

use super::protocol::ControlStyle;
use crate::daemon::json::Object;
use crate::daemon::values::{instant, rounded_size as size, show, timestamp};
use crate::{Activity, SessionInfo};

/// Returns one line per session; the text style begins with a heading.
pub(super) fn who(sessions: &[SessionInfo], style: ControlStyle) -> String {
    match style {
        ControlStyle::Json => sessions.iter().map(session_object).collect(),
        ControlStyle::Text => table(sessions),
    }
}

fn session_object(session: &SessionInfo) -> String {
    let mut object = Object::event("session").number("id", session.number);
    if let Some(user) = &session.user {
        object = object.name("user", user);
    }
    let host = session.host.as_ref().map(ToString::to_string);
    object = object
        .text("peer", &session.peer.to_string())
        .text("since", &instant(session.since))
        .text_if("tls", session.tls.map(|version| version.as_str()))
        .text_if("host", host.as_deref());
    if let Activity::Transfer { verb, path, bytes, elapsed, .. } = &session.activity {
        object = object
            .text("verb", verb.as_str())
            .name("path", path.as_bytes())
            .number("bytes", *bytes)
            .number("rate", rate(*bytes, *elapsed));
    }
    object.seconds("idle", session.idle).text("time", &timestamp()).into_line()
}

/// Position of the column that is left out if no session has a virtual host.
const HOST: usize = 2;

/// Returns a table with a heading, and columns as wide as their content.
fn table(sessions: &[SessionInfo]) -> String {
    let mut rows = vec![
        ["ID", "USER", "HOST", "ADDRESS", "SINCE", "TLS", "IDLE", "TRANSFER"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(sessions.iter().map(row));
    if sessions.iter().all(|session| session.host.is_none()) {
        rows.iter_mut().for_each(|row| drop(row.remove(HOST)));
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(session: &SessionInfo) -> Vec<String> {
    let transfer = match &session.activity {
        Activity::Transfer { verb, path, bytes, elapsed, .. } => format!(
            "{verb} {} {} at {}/s",
            Escaped(path.as_bytes()),
            size(*bytes),
            size(rate(*bytes, *elapsed))
        ),
        _ => "-".to_owned(),
    };
    vec![
        session.number.to_string(),
        session.user.as_deref().map_or_else(|| "-".to_owned(), |user| Escaped(user).to_string()),
        session.host.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        session.peer.to_string(),
        instant(session.since),
        session.tls.map_or("-", |version| version.as_str()).to_owned(),
        show(Duration::from_secs(session.idle.as_secs())),
        transfer,
    ]
}

/// Returns bytes per second.
fn rate(bytes: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    bytes.saturating_mul(1_000).checked_div(millis).unwrap_or_default()
}

/// The facts that `status` shows.
#[derive(Debug)]
#[non_exhaustive]
pub struct Status {
    /// Time of the start.
    pub since: SystemTime,
    /// Addresses on which the server listens; none while it drains.
    pub addresses: Vec<SocketAddr>,
    /// Running sessions.
    pub sessions: Vec<SessionInfo>,
    /// Number of banned networks.
    pub bans: usize,
    /// Whether the server accepts no more connections.
    pub is_draining: bool,
}

impl Status {
    /// Returns the output of the control command `status`.
    pub(crate) fn text(&self, style: ControlStyle) -> String {
        let transfers: Vec<u64> = self.sessions.iter().filter_map(transfer_rate).collect();
        let rate = transfers.iter().sum();
        let version = env!("CARGO_PKG_VERSION");
        let process = std::process::id();
        let addresses: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
        let addresses = addresses.join(" ");
        let since = instant(self.since);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        match style {
            ControlStyle::Json => Object::event("status")
                .text("version", version)
                .number("pid", process.into())
                .text("since", &since)
                .text_if("addresses", Some(&*addresses).filter(|listed| !listed.is_empty()))
                .number("sessions", count(self.sessions.len()))
                .number("transfers", count(transfers.len()))
                .number("rate", rate)
                .number("bans", count(self.bans))
                .flag("draining", self.is_draining)
                .text("time", &timestamp())
                .into_line(),
            ControlStyle::Text => format!(
                "version: {version}\nprocess: {process}\nsince: {since}\naddresses: {addresses}\n\
                 sessions: {}\ntransfers: {}\nrate: {}/s\nbans: {}\ndraining: {}\n",
                self.sessions.len(),
                transfers.len(),
                size(rate),
                self.bans,
                if self.is_draining { "yes" } else { "no" },
            ),
        }
    }
}

fn transfer_rate(session: &SessionInfo) -> Option<u64> {
    match &session.activity {
        Activity::Transfer { bytes, elapsed, .. } => Some(rate(*bytes, *elapsed)),
        _ => None,
    }
}
