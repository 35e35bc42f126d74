//! The remote side of a mirror.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use ftp_client::tree::Relation;
use ftp_client::{Checksum, Client, Error, FtpUrl, ListLimits, ListOptions, TimeVal};
use ftp_proto::Permissions;

use super::super::names::{Names, is_text};
use super::super::plan::{Removal, Removed};
use super::super::trees::{failed, relation};
use super::backup::RemoteBackup;
use crate::connect::sessions::Sessions;
use crate::display::shown;
use crate::exit::{Exit, Failure, Recovery};
use crate::transfer::options::Verify;
use crate::transfer::verify;
use ftp_client::tree::links::{NO_DIRECTORY, NOT_EMPTY, Proof, says};
use ftp_client::tree::path::join;

/// A tree on a server, and the connection to it.
pub(crate) struct RemoteSide<'a> {
    pub(crate) sessions: Sessions<'a>,
    pub(crate) url: &'a FtpUrl,
    pub(crate) top: &'a [u8],
    /// Whether the server can set modification times.
    pub(crate) takes_times: bool,
    /// The server's treatment of names that are not UTF-8.
    pub(crate) names: Names,
    /// The kind of listings.
    pub(crate) list: ListOptions,
    /// `--backup-dir`, if this is the target.
    pub(crate) backup: Option<&'a RemoteBackup>,
    /// Whether the server lacks `SITE CHMOD`. Each job reports this once.
    pub(crate) lacks_modes: bool,
}

impl<'a> RemoteSide<'a> {
    /// Returns a tree with the settings of a source.
    pub(crate) fn source(sessions: Sessions<'a>, url: &'a FtpUrl, top: &'a [u8]) -> Self {
        let names = Names::UNKNOWN;
        let (takes_times, lacks_modes) = (false, false);
        let list = ListOptions { all: true, ..ListOptions::default() };
        Self { sessions, url, top, takes_times, names, list, backup: None, lacks_modes }
    }
}

impl RemoteSide<'_> {
    /// Returns the connection to the server.
    pub(super) fn client(&mut self) -> Result<&mut Client, Failure> {
        let client = self.sessions.client(self.url)?;
        if let Names::Kept { doubles: Some(doubles) } = self.names {
            client.double_telnet_byte(doubles);
        }
        Ok(client)
    }

    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        self.client().map(drop)
    }

    pub(super) fn disconnect(&mut self) {
        self.sessions.drop_client(self.url);
    }

    /// Rejects a name that the server would change.
    pub(super) fn check(&self, path: &[u8]) -> Result<(), Failure> {
        if self.names != Names::Changed || is_text(path) {
            return Ok(());
        }
        let why = "not copied: the server changes names that are not UTF-8";
        Err(Failure::item(Exit::Refused, format!("{}: {why}", shown(path))))
    }

    pub(super) fn make(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.check(path)?;
        let path = join(self.top, path);
        let made = self.client()?.mkdir(&path);
        made.map(drop).map_err(|error| about(&path, &error))
    }

    pub(super) fn remove(&mut self, removal: &Removal) -> Result<bool, Failure> {
        if removal.what == Removed::Entry && self.backup.is_some() {
            return self.back_up(&removal.path).map(|_| true);
        }
        let path = join(self.top, &removal.path);
        let client = self.client()?;
        let gone = match removal.what {
            Removed::Directory => client.rmdir(&path),
            Removed::Entry => client.delete(&path),
            Removed::Below { proof } => return self.look_before(&path, proof),
        };
        gone.map(|()| true).map_err(|error| about(&path, &error))
    }

    /// Ensures that a listed directory is not a symbolic link to a directory. Returns whether the
    /// object was removed. If the server implements `DELE` with `unlink`, `DELE` removes a link but
    /// not a directory. `RMD` removes an empty directory; for a link, many servers reply that it is
    /// not a directory. Unless `proof` is [`Proof::Directory`], the reply to `RMD` must say that
    /// the directory is not empty.
    fn look_before(&mut self, path: &[u8], proof: Proof) -> Result<bool, Failure> {
        let client = self.client()?;
        match client.delete(path) {
            Err(Error::Refused(..)) => {}
            gone => return gone.map(|()| true).map_err(|error| about(path, &error)),
        }
        match client.rmdir(path) {
            Err(error @ Error::Refused(..)) => {
                if says(&error, NO_DIRECTORY)
                    || !(proof == Proof::Directory || says(&error, NOT_EMPTY))
                {
                    let why = "not deleted: it may be a symbolic link";
                    let message = format!("{}: {why}", shown(path));
                    return Err(Failure::item(Exit::Refused, message));
                }
                Ok(false)
            }
            gone => gone.map(|()| true).map_err(|error| about(path, &error)),
        }
    }

    pub(super) fn relation(&mut self, listed: &[u8], unlisted: &[u8]) -> Result<Relation, Failure> {
        let (listed, unlisted) = (join(self.top, listed), join(self.top, unlisted));
        relation(self.client()?, &listed, &unlisted)
    }

    /// Returns the names in a directory, and whether the server may hide names that begin with a
    /// dot. Returns `None` if the server refuses the listing.
    pub(super) fn names_in(&mut self, path: &[u8]) -> Result<Option<super::NamesShown>, Failure> {
        let (path, options) = (join(self.top, path), self.list);
        let listed = self.client()?.list_directory(&path, options);
        match listed.and_then(|entries| entries.gather(ListLimits::default())) {
            Ok(listing) => {
                let names = listing.entries.into_iter().map(|entry| entry.name).collect();
                Ok(Some((names, !listing.shows_hidden)))
            }
            Err(Error::Refused(..)) => Ok(None),
            // Without the rest of the names, nothing is confirmed.
            Err(Error::ListingCut(_)) => Ok(Some((HashSet::new(), false))),
            Err(error) => Err(about(&path, &error)),
        }
    }

    /// Returns whether the directory at `path` has an object called `name`.
    pub(super) fn has(&mut self, path: &[u8], name: &[u8]) -> Result<bool, Failure> {
        let path = join(self.top, &join(path, name));
        match self.client()?.is_there(&path) {
            Ok(Some(is_there)) => Ok(is_there),
            Ok(None) => Err(unproved(
                &path,
                "cannot check whether both sides are the same directory: the server does not report whether a file exists; no file was copied or removed",
            )),
            Err(error) => Err(about(&path, &error)),
        }
    }

    /// Returns an empty digest of an algorithm that the server supports, or `None` if the server
    /// supports no known algorithm.
    pub(super) fn checksum(&mut self) -> Result<Option<Checksum>, Failure> {
        Checksum::for_server(self.client()?).map_err(Failure::from)
    }

    /// Sets the permission bits of the object at `path`, and returns whether they were set. If the
    /// server lacks the command, the first call fails, and later calls return `false`.
    pub(super) fn set_mode(&mut self, path: &[u8], mode: u16) -> Result<bool, Failure> {
        if self.lacks_modes {
            return Ok(false);
        }
        let error = match self.client()?.chmod(path, Permissions::new(mode)) {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        let failure = about(path, &error);
        let is_unknown = |code| matches!(code, 500 | 502 | 504);
        self.lacks_modes = error.reply().is_some_and(|reply| is_unknown(reply.code().value()));
        let exit = if self.lacks_modes { Exit::Unsupported } else { failure.exit };
        let message = format!("{}; --perms: the permissions were not set", failure.message);
        let failure = Failure { exit, message, ..failure };
        // An object without its permissions is complete, and needs no second copy.
        Err(if failure.fatal { failure } else { failure.never_retried() })
    }

    /// Announces the next calls of [`set_time`](Self::set_time), for paths relative to the top.
    pub(super) fn plan_times(&mut self, times: &[(Vec<u8>, i64)]) {
        let top = self.top;
        let times = times.iter().filter_map(|(path, seconds)| {
            TimeVal::from_unix_seconds(*seconds).map(|time| (join(top, path), time))
        });
        // If there is no connection, the calls themselves report the failure.
        let _ = self.client().map(|client| client.plan_times(times));
    }

    /// Sets the modification time of a complete copy. Returns the server's refusal, unless a retry
    /// may help.
    pub(super) fn set_time_of_copy(
        &mut self,
        path: &[u8],
        seconds: Option<i64>,
    ) -> Result<Option<Failure>, Failure> {
        match self.set_time(path, seconds) {
            Err(failure) if !failure.fatal && failure.recovery != Recovery::TryAgain => {
                Ok(Some(failure))
            }
            set => set.map(|()| None),
        }
    }

    /// Sets the modification time of a copy.
    pub(super) fn set_time(&mut self, path: &[u8], seconds: Option<i64>) -> Result<(), Failure> {
        let time = seconds.and_then(TimeVal::from_unix_seconds).filter(|_| self.takes_times);
        let Some(time) = time else { return Ok(()) };
        let set = self.client()?.set_modified(path, time);
        set.map(drop).map_err(|error| {
            let failure = about(path, &error);
            let message = format!("{}; copied, but without its modification time", failure.message);
            Failure { message, ..failure }
        })
    }
}

/// Verifies that the server's file at `path` has the size of a local file. If `compares_time` is
/// set and the server reports the time, verifies the time too.
pub(super) fn prove_same(
    client: &mut Client,
    path: &[u8],
    here: &Metadata,
    compares_time: bool,
) -> Result<(), Failure> {
    prove_size(client, path, here.len())?;
    let time = if compares_time { modified(client, path)? } else { None };
    match time.is_none_or(|time| time == here.mtime()) {
        true => Ok(()),
        false => Err(differs(path)),
    }
}

/// Verifies that the server's file at `path` still has the `listed` time, and has the size and time
/// of a local file.
pub(super) fn prove_unchanged(
    client: &mut Client,
    path: &[u8],
    here: &Metadata,
    listed: Option<i64>,
) -> Result<(), Failure> {
    prove_size(client, path, here.len())?;
    let (Some(listed), Some(now)) = (listed, modified(client, path)?) else {
        return Err(unproved(
            path,
            "source not removed: the server does not report the modification time",
        ));
    };
    match now == listed && now == here.mtime() {
        true => Ok(()),
        false => Err(differs(path)),
    }
}

/// Verifies that the server's file at `path` has the content of a local file.
pub(super) fn prove_content(
    client: &mut Client,
    path: &[u8],
    (file, length): (&File, u64),
    checksum: Option<Checksum>,
) -> Result<(), Failure> {
    let Some(mut checksum) = checksum else {
        let why = "source not removed: the server offers no digest that this program supports";
        return Err(unproved(path, why));
    };
    prove_size(client, path, length)?;
    let digested = checksum.update_from(file, length);
    digested.map_err(|error| failed(path, &error))?;
    match client.compare_hash(path, &checksum.finish()) {
        Ok(()) => Ok(()),
        Err(Error::Mismatch { .. }) => Err(differs(path)),
        Err(error) => Err(about(path, &error)),
    }
}

fn prove_size(client: &mut Client, path: &[u8], bytes: u64) -> Result<(), Failure> {
    match client.size(path).map_err(|error| about(path, &error))? {
        Some(size) if size == bytes => Ok(()),
        Some(_) => Err(differs(path)),
        None => Err(unproved(path, "source not removed: the server does not report the size")),
    }
}

fn differs(path: &[u8]) -> Failure {
    let message = format!("{}: source not removed: the two files differ", shown(path));
    Failure::item(Exit::Integrity, message).never_retried()
}

fn unproved(path: &[u8], message: &str) -> Failure {
    Failure::item(Exit::Unsupported, format!("{}: {message}", shown(path)))
}

/// Returns the failure of a command about `path`.
pub(super) fn about(path: &[u8], error: &Error) -> Failure {
    Failure::from(error).context(shown(path))
}

/// Verifies that the server's file has `bytes` bytes, if the server reports the size. A 226 reply
/// alone does not prove that the file is complete. `get` and `put` use the same rule.
pub(super) fn prove(client: &mut Client, path: &[u8], bytes: u64) -> Result<(), Failure> {
    let proved = verify::check_size(client, path, bytes, Verify::BestEffort);
    proved.map(drop).map_err(|failure| failure.context(shown(path)))
}

/// Returns the modification time of a remote file in seconds since 1970-01-01T00:00:00Z, if the
/// server reports it.
pub(super) fn modified(client: &mut Client, path: &[u8]) -> Result<Option<i64>, Failure> {
    match client.modified(path) {
        Ok(time) => Ok(time.map(|time| time.unix_seconds())),
        Err(Error::Refused(..)) => Ok(None),
        Err(error) => Err(about(path, &error)),
    }
}
