//! The connections of one command: one control connection for each server, user and password,
//! since all settings of TLS are those of the command.

use std::sync::{Arc, Mutex};

use ftp_client::Client;
use ftp_proto::{FtpUrl, Scheme};

use super::credentials::{Credentials, Finder};
use super::dialler::{self, Dialler};
use crate::console::messages::Messages;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::lock::lock;
use crate::options::Options;

/// Connects and logs in where that is not done yet.
pub(crate) struct Sessions<'a> {
    options: &'a Options,
    dialler: Arc<Dialler>,
    messages: Messages,
    open: Vec<(ServerKey, Client)>,
    /// Looks for each login once, since it may have to be asked for.
    finder: Arc<Mutex<Finder<'a>>>,
    /// Who logs in where, as far as the command knows.
    known: Arc<Vec<(ServerKey, Credentials)>>,
}

/// What two URLs must have in common to share a connection.
#[derive(Clone)]
struct ServerKey {
    scheme: Scheme,
    host: String,
    port: u16,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl ServerKey {
    fn of(url: &FtpUrl) -> Self {
        Self {
            scheme: url.scheme(),
            host: url.host().to_owned(),
            port: url.port(),
            user: url.user().map(<[u8]>::to_vec),
            password: url.password().map(<[u8]>::to_vec),
        }
    }

    /// Whether a URL is about it.
    fn is_of(&self, url: &FtpUrl) -> bool {
        self.scheme == url.scheme()
            && self.host.eq_ignore_ascii_case(url.host())
            && self.port == url.port()
            && self.user.as_deref() == url.user()
            && self.password.as_deref() == url.password()
    }
}

impl<'a> Sessions<'a> {
    /// Reads how to connect from the options; nothing is sent yet. A signal cancels what is
    /// connected here.
    ///
    /// # Errors
    ///
    /// `Usage`: a value of an option that is none.
    pub(crate) fn new(
        options: &'a Options,
        stdio: &Stdio,
        cleanup: &Cleanup,
    ) -> Result<Self, Failure> {
        let dialler = Dialler::from_options(options)?.stopped_by(cleanup);
        Ok(Self::with(options, dialler, stdio.messages.clone()))
    }

    /// The same, with what has been read from the options before.
    pub(crate) fn with(options: &'a Options, dialler: Dialler, messages: Messages) -> Self {
        let dialler = Arc::new(dialler);
        let finder = Arc::new(Mutex::new(Finder::new(options, &messages)));
        let known = Arc::default();
        Self { options, dialler, messages, open: Vec::new(), finder, known }
    }

    /// Further connections to the same servers, for another thread. Who logs in is not asked for
    /// again.
    pub(crate) fn another(&self) -> Self {
        let dialler = Arc::clone(&self.dialler);
        let messages = self.messages.clone();
        let finder = Arc::clone(&self.finder);
        let known = Arc::clone(&self.known);
        Self { options: self.options, dialler, messages, open: Vec::new(), finder, known }
    }

    /// Says who logs in at the server of `url`, also over the connections of
    /// [`another`](Self::another) that is made later: nobody is looked for then.
    pub(crate) fn log_in_as(&mut self, url: &FtpUrl, credentials: Credentials) {
        Arc::make_mut(&mut self.known).push((ServerKey::of(url), credentials));
    }

    /// A client that is connected to the server of `url`, logged in, and in the directory in which
    /// the login ended, from which the paths of URLs count. One that is there already is used
    /// again, unless the server has gone meanwhile or the directory was changed.
    ///
    /// # Errors
    ///
    /// What the client says; `Login` if there is no password, before anything is sent.
    pub(crate) fn client(&mut self, url: &FtpUrl) -> Result<&mut Client, Failure> {
        let has_moved = |(open, client): &mut (ServerKey, Client)| {
            open.is_of(url) && client.is_ready() && client.has_moved()
        };
        if let Some(at) = self.open.iter_mut().position(has_moved) {
            let (_, client) = self.open.swap_remove(at);
            let _ = client.quit();
        }
        self.client_as_it_is(url).map(|(client, _)| client)
    }

    /// The same, in whatever directory it is. Tells whether the connection is a new one, in which
    /// no directory was entered.
    ///
    /// # Errors
    ///
    /// As [`client`](Self::client).
    pub(crate) fn client_as_it_is(&mut self, url: &FtpUrl) -> Result<(&mut Client, bool), Failure> {
        let is_dead =
            |(open, client): &mut (ServerKey, Client)| open.is_of(url) && !client.is_ready();
        if let Some(at) = self.open.iter_mut().position(is_dead) {
            self.open.swap_remove(at);
        }
        let found = self.open.iter().position(|(open, _)| open.is_of(url));
        let at = match found {
            Some(at) => at,
            None => {
                let known = self.known.iter().find(|(known, _)| known.is_of(url));
                let credentials = match known {
                    Some((_, credentials)) => credentials.clone(),
                    // Kept locked while somebody is asked: other threads want the same answer.
                    None => lock(&self.finder).find(url)?,
                };
                let options = self.options;
                let messages = &self.messages;
                let client = self.dialler.connect_as(&credentials, options, url, messages)?;
                self.open.push((ServerKey::of(url), client));
                self.open.len() - 1
            }
        };
        let (_, client) = self.open.get_mut(at).expect("it was found or pushed there");
        Ok((client, found.is_none()))
    }

    /// Whether there is a connection to the server of `url` already.
    pub(crate) fn is_open(&self, url: &FtpUrl) -> bool {
        self.open.iter().any(|(open, _)| open.is_of(url))
    }

    /// Closes the connection to the server of `url` without a word: it failed. Behind a signal it
    /// stays, for what [`quit`](Self::quit) has to say.
    pub(crate) fn drop_client(&mut self, url: &FtpUrl) {
        self.open.retain(|(open, _)| !open.is_of(url));
    }

    /// Says good-bye to all servers after the work, as [`dialler::quit`].
    pub(crate) fn quit(self, failure: Option<&Failure>) {
        for (_, client) in self.open {
            dialler::quit(client, failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_for_one_server_user_and_way_of_tls_tl_24_ht_22() {
        let url = |text: &str| FtpUrl::parse(text.as_bytes()).unwrap();
        for (one, other, is_same) in [
            ("ftpes://u@h/a", "ftpes://u@H:21/b", true),
            ("ftps://h/a", "ftps://h:990/b", true),
            ("ftpes://h/a", "ftp://h/a", false),
            ("ftpes://h:990/a", "ftps://h/a", false),
            ("ftpes://u@h/a", "ftpes://v@h/a", false),
            ("ftpes://u:p@h/a", "ftpes://u:q@h/a", false),
            ("ftpes://h/a", "ftpes://h:2121/a", false),
            ("ftpes://h/a", "ftpes://h.example/a", false),
        ] {
            assert_eq!(ServerKey::of(&url(one)).is_of(&url(other)), is_same, "{one} {other}");
        }
    }
}
