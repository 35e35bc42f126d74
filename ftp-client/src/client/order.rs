//! Sending commands so that each reply answers its own: what was dropped early ends first, and a code
//! that proves nothing is believed only once another reply has shown that they are in step.

use ftp_proto::{Command, Pathname, Reply, Verb};

use super::Client;
use crate::error::{Error, accepted, is_unknown};

impl Client {
    /// Aborts a transfer that was dropped early, and returns to the caller's current directory.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.stop_abandoned()?;
        self.come_back()
    }

    pub(super) fn stop_abandoned(&mut self) -> Result<(), Error> {
        self.control.check()?;
        let data = self.abandoned.take();
        match self.control.outstanding() {
            Some(verb) if verb.uses_data() || self.plan.is_requested() => self.stop_transfer(data),
            // The command was cancelled before its reply arrived. `ABOR` stops only transfers, so
            // the connection must be closed.
            Some(_) => {
                self.control.close();
                Err(Error::Closed)
            }
            None => Ok(()),
        }
    }

    /// Aborts a transfer that was dropped early. If the success of `verb` proves nothing by its
    /// code, also makes sure that the next reply answers the next command.
    pub(super) fn make_ready_for(&mut self, verb: Verb) -> Result<(), Error> {
        self.settle()?;
        if self.control.needs_proof(verb) { self.get_in_step() } else { Ok(()) }
    }

    /// Makes sure, after a transfer or an extra reply, that the next reply answers the next
    /// command: asks for the current directory (`PWD`), or for the system (`SYST`) if the server
    /// keeps that to itself. A 257 or 215 cannot be the late answer to another command. Fails if
    /// the server sends neither; the connection is then closed.
    pub(crate) fn get_in_step(&mut self) -> Result<(), Error> {
        let reply = match self.in_a_form(&Command::Pwd) {
            // The server knows neither PWD nor XPWD. No transfer ends with such a reply.
            Err(Error::Refused { reply, .. }) if is_unknown(&reply) => {
                self.control.trust_replies();
                return Ok(());
            }
            Err(Error::Refused { .. }) => self.control.request(&Command::Syst)?,
            answer => answer?,
        };
        if self.control.is_in_doubt() {
            return Err(self.control.out_of_step(Some(Verb::Pwd), reply));
        }
        self.check_directory(&reply)
    }

    /// Fails if the reply to `PWD` shows another directory than the one that the last `CWD` led back
    /// to.
    pub(super) fn check_directory(&mut self, reply: &Reply) -> Result<(), Error> {
        let here = self.returned_to.take();
        match here.zip(Pathname::parse_quoted(reply.text()).ok()) {
            Some((here, shown)) if here != shown => {
                Err(self.control.out_of_step(Some(Verb::Cwd), reply.clone()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn request(&mut self, command: &Command) -> Result<Reply, Error> {
        if let Some(reply) = self.reply_ahead(command)? {
            return Ok(reply);
        }
        self.settle()?;
        self.exchange(command, |client, command| client.control.request(command))
    }

    pub(super) fn order(&mut self, command: &Command) -> Result<Reply, Error> {
        self.make_ready_for(command.verb())?;
        let reply = self.exchange(command, |client, command| client.control.request(command))?;
        accepted(command.verb(), reply)
    }
}
