//! The embedder's `SITE` commands (RFC 959 §4.1.3).

use std::net::SocketAddr;

use ftp_proto::{Escaped, Reply};

use crate::auth::Rights;

/// A logged-in user's `SITE` command that the server does not handle itself.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SiteRequest<'a> {
    /// The word after `SITE`, byte for byte. By convention, its case does not matter.
    pub word: &'a [u8],
    /// The text after the word and a space, byte for byte; may be empty.
    pub argument: &'a [u8],
    /// The argument of `USER`, byte for byte.
    pub user: &'a [u8],
    /// Rights of the user, except in [`Login::directories`](crate::Login::directories). The server
    /// has not checked any right for this command.
    pub rights: Rights,
    /// The client's address on the control connection.
    pub peer: SocketAddr,
}

impl std::fmt::Debug for SiteRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The argument is not shown, because it may be a password, as in `SITE PSWD`.
        write!(
            f,
            "SiteRequest({} of {} from {})",
            Escaped(self.word),
            Escaped(self.user),
            self.peer
        )
    }
}

/// A handler of the embedder's `SITE` commands. A closure can implement this trait.
///
/// The session's thread calls the handler and waits for its answer. The thread may be confined to
/// the user's files, and then the handler cannot open any others.
///
/// The server handles the words `HELP` and `CHMOD` itself. It handles `QUOTA` itself if the user's
/// storage has [`Capabilities::QUOTA`](crate::Capabilities::QUOTA), even if the user has no quota.
pub trait SiteCommands: Send + Sync {
    /// Answers a command with one final reply: 2yz, 4yz or 5yz. For a 1yz or 3yz, the client gets
    /// 451 instead. `None` means that the word is unknown: the client gets 504.
    fn serve(&self, request: &SiteRequest<'_>) -> Option<Reply>;
}

impl<F: Fn(&SiteRequest<'_>) -> Option<Reply> + Send + Sync> SiteCommands for F {
    fn serve(&self, request: &SiteRequest<'_>) -> Option<Reply> {
        self(request)
    }
}
