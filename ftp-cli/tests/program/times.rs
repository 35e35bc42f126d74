//! Modification times that few files have.

use std::fs::File;
use std::time::{Duration, SystemTime};

use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::peer::{Act, Peer};
use crate::{failed, ftp};

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

#[test]
fn a_time_in_another_form_is_unreadable_and_not_missing() {
    let here = TempRoot::new();
    let file = here.write("f", b"local").to_str().unwrap().to_owned();
    for (command, is_upload) in
        [(&["get", "-p"][..], false), (&["get", "--newer"], false), (&["put", "--newer"], true)]
    {
        let peer = Peer::start(&[("MDTM f", Act::Say("213 191231114221320"))]);
        let url = peer.url("f");
        let operands = if is_upload { [&file, &url] } else { [&url, &file] };
        let ran = run(ftp(command).args(operands));
        failed(&ran, 14, "time that the server reports cannot be read: 213 191231114221320");
        assert!(!peer.seen().contains("RETR") && !peer.seen().contains("STOR"), "{}", peer.seen());
        assert_eq!(here.read("f"), b"local");
    }
}
