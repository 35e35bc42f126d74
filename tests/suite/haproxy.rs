//! HAProxy before two servers, with the configuration of the documentation.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use ftp_server::{
    Event, EventKind, LoginPolicy, Network, Observer, PassiveAddress, PassivePolicy, PortRanges,
    Rights, Server, ServerConfig,
};
use ftp_tests::at_once::at_once;
use ftp_tests::network::in_own_network;
use ftp_tests::peer::Peer;
use ftp_tests::process::{Running, run};
use ftp_tests::raw::{RawData, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::wait::wait_until;

/// Where clients connect, as in the documentation.
pub(super) const FRONT: &str = "192.0.2.1";

/// The addresses of the servers, and their passive ports.
pub(super) const SERVERS: [(&str, &str); 2] =
    [("10.0.0.11", "30000-30099"), ("10.0.0.12", "30100-30199")];

/// The clients: `balance source` sends them to both servers.
pub(super) const CLIENTS: [&str; 4] = ["203.0.113.4", "203.0.113.5", "203.0.113.6", "203.0.113.7"];

/// All addresses, each with its network; the last one is the balancer's inner address.
pub(super) const ADDRESSES: [&str; 8] = [
    "192.0.2.1/24",
    "10.0.0.11/24",
    "10.0.0.12/24",
    "203.0.113.4/24",
    "203.0.113.5/24",
    "203.0.113.6/24",
    "203.0.113.7/24",
    "10.0.0.1/24",
];

/// Collects the addresses that logged in.
#[derive(Clone, Default)]
pub(super) struct Clients(Arc<Mutex<Vec<IpAddr>>>);

impl Clients {
    /// Returns whether this client has logged in.
    pub(super) fn has(&self, client: IpAddr) -> bool {
        self.0.lock().unwrap().contains(&client)
    }
}

impl Observer for Clients {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event.kind, EventKind::LoggedIn) {
            self.0.lock().unwrap().push(event.peer.ip());
        }
    }
}

/// A server as the documentation configures it, with user `u` and password `p`.
struct Node {
    server: Server,
    root: TempRoot,
    clients: Clients,
}

impl Node {
    fn start(host: &str, ports: &str, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = config(ports);
        change(&mut config);
        let (root, clients) = (TempRoot::new(), Clients::default());
        let server = Server::builder()
            .root(root.path())
            .config(config)
            .user("u", "p", Rights::FULL)
            .observer(clients.clone());
        let server = server.tls(tls()).implicit_tls(SocketAddr::new(host.parse().unwrap(), 990));
        let server = server.bind((host, 21)).expect("a server in a network of its own");
        Self { server, root, clients }
    }
}

/// The configuration of a server with these passive ports.
pub(super) fn config(ports: &str) -> ServerConfig {
    ServerConfig::new()
        .proxy_protocol(vec![Network::parse(b"10.0.0.1").unwrap()])
        .passive(PassivePolicy::new().ports(Some(PortRanges::parse(ports.as_bytes()).unwrap())))
        .logins(LoginPolicy::new().ban_after(2).delay(std::time::Duration::ZERO))
}

fn tls() -> ftp_server::Tls {
    use ftp_tests::tls::{Authority, Kind};
    let pair = Authority::new().issue(Kind::Good);
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

/// HAProxy, with the configuration of the documentation.
pub(super) struct Balancer {
    _process: Running,
    _root: TempRoot,
}

impl Balancer {
    /// Starts it with a version of the header, and waits until its checks have found both servers.
    pub(super) fn start(haproxy: &Peer, option: &str) -> Self {
        let root = TempRoot::new();
        let socket = root.path().join("admin.sock");
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.md");
        let document = fs::read_to_string(document).unwrap();
        let printed = document.split("```text /etc/haproxy/haproxy.cfg\n").nth(1).unwrap();
        let printed = printed.split("```").next().unwrap();
        let config = printed
            .replace("    user haproxy\n    group haproxy\n", "")
            .replace("/run/haproxy/admin.sock", socket.to_str().unwrap())
            // Its machine is that of the servers here, which would be their address otherwise.
            .replace("    mode tcp\n", "    mode tcp\n    source 10.0.0.1\n")
            // The first checks come at once. Later ones may fail only if a server is silent for long.
            .replace(" check ", " check inter 5s fastinter 100ms ")
            .replace("send-proxy-v2", option);
        assert!(config.contains(option) && config.contains("source 10.0.0.1"), "{config}");
        let path = root.path().join("haproxy.cfg");
        fs::write(&path, config).unwrap();
        run(haproxy.command().args(["-c", "-f"]).arg(&path)).succeeded();
        let mut command = haproxy.command();
        command.arg("-db").arg("-f").arg(&path).stdout(Stdio::null());
        let mut process = Running::start(&mut command);
        let checked = process.wait_until(ftp_tests::process::LIMIT, || {
            let mut stream = UnixStream::connect(&socket).ok()?;
            stream.write_all(b"show stat\n").ok()?;
            let mut said = String::new();
            stream.read_to_string(&mut said).ok()?;
            let is_found = |line: &&str| line.starts_with("ftp,") && line.contains(",L7OK,");
            (said.lines().filter(is_found).count() == 2).then_some(())
        });
        checked.unwrap();
        Self { _process: process, _root: root }
    }
}

/// Uploads and downloads by curl as a client, with these options.
#[track_caller]
fn moves_bytes(curl: &Peer, client: &str, url: &str, options: &[&str]) {
    let root = TempRoot::new();
    let content = ftp_tests::content::binary(300_000, 7);
    root.write("up", &content);
    let transfer = |what: &[&str]| {
        let mut command = curl.command();
        command.args(["-sS", "-k", "--interface", client, "-u", "u:p"]).args(options).args(what);
        run(command.current_dir(root.path())).succeeded()
    };
    let file = format!("{url}/{client}");
    transfer(&["-T", "up", &file]);
    assert!(transfer(&[&file]) == content, "{client} {url} {options:?}");
    let names = transfer(&["-l", &format!("{url}/")]);
    assert!(String::from_utf8(names).unwrap().contains(client));
}

/// Downloads in active mode under TLS, which curl 7.88 cannot do.
#[track_caller]
fn active_under_tls(client: &str) {
    let tls = ftp_tests::tls::TlsClient::trusting_any_certificate();
    let front = SocketAddr::new(FRONT.parse().unwrap(), 21);
    let mut session = RawSession::connect_from(client.parse().unwrap(), front);
    session.expect_reply(220);
    session.start_tls(&tls);
    for (line, code) in [("USER u", 331), ("PASS p", 230), ("TYPE I", 200)] {
        session.expect(line, code);
    }
    session.protect();
    let listener = session.active();
    session.expect(format!("RETR {client}"), 150);
    let mut data = listener.accept().tls(&tls);
    let (bytes, _) = data.read_to_its_end();
    assert!(bytes == ftp_tests::content::binary(300_000, 7), "{client}");
    let _gone = data.finish();
    session.expect_reply(226);
}

#[test]
fn two_servers_work_through_haproxy() {
    if !in_own_network("haproxy::two_servers_work_through_haproxy", &ADDRESSES) {
        return;
    }
    let (Some(haproxy), Some(curl)) = (Peer::find("haproxy"), Peer::find("curl")) else { return };
    let nodes = SERVERS.map(|(host, ports)| Node::start(host, ports, |_| {}));
    let active = ["-P", "-"];
    for option in ["send-proxy", "send-proxy-v2"] {
        let _balancer = Balancer::start(&haproxy, option);
        at_once(CLIENTS.len(), CLIENTS, |client| {
            let plain = format!("ftp://{FRONT}");
            for options in [&[][..], &["--disable-epsv"], &active, &["-P", "-", "--disable-eprt"]] {
                moves_bytes(&curl, client, &plain, options);
            }
            moves_bytes(&curl, client, &plain, &["--ssl-reqd"]);
            moves_bytes(&curl, client, &plain, &["--ssl-reqd", "--disable-epsv"]);
            moves_bytes(&curl, client, &format!("ftps://{FRONT}"), &[]);
            active_under_tls(client);
        });
    }
    let mut served = Vec::new();
    for node in &nodes {
        let mut clients = std::mem::take(&mut *node.clients.0.lock().unwrap());
        clients.sort();
        clients.dedup();
        assert!(!clients.is_empty(), "{served:?}: `balance source` has chosen one server for all");
        assert!(clients.iter().all(|client| node.root.path().join(client.to_string()).is_file()));
        served.extend(clients);
    }
    served.sort();
    let want: Vec<IpAddr> = CLIENTS.iter().map(|client| client.parse().unwrap()).collect();
    assert_eq!(served, want, "each has one server, under its own address");
}

#[test]
fn servers_ban_the_client_address_through_haproxy() {
    let test = "haproxy::servers_ban_the_client_address_through_haproxy";
    if !in_own_network(test, &ADDRESSES) {
        return;
    }
    let Some(haproxy) = Peer::find("haproxy") else { return };
    let nodes = SERVERS.map(|(host, ports)| Node::start(host, ports, |_| {}));
    let _balancer = Balancer::start(&haproxy, "send-proxy-v2");
    let front = SocketAddr::new(FRONT.parse().unwrap(), 21);
    let from = |client: &str| RawSession::connect_from(client.parse().unwrap(), front);
    let [guesser, others @ ..] = CLIENTS;
    let mut session = from(guesser);
    session.expect_reply(220);
    for _ in 0..2 {
        session.expect("USER u", 331);
        session.expect("PASS wrong", 530);
    }
    from(guesser).expect_reply(421);
    let bans: Vec<IpAddr> =
        nodes.iter().flat_map(|node| node.server.bans()).map(|(host, _)| host).collect();
    assert_eq!(bans, [guesser.parse::<IpAddr>().unwrap()]);
    for client in others {
        let _session = RawSession::login_from(client.parse().unwrap(), front, "u", "p");
    }
    // A header of a client is the first line of its dialogue, and one at a server's own port too.
    let mut forged = from(others[0]);
    forged.expect_reply(220);
    forged.expect("PROXY TCP4 192.0.2.99 192.0.2.1 1 21", 500);
    let node = SocketAddr::new(SERVERS[0].0.parse().unwrap(), 21);
    let mut forged = RawSession::connect_from(others[0].parse().unwrap(), node);
    forged.expect_reply(220);
    forged.expect("PROXY TCP4 192.0.2.99 192.0.2.1 1 21", 500);
    // Another client does not get the data of a session through the balancer.
    let own: IpAddr = others[0].parse().unwrap();
    let mut session = RawSession::login_from(own, front, "u", "p");
    for node in &nodes {
        node.root.write("a", b"a");
    }
    let address = session.expect("EPSV", 229).text();
    let port = address.split('|').nth(3).unwrap().parse().unwrap();
    let stranger = RawData::connect_from(others[1].parse().unwrap(), (front.ip(), port).into());
    let data = RawData::connect_from(own, (front.ip(), port).into());
    session.expect("RETR a", 150);
    assert_eq!(data.read_to_end(), b"a");
    session.expect_reply(226);
    let mut got = Vec::new();
    let _reset = stranger.into_stream().read_to_end(&mut got);
    assert!(got.is_empty(), "{got:?}");
}

#[test]
fn data_connections_bypass_haproxy_with_passive_address() {
    let test = "haproxy::data_connections_bypass_haproxy_with_passive_address";
    if !in_own_network(test, &ADDRESSES) {
        return;
    }
    let (Some(haproxy), Some(curl)) = (Peer::find("haproxy"), Peer::find("curl")) else { return };
    let nodes = SERVERS.map(|(host, ports)| {
        Node::start(host, ports, |config| {
            config.passive.address = Some(PassiveAddress::parse(host.as_bytes()).unwrap());
        })
    });
    let _balancer = Balancer::start(&haproxy, "send-proxy-v2");
    let direct = ["--disable-epsv", "--no-ftp-skip-pasv-ip"];
    at_once(CLIENTS.len(), CLIENTS, |client| {
        moves_bytes(&curl, client, &format!("ftp://{FRONT}"), &direct);
        moves_bytes(&curl, client, &format!("ftp://{FRONT}"), &["--disable-epsv"]);
    });
    let count = || nodes.iter().map(|node| node.server.sessions().len()).sum::<usize>();
    wait_until("all sessions end", || count() == 0);
}
