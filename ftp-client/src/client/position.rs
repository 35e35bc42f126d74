//! Where a session is while it lists directories from inside.
//!
//! Many servers ignore or misread an argument of `LIST` and `NLST`: they split it at blanks, take
//! it for a pattern, or list the current directory. The client therefore enters the directory and
//! lists it without an argument. It stays there until the next command that needs the caller's own
//! current directory, so a walk costs one `CWD` for each directory.

use ftp_proto::{Command, Pathname};

use super::{Client, is_unknown};
use crate::error::{Error, ListingCut};
use crate::trace;

/// The directories of the caller and of the server.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// The caller's current directory, as `PWD` reports it; `None` if it is not known yet.
    home: Option<Vec<u8>>,
    /// The directory that was entered for a listing, as the caller named it; `None` while the
    /// server is in the caller's directory.
    at: Option<Vec<u8>>,
    /// Whether the server reports no current directory, or cannot change it.
    is_fixed: bool,
    /// The directory and fingerprint of the last `LIST` or `NLST`.
    last: Option<(Vec<u8>, u64)>,
}

impl Position {
    /// Forgets the directories, because the caller changes the current directory.
    pub(crate) fn forget(&mut self) {
        (self.home, self.at, self.last) = (None, None, None);
    }

    /// Stops caring where the server is, because the session ends.
    pub(super) fn stay(&mut self) {
        self.at = None;
    }

    /// Returns the absolute path of a directory, if it is known.
    fn absolute(&self, directory: &[u8]) -> Option<Vec<u8>> {
        let home = self.home.as_deref().filter(|home| home.starts_with(b"/"))?;
        match (home, directory) {
            (_, [b'/', ..]) => None,
            ([.., b'/'], _) => Some([home, directory].concat()),
            _ => Some([home, b"/", directory].concat()),
        }
    }

    /// Returns whether a directory may be the caller's current one, under any name.
    fn may_be_home(&self, directory: &[u8]) -> bool {
        let mut names = directory.split(|byte| *byte == b'/');
        names.clone().any(|name| name == b"..")
            || names.all(|name| matches!(name, b"" | b"."))
            || self.home.as_deref() == Some(directory)
    }
}

/// Whether the server lists the directory that the argument of `MLSD` names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum MlsdArgument {
    #[default]
    Unknown,
    Taken,
    /// It lists the current directory: directories are listed from inside.
    Ignored,
}

/// The result of [`Client::go_inside`].
pub(super) enum Inside {
    Entered,
    /// The server refused to enter the directory.
    Refused(Error),
    /// The server reports no current directory, so the way back is unknown.
    Fixed,
}

impl Client {
    /// Enters a directory for a listing. The next call of [`settle`](Self::settle) comes back.
    pub(super) fn go_inside(&mut self, directory: &[u8]) -> Result<Inside, Error> {
        self.stop_abandoned()?;
        if self.position.is_fixed {
            return Ok(Inside::Fixed);
        }
        if self.position.at.as_deref() == Some(directory) {
            return Ok(Inside::Entered);
        }
        let mut at = self.position.at.take();
        let Some(home) = self.home()? else {
            trace::note(format_args!("PWD does not work: directories are listed by their path"));
            self.position.is_fixed = true;
            return Ok(Inside::Fixed);
        };
        let mut target = directory.to_vec();
        if at.is_some() && !directory.starts_with(b"/") {
            if let Some(absolute) = self.position.absolute(directory) {
                target = absolute;
            } else {
                self.position.at = at.take();
                self.come_back()?;
            }
        }
        let (last, moved) = (self.position.last.take(), self.moved);
        let entered = self.enter_to_list(&target);
        self.moved = moved;
        (self.position.home, self.position.at, self.position.last) = (Some(home), at, last);
        match entered {
            Ok(()) => {
                self.position.at = Some(directory.to_vec());
                Ok(Inside::Entered)
            }
            Err(Error::Refused(_, reply)) if is_unknown(&reply) => {
                self.come_back()?;
                self.position.is_fixed = true;
                Ok(Inside::Fixed)
            }
            Err(error @ Error::Refused(..)) => Ok(Inside::Refused(error)),
            Err(error) => Err(error),
        }
    }

    /// Returns the absolute path of a directory, if it is known and differs from `directory`.
    pub(super) fn absolute(&self, directory: &[u8]) -> Option<Vec<u8>> {
        self.position.absolute(directory)
    }

    /// Returns the caller's current directory; `None` if the server does not report it.
    fn home(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.position.home.is_none() {
            self.position.home = self.reported_directory()?;
        }
        Ok(self.position.home.clone())
    }

    /// Asks for the current directory; `None` if the reply has no readable path.
    fn reported_directory(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.order_in_a_form(&Command::Pwd) {
            Ok(reply) => {
                let path = Pathname::parse_quoted(reply.text()).ok();
                Ok(path.map(|path| path.as_bytes().to_vec()))
            }
            Err(Error::Refused(..)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns to the caller's current directory, if a listing has left it.
    ///
    /// # Errors
    ///
    /// If the server refuses, the connection is closed: relative paths would have a different
    /// meaning from now on.
    pub(crate) fn come_back(&mut self) -> Result<(), Error> {
        let (Some(_), Some(home)) = (self.position.at.take(), self.position.home.clone()) else {
            return Ok(());
        };
        let back = Pathname::new(&home).map_err(Error::from);
        back.and_then(|home| self.go_back(home)).inspect_err(|_| self.control.close())
    }

    /// Returns whether the server reports that it is still in the caller's directory, after it has
    /// entered another one.
    pub(super) fn is_still_home(&mut self) -> Result<bool, Error> {
        let here = self.stay_inside(Self::reported_directory)?;
        Ok(here.is_some() && here == self.position.home)
    }

    /// Runs a command in the directory that was entered.
    pub(super) fn stay_inside<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let at = self.position.at.take();
        let result = run(self);
        self.position.at = at;
        result
    }

    /// Checks a listing whose lines have this fingerprint. If it equals the previous listing, of
    /// another directory, the server must report that it is in this one.
    ///
    /// # Errors
    ///
    /// Returns [`Error::ListingCut`] if the server probably listed the other directory again.
    pub(crate) fn check_place(&mut self, directory: &[u8], fingerprint: u64) -> Result<(), Error> {
        let last = self.position.last.as_ref();
        let before = last.filter(|(other, last)| *last == fingerprint && other != directory);
        let is_elsewhere = match before {
            Some(_) if self.position.may_be_home(directory) => false,
            Some(_) if self.position.at.is_some() => self.is_still_home()?,
            // Without `PWD`, only the directory above is suspicious: others can be equal.
            Some((other, _)) => self.position.is_fixed && is_above(other, directory),
            None => false,
        };
        if is_elsewhere {
            return Err(Error::ListingCut(ListingCut::Elsewhere));
        }
        self.position.last = Some((directory.to_vec(), fingerprint));
        Ok(())
    }
}

/// Returns the first name in a path. The listing of the directory in which the path begins shows it.
pub(super) fn first_name(path: &[u8]) -> Option<&[u8]> {
    let mut names = path.split(|byte| *byte == b'/');
    let first = names.find(|name| !matches!(*name, b"" | b"."));
    first.filter(|name| *name != b"..")
}

/// Returns whether `above` is the directory that contains `directory`.
fn is_above(above: &[u8], directory: &[u8]) -> bool {
    let rest = directory.strip_prefix(above).unwrap_or_default();
    let name = if above.is_empty() { rest } else { rest.strip_prefix(b"/").unwrap_or_default() };
    !name.is_empty() && !name.contains(&b'/')
}
