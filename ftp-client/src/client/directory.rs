//! Changes, creates and removes directories (RFC 959 §4.1.1 and §4.1.3).

use ftp_proto::{Command, Mode, Pathname, Reply, ReplyCode, Severity, Verb};

use super::{Client, is_unknown};
use crate::error::Error;
use crate::trace;
use crate::tree::path::without_slash;

impl Client {
    /// Returns the current directory (`PWD`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Protocol`] for a
    /// reply without a readable pathname.
    pub fn pwd(&mut self) -> Result<Pathname, Error> {
        let reply = self.order_in_a_form(&Command::Pwd)?;
        Pathname::parse_quoted(reply.text()).map_err(|error| self.control.protocol_error(error))
    }

    /// Changes the current directory (`CWD`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Argument`] if
    /// `path` cannot be sent.
    pub fn cwd(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Cwd(self.pathname(path.as_ref())?);
        self.enter(&command)
    }

    /// Changes the current directory. Proves that the reply answers the command, if that is in
    /// doubt.
    fn enter(&mut self, command: &Command) -> Result<(), Error> {
        self.moved = true;
        self.settle()?;
        self.position.forget();
        let entered = self.order_in_a_form(command).map(drop);
        if self.control.is_open() && self.control.is_in_doubt() {
            // An extra reply came before the answer.
            self.get_in_step()?;
        }
        entered
    }

    /// Changes the current directory for a listing. In passive mode, the reply to `EPSV` or `PASV`
    /// then proves that replies are in step, which saves the question before.
    pub(super) fn enter_to_list(&mut self, path: &[u8]) -> Result<(), Error> {
        if self.config.rules.mode == Mode::Active {
            return self.cwd(path);
        }
        let command = Command::Cwd(self.pathname(path)?);
        self.settle()?;
        self.in_a_form(&command).map(drop)
    }

    /// Returns to the directory that [`pwd`](Self::pwd) has reported. Saves the question whether
    /// replies are in step: the next command that needs the answer asks it.
    pub(super) fn go_back(&mut self, here: Pathname) -> Result<(), Error> {
        self.settle()?;
        self.in_a_form(&Command::Cwd(here.clone()))?;
        self.returned_to = self.control.is_in_doubt().then_some(here);
        Ok(())
    }

    /// Changes to the parent of the current directory (`CDUP`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command.
    pub fn cdup(&mut self) -> Result<(), Error> {
        self.enter(&Command::Cdup)
    }

    /// Creates a directory (`MKD`) and returns its absolute pathname, if the reply contains a
    /// readable one.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Argument`] if
    /// `path` cannot be sent.
    pub fn mkdir(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Pathname>, Error> {
        let command = Command::Mkd(self.pathname(path.as_ref())?);
        let reply = self.order_in_a_form(&command)?;
        if self.control.is_in_doubt() && reply.code() == ReplyCode::FILE_ACTION_OKAY {
            // This may be the extra reply of a transfer, unlike a 257.
            return Err(self.control.out_of_step(Some(Verb::Mkd), reply));
        }
        Ok(Pathname::parse_quoted(reply.text()).ok())
    }

    /// Creates the directory at `path`, and its parents that are missing. Returns `false` if the
    /// directory exists already.
    ///
    /// A refused `MKD` does not tell whether the directory exists or its parent is missing. Whether
    /// a directory exists is asked with `MLST` or `CWD`, and never decided by a listing: vsftpd
    /// confirms the listing of a missing directory. A directory that is not proved to exist is
    /// made.
    ///
    /// # Errors
    ///
    /// Returns the refusal for the first directory that is missing in the end, and the errors of
    /// [`mkdir`](Self::mkdir) and [`stat`](Self::stat).
    pub fn make_directories(&mut self, path: impl AsRef<[u8]>) -> Result<bool, Error> {
        let path = without_slash(path.as_ref());
        let refusal = match self.mkdir(path) {
            Ok(_) => return Ok(true),
            Err(error) if is_about_the_directory(&error) => error,
            Err(error) => return Err(error),
        };
        if self.shows_directory(path)? == Some(true) {
            return Ok(false);
        }
        if !refusal.is_no() {
            return Err(refusal);
        }
        let mut first = None;
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let parent = match path.get(..at) {
                None | Some([] | [.., b'/']) => continue,
                Some(parent) => parent,
            };
            match self.mkdir(parent) {
                Ok(_) => {}
                Err(error) if is_about_the_directory(&error) => {
                    // The rest is tried all the same: some servers refuse to show what exists.
                    if first.is_none() && self.shows_directory(parent)? != Some(true) {
                        first = Some(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        match self.mkdir(path) {
            Ok(_) => Ok(true),
            Err(error) if is_about_the_directory(&error) => match self.shows_directory(path)? {
                // Another client created it.
                Some(true) => Ok(true),
                _ if error.is_no() => Err(first.unwrap_or(refusal)),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Removes an empty directory (`RMD`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Argument`] if
    /// `path` cannot be sent.
    pub fn rmdir(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Rmd(self.pathname(path.as_ref())?);
        self.order_in_a_form(&command).map(drop)
    }

    /// Sends a directory command that must end with 2xx. If the server does not know the plain
    /// verb, the client tries the X form, such as `XMKD`, once, and then keeps the form that works.
    pub(super) fn order_in_a_form(&mut self, command: &Command) -> Result<Reply, Error> {
        self.make_ready_for(command.verb())?;
        self.in_a_form(command)
    }

    /// Does the same, whether or not replies are in step.
    pub(super) fn in_a_form(&mut self, command: &Command) -> Result<Reply, Error> {
        let verb = command.verb();
        let plain = command.encode()?;
        let x_form = command.encode_x_form()?;
        let known = self.x_forms.iter().find(|(known, _)| *known == verb).map(|(_, works)| *works);
        let line = if known == Some(true) { &x_form } else { &plain };
        let mut reply = self.control.request_line(verb, line)?;
        if known.is_none() && is_unknown(&reply) {
            trace::note(format_args!("{verb} is unknown to the server: trying X{verb}"));
            let second = self.control.request_line(verb, &x_form)?;
            let works = !is_unknown(&second);
            self.x_forms.push((verb, works));
            if works {
                reply = second;
            }
        }
        match reply.code().severity() {
            Severity::Completion => Ok(reply),
            _ => Err(Error::Refused(verb, reply)),
        }
    }
}

/// Returns whether a refused `MKD` may mean that the directory exists: some servers answer 4yz then.
fn is_about_the_directory(error: &Error) -> bool {
    matches!(error, Error::Refused(_, reply) if reply.code() != ReplyCode::NOT_LOGGED_IN)
}
