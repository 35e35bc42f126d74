//! A store whose requests are late, repeated, lost or answered by another program, and a second node
//! that changes the same names meanwhile. After all of it, the bucket must have what the replies of
//! both nodes say: what was confirmed last is there, nothing confirmed is lost, and no file is a
//! mixture.

mod cases;
mod known;
mod model;
mod resumes;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ftp_tests::at_once::at_once;
use ftp_tests::raw::RawSession;
use ftp_tests::scale::count;
use ftp_tests::wait::wait_until;

use self::cases::{Act, Case, Command, Moment, acts, commands, odds};
use self::known::OPEN;
use self::model::{Bucket, Told, outcomes};
use super::super::http::Treatment;
use super::fake::Fake;
use super::*;
use crate::auth::Rights;
use crate::server::Server;

/// The access keys of the nodes. Only requests of the first one meet faults.
const NODES: [&str; 2] = ["one", "other"];

/// The bytes with this name: see [`Bucket`].
fn bytes_of(name: &str) -> Vec<u8> {
    let part = |name: &str| match name.strip_suffix("[..3]") {
        Some(name) => bytes_of(name)[..3].to_vec(),
        None if name == "LARGE" => content(PART + 9),
        None if name.is_empty() => Vec::new(),
        None => format!("the content {name}").into_bytes(),
    };
    name.split('+').map(part).collect::<Vec<_>>().concat()
}

/// Returns the last reply to a command; 0 if the connection has ended.
fn end(session: &mut RawSession) -> u16 {
    loop {
        match session.try_reply() {
            Ok(reply) if reply.code < 200 => {}
            Ok(reply) => return reply.code,
            Err(_) => return 0,
        }
    }
}

/// A server of the bucket, and a session of it.
struct Node {
    server: Server,
    session: RawSession,
    store: Weak<Inner>,
}

impl Node {
    fn start(fake: &Fake, name: &str) -> Self {
        Self::with(settings(&fake.endpoint()).credentials(name, "secret"))
    }

    /// Starts a node that hardly repeats a request.
    fn hasty(fake: &Fake, name: &str) -> Self {
        // Some cases wait for its end.
        let answer = Duration::from_secs(15);
        let timeouts = S3Timeouts::new().retries(Duration::from_millis(1)).answer(answer);
        let store = settings(&fake.endpoint()).credentials(name, "secret").timeouts(timeouts);
        Self::with(store.patience(Duration::from_secs(1)))
    }

    fn with(store: S3StoreBuilder) -> Self {
        let store = store.build().unwrap();
        let weak = Arc::downgrade(&store.inner);
        let storage = store.storage("").unwrap().rename_trees(100).keep_times(true);
        let server = Server::builder().storage(storage).user("u", "p", Rights::FULL);
        let server = server.bind("127.0.0.1:0").unwrap();
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        Self { server, session, store: weak }
    }

    /// Uses what tests a store at its first use.
    fn warm_up(&mut self) {
        for (line, code) in [("RNFR warm", 350), ("RNTO warmer", 250), ("DELE warmer", 250)] {
            self.session.expect(line, code);
        }
    }

    /// Uses what tests a store at its first use, and does what is to precede a command.
    fn prepare(&mut self, command: &Command) {
        self.warm_up();
        for name in ["h", "i"].into_iter().filter(|_| command.follows) {
            self.begin(&format!("STOR {name}"), Some(name));
            assert_eq!(end(&mut self.session), 226);
        }
        command.before.iter().for_each(|line| assert!(self.session.ask(line).code < 400, "{line}"));
    }

    /// Sends a command, and the content if it uploads one.
    fn begin(&mut self, line: &str, sent: Option<&'static str>) {
        let data = sent.map(|sent| (self.session.passive(), sent));
        self.session.line(line);
        if let Some((data, sent)) = data {
            // The server may refuse it.
            thread::spawn(move || {
                let _ = data.stream().write_all(&bytes_of(sent));
                data.close();
            });
        }
    }

    /// Sends commands, of which the last one decides, as does each one that is refused.
    fn ask(&mut self, act: &Act) -> u16 {
        let mut code = 0;
        for line in &act.lines {
            self.begin(line, act.sent.filter(|_| line.starts_with("STOR")));
            code = end(&mut self.session);
            if code >= 400 {
                break;
            }
        }
        code
    }

    /// Waits until the node has done everything that it still does.
    fn stop(self) {
        drop(self.session);
        self.server.shutdown(Duration::from_secs(9));
        wait_until("the node has ended", || self.store.strong_count() == 0);
    }
}

/// Returns a store with the files that all cases begin with.
fn bucket() -> (Fake, Bucket) {
    let fake = Fake::start();
    let mut bucket = Bucket::new();
    for key in ["f", "g", "o", "d/x", "d/y", "warm"] {
        fake.store(key, &bytes_of(key));
        bucket.insert(key.to_owned(), key.to_owned());
    }
    for key in ["d/", "e/"] {
        fake.store(key, b"");
        bucket.insert(key.to_owned(), String::new());
    }
    (fake, bucket)
}

fn bucket_of(command: &Command) -> (Fake, Bucket) {
    let (fake, bucket) = bucket();
    match command.copies {
        Treatment::Ignored => fake.ignore_conditions_of_copies(),
        Treatment::Refused => fake.refuse_conditions(&["CopyObject"]),
        _ => {}
    }
    (fake, bucket)
}

/// Returns the requests of a command: each operation, and the number of its requests before.
fn requests_of(command: &Command) -> Vec<(&'static str, u64)> {
    let (fake, _) = bucket_of(command);
    let mut node = Node::start(&fake, NODES[0]);
    node.prepare(command);
    let before = fake.requests_of(NODES[0]);
    node.begin(command.line, command.sent);
    assert_eq!(Told::of(end(&mut node.session)), Told::Done, "{}", command.line);
    let all = fake.requests_of(NODES[0]);
    node.stop();
    let each = all.iter().enumerate().skip(before.len()).map(|(at, operation)| {
        let earlier = all[before.len()..at].iter().filter(|other| *other == operation);
        (*operation, earlier.count() as u64)
    });
    each.collect()
}

/// Plays a case. Returns what the bucket has, if the replies do not explain it.
fn play(case: &Case<'_>) -> Result<(), String> {
    let (fake, mut start) = bucket_of(case.command);
    let [mut one, mut other] = NODES.map(|name| Node::start(&fake, name));
    let command = case.command;
    one.prepare(command);
    start.remove("warm");
    for name in ["h", "i"].into_iter().filter(|_| command.follows) {
        start.insert(name.to_owned(), name.to_owned());
    }
    let passed = case.passed;
    fake.meet(NODES[0], case.operation, passed, case.odd);
    one.begin(command.line, command.sent);
    let is_over = AtomicBool::new(false);
    let connection = one.session.stream().try_clone().unwrap();
    let (server, session) = (&one.server, &mut one.session);
    let (first, second) = thread::scope(|scope| {
        let reply = scope.spawn(|| {
            let code = end(session);
            is_over.store(true, Ordering::SeqCst);
            code
        });
        wait_until("the request comes", || fake.is_met() || is_over.load(Ordering::SeqCst));
        match case.moment {
            Moment::During => {
                let second = other.ask(&case.act);
                fake.let_go();
                (reply.join().unwrap(), second)
            }
            Moment::After => {
                fake.let_go();
                (reply.join().unwrap(), other.ask(&case.act))
            }
            Moment::Left => {
                connection.shutdown(Shutdown::Both).unwrap();
                let first = reply.join().unwrap();
                wait_until("the session ends", || server.sessions().is_empty());
                let second = other.ask(&case.act);
                fake.let_go();
                (first, second)
            }
        }
    });
    one.stop();
    other.stop();
    fake.settle();
    let is_after = case.moment != Moment::During;
    let told = [first, second].map(Told::of);
    let all = outcomes(
        &start,
        (&command.steps, told[0]),
        (&case.act.steps, if case.act.lines.is_empty() { Told::Done } else { told[1] }),
        is_after,
    );
    let names: BTreeSet<_> = all.iter().flat_map(Bucket::values).cloned().collect();
    let name_of = |key: &str| {
        let found = fake.content(key).unwrap_or_default();
        let name = names.iter().find(|name| bytes_of(name) == found);
        name.cloned().unwrap_or_else(|| format!("? {} bytes", found.len()))
    };
    let keys = fake.keys("").into_iter().filter(|key| !key.starts_with(".ftp-server/"));
    let found: Bucket = keys.map(|key| (key.clone(), name_of(&key))).collect();
    match all.contains(&found) {
        true => Ok(()),
        false => Err(format!("{first} and {second}: {found:?}")),
    }
}

#[test]
fn whatever_becomes_of_a_request_both_nodes_have_what_was_confirmed_last_cm_102_cm_105_cm_106() {
    let commands = commands();
    let requests = at_once(8, &commands, |command| (command, requests_of(command)));
    let points = requests.iter().flat_map(|(command, requests)| {
        requests.iter().map(move |(operation, passed)| (*command, *operation, *passed))
    });
    let cases = points.flat_map(|(command, operation, passed)| {
        odds(operation).into_iter().flat_map(move |(odd, moment)| {
            let acts = acts(command).into_iter();
            acts.map(move |act| Case { command, operation, passed, odd, moment, act })
        })
    });
    let cases: Vec<_> = cases.collect();
    // A plain run has each act for some requests, because a prime is no multiple of their number.
    let (total, every) = (cases.len(), count(101, 1));
    assert!(total > 13_000, "{total} cases");
    let played = at_once(40, cases.into_iter().step_by(every), |case| (case.row(), play(&case)));
    println!("{} of {total} cases", played.len());
    compare("worlds", &played, &OPEN);
}

/// Returns whether a row is one of a table: each of its columns begins as that of the table does.
fn is_of(row: &str, known: &str) -> bool {
    known.split(" | ").zip(row.split(" | ")).all(|(known, own)| own.starts_with(known))
}

/// Compares the cases that failed with those that are known to.
fn compare(what: &str, played: &[(String, Result<(), String>)], known: &[&str]) {
    let failed: Vec<_> = played.iter().filter(|(_, end)| end.is_err()).collect();
    let fails = |known: &str| failed.iter().any(|(row, _)| is_of(row, known));
    let passing: Vec<_> = known.iter().filter(|known| !fails(known)).collect();
    let is_known = |row: &str| known.iter().any(|known| is_of(row, known));
    let new = failed.iter().filter(|(row, _)| !is_known(row));
    let new: Vec<_> =
        new.map(|(row, end)| format!("{row}: {}", end.as_ref().unwrap_err())).collect();
    println!(
        "{what}: {} cases, {} known failures; rows of the table without a failure: {passing:#?}",
        played.len(),
        failed.len() - new.len(),
    );
    assert!(new.is_empty(), "{} failures:\n{}", new.len(), new.join("\n"));
}
