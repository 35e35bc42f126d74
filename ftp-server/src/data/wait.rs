//! Waiting for data connections while another connection is watched.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use std::{io, thread};

use ftp_proto::BlockMarker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::limits;
use crate::net::socket::is_ready;

/// A monitor of another connection during a transfer.
pub(crate) trait Monitor {
    /// Returns the descriptor of the connection, which becomes readable when [`look`](Self::look)
    /// must be called. Returns `None` if the caller must call `look` regularly instead.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Checks the connection without waiting. `moved` is the number of bytes moved so far. Returns
    /// the reason to end the transfer, if there is one.
    fn look(&mut self, moved: u64) -> Option<Interruption>;

    /// Notifies the sender of an upload that its restart marker stands for the offset `at` in the
    /// file, in bytes. Returns the reason to end the transfer, if there is one.
    fn mark(&mut self, marker: &BlockMarker, at: u64) -> Option<Interruption>;
}

/// Reason to end a transfer before its data ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interruption {
    /// The client requested the end with `ABOR`.
    Abort,
    /// The control connection ended, or the server is shutting down.
    ControlLost,
}

#[derive(Debug)]
pub(crate) enum OpenError {
    Interrupted(Interruption),
    /// The connection could not be opened: 425.
    Failed(io::Error),
    /// The connection could not be protected: 522.
    Unprotected(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Waits until `descriptor` is ready for `flags`, `deadline` passes (`TimedOut`), or `monitor`
/// reports an interruption.
pub(super) fn wait(
    descriptor: BorrowedFd<'_>,
    flags: PollFlags,
    deadline: Instant,
    moved: u64,
    monitor: &mut dyn Monitor,
) -> Result<(), OpenError> {
    loop {
        if let Some(interruption) = monitor.look(moved) {
            return Err(OpenError::Interrupted(interruption));
        }
        // Even after the deadline, the data connection is polled once: the peer may have been in
        // time while the server was suspended.
        let rest = deadline.saturating_duration_since(Instant::now());
        let data = PollFd::new(&descriptor, flags);
        let polled = if let Some(control) = monitor.descriptor() {
            let mut both = [data, PollFd::new(&control, PollFlags::IN)];
            let polled = poll(&mut both, timespec(rest).as_ref());
            polled.map(|_| both.first().is_some_and(|data| !data.revents().is_empty()))
        } else {
            let mut one = [data];
            let polled = poll(&mut one, timespec(rest.min(limits::TICK)).as_ref());
            polled.map(|count| count > 0)
        };
        match polled {
            Ok(true) => return Ok(()),
            Ok(false) if rest.is_zero() => {
                return Err(OpenError::Failed(io::ErrorKind::TimedOut.into()));
            }
            Ok(false) | Err(Errno::INTR) => {}
            Err(error) => return Err(OpenError::Failed(error.into())),
        }
    }
}

/// Waits until `until`, or until `monitor` reports an interruption.
pub(crate) fn pause(
    until: Instant,
    moved: u64,
    monitor: &mut dyn Monitor,
) -> Result<(), Interruption> {
    loop {
        if let Some(interruption) = monitor.look(moved) {
            return Err(interruption);
        }
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(());
        }
        match monitor.descriptor() {
            // If poll(2) itself fails, repeating it is useless.
            Some(control) if is_ready(&control, PollFlags::IN, rest).is_err() => return Ok(()),
            Some(_) => {}
            None => thread::sleep(rest.min(limits::TICK)),
        }
    }
}

/// Converts a duration for poll(2). Returns `None`, which means no timeout, if the duration is too
/// long.
fn timespec(duration: Duration) -> Option<Timespec> {
    Timespec::try_from(duration).ok()
}

pub(super) fn fd(socket: &impl AsFd) -> BorrowedFd<'_> {
    socket.as_fd()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    struct Nobody;

    impl Monitor for Nobody {
        fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn look(&mut self, _moved: u64) -> Option<Interruption> {
            None
        }

        fn mark(&mut self, _marker: &BlockMarker, _at: u64) -> Option<Interruption> {
            None
        }
    }

    #[test]
    fn data_that_has_already_arrived_is_accepted_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let wait_at_the_deadline =
            || wait(fd(&stream), PollFlags::IN, Instant::now(), 0, &mut Nobody);
        let late = wait_at_the_deadline().unwrap_err();
        assert!(matches!(late, OpenError::Failed(why) if why.kind() == io::ErrorKind::TimedOut));
        client.write_all(b"x").unwrap();
        wait_at_the_deadline().unwrap();
    }
}
