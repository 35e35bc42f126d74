//! Finds the objects in a directory that match a pattern, which is the last part of a URL.

use ftp_client::{Client, Entered, Error, ListLimits, ListOptions, Listing, ListingForm, Place};
use ftp_proto::{Entry, Escaped, FtpUrl, Pattern};

use crate::exit::{Exit, Failure};
use ftp_client::tree::path;

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

/// Checks that a URL ends in a pattern that this program understands, for `--glob`.
///
/// # Errors
///
/// Returns `Usage` if the URL has no last part, or if it uses other syntax of shells.
pub(crate) fn is_usable(url: &FtpUrl) -> Result<(), Failure> {
    match url.is_directory() {
        true => Err(Failure::usage(format!("{url}: --glob needs a pattern at the end of the URL"))),
        false => is_understood(url.path()).map_err(|failure| failure.context(url)),
    }
}

/// Checks that a path that is meant as a pattern has no syntax that shells know and this program
/// does not: it would be taken literally, and match nothing, or other names.
///
/// # Errors
///
/// Returns `Usage` with the syntax.
pub(crate) fn is_understood(path: &[u8]) -> Result<(), Failure> {
    let (directory, name) = path::split(path);
    // Brackets and question marks are usual in the names of directories.
    let found = match directory.contains(&b'*') {
        true => Some("* in the name of a directory"),
        false => foreign_syntax(name),
    };
    match found {
        Some(syntax) => {
            let form = "expected *, ?, [abc] or [!abc] in the last part; [*] is a literal *";
            Err(Failure::item(Exit::Usage, format!("pattern: {syntax} is not supported: {form}")))
        }
        None => Ok(()),
    }
}

/// Returns the first syntax in a pattern that only shells know. In a set, each character stands for
/// itself.
fn foreign_syntax(pattern: &[u8]) -> Option<&'static str> {
    let mut rest = pattern;
    loop {
        rest = match rest {
            [] => return None,
            [b'\\', ..] => return Some("\\"),
            [b'*', b'*', ..] => return Some("**"),
            [b'{', after @ ..] => {
                let inner = after.split(|byte| *byte == b'}').next().unwrap_or_default();
                match inner.len() < after.len() && inner.contains(&b',') {
                    true => return Some("{a,b}"),
                    false => after,
                }
            }
            [b'[', b'[', b':', ..] => return Some("[[:class:]]"),
            [b'[', after @ ..] => {
                let after = after.strip_prefix(b"!").or(after.strip_prefix(b"^")).unwrap_or(after);
                // The first member may be a `]`.
                let end = after.iter().skip(1).position(|byte| *byte == b']');
                match end.and_then(|end| after.get(end + 2..)) {
                    Some(after) => after,
                    None => return Some("[ without ]"),
                }
            }
            [_, after @ ..] => after,
        };
    }
}

/// Returns the objects that a URL stands for. Unless `--glob` is given (`is_asked`), an object
/// whose name is exactly the last part of the URL takes precedence over matches. As in a shell, a
/// pattern matches a name that begins with a dot only if the pattern itself begins with one.
///
/// # Errors
///
/// Returns `Usage` for unsupported syntax, `Refused` if nothing matches, `Integrity` or `Protocol`
/// if the listing is not known to be complete, and the errors of the client.
pub(crate) fn named(client: &mut Client, url: &FtpUrl, is_asked: bool) -> Result<Named, Failure> {
    let mut place = Place::of(url);
    if !is_asked && client.look(place.path(), ListingForm::Auto)?.is_some() {
        return Ok(Named::Itself);
    }
    is_understood(place.path())?;
    loop {
        let (directory, name) = path::split(place.path());
        let pattern = Pattern::of(name);
        let all = name.starts_with(b".");
        let options = ListOptions::new().all(all);
        let listed = match list(client, directory, options) {
            // The names of NLST are enough, and need no parsing.
            Ok(listing) if !listing.unparsed.is_empty() && listing.form == ListingForm::List => {
                let names = options.form(ListingForm::Nlst);
                match list(client, directory, names) {
                    Ok(names) if names.unparsed.is_empty() => Ok(names),
                    Ok(_) => Ok(listing),
                    Err(error) if error.is_no() => Ok(listing),
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
                return Err(client.unreadable_listing(line).into());
            }
            let message = format!("cannot parse a line of the listing: {}", Escaped(line));
            return Err(Failure::item(Exit::Protocol, message));
        }
        if listing.entries.is_empty() && listing.form != ListingForm::Mlsd && !directory.is_empty()
        {
            // Some servers, such as vsftpd, list a missing directory as empty.
            client.can_enter(directory)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_syntax_is_not_taken_literally() {
        for (path, want) in [
            ("a*", None),
            ("d/a?b[!c-e]*", None),
            ("[2024]/who?/a*", None),
            ("[*]", None),
            ("[]]*", None),
            ("[\\]*", None),
            ("[{]a,b}*", None),
            ("{guid}*", None),
            ("{a", None),
            ("**", Some("**")),
            ("a**b", Some("**")),
            ("*.{jpg,png}", Some("{a,b}")),
            ("a\\*", Some("\\")),
            ("[a", Some("[ without ]")),
            ("[!]", Some("[ without ]")),
            ("[[:alpha:]]*", Some("[[:class:]]")),
            ("d*/a", Some("directory")),
            ("*/a*", Some("directory")),
        ] {
            let failure = is_understood(path.as_bytes()).err();
            assert_eq!(failure.is_some(), want.is_some(), "{path}");
            if let (Some(failure), Some(want)) = (failure, want) {
                assert_eq!(failure.exit, Exit::Usage);
                assert!(failure.message.contains(want), "{path}: {}", failure.message);
            }
        }
    }
}
