//! Code shared by the control socket and the metrics: a Unix socket whose file is removed on drop,
//! and streams with one deadline.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::umask;
use socket2::SockRef;

use super::logging::{LOG, no_thread};
use crate::exit::Failure;

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
        // The socket has its permissions from the start, because chmod(2) would follow a link that
        // another user could put in its place.
        let former = umask(Mode::from_raw_mode(!mode & 0o777));
        let listener = UnixListener::bind(path);
        umask(former);
        let listener = listener?;
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
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "not a socket")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another server listens there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Starts a thread that serves one client at a time. `serve_next` waits for the next client and
/// serves it.
///
/// # Errors
///
/// Returns `Internal` if the thread cannot be started.
pub(super) fn start_serving(
    name: &'static str,
    mut serve_next: impl FnMut() -> io::Result<()> + Send + 'static,
) -> Result<(), Failure> {
    let serve = move || {
        loop {
            if let Err(error) = serve_next() {
                log::debug!(target: LOG, "{name}: {error}");
                // Pauses, because a shortage of file descriptors can last for some time.
                thread::sleep(Duration::from_millis(10));
            }
        }
    };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(serve);
    thread.map(drop).map_err(|error| no_thread(name, &error))
}

/// A stream with one deadline for all reads and writes. A peer cannot keep it open by sending or
/// reading a byte now and then.
pub(super) struct Timed<'a, S> {
    stream: &'a S,
    end: Instant,
}

impl<'a, S: AsFd> Timed<'a, S> {
    pub(super) fn new(stream: &'a S, limit: Duration) -> Self {
        Self { stream, end: Instant::now() + limit }
    }

    /// Returns the time that is left.
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl<S: AsFd> Read for Timed<'_, S>
where
    for<'b> &'b S: Read,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        SockRef::from(self.stream).set_read_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

impl<S: AsFd> Write for Timed<'_, S>
where
    for<'b> &'b S: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self.stream).set_write_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.write(bytes)
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
        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
        drop(there);
        sending.join().unwrap();
    }
}
