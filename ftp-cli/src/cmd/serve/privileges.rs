//! Giving up root: the process goes on as another user, for good.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::fchown;

use nix::unistd::{
    Gid, Group, Uid, User, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid,
};

/// A user of this system, and the group of what the process makes as that user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RunAs {
    /// As it was written.
    text: String,
    user: Uid,
    /// What the system calls the user, whose further groups it knows by that.
    name: Option<CString>,
    group: Gid,
}

impl RunAs {
    /// Reads `USER` or `USER:GROUP`, each a name or a number. Without a group it is the user's
    /// own.
    ///
    /// # Errors
    ///
    /// A sentence: there is no such user or group, or it is root.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let unknown = || format!("there is no user \"{user}\"");
        let (id, known) = match user.parse() {
            Ok(id) => (Uid::from_raw(id), User::from_uid(Uid::from_raw(id)).ok().flatten()),
            Err(_) => {
                let known = User::from_name(user).ok().flatten().ok_or_else(unknown)?;
                (known.uid, Some(known))
            }
        };
        let group = match group {
            None => known.as_ref().ok_or_else(unknown)?.gid,
            Some(group) => match group.parse() {
                Ok(id) => Gid::from_raw(id),
                Err(_) => {
                    let known = Group::from_name(group).ok().flatten();
                    known.ok_or_else(|| format!("there is no group \"{group}\""))?.gid
                }
            },
        };
        if id.is_root() || group.as_raw() == 0 {
            return Err(format!("\"{text}\" is root, which is to be given up"));
        }
        let name = known.and_then(|known| CString::new(known.name).ok());
        Ok(Self { text: text.to_owned(), user: id, name, group })
    }

    /// Makes every thread of this process run as this user, with this group and those further ones that
    /// the system lists the user in. There is no way back.
    ///
    /// # Errors
    ///
    /// What the system said: only root can become somebody else.
    pub(crate) fn give_up_root(&self) -> io::Result<()> {
        let Self { user, group, ref name, .. } = *self;
        let is_it_already = getresuid()
            .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| *id == user))
            && getresgid().is_ok_and(|ids| {
                [ids.real, ids.effective, ids.saved].iter().all(|id| *id == group)
            });
        if is_it_already && !Uid::effective().is_root() {
            return Ok(());
        }
        let failed = |errno: nix::Error| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("cannot run as {self}: {error}"))
        };
        match name {
            Some(name) => initgroups(name, group),
            None => setgroups(&[]),
        }
        .map_err(failed)?;
        setresgid(group, group, group).map_err(failed)?;
        setresuid(user, user, user).map_err(failed)?;
        if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
            return Err(io::Error::other("root could be had again"));
        }
        Ok(())
    }
}

impl RunAs {
    /// Makes a file this user's and group's, if the process may still do so. It is to be one that
    /// the process has made itself: what others have put there is not given away.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn give(&self, file: &File) -> io::Result<()> {
        match is_root() {
            true => fchown(file, Some(self.user.as_raw()), Some(self.group.as_raw())),
            false => Ok(()),
        }
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether this process may do anything.
pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}
