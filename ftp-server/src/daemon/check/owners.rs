//! Checks the settings `owner`, `group`, `file_mode` and `directory_mode` of users: whether the server
//! can give files what they say, and whether it can use the files afterwards.

use rustix::process::geteuid;

use super::{Findings, first_of};
use crate::daemon::DaemonErrorKind;
use crate::daemon::config::{ANONYMOUS, Config, User};
use crate::daemon::privileges::{FileGroup, FileOwner};
use crate::daemon::toml_text::shown;
use crate::storage::server_rights::{may_access, may_give_to_user, owns_all_files};
use crate::{LocalConfig, Rights};

/// `is_service` is whether the process has switched to the user of a service, whose capabilities it
/// does not have.
pub(super) fn check(config: &Config, is_service: bool, findings: &mut Findings) {
    for line in unable(config) {
        match is_service {
            true => findings.note(format_args!("{line}; this check cannot see if the unit does")),
            false => findings.fail(DaemonErrorKind::Configuration, format_args!("{line}")),
        }
    }
    let is_missing = |user: &User| user.root.directory().is_some_and(|root| !root.exists());
    let made = |(_, user): &&(String, &User)| user.create_home && is_missing(user);
    for (whose, user) in on_disk(config).iter().filter(made) {
        let is_other = |owner: &&FileOwner| owner.id() != geteuid().as_raw();
        let Some(owner) = user.owner.as_ref().filter(is_other) else { continue };
        let why = format!("the new root belongs to the server's user, with mode 0700: {owner}");
        let what_to_do = "cannot enter it; create the roots yourself, or remove owner";
        findings.warn(format_args!("{whose}: create_home: {why} {what_to_do}"));
    }
    for line in locked_out(config) {
        match is_service {
            true => findings.note(format_args!("{line}; this check cannot see if the unit does")),
            false => findings.warn(format_args!("{line}")),
        }
    }
}

/// Returns one line for each owner and group in the settings to whom the server cannot give files.
pub(in crate::daemon) fn unable(config: &Config) -> Vec<String> {
    let cure = match config.run_as() {
        Some(_) => "leave security.run_as empty, and start it as its user with CAP_CHOWN",
        None => "give it CAP_CHOWN",
    };
    let lines = on_disk(config).into_iter().flat_map(|(whose, user)| {
        let owner = user.owner.as_ref().filter(|owner| !may_give_to_user(owner.id()));
        let owner = owner.map(|owner| {
            format!(
                "owner: the server's user cannot give files to user \"{owner}\"; {cure} \
                 (AmbientCapabilities of a systemd unit, or setpriv --ambient-caps), or run the \
                 server as that user"
            )
        });
        let group = user.group.as_ref().filter(|group| !group.is_ours());
        let group = group.map(|group| {
            format!(
                "group: the server's user cannot give files to group \"{group}\"; make it a member \
                 of the group, or give it CAP_CHOWN"
            )
        });
        [owner, group].into_iter().flatten().map(move |why| (why, whose.clone()))
    });
    joined(lines)
}

/// Returns one line for each reason why the server could not use the files that it gives away.
pub(in crate::daemon) fn locked_out(config: &Config) -> Vec<String> {
    let local = config.settings.local;
    let users = on_disk(config).into_iter();
    joined(users.filter_map(|(whose, user)| Some((lack_of_use(user, local)?, whose))))
}

fn lack_of_use(user: &User, local: LocalConfig) -> Option<String> {
    let owner = user.owner.as_ref()?;
    let umask = user.umask.unwrap_or(local.umask);
    let may = |mode: Option<u32>, all: u32, wanted| {
        let group = user.group.as_ref().map(FileGroup::id);
        may_access(Some(owner.id()), group, mode.unwrap_or(all & !umask), wanted)
    };
    let may_use_file = |wanted| may(user.file_mode, 0o666, wanted);
    let may_use_directory = may(user.directory_mode, 0o777, 0o7);
    let is_owner = owns_all_files() || geteuid().as_raw() == owner.id();
    let rights = user.all_rights();
    let uses_all = may_use_directory && may_use_file(0o4) && may_use_file(0o2);
    let what_to_do = match uses_all {
        true => "give it CAP_FOWNER",
        false => {
            "set group, file_mode and directory_mode to what its groups can use, or give it \
             CAP_DAC_OVERRIDE and CAP_FOWNER"
        }
    };
    let lacks = [
        (Rights::MKDIR, may_use_directory, "use new directories"),
        (Rights::RETRIEVE, may_use_file(0o4), "read new files"),
        (Rights::APPEND, may_use_file(0o2), "append to them"),
        (Rights::WRITE, is_owner, "set their times (MFMT)"),
        (Rights::CHMOD, is_owner, "change their mode (SITE CHMOD)"),
    ];
    let lacks: Vec<_> = lacks
        .iter()
        .filter(|(right, may, _)| rights.contains(*right) && !may)
        .map(|(.., what)| *what)
        .collect();
    (!lacks.is_empty()).then(|| {
        format!(
            "owner: the files will belong to user \"{owner}\", so the server's user cannot {}, \
             unless an ACL permits it: clients get 550; {what_to_do}",
            lacks.join(", ")
        )
    })
}

/// Returns the users who may store files on disk, with their names for messages.
pub(super) fn on_disk(config: &Config) -> Vec<(String, &User)> {
    let users = config.users_of_file().into_iter();
    let mut all: Vec<_> =
        users.map(|(name, user)| (format!("user {}", shown(name)), user)).collect();
    if config.anonymous().is_some() {
        all.push((ANONYMOUS.to_owned(), &config.settings.anonymous));
    }
    all.retain(|(_, user)| user.written().next().is_some());
    all
}

/// Joins the users of whom the same is to be said.
fn joined(lines: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for (why, whose) in lines {
        match all.iter_mut().find(|(other, _)| *other == why) {
            Some((_, users)) => users.push(whose),
            None => all.push((why, vec![whose])),
        }
    }
    all.into_iter().map(|(why, users)| format!("{}: {why}", first_of(&users))).collect()
}
