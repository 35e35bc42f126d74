//! Many servers in one process. The only test of this program: it counts what the whole process has.
#![expect(
    clippy::unwrap_used,
    reason = "in tests it is wanted, and clippy's own exception is for test functions alone"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_server::{
    Entries, EntryKind, Metadata, Rights, Server, Source, Storage, StorageError, StorageErrorKind,
    StreamEnd, Upload, VirtualPath, WriteMode,
};

/// Files in memory, all of them in the root.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>);

impl Shelf {
    fn get(&self, path: &VirtualPath) -> Result<Vec<u8>, StorageError> {
        let content = self.0.lock().unwrap().get(path.as_bytes()).cloned();
        content.ok_or_else(|| StorageErrorKind::NotFound.into())
    }
}

impl Storage for Shelf {
    fn stat(&self, path: &VirtualPath) -> Result<Metadata, StorageError> {
        let (kind, size) = match path.is_root() {
            true => (EntryKind::Directory, 0),
            false => (EntryKind::File, self.get(path)?.len()),
        };
        let (size, identity) = (size as u64, (0, 0));
        Ok(Metadata { kind, size, modified: 0, mode: 0o700, links: 1, identity, ids: None })
    }

    fn list(&self, path: &VirtualPath) -> Result<Entries, StorageError> {
        self.check_directory(path)?;
        Ok(Box::new(std::iter::empty()))
    }

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Ok(Box::new(Reading(io::Cursor::new(self.get(path)?))))
    }

    fn write(&self, path: &VirtualPath, _mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(Writing(self.clone(), path.as_bytes().to_vec(), Vec::new())))
    }
}

struct Reading(io::Cursor<Vec<u8>>);

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Source for Reading {
    fn size(&self) -> u64 {
        self.0.get_ref().len() as u64
    }

    fn seek_to(&mut self, offset: u64) -> Result<(), StorageError> {
        self.0.set_position(offset);
        Ok(())
    }
}

struct Writing(Shelf, Vec<u8>, Vec<u8>);

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.2.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Writing {
    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let Self(shelf, path, content) = *self;
        shelf.0.lock().unwrap().insert(path, content);
        Ok(())
    }

    fn abort(self: Box<Self>, _end: StreamEnd) {}
}

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

/// How many threads and descriptors this process has.
fn held() -> (usize, usize) {
    let count = |path| fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn fifty_servers_serve_stop_and_leave_nothing() {
    let before = held();
    let servers: Vec<_> = (0..50)
        .map(|_| {
            let shelf = Shelf::default();
            let builder = Server::builder().storage(shelf.clone()).user("u", "p", Rights::FULL);
            (builder.bind("127.0.0.1:0").unwrap(), shelf)
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
    for (number, ((server, shelf), (client, data))) in
        servers.into_iter().zip(&mut busy).enumerate()
    {
        assert_eq!(server.sessions().len(), 2);
        // Every other one by dropping it, with a transfer that is cut; else it may finish.
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
        assert_eq!(shelf.0.lock().unwrap().len(), 1 + number % 2);
    }
    for client in &mut idle {
        client.expect("", 421);
        client.expect_closed();
    }
    drop((idle, busy));
    // Listeners are descriptors. A thread that has ended is gone a moment later.
    let end = Instant::now() + Duration::from_secs(60);
    while held() != before {
        assert!(Instant::now() < end, "{:?} threads and descriptors, not {before:?}", held());
        std::thread::yield_now();
    }
}
