//! Checks users and their directories, and whether the server can give files the `owner`, `group`,
//! `file_mode` and `directory_mode` of the settings, and can use the files afterwards.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::findings::{Findings, first_of, joined};
use crate::auth::is_anonymous_name;
use crate::daemon::DaemonErrorKind;
use crate::daemon::config::{ANONYMOUS, Config, ConfiguredRoot, MountPoint, User, key_of};
use crate::daemon::privileges::{FileGroup, FileOwner};
use crate::storage::{exceeds_access, free_bytes, may_access, may_give_to_user, owns_all_files};
use crate::{LocalConfig, PasswordHash, Rights, VirtualPath};
use ftp_proto::text::toml_text::shown;
use ftp_proto::text::values::{counted, rounded_size, shown_path};

/// A root that users log in to.
pub(super) struct CheckedRoot {
    /// The user or setting that the root belongs to, as messages name it.
    pub(super) whose: String,
    pub(super) root: ConfiguredRoot,
    pub(super) rights: Rights,
    /// Whether the directory is created at the first login.
    pub(super) is_made: bool,
    pub(super) is_anonymous: bool,
    /// The setting by which several users share the root on purpose.
    pub(super) shared_by: Option<String>,
}

impl CheckedRoot {
    fn of(whose: String, root: &ConfiguredRoot, rights: Rights) -> Self {
        let root = root.clone();
        Self { whose, root, rights, is_made: false, is_anonymous: false, shared_by: None }
    }
}

pub(super) fn all_homes(config: &Config) -> Vec<CheckedRoot> {
    let mut all = Vec::new();
    for (name, user) in config.users_of_file() {
        let home = CheckedRoot::of(format!("user {}", shown(name)), &user.root, user.all_rights());
        all.push(CheckedRoot { is_made: user.create_home, ..home });
    }
    if let Some((root, rights)) = config.anonymous() {
        let home = CheckedRoot::of(ANONYMOUS.to_owned(), root, rights);
        all.push(CheckedRoot { is_anonymous: true, ..home });
    }
    all.extend(homes_at_hosts(config));
    if let Some(quick) = &config.quick {
        let home =
            CheckedRoot::of("DIR".to_owned(), &ConfiguredRoot::from(&*quick.root), quick.rights);
        all.push(CheckedRoot { is_anonymous: quick.anonymous.is_some(), ..home });
    }
    all
}

/// Returns all roots that logins of the configuration reach, those of mounts included, each with its
/// owner as messages name it. Users of `auth.program` can have the roots of `[defaults]` and groups.
pub(in crate::daemon) fn all_places(config: &Config) -> Vec<(String, ConfiguredRoot)> {
    let homes = all_homes(config).into_iter().map(|home| (home.whose, home.root));
    let users = config.users_of_file().into_iter();
    let users = users.map(|(name, user)| (format!("user {}", shown(name)), user));
    let tables = config.settings.users.tables().map(|(table, user)| (table.to_string(), user));
    let tables: Vec<_> = tables.filter(|_| !config.settings.auth.program.is_empty()).collect();
    let roots = tables.iter().map(|(table, user)| (table.clone(), user.root.clone()));
    let roots: Vec<_> = homes.chain(roots).collect();
    let mounts = users.chain(tables).flat_map(|(whose, user)| {
        let whose = move |mount: &MountPoint| format!("{whose}: mounts: \"{}\"", mount.path);
        user.mounts.iter().map(move |mount| (whose(mount), mount.root.clone()))
    });
    roots.into_iter().chain(mounts).collect()
}

fn homes_at_hosts(config: &Config) -> Vec<CheckedRoot> {
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for (name, host) in config.settings.hosts.iter() {
        let key = key_of(name, "root");
        let mut add = |user: &str, rights, is_made, is_anonymous| {
            let Ok(Some(root)) = host.root_of(user) else { return };
            if host.admits(user) && known.insert((root.clone(), user.to_owned())) {
                let home = CheckedRoot::of(format!("{key} (user {})", shown(user)), &root, rights);
                all.push(CheckedRoot {
                    is_made,
                    is_anonymous,
                    shared_by: Some(key.clone()),
                    ..home
                });
            }
        };
        for (user, settings) in config.users_of_file() {
            add(user, settings.all_rights(), settings.create_home, false);
        }
        if let Some((_, rights)) = config.anonymous() {
            add(ANONYMOUS, rights, false, true);
        }
    }
    all
}

/// Checks that the process can use each user's directory as the user's rights require. `is_unsure`
/// is whether it has switched to the user of a service whose capabilities are unknown.
pub(super) fn directories(config: &Config, is_unsure: bool, findings: &mut Findings) {
    // A server with `owner` may have been given CAP_DAC_OVERRIDE.
    let may_exceed = is_unsure && on_disk(config).iter().any(|(_, user)| user.owner.is_some());
    let who = server_user(config);
    let homes = all_homes(config);
    let made = homes.iter().filter(|home| home.is_made).filter_map(|home| home.root.directory());
    let made: BTreeSet<&Path> = made.collect();
    let (mut good, mut lacking, mut unsure) = (0, Vec::new(), Vec::new());
    mounts(&config.users_of_file(), &who, findings);
    for CheckedRoot { whose, root, rights, .. } in &homes {
        // The check of the stores covers objects.
        let Some(root) = root.directory() else { continue };
        let lack = match made.contains(root) && !root.exists() {
            true => lack_for_new(root, &who),
            false => lack(root, *rights, &who),
        };
        match lack {
            None => good += 1,
            Some(lack) => {
                let is_unsure = may_exceed && root.is_dir();
                let lines = if is_unsure { &mut unsure } else { &mut lacking };
                lines.push((lack, format!("{whose}: {}", shown_path(root))));
            }
        }
    }
    for line in joined(unsure) {
        let unseen = "this check cannot see if the unit gives CAP_DAC_OVERRIDE";
        findings.note(format_args!("{line}; {unseen}"));
    }
    for line in joined(lacking) {
        findings.fail(DaemonErrorKind::Local, line);
    }
    if good > 0 {
        let what = "users' directories with sufficient permissions";
        findings.ok(format_args!("{what}: {good}"));
    }
    let may = |home: &CheckedRoot, right| home.rights.contains(right);
    let grows = |home: &&CheckedRoot| may(home, Rights::CREATE) || may(home, Rights::MKDIR);
    let growing = homes.iter().filter(grows).filter_map(|home| home.root.directory()).collect();
    too_full(&growing, config.settings.server.limits.min_free, findings);
}

fn server_user(config: &Config) -> String {
    let run_as = config.settings.run_as.as_ref();
    run_as.map_or_else(|| "the server's user".to_owned(), |user| format!("user \"{user}\""))
}

/// Warns about directories on disks with less free space than `limits.min_free`.
fn too_full(directories: &BTreeSet<&Path>, least: u64, findings: &mut Findings) {
    for directory in directories {
        let disk = statvfs(*directory).ok().filter(|disk| disk.f_blocks > 0);
        if let Some(free) = disk.map(|disk| free_bytes(&disk)).filter(|free| *free < least) {
            let (shown, free) = (shown_path(directory), rounded_size(free));
            let words = format!("limits.min_free: {shown}: only {free} are free");
            findings.warn(format_args!("{words}: uploads and MKD fail with 452"));
        }
    }
}

/// Checks the directories that are mounted into users' trees. A missing directory does not prevent
/// logins: a disk may be connected later.
fn mounts(users: &[(&String, &User)], who: &str, findings: &mut Findings) {
    for (name, user) in users {
        for MountPoint { path, root } in &user.mounts {
            let Some(directory) = root.directory() else { continue };
            let whose = format!("user {}: mounts: \"{path}\"", shown(name));
            let shown = shown_path(directory);
            let until = match directory.metadata() {
                Err(error) if error.kind() != ErrorKind::PermissionDenied => error.to_string(),
                Ok(metadata) if !metadata.is_dir() => "not a directory".to_owned(),
                _ => {
                    if let Some(lack) = lack(directory, user.rights_below(path), who) {
                        findings
                            .fail(DaemonErrorKind::Local, format_args!("{whose}: {shown}: {lack}"));
                    }
                    continue;
                }
            };
            findings.warn(format_args!("{whose}: {shown}: {until}; clients get 450 there"));
        }
        overlaps(name, user, findings);
    }
}

/// Checks for directories of a user that overlap: one contains the other, or both are the same.
/// Clients can rename the inner directory, so that the next login finds another directory in its
/// place. Files stored through a mount count towards the root's quota only after the next daily
/// count.
fn overlaps(name: &str, user: &User, findings: &mut Findings) {
    let name = shown(name);
    let root = MountPoint { path: VirtualPath::root(), root: user.root.clone() };
    let root_place = canonical(&root);
    let mounts: Vec<_> = user.mounts.iter().filter_map(canonical).collect();
    for (inner, directory) in mounts.iter().chain(&root_place) {
        let is_outer = |(outer, around): &&(&MountPoint, PathBuf)| {
            let lies_in_it = directory != around && directory.starts_with(around);
            lies_in_it && user.rights_below(&outer.path).contains(Rights::RENAME)
        };
        let Some((outer, _)) = mounts.iter().chain(&root_place).find(is_outer) else { continue };
        let whose = match inner.path.is_root() {
            true => "root".to_owned(),
            false => format!("mounts: \"{}\"", inner.path),
        };
        let [inner, outer] = [inner, outer].map(|place| place.root.shown());
        let why = "clients can rename the inner directory; \
                   use directories that do not contain each other";
        findings.warn(format_args!("user {name}: {whose}: {inner} lies in {outer}: {why}"));
    }
    let Some((_, root)) = root_place.filter(|_| user.quota > 0 || user.max_files > 0) else {
        return;
    };
    let is_shared = |directory: &Path| directory.starts_with(&root) || root.starts_with(directory);
    for (mount, _) in mounts.iter().filter(|(_, directory)| is_shared(directory)) {
        let shown = mount.root.shown();
        let why = "files stored through the mount count towards the quota only after the next daily \
             count";
        let path = &mount.path;
        findings.warn(format_args!(
            "user {name}: mounts: \"{path}\": {shown} overlaps the root: {why}"
        ));
    }
}

fn canonical(place: &MountPoint) -> Option<(&MountPoint, PathBuf)> {
    Some((place, place.root.directory()?.canonicalize().ok()?))
}

/// Returns why the process cannot give users these rights in a directory, and what to do. `who` is
/// the user of the process, for messages.
fn lack(root: &Path, rights: Rights, who: &str) -> Option<String> {
    match root.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Some("not a directory; correct the path, because logins fail".to_owned()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Some(format!(
                "{who} cannot read it: fix the owner or mode of the directory and its parents"
            ));
        }
        Err(error) => {
            return Some(format!("{error}; logins fail until the directory exists"));
        }
    }
    lack_of_permission(root, rights, who)
}

/// Returns one line for each reason why the process cannot use directories that exist as the users'
/// rights require.
pub(in crate::daemon) fn lacks_of_permission(config: &Config) -> Vec<String> {
    let who = server_user(config);
    joined(all_homes(config).into_iter().filter_map(
        |CheckedRoot { whose, root, rights, .. }| {
            let root = root.directory().filter(|root| root.is_dir())?;
            let lack = lack_of_permission(root, rights, &who)?;
            Some((lack, format!("{whose}: {}", shown_path(root))))
        },
    ))
}

fn lack_of_permission(root: &Path, rights: Rights, who: &str) -> Option<String> {
    let may = |access_to| match access(root, access_to | Access::EXEC_OK) {
        Err(Errno::ACCESS) if exceeds_access() => Ok(()),
        looked => looked,
    };
    let has = |one: &Rights| rights.contains(*one);
    let reads = [Rights::LIST, Rights::RETRIEVE].iter().any(has);
    if reads && may(Access::READ_OK).is_err() {
        return Some(format!(
            "{who} cannot read it: fix the owner or mode of the directory and its parents"
        ));
    }
    let denied = may(Access::WRITE_OK).err().filter(|_| let_change(rights));
    let what_to_do = match denied? {
        Errno::ROFS => "the file system is read-only; mount it for writing",
        _ => "fix the owner or mode",
    };
    Some(format!("{who} cannot write here: {what_to_do}, or remove the rights to change files"))
}

/// Returns whether the rights need write permission for directories. Replacing a file is a rename
/// into its directory, so the mode of the file itself does not matter.
pub(super) fn let_change(rights: Rights) -> bool {
    let all = [Rights::CREATE, Rights::WRITE, Rights::DELETE, Rights::RENAME, Rights::MKDIR];
    all.iter().any(|one| rights.contains(*one))
}

/// Returns why the process cannot create a directory at the first login.
fn lack_for_new(root: &Path, who: &str) -> Option<String> {
    let parent = root.parent().unwrap_or(root);
    let is_denied = access(parent, Access::WRITE_OK | Access::EXEC_OK).is_err();
    is_denied.then(|| {
        let parent = shown_path(parent);
        format!(
            "missing, and {who} cannot create it in {parent}; create the directory, or fix the owner or mode of {parent}"
        )
    })
}

/// Checks for settings of users that have no effect or an unexpected one.
pub(super) fn users(config: &Config, findings: &mut Findings) {
    let users = config.users_of_file();
    let mut lines = Vec::new();
    let now = SystemTime::now();
    for (name, user) in &users {
        let mut add = |why: String| lines.push((why, format!("user {}", shown(name))));
        let idle =
            [("mkdir_parents", user.mkdir_parents), ("mkdir_existing_ok", user.mkdir_existing_ok)];
        for (key, _) in
            idle.iter().filter(|(_, is_set)| *is_set && !user.all_rights().contains(Rights::MKDIR))
        {
            add(format!("{key} has no effect: the rights lack mkdir; add mkdir to the rights"));
        }
        if let Some(expires) = user.expires.filter(|expires| expires.end() <= now) {
            add(format!("expired ({expires}); logins fail"));
        }
        tiny(user).for_each(add);
    }
    let anonymous = Some(&config.settings.anonymous).filter(|anonymous| anonymous.enabled);
    lines.extend(anonymous.into_iter().flat_map(tiny).map(|why| (why, "anonymous".to_owned())));
    lines.extend(in_stores(&users));
    joined(lines).iter().for_each(|line| findings.warn(line));
    let is_locked = |user: &User| user.password.as_ref().is_some_and(PasswordHash::is_locked);
    let locked = users.iter().filter(|(_, user)| is_locked(user)).map(|(name, _)| shown(name));
    let locked: Vec<String> = locked.collect();
    if !locked.is_empty() {
        findings.note(format_args!("locked users, whose logins fail: {}", first_of(&locked)));
    }
    hosts(config, findings);
    let is_anonymous = |name: &str| is_anonymous_name(name.as_bytes());
    for (name, _) in users.iter().filter(|(name, _)| config.lets_anyone_in() && is_anonymous(name))
    {
        let why = "clients that send this name in another letter case log in anonymously, without a password; rename the user";
        findings.warn(format_args!("user {}: {why}", shown(name)));
    }
    rules(&users, findings);
}

/// Returns a line for each size and rate of a few bytes: a number without a unit counts bytes.
fn tiny(user: &User) -> impl Iterator<Item = String> + use<> {
    let limits = &user.limits;
    let all = [
        ("quota", user.quota),
        ("file_size", limits.file_size),
        ("rate_up", limits.rate_up),
        ("rate_down", limits.rate_down),
        ("rate_per_session", limits.rate_per_session.unwrap_or(0)),
        ("rate_per_user", limits.rate_per_user.unwrap_or(0)),
    ];
    let tiny = all.into_iter().filter(|(_, bytes)| (1..1_024).contains(bytes));
    tiny.map(|(key, bytes)| {
        let only = counted(bytes, "byte");
        format!("{key} is only {only}; write the unit, such as \"{bytes} MiB\"")
    })
}

/// Returns the settings that apply only to files on disk, of users whose root is in a store.
fn in_stores(users: &[(&String, &User)]) -> Vec<(String, String)> {
    let keys = ["create_home", "umask", "sync", "owner", "group", "file_mode", "directory_mode"];
    let in_store = users.iter().filter(|(_, user)| user.root.objects().is_some());
    let lines = in_store.flat_map(|(name, user)| {
        let set = keys.iter().filter(|key| user.origins.of(key) != "default");
        let why = "has no effect in a store; remove it";
        set.map(move |key| (format!("{key} {why}"), format!("user {}", shown(name))))
    });
    lines.collect()
}

/// Checks for virtual hosts where all users share one root, and for those that admit no user.
fn hosts(config: &Config, findings: &mut Findings) {
    for (name, host) in config.settings.hosts.iter() {
        let is_shared = host.root.as_ref().is_some_and(|root| !root.to_string().contains('%'));
        if host.users.as_ref().is_some_and(Vec::is_empty) {
            let users = key_of(name, "users");
            let why = "the list is empty: no user can log in at this host";
            findings.warn(format_args!("{users}: {why}; remove the key to admit all"));
        }
        if is_shared && host.users.is_none() {
            let key = key_of(name, "root");
            let why = "all users work in this directory, each with their own rights";
            let what_to_do = format!("list the users in {}", key_of(name, "users"));
            findings.warn(format_args!("{key}: {why}; to restrict this, {what_to_do}"));
        }
    }
}

/// Checks for rules in `directories` whose path is not a directory.
fn rules(users: &[(&String, &User)], findings: &mut Findings) {
    let has_directory = |user: &User| user.root.directory().is_none_or(Path::is_dir);
    for (name, user) in users.iter().filter(|(_, user)| has_directory(user)) {
        for (directory, _) in &user.directories {
            let (root, path) = user.place(directory);
            let Some(root) = root.directory() else { continue };
            // A mount point does not need to exist in the root.
            let leads_to_mount =
                user.mounts.iter().any(|mount| mount.path.is_at_or_below(directory));
            // The check of the mounts reports a missing mounted directory.
            let is_checked = root.is_dir() && !leads_to_mount;
            if let Some(why) = fault_in(root, &path).filter(|_| is_checked) {
                let name = shown(name);
                findings.warn(format_args!("user {name}: directories: \"{directory}\": {why}"));
            }
        }
    }
}

/// Returns why the path of a rule is not a directory inside the root, and what to do.
fn fault_in(root: &Path, path: &VirtualPath) -> Option<String> {
    let mut place = root.to_owned();
    for part in Path::new(OsStr::from_bytes(path.relative())) {
        place.push(part);
        let fault = match place.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => continue,
            Ok(metadata) if metadata.is_symlink() => {
                "is a symbolic link, and the rule does not cover its target; use the target's path"
            }
            Ok(_) => "is not a directory; correct the path",
            Err(error) if error.kind() == ErrorKind::NotFound => {
                "is missing; create it or correct the path"
            }
            // Without access, the file type is unknown. `lack` reports a root without access.
            Err(_) => return None,
        };
        return Some(format!("{} {fault}", shown_path(&place)));
    }
    None
}

/// Checks the settings `owner`, `group`, `file_mode` and `directory_mode` of users. `is_unsure` is as
/// for [`directories`].
pub(super) fn owners(config: &Config, is_unsure: bool, findings: &mut Findings) {
    for line in unable(config) {
        match is_unsure {
            true => findings.note(format_args!("{line}; this check cannot see if the unit does")),
            false => findings.fail(DaemonErrorKind::Configuration, line),
        }
    }
    let is_missing = |user: &User| user.root.directory().is_some_and(|root| !root.exists());
    let made = |(_, user): &(String, &User)| user.create_home && is_missing(user);
    let is_other = |owner: &FileOwner| owner.id() != geteuid().as_raw();
    let kept_out = on_disk(config).into_iter().filter(made).filter_map(|(whose, user)| {
        user.owner.as_ref().filter(|owner| is_other(owner))?;
        let why = "create_home: the new root belongs to the server's user, and not to the owner; \
                   create the roots yourself, or remove owner";
        Some((why.to_owned(), whose))
    });
    joined(kept_out).iter().for_each(|line| findings.warn(line));
    for line in locked_out(config) {
        match is_unsure {
            true => findings.note(format_args!("{line}; this check cannot see if the unit does")),
            false => findings.warn(line),
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
            let why = format!(
                "the server's user cannot give files to another user; {cure} (AmbientCapabilities of \
                 a systemd unit, or setpriv --ambient-caps), or run the server as the owner"
            );
            (why, format!("{whose}: owner \"{owner}\""))
        });
        let group = user.group.as_ref().filter(|group| !group.is_ours());
        let group = group.map(|group| {
            let why = "the server's user cannot give files to this group; make it a member of the \
                       group, or give it CAP_CHOWN";
            (why.to_owned(), format!("{whose}: group \"{group}\""))
        });
        [owner, group].into_iter().flatten()
    });
    joined(lines)
}

/// Returns one line for each reason why the server could not use the files that it gives away.
pub(in crate::daemon) fn locked_out(config: &Config) -> Vec<String> {
    let local = config.settings.local;
    let users = on_disk(config).into_iter();
    joined(users.filter_map(|(whose, user)| {
        let (owner, why) = user.owner.as_ref().zip(lack_of_use(user, local))?;
        Some((why, format!("{whose}: owner \"{owner}\"")))
    }))
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
            "the files will belong to the owner, so the server's user cannot {}, unless an \
             ACL permits it: clients get 550; {what_to_do}",
            lacks.join(", ")
        )
    })
}

/// Returns the users who may store files on disk, with their names for messages.
fn on_disk(config: &Config) -> Vec<(String, &User)> {
    let users = config.users_of_file().into_iter();
    let mut all: Vec<_> =
        users.map(|(name, user)| (format!("user {}", shown(name)), user)).collect();
    if config.anonymous().is_some() {
        all.push((ANONYMOUS.to_owned(), &config.settings.anonymous));
    }
    all.retain(|(_, user)| user.written().next().is_some());
    all
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_size_without_a_unit_is_reported() {
        let why = "quota is only 5 bytes; write the unit, such as \"5 MiB\"";
        for (quota, want) in [(0, None), (5, Some(why)), (1_024, None)] {
            let user = User { quota, ..User::default() };
            assert_eq!(tiny(&user).next().as_deref(), want);
        }
    }

    #[test]
    fn a_home_directory_must_exist_and_allow_the_granted_rights() {
        let root = tempfile::tempdir().unwrap();
        let lack = |path: &Path, rights| lack(path, rights, "it");
        assert_eq!(lack(root.path(), Rights::FULL), None);
        let missing = lack(&root.path().join("x"), Rights::READ).unwrap();
        assert!(missing.contains("until the directory exists"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(lack(file.path(), Rights::READ).unwrap().contains("not a directory"));
        // Root may ignore the mode.
        fs::set_permissions(root.path(), Permissions::from_mode(0o500)).unwrap();
        let is_writable = fs::write(root.path().join("x"), "").is_ok();
        let lack_of = |rights| lack(root.path(), rights);
        assert_eq!(lack_of(Rights::WRITE).is_none(), is_writable);
        assert!(is_writable || lack_of(Rights::MKDIR).unwrap().contains("cannot write here"));
        assert_eq!(lack_of(Rights::READ), None);
    }
}
