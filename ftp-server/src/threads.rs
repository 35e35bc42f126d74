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
    // One type for all threads: the standard library's code for each type takes 2 KB.
    let work: Box<dyn FnOnce() + Send> = Box::new(work);
    builder.spawn(work)
}

/// Maximum time that work without a measurement counts for: the work may have waited for a disk.
const LIGHT: Duration = Duration::from_millis(10);

/// The processor time of a thread since some point.
pub(crate) struct ProcessorClock {
    since: Instant,
    /// The processor time at the start; `None` if it is not measured.
    start: Option<Duration>,
}

impl ProcessorClock {
    /// Starts the clock of the current thread. To measure takes two calls. Otherwise, the clock
    /// returns the time that has passed, which is not less, but at most [`LIGHT`].
    pub(crate) fn start(is_measured: bool) -> Self {
        Self { since: Instant::now(), start: is_measured.then(processor_time) }
    }

    /// Returns the processor time of the current thread since the start, in the same thread.
    pub(crate) fn elapsed(&self) -> Duration {
        match self.start {
            Some(start) => processor_time().saturating_sub(start),
            None => self.since.elapsed().min(LIGHT),
        }
    }

    /// Returns whether the work took longer than an unmeasured time can tell.
    pub(crate) fn is_heavy(&self) -> bool {
        self.since.elapsed() >= LIGHT
    }
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
