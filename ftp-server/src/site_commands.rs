//! The embedder's `SITE` commands (RFC 959 §4.1.3).

use std::net::SocketAddr;

use ftp_proto::{Escaped, Reply};

use crate::auth::Rights;

/// A `SITE` command of a logged-in user that the server does not know.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SiteRequest<'a> {
    /// The word after `SITE`, byte for byte; by convention, case does not matter.
    pub word: &'a [u8],
    /// The text after the word and a space, byte for byte; may be empty.
    pub argument: &'a [u8],
    /// The argument of `USER`, byte for byte.
    pub user: &'a [u8],
    /// Rights of the user. The server has checked none of them for this command.
    pub rights: Rights,
    /// The client's address on the control connection.
    pub peer: SocketAddr,
}

impl std::fmt::Debug for SiteRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Some servers change passwords with `SITE PSWD`.
        write!(
            f,
            "SiteRequest({} of {} from {})",
            Escaped(self.word),
            Escaped(self.user),
            self.peer
        )
    }
}

/// Handles the embedder's `SITE` commands; a closure can implement it.
///
/// The session's thread calls the handler and waits. The thread may be confined to the user's
/// files.
///
/// The server handles some words itself: `HELP`, `CHMOD`, and `QUOTA` if the user's storage has
/// [`Capabilities::QUOTA`](crate::Capabilities::QUOTA), even without a quota.
pub trait SiteCommands: Send + Sync {
    /// Answers a command with one final reply: 2yz, 4yz or 5yz. `None` means an unknown word: the
    /// client gets 504.
    fn serve(&self, request: &SiteRequest<'_>) -> Option<Reply>;
}

impl<F: Fn(&SiteRequest<'_>) -> Option<Reply> + Send + Sync> SiteCommands for F {
    fn serve(&self, request: &SiteRequest<'_>) -> Option<Reply> {
        self(request)
    }
}
