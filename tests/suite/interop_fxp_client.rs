//! FXP (RFC 959 §5.2) by our client: it copies files between two servers, ours and those of other
//! projects. Each listens on its own loopback address, so that none is taken for the client, whose
//! address is 127.0.0.1.

use std::net::Ipv6Addr;
use std::time::Duration;

use ftp_client::Resume;
use ftp_client::error::FxpAttempt;
use ftp_client::file::Side;
use ftp_client::{Client, Error, Timeouts, Verb};
use ftp_server::{PassivePolicy, Rights, Server, ServerConfig};
use ftp_tests::compare::assert_same;
use ftp_tests::content::{SIZES, binary};
use ftp_tests::fxp::{self, Options};
use ftp_tests::peer::RealServer;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};
use ftp_tests::wait::patiently;

use crate::interop_fxp::{ONE, OTHER, ours, ours_waiting};

/// Returns a logged-in client.
#[track_caller]
fn client(site: &Site) -> Client {
    client_with(site, Timeouts::default())
}

#[track_caller]
fn client_with(site: &Site, timeouts: Timeouts) -> Client {
    let builder = Client::builder().timeouts(timeouts).overall(Some(Duration::from_secs(120)));
    let mut client = builder.connect(&site.address.to_string()).unwrap();
    client.login(site.user, site.password).unwrap();
    client
}

fn to(listener: impl Into<Option<Side>>) -> Options {
    fxp::to(listener)
}

/// The number of copies with the target listening, and with the source listening, which costs half
/// a second each time.
const RUNS: [(Side, usize); 2] = [(Side::Target, 30), (Side::Source, 4)];

/// Copies files in both directions, each server listening in turn, over the same control
/// connections; then the rest of an interrupted file, and refusals of the source or the target.
#[track_caller]
fn copies_both_ways(one: &Site, other: &Site) {
    for (source, target) in [(one, other), (other, one)] {
        source.clear();
        target.clear();
        let (mut from, mut at) = (client(source), client(target));
        let small = SIZES.into_iter().map(|size| (Side::Target, size));
        let big = [(Side::Target, 3_000_000), (Side::Source, 3_000_000)];
        for (seed, (listener, size)) in (1..).zip(small.chain(big)) {
            let content = binary(size, seed);
            source.root.write("file", &content);
            let what = format!("{size} bytes to {}, {listener:?}", target.address);
            let report = fxp::copied(&mut from, "file", &mut at, "copy", to(listener))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(report.listener.unwrap(), listener, "{what}");
            assert_eq!(report.size, Some(size as u64), "{what}");
            assert_same(&what, &target.root.read("copy"), &content);
        }
        let content = binary(100_000, 9);
        source.root.write("file", &content);
        for (listener, there) in [
            (Side::Target, 0),
            (Side::Target, 1),
            (Side::Target, 99_999),
            (Side::Target, 100_000),
            (Side::Source, 60_000),
        ] {
            target.root.write("copy", &content[..there]);
            let options = to(listener).resume(Resume::Trusted);
            let what = format!("from {there} on, to {}, {listener:?}", target.address);
            let report = fxp::copied(&mut from, "file", &mut at, "copy", options)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(report.offset, there as u64, "{what}");
            assert_same(&what, &target.root.read("copy"), &content);
        }
        // A source that cannot read its file leaves the target's file unchanged, and both
        // connections usable.
        source.root.mkdir("directory");
        let old = binary(1_000, 3);
        let refuses = |from: &mut Client, at: &mut Client, listener, runs| {
            target.root.write("copy", &old);
            for run in 0..runs {
                for path in ["missing", "directory", "no/such/file"] {
                    let error = fxp::copied(from, path, at, "copy", to(listener)).expect_err(path);
                    let last = last_of(&error);
                    assert_eq!(last.side, Side::Source, "{error}");
                    assert!(
                        matches!(last.error, Error::Refused { verb: Verb::Retr, .. }),
                        "{error}"
                    );
                    let what = format!("run {run} of {path} to {}, {listener:?}", target.address);
                    assert_same(&what, &target.root.read("copy"), &old);
                    from.noop().unwrap();
                    at.noop().unwrap();
                }
                let what = format!("run {run} to {}, {listener:?}", target.address);
                fxp::copied(from, "file", at, "other", to(listener))
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_same(&what, &target.root.read("other"), &content);
            }
        };
        let [(target_listens, many), (source_listens, some)] = RUNS;
        refuses(&mut from, &mut at, target_listens, many);
        // The client waits for half a second at least, whether the source refuses.
        patiently(Duration::from_millis(500), |_| {
            refuses(&mut client(source), &mut client(target), source_listens, some);
        });
        source.root.write("file", &binary(8_000_000, 4));
        for (listener, runs) in RUNS {
            for _ in 0..runs.min(2) {
                patiently(Duration::from_secs(3), |reply| {
                    is_refused_by_the_target(source, target, listener, reply);
                });
            }
        }
    }
}

/// Returns the attempt that ended a copy.
#[track_caller]
fn last_of(error: &Error) -> &FxpAttempt {
    let Error::Fxp(attempts) = error else { panic!("{error}") };
    attempts.last().unwrap()
}

/// Some servers do not read ABOR while they wait for a connection: the client then closes the control
/// connection.
#[track_caller]
fn is_refused_by_the_target(source: &Site, target: &Site, listener: Side, reply: Duration) {
    let mut hasty = client_with(source, Timeouts::new().reply(reply));
    let mut at = client(target);
    let copied = fxp::copied(&mut hasty, "file", &mut at, "no/such/file", to(listener));
    let error = copied.unwrap_err();
    let last = last_of(&error);
    assert_eq!(last.side, Side::Target, "{error}");
    assert!(matches!(last.error, Error::Refused { verb: Verb::Stor, .. }), "{error}");
    at.noop().unwrap();
    match (hasty.noop(), &last.other, listener) {
        (Ok(()), ..) => {}
        (Err(Error::Closed), Some(Error::Timeout(_)), Side::Source) => {}
        (result, ..) => panic!("{result:?} after {error}"),
    }
}

#[test]
fn between_two_of_ours_fx_02_fx_03() {
    copies_both_ways(&ours(ONE, &["127.0.0.12/32"]), &ours(OTHER, &["127.0.0.8/29"]));
}

#[test]
fn between_vsftpd_and_proftpd_fx_02_fx_03_fx_12() {
    let servers = (RealServer::vsftpd_at(ONE), RealServer::proftpd_at(OTHER));
    let (Some(one), Some(other)) = servers else { return };
    copies_both_ways(&one, &other);
}

#[test]
fn between_ours_and_pure_ftpd_fx_02_fx_03_fx_12() {
    let Some(other) = RealServer::pure_ftpd_at(OTHER) else { return };
    copies_both_ways(&ours(ONE, &["127.0.0.12"]), &other);
}

#[test]
fn between_ours_and_vsftpd_fx_02_fx_03_fx_12() {
    let Some(other) = RealServer::vsftpd_at(OTHER) else { return };
    copies_both_ways(&ours(ONE, &["127.0.0.12"]), &other);
}

#[test]
fn between_ours_and_proftpd_fx_02_fx_03_fx_12() {
    let Some(other) = RealServer::proftpd_at(OTHER) else { return };
    copies_both_ways(&ours(ONE, &["127.0.0.12"]), &other);
}

#[test]
fn between_pure_ftpd_and_vsftpd_fx_02_fx_03_fx_12() {
    let servers = (RealServer::pure_ftpd_at(ONE), RealServer::vsftpd_at(OTHER));
    let (Some(one), Some(other)) = servers else { return };
    copies_both_ways(&one, &other);
}

#[test]
fn between_pure_ftpd_and_proftpd_fx_02_fx_03_fx_12() {
    let servers = (RealServer::pure_ftpd_at(ONE), RealServer::proftpd_at(OTHER));
    let (Some(one), Some(other)) = servers else { return };
    copies_both_ways(&one, &other);
}

/// Copies without a fixed direction; returns the one that worked.
#[track_caller]
fn listener_found(source: &Site, target: &Site) -> Side {
    let content = binary(100_000, 3);
    source.root.write("file", &content);
    let (mut from, mut at) = (client(source), client(target));
    let report = fxp::copied(&mut from, "file", &mut at, "copy", fxp::to(None));
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert_same("the copy", &target.root.read("copy"), &content);
    report.listener.unwrap()
}

#[test]
fn the_source_listens_where_the_target_refuses_to_fx_08() {
    let no_passive = |host| {
        let fxp_networks = vec![ftp_proto::Network::parse(b"127.0.0.0/8").unwrap()];
        let config = ServerConfig::new()
            .passive(PassivePolicy::new().enabled(false))
            .fxp_networks(fxp_networks);
        OurServer::at(host, Server::builder().config(config), Rights::FULL | Rights::FXP)
    };
    let open = ours(OTHER, &["127.0.0.11"]);
    assert_eq!(listener_found(&open, &no_passive(ONE)), Side::Source);
    let Some(vsftpd) = RealServer::vsftpd_without(ONE, &["pasv_enable"]) else { return };
    assert_eq!(listener_found(&open, &vsftpd), Side::Source);
    let Some(proftpd) = RealServer::proftpd_at(OTHER) else { return };
    assert_eq!(listener_found(&proftpd, &vsftpd), Side::Source);
    assert_eq!(listener_found(&vsftpd, &proftpd), Side::Target);
}

#[test]
fn the_source_listens_where_it_refuses_to_connect_fx_08() {
    let Some(proftpd) = RealServer::proftpd_at(ONE) else { return };
    for settings in [&["port_enable"][..], &["port_promiscuous"]] {
        let Some(vsftpd) = RealServer::vsftpd_without(OTHER, settings) else { return };
        assert_eq!(listener_found(&vsftpd, &proftpd), Side::Source);
    }
    // Our server refuses hosts outside its networks, and closes their connections.
    let vsftpd = RealServer::vsftpd_at(OTHER).unwrap();
    let closed = ours_waiting(ONE, &["127.0.0.13"], Duration::from_millis(300));
    let (mut from, mut at) = (client(&vsftpd), client(&closed));
    vsftpd.root.write("file", b"content");
    closed.root.write("copy", b"old");
    let error = fxp::copied(&mut from, "file", &mut at, "copy", fxp::to(None)).unwrap_err();
    assert!(matches!(&error, Error::Fxp(attempts) if attempts.len() == 2), "{error}");
    assert!(error.to_string().contains("fxp.networks"), "{error}");
    assert_same("the old file", &closed.root.read("copy"), b"old");
    at.noop().unwrap();
}

/// Servers that do nothing for third hosts, as by default.
#[test]
fn fxp_refusals_are_reported_with_a_remedy_fx_08() {
    let open = ours(ONE, &["127.0.0.0/8"]);
    let fails = |source: &Site, target: &Site, listener, words: &[&str]| {
        source.root.write("file", &binary(100_000, 4));
        let (mut from, mut at) = (client(source), client(target));
        let copied = fxp::copied(&mut from, "file", &mut at, "copy", to(listener));
        let said = copied.unwrap_err().to_string();
        for words in words.iter().chain(&["port_promiscuous", "-W of Pure", "fxp.networks"]) {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
    };
    let Some(vsftpd) = RealServer::vsftpd_without(OTHER, &["pasv_promiscuous", "port_promiscuous"])
    else {
        return;
    };
    let words = [
        "target: STOR refused: 425 Security",
        "; with the source listening: target: PORT refused: 500",
    ];
    fails(&open, &vsftpd, None, &words);
    let words = [
        "source: PORT refused: 500",
        "; with the source listening: source: RETR refused: 425 Security",
    ];
    fails(&vsftpd, &open, None, &words);
    // These let any host connect to the port of PASV.
    for server in [RealServer::proftpd_fxp(OTHER, false), RealServer::pure_ftpd_fxp(OTHER, false)] {
        let Some(server) = server else { return };
        fails(&open, &server, Some(Side::Source), &["target: PORT refused: 500"]);
        fails(&server, &open, Some(Side::Target), &["source: PORT refused: 500"]);
    }
}

#[test]
fn over_ipv6_fx_10() {
    let start = || {
        let root = TempRoot::new();
        let builder = Server::builder().root(root.path()).user("user", "p", Rights::FULL);
        let server = builder.bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let mut client = Client::builder().connect(&server.local_addr().to_string()).unwrap();
        client.login("user", "p").unwrap();
        (root, server, client)
    };
    let (one, _source, mut from) = start();
    let (other, _target, mut at) = start();
    for listener in [Side::Target, Side::Source] {
        let content = binary(100_000, 5);
        one.write("file", &content);
        fxp::copied(&mut from, "file", &mut at, "copy", to(listener)).unwrap();
        assert_same("over IPv6", &other.read("copy"), &content);
    }
}

#[test]
fn one_call_copies_a_file_and_never_onto_itself() {
    use ftp_client::fxp::{Options, transfer};
    let (one, other) = (ours(ONE, &["127.0.0.0/8"]), ours(OTHER, &["127.0.0.0/8"]));
    let content = binary(100_000, 3);
    one.root.write("file", &content);
    let (mut from, mut at) = (client(&one), client(&other));
    for listener in [None, Some(Side::Source)] {
        let options = Options::new().listener(listener);
        let done = transfer(&mut from, "file", &mut at, "copy", options).unwrap();
        assert_eq!((done.size, done.resumed), (100_000, 0));
        assert_eq!(other.root.read("copy"), content);
    }
    let options = Options::new().resume(Resume::Trusted);
    other.root.write("copy", &content[..60_000]);
    assert_eq!(transfer(&mut from, "file", &mut at, "copy", options).unwrap().resumed, 60_000);
    let mut again = client(&one);
    assert!(transfer(&mut from, "file", &mut again, "file", Options::default()).is_err());
    assert_eq!(one.root.read("file"), content);
}
