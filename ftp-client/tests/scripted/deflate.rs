//! Mode Z with servers that do not offer it, refuse it, or send something else, and `PRET`.

use std::io::Write;

use ftp_client::{Client, ClientBuilder, Error, ErrorKind, Verb};
use ftp_proto::{DeflateDecoder, DeflateEncoder, DeflateFault, DeflateLevel};

use crate::peer::{Peer, Server, get, timeouts};

fn builder() -> ClientBuilder {
    Client::builder().timeouts(timeouts()).compress(true)
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = DeflateEncoder::new(DeflateLevel::default());
    encoder.encode(data, &mut out);
    encoder.finish(&mut out);
    out
}

fn inflated(mut data: &[u8]) -> Vec<u8> {
    let (mut decoder, mut plain, mut piece) = (DeflateDecoder::new(), Vec::new(), [0; 4_096]);
    while !data.is_empty() || !decoder.is_finished() {
        let step = decoder.decode(data, &mut piece).unwrap();
        assert!(step.taken + step.written > 0, "the stream is whole");
        data = data.get(step.taken..).unwrap_or_default();
        plain.extend(piece.iter().take(step.written));
    }
    plain
}

fn features(peer: &mut Peer, feature: &str) {
    peer.answer("FEAT", &format!("211-Features:\r\n {feature}\r\n211 End"));
}

#[test]
fn mode_z_is_negotiated_once_and_only_if_listed_cl_70() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        features(&mut peer, "MODE Z");
        peer.answer("TYPE I", "200 ok");
        peer.answer("MODE Z", "200 ok");
        for _ in 0..2 {
            peer.epsv();
            peer.answer("RETR a", "150 Opening (5 bytes)");
            peer.send_data(&deflated(b"hello"));
            peer.reply("226 done");
        }
        peer.answer("REIN", "220 again");
        peer.answer("USER u", "331 password");
        peer.answer("PASS p", "230 in");
        features(&mut peer, "SIZE");
        peer.image_epsv();
        peer.answer("RETR a", "150 Opening (5 bytes)");
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    for _ in 0..2 {
        assert_eq!(get(&mut client).unwrap(), b"hello");
    }
    client.quote(&ftp_client::RawCommand::new("REIN").unwrap()).unwrap();
    client.login("u", "p").unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    assert!(!client.compresses().unwrap());
    server.end();
}

#[test]
fn transfers_fall_back_to_mode_s_if_mode_z_is_refused_cl_70() {
    for pipeline in [false, true] {
        let (server, mut client) =
            Server::logged_in_with(builder().pipeline(pipeline), move |mut peer| {
                features(&mut peer, "MODE Z");
                peer.answer("TYPE I", "200 ok");
                peer.answer("MODE Z", "504 Unable to handle MODE Z at this time");
                for _ in 0..2 {
                    peer.epsv();
                    peer.answer("RETR a", "150 Opening (5 bytes)");
                    peer.send_data(b"hello");
                    peer.reply("226 done");
                }
            });
        for _ in 0..2 {
            assert_eq!(get(&mut client).unwrap(), b"hello", "pipeline: {pipeline}");
        }
        server.end();
    }
}

#[test]
fn a_truncated_or_corrupt_deflate_stream_is_an_error_cl_71_hc_35() {
    let whole = deflated(&b"hello\n".repeat(5_000));
    let mut wrong = whole.clone();
    *wrong.last_mut().unwrap() ^= 1;
    for (what, data, code, fault) in [
        ("cut", &whole[..whole.len() - 1], "226 done", DeflateFault::Truncated),
        ("nothing", b"", "226 done", DeflateFault::Truncated),
        ("another checksum", &wrong, "226 done", DeflateFault::Corrupt),
        ("more", &[whole.as_slice(), b"x"].concat(), "226 done", DeflateFault::Trailing),
        ("plain", b"hello, this is not compressed", "226 done", DeflateFault::Corrupt),
    ] {
        let data = data.to_vec();
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            features(&mut peer, "MODE Z");
            peer.answer("TYPE I", "200 ok");
            peer.answer("MODE Z", "200 ok");
            peer.epsv();
            peer.answer("RETR a", "150 Opening");
            peer.send_data(&data);
            peer.reply(code);
            peer.answer("NOOP", "200 ok");
        });
        let error = get(&mut client).unwrap_err();
        assert!(matches!(error, Error::Compressed(found) if found == fault), "{what}: {error}");
        let is_cut = fault == DeflateFault::Truncated;
        assert_eq!(error.is_transient(), is_cut, "{what}");
        let kind = if is_cut { ErrorKind::Network } else { ErrorKind::Integrity };
        assert_eq!(error.kind(), kind, "{what}");
        client.noop().unwrap();
        server.end();
    }
}

#[test]
fn the_servers_reply_takes_precedence_over_a_truncated_stream_cl_71() {
    let (server, mut client) = Server::logged_in_with(builder(), |mut peer| {
        features(&mut peer, "MODE Z");
        peer.answer("TYPE I", "200 ok");
        peer.answer("MODE Z", "200 ok");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(&deflated(&b"hello\n".repeat(5_000))[..20]);
        peer.reply("451 disk trouble");
    });
    let error = get(&mut client).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { verb: Verb::Retr, reply, .. } if reply.code().value() == 451)
    );
    server.end();
}

#[test]
fn an_upload_sends_a_complete_deflate_stream_cl_71() {
    for content in [Vec::new(), b"hello\n".repeat(50_000)] {
        let want = content.clone();
        let (server, mut client) = Server::logged_in_with(builder(), move |mut peer| {
            features(&mut peer, "MODE Z");
            peer.answer("TYPE I", "200 ok");
            peer.answer("MODE Z", "200 ok");
            peer.epsv();
            peer.answer("STOR a", "150 Go on");
            assert!(inflated(&peer.read_data()) == want);
            peer.reply("226 done");
        });
        let mut upload = client.store("a").unwrap();
        upload.write_all(&content).unwrap();
        assert_eq!(upload.finish().unwrap().bytes, content.len() as u64);
        server.end();
    }
}

#[test]
fn pret_is_sent_to_a_server_that_requires_it_cl_72() {
    let announced = |peer: &mut Peer, line: &str| {
        peer.answer(&format!("PRET {line}"), "200 OK, will use the next command");
        peer.epsv();
        peer.answer(line, "150 Opening");
    };
    let (server, mut client) = Server::logged_in(move |mut peer| {
        peer.answer("TYPE I", "200 ok");
        peer.answer("EPSV", "500 You need to use a client supporting PRET (PRE Transfer)");
        announced(&mut peer, "RETR a");
        peer.send_data(b"hello");
        peer.reply("226 done");
        announced(&mut peer, "STOR a");
        assert_eq!(peer.read_data(), b"hello");
        peer.reply("226 done");
        peer.answer("PRET RETR missing", "550 no such file");
    });
    assert_eq!(get(&mut client).unwrap(), b"hello");
    let mut upload = client.store("a").unwrap();
    upload.write_all(b"hello").unwrap();
    upload.finish().unwrap();
    let error = client.retrieve("missing").unwrap_err();
    assert!(matches!(error, Error::Refused { verb: Verb::Pret, .. }), "{error}");
    server.end();
}

#[test]
fn pret_is_not_sent_to_a_server_that_only_lists_it_cl_72() {
    let (server, mut client) = Server::logged_in(|mut peer| {
        features(&mut peer, "PRET");
        peer.answer("TYPE I", "200 ok");
        peer.epsv();
        peer.answer("RETR a", "150 Opening");
        peer.send_data(b"hello");
        peer.reply("226 done");
    });
    client.features().unwrap();
    assert_eq!(get(&mut client).unwrap(), b"hello");
    server.end();
}
