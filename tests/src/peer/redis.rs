//! Redis.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::Peer;
use crate::port::OwnPort;
use crate::process::{LIMIT, Running};

/// A running Redis server without a password, which keeps everything in memory.
#[derive(Debug)]
pub struct Redis {
    port: OwnPort,
    /// The port for TLS, and the directory of the certificate and the key.
    tls: Option<(OwnPort, TempDir)>,
    _program: Running,
}

impl Redis {
    /// Starts Redis. If Redis is missing, reports that and returns `None`.
    #[track_caller]
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::begin(None)
    }

    /// As [`start`](Self::start), but accepts TLS with this certificate and key in PEM at another
    /// port too.
    #[track_caller]
    #[must_use]
    pub fn start_tls(certificate: &str, key: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in [("certificate", certificate), ("key", key)] {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        Self::begin(Some((OwnPort::claim(), directory)))
    }

    #[track_caller]
    fn begin(tls: Option<(OwnPort, TempDir)>) -> Option<Self> {
        let peer = Peer::find("redis-server")?;
        let port = OwnPort::claim();
        let mut command = peer.command();
        command.args(["--port", &port.number().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir", "/"]);
        if let Some((port, directory)) = &tls {
            command.args(["--tls-port", &port.number().to_string(), "--tls-auth-clients", "no"]);
            command.arg("--tls-cert-file").arg(directory.path().join("certificate"));
            command.arg("--tls-key-file").arg(directory.path().join("key"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut program = Running::start(&mut command);
        let address = port.address();
        if let Err(why) = program.wait_until(LIMIT, || answers(address)) {
            panic!("Redis does not start: {why}");
        }
        Some(Self { port, tls, _program: program })
    }

    /// Returns the address of the server as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Returns the address of the port for TLS as a URL.
    #[track_caller]
    #[must_use]
    pub fn tls_url(&self) -> String {
        let (port, _) = self.tls.as_ref().expect("a server with TLS");
        format!("rediss://{}", port.address())
    }

    /// Sends a command, which Redis must accept.
    #[track_caller]
    pub fn tell(&self, command: &str) {
        let reply = ask(self.port.address(), command);
        assert_eq!(reply.as_deref(), Some("+OK"), "{command}");
    }
}

fn answers(address: SocketAddr) -> Option<()> {
    (ask(address, "PING")? == "+PONG").then_some(())
}

/// Sends a command, and returns the first line of the reply.
fn ask(address: SocketAddr, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}
