//! `put -c` from an earlier run: what proves that the server's partial file came from the local
//! file. The server's clock and time zone may be wrong, as with `use_localtime` in Debian's vsftpd.

use std::time::{Duration, SystemTime};

use ftp_proto::TimeVal;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;

use super::{count, ten, text};
use crate::ftp;
use crate::peer::{Act, Peer};

const HOUR: i64 = 3_600;

/// Returns the reply to `MDTM` for a time of `seconds` from now.
fn time(seconds: i64) -> Act {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let time = TimeVal::from_unix_seconds(i64::try_from(now).unwrap() + seconds).unwrap();
    Act::Say(format!("213 {time}").leak())
}

const SAID: &str = "may be from another file: uploading from the start";

/// Resumes four bytes of an earlier run at a peer. Returns whether that was all.
fn resumes(file: &str, acts: &[(&'static str, Act)], options: &[&str]) -> bool {
    let mut all = vec![
        ("SIZE", Act::Say("213 4")),
        ("SIZE", Act::Say("213 10")),
        ("APPE x", Act::Take("150 go", "226 done")),
        ("STOR x", Act::Take("150 go", "226 done")),
    ];
    all.extend_from_slice(acts);
    let peer = Peer::start(&all);
    let mut put = ftp(&["put", "-c"]);
    let ran = run(put.args(options).args([file, &peer.url("x")]));
    ran.exited(0);
    assert_eq!(count(&peer, "APPE"), 1, "{}", peer.seen());
    let stored = count(&peer, "STOR");
    assert_eq!(said(&ran), stored == 1, "{ran:?} {}", peer.seen());
    stored == 0
}

fn said(ran: &Ran) -> bool {
    String::from_utf8_lossy(&ran.stderr).contains(SAID)
}

#[test]
fn the_measured_clock_of_the_server_decides_whether_a_part_is_older_as_09() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    std::thread::sleep(Duration::from_secs(5));
    for zone in [-12 * HOUR, 0, HOUR, 14 * HOUR] {
        for (part, want) in [(0, true), (-60, false)] {
            // By its own clock, the server's file may be older than the local file.
            if zone + part >= 0 {
                let acts = [("MDTM", time(zone + part)), ("MDTM", time(zone + 1))];
                assert_eq!(resumes(&file, &acts, &[]), want, "{zone} {part}");
            }
        }
    }
    // A time that does not change measures nothing.
    assert!(!resumes(&file, &[("MDTM", time(HOUR)), ("MDTM", time(HOUR))], &[]));
    // A server that refuses to report the time has confirmed the upload nevertheless.
    assert!(!resumes(&file, &[("MDTM", time(HOUR)), ("MDTM", Act::Say("450 busy"))], &[]));
}

#[test]
fn a_part_without_a_time_is_proven_only_by_a_digest_as_09() {
    let here = TempRoot::new();
    let file = text(&here.write("file", &ten(b'x')));
    let resumes = |acts: &[_], options: &[&str]| resumes(&file, acts, options);
    let feat = ("FEAT", Act::Say("211-x\r\n SIZE\r\n XCRC\r\n211 end"));
    // The CRC-32 of ten bytes "x".
    let equal = ("XCRC", Act::Say("250 8EDF4777"));
    assert!(!resumes(&[], &[]));
    assert!(!resumes(&[feat.clone(), ("XCRC", Act::Say("250 00000000"))], &[]));
    assert!(!resumes(&[feat.clone(), ("XCRC", Act::Say("550 no"))], &[]));
    assert!(resumes(&[feat, equal], &[]));
    // The user accepts an upload without a check.
    assert!(resumes(&[], &["--verify", "none"]));
}

#[test]
fn a_retry_remembers_the_time_of_the_part_that_the_run_found_as_09() {
    let here = TempRoot::new();
    let path = text(&here.write("file", &ten(b'x')));
    // The part is five minutes old, and the clock of the server is an hour fast. The first attempt
    // appends to it, so the second one finds a new time.
    let peer = Peer::start_several(vec![
        vec![
            ("SIZE", Act::Say("213 4")),
            ("MDTM", time(HOUR - 300)),
            ("APPE x", Act::TakeAndBreak("150 go")),
        ],
        vec![
            ("SIZE", Act::Say("213 8")),
            ("SIZE", Act::Say("213 10")),
            ("MDTM", time(HOUR)),
            ("MDTM", time(HOUR)),
            ("APPE x", Act::Take("150 go", "226 done")),
            ("STOR x", Act::Take("150 go", "226 done")),
        ],
    ]);
    let mut put = ftp(&["put", "-c", "--retry", "3", "--retry-delay", "0s"]);
    let ran = run(put.args([&path, &peer.url("x")]));
    ran.exited(0);
    assert!(said(&ran), "{ran:?}");
    assert_eq!((count(&peer, "APPE"), count(&peer, "STOR")), (2, 1), "{}", peer.seen());
}

#[test]
fn bytes_of_the_same_run_need_no_proof_as_09() {
    let here = TempRoot::new();
    let path = text(&here.write("file", &ten(b'x')));
    let peer = Peer::start_several(vec![
        vec![("STOR x", Act::TakeAndBreak("150 go"))],
        vec![
            ("SIZE", Act::Say("213 4")),
            ("SIZE", Act::Say("213 10")),
            ("APPE x", Act::Take("150 go", "226 done")),
        ],
    ]);
    let mut put = ftp(&["put", "-c", "--retry", "3", "--retry-delay", "0s"]);
    let ran = run(put.args([&path, &peer.url("x")]));
    ran.exited(0);
    assert!(!said(&ran), "{ran:?}");
    assert_eq!((count(&peer, "APPE"), count(&peer, "STOR")), (1, 1), "{}", peer.seen());
}

#[test]
fn a_complete_file_that_may_be_another_one_is_uploaded_again_as_09() {
    let here = TempRoot::new();
    let path = text(&here.write("file", &ten(b'x')));
    let put = |acts: &[(&'static str, Act)], options: &[&str]| {
        let mut all = vec![
            ("SIZE", Act::Say("213 10")),
            ("SIZE", Act::Say("213 10")),
            ("STOR x", Act::Take("150 go", "226 done")),
        ];
        all.extend_from_slice(acts);
        let peer = Peer::start(&all);
        let ran = run(ftp(&["put", "-c"]).args(options).args([&path, &peer.url("x")]));
        ran.exited(0);
        count(&peer, "STOR")
    };
    let feat = ("FEAT", Act::Say("211-x\r\n SIZE\r\n XCRC\r\n211 end"));
    assert_eq!(put(&[("MDTM", time(HOUR))], &[]), 1);
    assert_eq!(put(&[("MDTM", time(HOUR)), feat.clone(), ("XCRC", Act::Say("250 0"))], &[]), 1);
    assert_eq!(put(&[("MDTM", time(HOUR)), feat, ("XCRC", Act::Say("250 8EDF4777"))], &[]), 0);
    assert_eq!(put(&[("MDTM", time(15 * HOUR))], &[]), 0);
    assert_eq!(put(&[("MDTM", time(HOUR))], &["--verify", "none"]), 0);
}

/// Runs `put -c --retry`. `first` is the script of the first connection; at the second one, the
/// server has a complete file whose time proves it new in every time zone.
fn retries_at_a_mixture(first: Vec<(&'static str, Act)>) -> Peer {
    let here = TempRoot::new();
    let path = text(&here.write("file", &ten(b'x')));
    let second = vec![
        ("SIZE", Act::Say("213 10")),
        ("SIZE", Act::Say("213 10")),
        ("MDTM", time(20 * HOUR)),
        ("STOR x", Act::Take("150 go", "226 done")),
    ];
    let peer = Peer::start_several(vec![first, second]);
    let mut put = ftp(&["put", "-c", "--retry", "3", "--retry-delay", "0s"]);
    run(put.args([&path, &peer.url("x")])).exited(0);
    peer
}

#[test]
fn a_retry_does_not_take_a_mixture_for_the_complete_file_as_09() {
    // All bytes arrive, but the reply is lost.
    let peer = retries_at_a_mixture(vec![
        ("SIZE", Act::Say("213 4")),
        ("MDTM", time(HOUR)),
        ("APPE x", Act::TakeAndBreak("150 go")),
    ]);
    assert_eq!((count(&peer, "APPE"), count(&peer, "STOR")), (1, 1), "{}", peer.seen());
}

#[test]
fn a_refuted_file_is_not_resumed_by_a_retry_as_09() {
    // The second upload is lost before it begins, so the mixture stays.
    let peer = retries_at_a_mixture(vec![
        ("SIZE", Act::Say("213 4")),
        ("APPE x", Act::Take("150 go", "226 done")),
        ("STOR x", Act::Say("421 bye")),
    ]);
    assert_eq!((count(&peer, "APPE"), count(&peer, "STOR")), (1, 2), "{}", peer.seen());
    assert_eq!(count(&peer, "DELE"), 1, "{}", peer.seen());
}
