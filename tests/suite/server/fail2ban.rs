//! The shipped filter for fail2ban, run by fail2ban itself on lines of real sessions.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ftp_proto::HostName;
use ftp_server::VirtualHost;
use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;

use super::Fixture;
use super::events::Log;

/// Returns the hosts that fail2ban finds in lines, each once.
fn found(fail2ban: &Peer, lines: &[String]) -> Vec<String> {
    let filter = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("it")
        .join("dist/fail2ban/ftp-cli.conf");
    let here = TempRoot::new();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let log = here.write("log", text.as_bytes());
    let ran = run(fail2ban.command().args(["--out", "ip"]).arg(log).arg(filter));
    String::from_utf8(ran.succeeded()).expect("addresses").lines().map(str::to_owned).collect()
}

fn refuse(address: SocketAddr, host: &str, name: &[u8]) {
    let host: IpAddr = host.parse().expect("an address");
    let mut session = RawSession::connect_from(host, address);
    session.expect_reply(220);
    session.expect([b"USER ", name].concat(), 331);
    session.expect("PASS wrong", 530);
    session.expect("QUIT", 221);
}

#[test]
fn fail2ban_finds_only_hosts_with_failed_logins_hs_18() {
    let Some(fail2ban) = Peer::find("fail2ban-regex") else { return };
    let forged = "login-refused session=1 peer=203.0.113.1 port=1 user=\"a\" reason=credentials";
    let json = "\"event\":\"login-refused\",\"session\":1,\"peer\":\"203.0.113.1\",\"port\":1,\
                \"user\":\"a\",\"reason\":\"credentials\"}";
    let hostile: Vec<Vec<u8>> = [
        "x",
        "two words",
        " ",
        "\\",
        "\\\"",
        "\"",
        "x\" reason=credentials",
        "x\" peer=203.0.113.1 port=1 user=\"a",
        forged,
        json,
        "2026-11-20T15:04:05.678Z 203.0.113.1",
        "<HOST> %(ip)s $(reboot) `reboot`",
        "\u{2028}\u{85}\u{b}\u{c}\u{1b}[2J\u{202e}",
    ]
    .iter()
    .flat_map(|name| {
        [name.as_bytes().to_vec(), [name.as_bytes(), b"\xff\\\x1b", forged.as_bytes()].concat()]
    })
    .chain([vec![b'"'; 512], vec![b'\\'; 511]])
    .collect();
    for is_json in [false, true] {
        let log = Log::new();
        let host = HostName::parse(b"ftp.example.org").expect("a host name");
        let config = super::quick_with(|config| {
            config.limits.per_user = 1;
            config.hosts = vec![VirtualHost::new(host)];
        });
        let fixture = Fixture::with(|builder| builder.config(config).observer(log.json(is_json)));
        let address = fixture.server.local_addr();
        for name in &hostile {
            refuse(address, "127.0.0.66", name);
        }
        refuse(address, "127.0.0.2", b"u");
        // At a virtual host, whose name ends the line.
        let mut session = RawSession::connect_from([127, 0, 0, 4].into(), address);
        session.expect_reply(220);
        session.expect("HOST ftp.example.org", 220);
        session.expect(format!("USER {forged}"), 331);
        session.expect("PASS wrong", 530);
        session.expect("QUIT", 221);
        // A login, a refused command and a session beyond the limit are not guesses.
        let mut first = fixture.session();
        first.expect(format!("CWD {forged}"), 550);
        let mut second = RawSession::connect_from([127, 0, 0, 3].into(), address);
        second.expect_reply(220);
        second.expect("USER u", 331);
        second.expect("PASS p", 421);
        let want: Vec<String> = hostile
            .iter()
            .map(|_| "127.0.0.66".to_owned())
            .chain(["127.0.0.2".to_owned(), "127.0.0.4".to_owned()])
            .collect();
        let lines = log.lines();
        assert_eq!(found(&fail2ban, &lines), want, "JSON: {is_json}: {lines:#?}");
        // Of many refusals a second, one line tells of several.
        let (word, more) = match is_json {
            false => ("reason=credentials", " unsaid=15"),
            true => ("\"reason\":\"credentials\"", ",\"unsaid\":15"),
        };
        let several = lines.iter().map(|line| match line.rsplit_once(word) {
            Some((before, after)) => format!("{before}{word}{more}{after}"),
            None => line.clone(),
        });
        assert_eq!(found(&fail2ban, &several.collect::<Vec<_>>()), want, "JSON: {is_json}");
        // In the format of the journal.
        let journal: Vec<_> =
            lines.iter().map(|line| format!("host ftp-cli[12]: {line}")).collect();
        assert_eq!(found(&fail2ban, &journal), want, "JSON: {is_json}");
    }
}

#[test]
fn fail2ban_finds_ipv6_hosts() {
    let Some(fail2ban) = Peer::find("fail2ban-regex") else { return };
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: there is no IPv6 here");
        return;
    }
    for is_json in [false, true] {
        let log = Log::new();
        let builder = ftp_server::Server::builder().anonymous(ftp_server::Rights::READ);
        let builder = builder.root("/").observer(log.json(is_json));
        let server = builder.bind("[::1]:0").expect("a server");
        refuse(server.local_addr(), "::1", b"x");
        assert_eq!(found(&fail2ban, &log.lines()), ["::1"], "JSON: {is_json}");
    }
}
