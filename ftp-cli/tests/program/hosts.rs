//! `[hosts."NAME"]`: certificate, banner, root and users of a host name, what a reload changes, and
//! what `--check` says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::tls::{Authority, Kind, Pair, TlsClient};
use ftp_tests::wait::wait_until;

use crate::config::{Configured, log_until};
use crate::ftp;
use crate::serve::Served;

const A: &str = "a.example.invalid";

/// Two users, anonymous ones, and a certificate of the server itself. `HERE` is the directory of
/// the configuration.
const COMMON: &str = "tls.certificate = \"HERE/own.crt\"\ntls.key = \"HERE/own.key\"\n\
    control.socket = \"HERE/control\"\nmetrics.listen = \"unix:HERE/metrics\"\nlimits.login_delay = \"0 s\"\ntls.watch = \"50 ms\"\n\
    [users.anna]\npassword = \"HASH\"\nroot = \"ROOT/anna\"\n\
    [users.bob]\npassword = \"HASH\"\nroot = \"ROOT/bob\"\n\
    [anonymous]\nenabled = true\nroot = \"ROOT/pub\"\n";

/// The first host has all keys; the other one has no certificate and admits everyone.
const HOSTS: &str = "[hosts.\"A.Example.Invalid\"]\ncertificate = \"HERE/a.crt\"\nkey = \"HERE/a.key\"\n\
    banner = \"Files of A\"\nroot = \"ROOT/a/%u\"\nusers = [\"anna\", \"anonymous\"]\n\
    [hosts.\"localhost\"]\nroot = \"ROOT/local\"\n";

/// A configuration with its certificates and directories; each has a file that says where it is.
struct Hosted {
    configured: Configured,
    authority: Authority,
    own: Pair,
    a: Pair,
}

impl Hosted {
    fn new() -> Self {
        let configured = Configured::new("");
        let authority = Authority::new();
        let (own, a) = (authority.issue(Kind::Good), authority.issue(Kind::Named(A)));
        let _ = own.write(&configured.here, "own");
        let _ = a.write(&configured.here, "a");
        let _ = authority.write(&configured.here, "ca.pem");
        for place in ["anna", "bob", "pub", "local", "a/anna", "a/anonymous"] {
            let directory = configured.root.join(place);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("where"), place).unwrap();
        }
        let hosted = Self { configured, authority, own, a };
        hosted.write(HOSTS);
        hosted
    }

    fn write(&self, hosts: &str) {
        let here = self.configured.here.path().to_str().unwrap();
        self.configured.write(&format!("{COMMON}{hosts}").replace("HERE", here));
    }

    fn who(&self, arguments: &[&str]) -> String {
        let mut command = ftp(&["who"]);
        command.args(arguments).arg("--control").arg(self.configured.here.join("control"));
        String::from_utf8(run(&mut command).succeeded()).unwrap()
    }
}

impl Hosted {
    fn metrics(&self) -> String {
        let mut stream = UnixStream::connect(self.configured.here.join("metrics")).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Returns the days until the certificate with these labels expires.
    fn days_left(&self, labels: &str) -> f64 {
        let metrics = self.metrics();
        let name = format!("ftp_certificate_expiry_seconds{labels} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{metrics}")).parse::<f64>().unwrap() / 86_400.0
    }
}

/// Connects, and names a host unless it is empty.
#[track_caller]
fn at(served: &Served, host: &str) -> RawSession {
    let mut session = RawSession::greeted(served.address);
    if !host.is_empty() {
        session.expect(format!("HOST {host}"), 220);
    }
    session
}

#[track_caller]
fn log_in(session: &mut RawSession, user: &str, code: u16) {
    session.expect(format!("USER {user}"), 331);
    session.expect("PASS p", code);
}

/// Returns where a user is who logs in at a host.
#[track_caller]
fn place(served: &Served, host: &str, user: &str) -> String {
    let mut session = at(served, host);
    log_in(&mut session, user, 230);
    String::from_utf8(session.download("RETR where")).unwrap()
}

#[test]
fn a_virtual_host_has_a_separate_banner_root_and_users_cm_23_cm_24() {
    let hosted = Hosted::new();
    let served = hosted.configured.serve();
    for (host, user, want) in [
        ("", "anna", "anna"),
        ("", "bob", "bob"),
        ("", "anonymous", "pub"),
        (A, "anna", "a/anna"),
        (A, "anonymous", "a/anonymous"),
        // The same user by another name.
        (A, "FTP", "a/anonymous"),
        ("LocalHost", "anna", "local"),
        ("localhost", "bob", "local"),
        ("localhost", "ftp", "local"),
        // The server's own address is the server itself.
        ("127.0.0.1", "anna", "anna"),
    ] {
        assert_eq!(place(&served, host, user), want, "{user} at {host}");
    }
    let mut session = RawSession::greeted(served.address);
    assert_eq!(session.ask("HOST A.EXAMPLE.invalid").text(), "220 Files of A");
    assert_eq!(session.ask("HOST localhost").text(), "220 Host accepted");
    for unknown in ["b.example.invalid", "x.a.example.invalid", "example.invalid"] {
        session.expect(format!("HOST {unknown}"), 504);
    }
    // Bob is no user of the host, whatever he sends; and nobody leaves its root.
    session.expect(format!("HOST {A}"), 220);
    log_in(&mut session, "bob", 530);
    log_in(&mut session, "anna", 230);
    for path in ["../anonymous/where", "/../../bob/where", "/a/anna/where"] {
        session.expect("PASV", 227);
        session.expect(format!("RETR {path}"), 550);
    }
    // Both names are in the log and in the list of sessions.
    let said = log_until(&served, "login-refused");
    let refused = format!("user=\"bob\" reason=host host={A}");
    assert!(said.last().unwrap().ends_with(&refused), "{said:?}");
    let login = format!("user=\"anna\" host={A}");
    assert!(said.iter().any(|line| line.ends_with(&login)), "{said:?}");
    let listed = hosted.who(&["--json"]);
    assert!(listed.contains(&format!("\"host\":\"{A}\"")), "{listed}");
    let listed = hosted.who(&[]);
    assert!(listed.starts_with("ID  USER  HOST "), "{listed}");
    assert!(listed.contains(&format!("anna  {A}  127.0.0.1:")), "{listed}");
}

/// Returns the output of a program in the directory of the configuration.
fn output(mut command: Command, hosted: &Hosted, input: &str) -> (bool, String) {
    let ran = run_with(command.current_dir(hosted.configured.here.path()), input.as_bytes(), LIMIT);
    let said = [&ran.stdout[..], &ran.stderr].concat();
    (ran.code() == Some(0), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn other_clients_reach_a_virtual_host_by_name_cm_25() {
    let hosted = Hosted::new();
    let served = hosted.configured.serve();
    let port = served.address.port();
    if let Some(curl) = Peer::find("curl") {
        let fetch = |host: &str, user: &str| {
            let mut command = curl.command();
            command.args(["-sS", "--ssl-reqd", "--cacert", "ca.pem", "-u", &format!("{user}:p")]);
            command.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
            command.arg(format!("ftp://{host}:{port}/where"));
            output(command, &hosted, "")
        };
        assert_eq!(fetch(A, "anna"), (true, "a/anna".to_owned()));
        assert_eq!(fetch("ftp.example.invalid", "anna"), (true, "anna".to_owned()));
        let (done, said) = fetch(A, "bob");
        assert!(!done && said.contains("530"), "{said}");
    }
    if let Some(openssl) = Peer::find("openssl") {
        for (name, done) in [(A, true), ("b.example.invalid", false)] {
            let mut command = openssl.command();
            command.args(["s_client", "-starttls", "ftp", "-CAfile", "ca.pem", "-quiet"]);
            command.args(["-connect", &served.address.to_string(), "-servername", name]);
            command.args(["-verify_return_error", "-verify_hostname", name]);
            let said = output(command, &hosted, "QUIT\r\n");
            assert_eq!(said.0, done, "{name}: {}", said.1);
        }
    }
    if let Some(lftp) = Peer::find("lftp") {
        let mut command = lftp.command();
        let script = format!(
            "set ssl:ca-file ca.pem; set ftp:ssl-force true; set ftp:ssl-protect-data true; \
             set net:max-retries 1; open -u bob,p -p {port} localhost; cat where; bye"
        );
        command.args(["--norc", "-c", &script]);
        let (done, said) = output(command, &hosted, "");
        assert!(done && said.contains("local"), "{said}");
    }
}

/// Returns the certificate that a client of this host sees.
#[track_caller]
fn shown(served: &Served, host: &str) -> Option<Vec<u8>> {
    let client = TlsClient::trusting_any_certificate().name(host);
    RawSession::greeted(served.address).start_tls(&client).certificate
}

#[test]
fn a_reload_adds_and_removes_hosts_and_their_sessions() {
    let hosted = Hosted::new();
    let served = hosted.configured.serve();
    let is =
        |shown: Option<Vec<u8>>, pair: &Pair| shown.as_deref() == Some(&pair.certificate()[..]);
    assert!(is(shown(&served, A), &hosted.a) && is(shown(&served, "localhost"), &hosted.own));
    let session = |host: &str, user: &str| {
        let mut session = at(&served, host);
        log_in(&mut session, user, 230);
        session
    };
    let mut own = session("", "anna");
    let mut at_a = session(A, "anna");
    let mut bob = session("localhost", "bob");
    let mut anna = session("localhost", "anna");
    // A connection from before the reload logs in after it.
    let mut late = at(&served, A);

    // A renewed certificate of a host is noticed too.
    assert!(
        hosted.days_left("") > 1_000.0
            && hosted.days_left("{host=\"a.example.invalid\"}") > 1_000.0
    );
    let second = hosted.authority.issue(Kind::Named(A));
    let _ = second.write(&hosted.configured.here, "a");
    log_until(&served, "the certificate has changed");
    assert!(is(shown(&served, A), &second) && is(shown(&served, "localhost"), &hosted.own));

    hosted.write("[hosts.localhost]\nroot = \"ROOT/local\"\nusers = [\"anna\"]\n");
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    let last = said.last().unwrap();
    assert!(last.ends_with("hosts") && !last.contains("certificate"), "{said:?}");
    at_a.expect_reply(421);
    bob.expect_reply(421);
    assert!(!hosted.metrics().contains("{host="));
    let why = "ends: the host was removed, or no longer admits this user";
    log_until(&served, why);
    log_until(&served, why);
    own.expect("NOOP", 200);
    anna.expect("NOOP", 200);
    log_in(&mut late, "anna", 530);
    assert!(is(shown(&served, A), &hosted.own));
    RawSession::greeted(served.address).expect(format!("HOST {A}"), 504);

    // A certificate that cannot be read changes nothing.
    let bad = "[hosts.localhost]\ncertificate = \"HERE/none\"\nkey = \"HERE/a.key\"\n";
    hosted.write(bad);
    served.signal("HUP");
    let said = log_until(&served, "configuration unchanged");
    assert!(said.last().unwrap().contains("/none: No such file"), "{said:?}");
    assert_eq!(place(&served, "localhost", "anna"), "local");
    hosted.write(HOSTS);
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    assert!(is(shown(&served, A), &second));
    assert_eq!(place(&served, A, "anna"), "a/anna");
    own.expect("NOOP", 200);
}

/// Clients can always name the server's own address, but its table may have given them another root.
#[test]
fn sessions_at_an_address_end_when_its_host_table_is_removed() {
    const TABLE: &str = "[hosts.\"127.0.0.1\"]\nroot = \"ROOT/local\"\n";
    let hosted = Hosted::new();
    hosted.write(TABLE);
    let served = hosted.configured.serve();
    for same in ["127.0.0.1", "[::ffff:127.0.0.1]"] {
        assert_eq!(place(&served, same, "anna"), "local");
    }
    let mut session = at(&served, "127.0.0.1");
    log_in(&mut session, "anna", 230);
    let mut late = at(&served, "127.0.0.1");
    hosted.write("");
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    session.expect_reply(421);
    // A later login is in the user's own root, and goes on, even over an older connection.
    log_in(&mut late, "anna", 230);
    late.expect("NOOP", 200);
    assert_eq!(place(&served, "127.0.0.1", "anna"), "anna");
    let mut own = at(&served, "127.0.0.1");
    log_in(&mut own, "anna", 230);
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    own.expect("NOOP", 200);
}

#[test]
fn an_empty_list_of_users_disables_logins_at_a_host() {
    let hosted = Hosted::new();
    hosted.write("[hosts.localhost]\nusers = []\n");
    let served = hosted.configured.serve();
    for user in ["anna", "anonymous"] {
        log_in(&mut at(&served, "localhost"), user, 530);
    }
    assert_eq!(place(&served, "", "anna"), "anna");
    let ran = run(&mut hosted.configured.command(&["--check", "--listen", "0"]));
    let said = String::from_utf8(ran.stdout).unwrap();
    let why = "warn  hosts.localhost.users: the list is empty: no user can log in at this host";
    assert!(said.contains(why), "{said}");
    hosted.write("[hosts.localhost]\n");
    served.signal("HUP");
    let said = log_until(&served, "configuration reloaded");
    assert!(said.last().unwrap().ends_with("hosts"), "{said:?}");
    assert_eq!(place(&served, "localhost", "anna"), "anna");
}

#[test]
fn an_invalid_certificate_of_one_host_does_not_block_others_tl_26() {
    const B: &str = "b.example.invalid";
    let hosted = Hosted::new();
    let here = &hosted.configured.here;
    let _ = hosted.authority.issue(Kind::Named(B)).write(here, "b");
    let b = "[hosts.\"b.example.invalid\"]\ncertificate = \"HERE/b.crt\"\nkey = \"HERE/b.key\"\n";
    hosted.write(&format!("{HOSTS}{b}"));
    let served = hosted.configured.serve();
    let is = |host: &str, pair: &Pair| {
        assert!(shown(&served, host).as_deref() == Some(&pair.certificate()[..]), "{host}");
    };
    // One that is being written.
    let pem = std::fs::read(here.join("a.crt")).unwrap();
    here.write("a.crt", &pem[..pem.len() / 2]);
    let said = log_until(&served, "the previous certificate stays in use");
    assert!(said.last().unwrap().contains("a.crt"), "{said:?}");
    let renewed = hosted.authority.issue(Kind::Named(B));
    let _ = renewed.write(here, "b");
    log_until(&served, "the certificate has changed");
    is(A, &hosted.a);
    is(B, &renewed);
    // The server's own one is bad, too.
    let own = std::fs::read(here.join("own.crt")).unwrap();
    here.write("own.crt", b"");
    log_until(&served, "own.crt is empty; the previous certificate stays in use");
    let again = hosted.authority.issue(Kind::Named(B));
    let _ = again.write(here, "b");
    log_until(&served, "the certificate has changed");
    is(B, &again);
    is("localhost", &hosted.own);
    here.write("own.crt", &own);

    // A reload that locks a user out.
    let mut bob = at(&served, "localhost");
    log_in(&mut bob, "bob", 230);
    let file = here.join("server.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let locked = text.replace("[users.bob]\n", "[users.bob]\nenabled = false\n");
    std::fs::write(&file, locked).unwrap();
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    let said = log_until(&served, "the previous certificate stays in use");
    assert!(said.last().unwrap().contains("a.crt"), "{said:?}");
    bob.expect_reply(421);
    is(A, &hosted.a);
    // Files that the host did not have before must be good.
    hosted.write(&HOSTS.replace("HERE/a.key", "HERE/b.key"));
    served.signal("HUP");
    log_until(&served, "configuration unchanged");
    here.write("a.crt", &pem);
    served.signal("HUP");
    log_until(&served, "configuration unchanged");
    hosted.write(HOSTS);
    served.signal("HUP");
    log_until(&served, "configuration reloaded");
    is(A, &hosted.a);
}

#[test]
fn a_hanging_certificate_read_does_not_block_the_server() {
    let hosted = Hosted::new();
    let here = &hosted.configured.here;
    let served = hosted.configured.serve();
    // A pipe whose writer keeps the reader waiting, as a hung network mount does.
    let pipe = here.join("pipe");
    run(Command::new("mkfifo").arg(&pipe)).succeeded();
    let mut writer = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let renewed = hosted.authority.issue(Kind::Named(A));
    writer.write_all(renewed.certificate_pem().as_bytes()).unwrap();
    // The server reads the pipe once, so the key comes first.
    here.write("a.key", renewed.key_pem().as_bytes());
    std::fs::rename(&pipe, here.join("a.crt")).unwrap();
    wait_until("the server to read the pipe", || rustix::io::ioctl_fionread(&writer).unwrap() == 0);
    assert!(hosted.who(&[]).starts_with("ID"), "the server answers");
    assert_eq!(place(&served, A, "anna"), "a/anna");
    drop(writer);
    log_until(&served, "the certificate has changed");
    assert!(shown(&served, A).as_deref() == Some(&renewed.certificate()[..]));
}

#[test]
fn check_reports_problems_of_virtual_hosts() {
    let hosted = Hosted::new();
    let check = |arguments: &[&str]| {
        let ran =
            run(hosted.configured.command(&["--check", "-v", "--listen", "0"]).args(arguments));
        (ran.code(), String::from_utf8(ran.stdout).unwrap())
    };
    let file = |name: &str| hosted.configured.here.join(name).display().to_string();
    let (code, said) = check(&[]);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        &*format!("hosts.\"{A}\".banner = \"Files of A\""),
        &format!("hosts.\"{A}\".users = [\"anna\", \"anonymous\"]"),
        "hosts.localhost.certificate = \"\"",
        &format!("ok    {} is valid; clients can use --pin {}", file("a.crt"), hosted.a.pin()),
        &format!("ok    {} expires in ", file("a.crt")),
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line}\n{said}");
    }
    assert!(!said.contains("does not name"), "{said}");
    let shared = "warn  hosts.localhost.root: all users work in this directory, each with their own \
                  rights; to restrict this, list the users in hosts.localhost.users";
    assert!(said.contains(shared), "{said}");
    assert_eq!(said.matches("all users work in").count(), 1, "{said}");
    // Certificates for other names, a missing root, a key that others can read.
    std::fs::set_permissions(file("a.key"), std::os::unix::fs::PermissionsExt::from_mode(0o604))
        .unwrap();
    let set = |key: &str, value: &str| format!("--set=hosts.{key}={value}");
    let (code, said) = check(&[
        &set("\"b.example.invalid\".certificate", &file("a.crt")),
        &set("b.example.invalid.key", &file("a.key")),
        &set("c.example.invalid.banner", "C"),
        &set("localhost.root", "/proc/none"),
    ]);
    assert_eq!(code, Some(3), "{said}");
    for words in [
        &*format!("hosts.\"b.example.invalid\".certificate: {} does not name b.ex", file("a.crt")),
        &format!("{} does not name c.example.invalid: clients", file("own.crt")),
        &format!("{}: all users of this computer can read the private key", file("a.key")),
        "hosts.localhost.root (user bob): /proc/none, ",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    // Half a pair is refused, as are unknown users, with the options that set them.
    for (assignment, words) in [
        (
            set("c.invalid.key", "/k"),
            "hosts.\"c.invalid\".key: needs hosts.\"c.invalid\".certificate",
        ),
        (
            set("c.invalid.users", "ana"),
            "hosts.\"c.invalid\".users: unknown user \"ana\"; did you mean anna?",
        ),
        (set("c.invalid.rot", "/k"), "unknown setting hosts.NAME.rot; did you mean root?"),
        (
            set("*.invalid.root", "/k"),
            "hosts.\"*.invalid\": invalid host name: expected a name such as",
        ),
    ] {
        let ran = run(hosted.configured.command(&["--check"]).arg(&assignment));
        crate::failed(&ran, 2, words);
    }
    assert!(Path::new(&file("a.key")).exists());
}
