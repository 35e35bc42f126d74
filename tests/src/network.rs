//! A separate network for one test, in which this machine can have any address, and further hosts
//! on it.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::peer::{Peer, skipped};
use crate::process::{LIMIT, Running, run, run_with};
use crate::raw::DEADLINE;
use crate::scale;

/// The longest run of a test, which runs many programs, each for up to [`LIMIT`].
const WHOLE_TEST: Duration = LIMIT.saturating_mul(10);

/// Set if a test already runs in its own network.
const INSIDE: &str = "FTP_OWN_NETWORK";

/// Runs the test `test` again in a network where this machine has `addresses`, each with its prefix
/// length, in addition to loopback. Returns true inside that network: the test then does its work.
/// Returns false once the test has passed there. If no such network can be made, reports that and
/// returns false, or fails if the environment has `FTP_REQUIRE_PEERS=1`.
#[track_caller]
#[must_use]
pub fn in_own_network(test: &str, addresses: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        addresses.iter().for_each(|address| wait_for(address));
        return true;
    }
    let (Some(unshare), Some(ip)) = (Peer::find("unshare"), Peer::find("ip")) else { return false };
    let ip = ip.command().get_program().to_string_lossy().into_owned();
    let mut script = format!("{ip} link set lo up");
    for address in addresses {
        // Otherwise the address could not be used until the kernel has checked for duplicates.
        let nodad = if address.contains(':') { " nodad" } else { "" };
        script.push_str(&format!(" && {ip} address add {address} dev lo{nodad}"));
    }
    let own_network = |how: &[&str], rest: &str| {
        let mut command = unshare.command();
        command.args(how).args(["--", "sh", "-c", &format!("{script}{rest}")]);
        command
    };
    // As root of the machine, or as root of a new user namespace.
    let ways = [&["-n"][..], &["-r", "-n"]];
    let Some(how) = ways.into_iter().find(|how| run(&mut own_network(how, "")).code() == Some(0))
    else {
        skipped("it cannot have a network of its own");
        return false;
    };
    let program = std::env::current_exe().expect("this program has a path");
    let mut command: Command = own_network(how, " && exec \"$0\" \"$@\"");
    command.arg(program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    if scale::is_full() {
        command.env("FTP_SCALE", "1");
    }
    if let Some(engines) = std::env::var_os("FTP_ENGINES") {
        command.env("FTP_ENGINES", engines);
    }
    let ran = run_with(&mut command, &[], WHOLE_TEST);
    assert!(ran.code() == Some(0), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.contains("1 passed"), "{test} is no test: {said}");
    #[expect(clippy::print_stdout, reason = "it shows what it measured")]
    {
        println!("{said}");
    }
    false
}

/// A host with its own interfaces, addresses and ports, for a test that is [`in_own_network`].
#[derive(Debug)]
pub struct Host {
    network: File,
    /// Keeps the network alive for programs that refer to it by this process.
    process: Option<Running>,
}

impl Host {
    /// Returns the host on which the test runs.
    #[must_use]
    pub fn here() -> Self {
        let network = File::open("/proc/self/ns/net").expect("this process has a network");
        Self { network, process: None }
    }

    /// Returns a new host without links. Requires `unshare`, which [`in_own_network`] has found.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        let unshare = Peer::find("unshare").expect("the test is in its own network");
        let mut command = unshare.command();
        command.args(["-n", "--", "sh", "-c", "echo; exec sleep 600"]).stdin(Stdio::null());
        let mut process = Running::start(command.stdout(Stdio::piped()));
        let mut said = process.child.stdout.take().expect("it is a pipe");
        said.read_exact(&mut [0]).expect("it says that it is there");
        let network = File::open(format!("/proc/{}/ns/net", process.child.id()));
        let network = network.expect("a process has a network");
        let host = Self { network, process: Some(process) };
        host.set_up("ip link set lo up");
        host
    }

    /// Runs `work` on this host, in a thread. Threads and programs that it starts are on this host
    /// too.
    #[track_caller]
    pub fn at<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let there = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.network.as_fd(), kind).expect("root of this world");
            work()
        };
        thread::scope(|scope| match scope.spawn(there).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs a `sh` script on this host, and asserts that it succeeds.
    #[track_caller]
    pub fn set_up(&self, script: &str) {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.env("PATH", format!("{path}:/usr/sbin:/sbin")).args(["-e", "-c", script]);
        self.at(|| run(&mut command).succeeded());
    }

    /// Connects two hosts by a link called `name`, with `addresses` at this end and `others` at the
    /// other end.
    #[track_caller]
    pub fn link(&self, addresses: &[&str], name: &str, other: &Self, others: &[&str]) {
        let process =
            other.process.as_ref().expect("the other one is not the test's own").child.id();
        self.set_up(&format!("ip link add {name} type veth peer name {name} netns {process}"));
        for (host, addresses) in [(self, addresses), (other, others)] {
            // The kernel would add link-local addresses a second later.
            host.set_up(&format!("ip link set {name} addrgenmode none; ip link set {name} up"));
            for address in addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                host.set_up(&format!("ip address add {address} dev {name} {nodad}"));
                if !address.starts_with("fe80") {
                    host.at(|| wait_for(address));
                }
            }
        }
    }
}

/// Waits until an address is usable: the kernel adds IPv6 routes a moment later.
fn wait_for(address: &str) {
    let host = address.split('/').next().unwrap_or_default();
    let host: IpAddr = host.parse().expect("an address and its length");
    let reach = || TcpStream::connect(TcpListener::bind((host, 0))?.local_addr()?);
    let start = Instant::now();
    while let Err(error) = reach() {
        assert!(start.elapsed() < DEADLINE, "{address} is not reached: {error}");
        thread::yield_now();
    }
}
