//! Logs users in to their directories.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use ftp_proto::{Escaped, HostName};
use ftp_server::{
    AuthError, Authenticator, Capabilities, ConfinementPolicy, ConfinementStatus, LocalConfig,
    Login, LoginAttempt, Offer, Rights, Storage, StorageError, StorageErrorKind, Tally, UserLimits,
    UserTable, VirtualPath,
};
use log::Level;

use super::answered::Answered;
use super::kept::Kept;
use super::logging::LOG;
use super::logins::Program;
use super::settings::{ANONYMOUS, Host, Settings, User};
use super::trees::{Tree, reason};
use super::unopened::Unopened;
use super::user_storage::{self, Identity, UserStorage};
use crate::connect::credentials::Secret;
use crate::display::{in_full, shown_path};
use crate::exit::{Exit, Failure};
use crate::lock::lock;

/// Users and their directories, which are opened at login: a directory that was recreated or
/// mounted before a login is found by its path.
pub(super) struct Homes {
    table: UserTable,
    config: LocalConfig,
    users: HashMap<Vec<u8>, Arc<Tree>>,
    anonymous: Option<Arc<Tree>>,
    /// Users who may not log in.
    disabled: BTreeSet<Vec<u8>>,
    /// Directories in which some of them may store files.
    written: BTreeSet<PathBuf>,
    /// Several homes of one path differ by their settings.
    by_path: BTreeMap<PathBuf, Vec<Arc<Home>>>,
    /// All virtual hosts.
    hosts: HashMap<HostName, Host>,
    /// Decides about all other users.
    program: Option<Arc<Program>>,
    /// Directories of its users.
    answered: Answered,
    /// Some of the directories, open from the start: each takes descriptors.
    kept: Mutex<Vec<Arc<dyn Storage>>>,
}

thread_local! {
    /// Directories of the user who logged in last on this thread: a session has one thread from
    /// login to logout, and its events are observed there.
    static TREE: RefCell<Option<Arc<Tree>>> = const { RefCell::new(None) };
}

/// Returns the path on disk of a file of this thread's session. A parent directory may have been
/// renamed since the login.
pub(super) fn local_path(path: &VirtualPath) -> Option<PathBuf> {
    TREE.with_borrow(|tree| tree.as_ref().map(|tree| tree.local_path(path)))
}

/// A user's name in UTF-8, and the root.
type NamedRoot = (String, Arc<Home>);

/// Number of directories kept open without a session.
const KEPT: usize = 64;

/// A directory that users log in to, or one in their trees.
pub(super) struct Home {
    pub(super) path: PathBuf,
    config: LocalConfig,
    role: Role,
    /// Directory as it was last opened.
    found: Mutex<Option<Found>>,
    remembered: Remembered,
    /// Capabilities of the directory, once known.
    capabilities: OnceLock<Capabilities>,
}

/// What a directory is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// The root of users.
    Root,
    /// A root that is made at a login, if it is missing.
    MadeRoot,
    /// A directory mounted into the trees of users.
    Mounted,
}

/// An opened directory.
struct Found {
    identity: Identity,
    /// The storage, while a session has it open.
    storage: Weak<dyn Storage>,
    walls: ConfinementStatus,
}

/// A directory that is open.
pub(super) struct Open {
    pub(super) storage: Arc<dyn Storage>,
    /// The mechanisms that confine sessions to it.
    walls: ConfinementStatus,
}

/// Used space of a directory for quotas, and its interrupted uploads. All homes of one path share
/// it, or each login would start with a walk.
type Remembered = Arc<Mutex<Option<(Identity, Tally)>>>;

impl Homes {
    /// Returns an empty list of users; `config` applies to all directories.
    pub(super) fn new(config: LocalConfig) -> Self {
        let (table, users, disabled, written, by_path, hosts) = Default::default();
        let (answered, kept) = Default::default();
        let (anonymous, program) = (None, None);
        Self {
            table,
            config,
            users,
            anonymous,
            disabled,
            written,
            by_path,
            program,
            answered,
            hosts,
            kept,
        }
    }

    /// Returns whether there is a user of this name, who is not disabled.
    pub(super) fn has_user(&self, name: &[u8]) -> bool {
        if self.names_user(name) {
            return !self.disabled.contains(name);
        }
        self.is_anonymous(name)
    }

    /// Returns whether this name, which no user has, is that of anonymous logins.
    fn is_anonymous(&self, name: &[u8]) -> bool {
        is_anonymous_name(name) && self.has_anonymous()
    }

    /// Returns whether there are anonymous logins.
    pub(super) fn has_anonymous(&self) -> bool {
        self.anonymous.is_some()
    }

    /// Returns the names that have a password of their own, of disabled users too.
    pub(super) fn user_names(&self) -> impl Iterator<Item = &[u8]> {
        self.users.keys().map(Vec::as_slice)
    }

    /// Lets a program decide about all other users.
    pub(super) fn asking(self, program: Option<Arc<Program>>) -> Self {
        Self { program, ..self }
    }

    /// Returns whether this name has a password of its own, even if the user is disabled: then it
    /// is not an anonymous login.
    pub(super) fn names_user(&self, name: &[u8]) -> bool {
        self.users.contains_key(name)
    }

    /// Returns the directories in which some users may store files.
    pub(super) fn written(&self) -> &BTreeSet<PathBuf> {
        &self.written
    }

    /// Adds a user of the file.
    pub(super) fn user(mut self, name: &str, user: &User) -> Self {
        let Some(hash) = user.password.clone() else { return self };
        let tree = Tree::of(user, self.config, |path, config, rights, role| {
            self.home(path, config, rights, role)
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
        password: &Secret,
        root: &Path,
        rights: Rights,
    ) -> Self {
        let home = self.home(root, self.config, rights, Role::Root);
        self.table = self.table.user(name, password.as_bytes(), home.login(rights));
        self.users.insert(name.to_vec(), Arc::new(Tree::new(home, Vec::new())));
        self
    }

    /// Adds anonymous logins; `config` applies to their directory.
    pub(super) fn anonymous(
        mut self,
        root: &Path,
        rights: Rights,
        config: LocalConfig,
        limits: UserLimits,
    ) -> Self {
        let home = self.home(root, config, rights, Role::Root);
        self.table = self.table.anonymous(home.login(rights).limits(limits));
        self.anonymous = Some(Arc::new(Tree::new(home, Vec::new())));
        self
    }

    /// Adds the virtual hosts, and the directories of all users there. Call it after the users.
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
                let is_written = self.written.contains(&home.path);
                self.directory(&root, home.config, is_written, home.role);
            }
        }
        self
    }

    /// Returns the names of the virtual hosts.
    pub(super) fn host_names(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.keys()
    }

    /// Returns whether a virtual host has this name.
    pub(super) fn names_host(&self, host: &HostName) -> bool {
        self.hosts.contains_key(host)
    }

    /// Returns whether sessions of this user at this host may continue: the host is still there, and
    /// for the user.
    pub(super) fn has_user_at(&self, host: &HostName, name: &[u8]) -> bool {
        match self.hosts.get(host) {
            Some(host) => host.admits(&self.canonical(name)),
            // The server's own address, which clients can always name.
            None => matches!(host, HostName::Address(_)),
        }
    }

    /// Returns the name of a user in the list of a host.
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
        let mut there = self.by_path.get(&root).into_iter().flatten();
        let root = there
            .find(|home| home.is_like(own.root.config, own.root.role))
            .ok_or(AuthError::NoHome)?;
        Ok(Arc::new(own.with_root(Arc::clone(root))))
    }

    fn homes(&self) -> impl Iterator<Item = &Arc<Home>> {
        self.by_path.values().flatten()
    }

    fn home(&mut self, path: &Path, config: LocalConfig, rights: Rights, role: Role) -> Arc<Home> {
        self.directory(path, config, rights.let_upload(), role)
    }

    fn directory(
        &mut self,
        path: &Path,
        config: LocalConfig,
        is_written: bool,
        role: Role,
    ) -> Arc<Home> {
        if is_written {
            self.written.insert(path.to_owned());
        }
        let there = self.by_path.entry(path.to_owned()).or_default();
        Home::among(there, &[], path, config, role)
    }

    /// Asks the program about a user whom the configuration does not name.
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
        let tree = Tree::of(&user, self.config, |path, config, rights, role| {
            let of_file = self.by_path.get(path).map_or(&[][..], Vec::as_slice);
            self.answered.home(of_file, path, config, rights, role)
        });
        let login = tree.login(&user);
        enter(attempt, login, || Ok(tree))
    }

    /// Opens all directories, logs the missing ones, and returns the confinement of sessions in the
    /// others.
    ///
    /// # Errors
    ///
    /// Returns `Local` if none of them is usable, or if sessions cannot be confined as required.
    pub(super) fn look(&self) -> Result<Option<Kept>, Failure> {
        let mut walls = None;
        let mut failure = None;
        let mut is_made_later = false;
        for home in self.homes() {
            let shown = shown_path(&home.path);
            match home.open() {
                Ok(Open { storage, walls: of_home }) => {
                    // A disk that is kept open cannot be unmounted.
                    if home.role == Role::Mounted {
                        continue;
                    }
                    walls = Some((of_home, shown));
                    let mut kept = lock(&self.kept);
                    if kept.len() < KEPT {
                        kept.push(storage);
                    }
                }
                Err(error)
                    if home.role == Role::Mounted
                        && error.kind != StorageErrorKind::Unsupported =>
                {
                    let why = reason(&error);
                    log::error!(target: LOG, "{shown} is unavailable in users' trees: {why}");
                }
                Err(error)
                    if home.role == Role::MadeRoot && error.kind == StorageErrorKind::NotFound =>
                {
                    is_made_later = true;
                }
                Err(error) if error.kind == StorageErrorKind::Unsupported => {
                    let why = in_full(&error);
                    let message = format!("cannot confine sessions to {shown}: {why}");
                    return Err(Failure::new(Exit::Local, message));
                }
                Err(error) => {
                    let why = in_full(&error);
                    log::error!(target: LOG, "{shown}: {why}");
                    let message = format!("cannot open the root directory {shown}: {why}");
                    failure = Some(Failure::new(Exit::Local, message));
                }
            }
        }
        let Some((walls, shown)) = walls else {
            return failure.filter(|_| !is_made_later).map_or(Ok(None), Err);
        };
        let is_lacking = self.config.confine == ConfinementPolicy::BestEffort
            && !(walls.openat2 && walls.landlock.is_some());
        let level = if is_lacking { Level::Warn } else { Level::Info };
        let shown = if self.homes().count() == 1 { shown } else { "their roots".to_owned() };
        Ok(Some(Kept { level, text: format!("sessions are confined to {shown} by {walls}") }))
    }
}

impl Authenticator for Homes {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let is_known = self.names_user(attempt.user) || self.is_anonymous(attempt.user);
        if let Some(program) = self.program.as_ref().filter(|_| !is_known) {
            return self.ask(program, attempt);
        }
        let login = self.table.login(attempt)?;
        enter(attempt, login, || self.tree_of(attempt))
    }

    fn offer(&self) -> Offer {
        match self.program {
            // Its users may have any right.
            Some(_) => Offer::ALL,
            None => self.table.offer(),
        }
    }
}

/// Returns whether anonymous logins have this name, if no user has it.
pub(super) fn is_anonymous_name(name: &[u8]) -> bool {
    [&b"anonymous"[..], b"ftp"].iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// Opens the directories of a login.
fn enter(
    attempt: &LoginAttempt<'_>,
    mut login: Login,
    tree: impl FnOnce() -> Result<Arc<Tree>, AuthError>,
) -> Result<Login, AuthError> {
    // The server refuses this login, and needs no directory for that.
    if login.objection(attempt.peer.ip(), SystemTime::now()).is_some() {
        return Ok(login);
    }
    let tree = tree()?;
    let root = &tree.root;
    let open = root.make().and_then(|()| root.open());
    let storage = open.and_then(|open| tree.storage(open.storage, attempt.user));
    login.storage = storage.map_err(|error| {
        let user = Escaped(attempt.user);
        log::error!(target: LOG, "{user}: {}: {error}", shown_path(&root.path));
        AuthError::NoHome
    })?;
    TREE.set(Some(tree));
    Ok(login)
}

impl Home {
    /// Returns whether the directory has these settings.
    fn is_like(&self, config: LocalConfig, role: Role) -> bool {
        self.config == config && self.role == role
    }

    /// Returns the directory with these settings, a new one if none of `there` or `others` has them.
    /// All of them are of one path.
    pub(super) fn among(
        there: &mut Vec<Arc<Self>>,
        others: &[Arc<Self>],
        path: &Path,
        config: LocalConfig,
        role: Role,
    ) -> Arc<Self> {
        let mut all = others.iter().chain(there.iter());
        if let Some(home) = all.find(|home| home.is_like(config, role)) {
            return Arc::clone(home);
        }
        let known = others.first().or(there.first());
        let remembered = known.map_or_else(Default::default, |home| Arc::clone(&home.remembered));
        let (found, capabilities) = Default::default();
        let path = path.to_owned();
        let home = Arc::new(Self { path, config, role, found, remembered, capabilities });
        there.push(Arc::clone(&home));
        home
    }

    /// Returns the capabilities of the directory, once known.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        self.capabilities.get().copied()
    }

    /// Returns a login whose directory is opened later.
    pub(super) fn login(self: &Arc<Self>, rights: Rights) -> Login {
        Login::new(Arc::new(Unopened(Arc::clone(self))), rights)
    }

    /// Makes the directory if it is missing and may be made.
    fn make(&self) -> Result<(), StorageError> {
        if self.role == Role::MadeRoot && !self.path.exists() && user_storage::create(&self.path)? {
            log::info!(target: LOG, "created {}", shown_path(&self.path));
        }
        Ok(())
    }

    pub(super) fn open(&self) -> Result<Open, StorageError> {
        let identity = user_storage::identity(&self.path)?;
        let mut found = lock(&self.found);
        // Data about another directory must not be used for this one.
        drop(found.take_if(|found| found.identity != identity));
        if let Some(open) = found.as_ref().and_then(Found::open) {
            return Ok(open);
        }
        let mut remembered = lock(&self.remembered);
        drop(remembered.take_if(|(known, _)| *known != identity));
        let UserStorage { storage, walls, tally } = user_storage::open(&self.path, self.config)?;
        let _ = self.capabilities.set(storage.capabilities());
        *remembered = Some((identity, tally));
        *found = Some(Found { identity, storage: Arc::downgrade(&storage), walls });
        Ok(Open { storage, walls })
    }
}

impl Found {
    fn open(&self) -> Option<Open> {
        Some(Open { storage: self.storage.upgrade()?, walls: self.walls })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use ftp_server::{SyncPolicy, WriteMode};

    use super::*;

    #[test]
    fn a_user_may_have_another_sync_policy() {
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let of_all = LocalConfig::default().with(|config| config.sync = SyncPolicy::File);
        let root = tempfile::tempdir().unwrap();
        for (own, want) in [(None, SyncPolicy::File), (Some(SyncPolicy::None), SyncPolicy::None)] {
            let password = Some(hash.parse().unwrap());
            let user = User { password, root: root.path().into(), sync: own, ..User::default() };
            let homes = Homes::new(of_all).user("u", &user);
            assert_eq!(homes.users[&b"u"[..]].root.config.sync, want);
        }
    }

    #[test]
    fn what_is_in_use_is_known_when_a_user_comes_back_hp_23() {
        const QUOTA: u64 = 10_000;
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("home");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), [b'f'; 1_000]).unwrap();
        let mut homes = Homes::new(LocalConfig::default());
        let config = LocalConfig::default().with(|config| config.quota = QUOTA);
        let limited = homes.home(&root, config, Rights::FULL, Role::Root);
        let free = homes.home(&root, LocalConfig::default(), Rights::FULL, Role::Root);
        let left = |home: &Home| {
            let quota = home.open().unwrap().storage.quota(&VirtualPath::root());
            quota.unwrap().unwrap().bytes_left()
        };
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // No session has it open. A second walk would find the new file.
        while limited.found.lock().unwrap().as_ref().unwrap().storage.strong_count() > 0 {
            thread::yield_now();
        }
        fs::write(root.join("behind"), [b'b'; 500]).unwrap();
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // Files of a user without a limit count too.
        let path = VirtualPath::root().join(b"more");
        let storage = free.open().unwrap().storage;
        let mut upload = storage.write(&path, WriteMode::Create).unwrap();
        upload.write_all(&[b'm'; 70]).unwrap();
        upload.commit().unwrap();
        drop(storage);
        assert_eq!(left(&limited), Some(QUOTA - 1_070));
        // Another directory, perhaps with the inode of the first.
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        assert_eq!(left(&limited), Some(QUOTA));
    }
}
