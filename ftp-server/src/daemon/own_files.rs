//! The files that the server itself uses, and the roots from which clients could reach them. Start,
//! reload, `--check` and each login use the same table, and so does the check of a configuration for
//! contradictions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf, absolute};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::{major, minor};

use super::check::all_places;
use super::config::{
    Config, ConfiguredRoot, Fixed, MetricsAddress, NOT_A_NAME, is_name, key_of_store,
};
use super::hooks::spool_files;
use super::patience::{DiskAnswer, answers};
use super::{DaemonError, certificate};
use crate::lock::Lock;
use crate::net::socket::is_ready;
use ftp_proto::text::toml_text::shown;
use ftp_proto::text::values::{counted, shown_path};

/// Maximum number of paths on the way to one file: more are a loop of links or of mounts, and no
/// directory is served.
const MOST: usize = 256;

/// Files that hold secrets or lines of all users, besides those with [`OwnFile::secret`].
const PRIVATE: &[&str] = &["tls.self_signed", "log.target", "log.transfers"];

/// Files that the server replaces or writes to.
const WRITTEN: [&str; 4] = ["log.target", "log.transfers", "control.socket", "metrics.listen"];

/// A file or directory of the server.
#[derive(Clone, Debug)]
pub(super) struct OwnFile {
    /// The setting, option or variable that names the file.
    pub(super) key: String,
    pub(super) path: PathBuf,
    /// The secret in the file, if it has one.
    pub(super) secret: Option<&'static str>,
}

/// Returns all files that the server of this configuration uses.
pub(super) fn own_files(config: &Config) -> Vec<OwnFile> {
    let settings = &config.settings;
    let mut all = Vec::new();
    let mut add = |key: &str, path: Option<&Path>, secret| {
        all.extend(path.map(|path| OwnFile { key: key.to_owned(), path: path.to_owned(), secret }));
    };
    let hashes = (!settings.users.is_empty()).then_some("the password hashes");
    // Clients cannot read what came from a pipe.
    add("--config", config.file().filter(|path| path.is_file()), hashes);
    if let Some(include) = &settings.include {
        add("include", Some(&include.directory), None);
        include.files.iter().for_each(|path| add("include", Some(path), hashes));
    }
    for (origin, path) in config.password_files() {
        add(origin, Some(path), Some("a password"));
    }
    let private_key = Some("the private key");
    for (key, path) in settings.certificate_files() {
        add(&key, Some(path), private_key.filter(|_| key.ends_with("key")));
    }
    for (key, path) in certificate::state_files(settings) {
        add(key, Some(&path), None);
    }
    for (name, store) in settings.stores.iter() {
        let credentials = Some("the credentials of an object store");
        for (key, path, secret) in [
            ("secret_key_file", &store.secret_key_file, credentials),
            ("session_token_file", &store.session_token_file, credentials),
            // Kubernetes sets its mode, and lets all users read it.
            ("web_identity_token_file", &store.web_identity_token_file, None),
        ] {
            add(&key_of_store(name, key), path.as_deref(), secret);
        }
        if let Some((_, values)) = settings.values_of_store(name) {
            for (key, path) in values.files() {
                add(&key_of_store(name, key), Some(path), Some("the password of a store"));
            }
        }
    }
    for name in ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
        let token = settings.environment.get(name).map(PathBuf::from);
        add(name, token.filter(|_| !settings.stores.is_empty()).as_deref(), None);
    }
    let password = Some("the password of the ledger");
    add("ledger.password_file", settings.ledger.password_file.as_deref(), password);
    add("log.target", settings.log_target.path(), None);
    add("log.transfers", settings.log_transfers.as_deref(), None);
    add("control.socket", settings.control_socket.as_deref(), None);
    let metrics = settings.metrics.as_ref().and_then(MetricsAddress::path);
    add("metrics.listen", metrics, None);
    let hooks = &settings.hooks;
    for (key, command) in [
        ("auth.program", &settings.auth.program),
        ("hooks.stored", &hooks.stored),
        ("hooks.check", &hooks.check),
    ] {
        let mut words = command.iter().map(Path::new);
        add(key, words.next(), None);
        // A script is an argument of its interpreter. Directories may be what the program works on.
        words
            .filter(|path| path.is_absolute() && path.is_file())
            .for_each(|path| add(key, Some(path), None));
    }
    add("hooks.program", settings.hooks.program.as_deref(), None);
    add("hooks.dead_letters", settings.hooks.dead_letters.as_deref(), None);
    for path in spool_files(settings) {
        add("hooks.spool", Some(&path), None);
    }
    // It has what the server has read, and the variables that a password can be in.
    add("the server's memory", Some(Path::new("/proc/self/mem")), None);
    all
}

fn is_replaced(file: &OwnFile) -> bool {
    WRITTEN.contains(&&*file.key)
}

/// Returns whether the server changes the file, or files in the directory.
pub(super) fn is_written(file: &OwnFile) -> bool {
    is_replaced(file) || ["hooks.spool", "hooks.dead_letters"].contains(&&*file.key)
}

/// Returns one line for each file that the server writes to although it uses it for something else
/// too, such as a log with the path of a key.
pub(super) fn overwritten(config: &Config) -> Vec<String> {
    let all = own_files(config);
    // Several logs can go to one terminal or pipe.
    let is_stream = |path: &Path| {
        let kind = fs::metadata(path).map(|found| found.file_type());
        kind.is_ok_and(|kind| kind.is_char_device() || kind.is_fifo())
    };
    // Those on a disk that does not answer are compared as they are written.
    let paths: Vec<PathBuf> = all.iter().map(|file| file.path.clone()).collect();
    let full = answers(paths, move |path| (in_full(&path), is_stream(&path)));
    let full: Vec<_> = full.into_iter().map(DiskAnswer::given).collect();
    let full = |at: usize| full.get(at)?.as_ref();
    let clash = |(at, file): (usize, &OwnFile)| {
        let others = all.iter().enumerate().filter(|(_, other)| other.key != file.key);
        let mut others = others.filter(|(other_at, other)| *other_at < at || !is_replaced(other));
        let is_same = |(other_at, other): &(usize, &OwnFile)| {
            let both = full(at).zip(full(*other_at));
            other.path == file.path
                || both.is_some_and(|((path, is_stream), (other, _))| path == other && !is_stream)
        };
        let (_, other) = others.find(is_same)?;
        let (place, key) = (config.settings.origins.place(&file.key), &file.key);
        Some(format!("{place}: {key}: names the same file as {}; use another file", other.key))
    };
    all.iter().enumerate().filter(|(_, file)| is_replaced(file)).filter_map(clash).collect()
}

impl Config {
    /// Checks that the settings do not contradict each other, and that some user can log in.
    ///
    /// # Errors
    ///
    /// Returns `Configuration`, with one line for each contradiction.
    pub fn validate(&self) -> Result<(), DaemonError> {
        let mut lines = self.settings.contradictions();
        lines.extend(overwritten(self));
        let users = self.quick.iter().flat_map(|quick| &quick.users);
        let names = users.map(|(name, _)| String::from_utf8_lossy(name));
        let wrong = names.filter(|name| !is_name(name));
        lines.extend(wrong.map(|name| format!("user {}: {NOT_A_NAME}", shown(&name))));
        if !lines.is_empty() {
            return Err(DaemonError::refused("settings", lines));
        }
        match self.quick.is_some() || self.names_users() {
            true => Ok(()),
            false => Err(nobody()),
        }
    }
}

fn nobody() -> DaemonError {
    DaemonError::configuration(
        "no user can log in: add [users.NAME], auth.program or anonymous.enabled = true to the file, or use --user \
         or DIR",
    )
}

/// The files of the server, and everything that leads to them.
#[derive(Default)]
pub(super) struct OwnFiles {
    files: Vec<OwnFile>,
    /// `/proc/self/mountinfo`, if `/proc` is mounted.
    mounts: Option<File>,
    ways: Lock<Arc<Ways>>,
    /// Whether a look at each file has begun and not ended.
    asked: Vec<Arc<AtomicBool>>,
}

/// A look at a file, until it ends or is given up before it has begun.
struct Look(Arc<AtomicBool>);

impl Look {
    fn begin(asked: &Arc<AtomicBool>) -> Option<Self> {
        (!asked.swap(true, Ordering::SeqCst)).then(|| Self(Arc::clone(asked)))
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// What leads to the files of the server, each with the index of the file.
#[derive(Default)]
struct Ways {
    /// Device and inode of each file, and of each directory from which it can be reached.
    reached: BTreeMap<(u64, u64), usize>,
    /// Full paths of the files and of the directories on the way: some do not exist yet, and some disks
    /// give what they have other numbers later.
    paths: BTreeMap<PathBuf, usize>,
    /// A file to which more than [`MOST`] paths lead, so that some of them are unknown.
    endless: Option<usize>,
    /// Files whose disks did not answer.
    missed: Vec<usize>,
}

impl OwnFiles {
    /// Returns the files of this configuration, and those of `former` that stay in use until a
    /// restart.
    pub(super) fn of(config: &Config, former: &Self) -> Self {
        let mut files = own_files(config);
        let stays = |file: &&OwnFile| Fixed::of(&file.key).is_some();
        files.extend(former.files.iter().filter(stays).cloned());
        // Opened before it is read, so that a mount in the meantime is detected.
        let mounts = File::open("/proc/self/mountinfo").ok();
        let asked = files.iter().map(|_| Arc::default()).collect();
        let found = Self { files, mounts, ways: Lock::default(), asked };
        let known = Arc::clone(&*former.ways.lock());
        *found.ways.lock() = Arc::new(found.look(&former.files, &known));
        found
    }

    /// Looks for all ways to the files. Where the process has given up the right to look, or a disk
    /// does not answer, those that it has found before still count, and the directories in the path:
    /// a login must not wait for the disk of a log.
    fn look(&self, known: &[OwnFile], former: &Ways) -> Ways {
        let mounts = self.mounts.as_ref().map(Mount::all).unwrap_or_default();
        let files = self.files.iter().zip(&self.asked).enumerate();
        let questions: Vec<(usize, PathBuf, Look)> = files
            .filter_map(|(index, (file, asked))| {
                Some((index, file.path.clone(), Look::begin(asked)?))
            })
            .collect();
        let asked: Vec<usize> = questions.iter().map(|(index, ..)| *index).collect();
        let given = answers(questions, move |(index, path, _look)| {
            let mut ways = Ways::default();
            let is_hidden = ways.follow(index, &path, &mounts);
            (ways, is_hidden)
        });
        let given = asked.into_iter().zip(given);
        let mut found: BTreeMap<usize, (Ways, bool)> =
            given.filter_map(|(index, answer)| Some((index, answer.given()?))).collect();
        let mut all = Ways::default();
        for (index, OwnFile { path, .. }) in self.files.iter().enumerate() {
            let (ways, is_hidden) = found.remove(&index).unwrap_or_else(|| {
                all.missed.push(index);
                let path = absolute(path).unwrap_or_else(|_| path.clone());
                let paths = path.ancestors().map(|place| (place.to_owned(), index)).collect();
                (Ways { paths, ..Ways::default() }, true)
            });
            all.endless = all.endless.or(ways.endless);
            let is_same = |at: &usize| known.get(*at).is_some_and(|file| file.path == *path);
            let before = former.reached.iter().filter(|(_, at)| is_hidden && is_same(at));
            for place in ways.reached.into_keys().chain(before.map(|(place, _)| *place)) {
                all.reached.entry(place).or_insert(index);
            }
            for place in ways.paths.into_keys() {
                all.paths.entry(place).or_insert(index);
            }
        }
        all
    }

    /// Returns the ways as they are now.
    fn ways(&self) -> Arc<Ways> {
        let mut ways = self.ways.lock();
        // A look that was given up ends once the disk answers: then another one does not wait.
        let is_over = |at: &usize| self.asked.get(*at).is_some_and(|it| !it.load(Ordering::SeqCst));
        if self.has_new_mounts() || ways.missed.iter().any(is_over) {
            *ways = Arc::new(self.look(&self.files, &ways));
        }
        Arc::clone(&ways)
    }

    /// Returns whether something was mounted or unmounted since the last call.
    fn has_new_mounts(&self) -> bool {
        let Some(mounts) = &self.mounts else { return false };
        is_ready(mounts, PollFlags::PRI, Duration::ZERO).unwrap_or(true)
    }

    /// Returns the file to which this root leads, and what to do about it; `None` if it leads to
    /// none. Usually the cost is that of two system calls.
    pub(super) fn objection(&self, root: &ConfiguredRoot) -> Option<String> {
        let directory = root.directory().filter(|_| !self.files.is_empty())?;
        // Not locked here: the disk with the root may not answer.
        let ways = self.ways();
        if let Some(OwnFile { key, path, .. }) = ways.endless.and_then(|at| self.files.get(at)) {
            let (root, path) = (root.shown(), shown_path(path));
            let why = "too many links and mounts lead to it to know whether the root does";
            return Some(format!("{root}: {path} ({key}): {why}; use another path"));
        }
        let found = fs::metadata(directory).ok();
        let index = found.and_then(|found| ways.reached.get(&(found.dev(), found.ino())));
        let index = index.or_else(|| ways.paths.get(&in_full(directory)));
        let OwnFile { key, path, .. } = self.files.get(*index?)?;
        let what_to_do = match directory == Path::new("/") {
            true => "list other directories in [users.NAME.mounts], or use one as the root",
            false => "use another directory, or move the file",
        };
        let (root, path) = (root.shown(), shown_path(path));
        Some(format!("{root} contains a file of the server, {path} ({key}); {what_to_do}"))
    }

    /// Returns one line for each root of the configuration that leads to a file.
    ///
    /// A root that does not answer has none: each login asks again.
    pub(super) fn objections(self: &Arc<Self>, config: &Config) -> Vec<String> {
        let own = Arc::clone(self);
        let objection = move |(whose, root): (String, ConfiguredRoot)| {
            own.objection(&root).map(|objection| format!("{whose}: {objection}"))
        };
        let all = answers(all_places(config), objection);
        all.into_iter().filter_map(DiskAnswer::given).flatten().collect()
    }

    /// Returns one line for each private file that has another name, which could be below a root. It
    /// may as well be that of a backup, so the server starts all the same.
    pub(super) fn linked(&self, config: &Config) -> Vec<String> {
        let is_private = |file: &&OwnFile| file.secret.is_some() || PRIVATE.contains(&&*file.key);
        let is_linked = |file: &OwnFile| {
            fs::metadata(&file.path).is_ok_and(|found| found.is_file() && found.nlink() > 1)
        };
        let all = self.files.iter().filter(|_| !config.settings.local.deny_hardlinks);
        let line = move |file: OwnFile| {
            let (key, path) = (&file.key, shown_path(&file.path));
            let why = "has a second name (hard link), which a root could contain";
            let cure = "copy the file, or set security.deny_hardlinks";
            is_linked(&file).then(|| format!("{key}: {path} {why}; {cure}"))
        };
        let lines = answers(all.filter(is_private).cloned().collect(), line);
        lines.into_iter().filter_map(DiskAnswer::given).flatten().collect()
    }

    /// Checks the roots of a configuration.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if one of them leads to a file.
    pub(super) fn check(self: &Arc<Self>, config: &Config) -> Result<(), DaemonError> {
        self.linked(config).iter().for_each(|line| log::warn!("{line}"));
        let all = self.objections(config);
        let Some(first) = all.first() else { return Ok(()) };
        let more = match all.len() {
            1 => String::new(),
            count => format!(" (and {})", counted(count - 1, "similar problem")),
        };
        Err(DaemonError::configuration(format!("{first}{more}")))
    }
}

impl Ways {
    /// Notes each directory that leads to a file: its parents, the parents of links on the way, and
    /// those of other mounts of the same directory. Returns whether some of them could not be looked
    /// at.
    fn follow(&mut self, index: usize, file: &Path, mounts: &[Mount]) -> bool {
        let path = absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut next = vec![without_dots(&path)];
        let (mut seen, mut is_hidden) = (BTreeSet::new(), false);
        while let Some(path) = next.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            if seen.len() > MOST {
                self.endless.get_or_insert(index);
                break;
            }
            let mut devices = BTreeSet::new();
            for place in path.ancestors() {
                match fs::metadata(place) {
                    Ok(found) => {
                        devices.insert(format!("{}:{}", major(found.dev()), minor(found.dev())));
                        self.reached.entry((found.dev(), found.ino())).or_insert(index);
                    }
                    Err(error) => is_hidden |= error.kind() != ErrorKind::NotFound,
                }
                self.paths.entry(in_full(place)).or_insert(index);
                if let (Ok(target), Some(parent)) = (fs::read_link(place), place.parent()) {
                    next.push(without_dots(&parent.join(target)));
                }
            }
            let path = in_full(&path);
            let nearest = Mount::of(mounts, &path);
            devices.extend(nearest.map(|mount| mount.device.clone()));
            // A mount point on another device leads elsewhere, and could be a server that is down.
            for mount in mounts.iter().filter(|mount| devices.contains(&mount.device)) {
                next.extend(nearest.and_then(|nearest| nearest.elsewhere(&path, mount)));
                let is_way = |found| self.reached.contains_key(&found);
                let leads_here = identity(&mount.point).is_some_and(is_way);
                next.extend(leads_here.then(|| mount.point.clone()));
            }
        }
        is_hidden
    }
}

/// Returns the device and inode of the object at `path`; `None` if `stat` fails.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Returns a path without `..`: the directory that `..` leaves does not lead to the file.
fn without_dots(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                found = in_full(&found);
                found.pop();
            }
            part => found.push(part),
        }
    }
    found
}

/// Returns the canonical form of a path whose last components may be missing.
pub(super) fn in_full(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(found), ..) => found,
        (Err(_), Some(parent), Some(name)) => in_full(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    /// Numbers of the device. Those of a file differ from them on some file systems, such as btrfs.
    device: String,
    /// The directory of the file system that is mounted.
    top: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn all(mut file: &File) -> Vec<Self> {
        let mut text = Vec::new();
        // Without the mounts, the parents of the files are still known.
        let _ = file.rewind().and_then(|()| file.read_to_end(&mut text));
        String::from_utf8_lossy(&text).lines().filter_map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(2);
        // The kernel escapes what would end the field or the line.
        let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
        let mut field = || {
            let text = fields.next()?.to_owned();
            Some(escapes.iter().fold(text, |all, (from, to)| all.replace(from, to)))
        };
        Some(Self { device: field()?, top: field()?.into(), point: field()?.into() })
    }

    /// Returns the mount that contains a full path.
    fn of<'m>(mounts: &'m [Self], path: &Path) -> Option<&'m Self> {
        let holds = |mount: &&Self| path.starts_with(&mount.point);
        // Of several mounts at one point, the last covers the others.
        mounts.iter().filter(holds).max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// Returns the path by which the object at `path` in this mount is found in another mount of its
    /// file system, unless that mount does not contain it or is covered there. If the object is
    /// missing, the nearest existing directory above it decides.
    fn elsewhere(&self, path: &Path, other: &Self) -> Option<PathBuf> {
        let alias = |path: &Path| {
            let below = self.top.join(path.strip_prefix(&self.point).ok()?);
            Some(other.point.join(below.strip_prefix(&other.top).ok()?))
        };
        let there = path.ancestors().find_map(|place| Some((place, identity(place)?)));
        let (place, found) = there?;
        (identity(&alias(place)?) == Some(found)).then(|| alias(path)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ffi::OsString;
    use std::os::unix::fs::symlink;

    use ftp_tests::lying_disk::LyingDisk;
    use ftp_tests::root::TempRoot;
    use ftp_tests::wait::wait_until;

    use super::*;
    use crate::Rights;

    /// As a network mount whose server is away, which holds a log or a certificate.
    #[test]
    fn a_file_of_the_server_on_a_disk_that_does_not_answer_holds_up_no_login() {
        let (root, silent) = (TempRoot::new(), TempRoot::new());
        let Some(disk) = LyingDisk::mount(silent.path(), [("log", "x")]) else { return };
        let mut config = Config::new();
        config.set("log.transfers", silent.join("log").to_str().unwrap()).unwrap();
        // The disk answers nothing as long as the test holds what it says.
        let held = disk.lies();
        let own = OwnFiles::of(&config, &OwnFiles::default());
        let objection = |path: &Path| own.objection(&ConfiguredRoot::Directory(path.to_owned()));
        assert_eq!(objection(root.path()), None);
        let above = objection(silent.path().parent().unwrap());
        assert!(above.is_some_and(|why| why.contains("contains a file of the server")));
        // A look that has not ended is not begun again.
        *own.ways.lock() = Arc::new(own.look(&own.files, &Ways::default()));
        let waiting = own.asked.iter().filter(|asked| asked.load(Ordering::SeqCst)).count();
        assert_eq!(waiting, 1);
        assert_eq!(own.ways().missed.len(), 1);
        // Once the disk answers, it is looked at again, without a new mount.
        drop(held);
        wait_until("the file is looked at again", || own.ways().missed.is_empty());
        let log = fs::metadata(silent.join("log")).unwrap();
        assert!(own.ways().reached.contains_key(&(log.dev(), log.ino())));
    }

    thread_local! {
        static STATE: RefCell<Option<OsString>> = const { RefCell::new(None) };
    }

    /// Each setting that names a file of the server, with the other settings that it needs.
    const KINDS: &[(&str, &[&str])] = &[
        ("--config", &[]),
        ("--password-file", &[]),
        ("STATE_DIRECTORY", &[]),
        ("tls.self_signed", &["tls.self_signed=true"]),
        ("tls.certificate", &[]),
        ("tls.key", &[]),
        ("tls.client_ca", &[]),
        ("tls.sscn_ca", &[]),
        ("hosts.\"h.example\".certificate", &[]),
        ("hosts.\"h.example\".key", &[]),
        ("stores.main.secret_key_file", &[]),
        ("stores.main.session_token_file", &[]),
        ("stores.main.web_identity_token_file", &[]),
        ("ledger.password_file", &[]),
        ("log.target", &[]),
        ("log.transfers", &[]),
        ("control.socket", &[]),
        ("metrics.listen", &[]),
        ("auth.program", &[]),
        ("hooks.stored", &[]),
        ("hooks.check", &[]),
        ("hooks.program", &[]),
        ("hooks.dead_letters", &[]),
        ("hooks.spool", &["hooks.stored=[\"/bin/true\"]"]),
    ];

    #[test]
    fn a_file_that_the_server_writes_to_has_no_other_use() {
        let here = tempfile::tempdir().unwrap();
        let (file, link) = (here.path().join("file"), here.path().join("link"));
        fs::write(&file, "[users]").unwrap();
        symlink(&file, &link).unwrap();
        for key in WRITTEN {
            for (other, more) in KINDS.iter().filter(|(other, _)| *other != key) {
                let mut config = using(other, more, &file);
                let own = own_files(&config).into_iter().find(|own| own.key == *other).unwrap();
                let alias = if own.path == file { &link } else { &own.path };
                set_path(&mut config, key, alias);
                let [line] = &overwritten(&config)[..] else { panic!("{key} {other}") };
                assert!(line.contains("names the same file as"), "{line}");
                assert!(line.contains(key) && line.contains(other), "{line}");
            }
        }
        let mut config = Config::new();
        for key in ["log.target", "log.transfers"] {
            set_path(&mut config, key, Path::new("/dev/null"));
        }
        assert_eq!(overwritten(&config).len(), 1, "two names of one path");
        symlink("/dev/null", here.path().join("null")).unwrap();
        set_path(&mut config, "log.transfers", &here.path().join("null"));
        assert_eq!(overwritten(&config), Vec::<String>::new(), "a stream");
    }

    /// Returns a configuration that uses `file` in this way.
    fn using(key: &str, more: &[&str], file: &Path) -> Config {
        let mut config = match key {
            "--config" => Config::read(file).unwrap(),
            _ => Config::new(),
        };
        more.iter().for_each(|assignment| set(&mut config, assignment));
        STATE.set(None);
        config.environment(|name| {
            STATE.with_borrow(|state| state.clone().filter(|_| name == "STATE_DIRECTORY"))
        });
        match key {
            "--config" => {}
            "--password-file" => config.add_password_file(key, file),
            "STATE_DIRECTORY" => STATE.set(Some(file.into())),
            "tls.self_signed" => STATE.set(file.parent().map(Into::into)),
            _ => set_path(&mut config, key, file),
        }
        config
    }

    fn set_path(config: &mut Config, key: &str, file: &Path) {
        let shown = file.display();
        match key {
            "log.target" => set(config, &format!("{key}=file:{shown}")),
            "hooks.stored" | "hooks.check" => set(config, &format!("{key}=[\"{shown}\"]")),
            "metrics.listen" => set(config, &format!("{key}=unix:{shown}")),
            _ => set(config, &format!("{key}={shown}")),
        }
    }

    fn set(config: &mut Config, assignment: &str) {
        let (key, value) = assignment.split_once('=').unwrap();
        config.set(key, value).unwrap();
    }

    /// Ways in which clients reach a directory, `ROOT`; `BASE` is its parent.
    const WAYS: &[&[&str]] = &[
        &["users.a.root=ROOT"],
        &["users.ftp-keys.root=BASE/%u"],
        &["defaults.root=BASE/%u", "users.ftp-keys.rights=read"],
        &["anonymous.enabled=true", "anonymous.root=ROOT"],
        &["users.a.root=BASE/ftp", "users.a.mounts=/m=ROOT"],
        &["users.a.root=BASE/ftp", "hosts.h.example.root=ROOT"],
        &["users.ftp-keys.root=BASE/ftp", "hosts.h.example.root=BASE/%u"],
        &["DIR"],
    ];

    fn objections(config: &Config) -> Vec<String> {
        Arc::new(OwnFiles::of(config, &OwnFiles::default())).objections(config)
    }

    #[test]
    fn no_root_leads_to_a_file_of_the_server_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let at = |name: &str| base.join(name);
        for name in ["ftp", "ftp-keys", "ftp-keys/below", "elsewhere"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("ftp-keys/file"), "").unwrap();
        symlink(at("ftp-keys"), at("link")).unwrap();
        symlink(at("ftp-keys/file"), at("elsewhere/file")).unwrap();
        for (key, more) in KINDS {
            for is_there in [true, false] {
                if !is_there && *key == "--config" {
                    continue;
                }
                let name = if is_there { "file" } else { "new" };
                for file in [at("ftp-keys").join(name), at("link").join(name)] {
                    let with = |way: &[&str], root: &Path| {
                        let mut config = using(key, more, &file);
                        for assignment in way {
                            let text = assignment.replace("BASE", base.to_str().unwrap());
                            match text.replace("ROOT", root.to_str().unwrap()).as_str() {
                                "DIR" => {
                                    config.share(root, Rights::READ);
                                    config.add_anonymous(Rights::READ);
                                }
                                text => set(&mut config, text),
                            }
                        }
                        objections(&config)
                    };
                    for way in WAYS {
                        for root in [at("ftp-keys"), at("link"), at("ftp-keys/below/..")] {
                            let found = with(way, &root);
                            let wanted = found.len() == 1 && found[0].contains(&format!("({key})"));
                            assert!(wanted, "{key} {way:?} {}: {found:?}", root.display());
                        }
                    }
                    let user = WAYS[0];
                    assert_eq!(with(user, &base).len(), 1, "{key}: the parent of the parent");
                    let found = with(user, Path::new("/"));
                    assert!(found[0].contains("[users.NAME.mounts]"), "{key}: {found:?}");
                    for root in ["ftp", "ftp-keys/below", "ftp-keys-2", "elsewhere/none"] {
                        assert_eq!(with(user, &at(root)), Vec::<String>::new(), "{key} {root}");
                    }
                }
            }
            // A client in the directory of a link could replace the link.
            let config = |root: &Path| {
                let mut config = using(key, more, &at("elsewhere/file"));
                set(&mut config, &format!("users.a.root={}", root.display()));
                objections(&config).len()
            };
            assert_eq!(config(&at("elsewhere")), 1, "{key}");
            let is_followed = usize::from(*key != "tls.self_signed");
            assert_eq!(config(&at("ftp-keys")), is_followed, "{key}");
        }
    }

    #[test]
    fn a_root_is_refused_by_its_path_although_its_numbers_change_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let (root, file) = (base.path().join("root"), base.path().join("root/file"));
        fs::create_dir(&root).unwrap();
        fs::write(&file, "[users]").unwrap();
        let mut config = Config::read(&file).unwrap();
        set(&mut config, &format!("users.a.root={}", root.display()));
        let own = Arc::new(OwnFiles::of(&config, &OwnFiles::default()));
        // As on a FUSE disk, which gives its directories other numbers later.
        fs::rename(&root, base.path().join("former")).unwrap();
        fs::create_dir(&root).unwrap();
        assert_eq!(own.objections(&config).len(), 1);
    }

    #[test]
    fn what_the_start_creates_is_protected_at_once_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("state");
        let mut config = Config::new();
        set(&mut config, &format!("log.target=file:{}", state.join("log").display()));
        let found = OwnFiles::of(&config, &OwnFiles::default());
        fs::create_dir(&state).unwrap();
        fs::write(state.join("log"), "").unwrap();
        assert!(found.objection(&state.as_path().into()).is_some());
    }

    #[test]
    fn a_script_is_a_file_of_the_server_and_a_directory_left_by_dots_is_not_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        for name in ["ftp", "scripts", "data"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("scripts/login.sh"), "").unwrap();
        let mut config = Config::new();
        let (script, data) = (at("scripts/login.sh"), at("data"));
        let program = format!("[\"/bin/sh\", \"{}\", \"{}\"]", script.display(), data.display());
        set(&mut config, &format!("auth.program={program}"));
        let log = at("ftp/../scripts/log");
        set(&mut config, &format!("log.transfers={}", log.display()));
        let found = OwnFiles::of(&config, &OwnFiles::default());
        for (name, is_refused) in [("scripts", true), ("data", false), ("ftp", false)] {
            let objection = found.objection(&at(name).as_path().into());
            assert_eq!(objection.is_some(), is_refused, "{name}: {objection:?}");
        }
    }

    #[test]
    fn files_that_need_a_restart_stay_protected_after_a_reload_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name).display().to_string();
        let with = |log: &str| {
            let mut config = Config::new();
            set(&mut config, &format!("log.target=file:{}", at(log)));
            set(&mut config, &format!("log.transfers={}", at("transfers")));
            config
        };
        let former = OwnFiles::of(&with("log"), &OwnFiles::default());
        let found = OwnFiles::of(&Config::new(), &former);
        let keys: Vec<&str> = found.files.iter().map(|file| &*file.key).collect();
        assert_eq!(keys, ["the server's memory", "log.target"]);
        assert!(found.objection(&base.path().into()).is_some());
    }

    #[test]
    fn what_cannot_be_looked_at_again_stays_protected_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::create_dir(at("real")).unwrap();
        symlink("real", at("link")).unwrap();
        let mut config = Config::new();
        set(&mut config, &format!("log.transfers={}", at("link/log").display()));
        let former = OwnFiles::of(&config, &OwnFiles::default());
        fs::remove_file(at("link")).unwrap();
        symlink("link", at("link")).unwrap();
        for (former, is_known) in [(former, true), (OwnFiles::default(), false)] {
            let found = OwnFiles::of(&config, &former);
            assert_eq!(found.objection(&at("real").as_path().into()).is_some(), is_known);
        }
    }

    #[test]
    fn no_directory_is_served_if_too_much_leads_to_a_file_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let at = |number: usize| base.path().join(number.to_string());
        (1..=MOST).for_each(|number| symlink(at(number + 1), at(number)).unwrap());
        let mut config = Config::new();
        for (first, is_endless) in [(MOST - 9, false), (1, true)] {
            set(&mut config, &format!("log.transfers={}", at(first).display()));
            let found = OwnFiles::of(&config, &OwnFiles::default());
            let objection = found.objection(&Path::new("/usr").into());
            assert_eq!(objection.is_some_and(|it| it.contains("too many links")), is_endless);
        }
    }

    #[test]
    fn a_second_name_of_a_private_file_is_told_hp_27() {
        let base = tempfile::tempdir().unwrap();
        let key = base.path().join("key");
        fs::write(&key, "").unwrap();
        fs::hard_link(&key, base.path().join("other")).unwrap();
        let mut config = Config::new();
        set(&mut config, &format!("tls.client_ca={}", key.display()));
        let linked = |config: &Config| OwnFiles::of(config, &OwnFiles::default()).linked(config);
        assert_eq!(linked(&config), [""; 0], "it has no secret");
        set(&mut config, &format!("tls.key={}", key.display()));
        assert_eq!(objections(&config), [""; 0], "the other name may be that of a backup");
        let found = linked(&config);
        assert!(found[0].starts_with("tls.key: ") && found[0].contains("hard link"), "{found:?}");
        set(&mut config, "security.deny_hardlinks=true");
        assert_eq!(linked(&config), [""; 0], "clients cannot read it");
    }

    #[test]
    fn roots_of_a_login_programs_users_are_checked_at_startup_hp_27() {
        let mut config = Config::new();
        set(&mut config, "defaults.root=/etc");
        set(&mut config, "groups.g.mounts=/m=/etc");
        set(&mut config, "log.transfers=/etc/log");
        assert_eq!(objections(&config), [""; 0], "no user has them");
        set(&mut config, "auth.program=/bin/true");
        let found = objections(&config);
        assert!(found[0].starts_with("defaults: /etc contains"), "{found:?}");
        assert!(found[1].starts_with("groups.g: mounts: \"/m\": /etc contains"), "{found:?}");
    }

    #[test]
    fn mounts_are_read_with_their_escapes_hp_27() {
        let text = "22 1 8:1 / / rw - ext4 /dev/a rw\n\
                    24 22 8:2 /var/lib /srv/a\\040b rw shared:1 - ext4 /dev/a rw\n\
                    25 22 8:3 / /srv/a\\040b rw - ext4 /dev/b rw\n\
                    broken\n";
        let mounts: Vec<Mount> = text.lines().filter_map(Mount::parse).collect();
        assert_eq!(mounts.len(), 3);
        for (path, device) in [("/srv/a b/key", "8:3"), ("/srv/a", "8:1"), ("/", "8:1")] {
            let found = Mount::of(&mounts, Path::new(path)).unwrap();
            assert_eq!(found.device, device, "{path}");
        }
        assert_eq!(mounts[1].top, Path::new("/var/lib"));
    }
}
