//! A cluster of Garage on this computer.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::Peer;
use crate::process::{LIMIT, Running, run};
use crate::wait::at_last;

/// Number of nodes. Each has a port for S3 and a port for the other nodes.
pub(super) const NODES: u16 = 3;

pub(super) const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
pub(super) const SECRET_KEY: &str =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Starts the nodes, and makes the bucket. The first ports are those for S3.
#[track_caller]
pub(super) fn start(peer: &Peer, directory: &Path, ports: &[u16]) -> Vec<Running> {
    let (of_clients, of_nodes) = ports.split_at(usize::from(NODES));
    let files: Vec<PathBuf> = (of_clients.iter().zip(of_nodes).enumerate())
        .map(|(number, (s3, rpc))| configuration(directory, number, *s3, *rpc))
        .collect();
    let [first, ..] = &*files else { panic!("a cluster has nodes") };
    let says = |file: &Path, words: &[&str]| {
        let mut command = peer.command();
        let ran = run(command.arg("-c").arg(file).args(words));
        (ran.code() == Some(0)).then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    };
    let do_it = |words: &[&str]| {
        at_last(&words.join(" "), || says(first, words));
    };
    let programs = files.iter().map(|file| {
        let mut command = peer.command();
        command.arg("-c").arg(file).arg("server").current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut program = Running::start(&mut command);
        program.wait_until(LIMIT, || says(file, &["status"])).expect("a node answers");
        program
    });
    let programs = programs.collect();
    for file in &files {
        let id = at_last("a node has its id", || says(file, &["node", "id", "-q"]));
        do_it(&["node", "connect", &id]);
        let short = id.split('@').next().unwrap_or_default();
        do_it(&["layout", "assign", "-z", "here", "-c", "1G", short]);
    }
    do_it(&["layout", "apply", "--version", "1"]);
    do_it(&["key", "import", "--yes", "-n", "test", ACCESS_KEY, SECRET_KEY]);
    do_it(&["bucket", "create", "bucket"]);
    do_it(&["bucket", "allow", "--read", "--write", "--owner", "bucket", "--key", ACCESS_KEY]);
    programs
}

fn configuration(directory: &Path, number: usize, s3: u16, rpc: u16) -> PathBuf {
    let place = directory.join(number.to_string());
    let shown = place.display();
    let text = format!(
        "metadata_dir = \"{shown}/meta\"\ndata_dir = \"{shown}/data\"\ndb_engine = \"sqlite\"\n\
         replication_factor = {NODES}\nrpc_secret = \"{SECRET_KEY}\"\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\n\
         [s3_api]\ns3_region = \"us-east-1\"\napi_bind_addr = \"127.0.0.1:{s3}\"\n\
         root_domain = \".garage\"\n"
    );
    std::fs::create_dir(&place).expect("a directory");
    let file = place.join("garage.toml");
    std::fs::write(&file, text).expect("a file");
    file
}
