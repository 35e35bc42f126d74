//! A session typed by hand over two raw TCP connections: the server can be used without a client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ftp_tests::compare::assert_same;
use ftp_tests::content::{on_the_wire, text};
use ftp_tests::site::OurServer;

const TEXT: &[u8] = b"Some text,\nof two lines.\n";

/// Only the standard library is used: every sent byte is visible here.
fn typed(line_end: &str) {
    let server = OurServer::start();
    server.root.write("test.txt", TEXT);
    let control = TcpStream::connect(server.address).unwrap();
    control.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut replies = BufReader::new(&control);
    let mut hear = |code: &str| {
        let mut line = String::new();
        replies.read_line(&mut line).unwrap();
        assert!(line.starts_with(code) && line.ends_with("\r\n"), "wanted {code}, got {line:?}");
        line
    };
    let say = |line: &str| (&control).write_all(format!("{line}{line_end}").as_bytes()).unwrap();

    hear("220 ");
    say("USER user");
    hear("331 ");
    say("PASS pass word");
    hear("230 ");
    say("PASV");
    let reply = hear("227 ");
    let (_, tuple) = reply.split_once('(').expect("227 has brackets");
    let (tuple, _) = tuple.split_once(')').expect("227 has brackets");
    let numbers: Vec<u16> = tuple.split(',').map(|number| number.parse().unwrap()).collect();
    assert_eq!((numbers.len(), &numbers[..4]), (6, &[127, 0, 0, 1][..]), "{reply}");
    let port = numbers[4] * 256 + numbers[5];
    let mut data = TcpStream::connect(("127.0.0.1", port)).unwrap();
    data.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    say("RETR test.txt");
    hear("150 ");
    let mut got = Vec::new();
    data.read_to_end(&mut got).unwrap();
    // TYPE I was not sent, so the type is NVT ASCII (RFC 959 §5.1).
    assert_same("test.txt", &got, b"Some text,\r\nof two lines.\r\n");
    hear("226 ");
    say("QUIT");
    hear("221 ");
    let mut rest = Vec::new();
    replies.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn commands_ended_by_crlf() {
    typed("\r\n");
}

#[test]
fn commands_ended_by_lf_alone() {
    typed("\n");
}

#[test]
fn data_connections_by_pasv_epsv_and_port() {
    let server = OurServer::start();
    server.root.write("test.txt", TEXT);
    let mut session = server.session();
    session.expect("TYPE I", 200);
    for way in ["PASV", "EPSV", "PORT"] {
        let data = match way {
            "PASV" => {
                let data = session.passive();
                session.expect("RETR test.txt", 150);
                data
            }
            "EPSV" => {
                let data = session.extended_passive();
                session.expect("RETR test.txt", 150);
                data
            }
            _ => {
                let listener = session.active();
                session.expect("RETR test.txt", 150);
                listener.accept()
            }
        };
        assert_same(way, &data.read_to_end(), TEXT);
        session.expect_reply(226);
    }
    session.expect_in_step();
}

#[test]
fn ascii_transfers_use_crlf_on_the_wire() {
    let server = OurServer::start();
    let content = text(300_000, 1);
    let mut session = server.session();
    session.expect("TYPE A", 200);
    session.upload("STOR text", &on_the_wire(&content));
    assert_same("stored", &server.root.read("text"), &content);
    assert_same("retrieved", &session.download("RETR text"), &on_the_wire(&content));
    session.expect("TYPE I", 200);
    assert_same("as it is", &session.download("RETR text"), &content);
}
