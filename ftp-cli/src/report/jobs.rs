//! Counts the items that were done, failed or not tried, and derives the exit code.

use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use ftp_client::pool::Repeat;
use ftp_client::{Client, Error, Place};
use ftp_proto::{FtpUrl, Pathname, RepresentationType};

use super::events::Events;
use crate::connect::{RefusedLogins, RetryObserver, Retrying, Sessions};
use crate::console::{Cleanup, Messages, Stdio, is_talkative};
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;
use ftp_server::daemon::json::Object;

/// Counter of a command's items. Reports each failure at once, except a fatal failure and the
/// failure of the only item: [`finish`](Self::finish) returns their messages. After a failure, the
/// exit code is that of the only item, or of the signal that ended the run. Otherwise it is
/// `Partial` if other items were done, else that of the last failure.
pub(crate) struct Tally<'a> {
    all: usize,
    done: usize,
    failed: usize,
    /// Description of items and action, such as `files sent`.
    what: &'static str,
    last: Option<Failure>,
    messages: &'a Messages,
    events: &'a Events,
}

impl<'a> Tally<'a> {
    /// Returns a counter for `all` items. `what` completes the message "2 of 3", for example with
    /// `files sent`.
    pub(crate) const fn new(
        all: usize,
        what: &'static str,
        messages: &'a Messages,
        events: &'a Events,
    ) -> Self {
        Self { all, done: 0, failed: 0, what, last: None, messages, events }
    }

    /// Counts an item that was done, or skipped on purpose.
    pub(crate) const fn done(&mut self) {
        self.done += 1;
    }

    /// Sets the number of items that were done, or skipped on purpose.
    pub(crate) const fn done_of(&mut self, done: usize) {
        self.done = done;
    }

    /// Counts a failed item; `fields` adds the fields of its `error` event. Returns `Break` if no
    /// other item can succeed.
    pub(crate) fn failed(
        &mut self,
        mut failure: Failure,
        fields: impl FnOnce(Object) -> Object,
    ) -> ControlFlow<()> {
        self.events.failed(&failure, fields);
        failure.reported = true;
        self.failed += 1;
        let fatal = failure.fatal;
        // A fatal failure is part of the last message.
        if self.all > 1 && !fatal {
            self.messages.say(&failure.message);
        }
        self.last = Some(failure);
        if fatal { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Returns the failure that ended the work early, if any.
    pub(crate) fn fatal(&self) -> Option<&Failure> {
        self.last.as_ref().filter(|last| last.fatal)
    }

    /// Returns the result of all items.
    ///
    /// # Errors
    ///
    /// Returns the failure itself if there was only one item, otherwise a failure with the counts.
    pub(crate) fn finish(self) -> Result {
        let Self { all, done, failed, what, last, .. } = self;
        let left = all.saturating_sub(done + failed);
        self.events.not_tried(left);
        let Some(last) = last else { return Ok(()) };
        if all == 1 {
            return Err(last);
        }
        let counts = format!("{done} of {all} {what}, {failed} failed, {left} not tried");
        let message = if last.fatal { format!("{}; {counts}", last.message) } else { counts };
        Err(last.of_run(done, message))
    }
}

/// Receiver of results.
pub(crate) struct Reporter {
    pub(crate) messages: Messages,
    pub(crate) events: Events,
    /// Whether to print successes.
    pub(crate) is_talkative: bool,
    /// Number of objects that were handled.
    handled: AtomicU64,
}

impl Reporter {
    /// Returns a reporter for these options.
    pub(crate) fn new(options: &Options, stdio: &Stdio) -> Self {
        let messages = stdio.messages.clone();
        let events = stdio.events.clone();
        let is_talkative = is_talkative(options, stdio);
        Self { messages, events, is_talkative, handled: AtomicU64::new(0) }
    }

    /// Reports the outcome of an object; `event` is its `done` event.
    pub(crate) fn report(
        &self,
        outcome: Outcome,
        object: impl Display,
        event: impl FnOnce() -> Object,
    ) {
        match outcome {
            Outcome::Reported => {}
            Outcome::Done(words) => {
                self.done(words, object);
                self.events.done(event, 0);
            }
            Outcome::Skipped(words) => {
                self.done(words, object);
                self.events.skipped(event);
            }
        }
    }

    /// Reports that an object was handled.
    pub(crate) fn done(&self, what: &str, object: impl Display) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.messages.say_if(self.is_talkative, format_args!("{object}: {what}"));
    }
}

/// Outcome of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Done; the text is for the message.
    Done(&'static str),
    /// Skipped without an error; the text is for the message.
    Skipped(&'static str),
    /// Done, and reported already.
    Reported,
}

/// Runs `act` on the object of each URL, in order, over one control connection per server, with the
/// retries that `--retry` sets. A connection that is lost after it has handled an object is replaced
/// without one. `act` gets the memory of its earlier attempts at the object. `what` completes the
/// message "2 of 3", for example with `objects removed`.
///
/// # Errors
///
/// Before anything is sent, returns `Usage` for an invalid URL or option, and the errors of
/// [`Cleanup::start`]. Then returns the errors of [`Tally::finish`].
pub(crate) fn for_each_url(
    options: &Options,
    stdio: &mut Stdio,
    urls: &[FtpUrl],
    what: &'static str,
    mut act: impl FnMut(&mut Client, &FtpUrl, &Reporter, &mut Repeat) -> Result<Outcome>,
) -> Result {
    let retrying = Retrying::from_options(options)?;
    let cleanup = Cleanup::start(options, stdio)?;
    let mut sessions = Sessions::new(options, stdio, &cleanup)?;
    if options.has("recursive") {
        sessions.expect_listing(RepresentationType::Ascii);
    }
    let reporter = Reporter::new(options, stdio);
    let witness = RetryObserver::new(options, stdio, &cleanup);
    let mut tally = Tally::new(urls.len(), what, &reporter.messages, &reporter.events);
    let mut refused = RefusedLogins::default();
    let handled = || reporter.handled.load(Ordering::Relaxed);
    // What was handled when the last connection was lost.
    let mut before_loss = 0;
    for url in urls {
        if refused.has(url) {
            continue;
        }
        let fields = |object: Object| object.text("source", &url.to_string());
        let mut repeat = retrying.memory();
        let outcome = retrying.run(&witness, url, &fields, |_| {
            loop {
                let outcome = act(sessions.client(url)?, url, &reporter, &mut repeat);
                sessions.drop_ended(url, &outcome);
                let Err(failure) = outcome else { return outcome };
                // Some servers close a connection after a number of commands.
                if failure.exit != Exit::Network || handled() == before_loss {
                    return Err(failure.context(url));
                }
                before_loss = handled();
            }
        });
        let flow = match outcome {
            Ok(outcome) => {
                tally.done();
                reporter.report(outcome, url, || fields(Object::event("done")));
                ControlFlow::Continue(())
            }
            Err(failure) => tally.failed(refused.note(url, failure), fields),
        };
        if flow.is_break() {
            break;
        }
    }
    sessions.quit(tally.fatal());
    tally.finish()
}

/// Runs `act` with the path of a URL. If the server does not accept the path as a whole, enters its
/// directories one by one and runs `act` again.
///
/// # Errors
///
/// Returns errors of `act`, and of entering the directories.
pub(crate) fn at<T>(
    client: &mut Client,
    url: &FtpUrl,
    mut act: impl FnMut(&mut Client, &[u8]) -> Result<T, Error>,
) -> Result<T> {
    let mut place = Place::of(url);
    loop {
        match act(client, place.path()) {
            Ok(done) => return Ok(done),
            Err(error) if place.enter(client, &error)? => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Checks that a URL names an object that can be created, moved or removed: not the login
/// directory, the root, `.` or `..`.
///
/// # Errors
///
/// Returns `Usage` if it does not.
pub(crate) fn is_named(url: &FtpUrl) -> Result {
    let (_, name) = Pathname::split(url.path());
    match name {
        b"" | b"." | b".." => {
            Err(Failure::usage(format!("{url}: expected a URL that ends in a name")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
