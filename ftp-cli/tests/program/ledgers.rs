//! `[ledger]`: limits that two servers keep together, in an object store and in Redis.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use ftp_tests::peer::{ObjectStore, Redis};
use ftp_tests::process::run;
use ftp_tests::raw::RawSession;
use ftp_tests::wait::{at_last, wait_until};

use crate::config::{Configured, log_until};
use crate::failed;
use crate::serve::Served;
use crate::stores::{self, check, printed};

/// The quota of anna, and one file.
const LIMIT: usize = 1 << 20;
const LENGTH: usize = 100_000;

/// The configuration of the documentation, with a ledger; `more` are keys of it.
fn configured(endpoint: &str, url: &str, more: &str) -> Configured {
    let configured = stores::configured(endpoint);
    let path = configured.here.join("server.toml");
    let mut text = String::new();
    for line in printed("Limits of several servers together").lines() {
        match line.split_once(" = ").map(|(key, _)| key) {
            Some("url") => text.push_str(&format!("url = \"{url}\"\nlease = \"6 s\"\n{more}\n")),
            Some("on_failure") => {}
            Some("per_user") => text.push_str("per_user = 2\n"),
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    let main = fs::read_to_string(path).unwrap();
    text.push_str(&main.replace("[users.anna]\n", "[users.anna]\nquota = \"1 MiB\"\n"));
    configured.write(&text);
    configured
}

/// Returns what `--check` says of the ledger.
fn checked(configured: &Configured) -> Vec<String> {
    let said = String::from_utf8(check(configured).stdout).unwrap();
    let of_ledger = |line: &&str| line.contains(" ledger.url: ");
    said.lines().filter(of_ledger).map(str::to_owned).collect()
}

#[test]
fn a_world_readable_redis_password_file_causes_a_warning() {
    let configured = Configured::new("");
    let password = configured.here.write("redis", b"p\n");
    let toml = format!(
        "[users.a]\npassword = \"HASH\"\nroot = \"ROOT\"\n\
         [ledger]\nurl = \"redis://127.0.0.1:1\"\npassword_file = \"{}\"\n",
        password.display()
    );
    configured.write(&toml);
    for (mode, is_open) in [(0o604, true), (0o640, false)] {
        fs::set_permissions(&password, fs::Permissions::from_mode(mode)).unwrap();
        let said = String::from_utf8(check(&configured).stdout).unwrap();
        let open = "all users of this computer can read the password of the ledger";
        assert_eq!(said.contains(open), is_open, "{mode:o}: {said}");
    }
}

fn login(served: &Served) -> RawSession {
    let mut session = RawSession::login(served.address, "anna", "p");
    session.expect("TYPE I", 200);
    session
}

/// Returns the reply to the password of anna.
fn tried(served: &Served) -> (RawSession, u16) {
    let mut session = RawSession::greeted(served.address);
    session.expect("USER anna", 331);
    let code = session.ask("PASS p").code;
    (session, code)
}

/// Uploads a file, and returns the last reply.
fn store(session: &mut RawSession, name: &str) -> u16 {
    let data = session.passive();
    let reply = session.ask(format!("STOR {name}"));
    if reply.code != 150 {
        return reply.code;
    }
    // The server may refuse the rest.
    let _ = data.stream().write_all(&[b'x'; LENGTH]);
    data.close();
    session.reply().code
}

/// Uploads files until the server refuses one, and returns their number.
fn fill(session: &mut RawSession, name: &str) -> usize {
    let ends = (0..).map(|number| store(session, &format!("{name}{number}")));
    let mut count = 0;
    for end in ends {
        match end {
            226 => count += 1,
            // Another server counts at this moment.
            450 => {}
            552 => break,
            other => panic!("{other}"),
        }
    }
    count
}

/// Returns the bytes of all files.
fn stored(session: &mut RawSession) -> usize {
    let listed = String::from_utf8(session.download("MLSD")).unwrap();
    let sizes = listed.split(';').filter_map(|fact| fact.trim().strip_prefix("size="));
    sizes.map(|size| size.parse::<usize>().unwrap()).sum()
}

fn assert_shared_limits(configured: &Configured) {
    wait_until("the store takes objects", || check(configured).code() == Some(0));
    assert_eq!(checked(configured), ["ok    ledger.url: the ledger answers and is suitable"]);
    let (mut one, other) = (configured.serve(), configured.serve());
    let mut first = login(&one);
    let mut second = login(&other);
    assert_eq!((tried(&one).1, tried(&other).1), (421, 421));
    // Uploads on both, of which one never ends: its server is killed.
    assert_eq!((store(&mut first, "a"), store(&mut second, "b")), (226, 226));
    let mut data = first.passive();
    first.expect("STOR endless", 150);
    data.write_all(&[b'x'; 3 * LENGTH]);
    one.running.child.kill().unwrap();
    one.running.child.wait().unwrap();
    let count = fill(&mut second, "c");
    assert!(stored(&mut second) <= LIMIT, "{count}");
    // What the dead server held is free again, and nothing else.
    let third = at_last("its session has ended", || {
        let (session, code) = tried(&other);
        (code == 230).then_some(session)
    });
    assert_eq!(tried(&other).1, 421);
    let mut round = 0;
    at_last("all of the quota can be used", || {
        round += 1;
        fill(&mut second, &format!("d{round}-"));
        let stored = stored(&mut second);
        assert!(stored <= LIMIT, "{stored}");
        (stored + LENGTH > LIMIT).then_some(())
    });
    let quota = second.expect("SITE QUOTA", 211).text();
    assert!(quota.contains("1048576"), "{quota}");
    // A server that ends gives back at once what it holds.
    drop((second, third));
    let one = configured.serve();
    at_last("the sessions have ended", || (tried(&one).1 == 230).then_some(()));
}

#[test]
fn two_servers_share_limits_even_if_one_is_killed() {
    let Some(store) = ObjectStore::seaweedfs() else { return };
    assert_shared_limits(&configured(&store.endpoint(), "store:main/state", ""));
    let Some(redis) = Redis::start() else { return };
    redis.tell("CONFIG SET requirepass geheim");
    let configured = configured(&store.endpoint(), &redis.url(), "");
    let said = checked(&configured).join("\n");
    assert!(said.starts_with("fail  ledger.url: redis: NOAUTH "), "{said}");
    let path = configured.here.write("redis", b"geheim\n");
    let text = fs::read_to_string(configured.here.join("server.toml")).unwrap();
    let key = format!("[ledger]\npassword_file = \"{}\"\n", path.display());
    // Other files than those of the first run.
    let text = text.replace("[ledger]\n", &key).replace("main/users", "main/others");
    configured.write(&text);
    assert_shared_limits(&configured);
}

#[test]
fn an_unreachable_ledger_refuses_or_warns_as_configured() {
    let Some(objects) = ObjectStore::seaweedfs() else { return };
    let Some(redis) = Redis::start() else { return };
    let url = redis.url();
    let refusing = configured(&objects.endpoint(), &url, "on_failure = \"refuse\"");
    let allowing = configured(&objects.endpoint(), &url, "on_failure = \"allow\"");
    wait_until("the store takes objects", || check(&refusing).code() == Some(0));
    let (strict, lenient) = (refusing.serve(), allowing.serve());
    let (mut first, mut second) = (login(&strict), login(&lenient));
    assert_eq!((store(&mut first, "a"), store(&mut second, "b")), (226, 226));
    drop(redis);
    assert_eq!(store(&mut first, "c"), 452);
    assert_eq!(tried(&strict).1, 421);
    // Reading goes on.
    first.expect("SIZE a", 213);
    assert_eq!(store(&mut second, "c"), 226);
    let (_session, code) = tried(&lenient);
    assert_eq!(code, 230);
    log_until(&strict, "logins and uploads that count towards a limit are refused");
    log_until(&lenient, "limits across servers are not enforced");
    // A start without the ledger.
    failed(&run(&mut refusing.command(&["--listen", "127.0.0.1:0"])), 4, "ledger.url: the ledger");
    assert!(checked(&refusing)[0].starts_with("fail  ledger.url: the ledger does not answer"));
    assert!(checked(&allowing)[0].starts_with("warn  ledger.url: the ledger does not answer"));
    check(&allowing).succeeded();
    let late = allowing.serve();
    assert!(late.said().contains("limits across servers are not enforced"), "{}", late.said());
    assert_eq!(store(&mut login(&late), "d"), 226);
}

/// Answers each request with 200, whatever its conditions, until the program ends.
fn answer_everything(mut stream: &TcpStream) -> Option<()> {
    let mut requests = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        requests.read_line(&mut line).ok()?;
        let method = line.split_once(' ')?.0.to_owned();
        while line.trim() != "" {
            line.clear();
            requests.read_line(&mut line).ok()?;
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink()).ok()?;
        let status = if method == "DELETE" { "204 No Content" } else { "200 OK" };
        let head = format!(
            "HTTP/1.1 {status}\r\nx-amz-request-id: 1\r\nETag: \"1\"\r\nContent-Length: 0\r\n"
        );
        let date = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\n";
        stream.write_all(format!("{head}{date}").as_bytes()).ok()?;
    }
}

#[test]
fn a_store_that_ignores_if_match_is_refused_as_a_ledger() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_everything(&stream));
        }
    });
    // Nor does a server go on without a ledger that would lose changes.
    for on_failure in ["refuse", "allow"] {
        let more = format!("on_failure = \"{on_failure}\"");
        let configured = configured(&endpoint, "store:main/state", &more);
        let why = "ledger.url: the store ignores If-Match or If-None-Match";
        failed(&run(&mut configured.command(&["--listen", "127.0.0.1:0"])), 14, why);
        let said = checked(&configured).join("\n");
        assert!(said.starts_with(&format!("fail  {why}")), "{said}");
    }
    // Without a ledger the store is used.
    stores::configured(&endpoint).serve();
}

#[test]
fn another_role_for_the_ledger_needs_a_restart() {
    let Some(objects) = ObjectStore::moto() else { return };
    let endpoint = objects.endpoint();
    let configured = configured(&endpoint, "store:main/state", "");
    let token = configured.here.write("token", b"a token\n");
    let path = configured.here.join("server.toml");
    let with_keys = fs::read_to_string(&path).unwrap();
    let with_role = |role: &str| {
        let lines = with_keys.lines().map(|line| match line.split_once(" = ") {
            Some(("access_key", _)) => {
                format!("role_arn = \"arn:aws:iam::123456789012:role/{role}\"")
            }
            Some(("secret_key_file", _)) => {
                let token = token.display();
                format!("web_identity_token_file = \"{token}\"\nsts_endpoint = \"{endpoint}\"")
            }
            _ => line.to_owned(),
        });
        fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    };
    with_role("one");
    wait_until("the store takes objects", || check(&configured).code() == Some(0));
    let served = configured.serve();
    let warning = "ledger.url: the ledger still uses the former keys or role of store main; \
                   restart the server to change them";
    for (role, is_told) in [("one", false), ("other", true)] {
        with_role(role);
        served.signal("HUP");
        let said = log_until(&served, "configuration reloaded").join("\n");
        assert_eq!(said.contains(warning), is_told, "{said}");
        // The client of the former role still keeps the limits.
        assert_eq!(store(&mut login(&served), role), 226);
    }
}

#[test]
fn two_servers_ban_a_host_together_hs_28() {
    let Some(redis) = Redis::start() else { return };
    let url = redis.url();
    let configured = Configured::new(&format!(
        "ledger.url = \"{url}\"\nlimits.ban_after = 4\nnetwork.proxy_protocol = [\"127.0.0.1\"]\n\
         [users.anna]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n"
    ));
    let (one, other) = (configured.serve(), configured.serve());
    let client = |served: &Served, host: &str, code| {
        let mut session = RawSession::connect(served.address);
        session.line(format!("PROXY TCP4 {host} 192.0.2.1 50000 21"));
        session.expect_reply(code);
        session
    };
    let guess = |session: &mut RawSession, code| {
        session.expect("USER anna", 331);
        session.expect("PASS wrong", code);
    };
    let mut sessions = [&one, &other].map(|served| client(served, "192.0.2.9", 220));
    for _ in 0..2 {
        sessions.iter_mut().for_each(|session| guess(session, 530));
    }
    log_until(&other, "ban session=");
    // The first server learns of it at the next login.
    guess(&mut sessions[0], 421);
    for served in [&one, &other] {
        drop(client(served, "192.0.2.9", 421));
        let mut session = client(served, "192.0.2.10", 220);
        session.expect("USER anna", 331);
        session.expect("PASS p", 230);
    }
}
