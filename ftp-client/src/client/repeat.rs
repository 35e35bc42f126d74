//! Commands whose reply was lost with the connection: they may have been carried out, or still be. `MKD`
//! is sent again, and a refusal of the second one is judged by what the server shows; after `DELE`, `RMD`
//! and `RNTO`, the server is only asked.

use ftp_proto::{EntryKind, Modified, Pathname, Verb};

use super::Client;
use super::absence::Existence;
use crate::error::{Error, JobFault, Unsupported};
use crate::facts::ServerFacts;
use crate::listing::{Budget, ListingForm};
use crate::tree::links::list;

/// One command that removes, makes or renames, with the memory of earlier attempts whose reply was
/// lost.
///
/// `DELE` and `RMD` are never sent again, `RNTO` only after a 421: a server whose disk hangs can carry out
/// the first one after the second, for whatever has the name by then. It is only asked whether the object is
/// gone, or has its new name. Use one value for one command and all its attempts:
///
/// ```no_run
/// use ftp_client::pool::Repeat;
/// use ftp_client::{Client, Retry};
///
/// let mut queue = Retry::new(Client::builder(), "ftp.example.org").login("me", "secret");
/// let mut rename = Repeat::new();
/// queue.run(|client| rename.rename(client, ".in.a.bin", "a.bin"))?;
/// let mut delete = Repeat::new();
/// queue.run(|client| delete.delete(client, "old.bin"))?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
///
/// If a first attempt fails for another reason, the methods return the same as those of [`Client`].
#[derive(Debug, Default)]
pub struct Repeat {
    /// The commands whose replies were lost, and their paths: several only for a tree.
    lost: Vec<(Verb, Vec<u8>)>,
    /// Whether the facts before a renaming are not needed, since it is never repeated.
    is_single: bool,
    /// Whether the last renaming was answered by 421, so that the server is not carrying it out any more.
    is_over: bool,
    before: Option<RenameFacts>,
    /// Whether a removal of this object was begun.
    removes: bool,
}

/// What the server showed before the first attempt at a renaming.
#[derive(Debug)]
pub(crate) struct RenameFacts {
    source: ServerFacts,
    target: TargetBefore,
}

#[derive(Debug)]
enum TargetBefore {
    Absent,
    There(ServerFacts),
    Unknown,
}

impl RenameFacts {
    pub(crate) fn new(source: ServerFacts, target: Option<ServerFacts>) -> Self {
        Self { source, target: target.map_or(TargetBefore::Absent, TargetBefore::There) }
    }

    /// Returns whether the target existed, or may have.
    pub(crate) const fn was_there(&self) -> bool {
        !matches!(self.target, TargetBefore::Absent)
    }

    /// Returns whether the target was free before, and still is. Then a renaming that is sent again replaces
    /// nothing: equal facts can be those of a file that was stored within the same second under the old name
    /// of what was renamed.
    pub(crate) fn is_still_free(&self, client: &mut Client, to: &[u8]) -> Result<bool, Error> {
        if self.was_there() {
            return Ok(false);
        }
        match client.is_taken(to) {
            Err(Error::Unsupported(Unsupported::NoExistence)) => Ok(false),
            is_taken => Ok(!is_taken?),
        }
    }

    /// Returns whether an object with the facts `now` is what the source was.
    pub(crate) fn is_source(&self, now: &ServerFacts) -> bool {
        now.are_of(&self.source) == Some(true)
    }

    /// Returns whether the target, with the facts `now`, is what the source was, and was not before. With
    /// the source gone, this shows that a renaming without a reply took place.
    pub(crate) fn are_moved(&self, now: &ServerFacts) -> bool {
        let was_another = match &self.target {
            TargetBefore::Absent => true,
            TargetBefore::There(before) => before.are_of(&self.source) == Some(false),
            TargetBefore::Unknown => false,
        };
        was_another && self.is_source(now)
    }
}

impl ServerFacts {
    /// Returns the facts of the object at `path`, or `None` if the server shows no such object.
    pub(crate) fn ask(client: &mut Client, path: &[u8]) -> Result<Option<Self>, Error> {
        if client.features()?.has("MLST") {
            return Ok(client.stat(path)?.map(|entry| {
                let modified = entry.modified.map(|Modified { time, .. }| time);
                let is_directory = entry.kind == Some(EntryKind::Directory);
                Self { size: entry.size, modified, unique: entry.unique, is_directory }
            }));
        }
        let (size, modified) = (client.size(path)?, client.modified(path)?);
        let is_there = size.is_some() || modified.is_some();
        Ok(is_there.then(|| Self { size, modified, ..Self::default() }))
    }
}

impl Repeat {
    /// Returns the memory of one command that was not sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the memory of one command that will be sent only once: the methods then ask for nothing
    /// before they send the command.
    #[must_use]
    pub fn single() -> Self {
        Self { is_single: true, ..Self::default() }
    }

    /// Returns whether the reply to an earlier attempt was lost, so that the command may have been
    /// carried out.
    pub(crate) const fn is_uncertain(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Removes a file (`DELE`). After a lost reply, it is not sent again: another client may have stored
    /// a file of the same size within the same second. Before the second object is removed over a
    /// connection, asks for the current directory (`PWD`): the answer shows whether the server answers a
    /// removal once.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::delete`] and [`Client::existence`]. After a lost reply, returns
    /// success if the server shows that no object is at `path`, and otherwise [`Error::Uncertain`].
    pub fn delete(&mut self, client: &mut Client, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        if self.has_lost(Verb::Dele, path) {
            return match is_gone(client, path)? {
                true => Ok(()),
                false => Err(Error::Uncertain { verb: Verb::Dele, reply: None }),
            };
        }
        self.begin_removal(client);
        let done = client.delete(path);
        self.note(client, Verb::Dele, path, done)
    }

    /// Removes an empty directory (`RMD`). Lists it before: some servers remove what is in a directory, too.
    /// After a lost reply, `RMD` is not sent again: a directory that serves as a lock must not lose its next
    /// owner.
    ///
    /// # Errors
    ///
    /// Returns [`JobFault::NotEmpty`] if the listing shows something, and the errors of
    /// [`Client::list_directory`], [`Client::rmdir`] and [`Client::existence`]. After a lost reply, returns
    /// success if the server shows that there is no directory, and refuses to enter it, and otherwise
    /// [`Error::Uncertain`].
    pub fn rmdir(&mut self, client: &mut Client, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        if self.has_lost(Verb::Rmd, path) {
            // A listing lacks hidden names, and other spellings of a name.
            let is_gone = client.existence(path)? == Existence::Absent && !client.enters(path)?;
            return match is_gone {
                true => Ok(()),
                false => Err(Error::Uncertain { verb: Verb::Rmd, reply: None }),
            };
        }
        let listing = list(client, path, ListingForm::Auto, Budget::default())??;
        if let Some(line) = listing.unparsed.first() {
            return Err(client.unreadable_listing(line));
        }
        if !listing.entries.is_empty() {
            return Err(Error::Job(JobFault::NotEmpty));
        }
        self.remove_listed(client, path)
    }

    /// Removes a directory (`RMD`) that this attempt has listed just before, and whose removal got no lost
    /// reply.
    pub(crate) fn remove_listed(&mut self, client: &mut Client, path: &[u8]) -> Result<(), Error> {
        self.begin_removal(client);
        let done = client.rmdir(path);
        self.note(client, Verb::Rmd, path, done)
    }

    /// Removes a file of a tree (`DELE`), of which the caller knows that it may be removed.
    pub(crate) fn delete_listed(&mut self, client: &mut Client, path: &[u8]) -> Result<(), Error> {
        let done = client.delete(path);
        self.note(client, Verb::Dele, path, done)
    }

    /// Puts replies in doubt, if those to the removal of another object are not counted yet.
    fn begin_removal(&mut self, client: &mut Client) {
        if !std::mem::replace(&mut self.removes, true) {
            client.control.doubt_removals();
        }
    }

    /// Creates a directory (`MKD`).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::mkdir`]. After a lost reply, returns [`Error::Uncertain`] if
    /// the server refuses and the directory exists: this or another client may have made it.
    pub fn mkdir(
        &mut self,
        client: &mut Client,
        path: impl AsRef<[u8]>,
    ) -> Result<Option<Pathname>, Error> {
        let path = path.as_ref();
        let mut made = None;
        let done = client.mkdir(path).map(|path| made = path);
        match self.refused_again(client, path, done)? {
            // A directory that serves as a lock must not have two owners.
            Some(Error::Refused { verb, reply }) if client.enters(path)? => {
                Err(Error::Uncertain { verb, reply: Some(reply) })
            }
            refusal => refusal.map_or(Ok(made), Err),
        }
    }

    /// Creates a directory of a tree (`MKD`). After a lost reply, a refusal counts as success if the
    /// server enters the directory: other files of the tree may go there all the same.
    pub(crate) fn make_in_tree(&mut self, client: &mut Client, path: &[u8]) -> Result<(), Error> {
        let done = client.mkdir(path).map(drop);
        match self.refused_again(client, path, done)? {
            Some(refusal) if !client.enters(path)? => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Remembers that the reply to `DELE` was lost.
    pub(crate) fn lose_removal(&mut self, path: &[u8]) {
        self.lost.push((Verb::Dele, path.to_vec()));
    }

    /// Returns whether a file whose removal got no reply is gone. Asks nothing, and returns
    /// `false`, if no reply was lost. If the file is there, it may be a new one: what proved that
    /// it may be removed must be proved again.
    pub(crate) fn was_removed(&mut self, client: &mut Client, path: &[u8]) -> Result<bool, Error> {
        Ok(self.has_lost(Verb::Dele, path) && is_gone(client, path)?)
    }

    /// Renames an object to a name that is free, as the caller knows. The caller looks at the new name
    /// afterwards.
    pub(crate) fn rename_to_free(
        &mut self,
        client: &mut Client,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), Error> {
        self.rename_unproved(client, from, to, true)
    }

    /// Renames a file or directory (`RNFR`, `RNTO`). Before the first attempt, asks for the size,
    /// time and unique fact of both paths, unless this memory is [`single`](Self::single). After the
    /// server's confirmation, asks for the new name, and if that is not shown, for the old one
    /// (`MDTM`, `MLST`): some servers confirm what they do not do.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::rename`], [`Client::size`] and [`Client::stat`], and
    /// [`JobFault::OldName`] if the server confirms, but shows only the old name. After a
    /// lost reply, returns success if `from` is gone, and `to` has the facts that `from` had
    /// before, and did not have them before; otherwise [`Error::Uncertain`].
    pub fn rename(
        &mut self,
        client: &mut Client,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.rename_unproved(client, from, to, false)?;
        check_renamed(client, from, to)
    }

    /// Renames a file or directory as [`rename`](Self::rename) does, unless an object has the new name:
    /// most servers would replace a file. Returns `false`, and renames nothing, if there is one. FTP has
    /// no command for both: an object that another client stores after the question is replaced.
    ///
    /// ```no_run
    /// use ftp_client::pool::Repeat;
    /// use ftp_client::{Client, Retry};
    ///
    /// let mut queue = Retry::new(Client::builder(), "ftp.example.org").login("me", "secret");
    /// let mut claim = Repeat::new();
    /// if queue.run(|client| claim.rename_new(client, "new/a.job", "mine/a.job"))? {
    ///     println!("a.job is mine");
    /// }
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rename`](Self::rename) and [`Client::existence`], and
    /// [`Unsupported::NoExistence`] if the server does not show whether there is an object, also one
    /// whose name it may take for the new one.
    pub fn rename_new(
        &mut self,
        client: &mut Client,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<bool, Error> {
        let (from, to) = (from.as_ref(), to.as_ref());
        if self.was_renamed(client, from, to)? {
            return Ok(true);
        }
        // After a lost reply, what has the new name may be the object itself.
        if !self.is_uncertain() && client.is_taken(to)? {
            return Ok(false);
        }
        self.rename_to_free(client, from, to)?;
        check_renamed(client, from, to)?;
        Ok(true)
    }

    /// As [`rename`](Self::rename), and takes a confirmation as proof. `is_free` is whether the caller
    /// knows that no object has the new name.
    fn rename_unproved(
        &mut self,
        client: &mut Client,
        from: &[u8],
        to: &[u8],
        is_free: bool,
    ) -> Result<(), Error> {
        if self.before.is_none() && !self.is_single {
            let source = ServerFacts::ask(client, from)?.unwrap_or_default();
            let existence = if is_free { Existence::Absent } else { client.existence(to)? };
            let target = match existence {
                Existence::Absent => TargetBefore::Absent,
                Existence::Present => {
                    ServerFacts::ask(client, to)?.map_or(TargetBefore::Unknown, TargetBefore::There)
                }
                Existence::Unknown => TargetBefore::Unknown,
            };
            self.before = Some(RenameFacts { source, target });
        }
        if self.was_renamed(client, from, to)? {
            return Ok(());
        }
        if self.has_lost(Verb::Rnto, from) && !self.may_repeat(client, from, to)? {
            return Err(Error::Uncertain { verb: Verb::Rnto, reply: None });
        }
        let done = client.rename(from, to);
        self.is_over = matches!(done, Err(Error::ServiceClosing(_)));
        self.note(client, Verb::Rnto, from, done)
    }

    /// Returns whether a renaming that was answered by 421 harms nothing when it is sent again. If it was
    /// carried out, and another object is at `from` by now, it would replace what was renamed.
    fn may_repeat(&self, client: &mut Client, from: &[u8], to: &[u8]) -> Result<bool, Error> {
        let Some(before) = self.before.as_ref().filter(|_| self.is_over) else { return Ok(false) };
        match ServerFacts::ask(client, from)? {
            Some(now) if now.are_of(&before.source) != Some(false) => {
                before.is_still_free(client, to)
            }
            _ => Ok(false),
        }
    }

    /// Returns whether a renaming whose reply was lost was carried out. Asks nothing, and returns
    /// `false`, if no reply was lost.
    fn was_renamed(&self, client: &mut Client, from: &[u8], to: &[u8]) -> Result<bool, Error> {
        let Some(before) = self.before.as_ref().filter(|_| self.has_lost(Verb::Rnto, from)) else {
            return Ok(false);
        };
        let is_gone = client.existence(from)? == Existence::Absent;
        Ok(is_gone && ServerFacts::ask(client, to)?.is_some_and(|now| before.are_moved(&now)))
    }

    /// Returns the refusal of an `MKD` whose earlier reply was lost. Otherwise returns the error of the
    /// command, and remembers whether its reply was lost.
    fn refused_again(
        &mut self,
        client: &Client,
        path: &[u8],
        done: Result<(), Error>,
    ) -> Result<Option<Error>, Error> {
        match done {
            Err(refusal @ Error::Refused { .. })
                if refusal.is_no() && self.has_lost(Verb::Mkd, path) =>
            {
                Ok(Some(refusal))
            }
            done => self.note(client, Verb::Mkd, path, done).map(|()| None),
        }
    }

    fn note(
        &mut self,
        client: &Client,
        verb: Verb,
        path: &[u8],
        done: Result<(), Error>,
    ) -> Result<(), Error> {
        if done.is_err() && client.control.unanswered() == Some(verb) {
            self.lost.push((verb, path.to_vec()));
        }
        done
    }

    /// Returns whether the reply to this command for `path` was lost.
    pub(crate) fn has_lost(&self, verb: Verb, path: &[u8]) -> bool {
        self.lost.iter().any(|(lost, of)| *lost == verb && of == path)
    }
}

/// Checks that a confirmed renaming was made, as far as the server shows names. A question that fails
/// shows nothing.
pub(crate) fn check_renamed(client: &mut Client, from: &[u8], to: &[u8]) -> Result<(), Error> {
    match client.has_new_name((from, to), None) {
        Ok(Some(false)) => Err(Error::Job(JobFault::OldName)),
        _ => Ok(()),
    }
}

impl Client {
    /// Returns whether the object that had the name `from` has the name `to`, after the server has
    /// confirmed that: a 250 to `RNTO` proves nothing. `size` is what it had before, if that was told.
    /// Without it, a name that is shown decides; `None` if `MDTM` and `MLST` show neither name.
    pub(crate) fn has_new_name(
        &mut self,
        (from, to): (&[u8], &[u8]),
        size: Option<u64>,
    ) -> Result<Option<bool>, Error> {
        if let Some(before) = size
            && let Some(now) = self.size(to)?
        {
            // One that others still write to has grown, and has left its old name.
            let has_grown = now > before && self.existence(from)? == Existence::Absent;
            return Ok(Some(now == before || has_grown));
        }
        Ok(match self.shows(to)? {
            true => Some(true),
            false => self.shows(from)?.then_some(false),
        })
    }
}

/// Returns whether the server shows that no file is at `path`. A listing lacks other spellings of a name,
/// and a size refutes it.
fn is_gone(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    if client.existence(path)? != Existence::Absent {
        return Ok(false);
    }
    let features = client.features()?;
    if features.has("MLST") || features.has("MDTM") {
        return Ok(true);
    }
    // One listing can leave out a name, as during a renaming.
    let is_told = features.has("SIZE");
    Ok(client.size(path)?.is_none() && (is_told || client.existence(path)? == Existence::Absent))
}

#[cfg(test)]
mod tests {
    use ftp_proto::TimeVal;

    use super::*;

    #[test]
    fn a_rename_with_a_lost_reply_is_proved_by_facts_that_moved() {
        let facts = |size: u64, day: Option<u8>| {
            let modified = day.and_then(|day| TimeVal::new(2026, 11, day, 12, 0, 0));
            ServerFacts { size: Some(size), modified, ..ServerFacts::default() }
        };
        let new = || facts(5, Some(1));
        for (source, target, now, want) in [
            (new(), None, new(), true),
            (new(), Some(facts(4, Some(1))), new(), true),
            (new(), Some(facts(5, Some(2))), new(), true),
            // The target looked like this before, or may have.
            (new(), Some(new()), new(), false),
            (new(), Some(facts(5, None)), new(), false),
            // It is another file.
            (new(), None, facts(5, Some(3)), false),
            // A size alone tells nothing.
            (facts(5, None), None, facts(5, None), false),
        ] {
            let case = format!("{source:?} {target:?} {now:?}");
            assert_eq!(RenameFacts::new(source, target).are_moved(&now), want, "{case}");
        }
    }
}
