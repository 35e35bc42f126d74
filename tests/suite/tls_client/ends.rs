//! How the client tells the end of a transfer under TLS from a lost connection.

use std::io::Write;
use std::time::{Duration, Instant};

use ftp_client::error::TlsError;
use ftp_client::{Error, ErrorKind};
use ftp_tests::tls::{End, Version};

use super::peer::{Server, explicit, get, put, sound};

#[test]
fn a_truncated_download_is_never_complete_tl_17_ht_07() {
    let content = [&[b'x'; 68][..], b"\r\n"].concat().repeat(1_000);
    for version in Version::ALL {
        // After each record, including none, by FIN and by RST; and all records without the end.
        for records in 0..=5 {
            for resets in [false, true] {
                for verb in ["RETR a", "LIST"] {
                    let (authority, _, tls) = sound();
                    let (tls, content) = (tls.version(version), content.clone());
                    let server = Server::secured(tls, move |mut peer, tls| {
                        if verb == "RETR a" {
                            peer.image_epsv();
                        } else {
                            peer.answer("FEAT", "211 none");
                            peer.epsv();
                        }
                        peer.answer(verb, "150 here it comes");
                        let mut data = peer.secure_data(tls);
                        let all = data.records(&content);
                        assert_eq!(all.len(), 5);
                        data.inject(&all[..records].concat()).unwrap();
                        if resets {
                            data.reset();
                        } else {
                            data.cut().unwrap();
                        }
                        // As if nothing had happened.
                        peer.reply("226 done");
                        if verb == "RETR a" {
                            // With all records, a size that is not reported proves nothing.
                            let size = if records < 5 { "213 70000" } else { "550 no" };
                            peer.answer("SIZE a", size);
                        }
                        peer.answer("NOOP", "200 ok");
                        peer.expect_end();
                    });
                    let mut client = server.log_in(explicit(&authority));
                    let error = match verb {
                        "LIST" => client
                            .list("")
                            .and_then(|mut lines| lines.find_map(Result::err).map_or(Ok(()), Err)),
                        _ => get(&mut client).map(drop),
                    };
                    let case = format!("{version:?} {records} {resets} {verb}: {error:?}");
                    match error {
                        Err(Error::Tls(TlsError::TruncatedTls)) => assert!(!resets, "{case}"),
                        Err(Error::Io(_)) => assert!(resets, "{case}"),
                        _ => panic!("{case}"),
                    }
                    client.noop().unwrap();
                    drop(client);
                    server.end();
                }
            }
        }
    }
}

#[test]
fn a_download_without_close_notify_is_complete_if_the_server_reports_its_size_tl_17_ht_07() {
    for version in Version::ALL {
        for resets in [false, true] {
            let (authority, _, tls) = sound();
            let server = Server::secured(tls.version(version), move |mut peer, tls| {
                peer.image_epsv();
                peer.answer("RETR a", "150 here it comes");
                let mut data = peer.secure_data(tls);
                let records = data.records(b"hello");
                data.inject(&records.concat()).unwrap();
                if resets {
                    data.reset();
                } else {
                    data.cut().unwrap();
                }
                peer.reply("226 done");
                peer.answer("SIZE a", "213 5");
                peer.expect_end();
            });
            let mut client = server.log_in(explicit(&authority));
            assert_eq!(get(&mut client).unwrap(), b"hello");
            drop(client);
            server.end();
        }
    }
}

#[test]
fn plaintext_in_a_tls_connection_is_a_lost_connection_tl_17() {
    const OOPS: &[u8] = b"500 OOPS: child died\r\n";
    let broken = |error: &Error| {
        assert!(error.is_transient() && error.kind() == ErrorKind::Network, "{error:?}");
        matches!(error, Error::Tls(TlsError::Broken(_)))
    };
    for version in Version::ALL {
        for text in [
            OOPS,
            b"\xff\xff\xff\xff\xff\xff",
            b"\x17\x03\x03\x00\x20 changed on the way, 32 bytes of",
        ] {
            // On the control connection, instead of a reply.
            let (authority, _, tls) = sound();
            let server = Server::secured(tls.version(version), move |mut peer, _| {
                peer.expect("NOOP");
                peer.inject(text);
                peer.expect_end();
            });
            let mut client = server.log_in(explicit(&authority));
            let error = client.noop().unwrap_err();
            assert!(broken(&error), "{error:?}");
            assert_eq!(
                error.to_string().contains("\"500 OOPS: child died\""),
                text == OOPS,
                "{error}"
            );
            assert!(matches!(client.noop().unwrap_err(), Error::Closed));
            server.end();
            // On the control connection during a download, whose data ends without close_notify.
            let (authority, _, tls) = sound();
            let server = Server::secured(tls.version(version), move |mut peer, tls| {
                let mut data = peer.begin_download(tls);
                data.cut().unwrap();
                peer.inject(text);
                peer.expect_end();
            });
            let error = get(&mut server.log_in(explicit(&authority))).unwrap_err();
            assert!(broken(&error), "{error:?}");
            server.end();
            // On the data connection, whatever the server says afterwards.
            let (authority, _, tls) = sound();
            let server = Server::secured(tls.version(version), move |mut peer, tls| {
                let mut data = peer.begin_download(tls);
                data.inject(text).unwrap();
                data.cut().unwrap();
                peer.reply("226 done");
                peer.expect_end();
            });
            let error = get(&mut server.log_in(explicit(&authority))).unwrap_err();
            assert!(broken(&error), "{error:?}");
            server.end();
        }
    }
}

#[test]
fn truncated_data_and_a_lost_session_are_a_lost_connection_tl_17() {
    for version in Version::ALL {
        let (authority, _, tls) = sound();
        let server = Server::secured(tls.version(version), move |mut peer, tls| {
            let mut data = peer.begin_download(tls);
            data.cut().unwrap();
        });
        let error = get(&mut server.log_in(explicit(&authority))).unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
        server.end();
    }
}

#[test]
fn transfers_end_with_close_notify_on_both_sides_tl_06_tl_08_tl_16_tl_17() {
    for version in Version::ALL {
        let (authority, _, tls) = sound();
        let tls = tls.version(version).alpn(&["ftp"]);
        let server = Server::secured(tls, move |mut peer, tls| {
            peer.image_epsv();
            peer.answer("RETR a", "150 here it comes");
            let mut data = peer.secure_data(tls);
            assert!(data.shaken().resumed);
            assert_eq!(data.shaken().alpn.as_deref(), Some(&b"ftp"[..]));
            data.write_all(&[7; 70_000]).unwrap();
            data.finish().unwrap();
            assert_eq!(data.read_to_its_end(), (Vec::new(), End::CloseNotify));
            peer.reply("226 done");
            peer.epsv();
            peer.answer("STOR a", "150 go on");
            let mut data = peer.secure_data(tls);
            assert!(data.shaken().resumed);
            assert_eq!(data.read_to_its_end(), (vec![7; 700_000], End::CloseNotify));
            data.finish().unwrap();
            peer.reply("226 done");
            peer.expect_end();
        });
        let mut client = server.log_in(explicit(&authority));
        assert_eq!(get(&mut client).unwrap(), vec![7; 70_000]);
        put(&mut client, &vec![7; 700_000]).unwrap();
        let info = client.tls().unwrap();
        assert_eq!((info.data_connections, info.resumed), (2, 2));
        drop(client);
        server.end();
    }
}

#[test]
fn an_upload_succeeds_without_close_notify_after_a_wait_tl_16_ht_08() {
    let (authority, _, tls) = sound();
    let server = Server::secured(tls, move |mut peer, tls| {
        peer.image_epsv();
        peer.answer("STOR a", "150 go on");
        let mut data = peer.secure_data(tls);
        assert_eq!(data.read_to_its_end(), (b"hello".to_vec(), End::CloseNotify));
        peer.reply("226 done");
        // Neither close_notify nor FIN.
        peer.expect_end();
        drop(data);
    });
    let mut client = server.log_in(explicit(&authority));
    let began = Instant::now();
    put(&mut client, b"hello").unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    drop(client);
    server.end();
}
