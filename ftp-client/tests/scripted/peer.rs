//! The scripted peer: a thread that accepts one control connection, expects lines, and sends
//! exactly the given bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use ftp_client::{Client, ClientBuilder, Error, Timeouts};
use socket2::SockRef;

/// Longer than any wait of a passing test.
const LIMIT: Duration = Duration::from_secs(90);

/// A timeout that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// Far below the timeouts that other tests never reach, and far above the time that is needed.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The running peer. `end` waits for the end of its script.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts a peer that plays `script` on the first connection.
    pub(crate) fn start(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").expect("a free port"), script)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        script: impl FnOnce(Peer) + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound address");
        let thread = std::thread::spawn(move || {
            let (control, _) = listener.accept().expect("the client connects");
            script(Peer::new(control));
        });
        Self { address, thread }
    }

    /// Starts a peer that greets, and plays `script` after a login.
    pub(crate) fn logged_in(script: impl FnOnce(Peer) + Send + 'static) -> (Self, Client) {
        Self::logged_in_with(Client::builder().timeouts(timeouts()), script)
    }

    pub(crate) fn logged_in_with(
        builder: ClientBuilder,
        script: impl FnOnce(Peer) + Send + 'static,
    ) -> (Self, Client) {
        let server = Self::start(|mut peer| {
            peer.reply("220 ready");
            peer.answer("USER u", "331 password");
            peer.answer("PASS p", "230 in");
            script(peer);
        });
        let mut client = builder.connect(&server.address.to_string()).expect("the peer greets");
        client.login("u", "p").expect("the peer lets in");
        (server, client)
    }

    pub(crate) fn connect(&self, builder: ClientBuilder) -> Result<Client, Error> {
        builder.connect(&self.address.to_string())
    }

    /// Waits until the script is over; a failed expectation in it fails the test.
    pub(crate) fn end(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Timeouts that other tests never reach.
pub(crate) fn timeouts() -> Timeouts {
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

/// Downloads the file `a`.
pub(crate) fn get(client: &mut Client) -> Result<Vec<u8>, Error> {
    let mut file = client.retrieve("a")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Error::downcast(error).unwrap())?;
    file.finish()?;
    Ok(bytes)
}

/// The peer's side of one session.
pub(crate) struct Peer {
    control: BufReader<TcpStream>,
    passive: Option<TcpListener>,
    pub(crate) active: Option<SocketAddr>,
}

impl Peer {
    pub(crate) fn new(control: TcpStream) -> Self {
        control.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        control.set_nodelay(true).expect("a TCP socket");
        SockRef::from(&control).set_out_of_band_inline(true).expect("a TCP socket");
        Self { control: BufReader::new(control), passive: None, active: None }
    }

    /// Sends bytes unchanged.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.control.get_mut().write_all(bytes.as_ref()).expect("the client listens");
    }

    /// Sends bytes; the client may not read all of them.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.control.get_mut().write_all(bytes).is_ok()
    }

    /// Sends one reply line.
    pub(crate) fn reply(&mut self, line: &str) {
        self.send(format!("{line}\r\n"));
    }

    pub(crate) fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.control.read_until(b'\n', &mut line).expect("a line in time");
        line
    }

    /// Waits for exactly this command line.
    pub(crate) fn expect(&mut self, want: impl AsRef<[u8]>) {
        let want = [want.as_ref(), b"\r\n"].concat();
        let (got, want) = (self.line(), want);
        assert_eq!(got.escape_ascii().to_string(), want.escape_ascii().to_string());
    }

    /// Answers ABOR if that comes next: a client that stops a transfer sends it unless it has
    /// already seen the final reply, which depends on timing.
    pub(crate) fn allow_abort(&mut self) {
        if self.control.fill_buf().expect("a line in time").first() == Some(&0xFF) {
            self.expect(b"\xFF\xF4\xFF\xF2ABOR");
            self.reply("226 nothing to abort");
        }
    }

    pub(crate) fn answer(&mut self, command: &str, reply: &str) {
        self.expect(command);
        self.reply(reply);
    }

    /// Refuses to tell whether the directory of the server's file is that of the local one.
    pub(crate) fn refuse_probe(&mut self) {
        let line = self.line();
        assert!(line.starts_with(b"SIZE ftp-cli-probe-"), "{}", line.escape_ascii());
        self.reply("450 not now");
    }

    /// Waits for the client to close the control connection without another byte.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too: the client may have left bytes unread.
        let _ = self.control.read_to_end(&mut rest);
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    /// Reads any input until the client hangs up.
    pub(crate) fn drain(&mut self) {
        // A reset is an end too.
        let _ = self.control.read_to_end(&mut Vec::new());
    }

    /// Waits for this time; false if the client has sent more, or sends more or hangs up before.
    pub(crate) fn client_is_silent_for(&mut self, time: Duration) -> bool {
        if !self.control.buffer().is_empty() {
            return false;
        }
        let control = self.control.get_mut();
        control.set_read_timeout(Some(time)).expect("a limit that is not zero");
        let result = control.read(&mut [0]);
        control.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    pub(crate) fn close(self) {
        let control = self.control.into_inner();
        control.shutdown(Shutdown::Both).expect("a connected socket");
    }

    /// Listens for data, and returns the port.
    pub(crate) fn listen(&mut self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        self.passive = Some(listener);
        port
    }

    /// Returns the listener for data.
    pub(crate) fn listener(&mut self) -> TcpListener {
        self.passive.take().expect("the script listened before")
    }

    /// Waits for data at a listener of the script.
    pub(crate) fn listen_at(&mut self, listener: TcpListener) {
        self.passive = Some(listener);
    }

    pub(crate) fn epsv(&mut self) {
        self.expect("EPSV");
        let port = self.listen();
        self.reply(&format!("229 Entering Extended Passive Mode (|||{port}|)"));
    }

    /// `PASV`, answered with another host.
    pub(crate) fn pasv(&mut self) {
        self.expect("PASV");
        let [high, low] = self.listen().to_be_bytes();
        self.reply(&format!("227 Entering Passive Mode (203,0,113,9,{high},{low})."));
    }

    /// `TYPE I` and `EPSV`, as before the first transfer.
    pub(crate) fn image_epsv(&mut self) {
        self.answer("TYPE I", "200 ok");
        self.epsv();
    }

    /// `TYPE` and `EPSV`, as before a transfer in another type.
    pub(crate) fn epsv_after_type(&mut self, representation: &str) {
        self.answer(&format!("TYPE {representation}"), "200 ok");
        self.epsv();
    }

    /// Accepts the data connection, or opens it in active mode.
    pub(crate) fn data(&mut self) -> TcpStream {
        let data = match self.active.take() {
            Some(address) => TcpStream::connect(address).expect("the client listens for data"),
            None => {
                let listener = self.passive.take().expect("the script listened before");
                listener.accept().expect("the client connects for data").0
            }
        };
        data.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        data
    }

    /// Expects these lines, all of them before the first is answered.
    pub(crate) fn expect_together(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| self.expect(line));
    }

    /// Sends all data of a transfer and ends it.
    pub(crate) fn send_data(&mut self, bytes: &[u8]) {
        let mut data = self.data();
        data.write_all(bytes).expect("the client takes the data");
        // Dropping it ends the data.
    }

    /// Reads all data of a transfer.
    pub(crate) fn read_data(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.data().read_to_end(&mut bytes).expect("the data ends");
        bytes
    }

    /// `ABOR` with its Telnet synch, whose last byte was urgent.
    pub(crate) fn expect_abort(&mut self) {
        self.expect(b"\xff\xf4\xff\xf2ABOR");
    }
}

/// Closes a data connection so that the other side sees a failure instead of the end.
pub(crate) fn reset(data: TcpStream) {
    SockRef::from(&data).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    drop(data);
}

/// Returns whether a data connection ended by a reset, after any bytes.
pub(crate) fn was_reset(mut data: &TcpStream) -> bool {
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}
