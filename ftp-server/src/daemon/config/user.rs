//! The keys of a user in `[users.NAME]`, and users in layers: `[defaults]`, the user's groups in
//! their order, and `[users.NAME]`. A later layer wins. `include` names further files with users.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, fs};

use ftp_proto::Network;
use ftp_proto::text::toml_text::{is_bare, shown};
use ftp_proto::text::values::{did_you_mean, shown_path};

use super::forms::{
    DIRECTORIES, DIRECTORY_MODE, EXPIRY, Expiry, FILE_MODE, FILES, GROUP, HOME, MOUNTS, MountPoint,
    NAMES, NETWORKS, OWN_COUNT, OWN_IDLE_TIME, OWN_PARTIAL, OWN_SWITCH, OWN_SYNC, OWN_UMASK, OWNER,
    PASSWORD, PATTERNS, RATE, RIGHTS, SIZE, SPEED, SWITCH, TLS, TYPE,
};
use super::root::ConfiguredRoot;
use super::row::{Origins, Setting, row, with_defaults};
use crate::auth::{all_rights, rights_at};
use crate::daemon::DaemonError;
use crate::daemon::privileges::{FileGroup, FileOwner};
use crate::{
    Login, NamePattern, PartialPolicy, PasswordHash, RepresentationType, Rights, Storage,
    SyncPolicy, TlsPolicy, UserLimits, VirtualPath,
};

with_defaults! {
    #[derive(Clone, Debug)]
    pub(crate) struct User {
        /// Groups whose settings the user inherits; if several groups set a key, the last group wins.
        pub(crate) groups: Vec<String>,
        pub(crate) password: Option<PasswordHash>,
        /// Root of the user, with the user's name in place of `%u` if the name can be part of a path.
        pub(crate) root: ConfiguredRoot,
        /// Whether the root is created at the first login.
        pub(crate) create_home: bool,
        pub(crate) rights: Rights = Rights::READ,
        /// Other rights in some directories.
        pub(crate) directories: Vec<(VirtualPath, Rights)>,
        /// Mount points: further directories on disk, or objects in stores, that the user sees.
        pub(crate) mounts: Vec<MountPoint>,
        pub(crate) hide_names: Vec<NamePattern>,
        /// Largest number of bytes below the root; 0 for unlimited.
        pub(crate) quota: u64,
        /// Largest number of files and directories below the root; 0 for unlimited.
        pub(crate) max_files: u64,
        pub(crate) mkdir_parents: bool,
        pub(crate) mkdir_existing_ok: bool,
        /// Type of a session before its first `TYPE`.
        pub(crate) representation: RepresentationType,
        pub(crate) limits: UserLimits,
        /// TLS policy in addition to `[tls]`.
        pub(crate) tls: TlsPolicy,
        pub(crate) enabled: bool = true,
        pub(crate) expires: Option<Expiry>,
        /// Networks from which the user may log in; empty for any.
        pub(crate) networks: Vec<Network>,
        // If one of these is `None`, the setting for all users applies.
        pub(crate) idle_timeout: Option<Duration>,
        pub(crate) umask: Option<u32>,
        pub(crate) owner: Option<FileOwner>,
        pub(crate) group: Option<FileGroup>,
        pub(crate) file_mode: Option<u32>,
        pub(crate) directory_mode: Option<u32>,
        pub(crate) overwrite: Option<bool>,
        pub(crate) partial: Option<PartialPolicy>,
        pub(crate) sync: Option<SyncPolicy>,
        pub(crate) origins: Origins,
    }
}

impl User {
    /// Returns whether the user is neither disabled nor expired.
    pub(crate) fn may_log_in(&self, now: SystemTime) -> bool {
        self.is_open() && self.expires.is_none_or(|expires| now < expires.end())
    }

    /// Returns the state of the account in lists of users.
    pub(crate) fn state(&self, now: SystemTime) -> &'static str {
        match self.is_open() {
            true if self.may_log_in(now) => "open",
            true => "expired",
            false if self.enabled => "locked",
            false => "disabled",
        }
    }

    /// Returns whether the user is neither disabled nor locked.
    pub(crate) fn is_open(&self) -> bool {
        self.enabled && !self.password.as_ref().is_some_and(PasswordHash::is_locked)
    }
}

#[rustfmt::skip]
pub(crate) static USER: &[Setting<User>] = &[
    row!(User, "groups",                         NAMES,        groups,                            "Groups whose settings the user inherits; if several groups set a key, the last group wins."),
    row!(User, "password",                       PASSWORD,     password,                          "Password hash that begins with $argon2id$, $y$, $2b$, $6$ or $5$; create one with ftp-cli passwd. With ! or * before it, the account is locked."),
    row!(User, "root",                           HOME,         root,                              "Directory or store:NAME/PREFIX that the user sees as /; %u is the user's name."),
    row!(User, "create_home",                    SWITCH,       create_home,                       "Create the root at the first login, with mode 0700, directory_mode, or what a umask other than 022 leaves, if its parent exists."),
    row!(User, "rights",                         RIGHTS,       rights,                            "Rights: read (list, read), full (all but fxp), drop-box (create, mkdir; sees nothing), or a list of rights"),
    row!(User, "directories",                    DIRECTORIES,  directories,                       "Rights in and below individual directories, such as { \"/incoming\" = \"drop-box\" }; the longest matching path wins."),
    row!(User, "mounts",                         MOUNTS,       mounts,                            "Other directories or stores to show in the user's tree, such as { \"/pub\" = \"/srv/pub\" }."),
    row!(User, "hide_names",                     PATTERNS,     hide_names,                        "Names such as *.tmp that listings leave out; commands with such a name still work (empty: none)."),
    row!(User, "quota",                          SIZE,         quota,                             "Maximum bytes below the root (0: unlimited)."),
    row!(User, "max_files",                      FILES,        max_files,                         "Maximum files and directories below the root (0: unlimited)."),
    row!(User, "tls",                            TLS,          tls,                               "TLS of this user: off (refused), optional or required, checked after the password. Only tls.control refuses plaintext before it."),
    row!(User, "mkdir_parents",                  SWITCH,       mkdir_parents,                     "Let STOR and APPE create missing parent directories."),
    row!(User, "mkdir_existing_ok",              SWITCH,       mkdir_existing_ok,                 "Answer MKD of an existing directory with success."),
    row!(User, "type",                           TYPE,         representation,                    "Representation type of a session before its first TYPE: ascii (RFC 959), or image for devices that send no TYPE."),
    row!(User, "per_user",                       OWN_COUNT,    limits.sessions,                   "Maximum sessions of the user at a time (empty: limits.per_user; 0: unlimited)."),
    row!(User, "rate_per_session",               RATE,         limits.rate_per_session,           "Maximum bytes per second of a session (empty: transfer.rate_per_session; 0: unlimited)."),
    row!(User, "rate_per_user",                  RATE,         limits.rate_per_user,              "Maximum bytes per second of all the user's sessions (empty: transfer.rate_per_user; 0: unlimited)."),
    row!(User, "rate_up",                        SPEED,        limits.rate_up,                    "Maximum bytes per second of a session's uploads (0: unlimited)."),
    row!(User, "rate_down",                      SPEED,        limits.rate_down,                  "Maximum bytes per second of a session's downloads (0: unlimited)."),
    row!(User, "file_size",                      SIZE,         limits.file_size,                  "Maximum size of a stored file (0: unlimited)."),
    row!(User, "enabled",                        SWITCH,       enabled,                           "Let the user log in; false disables the account."),
    row!(User, "expires",                        EXPIRY,       expires,                           "Last day (UTC) or exact time at which the user can log in, such as 2026-12-31 or 2026-12-31T18:00:00Z (empty: no limit)."),
    row!(User, "networks",                       NETWORKS,     networks,                          "Networks that the user may log in from (empty: any)."),
    row!(User, "idle_timeout",                   OWN_IDLE_TIME, idle_timeout,                     "Maximum time without a command (empty: timeouts.idle)."),
    row!(User, "umask",                          OWN_UMASK,    umask,                             "Umask of new files and directories (empty: transfer.umask)."),
    row!(User, "owner",                          OWNER,        owner,                             "User, by name or number, to whom new files and directories belong; %u is the system user with the user's name; needs CAP_CHOWN (empty: the server's user)."),
    row!(User, "group",                          GROUP,        group,                             "Group, by name or number, of new files and directories; %u is the primary group of the system user with the user's name; needs membership or CAP_CHOWN (empty: the server's, or that of the parent directory)."),
    row!(User, "file_mode",                      FILE_MODE,    file_mode,                         "Exact permissions of new files, such as 0640 (empty: those that umask leaves)."),
    row!(User, "directory_mode",                 DIRECTORY_MODE, directory_mode,                  "Exact permissions of new directories, such as 0750 (empty: those that umask leaves)."),
    row!(User, "overwrite",                      OWN_SWITCH,   overwrite,                         "Let uploads and renames replace existing files (empty: transfer.overwrite)."),
    row!(User, "partial",                        OWN_PARTIAL,  partial,                           "Interrupted uploads: resume keeps them hidden for 12 hours (in TYPE A, it deletes them), publish keeps them under the final name, discard deletes them (empty: transfer.partial). Always deleted in drop boxes and with STOU."),
    row!(User, "sync",                           OWN_SYNC,     sync,                              "Data synced to disk before replies 226, 250 and 257: none, file or file+dir (empty: transfer.sync)."),
];

impl User {
    /// Returns the required keys that were not given.
    pub(super) fn lacks(&self) -> impl Iterator<Item = &'static str> {
        let is_lacking = |key: &&str| self.origins.get(key).is_none();
        NEEDED.iter().copied().filter(is_lacking)
    }

    /// Returns the union of the user's rights in all directories.
    pub(crate) fn all_rights(&self) -> Rights {
        all_rights(self.rights, &self.directories)
    }

    /// Returns the union of the user's rights at a mount point and below it.
    pub(crate) fn rights_below(&self, mount: &VirtualPath) -> Rights {
        let rights = rights_at(self.rights, &self.directories, mount);
        let below = self.directories.iter().filter(|(path, _)| path.is_at_or_below(mount));
        below.filter(|(path, _)| path != mount).fold(rights, |sum, (_, rights)| sum | *rights)
    }

    pub(in crate::daemon) fn login(&self, storage: Arc<dyn Storage>) -> Login {
        let mut login = Login::new(storage, self.rights)
            .tls(self.tls)
            .mkdir_parents(self.mkdir_parents)
            .mkdir_existing_ok(self.mkdir_existing_ok)
            .limits(self.limits)
            .enabled(self.enabled)
            .networks(self.networks.clone());
        login.expires = self.expires.map(Expiry::end);
        login.idle = self.idle_timeout;
        login.overwrite = self.overwrite;
        login.representation = self.representation;
        login.directories.clone_from(&self.directories);
        login.hide_names = self.hide_names.clone().into();
        login
    }

    /// Returns the directories on disk in which the user may store files.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Path> {
        let root = (&self.root, self.all_rights());
        let mounts = self.mounts.iter().map(|mount| (&mount.root, self.rights_below(&mount.path)));
        let all = [root].into_iter().chain(mounts).filter(|(_, rights)| rights.let_upload());
        all.filter_map(|(root, _)| root.directory())
    }

    /// Returns the root that contains a path of the tree, and the path below that root.
    pub(crate) fn place(&self, path: &VirtualPath) -> (&ConfiguredRoot, VirtualPath) {
        let within = |mount: &'_ MountPoint| path.relative_to(&mount.path);
        let mounts = self.mounts.iter().filter(|mount| within(mount).is_some());
        let nearest = mounts.max_by_key(|mount| mount.path.as_bytes().len());
        let mounted = nearest.and_then(|mount| Some((&mount.root, within(mount)?)));
        mounted.unwrap_or_else(|| (&self.root, path.clone()))
    }

    /// Puts the user's name in place of `%u` in roots, and the system user of that name in place of
    /// `%u` in `owner` and `group`. If the name is not safe in a root, that root stays unchanged.
    fn expand(&mut self, name: &str) {
        self.owner.iter_mut().for_each(|owner| owner.find_own(name, |user| user.uid));
        self.group.iter_mut().for_each(|group| group.find_own(name, |user| user.gid));
        let mounted = self.mounts.iter_mut().map(|mount| &mut mount.root);
        for root in [&mut self.root].into_iter().chain(mounted) {
            if let Some(expanded) = root.with_name(name) {
                *root = expanded;
            }
        }
    }

    /// Returns the keys in which `%u` is not a user of this system.
    pub(super) fn strangers(&self) -> impl Iterator<Item = &'static str> {
        let owner = self.owner.as_ref().is_some_and(FileOwner::is_unknown);
        let group = self.group.as_ref().is_some_and(FileGroup::is_unknown);
        [("owner", owner), ("group", group)].into_iter().filter(|(_, is)| *is).map(|(key, _)| key)
    }

    /// Returns the key whose root still contains `%u`, if there is one.
    pub(super) fn nameless(&self) -> Option<&'static str> {
        if self.root.needs_name() {
            Some("root")
        } else {
            self.mounts.iter().any(|mount| mount.root.needs_name()).then_some("mounts")
        }
    }
}

/// Key of the groups, which only `[users.NAME]` has.
pub(super) const GROUPS: &str = "groups";

/// Why the other tables of users' keys do not have [`GROUPS`].
pub(super) const OF_USERS: &str = "only users have groups";

/// Keys without a default.
pub(super) const NEEDED: &[&str] = &["password", "root"];

/// Why `%u` in [`User::strangers`] is refused.
pub(super) const NO_SYSTEM_USER: &str =
    "this system has no user of this name, for whom %u stands; name another user";

pub(crate) const NOT_A_NAME: &str = "invalid user name: it is empty or has control characters";

/// Returns whether a client can send this as the argument of USER.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Names of the tables of users' keys.
pub(super) const DEFAULTS: &str = "defaults";
pub(super) const GROUP_TABLES: &str = "groups";
pub(super) const USER_TABLES: &str = "users";

/// A table of users' keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Table<'a> {
    Defaults,
    Group(&'a str),
    User(&'a str),
}

impl Table<'_> {
    /// Returns what is wrong with the name, if anything.
    pub(super) fn objection(self) -> Option<&'static str> {
        match self {
            Self::Group(name) if !is_bare(name) => {
                Some("invalid group name: expected letters, digits, - and _")
            }
            Self::User(name) if !is_name(name) => Some(NOT_A_NAME),
            Self::Defaults | Self::Group(_) | Self::User(_) => None,
        }
    }

    pub(super) fn rows(self) -> impl Iterator<Item = &'static Setting<User>> + Clone {
        let has_groups = matches!(self, Self::User(_));
        USER.iter().filter(move |row| has_groups || row.key != GROUPS)
    }
}

/// Shows the key of the table, such as `users.anna`.
impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("defaults"),
            Self::Group(name) => write!(f, "groups.{}", shown(name)),
            Self::User(name) => write!(f, "users.{}", shown(name)),
        }
    }
}

/// Users of a file, sorted by name, and the tables that they inherit from.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserLayers {
    // In these, only the keys with an origin are set.
    defaults: User,
    groups: BTreeMap<String, User>,
    own: BTreeMap<String, User>,
    /// The users with all their values.
    whole: BTreeMap<String, User>,
}

impl UserLayers {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &User)> {
        self.whole.iter()
    }

    /// Returns a user with all values.
    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.whole.get(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Removes the other users, but not what this one inherits.
    pub(super) fn keep_only(&mut self, name: &str) {
        self.whole.retain(|other, _| other == name);
    }

    /// Returns `[defaults]` and the groups, without users.
    pub(super) fn inherited(&self) -> Self {
        let (defaults, groups) = (self.defaults.clone(), self.groups.clone());
        Self { defaults, groups, ..Self::default() }
    }

    pub(super) fn get(&self, table: Table<'_>) -> Option<&User> {
        match table {
            Table::Defaults => Some(&self.defaults),
            Table::Group(name) => self.groups.get(name),
            Table::User(name) => self.own.get(name),
        }
    }

    pub(super) fn put(&mut self, table: Table<'_>, keys: User) {
        match table {
            Table::Defaults => self.defaults = keys,
            Table::Group(name) => drop(self.groups.insert(name.to_owned(), keys)),
            Table::User(name) => drop(self.own.insert(name.to_owned(), keys)),
        }
    }

    /// Combines the layers of each user. Call it after the last change of a layer.
    pub(super) fn resolve(&mut self) {
        let whole = self.own.iter().map(|(name, own)| (name.clone(), self.combined(name, own)));
        self.whole = whole.collect();
    }

    pub(super) fn resolve_one(&mut self, name: &str) {
        if let Some(user) = self.own.get(name).map(|own| self.combined(name, own)) {
            self.whole.insert(name.to_owned(), user);
        }
    }

    /// Returns the user with these keys of its own.
    pub(super) fn combined(&self, name: &str, own: &User) -> User {
        let mut user = own.clone();
        let groups = own.groups.iter().rev().map(|group| Table::Group(group));
        for table in groups.chain([Table::Defaults]) {
            if let Some(layer) = self.get(table) {
                USER.iter().for_each(|row| row.inherit(&mut user, layer, table));
            }
        }
        user.expand(name);
        user
    }

    /// Returns a message if there is no group of this name; it suggests a similar name.
    pub(super) fn objection_to_group(&self, group: &str) -> Option<String> {
        if self.groups.contains_key(group) {
            return None;
        }
        let near = did_you_mean(group, self.groups.keys().map(String::as_str));
        Some(format!("unknown group \"{group}\"{near}"))
    }

    /// Returns the users' own tables, with the keys that are set there.
    pub(crate) fn own_tables(&self) -> impl Iterator<Item = (Table<'_>, &User)> {
        self.own.iter().map(|(name, own)| (Table::User(name), own))
    }

    /// Returns the tables that users inherit from, with the keys that are set there.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (Table<'_>, &User)> {
        let groups = self.groups.iter().map(|(name, layer)| (Table::Group(name), layer));
        [(Table::Defaults, &self.defaults)].into_iter().chain(groups)
    }
}

/// All files of a directory whose names begin and end with these texts.
#[derive(Clone, Debug)]
pub(crate) struct Include {
    pub(crate) directory: PathBuf,
    start: String,
    end: String,
    /// The files that were read, sorted by name.
    pub(crate) files: Vec<PathBuf>,
}

/// An included file with other content than on disk: its text, or `None` if it does not exist.
pub(crate) type Replaced<'a> = (&'a Path, Option<&'a str>);

impl Include {
    /// Reads a pattern such as `users.d/*.toml`.
    ///
    /// # Errors
    ///
    /// Returns a message if the pattern is invalid.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let (directory, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
        let parts = name.split_once('*').filter(|_| pattern.matches('*').count() == 1);
        let Some((start, end)) = parts.filter(|_| !pattern.chars().any(char::is_control)) else {
            return Err(format!("invalid pattern \"{pattern}\": expected DIR/*.toml, with one *"));
        };
        let (directory, start, end) = (directory.into(), start.to_owned(), end.to_owned());
        Ok(Self { directory, start, end, files: Vec::new() })
    }

    /// Returns the path of the file for a user. A byte that is unsafe in a path becomes `%XX`.
    pub(crate) fn path_of(&self, user: &str) -> PathBuf {
        let mut name = self.start.clone();
        for byte in user.bytes() {
            match byte.is_ascii_alphanumeric() || b"-_@+.".contains(&byte) && !name.is_empty() {
                true => name.push(char::from(byte)),
                false => name += &format!("%{byte:02X}"),
            }
        }
        self.directory.join(name + &self.end)
    }

    /// Finds the files below `base`. Hidden files are none of them.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the directory cannot be read.
    pub(super) fn find(
        &mut self,
        base: &Path,
        replaced: Option<Replaced<'_>>,
    ) -> Result<(), DaemonError> {
        self.directory = base.join(&self.directory);
        let failed = |error| DaemonError::local(shown_path(&self.directory), &error);
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let middle = name.as_bytes().strip_prefix(self.start.as_bytes());
            let is_it = middle.is_some_and(|middle| middle.ends_with(self.end.as_bytes()));
            if is_it && !name.as_bytes().starts_with(b".") {
                self.files.push(self.directory.join(name));
            }
        }
        if let Some((path, text)) = replaced {
            self.files.retain(|other| other != path);
            self.files.extend(text.map(|_| path.to_owned()));
        }
        self.files.sort();
        Ok(())
    }
}
