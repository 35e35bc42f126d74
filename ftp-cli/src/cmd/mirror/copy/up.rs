//! Copies from this computer to a server.

use std::fs::Metadata;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::super::entry::MODE;
use super::super::plan::PlannedCopy;
use super::super::trees::failed;
use super::Copied;
use super::far::{Far, about, prove, prove_content, prove_same};
use super::near::{Identity, Near, broken};
use super::watch::Watch;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::remote::path::join;
use crate::transfer::options::TemporaryName;
use crate::transfer::publish::publish;
use crate::transfer::upload::is_unchanged;

pub(crate) struct Up<'a> {
    pub(crate) from: Near<'a>,
    pub(crate) to: Far<'a>,
    /// Whether progress or a rate limit must see each piece: files go through a buffer then.
    pub(crate) is_watched: bool,
    /// `--continue`.
    pub(crate) resumes: bool,
    /// `--temp`.
    pub(crate) temporary: Option<&'a TemporaryName>,
}

impl Up<'_> {
    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        watch: &mut Watch<'_>,
    ) -> Result<Copied, Failure> {
        let below = join(path, &copy.name);
        self.to.check(&below)?;
        let target = join(self.to.top, &below);
        let there = match self.temporary {
            Some(temporary) => temporary.of(&target),
            None => target,
        };
        let here = |error: &io::Error| Failure { fatal: false, ..failed(&below, error) };
        let directory = self.from.directory(path)?;
        let mut file = directory.read(&copy.name).map_err(|error| here(&error))?;
        let before = file.metadata().map_err(|error| here(&error))?;
        let client = self.to.client()?;
        let resumes = self.resumes && copy.may_continue && self.temporary.is_none();
        let upload = match resumes {
            true => client.store_rest(&there, before.len()),
            false => client.store(&there),
        };
        let upload = upload.map_err(|error| about(&there, &error))?;
        let offset = upload.offset();
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(|error| here(&error))?;
        }
        let sent = match self.is_watched {
            true => watch.send(upload, &file),
            false => upload.copy_from(&file).map(|copied| copied.bytes),
        };
        let here_failed = |error: &io::Error| Failure::item(Exit::Local, error.to_string());
        let bytes =
            sent.map_err(|error| broken(client, error, here_failed).context(shown(&there)))?;
        let after = file.metadata().map_err(|error| here(&error))?;
        if offset + bytes != before.len() || !is_unchanged(&before, &after) {
            // Without the source's time, the next run considers the file changed and sends it
            // again.
            let message = format!("{}: changed during the upload", shown(&below));
            return Err(Failure::item(Exit::Integrity, message));
        }
        let client = self.to.client()?;
        prove(client, &there, before.len())?;
        self.finish(&below, &there, copy, &before)?;
        Ok(Copied { bytes, source: Some(Identity::of(&before)) })
    }

    /// Sets time and permissions of the complete upload `there`, and renames it to its final name.
    fn finish(
        &mut self,
        below: &[u8],
        there: &[u8],
        copy: &PlannedCopy,
        here: &Metadata,
    ) -> Result<(), Failure> {
        let mode = copy.mode.map(|_| mode_of(here));
        let unset = match mode.map_or(Ok(true), |mode| self.to.set_mode(there, mode)) {
            // The file is complete without its permissions.
            Err(failure) if !failure.fatal => Some(failure),
            set => set.map(|_| None)?,
        };
        self.to.set_time(there, Some(here.mtime()))?;
        if self.temporary.is_some() {
            let target = join(self.to.top, below);
            let kept = self.to.back_up_replaced(below, copy.replaces())?;
            if let Err(failure) = publish(self.to.client()?, there, &target, false) {
                let failure = failure.context(shown(&target));
                return Err(self.restored(below, kept, failure));
            }
        }
        unset.map_or(Ok(()), Err)
    }

    /// Moves the old file back from the backup, after its replacement could not be published.
    fn restored(&mut self, below: &[u8], kept: Option<Vec<u8>>, failure: Failure) -> Failure {
        let Some(kept) = kept else { return failure };
        let what = match !failure.fatal && self.to.restore(below, &kept) {
            true => "the old file is in its place again".to_owned(),
            false => format!("the old file is now {}", shown(&kept)),
        };
        Failure { message: format!("{}; {what}", failure.message), ..failure }
    }

    pub(super) fn remove_source(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        copied: Option<&Copied>,
    ) -> Result<(), Failure> {
        let below = join(path, &copy.name);
        let there = join(self.to.top, &below);
        let here = |error: &io::Error| Failure { fatal: false, ..failed(&below, error) };
        let directory = self.from.directory(path)?;
        let file = directory.read(&copy.name).map_err(|error| here(&error))?;
        let found = file.metadata().map_err(|error| here(&error))?;
        let (before, length) = (Identity::of(&found), found.len());
        match copied.and_then(|copied| copied.source) {
            Some(sent) if sent != before => return Err(changed(&below)),
            Some(_) => {
                let takes_times = self.to.takes_times;
                prove_same(self.to.client()?, &there, &found, takes_times)?;
            }
            None => {
                let checksum = self.to.checksum()?;
                prove_content(self.to.client()?, &there, (&file, length), checksum)?;
            }
        }
        // The proof can take long. Meanwhile another file may have got the name.
        let directory = self.from.directory(path)?;
        let now = directory.read(&copy.name).and_then(|file| file.metadata());
        if Identity::of(&now.map_err(|error| here(&error))?) != before {
            return Err(changed(&below));
        }
        let removed = directory.remove(&copy.name, false);
        removed.map_err(|error| here(&error))
    }
}

/// Returns the permission bits that are copied.
fn mode_of(file: &Metadata) -> u16 {
    u16::try_from(file.mode() & u32::from(MODE)).unwrap_or_default()
}

fn changed(path: &[u8]) -> Failure {
    let message = format!("{}: source not removed: it changed after the upload", shown(path));
    Failure::item(Exit::Integrity, message).never_retried()
}
