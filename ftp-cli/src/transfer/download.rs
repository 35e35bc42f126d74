//! Downloads one file to a local target, completely or not at all.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use ftp_client::{Client, Error, Event, Get, Left, Observer, Sink, Why};
use ftp_proto::{FtpUrl, TimeVal, Verb};

use super::context::{Attempt, Context, Done, RemoteFile};
use super::options::{TransferOptions, Verify};
use super::take;
use super::target::Target;
use super::verify::{self, Verified};
use crate::connect::sessions::Sessions;
use crate::console::progress::Meter;
use crate::display::{shown, shown_path};
use crate::exit::{Exit, Failure};
use crate::lock::lock;
use crate::report::json::Object;
use ftp_client::tree::path;

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
    if let Target::File(path) = target
        && (context.settings.removes_source || context.settings.in_place)
        && is_source(client, remote.place.path(), path)
    {
        // The download would empty the file that is being read, or remove the only copy.
        let message = format!("source and {} may be the same file", shown_path(path));
        return Err(Failure::item(Exit::Usage, message).context(remote.name));
    }
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

/// Returns whether the local file seems to be the server's: the server is on this computer, and both
/// have the same size and time. A fact that is unknown proves nothing.
fn is_source(client: &mut Client, path: &[u8], target: &Path) -> bool {
    let Ok(here) = fs::metadata(target) else { return false };
    let (Some(peer), Some(own)) = (client.peer_addr(), client.local_addr()) else { return false };
    if here.len() == 0 || peer.ip() != own.ip() {
        return false;
    }
    let time = |client: &mut Client| client.modified(path).ok().flatten();
    client.size(path).ok().flatten() == Some(here.len())
        && time(client).is_some_and(|time| time.unix_seconds() == here.mtime())
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
    let is_there = client.is_there(path);
    let is_missing = match is_there {
        // A refused listing proves nothing. If the server does not enter the directory either, the
        // file counts as missing.
        Ok(None) if !directory.is_empty() => client
            .can_enter(directory)
            .map_or_else(|error| if error.is_no() { Ok(true) } else { Err(error) }, |()| Ok(false)),
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
    let done = fetch(context, client, remote, (target, None), attempt);
    done.map_err(|failure| failure.context(remote.name))
}

/// `--segments`: downloads a file over several connections.
///
/// # Errors
///
/// Returns the same failures as [`download`].
pub(crate) fn in_segments(
    context: &Context<'_>,
    sessions: &mut Sessions<'_>,
    url: &FtpUrl,
    (remote, target): (&mut RemoteFile<'_>, &Target),
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    if let Some(done) = skipped(context, sessions.client(url)?, remote, target)? {
        return Ok(done);
    }
    let time = ask_first(context, sessions.client(url)?, remote)?;
    let pool = sessions.pool_of(url)?;
    let most = context.settings.segments;
    run(context, remote, (target, None), time, attempt, |job, show| {
        job.attempt_over(&pool, most, show)
    })
}

/// Downloads a file that gets the permissions of the file at `like`.
///
/// # Errors
///
/// Returns the same failures as [`download`].
pub(super) fn fetch(
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    into: (&Target, Option<&Path>),
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    let time = ask_first(context, client, remote)?;
    run(context, remote, into, time, attempt, |job, show| job.attempt(client, show))
}

/// Fails early if the server offers no digest for `--verify hash`, or no time for `--preserve`.
/// Returns the time.
fn ask_first(
    context: &Context<'_>,
    client: &mut Client,
    remote: &RemoteFile<'_>,
) -> Result<Option<TimeVal>, Failure> {
    if context.settings.verify == Verify::Hash {
        verify::checksum(client)?;
    }
    match context.settings.preserve {
        true => time_of(client, remote.place.path()).map(Some),
        false => Ok(None),
    }
}

/// Runs `download` with the job for the file.
fn run(
    context: &Context<'_>,
    remote: &mut RemoteFile<'_>,
    (target, like): (&Target, Option<&Path>),
    time: Option<TimeVal>,
    attempt: Attempt<'_>,
    download: impl FnOnce(&mut Get<'_>, &dyn Observer) -> Result<ftp_client::Done, Error>,
) -> Result<Done, Failure> {
    let settings = context.settings;
    let options = settings.of_file(remote.representation);
    let mut output = context.output.clone();
    let mut direct;
    let sink = match target {
        Target::Output => Sink::Stream(&mut output),
        Target::Direct(path) => {
            let file = OpenOptions::new().write(true).open(path);
            direct = DirectFile(file.map_err(|error| Failure::local(shown_path(path), &error))?);
            Sink::Stream(&mut direct)
        }
        Target::File(path) if settings.in_place => Sink::InPlace(path),
        Target::File(path) => Sink::Path(path),
    };
    let memory = attempt.memory.take();
    let mut job = Get::new(remote.place.clone(), sink, &options)
        .modified(time.map(SystemTime::from))
        .remembering(memory);
    // With `like`, the caller gives the file its final name.
    job = match like {
        Some(path) => job.like(path),
        None => job.among(&context.targets),
    };
    if attempt.from_start {
        job.start_over();
    }
    let (fields, name, meter) = (attempt.fields, remote.name, Mutex::new(None));
    let show = DownloadDisplay { context, fields, name, target, meter };
    let done = download(&mut job, &show);
    drop(show);
    let left = job.left().clone();
    remote.place = job.place().clone();
    attempt.memory.replace(job.into_memory());
    let done = done.map_err(|error| failure_of(context, target, error, &left))?;
    Ok(Done {
        bytes: done.bytes,
        resumed: done.resumed,
        time: done.duration,
        verified: match done.verified {
            ftp_client::Verified::Size => Verified::Size,
            ftp_client::Verified::Hash => Verified::Hash,
            _ => Verified::None,
        },
        skipped: done.skipped,
        unique: None,
    })
}

/// Returns the modification time of the file, for `--preserve`.
fn time_of(client: &mut Client, path: &[u8]) -> Result<TimeVal, Failure> {
    modified(client, path).map_err(|failure| match failure.exit {
        Exit::Unsupported => failure.context("--preserve"),
        _ => failure,
    })
}

/// Returns the failure of a download, with a hint about the received bytes.
fn failure_of(context: &Context<'_>, target: &Target, error: Error, left: &Left) -> Failure {
    let verify = context.settings.verify;
    let mut failure = match (error, target) {
        (Error::Local(error), Target::Output) => Failure::output(&error),
        (Error::Local(error), Target::Direct(path)) => Failure::local(shown_path(path), &error),
        (Error::Local(error), _) if error.kind() == io::ErrorKind::AlreadyExists => {
            Failure::item(Exit::Partial, error.to_string())
        }
        (Error::Local(error), Target::File(_)) => Failure::new(Exit::Local, error.to_string()),
        (Error::Incomplete { bytes, announced: Some(asked) }, _)
            if matches!(left, Left::Ranges(_)) && bytes > asked =>
        {
            let message = "the server sent more than the rest of the file: it ignores REST, or the file has grown";
            Failure::item(Exit::Integrity, message).never_retried()
        }
        (Error::Incomplete { bytes, announced: Some(size) }, _) if *left == Left::Wrong => {
            let mut failure = verify::wrong_size(bytes, size);
            failure.message.push_str("; use --verify none for a growing file");
            failure
        }
        (Error::Changed, _) => {
            Failure::item(Exit::Integrity, "the file on the server changed during the download")
        }
        (Error::Unsupported(what), _) if matches!(verify, Verify::Hash | Verify::Size) => {
            let word = if verify == Verify::Hash { "hash" } else { "size" };
            Failure::item(Exit::Unsupported, format!("--verify {word}: {what}"))
        }
        (error @ Error::Refused(verb, _), _) if is_digest(verb) => {
            let message = format!("--verify hash: {}", Failure::from(&error).message);
            Failure::item(Exit::Unsupported, message)
        }
        (error @ Error::Mismatch { .. }, _) => Failure { fatal: false, ..Failure::from(&error) },
        (error, _) => error.into(),
    };
    match left {
        Left::Removed => {
            failure.message.push_str("; partial file removed; use -c to keep it and resume");
        }
        Left::Part(part) => {
            let part = shown_path(part);
            failure.message.push_str(&format!("; partial file kept in {part}; use -c to resume"));
        }
        Left::Ranges(first) => {
            let hint = "run the same command again to resume from the ranges in";
            failure.message.push_str(&format!("; {hint} {}*", shown_path(first)));
        }
        Left::InPlace => failure.message.push_str("; use -c to resume"),
        Left::Stream => return failure.never_retried(),
        _ => {}
    }
    failure
}

/// Returns whether a command asks for a digest.
const fn is_digest(verb: Verb) -> bool {
    use Verb::{Hash, Xcrc, Xmd5, Xsha, Xsha1, Xsha256, Xsha512};
    matches!(verb, Hash | Xcrc | Xmd5 | Xsha | Xsha1 | Xsha256 | Xsha512)
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

/// Shows the events of a download.
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
                self.context.note(from_zero(&shown(target), why, is_target));
            }
            Event::Note { text, .. } => {
                self.context.note(format_args!("{}: {text}", self.name));
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
fn from_zero(name: &str, why: Why, is_target: bool) -> String {
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
