//! Object stores that support the protocol of Amazon S3.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{Peer, garage, impossible};
use crate::port::OwnPorts;
use crate::process::{LIMIT, Running};
use crate::wait::wait_until;

/// A running store with an empty bucket `bucket`.
#[derive(Debug)]
pub struct ObjectStore {
    /// The name of the program.
    pub name: &'static str,
    /// The access key of the account.
    pub access_key: &'static str,
    /// The secret of the access key.
    pub secret_key: &'static str,
    address: SocketAddr,
    /// Starts the program again; `None` for a store of several nodes.
    command: Option<Command>,
    programs: Vec<Running>,
    _directory: TempDir,
    _ports: OwnPorts,
}

impl ObjectStore {
    /// Starts moto, which keeps everything in memory, and checks neither signatures nor checksums.
    /// If moto is missing, reports that and returns `None`.
    #[track_caller]
    #[must_use]
    pub fn moto() -> Option<Self> {
        let peer = Peer::find("moto_server")?;
        Some(Self::start("moto", &peer, 1, |_, ports| {
            let port = ports.iter().map(|port| format!("-p{port}"));
            port.chain(["-H127.0.0.1".to_owned()]).collect()
        }))
    }

    /// Starts SeaweedFS, a distributed store. If SeaweedFS is missing, reports that and returns
    /// `None`.
    #[track_caller]
    #[must_use]
    pub fn seaweedfs() -> Option<Self> {
        const PORTS: [&str; 8] = [
            "s3.port",
            "s3.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
        ];
        let peer = Peer::find("weed")?;
        Some(Self::start("SeaweedFS", &peer, 8, |directory, ports| {
            let accounts = directory.join("accounts.json");
            let account = r#"{"identities": [{"name": "admin", "actions": ["Admin"],
                "credentials": [{"accessKey": "key", "secretKey": "secret"}]}]}"#;
            std::fs::write(&accounts, account).expect("a file of accounts");
            let mut arguments = vec![
                format!("-logdir={}", directory.display()),
                "server".to_owned(),
                format!("-dir={}", directory.display()),
                "-ip=127.0.0.1".to_owned(),
                "-ip.bind=127.0.0.1".to_owned(),
                "-s3".to_owned(),
                format!("-s3.config={}", accounts.display()),
                "-s3.port.iceberg=0".to_owned(),
                "-s3.port.lance=0".to_owned(),
                "-master.telemetry=false".to_owned(),
                // A master that starts again waits for others that long.
                "-master.electionTimeout=1s".to_owned(),
                // Each bucket needs seven volumes.
                "-volume.max=100".to_owned(),
                "-master.volumeSizeLimitMB=512".to_owned(),
            ];
            let ports = PORTS.iter().zip(ports).map(|(name, port)| format!("-{name}={port}"));
            arguments.extend(ports);
            arguments
        }))
    }

    /// Starts s3s-fs, which keeps objects as files. Requires `FTP_ENGINES=1`, because s3s-fs must
    /// be built first: see `tests/engines`.
    #[track_caller]
    #[must_use]
    pub fn s3s_fs() -> Option<Self> {
        let peer = are_built().then(|| Peer::find("s3s-fs"))??;
        Some(Self::start("s3s-fs", &peer, 1, |directory, ports| {
            let files = directory.join("files");
            std::fs::create_dir_all(files.join("bucket")).expect("a directory");
            let port = ports.iter().map(|port| format!("--port={port}"));
            let account = ["--access-key=key", "--secret-key=secret", "--host=127.0.0.1"];
            let account = account.map(str::to_owned).into_iter();
            port.chain(account).chain([files.display().to_string()]).collect()
        }))
    }

    /// Starts three nodes of Garage, a distributed store. Each object is on all nodes. Requires
    /// `FTP_ENGINES=1`, because Garage must be built first: see `tests/engines`.
    #[track_caller]
    #[must_use]
    pub fn garage() -> Option<Self> {
        let peer = are_built().then(|| Peer::find("garage"))??;
        let directory = tempfile::tempdir().expect("a directory");
        let ports = OwnPorts::claim(2 * garage::NODES);
        let numbers: Vec<u16> = ports.numbers().collect();
        let programs = garage::start(&peer, directory.path(), &numbers);
        Some(Self {
            name: "Garage",
            access_key: garage::ACCESS_KEY,
            secret_key: garage::SECRET_KEY,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, *ports.numbers().start())),
            command: None,
            programs,
            _directory: directory,
            _ports: ports,
        })
    }

    /// Kills the last node of a store with several nodes. The first node answers requests.
    pub fn kill_a_node(&mut self) {
        assert!(self.programs.len() > 1, "{} has one node", self.name);
        drop(self.programs.pop());
    }

    #[track_caller]
    fn start(
        name: &'static str,
        peer: &Peer,
        ports: u16,
        arguments: impl FnOnce(&Path, &[u16]) -> Vec<String>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let ports_of_it = OwnPorts::claim(ports);
        let numbers: Vec<u16> = ports_of_it.numbers().collect();
        let mut command = peer.command();
        command.args(arguments(directory.path(), &numbers)).current_dir(directory.path());
        command.env("HOME", directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let port = *ports_of_it.numbers().start();
        let mut store = Self {
            name,
            access_key: "key",
            secret_key: "secret",
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            command: Some(command),
            programs: Vec::new(),
            _directory: directory,
            _ports: ports_of_it,
        };
        store.start_again();
        // SeaweedFS creates the bucket with its first object. Its components start within seconds.
        if name == "moto" {
            let made =
                || ask(store.address, "PUT /bucket").is_some_and(|text| text.contains(" 200 "));
            wait_until("the bucket is made", made);
        }
        store
    }

    /// Kills the programs of the store. Its files stay, except those of moto.
    pub fn kill(&mut self) {
        self.programs.clear();
    }

    /// Starts the store, also after [`kill`](Self::kill).
    #[track_caller]
    pub fn start_again(&mut self) {
        let command = self.command.as_mut().expect("one program");
        let mut program = Running::start(command);
        let answers = || ask(self.address, "GET /").map(drop);
        if let Err(why) = program.wait_until(5 * LIMIT, answers) {
            panic!("{} does not start: {why}", self.name);
        }
        self.programs.push(program);
    }

    /// Returns the address of the store.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the endpoint, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Returns whether the stores that must be built are available: `FTP_ENGINES=1`.
fn are_built() -> bool {
    let are = std::env::var_os("FTP_ENGINES").is_some_and(|value| value == "1");
    if !are {
        impossible("run tests/engines, which builds the store");
    }
    are
}

/// Sends a request without a body, and returns the response.
fn ask(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 ").then_some(answer)
}
