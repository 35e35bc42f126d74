//! What the system permits to the server's user, its groups and its capabilities. Each thread has
//! its own; all threads of a server have the same.

use rustix::fs::Gid;
use rustix::process::{getegid, geteuid, getgroups, getuid};
use rustix::thread::{CapabilitySet, capabilities};

fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|mine| mine.effective.contains(capability))
}

/// Returns whether the server has the rights of the owner of every file.
pub(crate) fn owns_all_files() -> bool {
    has(CapabilitySet::FOWNER)
}

/// Returns whether the server may read and write every file, whatever its mode.
fn ignores_modes() -> bool {
    has(CapabilitySet::DAC_OVERRIDE)
}

/// Returns whether the server may do more than access(2) says: the call does not consider capabilities
/// of users other than root.
pub(crate) fn exceeds_access() -> bool {
    !getuid().is_root() && ignores_modes()
}

/// Returns whether the server may give its files to a user.
pub(crate) fn may_give_to_user(user: u32) -> bool {
    geteuid().as_raw() == user || has(CapabilitySet::CHOWN)
}

/// Returns whether the server may give its files to a group.
pub(crate) fn may_give_to_group(group: u32) -> bool {
    is_member_of(group) || has(CapabilitySet::CHOWN)
}

fn is_member_of(group: u32) -> bool {
    let group = Gid::from_raw_unchecked(group);
    getegid() == group || getgroups().is_ok_and(|groups| groups.contains(&group))
}

/// Returns whether the server has all the rights `wanted` (octal: 4 to read, 2 to write, 1 to search)
/// for an object with this owner, group and mode. Without an owner or a group, the object has that of
/// the server.
#[cfg(feature = "daemon")]
pub(crate) fn may_access(owner: Option<u32>, group: Option<u32>, mode: u32, wanted: u32) -> bool {
    let rights = match (owner, group) {
        (None, _) => mode >> 6,
        (Some(owner), _) if owner == geteuid().as_raw() => mode >> 6,
        (_, None) => mode >> 3,
        (_, Some(group)) if is_member_of(group) => mode >> 3,
        _ => mode,
    };
    wanted & !rights == 0 || ignores_modes()
}
