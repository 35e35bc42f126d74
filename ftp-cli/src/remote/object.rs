//! Finds out what a remote object is, even if the server does not report that directly.

use super::path::split;
use crate::exit::{Exit, Failure};
use ftp_client::{Client, Error, ListOptions, Listed, ListingForm};
use ftp_proto::{Entry, EntryKind, Escaped, Modified, Precision, Severity, Verb, Zone};

/// Looks up the object at `path`: by `MLST`, else in the listing of its directory, with exact size
/// and time from `SIZE` and `MDTM`. `form` is the kind of listing; a form other than `Auto` skips
/// `MLST`. Returns `None` for a missing object, or one that the server hides.
///
/// # Errors
///
/// Returns 4xx and 530 replies, errors of the connection, and an incomplete listing that does not
/// contain the object.
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

/// Returns a name's entry in the listing of a directory.
fn in_listing(
    client: &mut Client,
    directory: &[u8],
    name: &[u8],
    form: ListingForm,
) -> Result<Option<Entry>, Error> {
    let all = name.first() == Some(&b'.');
    let entries = match client.list_directory(directory, ListOptions { all, form }) {
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
            // The listing is incomplete, but contains the object.
            Err(Error::ListingCut(_)) if found.is_some() => return Ok(found),
            // For an empty or missing directory, some servers refuse the listing only at its end.
            Err(error) if is_no(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Returns whether there is an object at `path`: by its facts, else by a complete listing of its
/// directory. Returns `None` if neither shows whether the object exists.
///
/// # Errors
///
/// Returns 4xx and 530 replies, and errors of the connection.
pub(crate) fn is_there(client: &mut Client, path: &[u8]) -> Result<Option<bool>, Error> {
    client.is_there(path)
}

/// Returns whether an error is a permanent refusal of a command. A 530, and refusals of `USER`,
/// `PASS`, `EPSV` and `PASV`, do not count.
pub(crate) fn is_no(error: &Error) -> bool {
    matches!(error, Error::Refused(verb, reply)
        if reply.code().severity() == Severity::Permanent
            && !matches!(verb, Verb::User | Verb::Pass | Verb::Epsv | Verb::Pasv)
            && reply.code().value() != 530)
}

/// Tests whether `path` is a directory by entering it, then returns to the previous directory if
/// the server reports it (`PWD`).
///
/// # Errors
///
/// Returns the server's refusal to enter the directory or to return, and errors of the connection.
pub(crate) fn can_enter(client: &mut Client, path: &[u8]) -> Result<(), Error> {
    let here = match client.pwd() {
        Err(Error::Refused(..)) => None,
        here => Some(here?),
    };
    client.cwd(path)?;
    here.map_or(Ok(()), |here| client.cwd(here.as_bytes()))
}

/// Returns whether `path` is proved to be a directory: by `MLST`, else by entering it, else by the
/// listing of the directory above. A listing that may be incomplete proves nothing.
///
/// # Errors
///
/// Returns 4xx and 530 replies, and errors of the connection.
pub(crate) fn is_directory(client: &mut Client, path: &[u8]) -> Result<bool, Error> {
    if client.features()?.has("MLST")
        && let Some(entry) = client.stat(path)?
        && !entry.is_link()
    {
        return Ok(entry.is_dir());
    }
    // A link may lead to a directory: entering it shows that.
    match client.pwd() {
        Ok(here) => match client.cwd(path) {
            Err(error) if is_no(&error) => Ok(false),
            entered => entered.and_then(|()| client.cwd(here.as_bytes())).map(|()| true),
        },
        // The way back is not known, so the directory is not entered.
        Err(Error::Refused(..)) => match look(client, path, ListingForm::List) {
            Err(Error::ListingCut(_)) => Ok(false),
            found => Ok(found?.is_some_and(|entry| entry.is_dir())),
        },
        Err(error) => Err(error),
    }
}

/// Returns the failure for a listing without any line that can be parsed, which names the server's
/// system (`SYST`).
///
/// # Errors
///
/// Returns errors of the connection.
pub(crate) fn not_understood(client: &mut Client, line: &[u8]) -> Result<Failure, Error> {
    let system = match client.system() {
        Err(Error::Refused(..)) => String::new(),
        system => format!(" (SYST: {})", Escaped(&system?)),
    };
    let what = format!("no line of the listing was understood{system}");
    Ok(Failure::item(Exit::Protocol, format!("{what}; the first is: {}", Escaped(line))))
}
