//! FTP sessions over raw TCP connections: bytes are sent unchanged, and a few lines here read the
//! replies (RFC 959 §4.2). The module shares no code with the toolkit, so a test that uses it
//! judges the server from outside.
//!
//! Every read ends at a deadline. A failure panics with the whole dialogue so far.

mod data;
mod reply;
mod session;

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub use self::data::{RawData, RawListener};
pub use self::reply::{NoReply, RawReply};
pub use self::session::RawSession;

/// How long a [`RawSession`] waits for one reply, and a [`RawData`] for the next bytes, by default:
/// longer than a busy machine takes for either.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The layer between a session and its connection, such as TLS. The layer has its own descriptor.
pub trait Layer: Debug + Send {
    /// Reads once, until `end` at most, even if bytes arrive one by one. Returns 0 at the end of
    /// the stream.
    ///
    /// # Errors
    ///
    /// Returns `TimedOut` or `WouldBlock` at `end`, or the error of the layer.
    fn read_before(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize>;

    /// Sends all of `bytes`, and waits at most `limit` for each piece to be taken.
    ///
    /// # Errors
    ///
    /// Returns the errors of writing to the socket.
    fn write_whole(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()>;
}

/// Reads once, until a deadline at most, even if bytes arrive one by one.
fn read_before(stream: &mut TcpStream, buffer: &mut [u8], end: Instant) -> io::Result<usize> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
