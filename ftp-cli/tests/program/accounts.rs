//! Users in files of their own: `include`, `user`, `ctl users`, and what moves from vsftpd.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::{io, thread};

use ftp_server::PasswordHash;
use ftp_server::daemon::control::ControlAnswer;
use ftp_tests::at_once::at_once;
use ftp_tests::peer::{Peer, skipped};
use ftp_tests::process::{LIMIT, Ran, run, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::terminal::Terminal;

use crate::config::{Configured, log_until};
use crate::{failed, ftp};

/// A server whose users are in files of their own, with a control socket.
struct Members {
    configured: Configured,
}

impl Members {
    fn new() -> Self {
        let configured = Configured::new("");
        configured.here.mkdir("users.d");
        let socket = configured.here.join("control");
        configured.write(&format!(
            "include = \"users.d/*.toml\"\ncontrol.socket = \"{}\"\n[defaults]\nroot = \"ROOT\"\nrights = \"full\"\n\
             [users.main]\npassword = \"HASH\"\n",
            socket.display()
        ));
        let toml = configured.here.join("server.toml");
        fs::set_permissions(toml, Permissions::from_mode(0o640)).unwrap();
        Self { configured }
    }

    fn user(&self, words: &[&str]) -> Command {
        let mut command = ftp(&["user", "--config", "server.toml"]);
        let socket = self.configured.here.join("control");
        command.arg("--control").arg(socket).current_dir(self.configured.here.path()).args(words);
        command
    }

    /// Runs `user` with a password as its input.
    fn run(&self, words: &[&str], password: &str) -> Ran {
        run_with(&mut self.user(words), format!("{password}\n").as_bytes(), LIMIT)
    }

    fn file(&self, name: &str, text: &str) {
        let hash = PasswordHash::new(b"p").unwrap().to_string();
        let path = format!("users.d/{name}");
        self.configured.here.write(path, text.replace("HASH", &hash).as_bytes());
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut ask = ftp(words);
        ask.arg("--control").arg(self.configured.here.join("control"));
        String::from_utf8(run(&mut ask).succeeded()).unwrap()
    }
}

/// Returns the reply to a password.
fn reply(address: SocketAddr, user: &str, password: &str) -> u16 {
    let mut session = RawSession::greeted(address);
    session.expect(format!("USER {user}"), 331);
    session.ask(format!("PASS {password}")).code
}

#[test]
fn included_files_have_one_user_each_and_a_broken_one_changes_nothing() {
    let members = Members::new();
    members.file("b.toml", "[users.bob]\npassword = \"HASH\"\n");
    members.file("a.toml", "# first\n[users.anna]\npassword = \"HASH\"\nrights = \"read\"\n");
    for ignored in [".hidden.toml", "a.toml~", "a.tom"] {
        members.file(ignored, "broken");
    }
    let checked = run(&mut members.configured.command(&["--check", "-v"]));
    let said = String::from_utf8(checked.stdout).unwrap();
    let origin =
        |line: &&str| line.starts_with("users.anna.rights") && line.ends_with("users.d/a.toml:4");
    assert!(said.lines().any(|line| origin(&line)), "{said}");
    let served = members.configured.serve();
    for user in ["main", "anna", "bob"] {
        assert_eq!(reply(served.address, user, "p"), 230, "{user}");
    }
    let here = members.configured.here.path();
    for (text, want) in [
        (
            "[users.carl]\npassword = \"HASH\"\nright = 1\n",
            "users.d/c.toml:3:1: users.carl.right: unknown key",
        ),
        ("[users.carl\n", "users.d/c.toml:1:"),
        (
            "[users.carl]\npassword = \"p\"\n",
            "users.d/c.toml:2:12: users.carl.password: not a password hash",
        ),
        (
            "[users.anna]\npassword = \"HASH\"\n",
            "users.d/c.toml:1:8: users.anna: defined in users.d/a.toml:2:8 too",
        ),
        (
            "[users.main]\npassword = \"HASH\"\n",
            "users.d/c.toml:1:8: users.main: defined in server.toml:6:8 too",
        ),
        (
            "[limits]\nsessions = 1\n",
            "users.d/c.toml:1:2: limits: expected only tables [users.NAME]",
        ),
        ("[users.carl]\n", "users.d/c.toml:1:8: users.carl: password is missing"),
    ] {
        members.file("c.toml", text);
        served.signal("HUP");
        let said = log_until(&served, "configuration unchanged");
        assert!(said.iter().any(|line| line.contains(want)), "{want}: {said:?}");
        assert_eq!(reply(served.address, "anna", "p"), 230);
    }
    // What cannot be read keeps the old configuration, too.
    fs::remove_file(here.join("users.d/c.toml")).unwrap();
    fs::create_dir(here.join("users.d/c.toml")).unwrap();
    served.signal("HUP");
    log_until(
        &served,
        "c.toml: not a regular file, so it cannot be reloaded; configuration unchanged",
    );
    fs::rename(here.join("users.d"), here.join("gone")).unwrap();
    served.signal("HUP");
    log_until(&served, "users.d: No such file or directory");
    assert_eq!(reply(served.address, "bob", "p"), 230);
    fs::remove_dir(here.join("gone/c.toml")).unwrap();
    fs::remove_file(here.join("gone/b.toml")).unwrap();
    fs::rename(here.join("gone"), here.join("users.d")).unwrap();
    served.signal("HUP");
    log_until(&served, "configuration reloaded; changed: users");
    assert_eq!([reply(served.address, "anna", "p"), reply(served.address, "bob", "p")], [230, 530]);
}

#[test]
fn roots_with_an_included_file_are_refused() {
    let members = Members::new();
    members.file("a.toml", "[users.anna]\npassword = \"HASH\"\nroot = \"HERE\"\n");
    let here = members.configured.here.path().to_str().unwrap().to_owned();
    for root in [here.clone(), format!("{here}/users.d")] {
        members.file("a.toml", &format!("[users.anna]\npassword = \"HASH\"\nroot = \"{root}\"\n"));
        failed(
            &run(&mut members.configured.command(&["--listen", "0"])),
            2,
            "contains a file of the server",
        );
    }
}

#[test]
fn user_changes_files_and_the_running_server() {
    let members = Members::new();
    let here = members.configured.here.path();
    let added = members.run(&["add", "anna", "--set", "rights=read"], "one");
    assert!(
        String::from_utf8_lossy(&added.stderr).contains("a running one needs a reload"),
        "{added:?}"
    );
    assert_eq!(added.succeeded(), b"users.d/anna.toml: written\n");
    let path = here.join("users.d/anna.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("[users.anna]\npassword = \"$argon2id$")
            && text.ends_with("\"\nrights = \"read\"\n"),
        "{text}"
    );
    let (found, like) =
        (fs::metadata(&path).unwrap(), fs::metadata(here.join("server.toml")).unwrap());
    assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o640, like.uid(), like.gid()));

    let served = members.configured.serve();
    let says = |words: &[&str], password: &str| {
        String::from_utf8(members.run(words, password).succeeded()).unwrap()
    };
    assert_eq!(
        says(&["add", "a/b ü"], "p"),
        "users.d/a%2Fb%20%C3%BC.toml: written\nconfiguration reloaded; changed: users\n"
    );
    assert_eq!(reply(served.address, "a/b ü", "p"), 230);
    // A comment of the administrator stays.
    fs::write(&path, format!("# Anna\n{text}# end\n")).unwrap();
    says(&["passwd", "anna"], "two");
    assert_eq!(
        [reply(served.address, "anna", "one"), reply(served.address, "anna", "two")],
        [530, 230]
    );
    let changed = fs::read_to_string(&path).unwrap();
    assert!(changed.starts_with("# Anna\n") && changed.ends_with("# end\n"), "{changed}");
    let mut session = RawSession::login(served.address, "anna", "two");
    assert!(
        says(&["lock", "anna"], "").starts_with("users.d/anna.toml: written; anna is locked\n")
    );
    session.expect_reply(421);
    assert_eq!(reply(served.address, "anna", "two"), 530);
    let list = says(&["list"], "");
    assert!(
        list.lines().any(|line| line.starts_with("anna ") && line.contains(" locked ")),
        "{list}"
    );
    says(&["unlock", "anna"], "");
    assert_eq!(reply(served.address, "anna", "two"), 230);
    let json = says(&["list", "--json"], "");
    assert_eq!(json.lines().count(), 4, "{json}");
    assert!(
        json.lines().any(|line| line
            .starts_with("{\"v\":1,\"event\":\"user\",\"user\":\"anna\",\"state\":\"open\",")),
        "{json}"
    );
    says(&["remove", "anna"], "");
    assert!(!path.exists());
    assert_eq!(reply(served.address, "anna", "two"), 530);

    // A configuration that the running server refuses: told, with the exit status of `ctl reload`.
    let used = members.configured.root.path().to_str().unwrap();
    members
        .configured
        .here
        .write("users.d/z.toml", b"[users.zoe]\npassword = \"*\"\nroot = \"/\"\n");
    let ran = members.run(&["add", "carl", "--set", &format!("root={used}")], "p");
    ran.exited(8);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("configuration unchanged"), "{ran:?}");
}

/// A reload reports the failure of a log too, although it has changed the users.
#[test]
fn a_change_that_the_file_takes_back_is_not_left_in_the_server() {
    let members = Members::new();
    let here = &members.configured.here;
    here.mkdir("logs");
    let text = fs::read_to_string(here.join("server.toml")).unwrap();
    let log = format!("log.transfers = \"{}\"\n{text}", here.join("logs/x").display());
    members.configured.write(&log);
    members.file("anna.toml", "[users.anna]\npassword = \"HASH\"\n");
    // A server that answers only once.
    let control = UnixListener::bind(here.join("control")).unwrap();
    let once = thread::spawn(move || {
        let (stream, _) = control.accept().unwrap();
        io::read_to_string(&stream).unwrap();
        ControlAnswer::refused("no").write(&stream).unwrap();
    });
    let ran = members.run(&["lock", "anna"], "");
    once.join().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("as it was before, the running server perhaps not"), "{ran:?}");
    fs::remove_file(here.join("control")).unwrap();
    let served = members.configured.serve();
    fs::rename(here.join("logs"), here.join("old")).unwrap();
    here.write("logs", b"");
    let ran = members.run(&["lock", "anna"], "");
    ran.exited(8);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("the file is as it was before\n"), "{ran:?}");
    assert_eq!(reply(served.address, "anna", "p"), 230);
}

#[test]
fn a_new_user_who_cannot_log_in_is_reported() {
    let members = Members::new();
    let here = members.configured.here.path().display().to_string();
    for (root, more, says) in [
        (
            "missing",
            &[][..],
            "missing: No such file or directory; logins fail until the directory exists",
        ),
        (
            "missing/a",
            &["--set", "create_home=true"],
            "missing, and the server's user cannot create it",
        ),
    ] {
        let name = format!("carl{}", more.len());
        let root = format!("root={here}/{root}");
        let ran = members.run(&[&["add", &name, "--set", &root], more].concat(), "p");
        ran.exited(3);
        assert!(String::from_utf8_lossy(&ran.stderr).contains(says), "{ran:?}");
        assert!(members.configured.here.join(format!("users.d/{name}.toml")).exists());
    }
    let root = format!("root={here}/new");
    members.run(&["add", "anna", "--set", &root, "--set", "create_home=true"], "p").exited(0);
    // Without a root, the message has what to type.
    members.configured.write("include = \"users.d/*.toml\"\n");
    let words = "users.cam1: root is missing: add --set root=/srv/ftp/cam1 --set create_home=true";
    failed(&members.run(&["add", "cam1"], "p"), 2, words);
    let shown = run(ftp(&["user", "add", "-h"]).current_dir(&here)).succeeded();
    assert!(String::from_utf8_lossy(&shown).contains("--set root=/srv/ftp/cam1"), "{shown:?}");
}

#[test]
fn user_refuses_what_the_server_would_and_leaves_the_files() {
    let members = Members::new();
    members.file("two.toml", "[users.one]\npassword = \"HASH\"\n[users.two]\npassword = \"*\"\n");
    let both = fs::read(members.configured.here.join("users.d/two.toml")).unwrap();
    for (words, code, says) in [
        (&["add", "main"][..], 2, "user main exists: server.toml:6:8"),
        (&["add", "one"], 2, "user one exists: users.d/two.toml:1:8"),
        (&["add", ""], 2, "invalid user name"),
        (&["add", "a\nb"], 2, "invalid user name"),
        (
            &["add", "x", "--set", "right=full"],
            2,
            "unknown setting users.NAME.right; did you mean rights?",
        ),
        (&["add", "x", "--set", "rights=all"], 2, "users.x.rights: "),
        (&["add", "x", "--set", "groups=none"], 2, "unknown group \"none\""),
        (&["lock", "x"], 2, "unknown user x"),
        (&["lock", "x", "--set", "a=b"], 2, "user lock does not accept --set"),
        (&["lock", "main"], 2, "user main is not in an included file: edit server.toml:6:8"),
        (&["unlock", "two"], 2, "the account has no password"),
        (&["remove", "two"], 2, "users.d/two.toml: has other users too"),
        (&["rename", "two"], 2, "usage: ftp-cli user"),
        (&["list", "two"], 2, "usage: ftp-cli user"),
        (&["add"], 2, "usage: ftp-cli user"),
        (&["passwd", "two", "--password-file", "/proc/none/x"], 3, "/proc/none/x"),
    ] {
        failed(&members.run(words, "p"), code, says);
    }
    assert_eq!(fs::read(members.configured.here.join("users.d/two.toml")).unwrap(), both);
    assert_eq!(fs::read_dir(members.configured.here.join("users.d")).unwrap().count(), 1);
    members.configured.write("[users.main]\npassword = \"HASH\"\nroot = \"ROOT\"\n");
    failed(
        &members.run(&["add", "x"], "p"),
        2,
        "server.toml: has no include; add this line at its top",
    );
    failed(&run(&mut ftp(&["user", "list", "--config", "/proc/none/x"])), 3, "/proc/none/x");
}

#[test]
fn user_asks_for_the_password_twice_without_echo() {
    let members = Members::new();
    let toml = members.configured.here.join("server.toml");
    let mut terminal = Terminal::start(ftp(&["user", "add", "anna", "--config"]).arg(toml));
    for prompt in ["Password: ", "Again: "] {
        terminal.expect(prompt);
        assert!(!terminal.echoes());
        terminal.type_in("geheim\n");
    }
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains("geheim"), "{shown}");
    assert_eq!(reply(members.configured.serve().address, "anna", "geheim"), 230);
}

#[test]
fn locked_hashes_refuse_the_right_password_hs_39() {
    let members = Members::new();
    let hash = PasswordHash::new(b"p").unwrap().to_string();
    for (name, mark) in [
        ("a", "!"),
        ("b", "*"),
        ("c", "!!"),
        ("d", "*LK*"),
        ("e", &*format!("!{hash}")),
        ("f", "!$1$saltsalt$unsupported"),
    ] {
        members.file(&format!("{name}.toml"), &format!("[users.{name}]\npassword = \"{mark}\"\n"));
    }
    members.file("g.toml", "[users.g]\npassword = \"!geheim\"\n");
    let wrong = "users.d/g.toml:2:12: users.g.password: not a password hash";
    failed(&run(&mut members.configured.command(&["--check"])), 2, wrong);
    fs::remove_file(members.configured.here.join("users.d/g.toml")).unwrap();
    let checked = run(&mut members.configured.command(&["--check", "-v"]));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("note  locked users, whose logins fail: a, b, c"), "{said}");
    assert!(said.contains("users.e.password = \"****\"") && !said.contains(&hash), "{said}");
    let served = members.configured.serve();
    // Each reply comes after a second.
    at_once(6, ["a", "b", "c", "d", "e", "f"], |name| {
        for password in ["p", "", "!", "*"] {
            assert_eq!(reply(served.address, name, password), 530, "{name} {password}");
        }
    });
    assert_eq!(reply(served.address, "main", "p"), 230);
    let list = String::from_utf8(members.run(&["list"], "").succeeded()).unwrap();
    assert_eq!(list.lines().filter(|line| line.contains(" locked ")).count(), 6, "{list}");
}

#[test]
fn hidden_names_are_left_out_of_listings_and_are_still_there_hs_40() {
    let members = Members::new();
    members.file(
        "a.toml",
        "[users.anna]\npassword = \"HASH\"\nhide_names = [\"*.tmp\", \"private\"]\n",
    );
    let root = &members.configured.root;
    root.mkdir("private");
    root.write("private/x", b"x");
    root.write("a.TMP", b"a");
    root.write("b", b"b");
    let served = members.configured.serve();
    let mut session = RawSession::login(served.address, "anna", "p");
    for list in ["LIST", "NLST", "MLSD", "LIST -a", "NLST *"] {
        let shown = String::from_utf8(session.download(list)).unwrap();
        assert!(
            shown.contains('b') && !shown.contains("TMP") && !shown.contains("private"),
            "{list}: {shown}"
        );
    }
    let shown = session.ask("STAT /").text();
    assert!(!shown.contains("TMP") && !shown.contains("private"), "{shown}");
    // They are still there.
    for (command, code) in [
        ("TYPE I", 200),
        ("SIZE a.TMP", 213),
        ("CWD private", 250),
        ("SIZE x", 213),
        ("CWD /", 250),
        ("RMD private", 550),
        ("RNFR b", 350),
        ("RNTO b.tmp", 250),
    ] {
        session.expect(command, code);
    }
    assert_eq!(session.download("RETR a.TMP"), b"a");
    assert_eq!(session.download("RETR b.tmp"), b"b");
    assert!(String::from_utf8(session.download("NLST private")).unwrap().contains('x'));
    assert_eq!(session.download("NLST"), b"");
    assert!(String::from_utf8(session.download("LIST b.tmp")).unwrap().ends_with("b.tmp\r\n"));
}

#[test]
fn ctl_users_shows_sessions_use_and_last_logins() {
    let members = Members::new();
    members
        .file("a.toml", "[users.anna]\npassword = \"HASH\"\nquota = \"1 MiB\"\nmax_files = 10\n");
    members.file("z.toml", "[users.zoe]\npassword = \"!\"\n");
    let served = members.configured.serve();
    let line = |user: &str| {
        let all = members.ask(&["ctl", "users", "--json"]);
        all.lines().find(|line| line.contains(&format!("\"user\":\"{user}\""))).unwrap().to_owned()
    };
    assert!(!line("anna").contains("last_login"), "{}", line("anna"));
    let mut session = RawSession::login(served.address, "anna", "p");
    session.upload("STOR f", &[b'x'; 5000]);
    let now = line("anna");
    for want in [
        "\"sessions\":1",
        "\"quota\":1048576",
        "\"files\":1,",
        "\"max_files\":10",
        "\"last_login\":\"20",
    ] {
        assert!(now.contains(want), "{want}: {now}");
    }
    assert!(
        line("zoe").contains("\"state\":\"locked\"") && line("zoe").contains("\"sessions\":0"),
        "{}",
        line("zoe")
    );
    let table = members.ask(&["ctl", "users"]);
    assert!(table.starts_with("USER ") && table.contains("SESSIONS  BYTES"), "{table}");
    assert!(table.contains("MiB"), "{table}");
}

#[test]
fn owner_u_is_the_system_user_of_that_name() {
    let members = Members::new();
    members.file("a.toml", "[users.nobody]\npassword = \"HASH\"\nowner = \"%u\"\ngroup = \"%u\"\n");
    let check = || run(&mut members.configured.command(&["--check", "-v"]));
    let said = String::from_utf8(check().stdout).unwrap();
    assert!(said.contains("users.nobody.owner = \"%u\""), "{said}");
    if crate::privileges::is_root() {
        fs::set_permissions(members.configured.root.path(), Permissions::from_mode(0o777)).unwrap();
        let served = members.configured.serve();
        RawSession::login(served.address, "nobody", "p").upload("STOR f", b"x");
        let found = fs::metadata(members.configured.root.join("f")).unwrap();
        assert_eq!((found.uid(), found.gid()), (65_534, 65_534));
    } else {
        assert!(
            said.contains("owner: the server's user cannot give files to user \"%u\""),
            "{said}"
        );
    }
    members.file("b.toml", "[users.\"no such user\"]\npassword = \"HASH\"\nowner = \"%u\"\n");
    let wrong = "users.\"no such user\".owner: this system has no user of this name";
    failed(&check(), 2, wrong);
}

#[test]
fn from_vsftpd_converts_each_key_or_says_why_not() {
    let here = TempRoot::new();
    here.write(
        "vsftpd.conf",
        b"# a comment\nlisten=YES\nanonymous_enable=NO\nlocal_enable=YES\nwrite_enable=YES\nlocal_umask=027\n\
          chroot_local_user=YES\nuser_sub_token=$USER\nlocal_root=/srv/homes/$USER\nssl_enable=YES\n\
          rsa_cert_file=/etc/ssl/ftp.pem\nrequire_ssl_reuse=NO\npasv_min_port=30000\npasv_max_port=30099\n\
          max_per_ip=8\nlocal_max_rate=5000000\nxferlog_enable=YES\nhide_file={*.tmp,.x}\nidle_session_timeout=1\n\
          ssl_ciphers=HIGH\nbogus=1\n",
    );
    let ran = run(ftp(&["serve", "--from-vsftpd", "vsftpd.conf"]).current_dir(here.path()));
    let said = String::from_utf8(ran.stderr.clone()).unwrap();
    let text = String::from_utf8(ran.succeeded()).unwrap();
    let notes = [
        "idle_session_timeout: timeouts.idle: invalid time \"1 s\": expected at least 10 s",
        "bogus=1: unknown, so it is left out",
        "ssl_ciphers=HIGH: the ciphers are fixed; see tls.min_version",
        "local_enable: add --users-to DIR, or use ftp-cli user add",
    ];
    for note in notes {
        assert!(
            said.contains(note) && text.contains(&format!("# {note}\n")),
            "{note}: {said}{text}"
        );
    }
    assert_eq!(said.lines().count(), notes.len(), "{said}");
    let (_, settings) = text.split_once("\n\n").unwrap();
    assert_eq!(
        settings,
        "[listen]\naddresses = [\"0.0.0.0:21\"]\n\n\
         [tls]\ncertificate = \"/etc/ssl/ftp.pem\"\nkey = \"/etc/ssl/ftp.pem\"\ncontrol = \"required\"\ndata = \"required\"\n\n\
         [limits]\nper_address = 8\n\n\
         [passive]\nports = \"30000-30099\"\n\n\
         [log]\ntransfers = \"/var/log/ftp-cli/xferlog\"\n\n\
         [defaults]\nrights = [\"list\", \"read\", \"mkdir\", \"chmod\", \"write\", \"append\", \"delete\", \"rename\"]\n\
         root = \"/srv/homes/%u\"\nrate_per_session = \"5000000/s\"\numask = \"027\"\nhide_names = [\"*.tmp\", \".x\"]\n"
    );
    failed(&run(&mut ftp(&["serve", "--users-to", "/tmp"])), 2, "--from-vsftpd");
    failed(&run(&mut ftp(&["serve", "--from-vsftpd", "/proc/none/x"])), 3, "/proc/none/x");
}

/// Asks the login program of the package about system users, on a machine with an /etc of its own.
#[test]
fn the_login_program_for_pam_refuses_what_pam_refuses() {
    let (Some(unshare), Some(_)) = (Peer::find("unshare"), Peer::find("setpriv")) else {
        return;
    };
    let has_client =
        run(Command::new("/usr/bin/python3").args(["-Ic", "import pam"])).code() == Some(0);
    if !has_client || !crate::privileges::is_root() {
        skipped("it needs root and python3-pampy");
        return;
    }
    let dist = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/pam");
    let here = TempRoot::new();
    for name in ["login-pam", "ftp-cli"] {
        here.write(name, &fs::read(dist.join(name)).unwrap());
    }
    for path in [here.path().to_owned(), here.join("login-pam")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let hash = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";
    let script = format!(
        r#"set -e
        mkdir etc && cp -a /etc/. etc && mount --bind etc /etc && cp ftp-cli /etc/pam.d/
        user() {{ echo "$1:x:$2:100::/:$3" >>/etc/passwd; echo "$1:$4:20000::::::" >>/etc/shadow; }}
        echo /bin/bash >>/etc/shells
        user anna 3001 /bin/bash '{hash}'
        user locked 3002 /bin/bash '!{hash}'
        user shellless 3003 /bin/none '{hash}'
        user daemonic 301 /bin/bash '{hash}'
        chgrp 4242 /etc/shadow && chmod 640 /etc/shadow
        while read -r line; do
            echo "$line" | setpriv --reuid 1234 --regid 1234 --groups 4242 ./login-pam "$@" 2>&1 || echo "status $?"
        done"#,
    );
    let logins = [
        (r#""user":"anna","password":"password""#, "{\"ok\": true}"),
        (r#""user":"anna","password_b64":"cGFzc3dvcmQ=""#, "{\"ok\": true}"),
        (r#""user":"anna","password":"wrong""#, "{\"ok\": false}"),
        (r#""user":"anna","password":"""#, "{\"ok\": false}"),
        (r#""user":"anna","password_b64":"/wA=""#, "{\"ok\": false}"),
        (r#""user":"nobody else","password":"password""#, "{\"ok\": false}"),
        (r#""user":"unknown","password":"password""#, "{\"ok\": false}"),
        (r#""user":"locked","password":"password""#, "{\"ok\": false}"),
        (r#""user":"shellless","password":"password""#, "{\"ok\": false}"),
        (r#""user":"daemonic","password":"password""#, "{\"ok\": false}"),
        (r#""user":"root","password":"password""#, "{\"ok\": false}"),
        (r#""user":"-x","password":"password""#, "{\"ok\": false}"),
        (r#""user":"../anna","password":"password""#, "{\"ok\": false}"),
    ];
    let input: String = logins.iter().map(|(login, _)| format!("{{\"v\":1,{login}}}\n")).collect();
    let mut machine = unshare.command();
    machine.args(["--mount", "--", "/bin/bash", "-c", &script]).current_dir(here.path());
    let ran = run_with(&mut machine, input.as_bytes(), LIMIT);
    let said = String::from_utf8(ran.succeeded()).unwrap();
    for ((login, want), found) in logins.iter().zip(said.lines()) {
        assert_eq!(found, *want, "{login}");
    }
    assert_eq!(said.lines().count(), logins.len(), "{said}");
}
