//! An inbox in memory: devices upload files, and the program handles each complete file and removes
//! it. No file is on a disk, and nobody can list, read or replace the files of others.
//!
//! `cargo run -p ftp-server --example inbox` waits for one upload of the user `scanner`, password
//! `secret`, on port 2121: `ftp-cli put -u scanner report.txt ftp://127.0.0.1:2121/`.
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use ftp_server::{
    Direction, Event, EventKind, MemoryStorage, Observer, Rights, Server, Storage, VirtualPath,
};

/// Maximum size of all files that wait, in bytes. Uploads beyond it fail with 452.
const ROOM: u64 = 64 * 1024 * 1024;

struct Inbox {
    server: Server,
    storage: MemoryStorage,
    arrivals: Receiver<VirtualPath>,
}

struct Arrivals(Mutex<Sender<VirtualPath>>);

impl Observer for Arrivals {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = &event.kind
            && transfer.direction == Direction::Received
            && transfer.end.is_whole()
            && let Ok(sender) = self.0.lock()
        {
            // The program may no longer take files.
            let _ = sender.send(transfer.path.clone());
        }
    }
}

impl Inbox {
    fn open(address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let storage = MemoryStorage::limited(ROOM);
        let (sender, arrivals) = channel();
        let server = Server::builder()
            // Clones share the files.
            .storage(storage.clone())
            .user("scanner", "secret", Rights::DROP_BOX)
            .observer(Arrivals(Mutex::new(sender)))
            .bind(address)?;
        Ok(Self { server, storage, arrivals })
    }

    /// Waits for the next file, and takes it out of the inbox.
    fn take(&self) -> Result<(VirtualPath, Vec<u8>), Box<dyn Error>> {
        let path = self.arrivals.recv()?;
        let content = self.storage.get(path.clone()).ok_or("the file is gone")?;
        self.storage.remove(&path)?;
        Ok((path, content))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let inbox = Inbox::open(([127, 0, 0, 1], 2121).into())?;
    println!("waiting on {}", inbox.server.local_addr());
    let (path, content) = inbox.take()?;
    println!("{path}: {} bytes", content.len());
    Ok(())
}

#[test]
fn the_inbox_example_takes_each_file_once() {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;

    let inbox = Inbox::open(([127, 0, 0, 1], 0).into()).unwrap();
    let mut control = BufReader::new(TcpStream::connect(inbox.server.local_addr()).unwrap());
    let mut ask = |line: &str| {
        control.get_mut().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        control.read_line(&mut reply).map(|_| reply).unwrap()
    };
    ask("");
    for line in ["USER scanner\r\n", "PASS secret\r\n", "TYPE I\r\n"] {
        ask(line);
    }
    // The second file can have the name of the first: it has been taken.
    for content in ["first", "second"] {
        let reply = ask("EPSV\r\n");
        let port = reply.split('|').nth(3).unwrap().parse().unwrap();
        let mut data = TcpStream::connect(("127.0.0.1", port)).unwrap();
        ask("STOR page.pdf\r\n");
        data.write_all(content.as_bytes()).unwrap();
        drop(data);
        assert!(ask("").starts_with("226"));
        let (path, taken) = inbox.take().unwrap();
        assert_eq!((path.as_bytes(), taken.as_slice()), (&b"/page.pdf"[..], content.as_bytes()));
    }
}
