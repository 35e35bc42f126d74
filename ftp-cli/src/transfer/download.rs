//! Downloads one file to a local target, completely or not at all.

use std::cell::Cell;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::sync::Mutex;

use ftp_client::error::JobFault;
use ftp_client::file::{Left, Why};
use ftp_client::{Client, Done, Error, Event, FileOptions, Get, Observer, Place};
use ftp_proto::{FtpUrl, RepresentationType, Verb};

use super::{Attempt, Context, RemoteFile, Target, Verify, not_moved, wrong_size};
use crate::connect::Sessions;
use crate::console::output::{shown_local, shown_path};
use crate::console::{Meter, Output};
use crate::exit::{Exit, Failure, Result};
use crate::report::Object;
use crate::{lock, remote};

/// Downloads a file. If the attempt must start from byte 0, does not resume a partial file.
///
/// # Errors
///
/// Returns the failure. The target is then unchanged, except with `--continue`, `--in-place` or
/// `--remove-source`, or if it is a stream.
pub(crate) fn download<'j>(
    context: &'j Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    target: &'j Target,
    attempt: Attempt<'_, 'j>,
) -> Result<Done> {
    let is_directory = Cell::new(false);
    let done = run(context, remote, target, attempt, |job, show| {
        job.attempt(client, show).inspect_err(|error| {
            let is_refused = matches!(error, Error::Refused { verb: Verb::Retr | Verb::Size, .. })
                && remote::is_about_name(error);
            // Several files may be missing, and each question takes round trips.
            is_directory.set(
                is_refused
                    && context.is_of_one
                    && remote::is_directory(client, job.place().path()) == Some(true),
            );
        })
    });
    done.map_err(|failure| {
        let hint = match is_directory.get() {
            true => "; use ftp-cli get -r to download a directory",
            false => "",
        };
        // As after an upload.
        let fatal = failure.fatal || failure.exit == Exit::Local && !client.is_settled();
        Failure { fatal, ..failure }.context(remote.name).hinted(hint)
    })
}

/// `--segments`: downloads a file over several connections.
///
/// # Errors
///
/// Returns the same failures as [`download`].
pub(crate) fn in_segments<'j>(
    context: &'j Context<'_>,
    sessions: &mut Sessions<'_>,
    url: &FtpUrl,
    (remote, target): (&RemoteFile<'_>, &'j Target),
    attempt: Attempt<'_, 'j>,
) -> Result<Done> {
    let pool = sessions.pool_of(url)?;
    let most = context.settings.segments;
    run(context, remote, target, attempt, |job, show| job.attempt_over(&pool, most, show))
}

fn run<'j>(
    context: &'j Context<'_>,
    remote: &RemoteFile<'_>,
    target: &'j Target,
    attempt: Attempt<'_, 'j>,
    download: impl FnOnce(&mut Get<'_>, &dyn Observer) -> Result<Done, Error>,
) -> Result<Done> {
    let (fields, name, meter) = (attempt.fields, remote.name, Mutex::new(None));
    let show = DownloadDisplay { context, fields, name, target, meter };
    let attempted = |job: &mut Get<'_>| {
        job.set_place(remote.place.clone());
        if attempt.from_start {
            job.start_over();
        }
        let done = download(job, &show);
        let is_binary = remote.representation == RepresentationType::Image;
        done.map_err(|error| failure_of(context, target, error, job.left(), is_binary))
    };
    match target {
        Target::Output => {
            let checks = context.refuses_binary;
            let mut output = CheckedOutput { output: context.output.clone(), checks };
            attempted(&mut job(context, remote, |place, options| {
                Get::to_writer(place, &mut output, options)
            }))
        }
        Target::Direct(path) => {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|error| Failure::local(shown_path(path), &error))?;
            let mut file = DirectFile(file);
            attempted(&mut job(context, remote, |place, options| {
                Get::to_writer(place, &mut file, options)
            }))
        }
        Target::File(path) => {
            let new = |place, options: &_| match context.settings.in_place {
                true => Get::in_place(place, path, options),
                false => Get::to_path(place, path, options),
            };
            let mut kept = attempt.memory.borrow_mut();
            attempted(kept.get_or_insert_with(|| job(context, remote, new)))
        }
    }
}

fn job<'j>(
    context: &'j Context<'_>,
    remote: &RemoteFile<'_>,
    new: impl FnOnce(Place, &FileOptions) -> Get<'j>,
) -> Get<'j> {
    let options = context.settings.of_file(remote.representation);
    let job = new(remote.place.clone(), &options).among(&context.targets);
    job.known_as(remote.name.to_string(), remote.user.clone())
}

/// Returns the failure of a download, with a hint about the received bytes.
fn failure_of(
    context: &Context<'_>,
    target: &Target,
    error: Error,
    left: &Left,
    is_binary: bool,
) -> Failure {
    let (verify, preserve) = (context.settings.verify, context.settings.preserve);
    let fatal = error.affects_others();
    let mut failure = match (error, target) {
        (Error::Local(error), Target::Output) => Failure::output(&error),
        (Error::Local(error), Target::Direct(path)) => Failure::local(shown_path(path), &error),
        (Error::Local(error), _) if error.kind() == io::ErrorKind::AlreadyExists => {
            Failure::item(Exit::Partial, error.to_string())
        }
        (Error::Local(error), Target::File(path)) => {
            use io::ErrorKind::{PermissionDenied, ResourceBusy};
            let is_closed = matches!(error.kind(), PermissionDenied | ResourceBusy);
            let hint = match is_closed && !context.settings.in_place && path.is_file() {
                true => "; use --in-place to write to the file itself",
                false => "",
            };
            Failure { fatal, ..Failure::new(Exit::Local, format!("{error}{hint}")) }
        }
        (Error::Incomplete { bytes, announced: Some(asked) }, _)
            if matches!(left, Left::Ranges(_)) && bytes > asked =>
        {
            let message = "the server sent more than the rest of the file: it ignores REST, or the file has grown";
            Failure::item(Exit::Integrity, message).never_retried()
        }
        (Error::Incomplete { bytes, announced: Some(size) }, _)
            if matches!(left, Left::Wrong | Left::Part(_) | Left::InPlace) =>
        {
            let mut failure = wrong_size(bytes, size);
            failure.message.push_str("; use --verify none for a growing file");
            failure
        }
        (Error::Changed, _) => {
            Failure::item(Exit::Integrity, "the file on the server changed during the download")
        }
        (Error::Unsupported(what), _) if matches!(verify, Verify::Digest | Verify::Size) => {
            let word = if verify == Verify::Digest { "hash" } else { "size" };
            Failure::item(Exit::Unsupported, format!("--verify {word}: {what}"))
        }
        (error @ Error::Refused { verb, .. }, _) if is_digest(verb) => {
            let message = format!("--verify hash: {}", Failure::from(&error).message);
            Failure::item(Exit::Unsupported, message)
        }
        (error @ Error::Job(JobFault::Unreported(_)), _) if preserve => {
            Failure::from(error).context("--preserve")
        }
        (error @ Error::Job(_), _) => not_moved(&error),
        (error @ Error::Mismatch { .. }, _) => Failure { fatal: false, ..Failure::from(&error) },
        (error, _) => error.into(),
    };
    let hint = match left {
        // These options exclude -c.
        Left::Removed | Left::InPlace if !is_binary || context.settings.removes_source => {
            return failure;
        }
        Left::Removed => "; partial file removed; use -c to keep it and resume".to_owned(),
        Left::Part(part) => {
            format!("; partial file kept in {}; use -c to resume", shown_path(part))
        }
        Left::Ranges(first) => {
            let hint = "run the same command again to resume from the ranges in";
            format!("; {hint} {}*", shown_path(first))
        }
        Left::InPlace => "; use -c to resume".to_owned(),
        Left::Stream => return failure.never_retried(),
        _ => return failure,
    };
    if failure.is_signal() {
        context.witness.messages.usage().note_left(&hint);
    }
    failure.message.push_str(&hint);
    failure
}

pub(super) const fn is_digest(verb: Verb) -> bool {
    use Verb::{Hash, Xcrc, Xmd5, Xsha, Xsha1, Xsha256, Xsha512};
    matches!(verb, Hash | Xcrc | Xmd5 | Xsha | Xsha1 | Xsha256 | Xsha512)
}

/// Standard output. If it is checked, the first bytes must not be those of a binary file, which would
/// change the state of a terminal.
struct CheckedOutput {
    output: Output,
    checks: bool,
}

impl Write for CheckedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.checks) && bytes.contains(&0) {
            return Err(io::Error::other("the file is binary; use get, or -o - to show it"));
        }
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A FIFO or device that receives a download.
struct DirectFile(File);

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.sync_all() {
            // FIFOs and devices need no sync and report EINVAL.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

struct DownloadDisplay<'a> {
    context: &'a Context<'a>,
    fields: &'a (dyn Fn(Object) -> Object + Sync),
    name: &'a (dyn Display + Sync),
    target: &'a Target,
    meter: Mutex<Option<Meter<'a>>>,
}

impl Observer for DownloadDisplay<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Begun { source, at, total, .. } => {
                let meter = self.context.board.begin(source, at, total, self.fields);
                *lock(&self.meter) = Some(meter);
            }
            Event::Moved { bytes } => {
                if let Some(meter) = lock(&self.meter).as_mut() {
                    meter.add(bytes);
                }
            }
            Event::FromZero { target, why } => {
                let is_target = target == self.target.name();
                self.context.note(from_zero(&shown_local(target), why, is_target));
            }
            Event::Note { note, .. } => {
                self.context.note(format_args!("{}: {note}", self.name));
            }
            Event::Done { .. } => drop(lock(&self.meter).take()),
            _ => {}
        }
    }

    fn wants_bytes(&self) -> bool {
        true
    }
}

/// Returns the note that a download does not use the bytes of the file `name`.
pub(crate) fn from_zero(name: &str, why: Why, is_target: bool) -> String {
    let why = match why {
        Why::NoRestart => return "the server cannot resume: downloading from the start".to_owned(),
        Why::AnotherSource => "may belong to another file",
        Why::AnotherVersion => "may belong to another version of the file",
        Why::NotFlushed => "may be damaged, because the computer was restarted",
        Why::TailDiffers | Why::Refuted => "differs from the file on the server",
        _ => "may belong to another file, because nothing shows where its bytes came from",
    };
    let hint = match is_target {
        true => "; use --if-changed to keep a file of the same size and time",
        false => "",
    };
    format!("{name} {why}: downloading from the start{hint}")
}

/// Returns whether the target exists, so that `--no-clobber` keeps it.
pub(crate) fn exists(target: &Target) -> bool {
    matches!(target, Target::File(path) if fs::symlink_metadata(path).is_ok())
}
