//! The connections of one command: one control connection for each server, user and password,
//! since all settings of TLS are those of the command (TL-24).

use std::sync::{Arc, Mutex, PoisonError};

use ftp_client::Client;
use ftp_proto::{FtpUrl, Scheme};

use crate::credentials::{Credentials, Finder};
use crate::exit::Failure;
use crate::options::Options;
use crate::remote::{self, Dialler};
use crate::signals::Cleanup;
use crate::stdio::{Messages, Stdio};

/// Connects and logs in where that is not done yet.
pub(crate) struct Sessions<'a> {
    options: &'a Options,
    dialler: Dialler,
    messages: Messages,
    open: Vec<(Server, Client)>,
    /// Looks for each login once, since it may have to be asked for.
    finder: Arc<Mutex<Finder<'a>>>,
    /// Who logs in where, as far as the command knows.
    known: Arc<Vec<(Server, Credentials)>>,
}

/// What two URLs must have in common to share a connection.
#[derive(Clone, Eq, PartialEq)]
struct Server {
    scheme: Scheme,
    host: String,
    port: u16,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Server {
    fn of(url: &FtpUrl) -> Self {
        Self {
            scheme: url.scheme(),
            host: url.host().to_ascii_lowercase(),
            port: url.port(),
            user: url.user().map(<[u8]>::to_vec),
            password: url.password().map(<[u8]>::to_vec),
        }
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
        let finder = Arc::new(Mutex::new(Finder::new(options, &messages)));
        let known = Arc::default();
        Self { options, dialler, messages, open: Vec::new(), finder, known }
    }

    /// Further connections to the same servers, for another thread. Who logs in is not asked for
    /// again.
    pub(crate) fn another(&self) -> Self {
        let (dialler, messages) = (self.dialler.clone(), self.messages.clone());
        let finder = Arc::clone(&self.finder);
        let known = Arc::clone(&self.known);
        Self { options: self.options, dialler, messages, open: Vec::new(), finder, known }
    }

    /// Says who logs in at the server of `url`, also over the connections of
    /// [`another`](Self::another) that is made later: nobody is looked for then.
    pub(crate) fn log_in_as(&mut self, url: &FtpUrl, credentials: Credentials) {
        Arc::make_mut(&mut self.known).push((Server::of(url), credentials));
    }

    /// A client that is connected to the server of `url`, logged in, and in the directory in which
    /// the login ended, from which the paths of URLs count. One that is there already is used
    /// again, unless the server has gone meanwhile or the directory was changed.
    ///
    /// # Errors
    ///
    /// What the client says; `Login` if there is no password, before anything is sent.
    pub(crate) fn client(&mut self, url: &FtpUrl) -> Result<&mut Client, Failure> {
        let server = Server::of(url);
        let mut kept = None;
        if let Some(at) = self.open.iter().position(|(open, _)| *open == server) {
            let (_, mut client) = self.open.swap_remove(at);
            if client.is_ready() {
                if client.has_moved() {
                    let _ = client.quit();
                } else {
                    kept = Some(client);
                }
            }
        }
        let client = match kept {
            Some(client) => client,
            None => {
                let known = self.known.iter().find(|(known, _)| *known == server);
                let credentials = match known {
                    Some((_, credentials)) => credentials.clone(),
                    // Kept locked while somebody is asked: other threads want the same answer.
                    None => self.finder.lock().unwrap_or_else(PoisonError::into_inner).find(url)?,
                };
                self.dialler.connect_as(&credentials, self.options, url, &self.messages)?
            }
        };
        self.open.push((server, client));
        let (_, client) = self.open.last_mut().expect("it was pushed just now");
        Ok(client)
    }

    /// Whether there is a connection to the server of `url` already.
    pub(crate) fn is_open(&self, url: &FtpUrl) -> bool {
        let server = Server::of(url);
        self.open.iter().any(|(open, _)| *open == server)
    }

    /// Closes the connection to the server of `url` without a word: it failed.
    pub(crate) fn drop_client(&mut self, url: &FtpUrl) {
        let server = Server::of(url);
        self.open.retain(|(open, _)| *open != server);
    }

    /// Says good-bye to all servers behind what was done, as [`remote::part`].
    pub(crate) fn part(self, failure: Option<&Failure>) {
        for (_, client) in self.open {
            remote::part(client, failure);
        }
    }
}
