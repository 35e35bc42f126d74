//! Examines the path of the URL, the listings there, and a large download.

use ftp_client::listing::ListingForm;
use ftp_client::{Client, Error, Place};
use ftp_proto::{EntryKind, Escaped};

use super::diagnosis::Diagnosis;
use super::dial::Dial;
use super::finding::{Check, Finding, Grade, lost, not_again};
use super::{abilities, packets};
use crate::exit::Failure;

/// Observations at the path of the URL.
pub(super) struct PathSeen {
    /// The kind of object at the path; `None` if the login failed or the connection was lost.
    pub(super) kind: Option<PathKind>,
    /// Whether the server refuses listings there.
    pub(super) may_not_list: bool,
    findings: Vec<Finding>,
}

/// Examines the path, the listings and a large download.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and the client's failure if it says nothing about the
/// server.
pub(super) fn run(dial: &Dial<'_>) -> Result<(), Failure> {
    let seen = look(dial)?;
    dial.seen.path.get_or_init(|| seen);
    Ok(())
}

/// Returns the findings about the path, the listings and the large download.
pub(super) fn judge(dial: &Dial<'_>) -> Result<Vec<Finding>, Failure> {
    Ok(dial.seen.path.get().map_or_else(Vec::new, |seen| seen.findings.clone()))
}

fn look(dial: &Dial<'_>) -> Result<PathSeen, Failure> {
    let seen = |kind, may_not_list, findings| PathSeen { kind, may_not_list, findings };
    let mut connection = match dial.client(dial.way()) {
        Ok(connection) => connection,
        Err(error) => return Ok(seen(None, false, vec![not_again(Check::List, &error)?])),
    };
    let client = &mut connection.it;
    let path = Place::of(dial.asked.url).path().to_vec();
    let kind = match kind_of(client, &path) {
        Ok(kind) => kind,
        Err(error) => return Ok(seen(None, false, vec![lost(Check::Path, &error)?])),
    };
    let mut findings = vec![object(&path, &kind)];
    let directory = if kind == PathKind::Directory { path.as_slice() } else { b"" };
    let abilities = match abilities::look(client, directory) {
        Ok(abilities) => abilities,
        Err(error) => {
            findings.push(lost(Check::List, &error)?);
            return Ok(seen(Some(kind), false, findings));
        }
    };
    findings.extend(abilities::judge(&abilities));
    let large = match kind {
        PathKind::File => Some(path),
        _ => abilities::large(client, directory, &abilities),
    };
    let passage = match large {
        Some(path) => packets::down(client, &path)?,
        None => Check::Packets.skip(format_args!(
            "no file of at least {} bytes to download: name one in the URL, or use --upload-dir",
            packets::LEAST
        )),
    };
    if passage.grade != Grade::Fail {
        connection.quit();
    }
    if dial.asked.upload.is_none() || passage.grade != Grade::Skip {
        findings.push(passage);
    }
    Ok(seen(Some(kind), abilities.may_not_list(), findings))
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
