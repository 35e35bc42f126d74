//! Standard input as the source of an upload.

use std::io::{self, Read};

use rustix::event::{PollFd, PollFlags, poll};

use crate::console::signals::Cleanup;

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
