//! `rm [-r] [-f] URL...`: removes files, and with `-r` trees. The library decides what may be
//! removed; a name that the user ends with `/` counts as a directory.

use std::sync::Mutex;

use ftp_client::pool::Repeat;
use ftp_client::tree::{self, RemoveOptions, RemoveReport};
use ftp_client::{Client, Error, Event, Place};
use ftp_proto::{Command, Escaped, FtpUrl, Pathname};

use crate::console::Stdio;
use crate::console::output::counted;
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::{Options, parse_urls};
use crate::remote;
use crate::remote::pattern::{self, NO_MATCH, Named};
use crate::remote::{Outcome, Reporter, for_each_url, is_named};
use crate::report::Object;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let needs = "rm needs a URL: ftp-cli rm [-r] [-f] URL...";
    let urls = parse_urls(&options.operands, needs, is_named)?;
    let recursive = options.has("recursive");
    let force = options.has("force");
    let globs = options.has("glob");
    if globs {
        urls.iter().try_for_each(pattern::is_usable)?;
    }
    for_each_url(options, stdio, &urls, "objects removed", |client, url, reporter, repeat| {
        let is_directory = url.is_directory();
        let how = RemoveOptions::new()
            .recursive(recursive)
            .ignore_missing(force)
            .is_directory(is_directory);
        match globs || pattern::is_pattern(url) {
            true => remove_named(client, url, globs, how, reporter, repeat),
            false => {
                let removed = remove(client, url, Place::of(url), how, reporter, repeat);
                removed.map_err(|failure| match recursive {
                    true => failure,
                    false => remote::explained(failure, client, url, |is_directory| {
                        match is_directory(false) {
                            Some(true) => "; use ftp-cli rm -r to remove a directory",
                            _ => "",
                        }
                    }),
                })
            }
        }
    })
}

/// Removes the object that a URL names, or the objects that match its pattern.
fn remove_named(
    client: &mut Client,
    url: &FtpUrl,
    globs: bool,
    how: RemoveOptions,
    reporter: &Reporter,
    repeat: &mut Repeat,
) -> Result<Outcome> {
    let mut place = Place::of(url);
    let (directory, entries, invalid) = match pattern::named(client, &mut place, globs) {
        Ok(Named::Itself) => return remove(client, url, Place::of(url), how, reporter, repeat),
        Ok(Named::Matches { directory, entries, invalid }) => (directory, entries, invalid),
        // An earlier attempt has removed the last match.
        Err(failure) if failure.message == NO_MATCH && repeat.is_uncertain() => {
            return Ok(Outcome::Done("removed"));
        }
        Err(failure) if how.ignore_missing && is_nothing(client, &place, &failure)? => {
            return Ok(Outcome::Skipped("does not exist"));
        }
        Err(failure) => return Err(failure),
    };
    let mut counts = RemovalCounts::default();
    for name in invalid {
        counts.failed(url, &Pathname::join(&directory, &name), pattern::invalid(&name), reporter);
    }
    for entry in entries {
        let path = Pathname::join(&directory, &entry.name);
        match remove(client, url, Place::at(&path), how, reporter, repeat) {
            Ok(outcome) => {
                counts.removed += 1;
                let event = || {
                    let event = Object::event("done").text("source", &url.to_string());
                    event.name("name", &path)
                };
                reporter.report(outcome, Escaped(&path), event);
            }
            Err(failure) if failure.fatal => return Err(failure.context(Escaped(&path))),
            Err(failure) => counts.failed(url, &path, failure, reporter),
        }
    }
    counts.finish()
}

/// Returns whether a pattern failed because it matches nothing, or because its directory is
/// missing. `place` is where the session has looked for it.
fn is_nothing(client: &mut Client, place: &Place, failure: &Failure) -> Result<bool> {
    if failure.message == NO_MATCH {
        return Ok(true);
    }
    if failure.exit != Exit::Refused {
        return Ok(false);
    }
    let (directory, _) = Pathname::split(place.path());
    if directory.is_empty() {
        return Ok(false);
    }
    match client.can_enter(directory) {
        Ok(()) => Ok(false),
        Err(refused) if refused.is_no() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Counts of removed objects and failures.
#[derive(Default)]
struct RemovalCounts {
    removed: usize,
    failures: usize,
    last: Option<Failure>,
}

impl RemovalCounts {
    /// Reports an object that could not be removed.
    fn failed(&mut self, url: &FtpUrl, path: &[u8], failure: Failure, reporter: &Reporter) {
        let mut failure = failure.context(Escaped(path));
        let fields = |error: Object| error.text("source", &url.to_string()).name("name", path);
        reporter.events.failed(&failure, fields);
        failure.reported = true;
        reporter.messages.say(&failure.message);
        self.failures += 1;
        self.last = Some(failure);
    }

    fn finish(self) -> Result<Outcome> {
        let Self { removed, failures, last } = self;
        let Some(last) = last else { return Ok(Outcome::Reported) };
        let message = format!("{} removed, {failures} failed", counted(removed, "object"));
        let exit = if removed > 0 { Exit::Partial } else { last.exit };
        Err(Failure { exit, message, ..last })
    }
}

/// Returns whether commands for this path can be sent.
fn can_be_sent(path: &[u8]) -> bool {
    Pathname::new(path).and_then(|path| Command::Dele(path).encode()).is_ok()
}

/// Removes the object at `place`.
///
/// # Errors
///
/// Returns the server's refusal, and errors of the connection. Returns `Unsupported` for a
/// directory that may be a link, and `Partial` if only a part of a tree was removed.
pub(super) fn remove(
    client: &mut Client,
    url: &FtpUrl,
    place: Place,
    how: RemoveOptions,
    reporter: &Reporter,
    repeat: &mut Repeat,
) -> Result<Outcome> {
    let counts = Mutex::new(RemovalCounts::default());
    let on = |event: Event<'_>| match event {
        Event::Removed { path } => {
            lock(&counts).removed += 1;
            reporter.done("removed", Escaped(path));
            let fields = |done: Object| done.text("source", &url.to_string()).name("name", path);
            reporter.events.done(|| fields(Object::event("done")), 0);
        }
        Event::Failed { path, why } => lock(&counts).failed(url, path, why.into(), reporter),
        _ => {}
    };
    let top = place.path().to_vec();
    let removed = match tree::remove(client, place, how, repeat, &on) {
        // The names of the user can be sent, but not those that the server lists below them.
        Err(Error::Argument(error)) if how.recursive && can_be_sent(&top) => {
            let message = format!("not everything was removed: a path in it is not sent: {error}");
            let failure = Failure::item(Exit::Unsupported, message);
            lock(&counts).failed(url, &top, failure, reporter);
            return std::mem::take(&mut *lock(&counts)).finish();
        }
        removed => removed?,
    };
    match removed {
        RemoveReport::Missing => Ok(Outcome::Skipped("does not exist")),
        RemoveReport::Tree { .. } => std::mem::take(&mut *lock(&counts)).finish(),
        _ => Ok(Outcome::Done("removed")),
    }
}
