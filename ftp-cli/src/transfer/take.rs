//! `get --remove-source`: downloads a file, and removes it from the server once it is complete
//! here.
//!
//! No file is lost if the program is killed, whatever the moment. A lock excludes other runs during
//! these steps:
//!
//! 1. The complete file gets the name TAKEN, next to its target. The journal records the facts of
//!    this file and of the server's file.
//! 2. TAKEN is renamed to the target, and then "published" is written to the journal. After a kill
//!    between the two, the next run recognises the target by its recorded facts. If another program
//!    has moved the target away meanwhile, the file is downloaded again.
//! 3. The server's file is removed, if it still matches the journal.
//! 4. The journal is removed.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ftp_client::{Client, Error, ListingForm};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::context::{Attempt, Context, Done, RemoteFile};
use super::download;
use super::journal::{self, Journal, Record, hex};
use super::target::{Target, parent, sync_directory};
use super::verify::Verified;
use crate::connect::retry::pause_until;
use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// Age of a file, in seconds by this computer's clock, from which any later change gives it a
/// different modification time. It allows for a server's clock that is a few seconds slow, and for
/// times in whole seconds.
const SETTLED: i64 = 10;

/// Pause after which the clocks of a server and of its file system show a later time.
const TICK: Duration = Duration::from_secs(2);

/// Number of changes to a very new file after which its download is given up.
const CHANGES: usize = 5;

/// Facts by which a file on a server is recognised.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    size: Option<u64>,
    /// Modification time in seconds since 1970-01-01T00:00:00Z.
    modified: Option<i64>,
    /// Unique identifier at the server (MLST).
    unique: Option<String>,
}

impl Facts {
    /// Requests the facts of a file from the server.
    ///
    /// # Errors
    ///
    /// Returns the errors of the client.
    pub(super) fn ask(client: &mut Client, path: &[u8]) -> Result<Self, Error> {
        let entry = match client.features()?.has("MLST") {
            true => client.stat(path)?,
            false => None,
        };
        let size = client.size(path)?;
        let modified = client.modified(path)?.map(|time| time.unix_seconds());
        let unique = entry.and_then(|entry| entry.unique).map(|unique| hex(&unique));
        Ok(Self { size, modified, unique })
    }

    pub(super) fn record(&self) -> Record {
        let record = Record::default().with_if("size", self.size.as_ref());
        record.with_if("modified", self.modified.as_ref()).with_if("unique", self.unique.as_ref())
    }

    /// Returns whether the facts prove that the file is the one recorded in a journal. If the size
    /// or the time is missing, they prove nothing.
    pub(super) fn is_recorded(&self, record: &Record) -> bool {
        self.size.is_some()
            && self.modified.is_some()
            && self.size == record.number("size")
            && self.modified == record.number("modified")
            && self.unique.as_deref() == record.text("unique")
    }
}

/// Downloads a file to `target`, and removes it from the server.
///
/// # Errors
///
/// Returns the failures of [`download::download`], and:
///
/// - `Limit` if another run is moving the file,
/// - `Unsupported` if the server does not report the facts that show a change,
/// - `Integrity` if the server's file changes before its removal,
/// - `Refused` if the server does not remove the file; the local file is complete then.
pub(crate) fn take(
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    target: &Path,
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    let _lock = journal::hold(target)?;
    let journal = Journal::of(target, &remote.name.to_string(), &remote.user);
    let replaces = !context.settings.no_clobber;
    let named = |failure: Failure, remote: &RemoteFile<'_>| failure.context(remote.name);
    if let Some(record) = journal.read()? {
        let done = finish(context, client, remote, (target, replaces), &journal, record)
            .map_err(|failure| named(failure, remote))?;
        if let Some(done) = done {
            return Ok(done);
        }
    }
    if let Some(done) = download::skipped(context, client, remote, &Target::File(target.into()))? {
        return Ok(done);
    }
    let taken = journal.taken();
    // A TAKEN file without a journal may differ from the server's file.
    remove(&taken)?;
    let before = settled(context, client, remote).map_err(|failure| named(failure, remote))?;
    // The file is private from its first byte if the one that it replaces is.
    let into = (&Target::File(taken.clone()), Some(target));
    let done = download::fetch(context, client, remote, into, attempt)
        .map_err(|failure| named(failure, remote))?;
    let here = copy_at(&taken)?.unwrap_or_default();
    let length = here.number("size").unwrap_or_default();
    let proved = prove(client, remote, &before, length, done.verified);
    let facts = match proved {
        Ok(facts) => facts,
        Err(failure) => {
            remove(&taken)?;
            return Err(named(failure, remote));
        }
    };
    let record = Record::default().with_part("here", &here).with_part("there", &facts.record());
    journal.write(&record)?;
    let published = publish(context, &taken, target, replaces);
    if published.as_ref().is_err_and(|failure| failure.exit == Exit::Partial) {
        // Nothing is lost: the server still has the file.
        journal.remove()?;
        remove(&taken)?;
    }
    if !published? {
        return not_published(&journal);
    }
    journal.write(&record.with("published", "yes"))?;
    delete(client, remote, &facts.record(), &journal).map_err(|failure| named(failure, remote))?;
    Ok(done)
}

/// Returns the facts of the server's file before its download. If the file is very new, waits
/// first, so that any later change gets a different time.
fn settled(
    context: &Context<'_>,
    client: &mut Client,
    remote: &RemoteFile<'_>,
) -> Result<Facts, Failure> {
    let path = remote.place.path();
    let mut facts = Facts::ask(client, path)?;
    for _ in 0..CHANGES {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if facts.modified.is_none_or(|modified| now.saturating_sub(modified) >= SETTLED) {
            return Ok(facts);
        }
        pause_until(Instant::now() + TICK, context.cleanup.canceller());
        let later = Facts::ask(client, path)?;
        if later == facts {
            return Ok(facts);
        }
        facts = later;
    }
    let message = "the file on the server keeps changing, so it was not downloaded; try again later, or use --min-age 5min";
    Err(Failure::item(Exit::Integrity, message))
}

/// Verifies that the server's file did not change during the download, and that its size is
/// `length`, the size of the downloaded file. Returns its facts.
fn prove(
    client: &mut Client,
    remote: &RemoteFile<'_>,
    before: &Facts,
    length: u64,
    verified: Verified,
) -> Result<Facts, Failure> {
    let now = Facts::ask(client, remote.place.path())?;
    let lacks = |what: &str| {
        let message = format!(
            "--remove-source: not moved: the server does not report the {what} of the file"
        );
        Err(Failure::item(Exit::Unsupported, message))
    };
    if now.size.is_none() || verified == Verified::None {
        return lacks("size");
    }
    let is_same = (before.modified, &before.unique) == (now.modified, &now.unique);
    if now.size != Some(length) || !is_same {
        let message = "the file on the server changed during the download, so it was not moved";
        return Err(Failure::item(Exit::Integrity, message));
    }
    if now.modified.is_none() && verified != Verified::Hash {
        return lacks("modification time");
    }
    Ok(now)
}

/// Continues an interrupted move, and returns its result. Returns `None` if the file must be
/// downloaded again, because it may not have been published, or because the server has a new file.
fn finish(
    context: &Context<'_>,
    client: &mut Client,
    remote: &RemoteFile<'_>,
    (target, replaces): (&Path, bool),
    journal: &Journal,
    record: Record,
) -> Result<Option<Done>, Failure> {
    let there = record.part("there");
    if record.text("published").is_none() {
        let (taken, copy) = (journal.taken(), Some(record.part("here")));
        if copy_at(&taken)? == copy {
            if !publish(context, &taken, target, replaces)? {
                return not_published(journal).map(Some);
            }
        } else if copy_at(target)? != copy {
            journal.remove()?;
            return Ok(None);
        }
        journal.write(&record.with("published", "yes"))?;
    }
    let path = remote.place.path();
    let facts = Facts::ask(client, path)?;
    let moved = Done { verified: Verified::Size, ..Done::moved(0, Duration::ZERO) };
    if facts.is_recorded(&there) {
        delete(client, remote, &there, journal)?;
        return Ok(Some(moved));
    }
    let is_gone = facts.size.is_none()
        && facts.modified.is_none()
        && client.look(path, ListingForm::Auto)?.is_none();
    journal.remove()?;
    Ok(is_gone.then_some(moved))
}

/// Ends a move because `--no-clobber` protects the target.
fn not_published(journal: &Journal) -> Result<Done, Failure> {
    journal.remove()?;
    remove(&journal.taken())?;
    Ok(Done::skipped("now exists"))
}

/// Returns the facts of a local file, if there is one.
fn copy_at(path: &Path) -> Result<Option<Record>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(Record::of_file(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::local(shown_path(path), &error)),
    }
}

/// Removes the server's file if it is still the recorded one.
fn delete(
    client: &mut Client,
    remote: &RemoteFile<'_>,
    record: &Record,
    journal: &Journal,
) -> Result<(), Failure> {
    let path = remote.place.path();
    let facts = Facts::ask(client, path)?;
    if facts.record() != *record {
        journal.remove()?;
        let message = "downloaded, but not removed: the file on the server changed";
        return Err(Failure::item(Exit::Integrity, message).never_retried());
    }
    client.delete(path).map_err(|error| {
        let failure = Failure::from(error);
        let message = format!("downloaded, but not removed: {}", failure.message);
        Failure { message, ..failure }
    })?;
    journal.remove()
}

/// Renames a complete file to its target; it has the permissions of a file that it replaces.
/// Returns `false` if the target exists and must not be replaced.
fn publish(
    context: &Context<'_>,
    taken: &Path,
    target: &Path,
    replaces: bool,
) -> Result<bool, Failure> {
    let failed = |error: &io::Error| match error.kind() {
        // The file system takes two targets for one.
        io::ErrorKind::AlreadyExists => Failure::item(Exit::Partial, error.to_string()),
        _ => Failure::local(shown_path(target), error),
    };
    let renamed = context.targets.publish(target, || {
        if replaces {
            return fs::rename(taken, target).map(|()| true);
        }
        match renameat_with(CWD, taken, CWD, target, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => Ok(false),
            renamed => Ok(renamed.map(|()| true)?),
        }
    });
    if !renamed.map_err(|error| failed(&error))? {
        return Ok(false);
    }
    sync_directory(parent(target)).map(|()| true).map_err(|error| failed(&error))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::local(shown_path(path), &error))
        }
        _ => Ok(()),
    }
}
