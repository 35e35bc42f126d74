//! Logs users in to their directories: the root that a user sees as `/`, and the roots that are
//! mounted into the user's tree.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::ops::BitOr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ftp_proto::{Escaped, HostName};
use log::Level;

use super::check::joined;
use super::config::{ANONYMOUS, Config, ConfiguredRoot, Host, MountPoint, Settings, User};
use super::home::{Home, OpenStorage, Places, Role, why_unconfined};
use super::logging::LOG;
use super::logins::LoginProgram;
use super::own_files::OwnFiles;
use super::privileges::{FileGroup, FileOwner};
use super::stores::Stores;
use super::upload_check::{UploadCheck, Uploader};
use super::{DaemonError, DaemonErrorKind, DiskAnswer, answers};
use crate::auth::{self, Accounts, Secret, is_anonymous_name};
use crate::lock::Lock;
use crate::storage::StorageResult;
use crate::{
    AuthError, Authenticator, Capabilities, ConfinementPolicy, LocalConfig, Login, LoginAttempt,
    MemoryStorage, MountedStorage, Rights, Storage, StorageError, StorageErrorKind, VirtualPath,
};
use ftp_proto::text::values::in_full;

/// Users and their directories. Directories are opened by path at login, so that a directory that
/// was recreated or mounted in the meantime is found.
pub(super) struct Homes {
    accounts: Accounts<Arc<User>>,
    config: LocalConfig,
    /// Directories in which some of the users may store files.
    written: BTreeSet<PathBuf>,
    places: Places,
    hosts: HashMap<HostName, Host>,
    /// `auth.program`, which checks the logins of users who are not in the configuration.
    program: Option<Arc<LoginProgram>>,
    /// `hooks.check`, which accepts or refuses uploads.
    check: Option<Arc<UploadCheck>>,
    /// Roots kept open while no session uses them, so that a login need not open and confine them
    /// again; at most [`KEPT`], because each holds descriptors.
    kept: Lock<Vec<Arc<dyn Storage>>>,
    /// The storage of logins that the server refuses.
    nowhere: Arc<dyn Storage>,
}

/// Maximum number of directories that stay open without a session.
const KEPT: usize = 64;

impl Config {
    /// Returns the users and their homes; roots can name `stores`, and must not lead to `own` files.
    pub(super) fn homes(&self, stores: &Arc<Stores>, own: &Arc<OwnFiles>) -> Homes {
        let places = Places::new(Arc::clone(stores), Arc::clone(own));
        let whole = self.settings.hooks.has_check();
        let mut homes = Homes::new(self.settings.local.whole(whole), places);
        for (name, user) in self.users_of_file() {
            homes = homes.user(name, user);
        }
        if self.anonymous().is_some() {
            homes = homes.anonymous(self.settings.anonymous.clone());
        }
        if let Some(quick) = &self.quick {
            let root = ConfiguredRoot::from(&*quick.root);
            let user = |rights| User { root: root.clone(), rights, ..User::default() };
            for (name, password) in &quick.users {
                homes = homes.plain(name, password, user(self.rights_of_users(quick)));
            }
            if let Some(rights) = quick.anonymous {
                homes = homes.anonymous(user(rights));
            }
        }
        homes.at_hosts(&self.settings)
    }
}

impl Homes {
    /// Returns an empty list of users; `config` applies to all directories.
    pub(super) fn new(config: LocalConfig, places: Places) -> Self {
        let (accounts, written, hosts, kept) = Default::default();
        let nowhere = Arc::new(MemoryStorage::new());
        let (program, check) = (None, None);
        Self { accounts, config, written, places, hosts, program, check, kept, nowhere }
    }

    /// Sets `auth.program`.
    pub(super) fn asking(self, program: Option<Arc<LoginProgram>>) -> Self {
        Self { program, ..self }
    }

    /// Sets `hooks.check`.
    pub(super) fn checking(self, check: Option<Arc<UploadCheck>>) -> Self {
        Self { check, ..self }
    }

    pub(super) fn user(self, name: &str, user: &User) -> Self {
        match user.password.clone() {
            Some(hash) => self.with(name.as_bytes(), Secret::Hash(hash), user.clone()),
            None => self,
        }
    }

    /// Adds a user with a plaintext password.
    pub(super) fn plain(self, name: &[u8], password: &[u8], user: User) -> Self {
        self.with(name, Secret::Plain(password.to_vec()), user)
    }

    fn with(mut self, name: &[u8], secret: Secret, user: User) -> Self {
        self.note_written(&user);
        self.accounts.add(name.to_vec(), secret, Arc::new(user));
        self
    }

    pub(super) fn anonymous(mut self, user: User) -> Self {
        self.note_written(&user);
        self.accounts.set_anonymous(Arc::new(user));
        self
    }

    /// Adds the virtual hosts. Call it after the users.
    pub(super) fn at_hosts(mut self, settings: &Settings) -> Self {
        let others = settings.host_names.iter().map(|name| (name.clone(), Host::default()));
        let tables = settings.hosts.iter().map(|(name, host)| (name.clone(), host.clone()));
        self.hosts = others.chain(tables).collect();
        for user in self.users_at_hosts() {
            self.note_written(&user);
        }
        self
    }

    fn note_written(&mut self, user: &User) {
        self.written.extend(user.written().map(PathBuf::from));
    }

    pub(super) fn written(&self) -> &BTreeSet<PathBuf> {
        &self.written
    }

    /// Returns all accounts, with the names that hosts list.
    fn users(&self) -> impl Iterator<Item = (Cow<'_, str>, &User)> {
        let named =
            self.accounts.users().map(|(name, user)| (String::from_utf8_lossy(name), &**user));
        named.chain(self.accounts.anonymous().map(|user| (ANONYMOUS.into(), &**user)))
    }

    /// Returns the users whom hosts admit to another root, with that root.
    fn users_at_hosts(&self) -> Vec<User> {
        let mut all = Vec::new();
        for host in self.hosts.values() {
            for (name, user) in self.users().filter(|(name, _)| host.admits(name)) {
                let Ok(Some(root)) = host.root_of(&name) else { continue };
                all.push(User { root, ..user.clone() });
            }
        }
        all
    }

    /// Returns whether a user of this name exists and is not disabled.
    pub(super) fn has_user(&self, name: &[u8]) -> bool {
        self.accounts.get(name).map_or_else(|| self.is_anonymous(name), |user| user.is_open())
    }

    /// Returns whether this name is that of anonymous logins, and anonymous logins are enabled.
    fn is_anonymous(&self, name: &[u8]) -> bool {
        is_anonymous_name(name) && self.accounts.anonymous().is_some()
    }

    /// Returns whether a user with a password has this name, even a disabled one. A login with such
    /// a name is not anonymous.
    pub(super) fn names_user(&self, name: &[u8]) -> bool {
        self.accounts.get(name).is_some()
    }

    pub(super) fn names_host(&self, host: &HostName) -> bool {
        self.hosts.contains_key(host)
    }

    /// Returns whether sessions of this user at this host may continue: the host exists and admits
    /// the user, or is an address of the server.
    pub(super) fn has_user_at(&self, host: &HostName, name: &[u8]) -> bool {
        match self.hosts.get(host) {
            Some(host) => host.admits(&self.canonical(name)),
            // This is the server's own address, which clients can always name.
            None => matches!(host, HostName::Address(_)),
        }
    }

    /// Returns whether the configuration decides on logins with this name, not `auth.program`.
    fn is_listed(&self, name: &[u8]) -> bool {
        self.names_user(name) || self.is_anonymous(name)
    }

    /// Returns the user's name as hosts list it: [`ANONYMOUS`] for any name of anonymous logins.
    fn canonical<'a>(&self, name: &'a [u8]) -> Cow<'a, str> {
        match !self.names_user(name) && self.is_anonymous(name) {
            true => ANONYMOUS.into(),
            false => String::from_utf8_lossy(name),
        }
    }

    /// Returns a user as the host of the login sees the user: the host may replace the root.
    fn at_host(&self, attempt: &LoginAttempt<'_>, user: Arc<User>) -> Result<Arc<User>, AuthError> {
        let Some(name) = attempt.host else { return Ok(user) };
        let Some(host) = self.hosts.get(name) else {
            // A connection from before a reload can still name a host that the reload has removed.
            let is_gone = matches!(name, HostName::Domain(_)) && !self.hosts.is_empty();
            return if is_gone { Err(AuthError::OtherHost) } else { Ok(user) };
        };
        let name = self.canonical(attempt.user);
        if !host.admits(&name) {
            return Err(AuthError::OtherHost);
        }
        Ok(match host.root_of(&name).map_err(|_| AuthError::NoHome)? {
            Some(root) => Arc::new(User { root, ..User::clone(&user) }),
            None => user,
        })
    }

    /// Returns the directories of a user. `is_listed` tells whether the configuration has the user.
    #[inline(never)] // See `admit`.
    fn tree(&self, user: &User, is_listed: bool) -> UserTree {
        UserTree::of(user, self.config, |root, config, role| {
            self.places.home(root, config, role, is_listed)
        })
    }

    /// Returns the used bytes and files of a user of the configuration, if they are known. Does not
    /// wait.
    pub(super) fn used(&self, user: &User) -> Option<(u64, u64)> {
        self.tree(user, true).root.used()
    }

    /// Returns each directory of users of the configuration once.
    fn all_homes(&self) -> Vec<Arc<Home>> {
        self.users().for_each(|(_, user)| drop(self.tree(user, true)));
        self.users_at_hosts().iter().for_each(|user| drop(self.tree(user, true)));
        self.places.all()
    }

    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let (mut login, user) = self.admit(attempt)?;
        // The server refuses this login, so it needs no directory.
        if login.objection(attempt.peer.ip(), SystemTime::now()).is_some() {
            return Ok(login);
        }
        let user = self.at_host(attempt, user)?;
        let is_listed = self.is_listed(attempt.user);
        if !is_listed {
            self.places.note_written(&user);
        }
        let tree = self.tree(&user, is_listed);
        if let Some(objection) = tree.objection() {
            let user = Escaped(attempt.user);
            log::error!(target: LOG, "{user}: {objection}");
            return Err(AuthError::NoHome);
        }
        login.storage = tree.open(attempt).map_err(|error| {
            let user = Escaped(attempt.user);
            log::error!(target: LOG, "{user}: {}: {error}", tree.root.shown());
            match error.kind {
                // Another server that checks the password is down for a moment.
                StorageErrorKind::Busy | StorageErrorKind::Unavailable => AuthError::Unavailable,
                _ => AuthError::NoHome,
            }
        })?;
        login.local_paths = Some(Arc::new(move |path| tree.local_path(path)));
        if let Some(check) = &self.check {
            let uploader = Uploader::of(&login, attempt);
            login.storage = check.of_uploads(login.storage, uploader);
        }
        Ok(login)
    }

    /// Returns a user who has proved to be one, and the user's login without storage. This is a
    /// separate function because a session keeps each page of stack that its thread has used.
    #[inline(never)]
    fn admit(&self, attempt: &LoginAttempt<'_>) -> Result<(Login, Arc<User>), AuthError> {
        let is_listed = self.is_listed(attempt.user);
        let user = match &self.program {
            Some(program) if !is_listed => Arc::new(program.user(attempt)?),
            _ => Arc::clone(self.accounts.find(attempt)?),
        };
        let login = user.login(Arc::clone(&self.nowhere));
        if is_listed && !self.names_user(attempt.user) {
            return Ok((login.name(auth::ANONYMOUS).shared(true), user));
        }
        Ok((login, user))
    }

    /// Returns the rights of all users, and the capabilities of their directories.
    fn offer(&self) -> (Rights, Capabilities) {
        // Users of `auth.program` may have any right.
        if self.program.is_some() {
            return (Rights::FULL, Capabilities::ALL);
        }
        let rights =
            self.users().map(|(_, user)| user.all_rights()).fold(Rights::NONE, BitOr::bitor);
        let roots = self.places.all().into_iter().filter(|home| home.role != Role::Mounted);
        let known = roots.filter_map(|home| home.capabilities());
        (rights, known.fold(Capabilities::NONE, BitOr::bitor))
    }

    /// Opens all directories, logs those that cannot be opened or do not answer, and returns the
    /// confinement of sessions in the others.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` if sessions cannot be confined as required, or `Local` if none of
    /// the directories is usable, unless the server has a file (`has_file`).
    pub(super) fn look(&self, has_file: bool) -> Result<Option<ConfinementNote>, DaemonError> {
        let mut confinement = None;
        let mut failure = None;
        let mut is_usable = has_file;
        // `auth.program` names the directories of its users only when they log in.
        if let Some(why) = self.program.as_ref().and_then(|_| why_unconfined(self.config)) {
            return Err(DaemonError::new(
                DaemonErrorKind::Unsupported,
                format!("cannot confine sessions: {why}"),
            ));
        }
        let homes = self.all_homes();
        let opened = answers(homes.clone(), |home| home.open_for(None));
        let mut lines = Vec::new();
        for (home, opened) in homes.iter().zip(opened) {
            let shown = home.shown();
            let opened = match opened {
                DiskAnswer::Given(opened) => opened,
                silent => {
                    is_usable = true;
                    if matches!(silent, DiskAnswer::Missing) {
                        let why = "does not answer; its users cannot log in until it does";
                        lines.push((why.to_owned(), shown));
                    }
                    continue;
                }
            };
            match opened {
                Ok(OpenStorage { storage, confinement: of_home }) => {
                    // A mounted directory is not kept open, so that its disk can be unmounted.
                    if home.role == Role::Mounted {
                        continue;
                    }
                    is_usable = true;
                    confinement = of_home.map(|confinement| (confinement, shown)).or(confinement);
                    let mut kept = self.kept.lock();
                    if kept.len() < KEPT {
                        kept.push(storage);
                    }
                }
                Err(error)
                    if home.role == Role::Mounted
                        && error.kind != StorageErrorKind::Unsupported =>
                {
                    let why = reason(&error);
                    lines.push((format!("cannot be mounted in users' trees: {why}"), shown));
                }
                Err(error)
                    if home.role == Role::MadeRoot && error.kind == StorageErrorKind::NotFound =>
                {
                    is_usable = true;
                }
                Err(error) if error.kind == StorageErrorKind::Unsupported => {
                    let why = in_full(&error);
                    let message = format!("cannot confine sessions to {shown}: {why}");
                    return Err(DaemonError::new(DaemonErrorKind::Unsupported, message));
                }
                Err(error) => {
                    let why = reason(&error);
                    lines.push((format!("{why}; its users cannot log in"), shown.clone()));
                    let message = format!("cannot open the root directory {shown}: {why}");
                    failure = Some(DaemonError::new(DaemonErrorKind::Local, message));
                }
            }
        }
        joined(lines).iter().for_each(|line| log::error!(target: LOG, "{line}"));
        let Some((confinement, shown)) = confinement else {
            return failure.filter(|_| !is_usable).map_or(Ok(None), Err);
        };
        let is_lacking =
            self.config.confine == ConfinementPolicy::BestEffort && confinement.is_lacking();
        let level = if is_lacking { Level::Warn } else { Level::Info };
        let shown = if homes.len() == 1 { shown } else { "their roots".to_owned() };
        Ok(Some(ConfinementNote {
            level,
            text: format!("sessions are confined to {shown} by {confinement}"),
        }))
    }
}

/// The users of the current configuration. A session from before a reload logs in as a new one does,
/// so a removed user cannot log in over an old connection.
pub(super) struct Users(Lock<Arc<Homes>>);

impl Users {
    pub(super) fn new(homes: Homes) -> Self {
        Self(Lock::new(Arc::new(homes)))
    }

    pub(super) fn current(&self) -> Arc<Homes> {
        let current = self.0.lock();
        Arc::clone(&current)
    }

    pub(super) fn set(&self, homes: Arc<Homes>) {
        *self.0.lock() = homes;
    }
}

impl Authenticator for Users {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        loop {
            let homes = self.current();
            let answer = homes.login(attempt);
            // The decision is stale if a reload has swapped the users meanwhile: decide again.
            if Arc::ptr_eq(&homes, &self.current()) {
                return answer;
            }
        }
    }

    fn offer(&self) -> (Rights, Capabilities) {
        self.current().offer()
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ConfinementNote {
    pub(super) level: Level,
    pub(super) text: String,
}

impl ConfinementNote {
    pub(super) fn log(&self) {
        log::log!(target: LOG, self.level, "{}", self.text);
    }
}

struct UserTree {
    pub(super) root: Arc<Home>,
    /// Mounts, those with a longer path first.
    mounts: Vec<MountedHome>,
}

struct MountedHome {
    path: VirtualPath,
    home: Arc<Home>,
}

impl UserTree {
    /// Returns the directories of a user: the root, and those mounted into the tree. Only the root
    /// has a quota. `home` returns the home of a root.
    pub(super) fn of(
        user: &User,
        of_all: LocalConfig,
        home: impl Fn(&ConfiguredRoot, LocalConfig, Role) -> Arc<Home>,
    ) -> Self {
        let config = of_all
            .quota(user.quota)
            .max_files(user.max_files)
            .umask(user.umask.unwrap_or(of_all.umask))
            .owner(user.owner.as_ref().map(FileOwner::id))
            .group(user.group.as_ref().map(FileGroup::id))
            .file_mode(user.file_mode)
            .directory_mode(user.directory_mode)
            .partial(user.partial.unwrap_or(of_all.partial))
            .sync(user.sync.unwrap_or(of_all.sync));
        let role = if user.create_home { Role::MadeRoot } else { Role::Root };
        let root = home(&user.root, config, role);
        let config = config.quota(0).max_files(0);
        let mounts = user.mounts.iter().map(|MountPoint { path, root }| MountedHome {
            path: path.clone(),
            home: home(root, config, Role::Mounted),
        });
        let mut mounts: Vec<MountedHome> = mounts.collect();
        mounts.sort_unstable_by_key(|mount| std::cmp::Reverse(mount.path.as_bytes().len()));
        Self { root, mounts }
    }

    /// Returns the path on disk of a file in the tree, or `None` for an object of a store.
    pub(super) fn local_path(&self, path: &VirtualPath) -> Option<PathBuf> {
        let mut mounts = self.mounts.iter();
        let mounted = mounts.find_map(|mount| Some((&mount.home, path.relative_to(&mount.path)?)));
        let (home, below) = mounted.unwrap_or_else(|| (&self.root, path.clone()));
        Some(home.root().directory()?.join(OsStr::from_bytes(below.relative())))
    }

    /// Returns why no user may have this tree: one of its directories leads to a file of the server.
    /// Checked at each login, because links and login programs can change what a root is.
    pub(super) fn objection(&self) -> Option<String> {
        let mounted = self.mounts.iter().map(|mount| &mount.home);
        [&self.root].into_iter().chain(mounted).find_map(|home| home.objection())
    }

    /// Opens the tree for a login. A mounted directory that cannot be opened is logged,
    /// and is unavailable in this session.
    ///
    /// # Errors
    ///
    /// Returns an error if the root cannot be created or opened, or if a mount point is invalid.
    fn open(&self, attempt: &LoginAttempt<'_>) -> StorageResult<Arc<dyn Storage>> {
        let login = Some((attempt.user, attempt.password));
        self.root.make()?;
        let root = self.root.open_for(login)?.storage;
        if self.mounts.is_empty() {
            return Ok(root);
        }
        let mut tree = MountedStorage::new(root);
        for MountedHome { path, home } in &self.mounts {
            tree = match home.open_for(login) {
                Ok(open) => tree.mount(path, open.storage)?,
                Err(error) => {
                    let user = Escaped(attempt.user);
                    let shown = home.shown();
                    let why = reason(&error);
                    log::error!(target: LOG, "{user}: {path} is unavailable: {shown}: {why}");
                    tree.unavailable(path)?
                }
            };
        }
        Ok(Arc::new(tree))
    }
}

/// Returns why a directory cannot be opened: the system's message, or else the text of the error.
pub(super) fn reason(error: &StorageError) -> String {
    error.source.as_ref().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SyncPolicy;

    #[test]
    fn a_user_may_have_another_sync_policy() {
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let of_all = LocalConfig::new().sync(SyncPolicy::File);
        let root = tempfile::tempdir().unwrap();
        for (own, want) in [(None, SyncPolicy::File), (Some(SyncPolicy::None), SyncPolicy::None)] {
            let password = Some(hash.parse().unwrap());
            let user = User { password, root: root.path().into(), sync: own, ..User::default() };
            let homes = Homes::new(of_all, Places::default()).user("u", &user);
            assert_eq!(homes.all_homes()[0].config.sync, want);
        }
    }
}
