//! The test harness itself: programs of other projects with each other. If this fails, the results
//! of the other tests mean little.

use std::net::Ipv4Addr;

use ftp_tests::compare::assert_same;
use ftp_tests::content::{SIZES, binary};
use ftp_tests::names::{NAMES, percent};
use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::site::Site;

use crate::interop_curl;

/// A raw session stores and retrieves every name, sent unchanged: neither server reads `IAC IAC` as
/// one 0xFF.
fn transfers_every_name(site: &Site) {
    let mut session = site.session();
    session.expect("TYPE I", 200);
    for name in NAMES {
        // `./` because vsftpd expands a leading `~`.
        let name = [b"./", *name].concat();
        let mut data = session.passive();
        let answer = session.ask([b"STOR ", &name[..]].concat());
        assert!(matches!(answer.code, 125 | 150), "{answer:?}\n{}", session.dialogue());
        data.write_all(&name);
        data.close();
        session.expect_reply(226);
        assert_same(&percent(&name), &site.root.read(&name), &name);

        site.root.write(&name, b"down");
        let data = session.passive();
        let answer = session.ask([b"RETR ", &name[..]].concat());
        assert!(matches!(answer.code, 125 | 150), "{answer:?}\n{}", session.dialogue());
        let got = data.read_to_end();
        session.expect_reply(226);
        assert_same(&percent(&name), &got, b"down");
    }
}

#[test]
fn curl_and_vsftpd() {
    let (Some(curl), Some(server)) = (Peer::find("curl"), RealServer::vsftpd()) else { return };
    interop_curl::puts_and_gets(&curl, &server);
}

#[test]
fn curl_and_pyftpdlib() {
    let (Some(curl), Some(server)) = (Peer::find("curl"), RealServer::pyftpdlib()) else { return };
    interop_curl::puts_and_gets(&curl, &server);
}

#[test]
fn raw_transfers_of_unusual_names_with_vsftpd() {
    let Some(server) = RealServer::vsftpd() else { return };
    transfers_every_name(&server);
}

#[test]
fn raw_transfers_of_unusual_names_with_pyftpdlib() {
    let Some(server) = RealServer::pyftpdlib() else { return };
    transfers_every_name(&server);
}

/// A raw session stores and retrieves every size.
fn transfers_every_size(site: &Site) {
    let mut session = site.session();
    session.expect("TYPE I", 200);
    for (seed, size) in (1..).zip(SIZES) {
        let (up, down) = (binary(size, seed), binary(size, seed + 1000));
        session.upload(format!("STOR up {size}"), &up);
        assert_same("stored", &site.root.read(format!("up {size}")), &up);
        site.root.write(format!("down {size}"), &down);
        assert_same("retrieved", &session.download(format!("RETR down {size}")), &down);
    }
}

#[test]
fn raw_transfers_of_every_size_with_proftpd() {
    let Some(server) = RealServer::proftpd_at(Ipv4Addr::LOCALHOST) else { return };
    transfers_every_size(&server);
}

#[test]
fn raw_transfers_of_every_size_with_pure_ftpd() {
    let Some(server) = RealServer::pure_ftpd_at(Ipv4Addr::LOCALHOST) else { return };
    transfers_every_size(&server);
}
