//! Downloads one file to a local target, completely or not at all.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ftp_client::{
    Checksum, Client, Committed, Download, Entered, Error, LocalFile, Origin, ResumeOptions,
    Resumed, Salvage, Watch,
};
use ftp_proto::{RepresentationType, TimeVal};

use super::context::{Attempt, Context, Done, RemoteFile};
use super::local_file::Sink;
use super::options::{TransferOptions, Verify};
use super::take;
use super::target::Target;
use super::verify::{self, Verified};
use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::remote::object;
use crate::remote::path;
use crate::report::json::Object;

/// Downloads a file. If the attempt must start from byte 0, does not resume a partial file.
///
/// # Errors
///
/// Returns the failure. The target is then unchanged, except with `--continue`, `--in-place` or
/// `--remove-source`, or if it is a stream.
pub(crate) fn download(
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    target: &Target,
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    match target {
        // An interrupted move continues before any file is skipped.
        Target::File(path) if context.settings.removes_source => {
            take::take(context, client, remote, path, attempt)
        }
        target => match skipped(context, client, remote, target)? {
            Some(done) => Ok(done),
            None => plain(context, client, remote, target, attempt),
        },
    }
}

/// Returns the result for a file that the options exclude, or `None` for other files. The result
/// depends on the server's facts about the file, and on the local file.
///
/// # Errors
///
/// Returns `Unsupported` if the server does not report a fact that an option needs, and `Refused`
/// if the server lacks the file. Also returns the errors of the client.
pub(crate) fn skipped(
    context: &Context<'_>,
    client: &mut Client,
    remote: &RemoteFile<'_>,
    target: &Target,
) -> Result<Option<Done>, Failure> {
    if context.settings.no_clobber && exists(target) {
        return Ok(Some(Done::skipped("exists")));
    }
    Ok(skips(context, client, remote, target)?.map(Done::skipped))
}

/// Returns the reason to skip a file, or `None` to download it. The reason depends on the server's
/// facts about the file, and on the local file.
fn skips(
    context: &Context<'_>,
    client: &mut Client,
    remote: &RemoteFile<'_>,
    target: &Target,
) -> Result<Option<&'static str>, Failure> {
    let TransferOptions { newer, if_changed, selection, .. } = context.settings;
    let here = match target {
        Target::File(path) if *newer || *if_changed => fs::metadata(path).ok(),
        _ => None,
    };
    let needs_time = selection.needs_time() || here.is_some();
    if !needs_time && !selection.is_set() {
        return Ok(None);
    }
    let named = |failure: Failure| failure.context(remote.name);
    let path = remote.place.path();
    let time = match needs_time {
        true => Some(modified(client, path).map_err(named)?.unix_seconds()),
        false => None,
    };
    let size = client.size(path).map_err(|error| named(error.into()))?;
    if size.is_none() && selection.needs_size() {
        return Err(named(unknown(client, path, "sizes")));
    }
    if let Some(why) = selection.refuses(size, time.map(|time| (time, time))) {
        return Ok(Some(why));
    }
    let Some((here, time)) = here.zip(time) else { return Ok(None) };
    Ok(match () {
        () if *newer && here.mtime() >= time => Some("not newer on the server"),
        () if *if_changed && here.mtime() == time && size == Some(here.len()) => Some("unchanged"),
        () => None,
    })
}

/// Returns the failure for a file that is missing, or for a fact that an option needs but the
/// server does not report.
fn unknown(client: &mut Client, path: &[u8], facts: &str) -> Failure {
    let (directory, _) = path::split(path);
    let is_there = object::is_there(client, path);
    let is_missing = match is_there {
        // A refused listing proves nothing. If the server does not enter the directory either, the
        // file counts as missing.
        Ok(None) if !directory.is_empty() => object::can_enter(client, directory).map_or_else(
            |error| if object::is_no(&error) { Ok(true) } else { Err(error) },
            |()| Ok(false),
        ),
        is_there => is_there.map(|is_there| is_there == Some(false)),
    };
    match is_missing {
        Ok(true) => Failure::item(Exit::Refused, "there is no such file on the server"),
        Ok(false) => {
            let message = format!("the server does not report {facts}");
            Failure::item(Exit::Unsupported, message)
        }
        Err(error) => error.into(),
    }
}

/// Returns the modification time of a file.
fn modified(client: &mut Client, path: &[u8]) -> Result<TimeVal, Failure> {
    if let Some(time) = client.modified(path)? {
        return Ok(time);
    }
    let entry = client.stat(path)?;
    let time = entry.and_then(|entry| entry.modified).map(|modified| modified.time);
    time.map_or_else(|| Err(unknown(client, path, "modification times")), Ok)
}

/// Downloads a file, whatever the target holds.
///
/// # Errors
///
/// Returns the same failures as [`download`].
pub(super) fn plain(
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    target: &Target,
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    let mut job = Downloading {
        context,
        client,
        remote,
        attempt,
        begun: false,
        no_restart: false,
        is_wrong: false,
    };
    job.run(target).map_err(|failure| failure.context(job.remote.name))
}

/// Returns whether the target exists, so that `--no-clobber` keeps it.
pub(crate) fn exists(target: &Target) -> bool {
    matches!(target, Target::File(path) if fs::symlink_metadata(path).is_ok())
}

struct Downloading<'a, 'r> {
    context: &'a Context<'a>,
    client: &'a mut Client,
    remote: &'a mut RemoteFile<'r>,
    attempt: Attempt<'a>,
    /// Whether bytes were written to a stream, which cannot be undone.
    begun: bool,
    /// Whether the server refused an offset other than 0.
    no_restart: bool,
    /// Whether the received bytes are wrong.
    is_wrong: bool,
}

/// The start of a download, and the facts about the file at that time.
struct Beginning {
    offset: u64,
    origin: Option<Origin>,
    /// Whether the file is complete.
    is_whole: bool,
}

/// Result of a transfer.
struct Moved {
    bytes: u64,
    time: Duration,
    /// Whether the server had announced the size.
    is_known: bool,
}

/// A transfer that failed.
struct Broken {
    failure: Failure,
    /// Received bytes.
    bytes: u64,
    /// Whether the server accepted `REST`, but sent the file from byte 0 nevertheless.
    is_repeated: bool,
    /// Whether the received bytes are wrong.
    is_wrong: bool,
}

impl Downloading<'_, '_> {
    fn run(&mut self, target: &Target) -> Result<Done, Failure> {
        let settings = self.context.settings;
        self.client.set_representation(self.remote.representation);
        let mut checksum = match settings.verify {
            Verify::Hash => Some(verify::checksum(self.client)?),
            _ => None,
        };
        // Asked before the transfer, so that `--preserve` fails early if the server reports no
        // times.
        let time = if settings.preserve { Some(self.time()?) } else { None };
        let (mut sink, start) = match target {
            Target::File(path) if settings.resume => self.resume(path)?,
            Target::File(path) if settings.in_place => (Sink::in_place(path)?, Beginning::at_0()),
            target => {
                let output = &self.context.output;
                let cleanup = self.context.cleanup;
                (Sink::open(target.clone(), output, cleanup)?, Beginning::at_0())
            }
        };
        if let (Some(checksum), Some(path)) = (&mut checksum, sink.file().map(LocalFile::path)) {
            let kept = File::open(path).and_then(|file| checksum.update_from(&file, start.offset));
            kept.map_err(|error| Failure::local(shown_path(path), &error))?;
        }
        let moved = match start.is_whole {
            true => Moved { bytes: 0, time: Duration::ZERO, is_known: false },
            false => match self.transfer(&mut sink, &start, &mut checksum) {
                Err(_) if std::mem::take(&mut self.no_restart) => {
                    self.context.note("the server cannot resume: downloading from the start");
                    drop(sink);
                    self.attempt.from_start = true;
                    return self.run(target);
                }
                Err(failure) if self.is_wrong => {
                    sink.discard();
                    return Err(failure);
                }
                moved => moved?,
            },
        };
        let checked = self.check(&start, &moved, checksum);
        let verified = match checked {
            Ok(verified) => verified,
            Err(failure) => {
                if failure.exit == Exit::Integrity {
                    sink.discard();
                }
                return Err(if self.begun { failure.never_retried() } else { failure });
            }
        };
        if let Some(time) = time.and_then(local_time) {
            sink.set_modified(time)?;
        }
        let replaces = !settings.no_clobber;
        Ok(match sink.commit(replaces)? {
            Committed::Done => {
                let resumed = start.offset;
                Done { resumed, verified, ..Done::moved(moved.bytes, moved.time) }
            }
            Committed::Exists => Done::skipped("now exists"),
        })
    }

    /// Returns the modification time of the file, for `--preserve`.
    fn time(&mut self) -> Result<TimeVal, Failure> {
        let time = modified(self.client, self.remote.place.path());
        time.map_err(|failure| match failure.exit {
            Exit::Unsupported => failure.context("--preserve"),
            _ => failure,
        })
    }

    /// Starts the transfer, and runs it to its end. If the server rejects the path as a whole,
    /// enters its directories one by one.
    fn transfer(
        &mut self,
        sink: &mut Sink,
        start: &Beginning,
        checksum: &mut Option<Checksum>,
    ) -> Result<Moved, Failure> {
        let size = start.origin.and_then(|origin| origin.size).filter(|_| start.offset > 0);
        loop {
            let path = self.remote.place.path().to_vec();
            let error = match self.client.retrieve_from(&path, start.offset) {
                Ok(download) => {
                    let mut pump = DownloadPump {
                        context: self.context,
                        path: &path,
                        fields: self.attempt.fields,
                        sink,
                        checksum,
                    };
                    let moved = pump.run(download, start.offset, size);
                    let is_stream = sink.is_stream();
                    return match moved {
                        Ok(moved) => {
                            self.begun = is_stream && moved.bytes > 0;
                            Ok(moved)
                        }
                        Err(Broken { failure, bytes, is_repeated, is_wrong }) => {
                            self.no_restart = is_repeated;
                            self.is_wrong = is_wrong;
                            let failure =
                                if is_wrong { failure } else { cut(failure, sink, bytes) };
                            let is_final = is_stream && bytes > 0;
                            Err(if is_final { failure.never_retried() } else { failure })
                        }
                    };
                }
                Err(error) => error,
            };
            self.no_restart = start.offset > 0 && error.refuses_restart();
            if self.no_restart || self.remote.place.enter(self.client, &error)? != Entered::There {
                return Err(error.into());
            }
        }
    }

    /// Verifies that the local file is complete, as far as this is possible and requested.
    fn check(
        &mut self,
        start: &Beginning,
        moved: &Moved,
        checksum: Option<Checksum>,
    ) -> Result<Verified, Failure> {
        let path = self.remote.place.path().to_vec();
        let came = start.offset + moved.bytes;
        let size = start.origin.and_then(|origin| origin.size).filter(|_| start.offset > 0);
        let mut verified = match size {
            Some(size) if size != came => return Err(verify::wrong_size(came, size)),
            Some(_) => Verified::Size,
            None if moved.is_known => Verified::Size,
            None => Verified::None,
        };
        if start.offset > 0 && !start.is_whole {
            self.check_unchanged(&path, start.origin)?;
        }
        let verify = self.context.settings.verify;
        if verified == Verified::None && self.remote.representation == RepresentationType::Image {
            verified = verify::check_size(self.client, &path, came, verify).map_err(|failure| {
                match failure.exit {
                    Exit::Integrity => grown(failure),
                    _ => failure,
                }
            })?;
        }
        if let Some(checksum) = checksum {
            verify::compare_digest(self.client, &path, &checksum.finish())?;
            verified = Verified::Hash;
        }
        if verify == Verify::None {
            verified = Verified::None;
        }
        Ok(verified)
    }

    /// Verifies a resumed download: the beginning and the rest belong together only if the file has
    /// not changed in between.
    fn check_unchanged(&mut self, path: &[u8], origin: Option<Origin>) -> Result<(), Failure> {
        let Some(then) = origin.and_then(|origin| origin.modified) else { return Ok(()) };
        match self.client.modified(path) {
            Ok(Some(now)) if now != then => {
                let message = "the file on the server changed during the download";
                Err(Failure::item(Exit::Integrity, message))
            }
            _ => Ok(()),
        }
    }

    /// For `--continue`, resumes where `NAME.part`, or a shorter local file, ends. If these bytes
    /// may belong to another file, starts from byte 0.
    fn resume(&mut self, path: &Path) -> Result<(Sink, Beginning), Failure> {
        let how = ResumeOptions {
            in_place: self.context.settings.in_place,
            from_start: self.attempt.from_start,
            keep_existing: self.context.settings.no_clobber,
        };
        let remote = self.remote.place.path();
        let resumed = LocalFile::resume(self.client, remote, path, how);
        let resumed = resumed.map_err(|error| match error {
            Error::Local(error) => Failure::new(Exit::Local, error.to_string()),
            error => error.into(),
        })?;
        let Resumed { file, offset, origin, is_whole, rejected, .. } = resumed;
        if let Some(rejected) = rejected {
            let name = shown_path(&rejected);
            self.context.note(format_args!(
                "{name} may belong to another file: downloading from the start"
            ));
        }
        Ok((Sink::File(file), Beginning { offset, origin: Some(origin), is_whole }))
    }
}

impl Beginning {
    const fn at_0() -> Self {
        Self { offset: 0, origin: None, is_whole: false }
    }
}

/// Transfer of the bytes.
struct DownloadPump<'a> {
    context: &'a Context<'a>,
    path: &'a [u8],
    fields: &'a (dyn Fn(Object) -> Object + Sync),
    sink: &'a mut Sink,
    checksum: &'a mut Option<Checksum>,
}

impl DownloadPump<'_> {
    /// Transfers everything from byte `offset`; `size` is the size of the whole file, if known.
    fn run(
        &mut self,
        mut download: Download<&mut Client>,
        offset: u64,
        size: Option<u64>,
    ) -> Result<Moved, Broken> {
        let announced = download.announced();
        // With an offset, some servers announce the size of the rest, and some that of the whole
        // file.
        let total = size.or(announced.filter(|_| offset == 0));
        let rest = size.map(|size| size.saturating_sub(offset));
        if let Some(rest) = rest {
            download.expect_length(rest);
        }
        let Context { board, settings, .. } = self.context;
        let mut progress = board.begin(self.path, offset, total, self.fields);
        let mut meter = |piece: &[u8]| {
            if let Some(checksum) = &mut self.checksum {
                checksum.update(piece);
            }
            progress.add(piece.len() as u64);
        };
        let mut watch = Watch::new().rate_limit(settings.rate_limit.clone()).meter(&mut meter);
        let began = Instant::now();
        let copied = download.copy_to_watched(self.sink, &mut watch);
        let bytes = watch.moved();
        let is_known = announced.is_some();
        let error = match copied {
            Ok(report) => return Ok(Moved { bytes, time: report.duration, is_known }),
            Err(error) => error,
        };
        let salvage = self.sink.file().map_or(Salvage::Kept, |file| file.salvage(&error, rest));
        let is_wrong = salvage == Salvage::Wrong;
        if is_wrong && !matches!(error, Error::Compressed(_) | Error::Blocks(_)) {
            // The server confirmed the transfer, but the number of bytes differs from the file's
            // size: the final check rejects the download.
            return Ok(Moved { bytes, time: began.elapsed(), is_known });
        }
        let failure = match error {
            Error::Local(error) => self.sink.failed(&error),
            error => error.into(),
        };
        let is_repeated = salvage == Salvage::SentFromStart;
        Err(Broken { failure, bytes, is_repeated, is_wrong })
    }
}

/// Adds a hint to a failure about a size that the server reported only after the transfer.
fn grown(mut failure: Failure) -> Failure {
    failure.message.push_str("; use --verify none for a growing file");
    failure
}

/// Adds a hint about the received bytes to the failure.
fn cut(mut failure: Failure, sink: &Sink, bytes: u64) -> Failure {
    let rest = match sink {
        Sink::File(file) if file.path() == file.target() => "; use -c to resume".to_owned(),
        Sink::File(file) => {
            let part = shown_path(file.path());
            format!("; partial file kept in {part}; use -c to resume")
        }
        Sink::Temporary(_) if bytes > 0 => {
            "; partial file removed; use -c to keep it and resume".to_owned()
        }
        _ => String::new(),
    };
    failure.message.push_str(&rest);
    failure
}

/// Converts a server's time for a local file. Returns `None` for a time before 1970.
pub(super) fn local_time(time: TimeVal) -> Option<SystemTime> {
    let seconds = u64::try_from(time.unix_seconds()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanosecond()))
}
