//! The control connection: greeting, login, commands, and misplaced replies.

use std::io::Read;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ftp_client::error::{Phase, Unsupported};
use ftp_client::file::Existing;
use ftp_client::{
    Client, Error, ErrorKind, FileOptions, Get, ParseErrorKind, Permissions, Place, Put,
    RawCommand, TimeVal, Timeouts, Verb,
};
use ftp_tests::port::OwnPort;

use crate::peer::{SHORT, SOON, Server, timeouts};

fn builder() -> ftp_client::ClientBuilder {
    Client::builder().timeouts(timeouts())
}

#[test]
fn greetings_cl_03_hc_29() {
    let server = Server::start(|mut peer| {
        peer.send("120 wait\r\n220-hello\r\n220 ready\r\n");
        peer.answer("NOOP", "200 ok");
    });
    let mut client = server.connect(builder()).unwrap();
    assert_eq!(client.welcome().to_string(), "220 hello / ready");
    assert_eq!(client.peer_addr(), Some(server.address));
    client.noop().unwrap();
    server.end();

    for (greeting, want) in [
        ("421 too many", "the server is closing the connection: 421 too many"),
        ("530 not you", "unexpected greeting: 530 not you"),
        ("230 come in", "unexpected greeting: 230 come in"),
        ("hello", "protocol error: invalid reply: unexpected character"),
        (
            "SSH-2.0-x",
            "protocol error: invalid greeting of an SSH server, whose SFTP is another protocol: unexpected character",
        ),
        (
            "HTTP/1.1 400 no",
            "protocol error: invalid greeting of a web server: unexpected character",
        ),
    ] {
        let server = Server::start(move |mut peer| {
            peer.reply(greeting);
            peer.expect_end();
        });
        assert_eq!(server.connect(builder()).unwrap_err().to_string(), want);
        server.end();
    }
    let server = Server::start(|peer| peer.close());
    assert!(matches!(server.connect(builder()), Err(Error::Closed)));
    server.end();
}

#[test]
fn host_is_sent_on_request_cl_01() {
    for (reply, is_refused) in [("220 hello", false), ("500 what", false), ("504 who", true)] {
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("HOST 127.0.0.1", reply);
            if !is_refused {
                peer.answer("NOOP", "200 ok");
            }
            peer.expect_end();
        });
        match server.connect(builder().host_command(true)) {
            Ok(mut client) => {
                client.noop().unwrap();
                assert!(!is_refused, "{reply}");
            }
            Err(Error::Refused { verb: Verb::Host, .. }) => assert!(is_refused, "{reply}"),
            Err(error) => panic!("{reply}: {error}"),
        }
        server.end();
    }
    // Before any name is looked up.
    let connected = builder().host_command(true).connect("caf\u{e9}.example");
    assert!(matches!(connected, Err(Error::Argument(_))));
}

#[test]
fn an_endless_greeting_is_a_protocol_error_hc_12_hc_13() {
    for chunk in [&b"220-more\r\n"[..], b"2200000000"] {
        let server = Server::start(move |mut peer| {
            peer.send("220-\r\n");
            while peer.try_send(&chunk.repeat(1_000)) {}
        });
        assert!(matches!(server.connect(builder()), Err(Error::Protocol(_))));
        server.end();
    }
}

#[test]
fn a_slow_greeting_times_out_as_a_whole_hc_18_hc_12() {
    let timeouts = timeouts().greeting(SHORT);
    let server = Server::start(|mut peer| {
        peer.send("220-");
        // Each byte arrives well within the timeout, but all of them together do not.
        while peer.client_is_silent_for(SHORT / 10) && peer.try_send(b"x") {}
    });
    let begin = Instant::now();
    let error = server.connect(builder().timeouts(timeouts)).unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::Greeting)), "{error}");
    assert!(begin.elapsed() < SOON);
    server.end();
}

#[test]
fn a_reply_timeout_closes_the_connection() {
    let timeouts = timeouts().reply(SHORT);
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        peer.expect("NOOP");
        peer.expect_end();
    });
    let mut client = server.connect(builder().timeouts(timeouts)).unwrap();
    let error = client.noop().unwrap_err();
    assert_eq!(error.to_string(), "timed out waiting for the reply to NOOP");
    assert!(matches!(client.noop(), Err(Error::Closed)));
    server.end();
}

#[test]
fn connecting_to_an_unreachable_server_fails() {
    let closed = OwnPort::claim_closed();
    let port = closed.number();
    let error = builder().connect(&format!("localhost:{port}")).unwrap_err();
    assert!(matches!(error, Error::Io(_)) && error.is_transient(), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{error}");
    let error = builder().connect("no.such.name.invalid").unwrap_err();
    assert!(matches!(error, Error::Io(_) | Error::Timeout(Phase::Resolve)), "{error}");
}

#[test]
fn logins_cl_04() {
    let table: &[(&[&str], &str)] = &[
        (&["USER u", "230 in"], ""),
        (&["USER u", "232 in"], ""),
        (&["USER u", "331 pw", "PASS p", "230 in"], ""),
        (&["USER u", "331 pw", "PASS p", "202 in"], ""),
        (&["USER u", "331 pw", "PASS p", "530 no"], "PASS refused: 530 no"),
        (&["USER u", "530 no"], "USER refused: 530 no"),
        (&["USER u", "331 pw", "PASS p", "332 acct"], "PASS refused: 332 acct"),
        (&["USER u", "332 acct"], "USER refused: 332 acct"),
        (&["USER u", "331 pw", "PASS p", "331 again"], "PASS refused: 331 again"),
    ];
    for &(dialogue, want) in table {
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            dialogue.chunks(2).for_each(|pair| peer.answer(pair[0], pair[1]));
            peer.answer("NOOP", "200 ok");
        });
        let mut client = server.connect(builder()).unwrap();
        let got = client.login("u", "p").map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(got, want);
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn acct_is_sent_when_the_server_asks_for_it() {
    for first in ["332 acct", "331 pw"] {
        let server = Server::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("USER u", first);
            if first.starts_with("331") {
                peer.answer("PASS p", "332 acct");
            }
            peer.answer("ACCT billing", "230 in");
        });
        let mut client = server.connect(builder().account("billing")).unwrap();
        client.login("u", "p").unwrap();
        server.end();
    }
}

#[test]
fn line_breaks_are_refused_before_a_byte_is_sent_cl_40_hc_09() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("NOOP", "200 ok");
    });
    for bad in ["a\r\nDELE b", "a\nb", "a\rb", "a\0b"] {
        let errors = [
            client.login(bad, "p").err(),
            client.login("u", bad).err(),
            client.retrieve(bad).err(),
            client.store(bad).err(),
            client.list(bad).err(),
            client.stat(bad).err(),
            client.hash(bad, None).err(),
            client.store_unique(bad).err(),
            client.retrieve_range(bad, 0, 1).err(),
            client.size(bad).err(),
            client.cwd(bad).err(),
            client.mkdir(bad).err(),
            client.rename("a", bad).err(),
            client.rename(bad, "a").err(),
        ];
        for error in errors {
            assert!(matches!(error, Some(Error::Argument(_))), "{bad:?}");
        }
    }
    assert!(matches!(client.delete(""), Err(Error::Argument(_))));
    assert!(matches!(client.delete("a".repeat(9_000)), Err(Error::Argument(_))));
    client.noop().unwrap();
    server.end();
}

#[test]
fn simple_commands_cl_06_cl_07() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("PWD", "257 \"/a \"\"b\"\"\" is it");
        peer.answer("CWD /x", "250 ok");
        peer.answer("CDUP", "200 ok");
        peer.answer("MKD d", "257 \"/d\" made");
        peer.answer("MKD d", "250 made");
        peer.answer("MKD d", "257 \"/d\rDELE x\" made");
        peer.answer("RMD d", "250 ok");
        peer.answer("DELE f", "200 ok");
        peer.answer("RNFR a", "350 go on");
        peer.answer("RNTO b", "250 ok");
        peer.answer("RNFR a", "550 none");
        peer.answer("SYST", "215 UNIX Type: L8");
        peer.answer("SITE CHMOD 644 a", "202 superfluous");
        peer.answer("XYZZY", "500 what");
        peer.answer("QUIT", "221 bye");
    });
    assert_eq!(client.pwd().unwrap().as_bytes(), b"/a \"b\"");
    client.cwd("/x").unwrap();
    client.cdup().unwrap();
    assert_eq!(client.mkdir("d").unwrap().unwrap().as_bytes(), b"/d");
    assert_eq!(client.mkdir("d").unwrap(), None);
    assert_eq!(client.mkdir("d").unwrap(), None, "a path with CR is none");
    client.rmdir("d").unwrap();
    client.delete("f").unwrap();
    client.rename("a", "b").unwrap();
    assert!(matches!(client.rename("a", "b"), Err(Error::Refused { verb: Verb::Rnfr, .. })));
    assert_eq!(client.system().unwrap(), b"UNIX Type: L8");
    for (line, want) in [("SITE CHMOD 644 a", 202), ("XYZZY", 500)] {
        let reply = client.quote(&RawCommand::new(line).unwrap()).unwrap();
        assert_eq!(reply.code().value(), want);
    }
    for line in ["RETR a", "stor a", "LIST", "NLST", "MLSD", "APPE a", "STOU", "AUTH TLS", "MODE B"]
    {
        let error = client.quote(&RawCommand::new(line).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Argument(_)), "{line}");
    }
    client.quit().unwrap();
    server.end();
}

#[test]
fn an_invalid_257_reply_is_a_protocol_error_cl_42_cl_43_hc_10_hc_11() {
    for reply in ["257 \"/x", "257 /x", "257 \"/x\x07\"", "257 \"\"", "257 \"/x\rSTOR evil\""] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("PWD", reply);
            peer.expect_end();
        });
        assert!(matches!(client.pwd(), Err(Error::Protocol(_))), "{reply:?}");
        assert!(matches!(client.noop(), Err(Error::Closed)));
        server.end();
    }
}

#[test]
fn size_and_time_cl_17_hc_16_hc_31() {
    let sizes = [
        ("213 1024", Some(1_024)),
        ("213 0", Some(0)),
        ("213 -1", None),
        ("213 +1", None),
        ("213 18446744073709551616", None),
        ("213 ", None),
        ("550 no such file", None),
        ("500 what", None),
    ];
    let times = [
        ("213 19700101000001", Some(1)),
        ("213 19700101000001.5", Some(1)),
        ("213 99999999999999", None),
        ("213 191000101000000", None),
        ("550 no", None),
    ];
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.answer("TYPE I", "200 ok");
        sizes.iter().for_each(|(reply, _)| peer.answer("SIZE a", reply));
        times.iter().for_each(|(reply, _)| peer.answer("MDTM a", reply));
        peer.answer("SIZE a", "530 log in");
        peer.answer("MDTM a", "450 busy");
    });
    for (reply, want) in sizes {
        assert_eq!(client.size("a").unwrap(), want, "{reply}");
    }
    for (reply, want) in times {
        let time = client.modified("a").unwrap();
        assert_eq!(time.map(|time| time.unix_seconds()), want, "{reply}");
    }
    assert!(matches!(client.size("a"), Err(Error::Refused { .. })));
    assert!(matches!(client.modified("a"), Err(Error::Refused { .. })));
    server.end();
}

#[test]
fn features_and_utf8_cl_18_hc_21() {
    for (feat, asks) in [
        ("211-Features:\r\n UTF8\r\n SIZE\r\n211 End", true),
        ("211-Features:\r\nSIZE\r\n211 End", false),
        ("502 no", false),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("FEAT", feat);
            if asks {
                peer.answer("OPTS UTF8 ON", "501 always on");
            }
            peer.answer("DELE caf\u{e9}", "250 ok");
            peer.answer("DELE \u{e9}", "250 ok");
            peer.expect(b"DELE \xe9");
            peer.reply("250 ok");
        });
        client.delete("caf\u{e9}").unwrap();
        assert_eq!(client.features().unwrap().has("SIZE"), feat.contains("SIZE"));
        client.delete("\u{e9}").unwrap();
        client.delete(b"\xe9").unwrap();
        server.end();
    }
}

#[test]
fn a_million_features_are_a_protocol_error_hc_22() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.expect("FEAT");
        peer.reply("211-Features:");
        let lines = b" FEATURE\r\n".repeat(10_000);
        assert!(!(0..100).all(|_| peer.try_send(&lines)), "the client took all of it");
        peer.expect_end();
    });
    let error = client.features().unwrap_err();
    assert!(
        matches!(&error, Error::Protocol(why) if why.kind == ParseErrorKind::TooLong),
        "{error:?}"
    );
    assert!(matches!(client.noop(), Err(Error::Closed)), "nothing can be understood again");
    server.end();
}

#[test]
fn a_non_utf8_name_is_sent_without_feat() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.expect(b"DELE \xe9");
        peer.reply("250 ok");
    });
    client.delete(b"\xe9").unwrap();
    server.end();
}

#[test]
fn a_0xff_byte_is_not_doubled_for_servers_that_keep_both() {
    let vsftpd = "211-Features:\r\n EPRT\r\n EPSV\r\n MDTM\r\n PASV\r\n REST STREAM\r\n SIZE\r\n \
                  TVFS\r\n211 End";
    let pure = "211-Extensions supported:\r\n ESTA\r\n ESTP\r\n UTF8\r\n211 End.";
    let proftpd = "211-Features:\r\n EPRT\r\n EPSV\r\n MDTM\r\n MFMT\r\n PASV\r\n REST STREAM\r\n SIZE\r\n \
                   TVFS\r\n UTF8\r\n MFF modify;UNIX.group;UNIX.mode;\r\n211 End";
    let gateway = "211-Features:\r\n CLNT\r\n EPRT\r\n EPSV\r\n HOST\r\n LANG EN*\r\n MODE B\r\n TVFS\r\n \
                   UTF8\r\n211 End";
    for (greeting, features, wire) in [
        ("220 (vsFTPd 3.0.3)", None, &b"DELE a\xffb"[..]),
        ("220 ProFTPD Server", None, b"DELE a\xff\xffb"),
        (
            "220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n220 x",
            None,
            b"DELE a\xffb",
        ),
        ("220 pyftpdlib 1.5.7 ready.", None, b"DELE a\xffb"),
        ("220 hello", Some(vsftpd), b"DELE a\xffb"),
        ("220 hello", Some(pure), b"DELE a\xffb"),
        ("220 hello", Some(proftpd), b"DELE a\xff\xffb"),
        ("220 hello", Some("211-Features:\r\n X-LINKS\r\n211 End"), b"DELE a\xff\xffb"),
        ("220 hello", Some(gateway), b"DELE a\xff\xffb"),
    ] {
        let server = Server::start(move |mut peer| {
            peer.reply(greeting);
            peer.answer("USER u", "331 password");
            peer.answer("PASS p", "230 in");
            if let Some(features) = features {
                peer.answer("FEAT", features);
            }
            // The client looks only once.
            for _ in 0..2 {
                peer.expect(wire);
                peer.reply("250 ok");
            }
        });
        let mut client = server.connect(Client::builder().timeouts(timeouts())).unwrap();
        client.login("u", "p").unwrap();
        client.delete(b"a\xffb").unwrap();
        client.quote(&RawCommand::new(b"DELE a\xffb").unwrap()).unwrap();
        server.end();
    }
}

#[test]
fn no_name_with_0xff_is_changed_if_its_reading_is_unknown_fr_19() {
    let server = Server::start(|mut peer| {
        peer.reply("220 hello");
        peer.answer("USER u", "331 password");
        peer.answer("PASS p", "230 in");
        peer.answer("FEAT", "502 no");
        peer.answer("NOOP", "200 ok");
    });
    let mut client = server.connect(Client::builder().timeouts(timeouts())).unwrap();
    client.login("u", "p").unwrap();
    let name = b"a\xffb";
    let time = TimeVal::from_unix_seconds(0).unwrap();
    for (what, refused) in [
        ("STOR", client.store(name).map(drop)),
        ("APPE", client.append(name).map(drop)),
        ("MKD", client.mkdir(name).map(drop)),
        ("CWD", client.cwd(name)),
        ("RMD", client.rmdir(name)),
        ("DELE", client.delete(name)),
        ("RNFR", client.rename(name, b"x")),
        ("RNTO", client.rename(b"x", name)),
        ("MFMT", client.set_modified(name, time).map(drop)),
    ] {
        let Err(Error::Unsupported(Unsupported::UnknownIac)) = refused else {
            panic!("{what}: {refused:?}")
        };
    }
    client.noop().unwrap();
    server.end();
}

/// Pure-FTPd reads `\t` in a name as `_`, which is another file.
#[test]
fn a_name_with_a_control_character_is_sent_only_where_it_is_kept_cl_45() {
    for (greeting, features) in [
        ("220---------- Welcome to Pure-FTPd [TLS] ----------\r\n220 hi", None),
        ("220 hello", Some("502 no")),
        ("220 hello", Some("211-Extensions\r\n ESTA\r\n ESTP\r\n TVFS\r\n211 End")),
    ] {
        let server = Server::start(move |mut peer| {
            peer.reply(greeting);
            peer.answer("USER u", "331 password");
            peer.answer("PASS p", "230 in");
            if let Some(features) = features {
                peer.answer("FEAT", features);
            }
            peer.answer("NOOP", "200 ok");
        });
        let mut client = server.connect(builder()).unwrap();
        client.login("u", "p").unwrap();
        let time = TimeVal::from_unix_seconds(0).unwrap();
        // Only Pure-FTPd is known to change a blank at the end.
        let blank = (features != Some("502 no")).then_some(&b"d/x "[..]);
        let controls = [&b"d/\tx"[..], b"\x01", b"a\x1fb", b"a\x7f/b"];
        for name in controls.into_iter().chain(blank) {
            for (what, refused) in [
                ("RETR", client.retrieve(name).map(drop)),
                ("SIZE", client.size(name).map(drop)),
                ("MDTM", client.modified(name).map(drop)),
                ("MLST", client.stat(name).map(drop)),
                ("CWD", client.cwd(name)),
                ("STOR", client.store(name).map(drop)),
                ("APPE", client.append(name).map(drop)),
                ("MKD", client.mkdir(name).map(drop)),
                ("RMD", client.rmdir(name)),
                ("DELE", client.delete(name)),
                ("RNFR", client.rename(name, b"x")),
                ("RNTO", client.rename(b"x", name)),
                ("MFMT", client.set_modified(name, time).map(drop)),
                ("CHMOD", client.chmod(name, Permissions::new(0o600))),
            ] {
                let error = refused.unwrap_err();
                let (want, kind) = (ErrorKind::Unsupported, error.kind());
                assert!(kind == want && matches!(error, Error::Argument(_)), "{what}: {error}");
            }
        }
        client.noop().unwrap();
        server.end();
    }
    let features = " X-LINKS\r\n";
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.answer("FEAT", &format!("211-Features:\r\n{features}211 End"));
        peer.answer("DELE d/\t\x1b", "250 gone");
        peer.answer("MDTM d/\t\x1b", "550 no");
    });
    client.delete("d/\t\x1b").unwrap();
    assert_eq!(client.modified("d/\t\x1b").unwrap(), None);
    server.end();
}

#[test]
fn two_replies_to_one_command_desynchronise_cl_13_hc_17() {
    // The second reply arrives in one segment with the first, or separately, whole or in part.
    for (with, behind) in [("200 again\r\n", ""), ("", "226 from nowhere\r\n"), ("", "22")] {
        let (sent, was_sent) = mpsc::channel();
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.expect("NOOP");
            peer.send(format!("200 ok\r\n{with}"));
            peer.send(behind);
            sent.send(()).unwrap();
            peer.expect_end();
        });
        client.noop().unwrap();
        was_sent.recv().unwrap();
        assert!(matches!(client.delete("a"), Err(Error::Desynchronised)));
        assert!(matches!(client.noop(), Err(Error::Closed)));
        server.end();
    }
}

#[test]
fn replies_of_the_wrong_kind_are_unexpected_hc_17() {
    for (command, reply) in [("NOOP", "331 why"), ("QUIT", "331 why"), ("QUIT", "250 why")] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer(command, reply);
            peer.expect_end();
        });
        let error = match command {
            "NOOP" => {
                let error = client.noop().unwrap_err();
                assert!(matches!(client.noop(), Err(Error::Closed)));
                error
            }
            _ => client.quit().unwrap_err(),
        };
        assert!(matches!(error, Error::Unexpected { .. }), "{error}");
        server.end();
    }
}

#[test]
fn a_final_reply_before_the_transfer_command_desynchronises_hc_17() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.expect("EPSV");
        let port = peer.listen();
        peer.send(format!("229 (|||{port}|)\r\n150 ok\r\n226 done\r\n"));
        peer.expect_end();
    });
    assert!(matches!(client.retrieve("a"), Err(Error::Desynchronised)));
    server.end();
}

#[test]
fn a_connection_closed_while_idle_is_an_error_hc_34() {
    for last in ["", "421 idle too long\r\n"] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.send(last);
            peer.close();
        });
        server.end();
        match client.noop() {
            Err(Error::Closed) if last.is_empty() => {}
            Err(Error::ServiceClosing(_)) if !last.is_empty() => {}
            result => panic!("{last:?}: {result:?}"),
        }
        assert!(matches!(client.noop(), Err(Error::Closed)));
    }
}

#[test]
fn quit_succeeds_without_a_reply() {
    let (server, client) = Server::logged_in(|mut peer| {
        peer.expect("QUIT");
        peer.close();
    });
    client.quit().unwrap();
    server.end();
}

#[test]
fn quit_aborts_a_dropped_download_first() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        let _data = peer.data();
        peer.expect_abort();
        peer.send("226 done\r\n225 nothing\r\n");
        peer.answer("QUIT", "221 bye");
    });
    let mut file = client.retrieve("a").unwrap();
    assert_eq!(file.read(&mut []).unwrap(), 0);
    drop(file);
    client.quit().unwrap();
    server.end();
}

#[test]
fn client_is_send_and_debug_hides_secrets() {
    fn is_send<T: Send + std::fmt::Debug>() {}
    is_send::<Client>();
    is_send::<Error>();
    let shown = format!("{:?}", Client::builder().account("secret"));
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(Timeouts::default().final_reply, Duration::from_secs(300));
}

#[test]
fn an_unreadable_time_is_not_taken_for_none() {
    const YEAR_19123: &str = "213 191231114221320";
    const ENTRY: &str = "250-so\r\n modify=20231114221320;type=file; a\r\n250 end";
    for (time, entry, want) in [
        ("213 20231114221320", None, Ok(1_700_000_000)),
        (YEAR_19123, Some(ENTRY), Ok(1_700_000_000)),
        ("502 what", Some(ENTRY), Ok(1_700_000_000)),
        (YEAR_19123, Some("502 what"), Err("cannot be read: 213 191231114221320")),
        ("502 what", Some("502 what"), Err("does not report the modification time")),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.answer("MDTM a", time);
            if let Some(entry) = entry {
                peer.answer("MLST a", entry);
            }
        });
        match (client.modification_time("a"), want) {
            (Ok(time), want) => assert_eq!(Ok(time.unix_seconds()), want),
            (Err(error), Ok(_)) => panic!("{error}"),
            (Err(error), Err(words)) => {
                assert!(error.to_string().contains(words), "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
            }
        }
        server.end();
    }
    // An upload that depends on the time does not take the file for a missing one.
    let here = tempfile::NamedTempFile::new().unwrap();
    let (server, mut client) = Server::logged_in(|mut peer| peer.answer("MDTM a", YEAR_19123));
    let options = FileOptions::new().existing(Existing::ReplaceOlder);
    let mut put = Put::from_path(here.path(), Place::at("a"), &options);
    assert!(matches!(put.attempt(&mut client, &()), Err(Error::UnreadableTime(_))));
    server.end();
    // A download whose time matters begins no transfer.
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("MDTM a", YEAR_19123);
        peer.answer("MLST a", "502 what");
    });
    let options = FileOptions::new().preserve(true);
    let mut bytes = Vec::new();
    let mut get = Get::to_writer(Place::at("a"), &mut bytes, &options);
    assert!(matches!(get.attempt(&mut client, &()), Err(Error::UnreadableTime(_))));
    server.end();
}

#[test]
fn a_reply_that_ends_with_another_code_does_not_wait_for_its_own_rp_18() {
    for (answer, is_stored) in [
        ("553-old file\r\n553- is replaced\r\n150 Opening", true),
        ("150-welcome\r\n553 no", false),
    ] {
        let (server, mut client) = Server::logged_in(move |mut peer| {
            peer.image_epsv();
            peer.answer("STOR a", answer);
            if is_stored {
                assert_eq!(peer.read_data(), b"hello");
                peer.reply("226 done");
            }
            peer.answer("NOOP", "200 ok");
        });
        let stored = client.store("a").and_then(|upload| upload.copy_from(&mut &b"hello"[..]));
        assert_eq!(stored.is_ok(), is_stored, "{stored:?}");
        client.noop().unwrap();
        server.end();
    }
    // A line with other digits inside a reply is text, if more follows.
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("CWD a", "250-news\r\n550 is only text\r\n250 in");
        peer.answer("NOOP", "200 ok");
    });
    client.cwd("a").unwrap();
    client.noop().unwrap();
    server.end();
}

#[test]
fn odd_codes_of_simple_commands_are_understood_cl_18() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("FEAT", "221 what is that");
        peer.answer("RNFR a", "250 go on");
        peer.answer("RNTO b", "250 done");
        // It has done nothing, so that RNTO would have no file.
        peer.answer("RNFR a", "202 not here");
        // -1, as an unsigned number.
        peer.answer("TYPE I", "200 ok");
        peer.answer("SIZE a", "213 18446744073709551615");
        peer.answer("SIZE a", "213 9223372036854775807");
    });
    assert_eq!(client.features().unwrap().iter().count(), 0);
    client.rename("a", "b").unwrap();
    assert!(matches!(client.rename("a", "b"), Err(Error::Refused { verb: Verb::Rnfr, .. })));
    assert_eq!(client.size("a").unwrap(), None);
    assert_eq!(client.size("a").unwrap(), Some(i64::MAX.unsigned_abs()));
    server.end();
}

#[test]
fn a_directory_that_is_answered_twice_costs_no_session_cl_13() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        peer.answer("CWD d", "200 ok\r\n250 in");
        peer.answer("SYST", "215 UNIX");
        peer.answer("DELE a", "250 gone");
    });
    client.cwd("d").unwrap();
    client.system().unwrap();
    client.delete("a").unwrap();
    server.end();
}
