//! The `ftp-cli` program.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "server")]
    share_one_arena();
    ftp_cli::run(env::args_os().skip(1), ftp_cli::Stdio::process())
}

/// Restarts a server whose address space is limited, so that all its threads share one arena of the
/// GNU C library. By default, the library reserves 64 MiB of address space for each of the first
/// threads: a limit of 300 MiB would be used up before the first session. The library reads this
/// setting only when a program starts.
#[cfg(feature = "server")]
fn share_one_arena() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use rustix::process::{Resource, getrlimit};

    const ARENAS: &str = "MALLOC_ARENA_MAX";
    let is_limited = getrlimit(Resource::As).current.is_some();
    let serves = || env::args_os().skip(1).any(|arg| arg == "serve");
    if cfg!(target_env = "gnu") && is_limited && serves() && env::var_os(ARENAS).is_none() {
        let Ok(program) = env::current_exe() else { return };
        let mut args = env::args_os();
        let mut again = Command::new(program);
        again.arg0(args.next().unwrap_or_default()).args(args).env(ARENAS, "1");
        // If the program is gone, the server runs with the space that is left.
        let _ = again.exec();
    }
}
