//! `Transport`: the interface of a connection.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fd::AsFd;
use socket2::SockRef;

/// A connection from a [`Connector`](crate::Connector): a byte stream with a file descriptor to
/// wait on.
///
/// It is implemented for TCP and Unix sockets. To add a tunnel protocol or your own TLS, wrap one
/// of these sockets.
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::net::TcpStream;
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// use ftp_client::Transport;
///
/// /// Counts received bytes.
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
    /// Makes the connection non-blocking.
    ///
    /// From then on, a read or write that would wait fails with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and the client polls the descriptor.
    ///
    /// # Errors
    ///
    /// Returns the transport's own error.
    fn set_nonblocking(&self) -> io::Result<()>;

    /// Ends the outgoing data properly; the other direction stays open.
    ///
    /// # Errors
    ///
    /// Returns the transport's own error.
    fn end_writing(&mut self) -> io::Result<()>;

    /// Returns whether a read would return at once although the descriptor is not readable
    /// (default: false).
    ///
    /// Return `true` if the transport has already taken bytes from the descriptor.
    fn has_unread(&self) -> bool {
        false
    }

    /// Makes the peer see a failure if the connection is dropped before
    /// [`end_writing`](Self::end_writing) (default: does nothing).
    ///
    /// With the default, a server that does not check the control connection takes an interrupted
    /// upload for a complete file.
    fn reset_when_dropped(&self) {}

    /// Returns the TCP socket, if bytes go through it unchanged (default: `None`).
    ///
    /// The client uses the socket to set TCP options, and to send files and urgent data.
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
        // Fails only on a socket that can no longer send.
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
