//! Transfers that do not end well: lost, reset and stalled connections, and files that change
//! meanwhile.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ftp_tests::raw::DEADLINE;

use super::{content, sparse};
use crate::server::Fixture;
use crate::server::appends::IN_PLACE;

#[test]
fn st_15_hd_16_a_lost_control_connection_publishes_nothing() {
    let fixture = Fixture::new();
    fixture.write("old", "old");
    for name in ["old", "new"] {
        let mut session = fixture.session();
        let mut data = session.passive();
        session.expect(format!("STOR {name}"), 150);
        data.write_all(b"half");
        drop(session);
        // The server closes the data connection once it has seen the end of the control connection,
        // by a reset if unread data is left.
        let mut stream = data.stream();
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        match stream.read(&mut [0; 1]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    let report = fixture.server.shutdown(DEADLINE);
    assert_eq!((report.cut, report.stuck), (0, 0));
    assert_eq!(crate::server::published_in(fixture.root.path()), ["old"]);
    assert_eq!(std::fs::read(fixture.root.path().join("old")).expect("it"), b"old");
}

#[test]
fn a_lost_control_connection_is_noticed_after_a_command_flood() {
    // A stall would not end the transfer.
    let stall = Duration::MAX;
    let fixture =
        Fixture::configured(crate::server::quick_with(|config| config.timeouts.stall = stall));
    for flood in ["NOOP\r\n".repeat(300), format!("CWD {}\r\n", "a".repeat(8_000)).repeat(4)] {
        let mut session = fixture.session();
        let mut data = session.passive();
        session.expect("STOR a", 150);
        session.send(flood);
        data.write_all(b"half");
        drop(session);
        let mut stream = data.stream();
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        match stream.read(&mut [0; 1]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    let report = fixture.server.shutdown(DEADLINE);
    assert_eq!((report.cut, report.stuck), (0, 0));
    assert_eq!(crate::server::published_in(fixture.root.path()), [""; 0]);
}

#[test]
fn dc_53_hd_15_a_data_reset_fails_with_426_and_publishes_nothing() {
    let fixture = Fixture::new();
    fixture.write("old", "old");
    sparse(&fixture, "large", 64 << 20);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    for name in ["old", "new"] {
        let mut data = session.passive();
        session.expect(format!("STOR {name}"), 150);
        data.write_all(&content(100_000));
        data.reset();
        session.expect_reply(426);
    }
    for offset in [0, 1, 1_000, 100_000, 300_000, 1_000_000] {
        let mut data = session.passive();
        session.expect("RETR large", 150);
        let _some = data.read_exact(offset);
        data.reset();
        session.expect_reply(426);
        let mut data = session.passive();
        session.expect("STOR old", 150);
        data.write_all(&content(offset));
        data.reset();
        session.expect_reply(426);
    }
    session.expect_in_step();
    assert_eq!(fixture.published(), ["large", "old"]);
    assert_eq!(fixture.read("old"), b"old");
}

#[test]
fn st_09_hd_13_a_stalled_transfer_fails_with_426() {
    let fixture = Fixture::configured(crate::server::quick_with(|config| {
        config.timeouts.stall = Duration::from_millis(300);
    }));
    sparse(&fixture, "large", 64 << 20);
    let mut session = fixture.session();
    let _data = session.passive();
    session.expect("RETR large", 150);
    session.expect_reply(426);
    // The server may close it as soon as it began.
    let mut data = session.passive();
    data.write_all(b"half");
    session.expect("STOR new", 150);
    session.expect_reply(426);
    session.expect_in_step();
    assert_eq!(fixture.published(), ["large"]);
}

#[test]
fn unlimited_timeouts_do_not_end_the_session() {
    let fixture = Fixture::configured(crate::server::quick_with(|config| {
        config.timeouts.login = Duration::MAX;
        config.timeouts.idle = Duration::MAX;
        config.timeouts.data_connect = Duration::MAX;
        config.timeouts.stall = Duration::MAX;
    }));
    let mut session = fixture.session();
    let mut data = session.passive();
    session.expect("STOR a", 150);
    session.expect("STAT", 211);
    data.write_all(b"content");
    data.close();
    session.expect_reply(226);
    assert_eq!(session.download("RETR a"), b"content");
}

#[test]
fn a_flood_of_commands_does_not_keep_a_stalled_transfer_alive() {
    let stall = Duration::from_millis(300);
    let fixture =
        Fixture::configured(crate::server::quick_with(|config| config.timeouts.stall = stall));
    for flood in [&b"STAT\r\n"[..], b"\xff\xf1"] {
        let mut session = fixture.session();
        let _data = session.passive();
        session.expect("STOR never", 150);
        let mut stream = session.stream().try_clone().expect("another handle of the socket");
        // Ends with the session, whose end closes the connection.
        let sender =
            std::thread::spawn(move || while stream.write_all(&flood.repeat(500)).is_ok() {});
        let start = Instant::now();
        let ended = loop {
            match session.reply().code {
                211 => assert!(start.elapsed() < DEADLINE, "it goes on"),
                other => break other,
            }
        };
        assert_eq!(ended, 426);
        let _ = session.stream().shutdown(Shutdown::Both);
        sender.join().expect("the sender ends");
    }
    assert!(fixture.published().is_empty());
}

#[test]
fn cm_103_a_file_that_shrinks_during_a_download_fails_with_451() {
    let fixture = Fixture::new();
    sparse(&fixture, "a", 64 << 20);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("RETR a", 150);
    let _some = data.read_exact(1_000);
    let file = std::fs::File::options().write(true).open(fixture.path("a")).expect("it");
    file.set_len(40 << 20).expect("cut");
    let rest = data.read_to_end().len();
    assert!(rest < 64 << 20, "{rest}");
    session.expect_reply(451);
    session.expect_in_step();
}

#[test]
fn a_file_that_grows_during_a_download_is_sent_to_its_new_end_cm_103() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for kind in ["I", "A"] {
        sparse(&fixture, "a", 32 << 20);
        session.expect(format!("TYPE {kind}"), 200);
        let mut data = session.passive();
        session.expect("RETR a", 150);
        let some = data.read_exact(1_000).len();
        let mut file = std::fs::File::options().append(true).open(fixture.path("a")).expect("it");
        file.write_all(b"more").expect("room for it");
        let rest = data.read_to_end();
        assert_eq!(some + rest.len(), (32 << 20) + 4);
        assert!(rest.ends_with(b"more"));
        session.expect_reply(226);
    }
}

#[test]
fn a_download_ends_before_the_bytes_of_an_append_that_begins_meanwhile_fs_16_cm_103() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let mut other = fixture.session();
    other.expect("TYPE I", 200);
    for kind in ["I", "A"] {
        sparse(&fixture, "a", 32 << 20);
        session.expect(format!("TYPE {kind}"), 200);
        let mut data = session.passive();
        session.expect("RETR a", 150);
        let some = data.read_exact(1_000).len();
        let mut more = other.passive();
        other.expect("APPE a", 150);
        more.write_all(&IN_PLACE);
        let is_read = format!(" {} bytes so far", IN_PLACE.len());
        while !other.expect("STAT", 211).text().contains(&is_read) {}
        assert_eq!(some + data.read_to_end().len(), 32 << 20);
        session.expect_reply(226);
        other.expect("ABOR", 426);
        other.expect_reply(226);
    }
}

#[test]
fn fs_13_an_incomplete_upload_is_not_visible() {
    let fixture = Fixture::new();
    fixture.write("old", "old");
    let mut session = fixture.session();
    let mut other = fixture.session();
    for name in ["old", "new"] {
        let mut data = session.passive();
        session.expect(format!("STOR {name}"), 150);
        data.write_all(b"half");
        // The server has the bytes once STAT reports them.
        loop {
            if session.expect("STAT", 211).text().contains(" 4 bytes so far") {
                break;
            }
        }
        let listing = other.download("NLST");
        assert_eq!(listing.split(|byte| *byte == b'\n').count(), 2, "{listing:?}");
        assert_eq!(other.download("RETR old"), b"old");
        session.expect("ABOR", 426);
        session.expect_reply(226);
    }
}
