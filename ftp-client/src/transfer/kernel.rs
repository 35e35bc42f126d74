//! Sending a local file by `sendfile`, in steps.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::Transfer;
use super::coding::RawData;
use crate::error::Error;
use crate::net::stream::Stream;

/// The first and the maximum number of bytes that the kernel is asked to send in a step. The first
/// number is also the minimum.
const FIRST: usize = 1 << 20;
const MOST: usize = 16 << 20;

/// After a step that takes less time than this, the next step is twice as large; after a slower
/// step, it is half as large. A cancel has an effect only between two steps.
const QUICK: Duration = Duration::from_millis(100);

/// The maximum time that the kernel waits for room within a step. A fast peer makes room in this
/// time. With a slow peer, the step ends, and the client polls the socket as in other transfers.
const PATIENCE: Duration = Duration::from_millis(10);

/// Sends a file from its position to its end, and adds the number of bytes to `sent`. Returns
/// `false` if the kernel cannot send the file.
pub(super) fn send(
    transfer: &mut Transfer<'_>,
    file: &File,
    sent: &mut u64,
) -> Result<bool, Error> {
    let mut steps = Steps { size: FIRST, is_patient: false };
    let done = loop {
        match transfer.send_step(file, &mut steps) {
            Ok(Some(0)) => break Ok(true),
            Ok(Some(count)) => *sent += count as u64,
            Ok(None) => break Ok(false),
            Err(error) => break Err(error),
        }
    };
    if steps.is_patient
        && let Some(tcp) = transfer.data.as_ref().and_then(Stream::plain_tcp)
    {
        tcp.set_nonblocking(true).map_err(Error::Io)?;
    }
    done
}

/// The size of the next step, and whether the kernel waits for room: a file that fits into the
/// kernel's buffer needs no wait.
struct Steps {
    size: usize,
    is_patient: bool,
}

impl Steps {
    /// Makes the kernel wait for room. This is the only place where a socket blocks.
    fn become_patient(&mut self, tcp: &TcpStream) -> io::Result<()> {
        self.is_patient = true;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nonblocking(false)
    }

    fn learn(&mut self, took: Duration) {
        self.size = match took < QUICK {
            true => (self.size * 2).min(MOST),
            false => (self.size / 2).max(FIRST),
        };
    }
}

impl Transfer<'_> {
    /// Sends the next part of a file, and returns its length: 0 at the end of the file, `None` if
    /// the kernel cannot send the file.
    fn send_step(&mut self, file: &File, steps: &mut Steps) -> Result<Option<usize>, Error> {
        self.check()?;
        let mut deadline = self.deadline();
        self.client.control.go_on(deadline).map_err(|error| self.fail(error))?;
        loop {
            let looked = match steps.is_patient {
                true => self.look(),
                false => Ok(()),
            };
            let looked = looked.and_then(|()| self.client.control.check());
            looked.map_err(|error| self.fail(error))?;
            let tcp = self.data.as_ref().filter(|_| self.ended.is_none());
            let Some(tcp) = tcp.and_then(Stream::plain_tcp) else { return Ok(None) };
            let begun = Instant::now();
            let waited = match rustix::fs::sendfile(tcp, file, None, steps.size) {
                Ok(count) => {
                    steps.learn(begun.elapsed());
                    return Ok(Some(count));
                }
                Err(Errno::INTR) => Ok(()),
                Err(Errno::AGAIN) if !steps.is_patient => {
                    steps.become_patient(tcp).map_err(Error::Io)
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, &mut deadline),
                Err(_) => return Ok(None),
            };
            waited.map_err(|error| self.fail(error))?;
        }
    }

    /// Checks for a reply on the control connection, which a step does not watch.
    fn look(&mut self) -> Result<(), Error> {
        let control = &mut self.client.control;
        if control.is_outstanding() {
            let reply = control.poll_reply()?;
            self.hear(reply)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_quick_and_shrink_when_slow() {
        let mut steps = Steps { size: FIRST, is_patient: false };
        for (took, want) in [(0, 2), (99, 4), (5, 8), (0, 16), (0, 16), (100, 8), (900, 4)] {
            steps.learn(Duration::from_millis(took));
            assert_eq!(steps.size, want << 20);
        }
        for _ in 0..9 {
            steps.learn(QUICK);
        }
        assert_eq!(steps.size, FIRST);
    }
}
