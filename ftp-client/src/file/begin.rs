//! Where a download begins: the search for bytes that need not be received again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ftp_proto::{BlockFault, DeflateFault};

use super::evidence::{self, Asked, Fit, Known, Origin, Resume, Step, decide, judge};
use super::local::{Committed, LocalFile, Replaceable};
use super::moving::MovedName;
use super::options::{Existing, FileOptions, Left};
use super::partial::{self, FoundFile, named, named_again};
use super::record::{Record, SourceId, parent};
use super::targets::Targets;
use crate::client::Client;
use crate::error::{Error, JobFault};
use crate::event::{Event, Observer, Why};
use crate::system::{FileExt, OsStrExt, share_content};
use crate::url_path::Place;

pub(crate) enum Sink<'a> {
    /// A file that gets this path when it is complete. Until then, an existing file is unchanged.
    Path(&'a Path),
    InPlace(&'a Path),
    /// A stream. After its first byte, no attempt can be repeated.
    Stream(&'a mut dyn Write),
}

impl<'a> Sink<'a> {
    pub(super) fn name(&self) -> &'a [u8] {
        match self {
            Self::Path(path) | Self::InPlace(path) => path.as_os_str().as_bytes(),
            Self::Stream(_) => b"-",
        }
    }
}

/// What the earlier attempts of a download did.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The file with the received bytes, and the facts of the server's file when they came.
    pub(super) file: Option<(LocalFile, Origin)>,
    /// Whether the next attempt begins at byte 0 in any case.
    pub(super) from_start: bool,
    pub(super) no_restart: bool,
    /// Whether the question for a digest cost the connection.
    pub(super) has_no_digest: bool,
    /// Whether the size is asked for first, because the connection was lost at the question after a
    /// download.
    pub(super) asks_size: bool,
    pub(super) left: Left,
    /// The first file of the ranges that an attempt left.
    pub(super) ranges: Option<PathBuf>,
}

pub(super) struct DownloadStart<'s> {
    pub(super) target: Writing<'s>,
    /// The bytes that are kept, and how many of them are received again and compared.
    pub(super) kept: u64,
    pub(super) compare: u64,
    /// The size and time of the server's file, if they were asked for.
    pub(super) origin: Option<Origin>,
    pub(super) is_whole: bool,
    /// Whether a digest has proved all kept bytes.
    pub(super) is_digested: bool,
    /// Whether kept bytes are in a user's file: a failure removes only what this download added.
    pub(super) is_restored: bool,
}

pub(super) enum Writing<'s> {
    File(LocalFile),
    Stream(&'s mut (dyn Write + 's)),
    /// The complete file at the target, which is not written.
    Target(FoundFile),
}

/// What earlier runs left of a download, and what is known of the server's file.
struct LeftFiles<'t> {
    target: &'t Path,
    in_place: bool,
    part_path: PathBuf,
    part: Option<FoundFile>,
    /// The file at the target, if its bytes may be kept.
    local: Option<FoundFile>,
    /// The record of the server's file.
    now: Option<Record>,
    origin: Origin,
}

/// The start after the bytes of a file, or its path and why they are not kept.
type StartAfter<'w> = Result<DownloadStart<'w>, (PathBuf, Why)>;

/// A file of earlier bytes, with the decision about it.
struct Judged {
    step: Step,
    is_digested: bool,
}

impl<'s> DownloadStart<'s> {
    pub(super) const fn at_0(target: Writing<'s>) -> Self {
        Self {
            target,
            kept: 0,
            compare: 0,
            origin: None,
            is_whole: false,
            is_digested: false,
            is_restored: false,
        }
    }

    fn whole(found: FoundFile, origin: Origin, is_digested: bool) -> Self {
        let kept = found.length;
        let start = Self::at_0(Writing::Target(found));
        Self { kept, origin: Some(origin), is_whole: true, is_digested, ..start }
    }
}

impl DownloadStart<'_> {
    pub(super) fn file(&self) -> Option<&File> {
        match &self.target {
            Writing::File(file) => Some(file.file()),
            Writing::Target(found) => Some(&found.file),
            Writing::Stream(_) => None,
        }
    }

    /// Returns whether the received bytes are kept although the server has confirmed the transfer: as
    /// far as they go, they are the file.
    pub(super) fn keeps(&self, error: &Error) -> bool {
        matches!(error, Error::Incomplete { bytes, announced: Some(all) } if bytes < all)
            && matches!(&self.target, Writing::File(file) if file.is_kept())
    }

    /// Returns whether the bytes that are compared are also the first ones, as in a file of zeros.
    pub(super) fn overlap_is_beginning(&self) -> bool {
        let length = usize::try_from(self.compare).unwrap_or(0);
        let read = |at| {
            let mut bytes = vec![0; length];
            self.file()?.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
        };
        read(0) == read(self.kept - self.compare)
    }

    /// Returns the path of the file with the kept bytes.
    pub(super) fn name(&self) -> &[u8] {
        match &self.target {
            Writing::File(file) => file.path_or_target().as_os_str().as_bytes(),
            Writing::Target(found) => found.path.as_os_str().as_bytes(),
            Writing::Stream(_) => b"-",
        }
    }

    /// Returns the error of the target, with its path.
    pub(super) fn failed_here(&self, error: &io::Error) -> Error {
        Error::local(match &self.target {
            Writing::File(file) => named(file.target(), error),
            Writing::Target(found) => named(&found.path, error),
            Writing::Stream(_) => io::Error::new(error.kind(), error.to_string()),
        })
    }

    /// Gives the complete file, of `length` bytes, its time and its name.
    pub(super) fn publish(
        self,
        length: u64,
        time: Option<SystemTime>,
        replaces: Replaceable,
        targets: Option<&Targets>,
        in_tree: Option<&InTree<'_>>,
    ) -> Result<Committed, Error> {
        match self.target {
            Writing::Stream(stream) => {
                stream.flush().map_err(Error::local)?;
                Ok(Committed::Done)
            }
            Writing::Target(FoundFile { path, file, record, .. }) => {
                if let Some(time) = time {
                    file.set_modified(time).map_err(|error| Error::local(named(&path, &error)))?;
                    record.inspect(|record| record.complete(&file));
                }
                Ok(Committed::Done)
            }
            Writing::File(mut file) => {
                let published = publish(&mut file, length, time, replaces, targets, in_tree);
                published.map_err(|error| match Error::from(error) {
                    Error::Local(error) => {
                        let is_undone = !self.is_restored || file.restore();
                        after_undo(Error::local(named_once(file.target(), &error)), is_undone)
                    }
                    error => after_undo(error, file.discard()),
                })
            }
        }
    }

    /// Returns what is left if the file cannot be published.
    pub(super) fn left(&self) -> Left {
        match &self.target {
            Writing::File(file) => file.left(),
            Writing::Stream(_) | Writing::Target(_) => Left::Nothing,
        }
    }
}

fn publish(
    file: &mut LocalFile,
    length: u64,
    time: Option<SystemTime>,
    replaces: Replaceable,
    targets: Option<&Targets>,
    in_tree: Option<&InTree<'_>>,
) -> io::Result<Committed> {
    // Truncating the file changes its time.
    file.begin()?;
    if let Some(time) = time {
        file.set_modified(time)?;
    }
    // The disk is the slow part: jobs do not wait for each other here. The file system orders the
    // rename after what is synced.
    if in_tree.is_none_or(|in_tree| in_tree.is_synced_alone) {
        file.sync()?;
    }
    let here = file.length()?;
    if here != length {
        let fault = JobFault::LengthChanged { here, received: length };
        return Err(Error::Job(fault).into());
    }
    match (targets, in_tree) {
        (_, Some(in_tree)) => {
            (in_tree.before)(file.file())?;
            file.commit(replaces)
        }
        (None, None) => file.commit(replaces),
        (Some(targets), None) => {
            let target = file.target().to_owned();
            let in_place = file.path() == Some(&target);
            targets.publish(&target, in_place, || file.commit(replaces))
        }
    }
}

/// Adds to the error of a download in place that its bytes could not be taken back.
pub(super) fn after_undo(error: Error, is_undone: bool) -> Error {
    if is_undone { error } else { Error::Job(JobFault::NotUndone(Box::new(error))) }
}

/// Returns whether received data was corrupt, at an unknown position.
pub(super) fn is_corrupt(error: &Error) -> bool {
    match error {
        Error::Compressed(fault) => *fault != DeflateFault::Truncated,
        Error::Blocks(fault) => *fault != BlockFault::Truncated,
        _ => false,
    }
}

/// Adds a path to an error that may have one already.
pub(super) fn named_once(path: &Path, error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => named(path, error),
        None => named_again(error),
    }
}

impl Memory {
    pub(super) fn begin(&mut self) {
        self.left = self.file.as_ref().map_or(Left::Nothing, |(file, _)| file.left());
    }

    /// Keeps what a failed transfer left, for the next attempt or run. Returns the error.
    pub(super) fn note_failure(
        &mut self,
        start: DownloadStart<'_>,
        error: Error,
        is_resumable: bool,
    ) -> Error {
        let DownloadStart { target, kept, origin, is_restored, .. } = start;
        let mut file = match target {
            Writing::File(file) => file,
            Writing::Stream(_) | Writing::Target(_) => return error,
        };
        if self.left == Left::Wrong || is_corrupt(&error) {
            return after_undo(error, file.discard());
        }
        if is_restored && !file.restore() {
            self.left = Left::Nothing;
            return after_undo(error, false);
        }
        // After an error, fewer bytes are resumed.
        let _ = file.end();
        let length = file.length().unwrap_or_default();
        match file.left() {
            Left::Nothing if self.left == Left::Removed && !is_resumable => {}
            left => self.left = left,
        }
        if let Some(origin) = origin
            && (file.is_kept() || is_resumable)
            && !is_restored
            && !file.has_failed()
            && length >= kept
        {
            self.file = Some((file, origin));
        }
        error
    }
}

impl std::fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::InPlace(path) => f.debug_tuple("InPlace").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What is different for a file of a tree. The tree is synced to disk as a whole, at the end, as far
/// as that is possible.
pub(crate) struct InTree<'a> {
    /// The path from which the names of partial files are derived: hidden ones.
    pub(crate) parts: PathBuf,
    /// Whether the modification time is asked for together with the file (`MDTM`, `RETR`), unless
    /// it was asked for before.
    pub(crate) asks_time: bool,
    /// The path of the next file over the same connection, and whether its time is asked for.
    pub(crate) next: Option<(&'a [u8], bool)>,
    /// The size and time that `SIZE` and `MDTM` would report, as far as the listing tells them.
    pub(crate) listed: Origin,
    /// Whether the sync of the whole tree leaves out the file, or the errors of writing it.
    pub(crate) is_synced_alone: bool,
    /// Called with the complete file before it gets its name.
    pub(crate) before: &'a (dyn Fn(&File) -> io::Result<()> + Sync),
}

/// What a download does and has done, apart from its target.
pub(super) struct GetJob<'a> {
    pub(super) place: Place,
    pub(super) options: FileOptions,
    pub(super) targets: Option<&'a Targets>,
    pub(super) like: Option<&'a Path>,
    pub(super) listed: Option<u64>,
    pub(super) time: Option<SystemTime>,
    pub(super) replaces: Replaceable,
    /// Whether the facts of the server's file are asked for, so that another attempt can resume.
    pub(super) is_resumable: bool,
    /// What identifies the journal of a move, if the session does not.
    pub(super) name: Option<MovedName>,
    pub(super) in_tree: Option<InTree<'a>>,
    pub(super) past: Memory,
}

/// The search for bytes that need not be received again.
impl GetJob<'_> {
    pub(super) fn start<'w>(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        to: &'w mut Sink<'_>,
    ) -> Result<DownloadStart<'w>, Error> {
        let (path, in_place) = match to {
            Sink::Stream(stream) => return Ok(DownloadStart::at_0(Writing::Stream(*stream))),
            Sink::Path(path) => (*path, false),
            Sink::InPlace(path) => (*path, true),
        };
        if self.past.file.is_some() {
            // If the question fails, the next attempt still has the bytes.
            let now = Origin::ask(client, self.place.path())?;
            if let Some((file, then)) = self.past.file.take() {
                return self.go_on(on, file, then, now);
            }
        }
        if self.options.resume != Resume::Own {
            return self.find(client, on, path, in_place);
        }
        if in_place {
            let length = FoundFile::at(path).map_err(Error::local)?.map_or(0, |found| found.length);
            let file = self.open_in_place(path, (length, 0), None).map_err(Error::local)?;
            return Ok(DownloadStart::at_0(Writing::File(file)));
        }
        let file = LocalFile::replacing_like(path, self.like.unwrap_or(path)).map_err(|error| {
            let parent = parent(path);
            let why = format!("cannot create a file: {error}");
            Error::local(named(parent, &io::Error::new(error.kind(), why)))
        })?;
        let mut start = DownloadStart::at_0(Writing::File(file));
        if self.is_resumable || self.past.asks_size {
            start.origin = match Origin::ask(client, self.place.path()) {
                Err(error) if error.is_not_now() => None,
                origin => Some(origin?),
            };
        }
        Ok(start)
    }

    /// Opens the target itself, unless the run writes the same file under another name.
    fn open_in_place(
        &self,
        target: &Path,
        lengths: (u64, u64),
        record: Option<Record>,
    ) -> io::Result<LocalFile> {
        let open = || LocalFile::in_place(target, lengths, record);
        match self.targets {
            Some(targets) => targets.publish(target, true, open),
            None => open(),
        }
    }

    /// Returns the path from which the names of partial files are derived.
    pub(super) fn parts_of<'t>(&'t self, target: &'t Path) -> &'t Path {
        self.in_tree.as_ref().map_or(target, |in_tree| &in_tree.parts)
    }

    /// Resumes the bytes of an earlier attempt of this job.
    fn go_on<'w>(
        &self,
        on: &dyn Observer,
        mut file: LocalFile,
        then: Origin,
        origin: Origin,
    ) -> Result<DownloadStart<'w>, Error> {
        let have = file.length().map_err(Error::local)?;
        let known = Known {
            have,
            size: origin.size,
            resume: self.options.resume,
            is_own: true,
            record: None,
            is_refuted: then.is_still(origin) == Some(false),
            restarts: !self.past.no_restart,
            digest: Asked::NoAnswer,
        };
        let step = if self.past.from_start { Step::FromZero(Why::Refuted) } else { decide(&known) };
        let (kept, compare, is_whole) = self.of_step(on, step, have, file.path_or_target());
        if let Err(error) = file.again(kept) {
            return Err(Error::local(named(file.target(), &error)));
        }
        let target = Writing::File(file);
        Ok(DownloadStart {
            kept,
            compare,
            origin: Some(origin),
            is_whole,
            ..DownloadStart::at_0(target)
        })
    }

    /// Finds bytes of earlier runs, and begins after those that are proved.
    fn find<'w>(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        target: &Path,
        in_place: bool,
    ) -> Result<DownloadStart<'w>, Error> {
        let mut left = self.left_by_earlier_runs(target, in_place)?;
        let is_listed = self.ask_about(client, &mut left)?;
        let mut refused = None;
        if !self.past.from_start {
            if let Some(start) = self.completed(client, &left)? {
                return Ok(start);
            }
            match self.after_part(client, on, &left)? {
                Some(Ok(start)) => return Ok(start),
                part => refused = part.and_then(Result::err),
            }
            match self.after_local(client, on, &left)? {
                Some(Ok(start)) => return Ok(start),
                local => refused = refused.or(local.and_then(Result::err)),
            }
        }
        if let Some((path, why)) = refused {
            on.event(Event::FromZero { target: path.as_os_str().as_bytes(), why });
        }
        let file = match in_place {
            true => self.open_in_place(target, (length_of(left.local.as_ref()), 0), left.now),
            false => self.part_file(&left, 0),
        };
        let target = Writing::File(file.map_err(Error::local)?);
        // The file may have grown since it was listed: its size then counts as not asked for.
        let size = left.origin.size.filter(|_| !is_listed);
        let origin = Some(Origin { size, ..left.origin });
        Ok(DownloadStart { origin, ..DownloadStart::at_0(target) })
    }

    fn left_by_earlier_runs<'t>(
        &self,
        target: &'t Path,
        in_place: bool,
    ) -> Result<LeftFiles<'t>, Error> {
        let keeps = self.options.existing == Existing::Keep;
        let (part_path, part) = match in_place {
            true => (target.to_owned(), None),
            false => {
                let is_target =
                    |path: &Path| self.targets.is_some_and(|targets| targets.contains(path));
                partial::find(self.parts_of(target), is_target).map_err(Error::local)?
            }
        };
        // A tree compares the target itself before it plans the copy.
        let local = match keeps && !in_place || self.in_tree.is_some() {
            true => None,
            false => FoundFile::at(target).map_err(Error::local)?,
        };
        let origin = Origin::default();
        Ok(LeftFiles { target, in_place, part_path, part, local, now: None, origin })
    }

    /// Asks the server for what a decision about the bytes needs. Returns whether the size is only known
    /// from a listing.
    fn ask_about(&self, client: &mut Client, left: &mut LeftFiles<'_>) -> Result<bool, Error> {
        let source = SourceId::ask(client, &self.place)?;
        // The listing is enough for the record of a new file, but not for a decision about bytes.
        let is_new = length_of(left.part.as_ref()) == 0 && length_of(left.local.as_ref()) == 0;
        let listed = self.in_tree.as_ref().filter(|_| is_new).map(|in_tree| in_tree.listed);
        let listed = listed.unwrap_or_default();
        left.origin = match listed.or_ask(client, self.place.path()) {
            // Nothing is lost without the size.
            Err(error) if is_new && error.is_not_now() => listed,
            origin => origin?,
        };
        left.now = Record::new(source, left.origin);
        Ok(listed.size.is_some())
    }

    /// Returns the start if this program has completed the file, and it has not changed since.
    fn completed<'w>(
        &mut self,
        client: &mut Client,
        left: &LeftFiles<'_>,
    ) -> Result<Option<DownloadStart<'w>>, Error> {
        let is_complete = |file: &&FoundFile| {
            file.length > 0 && file.record.as_ref().is_some_and(|record| !record.is_part())
        };
        let Some(local) = left.local.as_ref().filter(is_complete) else { return Ok(None) };
        let judged = self.judge(client, local, left, Asked::NoAnswer)?;
        if judged.step != Step::Whole {
            return Ok(None);
        }
        let found = local_of(local).map_err(Error::local)?;
        Ok(Some(DownloadStart::whole(found, left.origin, false)))
    }

    /// Returns the start after the bytes of a partial file, or why they are not kept; `None` if there are
    /// none.
    fn after_part<'w>(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        left: &LeftFiles<'_>,
    ) -> Result<Option<StartAfter<'w>>, Error> {
        let Some(part) = left.part.as_ref().filter(|part| part.length > 0) else {
            return Ok(None);
        };
        let Judged { step, is_digested } = self.judge(client, part, left, Asked::NotYet)?;
        if let Step::FromZero(why) = step {
            return Ok(Some(Err((part.path.clone(), why))));
        }
        let (kept, compare, is_whole) = self.of_step(on, step, part.length, &part.path);
        let file = self.part_file(left, kept).map_err(Error::local)?;
        let start = DownloadStart::at_0(Writing::File(file));
        let origin = Some(left.origin);
        Ok(Some(Ok(DownloadStart { kept, compare, origin, is_whole, is_digested, ..start })))
    }

    /// Returns the start after the bytes of the file at the target, or why they are not kept; `None` if
    /// there are none.
    fn after_local<'w>(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        left: &LeftFiles<'_>,
    ) -> Result<Option<StartAfter<'w>>, Error> {
        let here = Error::local;
        let Some(local) = left.local.as_ref().filter(|local| local.length > 0) else {
            return Ok(None);
        };
        let Judged { step, is_digested } = self.judge(client, local, left, Asked::NotYet)?;
        match step {
            Step::FromZero(why) => return Ok(Some(Err((local.path.clone(), why)))),
            Step::Whole => {
                let found = local_of(local).map_err(here)?;
                return Ok(Some(Ok(DownloadStart::whole(found, left.origin, is_digested))));
            }
            Step::Continue { .. } | Step::AskDigest => {}
        }
        let (kept, compare, _) = self.of_step(on, step, local.length, &local.path);
        let trusts = self.options.resume == Resume::Trusted;
        let start = if left.in_place || trusts {
            let is_ours =
                local.record.as_ref().is_some_and(Record::is_part) && !is_digested && !trusts;
            let record = left.now.clone().filter(|_| is_ours);
            let file = self.open_in_place(left.target, (local.length, kept), record);
            let start = DownloadStart::at_0(Writing::File(file.map_err(here)?));
            DownloadStart { is_restored: !is_ours, ..start }
        } else {
            let mut file = self.part_file(left, 0).map_err(here)?;
            copy_into(&local.file, kept, &mut file)
                .map_err(|error| here(named(left.target, &error)))?;
            DownloadStart::at_0(Writing::File(file))
        };
        let origin = Some(left.origin);
        Ok(Some(Ok(DownloadStart { kept, compare, origin, is_digested, ..start })))
    }

    /// Opens the partial file, of which the first `kept` bytes stay.
    fn part_file(&self, left: &LeftFiles<'_>, kept: u64) -> io::Result<LocalFile> {
        let names = (left.target, self.like.unwrap_or(left.target));
        let lengths = (length_of(left.part.as_ref()), kept);
        LocalFile::part_like(left.part_path.clone(), names, lengths, left.now.clone())
    }

    /// Decides about the bytes of an existing file.
    fn judge(
        &mut self,
        client: &mut Client,
        found: &FoundFile,
        &LeftFiles { ref now, origin, .. }: &LeftFiles<'_>,
        digest: Asked,
    ) -> Result<Judged, Error> {
        // Without a time of the server, a record holds only in its process.
        let stored = found.record.as_ref().filter(|_| origin.modified.is_some());
        let fit = now.as_ref().zip(stored).map(|(now, stored)| now.fit(stored, &found.file));
        let digest = if self.past.has_no_digest { Asked::NoAnswer } else { digest };
        let mut known = Known {
            have: found.length,
            size: origin.size,
            resume: self.options.resume,
            is_own: false,
            record: fit,
            is_refuted: fit == Some(Fit::Changed),
            restarts: !self.past.no_restart,
            digest,
        };
        let step = judge(&mut known, false, || {
            let read = (&found.file, found.length);
            evidence::compare_first(client, self.place.path(), read, origin.size)?
                .asked(client, &mut self.past.has_no_digest)
        })?;
        Ok(Judged { step, is_digested: known.digest == Asked::Equal })
    }

    /// Returns the kept bytes, the compared ones, and whether nothing is missing.
    fn of_step(&self, on: &dyn Observer, step: Step, have: u64, path: &Path) -> (u64, u64, bool) {
        match step {
            Step::Continue { kept, compare } => (kept, compare, false),
            Step::Whole => (have, 0, true),
            Step::AskDigest => (0, 0, false),
            Step::FromZero(why) => {
                if why != Why::NothingThere && !self.past.from_start {
                    let target = path.as_os_str().as_bytes();
                    on.event(Event::FromZero { target, why });
                }
                (0, 0, false)
            }
        }
    }
}

fn length_of(found: Option<&FoundFile>) -> u64 {
    found.map_or(0, |found| found.length)
}

fn local_of(found: &FoundFile) -> io::Result<FoundFile> {
    let file = found.file.try_clone().map_err(|error| named(&found.path, &error))?;
    let FoundFile { path, length, record, .. } = found;
    Ok(FoundFile { path: path.clone(), file, length: *length, record: record.clone() })
}

/// Copies the first `length` bytes of a file, without transferring them if the file system can
/// share them.
fn copy_into(from: &File, length: u64, to: &mut LocalFile) -> io::Result<()> {
    let is_whole = from.metadata()?.len() == length;
    to.begin()?;
    if !(is_whole && share_content(from, to.file())) {
        let mut block = vec![0; 256 * 1_024];
        let mut at = 0;
        while at < length {
            let wanted = usize::try_from(length - at).unwrap_or(block.len()).min(block.len());
            let (piece, _) = block.split_at_mut(wanted);
            from.read_exact_at(piece, at)?;
            to.write_all(piece)?;
            at += wanted as u64;
        }
    }
    to.settle()?;
    to.again(length)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_another_length_than_was_counted_gets_no_name_cl_53() {
        // Each kind of local file, alone and as one of a tree.
        let ready = |_: &File| Ok(());
        for (kind, in_tree) in [(0, false), (0, true), (1, false), (1, true), (2, false)] {
            for length in [3, 5, 8] {
                let root = tempfile::tempdir().unwrap();
                let (path, part) = (root.path().join("f"), root.path().join("f.part"));
                fs::write(&path, "old").unwrap();
                let mut file = match kind {
                    0 => LocalFile::replacing_like(&path, &path).unwrap(),
                    1 => LocalFile::part(part, &path, (0, 0), None).unwrap(),
                    _ => LocalFile::in_place(&path, (3, 0), None).unwrap(),
                };
                file.write_all(b"12345").unwrap();
                file.file().set_len(length).unwrap();
                let in_tree = in_tree.then(|| InTree {
                    parts: path.clone(),
                    asks_time: false,
                    next: None,
                    listed: Origin::default(),
                    is_synced_alone: false,
                    before: &ready,
                });
                let start = DownloadStart::at_0(Writing::File(file));
                let done = start.publish(5, None, Replaceable::Any, None, in_tree.as_ref());
                let stays = length != 5 && kind == 2;
                let want = if length == 5 { &b"12345"[..] } else { &b"old"[..] };
                match done {
                    Ok(done) => assert_eq!((done, length), (Committed::Done, 5)),
                    Err(Error::Job(JobFault::LengthChanged { here, received: 5 })) => {
                        assert_eq!(here, length);
                    }
                    // In place, nothing may be cut that another program has written.
                    Err(Error::Job(JobFault::NotUndone(_))) if stays => {}
                    Err(error) => panic!("{error}"),
                }
                let whole = b"12345\0\0\0";
                let want = if stays { &whole[..usize::try_from(length).unwrap()] } else { want };
                assert_eq!(fs::read(&path).unwrap(), want, "{kind} {length}");
                assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "{kind} {length}");
            }
        }
    }
}
