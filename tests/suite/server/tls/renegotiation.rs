//! A second handshake within the first, in TLS 1.2 (RFC 5246 §7.4.1.1). rustls does not support
//! that: `openssl s_client` requests it after an `R` at the beginning of its input.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use ftp_tests::peer::Peer;
use ftp_tests::raw::DEADLINE;

use super::super::play;
use super::Secure;

#[test]
fn tls_renegotiation_is_refused_ht_13_tl_04() {
    let Some(openssl) = Peer::find("openssl") else { return };
    let secure = Secure::new();
    let address = secure.fixture.server.local_addr().to_string();
    let mut command = openssl.command();
    command.args(["s_client", "-connect", &address, "-starttls", "ftp", "-tls1_2", "-crlf"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().expect("openssl runs");
    let mut input = client.stdin.take().expect("a pipe was asked for");
    let output = client.stdout.take().expect("a pipe was asked for");
    let mut errors = client.stderr.take().expect("a pipe was asked for");
    let (sender, replies) = mpsc::channel();
    let output = thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if line.starts_with(b"200 ") {
                let _ = sender.send(());
            }
        }
    });
    let told = thread::spawn(move || {
        let mut told = Vec::new();
        errors.read_to_end(&mut told).map(|_| String::from_utf8_lossy(&told).into_owned())
    });
    input.write_all(b"NOOP\n").unwrap();
    let heard = replies.recv_timeout(DEADLINE);
    // The letter must be alone in one read.
    let asked = input.write_all(b"R\n");
    // The client gives up after the alert.
    let told = told.join().unwrap().unwrap();
    drop(input);
    client.wait().unwrap();
    output.join().unwrap();
    assert!(heard.is_ok() && asked.is_ok(), "{told}");
    assert!(told.contains("no renegotiation"), "{told}");
    // Other sessions are not affected.
    let mut session = secure.greeted(&secure.client());
    play(&mut session, &[("USER u", 331), ("PASS p", 230)]);
}
