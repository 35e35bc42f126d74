//! The client with NAT: hosts, a router between them, real bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{AddressRule, Client, ClientBuilder, Error, Extended};
use ftp_client::{Mode, PortRanges, Timeouts};
use ftp_server::{Rights, Server, ServerConfig};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::network::{Host, in_own_network};
use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::root::TempRoot;
use ftp_tests::wait::patiently;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// The transferred content: more than the kernel buffers for a connection.
const SIZE: usize = 2 << 20;

/// The timeout of a data connection without an answer.
const SHORT: Duration = Duration::from_millis(400);

/// Starts our server on a host, with user `u` and password `p`.
struct Ours {
    server: Server,
    root: TempRoot,
}

impl Ours {
    fn start(host: &Host, address: &str) -> Self {
        let root = TempRoot::new();
        let config = ServerConfig::default();
        let server = host.at(|| {
            let server = Server::builder().root(root.path()).config(config);
            server.user("u", "p", Rights::FULL).bind(address).expect("a server")
        });
        Self { server, root }
    }
}

/// A server as a client reaches it, and how.
struct Meeting<'a> {
    address: String,
    login: (&'a str, &'a str),
    root: &'a TempRoot,
}

impl Meeting<'_> {
    fn client(&self, builder: ClientBuilder) -> Client {
        let mut client = builder.connect(&self.address).unwrap();
        client.login(self.login.0, self.login.1).unwrap();
        client
    }

    /// An upload, a download and a listing, twice: the second time uses what the client learned in
    /// the first.
    #[track_caller]
    fn moves_bytes(&self, builder: ClientBuilder) {
        let mut client = self.client(builder);
        for seed in [1, 2] {
            let (up, down) = (binary(SIZE, seed), binary(SIZE, seed + 10));
            let mut file = client.store("up").unwrap();
            file.write_all(&up).unwrap();
            file.finish().unwrap();
            assert_same("stored", &self.root.read("up"), &up);
            self.root.write("down", &down);
            assert_same("retrieved", &get(&mut client, "down").unwrap(), &down);
            let names: Vec<_> = client
                .list_lines("", ListOptions::by(ListingForm::Nlst))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert!(names.contains(&b"up".to_vec()) && names.contains(&b"down".to_vec()));
        }
        client.quit().unwrap();
    }

    /// Returns the error of a download.
    #[track_caller]
    fn fails(&self, builder: ClientBuilder) -> Error {
        self.root.write("down", b"never seen");
        get(&mut self.client(builder), "down").unwrap_err()
    }
}

fn get(client: &mut Client, name: &str) -> Result<Vec<u8>, Error> {
    let mut file = client.retrieve(name)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Error::downcast(error).expect("the client's"))?;
    file.finish()?;
    Ok(bytes)
}

fn pasv(rule: AddressRule) -> ClientBuilder {
    Client::builder().epsv(Extended::Never).passive_address(rule)
}

#[test]
fn a_server_behind_nat_that_announces_a_private_address_cl_25_cl_26_cl_27() {
    let test = "nat::a_server_behind_nat_that_announces_a_private_address_cl_25_cl_26_cl_27";
    if !in_own_network(test, &[]) || Peer::find("nft").is_none() {
        return;
    }
    let (here, router, inside) = (Host::here(), Host::start(), Host::start());
    here.link(&["198.51.100.2/24"], "wan", &router, &["198.51.100.1/24"]);
    router.link(&["10.0.0.1/24"], "lan", &inside, &["10.0.0.5/24"]);
    here.set_up("ip route add default via 198.51.100.1");
    inside.set_up("ip route add default via 10.0.0.1");
    // Inside hosts are reached by the outer address only.
    router.set_up(
        "echo 1 > /proc/sys/net/ipv4/ip_forward
        nft 'table ip nat {
            chain in {
                type nat hook prerouting priority dstnat
                iif wan ip daddr 198.51.100.1 tcp dport 1024-65535 dnat to 10.0.0.5
            }
            chain through {
                type filter hook forward priority filter
                iif wan ct status dnat accept
                iif wan ct state established accept
                iif wan drop
            }
        }'",
    );
    let ours = Ours::start(&inside, "10.0.0.5:2121");
    let vsftpd = inside.at(|| RealServer::vsftpd_at(Ipv4Addr::new(10, 0, 0, 5)));
    let outside = |inner: SocketAddr| format!("198.51.100.1:{}", inner.port());
    let mut meetings = vec![Meeting {
        address: outside(ours.server.local_addr()),
        login: ("u", "p"),
        root: &ours.root,
    }];
    if let Some(vsftpd) = &vsftpd {
        meetings.push(Meeting {
            address: outside(vsftpd.address),
            login: (vsftpd.user, vsftpd.password),
            root: &vsftpd.root,
        });
    }
    for meeting in meetings {
        meeting.moves_bytes(Client::builder());
        meeting.moves_bytes(pasv(AddressRule::Peer));
        meeting.moves_bytes(pasv(AddressRule::Smart));
        // vsftpd reads no command while it waits for a data connection.
        let said = patiently(Duration::from_secs(4), |reply| {
            let timeouts = Timeouts::new().data_connect(SHORT).reply(reply);
            meeting.fails(pasv(AddressRule::Reply).timeouts(timeouts)).to_string()
        });
        let why = "(the server announced 10.0.0.5: private, but the server's address is public; \
                   the address rules `peer` and `smart` would use 198.51.100.1)";
        assert!(said.starts_with("no data connection: PASV with 10.0.0.5:"), "{said}");
        assert!(said.ends_with(why), "{said}");
    }
}

#[test]
fn active_mode_through_a_forwarded_address_and_ports_cl_22_cl_32_cl_33() {
    let test = "nat::active_mode_through_a_forwarded_address_and_ports_cl_22_cl_32_cl_33";
    if !in_own_network(test, &[]) || Peer::find("nft").is_none() {
        return;
    }
    let (here, router, outside) = (Host::here(), Host::start(), Host::start());
    here.link(&["192.168.1.2/24"], "lan", &router, &["192.168.1.1/24"]);
    router.link(&["203.0.113.1/24"], "wan", &outside, &["203.0.113.9/24"]);
    here.set_up("ip route add default via 192.168.1.1");
    router.set_up(
        "echo 1 > /proc/sys/net/ipv4/ip_forward
        nft 'table ip nat {
            chain in {
                type nat hook prerouting priority dstnat
                iif wan tcp dport 50000-50001 dnat to 192.168.1.2
            }
            chain out {
                type nat hook postrouting priority srcnat
                oif wan masquerade
            }
        }'",
    );
    let ours = Ours::start(&outside, "203.0.113.9:2121");
    let vsftpd = outside.at(|| RealServer::vsftpd_at(Ipv4Addr::new(203, 0, 113, 9)));
    let at_ours =
        Meeting { address: "203.0.113.9:2121".into(), login: ("u", "p"), root: &ours.root };
    let ports = |text: &str| PortRanges::parse(text.as_bytes()).unwrap();
    let active = || Client::builder().mode(Mode::Active);
    let forwarded = || active().active_address("203.0.113.1").active_ports(ports("50000-50001"));
    for extended in [Extended::Always, Extended::Never] {
        at_ours.moves_bytes(forwarded().eprt(extended));
        if let Some(vsftpd) = &vsftpd {
            let at_vsftpd = Meeting {
                address: vsftpd.address.to_string(),
                login: (vsftpd.user, vsftpd.password),
                root: &vsftpd.root,
            };
            at_vsftpd.moves_bytes(forwarded().eprt(extended));
        }
    }
    // The address alone and the ports alone are not enough.
    let inner = at_ours.fails(active().active_ports(ports("50000-50001")));
    assert!(matches!(&inner, Error::DataConnection(attempts) if attempts.len() == 1), "{inner}");
    let timeouts = Timeouts::new().data_connect(SHORT);
    let unforwarded = active().active_address("203.0.113.1").active_ports(ports("50002-50005"));
    let missed = at_ours.fails(unforwarded.timeouts(timeouts));
    assert!(matches!(missed, Error::DataConnection(_) | Error::Refused { .. }), "{missed}");
}

#[test]
fn ipv6_alone_cl_20_cl_33_cl_34() {
    let test = "nat::ipv6_alone_cl_20_cl_33_cl_34";
    if !in_own_network(test, &[]) {
        return;
    }
    let (here, there) = (Host::here(), Host::start());
    here.link(&["2001:db8::1/64", "fe80::1/64"], "wire", &there, &["2001:db8::2/64", "fe80::2/64"]);
    let ours = Ours::start(&there, "[::]:2121");
    for host in ["[2001:db8::2]", "[fe80::2%wire]"] {
        let meeting =
            Meeting { address: format!("{host}:2121"), login: ("u", "p"), root: &ours.root };
        meeting.moves_bytes(Client::builder());
        meeting.moves_bytes(Client::builder().epsv_all(true));
        meeting.moves_bytes(Client::builder().mode(Mode::Active));
        for rule in [AddressRule::Peer, AddressRule::Smart, AddressRule::Reply] {
            let error = meeting.fails(pasv(rule)).to_string();
            assert!(error.contains("PASV carries IPv4 addresses only"), "{error}");
        }
    }
    let told = Client::builder().mode(Mode::Active).active_address("2001:db8::1");
    let meeting =
        Meeting { address: "[2001:db8::2]:2121".into(), login: ("u", "p"), root: &ours.root };
    meeting.moves_bytes(told.active_ports(PortRanges::parse(b"50000,50010-50019").unwrap()));
}

#[test]
fn ports_that_are_forbidden_count_as_taken_cl_33() {
    let test = "nat::ports_that_are_forbidden_count_as_taken_cl_33";
    if !in_own_network(test, &[]) {
        return;
    }
    let ours = Ours::start(&Host::here(), "127.0.0.1:2121");
    let meeting = Meeting { address: "127.0.0.1:2121".into(), login: ("u", "p"), root: &ours.root };
    let _taken = TcpListener::bind("127.0.0.1:50001").unwrap();
    let active = |ports: &str| {
        let ports = PortRanges::parse(ports.as_bytes()).unwrap();
        Client::builder().mode(Mode::Active).active_ports(ports)
    };
    // A thread that cannot bind ports below 1024, even if the tests run as root.
    let work = || {
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, sets).unwrap();
        meeting.moves_bytes(active("21,300-400,50000"));
        for (ports, why) in [
            ("21,300-400", "the system forbids all of them"),
            ("21,300-400,50001", "1 in use, 102 forbidden by the system"),
        ] {
            let said = meeting.fails(active(ports)).to_string();
            let want = format!("no data connection: no free port in {ports}: {why}");
            assert_eq!(said, want);
        }
    };
    Host::here().at(work);
}
