//! Other programs, which a machine may lack. Tests that need a missing program report that on
//! standard error and pass, or fail if the environment has `FTP_REQUIRE_PEERS=1`.

mod garage;
mod more_servers;
mod object_store;
mod redis;
mod server;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

pub use self::object_store::ObjectStore;
pub use self::redis::Redis;
pub use self::server::RealServer;
use crate::process::{LIMIT, run_with};

/// Directories of daemons that a user's `PATH` may lack.
const MORE_PLACES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// An installed program.
#[derive(Clone, Debug)]
pub struct Peer {
    path: PathBuf,
}

impl Peer {
    /// Looks for `program` in `PATH` and in the directories of daemons. Reports a missing program,
    /// and returns `None`.
    #[track_caller]
    #[must_use]
    pub fn find(program: &str) -> Option<Self> {
        let path = places().map(|place| place.join(program)).find(|path| path.is_file());
        found(program, path)
    }

    /// Looks for a Python 3 with `module`. Reports a missing Python or module, and returns `None`.
    #[track_caller]
    #[must_use]
    pub fn python(module: &str) -> Option<Self> {
        let check = format!("import {module}");
        Self::that_runs(&format!("Python's {module}"), "python3", &check)
    }

    /// Looks for an interpreter called `program` that runs `check` from standard input
    /// successfully, and so has the library `what`. Reports a missing interpreter, and returns
    /// `None`.
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

    /// Returns a command line to extend, with the same environment everywhere: without a user's
    /// configuration or a proxy, and with UTF-8.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("PYTHONUTF8", "1");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", "/proc/none").env("PYTHONDONTWRITEBYTECODE", "1");
        // Node's search path for packages is the only variable taken from the environment.
        command.envs(std::env::var_os("NODE_PATH").map(|path| ("NODE_PATH", path)));
        command
    }
}

fn places() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<_> = std::env::split_paths(&path).collect();
    path.into_iter().chain(MORE_PLACES.map(PathBuf::from))
}

/// Returns the program at `path`, or reports that `program` is missing.
#[track_caller]
fn found(program: &str, path: Option<PathBuf>) -> Option<Peer> {
    if path.is_none() {
        skipped(&format!("{program} is not installed"));
    }
    path.map(|path| Peer { path })
}

/// Reports why a test is skipped, or fails the test if the environment has `FTP_REQUIRE_PEERS=1`.
#[track_caller]
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let required = std::env::var_os("FTP_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "{why}, and FTP_REQUIRE_PEERS=1 insists on it");
    say(test, why);
}

/// Reports why a test cannot run here, for a reason that installing a program would not change.
pub fn impossible(why: &str) {
    let thread = std::thread::current();
    say(thread.name().unwrap_or("a test"), why);
}

fn say(test: &str, why: &str) {
    // Written directly to the stream, which the test runner does not capture.
    writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("standard error can be written");
}
