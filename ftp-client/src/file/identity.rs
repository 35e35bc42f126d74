//! Which file of which server a job is about: one identity for the journal of an upload, the record
//! of a download and the journal of a move.

use sha2::{Digest as _, Sha256};

use crate::client::Client;
use crate::control::login::Login;
use crate::error::Error;
use crate::url_path::Place;

/// A file of a server, for one user: the same path can lead another user to another file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ServerFile {
    /// The server as dialled, in lower case, and the user.
    pub(super) login: Login,
    /// The path, from the login directory or from the root.
    pub(super) path: Vec<u8>,
}

impl ServerFile {
    /// Returns the file at `place`; `None` if the session has no login. A relative path after `CWD`
    /// leads to another file than after the login, so the current directory is asked for (`PWD`): if
    /// the server refuses to tell it, the file is unknown, too.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::pwd`], except refusals.
    pub(super) fn ask(client: &mut Client, place: &Place) -> Result<Option<Self>, Error> {
        let Some(mut login) = client.identity().cloned() else { return Ok(None) };
        login.host.make_ascii_lowercase();
        let whole = place.whole();
        let is_known = whole.starts_with(b"/") || !client.has_moved() || place.is_entered();
        if is_known {
            return Ok(Some(Self { login, path: whole }));
        }
        match client.pwd() {
            Ok(directory) => {
                let path = [directory.as_bytes(), b"/", &whole].concat();
                Ok(Some(Self { login, path }))
            }
            Err(Error::Refused { .. } | Error::Protocol(_)) if client.is_settled() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a digest of the file's identity, after that of `before`.
    pub(super) fn sum(&self, before: &[&[u8]]) -> [u8; 32] {
        let Login { host, port, user, .. } = &self.login;
        let own: [&[u8]; 4] = [host.as_bytes(), &port.to_be_bytes(), user, &self.path];
        let mut sum = Sha256::new();
        for part in before.iter().copied().chain(own) {
            sum.update((part.len() as u64).to_be_bytes());
            sum.update(part);
        }
        sum.finalize().into()
    }
}
