//! Examines the path of the URL, the listings there, and a large download. Tests whether full-size
//! packets pass. Small packets do; otherwise the login would have failed. If a tunnel carries only
//! smaller packets and its ICMP messages are dropped, large transfers stall (RFC 2923 §2.1).

use std::io::Read;

use ftp_client::error::Phase;
use ftp_client::listing::ListingForm;
use ftp_client::{Client, Error, Place};
use ftp_proto::{EntryKind, Escaped};

use super::abilities::{self, LEAST};
use super::dial::{Dial, ask};
use super::finding::{Check, Diagnosis, Finding, Grade, not_again};
use super::seen::{PathKind, PathSeen};
use crate::exit::Result;

/// Examines the path, the listings and a large download.
///
/// # Errors
///
/// Returns `Interrupted` after a signal, and the client's failure if it says nothing about the
/// server.
pub(super) fn run(dial: &Dial<'_>, found: &mut Vec<Finding>) -> Result {
    let connection = dial.again(Check("list"), dial.client(dial.way()), found)?;
    let Some(mut connection) = connection else { return Ok(()) };
    let client = &mut connection.it;
    let path = Place::of(dial.asked.url).path().to_vec();
    let kind = match kind_of(client, &path) {
        Ok(kind) => kind,
        Err(error) => {
            found.push(match error {
                Error::Refused { .. } | Error::ListingCut(_) => {
                    Check("path").fail(Diagnosis("path-failed"), error)
                }
                error => not_again(Check("path"), &error)?,
            });
            return Ok(());
        }
    };
    found.push(object(&path, &kind));
    let directory = if kind == PathKind::Directory { path.as_slice() } else { b"" };
    let abilities = match abilities::look(client, directory) {
        Ok(abilities) => abilities,
        // A listing worked over another connection.
        Err((check, error)) => {
            found.push(Finding { grade: Grade::Warn, ..not_again(check, &error)? });
            let seen = PathSeen { kind, may_not_list: false, needs_list: false };
            dial.seen.path.get_or_init(|| seen);
            return Ok(());
        }
    };
    found.extend(abilities::judge(&abilities));
    let large = match kind {
        PathKind::File => {
            let size = client.size(&path).ok().flatten();
            size.is_some_and(|size| size >= LEAST).then_some(path)
        }
        _ => abilities.large(directory),
    };
    let passage = match large {
        Some(path) => down(client, &path)?,
        None => Check("packets").skip(format_args!(
            "no file of at least {LEAST} bytes to download: name one in the URL, or use --upload-dir"
        )),
    };
    if passage.grade != Grade::Fail {
        connection.quit();
    }
    if dial.asked.upload.is_none() || passage.grade != Grade::Skip {
        found.push(passage);
    }
    let (may_not_list, needs_list) = (abilities.may_not_list(), abilities.needs_list());
    dial.seen.path.get_or_init(|| PathSeen { kind, may_not_list, needs_list });
    Ok(())
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

fn object(path: &[u8], object: &PathKind) -> Finding {
    let check = Check("path");
    let path = Escaped(path);
    match object {
        PathKind::Login => check.ok("the login directory"),
        PathKind::Directory => check.ok(format_args!("{path} is a directory")),
        PathKind::File => check.ok(format_args!("{path} is a file")),
        PathKind::Missing(why) => {
            check.fail(Diagnosis("path-missing"), format_args!("{path}: {why}"))
        }
    }
}

/// Lengths of the test commands in bytes: one fits into a single packet on any network, the other
/// needs more than one packet on Ethernet. Servers reply to lines of up to 2,048 bytes, even if
/// only with a refusal.
const SHORT: usize = 900;
const LONG: usize = 1_900;

/// Largest number of bytes to read from a file.
const MOST: u64 = 64 << 10;

/// Sends a long NOOP. Any reply proves that the command arrived. Otherwise, the finding is a
/// failure.
///
/// # Errors
///
/// Returns errors of the control connection, except for a missing reply to the long command.
pub(super) fn long_command(client: &mut Client) -> Result<Finding, Error> {
    let mut say = |length: usize| ask(client, &format!("NOOP {}", "x".repeat(length - 5)));
    say(SHORT)?;
    match say(LONG) {
        Ok(_) => {
            Ok(Check("packets").ok(format_args!("the server answers a command of {LONG} bytes")))
        }
        Err(Error::Timeout(Phase::Reply(_))) => Ok(Check("packets").fail(
            Diagnosis("big-packets-lost"),
            format_args!(
                "the server answers a command of {SHORT} bytes, but not one of {LONG} bytes"
            ),
        )),
        Err(error) => Err(error),
    }
}

/// Reads the first bytes of a file. If the transfer stalls, the finding is a failure; if it could
/// not be tried, the check is skipped.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] after a signal.
fn down(client: &mut Client, path: &[u8]) -> Result<Finding, Error> {
    let mut bytes = Vec::new();
    let read = client.retrieve(path).and_then(|mut file| {
        let read = (&mut file).take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| Error::downcast(error).unwrap_or_else(Error::io))
    });
    let received = format!("received {} bytes of {}", bytes.len(), Escaped(path));
    match read {
        Ok(_) => Ok(Check("packets").ok(received)),
        Err(Error::Timeout(Phase::Stall)) => {
            let diagnosis = match bytes.len() as u64 {
                LEAST.. => Diagnosis("final-reply-never"),
                _ => Diagnosis("big-packets-lost"),
            };
            Ok(Check("packets").fail(diagnosis, format_args!("{received}, then nothing")))
        }
        Err(error @ Error::Cancelled) => Err(error),
        Err(error) => Ok(Check("packets").skip(format_args!("{}: {error}", Escaped(path)))),
    }
}
