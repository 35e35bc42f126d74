//! The number of round trips that each file of a mirror costs.

use std::net::Ipv4Addr;
use std::ops::Deref;

use ftp_server::ServerConfig;
use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};
use ftp_tests::wait::wait_until;

use crate::ftp;
use crate::relay::Relay;

/// Returns the flights of a mirror with this number of files.
fn flights(site: &Site, files: usize, options: &[&str]) -> usize {
    let (relay, here) = (Relay::to(site.address), TempRoot::new());
    site.clear();
    for number in 0..files {
        site.root.write(format!("tree/{number}"), b"content");
    }
    let url = format!("ftp://{}@{}/tree", site.user, relay.address);
    let mut mirror = ftp(&["mirror", "-j", "1"]);
    mirror.env("FTP_PASSWORD", site.password).args(options).arg(url).arg(here.path());
    run(&mut mirror).succeeded();
    assert_eq!(here.names().len(), files);
    // The client does not wait for long after its last command.
    wait_until("the QUIT", || relay.count("QUIT") > 0);
    relay.take_flights()
}

/// Fails if the round trips that more files cost are never `want`. One of the first files also tests whether
/// questions can come before a confirmation. Which one, and so whether it costs a round trip more, depends on
/// when data and reply arrive.
fn cost(more: impl Fn() -> usize, want: usize, case: &str) {
    const ATTEMPTS: usize = 12;
    let found: Vec<_> =
        (0..ATTEMPTS).map_while(|_| Some(more()).filter(|more| *more != want)).collect();
    assert!(found.len() < ATTEMPTS, "{case}: {found:?}");
}

#[test]
fn a_mirrored_file_costs_few_round_trips_and_one_with_pipelining() {
    let host = Ipv4Addr::LOCALHOST;
    let stream = ServerConfig::new().block_mode(false);
    let stream = OurServer::with(stream);
    let mut sites: Vec<(&str, Box<dyn Deref<Target = Site> + Sync>, usize)> =
        vec![("ours", Box::new(stream), 2)];
    // If the listing lacks seconds, the time costs another command, unless it is sent together with
    // others.
    for (name, server, each) in [
        ("vsftpd", RealServer::vsftpd(), 2),
        ("proftpd", RealServer::proftpd_at(host), 2),
        ("pure-ftpd", RealServer::pure_ftpd_at(host), 2),
        ("pyftpdlib", RealServer::pyftpdlib(), 2),
    ] {
        if let Some(server) = server {
            sites.push((name, Box::new(server), each));
        }
    }
    at_once(sites.len(), &sites, |(name, site, each)| {
        for (options, want) in [(&[][..], *each), (&["--pipeline"], 1)] {
            let flown = |files| flights(site, files, options);
            cost(|| flown(13) - flown(3), 10 * want, &format!("{name} {options:?}"));
        }
    });
}

#[test]
fn small_files_of_a_tree_share_a_data_connection_if_the_server_lists_mode_b_cl_73() {
    let server = OurServer::start();
    // Below eight files, a data connection for each costs little.
    cost(|| flights(&server, 4, &[]) - flights(&server, 2, &[]), 2 * 2, "few files");
    let (few, many) = (flights(&server, 10, &[]), flights(&server, 60, &[]));
    assert!(many <= few + 2, "{many} flights for 60 files, {few} for 10");
}
