//! The real binary: its output, its files and its exit codes, with our server and with a scripted
//! peer.

#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "in tests both are wanted, and clippy's own exception is for test functions alone"
)]

mod accounts;
mod batch;
mod calls;
mod charset;
mod compress;
mod config;
mod config_file;
mod confinement;
mod control;
mod demo;
mod descriptors;
mod doctor;
mod documents;
mod exit_codes;
mod faults;
mod figures;
mod flights;
mod footprint;
mod fxp;
mod get;
mod growth;
mod habits;
mod hooks;
mod hosts;
mod inbox;
mod interop;
mod interrupted;
mod json;
mod ledgers;
mod lies;
mod log;
mod log_file;
mod log_target;
mod logins;
mod ls;
mod metrics;
mod mirror;
mod mirror_field;
mod moves;
mod neighbours;
mod next_steps;
mod objects;
mod order;
mod owners;
mod passwords;
mod patterns;
mod peer;
mod privileges;
mod proxies;
mod put;
mod relay;
mod replies;
mod reuse;
mod reuse_up;
mod scale;
mod segments;
mod serve;
mod shells;
mod signals;
mod stores;
mod streams;
mod system_calls;
mod systemd;
mod terminal;
mod time_limit;
mod times;
mod tls;
mod tls_client;
mod transfers;
mod usage;
mod whole;
mod words;

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::process::Command;

use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::process::{Ran, clear_environment, run};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::some;
use ftp_tests::site::{OurServer, Site};

/// Returns the binary with a minimal environment. `FTP_PROGRAM` names another build of it: CI
/// measures the released one. Nothing can make the home: other programs would make one elsewhere,
/// and tests that need a missing directory would find it.
fn ftp(arguments: &[&str]) -> Command {
    let program = std::env::var_os("FTP_PROGRAM");
    let mut ftp = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_ftp-cli").into()));
    clear_environment(&mut ftp).env("LC_ALL", "C.UTF-8").env("HOME", "/proc/none").args(arguments);
    ftp
}

/// Returns the binary so that it handles SIGHUP even if these tests run under `nohup`: child
/// processes inherit ignored signals.
fn ftp_with_hangup(arguments: &[&str]) -> Command {
    let mut ftp = Command::new("/usr/bin/env");
    clear_environment(&mut ftp).env("LC_ALL", "C.UTF-8").env("HOME", "/proc/none");
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

/// Runs `work` with our server and with the daemons that are installed; in a plain run with two of them.
#[track_caller]
#[expect(clippy::print_stderr, reason = "a failure shows an address, and this whose it is")]
fn with_servers(work: impl Fn(&str, &Site) + Sync) {
    type Start = fn(Ipv4Addr) -> Option<RealServer>;
    let theirs: Vec<(_, Start)> = vec![
        ("vsftpd", |host| RealServer::vsftpd_at(host)),
        ("proftpd", |host| RealServer::proftpd_at(host)),
        ("pure-ftpd", |host| RealServer::pure_ftpd_at(host)),
        ("pyftpdlib", |host| RealServer::pyftpdlib_at(host)),
    ];
    let all = some(theirs, 2).into_iter().map(Some).chain([None]);
    at_once(5, all, |their| {
        let Some((name, start)) = their else { return work("ours", &OurServer::start()) };
        // Some servers run as the user "nobody".
        if let Some(server) = start(Ipv4Addr::LOCALHOST) {
            let site: &Site = server.deref();
            eprintln!("{name} has {}", site.address);
            work(name, site);
        }
    });
}

/// Runs the program in a directory.
fn in_directory(here: &TempRoot, arguments: &[&str]) -> Ran {
    run(ftp(arguments).current_dir(here.path()))
}
