//! An FTP session by hand: raw TCP connections, bytes sent as they are, replies read by this
//! module's own few lines (RFC 959 §4.2). It shares no code with the toolkit, so that a test which
//! uses it judges the server from outside.
//!
//! Every read ends at a deadline. What goes wrong panics with the whole dialogue so far.

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

/// How long a [`RawSession`] waits for one reply, and a [`RawData`] for all of its data, unless told
/// otherwise.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What lies between a session and its connection, such as TLS. It has a descriptor of its own.
pub trait Layer: Debug + Send {
    /// One read that gives up at `end`, however the bytes drip. 0 is the end.
    ///
    /// # Errors
    ///
    /// `TimedOut` or `WouldBlock` at `end`; else as the layer has it.
    fn read_before(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize>;

    /// Sends all of `bytes`, and waits at most `limit` for each piece to be taken.
    ///
    /// # Errors
    ///
    /// As writing to the socket.
    fn write_whole(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()>;
}

/// One read that gives up at `end`, however the bytes drip.
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
