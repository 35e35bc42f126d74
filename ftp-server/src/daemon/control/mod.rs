//! The control socket, through which other processes send requests to the running server. Each
//! change is logged with the user and the process that requested it.
//!
//! The kernel decides who may connect: connect(2) compares the client's user and all its groups
//! with the owner, group and mode of the socket's file. An additional check here could only be
//! weaker. `SO_PEERCRED` reports only one group of a client, and `/proc` does not show other users'
//! processes to a service with systemd's `ProtectProc`.

pub(super) mod protocol;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::lchown;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime};

use ftp_proto::Escaped;

use self::protocol::read_request;
pub use self::protocol::{ControlAnswer, ControlRequest, ControlStyle, SessionTarget};
use super::config::{Config, Settings, User};
use super::local_socket::{
    LIMIT, LocalSocket, Serving, SocketClient, Timed, connect, start_serving,
};
use super::logging::LOG;
use super::{DaemonError, DaemonErrorKind};
use crate::{Activity, SessionInfo};
use ftp_proto::text::json::Object;
use ftp_proto::text::values::{
    counted, instant, rounded_size as size, show, shown_path, timestamp,
};

impl ControlRequest {
    /// Sends the request to the control socket at `path`, and returns the answer.
    ///
    /// # Errors
    ///
    /// Returns `NotFound` or `ConnectionRefused` if no server listens there, `TimedOut` if it does not
    /// answer within `limit`, `InvalidData` if it ends the connection without a complete answer, or
    /// another error of the system.
    pub fn ask(&self, path: &Path, limit: Duration) -> io::Result<ControlAnswer> {
        let begun = Instant::now();
        let stream = connect(path, limit)?;
        let mut timed = Timed::new(&stream, limit.saturating_sub(begun.elapsed()));
        timed.write_all(format!("{self}\n").as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        ControlAnswer::read(timed)
    }
}

/// What remains to be done for an answer, in the client's thread: the daemon's thread must not be
/// busy for long.
type LaterAnswer = Box<dyn FnOnce() -> ControlAnswer + Send>;

/// A request that waits for the daemon's thread, which owns the server.
pub(super) struct ControlCall {
    pub(super) request: ControlRequest,
    /// The client, for the log.
    pub(super) by: String,
    answer: Sender<LaterAnswer>,
    /// Channel that disconnects once the answer has been written or writing it has failed.
    written: Receiver<Infallible>,
}

impl ControlCall {
    /// Sends the answer. If the request can change the server, also logs the request, its outcome
    /// and the client.
    pub(super) fn answer(self, answer: ControlAnswer) {
        let Self { request, by, .. } = &self;
        if !matches!(
            request,
            ControlRequest::Who(_) | ControlRequest::Users(_) | ControlRequest::Status(_)
        ) {
            let (Ok(outcome) | Err(outcome)) = &answer.outcome;
            // The earlier lines of an outcome are in the log already.
            let outcome = outcome.lines().last().unwrap_or_default();
            let request = request.to_string();
            let request = Escaped(request.as_bytes());
            log::info!(target: LOG, "control {by} request=\"{request}\": {outcome}");
        }
        // A client that has disconnected needs no answer.
        if self.answer.send(Box::new(|| answer)).is_ok() && *request == ControlRequest::Drain {
            // Waits for the answer to be written, because the process may end next.
            let _ = self.written.recv_timeout(LIMIT);
        }
    }

    /// Leaves the rest of the work for an answer to the client's thread.
    pub(super) fn answer_by(self, work: impl FnOnce() -> String + Send + 'static) {
        // A client that has disconnected needs no answer.
        let _ = self.answer.send(Box::new(|| ControlAnswer::done(work())));
    }
}

#[derive(Debug)]
pub(super) struct ControlSocket(LocalSocket);

impl ControlSocket {
    /// Binds the control socket at the path in the settings, if they name one.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the socket cannot be created or given to its owner and group, or if
    /// another server listens there.
    pub(super) fn bind(settings: &Settings) -> Result<Option<Self>, DaemonError> {
        let Some(path) = &settings.control_socket else { return Ok(None) };
        let failed = |error: io::Error| {
            let why = match error.kind() {
                ErrorKind::NotFound => "its directory is missing".to_owned(),
                _ => error.to_string(),
            };
            DaemonError::new(
                DaemonErrorKind::Local,
                format!("control.socket: {}: {why}", shown_path(path)),
            )
        };
        let socket = LocalSocket::bind(path, settings.control_mode).map_err(failed)?;
        if let Some(run_as) = &settings.run_as {
            run_as.give_path(path).map_err(failed)?;
        }
        if let Some(group) = &settings.control_group {
            lchown(path, None, Some(group.id())).map_err(failed)?;
        }
        Ok(Some(Self(socket)))
    }

    /// Starts the threads that accept requests until the returned values are dropped. `send` passes a
    /// request to the daemon's thread, and returns `false` if the daemon is stopping.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if a thread cannot be started.
    pub(super) fn start(
        self,
        send: impl Fn(ControlCall) -> bool + Clone + Send + 'static,
    ) -> Result<(Self, Serving), DaemonError> {
        let failed = |error: io::Error| DaemonError::no_thread("the control socket", &error);
        let listener = self.0.listener.try_clone().map_err(failed)?;
        let serving = start_serving("control", listener, move |client| serve(client, &send))?;
        Ok((self, serving))
    }
}

fn serve(client: &SocketClient<'_>, send: &impl Fn(ControlCall) -> bool) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(client.stream)?;
    let by = format!("uid={} pid={}", peer.uid.as_raw(), peer.pid.as_raw_nonzero());
    let mut written_mark = None;
    let answer = match ControlRequest::parse(&read_request(client.timed())?) {
        Err(wrong) => ControlAnswer::refused(wrong),
        Ok(request) => {
            let (sender, answer) = mpsc::channel();
            let (mark, written) = mpsc::channel();
            written_mark = Some(mark);
            let call = ControlCall { request, by, answer: sender, written };
            // Both calls fail once the server is stopping.
            let sent = send(call);
            let answer = answer.recv().ok().filter(|_| sent);
            answer
                .map(|work| work())
                .unwrap_or_else(|| ControlAnswer::refused("the server is stopping"))
        }
    };
    let written = answer.write(client.timed());
    // The main thread may wait for this before it ends the process.
    drop(written_mark);
    written
}

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

#[derive(Default)]
pub(super) struct UserInfo {
    pub(super) name: Vec<u8>,
    /// State, root, and the place of the password, if the configuration has the user.
    pub(super) configured: Option<[String; 3]>,
    /// `None` if no server was asked.
    pub(super) sessions: Option<usize>,
    /// Used bytes and files, if they are known.
    pub(super) used: Option<(u64, u64)>,
    /// Largest number of bytes and files; 0 for unlimited.
    pub(super) quota: (u64, u64),
    pub(super) last_login: Option<SystemTime>,
}

/// A fact of a user with its name; `None` if it is unknown.
type NamedFact<T> = (&'static str, Option<T>);

impl UserInfo {
    pub(super) fn of(name: &str, user: &User) -> Self {
        let state = user.state(SystemTime::now()).to_owned();
        let configured = [state, user.root.to_string(), user.origins.of("password").to_owned()];
        let (configured, quota) = (Some(configured), (user.quota, user.max_files));
        Self { name: name.as_bytes().to_vec(), configured, quota, ..Self::default() }
    }

    /// Returns the texts and the numbers, each with its name.
    fn facts(&self) -> ([NamedFact<String>; 4], [NamedFact<u64>; 5]) {
        let [state, root, origin] =
            self.configured.clone().map_or([None, None, None], |all| all.map(Some));
        let limit = |most: u64| Some(most).filter(|most| *most > 0);
        let texts = [
            ("state", state),
            ("last_login", self.last_login.map(instant)),
            ("root", root),
            ("origin", origin),
        ];
        let numbers = [
            ("sessions", self.sessions.and_then(|count| u64::try_from(count).ok())),
            ("bytes", self.used.map(|(bytes, _)| bytes)),
            ("quota", limit(self.quota.0)),
            ("files", self.used.map(|(_, files)| files)),
            ("max_files", limit(self.quota.1)),
        ];
        (texts, numbers)
    }

    fn object(&self) -> String {
        let (texts, numbers) = self.facts();
        let object = Object::event("user").name("user", &self.name);
        let object =
            texts.iter().fold(object, |object, (key, text)| object.text_if(key, text.as_deref()));
        let object =
            numbers.iter().fold(object, |object, (key, number)| object.number_if(key, *number));
        object.text("time", &timestamp()).into_line()
    }

    /// Returns the cells of the user's row, each with its heading.
    fn row(&self) -> Vec<(String, String)> {
        let (texts, numbers) = self.facts();
        let numbers = numbers.map(|(key, number)| match key {
            "bytes" | "quota" => (key, number.map(size)),
            _ => (key, number.map(|number| number.to_string())),
        });
        let user = ("user", Some(Escaped(&self.name).to_string()));
        let cells = [user].into_iter().chain(numbers).chain(texts);
        let shown = |text: String| Escaped(text.as_bytes()).to_string();
        cells
            .map(|(key, cell)| (key.to_uppercase(), cell.map_or_else(|| "-".to_owned(), shown)))
            .collect()
    }
}

/// Returns one line per user; the text style begins with a heading.
pub(super) fn users(users: &[UserInfo], style: ControlStyle) -> String {
    if style == ControlStyle::Json {
        return users.iter().map(UserInfo::object).collect();
    }
    let heading = UserInfo::default().row().into_iter().map(|(heading, _)| heading).collect();
    let cells = |user: &UserInfo| user.row().into_iter().map(|(_, cell)| cell).collect();
    let mut rows: Vec<Vec<String>> =
        std::iter::once(heading).chain(users.iter().map(cells)).collect();
    // A column that nothing is known of only widens the table.
    for column in (1..rows.first().map_or(0, Vec::len)).rev() {
        if rows.len() > 1
            && rows.iter().skip(1).all(|row| row.get(column).is_some_and(|cell| cell == "-"))
        {
            rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
    }
    columns(&rows)
}

impl Config {
    /// Returns one line per user of the configuration; the text style begins with a heading.
    #[must_use]
    pub fn user_list(&self, style: ControlStyle) -> String {
        let all = self.settings.users.iter().map(|(name, user)| UserInfo::of(name, user));
        users(&all.collect::<Vec<_>>(), style)
    }
}

/// Position of the column that is left out if no session has a virtual host.
const HOST: usize = 2;

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
    columns(&rows)
}

/// Returns rows with columns as wide as their content.
fn columns(rows: &[Vec<String>]) -> String {
    let mut widths = vec![0; rows.first().map_or(0, Vec::len)];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
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

/// Returns the load in a few words, for a service manager: `1 session, 1 transfer, 2.0 MiB/s`.
pub(super) fn load(sessions: &[SessionInfo]) -> String {
    let rates: Vec<u64> = sessions.iter().filter_map(transfer_rate).collect();
    let rate = size(rates.iter().sum());
    format!(
        "{}, {}, {rate}/s",
        counted(sessions.len(), "session"),
        counted(rates.len(), "transfer")
    )
}

fn transfer_rate(session: &SessionInfo) -> Option<u64> {
    match &session.activity {
        Activity::Transfer { bytes, elapsed, .. } => Some(rate(*bytes, *elapsed)),
        _ => None,
    }
}
