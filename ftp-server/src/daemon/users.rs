//! Logs users in to their directories.

use super::answered::Answered;
use super::config::{ANONYMOUS, Host, Root, Settings, User};
use super::home::{Home, Open, Role};
use super::logging::LOG;
use super::logins::Program;
use super::stores::Stores;
use super::trees::{Tree, reason};
use super::user_storage::lack_of_walls;
use crate::daemon::error::{DaemonError, DaemonErrorKind};
use crate::daemon::values::in_full;
use crate::lock::unpoisoned;
use crate::{
    AuthError, Authenticator, ConfinementPolicy, LocalConfig, Login, LoginAttempt, Offer, Rights,
    Storage, StorageErrorKind, UserLimits, UserTable, VirtualPath,
};
use ftp_proto::{Escaped, HostName};
use log::Level;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// Users and their directories. Directories are opened by path at login, so that a directory that
/// was recreated or mounted in the meantime is found.
pub(super) struct Homes {
    table: UserTable,
    config: LocalConfig,
    users: HashMap<Vec<u8>, Arc<Tree>>,
    anonymous: Option<Arc<Tree>>,
    /// Disabled users, who cannot log in.
    disabled: BTreeSet<Vec<u8>>,
    /// Directories in which some of the users may store files.
    written: BTreeSet<PathBuf>,
    /// Homes by root; several homes of one root have different settings.
    by_root: BTreeMap<Root, Vec<Arc<Home>>>,
    /// The object stores that roots name.
    stores: Arc<Stores>,
    /// All virtual hosts.
    hosts: HashMap<HostName, Host>,
    /// `auth.program`, which checks the logins of users who are not in the configuration.
    program: Option<Arc<Program>>,
    /// Directories of the users of `auth.program`.
    answered: Answered,
    /// Directories that stay open without a session: at most [`KEPT`], because each takes
    /// descriptors.
    kept: Mutex<Vec<Arc<dyn Storage>>>,
}

thread_local! {
    /// The directories of the last user who logged in on this thread. A session has one thread from
    /// login to logout, and its events are observed on that thread.
    static TREE: RefCell<Option<Arc<Tree>>> = const { RefCell::new(None) };
}

/// Returns the path on disk of a file in this thread's session, or `None` for an object of a store.
/// The path may be outdated, because a parent directory may have been renamed since the login.
pub(super) fn local_path(path: &VirtualPath) -> Option<PathBuf> {
    TREE.with_borrow(|tree| tree.as_ref()?.local_path(path))
}

type NamedRoot = (String, Arc<Home>);

/// Maximum number of directories that stay open without a session.
const KEPT: usize = 64;

impl Homes {
    /// Returns an empty list of users; `config` applies to all directories, and roots can name
    /// `stores`.
    pub(super) fn new(config: LocalConfig, stores: Arc<Stores>) -> Self {
        let (table, users, disabled, written, by_root, hosts) = Default::default();
        let (answered, kept) = Default::default();
        let (anonymous, program) = (None, None);
        Self {
            table,
            config,
            users,
            anonymous,
            disabled,
            written,
            by_root,
            stores,
            program,
            answered,
            hosts,
            kept,
        }
    }

    /// Returns whether a user of this name exists and is not disabled.
    pub(super) fn has_user(&self, name: &[u8]) -> bool {
        if self.names_user(name) {
            return !self.disabled.contains(name);
        }
        self.is_anonymous(name)
    }

    /// Returns whether this name is that of anonymous logins, and anonymous logins are enabled.
    fn is_anonymous(&self, name: &[u8]) -> bool {
        is_anonymous_name(name) && self.has_anonymous()
    }

    /// Returns whether anonymous logins are enabled.
    fn has_anonymous(&self) -> bool {
        self.anonymous.is_some()
    }

    /// Sets `auth.program`.
    pub(super) fn asking(self, program: Option<Arc<Program>>) -> Self {
        Self { program, ..self }
    }

    /// Returns whether a user with a password has this name, even a disabled one. A login with such
    /// a name is not anonymous.
    pub(super) fn names_user(&self, name: &[u8]) -> bool {
        self.users.contains_key(name)
    }

    pub(super) fn written(&self) -> &BTreeSet<PathBuf> {
        &self.written
    }

    /// Adds a user of the file.
    pub(super) fn user(mut self, name: &str, user: &User) -> Self {
        let Some(hash) = user.password.clone() else { return self };
        let tree = Tree::of(user, self.config, |root, config, rights, role| {
            self.home(root, config, rights, role)
        });
        let login = tree.login(user);
        if !user.enabled {
            self.disabled.insert(name.into());
        }
        self.table = self.table.user_with_hash(name, hash, login);
        self.users.insert(name.into(), tree);
        self
    }

    /// Adds a user with a plaintext password.
    pub(super) fn plain(
        mut self,
        name: &[u8],
        password: &[u8],
        root: &Root,
        rights: Rights,
    ) -> Self {
        let home = self.home(root, self.config, rights, Role::Root);
        self.table = self.table.user(name, password, home.login(rights));
        self.users.insert(name.to_vec(), Arc::new(Tree::new(home, Vec::new())));
        self
    }

    /// Adds anonymous logins; `config` applies to their directory.
    pub(super) fn anonymous(
        mut self,
        root: &Root,
        rights: Rights,
        config: LocalConfig,
        limits: UserLimits,
    ) -> Self {
        let home = self.home(root, config, rights, Role::Root);
        self.table = self.table.anonymous(home.login(rights).limits(limits));
        self.anonymous = Some(Arc::new(Tree::new(home, Vec::new())));
        self
    }

    /// Adds the virtual hosts, and for each host the directories of the users whom it admits. Call
    /// it after the users.
    pub(super) fn at_hosts(mut self, settings: &Settings) -> Self {
        let others = settings.host_names.iter().map(|name| (name.clone(), Host::default()));
        let tables = settings.hosts.iter().map(|(name, host)| (name.clone(), host.clone()));
        self.hosts = others.chain(tables).collect();
        let hosts: Vec<Host> = self.hosts.values().cloned().collect();
        let named = |name: &str, tree: &Tree| (name.to_owned(), Arc::clone(&tree.root));
        let mut users: Vec<NamedRoot> = Vec::new();
        for (name, tree) in &self.users {
            users.extend(str::from_utf8(name).ok().map(|name| named(name, tree)));
        }
        users.extend(self.anonymous.iter().map(|tree| named(ANONYMOUS, tree)));
        for host in &hosts {
            for (name, home) in users.iter().filter(|(name, _)| host.admits(name)) {
                let Ok(Some(root)) = host.root_of(name) else { continue };
                let is_written =
                    home.root().directory().is_none_or(|path| self.written.contains(path));
                self.directory(&root, home.config, is_written, home.role);
            }
        }
        self
    }

    /// Returns whether a virtual host has this name.
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

    /// Returns the user's name as hosts list it: [`ANONYMOUS`] for any name of anonymous logins.
    fn canonical<'a>(&self, name: &'a [u8]) -> Cow<'a, str> {
        match !self.names_user(name) && self.is_anonymous(name) {
            true => ANONYMOUS.into(),
            false => String::from_utf8_lossy(name),
        }
    }

    /// Returns the directories of a user; the host may replace the root.
    fn tree_of(&self, attempt: &LoginAttempt<'_>) -> Result<Arc<Tree>, AuthError> {
        let own = self.users.get(attempt.user).or(self.anonymous.as_ref());
        let own = own.map(Arc::clone).ok_or(AuthError::NoHome)?;
        let Some(host) = attempt.host.and_then(|name| self.hosts.get(name)) else { return Ok(own) };
        let name = self.canonical(attempt.user);
        if !host.admits(&name) {
            return Err(AuthError::OtherHost);
        }
        let Some(root) = host.root_of(&name).map_err(|_| AuthError::NoHome)? else {
            return Ok(own);
        };
        let mut there = self.by_root.get(&root).into_iter().flatten();
        let root = there
            .find(|home| home.is_like(own.root.config, own.root.role))
            .ok_or(AuthError::NoHome)?;
        Ok(Arc::new(own.with_root(Arc::clone(root))))
    }

    fn homes(&self) -> impl Iterator<Item = &Arc<Home>> {
        self.by_root.values().flatten()
    }

    fn home(&mut self, root: &Root, config: LocalConfig, rights: Rights, role: Role) -> Arc<Home> {
        self.directory(root, config, rights.let_upload(), role)
    }

    fn directory(
        &mut self,
        root: &Root,
        config: LocalConfig,
        is_written: bool,
        role: Role,
    ) -> Arc<Home> {
        if let Some(path) = root.directory().filter(|_| is_written) {
            self.written.insert(path.to_owned());
        }
        let there = self.by_root.entry(root.clone()).or_default();
        Home::among(there, &[], &self.stores, root, config, role)
    }

    /// Asks `auth.program` about a user who is not in the configuration.
    fn ask(&self, program: &Program, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let mut user = program.user(attempt)?;
        if let Some(host) = attempt.host.and_then(|name| self.hosts.get(name)) {
            let name = self.canonical(attempt.user);
            if !host.admits(&name) {
                return Err(AuthError::OtherHost);
            }
            if let Some(root) = host.root_of(&name).map_err(|_| AuthError::NoHome)? {
                user.root = root;
            }
        }
        let tree = Tree::of(&user, self.config, |root, config, rights, role| {
            let of_file = self.by_root.get(root).map_or(&[][..], Vec::as_slice);
            self.answered.home(of_file, &self.stores, root, config, rights, role)
        });
        let login = tree.login(&user);
        enter(attempt, login, || Ok(tree))
    }

    /// Opens all directories, logs those that cannot be opened, and returns the confinement of
    /// sessions in the others.
    ///
    /// # Errors
    ///
    /// Returns `Local` if sessions cannot be confined as required. Also returns `Local` if none of
    /// the directories is usable, unless the server has a file (`has_file`).
    pub(super) fn look(&self, has_file: bool) -> Result<Option<Kept>, DaemonError> {
        let mut walls = None;
        let mut failure = None;
        let mut is_usable = has_file;
        // `auth.program` names the directories of its users only when they log in.
        if let Some(why) = self.program.as_ref().and_then(|_| lack_of_walls(self.config)) {
            return Err(DaemonError::new(
                DaemonErrorKind::Local,
                format!("cannot confine sessions: {why}"),
            ));
        }
        for home in self.homes() {
            let shown = home.shown();
            match home.open() {
                Ok(Open { storage, walls: of_home }) => {
                    // A mounted directory is not kept open, so that its disk can be unmounted.
                    if home.role == Role::Mounted {
                        continue;
                    }
                    is_usable = true;
                    walls = of_home.map(|walls| (walls, shown)).or(walls);
                    let mut kept = unpoisoned(self.kept.lock());
                    if kept.len() < KEPT {
                        kept.push(storage);
                    }
                }
                Err(error)
                    if home.role == Role::Mounted
                        && error.kind != StorageErrorKind::Unsupported =>
                {
                    let why = reason(&error);
                    log::error!(target: LOG, "cannot mount {shown} in users' trees: {why}");
                }
                Err(error)
                    if home.role == Role::MadeRoot && error.kind == StorageErrorKind::NotFound =>
                {
                    is_usable = true;
                }
                Err(error) if error.kind == StorageErrorKind::Unsupported => {
                    let why = in_full(&error);
                    let message = format!("cannot confine sessions to {shown}: {why}");
                    return Err(DaemonError::new(DaemonErrorKind::Local, message));
                }
                Err(error) => {
                    let why = reason(&error);
                    log::error!(target: LOG, "{shown}: {why}; users with this root directory cannot log in");
                    let message = format!("cannot open the root directory {shown}: {why}");
                    failure = Some(DaemonError::new(DaemonErrorKind::Local, message));
                }
            }
        }
        let Some((walls, shown)) = walls else {
            return failure.filter(|_| !is_usable).map_or(Ok(None), Err);
        };
        let is_lacking = self.config.confine == ConfinementPolicy::BestEffort
            && !(walls.openat2 && walls.landlock.is_some());
        let level = if is_lacking { Level::Warn } else { Level::Info };
        let shown = if self.homes().count() == 1 { shown } else { "their roots".to_owned() };
        Ok(Some(Kept { level, text: format!("sessions are confined to {shown} by {walls}") }))
    }
}

/// The users of the current configuration. A session from before a reload logs in as a new one does,
/// so a removed user cannot log in over an old connection.
pub(super) struct Users(Mutex<Arc<Homes>>);

impl Users {
    pub(super) fn new(homes: Homes) -> Self {
        Self(Mutex::new(Arc::new(homes)))
    }

    pub(super) fn current(&self) -> Arc<Homes> {
        let current = unpoisoned(self.0.lock());
        Arc::clone(&current)
    }

    pub(super) fn set(&self, homes: Arc<Homes>) {
        *unpoisoned(self.0.lock()) = homes;
    }
}

impl Authenticator for Users {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        loop {
            let homes = self.current();
            let answer = homes.login(attempt);
            // A reload during the login may have removed the user.
            if Arc::ptr_eq(&homes, &self.current()) {
                return answer;
            }
        }
    }

    fn offer(&self) -> Offer {
        self.current().offer()
    }
}

impl Homes {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        // A connection from before a reload can still name a host that the reload has removed.
        let is_gone = |host: &HostName| {
            matches!(host, HostName::Domain(_)) && !self.hosts.is_empty() && !self.names_host(host)
        };
        if attempt.host.is_some_and(is_gone) {
            return Err(AuthError::OtherHost);
        }
        let is_known = self.names_user(attempt.user) || self.is_anonymous(attempt.user);
        if let Some(program) = self.program.as_ref().filter(|_| !is_known) {
            return self.ask(program, attempt);
        }
        let login = self.table.login(attempt)?;
        enter(attempt, login, || self.tree_of(attempt))
    }

    fn offer(&self) -> Offer {
        match self.program {
            // Users of `auth.program` may have any right.
            Some(_) => Offer::ALL,
            None => self.table.offer(),
        }
    }
}

/// Returns whether this is a name of anonymous logins. A user with such a name takes precedence.
fn is_anonymous_name(name: &[u8]) -> bool {
    [&b"anonymous"[..], b"ftp"].iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// Opens the directories of a login.
fn enter(
    attempt: &LoginAttempt<'_>,
    mut login: Login,
    tree: impl FnOnce() -> Result<Arc<Tree>, AuthError>,
) -> Result<Login, AuthError> {
    // The server refuses this login, so it needs no directory.
    if login.objection(attempt.peer.ip(), SystemTime::now()).is_some() {
        return Ok(login);
    }
    let tree = tree()?;
    let root = &tree.root;
    let open = root.make().and_then(|()| root.open());
    let storage = open.and_then(|open| tree.storage(open.storage, attempt.user));
    login.storage = storage.map_err(|error| {
        let user = Escaped(attempt.user);
        log::error!(target: LOG, "{user}: {}: {error}", root.shown());
        AuthError::NoHome
    })?;
    TREE.set(Some(tree));
    Ok(login)
}

/// Description of the confinement of sessions to their directories, for messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Kept {
    pub(super) fn log(&self) {
        log::log!(target: LOG, self.level, "{}", self.text);
    }
}

#[cfg(test)]
mod tests {
    use crate::SyncPolicy;

    use super::*;

    #[test]
    fn a_user_may_have_another_sync_policy() {
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let of_all = LocalConfig::default().with(|config| config.sync = SyncPolicy::File);
        let root = tempfile::tempdir().unwrap();
        for (own, want) in [(None, SyncPolicy::File), (Some(SyncPolicy::None), SyncPolicy::None)] {
            let password = Some(hash.parse().unwrap());
            let user = User { password, root: root.path().into(), sync: own, ..User::default() };
            let homes = Homes::new(of_all, Arc::default()).user("u", &user);
            assert_eq!(homes.users[&b"u"[..]].root.config.sync, want);
        }
    }
}
