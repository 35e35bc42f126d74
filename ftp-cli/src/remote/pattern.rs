//! Finds the objects in a directory that match a pattern, which is the last part of a URL.

use ftp_client::listing::{Budget, ListOptions, Listing, ListingForm};
use ftp_client::{Client, Error, Place};
use ftp_proto::{Entry, Escaped, FtpUrl, ParseError, ParseErrorKind, Pathname, Pattern};

use crate::exit::{Exit, Failure, Result};

/// Returns the failure for a pattern that matches nothing.
pub(crate) fn no_match() -> Failure {
    Failure::item(Exit::Refused, "no name matches the pattern")
}

/// Returns the failure for an object whose name leads out of its directory, or cannot be sent.
pub(crate) fn invalid(name: &[u8]) -> Failure {
    Failure::item(Exit::Protocol, format!("{}: not a valid name, skipped", Escaped(name)))
}

/// Objects that a URL stands for.
pub(crate) enum Named {
    /// The object with exactly that name.
    Itself,
    Matches {
        /// In the directory of the place. Sorted by name.
        entries: Vec<Entry>,
        /// Names that match, but are not valid, such as those with a `/`. At least one of `entries`
        /// and `invalid` is not empty.
        invalid: Vec<Vec<u8>>,
    },
    /// A complete listing has no name that matches.
    Nothing,
}

/// The last part of a path as a pattern. As in a shell, it matches a name that begins with a dot only if
/// it begins with one itself.
pub(crate) struct NamePattern {
    pattern: Pattern,
    pub(crate) is_of_hidden: bool,
}

impl NamePattern {
    /// Returns whether a listed name is meant.
    pub(crate) fn is_meant(&self, name: &[u8]) -> bool {
        // A name with a `/` is never hidden, because it must be reported.
        self.pattern.matches(name)
            && (self.is_of_hidden || !name.starts_with(b".") || name.contains(&b'/'))
            && !matches!(name, b"" | b"." | b"..")
    }
}

/// Returns whether the last part of a URL can be a pattern. An escaped name is that name: a script that
/// removes it twice must not remove others.
pub(crate) fn is_pattern(url: &FtpUrl) -> bool {
    !url.is_directory() && url.is_pattern() && Pattern::is_in(Pathname::split(url.path()).1)
}

/// Checks that a URL ends in a valid pattern, for `--glob`.
///
/// # Errors
///
/// Returns `Usage` if the URL has no last part, or if that is invalid.
pub(crate) fn is_usable(url: &FtpUrl) -> Result {
    match url.is_directory() {
        true => Err(Failure::usage(format!("{url}: --glob needs a pattern at the end of the URL"))),
        false => of_last_part(url.path()).map(drop).map_err(|failure| failure.context(url)),
    }
}

/// Returns the pattern in the last part of a path.
///
/// # Errors
///
/// Returns `Usage` for an invalid pattern, and for a pattern that is meant for several directories:
/// taken for the last part alone, it would match nothing, or other names.
pub(crate) fn of_last_part(path: &[u8]) -> Result<NamePattern> {
    let (directory, name) = Pathname::split(path);
    let pattern = match Pattern::parse_name(name) {
        // Brackets and question marks are usual in the names of directories.
        _ if directory.contains(&b'*') => Err("* in the name of a directory".to_owned()),
        Ok(_) if name.windows(2).any(|two| two == b"**") => Err("** in a URL".to_owned()),
        Ok(pattern) => {
            return Ok(NamePattern { pattern, is_of_hidden: name.starts_with(b".") });
        }
        Err(error) => Err(explained(name, error)),
    };
    pattern.map_err(|why| {
        let form = "expected a pattern of names as the last part, such as *.txt or *.{jpg,png}";
        Failure::item(Exit::Usage, format!("pattern: {why}: {form}"))
    })
}

/// Returns what is wrong with a pattern, and what to write instead.
pub(crate) fn explained(pattern: &[u8], error: ParseError) -> String {
    let why = match (error.kind, pattern.get(error.at)) {
        (ParseErrorKind::UnexpectedEnd, Some(b'\\')) => {
            "\\ at the end; write \\\\ for the character"
        }
        (ParseErrorKind::UnexpectedEnd, Some(b'[')) => "[ without ]; write \\[ for the character",
        (ParseErrorKind::UnexpectedEnd, Some(b'{')) => "{ without }; write \\{ for the character",
        (ParseErrorKind::UnexpectedEnd, _) => "expected a pattern",
        (ParseErrorKind::UnexpectedByte, Some(b'}')) => "} without {; write \\} for the character",
        (ParseErrorKind::UnexpectedByte, Some(b'\\')) => "\\ before /",
        (ParseErrorKind::UnexpectedByte, _) if pattern.contains(&b'{') => {
            "an empty part, or a / only in braces; write / or **/ before the braces"
        }
        (ParseErrorKind::UnexpectedByte, _) => "an empty part, which matches no name; remove a /",
        (ParseErrorKind::Unsupported, Some(b'*')) => {
            "** beside other characters; expected **/, /**/ or /**"
        }
        (ParseErrorKind::Unsupported, Some(b'{')) => {
            "braces without a comma; expected {a,b}, or write \\{ for the character"
        }
        (ParseErrorKind::UnknownWord, _) => "unknown class; expected one such as [[:alpha:]]",
        (ParseErrorKind::BadNumber, _) => "a range that ends before its beginning",
        _ => "[= or [. in a set; write \\[ for the character",
    };
    why.to_owned()
}

/// Returns the objects that a URL stands for. Unless `--glob` is given (`is_asked`), an object
/// whose name is exactly the last part of the URL takes precedence over matches. `place` is that of the
/// URL: its directory may be entered, even if this fails.
///
/// # Errors
///
/// Returns `Usage` for unsupported syntax, `Integrity` or `Protocol` if the listing is not known to be
/// complete, and the errors of the client.
pub(crate) fn named(client: &mut Client, place: &mut Place, is_asked: bool) -> Result<Named> {
    if !is_asked && client.look(place.path(), ListingForm::Auto)?.is_some() {
        return Ok(Named::Itself);
    }
    let pattern = of_last_part(place.path())?;
    loop {
        let (directory, name) = Pathname::split(place.path());
        let options = ListOptions::new().all(pattern.is_of_hidden);
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
            Ok(listing) => listing.understood(client)?,
            Err(error) => {
                if place.enter(client, &error)? {
                    continue;
                }
                return Err(error.into());
            }
        };
        check_lines(&listing)?;
        if listing.entries.is_empty() && listing.form != ListingForm::Mlsd && !directory.is_empty()
        {
            // Some servers, such as vsftpd, list a missing directory as empty.
            client.can_enter(directory)?;
        }
        // Some servers deny links that lead nowhere, and list them, at least in LIST. A pattern such as
        // `a[1]` is the more likely to be a name.
        let shows = |listing: &Listing| listing.entries.iter().any(|it| it.name == name);
        let is_hidden = listing.form == ListingForm::Mlsd && !pattern.pattern.matches(name);
        if !is_asked && shows(&listing) {
            return Ok(Named::Itself);
        }
        if !is_asked && is_hidden {
            let other = list(client, directory, options.form(ListingForm::List))?;
            check_lines(&other)?;
            if shows(&other) {
                return Ok(Named::Itself);
            }
        }
        let entries = listing.entries.into_iter();
        let mut entries: Vec<Entry> =
            entries.filter(|entry| pattern.is_meant(&entry.name)).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries.dedup_by(|other, one| other.name == one.name);
        let (entries, invalid): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(Entry::is_safe_name);
        let invalid: Vec<Vec<u8>> = invalid.into_iter().map(|entry| entry.name).collect();
        return Ok(match entries.is_empty() && invalid.is_empty() {
            true => Named::Nothing,
            false => Named::Matches { entries, invalid },
        });
    }
}

fn check_lines(listing: &Listing) -> Result {
    listing.unparsed.first().map_or(Ok(()), |line| {
        let message = format!("cannot parse a line of the listing: {}", Escaped(line));
        Err(Failure::item(Exit::Protocol, message))
    })
}

fn list(client: &mut Client, directory: &[u8], options: ListOptions) -> Result<Listing, Error> {
    client.features()?;
    client.list_directory(directory, options)?.gather(Budget::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_patterns_are_not_taken_literally() {
        for (path, want) in [
            ("a*", None),
            ("d/a?b[!c-e]*", None),
            ("[2024]/who?/a*", None),
            ("[*]", None),
            ("\\[a\\*", None),
            ("*.{jpg,png}", None),
            ("[[:alpha:]]*", None),
            ("{guid}*", Some("braces without a comma")),
            ("{a*", Some("{ without }")),
            ("{a/b,c}*", Some("} without {")),
            ("**", Some("** in a URL")),
            ("a**b", Some("** in a URL")),
            ("[a*", Some("[ without ]")),
            ("*[!]", Some("[ without ]")),
            ("[[:letter:]]*", Some("unknown class")),
            ("d*/a", Some("directory")),
            ("*/a*", Some("directory")),
        ] {
            let failure = of_last_part(path.as_bytes()).err();
            assert_eq!(failure.is_some(), want.is_some(), "{path}");
            if let (Some(failure), Some(want)) = (failure, want) {
                assert_eq!(failure.exit, Exit::Usage);
                assert!(failure.message.contains(want), "{path}: {}", failure.message);
            }
        }
    }
}
