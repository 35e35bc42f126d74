//! Data of `LIST`, `NLST` and `MLSD`.

use ftp_proto::{
    Entry, EntryKind, Escaped, Facts, ListEvent, ListForm, ListLine, ListParser, ListReader,
    Precision, Role, TimeVal, limits,
};

use super::{any_chunking, assert_shown, plain_number};

/// Checks the data of `LIST`: [`ListReader`], then [`ListParser`] on its lines.
///
/// Input that begins with 0xF1 is preceded by text almost up to [`limits::LISTING_LINE`].
pub fn listing(data: &[u8]) {
    let (filler, data) = match data.split_first() {
        Some((0xF1, rest)) => (vec![b'x'; limits::LISTING_LINE - rest.len() / 2], rest),
        _ => (Vec::new(), data),
    };
    let read_behind = |pieces: &[&[u8]]| read(&filler, pieces);
    let events = any_chunking(data, read_behind);
    let all = [filler.as_slice(), data].concat();
    let mut plain: Vec<&[u8]> = all.split(|&byte| byte == b'\n').collect();
    // After the last line ending there is a line only if it is not empty.
    plain.pop_if(|last| last.is_empty());
    let plain = plain.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let plain = plain.map(|line| match line.len() {
        0..=limits::LISTING_LINE => ListEvent::Line(line.to_vec()),
        _ => ListEvent::TooLong,
    });
    assert_eq!(events, plain.collect::<Vec<_>>());
    let mut parser = ListParser::new(reference());
    for event in events {
        let ListEvent::Line(line) = event else { continue };
        let parsed = parser.parse(&line);
        let alone = ListLine::parse(&line, reference());
        // A word and a number are a total in the first line, and not understood in a later one.
        let is_entry = |line: &Option<ListLine>| matches!(line, Some(ListLine::Entry(_)));
        assert_eq!(is_entry(&parsed), is_entry(&alone), "earlier lines decide what is an entry");
        for parsed in [&parsed, &alone] {
            check_line(&line, parsed.as_ref());
        }
        if parser.form() == Some(ListForm::Eplf) && line.starts_with(b"+") {
            eplf(&line, parsed.as_ref());
        }
    }
}

/// Checks a line of `LIST` in the form EPLF, without its `+`.
pub fn listing_eplf(data: &[u8]) {
    let line = [b"+".as_slice(), data].concat();
    let parsed = ListLine::parse(&line, reference());
    check_line(&line, parsed.as_ref());
    eplf(&line, parsed.as_ref());
}

/// Checks the argument of `NLST`, a NUL and a line of its data; the line is also parsed as a line
/// of `MLSD`.
pub fn listing_names(data: &[u8]) {
    let nul = data.iter().position(|&byte| byte == 0).unwrap_or(0);
    let (directory, line) = data.split_at(nul);
    let line = line.strip_prefix(b"\0").unwrap_or(line);
    match ListLine::parse_name(line, directory) {
        Some(ListLine::Entry(entry)) => {
            let is_directory = entry.kind == Some(EntryKind::Directory);
            let line = line.strip_suffix(b"/").filter(|_| is_directory).unwrap_or(line);
            assert!(!entry.name.is_empty() && line.ends_with(&entry.name), "{entry:?}");
            let taken = line.get(..line.len() - entry.name.len()).unwrap_or_default();
            let bare = directory.strip_suffix(b"/").unwrap_or(directory);
            assert!(
                taken.is_empty() || taken == b"./" || taken.strip_suffix(b"/") == Some(bare),
                "{taken:?} was taken away"
            );
            check_entry(line, &entry);
        }
        other => assert_eq!((other, line.len()), (None, 0)),
    }
    let parsed = ListLine::parse_facts(line);
    check_line(line, parsed.as_ref());
    if let Some(ListLine::Entry(entry)) = parsed {
        let facts = Facts::parse(line).expect("what is an entry has facts");
        let name = facts.name();
        let bare = name.strip_suffix(b"/").filter(|bare| entry.is_dir() && !bare.is_empty());
        assert_eq!(entry.name, bare.unwrap_or(name));
        assert_eq!(entry.modified.map(|modified| modified.time), facts.modify());
        let mut whole = Entry::from(&facts);
        (whole.name, whole.role) = (entry.name.clone(), entry.role);
        assert_eq!(entry, whole);
    }
}

fn reference() -> TimeVal {
    TimeVal::parse(b"20260701120000").expect("it is a time")
}

fn read(first: &[u8], pieces: &[&[u8]]) -> Vec<ListEvent> {
    let (mut reader, mut events) = (ListReader::new(), Vec::new());
    for piece in [first].into_iter().chain(pieces.iter().copied()) {
        let mut rest = piece;
        while !rest.is_empty() {
            let room = reader.room();
            let taken = reader.push(rest);
            assert!((1..=room).contains(&taken), "{taken} bytes were taken, {room} had room");
            rest = rest.get(taken..).unwrap_or_default();
            events.extend(std::iter::from_fn(|| reader.next()));
            assert_eq!(reader.room(), limits::READ_AHEAD, "all was looked at");
        }
    }
    events.extend(reader.finish());
    assert_eq!(reader.finish(), None, "it ends once");
    events
}

fn check_line(line: &[u8], parsed: Option<&ListLine>) {
    match parsed {
        Some(ListLine::Entry(entry)) => check_entry(line, entry),
        Some(ListLine::Unparsed(bytes)) => assert_eq!(bytes, line, "it comes back as it came"),
        None => {
            let second =
                line.split(|byte| b" \t\r".contains(byte)).filter(|w| !w.is_empty()).nth(1);
            let is_sum = |word: &[u8]| {
                word.strip_prefix(b"-").unwrap_or(word).first().is_some_and(u8::is_ascii_digit)
                    || word.eq_ignore_ascii_case(b"of")
            };
            assert!(second.is_none_or(is_sum), "{} was skipped", Escaped(line));
        }
    }
}

/// Checks an entry, whatever its line was.
fn check_entry(line: &[u8], entry: &Entry) {
    assert!(is_part(line, &entry.name), "{entry:?} is not in its line");
    for field in [&entry.owner, &entry.group, &entry.target].into_iter().flatten() {
        assert!(!field.is_empty() && is_part(line, field), "{entry:?}");
    }
    let is_safe = !matches!(entry.name.as_slice(), b"" | b"." | b"..")
        && !entry.name.contains(&b'/')
        && !entry.name.contains(&0);
    assert_eq!(entry.is_safe_name(), is_safe);
    assert_eq!(entry.is_portable_name(), is_safe && !entry.name.contains(&b'\\'));
    let is_member = entry.role == Role::Member;
    assert!(!is_member || !matches!(entry.name.as_slice(), b"." | b".."), "{entry:?}");
    assert!(!entry.size_overflows || entry.size.is_none());
    if let Some(permissions) = entry.permissions {
        assert!(permissions.mode() <= 0o7777 && permissions.to_string().len() == 9);
    }
    if let Some(modified) = entry.modified {
        let (time, precision) = (modified.time, modified.precision);
        let finer = (time.hour(), time.minute(), time.second(), time.nanosecond());
        match precision {
            Precision::Day => assert_eq!(finer, (0, 0, 0, 0), "{time}"),
            Precision::Minute => assert_eq!((finer.2, finer.3), (0, 0), "{time}"),
            Precision::Second => {}
        }
        assert_eq!(TimeVal::parse(time.to_string().as_bytes()), Ok(time));
        assert_shown(&time.to_string());
    }
}

fn is_part(line: &[u8], part: &[u8]) -> bool {
    part.is_empty() || line.windows(part.len()).any(|window| window == part)
}

/// Checks `parsed` against the result of a complete parser. EPLF is simple enough for that.
fn eplf(line: &[u8], parsed: Option<&ListLine>) {
    let Some(tab) = line.iter().position(|&byte| byte == b'\t') else {
        assert!(!matches!(parsed, Some(ListLine::Entry(_))), "{parsed:?} without a TAB");
        return;
    };
    let (facts, name) = line.split_at(tab);
    if name == b"\t" {
        assert!(matches!(parsed, Some(ListLine::Unparsed(_))), "{parsed:?} without a name");
        return;
    }
    let Some(ListLine::Entry(entry)) = parsed else { panic!("{parsed:?} with a TAB") };
    let name = name.get(1..).unwrap_or_default();
    let bare = name.strip_suffix(b"/").filter(|name| entry.is_dir() && !name.is_empty());
    assert_eq!(entry.name, bare.unwrap_or(name));
    let facts: Vec<&[u8]> =
        facts.get(1..).unwrap_or_default().split(|&byte| byte == b',').collect();
    let size = facts.iter().find_map(|fact| fact.strip_prefix(b"s"));
    assert_eq!(entry.size, size.and_then(plain_number));
    let kind = match (facts.contains(&b"r".as_slice()), facts.contains(&b"/".as_slice())) {
        (true, false) => Some(EntryKind::File),
        (false, true) => Some(EntryKind::Directory),
        _ => None,
    };
    assert_eq!(entry.kind, kind);
}
