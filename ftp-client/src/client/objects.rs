//! Files and directories on the server, by their paths: `SIZE`, `MDTM`, `MLST` (RFC 3659), `MFMT`
//! (draft-somers-ftp-mfxx), `SITE CHMOD` and changes of permission bits, and what an object is if the
//! server does not report that directly.

use std::time::Duration;

use ftp_proto::{
    Command, Entry, EntryKind, Fact, Facts, Features, ListLine, Modified, OptsArgument, Pathname,
    Permissions, Precision, Reply, ReplyCode, RepresentationType, Severity, SiteArgument, TimeVal,
    Zone,
};

use super::Client;
use super::absence::MISSING;
use crate::control::mdtm;
use crate::error::{Error, ListingCut, Phase, Unsupported, accepted, is_final_no, is_missing};
use crate::event::{Event, Note, Observer};
use crate::listing::{ListOptions, ListingForm, MOST_OBJECTS};

/// The first pause before a server that still receives an upload (450) is asked for the size again.
const PAUSE: Duration = Duration::from_millis(250);

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SizeTold {
    Bytes(u64),
    /// 550: there is no file, if the server tells sizes.
    Refused,
    Nothing,
}

impl SizeTold {
    pub(crate) const fn known(self) -> Option<u64> {
        match self {
            Self::Bytes(size) => Some(size),
            Self::Refused | Self::Nothing => None,
        }
    }
}

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
        self.size_told(path.as_ref()).map(SizeTold::known)
    }

    pub(crate) fn size_told(&mut self, path: &[u8]) -> Result<SizeTold, Error> {
        let command = Command::Size(self.pathname(path)?);
        // If the command was sent ahead, type image is in force.
        let reply = match self.reply_ahead(&command)? {
            Some(reply) => reply,
            None => {
                self.settle()?;
                self.put_in_force(RepresentationType::Image)?;
                self.exchange(&command, |client, command| client.control.request(command))?
            }
        };
        let otherwise = match reply.code() {
            ReplyCode::FILE_UNAVAILABLE => SizeTold::Refused,
            _ => SizeTold::Nothing,
        };
        let size = known(&command, reply)?.and_then(|reply| {
            let digits = reply.text().trim_ascii();
            let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
            // Some servers print -1 as 2^64 - 1.
            std::str::from_utf8(digits).ok()?.parse().ok().map(i64::unsigned_abs)
        });
        Ok(size.map_or(otherwise, SizeTold::Bytes))
    }

    /// Returns the size as [`size_told`](Self::size_told) does. While the server still receives an upload
    /// of the file (450), waits and asks again, at most as long as for a final reply.
    pub(crate) fn size_at_rest(
        &mut self,
        path: &[u8],
        on: &dyn Observer,
    ) -> Result<SizeTold, Error> {
        let limit = self.config.timeouts.final_reply;
        let deadline = self.control.deadline(limit, Phase::FinalReply);
        let mut pause = PAUSE;
        loop {
            let error = match self.size_told(path) {
                Err(error) => error,
                told => return told,
            };
            let left = deadline.remaining().unwrap_or_default();
            if !error.is_not_now() || left < pause || !self.control.waiter().pause(pause)? {
                return Err(error);
            }
            if pause == PAUSE {
                on.event(Event::Note { target: path, note: Note::BeingUploaded });
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
            Ok(None) => Error::Unsupported(Unsupported::NoModificationTime),
            Err(error @ Error::UnreadableTime(_)) => error,
            Err(error) => return Err(error),
        };
        let entry = self.stat(path)?;
        entry.and_then(|entry| entry.modified).map(|modified| modified.time).ok_or(unread)
    }

    /// Returns the time that `MDTM` reports, as [`modified`](Self::modified) does, or
    /// [`Error::UnreadableTime`] if it has another form.
    pub(crate) fn readable_time(&mut self, path: &[u8]) -> Result<Option<TimeVal>, Error> {
        let command = mdtm(self.pathname(path)?);
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
        let facts = reply.and_then(|reply| facts_in(&reply));
        if facts.is_some() {
            self.note_mlst();
        }
        Ok(facts.map(|facts| Entry::from(&facts)))
    }

    /// Returns whether the server was asked for its features and lists none, or lacks `FEAT`.
    pub(super) fn tells_no_features(&self) -> bool {
        self.features.as_ref().is_some_and(|features| features.iter().next().is_none())
    }

    /// Counts `MLST`, which the server has answered, as one of its features if it tells none.
    pub(super) fn note_mlst(&mut self) {
        if self.tells_no_features() {
            let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", ["MLST"], "End");
            self.features = Some(Features::read(&reply));
        }
    }

    /// Returns the object at `path`, or `None` if there is none. Asks for this name alone: by `MLST`,
    /// else by `SIZE` and `MDTM`, and by entering a directory; a link is followed. A refusal (550) proves
    /// that nothing is there. If the server offers no such question, two listings of the directory must
    /// lack the name. A size counts as a file, although some servers tell that of an interrupted upload:
    /// a caller that takes the name for free could replace a file.
    ///
    /// The entry of a directory can have no facts but its kind, and no name.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`existence`](Self::existence), and an incomplete listing that lacks the
    /// object.
    pub fn find(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let path = path.as_ref();
        self.settle()?;
        if self.features()?.has("MLST") {
            let command = Command::Mlst(Some(self.pathname(path)?));
            let reply = self.request(&command)?;
            if reply.code() == MISSING {
                return Ok(None);
            }
            let found = known(&command, reply)?.and_then(|reply| facts_in(&reply));
            let found = found.map(|facts| Entry::from(&facts));
            if let Some(entry) = found.filter(|it| it.kind.is_some() && !it.is_link()) {
                return Ok(Some(entry));
            }
        }
        let mut found = Entry::new(b"");
        self.ask_together(path)?;
        if let Some(size) = self.size(path)? {
            (found.kind, found.size) = (Some(EntryKind::File), Some(size));
            found.modified = self.modified(path)?.map(|time| Modified {
                time,
                precision: Precision::Second,
                zone: Zone::Utc,
            });
            return Ok(Some(found));
        }
        // The answer to `MDTM` is known already.
        if self.denies(path)? == Some(true) {
            return Ok(None);
        }
        if self.visits(path)? == Some(true) {
            found.kind = Some(EntryKind::Directory);
            return Ok(Some(found));
        }
        match self.look(path, ListingForm::List)? {
            None => self.look(path, ListingForm::List),
            found => Ok(found),
        }
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
        let path = self.pathname_to_change(path.as_ref())?;
        let command = Command::Mfmt(time, path.clone());
        let reply = self.request(&command)?;
        if is_missing(&reply) && self.features()?.has_with("SITE", "UTIME") {
            let seconds: String = time.to_string().chars().take(14).collect();
            // Access, modification and creation time in UTC: the form that both Pure-FTPd and
            // ProFTPD, the servers with this command, understand.
            let times = format!(" {seconds} {seconds} {seconds} UTC");
            let argument = [path.as_bytes(), times.as_bytes()].concat();
            let utime = SiteArgument::Other { word: b"UTIME".to_vec(), argument };
            self.order(&Command::Site(utime))?;
            return Ok(None);
        }
        let reply = accepted(command.verb(), reply)?;
        Ok(Facts::parse(reply.text()).ok().and_then(|facts| facts.modify()))
    }

    /// Sets the permission bits of the object at `path` (`SITE CHMOD`).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] if the server refuses the command, and [`Error::Argument`] if
    /// `path` cannot be sent.
    pub fn chmod(&mut self, path: impl AsRef<[u8]>, mode: Permissions) -> Result<(), Error> {
        let path = self.pathname_to_change(path.as_ref())?;
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
            Ok(_) | Err(Error::Refused { .. }) => {}
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
        _ if is_final_no(&reply) => Ok(None),
        _ => Err(Error::Refused { verb: command.verb(), reply }),
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
        self.visit(path.as_ref())?;
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
        match self.visit(path) {
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
            Some(here) => self.visit(here).inspect_err(|_| self.control.close()),
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
        match self.visit(path) {
            Err(error) if error.is_no() => Ok(false),
            entered => entered.and_then(|()| self.return_to(None)).map(|()| true),
        }
    }

    /// Returns the error of a listing without any line that can be parsed, which names the server's
    /// system (`SYST`) and the first `line`; or the error of the connection.
    pub(crate) fn unreadable_listing(&mut self, line: &[u8]) -> Error {
        let system = match self.system() {
            Err(Error::Refused { .. }) => None,
            Err(error) => return error,
            Ok(system) => Some(system),
        };
        Error::UnknownListing { system, line: line.to_vec() }
    }
}

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

/// A change of permission bits: new bits, or changes of the current ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PermissionChange(Change);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Change {
    Bits(u16),
    Clauses(Vec<Clause>),
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Clause {
    /// Permission bits that `u`, `g` and `o` select.
    who: u16,
    /// `+`, `-` or `=`.
    how: u8,
    /// Letters of `rwxXst`.
    letters: Vec<u8>,
}

impl PermissionChange {
    /// Parses three or four octal digits, or symbolic notation such as `u+w,go=`. Without u, g, o
    /// or a, the change applies to all, regardless of the server's umask. Returns `None` for
    /// anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(match Permissions::parse(text.as_bytes()) {
            Some(bits) => Change::Bits(bits.mode()),
            None => Change::Clauses(text.split(',').map(Clause::parse).collect::<Option<_>>()?),
        }))
    }

    fn apply(&self, bits: u16, is_directory: bool) -> u16 {
        match &self.0 {
            Change::Bits(bits) => *bits,
            Change::Clauses(clauses) => {
                clauses.iter().fold(bits, |bits, clause| clause.apply(bits, is_directory))
            }
        }
    }
}

impl Client {
    /// Changes the permission bits of the object at `path` (`SITE CHMOD`), in symbolic notation
    /// after asking for the current bits. Returns `false`, and changes nothing, if the server does
    /// not report them, or shows a symbolic link.
    ///
    /// # Errors
    ///
    /// Returns the server's refusal, and the errors of [`look`](Self::look) and
    /// [`chmod`](Self::chmod).
    pub fn change_permissions(
        &mut self,
        path: &[u8],
        change: &PermissionChange,
    ) -> Result<bool, Error> {
        let (mut before, mut is_directory) = (0, false);
        if let Change::Clauses(_) = change.0 {
            let mut entry = self.look(path, ListingForm::Auto)?;
            if entry.as_ref().is_some_and(|entry| entry.permissions.is_none()) {
                // On many servers, MLST reports no mode, but LIST does.
                entry = self.look(path, ListingForm::List)?;
            }
            // `SITE CHMOD` of a link changes its target, whose bits are others.
            let shown = entry.as_ref().filter(|entry| !entry.is_link());
            let Some(mode) = shown.and_then(|entry| entry.permissions) else {
                // For a missing object, this returns the server's reason.
                if entry.is_none() {
                    self.can_enter(path)?;
                }
                return Ok(false);
            };
            before = mode.mode();
            is_directory = entry.is_some_and(|entry| entry.is_dir());
        }
        self.chmod(path, Permissions::new(change.apply(before, is_directory)))?;
        Ok(true)
    }
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['+', '-', '='])?;
        let (who, rest) = text.split_at_checked(at)?;
        let who = who.bytes().try_fold(0, |bits, who| {
            Some(
                bits | match who {
                    b'u' => 0o4700,
                    b'g' => 0o2070,
                    b'o' => 0o1007,
                    b'a' => 0o7777,
                    _ => return None,
                },
            )
        })?;
        let (how, letters) = rest.as_bytes().split_first()?;
        let is_known = letters.iter().all(|letter| b"rwxXst".contains(letter));
        let who = if who == 0 { 0o7777 } else { who };
        is_known.then(|| Self { who, how: *how, letters: letters.to_vec() })
    }

    fn apply(&self, bits: u16, is_directory: bool) -> u16 {
        let letters = self.letters.iter().fold(0, |sum, letter| {
            sum | match letter {
                b'r' => 0o444,
                b'w' => 0o222,
                b'x' => 0o111,
                // `X` applies to directories, and to files that already have an execute bit.
                b'X' if is_directory || bits & 0o111 != 0 => 0o111,
                b's' => 0o6000,
                b't' => 0o1000,
                _ => 0,
            }
        });
        match self.how {
            b'+' => bits | letters & self.who,
            b'-' => bits & !(letters & self.who),
            // `=` can set special bits, but never clears them.
            _ => bits & !(self.who & 0o777) | letters & self.who,
        }
    }
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

    #[test]
    fn modes_are_read_and_applied() {
        for (text, before, directory, want) in [
            ("644", 0, false, 0o644),
            ("0755", 0, false, 0o755),
            ("1777", 0, false, 0o1777),
            ("u+w", 0o444, false, 0o644),
            ("+x", 0o644, false, 0o755),
            ("go-rwx", 0o755, false, 0o700),
            ("a=r,u+w", 0o777, false, 0o644),
            ("go=", 0o4755, false, 0o4700),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o744, false, 0o755),
            ("a+X", 0o644, true, 0o755),
            ("u+s,o+t", 0o755, false, 0o5755),
            ("ug+s", 0o755, false, 0o6755),
            ("u-s", 0o6755, false, 0o2755),
            ("ug=rw,o=r", 0, false, 0o664),
        ] {
            let after = PermissionChange::parse(text).unwrap().apply(before, directory);
            assert_eq!(after, want, "{text} of {before:o}: {after:o}");
        }
        for text in ["", "8", "64", "00644", "999", "u", "u+q", "z+r", "u+w,", "rw", "+0644", "-1"]
        {
            assert_eq!(PermissionChange::parse(text), None, "{text}");
        }
    }
}
