//! `[users.NAME.mounts]`: directories of the disk in a user's tree.

use std::fs;
use std::path::Path;

use ftp_tests::peer::Peer;
use ftp_tests::process::{Ran, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use super::{Configured, log_until};
use crate::serve::Served;
use crate::{failed, ftp};

/// A server directory whose user `u` has the directory `shared` at `/pub`, a directory named after
/// the user at `/mine`, and one that is missing at `/usb`.
struct Mounted {
    configured: Configured,
    shared: TempRoot,
}

impl Mounted {
    fn new(more: &str) -> Self {
        let mounted = Self { configured: Configured::new(""), shared: TempRoot::new() };
        mounted.configured.root.write("file", b"own");
        mounted.shared.write("a", b"shared");
        fs::create_dir_all(mounted.shared.join("of/u")).unwrap();
        mounted.shared.write("of/u/mine", b"mine");
        mounted.write(more);
        mounted
    }

    fn write(&self, more: &str) {
        let shared = self.shared.path().to_str().unwrap();
        let text = format!(
            "
[users.u]
password = \"HASH\"
root = \"ROOT\"
rights = \"full\"
{more}
[users.u.mounts]
\"/pub\" = \"SHARED\"
\"/team/mine\" = \"SHARED/of/%u\"
\"/usb\" = \"SHARED/usb\"
"
        );
        self.configured.write(&text.replace("SHARED", shared));
    }

    fn login(served: &Served) -> RawSession {
        let mut session = RawSession::login(served.address, "u", "p");
        session.expect("TYPE I", 200);
        session
    }
}

#[test]
fn a_user_has_several_directories_in_one_tree() {
    let mounted = Mounted::new("directories = { \"/team/mine\" = \"read\" }");
    let shared = mounted.shared.path().to_str().unwrap();
    let check = mounted.configured.check(&["--listen", "127.0.0.1:0"]).succeeded();
    let said = String::from_utf8(check).unwrap();
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for want in [
        format!(
            "users.u.mounts = {{ \"/pub\" = \"{shared}\", \"/team/mine\" = \"{shared}/of/u\", \
             \"/usb\" = \"{shared}/usb\" }} # server.toml:7"
        ),
        format!(
            "warn user u: mounts: \"/usb\": {shared}/usb: No such file or directory; \
             clients get 450 there"
        ),
        format!(
            "warn user u: mounts: \"/team/mine\": {shared}/of/u lies in {shared}: clients can \
             rename the inner directory; use directories that do not contain each other"
        ),
    ] {
        assert!(said.lines().any(|line| squeezed(line) == want), "no {want} in\n{said}");
    }
    assert!(!said.contains("directories: \"/team/mine\""), "{said}");
    let set = "users.u.mounts={ '/pub' = '/usr', '/c' = '/tmp/a=b' }";
    let check = mounted.configured.check(&["--listen", "127.0.0.1:0", "--set", set]).succeeded();
    let said = String::from_utf8(check).unwrap();
    let want = "users.u.mounts = { \"/c\" = \"/tmp/a=b\", \"/pub\" = \"/usr\" } # --set";
    assert!(said.lines().any(|line| squeezed(line) == want), "no {want} in\n{said}");

    let served = mounted.configured.serve();
    let said = served.said();
    let unavailable = "/usb: cannot be mounted in users' trees: No such file or directory\n";
    assert!(said.contains(unavailable), "{said}");
    let mut session = Mounted::login(&served);
    let unavailable = format!("u: /usb is unavailable: {shared}/usb: No such file or directory");
    log_until(&served, &unavailable);
    let names = String::from_utf8(session.download("NLST")).unwrap();
    let mut names: Vec<_> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["file", "pub", "team", "usb"]);
    session.upload("STOR pub/new", b"new");
    assert_eq!(mounted.shared.read("new"), b"new");
    assert_eq!(session.download("RETR team/mine/mine"), b"mine");
    let _data = session.passive();
    session.expect("STOR team/mine/new", 550);
    assert_eq!(session.expect("CWD usb", 450).text(), "450 Not available");
    // A disk that is connected later is there for the next login.
    fs::create_dir(mounted.shared.join("usb")).unwrap();
    session.expect("CWD usb", 450);
    let mut later = Mounted::login(&served);
    later.upload("STOR usb/new", b"on the disk");
    assert_eq!(mounted.shared.read("usb/new"), b"on the disk");
}

#[test]
fn overlapping_mounts_cause_a_warning() {
    let more = "max_files = 100\n\
                directories = { \"/team\" = \"read\", \"/usb/sub\" = \"read\" }";
    let mounted = Mounted::new(more);
    let configured = &mounted.configured;
    let elsewhere = TempRoot::new();
    let above = elsewhere.path().to_str().unwrap();
    let root = elsewhere.mkdir("root");
    let root = root.to_str().unwrap();
    let set_root = format!("users.u.root={root}");
    fs::create_dir(elsewhere.join("root/in")).unwrap();
    let mounts = format!(
        "users.u.mounts={{ '/same' = '{root}', '/above' = '{above}', '/in' = '{root}/in', '/usb' = '/no/usb' }}"
    );
    let check = ["--listen", "127.0.0.1:0", "--set", &set_root, "--set", &mounts];
    let said = String::from_utf8(configured.check(&check).succeeded()).unwrap();
    let late = "overlaps the root: files stored through the mount count towards the quota only \
                after the next daily count";
    let renamed = "clients can rename the inner directory; \
                   use directories that do not contain each other";
    for want in [
        format!("user u: mounts: \"/same\": {root} {late}"),
        format!("user u: mounts: \"/above\": {above} {late}"),
        format!("user u: mounts: \"/in\": {root}/in {late}"),
        format!("user u: mounts: \"/in\": {root}/in lies in {above}: {renamed}"),
        format!("user u: root: {root} lies in {above}: {renamed}"),
    ] {
        assert!(said.contains(&want), "no {want} in\n{said}");
    }
    // A mount that is missing is told, but not a rule for it.
    assert!(said.contains("mounts: \"/usb\": /no/usb: No such file"), "{said}");
    assert!(!said.contains("directories: \"/usb/sub\""), "{said}");
}

#[test]
fn serving_the_whole_disk_is_refused_hp_27() {
    let configured = Mounted::new("").configured;
    let check = ["--listen", "127.0.0.1:0", "--set", "users.u.rights=read", "--set"];
    for (set, want) in [
        (
            "users.u.mounts={ '/disk' = '/' }",
            "fail user u: mounts: \"/disk\": / contains a file of the server, ",
        ),
        ("users.u.root=/", "fail user u: / contains a file of the server, "),
    ] {
        let ran = configured.check(&[&check[..], &[set]].concat());
        ran.exited(2);
        let said = String::from_utf8(ran.stdout).unwrap();
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.lines().any(|line| squeezed(line).starts_with(want)), "{want}\n{said}");
    }
    // Its memory is there even if no file of the server is.
    let ran = run(&mut ftp(&["serve", "--listen", "127.0.0.1:0", "/"]));
    failed(&ran, 2, "/ contains a file of the server, /proc/self/mem (the server's memory)");
}

#[test]
fn the_quota_applies_to_the_root_and_not_to_mounts_hp_23() {
    let mounted = Mounted::new("quota = \"8 KiB\"\nmax_files = 2");
    let served = mounted.configured.serve();
    let mut session = Mounted::login(&served);
    session.upload("STOR pub/large", &[b'x'; 10_000]);
    session.upload("STOR second", b"x");
    let _data = session.passive();
    session.expect("STOR third", 552);
    session.expect("MKD pub/d", 257);
    let quota = session.expect("SITE QUOTA", 211).text();
    assert_eq!(quota, "211-Quota:\n Bytes: 4 of 8192\n Files: 2 of 2\n211 End");
    session.expect("CWD pub", 250);
    assert_eq!(session.expect("SITE QUOTA", 200).text(), "200 No quota here");
}

#[test]
fn new_sessions_have_the_mounts_of_a_reload() {
    let mounted = Mounted::new("");
    let served = mounted.configured.serve();
    let mut before = Mounted::login(&served);
    let other = TempRoot::new();
    other.write("b", b"other");
    let text = fs::read_to_string(mounted.configured.here.join("server.toml")).unwrap();
    let shared = mounted.shared.path().to_str().unwrap();
    let new = text.replace(
        &format!("\"/pub\" = \"{shared}\""),
        &format!("\"/pub\" = \"{}\"", other.path().display()),
    );
    assert_ne!(new, text);
    mounted.configured.here.write("server.toml", new.as_bytes());
    served.signal("HUP");
    log_until(&served, "changed: users");
    assert_eq!(before.download("RETR pub/a"), b"shared");
    let mut after = Mounted::login(&served);
    after.expect("SIZE pub/a", 550);
    assert_eq!(after.download("RETR pub/b"), b"other");
}

#[test]
fn hooks_get_the_path_on_the_disk() {
    let notes = TempRoot::new();
    let script = "echo \"$FTP_PATH $FTP_LOCAL_PATH\" >\"$1/new\" && mv \"$1/new\" \"$1/note\"";
    let notes_path = notes.path().display();
    let set = format!("hooks.stored=[\"/bin/sh\", \"-c\", '{script}', \"sh\", \"{notes_path}\"]");
    let mounted = Mounted::new("");
    let served = Served::of(&mut mounted.configured.command(&["--listen", "0", "--set", &set]));
    let mut session = Mounted::login(&served);
    session.upload("STOR team/mine/new", b"new");
    wait_until("the note", || notes.join("note").exists());
    let local = mounted.shared.join("of/u/new");
    assert_eq!(notes.read("note"), format!("/team/mine/new {}\n", local.display()).as_bytes());
}

#[test]
fn curl_and_lftp_see_one_tree() {
    let mounted = Mounted::new("");
    fs::create_dir(mounted.shared.join("usb")).unwrap();
    let served = mounted.configured.serve();
    if let Some(curl) = Peer::find("curl") {
        let curl = |path: &str, more: &[&str]| {
            let mut command = curl.command();
            command.args(["--silent", "--show-error", "--max-time", "60"]).args(more);
            run(command.arg(served.url("u:p@", path))).succeeded()
        };
        assert_eq!(curl("team/mine/mine", &[]), b"mine");
        let listed = String::from_utf8(curl("", &[])).unwrap();
        assert!(listed.lines().any(|line| line.ends_with(" pub")), "{listed}");
        let local = mounted.configured.here.write("local", b"by curl");
        curl("pub/by-curl", &["-T", local.to_str().unwrap()]);
        assert_eq!(mounted.shared.read("by-curl"), b"by curl");
    }
    let Some(lftp) = Peer::find("lftp") else { return };
    let copy = TempRoot::new();
    let run_lftp = |script: &str| -> Ran {
        let script = format!(
            "set net:max-retries 1; set net:timeout 60; set cmd:fail-exit yes; \
             open -u u,p {}; {script}; bye\n",
            served.url("", "")
        );
        let script = mounted.configured.here.write("script", script.as_bytes());
        let mut command = lftp.command();
        command.env("HOME", copy.path()).current_dir(copy.path());
        run(command.arg("-f").arg(script))
    };
    run_lftp("mirror / all").succeeded();
    let read = |name: &str| copy.read(Path::new("all").join(name).to_str().unwrap());
    assert_eq!(read("file"), b"own");
    assert_eq!(read("pub/a"), b"shared");
    assert_eq!(read("pub/of/u/mine"), b"mine");
    assert_eq!(read("team/mine/mine"), b"mine");
    copy.write("all/pub/new", b"by lftp");
    copy.write("all/usb/new", b"by lftp too");
    run_lftp("mirror -R --delete all /").succeeded();
    assert_eq!(mounted.shared.read("new"), b"by lftp");
    assert_eq!(mounted.shared.read("usb/new"), b"by lftp too");
    assert!(!mounted.configured.root.join("pub").exists());
    // The copy of a disk that is not connected stays.
    fs::rename(mounted.shared.join("usb"), mounted.shared.join("away")).unwrap();
    let ran = run_lftp("mirror --delete / all");
    assert!(ran.status.is_some_and(|status| !status.success()), "{ran:?}");
    assert_eq!(read("usb/new"), b"by lftp too");
}
