//! `hooks.stored`: a program that runs for each stored file. [`notices`] and [`trouble`] are about
//! `hooks.program`, which gets each event, [`spool`] about what is left when a server ends, and
//! [`check`] about `hooks.check`, which accepts or refuses a file before it has its name.

mod check;
pub(crate) mod notices;
mod spool;
mod trouble;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};

use crate::ftp;
use crate::serve::Served;

/// Starts `serve` with a shell script as its hook; the argument of the script is its output
/// directory.
fn served(root: &TempRoot, notes: &TempRoot, script: &str, more: &[&str]) -> Served {
    let (here, notes) = (notes.path(), notes.path().to_str().unwrap());
    let set = format!("hooks.stored=[\"/bin/sh\", \"-c\", '{script}', \"sh\", \"{notes}\"]");
    let mut serve = ftp(&["serve", "--listen", "0", "--write", "--user", "u:p", "--set", &set]);
    serve.env("FTP_PASSWORD", "secret").env("PATH", "/usr/bin:/bin").env("TMPDIR", here);
    Served::of(serve.args(more).arg(root.path()))
}

/// Returns the output of the hook in `name`, once it is complete: the hook writes it under another
/// name first.
fn note(notes: &TempRoot, name: &str) -> String {
    wait_until(name, || notes.join(name).exists());
    fs::read_to_string(notes.join(name)).unwrap()
}

fn said(served: &Served, words: &str) -> String {
    let mut lines = std::iter::from_fn(|| served.log.recv_timeout(LIMIT).ok());
    lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("nothing of {words}"))
}

/// Returns whether a process exists, without zombies.
pub(crate) fn is_alive(process: &str) -> bool {
    let state = fs::read_to_string(Path::new("/proc").join(process).join("status"));
    state.is_ok_and(|state| !state.contains("State:\tZ"))
}

/// A script that records its environment and its process status.
const NOTE: &str = "fds=$(echo $(ls /proc/self/fd)); \
                    cd $1; { env | grep ^FTP_ | sort; grep NoNewPrivs /proc/self/status; \
                    echo $fds; cut -d\" \" -f5 /proc/$$/stat; echo $$; } >$$.new; \
                    mv $$.new \"$(basename \"$FTP_PATH\")\"";

#[test]
fn a_hook_gets_the_upload_details_and_is_not_confined() {
    let Some(curl) = Peer::find("curl") else { return };
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    root.write("old", b"x");
    fs::create_dir(root.join("dir")).unwrap();
    let served = served(&root, &notes, NOTE, &[]);
    let local = notes.write("content", b"12345");
    let mut command = curl.command();
    command.args(["--silent", "--show-error", "--max-time", "60", "-T"]).arg(&local);
    let url = served.url("u:p@", "dir/a%20%24(id)");
    run(command.arg(url)).succeeded();
    let found = note(&notes, "a $(id)");
    let local = root.join("dir/a $(id)");
    let (_, id) = found.split_once("FTP_ID=").unwrap();
    let (id, _) = id.split_once('\n').unwrap();
    assert!(id.len() > 16, "{id}");
    let told = format!(
        "FTP_BYTES=5\nFTP_ID={id}\nFTP_LOCAL_PATH={}\nFTP_PATH=/dir/a $(id)\nFTP_PEER=127.0.0.1\nFTP_USER=u\n",
        local.display()
    );
    let (facts, rest) = found.split_at(told.len());
    assert_eq!(facts, told, "{found}");
    let mut rest = rest.lines();
    assert_eq!(rest.next(), Some("NoNewPrivs:\t0"));
    // The hook has only the descriptors that every child of this test has.
    let mut plain = Command::new("/bin/sh");
    let plain = run(plain.args(["-c", "echo $(ls /proc/self/fd)"])).succeeded();
    assert_eq!(rest.next().map(str::as_bytes), plain.strip_suffix(b"\n"));
    let ids: Vec<&str> = rest.collect();
    assert!(
        matches!(&ids[..], [group, process] if group == process),
        "a group of its own: {ids:?}"
    );

    // No hook for files that were not stored: downloads, refused and interrupted uploads.
    let mut session = RawSession::login(served.address, "u", "p");
    assert_eq!(session.download("RETR old"), b"x");
    let mut data = session.passive();
    session.expect("STOR cut", 150);
    data.write_all(b"half");
    session.expect("ABOR", 426);
    session.expect_reply(226);
    drop(data);
    session.upload("APPE old", b"y");
    let found = note(&notes, "old");
    assert!(found.starts_with("FTP_BYTES=1\n"), "{found}");
    session.upload("STOR last", b"");
    note(&notes, "last");
    assert!(!notes.join("cut").exists());
}

#[test]
fn a_hanging_hook_is_killed_and_delays_no_session() {
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let script = "cd $1; sleep 600 & echo $$ $! >$$.new; mv $$.new ${FTP_PATH#/}; wait";
    let served = served(&root, &notes, script, &["--set", "hooks.timeout=1 s"]);
    let mut session = RawSession::login(served.address, "u", "p");
    at_last("a hook that wrote its note in time", || {
        // More than can run at a time.
        for number in 0..6 {
            session.upload(format!("STOR {number}"), b"x");
        }
        session.expect_in_step();
        for number in 0..6 {
            let line = said(&served, "hooks.stored: ");
            let want = "hooks.stored: /bin/sh for /";
            assert!(
                line.contains(want) && line.ends_with(" of u: killed after 1 s"),
                "{number}: {line}"
            );
        }
        let note = |number: i32| fs::read_to_string(notes.join(number.to_string())).ok();
        let noted: Vec<String> = (0..6).filter_map(note).collect();
        let pids = || noted.iter().flat_map(|pids| pids.split_whitespace());
        wait_until("the end of all", || !pids().any(is_alive));
        (!noted.is_empty()).then_some(())
    });
}

#[test]
fn a_failed_or_missing_hook_is_logged() {
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let served = served(&root, &notes, "exit 3", &[]);
    RawSession::login(served.address, "u", "p").upload("STOR a", b"x");
    let line = said(&served, "hooks.stored: ");
    assert!(line.ends_with("hooks.stored: /bin/sh for /a of u: exit status: 3"), "{line}");

    let set = "hooks.stored=[\"/proc/none/hook\"]";
    let served = Served::start(&root, &["--write", "--user", "u:p", "--set", set]);
    let mut session = RawSession::login(served.address, "u", "p");
    session.upload("STOR a", b"x");
    let line = said(&served, "hooks.stored: ");
    let want = "/proc/none/hook for /a of u: No such file or directory";
    assert!(line.ends_with(want), "{line}");
    session.upload("STOR b", b"x");
    said(&served, "/proc/none/hook for /b of u: ");
}

#[test]
fn shutdown_waits_for_hooks_and_then_kills_them() {
    let hangs = "cd $1; echo $$ >$$; mv $$ done; sleep 600";
    for (script, grace, kills, signals) in [
        ("cd $1; sleep 0.3; echo x >$$; mv $$ done", "30 s", false, 1),
        (hangs, "100 ms", true, 1),
        (hangs, "10 min", true, 2),
    ] {
        let (root, notes) = (TempRoot::new(), TempRoot::new());
        let set = format!("timeouts.shutdown_grace={grace}");
        let mut served = served(&root, &notes, script, &["--set", &set]);
        RawSession::login(served.address, "u", "p").upload("STOR a", b"x");
        if kills {
            note(&notes, "done");
        }
        served.signal("TERM");
        if signals > 1 {
            // Two pending signals count as one.
            wait_until("the listener to close", || TcpStream::connect(served.address).is_err());
            served.signal("TERM");
        }
        let status = served.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0));
        let noted = fs::read_to_string(notes.join("done")).unwrap();
        if kills {
            said(&served, "killed: the server is stopping");
            wait_until("its end", || !is_alive(noted.trim()));
        }
    }
}

#[test]
fn sighup_changes_the_hook() {
    let (root, here) = (TempRoot::new(), TempRoot::new());
    let text = |name: &str| {
        let (here, root) = (here.path().display(), root.path().display());
        format!(
            "[anonymous]\nenabled = true\nroot = \"{root}\"\nrights = \"drop-box\"\n[hooks]\n\
             stored = [\"/bin/sh\", \"-c\", \"echo \\\"$FTP_USER $FTP_LOCAL_PATH\\\" >{here}/{name}.new; \
             mv {here}/{name}.new {here}/{name}\"]\n"
        )
    };
    let config = here.write("server.toml", text("first").as_bytes());
    let mut serve = ftp(&["serve", "--listen", "0", "--config", config.to_str().unwrap()]);
    let served = Served::of(serve.env("PATH", "/usr/bin:/bin"));
    // Also for a session that began before.
    let mut session = RawSession::login(served.address, "ftp", "x");
    session.upload("STOR a", b"x");
    let path = |name| root.join(name).display().to_string();
    assert_eq!(note(&here, "first"), format!("ftp {}\n", path("a")));
    here.write("server.toml", text("second").as_bytes());
    served.signal("HUP");
    said(&served, "changed: hooks.stored");
    session.upload("STOR b", b"x");
    assert_eq!(note(&here, "second"), format!("ftp {}\n", path("b")));
}

#[test]
fn a_hook_runs_as_the_user_of_the_server_hp_25() {
    const NOBODY: u32 = 65_534;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    for directory in [&root, &notes] {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let script = "cd $1; { id -u; id -G; } >$$; mv $$ done";
    let served = served(&root, &notes, script, &["--set", "security.run_as=nobody"]);
    RawSession::login(served.address, "u", "p").upload("STOR a", b"x");
    assert_eq!(note(&notes, "done"), "65534\n65534\n");
}
