//! The program with servers that break the rules: every behaviour in the tables of
//! `ftp_tests::hostile`, with `get`, `put` and `ls`. The tables contain the required outcome of
//! each client call; here the exit code and the files on disk must match it.
//!
//! For every behaviour: a run ends in time, with a code of the table and a message. Code 0 requires
//! complete data. With any other code, nothing of the server's data is left under the final name or
//! beside it.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ftp_tests::at_once::at_once;
use ftp_tests::hostile::{Behaviour, LENGTH, Played, Server, behaviours, content};
use ftp_tests::process::{Ran, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::wait::try_patiently;

use crate::ftp;

/// The minimum number of runs, so that none is lost.
const RUNS: usize = 1_900;

/// A timeout that a run reaches, if the machine is not busy.
const SHORT: Duration = Duration::from_millis(250);

/// A timeout that no run reaches.
const LONG: Duration = Duration::from_secs(90);

/// The longest duration of a run: many times what it needs.
const BOUND: Duration = Duration::from_secs(60);

/// Runs at a time; nearly all of them wait.
const AT_A_TIME: usize = 8;

/// The commands that each call sends: only behaviours of these are played.
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
    /// The library calls whose outcomes apply to this command; the first one in a table counts.
    wants: &'static [&'static str],
}

impl Call {
    /// Returns the required outcomes in the tables; empty if there are none.
    fn outcomes(self, behaviour: &Behaviour) -> Vec<&str> {
        let want = |name: &&str| behaviour.wants.iter().find(|want| want.call == *name);
        let want = self.wants.iter().find_map(want);
        want.map(|want| want.outcomes.iter().map(String::as_str).collect()).unwrap_or_default()
    }

    /// Returns whether it sends the commands of the behaviour.
    fn meets(self, behaviour: &Behaviour) -> bool {
        let meets = behaviour.concerns(&COMMON) || behaviour.concerns(self.verbs);
        // A listing by one verb is run only for behaviours with a required outcome, and of values
        // that make megabytes only for the first: the parsers' own test reads all.
        let is_another = behaviour.name.ends_with(|end: char| ('2'..='9').contains(&end));
        let is_left_out = self.outcomes(behaviour).is_empty() || behaviour.is_huge() && is_another;
        meets && (self.words.len() == 1 || !is_left_out)
    }
}

#[test]
fn no_faulty_server_causes_false_success_hangs_or_partial_files_at_scale_hl_04_li_06_li_07() {
    let behaviours = behaviours();
    let runs: Vec<_> = behaviours
        .iter()
        .flat_map(|behaviour| CALLS.map(|call| (call, behaviour)))
        .filter(|(call, behaviour)| call.meets(behaviour))
        .collect();
    assert!(runs.len() >= RUNS, "{} runs", runs.len());
    let fault = |(call, behaviour): (Call, &Behaviour)| {
        let found = try_patiently(SHORT, |short| play(call, behaviour, short)).err()?;
        let words = call.words.join(" ");
        Some(format!("{words}, {}:\n    {}", behaviour.name, found.join("\n    ")))
    };
    // The library meets all behaviours in the tests `hostile`.
    let runs = runs.into_iter().step_by(count(6, 1));
    let faults: Vec<_> = at_once(AT_A_TIME, runs, fault).into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The file to upload.
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

/// Makes one run, with timeouts of `short` where it must reach one. Fails with all that is wrong
/// with its result.
fn play(call: Call, behaviour: &Behaviour, short: Duration) -> Result<(), Vec<String>> {
    let outcomes = call.outcomes(behaviour);
    let server = Server::start(behaviour, None);
    let here = TempRoot::new();
    here.write("name", b"old");
    let mut command = ftp(call.words);
    command.env("FTP_PASSWORD", "p").args(limits(behaviour, &outcomes, short));
    if outcomes.is_empty() {
        // Whoever reads without end computes until then.
        command.arg(if behaviour.is_huge() { "--timeout=1" } else { "--timeout=5" });
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
        // Only a timeout can show that a file or a listing is endless.
        faults.retain(|fault| fault != "it took all of endless data");
    }
    if took > BOUND {
        faults.push(format!("it took {took:?}"));
    }
    faults.extend(said(&ran));
    let code = ran.code().unwrap_or(-1);
    let mut wanted: Vec<i32> =
        outcomes.iter().flat_map(|outcome| codes(call, behaviour, outcome)).collect();
    if behaviour.name.contains("are_confirmed_and_refused") {
        // The library has confirmed the transfer, but the next command or QUIT finds the refusal.
        wanted = vec![7, 11];
    }
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
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Returns short timeouts if the behaviour reaches one, or if no outcome is required.
fn limits(behaviour: &Behaviour, outcomes: &[&str], short: Duration) -> [String; 4] {
    let is_short = |phases: &[&str]| {
        outcomes.is_empty()
            || phases.iter().any(|phase| behaviour.short.iter().any(|short| short == phase))
            || phases.iter().any(|phase| {
                let phase = format!("timeout {phase}");
                outcomes.iter().any(|outcome| outcome.trim_end_matches(')').ends_with(&phase))
            })
    };
    let limit = |option: &str, phases: &[&str]| {
        let limit = if is_short(phases) { short } else { LONG };
        format!("--{option}-timeout={}ms", limit.as_millis())
    };
    [
        limit("connect", &["data-connect"]),
        limit("reply", &["greeting", "reply"]),
        limit("stall", &["stall"]),
        limit("final", &["final-reply"]),
    ]
}

/// Returns what is wrong with the messages: a failure is one sentence or more, on separate lines,
/// without terminal control characters.
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

/// Returns the exit codes that match an outcome of the library call.
fn codes(call: Call, behaviour: &Behaviour, outcome: &str) -> Vec<i32> {
    let is_login = behaviour.wants.iter().any(|want| want.call == "login");
    let (kind, rest) = outcome.split_once(' ').unwrap_or((outcome, ""));
    match (kind, rest) {
        // A reported size that differs from the moved bytes is an error.
        ("ok", "") if behaviour.concerns(&["SIZE"]) => vec![0, 11],
        ("ok", "") => vec![0],
        // The size that the server reports is another.
        ("ok", _) if call.words[0] == "get" => vec![11],
        ("refused", "425") => vec![13],
        // The server requires TLS for data.
        ("refused", "522") => vec![5],
        ("refused", "534") if is_login => vec![5],
        ("refused", "530" | "331" | "332") if is_login => vec![6],
        ("refused", code) if is_login && code.starts_with('5') => vec![6],
        ("refused" | "greeting", code) if code.starts_with('4') => vec![9],
        ("refused" | "greeting", _) => vec![8],
        ("closing", _) => vec![9],
        ("unexpected" | "protocol" | "desynchronised", _) => vec![7],
        // The server may still carry out `STOR`.
        ("timeout", "reply") if call.words[0] == "put" => vec![10, 11],
        ("timeout", _) => vec![10],
        ("io" | "closed", _) => vec![4],
        ("data", _) => vec![13, 14],
        ("incomplete" | "cut", _) => vec![11],
        ("unsupported", _) => vec![14],
        // The entries of a listing are compared with what was sent.
        _ => Vec::new(),
    }
}

/// Returns why a run must not have ended with 0.
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
