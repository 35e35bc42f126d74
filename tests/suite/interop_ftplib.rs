//! Python's ftplib, a real process, with our server. `interop_ftplib.py` holds its steps and
//! comparisons; the files on disk are checked here.

use std::time::Duration;

use ftp_tests::content::large;
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

/// Runs a scenario with a new server, and checks the files on its disk.
#[track_caller]
fn scenario(name: &str, limit: Duration, left: &[&[u8]]) {
    let Some(python) = Peer::python("ftplib") else { return };
    let (server, local) = (OurServer::start(), TempRoot::new());
    let script = local.write("scenario.py", include_bytes!("interop_ftplib.py"));
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    let mut command = python.command();
    command.arg(script).args([name, &host, &port, server.user, server.password]);
    run_with(&mut command, &[], limit).succeeded();
    server.assert_only(left);
}

#[test]
fn image_both_ways() {
    scenario("image", LIMIT, &[b"file"]);
}

#[test]
fn ascii_transfers_in_both_directions() {
    scenario("ascii", LIMIT, &[b"file"]);
}

#[test]
fn lists() {
    let names = ["one", "two words", "gr\u{fc}\u{df}e", "a \"quoted\" name", "directory"];
    scenario("lists", LIMIT, &names.map(str::as_bytes));
}

#[test]
fn files_and_directories() {
    scenario("files", LIMIT, &[]);
}

#[test]
fn restart_and_append() {
    scenario("resumed", LIMIT, &[b"file"]);
}

#[test]
fn abort_as_urgent_data() {
    scenario("aborted", LIMIT, &[b"file"]);
}

#[test]
fn names_of_any_bytes() {
    let names: [&[u8]; 6] = [
        b"caf\xe9",
        b"\x80\xfe",
        b"cut utf-8 \xe6\x97",
        b"\xff",
        b"iac \xff\xf4",
        "gr\u{fc}\u{df}e".as_bytes(),
    ];
    scenario("bytes_as_latin_1", LIMIT, &names);
}

#[test]
fn a_gibibyte_there_and_back() {
    if large() {
        scenario("large", Duration::from_secs(240), &[b"large"]);
    }
}
