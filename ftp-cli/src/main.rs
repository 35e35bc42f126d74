//! The `ftp-cli` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ftp_cli::run(std::env::args_os().skip(1), ftp_cli::Stdio::process())
}
