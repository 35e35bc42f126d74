//! The real binary: its output, its files and its exit codes, with our server and with a scripted
//! peer.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "in tests both are wanted, and clippy's own exception is for test functions alone"
)]

mod batch;
mod calls;
mod config;
mod confinement;
mod control;
mod demo;
mod descriptors;
mod doctor;
#[cfg(feature = "tls")]
mod documents;
mod exit_codes;
mod faults;
mod figures;
mod flights;
mod footprint;
mod fxp;
mod get;
mod hooks;
#[cfg(feature = "tls")]
mod hosts;
mod interrupted;
mod json;
mod log;
mod log_file;
mod log_target;
mod logins;
mod ls;
mod metrics;
mod mirror;
mod mirror_field;
mod objects;
mod order;
mod passwords;
mod peer;
mod privileges;
mod put;
mod relay;
mod scale;
mod serve;
mod shells;
mod signals;
mod streams;
mod system_calls;
mod systemd;
mod terminal;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_client;
mod transfers;
mod usage;
mod whole;
mod words;

use std::process::Command;

use ftp_tests::process::Ran;

/// Returns the binary with a minimal environment. `FTP_PROGRAM` names another build of it: CI
/// measures the released one.
fn ftp(arguments: &[&str]) -> Command {
    let program = std::env::var_os("FTP_PROGRAM");
    let mut ftp = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_ftp-cli").into()));
    ftp.env_clear().env("LC_ALL", "C.UTF-8").env("HOME", "/nonexistent").args(arguments);
    ftp
}

/// Returns the binary so that it handles SIGHUP even if these tests run under `nohup`: child
/// processes inherit ignored signals.
fn ftp_with_hangup(arguments: &[&str]) -> Command {
    let mut ftp = Command::new("/usr/bin/env");
    ftp.env_clear().env("LC_ALL", "C.UTF-8").env("HOME", "/nonexistent");
    ftp.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_ftp-cli")]).args(arguments);
    ftp
}

/// Asserts that a run ended with `code`, printed no data, and showed `words` to the user.
#[track_caller]
fn failed(ran: &Ran, code: i32, words: &str) {
    ran.exited(code);
    assert!(ran.stdout.is_empty(), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains(words), "no {words:?} in {ran:?}");
}
