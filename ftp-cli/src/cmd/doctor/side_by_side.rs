//! Checks in threads of their own, which the examination waits for.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::exit::Failure;

/// Begins work that others need not wait for.
pub(super) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    let started = Builder::new().name("check".to_owned()).spawn_scoped(scope, work);
    started.map_err(|error| Failure::local("cannot start a thread", &error))
}

/// What came of it.
pub(super) fn joined<T>(work: ScopedJoinHandle<'_, T>) -> T {
    work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
