//! The remote side of a mirror.

use ftp_client::{Client, Error, FtpUrl, TimeVal};

use super::super::names::{Names, is_text};
use super::super::plan::{Removal, Removed};
use crate::connect::sessions::Sessions;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::links::{NO_DIRECTORY, NOT_EMPTY, Proof, says};
use crate::remote::path::join;
use crate::transfer::options::Verify;
use crate::transfer::verify;

/// A tree on a server, and the connection to it.
pub(crate) struct Far<'a> {
    pub(crate) sessions: Sessions<'a>,
    pub(crate) url: &'a FtpUrl,
    pub(crate) top: &'a [u8],
    /// Whether the server can set modification times.
    pub(crate) takes_times: bool,
    /// How the server stores names that are not UTF-8.
    pub(crate) names: Names,
}

impl Far<'_> {
    /// Returns the connection to the server.
    pub(super) fn client(&mut self) -> Result<&mut Client, Failure> {
        let client = self.sessions.client(self.url)?;
        if let Names::Kept { doubles: Some(doubles) } = self.names {
            client.double_telnet_byte(doubles);
        }
        Ok(client)
    }

    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        self.client().map(drop)
    }

    pub(super) fn disconnect(&mut self) {
        self.sessions.drop_client(self.url);
    }

    /// Rejects a name that the server would change.
    pub(super) fn check(&self, path: &[u8]) -> Result<(), Failure> {
        if self.names != Names::Changed || is_text(path) {
            return Ok(());
        }
        let why = "the server changes names that are not UTF-8";
        Err(Failure::item(Exit::Refused, format!("{}: {why}", shown(path))))
    }

    pub(super) fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.check(path)?;
        let path = join(self.top, path);
        let made = self.client()?.mkdir(&path);
        made.map(drop).map_err(|error| about(&path, &error))
    }

    pub(super) fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        let path = join(self.top, &removal.path);
        let client = self.client()?;
        let gone = match removal.what {
            Removed::Directory => client.rmdir(&path),
            Removed::Entry => client.delete(&path),
            Removed::Below { proof } => return self.look_before(&path, proof),
        };
        gone.map(|()| true).map_err(|error| about(&path, &error))
    }

    /// Ensures that a listed directory is not a link to one; returns whether it is gone. If `DELE`
    /// is the system's unlink, it removes a link but not a directory. `RMD` removes an empty
    /// directory, and many servers reply to it that a link is not a directory. If listings prove
    /// nothing, the server must say that the directory is not empty.
    fn look_before(&mut self, path: &[u8], proof: Proof) -> Result<bool, Failure> {
        let client = self.client()?;
        match client.delete(path) {
            Err(Error::Refused(..)) => {}
            gone => return gone.map(|()| true).map_err(|error| about(path, &error)),
        }
        match client.rmdir(path) {
            Err(error @ Error::Refused(..)) => {
                if says(&error, NO_DIRECTORY)
                    || !(proof == Proof::Directory || says(&error, NOT_EMPTY))
                {
                    let message = format!("{}: kept: it may be a symbolic link", shown(path));
                    return Err(Failure::item(Exit::Refused, message));
                }
                Ok(false)
            }
            gone => gone.map(|()| true).map_err(|error| about(path, &error)),
        }
    }

    /// Sets the modification time of a copy.
    pub(super) fn set_time(&mut self, path: &[u8], seconds: Option<i64>) -> Result<(), Failure> {
        let time = seconds.and_then(TimeVal::from_unix_seconds).filter(|_| self.takes_times);
        let Some(time) = time else { return Ok(()) };
        let set = self.client()?.set_modified(path, time);
        set.map(drop).map_err(|error| {
            let failure = about(path, &error);
            let message =
                format!("{}; copied, but with another modification time", failure.message);
            Failure { message, ..failure }
        })
    }
}

/// Returns the failure of a command about `path`.
pub(super) fn about(path: &[u8], error: &Error) -> Failure {
    Failure::from(error).context(shown(path))
}

/// Verifies that the server's file has all its bytes, by the rule of `get` and `put`: a 226 alone
/// does not prove it.
pub(super) fn prove(client: &mut Client, path: &[u8], bytes: u64) -> Result<(), Failure> {
    let proved = verify::check_size(client, path, bytes, Verify::BestEffort);
    proved.map(drop).map_err(|failure| failure.context(shown(path)))
}

/// Returns the modification time of a remote file in seconds since 1970-01-01T00:00:00Z, if the
/// server reports it.
pub(super) fn modified(client: &mut Client, path: &[u8]) -> Result<Option<i64>, Failure> {
    match client.modified(path) {
        Ok(time) => Ok(time.map(|time| time.unix_seconds())),
        Err(Error::Refused(..)) => Ok(None),
        Err(error) => Err(about(path, &error)),
    }
}
