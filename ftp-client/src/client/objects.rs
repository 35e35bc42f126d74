//! Files and directories on the server.
//!
//! - Attributes: `SIZE`, `MDTM`, `MLST` (RFC 3659), `MFMT` (draft-somers-ftp-mfxx), `SITE CHMOD`, and
//!   what an object is if the server does not report that directly.
//! - Directories: changing, creating and removing them (RFC 959 §4.1.1 and §4.1.3).
//! - Where a session is while it lists directories from inside.
//!
//! Many servers ignore or misread an argument of `LIST` and `NLST`: they split it at blanks, take
//! it for a pattern, or list the current directory. The client therefore enters the directory and
//! lists it without an argument. It stays there until the next command that needs the caller's own
//! current directory, so a walk costs one `CWD` for each directory.

use std::time::Duration;

use ftp_proto::{
    Command, Entry, EntryKind, Fact, Facts, ListLine, Mode, Modified, OptsArgument, Pathname,
    Permissions, Precision, Reply, ReplyCode, RepresentationType, Severity, SiteArgument, TimeVal,
    Verb, Zone,
};

use super::{Client, is_unknown};
use crate::error::{Error, ListingCut, Phase};
use crate::event::{Event, Observer};
use crate::listing::{ListOptions, ListingForm, MOST_OBJECTS};
use crate::trace;

/// The first pause before a server that still receives an upload (450) is asked for the size again.
const PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Client {
    /// Returns the size of the file at `path` in bytes, as type image counts them (`SIZE`).
    ///
    /// Returns `None` if the server does not report the size, which does not mean that the file is
    /// missing.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] for a 4xx or 530 reply, or if the server refuses type image, and
    /// [`Error::Argument`] if `path` cannot be sent.
    pub fn size(&mut self, path: impl AsRef<[u8]>) -> Result<Option<u64>, Error> {
        let command = Command::Size(self.pathname(path.as_ref())?);
        // If the command was sent ahead, type image is in force.
        let reply = match self.reply_ahead(&command)? {
            Some(reply) => reply,
            None => {
                self.settle()?;
                self.put_in_force(RepresentationType::Image)?;
                self.control.request(&command)?
            }
        };
        Ok(known(&command, reply)?.and_then(|reply| {
            let digits = reply.text().trim_ascii();
            let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
            // Some servers print -1 as 2^64 - 1.
            std::str::from_utf8(digits).ok()?.parse().ok().map(i64::unsigned_abs)
        }))
    }

    /// Returns the size as [`size`](Self::size) does. While the server still receives an upload of
    /// the file (450), waits and asks again, at most as long as for a final reply.
    pub(crate) fn size_at_rest(
        &mut self,
        path: &[u8],
        on: &dyn Observer,
    ) -> Result<Option<u64>, Error> {
        let limit = self.config.timeouts.final_reply;
        let deadline = self.control.deadline(limit, Phase::FinalReply);
        let mut pause = PAUSE;
        loop {
            let error = match self.size(path) {
                Err(error) => error,
                size => return size,
            };
            let left = deadline.remaining().unwrap_or_default();
            if !error.is_not_now() || left < pause || !self.control.waiter().pause(pause)? {
                return Err(error);
            }
            if pause == PAUSE {
                let text = "the server still receives an upload of this file: waiting";
                on.event(Event::Note { target: path, text });
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns the modification time of the file at `path` (`MDTM`), or `None` if the server does
    /// not report it in the form of RFC 3659.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] for a 4xx or 530 reply, and [`Error::Argument`] if `path` cannot
    /// be sent.
    pub fn modified(&mut self, path: impl AsRef<[u8]>) -> Result<Option<TimeVal>, Error> {
        match self.readable_time(path.as_ref()) {
            Err(Error::UnreadableTime(_)) => Ok(None),
            time => time,
        }
    }

    /// Returns the modification time of the file at `path` (`MDTM`, else `MLST`), for a caller that
    /// cannot do without it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnreadableTime`] if the server reports a time in another form than that of
    /// RFC 3659, [`Error::Unsupported`] if it reports none, and the errors of
    /// [`modified`](Self::modified).
    pub fn modification_time(&mut self, path: impl AsRef<[u8]>) -> Result<TimeVal, Error> {
        let path = path.as_ref();
        let unread = match self.readable_time(path) {
            Ok(Some(time)) => return Ok(time),
            Ok(None) => Error::Unsupported("the server does not report the modification time"),
            Err(error @ Error::UnreadableTime(_)) => error,
            Err(error) => return Err(error),
        };
        let entry = self.stat(path)?;
        entry.and_then(|entry| entry.modified).map(|modified| modified.time).ok_or(unread)
    }

    /// Returns the time that `MDTM` reports, as [`modified`](Self::modified) does, or
    /// [`Error::UnreadableTime`] if it has another form.
    pub(crate) fn readable_time(&mut self, path: &[u8]) -> Result<Option<TimeVal>, Error> {
        let command = Command::Mdtm(self.pathname(path)?);
        let Some(reply) = self.ask(&command)? else { return Ok(None) };
        match TimeVal::parse(reply.text().trim_ascii()) {
            Ok(time) => Ok(Some(time)),
            Err(_) => Err(Error::UnreadableTime(reply)),
        }
    }

    /// Returns the entry for the object at `path`, or for the current directory if `path` is empty
    /// (`MLST`).
    ///
    /// The name in the entry is as the server sends it, usually the whole path. Returns `None` if
    /// the server reports nothing about the object, which does not mean that it is missing.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] for a 4xx or 530 reply, and [`Error::Argument`] if `path` cannot
    /// be sent.
    pub fn stat(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let command = Command::Mlst(self.pathname_or_none(path.as_ref())?);
        self.settle()?;
        let reply = self.ask(&command)?;
        Ok(reply.and_then(|reply| facts_in(&reply)).map(|facts| Entry::from(&facts)))
    }

    /// Returns whether `MDTM` or `MLST` proves that an object exists at `path`.
    ///
    /// `SIZE` is not proof: a server that keeps an interrupted upload under a hidden name may
    /// report the size of that upload, so that the client can resume. `false` means that nothing
    /// proves that the object exists, not that the object is missing.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] for a 4xx or 530 reply, and [`Error::Argument`] if `path` cannot
    /// be sent.
    pub fn exists(&mut self, path: impl AsRef<[u8]>) -> Result<bool, Error> {
        let path = path.as_ref();
        Ok(self.modified(path)?.is_some() || self.stat(path)?.is_some())
    }

    /// Sets the modification time of the object at `path` (`MFMT`; `SITE UTIME` if the server does
    /// not know `MFMT` and lists `UTIME`).
    ///
    /// Returns the time that the server says it stored, which may be coarser, or `None` if the
    /// server does not report it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, with 500 or 502 if it knows
    /// neither command, and [`Error::Argument`] if `path` cannot be sent.
    pub fn set_modified(
        &mut self,
        path: impl AsRef<[u8]>,
        time: TimeVal,
    ) -> Result<Option<TimeVal>, Error> {
        let path = self.pathname(path.as_ref())?;
        let command = Command::Mfmt(time, path.clone());
        let reply = self.request(&command)?;
        if is_unknown(&reply) && self.features()?.has_with("SITE", "UTIME") {
            let seconds: String = time.to_string().chars().take(14).collect();
            // Access, modification and creation time in UTC: the form that both Pure-FTPd and
            // ProFTPD, the servers with this command, understand.
            let times = format!(" {seconds} {seconds} {seconds} UTC");
            let argument = [path.as_bytes(), times.as_bytes()].concat();
            let utime = SiteArgument::Other { word: b"UTIME".to_vec(), argument };
            self.order(&Command::Site(utime))?;
            return Ok(None);
        }
        match reply.code().severity() {
            Severity::Completion => {
                Ok(Facts::parse(reply.text()).ok().and_then(|facts| facts.modify()))
            }
            _ => Err(Error::Refused(command.verb(), reply)),
        }
    }

    /// Sets the permission bits of the object at `path` (`SITE CHMOD`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Argument`] if
    /// `path` cannot be sent.
    pub fn chmod(&mut self, path: impl AsRef<[u8]>, mode: Permissions) -> Result<(), Error> {
        let path = self.pathname(path.as_ref())?;
        let chmod = SiteArgument::Chmod { mode: mode.mode(), path };
        self.order(&Command::Site(chmod)).map(drop)
    }

    /// Chooses the facts that the server sends in [`stat`](Self::stat) and in `MLSD` listings
    /// (`OPTS MLST`).
    ///
    /// Returns the facts that the server says it will send. Without [`Fact::Type`], files and
    /// directories cannot be distinguished.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server lacks `MLST`.
    pub fn select_facts(&mut self, facts: &[Fact]) -> Result<Vec<Fact>, Error> {
        let list = facts.iter().map(|fact| format!("{};", fact.as_str())).collect::<String>();
        let reply = self.order(&Command::Opts(OptsArgument::Mlst(list.into_bytes())))?;
        // FEAT marks the facts that are sent, and these have just changed.
        (self.features, self.facts_chosen) = (None, true);
        let text = reply.text();
        let begin = text.iter().rposition(|&byte| byte == b' ').map_or(0, |at| at + 1);
        let (_, chosen) = text.split_at(begin);
        Ok(chosen.split(|&byte| byte == b';').filter_map(Fact::parse).collect())
    }

    /// Brings into force what changes the names and facts in listings: UTF-8, and the facts of `MLSD`,
    /// if the server sends type, size or time only on request.
    pub(super) fn agree_on_listings(&mut self) -> Result<(), Error> {
        self.ask_for_utf8()?;
        if std::mem::replace(&mut self.facts_chosen, true) {
            return Ok(());
        }
        let features = self.features()?;
        let needed = [Fact::Type, Fact::Size, Fact::Modify];
        if !needed.iter().any(|fact| features.has_with("MLST", fact.as_str())) {
            return Ok(());
        }
        // In FEAT, an asterisk follows each fact that the server sends by default.
        let lines = features.iter().filter(|(word, _)| word.eq_ignore_ascii_case(b"MLST"));
        let words = lines.flat_map(|(_, facts)| facts.split(|byte| b" ;".contains(byte)));
        let facts: Vec<Fact> = words
            .filter_map(|word| {
                let sent = word.strip_suffix(b"*");
                let fact = Fact::parse(sent.unwrap_or(word))?;
                (sent.is_some() || needed.contains(&fact)).then_some(fact)
            })
            .collect();
        match self.select_facts(&facts) {
            Ok(_) | Err(Error::Refused(..)) => {}
            Err(error) => return Err(error),
        }
        self.features = Some(features);
        Ok(())
    }

    /// Returns the 2xx reply to a command. Returns `None` for any 5xx except 530: the value is then
    /// unknown.
    fn ask(&mut self, command: &Command) -> Result<Option<Reply>, Error> {
        known(command, self.request(command)?)
    }
}

/// Returns a 2xx reply to `command`, or `None` if the reply is any 5xx except 530.
fn known(command: &Command, reply: Reply) -> Result<Option<Reply>, Error> {
    match reply.code().severity() {
        Severity::Completion => Ok(Some(reply)),
        Severity::Permanent if reply.code() != ReplyCode::NOT_LOGGED_IN => Ok(None),
        _ => Err(Error::Refused(command.verb(), reply)),
    }
}

/// Returns the entry in a reply to `MLST`: a line between the first and the last, after one SP (RFC
/// 3659 §7.2). Some servers send it without the SP, after a repeated code, as the last of two
/// lines, or as the only line.
fn facts_in(reply: &Reply) -> Option<Facts> {
    let count = reply.lines().count();
    let after_first = usize::from(count > 1);
    let between = reply.lines().skip(after_first).take((count - after_first).min(count.max(3) - 2));
    let again = format!("{}-", reply.code());
    between.into_iter().find_map(|line| {
        let line = line.strip_prefix(again.as_bytes()).unwrap_or(line);
        Facts::parse(line.strip_prefix(b" ").unwrap_or(line)).ok()
    })
}

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

    /// Tests whether `path` is a directory by entering it, then returns to the previous directory. If
    /// the server does not report that directory (`PWD`), closes the connection after entering `path`:
    /// relative paths would have another meaning.
    ///
    /// # Errors
    ///
    /// Returns the server's refusal to enter the directory or to return, and errors of the connection.
    pub fn can_enter(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let here = self.reported_directory()?;
        self.cwd(path)?;
        self.return_to(here.as_deref())
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
        let Some(here) = self.reported_directory()? else { return Ok(None) };
        let moved = self.moved;
        match self.cwd(path) {
            Err(error) if error.is_no() => Ok(Some(false)),
            entered => entered.and_then(|()| self.return_to(Some(&here))).map(|()| {
                self.moved = moved;
                Some(true)
            }),
        }
    }

    /// Enters the directory in which the client was. If it is unknown, or the server refuses, closes
    /// the connection: relative paths would have another meaning.
    fn return_to(&mut self, here: Option<&[u8]>) -> Result<(), Error> {
        match here {
            Some(here) => self.cwd(here).inspect_err(|_| self.control.close()),
            None => {
                self.control.close();
                Ok(())
            }
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
            entered => entered.and_then(|()| self.return_to(None)).map(|()| true),
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
            Ok(ListLine::Entry(entry)) if found.is_none() && entry.name == name => {
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
        let is_slash = |byte: &u8| *byte == b'/';
        let mut names = Vec::new();
        for name in directory.split(is_slash).chain(path.split(is_slash)) {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name => names.push(name.to_vec()),
            }
        }
        Some(names)
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
    fn enter_to_list(&mut self, path: &[u8]) -> Result<(), Error> {
        if self.config.rules.mode == Mode::Active {
            return self.cwd(path);
        }
        let command = Command::Cwd(self.pathname(path)?);
        self.settle()?;
        self.in_a_form(&command).map(drop)
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
        let command = Command::Rmd(self.pathname(path.as_ref())?);
        self.order_in_a_form(&command).map(drop)
    }

    /// Sends a directory command that must end with 2xx. If the server does not know the plain
    /// verb, the client tries the X form, such as `XMKD`, once, and then keeps the form that works.
    fn order_in_a_form(&mut self, command: &Command) -> Result<Reply, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_in_an_mlst_reply_is_found() {
        for (lines, want) in [
            (&["Begin", " type=file;size=5; /a b", "End"][..], Some("/a b")),
            (&["Begin", "type=dir; /d", "End"], Some("/d")),
            (&["Begin", "250- type=dir; /d", "End"], Some("/d")),
            (&["Begin", "", "  /no facts", "End"], Some("/no facts")),
            (&["Begin", " type=file; x"], Some("x")),
            (&["type=file; x"], Some("x")),
            (&["File a=1; b", " type=dir; c", "x=2; d"], Some("c")),
            (&["Begin", "nothing", "End"], None),
            (&["OK"], None),
        ] {
            let mut sent = Vec::new();
            for (at, line) in lines.iter().enumerate() {
                let start = match at {
                    _ if at + 1 == lines.len() => "250 ",
                    0 => "250-",
                    _ => "",
                };
                sent.extend_from_slice(format!("{start}{line}\r\n").as_bytes());
            }
            let mut decoder = ftp_proto::ReplyDecoder::new();
            let _ = decoder.push(&sent);
            let reply = decoder.next().unwrap().unwrap();
            let found = facts_in(&reply).map(|facts| facts.name().to_vec());
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{lines:?}");
        }
    }
}
