//! How data connections wait: always with an eye on something else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::limits;

/// What a transfer has to look at besides its data.
pub(crate) trait Monitor {
    /// What becomes readable when there is something to look at; `None` if it has to be looked
    /// at from time to time instead.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Looks, without waiting. `moved` is how many bytes the transfer has moved so far.
    fn look(&mut self, moved: u64) -> Option<Interruption>;
}

/// Why a transfer has to end before its data does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interruption {
    /// The user asked for it.
    Abort,
    /// The control connection ended, or the server does.
    ControlLost,
}

/// Why there is no data connection.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It was not wanted any more.
    Interrupted(Interruption),
    /// It did not come about: 425.
    Failed(io::Error),
    /// It could not be protected: 522.
    Unprotected(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Waits until `descriptor` is ready for `flags`, `deadline` passes (`TimedOut`), or `monitor`
/// finds that it is over.
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
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(OpenError::Failed(io::ErrorKind::TimedOut.into()));
        }
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
            Ok(false) | Err(Errno::INTR) => {}
            Err(error) => return Err(OpenError::Failed(error.into())),
        }
    }
}

/// Waits until `until`, or until `monitor` finds that it is over.
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
        let polled = match monitor.descriptor() {
            Some(control) => {
                poll(&mut [PollFd::new(&control, PollFlags::IN)], timespec(rest).as_ref())
            }
            None => poll(&mut [], timespec(rest.min(limits::TICK)).as_ref()),
        };
        match polled {
            Ok(_) | Err(Errno::INTR) => {}
            // Without the means to wait, there is no use in asking again.
            Err(_) => return Ok(()),
        }
    }
}

/// A duration as poll(2) takes it; `None`, for ever, for one that does not fit.
fn timespec(duration: Duration) -> Option<Timespec> {
    Timespec::try_from(duration).ok()
}

/// The descriptor of a socket, for [`wait`].
pub(super) fn fd(socket: &impl AsFd) -> BorrowedFd<'_> {
    socket.as_fd()
}
