//! The scripted peer under TLS: a thread that accepts one control connection, expects lines, sends
//! the given replies, and can violate TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use ftp_client::{Client, ClientBuilder, Error, Timeouts, Tls};
use ftp_tests::tls::{Authority, Handshake, Kind, Pair, TlsServer, TlsStream};

/// Longer than any wait of a passing test.
const LIMIT: Duration = Duration::from_secs(60);

/// Timeouts that other tests never reach.
pub(super) fn timeouts() -> Timeouts {
    Timeouts::new()
        .resolve(LIMIT)
        .connect(LIMIT)
        .greeting(LIMIT)
        .handshake(LIMIT)
        .reply(LIMIT)
        .data_connect(LIMIT)
        .stall(LIMIT)
        .final_reply(LIMIT)
}

/// The certificate of a sound server, and its authority.
pub(super) fn sound() -> (Authority, Pair, TlsServer) {
    let authority = Authority::new();
    let pair = authority.issue(Kind::Good);
    let server = TlsServer::showing(&pair);
    (authority, pair, server)
}

/// Returns settings for a client that trusts this authority, and requires TLS by `AUTH`.
pub(super) fn explicit(authority: &Authority) -> Tls {
    Tls::explicit().roots([authority.certificate().to_vec()])
}

/// The running peer.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts a peer that plays `script` on the first connection.
    pub(super) fn start(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let thread = std::thread::spawn(move || {
            let (control, _) = listener.accept().expect("the client connects");
            control.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
            control.set_nodelay(true).expect("a TCP socket");
            script(Peer { control: Channel::Clear(control), passive: None });
        });
        Self { address, thread }
    }

    /// Starts a peer that greets, starts TLS, accepts the login, protects data, and then plays
    /// `script`.
    pub(super) fn secured(
        tls: TlsServer,
        script: impl FnOnce(Peer, &TlsServer) + Send + 'static,
    ) -> Self {
        Self::start(move |mut peer| {
            peer.reply("220 ready");
            peer.answer("AUTH TLS", "234 go on");
            peer.encrypt(&tls);
            peer.answer("USER u", "331 password");
            peer.answer("PASS p", "230 in");
            peer.answer("PBSZ 0", "200 PBSZ=0");
            peer.answer("PROT P", "200 private");
            script(peer, &tls);
        })
    }

    pub(super) fn connect(&self, tls: Tls) -> Result<Client, Error> {
        self.connect_with(Client::builder().timeouts(timeouts()), tls)
    }

    pub(super) fn connect_with(&self, builder: ClientBuilder, tls: Tls) -> Result<Client, Error> {
        builder.tls(tls).connect(&self.address.to_string())
    }

    /// Connects and logs in.
    pub(super) fn log_in(&self, tls: Tls) -> Client {
        let mut client = self.connect(tls).expect("the peer is sound");
        client.login("u", "p").expect("the peer lets in");
        client
    }

    /// Waits until the script is over; a failed expectation in it fails the test.
    pub(super) fn end(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

enum Channel {
    Clear(TcpStream),
    Secure(Box<TlsStream>),
    Nothing,
}

/// The peer's side of one session.
pub(super) struct Peer {
    control: Channel,
    passive: Option<TcpListener>,
}

impl Peer {
    /// Sends bytes unchanged, under TLS once that is on.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = match &mut self.control {
            Channel::Clear(tcp) => tcp.write_all(bytes.as_ref()),
            Channel::Secure(tls) => tls.write_all(bytes.as_ref()),
            Channel::Nothing => unreachable!("the handshake is over"),
        };
        sent.expect("the client listens");
    }

    /// Sends bytes outside of TLS, unchanged.
    pub(super) fn inject(&mut self, bytes: &[u8]) {
        let Channel::Secure(tls) = &mut self.control else { panic!("it is not under TLS") };
        tls.inject(bytes).expect("the client listens");
    }

    pub(super) fn reply(&mut self, line: &str) {
        self.send(format!("{line}\r\n"));
    }

    /// Returns the next line without its line ending; empty at the end of the connection.
    pub(super) fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            let read = match &mut self.control {
                Channel::Clear(tcp) => tcp.read(&mut byte),
                Channel::Secure(tls) => tls.read(&mut byte),
                Channel::Nothing => unreachable!("the handshake is over"),
            };
            match read {
                Ok(1) => line.push(byte[0]),
                // The kind of end does not matter.
                Ok(_) => return line,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return line,
                Err(error) => panic!("no line in time: {error}"),
            }
        }
        line.truncate(line.len() - 2);
        line
    }

    pub(super) fn expect(&mut self, want: &str) {
        assert_eq!(self.line().escape_ascii().to_string(), want);
    }

    pub(super) fn answer(&mut self, command: &str, reply: &str) {
        self.expect(command);
        self.reply(reply);
    }

    /// Waits for the client to hang up without another line.
    pub(super) fn expect_end(&mut self) {
        self.expect("");
    }

    /// Starts TLS. Returns false if the client does not.
    pub(super) fn encrypt(&mut self, tls: &TlsServer) -> bool {
        let Channel::Clear(tcp) = std::mem::replace(&mut self.control, Channel::Nothing) else {
            panic!("it is under TLS already");
        };
        match tls.accept(tcp) {
            Ok(stream) => {
                self.control = Channel::Secure(Box::new(stream));
                true
            }
            Err(_) => false,
        }
    }

    /// Returns the result of the handshake.
    pub(super) fn shaken(&self) -> Handshake {
        match &self.control {
            Channel::Secure(tls) => tls.shaken(),
            _ => panic!("it is not under TLS"),
        }
    }

    /// `TYPE I` and `EPSV`, as before the first transfer.
    pub(super) fn image_epsv(&mut self) {
        self.answer("TYPE I", "200 ok");
        self.epsv();
    }

    pub(super) fn epsv(&mut self) {
        self.expect("EPSV");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        self.passive = Some(listener);
        self.reply(&format!("229 Entering Extended Passive Mode (|||{port}|)"));
    }

    /// Accepts the data connection.
    pub(super) fn data(&mut self) -> TcpStream {
        let listener = self.passive.take().expect("the script listened before");
        let (data, _) = listener.accept().expect("the client connects for data");
        data.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        data
    }

    /// Accepts the data connection, and carries out the handshake on it.
    pub(super) fn secure_data(&mut self, tls: &TlsServer) -> TlsStream {
        tls.accept(self.data()).expect("the client begins the handshake")
    }

    /// Answers the download of `a`, sends 70,000 bytes, and returns the data connection.
    pub(super) fn begin_download(&mut self, tls: &TlsServer) -> TlsStream {
        self.image_epsv();
        self.answer("RETR a", "150 here it comes");
        let mut data = self.secure_data(tls);
        data.write_all(&[7; 70_000]).expect("the client reads");
        data
    }
}

/// Downloads the file `a`.
pub(super) fn get(client: &mut Client) -> Result<Vec<u8>, Error> {
    let mut file = client.retrieve("a")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Error::downcast(error).unwrap())?;
    file.finish()?;
    Ok(bytes)
}

pub(super) fn put(client: &mut Client, bytes: &[u8]) -> Result<(), Error> {
    let mut file = client.store("a")?;
    file.write_all(bytes).map_err(|error| Error::downcast(error).unwrap())?;
    file.finish().map(drop)
}
