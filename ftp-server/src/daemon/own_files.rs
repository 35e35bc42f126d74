//! The files that the server itself uses, and the roots from which clients could reach them. Start,
//! reload, `--check` and each login use the same table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf, absolute};

use rustix::fs::{major, minor};

use super::check::all_places;
use super::config::{Config, FIXED, Root, key_of_store};
use super::error::DaemonError;
use super::metrics::MetricsAddress;
use super::{certificate, hooks};
use crate::daemon::values::{counted, shown_path};

/// Maximum number of paths on the way to one file: more are a loop of links or of mounts.
const MOST: usize = 64;

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
    for (key, command) in
        [("auth.program", &settings.auth.program), ("hooks.stored", &settings.hooks.stored)]
    {
        let mut words = command.iter().map(Path::new);
        add(key, words.next(), None);
        // A script is an argument of its interpreter. Directories may be what the program works on.
        words
            .filter(|path| path.is_absolute() && path.is_file())
            .for_each(|path| add(key, Some(path), None));
    }
    add("hooks.program", settings.hooks.program.as_deref(), None);
    add("hooks.dead_letters", settings.hooks.dead_letters.as_deref(), None);
    for path in hooks::spool_files(settings) {
        add("hooks.spool", Some(&path), None);
    }
    all
}

/// The files of the server, and everything that leads to them.
#[derive(Default)]
pub(super) struct OwnFiles {
    files: Vec<OwnFile>,
    /// Device and inode of each file, and of each directory from which it can be reached, with the
    /// index of the file.
    reached: BTreeMap<(u64, u64), usize>,
    /// Full paths of files and directories on the way that do not exist yet.
    missing: BTreeMap<PathBuf, usize>,
}

impl OwnFiles {
    /// Returns the files of this configuration, and those of `former` that stay in use until a
    /// restart.
    pub(super) fn of(config: &Config, former: &Self) -> Self {
        let mut files = own_files(config);
        let stays = |file: &&OwnFile| FIXED.contains(&&*file.key);
        files.extend(former.files.iter().filter(stays).cloned());
        let (reached, missing) = Default::default();
        let mut found = Self { files, reached, missing };
        let mounts = if found.files.is_empty() { Vec::new() } else { Mount::all() };
        for index in 0..found.files.len() {
            found.follow(index, &mounts);
        }
        found
    }

    /// Notes each directory that leads to a file: its parents, the parents of links on the way, and
    /// those of bind mounts.
    fn follow(&mut self, index: usize, mounts: &[Mount]) {
        let Some(file) = self.files.get(index) else { return };
        let path = absolute(&file.path).unwrap_or_else(|_| file.path.clone());
        let mut next = vec![without_dots(&path)];
        let mut seen = BTreeSet::new();
        while let Some(path) = next.pop() {
            if seen.len() >= MOST || !seen.insert(path.clone()) {
                continue;
            }
            let mut devices = Mount::device_of(mounts, &in_full(&path));
            for place in path.ancestors() {
                match fs::metadata(place) {
                    Ok(found) => {
                        devices.insert(format!("{}:{}", major(found.dev()), minor(found.dev())));
                        self.reached.entry((found.dev(), found.ino())).or_insert(index);
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        self.missing.entry(in_full(place)).or_insert(index);
                    }
                    Err(_) => {}
                }
                if let (Ok(target), Some(parent)) = (fs::read_link(place), place.parent()) {
                    next.push(without_dots(&parent.join(target)));
                }
            }
            // A mount point on another device leads elsewhere, and could be a server that is down.
            let same = mounts.iter().filter(|mount| devices.contains(&mount.device));
            let leads_here = |mount: &&Mount| {
                let found = fs::metadata(&mount.point);
                found.is_ok_and(|found| self.reached.contains_key(&(found.dev(), found.ino())))
            };
            next.extend(same.filter(leads_here).map(|mount| mount.point.clone()));
        }
    }

    /// Returns the file to which this root leads, and what to do about it; `None` if it leads to
    /// none. The cost is that of one stat.
    pub(super) fn objection(&self, root: &Root) -> Option<String> {
        let directory = root.directory().filter(|_| !self.files.is_empty())?;
        let found = fs::metadata(directory).ok();
        let index = found.and_then(|found| self.reached.get(&(found.dev(), found.ino())));
        // What was missing may have been created since, such as the directory of the own certificate.
        let index = index.or_else(|| {
            let missing = Some(&self.missing).filter(|missing| !missing.is_empty())?;
            missing.get(&in_full(directory))
        });
        let OwnFile { key, path, .. } = self.files.get(*index?)?;
        let what_to_do = match directory == Path::new("/") {
            true => "list other directories in [users.NAME.mounts], or use one as the root",
            false => "use another directory, or move the file",
        };
        let (root, path) = (root.shown(), shown_path(path));
        Some(format!("{root} contains a file of the server, {path} ({key}); {what_to_do}"))
    }

    /// Returns one line for each root of the configuration that leads to a file.
    pub(super) fn objections(&self, config: &Config) -> Vec<String> {
        let objection = |(whose, root): (String, Root)| {
            self.objection(&root).map(|objection| format!("{whose}: {objection}"))
        };
        all_places(config).into_iter().filter_map(objection).collect()
    }

    /// Checks the roots of a configuration.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if one of them leads to a file.
    pub(super) fn check(&self, config: &Config) -> Result<(), DaemonError> {
        let all = self.objections(config);
        let Some(first) = all.first() else { return Ok(()) };
        let more = match all.len() {
            1 => String::new(),
            count => format!(" (and {})", counted(count - 1, "similar problem")),
        };
        Err(DaemonError::configuration(format!("{first}{more}")))
    }
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
fn in_full(path: &Path) -> PathBuf {
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
    point: PathBuf,
}

impl Mount {
    /// Returns all mounts; none if `/proc` is missing.
    fn all() -> Vec<Self> {
        let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter_map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(2);
        let (device, point) = (fields.next()?.to_owned(), fields.nth(1)?.to_owned());
        // The kernel escapes what would end the field or the line.
        let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
        let point = escapes.iter().fold(point, |all, (from, to)| all.replace(from, to)).into();
        Some(Self { device, point })
    }

    /// Returns the device of the mount that contains a full path.
    fn device_of(mounts: &[Self], path: &Path) -> BTreeSet<String> {
        let holds = |mount: &&Self| path.starts_with(&mount.point);
        // Of several mounts at one point, the last covers the others.
        let nearest = mounts.iter().filter(holds).max_by_key(|it| it.point.as_os_str().len());
        nearest.into_iter().map(|mount| mount.device.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ffi::OsString;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Rights;

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
        ("hooks.program", &[]),
        ("hooks.dead_letters", &[]),
        ("hooks.spool", &["hooks.stored=[\"/bin/true\"]"]),
    ];

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
        let shown = file.display();
        match key {
            "--config" => {}
            "--password-file" => config.add_password_file(key, file),
            "STATE_DIRECTORY" => STATE.set(Some(file.into())),
            "tls.self_signed" => STATE.set(file.parent().map(Into::into)),
            "log.target" => set(&mut config, &format!("{key}=file:{shown}")),
            "hooks.stored" => set(&mut config, &format!("{key}=[\"{shown}\"]")),
            "metrics.listen" => set(&mut config, &format!("{key}=unix:{shown}")),
            _ => set(&mut config, &format!("{key}={shown}")),
        }
        config
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
        OwnFiles::of(config, &OwnFiles::default()).objections(config)
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
        assert_eq!(keys, ["log.target"]);
        assert!(found.objection(&base.path().into()).is_some());
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
            let found = Mount::device_of(&mounts, Path::new(path));
            assert_eq!(found.into_iter().collect::<Vec<_>>(), [device], "{path}");
        }
    }
}
