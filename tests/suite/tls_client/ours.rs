//! Our client and our server together, and client features beyond plain transfers.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ftp_client::RawCommand;
use ftp_client::error::{TlsCause, TlsError};
use ftp_client::file::Side;
use ftp_client::{Canceller, Client, Error, ErrorKind, FileOptions, Mode, Retry, Tls, TlsVersion};
use ftp_server::{Limits, LoginPolicy, Rights, ServerBuilder, ServerConfig, SessionReuse};
use ftp_tests::content::{binary, large};
use ftp_tests::fxp;
use ftp_tests::peer::RealServer;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, Kind, Secured, Version};
use ftp_tests::wait::wait_until;

use super::peer::timeouts;
use super::session::{STEPS, Step, get, info, put, step};

/// A server under TLS, with explicit and implicit ports, and the authority of its certificate.
struct Ours {
    server: OurServer,
    authority: Authority,
}

impl Ours {
    fn with(reuse: SessionReuse, config: ServerConfig) -> Self {
        let authority = Authority::new();
        let pair = authority.issue(Kind::Good);
        let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
        let tls = ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let config = config.logins(LoginPolicy::new().delay(Duration::ZERO));
        let builder: ServerBuilder = ftp_server::Server::builder().config(config);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let builder = builder.tls(tls.session_reuse(reuse)).implicit_tls(any);
        Self { server: OurServer::at(Ipv4Addr::LOCALHOST, builder, Rights::FULL), authority }
    }

    fn new() -> Self {
        Self::with(SessionReuse::Observe, ServerConfig::default())
    }

    fn tls(&self) -> Tls {
        Tls::explicit().roots([self.authority.certificate().to_vec()])
    }

    fn connect(&self, mode: Mode, tls: Tls, implicit: bool) -> Client {
        let address = match implicit {
            true => self.server.server.implicit_addrs().next().unwrap(),
            false => self.server.address,
        };
        let builder = Client::builder().timeouts(timeouts()).mode(mode).tls(tls);
        let mut client = builder.connect(&address.to_string()).unwrap();
        client.login(self.server.user, self.server.password).unwrap();
        client
    }

    fn client(&self) -> Client {
        self.connect(Mode::Passive, self.tls(), false)
    }
}

#[test]
fn our_server_works_in_every_mode_and_tls_version_dv_30_tl_09_tl_16() {
    use SessionReuse::{Observe, Off, Prefer, Require};
    for reuse in [Off, Observe, Prefer, Require] {
        let ours = Ours::with(reuse, ServerConfig::default());
        for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            for (mode, implicit) in [
                (Mode::Passive, false),
                (Mode::Active, false),
                (Mode::Passive, true),
                (Mode::Active, true),
            ] {
                let case = format!("{reuse:?} {version:?} {mode:?} implicit {implicit}");
                let tls = if implicit { Tls::implicit() } else { Tls::explicit() };
                let tls = tls.roots([ours.authority.certificate().to_vec()]);
                let mut client = ours.connect(mode, tls.versions(version, version), implicit);
                assert_eq!(info(&client).version, version, "{case}");
                let more = large().then_some([Step::Put(64 << 20), Step::Get(64 << 20)]);
                for what in STEPS.into_iter().chain(more.into_iter().flatten()) {
                    let done = step(&mut client, &ours.server, what);
                    done.unwrap_or_else(|error| panic!("{case} {what:?}: {error}"));
                }
                let info = info(&client);
                assert!(reuse != Require || info.resumed >= 14, "{case}: {info:?}");
                assert!(reuse != Off || info.resumed == 0, "{case}: {info:?}");
                client.quit().unwrap();
                ours.server.clear();
            }
        }
    }
}

#[test]
fn a_hundred_uploads_resume_tls_sessions_when_required_ht_16() {
    let ours = Ours::with(SessionReuse::Require, ServerConfig::default());
    let mut client = ours.client();
    for index in 0..100_u8 {
        put(&mut client, "file", 0, &[index]).unwrap_or_else(|error| panic!("{index}: {error}"));
        assert_eq!(ours.server.root.read("file"), [index]);
    }
    assert!(info(&client).resumed >= 100, "{:?}", info(&client));
    client.quit().unwrap();
}

#[test]
fn aborted_tls_transfers_leave_the_session_usable() {
    // The transfer would take a minute.
    let config = ServerConfig::new().limits(Limits::new().rate_per_session(100_000));
    let ours = Ours::with(SessionReuse::Observe, config);
    ours.server.root.write("file", &binary(6_000_000, 1));
    let mut client = ours.client();
    for _ in 0..2 {
        let mut file = client.retrieve("file").unwrap();
        file.read_exact(&mut [0; 1_000]).unwrap();
        file.abort().unwrap();
        client.noop().unwrap();
        // After a drop, the next call aborts it.
        let mut file = client.retrieve("file").unwrap();
        file.read_exact(&mut [0; 1_000]).unwrap();
        drop(file);
        client.noop().unwrap();
        let upload = client.store("other").unwrap();
        upload.abort().unwrap();
        client.noop().unwrap();
    }
    ours.server.assert_only(&[b"file"]);
    client.quit().unwrap();

    // From another thread, then QUIT.
    let canceller = Canceller::new().unwrap();
    let builder = Client::builder().timeouts(timeouts()).canceller(canceller.clone());
    let mut client = builder.tls(ours.tls()).connect(&ours.server.address.to_string()).unwrap();
    client.login(ours.server.user, ours.server.password).unwrap();
    let mut file = client.retrieve("file").unwrap();
    file.read_exact(&mut [0; 1_000]).unwrap();
    let button = std::thread::spawn(move || canceller.cancel());
    let error = std::io::copy(&mut file, &mut std::io::sink()).unwrap_err();
    assert!(matches!(Error::downcast(error), Ok(Error::Cancelled)));
    file.abort().unwrap();
    button.join().unwrap();
    client.quit().unwrap();
}

#[test]
fn one_call_functions_retry_and_walks_use_tls() {
    let ours = Ours::new();
    ours.server.root.mkdir("d");
    ours.server.root.write("d/a", b"1");
    let builder = || Client::builder().timeouts(timeouts()).tls(ours.tls());
    let url = |name| ours.server.url(name).replacen("ftp", "ftpes", 1);
    builder().put(&url("b"), &mut &b"22"[..]).unwrap();
    let mut bytes = Vec::new();
    builder().get(&url("b"), &mut bytes).unwrap();
    assert_eq!(bytes, b"22");
    let mut queue = Retry::new(builder(), ours.server.address.to_string())
        .login(ours.server.user, ours.server.password);
    let here = ftp_tests::root::TempRoot::new();
    let options = FileOptions::new();
    let done = queue.download_to("d/a", here.join("a"), &options);
    assert_eq!(done.unwrap().size, 1);
    let client = queue.client().unwrap();
    assert!(client.tls().is_some());
    let walk = client.walk("");
    assert_eq!(walk.filter_map(Result::ok).count(), 3);
    queue.quit().unwrap();
    // Commands that would end the protection are not sent.
    let mut client = ours.client();
    for line in ["PROT C", "REIN", "CCC", "AUTH TLS"] {
        let quoted = client.quote(&RawCommand::new(line).unwrap());
        assert!(matches!(quoted, Err(Error::Argument(_))), "{line}");
    }
    client.quit().unwrap();
}

#[test]
fn a_custom_rustls_configuration_and_pins_both_apply() {
    use ftp_client::error::CertificateFault;
    use ftp_client::rustls::{ClientConfig, RootCertStore};
    let config_trusting = |authority: &Authority| {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).unwrap();
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    };
    let ours = Ours::with(SessionReuse::Require, ServerConfig::default());
    let pin_of = |client: &Client| info(client).pin.unwrap();
    let tls = Tls::explicit().rustls_config(config_trusting(&ours.authority));
    let mut client = ours.connect(Mode::Passive, tls.clone(), false);
    put(&mut client, "file", 0, b"1").unwrap();
    assert!(info(&client).resumed > 0, "{:?}", info(&client));
    let pin = pin_of(&client);
    client.quit().unwrap();

    let refused = |tls: Tls| {
        let builder = Client::builder().timeouts(timeouts()).tls(tls);
        match builder.connect(&ours.server.address.to_string()) {
            Err(Error::Tls(TlsError::Certificate { fault, .. })) => fault,
            other => panic!("{other:?}"),
        }
    };
    ours.connect(Mode::Passive, tls.clone().pin(&pin).unwrap(), false).quit().unwrap();
    let other = Authority::new().issue(Kind::Good).pin();
    assert_eq!(refused(tls.clone().pin(&other).unwrap()), CertificateFault::NotPinned);
    // Neither the pin nor other settings replace the verifier.
    let strange = Tls::explicit().rustls_config(config_trusting(&Authority::new()));
    let strange = strange.accept_invalid_certificates(true).pin(&pin).unwrap();
    let strange = strange.roots([ours.authority.certificate().to_vec()]);
    assert_eq!(refused(strange), CertificateFault::UnknownIssuer);
    // This server refuses data connections without resumption.
    let mut client = ours.connect(Mode::Passive, tls.resume_sessions(false), false);
    put(&mut client, "file", 0, b"1").unwrap_err();
    client.quit().unwrap();
}

#[test]
fn pins_work_without_tls_1_3_or_sha_256_cipher_suites() {
    use ftp_client::TlsVersion;
    use ftp_client::rustls::crypto::{CryptoProvider, ring};
    let ours = Ours::new();
    let client = ours.client();
    let pin = info(&client).pin.unwrap();
    client.quit().unwrap();
    let mut provider: CryptoProvider = ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        let is_old = suite.tls13().is_none();
        is_old && format!("{:?}", suite.suite()).ends_with("AES_256_GCM_SHA384")
    });
    let tls = Tls::explicit().crypto_provider(provider).pin(&pin).unwrap();
    let tls = tls.versions(TlsVersion::V1_2, TlsVersion::V1_2);
    let client = ours.connect(Mode::Passive, tls, false);
    assert_eq!(info(&client).pin, Some(pin));
    client.quit().unwrap();
}

#[test]
fn a_client_certificate_is_presented_on_request_tl_25() {
    use ftp_server::ClientCertificates;
    let (authority, root) = (Authority::new(), ftp_tests::root::TempRoot::new());
    let pair = authority.issue(Kind::Good);
    let (certificate, key) = (pair.certificate_pem(), pair.key_pem());
    let ca = authority.write(&root, "ca.pem");
    let tls = ftp_server::Tls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let tls = tls.client_ca_file(&ca, ClientCertificates::Required).unwrap();
    let server = OurServer::built(ftp_server::Server::builder().tls(tls));
    let files = authority.issue(Kind::Client("user")).write(&root, "client");
    let stranger = Authority::new().issue(Kind::Client("user")).write(&root, "stranger");
    let connect = |tls: Tls| {
        let builder = Client::builder().timeouts(timeouts()).tls(tls.ca_file(&ca));
        let mut client = builder.connect(&server.address.to_string())?;
        client.login(server.user, server.password)?;
        put(&mut client, "a", 0, b"1")
    };
    connect(Tls::explicit().client_certificate(&files.certificate, &files.key)).unwrap();
    connect(Tls::explicit().client_certificate(&files.both, &files.both)).unwrap();
    for tls in
        [Tls::explicit(), Tls::explicit().client_certificate(&stranger.certificate, &stranger.key)]
    {
        // Data that the client sent meanwhile may reset the connection before the alert is read.
        let is_told = |error| match error {
            Error::Tls(TlsError::Failed(cause)) => {
                matches!(cause, TlsCause::Rustls(error)
                    if matches!(*error, rustls::Error::AlertReceived(_)))
            }
            Error::Closed => false,
            error => panic!("{error:?}"),
        };
        wait_until("an alert comes", || is_told(connect(tls.clone()).unwrap_err()));
    }
    // Before anything is sent.
    for (certificate, key, words) in [
        (&ca, &files.key, "not a usable key for"),
        (&files.key, &files.key, "no certificate"),
        (&files.certificate, &files.certificate, "no private key"),
    ] {
        let error = connect(Tls::explicit().client_certificate(certificate, key)).unwrap_err();
        assert!(matches!(error, Error::Tls(TlsError::File { .. })), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_protected_copy_needs_a_server_that_starts_the_handshake_fx_11() {
    let content = binary(300_000, 9);
    // Two of our servers cannot, and report it; in plaintext they could.
    let (one, two) = (Ours::new(), Ours::new());
    one.server.root.write("file", &content);
    let (mut source, mut target) = (one.client(), two.client());
    let copied = fxp::copied(&mut source, "file", &mut target, "copy", fxp::to(None));
    let error = copied.unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("SSCN"), "{error}");
    source.noop().unwrap();
    target.noop().unwrap();
    two.server.assert_only(&[]);

    // ProFTPD supports it.
    let authority = Authority::new();
    let pair = authority.issue(Kind::Good);
    // By TLS 1.2: under 1.3 it closes with unread tickets, and so resets its own data.
    let secured = Secured { version: Some(Version::V1_2), ..Secured::by(&pair) };
    let start = || RealServer::proftpd_tls([127, 0, 0, 1], secured);
    let (Some(one), Some(two)) = (start(), start()) else { return };
    one.root.write("file", &content);
    let connect = |site| super::session::connect(site, &authority, Mode::Passive, false).unwrap();
    let (mut source, mut target) = (connect(&one), connect(&two));
    for listener in [Side::Target, Side::Source] {
        let options = fxp::to(listener);
        fxp::copied(&mut source, "file", &mut target, "copy", options)
            .unwrap_or_else(|error| panic!("{listener:?}: {error}"));
        assert!(two.root.read("copy") == content, "{listener:?}");
        // Then it is told to stop that.
        assert!(get(&mut source, "file", 0).unwrap() == content);
        assert!(get(&mut target, "copy", 0).unwrap() == content);
    }
    source.quit().unwrap();
    target.quit().unwrap();
}
