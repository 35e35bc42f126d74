//! Decides whether a listed directory may be a symbolic link to a directory.
//!
//! Some servers follow links in all listings. What looks like a directory may be a link, and
//! removing its content would remove objects elsewhere. No command that removes is sent to find out.
//! A directory is proved to be one if
//!
//! - a listing shows it as a directory, and this kind of listing has shown a link as a link, or the
//!   server promises that in `FEAT` ([`ShownLinks`]), or
//! - the link count of its parent is that of the listed directories, and other listings of this server
//!   show that it counts subdirectories ([`ShownLinks::by_count`]), or
//! - the user says that the server has no links to directories.

use ftp_proto::{Entry, Pathname};

use crate::client::Client;
use crate::error::Error;
use crate::listing::{Budget, ListOptions, Listing, ListingForm};

/// Evidence on whether a listed directory is real or a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proof {
    /// All listed directories are real, or the user says that this is a directory.
    Directory,
    /// More directories are listed than can exist.
    TooMany,
    None,
}

impl Proof {
    /// Adds the user's claim that this is a directory; the link count can still contradict that.
    pub(crate) const fn or_named(self) -> Self {
        match self {
            Self::TooMany => Self::TooMany,
            Self::Directory | Self::None => Self::Directory,
        }
    }
}

/// The feature of this project's server that `LIST` and `MLSD` never show a link as a directory.
const PROMISE: &str = "X-LINKS";

/// Largest number of links of a run that are followed to find one that leads to something, and of
/// directories that are listed for their link counts.
const TRIES: u8 = 8;

/// What a listing shows of the links to a directory.
pub(crate) struct Counted {
    /// The link count of the directory.
    pub(crate) links: Option<u64>,
    /// The number of its listed subdirectories, and of its other entries.
    directories: u64,
    others: u64,
    /// The paths and link counts of some subdirectories, of which the last one is listed first.
    pub(crate) below: Vec<(Vec<u8>, Option<u64>)>,
}

impl Counted {
    /// Counts the entries of the directory at `path`, which have these link counts if they are
    /// directories.
    pub(crate) fn of<'e>(
        path: &[u8],
        links: Option<u64>,
        entries: impl Iterator<Item = (&'e Entry, Option<Option<u64>>)>,
    ) -> Self {
        let mut counted = Self { links, directories: 0, others: 0, below: Vec::new() };
        for (entry, directory) in entries {
            let Some(links) = directory else {
                counted.others += 1;
                continue;
            };
            counted.directories += 1;
            if counted.below.len() < usize::from(TRIES) && entry.is_safe_name() {
                counted.below.push((Pathname::join(path, &entry.name), links));
            }
        }
        counted
    }

    /// As [`of`](Self::of), for a listing that tells the link counts. `links` is the count of the
    /// directory in the listing of its parent.
    pub(crate) fn of_listing(path: &[u8], links: Option<u64>, listing: &Listing) -> Self {
        let links = listing.itself.as_ref().map_or(links, |itself| itself.links);
        let entries = listing.entries.iter();
        Self::of(path, links, entries.map(|entry| (entry, entry.is_dir().then_some(entry.links))))
    }

    fn fits(&self) -> bool {
        self.links == Some(self.directories + 2)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ShownLinks {
    /// Whether `LIST`, and whether `MLSD`, shows links as links.
    in_list: bool,
    in_mlsd: bool,
    /// Whether the server of the latest listing promises that all its listings show links as links.
    promised: bool,
    /// The link count of the first listed directory, and whether another one had a different count.
    first_count: Option<u64>,
    counts_differ: bool,
    /// Whether a link count was that of the subdirectories, and cannot have been that of all entries.
    excludes_files: bool,
    tries: u8,
}

impl ShownLinks {
    /// Judges by the number of listed subdirectories and the link count of their parent: a directory has
    /// two links, and one more per subdirectory. Some servers print the same count for each directory
    /// (Apache FtpServer), and some file systems count all entries (APFS, HFS+). A count of one means
    /// that the file system does not count links. If the server hides a directory, a link can take its
    /// place in the count.
    fn by_count(&mut self, seen: &Counted) -> Proof {
        let below = seen.below.iter().map(|(_, links)| *links);
        for links in below.chain([seen.links]).flatten() {
            self.counts_differ |= *self.first_count.get_or_insert(links) != links;
        }
        self.excludes_files |= seen.fits() && seen.others > 0;
        match seen.links.and_then(|links| links.checked_sub(2)) {
            Some(most) if seen.directories > most => Proof::TooMany,
            Some(_) if seen.fits() && self.is_counting() => Proof::Directory,
            _ => Proof::None,
        }
    }

    /// Returns whether this server's link counts are those of the subdirectories.
    const fn is_counting(&self) -> bool {
        self.counts_differ && self.excludes_files
    }

    /// Judges the listed subdirectories of a directory as [`by_count`](Self::by_count) does. If nothing
    /// shows yet what the server counts, lists some of them.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`by_list`].
    pub(crate) fn judge(
        &mut self,
        client: &mut Client,
        seen: &Counted,
        limits: Budget,
    ) -> Result<Proof, Error> {
        self.by_count(seen);
        let mut next = seen.below.clone();
        while seen.fits()
            && !self.is_counting()
            && self.tries < TRIES
            && let Some((path, links)) = next.pop()
        {
            self.tries += 1;
            let Some(listing) = by_list(client, &path, limits)? else { continue };
            self.note_listing(client, &path, &listing)?;
            let below = Counted::of_listing(&path, links, &listing);
            self.by_count(&below);
            next.extend(below.below);
        }
        Ok(self.by_count(seen))
    }

    pub(crate) const fn in_list(&self) -> bool {
        self.in_list || self.promised
    }

    pub(crate) const fn in_mlsd(&self) -> bool {
        self.in_mlsd || self.promised
    }

    /// Notes that a listing shows the object at `path` as a link. That proves something only if the
    /// link leads to an object: some servers show only broken links as links (Pure-FTPd with `-b`).
    /// vsFTPd, which names itself in its greeting, always shows links.
    ///
    /// # Errors
    ///
    /// Returns errors of the connection.
    pub(crate) fn note(
        &mut self,
        client: &mut Client,
        path: Option<&[u8]>,
        is_mlsd: bool,
    ) -> Result<(), Error> {
        let is_vsftpd = |line: &[u8]| line.windows(6).any(|at| at.eq_ignore_ascii_case(b"vsftpd"));
        // Another connection may lead to another server.
        self.promised = client.features()?.has(PROMISE);
        self.in_list |= client.welcome().lines().any(is_vsftpd);
        if self.promised {
            return Ok(());
        }
        let shown = if is_mlsd { &mut self.in_mlsd } else { &mut self.in_list };
        let Some(path) = path.filter(|_| !*shown && self.tries < TRIES) else { return Ok(()) };
        self.tries += 1;
        let leads = client.visits(path)? == Some(true)
            || match client.size(path) {
                Err(Error::Refused { .. } | Error::Argument(_)) => false,
                size => size?.is_some(),
            };
        *shown = leads;
        Ok(())
    }

    /// Notes the first link of a listing of the directory at `path`.
    ///
    /// # Errors
    ///
    /// Returns errors of the connection.
    pub(crate) fn note_listing(
        &mut self,
        client: &mut Client,
        path: &[u8],
        listing: &Listing,
    ) -> Result<(), Error> {
        self.by_count(&Counted::of_listing(path, None, listing));
        let link = listing.entries.iter().find(|entry| entry.is_link());
        let link = link.map(|entry| Pathname::join(path, &entry.name));
        self.note(client, link.as_deref(), listing.form == ListingForm::Mlsd)
    }
}

/// Returns the `LIST` listing of a directory within limits, if the server sends one.
///
/// # Errors
///
/// Returns errors of the connection, 4xx and 530 replies, and an incomplete listing.
pub(crate) fn by_list(
    client: &mut Client,
    directory: &[u8],
    limits: Budget,
) -> Result<Option<Listing>, Error> {
    match list(client, directory, ListingForm::List, limits)? {
        Err(error @ Error::ListingCut(_)) => Err(error),
        listed => Ok(listed.ok()),
    }
}

/// Returns a complete listing within limits, including hidden names if the server lists them. The
/// inner error is a refusal, or an incomplete listing.
///
/// # Errors
///
/// Returns errors of the connection, and 4xx and 530 replies.
pub(crate) fn list(
    client: &mut Client,
    directory: &[u8],
    form: ListingForm,
    limits: Budget,
) -> Result<Result<Listing, Error>, Error> {
    let entries = client.list_directory(directory, ListOptions { all: true, form });
    match entries.and_then(|entries| entries.gather(limits)) {
        Err(error) if error.is_no() || matches!(error, Error::ListingCut(_)) => Ok(Err(error)),
        listed => listed.map(Ok),
    }
}
