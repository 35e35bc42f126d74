//! `serve` with TLS: the certificates it accepts, and the one it creates.

mod reload;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use ftp_server::PasswordHash;
use ftp_tests::peer::Peer;
use ftp_tests::process::{Running, run};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::tls::{Authority, Kind, Pair, TlsClient, Version};
use ftp_tests::wait::at_last;

use crate::config::log_until;
use crate::serve::Served;
use crate::{failed, ftp};

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary names are text")
}

/// Returns `serve` with the state directory `home`.
/// `served` in the current directory is the place for files.
fn serve(home: &TempRoot, arguments: &[&str]) -> Command {
    fs::create_dir_all(home.join("served")).unwrap();
    let mut command = ftp(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(arguments).env_remove("STATE_DIRECTORY").env_remove("XDG_STATE_HOME");
    command.env("HOME", home.path()).current_dir(home.path());
    command
}

/// Returns the certificate of the server at `address` after `AUTH TLS`.
#[track_caller]
fn shown(address: SocketAddr, client: &TlsClient) -> Vec<u8> {
    let mut session = RawSession::greeted(address);
    session.start_tls(client).certificate.expect("a server shows one")
}

#[test]
fn an_invalid_certificate_or_key_is_refused_with_file_and_reason() {
    let (home, authority) = (TempRoot::new(), Authority::new());
    let good = authority.issue(Kind::Good).write(&home, "good");
    let other = authority.issue(Kind::Good).write(&home, "other");
    let expired = authority.issue(Kind::Expired).write(&home, "expired");
    let early = authority.issue(Kind::NotYetValid).write(&home, "early");
    let empty = home.write("empty", b"");
    let blank = home.write("blank", b" \n\n");
    let garbage = home.write("garbage", b"\x00\xffno PEM at all\n");
    let cut = fs::read(&good.certificate).unwrap();
    let cut = home.write("cut", &cut[..cut.len() / 2]);
    let der = home.write("der", &authority.certificate());
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = home.write("broken", broken);
    let broken_key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let broken_key = home.write("broken.key", broken_key);
    let locked = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
        DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let locked = home.write("locked.key", locked);
    // A pipe without a writer.
    let pipe = home.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (missing, directory) = (home.join("missing"), home.mkdir("directory"));
    let (certificate, key) = (&good.certificate, &good.key);
    for (certificate, key, culprit, reason) in [
        (certificate, &other.key, &other.key, "does not belong to the certificate"),
        (&expired.certificate, &expired.key, &expired.certificate, "expired at 20210101"),
        (&early.certificate, &early.key, &early.certificate, "not valid before 21000101"),
        (&missing, key, &missing, "No such file"),
        (certificate, &missing, &missing, "No such file"),
        (&directory, key, &directory, "Is a directory"),
        (certificate, &directory, &directory, "Is a directory"),
        (&empty, key, &empty, "is empty"),
        (certificate, &empty, &empty, "is empty"),
        (&blank, key, &blank, "is empty"),
        (&garbage, key, &garbage, "no certificate in"),
        (certificate, &garbage, &garbage, "no private key in"),
        (&der, key, &der, "no certificate in"),
        (&cut, key, &cut, "the file is truncated"),
        (&pipe, key, &pipe, "is empty"),
        (certificate, &pipe, &pipe, "is empty"),
        (certificate, &locked, &locked, "only an encrypted private key"),
        (key, key, key, "no certificate in"),
        (certificate, certificate, certificate, "no private key in"),
        (&broken, key, &broken, "cannot use"),
        (certificate, &broken_key, &broken_key, "cannot use"),
    ] {
        let ran =
            run(serve(&home, &["--tls-cert", text(certificate), "--tls-key", text(key)])
                .arg("served"));
        let what = format!("{} {}", certificate.display(), key.display());
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(said.contains(text(culprit)) && said.contains(reason), "{what}: {said}");
        assert!(!said.contains("listening"), "{what}: {said}");
        failed(&ran, 2, "TLS: ");
        // The same with --check.
        let check = ["--check", "--tls-cert", text(certificate), "--tls-key", text(key)];
        let ran = run(serve(&home, &check).arg("served"));
        ran.exited(2);
        let said = String::from_utf8(ran.stdout).unwrap();
        let line = said.lines().find(|line| line.starts_with("fail  TLS: "));
        assert!(line.is_some_and(|line| line.contains(reason)), "{what}: {said}");
    }
    let unreadable = authority.issue(Kind::Good).write(&home, "unreadable");
    fs::set_permissions(&unreadable.key, fs::Permissions::from_mode(0o000)).unwrap();
    // Root can read it in any case.
    if fs::read(&unreadable.key).is_err() {
        let pair =
            ["--tls-cert", text(&unreadable.certificate), "--tls-key", text(&unreadable.key)];
        failed(&run(serve(&home, &pair).arg("served")), 2, "unreadable.key: Permission denied");
    }
    // Half a pair, or two pairs.
    for (arguments, words) in [
        (&["--tls-cert", "good.crt"][..], "tls.certificate: needs tls.key"),
        (&["--tls-key", "good.key"], "tls.key: needs tls.certificate"),
        (
            &["--tls-cert", "good.crt", "--tls-key", "good.key", "--tls-self-signed"],
            "tls.self_signed: cannot be combined with tls.certificate",
        ),
        (&["--listen-tls", "0"], "listen.implicit_tls: needs tls.certificate"),
    ] {
        failed(&run(serve(&home, arguments).arg("served")), 2, words);
    }
}

#[test]
fn check_reports_doubtful_certificates_and_keys() {
    let (home, authority) = (TempRoot::new(), Authority::new());
    let check = |kind, more: &[&str]| {
        let pair = authority.issue(kind);
        let files = pair.write(&home, "server");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o604)).unwrap();
        let mut command = serve(&home, &["--check", "-v", "--tls-cert", "server.crt"]);
        command.args(["--tls-key", "server.key"]).args(more);
        let said = String::from_utf8(run(command.arg("served")).succeeded()).unwrap();
        (pair.pin(), said)
    };
    let at = home.join("server.crt");
    let line = |kind: &str, rest: &str| format!("{kind:<5} {}{rest}", at.display());
    let (pin, said) = check(Kind::Good, &[]);
    let good = line("ok", &format!(" is valid; clients can use --pin {pin}"));
    assert!(said.lines().any(|line| line == good), "{said}");
    let key = format!("warn  {}: all users", home.join("server.key").display());
    assert!(said.lines().any(|line| line.starts_with(&key)), "{said}");
    assert!(said.contains(&line("ok", " expires in ")), "{said}");
    assert!(!said.contains("renew it") && !said.contains("does not name"), "{said}");
    let (_, said) = check(Kind::EndsSoon, &[]);
    // A second may decide between four and five days.
    let soon = |what_to_do: &str| {
        [4, 5].map(|days| line("warn", &format!(" expires in {days} days; {what_to_do}\n")))
    };
    let will_notice = soon("renew it; the server will load the new one");
    assert!(will_notice.iter().any(|soon| said.contains(soon)), "{said}");
    let (_, said) = check(Kind::EndsSoon, &["--set", "tls.watch=0"]);
    let needs_signal = soon("renew it, then send SIGHUP");
    assert!(needs_signal.iter().any(|soon| said.contains(soon)), "{said}");
    // The certificate does not contain the host's name.
    let names = ["--set", "hosts.names=ftp.example.invalid,ftp.example.org"];
    let (_, said) = check(Kind::Good, &names);
    let why = ": clients that verify certificate names will refuse this \
               certificate; install a certificate that contains all these names";
    assert!(
        said.contains(&line("warn", &format!(" does not name ftp.example.org{why}"))),
        "{said}"
    );
    let names =
        ["--passive-address", "192.0.2.1", "--set", "hosts.names=elsewhere.example.invalid"];
    let (_, said) = check(Kind::OtherName, &names);
    assert!(said.contains(&line("warn", &format!(" does not name 192.0.2.1{why}"))), "{said}");
    // Clients usually know only the root.
    let lacks = line("warn", " lacks the certificate of its issuer: ");
    assert!(said.contains(&lacks), "{said}");
    assert!(!check(Kind::SelfSigned, &[]).1.contains(&lacks));
    let own = authority.issue(Kind::Good).write(&home, "server").certificate;
    let issuer = fs::read(authority.write(&home, "issuer")).unwrap();
    fs::write(&at, [fs::read(own).unwrap(), issuer].concat()).unwrap();
    let mut command = serve(&home, &["--check", "--tls-cert", "server.crt"]);
    let said = run(command.args(["--tls-key", "server.key", "served"])).succeeded();
    assert!(!String::from_utf8(said).unwrap().contains(&lacks));
}

#[test]
fn a_self_signed_certificate_is_generated_once_and_kept() {
    let (home, root) = (TempRoot::new(), TempRoot::new());
    let file = home.join(".local/state/ftp-cli/self-signed.pem");
    let pin = |served: &Served| {
        let line = served.said.lines().find(|line| line.contains("--pin sha256//")).unwrap();
        line.rsplit_once(' ').unwrap().1.to_owned()
    };
    // The check creates nothing.
    let check = || {
        let ran = run(serve(&home, &["--check", "-v", "--tls-self-signed"]).arg(root.path()));
        String::from_utf8(ran.succeeded()).unwrap()
    };
    let said = check();
    let will = format!("create a certificate and keep it in {}", file.display());
    assert!(said.contains(&will) && !file.exists(), "{said}");

    let arguments = ["--tls-self-signed", "--set", "hosts.names=nas.example.invalid"];
    let served = Served::of(serve(&home, &arguments).arg(root.path()));
    let first = pin(&served);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let parent = file.parent().unwrap();
    assert_eq!(fs::metadata(parent).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(parent).unwrap().count(), 1, "no temporary file stays");
    let certificate = shown(served.address, &TlsClient::trusting_any_certificate());
    let content = fs::read(&file).unwrap();
    drop(served);

    let served = Served::of(serve(&home, &["--tls-self-signed"]).arg(root.path()));
    assert_eq!(pin(&served), first);
    assert_eq!(shown(served.address, &TlsClient::trusting_any_certificate()), certificate);
    assert_eq!(fs::read(&file).unwrap(), content);
    assert!(
        check().contains(&format!("{} is valid; clients can use --pin {first}", file.display()))
    );
    // A damaged file is not replaced: clients may have pinned its key.
    fs::write(&file, b"garbage").unwrap();
    let ran = run(serve(&home, &["--tls-self-signed"]).arg(root.path()));
    let damaged = format!("TLS: {} is damaged: no certificate in", file.display());
    failed(&ran, 2, &damaged);
    // There is no state directory.
    let mut nowhere = serve(&home, &["--tls-self-signed"]);
    failed(
        &run(nowhere.env_remove("HOME").arg(root.path())),
        2,
        "no directory for the certificate",
    );
    let mut elsewhere = serve(&home, &["--tls-self-signed"]);
    elsewhere.env("STATE_DIRECTORY", home.join("of systemd")).arg(root.path());
    assert_ne!(pin(&Served::of(&mut elsewhere)), first);
    assert!(home.join("of systemd/self-signed.pem").is_file());
}

#[test]
fn check_warns_of_an_expiring_host_certificate_with_tls_self_signed() {
    let (home, authority) = (TempRoot::new(), Authority::new());
    let pair = authority.issue(Kind::EndsSoon).write(&home, "host");
    drop(Served::of(serve(&home, &["--tls-self-signed"]).arg("served")));
    let mut check = serve(&home, &["--check", "--tls-self-signed"]);
    for (key, path) in [("certificate", &pair.certificate), ("key", &pair.key)] {
        check.args(["--set", &format!("hosts.localhost.{key}={}", path.display())]);
    }
    let said = String::from_utf8(run(check.arg("served")).succeeded()).unwrap();
    let soon = format!("warn  {} expires in ", pair.certificate.display());
    assert!(said.contains(&soon), "{said}");
    assert_eq!(said.matches(" expires in ").count(), 1, "{said}");
}

#[test]
fn a_separate_port_serves_implicit_tls_tl_03() {
    let (home, root) = (TempRoot::new(), TempRoot::new());
    root.write("file", b"content");
    let mut command = ftp(&["serve", "--listen-tls", "127.0.0.1:0", "--tls-self-signed"]);
    command.env("HOME", home.path()).args(["-u", "user:p"]).arg(root.path());
    let mut running = Running::start(command.stderr(Stdio::piped()).stdin(Stdio::null()));
    let mut lines = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let address: SocketAddr = loop {
        let line = lines.next().expect("serve says more").unwrap();
        if let Some((_, at)) = line.split_once("listening with implicit TLS on ") {
            break at.parse().unwrap();
        }
        said.push(line);
    };
    let in_clear = |line: &String| line.contains("listening on");
    assert!(!said.iter().any(in_clear), "no other port is opened: {said:?}");
    let client = TlsClient::trusting_any_certificate();
    let mut session = RawSession::implicit(address, &client);
    session.expect("USER user", 331);
    session.expect("PASS p", 230);
    // PBSZ and PROT are not needed.
    assert_eq!(session.tls_download(&client, "RETR file"), b"content");
}

#[test]
fn plaintext_login_is_refused_when_tls_is_required_tl_02() {
    let (home, root) = (TempRoot::new(), TempRoot::new());
    let hash = PasswordHash::new(b"p").unwrap();
    let user = |name: &str, tls: &str| {
        let root = text(root.path());
        format!("[users.{name}]\npassword = \"{hash}\"\nroot = \"{root}\"\ntls = \"{tls}\"\n")
    };
    let text = user("open", "optional") + &user("closed", "required");
    home.write("server.toml", text.as_bytes());
    let arguments = ["--config", "server.toml", "--tls-self-signed"];
    let client = TlsClient::trusting_any_certificate();
    let said = |served: &Served, name: &str, secure: bool| {
        let mut session = RawSession::greeted(served.address);
        if secure {
            session.start_tls(&client);
        }
        let reply = session.ask(format!("USER {name}"));
        if reply.code == 331 { session.ask("PASS p").code } else { reply.code }
    };
    let served = Served::of(&mut serve(&home, &arguments));
    assert_eq!([said(&served, "open", false), said(&served, "open", true)], [230, 230]);
    assert_eq!([said(&served, "closed", false), said(&served, "closed", true)], [534, 230]);
    // TLS is required from all users, except from exempt networks.
    for (exempt, want) in [("192.0.2.0/24", 534), ("127.0.0.0/8", 230)] {
        let exempt = format!("tls.exempt={exempt}");
        let more = ["--set", "tls.control=required", "--set", &exempt];
        let served = Served::of(&mut serve(&home, &[&arguments[..], &more].concat()));
        assert_eq!([said(&served, "open", false), said(&served, "open", true)], [want, 230]);
    }
}

#[test]
fn client_certificates_authenticate_users_as_configured_tl_25() {
    let (home, root, authority) = (TempRoot::new(), TempRoot::new(), Authority::new());
    let files = authority.issue(Kind::Good).write(&home, "server");
    let ca = authority.write(&home, "ca.pem");
    let (certificate, key) = (text(&files.certificate), text(&files.key));
    let ca_file = format!("tls.client_ca={}", text(&ca));
    let pair = ["--tls-cert", certificate, "--tls-key", key, "-u", "joe:p", "-u", "ann:p"];
    let serving = |settings: &[&str]| {
        let mut command = serve(&home, &pair);
        command.args(["--set", &ca_file]).args(settings.iter().flat_map(|set| ["--set", set]));
        Served::of(command.arg(root.path()))
    };
    let joe = authority.issue(Kind::Client("joe"));
    let stranger = Authority::new().issue(Kind::Client("joe"));
    // Returns whether the handshake succeeds, and the reply to the right password of `user`.
    let login = |served: &Served, user: &str, shown: Option<&Pair>| {
        let client = TlsClient::trusting(&authority).version(Version::V1_2);
        let client = shown.map_or(client.clone(), |pair| client.certificate(pair));
        let mut session = RawSession::greeted(served.address);
        session.expect("AUTH TLS", 234);
        let tls = client.connect(session.stream().try_clone().unwrap()).ok()?;
        session.put_on(Box::new(tls));
        let reply = session.ask(format!("USER {user}"));
        Some(if reply.code == 331 { session.ask("PASS p").code } else { reply.code })
    };
    let served = serving(&[]);
    assert_eq!(login(&served, "joe", None), Some(230));
    assert_eq!(login(&served, "ann", Some(&joe)), Some(230));
    assert_eq!(login(&served, "joe", Some(&stranger)), None);
    let served = serving(&["tls.client_certificates=required"]);
    assert_eq!(login(&served, "joe", None), None);
    assert_eq!(login(&served, "ann", Some(&joe)), Some(230));
    let served = serving(&["tls.cert_user=true"]);
    assert_eq!(login(&served, "joe", Some(&joe)), Some(230));
    assert_eq!(login(&served, "ann", Some(&joe)), Some(530));
    assert_eq!(login(&served, "joe", None), Some(530));
    // An invalid CA file is refused at startup.
    for (content, words) in [(&b""[..], "ca.pem is empty"), (b"x", "no certificate in")] {
        home.write("ca.pem", content);
        let ran = run(serve(&home, &pair).args(["--set", &ca_file]).arg(root.path()));
        failed(&ran, 2, words);
    }
}

#[test]
fn a_stalled_handshake_ends_at_its_timeout_ht_11_tl_12() {
    let (home, root) = (TempRoot::new(), TempRoot::new());
    let arguments = ["--tls-self-signed", "-u", "user:p", "--set", "timeouts.tls_handshake=500ms"];
    let served = Served::of(serve(&home, &arguments).arg(root.path()));
    let client = TlsClient::trusting_any_certificate();
    let hello = client.hello();
    for said in [&[][..], &hello[..1], &hello[..hello.len() - 1]] {
        let mut session = RawSession::greeted(served.address);
        session.expect("AUTH TLS", 234);
        // On a busy machine, the server may have closed it already.
        let _ = session.try_send(said);
        session.expect_closed();
    }
    // Nor may a whole handshake take longer.
    let mut session = at_last("a quick handshake", || {
        let mut session = RawSession::greeted(served.address);
        session.expect("AUTH TLS", 234);
        let tls = client.connect(session.stream().try_clone().unwrap()).ok()?;
        session.put_on(Box::new(tls));
        session.try_send("USER user\r\n").ok()?;
        (session.try_reply().ok()?.code == 331).then_some(session)
    });
    session.expect("PASS p", 230);
    session.protect();
    let silent = session.passive();
    session.expect("LIST", 150);
    let _ = silent.stream().write_all(&hello[..1]);
    session.expect_reply(522);
    session.expect_in_step();
}

#[test]
fn clients_accept_a_self_signed_certificate_by_its_pin_only_tl_19a() {
    let (home, root) = (TempRoot::new(), TempRoot::new());
    root.write("file", b"content");
    let arguments = ["--tls-self-signed", "--set", "tls.control=required", "-u", "user:p"];
    let served = Served::of(serve(&home, &arguments).arg(root.path()));
    let pin = served.said.lines().find_map(|line| line.split_once("--pin ")).unwrap().1;
    let url = format!("ftpes://user:p@{}/file", served.address);
    let get = |options: &[&str]| run(ftp(&["get"]).args(options).args([&url, "-"]));
    assert_eq!(get(&["--pin", pin]).succeeded(), b"content");
    let other = Authority::new().issue(Kind::Good).pin();
    failed(&get(&["--pin", &other]), 5, "");
    // Without a pin, the message contains the right one.
    failed(&get(&[]), 5, pin);

    // Clients and libraries of other projects accept it too.
    let Some(curl) = Peer::find("curl") else { return };
    let file = home.join(".local/state/ftp-cli/self-signed.pem");
    let url = url.replace("ftpes://", "ftp://");
    for trust in [&["--cacert", text(&file)][..], &["--insecure", "--pinnedpubkey", pin]] {
        let mut command = curl.command();
        command.args(["--disable", "--silent", "--show-error", "--ssl-reqd"]).args(trust);
        assert_eq!(run(command.arg(&url)).succeeded(), b"content");
    }
    let Some(lftp) = Peer::find("lftp") else { return };
    let script = format!(
        "set ssl:ca-file {}; set ftp:ssl-force yes; set net:max-retries 1; open {}; cat file",
        text(&file),
        url.trim_end_matches("/file"),
    );
    assert_eq!(run(lftp.command().args(["-c", &script])).succeeded(), b"content");
}

#[test]
fn a_session_of_uploads_gets_no_522_after_half_a_day_tl_10() {
    const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if Peer::find("faketime").is_none() || !Path::new(FAKETIME).exists() {
        return;
    }
    let (home, root, authority) = (TempRoot::new(), TempRoot::new(), Authority::new());
    let pair = authority.issue(Kind::Good).write(&home, "good");
    for version in Version::ALL {
        let offset = home.write("offset", b"+0");
        let files = ["--tls-cert", text(&pair.certificate), "--tls-key", text(&pair.key)];
        let mut command = serve(&home, &files);
        command.args(["--set", "tls.session_reuse=require", "--set", "security.confine=off"]);
        command.args(["--user", "u:p", "--write"]).arg(root.path());
        command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", &offset);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let served = Served::of(&mut command);
        let client = TlsClient::trusting(&authority).version(version);
        let mut session = RawSession::greeted(served.address);
        session.start_tls(&client);
        session.expect("USER u", 331);
        session.expect("PASS p", 230);
        session.protect();
        let mut days = Vec::new();
        for hours in [0, 7, 13, 20, 160] {
            fs::write(&offset, format!("+{}", hours * 3_600)).unwrap();
            session.tls_upload(&client, "STOR f", b"content");
            let line = log_until(&served, "verb=STOR").pop().unwrap();
            days.push(line.split('T').next().unwrap().to_owned());
        }
        assert_ne!(days.first(), days.last(), "the clock of the server was to move: {days:?}");
    }
}
