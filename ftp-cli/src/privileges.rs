//! Giving up root: the process goes on as another user, for good.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::fchown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Group, Uid, User, getresgid, getresuid, setgroups, setresgid, setresuid};

/// A user of this system, and the one group that the process is in as that user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RunAs {
    /// As it was written.
    text: String,
    user: Uid,
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
        let (id, own_group) = match user.parse() {
            Ok(id) => {
                let known = User::from_uid(Uid::from_raw(id)).ok().flatten();
                (Uid::from_raw(id), known.map(|known| known.gid))
            }
            Err(_) => {
                let known = User::from_name(user).ok().flatten().ok_or_else(unknown)?;
                (known.uid, Some(known.gid))
            }
        };
        let group = match group {
            None => own_group.ok_or_else(unknown)?,
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
        Ok(Self { text: text.to_owned(), user: id, group })
    }

    /// Makes every thread of this process run as this user, with this group and no other. There is
    /// no way back.
    ///
    /// # Errors
    ///
    /// What the system said: only root can become somebody else.
    pub(crate) fn give_up_root(&self) -> io::Result<()> {
        let Self { user, group, .. } = *self;
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
        setgroups(&[]).map_err(failed)?;
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

/// What may be done in a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Allowed {
    /// It can be listed, and what is in it opened.
    pub(crate) read: bool,
    /// Files can be made in it.
    pub(crate) write: bool,
}

/// Looks at each directory that it is given, and prints `r` or `-`, and `w` or `-`, on a line each.
const LOOK: &str = "for d do
    test -r \"$d\" && test -x \"$d\" && printf r || printf -- -
    test -w \"$d\" && test -x \"$d\" && echo w || echo -
done";

/// So many directories are looked at by one shell: the system limits its arguments.
const AT_ONCE: usize = 200;

impl RunAs {
    /// What this user may do in directories, in their order. A shell that is started as this user
    /// looks, so that the kernel itself says it, directories above and access lists included.
    ///
    /// # Errors
    ///
    /// The system's, if there is no shell or this process may not start one as somebody else.
    pub(crate) fn allowed(&self, directories: &[&Path]) -> io::Result<Vec<Allowed>> {
        let mut allowed = Vec::new();
        for some in directories.chunks(AT_ONCE) {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", LOOK, "sh"]);
            for directory in some {
                shell.arg(std::path::absolute(directory)?);
            }
            // From a directory that everybody may be in. Further groups are dropped with the user.
            shell.current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
            let said = shell.uid(self.user.as_raw()).gid(self.group.as_raw()).output()?.stdout;
            let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let is = |line: &[u8], at, letter| line.get(at) == Some(&letter);
            allowed.extend(
                lines.map(|line| Allowed { read: is(line, 0, b'r'), write: is(line, 1, b'w') }),
            );
        }
        match allowed.len() == directories.len() {
            true => Ok(allowed),
            false => Err(io::Error::other("the shell did not look at all of them")),
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
