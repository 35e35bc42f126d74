//! Users and their directories.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use ftp_proto::Escaped;
use ftp_server::{
    AuthError, Authenticator, Capabilities, ConfinementPolicy, Entries, LocalConfig, Login,
    LoginAttempt, Metadata, Offer, Rights, Source, Storage, StorageError, StorageErrorKind, Tally,
    Upload, UserLimits, UserTable, VirtualPath, Walls, WriteMode,
};
use log::Level;

use super::logging::LOG;
use super::settings::User;
use super::user_storage::{self, Identity, UserStorage};
use crate::connect::credentials::Secret;
use crate::console::threads;
use crate::display::{in_full, shown_path};
use crate::exit::{Exit, Failure};
use crate::lock::lock;

/// Who may log in, each to a directory that is looked for at the login: one that was made again, or
/// mounted meanwhile, is the one that its path leads to.
pub(super) struct Homes {
    table: UserTable,
    config: LocalConfig,
    users: HashMap<Vec<u8>, Arc<Home>>,
    anonymous: Option<Arc<Home>>,
    /// Where some of them may store files.
    written: BTreeSet<PathBuf>,
    /// Those of a path differ by their quotas.
    by_path: BTreeMap<PathBuf, Vec<Arc<Home>>>,
    /// Some of them, open from the start: each takes descriptors.
    kept: Mutex<Vec<Arc<dyn Storage>>>,
}

thread_local! {
    /// The directory of the user who logged in on this thread last: a session has one thread from
    /// the login to the end of the user's stay, and events are told of there.
    static HOME: RefCell<Option<Arc<Home>>> = const { RefCell::new(None) };
}

/// Where on the disk a file is, of the user whose session's thread this is. What is in the way may
/// have been renamed meanwhile.
pub(super) fn local_path(path: &VirtualPath) -> Option<PathBuf> {
    let relative = OsStr::from_bytes(path.relative());
    HOME.with_borrow(|home| home.as_ref().map(|home| home.path.join(relative)))
}

/// How many directories are kept open while nobody is logged in to them.
const KEPT: usize = 64;

/// A directory that users log in to.
struct Home {
    path: PathBuf,
    /// How many bytes may be there; 0 for any number.
    quota: u64,
    config: LocalConfig,
    /// The directory as it was last found.
    found: Mutex<Option<Found>>,
    remembered: Remembered,
    /// What can be done there, once that is known.
    capabilities: OnceLock<Capabilities>,
}

/// A directory that was found.
struct Found {
    identity: Identity,
    /// While a session has it open.
    storage: Weak<dyn Storage>,
    walls: Walls,
}

/// A directory that is open.
struct Open {
    storage: Arc<dyn Storage>,
    /// What keeps sessions in it.
    walls: Walls,
}

/// What is in use in a directory, for a quota, and what is kept there of cut uploads. All homes of
/// one path share it, or each stay of a user would begin with a walk.
type Remembered = Arc<Mutex<Option<(Identity, Tally)>>>;

impl Homes {
    /// Nobody; the directories are used as `config` says.
    pub(super) fn new(config: LocalConfig) -> Self {
        let (table, users, written, by_path, kept) = Default::default();
        Self { table, config, users, anonymous: None, written, by_path, kept }
    }

    /// Lets a user of the file in.
    pub(super) fn user(mut self, name: &str, user: &User) -> Self {
        let Some(hash) = user.password.clone() else { return self };
        let home = self.home(&user.root, user.quota, user.rights);
        let login = home
            .login(user.rights)
            .tls(user.tls)
            .mkdir_parents(user.mkdir_parents)
            .mkdir_existing_ok(user.mkdir_existing_ok)
            .limits(user.limits);
        self.table = self.table.user_with_hash(name, hash, login);
        self.users.insert(name.into(), home);
        self
    }

    /// Lets a user in whose password is known.
    pub(super) fn plain(
        mut self,
        name: &[u8],
        password: &Secret,
        root: &Path,
        rights: Rights,
    ) -> Self {
        let home = self.home(root, 0, rights);
        self.table = self.table.user(name, password.as_bytes(), home.login(rights));
        self.users.insert(name.to_vec(), home);
        self
    }

    /// Lets anyone in.
    pub(super) fn anonymous(
        mut self,
        root: &Path,
        rights: Rights,
        quota: u64,
        limits: UserLimits,
    ) -> Self {
        let home = self.home(root, quota, rights);
        self.table = self.table.anonymous(home.login(rights).limits(limits));
        self.anonymous = Some(home);
        self
    }

    fn homes(&self) -> impl Iterator<Item = &Arc<Home>> {
        self.by_path.values().flatten()
    }

    fn home(&mut self, path: &Path, quota: u64, rights: Rights) -> Arc<Home> {
        if rights.let_upload() {
            self.written.insert(path.to_owned());
        }
        let there = self.by_path.entry(path.to_owned()).or_default();
        if let Some(home) = there.iter().find(|home| home.quota == quota) {
            return Arc::clone(home);
        }
        let (found, capabilities) = Default::default();
        let remembered =
            there.first().map_or_else(Default::default, |home| Arc::clone(&home.remembered));
        let path = path.to_owned();
        let config = self.config;
        let home = Arc::new(Home { path, quota, config, found, remembered, capabilities });
        there.push(Arc::clone(&home));
        home
    }

    /// Looks at all directories, says which are not there, and gives back what keeps sessions in
    /// the others.
    ///
    /// # Errors
    ///
    /// `Local` if none of them can be used, or if sessions cannot be confined as they have to be.
    pub(super) fn look(&self) -> Result<Option<Kept>, Failure> {
        let mut walls = None;
        let mut failure = None;
        for home in self.homes() {
            let shown = shown_path(&home.path);
            match home.open() {
                Ok(Open { storage, walls: of_home }) => {
                    walls = Some((of_home, shown));
                    let mut kept = lock(&self.kept);
                    if kept.len() < KEPT {
                        kept.push(storage);
                    }
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
        let Some((walls, shown)) = walls else { return failure.map_or(Ok(None), Err) };
        let is_lacking = self.config.confine == ConfinementPolicy::BestEffort
            && !(walls.openat2 && walls.landlock.is_some());
        let level = if is_lacking { Level::Warn } else { Level::Info };
        let shown = if self.homes().count() == 1 { shown } else { "their roots".to_owned() };
        Ok(Some(Kept { level, text: format!("sessions are kept beneath {shown} by {walls}") }))
    }
}

/// What keeps sessions in their directories, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    level: Level,
    text: String,
}

impl Kept {
    pub(super) fn tell(&self) {
        log::log!(target: LOG, self.level, "{}", self.text);
    }
}

/// Removes from the directories that files can be stored in, now and each day, what uploads have left
/// that nobody goes on with.
pub(super) struct Sweeper {
    paths: Arc<BTreeSet<PathBuf>>,
    _stop: Sender<()>,
}

impl Sweeper {
    /// Starts the thread, which ends when this is dropped and the walk that is under way is done.
    pub(super) fn start(homes: &Homes) -> io::Result<Self> {
        let paths = Arc::new(homes.written.clone());
        let (stop, stopped) = mpsc::channel();
        let walked = Arc::clone(&paths);
        threads::start("sweep", move || {
            loop {
                for path in &*walked {
                    if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                        return;
                    }
                    user_storage::tidy_up(path);
                }
                if stopped.recv_timeout(DAY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { paths, _stop: stop })
    }

    /// Whether these directories are the ones it looks after.
    pub(super) fn is_for(&self, homes: &Homes) -> bool {
        *self.paths == homes.written
    }
}

/// How long what came of a cut upload is kept, at least.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Authenticator for Homes {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let mut login = self.table.login(attempt)?;
        let home = self.users.get(attempt.user).or(self.anonymous.as_ref());
        let home = home.ok_or(AuthError::NoHome)?;
        let open = home.open().map_err(|error| {
            let user = Escaped(attempt.user);
            log::error!(target: LOG, "{user}: {}: {error}", shown_path(&home.path));
            AuthError::NoHome
        })?;
        login.storage = open.storage;
        HOME.set(Some(Arc::clone(home)));
        Ok(login)
    }

    fn offer(&self) -> Offer {
        self.table.offer()
    }
}

impl Home {
    /// A login, of which all is known but what will be there then.
    fn login(self: &Arc<Self>, rights: Rights) -> Login {
        Login::new(Arc::new(Unopened(Arc::clone(self))), rights)
    }

    fn open(&self) -> Result<Open, StorageError> {
        let identity = user_storage::identity(&self.path)?;
        let mut found = lock(&self.found);
        // What is known of another directory is not to be taken for what is here.
        drop(found.take_if(|found| found.identity != identity));
        if let Some(open) = found.as_ref().and_then(Found::open) {
            return Ok(open);
        }
        let mut remembered = lock(&self.remembered);
        drop(remembered.take_if(|(known, _)| *known != identity));
        let config = self.config.with(|config| config.quota = self.quota);
        let UserStorage { storage, walls, tally } = user_storage::open(&self.path, config)?;
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

/// What stands in for a directory until somebody logs in to it, with what that can do.
struct Unopened(Arc<Home>);

impl Storage for Unopened {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities.get().copied().unwrap_or(Capabilities::NONE)
    }

    fn stat(&self, _path: &VirtualPath) -> Result<Metadata, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn list(&self, _path: &VirtualPath) -> Result<Entries, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn read(&self, _path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn write(
        &self,
        _path: &VirtualPath,
        _mode: WriteMode,
    ) -> Result<Box<dyn Upload>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn the_same_directories_are_not_walked_through_again() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let homes = |roots: &[(&tempfile::TempDir, u64)]| {
            let mut homes = Homes::new(LocalConfig::default());
            for (number, (root, quota)) in roots.iter().enumerate() {
                let password = Some(
                    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".parse().unwrap(),
                );
                let root = root.path().to_owned();
                let quota = *quota;
                let rights = Rights::DROP_BOX;
                let user = User { password, root, quota, rights, ..User::default() };
                homes = homes.user(&number.to_string(), &user);
            }
            homes
        };
        let [first, second] = &roots;
        let sweeper = Sweeper::start(&homes(&[(first, 0)])).unwrap();
        assert!(sweeper.is_for(&homes(&[(first, 0)])));
        assert!(sweeper.is_for(&homes(&[(first, 7), (first, 0)])));
        assert!(!sweeper.is_for(&homes(&[(first, 0), (second, 0)])));
        assert!(!sweeper.is_for(&homes(&[(second, 0)])));
        // Where nobody stores anything, disks are left to sleep.
        let none = Homes::new(LocalConfig::default());
        let read = none.anonymous(second.path(), Rights::READ, 0, UserLimits::default());
        assert!(Sweeper::start(&read).unwrap().paths.is_empty());
    }

    #[test]
    fn what_is_in_use_is_known_when_a_user_comes_back_hp_23() {
        const QUOTA: u64 = 10_000;
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("home");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), [b'f'; 1_000]).unwrap();
        let mut homes = Homes::new(LocalConfig::default());
        let limited = homes.home(&root, QUOTA, Rights::FULL);
        let free = homes.home(&root, 0, Rights::FULL);
        let left = |home: &Home| home.open().unwrap().storage.quota().unwrap();
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // Nobody has it open. Another walk would meet this.
        while limited.found.lock().unwrap().as_ref().unwrap().storage.strong_count() > 0 {
            thread::yield_now();
        }
        fs::write(root.join("behind"), [b'b'; 500]).unwrap();
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // What a user without a limit stores there counts too.
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
