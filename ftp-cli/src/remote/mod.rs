//! Acts on the remote objects of a command one after the other, and reports each result. Finds
//! objects by pattern, formats them, and asks a server why it refused a path, to say what to type
//! instead. The texts of refusals differ between servers, so they decide nothing.

pub(crate) mod pattern;
pub(crate) mod show_entry;

use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use ftp_client::pool::Repeat;
use ftp_client::{Client, Error, Place};
use ftp_proto::{Escaped, FtpUrl, Pathname};

use crate::connect::{RefusedLogins, Retrying, Sessions, Witness};
use crate::console::{Cleanup, Stdio};
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;
use crate::report::{Object, Tally};

impl Witness {
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
            Outcome::Moved(to) => {
                self.done(&format!("moved to {}", Escaped(&to)), object);
                self.events.done(event, 0);
            }
            Outcome::Skipped(words) => {
                self.done(words, object);
                self.events.skipped(event);
            }
        }
    }

    pub(crate) fn done(&self, what: &str, object: impl Display) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.messages.say_if(self.talkative, format_args!("{object}: {what}"));
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Done; the text is for the message.
    Done(&'static str),
    Moved(Vec<u8>),
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
    mut act: impl FnMut(&mut Client, &FtpUrl, &Witness, &mut Repeat) -> Result<Outcome>,
) -> Result {
    // What was handled when the last connection was lost.
    let mut before_loss = 0;
    in_turn(options, stdio, urls, what, |sessions, url, witness, retrying| {
        let fields = |object: Object| object.text("source", &url.to_string());
        let handled = || witness.handled.load(Ordering::Relaxed);
        // Where a connection has ended, the next reply can be lost too.
        let mut repeat = if before_loss > 0 { Repeat::new() } else { retrying.memory() };
        retrying.run(witness, url, &fields, |_| {
            loop {
                let outcome = act(sessions.client(url)?, url, witness, &mut repeat);
                sessions.drop_ended(url, &outcome);
                let Err(failure) = outcome else { return outcome };
                // Some servers close a connection after a number of commands.
                if failure.exit != Exit::Network || handled() == before_loss {
                    return Err(failure.context(url));
                }
                before_loss = handled();
            }
        })
    })
}

/// Runs `act` on each URL in order, and reports the outcomes. URLs whose login was refused before are left
/// out.
///
/// # Errors
///
/// Returns the same errors as [`for_each_url`].
pub(crate) fn in_turn(
    options: &Options,
    stdio: &mut Stdio,
    urls: &[FtpUrl],
    what: &'static str,
    mut act: impl FnMut(&mut Sessions<'_>, &FtpUrl, &Witness, Retrying) -> Result<Outcome>,
) -> Result {
    let retrying = Retrying::from_options(options)?;
    let cleanup = Cleanup::start(options, stdio)?;
    let mut sessions = Sessions::new(options, stdio, &cleanup)?;
    let witness = Witness::new(options, stdio, &cleanup);
    let mut tally = Tally::new(urls.len(), what, &witness.messages, &witness.events);
    let mut refused = RefusedLogins::default();
    for url in urls {
        if refused.has(url) {
            continue;
        }
        let fields = |object: Object| object.text("source", &url.to_string());
        let flow = match act(&mut sessions, url, &witness, retrying) {
            Ok(outcome) => {
                tally.done += 1;
                witness.report(outcome, url, || fields(Object::event("done")));
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

/// Runs `act` with the path of a place. If the server does not accept the path as a whole, enters its
/// directories one by one and runs `act` again.
///
/// # Errors
///
/// Returns errors of `act`, and of entering the directories.
pub(crate) fn at<T>(
    client: &mut Client,
    place: &mut Place,
    mut act: impl FnMut(&mut Client, &[u8]) -> Result<T, Error>,
) -> Result<T> {
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

/// Codes of refusals that can be about the name of an object. 521 is an `MKD` of an existing directory.
/// They lead to questions and hints, and decide nothing.
const ABOUT_NAMES: [u16; 3] = [521, 550, 553];

/// Returns whether an error is a refusal that can be about the name of an object.
pub(crate) fn is_about_name(error: &Error) -> bool {
    error.reply().is_some_and(|reply| ABOUT_NAMES.contains(&reply.code().value()))
}

/// Returns whether `path` is a directory; `None` without an answer.
pub(crate) fn is_directory(client: &mut Client, path: &[u8]) -> Option<bool> {
    match path {
        b"" | b"/" => Some(true),
        path => client.is_directory(path).ok(),
    }
}

/// Adds a hint to the refusal of a command for the object of `url`: `of_directory` if the object is a
/// directory, else `usual`.
pub(crate) fn explained(
    failure: Failure,
    client: &mut Client,
    url: &FtpUrl,
    (of_directory, usual): (&str, &str),
) -> Failure {
    let is_about_name = failure.code.is_some_and(|code| ABOUT_NAMES.contains(&code));
    if failure.exit != Exit::Refused || !is_about_name || failure.fatal {
        return failure;
    }
    let path = Pathname::without_slash(url.path());
    let (_, name) = Pathname::split(path);
    // The command may have entered the directories of the path one by one.
    let path = if client.has_moved() { name } else { path };
    let is_directory = is_directory(client, path) == Some(true);
    failure.hinted(if is_directory { of_directory } else { usual })
}
