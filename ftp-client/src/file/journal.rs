//! The journal of an upload: what a later run needs to know to resume it.
//!
//! The journal is a small hidden file beside the local file, or in a directory that the caller
//! names. It says which unchanged local file was sent to which path of which server, and how many
//! of its bytes at most. It is written when the server has accepted the upload and removed when the
//! upload is complete, so it outlives the program, even if that is killed. It is not flushed to the
//! disk: after a power failure the upload starts at byte 0.
//!
//! Also what gives a complete file on a server its time and its final name: the rename, also after
//! its reply was lost, and what follows from its failure.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use ftp_proto::{HiddenFile, Severity, TimeVal};
use sha2::{Digest as _, Sha256};

use super::Done;
use super::evidence::{Fit, Origin, check_size};
use super::moving::MoveRecord;
use super::record::{LONGEST_JOURNAL, ServerFile, read_small, replace_small};
use crate::age;
use crate::client::Client;
use crate::client::repeat::RenameFacts;
use crate::control::login::Login;
use crate::digest::hex;
use crate::error::{Error, JobFault, Unsupported};
use crate::event::{Event, Note, Observer, Verify};
use crate::facts::ServerFacts;
use crate::system::{DirBuilderExt, MetadataExt, OsStrExt};

/// What identifies an unchanged local file. No program can set the time of the last change of any
/// kind (ctime).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LocalFacts {
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

impl LocalFacts {
    pub(crate) fn of(file: &Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Returns whether both have one size and time: a backup by hard links changes the ctime, and some disks
    /// give a file another inode number whenever they have forgotten it.
    pub(super) fn has_content_of(&self, other: &Self) -> bool {
        (self.size, self.modified) == (other.size, other.modified)
    }

    /// Returns a number that no other file has, nor another version of this one.
    pub(super) fn key(&self) -> u64 {
        let Self { inode, size, modified, changed } = self;
        let numbers = [*inode, *size].map(u64::to_be_bytes).into_iter();
        let times = [modified.0, modified.1, changed.0, changed.1].map(i64::to_be_bytes);
        let digest = Sha256::digest(numbers.chain(times).flatten().collect::<Vec<_>>());
        digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
    }

    /// Returns the modification time in seconds since 1970, which is negative before.
    pub(super) const fn modified_seconds(&self) -> i64 {
        self.modified.0
    }
}

/// Returns the metadata of a file that is sent next. A program that writes through memory changes the
/// times only once the page is written: then its next write changes them too. A disk that cannot do
/// that does not fail the upload.
pub(crate) fn written(file: &File, moves: bool) -> io::Result<Metadata> {
    let found = file.metadata()?;
    match found.is_file() && (moves || age::may_be_unwritten(&found)) {
        true => {
            let _ = file.sync_data();
            file.metadata()
        }
        false => Ok(found),
    }
}

/// How much older than its source a copy becomes that is not proved, in seconds: not by a whole number of
/// time zones.
const UNPROVED: i64 = 40_007;

/// Makes a stored copy older than its source of the time `sent`, which changed meanwhile: the server's own
/// time of the upload can be that of the change or later, and the next run would take the copy for the file.
/// Returns whether the server then tells that time: some confirm one that they do not set.
pub(crate) fn unprove(client: &mut Client, path: &[u8], sent: i64) -> bool {
    let older = sent.saturating_sub(UNPROVED);
    TimeVal::from_unix_seconds(older).is_some_and(|time| client.set_modified(path, time).is_ok())
        && matches!(client.modified(path), Ok(Some(told)) if age::is_about(told, older))
}

/// Before the server's copy gets the time of the file, waits until another change of the file would
/// show in that time, and verifies that there was none since it was `sent`.
pub(crate) fn outlast(client: &Client, file: &File, sent: LocalFacts) -> Result<(), Error> {
    let now = || file.metadata().map_err(Error::local);
    let Some(left) = age::settles_in(&now()?) else { return Ok(()) };
    client.control.waiter().sleep(left)?;
    match LocalFacts::of(&now()?) == sent {
        true => Ok(()),
        false => Err(Error::Job(JobFault::LocalChanged)),
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct JournalContent {
    pub(super) local: LocalFacts,
    /// The largest number of bytes that the server can have.
    pub(super) most: u64,
    /// The size of the file that the upload replaced when it began at byte 0; 0 if there was none.
    pub(super) replaced: u64,
}

#[derive(Debug)]
pub(super) struct UploadJournal {
    target: ServerFile,
    /// Beside the local file, and in the caller's directory.
    paths: Vec<PathBuf>,
}

impl UploadJournal {
    /// Returns the journal for uploads of the file at `local` to `target`; `directory` is used if
    /// that of the local file cannot be written.
    pub(super) fn of(local: &Path, target: ServerFile, directory: Option<&Path>) -> Self {
        // The file that a symbolic link leads to has one journal, whatever the name of the link.
        let local = fs::canonicalize(local).unwrap_or_else(|_| local.to_owned());
        let name = local.file_name().unwrap_or_default().as_bytes();
        let parent = local.parent().unwrap_or(Path::new(""));
        let beside = parent.join(file_name(&[name], &target));
        let elsewhere = directory.map(|directory| {
            directory.join(file_name(&[parent.as_os_str().as_bytes(), name], &target))
        });
        Self { target, paths: [beside].into_iter().chain(elsewhere).collect() }
    }

    /// Compares the journal with the facts of now: `have` is the size of the server's file. Returns
    /// `None` if there is no journal.
    pub(super) fn fit(&self, local: &LocalFacts, have: u64) -> Option<Fit> {
        let sent = self.read()?;
        Some(match () {
            () if sent.local != *local => Fit::Changed,
            // More bytes than were sent, or the old file: another program wrote it.
            () if have > sent.most || have == sent.replaced => Fit::Other,
            () => Fit::Fits { kept: have },
        })
    }

    /// Returns what was sent, if there is a journal of this target.
    pub(super) fn read(&self) -> Option<JournalContent> {
        self.paths
            .iter()
            .find_map(|path| parse(&read_small(path, LONGEST_JOURNAL).ok()??, &self.target))
    }

    /// Writes the journal.
    ///
    /// # Errors
    ///
    /// Returns the error of the last directory that was tried.
    pub(super) fn write(&self, sent: &JournalContent) -> io::Result<()> {
        let text = record_of(sent, &self.target).text_of_file();
        let mut last = Ok(());
        for (number, path) in self.paths.iter().enumerate() {
            if number > 0
                && let Some(directory) = path.parent()
            {
                // Only the owner may learn about the servers.
                let mut builder = fs::DirBuilder::new();
                last = builder.recursive(true).mode(0o700).create(directory);
            }
            last = last.and_then(|()| replace_small(path, &text, false));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Removes the journal: the upload is complete, or its bytes are of no use.
    pub(super) fn remove(&self) {
        for path in &self.paths {
            // A stale journal is harmless: it describes a local file that was sent whole.
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns the name of the journal of a local file, which `local` names, and a target.
fn file_name(local: &[&[u8]], target: &ServerFile) -> String {
    let digest = target.sum(local);
    format!(".{}{}upload", hex(digest.get(..8).unwrap_or_default()), HiddenFile::CLI)
}

/// Returns the facts of the local file and of the target, which must all fit in a later run.
fn record_of(sent: &JournalContent, target: &ServerFile) -> MoveRecord {
    let Login { host, port, user, .. } = &target.login;
    MoveRecord::of_unchanged(&sent.local)
        .with("host", &hex(host.as_bytes()))
        .with("port", port)
        .with("user", &hex(user))
        .with("path", &hex(&target.path))
        .with("sent", &sent.most)
        .with("replaced", &sent.replaced)
}

fn parse(text: &str, target: &ServerFile) -> Option<JournalContent> {
    let record = MoveRecord::parse(text)?;
    let local = LocalFacts {
        inode: record.number("inode")?,
        size: record.number("size")?,
        modified: (record.number("modified")?, record.number("nanoseconds")?),
        changed: (record.number("changed")?, record.number("changed-nanoseconds")?),
    };
    let (most, replaced) = (record.number("sent")?, record.number("replaced")?);
    let sent = JournalContent { local, most, replaced };
    // Whatever names another target, or is not a whole journal, does not fit.
    (record_of(&sent, target) == record).then_some(sent)
}

/// Called before a complete file is renamed, with the path of its temporary name. Returns the time in
/// seconds that it gave the file, if it tried to.
pub(crate) type BeforeRename<'a> = dyn FnMut(&mut Client, &[u8]) -> Result<Option<i64>, Error> + 'a;

/// The facts that the server reported of an upload, right after it had confirmed it under a name that
/// others can take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConfirmedFile {
    pub(crate) told: Origin,
    /// The time that the file was given since, in seconds.
    pub(crate) given: Option<i64>,
}

impl ConfirmedFile {
    /// Asks for the time of an upload that the server has just confirmed.
    ///
    /// # Errors
    ///
    /// Returns only replies out of step: the server confirmed the upload, and a failure of the question
    /// does not change that.
    pub(crate) fn ask(client: &mut Client, path: &[u8]) -> Result<Self, Error> {
        let modified = match client.ask_together(path).and_then(|()| client.modified(path)) {
            Err(error) if error.is_out_of_step() => return Err(error),
            time => time.ok().flatten(),
        };
        Ok(Self { told: Origin::new(None, modified), given: None })
    }

    /// Returns whether nothing shows that a file with the facts `now` is another one.
    pub(crate) fn is_still(self, now: Origin) -> bool {
        let Self { told, given } = self;
        let is_given = |time| given.is_some_and(|given| age::is_about(time, given));
        let is_timed = told
            .modified
            .is_none_or(|then| now.modified.is_some_and(|time| time == then || is_given(time)));
        is_timed && told.size.is_none_or(|size| now.size == Some(size))
    }
}

/// A complete upload that lacks its final name.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) done: Done,
    confirmed: ConfirmedFile,
    /// The facts of the temporary file and of the target directly before the rename, if they were
    /// asked for.
    pub(super) before: Option<RenameFacts>,
    /// Whether the server may have renamed the file.
    pub(super) is_tried: bool,
    /// Whether the server may still rename what has the temporary name by then: it has not answered.
    pub(super) may_be_late: bool,
    /// Whether an attempt to rename it failed.
    is_later: bool,
}

impl Stored {
    pub(crate) fn new(done: Done, mut confirmed: ConfirmedFile) -> Self {
        confirmed.told.size = (done.verified == Verify::Size).then_some(done.size);
        let (is_tried, may_be_late, is_later) = (false, false, false);
        Self { done, confirmed, before: None, is_tried, may_be_late, is_later }
    }

    /// Returns the facts of the upload that the server reported right after its confirmation.
    pub(crate) const fn confirmed(&self) -> ConfirmedFile {
        self.confirmed
    }

    /// Looks at the temporary name directly before the rename: another sender can have taken it since
    /// the upload was confirmed.
    fn is_ours(&self, client: &mut Client, from: &[u8]) -> Result<bool, Error> {
        let has_digest = self.done.verified == Verify::Digest;
        if self.confirmed.told == Origin::default() && !has_digest {
            return Ok(true);
        }
        let now = Origin::ask(client, from)?;
        Ok(self.fits(now))
    }

    fn fits(&self, now: Origin) -> bool {
        // A server with digests may tell no size.
        let has_digest = self.done.verified == Verify::Digest;
        let is_sized = !has_digest || now.size.is_none_or(|size| size == self.done.size);
        is_sized && self.confirmed.is_still(now)
    }

    /// Looks at the final name after the rename: some servers give the file another name where one has
    /// this name. A rename can make the time later, and the old file is older. A file that is gone from
    /// both names was taken by a program that waits for the final one.
    fn is_at(&self, client: &mut Client, (from, to): (&[u8], &[u8])) -> Result<bool, Error> {
        let told = self.confirmed.told;
        if told == Origin::default() && self.done.verified != Verify::Digest {
            return Ok(true);
        }
        let now = Origin::ask(client, to)?;
        if now == Origin::default() {
            return match client.has_new_name((from, to), None)? {
                Some(false) => Err(Error::Job(JobFault::OldName)),
                _ => Ok(true),
            };
        }
        let is_later = now.modified.zip(told.modified).is_some_and(|(now, then)| now > then);
        Ok(self.fits(now) || is_later && self.fits(Origin { modified: told.modified, ..now }))
    }
}

pub(crate) struct Renaming<'a> {
    pub(crate) from: &'a [u8],
    pub(crate) to: &'a [u8],
    /// Whether no other sender has the temporary name, so that what is there is never another one's.
    pub(crate) is_own: bool,
    /// Whether another attempt may follow, so that the facts before the first one are needed.
    pub(crate) repeats: bool,
    /// Whether the final name is looked at after the rename even if nothing shows that it had a file.
    pub(crate) looks: bool,
    /// Whether the file keeps its temporary name if the server refuses the final one.
    pub(crate) keeps: bool,
}

impl Renaming<'_> {
    /// Gives the file in `slot` its final name, if it still has the size and the time that were noted
    /// when it was confirmed: others can take the temporary name, or answer on a new connection. Another
    /// attempt also needs the facts from before the first one. Returns `None` if nothing proves that the
    /// server has the file, so that it must be uploaded again. After an error, `slot` still has the file if another attempt can rename it.
    ///
    /// # Errors
    ///
    /// - [`JobFault::NotRenamed`] with the error of `before_rename` or of the rename, or with
    ///   [`JobFault::OldName`] if the rename was only confirmed.
    /// - [`JobFault::NotReplaced`] if the server then has another file under the final name.
    /// - [`JobFault::PerhapsRenamed`] if the reply to an earlier rename was lost and the facts
    ///   do not tell what happened. No other attempt may follow.
    /// - The errors of the questions for facts.
    pub(crate) fn run(
        &self,
        client: &mut Client,
        slot: &mut Option<Stored>,
        before_rename: &mut BeforeRename<'_>,
    ) -> Result<Option<Done>, Error> {
        let Self { from, to, .. } = *self;
        let Some(stored) = slot else {
            return Err(Error::Job(JobFault::Spent));
        };
        let ask = |client: &mut Client| -> Result<_, Error> {
            Ok((ServerFacts::ask(client, from)?, ServerFacts::ask(client, to)?))
        };
        if stored.is_later {
            let (mut is_there, mut is_renamed) = (false, false);
            if let Some(before) = &mut stored.before {
                match ask(client)? {
                    (Some(source), target) => {
                        let harms_nothing = self.is_own || !stored.is_tried;
                        is_there = before.is_source(&source)
                            && (harms_nothing
                                || !stored.may_be_late && before.is_still_free(client, to)?);
                        *before = RenameFacts::new(source, target);
                    }
                    (None, target) => {
                        is_renamed = target.is_some_and(|target| before.are_moved(&target));
                    }
                }
            }
            if stored.is_tried && is_renamed {
                return Ok(slot.take().map(|stored| stored.done));
            }
            if !is_there {
                let is_tried = stored.is_tried;
                *slot = None;
                return match is_tried {
                    true => Err(Error::Job(JobFault::PerhapsRenamed { temporary: from.to_vec() })),
                    false => Ok(None),
                };
            }
        }
        // The caller may set times, and move away what the target has.
        let looked = before_rename(client, from).and_then(|given| {
            stored.confirmed.given = given.or(stored.confirmed.given);
            if self.repeats && stored.before.is_none() {
                let (source, target) = ask(client)?;
                stored.before = source.map(|source| RenameFacts::new(source, target));
            }
            // A later attempt has just compared all facts.
            Ok(stored.is_later || stored.is_ours(client, from)?)
        });
        if let Ok(false) = looked {
            *slot = None;
            if self.is_own {
                let _ = client.delete(from);
            }
            return Ok(None);
        }
        let is_looked = looked.is_ok();
        let begun = looked.and_then(|_| client.rename_from(from, to));
        let is_begun = begun.is_ok();
        let was_there = stored.before.as_ref().is_some_and(RenameFacts::was_there);
        let error = match begun.and_then(|command| client.rename_to(&command)) {
            Ok(()) if self.looks || was_there => {
                (stored.is_tried, stored.is_later) = (true, true);
                match stored.is_at(client, (from, to)) {
                    Ok(true) => return Ok(slot.take().map(|stored| stored.done)),
                    Ok(false) => {
                        *slot = None;
                        return Err(Error::Job(JobFault::NotReplaced));
                    }
                    Err(error @ Error::Job(JobFault::OldName)) => error,
                    Err(error) => return Err(error),
                }
            }
            Ok(()) => return Ok(slot.take().map(|stored| stored.done)),
            Err(error) => error,
        };
        let is_refused = matches!(error, Error::Refused { .. });
        let is_unmoved = matches!(error, Error::Job(JobFault::OldName));
        // A refused question does not prove that the file is ours, unless nobody else has its name.
        let may_go = (is_looked && is_refused || self.is_own) && !self.keeps;
        let removed = (is_refused || is_unmoved) && may_go && client.delete(from).is_ok();
        stored.is_tried |= is_begun && !is_refused;
        stored.may_be_late |= stored.is_tried && !matches!(error, Error::ServiceClosing(_));
        stored.is_later = true;
        if error.is_out_of_step() && !stored.is_tried {
            // The confirmation may answer another command, so it is stale, and the facts with it.
            stored.before = None;
        }
        if removed || is_unmoved {
            *slot = None;
        }
        let (temporary, cause) = (from.to_vec(), Box::new(error));
        Err(Error::Job(JobFault::NotRenamed { temporary, cause, removed }))
    }

    /// Removes a file that gets no final name, unless it may be another sender's or of use to a later run.
    pub(crate) fn withdraw(&self, client: &mut Client, stored: Option<Stored>) {
        let is_ours = |client: &mut Client| {
            stored.is_some_and(|stored| matches!(stored.is_ours(client, self.from), Ok(true)))
        };
        if self.is_own || !self.keeps && is_ours(client) {
            let _ = client.delete(self.from);
        }
    }
}

/// Compares the size that the server reports with that of the file that it stored.
///
/// # Errors
///
/// Returns the errors of [`check_size`]; the bytes are those that the server has.
pub(crate) fn check_stored_size(
    client: &mut Client,
    path: &[u8],
    size: u64,
    verify: Verify,
) -> Result<Verify, Error> {
    check_size(client, path, size, verify).map_err(|error| match error {
        Error::Incomplete { bytes, announced: Some(there) } => {
            Error::Incomplete { bytes: there, announced: Some(bytes) }
        }
        error => error,
    })
}

/// Returns the time of a server's file whose copy gets it too. A server that does not report it, or
/// in an unknown form, leads to a note.
///
/// # Errors
///
/// Returns the errors of [`Client::modified`].
pub(crate) fn time_to_preserve(
    client: &mut Client,
    (path, target): (&[u8], &[u8]),
    on: &dyn Observer,
) -> Result<Option<TimeVal>, Error> {
    let why = match client.readable_time(path) {
        Ok(None) => Error::Unsupported(Unsupported::NoModificationTime),
        Err(error @ Error::UnreadableTime(_)) => error,
        time => return time,
    };
    on.event(Event::Note { target, note: Note::NoTime(&why) });
    Ok(None)
}

/// Sets the modification time of a file that the server stored.
///
/// # Errors
///
/// Returns [`JobFault::NotTimed`] if the server refuses it for good, and the errors of
/// [`Client::set_modified`].
pub(crate) fn set_time(client: &mut Client, path: &[u8], time: TimeVal) -> Result<(), Error> {
    match client.set_modified(path, time) {
        Ok(_) => Ok(()),
        Err(Error::Refused { verb, reply }) if reply.code().severity() != Severity::Transient => {
            let cause = Box::new(Error::Refused { verb, reply });
            Err(Error::Job(JobFault::NotTimed(cause)))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16, user: &str, path: &str) -> ServerFile {
        let mut login = Login::for_tests(host, port);
        login.user = user.as_bytes().to_vec();
        ServerFile { login, path: path.as_bytes().to_vec() }
    }

    #[test]
    fn a_journal_fits_one_target_and_one_unchanged_local_file() {
        let root = tempfile::tempdir().unwrap();
        let local = root.path().join("a");
        fs::write(&local, "0123456789").unwrap();
        let facts = LocalFacts::of(&fs::metadata(&local).unwrap());
        let own = target("h", 21, "u", "d/a");
        let journal = UploadJournal::of(&local, own.clone(), None);
        assert_eq!(journal.fit(&facts, 4), None);
        journal.write(&JournalContent { local: facts, most: 7, replaced: 3 }).unwrap();
        for (have, want) in [
            (1, Fit::Fits { kept: 1 }),
            (3, Fit::Other),
            (7, Fit::Fits { kept: 7 }),
            (8, Fit::Other),
        ] {
            assert_eq!(journal.fit(&facts, have), Some(want), "{have}");
        }
        for edited in [
            LocalFacts { inode: facts.inode + 1, ..facts },
            LocalFacts { size: 11, ..facts },
            LocalFacts { modified: (facts.modified.0, facts.modified.1 + 1), ..facts },
            LocalFacts { changed: (facts.changed.0 + 1, facts.changed.1), ..facts },
        ] {
            assert_eq!(journal.fit(&edited, 4), Some(Fit::Changed), "{edited:?}");
        }
        for other in [
            target("g", 21, "u", "d/a"),
            target("h", 22, "u", "d/a"),
            target("h", 21, "v", "d/a"),
            target("h", 21, "u", "d/b"),
            target("h", 21, "ud/", "a"),
        ] {
            let journal = UploadJournal::of(&local, other, None);
            assert_eq!(journal.fit(&facts, 4), None, "{journal:?}");
        }
        // Somebody else's text under its name.
        fs::write(&journal.paths[0], "ftp-cli journal 1\nsent 4\n").unwrap();
        assert_eq!(journal.fit(&facts, 4), None);
        journal.remove();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_written_leaves_the_callers_directory() {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A directory that does not exist cannot be written, even by root.
        let local = root.path().join("missing/a");
        let facts = LocalFacts::of(&fs::metadata(root.path()).unwrap());
        let own = target("h", 21, "u", "a");
        let sent = JournalContent { local: facts, most: 7, replaced: 0 };
        assert!(UploadJournal::of(&local, own.clone(), None).write(&sent).is_err());
        let journal = UploadJournal::of(&local, own, Some(state.path()));
        journal.write(&sent).unwrap();
        assert_eq!(journal.read(), Some(sent));
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
        journal.remove();
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_under_a_temporary_name_is_ours_while_its_size_and_time_stay() {
        let told = |size: Option<u64>, time: Option<i64>| {
            Origin::new(size, time.and_then(TimeVal::from_unix_seconds))
        };
        let (both, day) = (told(Some(5), Some(90_000)), Some(45_001));
        for (then, given, now, want) in [
            (both, None, told(Some(5), Some(90_000)), true),
            (both, None, told(Some(5), Some(90_001)), false),
            (both, None, told(Some(4), Some(90_000)), false),
            (both, None, told(Some(5), None), false),
            (both, None, told(None, Some(90_000)), false),
            // It was given another time, which the server rounds, shows in its zone, or ignores.
            (both, day, told(Some(5), Some(45_000)), true),
            (both, day, told(Some(5), Some(45_000 + 3_600)), true),
            (both, day, told(Some(5), Some(90_000)), true),
            (both, day, told(Some(5), Some(90_100)), false),
            // What was not told cannot differ.
            (told(Some(5), None), None, told(Some(5), Some(1)), true),
            (told(Some(5), None), None, told(Some(6), None), false),
            (told(None, Some(90_000)), None, told(None, Some(90_000)), true),
        ] {
            let confirmed = ConfirmedFile { told: then, given };
            assert_eq!(confirmed.is_still(now), want, "{then:?} {given:?} {now:?}");
        }
    }
}
