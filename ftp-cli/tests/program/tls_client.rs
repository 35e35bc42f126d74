//! Options and URLs of TLS, with servers of other projects.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use ftp_tests::network::in_own_network;
use ftp_tests::peer::{Peer, RealServer};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;
use ftp_tests::terminal::Terminal;
use ftp_tests::tls::{Authority, Kind, Pair, Secured, TlsServer};
use ftp_tests::wait::wait_until;

use crate::peer::Act;
use crate::{failed, ftp};

/// Returns the URL of a name at a server, with this scheme.
fn url(scheme: &str, server: &RealServer, name: &str) -> String {
    server.url(name).replacen("ftp", scheme, 1)
}

#[test]
fn transfers_and_listings_use_tls_cl_65() {
    let (authority, root) = (Authority::new(), TempRoot::new());
    let pair = authority.issue(Kind::Good);
    let ca = authority.write(&root, "ca.pem").into_os_string().into_string().unwrap();
    for (implicit, scheme) in [(false, "ftpes"), (true, "ftps")] {
        let secured = Secured { implicit, reuse: true, ..Secured::by(&pair) };
        let Some(server) = RealServer::vsftpd_tls([127, 0, 0, 1], secured) else { return };
        let local = root.write("a", b"under TLS");
        let local = local.to_str().unwrap();
        let there = url(scheme, &server, "b");
        run(&mut ftp(&["put", "--ca-file", &ca, local, &there])).succeeded();
        assert_eq!(server.root.read("b"), b"under TLS");
        let got = run(&mut ftp(&["get", "--ca-file", &ca, &there, "-"])).succeeded();
        assert_eq!(got, b"under TLS");
        let listed = run(&mut ftp(&["ls", "--pin", &pair.pin(), &url(scheme, &server, "")]));
        assert_eq!(listed.succeeded(), b"b\n");

        let said = run(&mut ftp(&["get", "-v", "--ca-file", &ca, &there, "-"]));
        let words = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(words.contains("TLS 1.3") && words.contains(&pair.pin()), "{words}");
        assert!(words.contains("session resumed"), "{words}");
        let said = run(&mut ftp(&["get", "--trace", "--ca-file", &ca, &there, "-"]));
        let words = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(words.contains("= TLS 1.3"), "{words}");
        assert!(words.contains("= data connection: TLS 1.3, session resumed"), "{words}");
    }
}

#[test]
fn option_tls_applies_to_ftp_urls_cl_65_tl_21() {
    let pair = Authority::new().issue(Kind::Good);
    let Some(explicit) = RealServer::vsftpd_tls([127, 0, 0, 1], Secured::by(&pair)) else { return };
    explicit.root.write("a", b"1");
    let pin = pair.pin();
    for option in ["explicit", "try"] {
        let got = run(&mut ftp(&["get", "--tls", option, "--pin", &pin, &explicit.url("a"), "-"]));
        if option == "try" {
            // A server that only refuses TLS would get the password.
            failed(&got, 2, "--pin needs TLS; use --tls explicit, not try");
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&got.stderr), "", "{option}");
        assert_eq!(got.succeeded(), b"1");
    }
    // A server without TLS. It answers 530, which does not mean that it does not know the command.
    let Some(clear) = RealServer::vsftpd() else { return };
    clear.root.write("a", b"1");
    for option in ["try", "explicit"] {
        let refused = run(&mut ftp(&["get", "--tls", option, &clear.url("a"), "-"]));
        failed(&refused, 5, "refuses TLS: 530");
        let helps = String::from_utf8_lossy(&refused.stderr).contains("--tls off");
        assert_eq!(helps, option == "try", "{refused:?}");
    }
    failed(&run(&mut ftp(&["get", &url("ftpes", &clear, "a"), "-"])), 5, "refuses TLS");
}

#[test]
fn only_tls_try_falls_back_to_plaintext_tl_20_tl_21_hc_26() {
    let server = OurServer::start();
    server.root.write("a", b"1");
    let there = server.url("a");
    let got = run(&mut ftp(&["get", "--tls", "try", &there, "-"]));
    let words = String::from_utf8_lossy(&got.stderr).into_owned();
    assert!(words.contains("warning: the server refuses TLS (502 "), "{words}");
    assert_eq!(got.succeeded(), b"1");
    let got = run(&mut ftp(&["get", "-q", "--tls", "try", &there, "-"]));
    assert_eq!(String::from_utf8_lossy(&got.stderr), "");
    for line in [["--tls", "explicit", &there], ["-q", "-v", &there.replacen("ftp", "ftpes", 1)]] {
        failed(&run(ftp(&["get"]).args(line).arg("-")), 5, "the server refuses TLS: 502 ");
    }
}

#[test]
fn an_untrusted_certificate_exits_with_5_and_names_its_pin_tl_19_tl_19a_li_06() {
    let authority = Authority::new();
    let root = TempRoot::new();
    let ca = authority.write(&root, "ca.pem").into_os_string().into_string().unwrap();
    for kind in [Kind::SelfSignedAuthority, Kind::Expired, Kind::OtherName] {
        let pair = authority.issue(kind);
        let Some(server) = RealServer::vsftpd_tls([127, 0, 0, 1], Secured::by(&pair)) else {
            return;
        };
        server.root.write("a", b"1");
        let there = url("ftpes", &server, "a");
        // Whatever the command, the pin alone proves nothing.
        for command in [&["get", &there, "-"][..], &["ls", &there], &["mirror", ".", &there]] {
            let ran = run(ftp(command).args(["--ca-file", &ca]));
            let advice = match kind {
                Kind::OtherName => "; if elsewhere.example.invalid is the operator's name",
                _ => "; ask the server's operator to confirm this pin, then use it with --pin",
            };
            failed(&ran, 5, &format!("; the pin of its key is {}{advice}", pair.pin()));
        }
        for more in [&["--pin", &pair.pin()][..], &["--insecure"]] {
            let mut line = vec!["get"];
            line.extend(more);
            line.extend([there.as_str(), "-"]);
            let got = run(&mut ftp(&line));
            let warned = String::from_utf8_lossy(&got.stderr).contains("warning: --insecure");
            assert_eq!(warned, more == ["--insecure"], "{got:?}");
            assert_eq!(got.succeeded(), b"1", "{kind:?} {more:?}");
        }
        let other = authority.issue(Kind::Good).pin();
        let got = run(&mut ftp(&["get", "--pin", &other, &there, "-"]));
        failed(&got, 5, "not the pinned one");
        failed(&got, 5, &pair.pin());
        // After a change, the new key may be that of an attacker.
        failed(&got, 5, "or the connection is intercepted: ask the server's operator");
        let said = String::from_utf8_lossy(&got.stderr).into_owned();
        assert!(!said.contains("confirm this pin"), "{said}");
    }
}

/// A server of this project under TLS.
fn ours(host: Ipv4Addr, pair: &Pair) -> OurServer {
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    let tls = ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    OurServer::at(host, ftp_server::Server::builder().tls(tls), ftp_server::Rights::FULL)
}

#[test]
fn certificates_of_system_cas_are_trusted_tl_19() {
    let (authority, root) = (Authority::new(), TempRoot::new());
    let server = ours(Ipv4Addr::LOCALHOST, &authority.issue(Kind::Good));
    server.root.write("a", b"1");
    let there = server.url("a").replacen("ftp", "ftpes", 1);
    let get = |trusted| run(ftp(&["get", &there, "-"]).env("SSL_CERT_FILE", trusted));
    assert_eq!(get(authority.write(&root, "ca.pem")).succeeded(), b"1");
    let other = get(Authority::new().write(&root, "other.pem"));
    failed(&other, 5, "its issuer is not trusted");
    let none = get(root.join("none.pem"));
    failed(&none, 5, "its issuer is not trusted (this system has no CA certificates: install ");
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(said.contains("; the pin of its key is sha256//"), "{said}");
}

#[test]
fn a_plaintext_password_to_a_public_address_causes_one_warning_li_13() {
    let test = "tls_client::a_plaintext_password_to_a_public_address_causes_one_warning_li_13";
    let host = Ipv4Addr::new(198, 51, 100, 7);
    if !in_own_network(test, &[&host.to_string()]) {
        return;
    }
    let pair = Authority::new().issue(Kind::Good);
    let server = ours(host, &pair);
    server.root.write("a", b"1");
    let clear = server.url("a");
    let secure = clear.replacen("ftp", "ftpes", 1);
    let pin = ["--pin", &pair.pin()];
    for (url, options, times) in [(&clear, &[][..], 1), (&clear, &["-q"], 0), (&secure, &pin, 0)] {
        let mut get = ftp(&["get", url, "-"]);
        let (status, shown) = Terminal::start(get.args(options)).end();
        assert!(status.success(), "{shown}");
        let warning = format!("the password is sent to {host} unencrypted; use ftpes://");
        assert_eq!(shown.matches(&warning).count(), times, "{url} {options:?}: {shown}");
        // Without a terminal there is no warning.
        let got = run(ftp(&["get", url, "-"]).args(options));
        assert!(!String::from_utf8_lossy(&got.stderr).contains("unencrypted"), "{got:?}");
        assert_eq!(got.succeeded(), b"1");
    }
}

/// Calls of a transfer, each with an error that it can have.
const CALLS: &[(&str, &str)] = &[
    ("socket", "EMFILE"),
    ("connect", "ECONNREFUSED"),
    ("setsockopt", "ENOMEM"),
    ("getsockopt", "ENOMEM"),
    ("poll", "ENOMEM"),
    ("poll", "EINTR"),
    ("recvfrom", "ECONNRESET"),
    ("recvfrom", "EINTR"),
    ("sendto", "EPIPE"),
    ("writev", "ECONNRESET"),
    ("writev", "EINTR"),
    ("shutdown", "ENOTCONN"),
    ("fsync", "EIO"),
];

#[test]
fn no_failing_system_call_under_tls_leaves_a_partial_file_at_scale_go_06() {
    let Some(strace) = Peer::find("strace") else { return };
    let authority = Authority::new();
    let pair = authority.issue(Kind::Good);
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    let tls = ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = OurServer::built(ftp_server::Server::builder().tls(tls));
    let (here, etc) = (TempRoot::new(), TempRoot::new());
    let content = ftp_tests::content::binary(700_000, 3);
    let (local, log) = (here.join("a"), etc.join("log"));
    let there = server.url("a").replacen("ftp", "ftpes", 1);
    // The first few of each kind are enough.
    let most = ftp_tests::scale::count(3, 1_000);
    let mut failed = 0;
    for verb in ["get", "put"] {
        for (call, error) in CALLS {
            for n in 1..=most {
                // The session of the former client may still publish or remove a file.
                wait_until("the end of the session", || server.server.sessions().is_empty());
                server.clear();
                let _ = std::fs::remove_file(&local);
                match verb {
                    "get" => drop(server.root.write("a", &content)),
                    _ => drop(here.write("a", &content)),
                }
                let mut command = strace.command();
                command.args(["-f", "-qq", "-o"]).arg(&log);
                command.args(["-e", &format!("trace={call}"), "-e"]);
                command.arg(format!("inject={call}:error={error}:when={n}"));
                command.args([env!("CARGO_BIN_EXE_ftp-cli"), verb, "--pin", &pair.pin()]);
                command.args(["--connect-timeout", "5s", "--reply-timeout", "5s"]);
                match verb {
                    "get" => command.arg(&there).arg(&local),
                    _ => command.arg(&local).arg(&there),
                };
                let ran = run(&mut command);
                let case = format!("{verb}: {call} {n} {error}: {ran:?}");
                let arrived = match verb {
                    "get" => local.is_file().then(|| here.read("a")),
                    _ => server.root.join("a").is_file().then(|| server.root.read("a")),
                };
                match ran.code() {
                    Some(0) => assert!(arrived.as_ref() == Some(&content), "{case}"),
                    // No panic, and no partial file under the name.
                    Some(1..=14) => {
                        failed += 1;
                        assert!(arrived.is_none_or(|arrived| arrived == content), "{case}");
                    }
                    _ => panic!("{case}"),
                }
                if !String::from_utf8_lossy(&etc.read("log")).contains("INJECTED") {
                    break;
                }
            }
        }
    }
    assert!(failed > 20, "{failed} runs failed");
}

#[test]
fn a_tls_session_ended_by_plaintext_is_retried_and_quoted_li_06() {
    let pair = Authority::new().issue(Kind::Good);
    let tls = TlsServer::showing(&pair);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ftpes://u:p@{}/new", listener.local_addr().unwrap());
    // Each session ends at its first command after the login, except the fourth.
    let server = thread::spawn(move || {
        for session in 1..=4 {
            let (mut control, _) = listener.accept().unwrap();
            control.write_all(b"220 ready\r\n").unwrap();
            let mut lines = BufReader::new(control.try_clone().unwrap());
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            assert_eq!(line, "AUTH TLS\r\n");
            control.write_all(b"234 go on\r\n").unwrap();
            let mut control = BufReader::new(tls.accept(control).unwrap());
            loop {
                let mut line = String::new();
                if control.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                let reply = match line.split([' ', '\r']).next().unwrap() {
                    "USER" => "331 password",
                    "PASS" => "230 in",
                    "PBSZ" | "PROT" => "200 fine",
                    "MKD" if session == 4 => "257 \"new\" created",
                    "QUIT" => "221 bye",
                    _ => {
                        control.get_mut().inject(b"500 OOPS: child died\r\n").unwrap();
                        break;
                    }
                };
                control.get_mut().write_all(format!("{reply}\r\n").as_bytes()).unwrap();
            }
        }
    });
    let oops = "unencrypted text: \"500 OOPS: child died\"";
    let mkdir = ["mkdir", "--pin", &pair.pin(), &url];
    failed(&run(&mut ftp(&mkdir)), 4, oops);
    let ran = run(ftp(&mkdir).args(["--retry", "5", "--retry-delay", "0s"]));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains(oops) && said.contains("attempt 3 of 6"), "{said}");
    ran.exited(0);
    server.join().unwrap();
}

#[test]
fn a_server_that_demands_tls_is_not_asked_again_and_the_option_is_named_li_06() {
    for (verb, reply) in [
        ("USER", "530 Non-anonymous sessions must use encryption."),
        ("PASS", "530 Non-anonymous sessions must use encryption."),
        ("USER", "550 SSL/TLS required on the control channel"),
        ("USER", "421 Sorry, cleartext sessions and weak ciphers are not accepted on this server."),
        ("USER", "503 Use AUTH first."),
        ("USER", "534 Policy requires SSL."),
    ] {
        let peer = crate::peer::Peer::start_several(vec![vec![(verb, Act::Say(reply))]; 4]);
        let url = peer.url("x").replace("ftp://", "ftp://u:p@");
        let ran = run(&mut ftp(&["get", "--retry", "3", "--retry-delay", "0s", &url, "-"]));
        failed(&ran, 5, "the server requires TLS: use ftpes:// or --tls explicit");
        assert_eq!(peer.seen().matches("USER").count(), 1, "{reply}");
    }
    // Under TLS, or without such a text, the code decides.
    let peer = crate::peer::Peer::start(&[("PASS", Act::Say("530 Login authentication failed"))]);
    let url = peer.url("x").replace("ftp://", "ftp://u:p@");
    let ran = run(&mut ftp(&["get", &url, "-"]));
    failed(&ran, 6, "authentication failed");
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("ftpes"), "{ran:?}");
}

#[test]
fn refused_plaintext_data_connections_do_not_suggest_active_mode_li_06() {
    let no = "522 SSL/TLS required on the data channel";
    let peer = crate::peer::Peer::start(&[("EPSV", Act::Say(no)), ("PASV", Act::Say(no))]);
    let ran = run(&mut ftp(&["get", &peer.url("x"), "-"]));
    failed(&ran, 5, "use ftpes:// without --tls-data clear");
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("--active"), "{ran:?}");
}

#[test]
fn the_wrong_kind_of_tls_names_the_other_scheme_li_06() {
    // Implicit TLS, at a server that greets.
    let peer = crate::peer::Peer::start(&[]);
    let url = peer.url("x").replace("ftp://", "ftps://");
    failed(&run(&mut ftp(&["get", "-k", &url, "-"])), 5, "use ftpes:// (explicit TLS) or ftp://");
    // Plaintext, at a server that waits for a handshake.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["ftp", "ftpes"] {
        let url = format!("{scheme}://{address}/x");
        let ran = run(&mut ftp(&["get", "--reply-timeout", "300ms", &url, "-"]));
        failed(&ran, 10, "if this port is for implicit TLS, use ftps://");
    }
}
