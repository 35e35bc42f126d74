//! The bytes of an upload: a file, or a stream that can be read only once.

use std::fs::File;
use std::io::{self, Read};

use rustix::event::{PollFd, PollFlags, poll};

use crate::console::signals::Cleanup;

/// Source of an upload.
pub(crate) enum Source<'a> {
    /// A local file, which the client can send efficiently.
    File(&'a File),
    /// A stream, which can be read only once.
    Stream(Once<'a>),
}

impl<'a> Source<'a> {
    pub(crate) fn stream(stream: &'a mut dyn Read) -> Self {
        Self::Stream(Once { stream, has_begun: false })
    }

    /// Returns whether another attempt would need bytes that were already consumed.
    pub(super) const fn is_spent(&self) -> bool {
        matches!(self, Self::Stream(Once { has_begun: true, .. }))
    }
}

/// A stream that records whether bytes were read.
pub(crate) struct Once<'a> {
    stream: &'a mut dyn Read,
    has_begun: bool,
}

impl Read for Once<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.has_begun |= count > 0;
        Ok(count)
    }
}

/// Standard input; a signal ends its reads, even if the writer of the pipe never writes.
pub(crate) struct Interruptible<'a> {
    pub(crate) input: &'a mut (dyn Read + Send),
    pub(crate) cleanup: &'a Cleanup,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(canceller) = self.cleanup.canceller() {
            let stdin = io::stdin();
            let mut fds =
                [PollFd::new(canceller, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
            poll(&mut fds, None)?;
            if canceller.is_cancelled() {
                return Err(io::Error::other("interrupted"));
            }
        }
        self.input.read(buffer)
    }
}
