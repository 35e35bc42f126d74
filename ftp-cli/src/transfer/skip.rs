//! Decides which uploads are skipped, from the facts of the local file and of the server's file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use ftp_client::Client;

use super::context::{Attempt, Context, Done, RemoteFile};
use super::options::TransferOptions;
use super::source::Source;
use super::upload::local;
use crate::exit::{Exit, Failure};

/// Returns the result for a file that the options exclude, or `None` for other files. The result
/// depends on the facts about the local file and the server's file.
///
/// # Errors
///
/// Returns `Unsupported` if the server does not report a fact that an option needs, `Local` if the
/// local file cannot be read, and `Integrity` if the server's file may be incomplete. Also returns
/// the errors of the client.
pub(super) fn skipped(
    context: &Context<'_>,
    client: &mut Client,
    remote: &RemoteFile<'_>,
    source: &Source<'_>,
    attempt: Attempt<'_>,
) -> Result<Option<Done>, Failure> {
    let settings = context.settings;
    let here = match source {
        Source::File(file) => Some(file.metadata().map_err(|error| local(&error))?),
        Source::Stream(_) => None,
    };
    if let Some(here) = &here {
        let time = (here.mtime(), here.mtime());
        if let Some(why) = settings.selection.refuses(Some(here.len()), Some(time)) {
            return Ok(Some(Done::skipped(why)));
        }
    }
    let path = remote.place.path();
    let why = match here.filter(|_| settings.newer || settings.if_changed) {
        _ if settings.no_clobber && is_there(client, path)? => Some("exists"),
        Some(here) => is_current(settings, client, path, &here)?,
        None => None,
    };
    match why {
        Some(why) if !is_leftover(client, path, attempt)? => Ok(Some(Done::skipped(why))),
        _ => Ok(None),
    }
}

/// Returns why the server's file is current, for `--newer` and `--if-changed`, or `None` if it
/// is not.
fn is_current(
    settings: &TransferOptions,
    client: &mut Client,
    path: &[u8],
    here: &Metadata,
) -> Result<Option<&'static str>, Failure> {
    let Some(time) = client.modified(path)? else {
        let features = client.features()?;
        if features.has("MDTM") || !client.exists(path)? && features.has("SIZE") {
            // The file is missing.
            return Ok(None);
        }
        let message = "the server does not report the modification time";
        return Err(Failure::item(Exit::Unsupported, message));
    };
    let there = time.unix_seconds();
    if settings.newer && there >= here.mtime() {
        return Ok(Some("not newer here"));
    }
    let has_same_time = settings.if_changed && there == here.mtime();
    let is_same = has_same_time && client.size(path)? == Some(here.len());
    Ok(is_same.then_some("unchanged"))
}

/// Returns whether the server's file can be the incomplete file of an earlier attempt.
///
/// # Errors
///
/// Returns `Integrity` if there was such an attempt, but the server does not report sizes.
fn is_leftover(client: &mut Client, path: &[u8], attempt: Attempt<'_>) -> Result<bool, Failure> {
    let Some(sent) = attempt.past.sent.get() else { return Ok(false) };
    let size = client.size(path)?.ok_or_else(|| {
        let message =
            "an earlier attempt may have left an incomplete file, and the server does not report its size";
        Failure::item(Exit::Integrity, message).never_retried()
    })?;
    Ok(size <= sent)
}

/// Returns whether the server already has the file, for `--no-clobber`.
fn is_there(client: &mut Client, path: &[u8]) -> Result<bool, Failure> {
    if client.exists(path)? {
        return Ok(true);
    }
    // The negative answer proves that the file is missing only if the server has MDTM or MLST.
    let features = client.features()?;
    if features.has("MDTM") || features.has("MLST") {
        return Ok(false);
    }
    // A size alone proves nothing: the file may be from an interrupted upload.
    if client.size(path)?.is_none() && features.has("SIZE") {
        return Ok(false);
    }
    let message = "--no-clobber: the server does not report whether the file exists";
    Err(Failure::item(Exit::Unsupported, message))
}
