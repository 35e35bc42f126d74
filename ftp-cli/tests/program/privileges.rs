//! `serve` with `security.run_as`: it binds the ports as root, then drops privileges.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use ftp_tests::peer::Peer;
use ftp_tests::port::OwnPorts;
use ftp_tests::process::run;
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, Kind};
use ftp_tests::wait::wait_until;

use crate::config::{Configured, log_until};
use crate::serve::Served;
use crate::{failed, ftp, ftp_with_hangup};

/// The user nobody and the group nogroup, by their ids on Debian.
const NOBODY: u32 = 65_534;

/// Returns whether the tests run as root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Returns the program with two supplementary groups.
fn with_groups(setpriv: &Peer, program: &Command) -> Command {
    let mut command = setpriv.command();
    command.args(["--groups", "4,27"]).arg(program.get_program()).args(program.get_args());
    command
}

/// Returns a copy of the program that other users can run, in a directory that they can enter: they
/// may not reach the directory of the build.
pub(crate) fn world_executable_copy(root: &TempRoot) -> PathBuf {
    let program = root.path().join("ftp-cli");
    // Copied by another process: a child of another test would inherit the descriptor for writing,
    // and the file would be busy (ETXTBSY).
    let mut copy = Command::new("cp");
    run(copy.arg(env!("CARGO_BIN_EXE_ftp-cli")).arg(&program)).exited(0);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn a_server_started_by_root_drops_privileges_hp_25() {
    let Some(setpriv) = Peer::find("setpriv").filter(|_| is_root()) else { return };
    let root = TempRoot::new();
    root.write("secret", b"x");
    root.write("open", b"y");
    chown(root.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    for (name, mode) in [("secret", 0o600), ("open", 0o644)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(root.path().join(name), permissions).unwrap();
    }
    let port = OwnPorts::claim_privileged(1);
    let listen = format!("127.0.0.1:{}", port.numbers().start());
    let mut serve = ftp(&["serve", "--write", "--listen", &listen, "--user", "u:p"]);
    serve.args(["--set", "security.run_as=nobody"]).arg(root.path());
    let served = Served::of(&mut with_groups(&setpriv, &serve));
    assert!(!served.said().contains("root"), "{}", served.said());

    let mut session = RawSession::login(served.address, "u", "p");
    session.upload("STOR new", b"new");
    assert_eq!(session.download("RETR open"), b"y");
    session.expect("EPSV", 229);
    session.expect("RETR secret", 550);
    let new = std::fs::metadata(root.path().join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (NOBODY, NOBODY));

    let ids = format!("{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n");
    let mut threads = 0;
    for thread in std::fs::read_dir(format!("/proc/{}/task", served.running.child.id())).unwrap() {
        // A thread may have ended meanwhile.
        let status = thread.unwrap().path().join("status");
        let Ok(status) = std::fs::read_to_string(status) else { continue };
        threads += 1;
        for id in ["Uid", "Gid"] {
            assert!(status.contains(&format!("\n{id}:\t{ids}")), "{status}");
        }
        // The supplementary groups of root are gone.
        assert!(status.contains(&format!("\nGroups:\t{NOBODY} \n")), "{status}");
        assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    }
    assert!(threads > 3, "the first, those of signals and of listeners, and the session's");
}

#[test]
fn only_root_can_switch_to_another_user_hp_25() {
    let Some(setpriv) = Peer::find("setpriv").filter(|_| is_root()) else { return };
    let root = TempRoot::new();
    let program = world_executable_copy(&root);
    let as_nobody = |run_as: &str| {
        let mut command = setpriv.command();
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command.args(["serve", "--listen", "0", "--set", run_as]).arg(root.path());
        command
    };
    let ran = run(&mut as_nobody("security.run_as=daemon"));
    failed(&ran, 2, "cannot switch to user \"daemon\"");
    // A process of that user has nothing to drop.
    let served = Served::of(&mut as_nobody("security.run_as=nobody"));
    RawSession::login(served.address, "anonymous", "me").expect_in_step();
}

#[test]
fn the_control_socket_answers_only_members_of_its_group() {
    const GROUP: u32 = 4_321;
    let Some(setpriv) = Peer::find("setpriv").filter(|_| is_root()) else { return };
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let program = world_executable_copy(&here);
    let socket = here.path().join("control");
    let setting = format!("control.socket={}", socket.display());
    let group = format!("control.group={GROUP}");
    let serve = ["--set", &setting, "--set", &group];
    let served = Served::start(&root, &serve);
    let ask = |ids: &[&str]| {
        let mut command = setpriv.command();
        command.args(ids).arg(&program).args(["unban", "all", "--control"]);
        run(command.arg(&socket))
    };
    let user = ["--reuid", "1234", "--regid", "1234"];
    let in_group = GROUP.to_string();
    for groups in [&["--clear-groups"][..], &["--groups", "4,27"]] {
        let ran = ask(&[&user[..], groups].concat());
        failed(&ran, 4, "permission denied; use sudo, or join the group that control.group names");
    }
    ask(&[&user[..], &["--groups", &in_group]].concat()).exited(0);
    ask(&["--reuid", "1235", "--regid", &in_group, "--clear-groups"]).exited(0);
    // The log names those who were answered, and only them.
    let said = log_until(&served, "control uid=1235");
    let users = said.iter().filter_map(|line| line.split("control uid=").nth(1)?.split(' ').next());
    assert_eq!(users.collect::<Vec<_>>(), ["1234", "1235"], "{said:?}");
}

#[test]
fn the_log_tells_the_permissions_of_the_server_from_the_rights_of_the_user_li_15() {
    if !is_root() {
        return;
    }
    let configured = Configured::new(
        "security.run_as = \"nobody\"\n\
         [users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n\
         [users.v]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = [\"list\"]\n",
    );
    let root = &configured.root;
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // All of them belong to root.
    mode(root.path(), 0o755);
    mode(&root.mkdir("open"), 0o755);
    mode(&root.mkdir("closed"), 0o700);
    root.mkdir("open/empty");
    root.write("open/file", b"x");
    root.write("closed/file", b"x");
    mode(&root.write("secret", b"x"), 0o600);
    let served = configured.serve();
    let refused = |commands: &[&str], verb: &str| {
        // The log has a limited number of such lines of a session.
        let mut session = RawSession::login(served.address, "u", "p");
        let (last, first) = commands.split_last().unwrap();
        first.iter().for_each(|command| drop(session.ask(command)));
        session.expect(last, 550);
        log_until(&served, &format!(" verb={verb} ")).pop().unwrap()
    };
    let cause = " cause=\"permission of the server's user\"";
    for (commands, verb) in [
        (&["EPSV", "STOR new"][..], "STOR"),
        (&["EPSV", "STOR open/file"], "STOR"),
        (&["EPSV", "APPE open/file"], "APPE"),
        (&["EPSV", "STOU"], "STOU"),
        (&["EPSV", "RETR secret"], "RETR"),
        (&["EPSV", "RETR closed/file"], "RETR"),
        (&["EPSV", "LIST closed"], "LIST"),
        (&["EPSV", "NLST closed"], "NLST"),
        (&["EPSV", "MLSD closed"], "MLSD"),
        (&["CWD closed"], "CWD"),
        (&["MKD new"], "MKD"),
        (&["RMD open/empty"], "RMD"),
        (&["DELE open/file"], "DELE"),
        (&["RNFR open/file", "RNTO open/new"], "RNTO"),
        (&["SIZE closed/file"], "SIZE"),
        (&["MDTM closed/file"], "MDTM"),
        (&["MFMT 20200101000000 open/file"], "MFMT"),
        (&["MLST closed/file"], "MLST"),
    ] {
        let line = refused(commands, verb);
        assert!(line.ends_with(cause), "{commands:?}: {line}");
    }
    // Other reasons have no cause, also after one that has.
    let line = refused(&["MKD new", "CWD missing"], "CWD");
    assert!(!line.contains("cause="), "{line}");
    let mut other = RawSession::login(served.address, "v", "p");
    other.expect("MKD new", 550);
    let line = log_until(&served, " user=\"v\" verb=MKD ").pop().unwrap();
    assert!(!line.contains("cause="), "{line}");
}

#[test]
fn check_as_root_tests_the_user_whose_group_reads_the_configuration_li_14() {
    if !is_root() {
        return;
    }
    let configured =
        Configured::new("[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n");
    let file = configured.here.join("server.toml");
    // The user daemon and its group are on each Debian, with these ids.
    chown(&file, Some(0), Some(1)).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(configured.here.path(), 0o755);
    mode(configured.root.path(), 0o755);
    let check = |more: &[&str]| {
        let listen = ["--check", "--listen", "0"];
        let ran = run(configured.command(&listen).args(more));
        (ran.code(), String::from_utf8(ran.stdout).unwrap())
    };
    let fault = format!(
        "fail  user u: {}: the server's user cannot write here",
        configured.root.path().display()
    );
    mode(&file, 0o640);
    let (code, said) = check(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with(&fault), "{said}");
    assert!(said.contains("\nnote  checked as user \"daemon\", "), "{said}");
    // A server that gives files away may have more capabilities than the check.
    let (code, said) = check(&["--set", "users.u.owner=bin"]);
    assert_eq!((code, said.contains(&fault.replace("fail", "note"))), (Some(0), true), "{said}");
    assert!(said.contains("cannot see if the unit gives CAP_DAC_OVERRIDE"), "{said}");
    chown(configured.root.path(), Some(1), None).unwrap();
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("ok    no problems found\nnote  checked as user \"daemon\", "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    // `security.run_as` says it itself. Without it, and without such a group, root is meant.
    let (code, said) = check(&["--set", "security.run_as=nobody"]);
    assert_eq!((code, said.contains("checked as")), (Some(3), false), "{said}");
    mode(&file, 0o600);
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        said,
        "ok    no problems found\nnote  checked as root; if the server runs as another user, add --set security.run_as=USER\n"
    );
}

#[test]
fn a_bind_mount_to_a_file_of_the_server_is_refused_at_start_reload_and_check_hp_27() {
    let Some(unshare) = Peer::find("unshare").filter(|_| is_root()) else { return };
    let text = |root: &str| {
        format!("[users.u]\npassword = \"HASH\"\nroot = \"ROOT/{root}\"\nrights = \"full\"\n")
    };
    let configured = Configured::new(&text("safe"));
    for name in ["safe", "top/mounted", "direct"] {
        std::fs::create_dir_all(configured.root.join(name)).unwrap();
    }
    configured.root.write("top/file", b"");
    let command = |arguments: &[&str]| {
        let mut command = unshare.command();
        let script = "mount --bind \"$1\" \"$2/top/mounted\" && mount --bind \"$1\" \"$2/direct\" && \
                      mount --bind \"$1/server.toml\" \"$2/top/file\" && shift 2 && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.args([configured.here.path(), configured.root.path()]);
        command.arg(env!("CARGO_BIN_EXE_ftp-cli")).args(["serve", "--config", "server.toml"]);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        command.current_dir(configured.here.path());
        command
    };
    let mut served = Served::of(&mut command(&[]));
    for root in ["top", "direct", "direct/../top"] {
        configured.write(&text(root));
        let why = format!("{root} contains a file of the server, server.toml (--config)");
        served.signal("HUP");
        let said = log_until(&served, "; configuration unchanged").pop().unwrap();
        assert!(said.contains(&why), "{said}");
        failed(&run(&mut command(&[])), 2, &why);
        let check = run(&mut command(&["--check"]));
        assert_eq!(check.code(), Some(2), "{check:?}");
        assert!(String::from_utf8_lossy(&check.stdout).contains(&why), "{check:?}");
    }
    // The former root is still served.
    RawSession::login(served.address, "u", "p").upload("STOR file", b"x");
    // A root can change after the start: the login is refused, and the log says why.
    std::fs::remove_file(configured.root.join("safe/file")).unwrap();
    std::fs::remove_dir(configured.root.join("safe")).unwrap();
    std::os::unix::fs::symlink(configured.here.path(), configured.root.join("safe")).unwrap();
    let mut session = RawSession::greeted(served.address);
    session.expect("USER u", 331);
    session.expect("PASS p", 530);
    let said = log_until(&served, "safe contains a file of the server, server.toml (--config); ");
    assert!(said.last().unwrap().contains("u: "), "{said:?}");
    log_until(&served, "reason=no-home");
    served.signal("TERM");
    let status = served.running.wait(std::time::Instant::now() + DEADLINE).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_source_of_a_bind_mount_and_later_mounts_are_refused_hp_27() {
    let Some(unshare) = Peer::find("unshare").filter(|_| is_root()) else { return };
    let Some(nsenter) = Peer::find("nsenter") else { return };
    let configured = Configured::new("[users.u]\npassword = \"HASH\"\nroot = \"ROOT/safe\"\n");
    for name in ["safe/later", "data/source", "target"] {
        std::fs::create_dir_all(configured.root.join(name)).unwrap();
    }
    let log = configured.root.join("target/log");
    let command = |more: &[&str]| {
        let mut command = unshare.command();
        let script = "mount --bind \"$1/data/source\" \"$1/target\" && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(configured.root.path());
        command.arg(env!("CARGO_BIN_EXE_ftp-cli")).args(["serve", "--config", "server.toml"]);
        command.args(["--listen", "127.0.0.1:0", "--set"]);
        command.arg(format!("log.transfers={}", log.display())).args(more);
        command.current_dir(configured.here.path());
        command
    };
    let root = format!("users.u.root={}", configured.root.join("data").display());
    let why = format!("data contains a file of the server, {} (log.transfers)", log.display());
    failed(&run(&mut command(&["--set", &root])), 2, &why);
    let mut served = Served::of(&mut command(&[]));
    let _session = RawSession::login(served.address, "u", "p");
    let mut mount = nsenter.command();
    mount.args(["--mount", "--target", &served.running.child.id().to_string(), "mount", "--bind"]);
    mount.arg(configured.root.join("data")).arg(configured.root.join("safe/later"));
    run(&mut mount).exited(0);
    let mut session = RawSession::greeted(served.address);
    session.expect("USER u", 331);
    session.expect("PASS p", 530);
    log_until(&served, "safe contains a file of the server, ");
    served.signal("TERM");
    let status = served.running.wait(std::time::Instant::now() + DEADLINE).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn check_tests_directories_as_the_run_as_user() {
    if !is_root() {
        return;
    }
    let root = TempRoot::new();
    let inner = root.mkdir("a 'b'");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |more: &[&str]| {
        let mut check = ftp(&["serve", "--check", "-v", "--listen", "0"]);
        check.args(["--set", "security.run_as=nobody"]).args(more).arg(&inner);
        let ran = run(&mut check);
        let said = String::from_utf8(ran.stdout.clone()).unwrap();
        ran.exited(if said.contains("fail  ") { 3 } else { 0 });
        said
    };
    mode(root.path(), 0o755);
    for (outer_mode, inner_mode, more, want) in [
        (0o755, 0o755, &[][..], "users' directories with sufficient permissions: 1"),
        (0o755, 0o700, &[], "user \"nobody\" cannot read it"),
        // The parent directories count too.
        (0o700, 0o755, &[], "user \"nobody\" cannot read it"),
        (0o755, 0o755, &["--write"], "user \"nobody\" cannot write here"),
        (0o755, 0o777, &["--write"], "users' directories with sufficient permissions: 1"),
    ] {
        mode(root.path(), outer_mode);
        mode(&inner, inner_mode);
        let said = check(more);
        assert!(said.contains(want), "{outer_mode:o} {inner_mode:o} {more:?}: {said}");
        assert_eq!(said.contains("fail  DIR: "), !want.contains("directories"), "{said}");
    }
}

#[test]
fn check_exits_with_the_status_of_serve() {
    let (root, taken) = (TempRoot::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let taken = taken.local_addr().unwrap().to_string();
    let log = "log.transfers=/proc/none/log";
    let root = root.path().to_str().unwrap();
    for (arguments, code) in [
        (&["--listen", &taken, root][..], 4),
        (&["--listen", "127.0.0.1:0", "--set", log, root], 3),
        (&["--listen", "127.0.0.1:0", "/proc/none"], 3),
        (&["--listen", "127.0.0.1:0", "--tls-cert", "/no", "--tls-key", "/no", root], 2),
    ] {
        for check in [&[][..], &["--check"]] {
            let ran = run(ftp(&["serve"]).args(check).args(arguments));
            assert_eq!(ran.code(), Some(code), "{ran:?}");
        }
    }
}

#[test]
fn check_tests_ports_as_the_run_as_user() {
    if !is_root() {
        return;
    }
    // The source port is the one below that of the listener.
    let (root, ports) = (TempRoot::new(), OwnPorts::claim_privileged(2));
    let low = *ports.numbers().start();
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(root.path(), mode(0o755)).unwrap();
    let mut check = ftp(&["serve", "--check", "-v", "--listen", &format!("127.0.0.1:{}", low + 1)]);
    check.args(["--set", "active.source_port=true", "--passive-ports", &format!("{low}")]);
    check.args(["--set", "security.run_as=nobody"]).arg(root.path());
    let ran = run(&mut check);
    ran.exited(4);
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(said.contains("\nok    127.0.0.1:"), "root listens: {said}");
    assert!(said.contains("fail  passive.ports: 0 of 1 ports are available"), "{said}");
    let source = format!("\nwarn  active.source_port: user \"nobody\" cannot use port {low}");
    assert!(said.contains(&source), "{said}");
}

#[test]
fn files_unreadable_after_dropping_root_cause_a_warning() {
    if !is_root() {
        return;
    }
    let (here, root, authority) = (TempRoot::new(), TempRoot::new(), Authority::new());
    for directory in [here.path(), root.path()] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let pair = authority.issue(Kind::Good).write(&here, "pair");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = [
        "--listen=127.0.0.1:0".to_owned(),
        format!("--tls-cert={}", text(&pair.certificate)),
        format!("--tls-key={}", text(&pair.key)),
        "--set=security.run_as=nobody".to_owned(),
        text(root.path()),
    ];
    let said = || {
        let check = run(ftp(&["serve", "--check"]).args(&arguments)).succeeded();
        let served = Served::of(ftp(&["serve"]).args(&arguments));
        (String::from_utf8(check).unwrap(), served.said().to_owned())
    };
    for (mode, is_lost) in [(0o600, true), (0o644, false)] {
        std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(mode)).unwrap();
        let words = format!("tls.key: user \"nobody\" cannot read {}", pair.key.display());
        let (check, served) = said();
        assert_eq!(check.contains(&format!("warn  {words}")), is_lost, "{check}");
        assert_eq!(served.contains(&format!("warning: {words}")), is_lost, "{served}");
    }
}

#[test]
fn the_run_as_user_has_its_supplementary_groups() {
    let Some(unshare) = Peer::find("unshare").filter(|_| is_root()) else { return };
    let (here, root) = (TempRoot::new(), TempRoot::new());
    // The system decides the groups of a user: this test has its own list.
    let mut groups = std::fs::read_to_string("/etc/group").unwrap();
    groups.push_str("sharers:x:64999:nobody\n");
    let groups = here.write("group", groups.as_bytes());
    root.write("shared", b"x");
    let shared = root.path().join("shared");
    chown(&shared, Some(0), Some(64_999)).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = unshare.command();
    let script = "mount --bind \"$1\" /etc/group && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(groups);
    command.arg(env!("CARGO_BIN_EXE_ftp-cli")).args(["serve", "--listen", "127.0.0.1:0"]);
    command.args(["--set", "security.run_as=nobody"]).arg(root.path());
    let served = Served::of(&mut command);
    let mut session = RawSession::login(served.address, "anonymous", "me");
    assert_eq!(session.download("RETR shared"), b"x");
}

#[test]
fn a_read_only_file_system_is_named_at_startup_and_by_the_check() {
    let Some(unshare) = Peer::find("unshare").filter(|_| is_root()) else { return };
    let root = TempRoot::new();
    let serve = |more: &[&str]| {
        let mut command = unshare.command();
        let script = "mount -t tmpfs -o ro none \"$1\" && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(root.path());
        command.arg(env!("CARGO_BIN_EXE_ftp-cli")).args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(["--user", "u:p"]).args(more).arg(root.path());
        command
    };
    let lack = "cannot write here: the file system is read-only; mount it for writing, or remove \
                the rights to change files";
    let checked = run(&mut serve(&["--write", "--check"]));
    let findings = String::from_utf8_lossy(&checked.stdout);
    let words = format!("fail  DIR: {}: the server's user {lack}", root.path().display());
    assert!(checked.code() == Some(3) && findings.contains(&words), "{findings}");
    let served = Served::of(&mut serve(&["--write"]));
    let words = format!(" DIR: {}: the server's user {lack}\n", root.path().display());
    assert!(served.said().contains(&words), "{}", served.said());
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("MKD d", 550);
    // Downloads need no writing.
    let checked = run(&mut serve(&["--check"]));
    let findings = String::from_utf8_lossy(&checked.stdout);
    assert!(!findings.contains("fail  "), "{findings}");
}

#[test]
fn running_as_root_without_run_as_causes_one_warning() {
    if !is_root() {
        return;
    }
    let served = Served::start(&TempRoot::new(), &[]);
    assert_eq!(served.said().matches("running as root").count(), 1, "{}", served.said());
}

#[test]
fn the_transfer_log_is_reopened_by_the_run_as_user() {
    if !is_root() {
        return;
    }
    let (root, here) = (TempRoot::new(), TempRoot::new());
    // Only root can create files there.
    std::fs::set_permissions(here.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    chown(root.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let (log, older) = (here.join("log"), here.join("log.1"));
    let set = format!("log.transfers={}", log.display());
    let serve = || {
        let mut serve = ftp_with_hangup(&["serve", "--listen", "0", "--user", "u:p", "--write"]);
        serve.args(["--set", "security.run_as=nobody", "--set", &set]).arg(root.path());
        Served::of(&mut serve)
    };
    let said_after_hangup = |served: &Served| {
        served.signal("HUP");
        let mut said = std::iter::from_fn(|| served.log.recv_timeout(DEADLINE).ok());
        said.find(|line| line.contains(" reopened") || line.contains("old file"))
            .expect("it says what it did")
    };
    let owner = || std::fs::metadata(&log).unwrap().uid();
    let upload = |served: &Served, log: &Path, lines: usize| {
        RawSession::login(served.address, "u", "p").upload("STOR file", b"x");
        wait_until("a line of the log", || {
            std::fs::read_to_string(log).is_ok_and(|log| log.lines().count() == lines)
        });
    };
    let served = serve();
    assert_eq!((owner(), log.metadata().unwrap().mode() & 0o777), (NOBODY, 0o640));
    // Without a rename it is the same file.
    let said = said_after_hangup(&served);
    assert!(said.contains("log.transfers reopened"), "{said}");
    upload(&served, &log, 1);
    // The file was renamed, and no new one exists.
    std::fs::rename(&log, &older).unwrap();
    let said = said_after_hangup(&served);
    let what_to_do = "Permission denied; lines are still written to the old file. After \
                      renaming, create a file that user \"nobody\" (security.run_as) can write, or \
                      make the directory writable";
    assert!(said.contains(&format!("{}: {what_to_do}", log.display())), "{said}");
    upload(&served, &older, 2);
    // As logrotate creates it.
    std::fs::write(&log, "").unwrap();
    chown(&log, Some(NOBODY), None).unwrap();
    let said = said_after_hangup(&served);
    assert!(said.contains("log.transfers reopened"), "{said}");
    upload(&served, &log, 1);
    drop(served);
    // An existing file keeps its owner.
    chown(&log, Some(0), None).unwrap();
    let served = serve();
    upload(&served, &log, 2);
    assert_eq!(owner(), 0);
}

/// A single file that is mounted, as into a container, cannot be replaced by a rename.
#[test]
fn a_download_onto_a_mounted_file_is_refused_with_the_option_that_helps() {
    let Some(unshare) = Peer::find("unshare").filter(|_| is_root()) else { return };
    let (server, here) = (OurServer::start(), TempRoot::new());
    server.root.write("f", b"newer");
    here.write("f", b"old");
    here.write("target", b"");
    let get = |more: &[&str]| {
        let mut command = unshare.command();
        let script = "mount --bind f target && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_ftp-cli")]);
        command.arg("get").args(more).args([&server.url("f"), "target"]);
        run(command.current_dir(here.path()))
    };
    failed(&get(&[]), 3, "use --in-place to write to the file itself");
    assert_eq!(here.read("f"), b"old");
    get(&["--in-place"]).exited(0);
    assert_eq!(here.read("f"), b"newer");
}
