//! Starts the threads of the server.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::budget;

/// Starts a thread with a stack of `stack` bytes. Without a name, the thread inherits the name of
/// its parent thread.
///
/// # Errors
///
/// Returns the system's error, or `OutOfMemory` if the thread and the other threads might use up the
/// address space: an allocation that fails would abort the process.
pub(crate) fn start(
    name: Option<&str>,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    budget::check_room_for_thread(stack)?;
    let mut builder = Builder::new().stack_size(stack);
    if let Some(name) = name {
        builder = builder.name(name.to_owned());
    }
    builder.spawn(work)
}

/// Time up to which work costs too little to ask the system, which takes a call.
const LIGHT: Duration = Duration::from_micros(200);

/// The processor time of a thread since some point.
pub(crate) struct ProcessorClock {
    since: Instant,
    /// The processor time at the start; `None` if the work is expected to be light.
    start: Option<Duration>,
}

impl ProcessorClock {
    /// Starts the clock of the current thread. Unless the work is expected to be heavy, the clock
    /// makes no call, and returns at most [`LIGHT`].
    pub(crate) fn start(is_heavy: bool) -> Self {
        Self { since: Instant::now(), start: is_heavy.then(processor_time) }
    }

    /// Returns the processor time of the current thread since the start, in the same thread.
    pub(crate) fn elapsed(&self) -> Duration {
        match self.start {
            Some(start) => processor_time().saturating_sub(start),
            None => self.since.elapsed().min(LIGHT),
        }
    }

    /// Returns whether the work took longer than light work.
    pub(crate) fn is_heavy(&self) -> bool {
        self.since.elapsed() >= LIGHT
    }
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
