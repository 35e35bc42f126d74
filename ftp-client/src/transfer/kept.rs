//! The data connection that stays open between two transfers in mode B.

use super::coding::Coding;
use crate::net::stream::Stream;

/// An open data connection that no transfer uses.
#[derive(Debug)]
pub(crate) struct Kept {
    data: Stream,
    coding: Box<Coding>,
}

impl Kept {
    pub(super) const fn new(data: Stream, coding: Box<Coding>) -> Self {
        Self { data, coding }
    }

    /// Returns the connection and its coding, which may hold received bytes of the next file.
    pub(super) fn into_parts(self) -> (Stream, Box<Coding>) {
        (self.data, self.coding)
    }

    /// Returns whether the server has neither closed the connection nor sent anything unrequested.
    pub(super) fn is_idle(&mut self) -> bool {
        !self.coding.has_unread() && matches!(self.data.read(&mut [0]), Ok(None))
    }

    /// Closes the connection properly, since no transfer is interrupted.
    pub(super) fn close(mut self) {
        self.data.say_end();
        // This can fail only if the server has already closed the connection.
        let _ = self.data.end_writing();
    }
}
