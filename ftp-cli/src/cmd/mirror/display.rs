//! Turns the events of a mirror into messages, progress and events of `--json`.

use std::collections::HashMap;
use std::sync::Mutex;

use ftp_client::file::{Verify, Why};
use ftp_client::tree::{Summary, TreeFault};
use ftp_client::{Error, Event, Observer};

use super::{End, Ends, Mirror};
use crate::connect::{Retrying, Witness};
use crate::console::output::{rounded_size, shown};
use crate::console::{Board, Meter};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::report::{Object, Tally};
use crate::transfer::{self, LONG, download};

/// Returns the message about deletions that did not take place. In a deploy, each failure says what
/// cures it.
pub(super) fn withheld(first: &TreeFault, ignores_errors: bool, is_deploy: bool) -> String {
    let hint = match is_deploy {
        true => "",
        false => "; use --ignore-errors to delete in unaffected directories",
    };
    match ignores_errors {
        true => format!("nothing deleted where objects failed; first failure: {first}"),
        false => format!(
            "nothing deleted, because objects of SRC may be missing in DST; first failure: {first}{hint}"
        ),
    }
}

pub(super) struct MirrorDisplay<'a> {
    ends: Ends<'a>,
    observer: &'a Witness,
    retrying: Retrying,
    board: &'a Board,
    /// Whether to print a line for each object.
    each: bool,
    /// Whether the target has a list of what was deployed.
    is_deploy: bool,
    tally: Mutex<Tally<'a>>,
    meters: Mutex<HashMap<Vec<u8>, Meter<'a>>>,
}

impl<'a> MirrorDisplay<'a> {
    pub(super) fn new(
        mirror: &Mirror<'_>,
        ends: Ends<'a>,
        board: &'a Board,
        observer: &'a Witness,
        all: usize,
    ) -> Self {
        let Witness { messages, events, .. } = observer;
        let tally = Tally::new(all, "objects mirrored", messages, events);
        Self {
            ends,
            observer,
            retrying: mirror.wanted.transfer.retrying,
            board,
            each: mirror.options.is_verbose(),
            is_deploy: mirror.options.has("manifest"),
            tally: Mutex::new(tally),
            meters: Mutex::default(),
        }
    }

    /// Returns the result of the run.
    ///
    /// # Errors
    ///
    /// Returns the failure of the only step, or a failure with the counts. Returns the failure that
    /// ended the run before its first step.
    pub(super) fn finish(self, summary: &Summary, result: Result<(), Error>) -> Result {
        let mut tally = self.tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        tally.done = summary.done;
        match result {
            Err(error) if tally.fatal().is_none() => Err(Failure::from(&error)),
            // Each file of a deploy that others have changed is one that failed.
            _ => tally.finish().map_err(|failure| match failure.exit {
                Exit::Integrity if self.is_deploy => Failure { exit: Exit::Partial, ..failure },
                _ => failure,
            }),
        }
    }

    fn changed(&self, path: &[u8], what: &str, bytes: u64, verified: Option<Verify>) {
        let event = || {
            let event = self.ends.name(Object::event("done"), path).text("action", what);
            let event = event.number("bytes", bytes);
            event.text_if("verified", verified.map(Verify::as_str))
        };
        self.observer.events.done(event, bytes);
        // Each removal is printed, with or without a terminal.
        let is_said = self.each || what.ends_with("removed") && !self.observer.quiet;
        // The plan of `--dry-run` has the same verbs.
        let verb = match what {
            "mode set" => "set mode of",
            "source removed" => "removed source",
            verb => verb,
        };
        self.observer.messages.say_if(is_said, format_args!("{verb} {}", shown(path)));
    }

    fn renamed(&self, from: &[u8], path: &[u8]) {
        let event = || {
            let event = self.ends.name(Object::event("done"), path).text("action", "renamed");
            event.name("from", &self.ends.target.named(from)).number("bytes", 0)
        };
        self.observer.events.done(event, 0);
        let is_said = !self.observer.quiet;
        let message = format!("renamed {} to {}", shown(from), shown(path));
        self.observer.messages.say_if(is_said, message);
    }

    /// Says why existing bytes of the target are not used.
    fn begins_again(&self, path: &[u8], why: Why) {
        match matches!(self.ends.target, End::Remote(_)) {
            true => {
                let (is_usual, why) = transfer::reason(why);
                // A nightly run with the same names meets the files of yesterday.
                if !is_usual || self.each {
                    self.say_unless_quiet(path, &format!("{why}: uploading from the start"));
                }
            }
            false => {
                let message = download::from_zero(&shown(path), why, false);
                self.observer.messages.say_if(!self.observer.quiet, message);
            }
        }
    }

    fn say_unless_quiet(&self, path: &[u8], what: &str) {
        let Witness { messages, quiet, .. } = self.observer;
        messages.say_if(!quiet, format_args!("{}: {what}", shown(path)));
    }

    fn of(&self, path: &[u8], event: &Event<'_>) {
        match event {
            Event::Begun { at, total, .. } => {
                let (ends, own) = (self.ends, path.to_vec());
                let fields = move |object: Object| ends.name(object, &own);
                // The meter of an earlier attempt ends before the next one begins.
                lock(&self.meters).remove(path);
                let meter = self.board.begin(path, *at, *total, fields);
                lock(&self.meters).insert(path.to_vec(), meter);
            }
            Event::Moved { bytes } => {
                if let Some(meter) = lock(&self.meters).get_mut(path) {
                    meter.add(*bytes);
                }
            }
            Event::Done { bytes, verified, .. } => {
                lock(&self.meters).remove(path);
                self.changed(path, "copied", *bytes, Some(*verified));
            }
            Event::FromZero { why, .. } => self.begins_again(path, *why),
            Event::Comparing { bytes, .. } if *bytes >= LONG => {
                let size = rounded_size(*bytes);
                let what = format!("comparing the digests of {size} on both sides");
                self.say_unless_quiet(path, &what);
            }
            Event::Note { note, .. } => {
                let fields = |object: Object| self.ends.name(object, path);
                self.observer.note(self.each, &shown(path), note, &fields);
            }
            Event::Retry { attempt, why, pause } => {
                let fields = |object: Object| self.ends.name(object, path);
                let next = (*attempt, *why, *pause);
                self.retrying.announce(next, self.observer, &shown(path), &fields);
            }
            _ => {}
        }
    }
}

impl Observer for MirrorDisplay<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Of { path, event } => self.of(path, event),
            Event::Made { path } => self.changed(path, "made", 0, None),
            Event::Linked { path } => self.changed(path, "linked", 0, None),
            Event::ModeSet { path } => self.changed(path, "mode set", 0, None),
            Event::Renamed { from, path } => self.renamed(from, path),
            Event::Removed { path } => self.changed(path, "removed", 0, None),
            Event::SourceRemoved { path } => self.changed(path, "source removed", 0, None),
            Event::Failed { path, why } => {
                lock(&self.meters).remove(path);
                let failure = self.observer.last(&shown(path), why.into());
                let fields = |error: Object| match path {
                    // The message of a failure of the plan names its object.
                    b"" => error,
                    path => self.ends.name(error, path),
                };
                let _ = lock(&self.tally).failed(failure, fields);
            }
            Event::Withheld { first, ignores_errors } => {
                self.observer.messages.say(withheld(first, ignores_errors, self.is_deploy));
            }
            _ => {}
        }
    }

    fn wants_bytes(&self) -> bool {
        !self.board.is_hidden()
    }
}
