//! A run that loses its connection, or whose files another program changes, at any of its commands:
//! all steps, losses and changes of a table, with a server in memory. Success means the source's
//! content, and no source goes without its copy.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use ftp_client::file::{Relay, TemporaryName};
use ftp_client::{Client, Done, Error, FileOptions, Get, Place, Put, Resume};
use ftp_tests::at_once::at_once;
use ftp_tests::scale::some;
use socket2::SockRef;

use crate::peer::{reset, timeouts};

/// How the connection is lost at a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cut {
    /// It is not.
    Never,
    /// The server does not get the command.
    Before,
    /// The server carries out the command, and its last reply is lost.
    After,
    /// Half of the data of a transfer arrives.
    Amid,
}

/// What another program does at a command: it stores a file of its own under this name, of the size of
/// the source or of the half that a cut transfer leaves, or removes all files but the source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Other {
    Nothing,
    Stores(&'static str, usize),
    RemovesAll,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    step: usize,
    cut: Cut,
    other: Other,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Command {
    Put { temporary: bool, resumes: bool, moves: bool },
    Get { resumes: bool, moves: bool },
    Copy { temporary: bool },
}

/// The size of the source in bytes: more than the end that is compared.
const SIZE: usize = 160_000;
const HALF: usize = SIZE / 2;

/// The most attempts of a run.
const ATTEMPTS: usize = 4;

/// A moment that no run reaches.
const NEVER: Moment = Moment { step: usize::MAX, cut: Cut::Never, other: Other::Nothing };

fn source() -> Vec<u8> {
    let mut source = (0..251).collect::<Vec<_>>().repeat(SIZE / 251 + 1);
    source.truncate(SIZE);
    source
}

/// The files of a server, each with the second of its time.
struct World {
    files: BTreeMap<String, (Vec<u8>, usize)>,
    clock: usize,
    steps: usize,
    moment: Moment,
    /// Every content that a file has had.
    had: Vec<(String, Vec<u8>)>,
    /// What other programs have stored.
    of_others: Vec<(String, Vec<u8>)>,
    /// The local file.
    local: PathBuf,
    /// Whether a client has removed a file of which the local one was no copy.
    has_lost: bool,
    is_over: bool,
    /// The number of connections.
    connections: usize,
    /// That number when another program stored a file under the temporary name, which nothing has
    /// shown since.
    unseen: Option<usize>,
    /// Whether the client has noted the time of its upload under the temporary name.
    is_noted: bool,
    /// Whether it had when another program stored that file.
    is_seen_later: bool,
    /// Whether a change came between the last look of a connection and its command: nothing can show
    /// it.
    is_excused: bool,
}

type Shared = Arc<Mutex<World>>;

fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl World {
    fn put(&mut self, name: &str, content: Vec<u8>) {
        self.clock += 1;
        self.had.push((name.to_owned(), content.clone()));
        self.files.insert(name.to_owned(), (content, self.clock));
    }

    fn content(&self, name: &str) -> Option<&Vec<u8>> {
        self.files.get(name).map(|file| &file.0)
    }

    fn has_had(&self, name: &str, content: &[u8]) -> bool {
        self.had.iter().any(|(of, had)| of == name && had == content)
    }

    /// Returns whether a file has the content of `source`, or what another program stored under its
    /// own name.
    fn is_clean(&self, name: &str, is_source: impl Fn(&[u8]) -> bool) -> bool {
        let of_other = |content: &[u8]| {
            self.of_others.iter().any(|(of, other)| of == name && other == content)
        };
        self.content(name).is_none_or(|content| is_source(content) || of_other(content))
    }

    fn other(&mut self) {
        match self.moment.other {
            Other::Nothing => {}
            Other::Stores(name, size) => {
                // The end differs from that of each part of the source.
                let content = vec![0xee; size];
                self.of_others.push((name.to_owned(), content.clone()));
                self.unseen = (name == ".in.t").then_some(self.connections);
                self.is_seen_later = self.is_noted;
                self.put(name, content);
            }
            Other::RemovesAll => self.files.retain(|name, _| name == "s"),
        }
    }
}

fn start(world: &Shared) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let world = Arc::clone(world);
    thread::spawn(move || {
        for control in listener.incoming().flatten() {
            if lock(&world).is_over {
                return;
            }
            let world = Arc::clone(&world);
            lock(&world).connections += 1;
            let number = lock(&world).connections;
            let session = Session { control, number, data: None, rest: 0, from: None };
            thread::spawn(move || session.run(&world));
        }
    });
    address
}

enum Data {
    Passive(TcpListener),
    Active(SocketAddr),
}

struct Session {
    control: TcpStream,
    number: usize,
    data: Option<Data>,
    rest: usize,
    from: Option<String>,
}

impl Session {
    fn run(mut self, world: &Shared) {
        let mut lines = BufReader::new(self.control.try_clone().unwrap());
        self.say("220 ready");
        let mut line = String::new();
        loop {
            line.clear();
            let mut bytes = Vec::new();
            if !lines.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
                return;
            }
            // A Telnet signal comes before ABOR.
            let ascii: Vec<_> = bytes.into_iter().filter(u8::is_ascii).collect();
            line.push_str(std::str::from_utf8(&ascii).unwrap().trim_end());
            let mut shared = lock(world);
            shared.steps += 1;
            let cut = match shared.steps == shared.moment.step {
                true => shared.moment.cut,
                false => Cut::Never,
            };
            let is_moment = shared.steps == shared.moment.step;
            if is_moment && matches!(cut, Cut::Never | Cut::Before) {
                shared.other();
                shared.is_excused |= cut == Cut::Never && line.starts_with("DELE");
            }
            drop(shared);
            if cut == Cut::Before {
                return reset(self.control);
            }
            let reply = self.act(&line, cut == Cut::Amid, world);
            if matches!(cut, Cut::After | Cut::Amid) {
                lock(world).other();
                return reset(self.control);
            }
            self.say(&reply);
            if line == "QUIT" {
                return;
            }
        }
    }

    fn say(&mut self, line: &str) {
        let _ = self.control.write_all(format!("{line}\r\n").as_bytes());
    }

    fn act(&mut self, line: &str, is_half: bool, world: &Shared) -> String {
        let (verb, name) = line.split_once(' ').unwrap_or((line, ""));
        let file = lock(world).files.get(name).cloned();
        match (verb, file) {
            ("USER", _) => "331 password",
            ("PASS", _) => "230 in",
            ("FEAT", _) => "211-have\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n211 end",
            ("TYPE" | "OPTS" | "NOOP", _) => "200 ok",
            ("PWD", _) => "257 \"/\"",
            ("ABOR", _) => "226 ok",
            ("QUIT", _) => "221 bye",
            ("SIZE", Some((content, _))) => {
                // Without the connection to the source, nothing tells the size that it must have.
                let mut world = lock(world);
                if name == ".in.t" && content.len() != SIZE && world.moment.cut == Cut::Never {
                    world.unseen = None;
                }
                return format!("213 {}", content.len());
            }
            ("MDTM", Some((_, second))) => {
                if name == ".in.t" {
                    let mut world = lock(world);
                    world.is_noted = true;
                    if world.is_seen_later {
                        world.unseen = None;
                    }
                }
                return format!("213 202601010{:03}{:02}", second / 60, second % 60);
            }
            ("EPSV" | "PASV", _) => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                // The client may have lost the other connection.
                SockRef::from(&listener).set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let port = listener.local_addr().unwrap().port();
                self.data = Some(Data::Passive(listener));
                let [high, low] = port.to_be_bytes();
                return match verb {
                    "EPSV" => format!("229 ok (|||{port}|)"),
                    _ => format!("227 ok (127,0,0,1,{high},{low})"),
                };
            }
            ("PORT", _) => {
                let mut numbers = name.split(',').skip(4).map(|it| it.parse().unwrap());
                let port = u16::from_be_bytes([numbers.next().unwrap(), numbers.next().unwrap()]);
                self.data = Some(Data::Active(SocketAddr::from(([127, 0, 0, 1], port))));
                "200 ok"
            }
            ("REST", _) => {
                self.rest = name.parse().unwrap();
                "350 ok"
            }
            ("RNFR", Some(_)) => {
                self.from = Some(name.to_owned());
                "350 ok"
            }
            ("RNTO", _) => {
                let from = self.from.take().unwrap();
                let mut world = lock(world);
                // Another program may have removed it.
                let Some(moved) = world.files.remove(&from) else { return "550 gone".to_owned() };
                world.is_excused |= world.unseen.is_some_and(|count| self.number <= count);
                world.had.push((name.to_owned(), moved.0.clone()));
                world.files.insert(name.to_owned(), moved);
                "250 ok"
            }
            ("DELE", Some((content, _))) => {
                let mut world = lock(world);
                world.files.remove(name);
                world.has_lost |= fs::read(&world.local).ok() != Some(content);
                "250 ok"
            }
            ("RETR", Some((content, _))) => return self.send(&content, is_half),
            ("STOR" | "APPE", file) => {
                let old = file.map(|file| file.0).unwrap_or_default();
                return self.store((verb, name), old, is_half, world);
            }
            ("SIZE" | "MDTM" | "RNFR" | "DELE" | "RETR", None) => "550 no such file",
            _ => "502 what",
        }
        .to_owned()
    }

    fn connect(&mut self) -> Option<TcpStream> {
        match self.data.take()? {
            Data::Passive(listener) => Some(listener.accept().ok()?.0),
            Data::Active(address) => TcpStream::connect(address).ok(),
        }
    }

    fn send(&mut self, content: &[u8], is_half: bool) -> String {
        let rest = std::mem::take(&mut self.rest);
        self.say("150 go on");
        let Some(mut data) = self.connect() else { return "425 no".to_owned() };
        let bytes = content.get(rest..).unwrap_or_default();
        let count = if is_half { bytes.len() / 2 } else { bytes.len() };
        if data.write_all(bytes.get(..count).unwrap_or_default()).is_err() {
            return "426 cut".to_owned();
        }
        "226 done".to_owned()
    }

    fn store(
        &mut self,
        (verb, name): (&str, &str),
        old: Vec<u8>,
        is_half: bool,
        world: &Shared,
    ) -> String {
        let rest = std::mem::take(&mut self.rest);
        self.say("150 go on");
        let Some(data) = self.connect() else { return "425 no".to_owned() };
        let mut content = old;
        content.truncate(if verb == "APPE" { usize::MAX } else { rest });
        let most = if is_half { HALF as u64 } else { u64::MAX };
        let is_whole = data.take(most).read_to_end(&mut content).is_ok();
        lock(world).put(name, content);
        lock(world).is_noted &= name != ".in.t";
        if is_whole { "226 done".to_owned() } else { "426 cut".to_owned() }
    }
}

/// One attempt, or several of one job.
fn attempts(command: Command, address: SocketAddr, local: &Path, most: usize) -> Result<(), Error> {
    let options = FileOptions::new().retried(most > 1);
    let connect = || -> Result<Client, Error> {
        let mut client = Client::builder().timeouts(timeouts()).connect(&address.to_string())?;
        client.login("u", "p")?;
        Ok(client)
    };
    let persist = |attempt: &mut dyn FnMut() -> Result<(Result<Done, Error>, bool), Error>| {
        let mut last = Err(Error::Closed);
        for _ in 0..most {
            let (done, is_final) = match attempt() {
                Ok(done) => done,
                Err(error) => (Err(error), false),
            };
            last = done.map(drop);
            if last.is_ok() || is_final || !last.as_ref().is_err_and(Error::is_transient) {
                break;
            }
        }
        last
    };
    let resume = |resumes: bool| if resumes { Resume::Proven } else { Resume::Own };
    let under = |is_temporary: bool| is_temporary.then(|| TemporaryName::parse(b".in.*").unwrap());
    match command {
        Command::Put { temporary, resumes, moves } => {
            let options = options.resume(resume(resumes)).moves(moves);
            let mut put = Put::from_path(local, Place::at("t"), &options)
                .store_as(under(temporary))
                .resumable(most > 1);
            persist(&mut || {
                let done = put.attempt(&mut connect()?, &());
                Ok((done, put.is_final()))
            })
        }
        Command::Get { resumes, moves } => {
            let options = options.resume(resume(resumes)).moves(moves);
            let mut get = Get::to_path(Place::at("s"), local, &options);
            persist(&mut || Ok((get.attempt(&mut connect()?, &()), false)))
        }
        Command::Copy { temporary } => {
            let mut copy = Relay::new(Place::at("s"), Place::at("t"), &options)
                .under(under(temporary))
                .in_place(true);
            persist(&mut || {
                let done = copy.attempt(&mut connect()?, &mut connect()?, &());
                Ok((done, copy.is_final()))
            })
        }
    }
}

/// Plays a run, which is killed or retried after a failure. Returns the number of its commands.
fn play(command: Command, old: Option<usize>, is_killed: bool, moment: Moment) -> usize {
    let root = tempfile::tempdir().unwrap();
    let local = root.path().join("local");
    let mut world = World {
        files: BTreeMap::new(),
        clock: 0,
        steps: 0,
        moment,
        had: Vec::new(),
        of_others: Vec::new(),
        local: local.clone(),
        has_lost: false,
        is_over: false,
        connections: 0,
        unseen: None,
        is_noted: false,
        is_seen_later: false,
        is_excused: false,
    };
    match command {
        Command::Put { .. } => fs::write(&local, source()).unwrap(),
        Command::Get { .. } | Command::Copy { .. } => world.put("s", source()),
    }
    if let Some(size) = old {
        world.put("t", vec![0xdd; size]);
    }
    let world = Arc::new(Mutex::new(world));
    let address = start(&world);
    let mut done = Err(Error::Closed);
    for _ in 0..if is_killed { 3 } else { 1 } {
        done = attempts(command, address, &local, if is_killed { 1 } else { ATTEMPTS });
        if done.is_ok() {
            break;
        }
    }
    lock(&world).is_over = true;
    drop(TcpStream::connect(address));
    let world = lock(&world);
    let what = format!("{command:?}, old {old:?}, killed {is_killed}, {moment:?}: {done:?}");
    if world.is_excused {
        return world.steps;
    }
    let is_version = |content: &[u8]| world.has_had("s", content);
    match command {
        Command::Put { moves, .. } => {
            let is_gone = moves && !local.exists();
            if done.is_ok() || is_gone {
                assert!(world.has_had("t", &source()), "{what}");
                assert!(world.is_clean("t", |content| content == source()), "{what}");
            }
            assert!(is_gone || fs::read(&local).unwrap() == source(), "{what}");
        }
        Command::Get { .. } => {
            let here = fs::read(&local).ok();
            if done.is_ok() {
                assert!(here.as_deref().is_some_and(is_version), "{what}");
            }
            assert!(!world.has_lost, "{what}");
        }
        Command::Copy { .. } => {
            if done.is_ok() {
                let copied = |(of, content): &(String, Vec<u8>)| of == "t" && is_version(content);
                assert!(world.had.iter().any(copied), "{what}");
                assert!(world.is_clean("t", is_version), "{what}");
            }
        }
    }
    if moment.step == NEVER.step {
        assert!(done.is_ok(), "{what}");
    }
    world.steps
}

#[test]
fn at_each_moment_success_means_the_content_of_the_source() {
    let put = |temporary, resumes, moves| Command::Put { temporary, resumes, moves };
    let commands = [
        put(true, false, false),
        put(false, true, false),
        put(false, false, false),
        put(true, false, true),
        put(false, false, true),
        Command::Get { resumes: true, moves: false },
        Command::Get { resumes: false, moves: true },
        Command::Copy { temporary: false },
        Command::Copy { temporary: true },
    ];
    let mut cases = Vec::new();
    for command in commands {
        let mut others = vec![Other::Nothing];
        let names: &[_] = match command {
            Command::Put { .. } => &["t", ".in.t"],
            Command::Get { .. } => &["s"],
            Command::Copy { .. } => &["s", "t", ".in.t"],
        };
        for name in names {
            others.extend([SIZE, HALF].map(|size| Other::Stores(name, size)));
        }
        others.push(Other::RemovesAll);
        let olds: &[_] = match command {
            Command::Get { .. } => &[None],
            Command::Put { .. } | Command::Copy { .. } => &[None, Some(SIZE), Some(HALF)],
        };
        for old in olds {
            let steps = play(command, *old, false, NEVER);
            for (step, is_killed) in (1..=steps).flat_map(|step| [(step, false), (step, true)]) {
                for cut in [Cut::Never, Cut::Before, Cut::After, Cut::Amid] {
                    cases.extend(others.iter().map(|other| {
                        (command, *old, is_killed, Moment { step, cut, other: *other })
                    }));
                }
            }
        }
    }
    let all = cases.len();
    // A plain run plays some of each part.
    let cases = (0..all).filter_map(|at| cases.get(at * 7_919 % all).copied()).collect();
    let cases = some(cases, all / 12);
    println!("{} of {all} cases", cases.len());
    // A download that removes its source waits for a second to pass.
    at_once(48, cases, |(command, old, is_killed, moment)| play(command, old, is_killed, moment));
}
