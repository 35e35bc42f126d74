//! A session: its state (RFC 959 §4.1), and the outcomes of its commands.

mod permissions;
mod state;

pub(crate) use state::{Access, Session, TransferState, User};

use std::time::Instant;

use ftp_proto::{Reply, ReplyCode};

use crate::data::{DataChannel, Encoding, Outgoing};
use crate::pace::for_a_tick;
use crate::storage::{Upload, VirtualPath};

/// The decision of a handler; the loop in `run` carries it out.
pub(crate) enum Outcome {
    /// Send the reply and continue.
    Reply(Reply),
    /// Send the reply and end the session.
    Close(Reply),
    /// Send the reply no earlier than `at`, to slow down password guessing; then end the session if
    /// `closes`.
    Late { reply: Reply, at: Instant, closes: bool },
    /// Send the reply and start TLS, for data connections too if `with_data`.
    Protect { reply: Reply, with_data: bool },
    /// Send the reply, end TLS, and continue in plaintext.
    Unprotect(Reply),
    /// Send 150 or 125, move the data, and send the final reply.
    Transfer(PreparedTransfer, DataChannel),
    /// Do the work, and send the reply that it returns.
    Work(Working),
}

/// Long work that ends in a reply and needs no data connection.
pub(crate) struct Working {
    /// The path of the work, for the log.
    pub(crate) path: VirtualPath,
    pub(crate) work: Box<dyn Work>,
    pub(crate) place: Place,
}

/// The place that long work needs among the processor-bound jobs.
pub(crate) enum Place {
    /// A place for a digest, from its first step.
    Digest,
    /// A place for a search, if the search needs more than one step.
    Search,
}

/// A reply that takes long to compute. The session checks on its client between steps.
pub(crate) trait Work {
    /// Does a short piece of the work. Returns `true` once the work is complete.
    fn advance(&mut self) -> Result<bool, Reply>;

    /// Returns the reply of the complete work.
    fn finish(&mut self) -> Reply;

    /// Returns the number of bytes read or collected so far, for the log.
    fn done(&self) -> u64;
}

impl dyn Work {
    /// Works for a fraction of a second. Returns the reply once the work is complete.
    pub(crate) fn step(&mut self) -> Option<Reply> {
        match for_a_tick(|| self.advance()) {
            Ok(true) => Some(self.finish()),
            Ok(false) => None,
            Err(refusal) => Some(refusal),
        }
    }
}

/// A transfer whose object is open; only slow preparation, if any, and the data connection are
/// missing.
pub(crate) struct PreparedTransfer {
    /// The transferred path, for the log.
    pub(crate) path: VirtualPath,
    /// The text of the 150 reply.
    pub(crate) announcement: Vec<u8>,
    pub(crate) payload: Payload,
    /// Whether the data connection stays open after the transfer.
    pub(crate) stays_open: bool,
}

/// The data of a transfer.
pub(crate) enum Payload {
    /// Data for the client.
    Send(Box<dyn Outgoing>),
    /// Data from the client, and how it is encoded.
    Receive(Box<dyn Upload>, Encoding),
}

impl PreparedTransfer {
    pub(crate) fn send(path: VirtualPath, outgoing: impl Outgoing + 'static) -> Self {
        Self::new(path, Payload::Send(Box::new(outgoing)))
    }

    pub(crate) fn receive(path: VirtualPath, upload: Box<dyn Upload>, encoding: Encoding) -> Self {
        Self::new(path, Payload::Receive(upload, encoding))
    }

    /// Sets the text of the 150 reply.
    pub(crate) fn announce(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.announcement = text.into();
        self
    }

    fn new(path: VirtualPath, payload: Payload) -> Self {
        let announcement = b"Opening data connection".to_vec();
        Self { path, announcement, payload, stays_open: false }
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl<T: Into<Self>> From<Result<T, Reply>> for Outcome {
    /// Sends the refusal of a command. A 421 also ends the session.
    fn from(handled: Result<T, Reply>) -> Self {
        match handled {
            Ok(done) => done.into(),
            Err(refusal) if refusal.code() == ReplyCode::SERVICE_CLOSING => Self::Close(refusal),
            Err(refusal) => Self::Reply(refusal),
        }
    }
}

impl Working {
    pub(crate) fn new(path: VirtualPath, work: impl Work + 'static, place: Place) -> Self {
        Self { path, work: Box::new(work), place }
    }
}

impl From<Working> for Outcome {
    fn from(working: Working) -> Self {
        Self::Work(working)
    }
}
