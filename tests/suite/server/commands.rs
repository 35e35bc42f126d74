//! Sections 3 and 4 of the conformance lines: states, the gate, and each command's codes.

mod changes;

use ftp_server::Rights;
use ftp_tests::raw::RawSession;

use super::{Fixture, play};

#[test]
fn known_but_unsupported_commands_fail_with_502_cm_51_cm_89_cm_96_cm_125_cm_127() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    for verb in [
        "SMNT",
        "LPRT",
        "LPSV",
        "ADAT",
        "MIC x",
        "SSCN",
        "CPSV",
        "PRET RETR x",
        "RMDA x",
        "MFCT",
        "XSHA512 x",
        "RANG 1 2",
        "COMB a",
    ] {
        session.expect(verb, 502);
    }
    session.expect("XYZZY", 500);
}

#[test]
fn st_02_the_first_of_several_errors_decides_the_reply() {
    let fixture = Fixture::configured(super::quick_with(|config| config.active = false));
    fixture.write("a", "a");
    let mut session = fixture.greeted();
    play(
        &mut session,
        &[
            ("RETR a\0b", 501),
            ("XYZZY a\rb", 501),
            // Not served comes before not allowed, and that before invalid.
            ("PORT", 502),
            ("RNTO", 530),
            ("PASS", 503),
            ("HOST", 501),
            ("USER u", 331),
            ("PASS p", 230),
            ("HOST", 503),
            ("USER", 530),
            // A wrong sequence comes before an invalid argument.
            ("RNTO", 503),
            ("EPSV ALL", 200),
            ("PASV x", 503),
            ("REST 1", 350),
            ("STOU a/b", 503),
            // An invalid argument comes before a missing data connection, and that before a missing
            // object.
            ("TYPE A X", 501),
            ("TYPE A C", 504),
            ("RETR", 501),
            ("RETR nowhere", 425),
            ("EPSV", 229),
            ("RETR nowhere", 550),
            ("RETR a", 425),
        ],
    );
}

#[test]
fn st_03_st_04_most_commands_are_refused_before_login() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    for line in [
        "PWD",
        "XPWD",
        "TYPE I",
        "TYPE",
        "MODE S",
        "STRU F",
        "STAT",
        "PASV",
        "PASV x",
        "EPSV",
        "PORT",
        "EPRT",
        "RETR a",
        "RETR",
        "STOR a",
        "APPE a",
        "LIST",
        "NLST",
        "MLSD",
        "MLST",
        "SIZE a",
        "MDTM a",
        "REST 1",
        "CWD /",
        "CDUP",
        "MKD a",
        "RMD a",
        "DELE a",
        "RNFR a",
        "RNTO a",
        "ALLO 1",
        "ALLO",
        "STOU",
        "MFMT",
        "MFF",
        "HASH a",
        "AVBL",
        "SITE HELP",
        "SITE",
    ] {
        session.expect(line, 530);
    }
    play(
        &mut session,
        &[
            ("FEAT", 211),
            ("HELP", 214),
            ("SYST", 215),
            ("NOOP", 200),
            ("OPTS UTF8 ON", 200),
            ("ABOR", 225),
            ("PASS p", 503),
            ("ACCT a", 503),
            ("AUTH TLS", 502),
            ("PBSZ 0", 503),
            ("PROT P", 503),
            ("CCC", 533),
            ("ADAT x", 502),
            ("LANG", 200),
            ("CLNT", 200),
            ("HOST h", 220),
            ("REIN", 220),
        ],
    );
    assert_eq!(fixture.names(), [""; 0]);
}

#[test]
fn cm_01_to_09_hs_27_logging_in() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    let known = session.expect("USER u", 331).bytes;
    assert_eq!(session.expect("USER nobody", 331).bytes, known, "HS-30");
    play(
        &mut session,
        &[
            ("USER", 501),
            ("USER ", 501),
            (&format!("USER {}", "a".repeat(513)), 501),
            (&format!("USER {}", "a".repeat(512)), 331),
            ("PASS x", 530),
            ("PASS p", 503),
            ("USER u", 331),
            ("PASS", 530),
            ("USER u", 331),
            ("USER u", 331),
            ("PASS p", 230),
            ("PASS p", 503),
            ("USER u", 530),
            ("USER", 530),
            ("PWD", 257),
        ],
    );
}

#[test]
fn cm_05_hs_33_anonymous_login_works_only_if_enabled() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    play(&mut session, &[("USER anonymous", 331), ("PASS me@", 530)]);
    let fixture = Fixture::with(|builder| builder.anonymous(Rights::READ));
    for user in ["anonymous", "ftp", "FTP"] {
        let mut session = fixture.greeted();
        session.expect(format!("USER {user}"), 331);
        session.expect("PASS", 230);
        session.expect("MKD a", 550);
    }
}

#[test]
fn cm_11_passwords_keep_every_byte() {
    let fixture = Fixture::with(|builder| builder.user("s", " a  b ", Rights::READ));
    let mut session = fixture.greeted();
    play(
        &mut session,
        &[("USER s", 331), ("PASS a  b", 530), ("USER s", 331), ("PASS  a  b ", 230)],
    );
}

#[test]
fn st_12_cm_12_the_third_failed_login_closes_the_session() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    for code in [530, 530, 421] {
        session.expect("USER u", 331);
        session.expect("PASS wrong", code);
    }
    session.expect_closed();
}

#[test]
fn cm_21_cm_22_quit_ends_the_session() {
    let fixture = Fixture::new();
    for (mut session, line) in [(fixture.greeted(), "QUIT"), (fixture.session(), "QUIT now")] {
        session.expect(line, 221);
        session.expect_closed();
    }
}

#[test]
fn cm_30_to_34_transfer_parameters() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    play(
        &mut session,
        &[
            ("TYPE A", 200),
            ("TYPE a n", 200),
            ("TYPE A T", 200),
            ("TYPE I", 200),
            ("TYPE I N", 200),
            ("TYPE L 8", 200),
            ("TYPE l8", 200),
            ("TYPE A C", 504),
            ("TYPE E", 504),
            ("TYPE E N", 504),
            ("TYPE L 7", 504),
            ("TYPE", 501),
            ("TYPE AN", 501),
            ("TYPE X", 501),
            ("TYPE A X", 501),
            ("STRU F", 200),
            ("STRU R", 504),
            ("STRU P", 504),
            ("STRU X", 501),
            ("STRU", 501),
            ("MODE S", 200),
            ("MODE B", 200),
            ("MODE C", 504),
            ("MODE Z", 504),
            ("MODE X", 501),
            ("MODE", 501),
        ],
    );
}

#[test]
fn cm_32_the_default_type_is_ascii_and_l_8_is_image() {
    let fixture = Fixture::new();
    fixture.write("a", "1\n2\n");
    let mut session = fixture.session();
    assert_eq!(session.expect("SIZE a", 213).bytes, b"213 6\r\n", "DV-16");
    session.expect("TYPE L 8", 200);
    assert_eq!(session.expect("SIZE a", 213).bytes, b"213 4\r\n");
    assert_eq!(session.download("RETR a"), b"1\n2\n");
}

#[test]
fn cm_35_to_41_passive_mode() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let reply = session.expect("PASV", 227);
    assert!(reply.bytes.starts_with(b"227 Entering Passive Mode (127,0,0,1,"), "{reply:?}");
    assert!(reply.bytes.ends_with(b").\r\n"), "DV-20: {reply:?}");
    let reply = session.expect("EPSV", 229);
    assert!(reply.bytes.starts_with(b"229 Entering Extended Passive Mode (|||"), "{reply:?}");
    session.expect("EPSV 1", 229);
    for line in ["EPSV 2", "EPSV 3", "EPSV 99999999999999999999"] {
        // CX-04: about the network protocol, before any transfer.
        let reply = session.expect(line, 522);
        assert_eq!(reply.bytes, b"522 Network protocol not supported, use (1)\r\n", "{line}");
    }
    play(&mut session, &[("PASV x", 501), ("EPSV x", 501), ("EPSV ALLO", 501)]);
    // CM-38, HD-21
    play(
        &mut session,
        &[
            ("epsv all", 200),
            ("PASV", 503),
            ("PORT 127,0,0,1,200,1", 503),
            ("EPRT |1|127.0.0.1|51201|", 503),
            ("LPRT x", 502),
            ("EPSV", 229),
        ],
    );
}

#[test]
fn cm_42_to_50_hd_01_to_03_active_addresses() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    play(
        &mut session,
        &[
            ("PORT 127,0,0,1,200,1", 200),
            ("PORT", 501),
            ("PORT 127,0,0,1,200", 501),
            ("PORT 127,0,0,1,200,1,1", 501),
            ("PORT 127,0,0,1,+1,1", 501),
            ("PORT 127,0,0,256,200,1", 501),
            ("PORT 127,0,0,1, 200,1", 501),
            ("PORT 127,0,0,1,0,0", 504),
            ("PORT 127,0,0,1,0,21", 504),
            ("PORT 127,0,0,1,3,255", 504),
            ("PORT 127,0,0,1,4,0", 200),
            ("PORT 127,0,0,2,200,1", 504),
            ("PORT 192,0,2,1,0,25", 504),
            ("PORT 0,0,0,0,200,1", 504),
            ("PORT 255,255,255,255,200,1", 504),
            ("PORT 224,0,0,1,200,1", 504),
            ("EPRT |1|127.0.0.1|51201|", 200),
            ("EPRT !1!127.0.0.1!51201!", 200),
            ("EPRT |1|192.0.2.1|51201|", 504),
            ("EPRT |1|127.0.0.1|80|", 504),
            ("EPRT |2|::1|51201|", 522),
            ("EPRT |3|x|51201|", 522),
            ("EPRT |1|127.0.0.1|51201", 501),
            ("EPRT |1|127.0.0.1|65536|", 501),
            ("EPRT |1|::1|51201|", 501),
            ("EPRT |1||51201|", 501),
            ("EPRT", 501),
        ],
    );
}

#[test]
fn cm_36_cm_46_dc_10_ipv6_sessions() {
    let fixture = Fixture::with(|builder| builder);
    let Ok(server) = ftp_server::Server::builder()
        .root(fixture.root.path())
        .user("u", "p", Rights::FULL)
        .bind("[::1]:0")
    else {
        eprintln!("skipped: cm_36_cm_46_dc_10_ipv6_sessions: this machine has no IPv6 loopback");
        return;
    };
    fixture.write("a", "six");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let reply = session.expect("PASV", 522);
    assert_eq!(reply.bytes, b"522 Network protocol not supported, use EPSV (2)\r\n");
    play(
        &mut session,
        &[
            ("PORT 127,0,0,1,200,1", 522),
            ("EPSV 1", 522),
            ("EPRT |1|127.0.0.1|51201|", 522),
            ("EPRT |2|::ffff:127.0.0.1|51201|", 522),
            ("EPRT |2|fe80::1|51201|", 504),
            ("EPRT |2|::|51201|", 504),
            ("EPRT |2|::1|51201|", 200),
            ("EPSV 2", 229),
        ],
    );
    let data = session.extended_passive();
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"six");
    session.expect_reply(226);
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_treated_as_ipv4() {
    let fixture = Fixture::new();
    let Ok(server) = ftp_server::Server::builder()
        .root(fixture.root.path())
        .user("u", "p", Rights::FULL)
        .bind("[::]:0")
    else {
        eprintln!("skipped: an_ipv4_client_of_an_ipv6_socket_is_treated_as_ipv4: no IPv6");
        return;
    };
    fixture.write("a", "four");
    let address = ([127, 0, 0, 1], server.local_addr().port()).into();
    let mut session = RawSession::login(address, "u", "p");
    session.expect("EPSV 2", 522);
    assert_eq!(session.download("RETR a"), b"four");
}

#[test]
fn cm_37_cm_46_dc_24_disabled_active_mode_fails_with_502() {
    let fixture = Fixture::configured(super::quick_with(|config| config.active = false));
    let mut session = fixture.session();
    play(
        &mut session,
        &[("PORT 127,0,0,1,200,1", 502), ("EPRT |1|127.0.0.1|51201|", 502), ("PASV", 227)],
    );
    let features = session.expect("FEAT", 211).text();
    assert!(!features.contains("EPRT") && features.contains("EPSV"), "{features}");
}

#[test]
fn cm_37_disabled_passive_mode_fails_with_502() {
    let fixture = Fixture::configured(super::quick_with(|config| config.passive.enabled = false));
    fixture.write("a", "a");
    let mut session = fixture.greeted();
    session.expect("PASV", 502);
    let mut session = fixture.session();
    play(&mut session, &[("PASV", 502), ("EPSV", 502), ("EPSV ALL", 502), ("RETR a", 425)]);
    let features = session.expect("FEAT", 211).text();
    assert!(!features.contains("EPSV") && features.contains("EPRT"), "{features}");
    let listener = session.active();
    session.expect("RETR a", 150);
    assert_eq!(listener.accept().read_to_end(), b"a");
    session.expect_reply(226);
}

#[test]
fn cm_52_cm_53_hs_22_restart_offsets() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    let big = format!("REST 1{}", "0".repeat(400));
    play(
        &mut session,
        &[
            ("REST 0", 350),
            ("REST 2147483648", 350),
            ("REST 4294967296", 350),
            ("REST 9223372036854775807", 350),
            ("REST 9223372036854775808", 501),
            (&big, 501),
            ("REST -1", 501),
            ("REST +1", 501),
            ("REST 0x10", 501),
            ("REST", 501),
        ],
    );
}

#[test]
fn cm_55_cm_58_options() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    play(
        &mut session,
        &[
            ("OPTS UTF8 ON", 200),
            ("OPTS utf8", 200),
            ("OPTS UTF-8", 200),
            ("OPTS UTF8 NLST", 200),
            ("OPTS UTF8 OFF", 501),
            ("OPTS NOPE", 501),
            ("OPTS", 501),
        ],
    );
}

#[test]
fn cm_56_hs_36_opts_mlst_selects_the_facts() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    let mut session = fixture.session();
    for (line, want) in [
        ("OPTS MLST size;Type;nonsense;size;", "200 MLST OPTS type;size;"),
        ("OPTS MLST", "200 MLST OPTS"),
        ("opts mlst UNIX.MODE", "200 MLST OPTS UNIX.mode;"),
        (&format!("OPTS MLST {}", "size;".repeat(1_000)), "200 MLST OPTS size;"),
        (&format!("OPTS MLST {}", ";".repeat(8_000)), "200 MLST OPTS"),
        (&format!("OPTS MLST perm;{}size;", ";".repeat(8_000)), "200 MLST OPTS size;perm;"),
        ("OPTS MLST size;", "200 MLST OPTS size;"),
    ] {
        assert_eq!(session.expect(line, 200).text(), want, "{line}");
    }
    assert_eq!(session.expect("MLST a", 250).lines[1], b" size=1; /a");
    let features = session.expect("FEAT", 211).text();
    assert!(
        features.contains("MLST type;size*;modify;perm;unique;UNIX.mode;"),
        "CM-138: {features}"
    );
    assert_eq!(session.download("MLSD"), b"size=1; a\r\n", "LS-04");
    session.expect("OPTS MLST", 200);
    assert_eq!(session.download("MLSD"), b" a\r\n", "LS-02");
    assert_eq!(session.expect("MLST a", 250).lines[1], b"  /a", "LS-02");
}

#[test]
fn cm_119_to_122_size_and_mdtm() {
    let fixture = Fixture::new();
    fixture.write("a b", "1\n");
    fixture.write("large", vec![b'\n'; (1 << 20) + 1]);
    let file = std::fs::File::options().write(true).open(fixture.path("a b")).expect("the file");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(938_565_235);
    file.set_modified(time).expect("its time");
    let mut session = fixture.session();
    assert_eq!(session.expect("MDTM a b", 213).bytes, b"213 19990929003355\r\n");
    assert_eq!(session.expect("SIZE a b", 213).bytes, b"213 3\r\n");
    play(
        &mut session,
        &[
            ("MKD d", 257),
            ("MDTM d", 550),
            ("MDTM nowhere", 550),
            ("MDTM 19990929003355 a b", 550),
            ("MDTM", 501),
            ("SIZE large", 550),
            ("TYPE I", 200),
            ("SIZE large", 213),
            ("SIZE d", 550),
            ("SIZE nowhere", 550),
            ("SIZE", 501),
        ],
    );
}

#[test]
fn cm_130_to_136_informational_commands() {
    let fixture = Fixture::new();
    let mut session = fixture.session();
    assert_eq!(session.expect("SYST", 215).bytes, b"215 UNIX Type: L8\r\n", "DV-18");
    play(
        &mut session,
        &[
            ("SYST x", 501),
            ("FEAT x", 501),
            ("HELP", 214),
            ("HELP retr", 214),
            ("HELP XYZZY", 502),
            ("HELP SMNT", 502),
            ("NOOP x", 200),
            ("ABOR x", 501),
            ("STAT nowhere", 550),
        ],
    );
}

#[test]
fn cm_131_stat_describes_the_session_without_secrets() {
    let fixture = Fixture::with(|builder| builder.user("somebody", "hidden", Rights::FULL));
    let address = fixture.server.local_addr();
    let mut session = RawSession::login(address, "somebody", "hidden");
    session.expect("TYPE I", 200);
    session.expect("PASV", 227);
    let status = session.expect("STAT", 211).text();
    for word in ["127.0.0.1", "somebody", "TYPE I", "MODE S", "STRU F", "Passive", "plaintext"] {
        assert!(status.contains(word), "{word}: {status}");
    }
    let root = fixture.root.path().display().to_string();
    assert!(!status.contains("hidden") && !status.contains(&root), "{status}");
    let help = session.expect("HELP", 214).text();
    assert!(["RETR", "MFMT", "HASH", "STOU"].iter().all(|verb| help.contains(verb)), "{help}");
    assert_eq!(session.expect("HELP mfmt", 214).bytes, b"214 Syntax: MFMT <time> <path>\r\n");
}

#[test]
fn cm_141_the_reply_to_an_unknown_verb_does_not_echo_it() {
    let fixture = Fixture::new();
    for mut session in [fixture.greeted(), fixture.session()] {
        for line in ["XYZZY", "XYZZY secret", "RETRX a"] {
            assert_eq!(session.expect(line, 500).bytes, b"500 Unknown command\r\n");
        }
    }
}

#[test]
fn cm_137_feat_lists_the_supported_features() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    let features = session.expect("FEAT", 211);
    let lines: Vec<_> = features.lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
    assert_eq!(
        lines,
        [
            "211-Features:",
            " AVBL",
            " CLNT",
            " EPRT",
            " EPSV",
            " HASH SHA-256*;SHA-512;SHA-1;",
            " HOST",
            " LANG EN*",
            " MDTM",
            " MFF Modify;UNIX.mode;",
            " MFMT",
            " MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;",
            " MODE B",
            " REST STREAM",
            " SIZE",
            " TVFS",
            " UTF8",
            " X-LINKS",
            " XCRC filename;start;end",
            " XMD5 filename;start;end",
            " XSHA1 filename;start;end",
            " XSHA256 filename;start;end",
            "211 End",
        ]
    );
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dev/conformance.md"));
    let text = text.expect("the specification").split_whitespace().collect::<Vec<_>>().join(" ");
    let specified =
        text.split("**CM-137**").nth(1).and_then(|text| text.split("It lists nothing").next());
    for line in &lines[1..lines.len() - 1] {
        assert!(
            specified.expect("CM-137").contains(&format!("`{}`", line.trim())),
            "CM-137 lacks {line}"
        );
    }
}
