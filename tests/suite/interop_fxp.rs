//! FXP (RFC 959 §5.2): lftp copies files between two servers, ours and those of other projects.
//! Each listens on its own loopback address, so that none is taken for the client, whose address is
//! 127.0.0.1.

use std::net::Ipv4Addr;
use std::time::Duration;

use ftp_proto::Network;
use ftp_server::{Rights, Server, ServerConfig, Timeouts};
use ftp_tests::compare::assert_same;
use ftp_tests::content::{SIZES, binary};
use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};
use ftp_tests::wait::wait_until;

/// The address of the first server.
pub(crate) const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The address of the second server.
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

/// Which server connects: the source or the target.
const DIRECTIONS: [&str; 2] = ["set ftp:fxp-passive-source no", "set ftp:fxp-passive-source yes"];

/// Starts our server, for a user with the right to FXP with these networks.
pub(crate) fn ours(host: Ipv4Addr, networks: &[&str]) -> OurServer {
    ours_waiting(host, networks, Duration::from_secs(20))
}

/// The same with this timeout for data connections.
pub(crate) fn ours_waiting(host: Ipv4Addr, networks: &[&str], data_connect: Duration) -> OurServer {
    let network = |text: &&str| Network::parse(text.as_bytes()).expect("a network");
    let fxp_networks = Vec::from_iter(networks.iter().map(network));
    let config = ServerConfig::new()
        .fxp_networks(fxp_networks)
        .timeouts(Timeouts::new().data_connect(data_connect));
    OurServer::at(host, Server::builder().config(config), Rights::FULL | Rights::FXP)
}

/// Lets lftp copy `names` from one server to the other, not through lftp itself.
#[track_caller]
fn lftp(peer: &Peer, settings: &str, source: &Site, target: &Site, names: &[String]) -> Ran {
    let home = TempRoot::new();
    let mut script = format!(
        "set net:max-retries 1; set net:reconnect-interval-base 1; set net:timeout 20\n\
         set cmd:fail-exit yes; set ftp:use-fxp yes; set ftp:fxp-force yes; debug 5\n{settings}\n"
    );
    for name in names {
        let (from, to) = (source.url(name), target.url(format!("copied {name}")));
        script.push_str(&format!("get \"{from}\" -o \"{to}\"\n"));
    }
    let script = home.write("script", script.as_bytes());
    run(peer.command().env("HOME", home.path()).arg("-f").arg(script))
}

/// Copies every size in both directions, each server connecting in turn.
#[track_caller]
fn copies_both_ways(peer: &Peer, one: &Site, other: &Site) {
    for (source, target) in [(one, other), (other, one)] {
        for direction in DIRECTIONS {
            source.clear();
            target.clear();
            let names = SIZES.map(|size| format!("{size} bytes"));
            for ((seed, size), name) in (1..).zip(SIZES).zip(&names) {
                source.root.write(name, &binary(size, seed));
            }
            let ran = lftp(peer, direction, source, target, &names);
            ran.exited(0);
            // lftp would try the reverse direction after a refusal.
            assert!(!String::from_utf8_lossy(&ran.stderr).contains("reverse"), "{ran:?}");
            for ((seed, size), name) in (1..).zip(SIZES).zip(&names) {
                let what = format!("{name} to {}, {direction}", target.address);
                let copied = target.root.read(format!("copied {name}"));
                assert_same(&what, &copied, &binary(size, seed));
            }
        }
    }
}

/// Our server and one of another project.
#[track_caller]
fn meets(other: fn(Ipv4Addr) -> Option<RealServer>) {
    let (Some(peer), Some(other)) = (Peer::find("lftp"), other(OTHER)) else { return };
    copies_both_ways(&peer, &ours(ONE, &["127.0.0.12"]), &other);
}

#[test]
fn between_two_of_ours_dc_30() {
    let Some(peer) = Peer::find("lftp") else { return };
    let (one, other) = (ours(ONE, &["127.0.0.12/32"]), ours(OTHER, &["127.0.0.8/29"]));
    copies_both_ways(&peer, &one, &other);
}

#[test]
fn between_ours_and_vsftpd_dc_30() {
    meets(RealServer::vsftpd_at);
}

#[test]
fn between_ours_and_proftpd_dc_30() {
    meets(RealServer::proftpd_at);
}

#[test]
fn between_ours_and_pure_ftpd_dc_30() {
    meets(RealServer::pure_ftpd_at);
}

/// The connecting server refuses PORT; the listening one closes connections of the other, which
/// does not take that for an empty file.
#[test]
fn fxp_with_a_server_outside_the_networks_is_refused_dc_30() {
    let Some(peer) = Peer::find("lftp") else { return };
    let waiting = |host, network| ours_waiting(host, &[network], Duration::from_millis(300));
    let (open, closed) = (waiting(ONE, "127.0.0.0/8"), waiting(OTHER, "127.0.0.13"));
    for (source, target) in [(&open, &closed), (&closed, &open)] {
        source.clear();
        target.clear();
        source.root.write("file", b"content");
        target.root.write("copied file", b"old");
        // lftp tries the reverse direction after a refusal.
        let [direction, _] = DIRECTIONS;
        let ran = lftp(&peer, direction, source, target, &["file".into()]);
        ran.exited(1);
        assert!(String::from_utf8_lossy(&ran.stderr).contains("reverse"), "{ran:?}");
        // lftp may leave before the server has given up the upload.
        wait_until("nothing else is left", || {
            target.root.names_without_records() == [b"copied file"]
        });
        assert_same("the old file", &target.root.read("copied file"), b"old");
    }
}
