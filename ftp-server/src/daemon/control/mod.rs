//! The control socket, through which other processes send requests to the running server. Each
//! change is logged with the user and the process that requested it.
//!
//! The kernel decides who may connect: connect(2) compares the client's user and all its groups
//! with the owner, group and mode of the socket's file. An additional check here could only be
//! weaker. `SO_PEERCRED` reports only one group of a client, and `/proc` does not show other users'
//! processes to a service with systemd's `ProtectProc`.

pub(super) mod protocol;
mod show;

pub use self::protocol::{ControlAnswer, ControlRequest, ControlStyle, SessionTarget};
pub use self::show::Status;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::fs::lchown;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use ftp_proto::Escaped;

use self::protocol::read_request;
use self::show::who;
use super::config::Settings;
use super::local_socket::{LIMIT, LocalSocket, SocketClient, Timed, connect, start_serving};
use super::logging::LOG;
use super::run::DaemonEvent;
use super::running::Running;
use crate::daemon::values::shown_path;
use crate::daemon::{DaemonError, DaemonErrorKind};

/// Sends a request to the control socket at `path`, and returns the answer.
///
/// # Errors
///
/// Returns `NotFound` or `ConnectionRefused` if no server listens there, `TimedOut` if it does not
/// answer within `limit`, `InvalidData` if it ends the connection without a complete answer, or
/// another error of the system.
pub fn ask(path: &Path, request: &ControlRequest, limit: Duration) -> io::Result<ControlAnswer> {
    let begun = Instant::now();
    let stream = connect(path, limit)?;
    let mut timed = Timed::new(&stream, limit.saturating_sub(begun.elapsed()));
    timed.write_all(format!("{request}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    ControlAnswer::read(timed)
}

impl ControlRequest {
    /// Carries out the request. `reload` reloads the configuration.
    pub(super) fn answer(
        &self,
        running: &mut Running,
        reload: impl FnOnce(&mut Running) -> Result<String, String>,
    ) -> ControlAnswer {
        match self {
            Self::Who(style) => ControlAnswer::done(who(&running.server.sessions(), *style)),
            Self::Status(style) => ControlAnswer::done(running.status().text(*style)),
            Self::Kick(target) => match running.kick(target) {
                0 => ControlAnswer::refused(format!("no session {target}")),
                count => ControlAnswer::done(format!("sessions ended: {count}\n")),
            },
            Self::Drain => match running.drain() {
                None => ControlAnswer::refused("the server is already draining"),
                Some(sessions) => ControlAnswer::done(format!(
                    "the server accepts no new connections; open sessions: {sessions}\n"
                )),
            },
            Self::Unban(host) => match (running.unban(*host), host) {
                (0, Some(host)) => ControlAnswer::refused(format!("{host} is not banned")),
                (count, _) => ControlAnswer::done(format!("bans ended: {count}\n")),
            },
            Self::Reload => {
                ControlAnswer { outcome: reload(running).map(|changes| changes + "\n") }
            }
        }
    }
}

/// A request that waits for the daemon's thread, which owns the server.
pub(super) struct Call {
    pub(super) request: ControlRequest,
    /// The client, for the log.
    pub(super) by: String,
    answer: Sender<ControlAnswer>,
    /// Channel that disconnects once the answer has been written or writing it has failed.
    written: Receiver<Infallible>,
}

impl Call {
    /// Sends the answer. If the request can change the server, also logs the request, its outcome
    /// and the client.
    pub(super) fn answer(self, answer: ControlAnswer) {
        let Self { request, by, .. } = &self;
        if !matches!(request, ControlRequest::Who(_) | ControlRequest::Status(_)) {
            let (Ok(outcome) | Err(outcome)) = &answer.outcome;
            // The earlier lines of an outcome are in the log already.
            let outcome = outcome.lines().last().unwrap_or_default();
            let request = request.to_string();
            let request = Escaped(request.as_bytes());
            log::info!(target: LOG, "control {by} request=\"{request}\": {outcome}");
        }
        // A client that has disconnected needs no answer.
        if self.answer.send(answer).is_ok() && *request == ControlRequest::Drain {
            // Waits for the answer to be written, because the process may end next.
            let _ = self.written.recv_timeout(LIMIT);
        }
    }
}

/// The listening socket.
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

    /// Starts the threads that accept requests.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if a thread cannot be started.
    pub(super) fn start(&self, events: Sender<DaemonEvent>) -> Result<(), DaemonError> {
        let failed = |error: io::Error| DaemonError::no_thread("the control socket", &error);
        let listener = self.0.listener.try_clone().map_err(failed)?;
        start_serving("control", listener, move |client| serve(client, &events))
    }
}

/// Serves one client.
fn serve(client: &SocketClient<'_>, events: &Sender<DaemonEvent>) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(client.stream)?;
    let by = format!("uid={} pid={}", peer.uid.as_raw(), peer.pid.as_raw_nonzero());
    let mut written_mark = None;
    let answer = match ControlRequest::parse(&read_request(client.timed())?) {
        Err(wrong) => ControlAnswer::refused(wrong),
        Ok(request) => {
            let (sender, answer) = mpsc::channel();
            let (mark, written) = mpsc::channel();
            written_mark = Some(mark);
            let call = Call { request, by, answer: sender, written };
            // Both calls fail once the server is stopping.
            let sent = events.send(DaemonEvent::Control(call)).is_ok();
            let answer = answer.recv().ok().filter(|_| sent);
            answer.unwrap_or_else(|| ControlAnswer::refused("the server is stopping"))
        }
    };
    let written = answer.write(client.timed());
    // The main thread may wait for this before it ends the process.
    drop(written_mark);
    written
}
