//! Certificates: invalid ones are reported at startup, new ones do not end sessions, and clients
//! may show theirs.

use std::error::Error as _;
use std::fs;
use std::net::TcpStream;
use std::sync::{Arc, Barrier};

use ftp_server::{ClientCertificates, Error, MemoryStorage, Rights, Server, Tls, TlsError};
use ftp_tests::peer::Peer;
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::tls::{Authority, Kind, TlsClient, Version};

use super::super::play;
use super::{Secure, tls_of};

#[test]
fn certificate_and_key_errors_name_the_file_ht_23() {
    let (authority, root) = (Authority::new(), TempRoot::new());
    let good = authority.issue(Kind::Good).write(&root, "good");
    let other = authority.issue(Kind::Good).write(&root, "other");
    let expired = authority.issue(Kind::Expired).write(&root, "expired");
    let early = authority.issue(Kind::NotYetValid).write(&root, "early");
    let file = |name: &str, content: &str| {
        fs::write(root.path().join(name), content).unwrap();
        root.path().join(name)
    };
    let (empty, prose) = (file("empty", " \n"), file("prose", "no PEM at all\n"));
    let torn = file("torn", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let no_der = file("no-der", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let locked = "ENCRYPTED PRIVATE KEY-----\n";
    let locked = file("locked", &format!("-----BEGIN {locked}AAAA\n-----END {locked}"));
    let bad_key = "PRIVATE KEY-----\n";
    let bad_key = file("bad-key", &format!("-----BEGIN {bad_key}AAAA\n-----END {bad_key}"));
    let missing = root.path().join("missing");
    for (certificate, key, want) in [
        (&missing, &good.key, "cannot read *missing"),
        (&good.certificate, &missing, "cannot read *missing"),
        (&empty, &good.key, "*empty is empty"),
        (&good.certificate, &empty, "*empty is empty"),
        (&prose, &good.key, "no certificate in *prose"),
        (&good.key, &good.key, "no certificate in *good.key"),
        (&torn, &good.key, "cannot use *torn: "),
        (&no_der, &good.key, "cannot use *no-der: not an X.509 certificate"),
        (&good.certificate, &prose, "no private key in *prose"),
        (&good.certificate, &good.certificate, "no private key in *good.crt"),
        (
            &good.certificate,
            &locked,
            "only an encrypted private key in *locked; remove its passphrase",
        ),
        (&good.certificate, &bad_key, "cannot use *bad-key: "),
        (
            &good.certificate,
            &other.key,
            "the key in *other.key does not belong to the certificate in *good.crt",
        ),
        (&expired.certificate, &expired.key, "the certificate in *expired.crt expired at 20"),
        (&early.certificate, &early.key, "the certificate in *early.crt is not valid before 2100"),
    ] {
        let error = Tls::from_files(certificate, key).unwrap_err();
        let said = error.to_string();
        let want = want.replace('*', &format!("{}/", root.path().display()));
        assert!(said.starts_with(&want), "{said:?}, not {want:?}");
        assert_eq!(error.source().is_some(), matches!(error, TlsError::Unreadable { .. }));
    }
    // Both can be one file.
    Tls::from_files(&good.both, &good.both).unwrap();
    let said = Tls::from_pem(b"", b"").unwrap_err().to_string();
    assert_eq!(said, "the certificate is empty");
}

/// The errors were debug output of libraries, such as `OtherError(UnsupportedCertVersion)`.
#[test]
fn a_key_or_certificate_of_an_unsupported_kind_is_named_ht_23() {
    let Some(openssl) = Peer::find("openssl") else { return };
    let root = TempRoot::new();
    let run = |words: &str| {
        let mut command = openssl.command();
        let output = command.args(words.split(' ')).current_dir(root.path()).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "{words}: {output:?}");
    };
    let kinds = "use a key of ECDSA P-256 or P-384, Ed25519, or RSA with at least 2048 bits";
    for (name, key, why) in [
        ("p521", "ec -pkeyopt ec_paramgen_curve:P-521", "ECDSA P-521 keys are not supported"),
        ("rsa1024", "rsa:1024", "an RSA key of 1024 bits is too short"),
        ("rsa1536", "rsa:1536", "an RSA key of 1536 bits is too short"),
        ("pss", "rsa-pss -pkeyopt rsa_keygen_bits:2048", "RSA-PSS keys are not supported"),
    ] {
        run(&format!(
            "req -x509 -newkey {key} -nodes -subj /CN=x -days 9 -keyout {name}.key -out {name}.crt"
        ));
        let path = |end: &str| root.path().join(format!("{name}.{end}"));
        let error = Tls::from_files(&path("crt"), &path("key")).unwrap_err().to_string();
        let want = format!("cannot use {}: {why}; {kinds}", path("key").display());
        assert_eq!(error, want, "{name}");
    }
    run("req -newkey rsa:2048 -nodes -subj /CN=x -keyout v1.key -out v1.csr");
    run("x509 -req -in v1.csr -key v1.key -days 9 -out v1.crt");
    let version = {
        let mut command = openssl.command();
        let command = command.args(["x509", "-noout", "-text", "-in"]);
        let output = command.arg(root.path().join("v1.crt")).output().expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).contains("Version: 1 ")
    };
    let path = |end: &str| root.path().join(format!("v1.{end}"));
    let made = Tls::from_files(&path("crt"), &path("key"));
    // Newer versions of openssl make version 3 of it.
    if version {
        let error = made.unwrap_err().to_string();
        assert!(error.contains("X.509 version 1"), "{error}");
        assert!(error.contains("; make one of version 3"), "{error}");
    }
}

#[test]
fn the_pin_matches_the_key() {
    let pair = Authority::new().issue(Kind::SelfSigned);
    assert_eq!(tls_of(&pair).pin(), Some(pair.pin()));
    assert!(pair.pin().starts_with("sha256//"));
}

#[test]
fn implicit_tls_needs_a_certificate_tl_03() {
    let builder = Server::builder().storage(MemoryStorage::new());
    let started = builder.implicit_tls(([127, 0, 0, 1], 0).into()).bind_all(&[]);
    assert!(matches!(started, Err(Error::NoCertificate)));
    // There is no plaintext listener.
    let authority = Authority::new();
    let builder = Server::builder().storage(MemoryStorage::new()).user("u", "p", Rights::FULL);
    let builder = builder.tls(tls_of(&authority.issue(Kind::Good)));
    let server = builder.implicit_tls(([127, 0, 0, 1], 0).into()).bind_all(&[]).unwrap();
    assert_eq!(server.local_addrs().count(), 0);
    let address = server.implicit_addrs().next().unwrap();
    assert_eq!(server.local_addr(), address);
    RawSession::implicit(address, &TlsClient::trusting(&authority)).expect("USER u", 331);
}

/// Returns the certificate that a new client sees.
fn shown(secure: &Secure, client: &TlsClient) -> Vec<u8> {
    secure.fixture.greeted().start_tls(client).certificate.unwrap()
}

#[test]
fn a_new_certificate_applies_to_new_sessions_only_tl_26_ht_23() {
    let secure = Secure::new();
    let client = TlsClient::trusting_any_certificate();
    let first = shown(&secure, &client);
    let old = secure.client();
    let mut running = secure.session(&old);
    let mut upload = running.tls_data(&old, "STOR f");
    // An invalid pair is rejected before it reaches the server.
    let (renewed, stranger) =
        (secure.authority.issue(Kind::Good), secure.authority.issue(Kind::Good));
    let broken = Tls::from_pem(renewed.certificate_pem().as_bytes(), stranger.key_pem().as_bytes());
    assert!(matches!(broken, Err(TlsError::WrongKey { .. })));
    assert_eq!(shown(&secure, &client), first);
    secure.fixture.server.set_tls(Some(tls_of(&renewed))).unwrap();
    assert_eq!(shown(&secure, &client), renewed.certificate().to_vec());
    // An existing session continues, with the certificate that it was shown.
    std::io::Write::write_all(&mut upload, b"content").unwrap();
    upload.finish().unwrap();
    upload.read_to_its_end();
    running.expect_reply(226);
    let again = running.tls_data(&old, "RETR f");
    assert!(again.shaken().resumed);
    assert_eq!(again.shaken().certificate, Some(first));
    // The certificate stays when settings and users change, and can be removed.
    let config = secure.fixture.server.config();
    secure.fixture.server.reconfigure(config, ftp_server::UserTable::new()).unwrap();
    assert_eq!(shown(&secure, &client), renewed.certificate().to_vec());
    // Settings and certificate in one step.
    let config = secure.fixture.server.config().banner("Of now");
    let other = secure.authority.issue(Kind::Good);
    let (users, tls) = (ftp_server::UserTable::new(), Some(tls_of(&other)));
    secure.fixture.server.reconfigure_with_tls(config, users, tls).unwrap();
    assert_eq!(shown(&secure, &client), other.certificate().to_vec());
    assert_eq!(secure.fixture.server.config().banner, "Of now");
    secure.fixture.server.set_tls(None).unwrap();
    play(&mut secure.fixture.greeted(), &[("AUTH TLS", 502)]);
    drop(again);
    running.expect_reply(226);
    running.expect_in_step();
}

#[test]
fn settings_and_certificates_can_change_at_the_same_time() {
    let secure = Secure::new();
    let server = &secure.fixture.server;
    for round in 0..100 {
        let (banner, has_tls) = (format!("Round {round}"), round % 2 == 0);
        let tls = has_tls.then(|| tls_of(&secure.authority.issue(Kind::Good)));
        let config = server.config().banner(&banner);
        let both = Barrier::new(2);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                both.wait();
                server.set_tls(tls).unwrap();
            });
            both.wait();
            server.reconfigure(config, ftp_server::UserTable::new()).unwrap();
        });
        assert_eq!(server.config().banner, banner);
        let reply = if has_tls { 234 } else { 502 };
        secure.fixture.greeted().expect("AUTH TLS", reply);
    }
}

#[test]
fn client_certificates_are_verified_tl_25() {
    let (clients, root) = (Authority::new(), TempRoot::new());
    let issuers = clients.write(&root, "clients");
    let of_u = clients.issue(Kind::Client("u"));
    let of_v = clients.issue(Kind::Client("v"));
    let strange = Authority::new().issue(Kind::Client("u"));
    let asking = |wanted| {
        let issuers = issuers.clone();
        Secure::with(move |tls| tls.client_ca_file(&issuers, wanted).unwrap())
    };
    let connect = |secure: &Secure, client: &TlsClient| {
        let mut session = secure.fixture.greeted();
        session.expect("AUTH TLS", 234);
        let tcp: TcpStream = session.stream().try_clone().unwrap();
        let mut tls = client.connect(tcp).ok()?;
        // With TLS 1.3 the client does not see the refusal at once.
        std::io::Write::write_all(&mut tls, b"NOOP\r\n").ok()?;
        std::io::Read::read_exact(&mut tls, &mut [0; 5]).ok()
    };
    for version in Version::ALL {
        let (optional, required) =
            (asking(ClientCertificates::Optional), asking(ClientCertificates::Required));
        for (secure, shows, want) in [
            (&optional, None, true),
            (&optional, Some(&of_u), true),
            (&optional, Some(&strange), false),
            (&required, None, false),
            (&required, Some(&of_u), true),
            (&required, Some(&strange), false),
        ] {
            let client = secure.client().version(version);
            let client = match shows {
                Some(pair) => client.certificate(pair),
                None => client,
            };
            assert_eq!(connect(secure, &client).is_some(), want, "{version:?} {want}");
        }
        // Data connections are asked for a certificate too, or resume a session.
        let client = required.client().version(version).certificate(&of_u);
        required.session(&client).tls_upload(&client, "STOR f", b"content");
        // With `cert_user`, the name in the certificate counts.
        let issuers = issuers.clone();
        let named = Secure::with(move |tls| {
            tls.client_ca_file(&issuers, ClientCertificates::Optional).unwrap().cert_user(true)
        });
        for (shows, code) in [(Some(&of_u), 230), (Some(&of_v), 530), (None, 530)] {
            let client = named.client().version(version);
            let client = match shows {
                Some(pair) => client.certificate(pair),
                None => client,
            };
            play(&mut named.greeted(&client), &[("USER u", 331), ("PASS p", code)]);
        }
        // In plaintext there is no certificate.
        play(&mut named.fixture.greeted(), &[("USER u", 331), ("PASS p", 530)]);
    }
}

#[test]
fn the_locked_rustls_meets_the_minimum_versions_tl_27() {
    let lock = include_str!("../../../../Cargo.lock");
    for (name, floor) in [("rustls", [0, 23, 18]), ("rustls-webpki", [0, 103, 13])] {
        let at = lock.find(&format!("name = \"{name}\"\nversion = \"")).expect(name);
        let version = lock[at..].split('"').nth(3).unwrap();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(parts[..] >= floor[..], "{name} {version}");
    }
}

#[test]
fn a_custom_rustls_configuration_is_served() {
    let authority = Authority::new();
    let pair = authority.issue(Kind::Good);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.certificate()], pair.key())
        .unwrap();
    let given = Tls::from_config(Arc::new(config));
    assert_eq!((given.pin(), given.certificate(), given.not_after()), (None, None, None));
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    let by_provider =
        Tls::from_pem_with_provider(certificate.as_bytes(), key.as_bytes(), provider).unwrap();
    for tls in [given, by_provider] {
        let server = Server::builder()
            .storage(MemoryStorage::new())
            .user("u", "p", Rights::FULL)
            .tls(tls)
            .bind("127.0.0.1:0")
            .unwrap();
        let client = TlsClient::trusting(&authority);
        let mut session = RawSession::secure(server.local_addr(), &client, "u", "p");
        session.protect();
        session.tls_upload(&client, "STOR a", b"protected");
        assert_eq!(session.tls_download(&client, "RETR a"), b"protected");
        assert_eq!(server.resumptions().missed, 0);
    }
}
