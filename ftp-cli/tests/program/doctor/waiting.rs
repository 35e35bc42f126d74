//! Servers and networks that make everything wait: `doctor` ends in 30 s by default, and its
//! findings are still right.

use ftp_server::{Limits, ServerConfig};
use ftp_tests::at_once::at_once;
use ftp_tests::network::{Host, in_own_network};
use ftp_tests::peer::Peer;

use super::scene::{From, Ours, between};
use super::talkers::{self, Talk};
use super::{Found, examined_by_default};

/// More than 30 s, for a slow machine.
const LIMIT: f64 = 60.0;

const SERVER: &str = "198.51.100.9:2121";

/// A client and a server that drops the packets `what`.
fn dropping(what: &str) -> (Host, Host) {
    let (client, server) = (Host::start(), Host::start());
    client.link(&["198.51.100.2/24"], "wire", &server, &["198.51.100.9/24"]);
    server.set_up(&format!(
        "nft 'table ip filter {{
            chain in {{
                type filter hook input priority filter
                tcp dport 2121 accept
                {what}
            }}
        }}'"
    ));
    (client, server)
}

/// Neither mode works, with a server that accepts this many connections at a time.
fn nothing_but_the_dialogue(per_address: usize) -> (Found, &'static [&'static str], i32) {
    let (client, server) = dropping("drop");
    let config = ServerConfig::new().limits(Limits::new().per_address(per_address));
    let ours = Ours::at(&server, SERVER, config);
    let found = client.at(|| examined_by_default(&[&ours.url()]));
    (found, &["active-blocked", "passive-blocked"], 13)
}

fn never_greeted() -> (Found, &'static [&'static str], i32) {
    let address = talkers::start("127.0.0.1", Talk::Nothing);
    (examined_by_default(&[&format!("ftp://{address}/")]), &["greeting-never"], 10)
}

fn never_begun() -> (Found, &'static [&'static str], i32) {
    let (client, _server) = dropping("drop");
    let found = client.at(|| examined_by_default(&["ftp://198.51.100.9:2122/"]));
    (found, &["host-silent"], 10)
}

fn never_ended() -> (Found, &'static [&'static str], i32) {
    let ours = Ours::start("127.0.0.1:0");
    let address = between(ours.address(), |from, line| {
        let is_end = from == From::Server && (line.starts_with("226 ") || line.starts_with("221 "));
        (!is_end).then(|| line.to_owned())
    });
    let found = examined_by_default(&[&format!("ftp://{address}/")]);
    (found, &["final-reply-never"], 10)
}

/// No command after the login is ever answered.
fn silent_after_the_login() -> (Found, &'static [&'static str], i32) {
    let ours = Ours::start("127.0.0.1:0");
    let address = between(ours.address(), |from, line| {
        let is_login = ["USER", "PASS", "FEAT", "SYST"].iter().any(|verb| line.starts_with(verb));
        (from == From::Server || is_login).then(|| line.to_owned())
    });
    let found = examined_by_default(&[&format!("ftp://{address}/")]);
    (found, &["reply-never"], 10)
}

#[test]
fn doctor_ends_within_30_s_by_default_whatever_hangs() {
    let test = "doctor::waiting::doctor_ends_within_30_s_by_default_whatever_hangs";
    if !in_own_network(test, &[]) || Peer::find("nft").is_none() {
        return;
    }
    type Case = fn() -> (Found, &'static [&'static str], i32);
    let cases: [(&str, Case); 6] = [
        ("nothing but the dialogue", || nothing_but_the_dialogue(0)),
        ("nothing but the dialogue of one connection", || nothing_but_the_dialogue(1)),
        ("never greeted", never_greeted),
        ("never begun", never_begun),
        ("never ended", never_ended),
        ("silent after the login", silent_after_the_login),
    ];
    let all = at_once(cases.len(), cases, |(name, case)| (name, case()));
    for (name, (found, wrong, exit)) in all {
        println!("{name}: {:?}, {} s", found.wrong, found.seconds());
        assert!(found.seconds() < LIMIT, "{name}: {:?}", found.ran);
        assert!(found.wrong.iter().eq(wrong), "{name}: {:?}", found.ran);
        assert_eq!(found.ran.code(), Some(exit), "{name}: {:?}", found.ran);
    }
}
