//! A server as a test fixture. A new fixture accepts connections on a free port; dropping the
//! fixture stops the server. The test waits for an event, not for a fixed time.
//!
//! `cargo run -p ftp-server --example test_fixture`

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ftp_server::{Event, EventKind, Observer, Rights, Server};
use tempfile::TempDir;

/// A server with one user, `u` with the password `p`, over an empty directory.
struct Fixture {
    // Fields are dropped in this order: the server ends before its directory is removed.
    server: Server,
    root: TempDir,
    /// The path of each uploaded file, sent when the file is complete.
    arrivals: Receiver<Vec<u8>>,
}

impl Fixture {
    fn new() -> Result<Self, Box<dyn Error>> {
        let root = tempfile::tempdir()?;
        let (sender, arrivals) = channel();
        let server = Server::builder()
            .root(root.path())
            .user("u", "p", Rights::FULL)
            .observer(Arrivals(Mutex::new(sender)))
            .bind("127.0.0.1:0")?;
        Ok(Self { server, root, arrivals })
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }
}

struct Arrivals(Mutex<Sender<Vec<u8>>>);

impl Observer for Arrivals {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = &event.kind
            && transfer.direction == ftp_server::Direction::Received
            && transfer.end.is_whole()
            && let Ok(sender) = self.0.lock()
        {
            // The test may be over.
            let _ = sender.send(transfer.path.as_bytes().to_vec());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let fixture = Fixture::new()?;
    upload(fixture.address(), "report.txt", b"all is well")?;
    let name = fixture.arrivals.recv_timeout(Duration::from_secs(30))?;
    assert_eq!(name, b"/report.txt");
    assert_eq!(std::fs::read(fixture.root.path().join("report.txt"))?, b"all is well");
    Ok(())
}

/// Uploads a file to a server, in place of the program under test.
fn upload(server: SocketAddr, name: &str, content: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut control = BufReader::new(TcpStream::connect(server)?);
    let mut ask = |line: &str| {
        control.get_mut().write_all(line.as_bytes())?;
        let mut reply = String::new();
        control.read_line(&mut reply).map(|_| reply)
    };
    ask("")?;
    for line in ["USER u\r\n", "PASS p\r\n", "TYPE I\r\n"] {
        ask(line)?;
    }
    let reply = ask("EPSV\r\n")?;
    let port = reply.split('|').nth(3).ok_or("no port in the reply")?.parse()?;
    let mut data = TcpStream::connect((server.ip(), port))?;
    ask(&format!("STOR {name}\r\n"))?;
    data.write_all(content)?;
    drop(data);
    let reply = ask("")?;
    if reply.starts_with("226") { Ok(()) } else { Err(reply.into()) }
}

#[test]
fn the_test_fixture_example_runs() {
    main().unwrap();
}
