//! Copies from this computer to a server.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;

use ftp_proto::{Pathname, TimeVal, Verb};

use super::local_side::LocalSide;
use super::remote_side::{
    RemoteSide, TimeProof, modified, not_replaced, prove_content, prove_facts,
};
use crate::age;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::error::{Error, ErrorKind, JobFault};
use crate::event::{Observer, Verify};
use crate::file::evidence::{OldFile, Resume, compare_first, put_back};
use crate::file::journal::{LocalFacts, unprove, written};
use crate::file::options::FileOptions;
use crate::file::put::{Following, Put, PutPast};
use crate::system::{MetadataExt, OsStrExt, is_in_use};
use crate::tree::entry::MODE;
use crate::tree::fault::{TreeFault, shown};
use crate::tree::hand::Hand;
use crate::tree::options::SyncOptions;
use crate::tree::plan::{Copied, Plan, PlannedCopy};
use crate::url_path::Place;

pub(crate) struct Up<'a> {
    pub(crate) from: LocalSide<'a>,
    pub(crate) to: RemoteSide<'a>,
    pub(crate) options: &'a SyncOptions<'a>,
    pub(crate) failed: Option<Box<FailedUpload>>,
    pub(crate) ahead: Box<Ahead>,
}

/// The last upload, if it failed.
#[derive(Default)]
pub(crate) struct FailedUpload {
    below: Vec<u8>,
    past: PutPast,
    /// Where the backup has the file that is to be replaced.
    pub(super) kept: Option<Vec<u8>>,
}

/// The upload that is requested before the current one is confirmed.
#[derive(Default)]
pub(crate) struct Ahead {
    is_on: bool,
    /// Whether another copy follows over the same connection.
    has_more: bool,
    /// Directory and name of the copy that follows the current one.
    following: Option<(Vec<u8>, Vec<u8>)>,
    /// The file of that copy. Only a readable file is requested ahead: a server may truncate the
    /// old target as soon as it receives the request.
    opened: Option<Opened>,
    /// Whether the server already waits for that copy.
    pub(super) is_requested: bool,
    /// Path and time of the copy before, which does not have its time yet.
    due: Option<(Vec<u8>, TimeVal)>,
}

impl Ahead {
    /// Returns a state without a following copy. With `is_on`, uploads are requested ahead.
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }
}

struct Opened {
    /// Path from the top.
    below: Vec<u8>,
    file: File,
    before: Metadata,
}

/// Size limit, in bytes, of both files of a pipelined pair, and of a file that is sent again rather than
/// resumed. `MFMT` of the first goes out with the end of the second; until then, another user's file of
/// equal size could take its name and get its time, so the second is short. After a kill, the next run
/// resends the first, so it is short too.
const SMALL: u64 = 64 * 1_024;

impl Up<'_> {
    fn goes_ahead(&self) -> bool {
        self.ahead.is_on && self.to.hand.open().is_some_and(Client::goes_ahead)
    }

    /// Returns whether the size of the server's file does not show that it is the copy.
    fn is_doubtful(&self, copy: &PlannedCopy) -> bool {
        copy.replaces_equal_size() && self.options.temporary.is_none()
    }

    pub(super) fn plan(&mut self, plan: &Plan, next: Option<&PlannedCopy>) {
        self.ahead.has_more = next.is_some();
        // What proves a copy new is asked for before and after its upload. The current copy gets its time
        // with the end of the next one: meanwhile, another program can replace it, so that must not take
        // long, and never decide about a source.
        let is_short = |copy: &&PlannedCopy| copy.size.is_some_and(|size| size <= SMALL);
        let next = next.filter(|copy| {
            self.goes_ahead() && !self.options.moves && !self.is_doubtful(copy) && is_short(copy)
        });
        self.ahead.following = next.and_then(|copy| {
            let place = plan.directories.get(copy.place)?;
            Some((place.path.clone(), copy.name.clone()))
        });
    }

    /// Opens the file of the following copy. Returns `None` if the copy cannot be requested ahead.
    fn open_following(&mut self, path: &[u8], name: &[u8]) -> Option<Opened> {
        // The copy itself reports a failure.
        self.to.place.check(&Pathname::join(path, name)).ok()?;
        self.open(path, name).ok()
    }

    fn open(&mut self, path: &[u8], name: &[u8]) -> Result<Opened, TreeFault> {
        let below = Pathname::join(path, name);
        let here = |error: io::Error| TreeFault::local(&below, &error).of_one();
        let file = self.from.directory(path)?.read(name).map_err(here)?;
        let before = written(&file, self.options.moves).map_err(here)?;
        Ok(Opened { below, file, before })
    }

    pub(super) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        on: &dyn Observer,
    ) -> Result<Copied, TreeFault> {
        let below = Pathname::join(path, &copy.name);
        // A failure before the upload leaves no time to send with a later one.
        let due = self.ahead.due.take();
        self.to.place.check(&below)?;
        self.ahead.is_requested = false;
        let Opened { file, before, .. } = match self.ahead.opened.take() {
            Some(opened) if opened.below == below => opened,
            _ => self.open(path, &copy.name)?,
        };
        self.ahead.due = due;
        let target = Pathname::join(self.to.place.top, &below);
        let resume = if before.len() > SMALL { self.options.resume } else { Resume::Own };
        let sent = match self.send(&below, copy, (&file, &before), resume, on) {
            // What the server has cannot be the beginning.
            Err(Error::Job(JobFault::Longer { .. })) => {
                self.send(&below, copy, (&file, &before), Resume::Own, on)
            }
            sent => sent,
        };
        // A file that was opened ahead may have changed before its upload began.
        let found = file.metadata();
        let sent = sent.and_then(|sent| match found {
            Ok(now) if sent.facts == Some(LocalFacts::of(&now)) => Ok((sent, now)),
            Ok(_) => Err(self.unproved(&target, &before)),
            Err(error) => Err(Error::local(error)),
        });
        let (sent, before) = sent.map_err(|error| self.failure(error, &below))?;
        if let Some((old, stored)) = &sent.replaced {
            let size = before.len();
            let proved = self.to.hand.ask(|at| {
                let compare = |at: &mut _| compare_first(at, &target, (&file, size), Some(size));
                match old.check(at, &target, *stored, compare) {
                    Err(Error::Job(JobFault::NotReplaced)) => Ok(false),
                    checked => Ok(checked.map(|()| true)?),
                }
            });
            if !proved.map_err(|failure| failure.about(&target))? {
                return Err(not_replaced(&target));
            }
        }
        let client = self.to.hand.client()?;
        self.ahead.is_requested = client.has_planned_upload();
        let source = Some(LocalFacts::of(&before));
        if self.ahead.is_requested {
            let due_time = self.to.place.times.holds().then(|| before.mtime());
            self.ahead.due =
                due_time.and_then(TimeVal::from_unix_seconds).map(|time| (target, time));
            let noted = due_time;
            return Ok(Copied {
                source,
                due_time,
                noted,
                ..Copied::far(sent.bytes, sent.verified)
            });
        }
        let unset = match sent.is_finished {
            true => sent.unset,
            false => {
                let lasts = self.to.place.outlast(client, &file, &before);
                let lasts = lasts.map_err(|error| match error {
                    Error::Job(JobFault::LocalChanged) => self.unproved(&target, &before),
                    error => error,
                });
                lasts.map_err(|error| TreeFault::from(error).about(&below))?;
                let client = self.to.hand.client()?;
                self.to.place.finish(client, &target, mode_of(copy, &before), &before)?
            }
        };
        let noted = match &unset {
            None if self.to.place.times.holds() => Some(before.mtime()),
            _ if self.options.moves || copy.sum.is_some() => {
                modified(self.to.hand.client()?, &target)?
            }
            _ => None,
        };
        Ok(Copied { source, noted, unset, ..Copied::far(sent.bytes, sent.verified) })
    }

    /// Makes the copy of a source that changed after its last byte older, and returns the error.
    fn unproved(&mut self, target: &[u8], before: &Metadata) -> Error {
        if self.options.temporary.is_none()
            && let Ok(client) = self.to.hand.client()
        {
            unprove(client, target, before.mtime());
        }
        Error::Job(JobFault::LocalChanged)
    }

    /// Uploads the file at `below`. With a temporary name, it is finished before it is renamed.
    fn send(
        &mut self,
        below: &[u8],
        copy: &PlannedCopy,
        (file, before): (&File, &Metadata),
        resume: Resume,
        on: &dyn Observer,
    ) -> Result<SentUpload, Error> {
        // A name that is not UTF-8 is asked for after its upload.
        let is_doubtful = self.is_doubtful(copy);
        let is_young = age::settles_in(before).is_some();
        let is_text = self.to.place.is_text(below);
        let is_small = before.len() <= SMALL && is_text && !is_doubtful && !is_young;
        let following = self.ahead.following.take().filter(|_| is_small);
        self.ahead.opened = following.and_then(|(path, name)| self.open_following(&path, &name));
        let next =
            self.ahead.opened.as_ref().map(|next| Pathname::join(self.to.place.top, &next.below));
        // Otherwise, other commands come between this upload and the next one.
        let is_plain = self.options.temporary.is_none() && copy.mode.is_none() && is_text;
        let has_more = self.ahead.has_more && is_plain && !is_doubtful;
        // A file that changes again in this second would keep its time: that shows only once it is sent.
        let seconds = Some(before.mtime()).filter(|_| !is_young && self.to.place.times.holds());
        let time = seconds.and_then(TimeVal::from_unix_seconds);
        let due = self.ahead.due.take();
        let following = has_more.then_some(Following { path: next, due, time });
        let target = Pathname::join(self.to.place.top, below);
        let local = self.from.here.join(OsStr::from_bytes(below));
        let options = FileOptions::new()
            .resume(resume)
            .rate_limit(self.options.rate_limit.clone())
            .retried(self.options.patience.repeats())
            .journals(self.options.journals.clone());
        let RemoteSide { hand, place } = &mut self.to;
        let client = hand.client()?;
        let failed = self.failed.take().filter(|failed| failed.below == below);
        let FailedUpload { past, mut kept, .. } = failed.map(|failed| *failed).unwrap_or_default();
        let (mut unset, mut is_finished) = (None, false);
        let has_backup = place.backup.is_some();
        let mut publish = |client: &mut Client, there: &[u8]| -> Result<Option<i64>, Error> {
            place.outlast(client, file, before)?;
            unset = place.finish(client, there, mode_of(copy, before), before)?;
            let moved = place.back_up_replaced(client, below, copy.replaces())?;
            kept = moved.or_else(|| kept.take());
            is_finished = true;
            Ok(Some(before.mtime()))
        };
        let mut put = Put::from_file(file, &local, Place::at(&target), &options)
            .store_as(self.options.temporary.clone())
            .apart(before.nlink() <= 1 || !copy.replaces_equal_size())
            .proves_new(is_doubtful || self.options.moves && copy.replaces_equal_size())
            .following(following)
            .after(past)
            .before_rename(&mut publish, has_backup);
        let sent = put.attempt(client, on);
        let (facts, replaced, past) = (put.sent_facts(), put.take_replaced(), put.into_past());
        let sent = sent.map_err(|error| {
            let error = restored(hand, &target, &mut kept, error);
            self.failed = Some(Box::new(FailedUpload { below: below.to_vec(), past, kept }));
            error
        })?;
        let (bytes, verified) = (sent.bytes, sent.verified);
        Ok(SentUpload { bytes, verified, facts, replaced, unset, is_finished })
    }

    fn failure(&self, error: Error, below: &[u8]) -> TreeFault {
        let target = Pathname::join(self.to.place.top, below);
        let is_settled = self.to.hand.is_settled();
        match error {
            Error::Local(_) => TreeFault::from(error).of_one().ending(!is_settled).about(&target),
            Error::Incomplete { bytes, announced: Some(here) } => {
                let text = format!("size mismatch: {here} bytes here, {bytes} on the server");
                TreeFault::item(ErrorKind::Integrity, text).about(&target)
            }
            // The target does not get the source's time, so the next run considers the file changed
            // and sends it again.
            Error::Job(JobFault::LocalChanged) => TreeFault::from(error).about(below),
            Error::Job(JobFault::NotReplaced) => not_replaced(&target),
            Error::Job(JobFault::NotRenamed { .. }) => TreeFault::from(error).about(&target),
            error => TreeFault::from(error).about(&target),
        }
    }

    pub(super) fn remove_source(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        copied: Option<&Copied>,
    ) -> Result<(), TreeFault> {
        let below = Pathname::join(path, &copy.name);
        let there = Pathname::join(self.to.place.top, &below);
        let here = |error: &io::Error| TreeFault::local(&below, error).of_one();
        let directory = self.from.directory(path)?;
        let file = directory.read(&copy.name).map_err(|error| here(&error))?;
        let found = file.metadata().map_err(|error| here(&error))?;
        let before = LocalFacts::of(&found);
        match copied.and_then(|copied| Some((copied.source?, copied.noted))) {
            Some((sent, _)) if sent != before => return Err(changed(&below)),
            Some((_, noted)) => {
                let takes_times = self.to.place.times.holds();
                let proof = if takes_times { TimeProof::OfUpload } else { TimeProof::Noted(noted) };
                prove_facts(self.to.hand.client()?, &there, &found, &proof)?;
            }
            None => prove_content(self.to.hand.client()?, &there, &file, &found)?,
        }
        // The proof can take a long time. Meanwhile, another file may have taken the name.
        let directory = self.from.directory(path)?;
        let held = directory.read_last(&copy.name).map_err(|error| match is_in_use(&error) {
            // A server that receives this file, or another run, holds a lock.
            true => {
                let text = "source not removed: another program has locked it";
                TreeFault::item(ErrorKind::Integrity, text).about(&below).never_retried()
            }
            false => here(&error),
        })?;
        if LocalFacts::of(&held.metadata().map_err(|error| here(&error))?) != before {
            return Err(changed(&below));
        }
        let removed = directory.remove(&copy.name, false);
        removed.map_err(|error| here(&error))
    }
}

struct SentUpload {
    bytes: u64,
    verified: Verify,
    facts: Option<LocalFacts>,
    /// What was known of the file that was replaced, and the size there now, if they must prove the upload.
    replaced: Option<(OldFile, Option<u64>)>,
    /// The failure to set the time or the permissions of the complete copy.
    unset: Option<TreeFault>,
    /// Whether the upload has its time and permissions already.
    is_finished: bool,
}

/// Moves the old file back from the backup, if its replacement has not got its name.
fn restored(hand: &mut Hand<'_>, target: &[u8], kept: &mut Option<Vec<u8>>, error: Error) -> Error {
    let Some(path) = kept.as_deref() else { return error };
    let is_free = matches!(error, Error::Job(JobFault::NotRenamed { .. } | JobFault::NotReplaced));
    let was_lost = hand.unanswered() == Some(Verb::Rnto);
    let fault = TreeFault::from(error);
    let is_restored = |client: &mut Client| {
        put_back(client, path, target).is_ok_and(|found| found == Existence::Absent)
    };
    if is_free && !fault.ends_run() && hand.client().is_ok_and(is_restored) {
        *kept = None;
        return fault.then("the old file was moved back").into();
    }
    if hand.unanswered() == Some(Verb::Rnto) && !was_lost {
        // It may still come back, over what another attempt has stored.
        let why = format!("the old file is {} now, or still moves back", shown(path));
        return fault.with_kind(ErrorKind::Integrity).then(&why).never_retried().into();
    }
    fault.then(&format!("the old file is now {}", shown(path))).into()
}

/// Returns the permission bits of a local file, if they are copied.
fn mode_of(copy: &PlannedCopy, file: &Metadata) -> Option<u16> {
    copy.mode.map(|_| u16::try_from(file.mode() & u32::from(MODE)).unwrap_or_default())
}

fn changed(path: &[u8]) -> TreeFault {
    let text = "source not removed: it changed after the upload";
    TreeFault::item(ErrorKind::Integrity, text).about(path).never_retried()
}
