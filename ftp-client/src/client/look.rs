//! What an object on the server is, even if the server does not report that directly.

use ftp_proto::{Entry, EntryKind, Modified, Pathname, Precision, Zone};

use crate::client::Client;
use crate::error::{Error, ListingCut};
use crate::listing::{ListOptions, Listed, ListingForm, MOST_OBJECTS};

impl Client {
    /// Looks up the object at `path`: by `MLST`, else in the listing of its directory, with exact
    /// size and time from `SIZE` and `MDTM`. `form` is the kind of listing; a form other than `Auto`
    /// skips `MLST`. Returns `None` for a missing object, or one that the server hides.
    ///
    /// # Errors
    ///
    /// Returns 4xx and 530 replies, errors of the connection, and an incomplete listing that does
    /// not contain the object.
    pub fn look(
        &mut self,
        path: impl AsRef<[u8]>,
        form: ListingForm,
    ) -> Result<Option<Entry>, Error> {
        let path = path.as_ref();
        if form == ListingForm::Auto
            && self.features()?.has("MLST")
            && let Some(entry) = self.stat(path)?
        {
            return Ok(Some(entry));
        }
        let (directory, name) = Pathname::split(path);
        let mut found = match name {
            b"" | b"." | b".." => None,
            name => in_listing(self, directory, name, form)?,
        };
        let may_be_file = |entry: &Entry| matches!(entry.kind, None | Some(EntryKind::File));
        let is_exact = |entry: &Entry| {
            entry.modified.is_some_and(|modified| modified.precision == Precision::Second)
        };
        if name.is_empty()
            || found.as_ref().is_some_and(|entry| !may_be_file(entry) || is_exact(entry))
        {
            return Ok(found);
        }
        if let Some(size) = self.size(path)? {
            let entry = found.get_or_insert_with(|| Entry::new(name));
            entry.size = Some(size);
            entry.kind = entry.kind.or(Some(EntryKind::File));
        }
        if let Some(entry) = &mut found
            && let Some(time) = self.modified(path)?
        {
            entry.modified = Some(Modified { time, precision: Precision::Second, zone: Zone::Utc });
        }
        Ok(found)
    }

    /// Tests whether `path` is a directory by entering it, then returns to the previous directory if
    /// the server reports it (`PWD`).
    ///
    /// # Errors
    ///
    /// Returns the server's refusal to enter the directory or to return, and errors of the connection.
    pub fn can_enter(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let here = match self.pwd() {
            Err(Error::Refused(..)) => None,
            here => Some(here?),
        };
        self.cwd(path)?;
        here.map_or(Ok(()), |here| self.cwd(here.as_bytes()))
    }

    /// Returns whether `path` is proved to be a directory: by `MLST`, else by entering it, else by the
    /// listing of the directory above. A listing that may be incomplete proves nothing.
    ///
    /// # Errors
    ///
    /// Returns 4xx and 530 replies, and errors of the connection.
    pub fn is_directory(&mut self, path: impl AsRef<[u8]>) -> Result<bool, Error> {
        let path = path.as_ref();
        if let Some(is_directory) = self.shows_directory(path)? {
            return Ok(is_directory);
        }
        match self.look(path, ListingForm::List) {
            Err(Error::ListingCut(_)) => Ok(false),
            found => Ok(found?.is_some_and(|entry| entry.is_dir())),
        }
    }

    /// Returns whether `path` is a directory: by `MLST`, else by entering it, and never by a listing.
    /// Returns `None` if the server answers neither question.
    ///
    /// # Errors
    ///
    /// Returns 4xx and 530 replies, and errors of the connection.
    pub(crate) fn shows_directory(&mut self, path: &[u8]) -> Result<Option<bool>, Error> {
        if self.features()?.has("MLST")
            && let Some(entry) = self.stat(path)?
            && entry.kind.is_some()
            && !entry.is_link()
        {
            return Ok(Some(entry.is_dir()));
        }
        // A link may lead to a directory: entering it shows that.
        self.visits(path)
    }

    /// Returns whether the server enters the directory at `path`, and comes back. Returns `None`,
    /// and does not enter it, if the server does not report the way back (`PWD`).
    pub(crate) fn visits(&mut self, path: &[u8]) -> Result<Option<bool>, Error> {
        let here = match self.pwd() {
            Ok(here) => here,
            Err(Error::Refused(..)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let moved = self.moved;
        match self.cwd(path) {
            Err(error) if error.is_no() => Ok(Some(false)),
            entered => entered.and_then(|()| self.cwd(here.as_bytes())).map(|()| {
                self.moved = moved;
                Some(true)
            }),
        }
    }

    /// Returns whether the server enters the directory at `path`, and comes back. If the server does
    /// not report the way back, closes the connection: relative paths would have another meaning.
    pub(crate) fn enters(&mut self, path: &[u8]) -> Result<bool, Error> {
        if let Some(is_entered) = self.visits(path)? {
            return Ok(is_entered);
        }
        match self.cwd(path) {
            Err(error) if error.is_no() => Ok(false),
            entered => entered.map(|()| {
                self.control.close();
                true
            }),
        }
    }

    /// Returns the error of a listing without any line that can be parsed, which names the server's
    /// system (`SYST`) and the first `line`; or the error of the connection.
    pub fn unreadable_listing(&mut self, line: &[u8]) -> Error {
        let system = match self.system() {
            Err(Error::Refused(..)) => None,
            Err(error) => return error,
            Ok(system) => Some(system),
        };
        Error::UnknownListing { system, line: line.to_vec() }
    }
}

/// Returns a name's entry in the listing of a directory.
fn in_listing(
    client: &mut Client,
    directory: &[u8],
    name: &[u8],
    form: ListingForm,
) -> Result<Option<Entry>, Error> {
    let all = name.first() == Some(&b'.');
    let entries = match client.list_directory(directory, ListOptions { all, form }) {
        Err(error) if error.is_no() => return Ok(None),
        entries => entries?,
    };
    let mut found = None;
    for (number, listed) in entries.enumerate() {
        match listed {
            Ok(_) if number >= MOST_OBJECTS => {
                return found
                    .map_or(Err(Error::ListingCut(ListingCut::TooLong)), |found| Ok(Some(found)));
            }
            Ok(Listed::Entry(entry)) if found.is_none() && entry.name == name => {
                found = Some(entry);
            }
            Ok(_) => {}
            // The listing is incomplete, but contains the object.
            Err(Error::ListingCut(_)) if found.is_some() => return Ok(found),
            // For an empty or missing directory, some servers refuse the listing only at its end.
            Err(error) if error.is_no() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
