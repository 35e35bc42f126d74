//! Servers that refuse a data connection without session resumption, and servers that refuse one
//! for another reason: how the client gets new sessions, and that no transfer happens twice.

use std::io::{Read, Write};

use ftp_client::{Client, Error};
use ftp_tests::tls::{Authority, Kind, TlsServer, Version};

use super::peer::{Peer, Server, explicit};

/// Begins transfers, and passes the result on.
struct Sites {
    authority: Authority,
    /// Issues a session with each handshake, and resumes it.
    generous: TlsServer,
    /// Resumes and issues no sessions, under the same certificate.
    mean: TlsServer,
}

impl Sites {
    fn new() -> Self {
        let authority = Authority::new();
        let pair = authority.issue(Kind::Good);
        let showing = || TlsServer::showing(&pair).version(Version::V1_3);
        let (generous, mean) = (showing().tickets(1), showing().tickets(0).forgetful());
        Self { authority, generous, mean }
    }

    /// Returns a client that has resumed a session on its first data connection, and has one left.
    /// The script answers the next command, with the two TLS servers above.
    fn meet(
        &self,
        script: impl FnOnce(&mut Peer, &TlsServer, &TlsServer) + Send + 'static,
    ) -> (Server, Client) {
        let mean = self.mean.clone();
        let server = Server::secured(self.generous.clone(), move |mut peer, generous| {
            peer.image_epsv();
            give(&mut peer, "RETR first", generous, true);
            script(&mut peer, generous, &mean);
            peer.answer("NOOP", "200 ok");
            peer.expect_end();
        });
        let mut client = server.log_in(explicit(&self.authority));
        assert_eq!(retrieve(&mut client, "first").unwrap(), b"12345");
        (server, client)
    }
}

/// Sends five bytes.
fn give(peer: &mut Peer, line: &str, tls: &TlsServer, resumed: bool) {
    peer.answer(line, "150 here it comes");
    let mut data = peer.secure_data(tls);
    assert_eq!(data.shaken().resumed, resumed, "{line}");
    data.write_all(b"12345").unwrap();
    data.finish().unwrap();
    peer.reply("226 done");
}

/// Receives five bytes.
fn take(peer: &mut Peer, line: &str, tls: &TlsServer, resumed: bool) {
    peer.answer(line, "150 go on");
    let mut data = peer.secure_data(tls);
    assert_eq!(data.shaken().resumed, resumed, "{line}");
    assert_eq!(data.read_to_its_end().0, b"12345", "{line}");
    data.finish().unwrap();
    peer.reply("226 done");
}

/// Completes a handshake without a session, and then refuses. No data may have arrived.
fn refuse(peer: &mut Peer, line: &str, tls: &TlsServer, reply: &str) {
    peer.answer(line, "150 let us see");
    let mut data = peer.secure_data(tls);
    assert!(!data.shaken().resumed, "{line}");
    data.finish().unwrap();
    peer.reply(reply);
    assert_eq!(data.read_to_its_end().0, b"", "{line}");
}

fn retrieve(client: &mut Client, name: &str) -> Result<Vec<u8>, Error> {
    let (mut file, mut bytes) = (client.retrieve(name)?, Vec::new());
    file.read_to_end(&mut bytes).map_err(|error| Error::downcast(error).unwrap())?;
    file.finish()?;
    Ok(bytes)
}

/// Answers `line`, with five bytes.
fn transfer(client: &mut Client, line: &str) -> Result<(), Error> {
    let mut file = match line {
        "RETR a" => {
            return retrieve(client, "a").map(|bytes| assert_eq!(bytes, b"12345"));
        }
        "STOR a" => client.store("a")?,
        "APPE a" => client.append("a")?,
        "STOU" => client.store_unique("")?,
        _ => unreachable!("{line}"),
    };
    file.write_all(b"12345").map_err(|error| Error::downcast(error).unwrap())?;
    file.finish().map(drop)
}

#[track_caller]
fn is_refused(result: &Result<(), Error>, code: u16) {
    match result {
        Err(Error::Refused { reply, .. }) => assert_eq!(reply.code().value(), code),
        result => panic!("{code}: {result:?}"),
    }
}

#[test]
fn one_listing_obtains_a_session_and_each_byte_is_sent_once_tl_16() {
    let sites = Sites::new();
    for line in ["STOR a", "APPE a", "RETR a"] {
        for reply in ["425 resume", "426 resume", "522 resume", "534 resume"] {
            let (server, mut client) = sites.meet(move |peer, generous, mean| {
                peer.epsv();
                refuse(peer, line, mean, reply);
                peer.epsv();
                // It refuses that as well, once it has issued the session.
                refuse(peer, "NLST", generous, reply);
                peer.epsv();
                match line {
                    "RETR a" => give(peer, line, generous, true),
                    _ => take(peer, line, generous, true),
                }
            });
            transfer(&mut client, line).unwrap_or_else(|error| panic!("{line} {reply}: {error}"));
            client.noop().unwrap();
            drop(client);
            server.end();
        }
    }
}

#[test]
fn a_transfer_refused_twice_is_not_retried_again() {
    let sites = Sites::new();
    let (server, mut client) = sites.meet(|peer, generous, mean| {
        peer.epsv();
        refuse(peer, "APPE a", mean, "425 resume");
        peer.epsv();
        refuse(peer, "NLST", generous, "425 resume");
        peer.epsv();
        refuse(peer, "APPE a", mean, "425 and again");
    });
    is_refused(&transfer(&mut client, "APPE a"), 425);
    client.noop().unwrap();
    drop(client);
    server.end();
}

#[test]
fn a_transfer_refused_for_another_reason_is_not_retried() {
    let sites = Sites::new();
    for code in [450, 451, 452, 500, 530, 532, 550, 551, 552, 553] {
        let (server, mut client) = sites.meet(move |peer, _, mean| {
            peer.epsv();
            refuse(peer, "STOR a", mean, &format!("{code} no"));
        });
        is_refused(&transfer(&mut client, "STOR a"), code);
        client.noop().unwrap();
        drop(client);
        server.end();
    }
    // Nor if the requirement is already known.
    let (server, mut client) = sites.meet(|peer, generous, mean| {
        peer.epsv();
        refuse(peer, "STOR a", mean, "425 resume");
        peer.epsv();
        refuse(peer, "NLST", generous, "425 resume");
        peer.epsv();
        take(peer, "STOR a", generous, true);
        peer.epsv();
        refuse(peer, "APPE a", mean, "552 full");
    });
    transfer(&mut client, "STOR a").unwrap();
    is_refused(&transfer(&mut client, "APPE a"), 552);
    client.noop().unwrap();
    drop(client);
    server.end();
}

#[test]
fn a_refused_stou_is_not_retried() {
    let (server, mut client) = Sites::new().meet(|peer, _, mean| {
        peer.epsv();
        refuse(peer, "STOU", mean, "425 resume");
    });
    is_refused(&transfer(&mut client, "STOU"), 425);
    client.noop().unwrap();
    drop(client);
    server.end();
}

#[test]
fn a_listing_without_a_new_session_keeps_the_refusal() {
    for listing in ["550 nothing here", "425 resume"] {
        let (server, mut client) = Sites::new().meet(move |peer, _, mean| {
            peer.epsv();
            refuse(peer, "APPE a", mean, "425 resume");
            peer.epsv();
            match listing {
                "550 nothing here" => peer.answer("NLST", listing),
                _ => refuse(peer, "NLST", mean, listing),
            }
        });
        match transfer(&mut client, "APPE a") {
            Err(Error::Refused { verb, reply, .. }) => {
                assert_eq!((verb.to_string().as_str(), reply.code().value()), ("APPE", 425));
            }
            result => panic!("{listing}: {result:?}"),
        }
        client.noop().unwrap();
        drop(client);
        server.end();
    }
}

#[test]
fn no_listing_is_requested_unless_resumption_is_required() {
    let (server, mut client) = Sites::new().meet(|peer, _, mean| {
        for line in ["STOR a", "APPE a", "STOU"] {
            peer.epsv();
            take(peer, line, mean, false);
        }
        peer.epsv();
        give(peer, "RETR a", mean, false);
    });
    for line in ["STOR a", "APPE a", "STOU", "RETR a"] {
        transfer(&mut client, line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    client.noop().unwrap();
    drop(client);
    server.end();
}

#[test]
fn a_226_for_an_upload_closed_by_the_server_is_an_error() {
    for line in ["STOR a", "APPE a", "STOU"] {
        let (server, mut client) = Sites::new().meet(move |peer, _, mean| {
            peer.epsv();
            refuse(peer, line, mean, "226 there");
        });
        match transfer(&mut client, line) {
            Err(Error::Unexpected { reply, .. }) => assert_eq!(reply.code().value(), 226),
            result => panic!("{line}: {result:?}"),
        }
        client.noop().unwrap();
        drop(client);
        server.end();
    }
}
