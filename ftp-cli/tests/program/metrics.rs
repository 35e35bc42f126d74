//! The metrics of a running server, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use ftp_tests::port::OwnPort;
use ftp_tests::process::LIMIT;
use ftp_tests::raw::RawSession;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;

use crate::config::Configured;

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
fn the_counts_are_those_of_the_log_at_scale() {
    let port = OwnPort::claim();
    let text = format!("metrics.listen = \"{}\"\n{USERS}", port.address());
    let configured = Configured::new(&text);
    let mut server = configured.serve();
    let fetch = || {
        let stream = TcpStream::connect(port.address()).unwrap();
        samples(&asked(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
    };
    assert_eq!(fetch()["ftp_sessions"], 0.0);

    let rounds = scale::count(10, 1_250);
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
fn a_unix_socket_answers_what_is_http_and_nothing_else() {
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
fn the_dashboard_and_the_alerts_use_metrics_that_exist() {
    let of_project = |path: &str| {
        let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let documented = of_project("docs/metrics.md");
    let is_documented = |name: &str| {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        [format!("| `{name}`"), format!("| `{name}{{")].iter().any(|row| documented.contains(row))
    };
    for (path, queries) in [("dist/metrics/grafana.json", 12), ("dist/metrics/alerts.yml", 3)] {
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
