//! Certificates that change while `serve` runs: SIGHUP, renewal without a signal, and dates.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use ftp_tests::port::OwnPort;
use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::tls::{Authority, Kind, Pair, PairFiles, TlsClient};

use super::{serve, shown};
use crate::config::{Configured, log_until};
use crate::ftp_with_hangup;
use crate::serve::Served;

/// Returns the certificate that a new client sees.
#[track_caller]
fn is_shown(served: &Served, pair: &Pair) {
    let found = shown(served.address, &TlsClient::trusting_any_certificate());
    assert!(found == pair.certificate()[..], "another certificate than was expected");
}

/// Stores a file in a session whose data connections show the certificate of `pair`.
#[track_caller]
fn store_under(session: &mut RawSession, client: &TlsClient, pair: &Pair) {
    let mut data = session.tls_data(client, "STOR file");
    let data_shown = data.shaken().certificate;
    assert_eq!(data_shown.as_deref(), Some(&pair.certificate()[..]), "of its own session");
    data.write_all(b"content").and_then(|()| data.finish()).unwrap();
    drop(data.read_to_its_end());
    session.expect_reply(226);
}

#[test]
fn sighup_loads_a_new_certificate_for_new_connections_tl_26_ht_23() {
    let (home, authority) = (TempRoot::new(), Authority::new());
    let first = authority.issue(Kind::Good);
    let files = first.write(&home, "server");
    // Also without a configuration file.
    let config = home.write("server.toml", b"[timeouts]\nidle = \"5 min\"\n");
    for with_file in [false, true] {
        let _ = first.write(&home, "server");
        let mut command = ftp_with_hangup(&["serve", "--listen", "127.0.0.1:0", "-u", "user:p"]);
        command.args(["--tls-cert", "server.crt", "--tls-key", "server.key"]);
        command.args(["--set", "tls.control=required", "--write", "--set", "tls.watch=0"]);
        if with_file {
            command.arg("--config").arg(&config);
        }
        let root = TempRoot::new();
        let served = Served::of(command.current_dir(home.path()).arg(root.path()));
        is_shown(&served, &first);
        let client = TlsClient::trusting_any_certificate();
        let mut session = RawSession::secure(served.address, &client, "user", "p");
        session.expect("TYPE I", 200);

        // New connections get the new certificate; existing ones continue.
        let second = authority.issue(Kind::Good);
        let _ = second.write(&home, "server");
        served.signal("HUP");
        log_until(&served, "changed: the certificate");
        is_shown(&served, &second);
        store_under(&mut session, &client, &first);
        assert_eq!(root.read("file"), b"content");

        // An invalid certificate changes nothing and is logged.
        let third = authority.issue(Kind::Good).write(&home, "third");
        let expired = authority.issue(Kind::Expired).write(&home, "expired");
        let of = |path: &Path| fs::read(path).unwrap();
        for (certificate, key, words) in [
            (of(&third.certificate), of(&files.key), "server.key does not belong to"),
            (of(&expired.certificate), of(&expired.key), "server.crt expired at 2021"),
            (Vec::new(), of(&third.key), "server.crt is empty"),
            (of(&third.certificate), b"garbage".to_vec(), "no private key in"),
        ] {
            home.write("server.crt", &certificate);
            home.write("server.key", &key);
            served.signal("HUP");
            let said = log_until(&served, "configuration unchanged");
            let last = said.last().unwrap();
            assert!(last.contains(words), "{words}: {said:?}");
            is_shown(&served, &second);
        }
        fs::remove_file(&files.key).unwrap();
        served.signal("HUP");
        let said = log_until(&served, "configuration unchanged");
        assert!(said.last().unwrap().contains("server.key: No such file"), "{said:?}");
        is_shown(&served, &second);
        session.expect_in_step();
    }
}

#[test]
fn an_expired_or_future_certificate_is_used_at_startup_and_reported() {
    for (kind, fault) in [
        (Kind::Expired, "server.crt expired at 2021"),
        (Kind::NotYetValid, "server.crt is not valid before 2100"),
    ] {
        let (configured, authority) = (Configured::new(""), Authority::new());
        let pair = authority.issue(kind);
        let files = pair.write(&configured.here, "server");
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let text = |banner: &str| {
            format!(
                "server.banner = \"{banner}\"\n[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\
                 watch = \"50 ms\"\n[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n"
            )
        };
        configured.write(&text("first"));
        let check = run(&mut configured.command(&["--check"]));
        check.exited(2);
        let said = String::from_utf8(check.stdout).unwrap();
        let line = said.lines().find(|line| line.starts_with("fail  TLS: "));
        let line = line.unwrap_or_else(|| panic!("no fault in {said}"));
        assert!(line.contains(fault) && line.contains("refuse the connection"), "{line}");

        let served = configured.serve();
        is_shown(&served, &pair);
        assert!(served.said.contains(fault), "{}", served.said);
        // A reload changes other settings, and the certificate stays in use.
        configured.write(&text("second"));
        served.signal("HUP");
        log_until(&served, "configuration reloaded");
        assert_eq!(RawSession::greeting(served.address).expect("a greeting").text(), "220 second");
        is_shown(&served, &pair);
        let renewed = authority.issue(Kind::Good);
        let _ = renewed.write(&configured.here, "server");
        log_until(&served, "the certificate has changed");
        is_shown(&served, &renewed);
    }
}

#[test]
fn a_reload_refuses_a_new_expired_certificate() {
    let (configured, authority) = (Configured::new(""), Authority::new());
    let [good, expired] = [(Kind::Good, "good"), (Kind::Expired, "expired")]
        .map(|(kind, name)| authority.issue(kind).write(&configured.here, name));
    let text = |own: &PairFiles, host: Option<&PairFiles>| {
        let keys = |files: &PairFiles| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n")
        };
        let host = host.map(|files| format!("[hosts.\"a.test\"]\n{}", keys(files)));
        let user = "[users.u]\npassword = \"HASH\"\nroot = \"ROOT\"\n";
        format!("[tls]\n{}{}{user}", keys(own), host.unwrap_or_default())
    };
    configured.write(&text(&good, Some(&good)));
    let served = configured.serve();
    for wrong in [text(&expired, Some(&good)), text(&good, Some(&expired))] {
        configured.write(&wrong);
        served.signal("HUP");
        let said = log_until(&served, "configuration unchanged");
        assert!(said.last().unwrap().contains("expired at 2021"), "{said:?}");
    }
    configured.write(&text(&good, None));
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    configured.write(&text(&good, Some(&expired)));
    served.signal("HUP");
    log_until(&served, "configuration unchanged");
}

#[test]
fn a_renewed_certificate_is_loaded_without_a_signal_tl_26() {
    let (home, authority) = (TempRoot::new(), Authority::new());
    let first = authority.issue(Kind::Good);
    // As of certbot: links that lead to the files of the last renewal.
    let lay_out = |name: &str, pair: &Pair| {
        let files = pair.write(&home, name);
        [("live.crt", files.certificate), ("live.key", files.key)]
    };
    let link = |live: &str, file: &Path| {
        std::os::unix::fs::symlink(file, home.join("new")).unwrap();
        fs::rename(home.join("new"), home.join(live)).unwrap();
    };
    for (live, file) in lay_out("first", &first) {
        link(live, &file);
    }
    let metrics = OwnPort::claim();
    let mut command = serve(&home, &["-u", "user:p", "--write", "--set", "tls.watch=50 ms"]);
    command.args(["--tls-cert", "live.crt", "--tls-key", "live.key"]);
    command.arg(format!("--set=metrics.listen={}", metrics.address()));
    let root = TempRoot::new();
    let served = Served::of(command.arg(root.path()));
    assert!(served.said.contains("live.crt expires in "), "{}", served.said);
    let seconds_left = || {
        let mut stream = TcpStream::connect(metrics.address()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let lines: Vec<String> = BufReader::new(stream).lines().map(Result::unwrap).collect();
        let line =
            lines.iter().find_map(|line| line.strip_prefix("ftp_certificate_expiry_seconds "));
        line.unwrap().parse::<i64>().unwrap()
    };
    assert!(seconds_left() > 14 * 86_400);
    let client = TlsClient::trusting_any_certificate();
    let mut session = RawSession::secure(served.address, &client, "user", "p");

    // The certificate comes before its key.
    let second = authority.issue(Kind::EndsSoon);
    let [(crt, certificate), (key_name, key)] = lay_out("second", &second);
    link(crt, &certificate);
    let said = log_until(&served, "the previous certificate stays in use");
    assert!(
        said.last().unwrap().contains("live.key does not belong to the certificate"),
        "{said:?}"
    );
    is_shown(&served, &first);
    link(key_name, &key);
    let said = log_until(&served, "live.crt expires in ");
    assert!(said.iter().any(|line| line.contains("the certificate has changed")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("does not belong")), "told once: {said:?}");
    assert!(said.last().unwrap().contains(" days"), "{said:?}");
    is_shown(&served, &second);
    assert!(seconds_left() < 14 * 86_400);

    // A session continues with the certificate that it began with.
    session.expect("TYPE I", 200);
    store_under(&mut session, &client, &first);

    // Files that are written in place.
    let third = authority.issue(Kind::Good);
    fs::write(home.join("live.crt"), third.certificate_pem()).unwrap();
    fs::write(home.join("live.key"), third.key_pem()).unwrap();
    log_until(&served, "the certificate has changed");
    is_shown(&served, &third);
}
