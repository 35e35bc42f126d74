//! Examines the passive ports that the server names: how wide their range is, and whether all of
//! them can be reached. Connects to each port immediately, because a server closes a port when it
//! names the next one.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ftp_client::{Client, Error, FirstLook, Mode};
use ftp_proto::Reply;

use super::dial::{self, Dial, passive_port};
use super::finding::{Check, Diagnosis, Finding, Grade};
use super::path;
use super::seen::{DataMethod, FirstConnectionSeen, Port, Ports};
use crate::console::output::counted;
use crate::exit::Result;
use crate::lock;

/// Number of times that the server is asked for a port.
const TRIES: usize = 8;

/// Longest wait for a port: enough for the kernel's second attempt, after 1 s.
const PATIENCE: Duration = Duration::from_millis(1_300);

/// Examines the ports and the path's packet size over the first connection, and ends it.
pub(super) fn run(dial: &Dial<'_>, _: &mut Vec<Finding>) -> Result {
    let Some(login) = dial.login_seen() else { return Ok(()) };
    let Some(mut inside) = lock(&login.client).take() else { return Ok(()) };
    let client = &mut inside.it;
    // This connects to the ports directly, so it is left out with a proxy.
    if let Some((local, peer)) = login.addresses {
        let stat = dial::ask(client, "STAT").ok();
        let seen_as = stat.and_then(|stat| address_of_ours(&stat, local.ip(), peer.ip()));
        let ports = ask(dial, client, peer);
        let seen = FirstConnectionSeen { seen_as, ports };
        dial.seen.first.get_or_init(|| seen);
    }
    let packets = path::long_command(client);
    match &packets {
        // Where replies are missing, the next login reports what the error means.
        Err(error @ Error::Cancelled) => return Err(error.clone().into()),
        Ok(Finding { grade: Grade::Ok, .. }) => inside.quit(),
        _ => {}
    }
    dial.seen.packets.get_or_init(|| packets.unwrap_or_else(|error| Check("packets").skip(error)));
    Ok(())
}

/// Returns the client address that a server names after "connected" in its STAT reply.
fn address_of_ours(stat: &Reply, local: IpAddr, peer: IpAddr) -> Option<IpAddr> {
    let mut lines = stat.lines().map(|line| String::from_utf8_lossy(line).into_owned());
    let line = lines.find(|line| line.to_ascii_lowercase().contains("connected"))?;
    let words = line.split(|char: char| !(char.is_ascii_hexdigit() || ".:".contains(char)));
    let mut found = words.filter_map(|word| {
        let word = word.trim_matches('.');
        word.parse::<IpAddr>().or_else(|_| word.parse::<SocketAddr>().map(|at| at.ip())).ok()
    });
    let known = [local.to_canonical(), peer.to_canonical()];
    let found = found.next()?.to_canonical();
    (!known.contains(&found) && found.is_ipv4() == known.iter().all(IpAddr::is_ipv4))
        .then_some(found)
}

/// Asks for ports and connects to each. Stops if the server names no port; the checks of the
/// methods find the reason.
fn ask(dial: &Dial<'_>, client: &mut Client, peer: SocketAddr) -> Ports {
    let mut learned = Ports::default();
    let way = match peer.ip().to_canonical().is_ipv4() {
        true => DataMethod::Pasv,
        false => DataMethod::Epsv,
    };
    for _ in 0..TRIES {
        let Some((host, at)) = passive_port(client, way, peer) else { break };
        learned.hosts.extend(host);
        let limit = PATIENCE.min(dial.timeouts().data_connect);
        let is_reached = FirstLook::connect(at, dial.asked.bind, limit).is_ok();
        if dial.in_time().is_err() {
            // The time ran out, so it is unknown whether the port can be reached.
            break;
        }
        learned.ports.push(Port { number: at.port(), is_reached });
    }
    learned
}

/// Limit of a narrow range: its lowest and highest ports are less than this apart.
const NARROW: u16 = 16;

/// Ports that Linux chooses from by default.
const KERNELS: RangeInclusive<u16> = 32_768..=60_999;

pub(super) fn judge(learned: &Ports, wanted: Mode) -> Option<Finding> {
    let check = Check("ports");
    let numbers: BTreeSet<u16> = learned.ports.iter().map(|port| port.number).collect();
    let tries = learned.ports.len();
    let low = *numbers.first()?;
    let high = *numbers.last()?;
    let tried = counted(tries, "try");
    let words = match numbers.len() {
        1 => format!("{tried}: always port {low}"),
        count => format!("{tried}: {count} different ports from {low} to {high}"),
    };
    if learned.is_partly() {
        let seen = format!(
            "{words}; reachable: {}; unreachable: {}",
            numbers_of(learned, true),
            numbers_of(learned, false)
        );
        let grade = if wanted == Mode::Passive { Grade::Fail } else { Grade::Warn };
        return Some(check.wrong(grade, Diagnosis("passive-ports-partly"), seen));
    }
    // A kernel chooses from thousands of ports, so it rarely names only two neighbouring ports in
    // all tries. A single port from the kernel's range is not a narrow range: the server may keep
    // one listening socket open.
    let is_chosen = |port: u16| KERNELS.contains(&port);
    let is_narrow = high - low < NARROW && (numbers.len() == 2 || !is_chosen(low));
    let is_few = tries >= 6 && numbers.len() <= 2 && is_narrow;
    Some(if is_few { check.warn(Diagnosis("few-ports"), words) } else { check.ok(words) })
}

fn numbers_of(learned: &Ports, is_reached: bool) -> String {
    let ports = learned.ports.iter().filter(|port| port.is_reached == is_reached);
    let numbers: BTreeSet<u16> = ports.map(|port| port.number).collect();
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyCode;

    use super::*;

    fn of(ports: &[(u16, bool)]) -> Ports {
        let port =
            |(number, is_reached): &(u16, bool)| Port { number: *number, is_reached: *is_reached };
        Ports { hosts: Vec::new(), ports: ports.iter().map(port).collect() }
    }

    fn name(learned: &Ports) -> Option<&'static str> {
        judge(learned, Mode::Passive)?.diagnosis.map(|diagnosis| diagnosis.0)
    }

    #[test]
    fn a_range_of_two_ports_is_few() {
        for (ports, want) in [
            (&[50_000, 50_001, 50_000, 50_001, 50_000, 50_001, 50_000, 50_001][..], true),
            (&[5_000; 8], true),
            (&[50_000; 8], false),
            (&[33_151, 56_357, 33_151, 56_357, 33_151, 56_357, 33_151, 56_357], false),
            (&[50_000, 50_001, 50_002, 50_001, 50_000, 50_001, 50_000, 50_001], false),
            (&[50_000, 50_001], false),
        ] {
            let ports: Vec<_> = ports.iter().map(|port| (*port, true)).collect();
            assert_eq!(name(&of(&ports)), want.then_some("few-ports"), "{ports:?}");
        }
        let one = judge(&of(&[(1_033, true); 8]), Mode::Passive).unwrap();
        assert_eq!(one.seen, "8 tries: always port 1033");
    }

    #[test]
    fn a_partly_reachable_range_is_reported_with_its_ports() {
        let half = of(&[(50_060, false), (50_001, true), (50_070, false), (50_001, true)]);
        assert_eq!(name(&half), Some("passive-ports-partly"));
        let found = judge(&half, Mode::Passive).unwrap();
        assert!(found.seen.contains("reachable: 50001; unreachable: 50060, 50070"), "{found:?}");
        assert_eq!(found.grade, Grade::Fail);
        assert_eq!(judge(&half, Mode::Active).unwrap().grade, Grade::Warn);
        // If none is reached, the findings about the methods say so.
        assert_eq!(name(&of(&[(50_060, false), (50_070, false)])), None);
        assert!(judge(&of(&[]), Mode::Passive).is_none());
    }

    #[test]
    fn the_client_address_is_read_from_the_stat_reply() {
        let local = IpAddr::from([192, 168, 1, 2]);
        let peer = IpAddr::from([203, 0, 113, 9]);
        for (text, want) in [
            ("     Connected to 203.0.113.1", Some("203.0.113.1")),
            ("     Connected to ::ffff:203.0.113.1", Some("203.0.113.1")),
            (" Connected from 203.0.113.1", Some("203.0.113.1")),
            ("Connected from gw.example.org (203.0.113.1)", Some("203.0.113.1")),
            ("Connected from 203.0.113.1:40000.", Some("203.0.113.1")),
            ("Connected from 192.168.1.2", None),
            ("Connected to 203.0.113.9", None),
            ("Connected from 2001:db8::1", None),
            ("Version 1.2.3.4", None),
            ("Connected", None),
        ] {
            let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Status:", [text], "End");
            let found = address_of_ours(&reply, local, peer);
            assert_eq!(found, want.map(|want| want.parse().unwrap()), "{text}");
        }
    }
}
