//! `Get`: the download of one file, as a job with memory that can be attempted several times. It is
//! skipped if the options, the server's facts about the file, and the local file say so.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_proto::{RepresentationType, TimeVal};

use super::Done;
use super::begin::{DownloadStart, GetJob, InTree, Memory, Sink, Writing, after_undo};
use super::evidence;
use super::local::{Committed, Replaceable};
use super::moving::MovedName;
use super::options::{Existing, FileOptions, Left, SkipReason};
use super::partial::named;
use super::pieces::remove_pieces;
use super::receive::{Ended, REPETITIONS, ReceivedBytes, Request};
use super::record::parent;
use super::targets::{BothFiles, Targets, check_target, may_be_one};
use crate::age::{self, BEHIND};
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::objects::SizeTold;
use crate::digest::Checksum;
use crate::error::{Error, ErrorKind, FileFact, JobFault, Phase, Unsupported};
use crate::event::{Event, Note, Observer, Verify, Why};
use crate::system::{MetadataExt, sync_directory};
use crate::tree::local::{Directory, rounds_to};
use crate::tree::probe::local_time;
use crate::url_path::Place;

/// The download of one file to a local target.
///
/// The job knows the bytes that its earlier attempts received, also over another connection. With
/// [`Resume::Own`](crate::Resume::Own), only these are resumed; with
/// [`Resume::Proven`](crate::Resume::Proven), also those of earlier runs
/// that a record or the server's digest proves.
///
/// ```no_run
/// use ftp_client::{Client, Event, FileOptions, Get, Place, Resume};
///
/// let mut client = Client::builder().connect("ftp.example.org")?;
/// client.login("anonymous", "guest@")?;
/// let options = FileOptions::new().resume(Resume::Proven);
/// let mut job = Get::to_path(Place::at("pub/a.bin"), "a.bin", &options);
/// let done = job.attempt(&mut client, &|event: Event<'_>| println!("{event:?}"))?;
/// println!("{} bytes, {} of them from an earlier run", done.size, done.resumed);
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[must_use]
pub struct Get<'a> {
    pub(super) to: Sink<'a>,
    pub(super) job: GetJob<'a>,
}

impl<'a> Get<'a> {
    /// Returns the download of the file at `from` to a file that gets this path when it is complete.
    /// Until then, an existing file is unchanged.
    pub fn to_path(
        from: Place,
        path: &'a (impl AsRef<Path> + ?Sized),
        options: &FileOptions,
    ) -> Self {
        Self::new(from, Sink::Path(path.as_ref()), options)
    }

    /// Returns the download of the file at `from` to a file that is written under its own path. If it
    /// begins at byte 0, the former content is lost with the first byte; a failure leaves
    /// [`Left::InPlace`]. A [move](FileOptions::moves) needs [`to_path`](Self::to_path).
    pub fn in_place(
        from: Place,
        path: &'a (impl AsRef<Path> + ?Sized),
        options: &FileOptions,
    ) -> Self {
        Self::new(from, Sink::InPlace(path.as_ref()), options)
    }

    /// Returns the download of the file at `from` to a stream. If an attempt fails after its first byte
    /// ([`Left::Stream`]), another one fails with [`Error::Unsupported`].
    pub fn to_writer(from: Place, to: &'a mut dyn Write, options: &FileOptions) -> Self {
        Self::new(from, Sink::Stream(to), options)
    }

    pub(crate) fn new(from: Place, to: Sink<'a>, options: &FileOptions) -> Self {
        let past = Memory::default();
        let job = GetJob {
            place: from,
            options: options.clone(),
            targets: None,
            like: None,
            listed: None,
            time: None,
            replaces: (options.existing != Existing::Keep).into(),
            is_resumable: false,
            name: None,
            in_tree: None,
            past,
        };
        Self { to, job }
    }

    setters! {
        /// Sets the targets of the run, so that none becomes the partial file of this job, and none is
        /// replaced because the file system takes two names for one.
        among(targets: &'a Targets) => job.targets = Some(targets);
        /// Sets the file whose permissions the new file gets, if that is not the target.
        like(path: &'a Path) => job.like = Some(path);
        /// Sets the size of the file in a listing. Before a transfer of another length fails, `SIZE` is
        /// asked for.
        listed(size: Option<u64>) => job.listed = size;
        /// Sets the modification time of the new file, in place of the one that
        /// [`preserve`](FileOptions::preserve) asks for.
        modified(time: Option<SystemTime>) => job.time = time;
        /// Sets whether a later attempt may resume the bytes of this one (default: only with a
        /// [resume](FileOptions::resume) other than [`Own`](super::evidence::Resume::Own)). Each
        /// attempt then begins with questions for the size and time of the server's file.
        resumable(on: bool) => job.is_resumable = on;
    }

    /// Sets the name and the user of the server's file, which identify the journal of an interrupted
    /// [move](FileOptions::moves), beside the path of the target. `name` must also identify the
    /// server (default: the server, user and path of the session).
    pub fn known_as(mut self, name: impl Into<String>, user: impl Into<Vec<u8>>) -> Self {
        self.job.name = Some(MovedName { name: name.into(), user: user.into() });
        self
    }

    pub(crate) fn in_tree(mut self, in_tree: InTree<'a>) -> Self {
        self.job.in_tree = Some(in_tree);
        self
    }

    /// Sets the place on the connection of the next attempt.
    pub fn set_place(&mut self, place: Place) {
        self.job.place = place;
    }

    /// Lets the next attempt begin at byte 0, whatever exists.
    pub fn start_over(&mut self) {
        self.job.start_over();
    }

    /// Returns the place of the server's file, with the directory that an attempt entered.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.job.place
    }

    /// Returns what the last failed attempt left.
    #[must_use]
    pub const fn left(&self) -> &Left {
        &self.job.past.left
    }

    /// Downloads the file, or the bytes that are missing, unless the options skip it.
    ///
    /// The file counts as complete if the server confirmed it, and if the number of bytes is what
    /// `SIZE` or the 150 reply says; the first byte too many ends the transfer. If bytes were kept
    /// and the server computes digests, the whole file is compared too, except with
    /// [`Verify::Size`] and [`Verify::None`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Client::retrieve`] and [`Download::finish`](crate::Download::finish).
    /// - [`Error::Local`] if the local file fails.
    /// - [`Error::Incomplete`] if the number of bytes is wrong, and [`Error::Changed`] if the
    ///   server's file changed meanwhile.
    /// - With [`Verify::Digest`] or [`Verify::Size`], [`Error::Unsupported`] if the server cannot
    ///   be asked, and [`Error::Mismatch`] if the digests differ.
    /// - [`Error::Job`] if the file is missing, if the server does not report a fact that an
    ///   option needs, or if the source may be the target.
    /// - [`Error::Job`] for the failures of a [move](FileOptions::moves).
    pub fn attempt(&mut self, client: &mut Client, on: &dyn Observer) -> Result<Done, Error> {
        self.begin(client)?;
        match self.to {
            // An interrupted move continues before any file is skipped.
            Sink::Path(target) if self.job.options.moves => self.take(client, on, target),
            _ if self.job.options.moves => Err(Error::Job(JobFault::NotRegular)),
            _ => match self.skips(client, on)? {
                Some(why) => Ok(Done::skipped(why)),
                None => self.job.fetch(client, on, &mut self.to),
            },
        }
    }

    /// Begins another attempt, if the target allows it.
    pub(super) fn begin(&mut self, client: &mut Client) -> Result<(), Error> {
        if self.job.past.left == Left::Stream {
            // The stream would have its first bytes twice.
            return Err(Error::Unsupported(Unsupported::SecondStream));
        }
        self.job.past.begin();
        if let Sink::Path(target) | Sink::InPlace(target) = self.to {
            check_target(target).map_err(|error| Error::local(named(target, &error)))?;
        }
        self.check_apart(client)
    }
}

impl Client {
    /// Downloads the file at `path` to the local file `target`, in type image.
    ///
    /// The local file gets its name only when it is complete. The server must have confirmed the
    /// download, the length must match any length that the server reports, and the file must be
    /// synced to disk. Until then, an existing file is unchanged, unless the download resumes it.
    ///
    /// With [`resume`](FileOptions::resume), an interrupted download leaves `NAME.part`, which a
    /// later download resumes if its record, or the server's digest, proves the bytes. A `NAME.part`
    /// of another program is left alone, and another name is used. If the server cannot resume
    /// downloads, or its file has changed, the download starts at byte 0. [`Get`] has more
    /// choices, and can be attempted again.
    ///
    /// ```no_run
    /// use ftp_client::{FileOptions, Resume};
    ///
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// # client.login("anonymous", "guest@")?;
    /// let options = FileOptions::new().resume(Resume::Proven);
    /// let done = client.download_to("pub/a.bin", "a.bin", &options, &())?;
    /// println!("{} bytes, {} of them from an earlier attempt", done.size, done.resumed);
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - The errors of [`retrieve`](Self::retrieve) and
    ///   [`Download::finish`](crate::Download::finish).
    /// - [`Error::Local`] if the local file fails.
    /// - [`Error::Incomplete`] if the server confirms the download, but its file differs in length
    ///   from the local one. `NAME.part` is removed, unless it may be the beginning of the file.
    /// - [`Error::Changed`] if the server's file changed during the download; `NAME.part` is
    ///   removed.
    /// - With [`Verify::Digest`](crate::file::Verify::Digest), [`Error::Unsupported`] if the server lists no suitable
    ///   algorithm, and [`Error::Mismatch`] if the digests differ; `NAME.part` is removed after a
    ///   mismatch.
    pub fn download_to(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<Path>,
        options: &FileOptions,
        on: &dyn Observer,
    ) -> Result<Done, Error> {
        let target = Sink::Path(target.as_ref());
        Get::new(Place::at(path), target, options).attempt(self, on)
    }
}

impl GetJob<'_> {
    /// Returns whether the next run compares times: that of the end of the download would hide a change
    /// of the server's file meanwhile, so the file gets the one that was told before.
    pub(super) fn is_newer(&self) -> bool {
        self.options.existing == Existing::ReplaceOlder
    }

    fn start_over(&mut self) {
        self.past.from_start = true;
        self.past.file = None;
    }

    /// Downloads the file, whatever the target holds.
    pub(super) fn fetch(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        to: &mut Sink<'_>,
    ) -> Result<Done, Error> {
        client.set_representation(self.options.representation);
        let algorithm = match self.options.verify {
            Verify::Digest => Some(evidence::checksum(client)?.algorithm()),
            _ => None,
        };
        let time = match self.time {
            None if self.options.preserve => Some(modified(client, self.place.path())?.into()),
            None if self.is_newer() => client.modified(self.place.path())?.map(age::lasting),
            time => time,
        };
        loop {
            let mut checksum = algorithm.and_then(Checksum::new);
            match self.once(client, on, &mut checksum, (to, time)) {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => self.past.from_start = true,
                Err(error) => {
                    let is_kept = matches!(self.past.left, Left::Part(_) | Left::InPlace);
                    if error.kind() == ErrorKind::Integrity && !is_kept {
                        self.start_over();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Makes one request for the file, which gets the modification time `time`; returns `None` if
    /// another one must begin at byte 0.
    fn once(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        checksum: &mut Option<Checksum>,
        (to, time): (&mut Sink<'_>, Option<SystemTime>),
    ) -> Result<Option<Done>, Error> {
        let target = to.name();
        let mut start = self.start(client, on, to)?;
        self.past.from_start = false;
        if let (Some(checksum), Some(file)) = (checksum.as_mut(), start.file()) {
            let kept = checksum.update_from(file, start.kept);
            kept.map_err(|error| start.failed_here(&error))?;
        }
        let moved = match start.is_whole {
            true => {
                let is_known = start.origin.is_some();
                ReceivedBytes { bytes: 0, duration: Duration::ZERO, is_known, modified: None }
            }
            false => {
                let asks_time = start.origin.is_none()
                    && self.in_tree.as_ref().is_some_and(|in_tree| in_tree.asks_time);
                let (listed, repetitions) = (self.listed, REPETITIONS);
                let job = &mut *self;
                let mut request = Request { job, on, checksum, listed, asks_time, repetitions };
                match request.run(client, &mut start) {
                    Ok(Ended::Complete(moved)) => moved,
                    Ok(Ended::FromZero(why)) => {
                        on.event(Event::FromZero { target: start.name(), why });
                        return Ok(None);
                    }
                    Err(error) => {
                        return Err(self.past.note_failure(start, error, self.is_resumable));
                    }
                }
            }
        };
        let path = self.place.path().to_vec();
        let moved = ReceivedBytes {
            is_known: moved.is_known || self.listed == Some(start.kept + moved.bytes),
            ..moved
        };
        let checked = self.check(client, &start, &moved, checksum.take());
        let verified = match checked {
            Ok(verified) => verified,
            Err(error @ Error::Mismatch { .. }) if start.kept > 0 => {
                // The kept bytes were wrong after all.
                if let Writing::File(file) = &mut start.target
                    && !file.discard()
                {
                    return Err(after_undo(error, false));
                }
                on.event(Event::FromZero { target: start.name(), why: Why::Refuted });
                return Ok(None);
            }
            Err(error) => {
                self.past.left = match &start.target {
                    Writing::Stream(_) => Left::Stream,
                    _ if error.kind() == ErrorKind::Integrity && !start.keeps(&error) => {
                        Left::Wrong
                    }
                    _ => Left::Nothing,
                };
                return Err(self.past.note_failure(start, error, self.is_resumable));
            }
        };
        let (kept, source) = (start.kept, path);
        let done = Done { verified, ..Done::moved(moved.bytes, kept, moved.duration) };
        let known = moved.modified.or(start.origin.and_then(|origin| origin.modified));
        let known = known.filter(|_| self.in_tree.is_some()).map(age::lasting);
        if self.publish(start, done.size, time.or(known))? == Committed::Exists {
            return Ok(Some(Done::skipped(SkipReason::NowExists)));
        }
        on.event(Event::Done { source: &source, target, bytes: done.bytes, verified });
        Ok(Some(done))
    }

    /// Gives the complete file, of `length` bytes, its time and its name.
    pub(super) fn publish(
        &mut self,
        start: DownloadStart<'_>,
        length: u64,
        time: Option<SystemTime>,
    ) -> Result<Committed, Error> {
        let left = start.left();
        let alone = match &start.target {
            Writing::File(file) if self.in_tree.is_none() => Some(file.target().to_owned()),
            _ => None,
        };
        let is_resumed = start.kept > 0;
        let published =
            start.publish(length, time, self.replaces, self.targets, self.in_tree.as_ref());
        let committed = published.inspect_err(|error| {
            self.past.left = match error {
                Error::Job(JobFault::LengthChanged { .. }) => Left::Wrong,
                Error::Job(JobFault::NotUndone(_)) => Left::Nothing,
                _ => left,
            };
        })?;
        if let (Committed::Done, Some(target)) = (committed, alone) {
            if is_resumed {
                // A download in ranges may have left more than the beginning that was resumed.
                let _ = remove_pieces(&target);
            }
            // Otherwise, the name could be lost in a power failure.
            let synced = sync_directory(parent(&target));
            synced.map_err(|error| {
                self.past.left = Left::Nothing;
                Error::local(named(&target, &error))
            })?;
        }
        Ok(committed)
    }

    /// Verifies that the file is complete, as far as the server can be asked and the caller wants it.
    fn check(
        &mut self,
        client: &mut Client,
        start: &DownloadStart<'_>,
        moved: &ReceivedBytes,
        checksum: Option<Checksum>,
    ) -> Result<Verify, Error> {
        let (path, options) = (self.place.path(), &self.options);
        if options.verify == Verify::None {
            return Ok(Verify::None);
        }
        let all = start.kept + moved.bytes;
        let is_image = options.representation == RepresentationType::Image;
        // The beginning and the rest belong together only if the file has not changed in between.
        if start.kept > 0
            && !start.is_whole
            && let Some(then) = start.origin.and_then(|origin| origin.modified)
        {
            match client.modified(path) {
                Ok(Some(now)) if now != then => return Err(Error::Changed),
                Err(error) if error.is_out_of_step() => return Err(error),
                _ => {}
            }
        }
        let mut verified = match start.origin.and_then(|origin| origin.size) {
            Some(size) if size != all && is_image => {
                return Err(Error::Incomplete { bytes: all, announced: Some(size) });
            }
            Some(_) if is_image => Verify::Size,
            _ if moved.is_known => Verify::Size,
            // What ends the connection at this question, such as a proxy, may have cut the data that the
            // server counts as sent. Servers that always close here are asked before the next download.
            _ if is_image => {
                let verified = evidence::check_size(client, path, all, options.verify);
                self.past.asks_size = !client.is_settled();
                match verified? {
                    Verify::None if self.past.asks_size => return Err(Error::Closed),
                    verified => verified,
                }
            }
            _ => Verify::None,
        };
        if let Some(checksum) = checksum {
            evidence::compare_digest(client, path, checksum.finish())?.proves(true)?;
            verified = Verify::Digest;
        } else if start.kept > 0 && options.verify == Verify::IfKnown && !self.past.has_no_digest {
            let is_digested = start.is_digested && start.is_whole;
            if is_digested || is_digest_equal(client, path, start, all)? {
                verified = Verify::Digest;
            }
        }
        Ok(verified)
    }
}

/// Compares the whole file with the server's digest, if the server has one.
fn is_digest_equal(
    client: &mut Client,
    path: &[u8],
    start: &DownloadStart<'_>,
    length: u64,
) -> Result<bool, Error> {
    let Some(file) = start.file() else { return Ok(false) };
    let mut checksum = match Checksum::for_server(client) {
        Ok(Some(checksum)) => checksum,
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => return Err(error),
        Err(error) if error.is_out_of_step() => return Err(error),
        // The file is complete; a server that cannot be asked for more does not change that.
        Ok(None) | Err(_) => return Ok(false),
    };
    checksum.update_from(file, length).map_err(|error| start.failed_here(&error))?;
    evidence::compare_digest(client, path, checksum.finish())?.proves(false)
}

ftp_proto::debug_fields!(Get<'_> { job: job.place } ..);

impl Get<'_> {
    /// Returns why the download is skipped, or `None` if it is not. The reason depends on the
    /// server's facts about the file, and on the local file.
    pub(super) fn skips(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
    ) -> Result<Option<SkipReason>, Error> {
        let selection = self.job.options.selection;
        let existing = self.job.options.existing;
        if existing == Existing::Keep && self.target().is_some_and(is_there) {
            return Ok(Some(SkipReason::Exists));
        }
        let here = match existing {
            Existing::ReplaceOlder | Existing::ReplaceDifferent => {
                if let Sink::Path(path) = self.to {
                    self.job.replaces = Replaceable::seen(path);
                }
                self.target().and_then(|path| fs::metadata(path).ok())
            }
            Existing::Replace | Existing::Keep => None,
        };
        let needs_time = selection.needs_time() || here.is_some();
        if !needs_time && !selection.needs_size() {
            return Ok(None);
        }
        let path = self.job.place.path();
        let time = match needs_time {
            true => Some(modified(client, path)?.unix_seconds()),
            false => None,
        };
        let size = client.size(path)?;
        if size.is_none() && selection.needs_size() {
            return Err(unknown(client, path, FileFact::Size));
        }
        // What is told now counts also if the connection is lost before the next question for it.
        self.job.listed = size.or(self.job.listed);
        let times = match (time, selection.times.1) {
            // The source is removed: a file that is still being written must not count as old.
            (Some(time), Some(latest))
                if self.job.options.moves && age::depends_on_zone(time, latest) =>
            {
                let times = local_time(client, path, time)?;
                Some(times.ok_or(Error::Unsupported(Unsupported::UnknownAge))?)
            }
            (time, _) => time.map(|time| (time, time)),
        };
        if let Some(why) = selection.refuses(size, times) {
            return Ok(Some(why));
        }
        let Some((here, time)) = here.zip(time) else { return Ok(None) };
        // As for trees: FAT stores only even seconds.
        let is_coarse = |path: &Path| Directory::open(parent(path))?.is_coarse();
        let is_rounded = || {
            rounds_to(time, here.mtime())
                && self.target().is_some_and(|path| is_coarse(path).unwrap_or(false))
        };
        let is_same = size == Some(here.len()) && (here.mtime() == time || is_rounded());
        Ok(match existing {
            Existing::ReplaceOlder if here.mtime() >= time => {
                if size != Some(here.len()) && here.mtime() - time <= BEHIND {
                    on.event(Event::Note { target: path, note: Note::PerhapsNewer });
                }
                Some(SkipReason::NotNewer)
            }
            _ => is_same.then_some(SkipReason::Unchanged),
        })
    }

    /// Checks that the local file is not the server's, if the download would empty or remove it: any
    /// server may serve a disk that is mounted here. If neither exists, the download must not create its
    /// own source.
    fn check_apart(&self, client: &mut Client) -> Result<(), Error> {
        let is_in_place = matches!(self.to, Sink::InPlace(_));
        let is_at_risk = self.job.options.moves || is_in_place;
        let Some(target) = self.target().filter(|_| is_at_risk) else { return Ok(()) };
        let there = self.job.place.path();
        match fs::metadata(target) {
            Ok(here) if here.len() > 0 && is_same_file(client, there, (target, &here))? => {
                Err(Error::Job(JobFault::MayBeSource(target.to_owned())))
            }
            Err(_)
                if is_in_place
                    && client.is_near()
                    && matches!(client.existence(there), Ok(Existence::Absent)) =>
            {
                Err(Error::Job(JobFault::Missing))
            }
            _ => Ok(()),
        }
    }

    const fn target(&self) -> Option<&Path> {
        match self.to {
            Sink::Path(path) | Sink::InPlace(path) => Some(path),
            Sink::Stream(_) => None,
        }
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Returns whether the server's file at `there` may be the local file `target` with the facts `here`.
fn is_same_file(
    client: &mut Client,
    there: &[u8],
    (target, facts): (&Path, &fs::Metadata),
) -> Result<bool, Error> {
    // Some servers refuse to tell the size of what they send.
    let told = match client.size_told(there) {
        Ok(SizeTold::Refused) | Err(_) => SizeTold::Nothing,
        Ok(told) => told,
    };
    let (sizes, modified) = (facts.len()..=facts.len(), facts.mtime());
    let both = BothFiles { here: target, sizes, modified, links: facts.nlink(), there, told };
    may_be_one(client, &both)
}

/// Returns the modification time of a file.
///
/// # Errors
///
/// Returns [`JobFault::Missing`] or [`JobFault::Unreported`] if there is none, and the
/// errors of the client.
fn modified(client: &mut Client, path: &[u8]) -> Result<TimeVal, Error> {
    match client.modification_time(path) {
        Err(Error::Unsupported(_)) => Err(unknown(client, path, FileFact::ModificationTime)),
        time => time,
    }
}

/// Returns the error for a file that is missing, or for a fact that the server does not report.
fn unknown(client: &mut Client, path: &[u8], fact: FileFact) -> Error {
    match client.lacks(path) {
        Ok(true) => Error::Job(JobFault::Missing),
        Ok(false) => Error::Job(JobFault::Unreported(fact)),
        Err(error) => error,
    }
}
