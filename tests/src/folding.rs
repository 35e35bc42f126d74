//! An FTP server in memory that stores names as some disks do: without case, composed or
//! decomposed, without dots and blanks at the end, cut short. It can also list new names late, hide
//! names, refuse commands and close connections.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use unicode_normalization::UnicodeNormalization;

use crate::port::OwnPort;

/// Properties of a [`FoldingServer`]. The default keeps every name as it is, and supports `MLSD`,
/// `MLST`, `SIZE`, `MDTM`, `MFMT` and `REST`.
#[derive(Clone, Debug, Default)]
pub struct Kind {
    /// Two names that differ only in case are one.
    pub no_case: bool,
    /// Names are stored in this form.
    pub form: Option<Form>,
    /// Dots and blanks at the end of a name are dropped.
    pub drops_ends: bool,
    /// Names are cut to this number of characters.
    pub cuts: Option<usize>,
    /// Number of listings of a directory that do not show a new name yet.
    pub lists_late: u32,
    /// Names that begin with a dot are not listed. No real server does that in `MLSD`.
    pub hides_dots: bool,
    /// The last name of each directory that has more than one is not listed.
    pub cuts_lists: bool,
    /// Each listing ends after this number of names.
    pub cuts_at: Option<usize>,
    /// `RMD` removes a directory with all that is in it.
    pub rmd_takes_all: bool,
    /// `DELE` is always confirmed, and removes nothing.
    pub dele_lies: bool,
    /// The link count of each directory is 1, as on Btrfs.
    pub counts_no_links: bool,
    /// `RNTO` onto an existing file is refused.
    pub keeps_targets: bool,
    /// Listings only in the form of `LIST`.
    pub no_mlsd: bool,
    /// The control connection is closed after this number of transfers of files.
    pub closes_after: Option<usize>,
    /// The control connection is closed after each third command of this verb.
    pub closes_after_three: Option<&'static str>,
    /// The first command of this verb is carried out, but the connection is closed without a reply.
    pub loses: Option<&'static str>,
    /// The first command of this verb, `STOR` or `RNTO`, gets no reply, and is carried out only by
    /// [`wake`](FoldingServer::wake): it hangs in `open` or `rename`.
    pub hangs: Option<&'static str>,
    /// Another client then stores a file of this content under the path of that command, and after
    /// `RMD` as `new` in another directory of that path.
    pub comes_after: Option<&'static [u8]>,
    /// `MLSD` lists the current directory, whatever its argument is.
    pub ignores_argument: bool,
    /// What happens to command lines that arrive in one packet.
    pub reads: Reads,
    /// When a download is confirmed.
    pub confirms: Confirms,
    /// The port of an `EPSV` that comes together with other commands is closed at once.
    pub closes_ports: bool,
    /// At most this number of connections at a time; further ones get 421.
    pub connections: Option<usize>,
    /// A new connection ends the one before.
    pub kicks: bool,
    /// Each reply takes this number of milliseconds.
    pub delays: u64,
    /// Command lines that begin with the first text get the second as reply. In the first text, no
    /// further rule is tried after a match.
    pub refuses: Vec<(&'static str, &'static str)>,
}

/// What a server does with command lines that arrive in one packet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reads {
    /// It answers them in order.
    #[default]
    InOrder,
    /// It answers the last one first.
    Backwards,
    /// It answers the first one, and drops the others.
    First,
    /// It answers the first one, and each other one when another packet arrives.
    OnePerPacket,
}

/// When a server confirms a download. Except for the first, it waits until the client has closed the
/// data connection, and for a moment whether further commands have come before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Confirms {
    /// At the end of the data.
    #[default]
    AtOnce,
    /// Before it answers further commands.
    Late,
    /// After it has answered further commands.
    Last,
    /// Later, and it drops further commands.
    Alone,
    /// With these lines, which also are its replies to the further commands.
    With(&'static str),
    /// Before the end of the data.
    Early,
    /// Before it answers further commands, the last one first. Other downloads wait until the client
    /// has then closed the connection.
    Backwards,
}

/// A form of Unicode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Composed.
    Nfc,
    /// Decomposed.
    Nfd,
}

impl Kind {
    /// Returns the kinds that take two spellings for one name, each with a name for messages.
    #[must_use]
    pub fn folding() -> Vec<(&'static str, Self)> {
        let kind = Self::default;
        vec![
            ("no case", Self { no_case: true, ..kind() }),
            ("NFC", Self { form: Some(Form::Nfc), ..kind() }),
            ("NFD", Self { form: Some(Form::Nfd), ..kind() }),
            ("no dots and blanks at the end", Self { drops_ends: true, ..kind() }),
            ("eight characters", Self { cuts: Some(8), ..kind() }),
            ("no case, listed late", Self { no_case: true, lists_late: 1, ..kind() }),
            ("no case, no dot names", {
                Self { no_case: true, hides_dots: true, no_mlsd: true, ..kind() }
            }),
            ("no case, lists cut", Self { no_case: true, cuts_lists: true, ..kind() }),
            ("no case, LIST", Self { no_case: true, no_mlsd: true, ..kind() }),
        ]
    }

    /// Returns the name under which an object is listed.
    fn stored(&self, name: &str) -> String {
        let mut name = match self.form {
            Some(Form::Nfc) => name.nfc().collect(),
            Some(Form::Nfd) => name.nfd().collect(),
            None => name.to_owned(),
        };
        if self.drops_ends {
            name.truncate(name.trim_end_matches(['.', ' ']).len());
        }
        name.chars().take(self.cuts.unwrap_or(usize::MAX)).collect()
    }

    /// Returns the name by which an object is found.
    fn key(&self, name: &str) -> String {
        let stored = self.stored(name);
        if self.no_case { stored.to_lowercase() } else { stored }
    }

    fn keys(&self, path: &[String]) -> Vec<String> {
        path.iter().map(|name| self.key(name)).collect()
    }
}

/// An object of the tree, by the keys of its path.
#[derive(Clone, Debug)]
struct Node {
    /// Listed name.
    name: String,
    /// Content of a file; `None` for a directory.
    content: Option<Vec<u8>>,
    /// Modification time as 14 digits.
    modified: String,
    /// The keys of the path to which a symbolic link leads.
    leads: Option<Vec<String>>,
    /// Number of listings that do not show the object yet.
    unlisted: u32,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<Vec<String>, Node>,
    seen: Vec<String>,
    connections: usize,
    logins: usize,
    has_lost: bool,
    /// The keys of the renamed object, if it is a renaming, and the path of the command that hangs.
    hanging: Option<(Option<Vec<String>>, Vec<String>)>,
    /// Downloads before whose confirmation further commands came.
    early: usize,
    /// Held by the only download that may run.
    turn: Arc<Mutex<()>>,
}

/// A running server. Its thread ends with the test program.
#[derive(Debug)]
pub struct FoldingServer {
    address: SocketAddr,
    kind: Arc<Kind>,
    state: Arc<Mutex<State>>,
}

impl FoldingServer {
    /// Starts a server with an empty root, which is the login directory, on a free port of
    /// 127.0.0.1. Any login is accepted.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (kind, state) = (Arc::new(kind), Arc::new(Mutex::new(State::default())));
        let shared = (Arc::clone(&kind), Arc::clone(&state));
        thread::spawn(move || {
            let mut last: Option<TcpStream> = None;
            for control in listener.incoming().flatten() {
                if shared.0.kicks
                    && let Some(last) = std::mem::replace(&mut last, control.try_clone().ok())
                {
                    // It may have ended.
                    let _ = last.shutdown(Shutdown::Both);
                }
                let (kind, state) = (Arc::clone(&shared.0), Arc::clone(&shared.1));
                thread::spawn(move || {
                    lock(&state).connections += 1;
                    let _ = Session::new(&control, &kind, &state).run();
                    lock(&state).connections -= 1;
                });
            }
        });
        Self { address, kind, state }
    }

    /// Returns the URL of a path below the root.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("ftp://{}/{path}", self.address)
    }

    /// Stores a file, and makes its parents, as a client that uses these names would.
    pub fn write(&self, path: &str, content: &[u8]) {
        let names = split(path);
        let mut state = lock(&self.state);
        for end in 1..names.len() {
            let directory = names.get(..end).unwrap_or(&names);
            if !state.nodes.contains_key(&self.kind.keys(directory)) {
                state.put(&self.kind, directory, None);
            }
        }
        state.put(&self.kind, &names, Some(content.to_vec()));
        state.nodes.values_mut().for_each(|node| node.unlisted = 0);
    }

    /// Makes a directory whose parent exists.
    pub fn mkdir(&self, path: &str) {
        lock(&self.state).put(&self.kind, &split(path), None);
    }

    /// Makes, or replaces, a symbolic link to another path from the root.
    pub fn link(&self, path: &str, target: &str) {
        let mut state = lock(&self.state);
        state.put(&self.kind, &split(path), None);
        let leads = Some(self.kind.keys(&split(target)));
        if let Some(node) = state.nodes.get_mut(&self.kind.keys(&split(path))) {
            node.leads = leads;
        }
    }

    /// Returns the content of the file that a client finds at `path`.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        lock(&self.state).nodes.get(&self.kind.keys(&split(path)))?.content.clone()
    }

    /// Returns the modification time of the object at `path`, as 14 digits.
    #[must_use]
    pub fn modified(&self, path: &str) -> Option<String> {
        let state = lock(&self.state);
        state.nodes.get(&self.kind.keys(&split(path))).map(|node| node.modified.clone())
    }

    /// Returns the contents of all files, each with its listed name.
    #[must_use]
    pub fn files(&self) -> Vec<(String, String)> {
        let state = lock(&self.state);
        let files = state.nodes.values().filter_map(|node| {
            let content = node.content.as_ref()?;
            Some((node.name.clone(), String::from_utf8_lossy(content).into_owned()))
        });
        files.collect()
    }

    /// Carries out the command that hangs, although its client has gone. Returns whether there was one.
    #[must_use]
    pub fn wake(&self) -> bool {
        let mut state = lock(&self.state);
        let Some((from, path)) = state.hanging.take() else { return false };
        match from.map(|from| state.nodes.remove(&from)) {
            None => state.put(&self.kind, &path, Some(Vec::new())),
            Some(Some(node)) => state.put(&self.kind, &path, node.content),
            Some(None) => {}
        }
        true
    }

    /// Returns the received command lines, of all connections in order.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        lock(&self.state).seen.clone()
    }

    /// Returns the number of downloads before whose late confirmation further commands came.
    #[must_use]
    pub fn early(&self) -> usize {
        lock(&self.state).early
    }

    /// Returns the number of logins.
    #[must_use]
    pub fn logins(&self) -> usize {
        lock(&self.state).logins
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl State {
    /// Stores an object. An existing object keeps its name, as on exFAT.
    fn put(&mut self, kind: &Kind, path: &[String], content: Option<Vec<u8>>) {
        let Some(name) = path.last() else { return };
        let modified = "20260101000000".to_owned();
        match self.nodes.get_mut(&kind.keys(path)) {
            // Each upload changes the time.
            Some(node) if node.modified == modified => {
                (node.content, node.modified) = (content, "20260101000001".to_owned());
            }
            Some(node) => (node.content, node.modified) = (content, modified),
            None => {
                let (name, unlisted) = (kind.stored(name), kind.lists_late);
                self.nodes.insert(
                    kind.keys(path),
                    Node { name, content, modified, leads: None, unlisted },
                );
            }
        }
    }

    fn is_directory(&self, keys: &[String]) -> bool {
        let is_directory = |node: &Node| node.content.is_none() && node.leads.is_none();
        keys.is_empty() || self.nodes.get(keys).is_some_and(is_directory)
    }

    /// Returns the link count of a directory.
    fn links(&self, keys: &[String]) -> usize {
        let is_inside =
            |path: &&Vec<String>| path.len() == keys.len() + 1 && path.starts_with(keys);
        2 + self.nodes.keys().filter(is_inside).filter(|path| self.is_directory(path)).count()
    }

    /// Returns the keys of a path after all symbolic links in it.
    fn resolved(&self, keys: Vec<String>) -> Vec<String> {
        let mut keys = keys;
        // Links can be endless.
        for _ in 0..32 {
            let found = (1..=keys.len()).find_map(|end| {
                let leads = self.nodes.get(keys.get(..end)?)?.leads.as_ref()?;
                Some([leads, keys.get(end..)?].concat())
            });
            match found {
                Some(found) => keys = found,
                None => break,
            }
        }
        keys
    }

    /// Returns the objects that a listing of a directory shows.
    fn list(&mut self, kind: &Kind, keys: &[String]) -> Vec<Node> {
        let mut shown = Vec::new();
        for (path, node) in &mut self.nodes {
            if path.len() != keys.len() + 1 || !path.starts_with(keys) {
                continue;
            }
            if node.unlisted > 0 {
                node.unlisted -= 1;
            } else if !(kind.hides_dots && node.name.starts_with('.')) {
                shown.push(node.clone());
            }
        }
        shown.truncate(kind.cuts_at.unwrap_or(usize::MAX));
        if kind.cuts_lists && shown.len() > 1 {
            shown.pop();
        }
        shown
    }
}

struct Session<'a> {
    control: &'a TcpStream,
    kind: &'a Kind,
    state: &'a Mutex<State>,
    here: Vec<String>,
    data: Option<TcpListener>,
    /// The last port that was closed at once.
    closed: Option<OwnPort>,
    peer: Option<SocketAddr>,
    rest: usize,
    from: Option<Vec<String>>,
    transfers: usize,
    counted: usize,
    is_silent: bool,
    /// Whether the next line is answered only after another packet.
    waits: bool,
    /// Whether the last packet had several lines.
    is_together: bool,
}

/// The longest wait for a data connection, or for its end.
const CONNECTS: Duration = Duration::from_secs(30);

/// The end of a session.
const OVER: io::ErrorKind = io::ErrorKind::UnexpectedEof;

impl<'a> Session<'a> {
    fn new(control: &'a TcpStream, kind: &'a Kind, state: &'a Mutex<State>) -> Self {
        let (here, data, peer, rest, from, transfers) = (Vec::new(), None, None, 0, None, 0);
        let (counted, is_silent, waits) = (0, false, false);
        Self {
            control,
            kind,
            state,
            here,
            data,
            closed: None,
            peer,
            rest,
            from,
            transfers,
            counted,
            is_silent,
            waits,
            is_together: false,
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(self.kind.delays));
        let is_last = self.counted == 3 && !text.starts_with('1');
        if is_last {
            // The FIN comes with the reply. Else it depends on the scheduler whether the client's next
            // command is lost, or goes over a new connection.
            SockRef::from(self.control).set_tcp_cork(true)?;
        }
        // In one write: a second small one would wait until the first is acknowledged.
        self.control.write_all(format!("{text}\r\n").as_bytes())?;
        if is_last { self.control.shutdown(Shutdown::Write) } else { Ok(()) }
    }

    fn run(&mut self) -> io::Result<()> {
        if self.kind.connections.is_some_and(|most| lock(self.state).connections > most) {
            return self.say("421 too many connections");
        }
        self.say("220 ready")?;
        let (mut lines, mut unread) = (VecDeque::new(), Vec::new());
        loop {
            let Some(line) = self.next_line(&mut lines, &mut unread)? else { return Ok(()) };
            lock(self.state).seen.push(line.clone());
            if let Some((_, reply)) = self.kind.refuses.iter().find(|(it, _)| line.starts_with(it))
            {
                self.say(reply)?;
                continue;
            }
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if self.kind.loses == Some(verb) {
                self.is_silent = !std::mem::replace(&mut lock(self.state).has_lost, true);
            }
            if self.kind.hangs == Some(verb) {
                let path = self.path(argument);
                let mut state = lock(self.state);
                if !std::mem::replace(&mut state.has_lost, true) {
                    state.hanging = Some((self.from.take().filter(|_| verb == "RNTO"), path));
                    drop(state);
                    while self.control.read(&mut [0; 64])? > 0 {}
                    return Ok(());
                }
            }
            let ignores = self.kind.ignores_argument && verb == "MLSD";
            self.counted += usize::from(self.kind.closes_after_three == Some(verb));
            self.act(&verb.to_uppercase(), if ignores { "" } else { argument })?;
            if self.is_silent
                && let Some(content) = self.kind.comes_after
            {
                let mut path = self.path(argument);
                if verb == "RMD" {
                    lock(self.state).put(self.kind, &path, None);
                    path.push("new".to_owned());
                }
                lock(self.state).put(self.kind, &path, Some(content.to_vec()));
            }
            if self.is_silent || self.counted == 3 {
                return Ok(());
            }
            if self.kind.closes_after.is_some_and(|most| self.transfers >= most) {
                return Ok(());
            }
        }
    }

    /// Returns the next command line, as the server reads them; `None` at the end.
    fn next_line(
        &mut self,
        lines: &mut VecDeque<String>,
        unread: &mut Vec<u8>,
    ) -> io::Result<Option<String>> {
        let is_slow = self.kind.reads == Reads::OnePerPacket;
        let mut reads = lines.is_empty() || self.waits;
        while reads {
            let mut packet = [0; 4_096];
            let count = self.control.read(&mut packet)?;
            if count == 0 {
                return Ok(None);
            }
            unread.extend(packet.get(..count).unwrap_or_default());
            let mut new = Vec::new();
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                new.push(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            self.is_together = new.len() > 1;
            match self.kind.reads {
                Reads::Backwards => new.reverse(),
                Reads::First => new.truncate(1),
                Reads::InOrder | Reads::OnePerPacket => {}
            }
            lines.extend(new);
            reads = lines.is_empty();
        }
        self.waits = is_slow;
        Ok(lines.pop_front())
    }

    /// Returns the names of a path from the root.
    fn path(&self, argument: &str) -> Vec<String> {
        let mut path = if argument.starts_with('/') { Vec::new() } else { self.here.clone() };
        for name in split(argument) {
            match name.as_str() {
                "." => {}
                ".." => drop(path.pop()),
                _ => path.push(name),
            }
        }
        path
    }

    fn act(&mut self, verb: &str, argument: &str) -> io::Result<()> {
        let path = self.path(argument);
        let keys = lock(self.state).resolved(self.kind.keys(&path));
        let node = lock(self.state).nodes.get(&keys).cloned();
        let is_directory = lock(self.state).is_directory(&keys);
        let content = node.as_ref().and_then(|node| node.content.clone());
        match verb {
            "USER" => self.say("331 password"),
            "PASS" => {
                lock(self.state).logins += 1;
                self.say("230 in")
            }
            "TYPE" | "OPTS" | "NOOP" | "MODE" | "STRU" | "ALLO" => self.say("200 fine"),
            "SYST" => self.say("215 UNIX Type: L8"),
            "QUIT" => self.say("221 bye").and(Err(OVER.into())),
            "FEAT" if self.kind.no_mlsd => self.say("211-have\r\n SIZE\r\n MDTM\r\n MFMT\r\n211 end"),
            "FEAT" => self.say("211-have\r\n SIZE\r\n MDTM\r\n MFMT\r\n MLST type*;size*;modify*;\r\n REST STREAM\r\n UTF8\r\n211 end"),
            "PWD" => self.say(&format!("257 \"/{}\"", self.here.join("/"))),
            "CWD" if is_directory => {
                self.here = path;
                self.say("250 there")
            }
            "CDUP" => {
                self.here.pop();
                self.say("250 there")
            }
            "EPSV" if self.kind.closes_ports && self.is_together => {
                // Nobody else gets its number: at another server's port, the client would take the place
                // of another client.
                let closed = OwnPort::claim_closed();
                let port = closed.number();
                (self.data, self.closed) = (None, Some(closed));
                self.say(&format!("229 here (|||{port}|)"))
            }
            "EPSV" => {
                let data = TcpListener::bind("127.0.0.1:0")?;
                let port = data.local_addr()?.port();
                self.data = Some(data);
                self.say(&format!("229 here (|||{port}|)"))
            }
            "PASV" => {
                let data = TcpListener::bind("127.0.0.1:0")?;
                let [high, low] = data.local_addr()?.port().to_be_bytes();
                self.data = Some(data);
                self.say(&format!("227 here (127,0,0,1,{high},{low})"))
            }
            "PORT" => {
                let numbers: Vec<u8> =
                    argument.split(',').filter_map(|number| number.parse().ok()).collect();
                if let [a, b, c, d, high, low] = numbers[..] {
                    let port = u16::from_be_bytes([high, low]);
                    self.peer = Some(SocketAddr::from(([a, b, c, d], port)));
                }
                self.say("200 to there")
            }
            "EPRT" => {
                let mut parts = argument.split('|').skip(2);
                let host = parts.next().and_then(|host| host.parse().ok());
                let port = parts.next().and_then(|port| port.parse().ok());
                self.peer = host.zip(port).map(|(host, port)| SocketAddr::new(host, port));
                self.say("200 to there")
            }
            "REST" => {
                self.rest = argument.parse().unwrap_or_default();
                self.say("350 go on")
            }
            "SIZE" => match content {
                Some(content) => self.say(&format!("213 {}", content.len())),
                None => self.say("550 not a file"),
            },
            "MDTM" => match node.filter(|node| node.content.is_some()) {
                Some(node) => self.say(&format!("213 {}", node.modified)),
                None => self.say("550 not a file"),
            },
            "MFMT" => {
                let (time, name) = argument.split_once(' ').unwrap_or_default();
                let keys = self.kind.keys(&self.path(name));
                let mut state = lock(self.state);
                let found = state.nodes.get_mut(&keys).map(|node| node.modified = time.to_owned());
                drop(state);
                self.say(found.map_or("550 none", |()| "213 set"))
            }
            "MLST" if self.kind.no_mlsd => self.say("500 what?"),
            "MLST" => match &node {
                Some(node) => {
                    let facts = facts(node, argument);
                    self.say(&format!("250-facts\r\n {facts}\r\n250 end"))
                }
                None if is_directory => self.say("250-facts\r\n type=dir; /\r\n250 end"),
                None => self.say("550 none"),
            },
            "MLSD" if self.kind.no_mlsd => self.say("500 what?"),
            "MLSD" | "LIST" | "NLST" => self.list(verb, argument),
            "MKD" if node.is_some() || is_directory => self.say("550 exists"),
            "MKD" if path.split_last().is_some_and(|(_, above)| {
                lock(self.state).is_directory(&self.kind.keys(above))
            }) => {
                lock(self.state).put(self.kind, &path, None);
                self.say(&format!("257 \"{argument}\" made"))
            }
            "RMD" if node.is_some() && is_directory => {
                let mut state = lock(self.state);
                let is_full = state.nodes.keys().any(|other| other.len() > keys.len() && other.starts_with(&keys));
                let is_full = is_full && !self.kind.rmd_takes_all;
                if !is_full {
                    state.nodes.retain(|other, _| !other.starts_with(&keys));
                }
                drop(state);
                self.say(if is_full { "550 Directory not empty" } else { "250 removed" })
            }
            "DELE" if self.kind.dele_lies => self.say("250 deleted"),
            "DELE" if content.is_some() => {
                lock(self.state).nodes.remove(&keys);
                self.say("250 deleted")
            }
            "RNFR" if node.is_some() => {
                self.from = Some(keys);
                self.say("350 to what?")
            }
            "RNTO" => self.rename(&path),
            "RETR" => match content {
                Some(content) => self.send(content.get(self.rest..).unwrap_or_default()),
                None => self.say("550 no such file"),
            },
            "STOR" | "APPE" if !is_directory => self.store(&path, verb == "APPE"),
            "ABOR" => self.say("226 aborted"),
            "RMD" | "DELE" | "RNFR" | "MKD" | "CWD" | "STOR" | "APPE" => self.say("550 no"),
            _ => self.say("502 what?"),
        }
    }

    fn connected(&mut self) -> io::Result<TcpStream> {
        if let Some(peer) = self.peer.take() {
            return TcpStream::connect(peer);
        }
        let data = self.data.take().ok_or(io::ErrorKind::NotConnected)?;
        data.set_nonblocking(true)?;
        let end = Instant::now() + CONNECTS;
        loop {
            match data.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                    // A client that has ended the session makes none, and others may wait for the turn.
                    if self.is_ended()? {
                        return Err(OVER.into());
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                accepted => {
                    let (data, _) = accepted?;
                    data.set_nonblocking(false)?;
                    return Ok(data);
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.rest = 0;
        if self.data.is_none() && self.peer.is_none() {
            return self.say("425 no port");
        }
        let turn = Arc::clone(&lock(self.state).turn);
        let waits = self.kind.confirms == Confirms::Backwards;
        let _turn = waits.then(|| turn.lock().unwrap_or_else(PoisonError::into_inner));
        self.say("150 data")?;
        let mut data = self.connected()?;
        data.write_all(bytes)?;
        self.transfers += 1;
        if self.kind.confirms == Confirms::Early {
            return self.say("226 done");
        }
        if self.kind.confirms != Confirms::AtOnce {
            data.shutdown(Shutdown::Write)?;
            data.set_read_timeout(Some(CONNECTS))?;
            // A busy machine must not decide whether commands are early.
            let _ = data.read(&mut [0]);
            self.control.set_read_timeout(Some(Duration::from_millis(50)))?;
            let has_come = self.control.peek(&mut [0]).is_ok_and(|count| count > 0);
            self.control.set_read_timeout(None)?;
            lock(self.state).early += usize::from(has_come);
            if has_come && self.kind.confirms != Confirms::Late {
                let mut packet = [0; 4_096];
                let count = self.control.read(&mut packet)?;
                let packet = String::from_utf8_lossy(packet.get(..count).unwrap_or_default());
                for line in packet.lines() {
                    lock(self.state).seen.push(line.to_owned());
                }
                if let Confirms::With(lines) = self.kind.confirms {
                    return self.say(lines);
                }
                if self.kind.confirms == Confirms::Backwards {
                    return self.answer_backwards(&packet);
                }
                for line in packet.lines().filter(|_| self.kind.confirms == Confirms::Last) {
                    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
                    self.act(verb, argument)?;
                }
            }
        }
        self.say("226 done")
    }

    /// Confirms a download, and answers the commands that came before the confirmation.
    fn answer_backwards(&mut self, packet: &str) -> io::Result<()> {
        self.say("226 done")?;
        for line in packet.lines().rev() {
            let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
            self.act(verb, argument)?;
        }
        if packet.lines().count() > 1 {
            // Its next login shows nothing: it may come before this thread goes on, or never, since
            // another connection can be idle.
            io::copy(&mut &*self.control, &mut io::sink())?;
            return Err(OVER.into());
        }
        Ok(())
    }

    fn list(&mut self, verb: &str, argument: &str) -> io::Result<()> {
        let argument = argument.strip_prefix("-a").unwrap_or(argument).trim_start();
        let keys = lock(self.state).resolved(self.kind.keys(&self.path(argument)));
        if !lock(self.state).is_directory(&keys) {
            return self.say("550 no such directory");
        }
        let nodes = lock(self.state).list(self.kind, &keys);
        let line = |node: &Node| match verb {
            "MLSD" => facts(node, &node.name),
            "NLST" => node.name.clone(),
            _ => {
                let below = [&keys[..], &[self.kind.key(&node.name)]].concat();
                let count = || match self.kind.counts_no_links {
                    true => 1,
                    false => lock(self.state).links(&below),
                };
                let (kind, links, leads) = match (&node.leads, &node.content) {
                    (Some(leads), _) => ('l', 1, format!(" -> /{}", leads.join("/"))),
                    (None, Some(_)) => ('-', 1, String::new()),
                    (None, None) => ('d', count(), String::new()),
                };
                let (size, day) = (node.content.as_ref().map_or(0, Vec::len), day(&node.modified));
                format!("{kind}rwxr-xr-x {links} ftp ftp {size} {day} {}{leads}", node.name)
            }
        };
        let mut text: String = nodes.iter().map(|node| line(node) + "\r\n").collect();
        if verb == "LIST" && !self.kind.hides_dots {
            let links = if self.kind.counts_no_links { 1 } else { lock(self.state).links(&keys) };
            text = format!("drwxr-xr-x {links} ftp ftp 0 Jan 1 2026 .\r\n{text}");
        }
        self.say("150 list")?;
        self.connected()?.write_all(text.as_bytes())?;
        self.say("226 done")
    }

    fn store(&mut self, path: &[String], appends: bool) -> io::Result<()> {
        let above = path.split_last().map_or(&[][..], |(_, above)| above);
        if !lock(self.state).is_directory(&self.kind.keys(above)) {
            return self.say("553 no such directory");
        }
        if self.data.is_none() && self.peer.is_none() {
            return self.say("425 no port");
        }
        self.say("150 data")?;
        let mut bytes = Vec::new();
        self.connected()?.read_to_end(&mut bytes)?;
        let mut state = lock(self.state);
        // On a busy machine, the thread of an ended session can come here after the next one has stored
        // the whole file.
        if self.kind.kicks && self.is_ended()? {
            return Err(OVER.into());
        }
        let old = state.nodes.get(&self.kind.keys(path)).and_then(|node| node.content.clone());
        let mut content = old.unwrap_or_default();
        content.truncate(if appends { content.len() } else { self.rest });
        content.extend(bytes);
        state.put(self.kind, path, Some(content));
        drop(state);
        self.rest = 0;
        self.transfers += 1;
        self.say("226 stored")
    }

    /// Returns whether the client, or another connection, has ended this one.
    fn is_ended(&self) -> io::Result<bool> {
        self.control.set_nonblocking(true)?;
        let peeked = self.control.peek(&mut [0]);
        self.control.set_nonblocking(false)?;
        Ok(match peeked {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        })
    }

    fn rename(&mut self, path: &[String]) -> io::Result<()> {
        let keys = self.kind.keys(path);
        let mut state = lock(self.state);
        let (Some(from), Some(name)) = (self.from.take(), path.last()) else {
            drop(state);
            return self.say("503 RNFR first");
        };
        let is_there = state.nodes.contains_key(&keys);
        if is_there && from != keys && (self.kind.keeps_targets || state.is_directory(&keys)) {
            drop(state);
            return self.say("550 File exists");
        }
        let moved: Vec<_> =
            state.nodes.keys().filter(|it| it.starts_with(&from)).cloned().collect();
        // An existing object keeps its name, as on exFAT.
        let old = state.nodes.get(&keys).filter(|_| from != keys).map(|node| node.name.clone());
        for path in moved {
            let Some(mut node) = state.nodes.remove(&path) else { continue };
            let below = path.get(from.len()..).unwrap_or_default();
            if below.is_empty() {
                node.name = old.clone().unwrap_or_else(|| self.kind.stored(name));
                node.unlisted = if old.is_some() { 0 } else { self.kind.lists_late };
            }
            state.nodes.insert([&keys, below].concat(), node);
        }
        drop(state);
        self.say("250 renamed")
    }
}

/// Returns the day of a time of 14 digits as `ls` shows it.
fn day(time: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |from, to| time.get(from..to).unwrap_or_default();
    let month =
        number(4, 6).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    format!("{} {} {}", month.unwrap_or(&"Jan"), number(6, 8), number(0, 4))
}

/// Returns the facts of an object as `MLST` and `MLSD` list them.
fn facts(node: &Node, name: &str) -> String {
    if let Some(leads) = &node.leads {
        return format!("type=OS.unix=slink:/{}; {name}", leads.join("/"));
    }
    match &node.content {
        Some(content) => {
            format!("type=file;size={};modify={}; {name}", content.len(), node.modified)
        }
        None => format!("type=dir;modify={}; {name}", node.modified),
    }
}
