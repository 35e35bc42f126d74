//! Gives up root.

use std::io;

use ftp_server::daemon::RunAs;
use nix::unistd::{
    Gid, Uid, getgroups, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid,
};

/// Switches every thread of this process to the user `run_as`, if there is one, the user's group and
/// supplementary groups, for good.
///
/// # Errors
///
/// Returns the system's error if the process cannot switch (only root can), or an error if it could
/// still switch back to root.
pub(crate) fn drop_privileges(run_as: Option<&RunAs>) -> io::Result<()> {
    let Some(run_as) = run_as else { return Ok(()) };
    let user = Uid::from_raw(run_as.user_id());
    let group = Gid::from_raw(run_as.group_id());
    let is_it_already = getresuid()
        .is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [user; 3])
        && getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [group; 3]);
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
    if !run_as.more_groups().is_empty() {
        let more = run_as.more_groups().iter().map(|group| Gid::from_raw(*group));
        let all: Vec<_> = getgroups().map_err(failed)?.into_iter().chain(more).collect();
        setgroups(&all).map_err(failed)?;
    }
    setresgid(group, group, group).map_err(failed)?;
    setresuid(user, user, user).map_err(failed)?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("the system still allows switching back to root"));
    }
    Ok(())
}

pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}
