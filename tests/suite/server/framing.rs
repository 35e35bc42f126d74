//! Sections 1 and 2 of the conformance lines: FR and RP, and the lines HS that attack them.

use std::io::{Read, Write};
use std::time::Duration;

use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::wait::wait_until;

use super::Fixture;

const IAC: u8 = 0xff;

#[test]
fn fr_01_lines_end_at_crlf_regardless_of_segments() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    session.send("NO");
    session.send("OP\r");
    session.send("\nNOOP\r\nNO");
    session.expect_reply(200);
    session.expect_reply(200);
    session.send("OP\r\n");
    session.expect_reply(200);
    session.expect_in_step();
}

#[test]
fn fr_02_hs_08_single_bytes_give_the_same_replies() {
    let fixture = Fixture::new();
    let dialogue = "USER u\r\nPASS p\r\nPWD\r\nTYPE I\r\nXYZZY\r\nRETR\r\nCWD nowhere\r\nQUIT\r\n";
    let replies = |pieces: Vec<&[u8]>| {
        let mut session = fixture.greeted();
        pieces.into_iter().for_each(|piece| session.send(piece));
        let replies: Vec<_> = (0..8).map(|_| session.reply().bytes).collect();
        session.expect_closed();
        replies
    };
    let whole = replies(vec![dialogue.as_bytes()]);
    assert_eq!(replies(dialogue.as_bytes().chunks(1).collect()), whole);
}

#[test]
fn a_bare_lf_separates_commands_except_in_strict_mode_fr_03_hs_11() {
    for strict_crlf in [false, true] {
        let fixture = Fixture::configured(super::quick().strict_crlf(strict_crlf));
        fixture.write("b", "b");
        let mut session = fixture.session();
        session.expect("PASV", 227);
        session.send("STOR ../\nDELE b\r\n");
        let (codes, left): (&[u16], &[&str]) =
            if strict_crlf { (&[500], &["b"]) } else { (&[553, 250], &[]) };
        for code in codes {
            session.expect_reply(*code);
        }
        session.expect_in_step();
        assert_eq!(fixture.names(), left);
    }
}

#[test]
fn fr_03_dv_13_a_bare_lf_ends_a_line() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    session.send("USER u\nPASS p\nPWD\n");
    for code in [331, 230, 257] {
        session.expect_reply(code);
    }
}

#[test]
fn fr_04_to_07_hs_09_hs_10_hs_12_cx_14_stray_cr_and_nul_bytes_are_refused() {
    let fixture = Fixture::new();
    fixture.write("b", "stays");
    let mut session = fixture.session();
    for line in [
        &b"STOR a\r\0\nDELE b\r\n"[..],
        b"STOR a\r\0b\r\n",
        b"CWD /x\rSTOR evil\r\n",
        b"DELE b\0x\r\n",
        b"DELE b\r\r\n",
        b"NOOP\0\r\n",
        b"XYZZY\0\r\n",
    ] {
        session.send(line);
        session.expect_reply(501);
        session.expect_in_step();
    }
    assert_eq!(fixture.names(), ["b"]);
    let mut session = fixture.greeted();
    session.send(b"USER u\0b\r\n");
    session.expect_reply(501);
    session.expect("PASS p", 503);
}

#[test]
fn fr_08_dv_22_an_empty_line_gets_one_500() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for _ in 0..30 {
        session.expect("", 500);
    }
    session.expect_in_step();
    let mut session = fixture.greeted();
    session.send("USER u\r\n\r\nPASS p\r\n\r\n");
    for code in [331, 500, 230, 500] {
        session.expect_reply(code);
    }
    fixture.write("a", "");
    session.send("RNFR a\r\n\r\nRNTO b\r\n\r\n");
    for code in [350, 500, 250, 500] {
        session.expect_reply(code);
    }
}

#[test]
fn fr_09_the_longest_accepted_line() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    // Too long for a path, but not for a line.
    session.expect(format!("CWD {}", "a".repeat(8_192 - 4)), 550);
    let reply = session.expect(format!("CWD {}", "a".repeat(8_192 - 3)), 500);
    assert_eq!(reply.bytes, b"500 Line too long\r\n");
    session.expect(format!("CWD {}", "a".repeat(50_000)), 500);
    session.expect_in_step();
}

#[test]
fn fr_10_hs_01_a_line_of_1_gib_ends_the_session() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let mut stream = session.stream().try_clone().expect("another handle");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let block = vec![b'x'; 1 << 20];
    // The server stops reading long before; then writing fails.
    let sent = (0..1_024).take_while(|_| stream.write_all(&block).is_ok()).count();
    assert!(sent < 1_024, "all of it was taken");
    // The reset may have discarded the replies; if not, they are these two.
    let mut said = Vec::new();
    let _reset = stream.read_to_end(&mut said);
    let said = String::from_utf8(said).expect("replies are ASCII");
    let codes: Vec<&str> = said.lines().map(|line| &line[..3]).collect();
    assert!(codes.is_empty() || codes == ["500"] || codes == ["500", "421"], "{said}");
    fixture.session().expect_in_step();
}

#[test]
fn fr_10_65536_bytes_without_a_line_end_fail_with_421() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.send(vec![b'x'; 65_536]);
    session.expect_reply(500);
    session.expect_reply(421);
    session.expect_closed();
}

#[test]
fn fr_11_hs_02_eof_in_a_line_ends_the_session() {
    for bytes in [&b"NOO"[..], &[b'x'; 9_000], b"NOOP\r", b"\xff"] {
        let fixture = Fixture::new();
        let mut session = fixture.session();
        session.send(bytes);
        session.stream().shutdown(std::net::Shutdown::Write).expect("a half close");
        if bytes.len() > 8_192 {
            session.expect_reply(500);
        }
        session.expect_closed();
        let report = fixture.server.shutdown(DEADLINE);
        assert_eq!((report.cut, report.stuck), (0, 0), "the session had ended by itself");
    }
}

#[test]
fn fr_12_fr_16_hs_19_invalid_verbs_fail_with_500() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for line in ["9AB", "RE-TR x", "RETR\tx", "ABCDEFGHIJKLM", " NOOP", "-", "XYZZY", "NOOPx"] {
        let reply = session.expect(line, 500);
        assert_eq!(reply.bytes, b"500 Unknown command\r\n", "no echo: CM-141");
    }
    for byte in 1..=255_u8 {
        if !matches!(byte, b'\r' | b'\n' | IAC) {
            session.expect([byte], 500);
        }
    }
    session.expect_in_step();
}

#[test]
fn fr_13_verbs_are_case_insensitive() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for line in ["noop", "NoOp", "pwd", "xPwD", "type i", "TYPE i"] {
        let code = session.ask(line).code;
        assert!(matches!(code, 200 | 257), "{line}: {code}");
    }
}

#[test]
fn fr_14_fr_17_fr_18_names_are_octets() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for name in [&b" a "[..], b"\xe9\x80\xfe", "e\u{301}".as_bytes(), b"\xc0\xae", b"\"q\"", b"-x"]
    {
        let command = [b"MKD ", name].concat();
        session.expect(&command, 257);
        session.expect([b"RMD ", name].concat(), 250);
        session.expect([b"RMD ", name.trim_ascii(), b"y"].concat(), 550);
    }
}

#[test]
fn fr_15_padding_around_keywords_is_ignored() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for (line, code) in [
        ("TYPE  I ", 200),
        ("MODE  S", 200),
        ("STRU F  ", 200),
        ("REST  5 ", 350),
        ("EPSV  1 ", 229),
        ("EPSV  ", 229),
        ("OPTS  UTF8 ON ", 200),
    ] {
        session.expect(line, code);
    }
}

#[test]
fn fr_19_a_doubled_iac_is_one_byte() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.send(b"MKD a\xff\xffb\r\n");
    let reply = session.expect_reply(257);
    assert!(reply.bytes.starts_with(b"257 \"/a\xff\xffb\""), "FR-24: {reply:?}");
    session.expect_in_step();
    let entry = std::fs::read_dir(fixture.root.path()).expect("the root").next();
    let name = entry.expect("one entry").expect("readable").file_name();
    assert_eq!(name.as_encoded_bytes(), b"a\xffb");
}

#[test]
fn fr_20_fr_21_fr_22_hs_14_telnet_commands_are_answered_and_removed() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    let bytes = [
        &b"NO"[..],
        &[IAC, 253, 1],
        b"O",
        &[IAC, 241],
        &[IAC, 251, 3, IAC, 252, 9, IAC, 254, 9],
        &[IAC, 244, IAC, 242],
        b"P\r\n",
    ]
    .concat();
    bytes.chunks(1).for_each(|byte| session.send(byte));
    session.expect_reply(200);
    session.expect_in_step();
    assert_eq!(session.telnet(), [vec![IAC, 252, 1], vec![IAC, 254, 3]]);
}

#[test]
fn fr_20_hs_13_a_telnet_flood_gets_only_16_answers() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.send([IAC, 253, 1].repeat(350_000));
    session.expect("NOOP", 200);
    assert_eq!(session.telnet().len(), 16);
}

#[test]
fn fr_23_hs_15_urgent_data_is_read_inline() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    session.send([IAC, 244]);
    session.send_urgent([IAC, 242]);
    session.send("ABOR\r\n");
    session.expect_reply(225);
    // Python's ftplib sends the last byte of its ABOR line like this.
    session.send_urgent("ABOR\r\n");
    session.expect_reply(225);
    for _ in 0..1_000 {
        session.send_urgent([IAC, 241]);
    }
    session.expect("ABOR", 225);
    session.expect_in_step();
}

#[test]
fn fr_26_pipelined_commands_are_answered_in_order() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let count = 5_000;
    let mut sender = session.stream().try_clone().expect("another handle");
    let writer = std::thread::spawn(move || {
        for _ in 0..count {
            sender.write_all(b"NOOP\r\nSYST\r\nXYZZY\r\n").expect("the server reads on");
        }
    });
    for _ in 0..count {
        for code in [200, 215, 500] {
            session.expect_reply(code);
        }
    }
    writer.join().expect("all was sent");
}

#[test]
fn fr_29_hs_17_ten_bad_lines_before_login_end_the_session() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    for _ in 0..9 {
        session.expect("XYZZY", 500);
    }
    session.expect("NOOP", 200);
    for _ in 0..9 {
        session.expect("\x16\x03\x01", 500);
    }
    session.expect("", 421);
    session.expect_closed();
}

#[test]
fn fr_30_hs_16_http_requests_are_refused_with_421() {
    let fixture = Fixture::new();
    for request in ["POST / HTTP/1.1\r\nHost: x\r\n\r\nUSER u\r\nPASS p\r\n", "Host: x\r\nNOOP\r\n"]
    {
        let mut session = fixture.greeted();
        session.send(request);
        session.expect_reply(421);
        session.expect_closed();
    }
    let mut session = fixture.greeted();
    session.expect("NOOP", 200);
    session.expect("GET / HTTP/1.1", 500);
}

#[test]
fn fr_31_a_reply_arrives_in_one_read() {
    let fixture = Fixture::new();
    let session = fixture.session();
    let mut stream = session.stream().try_clone().expect("another handle");
    stream.write_all(b"FEAT\r\n").expect("sent");
    let mut bytes = vec![0; 16 * 1_024];
    let count = stream.read(&mut bytes).expect("a reply");
    assert!(bytes[..count].ends_with(b"\r\n211 End\r\n"), "RP-05, whole in the first read");
}

#[test]
fn an_endless_pipeline_is_stopped_by_back_pressure_fr_27_hs_03() {
    // `control.rs` tests that the session ends 30 s later.
    let fixture = Fixture::new();
    let session = fixture.session();
    let mut stream = session.stream().try_clone().expect("another handle");
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let commands = b"HELP\r\n".repeat(1_000);
    // A write with a timeout is interrupted if the process is stopped meanwhile.
    let mut refused = (0..100_000).filter_map(|_| stream.write(&commands).err());
    let blocked = refused.find(|error| error.kind() != std::io::ErrorKind::Interrupted);
    assert_eq!(blocked.expect("no bound").kind(), std::io::ErrorKind::WouldBlock);
    fixture.session().expect_in_step();
}

#[test]
fn rp_01_rp_02_multi_line_replies_are_well_formed() {
    // RawSession rejects every other form, so the test is that it can read these.
    let fixture = Fixture::new();
    fixture.write("213 looks like a reply", "x");
    let mut session = fixture.session();
    for (line, code) in
        [("FEAT", 211), ("HELP", 214), ("STAT", 211), ("STAT .", 212), ("MLST", 250)]
    {
        let reply = session.expect(line, code);
        assert!(reply.lines.len() > 2, "{line}");
        for line in &reply.lines[1..reply.lines.len() - 1] {
            assert!(!line[0].is_ascii_digit(), "{reply:?}");
        }
    }
}

#[test]
fn rp_07_rp_08_rp_10_each_transfer_gets_one_150_before_226() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    for line in ["RETR a", "STOR b", "APPE b", "LIST", "NLST", "MLSD"] {
        // Temporary: the same command works once there is a data connection.
        session.expect(line, 425);
        let data = session.passive();
        session.expect(line, 150);
        if line.starts_with("STOR") || line.starts_with("APPE") {
            data.close();
        } else {
            let _all = data.read_to_end();
        }
        session.expect_reply(226);
        session.expect_in_step();
    }
}

#[test]
fn rp_09_st_08_cx_07_an_idle_session_gets_an_unsolicited_421() {
    let config = super::quick_with(|config| config.timeouts.idle = Duration::from_millis(500));
    let fixture = Fixture::configured(config);
    let mut session = RawSession::login_in_time(fixture.server.local_addr(), "u", "p");
    session.expect_reply(421);
    session.expect_closed();
}

#[test]
fn rp_15_reply_texts_are_ascii() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    for line in
        ["HELP", "FEAT", "STAT", "SYST", "\u{e9}", "CWD \u{e9}", "SIZE \u{e9}", "TYPE \u{e9}"]
    {
        let reply = session.ask(line);
        assert!(reply.bytes.is_ascii(), "{reply:?}");
    }
}

#[test]
fn rp_03_rp_04_rp_05_format_of_213_250_and_211_replies() {
    let fixture = Fixture::new();
    fixture.write("a", "12345");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    assert_eq!(session.expect("SIZE a", 213).bytes, b"213 5\r\n");
    assert_eq!(session.expect("MDTM a", 213).lines.len(), 1);
    let facts = session.expect("MLST a", 250);
    assert_eq!(facts.lines.len(), 3);
    assert!(facts.lines[1].starts_with(b" type=file;size=5;"), "{facts:?}");
    let features = session.expect("FEAT", 211);
    assert_eq!(features.lines.last().map(Vec::as_slice), Some(&b"211 End"[..]));
    for line in &features.lines[1..features.lines.len() - 1] {
        assert!(line[0] == b' ' && line[1] != b' ', "{features:?}");
    }
}

#[test]
fn rp_11_rp_14_the_greeting_does_not_identify_the_software() {
    let fixture = Fixture::new();
    let mut session = RawSession::connect(fixture.server.local_addr());
    assert_eq!(session.reply().bytes, b"220 Service ready\r\n");
}

#[test]
fn rp_12_rp_14_a_full_server_refuses_with_421() {
    // One of the three is for another host.
    let fixture = Fixture::configured(super::quick_with(|config| config.limits.sessions = 3));
    let mut first = fixture.session();
    let second = fixture.session();
    let mut third = RawSession::connect(fixture.server.local_addr());
    assert_eq!(third.reply().bytes, b"421 Too many connections\r\n");
    third.expect_closed();
    first.expect_in_step();
    drop(second);
    first.expect("QUIT", 221);
    first.expect_closed();
    // The place is returned when the session's thread ends, a moment after the close.
    let greeting = || RawSession::connect(fixture.server.local_addr()).reply().code;
    wait_until("a place is given back", || greeting() == 220);
}

#[test]
fn rp_16_replies_do_not_reveal_host_paths() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let root = fixture.root.path().to_string_lossy().into_owned();
    for line in ["CWD x", "RETR", "PWD", "STAT", "STAT /", "MLST", "MKD a/b/c", "RMD /", "DELE x"] {
        let reply = session.ask(line);
        assert!(!reply.text().contains(&root), "{reply:?}");
    }
}

#[test]
fn the_last_reply_is_not_lost_to_a_reset() {
    let fixture = Fixture::new();
    for _ in 0..20 {
        let mut session = fixture.session();
        let stream = session.stream().try_clone().expect("another handle");
        // Lines after QUIT are not read as commands, and must not prevent the 221.
        session.send([b"QUIT\r\n".as_slice(), &b"NOOP\r\n".repeat(20_000)].concat());
        let mut bytes = Vec::new();
        (&stream).read_to_end(&mut bytes).expect("an end in good order");
        assert_eq!(bytes, b"221 Goodbye\r\n");
    }
}
