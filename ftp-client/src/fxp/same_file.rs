//! Finds out whether two paths of one server, seen by two logins, lead to the same file, for
//! example through links, or because the server has two addresses. Copying such a file onto itself
//! would destroy it: most servers truncate a file when they receive `STOR`, before they have read it
//! for the copy.

use ftp_proto::{Entry, Modified, Pathname, Precision};

use super::begin::answered;
use crate::age::is_about;
use crate::client::Client;
use crate::client::absence::Existence;
use crate::error::{Error, JobFault};
use crate::listing::ListingForm;
use crate::tree::probe::with_remote_probe;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FileRelation {
    /// They are two files, or one is missing.
    Two,
    /// They are the same file.
    Same,
    /// They have the same size and time, as far as known, and may be the same file.
    Unknown,
}

/// Returns whether two sessions are with the same server: compares the addresses, or the hosts and
/// ports that the caller named if a proxy hides the addresses.
fn share_server([from, at]: [&Client; 2]) -> bool {
    match (from.peer_addr(), at.peer_addr()) {
        (Some(one), Some(other)) => one == other,
        _ => match (from.identity(), at.identity()) {
            (Some(one), Some(other)) => {
                one.host.eq_ignore_ascii_case(&other.host) && one.port == other.port
            }
            _ => false,
        },
    }
}

/// Returns whether two sessions are of one user with one server.
pub(crate) fn share_login([from, at]: [&Client; 2]) -> bool {
    share_server([from, at]) && from.user() == at.user()
}

/// Checks that a copy does not replace its own source: that `target`, and `stored` if the copy has
/// a temporary path in the same directory, do not lead to the file at `source`. A temporary file
/// with another name leaves the source whole, even if `target` leads to it through links.
///
/// # Errors
///
/// Returns [`JobFault::OntoItself`], and the errors of [`compare`] and [`are_alike`].
pub(crate) fn check_apart(
    [from, at]: [&mut Client; 2],
    [source, target]: [&[u8]; 2],
    stored: Option<&[u8]>,
) -> Result<(), Error> {
    let is_one_server = share_server([from, at]);
    // If a server does not report its current directory, the facts of the files must suffice.
    if share_login([from, at])
        && let Some(names) = from.names_from_root(source)
        && let Some(mut there) = at.names_from_root(target)
    {
        let mut is_same = there == names;
        if let Some(stored) = stored {
            there.pop();
            there.push(Pathname::split(stored).1.to_vec());
            is_same |= there == names;
        }
        if is_same {
            return Err(Error::Job(JobFault::OntoItself { is_certain: true }));
        }
    }
    let written = match stored {
        Some(stored) if Pathname::split(stored).1 != Pathname::split(source).1 => return Ok(()),
        Some(stored) => stored,
        None => target,
    };
    let relation = match is_one_server {
        true => compare([from, at], [source, written])?,
        false
            if are_alike([from, at], [source, written])?
                || may_be_one([from, at], [source, written])? =>
        {
            FileRelation::Unknown
        }
        false => FileRelation::Two,
    };
    match relation {
        FileRelation::Two => Ok(()),
        FileRelation::Same => Err(Error::Job(JobFault::OntoItself { is_certain: true })),
        FileRelation::Unknown => Err(Error::Job(JobFault::OntoItself { is_certain: false })),
    }
}

/// Returns whether `MLST` gives the same `unique`, and size and time unless they change, for the file
/// `source` of one session and the file `target` of the other. Then the two addresses probably lead to one server.
/// Other servers give the same facts for two files only if they number their files alike, for example
/// as clones of one disk image.
///
/// # Errors
///
/// Returns errors of the connections. A refusal shows nothing.
fn are_alike([from, at]: [&mut Client; 2], [source, target]: [&[u8]; 2]) -> Result<bool, Error> {
    let Some(there) = exact_facts(at, target)? else { return Ok(false) };
    let Some(here) = exact_facts(from, source)?.filter(|here| here.0 == there.0) else {
        return Ok(false);
    };
    // A file that is being written differs from itself.
    Ok(here == there || exact_facts(at, target)? != Some(there))
}

/// Returns whether both servers run on one computer, such as the old and the new one during a migration.
fn share_host([from, at]: [&Client; 2]) -> bool {
    match (from.peer_addr(), at.peer_addr()) {
        (Some(one), Some(other)) => one.ip() == other.ip(),
        _ => false,
    }
}

/// Returns whether the file `source` of one session may be the file `target` of the other, although
/// different programs serve them: the sizes are equal, and the times, which the programs may tell in
/// different zones. They number files differently. Then a directory is made beside the one and looked for
/// beside the other, which can only affirm: a link can lead to one file from two directories.
///
/// # Errors
///
/// Returns errors of the connections. A refusal shows nothing.
fn may_be_one([from, at]: [&mut Client; 2], [source, target]: [&[u8]; 2]) -> Result<bool, Error> {
    let size = |client: &mut Client, path| Ok::<_, Error>(answered(client.size(path))?.flatten());
    let Some(there) = size(at, target)? else { return Ok(false) };
    // A file that is being written differs from itself.
    if size(from, source)?.is_some_and(|here| here != there) && size(at, target)? == Some(there) {
        return Ok(false);
    }
    let time =
        |client: &mut Client, path| Ok::<_, Error>(answered(client.modified(path))?.flatten());
    let times = time(from, source)?.zip(time(at, target)?);
    if times.is_some_and(|(here, there)| !is_about(here, there.unix_seconds())) {
        return Ok(false);
    }
    let [here, beside] = [source, target].map(|path| Pathname::split(path).0);
    let seen = with_remote_probe(at, beside, |name| {
        Ok(match answered(from.existence(Pathname::join(here, name)))? {
            Some(Existence::Present) => Some(true),
            Some(Existence::Absent) => Some(false),
            _ => None,
        })
    })?;
    match seen.flatten() {
        Some(false) if !share_host([from, at]) => Ok(false),
        Some(false) => Ok([is_single(from, source)?, is_single(at, target)?] != [Some(true); 2]),
        is_one => Ok(is_one.unwrap_or(true)),
    }
}

/// Returns whether a listing shows that a file has one name and is not a link; `None` if it shows neither.
pub(crate) fn is_single(client: &mut Client, path: &[u8]) -> Result<Option<bool>, Error> {
    let listed = answered(client.look(path, ListingForm::List))?.flatten();
    Ok(listed.and_then(|entry| match entry.is_link() {
        true => Some(false),
        false => entry.links.map(|links| links == 1),
    }))
}

type ExactFacts = (Vec<u8>, Option<u64>, Option<Modified>);

/// Returns `unique`, size and time of a file, if `MLST` gives `unique`.
fn exact_facts(client: &mut Client, path: &[u8]) -> Result<Option<ExactFacts>, Error> {
    let entry = identified(client, path)?;
    Ok(entry.and_then(|entry| Some((entry.unique?, entry.size, entry.modified))))
}

/// Returns the entry of an object if `MLST` gives `unique`.
///
/// # Errors
///
/// Returns errors of the connection. A refusal shows nothing.
pub(crate) fn identified(client: &mut Client, path: &[u8]) -> Result<Option<Entry>, Error> {
    if !answered(client.features())?.is_some_and(|features| features.has("MLST")) {
        return Ok(None);
    }
    let entry = answered(client.stat(path))?.flatten();
    Ok(entry.filter(|entry| entry.unique.is_some()))
}

/// Compares the file `source` of one session with the file `target` of the other. Both sessions
/// must be with the same server.
///
/// # Errors
///
/// Returns the same errors as [`Client::look`].
fn compare(
    [from, at]: [&mut Client; 2],
    [source, target]: [&[u8]; 2],
) -> Result<FileRelation, Error> {
    let Some(there) = at.look(target, ListingForm::Auto)? else { return Ok(FileRelation::Two) };
    let Some(here) = from.look(source, ListingForm::Auto)? else { return Ok(FileRelation::Two) };
    match relation(&here, &there) {
        // A file that is being written differs from itself.
        FileRelation::Two
            if there.unique.is_none() && at.look(target, ListingForm::Auto)? != Some(there) =>
        {
            Ok(FileRelation::Unknown)
        }
        relation => Ok(relation),
    }
}

fn relation(here: &Entry, there: &Entry) -> FileRelation {
    // The facts of a link may be its own, or those of its target.
    if !here.is_link()
        && !there.is_link()
        && let (Some(one), Some(other)) = (&here.unique, &there.unique)
    {
        return if one == other { FileRelation::Same } else { FileRelation::Two };
    }
    let is_exact = |modified: &Modified| modified.precision == Precision::Second;
    let time = |entry: &Entry| entry.modified.filter(is_exact).map(|modified| modified.time);
    let size = |entry: &Entry| entry.size.filter(|_| !entry.is_link());
    let differ = |one: Option<bool>| one.unwrap_or(false);
    let sizes_differ = differ(size(here).zip(size(there)).map(|(one, other)| one != other));
    let times_differ = !here.is_link()
        && !there.is_link()
        && differ(time(here).zip(time(there)).map(|(one, other)| one != other));
    if sizes_differ || times_differ { FileRelation::Two } else { FileRelation::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_proto::Facts;

    #[test]
    fn only_differing_facts_prove_different_files() {
        let file = |facts: &str| {
            let facts = Facts::parse(format!("{facts} a").as_bytes()).unwrap();
            Entry::from(&facts)
        };
        let link = "type=OS.unix=slink;size=5;unique=u2;";
        for (here, there, want) in [
            ("type=file;size=5;unique=u1;", "type=file;size=5;unique=u1;", FileRelation::Same),
            ("type=file;size=5;unique=u1;", "type=file;size=5;unique=u2;", FileRelation::Two),
            ("type=file;size=5;", "type=file;size=5;unique=u2;", FileRelation::Unknown),
            ("type=file;size=5;", "type=file;size=6;", FileRelation::Two),
            ("type=file;size=5;unique=u1;", link, FileRelation::Unknown),
            ("type=file;size=9;unique=u1;", link, FileRelation::Unknown),
            (
                "type=file;size=5;modify=20260101000000;",
                "type=file;size=5;modify=20260101000001;",
                FileRelation::Two,
            ),
            (
                "type=file;size=5;modify=20260101000000;",
                "type=file;size=5;modify=20260101000000;",
                FileRelation::Unknown,
            ),
            ("type=file;", "type=file;", FileRelation::Unknown),
        ] {
            assert_eq!(relation(&file(here), &file(there)), want, "{here} {there}");
        }
    }
}
