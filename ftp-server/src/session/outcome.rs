//! What a command leads to.

use std::time::Instant;

use ftp_proto::{AsciiDecoder, Reply};

use crate::data::{DataChannel, Outgoing};
use crate::storage::{Upload, VirtualPath};

/// What a handler decided; the loop in `run` carries it out.
pub(crate) enum Outcome {
    /// Send this, and go on.
    Reply(Reply),
    /// Send this, and end the session.
    Close(Reply),
    /// Send this, but not before that time: who guesses passwords has to wait. Then end the session,
    /// if that is said.
    Late { reply: Reply, at: Instant, closes: bool },
    /// Send this, and begin TLS; with data protected too, if that is said.
    Protect { reply: Reply, with_data: bool },
    /// Send this, end TLS, and go on in clear.
    Unprotect(Reply),
    /// Send 150, move data, send the final reply.
    Transfer(PreparedTransfer, DataChannel),
    /// Work, and send what comes of it.
    Work(Working),
}

/// What takes long, and has a reply and no data connection.
pub(crate) struct Working {
    /// What is looked at, for the log.
    pub(crate) path: VirtualPath,
    pub(crate) work: Box<dyn Work>,
}

/// A reply that takes long to make. The session looks after its client in between.
pub(crate) trait Work {
    /// Works on it for a fraction of a second. The reply, once there is one.
    fn step(&mut self) -> Option<Reply>;

    /// How many bytes have been read or gathered so far, for the log.
    fn done(&self) -> u64;

    /// Whether it has its place among the few that may keep a processor busy; otherwise it gets one
    /// when it takes long.
    fn is_placed(&self) -> bool {
        false
    }
}

/// A transfer that may begin: the object is open, only the data connection is missing.
pub(crate) struct PreparedTransfer {
    /// What is transferred, for the log.
    pub(crate) path: VirtualPath,
    /// The text of the 150 reply.
    pub(crate) announcement: Vec<u8>,
    pub(crate) payload: Payload,
}

/// What is moved.
pub(crate) enum Payload {
    /// To the client.
    Send(Box<dyn Outgoing>),
    /// From the client; with a decoder in type ASCII.
    Receive(Box<dyn Upload>, Option<AsciiDecoder>),
}

impl PreparedTransfer {
    pub(crate) fn send(path: VirtualPath, outgoing: impl Outgoing + 'static) -> Self {
        Self::new(path, Payload::Send(Box::new(outgoing)))
    }

    pub(crate) fn receive(
        path: VirtualPath,
        upload: Box<dyn Upload>,
        ascii: Option<AsciiDecoder>,
    ) -> Self {
        Self::new(path, Payload::Receive(upload, ascii))
    }

    /// The same transfer with another text of its 150 reply.
    pub(crate) fn announce(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.announcement = text.into();
        self
    }

    fn new(path: VirtualPath, payload: Payload) -> Self {
        let announcement = b"Opening data connection".to_vec();
        Self { path, announcement, payload }
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl Working {
    pub(crate) fn new(path: VirtualPath, work: impl Work + 'static) -> Self {
        Self { path, work: Box::new(work) }
    }
}

impl From<Working> for Outcome {
    fn from(working: Working) -> Self {
        Self::Work(working)
    }
}
