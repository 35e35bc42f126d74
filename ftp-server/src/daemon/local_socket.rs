//! Code shared by the control socket and the metrics: a Unix socket whose file is removed on drop,
//! threads that serve several clients at a time, and streams with one deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::event::PollFlags;
use rustix::fs::{FileType, Mode, OFlags, chmod, fstat, open};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, SockAddr, Socket, Type};

use super::logging::LOG;
use crate::daemon::DaemonError;
use crate::net::socket::is_ready;
use crate::threads;

/// Number of clients that a socket serves at a time.
const AT_ONCE: usize = 4;

/// Time limit for a client to send its request, and again to read the answer.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// The same limit while all threads are busy and others wait.
const HURRIED: Duration = Duration::from_millis(250);

/// Largest number of connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Stack of a thread, in bytes. Only touched pages use memory.
const STACK: usize = 256 * 1024;

/// A listening Unix socket. Its file is removed on drop.
#[derive(Debug)]
pub(super) struct LocalSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    file: FileIdentity,
}

/// Device and inode.
type FileIdentity = (u64, u64);

impl LocalSocket {
    /// Binds a socket with the permissions `mode`. Replaces the socket of a server that has ended.
    ///
    /// # Errors
    ///
    /// Returns `AddrInUse` if another server listens there, `AlreadyExists` if the file is not a
    /// socket, or the system's error.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        if is_stale(path)? {
            fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        set_mode(path, mode)?;
        // Nothing can connect earlier, so no client has got more than these permissions.
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from(OwnedFd::from(socket));
        Ok(Self { listener, path: path.to_owned(), file: identity(path)? })
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // Another process may have replaced the file. If this process may not remove its own file,
        // the next start removes it.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Sets the permissions of the socket at `path`, whatever the umask of the process. Does not follow a
/// link that another user could put in the socket's place, as chmod(2) would.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::Socket {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "not a socket"));
    }
    // fchmod(2) refuses a descriptor of O_PATH.
    let file = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(chmod(file, Mode::from_raw_mode(mode))?)
}

fn identity(path: &Path) -> io::Result<FileIdentity> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Returns whether a path is the socket of a server that has ended. Changes nothing.
///
/// # Errors
///
/// Returns the errors of [`LocalSocket::bind`].
pub(super) fn is_stale(path: &Path) -> io::Result<bool> {
    SockAddr::unix(path).map_err(|_| {
        io::Error::new(ErrorKind::InvalidFilename, "too long for the path of a socket")
    })?;
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "not a socket")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    match connect(path, LIMIT).map_err(|error| error.kind()) {
        // A server that is stopped listens too.
        Ok(_) | Err(ErrorKind::TimedOut) => {
            Err(io::Error::new(ErrorKind::AddrInUse, "another server listens there"))
        }
        Err(ErrorKind::ConnectionRefused) => Ok(true),
        Err(ErrorKind::NotFound) => Ok(false),
        Err(kind) => Err(kind.into()),
    }
}

/// Connects to the server at `path` within `limit`. A server that is stopped accepts nobody, and its
/// queue can be full.
///
/// # Errors
///
/// Returns `TimedOut` after the limit, or the system's error.
pub(crate) fn connect(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    let address = SockAddr::unix(path)?;
    loop {
        match socket.connect(&address) {
            Ok(()) => return Ok(socket.into()),
            // SO_SNDTIMEO makes connect(2) fail with EINTR on a signal, even if its handler has
            // SA_RESTART.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Serves the clients of a listening socket, [`AT_ONCE`] at a time, until the returned value is
/// dropped. `serve` serves one.
///
/// # Errors
///
/// Returns `Internal` if a thread cannot be started.
pub(super) fn start_serving(
    name: &'static str,
    listener: impl Into<Socket>,
    serve: impl Fn(&SocketClient<'_>) -> io::Result<()> + Clone + Send + 'static,
) -> Result<Serving, DaemonError> {
    let (busy, is_closed) = Default::default();
    let entrance = Arc::new(Entrance { listener: listener.into(), busy, is_closed });
    // A failure drops this value, which ends the threads that were started.
    let serving = Serving(Arc::clone(&entrance));
    for _ in 0..AT_ONCE {
        let (entrance, serve) = (Arc::clone(&entrance), serve.clone());
        let next = move |entrance: &Entrance| {
            let (stream, _) = entrance.listener.accept()?;
            entrance.busy.fetch_add(1, Ordering::Relaxed);
            let served = serve(&SocketClient { stream: &stream, entrance });
            entrance.busy.fetch_sub(1, Ordering::Relaxed);
            served
        };
        let work = move || {
            loop {
                if let Err(error) = next(&entrance) {
                    if entrance.is_closed.load(Ordering::Relaxed) {
                        return;
                    }
                    log::debug!(target: LOG, "{name}: {error}");
                    // Pauses, because a shortage of file descriptors can last for some time.
                    thread::sleep(Duration::from_millis(10));
                }
            }
        };
        let thread = threads::start(Some(name), STACK, work);
        thread.map_err(|error| DaemonError::no_thread(name, &error))?;
    }
    Ok(serving)
}

/// Ends the threads that serve a listening socket when it is dropped.
pub(super) struct Serving(Arc<Entrance>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Relaxed);
        // accept(2) fails from now on. The address is free for another server at once.
        let _ = self.0.listener.shutdown(Shutdown::Both);
    }
}

/// A listening socket, and how many of its threads serve a client.
struct Entrance {
    listener: Socket,
    busy: AtomicUsize,
    is_closed: AtomicBool,
}

impl Entrance {
    fn is_crowded(&self) -> io::Result<bool> {
        let is_full = self.busy.load(Ordering::Relaxed) == AT_ONCE;
        Ok(is_full && is_ready(&self.listener, PollFlags::IN, Duration::ZERO)?)
    }
}

pub(super) struct SocketClient<'a> {
    pub(super) stream: &'a Socket,
    entrance: &'a Entrance,
}

impl SocketClient<'_> {
    /// Returns the stream of this client, for one request or answer. The client has [`LIMIT`] for
    /// it; but only [`HURRIED`] while all threads are busy and others wait.
    pub(super) fn timed(&self) -> Timed<'_> {
        Timed { entrance: Some(self.entrance), ..Timed::new(self.stream, LIMIT) }
    }
}

/// A stream with one deadline for all reads and writes. A peer cannot keep it open by sending or
/// reading a byte now and then.
pub(crate) struct Timed<'a> {
    stream: BorrowedFd<'a>,
    /// The entrance at which others may wait.
    entrance: Option<&'a Entrance>,
    begun: Instant,
    limit: Duration,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(stream: &'a impl AsFd, limit: Duration) -> Self {
        Self { stream: stream.as_fd(), entrance: None, begun: Instant::now(), limit }
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        loop {
            let is_crowded = match self.entrance {
                Some(entrance) => entrance.is_crowded()?,
                None => false,
            };
            let limit = if is_crowded { HURRIED.min(self.limit) } else { self.limit };
            let left = limit.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            // Then looks whether others wait.
            let pause = if self.entrance.is_some() { left.min(HURRIED) } else { left };
            if is_ready(&self.stream, flags, pause)? {
                return Ok(());
            }
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        Ok(recv(self.stream, buffer, RecvFlags::DONTWAIT)?.0)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        Ok(send(self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_removes_only_the_socket_it_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = LocalSocket::bind(&path, 0o640).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(LocalSocket::bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
        fs::remove_file(&path).unwrap();
        let second = LocalSocket::bind(&path, 0o600).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert_eq!(LocalSocket::bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn slow_bytes_do_not_extend_the_deadline() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let sending = thread::spawn(move || {
            while here.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut timed = Timed::new(&there, Duration::from_millis(100));
        let error = timed.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(there);
        sending.join().unwrap();
    }

    #[test]
    fn silent_clients_end_early_only_while_others_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let socket = LocalSocket::bind(&path, 0o600).unwrap();
        let echo = |client: &SocketClient<'_>| {
            let mut byte = [0];
            client.timed().read_exact(&mut byte)?;
            client.timed().write_all(&byte)
        };
        let listener = socket.listener.try_clone().unwrap();
        let _serving = start_serving("test", listener, echo).unwrap();
        let connect = || connect(&path, LIMIT).unwrap();
        let answer = |mut client: UnixStream| {
            let _ = client.write_all(b"x");
            client.read_exact(&mut [0])
        };
        // As many as there are threads keep their time.
        let silent: Vec<_> = (0..AT_ONCE - 1).map(|_| connect()).collect();
        thread::sleep(2 * HURRIED);
        answer(connect()).unwrap();
        for silent in silent {
            answer(silent).unwrap();
        }
        let silent: Vec<_> = (0..5 * AT_ONCE).map(|_| connect()).collect();
        let begun = Instant::now();
        answer(connect()).unwrap();
        assert!(begun.elapsed() < 4 * LIMIT, "{:?}", begun.elapsed());
        let ended = silent.into_iter().map(answer).filter(Result::is_err).count();
        assert!(ended >= 4 * AT_ONCE, "{ended}");
    }
}
