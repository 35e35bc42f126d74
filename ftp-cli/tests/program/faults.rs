//! The program against servers that do what no server should: every behaviour of the tables of
//! `ftp_tests::hostile`, by `get`, `put` and `ls`. The tables say what the client makes of each;
//! here its exit code has to fit, and what is on disk.
//!
//! Whatever the server does: a run ends in time, by a code of the table and with a sentence;
//! code 0 is for bytes that are all there; and no other leaves anything of the server's under the
//! final name, nor beside it.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ftp_tests::at_once::at_once;
use ftp_tests::hostile::{Behaviour, LENGTH, Played, Server, behaviours, content};
use ftp_tests::process::{Ran, run_with};
use ftp_tests::root::TempRoot;

use crate::ftp;

/// How many runs there are at least, so that none is lost.
const RUNS: usize = 1_900;

/// A limit that a run meets.
const SHORT: &str = "250ms";

/// A limit that no run meets.
const LONG: &str = "90";

/// How long a run may take: many times what it should.
const BOUND: Duration = Duration::from_secs(60);

/// How many are made at a time; nearly all of them wait.
const AT_A_TIME: usize = 8;

/// What each command sends, so that only what it can meet is played.
const COMMON: [&str; 13] = [
    "greeting", "USER", "PASS", "ACCT", "TYPE", "EPSV", "PASV", "EPRT", "PORT", "ABOR", "QUIT",
    "OPTS", "FEAT",
];
const CALLS: [Call; 5] = [
    Call { words: &["get"], verbs: &["RETR", "SIZE"], wants: &["get", "login"] },
    Call { words: &["put"], verbs: &["STOR", "SIZE"], wants: &["put", "put-file", "login"] },
    Call { words: &["ls"], verbs: &["MLSD", "LIST", "NLST"], wants: &["login"] },
    Call { words: &["ls", "--listing=mlsd"], verbs: &["MLSD"], wants: &["entries"] },
    Call { words: &["ls", "--listing=list"], verbs: &["LIST"], wants: &["list"] },
];

#[derive(Clone, Copy)]
struct Call {
    words: &'static [&'static str],
    verbs: &'static [&'static str],
    /// The calls on the library whose outcomes are this command's; the first that a table has.
    wants: &'static [&'static str],
}

impl Call {
    /// What the tables say that has to come of it; nothing if they do not say.
    fn outcomes(self, behaviour: &Behaviour) -> Vec<&str> {
        let want = |name: &&str| behaviour.wants.iter().find(|want| want.call == *name);
        let want = self.wants.iter().find_map(want);
        want.map(|want| want.outcomes.iter().map(String::as_str).collect()).unwrap_or_default()
    }

    /// Whether it sends what the behaviour is about.
    fn meets(self, behaviour: &Behaviour) -> bool {
        let meets = behaviour.concerns(&COMMON) || behaviour.concerns(self.verbs);
        // A listing by one verb is for those that say what has to come of it.
        meets && (self.words.len() == 1 || !self.outcomes(behaviour).is_empty())
    }
}

#[test]
fn no_server_makes_it_lie_hang_or_leave_half_a_file_hl_04_li_06_li_07() {
    let behaviours = behaviours();
    let runs: Vec<_> = behaviours
        .iter()
        .flat_map(|behaviour| CALLS.map(|call| (call, behaviour)))
        .filter(|(call, behaviour)| call.meets(behaviour))
        .collect();
    assert!(runs.len() >= RUNS, "{} runs", runs.len());
    let fault = |(call, behaviour): (Call, &Behaviour)| {
        let found = play(call, behaviour);
        let words = call.words.join(" ");
        let fault = || format!("{words}, {}:\n    {}", behaviour.name, found.join("\n    "));
        (!found.is_empty()).then(fault)
    };
    let faults: Vec<_> = at_once(AT_A_TIME, runs, fault).into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The file that is put.
fn local() -> &'static Path {
    static LOCAL: OnceLock<TempRoot> = OnceLock::new();
    let root = LOCAL.get_or_init(|| {
        let root = TempRoot::new();
        root.write("content", content());
        root
    });
    static PATH: OnceLock<std::path::PathBuf> = OnceLock::new();
    PATH.get_or_init(|| root.join("content"))
}

/// Makes one run, and says what is wrong with what came of it.
fn play(call: Call, behaviour: &Behaviour) -> Vec<String> {
    let outcomes = call.outcomes(behaviour);
    let server = Server::start(behaviour, None);
    let here = TempRoot::new();
    here.write("name", b"old");
    let mut command = ftp(call.words);
    command.env("FTP_PASSWORD", "p").args(limits(behaviour, &outcomes));
    if outcomes.is_empty() {
        command.arg("--timeout=5");
    }
    if behaviour.active {
        command.arg("--active");
    }
    if behaviour.old {
        command.args([if behaviour.active { "--eprt" } else { "--epsv" }, "never"]);
    }
    let url = format!("ftp://u@{}/", server.address());
    match call.words[0] {
        "get" => command.arg(format!("{url}a")).arg(here.join("name")),
        "put" => command.arg(local()).arg(format!("{url}a")),
        _ => command.arg(url),
    };
    let started = Instant::now();
    let ran = run_with(&mut command, &[], 2 * BOUND);
    let took = started.elapsed();
    let played = server.end();

    let mut faults = played.violations.clone();
    if outcomes.is_empty() {
        // That a file or a listing has no end nobody knows but him who set the time for it.
        faults.retain(|fault| fault != "it took all of endless data");
    }
    if took > BOUND {
        faults.push(format!("it took {took:?}"));
    }
    faults.extend(said(&ran));
    let code = ran.code().unwrap_or(-1);
    let wanted: Vec<i32> =
        outcomes.iter().flat_map(|outcome| codes(call, behaviour, outcome)).collect();
    if !wanted.is_empty() && !wanted.contains(&code) {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        faults.push(format!("code {code}, not {wanted:?} ({}): {said}", outcomes.join(" or ")));
    }
    if code == 0 {
        faults.extend(lie(call, &ran, &here, &played));
    } else if here.read("name") != b"old" {
        faults.push(format!("code {code}, and the old file is gone"));
    }
    if here.names() != [b"name"] {
        faults.push(format!("there are {:?}", here.names()));
    }
    faults
}

/// Short limits where one is to be met, or where no outcome is told.
fn limits(behaviour: &Behaviour, outcomes: &[&str]) -> [String; 4] {
    let is_short = |phases: &[&str]| {
        outcomes.is_empty()
            || phases.iter().any(|phase| behaviour.short.iter().any(|short| short == phase))
            || phases.iter().any(|phase| {
                let phase = format!("timeout {phase}");
                outcomes.iter().any(|outcome| outcome.trim_end_matches(')').ends_with(&phase))
            })
    };
    let limit = |option: &str, phases: &[&str]| {
        format!("--{option}-timeout={}", if is_short(phases) { SHORT } else { LONG })
    };
    [
        limit("connect", &["data-connect"]),
        limit("reply", &["greeting", "reply"]),
        limit("stall", &["stall"]),
        limit("final", &["final-reply"]),
    ]
}

/// What is wrong with what was said: a failure is a sentence or more, on lines of their own, that
/// no terminal acts upon.
fn said(ran: &Ran) -> Vec<String> {
    let mut faults = Vec::new();
    let text = String::from_utf8_lossy(&ran.stderr);
    if ran.code() != Some(0) && !text.starts_with("ftp-cli: ") {
        faults.push(format!("it failed and said {text:?}"));
    }
    if text.chars().any(|char| char.is_control() && char != '\n') || text.contains("panicked") {
        faults.push(format!("it said {text:?}"));
    }
    if !matches!(ran.code(), Some(0 | 4..=14)) {
        faults.push(format!("it ended with {:?}: {text}", ran.status));
    }
    faults
}

/// The codes that an outcome of the library's call may have here.
fn codes(call: Call, behaviour: &Behaviour, outcome: &str) -> Vec<i32> {
    let is_login = behaviour.wants.iter().any(|want| want.call == "login");
    let (kind, rest) = outcome.split_once(' ').unwrap_or((outcome, ""));
    match (kind, rest) {
        // Another size than that of what was moved is not believed.
        ("ok", "") if behaviour.concerns(&["SIZE"]) => vec![0, 11],
        ("ok", "") => vec![0],
        // The server's own word for the size is another.
        ("ok", _) if call.words[0] == "get" => vec![11],
        ("refused", "425") => vec![13],
        // It wants data under TLS.
        ("refused", "522") => vec![5],
        ("refused", "534") if is_login => vec![5],
        ("refused", "530" | "331" | "332") if is_login => vec![6],
        ("refused", code) if is_login && code.starts_with('5') => vec![6],
        ("refused" | "greeting", code) if code.starts_with('4') => vec![9],
        ("refused" | "greeting", _) => vec![8],
        ("closing", _) => vec![9],
        ("unexpected" | "protocol" | "desynchronised", _) => vec![7],
        ("timeout", _) => vec![10],
        ("io" | "closed", _) => vec![4],
        ("data", _) => vec![13, 14],
        ("incomplete" | "cut", _) => vec![11],
        ("unsupported", _) => vec![14],
        // What a listing has in it, which is compared with what was sent.
        _ => Vec::new(),
    }
}

/// Why a run that ended with 0 should not have.
fn lie(call: Call, ran: &Ran, here: &TempRoot, played: &Played) -> Option<String> {
    let moved = played.moved.last().cloned().unwrap_or_default();
    match call.words[0] {
        "get" => {
            let file = here.read("name");
            let what = format!("success for {} bytes, where {} were sent", file.len(), moved.sent);
            (file != content()).then_some(what)
        }
        "put" => {
            let is_whole = moved.taken == LENGTH as u64 && moved.is_content && moved.ended;
            (!is_whole)
                .then(|| format!("success for an upload of which {} bytes came", moved.taken))
        }
        _ => {
            let lines = ran.stdout.iter().filter(|byte| **byte == b'\n').count();
            (lines > moved.lines + 1)
                .then(|| format!("success for {lines} names, where {} were sent", moved.lines))
        }
    }
}
