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
    &["users.a.root=BASE/ftp", "users.a.mounts={ '/m' = 'ROOT' }"],
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
fn a_script_that_is_missing_or_does_not_answer_is_a_file_of_the_server_hp_27() {
    let (base, silent) = (tempfile::tempdir().unwrap(), TempRoot::new());
    let disk = LyingDisk::mount(silent.path(), [("script", "x")]);
    let held = disk.as_ref().map(LyingDisk::lies);
    let dead = disk.as_ref().map(|_| silent.path());
    for key in ["auth.program", "hooks.stored", "hooks.check"] {
        for root in [base.path()].into_iter().chain(dead) {
            let mut config = Config::new();
            let script = root.join("script");
            // Programs start in the root of the file system.
            let script = match key {
                "hooks.check" => script.strip_prefix("/").unwrap(),
                _ => &script,
            };
            set(&mut config, &format!("{key}=[\"/bin/sh\", \"{}\"]", script.display()));
            let found = OwnFiles::of(&config, &OwnFiles::default());
            // The disk itself would not answer: what is above it is looked at.
            let root = if dead == Some(root) { root.parent().unwrap() } else { root };
            assert!(found.objection(&root.into()).is_some(), "{key} {}", script.display());
        }
    }
    drop(held);
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
    set(&mut config, "groups.g.mounts={ '/m' = '/etc' }");
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
