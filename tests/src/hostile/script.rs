//! The text of the tables: behaviours of a server, and the required outcome of each.

use std::fs;
use std::path::Path;

/// One behaviour of a server, and the required outcome of each client call.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The name of the table, and the name of the behaviour in it; with `/1`, `/2` and so on if
    /// there are several values.
    pub name: String,
    /// The lines of `docs/dev/hostile.md` that the behaviour proves.
    pub ids: Vec<String>,
    /// Whether the server connects for data, so that the client uses active mode.
    pub active: bool,
    /// Whether the client is set to use neither `EPSV` nor `EPRT`.
    pub old: bool,
    /// Phases with short timeouts although no timeout is expected.
    pub short: Vec<String>,
    /// The required outcomes, by the name of the call.
    pub wants: Vec<Want>,
    pub(super) rules: Vec<Rule>,
}

impl Behaviour {
    /// Returns the behaviour of a sound server.
    ///
    /// # Panics
    ///
    /// Never panics, because the text is part of this module.
    #[must_use]
    pub fn sound() -> Self {
        read("sound", "== is_sound").pop().expect("one behaviour")
    }

    /// Returns whether the behaviour differs from a sound server for a client that sends these
    /// verbs; the verb `greeting` stands for the greeting. The rule for `any` counts for every verb
    /// without another rule.
    #[must_use]
    pub fn concerns(&self, verbs: &[&str]) -> bool {
        let concerns = |verb: &String| verb == "any" || verbs.contains(&verb.as_str());
        self.rules.iter().any(|rule| rule.verbs.iter().any(concerns))
    }

    /// Returns whether the server sends megabytes, or without end.
    #[must_use]
    pub fn is_huge(&self) -> bool {
        let floods = |step: &Step| matches!(step, Step::Flood(..) | Step::FloodData(..));
        self.rules.iter().any(|rule| rule.steps.iter().any(floods))
    }
}

/// The required outcome of a call.
#[derive(Clone, Debug)]
pub struct Want {
    /// The name of the call, such as `get`.
    pub call: String,
    /// The acceptable outcomes, such as `refused 550`.
    pub outcomes: Vec<String>,
    /// Whether the client can be used afterwards; `None` if both are acceptable.
    pub usable: Option<bool>,
    /// How much the memory of a client may grow, in bytes, if that is checked.
    pub memory: Option<u64>,
}

/// The server's steps for one of these commands.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) verbs: Vec<String>,
    pub(super) steps: Vec<Step>,
}

/// One step of the server.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Sends this on the control connection.
    Send(Text),
    /// Sends this byte by byte, waiting this number of milliseconds before each.
    Drip(u64, Text),
    /// Sends this repeatedly, until the client disconnects or this number of bytes is sent.
    Flood(Option<u64>, Text),
    /// Moves this amount of the content, in the direction of the transfer.
    Data(Amount),
    /// Sends this on the data connection.
    Bytes(Text),
    /// Sends this on the data connection as [`Flood`](Self::Flood) does.
    FloodData(Option<u64>, Text),
    /// Opens the data connection.
    Open,
    /// Ends the data properly.
    Fin,
    /// Resets the data connection.
    Rst,
    /// Another host connects to the active client, which must close the connection.
    Stranger,
    /// Ends the control connection properly.
    Hangup,
    /// Resets the control connection.
    Reset,
    /// Waits this number of milliseconds.
    Pause(u64),
    /// Stops reading and writing until the client disconnects.
    Deaf,
    /// Acts on `ABOR` as a sound server.
    Abort,
}

/// The amount of content to move.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    /// This share of the content after the restart marker, in percent.
    Percent(u64),
    /// This number of bytes.
    Bytes(u64),
}

/// Bytes with placeholders for ports.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) Vec<Part>);

#[derive(Clone, Debug)]
pub(super) enum Part {
    Bytes(Vec<u8>),
    /// A port that is inserted when the step is taken: its kind, and the index of its octet, if
    /// only one is meant.
    Port(Port, Option<usize>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Port {
    /// The port at which the server waits for the data connection.
    Data,
    /// A port without a listener.
    Closed,
    /// A port of another host, to which no client may connect.
    Elsewhere,
}

/// The behaviour of a sound server, which the tables modify.
const SOUND: &str = "\
== sound
> greeting: < 220 ready
> USER: < 331 password
> PASS: < 230 in
> ACCT TYPE NOOP OPTS PORT EPRT: < 200 ok
> EPSV: < 229 Entering Extended Passive Mode (|||{port}|)
> PASV: < 227 Entering Passive Mode (127,0,0,1,{p1},{p2}).
> REST: < 350 restarting
> transfer: < 150 go | data all | fin | < 226 done
> ABOR: abort
> SIZE: < 213 10000000
> MDTM: < 213 20240229120000
> MLST: < 250-a\\r\\n type=file;size=10000000; a\\r\\n250 End
> FEAT: < 211-Features\\r\\n MDTM\\r\\n REST STREAM\\r\\n SIZE\\r\\n MLST type*;size*;modify*;\\r\\n UTF8\\r\\n211 End
> PWD: < 257 \"/probe\" is it
> CWD DELE CDUP RMD RNTO: < 250 done
> RNFR: < 350 and to?
> MKD: < 257 \"/d\" made
> SYST: < 215 probe
> QUIT: < 221 bye | hangup
> any: < 502 what?
";

/// Returns the rules of a sound server.
pub(super) fn sound() -> Vec<Rule> {
    read("sound", SOUND).into_iter().flat_map(|behaviour| behaviour.rules).collect()
}

/// Returns all behaviours of the tables in the directory `hostile` of this package.
#[must_use]
pub fn behaviours() -> Vec<Behaviour> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile");
    let entries = fs::read_dir(directory).expect("the tables are beside the harness");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file of it").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let tables = files.iter().flat_map(|file| {
        let name = file.file_stem().expect("a name").to_string_lossy();
        read(&name, &fs::read_to_string(file).expect("a table is text"))
    });
    tables.collect()
}

/// Reads a table. The module explains its lines.
pub(super) fn read(table: &str, text: &str) -> Vec<Behaviour> {
    let mut behaviours = Vec::new();
    for block in text.split("\n== ").map(|block| block.strip_prefix("== ").unwrap_or(block)) {
        if block.starts_with('#') || block.trim().is_empty() {
            continue;
        }
        let values: Vec<&str> = block
            .lines()
            .filter_map(|line| line.strip_prefix('~'))
            .map(|v| v.get(1..).unwrap_or(""))
            .collect();
        if values.is_empty() {
            behaviours.push(behaviour(table, block, "", None));
        }
        for (index, value) in values.iter().enumerate() {
            behaviours.push(behaviour(table, block, value, Some(index + 1)));
        }
    }
    behaviours
}

fn behaviour(table: &str, block: &str, value: &str, index: Option<usize>) -> Behaviour {
    let mut lines = block.lines();
    let mut head = lines.next().unwrap_or_default().split_whitespace();
    let name = head.next().expect("a behaviour has a name");
    let number = index.map_or_else(String::new, |index| format!("/{index}"));
    let mut behaviour = Behaviour {
        name: format!("{table}: {name}{number}"),
        ids: head.map(str::to_owned).collect(),
        active: false,
        old: false,
        short: Vec::new(),
        wants: Vec::new(),
        rules: Vec::new(),
    };
    for line in lines {
        let line = line.replace("{value}", value);
        let (kind, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match kind {
            "#" | "" | "~" => {}
            "active" => behaviour.active = true,
            "old" => behaviour.old = true,
            "short" => behaviour.short.extend(rest.split(' ').map(str::to_owned)),
            ">" => {
                let (verbs, steps) = rest.split_once(':').expect("verbs, a colon, steps");
                let verbs = verbs.split(' ').flat_map(class).map(str::to_owned).collect();
                let steps = steps.trim_start().split(" | ").map(step).collect();
                behaviour.rules.push(Rule { verbs, steps });
            }
            "*" => {
                let (calls, want) = rest.split_once(": ").expect("calls, a colon, what they give");
                behaviour.wants.extend(calls.split(' ').map(|call| self::want(call, want)));
            }
            _ => panic!("{}: no such line: {line}", behaviour.name),
        }
    }
    behaviour
}

/// Returns the verbs for which a word stands.
fn class(word: &str) -> Vec<&str> {
    match word {
        "download" => vec!["RETR"],
        "upload" => vec!["STOR", "APPE", "STOU"],
        "listing" => vec!["LIST", "NLST", "MLSD"],
        "transfer" => vec!["RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD"],
        word => vec![word],
    }
}

/// Reads `outcome or outcome; usable|closed|either; memory N KiB`.
fn want(call: &str, text: &str) -> Want {
    let mut parts = text.split("; ");
    let outcomes = parts.next().unwrap_or_default().split(" or ").map(str::to_owned).collect();
    let usable = match parts.next() {
        Some("usable") => Some(true),
        Some("closed") => Some(false),
        Some("either") => None,
        other => panic!("{call}: what is left of the client? {other:?}"),
    };
    let memory = parts.next().map(|part| {
        let number = part.strip_prefix("memory ").and_then(|part| part.strip_suffix(" KiB"));
        number.and_then(|number| number.parse::<u64>().ok()).expect("memory N KiB") * 1_024
    });
    Want { call: call.to_owned(), outcomes, usable, memory }
}

fn step(text: &str) -> Step {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("no number: {text}"));
    // `flood N text`, or an endless `flood text`.
    let limited = |rest: &str| match rest.split_once(' ') {
        Some((count, text)) if count.ends_with('M') => {
            (Some(number(count.trim_end_matches('M')) << 20), text_of(text))
        }
        _ => (None, text_of(rest)),
    };
    match word {
        "<" => Step::Send(text_of(&format!("{rest}\\r\\n"))),
        "raw" => Step::Send(text_of(rest)),
        "drip" => {
            let (pause, text) = rest.split_once(' ').expect("milliseconds and text");
            Step::Drip(number(pause), text_of(text))
        }
        "flood" => {
            let (limit, text) = limited(rest);
            Step::Flood(limit, text)
        }
        "data" => Step::Data(match rest {
            "all" => Amount::Percent(100),
            "half" => Amount::Percent(50),
            "none" => Amount::Bytes(0),
            rest => Amount::Bytes(number(rest)),
        }),
        "[" => Step::Bytes(text_of(rest)),
        "[flood" => {
            let (limit, text) = limited(rest);
            Step::FloodData(limit, text)
        }
        "open" => Step::Open,
        "fin" => Step::Fin,
        "rst" => Step::Rst,
        "stranger" => Step::Stranger,
        "hangup" => Step::Hangup,
        "reset" => Step::Reset,
        "pause" => Step::Pause(number(rest)),
        "deaf" => Step::Deaf,
        "abort" => Step::Abort,
        _ => panic!("no such step: {text}"),
    }
}

/// Reads the escapes `\r`, `\n`, `\t`, `\\`, `\xHH`, `{what*times}`, and placeholders for ports.
fn text_of(text: &str) -> Text {
    let mut parts = vec![Part::Bytes(Vec::new())];
    let push = |parts: &mut Vec<Part>, more: &[u8]| match parts.last_mut() {
        Some(Part::Bytes(bytes)) => bytes.extend_from_slice(more),
        _ => parts.push(Part::Bytes(more.to_vec())),
    };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let port = PORTS.iter().find(|(name, ..)| rest.starts_with(name));
        if let Some((name, port, octet)) = port {
            parts.push(Part::Port(*port, *octet));
            rest = &rest[name.len()..];
        } else if let Some((what, times, behind)) = repeated(rest) {
            let what = text_of(what);
            let [Part::Bytes(bytes)] = what.0.as_slice() else {
                panic!("only bytes repeat: {text}")
            };
            push(&mut parts, &bytes.repeat(times));
            rest = behind;
        } else if let Some(escape) = rest.strip_prefix('\\') {
            let (byte, length) = match escape.as_bytes() {
                [b'r', ..] => (b'\r', 1),
                [b'n', ..] => (b'\n', 1),
                [b't', ..] => (b'\t', 1),
                [b'\\', ..] => (b'\\', 1),
                [b'x', ..] => (u8::from_str_radix(&escape[1..3], 16).expect("two hex digits"), 3),
                _ => panic!("no such escape: {text}"),
            };
            push(&mut parts, &[byte]);
            rest = &escape[length..];
        } else {
            push(&mut parts, c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[c.len_utf8()..];
        }
    }
    Text(parts)
}

const PORTS: [(&str, Port, Option<usize>); 9] = [
    ("{port}", Port::Data, None),
    ("{p1}", Port::Data, Some(0)),
    ("{p2}", Port::Data, Some(1)),
    ("{closed}", Port::Closed, None),
    ("{c1}", Port::Closed, Some(0)),
    ("{c2}", Port::Closed, Some(1)),
    ("{elsewhere}", Port::Elsewhere, None),
    ("{e1}", Port::Elsewhere, Some(0)),
    ("{e2}", Port::Elsewhere, Some(1)),
];

/// Returns the parts of a `{what*times}` at the start, and the text after it.
fn repeated(text: &str) -> Option<(&str, usize, &str)> {
    let (inside, behind) = text.strip_prefix('{')?.split_once('}')?;
    let (what, times) = inside.rsplit_once('*')?;
    Some((what, times.parse().ok()?, behind))
}
