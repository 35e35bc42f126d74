//! `mv URL NEWPATH`: renames an object on its server.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_client::Client;
use ftp_proto::{Escaped, FtpUrl, Pathname};

use crate::console::stdio::Stdio;
use crate::exit::{Exit, Failure};
use crate::options::{Options, urls};
use crate::report::jobs::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [from, to] = options.operands.as_slice() else {
        return Err(Failure::usage("mv takes a URL and a path: ftp-cli mv URL NEWPATH"));
    };
    let url = urls::parse(from)?;
    jobs::is_named(&url)?;
    let to = new_path(&url, to)?;
    let keeps = options.has("no-clobber");
    let quiet = options.is_quiet();
    let urls = std::slice::from_ref(&url);
    for_each_url(options, stdio, urls, "objects moved", |client, url, reporter, repeat| {
        let from = Pathname::without_slash(url.path());
        if keeps && repeat.was_renamed(client, from, &to)? {
            return Ok(Outcome::Done("moved"));
        }
        if keeps && is_there(client, &to)? {
            let target = Escaped(&to);
            let tells = !quiet && !reporter.is_talkative;
            reporter.messages.say_if(tells, format_args!("{target}: exists; {url} is not moved"));
            return Ok(Outcome::Skipped("not moved: NEWPATH exists"));
        }
        // The new path may be relative to the login directory, so no directory is entered.
        repeat.rename(client, from, &to)?;
        Ok(Outcome::Done("moved"))
    })
}

/// Returns whether there is an object at `path`, for `--no-clobber`.
fn is_there(client: &mut Client, path: &[u8]) -> Result<bool, Failure> {
    match client.is_there(path)? {
        Some(is_there) => Ok(is_there),
        None => {
            let message = "--no-clobber: the server does not report whether NEWPATH exists";
            Err(Failure::item(Exit::Unsupported, message))
        }
    }
}

/// Returns the new path, which is absolute or relative to the login directory. If it ends in `/`,
/// the object keeps its name and moves to that directory. The operand can also be a URL of the same
/// server and user.
fn new_path(url: &FtpUrl, operand: &OsStr) -> Result<Vec<u8>, Failure> {
    let bytes = operand.as_bytes();
    let path = if bytes.windows(3).take(6).any(|window| window == b"://") {
        let target = urls::parse(operand)?;
        let server = |url: &FtpUrl| (url.host().to_ascii_lowercase(), url.port());
        let is_other_user = target.user().is_some() && target.user() != url.user();
        if server(&target) != server(url) || is_other_user {
            let message =
                format!("{target} differs from {url} in server or user; use ftp-cli fxp to copy");
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
            ("http://h/x", None),
            ("", None),
        ] {
            let found = new_path(&url, OsStr::new(operand)).ok();
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{operand}");
        }
    }
}
