//! What all transfers of a command have in common: their options, where they show what they do,
//! and what they come to. `download.rs` and `upload.rs` move one file each.

pub(crate) mod download;
pub(crate) mod local_file;
pub(crate) mod target;
pub(crate) mod upload;

use std::fmt::Display;
use std::time::Duration;

use ftp_client::{Checksum, Client, Digest, Error, Place, RateLimit};
use ftp_proto::{FtpUrl, RepresentationType};

use crate::connect::retry::{Retrying, Witness};
use crate::console::messages::Messages;
use crate::console::output::Output;
use crate::console::progress::{Board, When, is_talkative};
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::display::{self, shown};
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::values;
use crate::report::events::Events;
use crate::report::json::Object;

/// As many connections as `--jobs` may have.
const JOBS: usize = 64;

/// What `--verify` asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verify {
    /// Nothing was said: the size, if the server tells it.
    BestEffort,
    None,
    Size,
    Hash,
}

/// How a transfer was found to be whole, beyond the server's word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verified {
    None,
    Size,
    Hash,
}

impl Verified {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Size => "size",
            Self::Hash => "hash",
        }
    }
}

/// The options of the group transfer.
#[derive(Clone)]
pub(crate) struct Settings {
    /// `--ascii` or `--binary`, which count for more than the URL.
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
    pub(crate) jobs: usize,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// `Usage`: a value that is none, or two options that contradict each other.
    pub(crate) fn from_options(options: &Options) -> Result<Self, Failure> {
        let representation = match options.last_of(&["ascii", "binary"]) {
            Some("ascii") => Some(RepresentationType::Ascii),
            Some(_) => Some(RepresentationType::Image),
            None => None,
        };
        let words = [("none", Verify::None), ("size", Verify::Size), ("hash", Verify::Hash)];
        let verify = options.parsed("verify", |text| values::word(text, &words))?;
        let jobs = |text: &str| match text.parse() {
            Ok(jobs @ 1..=JOBS) => Ok(jobs),
            _ => Err(format!("\"{text}\" is not a number from 1 to {JOBS}")),
        };
        let exclusive = [("append", "continue"), ("unique", "continue"), ("unique", "append")];
        for (one, other) in exclusive.into_iter().chain([("no-clobber", "append")]) {
            if options.has(one) && options.has(other) {
                let message = format!("--{one} and --{other} exclude each other");
                return Err(Failure::usage(message));
            }
        }
        if options.has("append") && verify == Some(Verify::Hash) {
            let message = "--verify hash is about whole files, --append about their ends";
            return Err(Failure::usage(message));
        }
        Ok(Self {
            representation,
            resume: options.has("continue"),
            append: options.has("append"),
            unique: options.has("unique"),
            no_clobber: options.has("no-clobber"),
            in_place: options.has("in-place"),
            create_directories: options.has("create-dirs"),
            preserve: options.has("preserve"),
            verify: verify.unwrap_or(Verify::BestEffort),
            rate_limit: options.parsed("limit-rate", values::rate)?.map(RateLimit::new),
            retrying: Retrying::from_options(options)?,
            jobs: options.parsed("jobs", jobs)?.unwrap_or(1),
        })
    }

    /// The type in which the file of a URL is moved: by option, else by `;type=`, else image.
    ///
    /// # Errors
    ///
    /// `Usage` if another option counts bytes, which ASCII changes.
    pub(crate) fn representation(&self, url: &FtpUrl) -> Result<RepresentationType, Failure> {
        let representation =
            self.representation.or(url.representation()).unwrap_or(RepresentationType::Image);
        let counts = match self.verify {
            _ if self.resume => Some("--continue counts"),
            Verify::Size => Some("--verify size counts"),
            Verify::Hash => Some("--verify hash is about"),
            _ => None,
        };
        match counts {
            Some(what) if representation != RepresentationType::Image => {
                Err(Failure::usage(format!("{what} bytes, which --ascii changes")))
            }
            _ => Ok(representation),
        }
    }
}

/// What the transfers of a command share, in all its threads.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) cleanup: &'a Cleanup,
    pub(crate) board: Board,
    pub(crate) messages: Messages,
    pub(crate) events: Events,
    pub(crate) output: Output,
    /// Whether only errors are said.
    pub(crate) quiet: bool,
    /// Whether success is worth a word.
    talkative: bool,
}

impl<'a> Context<'a> {
    /// For `files` files, which have `total` bytes together, if that is known; `when` is when
    /// progress is shown.
    pub(crate) fn new(
        options: &Options,
        stdio: &Stdio,
        settings: &'a Settings,
        cleanup: &'a Cleanup,
        (when, files, total): (When, usize, Option<u64>),
    ) -> Self {
        Self {
            settings,
            cleanup,
            board: Board::new(when, stdio, files, total),
            messages: stdio.messages.clone(),
            events: stdio.events.clone(),
            output: stdio.shared_output.clone(),
            quiet: options.is_quiet(),
            talkative: is_talkative(options, stdio),
        }
    }

    /// Whom a retry is announced to.
    pub(crate) fn witness(&self) -> Witness<'_> {
        let canceller = self.cleanup.canceller();
        Witness { messages: &self.messages, events: &self.events, canceller, quiet: self.quiet }
    }

    /// Says something that is not an error, and yet not what was expected.
    pub(crate) fn note(&self, message: impl Display) {
        if !self.quiet {
            self.messages.say(message);
        }
    }

    /// Tells people and programs of one file that was moved from `source` to `target`, as people
    /// are shown them; `about` are the fields of its events.
    pub(crate) fn report(
        &self,
        done: &Done,
        source: &dyn Display,
        target: &dyn Display,
        about: &dyn Fn(Object) -> Object,
    ) {
        if let Some(why) = done.skipped {
            self.note(format_args!("{target}: {why}, skipped"));
            self.events.skipped(&|| about(Object::event("done")));
            return;
        }
        let object = || {
            let object = about(Object::event("done"));
            let object = object.number("bytes", done.bytes).seconds("seconds", done.time);
            let object = match &done.unique {
                Some(name) => object.name("name", name),
                None => object,
            };
            object.text("verified", done.verified.as_str())
        };
        self.events.done(&object, done.bytes);
        if self.talkative {
            let moved = display::transferred(done.bytes, done.time);
            self.messages.say(format_args!("{source} -> {target}: {moved}"));
        }
    }
}

/// A file on a server.
pub(crate) struct Remote<'a> {
    pub(crate) place: Place,
    /// What it is called in messages: a URL, or a path.
    pub(crate) name: &'a dyn Display,
    pub(crate) representation: RepresentationType,
}

impl<'a> Remote<'a> {
    /// The file of a URL.
    pub(crate) fn of(url: &'a FtpUrl, representation: RepresentationType) -> Self {
        Self { place: Place::of(url), name: url, representation }
    }
}

/// What became of one file.
#[derive(Debug)]
pub(crate) struct Done {
    /// Bytes that were moved.
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    pub(crate) verified: Verified,
    /// Why it was left alone, if it was.
    pub(crate) skipped: Option<&'static str>,
    /// The name that the server chose (`--unique`), if it told.
    pub(crate) unique: Option<Vec<u8>>,
}

impl Done {
    pub(crate) const fn moved(bytes: u64, time: Duration) -> Self {
        Self { bytes, time, verified: Verified::None, skipped: None, unique: None }
    }

    pub(crate) fn skipped(why: &'static str) -> Self {
        Self { skipped: Some(why), ..Self::moved(0, Duration::ZERO) }
    }
}

/// The digest for `--verify hash`, by the first algorithm that the server lists and that is computed
/// here.
///
/// # Errors
///
/// `Unsupported` if there is none.
pub(crate) fn checksum(client: &mut Client) -> Result<Checksum, Failure> {
    Checksum::for_server(client)?.ok_or_else(|| {
        let message = "--verify hash: the server computes no digest that is known here";
        Failure::new(Exit::Unsupported, message).alone()
    })
}

/// Compares the server's digest of the file at `path` with `ours`.
///
/// # Errors
///
/// `Integrity` if they differ; what the client says if there is none.
pub(crate) fn compare_digest(
    client: &mut Client,
    path: &[u8],
    ours: &Digest,
) -> Result<(), Failure> {
    client.compare_hash(path, ours).map_err(|error| match error {
        Error::Refused(..) | Error::Unsupported(_) => {
            let message = format!("--verify hash: {}", Failure::from(&error).message);
            Failure::new(Exit::Unsupported, message).alone()
        }
        Error::Mismatch { .. } => Failure::from(&error).alone(),
        error => error.into(),
    })
}

/// Compares the size of the file at `path` with `bytes`, as `verify` asks for.
///
/// # Errors
///
/// `Integrity` if it is another; where the size was asked for, `Unsupported` if the server does not
/// tell, and what the client says.
pub(crate) fn check_size(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    verify: Verify,
) -> Result<Verified, Failure> {
    if verify == Verify::None {
        return Ok(Verified::None);
    }
    let size = match (verify, client.size(path)) {
        (_, Ok(Some(size))) => Some(size),
        // The transfer itself was confirmed: whatever goes wrong now takes nothing from that.
        (Verify::BestEffort | Verify::Hash | Verify::None, _) => None,
        (Verify::Size, Ok(None)) => client.stat(path)?.and_then(|entry| entry.size),
        (Verify::Size, Err(error)) => return Err(error.into()),
    };
    match size {
        Some(size) if size != bytes => Err(wrong_size(bytes, size)),
        Some(_) => Ok(Verified::Size),
        None if verify == Verify::Size => {
            let path = shown(path);
            let message = format!("--verify size: the server does not tell the size of {path}");
            Err(Failure::new(Exit::Unsupported, message).alone())
        }
        None => Ok(Verified::None),
    }
}

pub(crate) fn wrong_size(bytes: u64, size: u64) -> Failure {
    let message = format!("size mismatch: {bytes} bytes here, {size} on the server");
    Failure::new(Exit::Integrity, message).alone()
}
