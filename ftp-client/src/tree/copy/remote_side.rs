//! The remote side of a synchronization.

use std::fs::{File, Metadata};
use std::sync::Arc;

use ftp_proto::{Escaped, Pathname, Permissions, TimeVal};

use super::remote_backup::RemoteBackup;
use crate::charset::{Charset, is_text};
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::repeat::Repeat;
use crate::control::learned::Promise;
use crate::digest::Checksum;
use crate::error::{Error, ErrorKind, JobFault, Recovery, is_missing};
use crate::file::evidence::{compare_digest, prove_copy};
use crate::file::journal::{LocalFacts, outlast};
use crate::listing::ListOptions;
use crate::system::MetadataExt;
use crate::tree::fault::{Setting, TreeFault};
use crate::tree::hand::Hand;
use crate::tree::names::{Relation, look};
use crate::tree::plan::{Removal, Removed};
use crate::tree::probe::Names;

/// A tree on a server, and one worker's connection to it.
pub(crate) struct RemoteSide<'a> {
    pub(crate) hand: Hand<'a>,
    pub(crate) place: RemoteTop<'a>,
}

#[derive(Clone)]
pub(crate) struct RemoteTop<'a> {
    pub(crate) top: &'a [u8],
    /// Whether the server sets modification times. All jobs share it.
    pub(crate) times: Arc<Promise>,
    pub(crate) names: Names,
    pub(crate) charset: Option<Charset>,
    pub(crate) list: ListOptions,
    pub(crate) backup: Option<&'a RemoteBackup>,
    /// Whether the server lacks `SITE CHMOD`. Each job reports this once.
    pub(crate) lacks_modes: bool,
}

impl<'a> RemoteTop<'a> {
    pub(crate) fn source(top: &'a [u8], list: ListOptions) -> Self {
        let times = Arc::new(Promise::of(false));
        let (names, charset, backup) = (Names::UNKNOWN, None, None);
        Self { top, times, names, charset, list, backup, lacks_modes: false }
    }

    /// Returns whether the server is expected to keep a path.
    pub(super) fn is_text(&self, path: &[u8]) -> bool {
        is_text(self.charset, path)
    }

    /// Rejects a name that the server would change.
    pub(super) fn check(&self, path: &[u8]) -> Result<(), TreeFault> {
        if self.names != Names::Changed || self.is_text(path) {
            return Ok(());
        }
        let why = "not copied: the server changes names that are not UTF-8";
        Err(TreeFault::item(ErrorKind::Refused, why).about(path))
    }

    /// Verifies that the local file of an upload cannot change any more without another time.
    pub(super) fn outlast(
        &self,
        client: &Client,
        file: &File,
        sent: &Metadata,
    ) -> Result<(), Error> {
        match self.times.holds() {
            true => outlast(client, file, LocalFacts::of(sent)),
            false => Ok(()),
        }
    }

    /// Sets time and permissions of the complete upload `there`. Returns the failure to set one of
    /// them, without which the file is complete.
    pub(super) fn finish(
        &mut self,
        client: &mut Client,
        there: &[u8],
        mode: Option<u16>,
        here: &Metadata,
    ) -> Result<Option<TreeFault>, TreeFault> {
        let unset = match mode.map_or(Ok(true), |mode| self.set_mode(client, there, mode)) {
            // The file is complete without its permissions.
            Err(fault) if !fault.ends_run() => Some(fault),
            set => set.map(|_| None)?,
        };
        let untimed = self.set_time_of_copy(client, there, Some(here.mtime()))?;
        Ok(unset.or(untimed))
    }

    /// Sets the permission bits of the object at `path`, and returns whether they were set. If the
    /// server lacks the command, the first call fails, and later calls return `false`.
    pub(super) fn set_mode(
        &mut self,
        client: &mut Client,
        path: &[u8],
        mode: u16,
    ) -> Result<bool, TreeFault> {
        if self.lacks_modes {
            return Ok(false);
        }
        let Err(error) = client.chmod(path, Permissions::new(mode)) else { return Ok(true) };
        self.lacks_modes = error.reply().is_some_and(is_missing);
        let fault = TreeFault::from(error).about(path);
        let fault = match self.lacks_modes {
            true => fault.with_kind(ErrorKind::Unsupported),
            false => fault,
        };
        // An object without its permissions is complete, and needs no second copy.
        let fault = if fault.ends_run() { fault } else { fault.never_retried() };
        Err(fault.then("the permissions were not set").of(Setting::Permissions))
    }

    /// Sets the modification time of a complete copy. Returns the server's refusal, unless a retry
    /// may help.
    pub(super) fn set_time_of_copy(
        &self,
        client: &mut Client,
        path: &[u8],
        seconds: Option<i64>,
    ) -> Result<Option<TreeFault>, TreeFault> {
        match self.set_time(client, path, seconds) {
            Err(fault) if !fault.ends_run() && fault.recovery() != Recovery::TryAgain => {
                Ok(Some(fault))
            }
            set => set.map(|()| None),
        }
    }

    /// Sets the modification time of a copy that this run has stored. If the server lists the command
    /// and refuses it, it counts as one that cannot set times, which is not a failure.
    pub(super) fn set_time(
        &self,
        client: &mut Client,
        path: &[u8],
        seconds: Option<i64>,
    ) -> Result<(), TreeFault> {
        let time = seconds.and_then(TimeVal::from_unix_seconds).filter(|_| self.times.holds());
        let Some(time) = time else { return Ok(()) };
        let Err(error) = client.set_modified(path, time) else {
            self.times.kept();
            return Ok(());
        };
        if error.reply().is_some_and(|reply| self.times.refused(reply, true)) {
            log::warn!(
                target: "ftp_client",
                "{}: {error}: copies keep the times that the server gives them",
                Escaped(path)
            );
        }
        match self.times.holds() {
            false if matches!(error, Error::Refused { .. }) => Ok(()),
            _ => {
                let fault = TreeFault::from(error).about(path);
                Err(fault.then("copied, but without its modification time"))
            }
        }
    }
}

impl<'a> RemoteSide<'a> {
    /// Returns the side of one worker; `hand` is its connection.
    pub(crate) fn new(mut hand: Hand<'a>, place: RemoteTop<'a>) -> Self {
        if let Names::Kept { doubles } = place.names {
            hand.set_doubles(doubles);
        }
        Self { hand, place }
    }

    pub(super) fn make(&mut self, path: &[u8], repeat: &mut Repeat) -> Result<(), TreeFault> {
        self.place.check(path)?;
        let path = Pathname::join(self.place.top, path);
        let made = repeat.make_in_tree(self.hand.client()?, &path);
        made.map_err(|error| TreeFault::from(error).about(&path))
    }

    pub(super) fn remove(&mut self, removal: &Removal) -> Result<(), TreeFault> {
        let Self { hand, place } = self;
        let client = hand.client()?;
        if removal.what == Removed::Entry && place.backup.is_some() {
            return place.back_up(client, &removal.path).map(drop);
        }
        let path = Pathname::join(place.top, &removal.path);
        let gone = match removal.what {
            Removed::Directory => Repeat::single().remove_listed(client, &path),
            Removed::Entry => Repeat::single().delete(client, &path),
        };
        gone.map_err(|error| TreeFault::from(error).about(&path))
    }

    pub(super) fn remove_together(
        &mut self,
        files: &[&Removal],
    ) -> Result<Vec<Result<(), TreeFault>>, TreeFault> {
        let Self { hand, place } = self;
        if place.backup.is_some() || files.len() < 2 {
            return Ok(Vec::new());
        }
        let paths: Vec<_> =
            files.iter().map(|file| Pathname::join(place.top, &file.path)).collect();
        let gone = hand.client()?.delete_together(&paths)?.unwrap_or_default();
        let about = |(gone, path): (Result<(), Error>, &Vec<u8>)| {
            gone.map_err(|error| TreeFault::from(error).about(path))
        };
        let gone = gone.into_iter().zip(&paths).map(about);
        Ok(gone.collect())
    }

    pub(super) fn rename(&mut self, from: &[u8], path: &[u8]) -> Result<bool, TreeFault> {
        self.place.check(path)?;
        let (from, to) =
            (Pathname::join(self.place.top, from), Pathname::join(self.place.top, path));
        match self.hand.client()?.rename(&from, &to) {
            Ok(()) => Ok(true),
            Err(Error::Refused { .. }) => Ok(false),
            Err(error) => Err(TreeFault::from(error).about(&to)),
        }
    }

    pub(super) fn relation(
        &mut self,
        listed: &[u8],
        unlisted: &[u8],
    ) -> Result<Relation, TreeFault> {
        let (listed, unlisted) =
            (Pathname::join(self.place.top, listed), Pathname::join(self.place.top, unlisted));
        Ok(look(self.hand.client()?, &listed, &unlisted)?)
    }

    pub(super) fn has(&mut self, path: &[u8], name: &[u8]) -> Result<bool, TreeFault> {
        let path = Pathname::join(self.place.top, &Pathname::join(path, name));
        match self.hand.client()?.existence(&path) {
            Ok(Existence::Present) => Ok(true),
            Ok(Existence::Absent) => Ok(false),
            Ok(Existence::Unknown) => Err(unproved(
                &path,
                "cannot check whether both sides are the same directory: the server does not report whether a file exists; no file was copied or removed",
            )),
            Err(error) => Err(TreeFault::from(error).about(&path)),
        }
    }

    pub(super) fn set_mode(&mut self, path: &[u8], mode: u16) -> Result<bool, TreeFault> {
        let Self { hand, place } = self;
        let path = Pathname::join(place.top, path);
        place.set_mode(hand.client()?, &path, mode)
    }

    pub(super) fn set_time(&mut self, path: &[u8], seconds: i64) -> Result<(), TreeFault> {
        let Self { hand, place } = self;
        let path = Pathname::join(place.top, path);
        place.set_time(hand.client()?, &path, Some(seconds))
    }
}

/// What the time of the server's file must prove before a source goes.
pub(super) enum TimeProof {
    /// It is the one that the server told right after the upload, if it told one.
    Noted(Option<i64>),
    /// It is that of the local file, if the server reports it.
    OfUpload,
    /// It is that of the local file, and still the listed one.
    OfDownload(Option<i64>),
}

/// Verifies that the server's file at `path` has the size of a local file, and the time.
pub(super) fn prove_facts(
    client: &mut Client,
    path: &[u8],
    here: &Metadata,
    proof: &TimeProof,
) -> Result<(), TreeFault> {
    let size = client.size(path).map_err(|error| TreeFault::from(error).about(path))?;
    let time = match proof {
        TimeProof::Noted(None) => None,
        _ if size == Some(here.len()) => modified(client, path)?,
        _ => None,
    };
    let listed = if let TimeProof::OfDownload(listed) = proof { *listed } else { time };
    let is_same = match proof {
        TimeProof::Noted(noted) => noted.is_none_or(|noted| time == Some(noted)),
        _ => time.is_none_or(|time| time == here.mtime() && listed.is_none_or(|it| it == time)),
    };
    let is_timed = !matches!(proof, TimeProof::OfDownload(_)) || time.is_some() && listed.is_some();
    prove_copy(size, here.len(), is_same, is_timed).map_err(|fault| match fault {
        JobFault::NotMoved(what) => {
            unproved(path, &format!("source not removed: the server does not report the {what}"))
        }
        _ => differs(path),
    })
}

pub(super) fn prove_content(
    client: &mut Client,
    path: &[u8],
    file: &File,
    here: &Metadata,
) -> Result<(), TreeFault> {
    let Some(mut checksum) = Checksum::for_server(client)? else {
        let why = "source not removed: the server offers no suitable digest";
        return Err(unproved(path, why));
    };
    prove_facts(client, path, here, &TimeProof::Noted(None))?;
    let digested = checksum.update_from(file, here.len());
    digested.map_err(|error| TreeFault::local(path, &error))?;
    let compared = compare_digest(client, path, checksum.finish());
    match compared.and_then(|compared| compared.proves(true)) {
        Ok(_) => Ok(()),
        Err(Error::Mismatch { .. }) => Err(differs(path)),
        Err(error) => Err(TreeFault::from(error).about(path)),
    }
}

/// Returns the failure of a confirmed upload over a file of its size that nothing shows to be new.
pub(super) fn not_replaced(path: &[u8]) -> TreeFault {
    TreeFault::from(Error::Job(JobFault::NotReplaced)).of_one().about(path)
}

fn differs(path: &[u8]) -> TreeFault {
    let text = "source not removed: the two files differ";
    TreeFault::item(ErrorKind::Integrity, text).about(path).never_retried()
}

fn unproved(path: &[u8], text: &str) -> TreeFault {
    TreeFault::item(ErrorKind::Unsupported, text).about(path)
}

/// Returns the modification time of a remote file in seconds since 1970-01-01T00:00:00Z, if the
/// server reports it.
pub(crate) fn modified(client: &mut Client, path: &[u8]) -> Result<Option<i64>, TreeFault> {
    match client.modified(path) {
        Ok(time) => Ok(time.map(|time| time.unix_seconds())),
        Err(Error::Refused { .. }) => Ok(None),
        Err(error) => Err(TreeFault::from(error).about(path)),
    }
}
