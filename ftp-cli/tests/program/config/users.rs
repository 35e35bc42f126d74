//! The users in the file of `serve`: their directories, rights, limits and quotas, and what they
//! cannot do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use super::{Configured, found, log_until};
use crate::failed;
use crate::serve::Served;

#[test]
fn check_prints_each_warning_and_failure_word_for_word() {
    let configured = Configured::new(
        "
[passive]
ports = \"50000-50003\"
[limits]
sessions = 5
[anonymous]
enabled = true
root = \"/etc/passwd\"
[users.ftp]
password = \"HASH\"
root = \"ROOT\"
rights = \"full\"
[users.\"a b\"]
password = \"HASH\"
root = \"ROOT/./\"
rights = [\"write\"]
mkdir_parents = true
mkdir_existing_ok = true
[users.box]
password = \"HASH\"
root = \"ROOT/box\"
rights = \"drop-box\"
[users.add]
password = \"HASH\"
root = \"ROOT\"
rights = [\"create\", \"append\"]
[users.gone]
password = \"HASH\"
root = \"/proc/none/gone\"
[hooks]
stored = [\"/proc/none/hook\", \"x\"]
",
    );
    let root = configured.root.path().display();
    let toml = configured.here.join("server.toml");
    fs::set_permissions(&toml, fs::Permissions::from_mode(0o644)).unwrap();
    let password = configured.here.write("password", b"p\n");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o604)).unwrap();
    configured.root.mkdir("box");
    let elsewhere = TempRoot::new();
    let options =
        ["--check", "--user", "u", "--password-file", "password", "--listen", "127.0.0.1:0"];
    let check = || run(configured.command(&options).arg(elsewhere.path()));
    let mut want = vec![
        "warn  server.toml: all users of this computer can read the password hashes; use chmod o-r"
            .to_owned(),
        "warn  password: all users of this computer can read a password; use chmod o-r".to_owned(),
        "fail  user gone: /proc/none/gone: No such file or directory; logins fail until the \
         directory exists"
            .to_owned(),
        "fail  anonymous: /etc/passwd: not a directory; correct the path, because logins fail"
            .to_owned(),
        "warn  user \"a b\": mkdir_parents has no effect: the rights lack mkdir; add mkdir \
         to the rights"
            .to_owned(),
        "warn  user \"a b\": mkdir_existing_ok has no effect: the rights lack mkdir; add \
         mkdir to the rights"
            .to_owned(),
        "warn  user ftp: clients that send this name in another letter case log in anonymously, \
         without a password; rename the user"
            .to_owned(),
        format!(
            "warn  user add: {root} is a drop box: user \"a b\" has the same root, and can replace or \
             delete the files; use another root, or give the other user only the rights list and read"
        ),
        format!(
            "warn  user add: {root} is a drop box: user ftp has the same root, and can replace or \
             delete the files; use another root, or give the other user only the rights list and read"
        ),
        "fail  hooks.stored: cannot start /proc/none/hook: No such file or directory; \
         fix its owner or mode, or use another program"
            .to_owned(),
        "warn  passive.ports: only 4 ports for 5 sessions (limits.sessions): without a \
         free port, transfers fail with 425; widen the range"
            .to_owned(),
    ];
    // The worst come first.
    want.sort_by_key(|line| !line.starts_with("fail "));
    let ran = check();
    // The exit code is that of the first problem, as with `serve`.
    ran.exited(3);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--check: 3 problems found"), "{ran:?}");
    assert_eq!(found(ran), want);

    // Each finding disappears when its cause does.
    fs::set_permissions(&toml, fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&toml).unwrap();
    let text = text.replace("50003", "50099").replace("[\"write\"]", "[\"write\", \"mkdir\"]");
    let text = text.replace("[\"create\"", "[\"list\", \"create\"");
    let text = text.replace("users.ftp", "users.f");
    let text = text.replace("/proc/none/gone", elsewhere.path().to_str().unwrap());
    let text = text.replace("/proc/none/hook", "/bin/sh");
    let text = text.replace("/etc/passwd", elsewhere.path().to_str().unwrap());
    configured.here.write("server.toml", text.as_bytes());
    let ran = check();
    ran.exited(0);
    assert_eq!(found(ran), [""; 0], "{text}");
}

#[test]
fn configured_users_have_their_configured_rights_cm_14_hp_26() {
    let configured = Configured::new(
        "
[anonymous]
enabled = true
root = \"ROOT/pub\"
[users.reader]
password = \"HASH\"
root = \"ROOT\"
[users.cam]
password = \"HASH\"
root = \"ROOT/cam\"
rights = [\"list\", \"write\", \"mkdir\"]
mkdir_existing_ok = true
[users.box]
password = \"HASH\"
root = \"ROOT/cam\"
rights = \"drop-box\"
mkdir_parents = true
",
    );
    for name in ["pub", "cam", "cam/there"] {
        fs::create_dir(configured.root.join(name)).unwrap();
    }
    configured.root.write("pub/a", b"public");
    let served = configured.serve();
    assert!(
        served.said().contains("3 users of the configuration file may log in\n"),
        "{}",
        served.said()
    );
    let mut anyone = RawSession::login(served.address, "anonymous", "x");
    assert_eq!(anyone.download("RETR a"), b"public");
    let mut reader = RawSession::login(served.address, "reader", "p");
    assert_eq!(reader.download("RETR pub/a"), b"public");
    reader.expect("DELE pub/a", 550);
    reader.expect("MKD new", 550);
    let mut cam = RawSession::login(served.address, "cam", "p");
    cam.upload("STOR b", b"content");
    cam.expect("MKD there", 257);
    cam.expect("DELE b", 550);
    assert_eq!(configured.root.read("cam/b"), b"content");
    let mut drop_box = RawSession::login(served.address, "box", "p");
    drop_box.upload("STOR new/day/c", b"handed in");
    drop_box.expect("SIZE b", 550);
    assert_eq!(configured.root.read("cam/new/day/c"), b"handed in");
    let refused = |name: &str| {
        let mut session = RawSession::greeted(served.address);
        session.expect(format!("USER {name}"), 331);
        session.expect("PASS p", 530);
    };
    refused("nobody");
    // The next login uses the directory that exists by then.
    fs::rename(configured.root.join("cam"), configured.root.join("old")).unwrap();
    refused("cam");
    log_until(&served, "cam: no such file or directory");
    fs::create_dir(configured.root.join("cam")).unwrap();
    let mut cam_again = RawSession::login(served.address, "cam", "p");
    cam_again.upload("STOR c", b"new");
    cam.upload("STOR d", b"of old");
    assert_eq!(configured.root.read("cam/c"), b"new");
    assert_eq!(configured.root.read("old/d"), b"of old");
}

#[test]
fn configured_users_have_their_configured_quota_cm_54_hp_23() {
    let text = |quota: &str| {
        let user = |name: &str, quota: &str| {
            format!(
                "[users.{name}]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n{quota}\n"
            )
        };
        let anyone =
            "[anonymous]\nenabled = true\nroot = \"ROOT\"\nrights = \"full\"\nquota = 5000\n";
        ["[limits]\nmin_free = 0\n", anyone, &user("one", quota), &user("two", "")].concat()
    };
    let configured = Configured::new(&text("quota = \"4 KiB\""));
    configured.root.write("there", &[b'x'; 1_000]);
    let served = configured.serve();
    let login = |user| {
        let mut session = RawSession::login(served.address, user, "p");
        session.expect("TYPE I", 200);
        session
    };
    let left = |session: &mut RawSession| session.expect("AVBL", 213).text();
    let (mut one, mut two, mut anyone) = (login("one"), login("two"), login("anonymous"));
    one.expect("ALLO 3097", 552);
    assert_eq!((left(&mut one), left(&mut anyone)), ("213 3096".into(), "213 4000".into()));
    // A user without a limit is not refused, but the bytes count.
    two.upload("STOR more", &[b'x'; 3_500]);
    assert_eq!((left(&mut one), left(&mut anyone)), ("213 0".into(), "213 500".into()));
    one.expect("PASV", 227);
    one.expect("STOR another", 552);
    anyone.upload("STOR another", &[b'x'; 500]);
    anyone.expect("PASV", 227);
    anyone.expect("APPE another", 552);
    // New settings apply to new sessions, whose bytes count together with those of old sessions.
    configured.write(&text("quota = \"8 KiB\""));
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    let mut again = login("one");
    assert_eq!((left(&mut again), left(&mut one)), ("213 3192".into(), "213 0".into()));
    again.upload("STOR again", &[b'x'; 192]);
    two.expect("DELE more", 250);
    assert_eq!((left(&mut again), left(&mut one)), ("213 6500".into(), "213 2404".into()));
}

#[test]
fn a_configured_user_has_separate_session_limits_cm_15() {
    let configured = Configured::new(
        "
limits.per_user = 2
[anonymous]
enabled = true
root = \"ROOT\"
per_user = 1
[users.u]
password = \"HASH\"
root = \"ROOT\"
[users.any]
password = \"HASH\"
root = \"ROOT\"
per_user = 0
",
    );
    let served = configured.serve();
    for (user, most) in [("ftp", Some(1)), ("u", Some(2)), ("any", None)] {
        let login = || RawSession::login(served.address, user, "p");
        let sessions: Vec<_> = (0..most.unwrap_or(4)).map(|_| login()).collect();
        let mut more = RawSession::greeted(served.address);
        more.expect(format!("USER {user}"), 331);
        more.expect("PASS p", if most.is_some() { 421 } else { 230 });
        drop(sessions);
    }
}

#[test]
fn users_from_options_and_from_the_file_can_both_log_in() {
    let configured = Configured::new("[users.a]\npassword = \"HASH\"\nroot = \"ROOT\"\n");
    configured.root.write("here", b"x");
    let root = configured.root.path().to_str().unwrap();
    failed(&configured.check(&[root]), 2, "DIR, --write and --drop-box need --user or --anonymous");
    failed(&configured.check(&["--write"]), 2, "DIR, --write and");
    failed(&configured.check(&["--drop-box"]), 2, "DIR, --write and");
    let elsewhere = TempRoot::new();
    elsewhere.write("there", b"y");
    let options = ["--listen", "0", "--user", "b:q", elsewhere.path().to_str().unwrap()];
    let served = Served::of(&mut configured.command(&options));
    assert_eq!(RawSession::login(served.address, "a", "p").download("RETR here"), b"x");
    assert_eq!(RawSession::login(served.address, "b", "q").download("RETR there"), b"y");
}

#[test]
fn a_user_from_options_overrides_one_of_the_file_with_a_warning() {
    let text = "
[anonymous]
enabled = true
root = \"/proc/none/pub\"
[users.a]
password = \"HASH\"
root = \"/proc/none/a\"
rights = \"full\"
[users.b]
password = \"HASH\"
root = \"ROOT\"
";
    let configured = Configured::new(text);
    configured.root.write("here", b"x");
    let root = configured.root.path().to_str().unwrap();
    let options = ["--listen", "0", "--user", "a:q", "--anonymous", root];
    let warnings = [
        "--user a overrides users.a (server.toml:7)",
        "--anonymous overrides [anonymous] (server.toml:3)",
    ];
    let said = String::from_utf8(configured.check(&options).succeeded()).unwrap();
    for warning in warnings {
        assert!(said.lines().any(|line| line == format!("warn  {warning}")), "{said}");
    }
    assert!(!said.lines().any(|line| line.starts_with("fail")), "{said}");

    let served = Served::of(&mut configured.command(&options));
    for warning in warnings {
        assert!(served.said().contains(&format!("warning: {warning}\n")), "{}", served.said());
    }
    assert!(
        served.said().contains(" 1 user of the configuration file may log in\n"),
        "{}",
        served.said()
    );
    let mut a = RawSession::login(served.address, "a", "q");
    assert_eq!(a.download("RETR here"), b"x");
    a.expect("DELE here", 550);
    let mut session = RawSession::greeted(served.address);
    session.expect("USER a", 331);
    session.expect("PASS p", 530);
    assert_eq!(RawSession::login(served.address, "b", "p").download("RETR here"), b"x");
    assert_eq!(RawSession::login(served.address, "ftp", "x").download("RETR here"), b"x");
    // Another user name, by another file.
    configured.write(&text.replace("users.b", "users.c"));
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    assert!(said.iter().any(|line| line.ends_with(warnings[0])), "{said:?}");
}

#[test]
fn defaults_groups_and_users_are_applied_in_this_order() {
    let text = "
[users.u]
groups = [\"one\", \"two\"]
per_user = 5
[groups.two]
rights = \"drop-box\"
per_user = 4
mkdir_parents = true
[groups.one]
rights = \"full\"
quota = \"5 KiB\"
[groups.none]
quota = 1
[defaults]
password = \"HASH\"
root = \"ROOT\"
quota = \"1 GiB\"
per_user = 3
[users.plain]
rights = \"full\"
";
    let configured = Configured::new(text);
    let options = ["--listen", "127.0.0.1:0", "--set", "groups.two.mkdir_existing_ok=true"];
    let said = String::from_utf8(configured.check(&options).succeeded()).unwrap();
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for want in [
        "defaults.per_user = 3 # server.toml:18",
        "groups.two.mkdir_existing_ok = true # --set",
        "users.u.groups = [\"one\", \"two\"] # server.toml:3",
        "users.u.password = \"****\" # server.toml:15 (defaults)",
        "users.u.rights = \"drop-box\" # server.toml:6 (groups.two)",
        "users.u.quota = \"5 KiB\" # server.toml:11 (groups.one)",
        "users.u.per_user = 5 # server.toml:4",
        "users.u.mkdir_existing_ok = true # --set (groups.two)",
        "users.u.rate_per_user = \"\" # default",
        "users.plain.quota = \"1 GiB\" # server.toml:17 (defaults)",
        "users.plain.rights = \"full\" # server.toml:20",
    ] {
        assert!(said.lines().any(|line| squeezed(line) == want), "no {want} in\n{said}");
    }

    let served = configured.serve();
    let mut user = RawSession::login(served.address, "u", "p");
    user.upload("STOR new/file", b"by the rights of two");
    user.expect("SIZE new/file", 550);
    user.expect("ALLO 5121", 552);
    RawSession::login(served.address, "plain", "p").expect("SIZE new/file", 213);

    // A reload applies another group to new sessions.
    configured.write(&text.replace("\"two\"]", "\"none\"]"));
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    assert!(said.last().unwrap().ends_with("changed: users"), "{said:?}");
    let mut again = RawSession::login(served.address, "u", "p");
    again.expect("SIZE new/file", 213);
    again.expect("ALLO 2", 552);
    user.expect("SIZE new/file", 550);
    // One without its group changes nothing.
    configured.write(&text.replace("[groups.two]", "[groups.twin]"));
    served.signal("HUP");
    let said = log_until(&served, "configuration unchanged");
    let want = "server.toml:3:18: users.u.groups: unknown group \"two\"";
    assert!(said.iter().any(|line| line.contains(want)), "{said:?}");
}

#[test]
fn password_hashes_of_mkpasswd_and_htpasswd_are_accepted() {
    let configured = Configured::new(
        "[users.yescrypt]\n\
         password = \"$y$j9T$u4s30rHMNUZJ7PHoak1E8.$MY.CSSakm5S8ak4tx9moYCezDf6CVOp8/9.tEj5oni/\"\n\
         root = \"ROOT\"\n\
         [users.bcrypt]\n\
         password = \"$2y$05$dABuYLUO3kefKfih/SAeWuzE6l3vXaxJz.vnKEg0MJUbCJB6oGAEW\"\n\
         root = \"ROOT\"\n",
    );
    let served = configured.serve();
    for user in ["yescrypt", "bcrypt"] {
        let mut session = RawSession::greeted(served.address);
        session.expect(format!("USER {user}"), 331);
        session.expect("PASS Hello world", 530);
        session.expect(format!("USER {user}"), 331);
        session.expect("PASS Hello world!", 230);
    }
}

#[test]
fn a_configured_server_starts_without_the_directories_of_its_users() {
    let configured = Configured::new("[users.u]\npassword = \"HASH\"\nroot = \"ROOT/disk\"\n");
    let served = configured.serve();
    let fault = "/disk: No such file or directory; its users cannot log in";
    assert!(served.said.contains(fault), "{}", served.said);
    let mut early = RawSession::greeted(served.address);
    early.expect("USER u", 331);
    early.expect("PASS p", 530);
    fs::create_dir(configured.root.join("disk")).unwrap();
    drop(RawSession::login(served.address, "u", "p"));
    // A reload does not need the disk either.
    fs::remove_dir(configured.root.join("disk")).unwrap();
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    assert!(said.iter().any(|line| line.contains(fault)), "{said:?}");
    // A directory that was typed must exist.
    let typed = run(configured.command(&["--listen", "0", "--anonymous"]).arg("/proc/none/disk"));
    failed(&typed, 3, "/proc/none/disk: No such file or directory");
}
