//! Our client copies files between two servers under TLS, where the connecting one begins the
//! handshake (`SSCN`).

use std::net::Ipv4Addr;

use ftp_client::file::Side;
use ftp_client::{Client, Mode};
use ftp_proto::Network;
use ftp_server::{Rights, Server, ServerConfig, SessionReuse, Tls};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::fxp::{self, Options};
use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};
use ftp_tests::tls::{Authority, Kind, Secured, Version};

use super::session::{connect, get};

/// The addresses of the two servers. That of the client is 127.0.0.1.
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const LISTENERS: [Side; 2] = [Side::Target, Side::Source];

/// Starts our server, with TLS as `adjust` likes it.
fn ours(host: Ipv4Addr, authority: &Authority, adjust: impl FnOnce(Tls) -> Tls) -> OurServer {
    let pair = authority.issue(Kind::Good);
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    let tls = adjust(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap());
    let networks = vec![Network::parse(b"127.0.0.0/8").unwrap()];
    let config = ServerConfig::new().fxp_networks(networks);
    OurServer::at(host, Server::builder().config(config).tls(tls), Rights::FULL | Rights::FXP)
}

fn to(listener: impl Into<Option<Side>>) -> Options {
    fxp::to(listener)
}

/// Returns clients of both.
fn clients(authority: &Authority, source: &Site, target: &Site) -> (Client, Client) {
    let client = |site| connect(site, authority, Mode::Passive, false).unwrap();
    (client(source), client(target))
}

/// Copies files in both directions, each server listening in turn.
fn copies_both_ways(authority: &Authority, one: &Site, other: &Site) {
    for (source, target) in [(one, other), (other, one)] {
        let (mut from, mut at) = clients(authority, source, target);
        for listener in LISTENERS {
            for (seed, size) in (1..).zip([0, 1, 300_000, 3_000_000]) {
                let what = format!("{size} bytes to {}, {listener:?}", target.address);
                let content = binary(size, seed);
                source.root.write("file", &content);
                let report = fxp::copied(&mut from, "file", &mut at, "copy", to(listener))
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(report.listener.unwrap(), listener, "{what}");
                assert_same(&what, &target.root.read("copy"), &content);
                // The client begins the handshakes of its own connections.
                assert_same(&what, &get(&mut from, "file", 0).unwrap(), &content);
                assert_same(&what, &get(&mut at, "copy", 0).unwrap(), &content);
            }
        }
        from.quit().unwrap();
        at.quit().unwrap();
        source.clear();
        target.clear();
    }
}

#[test]
fn two_of_our_servers_exchange_files_under_tls_cm_73_fx_11() {
    let (authority, root) = (Authority::new(), TempRoot::new());
    let ca = authority.write(&root, "ca.pem");
    let trusting = |tls: Tls| tls.sscn_ca_file(&ca).unwrap();
    copies_both_ways(
        &authority,
        &ours(ONE, &authority, trusting),
        &ours(OTHER, &authority, trusting),
    );
}

#[test]
fn lftp_copies_between_two_of_our_servers_under_tls_cm_73() {
    let Some(peer) = Peer::find("lftp") else { return };
    let (authority, home) = (Authority::new(), TempRoot::new());
    let ca = authority.write(&home, "ca.pem");
    let trusting = |tls: Tls| tls.sscn_ca_file(&ca).unwrap();
    let (one, other) = (ours(ONE, &authority, trusting), ours(OTHER, &authority, trusting));
    let content = binary(300_000, 1);
    one.root.write("file", &content);
    for direction in ["no", "yes"] {
        let script = format!(
            "set net:max-retries 1; set net:timeout 20; set cmd:fail-exit yes; set ftp:use-fxp yes\n\
             set ftp:fxp-force yes; set ftp:ssl-force yes; set ftp:ssl-protect-data yes\n\
             set ftp:ssl-protect-fxp yes; set ftp:fxp-passive-source {direction}; debug 5\n\
             set ssl:ca-file \"{}\"; set ssl:check-hostname no\n\
             get \"{}\" -o \"{}\"\n",
            ca.display(),
            one.url("file"),
            other.url(direction),
        );
        let script = home.write("script", script.as_bytes());
        let ran = run(peer.command().env("HOME", home.path()).arg("-f").arg(script));
        ran.exited(0);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains("SSCN:CLIENT METHOD") && !said.contains("reverse"), "{said}");
        assert_same(direction, &other.root.read(direction), &content);
    }
}

#[test]
fn our_server_begins_the_handshake_with_proftpd_cm_73_fx_11() {
    let (authority, root) = (Authority::new(), TempRoot::new());
    let ca = authority.write(&root, "ca.pem");
    let pair = authority.issue(Kind::Good);
    for version in Version::ALL {
        let secured = Secured { version: Some(version), ..Secured::by(&pair) };
        let Some(proftpd) = RealServer::proftpd_tls(OTHER, secured) else { return };
        let ours = ours(ONE, &authority, |tls| tls.sscn_ca_file(&ca).unwrap());
        let (mut here, mut there) = clients(&authority, &ours, &proftpd);
        for (seed, size) in (1..).zip([1, 3_000_000]) {
            let what = format!("{version:?}, {size} bytes");
            let content = binary(size, seed);
            // Ours connects in both, and ProFTPD has no SSCN.
            ours.root.write("a", &content);
            fxp::copied(&mut here, "a", &mut there, "b", to(Side::Target))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(&what, &proftpd.root.read("b"), &content);
            fxp::copied(&mut there, "b", &mut here, "c", to(Side::Source))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(&what, &ours.root.read("c"), &content);
        }
    }
}

#[test]
fn errors_name_missing_trust_and_required_resumption_cm_73_fx_11() {
    let (authority, root) = (Authority::new(), TempRoot::new());
    let stranger = Authority::new().write(&root, "stranger.pem");
    let ca = authority.write(&root, "ca.pem");
    let distrusting = ours(ONE, &authority, |tls| tls.sscn_ca_file(&stranger).unwrap());
    let requiring = ours(OTHER, &authority, |tls| {
        tls.sscn_ca_file(&ca).unwrap().session_reuse(SessionReuse::Require)
    });
    for site in [&distrusting, &requiring] {
        site.root.write("file", b"content");
    }
    // The connecting server begins the handshake and checks the other one.
    let (mut from, mut at) = clients(&authority, &distrusting, &requiring);
    let error = fxp::copied(&mut from, "file", &mut at, "copy", to(Side::Target));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("tls.sscn_ca"), "{error}");
    requiring.assert_only(&[b"file"]);
    // The other way round, the listening server trusts anything and requires nothing, but a session
    // of its own client.
    let trusting = ours(ONE, &authority, |tls| tls.sscn_ca_file(&ca).unwrap());
    trusting.root.write("file", b"content");
    let (mut from, mut at) = clients(&authority, &trusting, &requiring);
    let error = fxp::copied(&mut from, "file", &mut at, "copy", to(Side::Target));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("tls.session_reuse of ftp-cli serve"), "{error}");
    requiring.assert_only(&[b"file"]);
    // Where it begins the handshake itself, it requires none.
    fxp::copied(&mut from, "file", &mut at, "copy", to(Side::Source)).unwrap();
    assert_eq!(requiring.root.read("copy"), b"content");
}
