//! A custom storage without a disk: complete uploads go to the program that embeds the server, and
//! are stored nowhere else. Cameras and scanners can deliver to it.
//!
//! `cargo run -p ftp-server --example custom_storage`

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ftp_server::{
    Entries, Metadata, Rights, Server, Source, Storage, StorageError, StorageErrorKind, StreamEnd,
    Upload, VirtualPath, WriteMode,
};

/// Maximum size of an upload in bytes: each upload is held in memory.
const MOST: usize = 16 * 1024 * 1024;

/// The name and the content of an upload.
type Delivery = (Vec<u8>, Vec<u8>);

/// One empty directory. Uploads to it arrive at the other end of the channel.
struct Inbox(Mutex<Sender<Delivery>>);

impl Storage for Inbox {
    fn stat(&self, path: &VirtualPath) -> Result<Metadata, StorageError> {
        if !path.is_root() {
            return Err(StorageErrorKind::NotFound.into());
        }
        Ok(Metadata::directory().mode(0o300))
    }

    fn list(&self, path: &VirtualPath) -> Result<Entries, StorageError> {
        self.check_directory(path)?;
        Ok(Entries::new(std::iter::empty()))
    }

    fn read(&self, _path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Err(StorageErrorKind::NotFound.into())
    }

    fn write(&self, path: &VirtualPath, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        // There are no stored files to append to.
        if matches!(mode, WriteMode::From(_)) {
            return Err(StorageErrorKind::BadRestart.into());
        }
        let (Some(name), Some(true)) = (path.name(), path.parent().map(|parent| parent.is_root()))
        else {
            return Err(StorageErrorKind::NotFound.into());
        };
        let inbox = self.0.lock().map_err(|_| StorageErrorKind::Io)?.clone();
        Ok(Box::new(Letter { inbox, name: name.to_vec(), content: Vec::new() }))
    }
}

/// An upload. The receiver gets it only when it is complete.
struct Letter {
    inbox: Sender<Delivery>,
    name: Vec<u8>,
    content: Vec<u8>,
}

impl Write for Letter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.content.len() + bytes.len() > MOST {
            // The client gets 552.
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Letter {
    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        // The client gets 226 only if the receiver has the upload.
        let Self { inbox, name, content } = *self;
        inbox.send((name, content)).map_err(|_| StorageErrorKind::Io.into())
    }

    fn abort(self: Box<Self>, _end: StreamEnd) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let (sender, deliveries) = channel();
    let server = Server::builder()
        .storage(Inbox(Mutex::new(sender)))
        .user("camera", "secret", Rights::WRITE)
        .bind("127.0.0.1:0")?;

    let reply = deliver(server.local_addr(), "0001.jpg", b"a picture")?;
    assert!(reply.starts_with("226"), "{reply}");
    let (name, content) = deliveries.recv_timeout(Duration::from_secs(30))?;
    assert_eq!((&*name, &*content), (&b"0001.jpg"[..], &b"a picture"[..]));

    // A client that got 552 has delivered nothing.
    let reply = deliver(server.local_addr(), "0002.jpg", &vec![0; MOST + 1])?;
    assert!(reply.starts_with("552"), "{reply}");
    assert!(deliveries.try_recv().is_err());
    Ok(())
}

/// Uploads a file as a camera does. Returns the last reply.
fn deliver(server: SocketAddr, name: &str, content: &[u8]) -> Result<String, Box<dyn Error>> {
    let mut control = BufReader::new(TcpStream::connect(server)?);
    let mut ask = |line: &str| {
        control.get_mut().write_all(line.as_bytes())?;
        let mut reply = String::new();
        control.read_line(&mut reply).map(|_| reply)
    };
    ask("")?;
    for line in ["USER camera\r\n", "PASS secret\r\n", "TYPE I\r\n"] {
        ask(line)?;
    }
    let reply = ask("EPSV\r\n")?;
    let port = reply.split('|').nth(3).ok_or("no port in the reply")?.parse()?;
    let mut data = TcpStream::connect((server.ip(), port))?;
    ask(&format!("STOR {name}\r\n"))?;
    // The server may close the data connection early; its reply then says why.
    if data.write_all(content).is_ok() {
        data.shutdown(std::net::Shutdown::Write)?;
    }
    let _ = data.read(&mut [0]);
    Ok(ask("")?)
}

#[test]
fn the_custom_storage_example_runs() {
    main().unwrap();
}
