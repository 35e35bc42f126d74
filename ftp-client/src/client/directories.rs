//! Directories of the server: changing, creating and removing them (RFC 959 §4.1.1 and §4.1.3), and
//! where a session is while it lists directories from inside.
//!
//! Many servers ignore or misread an argument of `LIST` and `NLST`: they split it at blanks, take
//! it for a pattern, or list the current directory. The client therefore enters the directory and
//! lists it without an argument. It stays there until the next command that needs the caller's own
//! current directory, so a walk costs one `CWD` for each directory.

use ftp_proto::{Command, Mode, Pathname, Reply, ReplyCode, Verb};

use super::Client;
use crate::error::{Error, ListingCut, accepted, is_unknown};
use crate::trace;

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

    /// Returns the names from the server's root to an object. Returns `None` if the path is relative
    /// and the server does not report the current directory.
    pub(crate) fn names_from_root(&mut self, path: &[u8]) -> Option<Vec<Vec<u8>>> {
        let directory = match path.starts_with(b"/") {
            true => Vec::new(),
            false => self.reported_directory().ok()??,
        };
        Some(names_below(&directory, path))
    }

    /// Changes the current directory (`CWD`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Argument`] if
    /// `path` cannot be sent. Returns [`Error::Unsupported`] for a name with the byte 0xFF if it is not
    /// known how the server reads that: later commands would act in another directory.
    pub fn cwd(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let command = Command::Cwd(self.pathname_to_change(path.as_ref())?);
        self.enter(&command)
    }

    /// Changes the current directory for a question, after which the client returns or closes the
    /// connection.
    pub(super) fn visit(&mut self, path: &[u8]) -> Result<(), Error> {
        let command = Command::Cwd(self.pathname(path)?);
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
    fn enter_to_list(&mut self, path: &[u8]) -> Result<(), Error> {
        if self.config.rules.mode == Mode::Active {
            return self.visit(path);
        }
        let command = Command::Cwd(self.pathname(path)?);
        self.settle()?;
        self.in_a_form(&command).map(drop)
    }

    /// Enters the directories of a path one by one. If one is refused, returns to `home`.
    fn enter_by_parts(&mut self, path: &[u8], home: &[u8]) -> Result<(), Error> {
        let root = path.starts_with(b"/").then_some(&b"/"[..]);
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let mut entered = Vec::new();
        for part in root.into_iter().chain(parts) {
            let command = Command::Cwd(self.pathname(part)?);
            if let Err(error) = self.in_a_form(&command) {
                let back = Command::Cwd(self.pathname(home)?);
                let back = self.in_a_form(&back).map(drop);
                back.or_else(|refusal| self.climb(refusal, &entered, home))
                    .inspect_err(|_| self.control.close())?;
                return Err(error);
            }
            entered = Pathname::join(&entered, part);
        }
        Ok(())
    }

    /// Goes up from the directory `from` to `home`, whose path a server that takes only names has
    /// refused. Only `PWD` proves that it is there: a link may have led elsewhere.
    ///
    /// # Errors
    ///
    /// Returns the refusal, and the errors of the commands.
    fn climb(&mut self, refusal: Error, from: &[u8], home: &[u8]) -> Result<(), Error> {
        if !matches!(&refusal, Error::Refused { reply, .. } if self.may_need_names(reply.code())) {
            return Err(refusal);
        }
        let below = from.strip_prefix(home).unwrap_or(from);
        for _ in below.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            self.in_a_form(&Command::Cdup)?;
        }
        match self.reported_directory()?.as_deref() == Some(home) {
            true => Ok(()),
            false => Err(refusal),
        }
    }

    /// Returns to the directory that [`pwd`](Self::pwd) has reported. Saves the question whether
    /// replies are in step: the next command that needs the answer asks it.
    fn go_back(&mut self, here: Pathname) -> Result<(), Error> {
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
        let command = Command::Mkd(self.pathname_to_change(path.as_ref())?);
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
    /// A refused `MKD` does not tell whether the directory exists or its parent is missing, so the
    /// client tries the parents, beginning with the last one: the first that can be made proves that
    /// all below it were missing. Whether a directory exists is asked with `MLST` or `CWD`, and never
    /// decided by a listing: vsftpd confirms the listing of a missing directory.
    ///
    /// # Errors
    ///
    /// Returns the refusal for the first directory that is missing in the end, and the errors of
    /// [`mkdir`](Self::mkdir) and [`stat`](Self::stat).
    pub fn make_directories(&mut self, path: impl AsRef<[u8]>) -> Result<bool, Error> {
        let path = Pathname::without_slash(path.as_ref());
        let Some(refusal) = self.refusal_to_make(path)? else { return Ok(true) };
        let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        let parents = slashes.filter_map(|(at, _)| path.get(..at));
        let parents: Vec<&[u8]> =
            parents.filter(|parent| !matches!(parent, [] | [.., b'/'])).collect();
        if parents.is_empty() || !refusal.is_no() {
            let is_there = self.shows_directory(path)? == Some(true);
            return if is_there { Ok(false) } else { Err(refusal) };
        }
        let mut refused = Vec::new();
        let mut made = None;
        for (at, parent) in parents.iter().enumerate() {
            let Some(error) = self.refusal_to_make(parent)? else {
                made = Some(at);
                break;
            };
            if at == 0 && self.shows_directory(path)? == Some(true) {
                return Ok(false);
            }
            refused.push((*parent, error));
        }
        let Some(made) = made else {
            for (parent, error) in refused.into_iter().rev() {
                if self.shows_directory(parent)? != Some(true) {
                    return Err(error);
                }
            }
            return Err(refusal);
        };
        let mut first = None;
        for parent in parents.iter().take(made).rev() {
            // The rest is tried all the same: another client may have created it.
            first = first.or(self.refusal_to_make(parent)?);
        }
        match self.refusal_to_make(path)? {
            None => Ok(true),
            Some(_) if self.shows_directory(path)? == Some(true) => Ok(true),
            Some(error) => Err(first.unwrap_or(error)),
        }
    }

    /// Makes a directory. Returns the refusal if it may mean that the directory exists.
    fn refusal_to_make(&mut self, path: &[u8]) -> Result<Option<Error>, Error> {
        match self.mkdir(path) {
            Ok(_) => Ok(None),
            Err(error) if is_about_the_directory(&error) => Ok(Some(error)),
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
        let command = Command::Rmd(self.pathname_to_change(path.as_ref())?);
        self.order_in_a_form(&command).map(drop)
    }

    /// Sends a directory command that must end with 2xx. If the server does not know the plain
    /// verb, the client tries the X form, such as `XMKD`, once, and then keeps the form that works.
    pub(super) fn order_in_a_form(&mut self, command: &Command) -> Result<Reply, Error> {
        self.make_ready_for(command.verb())?;
        let reply = self.exchange(command, |client, command| match client.in_a_form(command) {
            Err(Error::Refused { reply, .. }) => Ok(reply),
            done => done,
        })?;
        accepted(command.verb(), reply)
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
        accepted(verb, reply)
    }
}

/// Returns the names on the way from where `directory` begins to the object at `path` in it. They begin with
/// `..` if that way leads out of where it begins, unless this is the root.
pub(crate) fn names_below(directory: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    let is_slash = |byte: &u8| *byte == b'/';
    let is_rooted = directory.iter().chain(path).next().is_some_and(is_slash);
    let mut names: Vec<Vec<u8>> = Vec::new();
    for name in directory.split(is_slash).chain(path.split(is_slash)) {
        match name {
            b"" | b"." => {}
            b".." if names.pop_if(|last| last != b"..").is_some() || is_rooted => {}
            name => names.push(name.to_vec()),
        }
    }
    names
}

/// Returns whether a refused `MKD` may mean that the directory exists: some servers answer 4yz then.
fn is_about_the_directory(error: &Error) -> bool {
    matches!(error, Error::Refused { .. }) && !error.is_not_logged_in()
}

/// The directories of the caller and of the server.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// The caller's current directory, as `PWD` reports it; `None` if it is not known yet.
    home: Option<Vec<u8>>,
    /// The directory that was entered for a listing, as the caller named it; `None` while the
    /// server is in the caller's directory.
    pub(super) at: Option<Vec<u8>>,
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

pub(super) enum Inside {
    Entered,
    Refused(Error),
    /// The server reports no current directory, so the way back is unknown.
    Fixed,
}

impl Client {
    /// Enters a directory for a listing. The next call of [`settle`](Self::settle) comes back.
    pub(super) fn go_inside(&mut self, directory: &[u8]) -> Result<Inside, Error> {
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
        let mut entered = self.enter_to_list(&target);
        if let Err(Error::Refused { reply, .. }) = &entered
            && target.iter().skip(1).any(|byte| *byte == b'/')
            && self.may_need_names(reply.code())
        {
            if at.is_some() {
                (self.position.home, self.position.at) = (Some(home.clone()), at.take());
                self.come_back()?;
            }
            entered = self.enter_by_parts(directory, &home);
        }
        self.moved = moved;
        (self.position.home, self.position.at, self.position.last) = (Some(home), at, last);
        match entered {
            Ok(()) => {
                self.position.at = Some(directory.to_vec());
                Ok(Inside::Entered)
            }
            Err(Error::Refused { reply, .. }) if is_unknown(&reply) => {
                self.come_back()?;
                self.position.is_fixed = true;
                Ok(Inside::Fixed)
            }
            Err(error @ Error::Refused { .. }) => Ok(Inside::Refused(error)),
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
    pub(crate) fn reported_directory(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.order_in_a_form(&Command::Pwd) {
            Ok(reply) => {
                let path = Pathname::parse_quoted(reply.text()).ok();
                Ok(path.map(|path| path.as_bytes().to_vec()))
            }
            Err(Error::Refused { .. }) => Ok(None),
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
        let (Some(at), Some(home)) = (self.position.at.take(), self.position.home.clone()) else {
            return Ok(());
        };
        let back = Pathname::new(&home).map_err(Error::from).and_then(|home| self.go_back(home));
        back.or_else(|refusal| self.climb(refusal, &at, &home))
            .inspect_err(|_| self.control.close())
    }

    /// Returns whether the server reports that it is still in the caller's directory, after it has
    /// entered another one.
    pub(super) fn is_still_home(&mut self) -> Result<bool, Error> {
        let here = self.stay_inside(Self::reported_directory)?;
        Ok(here.is_some() && here == self.position.home)
    }

    pub(super) const fn is_inside(&self) -> bool {
        self.position.at.is_some()
    }

    /// Runs a command in the directory that was entered.
    pub(crate) fn stay_inside<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
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

fn is_above(above: &[u8], directory: &[u8]) -> bool {
    let (parent, name) = Pathname::split(directory);
    !name.is_empty() && parent == Pathname::without_slash(above)
}

#[cfg(test)]
mod tests {
    use super::is_above;

    #[test]
    fn a_directory_is_above_its_own_entries_only() {
        for (above, directory, want) in [
            ("", "a", true),
            ("", "a/b", false),
            ("", "", false),
            ("a", "a/b", true),
            ("a", "ab", false),
            ("a", "ab/c", false),
            ("a", "a/b/c", false),
            ("a", "a", false),
            ("a/", "a/b", true),
            ("a", "a/b/", true),
            ("/", "/a", true),
            ("/", "/a/b", false),
            ("/", "/", false),
            ("/a/", "/a/b", true),
        ] {
            let is_above = is_above(above.as_bytes(), directory.as_bytes());
            assert_eq!(is_above, want, "{above:?} {directory:?}");
        }
    }
}
