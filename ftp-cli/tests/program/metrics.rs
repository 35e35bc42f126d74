//! The metrics of a running server, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use ftp_tests::port::OwnPort;
use ftp_tests::process::{LIMIT, run};
use ftp_tests::raw::RawSession;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;

use crate::config::Configured;
use crate::ftp;

const USERS: &str = "limits.login_delay = \"0 s\"\nlimits.login_failures = 100\n\
    [users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n";

/// Sends a request, and returns the whole answer.
fn asked(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The samples of an answer by their names with labels.
fn samples(answer: &str) -> BTreeMap<String, f64> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    body.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

#[test]
fn metrics_match_the_log_at_scale() {
    let port = OwnPort::claim();
    let text = format!("metrics.listen = \"{}\"\n{USERS}", port.address());
    let configured = Configured::new(&text);
    let mut server = configured.serve();
    let fetch = || {
        let stream = TcpStream::connect(port.address()).unwrap();
        samples(&asked(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
    };
    assert_eq!(fetch()["ftp_sessions"], 0.0);

    let rounds = scale::count(10, 1_430);
    let mut session = RawSession::login(server.address, "u", "p");
    for number in 0..rounds {
        session.upload(format!("STOR f{}", number % 7), &vec![b'x'; number % 50]);
        session.download(format!("RETR f{}", number % 7));
        session.expect("PASV", 227);
        session.expect("RETR missing", 550);
        session.download("NLST");
        let mut failed = RawSession::greeted(server.address);
        failed.expect("USER u", 331);
        failed.expect("PASS wrong", 530);
    }
    wait_until("one session is left", || fetch()["ftp_sessions"] == 1.0);
    session.expect("QUIT", 221);
    wait_until("no session is left", || fetch()["ftp_sessions"] == 0.0);
    let found = fetch();
    server.signal("TERM");
    assert!(server.running.wait(Instant::now() + LIMIT).is_some());
    let log: Vec<String> = server.log.iter().collect();
    let count = |words: &[&str]| {
        let fits = |line: &&String| words.iter().all(|word| line.contains(word));
        log.iter().filter(fits).count() as f64
    };
    // Refusals in quick succession have no line of their own: a later line counts them. Here they
    // are all transfers.
    let unsaid = |line: &String| line.split_once(" unsaid=")?.1.parse::<u32>().ok();
    let unsaid: f64 = log.iter().filter_map(unsaid).map(f64::from).sum();
    let transfers = count(&[" transfer "]) + unsaid;
    assert_eq!(transfers, 4.0 * rounds as f64);
    let received = count(&[" verb=STOR ", " end=fin reply=226"]);
    let sent = count(&[" verb=RETR ", " end=fin reply=226"]) + count(&[" verb=NLST "]);
    let refused = count(&[" verb=RETR ", " end=refused reply=550"]) + unsaid;
    for (name, expected) in [
        ("ftp_logins_total{result=\"accepted\"}", count(&[" login session="])),
        ("ftp_logins_total{result=\"credentials\"}", count(&[" login-refused "])),
        ("ftp_transfers_total{direction=\"received\",end=\"fin\",code=\"226\"}", received),
        ("ftp_transfers_total{direction=\"sent\",end=\"fin\",code=\"226\"}", sent),
        ("ftp_transfers_total{direction=\"sent\",end=\"refused\",code=\"550\"}", refused),
        ("ftp_transfer_seconds_count", transfers),
        // None of them takes an hour.
        ("ftp_transfer_seconds_bucket{le=\"3600\"}", transfers),
        ("ftp_transfer_seconds_bucket{le=\"+Inf\"}", transfers),
    ] {
        assert_eq!(found[name], expected, "{name}: {found:?}");
        assert!(found[name] > 0.0, "{name}");
    }
    let bytes: usize = (0..rounds).map(|number| number % 50).sum();
    assert_eq!(found["ftp_transfer_bytes_total{direction=\"received\"}"], bytes as f64);
    assert_eq!(found["ftp_config_last_reload_success"], 1.0);
    assert_eq!(found["ftp_bans"], 0.0);
    let version = format!("ftp_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(found[&version], 1.0);
    assert!(!found.contains_key("ftp_certificate_expiry_seconds"));
}

#[test]
fn a_unix_socket_answers_only_http() {
    let configured = Configured::new("");
    let socket = configured.here.path().join("metrics");
    let text = format!("metrics.listen = \"unix:{}\"\n{USERS}", socket.display());
    configured.write(&text);
    let served = configured.serve();
    let ask = |request: &str| asked(UnixStream::connect(&socket).unwrap(), request);
    assert!(ask("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("POST /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert_eq!(ask("who\n"), "");
    assert_eq!(ask("\x16\x03\x01"), "");
    let get = "GET /metrics HTTP/1.0\r\n\r\n";
    // A broken file is a failed reload; the next one repairs it.
    for (text, success) in [("[limits]\nx = 1\n", 0.0), (&text, 1.0)] {
        configured.write(text);
        served.signal("HUP");
        wait_until("the reload is counted", || {
            samples(&ask(get))["ftp_config_last_reload_success"] == success
        });
    }
}

#[test]
fn refused_connections_and_bans_are_counted() {
    let configured = Configured::new("");
    let path = |name: &str| configured.here.path().join(name);
    let (socket, control) = (path("metrics"), path("control"));
    configured.write(&format!(
        "metrics.listen = \"unix:{}\"\ncontrol.socket = \"{}\"\nlimits.ban_after = 2\n\
         network.proxy_protocol = [\"127.0.0.1\"]\nnetwork.deny = [\"192.0.2.66\"]\n{USERS}",
        socket.display(),
        control.display(),
    ));
    let mut server = configured.serve();
    let fetch = || {
        let stream = UnixStream::connect(&socket).unwrap();
        samples(&asked(stream, "GET /metrics HTTP/1.0\r\n\r\n"))
    };
    let begin = |first: &str, code: u16| {
        let mut session = RawSession::connect(server.address);
        session.line(first);
        session.expect_reply(code);
        session
    };
    let client = |host: &str, code| begin(&format!("PROXY TCP4 {host} 192.0.2.1 50000 21"), code);
    let mut guessing = client("192.0.2.9", 220);
    for _ in 0..2 {
        guessing.expect("USER u", 331);
        guessing.expect("PASS wrong", 530);
    }
    wait_until("the ban is counted", || fetch()["ftp_bans"] == 1.0);
    let others: Vec<_> = (0..3).map(|_| client("192.0.2.9", 421)).collect();
    drop(client("192.0.2.66", 421));
    drop(begin("USER u", 421));
    let refused = |reason: &str| format!("ftp_refused_connections_total{{reason=\"{reason}\"}}");
    let reasons = [("banned", others.len()), ("denied", 1), ("header", 1)];
    wait_until("the refusals are counted", || {
        let found = fetch();
        reasons.iter().all(|(reason, count)| found.get(&refused(reason)) == Some(&(*count as f64)))
    });
    let unban = run(ftp(&["unban", "::ffff:192.0.2.9", "--control"]).arg(&control)).succeeded();
    assert_eq!(unban, b"bans ended: 1\n");
    wait_until("the end of the ban is counted", || fetch()["ftp_bans"] == 0.0);
    drop(client("192.0.2.9", 220));
    server.signal("TERM");
    assert!(server.running.wait(Instant::now() + LIMIT).is_some());
    assert!(!socket.exists() && !control.exists());
    // At most one line per second for each reason: it counts those before it.
    let log: Vec<String> = server.log.iter().collect();
    for (reason, _) in reasons {
        let line = format!(" reason={reason}");
        let has_line = |text: &String| text.contains("refused peer=") && text.contains(&line);
        assert!(log.iter().any(has_line), "{reason}: {log:?}");
    }
}

#[test]
fn the_dashboard_and_alerts_use_only_documented_metrics() {
    let of_project = |path: &str| {
        let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let documented = of_project("docs/metrics.md");
    let is_documented = |name: &str| {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        [format!("| `{name}`"), format!("| `{name}{{")].iter().any(|row| documented.contains(row))
    };
    for (path, queries) in [("dist/metrics/grafana.json", 12), ("dist/metrics/alerts.yml", 6)] {
        let text = of_project(path);
        let query = |line: &str| {
            let (_, query) = line.split_once("expr\": ").or_else(|| line.split_once("expr: "))?;
            Some(query.to_owned())
        };
        let found: Vec<_> = text.lines().filter_map(query).collect();
        assert_eq!(found.len(), queries, "{path}");
        for query in found {
            let words = query.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
            let names: Vec<_> = words.filter(|word| word.starts_with("ftp_")).collect();
            assert!(!names.is_empty(), "{query}");
            assert!(names.iter().all(|name| is_documented(name)), "{query}");
        }
    }
}
