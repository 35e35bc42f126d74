//! Drops root privileges for good: the process switches to another user.

use std::io;

use ftp_server::daemon::RunAs;
use nix::unistd::{Gid, Uid, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid};

/// Switches every thread of this process to this user, this group, and the user's supplementary
/// groups, for good.
///
/// # Errors
///
/// Returns the system's error if the process cannot switch (only root can), or an error if it could
/// still switch back to root.
pub(super) fn give_up_root(run_as: &RunAs) -> io::Result<()> {
    let user = Uid::from_raw(run_as.user_id());
    let group = Gid::from_raw(run_as.group_id());
    let is_it_already = getresuid()
        .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| *id == user))
        && getresgid()
            .is_ok_and(|ids| [ids.real, ids.effective, ids.saved].iter().all(|id| *id == group));
    if is_it_already && !is_root() {
        return Ok(());
    }
    let failed = |errno: nix::Error| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("cannot switch to user \"{run_as}\": {error}"))
    };
    match run_as.system_name() {
        Some(name) => initgroups(name, group),
        None => setgroups(&[]),
    }
    .map_err(failed)?;
    setresgid(group, group, group).map_err(failed)?;
    setresuid(user, user, user).map_err(failed)?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("the system still allows switching back to root"));
    }
    Ok(())
}

/// Returns whether this process runs as root.
pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}
