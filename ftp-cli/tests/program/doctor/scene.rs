//! Parts of the scenes: our servers, and a proxy that changes lines.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use ftp_server::{Rights, Server, ServerConfig};
use ftp_tests::network::Host;
use ftp_tests::root::TempRoot;

/// The user of [`Ours`], with a known password.
pub(super) const USER: &str = "anonymous";

/// A server of this project with a directory `in`.
pub(super) struct Ours {
    pub(super) server: Server,
    pub(super) root: TempRoot,
}

impl Ours {
    pub(super) fn with(address: &str, rights: Rights, config: ServerConfig) -> Self {
        let root = TempRoot::new();
        root.mkdir("in");
        root.write("file", b"12345");
        let server = Server::builder().root(root.path()).config(config);
        let server = server.user(USER, "anonymous@", rights).user("me", "secret", rights);
        Self { server: server.bind(address).unwrap(), root }
    }

    pub(super) fn start(address: &str) -> Self {
        Self::with(address, Rights::FULL, ServerConfig::default())
    }

    /// Starts it on a host, with other settings.
    pub(super) fn at(host: &Host, address: &str, config: ServerConfig) -> Self {
        host.at(|| Self::with(address, Rights::FULL, config))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(super) fn url(&self) -> String {
        format!("ftp://{}/", self.address())
    }
}

/// The direction of a line.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum From {
    Client,
    Server,
}

/// Starts a proxy for control connections to a server on the same host. `change` gets each line
/// without its line ending, and returns the line to pass on; `None` drops it.
pub(super) fn between(
    server: SocketAddr,
    change: impl Fn(From, &str) -> Option<String> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((server.ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { return };
            for (from, to, who) in
                [(&client, &server, From::Client), (&server, &client, From::Server)]
            {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let change = change.clone();
                thread::spawn(move || {
                    let _ = pass(&from, &to, |line| change(who, line));
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    address
}

fn pass(
    from: &TcpStream,
    mut to: &TcpStream,
    change: impl Fn(&str) -> Option<String>,
) -> std::io::Result<()> {
    for line in BufReader::new(from).lines() {
        let line = line?;
        if let Some(line) = change(line.trim_end_matches('\r')) {
            to.write_all(format!("{line}\r\n").as_bytes())?;
        }
    }
    Ok(())
}
