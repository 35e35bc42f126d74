//! `hooks.check`: a program that accepts or refuses each upload before the file gets its name.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

use super::{is_alive, said};
use crate::ftp;
use crate::serve::Served;

/// A script that decides by the content. It notes which files it has accepted, and each one that has
/// its name too early, that is not hidden, or that another user could read.
const DECIDE: &str = r#"cd $1; content=$(cat; echo .); content=${content%.};
    case ${FTP_FILE##*/} in .ftp-upload-*) ;; *) echo "$FTP_FILE" >>wrong;; esac;
    test "$(stat -c %a "$FTP_FILE")" = 600 || echo "mode of $FTP_FILE" >>wrong;
    test "$(cat "$FTP_FILE"; echo .)" = "$content." || echo "content of $FTP_FILE" >>wrong;
    test "$FTP_BYTES" = ${#content} || echo "$FTP_BYTES bytes, not ${#content}" >>wrong;
    grep -q "NoNewPrivs:.0" /proc/self/status || echo confined >>wrong;
    case $content in
        *EICAR*) test -e "$FTP_LOCAL_PATH" && test "$(cat "$FTP_LOCAL_PATH")" != old && echo early >>wrong;
            printf "stream: Eicar-Signature FOUND\nsecond line\n"; exit 1;;
        *silent*) exit 1;;
        *later*) exit 75;;
        *broken*) echo "no database" >&2; exit 2;;
        *hang*) echo $$ >pid; sleep 600;;
    esac;
    printf "%s %s %s\n" "$FTP_USER" "$FTP_PATH" "$FTP_PEER" >>accepted"#;

/// Starts `serve` with a shell script as `hooks.check`; the argument of the script is its output
/// directory.
fn served(root: &TempRoot, notes: &TempRoot, script: &str, more: &[&str]) -> Served {
    let script = notes.write("check.sh", script.as_bytes());
    let (script, notes) = (script.to_str().unwrap(), notes.path().to_str().unwrap());
    let set = format!("hooks.check=[\"/bin/sh\", \"{script}\", \"{notes}\"]");
    let mut serve = ftp(&["serve", "--listen", "0", "--write", "--user", "u:p", "--set", &set]);
    Served::of(serve.args(more).arg(root.path()))
}

/// The test file of virus scanners, in parts so that no scanner takes this source for it.
fn eicar() -> String {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

/// Sends `verb` with `content`, and returns the last reply.
fn sent(session: &mut RawSession, verb: &str, content: &str) -> String {
    let mut data = session.passive();
    session.expect(verb, 150);
    data.write_all(content.as_bytes());
    data.close();
    session.reply().text()
}

fn published(root: &TempRoot) -> Vec<String> {
    let names = root.published().into_iter();
    names.map(|name| String::from_utf8(name).unwrap()).collect()
}

#[test]
fn a_check_decides_before_a_file_has_its_name_hf_20() {
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let served = served(&root, &notes, DECIDE, &["--set", "hooks.check_timeout=2 s"]);
    let mut session = RawSession::login(served.address, "u", "p");
    session.expect("TYPE I", 200);
    let eicar = eicar();
    for (content, want) in [
        ("good", "226 Transfer complete"),
        ("", "226 Transfer complete"),
        (&*eicar, "550 stream: Eicar-Signature FOUND"),
        ("silent", "550 Content refused"),
        ("later", "450 Content cannot be checked now, try again later"),
        ("broken", "451 Local error"),
        ("hang", "450 Content cannot be checked now, try again later"),
    ] {
        // A refused upload leaves its record, so each case has its own names.
        let (old, grown) = (format!("old {}", content.len()), format!("grown {}", content.len()));
        for verb in
            ["STOR new", &*format!("STOR {old}"), &*format!("APPE {grown}"), "APPE absent", "STOU"]
        {
            for name in [&old, &grown] {
                root.write(name, b"old");
            }
            let got = sent(&mut session, verb, content);
            assert_eq!(got.trim_end(), want, "{verb} {content}");
            let is_stored = want.starts_with("226");
            let expected = |name: &str, new: String| match verb.ends_with(name) && is_stored {
                true => new,
                false => "old".to_owned(),
            };
            for (name, new) in [(&old, content.to_owned()), (&grown, format!("old{content}"))] {
                let found = fs::read_to_string(root.join(name)).unwrap();
                assert_eq!(found, expected(name, new), "{verb} {content}");
                fs::remove_file(root.join(name)).unwrap();
            }
            let made = published(&root);
            let is_new = ["STOR new", "APPE absent", "STOU"].contains(&verb) && is_stored;
            assert_eq!(made.len(), usize::from(is_new), "{verb} {content}: {made:?}");
            made.iter().for_each(|name| fs::remove_file(root.join(name)).unwrap());
        }
    }
    assert_eq!(fs::read_to_string(notes.join("wrong")).unwrap_or_default(), "");
    let accepted = fs::read_to_string(notes.join("accepted")).unwrap();
    assert_eq!(accepted.lines().count(), 10);
    assert!(accepted.starts_with("u /new 127.0.0.1\n"), "{accepted}");
    let why = said(&served, "hooks.check: /bin/sh for u: ");
    assert!(why.ends_with("exit status: 2: no database"), "{why}");
    said(&served, "hooks.check: /bin/sh for u: no answer within 2 s");
}

#[test]
fn clients_hear_why_a_file_is_refused_hf_20() {
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let served = served(&root, &notes, DECIDE, &[]);
    let bad = notes.write("bad", eicar().as_bytes());
    let bad = bad.to_str().unwrap();
    let url = served.url("u:p@", "");
    let mut commands = vec![ftp(&["put", bad, &format!("{url}bad")])];
    if let Some(curl) = Peer::find("curl") {
        let mut command = curl.command();
        command.args(["-v", "--max-time", "60", "-T", bad, &url]);
        commands.push(command);
    }
    if let Some(lftp) = Peer::find("lftp") {
        let mut command = lftp.command();
        let script = format!("set net:max-retries 2; set cmd:fail-exit yes; open {url}; put {bad}");
        command.args(["-c", &script]);
        commands.push(command);
    }
    for command in &mut commands {
        let ended = run(command);
        assert!(ended.status.is_some_and(|status| !status.success()), "{command:?}");
        let said = [ended.stdout.clone(), ended.stderr.clone()].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("Eicar-Signature FOUND"), "{command:?}: {said}");
        assert_eq!(published(&root), [""; 0], "{command:?}");
    }
    assert!(!notes.join("accepted").exists());
}

#[test]
fn two_hundred_uploads_wait_for_a_slow_check_hf_20() {
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let script = r#"sleep 0.1; test -e "$FTP_LOCAL_PATH" && echo early >>$1/wrong; echo "$FTP_PATH" >>$1/accepted"#;
    let more = ["--set", "hooks.check_timeout=2 s", "--set", "limits.per_address=0"];
    let served = served(&root, &notes, script, &more);
    let uploads: Vec<_> = (0..200)
        .map(|number| {
            let address = served.address;
            thread::spawn(move || {
                let mut session = RawSession::login(address, "u", "p");
                sent(&mut session, &format!("STOR {number}"), "x")
            })
        })
        .collect();
    let replies: Vec<String> = uploads.into_iter().map(|upload| upload.join().unwrap()).collect();
    let accepted: BTreeSet<String> = fs::read_to_string(notes.join("accepted"))
        .unwrap_or_default()
        .lines()
        .map(|path| path.trim_start_matches('/').to_owned())
        .collect();
    let (mut stored, mut later) = (BTreeSet::new(), 0);
    for (number, reply) in replies.iter().enumerate() {
        match &reply[..3] {
            "226" => drop(stored.insert(number.to_string())),
            "450" => later += 1,
            _ => panic!("{number}: {reply}"),
        }
    }
    // Four at a time, of a tenth of a second each: in two seconds there are at most 80.
    assert!(!stored.is_empty() && later > 0, "{} stored, {later} later", stored.len());
    assert_eq!(published(&root).into_iter().collect::<BTreeSet<_>>(), stored);
    assert!(accepted.is_superset(&stored));
    assert!(!notes.join("wrong").exists());
}

#[test]
fn an_upload_that_is_given_up_ends_its_check_hf_20() {
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let served = served(&root, &notes, DECIDE, &["--set", "hooks.check_timeout=10 min"]);
    for act in ["ABOR", "the client's end"] {
        let mut session = RawSession::login(served.address, "u", "p");
        let mut data = session.passive();
        session.expect("STOR f", 150);
        data.write_all(b"hang");
        data.close();
        wait_until("the check runs", || notes.join("pid").exists());
        wait_until("it has written its number", || {
            fs::read_to_string(notes.join("pid")).is_ok_and(|pid| pid.ends_with('\n'))
        });
        let pid = fs::read_to_string(notes.join("pid")).unwrap();
        assert_eq!(published(&root), [""; 0]);
        if act == "ABOR" {
            let start = Instant::now();
            session.expect("ABOR", 426);
            session.expect_reply(226);
            assert!(start.elapsed() < Duration::from_secs(30), "it waits for the check");
        }
        drop(session);
        wait_until("the check is killed", || !is_alive(pid.trim()));
        fs::remove_file(notes.join("pid")).unwrap();
        assert_eq!(published(&root), [""; 0], "{act}");
    }
}

#[test]
fn a_check_that_cannot_run_refuses_every_upload_hf_20() {
    let root = TempRoot::new();
    let set = "hooks.check=[\"/proc/none/check\"]";
    let mut serve = ftp(&["serve", "--listen", "0", "--write", "--user", "u:p", "--set", set]);
    let served = Served::of(serve.arg(root.path()));
    let mut session = RawSession::login(served.address, "u", "p");
    assert_eq!(sent(&mut session, "STOR f", "x").trim_end(), "451 Local error");
    let why = said(&served, "hooks.check: ");
    assert!(why.ends_with("/proc/none/check for u: No such file or directory"), "{why}");
    assert_eq!(published(&root), [""; 0]);
}

/// An append replaces the file with the whole content, so what another program adds meanwhile is not
/// lost: the append is refused.
#[test]
fn an_append_that_is_checked_loses_no_bytes_of_others_hf_20() {
    let (root, notes) = (TempRoot::new(), TempRoot::new());
    let script = r#"test -e "$1/add" || exit 0; rm "$1/add"; echo other >>"$FTP_LOCAL_PATH""#;
    let served = served(&root, &notes, script, &[]);
    let mut session = RawSession::login(served.address, "u", "p");
    for old in ["", "old\n"] {
        root.write("log", old.as_bytes());
        notes.write("add", b"");
        let refused = sent(&mut session, "APPE log", "mine\n");
        assert!(refused.starts_with("451 "), "{refused}");
        assert_eq!(fs::read_to_string(root.join("log")).unwrap(), format!("{old}other\n"));
        let stored = sent(&mut session, "APPE log", "mine\n");
        assert!(stored.starts_with("226 "), "{stored}");
        let want = format!("{old}other\nmine\n");
        assert_eq!(fs::read_to_string(root.join("log")).unwrap(), want);
    }
}
