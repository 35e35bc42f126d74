//! How connections are opened: the server's name, address families, the local address, and a
//! connector of the caller.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ftp_client::Transport;
use ftp_client::error::Phase;
use ftp_client::{Client, Error, Mode, NetworkProtocol};
use ftp_tests::wait::wait_until;

use crate::peer::{Peer, SHORT, SOON, Server, timeouts};

fn builder() -> ftp_client::ClientBuilder {
    Client::builder().timeouts(timeouts())
}

#[test]
fn connect_accepts_host_and_port_and_refuses_invalid_servers() {
    let server = Server::start(|mut peer| peer.reply("220 ready"));
    let port = server.address.port();
    assert!(builder().connect(&format!("localhost:{port}")).is_ok());
    server.end();
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let server = Server::start_on(listener, |mut peer| peer.reply("220 ready"));
        let client = builder().connect(&server.address.to_string()).unwrap();
        assert_eq!(client.peer_addr(), Some(server.address));
        server.end();
    }
    for wrong in ["", "a:b", "a:0", "[::1", "a b", "a\r\nb:21"] {
        let error = builder().connect(wrong).unwrap_err();
        assert!(matches!(error, Error::Argument(_)), "{wrong:?}: {error}");
    }
}

#[test]
fn any_keepalive_is_clamped_to_the_system_limits() {
    for idle in [Duration::ZERO, Duration::from_millis(1), Duration::MAX] {
        let server = Server::start(|mut peer| peer.reply("220 ready"));
        server.connect(builder().keepalive(Some(idle))).unwrap();
        server.end();
    }
}

#[test]
fn only_addresses_of_the_family_are_tried() {
    let server = Server::start(|mut peer| peer.reply("220 ready"));
    let name = format!("localhost:{}", server.address.port());
    let client = builder().family(Some(NetworkProtocol::Ipv4)).connect(&name).unwrap();
    assert!(client.peer_addr().unwrap().is_ipv4());
    for wrong in [
        builder().family(Some(NetworkProtocol::Ipv6)).connect("127.0.0.1:9"),
        builder().family(Some(NetworkProtocol::Ipv4)).connect("[::1]:9"),
        builder().bind(IpAddr::from([127, 0, 0, 1])).connect("[::1]:9"),
    ] {
        let text = wrong.unwrap_err().to_string();
        assert!(text.contains("no address of the required family"), "{text}");
    }
    server.end();
}

#[test]
fn all_connections_use_the_bound_address_cl_33() {
    let local = IpAddr::from([127, 0, 0, 2]);
    for mode in [Mode::Passive, Mode::Active] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (control, from) = listener.accept().unwrap();
            assert_eq!(from.ip(), local);
            let mut peer = Peer::new(control);
            peer.reply("220 ready");
            peer.answer("TYPE I", "200 ok");
            let mut data = match mode {
                Mode::Passive => {
                    peer.epsv();
                    peer.answer("RETR a", "150 Opening");
                    peer.data()
                }
                Mode::Active => {
                    let line = String::from_utf8(peer.line()).unwrap();
                    let mut fields = line.trim_end().split('|').skip(2);
                    assert_eq!(fields.next(), Some("127.0.0.2"), "{line}");
                    let port: u16 = fields.next().unwrap().parse().unwrap();
                    peer.reply("200 ok");
                    peer.answer("RETR a", "150 Opening");
                    TcpStream::connect((local, port)).unwrap()
                }
            };
            assert_eq!(data.peer_addr().unwrap().ip(), local);
            data.write_all(b"hello").unwrap();
            drop(data);
            peer.reply("226 done");
        });
        let builder = builder().bind(local).mode(mode);
        let mut client = builder.connect(&address.to_string()).unwrap();
        let got = client.retrieve("a").and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| Error::downcast(error).unwrap())?;
            file.finish().map(|_| bytes)
        });
        assert_eq!(got.unwrap(), b"hello");
        server.join().unwrap();
    }
}

type Opened = io::Result<Box<dyn Transport>>;
type Connect = Box<dyn Fn(&str, u16, bool, Duration) -> Opened + Send + Sync>;

/// Returns a connector that returns one end of each pair of sockets in this process, its requests, and
/// the queue of ends that it returns.
fn pairs() -> (Connect, Receiver<(String, u16, bool)>, Sender<UnixStream>) {
    let (asked, was_asked) = channel();
    let (give, ends) = channel::<UnixStream>();
    let (asked, ends) = (Mutex::new(asked), Mutex::new(ends));
    let connect = move |host: &str, port, is_data, limit| -> Opened {
        assert!(limit > Duration::ZERO);
        asked.lock().unwrap().send((host.to_owned(), port, is_data)).unwrap();
        let end = ends.lock().unwrap().recv().map_err(io::Error::other)?;
        Ok(Box::new(end))
    };
    (Box::new(connect), was_asked, give)
}

fn told(mut stream: &UnixStream, line: &str, reply: &str) {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        got.extend(byte);
    }
    assert_eq!(String::from_utf8_lossy(&got), format!("{line}\r\n"));
    stream.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
}

#[test]
fn a_connector_opens_control_and_data_connections_by_name_hc_33() {
    let (connector, was_asked, give) = pairs();
    let (here, control) = UnixStream::pair().unwrap();
    give.send(here).unwrap();
    let server = std::thread::spawn(move || {
        (&control).write_all(b"220 ready\r\n").unwrap();
        told(&control, "TYPE I", "200 ok");
        // PASV leads to the same host too, whatever address the reply has.
        for (verb, reply) in
            [("EPSV", "229 (|||50004|)"), ("EPSV", "500 what"), ("PASV", "227 (10,0,0,5,195,84)")]
        {
            told(&control, verb, reply);
            if reply.starts_with('5') {
                continue;
            }
            let (here, mut data) = UnixStream::pair().unwrap();
            give.send(here).unwrap();
            told(&control, "RETR a", "150 Opening");
            data.write_all(b"hello").unwrap();
            drop(data);
            (&control).write_all(b"226 done\r\n").unwrap();
        }
        let (here, mut data) = UnixStream::pair().unwrap();
        told(&control, "PASV", "227 (10,0,0,5,195,84)");
        give.send(here).unwrap();
        told(&control, "STOR b", "150 Opening");
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"and back");
        (&control).write_all(b"226 done\r\n").unwrap();
        let (here, _data) = UnixStream::pair().unwrap();
        told(&control, "PASV", "227 (10,0,0,5,195,84)");
        give.send(here).unwrap();
        told(&control, "RETR a", "150 Opening");
        // The synch is in line, since not all sockets have urgent data.
        let mut abort = [0; 10];
        (&control).read_exact(&mut abort).unwrap();
        assert_eq!(&abort, b"\xff\xf4\xff\xf2ABOR\r\n");
        (&control).write_all(b"426 cut\r\n226 aborted\r\n").unwrap();
    });
    let mut client = builder().connector(connector).connect("ftp.example.org:2121").unwrap();
    assert_eq!(client.peer_addr(), None);
    for _ in 0..2 {
        let mut file = client.retrieve("a").unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        file.finish().unwrap();
        assert_eq!(bytes, b"hello");
    }
    let mut file = client.store("b").unwrap();
    file.write_all(b"and back").unwrap();
    file.finish().unwrap();
    client.retrieve("a").unwrap().abort().unwrap();
    server.join().unwrap();
    let asked: Vec<_> = was_asked.try_iter().collect();
    let name = "ftp.example.org";
    let data = (name.to_owned(), 50_004, true);
    assert_eq!(asked[0], (name.to_owned(), 2_121, false));
    assert_eq!(asked[1..], [data.clone(), data.clone(), data.clone(), data]);
}

/// Reads more from its socket than requested, as a caller's own TLS does.
#[derive(Debug)]
struct Ahead {
    socket: UnixStream,
    taken: VecDeque<u8>,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken.is_empty() {
            let mut block = [0; 1_024];
            let count = self.socket.read(&mut block)?;
            self.taken.extend(block.get(..count).unwrap_or_default());
        }
        self.taken.read(buffer)
    }
}

impl Write for Ahead {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl AsFd for Ahead {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Transport for Ahead {
    fn set_nonblocking(&self) -> io::Result<()> {
        Transport::set_nonblocking(&self.socket)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }

    fn has_unread(&self) -> bool {
        !self.taken.is_empty()
    }
}

#[test]
fn buffered_bytes_are_read_without_polling_the_descriptor() {
    let (here, control) = UnixStream::pair().unwrap();
    let (data_here, mut data) = UnixStream::pair().unwrap();
    let server = std::thread::spawn(move || {
        (&control).write_all(b"120 wait\r\n220 ready\r\n").unwrap();
        told(&control, "TYPE I", "200 ok");
        told(&control, "EPSV", "229 (|||50004|)");
        data.write_all(&[b'x'; 3_000]).unwrap();
        drop(data);
        told(&control, "RETR a", "150 Opening\r\n226 done");
        told(&control, "NOOP", "200 ok");
    });
    // The last one first.
    let given = Mutex::new(vec![data_here, here]);
    let connector = move |_: &str, _, _, _| -> Opened {
        let socket = given.lock().unwrap().pop().expect("one for each connection");
        Ok(Box::new(Ahead { socket, taken: VecDeque::new() }))
    };
    let mut client = builder().connector(connector).connect("a").unwrap();
    let mut file = client.retrieve("a").unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 10];
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
    assert_eq!(bytes, [b'x'; 3_000]);
    file.finish().unwrap();
    client.noop().unwrap();
    server.join().unwrap();
}

#[test]
fn a_connector_rejects_family_and_bind_as_unsupported() {
    let (connector, _asked, _give) = pairs();
    let builder = builder().connector(connector);
    let excluded = [
        builder.clone().family(Some(NetworkProtocol::Ipv4)),
        builder.clone().bind(IpAddr::from([127, 0, 0, 1])),
    ];
    for builder in excluded {
        assert!(matches!(builder.connect("a"), Err(Error::Unsupported(_))));
    }
}

#[test]
fn active_mode_with_a_connector_is_unsupported() {
    let (connector, _asked, give) = pairs();
    let (here, control) = UnixStream::pair().unwrap();
    give.send(here).unwrap();
    let server = std::thread::spawn(move || {
        (&control).write_all(b"220 ready\r\n").unwrap();
        told(&control, "TYPE I", "200 ok");
        told(&control, "NOOP", "200 ok");
    });
    let mut client = builder().mode(Mode::Active).connector(connector).connect("a").unwrap();
    let error = client.retrieve("a").unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    client.noop().unwrap();
    server.join().unwrap();
}

#[test]
fn a_hanging_connector_times_out_and_a_failing_one_is_an_io_error() {
    let (connector, _asked, give) = pairs();
    let timeouts = timeouts().connect(SHORT);
    let begin = Instant::now();
    let error = builder().timeouts(timeouts).connector(connector).connect("a").unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::Connect)), "{error}");
    assert!(begin.elapsed() < SOON);
    drop(give);
    let (connector, _asked, _) = pairs();
    let error = builder().connector(connector).connect("a").unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
}

/// Returns the kernel's timer of a control connection: `02` is that of keepalive probes.
fn timer(client: &Client) -> String {
    let hex = |port: u16| format!(":{port:04X}");
    let local = hex(client.local_addr().unwrap().port());
    let peer = hex(client.peer_addr().unwrap().port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let timer = table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_ours = words.next()?.ends_with(&local) && words.next()?.ends_with(&peer);
        // State and queues come first.
        words.nth(2).filter(|_| is_ours)
    });
    timer.unwrap().split(':').next().unwrap().to_owned()
}

#[test]
fn keepalive_is_on_unless_it_is_disabled() {
    let by_default = Client::builder().timeouts(timeouts());
    for (builder, want) in [
        (by_default.clone(), "02"),
        (by_default.clone().keepalive(Some(Duration::ZERO)), "02"),
        (by_default.keepalive(None), "00"),
    ] {
        let (server, mut client) =
            Server::logged_in_with(builder, |mut peer| peer.answer("NOOP", "200 ok"));
        wait_until("the timer is that of probes or none", || timer(&client) == want);
        client.noop().unwrap();
        server.end();
    }
}
