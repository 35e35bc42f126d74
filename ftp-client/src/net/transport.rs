//! `Transport`: what the client needs of a connection.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fd::AsFd;
use socket2::SockRef;

/// A connection that a [`Connector`](crate::Connector) made: a stream of bytes and a descriptor to
/// wait for. TCP and Unix sockets are ones; a tunnel with a protocol of its own, or TLS of the
/// caller's, wraps another.
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::net::TcpStream;
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// use ftp_client::Transport;
///
/// /// Counts what comes.
/// #[derive(Debug)]
/// struct Counted(TcpStream, u64);
///
/// impl Read for Counted {
///     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
///         let count = self.0.read(buffer)?;
///         self.1 += count as u64;
///         Ok(count)
///     }
/// }
///
/// impl Write for Counted {
///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
///         self.0.write(bytes)
///     }
///
///     fn flush(&mut self) -> io::Result<()> {
///         self.0.flush()
///     }
/// }
///
/// impl AsFd for Counted {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// impl Transport for Counted {
///     fn set_nonblocking(&self) -> io::Result<()> {
///         Transport::set_nonblocking(&self.0)
///     }
///
///     fn end_writing(&mut self) -> io::Result<()> {
///         self.0.end_writing()
///     }
/// }
/// ```
pub trait Transport: Read + Write + AsFd + fmt::Debug + Send + Sync {
    /// From now on a read or write that would have to wait fails with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock). The client then polls the descriptor.
    ///
    /// # Errors
    ///
    /// Its own.
    fn set_nonblocking(&self) -> io::Result<()>;

    /// Marks the end of what is written, in good order. The other direction stays open.
    ///
    /// # Errors
    ///
    /// Its own.
    fn end_writing(&mut self) -> io::Result<()>;

    /// Whether a read would not have to wait although the descriptor is not readable: bytes were
    /// taken from it before they were asked for. Not, by default.
    fn has_unread(&self) -> bool {
        false
    }

    /// Makes dropping it look like a failure to the peer, and not like the end of the data, until
    /// [`end_writing`](Self::end_writing) says that it is one. Without that, as by default, a
    /// server takes a part of an upload for the whole unless it looks at the control connection.
    fn reset_when_dropped(&self) {}

    /// The TCP socket that its bytes go through as they are, if they do. The client sends files and
    /// urgent data by it. None, by default.
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
}

impl Transport for TcpStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        SockRef::from(&*self).set_linger(None)?;
        self.shutdown(Shutdown::Write)
    }

    fn reset_when_dropped(&self) {
        // Fails only on a socket that is beyond sending anything.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

#[cfg(unix)]
impl Transport for UnixStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
