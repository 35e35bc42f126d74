//! Modification times that few files have.

use std::fs::File;
use std::time::{Duration, SystemTime};

use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::ftp;

#[test]
fn times_before_1970_are_preserved_in_both_directions() {
    let (server, here) = (OurServer::start(), TempRoot::new());
    for (seconds, name) in [(1, "a"), (86_400 * 365, "b"), (2_000_000_000, "c")] {
        let time = SystemTime::UNIX_EPOCH - Duration::from_secs(seconds);
        let file = here.write(name, b"content");
        File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        let path = file.to_str().unwrap();
        run(&mut ftp(&["put", "-p", path, &server.url(name)])).exited(0);
        let there = server.root.join(name).metadata().unwrap();
        assert_eq!(there.modified().unwrap(), time, "{name}");
        std::fs::remove_file(&file).unwrap();
        run(&mut ftp(&["get", "-p", &server.url(name), path])).exited(0);
        assert_eq!(file.metadata().unwrap().modified().unwrap(), time, "{name}");
    }
}
