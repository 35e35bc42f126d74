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

use ftp_client::Client;

use super::context::{Attempt, Context, Done, RemoteFile};
use super::journal::{self, Journal, Record};
use super::options::TemporaryName;
use super::publish::publish;
use super::skip::skipped;
use super::source::Source;
use super::take::Facts;
use super::target::{parent, sync_directory};
use super::upload::{upload, upload_plain};
use super::verify::Verified;
use crate::display::shown_path;
use crate::exit::{Exit, Failure};

/// Uploads a file under a temporary name, and then renames it to its final name.
///
/// # Errors
///
/// Returns the failures of the upload and of the renaming.
pub(super) fn upload_under(
    name: &TemporaryName,
    context: &Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    source: &mut Source<'_>,
    attempt: Attempt<'_>,
) -> Result<Done, Failure> {
    let own = remote.place.name().to_vec();
    remote.place.set_name(name.of(&own));
    let done = upload_plain(context, client, remote, source, attempt);
    let renamed = match done {
        Ok(done) if done.skipped.is_none() => {
            rename(client, remote, &own, context.settings.resume).map(|()| done)
        }
        done => done,
    };
    remote.place.set_name(&own);
    renamed
}

/// Renames the file with the temporary name to `own`.
fn rename(
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    own: &[u8],
    keeps: bool,
) -> Result<(), Failure> {
    let temporary = remote.place.path().to_vec();
    remote.place.set_name(own);
    let target = remote.place.path().to_vec();
    publish(client, &temporary, &target, keeps)
}

/// Uploads a regular file and removes it here.
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
    remote: &mut RemoteFile<'_>,
    (file, local): (&File, &Path),
    attempt: Attempt<'_>,
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
    let mut source = Source::File(file);
    let Some(name) = &context.settings.temporary else {
        let done = upload(context, client, remote, &mut source, attempt)?;
        if done.skipped.is_none() {
            check_verified(&done)?;
            remove(local, &here)?;
        }
        return Ok(done);
    };
    let journal = Journal::of(local, &remote.name.to_string(), &remote.user);
    if let Some(record) = journal.read()? {
        let is_same = record.part("here") == here;
        let is_renamed = is_renamed(client, remote, &journal, record)?;
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
    if let Some(done) = skipped(context, client, remote, &source, attempt)? {
        return Ok(done);
    }
    let own = remote.place.name().to_vec();
    remote.place.set_name(name.of(&own));
    let done = upload_plain(context, client, remote, &mut source, attempt);
    let moved = done.and_then(|done| match done.skipped {
        Some(_) => Ok(done),
        None => {
            check_verified(&done)?;
            rename_and_remove(client, remote, &own, (local, &here), &journal).map(|()| done)
        }
    });
    remote.place.set_name(&own);
    moved
}

/// Renames a complete upload to `own`, and then removes the local file.
fn rename_and_remove(
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    own: &[u8],
    (local, here): (&Path, &Record),
    journal: &Journal,
) -> Result<(), Failure> {
    let there = Facts::ask(client, remote.place.path())?.record();
    let record = Record::default().with_part("here", here).with_part("there", &there);
    let record = record.with("temporary", &journal::hex(remote.place.name()));
    journal.write(&record)?;
    rename(client, remote, own, true).inspect_err(|failure| {
        // The refusal is certain and nothing is published, so the next run starts from the
        // beginning.
        if failure.exit == Exit::Refused {
            let _ = journal.remove();
        }
    })?;
    journal.write(&record.with("renamed", "yes"))?;
    remove(local, here)?;
    journal.remove()
}

/// Gives the file of an interrupted move its final name, if necessary. Returns whether the file
/// provably has this name: a file with the final or the temporary name may be another sender's.
fn is_renamed(
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    journal: &Journal,
    record: Record,
) -> Result<bool, Failure> {
    if record.text("renamed").is_some() {
        return Ok(true);
    }
    let own = remote.place.name().to_vec();
    let Some(temporary) = record.bytes("temporary") else {
        return Err(Failure::item(
            Exit::Local,
            "the journal of the interrupted run lacks the temporary name; move *.ftp-cli-journal away",
        ));
    };
    let there = record.part("there");
    let mut is_at = |name: &[u8], client: &mut Client| {
        remote.place.set_name(name);
        Facts::ask(client, remote.place.path()).map(|facts| facts.is_recorded(&there))
    };
    let proved = match is_at(&temporary, client) {
        Ok(true) => rename(client, remote, &own, true).map(|()| true),
        Ok(false) => is_at(&own, client).map_err(Failure::from),
        Err(error) => Err(error.into()),
    };
    remote.place.set_name(&own);
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
