//! What one object on a server is, from a server that may not say it at once.

use super::path::split;
use ftp_client::{Client, Error, ListOptions, Listed, ListingForm};
use ftp_proto::{Entry, EntryKind, Modified, Precision, Severity, Verb, Zone};

/// Looks for the object at `path`: by `MLST`, else in the listing of the directory that it lies in,
/// with the size and time that `SIZE` and `MDTM` tell exactly. `form` is how to list; a form other
/// than `Auto` asks no `MLST`. `None` if there is no trace of it, which a server may also say of
/// what it does not show.
///
/// # Errors
///
/// 4yz and 530, and those of the connection.
pub(crate) fn look(
    client: &mut Client,
    path: &[u8],
    form: ListingForm,
) -> Result<Option<Entry>, Error> {
    if form == ListingForm::Auto
        && client.features()?.has("MLST")
        && let Some(entry) = client.stat(path)?
    {
        return Ok(Some(entry));
    }
    let (directory, name) = split(path);
    let mut found = match name {
        b"" | b"." | b".." => None,
        name => in_listing(client, directory, name, form)?,
    };
    let may_be_file = |entry: &Entry| matches!(entry.kind, None | Some(EntryKind::File));
    let is_exact = |entry: &Entry| {
        entry.modified.is_some_and(|modified| modified.precision == Precision::Second)
    };
    if name.is_empty() || found.as_ref().is_some_and(|entry| !may_be_file(entry) || is_exact(entry))
    {
        return Ok(found);
    }
    if let Some(size) = client.size(path)? {
        let entry = found.get_or_insert_with(|| Entry::new(name));
        entry.size = Some(size);
        entry.kind = entry.kind.or(Some(EntryKind::File));
    }
    if let Some(entry) = &mut found
        && let Some(time) = client.modified(path)?
    {
        entry.modified = Some(Modified { time, precision: Precision::Second, zone: Zone::Utc });
    }
    Ok(found)
}

/// What the listing of a directory says of a name in it.
fn in_listing(
    client: &mut Client,
    directory: &[u8],
    name: &[u8],
    form: ListingForm,
) -> Result<Option<Entry>, Error> {
    let all = name.first() == Some(&b'.');
    let entries = match client.list_with(directory, ListOptions { all, form }) {
        Err(error) if is_no(&error) => return Ok(None),
        entries => entries?,
    };
    let mut found = None;
    for listed in entries {
        match listed {
            Ok(Listed::Entry(entry)) if found.is_none() && entry.name == name => {
                found = Some(entry);
            }
            Ok(_) => {}
            // It is there, whatever else is.
            Err(Error::ListingCut(_)) if found.is_some() => return Ok(found),
            // Some refuse an empty directory, or one that is not there, at the end.
            Err(error) if is_no(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether the server says for good that it has no answer.
pub(crate) fn is_no(error: &Error) -> bool {
    matches!(error, Error::Refused(verb, reply)
        if reply.code().severity() == Severity::Permanent
            && !matches!(verb, Verb::User | Verb::Pass | Verb::Epsv | Verb::Pasv)
            && reply.code().value() != 530)
}

/// Finds out whether there is a directory at `path` by entering it, and goes back to where the
/// session was, if the server tells where that is (`PWD`).
///
/// # Errors
///
/// The server's refusal to enter it.
pub(crate) fn can_enter(client: &mut Client, path: &[u8]) -> Result<(), Error> {
    let here = match client.pwd() {
        Err(Error::Refused(..)) => None,
        here => Some(here?),
    };
    client.cwd(path)?;
    here.map_or(Ok(()), |here| client.cwd(here.as_bytes()))
}

/// Whether `path` is a directory, as far as the server tells.
///
/// # Errors
///
/// As [`look`].
pub(crate) fn is_directory(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    let found = look(client, path, ListingForm::Auto)?;
    if found.as_ref().is_some_and(Entry::is_link) {
        // To a directory or not: whoever can enter it knows.
        return match can_enter(client, path) {
            Err(error) if is_no(&error) => Ok(false),
            entered => entered.map(|()| true),
        };
    }
    Ok(found.is_some_and(|entry| entry.is_dir()))
}
