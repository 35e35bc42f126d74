//! Steps of an upload, for a test that kills a server at each step.

/// The next step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// A write of received data.
    Data,
    /// The sync of the data.
    Sync,
    /// Giving the file its name.
    Name,
    /// The sync of the directory, if the policy requires it, and the reply.
    Published,
}

/// Does nothing; in tests, reports the next step.
#[cfg(not(test))]
pub(super) const fn next(_phase: Phase) {}

#[cfg(test)]
pub(super) fn next(phase: Phase) {
    if let Some(listener) = LISTENER.get() {
        listener(phase);
    }
}

/// Receiver of the steps, in a process that does nothing else.
#[cfg(test)]
pub(super) static LISTENER: std::sync::OnceLock<fn(Phase)> = std::sync::OnceLock::new();
