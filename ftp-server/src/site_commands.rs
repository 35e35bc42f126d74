//! What an embedder adds to `SITE` (RFC 959 §4.1.3).

use std::net::SocketAddr;

use ftp_proto::{Escaped, Reply};

use crate::auth::Rights;

/// A `SITE` command that the server does not know, by a user who is logged in.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SiteRequest<'a> {
    /// The word after `SITE`, byte for byte; letters of either case are the same by custom.
    pub word: &'a [u8],
    /// What follows the word and a space, byte for byte; may be empty.
    pub argument: &'a [u8],
    /// The argument of `USER`, byte for byte.
    pub user: &'a [u8],
    /// What the user may do. The server has checked none of it for this command.
    pub rights: Rights,
    /// Where the control connection comes from.
    pub peer: SocketAddr,
}

impl std::fmt::Debug for SiteRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Some servers change passwords by `SITE PSWD`.
        write!(
            f,
            "SiteRequest({} of {} from {})",
            Escaped(self.word),
            Escaped(self.user),
            self.peer
        )
    }
}

/// Serves `SITE` commands of the embedder; a closure can.
///
/// It is called on the thread of the session, which waits for it and may be confined to the files
/// of its user.
pub trait SiteCommands: Send + Sync {
    /// Answers a command: with one final reply, that is 2yz, 4yz or 5yz. `None` for a word that it
    /// does not know: the client gets 504.
    fn serve(&self, request: &SiteRequest<'_>) -> Option<Reply>;
}

impl<F: Fn(&SiteRequest<'_>) -> Option<Reply> + Send + Sync> SiteCommands for F {
    fn serve(&self, request: &SiteRequest<'_>) -> Option<Reply> {
        self(request)
    }
}
