//! Networks of hosts and routers, each with one problem: the confusion matrix. Each problem is
//! found in its own network only, and nothing is found in a network without a problem.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use ftp_server::{Limits, PassivePolicy, ServerConfig};
use ftp_tests::at_once::at_once;
use ftp_tests::network::{Host, in_own_network};
use ftp_tests::peer::{Peer, RealServer, impossible};
use ftp_tests::process::run;

use super::Found;
use super::scene::{From, Ours, between};
use super::talkers::{self, Talk};

/// The required result for a network: its problems, and the exit code.
struct Row {
    network: &'static str,
    wrong: &'static [&'static str],
    exit: i32,
    found: Found,
    /// A check, and words that its observation must contain.
    seen: (&'static str, &'static str),
    /// The required part of the best command line.
    best: Option<&'static str>,
}

/// Runs `doctor` where connections may never be made.
fn examined(arguments: &[&str]) -> Found {
    super::examined(&[&["--connect-timeout", "4"], arguments].concat())
}

/// A client and a server with public addresses, connected by a link.
fn direct() -> (Host, Host) {
    let (client, server) = (Host::start(), Host::start());
    client.link(&["198.51.100.2/24"], "wire", &server, &["198.51.100.9/24"]);
    (client, server)
}

/// The address of the server of [`direct`].
const SERVER: &str = "198.51.100.9:2121";

/// A client inside a NAT, a router, and a server outside.
fn behind_a_router() -> (Host, Host, Host) {
    let (client, router, server) = (Host::start(), Host::start(), Host::start());
    client.link(&["192.168.1.2/24"], "lan", &router, &["192.168.1.1/24"]);
    router.link(&["203.0.113.1/24"], "wan", &server, &["203.0.113.9/24"]);
    client.set_up("ip route add default via 192.168.1.1");
    router.set_up("echo 1 > /proc/sys/net/ipv4/ip_forward");
    (client, router, server)
}

const OUTSIDE: &str = "203.0.113.9:2121";

/// The kernel's FTP helper, for connections to port 2121.
const HELPER: &str = "ct helper ftp {
        type \"ftp\" protocol tcp
        l3proto ip
    }
    chain helped {
        type filter hook prerouting priority filter
        tcp dport 2121 ct helper set \"ftp\"
    }";

fn ports(text: &str) -> ServerConfig {
    let ports = ftp_proto::PortRanges::parse(text.as_bytes()).unwrap();
    ServerConfig::new().passive(PassivePolicy::new().ports(Some(ports)))
}

fn healthy() -> Row {
    let (client, server) = direct();
    let ours = Ours::at(&server, SERVER, ServerConfig::default());
    let found = client.at(|| examined(&["--upload-dir", "in", &ours.url()]));
    let seen = ("port", "the server connected to 198.51.100.2");
    Row { network: "nothing wrong", wrong: &[], exit: 0, found, seen, best: Some("ls -l ftp://") }
}

fn healthy_vsftpd() -> Option<Row> {
    let (client, server) = direct();
    let vsftpd = server.at(|| RealServer::vsftpd_at(Ipv4Addr::new(198, 51, 100, 9)))?;
    let url = format!("ftp://{}/", vsftpd.address);
    let found = client.at(|| examined(&[&url]));
    let (wrong, best) = (&[][..], Some("ls -l ftp://"));
    Some(Row { network: "vsftpd", wrong, exit: 0, found, seen: ("login", "anonymous"), best })
}

fn private_address_behind_nat() -> Row {
    let (client, router, server) = (Host::start(), Host::start(), Host::start());
    client.link(&["198.51.100.2/24"], "wan", &router, &["198.51.100.1/24"]);
    router.link(&["10.0.0.1/24"], "lan", &server, &["10.0.0.5/24"]);
    server.set_up("ip route add default via 10.0.0.1");
    router.set_up(
        "echo 1 > /proc/sys/net/ipv4/ip_forward
        nft 'table ip nat {
            chain in {
                type nat hook prerouting priority dstnat
                iif wan ip daddr 198.51.100.1 tcp dport 1024-65535 dnat to 10.0.0.5
            }
            chain out {
                type nat hook postrouting priority srcnat
                oif wan masquerade
            }
        }'",
    );
    let _ours = Ours::at(&server, "10.0.0.5:2121", ServerConfig::default());
    let found = client.at(|| examined(&["ftp://198.51.100.1:2121/"]));
    let seen = (
        "pasv",
        "the 227 reply announces 10.0.0.5, which is private, but the server's address is 198.51.100.1",
    );
    let wrong = &["pasv-private-address"];
    Row { network: "server behind NAT", wrong, exit: 0, found, seen, best: Some("ls -l ftp://") }
}

/// A firewall at the server that applies `verdict` to passive ports. It keeps no state, so they are
/// no ports from which the server connects in active mode (32768 and above).
fn passive_ports(network: &'static str, verdict: &str, wrong: &'static [&'static str]) -> Row {
    let (client, server) = direct();
    server.set_up(&format!(
        "nft 'table ip filter {{
            chain in {{
                type filter hook input priority filter
                tcp dport 30000-30099 {verdict}
            }}
        }}'"
    ));
    let ours = Ours::at(&server, SERVER, ports("30000-30099"));
    let found = client.at(|| examined(&[&ours.url()]));
    let seen = ("ports", "different ports from 300");
    Row { network, wrong, exit: 13, found, seen, best: Some("ls -l --active ftp://") }
}

fn a_helper_without_epsv() -> Row {
    let (client, router, server) = behind_a_router();
    // The client has a public address here: packets are only filtered.
    client.set_up("ip address add 198.51.100.2/32 dev lan");
    client.set_up("ip route replace default via 192.168.1.1 src 198.51.100.2");
    router.set_up("ip route add 198.51.100.2/32 dev lan");
    server.set_up("ip route add default via 203.0.113.1");
    router.set_up(&format!(
        "echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
        nft 'table ip filter {{
            {HELPER}
            chain blind {{
                type filter hook prerouting priority raw
                iif wan @ih,0,32 0x32323920 notrack
            }}
            chain through {{
                type filter hook forward priority filter
                ct state established,related,untracked accept
                iif wan accept
                tcp dport 2121 accept
                drop
            }}
        }}'"
    ));
    let ours = Ours::at(&server, OUTSIDE, ServerConfig::default());
    let found = client.at(|| examined(&[&ours.url()]));
    let (seen, wrong) = (("epsv", "gets no answer"), &["epsv-blocked"]);
    let best = Some("ls -l --epsv never ftp://");
    Row { network: "firewall that knows PASV only", wrong, exit: 0, found, seen, best }
}

fn a_middlebox_that_drops_epsv() -> Row {
    let (client, server) = direct();
    // Packets that begin with these four letters never arrive.
    server.set_up(
        "nft 'table ip filter {
            chain in {
                type filter hook input priority filter
                tcp dport 2121 @ih,0,32 0x45505356 drop
            }
        }'",
    );
    let ours = Ours::at(&server, SERVER, ServerConfig::default());
    let found = client.at(|| examined(&[&ours.url()]));
    let (seen, wrong) = (("epsv", "EPSV gets no reply"), &["epsv-blocked"]);
    let best = Some("ls -l --epsv never ftp://");
    Row { network: "EPSV swallowed", wrong, exit: 0, found, seen, best }
}

/// A NAT in front of the client, with or without the helper.
fn client_behind_nat(network: &'static str, helper: &str, wrong: &'static [&'static str]) -> Row {
    let (client, router, server) = behind_a_router();
    router.set_up(&format!(
        "nft 'table ip nat {{
            {helper}
            chain out {{
                type nat hook postrouting priority srcnat
                oif wan masquerade
            }}
        }}'"
    ));
    let ours = Ours::at(&server, OUTSIDE, ServerConfig::default());
    let found = client.at(|| examined(&[&ours.url()]));
    let seen = ("port", "the server sees this computer as 203.0.113.1");
    Row { network, wrong, exit: 0, found, seen, best: Some("ls -l ftp://") }
}

fn client_vsftpd_behind_nat() -> Option<Row> {
    let (client, router, server) = behind_a_router();
    router.set_up(
        "nft 'table ip nat {
            chain out {
                type nat hook postrouting priority srcnat
                oif wan masquerade
            }
        }'",
    );
    let vsftpd = server.at(|| RealServer::vsftpd_at(Ipv4Addr::new(203, 0, 113, 9)))?;
    let url = format!("ftp://{}/", vsftpd.address);
    let found = client.at(|| examined(&[&url]));
    let (wrong, best) = (&["active-behind-nat"][..], Some("ls -l ftp://"));
    let network = "client behind NAT, vsftpd";
    Some(Row { network, wrong, exit: 0, found, seen: ("port", "PORT with 192.168.1.2"), best })
}

fn firewall_at_the_client() -> Row {
    let (client, server) = direct();
    client.set_up(
        "nft 'table ip filter {
            chain in {
                type filter hook input priority filter
                iif wire ct state new drop
            }
        }'",
    );
    let ours = Ours::at(&server, SERVER, ServerConfig::default());
    let found = client.at(|| examined(&[&ours.url()]));
    let (seen, wrong) = (("eprt", "EPRT with 198.51.100.2"), &["active-blocked"]);
    let best = Some("ls -l ftp://");
    Row { network: "firewall at the client", wrong, exit: 0, found, seen, best }
}

/// Drops incoming packets of full size.
const LOSES_LARGE: &str = "nft 'table ip filter {
        chain in {
            type filter hook input priority filter
            iif wire meta length > 1400 drop
        }
    }'";

/// Packets of full size are lost on the way to the server, to the client, or both.
fn large_packets(
    network: &'static str,
    (to_server, to_client): (bool, bool),
    more: &[&str],
    seen: (&'static str, &'static str),
) -> Row {
    let (client, server) = direct();
    for (host, is_lossy) in [(&server, to_server), (&client, to_client)] {
        if is_lossy {
            host.set_up(LOSES_LARGE);
        }
    }
    let ours = Ours::at(&server, SERVER, ServerConfig::default());
    ours.root.write("large", &[b'x'; 50_000]);
    let found = client.at(|| examined(&[more, &[&ours.url()]].concat()));
    let (wrong, best) = (&["big-packets-lost"], Some("ls -l ftp://"));
    Row { network, wrong, exit: 4, found, seen, best }
}

/// A listing that needs more than one packet is lost.
fn a_large_listing() -> Row {
    let (client, server) = direct();
    client.set_up(LOSES_LARGE);
    let ours = Ours::at(&server, SERVER, ServerConfig::default());
    for at in 0..200 {
        ours.root.write(format!("a-name-that-takes-some-room-{at}"), b"");
    }
    let found = client.at(|| examined(&[&ours.url()]));
    let (seen, wrong) = (("epsv", "the listing stalls"), &["big-packets-lost"]);
    Row { network: "large listing lost", wrong, exit: 4, found, seen, best: None }
}

fn half_of_the_ports() -> Row {
    let (client, server) = direct();
    server.set_up(
        "nft 'table ip filter {
            chain in {
                type filter hook input priority filter
                tcp dport 1 drop
            }
        }'",
    );
    let ours = Ours::at(&server, SERVER, ServerConfig::default());
    let count = AtomicUsize::new(0);
    let count = std::sync::Arc::new(count);
    let address = server.at(|| {
        between(ours.address(), move |from, line| {
            let is_port = from == From::Server && line.starts_with("22") && line.contains('(');
            match is_port && count.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                true if line.starts_with("227") => Some("227 (198,51,100,9,0,1)".to_owned()),
                true => Some("229 (|||1|)".to_owned()),
                false => Some(line.to_owned()),
            }
        })
    });
    let found = client.at(|| examined(&[&format!("ftp://{address}/")]));
    let (seen, wrong) = (("ports", "; unreachable: 1"), &["passive-ports-partly"]);
    let network = "half of the passive ports dropped";
    Row { network, wrong, exit: 13, found, seen, best: Some("ls -l ftp://") }
}

fn one_connection() -> Row {
    let (client, server) = direct();
    let config = ServerConfig::new().limits(Limits::new().per_address(1));
    let ours = Ours::at(&server, SERVER, config);
    let found = client.at(|| examined(&["--upload-dir", "in", &ours.url()]));
    let (seen, wrong) = (("put", "read back unchanged"), &[]);
    Row { network: "one connection", wrong, exit: 0, found, seen, best: Some("ls -l ftp://") }
}

fn two_ports() -> Row {
    let (client, server) = direct();
    let ours = Ours::at(&server, SERVER, ports("20500-20501"));
    let found = client.at(|| examined(&[&ours.url()]));
    // Chosen at random, they can also be one port each time.
    let (seen, wrong) = (("ports", " 2050"), &["few-ports"]);
    Row { network: "two ports", wrong, exit: 0, found, seen, best: Some("ls -l ftp://") }
}

fn password_in_plaintext() -> Row {
    let (client, server) = direct();
    let ours = Ours::at(&server, SERVER, ServerConfig::default());
    let url = format!("ftp://me:secret@{}/", ours.address());
    let found = client.at(|| examined(&[&url]));
    let (seen, wrong) =
        (("login", "the password of me is sent to 198.51.100.9"), &["clear-password"]);
    Row { network: "password in clear", wrong, exit: 0, found, seen, best: Some("ftp://me@198") }
}

fn port_dropped() -> Row {
    let (client, server) = direct();
    server.set_up(
        "nft 'table ip filter {
            chain in {
                type filter hook input priority filter
                tcp dport 2121 drop
            }
        }'",
    );
    let found = client.at(|| examined(&[&format!("ftp://{SERVER}/")]));
    let (seen, wrong) = (("connect", "198.51.100.9:2121 does not answer"), &["host-silent"]);
    Row { network: "port dropped", wrong, exit: 10, found, seen, best: None }
}

fn no_way_there() -> Row {
    let (client, _server) = direct();
    let found = client.at(|| examined(&["ftp://203.0.113.9:2121/"]));
    let (seen, wrong) = (("connect", "203.0.113.9:2121"), &["host-unreachable"]);
    Row { network: "no route", wrong, exit: 4, found, seen, best: None }
}

/// Other programs than FTP servers.
fn talker(
    network: &'static str,
    talk: Talk,
    wrong: &'static [&'static str],
    (exit, seen): (i32, (&'static str, &'static str)),
) -> Row {
    let (client, server) = direct();
    let address = server.at(|| talkers::start("198.51.100.9", talk));
    let found = client.at(|| examined(&[&format!("ftp://{address}/")]));
    Row { network, wrong, exit, found, seen, best: None }
}

/// Makes a network and runs `doctor` in it; `None` if a program is missing.
type Network = fn() -> Option<Row>;

const ROWS: &[Network] = &[
    || Some(healthy()),
    healthy_vsftpd,
    || Some(private_address_behind_nat()),
    || Some(passive_ports("passive ports dropped", "drop", &["passive-blocked"])),
    || {
        let (network, verdict) = ("passive ports rejected", "reject with tcp reset");
        Some(passive_ports(network, verdict, &["passive-closed"]))
    },
    || Some(half_of_the_ports()),
    || {
        let seen =
            ("packets", "the server answers a command of 900 bytes, but not one of 1900 bytes");
        Some(large_packets("large packets lost to the server", (true, false), &[], seen))
    },
    || {
        let seen = ("packets", "received 0 bytes of large, then nothing");
        Some(large_packets("large packets lost to the client", (false, true), &[], seen))
    },
    || {
        let seen = ("put", "storing 64 KiB in in");
        let upload = &["--upload-dir", "in"];
        Some(large_packets("large packets lost, uploads", (true, true), upload, seen))
    },
    || Some(a_large_listing()),
    || Some(a_middlebox_that_drops_epsv()),
    || Some(client_behind_nat("client behind NAT", "", &["active-behind-nat"])),
    client_vsftpd_behind_nat,
    || Some(firewall_at_the_client()),
    || Some(two_ports()),
    || Some(one_connection()),
    || Some(password_in_plaintext()),
    || Some(port_dropped()),
    || Some(no_way_there()),
    || {
        let talk = Talk::First(b"SSH-2.0-OpenSSH_9.2p1\r\n");
        Some(talker("SSH", talk, &["ssh-on-port"], (7, ("protocol", "speaks SSH"))))
    },
    || {
        let talk = Talk::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        Some(talker("HTTP", talk, &["http-on-port"], (7, ("protocol", "speaks HTTP"))))
    },
    || {
        let (talk, wrong) = (Talk::Tls(talkers::ALERT), &["tls-on-plain-port"]);
        Some(talker("TLS at once", talk, wrong, (5, ("protocol", "expects TLS first"))))
    },
    || {
        let wrong = &["greeting-never"];
        Some(talker("no greeting", Talk::Nothing, wrong, (10, ("greeting", "sent nothing"))))
    },
];

/// The networks with the kernel's FTP helper.
const HELPED: &[Network] = &[
    || Some(a_helper_without_epsv()),
    || Some(client_behind_nat("NAT that rewrites", HELPER, &["middlebox-rewrites"])),
];

/// Returns whether the kernel has the helper: some have it as a module that cannot be loaded here.
fn has_helper() -> bool {
    let nft = Peer::find("nft").expect("it was there before");
    let mut check = nft.command();
    let table = format!("table ip helped {{ {HELPER}\n }}");
    run(check.arg("-c").arg(table)).code() == Some(0)
}

/// Runs several networks at a time, since nearly all of the time is waiting.
fn all(networks: &[Network]) -> impl Iterator<Item = Row> {
    at_once(8, networks, |network| network()).into_iter().flatten()
}

#[test]
fn each_network_fault_has_exactly_its_diagnosis() {
    let test = "doctor::networks::each_network_fault_has_exactly_its_diagnosis";
    if !in_own_network(test, &[]) || Peer::find("nft").is_none() {
        return;
    }
    let mut rows: Vec<_> = all(ROWS).collect();
    if has_helper() {
        rows.extend(all(HELPED));
    } else {
        impossible("the kernel has no FTP helper");
    }
    let mut faults = String::new();
    for Row { network, wrong, exit, found, seen: (check, words), best } in &rows {
        let names: Vec<&str> = found.wrong.iter().map(String::as_str).collect();
        let line = format!("{network}: {names:?}, exit {:?}\n", found.ran.code());
        // Prints the matrix.
        print!("{line}");
        let is_right = names == *wrong
            && found.ran.code() == Some(*exit)
            && found.seen_any(check).iter().any(|seen| seen.contains(words))
            && match (best, found.best()) {
                (Some(best), Some(found)) => found.contains(best),
                (None, None) => true,
                _ => false,
            };
        if !is_right {
            let said = String::from_utf8_lossy(&found.ran.stdout).into_owned();
            faults
                .push_str(&format!("{line}wanted {wrong:?}, {exit}, {words:?}, {best:?}: {said}"));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
