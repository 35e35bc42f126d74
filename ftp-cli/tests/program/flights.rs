//! How many round trips a file of a mirror costs.

use std::net::Ipv4Addr;
use std::ops::Deref;

use ftp_tests::peer::RealServer;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::{OurServer, Site};

use crate::ftp;
use crate::relay::Relay;

/// The flights of a mirror of so many files.
fn flights(site: &Site, files: usize, options: &[&str]) -> usize {
    let (relay, here) = (Relay::to(site.address), TempRoot::new());
    site.clear();
    for number in 0..files {
        site.root.write(format!("tree/{number}"), b"content");
    }
    let url = format!("ftp://{}@{}/tree", site.user, relay.address);
    let mut mirror = ftp(&["mirror"]);
    mirror.env("FTP_PASSWORD", site.password).args(options).arg(url).arg(here.path());
    run(&mut mirror).succeeded();
    assert_eq!(here.names().len(), files);
    relay.take_flights()
}

#[test]
fn a_file_of_a_mirror_costs_two_round_trips_or_one_where_commands_go_together() {
    let host = Ipv4Addr::LOCALHOST;
    let mut sites: Vec<(&str, Box<dyn Deref<Target = Site>>, usize)> =
        vec![("ours", Box::new(OurServer::start()), 0)];
    // A listing without the seconds costs one more, for the time.
    for (name, server, more) in [
        ("vsftpd", RealServer::vsftpd(), 1),
        ("proftpd", RealServer::proftpd_at(host), 0),
        ("pure-ftpd", RealServer::pure_ftpd_at(host), 0),
        ("pyftpdlib", RealServer::pyftpdlib(), 0),
    ] {
        if let Some(server) = server {
            sites.push((name, Box::new(server), more));
        }
    }
    for (name, site, more) in &sites {
        for (options, want) in [(&[][..], 2), (&["--pipeline"], 1)] {
            let each = |files| flights(site, files, options);
            assert_eq!(each(12) - each(2), 10 * (want + more), "{name} {options:?}");
        }
    }
}
