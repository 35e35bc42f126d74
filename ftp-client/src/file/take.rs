//! The download that removes its source.
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
use std::time::{Duration, Instant};

use super::begin::{Sink, named_once};
use super::evidence::prove_copy;
use super::get::Get;
use super::journal::LocalFacts;
use super::local::{Replaceable, rename};
use super::moving::{MoveJournal, MoveRecord, MovedName, hold, remove};
use super::options::{Existing, SkipReason};
use super::partial::named;
use super::record::parent;
use super::{Done, Verify};
use crate::age;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::data::{MovesAhead, SeenSource};
use crate::error::{Error, JobFault};
use crate::event::Observer;
use crate::facts::ServerFacts;
use crate::system::sync_directory;

/// Number of changes to a very new file after which its download is given up.
const CHANGES: usize = 5;

impl<'a> Get<'a> {
    /// Downloads a file to `target`, and removes it from the server.
    pub(super) fn take(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        target: &'a Path,
    ) -> Result<Done, Error> {
        let _lock = hold(target)?;
        let name = match &self.job.name {
            Some(name) => name.clone(),
            None => MovedName::of(client, &self.job.place)?,
        };
        let journal = MoveJournal::of(target, &name);
        if let Some(record) = journal.read()?
            && let Some(done) = self.go_on(client, target, &journal, record)?
        {
            return Ok(done);
        }
        if let Some(why) = self.skips(client, on)? {
            return Ok(Done::skipped(why));
        }
        let taken = journal.taken();
        // A TAKEN file without a journal may differ from the server's file.
        remove(&taken)?;
        let before = self.settled(client)?;
        let done = self.fetch_to(client, on, (&taken, target))?;
        let copy = copy_at(&taken)?;
        let length = copy.as_ref().map_or(0, |copy| copy.size);
        let there = match self.prove(client, &before, length, done.verified) {
            Ok(facts) => MoveRecord::of_server(&facts),
            Err(error) => {
                remove(&taken)?;
                return Err(error);
            }
        };
        let here = copy.as_ref().map(MoveRecord::of_file).unwrap_or_default();
        let record = MoveRecord::default().with_part("here", &here).with_part("there", &there);
        let record = match self.job.replaces {
            Replaceable::Seen(old) => record.with_part("old", &record_of(old)),
            _ => record,
        };
        journal.write(&record)?;
        if !self.publish(&journal, target)? {
            return not_published(&journal);
        }
        journal.write(&record.with("published", "yes"))?;
        self.delete(client, &there, &journal)?;
        Ok(done)
    }

    /// Downloads the file to `taken`, which gets the permissions of `target`.
    fn fetch_to(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        (taken, target): (&Path, &'a Path),
    ) -> Result<Done, Error> {
        let job = &mut self.job;
        // The file is private from its first byte if the one that it replaces is.
        let like = job.like.replace(target);
        let targets = job.targets.take();
        let done = job.fetch(client, on, &mut Sink::Path(taken));
        (job.like, job.targets) = (like, targets);
        done
    }

    /// Returns the facts of the server's file before its download. Waits first, so that any later
    /// change gets a different time: the clock of the server does not tell how old the file is. The
    /// files that follow wait meanwhile, too.
    fn settled(&self, client: &mut Client) -> Result<ServerFacts, Error> {
        let path = self.job.place.path();
        let early = client.moves.seen.remove(path).filter(|_| !client.has_moved());
        let mut facts = ServerFacts::ask_each(client, path)?;
        let mut seen = early.or_else(|| seen_now(&facts));
        for _ in 0..CHANGES {
            let Some(SeenSource { at, .. }) = seen else { return Ok(facts) };
            let is_over = at.elapsed() >= age::TICK;
            if !is_over {
                client.look_ahead(at + age::TICK)?;
                client.control.waiter().sleep(age::TICK.saturating_sub(at.elapsed()))?;
                facts = ServerFacts::ask_each(client, path)?;
            }
            let later = seen_now(&facts);
            if later.as_ref().map(|later| SeenSource { at, ..later.clone() }) == seen {
                return Ok(facts);
            }
            seen = later;
        }
        Err(Error::Job(JobFault::Unsettled))
    }

    /// Verifies that the server's file did not change during the download, and that its size is
    /// `length`, the size of the downloaded file. Returns its facts.
    fn prove(
        &self,
        client: &mut Client,
        before: &ServerFacts,
        length: u64,
        verified: Verify,
    ) -> Result<ServerFacts, Error> {
        let now = ServerFacts::ask_each(client, self.job.place.path())?;
        let is_same = (before.modified, &before.unique) == (now.modified, &now.unique);
        let is_timed = now.modified.is_some() || verified == Verify::Digest;
        let size = now.size.filter(|_| verified != Verify::None);
        prove_copy(size, length, is_same, is_timed).map(|()| now).map_err(Error::Job)
    }

    /// Continues an interrupted move, and returns its result. Returns `None` if the file must be
    /// downloaded again, because it may not have been published, or because the server has a new
    /// file, or does not prove that it has none.
    fn go_on(
        &mut self,
        client: &mut Client,
        target: &Path,
        journal: &MoveJournal,
        record: MoveRecord,
    ) -> Result<Option<Done>, Error> {
        let (there, existing) = (record.part("there"), self.job.options.existing);
        if record.text("published").is_none() {
            let (taken, copy) = (journal.taken(), Some(record.part("here")));
            let record_at =
                |path: &Path| Ok::<_, Error>(copy_at(path)?.as_ref().map(MoveRecord::of_file));
            if record_at(&taken)? == copy {
                if matches!(existing, Existing::ReplaceOlder | Existing::ReplaceDifferent) {
                    let now = copy_at(target)?;
                    if record.part("old") != record_of(now) {
                        // It is compared with the server's file again.
                        journal.remove()?;
                        remove(&taken)?;
                        return Ok(None);
                    }
                    self.job.replaces = Replaceable::Seen(now);
                }
                if !self.publish(journal, target)? {
                    return not_published(journal).map(Some);
                }
            } else if record_at(target)? != copy {
                journal.remove()?;
                return Ok(None);
            }
            journal.write(&record.with("published", "yes"))?;
        }
        let path = self.job.place.path();
        let facts = ServerFacts::ask_each(client, path)?;
        let size = there.number("size").unwrap_or_default();
        let moved = Done { resumed: 0, ..Done::moved(0, size, Duration::ZERO) };
        let moved = Done { verified: Verify::Size, ..moved };
        if there.is_of(&facts) {
            self.delete(client, &there, journal)?;
            return Ok(Some(moved));
        }
        let found = match (facts.size, facts.modified) {
            (None, None) => client.existence(path)?,
            _ => Existence::Present,
        };
        if found != Existence::Unknown {
            journal.remove()?;
        }
        Ok((found == Existence::Absent).then_some(moved))
    }

    /// Removes the server's file if it is still the recorded one.
    fn delete(
        &self,
        client: &mut Client,
        record: &MoveRecord,
        journal: &MoveJournal,
    ) -> Result<(), Error> {
        let path = self.job.place.path();
        let facts = ServerFacts::ask_each(client, path)?;
        if MoveRecord::of_server(&facts) != *record {
            journal.remove()?;
            return Err(Error::Job(JobFault::ServerChanged));
        }
        let deleted = client.delete(path);
        deleted.map_err(|error| Error::Job(JobFault::NotRemoved(Box::new(error))))?;
        journal.remove()
    }

    /// Renames the complete file to its target; it has the permissions of a file that it replaces.
    /// Returns `false` if the target exists and must not be replaced.
    fn publish(&self, journal: &MoveJournal, target: &Path) -> Result<bool, Error> {
        let (taken, replaces) = (journal.taken(), self.job.replaces);
        let publish = || match rename(&taken, target, replaces) {
            Err(error)
                if matches!(replaces, Replaceable::Nothing)
                    && error.kind() == io::ErrorKind::AlreadyExists =>
            {
                Ok(false)
            }
            renamed => renamed.map(|()| true),
        };
        let renamed = match self.job.targets {
            Some(targets) => targets.publish(target, false, publish),
            None => publish(),
        };
        match renamed {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    // Nothing is lost: the server still has the file.
                    journal.remove()?;
                    remove(&taken)?;
                }
                return Err(Error::local(named_once(target, &error)));
            }
        }
        let synced = sync_directory(parent(target));
        synced.map(|()| true).map_err(|error| Error::local(named(target, &error)))
    }
}

/// Returns what the journal of a move notes of the file that it may replace.
fn record_of(old: Option<LocalFacts>) -> MoveRecord {
    old.as_ref().map(MoveRecord::of_unchanged).unwrap_or_default()
}

/// Returns what is compared with a later look; `None` without a time.
fn seen_now(facts: &ServerFacts) -> Option<SeenSource> {
    let is_timed = facts.modified.is_some();
    is_timed.then(|| SeenSource { at: Instant::now(), facts: facts.clone() })
}

impl Client {
    /// Announces the paths of files that later [moves](crate::FileOptions::moves) download over this
    /// connection. Before its download, a move waits until a change of the server's file would show in
    /// its time; the announced files wait together with the first one.
    pub fn plan_moves(&mut self, paths: impl IntoIterator<Item = Vec<u8>>) {
        let MovesAhead { next, seen } = &mut self.moves;
        *next = paths.into_iter().filter(|path| !seen.contains_key(path)).collect();
    }

    /// Looks at the files that follow, until that time.
    fn look_ahead(&mut self, until: Instant) -> Result<(), Error> {
        // Elsewhere, a relative path has another meaning.
        while !self.has_moved()
            && Instant::now() < until
            && let Some(path) = self.moves.next.pop_front()
        {
            match ServerFacts::ask_each(self, &path) {
                Ok(facts) => self.moves.seen.extend(seen_now(&facts).map(|seen| (path, seen))),
                // Its own turn reports that.
                Err(Error::Refused { .. } | Error::Argument(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Ends a move because the target must not be replaced.
fn not_published(journal: &MoveJournal) -> Result<Done, Error> {
    journal.remove()?;
    remove(&journal.taken())?;
    Ok(Done::skipped(SkipReason::NowExists))
}

fn copy_at(path: &Path) -> Result<Option<LocalFacts>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(LocalFacts::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::local(named(path, &error))),
    }
}
