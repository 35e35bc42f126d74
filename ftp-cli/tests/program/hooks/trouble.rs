//! `hooks.program` in trouble: it hangs, fails or floods, there are too many events, the server
//! stops. No transfer waits for it, and no event gets lost without a word.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use ftp_tests::process::{LIMIT, run};
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};

use super::notices::{Noticed, SEE, documented, field};
use super::{is_alive, said};

/// Starts a server whose events that are not handled go to a directory; `start` adds the settings.
fn with_letters(script: &str, events: &str, more: &[&str]) -> (Noticed, PathBuf) {
    let here = TempRoot::in_memory();
    let letters = here.mkdir("letters");
    let set = format!("hooks.dead_letters={}", letters.display());
    let more = [more, &["--set", &set]].concat();
    (Noticed::with(TempRoot::new(), here, script, events, &more), letters)
}

/// Returns the files of events in the order of their names, with their content. A name that begins
/// with a dot is temporary.
fn kept(letters: &Path) -> Vec<(String, String)> {
    let names = fs::read_dir(letters).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let read = |name: String| {
        let json = fs::read_to_string(letters.join(&name)).unwrap();
        assert!(name.ends_with(".json") && json.ends_with("}\n"), "{name}: {json}");
        (name, json)
    };
    names.into_iter().map(read).collect()
}

/// Uploads and downloads meanwhile.
fn transfers_work(noticed: &Noticed) {
    let content = vec![b'x'; 1_000_000];
    let mut session = noticed.login("w");
    session.upload("STOR large", &content);
    assert!(session.download("RETR large") == content);
    session.expect("QUIT", 221);
}

#[test]
fn a_failing_hook_is_retried_and_then_its_event_is_kept() {
    let script = "echo >>tries; echo broken >&2; echo more >&2; exit 3";
    let (noticed, letters) = with_letters(script, "made", &["--set", "hooks.retries=2"]);
    noticed.login("u").expect("MKD a", 257);
    let line = said(&noticed.served, "hooks.program: ");
    let want = "hook for made of u: exit status: 3: broken; the event is in ";
    assert!(line.contains(want), "{line}");
    let kept = kept(&letters);
    assert!(line.ends_with(&kept[0].0), "{line}");
    assert!(kept[0].0.ends_with("-made.json"), "{}", kept[0].0);
    assert_eq!((field(&kept[0].1, "event"), field(&kept[0].1, "path")), ("mkdir", "/a"));
    assert_eq!(fs::read(noticed.here.join("tries")).unwrap(), b"\n\n\n");
}

#[test]
fn a_hook_that_succeeds_on_retry_keeps_the_event_order() {
    let script = "json=$(cat); case $json in *'\"/a\"'*) \
                  echo >>tries; [ $(wc -l <tries) = 3 ] || exit 1;; esac; \
                  printf '%s\\n' \"$json\" >>seen";
    let (noticed, letters) = with_letters(script, "made", &[]);
    let mut session = noticed.login("u");
    session.expect("MKD a", 257);
    session.expect("MKD b", 257);
    let seen = noticed.seen(2);
    let paths: Vec<&str> = seen.iter().map(|json| field(json, "path")).collect();
    assert_eq!(paths, ["/a", "/b"]);
    assert_eq!(kept(&letters), []);
}

#[test]
fn a_hanging_hook_is_killed_with_its_children() {
    let script = "sleep 600 & echo $! >>pids; echo $$ >>pids; wait";
    let more = ["--set", "hooks.timeout=2 s", "--set", "hooks.retries=1"];
    let (noticed, letters) = with_letters(script, "made", &more);
    let mut session = noticed.login("u");
    let mut events = 0;
    // A run may be killed before it has written both numbers.
    at_last("two runs that wrote in time", || {
        let _none_at_first = fs::remove_file(noticed.here.join("pids"));
        session.expect(format!("MKD {events}"), 257);
        events += 1;
        transfers_work(&noticed);
        let line = said(&noticed.served, "hooks.program: ");
        assert!(line.contains(": killed after 2 s; the event is in "), "{line}");
        let pids = fs::read_to_string(noticed.here.join("pids")).unwrap_or_default();
        wait_until("the end of all", || !pids.split_whitespace().any(is_alive));
        assert_eq!(kept(&letters).len(), events);
        (pids.lines().count() == 4).then_some(())
    });
}

#[test]
fn a_hook_that_floods_output_or_ignores_input_is_harmless() {
    let flood = "yes | head -c 1000000; yes | head -c 1000000 >&2; exit 1";
    let (noticed, letters) = with_letters(flood, "made", &["--set", "hooks.retries=0"]);
    noticed.login("u").expect("MKD a", 257);
    transfers_work(&noticed);
    let line = said(&noticed.served, "hooks.program: ");
    assert!(line.contains("exit status: 1: y; the event is in "), "{line}");
    assert_eq!(kept(&letters).len(), 1);

    let (noticed, letters) = with_letters("exec <&-; echo >>done", "made", &[]);
    let mut session = noticed.login("u");
    (0..3).for_each(|number| drop(session.expect(format!("MKD {number}"), 257)));
    transfers_work(&noticed);
    wait_until("three runs", || {
        fs::read(noticed.here.join("done")).is_ok_and(|it| it == b"\n\n\n")
    });
    session.expect("QUIT", 221);
    assert_eq!(kept(&letters), []);
}

#[test]
fn events_of_a_missing_hook_program_are_kept() {
    let (noticed, letters) = with_letters(SEE, "made", &["--set", "hooks.retries=0"]);
    fs::remove_file(noticed.here.join("hook")).unwrap();
    noticed.login("u").expect("MKD a", 257);
    let line = said(&noticed.served, "hooks.program: ");
    assert!(line.contains("hook for made of u: No such file or directory; "), "{line}");
    assert_eq!(kept(&letters).len(), 1);
}

#[test]
fn events_that_cannot_be_kept_are_logged() {
    let here = TempRoot::new();
    let full = here.mkdir("full");
    File::create(full.join("large")).unwrap().set_len(64 * 1024 * 1024).unwrap();
    let missing = here.join("missing");
    for (directory, why) in [
        (Path::new(""), "hooks.dead_letters is empty"),
        (&missing, "missing: No such file or directory"),
        (&full, "full is full"),
    ] {
        let set = format!("hooks.dead_letters={}", directory.display());
        let more = ["--set", &set, "--set", "hooks.retries=0"];
        let noticed = Noticed::start("exit 1", "made", &more);
        noticed.login("u").expect("MKD a", 257);
        let line = said(&noticed.served, "hooks.program: ");
        let (before, json) = line.split_once("; the event was {").unwrap();
        assert!(before.contains(": exit status: 1; ") && before.ends_with(why), "{line}");
        assert!(json.contains("\"path\":\"/a\",\"hook\":\"made\",\"local_path\":"), "{line}");
    }
}

/// The program waits until it may go.
const GATED: &str = "until [ -e go ] || [ ! -e hook ]; do sleep 0.05; done; json=$(cat); \
                     printf '%s\\n' \"$json\" >>seen";

#[test]
fn each_event_of_a_flood_is_handled_or_kept_or_logged() {
    const EACH: usize = 600;
    for has_letters in [true, false] {
        let sync = ["--set", "transfer.sync=none", "--set", "timeouts.shutdown_grace=500 ms"];
        let (mut noticed, letters) = match has_letters {
            true => with_letters(GATED, "made", &sync),
            false => (Noticed::start(GATED, "made", &sync), PathBuf::new()),
        };
        let mut sessions = ["u", "v"].map(|user| noticed.login(user));
        for number in 0..EACH {
            for (session, user) in sessions.iter_mut().zip(["u", "v"]) {
                session.expect(format!("MKD {user}{number}"), 257);
            }
        }
        // 1,000 wait and two run: the others have no place.
        transfers_work(&noticed);
        let mut lines = Vec::new();
        let lost = 2 * EACH - 1_000 - 2;
        while lines.len() < lost {
            lines.push(said(&noticed.served, "not started: the queue is full"));
        }
        noticed.here.write("go", b"");
        noticed.seen(10);
        noticed.served.signal("TERM");
        let status = noticed.served.running.wait(Instant::now() + LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0));
        let all: Vec<String> = noticed.served.log.iter().collect();
        lines.extend(all.iter().cloned());
        lines.retain(|line| line.contains("hooks.program: "));
        // A reader that pauses for long loses lines, which the log counts.
        let lost_lines = |line: &String| {
            let (before, _) = line.split_once(" lines of the log were lost")?;
            before.rsplit(' ').next()?.parse::<usize>().ok()
        };
        let lost: usize = all.iter().filter_map(lost_lines).sum();
        let json: Vec<String> = match has_letters {
            true => kept(&letters).into_iter().map(|(_, json)| json).collect(),
            false => {
                let logged = lines.iter().filter_map(|line| line.split_once("; the event was "));
                // The events that were queued at the end are still in the spool.
                let spool = all.iter().find_map(|line| line.split_once("with hooks.spool="));
                let spool = fs::read_dir(spool.expect("it names the spool").1).unwrap();
                let queued = spool.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
                logged.map(|(_, json)| json.to_owned()).chain(queued).collect()
            }
        };
        assert!(!has_letters || lines.len() <= json.len() && json.len() <= lines.len() + lost);
        let seen = fs::read_to_string(noticed.here.join("seen")).unwrap();
        let found: BTreeSet<&str> = json
            .iter()
            .map(String::as_str)
            .chain(seen.lines())
            .map(|json| field(json, "path"))
            .collect();
        let kept = json.len() + if has_letters { 0 } else { lost };
        let (most, least) = (2 * EACH, 2 * EACH - (kept - json.len()));
        assert!(
            (least..=most).contains(&found.len()),
            "{} seen, {} kept, {lost} lost",
            seen.lines().count(),
            json.len()
        );
        // One that was killed may have been handled.
        assert!(seen.lines().count() + json.len() <= 2 * EACH + 2);
    }
}

#[test]
fn shutdown_keeps_running_and_queued_events() {
    let grace = ["--set", "timeouts.shutdown_grace=300 ms", "--set", "hooks.processes=1"];
    let (mut noticed, letters) = with_letters("echo >>runs; sleep 600", "made,logout", &grace);
    let mut sessions = ["u", "v"].map(|user| noticed.login(user));
    for session in &mut sessions {
        (0..3).for_each(|number| drop(session.ask(format!("MKD {number}"))));
    }
    wait_until("the first", || noticed.here.join("runs").exists());
    noticed.served.signal("TERM");
    let status = noticed.served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    let kept = kept(&letters);
    let events: Vec<&str> = kept.iter().map(|(_, json)| field(json, "hook")).collect();
    assert_eq!(events, ["made", "made", "made", "logout", "logout"]);
    let lines: Vec<String> = noticed.served.log.iter().collect();
    let count = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count("made of u: killed: the server is stopping; the event is in "), 1);
    assert_eq!(count(": not started: the server is stopping; the event is in "), 4);
}

#[test]
fn a_second_signal_loses_no_event() {
    const EVENTS: usize = 400;
    let more = ["--set", "transfer.sync=none", "--set", "timeouts.shutdown_grace=10 min"];
    let (mut noticed, letters) = with_letters("echo >>runs; sleep 600", "made", &more);
    let mut session = noticed.login("u");
    (0..EVENTS).for_each(|number| drop(session.expect(format!("MKD {number}"), 257)));
    wait_until("the first", || noticed.here.join("runs").exists());
    drop(session);
    noticed.served.signal("TERM");
    wait_until("the listener to close", || TcpStream::connect(noticed.served.address).is_err());
    noticed.served.signal("TERM");
    let status = noticed.served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    let lines: Vec<String> = noticed.served.log.iter().collect();
    let logged = lines.iter().filter_map(|line| line.split_once("; the event was "));
    let mut found: BTreeSet<String> =
        logged.map(|(_, json)| field(json, "path").to_owned()).collect();
    for entry in fs::read_dir(letters).unwrap() {
        let path = entry.unwrap().path();
        // Others were being written when the server ended.
        if path.extension().is_some_and(|extension| extension == "json") {
            found.insert(field(&fs::read_to_string(path).unwrap(), "path").to_owned());
        }
    }
    assert_eq!(found.len(), EVENTS);
}

#[test]
fn a_hanging_stored_hook_does_not_delay_the_event_program_at_shutdown() {
    let more = [
        "--set",
        "hooks.stored=[\"/bin/sleep\", \"600\"]",
        "--set",
        "hooks.retry_delay=1 h",
        "--set",
        "hooks.processes=1",
        "--set",
        "timeouts.shutdown_grace=10 min",
    ];
    let (mut noticed, letters) = with_letters("cat >>runs; exit 1", "stored", &more);
    let runs =
        |noticed: &Noticed| fs::read_to_string(noticed.here.join("runs")).unwrap_or_default();
    noticed.login("u").upload("STOR a", b"x");
    wait_until("the first run", || runs(&noticed).lines().count() == 1);
    // One at a time: when this one runs, the first waits for its second run.
    noticed.login("v").upload("STOR b", b"x");
    wait_until("the run of another user", || runs(&noticed).lines().count() == 2);
    noticed.served.signal("TERM");
    (0..2).for_each(|_| drop(said(&noticed.served, "exit status: 1; the event is in ")));
    noticed.served.signal("TERM");
    let status = noticed.served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(runs(&noticed).lines().filter(|json| field(json, "path") == "/a").count(), 2);
    assert_eq!(kept(&letters).len(), 2);
}

#[test]
fn a_missing_dead_letter_directory_is_logged_at_startup() {
    let missing = ["--set", "hooks.dead_letters=/proc/none/events"];
    let noticed = Noticed::start(SEE, "made", &missing);
    let said = noticed.served.said();
    assert!(said.contains("hooks.dead_letters: /proc/none/events is not a directory"), "{said}");
}

#[test]
fn shutdown_does_not_wait_for_retries() {
    let script = "echo >>runs; exit 1";
    let (mut noticed, letters) = with_letters(script, "made", &["--set", "hooks.retry_delay=1 h"]);
    let mut session = noticed.login("u");
    session.expect("MKD a", 257);
    session.expect("MKD b", 257);
    at_last("the first run", || fs::read(noticed.here.join("runs")).ok());
    drop(session);
    noticed.served.signal("TERM");
    let status = noticed.served.running.wait(Instant::now() + LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(kept(&letters).len(), 2);
}

#[test]
fn dead_letters_are_replayed_as_documented() {
    let script = "[ -e ready ] || exit 1; json=$(cat); \
                  case $json in *'\"/c\"'*) [ -e again ] || exit 1;; esac; \
                  printf '%s\\n' \"$json\" >>seen";
    let (noticed, letters) = with_letters(script, "made", &["--set", "hooks.retries=0"]);
    let mut session = noticed.login("u");
    for name in ["a", "b", "c", "d"] {
        session.expect(format!("MKD {name}"), 257);
    }
    wait_until("all letters", || kept(&letters).len() == 4);
    let replay = documented("/usr/local/bin/replay-events")
        .replace("/usr/local/bin/post-event", noticed.here.join("hook").to_str().unwrap())
        .replace("/var/lib/ftp-cli/events", letters.to_str().unwrap());
    let replays = || run(Command::new("/bin/sh").args(["-c", &replay])).code();
    for (file, code, paths) in
        [("ready", 1, &["/a", "/b"][..]), ("again", 0, &["/a", "/b", "/c", "/d"])]
    {
        noticed.here.write(file, b"");
        assert_eq!(replays(), Some(code));
        let seen = noticed.seen(paths.len());
        let found: Vec<&str> = seen.iter().map(|json| field(json, "path")).collect();
        assert_eq!(found, paths);
        assert_eq!(kept(&letters).len(), 4 - paths.len());
    }
    assert_eq!(replays(), Some(0));
}
