//! Starts the threads of the server.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

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

/// The processor time of a thread since some point.
pub(crate) struct ProcessorClock(Duration);

impl ProcessorClock {
    /// Starts the clock of the current thread.
    pub(crate) fn start() -> Self {
        Self(processor_time())
    }

    /// Returns the processor time of the current thread since the start, in the same thread.
    pub(crate) fn elapsed(&self) -> Duration {
        processor_time().saturating_sub(self.0)
    }
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
