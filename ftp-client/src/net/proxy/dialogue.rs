//! The bytes that a client and a proxy exchange before the proxy relays the connection.

use ftp_proto::Escaped;
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::{Proxy, ProxyLogin};
use crate::error::{Error, ProxyFault};
use crate::net::connect::Server;
use crate::net::stream::Stream;
use crate::net::wait::{Deadline, Waiter};

/// The maximum length of a proxy's reason in an error message, in bytes.
const REASON: usize = 200;

/// A connection to a proxy, before the proxy begins to relay.
pub(super) struct Dialogue<'a> {
    proxy: &'a Proxy,
    stream: Stream,
    waiter: &'a Waiter,
    deadline: Deadline,
}

impl<'a> Dialogue<'a> {
    pub(super) const fn new(
        proxy: &'a Proxy,
        stream: Stream,
        waiter: &'a Waiter,
        deadline: Deadline,
    ) -> Self {
        Self { proxy, stream, waiter, deadline }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Returns the login for the proxy, if any.
    pub(super) const fn login(&self) -> Option<&'a ProxyLogin> {
        self.proxy.login()
    }

    pub(super) fn error(&self, fault: ProxyFault) -> Error {
        self.proxy.error(fault)
    }

    /// Returns the error for a proxy that refuses to connect to `target`.
    pub(super) fn refused(&self, target: &Server, reason: String, is_transient: bool) -> Error {
        let target = target.to_string();
        self.error(ProxyFault::Refused { target, reason, is_transient })
    }

    /// Sends all of `bytes`.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stream.write(bytes).map_err(|error| self.lost(error))? {
                Some(count) => bytes = bytes.get(count..).unwrap_or_default(),
                None => self.wait(PollFlags::OUT)?,
            }
        }
        Ok(())
    }

    /// Reads exactly `N` bytes, because the next byte may already come from the server.
    pub(super) fn read<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills the buffer.
    pub(super) fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        while !buffer.is_empty() {
            match self.stream.read(buffer).map_err(|error| self.lost(error))? {
                Some(0) => {
                    let fault = ProxyFault::Lost("the proxy closed it".to_owned());
                    return Err(self.error(fault));
                }
                Some(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                None => self.wait(PollFlags::IN)?,
            }
        }
        Ok(())
    }

    fn wait(&self, interest: PollFlags) -> Result<(), Error> {
        self.waiter.wait_for(self.stream.as_fd(), interest, self.deadline)
    }

    fn lost(&self, error: Error) -> Error {
        match error {
            Error::Io(error) => self.error(ProxyFault::Lost(error.to_string())),
            error => error,
        }
    }
}

/// Returns a proxy's own words, escaped and shortened for an error message.
pub(super) fn shown(words: &[u8]) -> String {
    Escaped(words.get(..REASON).unwrap_or(words)).to_string()
}
