//! A directory of users: its storage, what the server remembers about it between logins, and the
//! removal of abandoned partial uploads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Once, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Gid, Mode, OFlags, fchmod, fchown, fstat, open};

use super::config::{ConfiguredRoot, User};
use super::logging::LOG;
use super::own_files::OwnFiles;
use super::stores::Stores;
use super::users::Homes;
use super::{DiskAnswer, answers, start_thread};
use crate::lock::Lock;
use crate::storage::unfinished::REMEMBERED;
use crate::storage::{ConfinementStatus, StorageResult, Tally};
use crate::{Capabilities, LocalConfig, LocalStorage, MemoryStorage, Storage};
use ftp_proto::text::values::{in_full, shown_path};

/// A place that users log in to or that is mounted in their trees: a directory, or objects of a
/// store.
pub(super) struct Home {
    root: ConfiguredRoot,
    stores: Arc<Stores>,
    own: Arc<OwnFiles>,
    pub(super) config: LocalConfig,
    pub(super) role: Role,
    /// Cache of the open directory, valid while the path leads to the same inode.
    found: Lock<Option<OpenedRoot>>,
    remembered: Remembered,
    capabilities: OnceLock<Capabilities>,
    /// Whether users of the configuration have the home, which is then always remembered.
    is_listed: bool,
}

/// All homes, by root. Several homes of one root have different settings, and share what is known
/// about the root.
#[derive(Default)]
pub(super) struct Places {
    homes: Lock<BTreeMap<ConfiguredRoot, Vec<Arc<Home>>>>,
    stores: Arc<Stores>,
    own: Arc<OwnFiles>,
}

/// Largest number of roots that are remembered although no session uses them. Roots of users of the
/// configuration do not count.
const MOST: usize = 1_000;

/// Largest number of homes with different settings that are remembered for one root, unless sessions
/// or users of the configuration use more.
const SETTINGS: usize = 16;

/// Largest number of directories of users of `auth.program` from which partial uploads are removed.
const MOST_WRITTEN: usize = 100_000;

/// Directories in which users of `auth.program` may have stored files; at most [`MOST_WRITTEN`].
static WRITTEN: Lock<BTreeSet<PathBuf>> = Lock::new(BTreeSet::new());

/// Tells the sweepers that there is another one.
static NEWS: Lock<Vec<Sender<()>>> = Lock::new(Vec::new());

pub(super) fn written() -> BTreeSet<PathBuf> {
    WRITTEN.lock().clone()
}

impl Places {
    pub(super) fn new(stores: Arc<Stores>, own: Arc<OwnFiles>) -> Self {
        Self { homes: Lock::default(), stores, own }
    }

    /// Notes where a user of `auth.program` may store files, and asks the sweeper to walk there: after
    /// a restart, only the login tells the place.
    pub(super) fn note_written(&self, user: &User) {
        let mut written = WRITTEN.lock();
        let former = written.len();
        for path in user.written() {
            if written.len() < MOST_WRITTEN {
                written.insert(path.to_owned());
            } else if !written.contains(path) {
                static TOLD: Once = Once::new();
                let rest = "in the other directories of users of auth.program, abandoned partial uploads stay";
                TOLD.call_once(|| log::warn!(target: LOG, "{rest}"));
            }
        }
        if written.len() > former {
            NEWS.lock().retain(|sweeper| sweeper.send(()).is_ok());
        }
    }

    /// Returns the home with this root and these settings. `is_listed` tells whether a user of the
    /// configuration has it.
    pub(super) fn home(
        &self,
        root: &ConfiguredRoot,
        config: LocalConfig,
        role: Role,
        is_listed: bool,
    ) -> Arc<Home> {
        let mut all = self.homes.lock();
        let is_needed = |home: &Arc<Home>| home.is_listed || Arc::strong_count(home) > 1;
        if !is_listed && all.len() >= MOST && !all.contains_key(root) {
            all.retain(|_, homes| homes.iter().any(is_needed));
        }
        let there = all.entry(root.clone()).or_default();
        let mut same = there.iter().filter(|home| home.config == config && home.role == role);
        if let Some(home) = same.find(|home| home.is_listed || !is_listed) {
            return Arc::clone(home);
        }
        if !is_listed && there.len() >= SETTINGS {
            // The first home carries the usage count that all homes of the root share.
            let mut is_first = true;
            there.retain(|home| std::mem::take(&mut is_first) || is_needed(home));
        }
        let remembered = there.first().map(|home| Arc::clone(&home.remembered));
        let home = Arc::new(Home {
            root: root.clone(),
            stores: Arc::clone(&self.stores),
            own: Arc::clone(&self.own),
            config,
            role,
            found: Lock::default(),
            remembered: remembered.unwrap_or_default(),
            capabilities: OnceLock::new(),
            is_listed,
        });
        there.push(Arc::clone(&home));
        home
    }

    pub(super) fn all(&self) -> Vec<Arc<Home>> {
        self.homes.lock().values().flatten().map(Arc::clone).collect()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// The root of users.
    Root,
    /// A root that is created at login if it is missing.
    MadeRoot,
    Mounted,
}

struct OpenedRoot {
    identity: DirectoryIdentity,
    storage: Weak<dyn Storage>,
    confinement: Option<ConfinementStatus>,
}

pub(super) struct OpenStorage {
    pub(super) storage: Arc<dyn Storage>,
    /// The mechanisms that confine sessions to a directory.
    pub(super) confinement: Option<ConfinementStatus>,
}

/// Quota usage and interrupted uploads of a directory, cached across logins because they cost a
/// walk of the tree. Shared by all homes of one root; stale once another directory has the path.
type Remembered = Arc<Lock<Option<(DirectoryIdentity, Tally)>>>;

impl Home {
    pub(super) fn root(&self) -> &ConfiguredRoot {
        &self.root
    }

    pub(super) fn shown(&self) -> String {
        self.root.shown()
    }

    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        self.capabilities.get().copied()
    }

    /// Returns why no user may have this home: it leads to a file of the server.
    pub(super) fn objection(&self) -> Option<String> {
        self.own.objection(&self.root)
    }

    /// Creates the directory if it is missing and its role allows that.
    pub(super) fn make(&self) -> StorageResult<()> {
        if self.role == Role::MadeRoot
            && let Some(path) = self.root.directory().filter(|path| !path.exists())
            && create(path, self.config)?
        {
            log::info!(target: LOG, "created {}", shown_path(path));
        }
        Ok(())
    }

    /// Returns the used bytes and files, if they are known. Does not wait.
    pub(super) fn used(&self) -> Option<(u64, u64)> {
        self.remembered.try_lock()?.as_ref()?.1.used()
    }

    /// Opens the storage of a login with this name and password, or with `None` that of all logins. A
    /// store whose users have storages of their own has none for all: its users alone can try it.
    pub(super) fn open_for(&self, login: Option<(&[u8], &[u8])>) -> StorageResult<OpenStorage> {
        match (self.root.objects().filter(|objects| self.stores.is_personal(objects)), login) {
            (None, _) => self.open(),
            (Some(_), None) => {
                Ok(OpenStorage { storage: Arc::new(MemoryStorage::new()), confinement: None })
            }
            (Some(objects), login) => {
                let storage = self.stores.storage(objects, self.config, login)?;
                let _ = self.capabilities.set(storage.capabilities());
                Ok(OpenStorage { storage, confinement: None })
            }
        }
    }

    fn open(&self) -> StorageResult<OpenStorage> {
        let identity = identity(&self.root)?;
        let mut found = self.found.lock();
        // Another directory has the path now: the cache is stale.
        drop(found.take_if(|found| found.identity != identity));
        if let Some(open) = found.as_ref().and_then(OpenedRoot::open) {
            return Ok(open);
        }
        let mut remembered = self.remembered.lock();
        drop(remembered.take_if(|(known, _)| *known != identity));
        let (open, tally) = open_storage(&self.root, self.config, &self.stores)?;
        let _ = self.capabilities.set(open.storage.capabilities());
        *remembered = tally.map(|tally| (identity, tally));
        let storage = Arc::downgrade(&open.storage);
        *found = Some(OpenedRoot { identity, storage, confinement: open.confinement });
        Ok(open)
    }
}

impl OpenedRoot {
    fn open(&self) -> Option<OpenStorage> {
        Some(OpenStorage { storage: self.storage.upgrade()?, confinement: self.confinement })
    }
}

/// Device and inode, and the creation time if the file system records it: a new directory can get
/// the inode of a removed one.
type DirectoryIdentity = (u64, u64, Option<SystemTime>);

/// Returns the identity of the directory that has the root's path now. All objects of stores have
/// the same identity.
fn identity(root: &ConfiguredRoot) -> StorageResult<DirectoryIdentity> {
    let Some(directory) = root.directory() else { return Ok((0, 0, None)) };
    let metadata = fs::metadata(directory)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Creates the root if it is missing, accessible only to the server's user unless the settings give
/// directories a mode, a group, or a umask other than the default. Returns whether the root was missing.
///
/// Creates only the last directory of the path, and does not follow a symbolic link in its place.
fn create(root: &Path, config: LocalConfig) -> StorageResult<bool> {
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Ok(()) => {
            if let Err(error) = set_group_and_mode(root, config) {
                let shown = shown_path(root);
                log::warn!(target: LOG, "{shown}: cannot set its group and mode: {error}");
            }
            sync_name(root)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives a new root the group and the mode that the settings name, without following a link.
fn set_group_and_mode(root: &Path, config: LocalConfig) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = open(root, flags, Mode::empty())?;
    if let Some(group) = config.group {
        fchown(&made, None, Some(Gid::from_raw(group)))?;
    }
    let is_masked = config.umask != LocalConfig::new().umask;
    let mode = config.directory_mode.or(is_masked.then_some(0o777 & !config.umask));
    let Some(mode) = mode else { return Ok(()) };
    let passed_on = fstat(&made)?.st_mode & 0o7000;
    Ok(fchmod(&made, Mode::from_raw_mode(mode | passed_on))?)
}

/// Syncs the name of a new directory: otherwise, a power cut could remove it with the first uploads,
/// which are synced and confirmed.
fn sync_name(directory: &Path) -> io::Result<()> {
    let parent = directory.parent().unwrap_or(directory);
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        // The server may create directories there, but not read the parent.
        Err(_) => Ok(rustix::fs::syncfs(File::open(directory)?)?),
    }
}

/// Opens the storage that `root` in the settings names. Returns also the used space of a directory, for
/// quotas.
fn open_storage(
    root: &ConfiguredRoot,
    config: LocalConfig,
    stores: &Stores,
) -> StorageResult<(OpenStorage, Option<Tally>)> {
    match root {
        ConfiguredRoot::Directory(path) => {
            let local = LocalStorage::open(path)?.configured(config)?;
            let (confinement, tally) = (Some(local.confinement_status()), Some(local.tally()));
            Ok((OpenStorage { storage: Arc::new(local), confinement }, tally))
        }
        ConfiguredRoot::Objects(objects) => {
            let storage = stores.storage(objects, config, None)?;
            Ok((OpenStorage { storage, confinement: None }, None))
        }
    }
}

/// Returns why no session can be confined as the settings require, whatever its root.
pub(super) fn why_unconfined(config: LocalConfig) -> Option<String> {
    let tried = LocalStorage::open("/").and_then(|root| root.configured(config));
    tried.err().map(|error| in_full(&error))
}

/// Pause before the next look whether a walk that hangs has ended.
const LOOK: Duration = Duration::from_secs(60);

/// Largest number of walks that hang: those that begin in one round may all do so.
const MOST_HANGING: usize = 8;

/// The roots of the walks that have not ended, and whether they hang. Those of a former sweeper are
/// among them.
static WALKED: Lock<BTreeMap<PathBuf, bool>> = Lock::new(BTreeMap::new());

/// The walk below a root; one at a time.
struct RootWalk(PathBuf);

impl RootWalk {
    fn begin(root: &PathBuf) -> Option<Self> {
        let mut walked = WALKED.lock();
        (!walked.contains_key(root)).then(|| {
            walked.insert(root.clone(), false);
            Self(root.clone())
        })
    }
}

impl Drop for RootWalk {
    fn drop(&mut self) {
        let hung = WALKED.lock().remove(&self.0);
        if hung == Some(true) {
            // There is room for another walk.
            NEWS.lock().retain(|sweeper| sweeper.send(()).is_ok());
        }
    }
}

/// When the next walk below each root is due.
type DueWalks = Arc<Lock<BTreeMap<PathBuf, Instant>>>;

/// Removes expired partial uploads below those of these roots where a walk is due, and returns the time
/// until the next one is. A root that does not answer holds up only its own walk; one that cannot be
/// opened is skipped: the start or the login reports it.
fn walk(paths: &BTreeSet<PathBuf>, due: &DueWalks, is_over: &Arc<AtomicBool>) -> Duration {
    let room = || {
        let hanging = WALKED.lock().values().filter(|hangs| **hangs).count();
        MOST_HANGING.saturating_sub(hanging)
    };
    let most = room();
    let walks: Vec<RootWalk> = {
        let (due, now) = (due.lock(), Instant::now());
        let is_due = |path: &&PathBuf| due.get(*path).is_none_or(|at| *at <= now);
        paths.iter().filter(is_due).filter_map(RootWalk::begin).take(most).collect()
    };
    let roots: Vec<PathBuf> = walks.iter().map(|walk| walk.0.clone()).collect();
    let (known, is_over) = (Arc::clone(due), Arc::clone(is_over));
    let ended = answers(walks, move |walk| {
        if !is_over.load(Ordering::Relaxed) {
            let pause = LocalStorage::sweep_below(&walk.0);
            known.lock().insert(walk.0.clone(), Instant::now() + pause);
        }
    });
    for (root, _) in roots.iter().zip(&ended).filter(|(_, it)| **it == DiskAnswer::Missing) {
        if let Some(hangs) = WALKED.lock().get_mut(root) {
            *hangs = true;
        }
        let root = shown_path(root);
        log::info!(target: LOG, "{root}: the search for abandoned partial uploads takes long");
    }
    let asked = roots.iter().zip(&ended).filter(|(_, it)| **it != DiskAnswer::NotAsked);
    let asked: BTreeSet<&PathBuf> = asked.map(|(root, _)| root).collect();
    let has_room = !asked.is_empty() && room() > 0;
    let (due, now) = (due.lock(), Instant::now());
    let is_left = |path: &PathBuf| {
        let is_begun = asked.contains(path) || WALKED.lock().contains_key(path);
        !is_begun && due.get(path).is_none_or(|at| *at <= now)
    };
    if has_room && paths.iter().any(is_left) {
        return Duration::ZERO;
    }
    // Those that another sweeper walks, or whose walk hangs, are looked at later.
    let later = |path| due.get(path).filter(|at| **at > now);
    let pause = |path| later(path).map_or(LOOK, |at| at.saturating_duration_since(now));
    paths.iter().map(pause).min().unwrap_or(REMEMBERED)
}

/// Thread that removes abandoned partial uploads from writable directories, at once and then
/// whenever one is too old.
pub(super) struct Sweeper {
    paths: Arc<BTreeSet<PathBuf>>,
    is_over: Arc<AtomicBool>,
    news: Sender<()>,
}

impl Sweeper {
    /// Starts the thread. The thread ends when this value is dropped and the current walks are done
    /// or hang.
    pub(super) fn start(homes: &Homes) -> io::Result<Self> {
        let paths = Arc::new(homes.written().clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let (news, heard) = mpsc::channel();
        let (walked, ends) = (Arc::clone(&paths), Arc::clone(&is_over));
        start_thread("sweep", move || {
            // As in `LocalStorage::start_sweeper`; the threads of the walks inherit it. The call may
            // fail, because the systemd unit forbids it.
            let _ = rustix::process::nice(10);
            let due = DueWalks::default();
            while !ends.load(Ordering::Relaxed) {
                let all = walked.union(&written()).cloned().collect();
                let _ = heard.recv_timeout(walk(&all, &due, &ends));
                heard.try_iter().for_each(drop);
            }
        })?;
        NEWS.lock().push(news.clone());
        Ok(Self { paths, is_over, news })
    }

    /// Returns whether the sweeper cleans these directories.
    pub(super) fn is_for(&self, homes: &Homes) -> bool {
        *self.paths == *homes.written()
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.news.send(());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use crate::{VirtualPath, WriteMode};

    use super::*;
    use crate::storage::{Keep, RoomFor};

    #[test]
    fn a_new_root_has_the_mode_of_directories_if_that_is_set() {
        let parent = tempfile::tempdir().unwrap();
        for (name, mode, umask, want) in [
            ("a", None, 0o022, 0o700),
            ("b", Some(0o775), 0o022, 0o775),
            ("c", None, 0o002, 0o775),
            ("d", None, 0o027, 0o750),
            ("e", Some(0o711), 0o027, 0o711),
        ] {
            let root = parent.path().join(name);
            let config = LocalConfig::new().directory_mode(mode).umask(umask);
            assert!(create(&root, config).unwrap() && !create(&root, config).unwrap());
            assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, want);
        }
    }

    #[test]
    fn quota_usage_is_remembered_between_sessions_hp_23() {
        const QUOTA: u64 = 10_000;
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("home");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), [b'f'; 1_000]).unwrap();
        let place = ConfiguredRoot::from(&*root);
        let places = Places::default();
        let home = |config| places.home(&place, config, Role::Root, true);
        let limited = home(LocalConfig::new().quota(QUOTA));
        let free = home(LocalConfig::default());
        let left = |home: &Home| {
            let storage = home.open().unwrap().storage;
            storage.space(&VirtualPath::root(), RoomFor::User).unwrap().bytes_left()
        };
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // No session has the directory open. A second walk would find the new file.
        while limited.found.lock().as_ref().unwrap().storage.strong_count() > 0 {
            thread::yield_now();
        }
        fs::write(root.join("behind"), [b'b'; 500]).unwrap();
        assert_eq!(left(&limited), Some(QUOTA - 1_000));
        // Files of users without a limit count too.
        let path = VirtualPath::root().join(b"more");
        let storage = free.open().unwrap().storage;
        let mut upload = storage.write(&path, WriteMode::Create, Keep::Shared).unwrap();
        upload.write_all(&[b'm'; 70]).unwrap();
        upload.commit().unwrap();
        drop(storage);
        assert_eq!(left(&limited), Some(QUOTA - 1_070));
        // Another directory now has the path, perhaps with the inode of the first.
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        assert_eq!(left(&limited), Some(QUOTA));
    }
}

#[cfg(test)]
mod tests_of_the_sweeper {
    use ftp_tests::lying_disk::LyingDisk;
    use ftp_tests::root::TempRoot;
    use ftp_tests::wait::wait_until;

    use crate::storage::Keep;
    use crate::{LocalConfig, Rights, VirtualPath, WriteMode};

    use super::*;

    #[test]
    fn a_sweeper_matches_only_the_same_directories() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let homes = |roots: &[(&tempfile::TempDir, u64)]| {
            let mut homes = Homes::new(LocalConfig::default(), Places::default());
            for (number, (root, quota)) in roots.iter().enumerate() {
                let password = Some(
                    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5".parse().unwrap(),
                );
                let root = root.path().into();
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
        // If no user stores files, disks can stay in standby.
        let none = Homes::new(LocalConfig::default(), Places::default());
        let root = second.path().into();
        let read = none.anonymous(User { root, rights: Rights::READ, ..User::default() });
        assert!(Sweeper::start(&read).unwrap().paths.is_empty());
    }

    /// As below a network mount whose server is down, before others in the order of names.
    #[test]
    fn a_root_that_does_not_answer_holds_up_no_walk_below_another_fs_14() {
        let (silent, root) = (TempRoot::new(), tempfile::tempdir().unwrap());
        let Some(disk) = LyingDisk::mount(silent.path(), [("d/f", "x")]) else { return };
        let left = root.path().join(".ftp-upload-00112233445566aa");
        let all = BTreeSet::from([silent.join("d"), root.path().to_owned()]);
        let due = DueWalks::default();
        let held = disk.lies();
        for _ in 0..2 {
            fs::write(&left, "x").unwrap();
            due.lock().clear();
            assert!(walk(&all, &due, &Arc::default()) <= LOOK);
            assert!(!left.exists());
            // A second walk would hang, too.
            assert!(RootWalk::begin(&silent.join("d")).is_none());
        }
        // More roots that hang than may: the rest is left for the end of one of these.
        let (news, heard) = mpsc::channel();
        NEWS.lock().push(news);
        let dead = |number: usize| silent.join(format!("d/{number}"));
        let all: BTreeSet<_> = (0..2 * MOST_HANGING).map(dead).collect();
        while walk(&all, &due, &Arc::default()).is_zero() {}
        let is_silent = |root: &&PathBuf| root.starts_with(silent.path());
        assert_eq!(WALKED.lock().keys().filter(is_silent).count(), MOST_HANGING);
        heard.try_iter().for_each(drop);
        drop(held);
        wait_until("the disk is walked", || due.lock().contains_key(&silent.join("d")));
        wait_until("a sweeper is woken", || heard.try_recv().is_ok());
    }

    #[test]
    fn a_root_that_a_login_tells_is_walked_at_once_fs_14() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join(".ftp-upload-00112233445566bb");
        fs::write(&left, "x").unwrap();
        let none = Homes::new(LocalConfig::default(), Places::default());
        let _sweeper = Sweeper::start(&none).unwrap();
        let user = User { root: root.path().into(), rights: Rights::FULL, ..User::default() };
        Places::default().note_written(&user);
        wait_until("the file is removed", || !left.exists());
    }

    #[test]
    fn the_next_walk_is_due_when_a_kept_file_is_twelve_hours_old_fs_14() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let paths = roots.each_ref().map(|root| root.path().to_owned());
        let all = paths.iter().cloned().collect();
        let next = || walk(&all, &DueWalks::default(), &Arc::default()).as_secs();
        // Files that are kept after the walk are not too old before.
        assert!((12 * 3_600 - 60..=12 * 3_600).contains(&next()));
        let storage = LocalStorage::open(&roots[1]).unwrap();
        let path = VirtualPath::root().join(b"f");
        let mut upload = storage.write(&path, WriteMode::Create, Keep::Bytes(b"ann")).unwrap();
        upload.write_all(b"part").unwrap();
        drop(upload);
        let files = || fs::read_dir(&paths[1]).unwrap().map(|it| it.unwrap().path());
        let is_record = |file: &PathBuf| file.to_string_lossy().contains("record-");
        let record = files().find(is_record).unwrap();
        let text = fs::read_to_string(&record).unwrap();
        let line = text.lines().find(|line| line.starts_with("left ")).unwrap();
        let numbers: Vec<u64> =
            line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
        for (age, want) in [(3, 9), (11, 1), (12, 12)] {
            let [when, until] = [1, 2].map(|at| numbers[at] - age * 3_600);
            let older = format!("left {} {when} {until}", numbers[0]);
            fs::write(&record, text.replace(line, &older)).unwrap();
            assert!((want * 3_600 - 60..=want * 3_600).contains(&next()), "{age}");
            // The record outlives the bytes.
            assert_eq!(files().count(), if age < 12 { 2 } else { 1 });
        }
    }
}
