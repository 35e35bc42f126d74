//! The upload that removes its source.
//!
//! Under a temporary name ([`StoreAs::Under`]), no file is lost, even if the program is killed at any
//! moment. A lock excludes other runs during these steps:
//!
//! 1. The file is uploaded under its temporary name, and verified.
//! 2. The facts about the local file and the server's file, and the temporary name, are written to
//!    the journal.
//! 3. The server renames the file, and then "renamed" is written to the journal. After a kill in
//!    between, the next run looks for a file of the same size and time under both names. If it
//!    finds none, it uploads the file again.
//! 4. The local file is removed if it still matches the journal, and then the journal is removed.
//!
//! If the run writes several names of one directory, step 4 waits until
//! [`RemoteTargets::finish`](crate::file::RemoteTargets::finish) has seen all of them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Job, OpenedSource, StoreAs};
use crate::client::Client;
use crate::digest::hex;
use crate::error::{self, Error, JobFault};
use crate::event::{Event, Observer, Why};
use crate::facts::ServerFacts;
use crate::file::evidence::{Origin, unless_busy};
use crate::file::journal::{ConfirmedFile, LocalFacts};
use crate::file::local::{Replaceable, rename, take_aside};
use crate::file::moving::{MoveJournal, MoveLock, MoveRecord, MovedName, aside, hold};
use crate::file::partial::named;
use crate::file::record::parent;
use crate::file::targets::MovedSource;
use crate::file::{Done, Verify};
use crate::system::{is_in_use, is_same, open_last, sync_directory};
use crate::url_path::Place;

pub(super) struct Moving {
    _lock: MoveLock,
    local: PathBuf,
    here: LocalFacts,
    journal: Option<MoveJournal>,
    begun: Option<MoveRecord>,
    /// The facts of the upload that the server reported right after its confirmation.
    pub(super) confirmed: ConfirmedFile,
}

impl Moving {
    /// Records a complete upload, which has the temporary path `path`, before it is renamed.
    pub(super) fn note(
        &mut self,
        client: &mut Client,
        path: &[u8],
        temporary: &[u8],
    ) -> Result<(), Error> {
        let there = ServerFacts::ask_each(client, path)?;
        // Another sender has taken the temporary name: no later run may take its file for this one. The
        // rename finds that out, too.
        if !self.confirmed.is_still(Origin::new(there.size, there.modified)) {
            return Ok(());
        }
        let record = MoveRecord::default()
            .with_part("here", &MoveRecord::of_unchanged(&self.here))
            .with_part("there", &MoveRecord::of_server(&there))
            .with("temporary", &hex(temporary));
        if let Some(journal) = &self.journal {
            journal.write(&record)?;
        }
        self.begun = Some(record);
        Ok(())
    }
}

impl Job<'_> {
    /// Begins the move of a regular file: locks it, and reads it as it is under the lock. Breaks with
    /// the result if an earlier run has moved all of it but the source.
    pub(super) fn begin_move(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &mut OpenedSource<'_>,
    ) -> Result<ControlFlow<Done, Moving>, Error> {
        let OpenedSource::Regular { file, path: local, .. } = *source else {
            return Err(Error::Job(JobFault::NotRegular));
        };
        let _lock = hold(local)?;
        check_name(file, local)?;
        *source = OpenedSource::of(file, local, self.options)?;
        let here = source.facts().ok_or(Error::Job(JobFault::NotRegular))?;
        let mut journal = None;
        if let StoreAs::Under(_) = self.store {
            let name = match &self.name {
                Some(name) => name.clone(),
                None => MovedName::of(client, &self.origin)?,
            };
            journal = Some(MoveJournal::of(local, &name));
        }
        if let Some(journal) = &journal
            && let Some(record) = journal.read()?
        {
            let is_same = record.part("here") == MoveRecord::of_unchanged(&here);
            let is_renamed = self.is_renamed(client, journal, record, here)?;
            if is_renamed && is_same {
                let done = Done::moved(0, here.size, Duration::ZERO);
                let done = Done { verified: Verify::Size, resumed: 0, ..done };
                let journal = Some(journal.clone());
                let source = MovedSource::new(local, here, journal);
                self.remove(&done, source, ConfirmedFile::default())?;
                return Ok(ControlFlow::Break(done));
            }
            journal.remove()?;
            self.forget_stored();
            if is_same {
                let (target, why) = (self.place.path(), Why::Vanished);
                on.event(Event::FromZero { target, why });
            }
        }
        let local = local.to_owned();
        let confirmed = ConfirmedFile::default();
        Ok(ControlFlow::Continue(Moving { _lock, local, here, journal, begun: None, confirmed }))
    }

    /// Ends a move: removes the source of a complete upload.
    pub(super) fn end_move(
        &self,
        client: &mut Client,
        moving: Moving,
        done: Result<Done, Error>,
    ) -> Result<Done, Error> {
        let Moving { _lock, local, here, journal, begun, .. } = moving;
        let done = done.inspect_err(|error| {
            // The refusal is certain and nothing is published, so the next run starts from the
            // beginning.
            if error.kind() == error::ErrorKind::Refused
                && let Some(journal) = &journal
            {
                let _ = journal.remove();
            }
        })?;
        if let (Some(record), Some(journal)) = (begun.filter(|_| !self.waits()), &journal) {
            journal.write(&record.with("renamed", "yes"))?;
        }
        let confirmed = match self.is_under() && self.waits() {
            // A rename can change the time.
            true => ConfirmedFile::ask(client, self.place.path())?,
            false => self.confirmed,
        };
        self.remove(&done, MovedSource::new(&local, here, journal), confirmed)?;
        Ok(done)
    }

    /// Returns whether other names in the same directory must be seen before the source goes.
    pub(super) fn waits(&self) -> bool {
        self.targets.is_some_and(|targets| targets.are_several(&self.origin))
    }

    /// Removes the source of a complete upload, now or when its name has been seen on the server.
    fn remove(
        &self,
        done: &Done,
        source: MovedSource,
        confirmed: ConfirmedFile,
    ) -> Result<(), Error> {
        // The server confirmed at least the size.
        if done.verified == Verify::None {
            return Err(Error::Job(JobFault::NoSize));
        }
        if self.past.perhaps_same.is_some() {
            return Ok(());
        }
        match self.targets.filter(|_| self.waits()) {
            Some(targets) => targets.remove_later(&self.origin, source, confirmed),
            None => source.remove()?,
        }
        Ok(())
    }

    /// Returns whether the file under the final name can be that of a record, or was taken by another program.
    fn has_size_of(&self, client: &mut Client, there: &MoveRecord) -> Result<bool, Error> {
        let told = unless_busy(client.size_told(self.place.path()))?.known();
        let size = there.number::<u64>("size");
        Ok(told.is_none() || size.is_none() || told == size)
    }

    /// Gives the file of an interrupted move its final name, if necessary. Returns whether the file
    /// provably has this name: a file with the final or the temporary name may be another sender's.
    fn is_renamed(
        &mut self,
        client: &mut Client,
        journal: &MoveJournal,
        record: MoveRecord,
        here: LocalFacts,
    ) -> Result<bool, Error> {
        let there = record.part("there");
        if record.text("renamed").is_some() {
            // A power cut can take what the server had not synced.
            return self.has_size_of(client, &there);
        }
        let Some(temporary) = record.bytes("temporary") else { return Err(journal.damaged()) };
        let path_of = |name: &[u8]| {
            let mut place: Place = self.place.clone();
            place.set_name(name);
            place.path().to_vec()
        };
        let (from, to) = (path_of(&temporary), path_of(self.place.name()));
        // The server may still rename what others store under the temporary name by then.
        if let Some(stored) = self.past.stored.as_ref().filter(|stored| stored.may_be_late)
            && !self.has_own_name()
        {
            let is_gone = ServerFacts::ask(client, &from)?.is_none();
            let now = ServerFacts::ask_each(client, &to)?;
            let is_new = stored.before.as_ref().is_none_or(|before| before.are_moved(&now));
            if !(is_gone && is_new && there.is_of(&now)) {
                self.past.is_final = true;
                return Err(Error::Job(JobFault::PerhapsRenamed { temporary: from }));
            }
        } else if there.is_of(&ServerFacts::ask_each(client, &from)?) {
            // Another program may have stored a file since the upload.
            if self.kept(client, Some(here))?.is_some() {
                let _ = client.delete(&from);
                return Ok(false);
            }
            client.rename(&from, &to).map_err(|cause| {
                let cause = Box::new(cause);
                Error::Job(JobFault::NotRenamed { temporary: from, cause, removed: false })
            })?;
            if !self.has_size_of(client, &there)? {
                return Ok(false);
            }
        } else if !there.is_of(&ServerFacts::ask_each(client, &to)?) {
            return Ok(false);
        }
        if !self.waits() {
            // With this record, the next run need only ask for the size.
            journal.write(&record.with("renamed", "yes"))?;
        }
        Ok(true)
    }
}

/// Checks that the open file still has its name: another run may have moved it before the lock.
fn check_name(file: &File, local: &Path) -> Result<(), Error> {
    let failed = |error| Error::local(named(local, &error));
    let (held, found) = (file.metadata().map_err(failed)?, fs::metadata(local).map_err(failed)?);
    match is_same(&held, &found) {
        true => Ok(()),
        false => Err(Error::Job(JobFault::OtherSource)),
    }
}

impl MovedSource {
    /// Removes the local file if it is still the file that was uploaded, and then its journal.
    pub(in crate::file) fn remove(&self) -> Result<(), Error> {
        let failed = |path: &Path, error| Error::local(named(path, &error));
        let now = fs::metadata(&self.local).map_err(|error| failed(&self.local, error))?;
        if LocalFacts::of(&now) != self.facts {
            return Err(Error::Job(JobFault::SourceChanged));
        }
        // A server that receives this file, or another run, holds a lock.
        let _held = open_last(&self.local).map_err(|error| match is_in_use(&error) {
            true => Error::Job(JobFault::SourceInUse),
            false => failed(&self.local, error),
        })?;
        self.remove_aside()?;
        let directory = parent(&self.local);
        sync_directory(directory).map_err(|error| failed(directory, error))?;
        self.journal.as_ref().map_or(Ok(()), MoveJournal::remove)
    }

    /// Removes the local file under a name of its own, under which it is looked at again: a file that
    /// another program has put under the old name since stays. The rename itself changes the ctime.
    fn remove_aside(&self) -> Result<(), Error> {
        let aside = aside(&self.local);
        let failed = |error| Error::local(named(&aside, &error));
        take_aside(&self.local, &aside).map_err(|error| match error.kind() {
            // May be the only copy.
            ErrorKind::AlreadyExists => Error::Job(JobFault::LeftAside(aside.clone())),
            _ => failed(error),
        })?;
        let found = fs::metadata(&aside).map(|found| LocalFacts::of(&found));
        let is_same = |found| MoveRecord::of_file(found) == MoveRecord::of_file(&self.facts);
        let removed = match &found {
            Ok(found) if is_same(found) => fs::remove_file(&aside).map_err(failed),
            _ => Err(Error::Job(JobFault::SourceChanged)),
        };
        if removed.is_err() {
            rename(&aside, &self.local, Replaceable::Nothing).map_err(failed)?;
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_renamed_onto_a_source_before_its_removal_stays() {
        let root = tempfile::tempdir().unwrap();
        let local = root.path().join("a");
        fs::write(&local, "sent").unwrap();
        let facts = LocalFacts::of(&fs::metadata(&local).unwrap());
        let source = MovedSource::new(&local, facts, None);
        fs::write(root.path().join("b"), "kept").unwrap();
        fs::rename(root.path().join("b"), &local).unwrap();
        let failed = source.remove_aside().unwrap_err();
        assert!(matches!(failed, Error::Job(JobFault::SourceChanged)), "{failed}");
        assert_eq!(fs::read(&local).unwrap(), b"kept");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        // What lies aside from an earlier run stays.
        fs::write(aside(&local), "aside").unwrap();
        let facts = LocalFacts::of(&fs::metadata(&local).unwrap());
        let failed = MovedSource::new(&local, facts, None).remove().unwrap_err();
        assert!(matches!(failed, Error::Job(JobFault::LeftAside(_))), "{failed}");
        let left = [fs::read(&local).unwrap(), fs::read(aside(&local)).unwrap()];
        assert_eq!(left, [b"kept".to_vec(), b"aside".to_vec()]);
        fs::remove_file(aside(&local)).unwrap();
        let facts = LocalFacts::of(&fs::metadata(&local).unwrap());
        MovedSource::new(&local, facts, None).remove().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
