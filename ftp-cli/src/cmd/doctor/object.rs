//! Examines the path of the URL.

use ftp_client::{Client, Error, ListingForm, Place};
use ftp_proto::{EntryKind, Escaped, FtpUrl};

use super::diagnosis::Diagnosis;
use super::finding::{Check, Finding};

/// Kind of object that a path names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum PathKind {
    /// The login directory.
    Login,
    Directory,
    File,
    /// Missing, or a directory that this user cannot enter; holds the server's reply.
    Missing(String),
}

/// Returns the path of a URL as commands send it.
pub(super) fn path(url: &FtpUrl) -> Vec<u8> {
    Place::of(url).path().to_vec()
}

/// Finds out the kind of object at `path`.
///
/// # Errors
///
/// Returns 4xx and 530 replies, errors of the connection, and an incomplete listing that does not
/// contain the object.
pub(super) fn look(client: &mut Client, path: &[u8]) -> Result<PathKind, Error> {
    if path.is_empty() {
        return Ok(PathKind::Login);
    }
    let refused = match client.can_enter(path) {
        Ok(()) => return Ok(PathKind::Directory),
        Err(error) if error.is_no() => error,
        Err(error) => return Err(error),
    };
    let found = client.look(path, ListingForm::Auto)?;
    Ok(match found.map(|entry| entry.kind) {
        None | Some(Some(EntryKind::Directory)) => PathKind::Missing(refused.to_string()),
        Some(_) => PathKind::File,
    })
}

/// Returns the finding about the path.
pub(super) fn judge(path: &[u8], object: &PathKind) -> Finding {
    let check = Check::Path;
    let path = Escaped(path);
    match object {
        PathKind::Login => Finding::ok(check, format_args!("the login directory")),
        PathKind::Directory => Finding::ok(check, format_args!("{path} is a directory")),
        PathKind::File => Finding::ok(check, format_args!("{path} is a file")),
        PathKind::Missing(why) => {
            Finding::fail(check, Diagnosis::PathMissing, format_args!("{path}: {why}"))
        }
    }
}
