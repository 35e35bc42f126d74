//! `mkdir [-p] URL...`: creates directories.

use ftp_client::{Client, Error, Repeat};

use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::Options;
use crate::report::for_each_url::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    if options.operands.is_empty() {
        return Err(Failure::usage("mkdir needs a URL: ftp-cli mkdir [-p] URL..."));
    }
    for_each_url::are_named(&options.operands)?;
    let parents = options.has("parents");
    for_each_url(options, stdio, &options.operands, "directories made", |client, url, _, repeat| {
        for_each_url::at(client, url, |client, path| make(client, path, parents, repeat))
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
    let made = Outcome::Done("made");
    let attempt = match parents {
        // An existing directory is not a failure.
        true => client.mkdir(path),
        false => repeat.mkdir(client, path),
    };
    let refusal = match attempt {
        Ok(_) => return Ok(made),
        Err(error) if parents && error.is_no() => error,
        Err(error) => return Err(error),
    };
    // The reply does not show whether the directory exists or a parent is missing.
    if client.is_directory(path)? {
        return Ok(Outcome::Skipped("exists already"));
    }
    let mut first = None;
    for (at, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
        let parent = path.get(..at).unwrap_or_default();
        match client.mkdir(parent) {
            Ok(_) => {}
            Err(error) if error.is_no() => {
                if first.is_none() && !client.is_directory(parent)? {
                    first = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    match client.mkdir(path) {
        Ok(_) => Ok(made),
        // The directory exists now: another client created it, or the loop did because `path` ends
        // in `/`.
        Err(_) if client.is_directory(path)? => Ok(made),
        Err(error) if error.is_no() => Err(first.unwrap_or(refusal)),
        Err(error) => Err(error),
    }
}
