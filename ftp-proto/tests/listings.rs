//! Plays the lines that real servers sent, `tests/listings/*.txt`, through the parsers.
//!
//! A file begins with its origin. Then come blocks of lines `input => what it is`, in which
//! `\t`, `\\` and `\xNN` stand for bytes. Each block is one listing: an empty line ends it. A line
//! `! list 20260701120000` names the parser for what follows and its reference time; the others
//! are `! facts` and `! names directory`.

#![expect(clippy::unwrap_used, reason = "what tests call panics as they do")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, iter};

use ftp_proto::{
    Entry, EntryKind, Escaped, ListLine, ListParser, Precision, Role, TimeVal, Zone, limits,
};

/// The parser of a block.
enum Reader {
    List(ListParser),
    Facts,
    Names(Vec<u8>),
}

impl Reader {
    fn new(line: &str) -> Self {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("list", time) => Self::List(ListParser::new(TimeVal::parse(time.as_bytes()).unwrap())),
            ("facts", _) => Self::Facts,
            ("names", directory) => Self::Names(directory.as_bytes().to_vec()),
            (other, _) => panic!("no such parser: {other}"),
        }
    }

    fn read(&mut self, line: &[u8]) -> Option<ListLine> {
        match self {
            Self::List(parser) => parser.parse(line),
            Self::Facts => ListLine::parse_facts(line),
            Self::Names(directory) => ListLine::parse_name(line, directory),
        }
    }
}

struct Case {
    place: String,
    /// Whether its lines come from a public source, not from a description.
    real: bool,
    reader: String,
    /// The first line of a listing.
    first: bool,
    input: Vec<u8>,
    want: String,
}

fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/listings");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy();
        assert!(text.starts_with("# Origin: "), "{name} does not say where it comes from");
        let real = !text.starts_with("# Origin: made here");
        let (mut reader, mut first) = (String::new(), true);
        for (number, line) in text.lines().enumerate() {
            if let Some(line) = line.strip_prefix("! ") {
                (reader, first) = (line.into(), true);
            } else if line.is_empty() {
                first = true;
            } else if !line.starts_with('#') {
                let place = format!("{name}:{}", number + 1);
                let (input, want) = line.rsplit_once(" => ").expect(&place);
                let (input, want) = (unescaped(input), want.into());
                cases.push(Case { place, real, reader: reader.clone(), first, input, want });
                first = false;
            }
        }
    }
    cases
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, if byte == b'\\' { rest.next() } else { None }) {
            (b'\\', Some(b't')) => b'\t',
            (b'\\', Some(b'\\')) => b'\\',
            (b'\\', Some(b'x')) => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            (b'\\', _) => panic!("bad escape in {text}"),
            (byte, _) => byte,
        });
    }
    bytes
}

fn shown(line: Option<&ListLine>) -> String {
    match line {
        None => "skipped".into(),
        Some(ListLine::Unparsed(_)) => "unparsed".into(),
        Some(ListLine::Entry(entry)) => shown_entry(entry).unwrap(),
    }
}

fn shown_entry(entry: &Entry) -> Result<String, std::fmt::Error> {
    let kind = match entry.kind {
        Some(EntryKind::File) => "file",
        Some(EntryKind::Directory) => "dir",
        Some(EntryKind::Link) => "link",
        Some(EntryKind::Other) => "other",
        None => "unknown",
    };
    let mut out = String::from(kind);
    match entry.role {
        Role::Member => {}
        Role::Itself => out.push_str(" itself"),
        Role::Parent => out.push_str(" parent"),
    }
    if let Some(size) = entry.size {
        write!(out, " size={size}")?;
    }
    if entry.size_overflows {
        out.push_str(" size=too-large");
    }
    if let Some(modified) = entry.modified {
        let time = modified.time.to_string();
        let digits = match modified.precision {
            Precision::Day => 8,
            Precision::Minute => 12,
            Precision::Second => time.len(),
        };
        let (time, finer) = time.split_at(digits);
        assert!(finer.bytes().all(|byte| byte == b'0'));
        write!(out, " time={time}{}", if modified.zone == Zone::Utc { "Z" } else { "" })?;
    }
    if let Some(permissions) = entry.permissions {
        write!(out, " mode={permissions}")?;
    }
    if let Some(links) = entry.links {
        write!(out, " links={links}")?;
    }
    for (key, value) in
        [("owner", &entry.owner), ("group", &entry.group), ("target", &entry.target)]
    {
        if let Some(value) = value {
            write!(out, " {key}={:?}", Escaped(value).to_string())?;
        }
    }
    write!(out, " name={:?}", Escaped(&entry.name).to_string())?;
    if !entry.is_safe_name() {
        out.push_str(" unsafe");
    }
    Ok(out)
}

#[test]
fn lines_of_real_servers_ls_40_ls_42_ls_43_ls_44() {
    let mut failures = Vec::new();
    let mut reader = Reader::Facts;
    let cases = cases();
    for case in &cases {
        if case.first {
            reader = Reader::new(&case.reader);
        }
        let got = shown(reader.read(&case.input).as_ref());
        if got != case.want {
            failures.push(format!("{}\n  want {}\n   got {got}", case.place, case.want));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let real = cases.iter().filter(|case| case.real).count();
    assert!(real >= 150, "only {real} lines");
}

/// Rules for every line.
fn check(line: &[u8]) {
    let reference = TimeVal::parse(b"20240229120000").unwrap();
    for read in [
        ListLine::parse(line, reference),
        ListLine::parse_facts(line),
        ListLine::parse_name(line, b"pub"),
    ] {
        match read {
            Some(ListLine::Unparsed(raw)) => assert_eq!(raw, line),
            None => {
                let head = line.trim_ascii().get(..5).unwrap_or_default();
                assert!(line.len() < 200 || head.is_empty() || head.eq_ignore_ascii_case(b"total"));
            }
            Some(ListLine::Entry(entry)) => {
                let holds = |part: &Vec<u8>| {
                    part.is_empty() || line.windows(part.len()).any(|window| window == part)
                };
                // Short lines only, as this is quadratic; every part is a piece of the line.
                if line.len() < 500 {
                    assert!(holds(&entry.name));
                    assert!(entry.owner.iter().chain(&entry.group).all(holds));
                    assert!(entry.target.iter().all(holds));
                }
                let bad: [&[u8]; 3] = [b"", b".", b".."];
                let outside = entry.name.iter().any(|byte| matches!(byte, b'/' | 0));
                assert_eq!(entry.is_safe_name(), !outside && !bad.contains(&&entry.name[..]));
                assert!(!entry.size_overflows || entry.size.is_none());
            }
        }
    }
}

#[test]
fn every_line_has_a_result_ls_41_hc_23() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % u64::try_from(below).unwrap()).unwrap()
    };
    let cases = cases();
    let pieces: [&[u8]; 16] = [
        b" ",
        b"  ",
        b"\t",
        b"-",
        b"99999999999999999999999",
        b"-1",
        b" -> ",
        b"/",
        b"..",
        b"\0",
        b"\xff",
        b"Feb 29",
        b"00:00",
        b";",
        b"=",
        b"\xe6\x9c\x88",
    ];
    for case in &cases {
        let line = &case.input;
        for at in 0..=line.len() {
            check(&line[..at]);
            check(&line[at..]);
            let piece = pieces[next(pieces.len())];
            check(&[&line[..at], piece, &line[at..]].concat());
        }
        for _ in 0..200 {
            let mut line = line.clone();
            for _ in 0..=next(3) {
                if line.is_empty() {
                    break;
                }
                let at = next(line.len());
                match next(3) {
                    0 => line[at] = u8::try_from(next(256)).unwrap(),
                    1 => drop(line.remove(at)),
                    _ => {
                        let other = next(line.len());
                        line.swap(at, other);
                    }
                }
            }
            check(&line);
        }
        let long = [line.as_slice(), &vec![b'x'; limits::LISTING_LINE]].concat();
        check(&long);
    }
}

/// Parses a line of `length` bytes, made of `head` and repetitions of `piece`, with all parsers.
fn cost(head: &[u8], piece: &[u8], length: usize) -> Duration {
    let mut line = head.to_vec();
    line.extend(iter::repeat_n(piece, length / piece.len()).flatten());
    let begun = Instant::now();
    check(&line);
    begun.elapsed()
}

#[test]
fn the_cost_of_a_line_is_linear_hc_24_hc_32() {
    // 10 MiB with FTP_LARGE=1; the plain run, without optimisation, takes a tenth.
    let large = std::env::var_os("FTP_LARGE").is_some_and(|value| value == "1");
    let whole = if large { 10 << 20 } else { 1 << 20 };
    let mode: &[u8] = b"-rw-r--r-- ";
    for (head, piece) in [
        (&b""[..], &b" "[..]),
        (b"", b"-"),
        (b"", b"9"),
        (b"", b"1 "),
        (b"", b"- 9"),
        (mode, b" "),
        (mode, b"1 "),
        (mode, b"9"),
        (mode, b"1 2 03:04x "),
        (mode, b"Jan 1 10:10 "),
        (mode, b"x Jan 1 2001 "),
        (mode, b"a9 Jan "),
        (mode, b"12-12 "),
        (mode, "1月 ".as_bytes()),
        (b"crw-r--r-- ", b"1, "),
        (b"lrw-r--r-- 1 a b 5 Jan 1 10:10 ", b" -> "),
        (b"lrw-r--r-- 1 a b 5 Jan 1 10:10 ", b" ->"),
        (b"d [RWCEAFMS] ", b"1 Jan "),
        (b"+", b"r,"),
        (b"+", b"m1,s1,up7,"),
        (b"", b"a=b;"),
        (b"", b";"),
        (b"total ", b"1"),
        (b"03-04-21 10:11 ", b"1,"),
        (b"03-04-21 10:11 <DIR>", b" "),
    ] {
        // A quadratic parser would need minutes, or hours for the full size, so a generous limit
        // detects it on any machine.
        let took = cost(head, piece, whole);
        let name = String::from_utf8_lossy(piece).into_owned();
        assert!(took < Duration::from_secs(20), "{took:?} for a line of {name:?}");
    }
    let facts: String = (0..10_000).map(|n| format!("f{n}=v;")).collect();
    check(format!("{facts} name").as_bytes());
}
