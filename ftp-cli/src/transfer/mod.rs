//! Transfers one file. `download.rs` does the work of a download; here is that of an upload: options
//! to one call of the library, its events to lines, its errors to failures.
//!
//! Also holds the parsed options of transfers, of which each of `get`, `put`, `batch`, `mirror` and
//! `fxp` accepts only some, selects files by size and age, and holds what the transfers of a command
//! share: progress and results.

pub(crate) mod download;

pub(crate) use download::Target;
use ftp_client::file::{Existing, SkipReason, StoreAs, Targets, Why};
pub(crate) use ftp_client::file::{TemporaryName, Verify};

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::Metadata;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use ftp_client::error::{JobFault, Unsupported};
use ftp_client::{
    Canceller, Client, Done, Error, Event, FileOptions, Get, Observer, Place, Put, RateLimit,
    ReplyCode, Resume, Severity, Verb,
};
use ftp_proto::{Escaped, FtpUrl, Pathname, RepresentationType};

use crate::connect::{Retrying, Witness, dialler};
use crate::console::output::{rounded_size, shown, shown_local, transferred, unix_time};
use crate::console::{Board, Cleanup, Meter, Output, Stdio};
use crate::exit::{CREATE_DIRECTORIES, Exit, Failure, Result};
use crate::options::{NamedFiles, Options, values};
use crate::report::Object;
use crate::system::{self, OsStrExt};
use crate::{lock, remote};

/// Largest number of connections for `--jobs` and `--segments`.
const JOBS: usize = 64;

/// Options of the group "Transfer".
#[derive(Clone)]
pub(crate) struct TransferOptions {
    /// `--ascii` or `--binary`, which override the URL.
    representation: Option<RepresentationType>,
    pub(crate) resume: bool,
    pub(crate) append: bool,
    pub(crate) unique: bool,
    pub(crate) no_clobber: bool,
    pub(crate) in_place: bool,
    pub(crate) create_directories: bool,
    pub(crate) preserve: bool,
    pub(crate) verify: Verify,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) retrying: Retrying,
    /// Number of connections for several files; `None` if it grows while that helps.
    pub(crate) jobs: Option<usize>,
    /// Number of connections for one download.
    pub(crate) segments: usize,
    /// `--temp`.
    pub(crate) temporary: Option<TemporaryName>,
    pub(crate) removes_source: bool,
    pub(crate) newer: bool,
    pub(crate) if_changed: bool,
    pub(crate) selection: Selection,
    pub(crate) own: NamedFiles,
}

impl TransferOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for one that contradicts another option.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        let representation = match options.last_of(&["ascii", "binary"]) {
            Some("ascii") => Some(RepresentationType::Ascii),
            Some(_) => Some(RepresentationType::Image),
            None => None,
        };
        let words = [("none", Verify::None), ("size", Verify::Size), ("hash", Verify::Digest)];
        let verify = options.parsed("verify", |text| values::word(text, &words))?;
        let number = |text: &str| match text.parse() {
            Ok(jobs @ 1..=JOBS) => Ok(jobs),
            _ => Err(format!("invalid number \"{text}\": expected 1 to {JOBS}")),
        };
        let jobs = |text: &str| match text {
            "auto" => Ok(None),
            text => number(text).map(Some),
        };
        let most = dialler::most_data_connections(options)?;
        let removes_source = options.has("remove-source");
        if removes_source && verify == Some(Verify::None) {
            return Err(Failure::usage("--remove-source and --verify none exclude each other"));
        }
        let verify = verify.or(removes_source.then_some(Verify::Size));
        if options.has("append") && verify == Some(Verify::Digest) {
            return Err(Failure::usage("--verify hash and --append exclude each other"));
        }
        Ok(Self {
            representation,
            resume: options.has("continue"),
            append: options.has("append"),
            unique: options.has("unique"),
            no_clobber: options.has("no-clobber"),
            in_place: options.has("in-place"),
            create_directories: options.has("create-dirs"),
            preserve: options.has("preserve") || options.has("if-changed"),
            verify: verify.unwrap_or_default(),
            rate_limit: options.parsed("limit-rate", values::rate)?.map(RateLimit::new),
            retrying: Retrying::from_options(options)?,
            jobs: match (options.parsed("jobs", jobs)?.flatten(), most) {
                (None, usize::MAX) => None,
                // In active mode with given ports, connections beyond one are only taken if wanted.
                (jobs, most) => Some(jobs.unwrap_or(1).min(most)),
            },
            segments: options.parsed("segments", number)?.unwrap_or(1).min(most),
            temporary: temporary(options)?,
            removes_source,
            newer: options.has("newer"),
            if_changed: options.has("if-changed"),
            selection: selection(options)?,
            own: NamedFiles::of(options),
        })
    }

    /// Returns the options of the library for one file.
    pub(crate) fn of_file(&self, representation: RepresentationType) -> FileOptions {
        let existing = match () {
            () if self.no_clobber => Existing::Keep,
            () if self.newer => Existing::ReplaceOlder,
            () if self.if_changed => Existing::ReplaceDifferent,
            () => Existing::Replace,
        };
        let Selection([smallest, largest], [earliest, latest]) = self.selection;
        FileOptions::new()
            .representation(representation)
            .resume(self.how_to_resume())
            .existing(existing)
            .verify(self.verify)
            .sizes(smallest, largest)
            .times(earliest, latest)
            .most_bytes(largest)
            .moves(self.removes_source)
            .retried(self.retrying.is_on())
            .preserve(self.preserve)
            .creates_directories(self.create_directories)
            .rate_limit(self.rate_limit.clone())
            .journals(journals())
    }

    /// Returns what must prove that existing bytes are a part of the file.
    pub(crate) const fn how_to_resume(&self) -> Resume {
        match (self.resume, self.verify) {
            (false, _) => Resume::Own,
            (true, Verify::None) => Resume::Trusted,
            (true, _) => Resume::Proven,
        }
    }

    /// Returns whether each download sends only `RETR`, and possibly `SIZE` after it. Several such
    /// downloads can be requested at once.
    pub(crate) fn only_retrieves(&self) -> bool {
        let verifies = matches!(self.verify, Verify::Digest);
        self.segments == 1 && !(self.may_skip() || self.preserve || verifies)
    }

    /// Returns whether a file may be skipped, depending on the facts of both sides.
    pub(crate) fn may_skip(&self) -> bool {
        let selects = self.selection != Selection::default();
        let compares = self.resume || self.newer || self.if_changed || self.no_clobber;
        selects || compares || self.removes_source
    }

    /// Returns whether another connection may handle a file from the start that one has begun.
    pub(crate) fn repeats(&self) -> bool {
        let compares = self.newer || self.if_changed || self.no_clobber;
        !(compares || self.append || self.unique || self.removes_source)
    }

    /// Sets how the server stores an upload, and whether it may resume.
    pub(crate) fn store<'p>(&self, put: Put<'p>) -> Put<'p> {
        let store = match () {
            () if self.unique => StoreAs::Unique,
            () if self.append => StoreAs::Append,
            () => self.temporary.clone().into(),
        };
        put.store_as(store).resumable(self.resume)
    }

    /// Returns the transfer type for a URL: the option, else `;type=`, else image.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for ASCII with an option that counts bytes, because the conversion changes
    /// their number.
    pub(crate) fn representation(&self, url: &FtpUrl) -> Result<RepresentationType> {
        let representation =
            self.representation.or(url.representation()).unwrap_or(RepresentationType::Image);
        let counts = match self.verify {
            _ if self.resume => Some("--continue"),
            _ if self.removes_source => Some("--remove-source"),
            _ if self.if_changed => Some("--if-changed"),
            _ if self.segments > 1 => Some("--segments"),
            Verify::Size => Some("--verify size"),
            Verify::Digest => Some("--verify hash"),
            _ => None,
        };
        match counts {
            Some(what) if representation != RepresentationType::Image => {
                Err(Failure::usage(format!("{what} cannot be combined with --ascii or ;type=a")))
            }
            _ => Ok(representation),
        }
    }

    /// Checks that an upload from a file with the metadata `here` can be resumed, if `--continue` is
    /// given.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the file is not a regular file.
    pub(crate) fn check_source(&self, here: Option<&Metadata>) -> Result {
        match self.resume && here.is_some_and(|here| !here.is_file()) {
            true => Err(Failure::item(Exit::Usage, "--continue needs a regular file")),
            false => Ok(()),
        }
    }
}

/// Returns the directory for journals of uploads from directories that cannot be written, and
/// creates it if it is missing: `$XDG_STATE_HOME/ftp-cli`, else `~/.local/state/ftp-cli`.
pub(crate) fn journals() -> Option<PathBuf> {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    Some(state.or_else(|| system::state(set))?.join("ftp-cli"))
}

/// Reads `--temp[=PATTERN]`.
fn temporary(options: &Options) -> Result<Option<TemporaryName>> {
    let Some(pattern) = options.optional("temp") else { return Ok(None) };
    let Some(pattern) = pattern.map(OsStr::as_bytes) else {
        return Ok(Some(TemporaryName::standard()));
    };
    let wrong = || {
        let pattern = shown(pattern);
        Failure::usage(format!("--temp: invalid pattern \"{pattern}\": expected a name with one *"))
    };
    TemporaryName::parse(pattern).map(Some).ok_or_else(wrong)
}

/// The limits on files: the smallest and the largest size, the earliest and the latest time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Selection(pub(crate) [Option<u64>; 2], pub(crate) [Option<i64>; 2]);

/// Reads the limits on the files to transfer. Ages count from now.
///
/// # Errors
///
/// Returns `Usage` for an invalid value.
pub(crate) fn selection(options: &Options) -> Result<Selection> {
    let now = unix_time();
    let ago = |age: Duration| now - i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    let size = |name: &str| options.parsed(name, values::size);
    let time = |name: &str| options.parsed(name, values::duration).map(|age| age.map(ago));
    let sizes = [size("min-size")?, size("max-size")?];
    Ok(Selection(sizes, [time("max-age")?, time("min-age")?]))
}

#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a, 'j> {
    /// Whether it starts at byte 0, regardless of an earlier attempt.
    pub(crate) from_start: bool,
    /// The job, which knows what earlier attempts received.
    pub(crate) memory: &'a RefCell<Option<Get<'j>>>,
    /// Function that adds to each event of the transfer the fields that identify the transfer.
    pub(crate) fields: &'a (dyn Fn(Object) -> Object + Sync),
}

/// Shared state of a command's transfers, in all its threads.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a TransferOptions,
    pub(crate) board: Board,
    /// Receiver of messages, events and retries.
    pub(crate) witness: Witness,
    pub(crate) output: Output,
    pub(crate) targets: Targets,
    /// Whether the user has named one remote file, so that its refusal is worth more questions.
    pub(crate) is_of_one: bool,
    /// Whether standard output is a terminal that must not get binary data.
    pub(crate) refuses_binary: bool,
}

impl<'a> Context<'a> {
    /// Returns the context; `board` shows the progress.
    pub(crate) fn new(
        options: &Options,
        stdio: &Stdio,
        settings: &'a TransferOptions,
        cleanup: &Cleanup,
        board: Board,
    ) -> Self {
        Self {
            settings,
            board,
            witness: Witness::new(options, stdio, cleanup),
            output: stdio.output.clone(),
            targets: Targets::default(),
            is_of_one: false,
            refuses_binary: false,
        }
    }

    /// Prints a note that is not an error.
    pub(crate) fn note(&self, message: impl Display) {
        self.witness.messages.say_if(!self.witness.quiet, message);
    }

    /// Prints a note about an expected event only where successes are printed, so that a script
    /// stays silent. The log file always gets it.
    fn remark(&self, message: impl Display) {
        self.witness.messages.say_if(self.witness.talkative, message);
    }

    /// Checks that no limit has left out the file `name`, which the user has named.
    ///
    /// # Errors
    ///
    /// Returns `Partial` otherwise: a program that reads standard output or the exit code would take
    /// the file for complete.
    pub(crate) fn check_taken(done: &Done, name: &dyn Display) -> Result {
        let option = match done.skipped {
            Some(SkipReason::TooSmall) => "--min-size",
            Some(SkipReason::TooLarge) => "--max-size",
            Some(SkipReason::TooNew) => "--min-age",
            Some(SkipReason::TooOld) => "--max-age",
            _ => return Ok(()),
        };
        let why = done.skipped.map_or_else(String::new, |why| why.to_string());
        let message = format!("{name}: {why}: {option} leaves it out");
        Err(Failure::item(Exit::Partial, message))
    }

    /// Reports one file transferred from `source` to `target`; `fields` adds the fields of its
    /// events.
    pub(crate) fn report(
        &self,
        done: &Done,
        source: &dyn Display,
        target: &dyn Display,
        fields: &(dyn Fn(Object) -> Object + Sync),
    ) {
        if let Some(why) = done.skipped {
            self.note(format_args!("{target}: {why}, skipped"));
            self.witness.events.skipped(|| fields(Object::event("done")));
            return;
        }
        let object = || {
            let object = fields(Object::event("done"));
            let object = object.number("bytes", done.bytes).seconds("seconds", done.duration);
            let object = match &done.name {
                Some(name) => object.name("name", name),
                None => object,
            };
            object.text("verified", done.verified.as_str())
        };
        self.witness.events.done(object, done.bytes);
        self.witness.messages.usage.add(1, done.bytes);
        let mut moved = transferred(done.bytes, done.duration);
        if done.resumed > 0 {
            let before = rounded_size(done.resumed);
            moved.push_str(&format!(", resumed after {before}"));
        }
        self.remark(format_args!("{source} -> {target}: {moved}"));
    }
}

pub(crate) struct RemoteFile<'a> {
    pub(crate) place: Place,
    /// Name for messages: a URL, or a path.
    pub(crate) name: &'a (dyn Display + Sync),
    pub(crate) representation: RepresentationType,
    /// The login name, for `--remove-source`. For another user, the same path can lead to another
    /// file.
    pub(crate) user: Vec<u8>,
}

impl<'a> RemoteFile<'a> {
    /// Returns the file that a URL names for the login `user`.
    pub(crate) fn of(url: &'a FtpUrl, representation: RepresentationType, user: Vec<u8>) -> Self {
        Self { place: Place::of(url), name: url, representation, user }
    }
}

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
        Error::Refused { verb: Verb::Stor | Verb::Appe, .. } => remote::is_about_name(error),
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

/// Shows the events of one attempt.
pub(crate) struct TransferDisplay<'a> {
    context: &'a Context<'a>,
    /// The server's file, for messages.
    name: &'a (dyn Display + Sync),
    fields: Fields<'a>,
    /// The target of a download; `None` for an upload.
    target: Option<&'a Target>,
    meter: Mutex<Option<Meter<'a>>>,
}

impl<'a> TransferDisplay<'a> {
    /// Returns the display of an upload.
    pub(crate) fn new(
        context: &'a Context<'a>,
        name: &'a (dyn Display + Sync),
        fields: Fields<'a>,
    ) -> Self {
        Self { context, name, fields, target: None, meter: Mutex::default() }
    }

    /// Returns the display of a download.
    fn to(self, target: &'a Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Returns the failure of an upload: `Local` if the local file cannot be read, `Unsupported`
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

    /// Says why an upload begins at byte 0.
    fn begins_again(&self, why: Why) {
        let (is_usual, why) = reason(why);
        let message = format!("{}: {why}: uploading from the start", self.name);
        if is_usual { self.context.remark(message) } else { self.context.note(message) }
    }
}

impl Observer for TransferDisplay<'_> {
    fn event(&self, event: Event<'_>) {
        let Self { context, name, fields, target: local, .. } = self;
        let witness = &context.witness;
        let mut meter = lock(&self.meter);
        match event {
            Event::Begun { source, target, at, total, .. } => {
                let file = if local.is_some() { source } else { target };
                *meter = None;
                *meter = Some(context.board.begin(file, at, total, *fields));
            }
            Event::Moved { bytes } => {
                if let Some(meter) = meter.as_mut() {
                    meter.add(bytes);
                }
            }
            Event::FromZero { target, why } => match local {
                Some(local) => {
                    let is_target = target == local.name();
                    context.note(download::from_zero(&shown_local(target), why, is_target));
                }
                None => self.begins_again(why),
            },
            Event::Comparing { bytes, .. } if bytes >= LONG => {
                let size = rounded_size(bytes);
                context.note(format_args!("{name}: comparing the digests of {size} on both sides"));
            }
            Event::Note { note, .. } => {
                let is_shown = if local.is_some() { !witness.quiet } else { witness.talkative };
                witness.note(is_shown, &name.to_string(), &note, fields);
            }
            Event::Done { .. } => *meter = None,
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

fn failure_of(
    settings: &TransferOptions,
    client: &mut Client,
    sent: &[u8],
    error: &Error,
) -> Failure {
    match error {
        Error::Local(error) => Failure { fatal: !client.is_settled(), ..local(error) },
        Error::Incomplete { bytes, announced: Some(here), .. } => wrong_size(*here, *bytes),
        Error::Unsupported(Unsupported::UnknownIac) => error.into(),
        Error::Unsupported(what) if settings.no_clobber => {
            Failure::item(Exit::Unsupported, format!("--no-clobber: {what}"))
        }
        Error::Unsupported(what) if matches!(settings.verify, Verify::IfKnown | Verify::None) => {
            Failure::item(Exit::Unsupported, what.to_string())
        }
        Error::Job(fault) => faulty(fault, error),
        Error::Refused { verb: Verb::Appe, .. } if settings.append => {
            let hint = "; without --append, the upload replaces the server's file";
            Failure::from(error).hinted(hint)
        }
        Error::Refused { verb: Verb::Stor, .. }
            if settings.representation == Some(RepresentationType::Ascii) =>
        {
            Failure::from(error).hinted("; -a is --ascii: to append to a file, use --append")
        }
        Error::Refused { verb: Verb::Stor, .. } if settings.temporary.is_some() => {
            Failure::from(error).context(Escaped(sent))
        }
        Error::Refused { verb: Verb::Appe, reply, .. }
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
        error => unverified(error, settings.verify).unwrap_or_else(|| error.into()),
    }
}

/// Returns the failure of a file that cannot be verified as `--verify` demands; `None` for another
/// error.
pub(crate) fn unverified(error: &Error, verify: Verify) -> Option<Failure> {
    use Verb::{Hash, Xcrc, Xmd5, Xsha, Xsha1, Xsha256, Xsha512};
    let (option, why) = match (error, verify) {
        (Error::Unsupported(Unsupported::UnknownIac), _) => return None,
        (Error::Unsupported(what), Verify::Size) => ("size", what.to_string()),
        (Error::Unsupported(what), Verify::Digest) => ("hash", what.to_string()),
        (Error::Refused { verb: Hash | Xcrc | Xmd5 | Xsha | Xsha1 | Xsha256 | Xsha512, .. }, _) => {
            ("hash", Failure::from(error).message)
        }
        _ => return None,
    };
    Some(Failure::item(Exit::Unsupported, format!("--verify {option}: {why}")))
}

/// Returns the failure of a whole upload, or of a move.
fn faulty(fault: &JobFault, error: &Error) -> Failure {
    let item = |message: String| Failure { fatal: false, message, ..Failure::from(error) };
    match fault {
        JobFault::Longer { .. } => item(format!("{fault}; to replace it, omit --continue")),
        JobFault::LocalChanged => item(format!("{fault}; use --verify none to accept that")),
        JobFault::SameFile => item(format!("{fault}; use --temp if they are not")),
        JobFault::NoName => item(format!("--verify: {fault}")),
        JobFault::NoTime | JobFault::NotTimed(_) => item(format!("--preserve: {fault}")),
        JobFault::Appended(cause) => {
            let failure = Failure::from(&**cause);
            let message = format!("{}; the number of appended bytes is unknown", failure.message);
            Failure { exit: Exit::from(error.kind()), message, ..failure }.never_retried()
        }
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
        Error::Job(JobFault::OtherSource) => format!("{}; run the command again", failure.message),
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
            system::await_input(canceller)?;
            if canceller.is_cancelled() {
                return Err(interrupted());
            }
        }
        let length = self.input.read(buffer)?;
        // Ctrl-C also ends the program that writes to the pipe: its data may be cut.
        if length == 0 && self.cleanup.canceller().is_some_and(Canceller::is_cancelled) {
            return Err(interrupted());
        }
        Ok(length)
    }
}

fn interrupted() -> io::Error {
    io::Error::other("interrupted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_stay_in_the_directory() {
        for (pattern, name, want) in [
            (".in.*", "a", Some(".in.a")),
            ("*.tmp", "a b", Some("a b.tmp")),
            ("x*y", "d/a", Some("d/xay")),
            (".in.*", "/a", Some("/.in.a")),
            ("*", "a", None),
            ("tmp", "a", None),
            ("**", "a", None),
            ("d/*", "a", None),
            ("*\n", "a", None),
            ("", "a", None),
        ] {
            let temporary = TemporaryName::parse(pattern.as_bytes());
            let found = temporary.map(|temporary| temporary.of(name.as_bytes()));
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{pattern} {name}");
        }
    }
}
