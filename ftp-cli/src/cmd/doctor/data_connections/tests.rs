use super::super::seen::{Port, Ports};
use super::*;

const WORKS: MethodOutcome = MethodOutcome::Works;

fn reply(code: u16) -> Reply {
    Reply::new(ReplyCode::new(code).unwrap(), "so")
}

fn refused(code: u16) -> MethodOutcome {
    MethodOutcome::Refused(reply(code))
}

fn silent() -> MethodOutcome {
    MethodOutcome::Unreachable { closed: false, at: None }
}

fn unfinished() -> MethodOutcome {
    MethodOutcome::Failed(Diagnosis("final-reply-never"), "no 226".to_owned())
}

fn insecure() -> MethodOutcome {
    MethodOutcome::Failed(Diagnosis("data-tls"), "alert".to_owned())
}

fn stalled() -> MethodOutcome {
    MethodOutcome::Failed(Diagnosis("big-packets-lost"), "no data".to_owned())
}

fn closed() -> MethodOutcome {
    MethodOutcome::Unreachable { closed: true, at: None }
}

/// Returns `open` ports that were reached, followed by `closed` ports that were not.
fn reached(open: u16, closed: u16) -> Vec<Port> {
    let port = |at| Port { number: 50_000 + at, is_reached: at < open };
    (0..open + closed).map(port).collect()
}

fn seen(local: &str, peer: &str, outcomes: [MethodOutcome; 4]) -> MethodsSeen {
    MethodsSeen {
        local: format!("{local}:40000").parse().unwrap(),
        peer: format!("{peer}:21").parse().unwrap(),
        first: FirstConnectionSeen {
            ports: Ports { hosts: vec![peer.parse().unwrap()], ports: reached(8, 0) },
            ..FirstConnectionSeen::default()
        },
        outcomes,
        wanted: Mode::Passive,
    }
}

/// Returns the names of the problems; `!` precedes those that stop this client.
fn names(seen: &MethodsSeen) -> Vec<String> {
    let mut names = Vec::new();
    for found in findings(seen).0 {
        let Some(diagnosis) = found.diagnosis else { continue };
        let mark = if found.grade == Grade::Fail { "!" } else { "" };
        let name = format!("{mark}{}", diagnosis.0);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[test]
fn each_pattern_of_data_connection_outcomes_has_its_diagnosis() {
    let outer = "198.51.100.2";
    let server = "203.0.113.9";
    let inner = "192.168.1.2";
    let all = || [WORKS, WORKS, WORKS, WORKS];
    for (local, outcomes, want) in [
        (outer, all(), &[][..]),
        (outer, [silent(), silent(), WORKS, WORKS], &["!passive-blocked"]),
        (outer, [closed(), closed(), WORKS, WORKS], &["!passive-closed"]),
        (outer, [silent(), WORKS, WORKS, WORKS], &["epsv-blocked"]),
        (outer, [MethodOutcome::Unanswered, WORKS, WORKS, WORKS], &["epsv-blocked"]),
        (outer, [MethodOutcome::Broken("x".into()), WORKS, WORKS, WORKS], &["epsv-blocked"]),
        (outer, [WORKS, silent(), WORKS, WORKS], &["pasv-blocked"]),
        (outer, [WORKS, closed(), WORKS, WORKS], &["pasv-blocked"]),
        (outer, [refused(500), WORKS, WORKS, WORKS], &["epsv-unsupported"]),
        (outer, [refused(502), silent(), WORKS, WORKS], &["epsv-unsupported", "!passive-blocked"]),
        (outer, [WORKS, refused(502), WORKS, WORKS], &[]),
        (outer, [refused(502), refused(502), WORKS, WORKS], &["!passive-off"]),
        (outer, [refused(425), refused(425), WORKS, WORKS], &["!few-ports"]),
        (outer, [refused(451), refused(451), WORKS, WORKS], &["!passive-failed"]),
        (outer, [refused(451), WORKS, WORKS, WORKS], &["passive-failed"]),
        (outer, [WORKS, WORKS, refused(500), refused(500)], &[]),
        (outer, [WORKS, WORKS, refused(500), WORKS], &[]),
        (outer, [WORKS, WORKS, silent(), WORKS], &["eprt-blocked"]),
        (outer, [WORKS, WORKS, WORKS, silent()], &["port-blocked"]),
        (inner, [WORKS, WORKS, silent(), WORKS], &["eprt-blocked", "middlebox-rewrites"]),
        (outer, [WORKS, WORKS, silent(), silent()], &["active-blocked"]),
        (
            outer,
            [WORKS, WORKS, MethodOutcome::GaveUp(reply(425)), MethodOutcome::GaveUp(reply(425))],
            &["active-blocked"],
        ),
        (outer, [insecure(), insecure(), insecure(), insecure()], &["!data-tls", "data-tls"]),
        (inner, [WORKS, WORKS, refused(500), refused(500)], &["active-behind-nat"]),
        (inner, [WORKS, WORKS, silent(), silent()], &["active-behind-nat"]),
        (inner, all(), &["middlebox-rewrites"]),
        (
            outer,
            [unfinished(), unfinished(), unfinished(), unfinished()],
            &["!final-reply-never", "final-reply-never"],
        ),
        (outer, [unfinished(), unfinished(), silent(), silent()], &["!final-reply-never"]),
        (
            outer,
            [MethodOutcome::Unanswered, MethodOutcome::Unanswered, silent(), silent()],
            &["!reply-never"],
        ),
        (
            outer,
            [stalled(), stalled(), stalled(), stalled()],
            &["!big-packets-lost", "big-packets-lost"],
        ),
        (
            inner,
            [silent(), silent(), silent(), silent()],
            &["!passive-blocked", "active-behind-nat"],
        ),
    ] {
        assert_eq!(names(&seen(local, server, outcomes.clone())), want, "{local} {outcomes:?}");
    }
}

#[test]
fn only_active_mode_faults_fail_if_active_mode_is_wanted() {
    let inner = "192.168.1.2";
    let outer = "198.51.100.2";
    let server = "203.0.113.9";
    for (local, outcomes, want) in [
        (outer, [silent(), silent(), WORKS, WORKS], &["passive-blocked"][..]),
        (outer, [WORKS, WORKS, refused(502), refused(502)], &["!active-off"]),
        (outer, [WORKS, WORKS, refused(502), WORKS], &[]),
        (inner, [WORKS, WORKS, refused(500), refused(500)], &["!active-behind-nat"]),
        (outer, [WORKS, WORKS, silent(), silent()], &["!active-blocked"]),
    ] {
        let mut seen = seen(local, server, outcomes);
        seen.wanted = Mode::Active;
        assert_eq!(names(&seen), want, "{:?}", seen.outcomes);
    }
}

#[test]
fn a_partly_reachable_port_range_is_not_blamed_on_a_command() {
    for (outcomes, want, best) in [
        (
            [silent(), WORKS, WORKS, WORKS],
            &["passive-ports-partly", "!passive-ports-partly"][..],
            DataMethod::Eprt,
        ),
        (
            [WORKS, silent(), silent(), silent()],
            &["!passive-ports-partly", "active-blocked", "passive-ports-partly"],
            DataMethod::Epsv,
        ),
        ([WORKS, WORKS, WORKS, WORKS], &["!passive-ports-partly"], DataMethod::Eprt),
        ([closed(), closed(), refused(500), WORKS], &["!passive-ports-partly"], DataMethod::Port),
    ] {
        let mut seen = seen("198.51.100.2", "203.0.113.9", outcomes);
        seen.first.ports.ports = reached(4, 4);
        let mut found = names(&seen);
        found.sort();
        found.dedup();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(found, want, "{:?}", seen.outcomes);
        assert_eq!(findings(&seen).1, Some(best), "{:?}", seen.outcomes);
    }
}

#[test]
fn the_pasv_address_is_compared_with_the_server_address() {
    for (host, peer, want) in [
        ("10.0.0.5", "203.0.113.9", Some("pasv-private-address")),
        ("127.0.0.1", "203.0.113.9", Some("pasv-private-address")),
        ("127.0.0.1", "10.0.0.5", Some("pasv-private-address")),
        ("0.0.0.0", "10.0.0.5", Some("pasv-private-address")),
        ("198.51.100.7", "203.0.113.9", Some("pasv-other-address")),
        ("10.0.0.6", "10.0.0.5", Some("pasv-other-address")),
        ("203.0.113.9", "203.0.113.9", None),
    ] {
        let mut seen = seen("198.51.100.2", peer, [WORKS, WORKS, WORKS, WORKS]);
        seen.first.ports.hosts = vec![host.parse().unwrap()];
        assert_eq!(names(&seen), want.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{host}");
    }
}

#[test]
fn the_best_data_method_is_the_first_that_works_in_the_wanted_mode() {
    let best = |outcomes, wanted| {
        let mut seen = seen("198.51.100.2", "203.0.113.9", outcomes);
        seen.wanted = wanted;
        findings(&seen).1
    };
    for (outcomes, wanted, want) in [
        ([WORKS, WORKS, WORKS, WORKS], Mode::Passive, Some(DataMethod::Epsv)),
        ([WORKS, WORKS, WORKS, WORKS], Mode::Active, Some(DataMethod::Eprt)),
        ([silent(), WORKS, WORKS, WORKS], Mode::Passive, Some(DataMethod::Pasv)),
        ([silent(), silent(), refused(500), WORKS], Mode::Passive, Some(DataMethod::Port)),
        ([WORKS, WORKS, silent(), silent()], Mode::Active, Some(DataMethod::Epsv)),
        ([silent(), silent(), silent(), silent()], Mode::Passive, None),
    ] {
        assert_eq!(best(outcomes, wanted), want);
    }
}

#[test]
fn over_ipv6_no_command_replaces_a_blocked_epsv() {
    let not_tried = || MethodOutcome::NotTried(ONLY_IPV4.to_owned());
    let of = |epsv| {
        let mut seen = seen("198.51.100.2", "203.0.113.9", [epsv, not_tried(), WORKS, not_tried()]);
        seen.local = "[2001:db8::2]:40000".parse().unwrap();
        seen.peer = "[2001:db8::9]:21".parse().unwrap();
        seen.first = FirstConnectionSeen::default();
        seen
    };
    assert_eq!(names(&of(silent())), ["!passive-blocked"]);
    assert_eq!(names(&of(refused(500))), ["!epsv-unsupported"]);
    assert_eq!(names(&of(WORKS)), [""; 0]);
    assert_eq!(findings(&of(WORKS)).1, Some(DataMethod::Epsv));
}

#[test]
fn a_nat_between_private_networks_shows_in_the_address_the_server_sees() {
    let mut seen = seen("192.168.1.2", "10.0.0.5", [WORKS, WORKS, silent(), silent()]);
    assert_eq!(names(&seen), ["active-blocked"]);
    seen.first.seen_as = Some("10.0.0.1".parse().unwrap());
    assert_eq!(names(&seen), ["active-behind-nat"]);
}
