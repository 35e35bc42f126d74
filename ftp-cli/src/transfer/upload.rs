//! Uploads one file: options to one call of the library, its events to lines, its errors to
//! failures.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use ftp_client::{
    Client, Error, Event, Observer, Put, ReplyCode, Severity, UploadFault, Verb, Why,
};
use ftp_proto::Escaped;

use super::context::{Context, Done};
use super::options::{TransferOptions, Verify};
use super::verify::{Verified, wrong_size};
use crate::console::progress::Meter;
use crate::display;
use crate::exit::{Exit, Failure};
use crate::report::json::Object;

/// The least number of bytes whose digest takes seconds, so that a message announces it.
const LONG: u64 = 64 << 20;

/// Function that adds the fields of a transfer to its events.
type Fields<'a> = &'a (dyn Fn(Object) -> Object + Sync);

/// Called before the rename of a complete upload, with its temporary path.
pub(super) type BeforeRename<'a> = dyn FnMut(&mut Client, &[u8]) -> Result<(), Error> + 'a;

/// Attempts an upload. `name` is the server's file, for messages.
///
/// # Errors
///
/// Returns `Local` if the local file cannot be read, and `Unsupported` if the server lacks what an
/// option needs. Also returns the failures of the transfer and of its verification.
pub(crate) fn upload(
    context: &Context<'_>,
    client: &mut Client,
    put: &mut Put<'_>,
    here: Option<&Metadata>,
    name: &str,
    fields: Fields<'_>,
) -> Result<Done, Failure> {
    upload_noting(context, client, put, here, name, fields, &mut |_, _| Ok(()))
}

/// Attempts an upload, and calls `before_rename` when it is complete under its temporary name.
///
/// # Errors
///
/// Returns the failures of [`upload`].
pub(super) fn upload_noting(
    context: &Context<'_>,
    client: &mut Client,
    put: &mut Put<'_>,
    here: Option<&Metadata>,
    name: &str,
    fields: Fields<'_>,
    before_rename: &mut BeforeRename<'_>,
) -> Result<Done, Failure> {
    let settings = context.settings;
    if let Some(here) = here {
        let time = (here.mtime(), here.mtime());
        if let Some(why) = settings.selection.refuses(Some(here.len()), Some(time)) {
            return Ok(Done::skipped(why));
        }
        if settings.resume && !here.is_file() {
            return Err(Failure::item(Exit::Usage, "--continue needs a regular file"));
        }
    }
    let shown = Shown { context, name, fields, meter: Mutex::default() };
    let done = put.attempt_noting(client, &shown, before_rename);
    drop(shown);
    match done {
        Ok(done) => Ok(Done {
            bytes: done.bytes,
            resumed: done.resumed,
            time: done.duration,
            verified: match done.verified {
                ftp_client::Verified::Size => Verified::Size,
                ftp_client::Verified::Hash => Verified::Hash,
                _ => Verified::None,
            },
            skipped: done.skipped,
            unique: done.name,
        }),
        Err(error) => {
            let sent = settings.temporary.as_ref().map(|name| name.of(put.place().path()));
            let failure = failure_of(settings, client, &sent.unwrap_or_default(), &error);
            let failure = if put.is_final() { failure.never_retried() } else { failure };
            Err(Failure { fatal: failure.fatal || put.left_directory(), ..failure })
        }
    }
}

/// Shows the events of one upload.
struct Shown<'a> {
    context: &'a Context<'a>,
    name: &'a str,
    fields: Fields<'a>,
    meter: Mutex<Option<Meter<'a>>>,
}

impl Observer for Shown<'_> {
    fn event(&self, event: Event<'_>) {
        let Self { context, name, fields, .. } = self;
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
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
                context.events.emit(|| fields(Object::event("note")).text("message", text));
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
const fn reason(why: Why) -> (bool, &'static str) {
    match why {
        Why::AnotherSource => (true, "another program stored the server's file"),
        Why::AnotherVersion => (true, "the local file changed since its interrupted upload"),
        Why::TailDiffers => (false, "the server's file ends in other bytes than the local file"),
        Why::Refuted => (false, "the server's file has another digest"),
        Why::NoRestart => (false, "the server cannot resume"),
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
                (Verify::Hash, _) => "--verify hash: ",
                _ => "",
            };
            Failure::item(Exit::Unsupported, format!("{option}{what}"))
        }
        Error::Upload(fault) => faulty(fault, error),
        Error::Refused(Verb::Hash, _) if settings.verify == Verify::Hash => {
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

/// Returns the failure of a whole upload.
fn faulty(fault: &UploadFault, error: &Error) -> Failure {
    let item = |message: String| Failure { fatal: false, message, ..Failure::from(error) };
    match fault {
        UploadFault::Longer { .. } => {
            item(format!("{fault}; to replace it, omit --continue")).never_retried()
        }
        UploadFault::LocalChanged => item(format!("{fault}; use --verify none to accept that")),
        UploadFault::SameFile => item(format!("{fault}; use --temp if they are not")),
        UploadFault::NoName => item(format!("--verify: {fault}")),
        UploadFault::NoTime => item(format!("--preserve: {fault}")),
        UploadFault::NotTimed(_) => item(format!("--preserve: {fault}")),
        UploadFault::Appended(cause) => {
            let failure = Failure::from(&**cause);
            let message = format!("{}; the number of appended bytes is unknown", failure.message);
            Failure { message, ..failure }.never_retried()
        }
        UploadFault::NotRenamed { temporary, cause, removed } => {
            let failure = Failure::from(&**cause);
            let (name, why) = (Escaped(temporary), &failure.message);
            let mut message = format!("uploaded as {name}, but not renamed: {why}");
            if matches!(&**cause, Error::Refused(Verb::Rnto, reply)
                if reply.code().severity() == Severity::Permanent)
            {
                message.push_str(super::publish::CURE);
            }
            if *removed {
                message.push_str("; the temporary file was removed");
            }
            Failure { message, ..failure }
        }
        UploadFault::OtherName(_) | UploadFault::PerhapsRenamed { .. } => {
            item(fault.to_string()).never_retried()
        }
        _ => item(fault.to_string()),
    }
}

pub(crate) fn local(error: &io::Error) -> Failure {
    Failure::item(Exit::Local, error.to_string())
}
