//! Examines the path of the URL, the listings there, and a large download.

use ftp_client::{Client, Error, ListingForm, Place};
use ftp_proto::{EntryKind, Escaped};

use super::abilities::{self, AbilitiesSeen};
use super::diagnosis::Diagnosis;
use super::dial::Dial;
use super::finding::{Check, Finding, lost, not_again};
use super::packets::{self, LargeTransfer};
use crate::exit::Failure;

/// Observations at the path of the URL.
pub(super) enum PathSeen {
    /// The login failed.
    NoLogin(Error),
    /// The connection was lost before the kind of object was known.
    Lost(Error),
    Object {
        path: Vec<u8>,
        kind: PathKind,
        /// The listings and the large download, or the error of the connection.
        inside: Box<Result<(AbilitiesSeen, LargeTransfer), Error>>,
    },
}

impl PathSeen {
    /// Returns the kind of object at the path, if it is known.
    pub(super) const fn kind(&self) -> Option<&PathKind> {
        match self {
            Self::Object { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// Returns whether the server refuses listings there.
    pub(super) fn may_not_list(&self) -> bool {
        matches!(self, Self::Object { inside, .. }
            if inside.as_ref().as_ref().is_ok_and(|(seen, _)| seen.may_not_list()))
    }
}

/// Examines the path.
///
/// # Errors
///
/// Returns `Interrupted` after a signal.
pub(super) fn run(dial: &Dial<'_>) -> Result<(), Failure> {
    let seen = look(dial)?;
    dial.seen.path.get_or_init(|| seen);
    Ok(())
}

fn look(dial: &Dial<'_>) -> Result<PathSeen, Error> {
    let mut connection = match dial.client(dial.way()) {
        Ok(connection) => connection,
        Err(error) => return Ok(PathSeen::NoLogin(error)),
    };
    let client = &mut connection.it;
    let path = Place::of(dial.asked.url).path().to_vec();
    let kind = match kind_of(client, &path) {
        Ok(kind) => kind,
        Err(error) => return Ok(PathSeen::Lost(error)),
    };
    let directory = if kind == PathKind::Directory { path.as_slice() } else { b"" };
    let seen = match abilities::look(client, directory) {
        Ok(seen) => seen,
        Err(error) => return Ok(PathSeen::Object { path, kind, inside: Box::new(Err(error)) }),
    };
    let large = match kind {
        PathKind::File => Some(path.clone()),
        _ => abilities::large(client, directory, &seen),
    };
    let passage = match large {
        Some(path) => packets::down(client, &path)?,
        None => LargeTransfer::Unknown(format!(
            "no file of at least {} bytes to download: name one in the URL, or use --upload-dir",
            packets::LEAST
        )),
    };
    if !matches!(passage, LargeTransfer::Stalled(_)) {
        connection.quit();
    }
    Ok(PathSeen::Object { path, kind, inside: Box::new(Ok((seen, passage))) })
}

/// Judges the path, the listings and the large download.
///
/// # Errors
///
/// Returns the client's failure if it says nothing about the server.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    let (path, kind, inside) = match dial.seen.path.get() {
        None => return Ok(Vec::new()),
        Some(PathSeen::NoLogin(error)) => return Ok(vec![not_again(Check::List, error)?]),
        Some(PathSeen::Lost(error)) => return Ok(vec![lost(Check::Path, error)?]),
        Some(PathSeen::Object { path, kind, inside }) => (path, kind, inside),
    };
    let mut findings = vec![object(path, kind)];
    match inside.as_ref() {
        Err(error) => findings.push(lost(Check::List, error)?),
        Ok((seen, passage)) => {
            findings.extend(abilities::judge(seen));
            if dial.asked.upload.is_none() || !matches!(passage, LargeTransfer::Unknown(_)) {
                findings.push(packets::passed(passage));
            }
        }
    }
    Ok(findings)
}

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

/// Finds out the kind of object at `path`.
///
/// # Errors
///
/// Returns 4xx and 530 replies, errors of the connection, and an incomplete listing that does not
/// contain the object.
fn kind_of(client: &mut Client, path: &[u8]) -> Result<PathKind, Error> {
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
fn object(path: &[u8], object: &PathKind) -> Finding {
    let check = Check::Path;
    let path = Escaped(path);
    match object {
        PathKind::Login => check.ok("the login directory"),
        PathKind::Directory => check.ok(format_args!("{path} is a directory")),
        PathKind::File => check.ok(format_args!("{path} is a file")),
        PathKind::Missing(why) => check.fail(Diagnosis::PathMissing, format_args!("{path}: {why}")),
    }
}
