//! Copies between two scripted servers under TLS: which one begins the handshake, and that no reply
//! makes a truncated copy a success.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ftp_client::Error;
use ftp_client::error::TlsError;
use ftp_client::file::Side;
use ftp_tests::fxp::{self, Options};

use super::peer::{Peer, Server, explicit, sound};

/// The dialogue of one server, line by line: replies, or `!` to hang up.
type Script = &'static [(&'static str, &'static str)];

const LISTENS: (&str, &str) = ("CPSV", "227 Entering Passive Mode (127,0,0,1,195,84)");
const FEATURES: (&str, &str) = ("FEAT", "211-features\r\n SIZE\r\n CPSV\r\n211 end");
const CONNECTS: (&str, &str) = ("PORT 127,0,0,1,195,84", "200 ok");
const IMAGE: (&str, &str) = ("TYPE I", "200 ok");
const NO_SSCN: (&str, &str) = ("SSCN ON", "500 what?");
const STORES: (&str, &str) = ("STOR b", "150 go\n226 there");
const SENDS: (&str, &str) = ("RETR a", "150 going\n226 sent");

/// Plays one server. The lines after the first reply to `RETR` wait until the target got its
/// command.
fn play(peer: &mut Peer, script: Script, told: &Sender<()>, is_told: Option<&Receiver<()>>) {
    for (line, replies) in script {
        peer.expect(line);
        if line.starts_with("STOR") {
            let _ = told.send(());
        }
        for (index, reply) in replies.split('\n').map(str::trim_end).enumerate() {
            if let (1, true, Some(is_told)) = (index, line.starts_with("RETR"), is_told) {
                is_told.recv_timeout(Duration::from_secs(60)).expect("STOR is sent");
            }
            match reply {
                "!" => return,
                reply => peer.reply(reply),
            }
        }
    }
    peer.expect_end();
}

/// Copies `a` of one server to `b` of the other.
fn copy(source: Script, target: Script, options: Options) -> Result<fxp::Report, Error> {
    let (sender, receiver) = channel();
    let meet = |script, is_told: Option<Receiver<()>>| {
        let ((authority, _, tls), sender) = (sound(), sender.clone());
        let script =
            move |mut peer: Peer, _: &_| play(&mut peer, script, &sender, is_told.as_ref());
        let server = Server::secured(tls, script);
        let client = server.log_in(explicit(&authority));
        (server, client)
    };
    let ((one, mut from), (other, mut to)) = (meet(source, Some(receiver)), meet(target, None));
    let copied = fxp::copied(&mut from, "a", &mut to, "b", options);
    drop((from, to, sender));
    one.end();
    other.end();
    copied
}

fn only(listener: impl Into<Option<Side>>) -> Options {
    fxp::only(listener)
}

#[test]
fn with_cpsv_the_listening_server_starts_the_handshake_fx_11() {
    let report = copy(
        &[IMAGE, FEATURES, LISTENS, SENDS, ("SIZE a", "213 5")],
        &[IMAGE, NO_SSCN, CONNECTS, STORES, ("SIZE b", "213 5")],
        only(Side::Source),
    )
    .unwrap();
    assert_eq!(report.size, Some(5));
    let report = copy(
        &[IMAGE, NO_SSCN, CONNECTS, SENDS, ("SIZE a", "213 5")],
        &[IMAGE, FEATURES, LISTENS, STORES, ("SIZE b", "213 5")],
        only(Side::Target),
    )
    .unwrap();
    assert_eq!(report.size, Some(5));
}

#[test]
fn with_sscn_the_connecting_server_starts_the_handshake_fx_11() {
    const LISTENS_ALONE: (&str, &str) = ("PASV", LISTENS.1);
    const BEGINS: (&str, &str) = ("SSCN ON", "200 client");
    copy(
        &[IMAGE, LISTENS_ALONE, SENDS, ("SIZE a", "213 5")],
        &[IMAGE, BEGINS, CONNECTS, STORES, ("SIZE b", "213 5")],
        only(Side::Source),
    )
    .unwrap();
}

#[test]
fn a_protected_copy_fails_without_equal_sizes_fx_11() {
    type Case = (Script, Script, Option<(u64, u64)>);
    let cases: [Case; 4] = [
        (&[("SIZE a", "213 5")], &[("SIZE b", "213 4")], Some((4, 5))),
        (&[("SIZE a", "213 5")], &[("SIZE b", "213 0")], Some((0, 5))),
        (&[("SIZE a", "213 5")], &[("SIZE b", "502 what?")], None),
        (&[("SIZE a", "502 what?")], &[], None),
    ];
    for (of_source, of_target, want) in cases {
        // Whether or not it was requested.
        for compares in [false, true] {
            let source = [&[IMAGE, FEATURES, LISTENS, SENDS], of_source].concat().leak();
            let target = [&[IMAGE, NO_SSCN, CONNECTS, STORES], of_target].concat().leak();
            let options = only(Side::Source).compare_sizes(compares);
            let error = copy(source, target, options).unwrap_err();
            let Error::Fxp(attempts) = error else { panic!("{error}") };
            match (&attempts.last().unwrap().error, want) {
                (Error::Incomplete { bytes, announced, .. }, Some((there, wanted))) => {
                    assert_eq!((*bytes, *announced), (there, Some(wanted)));
                }
                (Error::Tls(TlsError::Unchecked), None) => {}
                (error, want) => panic!("{want:?}: {error}"),
            }
        }
    }
}

#[test]
fn the_error_names_a_required_session_resumption_fx_11() {
    for (source, target, listener) in [
        (
            &[IMAGE, FEATURES, LISTENS, ("RETR a", "150 going\n522 session reuse required")][..],
            &[IMAGE, NO_SSCN, CONNECTS, ("STOR b", "150 go\n426 cut")][..],
            Side::Source,
        ),
        (
            &[IMAGE, NO_SSCN, CONNECTS, ("RETR a", "150 going\n226 sent")],
            &[IMAGE, FEATURES, LISTENS, ("STOR b", "150 go\n425 cannot build it")],
            Side::Target,
        ),
    ] {
        let error = copy(source, target, only(listener)).unwrap_err();
        assert!(error.to_string().contains("NoSessionReuseRequired of ProFTPD"), "{error}");
    }
}

#[test]
fn the_error_after_a_disconnect_names_tls_verify_client_fx_11() {
    for (source, target) in [
        (
            &[IMAGE, FEATURES, LISTENS, ("RETR a", "150 going\n!")][..],
            ("STOR b", "150 go\n425 gone"),
        ),
        (&[IMAGE, FEATURES, LISTENS, ("RETR a", "150 go\n425 gone")], ("STOR b", "150 go\n!")),
    ] {
        let target = [IMAGE, NO_SSCN, CONNECTS, target].to_vec().leak();
        let error = copy(source, target, only(Side::Source)).unwrap_err();
        assert!(error.to_string().contains("TLSVerifyClient"), "{error}");
    }
}
