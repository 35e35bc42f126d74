//! What the commands share that do one thing to each of several objects on servers.

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::ControlFlow;

use ftp_client::{Client, Entered, Error, Place};
use ftp_proto::FtpUrl;
use log::LevelFilter;

use super::events::Events;
use super::json::Object;
use super::tally::Tally;
use crate::connect::retry::{Retrying, Witness};
use crate::connect::sessions::Sessions;
use crate::console::messages::Messages;
use crate::console::progress::is_talkative;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::exit::Failure;
use crate::options::Options;
use crate::options::urls;

/// Who is told what is done.
pub(crate) struct Reporter {
    pub(crate) messages: Messages,
    pub(crate) events: Events,
    /// Whether people want to know of what went well.
    pub(crate) is_talkative: bool,
}

impl Reporter {
    /// By the options.
    pub(crate) fn new(options: &Options, stdio: &Stdio) -> Self {
        let messages = stdio.messages.clone();
        let events = stdio.events.clone();
        Self { messages, events, is_talkative: is_talkative(options, stdio) }
    }

    /// Says what became of an object; `event` is the one that tells programs that it is done.
    pub(crate) fn became(
        &self,
        became: Outcome,
        object: impl Display,
        event: impl FnOnce() -> Object,
    ) {
        match became {
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

    /// Says that something was done to the object that a command is about.
    pub(crate) fn done(&self, what: &str, object: impl Display) {
        self.messages.say_if(self.is_talkative, format_args!("{object}: {what}"));
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// What was to be done was, and people are told in these words.
    Done(&'static str),
    /// It was that way already.
    Skipped(&'static str),
    /// It was done, and told already.
    Reported,
}

/// Does `act` to the object of each URL, in order, over one control connection for each server, and
/// again as `--retry` says.
/// `what` completes "2 of 3": `objects removed`.
///
/// # Errors
///
/// `Usage` for what is no URL, before anything is sent; then as [`Tally::finish`].
pub(crate) fn for_each_url(
    options: &Options,
    stdio: &mut Stdio,
    urls: &[OsString],
    what: &'static str,
    mut act: impl FnMut(&mut Client, &FtpUrl, &Reporter) -> Result<Outcome, Failure>,
) -> Result<(), Failure> {
    let urls = urls.iter().map(|url| urls::parse(url)).collect::<Result<Vec<_>, _>>()?;
    let retrying = Retrying::from_options(options)?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let mut sessions = Sessions::new(options, stdio, &cleanup)?;
    let told = Reporter::new(options, stdio);
    let witness = Witness::new(options, stdio, &cleanup);
    let mut tally = Tally::new(urls.len(), what, &told.messages, &told.events);
    for url in &urls {
        let about = |object: Object| object.text("source", &url.to_string());
        let became = retrying.persist(&witness, &about, |_| {
            let became = act(sessions.client(url)?, url, &told);
            if became.as_ref().is_err_and(Failure::is_end_of_connection) {
                sessions.drop_client(url);
            }
            became.map_err(|failure| failure.about(url))
        });
        let flow = match became {
            Ok(became) => {
                tally.done();
                told.became(became, url, || about(Object::event("done")));
                ControlFlow::Continue(())
            }
            Err(failure) => tally.failed(failure, about),
        };
        if flow.is_break() {
            break;
        }
    }
    sessions.quit(tally.fatal());
    tally.finish()
}

/// Does `act` with the path of a URL, and once more part by part where the server does not know it
/// as a whole.
///
/// # Errors
///
/// Those of `act`, and of the way there.
pub(crate) fn at<T>(
    client: &mut Client,
    url: &FtpUrl,
    mut act: impl FnMut(&mut Client, &[u8]) -> Result<T, Error>,
) -> Result<T, Failure> {
    let mut place = Place::of(url);
    loop {
        match act(client, place.path()) {
            Ok(done) => return Ok(done),
            Err(error) if place.enter(client, &error)? == Entered::There => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Insists that a URL names something that can be made, moved or removed: not the directory of the
/// login, the first one, `.` or `..`.
///
/// # Errors
///
/// `Usage`.
pub(crate) fn is_named(url: &FtpUrl) -> Result<(), Failure> {
    let (_, name) = crate::remote::path::split(url.path());
    match name {
        b"" | b"." | b".." => {
            Err(Failure::usage(format!("{url} has no name at its end; nothing is done to it")))
        }
        _ => Ok(()),
    }
}

/// As [`is_named`], of all operands, before anything is sent.
///
/// # Errors
///
/// `Usage`.
pub(crate) fn are_named(urls: &[OsString]) -> Result<(), Failure> {
    urls.iter().try_for_each(|url| is_named(&urls::parse(url)?))
}
