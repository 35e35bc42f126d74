//! Programs that others wrote. They are no part of the toolkit, so a machine may lack them: the
//! tests that need one then say so on standard error and pass, or fail where the environment has
//! `FTP_REQUIRE_PEERS=1`.

mod more_servers;
mod server;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

pub use self::server::RealServer;
use crate::process::{LIMIT, run_with};

/// Where daemons are that a user's `PATH` may leave out.
const MORE_PLACES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// A program that is installed.
#[derive(Clone, Debug)]
pub struct Peer {
    path: PathBuf,
}

impl Peer {
    /// Looks for `program` in `PATH` and where daemons are. `None`, having said so, if it is not
    /// installed.
    #[track_caller]
    #[must_use]
    pub fn find(program: &str) -> Option<Self> {
        let path = places().map(|place| place.join(program)).find(|path| path.is_file());
        found(program, path)
    }

    /// Looks for a Python 3 that has `module`. `None`, having said so, if there is none.
    #[track_caller]
    #[must_use]
    pub fn python(module: &str) -> Option<Self> {
        let check = format!("import {module}");
        Self::that_runs(&format!("Python's {module}"), "python3", &check)
    }

    /// Looks for an interpreter called `program` that reads `check` from standard input and ends
    /// well: it has the library `what`. `None`, having said so, if there is none.
    #[track_caller]
    #[must_use]
    pub fn that_runs(what: &str, program: &str, check: &str) -> Option<Self> {
        let mut candidates =
            places().map(|place| place.join(program)).filter(|path| path.is_file());
        let runs = |path: &PathBuf| {
            let mut command = Self { path: path.clone() }.command();
            run_with(&mut command, check.as_bytes(), LIMIT).code() == Some(0)
        };
        found(what, candidates.find(runs))
    }

    /// A command line to add to, with an environment that is the same everywhere: no user's
    /// configuration, no proxy, UTF-8.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("PYTHONUTF8", "1");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", "/nonexistent").env("PYTHONDONTWRITEBYTECODE", "1");
        // Where Node finds a package is all that it takes of the environment.
        command.envs(std::env::var_os("NODE_PATH").map(|path| ("NODE_PATH", path)));
        command
    }
}

fn places() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<_> = std::env::split_paths(&path).collect();
    path.into_iter().chain(MORE_PLACES.map(PathBuf::from))
}

/// Makes a peer of `path`, or says that `program` is missing, as loudly as is wanted.
#[track_caller]
fn found(program: &str, path: Option<PathBuf>) -> Option<Peer> {
    if path.is_none() {
        skipped(&format!("{program} is not installed"));
    }
    path.map(|path| Peer { path })
}

/// Says why a test is not made here, or fails it where the environment has `FTP_REQUIRE_PEERS=1`.
#[track_caller]
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let required = std::env::var_os("FTP_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "{why}, and FTP_REQUIRE_PEERS=1 insists on it");
    say(test, why);
}

/// Says why a test cannot be made here, which nothing that could be installed would change.
pub fn impossible(why: &str) {
    let thread = std::thread::current();
    say(thread.name().unwrap_or("a test"), why);
}

fn say(test: &str, why: &str) {
    // Written to the stream itself, which the test runner does not capture.
    writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("standard error can be written");
}
