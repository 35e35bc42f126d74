//! The ports that clients get, and the address that they are told.

use ftp_tests::port::OwnPorts;
use ftp_tests::wait::{patiently, wait_until};

use super::*;
use crate::config::PassivePolicy;
use crate::lock::Lock;

fn client(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn local() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Calls `test` with `count` ports. A program that another test starts meanwhile may hold a copy of a
/// port that was closed, on a busy machine for longer than the server waits: then `test` is repeated.
fn with_ports(count: u16, test: impl Fn(&OwnPorts)) {
    let own = OwnPorts::claim(count);
    patiently(limits::PORT_COPY_WAIT, |_| test(&own));
}

#[test]
fn every_port_is_tried_and_none_is_shared_dc_02_dc_03_dc_04_hd_09() {
    with_ports(10, |own| {
        let ranges = own.ranges();
        // Another program holds two of them.
        let _others = own.take(2);
        let ports = PassivePorts::new(Some(ranges.clone()));
        let mut listeners: Vec<_> =
            (0..8).map(|number| ports.listen(local(), client(number / 4)).unwrap()).collect();
        let mut taken: Vec<u16> = listeners.iter().map(PassiveListener::port).collect();
        taken.sort_unstable();
        assert_eq!(taken, ranges.iter().skip(2).collect::<Vec<_>>());
        keep_ports_fresh(&ports);
        let full = ports.listen(local(), client(9)).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::AddrInUse);
        // A port that was just closed is available at once.
        let port = listeners.pop().map(|listener| listener.port());
        let again = ports.listen(local(), client(9)).unwrap();
        assert_eq!(Some(again.port()), port);
        drop((listeners, again));
        assert!(ports.held.lock().ports.is_empty() && ports.shares.held() == 0);
    });
}

#[test]
fn without_a_range_ports_come_from_the_system_range_dc_03_hd_08() {
    let ports = PassivePorts::new(None);
    let listeners: Vec<_> = (0..200).map(|_| ports.listen(local(), client(1)).unwrap()).collect();
    let chosen: HashSet<u16> = listeners.iter().map(PassiveListener::port).collect();
    assert_eq!(chosen.len(), listeners.len());
    let Some(system) = &ports.system else { return println!("skipped: not known which") };
    assert!(chosen.iter().all(|port| system.contains(port)), "{system:?}: {chosen:?}");
    // If the only port is taken, the system finds another.
    let taken = listeners[0].port();
    let few = Arc::new(PassivePorts {
        ranges: None,
        system: Some(taken..=taken),
        shares: Shares::new(&table::PORTS, 0),
        held: Lock::default(),
        given_back: Condvar::new(),
    });
    assert_ne!(few.listen(local(), client(1)).unwrap().port(), taken);
    drop(listeners);
    // Another program may have the port for a moment, or a copy of the listener.
    wait_until("the port is free", || few.listen(local(), client(1)).unwrap().port() == taken);
}

#[test]
fn one_network_leaves_ports_to_others_hd_09() {
    with_ports(10, |own| {
        let ports = PassivePorts::new(Some(own.ranges()));
        let site = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 1]);
        let mut greedy: Vec<_> =
            (0..9).map(|number| ports.listen(local(), site(number)).unwrap()).collect();
        keep_ports_fresh(&ports);
        let full = ports.listen(local(), site(10)).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::AddrInUse);
        let begun = Instant::now();
        (0..20).for_each(|_| drop(ports.listen(local(), client(2)).unwrap()));
        assert!(begun.elapsed() < limits::PORT_UNUSED, "{:?}", begun.elapsed());
        greedy.pop();
        assert!(ports.listen(local(), site(10)).is_ok());
        let one = OwnPorts::claim(1);
        let ports = PassivePorts::new(Some(one.ranges()));
        assert!(ports.listen(local(), client(1)).is_ok(), "one port has no reserve");
    });
}

#[test]
fn transfers_whose_clients_never_connect_give_way_hd_09() {
    with_ports(4, |own| {
        let ports = PassivePorts::new(Some(own.ranges()));
        let waiting: Vec<_> = [1, 1, 1, 2]
            .map(|last| ports.listen(local(), client(last)).unwrap().open().unwrap())
            .into();
        expire_unused_ports(&ports);
        for last in 3..6 {
            let newcomer = ports.listen(local(), client(last)).unwrap();
            let port = newcomer.port();
            drop(newcomer);
            drop(TcpListener::bind(("127.0.0.1", port)).unwrap());
        }
        // The wait of the oldest ended, the others continue.
        let ended = waiting
            .iter()
            .map(|port| port.listener.accept().unwrap_err().kind() != io::ErrorKind::WouldBlock);
        assert_eq!(ended.collect::<Vec<_>>(), [true, false, false, false]);
        drop(waiting);
        assert!(ports.held.lock().ports.is_empty() && ports.shares.held() == 0);
    });
}

/// Makes all ports look unused for so long that they can be given to another host.
fn expire_unused_ports(ports: &PassivePorts) {
    let since = Instant::now().checked_sub(limits::PORT_UNUSED).unwrap();
    ports.held.lock().opened.values_mut().for_each(|opened| opened.since = since);
}

/// Makes all ports look newly opened, so that none is given to another host even on a busy
/// machine.
fn keep_ports_fresh(ports: &PassivePorts) {
    let since = Instant::now() + limits::PORT_UNUSED * 1_000;
    ports.held.lock().opened.values_mut().for_each(|opened| opened.since = since);
}

#[test]
fn only_one_port_is_released_while_a_copy_is_open_hd_09() {
    with_ports(4, |own| {
        let ports = PassivePorts::new(Some(own.ranges()));
        let listen = |last| ports.listen(local(), client(last)).unwrap();
        let opened = || ports.held.lock().opened.keys().copied().collect::<Vec<_>>();
        let _held = [1, 1, 1, 2].map(listen);
        expire_unused_ports(&ports);
        let oldest = ports.held.lock().opened[&0].listener.try_clone().unwrap();
        let new = thread::scope(|scope| {
            scope.spawn(|| {
                wait_until("the port gives way", || !opened().contains(&0));
                thread::sleep(limits::PORT_COPY_WAIT / 20);
                drop(oldest);
            });
            listen(3)
        });
        assert_eq!(opened()[..3], [1, 2, 3]);
        drop(new);
    });
}

#[test]
fn two_hosts_with_unused_ports_do_not_block_others_hd_09() {
    with_ports(4, |own| {
        let ports = PassivePorts::new(Some(own.ranges()));
        let listen = |last| ports.listen(local(), client(last)).unwrap();
        let _held = [1, 1, 1, 2].map(listen);
        // All are held; unused ones give way, the oldest first.
        keep_ports_fresh(&ports);
        let numbers = || ports.held.lock().opened.keys().copied().collect::<Vec<_>>();
        let before = numbers();
        assert!(ports.listen(local(), client(3)).is_err(), "their clients may be about to connect");
        assert_eq!(numbers(), before);
        expire_unused_ports(&ports);
        let third = listen(3);
        assert_eq!(numbers()[..3], before[1..]);
        let fourth = listen(4);
        assert_eq!(numbers()[..2], before[2..]);
        expire_unused_ports(&ports);
        // None of a host that holds no more than the client gives way.
        let now = numbers();
        assert!(ports.listen(local(), client(4)).is_err());
        assert_eq!(numbers(), now);
        drop((third, fourth));
    });
}

#[test]
fn pasv_waits_for_a_port_that_will_be_released_cm_37() {
    let own = OwnPorts::claim(2);
    patiently(limits::PORT_WAIT, |_| {
        let others = own.take(2);
        let ports = PassivePorts::new(Some(own.ranges()));
        let start = Instant::now();
        assert!(ports.listen(local(), client(1)).is_err());
        assert!(start.elapsed() < limits::PORT_WAIT, "nobody here will give any back");
        drop(others);
        let first = ports.listen(local(), client(1)).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| ports.listen(local(), client(1)).map(drop));
            thread::park_timeout(limits::PORT_WAIT / 10);
            drop(first);
            second.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_port_still_held_by_a_copy_of_its_socket_is_retried_cm_37() {
    with_ports(1, |own| {
        let copy = own.take(1);
        let ports = PassivePorts::new(Some(own.ranges()));
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::park_timeout(limits::PORT_COPY_WAIT / 20);
                drop(copy);
            });
            assert!(ports.listen(local(), client(1)).is_ok());
        });
    });
}

#[test]
fn passive_ports_are_chosen_uniformly_at_random_dc_03_hd_08() {
    const PORTS: u16 = 20;
    const ROUNDS: u32 = 4_000;
    with_ports(PORTS, |own| {
        let ports = PassivePorts::new(Some(own.ranges()));
        let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
        for _ in 0..ROUNDS {
            *counts.entry(ports.listen(local(), client(1)).unwrap().port()).or_default() += 1;
        }
        assert_eq!(counts.len(), usize::from(PORTS));
        let want = f64::from(ROUNDS) / f64::from(PORTS);
        let chi_square: f64 = counts.values().map(|&n| (f64::from(n) - want).powi(2) / want).sum();
        // With 19 degrees of freedom, one try in a million exceeds this.
        assert!(chi_square < 63.0, "{chi_square}: {counts:?}");
    });
}

const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

fn announcer(general: Option<&str>, overrides: &[(&str, &str)]) -> Arc<Announcer> {
    let address = |text: &str| PassiveAddress::parse(text.as_bytes()).unwrap();
    let overrides = overrides
        .iter()
        .map(|(network, text)| (vec![Network::parse(network.as_bytes()).unwrap()], address(text)));
    Announcer::new(&ServerConfig::new().passive(
        PassivePolicy::new().address(general.map(address)).overrides(Vec::from_iter(overrides)),
    ))
}

fn told(announcer: &Announcer, peer: &str) -> String {
    announcer.address_for(peer.parse().unwrap(), LOCAL).to_string()
}

#[test]
fn the_clients_network_decides_the_announced_address_dc_05_dc_06() {
    let overrides = [("10.0.0.0/8", "10.0.0.5"), ("127.0.0.2", "192.0.2.8")];
    for (general, overrides, peer, want) in [
        (None, &[][..], "203.0.113.1", "10.0.0.5"),
        (Some("192.0.2.7"), &[], "203.0.113.1", "192.0.2.7"),
        (Some("192.0.2.7"), &[], "192.168.0.9", "192.0.2.7"),
        (Some("192.0.2.7"), &[], "::ffff:192.168.0.9", "192.0.2.7"),
        (Some("192.0.2.7"), &[], "127.0.0.1", "10.0.0.5"),
        (Some("192.0.2.7"), &overrides, "127.0.0.1", "10.0.0.5"),
        (Some("192.0.2.7"), &overrides, "127.0.0.2", "192.0.2.8"),
        (Some("192.0.2.7"), &overrides, "10.2.3.4", "10.0.0.5"),
        (Some("192.0.2.7"), &overrides, "172.16.0.1", "192.0.2.7"),
        (None, &overrides, "172.16.0.1", "10.0.0.5"),
    ] {
        assert_eq!(told(&announcer(general, overrides), peer), want, "{general:?} {peer}");
    }
}

#[test]
fn a_failed_lookup_keeps_the_last_address_dc_07_ho_17() {
    let announcer = announcer(Some("ftp.example"), &[("10.0.0.0/8", "inner.example")]);
    let find = |answer: Result<&'static [&'static str], io::ErrorKind>| {
        announcer.look_up(move |name| match (name, answer) {
            ("inner.example", _) => Ok(vec![[10, 9, 9, 9].into()]),
            (_, Ok(texts)) => Ok(texts.iter().map(|text| text.parse().unwrap()).collect()),
            (_, Err(kind)) => Err(kind.into()),
        })
    };
    assert_eq!(told(&announcer, "203.0.113.1"), "10.0.0.5", "not known yet");
    assert!(!find(Err(io::ErrorKind::TimedOut)));
    assert_eq!(told(&announcer, "203.0.113.1"), "10.0.0.5");
    for (answer, want) in [
        (Ok(&["2001:db8::1", "192.0.2.1"][..]), "192.0.2.1"),
        (Err(io::ErrorKind::TimedOut), "192.0.2.1"),
        (Ok(&[]), "192.0.2.1"),
        (Ok(&["2001:db8::1"]), "192.0.2.1"),
        (Ok(&["192.0.2.2", "192.0.2.1"]), "192.0.2.1"),
        (Ok(&["192.0.2.2", "192.0.2.3"]), "192.0.2.2"),
    ] {
        assert!(find(answer));
        assert_eq!(told(&announcer, "203.0.113.1"), want, "{answer:?}");
    }
    assert_eq!(told(&announcer, "10.1.1.1"), "10.9.9.9");
}

#[test]
fn names_are_resolved_at_startup_dc_07() {
    let announcer = announcer(None, &[("127.0.0.0/8", "localhost")]);
    announcer.start().unwrap();
    assert!(announcer.lookups.get().is_some());
    assert_eq!(told(&announcer, "127.0.0.1"), "127.0.0.1");
    let without_names = self::announcer(Some("192.0.2.1"), &[]);
    without_names.start().unwrap();
    assert!(without_names.lookups.get().is_none());
}
