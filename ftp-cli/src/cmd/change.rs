//! The commands that change or remove objects: `mkdir`, `rmdir`, `mv`, `chmod` and `rm`.

use std::ffi::OsStr;
use std::sync::Mutex;
use std::time::Instant;

use ftp_client::error::{JobFault, Unsupported};
use ftp_client::pool::Repeat;
use ftp_client::tree::RemoveOptions;
use ftp_client::{Client, Error, Event, PermissionChange, Place};
use ftp_proto::{Command, EntryKind, Escaped, FtpUrl, Pathname};

use crate::connect::Witness;
use crate::console::output::counted;
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, is_remote, parse_url, parse_urls};
use crate::remote::pattern::{self, Named};
use crate::remote::{self, Outcome, for_each_url, is_named};
use crate::report::Object;
use crate::system::OsStrExt;
use crate::{Stdio, lock};

/// `mkdir [-p] URL...`: creates directories.
pub(crate) fn mkdir(options: &Options, stdio: &mut Stdio) -> Result {
    let needs = "mkdir needs a URL: ftp-cli mkdir [-p] URL...";
    let urls = parse_urls(&options.operands, needs, is_named)?;
    let parents = options.has("parents");
    for_each_url(options, stdio, &urls, "directories made", |client, url, _, repeat| {
        let made = remote::at(client, &mut Place::of(url), |client, path| {
            make(client, path, parents, repeat)
        });
        let exists = "; use -p to accept an existing directory";
        let hints = (exists, "; if a parent directory is missing, use -p");
        made.map_err(|failure| match parents {
            true => failure,
            false => remote::explained(failure, client, url, hints),
        })
    })
}

/// Creates a directory. With `parents`, also creates missing parent directories, and accepts an
/// existing directory.
///
/// # Errors
///
/// Returns the server's refusal, and errors of the connection. With `parents`, returns the refusal
/// for the first missing directory that cannot be created.
pub(super) fn make(
    client: &mut Client,
    path: &[u8],
    parents: bool,
    repeat: &mut Repeat,
) -> Result<Outcome, Error> {
    let is_new = match parents {
        true => client.make_directories(path)?,
        false => repeat.mkdir(client, path).map(|_| true)?,
    };
    Ok(if is_new { Outcome::Done("made") } else { Outcome::Skipped("exists already") })
}

/// `rmdir URL...`: removes empty directories.
pub(crate) fn rmdir(options: &Options, stdio: &mut Stdio) -> Result {
    let needs = "rmdir needs a URL: ftp-cli rmdir URL...";
    let urls = parse_urls(&options.operands, needs, is_named)?;
    for_each_url(options, stdio, &urls, "directories removed", |client, url, _, repeat| {
        remote::at(client, &mut Place::of(url), |client, path| repeat.rmdir(client, path))?;
        Ok(Outcome::Done("removed"))
    })
}

/// `mv URL NEWPATH`: renames an object on its server.
pub(crate) fn mv(options: &Options, stdio: &mut Stdio) -> Result {
    let [from, to] = options.operands.as_slice() else {
        return Err(Failure::usage("mv takes a URL and a path: ftp-cli mv URL NEWPATH"));
    };
    let url = parse_url(from)?;
    is_named(&url)?;
    let to = new_path(&url, to)?;
    let keeps = options.has("no-clobber");
    let quiet = options.is_quiet();
    let urls = std::slice::from_ref(&url);
    for_each_url(options, stdio, urls, "objects moved", |client, url, witness, repeat| {
        let from = Pathname::without_slash(url.path());
        // The new path may be relative to the login directory, so no directory is entered.
        let is_moved = match keeps {
            true => repeat.rename_new(client, from, &to),
            false => repeat.rename(client, from, &to).map(|()| true),
        };
        match is_moved {
            Ok(true) => Ok(Outcome::Moved(to.clone())),
            Ok(false) => {
                let target = Escaped(&to);
                let tells = !quiet && !witness.talkative;
                let text = format_args!("{target}: exists; {url} is not moved");
                witness.messages.say_if(tells, text);
                Ok(Outcome::Skipped("not moved: NEWPATH exists"))
            }
            Err(Error::Unsupported(Unsupported::NoExistence)) => {
                let message = "--no-clobber: the server does not report whether NEWPATH exists";
                Err(Failure::item(Exit::Unsupported, message))
            }
            Err(error) => Err(error.into()),
        }
    })
}

/// Returns the new path, which is absolute or relative to the login directory. If it ends in `/`,
/// the object keeps its name and moves to that directory. The operand can also be a URL of the same
/// server and user.
fn new_path(url: &FtpUrl, operand: &OsStr) -> Result<Vec<u8>> {
    let bytes = operand.as_bytes();
    let path = if bytes.windows(3).take(6).any(|window| window == b"://") {
        let target = parse_url(operand)?;
        let server = |url: &FtpUrl| (url.scheme(), url.host().to_ascii_lowercase(), url.port());
        let is_other_user = target.user().is_some() && target.user() != url.user();
        if server(&target) != server(url) || is_other_user {
            let message = format!(
                "{target} differs from {url} in scheme, server or user; use ftp-cli fxp to copy"
            );
            return Err(Failure::usage(message));
        }
        target.path().to_vec()
    } else {
        bytes.to_vec()
    };
    match path.as_slice() {
        [] => Err(Failure::usage("mv: NEWPATH is empty")),
        [.., b'/'] => Ok(Pathname::join(&path, Pathname::split(url.path()).1)),
        _ => Ok(path),
    }
}

/// `chmod MODE URL...`: sets permission bits, in octal or symbolic notation.
pub(crate) fn chmod(options: &Options, stdio: &mut Stdio) -> Result {
    let Some((mode, urls @ [_, ..])) = options.operands.split_first() else {
        return Err(Failure::usage("chmod needs a mode and a URL: ftp-cli chmod MODE URL..."));
    };
    if is_remote(mode) {
        return Err(Failure::usage("chmod takes the mode first: ftp-cli chmod MODE URL..."));
    }
    let mode = permissions(mode.as_bytes())?;
    let urls = parse_urls(urls, "", |_| Ok(()))?;
    for_each_url(options, stdio, &urls, "modes set", |client, url, _, _| {
        set(remote::at(client, &mut Place::of(url), |client, path| {
            client.change_permissions(path, &mode)
        })?)
    })
}

/// Returns the outcome of a change of permissions.
pub(super) fn set(is_set: bool) -> Result<Outcome> {
    let message =
        "the server does not report the current mode, or only a link's; use an octal MODE";
    let done = is_set.then_some(Outcome::Done("set"));
    done.ok_or_else(|| Failure::item(Exit::Unsupported, message))
}

/// Parses the mode that the user typed.
///
/// # Errors
///
/// Returns `Usage` if the mode is invalid.
pub(super) fn permissions(text: &[u8]) -> Result<PermissionChange> {
    let text = String::from_utf8_lossy(text);
    PermissionChange::parse(&text).ok_or_else(|| {
        let known = "expected a mode such as 644, 0755, u+w, go-rwx or a=r,u+x";
        Failure::item(Exit::Usage, format!("invalid mode \"{text}\": {known}"))
    })
}

/// `rm [-r] [-f] URL...`: removes files, and with `-r` trees. The library decides what may be
/// removed; a name that the user ends with `/` counts as a directory.
pub(crate) fn rm(options: &Options, stdio: &mut Stdio) -> Result {
    let needs = "rm needs a URL: ftp-cli rm [-r] [-f] URL...";
    let urls = parse_urls(&options.operands, needs, is_named)?;
    let recursive = options.has("recursive");
    let force = options.has("force");
    let globs = options.has("glob");
    if globs {
        urls.iter().try_for_each(pattern::is_usable)?;
    }
    // What the first attempt found holds for the others: an object of exactly this name, which is no
    // pattern once it is gone, or the names of those that match.
    let (mut itself, mut first) = (None, None);
    // A pattern stands for several objects.
    let what = match globs || urls.iter().any(pattern::is_pattern) {
        true => "URLs removed",
        false => "objects removed",
    };
    for_each_url(options, stdio, &urls, what, |client, url, witness, repeat| {
        let is_directory = url.is_directory();
        let how = RemoveOptions::new()
            .recursive(recursive)
            .ignore_missing(force)
            .is_directory(is_directory)
            .no_links(options.has("no-links"));
        if (globs || pattern::is_pattern(url)) && itself.as_ref() != Some(url) {
            let (mut place, how) = (Place::of(url), how.listed(Some(Instant::now())));
            let mut left = first.take().and_then(|(of, left)| (of == *url).then_some(left));
            match pattern::named(client, &mut place, globs) {
                Ok(Named::Itself) if left.is_none() => itself = Some(url.clone()),
                named => {
                    let named = (&place, named);
                    let done = remove_named(client, url, named, &mut left, how, witness, repeat);
                    first = left.filter(|_| done.is_err()).map(|left| (url.clone(), left));
                    return done;
                }
            }
        }
        let removed = remove(client, url, Place::of(url), how, witness, repeat);
        removed.map_err(|failure| match recursive {
            true => failure,
            false => {
                let hints = ("; use ftp-cli rm -r to remove a directory", "");
                remote::explained(failure, client, url, hints)
            }
        })
    })
}

/// Removes the objects that match the pattern of a URL, as they were found at `place`. `left` has the
/// names that an earlier attempt has left, and gets those of this one: others may have come since.
fn remove_named(
    client: &mut Client,
    url: &FtpUrl,
    (place, named): (&Place, Result<Named>),
    left: &mut Option<Vec<Vec<u8>>>,
    how: RemoveOptions,
    witness: &Witness,
    repeat: &mut Repeat,
) -> Result<Outcome> {
    let directory = Pathname::split(place.path()).0;
    let (entries, invalid) = match named {
        Ok(Named::Matches { entries, invalid }) => (entries, invalid),
        Ok(Named::Nothing | Named::Itself) if left.is_some() => Default::default(),
        Ok(Named::Itself) => return remove(client, url, Place::of(url), how, witness, repeat),
        Ok(Named::Nothing) if !how.ignore_missing => return Err(pattern::no_match()),
        Ok(Named::Nothing) => return Ok(Outcome::Skipped("does not exist")),
        Err(failure) if how.ignore_missing && has_no_directory(client, place, &failure)? => {
            return Ok(Outcome::Skipped("does not exist"));
        }
        Err(failure) => return Err(failure),
    };
    let mut counts = RemovalCounts::default();
    for name in invalid {
        counts.failed(url, &Pathname::join(directory, &name), pattern::invalid(&name), witness);
    }
    let all = || entries.iter().map(|entry| entry.name.clone()).collect();
    let mut names = left.take().unwrap_or_else(all).into_iter();
    let mut failed = Vec::new();
    while let Some(name) = names.next() {
        let path = Pathname::join(directory, &name);
        let listed = entries.binary_search_by(|entry| entry.name.cmp(&name));
        let listed = listed.ok().and_then(|at| entries.get(at)).map(|entry| entry.kind);
        let how = match listed {
            Some(_) => how,
            // It is gone, as far as one listing shows.
            None => how.ignore_missing(true).listed(None),
        };
        // Some servers confirm DELE of a directory, and remove what is in it, or nothing.
        let removed = match listed {
            Some(Some(EntryKind::Directory)) if !how.recursive => {
                Err(Error::Job(JobFault::IsDirectory).into())
            }
            Some(None) if !how.recursive => {
                let error = Error::Unsupported(Unsupported::NoType);
                Err(Failure { fatal: false, ..error.into() })
            }
            _ => remove(client, url, Place::at(&path), how, witness, repeat),
        };
        match removed {
            Ok(outcome) => {
                counts.removed += 1;
                let event = || {
                    let event = Object::event("done").text("source", &url.to_string());
                    event.name("name", &path)
                };
                witness.report(outcome, Escaped(&path), event);
            }
            Err(failure) if failure.fatal => {
                failed.push(name);
                failed.extend(names);
                *left = Some(failed);
                return Err(failure.context(Escaped(&path)));
            }
            Err(failure) => {
                counts.failed(url, &path, failure, witness);
                failed.push(name);
            }
        }
    }
    *left = Some(failed);
    counts.finish()
}

/// Returns whether a pattern failed because the server has no such directory. `place` is where
/// the session has looked for it.
fn has_no_directory(client: &mut Client, place: &Place, failure: &Failure) -> Result<bool> {
    if failure.exit != Exit::Refused {
        return Ok(false);
    }
    match Pathname::split(place.path()).0 {
        b"" => Ok(false),
        directory => Ok(client.lacks(directory)?),
    }
}

#[derive(Default)]
struct RemovalCounts {
    removed: usize,
    failures: usize,
    last: Option<Failure>,
}

impl RemovalCounts {
    fn failed(&mut self, url: &FtpUrl, path: &[u8], failure: Failure, witness: &Witness) {
        let mut failure = failure.context(Escaped(path));
        let fields = |error: Object| error.text("source", &url.to_string()).name("name", path);
        witness.events.failed(&failure, fields);
        failure.reported = true;
        witness.messages.say(&failure.message);
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
    witness: &Witness,
    repeat: &mut Repeat,
) -> Result<Outcome> {
    let counts = Mutex::new(RemovalCounts::default());
    let on = |event: Event<'_>| match event {
        Event::Removed { path } => {
            lock(&counts).removed += 1;
            witness.done("removed", Escaped(path));
            let fields = |done: Object| done.text("source", &url.to_string()).name("name", path);
            witness.events.done(|| fields(Object::event("done")), 0);
        }
        Event::Failed { path, why } => lock(&counts).failed(url, path, why.into(), witness),
        _ => {}
    };
    let top = place.path().to_vec();
    let removed = match repeat.remove(client, place, how, &on) {
        // The names of the user can be sent, but not those that the server lists below them.
        Err(Error::Argument(error)) if how.recursive && can_be_sent(&top) => {
            let message = format!("not everything was removed: a path in it is not sent: {error}");
            let failure = Failure::item(Exit::Unsupported, message);
            lock(&counts).failed(url, &top, failure, witness);
            return std::mem::take(&mut *lock(&counts)).finish();
        }
        removed => removed?,
    };
    let counts = std::mem::take(&mut *lock(&counts));
    match removed.removed + removed.failed {
        0 => Ok(Outcome::Skipped("does not exist")),
        // One command removed the object, without an event.
        1 if counts.removed + counts.failures == 0 => Ok(Outcome::Done("removed")),
        _ => counts.finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_path_is_relative_to_the_login_directory() {
        let url = FtpUrl::parse(b"ftp://u@h/a/b%20c").unwrap();
        for (operand, want) in [
            ("x", Some("x")),
            ("d/x%20y", Some("d/x%20y")),
            ("/x", Some("/x")),
            ("d/", Some("d/b c")),
            ("/", Some("/b c")),
            ("ftp://h/x%20y", Some("x y")),
            ("ftp://u@H:21/d/", Some("d/b c")),
            ("ftp://v@h/x", None),
            ("ftp://g/x", None),
            ("ftpes://h/x", None),
            ("http://h/x", None),
            ("", None),
        ] {
            let found = new_path(&url, OsStr::new(operand)).ok();
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{operand}");
        }
    }
}
