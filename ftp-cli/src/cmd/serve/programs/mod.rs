//! Runs the operator's programs: their processes, and the threads and queues that start them.

pub(super) mod check;
pub(super) mod pool;
pub(super) mod process;
pub(super) mod queue;
