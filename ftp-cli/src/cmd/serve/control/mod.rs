//! The control socket: other processes ask the running server by it. File permissions decide who
//! may connect; what they change is logged with their user and process.

mod show;

pub(super) use self::show::{Status, who};

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;

use super::logging::{LOG, no_thread};
use super::queue::Event;
use super::settings::Settings;
use crate::cmd::control::protocol::{Answer, Request, read_request};
use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// The longest wait for a client to send its request, or to read the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// A request that waits for the main thread, which owns the server.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    /// Who asks, for the log.
    pub(super) by: String,
    answer: Sender<Answer>,
}

impl Call {
    /// Sends the answer, and logs what was changed and by whom.
    pub(super) fn answer(self, answer: Answer) {
        let Self { request, by, .. } = &self;
        if !matches!(request, Request::Who(_) | Request::Status(_)) {
            let (Ok(outcome) | Err(outcome)) = &answer.outcome;
            log::info!(target: LOG, "control {request} {by}: {}", outcome.trim_end());
        }
        // A client that is gone needs no answer.
        let _ = self.answer.send(answer);
    }
}

/// The listening socket; its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds the socket of the settings, if they have one.
    ///
    /// # Errors
    ///
    /// Returns `Local` if it cannot be made, or if another server listens there.
    pub(super) fn bind(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(path) = &settings.control_socket else { return Ok(None) };
        let failed = |error: io::Error| {
            Failure::new(Exit::Local, format!("control.socket: {}: {error}", shown_path(path)))
        };
        remove_stale(path).map_err(failed)?;
        let listener = bind_private(path).map_err(failed)?;
        let this = Self { listener, path: path.clone() };
        let group = settings.control_group.as_ref().map(|group| group.id());
        chown(path, None, group).map_err(failed)?;
        let mode = Permissions::from_mode(settings.control_mode);
        fs::set_permissions(path, mode).map_err(failed)?;
        Ok(Some(this))
    }

    /// Starts the thread that takes requests.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if the thread cannot be started.
    pub(super) fn start(&self, events: Sender<Event>) -> Result<(), Failure> {
        let failed = |error: io::Error| no_thread("the control socket", &error);
        let listener = self.listener.try_clone().map_err(failed)?;
        let serve = move || {
            for stream in listener.incoming() {
                match stream.and_then(|stream| serve(&stream, &events)) {
                    Ok(()) => {}
                    Err(error) => {
                        log::debug!(target: LOG, "control: {error}");
                        // A lack of descriptors lasts; a client that is gone does not.
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            }
        };
        std::thread::Builder::new().name("control".to_owned()).spawn(serve).map_err(failed)?;
        Ok(())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Without the right to remove it, the next start does.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the socket of a server that has ended, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "not a socket")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another server listens there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Binds a socket that only this user can connect to. Between bind(2) and chmod(2) its mode is that
/// of the umask.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let former = umask(Mode::XUSR | Mode::RWXG | Mode::RWXO);
    let listener = UnixListener::bind(path);
    umask(former);
    listener
}

/// Serves one client.
fn serve(stream: &UnixStream, events: &Sender<Event>) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    let by = format!("uid={} pid={}", peer.uid.as_raw(), peer.pid.as_raw_nonzero());
    let answer = match Request::parse(&read_request(stream)?) {
        Err(wrong) => Answer::refused(wrong),
        Ok(request) => {
            let (sender, answer) = mpsc::channel();
            let call = Call { request, by, answer: sender };
            // Both fail once the server is stopping.
            let sent = events.send(Event::Control(call)).is_ok();
            let answer = answer.recv().ok().filter(|_| sent);
            answer.unwrap_or_else(|| Answer::refused("the server is stopping"))
        }
    };
    answer.write(stream)
}
