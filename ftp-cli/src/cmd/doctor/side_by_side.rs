//! Runs checks in threads that the examination waits for.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::exit::Failure;

/// Starts work in a new thread.
pub(super) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    let started = Builder::new().name("check".to_owned()).spawn_scoped(scope, work);
    started.map_err(|error| Failure::local("cannot start a thread", &error))
}

/// Returns the result of the work.
pub(super) fn joined<T>(work: ScopedJoinHandle<'_, T>) -> T {
    work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
