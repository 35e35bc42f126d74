//! Programs at a port that are not FTP servers, or FTP servers that let no client in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use ftp_tests::at_once::at_once;
use ftp_tests::port::OwnPort;

use super::examined;

/// How a talker treats a connection.
#[derive(Clone, Copy)]
pub(super) enum Talk {
    /// Sends this, and waits for the end.
    First(&'static [u8]),
    /// Sends this after each input.
    Answer(&'static [u8]),
    /// Sends this after the beginning of a TLS handshake, and hangs up after anything else.
    Tls(&'static [u8]),
    /// Hangs up.
    Close,
    /// Never sends anything.
    Nothing,
}

/// A talker at an address. It ends with the test.
pub(super) fn start(host: &str, talk: Talk) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            thread::spawn(move || talks(stream, talk));
        }
    });
    address
}

fn talks(mut stream: TcpStream, talk: Talk) {
    let mut buffer = [0; 512];
    let said = match talk {
        Talk::First(words) => stream.write_all(words),
        Talk::Close => return,
        Talk::Nothing => Ok(()),
        Talk::Answer(words) => stream.read(&mut buffer).and_then(|_| stream.write_all(words)),
        Talk::Tls(words) => match stream.read(&mut buffer) {
            Ok(count) if buffer[..count].starts_with(&[0x16, 3]) => stream.write_all(words),
            _ => return,
        },
    };
    if said.is_ok() {
        // Until the client disconnects.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
}

/// An alert that says handshake_failure.
pub(super) const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];

#[test]
fn other_protocols_and_silent_servers_are_diagnosed() {
    let talkers = [
        (Talk::First(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "ssh-on-port", 7),
        (Talk::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "http-on-port", 7),
        (Talk::Tls(ALERT), "tls-on-plain-port", 5),
        (Talk::First(b"220 mx.example.org ESMTP\r\n"), "other-protocol", 7),
        (Talk::First(b"\x1b]0;owned\x07\r\n"), "other-protocol", 7),
        (Talk::First(b"421 Too many users\r\n"), "greeting-refused", 9),
        (Talk::First(b"554 Your address is banned\r\n"), "greeting-denied", 8),
        (Talk::First(b"220-Welcome\r\n"), "greeting-never", 10),
        (Talk::Close, "closed-unspoken", 4),
        (Talk::Nothing, "greeting-never", 10),
    ];
    at_once(talkers.len(), talkers, |(talk, want, code)| {
        let address = start("127.0.0.1", talk);
        let found = examined(&[&format!("ftp://{address}/")]);
        assert!(found.wrong.iter().eq([want]), "{want}: {:?}", found.ran);
        found.ran.exited(code);
        assert_eq!(found.best(), None);
        let said = String::from_utf8_lossy(&found.ran.stdout).into_owned();
        assert!(!said.contains(['\x1b', '\x07']), "{said:?}");
    });
}

#[test]
fn a_missing_local_address_is_not_reported_as_a_missing_route() {
    let address = start("127.0.0.1", Talk::First(b"220 ready\r\n"));
    let url = format!("ftp://{address}/");
    // The connection to a proxy starts at that address too.
    for proxy in ["none".to_owned(), format!("socks5://{address}")] {
        let found = examined(&["--bind", "203.0.113.9", "--proxy", &proxy, &url]);
        assert!(found.wrong.iter().eq(["local-address-missing"]), "{proxy}: {:?}", found.ran);
        found.ran.exited(4);
    }
}

#[test]
fn closed_ports_and_unknown_names_are_diagnosed() {
    let closed = OwnPort::claim_closed();
    let address = closed.address();
    for (url, want, code) in [
        (format!("ftp://{address}/"), "port-closed", 4),
        ("ftp://no-such-host.invalid/".to_owned(), "name-unknown", 4),
    ] {
        let found = examined(&[&url]);
        // A resolver that cannot be reached may be slow to fail.
        let has_none = url.contains("invalid") && found.wrong.iter().eq(["name-unanswered"]);
        assert!(has_none || found.wrong.iter().eq([want]), "{:?}", found.ran);
        assert!(has_none || found.ran.code() == Some(code), "{:?}", found.ran);
    }
    let found = examined(&["-6", &format!("ftp://{address}/")]);
    assert!(found.wrong.iter().eq(["no-address-of-family"]), "{:?}", found.ran);
}
