//! Finds remote objects by pattern, formats them, and asks a server why it refused a path, to say what
//! to type instead. The texts of refusals differ between servers, so they decide nothing.

pub(crate) mod pattern;
pub(crate) mod show_entry;

use ftp_client::{Client, Error};
use ftp_proto::{FtpUrl, Pathname};

use crate::exit::{Exit, Failure};

/// Codes of refusals that can be about the name of an object.
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

/// Adds a hint to the refusal of a command for the object of `url`. `hint` gets answers to the
/// questions whether the object, and whether the directory above it, is a directory.
pub(crate) fn explained(
    failure: Failure,
    client: &mut Client,
    url: &FtpUrl,
    hint: impl FnOnce(&mut dyn FnMut(bool) -> Option<bool>) -> &'static str,
) -> Failure {
    let is_about_name = failure.code.is_some_and(|code| ABOUT_NAMES.contains(&code));
    // In another directory, the path means another object.
    if failure.exit != Exit::Refused || !is_about_name || failure.fatal || client.has_moved() {
        return failure;
    }
    let path = Pathname::without_slash(url.path());
    let hint = hint(&mut |is_above| match is_above {
        true => is_directory(client, Pathname::split(path).0),
        false => is_directory(client, path),
    });
    failure.hinted(hint)
}
