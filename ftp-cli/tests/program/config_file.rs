//! The user's configuration file: options by host, bookmarks, and everything that keeps it out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ftp_tests::port::OwnPort;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::peer::Peer;
use crate::{failed, ftp};

/// A home directory with a configuration file.
struct Home(TempRoot);

impl Home {
    fn with(text: &str) -> Self {
        let root = TempRoot::new();
        for directory in [".config", ".config/ftp-cli"] {
            root.mkdir(directory);
        }
        root.write(".config/ftp-cli/config.toml", text.as_bytes());
        Self(root)
    }

    fn ftp(&self, arguments: &[&str]) -> Command {
        let mut command = ftp(arguments);
        command.env("HOME", self.0.path()).env("FTP_PASSWORD", "pass word");
        command
    }
}

/// Returns a file for a server: a bookmark of its `d`, and the user for its host.
fn text(server: &OurServer) -> String {
    let at = server.address;
    format!("[bookmarks]\nnas = \"ftp://{at}/d\"\n[hosts.\"{at}\"]\nuser = \"user\"\n")
}

#[test]
fn bookmarks_work_wherever_a_url_does() {
    let server = OurServer::start();
    server.root.mkdir("d");
    server.root.write("d/a", b"content");
    let home = Home::with(&text(&server));
    let here = TempRoot::new();
    let local = here.write("b", b"new");
    let local = local.to_str().unwrap();
    for (arguments, want) in [
        (&["get", "@nas/a", "-"][..], &b"content"[..]),
        (&["ls", "@nas"], b"a\n"),
        (&["ls", "@nas/"], b"a\n"),
        (&["put", local, "@nas/"], b""),
        (&["mv", "@nas/b", "@nas/c"], b""),
        (&["ls", "-R", "@nas/"], b"a\nc\n"),
        (&["rm", "@nas/c"], b""),
        (&["mirror", "@nas/", "tree"], b""),
    ] {
        let ran = run(home.ftp(arguments).current_dir(here.path()));
        let mut lines: Vec<_> =
            ran.clone().succeeded().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        let mut want: Vec<_> = want.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        want.sort();
        assert_eq!(lines, want, "{ran:?}");
    }
    assert_eq!(here.read("tree/a"), b"content");
    let ran = run(&mut home.ftp(&["get", "@attic/a", "-"]));
    failed(&ran, 2, "@attic: no such bookmark in the configuration file");
    // A local file can have such a name.
    here.write("@nas", b"local");
    let ran = run(home.ftp(&["put", "./@nas", "@nas/x"]).current_dir(here.path()));
    ran.exited(0);
    assert_eq!(server.root.read("d/x"), b"local");
}

#[test]
fn configured_options_take_effect_and_typed_ones_override_them() {
    let server = OurServer::start();
    server.root.mkdir("d");
    let dead = OwnPort::claim_closed();
    let proxy = format!("[defaults]\nproxy = \"socks5://{}\"\n", dead.address());
    let home = Home::with(&(text(&server) + &proxy));
    let named = format!("proxy socks5://{}: cannot connect", dead.address());
    failed(&run(&mut home.ftp(&["ls", "@nas/"])), 4, &named);
    run(&mut home.ftp(&["ls", "--proxy", "none", "@nas/"])).succeeded();
    // A value that the file cannot check is refused where it is used, with its place.
    let home = Home::with("[defaults]\nconnect-timeout = \"soon\"\n");
    let ran = run(&mut home.ftp(&["ls", &server.url("")]));
    failed(&ran, 2, "/.config/ftp-cli/config.toml:2:19: connect-timeout: invalid");
    let home = Home::with("[defaults]\njson = true\n");
    let listed = run(&mut home.ftp(&["ls", &server.url("")])).succeeded();
    assert!(listed.starts_with(b"{\"v\":1,"), "{}", listed.escape_ascii());
}

#[test]
fn the_configuration_file_can_be_disabled_or_replaced() {
    let server = OurServer::start();
    let broken = Home::with("[");
    let url = server.url("");
    failed(&run(&mut broken.ftp(&["ls", &url])), 2, "config.toml:1:2: ");
    for arguments in [&["ls", "--no-config", &url][..], &["--no-config", "ls", &url]] {
        run(&mut broken.ftp(arguments)).succeeded();
    }
    run(broken.ftp(&["ls", &url]).env("FTP_CLI_CONFIG", "")).succeeded();
    // Commands that connect to no server do not read it.
    for arguments in [&["--version"][..], &["help", "get"], &["ls", "--help"], &["man"]] {
        run(&mut broken.ftp(arguments)).succeeded();
    }
    // Another file, and another directory.
    let other = broken.0.write("other.toml", b"[bookmarks]\n");
    run(broken.ftp(&["ls", &url]).env("FTP_CLI_CONFIG", &other)).succeeded();
    run(broken.ftp(&["ls", &url]).env("XDG_CONFIG_HOME", "/proc/none")).succeeded();
    let ran = run(broken.ftp(&["ls", &url]).env("FTP_CLI_CONFIG", "/proc/none"));
    failed(&ran, 3, "/proc/none: No such file");
}

#[test]
fn a_configuration_file_writable_by_others_is_refused() {
    let server = OurServer::start();
    let home = Home::with("[bookmarks]\n");
    let path = home.0.join(".config/ftp-cli/config.toml");
    let url = server.url("");
    for (mode, is_fit) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let ran = run(&mut home.ftp(&["ls", &url]));
        match is_fit {
            true => ran.exited(0),
            false => {
                failed(&ran, 3, &format!("writable by others (mode 0{mode:o}); use chmod 644"));
            }
        }
    }
    // What never ends is not waited for.
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    failed(&run(&mut home.ftp(&["ls", &url])), 3, "config.toml: not a regular file");
}

#[test]
fn listed_urls_that_need_other_host_options_are_refused() {
    let peer = Peer::start(&[]);
    let home = Home::with(&format!("[hosts.\"{}\"]\ntls = \"explicit\"\n", peer.address));
    let list = home.0.write("list", format!("ftp://me@{}/a\n", peer.address).as_bytes());
    let list = list.to_str().unwrap();
    let ran = run(home.ftp(&["get", "-i", list]).current_dir(home.0.path()));
    failed(&ran, 2, "127.0.0.1 has options that do not apply to a list");
    let ran = run(home.ftp(&["get", "-i", list, "ftp://192.0.2.1/b"]).current_dir(home.0.path()));
    failed(&ran, 2, "192.0.2.1 and 127.0.0.1 have different options");
    // No password, and no connection at all.
    assert_eq!(peer.seen(), "");
}

#[test]
fn a_login_for_all_hosts_is_refused() {
    let peer = Peer::start(&[]);
    let home = Home::with("[defaults]\nuser = \"me\"\npassword-command = \"echo geheim\"\n");
    let ran = run(&mut home.ftp(&["ls", &peer.url("")]));
    failed(&ran, 2, "config.toml:2:1: user: not allowed in [defaults]");
    assert_eq!(peer.seen(), "");
}

#[test]
fn the_user_of_a_url_overrides_the_configured_login() {
    let peer = Peer::start_several(vec![Vec::new(), Vec::new(), Vec::new()]);
    let at = peer.address;
    let text = "user = \"bob\"\npassword-command = \"echo of-bob\"\n";
    let home = Home::with(&format!("[hosts.\"127.0.0.1\"]\n{text}"));
    for url in [format!("ftp://me:pw@{at}/"), format!("ftp://me@{at}/"), format!("ftp://{at}/")] {
        run(&mut home.ftp(&["quote", &url, "NOOP"]));
    }
    let seen = peer.seen();
    let logins: Vec<_> = seen
        .split(", ")
        .filter(|line| line.starts_with("USER") || line.starts_with("PASS"))
        .collect();
    let want = ["USER me", "PASS pw", "USER me", "PASS pass word", "USER bob", "PASS of-bob"];
    assert_eq!(logins, want);
}

#[test]
fn a_bookmark_that_is_also_a_local_file_is_refused_if_ambiguous() {
    let server = OurServer::start();
    server.root.mkdir("d");
    server.root.write("d/a", b"content");
    let home = Home::with(&text(&server));
    let here = TempRoot::new();
    here.mkdir("@nas");
    here.mkdir("tree");
    here.write("@nas/x", b"local");
    let url = format!("ftp://user@{}/d/", server.address);
    for (arguments, operand) in [
        (&["put", "@nas/x", &url][..], "@nas/x"),
        (&["mirror", "--delete", "./tree", "@nas"], "@nas"),
        (&["mirror", "@nas/", "tree"], "@nas/"),
        (&["get", &format!("{url}a"), "@nas/y"], "@nas/y"),
        (&["batch", &url, "@nas/x"], "@nas/x"),
    ] {
        let ran = run(home.ftp(arguments).current_dir(here.path()));
        let path = operand.trim_start_matches("@nas");
        let at = server.address;
        let want = format!(
            "@nas: is both a bookmark and a local file; write ./{operand} or ftp://{at}/d{path}"
        );
        failed(&ran, 2, &want);
    }
    assert_eq!(server.root.read("d/a"), b"content");
    for (arguments, want) in [
        (&["put", "./@nas/x", &url][..], &b""[..]),
        (&["get", "@nas/x", "-"], b"local"),
        (
            &["get", "-o", "-", &url.replace("user@", "").replace("d/", "d/a"), "@nas/x"],
            b"contentlocal",
        ),
        (&["put", "./@nas/x", "@nas/y"], b""),
    ] {
        let said = run(home.ftp(arguments).current_dir(here.path())).succeeded();
        assert_eq!(said, want, "{arguments:?}");
    }
    assert_eq!(server.root.read("d/y"), b"local");
}

#[test]
fn configured_options_without_effect_are_ignored() {
    let server = OurServer::start();
    server.root.write("a", b"content");
    let url = server.url("a");
    let home = Home::with(
        "[defaults]\njobs = 2\ninsecure = true\ntls-data = \"clear\"\nretry-delay = \"1s\"\n\
         verify = \"hash\"\npipeline = true\nepsv = \"never\"\n",
    );
    for arguments in [&["get", "-o", "x", &url][..], &["get", "-a", &url, "y"]] {
        run(home.ftp(arguments).current_dir(home.0.path())).succeeded();
    }
    assert_eq!(home.0.read("x"), b"content");
    run(home.ftp(&["put", "--append", "x", &url]).current_dir(home.0.path())).succeeded();
    assert_eq!(server.root.read("a"), b"contentcontent");
    failed(&run(&mut home.ftp(&["get", "--jobs", "2", &url, "-"])), 2, "--jobs");
    // In active mode there is no EPSV.
    let home = Home::with("[defaults]\npipeline = true\nepsv-all = true\n");
    run(&mut home.ftp(&["get", "--active", &server.url("a"), "-"])).succeeded();
    // Messages name the place of the options that remain.
    let home = Home::with("[defaults]\nactive = true\n");
    let ran = run(&mut home.ftp(&["ls", "--epsv", "never", &server.url("")]));
    failed(&ran, 2, "--epsv needs passive mode; remove ");
    failed(&ran, 2, "config.toml:2:10: active");
    let home = Home::with(
        "[defaults]\npin = \"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\nca-file = \"c\"\n",
    );
    let ran = run(&mut home.ftp(&["ls", &server.url("")]));
    failed(&ran, 2, "config.toml:2:7: pin and ");
    let home = Home::with("[defaults]\npin = \"sha256//AAAA\"\n");
    let ran = run(&mut home.ftp(&["ls", &server.url("")]));
    failed(&ran, 2, "config.toml:2:7: pin: invalid pin \"sha256//AAAA\"");
}

#[test]
fn a_configured_pin_is_never_left_unchecked() {
    let server = OurServer::start();
    let host = format!("[hosts.\"{}\"]\n", server.address);
    let pin = "pin = \"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n";
    let (is_pin, is_file) =
        ("config.toml:2:7: pin needs TLS", "config.toml:2:11: ca-file needs TLS");
    for (text, more, words) in [
        (format!("{host}{pin}"), &[][..], Some(is_pin)),
        (format!("[defaults]\n{pin}"), &[], Some(is_pin)),
        (format!("{host}{pin}tls = \"off\"\n"), &[], Some(is_pin)),
        (format!("{host}{pin}tls = \"try\"\n"), &[], Some(is_pin)),
        (format!("{host}ca-file = \"c\"\n"), &[], Some(is_file)),
        // It is for other hosts.
        ("[defaults]\nca-file = \"c\"\n".to_owned(), &[], None),
        // The user's word.
        (format!("{host}{pin}"), &["--tls", "off"], None),
    ] {
        let home = Home::with(&text);
        let ran = run(home.ftp(&["ls", &server.url("")]).args(more));
        match words {
            Some(words) => failed(&ran, 2, words),
            None => drop(ran.succeeded()),
        }
    }
}

#[test]
fn a_configured_proxy_is_reported_with_its_line() {
    let dead = OwnPort::claim_closed();
    let proxy = format!("http://{}", dead.address());
    let home = Home::with(&format!("[defaults]\nproxy = \"{proxy}\"\n"));
    let ran = run(&mut home.ftp(&["get", "ftp://user@inside.invalid/a", "-"]));
    failed(&ran, 4, "config.toml:2");
    failed(&ran, 4, "names this proxy: use --proxy none to connect directly");
}
