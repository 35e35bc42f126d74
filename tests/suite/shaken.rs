//! Two servers of a bucket, each with an unreliable network to the store, which loses requests and
//! answers, holds requests back, and sends them again later. Clients change two files at random, one
//! after the other or at once. After each 226 and 250, the newest confirmed content must be there.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ftp_tests::at_once::at_once;
use ftp_tests::between::{Fate, between};
use ftp_tests::peer::ObjectStore;
use ftp_tests::random::Random;
use ftp_tests::scale;

use super::stores::{login, place, serve};

/// The longest time for which a request is held, or after which it comes again: longer than the
/// timeouts of the servers.
const LATE: usize = 6_000;

/// An unreliable network.
struct Network {
    random: Mutex<Random>,
    is_calm: AtomicBool,
    /// When the last held or repeated request has reached the store.
    quiet: Mutex<Instant>,
}

impl Network {
    fn before(store: SocketAddr, seed: u64) -> (SocketAddr, Arc<Self>) {
        let (random, is_calm) = (Mutex::new(Random::new(seed)), AtomicBool::new(true));
        let network = Arc::new(Self { random, is_calm, quiet: Mutex::new(Instant::now()) });
        let all = Arc::clone(&network);
        (between(store, move |head| all.decide(head)), network)
    }

    fn decide(&self, head: &[u8]) -> Fate {
        if self.is_calm.load(Ordering::SeqCst) {
            return Fate::Pass(None);
        }
        // A question that fails only refuses a command.
        let is_question = head.starts_with(b"GET") || head.starts_with(b"HEAD");
        let mut random = self.random.lock().unwrap();
        let of = if is_question { 60 } else { 12 };
        let (what, later) = (random.below(of), random.below(LATE) as u64);
        drop(random);
        let later = Duration::from_millis(later);
        if (3..=5).contains(&what) {
            let mut quiet = self.quiet.lock().unwrap();
            *quiet = (*quiet).max(Instant::now() + later);
        }
        match what {
            0 => Fate::Lost,
            1 | 2 => Fate::AnswerLost,
            3 => {
                thread::sleep(later);
                Fate::Pass(None)
            }
            4 => {
                thread::sleep(later);
                Fate::AnswerLost
            }
            5 => Fate::Twice(later),
            _ => Fate::Pass(None),
        }
    }

    /// Lets everything pass, and waits until what was held has passed, too.
    fn calm(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
        let left = self.quiet.lock().unwrap().saturating_duration_since(Instant::now());
        thread::sleep(left + Duration::from_millis(300));
    }
}

/// Stands for the bytes that make an upload one of several parts. They follow those that a client
/// resumes after.
const LARGE: &str = "=";

fn large() -> String {
    ".".repeat(5 << 20)
}

/// What two files may have. Each content is sent once, so none can be taken for another.
type Files = [Option<String>; 2];

const NAMES: [&str; 2] = ["f", "g"];

#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    Stor(String),
    Appe(String),
    /// From this byte on.
    Rest(usize, String),
    Dele,
    /// To the other name.
    Rename,
}

/// A command for the file with this number.
#[derive(Clone, Debug)]
struct Order {
    at: usize,
    what: What,
    /// Whether the client leaves before the reply.
    leaves: bool,
}

impl Order {
    fn random(random: &mut Random, number: usize) -> Self {
        let mark = if random.below(12) == 0 { LARGE } else { "" };
        let text = format!("<{number}: some bytes>{mark}");
        let what = match random.below(10) {
            0..=3 => What::Stor(text),
            4 => What::Appe(text),
            5 => What::Rest(random.below(6) + 1, text),
            6 | 7 => What::Dele,
            _ => What::Rename,
        };
        Self { at: random.below(2), what, leaves: random.below(8) == 0 }
    }

    /// Returns what the files have after the command; nothing if it cannot succeed. `cut` are the
    /// uploads to the file that failed: a client resumes its own.
    fn apply(&self, files: &Files, cut: &[Vec<String>; 2]) -> Vec<Files> {
        let old = files[self.at].clone();
        let with = |new: Option<String>| {
            let mut files = files.clone();
            files[self.at] = new;
            files
        };
        match (&self.what, old) {
            (What::Stor(new), _) => vec![with(Some(new.clone()))],
            (What::Appe(new), old) => vec![with(Some(old.unwrap_or_default() + new))],
            (What::Rest(from, new), old) => {
                let begins = cut[self.at].iter().cloned().chain(old);
                let begins = begins.filter_map(|old| Some(old.get(..*from)?.to_owned() + new));
                begins.map(|new| with(Some(new))).collect()
            }
            // Another removal may have been the first.
            (What::Dele, _) => vec![with(None)],
            (What::Rename, None) => Vec::new(),
            (What::Rename, Some(old)) => {
                let mut files = with(None);
                files[1 - self.at] = Some(old);
                vec![files]
            }
        }
    }

    /// Returns what the files may have after the command has failed, or while it goes on.
    fn apply_partly(&self, files: &Files, cut: &[Vec<String>; 2]) -> Vec<Files> {
        let mut all = self.apply(files, cut);
        if let (What::Rename, Some(old)) = (&self.what, &files[self.at]) {
            let mut both = files.clone();
            both[1 - self.at] = Some(old.clone());
            all.push(both);
        }
        all
    }

    /// Sends the command, and returns the code of its reply; 0 if there is none.
    fn send(&self, address: SocketAddr, directory: &str) -> u16 {
        let mut session = login(address);
        session.set_deadline(Duration::from_secs(60));
        if session.ask(format!("CWD {directory}")).code != 250 {
            return 550;
        }
        let name = NAMES[self.at];
        let (line, bytes) = match &self.what {
            What::Stor(new) => (format!("STOR {name}"), Some(new)),
            What::Appe(new) => (format!("APPE {name}"), Some(new)),
            What::Rest(from, new) => {
                session.expect(format!("REST {from}"), 350);
                (format!("STOR {name}"), Some(new))
            }
            What::Dele => (format!("DELE {name}"), None),
            What::Rename => {
                let code = session.ask(format!("RNFR {name}")).code;
                if code != 350 {
                    return code;
                }
                (format!("RNTO {}", NAMES[1 - self.at]), None)
            }
        };
        let data = bytes.map(|_| session.passive());
        session.line(line);
        if let (Some(data), Some(bytes)) = (data, bytes) {
            let code = session.try_reply().map_or(0, |reply| reply.code);
            if code != 150 {
                return code;
            }
            // The server may have ended the upload.
            let _ = data.stream().write_all(bytes.replace(LARGE, &large()).as_bytes());
            data.close();
        }
        if self.leaves {
            session.stream().shutdown(Shutdown::Both).unwrap();
            // The server sees that its client has left.
            thread::sleep(Duration::from_secs(1));
            return 0;
        }
        session.try_reply().map_or(0, |reply| reply.code)
    }
}

/// A request that may still be made: the content of the file with this number, if it has one of these
/// contents.
type Late = (usize, BTreeSet<Option<String>>, Option<String>);

/// What is known of two files.
struct Model {
    may_be: BTreeSet<Files>,
    late: Vec<Late>,
    cut: [Vec<String>; 2],
    told: Vec<String>,
}

impl Model {
    fn add_late(&mut self) {
        loop {
            let mut more = Vec::new();
            for files in &self.may_be {
                for (at, base, new) in &self.late {
                    if base.contains(&files[*at]) && files[*at] != *new {
                        let mut files = files.clone();
                        files[*at].clone_from(new);
                        more.push(files);
                    }
                }
            }
            let count = self.may_be.len();
            self.may_be.extend(more);
            if self.may_be.len() == count {
                return;
            }
        }
    }

    /// Adds the requests of a command that may come late.
    fn begin(&mut self, order: &Order) {
        self.add_late();
        let mut made = Vec::new();
        for files in &self.may_be {
            for after in order.apply_partly(files, &self.cut) {
                made.extend(
                    (0..2)
                        .filter(|at| after[*at] != files[*at])
                        .map(|at| (at, BTreeSet::from([files[at].clone()]), after[at].clone())),
                );
            }
        }
        self.late.extend(made);
    }

    /// Adds the outcome of a command.
    fn end(&mut self, order: &Order, code: u16) {
        self.told.push(format!("{order:?}: {code}"));
        self.add_late();
        let all = std::mem::take(&mut self.may_be);
        match code {
            226 | 250 => {
                self.may_be = all.iter().flat_map(|it| order.apply(it, &self.cut)).collect();
            }
            _ => {
                let made = all.iter().flat_map(|files| order.apply_partly(files, &self.cut));
                // A 4yz or 5yz other than these says that nothing has changed.
                let is_open = [0, 421, 426, 451].contains(&code) || order.what == What::Rename;
                self.may_be = made.filter(|_| is_open).chain(all.clone()).collect();
                if let What::Stor(new) = &order.what {
                    self.cut[order.at].push(new.clone());
                }
            }
        }
        self.add_late();
    }

    /// Adds what a client has read.
    fn read(&mut self, at: usize, content: &Option<String>) -> Result<(), String> {
        self.add_late();
        self.told.push(format!("{} is {content:?}", NAMES[at]));
        let before = self.may_be.clone();
        self.may_be.retain(|files| files[at] == *content);
        match self.may_be.is_empty() {
            false => Ok(()),
            true => Err(format!("{:#?} instead of one of {before:#?}", self.told)),
        }
    }
}

/// Returns the content of a file; `None` if there is none.
fn content(address: SocketAddr, name: &str) -> Option<String> {
    let mut session = login(address);
    let data = session.passive();
    let reply = session.ask(format!("RETR {name}"));
    if reply.code == 550 {
        return None;
    }
    assert_eq!(reply.code, 150, "{name}: {}", session.dialogue());
    let bytes = data.read_to_end();
    session.expect_reply(226);
    Some(String::from_utf8(bytes).unwrap().replace(&large(), LARGE))
}

/// Plays a case, and returns what was wrong and the number of successes.
fn play(store: &ObjectStore, calm: SocketAddr, seed: u64) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let (there, directory) = (place(store), format!("case {seed}"));
    let (_, keys) = there.split_once(' ').unwrap();
    let nodes = [0, 1].map(|node| {
        let (address, network) = Network::before(store.address(), random.number() ^ node);
        (serve(&format!("http://{address} {keys} hasty")), network)
    });
    let mut first = login(calm);
    first.expect(format!("MKD {directory}"), 257);
    let mut model = Model {
        may_be: BTreeSet::from([[Some("the old f".to_owned()), None]]),
        late: Vec::new(),
        cut: Default::default(),
        told: vec![format!("seed {seed}")],
    };
    first.upload(format!("STOR {directory}/f"), b"the old f");
    drop(first);
    let shake = |is_calm| {
        for (_, network) in &nodes {
            network.is_calm.store(is_calm, Ordering::SeqCst);
        }
    };
    shake(false);
    let mut successes = 0;
    for step in 0..scale::count(4, 6) {
        let orders = [0, 1].map(|which| Order::random(&mut random, 10 * step + which));
        let [one, two] = [random.below(2), random.below(2)];
        let addresses = [one, two].map(|node| nodes[node].0.local_addr());
        let mut ends = Vec::new();
        if random.below(3) == 0 {
            // Both at once: either of them can be the first.
            for order in orders.iter().chain(&orders) {
                model.begin(order);
            }
            let [first, second] = &orders;
            let codes = thread::scope(|scope| {
                let other = scope.spawn(|| second.send(addresses[1], &directory));
                [first.send(addresses[0], &directory), other.join().unwrap()]
            });
            let before = (model.may_be.clone(), model.cut.clone(), model.told.len());
            model.end(first, codes[0]);
            model.end(second, codes[1]);
            let after = std::mem::replace(&mut model.may_be, before.0);
            let cut = std::mem::replace(&mut model.cut, before.1);
            model.told.truncate(before.2);
            model.end(second, codes[1]);
            model.end(first, codes[0]);
            model.told.push("at once".to_owned());
            model.may_be.extend(after);
            model.cut.iter_mut().zip(cut).for_each(|(all, more)| all.extend(more));
            ends.extend(codes);
        } else {
            model.begin(&orders[0]);
            let code = orders[0].send(addresses[0], &directory);
            model.end(&orders[0], code);
            ends.push(code);
        }
        successes += ends.iter().filter(|code| [226, 250].contains(*code)).count();
        for (at, name) in NAMES.iter().enumerate() {
            let found = content(calm, &format!("{directory}/{name}"));
            model.read(at, &found)?;
        }
    }
    for (_, network) in &nodes {
        network.calm();
    }
    for address in [calm, nodes[0].0.local_addr(), nodes[1].0.local_addr()] {
        for (at, name) in NAMES.iter().enumerate() {
            let found = content(address, &format!("{directory}/{name}"));
            model.read(at, &found)?;
        }
    }
    Ok(successes)
}

#[test]
fn two_servers_with_bad_networks_keep_what_they_have_confirmed_cm_102_cm_105() {
    let Some(store) = ObjectStore::seaweedfs() else { return };
    let calm = serve(&place(&store));
    let first = Random::new(1).seed();
    let count = scale::count(12, 320) as u64;
    let ends = at_once(24, first..first + count, |seed| play(&store, calm.local_addr(), seed));
    let successes: usize = ends.iter().flatten().sum();
    println!("{count} cases, {successes} confirmed changes");
    let wrong: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    assert!(successes as u64 >= count, "only {successes} changes were confirmed");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
