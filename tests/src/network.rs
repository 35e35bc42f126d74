//! A network of a test's own, in which any address can be one of this machine's.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use crate::peer::{Peer, skipped};
use crate::process::run;
use crate::raw::DEADLINE;
use crate::scale;

/// Set where a test already runs in its own network.
const INSIDE: &str = "FTP_OWN_NETWORK";

/// True in a network where `addresses`, each with the length of its network, are those of this
/// machine beside loopback; the test then does its work. False when this call has run the test
/// called `test` once more in such a network, and it passed there; or when none can be made here,
/// which is said, and fails where the environment has `FTP_REQUIRE_PEERS=1`.
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
        // Else it could not be used before the link was asked whether somebody has it.
        let nodad = if address.contains(':') { " nodad" } else { "" };
        script.push_str(&format!(" && {ip} address add {address} dev lo{nodad}"));
    }
    let own_network = |how: &[&str], rest: &str| {
        let mut command = unshare.command();
        command.args(how).args(["--", "sh", "-c", &format!("{script}{rest}")]);
        command
    };
    // As root of the machine, or as root of a world of its own.
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
    let ran = run(&mut command);
    assert!(ran.code() == Some(0), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.contains("1 passed"), "{test} is no test: {said}");
    #[expect(clippy::print_stdout, reason = "what it measured, for whoever looks")]
    {
        println!("{said}");
    }
    false
}

/// Waits until an address is in use: the kernel makes the routes of IPv6 a moment later.
fn wait_for(address: &str) {
    let host = address.split('/').next().unwrap_or_default();
    let host: IpAddr = host.parse().expect("an address and its length");
    let reach = || TcpStream::connect(TcpListener::bind((host, 0))?.local_addr()?);
    let start = Instant::now();
    while let Err(error) = reach() {
        assert!(start.elapsed() < DEADLINE, "{address} is not reached: {error}");
        std::thread::yield_now();
    }
}
