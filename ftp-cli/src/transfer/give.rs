//! `put --temp` and `put --remove-source`. `--temp` uploads a file under a temporary name and
//! renames it when it is complete. `--remove-source` removes the local file after the upload.
//!
//! With both options, no file is lost, even if the program is killed at any moment. A lock excludes
//! other runs during these steps:
//!
//! 1. The file is uploaded under its temporary name, and verified.
//! 2. The facts about the local file and the server's file, and the temporary name, are written to
//!    the journal.
//! 3. The server renames the file, and then "renamed" is written to the journal. After a kill in
//!    between, the next run looks for a file of the same size and time under both names. If it
//!    finds none, it uploads the file again.
//! 4. The local file is removed if it still matches the journal, and then the journal is removed.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use ftp_client::{Client, Error, Place, Put};

use super::context::{Context, Done};
use super::journal::{self, Journal, Record};
use super::publish::publish;
use super::take::Facts;
use super::target::{parent, sync_directory};
use super::upload::{upload, upload_noting};
use super::verify::Verified;
use crate::display::shown_path;
use crate::exit::{Exit, Failure};
use crate::report::json::Object;

/// Uploads a regular file and removes it here. `name` is the server's file, for messages, and with
/// `user` it identifies the journal.
///
/// # Errors
///
/// Returns the failures of the upload, and `Limit` if another run is moving the file. Returns
/// `Local` if another file has replaced the local file, or if the journal cannot be read or
/// written. Returns `Unsupported` if the server does not report the size. Returns `Integrity` if
/// the local file changed during the upload, and `Local` if it cannot be removed; the server's file
/// is complete in both cases.
pub(crate) fn give(
    context: &Context<'_>,
    client: &mut Client,
    put: &mut Put<'_>,
    (file, local): (&File, &Path),
    (name, user): (&str, &[u8]),
    fields: &(dyn Fn(Object) -> Object + Sync),
) -> Result<Done, Failure> {
    let _lock = journal::hold(local)?;
    let metadata = file.metadata().map_err(|error| failed(local, &error))?;
    // Another run may have moved the open file before this run got the lock.
    let named = fs::metadata(local).map_err(|error| failed(local, &error))?;
    if (named.dev(), named.ino()) != (metadata.dev(), metadata.ino()) {
        let message =
            "another local file has this name now, so nothing was sent; run the command again";
        return Err(Failure::item(Exit::Local, message));
    }
    let here = identity(&metadata);
    let Some(temporary) = &context.settings.temporary else {
        let done = upload(context, client, put, Some(&metadata), name, fields)?;
        if done.skipped.is_none() {
            check_verified(&done)?;
            remove(local, &here)?;
        }
        return Ok(done);
    };
    let journal = Journal::of(local, name, user);
    if let Some(record) = journal.read()? {
        let is_same = record.part("here") == here;
        let is_renamed = is_renamed(client, put.place(), &journal, record)?;
        if is_renamed && is_same {
            remove(local, &here)?;
        }
        journal.remove()?;
        if is_renamed && is_same {
            return Ok(Done { verified: Verified::Size, ..Done::moved(0, Duration::ZERO) });
        }
        if is_same {
            let shown = shown_path(local);
            context.note(format_args!(
                "{shown}: the server no longer has the earlier upload; uploading again"
            ));
        }
    }
    let own_temporary = temporary.of(put.place().name());
    let mut begun = None;
    let done =
        upload_noting(context, client, put, Some(&metadata), name, fields, &mut |client, path| {
            let there = Facts::ask(client, path)?.record();
            let record = Record::default().with_part("here", &here).with_part("there", &there);
            let record = record.with("temporary", &journal::hex(&own_temporary));
            journal
                .write(&record)
                .map_err(|failure| Error::Local(std::io::Error::other(failure.message)))?;
            begun = Some(record);
            Ok(())
        })
        .inspect_err(|failure| {
            // The refusal is certain and nothing is published, so the next run starts from the
            // beginning.
            if failure.exit == Exit::Refused {
                let _ = journal.remove();
            }
        })?;
    if let Some(record) = begun {
        journal.write(&record.with("renamed", "yes"))?;
    }
    if done.skipped.is_none() {
        check_verified(&done)?;
        remove(local, &here)?;
        journal.remove()?;
    }
    Ok(done)
}

/// Gives the file of an interrupted move its final name, if necessary. Returns whether the file
/// provably has this name: a file with the final or the temporary name may be another sender's.
fn is_renamed(
    client: &mut Client,
    place: &Place,
    journal: &Journal,
    record: Record,
) -> Result<bool, Failure> {
    if record.text("renamed").is_some() {
        return Ok(true);
    }
    let mut place = place.clone();
    let own = place.name().to_vec();
    let Some(temporary) = record.bytes("temporary") else {
        return Err(Failure::item(
            Exit::Local,
            "the journal of the interrupted run lacks the temporary name; move *.ftp-cli-journal away",
        ));
    };
    let there = record.part("there");
    let mut is_at = |name: &[u8], client: &mut Client| {
        place.set_name(name);
        Facts::ask(client, place.path()).map(|facts| facts.is_recorded(&there))
    };
    let proved = match is_at(&temporary, client) {
        Ok(true) => {
            let from = place.path().to_vec();
            place.set_name(&own);
            publish(client, &from, place.path(), true).map(|()| true)
        }
        Ok(false) => is_at(&own, client).map_err(Failure::from),
        Err(error) => Err(error.into()),
    };
    if proved? {
        // With this record, the next run need not ask the server again.
        journal.write(&record.with("renamed", "yes"))?;
        return Ok(true);
    }
    Ok(false)
}

/// Verifies that the server confirmed at least the size.
fn check_verified(done: &Done) -> Result<(), Failure> {
    match done.verified {
        Verified::None => {
            let message =
                "uploaded, but not removed: the server does not report the size of the file";
            Err(Failure::item(Exit::Unsupported, message))
        }
        _ => Ok(()),
    }
}

/// Returns the facts that identify a local file. They include the time of the last change (ctime),
/// because programs can set only the modification time.
fn identity(metadata: &Metadata) -> Record {
    Record::of_file(metadata)
        .with("changed", &metadata.ctime())
        .with("changed-nanoseconds", &metadata.ctime_nsec())
}

/// Removes a local file if it is still the file that was uploaded.
fn remove(local: &Path, uploaded: &Record) -> Result<(), Failure> {
    let now = fs::metadata(local).map_err(|error| failed(local, &error))?;
    if identity(&now) != *uploaded {
        let message = "uploaded, but not removed: the local file changed";
        return Err(Failure::item(Exit::Integrity, message).never_retried());
    }
    fs::remove_file(local).map_err(|error| failed(local, &error))?;
    let directory = parent(local);
    sync_directory(directory).map_err(|error| failed(directory, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure { fatal: false, ..Failure::local(shown_path(path), error) }
}
