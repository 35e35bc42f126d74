//! Shared state of a command's transfers: progress and results.

use std::cell::RefCell;
use std::fmt::Display;

use ftp_client::{Done, Get, Place, Targets};
use ftp_proto::{FtpUrl, RepresentationType};

use super::options::TransferOptions;
use crate::connect::retry::RetryObserver;
use crate::console::messages::Messages;
use crate::console::output::Output;
use crate::console::progress::{Board, is_talkative};
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::display;
use crate::options::Options;
use crate::report::events::Events;
use crate::report::json::Object;

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
    pub(crate) cleanup: &'a Cleanup,
    pub(crate) board: Board,
    pub(crate) messages: Messages,
    pub(crate) events: Events,
    pub(crate) output: Output,
    /// All local targets of the run.
    pub(crate) targets: Targets,
    /// Whether to print only errors.
    pub(crate) quiet: bool,
    /// Whether to print successes.
    talkative: bool,
}

impl<'a> Context<'a> {
    /// Returns the context; `board` shows the progress.
    pub(crate) fn new(
        options: &Options,
        stdio: &Stdio,
        settings: &'a TransferOptions,
        cleanup: &'a Cleanup,
        board: Board,
    ) -> Self {
        Self {
            settings,
            cleanup,
            board,
            messages: stdio.messages.clone(),
            events: stdio.events.clone(),
            output: stdio.shared_output.clone(),
            targets: Targets::default(),
            quiet: options.is_quiet(),
            talkative: is_talkative(options, stdio),
        }
    }

    /// Returns the receiver of retry messages.
    pub(crate) fn witness(&self) -> RetryObserver<'_> {
        let canceller = self.cleanup.canceller();
        RetryObserver {
            messages: &self.messages,
            events: &self.events,
            canceller,
            quiet: self.quiet,
        }
    }

    /// Prints a note that is not an error.
    pub(crate) fn note(&self, message: impl Display) {
        self.messages.say_if(!self.quiet, message);
    }

    /// Prints a note about an expected event only where successes are printed, so that a script
    /// stays silent. The log file always gets it.
    pub(crate) fn remark(&self, message: impl Display) {
        self.messages.say_if(self.talkative, message);
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
            self.events.skipped(|| fields(Object::event("done")));
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
        self.events.done(object, done.bytes);
        let mut moved = display::transferred(done.bytes, done.duration);
        if done.resumed > 0 {
            let before = display::size(done.resumed);
            moved.push_str(&format!(", resumed after {before}"));
        }
        self.messages.say_if(self.talkative, format_args!("{source} -> {target}: {moved}"));
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
