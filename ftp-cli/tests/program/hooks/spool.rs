//! `hooks.spool`: whatever ends a server, the next one delivers the events that are left.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use ftp_tests::process::{LIMIT, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};

use super::notices::{Noticed, SEE, field};
use super::said;
use crate::serve::Served;
use crate::{failed, ftp};

/// A program that records the start of each run, and hangs until the end of its test.
const HANG: &str = "cat >>tried; while [ -e hook ]; do sleep 0.1; done";

/// Starts a server with a spool below `here`.
fn start(root: TempRoot, here: TempRoot, script: &str, more: &[&str]) -> (Noticed, PathBuf) {
    let spool = here.join("spool");
    let set = format!("hooks.spool={}", spool.display());
    let more = [&["--set", &set, "--set", "hooks.processes=1"], more].concat();
    (Noticed::with(root, here, script, "stored,made", &more), spool)
}

/// Ends the server with a signal, and returns its directories.
fn end(noticed: Noticed, signal: &str) -> (TempRoot, TempRoot) {
    let Noticed { mut served, root, here } = noticed;
    served.signal(signal);
    served.running.wait(Instant::now() + LIMIT).expect("it ends");
    (root, here)
}

/// Returns the names of the events in a spool.
fn queued(spool: &Path) -> Vec<String> {
    let names = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name != "failed").collect()
}

#[test]
fn a_killed_or_stopped_server_loses_no_event_of_a_hanging_hook_hf_19() {
    for signal in ["KILL", "TERM"] {
        let (root, here) = (TempRoot::new(), TempRoot::new());
        let stored = format!(
            "hooks.stored=[\"/bin/sh\", \"-c\", 'echo \"$FTP_ID $FTP_LOCAL_PATH\" >>{}/stored']",
            here.path().display()
        );
        let hung = stored.replace("echo", "exec sleep 1; echo");
        let more = ["--set", &hung, "--set", "timeouts.shutdown_grace=100 ms"];
        let (noticed, spool) = start(root, here, HANG, &more);
        for user in ["u", "v"] {
            let mut session = noticed.login(user);
            session.upload(format!("STOR {user}1 \"\\"), b"x");
            session.expect(format!("MKD {user}2"), 257);
        }
        wait_until("the first run", || fs::exists(noticed.here.join("tried")).unwrap());
        let taken = noticed.here.join("taken");
        fs::rename(noticed.root.join("u1 \"\\"), taken).unwrap();
        let (root, here) = end(noticed, signal);
        let tried = String::from_utf8(here.read("tried")).unwrap();
        let (noticed, _) = start(root, here, SEE, &["--set", &stored]);
        let seen = noticed.seen(4);
        let ids: BTreeSet<&str> = seen.iter().map(|json| field(json, "id")).collect();
        assert!(ids.contains(field(&tried, "id")), "{tried} {seen:?}");
        for user in ["u", "v"] {
            let of_user = seen.iter().filter(|json| field(json, "user") == user);
            let hooks: Vec<&str> = of_user.map(|json| field(json, "hook")).collect();
            assert_eq!(hooks, ["stored", "made"], "{signal}");
        }
        at_last("the end of the queue", || queued(&spool).is_empty().then_some(()));
        let noted = String::from_utf8(noticed.here.read("stored")).unwrap();
        for user in ["u", "v"] {
            let path = noticed.root.join(format!("{user}1 \"\\"));
            let line = noted.lines().find(|line| line.ends_with(&*path.to_string_lossy()));
            assert!(ids.contains(line.unwrap().split(' ').next().unwrap()), "{noted}");
        }
    }
}

#[test]
fn only_an_upload_that_never_got_its_name_leaves_no_event_hf_19() {
    let (noticed, spool) = start(TempRoot::new(), TempRoot::new(), HANG, &[]);
    noticed.login("u").upload("STOR named", b"x");
    // A later run would be one of the next program with this name.
    wait_until("the first run", || fs::exists(noticed.here.join("tried")).unwrap());
    let (root, here) = end(noticed, "KILL");
    let [name] = &queued(&spool)[..] else { panic!("{:?}", queued(&spool)) };
    let json = fs::read_to_string(spool.join(name)).unwrap();
    fs::remove_file(spool.join(name)).unwrap();
    // As a server leaves it that is killed before or after the upload gets its name.
    let leave = |path: &str, inode: u64, json: &str| {
        let json = json.replace("named", path);
        fs::write(spool.join(format!("{path}-{name}.{inode}-1")), json).unwrap();
    };
    let inode = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
    leave("named", inode("named"), &json);
    root.write(".ftp-upload-0123456789abcdef-hidden.part", b"x");
    leave("hidden", inode(".ftp-upload-0123456789abcdef-hidden.part"), &json);
    leave("taken", u64::MAX, &json);
    leave("torn", u64::MAX, &json[..json.len() / 2]);
    let (noticed, _) = start(root, here, SEE, &[]);
    noticed.login("u").upload("STOR later", b"x");
    let seen = noticed.seen(3);
    let paths: Vec<&str> = seen.iter().map(|json| field(json, "path")).collect();
    assert_eq!(paths, ["/named", "/taken", "/later"]);
    at_last("the end of the queue", || queued(&spool).is_empty().then_some(()));
}

#[test]
fn a_server_killed_at_any_time_has_an_event_for_each_stored_file_hf_19() {
    let (mut root, mut here) = (TempRoot::new(), TempRoot::new());
    let spool = here.join("spool");
    for round in 0..12 {
        let (noticed, _) = start(root, here, SEE, &[]);
        let mut session = noticed.login("u");
        let mut other = noticed.login("v");
        // It panics when the server dies.
        let uploads = thread::spawn(move || {
            (0..1_000_000).for_each(|number| other.upload(format!("STOR v{round}-{number}"), b"x"));
        });
        for number in 0..round {
            session.upload(format!("STOR u{round}-{number}"), b"x");
        }
        (root, here) = end(noticed, "KILL");
        uploads.join().unwrap_err();
    }
    let (noticed, _) = start(root, here, SEE, &[]);
    at_last("the end of the queue", || queued(&spool).is_empty().then_some(()));
    let stored: BTreeSet<String> = noticed
        .root
        .published()
        .into_iter()
        .map(|name| format!("/{}", String::from_utf8(name).unwrap()))
        .collect();
    let seen = noticed.seen(stored.len());
    let seen: BTreeSet<String> = seen.iter().map(|json| field(json, "path").to_owned()).collect();
    assert_eq!(seen, stored);
}

#[test]
fn events_of_a_failing_hook_are_kept_in_the_spool_hf_19() {
    let retries = ["--set", "hooks.retries=0"];
    let (noticed, spool) = start(TempRoot::new(), TempRoot::new(), "exit 1", &retries);
    noticed.login("u").expect("MKD a", 257);
    let line = said(&noticed.served, "exit status: 1; the event is in ");
    let failed = fs::read_dir(spool.join("failed")).unwrap().next().unwrap().unwrap();
    assert!(line.ends_with(&*failed.file_name().to_string_lossy()), "{line}");
    assert_eq!(queued(&spool), [""; 0]);
    // An event that waits for a retry when the server stops is tried again after the next start.
    let (root, here) = end(noticed, "TERM");
    let pause = ["--set", "hooks.retry_delay=1 h"];
    let (noticed, _) = start(root, here, "cat >>tried; exit 1", &pause);
    noticed.login("u").expect("MKD b", 257);
    wait_until("the first run", || fs::exists(noticed.here.join("tried")).unwrap());
    let (root, here) = end(noticed, "TERM");
    let tried = String::from_utf8(here.read("tried")).unwrap();
    let (noticed, _) = start(root, here, SEE, &[]);
    assert_eq!(field(&noticed.seen(1)[0], "id"), field(&tried, "id"));
}

#[test]
fn an_unusable_spool_delays_no_upload_and_loses_no_event_hf_19() {
    let (noticed, spool) = start(TempRoot::new(), TempRoot::new(), SEE, &[]);
    fs::remove_dir_all(&spool).unwrap();
    File::create(&spool).unwrap();
    noticed.login("u").upload("STOR a", b"x");
    let line = said(&noticed.served, "hooks.spool: cannot write ");
    assert!(line.contains("; if the server is killed, this event is lost: {"), "{line}");
    assert_eq!(field(&noticed.seen(1)[0], "path"), "/a");
}

#[test]
fn a_spool_that_others_use_is_refused() {
    let (noticed, spool) = start(TempRoot::new(), TempRoot::new(), SEE, &[]);
    let in_root = noticed.root.join("spool");
    let open = noticed.here.mkdir("open");
    fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    let foreign = noticed.here.mkdir("foreign");
    fs::set_permissions(&foreign, PermissionsExt::from_mode(0o755)).unwrap();
    // Fails, and leaves nothing to refuse, if the tests do not run as root.
    let is_foreign = chown(&foreign, Some(65_534), None).is_ok();
    for (spool, why, is_checked) in [
        (&foreign, "can be changed by other users of this computer; use chmod 700", false),
        (&spool, "is in use by another server; use another directory", false),
        (&in_root, "(hooks.spool); use another directory, or move the file", true),
        (&open, "can be changed by other users of this computer; use chmod 700", true),
    ]
    .into_iter()
    .skip(usize::from(!is_foreign))
    {
        let set = format!("hooks.spool={}", spool.display());
        let hook = "hooks.stored=[\"/bin/true\"]";
        let mut serve = ftp(&["serve", "--listen", "0", "--user", "u:p", "--set", &set]);
        serve.args(["--set", hook]).arg(noticed.root.path());
        let ran = run(&mut serve);
        assert!(ran.code().is_some_and(|code| code > 0), "{ran:?}");
        failed(&ran, ran.code().unwrap(), why);
        let check = run(serve.arg("--check"));
        let found = String::from_utf8_lossy(&check.stdout).into_owned();
        assert_eq!(found.contains(why), is_checked, "{found}");
    }
}

#[test]
fn a_temporary_spool_that_users_would_see_is_refused_at_start_and_reload() {
    let here = TempRoot::new();
    let [top, files] = ["top", "top/files"].map(|name| here.mkdir(name));
    let text = |root: &Path| {
        format!(
            "hooks.stored = [\"/bin/true\"]\n\
             [anonymous]\nenabled = true\nroot = \"{}\"\n",
            root.display()
        )
    };
    let write = |root: &Path| here.write("server.toml", text(root).as_bytes());
    let why = "(hooks.spool); use another directory, or move the file";
    let serve = || {
        let mut serve = ftp(&["serve", "--config", "server.toml", "--listen", "0"]);
        serve.current_dir(here.path()).env("TMPDIR", here.join("top"));
        serve
    };
    write(&top);
    let ran = run(&mut serve());
    failed(&ran, ran.code().unwrap(), why);
    let check = run(serve().arg("--check"));
    let found = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(found.contains(why) && check.code() != Some(0), "{found}");
    assert_eq!(fs::read_dir(&top).unwrap().count(), 1, "it has created nothing");
    // A directory beside the spool is none above it.
    write(&files);
    let mut served = Served::of(&mut serve());
    write(&top);
    served.signal("HUP");
    said(&served, &format!("{why}; configuration unchanged"));
    // The spool stays where it is, even if the new file names another one, or no hook.
    let elsewhere = format!("hooks.spool = \"{}\"\n", here.join("elsewhere").display());
    let shown = text(&top);
    let (hooks, without) = shown.split_once('\n').unwrap();
    for text in [format!("{hooks}\n{elsewhere}{without}"), without.to_owned()] {
        here.write("server.toml", text.as_bytes());
        served.signal("HUP");
        said(&served, &format!("{why}; configuration unchanged"));
    }
    RawSession::login(served.address, "anonymous", "p").expect("CWD files", 550);
    served.signal("TERM");
    assert!(served.running.wait(Instant::now() + LIMIT).is_some(), "it ends");
}
