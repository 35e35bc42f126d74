//! `Get`: the download of one file, as a job with memory that can be attempted several times.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ftp_proto::{BlockFault, DeflateFault, RepresentationType};

use super::checksum::Checksum;
use super::evidence::{Asked, Fit, Known, Resume, Step, Why, decide};
use super::growing::named;
use super::local::{Committed, LocalFile};
use super::options::{Existing, FileOptions, Verify};
use super::origin::Origin;
use super::part::{self, FoundFile};
use super::record::{Record, SourceId};
use super::targets::Targets;
use super::verify::{self, Compared};
use super::{Done, Verified};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Phase};
use crate::event::{Event, Observer};
use crate::transfer::{Download, Watch};
use crate::url_path::{Entered, Place};

/// The target of a download.
pub enum Sink<'a> {
    /// A file that gets this path when it is complete. Until then, an existing file is unchanged.
    Path(&'a Path),
    /// A file that is written under its own path.
    InPlace(&'a Path),
    /// A stream. After its first byte, no attempt can be repeated.
    Stream(&'a mut dyn Write),
}

/// What a failed attempt left.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Left {
    /// Nothing arrived, or the failure came before the data.
    #[default]
    Nothing,
    /// The received bytes were removed.
    Removed,
    /// The received bytes were removed, because some of them may be wrong.
    Wrong,
    /// The received bytes are in this partial file, which a later run can resume.
    Part(PathBuf),
    /// The received bytes are in the target itself.
    InPlace,
    /// The stream has received bytes.
    Stream,
}

/// The download of one file to a local target.
///
/// The job knows the bytes that its earlier attempts received, also over another connection. With
/// [`Resume::Own`], only these are resumed; with [`Resume::Proven`], also those of earlier runs
/// that a record or the server's digest proves.
///
/// ```no_run
/// use ftp_client::{Client, Event, FileOptions, Get, Place, Resume, Sink};
///
/// let mut client = Client::builder().connect("ftp.example.org")?;
/// client.login("anonymous", "guest@")?;
/// let options = FileOptions::new().resume(Resume::Proven);
/// let mut job = Get::new(Place::at("pub/a.bin"), Sink::Path("a.bin".as_ref()), &options);
/// let done = job.attempt(&mut client, &|event: Event<'_>| println!("{event:?}"))?;
/// println!("{} bytes, {} of them from an earlier run", done.size, done.resumed);
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[must_use]
pub struct Get<'a> {
    place: Place,
    to: Sink<'a>,
    options: &'a FileOptions,
    targets: Option<&'a Targets>,
    like: Option<&'a Path>,
    listed: Option<u64>,
    time: Option<SystemTime>,
    /// Whether the facts of the server's file are asked for, so that another attempt can resume.
    is_repeated: bool,
    past: Memory,
}

/// What the earlier attempts of a job did, for a job that is built again.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Memory {
    /// The file with the received bytes, and the facts of the server's file when they came.
    file: Option<(LocalFile, Origin)>,
    /// Whether the next attempt begins at byte 0 in any case.
    from_start: bool,
    /// Whether the server cannot begin at another byte than 0.
    no_restart: bool,
    /// Whether the server gave no digest, or not in time.
    has_no_digest: bool,
    left: Left,
}

/// Where a download begins.
struct Start<'s> {
    target: Writing<'s>,
    /// The bytes that are kept, and how many of them are received again and compared.
    kept: u64,
    compare: u64,
    /// The size and time of the server's file, if they were asked for.
    origin: Option<Origin>,
    /// Whether nothing is missing.
    is_whole: bool,
    /// Whether a digest has proved all kept bytes.
    is_digested: bool,
    /// Whether kept bytes are in a file that is not this program's: a failure removes the others.
    is_restored: bool,
}

/// The open target.
enum Writing<'s> {
    File(LocalFile),
    Stream(&'s mut (dyn Write + 's)),
    /// The complete file at the target, which is not written.
    Target(FoundFile),
}

/// A file of earlier bytes, with the decision about it.
struct Judged {
    step: Step,
    is_digested: bool,
}

impl<'a> Get<'a> {
    /// Returns the job that downloads the file at `from`.
    pub fn new(from: Place, to: Sink<'a>, options: &'a FileOptions) -> Self {
        let past = Memory::default();
        Self {
            place: from,
            to,
            options,
            targets: None,
            like: None,
            listed: None,
            time: None,
            is_repeated: false,
            past,
        }
    }

    /// Sets the targets of the run, so that none becomes the partial file of this job, and none is
    /// replaced because the file system takes two names for one.
    pub const fn among(mut self, targets: &'a Targets) -> Self {
        self.targets = Some(targets);
        self
    }

    /// Sets the file whose permissions the new file gets, if that is not the target.
    pub fn like(mut self, path: &'a Path) -> Self {
        self.like = Some(path);
        self
    }

    /// Sets the size of the file in a listing. Before a transfer of another length fails, `SIZE` is
    /// asked for.
    pub const fn listed(mut self, size: Option<u64>) -> Self {
        self.listed = size;
        self
    }

    /// Sets the modification time of the new file, in place of the one that
    /// [`preserve`](FileOptions::preserve) asks for.
    pub const fn modified(mut self, time: Option<SystemTime>) -> Self {
        self.time = time;
        self
    }

    /// Prepares the job for several attempts: the facts of the server's file are asked for (`SIZE`,
    /// `MDTM`), so that a later attempt can resume its bytes.
    pub const fn repeated(mut self) -> Self {
        self.is_repeated = true;
        self
    }

    /// Lets the job go on where another one of the same file ended.
    #[doc(hidden)]
    pub fn remembering(mut self, memory: Memory) -> Self {
        self.past = memory;
        self
    }

    /// Returns what the attempts did.
    #[doc(hidden)]
    #[must_use]
    pub fn into_memory(self) -> Memory {
        self.past
    }

    /// Lets the next attempt begin at byte 0, whatever exists.
    pub fn start_over(&mut self) {
        self.past.from_start = true;
        self.past.file = None;
    }

    /// Returns the place of the server's file, with the directory that an attempt entered.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Returns what the last failed attempt left.
    #[must_use]
    pub const fn left(&self) -> &Left {
        &self.past.left
    }

    /// Downloads the file, or the bytes that are missing.
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
    pub fn attempt(&mut self, client: &mut Client, on: &dyn Observer) -> Result<Done, Error> {
        let mut watch = Watch::new().rate_limit(self.options.rate_limit.clone());
        self.run(client, on, &mut watch)
    }

    /// Attempts the download with the caller's meter and rate limit.
    pub(super) fn run(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        watch: &mut Watch<'_>,
    ) -> Result<Done, Error> {
        self.past.left = Left::Nothing;
        client.set_representation(self.options.representation);
        let algorithm = match self.options.verify {
            Verify::Digest => Some(verify::checksum(client)?.algorithm()),
            _ => None,
        };
        if self.options.preserve && self.time.is_none() {
            let time = client.modified(self.place.path())?;
            self.time = time.and_then(|time| SystemTime::try_from(time).ok());
        }
        loop {
            let mut checksum = algorithm.and_then(Checksum::new);
            let done = self.once(client, on, watch, &mut checksum);
            match done {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => self.past.from_start = true,
                Err(error) => {
                    if error.kind() == ErrorKind::Integrity {
                        self.start_over();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Makes one request for the file; returns `None` if another one must begin at byte 0.
    fn once(
        &mut self,
        client: &mut Client,
        on: &dyn Observer,
        watch: &mut Watch<'_>,
        checksum: &mut Option<Checksum>,
    ) -> Result<Option<Done>, Error> {
        let Self { place, to, options, targets, like, listed, time, is_repeated, past } = self;
        let targets = *targets;
        let target = match to {
            Sink::Path(path) | Sink::InPlace(path) => path.as_os_str().as_bytes(),
            Sink::Stream(_) => b"-",
        };
        let (is_repeated, like) = (*is_repeated, *like);
        let mut search = Search { place, options, targets, like, is_repeated, past, on };
        let mut start = search.start(client, to)?;
        past.from_start = false;
        if let (Some(checksum), Some(file)) = (checksum.as_mut(), start.file()) {
            let kept = checksum.update_from(file, start.kept);
            kept.map_err(|error| start.failed_here(&error))?;
        }
        let moved = match start.is_whole {
            true => Moved { bytes: 0, duration: Duration::ZERO, is_known: start.origin.is_some() },
            false => {
                let mut request =
                    Request { place, options, listed: *listed, past, on, watch, checksum };
                match request.run(client, &mut start) {
                    Ok(Ended::Complete(moved)) => moved,
                    Ok(Ended::FromZero(why)) => {
                        on.event(Event::FromZero { target: start.name(), why });
                        return Ok(None);
                    }
                    Err(error) => {
                        past.note_failure(start, &error, is_repeated);
                        return Err(error);
                    }
                }
            }
        };
        let path = place.path().to_vec();
        let checked = check(client, &path, options, past, &start, &moved, checksum.take());
        let verified = match checked {
            Ok(verified) => verified,
            Err(Error::Mismatch { .. }) if start.kept > 0 => {
                // The kept bytes were wrong after all.
                on.event(Event::FromZero { target: start.name(), why: Why::Refuted });
                if let Writing::File(file) = start.target {
                    file.discard();
                }
                return Ok(None);
            }
            Err(error) => {
                past.left = match start.target {
                    Writing::Stream(_) => Left::Stream,
                    _ if error.kind() == ErrorKind::Integrity => Left::Wrong,
                    _ => Left::Nothing,
                };
                if let Writing::File(file) = start.target
                    && error.kind() == ErrorKind::Integrity
                {
                    file.discard();
                }
                return Err(error);
            }
        };
        let (kept, source) = (start.kept, path);
        let done = Done { verified, ..Done::moved(moved.bytes, kept, moved.duration) };
        if start.publish(*time, options.existing != Existing::Keep, targets)? == Committed::Exists {
            return Ok(Some(Done::skipped("now exists")));
        }
        on.event(Event::Done { source: &source, target, bytes: done.bytes, verified });
        Ok(Some(done))
    }
}

impl Memory {
    /// Keeps what a failed transfer left, for the next attempt or run.
    fn note_failure(&mut self, start: Start<'_>, error: &Error, is_repeated: bool) {
        let Start { target, kept, origin, is_restored, .. } = start;
        let mut file = match target {
            Writing::File(file) => file,
            Writing::Stream(_) => return,
            Writing::Target(_) => return,
        };
        if self.left == Left::Wrong {
            file.discard();
            return;
        }
        let is_corrupt = match error {
            Error::Compressed(fault) => *fault != DeflateFault::Truncated,
            Error::Blocks(fault) => *fault != BlockFault::Truncated,
            _ => false,
        };
        if is_corrupt {
            // The data was corrupt at an unknown position.
            file.discard();
            return;
        }
        if is_restored {
            file.restore();
        }
        file.settle();
        let length = file.length().unwrap_or_default();
        if file.is_kept() && length > 0 {
            self.left = match file.path() {
                Some(path) if path != file.target() => Left::Part(path.to_owned()),
                _ => Left::InPlace,
            };
        } else if self.left == Left::Removed && is_repeated {
            self.left = Left::Nothing;
        }
        if let Some(origin) = origin
            && (file.is_kept() || is_repeated)
            && !is_restored
            && length >= kept
        {
            self.file = Some((file, origin));
        }
    }
}

impl Start<'_> {
    /// Returns the local file, if the target is one.
    fn file(&self) -> Option<&File> {
        match &self.target {
            Writing::File(file) => Some(file.file()),
            Writing::Target(found) => Some(&found.file),
            Writing::Stream(_) => None,
        }
    }

    /// Returns the path of the file with the kept bytes.
    fn name(&self) -> &[u8] {
        match &self.target {
            Writing::File(file) => {
                file.path().unwrap_or_else(|| file.target()).as_os_str().as_bytes()
            }
            Writing::Target(found) => found.path.as_os_str().as_bytes(),
            Writing::Stream(_) => b"-",
        }
    }

    /// Returns the error of the target, with its path.
    fn failed_here(&self, error: &io::Error) -> Error {
        Error::Local(match &self.target {
            Writing::File(file) => named(file.target(), error),
            Writing::Target(found) => named(&found.path, error),
            Writing::Stream(_) => io::Error::new(error.kind(), error.to_string()),
        })
    }

    /// Gives the complete file its time and its name.
    fn publish(
        self,
        time: Option<SystemTime>,
        replaces: bool,
        targets: Option<&Targets>,
    ) -> Result<Committed, Error> {
        match self.target {
            Writing::Stream(stream) => {
                stream.flush().map_err(Error::Local)?;
                Ok(Committed::Done)
            }
            Writing::Target(FoundFile { path, file, record, .. }) => {
                if let Some(time) = time {
                    file.set_modified(time).map_err(|error| Error::Local(named(&path, &error)))?;
                    record.inspect(|record| record.complete(&file));
                }
                Ok(Committed::Done)
            }
            Writing::File(file) => {
                let target = file.target().to_owned();
                let failed = |error| Error::Local(named_once(&target, &error));
                if let Some(time) = time {
                    file.set_modified(time).map_err(failed)?;
                }
                match targets {
                    None => file.commit(replaces),
                    Some(targets) => {
                        // The disk is the slow part: jobs need not wait for each other here.
                        file.file().sync_all().map_err(failed)?;
                        targets.publish(&target, || file.commit(replaces))
                    }
                }
                .map_err(failed)
            }
        }
    }
}

/// Adds a path to an error that may have one already.
fn named_once(path: &Path, error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => named(path, error),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The search for bytes that need not be received again.
struct Search<'s> {
    place: &'s Place,
    options: &'s FileOptions,
    targets: Option<&'s Targets>,
    like: Option<&'s Path>,
    is_repeated: bool,
    past: &'s mut Memory,
    on: &'s dyn Observer,
}

impl Search<'_> {
    fn start<'w>(&mut self, client: &mut Client, to: &'w mut Sink<'_>) -> Result<Start<'w>, Error> {
        let (path, in_place) = match to {
            Sink::Stream(stream) => return Ok(Start::at_0(Writing::Stream(*stream))),
            Sink::Path(path) => (*path, false),
            Sink::InPlace(path) => (*path, true),
        };
        if let Some((file, then)) = self.past.file.take() {
            return self.go_on(client, file, then);
        }
        if self.options.resume != Resume::Own {
            return self.find(client, path, in_place);
        }
        if in_place {
            let length = FoundFile::at(path).map_err(Error::Local)?.map_or(0, |found| found.length);
            let file = LocalFile::in_place(path, (length, 0), None).map_err(Error::Local)?;
            return Ok(Start::at_0(Writing::File(file)));
        }
        let file = LocalFile::replacing_like(path, self.like.unwrap_or(path)).map_err(|error| {
            let parent = super::local::parent(path);
            let why = format!("cannot create a file: {error}");
            Error::Local(named(parent, &io::Error::new(error.kind(), why)))
        })?;
        let mut start = Start::at_0(Writing::File(file));
        if self.is_repeated {
            start.origin = Some(Origin::ask(client, self.place.path())?);
        }
        Ok(start)
    }

    /// Resumes the bytes of an earlier attempt of this job.
    fn go_on<'w>(
        &mut self,
        client: &mut Client,
        mut file: LocalFile,
        then: Origin,
    ) -> Result<Start<'w>, Error> {
        let origin = Origin::ask(client, self.place.path())?;
        let have = file.length().map_err(Error::Local)?;
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
        let (kept, compare, is_whole) = self.of_step(step, have, &file.path_or_target());
        if let Err(error) = file.again(kept) {
            return Err(Error::Local(named(file.target(), &error)));
        }
        let target = Writing::File(file);
        Ok(Start { kept, compare, origin: Some(origin), is_whole, ..Start::at_0(target) })
    }

    /// Finds bytes of earlier runs.
    fn find<'w>(
        &mut self,
        client: &mut Client,
        target: &Path,
        in_place: bool,
    ) -> Result<Start<'w>, Error> {
        let there = self.place.path().to_vec();
        let here = Error::Local;
        let keeps = self.options.existing == Existing::Keep;
        let (part_path, part) = match in_place {
            true => (target.to_owned(), None),
            false => part::find(target, self.targets).map_err(here)?,
        };
        let local = match keeps && !in_place {
            true => None,
            false => FoundFile::at(target).map_err(here)?,
        };
        let source = SourceId::ask(client, &there)?;
        let origin = Origin::ask(client, &there)?;
        let now = Record::new(source, origin);
        let part_length = part.as_ref().map_or(0, |part| part.length);
        let local_length = local.as_ref().map_or(0, |local| local.length);
        let is_taken = self.past.from_start;
        // A file that this program has completed, and that nobody has changed since.
        if !is_taken
            && let Some(local) = &local
            && local.record.as_ref().is_some_and(|record| !record.is_part())
            && local.length > 0
        {
            let judged = self.judge(client, local, now.as_ref(), origin, Asked::NoAnswer)?;
            if judged.step == Step::Whole {
                return Ok(Start::whole(local_of(local).map_err(here)?, origin, false));
            }
        }
        let mut why = None;
        if let Some(part) = part.as_ref().filter(|part| part.length > 0 && !is_taken) {
            let judged = self.judge(client, part, now.as_ref(), origin, Asked::NotYet)?;
            match judged.step {
                Step::FromZero(reason) => why = Some((part.path.clone(), reason)),
                step => {
                    let (kept, compare, is_whole) = self.of_step(step, part.length, &part.path);
                    let file = LocalFile::part(part_path, target, (part.length, kept), now);
                    let target = Writing::File(file.map_err(here)?);
                    let start = Start::at_0(target);
                    let is_digested = judged.is_digested;
                    let origin = Some(origin);
                    return Ok(Start { kept, compare, origin, is_whole, is_digested, ..start });
                }
            }
        }
        if let Some(local) = local.as_ref().filter(|local| local.length > 0 && !is_taken) {
            let judged = self.judge(client, local, now.as_ref(), origin, Asked::NotYet)?;
            match judged.step {
                Step::FromZero(reason) => {
                    why.get_or_insert((local.path.clone(), reason));
                }
                Step::Whole => {
                    let found = local_of(local).map_err(here)?;
                    return Ok(Start::whole(found, origin, judged.is_digested));
                }
                step => {
                    let (kept, compare, _) = self.of_step(step, local.length, &local.path);
                    let trusts = self.options.resume == Resume::Trusted;
                    let start = if in_place || trusts {
                        let is_ours = local.record.as_ref().is_some_and(Record::is_part)
                            && !judged.is_digested
                            && !trusts;
                        let record = now.filter(|_| is_ours);
                        let file = LocalFile::in_place(target, (local.length, kept), record);
                        let start = Start::at_0(Writing::File(file.map_err(here)?));
                        Start { is_restored: !is_ours, ..start }
                    } else {
                        let mut file = LocalFile::part(part_path, target, (part_length, 0), now)
                            .map_err(here)?;
                        copy_into(&local.file, kept, &mut file)
                            .map_err(|error| here(named(target, &error)))?;
                        Start::at_0(Writing::File(file))
                    };
                    let is_digested = judged.is_digested;
                    return Ok(Start { kept, compare, origin: Some(origin), is_digested, ..start });
                }
            }
        }
        if let Some((path, why)) = why {
            self.on.event(Event::FromZero { target: path.as_os_str().as_bytes(), why });
        }
        let file = match in_place {
            true => LocalFile::in_place(target, (local_length, 0), now),
            false => LocalFile::part(part_path, target, (part_length, 0), now),
        };
        let target = Writing::File(file.map_err(here)?);
        Ok(Start { origin: Some(origin), ..Start::at_0(target) })
    }

    /// Decides about the bytes of an existing file.
    fn judge(
        &mut self,
        client: &mut Client,
        found: &FoundFile,
        now: Option<&Record>,
        origin: Origin,
        digest: Asked,
    ) -> Result<Judged, Error> {
        // Without a time of the server, a record holds only in its process.
        let stored = found.record.as_ref().filter(|_| origin.modified.is_some());
        let fit = now.zip(stored).map(|(now, stored)| now.fit(stored, &found.file));
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
        let mut step = decide(&known);
        if step == Step::AskDigest {
            let read = (&found.file, found.length);
            let compared = verify::compare_first(client, self.place.path(), read, origin.size)?;
            self.past.has_no_digest = matches!(compared, Compared::NoAnswer(Error::Timeout(_)));
            if let Compared::NoAnswer(error) = compared {
                // A connection that timed out is closed; the next attempt does not ask again.
                if !client.is_settled() {
                    return Err(error);
                }
                known.digest = Asked::NoAnswer;
            } else {
                known.digest = compared.asked();
            }
            step = decide(&known);
        }
        if step == Step::AskDigest {
            step = Step::FromZero(Why::NoRecord);
        }
        Ok(Judged { step, is_digested: known.digest == Asked::Equal })
    }

    /// Returns the kept bytes, the compared ones, and whether nothing is missing.
    fn of_step(&self, step: Step, have: u64, path: &Path) -> (u64, u64, bool) {
        match step {
            Step::Continue { kept, compare } => (kept, compare, false),
            Step::Whole => (have, 0, true),
            Step::AskDigest => (0, 0, false),
            Step::FromZero(why) => {
                if why != Why::NothingThere && !self.past.from_start {
                    let target = path.as_os_str().as_bytes();
                    self.on.event(Event::FromZero { target, why });
                }
                (0, 0, false)
            }
        }
    }
}

/// Returns another handle of a found file.
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
    if !(is_whole && rustix::fs::ioctl_ficlone(to.file(), from).is_ok()) {
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
    to.settle();
    to.again(length)
}

impl<'s> Start<'s> {
    /// Returns a start at byte 0.
    const fn at_0(target: Writing<'s>) -> Self {
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

    /// Returns the start for a target that is complete.
    fn whole(found: FoundFile, origin: Origin, is_digested: bool) -> Self {
        let kept = found.length;
        let start = Self::at_0(Writing::Target(found));
        Self { kept, origin: Some(origin), is_whole: true, is_digested, ..start }
    }
}

/// The request for the missing bytes.
struct Request<'r, 'w> {
    place: &'r mut Place,
    options: &'r FileOptions,
    listed: Option<u64>,
    past: &'r mut Memory,
    on: &'r dyn Observer,
    watch: &'r mut Watch<'w>,
    checksum: &'r mut Option<Checksum>,
}

/// How a request ended.
enum Ended {
    Complete(Moved),
    /// The file must be requested from byte 0.
    FromZero(Why),
}

/// The received bytes of a complete transfer, without those that were only compared.
struct Moved {
    bytes: u64,
    duration: Duration,
    /// Whether the server has told the size before the transfer.
    is_known: bool,
}

impl Request<'_, '_> {
    fn run(&mut self, client: &mut Client, start: &mut Start<'_>) -> Result<Ended, Error> {
        let from = start.kept - start.compare;
        let size = start.origin.and_then(|origin| origin.size);
        let (path, received) = loop {
            let path = self.place.path().to_vec();
            let error = match client.retrieve_from(&path, from) {
                Ok(download) => break (path.clone(), self.receive(download, &path, start)),
                Err(error) => error,
            };
            if from > 0 && error.refuses_restart() {
                self.past.no_restart = true;
                return Ok(Ended::FromZero(Why::NoRestart));
            }
            if self.place.enter(client, &error)? != Entered::There {
                return Err(error);
            }
        };
        let (written, error) = match received? {
            Received::All(moved) => return Ok(Ended::Complete(moved)),
            Received::Others => return Ok(Ended::FromZero(Why::TailDiffers)),
            Received::Broken(written, error) => (written, error),
        };
        let Error::Incomplete { bytes, announced: Some(told) } = error else { return Err(error) };
        let bytes = from.saturating_add(bytes);
        let all = from.saturating_add(told);
        if size.is_none() && self.listed == Some(all) {
            // The listing may be older than the file: SIZE decides.
            let now = client.size_afterwards(&path);
            if now == Some(bytes) && bytes < all {
                let duration = Duration::ZERO;
                return Ok(Ended::Complete(Moved { bytes: written, duration, is_known: true }));
            }
            if now.is_some_and(|now| now > all)
                && let Writing::File(file) = &mut start.target
            {
                // The file has grown: it is requested again, as long as it is now.
                self.listed = now;
                file.again(0).map_err(Error::Local)?;
                (start.kept, start.compare) = (0, 0);
                *self.checksum = self.checksum.take().and_then(|it| Checksum::new(it.algorithm()));
                return self.run(client, start);
            }
        }
        if size == Some(all) && self.is_image() {
            self.past.left = Left::Wrong;
        }
        Err(Error::Incomplete { bytes, announced: Some(all) })
    }

    fn is_image(&self) -> bool {
        self.options.representation == RepresentationType::Image
    }

    /// Receives the data of a download of the file at `path`.
    fn receive(
        &mut self,
        mut download: Download<'_>,
        path: &[u8],
        start: &mut Start<'_>,
    ) -> Result<Received, Error> {
        let from = start.kept - start.compare;
        let size = start.origin.and_then(|origin| origin.size);
        let announced = download.announced();
        // With an offset, some servers announce the size of the rest, and some that of the whole
        // file.
        let total = size.or(announced.filter(|_| from == 0)).or(self.listed);
        if self.options.verify == Verify::None {
            download.take_any_length();
        } else if let Some(size) = size.or(self.listed.filter(|_| announced.is_none()))
            && self.is_image()
        {
            download.expect_length(size.saturating_sub(from));
        }
        if let Some(most) = self.options.most_bytes {
            download.take_at_most(most.saturating_sub(from));
        }
        let target = start.name().to_vec();
        let at = start.kept;
        self.on.event(Event::Begun { source: path, target: &target, at, total });
        let mut joiner = Joiner {
            target: &mut start.target,
            at: from,
            left: start.compare,
            from,
            written: 0,
            is_other: false,
            is_cut: false,
            checksum: self.checksum,
            on: self.on,
        };
        let copied = download.copy_to_watched(&mut joiner, self.watch);
        let Joiner { left, written, is_other, is_cut, .. } = joiner;
        if is_cut {
            // The server's bytes replaced the kept ones from the first difference on.
            self.on.event(Event::FromZero { target: &target, why: Why::TailDiffers });
            (start.kept, start.compare) = (0, 0);
        }
        let error = match copied {
            Ok(_) if left > 0 => {
                // The server's file ends before the kept bytes do.
                self.past.left = Left::Wrong;
                let bytes = start.kept - left;
                return Err(Error::Incomplete { bytes, announced: Some(start.kept) });
            }
            Ok(report) => {
                let is_known = announced.is_some() && self.is_image() || size.is_some();
                let moved = Moved { bytes: written, duration: report.duration, is_known };
                return Ok(Received::All(moved));
            }
            Err(_) if is_other => return Ok(Received::Others),
            Err(Error::Local(error)) => start.failed_here(&error),
            Err(error) => error,
        };
        self.past.left = match &start.target {
            Writing::Stream(_) if written > 0 => Left::Stream,
            Writing::File(file) if !file.is_kept() && written > 0 => Left::Removed,
            _ => Left::Nothing,
        };
        Ok(Received::Broken(written, error))
    }
}

/// How the data of a download ended.
enum Received {
    All(Moved),
    /// Other bytes than the kept ones.
    Others,
    /// A failure after this number of new bytes.
    Broken(u64, Error),
}

/// Receives a download: compares the bytes before the resume point with the kept ones, and writes
/// the others.
struct Joiner<'j, 's> {
    target: &'j mut Writing<'s>,
    /// The position in the file.
    at: u64,
    /// The number of bytes that are still to be compared.
    left: u64,
    /// The position at which the transfer began.
    from: u64,
    written: u64,
    /// Whether the server's bytes are others, and the transfer must be ended.
    is_other: bool,
    /// Whether the kept bytes were others, and the file was cut at the first difference.
    is_cut: bool,
    checksum: &'j mut Option<Checksum>,
    on: &'j dyn Observer,
}

impl Joiner<'_, '_> {
    /// Returns how many of the first bytes are equal to those in the file.
    fn equal(&self, bytes: &[u8]) -> usize {
        let Writing::File(file) = &self.target else { return 0 };
        let mut here = vec![0; bytes.len()];
        match file.file().read_exact_at(&mut here, self.at) {
            Ok(()) => here.iter().zip(bytes).take_while(|(here, there)| here == there).count(),
            Err(_) => 0,
        }
    }

    /// Drops the kept bytes after the first difference, in a transfer that began at byte 0.
    fn cut(&mut self) -> io::Result<()> {
        let Writing::File(file) = &mut self.target else { return Ok(()) };
        file.cut(self.at)?;
        self.left = 0;
        self.is_cut = true;
        self.written = self.at;
        if let Some(checksum) = self.checksum {
            let mut new = Checksum::new(checksum.algorithm());
            if let Some(new) = &mut new {
                new.update_from(file.file(), self.at)?;
            }
            *self.checksum = new;
        }
        Ok(())
    }
}

impl Write for Joiner<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left > 0 {
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (overlap, _) = bytes.split_at(length);
            let equal = self.equal(overlap);
            if equal < length && self.from > 0 {
                self.is_other = true;
                return Err(io::Error::other("the server sent other bytes than before"));
            }
            self.at += equal as u64;
            self.left -= equal as u64;
            if equal < length {
                self.cut()?;
            }
            if equal > 0 {
                return Ok(equal);
            }
        }
        let count = match &mut self.target {
            Writing::File(file) => file.write(bytes)?,
            Writing::Stream(stream) => stream.write(bytes)?,
            Writing::Target(_) => 0,
        };
        let (piece, _) = bytes.split_at(count.min(bytes.len()));
        if let Some(checksum) = self.checksum {
            checksum.update(piece);
        }
        self.at += count as u64;
        self.written += count as u64;
        if self.on.wants_bytes() {
            self.on.event(Event::Moved { bytes: count as u64 });
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Writing::Stream(stream) => stream.flush(),
            _ => Ok(()),
        }
    }
}

/// Verifies that the file is complete, as far as the server can be asked and the caller wants it.
fn check(
    client: &mut Client,
    path: &[u8],
    options: &FileOptions,
    past: &mut Memory,
    start: &Start<'_>,
    moved: &Moved,
    checksum: Option<Checksum>,
) -> Result<Verified, Error> {
    if options.verify == Verify::None {
        return Ok(Verified::No);
    }
    let all = start.kept + moved.bytes;
    let is_image = options.representation == RepresentationType::Image;
    // The beginning and the rest belong together only if the file has not changed in between.
    if start.kept > 0
        && !start.is_whole
        && let Some(then) = start.origin.and_then(|origin| origin.modified)
        && let Ok(Some(now)) = client.modified(path)
        && now != then
    {
        return Err(Error::Changed);
    }
    let mut verified = match start.origin.and_then(|origin| origin.size) {
        Some(size) if size != all && is_image => {
            return Err(Error::Incomplete { bytes: all, announced: Some(size) });
        }
        Some(_) if is_image => Verified::Size,
        _ if moved.is_known => Verified::Size,
        _ if is_image => verify::check_size(client, path, all, options.verify)?,
        _ => Verified::No,
    };
    if let Some(checksum) = checksum {
        verify::compare_digest(client, path, checksum.finish())?.proves(true)?;
        verified = Verified::Hash;
    } else if start.kept > 0 && options.verify == Verify::IfKnown && !past.has_no_digest {
        let is_digested = start.is_digested && start.is_whole;
        if is_digested || is_digest_equal(client, path, start, all)? {
            verified = Verified::Hash;
        }
    }
    Ok(verified)
}

/// Compares the whole file with the server's digest, if the server has one.
fn is_digest_equal(
    client: &mut Client,
    path: &[u8],
    start: &Start<'_>,
    length: u64,
) -> Result<bool, Error> {
    let Some(file) = start.file() else { return Ok(false) };
    let mut checksum = match Checksum::for_server(client) {
        Ok(Some(checksum)) => checksum,
        Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => return Err(error),
        // The file is complete; a server that cannot be asked for more does not change that.
        Ok(None) | Err(_) => return Ok(false),
    };
    checksum.update_from(file, length).map_err(|error| start.failed_here(&error))?;
    verify::compare_digest(client, path, checksum.finish())?.proves(false)
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

impl std::fmt::Debug for Get<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Get")
            .field("place", &self.place)
            .field("options", &self.options)
            .field("past", &self.past)
            .finish_non_exhaustive()
    }
}
