//! Servers under TLS, each with one problem; the same matrix as that of networks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;

use ftp_server::{Rights, Server, SessionReuse, Tls, TlsPolicy};
use ftp_tests::at_once::at_once;
use ftp_tests::peer::RealServer;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::tls::{Authority, Kind, Pair, Secured, TlsServer};

use super::scene::{Ours, USER};
use super::talkers::ALERT;
use super::{Found, examined};
use crate::ftp;

/// A server of this project with a certificate.
struct Shown {
    server: Server,
    _root: TempRoot,
}

impl Shown {
    fn with(pair: &Pair, change: impl FnOnce(Tls) -> Tls) -> Self {
        let root = TempRoot::new();
        root.mkdir("in");
        root.write("file", b"12345");
        let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
        let tls = Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let builder = Server::builder().root(root.path()).tls(change(tls));
        let builder = builder.user(USER, "anonymous@", Rights::FULL);
        let builder = builder.user("scanner", "anonymous@", Rights::CREATE);
        Self { server: builder.bind("127.0.0.1:0").unwrap(), _root: root }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.server.local_addr())
    }
}

/// A fault of a server under TLS that no installed server has.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Data ends without close_notify.
    Cut,
    /// TLS on data connections fails on its side.
    Unshaken,
    /// It refuses `PROT P`.
    Refuses,
    /// It never answers `AUTH TLS`.
    Unanswered,
    /// It closes the connection instead of answering `AUTH TLS`.
    Closed,
    /// It agrees to TLS, and then aborts the handshake with an alert.
    Alert,
    /// It agrees to TLS, and then sends nothing more.
    Mute,
}

/// A server with such a fault, which supports passive mode and listings only.
fn faulty(pair: &Pair, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Arc::new(TlsServer::showing(pair));
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let (Ok(tcp), tls) = (tcp, Arc::clone(&tls)) else { return };
            // The result does not matter.
            thread::spawn(move || serve(tcp, &tls, fault).map(drop));
        }
    });
    address
}

fn serve(tcp: TcpStream, tls: &TlsServer, fault: Fault) -> io::Result<()> {
    let mut clear = tcp.try_clone()?;
    clear.write_all(b"220 ready\r\n")?;
    loop {
        match line(&mut clear)? {
            line if line == "AUTH TLS" => match fault {
                Fault::Closed => return Ok(()),
                Fault::Unanswered => return io::copy(&mut clear, &mut io::sink()).map(drop),
                _ => break,
            },
            _ => clear.write_all(b"502 what?\r\n")?,
        }
    }
    clear.write_all(b"234 go on\r\n")?;
    if fault == Fault::Mute {
        return io::copy(&mut clear, &mut io::sink()).map(drop);
    }
    if fault == Fault::Alert {
        // Reads the handshake first: unread bytes would make the close a reset.
        clear.read_exact(&mut [0])?;
        clear.write_all(ALERT)?;
        return io::copy(&mut clear, &mut io::sink()).map(drop);
    }
    let mut control = tls.accept(tcp)?;
    let mut listener = TcpListener::bind("127.0.0.1:0")?;
    loop {
        let command = line(&mut control)?;
        let reply = match command.split(' ').next().unwrap_or_default() {
            "USER" => "331 password".to_owned(),
            "PASS" => "230 in".to_owned(),
            "PROT" if fault == Fault::Refuses => "534 no".to_owned(),
            "PBSZ" | "PROT" | "TYPE" => "200 fine".to_owned(),
            "REST" => "350 go on".to_owned(),
            "ABOR" => "226 aborted".to_owned(),
            "QUIT" => "221 bye".to_owned(),
            verb @ ("EPSV" | "PASV") => {
                listener = TcpListener::bind("127.0.0.1:0")?;
                let port = listener.local_addr()?.port();
                let [high, low] = port.to_be_bytes();
                match verb {
                    "EPSV" => format!("229 here (|||{port}|)"),
                    _ => format!("227 here (127,0,0,1,{high},{low})"),
                }
            }
            "LIST" if fault == Fault::Unshaken => {
                control.write_all(b"150 listing\r\n")?;
                drop(listener.accept()?);
                "522 TLS on the data connection failed".to_owned()
            }
            "LIST" => {
                control.write_all(b"150 listing\r\n")?;
                let mut data = tls.accept(listener.accept()?.0)?;
                data.write_all(b"-rw-r--r-- 1 u g 5 Jan 1 2020 file\r\n")?;
                data.cut()?;
                "226 done".to_owned()
            }
            _ => "502 what?".to_owned(),
        };
        control.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

/// Reads a command line without its line ending.
fn line(from: &mut impl Read) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        from.read_exact(&mut byte)?;
        line.extend(byte);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The problems, the exit code, and words of the best command line.
type Want<'a> = (&'a [&'a str], i32, Option<&'a str>);

#[track_caller]
fn is(name: &str, found: &Found, (wrong, exit, best): Want<'_>) {
    assert!(found.wrong.iter().eq(wrong), "{name}: {wrong:?}: {:?}", found.ran);
    found.ran.exited(exit);
    let words = found.best();
    let is_best = match (&words, best) {
        (Some(words), Some(best)) => words.contains(best),
        (None, None) => true,
        _ => false,
    };
    assert!(is_best, "{name}: {words:?}, not {best:?}");
}

/// An authority, and the file of its certificate.
fn authority(root: &TempRoot) -> (Authority, String) {
    let authority = Authority::new();
    let file = authority.write(root, "authority.pem");
    (authority, file.to_str().unwrap().to_owned())
}

#[test]
fn each_certificate_fault_has_exactly_its_diagnosis_tl_19() {
    let root = TempRoot::new();
    let (authority, file) = authority(&root);
    let kinds = [
        (Kind::Good, (&[][..], 0, Some("ftpes://"))),
        (Kind::EndsSoon, (&["certificate-ends-soon"], 0, Some("ftpes://"))),
        (Kind::Expired, (&["certificate-expired"], 5, None)),
        (Kind::NotYetValid, (&["certificate-not-yet-valid"], 5, None)),
        (Kind::OtherName, (&["certificate-wrong-name"], 5, None)),
        (Kind::OtherUsage, (&["certificate-unusable"], 5, None)),
        (Kind::SelfSigned, (&["certificate-self-signed"], 5, None)),
        (Kind::SelfSignedAuthority, (&["certificate-self-signed"], 5, None)),
    ];
    at_once(4, kinds, |(kind, want)| {
        let pair = authority.issue(kind);
        // Our server does not start with a certificate that is not valid now.
        let shown = match kind {
            Kind::Expired | Kind::NotYetValid => {
                match RealServer::vsftpd_tls(std::net::Ipv4Addr::LOCALHOST, Secured::by(&pair)) {
                    None => return,
                    Some(vsftpd) => Err(vsftpd),
                }
            }
            _ => Ok(Shown::with(&pair, |tls| tls)),
        };
        let url = |scheme: &str| match &shown {
            Ok(ours) => ours.url(scheme),
            Err(vsftpd) => format!("{scheme}://{}/", vsftpd.address),
        };
        let name = format!("{kind:?}");
        let found = examined(&["--ca-file", &file, &url("ftpes")]);
        is(&name, &found, want);
        // Without TLS, the user is told of the problem but not stopped.
        let (wrong, _, _) = want;
        let best = if want.1 == 0 { "ftpes://" } else { "ftp://" };
        let found = examined(&["--ca-file", &file, &url("ftp")]);
        is(&name, &found, (wrong, 0, Some(best)));
        // The cure of the diagnosis works.
        if wrong == ["certificate-self-signed"] {
            let found = examined(&["--pin", &pair.pin(), &url("ftpes")]);
            is(&name, &found, (&[], 0, Some("ftpes://")));
            let seen = examined(&[&url("ftpes")]).seen("certificate");
            assert_eq!(seen, format!("it is self-signed; its pin is {}", pair.pin()));
        }
    });
    let pair = authority.issue(Kind::Good);
    let good = Shown::with(&pair, |tls| tls);
    let found = examined(&[&good.url("ftpes")]);
    is("unknown authority", &found, (&["certificate-unknown-issuer"], 5, None));
    let other = authority.issue(Kind::Good).pin();
    let found = examined(&["--pin", &other, &good.url("ftpes")]);
    is("another pin", &found, (&["certificate-not-pinned"], 5, None));
    assert_eq!(
        found.seen("certificate"),
        format!("its key is not the pinned one; its pin is {}", pair.pin())
    );
}

#[test]
fn each_tls_fault_has_exactly_its_diagnosis() {
    let root = TempRoot::new();
    let (authority, file) = authority(&root);
    let pair = authority.issue(Kind::Good);
    let plain = Ours::start("127.0.0.1:0");
    let at = |scheme: &str| format!("{scheme}://{}/", plain.address());
    is("no TLS", &examined(&[&at("ftpes")]), (&["tls-not-offered"], 5, None));
    is("no TLS at once", &examined(&[&at("ftps")]), (&["plain-on-tls-port"], 5, None));
    is("no TLS wanted", &examined(&[&at("ftp")]), (&[], 0, Some("ftp://")));
    let tried = examined(&["--tls", "try", &at("ftp")]);
    is("TLS tried", &tried, (&[], 0, Some("ftp://")));

    let demanding = Shown::with(&pair, |tls| tls.control(TlsPolicy::Required));
    let found = examined(&["--ca-file", &file, &demanding.url("ftp")]);
    is("TLS demanded", &found, (&["login-needs-tls"], 5, None));

    let faults = [
        (Fault::Cut, (&["no-close-notify"][..], 5, Some("ftpes://"))),
        (Fault::Unshaken, (&["data-tls"], 5, None)),
        (Fault::Refuses, (&["protection-refused"], 5, None)),
        (Fault::Unanswered, (&["tls-broken"], 5, None)),
        (Fault::Closed, (&["connection-lost"], 4, None)),
        (Fault::Alert, (&["tls-handshake"], 5, None)),
        (Fault::Mute, (&["tls-stalls"], 10, None)),
    ];
    at_once(faults.len(), faults, |(fault, want)| {
        let address = faulty(&pair, fault);
        let found = examined(&["--ca-file", &file, &format!("ftpes://{address}/")]);
        is(want.0[0], &found, want);
    });

    let reuse = Shown::with(&pair, |tls| tls.session_reuse(SessionReuse::Require));
    let found = examined(&["--ca-file", &file, &reuse.url("ftpes")]);
    is("reuse demanded by ours", &found, (&["reuse-demanded"], 0, Some("ftpes://")));
    let secured = Secured { reuse: true, ..Secured::by(&pair) };
    let host = std::net::Ipv4Addr::LOCALHOST;
    let vsftpd = RealServer::vsftpd_tls(host, secured).map(|server| ("vsftpd", server));
    let proftpd = RealServer::proftpd_tls(host, secured).map(|server| ("ProFTPD", server));
    for (name, server) in vsftpd.into_iter().chain(proftpd) {
        let url = format!("ftpes://{}@{}/", server.user, server.address).replace("anonymous@", "");
        let mut doctor = super::doctor(&["--ca-file", &file, &url]);
        doctor.envs(url.contains('@').then_some(("FTP_PASSWORD", server.password)));
        let found = Found::of(run(&mut doctor));
        is(name, &found, (&["reuse-demanded"], 0, Some("ftpes://")));
    }
}

#[test]
fn every_check_runs_with_tls_and_no_login_is_sent_in_plaintext() {
    let root = TempRoot::new();
    let (authority, file) = authority(&root);
    let good = Shown::with(&authority.issue(Kind::Good), |tls| tls);
    let found = examined(&["--ca-file", &file, "--upload-dir", "in", &good.url("ftpes")]);
    is("all", &found, (&[], 0, Some("ftpes://")));
    let said = String::from_utf8(found.ran.stdout.clone()).unwrap();
    assert!(!said.contains("\"result\":\"skip\""), "{said}");
    assert!(found.seen("tls").contains("TLS 1.2 and TLS 1.3"), "{said}");
    assert!(found.seen("certificate").contains("; expires on "), "{said}");
    let unverified = examined(&["-k", &good.url("ftpes")]);
    let seen = unverified.seen("certificate");
    assert!(seen.starts_with("not verified (--insecure); its pin is sha256//"), "{seen}");
    for check in ["protection", "reuse", "close-notify"] {
        found.seen(check);
    }
    // If the server is not the expected one, no user name is ever sent.
    let (sent, lines) = mpsc::channel();
    let unknown = super::scene::between(good.server.local_addr(), move |from, line| {
        if matches!(from, super::scene::From::Client) {
            sent.send(line.to_owned()).unwrap();
        }
        Some(if line.starts_with("AUTH") { "NOOP" } else { line }.to_owned())
    });
    let found = examined(&["--ca-file", &file, &format!("ftpes://me:secret@{unknown}/")]);
    assert!(!found.ran.stdout.is_empty() && found.ran.code() == Some(5), "{:?}", found.ran);
    let lines: Vec<String> = lines.try_iter().collect();
    assert!(lines.iter().any(|line| line.starts_with("AUTH")), "{lines:?}");
    let logs_in = |line: &String| line.starts_with("USER") || line.starts_with("PASS");
    assert!(!lines.iter().any(logs_in), "{lines:?}");
}

#[test]
fn without_the_right_to_list_data_tls_checks_are_skipped() {
    let root = TempRoot::new();
    let (authority, file) = authority(&root);
    let good = Shown::with(&authority.issue(Kind::Good), |tls| tls);
    let url = format!("ftpes://scanner:anonymous%40@{}/", good.server.local_addr());
    let found = examined(&["--ca-file", &file, &url]);
    is("a drop box", &found, (&[], 0, Some("ftpes://")));
    let best = found.best().unwrap();
    assert!(best.starts_with("ftp-cli put ") && best.contains(" FILE ftpes://scanner@"), "{best}");
    for check in ["reuse", "close-notify"] {
        assert_eq!(found.seen(check), "this user cannot list files");
    }
}

#[test]
fn offered_tls_that_refuses_the_login_is_not_recommended() {
    let root = TempRoot::new();
    let (authority, file) = authority(&root);
    let half = Shown::with(&authority.issue(Kind::Good), |tls| tls.data(TlsPolicy::Off));
    let found = examined(&["--ca-file", &file, &half.url("ftp")]);
    is("no protected data", &found, (&[], 0, Some(" ftp://")));
    let best = found.best().unwrap();
    run(&mut ftp(&best.split(' ').skip(1).collect::<Vec<_>>())).succeeded();
    assert!(
        found.seen("protection").contains("this login does not work with it: "),
        "{:?}",
        found.ran
    );
}

#[test]
fn the_best_command_keeps_the_requested_tls_options_and_works() {
    let root = TempRoot::new();
    let (authority, file) = authority(&root);
    let pair = authority.issue(Kind::Good);
    let shown = Shown::with(&pair, |tls| tls.control(TlsPolicy::Required));
    let pin = pair.pin();
    for trust in [["--ca-file", &file], ["--pin", &pin]] {
        let url = shown.url("ftp");
        let found = examined(&[&["--tls", "explicit"], &trust[..], &[&url]].concat());
        let best = found.best().unwrap();
        assert_eq!(best, format!("ftp-cli ls -l {} {}", trust.join(" "), shown.url("ftpes")));
        let words: Vec<&str> = best.split(' ').skip(1).collect();
        run(&mut ftp(&words)).succeeded();
    }
}
