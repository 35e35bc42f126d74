//! One file from a server to a local target: whole, or not there.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use ftp_client::{
    Checksum, Client, Committed, Download, Entered, Error, LocalFile, Origin, ResumeOptions,
    Resumed, Watch,
};
use ftp_proto::{RepresentationType, TimeVal};

use super::context::{Attempt, Context, Done, RemoteFile};
use super::local_file::Sink;
use super::options::Verify;
use super::target::Target;
use super::verify::{self, Verified};
use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::report::json::Object;

/// Downloads a file. What is here is replaced where the attempt begins from the start.
///
/// # Errors
///
/// What failed, named. The target is then as it was, but for what `--continue` keeps, `--in-place`,
/// and streams.
pub(crate) fn download(
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    target: &Target,
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    let settings = context.settings;
    if settings.no_clobber && exists(target) {
        return Ok(Done::skipped("exists"));
    }
    let mut job = Downloading { context, client, remote, attempt, begun: false, no_restart: false };
    job.run(target).map_err(|failure| failure.about(job.remote.name))
}

/// Whether there is something that `--no-clobber` leaves alone.
pub(crate) fn exists(target: &Target) -> bool {
    matches!(target, Target::File(path) if fs::symlink_metadata(path).is_ok())
}

struct Downloading<'a, 'r> {
    context: &'a Context<'a>,
    client: &'a mut Client,
    remote: &'a mut RemoteFile<'r>,
    attempt: Attempt<'a>,
    /// Whether bytes were given to a stream, which cannot be taken back.
    begun: bool,
    /// Whether the server refused to begin elsewhere than at byte 0.
    no_restart: bool,
}

/// Where a download begins, and what is known of the file then.
struct Beginning {
    offset: u64,
    origin: Option<Origin>,
    /// Nothing is missing.
    is_whole: bool,
}

/// What a transfer moved.
struct Moved {
    bytes: u64,
    time: Duration,
    /// Whether the server had said how much there would be.
    is_known: bool,
}

impl Downloading<'_, '_> {
    fn run(&mut self, target: &Target) -> Result<Done, Failure> {
        let settings = self.context.settings;
        self.client.set_representation(self.remote.representation);
        let mut checksum = match settings.verify {
            Verify::Hash => Some(verify::checksum(self.client)?),
            _ => None,
        };
        // What an option demands is found to be impossible before anything is moved.
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
                    self.context
                        .note("the server cannot continue a file: downloading from the start");
                    if let Some(file) = sink.file() {
                        file.restore();
                    }
                    drop(sink);
                    self.attempt.from_start = true;
                    return self.run(target);
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
            Committed::Done => Done { verified, ..Done::moved(moved.bytes, moved.time) },
            Committed::Exists => Done::skipped("exists by now"),
        })
    }

    /// When the file was modified, for `--preserve`.
    fn time(&mut self) -> Result<TimeVal, Failure> {
        let path = self.remote.place.path();
        if let Some(time) = self.client.modified(path)? {
            return Ok(time);
        }
        let entry = self.client.stat(path)?;
        let time = entry.and_then(|entry| entry.modified).map(|modified| modified.time);
        time.ok_or_else(|| {
            let message = "--preserve: the server does not tell when the file was modified";
            Failure::item(Exit::Unsupported, message)
        })
    }

    /// Begins the transfer, by parts of the path if the server does not know it as a whole, and
    /// goes through it to its end.
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
                        about: self.attempt.about,
                        sink,
                        checksum,
                    };
                    let moved = pump.run(download, start.offset, size);
                    let is_stream = sink.is_stream();
                    let bytes = match &moved {
                        Ok(moved) => moved.bytes,
                        Err((_, bytes)) => *bytes,
                    };
                    // It took REST, and sent the file from its start.
                    self.no_restart = size.is_some_and(|size| start.offset + bytes > size);
                    return match moved {
                        Ok(moved) if !self.no_restart => {
                            self.begun = is_stream && moved.bytes > 0;
                            Ok(moved)
                        }
                        Ok(_) => Err(verify::wrong_size(start.offset + bytes, size.unwrap_or(0))),
                        Err((failure, bytes)) => {
                            if let Some(file) = sink.file() {
                                file.restore_repeated();
                            }
                            let failure = cut(failure, sink, bytes);
                            Err(if is_stream && bytes > 0 {
                                failure.never_retried()
                            } else {
                                failure
                            })
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

    /// Whether what is here is the whole file, as far as that can be told and is asked for.
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

    /// Behind a download that went on: the beginning and the rest are of one file only if that did
    /// not change meanwhile.
    fn check_unchanged(&mut self, path: &[u8], origin: Option<Origin>) -> Result<(), Failure> {
        let Some(then) = origin.and_then(|origin| origin.modified) else { return Ok(()) };
        match self.client.modified(path) {
            Ok(Some(now)) if now != then => {
                let message = "the file on the server changed while it was continued";
                Err(Failure::item(Exit::Integrity, message))
            }
            _ => Ok(()),
        }
    }

    /// `--continue`: goes on where `NAME.part`, or else a shorter file, ends, if nothing says that
    /// it is the beginning of another file; otherwise it starts again from byte 0.
    fn resume(&mut self, path: &Path) -> Result<(Sink, Beginning), Failure> {
        let how = ResumeOptions {
            in_place: self.context.settings.in_place,
            from_start: self.attempt.from_start,
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
                "{name} is not known to be the beginning of the file: downloading from the start"
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

/// The transfer of the bytes.
struct DownloadPump<'a> {
    context: &'a Context<'a>,
    path: &'a [u8],
    about: &'a dyn Fn(Object) -> Object,
    sink: &'a mut Sink,
    checksum: &'a mut Option<Checksum>,
}

impl DownloadPump<'_> {
    /// Moves all from byte `offset` on; `size` is that of the whole file, if it is known. A failure
    /// comes with the number of bytes that came before.
    fn run(
        &mut self,
        mut download: Download<'_>,
        offset: u64,
        size: Option<u64>,
    ) -> Result<Moved, (Failure, u64)> {
        let announced = download.announced();
        // From an offset on, some servers announce the rest and some the whole.
        let total = size.or(announced.filter(|_| offset == 0));
        let rest = size.map(|size| size.saturating_sub(offset));
        if let Some(rest) = rest {
            download.expect_length(rest);
        }
        let Context { board, settings, .. } = self.context;
        let mut progress = board.begin(self.path, offset, total, self.about);
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
        match copied {
            Ok(report) => Ok(Moved { bytes, time: report.duration, is_known }),
            // Confirmed, and yet not as long as the file: that is looked at when all is checked.
            Err(Error::Incomplete { announced, .. }) if rest.is_some() && announced == rest => {
                Ok(Moved { bytes, time: began.elapsed(), is_known })
            }
            Err(Error::Local(error)) => Err((self.sink.failed(&error), bytes)),
            Err(error) => Err((error.into(), bytes)),
        }
    }
}

/// The server told the size only afterwards.
fn grown(mut failure: Failure) -> Failure {
    failure.message.push_str("; for a file that grows, --verify none accepts what came");
    failure
}

/// Says what became of the bytes that came.
fn cut(mut failure: Failure, sink: &Sink, bytes: u64) -> Failure {
    let rest = match sink {
        Sink::File(file) if file.path() == file.target() => "; -c goes on there".to_owned(),
        Sink::File(file) => {
            let part = shown_path(file.path());
            format!("; {part} keeps what came, -c goes on there")
        }
        Sink::Temporary(_) if bytes > 0 => "; nothing was kept, -c would resume".to_owned(),
        _ => String::new(),
    };
    failure.message.push_str(&rest);
    failure
}

/// A time of the server's for a local file; `None` if it is before 1970.
fn local_time(time: TimeVal) -> Option<SystemTime> {
    let seconds = u64::try_from(time.unix_seconds()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, time.nanosecond()))
}
