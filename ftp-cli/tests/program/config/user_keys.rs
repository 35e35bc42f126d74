//! Keys of single users: each acts as it says, and `--check` explains it.

use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;

use ftp_tests::raw::RawSession;

use super::{Configured, log_until};

/// The settings of a user with these keys, and the password `p`.
fn user(name: &str, keys: &str) -> String {
    format!("[users.{name}]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n{keys}\n")
}

#[test]
fn users_are_refused_if_disabled_expired_or_on_another_network_hs_30() {
    let text = [
        "limits.login_delay = 0\n",
        &user("on", "enabled = true\nexpires = 2999-12-31\nnetworks = [\"127.0.0.0/8\"]"),
        &user("off", "enabled = false"),
        &user("past", "expires = \"2020-02-29\""),
        &user("moment", "expires = 2020-02-29T12:00:00+01:00"),
        &user("elsewhere", "networks = [\"192.0.2.0/24\", \"2001:db8::/32\"]"),
    ]
    .concat();
    let configured = Configured::new(&text);
    let check = configured.check(&["--listen", "127.0.0.1:0"]).succeeded();
    let said = String::from_utf8(check).unwrap();
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for want in [
        "users.on.expires = \"2999-12-31\" # server.toml:7",
        "users.moment.expires = \"2020-02-29T11:00:00Z\" # server.toml:23",
        "users.off.enabled = false # server.toml:13",
        "users.elsewhere.networks = [\"192.0.2.0/24\", \"2001:db8::/32\"] # server.toml:28",
        "warn user past: expired (2020-02-29); logins fail",
        "warn user moment: expired (2020-02-29T11:00:00Z); logins fail",
    ] {
        assert!(said.lines().any(|line| squeezed(line) == want), "no {want} in\n{said}");
    }
    let served = configured.serve();
    let said = served.said();
    assert!(said.contains("2 users of the configuration file may log in\n"), "{said}");
    let mut on = RawSession::login(served.address, "on", "p");
    let reply = |user: &str, password: &str| {
        let mut session = RawSession::greeted(served.address);
        session.expect(format!("USER {user}"), 331);
        session.ask(format!("PASS {password}")).text()
    };
    for (user, password, reason) in [
        ("off", "p", "disabled"),
        ("off", "q", "credentials"),
        ("past", "p", "expired"),
        ("moment", "p", "expired"),
        ("elsewhere", "p", "network"),
        ("elsewhere", "q", "credentials"),
    ] {
        assert_eq!(reply(user, password), "530 Login incorrect");
        log_until(&served, &format!("user=\"{user}\" reason={reason}"));
    }
    // A user who is disabled by a reload loses the session.
    configured.write(&text.replace("enabled = true", "enabled = false"));
    served.signal("HUP");
    log_until(&served, "user=\"on\" ends: the user was removed or disabled");
    on.expect_reply(421);
}

#[test]
fn a_user_named_anonymous_can_be_disabled_and_removed() {
    let start = "limits.login_delay = 0\n[anonymous]\nenabled = true\nroot = \"ROOT\"\n";
    let users = [user("ftp", "enabled = true"), user("anonymous", "")];
    let configured = Configured::new(&[start, &users[0], &users[1]].concat());
    let served = configured.serve();
    let mut disabled = RawSession::login(served.address, "ftp", "p");
    let mut removed = RawSession::login(served.address, "anonymous", "p");
    let mut guest = RawSession::login(served.address, "FTP", "any");
    configured.write(&[start, &users[0].replace("true", "false")].concat());
    served.signal("HUP");
    for (name, session) in [("ftp", &mut disabled), ("anonymous", &mut removed)] {
        log_until(&served, &format!("user=\"{name}\" ends: the user was removed or disabled"));
        session.expect_reply(421);
    }
    guest.expect("NOOP", 200);
    RawSession::login(served.address, "anonymous", "any").expect("NOOP", 200);
}

#[test]
fn user_settings_override_the_global_settings_fs_17() {
    let text = [
        "limits.login_delay = 0\n",
        &user("own", "umask = \"077\"\noverwrite = false\npartial = \"discard\"\nsync = \"none\""),
        &user("all", ""),
    ]
    .concat();
    let configured = Configured::new(&text);
    let served = configured.serve();
    let login = |name: &str| {
        let mut session = RawSession::login(served.address, name, "p");
        session.expect("TYPE I", 200);
        session
    };
    let (mut own, mut all) = (login("own"), login("all"));
    for (session, name, mode) in [(&mut own, "own", 0o600), (&mut all, "all", 0o644)] {
        session.upload(format!("STOR {name}"), b"content");
        let file = configured.root.join(name).metadata().unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{name}");
    }
    let _data = own.passive();
    own.expect("STOR all", 553);
    all.upload("STOR own", b"replaced");
    // The name of an interrupted upload: one keeps it, the other does not.
    for (name, code) in [("all", 213), ("own", 550)] {
        let mut session = login(name);
        let mut data = session.passive();
        session.expect("STOR cut", 150);
        data.write_all(&[b'x'; 100]);
        // At once, even if a program that starts meanwhile has inherited the connection.
        session.stream().shutdown(Shutdown::Both).unwrap();
        drop(data);
        log_until(&served, &format!("user=\"{name}\" verb=STOR path=\"/cut\""));
        login(name).expect("SIZE cut", code);
    }
    // New sessions have the new values.
    configured.write(&text.replace("overwrite = false", "overwrite = true"));
    served.signal("HUP");
    log_until(&served, "changed: users");
    let _data = own.passive();
    own.expect("STOR all", 553);
    login("own").upload("STOR all", b"by new rules");
}

#[test]
fn users_have_a_file_size_limit_and_rates_per_direction() {
    let text = user("u", "file_size = \"1 KiB\"\nrate_up = \"10 MiB/s\"\nrate_down = \"20 MiB/s\"");
    let configured = Configured::new(&text);
    let check = configured.check(&["--listen", "127.0.0.1:0"]).succeeded();
    let said = String::from_utf8(check).unwrap();
    for want in ["users.u.rate_up = \"10 MiB/s\"", "users.u.rate_down = \"20 MiB/s\""] {
        assert!(said.lines().any(|line| line.starts_with(want)), "no {want} in\n{said}");
    }
    let served = configured.serve();
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("ALLO 1025", 552);
    session.upload("STOR file", &[b'x'; 1_024]);
    let _data = session.passive();
    session.expect("ALLO 1024", 200);
    let mut data = session.passive();
    session.expect("APPE file", 150);
    data.write_all(b"x");
    data.close();
    session.expect_reply(552);
    assert_eq!(configured.root.read("file").len(), 1_024);
}

#[test]
fn home_directories_named_after_users_are_created_at_first_login_fs_05() {
    let text = "
limits.login_delay = 0
[defaults]
password = \"HASH\"
root = \"ROOT/homes/%u\"
rights = \"full\"
create_home = true
[users.anna]
[users.\"b c..d\"]
[users.off]
enabled = false
[users.old]
create_home = false
";
    let configured = Configured::new(text);
    let root = configured.root.path().to_str().unwrap();
    let check = || {
        let ran = configured.check(&["--listen", "127.0.0.1:0"]);
        String::from_utf8(ran.stdout).unwrap()
    };
    // Only the last directory is made.
    // One line names all users.
    let last = format!("user off: {root}/homes/off");
    let missing = format!("{last}: missing, and the server's user ");
    assert!(check().contains(&format!("fail  user anna: {root}/homes/anna, user ")), "{}", check());
    assert!(check().contains(&missing), "{}", check());
    std::fs::create_dir(configured.root.join("homes")).unwrap();
    let said = check();
    assert!(!said.contains(&missing), "{said}");
    assert!(said.contains(&format!("fail  user old: {root}/homes/old: No such file")), "{said}");
    assert!(said.contains(&format!("users.anna.root = \"{root}/homes/anna\"")), "{said}");
    assert!(!configured.root.join("homes/anna").exists(), "to look makes nothing");

    let served = configured.serve();
    let made = || {
        let entries = std::fs::read_dir(configured.root.join("homes")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert!(made().is_empty(), "{:?}", made());
    let refused = |user: &str, password: &str| {
        let mut session = RawSession::greeted(served.address);
        session.expect(format!("USER {user}"), 331);
        session.expect(format!("PASS {password}"), 530);
    };
    refused("anna", "wrong");
    refused("off", "p");
    refused("old", "p");
    assert!(made().is_empty(), "{:?}", made());
    for _ in 0..2 {
        let mut session = RawSession::login(served.address, "b c..d", "p");
        session.upload("STOR file", b"content");
        session.expect("CWD ..", 250);
        session.expect("SIZE file", 213);
    }
    assert_eq!(made(), ["b c..d"]);
    let mode = configured.root.join("homes/b c..d").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    RawSession::login(served.address, "anna", "p").expect("SIZE file", 550);
    // A link in the place of a home is followed as it is for every root, and one that leads
    // nowhere is not a place for a home.
    std::fs::remove_dir(configured.root.join("homes/anna")).unwrap();
    std::os::unix::fs::symlink("../new", configured.root.join("homes/anna")).unwrap();
    refused("anna", "p");
    assert!(!configured.root.join("new").exists());
}

#[test]
fn directories_of_a_user_can_have_separate_rights() {
    let directories = "[users.u.directories]\n\"/in\" = \"drop-box\"\n\"/in/work\" = [\"list\", \"read\", \"write\"]\n";
    let text = [
        "[groups.g]\ndirectories = { \"/pub\" = \"drop-box\" }\n",
        &user("u", &format!("groups = [\"g\"]\n{directories}")),
        &user("v", "groups = [\"g\"]"),
    ]
    .concat();
    let configured = Configured::new(&text.replace("rights = \"full\"", "rights = \"read\""));
    for name in ["in/work", "pub"] {
        std::fs::create_dir_all(configured.root.join(name)).unwrap();
    }
    for name in ["file", "in/file", "in/work/file", "pub/file"] {
        configured.root.write(name, name.as_bytes());
    }
    let set = "users.v.directories={ '/in' = 'full', '/in/work' = ['list', 'mkdir'] }";
    let check = configured.check(&["--listen", "127.0.0.1:0", "--set", set]).succeeded();
    let said = String::from_utf8(check).unwrap();
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for want in [
        "groups.g.directories = { \"/pub\" = \"drop-box\" } # server.toml:2",
        "users.u.directories = { \"/in\" = \"drop-box\", \"/in/work\" = [\"list\", \"read\", \"write\"] } # server.toml:8",
        "users.v.directories = { \"/in\" = \"full\", \"/in/work\" = [\"list\", \"mkdir\"] } # --set",
    ] {
        assert!(said.lines().any(|line| squeezed(line) == want), "no {want} in\n{said}");
    }
    let served = configured.serve();
    let mut user = RawSession::login(served.address, "u", "p");
    assert_eq!(user.download("RETR file"), b"file");
    user.expect("SIZE in/file", 550);
    user.upload("STOR in/new", b"handed in");
    assert_eq!(user.download("RETR in/work/file"), b"in/work/file");
    user.upload("STOR in/work/file", b"replaced");
    // The table of the user replaces that of the group.
    assert_eq!(user.download("RETR pub/file"), b"pub/file");
    let mut other = RawSession::login(served.address, "v", "p");
    other.expect("SIZE pub/file", 550);
    other.expect("SIZE in/file", 213);
    // New sessions have other rights after a reload.
    configured.write(&text.replace("\"/in\" = \"drop-box\"", "\"/in\" = \"read\""));
    served.signal("HUP");
    log_until(&served, "changed: users");
    user.expect("SIZE in/file", 550);
    RawSession::login(served.address, "u", "p").expect("SIZE in/file", 213);
}

#[test]
fn a_directory_can_be_closed_and_rules_without_effect_cause_warnings() {
    let keys = "directories = { \"/private\" = [], \"/gone/x\" = \"read\", \"/link\" = \"read\", \"/file\" = \"read\" }";
    let configured = Configured::new(&user("u", keys));
    std::fs::create_dir(configured.root.join("private")).unwrap();
    configured.root.write("private/file", b"secret");
    configured.root.write("file", b"open");
    std::os::unix::fs::symlink("private", configured.root.join("link")).unwrap();
    let check = configured.check(&["--listen", "127.0.0.1:0"]).succeeded();
    let said = String::from_utf8(check).unwrap();
    let root = configured.root.path().display();
    let warned: Vec<_> = said.lines().filter(|line| line.contains("directories: ")).collect();
    let want = [
        format!(
            "warn  user u: directories: \"/file\": {root}/file is not a directory; correct the path"
        ),
        format!(
            "warn  user u: directories: \"/gone/x\": {root}/gone is missing; create it or correct the path"
        ),
        format!(
            "warn  user u: directories: \"/link\": {root}/link is a symbolic link, and the rule does not cover its target; use the target's path"
        ),
    ];
    assert_eq!(warned, want, "{said}");
    assert!(said.contains("\"/private\" = []"), "{said}");
    let served = configured.serve();
    let mut session = RawSession::login(served.address, "u", "p");
    for line in ["CWD private", "STAT private", "SIZE private/file", "DELE private/file"] {
        session.expect(line, 550);
    }
    for line in ["LIST private", "RETR private/file", "STOR private/file", "STOR private/new"] {
        session.expect("EPSV", 229);
        session.expect(line, 550);
    }
    assert_eq!(configured.root.read("private/file"), b"secret");
}

#[test]
fn users_have_a_file_limit_and_site_quota_shows_it_hp_23_cm_139() {
    let text = |files: &str| {
        let anyone = "[anonymous]\nenabled = true\nroot = \"ROOT\"\nmax_files = 9\n";
        [anyone, &user("u", files)].concat()
    };
    let configured = Configured::new(&text("max_files = 2\nquota = \"1 MiB\""));
    let check = configured.check(&["--listen", "127.0.0.1:0"]).succeeded();
    let said = String::from_utf8(check).unwrap();
    for want in ["users.u.max_files = 2 ", "anonymous.max_files = 9 "] {
        assert!(said.lines().any(|line| line.starts_with(want)), "no {want} in\n{said}");
    }
    configured.root.write("there", b"content");
    let quota = |session: &mut RawSession| session.expect("SITE QUOTA", 211).text();
    let served = configured.serve();
    let mut session = RawSession::login(served.address, "u", "p");
    session.upload("STOR new", b"new");
    let want = "211-Quota:\n Bytes: 10 of 1048576\n Files: 2 of 2\n211 End";
    assert_eq!(quota(&mut session), want);
    let _data = session.passive();
    session.expect("STOR more", 552);
    let mut anyone = RawSession::login(served.address, "anonymous", "any");
    assert!(quota(&mut anyone).ends_with(" Files: 2 of 9\n211 End"));
    // New sessions have the new limit.
    configured.write(&text("max_files = 3"));
    served.signal("HUP");
    log_until(&served, "changed: users");
    let _data = session.passive();
    session.expect("STOR more", 552);
    let mut again = RawSession::login(served.address, "u", "p");
    again.upload("STOR more", b"more");
    drop(served);
    // The files count after a restart too.
    let served = configured.serve();
    let mut session = RawSession::login(served.address, "u", "p");
    let want = "211-Quota:\n Bytes: 14 of unlimited\n Files: 3 of 3\n211 End";
    assert_eq!(quota(&mut session), want);
}
