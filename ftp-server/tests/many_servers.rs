//! Many servers in one process. It is the only test of this program, because it counts the threads
//! and descriptors of the whole process.
#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, but clippy exempts only test functions, not their helpers"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ftp_server::{MemoryStorage, Rights, Server, VirtualPath};

struct Client(BufReader<TcpStream>, SocketAddr);

impl Client {
    fn login(server: SocketAddr) -> Self {
        let mut client = Self(BufReader::new(TcpStream::connect(server).unwrap()), server);
        client.expect("", 220);
        client.expect("USER u\r\n", 331);
        client.expect("PASS p\r\n", 230);
        client.expect("TYPE I\r\n", 200);
        client
    }

    fn expect(&mut self, line: &str, code: u16) -> String {
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        self.0.read_line(&mut reply).unwrap();
        assert!(reply.starts_with(&code.to_string()), "{line:?}: {reply:?}, not {code}");
        reply
    }

    fn data(&mut self, line: &str) -> TcpStream {
        let reply = self.expect("EPSV\r\n", 229);
        let port = reply.split('|').nth(3).unwrap().parse().unwrap();
        let data = TcpStream::connect((self.1.ip(), port)).unwrap();
        self.expect(line, 150);
        data
    }

    fn expect_closed(&mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }
}

/// Returns the number of threads and descriptors of this process.
fn held() -> (usize, usize) {
    let count = |path| fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn fifty_servers_serve_stop_and_leave_nothing() {
    let before = held();
    let servers: Vec<_> = (0..50)
        .map(|_| {
            let storage = MemoryStorage::new();
            let builder = Server::builder().storage(storage.clone()).user("u", "p", Rights::FULL);
            (builder.bind("127.0.0.1:0").unwrap(), storage)
        })
        .collect();
    let mut idle = Vec::new();
    let mut busy = Vec::new();
    for (number, (server, _)) in servers.iter().enumerate() {
        let mut client = Client::login(server.local_addr());
        let mut data = client.data("STOR a\r\n");
        data.write_all(number.to_string().as_bytes()).unwrap();
        drop(data);
        client.expect("", 226);
        let mut text = String::new();
        client.data("RETR a\r\n").read_to_string(&mut text).unwrap();
        assert_eq!(text, number.to_string());
        client.expect("", 226);
        idle.push(client);
        let mut client = Client::login(server.local_addr());
        let mut data = client.data("STOR half\r\n");
        data.write_all(b"half").unwrap();
        busy.push((client, data));
    }
    for (number, ((server, storage), (client, data))) in
        servers.into_iter().zip(&mut busy).enumerate()
    {
        assert_eq!(server.sessions().len(), 2);
        // Every second server is dropped and cuts its transfer; the others let it finish.
        if number % 2 == 0 {
            drop(server);
            client.expect("", 426);
        } else {
            data.shutdown(std::net::Shutdown::Write).unwrap();
            let report = server.shutdown(Duration::from_secs(60));
            assert_eq!((report.drained, report.cut, report.stuck), (2, 0, 0));
            client.expect("", 226);
        }
        client.expect("", 421);
        client.expect_closed();
        let file = |name: &str| storage.get(VirtualPath::root().join(name.as_bytes()));
        assert_eq!(file("a"), Some(number.to_string().into_bytes()));
        assert_eq!(file("half").is_some(), number % 2 == 1);
    }
    for client in &mut idle {
        client.expect("", 421);
        client.expect_closed();
    }
    drop((idle, busy));
    // Listeners hold descriptors, and a finished thread disappears a moment later.
    let end = Instant::now() + Duration::from_secs(60);
    while held() != before {
        assert!(Instant::now() < end, "{:?} threads and descriptors, not {before:?}", held());
        std::thread::yield_now();
    }
}
