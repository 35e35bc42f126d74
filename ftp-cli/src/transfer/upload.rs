//! Uploads one file: options to one call of the library, its events to lines, its errors to
//! failures.

use std::fs::Metadata;
use std::io::{self, Read};
use std::sync::Mutex;

use ftp_client::error::JobFault;
use ftp_client::file::Why;
use ftp_client::{Client, Error, Event, Observer, Put, ReplyCode, Severity, Verb};
use ftp_proto::{Escaped, Pathname};
use rustix::event::{PollFd, PollFlags, poll};

use super::options::{Context, TransferOptions, Verify};
use crate::console::{Cleanup, Meter};
use crate::display;
use crate::exit::{CREATE_DIRECTORIES, Exit, Failure, Result};
use crate::lock::lock;
use crate::remote;
use crate::report::Object;

/// The least number of bytes whose digest takes seconds, so that a message announces it.
pub(crate) const LONG: u64 = 64 << 20;

/// Function that adds the fields of a transfer to its events.
type Fields<'a> = &'a (dyn Fn(Object) -> Object + Sync);

/// Returns a hint if the server refused an upload because its directory is missing, or because the
/// target is a directory.
fn hint(client: &mut Client, put: &Put<'_>, error: &Error, context: &Context<'_>) -> &'static str {
    let creates = context.settings.create_directories;
    let is_refused = match error {
        // For the name of a directory, servers refuse a rename with many codes.
        Error::Job(JobFault::NotRenamed { cause, .. }) => cause.reply().is_some(),
        Error::Refused(Verb::Stor | Verb::Appe, _) => remote::is_about_name(error),
        _ => false,
    };
    let path = put.place().path();
    match (is_refused, creates) {
        (false, _) => "",
        // A directory of the path was refused after others were entered.
        (true, false) if put.left_directory() => CREATE_DIRECTORIES,
        (true, true) if put.left_directory() => "",
        (true, false) if remote::is_directory(client, Pathname::split(path).0) == Some(false) => {
            CREATE_DIRECTORIES
        }
        (true, _) if context.is_of_one && remote::is_directory(client, path) == Some(true) => {
            "; the target is a directory: end it with / to upload into it"
        }
        (true, _) => "",
    }
}

/// Shows the events of one attempt of an upload, and its failure.
pub(crate) struct UploadObserver<'a> {
    context: &'a Context<'a>,
    /// The server's file, for messages.
    name: &'a str,
    fields: Fields<'a>,
    meter: Mutex<Option<Meter<'a>>>,
}

impl<'a> UploadObserver<'a> {
    /// Returns the observer of an upload from the local file with the metadata `here`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the file cannot be resumed, although `--continue` is given.
    pub(crate) fn new(
        context: &'a Context<'a>,
        here: Option<&Metadata>,
        name: &'a str,
        fields: Fields<'a>,
    ) -> Result<Self> {
        if context.settings.resume && here.is_some_and(|here| !here.is_file()) {
            return Err(Failure::item(Exit::Usage, "--continue needs a regular file"));
        }
        Ok(Self { context, name, fields, meter: Mutex::default() })
    }

    /// Returns the failure of the attempt: `Local` if the local file cannot be read, `Unsupported`
    /// if the server lacks what an option needs, and `Limit` if another run is moving the file. Also
    /// returns the failures of the transfer, of its verification, and of the removal of the source.
    pub(crate) fn failed(self, client: &mut Client, put: &Put<'_>, error: &Error) -> Failure {
        let context = self.context;
        let settings = context.settings;
        drop(self);
        let sent = settings.temporary.as_ref().map(|name| name.of(put.place().path()));
        let failure = failure_of(settings, client, &sent.unwrap_or_default(), error);
        let failure = failure.hinted(hint(client, put, error, context));
        let failure = if put.is_final() { failure.never_retried() } else { failure };
        Failure { fatal: failure.fatal || put.left_directory(), ..failure }
    }
}

impl Observer for UploadObserver<'_> {
    fn event(&self, event: Event<'_>) {
        let Self { context, name, fields, .. } = self;
        let mut meter = lock(&self.meter);
        match event {
            Event::Begun { target, at, total, .. } => {
                *meter = None;
                *meter = Some(context.board.begin(target, at, total, *fields));
            }
            Event::Moved { bytes } => {
                if let Some(meter) = meter.as_mut() {
                    meter.add(bytes);
                }
            }
            Event::FromZero { why, .. } => match reason(why) {
                (is_usual, why) if is_usual => {
                    context.remark(format_args!("{name}: {why}: uploading from the start"));
                }
                (_, why) => context.note(format_args!("{why}: uploading from the start")),
            },
            Event::Comparing { bytes, .. } if bytes >= LONG => {
                let size = display::size(bytes);
                context.note(format_args!("{name}: comparing the digests of {size} on both sides"));
            }
            Event::Note { text, .. } => {
                context.remark(format_args!("{name}: {text}"));
                context.witness.events.emit(|| fields(Object::event("note")).text("message", text));
            }
            _ => {}
        }
    }

    fn wants_bytes(&self) -> bool {
        !self.context.board.is_hidden()
    }
}

/// Returns why an upload begins at byte 0, and whether that is usual: a nightly upload with the same
/// name finds the file of yesterday.
pub(crate) const fn reason(why: Why) -> (bool, &'static str) {
    match why {
        Why::AnotherSource => (true, "another program stored the server's file"),
        Why::AnotherVersion => (true, "the local file changed since its interrupted upload"),
        Why::TailDiffers => (false, "the server's file ends in other bytes than the local file"),
        Why::Refuted => (false, "the server's file has another digest"),
        Why::NoRestart => (false, "the server cannot resume"),
        Why::Vanished => (false, "the server no longer has the earlier upload"),
        _ => (true, "nothing proves that the server's file is a part of the local file"),
    }
}

/// Returns the failure of an attempt.
fn failure_of(
    settings: &TransferOptions,
    client: &mut Client,
    sent: &[u8],
    error: &Error,
) -> Failure {
    match error {
        Error::Local(error) => Failure { fatal: !client.is_settled(), ..local(error) },
        Error::Incomplete { bytes, announced: Some(here) } => wrong_size(*here, *bytes),
        Error::Mismatch { .. } => Failure { fatal: false, ..Failure::from(error) },
        Error::Unsupported(what) => {
            let option = match (settings.verify, settings.no_clobber) {
                (_, true) => "--no-clobber: ",
                (Verify::Size, _) => "--verify size: ",
                (Verify::Digest, _) => "--verify hash: ",
                _ => "",
            };
            Failure::item(Exit::Unsupported, format!("{option}{what}"))
        }
        Error::Job(fault) => faulty(fault, error),
        Error::Refused(Verb::Hash, _) if settings.verify == Verify::Digest => {
            let message = format!("--verify hash: {}", Failure::from(error).message);
            Failure::item(Exit::Unsupported, message)
        }
        Error::Refused(Verb::Stor, _) if settings.temporary.is_some() => {
            let failure = Failure::from(error);
            match sent.is_empty() {
                true => failure,
                false => failure.context(Escaped(sent)),
            }
        }
        Error::Refused(Verb::Appe, reply)
            if settings.resume
                && reply.code().severity() == Severity::Permanent
                && reply.code() != ReplyCode::OVER_QUOTA =>
        {
            let mut failure = Failure::from(error);
            // Every later run with `--continue` would find the same partial file.
            failure.message.push_str(
                "; resuming needs the right to append to the server's file: without -c, the upload \
                 starts from the beginning",
            );
            failure
        }
        error => error.into(),
    }
}

/// Returns the failure of a whole upload, or of a move.
fn faulty(fault: &JobFault, error: &Error) -> Failure {
    let item = |message: String| Failure { fatal: false, message, ..Failure::from(error) };
    match fault {
        JobFault::Longer { .. } => item(format!("{fault}; to replace it, omit --continue")),
        JobFault::LocalChanged => item(format!("{fault}; use --verify none to accept that")),
        JobFault::SameFile => item(format!("{fault}; use --temp if they are not")),
        JobFault::NoName => item(format!("--verify: {fault}")),
        JobFault::NoTime => item(format!("--preserve: {fault}")),
        JobFault::NotTimed(_) => item(format!("--preserve: {fault}")),
        JobFault::Appended(cause) => {
            let failure = Failure::from(&**cause);
            let message = format!("{}; the number of appended bytes is unknown", failure.message);
            Failure { message, ..failure }.never_retried()
        }
        JobFault::NotRenamed { .. } => error.into(),
        _ => not_moved(error),
    }
}

pub(crate) fn local(error: &io::Error) -> Failure {
    Failure::item(Exit::Local, error.to_string())
}

/// Returns the failure of a move, or of the removal of its source.
pub(crate) fn not_moved(error: &Error) -> Failure {
    let failure = Failure::from(error);
    let message = match error {
        Error::Local(error) => return local(error),
        Error::Job(JobFault::NotShown(_)) => return Failure { exit: Exit::Partial, ..failure },
        Error::Job(JobFault::NotMoved(_)) => format!("--remove-source: {}", failure.message),
        Error::Job(JobFault::Unsettled) => format!("{}, or use --min-age 5min", failure.message),
        Error::Job(JobFault::NotRemoved(cause)) => {
            format!("downloaded, but not removed: {}", Failure::from(&**cause).message)
        }
        _ => return failure,
    };
    Failure { message, ..failure }
}

pub(crate) fn wrong_size(bytes: u64, size: u64) -> Failure {
    let message = format!("size mismatch: {bytes} bytes here, {size} on the server");
    Failure::item(Exit::Integrity, message)
}

/// Standard input; a signal ends its reads, even if the writer of the pipe never writes.
pub(crate) struct Interruptible<'a> {
    pub(crate) input: &'a mut (dyn Read + Send),
    pub(crate) cleanup: &'a Cleanup,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(canceller) = self.cleanup.canceller() {
            let stdin = io::stdin();
            let mut fds =
                [PollFd::new(canceller, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
            poll(&mut fds, None)?;
            if canceller.is_cancelled() {
                return Err(io::Error::other("interrupted"));
            }
        }
        self.input.read(buffer)
    }
}
