//! Decides whether a listed directory may be a symbolic link to a directory.
//!
//! Some servers follow links in all listings. What looks like a directory may be a link, and
//! removing its content would remove objects elsewhere. No command that removes is sent to find out.
//! A directory is proved to be one if
//!
//! - a listing shows it as a directory, and this kind of listing has shown a link as a link, or the
//!   server promises that in `FEAT` ([`ShownLinks`]), or
//! - the link count of its parent is that of the listed directories, and this server does not print the
//!   same count for each directory ([`ShownLinks::by_count`]), or
//! - the user says that the server has no links to directories.

use ftp_proto::Pathname;

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
    /// No evidence.
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

/// Largest number of links of a run that are followed to find one that leads to something.
const TRIES: u8 = 8;

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
    tries: u8,
}

impl ShownLinks {
    /// Judges by the number of listed subdirectories and the link count of their parent: a directory has
    /// two links, and one more per subdirectory. Some servers print the same count for each directory
    /// (Apache FtpServer). A count of one means that the file system does not count links. If the server
    /// hides a directory, a link can take its place in the count.
    fn by_count(&mut self, directories: usize, links: Option<u64>) -> Proof {
        self.note_count(links);
        match links.and_then(|links| links.checked_sub(2)) {
            Some(most) if directories as u64 > most => Proof::TooMany,
            Some(most) if directories as u64 == most && self.counts_differ => Proof::Directory,
            _ => Proof::None,
        }
    }

    /// Judges the directory at `path`, whose listed subdirectories have these names, as
    /// [`by_count`](Self::by_count) does. If all counts were equal until now, lists the first
    /// subdirectory, and the first one in that, for another count.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`by_list`].
    pub(crate) fn judge(
        &mut self,
        client: &mut Client,
        (path, names): (&[u8], &[&[u8]]),
        links: Option<u64>,
        limits: Budget,
    ) -> Result<Proof, Error> {
        let proof = self.by_count(names.len(), links);
        let fits = links == Some(names.len() as u64 + 2);
        let mut next = names.first().map(|name| Pathname::join(path, name));
        while let Some(path) = next.take()
            && fits
            && !self.counts_differ
            && self.tries < TRIES
        {
            self.tries += 1;
            let Some(listing) = by_list(client, &path, limits)? else { break };
            self.note_listing(client, &path, &listing)?;
            let first = listing.entries.iter().find(|entry| entry.is_dir() && entry.is_safe_name());
            next = first.map(|entry| Pathname::join(&path, &entry.name));
        }
        Ok(if fits { self.by_count(names.len(), links) } else { proof })
    }

    fn note_count(&mut self, links: Option<u64>) {
        if let Some(links) = links {
            self.counts_differ |= *self.first_count.get_or_insert(links) != links;
        }
    }

    /// Returns whether `LIST` shows links as links.
    pub(crate) const fn in_list(&self) -> bool {
        self.in_list || self.promised
    }

    /// Returns whether `MLSD` shows links as links.
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
        let directories =
            listing.entries.iter().chain(&listing.itself).filter(|entry| entry.is_dir());
        directories.for_each(|directory| self.note_count(directory.links));
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
