//! `--proxy` and the variables, with real proxies: microsocks, Dante and tinyproxy. Each connects
//! from its own loopback address, by which the server tells them apart.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ftp_server::{Event, EventKind, Observer, Server, ServerConfig};
use ftp_tests::peer::Peer;
use ftp_tests::port::OwnPort;
use ftp_tests::process::{Running, run};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::wait::wait_until;

use crate::doctor::examined;
use crate::{failed, ftp};

/// Addresses that the proxies connect from.
const MICROSOCKS: &str = "127.0.0.5";
const DANTE: &str = "127.0.0.6";
const TINYPROXY: &str = "127.0.0.7";

/// A proxy at a loopback port.
struct Proxy {
    address: SocketAddr,
    from: IpAddr,
    // Dropped in this order.
    _running: Running,
    _root: TempRoot,
    _port: OwnPort,
}

impl Proxy {
    fn start(
        program: &str,
        from: &str,
        command: impl FnOnce(Command, u16, &TempRoot) -> Command,
    ) -> Option<Self> {
        let program = Peer::find(program)?;
        let (port, root) = (OwnPort::claim(), TempRoot::new());
        let mut command = command(program.command(), port.number(), &root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::start(&mut command);
        let address = port.address();
        wait_until("the proxy listens", || TcpStream::connect(address).is_ok());
        let from = from.parse().unwrap();
        Some(Self { address, from, _running: running, _root: root, _port: port })
    }

    /// Starts microsocks, which wants a user and password if `login` has them.
    fn microsocks(login: &[&str]) -> Option<Self> {
        Self::start("microsocks", MICROSOCKS, |mut command, port, _| {
            command.args(["-i", "127.0.0.1", "-b", MICROSOCKS, "-p", &port.to_string()]);
            command.args(login);
            command
        })
    }

    fn dante() -> Option<Self> {
        Self::start("danted", DANTE, |mut command, port, root| {
            let config = format!(
                "logoutput: /dev/null\n\
                 internal: 127.0.0.1 port = {port}\n\
                 external: {DANTE}\n\
                 socksmethod: none\n\
                 clientmethod: none\n\
                 client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
                 socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 command: connect }}\n"
            );
            let config = root.write("danted.conf", config.as_bytes());
            command.arg("-f").arg(config).arg("-p").arg(root.join("pid"));
            command
        })
    }

    /// Starts tinyproxy with more lines of configuration.
    fn tinyproxy(more: &str) -> Option<Self> {
        Self::start("tinyproxy", TINYPROXY, |mut command, port, root| {
            let config = format!(
                "Port {port}\nListen 127.0.0.1\nBind {TINYPROXY}\nAllow 127.0.0.1\nTimeout 60\n\
                 LogLevel Critical\n{more}\n"
            );
            let config = root.write("tinyproxy.conf", config.as_bytes());
            command.arg("-d").arg("-c").arg(config);
            command
        })
    }

    fn url(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}{}", self.address)
    }
}

/// Collects the addresses that logged in.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<Vec<IpAddr>>>);

impl Clients {
    fn take(&self) -> Vec<IpAddr> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Clients {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event.kind, EventKind::LoggedIn) {
            self.0.lock().unwrap().push(event.peer.ip());
        }
    }
}

/// Returns a server that tells where its clients come from.
fn server() -> (OurServer, Clients) {
    let clients = Clients::default();
    let builder = Server::builder().config(ServerConfig::default()).observer(clients.clone());
    (OurServer::built(builder), clients)
}

/// Returns the program with the server's password.
fn client(arguments: &[&str]) -> Command {
    let mut command = ftp(arguments);
    command.env("FTP_PASSWORD", "pass word");
    command
}

/// Returns the URL of a name for the user.
fn url(server: &OurServer, name: &str) -> String {
    format!("ftp://user@{}/{name}", server.address)
}

/// Uploads, lists and downloads through a proxy, and checks that the server saw its address.
#[track_caller]
fn carries(proxy: &Proxy, named: &str) {
    let (server, clients) = server();
    let here = TempRoot::new();
    let content = vec![b'x'; 300_001];
    let local = here.write("a.bin", &content);
    let there = url(&server, "a.bin");
    let local = local.to_str().unwrap();
    run(&mut client(&["put", "--proxy", named, local, &there])).succeeded();
    assert_eq!(server.root.read("a.bin"), content);
    let listed = run(&mut client(&["ls", "--proxy", named, &url(&server, "")]));
    assert_eq!(listed.succeeded(), b"a.bin\n");
    // A data connection from elsewhere than the control connection would be refused.
    let got = run(client(&["get", "--epsv", "never", &there, "-"]).env("ftp_proxy", named));
    assert_eq!(got.succeeded(), content);
    assert_eq!(clients.take(), [proxy.from; 3]);
}

#[test]
fn microsocks_carries_every_connection() {
    let Some(proxy) = Proxy::microsocks(&[]) else { return };
    carries(&proxy, &proxy.url("socks5", ""));
    carries(&proxy, &proxy.url("socks5h", "not:needed@"));
}

#[test]
fn microsocks_gets_the_user_and_password() {
    let Some(proxy) = Proxy::microsocks(&["-u", "me", "-P", "s3:cret"]) else { return };
    carries(&proxy, &proxy.url("socks5h", "me:s3%3Acret@"));
    let (server, clients) = server();
    for (login, words) in
        [("", "it requires a user and password"), ("me:wr0ng@", "refused the user and password")]
    {
        let named = proxy.url("socks5", login);
        let ran = run(&mut client(&["ls", "--proxy", &named, &url(&server, "")]));
        failed(&ran, 4, &format!("proxy {}: ", proxy.url("socks5", "")));
        failed(&ran, 4, words);
        assert!(!String::from_utf8_lossy(&ran.stderr).contains("wr0ng"), "{ran:?}");
    }
    assert!(clients.take().is_empty());
}

#[test]
fn dante_carries_every_connection() {
    let Some(proxy) = Proxy::dante() else { return };
    carries(&proxy, &proxy.url("socks5", ""));
    carries(&proxy, &proxy.url("socks5h", ""));
}

#[test]
fn tinyproxy_carries_every_connection() {
    let Some(proxy) = Proxy::tinyproxy("") else { return };
    carries(&proxy, &proxy.url("http", ""));
    // Without a scheme it is HTTP.
    carries(&proxy, &proxy.address.to_string());
}

#[test]
fn tinyproxy_gets_the_user_and_password() {
    let Some(proxy) = Proxy::tinyproxy("BasicAuth me s3cret") else { return };
    carries(&proxy, &proxy.url("http", "me:s3cret@"));
    let (server, _) = server();
    let ran = run(&mut client(&["ls", "--proxy", &proxy.url("http", ""), &url(&server, "")]));
    failed(&ran, 4, "proxy http://127.0.0.1:");
}

#[test]
fn a_refusal_of_the_proxy_names_it_and_is_not_retried() {
    let Some(proxy) = Proxy::tinyproxy("ConnectPort 443") else { return };
    let (server, clients) = server();
    let named = proxy.url("http", "");
    let there = url(&server, "a");
    // A refusal by its rules is no transient failure.
    let ran = run(&mut client(&["get", "--retry", "3", "--proxy", &named, &there, "-"]));
    failed(&ran, 4, &format!("proxy {named}: cannot connect to {}: 403", server.address));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    let ran = run(client(&["get", &there, "-"]).env("ALL_PROXY", &named));
    failed(&ran, 4, "the variable ALL_PROXY names this proxy: use --proxy none");
    assert!(clients.take().is_empty());
}

#[test]
fn data_connections_refused_by_the_proxy_are_reported_as_such() {
    let (server, _) = server();
    server.root.write("a", b"1");
    let port = server.address.port();
    let Some(proxy) = Proxy::tinyproxy(&format!("ConnectPort {port}")) else { return };
    let named = proxy.url("http", "");
    let ran = run(&mut client(&["get", "--proxy", &named, &url(&server, "a"), "-"]));
    failed(&ran, 13, "the proxy must also allow connections to the server's passive ports");
    let there = format!("ftp://user:pass%20word@{}", server.address);
    let found = examined(&["--proxy", &named, &there]);
    assert!(found.wrong.contains("proxy-blocks-data"), "{:?}", found.ran);
}

#[test]
fn tls_runs_inside_the_proxys_connection() {
    use ftp_tests::tls::{Authority, Kind};

    let pair = Authority::new().issue(Kind::Good);
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    let tls = ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let clients = Clients::default();
    let server = OurServer::built(Server::builder().tls(tls).observer(clients.clone()));
    server.root.write("a", b"under TLS");
    let there = url(&server, "a").replacen("ftp", "ftpes", 1);
    let proxies = [
        (Proxy::microsocks(&[]), "socks5h"),
        (Proxy::dante(), "socks5"),
        (Proxy::tinyproxy(""), "http"),
    ];
    for (proxy, scheme) in proxies {
        let Some(proxy) = proxy else { continue };
        let named = proxy.url(scheme, "");
        let got = run(&mut client(&["get", "--pin", &pair.pin(), "--proxy", &named, &there, "-"]));
        assert_eq!(got.succeeded(), b"under TLS", "{named}");
        assert_eq!(clients.take(), [proxy.from]);
    }
}

#[test]
fn no_proxy_and_proxy_none_connect_directly() {
    let (server, clients) = server();
    server.root.write("a", b"1");
    let there = url(&server, "a");
    let dead = format!("http://{}", OwnPort::claim_closed().address());
    for (options, variables) in [
        (&["--proxy", "none"][..], &[("ftp_proxy", dead.as_str())][..]),
        (&["--proxy="], &[("all_proxy", &dead)]),
        (&[], &[("ftp_proxy", &dead), ("no_proxy", "localhost,127.0.0.0/8")]),
        (&["--proxy", &dead], &[("NO_PROXY", "*")]),
        // A client of a CGI program could set it.
        (&[], &[("HTTP_PROXY", &dead), ("http_proxy", &dead)]),
    ] {
        let mut command = client(&["get", &there, "-"]);
        let ran = run(command.args(options).envs(variables.iter().copied()));
        assert_eq!(ran.succeeded(), b"1", "{options:?} {variables:?}");
        assert_eq!(clients.take(), [IpAddr::from([127, 0, 0, 1])]);
    }
    let closed = OwnPort::claim_closed();
    let dead = format!("socks5://me:s3cret@{}", closed.address());
    let ran = run(client(&["get", &there, "-"]).env("all_proxy", &dead));
    failed(&ran, 4, &format!("proxy socks5://{}: cannot connect to ", closed.address()));
    failed(&ran, 4, "the variable all_proxy names this proxy: use --proxy none");
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("s3cret"), "{ran:?}");
}

#[test]
fn invalid_proxies_and_conflicting_options_are_usage_errors() {
    for (arguments, variable, words) in [
        (&["get", "--active", "ftp://h/a"][..], "socks5://h", "--active cannot be used through a"),
        (&["ls", "--passive-address", "reply", "ftp://h/"], "http://h", "--passive-address cannot"),
        (&["get", "ftpes://h/a"], "ftp://h", "TLS cannot be used through an FTP proxy"),
        (&["fxp", "ftp://h/a", "ftp://i/a"], "ftp://h", "fxp cannot use an FTP proxy"),
        (&["get", "ftp://h/a"], "https://u:s3cret@h", "https, socks4 and socks4a proxies are not"),
        (&["get", "ftp://h/a"], "socks5://u:s3cret@h/x", "ftp_proxy: invalid proxy: unexpected"),
        (&["get", "--proxy", "s5://u:s3cret@h", "ftp://h/a"], "", "--proxy: invalid proxy: unk"),
        (&["doctor", "--proxy", "s5://u:s3cret@h", "ftp://h/a"], "", "--proxy: invalid proxy: "),
    ] {
        let ran = run(ftp(arguments).env("ftp_proxy", variable));
        failed(&ran, 2, words);
        assert!(!String::from_utf8_lossy(&ran.stderr).contains("s3cret"), "{ran:?}");
    }
}

#[test]
fn a_silent_proxy_times_out_and_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let named = format!("socks5://{}", listener.local_addr().unwrap());
    let ran =
        run(&mut ftp(&["ls", "--connect-timeout", "1", "--proxy", &named, "ftp://127.0.0.1"]));
    failed(&ran, 10, &format!("through the proxy {named}"));
    let found = examined(&["--connect-timeout", "2", "--proxy", &named, "ftp://127.0.0.1"]);
    found.ran.exited(10);
    assert_eq!(Vec::from_iter(&found.wrong), ["proxy-silent"]);
}

#[test]
fn doctor_names_the_proxy_and_the_variable() {
    let (server, clients) = server();
    let Some(proxy) = Proxy::microsocks(&["-u", "me", "-P", "s3cret"]) else { return };
    let named = proxy.url("socks5h", "me:s3cret@");
    let there = format!("ftp://user:pass%20word@{}", server.address);
    let found = examined(&["--proxy", &named, &there]);
    found.ran.exited(0);
    let hidden = proxy.url("socks5h", "");
    assert_eq!(found.seen("proxy"), format!("connections go through {hidden}, named by --proxy"));
    assert_eq!(
        found.seen("eprt"),
        "EPRT cannot be tried: active mode does not work through a proxy"
    );
    assert!(found.best().unwrap().contains(&format!("--proxy {hidden}")), "{:?}", found.ran);
    assert_eq!(Vec::from_iter(&found.wrong), ["clear-password"]);
    let all = [found.ran.stdout.clone(), found.ran.stderr.clone()].concat();
    assert!(!String::from_utf8_lossy(&all).contains("s3cret"), "{:?}", found.ran);
    let seen = clients.take();
    assert!(!seen.is_empty() && seen.iter().all(|from| *from == proxy.from), "{seen:?}");

    let ran = run(ftp(&["doctor", &there]).env("no_proxy", "127.0.0.1").env("all_proxy", "h:1"));
    let said = String::from_utf8(ran.succeeded()).unwrap();
    assert!(said.starts_with("ok    resolve "), "{said}");
    for (login, want) in [("", "proxy-login"), ("me:wrong@", "proxy-login")] {
        let found = examined(&["--proxy", &proxy.url("socks5", login), &there]);
        found.ran.exited(4);
        assert_eq!(Vec::from_iter(&found.wrong), [want]);
    }
    let found = examined(&["--proxy", &proxy.url("http", ""), &there]);
    assert_eq!(Vec::from_iter(&found.wrong), ["not-a-proxy"]);
    let closed = OwnPort::claim_closed();
    let found = examined(&["--proxy", &format!("http://{}", closed.address()), &there]);
    found.ran.exited(4);
    assert_eq!(Vec::from_iter(&found.wrong), ["proxy-unreachable"]);
}

#[test]
fn an_ftp_proxy_gets_the_host_in_the_user_command() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let named = format!("ftp://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let mut control = listener.accept().unwrap().0;
        std::io::Write::write_all(&mut control, b"220 proxy\r\n").unwrap();
        let mut line = [0; 64];
        let count = control.read(&mut line).unwrap();
        std::io::Write::write_all(&mut control, b"530 no such host\r\n").unwrap();
        let _ = control.read(&mut [0; 64]);
        String::from_utf8_lossy(&line[..count]).into_owned()
    });
    let there = "ftp://me@inside.invalid:2121/a";
    failed(&run(&mut client(&["get", "--proxy", &named, there, "-"])), 6, "530 no such host");
    assert_eq!(asked.join().unwrap(), "USER me@inside.invalid:2121\r\n");
}
