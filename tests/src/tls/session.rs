//! Raw FTP sessions under TLS (RFC 4217).

use std::net::SocketAddr;

use super::TlsClient;
use super::stream::{End, Handshake, TlsStream};
use crate::raw::{RawData, RawSession};

impl RawSession {
    /// Sends `AUTH TLS`, reads 234, and carries out the handshake. From then on the session is
    /// under TLS; the [`stream`](Self::stream) stays the TCP connection, for bytes outside of TLS.
    #[track_caller]
    pub fn start_tls(&mut self, client: &TlsClient) -> Handshake {
        self.expect("AUTH TLS", 234);
        self.shake_hands(client)
    }

    /// Connects to a port of implicit TLS, and reads a 220 under TLS.
    #[track_caller]
    #[must_use]
    pub fn implicit(address: SocketAddr, client: &TlsClient) -> Self {
        let mut session = Self::implicit_unread(address, client).0;
        session.expect_reply(220);
        session
    }

    /// Connects to a port of implicit TLS, and reads nothing; returns the result of the handshake
    /// too.
    #[track_caller]
    #[must_use]
    pub fn implicit_unread(address: SocketAddr, client: &TlsClient) -> (Self, Handshake) {
        let mut session = Self::connect(address);
        let shaken = session.shake_hands(client);
        (session, shaken)
    }

    /// Connects, starts TLS, logs in, and protects the data: `AUTH TLS`, USER 331, PASS 230, `PBSZ
    /// 0`, `PROT P`.
    #[track_caller]
    #[must_use]
    pub fn secure(address: SocketAddr, client: &TlsClient, user: &str, password: &str) -> Self {
        let mut session = Self::greeted(address);
        session.start_tls(client);
        session.expect(format!("USER {user}"), 331);
        session.expect(format!("PASS {password}"), 230);
        session.protect();
        session
    }

    /// Sends `PBSZ 0` and `PROT P`: later data connections are under TLS.
    #[track_caller]
    pub fn protect(&mut self) {
        self.expect("PBSZ 0", 200);
        self.expect("PROT P", 200);
    }

    /// Sends PASV and `command`, reads 150, and carries out the handshake on the data connection.
    #[track_caller]
    pub fn tls_data(&mut self, client: &TlsClient, command: impl AsRef<[u8]>) -> TlsStream {
        let data = self.passive();
        self.expect(command, 150);
        data.tls(client)
    }

    /// Sends PASV and `command` (such as `RETR name`); reads 150, the data under TLS to its
    /// close_notify, and 226.
    #[track_caller]
    pub fn tls_download(&mut self, client: &TlsClient, command: impl AsRef<[u8]>) -> Vec<u8> {
        let mut data = self.tls_data(client, command);
        let (bytes, end) = data.read_to_its_end();
        assert_eq!(end, End::CloseNotify, "how the server ended {} bytes", bytes.len());
        // The server may not read this close_notify.
        let _gone = data.finish();
        self.expect_reply(226);
        bytes
    }

    /// Sends PASV and `command` (such as `STOR name`); reads 150, sends all of `bytes` under TLS
    /// and close_notify, and reads the server's end and 226.
    #[track_caller]
    pub fn tls_upload(&mut self, client: &TlsClient, command: impl AsRef<[u8]>, bytes: &[u8]) {
        let mut data = self.tls_data(client, command);
        std::io::Write::write_all(&mut data, bytes)
            .and_then(|()| data.finish())
            .unwrap_or_else(|error| panic!("the server did not take the data: {error}"));
        let (said, _) = data.read_to_its_end();
        assert_eq!(said, b"", "what the server said where it should listen");
        self.expect_reply(226);
    }

    #[track_caller]
    fn shake_hands(&mut self, client: &TlsClient) -> Handshake {
        let tcp = self.stream().try_clone().expect("a second descriptor");
        let tls = client.connect(tcp).unwrap_or_else(|error| panic!("no handshake: {error}"));
        let shaken = tls.shaken();
        self.put_on(Box::new(tls));
        shaken
    }
}

impl RawData {
    /// Carries out the handshake as a client.
    #[track_caller]
    #[must_use]
    pub fn tls(self, client: &TlsClient) -> TlsStream {
        let tls = client.connect(self.into_stream());
        tls.unwrap_or_else(|error| panic!("no handshake on the data connection: {error}"))
    }
}
