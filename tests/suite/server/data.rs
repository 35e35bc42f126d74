//! Sections 5 and 6 of the conformance lines: data connections, transfers, restart and ASCII.

mod aborts;
mod ends;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::wait::{at_last, patiently, wait_until_closed};

use super::{CUT, Fixture};

/// Returns content that is larger than small buffers and differs at every place.
pub(super) fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

#[test]
fn dc_13_dc_14_connecting_before_or_after_the_command() {
    let fixture = Fixture::new();
    let want = content(300_000);
    fixture.write("a", &want);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let data = session.passive();
    let reply = session.expect("RETR a", 150);
    assert!(reply.text().ends_with("(300000 bytes)"), "CM-100: {reply:?}");
    assert_eq!(data.read_to_end(), want);
    session.expect_reply(226);
    let address = passive_address(&mut session);
    session.expect("RETR a", 150);
    let data = RawData::connect(address);
    assert_eq!(data.read_to_end(), want);
    session.expect_reply(226);
}

/// Returns the address in the reply to `EPSV`.
pub(super) fn passive_address(session: &mut RawSession) -> SocketAddr {
    let text = session.expect("EPSV", 229).text();
    let port = text.split('|').nth(3).and_then(|port| port.parse().ok()).expect("a port");
    SocketAddr::new(session.stream().peer_addr().expect("a peer").ip(), port)
}

#[test]
fn dc_20_active_connections() {
    let fixture = Fixture::new();
    let want = content(300_000);
    fixture.write("a", &want);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let listener = session.active();
    session.expect("RETR a", 150);
    assert_eq!(listener.accept().read_to_end(), want);
    session.expect_reply(226);
    let listener = session.active();
    session.expect("STOR b", 150);
    let mut data = listener.accept();
    data.write_all(&want);
    data.close();
    session.expect_reply(226);
    assert_eq!(fixture.read("b"), want);
    // DC-23: an announced address serves one transfer.
    session.expect("RETR a", 425);
}

#[test]
fn cm_104_stor_and_appe_in_both_types() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.upload("STOR text", b"a\r\nb\nc\rd\r");
    assert_eq!(fixture.read("text"), b"a\nb\nc\rd\r", "AS-01");
    session.upload("APPE text", b"\r\ne");
    assert_eq!(fixture.read("text"), b"a\nb\nc\rd\r\ne");
    assert_eq!(session.download("RETR text"), b"a\r\nb\r\nc\rd\r\ne", "AS-02");
    session.expect("TYPE I", 200);
    session.upload("STOR text", b"a\r\nb");
    session.upload("APPE text", b"\r\n");
    session.upload("APPE new", b"n");
    assert_eq!(
        (fixture.read("text"), fixture.read("new")),
        (b"a\r\nb\r\n".to_vec(), b"n".to_vec())
    );
    session.upload("STOR empty", b"");
    assert_eq!(fixture.read("empty"), b"", "DV-21");
    assert_eq!(session.download("RETR empty"), b"");
    assert_eq!(fixture.names(), ["empty", "new", "text"]);
}

#[test]
fn as_01_ascii_conversion_does_not_depend_on_segments() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let mut data = session.passive();
    session.expect("STOR a", 150);
    for byte in b"x\r\ny\r\r\n\n\r" {
        data.write_all(&[*byte]);
    }
    data.close();
    session.expect_reply(226);
    assert_eq!(fixture.read("a"), b"x\ny\r\n\n\r");
}

#[test]
fn as_03_as_04_cx_10_rest_offsets_count_bytes_of_the_current_type() {
    let fixture = Fixture::new();
    fixture.write("a", "1\n22\r\n\n333");
    let mut session = fixture.session();
    for (kind, whole) in [("I", &b"1\n22\r\n\n333"[..]), ("A", b"1\r\n22\r\n\r\n333")] {
        session.expect(format!("TYPE {kind}"), 200);
        assert_eq!(session.expect("SIZE a", 213).text(), format!("213 {}", whole.len()));
        for offset in 0..=whole.len() {
            // TYPE, PASV and NOOP may come between REST and RETR: ST-05.
            session.expect("TYPE I", 200);
            session.expect(format!("REST {offset}"), 350);
            session.expect(format!("TYPE {kind}"), 200);
            session.expect("NOOP", 200);
            assert_eq!(session.download("RETR a"), &whole[offset..], "TYPE {kind} from {offset}");
        }
        session.expect(format!("REST {}", whole.len() + 1), 350);
        session.expect("PASV", 227);
        session.expect("RETR a", 554);
        assert_eq!(session.download("RETR a"), whole, "the offset is gone");
    }
}

#[test]
fn rest_offsets_deep_in_an_ascii_file_count_converted_bytes_as_03_as_05() {
    let fixture = Fixture::new();
    let mut text = Vec::new();
    for number in 0..30_000 {
        let end = if number % 7 == 0 { "\r\n" } else { "\n" };
        text.extend(format!("line {number}{end}").bytes());
    }
    fixture.write("a", &text);
    let mut session = fixture.session();
    let whole = session.download("RETR a");
    assert_eq!(whole.iter().filter(|byte| **byte == b'\r').count(), 30_000);
    // Around the edges of reads, where a CR and its LF are separated, and at the end.
    let edges = (0..=whole.len()).step_by(65_536).flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    for offset in edges.chain([whole.len() - 1, whole.len()]) {
        session.expect(format!("REST {offset}"), 350);
        let rest = session.download("RETR a");
        assert!(rest == whole[offset..], "from {offset}: {} bytes", rest.len());
    }
    session.expect(format!("REST {}", whole.len() + 1), 350);
    session.expect("PASV", 227);
    session.expect("RETR a", 554);
}

/// Lines that are refused for their form, whatever they were meant to be: with a CR at the end, as the
/// name of a file of macOS has, with a NUL, and with a HTAB.
const BAD_FORMS: [&str; 4] = ["STOR Icon\r", "RETR a\0b", "RETR\ta", " STOR a"];

#[test]
fn st_05_hs_26_other_commands_cancel_rest() {
    let fixture = Fixture::new();
    fixture.write("a", "0123456789");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let others = ["PWD", "CWD /", "SIZE a", "FEAT", "SYST", "XYZZY", "REST x", "STAT /"];
    for line in others.into_iter().chain(BAD_FORMS) {
        session.expect("REST 5", 350);
        session.ask(line);
        assert_eq!(session.download("RETR a"), b"0123456789", "after {line}");
    }
    session.expect("REST 5", 350);
    session.download("LIST");
    assert_eq!(session.download("RETR a"), b"0123456789");
    session.expect("REST 5", 350);
    session.expect("STAT", 211);
    assert_eq!(session.download("RETR a"), b"56789");
}

#[test]
fn no_command_between_rest_and_an_upload_makes_an_end_the_whole_file_st_05_hs_26() {
    const KEEP: [&str; 11] =
        ["", "NOOP", "STAT", "TYPE", "TYPE I", "PASV", "PORT", "EPSV", "EPRT", "ALLO", "ALLO 3"];
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let help = session.ask("HELP").lines;
    let served = help[1..help.len() - 1].concat();
    let ends = ["QUIT", "REIN", "RETR", "STOR", "STOU", "APPE", "LIST", "NLST", "MLSD"];
    let bare = str::from_utf8(&served).unwrap().split(' ').filter(|verb| !ends.contains(verb));
    let others = ["CWD /", "SIZE a", "MDTM a", "STAT /", "ALLO 3", "MODE S", "TYPE I", "XYZZY"];
    let too_long = format!("STOR {}", "n".repeat(9_000));
    let lines: Vec<&str> = bare.chain(others).chain(BAD_FORMS).chain(["", &too_long]).collect();
    assert!(lines.len() > 40, "{lines:?}");
    for line in lines {
        for verb in ["STOR", "APPE"] {
            fixture.write("a", "0123456789");
            session.expect("REST 5", 350);
            session.ask(line);
            session.expect("EPSV", 229);
            if KEEP.contains(&line) {
                session.upload(format!("{verb} a"), b"new");
                assert_eq!(fixture.read("a"), b"01234new", "{verb} after {line}");
                continue;
            }
            // A client that was told that its REST is wrong knows that there is none.
            if line != "REST" {
                let refused = session.expect(format!("{verb} a"), 503).text();
                assert!(refused.contains("REST"), "{refused}");
                assert_eq!(fixture.read("a"), b"0123456789", "{verb} after {line}");
            }
            session.upload("STOR a", b"all of it");
            assert_eq!(fixture.read("a"), b"all of it", "{verb} after {line}");
        }
    }
    session.expect("REST 5", 350);
    session.download("LIST");
    session.expect("EPSV", 229);
    session.expect("STOU", 503);
    session.expect("REST 5", 350);
    session.download("LIST");
    session.expect("REST 0", 350);
    session.upload("STOR a", b"whole");
    assert_eq!(fixture.read("a"), b"whole");
}

#[test]
fn cm_107_cm_108_restarted_uploads() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    for (verb, offset, want) in [
        ("STOR", 0, Ok("new")),
        ("STOR", 4, Ok("0123new")),
        ("APPE", 4, Ok("0123new")),
        ("STOR", 10, Ok("0123456789new")),
        ("STOR", 11, Err(554)),
        ("APPE", 11, Err(554)),
    ] {
        fixture.write("a", "0123456789");
        session.expect(format!("REST {offset}"), 350);
        match want {
            Ok(want) => {
                session.upload(format!("{verb} a"), b"new");
                assert_eq!(fixture.read("a"), want.as_bytes(), "{verb} from {offset}");
            }
            Err(code) => {
                session.expect("PASV", 227);
                session.expect(format!("{verb} a"), code);
                assert_eq!(fixture.read("a"), b"0123456789");
            }
        }
    }
    session.expect("REST 1", 350);
    session.expect("PASV", 227);
    session.expect("STOR nowhere", 554);
    session.expect("REST 4611686018427387904", 350);
    session.expect("PASV", 227);
    session.expect("STOR a", 554);
    session.expect("TYPE A", 200);
    session.expect("REST 1", 350);
    session.expect("PASV", 227);
    session.expect("STOR a", 555);
    assert_eq!(fixture.names(), ["a"]);
}

#[test]
fn cm_100_cm_105_hp_07_objects_that_cannot_be_transferred() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("d")).expect("a directory");
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path("socket")).expect("a socket");
    let mut session = fixture.session();
    for (line, code) in [
        ("RETR d", 550),
        ("RETR nowhere", 550),
        ("RETR socket", 550),
        ("RETR .ftp-upload-x", 550),
        ("STOR d", 553),
        ("STOR /", 553),
        ("STOR nowhere/a", 550),
        ("STOR .ftp-upload-x", 553),
        ("APPE d", 553),
    ] {
        session.expect("PASV", 227);
        session.expect(line, code);
    }
    session.expect("PASV", 227);
    let long = "a".repeat(256);
    session.expect(format!("STOR {long}"), 553);
    for line in ["RETR", "STOR", "APPE"] {
        session.expect(line, 501);
    }
    assert_eq!(fixture.names(), ["d", "socket"]);
}

#[test]
fn cm_116_st_06_st_07_cx_11_a_data_connection_serves_one_transfer() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    for line in ["RETR a", "STOR b", "APPE b", "LIST", "NLST", "MLSD", "RETR nowhere"] {
        session.expect(line, 425);
    }
    // A refusal before the object is checked keeps the listener; a later one uses it up.
    session.expect("PASV", 227);
    session.expect("RETR", 501);
    session.expect("RETR nowhere", 550);
    session.expect("RETR a", 425);
    let first = passive_address(&mut session);
    let second = passive_address(&mut session);
    assert_ne!(first, second);
    wait_until_closed(first);
    session.expect("PORT 127,0,0,1,200,1", 200);
    wait_until_closed(second);
}

/// curl looks for a reply once a second while it starts TLS on the data connection; a reset before
/// that would hide the refusal.
#[test]
fn the_data_connection_of_a_refused_transfer_stays_until_the_next_command_st_06() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let mut data = session.passive().into_stream();
    data.write_all(b"a TLS handshake").unwrap();
    session.expect("RETR nowhere", 550);
    data.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let error = data.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    session.expect("NOOP", 200);
    RawData::over(data).expect_reset();
}

#[test]
fn hs_25_a_second_transfer_on_one_listener_fails_with_425() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    let data = session.passive();
    session.send("RETR a\r\nRETR a\r\nSTOR b\r\n");
    session.expect_reply(150);
    assert_eq!(data.read_to_end(), b"a");
    for code in [226, 425, 425] {
        session.expect_reply(code);
    }
    session.expect_in_step();
}

#[test]
fn hs_24_pipelined_commands_wait_for_a_pending_transfer() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    let address = passive_address(&mut session);
    session.send("RETR a\r\nUSER /etc/passwd\r\n");
    session.expect_reply(150);
    let data = RawData::connect(address);
    assert_eq!(data.read_to_end(), b"a");
    session.expect_reply(226);
    session.expect_reply(530);
}

#[test]
fn dc_09_hd_05_data_connections_from_other_hosts_are_rejected() {
    let fixture = Fixture::new();
    fixture.write("a", "mine");
    let mut session = fixture.session();
    let address = passive_address(&mut session);
    session.expect("RETR a", 150);
    // An orderly end would look like an empty file to a server that stores it.
    RawData::expect_reset_from([127, 0, 0, 2].into(), address);
    let data = RawData::connect(address);
    assert_eq!(data.read_to_end(), b"mine");
    session.expect_reply(226);
}

#[test]
fn dc_09_hd_07_a_client_behind_many_strangers_gets_its_file() {
    let fixture = Fixture::new();
    fixture.write("a", "mine");
    let mut session = fixture.session();
    let address = passive_address(&mut session);
    let strangers: Vec<_> =
        (0..400).map(|_| RawData::connect_from([127, 0, 0, 2].into(), address)).collect();
    let data = RawData::connect(address);
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"mine");
    session.expect_reply(226);
    strangers.into_iter().for_each(RawData::expect_reset);
}

#[test]
fn dc_09_hd_07_too_many_rejected_data_connections_fail_with_425() {
    let fixture = Fixture::new();
    fixture.write("a", "mine");
    let mut session = fixture.session();
    let address = passive_address(&mut session);
    session.expect("RETR a", 150);
    for _ in 0..1_000 {
        RawData::expect_reset_from([127, 0, 0, 2].into(), address);
    }
    session.expect_reply(425);
    wait_until_closed(address);
    session.expect_in_step();
}

#[test]
fn dc_11_hd_11_a_missing_passive_connection_times_out_with_425() {
    let config =
        super::quick_with(|config| config.timeouts.data_connect = Duration::from_millis(300));
    let fixture = Fixture::configured(config);
    fixture.write("a", "a");
    let mut session = fixture.session();
    session.expect("PASV", 227);
    session.expect("RETR a", 150);
    session.expect_reply(425);
    session.expect("PASV", 227);
    session.expect("STOR b", 150);
    session.expect_reply(425);
    session.expect_in_step();
    assert_eq!(fixture.published(), ["a"], "DC-55");
}

#[test]
fn dc_22_a_refused_active_connection_fails_with_425() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    let _closed = session.active_without_listening();
    session.expect("RETR a", 150);
    session.expect_reply(425);
    session.expect_in_step();
}

#[test]
fn dc_15_hd_20_data_connections_closed_early() {
    let fixture = Fixture::new();
    fixture.write("empty", "");
    let mut session = fixture.session();
    for line in ["STOR new", "APPE new", "RETR empty"] {
        let data = session.passive();
        data.close();
        session.expect(line, 150);
        session.expect_reply(226);
    }
    assert_eq!(fixture.names(), ["empty", "new"]);
    // Data that cannot arrive is not reported as complete.
    sparse(&fixture, "large", 64 << 20);
    session.expect("TYPE I", 200);
    let data = session.passive();
    drop(data);
    session.expect("RETR large", 150);
    session.expect_reply(426);
    // Data that arrived before the command is kept.
    let mut data = session.passive();
    data.write_all(b"early");
    data.close();
    session.expect("STOR new", 150);
    session.expect_reply(226);
    assert_eq!(fixture.read("new"), b"early");
    session.expect_in_step();
}

/// Makes a sparse file of zeros.
fn sparse(fixture: &Fixture, name: &str, length: u64) {
    let file = std::fs::File::create(fixture.path(name)).expect("a file in the root");
    file.set_len(length).expect("a file with a hole");
}

#[test]
fn as_05_restart_offsets_beyond_4_gib() {
    let fixture = Fixture::new();
    sparse(&fixture, "large", (5 << 30) + 3);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    session.expect(format!("REST {}", 5_u64 << 30), 350);
    assert_eq!(session.download("RETR large"), [0; 3]);
    session.expect(format!("REST {}", (5_u64 << 30) + 4), 350);
    session.expect("PASV", 227);
    session.expect("RETR large", 554);
}

#[test]
fn a_slow_upload_is_not_a_stall_and_ends_at_shutdown_hd_14_st_09_st_13() {
    let stall = Duration::from_secs(1);
    let fixture = Fixture::configured(super::quick_with(|config| config.timeouts.stall = stall));
    // A busy machine may let more time than that pass between two bytes.
    at_last("an upload drips", || {
        let mut session = fixture.session();
        let data = session.passive();
        session.expect("STOR a", 150);
        let start = Instant::now();
        while start.elapsed() < stall * 5 / 2 && data.stream().write_all(b"x").is_ok() {
            std::thread::park_timeout(stall / 10);
        }
        data.close();
        (session.reply().code == 226).then_some(())
    });
    patiently(CUT, |_| {
        let fixture = Fixture::new();
        let mut session = fixture.session();
        let mut data = session.passive();
        session.expect("STOR a", 150);
        data.write_all(b"x");
        session.expect("STAT", 211);
        let report = fixture.server.shutdown(Duration::from_millis(100));
        assert_eq!((report.drained, report.cut, report.stuck), (0, 1, 0));
        session.expect_reply(426);
        session.expect_reply(421);
        assert_eq!(super::published_in(fixture.root.path()), [""; 0]);
    });
}

#[test]
fn listings_end_lines_with_crlf_under_every_type_as_08() {
    let fixture = Fixture::new();
    fixture.write("a", "1\n2\n");
    fixture.write("b", "");
    let mut session = fixture.session();
    for kind in ["A", "I", "L 8"] {
        session.expect(format!("TYPE {kind}"), 200);
        for command in ["LIST", "NLST", "MLSD"] {
            let lines = session.download(command);
            let text = String::from_utf8(lines).expect("ASCII names");
            assert!(text.ends_with("\r\n"), "{text:?}");
            assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
            assert!(!text.contains("\r\r"), "{text:?}");
        }
    }
}

#[test]
fn dc_47_cm_133_dv_17_only_stat_is_answered_during_a_transfer() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let mut data = session.passive();
    session.expect("STOR a", 150);
    session.send("NOOP\r\nSTAT\r\nPWD\r\nSTAT /\r\n");
    let status = session.expect_reply(211).text();
    assert!(status.contains("Transfer in progress"), "{status}");
    data.write_all(b"x");
    data.close();
    for code in [226, 200, 257, 212] {
        session.expect_reply(code);
    }
    assert_eq!(fixture.read("a"), b"x");
}

#[test]
fn dc_48_hs_04_a_flood_during_a_transfer_ends_the_session() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let mut data = session.passive();
    session.expect("STOR a", 150);
    session.send("NOOP\r\n".repeat(300));
    let mut flooding = session.stream().try_clone().expect("another handle");
    let flood = std::thread::spawn(move || flooding.write_all(&b"NOOP\r\n".repeat(100_000)));
    data.write_all(b"x");
    data.close();
    session.expect_reply(226);
    session.expect_reply(421);
    // The rest was never read.
    session.expect_closed();
    let _ = flood.join().expect("it ends");
    assert_eq!(fixture.read("a"), b"x");
}

#[test]
fn cm_21_dv_23_quit_during_an_upload_waits_for_its_end() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let mut data = session.passive();
    session.expect("STOR a", 150);
    session.send("QUIT\r\n");
    session.stream().shutdown(Shutdown::Write).expect("a half close");
    data.write_all(b"whole");
    data.close();
    session.expect_reply(226);
    session.expect_reply(221);
    session.expect_closed();
    assert_eq!(fixture.read("a"), b"whole");
}

#[test]
fn a_download_completes_even_if_the_client_sends_data_dc_50_dc_52_dc_54() {
    let fixture = Fixture::new();
    let want = content(5 << 20);
    fixture.write("a", &want);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("RETR a", 150);
    data.write_all(b"this belongs to nobody");
    assert_eq!(data.read_to_end(), want);
    session.expect_reply(226);
}

#[test]
fn transfers_without_a_large_buffer_are_complete() {
    for buffers in [0, 256 * 1024] {
        let fixture =
            Fixture::configured(super::quick_with(|config| config.limits.buffers = buffers));
        let content = content(1_000_000);
        let lines = b"a line of some length, as people write them\r\n".repeat(20_000);
        std::thread::scope(|scope| {
            for number in 0..6 {
                let (fixture, content, lines) = (&fixture, &content, &lines);
                scope.spawn(move || {
                    let mut session = fixture.session();
                    session.expect("TYPE I", 200);
                    session.upload(format!("STOR {number}"), content);
                    assert!(session.download(format!("RETR {number}")) == *content);
                    session.expect("TYPE A", 200);
                    session.upload(format!("STOR text {number}"), lines);
                    assert!(session.download(format!("RETR text {number}")) == *lines);
                });
            }
        });
        for number in 0..6 {
            assert!(fixture.read(&number.to_string()) == content);
        }
    }
}
