//! The steps of an upload, as a test sees them that kills its server in one.

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// A write of what came.
    Data,
    /// The sync of it.
    Sync,
    /// The name: a link to the new file, or the rename of one that has a hidden name.
    Name,
    /// The rename of a file that got a hidden name just now.
    Rename,
    /// The sync of the directory, if it is wanted, and the reply.
    Published,
}

/// Says what comes next, to nobody but a test.
#[cfg(not(test))]
pub(super) const fn next(_phase: Phase) {}

#[cfg(test)]
pub(super) fn next(phase: Phase) {
    if let Some(listener) = LISTENER.get() {
        listener(phase);
    }
}

/// Who is told, in a process that has nothing else to do.
#[cfg(test)]
pub(super) static LISTENER: std::sync::OnceLock<fn(Phase)> = std::sync::OnceLock::new();
