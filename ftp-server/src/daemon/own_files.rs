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
use super::{DaemonError, DiskAnswer, answers, certificate};
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

#[derive(Clone, Debug)]
pub(super) struct OwnFile {
    /// The setting, option or variable that names the file.
    pub(super) key: String,
    pub(super) path: PathBuf,
    /// The secret in the file, if it has one.
    pub(super) secret: Option<&'static str>,
    /// Whether it is an argument of a program: a script, or a directory that the program works on.
    is_argument: bool,
}

pub(super) fn own_files(config: &Config) -> Vec<OwnFile> {
    let settings = &config.settings;
    let mut all = Vec::new();
    let mut add = |key: &str, path: Option<&Path>, secret| {
        all.extend(path.map(|path| OwnFile {
            key: key.to_owned(),
            path: path.to_owned(),
            secret,
            is_argument: false,
        }));
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
    add("hooks.program", settings.hooks.program.as_deref(), None);
    add("hooks.dead_letters", settings.hooks.dead_letters.as_deref(), None);
    for path in spool_files(settings) {
        add("hooks.spool", Some(&path), None);
    }
    // It has what the server has read, and the variables that a password can be in.
    add("the server's memory", Some(Path::new("/proc/self/mem")), None);
    for (key, command) in [
        ("auth.program", &settings.auth.program),
        ("hooks.stored", &hooks.stored),
        ("hooks.check", &hooks.check),
    ] {
        // Programs start in the root of the file system.
        all.extend(command.iter().enumerate().map(|(at, word)| OwnFile {
            key: key.to_owned(),
            path: Path::new("/").join(word),
            secret: None,
            is_argument: at > 0,
        }));
    }
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
        if self.quick.is_some() || self.names_users() { Ok(()) } else { Err(nobody()) }
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
    /// For each file, whether a look is in flight.
    asked: Vec<Arc<AtomicBool>>,
}

/// An examination of a file that is in flight or still queued; one per file at a time.
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
    /// The same as canonical paths: a file may not exist yet, and the inode numbers of some file
    /// systems are not stable.
    paths: BTreeMap<PathBuf, usize>,
    /// A file to which more than [`MOST`] paths lead, so that the set is incomplete and no root is
    /// safe.
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

    /// Resolves all paths that lead to the files. Where that fails now (privileges were dropped, a
    /// disk hangs), the result of the last look stays valid, together with the lexical parents: a
    /// login must not block on the disk of a log.
    fn look(&self, known: &[OwnFile], former: &Ways) -> Ways {
        let mounts = self.mounts.as_ref().map(Mount::all).unwrap_or_default();
        let files = self.files.iter().zip(&self.asked).enumerate();
        let questions: Vec<(usize, OwnFile, Look)> = files
            .filter_map(|(index, (file, asked))| Some((index, file.clone(), Look::begin(asked)?)))
            .collect();
        let asked: Vec<usize> = questions.iter().map(|(index, ..)| *index).collect();
        let given = answers(questions, move |(index, file, _look)| {
            let mut ways = Ways::default();
            // A script that is missing counts: a client could upload it, and the server would run it.
            let is_hidden = !(file.is_argument && file.path.is_dir())
                && ways.follow(index, &file.path, &mounts);
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

    fn ways(&self) -> Arc<Ways> {
        let mut ways = self.ways.lock();
        // A look that timed out completes once the disk is back; only then is another one worth its
        // wait.
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
mod tests;
