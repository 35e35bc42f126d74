//! Where an upload begins: the evidence, gathered before a byte is sent.

use std::fs::{self, File};
use std::path::Path;

use ftp_proto::{Pathname, ReplyCode};

use super::{Job, OpenedSource, StoreAs};
use crate::age::{AHEAD, BEHIND};
use crate::client::Client;
use crate::client::objects::SizeTold;
use crate::error::{Error, JobFault, Phase, Unsupported};
use crate::event::{Event, Observer, Verify, Why};
use crate::file::evidence::{
    Asked, Known, OVERLAP, OldFile, Resume, Step, compare_first, judge, read_end, unless_busy,
};
use crate::file::journal::{LocalFacts, UploadJournal};
use crate::file::options::{Existing, SkipReason};
use crate::file::record::ServerFile;
use crate::file::targets::{BothFiles, is_named, may_be_one};
use crate::system::{FileExt, MetadataExt};
use crate::tree::local::rounds_to;
use crate::tree::probe::{local_time, time_error};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UploadWay {
    Store,
    /// `REST` and `STOR` at the end of the server's file, without data, so that the server gives
    /// the file its final name.
    Rest,
    Append,
    Unique,
    /// Nothing is sent: the server has the whole file.
    Nothing,
}

#[derive(Debug)]
pub(super) struct UploadStart {
    pub(super) mode: UploadWay,
    /// The number of bytes of the source that the server has.
    pub(super) offset: u64,
    /// The size of the server's file before, if it matters for its size afterwards; `None` if it is not
    /// known.
    pub(super) before: Option<u64>,
    /// The size of the file that an upload from byte 0 replaces; 0 if there is none.
    pub(super) replaced: u64,
    /// What the server told of the size of its file before, if it was asked for.
    pub(super) told: Option<SizeTold>,
    /// What must have changed to show that the upload is stored, if that is asked for.
    pub(super) old: Option<OldFile>,
    /// Whether a digest has proved the server's bytes to be the whole source.
    pub(super) is_proven: bool,
    pub(super) journal: Option<UploadJournal>,
}

impl UploadStart {
    pub(super) const fn at_zero(mode: UploadWay) -> Self {
        let (offset, before, replaced, told, old) = (0, Some(0), 0, None, None);
        Self { mode, offset, before, replaced, told, old, is_proven: false, journal: None }
    }

    pub(super) fn remove_journal(&self) {
        self.journal.iter().for_each(UploadJournal::remove);
    }

    pub(super) fn restart(&mut self) {
        let (journal, replaced) = (self.journal.take(), self.offset.max(self.replaced));
        let (told, old) = (self.told, self.old.take());
        *self = Self { journal, replaced, told, old, ..Self::at_zero(UploadWay::Store) };
    }
}

impl Job<'_> {
    /// Asks for the size of the server's file, if a decision needs it.
    pub(super) fn size_before(
        &self,
        client: &mut Client,
        on: &dyn Observer,
        source: &OpenedSource<'_>,
    ) -> Result<Option<SizeTold>, Error> {
        let path = self.place.path();
        let asks = self.asks_size(client, source);
        if !asks && !self.may_be_itself(client, source) {
            return Ok(None);
        }
        let waits = self.looks() && self.store != StoreAs::Append;
        let told = match self.options.moves || self.proves_new {
            // A file of the same size must be told from the new one.
            true if asks && self.store != StoreAs::Append => client.size_at_rest(path, on),
            _ if asks && waits => unless_busy(client.size_at_rest(path, on)),
            // Nothing is resumed, so that no other upload need be waited for.
            _ if asks => unless_busy(client.size_told(path)),
            _ => Ok(client.size_told(path).unwrap_or(SizeTold::Nothing)),
        };
        told.map(Some)
    }

    pub(super) fn asks_size(&self, client: &Client, source: &OpenedSource<'_>) -> bool {
        let may_break = client.breaks_uploads && self.verifies_size();
        let decides = self.looks() || self.must_be_new() && !self.is_told();
        match self.store {
            StoreAs::Unique => false,
            StoreAs::Append => self.verifies_size(),
            StoreAs::Final | StoreAs::Under(_) => may_break || source.facts().is_some() && decides,
        }
    }

    /// Returns whether the server's file may be the beginning of the source.
    pub(super) fn looks(&self) -> bool {
        self.is_image() && (self.options.resume != Resume::Own || self.is_resumable)
    }

    /// Decides where the upload begins. `have` is the size of the server's file.
    pub(super) fn start(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        source: &OpenedSource<'_>,
        told: Option<SizeTold>,
    ) -> Result<UploadStart, Error> {
        let have = told.and_then(SizeTold::known).unwrap_or(0);
        let start = match self.store {
            StoreAs::Append => {
                let before = match told {
                    // Perhaps of a file that is in use.
                    Some(SizeTold::Refused) => {
                        (client.denies(self.place.path())? == Some(true)).then_some(0)
                    }
                    told => told.and_then(SizeTold::known),
                };
                // Who hears of it only afterwards would append once more.
                if before.is_none() && self.verifies_size() && self.options.verify == Verify::Size {
                    return Err(Error::Unsupported(Unsupported::NoSize));
                }
                return Ok(UploadStart { before, ..UploadStart::at_zero(UploadWay::Append) });
            }
            StoreAs::Unique => return Ok(UploadStart::at_zero(UploadWay::Unique)),
            StoreAs::Final | StoreAs::Under(_) => UploadStart::at_zero(UploadWay::Store),
        };
        let OpenedSource::Regular { file, path, facts } = source else { return Ok(start) };
        if !self.looks() {
            return Ok(start);
        }
        let journal = self.journal(client, path)?;
        let start = UploadStart { replaced: have, journal, ..start };
        let begun = self.resumed(client, on, (file, *facts), start, have)?;
        if begun.offset == 0 {
            self.past.replaced = Some(have);
        }
        Ok(begun)
    }

    /// Returns the start of an upload to a server's file of `have` bytes.
    fn resumed(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        (file, facts): (&File, LocalFacts),
        start: UploadStart,
        have: u64,
    ) -> Result<UploadStart, Error> {
        let target = self.place.path().to_vec();
        let asked = self.options.resume != Resume::Own;
        let sent = self.past.sent.unwrap_or(0);
        let is_own = have <= sent && self.past.replaced != Some(have);
        if have == 0 || self.past.from_start {
            return Ok(start);
        }
        if self.past.lost_ends > 1 {
            self.past.lost_ends = 0;
            on.event(Event::FromZero { target: &target, why: Why::NoRecord });
            return Ok(start);
        }
        if asked && have > facts.size {
            let (there, here) = (have, facts.size);
            return Err(Error::Job(JobFault::Longer { there, here }));
        }
        if self.past.extended && have > sent {
            // What was appended has arrived twice, or another program writes to the file.
            return Err(Error::Incomplete { bytes: have, announced: Some(sent) });
        }
        let journal = start.journal.as_ref().filter(|_| asked);
        let mut known = Known {
            have,
            size: Some(facts.size),
            resume: self.options.resume,
            is_own,
            record: journal.and_then(|journal| journal.fit(&facts, have)),
            is_refuted: asked
                && self.options.resume == Resume::Trusted
                && self.is_older(client, &target, &facts)?,
            restarts: true,
            digest: if self.past.has_no_digest { Asked::NoAnswer } else { Asked::NotYet },
        };
        // The journal is only an upper bound of what was sent; an equal size may be another writer's.
        // If a digest tells, the server need not send the end of its file.
        let is_all = have == facts.size;
        let must_ask = match self.options.resume {
            Resume::Own => is_own,
            Resume::Proven => true,
            Resume::Trusted => false,
        };
        let step = judge(&mut known, must_ask, || {
            on.event(Event::Comparing { target: &target, bytes: have });
            compare_first(client, &target, (file, have), Some(have))?
                .asked(client, &mut self.past.has_no_digest)
        })?;
        let is_proven = known.digest == Asked::Equal;
        let why = match step {
            Step::Whole if !is_own && !is_proven => Some(Why::NoRecord),
            Step::Continue { kept, .. } if kept < have => Some(Why::NoRecord),
            Step::Whole | Step::Continue { .. } if is_proven => None,
            Step::Whole | Step::Continue { .. } => match self.compare_end(client, file, have)? {
                Some(true) => None,
                Some(false) => Some(Why::TailDiffers),
                None => (self.options.resume != Resume::Trusted).then_some(Why::NoRecord),
            },
            Step::FromZero(why) => Some(why),
            // The digest was asked for; without an answer, nothing proves the bytes.
            Step::AskDigest => Some(Why::NoRecord),
        };
        match why {
            None if is_all => self.whole(client, start, have, is_proven),
            None => {
                let mode = UploadWay::Append;
                Ok(UploadStart { mode, offset: have, before: Some(have), ..start })
            }
            Some(why) => {
                on.event(Event::FromZero { target: &target, why });
                Ok(start)
            }
        }
    }

    /// Returns the start if the server has all bytes. A server may report the size of an
    /// interrupted upload that it still hides. Such a file gets its name only when another upload
    /// completes it.
    fn whole(
        &self,
        client: &mut Client,
        start: UploadStart,
        have: u64,
        is_proven: bool,
    ) -> Result<UploadStart, Error> {
        let mode = match client.shows(self.place.path())? {
            true => UploadWay::Nothing,
            false => UploadWay::Rest,
        };
        Ok(UploadStart { mode, offset: have, before: Some(have), is_proven, ..start })
    }

    fn is_older(&self, client: &mut Client, path: &[u8], here: &LocalFacts) -> Result<bool, Error> {
        let there = client.modified(path)?;
        Ok(there.is_some_and(|there| there.unix_seconds() < here.modified_seconds()))
    }

    /// Returns whether the last of the `have` bytes of the server's file are those of the local file;
    /// `None` if the server refuses to send them. If the bytes are lost on the way, the next attempt
    /// compares again, because the server may have got late bytes of an earlier attempt; if that fails
    /// too, or the server did not answer in time, the one after it begins at byte 0.
    fn compare_end(
        &mut self,
        client: &mut Client,
        file: &File,
        have: u64,
    ) -> Result<Option<bool>, Error> {
        let length = have.min(OVERLAP);
        let from = have - length;
        let there = match read_end(client, self.place.path(), (from, length)) {
            Ok(there) => there,
            Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => return Err(error),
            Err(error) if error.is_out_of_step() => return Err(error),
            Err(Error::Refused { reply, .. }) if reply.code() != ReplyCode::TRANSFER_ABORTED => {
                // Without a connection, the next attempt goes on: the error of the question is not
                // that of the upload.
                client.make_ready()?;
                return Ok(None);
            }
            Err(error) => {
                let is_late = matches!(error, Error::Timeout(_));
                self.past.lost_ends += if is_late { 2 } else { 1 };
                return Err(error);
            }
        };
        self.past.lost_ends = 0;
        let mut here = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut here, from).map_err(Error::local)?;
        Ok(Some(here == there))
    }

    /// Returns the journal of this upload, if something identifies the server's file.
    fn journal(&self, client: &mut Client, local: &Path) -> Result<Option<UploadJournal>, Error> {
        if self.options.resume == Resume::Own {
            return Ok(None);
        }
        let target = ServerFile::ask(client, &self.place)?;
        let directory = self.options.journals.as_deref();
        Ok(target.map(|target| UploadJournal::of(local, target, directory)))
    }

    /// Returns whether the upload may change its own source: the names are equal, or the file has
    /// several names. Any server may serve a disk that is mounted here. Over a slow line, only an upload
    /// that removes its source asks: the question costs a round trip.
    fn may_be_itself(&self, client: &Client, source: &OpenedSource<'_>) -> bool {
        let OpenedSource::Regular { file, path, facts } = source else { return false };
        if self.is_apart
            || !matches!(self.store, StoreAs::Final | StoreAs::Append)
            || facts.size == 0
            || client.is_far() && !self.options.moves
        {
            return false;
        }
        links_of(file) > 1 || is_named(path, self.place.path())
    }

    /// Checks once that the upload does not change its own source: most servers empty the file at `STOR`,
    /// and `APPE` would read what it writes. `told` is the size of the server's file.
    pub(super) fn check_apart(
        &mut self,
        client: &mut Client,
        source: &OpenedSource<'_>,
        told: Option<SizeTold>,
    ) -> Result<(), Error> {
        let OpenedSource::Regular { file, path, facts } = source else { return Ok(()) };
        let Some(told) = told.filter(|_| self.may_be_itself(client, source)) else { return Ok(()) };
        let now = fs::metadata(path).map_or(facts.size, |now| now.len());
        let sizes = facts.size.min(now)..=facts.size.max(now);
        if told.known().is_none_or(|told| sizes.contains(&told)) {
            let (there, modified) = (self.place.path(), facts.modified_seconds());
            let links = links_of(file);
            let both = BothFiles { here: path, sizes, modified, links, there, told };
            if may_be_one(client, &both)? {
                return Err(Error::Job(JobFault::SameFile));
            }
        }
        self.is_apart = true;
        Ok(())
    }
}

impl Job<'_> {
    pub(super) fn skips(
        &mut self,
        client: &mut Client,
        source: &OpenedSource<'_>,
    ) -> Result<Option<SkipReason>, Error> {
        let (selection, here) = (self.options.selection, source.facts());
        let times = here.map(|here| (here.modified_seconds(), here.modified_seconds()));
        if let Some(why) = selection.refuses(here.map(|here| here.size), times) {
            return Ok(Some(why));
        }
        match self.kept(client, here)? {
            Some(why) if !self.is_leftover(client, source)? => Ok(Some(why)),
            _ => Ok(None),
        }
    }

    /// Returns why the server's file is not replaced by the local file with the facts `here`.
    pub(super) fn kept(
        &self,
        client: &mut Client,
        here: Option<LocalFacts>,
    ) -> Result<Option<SkipReason>, Error> {
        match (self.options.existing, here) {
            (Existing::Keep, _) if self.is_there(client)? => Ok(Some(SkipReason::Exists)),
            (Existing::ReplaceOlder | Existing::ReplaceDifferent, Some(here)) => {
                self.is_current(client, &here)
            }
            _ => Ok(None),
        }
    }

    fn is_current(
        &self,
        client: &mut Client,
        here: &LocalFacts,
    ) -> Result<Option<SkipReason>, Error> {
        let path = self.place.path();
        let Some(time) = client.readable_time(path)? else {
            return match client.is_taken_without_time(path) {
                Ok(false) => Ok(None),
                Ok(true) | Err(Error::Unsupported(_)) => {
                    Err(Error::Unsupported(Unsupported::NoModificationTime))
                }
                Err(error) => Err(error),
            };
        };
        let (there, here_time) = (time.unix_seconds(), here.modified_seconds());
        if self.options.existing == Existing::ReplaceOlder {
            // The server may report local time.
            let is_in_doubt =
                there != here_time && (there - AHEAD..=there + BEHIND).contains(&here_time);
            let latest = match is_in_doubt {
                true => local_time(client, path, there)?.map(|(_, latest)| latest),
                false => Some(there),
            };
            match latest {
                Some(latest) if latest >= here_time => return Ok(Some(SkipReason::NotNewer)),
                None if there >= here_time => {
                    return Err(Error::Unsupported(Unsupported::UnknownClock));
                }
                _ => {}
            }
        }
        let is_rounded = there != here_time;
        if is_rounded && !rounds_to(here_time, there) || client.size(path)? != Some(here.size) {
            return Ok(None);
        }
        // As for trees: FAT stores only even seconds.
        let is_same = !is_rounded || time_error(client, Pathname::split(path).0)? == Some(1);
        Ok(is_same.then_some(SkipReason::Unchanged))
    }

    /// Returns whether the server's file is what an earlier attempt of this upload has left, and not one
    /// that another program has stored since. An attempt under a temporary name leaves nothing under the
    /// final name. Once bytes were sent, no file is proved to be another's: servers store other line
    /// ends in `TYPE A`, and may leave zeros at the end of a part. An empty file has nothing to compare:
    /// it may be a claim, or the beginning of an upload because of which the server was busy, unless the
    /// server has begun to receive the last attempt.
    ///
    /// # Errors
    ///
    /// Returns [`JobFault::Leftover`] if the file is not proved to be this upload's.
    fn is_leftover(
        &mut self,
        client: &mut Client,
        source: &OpenedSource<'_>,
    ) -> Result<bool, Error> {
        let sent = self.past.sent.filter(|_| !matches!(self.store, StoreAs::Under(_)));
        let (Some(sent), OpenedSource::Regular { file, .. }) = (sent, source) else {
            return Ok(false);
        };
        let size = client.size(self.place.path())?;
        // The source has changed since, or the bytes that were sent are known to be wrong.
        let is_wrong = self.past.from_start && self.options.existing != Existing::Keep;
        let is_ours = match size {
            Some(0) => self.past.was_begun,
            Some(_) if sent == 0 => return Ok(false),
            size if is_wrong => size.is_none_or(|size| size <= sent),
            Some(size) if self.is_image() && size <= sent => {
                self.compare_end(client, file, size)? == Some(true)
            }
            _ => false,
        };
        self.past.is_final |= !is_ours;
        if is_ours { Ok(true) } else { Err(Error::Job(JobFault::Leftover)) }
    }

    // A size alone proves nothing: the file may be from an interrupted upload.
    fn is_there(&self, client: &mut Client) -> Result<bool, Error> {
        client.is_taken(self.place.path())
    }
}

/// Returns the number of names of a file, at least 1.
fn links_of(file: &File) -> u64 {
    file.metadata().map_or(1, |metadata| metadata.nlink())
}
