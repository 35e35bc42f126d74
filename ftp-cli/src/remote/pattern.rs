//! Finds the objects in a directory that match a pattern, which is the last part of a URL.

use ftp_client::{Client, Entered, Error, ListLimits, ListOptions, Listing, ListingForm, Place};
use ftp_proto::{Entry, Escaped, FtpUrl, Pattern};

use super::object;
use super::path;
use crate::exit::{Exit, Failure};

/// Message for a pattern without a match.
pub(crate) const NO_MATCH: &str = "no name matches the pattern";

/// Returns the failure for an object whose name leads out of its directory, or cannot be sent.
pub(crate) fn invalid(name: &[u8]) -> Failure {
    Failure::item(Exit::Protocol, format!("{}: not a valid name, skipped", Escaped(name)))
}

/// Objects that a URL stands for.
pub(crate) enum Named {
    /// The object with exactly that name.
    Itself,
    /// The objects that the pattern matches.
    Matches {
        /// Path of their directory, absolute or relative to the current directory.
        directory: Vec<u8>,
        /// Sorted by name.
        entries: Vec<Entry>,
        /// Names that match, but are not valid, such as those with a `/`. At least one of `entries`
        /// and `invalid` is not empty.
        invalid: Vec<Vec<u8>>,
    },
}

/// Returns whether the last part of a URL can be a pattern.
pub(crate) fn is_pattern(url: &FtpUrl) -> bool {
    !url.is_directory() && Pattern::parse(path::split(url.path()).1).is_some()
}

/// Checks that a URL has a last part, for `--glob`.
///
/// # Errors
///
/// Returns `Usage` if it has none.
pub(crate) fn has_name(url: &FtpUrl) -> Result<(), Failure> {
    match url.is_directory() {
        true => Err(Failure::usage(format!("{url}: --glob needs a pattern at the end of the URL"))),
        false => Ok(()),
    }
}

/// Returns the objects that a URL stands for. Unless `--glob` is given (`is_asked`), an object
/// whose name is exactly the last part of the URL takes precedence over matches. As in a shell, a
/// pattern matches a name that begins with a dot only if the pattern itself begins with one.
///
/// # Errors
///
/// Returns `Refused` if nothing matches, `Integrity` or `Protocol` if the listing is not known to
/// be complete, and the errors of the client.
pub(crate) fn named(client: &mut Client, url: &FtpUrl, is_asked: bool) -> Result<Named, Failure> {
    let mut place = Place::of(url);
    if !is_asked && object::look(client, place.path(), ListingForm::Auto)?.is_some() {
        return Ok(Named::Itself);
    }
    loop {
        let (directory, name) = path::split(place.path());
        let pattern = Pattern::of(name);
        let all = name.starts_with(b".");
        let options = ListOptions { all, ..ListOptions::default() };
        let listed = match list(client, directory, options) {
            // The names of NLST are enough, and need no parsing.
            Ok(listing) if !listing.unparsed.is_empty() && listing.form == ListingForm::List => {
                let names = ListOptions { form: ListingForm::Nlst, ..options };
                match list(client, directory, names) {
                    Ok(names) if names.unparsed.is_empty() => Ok(names),
                    Ok(_) => Ok(listing),
                    Err(error) if object::is_no(&error) => Ok(listing),
                    Err(error) => Err(error),
                }
            }
            listed => listed,
        };
        let listing = match listed {
            Ok(listing) => listing,
            Err(error) => {
                if place.enter(client, &error)? == Entered::There {
                    continue;
                }
                return Err(error.into());
            }
        };
        if let Some(line) = listing.unparsed.first() {
            if listing.entries.is_empty() {
                return Err(object::not_understood(client, line)?);
            }
            let message = format!("cannot parse a line of the listing: {}", Escaped(line));
            return Err(Failure::item(Exit::Protocol, message));
        }
        if listing.entries.is_empty() && listing.form != ListingForm::Mlsd && !directory.is_empty()
        {
            // Some servers, such as vsftpd, list a missing directory as empty.
            object::can_enter(client, directory)?;
        }
        let is_meant = |entry: &Entry| {
            // A name with a `/` is never hidden, because it must be reported.
            pattern.matches(&entry.name)
                && (all || !entry.name.starts_with(b".") || entry.name.contains(&b'/'))
                && !matches!(entry.name.as_slice(), b"" | b"." | b"..")
        };
        let mut entries: Vec<Entry> = listing.entries.into_iter().filter(is_meant).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries.dedup_by(|other, one| other.name == one.name);
        let (entries, invalid): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(Entry::is_safe_name);
        let invalid: Vec<Vec<u8>> = invalid.into_iter().map(|entry| entry.name).collect();
        return match entries.is_empty() && invalid.is_empty() {
            true => Err(Failure::item(Exit::Refused, NO_MATCH)),
            false => Ok(Named::Matches { directory: directory.to_vec(), entries, invalid }),
        };
    }
}

/// Collects the listing of a directory.
fn list(client: &mut Client, directory: &[u8], options: ListOptions) -> Result<Listing, Error> {
    client.list_directory(directory, options)?.gather(ListLimits::default())
}
