//! `doctor` with servers, networks and other programs: its findings as text and as events, and its
//! exit code.

mod networks;
mod scene;
mod secured;
mod talkers;
mod troubles;
mod waiting;
mod watching;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use ftp_tests::process::{Ran, run_with};

use crate::ftp;

/// The findings of a run of `doctor`.
pub(crate) struct Found {
    /// The names of the problems.
    pub(crate) wrong: BTreeSet<String>,
    pub(crate) ran: Ran,
}

impl Found {
    /// Reads the output of a run with `--json`.
    #[track_caller]
    fn of(ran: Ran) -> Self {
        let said = String::from_utf8(ran.stdout.clone()).unwrap();
        let mut wrong = BTreeSet::new();
        for line in said.lines() {
            assert!(line.starts_with("{\"v\":1,\"event\":\""), "{line}");
            if let Some(name) = field(line, "diagnosis") {
                // Every problem has a meaning and a cure.
                for key in ["means", "side", "cure", "seen"] {
                    assert!(field(line, key).is_some_and(|value| !value.is_empty()), "{line}");
                }
                assert!(["warn", "fail"].contains(&field(line, "result").unwrap()), "{line}");
                wrong.insert(name.to_owned());
            } else if field(line, "event") == Some("check") {
                assert!(["ok", "skip"].contains(&field(line, "result").unwrap()), "{line}");
            }
        }
        assert!(said.lines().next_back().unwrap().contains("\"event\":\"summary\""), "{said}");
        Self { wrong, ran }
    }

    /// Returns the field `seen` of the only event of a check.
    #[track_caller]
    pub(crate) fn seen(&self, check: &str) -> String {
        let mut seen = self.seen_any(check);
        assert!(seen.len() == 1, "{} of {check} in {:?}", seen.len(), self.ran);
        seen.remove(0)
    }

    /// Returns the field `seen` of each event of a check.
    pub(crate) fn seen_any(&self, check: &str) -> Vec<String> {
        let said = String::from_utf8_lossy(&self.ran.stdout).into_owned();
        let lines = said.lines().filter(|line| field(line, "name") == Some(check));
        lines.filter_map(|line| field(line, "seen").map(str::to_owned)).collect()
    }

    /// Its duration in seconds, as it reports it.
    pub(crate) fn seconds(&self) -> f64 {
        let said = String::from_utf8(self.ran.stdout.clone()).unwrap();
        let last = said.lines().next_back().unwrap();
        let (_, rest) = last.split_once("\"seconds\":").unwrap();
        rest.split([',', '}']).next().unwrap().parse().unwrap()
    }

    /// The best command line.
    pub(crate) fn best(&self) -> Option<String> {
        let said = String::from_utf8(self.ran.stdout.clone()).unwrap();
        let line = said.lines().find(|line| field(line, "event") == Some("done"))?;
        field(line, "command").map(str::to_owned)
    }
}

/// Returns the value of a text field, unescaped.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
    let mut before = '"';
    let end = rest.find(|char| {
        let is_end = char == '"' && before != '\\';
        before = char;
        is_end
    })?;
    rest.get(..end)
}

/// The longest run: beyond the timeout for the whole.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs `doctor` with timeouts for tests: short ones for waits that some of them reach, and long
/// ones for connections and for the whole, since the machine may be busy.
fn doctor(arguments: &[&str]) -> Command {
    let limits = ["doctor", "--json", "--connect-timeout", "20", "--reply-timeout", "8"];
    let others = ["--stall-timeout", "5", "--final-timeout", "5", "--timeout", "120"];
    ftp(&[&limits[..], &others, arguments].concat())
}

/// Runs `doctor` with these arguments and its default timeouts.
#[track_caller]
pub(crate) fn examined_by_default(arguments: &[&str]) -> Found {
    Found::of(run_with(&mut ftp(&[&["doctor", "--json"], arguments].concat()), &[], LIMIT))
}

/// Runs `doctor` with these arguments.
#[track_caller]
pub(crate) fn examined(arguments: &[&str]) -> Found {
    Found::of(run_with(&mut doctor(arguments), &[], LIMIT))
}
