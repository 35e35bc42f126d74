//! A worker's connection to a server, taken from the pool of that server.

use ftp_proto::{Fact, Features, Verb};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Recovery};
use crate::pool::{Lent, Pool};

use super::fault::TreeFault;

/// The connection of one worker: none before the first use, and a new one after a loss.
pub(crate) struct Hand<'p> {
    pool: &'p Pool<'p>,
    lent: Option<Box<Lent<'p>>>,
    /// Whether the server needs a doubled byte 0xFF, if that is known.
    doubles: Option<bool>,
    /// The server's features, if transfers use one data connection.
    blocks: Option<Features>,
    pub(crate) shows_modes: bool,
    /// Whether this was asked for on the open connection.
    has_asked: bool,
    /// Whether the open connection has carried out something since it was opened.
    is_proven: bool,
}

impl<'p> Hand<'p> {
    pub(crate) const fn new(pool: &'p Pool<'p>) -> Self {
        let (doubles, blocks) = (None, None);
        let (shows_modes, has_asked, is_proven) = (false, false, false);
        Self { pool, lent: None, doubles, blocks, shows_modes, has_asked, is_proven }
    }

    /// Returns one for another worker, without a connection yet.
    pub(crate) fn another(&self) -> Self {
        Self { blocks: self.blocks.clone(), ..Self::new(self.pool) }
    }

    /// Sets whether the server needs a doubled byte 0xFF, on this connection and on later ones.
    pub(crate) fn set_doubles(&mut self, doubles: Option<bool>) {
        self.doubles = doubles;
        if let (Some(lent), Some(doubles)) = (&mut self.lent, doubles) {
            lent.double_telnet_byte(doubles);
        }
    }

    /// Makes transfers use one data connection from now on, if the server offers mode B and no other
    /// way was asked for.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ask`](Self::ask).
    pub(crate) fn reuse_data(&mut self) -> Result<(), TreeFault> {
        self.blocks = self.ask(|client| {
            let features = client.features()?;
            Ok(client.reuse_data(&features).then_some(features))
        })?;
        Ok(())
    }

    /// Returns a client that is ready for the next command, in the login directory.
    ///
    /// # Errors
    ///
    /// Returns the errors of the pool. Also returns an error if the open connection shows that an
    /// earlier command may have failed, or after too many reconnects.
    pub(crate) fn client(&mut self) -> Result<&mut Client, TreeFault> {
        if let Some(mut lent) = self.lent.take() {
            let ready = lent.make_ready();
            match ready {
                Ok(()) if !lent.has_moved() => {
                    self.is_proven = true;
                    return Ok(&mut *self.lent.insert(lent));
                }
                // Paths are relative to the login directory.
                Ok(()) => self.pool.note_end(&lent.end()),
                Err(error) => {
                    lent.discard();
                    if error.leaves_in_doubt(self.pool.reconnects()) {
                        return Err(error.into());
                    }
                }
            }
        }
        (self.is_proven, self.has_asked) = (false, false);
        self.pool.reopen();
        let mut lent = Box::new(self.pool.try_take().map_err(Error::met)?);
        (lent.tests_flights, lent.names_are_listed) = (true, true);
        if let Some(doubles) = self.doubles {
            lent.double_telnet_byte(doubles);
        }
        if let Some(features) = &self.blocks {
            lent.know_features(features);
            lent.reuse_data(features);
        }
        Ok(&mut *self.lent.insert(lent))
    }

    /// Asks the server something that may be asked twice. If the connection is lost although it has
    /// answered before, asks once more on a new one: some servers close a connection after a number
    /// of commands.
    ///
    /// # Errors
    ///
    /// Returns the failure of the last question, or the errors of [`client`](Self::client).
    pub(crate) fn ask<T>(
        &mut self,
        mut act: impl FnMut(&mut Client) -> Result<T, TreeFault>,
    ) -> Result<T, TreeFault> {
        let mut asked = act(self.current()?);
        if asked.as_ref().is_err_and(|failure| self.replaces(failure)) {
            asked = act(self.current()?);
        }
        self.is_proven = !asked.as_ref().is_err_and(is_loss);
        asked
    }

    /// Returns the open connection, or a new one.
    fn current(&mut self) -> Result<&mut Client, TreeFault> {
        if self.lent.is_none() {
            self.client()?;
        }
        let lent = self.lent.as_deref_mut().expect("a connection is open");
        if self.shows_modes && !std::mem::replace(&mut self.has_asked, true) {
            ask_for_modes(lent)?;
        }
        Ok(lent)
    }

    /// Returns whether an idempotent action is repeated on a new connection without counting as
    /// another attempt: an established connection was lost (it may have been idle for too long), or
    /// its replies were out of step.
    pub(crate) fn replaces(&mut self, failure: &TreeFault) -> bool {
        let replaces = match failure.recovery() {
            Recovery::Reconnect => self.pool.replaces(failure.recovery()),
            _ => self.is_proven && is_loss(failure),
        };
        if replaces {
            self.drop_client();
        }
        replaces
    }

    pub(crate) fn open(&self) -> Option<&Client> {
        self.lent.as_deref().map(|lent| &**lent)
    }

    /// Returns the command whose reply was lost with the connection.
    pub(crate) fn unanswered(&self) -> Option<Verb> {
        self.lent.as_ref().and_then(|lent| lent.control.unanswered())
    }

    /// Returns whether no reply is outstanding on the open connection.
    pub(crate) fn is_settled(&self) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.is_settled())
    }

    /// Closes the connection, which may have failed, without `QUIT`.
    pub(crate) fn drop_client(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.discard();
        }
    }

    pub(crate) fn give_back(&mut self) -> &'p Pool<'p> {
        self.lent = None;
        self.pool
    }

    /// Ends the session after the work: with `QUIT`, also after a cancel, whose running transfer is
    /// aborted. After another failure that ended the run, closing the connection is enough.
    pub(crate) fn end(&mut self, failure: Option<&TreeFault>) {
        let Some(lent) = self.lent.take() else { return };
        match failure.is_none_or(|failure| failure.kind() == ErrorKind::Cancelled) {
            true => self.pool.note_end(&lent.end()),
            false => lent.discard(),
        }
    }
}

/// Asks for permissions in listings, if the server sends them only on request (`OPTS MLST`).
///
/// # Errors
///
/// Returns errors that end the connection.
fn ask_for_modes(client: &mut Client) -> Result<(), TreeFault> {
    // In FEAT, an asterisk follows each fact that the server sends by default.
    if !client.features()?.has_with("MLST", "UNIX.mode") {
        return Ok(());
    }
    let facts = [Fact::Type, Fact::Size, Fact::Modify, Fact::Unique, Fact::UnixMode];
    match client.select_facts(&facts) {
        Ok(_) | Err(Error::Refused { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_loss(failure: &TreeFault) -> bool {
    failure.kind() == ErrorKind::Network
}
