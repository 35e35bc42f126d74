//! One file with one call.

use std::io::Read;

use ftp_client::{Client, Error, FtpUrl, ParseError, Report, get, put};

use crate::peer::{Peer, Server, timeouts};

fn greet(peer: &mut Peer, user: &str, password: &str) {
    peer.reply("220 ready");
    peer.answer(&format!("USER {user}"), "331 password");
    peer.answer(&format!("PASS {password}"), "230 in");
}

#[test]
fn get_uses_the_login_and_path_of_the_url_cl_60_cl_61_cl_64() {
    for (login, user, password, path, argument) in [
        ("", "anonymous", "anonymous@", "a", "a"),
        ("u:p%40@", "u", "p@", "pub/a%20b", "pub/a b"),
        ("u:p@", "u", "p", "%2Fetc/motd", "/etc/motd"),
    ] {
        let server = Server::start(move |mut peer| {
            greet(&mut peer, user, password);
            peer.image_epsv();
            peer.answer(&format!("RETR {argument}"), "150 Opening (5 bytes)");
            peer.send_data(b"hello");
            peer.reply("226 done");
            peer.answer("QUIT", "221 bye");
        });
        let url = format!("ftp://{login}{}/{path}", server.address);
        let mut bytes = Vec::new();
        let report = get(&url, &mut bytes).unwrap();
        assert_eq!((report.bytes, bytes.as_slice()), (5, &b"hello"[..]));
        server.end();
    }
}

#[test]
fn ascii_transfers_convert_text_and_skip_the_size_check_as_01_as_02() {
    let server = Server::start(|mut peer| {
        greet(&mut peer, "u", "p");
        peer.answer("TYPE A", "200 ok");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"one\r\ntwo\r\n");
        peer.reply("226 done");
        peer.answer("QUIT", "221 bye");
    });
    let mut bytes = Vec::new();
    let url: FtpUrl = format!("ftp://u:p@{}/a;type=a", server.address).parse().unwrap();
    assert_eq!(get(&url, &mut bytes).unwrap().bytes, 8);
    assert_eq!(bytes, b"one\ntwo\n");
    server.end();

    let server = Server::start(|mut peer| {
        greet(&mut peer, "u", "p");
        peer.answer("TYPE A", "200 ok");
        peer.epsv();
        peer.answer("STOR a", "150 Opening");
        assert_eq!(peer.read_data(), b"one\r\ntwo\r\n");
        peer.reply("226 done");
        peer.answer("QUIT", "221 bye");
    });
    let url = format!("ftp://u:p@{}/a;type=A", server.address);
    assert_eq!(put(url.as_str(), &mut &b"one\ntwo\n"[..]).unwrap().bytes, 8);
    server.end();
}

#[test]
fn a_path_refused_with_550_is_retried_once_with_cwd_cl_60() {
    let enter = |peer: &mut Peer, verb: &str| {
        greet(peer, "u", "p");
        peer.image_epsv();
        peer.answer(&format!("{verb} a/b/c/d"), "550 no such file");
        peer.answer("CWD a", "250 there");
        peer.answer("CWD b/c", "250 there");
        peer.epsv();
    };
    for is_there in [true, false] {
        let server = Server::start(move |mut peer| {
            enter(&mut peer, "RETR");
            if is_there {
                peer.answer("RETR d", "150 Opening");
                peer.send_data(b"hello");
                peer.reply("226 done");
                peer.answer("SIZE d", "213 5");
                peer.answer("QUIT", "221 bye");
            } else {
                peer.answer("RETR d", "550 not here either");
                peer.expect_end();
            }
        });
        let mut bytes = Vec::new();
        let got = get(&format!("ftp://u:p@{}/a/b%2Fc/d", server.address), &mut bytes);
        assert_eq!(got.is_ok(), is_there, "{got:?}");
        server.end();
    }
    let server = Server::start(move |mut peer| {
        enter(&mut peer, "STOR");
        peer.answer("STOR d", "150 Opening");
        assert_eq!(peer.read_data(), b"hello");
        peer.reply("226 done");
        peer.answer("SIZE d", "550 what you give is gone");
        peer.answer("QUIT", "221 bye");
    });
    let url = format!("ftp://u:p@{}/a/b%2Fc/d", server.address);
    assert_eq!(put(&url, &mut &b"hello"[..]).unwrap().bytes, 5);
    server.end();
    // No directory can be entered; any other refusal is the result.
    for (refusal, enters) in [("550 no such file", true), ("553 no", false), ("450 busy", false)] {
        let server = Server::start(move |mut peer| {
            greet(&mut peer, "u", "p");
            peer.image_epsv();
            peer.answer("RETR a/b", refusal);
            if enters {
                peer.answer("CWD a", "550 no such directory");
            }
            peer.expect_end();
        });
        let mut bytes = Vec::new();
        let failed = get(&format!("ftp://u:p@{}/a/b", server.address), &mut bytes).unwrap_err();
        assert!(failed.to_string().contains(refusal), "{failed}");
        server.end();
    }
}

fn one_get(then: impl FnOnce(&mut Peer) + Send + 'static) -> Result<Report, Error> {
    let server = Server::start(|mut peer| {
        greet(&mut peer, "u", "p");
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"hello");
        then(&mut peer);
        peer.expect_end();
    });
    let builder = Client::builder().timeouts(timeouts());
    let url = format!("ftp://u:p@{}/a", server.address);
    let got = builder.get(&url, &mut Vec::new());
    server.end();
    got
}

#[test]
fn end_of_data_alone_is_not_success_hc_19_hc_20() {
    assert!(matches!(one_get(|peer| peer.reply("426 cut")), Err(Error::Refused { .. })));
    assert!(matches!(one_get(|peer| peer.reply("421 bye")), Err(Error::ServiceClosing(_))));
    let short = one_get(|peer| {
        peer.reply("226 done");
        peer.answer("SIZE a", "213 6");
    });
    let announced = Some(6);
    assert!(
        matches!(short, Err(Error::Incomplete { bytes: 5, announced: a, .. }) if a == announced)
    );
    // A missing or different size report does not change the result.
    for reply in ["213 5", "550 no", "500 what"] {
        let got = one_get(move |peer| {
            peer.reply("226 done");
            peer.answer("SIZE a", reply);
            peer.answer("QUIT", "221 bye");
        });
        assert_eq!(got.unwrap().bytes, 5);
    }
}

#[test]
fn a_put_with_a_smaller_remote_size_is_incomplete() {
    let server = Server::start(|mut peer| {
        greet(&mut peer, "u", "p");
        peer.image_epsv();
        peer.answer("STOR a", "150 Opening");
        assert_eq!(peer.read_data(), b"hello");
        peer.reply("226 done");
        peer.answer("SIZE a", "213 4");
        peer.expect_end();
    });
    let put = put(&format!("ftp://u:p@{}/a", server.address), &mut &b"hello"[..]);
    assert!(matches!(put, Err(Error::Incomplete { bytes: 4, announced: Some(5), .. })), "{put:?}");
    server.end();
}

#[test]
fn a_failing_reader_aborts_the_upload_li_09() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let server = Server::start(|mut peer| {
        greet(&mut peer, "u", "p");
        peer.image_epsv();
        peer.answer("STOR a", "150 Opening");
        let _data = peer.data();
        peer.expect_abort();
        peer.send("426 cut\r\n226 aborted\r\n");
        peer.expect_end();
    });
    let put = put(&format!("ftp://u:p@{}/a", server.address), &mut Broken);
    assert!(matches!(put, Err(Error::Local(_))), "{put:?}");
    server.end();
}

#[test]
fn an_invalid_url_is_an_argument_error_hl_09() {
    let failed = get("ftp://h/a%0aDELE%20b", &mut Vec::new());
    assert!(matches!(failed, Err(Error::Argument(ParseError { what: "URL", .. }))), "{failed:?}");
}
