//! The control socket, through which other processes send requests to the running server. Each
//! change is logged with the user and the process that requested it.
//!
//! The kernel decides who may connect: connect(2) compares the client's user and all its groups
//! with the owner, group and mode of the socket's file. An additional check here could only be
//! weaker. `SO_PEERCRED` reports only one group of a client, and `/proc` does not show other users'
//! processes to a service with systemd's `ProtectProc`.

mod show;

pub(super) use self::show::{Status, who};

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::os::unix::fs::lchown;
use std::sync::mpsc::{self, Receiver, Sender};

use ftp_proto::Escaped;

use super::local_socket::{Client, LIMIT, LocalSocket, start_serving};
use super::logging::{LOG, no_thread};
use super::queue::Event;
use super::settings::Settings;
use crate::cmd::control::protocol::{Answer, Request, read_request};
use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// A request that waits for the main thread, which owns the server.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    /// The client, for the log.
    pub(super) by: String,
    answer: Sender<Answer>,
    /// Channel that disconnects once the answer has been written or writing it has failed.
    written: Receiver<Infallible>,
}

impl Call {
    /// Sends the answer. If the request can change the server, also logs the request, its outcome
    /// and the client.
    pub(super) fn answer(self, answer: Answer) {
        let Self { request, by, .. } = &self;
        if !matches!(request, Request::Who(_) | Request::Status(_)) {
            let (Ok(outcome) | Err(outcome)) = &answer.outcome;
            // The earlier lines of an outcome are in the log already.
            let outcome = outcome.lines().last().unwrap_or_default();
            let request = request.to_string();
            let request = Escaped(request.as_bytes());
            log::info!(target: LOG, "control {by} request=\"{request}\": {outcome}");
        }
        // A client that has disconnected needs no answer.
        if self.answer.send(answer).is_ok() && *request == Request::Drain {
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
    pub(super) fn bind(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(path) = &settings.control_socket else { return Ok(None) };
        let failed = |error: io::Error| {
            let why = match error.kind() {
                ErrorKind::NotFound => "its directory is missing".to_owned(),
                _ => error.to_string(),
            };
            Failure::new(Exit::Local, format!("control.socket: {}: {why}", shown_path(path)))
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
    pub(super) fn start(&self, events: Sender<Event>) -> Result<(), Failure> {
        let failed = |error: io::Error| no_thread("the control socket", &error);
        let listener = self.0.listener.try_clone().map_err(failed)?;
        start_serving("control", listener, move |client| serve(client, &events))
    }
}

/// Serves one client.
fn serve(client: &Client<'_>, events: &Sender<Event>) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(client.stream)?;
    let by = format!("uid={} pid={}", peer.uid.as_raw(), peer.pid.as_raw_nonzero());
    let mut written_mark = None;
    let answer = match Request::parse(&read_request(client.timed())?) {
        Err(wrong) => Answer::refused(wrong),
        Ok(request) => {
            let (sender, answer) = mpsc::channel();
            let (mark, written) = mpsc::channel();
            written_mark = Some(mark);
            let call = Call { request, by, answer: sender, written };
            // Both calls fail once the server is stopping.
            let sent = events.send(Event::Control(call)).is_ok();
            let answer = answer.recv().ok().filter(|_| sent);
            answer.unwrap_or_else(|| Answer::refused("the server is stopping"))
        }
    };
    let written = answer.write(client.timed());
    // The main thread may wait for this before it ends the process.
    drop(written_mark);
    written
}
