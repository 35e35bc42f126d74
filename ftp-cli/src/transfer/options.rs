//! The parsed options of transfers. Each of `get`, `put`, `batch`, `mirror` and `fxp` accepts only
//! some of them.
//! Also selects files by size and age, and holds what the transfers of a command share: progress and
//! results.

pub(crate) use ftp_client::file::{TemporaryName, Verify};

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use ftp_client::file::{Existing, Selection, StoreAs, Targets};
use ftp_client::{Done, FileOptions, Get, Place, RateLimit, Resume};
use ftp_proto::{FtpUrl, RepresentationType};

use crate::connect::{RetryObserver, Retrying, dialler};
use crate::console::{Board, Cleanup, Output, Stdio, is_talkative};
use crate::display::{self, shown};
use crate::exit::{Failure, Result};
use crate::options::{Options, values};
use crate::report::Object;

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
            let message = "--verify hash and --append exclude each other";
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
        FileOptions::new()
            .representation(representation)
            .resume(self.how_to_resume())
            .existing(existing)
            .verify(self.verify)
            .only(self.selection)
            .most_bytes(self.selection.largest())
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
        let selects = self.selection.needs_time() || self.selection.needs_size();
        let compares = self.resume || self.newer || self.if_changed || self.no_clobber;
        selects || compares || self.removes_source
    }

    /// Returns how the server stores an upload.
    pub(crate) fn store_as(&self) -> StoreAs {
        match &self.temporary {
            _ if self.unique => StoreAs::Unique,
            _ if self.append => StoreAs::Append,
            Some(name) => StoreAs::Under(name.clone()),
            None => StoreAs::Final,
        }
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
}

/// Returns the directory for journals of uploads from directories that cannot be written, and
/// creates it if it is missing: `$XDG_STATE_HOME/ftp-cli`, else `~/.local/state/ftp-cli`.
pub(crate) fn journals() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = set("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/state")))?;
    Some(state.join("ftp-cli"))
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

/// Reads the limits on the files to transfer. Ages count from now.
///
/// # Errors
///
/// Returns `Usage` for an invalid value.
pub(crate) fn selection(options: &Options) -> Result<Selection> {
    let now = display::unix_time();
    let ago = |age: Duration| now - i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    let size = |name: &str| options.parsed(name, values::size);
    let time = |name: &str| options.parsed(name, values::duration).map(|age| age.map(ago));
    let selection = Selection::default().sizes(size("min-size")?, size("max-size")?);
    Ok(selection.times(time("max-age")?, time("min-age")?))
}

/// One attempt at a download.
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
    pub(crate) witness: RetryObserver,
    pub(crate) output: Output,
    /// All local targets of the run.
    pub(crate) targets: Targets,
    /// Whether to print successes.
    talkative: bool,
    /// Whether the user has named one remote file, so that its refusal is worth more questions.
    pub(crate) is_of_one: bool,
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
            witness: RetryObserver::new(options, stdio, cleanup),
            output: stdio.shared_output.clone(),
            targets: Targets::default(),
            talkative: is_talkative(options, stdio),
            is_of_one: false,
        }
    }

    /// Prints a note that is not an error.
    pub(crate) fn note(&self, message: impl Display) {
        self.witness.messages.say_if(!self.witness.quiet, message);
    }

    /// Prints a note about an expected event only where successes are printed, so that a script
    /// stays silent. The log file always gets it.
    pub(crate) fn remark(&self, message: impl Display) {
        self.witness.messages.say_if(self.talkative, message);
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
        self.witness.messages.usage().add(1, done.bytes);
        let mut moved = display::transferred(done.bytes, done.duration);
        if done.resumed > 0 {
            let before = display::size(done.resumed);
            moved.push_str(&format!(", resumed after {before}"));
        }
        self.witness.messages.say_if(self.talkative, format_args!("{source} -> {target}: {moved}"));
    }
}

/// A remote file.
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
