//! Sockets under a deadline. The kernel's own limits (`SO_RCVTIMEO`, `SO_SNDTIMEO`) are set to
//! what is left of it, so that a call cannot outlast it, whatever a peer does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use socket2::SockRef;

use crate::error::{Error, Phase};

/// The longest that the kernel is told to wait at a time; the deadline is looked at in between.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// What `Duration::MAX` and its like are cut to, so that instants can be reckoned with.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A point in time, and what will have timed out then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    phase: Phase,
}

impl Deadline {
    /// `limit` from now.
    pub(crate) fn after(limit: Duration, phase: Phase) -> Self {
        Self { at: Instant::now() + limit.min(FOREVER), phase }
    }

    /// The earlier of the two.
    pub(crate) fn or(self, other: Option<Self>) -> Self {
        other.filter(|other| other.at < self.at).unwrap_or(self)
    }

    /// What is left, more than zero.
    pub(crate) fn remaining(self) -> Result<Duration, Error> {
        match self.at.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(Error::Timeout(self.phase)),
            remaining => Ok(remaining),
        }
    }

    /// What is left in steps of 10 ms, upwards. A limit that is the same for each read then needs
    /// to be set only once.
    fn kernel_limit(self) -> Result<Duration, Error> {
        let remaining = self.remaining()?.min(LONGEST_WAIT);
        let steps = remaining.as_micros().div_ceil(10_000);
        Ok(Duration::from_millis(u64::try_from(steps).unwrap_or(u64::MAX).saturating_mul(10)))
    }
}

/// A connected socket, control or data.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
    /// The failure that was taken from the socket before the first read or write.
    broken: Option<io::Error>,
}

impl Stream {
    /// Takes over a blocking socket.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        let reference = SockRef::from(&socket);
        reference.set_tcp_nodelay(true)?;
        reference.set_keepalive(true)?;
        Ok(Self { socket, read_limit: None, write_limit: None, broken: None })
    }

    /// Takes over a socket that was connected and has failed since. The kernel tells that once,
    /// and a later read would look like the end of the data.
    pub(crate) const fn broken(socket: TcpStream, error: io::Error) -> Self {
        Self { socket, read_limit: None, write_limit: None, broken: Some(error) }
    }

    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.socket.local_addr()?, self.socket.peer_addr()?))
    }

    /// Reads what there is, waiting for it; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
        }
        loop {
            let limit = deadline.kernel_limit()?;
            if self.read_limit != Some(limit) {
                self.socket.set_read_timeout(Some(limit)).map_err(Error::Io)?;
                self.read_limit = Some(limit);
            }
            match self.socket.read(buffer) {
                Err(error) if is_kernel_limit(&error) => {}
                result => return result.map_err(Error::Io),
            }
        }
    }

    /// Writes as much as the kernel takes, waiting until it takes some.
    pub(crate) fn write(&mut self, bytes: &[u8], deadline: Deadline) -> Result<usize, Error> {
        if let Some(error) = self.broken.take() {
            return Err(Error::Io(error));
        }
        loop {
            let limit = deadline.kernel_limit()?;
            if self.write_limit != Some(limit) {
                self.socket.set_write_timeout(Some(limit)).map_err(Error::Io)?;
                self.write_limit = Some(limit);
            }
            match self.socket.write(bytes) {
                Err(error) if is_kernel_limit(&error) => {}
                result => return result.map_err(Error::Io),
            }
        }
    }

    /// Writes all of `bytes`, in one call where the kernel takes them.
    pub(crate) fn write_all(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.write(rest, deadline)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sends a few bytes, the last of them as urgent data.
    pub(crate) fn write_urgent(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match SockRef::from(&self.socket).send_out_of_band(bytes) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(Error::Io(ErrorKind::WriteZero.into())),
            Err(error) => Err(Error::Io(error)),
        }
    }

    /// Marks the end of what is sent, in good order.
    pub(crate) fn end_writing(&self) -> io::Result<()> {
        SockRef::from(&self.socket).set_linger(None)?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// What the socket failed with since it was last looked at, such as a reset.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.socket.take_error().ok().flatten()
    }

    /// Makes closing this socket look like a failure to the peer (RST), not like the end of the
    /// data, until [`end_writing`](Self::end_writing) says that it is one.
    pub(crate) fn reset_when_closed(&self) {
        // Fails only on a socket that is beyond sending anything.
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    /// Whether a read would return at once, with bytes, the end or an error.
    pub(crate) fn is_readable(&self) -> Result<bool, Error> {
        is_ready(self.as_fd(), PollFlags::IN)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until `control` can be read or `other` is ready for `interest`, and says whether the
/// latter is.
pub(crate) fn wait(
    control: &Stream,
    other: BorrowedFd<'_>,
    interest: PollFlags,
    deadline: Deadline,
) -> Result<bool, Error> {
    let mut fds = [PollFd::new(control, PollFlags::IN), PollFd::from_borrowed_fd(other, interest)];
    poll_until(&mut fds, Some(deadline))?;
    let [_control, other] = fds;
    Ok(!other.revents().is_empty())
}

/// Whether `fd` is ready for `interest` now.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, interest: PollFlags) -> Result<bool, Error> {
    let mut fds = [PollFd::from_borrowed_fd(fd, interest)];
    poll_until(&mut fds, None)?;
    let [fd] = fds;
    Ok(!fd.revents().is_empty())
}

/// Waits until one is ready; without a deadline, only looks.
fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Deadline>) -> Result<(), Error> {
    loop {
        let limit = match deadline {
            Some(deadline) => deadline.kernel_limit()?,
            None => Duration::ZERO,
        };
        let limit = Timespec::try_from(limit).unwrap_or_default();
        match poll(fds, Some(&limit)) {
            Ok(0) if deadline.is_some() => {}
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::Io(error.into())),
        }
    }
}

/// Whether the kernel only stopped waiting. `ETIMEDOUT`, a peer that is gone, is not that; but
/// Windows uses the same word for both.
fn is_kernel_limit(error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => true,
        ErrorKind::TimedOut => cfg!(windows),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_counts() {
        let soon = Deadline::after(Duration::ZERO, Phase::Overall);
        let late = Deadline::after(Duration::MAX, Phase::Reply);
        assert!(late.remaining().is_ok());
        for deadline in [late.or(Some(soon)), soon.or(Some(late)), soon.or(None)] {
            assert!(matches!(deadline.remaining(), Err(Error::Timeout(Phase::Overall))));
        }
    }

    #[test]
    fn kernel_limits_are_whole_steps() {
        let limit = |limit| Deadline::after(limit, Phase::Reply).kernel_limit();
        let minute = Duration::from_secs(60);
        assert_eq!(limit(minute).unwrap(), minute);
        assert_eq!(limit(Duration::from_micros(9_000)).unwrap(), Duration::from_millis(10));
        assert_eq!(limit(Duration::MAX).unwrap(), LONGEST_WAIT);
        assert!(limit(Duration::ZERO).is_err());
    }
}
