//! Copies objects from one side to the other; each job has a [`Copier`].

mod across;
mod down;
mod local_side;
mod looks;
mod remote_backup;
mod remote_side;
mod up;

pub(crate) use across::Across;
pub(crate) use down::{Down, copy_together};
pub(crate) use local_side::LocalSide;
pub(crate) use remote_backup::{RemoteBackup, overlaps};
pub(crate) use remote_side::{RemoteSide, RemoteTop, modified};
pub(crate) use up::{Ahead, Up};

use std::ffi::OsStr;

use ftp_proto::{Pathname, Verb};

use super::entry::Stamp;
use super::fault::{Setting, TreeFault};
use super::hand::Hand;
use super::manifest::Sum;
use super::names::Relation;
use super::options::OBJECTS;
use super::plan::{Copied, Plan, PlannedCopy, PlannedLink, Removal};
use super::probe::{with_probe, with_remote_probe};
use super::scan::{Contents, LocalTree, RemoteTree, Scan};
use crate::client::Client;
use crate::client::absence::Existence;
use crate::client::repeat::Repeat;
use crate::digest::Checksum;
use crate::error::ErrorKind;
use crate::event::Observer;
use crate::file::evidence::Resume;
use crate::listing::Budget;
use crate::system::OsStrExt;

/// Executor of a plan. Paths are relative to the top; the path of the top itself is empty.
pub(crate) enum Copier<'a> {
    Down(Down<'a>),
    Up(Up<'a>),
    Across(Across<'a>),
}

impl<'a> Copier<'a> {
    /// Returns the remote side; the target if both are remote.
    fn far(&mut self) -> &mut RemoteSide<'a> {
        match self {
            Self::Down(Down { from: far, .. })
            | Self::Up(Up { to: far, .. })
            | Self::Across(Across { to: far, .. }) => far,
        }
    }

    fn hands(&mut self) -> impl Iterator<Item = &mut Hand<'a>> {
        let (from, far) = match self {
            Self::Down(Down { from: far, .. }) | Self::Up(Up { to: far, .. }) => (None, far),
            Self::Across(Across { from, to, .. }) => (Some(from), to),
        };
        from.into_iter().chain([far]).map(|side| &mut side.hand)
    }

    /// Creates a directory at the target. `repeat` remembers earlier attempts.
    ///
    /// # Errors
    ///
    /// Returns the failure; it is fatal if no other object should be tried.
    pub(crate) fn make(&mut self, path: &[u8], repeat: &mut Repeat) -> Result<(), TreeFault> {
        match self {
            Self::Down(Down { to, .. }) => to.make(path),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.make(path, repeat),
        }
    }

    /// Copies a file into the directory at `path`, reporting its events to `on`.
    ///
    /// # Errors
    ///
    /// Returns the same failures as [`make`](Self::make).
    pub(crate) fn copy(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        on: &dyn Observer,
    ) -> Result<Copied, TreeFault> {
        match self {
            Self::Down(down) => down.copy(path, copy, on),
            Self::Up(up) => up.copy(path, copy, on),
            Self::Across(across) => across.copy(path, copy, on),
        }
    }

    /// Asks the target whether `unlisted`, which is about to be written, is the object `listed`,
    /// both in the directory at `path`.
    ///
    /// # Errors
    ///
    /// Returns the same failures as [`make`](Self::make).
    pub(crate) fn relation(
        &mut self,
        path: &[u8],
        listed: &[u8],
        unlisted: &[u8],
    ) -> Result<Relation, TreeFault> {
        let (listed, unlisted) = (Pathname::join(path, listed), Pathname::join(path, unlisted));
        match self {
            Self::Down(Down { to, .. }) => to.relation(&listed, &unlisted),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => {
                to.relation(&listed, &unlisted)
            }
        }
    }

    pub(crate) fn temporary(&self, name: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Down(_) => None,
            Self::Up(Up { options, .. }) | Self::Across(Across { options, .. }) => {
                options.temporary.as_ref().map(|temporary| temporary.of(name))
            }
        }
    }

    /// Announces a copy and those that follow it. In mode B, the client requests several downloads at
    /// once, and each upload before the previous upload is confirmed.
    pub(crate) fn plan(&mut self, plan: &Plan, copies: &[&PlannedCopy]) {
        match self {
            Self::Down(down) => down.plan(plan, copies),
            Self::Up(up) => up.plan(plan, copies.get(1).copied()),
            Self::Across(_) => {}
        }
    }

    /// Returns how many announced copies are requested or asked for ahead, as far as known.
    pub(crate) fn ahead(&self) -> usize {
        match self {
            Self::Down(Down { options, .. }) => {
                let own = self.client().filter(|_| options.resume == Resume::Own);
                own.map_or(0, Client::downloads_ahead).max(1)
            }
            Self::Up(_) => 1,
            Self::Across(_) => 0,
        }
    }

    /// Returns whether only this copier knows where the old file of the last failed copy is.
    pub(crate) fn keeps_old(&self) -> bool {
        match self {
            Self::Down(_) => false,
            Self::Up(Up { failed, .. }) => failed.as_ref().is_some_and(|it| it.kept.is_some()),
            Self::Across(Across { failed, .. }) => {
                failed.as_ref().is_some_and(|failed| failed.1.keeps_old())
            }
        }
    }

    pub(crate) fn client(&self) -> Option<&Client> {
        match self {
            Self::Down(Down { from: far, .. })
            | Self::Up(Up { to: far, .. })
            | Self::Across(Across { to: far, .. }) => far.hand.open(),
        }
    }

    /// Returns whether the server already waits for the next copy, so that no other command should
    /// be sent.
    pub(crate) fn has_next(&self) -> bool {
        matches!(self, Self::Up(up) if up.ahead.is_requested)
    }

    /// Sets the modification time of the copy at `path` of the target, in seconds since
    /// 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// Returns the same failures as [`make`](Self::make).
    pub(crate) fn set_time(&mut self, path: &[u8], seconds: i64) -> Result<(), TreeFault> {
        match self {
            Self::Up(Up { to, .. }) => to.set_time(path, seconds),
            // Downloads and copies between servers have already set the time.
            Self::Down(_) | Self::Across(_) => Ok(()),
        }
    }

    /// Creates a symbolic link in the directory at `path` of the target.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the target is on a server, because FTP has no command for links. Also
    /// returns the same failures as [`make`](Self::make).
    pub(crate) fn link(&mut self, path: &[u8], link: &PlannedLink) -> Result<(), TreeFault> {
        match self {
            Self::Down(Down { to, .. }) => to.link(path, link),
            Self::Up(_) | Self::Across(_) => Err(no_remote_links()),
        }
    }

    /// Sets the permission bits of the object at `path` of the target. Returns whether they were
    /// set. If the server cannot set them, the first call fails, and later calls return `false`.
    ///
    /// # Errors
    ///
    /// Returns the same failures as [`make`](Self::make).
    pub(crate) fn set_mode(&mut self, path: &[u8], mode: u16) -> Result<bool, TreeFault> {
        match self {
            Self::Down(Down { to, .. }) => to.set_mode(path, mode).map(|()| true),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.set_mode(path, mode),
        }
    }

    /// Removes an object from the target.
    ///
    /// # Errors
    ///
    /// Returns the same failures as [`make`](Self::make).
    pub(crate) fn remove(&mut self, removal: &Removal) -> Result<(), TreeFault> {
        match self {
            Self::Down(Down { to, .. }) => to.remove(removal),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.remove(removal),
        }
    }

    /// Returns whether the last removal got no reply, so that it may have been carried out.
    pub(crate) fn has_lost_removal(&self) -> bool {
        let unanswered = match self {
            Self::Down(_) => None,
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.hand.unanswered(),
        };
        matches!(unanswered, Some(Verb::Dele | Verb::Rmd | Verb::Rnto))
    }

    /// Removes files of one directory of the target together: the first ones, as many as can be sent at
    /// once. Returns the result for each of these, or nothing if none was removed, so that each needs its
    /// own call of [`remove`](Self::remove).
    ///
    /// # Errors
    ///
    /// Returns the failure of the connection. Any of the files may have been removed then.
    pub(crate) fn remove_together(
        &mut self,
        files: &[&Removal],
    ) -> Result<Vec<Result<(), TreeFault>>, TreeFault> {
        match self {
            Self::Down(_) => Ok(Vec::new()),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.remove_together(files),
        }
    }

    /// Lists a directory of the target, that of a server with its entries sorted by name.
    ///
    /// # Errors
    ///
    /// Returns the failure, which is fatal unless it concerns only this directory.
    pub(crate) fn list(&mut self, path: &[u8]) -> Result<Contents, TreeFault> {
        let limits = Budget::new().entries(OBJECTS);
        match self {
            Self::Down(Down { to, .. }) => LocalTree(Some(to.top)).list(path, limits),
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => {
                RemoteTree::new(&mut to.hand, to.place.top, to.place.list).list(path, limits)
            }
        }
    }

    /// Returns the content of a file of a local source.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the file cannot be read, and `Integrity` if it changes meanwhile.
    pub(crate) fn sum(&self, path: &[u8]) -> Result<Sum, TreeFault> {
        match self {
            Self::Up(Up { from, .. }) => LocalTree(Some(from.top)).sum(path),
            Self::Down(_) | Self::Across(_) => Err(no_local_side()),
        }
    }

    /// Renames a file of the target, and returns whether the server did that.
    ///
    /// # Errors
    ///
    /// Returns the failure, unless the server refuses.
    pub(crate) fn rename(&mut self, from: &[u8], path: &[u8]) -> Result<bool, TreeFault> {
        match self {
            Self::Up(Up { to, .. }) | Self::Across(Across { to, .. }) => to.rename(from, path),
            Self::Down(_) => Ok(false),
        }
    }

    /// Asks a target on a server for files by their names.
    ///
    /// # Errors
    ///
    /// Returns the failure of a question.
    pub(crate) fn shown(&mut self, paths: &[Vec<u8>]) -> Result<Vec<Existence>, TreeFault> {
        self.on_target(|client, place| {
            let paths = paths.iter().map(|path| (Pathname::join(place.top, path), true));
            if client.tells_absence()? {
                return Ok(client.existences(&paths.collect::<Vec<_>>())?);
            }
            Ok(paths.map(|(path, _)| client.existence(path)).collect::<Result<_, _>>()?)
        })
    }

    /// Calls `act` with the connection to the target and the target's top. If the connection is
    /// lost, calls `act` once more with a new one.
    ///
    /// # Errors
    ///
    /// Returns the failure of `act`, and of the connection.
    pub(crate) fn on_target<T>(
        &mut self,
        mut act: impl FnMut(&mut Client, &RemoteTop<'_>) -> Result<T, TreeFault>,
    ) -> Result<T, TreeFault> {
        let RemoteSide { hand, place } = self.far();
        hand.ask(|client| act(client, place))
    }

    /// Removes a file from the directory at `path` of the source, if the target provably has the
    /// same file. `copied` describes the copy that this run made; `None` means that the planner
    /// found the two files equal. `repeat` remembers earlier attempts.
    ///
    /// # Errors
    ///
    /// Returns `Integrity` if the files differ, and `Unsupported` if the server does not report
    /// enough for a proof. Returns `Usage` if both sides are servers. Also returns the same
    /// failures as [`make`](Self::make).
    pub(crate) fn remove_source(
        &mut self,
        path: &[u8],
        copy: &PlannedCopy,
        copied: Option<&Copied>,
        repeat: &mut Repeat,
    ) -> Result<(), TreeFault> {
        match self {
            Self::Down(down) => {
                let there = Pathname::join(down.from.place.top, &Pathname::join(path, &copy.name));
                let gone = repeat.was_removed(down.from.hand.client()?, &there);
                if gone.map_err(|error| TreeFault::from(error).about(&there))? {
                    return Ok(());
                }
                let removed = down.remove_source(path, copy, copied);
                if removed.is_err() && down.from.hand.unanswered() == Some(Verb::Dele) {
                    repeat.lose_removal(&there);
                }
                removed
            }
            Self::Up(up) => up.remove_source(path, copy, copied),
            Self::Across(_) => Err(no_local_side()),
        }
    }

    /// Returns whether the directory at `path` is the same on both sides. For this, creates a file
    /// on the local side, looks for it on the server, and removes it.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if the server does not report whether a file exists, and `Usage` if
    /// both sides are servers. Also returns the same failures as [`make`](Self::make).
    pub(crate) fn is_same_directory(&mut self, path: &[u8]) -> Result<bool, TreeFault> {
        let is_up = matches!(self, Self::Up(_));
        let (near, far) = match self {
            Self::Down(Down { from, to, .. }) => (to, from),
            Self::Up(Up { from, to, .. }) => (from, to),
            Self::Across(_) => return Err(no_local_side()),
        };
        let probed = with_probe(near.directory(path)?, |name| far.has(path, name));
        let Err(error) = probed else { return probed.unwrap_or(Ok(false)) };
        let here = near.here.join(OsStr::from_bytes(path));
        let there = Pathname::join(far.place.top, path);
        let seen = match is_up {
            // Perhaps only the server may write there.
            true => with_remote_probe(far.hand.client()?, &there, |name| {
                Ok(here.join(OsStr::from_bytes(name)).symlink_metadata().is_ok())
            })?,
            false => None,
        };
        seen.ok_or_else(|| TreeFault::local(path, &error))
    }

    /// Returns whether a server is on this computer, or cannot set times, so that the files of one
    /// directory do not count as equal.
    pub(crate) fn may_share_disk(&self) -> bool {
        !self.sets_times() || self.client().is_some_and(Client::is_near)
    }

    /// Returns whether the target sets the times of copies, as far as is known.
    pub(crate) fn sets_times(&self) -> bool {
        !matches!(self, Self::Up(Up { to, .. }) if !to.place.times.holds())
    }

    /// Returns whether files are written under their own names to a server. If so, an upload of a
    /// tree onto itself would truncate its files.
    pub(crate) fn writes_in_place(&self) -> bool {
        match self {
            Self::Up(Up { options, .. }) => options.temporary.is_none(),
            // A download replaces a file only when it is complete, and copies between servers
            // compare each file.
            Self::Down(_) | Self::Across(_) => false,
        }
    }

    /// Returns whether a change of a source file within the second of its listed time would go
    /// unnoticed. Before a source is removed, the server's clock is not trusted.
    ///
    /// # Errors
    ///
    /// Returns errors that end the connection.
    pub(crate) fn relies_on_times(&mut self, plan: &Plan) -> Result<bool, TreeFault> {
        match self {
            // The age of a local file is known when its copy gets the time.
            Self::Up(_) => Ok(false),
            Self::Down(Down { from, .. }) if plan.moves => {
                Ok(!plan.copies.is_empty() && Checksum::for_server(from.hand.client()?)?.is_none())
            }
            Self::Down(_) | Self::Across(_) => {
                Ok(plan.copies.iter().any(|copy| copy.stamp.is_some_and(Stamp::is_young)))
            }
        }
    }

    /// Connects, unless there is a connection already.
    ///
    /// # Errors
    ///
    /// Returns the failure to connect.
    pub(crate) fn connect(&mut self) -> Result<(), TreeFault> {
        self.hands().try_for_each(|hand| hand.client().map(drop))
    }

    /// Returns whether an action on the target, or on a source on a server, is to be tried once more
    /// on a new connection, as [`Hand::replaces`] decides.
    pub(crate) fn replaces(&mut self, failure: &TreeFault) -> bool {
        self.far().hand.replaces(failure)
    }

    /// Drops connections that may have failed.
    pub(crate) fn disconnect(&mut self) {
        self.hands().for_each(Hand::drop_client);
    }

    pub(crate) fn quit(&mut self, failure: Option<&TreeFault>) {
        self.hands().for_each(|hand| hand.end(failure));
    }
}

pub(crate) fn no_local_side() -> TreeFault {
    TreeFault::new(ErrorKind::Usage, "one side must be local").of(Setting::Moves)
}

pub(crate) fn no_remote_links() -> TreeFault {
    let text = "FTP cannot create symbolic links on a server";
    TreeFault::new(ErrorKind::Usage, text).of(Setting::Links)
}
