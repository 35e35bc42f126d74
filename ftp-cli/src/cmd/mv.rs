//! `mv URL NEWPATH`: renames an object on its server.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_proto::FtpUrl;

use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::Options;
use crate::options::urls;
use crate::remote::path;
use crate::report::for_each_url::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [from, to] = options.operands.as_slice() else {
        return Err(Failure::usage("mv takes a URL and a path: ftp-cli mv URL NEWPATH"));
    };
    let url = urls::parse(from)?;
    for_each_url::is_named(&url)?;
    let to = new_path(&url, to)?;
    for_each_url(options, stdio, std::slice::from_ref(from), "objects moved", |client, url, _| {
        // The new path is relative to the login directory, so no directory is entered.
        client.rename(path::without_slash(url.path()), &to)?;
        Ok(Outcome::Done("moved"))
    })
}

/// Returns the new path: relative to the login directory; with a `/` at its end, inside that
/// directory under the old name. A URL of the same server is accepted too.
fn new_path(url: &FtpUrl, operand: &OsStr) -> Result<Vec<u8>, Failure> {
    let bytes = operand.as_bytes();
    let path = if bytes.windows(3).take(6).any(|window| window == b"://") {
        let target = urls::parse(operand)?;
        let server = |url: &FtpUrl| (url.host().to_ascii_lowercase(), url.port());
        let is_other_user = target.user().is_some() && target.user() != url.user();
        if server(&target) != server(url) || is_other_user {
            let message =
                format!("{target} is on another server than {url}; use ftp-cli fxp to copy");
            return Err(Failure::usage(message));
        }
        target.path().to_vec()
    } else {
        bytes.to_vec()
    };
    match path.as_slice() {
        [] => Err(Failure::usage("mv: NEWPATH is empty")),
        [.., b'/'] => Ok(path::join(&path, path::split(url.path()).1)),
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_path_counts_from_the_login() {
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
