//! `serve` with `security.run_as`: root for the ports, and then somebody else for good.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use crate::serve::Served;
use crate::{failed, ftp};

/// The user who owns little, and the group of nobody's own, by the numbers that Debian gives them.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A port that only root can listen on.
fn low_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (600..1_000).rev().find(is_free).unwrap()
}

/// The same program with two groups more.
fn with_groups(setpriv: &Peer, program: &Command) -> Command {
    let mut command = setpriv.command();
    command.args(["--groups", "4,27"]).arg(program.get_program()).args(program.get_args());
    command
}

#[test]
fn a_server_started_by_root_goes_on_as_somebody_else_hp_25() {
    let Some(setpriv) = Peer::find("setpriv").filter(|_| is_root()) else { return };
    let root = TempRoot::new();
    root.write("secret", b"x");
    root.write("open", b"y");
    chown(root.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    for (name, mode) in [("secret", 0o600), ("open", 0o644)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(root.path().join(name), permissions).unwrap();
    }
    let listen = format!("127.0.0.1:{}", low_port());
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
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        threads += 1;
        for id in ["Uid", "Gid"] {
            assert!(status.contains(&format!("\n{id}:\t{ids}")), "{status}");
        }
        assert!(status.contains("\nGroups:\t \n"), "{status}");
        assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    }
    assert!(threads > 3, "the first, those of signals and of listeners, and the session's");
}

#[test]
fn only_root_can_become_somebody_else_hp_25() {
    let Some(setpriv) = Peer::find("setpriv").filter(|_| is_root()) else { return };
    let root = TempRoot::new();
    // Where the program was built, nobody may have no business.
    let program = root.path().join("ftp-cli");
    std::fs::copy(env!("CARGO_BIN_EXE_ftp-cli"), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let as_nobody = |run_as: &str| {
        let mut command = setpriv.command();
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command.args(["serve", "--listen", "0", "--set", run_as]).arg(root.path());
        command
    };
    let ran = run(&mut as_nobody("security.run_as=daemon"));
    failed(&ran, 2, "cannot run as daemon");
    // Who is it already has nothing to give up.
    let served = Served::of(&mut as_nobody("security.run_as=nobody"));
    RawSession::login(served.address, "anonymous", "me").expect_in_step();
}

#[test]
fn root_without_another_user_is_warned_once() {
    if !is_root() {
        return;
    }
    let served = Served::start(&TempRoot::new(), &[]);
    assert_eq!(served.said().matches("running as root").count(), 1, "{}", served.said());
}
