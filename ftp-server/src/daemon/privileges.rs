//! The user and the group that a server runs as, and the owners of files.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::unix::fs::{fchown, lchown};
use std::path::Path;
use std::{fmt, io};

use nix::unistd::{Gid, Group, Uid, User};

use crate::storage::may_give_to_group;

/// A user and a group of this system, which `security.run_as` names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunAs {
    /// The text that was parsed.
    text: String,
    user: Uid,
    /// The user's system name, which is needed to find the supplementary groups.
    name: Option<CString>,
    group: Gid,
    more_groups: Vec<u32>,
}

impl RunAs {
    /// Reads `USER` or `USER:GROUP`, each a name or a number. Without a group, the user's primary
    /// group is used.
    ///
    /// # Errors
    ///
    /// Returns a message if the user or group is unknown, or is root.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let (id, known) = find_user(user)?;
        let group = match group {
            None => known.as_ref().ok_or_else(|| unknown("user", user))?.gid,
            Some(group) => group_id(group)?,
        };
        if id.is_root() || group.as_raw() == 0 {
            return Err(format!("must not be root, but is \"{text}\""));
        }
        let name = known.and_then(|known| CString::new(known.name).ok());
        Ok(Self { text: text.to_owned(), user: id, name, group, more_groups: Vec::new() })
    }

    /// Returns the user of this system whose primary group is `group` and has the user's name, unless
    /// it is root.
    pub(crate) fn of_group(group: u32) -> Option<Self> {
        let group = Group::from_gid(Gid::from_raw(group)).ok().flatten()?;
        let user =
            User::from_name(&group.name).ok().flatten().filter(|user| user.gid == group.gid)?;
        Self::parse(&user.name).ok()
    }

    /// Adds groups that the unit of a service gives to its user.
    pub(crate) fn with_groups(self, more_groups: Vec<u32>) -> Self {
        Self { more_groups, ..self }
    }

    /// Returns the groups to have in addition to those of the user in the system.
    #[must_use]
    pub fn more_groups(&self) -> &[u32] {
        &self.more_groups
    }

    /// Returns the user's number.
    #[must_use]
    pub fn user_id(&self) -> u32 {
        self.user.as_raw()
    }

    /// Returns the number of the group.
    #[must_use]
    pub fn group_id(&self) -> u32 {
        self.group.as_raw()
    }

    /// Returns the user's name in the system, which has the supplementary groups; `None` if the
    /// system does not know the user's number.
    #[must_use]
    pub fn system_name(&self) -> Option<&CStr> {
        self.name.as_deref()
    }

    /// Changes the owner of a file to this user and group, if the process is still root. Use it
    /// only for files that this process created, so that it does not give away other users' files.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the owner cannot be changed.
    pub(crate) fn give(&self, file: &File) -> io::Result<()> {
        match is_root() {
            true => fchown(file, Some(self.user.as_raw()), Some(self.group.as_raw())),
            false => Ok(()),
        }
    }

    /// Changes the owner of the file at `path` to this user and group, if the process is still
    /// root. Does not follow a link.
    ///
    /// # Errors
    ///
    /// Returns the system's error if the owner cannot be changed.
    pub(crate) fn give_path(&self, path: &Path) -> io::Result<()> {
        match is_root() {
            true => lchown(path, Some(self.user.as_raw()), Some(self.group.as_raw())),
            false => Ok(()),
        }
    }
}

/// A user or a group of this system, by its name or number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NamedId<Id> {
    /// The text that was parsed.
    text: String,
    id: Id,
}

pub(crate) type FileOwner = NamedId<Uid>;

/// The group of files that users store or that the process creates.
pub(crate) type FileGroup = NamedId<Gid>;

/// Stands for the name of the user whose files they are.
const OWN: &str = "%u";

/// The number until [`OWN`] is found; the system has no such user.
const UNKNOWN: u32 = u32::MAX - 1;

impl FileOwner {
    /// Reads the name or number of a user, or `%u`.
    ///
    /// # Errors
    ///
    /// Returns a message if the user is unknown.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let id = if text == OWN { Uid::from_raw(UNKNOWN) } else { find_user(text)?.0 };
        Ok(Self { text: text.to_owned(), id })
    }

    pub(crate) const fn id(&self) -> u32 {
        self.id.as_raw()
    }
}

impl FileGroup {
    /// Reads the name or number of a group, or `%u`.
    ///
    /// # Errors
    ///
    /// Returns a message if the group is unknown.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let id = if text == OWN { Gid::from_raw(UNKNOWN) } else { group_id(text)? };
        Ok(Self { text: text.to_owned(), id })
    }

    pub(crate) const fn id(&self) -> u32 {
        self.id.as_raw()
    }

    /// Returns whether this process may give its files to the group.
    pub(crate) fn is_ours(&self) -> bool {
        may_give_to_group(self.id())
    }
}

impl<Id: From<u32> + Into<u32> + Copy> NamedId<Id> {
    /// Finds the number for which `%u` stands: `id` of the system user with this name, but never of
    /// root, whose name a login program may accept.
    pub(crate) fn find_own(&mut self, name: &str, id: fn(&User) -> Id) {
        // A name service can take long, so nothing else is looked up.
        let user = (self.text == OWN).then(|| User::from_name(name).ok().flatten()).flatten();
        if let Some(user) = user.filter(|user| !user.uid.is_root()) {
            self.id = id(&user);
        }
    }

    /// Returns whether the number for which `%u` stands was not found.
    pub(crate) fn is_unknown(&self) -> bool {
        self.id.into() == UNKNOWN
    }
}

impl<Id> fmt::Display for NamedId<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns the id of a user by its name or number, and what the system knows about the user.
fn find_user(user: &str) -> Result<(Uid, Option<User>), String> {
    if let Some(id) = number(user) {
        let id = Uid::from_raw(id);
        return Ok((id, User::from_uid(id).ok().flatten()));
    }
    let known = User::from_name(user).ok().flatten().ok_or_else(|| unknown("user", user))?;
    Ok((known.uid, Some(known)))
}

fn group_id(group: &str) -> Result<Gid, String> {
    if let Some(id) = number(group) {
        return Ok(Gid::from_raw(id));
    }
    let known = Group::from_name(group).ok().flatten();
    known.map(|known| known.gid).ok_or_else(|| unknown("group", group))
}

/// Returns the number of a user or group. The largest number is none: to the system, it means no
/// change.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn unknown(what: &str, name: &str) -> String {
    format!("unknown {what} \"{name}\"")
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}
