//! Proxies that relay, refuse, hang and lie. The real ones are in the tests of the command line.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ftp_client::error::{Phase, ProxyFault};
use ftp_client::{
    AddressRule, Canceller, Client, ClientBuilder, Error, ErrorKind, Mode, Proxy, Tls,
};
use ftp_tests::port::OwnPort;
use ftp_tests::wait::patiently;

use crate::peer::{SHORT, Server, get, timeouts};

/// Long enough for every test that does not wait for it.
const LONG: Duration = Duration::from_secs(60);

fn builder(proxy: &str) -> ClientBuilder {
    Client::builder().timeouts(timeouts()).proxy(proxy.parse::<Proxy>().unwrap())
}

/// Passes bytes on in both directions, with the ends of each.
fn relay(client: TcpStream, server: SocketAddr) -> [JoinHandle<()>; 2] {
    let server = TcpStream::connect(server).unwrap();
    let pump = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            // A reset is passed on as an end.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    [pump(client.try_clone().unwrap(), server.try_clone().unwrap()), pump(server, client)]
}

/// The user and password, the host and the port that a proxy was asked with.
type Asked = (String, String, u16);

fn read<const N: usize>(mut stream: &TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads a length, and as many bytes of text.
fn word(mut stream: &TcpStream) -> String {
    let [length] = read(stream);
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The proxy's side of SOCKS5, as RFC 1928 has it.
fn socks(mut client: &TcpStream) -> Asked {
    assert_eq!(read(client), [5]);
    let methods = word(client);
    let mut login = String::new();
    if methods.contains('\x02') {
        client.write_all(b"\x05\x02").unwrap();
        assert_eq!(read(client), [1]);
        login = format!("/{}", word(client));
        login = format!("{login}/{}", word(client));
        client.write_all(b"\x01\x00").unwrap();
    } else {
        assert_eq!(methods, "\0");
        client.write_all(b"\x05\x00").unwrap();
    }
    assert_eq!(read(client), [5, 1, 0]);
    let host = match read(client) {
        [1] => std::net::Ipv4Addr::from(read::<4>(client)).to_string(),
        [3] => word(client),
        [other] => panic!("address type {other}"),
    };
    let port = u16::from_be_bytes(read(client));
    // The address after the reply may be of any kind.
    client.write_all(b"\x05\x00\x00\x03\x04here\x00\x09").unwrap();
    (login, host, port)
}

/// The proxy's side of CONNECT; the login is in base64.
fn connect(mut client: &TcpStream) -> Asked {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read::<1>(client));
    }
    let head = String::from_utf8(head).unwrap();
    let place = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    let (host, port) = place.rsplit_once(':').unwrap();
    client.write_all(b"HTTP/1.1 200 Yes\r\nContent-Length: 5\r\n\r\n").unwrap();
    let login = head.split("Basic ").nth(1).map(|rest| rest.split('\r').next().unwrap());
    (login.unwrap_or_default().to_owned(), host.to_owned(), port.parse().unwrap())
}

/// Starts a proxy for one control and one data connection; the control connection goes to
/// `server`, the other one to the port of 127.0.0.1 that was asked for.
fn proxy(server: SocketAddr, ask: fn(&TcpStream) -> Asked) -> (SocketAddr, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let mut asked = Vec::new();
        let mut relays = Vec::new();
        for to in [Some(server), None] {
            let (client, _) = listener.accept().unwrap();
            let one = ask(&client);
            let to = to.unwrap_or_else(|| ([127, 0, 0, 1], one.2).into());
            asked.push(one);
            relays.extend(relay(client, to));
        }
        relays.into_iter().for_each(|thread| thread.join().unwrap());
        asked
    });
    (address, thread)
}

#[test]
fn both_connections_go_through_the_proxy() {
    for (scheme, login, host, ask, want) in [
        ("socks5", "", "localhost", socks as fn(&TcpStream) -> _, ("", "127.0.0.1")),
        ("socks5", "u:p%40@", "127.0.0.1", socks, ("/u/p@", "127.0.0.1")),
        ("socks5h", "", "inside.invalid", socks, ("", "inside.invalid")),
        ("socks5h", "u:@", "inside.invalid", socks, ("/u/", "inside.invalid")),
        ("http", "", "inside.invalid", connect, ("", "inside.invalid")),
        ("http", "me:s%3acret@", "inside.invalid", connect, ("bWU6czpjcmV0", "inside.invalid")),
    ] {
        let server = Server::start(|mut peer| {
            peer.reply("220 ready");
            peer.image_epsv();
            peer.answer("RETR a", "150 here");
            peer.send_data(b"hello");
            peer.reply("226 done");
            peer.drain();
        });
        let (at, proxy) = proxy(server.address, ask);
        let builder = builder(&format!("{scheme}://{login}{at}"))
            .family(Some(ftp_client::NetworkProtocol::Ipv4));
        let mut client = builder.connect(&format!("{host}:2121")).unwrap();
        assert_eq!(client.peer_addr(), None, "the address is the proxy's");
        assert_eq!(get(&mut client).unwrap(), b"hello");
        drop(client);
        server.end();
        let asked = proxy.join().unwrap();
        let [control, data] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!((control.0.as_str(), control.1.as_str(), control.2), (want.0, want.1, 2_121));
        assert_eq!((data.0.as_str(), data.1.as_str()), want, "{scheme}");
    }
}

/// Starts a proxy that sends these bytes to each connection and closes it in the end, whatever it
/// is asked.
fn saying(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 512]);
            let _ = client.write_all(bytes);
            let _ = client.shutdown(Shutdown::Write);
            thread::spawn(move || io::copy(&mut client, &mut io::sink()));
        }
    });
    address
}

/// Connects through a proxy that says `bytes`; returns its fault.
#[track_caller]
fn fault(login: &str, scheme: &str, bytes: &'static [u8]) -> ProxyFault {
    let proxy = format!("{scheme}://{login}{}", saying(bytes));
    let error = builder(&proxy).connect("inside.invalid").unwrap_err();
    let shown = error.to_string();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.starts_with(&format!("proxy {scheme}://127.0.0.1:")), "{shown}");
    assert_eq!(error.kind(), ErrorKind::Network);
    let Error::Proxy { fault, .. } = error else { panic!("{error}") };
    fault
}

#[test]
fn socks_proxy_errors_are_distinguished() {
    let permanent = |text: &str| (text.to_owned(), false);
    let not = || permanent("it does not speak SOCKS5");
    let refused = |reason: &str, is_transient| {
        (format!("cannot connect to inside.invalid:21: {reason}"), is_transient)
    };
    for (login, bytes, want) in [
        ("", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], not()),
        ("", b"220 ready\r\n", not()),
        ("", b"\x04\x00", not()),
        ("", b"\x05\xff", permanent("it requires a user and password")),
        // A method that was not offered.
        ("", b"\x05\x02", not()),
        ("", b"\x05\x01", not()),
        ("u:s3cret@", b"\x05\x02\x01\x01", permanent("it refused the user and password")),
        ("u:s3cret@", b"\x05\x02\x05\x00", not()),
        ("", b"\x05\x00\x05\x01\x00\x01", refused("general failure", true)),
        ("", b"\x05\x00\x05\x02", refused("not allowed by the proxy's rules", false)),
        ("", b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0", refused("connection refused", true)),
        ("", b"\x05\x00\x05\x63", refused("unknown reply 99", false)),
        ("", b"\x05\x00\x04\x00", not()),
        ("", b"\x05\x00\x05\x00\x01\x01", not()),
        ("", b"\x05\x00\x05\x00\x00\x02", not()),
    ] {
        let fault = fault(login, "socks5h", bytes);
        assert_eq!((fault.to_string(), fault.is_transient()), want, "{}", bytes.escape_ascii());
    }
    let refused = fault("u:s3cret@", "socks5h", b"\x05\xff");
    assert!(matches!(refused, ProxyFault::LoginUnsupported), "{refused}");
    for cut in [&b""[..], b"\x05", b"\x05\x00", b"\x05\x00\x05", b"\x05\x00\x05\x00\x00\x01\x7f"] {
        let lost = fault("", "socks5h", cut);
        assert!(matches!(lost, ProxyFault::Lost(_)), "{lost} after {}", cut.escape_ascii());
    }
}

#[test]
fn http_proxy_errors_are_distinguished() {
    let permanent = |text: &str| (text.to_owned(), false);
    let not = || permanent("it does not speak HTTP");
    let refused = |reason: &str, is_transient| {
        (format!("cannot connect to inside.invalid:21: {reason}"), is_transient)
    };
    const LONG: &[u8] = &[b'x'; 70_000];
    static FIELDS: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| [b"HTTP/1.1 200 OK\r\nA: ", LONG].concat());
    static INTERIM: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| b"HTTP/1.1 100 Continue\r\n\r\n".repeat(3_000));
    for (login, bytes, want) in [
        ("", &b"220 ready\r\n"[..], not()),
        ("", LONG, not()),
        ("", &FIELDS, permanent("its answer is longer than 64 KiB")),
        ("", &INTERIM, permanent("its answer is longer than 64 KiB")),
        ("", b"HTTP/1.1 200 OK\n\n", not()),
        ("", b"HTTP/1.1 2x0 OK\r\n\r\n", not()),
        ("", b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", not()),
        ("", b"HTTP/1.1 407 Log in\r\n\r\n", permanent("it requires a user and password")),
        ("u:s3cret@", b"HTTP/1.1 407 No\r\n\r\n", permanent("it refused the user and password: 407 No")),
        (
            "",
            b"HTTP/1.1 403 Forb\xc2\x9bidden\r\nA: b\r\n\r\n",
            refused("403 Forb\\u{9b}idden", false),
        ),
        ("", b"HTTP/1.0 503 Busy\r\n\r\n", refused("503 Busy", true)),
        ("", b"HTTP/1.1 101 Switching\r\n\r\n", refused("101 Switching", false)),
        (
            "",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n c\r\n\r\nHTTP/1.1 403 No\r\n\r\n",
            refused("403 No", false),
        ),
    ] {
        let shown = bytes.get(..40).unwrap_or(bytes).escape_ascii().to_string();
        let fault = fault(login, "http", bytes);
        assert_eq!((fault.to_string(), fault.is_transient()), want, "{shown}");
    }
    for cut in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n\r",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let lost = fault("", "http", cut);
        assert!(matches!(lost, ProxyFault::Lost(_)), "{lost}");
    }
}

#[test]
fn a_greeting_right_after_the_proxys_reply_is_not_lost() {
    for (scheme, bytes) in [
        ("http", &b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n220 ready\r\n"[..]),
        (
            "http",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n220 ready\r\n",
        ),
        ("socks5h", b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x09220 ready\r\n"),
    ] {
        let client = builder(&format!("{scheme}://{}", saying(bytes))).connect("inside.invalid");
        assert_eq!(client.unwrap().welcome().to_string(), "220 ready", "{scheme}");
    }
}

#[test]
fn the_error_names_an_unreachable_proxy() {
    let closed = OwnPort::claim_closed();
    let free = closed.address();
    for scheme in ["socks5", "socks5h", "http", "ftp"] {
        let error = builder(&format!("{scheme}://u:p@{free}")).connect("127.0.0.1").unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("proxy {scheme}://{free}: cannot connect")), "{shown}");
        assert!(error.is_transient() && error.kind() == ErrorKind::Network, "{shown}");
    }
    let error = builder("http://nowhere.invalid").connect("127.0.0.1").unwrap_err().to_string();
    assert!(error.starts_with("proxy http://nowhere.invalid:1080: cannot resolve"), "{error}");
}

/// Starts a proxy that says these bytes and then nothing. Tells when it has said them.
fn silent_after(bytes: &'static [u8]) -> (SocketAddr, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, said): (Sender<TcpStream>, _) = channel();
    thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        client.write_all(bytes).unwrap();
        sender.send(client).unwrap();
    });
    (address, said)
}

/// What a proxy says before it hangs, in each phase.
const PHASES: [(&str, &[u8]); 7] = [
    ("socks5h", b""),
    ("socks5h", b"\x05"),
    ("socks5h", b"\x05\x02"),
    ("socks5h", b"\x05\x02\x01\x00\x05"),
    ("socks5h", b"\x05\x00\x05\x00\x00\x03\xff"),
    ("http", b""),
    ("http", b"HTTP/1.1 200 OK\r\n"),
];

#[test]
fn the_connect_timeout_applies_in_every_proxy_phase() {
    for (scheme, bytes) in PHASES {
        patiently(SHORT, |connect| {
            let (at, said) = silent_after(bytes);
            let limits = timeouts().connect(connect);
            let begin = Instant::now();
            let builder = builder(&format!("{scheme}://u:p@{at}")).timeouts(limits);
            let error = builder.connect("inside.invalid").unwrap_err();
            assert!(matches!(error, Error::Timeout(Phase::Proxy)), "{error}");
            assert!(begin.elapsed() < LONG);
            drop(said);
        });
    }
}

#[test]
fn cancelling_works_in_every_proxy_phase() {
    for (scheme, bytes) in PHASES {
        let (at, said) = silent_after(bytes);
        let canceller = Canceller::new().unwrap();
        let button = canceller.clone();
        let cancel = thread::spawn(move || {
            let connected = said.recv().unwrap();
            button.cancel();
            connected
        });
        let builder = builder(&format!("{scheme}://u:p@{at}")).canceller(canceller);
        let error = builder.connect("inside.invalid").unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        cancel.join().unwrap();
    }
}

#[test]
fn trickled_bytes_do_not_extend_the_proxy_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let trickle = thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        client.write_all(b"HTTP/1.1 200 ").unwrap();
        while client.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let limits = timeouts().connect(SHORT);
    let error = builder(&format!("http://{at}")).timeouts(limits).connect("h").unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::Proxy)), "{error}");
    trickle.join().unwrap();
}

#[test]
fn a_proxy_that_refuses_data_leaves_the_session_usable() {
    let server = Server::start(|mut peer| {
        peer.reply("220 ready");
        peer.image_epsv();
        peer.expect("PASV");
        let [high, low] = peer.listen().to_be_bytes();
        peer.reply(&format!("227 here (10,0,0,5,{high},{low})"));
        peer.answer("NOOP", "200 ok");
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let address = server.address;
    let proxy = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        connect(&client);
        let relays = relay(client, address);
        let mut hosts = Vec::new();
        for _ in 0..2 {
            let (mut client, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.extend(read::<1>(&client));
            }
            hosts.push(String::from_utf8(head).unwrap());
            client.write_all(b"HTTP/1.1 403 Only port 21\r\n\r\n").unwrap();
        }
        relays.into_iter().for_each(|thread| thread.join().unwrap());
        hosts
    });
    let mut client = builder(&format!("http://{at}")).connect("inside.invalid").unwrap();
    let error = client.retrieve("a").unwrap_err();
    let shown = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Data, "{shown}");
    assert!(shown.contains("403 Only port 21"), "{shown}");
    client.noop().unwrap();
    drop(client);
    server.end();
    // The address in the 227 is not asked for.
    let hosts = proxy.join().unwrap();
    assert!(hosts.iter().all(|head| head.starts_with("CONNECT inside.invalid:")), "{hosts:?}");
}

#[test]
fn an_ftp_proxy_gets_user_at_host() {
    for (login, server, want) in [
        ("", "ftp.example.org", &["USER me@ftp.example.org"][..]),
        ("", "ftp.example.org:2121", &["USER me@ftp.example.org:2121"]),
        ("", "[::1]:2121", &["USER me@[::1]:2121"]),
        ("own:secret@", "h", &["USER own", "PASS secret", "USER me@h"]),
    ] {
        let proxy = Server::start(move |mut peer| {
            peer.reply("220 proxy");
            for line in want {
                let reply = if line.starts_with("PASS") { "230 in" } else { "331 password" };
                peer.answer(line, reply);
            }
            peer.answer("PASS p", "230 in");
            peer.image_epsv();
            peer.answer("RETR a", "150 here");
            peer.send_data(b"hello");
            peer.reply("226 done");
        });
        let mut client =
            builder(&format!("ftp://{login}{}", proxy.address)).connect(server).unwrap();
        assert_eq!(client.peer_addr(), Some(proxy.address));
        client.login("me", "p").unwrap();
        assert_eq!(get(&mut client).unwrap(), b"hello");
        proxy.end();
    }
}

#[test]
fn a_refused_ftp_proxy_login_is_a_proxy_error() {
    let proxy = Server::start(|mut peer| {
        peer.reply("220 proxy");
        peer.answer("USER own", "331 password");
        peer.answer("PASS s3cret", "530 s3cret is wrong");
    });
    let mut client = builder(&format!("ftp://own:s3cret@{}", proxy.address)).connect("h").unwrap();
    let error = client.login("me", "p").unwrap_err();
    let shown = error.to_string();
    assert!(matches!(&error, Error::Proxy { fault, .. } if !fault.is_transient()), "{shown}");
    assert!(shown.contains("530 **** is wrong"), "{shown}");
    proxy.end();
}

#[test]
fn options_and_hosts_that_exclude_a_proxy_are_unsupported() {
    let through = |scheme: &str| builder(&format!("{scheme}://127.0.0.1:9"));
    for wrong in [
        through("http").mode(Mode::Active),
        through("ftp").mode(Mode::Active),
        through("socks5").passive_address(AddressRule::Reply),
        through("socks5").connector(|_, _, _, _| Err(io::ErrorKind::Unsupported.into())),
        through("ftp").tls(Tls::explicit()),
        through("ftp").host_command(true),
    ] {
        let error = wrong.connect("127.0.0.1").unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
    let at = saying(b"");
    for host in ["bücher.example", "[fe80::1%eth0]:21"] {
        let error = builder(&format!("http://{at}")).connect(host).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{host}: {error}");
    }
}
