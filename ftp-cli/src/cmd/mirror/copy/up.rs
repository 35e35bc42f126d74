//! Copies from this computer to a server.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use ftp_client::{
    Error, Event, FileOptions, LocalSource, Observer, Place, Put, Resume, UploadFault,
};

use super::super::entry::MODE;
use super::super::plan::{Plan, PlannedCopy};
use super::super::trees::failed;
use super::Copied;
use super::local_side::{Identity, LocalSide, broken};
use super::remote_side::{RemoteSide, about, prove, prove_content, prove_same};
use super::watch::Watch;
use crate::console::progress::Meter;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::lock::lock;
use crate::transfer::options::{TemporaryName, journals};
use crate::transfer::publish::publish;
use crate::transfer::upload::is_unchanged;
use crate::transfer::verify::wrong_size;
use ftp_client::tree::path::join;

pub(crate) struct Up<'a> {
    pub(crate) from: LocalSide<'a>,
    pub(crate) to: RemoteSide<'a>,
    /// Whether progress or a rate limit must see each piece; if so, files go through a buffer.
    pub(crate) is_watched: bool,
    /// `--continue`.
    pub(crate) resumes: bool,
    /// The path of the local tree, for journals.
    pub(crate) local: &'a Path,
    /// `--temp`.
    pub(crate) temporary: Option<&'a TemporaryName>,
    pub(crate) ahead: Ahead,
}

/// With `--reuse-data`, the upload that is requested before the current one is confirmed.
#[derive(Default)]
pub(crate) struct Ahead {
    is_on: bool,
    /// Directory and name of the copy that follows the current one.
    following: Option<(Vec<u8>, Vec<u8>)>,
    /// The file of that copy. Only a readable file is requested ahead: a server may truncate the
    /// old target as soon as it receives the request.
    opened: Option<Opened>,
    /// Whether the server already waits for that copy.
    pub(super) is_requested: bool,
}

impl Ahead {
    /// Returns a state without a following copy. With `is_on`, uploads are requested ahead.
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }
}

/// An open local file.
struct Opened {
    /// Path from the top.
    below: Vec<u8>,
    file: File,
    before: Metadata,
}

/// Largest number of consecutive uploads that are requested ahead. Their times are set after the
/// last upload is confirmed. If an upload failed after its time was set, the old file would have
/// the time of the new file, and look like a copy.
const ROW: usize = 32;

/// Largest size, in bytes, of a file after which the next upload is requested ahead. After an
/// interruption, the next run sends every file again whose time was not set, so only small files
/// may wait for their times.
const SMALL: u64 = 64 * 1_024;

impl Up<'_> {
    /// Announces the copy `next`, which follows the current one.
    pub(super) fn plan(&mut self, plan: &Plan, next: usize) {
        let goes_ahead = self.ahead.is_on && !next.is_multiple_of(ROW);
        let copy = plan.apart().get(next).filter(|_| goes_ahead);
        self.ahead.following = copy.and_then(|copy| {
            let place = plan.directories.get(copy.place)?;
            Some((place.path.clone(), copy.name.clone()))
        });
    }

    /// Opens the file of the following copy. Returns `None` if the copy cannot be requested ahead.
    fn open_following(&mut self, path: &[u8], name: &[u8]) -> Option<Opened> {
        // The copy itself reports a failure.
        self.to.check(&join(path, name)).ok()?;
        self.open(path, name).ok()
    }

    fn open(&mut self, path: &[u8], name: &[u8]) -> Result<Opened, Failure> {
        let below = join(path, name);
        let here = |error: io::Error| Failure { fatal: false, ..failed(&below, &error) };
        let file = self.from.directory(path)?.read(name).map_err(here)?;
        let before = file.metadata().map_err(here)?;
        Ok(Opened { below, file, before })
    }

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
        self.ahead.is_requested = false;
        let Opened { mut file, before, .. } = match self.ahead.opened.take() {
            Some(opened) if opened.below == below => opened,
            _ => self.open(path, &copy.name)?,
        };
        if self.resumes
            && self.temporary.is_none()
            && before.len() > SMALL
            && let Some(bytes) = self.resume(&below, &there, (&file, &before), watch)?
        {
            let unset = self.finish(&below, &there, copy, &before)?;
            let source = Some(Identity::of(&before));
            return Ok(Copied { bytes, source, due_time: None, unset });
        }
        let following = self.ahead.following.take().filter(|_| before.len() <= SMALL);
        self.ahead.opened = following.and_then(|(path, name)| self.open_following(&path, &name));
        let next = self.ahead.opened.as_ref().map(|next| join(self.to.top, &next.below));
        let client = self.to.client()?;
        let mut upload = client.store(&there).map_err(|error| about(&there, &error))?;
        if let Some(next) = next {
            upload.plan_next(next);
        }
        file.rewind().map_err(|error| here(&error))?;
        let sent = match self.is_watched {
            true => watch.send(upload, &file),
            false => upload.copy_from(&file).map(|copied| copied.bytes),
        };
        let here_failed = |error: &io::Error| Failure::item(Exit::Local, error.to_string());
        let bytes =
            sent.map_err(|error| broken(client, error, here_failed).context(shown(&there)))?;
        let after = file.metadata().map_err(|error| here(&error))?;
        if bytes != before.len() || !is_unchanged(&before, &after) {
            // The target does not get the source's time, so the next run considers the file changed
            // and sends it again.
            let message = format!("{}: changed during the upload", shown(&below));
            return Err(Failure::item(Exit::Integrity, message));
        }
        let client = self.to.client()?;
        prove(client, &there, before.len())?;
        self.ahead.is_requested = client.has_planned_upload();
        let has_next = self.ahead.is_requested;
        let due_time = (has_next && self.to.takes_times).then(|| before.mtime());
        let unset = match has_next {
            true => None,
            false => self.finish(&below, &there, copy, &before)?,
        };
        Ok(Copied { bytes, source: Some(Identity::of(&before)), due_time, unset })
    }

    /// Uploads what the server lacks of a file. Returns the number of sent bytes, or `None` if the
    /// server's file is longer, so that the file must be sent as a whole.
    fn resume(
        &mut self,
        below: &[u8],
        there: &[u8],
        (file, before): (&File, &Metadata),
        watch: &mut Watch<'_>,
    ) -> Result<Option<u64>, Failure> {
        let options = FileOptions::new()
            .resume(Resume::Proven)
            .rate_limit(watch.rate_limit.cloned())
            .journals(journals());
        let local = self.local.join(OsStr::from_bytes(below));
        let shown_bytes =
            Shown { is_watched: self.is_watched, meter: Mutex::new(&mut watch.meter) };
        let mut put = Put::new(LocalSource::File(file, &local), Place::at(there), &options);
        let client = self.to.client()?;
        match put.attempt(client, &shown_bytes) {
            Ok(done) => Ok(Some(done.bytes)),
            Err(Error::Upload(UploadFault::Longer { .. })) => Ok(None),
            Err(Error::Upload(UploadFault::LocalChanged)) => {
                let message = format!("{}: changed during the upload", shown(below));
                Err(Failure::item(Exit::Integrity, message))
            }
            Err(Error::Incomplete { bytes, .. }) => {
                Err(wrong_size(before.len(), bytes).context(shown(there)))
            }
            Err(error) => {
                let here = |error: &io::Error| Failure::item(Exit::Local, error.to_string());
                Err(broken(client, error, here).context(shown(there)))
            }
        }
    }

    /// Sets time and permissions of the complete upload `there`. With `--temp`, also renames the
    /// upload to its final name. Returns the failure to set time or permissions, without which the
    /// file is complete.
    fn finish(
        &mut self,
        below: &[u8],
        there: &[u8],
        copy: &PlannedCopy,
        here: &Metadata,
    ) -> Result<Option<Failure>, Failure> {
        let mode = copy.mode.map(|_| mode_of(here));
        let unset = match mode.map_or(Ok(true), |mode| self.to.set_mode(there, mode)) {
            // The file is complete without its permissions.
            Err(failure) if !failure.fatal => Some(failure),
            set => set.map(|_| None)?,
        };
        let untimed = self.to.set_time_of_copy(there, Some(here.mtime()))?;
        if self.temporary.is_some() {
            let target = join(self.to.top, below);
            let kept = self.to.back_up_replaced(below, copy.replaces())?;
            if let Err(failure) = publish(self.to.client()?, there, &target, false) {
                let failure = unpublished(failure, &target, copy);
                return Err(self.restored(below, kept, failure));
            }
        }
        Ok(unset.or(untimed))
    }

    /// Moves the old file back from the backup, after its replacement could not be published.
    fn restored(&mut self, below: &[u8], kept: Option<Vec<u8>>, failure: Failure) -> Failure {
        let Some(kept) = kept else { return failure };
        let what = match !failure.fatal && self.to.restore(below, &kept) {
            true => "the old file was moved back".to_owned(),
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
        // The proof can take a long time. Meanwhile, another file may have taken the name.
        let directory = self.from.directory(path)?;
        let now = directory.read(&copy.name).and_then(|file| file.metadata());
        if Identity::of(&now.map_err(|error| here(&error))?) != before {
            return Err(changed(&below));
        }
        let removed = directory.remove(&copy.name, false);
        removed.map_err(|error| here(&error))
    }
}

/// Returns the failure to give an upload its final name.
pub(super) fn unpublished(failure: Failure, target: &[u8], copy: &PlannedCopy) -> Failure {
    let mut failure = failure.context(shown(target));
    if copy.replaces() && failure.exit == Exit::Refused {
        failure.message.push_str(
            "; if the server cannot replace a file by renaming another, remove --temp and --backup-dir",
        );
    }
    failure
}

/// Shows the bytes of an upload.
struct Shown<'w, 'm> {
    is_watched: bool,
    meter: Mutex<&'w mut Meter<'m>>,
}

impl Observer for Shown<'_, '_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Moved { bytes } = event {
            lock(&self.meter).add(bytes);
        }
    }

    fn wants_bytes(&self) -> bool {
        self.is_watched
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
